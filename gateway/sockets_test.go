package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"llmcall/gateway"
)

// zeros reads as much of one byte as it says.
type zeros struct {
	left int64
	of   byte
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(z.left, int64(len(p))))
	for i := range p[:n] {
		p[i] = z.of
	}
	z.left -= int64(n)
	return n, nil
}

// Requests of 100 MB, whole or in chunks, and garbage cost little and are refused; the
// gateway goes on.
func TestLargeRequestsAndGarbage(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 s")
	}
	s := serve(t, fourProviders+"max_body: 4MiB\nroutes: {r: {models: [chat/m, claude/m, google/m]}}", map[string]string{"up": ""})
	const large = 100 << 20
	begin := time.Now()
	for _, chunked := range []bool{false, true} {
		for _, c := range streams {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+c.path, &zeros{large, ' '})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			if r.ContentLength = large; chunked {
				r.ContentLength = -1
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				continue // the server has closed the connection in the middle of it
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge || !json.Valid(text) {
				t.Errorf("%s: %d %s", c.name, resp.StatusCode, text)
			}
		}
	}
	deep := func(open, middle, end string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	const most = 4<<20 - 1000
	for name, body := range map[string]string{
		"empty": "", "null": "null", "a number": "1", "zeros": strings.Repeat("\x00", 1000), "not UTF-8": "{\"model\": \"r\xff\xfe\", \"messages\": []}",
		"open brackets": strings.Repeat("[", most), "nested lists": deep("[", "", "]", most/2), "nested objects": deep(`{"a":`, "1", "}", most/6),
		"nested content": `{"model":"r","messages":[{"role":"user","content":` + deep("[", "", "]", 9000) + `}]}`,
		"nested schema":  `{"model":"r","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":` + deep(`{"items":`, "{}", "}", 9000) + `}}}`,
		"many messages":  `{"model":"r","messages":[` + strings.Repeat(`{"role":"user","content":"x"},`, most/31) + `{"role":"user","content":"x"}]}`,
		"many tools":     `{"model":"r","messages":[{"role":"user","content":"x"}],"tools":[` + strings.Repeat(`{"type":"function","function":{"name":"a"}},`, most/45) + `{}]}`,
		"many fields":    `{"model":"r","messages":[{"role":"user","content":"x"}]` + strings.Repeat(`,"x":1`, most/6) + `}`,
		"many names":     `{"model":"r","messages":[{"role":"user","content":"x"}]` + manyNames(most/20) + `}`,
		"a long text":    `{"model":"r","messages":[{"role":"user","content":"` + strings.Repeat(`\u0000`, most/6) + `"}]}`,
		"huge numbers":   `{"model":"r","max_tokens":1` + strings.Repeat("0", 100000) + `,"messages":[{"role":"user","content":"x"}]}`,
	} {
		for _, c := range streams {
			body := body
			if c.name == "openai-responses" {
				body = strings.Replace(body, `"messages"`, `"input"`, 1)
			}
			start := time.Now()
			status, _, text := post(t, s.url+c.path, body)
			took := time.Since(start)
			if took > 300*time.Millisecond {
				t.Logf("%s, %s: %v, %d bytes", name, c.name, took, len(body))
			}
			if took > 30*time.Second || status >= 500 || status != 200 && !json.Valid([]byte(text)) {
				t.Errorf("%s, %s: %d after %v: %.300s", name, c.name, status, took, text)
			}
		}
	}
	if status, _, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "r")); status != 200 {
		t.Errorf("then %d %s", status, text)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 100<<20 {
		t.Errorf("the heap has %d MiB", m.HeapAlloc>>20)
	}
	t.Log(time.Since(begin), m.HeapAlloc>>20, "MiB")
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":%d`, i, i)
	}
	return b.String()
}

// What is no HTTP is not answered with anything of the gateway's, and does no harm.
func TestGarbageOnASocket(t *testing.T) {
	s := serve(t, fourProviders+"routes: {r: {models: [chat/m]}}", map[string]string{"up": ""})
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("a", 2<<20) + "\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET http://example.com/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
		"GET /v1/models/%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Contains(string(answer), " 200 OK") && !strings.HasPrefix(text, "OPTIONS *") || strings.Contains(string(answer), "\nX-Evil") {
			t.Errorf("%.80q: %s", text, answer)
		}
	}
}

// HEAD, OPTIONS and Expect: 100-continue.
func TestMethodsAndExpectations(t *testing.T) {
	s := serve(t, fourProviders+"routes: {r: {models: [chat/m]}}", map[string]string{"up": ""})
	for _, c := range []struct{ text, want, not string }{
		{"HEAD /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "200 OK", `"object"`},
		{"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "200 OK", "ok\n"},
		{"HEAD /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "405 Method", "{"},
		{"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n", "403 ", "Access-Control"},
		{"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "405 ", "Access-Control"},
		{request("POST", "/v1/chat/completions", fmt.Sprintf(hello, "r"), "Expect: 100-continue", "Connection: close"), "200 OK", "404"},
		{request("POST", "/v1/chat/completions", fmt.Sprintf(hello, "r"), "Expect: 200-maybe", "Connection: close"), "417 ", "choices"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, c.text)
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(answer), c.want) || strings.Contains(string(answer), c.not) {
			t.Errorf("%.60q: %s", c.text, answer)
		}
	}
}

// killed is the environment variable of a provider that is killed.
const killed = "LLMCALL_TEST_KILLED"

// A provider that is killed in the middle of a stream is the stream's error, or, before the
// first piece, another provider's turn.
func TestAProviderThatIsKilled(t *testing.T) {
	if os.Getenv(killed) != "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("at " + l.Addr().String())
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""+os.Getenv(killed)+"\"},\"finish_reason\":null}]}\n\n")
			w.(http.Flusher).Flush()
			fmt.Println("sent")
			<-r.Context().Done()
		}))
	}
	for _, piece := range []string{"Hel", "none"} {
		for _, c := range streams {
			if piece == "none" {
				piece = ""
			}
			t.Run(fmt.Sprintf("%s %q", c.name, piece), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAProviderThatIsKilled$")
				cmd.Env = append(os.Environ(), killed+"="+piece)
				if piece == "" {
					cmd.Env = append(os.Environ(), killed+"=\\n")
				}
				pipe, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cmd.Wait() }()
				defer func() { _ = cmd.Process.Kill() }()
				out := bufio.NewReader(pipe)
				line, err := out.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				s := serve(t, strings.Replace(fourProviders, `"{up1}"`, "\"http://"+strings.TrimSpace(strings.TrimPrefix(line, "at "))+"/v1\"", 1)+"routes: {r: {models: [chat/m], max_attempts: 1}}", map[string]string{"up": ""})
				go func() {
					_, _ = out.ReadString('\n') // sent
					time.Sleep(50 * time.Millisecond)
					_ = cmd.Process.Kill()
				}()
				start := time.Now()
				status, _, text := post(t, s.url+c.path, c.body)
				if strings.Contains(text, cleanEnds[c.name]) || !strings.Contains(text, "error") || time.Since(start) > 5*time.Second {
					t.Errorf("got %d after %v: %s", status, time.Since(start), text)
				}
			})
		}
	}
}

// Nothing is left of many ends at any moment.
func TestShutdownAtAnyMoment(t *testing.T) {
	for n := range 40 {
		s := serve(t, fourProviders+"routes: {r: {models: [chat/m, claude/m], checks: [not_empty]}}", map[string]string{"up": "weights: [{weight: 1, kind: right, delay: 5ms}, {weight: 1, kind: status, status: 500}]"})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, &gateway.Listener{Clients: l}) }()
		asked := make(chan struct{})
		for i := range 8 {
			go func() {
				defer func() { asked <- struct{}{} }()
				if i == 0 {
					if resp, err := http.Get("http://" + l.Addr().String() + "/ui/events"); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					return
				}
				c := streams[i%4]
				resp, err := http.Post("http://"+l.Addr().String()+c.path, "application/json", strings.NewReader(c.body))
				if err != nil {
					return
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode == 200 && !strings.Contains(string(text), cleanEnds[c.name]) {
					t.Errorf("%d: %d %v %s", n, resp.StatusCode, err, text)
				}
			}()
		}
		time.Sleep(time.Duration(n) * 300 * time.Microsecond)
		start := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("it ended after %v with %v", time.Since(start), err)
		}
		for range 8 {
			<-asked
		}
	}
}

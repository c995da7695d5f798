package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// freePort returns an address on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// program runs a proxy until the test ends.
func program(t *testing.T, addr, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Skipf("%s is not installed: apt-get install %s", name, name)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s does not listen: %s", name, out.String())
}

const nginxConfig = `
daemon off; pid %[1]s/pid; error_log stderr; worker_processes 1;
events { worker_connections 200; }
http {
  access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s; proxy_read_timeout 12s; location / { proxy_pass http://%[3]s; } }
}`

const haproxyConfig = `
defaults
  mode http
  timeout connect 2s
  timeout client 12s
  timeout server 12s
listen front
  bind %[2]s
  option httpchk GET /healthz
  server gateway %[3]s check inter 100ms fall 1 rise 1
`

// nginx and HAProxy in front, as they are configured by default but for shorter patience:
// pieces come as they are written, a held answer is not given up, and a client that leaves
// ends the provider's call.
func TestProxiesInFront(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs nginx and haproxy, and 15 s")
	}
	for _, p := range []struct{ name, config string }{{"nginx", nginxConfig}, {"haproxy", haproxyConfig}} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{}, 1)
			slow := 200 * time.Millisecond
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				pause := slow
				if bytes.Contains(body, []byte("patience")) {
					pause = 14 * time.Second
				}
				w.Header().Set("Content-Type", "text/event-stream")
				for n := range 20 {
					select {
					case <-r.Context().Done():
						ended <- struct{}{}
						return
					case <-time.After(pause):
					}
					fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d \"},\"finish_reason\":null}]}\n\n", n)
					w.(http.Flusher).Flush()
					if pause > slow {
						break
					}
				}
				_, _ = io.WriteString(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
			}))
			defer upstream.Close()
			s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}, routes: {r: {models: [acme/m]}, held: {models: [acme/m], checks: [not_empty]}}}`, upstream.URL), nil)
			dir, addr := t.TempDir(), freePort(t)
			file := filepath.Join(dir, "conf")
			if err := os.WriteFile(file, fmt.Appendf(nil, p.config, dir, addr, strings.TrimPrefix(s.url, "http://")), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-c", file, "-p", dir}
			if p.name == "haproxy" {
				args = []string{"-db", "-f", file}
			}
			program(t, addr, p.name, args...)
			time.Sleep(500 * time.Millisecond) // HAProxy's first checks
			ask := func(ctx context.Context, route, text string) *http.Response {
				r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(`{"model": %q, "stream": true, "messages": [{"role": "user", "content": %q}]}`, route, text)))
				r.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				return resp
			}
			start := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			resp := ask(ctx, "r", "Hello")
			piece := make([]byte, 4096)
			n, err := resp.Body.Read(piece)
			if took := time.Since(start); took > 2*time.Second || err != nil || !bytes.Contains(piece[:n], []byte(`"0 "`)) {
				t.Errorf("the first piece came after %v, %d: %v %s", took, resp.StatusCode, err, piece[:n])
			}
			cancel()
			resp.Body.Close()
			select {
			case <-ended:
			case <-time.After(3 * time.Second):
				t.Error("the provider's call goes on after the client has left")
			}
			resp = ask(t.Context(), "held", "patience")
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || !strings.Contains(string(text), "keep-alive") || !strings.Contains(string(text), "[DONE]") {
				t.Errorf("got %d %v %s", resp.StatusCode, err, text)
			}
		})
	}
}

package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/failure"
	"llmcall/gateway"
	"llmcall/internal/asis"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"
)

// A stream of Gemini's in the form of an array is one after an attempt whose answer was
// wrong, too.
func TestAnArrayAfterAWrongAnswer(t *testing.T) {
	for _, plan := range []string{
		"steps: [{answer: 'no JSON'}, {answer: '[1]'}]",
	} {
		s := serve(t, fourProviders+"routes: {r: {models: [google/m], checks: [json], max_attempts: 3}}", map[string]string{"up": plan})
		for _, path := range []string{"/v1beta/models/r:streamGenerateContent", "/v1beta/models/r:streamGenerateContent?alt=sse"} {
			status, _, text := post(t, s.url+path, `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`)
			var all []map[string]any
			if !strings.Contains(path, "alt") {
				if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) == 0 {
					t.Errorf("%d: %v in %s", status, err, text)
				}
			}
		}
	}
}

// An answer that comes with a sign of life.
func TestAnAnswerAtTheMomentOfASignOfLife(t *testing.T) {
	for _, c := range streams {
		synctest.Test(t, func(t *testing.T) {
			g := bubble(t, "routes: {r: {models: [a/m], checks: [json]}}", map[string]llm.Model{"a/m": speak("a/m", 5*time.Second, []string{"[1]", ""})})
			if w := streamed(g, c.path, c.body); !strings.Contains(w.Body.String(), cleanEnds[c.name]) {
				t.Errorf("got %s", w.Body)
			}
		})
	}
}

// An address is loopback or not by where the gateway listens, and not by what a later
// configuration says.
func TestReloadKeepsAddresses(t *testing.T) {
	_, hash := gateway.NewKey()
	parse := func(text string) *gateway.Config {
		cfg, err := gateway.Parse("gateway.yaml", []byte(strings.ReplaceAll(text, "HASH", hash)), validate.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	for _, c := range []struct{ name, before, after string }{
		{"clients", "{listen: '0.0.0.0:8080', clients: [{name: a, sha256: HASH}]}", "{listen: '127.0.0.1:8080', clients: [{name: a, sha256: HASH}]}"},
		{"operators", "{clients: [{name: a, sha256: HASH}], admin: {listen: '0.0.0.0:8081', sha256: HASH}}", "{clients: [{name: a, sha256: HASH}], admin: {listen: '127.0.0.1:8081'}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := gateway.New(parse(c.before), gateway.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Shutdown(context.Background())
			ask := func() int {
				w := httptest.NewRecorder()
				h := g.Handler()
				if c.name == "operators" {
					h = g.Admin()
				}
				r := httptest.NewRequest("GET", "http://127.0.0.1/ui/", nil)
				h.ServeHTTP(w, r)
				return w.Code
			}
			if got := ask(); got != http.StatusUnauthorized {
				t.Errorf("before: %d", got)
			}
			err = g.Reload(parse(c.after))
			t.Log(err)
			if got := ask(); got != http.StatusUnauthorized {
				t.Errorf("after: %d", got)
			}
		})
	}
}

// A web page whose name leads to this machine does not read what is shown to operators,
// with clients or without.
func TestARebindingPageReadsNothing(t *testing.T) {
	_, hash := gateway.NewKey()
	for _, config := range []string{"{}", "{clients: [{name: a, sha256: " + hash + "}]}"} {
		cfg, err := gateway.Parse("gateway.yaml", []byte(config), validate.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := gateway.New(cfg, gateway.Options{Metrics: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/ui/", "/metrics", "/ui/events"} {
			w := httptest.NewRecorder()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r := httptest.NewRequest("GET", "http://evil.example"+path, nil).WithContext(ctx)
			g.Handler().ServeHTTP(w, r)
			cancel()
			if w.Code != http.StatusForbidden && w.Code != http.StatusUnauthorized {
				t.Errorf("%s %s: %d", config, path, w.Code)
			}
		}
		_ = g.Shutdown(context.Background())
	}
}

// HAProxy's checks are in HTTP/1.0 and have no Host. No browser sends such a request.
func TestHTTP10WithoutHost(t *testing.T) {
	s := serve(t, fourProviders+"routes: {r: {models: [chat/m]}}", map[string]string{"up": ""})
	for _, text := range []string{
		"GET /healthz HTTP/1.0\r\n\r\n",
		"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(streams[0].body)) + "\r\n\r\n" + streams[0].body,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(answer), " 200 OK") || strings.Contains(string(answer), "chunked") {
			t.Errorf("got %s", answer)
		}
	}
}

// A gateway ends even if a model does not hear that it should.
func TestShutdownWithADeafModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		g := bubble(t, "{shutdown_timeout: 5s, routes: {r: {models: [a/m]}}}", map[string]llm.Model{"a/m": llm.Func("a/m", func(context.Context, *llm.Request) (*llm.Response, error) {
			<-free
			return nil, errors.New("late")
		})})
		p, end := onPipes(g)
		conn := p.dial(t)
		defer conn.Close()
		_, _ = io.WriteString(conn, request("POST", "/v1/chat/completions", fmt.Sprintf(hello, "r")))
		synctest.Wait() // until the model was asked
		time.AfterFunc(time.Hour, func() { close(free) })
		took, err := end()
		if took > time.Minute || err == nil {
			t.Errorf("it took %v: %v", took, err)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A model that panics is an error for its client alone, before a piece or after one.
func TestAModelThatPanics(t *testing.T) {
	for _, c := range streams {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s later %v", c.name, later), func(t *testing.T) {
				m := llm.StreamFunc("a/m", func(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
					return func(yield func(llm.Chunk, error) bool) {
						if later {
							yield(llm.Chunk{Text: "Hel"}, nil)
						}
						panic("the model's secret")
					}
				})
				g := bubble(t, "routes: {r: {models: [a/m], max_attempts: 1}}", map[string]llm.Model{"a/m": m})
				w := streamed(g, c.path, c.body)
				text := w.Body.String()
				if strings.Contains(text, "secret") || strings.Contains(text, cleanEnds[c.name]) || !strings.Contains(text, "error") {
					t.Errorf("got %d %s", w.Code, text)
				}
				if later != (w.Code == 200) {
					t.Errorf("status %d", w.Code)
				}
				if later && !strings.HasPrefix(text[strings.LastIndex(text, "\n\n")+2:]+"data:", "data:") && c.name != "gemini" {
					t.Errorf("the stream is garbled: %s", text)
				}
				t.Log(text)
			})
		}
	}
}

// What a client makes up as the name of a model is bounded.
func TestALongNameOfAModel(t *testing.T) {
	s := serve(t, "{}", nil)
	for _, name := range []string{"openai/" + strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20)} {
		status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, name))
		if status != 404 || len(text) > 4096 {
			t.Errorf("%d with %d bytes", status, len(text))
		}
		for k, v := range header {
			if len(v[0]) > 4096 {
				t.Errorf("%s has %d bytes", k, len(v[0]))
			}
		}
	}
}

// A provider's words that hold the key are not handed on.
func TestAKeyThatAProviderEchoes(t *testing.T) {
	const key = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"
	for _, status := range []int{400, 401, 403, 429, 500} {
		t.Setenv("ECHO_KEY", key)
		n := 0
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if n++; n > 1 && status > 400 {
				_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}`)
				return
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"message":"wrong %s","code":"%s"}}`, r.Header.Get("Authorization"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}))
		s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: ["env:ECHO_KEY"]}, other: {protocol: openai, base_url: "%s/v1", keys: ["env:ECHO_KEY"]}}, routes: {r: {models: [acme/m, other/m]}}}`, up.URL, up.URL), nil)
		code, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "r"), "X-Llmcall-Trace", "1")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/ui/", nil))
		for what, out := range map[string]string{"body": text, "header": fmt.Sprint(header), "ui": w.Body.String()} {
			if strings.Contains(out, key) {
				t.Errorf("%d: %d: %s has the key: %s", status, code, what, out)
			}
		}
		up.Close()
	}
}

// asIsModel streams events of its protocol, as an adapter does. An event that begins with !
// is a failure; one that begins with = is the answer's piece after its event.
type asIsModel struct {
	llm.Model
	llm.Streamer
	protocol string
}

func (m asIsModel) Name() string     { return m.Model.Name() }
func (m asIsModel) Protocol() string { return m.protocol }

func (m asIsModel) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	return m.Model.Complete(ctx, r)
}

func newAsIs(name, proto string, pause time.Duration, answers ...[]string) llm.Model {
	n := 0
	m := llm.StreamFunc(name, func(ctx context.Context, _ *llm.Request) iter.Seq2[llm.Chunk, error] {
		pieces := answers[min(n, len(answers)-1)]
		n++
		return func(yield func(llm.Chunk, error) bool) {
			own := asis.From(ctx)
			for _, p := range pieces {
				time.Sleep(pause)
				if text, ok := strings.CutPrefix(p, "!"); ok {
					yield(llm.Chunk{}, &failure.Error{Kind: failure.Transient, Model: name, Message: text})
					return
				}
				if own.Event != nil {
					event, _ := json.Marshal(map[string]any{"type": "delta", "sequence_number": 3, "delta": p})
					own.Event("delta", event)
				}
				if !yield(llm.Chunk{Text: p}, nil) {
					return
				}
			}
			if own.Event != nil {
				own.Event("end", []byte(`{"type":"end"}`))
			}
			yield(llm.Chunk{Finish: llm.FinishStop}, nil)
		}
	})
	return asIsModel{m, m, proto}
}

// An array of Gemini's is one, whatever happens when.
func TestArrays(t *testing.T) {
	body := `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`
	for _, c := range []struct {
		name, config string
		own, other   [][]string
		pause        time.Duration
	}{
		{"a wrong answer after a sign of life", "checks: [json], max_attempts: 1", [][]string{{"no", "JSON"}}, nil, 11 * time.Second},
		{"two wrong answers", "checks: [json], max_attempts: 2", [][]string{{"no", "JSON"}}, nil, 6 * time.Second},
		{"wrong, right", "checks: [json], max_attempts: 2", [][]string{{"no", "JSON"}, {"[1]"}}, nil, 6 * time.Second},
		{"a break after a piece", "max_attempts: 1", [][]string{{"a", "!broken"}}, nil, time.Second},
		{"a break before a piece, after a sign of life", "max_attempts: 1", [][]string{{"!broken"}}, nil, 11 * time.Second},
		{"passed and wrong", "checks: [json], stream: pass", [][]string{{"no", "JSON"}}, nil, 6 * time.Second},
		{"broken, then another protocol", "max_attempts: 2, attempts_per_model: 1", [][]string{{"!broken"}}, [][]string{{"All", " well"}}, time.Second},
		{"wrong, then another protocol", "checks: [json], max_attempts: 4", [][]string{{"no"}, {"!x"}}, [][]string{{"[1]"}}, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				models, names := map[string]llm.Model{"a/m": newAsIs("a/m", "gemini", c.pause, c.own...)}, "a/m"
				if c.other != nil {
					models["b/m"], names = newAsIs("b/m", "openai", c.pause, c.other...), "a/m, b/m"
				}
				g := bubble(t, "routes: {r: {models: ["+names+"], "+c.config+"}}", models)
				w := streamed(g, "/v1beta/models/r:streamGenerateContent", body)
				var all []map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
					t.Errorf("%d %v: %s", w.Code, err, w.Body)
				}
				t.Log(w.Body)
			})
		})
	}
}

// The numbers of a response's events go on in its error.
func TestAnErrorAfterEventsAsTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := bubble(t, "routes: {r: {models: [a/m], max_attempts: 1}}", map[string]llm.Model{"a/m": newAsIs("a/m", "openai-responses", time.Second, []string{"a", "b", "!broken"})})
		w := streamed(g, streams[1].path, streams[1].body)
		if text := w.Body.String(); strings.Contains(text, `"sequence_number":0`) {
			t.Errorf("got %s", text)
		}
	})
}

// After an attempt in the client's protocol whose answer was wrong, one of another protocol
// begins its own stream, and the other way round.
func TestProtocolsMix(t *testing.T) {
	for _, c := range streams {
		for _, first := range []string{c.name, "other"} {
			t.Run(c.name+" after "+first, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					protocols := []string{c.name, "gemini"}
					if c.name == "gemini" {
						protocols[1] = "openai"
					}
					if first == "other" {
						protocols[0], protocols[1] = protocols[1], protocols[0]
					}
					g := bubble(t, "routes: {r: {models: [a/m, b/m], checks: [json], max_attempts: 3, attempts_per_model: 1}}", map[string]llm.Model{
						"a/m": newAsIs("a/m", protocols[0], time.Second, []string{"WRONG"}, []string{"!broken"}),
						"b/m": newAsIs("b/m", protocols[1], time.Second, []string{"[17]"})})
					w := streamed(g, c.path, c.body)
					text := w.Body.String()
					if strings.Contains(text, "WRONG") || !strings.Contains(text, "17") {
						t.Errorf("got %s", text)
					}
					if first == c.name && !strings.Contains(text, cleanEnds[c.name]) {
						t.Errorf("it has no end: %s", text)
					}
				})
			})
		}
	}
}

// What has used tokens is not given back to a client that leaves.
func TestAClientThatLeavesHasUsedTokens(t *testing.T) {
	key, hash := gateway.NewKey()
	synctest.Test(t, func(t *testing.T) {
		g := bubble(t, "{clients: [{name: a, sha256: "+hash+", tokens_per_minute: 1000}], routes: {r: {models: [a/m]}}}", map[string]llm.Model{"a/m": speak("a/m", time.Second, []string{"a", "b", "c"})})
		codes := []int{}
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			w := newRecorder()
			r := httptest.NewRequestWithContext(ctx, "POST", "http://127.0.0.1"+streams[0].path, strings.NewReader(strings.Replace(streams[0].body, "{", `{"max_tokens": 400, `, 1)))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+key)
			g.Handler().ServeHTTP(w, r)
			cancel()
			codes = append(codes, w.Code)
		}
		if codes[9] != 429 {
			t.Errorf("got %v", codes)
		}
		_ = g.Shutdown(context.Background())
	})
}

// A gateway that has ended takes no other configuration.
func TestReloadAfterTheEnd(t *testing.T) {
	_, hash := gateway.NewKey()
	g := bubble(t, "{routes: {r: {models: [a/m]}}}", map[string]llm.Model{"a/m": speak("a/m", 0, []string{"a"})})
	_ = g.Shutdown(context.Background())
	_ = g.Shutdown(context.Background())
	cfg, err := gateway.Parse("gateway.yaml", []byte("{state_dir: '', clients: [{name: a, sha256: "+hash+"}], routes: {r: {models: [a/m]}}}"), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(cfg); err == nil {
		t.Error("it was taken")
	}
}

// A trace that was asked for is where clients of the protocol don't stumble over it: for
// Google's SDK for Go a comment in a stream is an error, and an array is JSON.
func TestATraceInAStream(t *testing.T) {
	for _, route := range []string{"google", "chat"} {
		s := serve(t, fourProviders+"routes: {r: {models: ["+route+"/m]}}", map[string]string{"up": ""})
		for _, path := range []string{"/v1beta/models/r:streamGenerateContent?alt=sse", "/v1beta/models/r:streamGenerateContent"} {
			_, _, text := post(t, s.url+path, `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`, "X-Llmcall-Trace", "1")
			if !strings.Contains(text, `{"llmcall":{`) {
				t.Errorf("there is no trace: %s", text)
			}
			if !strings.Contains(path, "alt") {
				if !json.Valid([]byte(text)) {
					t.Errorf("it is not JSON: %s", text)
				}
				continue
			}
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "data: {") {
					t.Errorf("a line of the stream: %s", line)
				}
			}
		}
	}
}

// broken is a writer whose client is gone.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A stream whose client has left in the middle is not counted as one that was served.
func TestAClientThatLeavesIsNotServed(t *testing.T) {
	cfg, err := gateway.Parse("gateway.yaml", []byte("routes: {r: {models: [a/m]}}"), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	var served []gateway.Served
	g, err := gateway.New(cfg, gateway.Options{
		OnRequest: func(s gateway.Served) { served = append(served, s) },
		Open: func([]string, map[string]provider.Own) ([]llm.Model, error) {
			return []llm.Model{speak("a/m", 0, []string{"a", "b"})}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+streams[0].path, strings.NewReader(streams[0].body))
	r.Header.Set("Content-Type", "application/json")
	g.Handler().ServeHTTP(broken{httptest.NewRecorder()}, r)
	if len(served) != 1 || served[0].Code != "client_left" {
		t.Errorf("got %+v", served)
	}
	_ = g.Shutdown(context.Background())
}

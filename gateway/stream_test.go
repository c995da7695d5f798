package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/gateway"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"
)

// recorder is a ResponseWriter that knows when what was written.
type recorder struct {
	*httptest.ResponseRecorder
	mu     sync.Mutex
	begun  time.Time
	writes []string // "10s : \n\n"
}

func newRecorder() *recorder {
	return &recorder{ResponseRecorder: httptest.NewRecorder(), begun: time.Now()}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, fmt.Sprintf("%v %s", time.Since(r.begun), p))
	return r.ResponseRecorder.Write(p)
}

// bubble is a gateway before models that are functions, for virtual time.
func bubble(t *testing.T, config string, models map[string]llm.Model) *gateway.Gateway {
	t.Helper()
	cfg, err := gateway.Parse("gateway.yaml", []byte(config), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, gateway.Options{Endpoints: registry, Open: func(names []string, _ map[string]provider.Own) ([]llm.Model, error) {
		var all []llm.Model
		for _, name := range names {
			all = append(all, models[name])
		}
		return all, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// speak returns a model that yields pieces with a pause before each. A piece that begins
// with ! is an error.
func speak(name string, pause time.Duration, answers ...[]string) llm.Model {
	n := 0
	return llm.StreamFunc(name, func(ctx context.Context, _ *llm.Request) iter.Seq2[llm.Chunk, error] {
		pieces := answers[min(n, len(answers)-1)]
		n++
		return func(yield func(llm.Chunk, error) bool) {
			for _, p := range pieces {
				select {
				case <-time.After(pause):
				case <-ctx.Done():
					yield(llm.Chunk{}, ctx.Err())
					return
				}
				if text, ok := strings.CutPrefix(p, "!"); ok {
					yield(llm.Chunk{}, &failure.Error{Kind: failure.Transient, Model: name, Message: text, Err: errors.New(text)})
					return
				}
				if !yield(llm.Chunk{Text: p}, nil) {
					return
				}
			}
			yield(llm.Chunk{Finish: llm.FinishStop, Usage: &llm.Usage{InputTokens: 3, OutputTokens: 5}}, nil)
		}
	})
}

func streamed(g *gateway.Gateway, path, body string) *recorder {
	w := newRecorder()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	g.Handler().ServeHTTP(w, r)
	return w
}

var streams = []struct{ name, path, body string }{
	{"openai", "/v1/chat/completions", `{"model": "r", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}`},
	{"openai-responses", "/v1/responses", `{"model": "r", "stream": true, "input": "Hello"}`},
	{"anthropic", "/v1/messages", `{"model": "r", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}`},
	{"gemini", "/v1beta/models/r:streamGenerateContent?alt=sse", `{"contents": [{"parts": [{"text": "Hello"}]}]}`},
}

// cleanEnds are what only a stream has that has ended well.
var cleanEnds = map[string]string{"openai": `"finish_reason":"stop"`, "openai-responses": `"response.completed"`, "anthropic": `message_stop`, "gemini": `"finishReason"`}

// An answer with checks is kept back until it is valid; meanwhile there is a sign of life
// every ten seconds, and a wrong answer is never seen.
func TestHold(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := bubble(t, "routes: {r: {models: [a/m], checks: [json]}}", map[string]llm.Model{"a/m": speak("a/m", 7*time.Second, []string{`{"Sure"`, "}"}, []string{`{"a"`, `:1}`})})
				w := streamed(g, c.path, c.body)
				text := w.Body.String()
				if w.Code != 200 || strings.Contains(text, "Sure") || !strings.Contains(text, cleanEnds[c.name]) || !strings.Contains(text, `\"a\"`) {
					t.Errorf("got %d %s", w.Code, text)
				}
				if len(w.writes) != 3 || !strings.HasPrefix(w.writes[0], "10s ") || !strings.HasPrefix(w.writes[1], "20s ") || !strings.HasPrefix(w.writes[2], "28s ") {
					t.Errorf("it was written %q", w.writes)
				}
			})
		})
	}
}

// An answer that is passed on as it comes, and is not valid, ends with an error and not as
// if it were whole.
func TestPass(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := bubble(t, "routes: {r: {models: [a/m], checks: [json], stream: pass}}", map[string]llm.Model{"a/m": speak("a/m", time.Second, []string{`["Sure", `, "1"})})
				w := streamed(g, c.path, c.body)
				text := w.Body.String()
				if w.Code != 200 || !strings.Contains(text, "Sure") || strings.Contains(text, cleanEnds[c.name]) || !strings.Contains(text, "no valid answer") {
					t.Errorf("got %d %s", w.Code, text)
				}
				if !strings.HasPrefix(w.writes[0], "1s ") {
					t.Errorf("it was written %q", w.writes)
				}
			})
		})
	}
}

// A stream that breaks before its first piece is asked for again, one that breaks later ends
// with an error.
func TestABrokenStream(t *testing.T) {
	for _, c := range streams {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later %v", c.name, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					first := []string{"!broken"}
					if later {
						first = []string{"Hel", "!broken"}
					}
					g := bubble(t, "routes: {r: {models: [a/m]}}", map[string]llm.Model{"a/m": speak("a/m", time.Second, first, []string{"All well"})})
					w := streamed(g, c.path, c.body)
					text := w.Body.String()
					if ends := strings.Contains(text, cleanEnds[c.name]); w.Code != 200 || ends == later || strings.Contains(text, "All well") == later {
						t.Errorf("got %d %s", w.Code, text)
					}
					if later && !strings.Contains(text, "error") {
						t.Errorf("there is no error: %s", text)
					}
				})
			})
		}
	}
}

// What the client's protocol has no place for is disclosed, in a stream at its end.
func TestWhatAStreamLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := llm.StreamFunc("a/m", func(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
			return func(yield func(llm.Chunk, error) bool) {
				_ = yield(llm.Chunk{Part: llm.ToolCall{ID: "1", Name: "f", Arguments: []byte("[1]")}}, nil) && yield(llm.Chunk{Finish: llm.FinishToolCall}, nil)
			}
		})
		g := bubble(t, "routes: {r: {models: [a/m]}}", map[string]llm.Model{"a/m": odd})
		w := streamed(g, "/v1/messages", `{"model": "r", "stream": true, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}`)
		if told := w.Result().Trailer.Get("X-Llmcall-Warnings"); !strings.Contains(told, "arguments") {
			t.Errorf("the trailers are %v: %s", w.Result().Trailer, w.Body)
		}
	})
}

// A failure after a sign of life can't be a status any more: it is the stream's own error.
func TestAFailureAfterASignOfLife(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := bubble(t, "routes: {r: {models: [a/m], max_attempts: 1}}", map[string]llm.Model{"a/m": speak("a/m", 15*time.Second, []string{"!broken"})})
				w := streamed(g, c.path, c.body)
				if text := w.Body.String(); w.Code != 200 || strings.Contains(text, cleanEnds[c.name]) || !strings.Contains(text, "error") {
					t.Errorf("got %d %s", w.Code, text)
				}
			})
		})
	}
}

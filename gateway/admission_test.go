package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"llmcall/gateway"
	"llmcall/llm"
)

// counts are requests to count tokens.
var counts = []struct{ name, path, body string }{
	{"anthropic", "/v1/messages/count_tokens", streams[2].body},
	{"gemini", "/v1beta/models/r:countTokens", streams[3].body},
}

// overLimits are where the errors of protocols say that a client is over its limit, and how.
var overLimits = map[string][2]string{
	"openai": {"error.type", "rate_limit_error"}, "openai-responses": {"error.type", "rate_limit_error"},
	"anthropic": {"error.type", "rate_limit_error"}, "gemini": {"error.status", "RESOURCE_EXHAUSTED"},
}

// limitedGateway is a gateway with a client that has limits, and returns its key.
func limitedGateway(t *testing.T, limits string, m llm.Model) (*gateway.Gateway, string) {
	t.Helper()
	key, hash := gateway.NewKey()
	return bubble(t, "{max_body: 1KiB, clients: [{name: web, sha256: "+hash+", "+limits+"}], routes: {r: {models: [a/m]}}}", map[string]llm.Model{"a/m": m}), key
}

// send serves a request with a client's key.
func send(g *gateway.Gateway, key, path string, body io.Reader, header ...string) *recorder {
	w := newRecorder()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+path, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	g.Handler().ServeHTTP(w, r)
	return w
}

// A client that is at its limit can't make the gateway hold another body: it is refused
// while the body of its first request is still on the way.
func TestLimitsAreAskedBeforeTheBody(t *testing.T) {
	for _, limit := range []string{"max_concurrent", "requests_per_minute"} {
		for i, c := range append(streams, counts...) {
			counted := i >= len(streams)
			t.Run(fmt.Sprintf("%s/%s/count=%t", limit, c.name, counted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g, key := limitedGateway(t, limit+": 1", speak("a/m", 0, []string{"Hi"}))
					slow, in := io.Pipe()
					first := make(chan *recorder)
					go func() { first <- send(g, key, c.path, slow) }()
					half := len(c.body) / 2
					_, _ = io.WriteString(in, c.body[:half])
					synctest.Wait()

					body := strings.NewReader(c.body)
					w := send(g, key, c.path, body)
					text, says := w.Body.String(), overLimits[c.name]
					if w.Code != 429 || w.Header().Get("X-Llmcall-Limit") != limit || w.Header().Get("Retry-After") == "" || gjson.Get(text, says[0]).Str != says[1] {
						t.Errorf("got %d %v %s", w.Code, w.Header(), text)
					}
					if body.Len() > 0 {
						t.Errorf("%d bytes were not read: many clients look at an answer only after they have sent all", body.Len())
					}

					_, _ = io.WriteString(in, c.body[half:])
					in.Close()
					if w := <-first; w.Code != 200 {
						t.Errorf("the first got %d %s", w.Code, w.Body)
					}
					_ = g.Shutdown(context.Background())
				})
			})
		}
	}
}

// A request that is not served uses up nothing, whyever it is not; nor does a count of
// tokens.
func TestWhatIsNotServedIsGivenBack(t *testing.T) {
	chat := streams[0]
	for _, c := range []struct {
		name   string
		path   string
		body   io.Reader
		header []string
		status int
	}{
		{"no JSON", chat.path, strings.NewReader("{"), nil, 400},
		{"another type", chat.path, strings.NewReader(chat.body), []string{"Content-Type", "text/plain"}, 415},
		{"compressed", chat.path, strings.NewReader(chat.body), []string{"Content-Encoding", "gzip"}, 415},
		{"unknown model", chat.path, strings.NewReader(fmt.Sprintf(hello, "none")), nil, 404},
		{"too large", chat.path, strings.NewReader(strings.Repeat(" ", 2<<10)), nil, 413},
		{"too large, in chunks", chat.path, io.LimitReader(strings.NewReader(strings.Repeat(" ", 2<<10)), 2<<10), nil, 413},
		{"cut off", chat.path, io.MultiReader(strings.NewReader("{"), iotest.ErrReader(errors.New("reset"))), nil, 408},
		{"panics", chat.path, panicking{}, nil, 500},
		{"too many tokens", chat.path, strings.NewReader(strings.Replace(chat.body, "{", `{"max_tokens": 700, `, 1)), nil, 429},
		{"not a body to count", counts[0].path, strings.NewReader("{"), nil, 400},
		{"a count", counts[0].path, strings.NewReader(counts[0].body), nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, key := limitedGateway(t, "max_concurrent: 1, requests_per_minute: 2, tokens_per_minute: 600", speak("a/m", 0, []string{"Hi"}))
				if w := send(g, key, chat.path, strings.NewReader(strings.Replace(chat.body, "{", `{"max_tokens": 500, `, 1))); w.Code != 200 {
					t.Fatalf("the first got %d %s", w.Code, w.Body)
				}
				// The answer has used 8 tokens: the rest of the 600 is there again.
				if w := send(g, key, c.path, c.body, c.header...); w.Code != c.status {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				if w := send(g, key, chat.path, strings.NewReader(chat.body)); w.Code != 200 {
					t.Errorf("then %d %s", w.Code, w.Body)
				}
				if w := send(g, key, chat.path, strings.NewReader(chat.body)); w.Code != 429 || w.Header().Get("X-Llmcall-Limit") != "requests_per_minute" {
					t.Errorf("the third that is served got %d %v", w.Code, w.Header())
				}
				_ = g.Shutdown(context.Background())
			})
		})
	}
}

// panicking is a body whose reader panics.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a reader") }

// What waits in a refused request's body is not waited for longer than for that of any other,
// and a client that asks before it sends is told at once.
func TestARefusedBodyThatDoesNotCome(t *testing.T) {
	key, hash := gateway.NewKey()
	synctest.Test(t, func(t *testing.T) {
		g := bubble(t, "{clients: [{name: web, sha256: "+hash+", requests_per_minute: 1}], routes: {r: {models: [a/m]}}}", map[string]llm.Model{"a/m": speak("a/m", 0, []string{"Hi"})})
		if w := send(g, key, streams[0].path, strings.NewReader(streams[0].body)); w.Code != 200 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		p, end := onPipes(g)
		for _, c := range []struct {
			name, header string
			most         time.Duration
		}{{"silent", "X-A: b", 3 * time.Minute}, {"asks first", "Expect: 100-continue", time.Second}} {
			conn := p.dial(t)
			start := time.Now()
			_, _ = io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer "+key+"\r\nContent-Length: 900000\r\n"+c.header+"\r\n\r\n")
			text := make([]byte, 12)
			_, _ = io.ReadFull(conn, text)
			if took := time.Since(start); took > c.most || c.most == time.Second && string(text) != "HTTP/1.1 429" {
				t.Errorf("%s: %q after %v", c.name, text, took)
			}
			conn.Close()
			if c.most > time.Minute {
				_ = send(g, key, streams[0].path, strings.NewReader(streams[0].body)) // takes what has come back meanwhile
			}
		}
		if took, err := end(); err != nil || took > time.Minute {
			t.Errorf("it ended after %v with %v", took, err)
		}
	})
}

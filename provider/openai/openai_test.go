package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"go.uber.org/goleak"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is one that would be seen wherever it leaks.
const key = "sk-RECOGNISABLE-0123456789"

// hello is what OpenAI answers to a greeting.
const hello = `{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-6-luna-2026-08-06",
  "choices": [
    {
      "index": 0,
      "message": {"role": "assistant", "content": "Hello! How can I assist you today?", "refusal": null, "annotations": []},
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default"
}`

// server starts a provider that answers with handle.
func server(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// model makes one of the server's.
func model(t *testing.T, s *httptest.Server, change func(*openai.Options)) *openai.Model {
	t.Helper()
	opts := openai.Options{APIKey: key, BaseURL: s.URL + "/v1", HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := openai.New("gpt-6-luna", opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reply answers with a status, a body and headers.
func reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// failed makes a call that must fail, and looks at everything that could print
// the error.
func failed(t *testing.T, m *openai.Model, ctx context.Context) *failure.Error {
	t.Helper()
	response, err := m.Complete(ctx, llm.Prompt("the prompt"))
	var e *failure.Error
	if !errors.As(err, &e) || response != nil {
		t.Fatalf("got %v, %v (%T)", response, err, err)
	}
	if e.Provider != "openai" || e.Model != "openai/gpt-6-luna" {
		t.Errorf("the error says it is from %q, %q", e.Provider, e.Model)
	}
	secretFree(t, err)
	return e
}

func secretFree(t *testing.T, err error) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v", "%x"} {
		mustHide(t, verb, fmt.Sprintf(verb, err))
		mustHide(t, "wrapped "+verb, fmt.Sprintf(verb, fmt.Errorf("call: %w", err)))
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		mustHide(t, fmt.Sprintf("%T", inner), fmt.Sprintf("%v %+v %#v", inner, inner, inner))
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", err)
	mustHide(t, "slog", log.String())
	var api *sdk.Error
	if errors.As(err, &api) {
		mustHide(t, "request", string(api.DumpRequest(true)))
		mustHide(t, "request of the response", fmt.Sprint(api.Response.Request.Header))
		mustHide(t, "response", api.RawJSON()+api.Message+api.Code)
	}
}

// mustHide fails the test if text shows what no error may.
func mustHide(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{key, fmt.Sprintf("%x", key), "the prompt"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: shows %q: %s", where, secret, text)
		}
	}
}

func TestAnswer(t *testing.T) {
	m := model(t, server(t, reply(200, hello, "X-Request-Id", "req_123")), nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Text() != "Hello! How can I assist you today?" || got.Message.Role != llm.RoleAssistant || got.Finish != llm.FinishStop ||
		got.Model != "gpt-6-luna-2026-08-06" || got.RequestID != "req_123" {
		t.Errorf("got %+v", got)
	}
	if want := (llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3}); got.Usage != want {
		t.Errorf("usage %+v, want %+v", got.Usage, want)
	}
}

func TestAnswerWithToolCalls(t *testing.T) {
	m := model(t, server(t, reply(200, `{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[
		{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Berlin\"}"}},
		{"id":"call_2","type":"function","function":{"name":"time","arguments":"{broken"}}]},"finish_reason":"tool_calls"}]}`)), nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil {
		t.Fatal(err)
	}
	calls := got.Message.ToolCalls()
	if len(calls) != 2 || calls[0].ID != "call_1" || calls[0].Name != "weather" || string(calls[0].Arguments) != `{"city": "Berlin"}` ||
		string(calls[1].Arguments) != "{broken" {
		t.Errorf("calls %+v", calls)
	}
	if got.Finish != llm.FinishToolCall || got.Text() != "" {
		t.Errorf("got %+v", got)
	}
}

func TestFinishReasons(t *testing.T) {
	const call = `,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]`
	for _, step := range []struct {
		reason, more string
		want         llm.Finish
	}{
		{`"stop"`, "", llm.FinishStop},
		{`"eos"`, "", llm.FinishStop},
		{`"stop"`, call, llm.FinishToolCall},
		{`"tool_calls"`, call, llm.FinishToolCall},
		{`"length"`, "", llm.FinishLength},
		{`"length"`, call, llm.FinishLength},
		{`null`, "", llm.FinishNone},
		{`""`, "", llm.FinishNone},
		{`"something new"`, "", llm.FinishNone},
	} {
		body := `{"choices":[{"message":{"content":"text"` + step.more + `},"finish_reason":` + step.reason + `}]}`
		got, err := model(t, server(t, reply(200, body)), nil).Complete(t.Context(), llm.Prompt("Hello!"))
		if err != nil || got.Finish != step.want || got.Text() != "text" {
			t.Errorf("%s%s: got %+v, %v; want %q", step.reason, step.more, got, err, step.want)
		}
	}
}

func TestAnswerNeedsNoContentType(t *testing.T) {
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", ""} {
		m := model(t, server(t, reply(200, hello, "Content-Type", contentType)), nil)
		if got, err := m.Complete(t.Context(), llm.Prompt("Hello!")); err != nil || got.Finish != llm.FinishStop {
			t.Errorf("%q: got %v, %v", contentType, got, err)
		}
	}
}

func TestEveryStatusIsClassifiedAndTriedOnce(t *testing.T) {
	body := func(code, kind, message string) string {
		text, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
		return string(text)
	}
	for _, step := range []struct {
		status  int
		body    string
		headers []string
		want    failure.Error
	}{
		{429, body("rate_limit_exceeded", "requests", "Rate limit reached."), []string{"Retry-After", "20"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 20 * time.Second}},
		{429, body("rate_limit_exceeded", "tokens", "Rate limit reached."), []string{"Retry-After", "20", "Retry-After-Ms", "19500.5"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 19500500 * time.Microsecond}},
		{429, body("insufficient_quota", "insufficient_quota", "You exceeded your current quota."), nil,
			failure.Error{Kind: failure.QuotaExhausted, Code: "insufficient_quota", Message: "You exceeded your current quota."}},
		{429, body("slow_down", "rate_limit_error", "Slow down."), nil,
			failure.Error{Kind: failure.Overloaded, Code: "slow_down", Message: "Slow down."}},
		{503, `{"error":{"message":"Busy.","type":"service_unavailable_error","code":null}}`, nil,
			failure.Error{Kind: failure.Overloaded, Code: "service_unavailable_error", Message: "Busy."}},
		{500, body("", "server_error", "The server had an error."), []string{"X-Should-Retry", "true"},
			failure.Error{Kind: failure.Transient, Code: "server_error", Message: "The server had an error."}},
		{502, "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n", []string{"Content-Type", "text/html"},
			failure.Error{Kind: failure.Transient, Message: "<html> <head><title>502 Bad Gateway</title></head> </html>"}},
		{504, "", nil, failure.Error{Kind: failure.Transient, Message: "Gateway Timeout"}},
		{529, "", nil, failure.Error{Kind: failure.Overloaded, Message: "the response says no more"}},
		{408, "", nil, failure.Error{Kind: failure.Transient, Message: "Request Timeout"}},
		{409, "", nil, failure.Error{Kind: failure.Transient, Message: "Conflict"}},
		{400, body("context_length_exceeded", "invalid_request_error", "Too long."), nil,
			failure.Error{Kind: failure.ContextTooLong, Code: "context_length_exceeded", Message: "Too long."}},
		{400, body("content_policy_violation", "invalid_request_error", "No."), nil,
			failure.Error{Kind: failure.ContentFiltered, Code: "content_policy_violation", Message: "No."}},
		{400, `{"error":{"message":"Unsupported parameter.","type":"invalid_request_error","param":"stop","code":null}}`, []string{"X-Should-Retry", "true"},
			failure.Error{Kind: failure.InvalidRequest, Code: "invalid_request_error", Message: "Unsupported parameter."}},
		{401, body("invalid_api_key", "invalid_request_error", "Incorrect API key provided: "+key+"."), nil,
			failure.Error{Kind: failure.Unauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided: [key]."}},
		{403, body("unsupported_country_region_territory", "request_forbidden", "Country not supported."), nil,
			failure.Error{Kind: failure.ModelNotFound, Code: "unsupported_country_region_territory", Message: "Country not supported."}},
		{404, body("model_not_found", "invalid_request_error", "No such model."), nil,
			failure.Error{Kind: failure.ModelNotFound, Code: "model_not_found", Message: "No such model."}},
		{402, `{"error":{"code":402,"message":"Insufficient credits."}}`, nil,
			failure.Error{Kind: failure.QuotaExhausted, Message: "Insufficient credits."}},
		{503, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, nil,
			failure.Error{Kind: failure.Overloaded, Message: "server busy, please try again. maximum pending requests exceeded"}},
		{400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil,
			failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
		{500, "\xff\xfe\x00 " + key, nil, failure.Error{Kind: failure.Transient, Message: "\ufffd\ufffd [key]"}},
		{400, `{"error":{"message":"` + key + `","code":"` + key + `"}}`, []string{"X-Request-Id", key},
			failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
	} {
		var calls atomic.Int32
		handle := reply(step.status, step.body, append([]string{"X-Request-Id", "req_1"}, step.headers...)...)
		got := failed(t, model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			handle(w, r)
		}), nil), t.Context())
		if got.Kind != step.want.Kind || got.Status != step.status || got.Code != step.want.Code || got.Message != step.want.Message ||
			got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter {
			t.Errorf("%d %.80s\ngot  %#v\nwant %#v", step.status, step.body, got, step.want)
		}
		if got.RequestID != "req_1" && got.RequestID != "[key]" {
			t.Errorf("%d: request ID %q", step.status, got.RequestID)
		}
		if calls.Load() != 1 {
			t.Errorf("%d: %d calls", step.status, calls.Load())
		}
		var api *sdk.Error
		if !errors.As(got, &api) || api.StatusCode != step.status {
			t.Errorf("%d: the SDK's error is %+v", step.status, api)
			continue
		}
		if dump := string(api.DumpResponse(true)); !strings.HasSuffix(dump, strings.ReplaceAll(step.body, key, "[key]")) {
			t.Errorf("%d: the response is %q", step.status, dump)
		}
		if dump := string(api.DumpRequest(true)); !strings.HasPrefix(dump, "POST /v1/chat/completions HTTP/1.1\r\n") {
			t.Errorf("%d: the request is %q", step.status, dump)
		}
	}
}

func TestRetryAfterDateCountsFromTheResponse(t *testing.T) {
	in := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	got := failed(t, model(t, server(t, reply(429, "", "Retry-After", in)), nil), t.Context())
	if !got.Told || got.RetryAfter > time.Hour || got.RetryAfter < 59*time.Minute {
		t.Errorf("got %v, %v", got.RetryAfter, got.Told)
	}
}

func TestSuccessWithoutAnAnswer(t *testing.T) {
	for _, step := range []struct {
		name, body string
		want       failure.Kind
		code       string
		message    string
	}{
		{"refusal", `{"choices":[{"message":{"content":null,"refusal":"I can't help with that."},"finish_reason":"stop"}]}`,
			failure.ContentFiltered, "refusal", "I can't help with that."},
		{"filter", `{"choices":[{"message":{"content":"half"},"finish_reason":"content_filter"}]}`,
			failure.ContentFiltered, "content_filter", "the provider withheld the answer"},
		{"out of resources", `{"choices":[{"message":{"content":"half"},"finish_reason":"insufficient_system_resource"}]}`,
			failure.Overloaded, "insufficient_system_resource", "the provider broke the answer off"},
		{"number in the body", `{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"oops"}},"user_id":"x"}`,
			failure.Transient, "502", "Provider returned error: oops"},
		{"limit in the body", `{"error":{"code":429,"message":"Rate limited"}}`, failure.RateLimited, "429", "Rate limited"},
		{"bill in the body", `{"error":{"code":"insufficient_quota","message":"No."}}`, failure.QuotaExhausted, "insufficient_quota", "No."},
		{"error in the choice", `{"choices":[{"message":{"content":"half"},"finish_reason":"error","error":{"code":503,"message":"overloaded"}}]}`,
			failure.Overloaded, "503", "overloaded"},
		{"no choices", `{"choices":[]}`, failure.Transient, "", `the answer has no choices: {"choices":[]}`},
		{"null", `null`, failure.Transient, "", `the answer has no choices: null`},
		{"choices by another spelling", `{"CHOICES":[{}]}`, failure.Transient, "", `the answer has no choices: {"CHOICES":[{}]}`},
		{"truncated", hello[:100], failure.Transient, "", ""},
		{"empty", ``, failure.Transient, "", ""},
		{"HTML", "<html>sign in, " + key + "</html>", failure.Transient, "", "invalid character '<' looking for beginning of value: <html>sign in, [key]</html>"},
		{"a list", `[1]`, failure.Transient, "", ""},
	} {
		got := failed(t, model(t, server(t, reply(200, step.body, "X-Request-Id", "req_1")), nil), t.Context())
		if got.Kind != step.want || got.Code != step.code || step.message != "" && got.Message != step.message || got.Status != 200 || got.RequestID != "req_1" {
			t.Errorf("%s: got %#v", step.name, got)
		}
	}
}

// hijack answers with what handle writes to the connection.
func hijack(t *testing.T, handle func(*net.TCPConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		handle(conn.(*net.TCPConn))
		conn.Close()
	}
}

func TestBrokenConnectionsAreTransientAndTriedOnce(t *testing.T) {
	for name, handle := range map[string]func(*net.TCPConn){
		"reset":              func(c *net.TCPConn) { c.SetLinger(0) },
		"closed":             func(*net.TCPConn) {},
		"garbage":            func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") },
		"garbage of the key": func(c *net.TCPConn) { io.WriteString(c, key+"\r\n\r\n") },
		"cut": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello[:200])
		},
		"cut between chunks": func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
		},
	} {
		var calls atomic.Int32
		broken := hijack(t, handle)
		got := failed(t, model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			broken(w, r)
		}), nil), t.Context())
		if got.Kind != failure.Transient || got.Status != 0 || calls.Load() != 1 {
			t.Errorf("%s: %d calls, %#v", name, calls.Load(), got)
		}
	}
}

func TestErrorStatusCountsThoughItsBodyIsCut(t *testing.T) {
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nslow")
	})), nil)
	if got := failed(t, m, t.Context()); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second || got.Message != "slow" {
		t.Errorf("got %#v", got)
	}
}

func TestErrorStatusCountsThoughTheContextEndsInItsBody(t *testing.T) {
	release := make(chan struct{})
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nslow")
		<-release
	})), nil)
	defer close(release)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if got := failed(t, m, ctx); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second {
		t.Errorf("got %#v", got)
	}
}

func TestSwitchingProtocolsDoesNotHang(t *testing.T) {
	release := make(chan struct{})
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n")
		<-release
	})), nil)
	defer close(release)
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != 101 {
		t.Errorf("got %#v", got)
	}
}

func TestRefusedConnectionIsTransient(t *testing.T) {
	s := server(t, nil)
	m := model(t, s, nil)
	s.Close()
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || !errors.Is(got, syscall.ECONNREFUSED) {
		t.Errorf("got %#v", got)
	}
}

// hang is a server that doesn't answer until the test ends.
func hang(t *testing.T) *httptest.Server {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Query().Has("body") || strings.HasSuffix(r.URL.Path, "/half/chat/completions") {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
		}
		<-release
	}))
	t.Cleanup(func() {
		close(release)
		s.Close()
	})
	return s
}

func TestContextThatEndsEndsTheCall(t *testing.T) {
	s := hang(t)
	for _, path := range []string{"/v1", "/half"} {
		m := model(t, s, func(o *openai.Options) { o.BaseURL = s.URL + path })

		late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if got := failed(t, m, late); got.Kind != failure.DeadlineExceeded || !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("%s: late: got %#v", path, got)
		}
		stop()

		cancelled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if got := failed(t, m, cancelled); got.Kind != failure.Cancelled || !errors.Is(got, context.Canceled) {
			t.Errorf("%s: cancelled: got %#v", path, got)
		}
		if got := failed(t, m, cancelled); got.Kind != failure.Cancelled {
			t.Errorf("%s: cancelled before: got %#v", path, got)
		}
	}
}

func TestTimeoutsOfTheClientAreNotTheCallersDeadline(t *testing.T) {
	s := hang(t)
	for name, client := range map[string]*http.Client{
		"whole call": {Timeout: 20 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}},
		"header":     {Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 20 * time.Millisecond}},
		"own context": {Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			ctx, stop := context.WithTimeout(r.Context(), 20*time.Millisecond)
			defer stop()
			return s.Client().Transport.RoundTrip(r.WithContext(ctx))
		})},
	} {
		m := model(t, s, func(o *openai.Options) { o.HTTPClient = client })
		if got := failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	m := model(t, s, func(o *openai.Options) {
		o.BaseURL, o.HTTPClient = s.URL+"/half", &http.Client{Timeout: 20 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
		t.Errorf("body: got %#v", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorsOfTheClientsOwn(t *testing.T) {
	gated := &failure.Error{Kind: failure.RateLimited, RetryAfter: time.Minute, Told: true}
	for _, step := range []struct {
		name string
		trip roundTrip
		want failure.Error
	}{
		{"one that is classified", func(*http.Request) (*http.Response, error) { return nil, gated }, *gated},
		{"a stranger", func(*http.Request) (*http.Response, error) { return nil, errors.New("what") },
			failure.Error{Kind: failure.Transient}},
		{"one that prints the request", func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sent %v", r.Header)
		}, failure.Error{Kind: failure.Transient}},
	} {
		m := model(t, server(t, nil), func(o *openai.Options) { o.HTTPClient = &http.Client{Transport: step.trip} })
		if got := failed(t, m, t.Context()); got.Kind != step.want.Kind || got.RetryAfter != step.want.RetryAfter || got.Told != step.want.Told {
			t.Errorf("%s: got %#v", step.name, got)
		}
	}
}

func TestUntrustedCertificateIsNotWorthAnotherAttempt(t *testing.T) {
	s := httptest.NewUnstartedServer(reply(200, hello))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	untrusting := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	m := model(t, s, func(o *openai.Options) { o.HTTPClient = untrusting })
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || !strings.Contains(got.Message, "certificate") {
		t.Errorf("got %#v", got)
	}
	if _, err := model(t, s, nil).Complete(t.Context(), llm.Prompt("Hello!")); err != nil {
		t.Errorf("trusted: %v", err)
	}

	plain := server(t, reply(200, hello))
	m = model(t, plain, func(o *openai.Options) {
		o.BaseURL, o.HTTPClient = strings.Replace(plain.URL, "http:", "https:", 1), untrusting
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest {
		t.Errorf("HTTP where HTTPS is spoken: got %#v", got)
	}
}

func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int32
	other := server(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		reply(200, hello)(w, r)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://user:word@", 1)+"/v2/?token=secret#here", status)
		})
		for name, client := range map[string]*http.Client{
			"given": s.Client(),
			"with its own rule": {Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return nil
			}},
		} {
			got := failed(t, model(t, s, func(o *openai.Options) { o.HTTPClient = client }), t.Context())
			want := "the server redirects to " + other.URL + "/v2/: give its address as the base URL"
			if got.Kind != failure.InvalidRequest || got.Status != status || got.Message != want {
				t.Errorf("%d, client %s: got %#v", status, name, got)
			}
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("the other host got %d requests", elsewhere.Load())
	}
}

func TestRedirectsAtHomeAreFollowedWithThePrompt(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case r.URL.Path == "/v1/chat/completions":
				http.Redirect(w, r, "/v2/chat/completions", status)
			case r.Method != "POST" || r.Header.Get("Authorization") != "Bearer "+key || !strings.Contains(string(body), "the prompt"):
				t.Errorf("%d: got %s %v %s", status, r.Method, r.Header, body)
			default:
				reply(200, hello)(w, r)
			}
		})
		got, err := model(t, s, nil).Complete(t.Context(), llm.Prompt("the prompt"))
		if status >= http.StatusTemporaryRedirect {
			if err != nil || got.Finish != llm.FinishStop {
				t.Errorf("%d: got %v, %v", status, got, err)
			}
		} else if failure.KindOf(err) != failure.InvalidRequest {
			t.Errorf("%d would lose the prompt: got %v, %v", status, got, err)
		}
	}
}

func TestRedirectsAtHomeObeyTheClientsOwnRule(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v2/chat/completions", http.StatusPermanentRedirect)
	})
	m := model(t, s, func(o *openai.Options) {
		o.HTTPClient = &http.Client{Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != http.StatusPermanentRedirect {
		t.Errorf("got %#v", got)
	}
}

func TestNoContextIsAnError(t *testing.T) {
	var none context.Context
	if got := failed(t, model(t, server(t, nil), nil), none); got.Kind != failure.InvalidRequest {
		t.Errorf("got %#v", got)
	}
}

func TestRedirectsWithoutEnd(t *testing.T) {
	var calls atomic.Int32
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	if got := failed(t, model(t, s, nil), t.Context()); got.Kind != failure.InvalidRequest || calls.Load() != 10 {
		t.Errorf("%d calls, got %#v", calls.Load(), got)
	}
	nowhere := model(t, server(t, reply(304, "")), nil)
	if got := failed(t, nowhere, t.Context()); got.Kind != failure.InvalidRequest || got.Message != "Not Modified" {
		t.Errorf("got %#v", got)
	}
}

// endless is a body that never ends, and counts what was read of it.
type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

func TestAnswerWithoutEndIsAnError(t *testing.T) {
	body := &endless{}
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
	})}
	m := model(t, server(t, nil), func(o *openai.Options) { o.HTTPClient = client })
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || got.Message != "the answer is longer than 64 MiB" {
		t.Errorf("got %#v", got)
	}
	if body.read > 65<<20 || !body.closed {
		t.Errorf("read %d bytes, closed: %v", body.read, body.closed)
	}
}

func TestErrorBodyWithoutEndIsCut(t *testing.T) {
	block := strings.Repeat("x", 1<<20)
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}), nil)
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || got.Status != 503 || len(got.Message) != 500 {
		t.Errorf("got %#v", got)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "fail") {
			reply(500, `{"error":{"message":"no","type":"server_error"}}`)(w, r)
			return
		}
		reply(200, hello)(w, r)
	})
	m := model(t, s, nil)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			prompt := "Hello!"
			if i%2 == 1 {
				prompt = "fail"
			}
			_, err := m.Complete(t.Context(), llm.Prompt(prompt))
			if (err != nil) != (i%2 == 1) {
				t.Errorf("%s: %v", prompt, err)
			}
			if err != nil {
				secretFree(t, err)
			}
		})
	}
	wait.Wait()
}

package anthropic_test

import (
	"context"
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

	sdk "github.com/anthropics/anthropic-sdk-go"
	"go.uber.org/goleak"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is one that would be seen wherever it leaks.
const key = "sk-ant-RECOGNISABLE-0123456789"

// hello is what Anthropic answers to a greeting.
const hello = `{
  "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
  "type": "message",
  "role": "assistant",
  "model": "claude-haiku-5-5",
  "content": [
    {"type": "text", "text": "Hello! How can I assist you today?"}
  ],
  "stop_reason": "end_turn",
  "stop_sequence": null,
  "usage": {
    "input_tokens": 12,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 4,
    "output_tokens": 10,
    "output_tokens_details": {"thinking_tokens": 2},
    "service_tier": "standard"
  }
}`

// prompt is a request that would be seen wherever it leaks.
var prompt = llm.Prompt("the prompt")

// streamed makes a call by Stream, and puts together what comes.
func streamed(ctx context.Context, m *anthropic.Model, req *llm.Request) (*llm.Response, error) {
	var a llm.Assembly
	for chunk, err := range m.Stream(ctx, req) {
		if err != nil {
			return nil, err
		}
		a.Add(chunk)
	}
	return a.Response(), nil
}

// server starts a provider that answers with handle.
func server(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// model makes one of the server's.
func model(t *testing.T, s *httptest.Server, change func(*anthropic.Options)) *anthropic.Model {
	t.Helper()
	opts := anthropic.Options{APIKey: key, BaseURL: s.URL, HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := anthropic.New("claude-haiku-5-5", opts)
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

// failed makes a call that must fail, whole and streamed, which must not differ
// in what they say, and looks at everything that could print the error.
func failed(t *testing.T, m *anthropic.Model, ctx context.Context) *failure.Error {
	t.Helper()
	response, err := m.Complete(ctx, prompt)
	e := one(t, response, err)
	response, err = streamed(ctx, m, prompt)
	s := one(t, response, err)
	if s.Kind != e.Kind || s.Status != e.Status || s.Code != e.Code || s.Status != 0 && s.Message != e.Message || s.RequestID != e.RequestID ||
		s.Told != e.Told || s.RetryAfter.Round(time.Minute) != e.RetryAfter.Round(time.Minute) || s.NoRetry != e.NoRetry {
		t.Errorf("streamed: %#v\nwhole:    %#v", s, e)
	}
	return e
}

func one(t *testing.T, response *llm.Response, err error) *failure.Error {
	t.Helper()
	var e *failure.Error
	if !errors.As(err, &e) || response != nil {
		t.Fatalf("got %v, %v (%T)", response, err, err)
	}
	if e.Provider != "anthropic" || e.Model != "anthropic/claude-haiku-5-5" {
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
		mustHide(t, "response", api.RawJSON()+api.RequestID+fmt.Sprint(api.Response.Header))
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

func TestAnswerNeedsNoContentType(t *testing.T) {
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", ""} {
		m := model(t, server(t, reply(200, hello, "Content-Type", contentType)), nil)
		if got, err := m.Complete(t.Context(), llm.Prompt("Hello!")); err != nil || got.Finish != llm.FinishStop {
			t.Errorf("%q: got %v, %v", contentType, got, err)
		}
	}
}

func TestEveryStatusIsClassifiedAndTriedOnce(t *testing.T) {
	body := func(kind, message, more string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"` + more + `},"request_id":"req_1"}`
	}
	for _, step := range []struct {
		status  int
		body    string
		headers []string
		want    failure.Error
	}{
		{429, body("rate_limit_error", "Too many tokens.", ""), []string{"Retry-After", "20"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many tokens.", Told: true, RetryAfter: 20 * time.Second}},
		{429, body("rate_limit_error", "Too many tokens.", ""), []string{"Retry-After", "100000000000000"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many tokens."}},
		{429, body("rate_limit_error", "Spent.", `,"details":{"error_code":"enforced_spend_limit_reached"}`), nil,
			failure.Error{Kind: failure.QuotaExhausted, Code: "enforced_spend_limit_reached", Message: "Spent."}},
		{429, body("rate_limit_error", "Spent.", ""), []string{"X-Should-Retry", "false"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Spent.", NoRetry: true}},
		{400, body("invalid_request_error", "Your credit balance is too low to access the API.", ""), nil,
			failure.Error{Kind: failure.QuotaExhausted, Code: "invalid_request_error", Message: "Your credit balance is too low to access the API."}},
		{402, body("billing_error", "Pay.", ""), nil, failure.Error{Kind: failure.QuotaExhausted, Code: "billing_error", Message: "Pay."}},
		{529, body("overloaded_error", "Overloaded", ""), []string{"X-Should-Retry", "true"},
			failure.Error{Kind: failure.Overloaded, Code: "overloaded_error", Message: "Overloaded"}},
		{529, "", nil, failure.Error{Kind: failure.Overloaded, Message: "the response says no more"}},
		{500, body("api_error", "Internal server error", ""), nil,
			failure.Error{Kind: failure.Transient, Code: "api_error", Message: "Internal server error"}},
		{504, body("timeout_error", "Timed out", ""), nil, failure.Error{Kind: failure.Transient, Code: "timeout_error", Message: "Timed out"}},
		{409, body("conflict_error", "Busy", ""), nil, failure.Error{Kind: failure.Transient, Code: "conflict_error", Message: "Busy"}},
		{502, "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n", []string{"Content-Type", "text/html"},
			failure.Error{Kind: failure.Transient, Message: "<html> <head><title>502 Bad Gateway</title></head> </html>"}},
		{503, "[1]", nil, failure.Error{Kind: failure.Transient, Message: "[1]"}},
		{408, "", nil, failure.Error{Kind: failure.Transient, Message: "Request Timeout"}},
		{400, body("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", ""), nil,
			failure.Error{Kind: failure.ContextTooLong, Code: "invalid_request_error", Message: "prompt is too long: 208310 tokens > 200000 maximum"}},
		{400, body("invalid_request_error", "temperature is deprecated for this model.", ""), nil,
			failure.Error{Kind: failure.InvalidRequest, Code: "invalid_request_error", Message: "temperature is deprecated for this model."}},
		{413, body("request_too_large", "Too large.", ""), nil, failure.Error{Kind: failure.InvalidRequest, Code: "request_too_large", Message: "Too large."}},
		{401, body("authentication_error", "invalid x-api-key: "+key, ""), nil,
			failure.Error{Kind: failure.Unauthorized, Code: "authentication_error", Message: "invalid x-api-key: [key]"}},
		{403, body("permission_error", "No.", ""), nil, failure.Error{Kind: failure.Unauthorized, Code: "permission_error", Message: "No."}},
		{404, body("not_found_error", "model: claude-9", ""), nil, failure.Error{Kind: failure.ModelNotFound, Code: "not_found_error", Message: "model: claude-9"}},
		{400, body("invalid_request_error", strings.Repeat("x", 2000), ""), nil,
			failure.Error{Kind: failure.InvalidRequest, Code: "invalid_request_error", Message: strings.Repeat("x", 497) + "…"}},
		{500, "\xff\xfe\x00 " + key, nil, failure.Error{Kind: failure.Transient, Message: "\ufffd\ufffd [key]"}},
		{400, body(key, key, ""), []string{"Request-Id", key, "Anthropic-Workspace-Id", key, "X-Echo", "you sent " + key},
			failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
	} {
		var calls atomic.Int32
		handle := reply(step.status, step.body, append([]string{"Request-Id", "req_1"}, step.headers...)...)
		got := failed(t, model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			handle(w, r)
		}), nil), t.Context())
		if got.Kind != step.want.Kind || got.Status != step.status || got.Code != step.want.Code || got.Message != step.want.Message ||
			got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter || got.NoRetry != step.want.NoRetry {
			t.Errorf("%d %.80s\ngot  %#v\nwant %#v", step.status, step.body, got, step.want)
		}
		if got.RequestID != "req_1" && got.RequestID != "[key]" {
			t.Errorf("%d: request ID %q", step.status, got.RequestID)
		}
		if calls.Load() != 2 {
			t.Errorf("%d: %d calls, of one whole and one streamed", step.status, calls.Load())
		}
		var api *sdk.Error
		if !errors.As(got, &api) || api.StatusCode != step.status {
			t.Errorf("%d: the SDK's error is %+v", step.status, api)
			continue
		}
		if dump := string(api.DumpResponse(true)); !strings.Contains(dump, strings.ReplaceAll(step.body, key, "[key]")) {
			t.Errorf("%d: the response is %q", step.status, dump)
		}
		if dump := string(api.DumpRequest(true)); !strings.HasPrefix(dump, "POST /v1/messages HTTP/1.1\r\n") {
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
		{"refusal", `{"content":[{"type":"text","text":"half"}],"stop_reason":"refusal"}`,
			failure.ContentFiltered, "refusal", "the model refused to answer"},
		{"refusal with details", `{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"No exploits."}}`,
			failure.ContentFiltered, "refusal", "cyber: No exploits."},
		{"error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, failure.Overloaded, "overloaded_error", "Overloaded"},
		{"bill", `{"type":"error","error":{"type":"billing_error","message":"Pay."}}`, failure.QuotaExhausted, "billing_error", "Pay."},
		{"no content", `{"type":"message"}`, failure.Transient, "", `the answer has no content: {"type":"message"}`},
		{"content of another sort", `{"content":"hi"}`, failure.Transient, "", `the answer has no content: {"content":"hi"}`},
		{"blocks of another sort", `{"content":[7]}`, failure.Transient, "", `a block of the answer is no object: {"content":[7]}`},
		{"null", `null`, failure.Transient, "", ""},
		{"truncated", hello[:100], failure.Transient, "", ""},
		{"empty", ``, failure.Transient, "", ""},
		{"HTML", "<html>sign in, " + key + "</html>", failure.Transient, "", "invalid character '<' looking for beginning of value: <html>sign in, [key]</html>"},
		{"a list", `[1]`, failure.Transient, "", ""},
	} {
		got := failed(t, model(t, server(t, reply(200, step.body, "Request-Id", "req_1")), nil), t.Context())
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
		if got.Kind != failure.Transient || got.Status != 0 || calls.Load() != 2 {
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
	response, err := m.Complete(ctx, prompt)
	if got := one(t, response, err); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second {
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
		if r.URL.Query().Has("body") || strings.HasSuffix(r.URL.Path, "/half/v1/messages") {
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
	for _, path := range []string{"", "/half"} {
		m := model(t, s, func(o *anthropic.Options) { o.BaseURL = s.URL + path })

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
		m := model(t, s, func(o *anthropic.Options) { o.HTTPClient = client })
		if got := failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	m := model(t, s, func(o *anthropic.Options) {
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
		m := model(t, server(t, nil), func(o *anthropic.Options) { o.HTTPClient = &http.Client{Transport: step.trip} })
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
	m := model(t, s, func(o *anthropic.Options) { o.HTTPClient = untrusting })
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || !strings.Contains(got.Message, "certificate") {
		t.Errorf("got %#v", got)
	}
	if _, err := model(t, s, nil).Complete(t.Context(), llm.Prompt("Hello!")); err != nil {
		t.Errorf("trusted: %v", err)
	}

	plain := server(t, reply(200, hello))
	m = model(t, plain, func(o *anthropic.Options) {
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
			got := failed(t, model(t, s, func(o *anthropic.Options) { o.HTTPClient = client }), t.Context())
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
			case r.URL.Path == "/v1/messages":
				http.Redirect(w, r, "/v2/messages", status)
			case r.Method != "POST" || r.Header.Get("X-Api-Key") != key || !strings.Contains(string(body), "the prompt"):
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
		http.Redirect(w, r, "/v2/messages", http.StatusPermanentRedirect)
	})
	m := model(t, s, func(o *anthropic.Options) {
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
	if got := failed(t, model(t, s, nil), t.Context()); got.Kind != failure.InvalidRequest || calls.Load() != 20 {
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
	m := model(t, server(t, nil), func(o *anthropic.Options) { o.HTTPClient = client })
	response, err := m.Complete(t.Context(), prompt)
	if got := one(t, response, err); got.Kind != failure.Transient || got.Message != "the answer is longer than 64 MiB" {
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

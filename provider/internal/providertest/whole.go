package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llmcall/failure"
	"llmcall/llm"
)

// briefly is a time limit that expires while a server is silent.
const briefly = 20 * time.Millisecond

func wholeAnswer(t *testing.T, a Adapter) {
	got, err := a.answeredBy(t, a.reply(200, a.Hello)).Complete(t.Context(), prompt)
	if want := a.answer(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// answer is the meaning of Hello, sent by reply.
func (a Adapter) answer() *llm.Response {
	answer := a.Answer
	if answer.RequestID == "" {
		answer.RequestID = "req_1"
	}
	return &answer
}

func answerNeedsNoContentType(t *testing.T, a Adapter) {
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", ""} {
		m := a.answeredBy(t, Reply(200, a.Hello, "Content-Type", contentType))
		if got, err := m.Complete(t.Context(), prompt); err != nil || got.Finish != llm.FinishStop {
			t.Errorf("%q: got %v, %v", contentType, got, err)
		}
	}
}

// counted counts the requests that handle answers.
func counted(handle http.HandlerFunc) (http.HandlerFunc, *atomic.Int32) {
	calls := new(atomic.Int32)
	return func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		handle(w, r)
	}, calls
}

// pages are answers that any provider, or a proxy in front of it, may give.
var pages = []Refusal{
	{502, "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n", []string{"Content-Type", "text/html"},
		failure.Error{Kind: failure.Transient, Message: "<html> <head><title>502 Bad Gateway</title></head> </html>"}},
	{504, "", nil, failure.Error{Kind: failure.Transient, Message: "Gateway Timeout"}},
	{529, "", nil, failure.Error{Kind: failure.Overloaded, Message: "the response says no more"}},
	{408, "", nil, failure.Error{Kind: failure.Transient, Message: "Request Timeout"}},
	{503, "[1]", nil, failure.Error{Kind: failure.Transient, Message: "[1]"}},
	{418, `"tea"`, nil, failure.Error{Kind: failure.InvalidRequest, Message: `"tea"`}},
	{401, `{"detail":"Unauthorized"}`, nil, failure.Error{Kind: failure.Unauthorized, Message: "Unauthorized"}},
	{400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
	{500, "\xff\xfe\x00 " + Key, nil, failure.Error{Kind: failure.Transient, Message: "\ufffd\ufffd [key]"}},
	{500, `{"error":{"message":"No."}}`, []string{"X-Should-Retry", "false"}, failure.Error{Kind: failure.Transient, Message: "No.", NoRetry: true}},
}

func everyStatusIsClassified(t *testing.T, a Adapter) {
	for _, step := range append(pages, a.Refusals...) {
		handle, calls := counted(a.reply(step.Status, step.Body, step.Headers...))
		got := a.failed(t, a.answeredBy(t, handle), t.Context())
		if got.Kind != step.Want.Kind || got.Status != step.Status || got.Code != step.Want.Code || got.Message != step.Want.Message ||
			got.Told != step.Want.Told || got.RetryAfter != step.Want.RetryAfter || got.NoRetry != step.Want.NoRetry {
			t.Errorf("%d %.80s\ngot  %#v\nwant %#v", step.Status, step.Body, got, step.Want)
		}
		if got.RequestID != "req_1" && got.RequestID != "[key]" {
			t.Errorf("%d: request ID %q", step.Status, got.RequestID)
		}
		if calls.Load() != 2 {
			t.Errorf("%d: %d calls, of one whole and one streamed", step.Status, calls.Load())
		}
		told, ok := a.SDK(got)
		if !ok || told.Status != step.Status {
			t.Errorf("%d: the SDK's error is %+v", step.Status, told)
		}
		if told.Response != "" && !strings.Contains(told.Response, strings.ReplaceAll(step.Body, Key, "[key]")) {
			t.Errorf("%d: the response is %q", step.Status, told.Response)
		}
		if told.Request != "" && !strings.HasPrefix(told.Request, "POST "+a.Path+" HTTP/1.1\r\n") {
			t.Errorf("%d: the request is %q", step.Status, told.Request)
		}
	}
}

func retryAfterDate(t *testing.T, a Adapter) {
	in := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	got := a.failed(t, a.answeredBy(t, Reply(429, "", "Retry-After", in)), t.Context())
	if !got.Told || got.RetryAfter > time.Hour || got.RetryAfter < 59*time.Minute {
		t.Errorf("got %v, %v", got.RetryAfter, got.Told)
	}
}

func successWithoutAnAnswer(t *testing.T, a Adapter) {
	for _, step := range append([]Failure{
		{"null", failure.Transient, "", ""},
		{"[1]", failure.Transient, "", ""},
		{`"x"`, failure.Transient, "", ""},
		{"true", failure.Transient, "", ""},
		{"{}", failure.Transient, "", ""},
		{a.Hello[:100], failure.Transient, "", ""},
		{"", failure.Transient, "", ""},
		{"<html>sign in, " + Key + "</html>", failure.Transient, "", "invalid character '<' looking for beginning of value: <html>sign in, [key]</html>"},
	}, a.Failures...) {
		got := a.failed(t, a.answeredBy(t, a.reply(200, step.Text)), t.Context())
		if got.Kind != step.Kind || got.Code != step.Code || step.Message != "" && got.Message != step.Message || got.Status != 200 || got.RequestID != "req_1" ||
			strings.Contains(got.Message, " Go ") { // the words of encoding/json
			t.Errorf("%s: got %#v", step.Text, got)
		}
	}
}

func brokenConnections(t *testing.T, a Adapter) {
	for name, handle := range map[string]func(*net.TCPConn){
		"reset":              func(c *net.TCPConn) { c.SetLinger(0) },
		"closed":             func(*net.TCPConn) {},
		"garbage":            func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") },
		"garbage of the key": func(c *net.TCPConn) { io.WriteString(c, Key+"\r\n\r\n") },
		"cut": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(a.Hello), a.Hello[:200])
		},
		"cut between chunks": func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
		},
	} {
		broken, calls := counted(Hijack(t, handle))
		if got := a.failed(t, a.answeredBy(t, broken), t.Context()); got.Kind != failure.Transient || got.Status != 0 || calls.Load() != 2 {
			t.Errorf("%s: %d calls, %#v", name, calls.Load(), got)
		}
	}
}

const slow429 = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nslow"

func statusCountsThoughBodyIsCut(t *testing.T, a Adapter) {
	m := a.answeredBy(t, Hijack(t, func(c *net.TCPConn) { io.WriteString(c, slow429) }))
	if got := a.failed(t, m, t.Context()); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second || got.Message != "slow" {
		t.Errorf("got %#v", got)
	}
}

func statusCountsThoughContextEnds(t *testing.T, a Adapter) {
	release := make(chan struct{})
	m := a.answeredBy(t, Hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, slow429)
		<-release
	}))
	defer close(release)
	for name, call := range map[string]func(context.Context) *failure.Error{
		"whole":    func(ctx context.Context) *failure.Error { return a.failedWhole(t, m, ctx) },
		"streamed": func(ctx context.Context) *failure.Error { return a.failedStream(t, m, ctx) },
	} {
		ctx, stop := context.WithTimeout(t.Context(), briefly)
		if got := call(ctx); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second {
			t.Errorf("%s: got %#v", name, got)
		}
		stop()
	}
}

func switchingProtocolsDoesNotHang(t *testing.T, a Adapter) {
	release := make(chan struct{})
	m := a.answeredBy(t, Hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n")
		<-release
	}))
	defer close(release)
	if got := a.failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != 101 {
		t.Errorf("got %#v", got)
	}
}

func refusedConnectionIsTransient(t *testing.T, a Adapter) {
	s := Server(t, nil)
	m := a.model(t, s, nil)
	s.Close()
	if got := a.failed(t, m, t.Context()); got.Kind != failure.Transient || !errors.Is(got, syscall.ECONNREFUSED) {
		t.Errorf("got %#v", got)
	}
}

// hang starts a server that does not answer until the test ends, or, for paths
// below /half, not completely.
func hang(t *testing.T) *httptest.Server {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/half/") {
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

func contextEndsTheCall(t *testing.T, a Adapter) {
	s := hang(t)
	for _, path := range []string{"", "/half"} {
		m := a.model(t, s, func(o *Options) { o.BaseURL = s.URL + path + a.Base })
		for name, call := range map[string]func(context.Context) *failure.Error{
			"whole":    func(ctx context.Context) *failure.Error { return a.failedWhole(t, m, ctx) },
			"streamed": func(ctx context.Context) *failure.Error { return a.failedStream(t, m, ctx) },
		} {
			late, stop := context.WithTimeout(t.Context(), briefly)
			if got := call(late); got.Kind != failure.DeadlineExceeded || !errors.Is(got, context.DeadlineExceeded) {
				t.Errorf("%s%s: late: got %#v", name, path, got)
			}
			stop()

			cancelled, cancel := context.WithCancel(t.Context())
			time.AfterFunc(briefly, cancel)
			if got := call(cancelled); got.Kind != failure.Cancelled || !errors.Is(got, context.Canceled) {
				t.Errorf("%s%s: cancelled: got %#v", name, path, got)
			}
			if got := call(cancelled); got.Kind != failure.Cancelled {
				t.Errorf("%s%s: cancelled before: got %#v", name, path, got)
			}
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func contextEndsAfterTheAnswer(t *testing.T, a Adapter) {
	ctx, cancel := context.WithCancel(t.Context())
	m := a.withClient(t, &http.Client{Transport: RoundTrip(func(r *http.Request) (*http.Response, error) {
		body := io.NopCloser(io.MultiReader(strings.NewReader(a.Hello), readFunc(func([]byte) (int, error) {
			cancel()
			return 0, io.EOF
		})))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
	})})
	if got, err := m.Complete(ctx, prompt); err != nil || got.Finish != llm.FinishStop {
		t.Errorf("got %v, %v", got, err)
	}
}

func clientTimeouts(t *testing.T, a Adapter) {
	s := hang(t)
	whole := &http.Client{Timeout: briefly, Transport: &http.Transport{DisableKeepAlives: true}}
	for name, client := range map[string]*http.Client{
		"whole call": whole,
		"header":     {Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: briefly}},
		"own context": {Transport: RoundTrip(func(r *http.Request) (*http.Response, error) {
			ctx, stop := context.WithTimeout(r.Context(), briefly)
			defer stop()
			return s.Client().Transport.RoundTrip(r.WithContext(ctx))
		})},
	} {
		m := a.model(t, s, func(o *Options) { o.HTTPClient = client })
		if got := a.failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	m := a.model(t, s, func(o *Options) { o.BaseURL, o.HTTPClient = s.URL+"/half"+a.Base, whole })
	if got := a.failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
		t.Errorf("body: got %#v", got)
	}
}

func clientErrors(t *testing.T, a Adapter) {
	gated := &failure.Error{Kind: failure.RateLimited, RetryAfter: time.Minute, Told: true}
	for _, step := range []struct {
		name string
		trip RoundTrip
		want failure.Error
	}{
		{"one that is classified", func(*http.Request) (*http.Response, error) { return nil, gated }, *gated},
		{"a stranger", func(*http.Request) (*http.Response, error) { return nil, errors.New("what") },
			failure.Error{Kind: failure.Transient}},
		{"one that prints the request", func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sent %v", r.Header)
		}, failure.Error{Kind: failure.Transient}},
	} {
		got := a.failed(t, a.withClient(t, &http.Client{Transport: step.trip}), t.Context())
		if got.Kind != step.want.Kind || got.RetryAfter != step.want.RetryAfter || got.Told != step.want.Told {
			t.Errorf("%s: got %#v", step.name, got)
		}
	}
}

func untrustedCertificate(t *testing.T, a Adapter) {
	s := httptest.NewUnstartedServer(Reply(200, a.Hello))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	untrusting := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	m := a.model(t, s, func(o *Options) { o.HTTPClient = untrusting })
	if got := a.failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || !strings.Contains(got.Message, "certificate") {
		t.Errorf("got %#v", got)
	}
	if _, err := a.model(t, s, nil).Complete(t.Context(), prompt); err != nil {
		t.Errorf("trusted: %v", err)
	}

	plain := Server(t, Reply(200, a.Hello))
	m = a.model(t, plain, func(o *Options) {
		o.BaseURL, o.HTTPClient = strings.Replace(plain.URL, "http:", "https:", 1), untrusting
	})
	if got := a.failed(t, m, t.Context()); got.Kind != failure.InvalidRequest {
		t.Errorf("HTTP where HTTPS is spoken: got %#v", got)
	}
}

func noContextIsAnError(t *testing.T, a Adapter) {
	var none context.Context
	if got := a.failed(t, a.answeredBy(t, nil), none); got.Kind != failure.InvalidRequest {
		t.Errorf("got %#v", got)
	}
}

// endless is a body that repeats a text without end, and counts what was read of
// it.
type endless struct {
	text   string
	at     int
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.read += n
	return n, nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

// client answers every request with the body.
func (e *endless) client() *http.Client {
	return &http.Client{Transport: RoundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: e, Request: r}, nil
	})}
}

func answerWithoutEnd(t *testing.T, a Adapter) {
	body := &endless{text: strings.Repeat("\x00", 1<<16)}
	got := a.failedWhole(t, a.withClient(t, body.client()), t.Context())
	if got.Kind != failure.Transient || got.Message != "the answer is longer than 64 MiB" {
		t.Errorf("got %#v", got)
	}
	if body.read > 65<<20 || !body.closed {
		t.Errorf("read %d bytes, closed: %v", body.read, body.closed)
	}
}

func errorBodyWithoutEnd(t *testing.T, a Adapter) {
	block := strings.Repeat("x", 1<<20)
	m := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	})
	if got := a.failed(t, m, t.Context()); got.Kind != failure.Transient || got.Status != 503 || len(got.Message) != 500 {
		t.Errorf("got %#v", got)
	}
}

func manyCallsAtOnce(t *testing.T, a Adapter) {
	m := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "fail") {
			Reply(500, `{"error":{"message":"no","type":"server_error"}}`)(w, r)
			return
		}
		Reply(200, a.Hello)(w, r)
	})
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			text := "Hello!"
			if i%2 == 1 {
				text = "fail"
			}
			_, err := m.Complete(t.Context(), llm.Prompt(text))
			if (err != nil) != (i%2 == 1) {
				t.Errorf("%s: %v", text, err)
			}
			if err != nil {
				SecretFree(t, err)
			}
		})
	}
	wait.Wait()
}

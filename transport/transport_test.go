package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
	"llmcall/transport"
)

func TestMain(m *testing.M) {
	// Gemini's SDK starts it when it is imported.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const s = time.Second

// server is a Base that answers by script, in virtual time. After its script it
// answers 200. It keeps what it was sent, and counts the bodies that are open.
type server struct {
	script []reply

	mu    sync.Mutex
	start time.Time
	at    []time.Duration
	got   []string // bodies
	ctx   []context.Context
	open  atomic.Int32
}

type reply func(r *http.Request) (*http.Response, error)

func serve(script ...reply) *server { return &server{script: script, start: time.Now()} }

func (v *server) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	v.mu.Lock()
	n := len(v.at)
	v.at, v.got, v.ctx = append(v.at, time.Since(v.start)), append(v.got, string(body)), append(v.ctx, r.Context())
	v.mu.Unlock()
	answer := status(200, "fine")
	if n < len(v.script) {
		answer = v.script[n]
	}
	response, err := answer(r)
	if err == nil {
		v.open.Add(1)
		response.Body = &counted{ReadCloser: response.Body, open: &v.open}
	}
	return response, err
}

type counted struct {
	io.ReadCloser
	open   *atomic.Int32
	closed sync.Once
}

func (c *counted) Close() error {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.ReadCloser.Close()
}

func status(code int, body string, header ...string) reply {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
	}
}

func fails(err error) reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

var (
	reset   = fails(&net.OpError{Op: "read", Err: syscall.ECONNRESET})
	refused = fails(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
)

func newTransport(t *testing.T, v *server, change func(*transport.Config)) *transport.Transport {
	t.Helper()
	cfg := transport.Config{Base: v, Backoff: backoff.Exponential{Jitter: backoff.NoJitter}, Endpoints: registry(t)}
	if change != nil {
		change(&cfg)
	}
	tr, err := transport.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// registry is one of the test's own: a test knows nothing of another's failures.
func registry(t *testing.T) *endpoint.Registry {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const chat = "https://api.example.com/v1/chat/completions"

func post(t *testing.T, address, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send makes one call and tells what came of it, as "200 fine" or the error.
func send(tr http.RoundTripper, r *http.Request) (string, error) {
	response, err := tr.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}

// timely reports whether requests were sent when they should, told waits within
// the tenth, a second at most, by which the first turn after one is spread.
func timely(got, want []time.Duration) bool {
	if len(got) != len(want) {
		return false
	}
	for i := 1; i < len(got); i++ {
		late := got[i] - got[i-1] - (want[i] - want[i-1])
		if late < 0 || late > min(s, (want[i]-want[i-1])/10) {
			return false
		}
	}
	return true
}

func TestWhatHappensWhen(t *testing.T) {
	const files = "https://api.example.com/v1/files"
	for name, c := range map[string]struct {
		script  []reply
		address string // default chat
		change  func(*transport.Config)
		want    string
		at      []time.Duration
	}{
		"all is well":             {nil, "", nil, "200 fine", []time.Duration{0}},
		"the server fails":        {[]reply{status(500, ""), status(502, "<html>")}, "", nil, "200 fine", []time.Duration{0, s, 3 * s}},
		"and does not recover":    {[]reply{status(500, "a"), status(500, "b"), status(500, "c")}, "", nil, "500 c", []time.Duration{0, s, 3 * s}},
		"the connection breaks":   {[]reply{reset, refused}, "", nil, "200 fine", []time.Duration{0, s, 3 * s}},
		"it is overloaded":        {[]reply{status(529, `{"error":{"type":"overloaded_error"}}`)}, "", nil, "200 fine", []time.Duration{0, 2 * s}},
		"it says when":            {[]reply{status(429, "", "Retry-After", "7")}, "", nil, "200 fine", []time.Duration{0, 7 * s}},
		"it says in milliseconds": {[]reply{status(429, "", "Retry-After-Ms", "1500")}, "", nil, "200 fine", []time.Duration{0, 1500 * time.Millisecond}},
		"it says in the body": {[]reply{status(429, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"a.RetryInfo","retryDelay":"34s"}]}}`)},
			"https://generativelanguage.googleapis.com/v1beta/models/gemini:generateContent", nil, "200 fine", []time.Duration{0, 34 * s}},
		"a limit uses up no attempt": {slices.Repeat([]reply{status(429, "", "Retry-After", "7")}, 3), "", nil, "200 fine",
			[]time.Duration{0, 7 * s, 14 * s, 21 * s}},
		"longer than is allowed": {[]reply{status(429, "later", "Retry-After", "300")}, "", nil, "429 later", []time.Duration{0}},
		"the bill is not paid":   {[]reply{status(429, `{"error":{"code":"insufficient_quota"}}`)}, "", nil, `429 {"error":{"code":"insufficient_quota"}}`, []time.Duration{0}},
		"the caller is wrong":    {[]reply{status(400, "bad")}, "", nil, "400 bad", []time.Duration{0}},
		"the key is bad":         {[]reply{status(401, "who?")}, "", nil, "401 who?", []time.Duration{0}},
		"it says no":             {[]reply{status(503, "no", "X-Should-Retry", "false")}, "", nil, "503 no", []time.Duration{0}},
		"it says yes":            {[]reply{status(400, "", "X-Should-Retry", "true")}, "", nil, "200 fine", []time.Duration{0, s}},
		"it redirects":           {[]reply{status(307, "there")}, "", nil, "307 there", []time.Duration{0}},
		"it does not answer":     {[]reply{hang}, "", func(c *transport.Config) { c.AttemptTimeout = 5 * s }, "200 fine", []time.Duration{0, 6 * s}},
		"one attempt":            {[]reply{status(500, "a")}, "", func(c *transport.Config) { c.MaxAttempts = 1 }, "500 a", []time.Duration{0}},

		"not repeatable, and may have been done":   {[]reply{status(500, "a")}, files, nil, "500 a", []time.Duration{0}},
		"not repeatable, and timed out":            {[]reply{status(504, "a")}, files, nil, "504 a", []time.Duration{0}},
		"not repeatable, and never sent":           {[]reply{refused}, files, nil, "200 fine", []time.Duration{0, s}},
		"not repeatable, and it says so":           {[]reply{status(500, "", "X-Should-Retry", "true")}, files, nil, "200 fine", []time.Duration{0, s}},
		"not repeatable, and it says when":         {[]reply{status(503, "", "Retry-After", "2")}, files, nil, "200 fine", []time.Duration{0, 2 * s}},
		"not repeatable, and refused for the rate": {[]reply{status(429, "")}, files, nil, "200 fine", []time.Duration{0, s}},
		"a row of the table is another": {[]reply{status(400, "a")}, "", func(c *transport.Config) {
			table := failure.Decisions()
			table.Set(failure.InvalidRequest, failure.Decision{Again: failure.Backoff, Breaker: failure.Ignore})
			c.Decisions = &table
		}, "200 fine", []time.Duration{0, s}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := serve(c.script...)
				if c.address == "" {
					c.address = chat
				}
				got, err := send(newTransport(t, v, c.change), post(t, c.address, `{"model":"m"}`))
				if got != c.want || err != nil {
					t.Errorf("got %q, %v; want %q", got, err, c.want)
				}
				if !timely(v.at, c.at) {
					t.Errorf("sent at %v, want %v", v.at, c.at)
				}
				for _, body := range v.got {
					if body != `{"model":"m"}` {
						t.Errorf("sent %q", body)
					}
				}
				if v.open.Load() != 0 {
					t.Errorf("%d bodies are open", v.open.Load())
				}
			})
		})
	}
}

// A request that was begun to be written may have been carried out.
func TestARequestThatIsNotRepeatableAndWasWrittenIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(reset)
		_, err := send(newTransport(t, v, nil), post(t, "https://api.example.com/v1/files", "x"))
		if !errors.Is(err, syscall.ECONNRESET) || len(v.at) != 1 {
			t.Errorf("%v after %d requests", err, len(v.at))
		}
	})
}

func TestBodiesAreSentAgainWhole(t *testing.T) {
	large := strings.Repeat("x", 5<<20)
	for name, c := range map[string]struct {
		body  io.Reader
		limit int64
		sent  int
	}{
		"with GetBody":              {strings.NewReader(large), 0, 2},
		"without":                   {io.MultiReader(strings.NewReader(large)), 0, 2},
		"too large to be kept":      {io.MultiReader(strings.NewReader(large)), 1 << 20, 1},
		"just as large as is kept":  {io.MultiReader(strings.NewReader(large)), 5 << 20, 2},
		"not to be kept":            {io.MultiReader(strings.NewReader(large)), -1, 1},
		"with GetBody, not to keep": {strings.NewReader(large), -1, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "POST", chat, c.body)
			if err != nil {
				t.Fatal(err)
			}
			v := serve(status(500, "a"))
			got, err := send(newTransport(t, v, func(cfg *transport.Config) { cfg.MaxBody = c.limit }), r)
			if err != nil || len(v.got) != c.sent || (got == "200 fine") != (c.sent == 2) {
				t.Errorf("%s: %q, %v, sent %d times", name, got, err, len(v.got))
			}
			for _, body := range v.got {
				if body != large {
					t.Errorf("%s: sent %d bytes of %d", name, len(body), len(large))
				}
			}
		})
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// Whoever sends a request closes its body, even if it was never sent.
func TestTheRequestsBodyIsClosedWhateverHappens(t *testing.T) {
	endpoints := registry(t)
	tr := newTransport(t, serve(), func(c *transport.Config) {
		c.Endpoints, c.Key = endpoints, func(*http.Request, func() io.ReadCloser) endpoint.Key { return endpoint.Key{Name: "k"} }
	})
	forced := endpoints.Get(endpoint.Key{Name: "k"})
	forced.ForceOpen("on purpose")
	body := &closing{Reader: strings.NewReader("x")}
	r := post(t, chat, "")
	r.Body, r.GetBody, r.ContentLength = body, func() (io.ReadCloser, error) { return http.NoBody, nil }, 1
	_, err := send(tr, r)
	if _, ok := errors.AsType[*breaker.OpenError](err); !ok || !body.closed {
		t.Errorf("%v, closed %v", err, body.closed)
	}
	broken := &closing{Reader: io.MultiReader(strings.NewReader("x"), errReader{})}
	r = post(t, chat, "")
	r.Body, r.GetBody = broken, nil
	if _, err := send(tr, r); err == nil || !broken.closed {
		t.Errorf("%v, closed %v", err, broken.closed)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("torn") }

func TestTheSDKAboveIsToldNotToRetryToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, serve(slices.Repeat([]reply{status(500, "")}, 9)...), nil)
		response, err := tr.RoundTrip(post(t, chat, "{}"))
		if err != nil || response.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%v, %v", response, err)
		}
		response.Body.Close()
	})
}

func TestRequestsOfAModelShareWhatOneWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(429, "", "Retry-After", "7"))
		tr := newTransport(t, v, nil)
		var done sync.WaitGroup
		for i := range 20 {
			done.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if got, err := send(tr, post(t, chat, `{"model":"a"}`)); got != "200 fine" || err != nil {
					t.Error(got, err)
				}
			})
		}
		time.Sleep(s)
		if got, err := send(tr, post(t, chat, `{"model":"b"}`)); got != "200 fine" || err != nil || time.Since(v.start) != s {
			t.Errorf("another model: %s, %v after %v", got, err, time.Since(v.start))
		}
		other := post(t, chat, `{"model":"a"}`)
		other.Header.Set("Authorization", "Bearer another")
		if got, err := send(tr, other); got != "200 fine" || err != nil || time.Since(v.start) != s {
			t.Errorf("another key: %s, %v after %v", got, err, time.Since(v.start))
		}
		done.Wait()
		if len(v.at) != 1+2+20 || v.at[3] < 7*s {
			t.Errorf("%d requests, at %v", len(v.at), v.at)
		}
	})
}

func TestAnOpenCircuitRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(slices.Repeat([]reply{status(500, "ill")}, 5)...)
		tr := newTransport(t, v, func(c *transport.Config) { c.Options.NoBudget = true })
		for range 2 { // the second opens the circuit: it stops in its middle
			if got, err := send(tr, post(t, chat, `{"model":"a"}`)); got != "500 ill" || err != nil {
				t.Fatal(got, err)
			}
		}
		_, err := send(tr, post(t, chat, `{"model":"a"}`))
		if _, ok := errors.AsType[*breaker.OpenError](err); !ok || len(v.at) != 5 {
			t.Errorf("%v after %d requests", err, len(v.at))
		}
		if got, err := send(tr, post(t, chat, `{"model":"b"}`)); got != "200 fine" || err != nil {
			t.Errorf("another model: %s, %v", got, err)
		}
	})
}

func TestTheRequestsContextEndsEverything(t *testing.T) {
	for name, c := range map[string]struct {
		script []reply
		after  time.Duration
	}{
		"in an attempt": {[]reply{hang}, 3 * s},
		"in a wait":     {[]reply{status(429, "", "Retry-After", "60")}, 3 * s},
		"before":        {nil, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := serve(c.script...)
			ctx, cancel := context.WithCancel(t.Context())
			if c.after == 0 {
				cancel()
			}
			time.AfterFunc(c.after, cancel)
			_, err := send(newTransport(t, v, nil), post(t, chat, "{}").WithContext(ctx))
			if !errors.Is(err, context.Canceled) || time.Since(v.start) != c.after || v.open.Load() != 0 {
				t.Errorf("%s: %v after %v, %d bodies open", name, err, time.Since(v.start), v.open.Load())
			}
		})
	}
	// A wait that the deadline can't hold is not begun: the provider's own word
	// comes back at once.
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(429, "slow", "Retry-After", "60"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*s)
		defer cancel()
		got, err := send(newTransport(t, v, nil), post(t, chat, "{}").WithContext(ctx))
		if got != "429 slow" || err != nil || time.Since(v.start) != 0 {
			t.Errorf("%q, %v after %v", got, err, time.Since(v.start))
		}
	})
}

func TestALongErrorBodyComesWhole(t *testing.T) {
	long := strings.Repeat("y", 3<<20)
	v := serve(status(400, long))
	got, err := send(newTransport(t, v, nil), post(t, chat, "{}"))
	if got != "400 "+long || err != nil || v.open.Load() != 0 {
		t.Errorf("%d bytes, %v, %d open", len(got), err, v.open.Load())
	}
}

func TestABodyIsStreamedAndNotCutAtTheAttemptsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe, w := io.Pipe()
		v := serve(func(r *http.Request) (*http.Response, error) {
			context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: pipe}, nil
		})
		go func() {
			for range 10 {
				time.Sleep(s)
				io.WriteString(w, "x")
			}
			w.Close()
		}()
		got, err := send(newTransport(t, v, func(c *transport.Config) { c.AttemptTimeout = 2 * s }), post(t, chat, "{}"))
		if got != "200 xxxxxxxxxx" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestImpossibleSettings(t *testing.T) {
	for _, c := range []transport.Config{
		{AttemptTimeout: -1}, {MaxAttempts: -1}, {MaxRetryAfter: -1}, {MaxRateLimitWait: -1}, {Options: endpoint.Options{Breaker: breaker.Config{FailureThreshold: -1}}}, {Backoff: backoff.Exponential{Factor: 0.5}},
	} {
		if _, err := transport.New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// failures is an observer of failed attempts alone.
func failures(see func(retry.Event)) retry.Observer {
	return func(ctx context.Context, e retry.Event) context.Context {
		if e.Type == retry.AttemptEnded && e.Err != nil {
			see(e)
		}
		return nil
	}
}

type name struct{}

func TestTheAttemptsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		v := serve(status(503, ""))
		tr := newTransport(t, v, func(c *transport.Config) {
			c.Observer = func(ctx context.Context, e retry.Event) context.Context {
				seen = append(seen, fmt.Sprintf("%s of %v: %v %v %s", e.Type, ctx.Value(name{}), e.Kind, e.Wait, e.Reason))
				if e.Type == retry.AttemptStarted {
					return context.WithValue(ctx, name{}, fmt.Sprint("attempt ", e.Attempt))
				}
				return context.WithValue(ctx, name{}, "call")
			}
		})
		ctx := context.WithValue(t.Context(), name{}, "request")
		response, err := tr.RoundTrip(post(t, chat, "{}").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, "a response")
		if _, err := io.ReadAll(response.Body); err != nil {
			t.Error(err)
		}
		response.Body.Close()
		want := []string{
			"call_started of request: unknown 0s ",
			"attempt_started of call: unknown 0s ",
			"attempt_ended of attempt 1: transient 0s ",
			"waiting of call: unknown 1s backoff",
			"attempt_started of call: unknown 1s backoff",
			"a response",
			"attempt_ended of attempt 2: unknown 0s ",
			"call_ended of call: unknown 0s ",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("%q, want %q", seen, want)
		}
		if got := []any{v.ctx[0].Value(name{}), v.ctx[1].Value(name{})}; !slices.Equal(got, []any{"attempt 1", "attempt 2"}) {
			t.Errorf("sent with the contexts of %v", got)
		}
	})
}

func TestRepeatable(t *testing.T) {
	for call, want := range map[string]bool{
		"GET /v1/files": true, "DELETE /v1/files/1": true, "PUT /x": true, "PATCH /x": false, "POST /v1/files": false,
		"POST /v1/chat/completions": true, "POST /v1/responses": true, "POST /v1/responses/r1/cancel": false, "POST /v1/messages": false,
		"POST /v1/threads/t/messages": false, "POST /v1/messages/batches": false, "POST /v1beta/models/m:streamGenerateContent": true,
		"POST /v1/embeddings/": true, "POST /v1/fine_tuning/jobs": false,
	} {
		method, path, _ := strings.Cut(call, " ")
		r, err := http.NewRequest(method, "https://a.example"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.Repeatable(r); got != want {
			t.Errorf("%s: %v", call, got)
		}
		r.Header.Set("Idempotency-Key", "1")
		if !transport.Repeatable(r) {
			t.Errorf("%s with a key is not", call)
		}
	}
}

// Many an API sends a mail, an SMS or a message to people by a POST to …/messages.
func TestOnlyAnthropicsMessagesAreRepeatable(t *testing.T) {
	for address, want := range map[string]bool{
		"https://api.anthropic.com/v1/messages": true, "https://api.mailgun.example/v3/my.domain/messages": false,
		"https://chat.example/api/v10/channels/1/messages": false, "https://sms.example/v1/messages": false,
	} {
		r := post(t, address, "{}")
		if got := transport.Repeatable(r); got != want {
			t.Errorf("%s: %v", address, got)
		}
		if r.Header.Set("Anthropic-Version", "2023-06-01"); !transport.Repeatable(r) {
			t.Errorf("%s in Anthropic's protocol is not", address)
		}
	}
}

// Some servers quote the key that they refuse.
func TestNoKeyIsInAnError(t *testing.T) {
	const key = "sk-SECRET-1234"
	for name, set := range map[string]func(r *http.Request){
		"Authorization": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) },
		"X-Api-Key":     func(r *http.Request) { r.Header.Set("X-Api-Key", key) },
		"a query":       func(r *http.Request) { r.URL.RawQuery = "key=" + key },
	} {
		synctest.Test(t, func(t *testing.T) {
			var seen []string
			body := `{"error":{"message":"no such key: sk-SECRET-1234","code":"for sk-SECRET-1234` + strings.Repeat("x", 1000) + `"}}`
			v := serve(status(503, body, "X-Request-Id", "of "+key))
			tr := newTransport(t, v, func(c *transport.Config) {
				c.Observer = failures(func(e retry.Event) {
					f, _ := errors.AsType[*failure.Error](e.Err)
					seen = append(seen, e.Err.Error(), f.Code, f.RequestID)
				})
			})
			r := post(t, chat, "{}")
			set(r)
			if _, err := send(tr, r); err != nil || len(seen) != 3 {
				t.Fatal(err, seen)
			}
			for _, text := range seen {
				if strings.Contains(text, "SECRET") || len(text) > 700 {
					t.Errorf("%s: %d bytes: %q", name, len(text), text)
				}
			}
		})
	}
}

// A setting that is impossible, or that would silently do nothing, is an error that
// names it.
func TestSettingsInVainAreRefused(t *testing.T) {
	for _, c := range []struct {
		config transport.Config
		says   string
	}{
		{transport.Config{Protocol: "opneai"}, "Protocol"},
		{transport.Config{Options: endpoint.Options{NoBreaker: true, Breaker: breaker.Config{FailureThreshold: 4}}}, "Breaker"},
		{transport.Config{Options: endpoint.Options{NoBreaker: true}, Hang: 5 * time.Second}, "Hang"},
		{transport.Config{AttemptTimeout: -1}, "AttemptTimeout"},
		{transport.Config{MaxAttempts: -1}, "MaxAttempts"},
		{transport.Config{Protocol: "gemini", Options: endpoint.Options{NoBreaker: true}, Hang: -1}, ""},
		{transport.Config{Options: endpoint.Options{Breaker: breaker.Config{FailureThreshold: 4}}, Hang: 5 * time.Second}, ""},
	} {
		_, err := transport.New(c.config)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want one of %q", c.config, err, c.says)
		}
	}
}

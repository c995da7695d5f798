package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"llmcall"
	"llmcall/backoff"
	"llmcall/failure"
)

// bad is a server that answers with what no client asked for. It is given the
// key as it came with the request, to put it into whatever it sends.
type bad struct {
	name  string
	serve func(w http.ResponseWriter, r *http.Request, key string)
	kind  failure.Kind
	large bool
	// streams leaves whole answers out, for which it is the same as another.
	streams bool
}

var badInputs = []bad{
	{name: "empty body", kind: failure.Transient, serve: says(200, "application/json", "")},
	{name: "blank body", kind: failure.Transient, serve: says(200, "application/json", " \r\n ")},
	{name: "no JSON", kind: failure.Transient, serve: says(200, "application/json", "it went wrong for KEY")},
	{name: "half of JSON", kind: failure.Transient, serve: says(200, "application/json", `{"id":"KEY","choices":[{"message":{"content":"KEY`)},
	{name: "JSON of another shape", kind: failure.Transient, serve: says(200, "application/json", `{"KEY":["KEY"],"id":{"KEY":1}}`)},
	{name: "fields of other types", kind: failure.Transient, serve: says(200, "application/json",
		`{"choices":"KEY","content":"KEY","output":"KEY","candidates":"KEY","id":"KEY"}`)},
	{name: "items of other types", kind: failure.Transient, serve: says(200, "application/json",
		`{"choices":["KEY"],"content":["KEY"],"output":["KEY"],"candidates":["KEY"],"id":"KEY"}`)},
	{name: "JSON 100,000 deep", kind: failure.Transient, serve: says(200, "application/json", strings.Repeat("[", 100_000)+"KEY")},
	{name: "bytes that are no text", kind: failure.Transient, serve: says(200, "application/octet-stream", "\x00\xff\xfe\x1b[31mKEY\x00")},
	{name: "a page of HTML", kind: failure.Transient, serve: says(200, "text/html", "<html><body>Sign in, KEY</body></html>")},
	{name: "a page of HTML as an error", kind: failure.Transient, serve: says(502, "text/html", "<html><body>Bad gateway for KEY</body></html>")},
	{name: "an error that is no JSON", kind: failure.InvalidRequest, serve: says(400, "application/json", "KEY is odd")},
	{name: "an error that quotes the key", kind: failure.Unauthorized, serve: says(401, "application/json",
		`{"type":"error","error":{"type":"authentication_error","code":"KEY","status":"KEY","message":"Incorrect API key provided: KEY","param":"KEY","details":[{"@type":"KEY","reason":"KEY"}]},"request_id":"KEY"}`)},
	{name: "an error in a success that quotes the key", kind: failure.Transient, serve: says(200, "application/json",
		`{"type":"error","error":{"type":"server_error","status":"INTERNAL","message":"No luck with KEY","code":500,"details":[{"@type":"KEY"}]},"request_id":"KEY"}`)},
	{name: "the key in lines", kind: failure.Transient, serve: says(500, "text/plain", "K\x00EY KEY\nKEY\r\nKEY"+strings.Repeat(" KEY", 1000))},
	{name: "the key where the message is cut", kind: failure.Transient, serve: says(500, "text/plain", strings.Repeat("x", 480)+"KEY")},
	{name: "headers of no known form", kind: failure.Transient, serve: odd(503)},
	{name: "headers of no known form at a limit", kind: failure.RateLimited, serve: odd(429)},
	{name: "times beyond all bounds", kind: failure.RateLimited, serve: func(w http.ResponseWriter, r *http.Request, key string) {
		w.Header().Set("Retry-After", strings.Repeat("9", 400))
		says(429, "application/json", `{"error":{"code":429,"type":"rate_limit_error","status":"RESOURCE_EXHAUSTED","message":"KEY","details":[]}}`)(w, r, key)
	}},
	{name: "a Content-Type of no known form", kind: failure.Transient, serve: says(200, ";;=KEY", "KEY")},
	{name: "a redirect loop", kind: failure.InvalidRequest, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("Location", "/"+key+"?key="+key)
		w.WriteHeader(307)
	}},
	{name: "a redirect to nowhere", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("Location", "://"+key)
		w.WriteHeader(308)
	}},
	{name: "a redirect into the dark", kind: failure.Transient, serve: func(w http.ResponseWriter, r *http.Request, key string) {
		if r.URL.RawQuery != "k="+key {
			w.Header().Set("Location", "/v1?k="+key)
			w.WriteHeader(307)
			return
		}
		reset(w)
	}},
	{name: "a body that ends early", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"id":"`+key)
	}},
	{name: "an error whose body ends early", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(500)
		io.WriteString(w, `{"error":{"message":"`+key)
	}},
	{name: "no HTTP", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		raw(w, key+" is no status line\r\n\r\n")
	}},
	{name: "a status of no known form", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		raw(w, "HTTP/1.1 "+key+"\r\n\r\n")
	}},
	{name: "a header without end", kind: failure.Transient, serve: func(w http.ResponseWriter, _ *http.Request, key string) {
		raw(w, "HTTP/1.1 200 OK\r\nX-Odd: "+strings.Repeat(key, 1<<20/len(key)*11)+"\r\n\r\n")
	}},
	{name: "events that are none", kind: failure.Transient, serve: says(200, "text/event-stream",
		": a comment\n\nevent: KEY\n\ndata: KEY\n\nKEY\n\ndata: {\"id\":\"KEY\n\n\x00\xff\n\ndata\n\n:\n\n")},
	{name: "events of other types", kind: failure.Transient, serve: says(200, "text/event-stream",
		"data: [\"KEY\"]\n\ndata: 7\n\ndata: null\n\ndata: \"KEY\"\n\n")},
	{name: "an error event that quotes the key", kind: failure.Transient, serve: says(200, "text/event-stream",
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"status\":\"INTERNAL\",\"code\":500,\"message\":\"No luck with KEY\"}}\n\n")},
	{name: "no more than comments", kind: failure.Transient, serve: says(200, "text/event-stream", strings.Repeat(": KEY\n\n", 1000))},
	{name: "an answer of 100 MB", kind: failure.Transient, large: true, serve: huge(200, "application/json", `{"id":"`)},
	{name: "a stream of 100 MB in one event", kind: failure.Transient, large: true, streams: true, serve: huge(200, "text/event-stream", `data: {"id":"`)},
	{name: "a stream of 100 MB without a line's end", kind: failure.Transient, large: true, streams: true, serve: huge(200, "text/event-stream", ``)},
	{name: "an error of 100 MB", kind: failure.Transient, large: true, serve: huge(500, "application/json", `{"error":{"message":"`)},
}

// says answers with a text, the key in the place of KEY.
func says(status int, mediaType, text string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, key string) {
		quotes(w.Header(), key)
		w.Header().Set("Content-Type", strings.ReplaceAll(mediaType, "KEY", key))
		w.WriteHeader(status)
		io.WriteString(w, strings.ReplaceAll(text, "KEY", key))
	}
}

// quotes puts the key into every header that is read.
func quotes(h http.Header, key string) {
	for _, name := range []string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "X-Goog-Request-Id", "Anthropic-Organization-Id", "Anthropic-Workspace-Id", "Server", "Set-Cookie", "Www-Authenticate"} {
		h.Set(name, key)
	}
}

// odd has every header that says when to come back, in forms that say nothing.
func odd(status int) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, key string) {
		for _, name := range []string{
			"Retry-After", "Retry-After-Ms", "X-Should-Retry", "X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens", "X-Ratelimit-Remaining-Requests",
			"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Tokens-Reset", "Anthropic-Ratelimit-Requests-Remaining",
		} {
			w.Header()[name] = []string{key, "-1", "NaN", "0x10", "1e", "soon", ", ,", "Mon, 99 Foo 2026 99:99:99 GMT", "99" + key}
		}
		says(status, "application/json", `{"error":{"type":"requests","message":"KEY"}}`)(w, r, key)
	}
}

func huge(status int, mediaType, start string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, key string) {
		says(status, mediaType, start)(w, r, key)
		filling := bytes.Repeat([]byte(key), 1<<16/len(key))
		for size := 0; size < 100<<20; {
			n, err := w.Write(filling)
			if err != nil {
				return // the client has enough
			}
			size += n
		}
		io.WriteString(w, `"}}`+"\n\n")
	}
}

func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, text)
}

// keyOf is the key that a request came with.
func keyOf(r *http.Request) string {
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key"} {
		if value := r.Header.Get(name); value != "" {
			return strings.TrimPrefix(value, "Bearer ")
		}
	}
	return ""
}

// The bounds on what a call may read and keep of a body of 100 MB.
const (
	mostRead = 65 << 20 // of an answer; wire.MaxAnswer and what is under way
	mostKept = 2 << 20
	mostMade = 6 * mostRead // as a buffer grows, what it held is copied
)

// TestBadInput sends every provider's adapter what no provider should send, in
// the place of an answer and of a stream. Each call ends with an error of a
// known kind; nothing panics, no goroutine is left, what is read and what is
// kept is bounded, and the key, which the server puts into all that it sends, is
// in nothing that is printed.
func TestBadInput(t *testing.T) {
	// Each call reports to a log of its own; what else is logged by default is seen too.
	var printed lockedBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&printed, &slog.HandlerOptions{Level: slog.LevelDebug})))
	writer := log.Writer()
	log.SetOutput(&printed)
	defer func() {
		slog.SetDefault(before)
		log.SetOutput(writer)
	}()
	calls := 0
	for _, b := range badInputs {
		for _, p := range providers {
			for _, stream := range []bool{false, true} {
				if stream || !b.streams {
					calls++
					b.ask(t, p, stream)
				}
			}
		}
	}
	if text := printed.String(); strings.Contains(text, key) {
		t.Errorf("the log has the key:\n%.2000s", text)
	}
	if err := goleak.Find(goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
	t.Logf("%d calls: %d bad inputs, %d providers, whole and as streams", calls, len(badInputs), len(providers))
}

// ask makes one call.
func (b bad) ask(t *testing.T, p provider, stream bool) {
	t.Helper()
	what := fmt.Sprintf("%s, %s, stream %v", p.name, b.name, stream)
	url, client, end := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		k := keyOf(r)
		if k != key {
			t.Errorf("%s: the server got the key %q", what, k)
		}
		b.serve(w, r, k)
	}))
	defer end()
	var read atomic.Int64
	transport := client.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &countingConn{conn, &read}, err
	}
	model, err := p.open(url, client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	var events []llmcall.Event
	cfg := llmcall.RetryConfig{
		MaxAttempts: 2, Backoff: backoff.Constant{}, DisableRetryBudget: true, DisablePacing: true,
		Observer: func(_ context.Context, e llmcall.Event) context.Context {
			events = append(events, e)
			return nil
		},
	}
	var before, after runtime.MemStats
	if b.large {
		cfg.MaxAttempts = 1
		memory(&before)
	}
	_, err = ask(ctx, model, stream, cfg)
	if b.large {
		memory(&after)
		kept, made := int64(after.HeapAlloc)-int64(before.HeapAlloc), after.TotalAlloc-before.TotalAlloc
		if kept > mostKept || made > mostMade || read.Load() > mostRead {
			t.Errorf("%s: of 100 MB %d KiB were read, %d KiB were allocated for them, and %d KiB are kept", what, read.Load()>>10, made>>10, kept>>10)
		}
	}
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok {
		t.Errorf("%s: got %v", what, err)
		return
	}
	f, ok := errors.AsType[*failure.Error](err)
	if !ok || f.Kind != b.kind || f.Told || f.RetryAfter != 0 {
		t.Errorf("%s: got %T %v, want %v and no wait told", what, f, err, b.kind)
	}
	for where, text := range everywhere(t, e, events) {
		if i := strings.Index(text, key[:len(key)-4]); i >= 0 {
			t.Errorf("%s: the key is in %s: %.200s", what, where, text[max(0, i-100):])
		}
	}
	runtime.KeepAlive(err)
}

// everywhere is what a program may print of an error.
func everywhere(t *testing.T, e *llmcall.Error, events []llmcall.Event) map[string]string {
	t.Helper()
	texts := map[string]string{"%+v of the events": fmt.Sprintf("%+v", events)}
	printed := func(where string, v any) {
		texts["JSON of "+where] = marshalled(v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			texts[verb+" of "+where] = fmt.Sprintf(verb, v)
		}
	}
	printed("the trace", e.Attempts)
	for err := range tree(e) {
		where := fmt.Sprintf("%T", err)
		texts["Error() of "+where] = err.Error()
		printed(where, err)
		if dumper, ok := err.(interface{ DumpResponse(bool) []byte }); ok {
			texts["the dump of the response of "+where] = string(dumper.DumpResponse(true))
		}
		if dumper, ok := err.(interface{ DumpRequest(bool) []byte }); ok {
			texts["the dump of the request of "+where] = string(dumper.DumpRequest(true))
		}
	}
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Error("failed", "error", e, "attempts", e.Attempts, "last", e.Unwrap())
	}
	texts["the log"] = logged.String()
	return texts
}

// tree yields an error and all that it wraps.
func tree(err error) func(yield func(error) bool) {
	return func(yield func(error) bool) { walk(err, yield) }
}

func walk(err error, yield func(error) bool) bool {
	if err == nil {
		return true
	}
	if !yield(err) {
		return false
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return walk(e.Unwrap(), yield)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if !walk(inner, yield) {
				return false
			}
		}
	}
	return true
}

// marshalled is v as JSON; what JSON can't hold (an SDK's *http.Request) can't
// be printed so.
func marshalled(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// memory measures once what is no longer in use is freed.
func memory(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC() // what has been in a sync.Pool
	runtime.ReadMemStats(m)
}

type countingConn struct {
	net.Conn
	read *atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// lockedBuffer is a buffer for many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

package failure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"llmcall/failure"
)

// kinds returns every kind, found by its name.
func kinds(t *testing.T) []failure.Kind {
	var all []failure.Kind
	for k := failure.Kind(0); !strings.HasPrefix(k.String(), "kind("); k++ {
		all = append(all, k)
	}
	if last := all[len(all)-1]; last != failure.DeadlineExceeded {
		t.Fatalf("the last kind with a name is %v", last)
	}
	return all
}

func TestKindNamesRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds(t) {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d: name %q is empty or taken", k, k)
		}
		seen[k.String()] = true
		text, err := json.Marshal(k)
		if err != nil || string(text) != `"`+k.String()+`"` {
			t.Errorf("%v: in JSON %s, %v", k, text, err)
		}
		var back failure.Kind
		if err := json.Unmarshal(text, &back); err != nil || back != k {
			t.Errorf("%v: came back as %v, %v", k, back, err)
		}
	}
}

func TestUnknownKindNameIsRefusedWithTheKnownOnes(t *testing.T) {
	k := failure.CutOff
	err := k.UnmarshalText([]byte("rate limited"))
	if err == nil || !strings.Contains(err.Error(), `"rate limited"`) || !strings.Contains(err.Error(), "rate_limited") {
		t.Errorf("got %v", err)
	}
	if k != failure.CutOff {
		t.Errorf("a refused name changed the kind to %v", k)
	}
}

func TestKindOutOfRangeHasANameAndTheRowOfUnknown(t *testing.T) {
	table := failure.Decisions()
	if got := failure.Kind(200).String(); got != "kind(200)" {
		t.Errorf("got %q", got)
	}
	if got := table.For(200); got != table.For(failure.Unknown) {
		t.Errorf("got %v", got)
	}
}

func TestEveryKindHasARow(t *testing.T) {
	table := failure.Decisions()
	// The zero row is right only for those that are never retried here and say
	// nothing of the provider; a kind that was forgotten would hide among them.
	ignored := map[failure.Kind]bool{
		failure.CheckUnavailable: true, failure.AccountSpent: true, failure.Cancelled: true, failure.DeadlineExceeded: true,
	}
	for _, k := range kinds(t) {
		if zero := table.For(k) == (failure.Decision{}); zero != ignored[k] {
			t.Errorf("%v: row %+v", k, table.For(k))
		}
	}
}

func TestTableIsTheCallersOwn(t *testing.T) {
	mine := failure.Decisions()
	mine[failure.InvalidAnswer].Breaker = failure.Count
	theirs := failure.Decisions()
	if theirs.For(failure.InvalidAnswer).Breaker != failure.Healthy {
		t.Error("a changed copy changed the default")
	}
	if mine.For(failure.InvalidAnswer).Breaker != failure.Count {
		t.Error("the copy was not changed")
	}
}

func TestUnclassifiedIsTreatedLikeTransient(t *testing.T) {
	table := failure.Decisions()
	if table.For(failure.Unknown) != table.For(failure.Transient) {
		t.Errorf("%+v is not %+v", table.For(failure.Unknown), table.For(failure.Transient))
	}
}

type kinded struct {
	error
	kind failure.Kind
}

func (k kinded) FailureKind() failure.Kind { return k.kind }
func (k kinded) Unwrap() error             { return k.error }

// claims is a time-out that says it is a deadline, as net/http's own are.
type claims struct{}

func (claims) Error() string        { return "out of time" }
func (claims) Is(target error) bool { return target == context.DeadlineExceeded }

func TestKindOf(t *testing.T) {
	limited := &failure.Error{Kind: failure.RateLimited, Err: io.EOF}
	for _, step := range []struct {
		name string
		err  error
		want failure.Kind
	}{
		{"none", nil, failure.Unknown},
		{"a stranger", errors.New("what"), failure.Unknown},
		{"itself", limited, failure.RateLimited},
		{"wrapped", fmt.Errorf("call 3: %w", limited), failure.RateLimited},
		{"joined", errors.Join(errors.New("what"), limited), failure.RateLimited},
		{"the outermost kind wins", kinded{limited, failure.CircuitOpen}, failure.CircuitOpen},
		{"a kind wins over a context", &failure.Error{Kind: failure.AttemptTimeout, Err: context.DeadlineExceeded}, failure.AttemptTimeout},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), failure.Cancelled},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), failure.DeadlineExceeded},
		{"deadline, joined", errors.Join(errors.New("what"), context.DeadlineExceeded), failure.DeadlineExceeded},
		{"both cancelled and late", errors.Join(context.DeadlineExceeded, context.Canceled), failure.Cancelled},
		{"claims to be late", claims{}, failure.DeadlineExceeded},
		{"a dial's time-out", &net.OpError{Op: "dial", Err: claims{}}, failure.Transient},
		{"a file's time-out", os.ErrDeadlineExceeded, failure.Transient},
		{"end", io.EOF, failure.Transient},
		{"cut", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), failure.Transient},
		{"broken pipe", &os.SyscallError{Syscall: "write", Err: syscall.EPIPE}, failure.Transient},
		{"no such host", &net.DNSError{Err: "no such host", IsNotFound: true}, failure.Transient},
	} {
		if got := failure.KindOf(step.err); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}

func TestKindOfContextsThatEnded(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user pressed a key"))
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	if got := failure.KindOf(cancelled.Err()); got != failure.Cancelled {
		t.Errorf("cancelled: got %v", got)
	}
	if got := failure.KindOf(late.Err()); got != failure.DeadlineExceeded {
		t.Errorf("late: got %v", got)
	}
	for _, ctx := range []context.Context{cancelled, late} {
		_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
		if got := failure.KindOf(err); got == failure.Unknown {
			t.Errorf("dial with %v: %v is %v", ctx.Err(), err, got)
		}
	}
}

func TestKindOfRefusedConnectionIsTransient(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, err = http.Get("http://" + listener.Addr().String())
	if err == nil || failure.KindOf(err) != failure.Transient || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v is %v", err, failure.KindOf(err))
	}
}

// serve starts a server of which each connection, once its request has come, is
// given to handle.
func serve(t *testing.T, handle func(*net.TCPConn)) (url string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		handle(conn.(*net.TCPConn))
		conn.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func get(url string) error {
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.ReadAll(response.Body)
	return err
}

func TestKindOfBrokenConnectionsIsTransient(t *testing.T) {
	for name, handle := range map[string]func(*net.TCPConn){
		"reset":  func(c *net.TCPConn) { c.SetLinger(0) },
		"closed": func(*net.TCPConn) {},
		"cut":    func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") },
		"reset in the body": func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			time.Sleep(5 * time.Millisecond) // so that the half is read before the reset
			c.SetLinger(0)
		},
	} {
		err := get(serve(t, handle))
		if err == nil || failure.KindOf(err) != failure.Transient {
			t.Errorf("%s: %v is %v", name, err, failure.KindOf(err))
		}
	}
}

func TestKindOfTheClientsOwnTimeoutIsNotTheCallersDeadline(t *testing.T) {
	release := make(chan struct{})
	url := serve(t, func(*net.TCPConn) { <-release })
	defer close(release)
	_, err := (&http.Client{Timeout: 10 * time.Millisecond}).Get(url)
	if err == nil || failure.KindOf(err) != failure.Transient {
		t.Errorf("%v is %v", err, failure.KindOf(err))
	}
}

func TestErrorText(t *testing.T) {
	for _, step := range []struct {
		err  failure.Error
		want string
	}{
		{failure.Error{}, "unknown"},
		{failure.Error{Provider: "openai", Kind: failure.Transient, Err: io.EOF}, "openai: transient: EOF"},
		{
			failure.Error{
				Kind: failure.RateLimited, Provider: "openai", Model: "openai/x", Status: 429, Code: "rate_limit_exceeded",
				Message: "Slow down.", RequestID: "req_1", RetryAfter: 1500 * time.Millisecond, Told: true, Err: io.EOF,
			},
			"openai/x: rate_limited (HTTP 429, rate_limit_exceeded, come back in 1.5s): Slow down.",
		},
		{failure.Error{Kind: failure.QuotaExhausted, RetryAfter: time.Hour}, "quota_exhausted"},
	} {
		if got := step.err.Error(); got != step.want {
			t.Errorf("got  %s\nwant %s", got, step.want)
		}
	}
}

// dumps is an SDK's error that holds the request, as they do, and says as much
// about it as fmt lets it.
type dumps struct{ request *http.Request }

func (d *dumps) Error() string { return d.request.Header.Get("Authorization") }

func TestErrorTextPrefersTheMessageToTheWrappedErrorsText(t *testing.T) {
	request := httptest.NewRequest("POST", "/", strings.NewReader("the prompt"))
	request.Header.Set("Authorization", "Bearer sk-secret")
	err := fmt.Errorf("attempt 2: %w", &failure.Error{Kind: failure.Unauthorized, Message: "no", Err: &dumps{request}})
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v"} {
		if text := fmt.Sprintf(verb, err); strings.Contains(text, "sk-secret") || strings.Contains(text, "the prompt") {
			t.Errorf("%s: %s", verb, text)
		}
	}
	var inner *dumps
	if !errors.As(err, &inner) {
		t.Error("the SDK's error is out of reach")
	}
}

func TestRetryAfterOf(t *testing.T) {
	told := &failure.Error{Told: true, RetryAfter: time.Second}
	if got, ok := failure.RetryAfterOf(fmt.Errorf("x: %w", told)); got != time.Second || !ok {
		t.Errorf("got %v, %v", got, ok)
	}
	untold := &failure.Error{Kind: failure.Transient}
	if got, ok := failure.RetryAfterOf(errors.Join(untold, &failure.Error{Err: told})); got != time.Second || !ok {
		t.Errorf("beside and below others that do not tell: got %v, %v", got, ok)
	}
	for _, err := range []error{nil, io.EOF, &failure.Error{RetryAfter: time.Second}} {
		if got, ok := failure.RetryAfterOf(err); got != 0 || ok {
			t.Errorf("%v: got %v, %v", err, got, ok)
		}
	}
}

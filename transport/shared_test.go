package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
	"llmcall/transport"
)

// A probe has passed with the header of its answer: a stream may take minutes.
func TestAProbeIsAcceptedAtTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(body(sse, "data: {}\n\n", nil))
		tr, e := watched(t, v, nil)
		tripped(e)
		if got := state(e); got != breaker.HalfOpen {
			t.Fatal(got)
		}
		first, err := tr.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := state(e); got != breaker.Closed {
			t.Errorf("%v after the header", got)
		}
		if got, err := send(tr, post(t, chat, "{}")); got != "200 fine" || err != nil {
			t.Errorf("the next: %q, %v", got, err)
		}
		whole(first) // without its end
		if got := state(e); got != breaker.Open {
			t.Errorf("%v after it was cut", got)
		}
	})
}

// A place under a limit of requests at a time is held to the end of the body.
func TestAPlaceIsHeldToTheEndOfTheBody(t *testing.T) {
	for name, end := range map[string]func(*http.Response){
		"read": whole, "left": leave(1), "closed twice": func(r *http.Response) { r.Body.Close(); r.Body.Close() },
		"read and not closed": func(r *http.Response) { io.Copy(io.Discard, r.Body) },
	} {
		synctest.Test(t, func(t *testing.T) {
			endpoints, err := endpoint.NewRegistry(endpoint.Config{Limits: func(endpoint.Key) pace.Limits { return pace.Limits{MaxConcurrent: 1} }})
			if err != nil {
				t.Fatal(err)
			}
			v := serve()
			tr, _ := watched(t, v, func(c *transport.Config) { c.Endpoints = endpoints })
			first, err := tr.RoundTrip(post(t, chat, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(5*s, func() { end(first) })
			if got, err := send(tr, post(t, chat, "{}")); got != "200 fine" || err != nil || time.Since(v.start) != 5*s {
				t.Errorf("%s: %q, %v after %v", name, got, err, time.Since(v.start))
			}
		})
	}
}

// A limit of one attempt that ends it opens the circuit: it is no cancellation
// of the caller's (ferro-labs/ai-gateway#199).
func TestAttemptsThatAreCutOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(slices.Repeat([]reply{hang}, 5)...)
		tr, e := watched(t, v, func(c *transport.Config) {
			c.AttemptTimeout, c.MaxAttempts, c.Options = 2*s, 2, endpoint.Options{Breaker: breaker.Config{FailureThreshold: 3}}
		})
		var err error
		for range 3 {
			_, err = send(tr, post(t, chat, "{}"))
			if err == nil {
				t.Fatal("no error")
			}
		}
		if _, ok := errors.AsType[*breaker.OpenError](err); !ok || len(v.at) != 3 {
			t.Errorf("%v after %d requests: %v", err, len(v.at), e.Snapshot())
		}
	})
}

// What an attempt returned that was cut is not hidden.
func TestACutAttemptSaysWhatItReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		torn := errors.New("torn in the handshake")
		tr, _ := watched(t, base(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, torn
		}), func(c *transport.Config) { c.AttemptTimeout = 2 * s })
		_, err := send(tr, post(t, chat, "{}"))
		cut, ok := errors.AsType[*retry.AttemptTimeoutError](err)
		if !ok || cut.Limit != 2*s || !errors.Is(err, torn) || failure.KindOf(err) != failure.AttemptTimeout {
			t.Errorf("%v", err)
		}
	})
}

// A hang that the request's own deadline ends counts if it was long enough.
func TestAHangCounts(t *testing.T) {
	for name, c := range map[string]struct {
		deadline, hang time.Duration
		want           breaker.State
	}{
		"too short":            {20 * s, 0, breaker.Closed},
		"long enough":          {40 * s, 0, breaker.Open},
		"long enough for them": {20 * s, 10 * s, breaker.Open},
		"switched off":         {400 * s, -1, breaker.Closed},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr, e := watched(t, serve(hang), func(cfg *transport.Config) { cfg.Hang = c.hang })
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			defer cancel()
			_, err := send(tr, post(t, chat, "{}").WithContext(ctx))
			if !errors.Is(err, context.DeadlineExceeded) || state(e) != c.want {
				t.Errorf("%s: %v, %v", name, err, state(e))
			}
		})
	}
}

// The endpoint of a key is looked up for each request: however many other keys
// come, two Transports and the registry agree.
func TestTheRegistryAndItsTransportsAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoints, err := endpoint.NewRegistry(endpoint.Config{Max: 2})
		if err != nil {
			t.Fatal(err)
		}
		v := serve()
		use := func(c *transport.Config) {
			c.Endpoints = endpoints
			c.Key = func(r *http.Request, _ func() io.ReadCloser) endpoint.Key { return endpoint.Key{Name: r.URL.Host} }
		}
		one, _ := watched(t, v, use)
		two, _ := watched(t, v, use)
		to := func(host string) *http.Request { return post(t, "https://"+host+"/v1/chat/completions", "{}") }
		for i := range 10 {
			for _, host := range []string{"a", fmt.Sprint("b", i), fmt.Sprint("c", i), fmt.Sprint("d", i)} {
				if got, err := send(one, to(host)); got != "200 fine" || err != nil {
					t.Fatal(got, err)
				}
			}
		}
		runtime.GC()
		v.script = slices.Insert(slices.Repeat([]reply{status(200, "")}, len(v.at)), len(v.at), status(500, ""))
		if got, err := send(one, to("a")); got != "500 " || err != nil {
			t.Fatal(got, err)
		}
		for name, tr := range map[string]*transport.Transport{"the one that was refused": one, "the other": two} {
			_, err := send(tr, to("a"))
			if _, ok := errors.AsType[*breaker.OpenError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := state(endpoints.Get(endpoint.Key{Name: "a"})); got != breaker.Open {
			t.Errorf("the registry says %v", got)
		}
	})
}

// Keys may come from outside: each request has another bad one.
func TestWhatIsKeptOfKeysIsBounded(t *testing.T) {
	endpoints, err := endpoint.NewRegistry(endpoint.Config{Max: 50})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := transport.New(transport.Config{Endpoints: endpoints, Base: base(status(401, "who?"))})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		r := post(t, chat, `{"model":"m"}`)
		r.Header.Set("Authorization", fmt.Sprint("Bearer bad-", i))
		if got, err := send(tr, r); got != "401 who?" || err != nil {
			t.Fatal(got, err)
		}
	}
	runtime.GC()
	if endpoints.Len() > 50 {
		t.Errorf("%d endpoints are kept", endpoints.Len())
	}
}

// The limits that a success tells are kept before a request is refused.
func TestTheLimitsThatASuccessTellsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(200, "a", "X-Ratelimit-Limit-Requests", "10", "X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "20s"))
		tr, _ := watched(t, v, nil)
		for _, want := range []string{"200 a", "200 fine"} {
			if got, err := send(tr, post(t, chat, "{}")); got != want || err != nil {
				t.Fatal(got, err)
			}
		}
		// In a bucket of ten that is full in 20 s there is one after 2 s.
		if v.at[1] < 2*s || v.at[1] > 23*s {
			t.Errorf("sent at %v", v.at)
		}
	})
}

// An overload that is told within a stream makes the pacer send fewer requests at
// a time.
func TestAnOverloadWithinAStreamIsHeard(t *testing.T) {
	tr, e := watched(t, serve(body(sse, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", nil)), nil)
	if _, err := send(tr, post(t, "https://api.anthropic.com/v1/messages", "{}")); err != nil {
		t.Fatal(err)
	}
	if got := e.Snapshot().Pace; got.Episodes != 1 || got.Concurrency == 0 {
		t.Errorf("%+v", got)
	}
}

func TestTheLimitsThatAFailureTellsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(400, "bad", "X-Ratelimit-Limit-Requests", "1", "X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "20s"))
		tr, _ := watched(t, v, nil)
		for _, want := range []string{"400 bad", "200 fine"} {
			if got, err := send(tr, post(t, chat, "{}")); got != want || err != nil {
				t.Fatal(got, err)
			}
		}
		if v.at[1] < 20*s {
			t.Errorf("sent at %v", v.at)
		}
	})
}

// Without a pacer each refusal is an attempt, however others are served.
func TestWithoutAPacerRefusalsAreAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(append([]reply{status(200, "")}, slices.Repeat([]reply{status(429, "slow")}, 9)...)...)
		tr, _ := watched(t, v, func(c *transport.Config) { c.MaxAttempts, c.Options.NoPacer = 3, true })
		for _, want := range []string{"200 ", "429 slow"} {
			if got, err := send(tr, post(t, chat, "{}")); got != want || err != nil {
				t.Fatal(got, err)
			}
		}
		if len(v.at) != 1+3 {
			t.Errorf("sent at %v", v.at)
		}
	})
}

// A refusal that the pacer or the circuit made comes as itself.
func TestARefusalOfAGuardSaysWhoRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(429, "", "Retry-After", "60"))
		tr, _ := watched(t, v, func(c *transport.Config) { c.MaxRetryAfter = 30 * s })
		if got, err := send(tr, post(t, chat, "{}")); got != "429 " || err != nil {
			t.Fatal(got, err)
		}
		_, err := send(tr, post(t, chat, "{}"))
		refusal, ok := errors.AsType[*pace.Error](err)
		if e, is := errors.AsType[*retry.Error](err); !ok || !is || e.Reason != retry.WaitTooLong || refusal == nil {
			t.Errorf("%v", err)
		}
	})
}

// What there is nothing to read of need not be read.
func TestAnAnswerWithoutABodyIsSettledAtOnce(t *testing.T) {
	tr, e := watched(t, base(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
	}), nil)
	if _, err := tr.RoundTrip(post(t, chat, "{}")); err != nil {
		t.Fatal(err)
	}
	if got := e.Snapshot().Pace; got.InFlight != 0 || got.Answers != 1 {
		t.Errorf("%+v", got)
	}
}

// What an attempt with a limit holds goes with its body.
func TestTheAttemptsContextEndsWithTheBody(t *testing.T) {
	for code, want := range map[int]string{200: "200 fine", 400: "400 fine"} {
		var sent context.Context
		tr, _ := watched(t, base(func(r *http.Request) (*http.Response, error) {
			sent = r.Context()
			return status(code, "fine")(r)
		}), func(c *transport.Config) { c.AttemptTimeout = 60 * s })
		if got, err := send(tr, post(t, chat, "{}")); got != want || err != nil || sent.Err() == nil {
			t.Errorf("%q, %v; the context says %v", got, err, sent.Err())
		}
	}
}

// What ends RoundTrip from within leaves nothing booked.
func TestAPanicOfTheBaseIsAFailureAndGoesOn(t *testing.T) {
	tr, e := watched(t, base(func(*http.Request) (*http.Response, error) { panic("base") }), nil)
	func() {
		defer func() {
			if v := recover(); v != "base" {
				t.Errorf("recovered %v", v)
			}
		}()
		send(tr, post(t, chat, "{}"))
	}()
	if got := e.Snapshot(); state(e) != breaker.Open || got.Pace.InFlight != 0 {
		t.Errorf("%+v", got)
	}
}

func TestGoexitOfTheBaseIsNoFailure(t *testing.T) {
	tr, e := watched(t, base(func(*http.Request) (*http.Response, error) {
		runtime.Goexit()
		return nil, nil
	}), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		send(tr, post(t, chat, "{}"))
	}()
	<-done
	if got := e.Snapshot(); state(e) != breaker.Closed || got.Pace.InFlight != 0 {
		t.Errorf("%+v", got)
	}
}

// A body is closed from another goroutine while it is read: one of them ends the
// call.
func TestABodyMayBeClosedWhileItIsRead(t *testing.T) {
	for range 50 {
		pipe, w := io.Pipe()
		tr, e := watched(t, base(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {sse}}, Body: pipe}, nil
		}), func(c *transport.Config) { c.AttemptTimeout = 60 * s })
		response, err := tr.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		done.Go(func() { io.Copy(io.Discard, response.Body) })
		done.Go(func() { io.WriteString(w, "data: {}\n\n") })
		done.Go(func() { response.Body.Close() })
		done.Wait()
		if got := e.Snapshot(); got.Pace.InFlight != 0 || state(e) != breaker.Closed {
			t.Fatalf("%+v", got)
		}
	}
}

// The reader's own end is no failure of the provider's.
func TestAReaderThatRunsOutOfTimeIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, e := watched(t, serve(stalling(200, "half", 0, "")), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 60*s)
		defer cancel()
		got, err := send(tr, post(t, chat, "{}").WithContext(ctx))
		if got != "200 half" || !errors.Is(err, context.DeadlineExceeded) || state(e) != breaker.Closed || e.Snapshot().Pace.InFlight != 0 {
			t.Errorf("%q, %v, %v", got, err, e.Snapshot())
		}
	})
}

// odd is the error of a context, of a type that can't be compared.
type odd struct{ causes []error }

func (o odd) Error() string { return fmt.Sprint("odd: ", o.causes) }

type ownErr struct{ context.Context }

func (ownErr) Err() error { return odd{[]error{context.Canceled}} }

func (ownErr) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func TestAContextsErrorNeedNotBeComparable(t *testing.T) {
	tr, _ := watched(t, serve(), nil)
	r := post(t, chat, "{}")
	_, err := send(tr, r.WithContext(ownErr{r.Context()}))
	if err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("%v", err)
	}
}

// The attempt's context ends with the connection that it was upgraded to.
func TestAnUpgradedConnectionEndsItsAttempt(t *testing.T) {
	var sent context.Context
	tr, e := watched(t, base(func(r *http.Request) (*http.Response, error) {
		sent = r.Context()
		return &http.Response{StatusCode: 101, Header: http.Header{}, Body: duplex{}}, nil
	}), func(c *transport.Config) { c.AttemptTimeout = 60 * s })
	response, err := tr.RoundTrip(post(t, "https://api.example.com/v1/realtime", ""))
	if err != nil {
		t.Fatal(err)
	}
	connection, ok := response.Body.(io.ReadWriter)
	if !ok || sent.Err() != nil || e.Snapshot().Pace.InFlight != 0 {
		t.Fatalf("a %T, whose context says %v: %+v", response.Body, sent.Err(), e.Snapshot())
	}
	if _, err := connection.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if half := response.Body.(interface{ CloseWrite() error }); !errors.Is(half.CloseWrite(), http.ErrNotSupported) {
		t.Error("it is half closed though its base can't")
	}
	response.Body.Close()
	if sent.Err() == nil {
		t.Error("its context goes on")
	}
}

type duplex struct{}

func (duplex) Read([]byte) (int, error)    { return 0, io.EOF }
func (duplex) Write(p []byte) (int, error) { return len(p), nil }
func (duplex) Close() error                { return nil }

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

func open(t *testing.T, to retry.Target, o endpoint.Options) *breaker.Breaker {
	t.Helper()
	b := to.Endpoint.Circuit(o)
	b.Trip(breaker.Failure{AskedFor: s})
	time.Sleep(2 * s)
	return b
}

// begin begins a call and admits its first attempt.
func begin(t *testing.T, c *retry.Call, p *retry.Policy, to ...retry.Target) {
	t.Helper()
	c.Begin(t.Context(), p, to)
	if !c.Next() {
		t.Fatal(c.Err())
	}
}

// A circuit is HALF_OPEN, and its only probe is a stream that is read for ten
// minutes: after the first piece others are admitted.
func TestAProbeThatIsReadForLongIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, p := target(t, endpoint.Options{}), newPolicy(t, retry.Config{})
		b := open(t, to, endpoint.Options{})
		var stream, other retry.Call
		begin(t, &stream, p, to)
		defer stream.Close()
		other.Begin(t.Context(), p, []retry.Target{to})
		if other.Next() {
			t.Fatal("two probes at a time")
		}
		other.Close()
		stream.Accepted(nil)
		for range 3 {
			if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: to}), play().call); err != nil {
				t.Fatalf("while the stream is read: %v", err)
			}
		}
		if b.State() != breaker.Closed {
			t.Errorf("%v after a probe and others have passed", b.State())
		}
		time.Sleep(10 * time.Minute)
		if !stream.Settle(endpoint.Outcome{}) {
			t.Error(stream.Err())
		}
	})
}

func TestAProbeWhoseStreamIsCutIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, p := target(t, endpoint.Options{}), newPolicy(t, retry.Config{})
		b := open(t, to, endpoint.Options{})
		var c retry.Call
		begin(t, &c, p, to)
		defer c.Close()
		c.Accepted(nil)
		if c.Settle(endpoint.Outcome{Err: fail(failure.Transient)}) || b.State() != breaker.Open {
			t.Errorf("%v after a probe whose stream was cut", b.State())
		}
	})
}

// A stream that has begun and then ends with an overload or a limit was not
// refused: its own pieces are no progress of the endpoint, by which it would be
// begun again for ten minutes.
func TestAStreamThatBreaksUsesUpItsAttempts(t *testing.T) {
	for kind, failures := range map[failure.Kind]int{failure.Overloaded: 3, failure.RateLimited: 0} {
		synctest.Test(t, func(t *testing.T) {
			to, p := target(t, endpoint.Options{}), newPolicy(t, retry.Config{})
			var c retry.Call
			c.Begin(t.Context(), p, []retry.Target{to})
			defer c.Close()
			attempts := 0
			for ; attempts < 10 && c.Next(); attempts++ {
				c.Accepted(nil)
				c.Settle(endpoint.Outcome{Err: fail(kind)})
			}
			if attempts != 3 {
				t.Errorf("%v: %d attempts: %v", kind, attempts, c.Err())
			}
			if n := to.Endpoint.Circuit(endpoint.Options{}).Snapshot().Failures; n != failures {
				t.Errorf("%v: the circuit has counted %d failures", kind, n)
			}
		})
	}
}

// The circuit keeps no text of the provider's: the call that it was said to has
// it, also where its own failure opened the circuit.
func TestWhatTheProviderSaidIsInTheErrorOfItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := endpoint.Options{Breaker: breaker.Config{FailureThreshold: 2}}
		p := newPolicy(t, retry.Config{Target: target(t, o)})
		_, err := retry.Do(t.Context(), p, play(repeat(transient, 3)...).call)
		if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.CircuitOpen || !strings.Contains(err.Error(), "on purpose") {
			t.Errorf("own failures have opened the circuit: %v", err)
		}
		if _, err = retry.Do(t.Context(), p, play().call); err == nil || strings.Contains(err.Error(), "on purpose") {
			t.Errorf("the next call: %v", err)
		}
	})
}

// What an observer is told of a wait is what was decided.
func TestTheWaitThatIsToldIsTheDecidedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		p := newPolicy(t, retry.Config{
			Backoff: exact,
			Observer: func(_ context.Context, e retry.Event) context.Context {
				if e.Type == retry.Waiting {
					waits = append(waits, e.Wait)
				}
				return nil
			},
		})
		var c retry.Call
		c.Begin(t.Context(), p, []retry.Target{target(t, endpoint.Options{})})
		defer c.Close()
		for c.Next() {
			c.Settle(endpoint.Outcome{Err: fail(failure.Transient)})
			time.Sleep(time.Millisecond) // such as on a machine with more to do
		}
		if !slices.Equal(waits, []time.Duration{s, 2 * s}) {
			t.Errorf("waits of %v", waits)
		}
	})
}

// A probe that ends in a 400, or in a stream that its caller leaves after a
// piece, has passed: whoever got an answer has proved that the provider lives.
func TestAnAnswerProvesLife(t *testing.T) {
	left := errors.New("left")
	for name, end := range map[string]func(c *retry.Call){
		"a bad request": func(c *retry.Call) {
			c.Settle(endpoint.Outcome{Err: &failure.Error{Kind: failure.InvalidRequest, Status: 400}})
		},
		"left after a piece": func(c *retry.Call) {
			c.Accepted(nil)
			c.Settle(endpoint.Outcome{Err: &failure.Error{Kind: failure.Cancelled, Err: left}})
		},
		"an answer": func(c *retry.Call) { c.Settle(endpoint.Outcome{}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			to, p := target(t, endpoint.Options{}), newPolicy(t, retry.Config{})
			b := open(t, to, endpoint.Options{})
			for range 2 {
				var c retry.Call
				begin(t, &c, p, to)
				end(&c)
				c.Close()
			}
			if b.State() != breaker.Closed {
				t.Errorf("%s: %v after two probes", name, b.State())
			}
		})
	}
}

// A provider hangs until the caller's deadline: five callers in turn.
func TestAHangIsAFailure(t *testing.T) {
	for _, c := range []struct {
		name     string
		deadline time.Duration
		config   retry.Config
		cancel   bool
		others   bool // get answers meanwhile
		piece    bool
		alone    bool // a circuit of no endpoint
		hides    bool // the context does not tell its deadline
		status   int  // of a response that comes as the deadline ends; 0: none, and no error of an adapter
		opens    bool
	}{
		{name: "30 s", deadline: 30 * s, opens: true},
		{name: "a deadline too short to tell", deadline: 29 * s},
		{name: "cancelled", deadline: time.Hour, cancel: true},
		{name: "others get answers", deadline: 60 * s, others: true},
		{name: "a piece came", deadline: 60 * s, piece: true},
		{name: "switched off", deadline: 60 * s, config: retry.Config{Hang: -1}},
		{name: "switched off, observed", deadline: 60 * s, config: retry.Config{Hang: -1, Observer: func(context.Context, retry.Event) context.Context { return nil }}},
		{name: "a circuit alone", deadline: 30 * s, alone: true, opens: true},
		{name: "a circuit alone, a piece came", deadline: 60 * s, alone: true, piece: true},
		{name: "a deadline that nobody knows of", deadline: 60 * s, hides: true},
		{name: "a failure without a response", deadline: 60 * s, status: -1, opens: true},
		{name: "a response that refuses", deadline: 60 * s, status: 499},
		{name: "a response that tells of a fault", deadline: 60 * s, status: 500, opens: true},
		{name: "another bound", deadline: 6 * s, config: retry.Config{Hang: 5 * s}, opens: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, p := target(t, endpoint.Options{}), newPolicy(t, c.config)
				circuit := to.Endpoint.Circuit(endpoint.Options{})
				if c.alone {
					to = retry.Target{Guards: []endpoint.Guard{endpoint.Circuit(circuit)}}
				}
				for range 5 {
					ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
					if c.cancel {
						time.AfterFunc(40*s, cancel)
					}
					if c.hides {
						ctx = timeless{ctx}
					}
					var call retry.Call
					call.Begin(ctx, p, []retry.Target{to})
					if !call.Next() {
						t.Fatal(call.Err())
					}
					if c.piece {
						call.Accepted(nil)
					}
					if c.others {
						time.Sleep(s)
						if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: to}), play().call); err != nil {
							t.Fatal(err)
						}
					}
					<-call.Context().Done()
					err := call.Context().Err()
					if c.status != 0 {
						err = &failure.Error{Kind: failure.Transient, Status: max(0, c.status), Err: err}
					}
					call.Settle(endpoint.Outcome{Err: err})
					call.Close()
					cancel()
				}
				if got := circuit.Snapshot(); (got.State == breaker.Open) != c.opens || got.Failures > 0 {
					t.Errorf("%+v, want it to open: %v", got, c.opens)
				}
			})
		})
	}
}

// timeless is a context that does not tell its deadline.
type timeless struct{ context.Context }

func (timeless) Deadline() (time.Time, bool) { return time.Time{}, false }

// An attempt's own time limit ends it by its context, and counts all the same.
func TestAttemptsThatAreCutOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{AttemptTimeout: 5 * s, Target: to, MaxAttempts: 5})
		if _, err := retry.Do(t.Context(), p, hang); failure.KindOf(err) != failure.AttemptTimeout {
			t.Errorf("got %v", err)
		}
		if b := to.Endpoint.Circuit(endpoint.Options{}); b.State() != breaker.Open {
			t.Errorf("%v after five attempts that were cut", b.State())
		}
	})
}

// The function's own context has ended, its caller's has not.
func TestAContextOfTheFunctionsOwnIsAPassingFailure(t *testing.T) {
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			f := play(err, fmt.Errorf("sdk: %w", err))
			if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{}), f.call); err != nil || len(f.at) != 3 {
				t.Errorf("%v after %d attempts", err, len(f.at))
			}
		})
	}
}

func TestARoundPassesTheGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		release, err := to.Endpoint.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		p := newPolicy(t, retry.Config{})
		var c retry.Call
		begin(t, &c, p, to)
		defer c.Close()
		if n := to.Endpoint.Snapshot().Pace.InFlight; n != 1 {
			t.Fatalf("%d in flight", n)
		}
		if !c.Settle(endpoint.Outcome{}) || to.Endpoint.Snapshot().Pace.InFlight != 0 {
			t.Fatal("a place is held while the tool runs")
		}
		to.Endpoint.ForceOpen("maintenance")
		if c.Round() || failure.KindOf(c.Err()) != failure.CircuitOpen {
			t.Errorf("a tool's round passed a circuit that is forced open: %v", c.Err())
		}
	})
}

func TestAWrongAnswerIsAskedAgainAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, p := target(t, endpoint.Options{}), newPolicy(t, retry.Config{})
		var c retry.Call
		c.Begin(t.Context(), p, []retry.Target{to})
		defer c.Close()
		n := 0
		for c.Next() {
			n++
			if !c.Settle(endpoint.Outcome{}) {
				t.Fatal("an answer is a failure")
			}
			c.Wrong(fmt.Errorf("wrong: %w", invalid))
			if c.Counted() != n {
				t.Errorf("%d counted after %d wrong answers", c.Counted(), n)
			}
		}
		e, _ := errors.AsType[*retry.Error](c.Err())
		if n != 3 || e == nil || e.Reason != retry.Exhausted || failure.KindOf(e) != failure.InvalidAnswer {
			t.Errorf("%d attempts, then %v", n, c.Err())
		}
		if f := to.Endpoint.Snapshot().Circuits[0].Failures; f != 0 {
			t.Errorf("%d failures of a provider that answered", f)
		}
	})
}

func TestAnotherTargetServes(t *testing.T) {
	for _, c := range []struct {
		name   string
		config retry.Config
		first  []error // what the first target does; then it answers
		want   string  // the targets asked, in order
		took   time.Duration
	}{
		{"a failure that passes is retried, then left", retry.Config{}, repeat(transient, 9), "0 0 1", s},
		{"a bad key is left at once", retry.Config{}, []error{fail(failure.Unauthorized)}, "0 1", 0},
		{"a bad request is nobody's", retry.Config{}, []error{fail(failure.InvalidRequest)}, "0", 0},
		{"a short told wait is waited for", retry.Config{}, []error{told(failure.RateLimited, s)}, "0 0", s},
		{"a long one is not", retry.Config{}, []error{told(failure.RateLimited, 20*s)}, "0 1", 0},
		{"one that is allowed is", retry.Config{FallbackAfter: time.Minute}, []error{told(failure.RateLimited, 20*s)}, "0 0", 20 * s},
		{"too long a wait is left", retry.Config{}, []error{told(failure.RateLimited, time.Hour)}, "0 1", 0},
		{"two attempts are one for each", retry.Config{MaxAttempts: 2}, repeat(transient, 9), "0 1", 0},
		{"a spent quota is left at once", retry.Config{MaxAttempts: 2}, []error{fail(failure.QuotaExhausted)}, "0 1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := endpoint.NewRegistry(endpoint.Config{})
				if err != nil {
					t.Fatal(err)
				}
				var to []retry.Target
				for _, name := range []string{"a", "b"} {
					e := r.Get(endpoint.Key{Model: name})
					to = append(to, retry.Target{Endpoint: e, Guards: e.Guards(endpoint.Options{})})
				}
				start := time.Now()
				var call retry.Call
				call.Begin(t.Context(), newPolicy(t, c.config), to)
				defer call.Close()
				var asked []string
				for call.Next() {
					asked = append(asked, fmt.Sprint(call.Target()))
					var err error
					if call.Target() == 0 && len(c.first) > 0 {
						err, c.first = c.first[0], c.first[1:]
					}
					if call.Settle(endpoint.Outcome{Err: err}) {
						break
					}
				}
				if got := strings.Join(asked, " "); got != c.want || time.Since(start) < c.took || time.Since(start) > c.took+c.took/5 {
					t.Errorf("asked %s in %v, want %s in %v: %v", got, time.Since(start), c.want, c.took, call.Err())
				}
			})
		})
	}
}

func TestTheObserverSeesTheCallInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var got []string
		observe := func(ctx context.Context, e retry.Event) context.Context {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%v %d %v %v %v %v %v", e.Type, e.Attempt, e.Kind, e.Wait, e.Reason, e.Stop, ctx.Value(key{}))))
			if e.Type == retry.CallStarted || e.Type == retry.AttemptStarted {
				return context.WithValue(ctx, key{}, e.Type.String())
			}
			return nil
		}
		panics := func(context.Context, retry.Event) context.Context { panic("a fault of the observer's") }
		p := newPolicy(t, retry.Config{Observer: retry.Observers(nil, panics, observe)})
		seen := ""
		_, _ = retry.Do(t.Context(), p, func(ctx context.Context, a retry.Attempt) (int, error) {
			seen, _ = ctx.Value(key{}).(string)
			if a.Number == 1 {
				return 0, transient
			}
			return 0, fail(failure.InvalidRequest)
		})
		want := []string{
			"call_started 0 unknown 0s   <nil>",
			"attempt_started 1 unknown 0s   call_started",
			"attempt_ended 1 transient 0s   attempt_started",
			"waiting 1 unknown 1s backoff  call_started",
			"attempt_started 2 unknown 1s backoff  call_started",
			"attempt_ended 2 invalid_request 0s   attempt_started",
			"call_ended 2 invalid_request 0s  not_retryable call_started",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if seen != "attempt_started" {
			t.Errorf("the attempt's context is that of %q", seen)
		}
	})
}

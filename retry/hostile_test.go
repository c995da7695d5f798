package retry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// ledger is a guard that counts what it lends, and does what it is told.
type ledger struct {
	lent, back atomic.Int64 // permits
	admit      func(n int64) *endpoint.Refusal
	wait       func(context.Context) *endpoint.Refusal
	settle     func(endpoint.Outcome)
}

func (l *ledger) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if l.admit != nil {
		if r := l.admit(l.lent.Load() + 1); r != nil {
			return endpoint.Permit{}, r
		}
	}
	return endpoint.Permit{N: l.lent.Add(1)}, nil
}

func (l *ledger) Wait(ctx context.Context, a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if l.wait != nil {
		if r := l.wait(ctx); r != nil {
			return endpoint.Permit{}, r
		}
	}
	return endpoint.Permit{N: l.lent.Add(1)}, nil
}

func (l *ledger) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit { return p }

func (l *ledger) Settle(p endpoint.Permit, o endpoint.Outcome) {
	l.back.Add(1)
	if l.settle != nil {
		l.settle(o)
	}
}

func (l *ledger) check(t *testing.T, what string) {
	t.Helper()
	if lent, back := l.lent.Load(), l.back.Load(); lent != back {
		t.Errorf("%s: %d permits lent, %d settled", what, lent, back)
	}
}

// caught calls f and returns what it panics with.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// A guard panics as it is asked, or as it is told: what the others lent goes back
// once all the same.
func TestAPanickingGuardKeepsNoPermit(t *testing.T) {
	for name, break1 := range map[string]func(l *ledger){
		"as it is asked": func(l *ledger) { l.admit = func(int64) *endpoint.Refusal { panic("guard") } },
		"as it is told":  func(l *ledger) { l.settle = func(endpoint.Outcome) { panic("guard") } },
	} {
		t.Run(name, func(t *testing.T) {
			var before, broken, after ledger
			break1(&broken)
			p := newPolicy(t, retry.Config{Target: retry.Target{Guards: []endpoint.Guard{&before, &broken, &after}}})
			if v := caught(func() { retry.Do(t.Context(), p, play().call) }); v != "guard" {
				t.Errorf("the panic became %v", v)
			}
			before.check(t, "the guard before")
			broken.check(t, "the guard itself")
			after.check(t, "the guard after")
		})
	}
}

// Two targets tell each to come back in 5 s, and no pacer remembers it.
func TestTwoUnpacedTargetsAreNotAskedByTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to []retry.Target
		for range 2 {
			a := target(t, endpoint.Options{NoPacer: true})
			a.Unpaced = true
			to = append(to, a)
		}
		p := newPolicy(t, retry.Config{})
		var c retry.Call
		c.Begin(t.Context(), p, to)
		defer c.Close()
		start, n := time.Now(), 0
		for n < 2000 && c.Next() {
			n++
			time.Sleep(10 * time.Millisecond)
			c.Settle(endpoint.Outcome{Err: told(failure.RateLimited, 5*s)})
		}
		took := time.Since(start)
		t.Logf("%d requests in %v: %v", n, took, c.Err())
		if n > 2*int(took/(5*s))+2 {
			t.Errorf("%d requests in %v at two providers that said 5 s", n, took)
		}
	})
}

// A transient failure with a told wait that is too long, or with the word that
// another attempt is of no use, or a deadline that can't hold the wait: this
// target can't serve the call, another may.
func TestWhatStopsHereMayGoElsewhere(t *testing.T) {
	for name, err := range map[string]error{
		"told wait too long":     told(failure.Transient, time.Hour),
		"x-should-retry: false":  &failure.Error{Kind: failure.Transient, NoRetry: true, Status: 503},
		"longer than the call":   told(failure.Transient, 100*s),
		"overloaded for an hour": told(failure.Overloaded, time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := target(t, endpoint.Options{}), target(t, endpoint.Options{})
				ctx, cancel := context.WithTimeout(t.Context(), 20*s)
				defer cancel()
				var c retry.Call
				c.Begin(ctx, newPolicy(t, retry.Config{}), []retry.Target{a, b})
				defer c.Close()
				if !c.Next() {
					t.Fatal(c.Err())
				}
				c.Settle(endpoint.Outcome{Err: err})
				start := time.Now()
				if !c.Next() || c.Target() != 1 || time.Since(start) > 0 {
					t.Fatalf("at target %d after %v: %v", c.Target(), time.Since(start), c.Err())
				}
				c.Settle(endpoint.Outcome{})
			})
		})
	}
}

// While a call waits a second for its turn at the first target, that tells
// everybody to stay away for a minute; the second is free.
func TestAWaitThatBecomesLongMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := target(t, endpoint.Options{}), target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{})
		var other retry.Call
		begin(t, &other, p, a)
		defer other.Close()
		other.Settle(endpoint.Outcome{Err: told(failure.RateLimited, s)})
		start := time.Now()
		done := make(chan int)
		go func() {
			var c retry.Call
			c.Begin(t.Context(), p, []retry.Target{a, b})
			defer c.Close()
			if !c.Next() {
				t.Error(c.Err())
			} else {
				c.Settle(endpoint.Outcome{})
			}
			done <- c.Target()
		}()
		time.Sleep(s / 2)
		var late endpoint.Outcome
		late.Err, late.Kind, late.Effect = told(failure.RateLimited, time.Minute), failure.RateLimited, failure.Limit
		late.Report = &endpoint.Report{Told: &pace.Told{Wait: time.Minute, HasWait: true}}
		for _, g := range a.Guards[1:2] { // the pacer
			g.Settle(endpoint.Permit{}, late)
		}
		if at := <-done; at != 1 || time.Since(start) > 5*s {
			t.Errorf("served by target %d after %v", at, time.Since(start))
		}
	})
}

// All places for probes at the first target's circuit are taken, for minutes; the
// second is free. WaitForCircuit is for where nobody else can serve.
func TestABusyProbeDoesNotHoldWhoCanGoElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := target(t, endpoint.Options{}), target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{WaitForCircuit: true})
		open(t, a, endpoint.Options{})
		var probe, c retry.Call
		begin(t, &probe, p, a)
		defer probe.Close()
		start := time.Now()
		c.Begin(t.Context(), p, []retry.Target{a, b})
		defer c.Close()
		if !c.Next() || c.Target() != 1 || time.Since(start) > 3*s {
			t.Errorf("at target %d after %v: %v", c.Target(), time.Since(start), c.Err())
		}
	})
}

// A further request of an attempt is one to the same target: the caller goes on
// with the model that it has begun with.
func TestARoundStaysWhereItsAttemptIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := target(t, endpoint.Options{}), target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{})
		var c retry.Call
		c.Begin(t.Context(), p, []retry.Target{a, b})
		defer c.Close()
		if !c.Next() {
			t.Fatal(c.Err())
		}
		c.Settle(endpoint.Outcome{})
		a.Endpoint.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Hour})
		if c.Round() && c.Target() != 0 {
			t.Errorf("the round was admitted by target %d", c.Target())
		}
	})
}

// A tool takes longer than the attempt's limit: no further request of the attempt
// is made, and nothing is said of the provider.
func TestARoundAfterTheAttemptsLimitIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{AttemptTimeout: s, MaxAttempts: 10})
		rounds := 0
		for range 10 {
			var c retry.Call
			begin(t, &c, p, a)
			c.Settle(endpoint.Outcome{})
			time.Sleep(2 * s) // the tool
			if c.Round() {
				rounds++
				c.Settle(endpoint.Outcome{Err: c.Context().Err()})
			}
			last, _ := c.Last()
			if cut, ok := errors.AsType[*retry.AttemptTimeoutError](last.Err); !ok || cut.Limit != s || cut.Err != context.DeadlineExceeded {
				t.Errorf("the attempt ended with %v", last.Err)
			}
			c.Close()
		}
		if got := a.Endpoint.Circuit(endpoint.Options{}).Snapshot(); got.State != breaker.Closed || rounds > 0 {
			t.Errorf("%v with %d failures after %d rounds whose time was over", got.State, got.Failures, rounds)
		}
	})
}

// What the header of a stream said is of that moment: it is not told again at the
// stream's end.
func TestWhatIsToldIsHeardOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{})
		var c retry.Call
		begin(t, &c, p, a)
		c.Accepted(&pace.Told{Wait: 2 * s, HasWait: true, Windows: []pace.Window{{Limit: 10, Remaining: 0, Reset: 2 * s}}})
		time.Sleep(5 * time.Minute)
		c.Settle(endpoint.Outcome{})
		c.Close()
		start := time.Now()
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: a}), play().call); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// Of clients that have no pacer, each refusal for want of capacity is a failure:
// there is no episode.
func TestOverloadOfUnpacedCallersOpensTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := endpoint.Options{NoPacer: true}
		a := target(t, o)
		a.Unpaced = true
		p := newPolicy(t, retry.Config{Target: a, MaxAttempts: 1})
		for range 20 {
			retry.Do(t.Context(), p, play(fail(failure.Overloaded)).call)
			time.Sleep(10 * s)
		}
		if got := a.Endpoint.Circuit(o).Snapshot(); got.Openings == 0 {
			t.Errorf("%v with %d failures after 20 refusals", got.State, got.Failures)
		}
	})
}

// nilError has a method that can't be called of nil.
type nilError struct{ err error }

func (e *nilError) Error() string { return e.err.Error() }
func (e *nilError) Unwrap() error { return e.err }

// A function returns a nil pointer as its error, and a nil *retry.Error.
func TestANilPointerAsAnErrorIsNoPanic(t *testing.T) {
	for _, err := range []error{(*nilError)(nil), (*retry.Error)(nil), (*retry.AttemptTimeoutError)(nil), (*failure.Error)(nil)} {
		t.Run(fmt.Sprintf("%T", err), func(t *testing.T) {
			p := newPolicy(t, retry.Config{MaxAttempts: 1})
			if v := caught(func() {
				_, got := retry.Do(t.Context(), p, play(err).call)
				_ = got.Error()
			}); v != nil {
				t.Errorf("panic: %v", v)
			}
		})
	}
}

// Guards refuse with no error, with a nil *pace.Error, with a time in the past,
// or refuse to wait: the call ends.
func TestARefusalThatSaysLittleEndsTheCall(t *testing.T) {
	past := func() time.Time { return time.Now().Add(-time.Hour) }
	for name, g := range map[string]*ledger{
		"nothing": {admit: func(int64) *endpoint.Refusal { return &endpoint.Refusal{} }},
		"a nil error": {admit: func(int64) *endpoint.Refusal {
			return &endpoint.Refusal{Kind: failure.RateLimited, Err: (*pace.Error)(nil)}
		}},
		"of an open circuit": {admit: func(int64) *endpoint.Refusal { return &endpoint.Refusal{Kind: failure.CircuitOpen} }},
		"in the past": {
			admit: func(int64) *endpoint.Refusal { return &endpoint.Refusal{Kind: failure.RateLimited, Until: past()} },
			wait: func(context.Context) *endpoint.Refusal {
				return &endpoint.Refusal{Kind: failure.RateLimited, Until: past()}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if v := caught(func() {
					_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: retry.Target{Guards: []endpoint.Guard{g}}}), play().call)
					if err == nil {
						t.Error("there was an answer")
					} else {
						t.Log(err.Error())
					}
				}); v != nil {
					t.Errorf("panic: %v", v)
				}
				g.check(t, "the guard")
			})
		})
	}
}

// Two guards each refuse at once whoever did not wait for them, and let at once
// whoever waits: the permit of one is given back for each wait at the other.
func TestGuardsThatRefuseByTurnsHaveAnEnd(t *testing.T) {
	refuse := func(int64) *endpoint.Refusal {
		return &endpoint.Refusal{Kind: failure.RateLimited, Until: time.Now(), Err: errors.New("not now")}
	}
	var waits atomic.Int64
	wait := func(context.Context) *endpoint.Refusal {
		if waits.Add(1) > 1_000_000 {
			panic("busy for ever")
		}
		return nil
	}
	a, b := &ledger{admit: refuse, wait: wait}, &ledger{admit: refuse, wait: wait}
	p := newPolicy(t, retry.Config{MaxRateLimitWait: s, Target: retry.Target{Guards: []endpoint.Guard{a, b}}})
	if v := caught(func() { retry.Do(t.Context(), p, play().call) }); v != nil || waits.Load() > 1000 {
		t.Errorf("panic: %v, after %d waits", v, waits.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits.Store(0)
	before := wait
	a.wait = func(c context.Context) *endpoint.Refusal {
		if waits.Load() == 10 {
			cancel()
		}
		return before(c)
	}
	if _, err := retry.Do(ctx, p, play().call); !errors.Is(err, context.Canceled) || waits.Load() > 12 {
		t.Errorf("%v after %d waits", err, waits.Load())
	}
	a.check(t, "a")
	b.check(t, "b")
}

// Who waits for a circuit waits no longer than MaxRateLimitWait in all, also
// without a deadline (finding C13: of 50 callers of a dead provider the last gave up
// after two hours and a half).
func TestWaitsForACircuitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 5 * time.Minute
		a := target(t, endpoint.Options{Breaker: breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute}})
		p := newPolicy(t, retry.Config{Target: a, WaitForCircuit: true, MaxRateLimitWait: limit})
		start := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := retry.Do(context.Background(), p, func(context.Context, retry.Attempt) (int, error) { return 0, transient })
				if took := time.Since(start); err == nil || took > limit+10*s { // and the backoff between its attempts
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		wg.Wait()
	})
}

// A provider that flaps, with a circuit that callers wait for and a long queue at
// the pacer: everybody comes to an end.
func TestEverybodyEndsAtAFlappingProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := target(t, endpoint.Options{Breaker: breaker.Config{FailureThreshold: 2, RecoveryTimeout: 5 * s}})
		p := newPolicy(t, retry.Config{Target: a, WaitForCircuit: true, MaxAttempts: 20})
		l := newLimiter(10, 5, 200*time.Millisecond)
		start := time.Now()
		var sent atomic.Int64
		fn := func(ctx context.Context, at retry.Attempt) (string, error) {
			sent.Add(1)
			if int(time.Since(start)/(10*s))%2 == 1 {
				return "", transient
			}
			return l.call(ctx, at)
		}
		var wg sync.WaitGroup
		var answered atomic.Int64
		for range 300 {
			wg.Go(func() {
				if _, err := retry.Do(t.Context(), p, fn); err == nil {
					answered.Add(1)
				} else if testing.Verbose() {
					t.Log(err)
				}
			})
		}
		wg.Wait()
		if got := a.Endpoint.Snapshot(); got.Pace.InFlight != 0 || got.Pace.Queue != 0 || got.Circuits[0].Waiting != 0 || got.Circuits[0].Probes != 0 {
			t.Errorf("left: %+v", got)
		}
		t.Logf("%d of 300 answered in %v, %d requests", answered.Load(), time.Since(start), sent.Load())
	})
}

// A round waits for its turn no longer than its attempt has; the call goes on.
func TestARoundWaitsNoLongerThanItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := target(t, endpoint.Options{})
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{AttemptTimeout: 5 * s}), a)
		defer c.Close()
		c.Accepted(&pace.Told{Wait: 20 * s, HasWait: true})
		c.Settle(endpoint.Outcome{})
		start := time.Now()
		if c.Round() || c.Err() != nil || time.Since(start) > 5*s {
			t.Fatalf("after %v: %v", time.Since(start), c.Err())
		}
		last, _ := c.Last()
		if cut, ok := errors.AsType[*retry.AttemptTimeoutError](last.Err); !ok || cut.Limit != 5*s || last.Kind != failure.AttemptTimeout {
			t.Errorf("%+v", last)
		}
		if !c.Next() || c.Number() != 2 {
			t.Fatal(c.Err())
		}
		c.Settle(endpoint.Outcome{})
		if got := a.Endpoint.Circuit(endpoint.Options{}).Snapshot(); got.Failures != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Where one request may be in flight, an answer that waits to be settled for its
// checks is in nobody's way: a judge may ask the same endpoint.
func TestAWholeAnswerHoldsNoPlace(t *testing.T) {
	for name, limited := range map[string]bool{"of a limit": true, "of none": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := target(t, endpoint.Options{})
				if limited {
					release, err := a.Endpoint.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{})
					if err != nil {
						t.Fatal(err)
					}
					defer release()
				}
				p := newPolicy(t, retry.Config{Target: a})
				for _, end := range []func(*retry.Call){
					func(c *retry.Call) { c.Settle(endpoint.Outcome{}) },
					func(c *retry.Call) { c.Settle(endpoint.Outcome{Err: invalid}) },
					func(c *retry.Call) { c.Whole() },
					func(c *retry.Call) {},
				} {
					var c retry.Call
					begin(t, &c, p, a)
					c.Whole()
					start := time.Now()
					if _, err := retry.Do(t.Context(), p, play().call); err != nil || time.Since(start) > 0 {
						t.Errorf("%v after %v", err, time.Since(start))
					}
					end(&c)
					c.Close()
					if n := a.Endpoint.Snapshot().Pace.InFlight; n != 0 {
						t.Fatalf("%d in flight", n)
					}
				}
			})
		})
	}
}

// A refusal of our request that comes as the call's deadline ends is an answer: the
// provider did not hang.
func TestALateRefusalIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := target(t, endpoint.Options{})
		for range 6 {
			ctx, cancel := context.WithTimeout(t.Context(), 40*s)
			retry.Do(ctx, newPolicy(t, retry.Config{Target: a}), func(context.Context, retry.Attempt) (string, error) {
				time.Sleep(41 * s)
				return "", &failure.Error{Kind: failure.InvalidRequest, Status: 400}
			})
			cancel()
		}
		if got := a.Endpoint.Circuit(endpoint.Options{}).Snapshot(); got.State != breaker.Closed || got.Failures > 0 {
			t.Errorf("%v, %d failures", got.State, got.Failures)
		}
	})
}

// What is given back when a call is cancelled while it waits: for its backoff, for
// its turn, for a circuit.
func TestACancelledWaitLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(a retry.Target){
		"backoff": func(retry.Target) {},
		"turn": func(a retry.Target) {
			turn, _ := a.Guards[1].Admit(endpoint.Ask{})
			a.Guards[1].Settle(turn, endpoint.Outcome{
				Effect: failure.Limit, Kind: failure.RateLimited, Err: limited, Report: &endpoint.Report{Told: &pace.Told{Wait: 30 * s, HasWait: true}},
			})
		},
		"circuit": func(a retry.Target) {
			a.Endpoint.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Minute})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := target(t, endpoint.Options{})
				prepare(a)
				var own ledger
				p := newPolicy(t, retry.Config{WaitForCircuit: true})
				before := a.Endpoint.Snapshot().Retries
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), s/2)
						defer cancel()
						ctx, leave := context.WithCancel(ctx)
						time.AfterFunc(s/4, leave)
						var c retry.Call
						c.Begin(ctx, p, []retry.Target{a}, &own)
						defer c.Close()
						for c.Next() {
							c.Settle(endpoint.Outcome{Err: transient})
						}
					})
				}
				wg.Wait()
				own.check(t, "own")
				got := a.Endpoint.Snapshot()
				if got.Pace.Queue+got.Pace.InFlight+got.Circuits[0].Waiting+got.Circuits[0].Probes != 0 || got.Retries < before {
					t.Errorf("left: %+v", got)
				}
			})
		})
	}
}

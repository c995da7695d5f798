package retry_test

import (
	"context"
	"errors"
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

// An overload is no answer, whatever its status: servers send it as 429, 498, 503
// and 529. (With others served, a 429 was settled as an answer, which kept the call
// going: 611 requests in ten minutes.)
func TestARefusalIsNoAnswer(t *testing.T) {
	for _, status := range []int{429, 498, 503, 529} {
		synctest.Test(t, func(t *testing.T) {
			to := target(t, endpoint.Options{})
			p := newPolicy(t, retry.Config{Target: to})
			if _, err := retry.Do(t.Context(), p, play().call); err != nil {
				t.Fatal(err)
			}
			requests := 0
			_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
				requests++
				return 0, &failure.Error{Kind: failure.Overloaded, Status: status}
			})
			if err == nil || requests > 20 {
				t.Errorf("%d: %v after %d requests", status, err, requests)
			}
			if s := to.Endpoint.Snapshot(); s.Pace.Answers != 1 {
				t.Errorf("%d: %d answers", status, s.Pace.Answers)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a rate limit whose row says nothing of the provider
		table := failure.Decisions()
		table.Set(failure.RateLimited, failure.Decision{Again: failure.WhenTold, Elsewhere: failure.ElsewhereNow, Breaker: failure.Ignore})
		to := target(t, endpoint.Options{})
		_, _ = retry.Do(t.Context(), newPolicy(t, retry.Config{Target: to, Decisions: &table}), func(context.Context, retry.Attempt) (int, error) {
			return 0, &failure.Error{Kind: failure.RateLimited, Status: 429}
		})
		if s := to.Endpoint.Snapshot(); s.Answered || s.Pace.Answers != 0 {
			t.Errorf("answered %v, %d answers", s.Answered, s.Pace.Answers)
		}
	})
}

// A wait that ends because the call has waited for as long as it may is not told as
// the caller's deadline: there was none.
func TestTheTimeAllowedIsNotADeadline(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(retry.Target)
		is      func(error) bool
	}{
		"a probe that hangs": {
			func(to retry.Target) {
				circuit := to.Endpoint.Circuit(endpoint.Options{})
				circuit.Trip(breaker.Failure{AskedFor: s})
				time.Sleep(2 * s)
				_, _ = circuit.Enter()
			},
			func(err error) bool { _, ok := errors.AsType[*breaker.OpenError](err); return ok },
		},
		"a request that hangs": {
			func(to retry.Target) {
				_, _ = to.Endpoint.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{})
				_, _ = to.Guards[1].Admit(endpoint.Ask{})
			},
			func(err error) bool { _, ok := errors.AsType[*pace.Error](err); return ok },
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			to := target(t, endpoint.Options{})
			c.prepare(to)
			begun := time.Now()
			_, err := retry.Do(context.Background(), newPolicy(t, retry.Config{Target: to, WaitForCircuit: true, MaxRateLimitWait: 20 * s}), play().call)
			e, _ := errors.AsType[*retry.Error](err)
			if e == nil || e.Reason != retry.RateLimitWaitExceeded || time.Since(begun) != 20*s {
				t.Fatalf("%s: %v after %v", name, err, time.Since(begun))
			}
			if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "deadline") || !c.is(err) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A round that is refused for another reason than its turn is not told as the
// attempt's time limit.
func TestARoundThatIsForcedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{AttemptTimeout: 10 * s}), to)
		defer c.Close()
		if !c.Settle(endpoint.Outcome{}) {
			t.Fatal(c.Err())
		}
		to.Guards[1].Settle(endpoint.Permit{}, endpoint.Outcome{
			Effect: failure.Limit, Kind: failure.RateLimited, Err: fail(failure.RateLimited),
			Report: &endpoint.Report{Told: &pace.Told{Wait: s, HasWait: true}},
		})
		time.AfterFunc(s/2, func() { to.Endpoint.ForceOpen("maintenance") })
		if c.Round() {
			t.Fatal("a round at an endpoint that is forced open")
		}
		if e, _ := errors.AsType[*retry.Error](c.Err()); e == nil || e.Reason != retry.CircuitOpen {
			last, _ := c.Last()
			t.Errorf("%v; %v", c.Err(), last.Err)
		}
	})
}

// asked notes which attempts it is asked for.
type asked struct{ numbers []int }

func (d *asked) Delay(attempt int) time.Duration {
	d.numbers = append(d.numbers, attempt)
	return s
}

// A refusal that is taken back, since others are served, is taken back whole: the
// backoff is not asked for a delay before the first, and the target keeps its
// attempts.
func TestARefusalIsTakenBackWhole(t *testing.T) {
	for _, again := range []failure.Again{failure.AtOnce, failure.Slower, failure.Backoff} {
		synctest.Test(t, func(t *testing.T) {
			table := failure.Decisions()
			table.Set(failure.Overloaded, failure.Decision{Again: again, Elsewhere: failure.ElsewhereAfterRetries, Breaker: failure.Count})
			wait := &asked{}
			to, other := target(t, endpoint.Options{NoBreaker: true}), target(t, endpoint.Options{NoBreaker: true})
			var c retry.Call
			begin(t, &c, newPolicy(t, retry.Config{Backoff: wait, Decisions: &table, MaxAttempts: 5}), to, other)
			defer c.Close()
			c.Settle(endpoint.Outcome{Err: fail(failure.Overloaded)})
			if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: to}), play().call); err != nil {
				t.Fatal(err)
			}
			if !c.Next() {
				t.Fatal(c.Err())
			}
			if c.Counted() != 0 {
				t.Errorf("%v: %d counted", again, c.Counted())
			}
			c.Settle(endpoint.Outcome{Err: transient})
			if !c.Next() || c.Target() != 0 {
				t.Errorf("%v: at target %d after one failure that counts: %v", again, c.Target(), c.Err())
			}
			for _, n := range wait.numbers {
				if n < 0 {
					t.Errorf("%v: asked for delays %v", again, wait.numbers)
				}
			}
		})
	}
}

// A guard that panics while a panic goes on hides neither it nor the ends that an
// observer waits for.
func TestAGuardPanicsInAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []retry.EventType
		var own context.Context
		p := newPolicy(t, retry.Config{
			MaxTime: time.Hour,
			Target:  retry.Target{Guards: []endpoint.Guard{&ledger{settle: func(endpoint.Outcome) { panic("guard") }}}},
			Observer: func(_ context.Context, e retry.Event) context.Context {
				told = append(told, e.Type)
				return nil
			},
		})
		v := caught(func() {
			_, _ = retry.Do(t.Context(), p, func(ctx context.Context, _ retry.Attempt) (int, error) {
				own = ctx
				panic("function")
			})
		})
		if v != "function" {
			t.Errorf("the panic became %v", v)
		}
		if n := len(told); n != 4 || told[2] != retry.AttemptEnded || told[3] != retry.CallEnded {
			t.Errorf("told %v", told)
		}
		if own.Err() == nil {
			t.Error("the call's context has not ended")
		}
	})
}

// An attempt lasts until its last request has ended, and has used what all of its
// requests used.
func TestWhatAnAttemptTookAndUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []retry.Event
		p := newPolicy(t, retry.Config{Observer: func(_ context.Context, e retry.Event) context.Context {
			if e.Type == retry.AttemptEnded {
				ends = append(ends, e)
			}
			return nil
		}})
		tokens := func(n int64) *endpoint.Report { return &endpoint.Report{Used: endpoint.Amount{Tokens: n}} }
		var c retry.Call
		begin(t, &c, p, retry.Target{})
		time.Sleep(10 * s)
		c.Settle(endpoint.Outcome{Report: tokens(5)})
		time.Sleep(3 * s) // a tool
		if !c.Round() {
			t.Fatal(c.Err())
		}
		time.Sleep(s)
		c.Settle(endpoint.Outcome{Report: tokens(7)})
		time.Sleep(5 * s) // a check
		c.Wrong(invalid)
		if !c.Next() {
			t.Fatal(c.Err())
		}
		time.Sleep(2 * s)
		c.Settle(endpoint.Outcome{Err: transient, Report: tokens(1)})
		c.Close()
		if len(ends) != 2 || ends[0].Duration != 14*s || ends[0].Used.Tokens != 12 || ends[1].Duration != 2*s || ends[1].Used.Tokens != 1 {
			t.Errorf("%+v", ends)
		}
	})
}

// A target that is called unpaced is not paced.
func TestAnUnpacedTargetHasNoPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		release, err := to.Endpoint.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		_, _ = to.Guards[1].Admit(endpoint.Ask{}) // and is not given back
		begun := time.Now()
		p := newPolicy(t, retry.Config{Target: retry.Target{Endpoint: to.Endpoint, Unpaced: true}})
		if _, err := retry.Do(t.Context(), p, play().call); err != nil || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// The contexts that a call makes for its time limits end with it: nothing is left that
// waits for the limits.
func TestTheContextsOfACallEndWithIt(t *testing.T) {
	for name, cfg := range map[string]retry.Config{
		"of an attempt": {AttemptTimeout: time.Hour}, "of the call": {MaxTime: time.Hour}, "of both": {AttemptTimeout: time.Hour, MaxTime: time.Hour},
	} {
		var own context.Context
		if _, err := retry.Do(t.Context(), newPolicy(t, cfg), func(ctx context.Context, _ retry.Attempt) (int, error) {
			own = ctx
			return 0, nil
		}); err != nil || own.Err() != context.Canceled {
			t.Errorf("%s: %v, and its context %v", name, err, own.Err())
		}
	}
}

// A call whose turn would come in time, but not an answer as long as the last one, is out of
// time at once, and says why. A time that is allowed for waits is not one for answers.
func TestATurnThatLeavesNoTimeForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		release, err := to.Endpoint.Limit(pace.Limits{RequestsPerMinute: 12}, endpoint.Budget{}) // one in 5 s
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		call := func(deadline, allowed time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			_, err := retry.Do(ctx, newPolicy(t, retry.Config{Target: to, MaxRateLimitWait: allowed}), func(context.Context, retry.Attempt) (int, error) {
				time.Sleep(3 * s)
				return 0, nil
			})
			return err
		}
		if err := call(time.Hour, time.Hour); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		err = call(4*s, time.Hour)
		e, _ := errors.AsType[*retry.Error](err)
		const want = "out of time after 0 attempts: not sent: the turn comes in 2s, with 1 waiting, and leaves 2s until the deadline, but by the last answers one takes 3s"
		if e == nil || e.Reason != retry.OutOfTime || time.Since(begun) != 0 || !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("%v after %v, want %s", err, time.Since(begun), want)
		}
		if err := call(6*s, 2500*time.Millisecond); err != nil || time.Since(begun) != 5*s {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

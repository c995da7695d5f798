package retry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// serve lets another caller of the endpoint have an answer.
func serve(t *testing.T, to retry.Target) {
	t.Helper()
	for _, g := range to.Endpoint.Guards(endpoint.Options{NoBudget: true, NoBreaker: true}) {
		p, refusal := g.Wait(t.Context(), endpoint.Ask{})
		if refusal != nil {
			t.Fatal(refusal.Err)
		}
		g.Settle(p, endpoint.Outcome{Effect: failure.Healthy})
	}
}

// A call of one attempt is refused. Where others are served meanwhile, that was
// too many at a time: it uses up no attempt, and the circuit does not count it.
func TestARefusalWhileOthersAreServed(t *testing.T) {
	trips := failure.Decisions()
	trips[failure.Overloaded].Breaker = failure.Trip
	for _, c := range []struct {
		name    string
		config  retry.Config
		options endpoint.Options
		alone   bool // nobody else is served
		begun   bool // an answer had begun
		err     error
		goesOn  bool
		wait    time.Duration // at least
		reason  retry.WaitReason
		circuit int // failures counted; -1: it is OPEN
	}{
		{name: "refused", err: limited, goesOn: true, wait: s / 10, reason: retry.PaceWait},
		{name: "alone", err: limited, alone: true},
		{name: "without a pacer", err: limited, options: endpoint.Options{NoPacer: true}},
		{name: "after a piece", err: limited, begun: true},
		{name: "with a time", err: told(failure.RateLimited, 3*s), goesOn: true, wait: 3 * s, reason: retry.RateLimitWait},
		{name: "with a time, alone", err: told(failure.RateLimited, 3*s), alone: true, goesOn: true, wait: 3 * s, reason: retry.RateLimitWait},
		{name: "overloaded", err: fail(failure.Overloaded), goesOn: true, wait: s / 10, reason: retry.PaceWait},
		{name: "overloaded, alone", err: fail(failure.Overloaded), alone: true, circuit: 1},
		{name: "overloaded, without a pacer", err: fail(failure.Overloaded), options: endpoint.Options{NoPacer: true}, circuit: 1},
		{name: "overloaded, with a time", err: told(failure.Overloaded, 3*s), goesOn: true, wait: 3 * s, reason: retry.RateLimitWait},
		{name: "overloaded, with a time, alone", err: told(failure.Overloaded, 3*s), alone: true, circuit: 1},
		{name: "overload trips by a table", err: fail(failure.Overloaded), config: retry.Config{Decisions: &trips}, goesOn: true, circuit: -1},
		{name: "a failure that passes is no refusal", err: transient, circuit: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := target(t, c.options)
				to.Unpaced = c.options.NoPacer
				serve(t, to)
				time.Sleep(time.Minute) // that was long ago
				c.config.MaxAttempts = 1
				var call retry.Call
				begin(t, &call, newPolicy(t, c.config), to)
				defer call.Close()
				if !c.alone {
					serve(t, to)
				}
				if c.begun {
					call.Accepted(nil)
				}
				call.Settle(endpoint.Outcome{Err: c.err})
				last, _ := call.Last()
				if last.Uncounted != c.goesOn || call.Counted() == 0 != c.goesOn {
					t.Errorf("%+v, %d counted", last, call.Counted())
				}
				failures := to.Endpoint.Circuit(c.options).Snapshot()
				if c.circuit < 0 && failures.RetryIn == 0 || c.circuit >= 0 && failures.Failures != c.circuit {
					t.Errorf("the circuit: %+v", failures)
				}
				if c.circuit < 0 {
					return
				}
				if call.Next() != c.goesOn {
					t.Fatalf("another attempt: %v, %v", !c.goesOn, call.Err())
				}
				if wait, reason := call.Waited(); wait < c.wait || reason != c.reason {
					t.Errorf("waited %v (%v), want at least %v (%v)", wait, reason, c.wait, c.reason)
				}
			})
		})
	}
}

// A refusal that came before the first answers is taken back by the time that it is
// retried: a call of two attempts has them both, and the backoff begins where it
// was.
func TestARefusalIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve bool
		begun bool
		err   error
		back  bool
	}{
		{name: "others are served by then", serve: true, err: limited, back: true},
		{name: "of an overload too", serve: true, err: fail(failure.Overloaded), back: true},
		{name: "nobody is", err: limited},
		{name: "a stream that broke was not refused", serve: true, begun: true, err: limited},
		{name: "a failure that passes is no refusal", serve: true, err: transient},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := target(t, endpoint.Options{NoBreaker: true})
				var call retry.Call
				begin(t, &call, newPolicy(t, retry.Config{}), to)
				defer call.Close()
				if c.begun {
					call.Accepted(nil)
					time.Sleep(11 * s) // its own piece is no answer to somebody else
				}
				call.Settle(endpoint.Outcome{Err: c.err})
				if call.Counted() != 1 {
					t.Fatalf("%d counted at first", call.Counted())
				}
				if c.serve {
					serve(t, to)
				}
				if !call.Next() {
					t.Fatal(call.Err())
				}
				counted := func(when string, want int) {
					t.Helper()
					if c.back {
						want--
					}
					if last, _ := call.Last(); call.Counted() != want || when == "retried" && last.Uncounted != c.back {
						t.Errorf("%s: %d counted, want %d; the last: %+v", when, call.Counted(), want, last)
					}
				}
				counted("retried", 1)
				call.Settle(endpoint.Outcome{})
				if !call.Round() {
					t.Fatal(call.Err())
				}
				counted("in a round", 1)
				time.Sleep(time.Minute) // nobody is served meanwhile
				call.Settle(endpoint.Outcome{Err: transient})
				counted("failed", 2)
				at := time.Now()
				if !call.Next() {
					t.Fatal(call.Err())
				}
				want := 2 * s // the second of 1, 2, 4 s
				if c.back {
					want = s
				}
				if took := time.Since(at); took != want {
					t.Errorf("a backoff of %v, want %v", took, want)
				}
			})
		})
	}
}

// Only what was refused at a target is taken back by what that target serves.
func TestARefusalElsewhereIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := target(t, endpoint.Options{NoBreaker: true}), target(t, endpoint.Options{NoBreaker: true})
		var call retry.Call
		begin(t, &call, newPolicy(t, retry.Config{}), a, b)
		defer call.Close()
		call.Settle(endpoint.Outcome{Err: limited})
		a.Endpoint.ForceOpen("maintenance")
		serve(t, b)
		if !call.Next() || call.Target() != 1 || call.Counted() != 1 {
			t.Errorf("at target %d, %d counted: %v", call.Target(), call.Counted(), call.Err())
		}
	})
}

// Told waits below a second are at least 100 ms apart, and a second after ten; a
// second that is told is none of them.
func TestShortToldWaits(t *testing.T) {
	for _, c := range []struct {
		told     time.Duration
		eleventh time.Duration // the wait
	}{
		{s / 2, s}, {s - 1, s}, {s, s},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := play(append(repeat(told(failure.RateLimited, c.told), 12), repeat(told(failure.RateLimited, time.Millisecond), 2)...)...)
			if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{}), f.call); err != nil {
				t.Fatal(err)
			}
			apart := func(n int) time.Duration { return f.at[n] - f.at[n-1] }
			if got := apart(10); got != c.told {
				t.Errorf("told %v: the tenth wait is %v", c.told, got)
			}
			if got := apart(11); got != c.eleventh {
				t.Errorf("told %v: the eleventh wait is %v", c.told, got)
			}
			least := s / 10
			if c.told < s {
				least = s
			}
			if got := apart(13); got != least {
				t.Errorf("told %v, then 1 ms: waited %v, want %v", c.told, got, least)
			}
		})
	}
}

// Ten waits of less than a second that no limit is the reason of are none of them.
func TestShortBackoffsAreNoToldWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := play(append(repeat(invalid, 12), repeat(told(failure.RateLimited, time.Millisecond), 2)...)...)
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxAttempts: 20}), f.call); err != nil || f.at[14] != s/5 {
			t.Errorf("attempts began at %v: %v", f.at, err)
		}
	})
}

// A call waits for its turn with others: the pacer's words become its own. The
// first turn after a told time comes half a second later.
func TestWhatARefusedTurnIsCalled(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits pace.Limits
		tell   *pace.Told
		config retry.Config
		stop   retry.Reason // 0: it waits
		refuse time.Duration
		reason retry.WaitReason
		took   time.Duration
	}{
		{name: "a told time", tell: tenSeconds, reason: retry.RateLimitWait, took: 10*s + s/2},
		{name: "too long a told time", tell: &pace.Told{Wait: 3 * time.Minute, HasWait: true}, stop: retry.WaitTooLong, refuse: 3 * time.Minute, reason: retry.RateLimitWait},
		{name: "as long as is allowed", tell: &pace.Told{Wait: 2 * time.Minute, HasWait: true}, reason: retry.RateLimitWait, took: 2*time.Minute + s/2},
		{name: "longer than the deadline", tell: tenSeconds, config: retry.Config{MaxTime: 9 * s}, stop: retry.OutOfTime, refuse: 10*s + s/2, reason: retry.RateLimitWait},
		{name: "longer than all waits may be", tell: tenSeconds, config: retry.Config{MaxRateLimitWait: 9 * s}, stop: retry.RateLimitWaitExceeded, refuse: 10*s + s/2, reason: retry.RateLimitWait},
		{name: "a told window", tell: &pace.Told{Windows: []pace.Window{{Limit: 9, Reset: 20 * s}}}, reason: retry.RateLimitWait, took: 20 * s},
		{name: "a configured limit", limits: pace.Limits{RequestsPerMinute: 6}, reason: retry.PaceWait, took: 10 * s},
		{name: "past the deadline", limits: pace.Limits{RequestsPerMinute: 6}, config: retry.Config{MaxTime: 9 * s}, stop: retry.OutOfTime, refuse: 10 * s, reason: retry.PaceWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := endpoint.NewRegistry(endpoint.Config{Rand: func() uint64 { return 1 << 63 }})
				if err != nil {
					t.Fatal(err)
				}
				e := r.Get(endpoint.Key{Model: "m"})
				release, err := e.Limit(c.limits, endpoint.Budget{})
				if err != nil {
					t.Fatal(err)
				}
				defer release()
				to := retry.Target{Endpoint: e, Guards: e.Guards(endpoint.Options{})}
				first := to.Guards[1]
				turn, refusal := first.Admit(endpoint.Ask{})
				if refusal != nil {
					t.Fatal(refusal.Err)
				}
				first.Settle(turn, endpoint.Outcome{Effect: failure.Healthy, Report: &endpoint.Report{Told: c.tell}})
				c.config.Target = to
				var waits []retry.WaitReason
				c.config.Observer = func(_ context.Context, e retry.Event) context.Context {
					if e.Type == retry.Waiting {
						waits = append(waits, e.Reason)
					}
					return nil
				}
				f := play()
				_, err = retry.Do(t.Context(), newPolicy(t, c.config), f.call)
				if c.stop == 0 {
					if err != nil || f.at[0] != c.took || !slices.Equal(waits, []retry.WaitReason{c.reason}) {
						t.Errorf("began at %v, want %v, after %v: %v", f.at, c.took, waits, err)
					}
					return
				}
				got, ok := errors.AsType[*retry.Error](err)
				if len(waits) > 0 {
					t.Error("a wait that was not begun is told")
				}
				if c.stop == retry.OutOfTime && (!errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not sent: ")) {
					t.Errorf("says %v", err)
				}
				if !ok || got.Reason != c.stop || got.RefusedWait != c.refuse || got.WaitReason != c.reason || time.Since(f.start) > 0 {
					t.Errorf("%+v after %v", err, time.Since(f.start))
				}
			})
		})
	}
}

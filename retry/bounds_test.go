package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

// A provider that asks for a time beyond all reckoning is refused, also by a
// caller who takes any single wait: the sum of the waits does not overflow.
func TestMaxLimitTimeHoldsForAnyTimeThatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolicy(t, retry.Config{MaxRetryAfter: math.MaxInt64})
		f := play(told(failure.RateLimited, 5*s), told(failure.RateLimited, math.MaxInt64))
		_, err := retry.Do(t.Context(), p, f.call)
		e, _ := errors.AsType[*retry.Error](err)
		if e == nil || e.Reason != retry.LimitTimePassed || time.Since(f.start) != 5*s {
			t.Errorf("got %v after %v", err, time.Since(f.start))
		}
	})
}

// While another caller's failures open the circuit again and again, the waits
// for it cover those for the limit, and must not hide them.
func TestMaxLimitTimeHoldsWhileTheCircuitIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 10 * s})
		p := newPolicy(t, retry.Config{Breaker: b, WaitForCircuit: true, MaxLimitTime: 27 * s})
		calls := 0
		_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
			if calls++; calls > 100 {
				return 0, nil
			}
			b.Trip(transient)
			return 0, told(failure.RateLimited, 5*s)
		})
		e, _ := errors.AsType[*retry.Error](err)
		// 5 s for the limit in each wait, the backoff of 8 s in the fourth.
		if e == nil || e.Reason != retry.LimitTimePassed || calls != 6 {
			t.Errorf("got %v after %d attempts", err, calls)
		}
	})
}

// The circuit that ends a call is in its error, even if it is closed by then.
func TestTheOpenCircuitIsInTheErrorThatItCaused(t *testing.T) {
	b := newBreaker(t, breaker.Config{FailureThreshold: 1})
	p := newPolicy(t, retry.Config{Breaker: b, Backoff: backoff.Func(func(int) time.Duration { b.Reset(); return 0 })})
	_, err := retry.Do(t.Context(), p, play(transient).call)
	open, ok := errors.AsType[*breaker.OpenError](err)
	if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != retry.CircuitOpen || !ok || open.Name != "test/model" {
		t.Errorf("got %v", err)
	}
}

// A circuit that is not waited for is no refused wait: nobody asked for one, and
// of one that is forced open nobody knows how long it would be.
func TestAnOpenCircuitIsNoRefusedWait(t *testing.T) {
	for name, open := range map[string]func(*breaker.Breaker){
		"open": func(b *breaker.Breaker) { b.Trip(transient) }, "forced open": func(b *breaker.Breaker) { b.ForceOpen(nil) },
	} {
		b := newBreaker(t, breaker.Config{})
		p := newPolicy(t, retry.Config{Breaker: b})
		_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { open(b); return 0, transient })
		if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != retry.CircuitOpen || e.RefusedWait != 0 || e.Why != retry.NoWait {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// Who wraps what a helper returned must not undo its Stop.
func TestStopEndsTheLoopAlsoWhereItIsWrapped(t *testing.T) {
	for name, c := range map[string]retry.Config{"plain": {}, "with a limit for each attempt": {AttemptTimeout: s}} {
		f := play(fmt.Errorf("page 7: %w", retry.Stop(transient)))
		_, err := retry.Do(t.Context(), newPolicy(t, c), f.call)
		e, _ := errors.AsType[*retry.Error](err)
		if e == nil || e.Reason != retry.Permanent || len(f.at) != 1 || !errors.Is(err, transient) || failure.KindOf(err) != failure.Transient {
			t.Errorf("%s: %v after %d attempts", name, err, len(f.at))
		}
	}
}

func TestStopIsFoundInAListOfErrors(t *testing.T) {
	f := play(errors.Join(errors.New("page 6"), fmt.Errorf("page 7: %w", retry.Stop(transient))))
	if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{}), f.call); len(f.at) != 1 {
		t.Errorf("%v after %d attempts", err, len(f.at))
	}
}

// A loop within a loop that was stopped has failed, and the outer one decides
// for itself what follows, however the Stop came to the inner one.
func TestStopEndsTheInnermostLoopAlone(t *testing.T) {
	for name, stop := range map[string]error{"as it is": retry.Stop(transient), "wrapped": fmt.Errorf("page 7: %w", retry.Stop(transient))} {
		inner := 0
		p := newPolicy(t, retry.Config{Backoff: backoff.Constant{}})
		_, err := retry.Do(t.Context(), p, func(ctx context.Context, _ retry.Attempt) (int, error) {
			return retry.Do(ctx, p, func(context.Context, retry.Attempt) (int, error) { inner++; return 0, stop })
		})
		if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != retry.Exhausted || inner != 3 {
			t.Errorf("%s: %v after %d attempts", name, err, inner)
		}
	}
}

// One cut at its limit stays the last all the same.
func TestStopEndsTheLoopAlsoWhereTheAttemptWasCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, wrap := range map[string]func(error) error{
			"stopped": retry.Stop, "stopped and wrapped": func(err error) error { return fmt.Errorf("page 7: %w", retry.Stop(err)) },
		} {
			attempts := 0
			_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{AttemptTimeout: s}), func(ctx context.Context, _ retry.Attempt) (int, error) {
				attempts++
				<-ctx.Done()
				return 0, wrap(ctx.Err())
			})
			if failure.KindOf(err) != failure.AttemptTimeout || attempts != 1 {
				t.Errorf("%s: %v after %d attempts", name, err, attempts)
			}
		}
	})
}

// A deposit is what it says: ten successes of 0.7 pay for seven retries.
func TestDepositsAddUpExactly(t *testing.T) {
	for _, deposit := range []float64{0.01, 0.07, 0.1, 0.3, 0.7, 0.9} {
		budget, err := retry.NewBudget(deposit, 100)
		if err != nil {
			t.Fatal(err)
		}
		p := newPolicy(t, retry.Config{Budget: budget, Backoff: backoff.Constant{}, MaxAttempts: math.MaxInt})
		if _, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { return 0, transient }); err == nil {
			t.Fatal("the budget has no end")
		}
		for range 100 {
			retry.Do(t.Context(), p, play().call)
		}
		retries := -1
		retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { retries++; return 0, transient })
		if want := int(math.Round(deposit * 100)); retries != want {
			t.Errorf("100 successes of %v paid for %d retries, want %d", deposit, retries, want)
		}
	}
}

// A circuit that opens just at the deadline is not waited for, and no wait for it
// is announced.
func TestACircuitThatOpensWithTheDeadlineIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 10 * s})
		b.Trip(transient)
		var events []retry.Event
		p := newPolicy(t, retry.Config{Breaker: b, WaitForCircuit: true, MaxTime: 10 * s, Observe: func(e retry.Event) { events = append(events, e) }})
		f := play()
		_, err := retry.Do(t.Context(), p, f.call)
		if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != retry.OutOfTime || e.RefusedWait != 10*s || time.Since(f.start) != 0 {
			t.Errorf("%v after %v", err, time.Since(f.start))
		}
		if len(events) != 1 || events[0].Stop != retry.OutOfTime {
			t.Errorf("events %+v", events)
		}
	})
}

// Once is once, whatever comes between.
func TestACutOffAnswerIsAskedForOnceMoreInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cutOff := fail(failure.CutOff)
		f := play(cutOff, transient, invalid, cutOff, transient)
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxAttempts: 9}), f.call)
		if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != retry.Permanent || len(f.at) != 4 {
			t.Errorf("%v after %d attempts", err, len(f.at))
		}
	})
}

// Each way in which Do makes an attempt: the first, a later one, one with a
// limit of its own.
var ways = map[string]struct {
	config retry.Config
	number int
}{
	"the first": {retry.Config{}, 1}, "the second": {retry.Config{}, 2},
	"the first, with a limit": {retry.Config{AttemptTimeout: time.Hour}, 1}, "within MaxTime": {retry.Config{MaxTime: time.Hour}, 1},
}

func TestAPanicInAnyAttemptGoesOnAndIsCounted(t *testing.T) {
	for name, way := range ways {
		b := newBreaker(t, breaker.Config{FailureThreshold: way.number})
		way.config.Breaker, way.config.Backoff = b, backoff.Constant{}
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			retry.Do(t.Context(), newPolicy(t, way.config), func(_ context.Context, a retry.Attempt) (int, error) {
				if a.Number == way.number {
					panic("boom")
				}
				return 0, transient
			})
		}()
		if _, ok := errors.AsType[*breaker.PanicError](b.Snapshot().Cause); !ok || b.State() != breaker.Open {
			t.Errorf("%s: the circuit is %v because of %v", name, b.State(), b.Snapshot().Cause)
		}
	}
}

func TestGoexitInAnyAttemptGivesTheProbesPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, way := range ways {
			b := newBreaker(t, breaker.Config{TripTimeout: s})
			b.Trip(transient)
			time.Sleep(s)
			way.config.Breaker, way.config.Backoff = b, backoff.Constant{}
			p := newPolicy(t, way.config)
			done := make(chan struct{})
			go func() {
				defer close(done)
				retry.Do(t.Context(), p, func(_ context.Context, a retry.Attempt) (int, error) {
					if a.Number == way.number {
						runtime.Goexit()
					}
					return 0, limited // says nothing to the circuit, which stays HALF_OPEN
				})
			}()
			<-done
			if s := b.Snapshot(); s.State != breaker.HalfOpen || s.Probes != 0 {
				t.Errorf("%s: %+v: the place is still taken", name, s)
			}
		}
	})
}

func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	p, err := retry.New(retry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if p.MaxAttempts != 3 || p.MaxRetryAfter != 120*time.Second || p.MaxLimitTime != 600*time.Second || p.Backoff != (backoff.Exponential{}) {
		t.Errorf("%+v", p.Config)
	}
}

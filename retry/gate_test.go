package retry_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

func gated(t *testing.T, g *retry.Gate, change func(*retry.Config)) *retry.Policy {
	t.Helper()
	c := retry.Config{Gate: g, Backoff: backoff.Constant{}}
	if change != nil {
		change(&c)
	}
	p, err := retry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What one caller was told, the others need not be told each; and they come back
// one after the other, not together.
func TestOneIsToldAndNobodyElseCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 50
		p := gated(t, new(retry.Gate), nil)
		begin := time.Now()
		var mu sync.Mutex
		var times []time.Duration
		ask := func(context.Context, retry.Attempt) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(begin))
			if len(times) == 1 {
				return 0, told(failure.RateLimited, 5*time.Second)
			}
			return 1, nil
		}
		var done sync.WaitGroup
		for i := range callers {
			done.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				if _, err := retry.Do(t.Context(), p, ask); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if len(times) != callers+1 || times[0] != 0 || times[1] != 5*time.Second {
			t.Fatalf("%d calls, the first at %v", len(times), times[:2])
		}
		last := times[len(times)-1]
		if last < 6*time.Second || last > 5*time.Second+callers*100*time.Millisecond {
			t.Errorf("the last is back at %v", last)
		}
		slices.Sort(times)
		if distinct := len(slices.Compact(times)); distinct < callers {
			t.Errorf("only %d of %d came back at a time of their own", distinct, callers)
		}
	})
}

// If the first that comes back is told to wait again, those behind it have
// called nobody.
func TestThoseBehindWaitOnWhenTheFirstIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gated(t, new(retry.Gate), nil)
		begin := time.Now()
		var calls, early atomic.Int32
		var done sync.WaitGroup
		for i := range 10 {
			done.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
					switch n := calls.Add(1); {
					case n <= 2:
						return 0, told(failure.RateLimited, 3*time.Second)
					case time.Since(begin) < 6*time.Second:
						early.Add(1)
					}
					return 1, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if calls.Load() != 12 || early.Load() != 0 {
			t.Errorf("%d calls, %d of them before the time", calls.Load(), early.Load())
		}
	})
}

func TestALongerWaitReplacesAShorterAndNeverTheOtherWayRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Gate
		if g.Close(0, nil); !g.Until().IsZero() {
			t.Error("closed for no time")
		}
		begin := time.Now()
		for _, step := range []struct{ close, until time.Duration }{
			{2 * time.Second, 2 * time.Second}, {time.Second, 2 * time.Second}, {4 * time.Second, 4 * time.Second},
			{0, 4 * time.Second}, {-time.Second, 4 * time.Second},
		} {
			g.Close(step.close, nil)
			if got := g.Until().Sub(begin); got != step.until {
				t.Errorf("closed for %v: until %v, want %v", step.close, got, step.until)
			}
		}
		time.Sleep(4 * time.Second)
		if _, err := retry.Do(t.Context(), gated(t, &g, nil), func(context.Context, retry.Attempt) (int, error) { return 1, nil }); err != nil {
			t.Error(err)
		}
		if time.Since(begin) != 4*time.Second {
			t.Errorf("waited for an open gate until %v", time.Since(begin))
		}
	})
}

func TestAClosedGateIsWaitedForAsARateLimit(t *testing.T) {
	never := func(context.Context, retry.Attempt) (int, error) {
		t.Error("called")
		return 0, nil
	}
	for name, step := range map[string]struct {
		change   func(*retry.Config)
		deadline time.Duration
		reason   retry.Reason
	}{
		"the deadline can't hold it":   {nil, 5 * time.Second, retry.OutOfTime},
		"longer than one wait may be":  {func(c *retry.Config) { c.MaxRetryAfter = 4 * time.Second }, time.Minute, retry.WaitTooLong},
		"longer than all waits may be": {func(c *retry.Config) { c.MaxLimitTime = 4 * time.Second }, time.Minute, retry.LimitTimePassed},
		"and MaxTime can't hold it":    {func(c *retry.Config) { c.MaxTime = time.Second }, time.Minute, retry.OutOfTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := new(retry.Gate)
			cause := told(failure.RateLimited, 5*time.Second)
			g.Close(5*time.Second, cause)
			ctx, cancel := context.WithTimeout(t.Context(), step.deadline)
			defer cancel()
			begin := time.Now()
			_, err := retry.Do(ctx, gated(t, g, step.change), never)
			e, ok := errors.AsType[*retry.Error](err)
			gate, isGate := errors.AsType[*retry.GateError](err)
			if !ok || e.Reason != step.reason || !errors.Is(err, cause) || !isGate || gate.Wait != 5*time.Second || time.Since(begin) != 0 {
				t.Fatalf("%s: %v after %v", name, err, time.Since(begin))
			}
			if e.RefusedWait != 5*time.Second || e.Why != retry.RateLimitWait {
				t.Errorf("%s: refused %v, %v", name, e.RefusedWait, e.Why)
			}
			want := failure.RateLimited
			if step.reason == retry.OutOfTime {
				want = failure.DeadlineExceeded
			}
			if failure.KindOf(err) != want || errors.Is(err, context.DeadlineExceeded) != (step.reason == retry.OutOfTime) {
				t.Errorf("%s: kind %v of %v", name, failure.KindOf(err), err)
			}
		})
	}
}

func TestWaitingAtTheGateUsesUpNoAttemptAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		g.Close(5*time.Second, nil)
		p := gated(t, g, func(c *retry.Config) { c.MaxAttempts = 1 })
		begin := time.Now()
		v, err := retry.Do(t.Context(), p, func(_ context.Context, a retry.Attempt) (int, error) { return a.Number, nil })
		if v != 1 || err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("attempt %d, %v after %v", v, err, time.Since(begin))
		}

		g.Close(time.Minute, nil)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, nil)
		time.AfterFunc(time.Second, cancel)
		begin = time.Now()
		_, err = retry.Do(ctx, p, func(context.Context, retry.Attempt) (int, error) { return 0, nil })
		if !errors.Is(err, context.Canceled) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// What another was told in the meantime holds for a caller that was told less:
// also that it is longer than is allowed.
func TestTheLongestThatAnyoneWasToldCounts(t *testing.T) {
	for others, want := range map[time.Duration]retry.Reason{60 * time.Second: retry.Going, 300 * time.Second: retry.WaitTooLong} {
		synctest.Test(t, func(t *testing.T) {
			g := new(retry.Gate)
			begin := time.Now()
			calls := 0
			_, err := retry.Do(t.Context(), gated(t, g, nil), func(context.Context, retry.Attempt) (int, error) {
				if calls++; calls == 1 {
					g.Close(others, nil)
					return 0, told(failure.RateLimited, 5*time.Second)
				}
				return 1, nil
			})
			e, _ := errors.AsType[*retry.Error](err)
			switch {
			case want == retry.Going && (err != nil || time.Since(begin) != others):
				t.Errorf("%v after %v", err, time.Since(begin))
			case want != retry.Going && (e == nil || e.Reason != want || e.RefusedWait != others || time.Since(begin) != 0):
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

// To come back in a crowd is better than not at all.
func TestTheSpreadGivesWayToTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		g.Close(5*time.Second, nil)
		p := gated(t, g, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second+time.Millisecond)
		defer cancel()
		var done sync.WaitGroup
		for range 200 {
			done.Go(func() {
				if _, err := retry.Do(ctx, p, func(context.Context, retry.Attempt) (int, error) { return 1, nil }); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
	})
}

func TestALimitWithoutATimeClosesNoGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		p := gated(t, g, func(c *retry.Config) { c.MaxAttempts = 2 })
		for _, err := range []error{
			&failure.Error{Kind: failure.RateLimited},
			&failure.Error{Kind: failure.Overloaded, RetryAfter: time.Second, Told: true},
			&failure.Error{Kind: failure.Transient, RetryAfter: time.Second, Told: true},
		} {
			_, _ = retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { return 0, err })
			if !g.Until().IsZero() {
				t.Errorf("%v closed the gate", err)
			}
		}
	})
}

func TestTheProvidersNoIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		_, err := retry.Do(t.Context(), gated(t, nil, nil), func(context.Context, retry.Attempt) (int, error) {
			calls++
			return 0, &failure.Error{Kind: failure.Transient, Status: 503, NoRetry: true}
		})
		e, _ := errors.AsType[*retry.Error](err)
		if calls != 1 || e == nil || e.Reason != retry.Permanent {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

// A header of nonsense must not keep a process from its provider for ever.
func TestNoWordKeepsCallersAwayForMoreThanAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		begin := time.Now()
		g.Close(math.MaxInt64, nil)
		if got := g.Until().Sub(begin); got != time.Hour {
			t.Errorf("closed for %v", got)
		}
	})
}

func TestGatesAreOneAKey(t *testing.T) {
	var s retry.Gates
	first := s.Get("a")
	if first != s.Get("a") || first == s.Get("b") {
		t.Error("a gate is not that of its key")
	}
}

// Who waits for a probe's place at the circuit has asked the gate before; what
// the probe was told in the meantime holds for all the same.
func TestAGateThatClosesWhileTheCircuitIsWaitedForIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New("m", breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * time.Second, SuccessThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		p := gated(t, new(retry.Gate), func(c *retry.Config) { c.Breaker, c.WaitForCircuit = b, true })
		b.Trip(errors.New("out"))
		begin := time.Now()
		var calls, early atomic.Int32
		var until atomic.Int64
		var done sync.WaitGroup
		for range 5 {
			done.Go(func() {
				_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
					time.Sleep(time.Second)
					if calls.Add(1) == 1 {
						until.Store(int64(time.Since(begin) + 30*time.Second))
						return 0, told(failure.RateLimited, 30*time.Second)
					}
					if time.Since(begin) < time.Duration(until.Load()) {
						early.Add(1)
					}
					return 1, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if calls.Load() != 6 || early.Load() != 0 {
			t.Errorf("%d calls, %d of them before the time", calls.Load(), early.Load())
		}
	})
}

// Callers that have no time to wait at the gate do not come back, and are not
// waited for.
func TestThoseWhoDoNotWaitTakeNoPlaceInTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		p := gated(t, g, nil)
		never := func(context.Context, retry.Attempt) (int, error) { return 0, errors.New("called") }
		g.Close(2*time.Second, nil)
		for range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := retry.Do(ctx, p, never); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		begin := time.Now()
		_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { return 1, nil })
		if err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A provider's slip (a date for a number of seconds) must not keep a process
// away for good.
func TestAGateOpensAgainWhateverWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(retry.Gate)
		p := gated(t, g, nil)
		g.Close(math.MaxInt64, nil)
		time.Sleep(time.Hour)
		if _, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { return 1, nil }); err != nil {
			t.Error(err)
		}
	})
}

package breaker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// await calls Await, and reports what came of it and after what time.
func await(ctx context.Context, b *breaker.Breaker) (*breaker.Permit, time.Duration, error) {
	began := time.Now()
	p, err := b.Await(ctx)
	return &p, time.Since(began), err
}

func TestAwaitReturnsAtOnceWhileClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		p, took, err := await(t.Context(), b)
		if err != nil || took != 0 {
			t.Fatalf("%v after %v", err, took)
		}
		p.Failure(errBoom)
		wantState(t, b, open)
	})
}

func TestAwaitWaitsUntilAProbeIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.Trip(errBoom)
		time.Sleep(s)
		p, took, err := await(t.Context(), b)
		if err != nil || took != 599*s {
			t.Fatalf("%v after %v", err, took)
		}
		wantState(t, b, half)
		p.Success()
		ok(t, b)
		wantState(t, b, closed)
	})
}

func TestAwaitGetsAPlaceAsSoonAsOneIsFree(t *testing.T) {
	for name, free := range map[string]func(*breaker.Breaker, *breaker.Permit){
		"the probe succeeds":   func(_ *breaker.Breaker, p *breaker.Permit) { p.Success() },
		"the probe is ignored": func(_ *breaker.Breaker, p *breaker.Permit) { p.Ignore() },
		"reset":                func(b *breaker.Breaker, _ *breaker.Permit) { b.Reset() },
		"forced closed":        func(b *breaker.Breaker, _ *breaker.Permit) { b.ForceClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{})
				probe := acquire(t, b)
				time.AfterFunc(20*s, func() { free(b, probe) })
				if _, took, err := await(t.Context(), b); err != nil || took != 20*s {
					t.Fatalf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestAwaitGetsThePlaceOfAProbeWhoseLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{ProbeLease: 45 * s})
		acquire(t, b)
		time.Sleep(5 * s)
		if _, took, err := await(t.Context(), b); err != nil || took != 40*s {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

func TestAwaitWaitsAgainWhenTheProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		probe := acquire(t, b)
		time.AfterFunc(20*s, func() { probe.Failure(errBoom) })
		if _, took, err := await(t.Context(), b); err != nil || took != 80*s {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

func TestAwaitFailsAtOnceWhenTheDeadlineCantHoldTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 60 * s})
		b.Trip(errBoom)
		for _, test := range []struct {
			time  time.Duration
			holds bool
		}{{s, false}, {60*s - 1, false}, {60 * s, false}, {60*s + 1, true}} {
			b.Reset()
			b.Trip(errBoom)
			ctx, cancel := context.WithTimeout(t.Context(), test.time)
			p, took, err := await(ctx, b)
			if test.holds {
				if err != nil || took != 60*s {
					t.Errorf("with %v: %v after %v", test.time, err, took)
				}
				p.Ignore()
			} else if e, isOpen := errors.AsType[*breaker.OpenError](err); !isOpen || took != 0 || e.RetryIn() != 60*s {
				t.Errorf("with %v: %v after %v", test.time, err, took)
			}
			cancel()
		}
	})
}

// A place in HALF_OPEN may become free at any time: the deadline is waited for.
func TestAwaitUsesTheWholeDeadlineWhileHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		acquire(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if _, took, err := await(ctx, b); err != context.DeadlineExceeded || took != s {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAwaitEndsAtOnceWhenTheWaitBecomesTooLong(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(*breaker.Breaker)
		want func(*breaker.OpenError) bool
	}{
		"tripped for longer": {func(b *breaker.Breaker) { b.Trip(errBoom) }, func(e *breaker.OpenError) bool { return e.RetryIn() == 600*s }},
		"forced open":        {func(b *breaker.Breaker) { b.ForceOpen(errBoom) }, func(e *breaker.OpenError) bool { return e.Forced }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{FailureThreshold: 1})
				bad(t, b)
				ctx, cancel := context.WithTimeout(t.Context(), 120*s)
				defer cancel()
				time.AfterFunc(10*s, func() { change.do(b) })
				_, took, err := await(ctx, b)
				e, isOpen := errors.AsType[*breaker.OpenError](err)
				if !isOpen || took != 10*s || !change.want(e) {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestAwaitOfAForcedCircuitFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.ForceOpen(errBoom)
		_, took, err := await(t.Context(), b)
		if e, isOpen := errors.AsType[*breaker.OpenError](err); !isOpen || !e.Forced || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAwaitEndsAtOnceWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []*breaker.Breaker{
			newBreaker(t, breaker.Config{}),
			halfOpen(t, breaker.Config{}),
		} {
			if b.State() == half {
				acquire(t, b)
			} else {
				b.Trip(errBoom)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(7*s, func() { cancel(errBoom) })
			if _, took, err := await(ctx, b); err != context.Canceled || took != 7*s {
				t.Errorf("%v after %v", err, took)
			}
			if _, took, err := await(ctx, b); err != context.Canceled || took != 0 {
				t.Errorf("with a context that has ended: %v after %v", err, took)
			}
		}
	})
}

func TestManyWaitersAllGetThrough(t *testing.T) {
	for _, probes := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{HalfOpenProbes: probes, SuccessThreshold: 5})
			b.Trip(errBoom)
			var through, underWay, most, failed atomic.Int32
			for i := range 300 {
				go func() {
					p, err := b.Await(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					probe := b.State() == half
					if probe {
						most.Store(max(most.Load(), underWay.Add(1)))
					}
					time.Sleep(s)
					if probe {
						underWay.Add(-1)
					}
					through.Add(1)
					switch {
					case i%3 == 0:
						p.Ignore()
					case failed.Add(1) <= 3:
						p.Failure(errBoom)
					default:
						p.Success()
					}
				}()
			}
			time.Sleep(time.Hour)
			if got := through.Load(); got != 300 {
				t.Errorf("%d of 300 got through", got)
			}
			if got := most.Load(); got > int32(probes) {
				t.Errorf("%d probes at a time, want at most %d", got, probes)
			}
		})
	}
}

func TestAwaitWatchesSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, SlowCall: s})
		if _, _, err := await(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(s)
		synctest.Wait()
		wantState(t, b, open)
	})
}

package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// await calls Wait, and reports what came of it and after what time.
func await(ctx context.Context, b *breaker.Breaker) (breaker.Pass, time.Duration, error) {
	began := time.Now()
	p, err := b.Wait(ctx)
	return p, time.Since(began), err
}

func TestWaitReturnsAtOnceWhileClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		p, took, err := await(t.Context(), b)
		if err != nil || took != 0 {
			t.Fatalf("%v after %v", err, took)
		}
		b.Leave(p, breaker.Failed, because(boom))
		wantState(t, b, open)
	})
}

func TestWaitWaitsUntilAProbeIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.Trip(because(boom))
		time.Sleep(s)
		p, took, err := await(t.Context(), b)
		if err != nil || took != 59*s {
			t.Fatalf("%v after %v", err, took)
		}
		wantState(t, b, half)
		b.Leave(p, breaker.Succeeded, breaker.Failure{})
		ok(t, b)
		wantState(t, b, closed)
	})
}

func TestWaitGetsAPlaceAsSoonAsOneIsFree(t *testing.T) {
	for name, free := range map[string]func(*breaker.Breaker, breaker.Pass){
		"the probe succeeds":        func(b *breaker.Breaker, p breaker.Pass) { b.Leave(p, breaker.Succeeded, breaker.Failure{}) },
		"the probe ends in neither": func(b *breaker.Breaker, p breaker.Pass) { b.Leave(p, breaker.Neither, breaker.Failure{}) },
		"its answer begins":         func(b *breaker.Breaker, p breaker.Pass) { b.Accept(p) },
		"reset":                     func(b *breaker.Breaker, _ breaker.Pass) { b.Reset() },
		"forced closed":             func(b *breaker.Breaker, _ breaker.Pass) { b.ForceClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{})
				probe := enter(t, b)
				time.AfterFunc(20*s, func() { free(b, probe) })
				if _, took, err := await(t.Context(), b); err != nil || took != 20*s {
					t.Fatalf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestWaitGetsThePlaceOfAProbeWhoseLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{ProbeLease: 45 * s})
		acquire(t, b)
		time.Sleep(5 * s)
		if _, took, err := await(t.Context(), b); err != nil || took != 40*s {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

func TestWaitWaitsAgainWhenTheProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		probe := acquire(t, b)
		time.AfterFunc(20*s, func() { probe.Failure(because(boom)) })
		if _, took, err := await(t.Context(), b); err != nil || took != 80*s {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

func TestWaitFailsAtOnceWhenTheDeadlineCantHoldTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 60 * s})
		b.Trip(because(boom))
		for _, test := range []struct {
			time  time.Duration
			holds bool
		}{{s, false}, {60*s - 1, false}, {60 * s, false}, {60*s + 1, true}} {
			b.Reset()
			b.Trip(because(boom))
			ctx, cancel := context.WithTimeout(t.Context(), test.time)
			p, took, err := await(ctx, b)
			if test.holds {
				if err != nil || took != 60*s {
					t.Errorf("with %v: %v after %v", test.time, err, took)
				}
				b.Leave(p, breaker.Neither, breaker.Failure{})
			} else if e, isOpen := errors.AsType[*breaker.OpenError](err); !isOpen || took != 0 || e.RetryIn() != 60*s {
				t.Errorf("with %v: %v after %v", test.time, err, took)
			}
			cancel()
		}
	})
}

// A place in HALF_OPEN may become free at any time: the deadline is waited for.
func TestWaitUsesTheWholeDeadlineWhileHalfOpen(t *testing.T) {
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

func TestWaitEndsAtOnceWhenTheWaitBecomesTooLong(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(*breaker.Breaker)
		want func(*breaker.OpenError) bool
	}{
		"tripped for longer": {func(b *breaker.Breaker) { b.Trip(because(boom)) }, func(e *breaker.OpenError) bool { return e.RetryIn() == 600*s }},
		"forced open":        {func(b *breaker.Breaker) { b.ForceOpen("") }, func(e *breaker.OpenError) bool { return e.Forced }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{FailureThreshold: 1, TripTimeout: 600 * s})
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

func TestWaitOfAForcedCircuitFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.ForceOpen("")
		_, took, err := await(t.Context(), b)
		if e, isOpen := errors.AsType[*breaker.OpenError](err); !isOpen || !e.Forced || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestWaitEndsAtOnceWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []*breaker.Breaker{
			newBreaker(t, breaker.Config{}),
			halfOpen(t, breaker.Config{}),
		} {
			if b.State() == half {
				acquire(t, b)
			} else {
				b.Trip(because(boom))
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
			b.Trip(because(boom))
			var through, underWay, most, failed atomic.Int32
			for i := range 300 {
				go func() {
					p, err := b.Wait(t.Context())
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
						b.Leave(p, breaker.Neither, breaker.Failure{})
					case failed.Add(1) <= 3:
						b.Leave(p, breaker.Failed, because(boom))
					default:
						b.Leave(p, breaker.Succeeded, breaker.Failure{})
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
			if got := b.Snapshot().Waiting; got != 0 {
				t.Errorf("%d still wait", got)
			}
		})
	}
}

// entries waits for a circuit with n callers, whose calls succeed after lasts,
// and returns when each was let through.
func entries(t *testing.T, b *breaker.Breaker, n int, lasts time.Duration) []time.Duration {
	began := time.Now()
	at := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p, err := b.Wait(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			at[i] = time.Since(began)
			time.Sleep(lasts)
			b.Leave(p, breaker.Succeeded, breaker.Failure{})
		})
		synctest.Wait() // they come one after another
	}
	wg.Wait()
	return at
}

// mostWithin returns the largest number of the times, which are sorted, that lie
// within d.
func mostWithin(d time.Duration, times []time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at-times[first] >= d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// A13: of 1,000 that waited, 998 were let through in one instant. "Those who wait
// for a circuit come back spread."
func TestThoseWhoWaitComeBackSpreadAndInTheirOrder(t *testing.T) {
	for _, test := range []struct {
		waiters int
		within  int           // 10 ms, at most so many
		all     time.Duration // through after so long, from the first probe
	}{{2, 2, 2 * s}, {1000, 50, 6 * s}, {20_000, 50, 12 * s}} {
		for how, recovers := range map[string]func(b *breaker.Breaker){
			"by probes": func(*breaker.Breaker) {},
			"by hand":   func(b *breaker.Breaker) { time.AfterFunc(60*s, b.Reset) },
		} {
			t.Run(fmt.Sprintf("%d %s", test.waiters, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBreaker(t, breaker.Config{TripTimeout: 60 * s})
					b.Trip(because(boom))
					recovers(b)
					at := entries(t, b, test.waiters, s)
					if !slices.IsSorted(at) {
						t.Error("not let through in their order")
					}
					if got := mostWithin(10*time.Millisecond, at); got > test.within {
						t.Errorf("%d let through within 10 ms", got)
					}
					if at[0] != 60*s || at[len(at)-1] > 60*s+test.all {
						t.Errorf("the first after %v, the last after %v", at[0], at[len(at)-1])
					}
					t.Logf("%d within 10 ms, the last %v after the first", mostWithin(10*time.Millisecond, at), at[len(at)-1]-at[0])
				})
			})
		}
	}
}

// A14: who is cancelled gives its place in the queue back.
func TestOneThatIsLeftInTheQueueWaitsForItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 60 * s, SuccessThreshold: 1})
		b.Trip(because(boom))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, _, err := await(ctx, b); err != context.Canceled {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		wg.Go(func() {
			if _, took, err := await(t.Context(), b); err != nil || took != 60*s {
				t.Errorf("%v after %v", err, took)
			}
		})
		synctest.Wait()
		if got := b.Snapshot().Waiting; got != 1001 {
			t.Errorf("%d wait", got)
		}
		cancel()
		synctest.Wait()
		if got := b.Snapshot().Waiting; got != 1 {
			t.Errorf("%d wait", got)
		}
		wg.Wait()
	})
}

// The first of the queue may be called in the instant in which it leaves.
func TestWhoIsCalledAndLeavesCallsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			b := halfOpen(t, breaker.Config{SuccessThreshold: 3, ProbeLease: time.Hour})
			probe := enter(t, b)
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan struct{})
			go func() {
				defer close(first)
				if p, err := b.Wait(ctx); err == nil {
					b.Leave(p, breaker.Neither, breaker.Failure{})
				}
			}()
			synctest.Wait()
			second := make(chan time.Duration)
			go func() { _, took, _ := await(t.Context(), b); second <- took }()
			synctest.Wait()
			go cancel()
			go b.Leave(probe, breaker.Succeeded, breaker.Failure{})
			if took := <-second; took != 0 {
				t.Fatalf("the next waited for %v", took)
			}
			<-first
		}
	})
}

func TestQueueThatIsBeingLetThroughWaitsAgainWhenTheCircuitOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		bad(t, b)
		var through atomic.Int32
		for range 100 {
			go func() {
				if _, err := b.Wait(t.Context()); err == nil {
					through.Add(1)
				}
			}()
		}
		short, cancel := context.WithTimeout(t.Context(), 30*s)
		defer cancel()
		refusedAt := make(chan time.Duration, 1)
		synctest.Wait()
		time.AfterFunc(10*s, b.Reset)
		time.AfterFunc(10*s+95*time.Millisecond, func() {
			b.Leave(enter(t, b), breaker.Failed, because(boom))
			go func() { // comes when the circuit is OPEN again
				_, took, err := await(short, b)
				if _, isOpen := errors.AsType[*breaker.OpenError](err); !isOpen {
					t.Error(err)
				}
				refusedAt <- took
			}()
		})
		time.Sleep(11 * s)
		if got := through.Load(); got != 10 {
			t.Errorf("%d of 100 got through in 95 ms", got)
		}
		if took := <-refusedAt; took != 0 {
			t.Errorf("refused after %v", took)
		}
		if got := b.Snapshot(); got.Waiting != 90 || got.State != open {
			t.Errorf("%+v", got)
		}
		b.Reset()
		time.Sleep(2 * s)
		if got := through.Load(); got != 100 {
			t.Errorf("%d of 100 got through", got)
		}
	})
}

func TestAFewPlacesThatBecomeFreeAtOnceAreAllTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{HalfOpenProbes: 3, SuccessThreshold: 100})
		var through atomic.Int32
		for range 3 {
			acquire(t, b)
		}
		for range 10 {
			go func() {
				if _, err := b.Wait(t.Context()); err == nil {
					through.Add(1)
				}
			}()
		}
		time.Sleep(60*s - 1)
		if got := through.Load(); got != 0 {
			t.Errorf("%d got through", got)
		}
		time.Sleep(time.Nanosecond) // all three leases
		synctest.Wait()
		if got := through.Load(); got != 3 {
			t.Errorf("%d got through", got)
		}
		b.Reset()
		time.Sleep(s)
	})
}

func TestWaitWatchesSlowCalls(t *testing.T) {
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

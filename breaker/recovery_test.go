package breaker_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestProbeIsAdmittedAtExactlyRecoveryTimeout(t *testing.T) {
	for _, recovery := range []time.Duration{1, time.Millisecond, 60 * s, 48 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{RecoveryTimeout: recovery})
			for range 5 {
				bad(t, b)
			}
			refused(t, b)
			time.Sleep(recovery - 1)
			if e := refusal(t, b); e.RetryIn() != 1 {
				t.Errorf("1 ns before: RetryIn %v", e.RetryIn())
			}
			wantState(t, b, open)
			time.Sleep(time.Nanosecond)
			wantState(t, b, half)
			acquire(t, b).Ignore()
			wantState(t, b, half)
		})
	}
}

func TestZeroConfigRecoversAfterSixtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		trace(t, b, join(
			repeat(4, step{0, bad, closed}), repeat(1, step{0, bad, open}),
			repeat(59, step{s, refused, open}), []step{{s - 1, refused, open}, {1, ok, half}, {0, ok, closed}},
		))
	})
}

func TestNumberOfProbesAtATime(t *testing.T) {
	for _, probes := range []int{1, 2, 3, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t, breaker.Config{HalfOpenProbes: probes, SuccessThreshold: 10_000})
			permits := make([]*breaker.Permit, probes)
			for i := range permits {
				permits[i] = acquire(t, b)
			}
			e := refusal(t, b)
			if e.State != half || e.Cause != boom {
				t.Errorf("refused with %+v", e)
			}
			for _, end := range []func(*breaker.Permit){(*breaker.Permit).Ignore, (*breaker.Permit).Success} {
				end(permits[0]) // frees exactly one place
				permits[0] = acquire(t, b)
				refused(t, b)
			}
			if got := b.Snapshot().Probes; got != probes {
				t.Errorf("%d under way, want %d", got, probes)
			}
		})
	}
}

func TestSuccessesNeededToClose(t *testing.T) {
	for _, probes := range []int{1, 2, 3, 7} {
		for _, needed := range []int{1, 2, 3, 7} {
			t.Run(fmt.Sprintf("%d at a time, %d needed", probes, needed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := halfOpen(t, breaker.Config{HalfOpenProbes: probes, SuccessThreshold: needed})
					var underWay []*breaker.Permit
					for passed := range needed {
						wantState(t, b, half)
						if got := b.Snapshot().Passed; got != passed {
							t.Errorf("%d passed, want %d", got, passed)
						}
						for len(underWay) < probes {
							underWay = append(underWay, acquire(t, b))
						}
						underWay[0].Success()
						underWay = underWay[1:]
					}
					wantState(t, b, closed)
				})
			})
		}
	}
}

func TestFailedProbeReopensWithAFreshTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SuccessThreshold: 3, HalfOpenProbes: 3, TripTimeout: 60 * s})
		for range 2 {
			ok(t, b)
		}
		time.Sleep(10 * s)
		run(b, errLate)
		wantState(t, b, open)
		if e := refusal(t, b); e.RetryIn() != 60*s || e.Cause != late {
			t.Errorf("refused for %v because of %v", e.RetryIn(), e.Cause)
		}
		// The two successes before are forgotten.
		trace(t, b, []step{{60*s - 1, refused, open}, {1, ok, half}, {0, ok, half}, {0, ok, closed}})
	})
}

func TestClosedAfterRecoveryBeginsWithAnEmptyWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{RecoveryTimeout: s})
		trace(t, b, join(
			repeat(4, step{0, bad, closed}), []step{{0, bad, open}, {s, ok, half}, {0, ok, closed}},
			repeat(4, step{0, bad, closed}), []step{{0, bad, open}},
		))
	})
}

func TestHungProbeLosesItsPlaceAfterItsLease(t *testing.T) {
	for _, test := range []struct {
		config breaker.Config
		lease  time.Duration
	}{
		{breaker.Config{}, 60 * s},
		{breaker.Config{RecoveryTimeout: 7 * s}, 7 * s},
		{breaker.Config{ProbeLease: 1}, 1},
		{breaker.Config{ProbeLease: 20 * s, HalfOpenProbes: 3}, 20 * s},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t, test.config)
			places := max(1, test.config.HalfOpenProbes)
			release := make(chan struct{})
			defer close(release)
			for range places {
				go breaker.Do(t.Context(), b, func(context.Context) (int, error) { <-release; return 0, nil })
			}
			synctest.Wait()
			if e := refusal(t, b); e.RetryIn() != test.lease {
				t.Errorf("refused for %v, want %v", e.RetryIn(), test.lease)
			}
			time.Sleep(test.lease - 1)
			refused(t, b)
			time.Sleep(time.Nanosecond)
			for range places {
				acquire(t, b)
			}
			refused(t, b)
		})
	}
}

func TestLeaseWithoutEndDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{ProbeLease: math.MaxInt64})
		acquire(t, b)
		time.Sleep(1000 * time.Hour)
		if e := refusal(t, b); e.RetryIn() < 100*365*24*time.Hour {
			t.Errorf("refused for %v", e.RetryIn())
		}
	})
}

// Each of the ways in which a probe may never report, a hundred times over: the
// circuit closes as soon as the service works again.
func TestBreakerCantBeWedged(t *testing.T) {
	swallow := func(call func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			call()
		}()
		<-done
	}
	for name, probe := range map[string]func(*breaker.Breaker){
		"hangs": func(b *breaker.Breaker) {
			ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
			go func() {
				defer cancel()
				breaker.Do(ctx, b, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			}()
			synctest.Wait()
		},
		"panics": func(b *breaker.Breaker) {
			swallow(func() { breaker.Do(context.Background(), b, func(context.Context) (int, error) { panic("probe") }) })
		},
		"ends its goroutine": func(b *breaker.Breaker) {
			swallow(func() {
				breaker.Do(context.Background(), b, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
			})
		},
		"is lost": func(b *breaker.Breaker) { b.Acquire() },
		"fails":   func(b *breaker.Breaker) { run(b, errBoom) },
		"ends in neither": func(b *breaker.Breaker) {
			if p, refusal := b.Enter(); refusal == nil {
				b.Leave(p, breaker.Neither, breaker.Failure{})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{HalfOpenProbes: 2, SuccessThreshold: 3})
				for range 100 {
					probe(b)
					time.Sleep(30 * s)
				}
				time.Sleep(60 * s)
				for range 3 {
					ok(t, b)
				}
				wantState(t, b, closed)
				time.Sleep(25 * time.Hour) // those that hang come home
				wantState(t, b, closed)
			})
		})
	}
}

func TestPanickingProbeReopensAtOnceAndThePanicGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		func() {
			defer func() {
				if r := recover(); r != "ouch" {
					t.Errorf("recovered %v", r)
				}
			}()
			breaker.Do(t.Context(), b, func(context.Context) (int, error) { panic("ouch") })
		}()
		wantState(t, b, open)
		if e := refusal(t, b); e.Cause != (breaker.Cause{Kind: "panic"}) {
			t.Errorf("cause %v", e.Cause)
		}
	})
}

func TestGoexitInAProbeGivesThePlaceBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			breaker.Do(t.Context(), b, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		}()
		<-done
		if got := b.Snapshot(); got.State != half || got.Probes != 0 || got.Passed != 0 {
			t.Errorf("%+v", got)
		}
		acquire(t, b)
	})
}

func TestLateReportOfALostProbeCountsOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(*breaker.Permit)
		state  breaker.State
		passed int
	}{
		{"success", func(p *breaker.Permit) { p.Success(); p.Success() }, half, 1},
		{"failure", func(p *breaker.Permit) { p.Failure(because(boom)); p.Failure(because(boom)) }, open, 0},
		{"trip", func(p *breaker.Permit) { p.Trip(because(boom)) }, open, 0},
		{"ignore", func(p *breaker.Permit) { p.Ignore(); p.Ignore() }, half, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{SuccessThreshold: 3})
				lost := acquire(t, b)
				time.Sleep(60 * s)
				acquire(t, b) // has its place
				test.end(lost)
				got := b.Snapshot()
				if got.State != test.state || got.Passed != test.passed {
					t.Errorf("%v with %d passed, want %v with %d", got.State, got.Passed, test.state, test.passed)
				}
				if got.State == half {
					refused(t, b) // the place is the other's
				}
			})
		})
	}
}

func TestProbeLostLongAgoStillCounts(t *testing.T) {
	for ending, want := range map[string]breaker.State{"success": closed, "failure": open, "trip": open, "ignore": half} {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t, breaker.Config{SuccessThreshold: 1})
			lost := acquire(t, b)
			for range 1000 {
				time.Sleep(60 * s)
				acquire(t, b)
			}
			endings[ending](lost)
			wantState(t, b, want)
		})
	}
}

func TestEachFurtherOpeningIsLongerByTheFactor(t *testing.T) {
	for _, test := range []struct {
		config breaker.Config
		want   []time.Duration
	}{
		{breaker.Config{}, []time.Duration{60 * s, 60 * s, 60 * s, 60 * s}},
		{breaker.Config{RecoveryTimeout: 10 * s, RecoveryFactor: 2, MaxOpen: 100 * s},
			[]time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 100 * s, 100 * s}},
		{breaker.Config{RecoveryTimeout: 4 * s, RecoveryFactor: 1.5}, []time.Duration{4 * s, 6 * s, 9 * s, 13500 * time.Millisecond}},
		{breaker.Config{RecoveryTimeout: s, RecoveryFactor: 1000, MaxOpen: math.MaxInt64},
			[]time.Duration{s, 1000 * s, 1_000_000 * s, 1_000_000_000 * s, math.MaxInt64}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := test.config
			c.FailureThreshold, c.SuccessThreshold = 1, 1
			b := newBreaker(t, c)
			for _, want := range test.want {
				bad(t, b)
				if e := refusal(t, b); e.RetryIn() != want {
					t.Errorf("%+v: OPEN for %v, want %v", c, e.RetryIn(), want)
				}
				if want > 100*365*24*time.Hour { // longer than a bubble can sleep
					return
				}
				time.Sleep(want - 1)
				refused(t, b)
				time.Sleep(time.Nanosecond)
			}
			ok(t, b) // CLOSED: it begins again
			bad(t, b)
			if e := refusal(t, b); e.RetryIn() != test.want[0] {
				t.Errorf("after it was CLOSED: OPEN for %v", e.RetryIn())
			}
		})
	}
}

func TestWhatTheServiceAsksLengthensTheOpenTimeAndNeverShortensIt(t *testing.T) {
	for _, test := range []struct{ asked, want time.Duration }{
		{1, 60 * s}, {0, 60 * s}, {-1, 60 * s}, {math.MinInt64, 60 * s}, {60 * s, 60 * s}, {60*s + 1, 60*s + 1},
		{600 * s, 600 * s}, {time.Hour, time.Hour}, {time.Hour + 1, time.Hour}, {math.MaxInt64, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 1})
			b.Leave(enter(t, b), breaker.Failed, asking(test.asked))
			if got := b.Snapshot().RetryIn; got != test.want {
				t.Errorf("asked for %v: OPEN for %v, want %v", test.asked, got, test.want)
			}
		})
	}
}

func TestMaxOpenWithoutEndDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, MaxOpen: math.MaxInt64})
		time.Sleep(time.Hour)
		b.Leave(enter(t, b), breaker.Failed, asking(math.MaxInt64))
		b.Trip(asking(math.MaxInt64)) // already as long as can be
		time.Sleep(1000 * time.Hour)
		refused(t, b)
	})
}

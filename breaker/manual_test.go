package breaker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// asking is a failure that asks to be left alone.
func asking(d time.Duration) breaker.Failure { return breaker.Failure{Cause: boom, AskedFor: d} }

func TestTripOpensForTripTimeoutOrForWhatTheServiceAsks(t *testing.T) {
	for _, test := range []struct {
		name   string
		config breaker.Config
		asked  time.Duration
		want   time.Duration
	}{
		{"the default is the recovery time", breaker.Config{}, 0, 60 * s},
		{"that which is set", breaker.Config{RecoveryTimeout: 3 * s}, 0, 3 * s},
		{"never more than MaxOpen", breaker.Config{TripTimeout: 2 * time.Hour}, 0, time.Hour},
		{"which is raised with the recovery time", breaker.Config{RecoveryTimeout: 2 * time.Hour}, 0, 2 * time.Hour},
		{"set", breaker.Config{TripTimeout: s}, 0, s},
		{"it asks for more", breaker.Config{}, 1200 * s, 1200 * s},
		{"it asks for less", breaker.Config{}, 20 * s, 20 * s},
		{"it asks for too much", breaker.Config{}, 2 * time.Hour, time.Hour},
		{"it asks for nothing", breaker.Config{}, -s, 60 * s},
	} {
		for name, trip := range map[string]func(*testing.T, *breaker.Breaker){
			"by hand": func(_ *testing.T, b *breaker.Breaker) { b.Trip(asking(test.asked)) },
			"pass":    func(t *testing.T, b *breaker.Breaker) { b.Leave(enter(t, b), breaker.Tripped, asking(test.asked)) },
			"permit":  func(t *testing.T, b *breaker.Breaker) { acquire(t, b).Trip(asking(test.asked)) },
		} {
			t.Run(test.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBreaker(t, test.config)
					trip(t, b)
					if e := refusal(t, b); e.RetryIn() != test.want || e.Cause != boom {
						t.Errorf("OPEN for %v after %v, want %v", e.RetryIn(), e.Cause, test.want)
					}
					time.Sleep(test.want - 1)
					refused(t, b)
					time.Sleep(time.Nanosecond)
					ok(t, b)
				})
			})
		}
	}
}

func TestTripOfAnOpenCircuitLastsForTheLongerTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		since := time.Now()
		bad(t, b) // 60 s
		time.Sleep(10 * s)
		other := breaker.Cause{Kind: "quota", Status: 429}
		b.Trip(breaker.Failure{Cause: other, AskedFor: 20 * s}) // shorter
		if e := refusal(t, b); e.RetryIn() != 50*s || e.Cause != boom {
			t.Errorf("OPEN for %v after %v", e.RetryIn(), e.Cause)
		}
		b.Trip(breaker.Failure{Cause: other, AskedFor: 100 * s}) // longer
		e := refusal(t, b)
		if e.RetryIn() != 100*s || e.Cause != other || !e.Since.Equal(since) {
			t.Errorf("OPEN for %v after %v since %v", e.RetryIn(), e.Cause, e.Since)
		}
		if got := b.Snapshot(); got.Cause != other || got.RetryIn != 100*s || !got.Since.Equal(since) {
			t.Errorf("%+v", got)
		}
	})
}

// A hundred calls that are under way all report the same billing limit: it is
// one opening, or the next recovery time would be that of the hundredth.
func TestManyTripsAreOneOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		for range 100 {
			b.Trip(because(boom))
			time.Sleep(time.Millisecond)
		}
		if got := b.Snapshot(); got.Openings != 1 || got.Generation != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestTripWorksFromEveryState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 600 * s})
		b.Trip(because(boom))
		wantState(t, b, open)
		time.Sleep(600 * s)
		acquire(t, b)
		b.Trip(because(boom))
		wantState(t, b, open)
		if got := b.Snapshot(); got.Openings != 2 || got.RetryIn != 600*s {
			t.Errorf("%+v", got)
		}
		b.ForceClosed()
		b.Trip(because(boom))
		wantState(t, b, closed)
		b.ForceOpen("")
		b.Trip(because(boom))
		if e := refusal(t, b); !e.Forced || e.Cause != (breaker.Cause{}) {
			t.Errorf("%+v", e)
		}
	})
}

func TestForcedOpenRefusesUntilResetOrForceClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*breaker.Breaker){(*breaker.Breaker).Reset, (*breaker.Breaker).ForceClosed} {
			b := newBreaker(t, breaker.Config{})
			b.ForceOpen("maintenance")
			time.Sleep(100_000 * time.Hour)
			if e := refusal(t, b); !e.Forced || e.Cause.Kind != "maintenance" {
				t.Errorf("%+v", e)
			}
			if got := b.Snapshot(); got.State != open || !got.Forced || got.RetryIn != 0 {
				t.Errorf("%+v", got)
			}
			end(b)
			ok(t, b)
		}
	})
}

func TestForcedClosedAdmitsAllAndCountsNothingUntilResetOrForceOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 2})
		b.Trip(because(boom))
		b.ForceClosed()
		for range 100 {
			bad(t, b)
			acquire(t, b).Trip(because(boom))
		}
		if got := b.Snapshot(); got.State != closed || !got.Forced || got.Failures != 0 || got.Openings != 0 || got.Cause != (breaker.Cause{}) {
			t.Errorf("%+v", got)
		}
		b.Reset()
		trace(t, b, []step{{0, bad, closed}, {0, bad, open}})
		b.ForceClosed()
		b.ForceOpen("")
		refused(t, b)
	})
}

func TestResetMakesItAsItWasWhenNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.Config{FailureThreshold: 2, RecoveryTimeout: 10 * s, RecoveryFactor: 2}
		states := map[string]func(*breaker.Breaker){
			"new":           func(*breaker.Breaker) {},
			"one failure":   func(b *breaker.Breaker) { bad(t, b) },
			"OPEN":          func(b *breaker.Breaker) { b.Trip(because(boom)) },
			"HALF_OPEN":     func(b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(100 * s); acquire(t, b) },
			"forced OPEN":   func(b *breaker.Breaker) { b.ForceOpen("maintenance") },
			"forced CLOSED": func(b *breaker.Breaker) { b.ForceClosed() },
		}
		for name, begin := range states {
			b := newBreaker(t, c)
			begin(b)
			b.Reset()
			got := b.Snapshot()
			if got.Since.IsZero() {
				t.Errorf("%s: no time", name)
			}
			got.Since, got.Generation, got.Opened = time.Time{}, 0, 0 // which count on
			if want := (breaker.Snapshot{Name: "test/model"}); got != want {
				t.Errorf("%s: %+v", name, got)
			}
			trace(t, b, []step{{0, bad, closed}, {0, bad, open}, {10*s - 1, refused, open}, {1, ok, half}})
		}
	})
}

func TestSnapshotOfANewBreakerIsItsNameAlone(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	if got, want := b.Snapshot(), (breaker.Snapshot{Name: "test/model"}); got != want {
		t.Errorf("%+v", got)
	}
	bad(t, b)
	if got, want := b.Snapshot(), (breaker.Snapshot{Name: "test/model", Failures: 1}); got != want {
		t.Errorf("after a failure: %+v", got)
	}
}

func TestEverythingAtOnceFromManyGoroutinesLeavesAWorkingBreaker(t *testing.T) {
	b := newBreaker(t, breaker.Config{
		FailureThreshold: 2, HalfOpenProbes: 3, SlowCall: time.Millisecond, RecoveryTimeout: time.Microsecond,
	}, func(breaker.Transition) {})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				switch (i*7 + g) % 18 {
				case 0:
					b.Trip(because(boom))
				case 1:
					b.ForceOpen("maintenance")
				case 2:
					b.ForceClosed()
				case 3:
					b.Reset()
				case 4:
					b.Snapshot()
				case 5:
					if p, err := b.Acquire(); err == nil {
						go p.Success()
						p.Ignore()
					}
				case 6:
					if e := b.Refusal(); e != nil {
						_ = e.Error()
					}
				case 16:
					if p, err := b.Enter(); err == nil {
						b.Leave(b.Accept(p), breaker.Outcome(i%4), because(boom))
					}
				case 17:
					if ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond); i%2 == 0 {
						if p, err := b.Wait(ctx); err == nil {
							b.Leave(p, breaker.Neither, breaker.Failure{})
						}
						cancel()
					} else {
						cancel()
						b.Idle()
					}
				case 7, 8, 9:
					run(b, errBoom)
				default:
					run(b, nil)
				}
			}
		})
	}
	wg.Wait()
	b.Reset()
	ok(t, b)
	if _, err := run(b, errBoom); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	wantState(t, b, closed)
}

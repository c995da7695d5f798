package breaker_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestTripOpensForTripTimeoutOrForWhatTheCauseAsks(t *testing.T) {
	for _, test := range []struct {
		name   string
		config breaker.Config
		cause  error
		want   time.Duration
	}{
		{"the default is ten times the recovery time", breaker.Config{}, errBoom, 600 * s},
		{"of that which is set", breaker.Config{RecoveryTimeout: 3 * s}, errBoom, 30 * s},
		{"never more than MaxOpen", breaker.Config{RecoveryTimeout: 59 * time.Minute}, errBoom, time.Hour},
		{"which is raised with the recovery time", breaker.Config{RecoveryTimeout: 2 * time.Hour}, errBoom, 2 * time.Hour},
		{"set", breaker.Config{TripTimeout: s}, errBoom, s},
		{"no cause", breaker.Config{}, nil, 600 * s},
		{"the cause asks for more", breaker.Config{RetryAfter: retryAfter}, asksFor(1200 * s), 1200 * s},
		{"the cause asks for less", breaker.Config{RetryAfter: retryAfter}, fmt.Errorf("w: %w", asksFor(20*s)), 20 * s},
		{"the cause asks for too much", breaker.Config{RetryAfter: retryAfter}, asksFor(2 * time.Hour), time.Hour},
		{"the cause asks for nothing", breaker.Config{RetryAfter: retryAfter}, errBoom, 600 * s},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, test.config)
				b.Trip(test.cause)
				if e := refusal(t, b); e.RetryIn() != test.want || e.Cause != test.cause {
					t.Errorf("OPEN for %v because of %v, want %v", e.RetryIn(), e.Cause, test.want)
				}
				time.Sleep(test.want - 1)
				refused(t, b)
				time.Sleep(time.Nanosecond)
				ok(t, b)
			})
		})
	}
}

func TestTripOfAnOpenCircuitLastsForTheLongerTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, RetryAfter: retryAfter})
		since := time.Now()
		bad(t, b) // 60 s
		time.Sleep(10 * s)
		b.Trip(asksFor(20 * s)) // shorter
		if e := refusal(t, b); e.RetryIn() != 50*s || e.Cause != errBoom {
			t.Errorf("OPEN for %v because of %v", e.RetryIn(), e.Cause)
		}
		b.Trip(asksFor(100 * s)) // longer
		e := refusal(t, b)
		if e.RetryIn() != 100*s || e.Cause != asksFor(100*s) || !e.Since.Equal(since) {
			t.Errorf("OPEN for %v because of %v since %v", e.RetryIn(), e.Cause, e.Since)
		}
		if got := b.Snapshot(); got.Cause != asksFor(100*s) || got.RetryIn != 100*s || !got.Since.Equal(since) {
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
			b.Trip(errBoom)
			time.Sleep(time.Millisecond)
		}
		if got := b.Snapshot(); got.Openings != 1 || got.Generation != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestTripWorksFromEveryState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.Trip(errBoom)
		wantState(t, b, open)
		time.Sleep(600 * s)
		acquire(t, b)
		b.Trip(errBoom)
		wantState(t, b, open)
		if got := b.Snapshot(); got.Openings != 2 || got.RetryIn != 600*s {
			t.Errorf("%+v", got)
		}
		b.ForceClosed()
		b.Trip(errBoom)
		wantState(t, b, closed)
		b.ForceOpen(nil)
		b.Trip(errBoom)
		if e := refusal(t, b); !e.Forced || e.Cause != nil {
			t.Errorf("%+v", e)
		}
	})
}

func TestForcedOpenRefusesUntilResetOrForceClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*breaker.Breaker){(*breaker.Breaker).Reset, (*breaker.Breaker).ForceClosed} {
			b := newBreaker(t, breaker.Config{})
			b.ForceOpen(errBoom)
			time.Sleep(100_000 * time.Hour)
			if e := refusal(t, b); !e.Forced || e.Cause != errBoom {
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
		b.Trip(errBoom)
		b.ForceClosed()
		for range 100 {
			bad(t, b)
			acquire(t, b).Trip(errBoom)
		}
		if got := b.Snapshot(); got.State != closed || !got.Forced || got.Failures != 0 || got.Openings != 0 || got.Cause != nil {
			t.Errorf("%+v", got)
		}
		b.Reset()
		trace(t, b, []step{{0, bad, closed}, {0, bad, open}})
		b.ForceClosed()
		b.ForceOpen(nil)
		refused(t, b)
	})
}

func TestResetMakesItAsItWasWhenNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.Config{FailureThreshold: 2, Recovery: func(opening int) time.Duration { return 10 * s << opening }}
		states := map[string]func(*breaker.Breaker){
			"new":           func(*breaker.Breaker) {},
			"one failure":   func(b *breaker.Breaker) { bad(t, b) },
			"OPEN":          func(b *breaker.Breaker) { b.Trip(errBoom) },
			"HALF_OPEN":     func(b *breaker.Breaker) { b.Trip(errBoom); time.Sleep(600 * s); acquire(t, b) },
			"forced OPEN":   func(b *breaker.Breaker) { b.ForceOpen(errBoom) },
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
			got.Since, got.Generation = time.Time{}, 0
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
		FailureThreshold: 2, HalfOpenProbes: 3, SlowCall: time.Millisecond,
		Recovery:      func(int) time.Duration { return time.Microsecond },
		OnStateChange: func(breaker.Transition) {},
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				switch (i*7 + g) % 16 {
				case 0:
					b.Trip(errBoom)
				case 1:
					b.ForceOpen(errBoom)
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

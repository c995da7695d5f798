package breaker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// lasting makes a call that lasts d and returns err.
func lasting(b *breaker.Breaker, d time.Duration, err error) error {
	_, err = breaker.Do(context.Background(), b, func(context.Context) (int, error) { time.Sleep(d); return 0, err })
	return err
}

func TestSlowCallIsAFailureAsSoonAsItIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 3, SlowCall: 10 * s})
		for range 3 {
			go lasting(b, time.Hour, nil)
		}
		time.Sleep(10*s - 1)
		synctest.Wait()
		if got := b.Snapshot(); got.Failures != 0 {
			t.Errorf("1 ns before: %+v", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		e := refusal(t, b)
		if e.Cause != (breaker.Cause{Kind: "slow"}) {
			t.Errorf("cause %v", e.Cause)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestSlowCallIsCountedOnce(t *testing.T) {
	for name, o := range map[string]breaker.Outcome{"success": breaker.Succeeded, "failure": breaker.Failed, "neither": breaker.Neither} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{SlowCall: 10 * s})
				p := enter(t, b)
				time.Sleep(10*s + 1)
				b.Leave(p, o, breaker.Failure{})
				if got := b.Snapshot(); got.Failures != 1 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestCallThatIsNotSlowIsWhatItReturns(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{{nil, 0}, {errBoom, 1}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{SlowCall: 10 * s})
			lasting(b, 10*s-1, test.err)
			time.Sleep(time.Minute)
			if got := b.Snapshot(); got.Failures != test.want {
				t.Errorf("%v: %+v", test.err, got)
			}
		})
	}
}

func TestSlowProbeReopensWhileItStillRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SlowCall: 10 * s, SuccessThreshold: 1})
		go lasting(b, 15*s, nil)
		time.Sleep(10 * s)
		synctest.Wait()
		if e := refusal(t, b); e.State != open || e.RetryIn() != 60*s {
			t.Errorf("%+v", e)
		}
		time.Sleep(10 * s) // its success comes late
		wantState(t, b, open)
	})
}

func TestSlowCallOfAnEarlierStateCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{SlowCall: 10 * s})
		go lasting(b, time.Minute, nil)
		time.Sleep(s)
		b.Reset()
		time.Sleep(30 * s)
		if got := b.Snapshot(); got.Failures != 0 {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour)
	})
}

func TestLostPermitOfASlowCallIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{SlowCall: 10 * s})
		acquire(t, b)
		time.Sleep(time.Hour)
		if got := b.Snapshot(); got.Generation != 0 {
			t.Errorf("%+v", got)
		}
		b2 := newBreaker(t, breaker.Config{SlowCall: 10 * s, FailureThreshold: 1})
		acquire(t, b2)
		time.Sleep(10 * s)
		synctest.Wait()
		wantState(t, b2, open)
	})
}

// A cause that leaves no doubt is worth more than that the call was slow.
func TestTripOfACallThatWasSlowStillTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{SlowCall: s, TripTimeout: 600 * s})
		p := acquire(t, b)
		time.Sleep(2 * s)
		p.Trip(because(boom))
		if e := refusal(t, b); e.Cause != boom || e.RetryIn() != 600*s {
			t.Errorf("OPEN for %v because of %v", e.RetryIn(), e.Cause)
		}
	})
}

// An outage of calls that are all slow is one of calls that last long.
func TestSlowCallsOfOneCallerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{SlowCall: 90 * s})
		for range 4 {
			lasting(b, 91*s, nil)
			wantState(t, b, closed)
		}
		lasting(b, 91*s, nil)
		wantState(t, b, open)
	})
}

// What follows an answer's beginning counts in the state of then, to be slow
// too.
func TestProbeThatBecomesSlowAfterItHasPassed(t *testing.T) {
	for _, test := range []struct {
		needed      int
		accepted    breaker.State
		then        breaker.State
		wasRecorded int
	}{{1, closed, closed, 1}, {2, half, open, 0}} {
		synctest.Test(t, func(t *testing.T) {
			b := halfOpen(t, breaker.Config{SlowCall: 10 * s, SuccessThreshold: test.needed})
			p := enter(t, b)
			time.Sleep(5 * s)
			p = b.Accept(p)
			wantState(t, b, test.accepted)
			time.Sleep(5 * s)
			synctest.Wait()
			b.Leave(p, breaker.Succeeded, breaker.Failure{})
			wantState(t, b, test.then)
			if got := b.Snapshot().Failures; got != test.wasRecorded {
				t.Errorf("%d failures, want %d", got, test.wasRecorded)
			}
		})
	}
}

// One that has waited until the circuit closed is watched like any other.
func TestOneThatWaitedMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SlowCall: 10 * s, SuccessThreshold: 1})
		probe := enter(t, b)
		done := make(chan breaker.Pass)
		go func() {
			p, err := b.Wait(t.Context())
			if err != nil {
				t.Error(err)
			}
			done <- p
		}()
		synctest.Wait()
		b.Leave(probe, breaker.Succeeded, breaker.Failure{})
		p := <-done
		time.Sleep(10 * s)
		synctest.Wait()
		if got := b.Snapshot(); got.State != closed || got.Failures != 1 {
			t.Errorf("%+v", got)
		}
		b.Leave(p, breaker.Succeeded, breaker.Failure{})
	})
}

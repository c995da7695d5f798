package breaker_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestPermitIsEndedOnce(t *testing.T) {
	for first, end := range endings {
		for second, endAgain := range endings {
			t.Run(first+", then "+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for _, b := range []*breaker.Breaker{
						newBreaker(t, breaker.Config{FailureThreshold: 3}),
						halfOpen(t, breaker.Config{SuccessThreshold: 3, TripTimeout: 60 * s}),
						newBreaker(t, breaker.Config{FailureThreshold: 3, SlowCall: time.Hour}),
					} {
						p := acquire(t, b)
						end(p)
						before := b.Snapshot()
						endAgain(p)
						if after := b.Snapshot(); after != before {
							t.Errorf("the second end changed %+v to %+v", before, after)
						}
					}
				})
			})
		}
	}
}

func TestPermitEndedFromTwoGoroutinesAtOnceCountsOnce(t *testing.T) {
	for range 2000 {
		b := newBreaker(t, breaker.Config{FailureThreshold: 100})
		p := acquire(t, b)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { p.Failure(because(boom)) })
		}
		wg.Wait()
		if got := b.Snapshot().Failures; got != 1 {
			t.Fatalf("counted %d times", got)
		}
	}
}

func TestProbeEndedFromTwoGoroutinesAtOnceCountsOnce(t *testing.T) {
	for range 2000 {
		b := newBreaker(t, breaker.Config{
			FailureThreshold: 1, SuccessThreshold: 3, RecoveryTimeout: 1,
		})
		bad(t, b)
		p := acquire(t, b)
		var wg sync.WaitGroup
		wg.Go(p.Success)
		wg.Go(p.Ignore)
		wg.Go(p.Success)
		wg.Wait()
		if got := b.Snapshot(); got.Passed > 1 || got.Probes != 0 {
			t.Fatalf("%+v", got)
		}
	}
}

func TestPermitHoldsAStreamFromItsBeginningToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SuccessThreshold: 1})
		stream := func() (events <-chan int, err error) {
			p, err := b.Acquire()
			if err != nil {
				return nil, err
			}
			ch := make(chan int)
			go func() {
				defer p.Ignore()
				defer close(ch)
				for i := range 3 {
					ch <- i
					time.Sleep(s)
				}
				p.Success()
			}()
			return ch, nil
		}
		events, err := stream()
		if err != nil {
			t.Fatal(err)
		}
		for range events {
			refused(t, b) // it holds its place while it runs
		}
		synctest.Wait()
		wantState(t, b, closed)
	})
}

func TestZeroPermitIsHarmless(t *testing.T) {
	var p breaker.Permit
	for _, end := range endings {
		end(&p)
	}
}

func TestPermitTripOpensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{TripTimeout: 600 * s})
		acquire(t, b).Trip(because(boom))
		if e := refusal(t, b); e.RetryIn() != 600*s || e.Cause != boom {
			t.Errorf("OPEN for %v because of %v", e.RetryIn(), e.Cause)
		}
	})
}

// How long the call lasted is what its caller says, or else since Acquire: five
// failures of ten minutes each lie within fifty.
func TestPermitSaysHowLongItLasted(t *testing.T) {
	for _, c := range []struct {
		says, lasts time.Duration
		want        breaker.State
	}{{10 * time.Minute, 0, open}, {0, 10 * time.Minute, open}, {0, 0, closed}, {s, 10 * time.Minute, closed}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{RecoveryTimeout: time.Hour})
			for range 5 {
				p := acquire(t, b)
				time.Sleep(c.lasts)
				f := because(boom)
				f.Lasted = c.says
				p.Failure(f)
				time.Sleep(10*time.Minute - c.lasts)
			}
			wantState(t, b, c.want)
		})
	}
}

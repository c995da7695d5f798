package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// setClockBack sets back the breaker's clock, which is the time since its
// settings' base. Calls that are watched for slowness read it under the lock.
func (b *Breaker) setClockBack(d time.Duration) {
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	b.settings.base = b.settings.base.Add(d)
}

func mustNew(t testing.TB, c Config) *Breaker {
	t.Helper()
	b, err := New("m", c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var errTest = errors.New("boom")

func TestClockThatGoesBackwardsKeepsNothingOpenLonger(t *testing.T) {
	for _, back := range []time.Duration{1, time.Second, time.Minute, time.Hour, 10 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, Config{FailureThreshold: 1})
			time.Sleep(time.Hour)
			b.Run(t.Context(), func(context.Context) error { return errTest })
			b.setClockBack(back)
			if _, err := b.Acquire(); err == nil {
				t.Fatal("admitted at once")
			}
			time.Sleep(60*time.Second - 1)
			if _, err := b.Acquire(); err == nil {
				t.Error("admitted 1 ns before the recovery time")
			}
			time.Sleep(time.Nanosecond)
			if _, err := b.Acquire(); err != nil {
				t.Errorf("set back by %v: after the recovery time: %v", back, err)
			}
		})
	}
}

// A refusal writes down no time, so a jump back within the OPEN time that no
// other call sees may begin that time anew, but not more.
func TestClockThatGoesBackwardsWhileOpenAtMostBeginsTheOpenTimeAnew(t *testing.T) {
	for _, seen := range []bool{true, false} {
		for after := time.Duration(0); after < 60*time.Second; after += 7 * time.Second {
			for back := time.Second; back < 2*time.Minute; back += 13 * time.Second {
				synctest.Test(t, func(t *testing.T) {
					b := mustNew(t, Config{FailureThreshold: 1})
					b.Run(t.Context(), func(context.Context) error { return errTest })
					time.Sleep(after)
					if seen {
						b.Snapshot()
					}
					b.setClockBack(back)
					if seen {
						b.Snapshot()
					}
					opened := time.Now()
					for b.State() == Open {
						b.Acquire()
						time.Sleep(time.Second)
					}
					left := time.Since(opened) - time.Second // the last sleep was after the admission
					if most := 60 * time.Second; left > most {
						t.Errorf("%v after the opening back by %v: OPEN for %v more", after, back, left)
					}
					if seen && left != 60*time.Second-after {
						t.Errorf("%v after the opening back by %v, seen: OPEN for %v more", after, back, left)
					}
				})
			}
		}
	}
}

func TestClockThatGoesBackwardsKeepsNoProbesPlaceLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Config{})
		b.Trip(errTest)
		time.Sleep(time.Hour)
		b.Acquire()
		b.setClockBack(time.Hour)
		if _, err := b.Acquire(); err == nil {
			t.Error("a second probe admitted")
		}
		time.Sleep(60 * time.Second)
		if _, err := b.Acquire(); err != nil {
			t.Errorf("after the lease: %v", err)
		}
	})
}

func TestClockThatGoesBackwardsKeepsNoFailureInTheWindowLonger(t *testing.T) {
	for _, test := range []struct {
		wait time.Duration
		want State
	}{{300 * time.Second, Open}, {300*time.Second + 1, Closed}} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, Config{FailureThreshold: 2})
			fail := func() { b.Run(t.Context(), func(context.Context) error { return errTest }) }
			time.Sleep(time.Hour)
			fail()
			b.setClockBack(time.Hour)
			b.Snapshot() // someone looks
			time.Sleep(test.wait)
			fail()
			if b.State() != test.want {
				t.Errorf("%v later: %v, want %v", test.wait, b.State(), test.want)
			}
		})
	}
}

func TestClockThatJumpsAtRandomWedgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		b := mustNew(t, Config{FailureThreshold: 2, SlowCall: time.Minute})
		for range 20_000 {
			b.setClockBack(time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour)
			var err error
			if r.IntN(2) == 0 {
				err = errTest
			}
			b.Run(t.Context(), func(context.Context) error { return err })
			b.Snapshot()
			if o := b.book.Load(); o != nil && o.opening.Load() != nil {
				if left := b.Snapshot().RetryIn; left < 0 || left > 60*time.Second {
					t.Fatalf("OPEN for %v more", left)
				}
			}
		}
		time.Sleep(60 * time.Second)
		for range 2 {
			if err := b.Run(t.Context(), func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if b.State() != Closed {
			t.Error(b.State())
		}
	})
}

// A report that comes late to the lock, because others or a function of the
// configuration hold it up, is not a clock that went backwards: if it were taken
// for one, the breaker's time would run ahead, and circuits would be OPEN for
// too short a time.
func TestReportsThatAreHeldUpDoNotMakeTimeRunFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Config{RetryAfter: func(error) (time.Duration, bool) { time.Sleep(30 * time.Second); return 0, false }})
		for range 4 {
			go b.Run(t.Context(), func(context.Context) error { return errTest })
			time.Sleep(time.Second)
		}
		b.Snapshot()
		time.Sleep(time.Minute)
		if skew := b.book.Load().skew.Load(); skew != 0 {
			t.Errorf("ahead by %v", time.Duration(skew))
		}
	})
	b := mustNew(t, Config{FailureThreshold: 1, Recovery: func(int) time.Duration { return 0 }})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				var err error
				if i%2 == 0 {
					err = errTest
				}
				b.Run(context.Background(), func(context.Context) error { return err })
			}
		})
	}
	wg.Wait()
	if skew := b.book.Load().skew.Load(); skew != 0 {
		t.Errorf("under contention ahead by %v", time.Duration(skew))
	}
}

func TestLostProbesFillNoMemory(t *testing.T) {
	for _, places := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, Config{HalfOpenProbes: places})
			b.Trip(errTest)
			time.Sleep(time.Hour)
			for range 10_000 {
				for range places {
					if _, err := b.Acquire(); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := b.Acquire(); err == nil {
					t.Fatal("a probe too many")
				}
				time.Sleep(60 * time.Second)
			}
			if n := cap(b.book.Load().probes); n > 8*(places+8) {
				t.Errorf("%d places remember %d probes", places, n)
			}
		})
	}
}

func TestFailuresFillNoMemory(t *testing.T) {
	b := mustNew(t, Config{FailureThreshold: 10})
	for i := range 100_000 {
		var err error
		if i%2 == 0 {
			err = errTest
		}
		b.Run(t.Context(), func(context.Context) error { return err })
	}
	if n := cap(b.book.Load().failures); n > 16 {
		t.Errorf("10 failures to remember, room for %d", n)
	}
}

package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

var errLate = errors.New("late")

// endings are all ways to end a permit.
var endings = map[string]func(*breaker.Permit){
	"success": (*breaker.Permit).Success,
	"failure": func(p *breaker.Permit) { p.Failure(errLate) },
	"trip":    func(p *breaker.Permit) { p.Trip(errLate) },
	"ignore":  (*breaker.Permit).Ignore,
}

// A late report may not change anything: not the state, not what it counts, not
// the places. Every state that admits × every state after it × every ending.
func TestWhatWasAdmittedInAnEarlierStateNeverCountsInALaterOne(t *testing.T) {
	rate := 1.0
	config := breaker.Config{
		FailureThreshold: 2, FailureRate: &rate, SuccessThreshold: 2, HalfOpenProbes: 1, TripTimeout: 60 * s,
	}
	toHalf := func(b *breaker.Breaker) {
		b.Reset()
		b.Trip(errBoom)
		time.Sleep(60 * s)
	}
	admitting := map[string]func(b *breaker.Breaker){
		"CLOSED":                    func(*breaker.Breaker) {},
		"CLOSED after recovery":     func(b *breaker.Breaker) { toHalf(b); ok(t, b); ok(t, b) },
		"CLOSED after one failure":  func(b *breaker.Breaker) { bad(t, b) },
		"HALF_OPEN":                 toHalf,
		"HALF_OPEN with one passed": func(b *breaker.Breaker) { toHalf(b); ok(t, b) },
		"forced CLOSED":             func(b *breaker.Breaker) { b.ForceClosed() },
	}
	// Each begins a later state, and returns what must then still be true of it.
	later := map[string]func(t *testing.T, b *breaker.Breaker) func(){
		"CLOSED": func(t *testing.T, b *breaker.Breaker) func() {
			b.Reset()
			bad(t, b) // a late success would break the row, a late failure end it
			return func() { bad(t, b); wantState(t, b, open) }
		},
		"CLOSED after recovery": func(t *testing.T, b *breaker.Breaker) func() {
			toHalf(b)
			ok(t, b)
			ok(t, b)
			bad(t, b)
			return func() { bad(t, b); wantState(t, b, open) }
		},
		"OPEN": func(t *testing.T, b *breaker.Breaker) func() {
			b.Reset()
			b.Trip(errBoom)
			time.Sleep(s)
			return func() {
				if e := refusal(t, b); e.RetryIn() != 59*s || e.Cause != errBoom {
					t.Errorf("refused for %v because of %v", e.RetryIn(), e.Cause)
				}
			}
		},
		"HALF_OPEN": func(t *testing.T, b *breaker.Breaker) func() {
			toHalf(b)
			ok(t, b)
			p := acquire(t, b)
			return func() { refused(t, b); p.Success(); wantState(t, b, closed) }
		},
		"HALF_OPEN again": func(t *testing.T, b *breaker.Breaker) func() {
			toHalf(b)
			bad(t, b)
			time.Sleep(60 * s)
			p := acquire(t, b)
			return func() {
				refused(t, b)
				p.Success()
				wantState(t, b, half)
				ok(t, b)
				wantState(t, b, closed)
			}
		},
		"forced OPEN": func(t *testing.T, b *breaker.Breaker) func() {
			b.ForceOpen(errBoom)
			return func() { time.Sleep(1000 * time.Hour); refused(t, b) }
		},
		"forced CLOSED": func(t *testing.T, b *breaker.Breaker) func() {
			b.ForceClosed()
			return func() { bad(t, b); bad(t, b); wantState(t, b, closed) }
		},
	}
	for from, admit := range admitting {
		for to, begin := range later {
			for ending, end := range endings {
				t.Run(fmt.Sprintf("%s, then %s, late %s", from, to, ending), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBreaker(t, config)
						admit(b)
						p := acquire(t, b)
						stillTrue := begin(t, b)
						before := b.Snapshot()
						end(p)
						if after := b.Snapshot(); after != before {
							t.Errorf("changed from %+v to %+v", before, after)
						}
						stillTrue()
					})
				})
			}
		}
	}
}

// The same with Run, which has a way of its own while CLOSED.
func TestLateReportOfRunCountsForNothing(t *testing.T) {
	rate := 1.0
	for _, err := range []error{nil, errLate} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 2, FailureRate: &rate})
			release := make(chan struct{})
			for range 10 {
				go b.Run(t.Context(), func(context.Context) error { <-release; return err })
			}
			synctest.Wait()
			b.Reset()
			bad(t, b)
			before := b.Snapshot()
			close(release)
			synctest.Wait()
			if after := b.Snapshot(); after != before {
				t.Errorf("changed from %+v to %+v", before, after)
			}
			bad(t, b)
			wantState(t, b, open)
		})
	}
}

func TestNobodyIsAskedAboutALateFailure(t *testing.T) {
	asked := 0
	b := newBreaker(t, breaker.Config{
		RetryAfter: func(error) (time.Duration, bool) { asked++; return 0, false },
		Recovery:   func(int) time.Duration { asked++; return 0 },
	})
	p := acquire(t, b)
	b.Reset()
	p.Failure(errLate)
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
}

func TestEveryChangeOfStateIsANewGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1})
		for want, change := range []func(){
			func() {},
			func() { bad(t, b) },
			func() { time.Sleep(60 * s); acquire(t, b).Ignore() },
			func() { ok(t, b) },
			func() { b.Trip(errBoom) },
			func() { b.ForceClosed() },
			func() { b.ForceClosed() },
			func() { b.ForceOpen(nil) },
			func() { b.Reset() },
			func() { b.Reset() },
		} {
			change()
			if got := b.Snapshot().Generation; got != uint64(want) {
				t.Errorf("after change %d: generation %d", want, got)
			}
		}
	})
}

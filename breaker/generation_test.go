package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

var errLate = known(late)

var late = breaker.Cause{Kind: "late", Status: 503}

// endings are all ways to end a permit.
var endings = map[string]func(*breaker.Permit){
	"success": (*breaker.Permit).Success,
	"failure": func(p *breaker.Permit) { p.Failure(because(late)) },
	"trip":    func(p *breaker.Permit) { p.Trip(because(late)) },
	"ignore":  (*breaker.Permit).Ignore,
}

// A late report may not change anything: not the state, not what it counts, not
// the places. Every state that admits × every state after it × every ending.
func TestWhatWasAdmittedInAnEarlierStateNeverCountsInALaterOne(t *testing.T) {
	config := breaker.Config{
		FailureThreshold: 2, FailureRate: 1, SuccessThreshold: 2, HalfOpenProbes: 1, TripTimeout: 60 * s,
	}
	toHalf := func(b *breaker.Breaker) {
		b.Reset()
		b.Trip(because(boom))
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
			b.Trip(because(boom))
			time.Sleep(s)
			return func() {
				if e := refusal(t, b); e.RetryIn() != 59*s || e.Cause != boom {
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
			b.ForceOpen("maintenance")
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

// A probe of an earlier state that is accepted stays one of that state.
func TestLateAcceptCountsForNothing(t *testing.T) {
	for name, begin := range map[string]func(*breaker.Breaker){
		"CLOSED": (*breaker.Breaker).Reset,
		"OPEN":   func(b *breaker.Breaker) { b.Trip(because(boom)) },
		"HALF_OPEN": func(b *breaker.Breaker) {
			b.Trip(because(boom))
			time.Sleep(600 * s)
		},
		"forced OPEN":   func(b *breaker.Breaker) { b.ForceOpen("") },
		"forced CLOSED": (*breaker.Breaker).ForceClosed,
	} {
		for _, o := range []breaker.Outcome{breaker.Neither, breaker.Succeeded, breaker.Failed, breaker.Tripped} {
			t.Run(fmt.Sprint(name, o), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := halfOpen(t, breaker.Config{SuccessThreshold: 1, FailureThreshold: 1})
					p := enter(t, b)
					begin(b)
					before := b.Snapshot()
					b.Leave(b.Accept(p), o, because(late))
					if after := b.Snapshot(); after != before {
						t.Errorf("changed from %+v to %+v", before, after)
					}
				})
			})
		}
	}
}

// The same with Do, which has a way of its own while CLOSED.
func TestLateReportOfDoCountsForNothing(t *testing.T) {
	for _, err := range []error{nil, errLate} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 2, FailureRate: 1})
			release := make(chan struct{})
			for range 10 {
				go breaker.Do(t.Context(), b, func(context.Context) (int, error) { <-release; return 0, err })
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

func TestEveryChangeOfStateIsANewGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1})
		for want, change := range []func(){
			func() {},
			func() { bad(t, b) },
			func() { time.Sleep(60 * s); acquire(t, b).Ignore() },
			func() { ok(t, b) },
			func() { b.Trip(because(boom)) },
			func() { b.ForceClosed() },
			func() { b.ForceClosed() },
			func() { b.ForceOpen("") },
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

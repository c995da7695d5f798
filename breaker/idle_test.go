package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// A6, F5: a circuit that was opened and is never asked again was never let go.
func TestCircuitThatMayBeForgottenIsIdle(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(*testing.T, *breaker.Breaker)
		want  bool
	}{
		"new":            {func(*testing.T, *breaker.Breaker) {}, true},
		"with a failure": {func(t *testing.T, b *breaker.Breaker) { bad(t, b) }, true},
		"OPEN":           {func(t *testing.T, b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(60*s - 1) }, false},
		"OPEN and over":  {func(t *testing.T, b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(60 * s) }, true},
		"and looked at":  {func(t *testing.T, b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(60 * s); b.Snapshot() }, true},
		"a probe":        {func(t *testing.T, b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(60 * s); enter(t, b) }, false},
		"a probe lost": {func(t *testing.T, b *breaker.Breaker) {
			b.Trip(because(boom))
			time.Sleep(60 * s)
			enter(t, b)
			time.Sleep(60 * s)
		}, true},
		"a probe of many": {func(t *testing.T, b *breaker.Breaker) { b.Trip(because(boom)); time.Sleep(60 * s); ok(t, b) }, true},
		"recovered": {func(t *testing.T, b *breaker.Breaker) {
			b.Trip(because(boom))
			time.Sleep(60 * s)
			ok(t, b)
			ok(t, b)
		}, true},
		"forced CLOSED": {func(t *testing.T, b *breaker.Breaker) { b.ForceClosed() }, false},
		"forced OPEN":   {func(t *testing.T, b *breaker.Breaker) { b.ForceOpen(""); time.Sleep(1000 * time.Hour) }, false},
		"reset":         {func(t *testing.T, b *breaker.Breaker) { b.ForceOpen(""); b.Reset() }, true},
		"waited for": {func(t *testing.T, b *breaker.Breaker) {
			b.Trip(because(boom))
			go b.Wait(t.Context())
			synctest.Wait()
		}, false},
		"CLOSED, and those who waited are let through": {func(t *testing.T, b *breaker.Breaker) {
			b.Trip(because(boom))
			for range 2 {
				go b.Wait(t.Context())
			}
			synctest.Wait()
			b.Reset()
			synctest.Wait() // the first has entered
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				b := newBreaker(t, breaker.Config{}, func(breaker.Transition) { told++ })
				test.begin(t, b)
				before := told
				if got := b.Idle(); got != test.want {
					t.Errorf("idle %v, want %v: %+v", got, test.want, b.Snapshot())
				} else if told != before {
					t.Error("a look told the hook")
				}
			})
		})
	}
}

// Lazy state taken for current: a page showed OPEN with 0 s to go, for days.
func TestCircuitWhoseRecoveryTimeIsOverIsHalfOpenWhetherSomebodyCallsOrNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []breaker.Transition
		b := newBreaker(t, breaker.Config{FailureThreshold: 1}, func(tr breaker.Transition) { told = append(told, tr) })
		bad(t, b)
		over := time.Now().Add(60 * s)
		time.Sleep(60*s - 1)
		if got := b.Snapshot(); got.State != open || got.RetryIn != 1 || b.State() != open {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour)
		wantState(t, b, half)
		want := breaker.Snapshot{Name: "test/model", State: half, Openings: 1, Cause: boom, Generation: 2, Opened: 1}
		got := b.Snapshot()
		if !got.Since.Equal(over) {
			t.Errorf("since %v, want %v", got.Since, over)
		}
		if got.Since = (time.Time{}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if len(told) != 2 || told[1].To != half || !told[1].At.Equal(over) {
			t.Errorf("told of %+v", told)
		}
		b.Trip(because(late)) // opens it again: it was not OPEN any more
		if got := b.Snapshot(); got.State != open || got.Openings != 2 || got.Generation != 3 || got.RetryIn != 60*s {
			t.Errorf("%+v", got)
		}
	})
}

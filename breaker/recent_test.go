package breaker_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// What an operator's time line shows: the failures that count, and why it is open.
func TestRecentFailures(t *testing.T) {
	trip := func(_ testing.TB, b *breaker.Breaker) { b.Trip(because(boom)) }
	force := func(_ testing.TB, b *breaker.Breaker) { b.ForceOpen("by hand") }
	shut := func(_ testing.TB, b *breaker.Breaker) { b.ForceClosed() }
	look := func(testing.TB, *breaker.Breaker) {}
	type at = []time.Duration // since the beginning
	for _, test := range []struct {
		name  string
		steps []step
		want  at
	}{
		{"none", nil, nil},
		{"a success is none", []step{{0, ok, closed}}, nil},
		{"those within the window", []step{{0, bad, closed}, {10 * s, bad, closed}}, at{0, 10 * s}},
		{"one as old as the window counts", []step{{0, bad, closed}, {100 * s, bad, closed}, {200 * s, look, closed}}, at{0, 100 * s}},
		{"an older one does not", []step{{0, bad, closed}, {100 * s, bad, closed}, {200*s + 1, look, closed}}, at{100 * s}},
		{"of more than the threshold the last", []step{{0, bad, closed}, {200 * s, bad, closed}, {200 * s, bad, closed}, {200 * s, bad, closed}}, at{400 * s, 600 * s}},
		{"those with which it opened", []step{{0, bad, closed}, {s, bad, closed}, {s, bad, open}}, at{0, s, 2 * s}},
		{"also when they are old and it is HALF_OPEN", []step{{0, bad, closed}, {s, bad, closed}, {s, bad, open}, {time.Hour, look, half}}, at{0, s, 2 * s}},
		{"also when a probe fails", []step{{0, bad, closed}, {s, bad, closed}, {s, bad, open}, {time.Hour, bad, open}}, at{0, s, 2 * s}},
		{"not when it has closed", []step{{0, bad, closed}, {s, bad, closed}, {s, bad, open}, {60 * s, ok, half}, {0, ok, closed}}, nil},
		{"one that opens at once", []step{{s, trip, open}}, at{s}},
		{"one that opens at once, after others", []step{{0, bad, closed}, {s, bad, closed}, {s, trip, open}}, at{0, s, 2 * s}},
		{"a force has none", []step{{0, bad, closed}, {s, force, open}}, nil},
		{"nor has what was open before", []step{{0, trip, open}, {s, force, open}}, nil},
		{"nor a circuit that is forced closed", []step{{0, trip, open}, {s, shut, closed}, {s, bad, closed}}, nil},
		{"nor one that was reset", []step{{0, bad, closed}, {s, reset, closed}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				b := newBreaker(t, breaker.Config{FailureThreshold: 3})
				trace(t, b, test.steps)
				r := b.Recent()
				var got at
				for _, f := range r.Failures {
					got = append(got, f.Sub(start))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("failures at %v, want %v", got, test.want)
				}
				if in := b.Snapshot().RetryIn; in > 0 && time.Until(r.Until) != in || in == 0 && !r.Until.IsZero() {
					t.Errorf("until %v, with %v to go", r.Until, in)
				}
				if n := b.Snapshot().Failures; n != 0 && n != len(got) {
					t.Errorf("the snapshot counts %d of them", n)
				}
				if r.Config.FailureThreshold != 3 || r.Config.RecoveryTimeout != breaker.DefaultRecoveryTimeout || r.Window != breaker.DefaultFailureWindow {
					t.Errorf("held to %+v within %v", r.Config, r.Window)
				}
			})
		})
	}
}

func TestRecentWindowIsAsLongAsSlowFailuresMakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		hung(200*s)(t, b)
		if got := b.Recent().Window; got != 1000*s {
			t.Errorf("%v, want 1000 s", got)
		}
	})
}

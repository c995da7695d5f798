package retry_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"llmcall/endpoint"
	"llmcall/retry"
)

// visits is law 6 of the design: at which target each attempt is made, if an
// attempt fails ('f'), brings a wrong answer ('w') or, after those, always fails.
//
// "While another model of the stage is left to try, a model is left after
// attempts_per_model provider failures (default 2), sooner where the rest is needed
// to keep one attempt for each model not yet tried (3 attempts: two models 2+1, three
// 1+1+1); the last model has all that remain. Wrong answers leave no model and may
// use kept attempts."
func visits(targets, attempts, each int, ends []rune) (at []int) {
	now, failures := 0, 0
	for n := range attempts {
		at = append(at, now)
		if n < len(ends) && ends[n] == 'w' {
			continue
		}
		failures++
		left, untried := attempts-n-1, targets-now-1
		if untried > 0 && (failures >= each || left <= untried) {
			now, failures = now+1, 0
		}
	}
	return at
}

func TestModelsAreLeftAsTheDesignSays(t *testing.T) {
	for _, c := range []struct {
		targets int
		want    []int
	}{{2, []int{0, 0, 1}}, {3, []int{0, 1, 2}}, {1, []int{0, 0, 0}}} {
		if got := visits(c.targets, 3, 2, nil); !slices.Equal(got, c.want) {
			t.Fatalf("the model itself: %v, want %v", got, c.want)
		}
	}
	checks(t, 5000)
	rapid.Check(t, func(rt *rapid.T) {
		targets, attempts, each := rapid.IntRange(1, 5).Draw(rt, "targets"), rapid.IntRange(1, 9).Draw(rt, "attempts"), rapid.IntRange(1, 4).Draw(rt, "each")
		ends := rapid.SliceOfN(rapid.SampledFrom([]rune{'f', 'f', 'w'}), 0, 9).Draw(rt, "ends")
		var got []int
		synctest.Test(t, func(t *testing.T) {
			p := newPolicy(t, retry.Config{MaxAttempts: attempts, AttemptsPerTarget: each})
			var call retry.Call
			call.Begin(context.Background(), p, make([]retry.Target, targets))
			defer call.Close()
			for call.Next() {
				got = append(got, call.Target())
				if n := len(got); n <= len(ends) && ends[n-1] == 'w' {
					call.Settle(endpoint.Outcome{})
					call.Wrong(invalid)
				} else {
					call.Settle(endpoint.Outcome{Err: transient})
				}
			}
		})
		if want := visits(targets, attempts, each, ends); !slices.Equal(got, want) {
			rt.Fatalf("%d targets, %d attempts, %d each, %q: attempts at %v, want %v", targets, attempts, each, string(ends), got, want)
		}
	})
}

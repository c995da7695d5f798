package endpoint_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/endpoint"
)

// "A model whose last answers failed the same checks (80 % of 20, per model and set of
// checks) is passed over for a while": held to a list of all answers.
func TestQuality(t *testing.T) {
	checks(t, 2000)
	rapid.Check(t, func(rt *rapid.T) {
		q := endpoint.Quality{Answers: rapid.IntRange(1, 20).Draw(rt, "answers"), Share: rapid.SampledFrom([]float64{0.5, 0.8, 1}).Draw(rt, "share"), For: time.Minute}
		synctest.Test(t, func(*testing.T) {
			registry, _ := endpoint.NewRegistry(endpoint.Config{})
			e := registry.Get(endpoint.Key{Model: "m"})
			all, until := map[string][][]string{}, map[string]time.Time{}
			for range rapid.IntRange(1, 80).Draw(rt, "n") {
				time.Sleep(time.Duration(rapid.IntRange(0, 90).Draw(rt, "later")) * time.Second)
				set := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "set")
				faults := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 2, rapid.ID).Draw(rt, "faults")
				e.Judged(set, faults, q)
				all[set] = append(all[set], faults)
				if last := all[set]; len(last) >= q.Answers && len(faults) > 0 {
					for _, name := range []string{"a", "b"} {
						n := 0
						for _, faults := range last[len(last)-q.Answers:] {
							for _, f := range faults {
								if f == name {
									n++
								}
							}
						}
						if float64(n) >= q.Share*float64(q.Answers) {
							until[set] = time.Now().Add(q.For)
						}
					}
				}
				for _, set := range []string{"x", "y"} {
					if _, got := e.PassedOver(set); got != time.Now().Before(until[set]) {
						rt.Fatalf("%s is passed over: %v, after %v", set, got, all[set])
					}
				}
			}
		})
	})
}

// What an endpoint remembers is bounded, whatever the sets and the checks are called.
func TestQualityIsBounded(t *testing.T) {
	registry, _ := endpoint.NewRegistry(endpoint.Config{})
	e := registry.Get(endpoint.Key{Model: "m"})
	q := endpoint.Quality{Answers: 1, Share: 1, For: time.Hour}
	for set := range 100 {
		for check := range 100 {
			e.Judged(fmt.Sprint(set), []string{fmt.Sprint(check)}, q)
		}
	}
	if n := len(e.Snapshot().PassedOver); n != 16 {
		t.Errorf("%d sets are remembered", n)
	}
	e.Reset()
	if n := len(e.Snapshot().PassedOver); n != 0 {
		t.Errorf("%d sets are remembered after a reset", n)
	}
}

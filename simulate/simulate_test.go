package simulate_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"llmcall"
	"llmcall/simulate"
)

func jsonOf(t *testing.T, r *simulate.Report) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// policies are configurations that use different parts of the engine.
var policies = map[string]llmcall.RetryConfig{
	"defaults": {},
	"breaker":  {EnableCircuitBreaker: true},
	"waits":    {EnableCircuitBreaker: true, WaitForCircuit: true, AttemptTimeout: 20 * time.Second},
	"two":      {Models: []string{"openai/a", "anthropic/b"}, EnableCircuitBreaker: true},
	"hedge":    {Hedge: &llmcall.Hedge{Quantile: 0.95}},
}

// The same seed gives the same bytes.
func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	runs := 8
	if testing.Short() {
		runs = 3
	}
	for _, name := range simulate.Names() {
		for policy, cfg := range policies {
			t.Run(name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				sc := simulate.Must(simulate.Named(name))
				first := jsonOf(t, simulate.Run(t, cfg, sc))
				for i := range runs - 1 {
					if again := jsonOf(t, simulate.Run(t, cfg, sc)); !bytes.Equal(again, first) {
						at := 0
						for at < min(len(first), len(again)) && first[at] == again[at] {
							at++
						}
						t.Fatalf("run %d differs at byte %d:\n%s\n%s", i+2, at, first[max(0, at-300):min(len(first), at+100)], again[max(0, at-300):min(len(again), at+100)])
					}
				}
			})
		}
	}
}

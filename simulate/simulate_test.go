package simulate_test

import (
	"testing"
	"time"

	"llmcall"
	"llmcall/simulate"
)

func TestSmoke(t *testing.T) {
	for _, name := range simulate.Names() {
		for _, cfg := range []llmcall.RetryConfig{{}, {EnableCircuitBreaker: true}, {AttemptTimeout: 3 * time.Second}} {
			sc, err := simulate.Named(name)
			if err != nil {
				t.Error(err)
				continue
			}
			begun := time.Now()
			r := simulate.Run(t, cfg, sc)
			t.Logf("%-12s %v: end %v ans %.4f rpa %.2f refpa %.2f probes %d %v p50 %v p99 %v rec %v col %v left %d uf %d cost %v wasted %v", name, time.Since(begun).Round(time.Millisecond), r.End.Round(time.Second), r.AnsweredShare(), r.RequestsPerAnswer(), r.RefusalsPerAnswer(), r.Probes, r.Failed, r.P50.Round(time.Millisecond), r.P99.Round(time.Millisecond), r.TimeToRecover, r.Collapsed, r.Left, r.Unfinished, r.Cost, r.Wasted)
		}
	}
}

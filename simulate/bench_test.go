package simulate_test

import (
	"testing"
	"time"

	"llmcall"
	"llmcall/simulate"
)

// A thousand processes for ten minutes, each with a call every 15 s: 40,000 calls. An outage
// of a minute is among them, so that retries, pacers and breakers are at work.
func BenchmarkAThousandProcesses(b *testing.B) {
	sc := &simulate.Scenario{
		Duration: 10 * time.Minute,
		Clients:  []simulate.Clients{{Processes: 1000, CallsPerSecond: 1.0 / 15, Deadline: time.Minute}},
		Provider: simulate.Must(simulate.Named("outage")).Provider,
		Phases:   simulate.Must(simulate.Named("outage")).Phases,
	}
	for b.Loop() {
		r := simulate.Run(b, llmcall.RetryConfig{EnableCircuitBreaker: true}, sc)
		b.ReportMetric(float64(r.Calls), "calls")
		b.ReportMetric(float64(r.Requests), "requests")
	}
}

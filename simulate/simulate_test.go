package simulate_test

import (
	"testing"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/simulate"
)

func TestSmoke(t *testing.T) {
	sc := &simulate.Scenario{
		Duration: 5 * time.Minute,
		Clients:  []simulate.Clients{{Processes: 20, CallsPerSecond: 1, Deadline: time.Minute}},
		Provider: simulate.Provider{Latency: simulate.Latency{Median: 900 * time.Millisecond, P99: 4 * time.Second}, Network: simulate.Latency{Constant: 25 * time.Millisecond}},
		Phases:   []simulate.Phase{{From: time.Minute, To: 2 * time.Minute, Faults: []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Status, Error: "overloaded"}}}}},
	}
	begun := time.Now()
	r := simulate.Run(t, llmcall.RetryConfig{}, sc)
	t.Logf("%v: %+v %v %v", time.Since(begun), r.Totals, r.TimeToRecover, r.Collapsed)
}

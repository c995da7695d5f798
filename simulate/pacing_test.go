package simulate_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/simulate"
)

// hints are the ways in which a provider says when to come back, and how much is left.
var hints = map[string]chaos.Limits{
	"nothing":           {Hint: chaos.HintNone, Headers: new(bool)},
	"seconds":           {Hint: chaos.HintSeconds, Headers: new(bool)},
	"exact":             {Hint: chaos.HintExact, Headers: new(bool)},
	"headers":           {Hint: chaos.HintNone, Headers: yes()},
	"exact and headers": {Hint: chaos.HintExact, Headers: yes()},
}

// full reports whether tests take the minutes that all their cases need.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }

// brief reports whether tests leave out cases that take long, which they do ten times under the
// race detector.
func brief() bool { return testing.Short() }

// notBriefly skips a test of many runs.
func notBriefly(t *testing.T) {
	if brief() {
		t.Skip("many simulations")
	}
}

func yes() *bool {
	b := true
	return &b
}

// allowing returns a provider with a limit of requests a second, of which so many may come at
// once.
func allowing(perSecond float64, burst int, hint string, latency simulate.Latency) simulate.Provider {
	l := hints[hint]
	l.RequestsPerMinute, l.Burst = int(60*perSecond), burst
	return simulate.Provider{Latency: latency, Network: simulate.Latency{Constant: 25 * ms}, Limits: &l}
}

// Processes that share a limit are all served in a minute of half as many calls again as are
// allowed, whatever the provider tells: nobody's rate is so low that its calls run out of
// time. The calls that are left over need half a minute at least. With LLMCALL_MODEL=full
// there are more seeds and more rates.
func TestProcessesShareALimit(t *testing.T) {
	notBriefly(t)
	all, rates := uint64(2), []float64{10}
	if full() {
		all, rates = 4, []float64{3, 10, 50}
	}
	for hint := range hints {
		for _, processes := range []int{2, 4, 10} {
			for _, rate := range rates {
				seeds := all
				if rate > 10 {
					seeds = 2 // chance is less, and a run longer
				}
				share, least, slowest := 0.0, 1.0, time.Duration(0)
				for seed := uint64(1); seed <= seeds; seed++ {
					r := simulate.Run(t, llmcall.RetryConfig{}, &simulate.Scenario{
						Duration: 6 * time.Minute, Seed: seed,
						Clients:  []simulate.Clients{{Processes: processes, CallsPerSecond: 0.6 * rate / float64(processes), Deadline: 2 * time.Minute}},
						Provider: allowing(rate, int(rate), hint, simulate.Latency{Median: 900 * ms, P99: 4 * s}),
						Phases:   []simulate.Phase{{From: 2 * time.Minute, To: 3 * time.Minute, Load: 2.5}},
					})
					share += r.AnsweredShare() / float64(seeds)
					least, slowest = min(least, r.AnsweredShare()), max(slowest, r.P99)
				}
				want, each := 0.91, 0.85
				if rate < 10 { // the search for the rate takes long, and costs more of it
					want, each = 0.88, 0.8
				}
				if told := hint == "headers" || hint == "exact and headers"; told && rate >= 10 { // what the others use is told
					want, each = 0.99, 0.97
				}
				t.Logf("%d processes, %v a second, told %s: %.1f %% answered, at least %.1f %%, p99 at most %.0f s", processes, rate, hint, 100*share, 100*least, slowest.Seconds())
				if share < want || least < each {
					t.Errorf("want %.0f %%, and %.0f %% at least", 100*want, 100*each)
				}
			}
		}
	}
}

// Four processes with headers and hints answer all, and not much later than is possible.
func TestTheRateLimitOfFourProcesses(t *testing.T) {
	notBriefly(t)
	for seed := uint64(1); seed <= 8; seed++ {
		sc := named("rate_limit")
		sc.Seed = seed
		r := simulate.Run(t, llmcall.RetryConfig{}, sc)
		t.Logf("seed %d: %d of %d, p99 %v", seed, r.Answered, r.Calls, r.P99)
		if r.Answered != r.Calls || r.P99 > 75*s || r.RefusalsPerAnswer() > 0.08 {
			t.Errorf("want all within 75 s with 0.08 refusals an answer, got %.3f", r.RefusalsPerAnswer())
		}
	}
}

// One process with a batch uses the limit, however small the bucket is beside what it has in
// flight.
func TestOneProcessUsesTheLimit(t *testing.T) {
	rows := 10_000
	if brief() {
		rows = 3000
	}
	for hint := range hints {
		for _, answer := range []time.Duration{200 * ms, s} {
			r := simulate.Run(t, llmcall.RetryConfig{}, &simulate.Scenario{
				Duration: time.Hour,
				Clients:  []simulate.Clients{{Workers: 64, Calls: rows, Pause: time.Microsecond}},
				Provider: allowing(50, 5, hint, simulate.Latency{Constant: answer}),
			})
			used := float64(rows) / 50 / r.End.Seconds()
			t.Logf("told %s, answers of %v: %.1f %% of the limit, %.4f refusals a row", hint, answer, 100*used, r.RefusalsPerAnswer())
			least := 0.92
			if brief() {
				least = 0.85 // the beginning is a larger part
			}
			if used < least || r.RefusalsPerAnswer() > 0.05 || r.Answered != rows {
				t.Errorf("want %.0f %%, 0.05; %d answered", 100*least, r.Answered)
			}
		}
	}
}

// Under an overload that lasts, most of what the limit allows is answered: turns go to calls
// that have enough time left for an answer.
func TestOverloadThatLasts(t *testing.T) {
	notBriefly(t)
	type row struct {
		name    string
		rate    float64
		load    float64
		latency simulate.Latency
		phase   []simulate.Phase
		least   float64
	}
	constant := func(d time.Duration) simulate.Latency { return simulate.Latency{Constant: d} }
	var rows []row
	for _, load := range []float64{2, 5} {
		for _, answer := range []time.Duration{s, 5 * s} {
			for _, rate := range []float64{1.1, 10} {
				rows = append(rows, row{fmt.Sprintf("%v times %v a second, answers of %v", load, rate, answer), rate, load, constant(answer), nil, 0.9})
			}
		}
	}
	rows = append(rows,
		row{"answers of 0.3 to 12 s", 1.1, 2, simulate.Latency{Median: 2 * s, P99: 12 * s}, nil, 0.85},
		row{"answers of 15 s", 1.1, 2, constant(15 * s), nil, 0.8},
		row{"answers of 1 s, then of 8 s", 1.1, 2, constant(s), []simulate.Phase{{From: 3 * time.Minute, Latency: constant(8 * s)}}, 0.9},
		row{"no answer for a minute", 1.1, 2, constant(s), []simulate.Phase{{From: 3 * time.Minute, To: 4 * time.Minute, Faults: []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Hang}}}}}, 0.8},
	)
	for _, row := range rows {
		for _, hint := range []string{"nothing", "exact", "seconds", "exact and headers"} {
			if !full() && (row.rate > 2 || hint == "seconds") {
				continue
			}
			r := simulate.Run(t, llmcall.RetryConfig{}, &simulate.Scenario{
				Duration: 10 * time.Minute,
				Clients:  []simulate.Clients{{CallsPerSecond: row.load * row.rate, Deadline: 20 * s}},
				Provider: allowing(row.rate, 5, hint, row.latency), Phases: row.phase,
			})
			allowed := row.rate * 600
			t.Logf("%s, told %s: %.0f %% of what is allowed is answered; %d requests were left by their callers, %v", row.name, hint, 100*float64(r.Answered)/allowed, r.Left, r.Failed)
			if float64(r.Answered) < row.least*allowed || float64(r.Left) > (1-row.least)*allowed+10 {
				t.Errorf("want %.0f %%", 100*row.least)
			}
			if late := r.Failed[llmcall.ReasonOutOfTime]; late < r.FailedCalls()-5 {
				t.Errorf("%d of %d calls that failed are out of time", late, r.FailedCalls())
			}
		}
	}
}

// A policy that ignores the pacer has no rate in the report.
func TestNoRateWithoutAPacer(t *testing.T) {
	rate := func(cfg llmcall.RetryConfig) (most float64) {
		for _, p := range simulate.Run(t, cfg, named("rate_limit_no_hint")).Series {
			most = max(most, p.Rate, p.Paced)
		}
		return most
	}
	if with, without := rate(llmcall.RetryConfig{}), rate(llmcall.RetryConfig{DisablePacing: true}); with == 0 || without != 0 {
		t.Errorf("with a pacer %v, without %v", with, without)
	}
}

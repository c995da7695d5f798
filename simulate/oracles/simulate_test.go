package oracles_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/simulate"
)

// fails is a provider of whose requests a share fails at once.
func fails(share float64) simulate.Provider {
	return simulate.Provider{Latency: simulate.Latency{Constant: s / 100}, Faults: []simulate.Fault{
		{Fault: chaos.Fault{Kind: chaos.Status, Error: "server_error"}, Share: share},
	}}
}

// The closed forms of fixed attempts and of a budget that successes pay, as a scenario.
func TestSimulatedBudgets(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	for _, r := range read(t, "budgets") {
		p := r.number(t, "p")
		if r["policy"] != "fixed_retries" && r["policy"] != "token_bucket_ratio0.1_deposit_on_success" || p != 0.1 && p != 0.5 || r["max_attempts"] == "2" || r["max_attempts"] == "5" {
			continue
		}
		cfg := llmcall.RetryConfig{MaxAttempts: int(r.number(t, "max_attempts")), Backoff: backoff.Constant{}, DisablePacing: true}
		if r["policy"] == "fixed_retries" {
			cfg.DisableRetryBudget = true
		} else {
			cfg.RetryBudget = endpoint.Budget{Saved: 10, PerSuccess: 0.1, PerSecond: -1}
		}
		var retries, success sample
		for seed := range uint64(either(4, 20)) {
			report := simulate.Run(t, cfg, &simulate.Scenario{
				Seed: seed + 1, Duration: 100 * s, Clients: []simulate.Clients{{CallsPerSecond: 30}}, Provider: fails(p),
			})
			retries = append(retries, float64(report.Requests)/float64(report.Calls)-1)
			success = append(success, report.AnsweredShare())
		}
		row := fmt.Sprintf("%s, %s attempts, p = %s", r["policy"], r["max_attempts"], r["p"])
		calls := 3000 * float64(len(retries))
		want := r.number(t, "closed_attempts") - 1
		spread := math.Sqrt((1+want)*p*(1-p)/calls) + 10.0/3000 // what is saved up at the start is spent too
		tab.row(row+": retries a call", want, retries.mean(), spread)
		tab.share(row+": success", (1-p)*(1+want), success.mean(), spread)
	}
}

// The spike of the collapse as a scenario, until the moment at which the simulator stops.
func TestSimulatedCollapse(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	sends, success, lost := sample{}, sample{}, sample{}
	for _, r := range read(t, "collapse") {
		if r["scenario"] == "spike" && r["client"] == "no_backoff" {
			sends = append(sends, r.number(t, "sends")/r.number(t, "starts"))
			success = append(success, r.number(t, "successes")/r.number(t, "starts"))
			lost = append(lost, collapsed(r.number(t, "goodput_ratio_last10s")))
		}
	}
	cfg := llmcall.RetryConfig{MaxAttempts: 3, AttemptTimeout: 3 * s, Backoff: backoff.Constant{}, DisableRetryBudget: true, DisablePacing: true}
	var ourSends, ourSuccess, ourLost sample
	for seed := range uint64(either(12, 50)) {
		report := simulate.Run(t, cfg, &simulate.Scenario{
			Seed: seed + 1, Duration: 80 * s, Clients: []simulate.Clients{{CallsPerSecond: 40}},
			Provider: simulate.Provider{
				Latency: simulate.Latency{Constant: s}, PerRequest: s / 100, Network: simulate.Latency{Mean: s / 10}, KeepsWorking: true,
			},
			Phases: []simulate.Phase{{From: 20 * s, To: 25 * s, Load: 2}},
		})
		offered, sent, answered, last, lastAnswered := 0, 0, 0, 0, 0
		for _, at := range report.Series {
			if at.At >= 80*s {
				break
			}
			offered, sent, answered = offered+at.Offered, sent+at.Sent, answered+at.Answered
			if at.At >= 70*s {
				last, lastAnswered = last+at.Offered, lastAnswered+at.Answered
			}
		}
		ourSends = append(ourSends, float64(sent)/float64(offered))
		ourSuccess = append(ourSuccess, float64(answered)/float64(offered))
		ourLost = append(ourLost, collapsed(float64(lastAnswered)/float64(last)))
	}
	for _, c := range []struct {
		what       string
		want, ours sample
	}{{"sends a call", sends, ourSends}, {"success", success, ourSuccess}, {"collapsed", lost, ourLost}} {
		sd := max(c.want.sd(), c.ours.sd())
		tab.row("spike: "+c.what, c.want.mean(), c.ours.mean(), sd*math.Sqrt(1/float64(len(c.want))+1/float64(len(c.ours))))
	}
}

// A thousand processes that fail at one moment come back without jitter at 1, 3, 7, 15 …
// seconds and every 30, and make the requests of the table herd.
func TestSimulatedHerd(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	for _, r := range read(t, "herd") {
		if r["strategy"] != "exp_none" || r["capacity"] != "inf" {
			continue
		}
		outage := time.Duration(r.number(t, "outage") * float64(s))
		report := simulate.Run(t, llmcall.RetryConfig{
			MaxAttempts: 100, InitialDelay: time.Duration(r.number(t, "base") * float64(s)), MaxDelay: time.Duration(r.number(t, "cap") * float64(s)),
			UseJitter: new(false), DisableRetryBudget: true, DisablePacing: true,
		}, &simulate.Scenario{
			Duration: outage + 40*s, Clients: []simulate.Clients{{Processes: 1000, Calls: 1}},
			Phases: []simulate.Phase{{To: outage, Faults: fails(1).Faults}},
		})
		row := fmt.Sprintf("exp_none, outage %s s, cap %s s", r["outage"], r["cap"])
		tab.row(row+": calls in the outage", r.number(t, "calls_in_outage"), float64(report.Faults)/1000, 0)
		tab.row(row+": all, after the start", r.number(t, "outage")+r.number(t, "all"), report.End.Seconds(), 0)
	}
}

package oracles_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// Calls arrive as a Poisson process and fail with probability p, whatever the load; what
// the circuit refuses has failed too. [breaker.Breaker] has the rules of a count in a
// window and of consecutive failures. Hystrix's rule, half of at least 20 calls in 10 s,
// looks at all calls of the window and ours only at those since the first of its
// failures: a threshold of 10 and a rate of 0.5 agree with it where it is far from
// opening or opens at once, and are compared there alone. Polly's, a tenth of a hundred calls,
// differs by more: it is not compared.
func TestBreakersUnderPartialFailure(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	rules := map[string]breaker.Config{
		"count5":       {FailureThreshold: 5, FailureWindow: 300 * s, FailureRate: -1, RecoveryTimeout: 60 * s, SuccessThreshold: 1},
		"consecutive5": {FailureThreshold: 5, FailureWindow: 365 * day, FailureRate: 1, RecoveryTimeout: 60 * s, SuccessThreshold: 1},
		"consecutive6": {FailureThreshold: 6, FailureWindow: 365 * day, FailureRate: 1, RecoveryTimeout: 60 * s, SuccessThreshold: 1},
		"hystrix":      {FailureThreshold: 10, FailureWindow: 10 * s, FailureRate: 0.5, RecoveryTimeout: 5 * s, SuccessThreshold: 1},
	}
	few := map[string]bool{"0.01": true, "0.1": true, "0.33": true, "0.5": true, "1.0": true}
	tab := newTable(t)
	for i, r := range read(t, "breakers") {
		rate, p := r.number(t, "rate"), r.number(t, "p")
		if r["rule"] == "hystrix" && p > 0.1 && !(p == 1 && rate >= 10) {
			continue
		}
		if !full() && (!few[r["p"]] || rate == 50) {
			continue
		}
		lasts := either(min(40_000, 25_000/rate), min(40_000, 200_000/rate))
		var available, sent sample
		for seed := range 4 {
			synctest.Test(t, func(t *testing.T) {
				policy, err := retry.New(retry.Config{MaxAttempts: 1, Target: ours(t, endpoint.Options{Breaker: rules[r["rule"]], NoPacer: true, NoBudget: true}, endpoint.Budget{})})
				if err != nil {
					t.Fatal(err)
				}
				chance, begin := source(uint64(seed), uint64(i)), time.Now()
				calls, requests, answers := 0.0, 0.0, 0.0
				for time.Since(begin).Seconds() < lasts {
					calls++
					_, err := retry.Do(t.Context(), policy, func(context.Context, retry.Attempt) (bool, error) {
						requests++
						if chance.Float64() < p {
							return false, passing
						}
						answers++
						return true, nil
					})
					if err != nil && failure.KindOf(err) != failure.Transient && failure.KindOf(err) != failure.CircuitOpen {
						t.Fatal(err)
					}
					time.Sleep(exponential(chance, time.Duration(float64(s)/rate)))
				}
				available, sent = append(available, answers/calls), append(sent, requests/calls)
			})
		}
		row := fmt.Sprintf("%s, %s/s, p = %s", r["rule"], r["rate"], r["p"])
		ourTime, theirTime := lasts*float64(len(sent)), 3*min(40_000, 200_000/rate)
		wantSent, wantAvailable := r.number(t, "sent"), r.number(t, "availability")
		spread := binomial(wantSent, rate*ourTime)
		if p < 1 {
			// The circuit is open for one recovery time for each probe until one succeeds,
			// and closed for a time that has nearly an exponential distribution: the error
			// of the share is that of an alternating renewal process.
			open := rules[r["rule"]].RecoveryTimeout.Seconds() / (1 - p)
			lost := 1 - wantSent + open/theirTime // a table without an opening may have missed one
			spread = max(spread, wantSent*math.Sqrt((1+p)*lost*open*(1/ourTime+1/theirTime)))
		}
		drawn := math.Sqrt(wantSent * p * (1 - p) * (1/ourTime + 1/theirTime) / rate)
		tab.share(row+": sent", wantSent, sent.mean(), 1e-4+spread)
		tab.share(row+": available", wantAvailable, available.mean(), 1e-4+math.Hypot((1-p)*spread, drawn))
		if k, found := map[string]float64{"consecutive5": 5, "consecutive6": 6}[r["rule"]]; found && p > 0 && p < 1 {
			// Between two openings there are n calls, of which 1-p succeed, and then
			// probes, one after each 60 s, until one succeeds.
			n := (1 - math.Pow(p, k)) / (math.Pow(p, k) * (1 - p))
			closed := (n*(1-p) + 1) / (n + (rate*60+1)/(1-p))
			tab.share(row+": by the closed form", closed, available.mean(), 1e-4+math.Hypot((1-p)*spread, drawn))
		}
	}
}

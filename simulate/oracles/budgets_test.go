package oracles_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// rule is a budget of retries that [endpoint.Budget] is not, as a guard: so that the
// loop is held to the tables of such rules too.
type rule struct {
	mu     sync.Mutex
	tokens float64

	most      float64
	begun     float64 // added by a call that begins
	succeeded float64 // added by a call whose first attempt succeeds
	again     float64 // added by a retry that succeeds
	failed    float64 // taken by an attempt that fails
	cost      float64 // taken by a retry
	// allows says whether there may be a retry.
	allows func(tokens float64) bool
}

func (r *rule) add(tokens float64) { r.tokens = max(0, min(r.most, r.tokens+tokens)) }

func (r *rule) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !a.Retry:
		r.add(r.begun)
		return endpoint.Permit{}, nil
	case r.allows(r.tokens):
		r.add(-r.cost)
		return endpoint.Permit{N: 1}, nil
	}
	return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RetryBudgetSpent, Err: passing}
}

func (r *rule) Wait(_ context.Context, a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	return r.Admit(a)
}

func (r *rule) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit { return p }

func (r *rule) Settle(p endpoint.Permit, o endpoint.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !o.Made():
		r.add(float64(p.N) * r.cost)
	case o.Effect != failure.Healthy:
		r.add(-r.failed)
	case p.N == 0:
		r.add(r.succeeded)
	default:
		r.add(r.again)
	}
}

// atLeast allows a retry that can be paid.
func atLeast(n float64) func(float64) bool {
	return func(tokens float64) bool { return tokens >= n-1e-9 }
}

// aws is the retry quota of the AWS SDKs: 500 tokens; the last cost comes back if the
// retry succeeds, and 1 for a first attempt that does.
func aws(cost float64) *rule {
	return &rule{tokens: 500, most: 500, succeeded: 1, again: cost, cost: cost, allows: atLeast(cost)}
}

// policies are what the rows of the table budgets are made by: the budget of package
// endpoint for retries that successes pay, and for no budget; for all else a rule.
func policies(t *testing.T, name string) retry.Target {
	switch name {
	case "aws_cost5":
		return retry.Target{Guards: []endpoint.Guard{aws(5)}}
	case "aws_cost10":
		return retry.Target{Guards: []endpoint.Guard{aws(10)}}
	case "aws_cost14":
		return retry.Target{Guards: []endpoint.Guard{aws(14)}}
	case "grpc_max10_ratio0.1": // retries only above half
		return retry.Target{Guards: []endpoint.Guard{&rule{tokens: 10, most: 10, succeeded: 0.1, again: 0.1, failed: 1,
			allows: func(tokens float64) bool { return tokens > 5 }}}}
	case "fixed_retries":
		return ours(t, endpoint.Options{NoBreaker: true, NoPacer: true, NoBudget: true}, endpoint.Budget{})
	}
	ratio := 0.1
	if strings.Contains(name, "0.2") {
		ratio = 0.2
	}
	if strings.HasSuffix(name, "on_start") {
		return retry.Target{Guards: []endpoint.Guard{&rule{tokens: 10, most: 10, begun: ratio, cost: 1, allows: atLeast(1)}}}
	}
	return ours(t, endpoint.Options{NoBreaker: true, NoPacer: true}, endpoint.Budget{Saved: 10, PerSuccess: ratio, PerSecond: -1})
}

// ours returns a target with the guards of package endpoint.
func ours(t *testing.T, o endpoint.Options, b endpoint.Budget) retry.Target {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	return retry.TargetOf(r.Get(endpoint.Key{Model: "test"}), o)
}

// Attempts fail independently with probability p, whatever the load. In the closed forms
// of the table u is the sum of p^k for k = 1 to m-1, of m attempts: an unlimited call makes
// 1 + u. A share r of retries limits that to 1 + r if each call pays for them, and to
// 1 + r(1-p)/(1 - r(1-p)) if each success does; the AWS SDKs' quota to 1 + (1-p)/(cost·p).
func TestBudgets(t *testing.T) {
	t.Parallel()
	const warm, batch = 5000, 2000 // calls in which what was saved up is spent; calls of a batch
	batches := either(40, 150)
	few := map[string]bool{"0.01": true, "0.1": true, "0.2": true, "0.3": true, "0.5": true, "0.75": true, "1.0": true}
	tab := newTable(t)
	for i, r := range read(t, "budgets") {
		if !full() && !few[r["p"]] {
			continue
		}
		p, chance := r.number(t, "p"), source(1, uint64(i))
		var retries, success sample // of each batch: neighbouring calls share what is saved up
		synctest.Test(t, func(t *testing.T) {
			policy, err := retry.New(retry.Config{
				MaxAttempts: int(r.number(t, "max_attempts")), Backoff: backoff.Constant{}, Target: policies(t, r["policy"]),
			})
			if err != nil {
				t.Fatal(err)
			}
			call := func(calls int) (retries, success float64) {
				attempts, answered := 0, 0
				for range calls {
					_, err := retry.Do(t.Context(), policy, func(context.Context, retry.Attempt) (bool, error) {
						attempts++
						if chance.Float64() < p {
							return false, passing
						}
						return true, nil
					})
					if err == nil {
						answered++
					}
				}
				return float64(attempts)/float64(calls) - 1, float64(answered) / float64(calls)
			}
			call(warm)
			for range batches {
				again, answered := call(batch)
				retries, success = append(retries, again), append(success, answered)
			}
		})
		const published, round = 900_000, 1e-5 // calls of the table, and what it is rounded to
		row := fmt.Sprintf("%s, %s attempts, p = %s", r["policy"], r["max_attempts"], r["p"])
		tab.row(row+": retries a call", r.number(t, "attempts")-1, retries.mean(), round+retries.errorTo(published/batch))
		if r["closed_attempts"] != "" {
			tab.row(row+": by the closed form", r.number(t, "closed_attempts")-1, retries.mean(), round+retries.errorTo(math.Inf(1)))
		}
		tab.share(row+": success", r.number(t, "success"), success.mean(), round+max(success.errorTo(published/batch), binomial(r.number(t, "success"), float64(batch*batches))))
	}
}

package oracles_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// tooMany is M. Brooker's circuit breaker of 2022 as a guard: no retries while the attempts
// of a client that failed are more than a tenth of its calls, since it began.
type tooMany struct {
	mu            sync.Mutex
	calls, failed float64
}

func (g *tooMany) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.Retry {
		g.calls++
	} else if g.failed/g.calls > 0.1 {
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RetryBudgetSpent, Err: passing}
	}
	return endpoint.Permit{}, nil
}

func (g *tooMany) Wait(_ context.Context, a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	return g.Admit(a)
}

func (g *tooMany) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit { return p }

func (g *tooMany) Settle(_ endpoint.Permit, o endpoint.Outcome) {
	if o.Made() && o.Effect != failure.Healthy {
		g.mu.Lock()
		g.failed++
		g.mu.Unlock()
	}
}

// arrive makes calls of clients for a time, the first of each at once and then as a
// Poisson process, and returns the attempts made for a call, and the share of the calls
// that succeeded. Each hop takes an exponential time of mean 10 ms.
func arrive(t *testing.T, seed uint64, clients int, rate, p float64, lasts time.Duration, config func() retry.Config) (amplification, success float64) {
	synctest.Test(t, func(t *testing.T) {
		var attempts, calls, answered atomic.Int64
		var all sync.WaitGroup
		for i := range clients {
			policy, err := retry.New(config())
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				gaps, begin := source(seed, uint64(i)), time.Now()
				for n := uint64(0); time.Since(begin) < lasts; n++ {
					calls.Add(1)
					chance := source(seed, uint64(i+1)<<32+n)
					all.Go(func() {
						_, err := retry.Do(t.Context(), policy, func(context.Context, retry.Attempt) (bool, error) {
							attempts.Add(1)
							time.Sleep(exponential(chance, 10*time.Millisecond) + exponential(chance, 10*time.Millisecond))
							if chance.Float64() < p {
								return false, passing
							}
							return true, nil
						})
						if err == nil {
							answered.Add(1)
						}
					})
					time.Sleep(exponential(gaps, time.Duration(float64(time.Second)/rate)))
				}
			})
		}
		all.Wait()
		amplification, success = float64(attempts.Load())/float64(calls.Load()), float64(answered.Load())/float64(calls.Load())
	})
	return amplification, success
}

// M. Brooker's strategies of 2022. His token bucket is paid by each call that begins, has
// no bound for a single call, and keeps its last token; [endpoint.Budget] is paid by
// successes, since the other never becomes silent in an outage. So the bucket, and his
// breaker, are guards of the test.
func TestRetryStrategies(t *testing.T) {
	t.Parallel()
	strategies := map[string]func() retry.Config{
		"no_retries":    func() retry.Config { return retry.Config{MaxAttempts: 1} },
		"three_retries": func() retry.Config { return retry.Config{MaxAttempts: 4} },
		"adaptive_10pct": func() retry.Config {
			return retry.Config{MaxAttempts: unlimited, Target: retry.Target{Guards: []endpoint.Guard{
				&rule{tokens: 5, most: 5, begun: 0.1, cost: 1, allows: func(tokens float64) bool { return tokens > 1 }},
			}}}
		},
		"breaker_10pct": func() retry.Config {
			return retry.Config{MaxAttempts: 4, Target: retry.Target{Guards: []endpoint.Guard{&tooMany{}}}}
		},
	}
	few := map[string]string{"A_strategies": "0.05 0.1 0.5 1.0", "B_client_count": "0.1 0.5 1.0", "C_backoff_open": "0.5"}
	tab := newTable(t)
	for _, r := range read(t, "strategies") {
		if !full() && !slices.Contains(strings.Fields(few[r["experiment"]]), r["p"]) {
			continue
		}
		config := func() retry.Config {
			c := strategies[r["strategy"]]()
			c.Backoff = backoff.Constant{}
			if base := r.number(t, "retry_backoff_s"); base > 0 {
				c.Backoff = backoff.Exponential{Initial: time.Duration(base * float64(time.Second)), Jitter: backoff.NoJitter}
			}
			return c
		}
		var amplification, success sample
		for seed := range either(6, 20) {
			a, s := arrive(t, uint64(seed), int(r.number(t, "clients")), r.number(t, "rate_per_client"), r.number(t, "p"),
				time.Duration(r.number(t, "duration_s")*float64(time.Second)), config)
			amplification, success = append(amplification, a), append(success, s)
		}
		row, seeds := fmt.Sprintf("%s clients at %s/s, %s, p = %s", r["clients"], r["rate_per_client"], r["strategy"], r["p"]), r.number(t, "seeds")
		// The published standard deviation is known by the range of 20 runs, and the
		// error of their median is 1.25 times that of a mean.
		spread := func(column string, s sample) float64 {
			sd := max(s.sd(), (r.number(t, column+"_max")-r.number(t, column+"_min"))/3.735)
			return 1e-4 + sd*math.Sqrt(1.25*1.25/seeds+1/float64(len(s)))
		}
		tab.row(row+": retries a call", r.number(t, "attempts")-1, amplification.mean()-1, spread("attempts", amplification))
		tab.share(row+": success", r.number(t, "success"), success.mean(), spread("success", success))
	}
}

package oracles_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"

	"pgregory.net/rapid"
)

// plan is a policy, a fleet that it is used by, and how its provider fails.
type plan struct {
	config  llmcall.RetryConfig
	models  int
	workers int
	pause   time.Duration
	lasts   time.Duration // a request
	wrong   bool          // a failure is a wrong answer
	failure failure.Error
	p       float64
	seed    uint64
}

func drawPlan(t *rapid.T) plan {
	seconds := func(name string, values ...float64) time.Duration {
		return time.Duration(rapid.SampledFrom(values).Draw(t, name) * float64(s))
	}
	p := plan{
		p: rapid.Float64Range(0.01, 0.95).Draw(t, "p"), seed: rapid.Uint64().Draw(t, "seed"),
		models: rapid.IntRange(1, 3).Draw(t, "models"), workers: rapid.IntRange(1, 20).Draw(t, "workers"),
		pause: seconds("pause", 0, 0.1, 1, 30), lasts: seconds("lasts", 0.001, 0.05, 2),
		wrong: rapid.Bool().Draw(t, "wrong answers"),
		failure: failure.Error{Provider: "test", Told: rapid.Bool().Draw(t, "told"), RetryAfter: seconds("retry after", 0, 0.2, 3), Kind: rapid.SampledFrom(
			[]failure.Kind{failure.Transient, failure.Unknown, failure.Overloaded, failure.RateLimited, failure.InvalidRequest, failure.QuotaExhausted}).Draw(t, "kind")},
	}
	c := &p.config
	c.MaxAttempts = rapid.IntRange(1, 12).Draw(t, "max attempts")
	c.InitialDelay, c.MaxDelay = seconds("initial delay", 0.01, 1, 5), seconds("max delay", 5, 60)
	c.BackoffFactor = rapid.SampledFrom([]float64{1, 1.5, 2}).Draw(t, "factor")
	if rapid.Bool().Draw(t, "at once") {
		c.InitialDelay, c.MaxDelay, c.BackoffFactor, c.Backoff = 0, 0, 0, backoff.Constant{}
	} else {
		chance := source(p.seed, 1)
		var mu sync.Mutex
		c.Rand = func() uint64 {
			mu.Lock()
			defer mu.Unlock()
			return chance.Uint64()
		}
	}
	c.MaxTime = seconds("max time", 0, 0, 3, 60)
	c.MaxRateLimitWait = seconds("max rate limit wait", 0, 5)
	c.BackoffOnInvalidAnswer = rapid.Bool().Draw(t, "backoff on invalid answer")
	if c.EnableCircuitBreaker = rapid.Bool().Draw(t, "breaker"); c.EnableCircuitBreaker {
		c.CircuitBreakerConfig = llmcall.CircuitBreakerConfig{Config: breaker.Config{
			FailureThreshold: rapid.IntRange(1, 9).Draw(t, "threshold"), FailureRate: rapid.SampledFrom([]float64{-1, 0, 0.5, 1}).Draw(t, "rate"),
			RecoveryTimeout: seconds("recovery", 1, 60), SuccessThreshold: rapid.IntRange(1, 3).Draw(t, "successes"),
		}}
		c.CountInvalidAnswers, c.WaitForCircuit = rapid.Bool().Draw(t, "count invalid"), rapid.Bool().Draw(t, "wait for circuit")
	}
	if c.DisableRetryBudget = rapid.Bool().Draw(t, "no budget"); !c.DisableRetryBudget {
		c.RetryBudget = endpoint.Budget{
			Saved: rapid.SampledFrom([]float64{0, 1, 10}).Draw(t, "saved"), PerSuccess: rapid.SampledFrom([]float64{-1, 0, 0.1, 1}).Draw(t, "per success"),
			PerSecond: rapid.SampledFrom([]float64{-1, 0, 0.1}).Draw(t, "per second"),
		}
	}
	if c.DisablePacing = rapid.Bool().Draw(t, "no pacing"); !c.DisablePacing {
		c.MaxConcurrent = rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "max concurrent")
		c.RequestsPerMinute = rapid.SampledFrom([]float64{0, 0, 600}).Draw(t, "requests per minute")
	}
	if p.models > 1 {
		c.FallbackAfter, c.AttemptsPerModel = seconds("fallback after", 0, 0.5), rapid.IntRange(0, 3).Draw(t, "attempts per model")
	}
	return p
}

// seen is what the provider and the callers have seen.
type seen struct {
	requests, right, late int // of the provider; late: right answers after the call's time
	calls, answered       int
	reported              int // requests, in the traces
}

// carryOut makes calls until there are enough requests, or far more calls.
func (p plan) carryOut(t *testing.T, enough int) (n seen, err error) {
	var mu sync.Mutex
	chance := source(p.seed, 2)
	var models []llm.Model
	for i := range p.models {
		models = append(models, llm.Func(fmt.Sprintf("test/%d", i), func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
			time.Sleep(p.lasts) // it does not obey its context, so that time does not decide how it ends
			mu.Lock()
			defer mu.Unlock()
			n.requests++
			if chance.Float64() >= p.p {
				n.right++
				if ctx.Err() != nil {
					n.late++
				}
				return llm.Reply("right"), nil
			}
			if p.wrong {
				return llm.Reply("bad"), nil
			}
			failed := p.failure
			return nil, &failed
		}))
	}
	registry, err := endpoint.NewRegistry(endpoint.Config{Rand: p.config.Rand})
	if err != nil {
		return n, err
	}
	cfg := p.config
	cfg.Endpoints = registry
	right, err := validate.Contains("right")
	if err != nil {
		return n, err
	}
	client, err := llmcall.New(models, []validate.Strategy{right}, cfg)
	if err != nil {
		return n, err
	}
	var all sync.WaitGroup
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		n.calls++
		return n.requests < enough && n.calls <= 5*enough
	}
	for range p.workers {
		all.Go(func() {
			for more() {
				r, err := client.Do(t.Context(), llm.Prompt("?"))
				mu.Lock()
				if e, failed := errors.AsType[*llmcall.Error](err); failed {
					n.reported += len(e.Attempts)
				} else if err == nil {
					n.answered++
					n.reported += len(r.Attempts)
				}
				mu.Unlock()
				time.Sleep(p.pause)
			}
		})
	}
	all.Wait()
	return n, nil
}

// If attempts fail independently with probability p, the share of calls that are answered
// is 1 - p times the attempts made for a call, whatever the policy: each attempt that
// succeeds ends one call (A. Wald, 1944). What is refused in the process is not an
// attempt.
func TestSuccessIsAmplificationTimesChance(t *testing.T) {
	t.Parallel()
	enough := either(400, 5000)
	cases, worst := 0, 0.0
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var n seen
		var err error
		synctest.Test(t, func(t *testing.T) { n, err = p.carryOut(t, enough) })
		if err != nil {
			rt.Fatal(err)
		}
		if n.answered != n.right-n.late || n.reported != n.requests {
			rt.Fatalf("%d requests, %d of them reported; %d right answers, %d of them late; %d calls answered", n.requests, n.reported, n.right, n.late, n.answered)
		}
		sigma := math.Sqrt(float64(n.requests) * p.p * (1 - p.p))
		off := math.Abs(float64(n.answered+n.late) - (1-p.p)*float64(n.requests))
		if off > 5*sigma+3 {
			rt.Fatalf("%d right answers to %d requests, want %.0f ± %.0f", n.right, n.requests, (1-p.p)*float64(n.requests), sigma)
		}
		cases++
		worst = max(worst, off/(sigma+1))
	})
	t.Logf("%d policies, the worst %.1f sigma off", cases, worst)
}

package llmcall

import (
	"cmp"
	"sync"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

// What all calls of the process share: a breaker that lives for one call
// protects nobody, a budget of one call's own bounds nothing, and a rate limit
// that one call was told of holds for all.
var (
	budgets    retry.Budgets
	gates      retry.Gates
	registries sync.Map // breakerKey → *breaker.Registry
)

// breakers returns the registry of all breakers with these settings.
func (c *CircuitBreakerConfig) breakers() (*breaker.Registry, error) {
	key := c.key()
	if r, ok := registries.Load(key); ok {
		return r.(*breaker.Registry), nil
	}
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	made, err := breaker.NewRegistry(config, 0)
	if err != nil {
		return nil, err
	}
	r, _ := registries.LoadOrStore(key, made)
	return r.(*breaker.Registry), nil
}

// breakerKey is the settings by value, defaults written out: two calls that say
// the same mean the same breaker.
type breakerKey struct {
	threshold, probes, successes  int
	recovery, window, lease, slow time.Duration
	rate                          float64
	excluded                      uint64 // a bit for each kind
}

func (c *CircuitBreakerConfig) key() breakerKey {
	k := breakerKey{
		threshold: cmp.Or(c.FailureThreshold, breaker.DefaultFailureThreshold),
		probes:    cmp.Or(c.HalfOpenProbes, breaker.DefaultHalfOpenProbes),
		successes: cmp.Or(c.SuccessThreshold, breaker.DefaultSuccessThreshold),
		recovery:  cmp.Or(c.RecoveryTimeout, breaker.DefaultRecoveryTimeout),
		window:    cmp.Or(c.FailureWindow, breaker.DefaultFailureWindow),
		slow:      c.SlowCall,
		rate:      breaker.DefaultFailureRate,
	}
	k.lease = cmp.Or(c.ProbeLease, k.recovery)
	if c.FailureRate != nil {
		k.rate = *c.FailureRate
	}
	for _, kind := range c.ExcludedExceptions {
		k.excluded |= 1 << kind
	}
	return k
}

// registry returns where the circuit breakers come from; nil if there are none.
func (c *RetryConfig) registry() (*breaker.Registry, error) {
	if c.Breakers != nil || !c.EnableCircuitBreaker {
		return c.Breakers, nil
	}
	return c.CircuitBreakerConfig.breakers()
}

// policy returns the retry policy of all calls.
func (c *RetryConfig) policy() (*retry.Policy, error) {
	waits, err := c.backoff()
	if err != nil {
		return nil, err
	}
	table := failure.Decisions()
	if c.Decisions != nil {
		table = *c.Decisions
	}
	if c.BackoffOnInvalidAnswer {
		table[failure.InvalidAnswer].Again = failure.Backoff
	}
	if c.CountInvalidAnswers {
		table[failure.InvalidAnswer].Breaker = failure.Count
	}
	return retry.New(retry.Config{
		MaxAttempts: c.MaxAttempts, AttemptTimeout: c.AttemptTimeout, Backoff: waits, Decisions: &table,
		MaxRetryAfter: c.MaxRetryAfter, MaxLimitTime: c.MaxRateLimitWait, WaitForCircuit: c.WaitForCircuit,
		Budget: c.Budget, Gate: c.Gate,
	})
}

// policyFor returns the policy of one call to a model, with what it shares with
// the others. That is looked up for each call: a circuit or a gate that was idle
// for long may have been replaced.
func (c *Client) policyFor(model string, observe func(retry.Event)) *retry.Policy {
	p := *c.policy
	p.Observe = observe
	if p.Gate == nil && !c.cfg.DisablePacing {
		p.Gate = gates.Get(model)
	}
	if p.Budget == nil && !c.cfg.DisableRetryBudget {
		p.Budget = budgets.Get(model)
	}
	if c.circuits != nil {
		p.Breaker = c.circuits.Get(model)
	}
	return &p
}

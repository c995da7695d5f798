package llmcall

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

// What all calls of the process share: a breaker that lives for one call
// protects nobody, and a budget of one call's own bounds nothing.
var (
	budgets    retry.Budgets
	registries sync.Map // settings of breakers, as text → *breaker.Registry
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

// key is the settings by value: two calls that say the same, be it by a default,
// mean the same breaker.
func (c *CircuitBreakerConfig) key() string {
	rate := breaker.DefaultFailureRate
	if c.FailureRate != nil {
		rate = *c.FailureRate
	}
	recovery := cmp.Or(c.RecoveryTimeout, breaker.DefaultRecoveryTimeout)
	excluded := slices.Clone(c.Excluded)
	slices.Sort(excluded)
	return fmt.Sprint(
		cmp.Or(c.FailureThreshold, breaker.DefaultFailureThreshold), recovery,
		cmp.Or(c.FailureWindow, breaker.DefaultFailureWindow), rate, cmp.Or(c.HalfOpenProbes, breaker.DefaultHalfOpenProbes),
		cmp.Or(c.SuccessThreshold, breaker.DefaultSuccessThreshold), cmp.Or(c.ProbeLease, recovery), c.SlowCall,
		slices.Compact(excluded),
	)
}

// policy returns the retry policy of a call to a model.
func (c *RetryConfig) policy(model string, observe func(retry.Event)) (*retry.Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	waits, err := c.backoff()
	if err != nil {
		return nil, err
	}
	r := retry.Config{
		MaxAttempts: c.MaxAttempts, AttemptTimeout: c.AttemptTimeout, Backoff: waits,
		MaxRetryAfter: c.MaxRetryAfter, MaxLimitTime: c.MaxLimitTime, Budget: c.Budget,
		WaitForCircuit: c.WaitForCircuit, Observe: observe,
	}
	if r.Budget == nil && !c.DisableRetryBudget {
		r.Budget = budgets.Get(model)
	}
	registry := c.Breakers
	if registry == nil && c.EnableCircuitBreaker {
		if registry, err = c.CircuitBreakerConfig.breakers(); err != nil {
			return nil, err
		}
	}
	if registry != nil {
		r.Breaker = registry.Get(model)
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
	r.Decisions = &table
	return retry.New(r)
}

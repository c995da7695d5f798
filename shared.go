package llmcall

import (
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// endpoints returns the registry of endpoints.
func (c *RetryConfig) endpoints() *endpoint.Registry {
	if c.Endpoints != nil {
		return c.Endpoints
	}
	return endpoint.Default()
}

// guards returns the guards that each request passes.
func (c *RetryConfig) guards() endpoint.Options {
	return endpoint.Options{
		Breaker: c.CircuitBreakerConfig.Config, NoBreaker: !c.EnableCircuitBreaker,
		NoPacer: c.DisablePacing, NoBudget: c.DisableRetryBudget,
	}
}

// limits returns the configured limits of the endpoints.
func (c *RetryConfig) limits() pace.Limits {
	return pace.Limits{RequestsPerMinute: c.RequestsPerMinute, TokensPerMinute: c.TokensPerMinute, MaxConcurrent: c.MaxConcurrent}
}

// Table returns what follows from each kind of failure: Decisions, by default
// [failure.Decisions], with the rows that BackoffOnInvalidAnswer,
// CountInvalidAnswers and ExcludedExceptions change.
func (c *RetryConfig) Table() failure.Table {
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
	for _, kind := range c.CircuitBreakerConfig.ExcludedExceptions {
		if d := table.For(kind); d.Breaker != failure.Limit { // never counted, and needed by the pacer
			d.Breaker = failure.Ignore
			table.Set(kind, d)
		}
	}
	return table
}

// policy returns the retry policy of all calls.
func (c *RetryConfig) policy() (*retry.Policy, error) {
	waits, err := c.backoff()
	if err != nil {
		return nil, err
	}
	table := c.Table()
	_, attempts := c.stair()
	return retry.New(retry.Config{
		MaxAttempts: attempts, AttemptsPerTarget: c.AttemptsPerModel, AttemptTimeout: c.AttemptTimeout, Hang: c.Hang, Backoff: waits, Decisions: &table,
		MaxRetryAfter: c.MaxRetryAfter, MaxRateLimitWait: c.MaxRateLimitWait, FallbackAfter: c.FallbackAfter,
		WaitForCircuit: c.WaitForCircuit, Client: c.Client,
	})
}

package llmcall

import (
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// endpoints returns where what calls share comes from.
func (c *RetryConfig) endpoints() *endpoint.Registry {
	if c.Endpoints != nil {
		return c.Endpoints
	}
	return endpoint.Default()
}

// guards returns what is asked before each request.
func (c *RetryConfig) guards() endpoint.Options {
	return endpoint.Options{
		Breaker: c.CircuitBreakerConfig.Config, NoBreaker: !c.EnableCircuitBreaker,
		NoPacer: c.DisablePacing, NoBudget: c.DisableRetryBudget,
	}
}

// limits returns what is configured of the endpoint.
func (c *RetryConfig) limits() pace.Limits {
	return pace.Limits{RequestsPerMinute: c.RequestsPerMinute, TokensPerMinute: c.TokensPerMinute, MaxConcurrent: c.MaxConcurrent}
}

// Table returns what follows from each kind of failure: Decisions, or without it
// the default rows, with those that other settings change (backoff_on_invalid_answer,
// count_invalid_answers, and excluded_exceptions of the circuit breaker).
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
		if d := table.For(kind); d.Breaker != failure.Limit { // which no circuit counts, and the pacer needs
			d.Breaker = failure.Ignore
			table.Set(kind, d)
		}
	}
	return table
}

// policy returns how all calls are retried.
func (c *RetryConfig) policy() (*retry.Policy, error) {
	waits, err := c.backoff()
	if err != nil {
		return nil, err
	}
	table := c.Table()
	return retry.New(retry.Config{
		MaxAttempts: c.MaxAttempts, AttemptTimeout: c.AttemptTimeout, Hang: c.Hang, Backoff: waits, Decisions: &table,
		MaxRetryAfter: c.MaxRetryAfter, MaxRateLimitWait: c.MaxRateLimitWait, FallbackAfter: c.FallbackAfter,
		WaitForCircuit: c.WaitForCircuit,
	})
}

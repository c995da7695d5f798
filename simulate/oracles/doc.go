// Package oracles holds the engine to what others have published about backoff, budgets
// of retries, circuit breakers and hedging. It has tests alone.
package oracles

// Package endpoint keeps the state that all callers of a model share.
//
// An [Endpoint] is one model of a provider, at one address, with one API key: its
// [Key]. Two keys are two endpoints, since a key that is refused, unpaid or at its
// limit says nothing about another. All callers of an endpoint share
//
//   - a budget of retries ([Budget]), so that retries don't multiply an outage;
//   - a pacer (package pace), which holds them to the rate that the provider
//     accepts;
//   - a circuit breaker (package breaker) for each of the settings in use.
//
// A [Registry] keeps one endpoint for each key. The process has one, [Default],
// which clients, judges and HTTP clients use unless they are given another; what
// it keeps can be listed ([Registry.All]), looked at ([Endpoint.Snapshot]), reset
// and forced.
//
// A [Guard] is asked before each request, and lends a [Permit] for it or refuses.
// The budget, the pacer and the circuit breaker are guards, asked in this order. A
// call holds the permits for one request, and gives them back when the provider
// has answered or failed. A request has three moments:
//
//   - admitted: each guard has lent its permit;
//   - accepted: an answer has begun to come, and what is scarce, such as the place
//     of a circuit's probe, is free for others;
//   - settled: the request has ended, and is counted, once.
package endpoint

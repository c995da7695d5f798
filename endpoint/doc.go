// Package endpoint keeps the state that all callers of a model share.
//
// An [Endpoint] is one model of a provider, at one address, with one API key; these
// make up its [Key]. Two API keys are two endpoints, since a key that is refused,
// unpaid or at its limit says nothing about another. All callers of an endpoint share
//
//   - a budget of retries ([Budget]), so that retries don't multiply an outage;
//   - a pacer (package [llmcall/pace]), which holds them to the rate that the
//     provider accepts;
//   - a circuit breaker (package [llmcall/breaker]), one for each of the settings in
//     use.
//
// A [Registry] keeps one endpoint for each key. The process has one registry,
// [Default], which clients, judges and HTTP clients use unless they are given another.
// Its endpoints can be listed ([Registry.All]), inspected ([Endpoint.Snapshot]), reset
// ([Endpoint.Reset]) and forced open or closed ([Endpoint.ForceOpen],
// [Endpoint.ForceClosed]).
//
// A [Guard] is asked before each request, and lends a [Permit] for it or refuses it.
// The budget, the pacer and the circuit breaker are guards, asked in this order
// ([Endpoint.Guards]). A call holds its permits for one request, which has three
// stages:
//
//   - admitted: each guard has lent a permit;
//   - accepted: an answer has begun to arrive, and what is scarce, such as the
//     permission for a circuit's probe, is free for others;
//   - settled: the provider has answered or failed. The request is counted, once, and
//     the permits are given back.
package endpoint

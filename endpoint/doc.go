// Package endpoint is what the callers of a model share.
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
// What is asked before a request is a [Guard]; those three are guards, in this
// order. A call asks the guards of its endpoint, holds their permits for one
// request, and gives them back when the provider has answered or failed. There
// are three moments: admitted; accepted, when an answer has begun to come, so that
// what is scarce is free; and settled, when it is counted, once.
package endpoint

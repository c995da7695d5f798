// Package endpoint is what all callers of one provider, address, model and API
// key share: an [Endpoint] has a circuit breaker, a pacer and a budget of
// retries, and a [Registry] keeps one for each [Key].
//
// What stands before a request is a [Guard]. A call asks the guards of its
// endpoint in order, holds their permits for one request, and settles them when
// the provider has answered or failed. There are three moments: admitted;
// accepted, when an answer has begun to come, so that what is scarce is free; and
// settled, when it is counted, once.
package endpoint

// Package account keeps accounts of tokens and money that can't be passed.
//
// What a request costs is known only after its answer, and several requests may be under
// way at once. So an [Account] is charged in two steps: [Account.Reserve] sets aside what
// a request may cost, before it is made, and [Account.Settle] replaces this by what it
// has cost. What is spent and what is reserved are together never more than the limit, at
// any moment, as long as no request uses more than was reserved for it.
//
// An account may have accounts above it: that of a call is below those of a key and a
// day, and these are below that of the process. A reservation is made in all of them, or
// in none.
//
//	process := account.New(endpoint.Amount{Nanos: 100 * account.Dollar})
//	process.Name = "the process"
//	today := account.Daily(endpoint.Amount{Nanos: 5 * account.Dollar}, time.UTC, process)
//	today.Name = "the tenant's day"
//	call := account.New(endpoint.Amount{Nanos: 50_000_000, Tokens: 20_000}, today) // 5 cents
//
// The requests of a call pass the account as one of the guards of package
// [llmcall/retry]: a [Guard] reserves before each request and settles or releases after
// it, whatever the way out is: an answer, a failure, a cancelled context, a panic. Give
// each retry.Call a guard of its own ([Account.Guard]): the call, each hedge and each
// judge.
//
// An account that must not be forgotten when its process ends has a [Journal]: no
// request is made whose reservation is not kept there.
//
// An account whose limit several processes share has a [Lender] in each of them: it may use
// what was opened to it, and asks for more when that is not enough.
//
// An [Estimate] says what to reserve. A strict one is what the request can use at most
// ([MostInput] and its limit of output tokens), and keeps the promise above. It may be
// ten times what a request really uses, so that an account seems to be spent that is not.
// A [Ratio] learns how much of a model's strict estimates is used, and reserves 1.3 times
// that; then an account can be passed, but by no more than the requests under way use
// above their reservations. Calls make one request at a time, so the account of a call
// without hedges is passed by at most one attempt. The next request is refused then.
package account

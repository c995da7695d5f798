// Package simulate says what a configuration does to a fleet of clients and its provider
// before it is deployed.
//
// A [Scenario] has groups of clients, a provider, and phases in which something is different:
// the provider fails, or is slow, or twice as many calls arrive. [Do] runs it with the engine
// that makes real calls, its goroutines and timers, in a bubble of virtual time
// (testing/synctest). Ten minutes of a thousand processes take about a second, and need
// no network and no key. [Run] does the same in a Go test. The [Report] says what came of it:
// in all, for each group of clients and each model, and over time.
//
// Thirteen scenarios come with the package ([Names], [Named]). Each is a commented file
// that can be copied and changed ([Source], [ParseScenario]).
//
// # The model
//
// A process is one program: it has a client and endpoints of its own (circuit breakers,
// pacers, budgets of retries), and shares nothing with other processes but the provider.
// Calls arrive as a Poisson process, or workers make one after another, or all come at once.
//
// The provider takes a request after the time of the network. The limits of its key come first,
// then a fault for some of the requests, then a place or the queue, then the work, and the
// network again. Limits and faults are those of package chaos, and its errors are what
// chaos sends, read by package classify as the adapters do: a model whose name begins with
// "anthropic/" or "gemini/" has the errors and headers of that provider, any other one those
// of OpenAI. What a server does when it is overloaded is said by two fields: with PerRequest
// each request in its hands makes the others slower, and with KeepsWorking it goes on with
// what nobody waits for. Both together are what makes an outage outlast its cause.
//
// What is not modelled: the content of prompts and answers (one check knows which answers
// are right; the checks of the program are not run), calls of tools, streams, and the time
// that the clients' own work takes.
//
// # The same seed
//
// The same configuration, scenario and seed give the same report, byte for byte. Every
// arrival, latency and answer has a nanosecond of its own, so that no two happen at once.
// The arrivals, latencies and faults of a call depend on the seed and the call alone, so
// that two configurations are compared on the same day.
package simulate

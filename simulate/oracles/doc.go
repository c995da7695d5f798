// Package oracles holds the engine, and with it package simulate, to what others have
// published about backoff, budgets of retries, circuit breakers and hedging. It has tests
// alone.
//
// What a simulation says about a policy is right if the model of the provider is, and if
// the engine does what the policy says. The engine of a simulation is the one that makes
// real calls. These tests run it against models of servers that the literature describes
// completely, in bubbles of virtual time, and compare it with that literature's numbers
// (testdata, each file with its source) and with closed forms: within 5 %, or three
// standard errors of the difference where that is more.
//
//   - contention for one row: the five strategies of "Exponential Backoff And Jitter" (AWS,
//     2015) through [llmcall/retry.Do];
//   - jitter: moments and quantiles of each kind in package backoff;
//   - budgets: [llmcall/endpoint.Budget] for retries that successes pay. The budgets of the
//     AWS SDKs (a retry has a price, and gets it back if it succeeds), of gRPC (failures
//     take, and retries need half of the tokens) and those that each call pays are not
//     settings of it: they are guards of the tests, so that the loop is compared with their
//     tables too;
//   - retry strategies of M. Brooker (2022): fixed retries; his token bucket and his circuit
//     breaker are such guards. His serial clients are left out: the rule by which they begin
//     a call is not described completely;
//   - collapse: his server that slows down under load, in a spike and on a ramp, and which
//     policies keep its outage alive;
//   - the herd after an outage;
//   - circuit breakers under partial failure: those that count failures in a window, or
//     consecutive ones. A share of all calls in a window with a minimum of calls (Hystrix,
//     Polly) is not what our share means, which is of the calls since the first of the last
//     failures: ours opens more easily at a share near the threshold;
//   - hedging: the first of two answers.
//
// For random policies the share of calls that are answered must be 1 - p times the attempts
// made for a call, if attempts fail independently with probability p.
//
// The same models are given to package simulate as scenarios, and nine of its own
// scenarios are compared with what happens in real time, over HTTP, with package chaos as
// the provider.
//
//	go test -v ./simulate/oracles                         # 20 s of two cores
//	LLMCALL_MODEL=full go test -v -timeout 1h ./simulate/oracles
//	LLMCALL_TIMED=1 go test -v -run WhatHappens ./simulate/oracles
package oracles

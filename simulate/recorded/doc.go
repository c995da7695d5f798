// Package recorded makes a scenario of package simulate of what was recorded, so that a
// configuration can be tried on last night's outage.
//
//	scenario, err := recorded.Open("night.jsonl")
//	...
//	report, err := simulate.Do(ctx, cfg, scenario)
//
// [Open] reads recordings of package record, and traces: JSON objects one after the other,
// most often a line each, of these kinds:
//
//   - what `llmcall call --output json` prints: a call with its attempts. Without "started",
//     which earlier versions did not print, calls are taken to follow each other;
//   - what log/slog writes in JSON of an event, an attempt or a trace of package llmcall: any
//     object with "outcome" and "number". Lines without one are passed over;
//   - lines of one's own, with "time" (RFC 3339, or Unix time; also called start, started,
//     timestamp or ts), "duration_ms" (or duration in seconds, also called latency or took),
//     and of a request that failed "status", "error" or "kind", and "retry_after" in seconds;
//     "model", "input_tokens" and "output_tokens" if they are known.
//
// # What the scenario is
//
// Calls arrive at the rate at which they did, in up to 200 parts of the time: by a Poisson
// process with that rate, from one process. Of a call with several attempts the first counts;
// a recording does not say which request is another attempt, so that a request is taken for
// one if it is equal to an earlier one that has failed.
//
// What the provider did is drawn from what it did at that time: the time is divided into
// parts of at least 20 requests, and each request of the simulation gets the latency and the
// outcome of a recorded one of its part. So a limit that was hit is a share of refusals, and
// does not react to the rate of the simulated clients: to try a rate limit, write a scenario
// with limits. What was not the provider's doing is left out: requests that their caller
// cancelled, and those that a guard of the process refused.
package recorded

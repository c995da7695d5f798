// Package simulate says what a configuration does to a fleet of clients and its provider
// before it is deployed.
//
// A [Scenario] has groups of clients, a provider, and phases in which the provider behaves
// differently. [Do] runs it with the engine that makes real calls, its goroutines and
// timers, in a bubble of virtual time (testing/synctest), so that ten minutes of a thousand
// processes take a second or two. No network and no key is needed. [Run] does the same in a
// Go test. The [Report] says what came of it: in all, for each group of clients and each
// model, and over time.
//
// The same configuration, scenario and seed give the same report, byte for byte. Chance
// comes from the seed, and the arrivals, latencies and faults of a call do not depend on the
// configuration, so that two of them are compared on the same day.
package simulate

// Package fleet makes the processes of a fleet share what they know of their providers: one
// circuit, one rate and one account for all of them, through a Redis server that they can
// reach anyway.
//
// Without it, ten processes before one provider each discover the same outage, each send a
// probe of their own, each learn the same rate limit by being refused, and each spend the
// whole of a day's limit.
//
//	f, err := fleet.Open("redis://127.0.0.1:6379/0", fleet.Options{})
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//	cfg.Endpoints = f.Endpoints() // of a llmcall.RetryConfig, a transport, a judge, a gateway
//
// # What decides
//
// In each process the circuit breaker, the pacer and the accounts decide each call by
// themselves, as they do without a fleet. They report what happens to them, and are told what
// others know. So a healthy call asks the store for nothing and costs what it did; and a
// process that has lost the store just goes on.
//
// One goroutine of a process speaks with the store. It reports a failure at once, and exchanges
// what is not urgent once a second, all in one round trip. What has changed for all, such as an
// opening, is pushed. No call waits for the store for longer than 5 ms, and none at all while
// it is slow or gone.
//
// # The circuit
//
// The fleet's circuit opens as one breaker would that all calls go through: when the last
// FailureThreshold failures, of whichever processes, lie in FailureWindow and are at least
// FailureRate of the calls that ended since the first of them. They must come from several
// processes ([Options.MinReporters]), so that a broken machine opens its own circuit and not
// that of the others; the run of failures that is looked at goes back until it has enough of
// them. Before the store decides it asks all processes for their number of answers, and waits
// 50 ms for those that do not reply.
//
// After the recovery time the store lends probes: never more than HalfOpenProbes at a time in
// all processes together. A lease ends after ProbeLease.
//
// Generations count the changes of state, and are fencing numbers (M. Kleppmann, "How to do
// distributed locking", 2016): what is reported in one changes nothing in a later one. A store
// that was restarted empty, or failed over, is told the latest generation and its state by the
// processes that know it.
//
// Times are the store's; processes take only differences from it, so that a wrong clock does
// no harm.
//
// # The rate
//
// The learned rate of a pacer (package [llmcall/pace]) is that of all processes. The store keeps it
// with its epoch, a fencing number: of several cuts that follow from the same refusals the first
// counts, and reaches the others by push, like a told time.
//
// It is shared by need. With each exchange, and at once when a queue begins that its part does not
// serve soon, a process tells how many requests a second it wants to send, and is told what the
// others want. From that each computes the parts by max-min fairness (Bertsekas, Gallager, "Data
// Networks", 6.5.2): nobody gets more than it needs as long as others need more, those who need
// more get the same, and what is left is shared equally. A process that is silent for two seconds
// has no part. A pacer that is free tells nothing and asks nothing.
//
// Configured limits of requests and tokens a minute are a generic cell rate algorithm in the store
// (ITU-T I.371), from which a process leases what its queue and its last need take in a fifth of a
// second; it gives back what it has not used within half a second.
//
// # The purse
//
// An account of [Fleet.Account] has the limit of a day together with those of the same name in
// the other processes. Each has leased a share of the limit, for ten seconds, which is nobody
// else's; a part of that is open, and only what is open may be spent. So in the store, at each
// moment,
//
//	the shares of the living + what is open to the dead <= limit
//
// A process opens in advance what it needs in about two seconds, and more when a reservation
// finds too little; what it does not need it gives back each second, and at its end. When it
// dies, or is cut off, what was open to it counts as spent until it reports, and the rest of
// its share is lent to others when the lease is over. So no clock decides what may be spent,
// and a process that has lost the store goes on with what is open to it, for as long as that
// lasts.
//
// [Fleet.Meter] is the same for a limit of a minute: a leaky bucket in the store, of which
// processes lease permits a second in advance.
//
// # Without the store
//
// Each process has its own circuit then, opens it by its own failures, and sends probes of its
// own. When the store is back, its failures count for all, and a circuit that closed by its
// probes closes that of all. Its pacer goes on with its last part of the rate and of the limits; of
// the rates that the processes have when it is back, the mean by their parts is that of all. A
// process that begins without the store, and without an [Options.Secret], does so too until it
// has read the secret that makes the keys of its endpoints there. The
// store is tried again after 100 ms at first, then up to 5 s, with jitter. [Fleet.Status] and the log tell the operator.
package fleet

package endpoint

import (
	"time"

	"llmcall/breaker"
)

// FleetSnapshot is what a process knows of its fleet at one moment, for operators.
type FleetSnapshot struct {
	Address   string    // of the store, without a password
	Connected bool      // the store has answered the last time
	Since     time.Time // when that began
	Err       error     // why it is not connected, why Circuits are not known, or what of them goes on alone
	Processes int       // that share a circuit, this one included
	Circuits  []SharedCircuit
}

// SharedCircuit is a circuit that the processes of a fleet have together, as their store has it.
type SharedCircuit struct {
	ID    string // by which it is forced and reset
	Name  string // that of [Key.String]
	State breaker.State
	// Forced says that somebody has forced it.
	Forced bool
	Cause  breaker.Cause // why it opened, or its last failure; zero: none
	// By is the process that opened or forced it: its host and number. "": CLOSED, or not known.
	By string
	// Failures is how many of the last failures are kept, Reporters how many processes had
	// them; the circuit opens with Threshold failures of MinReporters processes.
	Failures, Threshold, Reporters, MinReporters int
	// Probes is how many probes are under way, of at most MaxProbes at a time.
	Probes, MaxProbes int
	// Processes is how many processes share it, as far as they were seen in the last 3 s.
	Processes  int
	Generation uint64        // the number of its changes of state
	RetryIn    time.Duration // OPEN: until it admits a probe; 0 if Forced
	For        time.Duration // how long it has been in that state
}

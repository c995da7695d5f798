package breaker

import (
	"fmt"
	"time"
)

// OpenError says that a circuit refused a call. The call was not made.
type OpenError struct {
	Name  string
	State State // Open, or HalfOpen with all places for probes taken
	Cause error // the failure that opened the circuit; may be nil where Forced
	Since time.Time
	// Until is when the circuit admits a probe; in HALF_OPEN, when it does so
	// at the latest. Zero where Forced.
	Until  time.Time
	Forced bool // by ForceOpen
}

// Error says which circuit, why it opened, and how long until it admits a probe.
func (e *OpenError) Error() string {
	var text string
	switch {
	case e.Forced:
		text = fmt.Sprintf("circuit %q is forced OPEN until it is reset", e.Name)
	case e.State == HalfOpen:
		text = fmt.Sprintf("circuit %q is HALF_OPEN with all its probes under way, admits another in at most %v", e.Name, e.RetryIn().Round(time.Millisecond))
	default:
		text = fmt.Sprintf("circuit %q is OPEN, admits a probe in %v", e.Name, e.RetryIn().Round(time.Millisecond))
	}
	if e.Cause != nil {
		text += "; it opened because of: " + e.Cause.Error()
	}
	return text
}

// RetryIn returns how long it is until the circuit admits a probe, 0 where that
// time has come. It means nothing where Forced.
func (e *OpenError) RetryIn() time.Duration { return max(0, time.Until(e.Until)) }

// CircuitOpen returns true: it marks the error for failure.KindOf, which would
// take it for its cause otherwise.
func (e *OpenError) CircuitOpen() bool { return true }

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Cause }

// PanicError is the failure that a panicking call counts as. The panic itself
// goes on.
type PanicError struct{ Value any }

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// SlowError is the failure that a slow call counts as; see Config.SlowCall.
type SlowError struct{ Limit time.Duration }

func (e *SlowError) Error() string { return fmt.Sprintf("the call lasted %v or longer", e.Limit) }

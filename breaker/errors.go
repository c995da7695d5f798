package breaker

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Cause is what a breaker keeps and shows of a failure. It holds none of the service's
// own text, which is only for the caller that it answered. The zero value means that
// the cause is not known.
type Cause struct {
	// Kind is the kind of failure, such as "overloaded". It is "panic" for a call
	// of [Do] that panicked, "error" for an error of Do without a cause, "slow" for
	// a call that took [Config.SlowCall], and what [Breaker.ForceOpen] was given
	// for a circuit that is forced OPEN. At most 100 bytes of it and of Code are
	// kept.
	Kind   string
	Status int    // the HTTP status; 0: none
	Code   string // the service's own code, such as "overloaded_error"
}

// String returns the kind, with status and code if they are set: "overloaded (HTTP
// 529, overloaded_error)".
func (c Cause) String() string {
	var about []string
	if c.Status != 0 {
		about = append(about, fmt.Sprintf("HTTP %d", c.Status))
	}
	if c.Code != "" {
		about = append(about, c.Code)
	}
	if len(about) == 0 {
		return c.Kind
	}
	return strings.TrimSpace(c.Kind + " (" + strings.Join(about, ", ") + ")")
}

// maxText is how many bytes are kept of a Cause's Kind, and of its Code.
const maxText = 100

// kept returns a shortened copy that shares no memory with c: a code may be a slice of
// a body of a megabyte.
func (c Cause) kept() Cause { return Cause{short(c.Kind), c.Status, short(c.Code)} }

func short(s string) string {
	if len(s) > maxText {
		n := maxText
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s)
}

// OpenError is the error of a call that the circuit refused. The call was not made.
type OpenError struct {
	Name  string    // the breaker's
	State State     // Open, or HalfOpen with as many probes under way as are allowed
	Cause Cause     // the failure that opened the circuit
	Since time.Time // when the state began
	// Until is when the circuit admits a probe; in HALF_OPEN, the latest time. Zero
	// if Forced.
	Until  time.Time
	Forced bool // by [Breaker.ForceOpen]
}

// Error says which circuit it is, why it opened, and when it admits a probe.
func (e *OpenError) Error() string {
	cause := e.Cause.String()
	if e.Forced {
		text := fmt.Sprintf("circuit %q is forced OPEN until it is reset", e.Name)
		if cause != "" {
			text += ": " + cause
		}
		return text
	}
	text := fmt.Sprintf("circuit %q is OPEN, admits a probe in %v", e.Name, e.RetryIn().Round(time.Millisecond))
	if e.State == HalfOpen {
		text = fmt.Sprintf("circuit %q is HALF_OPEN with all its probes under way, admits another in at most %v", e.Name, e.RetryIn().Round(time.Millisecond))
	}
	if cause != "" {
		text += "; it opened after: " + cause
	}
	return text
}

// RetryIn returns the time until the circuit admits a probe; 0 if that has passed, or
// if Forced.
func (e *OpenError) RetryIn() time.Duration { return max(0, time.Until(e.Until)) }

// CircuitOpen returns true. It marks the error for failure.KindOf.
func (e *OpenError) CircuitOpen() bool { return true }

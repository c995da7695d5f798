package breaker

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Cause is what a circuit keeps and shows of a failure: no text of the
// service's, which is only for the caller that it answered. The zero value is a
// cause that is not known.
type Cause struct {
	// Kind is what kind of failure it was: "overloaded". For a circuit that is
	// forced OPEN it is why, as given to [Breaker.ForceOpen]; for a call that
	// panicked "panic", for one that was slow "slow", for an error of [Do] that
	// tells no more "error".
	Kind   string
	Status int    // the HTTP status, or 0
	Code   string // the service's own code, such as "overloaded_error"
}

// String returns the kind, with status and code if there are any: "overloaded
// (HTTP 529, overloaded_error)".
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

// kept returns a copy that holds no more memory than it shows: a code may be cut
// out of a body of a megabyte, or be one.
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

// OpenError says that a circuit refused a call. The call was not made.
type OpenError struct {
	Name  string
	State State // Open, or HalfOpen with all places for probes taken
	Cause Cause // the failure that opened the circuit
	Since time.Time
	// Until is when the circuit admits a probe; in HALF_OPEN, when it does so
	// at the latest. Zero where Forced.
	Until  time.Time
	Forced bool // by ForceOpen
}

// Error says which circuit, why it opened, and how long until it admits a probe.
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

// RetryIn returns how long it is until the circuit admits a probe, 0 where that
// time has come. It means nothing where Forced.
func (e *OpenError) RetryIn() time.Duration { return max(0, time.Until(e.Until)) }

// CircuitOpen returns true: it marks the error for failure.KindOf.
func (e *OpenError) CircuitOpen() bool { return true }

package retry

import (
	"fmt"
	"strings"
	"time"

	"llmcall/failure"
)

// Failure is a failed attempt.
type Failure struct {
	Number int // of the attempt, from 1
	Err    error
	Kind   failure.Kind
	// Wait is the wait before the attempt, and Why its reason.
	Wait time.Duration
	Why  Why
}

// Error is how Do ends when it fails. It unwraps to the last failure and, where
// something else ended the call, to that too: ctx's error and its cause,
// context.DeadlineExceeded for a refused wait, the *breaker.OpenError, the
// *GateError.
type Error struct {
	Reason   Reason
	Failures []Failure // every failed attempt, in order
	// RefusedWait is the wait that was not begun, because the deadline can't
	// hold it or it is longer than allowed; Why is its reason.
	RefusedWait time.Duration
	Why         Why
	causes      []error
}

// Error says why there was no further attempt, and what the last failure was.
func (e *Error) Error() string {
	var b strings.Builder
	switch e.Reason {
	case Exhausted:
		fmt.Fprintf(&b, "gave up after %s", attempts(len(e.Failures)))
	case Permanent:
		fmt.Fprintf(&b, "not retried after %s", attempts(len(e.Failures)))
	case OutOfTime:
		b.WriteString("out of time")
		if e.RefusedWait > 0 {
			fmt.Fprintf(&b, ": the deadline can't hold a wait of %v (%s)", e.RefusedWait.Round(time.Millisecond), e.Why)
		}
		fmt.Fprintf(&b, " after %s", attempts(len(e.Failures)))
	case Cancelled:
		fmt.Fprintf(&b, "cancelled after %s", attempts(len(e.Failures)))
	case CircuitOpen:
		fmt.Fprintf(&b, "stopped by an open circuit after %s", attempts(len(e.Failures)))
	case BudgetSpent:
		fmt.Fprintf(&b, "the endpoint's retry budget is spent, after %s", attempts(len(e.Failures)))
	case WaitTooLong:
		fmt.Fprintf(&b, "the provider asks for a wait of %v, longer than is allowed", e.RefusedWait.Round(time.Millisecond))
	case LimitTimePassed:
		fmt.Fprintf(&b, "rate limited for longer than is allowed; a further wait of %v was asked for", e.RefusedWait.Round(time.Millisecond))
	}
	for _, cause := range e.causes {
		_, gate := cause.(*GateError)
		if gate || e.Reason == CircuitOpen || e.Reason == Cancelled && cause != e.causes[0] {
			b.WriteString(": " + cause.Error())
		}
	}
	if last := e.Last(); last != nil && e.Reason != CircuitOpen {
		b.WriteString(": " + last.Error())
	}
	return b.String()
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

// Last returns the last failure; nil if no attempt was made.
func (e *Error) Last() error {
	if len(e.Failures) == 0 {
		return nil
	}
	return e.Failures[len(e.Failures)-1].Err
}

// Unwrap returns what ended the call, and the last failure.
func (e *Error) Unwrap() []error {
	if last := e.Last(); last != nil {
		return append(e.causes[:len(e.causes):len(e.causes)], last)
	}
	return e.causes
}

// FailureKind returns the kind of the whole: what ended the call, or else the
// kind of the last failure.
func (e *Error) FailureKind() failure.Kind {
	switch e.Reason {
	case OutOfTime:
		return failure.DeadlineExceeded
	case Cancelled:
		return failure.Cancelled
	case CircuitOpen:
		return failure.CircuitOpen
	}
	if n := len(e.Failures); n > 0 {
		return e.Failures[n-1].Kind
	}
	if len(e.causes) > 0 { // a gate kept the first attempt away
		return failure.KindOf(e.causes[0])
	}
	return failure.Unknown
}

// AttemptTimeoutError is the failure of an attempt that was cut at
// Config.AttemptTimeout. It does not match context.DeadlineExceeded: the
// caller's deadline has not come.
type AttemptTimeoutError struct {
	Limit time.Duration
}

func (e *AttemptTimeoutError) Error() string {
	return fmt.Sprintf("the attempt was cut at its limit of %v", e.Limit)
}

// FailureKind returns failure.AttemptTimeout.
func (e *AttemptTimeoutError) FailureKind() failure.Kind { return failure.AttemptTimeout }

// Stop wraps an error, for the function to return as it is or wrapped, so that Do
// makes no further attempt, whatever the error's kind. The breaker is told of it
// as of any other.
func Stop(err error) error { return &permanent{err} }

type permanent struct{ err error }

func (e *permanent) Error() string { return e.err.Error() }
func (e *permanent) Unwrap() error { return e.err }

// stopOf returns what Stop made, if that is in err's tree.
func stopOf(err error) *permanent {
	switch e := err.(type) {
	case *permanent:
		return e
	case *Error: // of another Do, which has obeyed it
	case interface{ Unwrap() error }:
		return stopOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if stop := stopOf(inner); stop != nil {
				return stop
			}
		}
	}
	return nil
}

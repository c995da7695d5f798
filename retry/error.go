package retry

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"llmcall/failure"
)

// Failure is a failed attempt.
type Failure struct {
	Number int // of the attempt, counted from 1
	Target int // the index of its target
	Err    error
	Kind   failure.Kind
	// Uncounted says that the attempt does not count against [Config.MaxAttempts]:
	// the provider refused it for its rate.
	Uncounted bool
	// Wait is how long the call waited before the attempt, and Reason why.
	Wait   time.Duration
	Reason WaitReason
}

// Error is the error of a call that failed. It unwraps to the last failure and to what
// else ended the call: the context's error and cause, [context.DeadlineExceeded] for a
// wait that the deadline does not allow, or a guard's error, such as a
// *breaker.OpenError, *[pace.Error] or *[endpoint.BudgetError].
type Error struct {
	Reason Reason
	// Failures are the failed attempts, in order; of more than 128, the first 64 and
	// the last 64. Attempts is the number of all attempts.
	Failures []Failure
	Attempts int
	// RefusedWait is the wait that was not begun, because the deadline comes first or
	// it is longer than allowed; the longest [time.Duration] if its length is not
	// known. WaitReason is its reason.
	RefusedWait time.Duration
	WaitReason  WaitReason
	causes      []error
}

// Error says why there was no further attempt, and names the last failure.
func (e *Error) Error() string {
	var b strings.Builder
	switch e.Reason {
	case Exhausted:
		fmt.Fprintf(&b, "gave up after %s", attempts(e.Attempts))
	case Permanent:
		fmt.Fprintf(&b, "not retried after %s", attempts(e.Attempts))
	case OutOfTime:
		b.WriteString("out of time")
		if e.RefusedWait > 0 {
			fmt.Fprintf(&b, ": the deadline can't hold %s", e.refusedWait())
		}
		fmt.Fprintf(&b, " after %s", attempts(e.Attempts))
	case Cancelled:
		fmt.Fprintf(&b, "cancelled after %s", attempts(e.Attempts))
	case CircuitOpen:
		fmt.Fprintf(&b, "stopped by an open circuit after %s", attempts(e.Attempts))
	case BudgetSpent, AccountSpent:
		fmt.Fprintf(&b, "stopped after %s", attempts(e.Attempts))
	case WaitTooLong:
		fmt.Fprintf(&b, "the provider asks for a wait of %v, longer than max_retry_after allows", round(e.RefusedWait))
	case RateLimitWaitExceeded:
		b.WriteString("waited for rate limits for as long as max_rate_limit_wait allows")
		if e.RefusedWait > 0 && e.RefusedWait < forever {
			fmt.Fprintf(&b, "; next would be %s", e.refusedWait())
		}
	}
	link := ": "
	for i, cause := range e.causes {
		if e.Reason == OutOfTime && i == 0 || e.Reason == Cancelled && i == 0 {
			continue // the context's own error says no more
		}
		b.WriteString(": " + cause.Error())
		link = "; the last failure: "
	}
	if last := e.Last(); last != nil {
		b.WriteString(link + last.Error())
	}
	return b.String()
}

// refusedWait says of a wait whose it is: the provider's, or our own.
func (e *Error) refusedWait() string {
	switch {
	case e.WaitReason == PaceWait && e.RefusedWait < forever:
		return fmt.Sprintf("a wait of %v for this process's own pacing", round(e.RefusedWait))
	case e.WaitReason == PaceWait:
		return "a wait for this process's own pacing"
	case e.WaitReason == ProviderWait || e.WaitReason == RateLimitWait:
		return fmt.Sprintf("a wait of %v that the provider asks for (%s)", round(e.RefusedWait), e.WaitReason)
	}
	return fmt.Sprintf("a wait of %v (%s)", round(e.RefusedWait), e.WaitReason)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

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

// FailureKind returns the kind of what ended the call, or else of the last failed
// attempt.
func (e *Error) FailureKind() failure.Kind {
	switch e.Reason {
	case OutOfTime:
		return failure.DeadlineExceeded
	case Cancelled:
		return failure.Cancelled
	case CircuitOpen:
		return failure.CircuitOpen
	case BudgetSpent:
		return failure.RetryBudgetSpent
	case AccountSpent:
		return failure.AccountSpent
	}
	if n := len(e.Failures); n > 0 {
		return e.Failures[n-1].Kind
	}
	return failure.RateLimited // a guard kept the first attempt away
}

// AttemptTimeoutError is the failure of an attempt that was ended by
// [Config.AttemptTimeout]. It unwraps to the error that the attempt returned.
type AttemptTimeoutError struct {
	Limit time.Duration
	Err   error
}

// Error names the limit, and what the attempt returned.
func (e *AttemptTimeoutError) Error() string {
	text := fmt.Sprintf("the attempt was cut at its limit of %v", e.Limit)
	if e.Err != nil && e.Err != context.DeadlineExceeded {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what the attempt returned.
func (e *AttemptTimeoutError) Unwrap() error { return e.Err }

// PanicError is the failure that the guards and the [Observer] are told of after a panic
// in an attempt. The panic itself is passed on.
type PanicError struct{ Value any }

// Error returns the panic's value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// same reports whether two errors are the same one, also where their types can't
// be compared.
func same(a, b error) bool {
	return reflect.ValueOf(a).Comparable() && a == b
}

// notNil returns an error whose methods can be called: a function that returns a
// nil pointer as its error (var e *Error; return v, e) returns one that is not
// nil, and that errors.Is panics with.
func notNil(err error) error {
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("a nil %T was returned as an error", err)
	}
	return err
}

// FailureKind returns [failure.AttemptTimeout].
func (e *AttemptTimeoutError) FailureKind() failure.Kind { return failure.AttemptTimeout }

// Stop wraps an error so that no further attempt follows, whatever its kind. The function
// given to [Do] returns it, or an error that wraps it. The guards treat it like the
// error itself.
func Stop(err error) error { return &permanent{err} }

type permanent struct{ err error }

func (e *permanent) Error() string { return e.err.Error() }
func (e *permanent) Unwrap() error { return e.err }

// Stopped reports whether err comes from [Stop], or wraps such an error: a loop must not
// retry it. It is false for the *[Error] of a [Do] that has obeyed it; wrap that in Stop
// to end an outer loop too.
func Stopped(err error) bool { return stopOf(err) != nil }

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

package retry

import (
	"fmt"
	"slices"
	"strings"
)

// WaitReason says why a call waits. The zero value is [NoWait].
type WaitReason uint8

// The reasons of waits.
const (
	NoWait        WaitReason = iota
	BackoffWait              // the growing delay of Config.Backoff
	ProviderWait             // the provider asked for it with a failure
	RateLimitWait            // the provider limits the rate, and said until when; does not use up an attempt
	PaceWait                 // our own pacing, or a configured limit; does not use up an attempt
	CircuitWait              // until the circuit admits a probe
)

var waitReasons = [...]string{"", "backoff", "retry_after", "rate_limit", "pace", "circuit"}

// String returns the reason's name in output ("rate_limit"); "" for NoWait.
func (w WaitReason) String() string { return nameAt(waitReasons[:], w, "wait") }

// MarshalText returns [WaitReason.String], so that JSON holds the name.
func (w WaitReason) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads a name. The error for an unknown one lists the known names.
func (w *WaitReason) UnmarshalText(text []byte) error {
	i := slices.Index(waitReasons[:], string(text))
	if i < 0 {
		return fmt.Errorf("the reason of a wait must be one of %s, got %.40q", strings.Join(waitReasons[1:], ", "), text)
	}
	*w = WaitReason(i)
	return nil
}

// Reason says why no further attempt was made. The zero value means that the call has
// not ended.
type Reason uint8

// The reasons to stop.
const (
	Exhausted             Reason = iota + 1 // Config.MaxAttempts is used up
	Permanent                               // another attempt would not help
	OutOfTime                               // the deadline has passed, or comes before the end of the next wait
	Cancelled                               // the caller cancelled the context
	CircuitOpen                             // the circuit breaker refused the request
	BudgetSpent                             // this process's budget of retries of the endpoint is spent
	AccountSpent                            // a guard refused the call: what its caller allowed to spend is used up
	WaitTooLong                             // the provider asked for a wait longer than Config.MaxRetryAfter
	RateLimitWaitExceeded                   // the waits would exceed Config.MaxRateLimitWait
)

var reasons = [...]string{
	"", "attempts_exhausted", "not_retryable", "out_of_time", "cancelled", "circuit_open", "retry_budget_spent",
	"account_spent", "retry_after_too_long", "rate_limit_wait_exceeded",
}

// String returns the reason's name ("out_of_time"); "" for the zero value.
func (r Reason) String() string { return nameAt(reasons[:], r, "reason") }

// MarshalText returns [Reason.String], so that JSON holds the name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// nameAt returns the name of a value, or "kind(99)" for one that is not known.
func nameAt[T ~uint8](names []string, v T, kind string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, v)
}

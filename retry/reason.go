package retry

import (
	"fmt"
	"slices"
	"strings"
)

// WaitReason is why a call waits.
type WaitReason uint8

// The reasons of waits.
const (
	NoWait        WaitReason = iota
	BackoffWait              // the delay that grows
	ProviderWait             // the provider asked for it with a failure
	RateLimitWait            // the provider limits the rate, and said until when; uses up no attempt
	PaceWait                 // our own pacing, or a configured limit; uses up no attempt
	CircuitWait              // until the circuit admits a probe
)

var waitReasons = [...]string{"", "backoff", "retry_after", "rate_limit", "pace", "circuit"}

// String returns the reason's name in output ("rate_limit"); "" for NoWait.
func (w WaitReason) String() string { return waitReasons[w] }

// MarshalText makes a WaitReason its name in JSON.
func (w WaitReason) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads a name that MarshalText has made.
func (w *WaitReason) UnmarshalText(text []byte) error {
	i := slices.Index(waitReasons[:], string(text))
	if i < 0 {
		return fmt.Errorf("the reason of a wait must be one of %s, got %.40q", strings.Join(waitReasons[1:], ", "), text)
	}
	*w = WaitReason(i)
	return nil
}

// Reason is why no further attempt was made. Its zero value is that attempts go
// on.
type Reason uint8

// The reasons to stop.
const (
	Exhausted             Reason = iota + 1 // MaxAttempts
	Permanent                               // another attempt would not help
	OutOfTime                               // the deadline has come, or can't hold the next wait
	Cancelled                               // by the caller
	CircuitOpen                             // the breaker refused
	BudgetSpent                             // this process's own budget of retries of the endpoint
	AccountSpent                            // the money, tokens or requests that the caller allowed
	WaitTooLong                             // MaxRetryAfter
	RateLimitWaitExceeded                   // MaxRateLimitWait
)

var reasons = [...]string{
	"", "attempts_exhausted", "not_retryable", "out_of_time", "cancelled", "circuit_open", "retry_budget_spent",
	"account_spent", "retry_after_too_long", "rate_limit_wait_exceeded",
}

// String returns the reason's name ("out_of_time"); "" for the zero value.
func (r Reason) String() string { return reasons[r] }

// MarshalText makes a Reason its name in JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

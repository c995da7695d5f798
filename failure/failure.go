// Package failure is the one taxonomy of what goes wrong with a call to a
// model. Each provider's adapter maps its errors to a Kind; retries, circuit
// breakers and feedback decide from the Kind alone, by a table (Decisions).
package failure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Kind is what went wrong, as far as a decision depends on it.
type Kind uint8

// The kinds. Decisions holds what follows from each.
const (
	Unknown          Kind = iota // not classified: treated like Transient
	Transient                    // reset, refused, EOF; 408, 500, 502, 503, 504
	Overloaded                   // 529, slow_down, queue full
	RateLimited                  // 429: too many requests or tokens for now
	QuotaExhausted               // billing, daily limit, spend cap, 402
	AttemptTimeout               // our own limit for one attempt
	Unauthorized                 // no key, bad key, forbidden
	ModelNotFound                // no such model, or not for this key or region
	InvalidRequest               // malformed, too large: our side's fault
	ContextTooLong               // the conversation does not fit the model
	ContentFiltered              // refused by the model or withheld by the provider
	CutOff                       // the answer ended before its end, or is empty
	InvalidAnswer                // the answer did not pass its checks
	CheckUnavailable             // a check could not be made; nothing is said about the answer
	CircuitOpen                  // a circuit breaker refused the call
	RetryBudgetSpent             // this process makes no more retries of the endpoint for now
	AccountSpent                 // the money, tokens or attempts allowed are used up
	Cancelled                    // by the caller
	DeadlineExceeded             // the caller's
	kinds                        // how many there are
)

var names = [kinds]string{
	"unknown", "transient", "overloaded", "rate_limited", "quota_exhausted", "attempt_timeout", "unauthorized",
	"model_not_found", "invalid_request", "context_too_long", "content_filtered", "cut_off", "invalid_answer",
	"check_unavailable", "circuit_open", "retry_budget_spent", "account_spent", "cancelled", "deadline_exceeded",
}

// String returns the kind's name in configuration and output ("rate_limited").
func (k Kind) String() string {
	if k < kinds {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText makes a Kind its name in JSON and YAML.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name; an unknown one is an error that lists the
// known.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range names {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown failure kind %q: takes one of %s", text, strings.Join(names[:], ", "))
}

// Error is a provider's failure, classified. It unwraps to what the provider's
// SDK or the network returned. Whoever fills it in keeps keys and the caller's
// prompt out of Code, Message, RequestID and the text of Err.
type Error struct {
	Kind      Kind
	Provider  string // "openai"
	Model     string // "openai/gpt-4o-mini"
	Status    int    // HTTP status; 0 where none came
	Code      string // the provider's own code or type ("insufficient_quota")
	Message   string // the provider's words, shortened; never a key
	RequestID string
	// RetryAfter is how long the provider asked to wait, counted from the
	// response. It means something only if Told.
	RetryAfter time.Duration
	Told       bool
	// NoRetry is the provider's word that the same request is not worth another
	// attempt (x-should-retry: false), whatever the kind.
	NoRetry bool
	Err     error // the SDK's or the network's error; may be nil
}

// Error names the model, the kind, and the provider's status, code and words.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Model != "" {
		b.WriteString(e.Model + ": ")
	} else if e.Provider != "" {
		b.WriteString(e.Provider + ": ")
	}
	b.WriteString(e.Kind.String())
	var about []string
	if e.Status != 0 {
		about = append(about, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.Code != "" {
		about = append(about, e.Code)
	}
	if e.Told {
		about = append(about, "come back in "+e.RetryAfter.String())
	}
	if len(about) > 0 {
		b.WriteString(" (" + strings.Join(about, ", ") + ")")
	}
	switch {
	case e.Message != "":
		b.WriteString(": " + e.Message)
	case e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the SDK's or the network's error.
func (e *Error) Unwrap() error { return e.Err }

// FailureKind returns e.Kind; see KindOf.
func (e *Error) FailureKind() Kind { return e.Kind }

// KindOf returns the kind of an error: what the outermost error of its tree
// with a method FailureKind() Kind says (or, for an open circuit, one with a
// method CircuitOpen() bool); else, by type, a cancelled context, a
// context's deadline, a network failure; else Unknown.
//
// A time-out of the network's own (a dial's, http.Client's) also claims to be
// context.DeadlineExceeded. It is Transient: only the context's own error is
// DeadlineExceeded.
func KindOf(err error) Kind {
	if e, ok := err.(*Error); ok { // what an adapter returns: nothing is to be searched
		return e.Kind
	}
	if plain(err) {
		switch err {
		case context.Canceled:
			return Cancelled
		case io.EOF, io.ErrUnexpectedEOF:
			return Transient
		}
		return Unknown
	}
	kind := Unknown
	if find(err, func(e error) bool {
		switch e := e.(type) {
		case kinded:
			kind = e.FailureKind()
		case interface{ CircuitOpen() bool }:
			kind = CircuitOpen
		default:
			return false
		}
		return true
	}) {
		return kind
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Cancelled
	case holds(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case Network(err):
		return Transient
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Unknown
}

// kinded is an error that knows its kind.
type kinded interface{ FailureKind() Kind }

// plain reports whether err is nil or has none of the methods by which errors
// tell more than their text, so that nothing can be found in it. One switch
// costs nanoseconds, where a look for each method in turn would allocate.
func plain(err error) bool {
	switch err.(type) {
	case kinded, interface{ CircuitOpen() bool }, interface{ Is(error) bool },
		interface{ Timeout() bool }, interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return false
	}
	return true
}

// holds reports whether target itself, and not an error that only claims to be
// it, is in err's tree.
func holds(err, target error) bool {
	return find(err, func(e error) bool { return e == target })
}

// find reports whether is holds for any error of err's tree, outermost first.
func find(err error, is func(error) bool) bool {
	if err == nil {
		return false
	}
	if is(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return find(e.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if find(inner, is) {
				return true
			}
		}
	}
	return false
}

// Network reports whether err is a failure of the network under a call that
// may pass: reset, refused, broken, unreachable, closed early, a name that did
// not resolve, a time-out of the network's own.
func Network(err error) bool {
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED,
		syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &timeout) && timeout.Timeout()
}

// RetryAfterOf returns how long the provider asked to wait: what the outermost
// Error of err's tree that was told says.
func RetryAfterOf(err error) (wait time.Duration, told bool) {
	if e, ok := err.(*Error); ok && e.Told {
		return e.RetryAfter, true
	}
	if plain(err) {
		return 0, false
	}
	told = find(err, func(inner error) bool {
		e, ok := inner.(*Error)
		if ok && e.Told {
			wait = e.RetryAfter
		}
		return ok && e.Told
	})
	return wait, told
}

// NoRetryOf reports whether the provider said that another attempt is of no
// use: whether the outermost Error of err's tree says so.
func NoRetryOf(err error) bool {
	if plain(err) {
		return false
	}
	no := false
	find(err, func(inner error) bool {
		e, ok := inner.(*Error)
		no = ok && e.NoRetry
		return ok
	})
	return no
}

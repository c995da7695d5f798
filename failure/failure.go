// Package failure is the one taxonomy of what goes wrong with a call to a
// model. Its terms:
//
// A failure is a call that brought no usable answer. Its [Kind] is what went
// wrong as far as a decision depends on it, the same for every provider: a 429
// of OpenAI's and a RESOURCE_EXHAUSTED of Gemini's are both [RateLimited].
// Package classify finds it in a provider's response; [KindOf] finds it in any
// error.
//
// What follows from a kind is a row of a [Table], a [Decision] of three columns:
//
//   - [Again]: whether the same model is worth another attempt, and when;
//   - [Elsewhere]: whether another model may serve the call, and when;
//   - [Effect]: what the failure says about the provider's health, to the
//     circuit breaker and the other guards before a request.
//
// [Decisions] has the default rows. Nothing else in the library decides by a
// provider, a status or a message.
//
// An [Error] is a failure with what the provider said: when to come back, whether
// to come back at all, its code and its words.
package failure

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Kind is what went wrong, as far as a decision depends on it.
type Kind uint8

// The kinds. [Decisions] has what follows from each.
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
	return fmt.Errorf("a kind of failure must be one of %s, got %q", strings.Join(names[:], ", "), text)
}

// Error is a provider's failure, classified. It unwraps to what the provider's
// SDK or the network returned. A nil *Error is not a failure: the functions of this
// package take it for none. Whoever fills it in keeps keys and the caller's
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
	// Adapted says that the model will ask in another way now, since the provider
	// has refused what it lacks: another attempt is worth it, at once, and the
	// provider is well. It outweighs the row of the kind.
	Adapted bool
	Err     error // the SDK's or the network's error; may be nil
}

// NoAnswer returns the failure of a model that returned neither an answer nor an
// error: it is [Transient], and so worth another attempt.
func NoAnswer(model string) *Error {
	return &Error{Kind: Transient, Model: model, Message: "the model returned neither an answer nor an error"}
}

// Error names the model, the kind, and the provider's status, code and words.
func (e *Error) Error() string {
	if e == nil {
		return "<nil>"
	}
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

// Unwrap returns the SDK's or the network's error; nil if e is.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// FailureKind returns e.Kind; see [KindOf]. That of nil is [Unknown].
func (e *Error) FailureKind() Kind {
	if e == nil {
		return Unknown
	}
	return e.Kind
}

// Answered reports whether a failure of a kind, with an HTTP status, shows that the
// provider works: it answered, though with an error of a status below 500. A refusal
// for the rate or for want of capacity, which may have such a status too, is not an
// answer. A status of 0 means that there was no response.
func Answered(k Kind, status int) bool {
	return status > 0 && status < 500 && k != RateLimited && k != Overloaded
}

// KindOf returns the kind of an error: what the outermost error of its tree with
// a method FailureKind() Kind says (or, for an open circuit, one with a method
// CircuitOpen() bool); else, by type, [Cancelled] for context.Canceled,
// [DeadlineExceeded] for context.DeadlineExceeded, [Transient] for a failure of
// the network; else [Unknown], which is also the kind of nil, and of a nil *Error.
//
// It knows the error alone. Whether the context that ended was the caller's, or
// one of the function's own, is known to who holds the caller's context, and
// decides: ended by a context of the function's own, an attempt has failed.
//
// A time-out of the network's own (a dial's, http.Client's) also claims to be
// context.DeadlineExceeded. It is Transient: only the context's own error is
// DeadlineExceeded.
func KindOf(err error) Kind {
	if e, ok := err.(*Error); ok { // what an adapter returns: nothing is to be searched
		return e.FailureKind()
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
	if Find(err, func(e error) bool {
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
	case is(err, context.Canceled):
		return Cancelled
	case holds(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case Network(err):
		return Transient
	case is(err, context.DeadlineExceeded):
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

// Network reports whether err is a failure of the network under a call that
// may pass: reset, refused, broken, unreachable, closed early, a name that did
// not resolve, a time-out of the network's own.
func Network(err error) bool {
	var timeout net.Error // the outermost
	return Find(err, func(e error) bool {
		if timeout == nil {
			timeout, _ = e.(net.Error)
		}
		return ofNetwork(e)
	}) || timeout != nil && timeout.Timeout()
}

var broken = []error{
	io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED,
	syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
}

// ofNetwork reports whether an error of a tree is, or claims to be, one of the
// network's.
func ofNetwork(e error) bool {
	switch e.(type) {
	case *net.OpError, *net.DNSError:
		return true
	}
	if slices.Contains(broken, e) {
		return true
	}
	if claims, ok := e.(interface{ Is(error) bool }); ok && slices.ContainsFunc(broken, claims.Is) {
		return true
	}
	if claims, ok := e.(interface{ As(any) bool }); ok {
		return claims.As(new(*net.OpError)) || claims.As(new(*net.DNSError))
	}
	return false
}

// RetryAfterOf returns how long the provider asked to wait, counted from its
// response: what the outermost [Error] of err's tree that was Told says. It is
// false if none was.
func RetryAfterOf(err error) (wait time.Duration, told bool) {
	if e, ok := err.(*Error); ok && e != nil && e.Told {
		return e.RetryAfter, true
	}
	if plain(err) {
		return 0, false
	}
	told = Find(err, func(inner error) bool {
		e, ok := inner.(*Error)
		if ok && e.Told {
			wait = e.RetryAfter
		}
		return ok && e.Told
	})
	return wait, told
}

// NoRetryOf reports whether the provider said that another attempt is of no
// use: whether the outermost [Error] of err's tree says so. What is below that one
// does not count.
func NoRetryOf(err error) bool {
	if plain(err) {
		return false
	}
	no := false
	Find(err, func(inner error) bool {
		e, ok := inner.(*Error)
		no = ok && e.NoRetry
		return ok
	})
	return no
}

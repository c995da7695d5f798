// Package failure classifies what goes wrong with a call to a model, and says what
// follows from it.
//
// A failure is a call that returned no usable answer. Its [Kind] says what went
// wrong in the terms that decisions depend on, which are the same for every
// provider: OpenAI's status 429 and Gemini's RESOURCE_EXHAUSTED are both
// [RateLimited]. Package [llmcall/classify] finds the kind of a provider's
// response; [KindOf] finds that of any error.
//
// A [Table] has a row for each kind, a [Decision] with three columns:
//
//   - [Again]: whether the same model is worth another attempt, and when;
//   - [Elsewhere]: whether another model may serve the call, and when;
//   - Breaker, an [Effect]: what the failure says about the provider's health, to
//     the circuit breaker and the other guards before a request.
//
// [Decisions] returns the default rows. What a provider itself says of a failure goes
// before its row: when to come back, and that another attempt would not help.
//
// An [Error] is a failure together with what the provider said: its code and
// message, whether to try again, and when.
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

// Kind says what went wrong, in the terms that decisions depend on. The zero value is
// [Unknown].
type Kind uint8

// The kinds. [Decisions] says what follows from each. The numbers are HTTP statuses.
const (
	Unknown          Kind = iota // not classified: treated like Transient
	Transient                    // a fault that may pass: connection reset or refused, EOF, 408, 500, 502, 503, 504
	Overloaded                   // the provider is short of capacity: 529, slow_down, queue full
	RateLimited                  // too many requests or tokens for now: 429
	QuotaExhausted               // a matter of money or of a long quota: 402, daily limit, spend cap
	AttemptTimeout               // the attempt took longer than the limit set for it
	Unauthorized                 // no key, a bad key, one without the permission, or a region that is not served at all
	ModelNotFound                // no such model, not for this key or region, or nothing at the address
	InvalidRequest               // malformed or too large: the caller's fault
	ContextTooLong               // the conversation does not fit the model's context window
	ContentFiltered              // refused by the model, or withheld by the provider
	CutOff                       // the answer is incomplete or empty
	InvalidAnswer                // the answer did not pass its checks
	CheckUnavailable             // a check could not be run, so nothing is known about the answer
	CircuitOpen                  // a circuit breaker refused the call
	RetryBudgetSpent             // this process allows itself no more retries of the endpoint for now
	AccountSpent                 // a guard refused the call: what its caller allowed to spend is used up
	Cancelled                    // the caller cancelled its context
	DeadlineExceeded             // the caller's deadline passed
	kinds                        // how many there are
)

var names = [kinds]string{
	"unknown", "transient", "overloaded", "rate_limited", "quota_exhausted", "attempt_timeout", "unauthorized",
	"model_not_found", "invalid_request", "context_too_long", "content_filtered", "cut_off", "invalid_answer",
	"check_unavailable", "circuit_open", "retry_budget_spent", "account_spent", "cancelled", "deadline_exceeded",
}

// String returns the name used in configuration and output, such as
// "rate_limited".
func (k Kind) String() string {
	if k < kinds {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText returns [Kind.String], so that JSON and YAML hold the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name. The error for an unknown one lists the known names.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range names {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("a kind of failure must be one of %s, got %q", strings.Join(names[:], ", "), text)
}

// Error is a classified failure of a provider. It unwraps to the error of the
// provider's SDK or of the network. The functions of this package treat a nil *Error
// like a nil error. Code, Message, RequestID and the text of Err must not hold keys
// or the caller's prompt: they are logged.
type Error struct {
	Kind      Kind
	Provider  string // "openai"
	Model     string // "openai/gpt-6-luna"
	Status    int    // HTTP status; 0 without a response
	Code      string // the provider's own code or type: "insufficient_quota"
	Message   string // the provider's message, shortened
	RequestID string // the provider's, for its support
	// RetryAfter is how long the provider asked to wait, counted from the
	// response. It is valid only if Told is set; 0 is a wait like any other.
	RetryAfter time.Duration
	Told       bool
	// NoRetry says that the provider asked not to send the same request again
	// (X-Should-Retry: false), whatever the kind.
	NoRetry bool
	// Written is what the model wrote, where the provider refused it and not the
	// request (Kind is [InvalidAnswer], or [CutOff] at the token limit): the model can
	// be told what was wrong.
	Written string
	Err     error // the error of the SDK or the network; may be nil
}

// NoAnswer returns the failure of a model that returned neither an answer nor an
// error. It is [Transient], so that another attempt is made.
func NoAnswer(model string) *Error {
	return &Error{Kind: Transient, Model: model, Message: "the model returned neither an answer nor an error"}
}

// Error names the model, the kind, and the provider's status, code and message.
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

// Unwrap returns e.Err, or nil if e is nil.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// FailureKind returns e.Kind, for [KindOf]; [Unknown] if e is nil.
func (e *Error) FailureKind() Kind {
	if e == nil {
		return Unknown
	}
	return e.Kind
}

// Answered reports whether a failure with kind k and an HTTP status shows that the
// provider works, because it responded with an error below 500. [RateLimited] and
// [Overloaded] show no such thing, whatever their status. Status 0 means that there
// was no response.
func Answered(k Kind, status int) bool {
	return status > 0 && status < 500 && k != RateLimited && k != Overloaded
}

// KindOf returns the kind of an error, by the first of these rules that applies to
// an error in its tree:
//
//   - the outermost error with a method FailureKind() Kind has the kind that this
//     returns; one with a method CircuitOpen() bool is [CircuitOpen];
//   - [context.Canceled] is [Cancelled], [context.DeadlineExceeded] is
//     [DeadlineExceeded];
//   - a failure of the network ([Network]) is [Transient];
//   - anything else is [Unknown], and so are nil and a nil *[Error].
//
// KindOf sees the error alone. It can't know whether the context that ended was the
// caller's or one that the failed function made for itself; in the latter case the
// attempt has failed, and only code that has the caller's context can tell.
//
// A timeout of the network (of a dial, or of [net/http.Client]) matches
// context.DeadlineExceeded by [errors.Is]. It is Transient all the same.
func KindOf(err error) Kind {
	if e, ok := err.(*Error); ok { // what an adapter returns: no search is needed
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

// kinded is an error that knows its own kind.
type kinded interface{ FailureKind() Kind }

// plain reports whether err is nil or has none of the methods by which errors say
// more than their text, so that a search would find nothing. One type switch costs
// nanoseconds; a search for each method in turn would allocate.
func plain(err error) bool {
	switch err.(type) {
	case kinded, interface{ CircuitOpen() bool }, interface{ Is(error) bool },
		interface{ Timeout() bool }, interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return false
	}
	return true
}

// Network reports whether err is a failure of the network that may pass: a
// connection that was refused, reset or closed early, a host that is unreachable or
// did not resolve, or a timeout of the network's own. [context.DeadlineExceeded] looks
// like such a timeout, and matches too; [KindOf] looks for it first.
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

// ofNetwork reports whether e itself, not what it wraps, is or claims to be an error
// of the network.
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
// response: RetryAfter of the outermost [Error] in err's tree with Told set. told is
// false if there is none.
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

// NoRetryOf reports whether the provider asked for no further attempt: NoRetry of the
// outermost [Error] in err's tree. An Error below that one does not count.
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

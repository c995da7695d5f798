package failure

import (
	"fmt"
	"slices"
	"strings"
)

// Again says whether a failed call is worth another attempt at the same model, and
// when. The zero value is [Never].
type Again uint8

// The values of [Again].
const (
	Never      Again = iota // no further attempt
	Backoff                 // after a delay that grows with each attempt
	WhenTold                // when the provider says (Retry-After); like Backoff if it does not say
	Slower                  // like Backoff, one step ahead: the provider is short of capacity
	AtOnce                  // without a delay: the provider is healthy, only the answer was wrong
	OnceLarger              // without a delay and once only, with a larger token limit
)

var agains = [...]string{"never", "backoff", "when_told", "slower", "at_once", "once_larger"}

// String returns the name used in configuration and output, such as "when_told".
func (a Again) String() string { return nameAt(agains[:], a) }

// MarshalText returns [Again.String], so that JSON and YAML hold the name.
func (a Again) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name. The error for an unknown one lists the known names.
func (a *Again) UnmarshalText(text []byte) error { return readName(agains[:], a, "again", text) }

// Elsewhere says whether another model may serve the call instead of the one that
// failed, and when. The zero value is [ElsewhereNever].
type Elsewhere uint8

// The values of [Elsewhere].
const (
	ElsewhereNever        Elsewhere = iota // another model would not help
	ElsewhereNow                           // at once: this model can't serve the call, or not soon enough
	ElsewhereAfterRetries                  // after retry.Config.AttemptsPerTarget failed attempts at this model, or when it is not retried
)

var elsewheres = [...]string{"never", "now", "after_retries"}

// String returns the name used in configuration and output, such as
// "after_retries".
func (e Elsewhere) String() string { return nameAt(elsewheres[:], e) }

// MarshalText returns [Elsewhere.String], so that JSON and YAML hold the name.
func (e Elsewhere) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name. The error for an unknown one lists the known names.
func (e *Elsewhere) UnmarshalText(text []byte) error {
	return readName(elsewheres[:], e, "elsewhere", text)
}

// Effect is what a failure says about the provider's health, to the circuit breaker
// and the pacer. The zero value is [Ignore].
type Effect uint8

// The values of [Effect].
const (
	Ignore            Effect = iota // nothing: the breaker counts neither a success nor a failure
	Healthy                         // the provider did its work: a success
	HealthyIfAnswered               // Healthy if the provider responded, see [Answered]; otherwise Ignore
	Count                           // a failure in the breaker's window
	Trip                            // a failure that opens the circuit at once
	Limit                           // nothing, but the pacer slows down, and waits as long as the provider asked
)

var effects = [...]string{"ignore", "healthy", "healthy_if_answered", "count", "trip", "limit"}

// String returns the name used in configuration and output, such as "trip".
func (e Effect) String() string { return nameAt(effects[:], e) }

// MarshalText returns [Effect.String], so that JSON and YAML hold the name.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name. The error for an unknown one lists the known names.
func (e *Effect) UnmarshalText(text []byte) error { return readName(effects[:], e, "breaker", text) }

func nameAt[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown(%d)", uint8(v))
}

func readName[T ~uint8](names []string, v *T, what string, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("%s must be one of %s, got %q", what, strings.Join(names, ", "), text)
	}
	*v = T(i)
	return nil
}

// Decision is a row of a [Table]: what follows from a [Kind]. The zero value ends
// the call without trying another model, and says nothing about the provider's
// health. Literals should name the fields, since columns may be added.
type Decision struct {
	Again     Again     `json:"again"`
	Elsewhere Elsewhere `json:"elsewhere"`
	Breaker   Effect    `json:"breaker"`
}

// Table says what follows from each [Kind]. It is a value: to change a row, call
// [Decisions], change the copy with [Table.Set], and pass it to the retry policy
// (retry.Config.Decisions). The zero value retries nothing.
type Table [kinds]Decision

// Decisions returns the default table.
//
// [RateLimited] has the effect [Limit]: a provider that enforces a limit is not
// ill, and what it told one caller holds for all. [InvalidRequest], [ContextTooLong] and
// [ModelNotFound] are [HealthyIfAnswered]: a provider that refuses a bad request works,
// while a request that was refused before it was sent says nothing. An answer that was
// filtered, cut off or invalid is [Healthy].
func Decisions() Table {
	return Table{
		Unknown:          {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Transient:        {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Overloaded:       {Again: Slower, Elsewhere: ElsewhereNow, Breaker: Count},
		RateLimited:      {Again: WhenTold, Elsewhere: ElsewhereNow, Breaker: Limit},
		QuotaExhausted:   {Again: Never, Elsewhere: ElsewhereNow, Breaker: Trip},
		AttemptTimeout:   {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Unauthorized:     {Again: Never, Elsewhere: ElsewhereNow, Breaker: Trip},
		ModelNotFound:    {Again: Never, Elsewhere: ElsewhereNow, Breaker: HealthyIfAnswered},
		InvalidRequest:   {Again: Never, Elsewhere: ElsewhereNever, Breaker: HealthyIfAnswered},
		ContextTooLong:   {Again: Never, Elsewhere: ElsewhereNow, Breaker: HealthyIfAnswered},
		ContentFiltered:  {Again: Never, Elsewhere: ElsewhereNever, Breaker: Healthy},
		CutOff:           {Again: OnceLarger, Elsewhere: ElsewhereNever, Breaker: Healthy},
		InvalidAnswer:    {Again: AtOnce, Elsewhere: ElsewhereNever, Breaker: Healthy},
		CheckUnavailable: {Again: Never, Elsewhere: ElsewhereNever, Breaker: Ignore},
		CircuitOpen:      {Again: Never, Elsewhere: ElsewhereNow, Breaker: Ignore},
		RetryBudgetSpent: {Again: Never, Elsewhere: ElsewhereNow, Breaker: Ignore},
		AccountSpent:     {Again: Never, Elsewhere: ElsewhereNever, Breaker: Ignore},
		Cancelled:        {Again: Never, Elsewhere: ElsewhereNever, Breaker: Ignore},
		DeadlineExceeded: {Again: Never, Elsewhere: ElsewhereNever, Breaker: Ignore},
	}
}

// For returns the row of kind k, or that of [Unknown] if k is not one of the
// constants.
func (t *Table) For(k Kind) Decision {
	if k < kinds {
		return t[k]
	}
	return t[Unknown]
}

// Set replaces the row of kind k. It does nothing if k is not one of the constants.
func (t *Table) Set(k Kind, d Decision) {
	if k < kinds {
		t[k] = d
	}
}

package failure

import (
	"fmt"
	"slices"
	"strings"
)

// Again says whether the same model is worth another attempt.
type Again uint8

const (
	Never      Again = iota
	Backoff          // after a delay that grows
	WhenTold         // when the provider says; without its word, like Backoff
	Slower           // like Backoff, one step further on: the provider is short of capacity
	AtOnce           // the provider is well, the answer was wrong
	OnceLarger       // once more, with a larger token limit
)

var agains = [...]string{"never", "backoff", "when_told", "slower", "at_once", "once_larger"}

// String returns the name in configuration and output ("when_told").
func (a Again) String() string { return nameAt(agains[:], a) }

// MarshalText makes an Again its name in JSON and YAML.
func (a Again) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name; an unknown one is an error that lists the known.
func (a *Again) UnmarshalText(text []byte) error { return readName(agains[:], a, "again", text) }

// Elsewhere says when another model may serve the call instead of the one that
// failed.
type Elsewhere uint8

const (
	ElsewhereNever        Elsewhere = iota // another model would not help
	ElsewhereNow                           // at once: this one can't serve, or makes the call wait for too long
	ElsewhereAfterRetries                  // after retry.Config.AttemptsPerTarget failed attempts at this model, or when it is not retried
)

var elsewheres = [...]string{"never", "now", "after_retries"}

// String returns the name in configuration and output ("after_retries").
func (e Elsewhere) String() string { return nameAt(elsewheres[:], e) }

// MarshalText makes an Elsewhere its name in JSON and YAML.
func (e Elsewhere) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name; an unknown one is an error that lists the known.
func (e *Elsewhere) UnmarshalText(text []byte) error {
	return readName(elsewheres[:], e, "elsewhere", text)
}

// Effect is what a failure means to the circuit breaker.
type Effect uint8

const (
	Ignore  Effect = iota // says nothing about the provider's health
	Healthy               // the provider did its work: a success
	Count                 // a failure in the window
	Trip                  // opens the circuit at once
	Limit                 // says nothing of its health; the endpoint is called more slowly, and not before a time that it told
)

var effects = [...]string{"ignore", "healthy", "count", "trip", "limit"}

// String returns the name in configuration and output ("trip").
func (e Effect) String() string { return nameAt(effects[:], e) }

// MarshalText makes an Effect its name in JSON and YAML.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name; an unknown one is an error that lists the known.
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

// Decision is a row of a [Table]: what follows from a kind. Write it with the
// names of its fields. The zero value ends the call, goes to no other model, and
// says nothing of the provider.
type Decision struct {
	Again     Again     `json:"again"`
	Elsewhere Elsewhere `json:"elsewhere"`
	Breaker   Effect    `json:"breaker"`
}

// Table says what follows from each [Kind]. It is a value: who wants another row
// calls [Decisions], changes the copy with [Table.Set], and gives it to the retry
// policy. The zero value retries nothing: start from Decisions.
type Table [kinds]Decision

// Decisions returns the default table.
//
// [RateLimited] is [Limit]: a limit that the provider enforces on us is not a sign
// of a fault, and what one caller was told holds for all. [InvalidRequest] and
// its like are [Ignore]: a bad request says nothing about how the provider
// serves good ones. An answer that was refused, cut off or invalid is [Healthy]:
// the provider did its work.
func Decisions() Table {
	return Table{
		Unknown:          {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Transient:        {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Overloaded:       {Again: Slower, Elsewhere: ElsewhereNow, Breaker: Count},
		RateLimited:      {Again: WhenTold, Elsewhere: ElsewhereNow, Breaker: Limit},
		QuotaExhausted:   {Again: Never, Elsewhere: ElsewhereNow, Breaker: Trip},
		AttemptTimeout:   {Again: Backoff, Elsewhere: ElsewhereAfterRetries, Breaker: Count},
		Unauthorized:     {Again: Never, Elsewhere: ElsewhereNow, Breaker: Trip},
		ModelNotFound:    {Again: Never, Elsewhere: ElsewhereNow, Breaker: Ignore},
		InvalidRequest:   {Again: Never, Elsewhere: ElsewhereNever, Breaker: Ignore},
		ContextTooLong:   {Again: Never, Elsewhere: ElsewhereNow, Breaker: Ignore},
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

// For returns the row of kind k.
func (t *Table) For(k Kind) Decision {
	if k < kinds {
		return t[k]
	}
	return t[Unknown]
}

// Set replaces the row of kind k; an unknown kind is left alone.
func (t *Table) Set(k Kind, d Decision) {
	if k < kinds {
		t[k] = d
	}
}

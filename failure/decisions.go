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

// Effect is what a failure means to the circuit breaker.
type Effect uint8

const (
	Ignore  Effect = iota // says nothing about the provider's health
	Healthy               // the provider did its work: a success
	Count                 // a failure in the window
	Trip                  // opens the circuit at once
	Gate                  // says nothing of its health; nobody calls it before the time that it told
)

var effects = [...]string{"ignore", "healthy", "count", "trip", "gate"}

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
		return fmt.Errorf("%s is %q: takes one of %s", what, text, strings.Join(names, ", "))
	}
	*v = T(i)
	return nil
}

// Decision is a row of the table: what follows from a kind.
type Decision struct {
	Again   Again  `json:"again"`
	Breaker Effect `json:"breaker"`
}

// Table says what follows from each kind. It is a value: a user who wants
// another row copies it, changes the copy, and gives it to the retry policy.
type Table [kinds]Decision

// Decisions returns the default table.
//
// RateLimited is Gate: a limit that the provider enforces on us is no sign that
// it is ill, and what one caller was told holds for all. InvalidRequest and the like are Ignore too: a
// bad request says nothing of how the provider serves good ones. An answer that
// was refused, cut off or invalid is Healthy: the provider did its work.
func Decisions() Table {
	return Table{
		Unknown:          {Backoff, Count},
		Transient:        {Backoff, Count},
		Overloaded:       {Slower, Count},
		RateLimited:      {WhenTold, Gate},
		QuotaExhausted:   {Never, Trip},
		AttemptTimeout:   {Backoff, Count},
		Unauthorized:     {Never, Trip},
		ModelNotFound:    {Never, Ignore},
		InvalidRequest:   {Never, Ignore},
		ContextTooLong:   {Never, Ignore},
		ContentFiltered:  {Never, Healthy},
		CutOff:           {OnceLarger, Healthy},
		InvalidAnswer:    {AtOnce, Healthy},
		CheckUnavailable: {Never, Ignore},
		CircuitOpen:      {Never, Ignore},
		Cancelled:        {Never, Ignore},
		DeadlineExceeded: {Never, Ignore},
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

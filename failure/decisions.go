package failure

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

// Effect is what a failure means to the circuit breaker.
type Effect uint8

const (
	Ignore  Effect = iota // says nothing about the provider's health
	Healthy               // the provider did its work: a success
	Count                 // a failure in the window
	Trip                  // opens the circuit at once
)

// Decision is a row of the table: what follows from a kind.
type Decision struct {
	Again   Again
	Breaker Effect
}

// Table says what follows from each kind. It is a value: a user who wants
// another row copies it, changes the copy, and gives it to the retry policy.
type Table [kinds]Decision

// Decisions returns the default table.
//
// RateLimited is Ignore to the breaker: a limit that the provider enforces on
// us is no sign that it is ill. InvalidRequest and the like are Ignore too: a
// bad request says nothing of how the provider serves good ones. An answer that
// was refused, cut off or invalid is Healthy: the provider did its work.
func Decisions() Table {
	return Table{
		Unknown:          {Backoff, Count},
		Transient:        {Backoff, Count},
		Overloaded:       {Slower, Count},
		RateLimited:      {WhenTold, Ignore},
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

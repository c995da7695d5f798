package endpoint

import (
	"context"
	"time"

	"llmcall/failure"
	"llmcall/pace"
)

// Guard is asked before each request to an endpoint: it lends a [Permit] for the
// request, or refuses it. A circuit breaker, a pacer, a retry budget and an
// account of money are guards. It is safe for concurrent use, and each Permit is
// settled exactly once. No method is optional: a wrapper embeds the Guard that it
// wraps, and would hide an optional one.
type Guard interface {
	// Admit lends a permit, or says why not and until when. It does not wait.
	Admit(Ask) (Permit, *Refusal)
	// Wait is Admit that waits. Meanwhile it holds nothing but its place in the
	// guard's own queue, and gives that back when ctx ends: the Refusal's Err is
	// then ctx's error. It returns a Refusal as soon as its turn can't come
	// before ctx's deadline. It is called after a Refusal that has an Until.
	Wait(context.Context, Ask) (Permit, *Refusal)
	// Accept says that an answer has begun to come: a probe has passed, and its
	// place is free. What Settle says later counts by itself. told may be nil.
	// A second call says that the answer is whole, and that only its checks are
	// waited for: what limits concurrency is free too.
	Accept(Permit, *pace.Told) Permit
	// Settle says how the request ended. The zero Outcome says that it was not
	// made: what was lent goes back.
	Settle(Permit, Outcome)
}

// Permit is what a [Guard] lends for one request. Both fields belong to the guard
// that lent it: its Accept and Settle get back what its Admit or Wait put there,
// and nobody else reads them. The zero value is that of a guard that has nothing
// to note; it is settled like any other.
type Permit struct {
	// N is a number that the guard needs again: an account, for example, puts the
	// nano-dollars there that it has set aside. It needs no allocation.
	N int64
	// Ref is for what does not fit into N, such as a circuit's probe.
	Ref any
}

// Ask is what a guard is told of a request before the request is made. The zero
// value is the first request of a new call.
type Ask struct {
	// Retry says that the request repeats one that the provider failed. The
	// [Budget] bounds such requests.
	Retry bool
	// Again says that the request goes on with something that has begun: a later
	// attempt, a tool's round, a judge. It goes before new calls.
	Again bool
	// Client tells the clients of one process apart, which take turns. "" is
	// one of them.
	Client string
	// Want is what it may use, as far as its caller can tell. nil: not known.
	Want *Amount
}

// Amount is tokens and money. As a limit, 0 is none.
type Amount struct {
	Tokens int64
	Nanos  int64 // nano-dollars
}

// Refusal is why a guard does not lend a permit.
type Refusal struct {
	// Kind decides what follows, by its row of the call's [failure.Table]:
	// CircuitOpen, RateLimited, RetryBudgetSpent or AccountSpent.
	Kind failure.Kind
	// Until is when to ask again, as far as is known; zero: waiting does not
	// help.
	Until time.Time
	Err   error // *breaker.OpenError, *pace.Error, *BudgetError, …
}

// Outcome is how a request ended. The zero value says that it was not made.
type Outcome struct {
	// Effect is what the request means for the provider's health. Package retry
	// decides it: [failure.Healthy] for an answer; for a failure the field Breaker
	// of the kind's row in the call's [failure.Table], unless the call knows more
	// of the attempt. A guard does not judge again.
	Effect failure.Effect
	// Kind is the kind of Err.
	Kind failure.Kind
	// Err is the failure. nil with Healthy: an answer. nil with Ignore: the
	// request was not made.
	Err error
	// Report is what else is known of the request; nil: nothing.
	Report *Report
}

// Report is what is known of a request besides how it ended.
type Report struct {
	Told *pace.Told // what the provider said of its limits; nil: nothing
	// Lasted is how long a request took that failed. 0: not known.
	Lasted time.Duration
	Used   Amount
}

func (o *Outcome) report() Report {
	if o.Report == nil {
		return Report{}
	}
	return *o.Report
}

// Made reports whether the request was made.
func (o Outcome) Made() bool { return o.Effect != failure.Ignore || o.Err != nil }

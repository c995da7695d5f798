package endpoint

import (
	"context"
	"errors"
	"net"
	"time"

	"llmcall/failure"
	"llmcall/pace"
)

// Guard is asked before each request to an endpoint: it lends a [Permit] for the
// request, or refuses it. A circuit breaker, a pacer, a retry budget and an account of
// money are guards. A Guard is safe for concurrent use. Whoever gets a Permit must
// settle it exactly once. No method is optional, since a wrapper that embeds a Guard
// would hide optional ones.
type Guard interface {
	// Admit lends a permit, or refuses the request. It does not wait.
	Admit(Ask) (Permit, *Refusal)
	// Wait is Admit that waits. It holds nothing while it waits, except a place in
	// the guard's own queue. If ctx ends, Wait returns a Refusal whose Err is ctx's
	// error. It returns a Refusal as soon as the request can't be admitted before
	// ctx's deadline. It may be called after a Refusal whose Until is set.
	Wait(context.Context, Ask) (Permit, *Refusal)
	// Accept reports that an answer has begun to arrive: a circuit's probe has
	// succeeded then. It returns the permit to settle; what Settle reports later
	// counts by itself. The second argument is what the provider said about its
	// limits, or nil. A second call reports that the answer is complete and only
	// its checks are left: the request is no longer in flight.
	Accept(Permit, *pace.Told) Permit
	// Settle reports how the request ended. The zero Outcome means that the request
	// was not made, so that its permit costs nothing.
	Settle(Permit, Outcome)
}

// Permit is what a [Guard] lends for one request. Both fields belong to that guard: its
// Accept and Settle get what its Admit or Wait put there, and nobody else reads them.
// A guard that needs neither lends the zero value, which is settled like any other.
type Permit struct {
	// N is for a number, without an allocation: an account, for example, stores the
	// nano-dollars that it has reserved.
	N int64
	// Ref is for what does not fit into N, such as a circuit's probe.
	Ref any
}

// Ask describes a request to a [Guard] before it is made. The zero value is the first
// request of a new call.
type Ask struct {
	// Retry says that the request repeats one that failed. The [Budget] bounds such
	// requests.
	Retry bool
	// Again says that the request continues something that has begun: a later
	// attempt, a round of tool calls, a judge. The pacer prefers it to new calls.
	Again bool
	// Client names the client, for the pacer: the clients of a process take turns.
	// "" is a client like any other.
	Client string
	// Need is what the request may use. nil: not known. It is not written to.
	Need *Need
	// End is when the call's time is over. The pacer gives no turn that leaves too little
	// of it for an answer. Zero: at no known time. Only [Guard].Wait reads it.
	End time.Time
}

// Need says what a request may use. The zero value says that nothing is known. It is one
// pointer in an [Ask], so that asking a guard costs those nothing who have no account.
type Need struct {
	// Tokens is an estimate of how many tokens the request will use, for the pacer; see
	// [Wanted]. 0: not known.
	Tokens int64
	// Want is what the request may use at most, for accounts, which reserve it. nil: not
	// known, so that an account with a limit refuses the request.
	Want *Amount
	// Least is the least of Want with which the request is worth making: an account that
	// has less left than Want may lend less, but not below Least. nil: all of Want.
	Least *Amount
}

// Amount is an amount of tokens and of money. In a limit, 0 means no limit.
type Amount struct {
	Tokens int64
	Nanos  int64 // nano-dollars: 1e-9 US dollars
}

// Refusal says why a [Guard] does not admit a request.
type Refusal struct {
	// Kind decides what follows, by its row in the call's [failure.Table]. It is
	// [failure.CircuitOpen], [failure.RateLimited], [failure.RetryBudgetSpent] or
	// [failure.AccountSpent].
	Kind failure.Kind
	// Until is the earliest time at which the request may be admitted. Zero: not
	// known, or waiting does not help.
	Until time.Time
	Err   error // a *[breaker.OpenError], *[pace.Error], *[BudgetError] or the like
}

// Outcome says how a request ended. The zero value means that it was not made.
type Outcome struct {
	// Effect is what the request says about the provider's health. Package retry
	// decides it: [failure.Healthy] for an answer; for a failure the Breaker column
	// of the call's [failure.Table], unless it knows more about the attempt. Guards
	// take it as it is.
	Effect failure.Effect
	// Kind is the kind of Err.
	Kind failure.Kind
	// Err is the failure. It is nil for an answer (Effect is Healthy), and for a
	// request that was not made (Effect is Ignore).
	Err error
	// Report is what else is known about the request. nil: nothing.
	Report *Report
}

// Report is what is known about a request besides how it ended. The zero value of each
// field means that it is not known.
type Report struct {
	Told   *pace.Told    // what the provider said about its limits
	Lasted time.Duration // how long a failed request took
	Used   Amount        // what the request used
	// Unbilled says that the provider answered and nothing is to be paid: it refused a
	// setting of the request, for example. Without it, an answer whose Used is not known
	// costs an account all that was reserved for it.
	Unbilled bool
}

// report returns what is known of the request, never nil. It must not be written to.
func (o *Outcome) report() *Report {
	if o.Report == nil {
		return &nothingKnown
	}
	return o.Report
}

var nothingKnown Report

// Made reports whether the request was made.
func (o Outcome) Made() bool { return o.Effect != failure.Ignore || o.Err != nil }

// MayBill reports whether a provider may bill a request that ended with Err and Kind, if
// nothing is known of what it used: it has not refused the request, and was reached. It
// may bill an answer that broke off or could not be read, and one that was not waited for.
func (o Outcome) MayBill() bool {
	f, ok := errors.AsType[*failure.Error](o.Err)
	if ok && f.Status > 0 {
		return f.Status < 300
	}
	switch o.Kind {
	case failure.Cancelled, failure.AttemptTimeout, failure.DeadlineExceeded:
	case failure.Transient, failure.Unknown:
		if o.Err == nil || ok && f.Err == nil { // the provider has said what is wrong
			return false
		}
	default:
		return false
	}
	op, ok := errors.AsType[*net.OpError](o.Err)
	return !ok || op.Op != "dial"
}

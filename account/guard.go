package account

import (
	"context"
	"sync"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// Guard makes the requests of one call pass an [Account]: it is one of the guards that
// are given to the call ([llmcall/retry.Call.Begin]). Before each request it reserves
// [endpoint.Need.Want], or what is left if that is at least [endpoint.Need.Least]; a
// request of which neither is known is refused if the account, or one above it, has a
// limit. When the request ends:
//
//   - if it was not made, its reservation is released;
//   - otherwise [endpoint.Report.Used] is spent. If the tokens or the money in it are 0,
//     they are not known: then all that was reserved of them is spent, unless the provider
//     has refused the request, could not be reached, or its answer is
//     [endpoint.Report.Unbilled].
//
// So a provider that reports no usage, a stream that its caller left, an answer that was
// not waited for, and a connection that broke are not free: the provider may bill them.
// It does not bill refusals.
type Guard struct {
	account *Account

	mu    sync.Mutex
	loans []loan // by the permit's number, less one
	first [2]loan
	last  int // the number of the request that was admitted last
}

// loan is the reservation of one request.
type loan struct {
	lent  endpoint.Amount
	held  bool
	begun bool // a piece of an answer has come
}

var _ endpoint.Guard = (*Guard)(nil)

// Guard returns a guard for the requests of one call, one hedge or one judge.
func (a *Account) Guard() *Guard {
	g := &Guard{account: a}
	g.loans = g.first[:0]
	return g
}

// Lent returns what is reserved for the request that was admitted last: with less than
// its [endpoint.Need.Want], its limit of output tokens has to be lowered
// ([Estimate.Affords]). It is zero if that request has been settled.
func (g *Guard) Lent() endpoint.Amount {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == 0 || !g.loans[g.last-1].held {
		return endpoint.Amount{}
	}
	return g.loans[g.last-1].lent
}

// Admit reserves what the request may use. It waits for nothing but the [Journal] and the
// [Lender] of an account.
func (g *Guard) Admit(ask endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	var want, least endpoint.Amount
	switch {
	case ask.Need != nil && ask.Need.Want != nil:
		want, least = *ask.Need.Want, *ask.Need.Want
		if ask.Need.Least != nil {
			least = *ask.Need.Least
		}
	case g.account.Limited():
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.AccountSpent, Err: &Error{Account: g.account.limitedName(), Unknown: true}}
	}
	lent, err := g.account.Reserve(want, least)
	if err != nil {
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.AccountSpent, Err: err}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	number := g.free()
	g.loans[number-1] = loan{lent: lent, held: true}
	g.last = number
	return endpoint.Permit{N: int64(number)}, nil
}

// free returns the number of a loan that nobody holds. The caller holds the lock.
func (g *Guard) free() int {
	for i := range g.loans {
		if !g.loans[i].held {
			return i + 1
		}
	}
	g.loans = append(g.loans, loan{})
	return len(g.loans)
}

// Wait is [Guard.Admit]: waiting brings nothing back that can be relied on.
func (g *Guard) Wait(ctx context.Context, ask endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if err := ctx.Err(); err != nil {
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.AccountSpent, Err: err}
	}
	return g.Admit(ask)
}

// Accept notes that a piece of an answer has come.
func (g *Guard) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loans[p.N-1].begun = true
	return p
}

// Settle spends what the request has used, or releases what was reserved for it.
func (g *Guard) Settle(p endpoint.Permit, o endpoint.Outcome) {
	g.mu.Lock()
	l := g.loans[p.N-1]
	g.loans[p.N-1] = loan{}
	g.mu.Unlock()
	if !l.held {
		return
	}
	g.account.Settle(l.lent, l.used(o))
}

// used returns what a request has used, as far as it is known, and otherwise no less.
func (l *loan) used(o endpoint.Outcome) endpoint.Amount {
	var r endpoint.Report
	if o.Report != nil {
		r = *o.Report
	}
	if !o.Made() || r.Unbilled {
		return r.Used
	}
	if r.Used.Tokens <= 0 && r.Used.Nanos <= 0 && o.Err != nil && !l.begun && !o.MayBill() {
		return r.Used
	}
	if r.Used.Tokens <= 0 {
		r.Used.Tokens = l.lent.Tokens
	}
	if r.Used.Nanos <= 0 {
		r.Used.Nanos = l.lent.Nanos
	}
	return r.Used
}

// limitedName returns the name of the nearest account that has a limit.
func (a *Account) limitedName() string {
	for _, link := range a.chain {
		if link.limits() != (endpoint.Amount{}) {
			return link.Name
		}
	}
	return ""
}

package endpoint

import (
	"context"
	"errors"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/pace"
)

// paceGuard is the pacer of an endpoint as a [Guard]. Where a caller has switched
// pacing off it still hears of answers, which others ask for, and still refuses
// while the endpoint is forced open.
type paceGuard struct {
	e   *Endpoint
	off bool
}

func (g paceGuard) Admit(a Ask) (Permit, *Refusal) {
	if force(g.e.forced.Load()) == forcedOpen {
		return Permit{}, g.e.forcedRefusal()
	}
	if g.off {
		return Permit{}, nil
	}
	turn, until := g.e.pacer.Try(cost(a))
	if until.IsZero() {
		return lend(turn), nil
	}
	return Permit{}, &Refusal{Kind: failure.RateLimited, Until: until, Err: g.e.pacer.Refusal(until)}
}

func (g paceGuard) Wait(ctx context.Context, a Ask) (Permit, *Refusal) {
	if g.off {
		return g.Admit(a)
	}
	turn, err := g.e.pacer.Wait(ctx, cost(a))
	if err == nil {
		return lend(turn), nil
	}
	refusal := &Refusal{Kind: failure.RateLimited, Err: err}
	if e, ok := errors.AsType[*pace.Error](err); ok {
		refusal.Until = e.Until
	}
	return Permit{}, refusal
}

func (g paceGuard) Accept(p Permit, told *pace.Told) Permit {
	g.e.wellNow()
	g.e.pacer.Accepted(turnOf(p), told)
	return p
}

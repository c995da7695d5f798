package endpoint

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/pace"
)

// paceGuard is the pacer of an endpoint as a [Guard]. For callers that have switched
// pacing off it still counts answers, for the others, and still refuses while the
// endpoint is forced open.
type paceGuard struct {
	e   *Endpoint
	off bool
}

func (g *paceGuard) Admit(a Ask) (Permit, *Refusal) {
	if force(g.e.forced.Load()) == forcedOpen {
		return Permit{}, g.e.forcedRefusal()
	}
	if g.off {
		return Permit{}, nil
	}
	turn, refusal := g.e.pacer.Try(cost(a))
	if refusal != nil {
		return Permit{}, &Refusal{Kind: failure.RateLimited, Until: refusal.Until, Err: refusal}
	}
	return lend(turn), nil
}

func (g *paceGuard) Wait(ctx context.Context, a Ask) (Permit, *Refusal) {
	if g.off {
		return g.Admit(a)
	}
	turn, err := g.e.pacer.Wait(ctx, cost(a))
	if err == nil && force(g.e.forced.Load()) == forcedOpen { // while it waited
		g.e.pacer.Back(turn)
		return Permit{}, g.e.forcedRefusal()
	}
	if err == nil {
		return lend(turn), nil
	}
	refusal := &Refusal{Kind: failure.RateLimited, Err: err}
	if e, ok := errors.AsType[*pace.Error](err); ok {
		refusal.Until = e.Until
	}
	return Permit{}, refusal
}

func cost(a Ask) pace.Cost {
	c := pace.Cost{Again: a.Again, Client: a.Client, End: a.End}
	if a.Need != nil {
		c.Tokens = a.Need.Tokens
	}
	return c
}

// lend puts a turn into a permit: the zero one for the turn of a free pacer.
func lend(t pace.Turn) Permit {
	if t == (pace.Turn{}) {
		return Permit{}
	}
	return Permit{Ref: t}
}

func turnOf(p Permit) pace.Turn {
	t, _ := p.Ref.(pace.Turn)
	return t
}

func (g *paceGuard) Accept(p Permit, told *pace.Told) Permit {
	switch {
	case p.N == whole:
	case p.N == accepted:
		if !g.off {
			g.e.pacer.Done(turnOf(p))
		}
		p.N = whole
	default:
		g.e.wellNow()
		g.e.pacer.Accepted(turnOf(p), told)
		p.N = accepted
	}
	return p
}

// The N of a pacer's permit after Accept.
const (
	accepted = iota + 1
	whole    // no longer in flight
)

func (g *paceGuard) Settle(p Permit, o Outcome) {
	t := turnOf(p)
	free := g.off || p.N == whole // not in flight
	if !o.Made() {
		if !free {
			g.e.pacer.Back(t)
		}
		return
	}
	r := o.report()
	if r.Used.Tokens > 0 {
		g.e.pacer.Used(t, r.Used.Tokens)
	}
	switch {
	case o.Effect == failure.Limit, o.Kind == failure.RateLimited, o.Kind == failure.Overloaded:
		g.e.pacer.Refused(t, r.Told)
	case p.N != 0:
		if o.Effect == failure.Count || o.Effect == failure.Trip {
			g.e.broken.Add(1)
		}
		g.e.pacer.Failed(t, r.Told) // the answer has counted: only what is told counts now
	case o.Effect == failure.Healthy:
		g.e.wellNow()
		if !free {
			g.e.pacer.Answered(t, r.Told)
			return
		}
		g.e.pacer.Accepted(t, r.Told)
	default:
		g.e.pacer.Failed(t, r.Told)
	}
	if !free {
		g.e.pacer.Done(t)
	}
}

// circuitGuard is a circuit as a [Guard]. It is asked last, so that no probe has to wait
// for another guard.
type circuitGuard struct {
	b *breaker.Breaker
	e *Endpoint // nil for a circuit alone
	// last is the last of the pacer's waves of refusals that the circuit counted.
	last *atomic.Uint64
	// unpaced says that there is no pacer, hence no waves: each refusal counts.
	unpaced bool
}

// Circuit returns a [Guard] of a circuit breaker that belongs to no [Endpoint].
func Circuit(b *breaker.Breaker) Guard { return &circuitGuard{b: b} }

func (g *circuitGuard) Admit(Ask) (Permit, *Refusal) {
	pass, refusal := g.b.Enter()
	if refusal != nil {
		return Permit{}, refused(refusal)
	}
	return passage(pass), nil
}

func (g *circuitGuard) Wait(ctx context.Context, _ Ask) (Permit, *Refusal) {
	pass, err := g.b.Wait(ctx)
	if err == nil {
		return passage(pass), nil
	}
	if e, ok := errors.AsType[*breaker.OpenError](err); ok {
		return Permit{}, refused(e)
	}
	return Permit{}, &Refusal{Kind: failure.CircuitOpen, Err: err}
}

func refused(e *breaker.OpenError) *Refusal {
	r := &Refusal{Kind: failure.CircuitOpen, Until: e.Until, Err: e}
	if e.State == breaker.HalfOpen {
		r.Until = time.Now() // a probe may end at any moment, at e.Until at the latest
	}
	return r
}

// passage puts a pass into a permit without an allocation, for almost all.
func passage(p breaker.Pass) Permit {
	if n, plain := p.Plain(); plain {
		return Permit{N: n}
	}
	return Permit{Ref: p}
}

func passOf(p Permit) breaker.Pass {
	if pass, ok := p.Ref.(breaker.Pass); ok {
		return pass
	}
	return breaker.PlainPass(p.N)
}

func (g *circuitGuard) Accept(p Permit, _ *pace.Told) Permit {
	if p.Ref == nil {
		return p // not a probe
	}
	return passage(g.b.Accept(passOf(p)))
}

func (g *circuitGuard) Settle(p Permit, o Outcome) {
	outcome := breaker.Neither
	switch o.Effect {
	case failure.Healthy:
		g.b.Leave(passOf(p), breaker.Succeeded, breaker.Failure{})
		return
	case failure.Count:
		outcome = breaker.Failed
		if g.e != nil && !g.e.failed.Load() {
			g.e.failed.Store(true)
		}
		if o.Kind == failure.Overloaded && g.counted() {
			outcome = breaker.Neither // the refusals of one burst count once
		}
	case failure.Trip:
		outcome = breaker.Tripped
	}
	r := o.report()
	f := breaker.Failure{Cause: causeOf(o), Lasted: r.Lasted}
	if r.Told != nil && r.Told.HasWait {
		f.AskedFor = r.Told.Wait
	}
	g.b.Leave(passOf(p), outcome, f)
}

// counted reports whether the circuit has already counted the pacer's present wave of
// refusals, and marks it as counted.
func (g *circuitGuard) counted() bool {
	if g.e == nil || g.unpaced {
		return false
	}
	wave := g.e.pacer.Wave()
	return g.last.Swap(wave) == wave
}

// causeOf returns what may be kept of a failure: none of the provider's own text.
func causeOf(o Outcome) breaker.Cause {
	cause := breaker.Cause{Kind: o.Kind.String()}
	if e, _ := errors.AsType[*failure.Error](o.Err); e != nil {
		cause.Status, cause.Code = e.Status, e.Code
	}
	return cause
}

// forcedRefusal returns the refusal of an endpoint that is forced open.
func (e *Endpoint) forcedRefusal() *Refusal {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &Refusal{Kind: failure.CircuitOpen, Err: &breaker.OpenError{
		Name: e.Name(), State: breaker.Open, Cause: breaker.Cause{Kind: e.why}, Forced: true,
	}}
}

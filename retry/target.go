package retry

import (
	"context"
	"errors"
	"slices"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// goTo chooses the target of the next request.
func (c *Call) goTo(target int) {
	c.at, c.guards = target, c.targets[target].Guards
	if c.extra != nil && len(c.own) > 0 {
		c.guards = slices.Concat(c.own, c.guards)
	}
}

// loan returns where the permit of the i-th guard is kept.
func (c *Call) loan(i int) *loan {
	if i < len(c.lent) {
		return &c.lent[i]
	}
	return c.moreLoan(i - len(c.lent))
}

func (c *Call) moreLoan(i int) *loan {
	if c.extra == nil {
		c.extra = &extra{}
	}
	for len(c.more) <= i {
		c.more = append(c.more, loan{})
	}
	return &c.more[i]
}

// admit asks all guards in order, except those whose permit is held already because
// the call waited for it. If one refuses, all permits are given back.
func (c *Call) admit() (refusal *endpoint.Refusal, by int) {
	c.busy = true
	ask := c.ask()
	for i, g := range c.guards {
		l := c.loan(i)
		if l.held {
			continue
		}
		permit, refusal := g.Admit(ask)
		if refusal != nil {
			c.giveBack()
			return refusal, i
		}
		l.permit, l.held = permit, true
	}
	c.busy = false
	return nil, 0
}

// accept tells all guards that an answer has begun to come, or is whole.
func (c *Call) accept(told *pace.Told) {
	for i, g := range c.guards {
		l := c.loan(i)
		l.permit = g.Accept(l.permit, told)
	}
}

// giveBack settles the permits that are held, each once, with c.outcome, which is zero
// if the request was not made.
func (c *Call) giveBack() {
	c.busy = true
	for i, g := range c.guards {
		if l := c.loan(i); l.held {
			l.held = false
			g.Settle(l.permit, c.outcome)
		}
	}
	c.outcome, c.busy = endpoint.Outcome{}, false
}

// giveBackAll is giveBack in Close: if a guard panics, the others are still told.
func (c *Call) giveBackAll() {
	defer func() {
		if c.busy {
			c.giveBackAll()
		}
	}()
	c.giveBack()
}

// acquire admits a request: it asks the guards, and waits for those that refuse for a
// time, if that is allowed. It holds no permit while it waits; the permit that it waited
// for is kept while the other guards are asked again.
//
// If another target can serve, a wait that was expected to be short ends after
// FallbackAfter, and the targets are compared again; only once, so that a call does not
// go back and forth. A round stays at the target of its attempt.
func (c *Call) acquire() bool {
	refusal, by := c.admit()
	if refusal != nil && !c.overcome(refusal, by) {
		return false
	}
	c.begin()
	return true
}

// overcome waits or changes the target until all guards have admitted the request. It
// returns false if the call or the round has ended.
func (c *Call) overcome(refusal *endpoint.Refusal, by int) bool {
	vain, moved := -1, false
	for ; refusal != nil; refusal, by = c.admit() {
		d := c.refused(refusal)
		if c.at == vain {
			d.wait = max(d.wait, c.policy.config.FallbackAfter+1)
		}
		long := d
		if !moved && d.wait < forever && c.addsUp(d.wait) {
			long.wait = max(d.wait, c.policy.config.FallbackAfter+1)
		}
		from, movable := c.at, c.state != answered && c.movable(refusal.Kind)
		if movable && c.moveOn(&long) {
			c.trouble.left, moved = &Left{from, refusal.Kind}, true
			if long.wait > 0 {
				c.plan, c.planned = long, time.Now()
				if !c.pause() {
					return false
				}
			}
			continue
		}
		t := c.inTrouble()
		t.curable = c.policy.table.For(refusal.Kind).Elsewhere != failure.ElsewhereNever
		if d.stop != 0 {
			if t.curable {
				t.leave(c.at)
			}
			return c.stop(d, causeOf(refusal)...)
		}
		switch c.waitAt(by, refusal, d, movable && vain < 0) {
		case gotTurn:
			if c.ctx.Err() != nil {
				c.giveBack()
				return c.ended()
			}
		case leftEarly:
			vain = c.at
		case noTurn:
			return false
		}
	}
	return true
}

// refused decides what follows a refusal: a wait, or the end of the call.
func (c *Call) refused(r *endpoint.Refusal) step {
	p := &c.policy.config
	d := step{wait: forever, reason: PaceWait}
	if !r.Until.IsZero() {
		d.wait = max(0, time.Until(r.Until))
	}
	known, told := false, time.Duration(0)
	if e, ok := errors.AsType[*pace.Error](notNil(r.Err)); ok {
		if e.Answers > 0 {
			d.wait = 0 // for the turn there is time, but not for the answer
			return d.stopped(OutOfTime)
		}
		known = e.Why.Told() || e.Why == pace.ConfiguredLimit
		if !e.ToldUntil.IsZero() {
			told, d.reason = time.Until(e.ToldUntil), RateLimitWait
		} else if e.Why.Told() {
			d.reason = RateLimitWait
		}
		if d.reason == RateLimitWait && c.trouble != nil && c.plan.reason == ProviderWait {
			d.reason = ProviderWait // this call was told it with its own failure
		}
	}
	switch {
	case r.Kind == failure.RetryBudgetSpent:
		return d.stopped(BudgetSpent)
	case r.Kind == failure.AccountSpent:
		return d.stopped(AccountSpent)
	case r.Kind == failure.CircuitOpen:
		d.reason, known = CircuitWait, true
		if !p.WaitForCircuit || r.Until.IsZero() {
			return d.stopped(CircuitOpen)
		}
	case told > p.MaxRetryAfter:
		d.wait = told
		return d.stopped(WaitTooLong)
	case r.Until.IsZero():
		return d.stopped(RateLimitWaitExceeded)
	}
	switch {
	case known && d.wait >= left(c.ctx):
		return d.stopped(OutOfTime)
	case known && d.wait > p.MaxRateLimitWait-c.inTrouble().waited:
		return d.stopped(RateLimitWaitExceeded)
	}
	return d
}

// causeOf returns the causes of a call that ends with a refusal.
func causeOf(r *endpoint.Refusal) []error {
	if r.Err == nil {
		return nil
	}
	return []error{notNil(r.Err)}
}

// leastWait is the least that a wait counts as: with a guard that admits after a wait
// of no length and refuses without one, a call would otherwise never end.
const leastWait = time.Millisecond

// The ends of a wait at a guard.
const (
	gotTurn   = iota
	leftEarly // it took too long, and another target may serve
	noTurn    // the permit can't come in time
)

// waitAt waits for the permit of a guard that has refused. briefly limits the wait to
// FallbackAfter.
func (c *Call) waitAt(by int, refused *endpoint.Refusal, d step, briefly bool) int {
	t := c.inTrouble()
	ctx, allowed := c.ctx, c.policy.config.MaxRateLimitWait-t.waited
	if allowed <= 0 {
		c.stop(d.stopped(RateLimitWaitExceeded), causeOf(refused)...)
		return noTurn
	}
	c.waiting(d.wait, d.reason)
	inRound := c.state == answered && left(c.attempt) < min(allowed, left(ctx))
	if c.state == answered {
		ctx = c.attempt // may end before the call does
	}
	ask := c.ask()
	ask.End, _ = ctx.Deadline()
	if briefly = briefly && d.wait <= c.policy.config.FallbackAfter && c.policy.config.FallbackAfter < allowed; briefly {
		allowed = c.policy.config.FallbackAfter
	}
	if allowed < left(ctx) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, allowed)
		defer cancel()
	}
	begun := time.Now()
	permit, refusal := c.guards[by].Wait(ctx, ask)
	took := time.Since(begun)
	t.waited += max(took, leastWait)
	if took >= t.wait { // the reason is that of the longer wait
		t.reason = d.reason
	}
	t.wait += took
	if refusal == nil {
		*c.loan(by) = loan{permit, true}
		return gotTurn
	}
	if c.ctx.Err() != nil {
		c.ended()
		return noTurn
	}
	if c.state == answered && c.attempt.Err() != nil || inRound && refusal.Kind == failure.RateLimited {
		return noTurn // the attempt ends before its turn, but not the call
	}
	if briefly {
		return leftEarly
	}
	if ctx.Err() != nil { // refusal speaks of the deadline that was set here
		c.stop(d.stopped(RateLimitWaitExceeded), causeOf(refused)...)
		return noTurn
	}
	stop := c.refused(refusal)
	if stop.stop == 0 {
		stop.stop = OutOfTime
		if deadline, ok := c.ctx.Deadline(); !ok || refusal.Until.Before(deadline) {
			stop.stop = RateLimitWaitExceeded
		}
	}
	if refusal.Until.IsZero() {
		stop.wait = d.wait
	}
	c.stop(stop, causeOf(refusal)...)
	return noTurn
}

// slack is how much earlier than planned a guard's queue may admit a request.
const slack = leastApart / 10

// pause makes the wait that was decided after the last failure. If a guard refuses for
// longer than that, the call waits for the guard instead, or ends: it does not wait a
// minute to find that the circuit is open.
func (c *Call) pause() bool {
	t := c.trouble
	due := t.planned.Add(t.plan.wait)
	t.reason = t.plan.reason
	if t.plan.apart < t.plan.wait {
		refusal, _ := c.admit()
		if refusal == nil {
			c.giveBack()
		} else if t.plan.limit && !refusal.Until.Before(due.Add(-slack)) || refusal.Until.IsZero() || refusal.Until.After(due) {
			return true // wait in the guard's queue instead
		}
	}
	c.waiting(t.plan.wait, t.plan.reason)
	return c.sleep(due) || c.ended()
}

// sleep waits until a time. It returns false if the call's context ends first.
func (c *Call) sleep(until time.Time) bool {
	begun := time.Now()
	if d := until.Sub(begun); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			return false
		}
	}
	took := time.Since(begun)
	c.wait += took
	if c.plan.limit {
		c.waited += took
	}
	return true
}

// waiting tells the observer that a wait begins.
func (c *Call) waiting(wait time.Duration, reason WaitReason) {
	if c.observed != nil {
		c.tell(c.ctx, Event{Type: Waiting, Wait: max(0, wait), Reason: reason})
	}
}

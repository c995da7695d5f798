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

// goTo makes a target the one that the next request is made at.
func (c *Call) goTo(target int) {
	c.at, c.guards = target, c.targets[target].Guards
	if c.extra != nil && len(c.own) > 0 {
		c.guards = slices.Concat(c.own, c.guards)
	}
}

// loan returns the place of the permit of the i-th guard.
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

// admit asks all guards in order, but for one that has lent its permit already,
// to somebody who waited for it. Where one refuses, what the others lent goes back
// at once.
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

// giveBack settles the permits that are held, each once, with c.outcome: that is
// zero where the request was not made.
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

// giveBackAll is giveBack in Close: if a guard has panicked, or does, the others
// are told all the same.
func (c *Call) giveBackAll() {
	defer func() {
		if c.busy {
			c.giveBackAll()
		}
	}()
	c.giveBack()
}

// acquire admits a request: it asks the guards, and waits for those that refuse
// for a time, where that is allowed. The permit that a wait brings is kept while
// the others are asked again; nothing is held while waiting.
//
// Where another target can serve, a wait that seemed short is left when it has
// lasted for FallbackAfter, and the targets are compared again; once, so that
// nobody goes to and fro. A round stays where its attempt is.
func (c *Call) acquire() bool {
	refusal, by := c.admit()
	if refusal != nil && !c.overcome(refusal, by) {
		return false
	}
	c.begin()
	return true
}

// overcome goes on from a refusal until all guards have admitted the request, at
// this target or at another one; false: the call or the round has ended.
func (c *Call) overcome(refusal *endpoint.Refusal, by int) bool {
	vain := -1
	for ; refusal != nil; refusal, by = c.admit() {
		d := c.refused(refusal)
		if c.at == vain {
			d.wait = max(d.wait, c.policy.config.FallbackAfter+1)
		}
		movable := c.state != answered && c.movable(refusal.Kind)
		if movable && c.moveOn(&d) {
			if d.wait > 0 {
				c.plan, c.planned = d, time.Now()
				if !c.pause() {
					return false
				}
			}
			continue
		}
		if d.stop != 0 {
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

// refused decides about a refusal: wait, or stop.
func (c *Call) refused(r *endpoint.Refusal) step {
	p := &c.policy.config
	d := step{wait: forever, reason: PaceWait}
	if !r.Until.IsZero() {
		d.wait = max(0, time.Until(r.Until))
	}
	known, told := false, time.Duration(0)
	if e, ok := errors.AsType[*pace.Error](notNil(r.Err)); ok {
		known = e.Why.Told() || e.Why == pace.ConfiguredLimit
		if !e.ToldUntil.IsZero() {
			told, d.reason = time.Until(e.ToldUntil), RateLimitWait
		} else if e.Why.Told() {
			d.reason = RateLimitWait
		}
		if d.reason == RateLimitWait && c.trouble != nil && c.plan.reason == ProviderWait {
			d.reason = ProviderWait // what this very call was told with its failure
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

// causeOf returns what a refusal is told by. The budget's and the account's
// errors say all.
func causeOf(r *endpoint.Refusal) []error {
	if r.Err == nil {
		return nil
	}
	return []error{notNil(r.Err)}
}

// leastWait is what a wait counts for at least: guards that let whoever waits go
// at once, and refuse whoever did not, would send a call to and fro for ever.
const leastWait = time.Millisecond

// How a wait at a guard ends.
const (
	gotTurn   = iota
	leftEarly // it has become long, and another target may serve
	noTurn    // it can't come in time
)

// waitAt waits for the permit of one guard, which has refused; briefly is for as
// long as FallbackAfter.
func (c *Call) waitAt(by int, refused *endpoint.Refusal, d step, briefly bool) int {
	t := c.inTrouble()
	ctx, allowed := c.ctx, c.policy.config.MaxRateLimitWait-t.waited
	if allowed <= 0 {
		c.stop(d.stopped(RateLimitWaitExceeded), causeOf(refused)...)
		return noTurn
	}
	c.waiting(d.wait, d.reason)
	inRound := c.state == answered && left(c.attempt) < min(allowed, left(ctx))
	if inRound {
		ctx = c.attempt
	}
	if briefly = briefly && d.wait <= c.policy.config.FallbackAfter && c.policy.config.FallbackAfter < allowed; briefly {
		allowed = c.policy.config.FallbackAfter
	}
	if allowed < left(ctx) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, allowed)
		defer cancel()
	}
	begun := time.Now()
	permit, refusal := c.guards[by].Wait(ctx, c.ask())
	took := time.Since(begun)
	t.waited += max(took, leastWait)
	if took >= t.wait { // of two waits in a row the longer one is the reason
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
	if inRound && (c.attempt.Err() != nil || refusal.Kind == failure.RateLimited) {
		return noTurn // the attempt has ended, or will before its turn, and not the call
	}
	if briefly {
		return leftEarly
	}
	if ctx.Err() != nil { // the time allowed is over: the refusal tells of a deadline that nobody set
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

// slack is how much sooner than planned a guard's queue may let a call go.
const slack = leastApart / 10

// pause waits as the last failure has it. A guard that refuses for longer is
// waited for, or ends the call, instead: nobody waits a minute to hear that the
// circuit is open.
func (c *Call) pause() bool {
	t := c.trouble
	due := t.planned.Add(t.plan.wait)
	t.reason = t.plan.reason
	if t.plan.apart < t.plan.wait {
		refusal, _ := c.admit()
		if refusal == nil {
			c.giveBack()
		} else if t.plan.limit && !refusal.Until.Before(due.Add(-slack)) || refusal.Until.IsZero() || refusal.Until.After(due) {
			return true // a place in the guard's queue is better than a wait of our own
		}
	}
	c.waiting(t.plan.wait, t.plan.reason)
	return c.sleep(due) || c.ended()
}

// sleep waits until a time of the plan; false: the call has ended.
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

// waiting tells the observer of a wait that begins.
func (c *Call) waiting(wait time.Duration, reason WaitReason) {
	if c.observed != nil {
		c.tell(c.ctx, Event{Type: Waiting, Wait: max(0, wait), Reason: reason})
	}
}

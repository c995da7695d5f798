package retry

import (
	"context"
	"errors"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// guards returns how many guards stand before the request.
func (c *Call) guards() int { return len(c.own) + len(c.targets[c.at].Guards) }

// guard returns the i-th of them.
func (c *Call) guard(i int) endpoint.Guard {
	if i < len(c.own) {
		return c.own[i]
	}
	return c.targets[c.at].Guards[i-len(c.own)]
}

// permit returns the place of the permit of the i-th guard.
func (c *Call) permit(i int) *endpoint.Permit {
	if i < len(c.permits) {
		return &c.permits[i]
	}
	i -= len(c.permits)
	if c.further == nil {
		c.further = new([]endpoint.Permit)
	}
	for len(*c.further) <= i {
		*c.further = append(*c.further, endpoint.Permit{})
	}
	return &(*c.further)[i]
}

// admit asks all guards in order. One of them may have lent its permit already:
// that of place kept; -1 is none. Where one refuses, what the others lent goes
// back at once.
func (c *Call) admit(ask endpoint.Ask, kept int) (refusal *endpoint.Refusal, by int) {
	i, admitted := 0, false
	defer func() {
		if !admitted { // also where a guard has panicked
			c.giveBack(i, kept)
		}
	}()
	for ; i < c.guards(); i++ {
		if i == kept {
			continue
		}
		permit, refusal := c.guard(i).Admit(ask)
		if refusal != nil {
			return refusal, i
		}
		*c.permit(i) = permit
	}
	admitted = true
	return nil, 0
}

// giveBack settles the permits of the first n guards, and that of place kept, as
// of a request that was not made.
func (c *Call) giveBack(n, kept int) { c.tellGuards(0, n, kept, endpoint.Outcome{}) }

// tellGuards settles the permits of the guards from i to n, and that of place
// kept. Each is settled once; if a guard panics, the others are told all the
// same.
func (c *Call) tellGuards(i, n, kept int, o endpoint.Outcome) {
	all := c.guards()
	defer func() {
		if i < all {
			c.tellGuards(i, n, kept, o)
		}
	}()
	for i < all {
		at := i
		i++
		if at < n || at == kept {
			p := c.permit(at)
			lent := *p
			*p = endpoint.Permit{}
			c.guard(at).Settle(lent, o)
		}
	}
}

// acquire admits a request: it asks the guards, and waits for those that refuse
// for a time, where that is allowed. The permit that a wait brings is kept while
// the others are asked again; nothing is held while waiting.
//
// Where another target can serve, a wait that seemed short is left when it has
// lasted for FallbackAfter, and the targets are compared again; once, so that
// nobody goes to and fro. A round stays where its attempt is.
func (c *Call) acquire(ask endpoint.Ask) bool {
	kept, vain := -1, -1
	for {
		refusal, by := c.admit(ask, kept)
		if refusal == nil {
			c.begin()
			return true
		}
		kept = -1
		d := c.refused(refusal)
		if c.at == vain {
			d.wait = max(d.wait, c.policy.config.FallbackAfter+1)
		}
		movable := c.state != answered && c.movable(refusal.Kind)
		if movable && c.moveOn(&d) {
			ask.Retry = false // it is the first request of another endpoint
			if d.wait > 0 {
				c.plan, c.planned = d, time.Now()
				if !c.pause(ask) {
					return false
				}
			}
			continue
		}
		if d.stop != 0 {
			return c.stop(d, causeOf(refusal)...)
		}
		switch c.waitAt(by, ask, d, movable && vain < 0) {
		case gotTurn:
			if kept = by; c.ctx.Err() != nil {
				c.giveBack(0, kept)
				return c.ended()
			}
		case leftEarly:
			vain = c.at
		case noTurn:
			return false
		}
	}
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

// waitAt waits for the permit of one guard; briefly is for as long as
// FallbackAfter.
func (c *Call) waitAt(by int, ask endpoint.Ask, d step, briefly bool) int {
	t := c.inTrouble()
	ctx, allowed := c.ctx, c.policy.config.MaxRateLimitWait-t.waited
	if allowed <= 0 {
		c.stop(d.stopped(RateLimitWaitExceeded))
		return noTurn
	}
	c.waiting(d.wait, d.reason)
	round := c.state == answered && left(c.attempt) < min(allowed, left(ctx))
	if round {
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
	permit, refusal := c.guard(by).Wait(ctx, ask)
	took := time.Since(begun)
	t.waited += max(took, leastWait)
	if took >= t.wait { // of two waits in a row the longer one is the reason
		t.reason = d.reason
	}
	t.wait += took
	if refusal == nil {
		*c.permit(by) = permit
		return gotTurn
	}
	if c.ctx.Err() != nil {
		c.ended()
		return noTurn
	}
	if round {
		return noTurn // the attempt has ended, and not the call
	}
	if briefly {
		return leftEarly
	}
	stop := c.refused(refusal)
	if stop.stop == 0 {
		stop.stop = OutOfTime
		if deadline, ok := c.ctx.Deadline(); !ok || ctx.Err() != nil || !refusal.Until.IsZero() && refusal.Until.Before(deadline) {
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
func (c *Call) pause(ask endpoint.Ask) bool {
	t := c.trouble
	due := t.planned.Add(t.plan.wait)
	t.reason = t.plan.reason
	if t.plan.apart < t.plan.wait {
		refusal, _ := c.admit(ask, -1)
		if refusal == nil {
			c.giveBack(c.guards(), -1)
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

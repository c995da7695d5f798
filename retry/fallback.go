package retry

import (
	"slices"
	"time"

	"llmcall/failure"
)

// Left is a target that a call has left for another one.
type Left struct {
	Target int          // its index
	Kind   failure.Kind // of the failure, or the refusal of a guard, because of which
}

// Left returns the target that the call has left for the one of the current attempt since
// its last failure, or nil.
func (c *Call) Left() *Left {
	if c.trouble == nil {
		return nil
	}
	return c.trouble.left
}

// Among limits the call to some of its targets, which are alternatives in the given
// order, and to a number of further attempts of those that count against
// [Config.MaxAttempts], which stays the limit of all. It may be called after Begin and
// between attempts, also when the call has ended for a reason that says nothing about
// other targets: their attempts are used up, they can't serve, or the answer was wrong.
// The call then goes on. A target that could not serve is not asked again.
//
// Among returns false, and changes nothing, if the call can't go on: MaxAttempts is used
// up, its time is over, it was cancelled or stopped, what it may spend is spent, the
// failure would be the same anywhere, or none of the targets can serve.
func (c *Call) Among(order []int, further int) bool {
	t := c.trouble
	at := slices.IndexFunc(order, func(i int) bool { return t == nil || !t.dead[i] })
	if at < 0 || further < 1 || c.state == admitted || !c.revivable() {
		return false
	}
	c.order, c.most = order, min(c.policy.config.MaxAttempts, c.Counted()+further)
	switch {
	case order[at] != c.at:
		c.moveTo(order[at])
	case c.err == nil:
	case c.err.Reason == Exhausted: // decided again, as if more attempts had been left
		t.situation.most, t.situation.left = c.most, left(c.ctx)
		if t.plan, t.planned = c.policy.decide(&t.situation), time.Now(); t.plan.stop == OutOfTime {
			return c.stop(t.plan)
		} else if t.plan.stop != 0 {
			t.leave(c.at)
			return c.Among(order, further)
		}
	default:
		t.plan = step{}
	}
	c.err = nil
	return true
}

// revivable reports whether the call can go on at another target.
func (c *Call) revivable() bool {
	if c.Counted() >= c.policy.config.MaxAttempts {
		return false
	}
	if c.err == nil {
		return true
	}
	switch c.err.Reason {
	case OutOfTime, Cancelled, AccountSpent:
		return false
	}
	return c.trouble != nil && c.curable && c.ctx.Err() == nil
}

// moveTo changes the target, without the wait that was planned for the one before. If
// this call has been told to leave it alone for long, another may be asked sooner.
func (c *Call) moveTo(target int) {
	c.goTo(target)
	t := c.trouble
	if t == nil {
		return
	}
	t.plan, t.planned = step{}, time.Now()
	if own := time.Until(t.due[target]); own > 0 {
		t.plan.wait, t.plan.reason, t.plan.limit = own, RateLimitWait, true
		if own > c.policy.config.FallbackAfter {
			c.goSooner(&t.plan, own)
		}
	}
}

// Alternatives returns the targets, besides the current one, that can still serve the
// call, in order.
func (c *Call) Alternatives() []int {
	return slices.DeleteFunc(c.alternatives(), func(i int) bool { return c.trouble != nil && c.dead[i] })
}

// alternatives returns the targets that may be asked but the current one, in order.
func (c *Call) alternatives() []int {
	others := slices.Clone(c.order)
	if c.order == nil {
		for i := range c.targets {
			others = append(others, i)
		}
	}
	return slices.DeleteFunc(others, func(i int) bool { return i == c.at })
}

// alone reports whether the call has no alternative to the current target.
func (c *Call) alone() bool { return len(c.targets) == 1 || len(c.order) == 1 }

// movable reports whether another target may serve if a guard of this one refuses with
// a failure of kind.
func (c *Call) movable(kind failure.Kind) bool {
	if len(c.targets) == 1 || c.policy.table.For(kind).Elsewhere == failure.ElsewhereNever {
		return false
	}
	for _, i := range c.alternatives() {
		if c.trouble == nil || !c.dead[i] {
			return true
		}
	}
	return false
}

// moveOn changes the target because a guard of this one refuses: if this one can't serve,
// or if the wait is longer than FallbackAfter and another target can go sooner.
func (c *Call) moveOn(d *step) bool {
	if d.stop == 0 && d.wait <= c.policy.config.FallbackAfter {
		return false
	}
	t := c.inTrouble()
	if d.stop != 0 {
		t.leave(c.at)
	}
	return c.goSooner(d, c.here(d))
}

// here returns how long it takes until the current target can be asked again, by step d.
func (c *Call) here(d *step) time.Duration {
	if d.stop != 0 || c.trouble.dead[c.at] {
		return forever
	}
	return d.wait
}

// fallBack changes the target after a failure, if the row of its kind says so. If it
// returns true, d is the step to take there.
func (c *Call) fallBack(f *failed, d *step) (moved bool) {
	if c.alone() || f.answered || f.row.Elsewhere == failure.ElsewhereNever {
		return false
	}
	t, p, from := c.trouble, &c.policy.config, c.at
	defer func() {
		if moved {
			t.left = &Left{from, f.kind}
		}
	}()
	if t.misses == nil {
		t.misses = map[int]int{}
	}
	if d.counts {
		t.misses[c.at]++
	}
	if t.counted >= c.most {
		return false
	}
	afterRetries := f.row.Elsewhere == failure.ElsewhereAfterRetries && d.stop == 0
	switch {
	case afterRetries && t.misses[c.at] < p.AttemptsPerTarget:
		// One attempt is kept for each target that was not tried yet and can be tried soon.
		soon := max(c.here(d), p.FallbackAfter)
		if c.most-t.counted > c.untried() || !c.goSooner(d, min(soon, forever-1)+1) {
			return false
		}
		t.leave(from)
		return true
	case afterRetries:
	case d.stop == 0 && d.wait <= p.FallbackAfter, d.stop == 0 && d.reason == BackoffWait && d.wait <= p.FallbackAfter+p.FallbackAfter/8:
		return false // a delay of 2 s ± 10 % is one of 2 s: chance does not choose the model
	case d.stop == 0:
		return c.goSooner(d, c.here(d))
	}
	if c.untried() == 0 && d.stop == 0 {
		return false // the last target gets all remaining attempts
	}
	t.leave(c.at)
	return c.goSooner(d, c.here(d))
}

// goSooner changes to the target that can be asked first, if that is sooner than after
// a given wait; d is then the step to take. The guards are asked without reserving.
func (c *Call) goSooner(d *step, sooner time.Duration) bool {
	from, best := c.at, -1
	retry := c.retry
	c.retry = false // it would be the first request to another endpoint
	for _, i := range c.alternatives() {
		if c.trouble.dead[i] {
			continue
		}
		c.goTo(i)
		refusal, _ := c.admit()
		own := time.Until(c.trouble.due[i]) // which its pacer may not know
		wait := max(0, own)
		if refusal == nil {
			c.giveBack()
		} else if next := c.refused(refusal); next.stop != 0 {
			continue
		} else {
			wait = max(wait, next.wait)
		}
		if own > c.policy.config.MaxRateLimitWait-c.trouble.waited {
			continue // the backoff may be longer
		}
		if wait < sooner {
			best, sooner = i, wait
		}
		if wait == 0 {
			break
		}
	}
	if best < 0 {
		c.goTo(from)
		c.retry = retry
		return false
	}
	c.goTo(best)
	*d = step{}
	if own := time.Until(c.trouble.due[best]); own > 0 {
		d.wait, d.reason, d.limit = own, RateLimitWait, true
	}
	return true
}

// untried returns the number of targets that were not tried yet and can be.
func (c *Call) untried() int {
	n := 0
	for _, i := range c.alternatives() {
		if !c.trouble.dead[i] && c.trouble.misses[i] == 0 {
			n++
		}
	}
	return n
}

// leaveAlone records until when a target must not be asked again.
func (t *trouble) leaveAlone(target int, until time.Time) {
	if t.due == nil {
		t.due = map[int]time.Time{}
	}
	t.due[target] = until
}

// leave records that a target can't serve this call.
func (t *trouble) leave(target int) {
	if t.dead == nil {
		t.dead = map[int]bool{}
	}
	t.dead[target] = true
}

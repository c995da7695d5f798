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
// Among returns false if the call can't go on: MaxAttempts is used up, its time is over,
// it was cancelled or stopped, what it may spend is spent, the failure would be the same
// anywhere, or none of the targets can serve, or not before the deadline.
func (c *Call) Among(order []int, further int) bool {
	t := c.trouble
	at := slices.IndexFunc(order, func(i int) bool { return t == nil || !t.dead[i] })
	if at < 0 || further < 1 || c.state == admitted || !c.revivable() {
		return false
	}
	c.part = &part{order, min(c.policy.config.MaxAttempts, c.Counted()+further)}
	if t != nil {
		t.misses, t.asked, t.quit = nil, nil, nil
	}
	switch {
	case order[at] != c.at:
		c.moveTo(order[at])
	case c.err == nil:
	case c.err.Reason == Exhausted, c.err.Reason == OutOfTime: // decided again, as if more attempts had been left
		t.situation.most, t.situation.left = c.most, left(c.ctx)
		if t.plan, t.planned = c.policy.decide(&t.situation), time.Now(); t.plan.stop != 0 {
			t.leave(c.at)
			if t.plan.stop == OutOfTime {
				c.stop(t.plan)
			}
			return c.Among(order, further)
		}
		c.notLong(&t.plan)
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
	case Cancelled, AccountSpent:
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
	t.before = t.waited
	t.plan, t.planned = t.whenDue(target), time.Now()
	c.notLong(&t.plan)
}

// addsUp reports whether a wait for a limit is a long one together with those that the call
// has had at the current target: a provider may ask for a second each time. An eighth more than FallbackAfter
// allows for what a wait takes longer than was told; for the rest of a wait that is nearly
// over nobody moves.
func (c *Call) addsUp(wait time.Duration) bool {
	after := c.policy.config.FallbackAfter
	return wait > after/32 && c.trouble != nil && c.trouble.waited-c.trouble.before+wait > after+after/8
}

// notLong changes to a target that can be asked sooner, if the wait before d is long.
func (c *Call) notLong(d *step) {
	if d.wait > c.policy.config.FallbackAfter || d.limit && c.addsUp(d.wait) {
		c.goSooner(d, d.wait)
	}
}

// Alternatives returns the targets, besides the current one, that can still serve the
// call, in order.
func (c *Call) Alternatives() []int {
	return slices.DeleteFunc(c.alternatives(), func(i int) bool { return c.trouble != nil && c.dead[i] })
}

// alternatives returns the targets that may be asked but the current one, in order.
func (c *Call) alternatives() []int {
	var others []int
	if c.part != nil {
		others = slices.Clone(c.order)
	} else {
		for i := range c.targets {
			others = append(others, i)
		}
	}
	return slices.DeleteFunc(others, func(i int) bool { return i == c.at })
}

// alone reports whether the call has no alternative to the current target.
func (c *Call) alone() bool { return len(c.targets) == 1 || c.part != nil && len(c.order) == 1 }

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
	if d.stop != 0 || c.trouble.dead[c.at] || c.trouble.quit[c.at] {
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
		t.misses, t.asked = map[int]int{}, map[int]bool{}
	}
	if d.counts {
		t.misses[c.at]++
	}
	t.asked[c.at] = true
	if t.counted >= c.maxAttempts() {
		return false
	}
	// A delay of 2 s ± 10 % is one of 2 s: chance does not choose the model.
	short := d.wait <= p.FallbackAfter || d.reason == BackoffWait && d.wait <= p.FallbackAfter+p.FallbackAfter/8
	short = short && !(d.limit && c.addsUp(d.wait))
	afterRetries := d.stop == 0 && (f.row.Elsewhere == failure.ElsewhereAfterRetries || short && d.counts)
	switch {
	case afterRetries && t.misses[c.at] < p.AttemptsPerTarget:
		// One attempt is kept for each target that was not tried yet and can be tried soon.
		soon := max(c.here(d), p.FallbackAfter)
		if c.maxAttempts()-t.counted > c.untried(t.asked) || !c.goSooner(d, min(soon, forever-1)+1) {
			return false
		}
		t.giveUp(from)
		return true
	case afterRetries:
	case d.stop == 0 && short:
		return false
	case d.stop == 0:
		return c.goSooner(d, c.here(d))
	}
	if c.untried(nil) == 0 && d.stop == 0 {
		return false // the last target gets all remaining attempts
	}
	if d.stop != 0 {
		t.leave(c.at)
	} else {
		t.giveUp(c.at)
	}
	return c.goSooner(d, c.here(d))
}

// goSooner changes to the target that can be asked first, if that is sooner than after
// a given wait; d is then the step to take. The guards are asked without reserving. A
// target that was left after its retries is asked again only if no other can serve: a call
// does better to wait for one that works.
func (c *Call) goSooner(d *step, sooner time.Duration) bool {
	return c.soonest(d, sooner, false) || c.trouble.dead[c.at] && len(c.trouble.quit) > 0 && c.soonest(d, sooner, true)
}

// soonest is goSooner, with those that were left after their retries or without.
func (c *Call) soonest(d *step, sooner time.Duration, again bool) bool {
	from, best := c.at, -1
	retry := c.retry
	c.retry = false // it would be the first request to another endpoint
	for _, i := range c.alternatives() {
		if c.trouble.dead[i] || c.trouble.quit[i] && !again {
			continue
		}
		c.goTo(i)
		refusal, _ := c.admit()
		own := time.Until(c.trouble.due[i].at) // which its pacer may not know
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
	c.trouble.before = c.trouble.waited
	*d = c.trouble.whenDue(best)
	return true
}

// untried returns the number of other targets that can be tried and have not failed, but
// for some.
func (c *Call) untried(but map[int]bool) int {
	n := 0
	for _, i := range c.alternatives() {
		if !c.trouble.dead[i] && c.trouble.misses[i] == 0 && !but[i] {
			n++
		}
	}
	return n
}

// dueTime is when a call may ask a target again, and why it has to wait.
type dueTime struct {
	at     time.Time
	reason WaitReason
	limit  bool
}

// leaveAlone records until when a target must not be asked again.
func (t *trouble) leaveAlone(target int, d step) {
	if t.due == nil {
		t.due = map[int]dueTime{}
	}
	t.due[target] = dueTime{time.Now().Add(d.wait), d.reason, d.limit}
}

// whenDue returns the step to a request to a target that the call has left before.
func (t *trouble) whenDue(target int) step {
	next := t.due[target]
	if own := time.Until(next.at); own > 0 {
		return step{wait: own, reason: next.reason, limit: next.limit}
	}
	return step{}
}

// giveUp records that a target has had its retries: the call comes back to it only if
// no other one of its order can serve.
func (t *trouble) giveUp(target int) {
	if t.quit == nil {
		t.quit = map[int]bool{}
	}
	t.quit[target] = true
}

// leave records that a target can't serve this call.
func (t *trouble) leave(target int) {
	if t.dead == nil {
		t.dead = map[int]bool{}
	}
	t.dead[target] = true
}

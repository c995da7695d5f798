package retry

import (
	"time"

	"llmcall/failure"
)

// movable reports whether another target may serve where a guard of this one
// refuses with such a kind.
func (c *Call) movable(kind failure.Kind) bool {
	if len(c.targets) == 1 || c.policy.table.For(kind).Elsewhere == failure.ElsewhereNever {
		return false
	}
	for i := range c.targets {
		if i != c.at && (c.trouble == nil || !c.dead[i]) {
			return true
		}
	}
	return false
}

// moveOn goes to another target because a guard of this one refuses: at once
// where this one can't serve, or where another can go sooner and the wait here
// is longer than FallbackAfter.
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

// here returns how long it is until the target of now can be asked again, if the
// step d is taken.
func (c *Call) here(d *step) time.Duration {
	if d.stop != 0 || c.trouble.dead[c.at] {
		return forever
	}
	return d.wait
}

// fallBack goes to another target after a failure, as the row of its kind says.
// It returns true where the call goes on there; d is then what to do.
func (c *Call) fallBack(f *failed, d *step) bool {
	if len(c.targets) == 1 || f.answered || f.row.Elsewhere == failure.ElsewhereNever {
		return false
	}
	t, p, from := c.trouble, &c.policy.config, c.at
	if t.misses == nil {
		t.misses = map[int]int{}
	}
	if d.counts {
		t.misses[c.at]++
	}
	if t.counted >= p.MaxAttempts {
		return false
	}
	afterRetries := f.row.Elsewhere == failure.ElsewhereAfterRetries && d.stop == 0
	switch {
	case afterRetries && t.misses[c.at] < p.AttemptsPerTarget:
		// One attempt is kept for each target that was not tried and can be soon.
		soon := max(c.here(d), p.FallbackAfter)
		if p.MaxAttempts-t.counted > c.untried() || !c.goSooner(d, min(soon, forever-1)+1) {
			return false
		}
		t.leave(from)
		return true
	case afterRetries:
	case d.stop == 0 && d.wait <= p.FallbackAfter:
		return false
	case d.stop == 0:
		return c.goSooner(d, c.here(d))
	}
	if c.untried() == 0 && d.stop == 0 {
		return false // the last target has all attempts that remain
	}
	t.leave(c.at)
	return c.goSooner(d, c.here(d))
}

// goSooner goes to the other target that can go first, if that is sooner than in
// a given time; d is then what to do. All guards are asked, and keep nothing.
func (c *Call) goSooner(d *step, sooner time.Duration) bool {
	from, best := c.at, -1
	retry := c.retry
	c.retry = false // it would be the first request of another endpoint
	for i := range c.targets {
		if i == from || c.trouble.dead[i] {
			continue
		}
		c.goTo(i)
		refusal, _ := c.admit()
		own := time.Until(c.trouble.due[i]) // no pacer need know of it
		wait := max(0, own)
		if refusal == nil {
			c.giveBack()
		} else if next := c.refused(refusal); next.stop != 0 {
			continue
		} else {
			wait = max(wait, next.wait)
		}
		if own > c.policy.config.MaxRateLimitWait-c.trouble.waited {
			continue // a delay of the backoff may be longer
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

// untried returns how many targets were not called yet and may be.
func (c *Call) untried() int {
	n := 0
	for i := range c.targets {
		if i != c.at && !c.trouble.dead[i] && c.trouble.misses[i] == 0 {
			n++
		}
	}
	return n
}

// leaveAlone notes until when a target is not to be asked again.
func (t *trouble) leaveAlone(target int, until time.Time) {
	if t.due == nil {
		t.due = map[int]time.Time{}
	}
	t.due[target] = until
}

// leave notes that a target can't serve this call.
func (t *trouble) leave(target int) {
	if t.dead == nil {
		t.dead = map[int]bool{}
	}
	t.dead[target] = true
}

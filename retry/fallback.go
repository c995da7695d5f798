package retry

import (
	"time"

	"llmcall/failure"
)

// movable reports whether another target may serve if a guard of this one refuses with
// a failure of kind.
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
		// One attempt is kept for each target that was not tried yet and can be tried soon.
		soon := max(c.here(d), p.FallbackAfter)
		if p.MaxAttempts-t.counted > c.untried() || !c.goSooner(d, min(soon, forever-1)+1) {
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
	for i := range c.targets {
		if i == from || c.trouble.dead[i] {
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
	for i := range c.targets {
		if i != c.at && !c.trouble.dead[i] && c.trouble.misses[i] == 0 {
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

package pace

import (
	"math"
	"time"
)

const (
	// leaseFor is the time whose need is leased at once.
	leaseFor = 200 * time.Millisecond
	// leasePatience is how long a request waits for a lease; then this process goes on with
	// its part of the limits, until there is one again.
	leasePatience = 5 * time.Millisecond
)

// lease is what this process may use of configured limits that it shares with its peers.
type lease struct {
	Amount
	from, until time.Time

	part  float64   // of the limits while no lease can be had
	asked time.Time // when a lease was asked for that has not come; zero: none is
	least Amount    // of what is asked for

	back, alone Amount
	corrected   int64
}

// leased reports whether limits are configured that peers share.
func (l *limiter) leased() bool {
	return l.lease != nil && (l.set.RequestsPerMinute > 0 || l.set.TokensPerMinute > 0)
}

// overdue reports whether a lease that was asked for should have come.
func (e *lease) overdue(now time.Time) bool {
	return !e.asked.IsZero() && now.Sub(e.asked) >= leasePatience
}

// advance ends a lease that is over, and returns for how many seconds the buckets fill: only
// while a lease is overdue.
func (e *lease) advance(at, now time.Time) float64 {
	if now.After(e.until) {
		e.giveUp()
	}
	if !e.overdue(now) {
		return 0
	}
	return now.Sub(later(at, e.asked)).Seconds() * e.part
}

func (e *lease) giveUp() {
	e.back.Requests += e.Requests
	e.back.Tokens += e.Tokens
	e.Amount = Amount{}
}

// holds reports whether the lease has room for a request, at a time not before its begin.
func (e *lease) holds(l *limiter, at time.Time, c Cost) bool {
	return !at.Before(e.from) && !at.After(e.until) && e.covers(l, c, 0, 0)
}

func (e *lease) covers(l *limiter, c Cost, before int, tokens int64) bool {
	return (l.set.RequestsPerMinute == 0 || e.Requests > int64(before)) &&
		(l.set.TokensPerMinute == 0 || e.Tokens >= tokens+c.Tokens && e.until.After(e.from))
}

// take uses the lease for a request, or reports that it is made without one.
func (e *lease) take(l *limiter, c Cost) bool {
	if !e.holds(l, l.at, c) {
		e.alone.Requests++
		e.alone.Tokens += c.Tokens
		return false
	}
	e.Requests--
	e.Tokens -= c.Tokens
	return true
}

// giveBack gives back what a request that was not made has taken.
func (e *lease) giveBack(a Amount) {
	e.back.Requests += a.Requests
	e.back.Tokens += a.Tokens
}

// leasedTurn is turn for limits that are leased: at the soonest, if all of the limits were
// lent to this process.
func (l *limiter) leasedTurn(now time.Time, c Cost, before int, tokens int64) time.Time {
	e := l.lease
	if !e.until.Before(now) && e.covers(l, c, before, tokens) {
		return later(now, e.from)
	}
	r, t := l.requests, l.tokens
	if before == 0 && e.overdue(now) {
		r.rate *= e.part
		t.rate *= e.part
		return now.Add(max(r.wait(1), t.wait(float64(c.Tokens))))
	}
	if before == 0 && !e.asked.IsZero() {
		return e.asked.Add(leasePatience)
	}
	r.level = r.size + float64(e.Requests) - float64(before)
	t.level = t.size + float64(e.Tokens) - float64(tokens)
	return now.Add(max(r.wait(1), t.wait(float64(c.Tokens))))
}

// share sets the part of the limits that is used while there is no lease.
func (l *limiter) share(now time.Time, part float64) {
	l.advance(now)
	l.lease.part = part
}

// correct records that more tokens were used than was said, or fewer.
func (l *limiter) correct(tokens int64) {
	if l.leased() {
		l.lease.corrected += tokens
		return
	}
	l.tokens.take(float64(tokens))
}

// lend begins a lease.
func (l *limiter) lend(now time.Time, lent Lease) {
	l.advance(now)
	e := l.lease
	e.giveUp()
	e.Amount, e.from = lent.Amount, now.Add(lent.In)
	e.until = e.from.Add(lent.For)
	e.asked, e.least = time.Time{}, Amount{}
	l.requests.level, l.tokens.level = min(0, l.requests.level), min(0, l.tokens.level)
}

// lease asks for a lease if it is what the head of the queue waits for.
func (p *Pacer) lease(now time.Time) {
	if p.queue.size > 0 {
		p.want(now, p.queue.next().cost)
	}
}

// want asks for a lease if that is what a request of cost c waits for.
func (p *Pacer) want(now time.Time, c Cost) {
	l := &p.limits
	if !l.leased() || !l.lease.asked.IsZero() || p.told.shut(now) || !p.learn.due() || !p.windows.open(now, c) ||
		now.Before(l.lease.from) || l.open(c) {
		return
	}
	l.lease.asked = now
	l.lease.least = Amount{1, c.Tokens}
	p.member.peers.News()
}

// allowed returns how many requests a second the configured limits allow, by the tokens of the
// last ones; 0: any number.
func (p *Pacer) allowed(now time.Time) float64 {
	most := p.limits.set.RequestsPerMinute / 60
	if tokens := p.limits.set.TokensPerMinute / 60; tokens > 0 {
		each := 1.0
		if turns := p.member.turns.rate(now); turns > 0 {
			each = max(1, p.member.tokens.rate(now)/turns)
		}
		most = tighter(most, tokens/each)
	}
	return most
}

// asks returns how much is to be leased: what the queue and the last need take in a short
// time, but no more than the limits allow in that time, and at least one request.
func (p *Pacer) asks(now time.Time) Amount {
	l := &p.limits
	if !l.leased() || l.lease.asked.IsZero() {
		return Amount{}
	}
	const s = float64(leaseFor) / 1e9
	m := &p.member
	want := Amount{
		int64(p.queue.size) + int64(math.Ceil(m.turns.rate(now)*s)),
		p.queue.tokens + int64(math.Ceil(m.tokens.rate(now)*s)),
	}
	most := func(n, least int64, perMinute float64) int64 {
		if perMinute == 0 {
			return max(n, least)
		}
		return max(min(n, int64(perMinute/60*s)), least)
	}
	return Amount{
		most(want.Requests, l.lease.least.Requests, l.set.RequestsPerMinute),
		most(want.Tokens, l.lease.least.Tokens, l.set.TokensPerMinute),
	}
}

// report adds what the peers should know of leases, and takes it for told.
func (l *limiter) report(r *Report) {
	if e := l.lease; e != nil {
		r.Back, r.Alone, r.Corrected = e.back, e.alone, e.corrected
		e.back, e.alone, e.corrected = Amount{}, Amount{}, 0
	}
}

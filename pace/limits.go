package pace

import (
	"math"
	"time"
)

// Limits are configured limits, for [Pacer.Configure]. In each field, 0 or less (or NaN)
// means no limit.
type Limits struct {
	// RequestsPerMinute is the largest number of requests in any minute. At most a
	// sixtieth of them, but at least one, may be made in a burst.
	RequestsPerMinute float64
	// TokensPerMinute is the largest number of tokens that the requests of any
	// minute may use, by their [Cost] and [Pacer.Used]. At most a sixtieth of them,
	// but at least one request, may be used in a burst.
	TokensPerMinute float64
	// MaxConcurrent is the largest number of requests in flight.
	MaxConcurrent int
}

// Tighter returns the tighter of the two limits in each field.
func (l Limits) Tighter(o Limits) Limits {
	l, o = l.valid(), o.valid()
	return Limits{tighter(l.RequestsPerMinute, o.RequestsPerMinute), tighter(l.TokensPerMinute, o.TokensPerMinute), tighter(l.MaxConcurrent, o.MaxConcurrent)}
}

func tighter[N int | float64](a, b N) N {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// valid turns every value that means no limit into 0.
func (l Limits) valid() Limits {
	minute := func(n float64) float64 {
		if !(n > 0) || math.IsInf(n, 1) {
			return 0
		}
		return n
	}
	return Limits{minute(l.RequestsPerMinute), minute(l.TokensPerMinute), max(0, l.MaxConcurrent)}
}

// limiter holds requests to configured limits.
type limiter struct {
	set      Limits
	requests bucket
	tokens   bucket
	at       time.Time
	hold     time.Duration // how long a request is in flight, on the average
	lease    *lease        // of limits that peers share; nil: there are no peers
}

func (l *limiter) configure(now time.Time, set Limits) {
	l.advance(now)
	l.set, l.at = set.valid(), now
	l.requests.configure(l.set.RequestsPerMinute, 1)
	l.tokens.configure(l.set.TokensPerMinute, 0)
	if l.lease != nil {
		l.requests.level, l.tokens.level = min(l.requests.level, 0), min(l.tokens.level, 0)
	}
}

func (l *limiter) advance(now time.Time) {
	if d := now.Sub(l.at).Seconds(); d > 0 {
		if l.lease != nil {
			d = l.lease.advance(l.at, now)
		}
		l.requests.fill(d)
		l.tokens.fill(d)
		l.at = now
	}
}

func (l *limiter) open(c Cost) bool {
	if l.leased() && (l.lease.holds(l, l.at, c) || !l.lease.overdue(l.at)) {
		return l.lease.holds(l, l.at, c)
	}
	return l.requests.wait(1) == 0 && l.tokens.wait(float64(c.Tokens)) == 0
}

func (l *limiter) take(c Cost) {
	if l.leased() && l.lease.take(l, c) {
		return
	}
	l.requests.take(1)
	l.tokens.take(float64(c.Tokens))
}

func (l *limiter) back(tokens int64) {
	if l.leased() {
		l.lease.giveBack(Amount{1, tokens})
		return
	}
	l.requests.take(-1)
	l.tokens.take(-float64(tokens))
}

// full reports whether the buckets are full.
func (l *limiter) full() bool {
	if l.leased() {
		return l.lease.Amount == Amount{} && l.lease.asked.IsZero()
	}
	return l.requests.wait(l.requests.size) == 0 && l.tokens.wait(l.tokens.size) == 0
}

// turn returns when a request may go, with so many requests and tokens before it.
func (l *limiter) turn(now time.Time, c Cost, before int, tokens int64) time.Time {
	if l.leased() {
		return l.leasedTurn(now, c, before, tokens)
	}
	r, t := l.requests, l.tokens
	r.level -= float64(before)
	t.level -= float64(tokens)
	return now.Add(max(r.wait(1), t.wait(float64(c.Tokens))))
}

// held records how long a request was in flight.
func (l *limiter) held(d time.Duration) {
	if l.hold == 0 {
		l.hold = d
	}
	l.hold += (d - l.hold) / 8
}

// holds estimates how long it takes until a request may go, with so many before it and n
// in flight at most.
func (l *limiter) holds(before, n int) time.Duration {
	return time.Duration(float64(max(l.hold, 10*time.Millisecond)) * float64(before+1) / float64(n))
}

// bucket is a token bucket. Rate 0 means no limit. A request larger than the bucket goes
// when it is full, and leaves a debt.
type bucket struct {
	rate, size, level float64 // a second
	off               bool    // no limit now; what was taken under the last one still counts
}

// configure sets the bucket so that no minute has more than perMinute: its size, less
// the unit that may be taken in the minute's last instant, is subtracted from the rate.
// A new bucket is full; a debt is kept.
func (b *bucket) configure(perMinute, unit float64) {
	if b.off = perMinute == 0; b.off {
		return // a client may be back in an instant: calls in a row each configure it
	}
	full := b.rate == 0 || b.level >= b.size
	size := max(unit, perMinute/60)
	b.rate, b.size = (perMinute-(size-unit))/60, size
	if full {
		b.level = size
	}
	b.level = min(b.level, size)
}

func (b *bucket) fill(s float64) { b.level = min(b.size, b.level+b.rate*s) }

func (b *bucket) take(n float64) {
	if !b.off {
		b.level -= n
	}
}

// wait returns how long it takes until n may be taken.
func (b *bucket) wait(n float64) time.Duration {
	short := min(n, b.size) - b.level
	if b.rate == 0 || b.off || short <= tiny {
		return 0
	}
	return seconds(short / b.rate)
}

// tiny is the tolerance for sums of floats.
const tiny = 1e-6

// seconds returns a duration of s seconds, rounded up, of at most a century.
func seconds(s float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if !(s < century.Seconds()) {
		return century
	}
	return max(0, time.Duration(math.Ceil(s*1e9)))
}

// overloadFor is how long the limit of requests in flight holds after the last
// overload.
const overloadFor = 60 * time.Second

// overload limits the requests in flight after a provider said that it is short of
// capacity. An episode cuts the limit to half of those in flight, or to those that were
// not refused if they are fewer; later refusals of the same burst cut it to the latter.
// The limit grows by one after as many answers as the limit.
type overload struct {
	limit   int // 0: none
	answers int // since limit grew
	cut     uint64
	last    time.Time
}

// refused records that request s, one of inFlight, was refused for overload. fresh means
// a new episode. floor means that a single request was refused too, so that only a lower
// rate can help.
func (o *overload) refused(now time.Time, s *sent, inFlight int, seq uint64) (fresh, floor bool) {
	o.last, o.answers = now, 0
	others := max(1, inFlight-1) // the one that was refused is still counted
	if s == nil && o.limit > 0 || s != nil && s.seq <= o.cut {
		o.limit = min(o.limit, others)
		return false, false
	}
	floor = o.limit == 1
	o.limit = max(1, min(inFlight/2, others))
	o.cut = seq
	return true, floor
}

func (o *overload) accepted() {
	if o.limit == 0 {
		return
	}
	if o.answers++; o.answers >= o.limit {
		o.limit++
		o.answers = 0
	}
}

func (o *overload) advance(now time.Time) {
	if o.limit > 0 && now.Sub(o.last) >= overloadFor {
		*o = overload{}
	}
}

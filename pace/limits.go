package pace

import (
	"math"
	"time"
)

// Limits are the limits that a program configures. The zero value, and any
// value that is not above 0, mean no limit.
type Limits struct {
	// RequestsPerMinute is the largest number of requests in any minute. At most a
	// sixtieth of them, but at least one, is made at once.
	RequestsPerMinute float64
	// TokensPerMinute is how many tokens the requests of any minute may use, by
	// what their [Cost] and [Pacer.Used] say; a sixtieth of them at once, or one
	// request that is larger.
	TokensPerMinute float64
	// MaxConcurrent is the largest number of requests in flight at a time.
	MaxConcurrent int
}

// Tighter returns the tighter of two limits, each by itself.
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
}

func (l *limiter) configure(now time.Time, set Limits) {
	l.advance(now)
	l.set, l.at = set.valid(), now
	l.requests.configure(l.set.RequestsPerMinute, 1)
	l.tokens.configure(l.set.TokensPerMinute, 0)
}

func (l *limiter) advance(now time.Time) {
	if d := now.Sub(l.at).Seconds(); d > 0 {
		l.requests.fill(d)
		l.tokens.fill(d)
		l.at = now
	}
}

func (l *limiter) open(c Cost) bool {
	return l.requests.wait(1) == 0 && l.tokens.wait(float64(c.Tokens)) == 0
}

func (l *limiter) take(c Cost) {
	l.requests.take(1)
	l.tokens.take(float64(c.Tokens))
}

func (l *limiter) back(tokens int64) {
	l.requests.take(-1)
	l.tokens.take(-float64(tokens))
}

// full says whether all is there that the limits ever let through at once.
func (l *limiter) full() bool {
	return l.requests.wait(l.requests.size) == 0 && l.tokens.wait(l.tokens.size) == 0
}

// turn is when a request with so many before it may go.
func (l *limiter) turn(now time.Time, c Cost, before int, tokens int64) time.Time {
	r, t := l.requests, l.tokens
	r.level -= float64(before)
	t.level -= float64(tokens)
	return now.Add(max(r.wait(1), t.wait(float64(c.Tokens))))
}

// held takes in how long a request was in flight.
func (l *limiter) held(d time.Duration) {
	if l.hold == 0 {
		l.hold = d
	}
	l.hold += (d - l.hold) / 8
}

// holds is about how long it is until a place is free, of n, for one with so
// many before it.
func (l *limiter) holds(before, n int) time.Duration {
	return time.Duration(float64(max(l.hold, 10*time.Millisecond)) * float64(before+1) / float64(n))
}

// bucket lets through what it holds, and fills at a rate. Rate 0 means no limit.
// What is larger than the bucket goes when it is full, and leaves a debt.
type bucket struct {
	rate, size, level float64 // a second
	off               bool    // no limit now; what was taken under the last one still counts
}

// configure makes the bucket such that no minute sees more than perMinute:
// what it holds, less the unit that may be taken on the minute's last instant,
// is less to fill. It starts full, and keeps its debt.
func (b *bucket) configure(perMinute, unit float64) {
	if b.off = perMinute == 0; b.off {
		return // a client may be back in an instant: calls in a row each configure it
	}
	full := b.rate == 0 || b.level >= b.size
	size := max(unit, perMinute/60)
	b.rate, b.size = (perMinute-size+unit)/60, size
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

// wait is how long it is until n may go.
func (b *bucket) wait(n float64) time.Duration {
	short := min(n, b.size) - b.level
	if b.rate == 0 || b.off || short <= tiny {
		return 0
	}
	return seconds(short / b.rate)
}

// tiny is what sums of floats may be wrong by.
const tiny = 1e-6

// seconds is a duration of so many seconds, rounded up, and never more than a
// century.
func seconds(s float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if !(s < century.Seconds()) {
		return century
	}
	return max(0, time.Duration(math.Ceil(s*1e9)))
}

// overloadFor is how long a limit of those in flight holds after the last
// overload.
const overloadFor = 60 * time.Second

// overload limits the requests in flight after a provider said that it is short
// of capacity. An episode cuts the limit to half of those in flight, or to those
// in flight that were not refused, if that is less; later refusals of the same
// burst to the latter. It grows by one for as many answers as the limit.
type overload struct {
	limit   int // 0: none
	answers int // since limit grew
	cut     uint64
	last    time.Time
}

// refused takes in an overload of request s, one of inFlight. fresh: it is a new
// episode. floor: one request alone was refused too, and what is left to do is
// to send fewer a second.
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

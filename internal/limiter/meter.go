package limiter

import (
	"math"
	"time"

	"llmcall/internal/protocol"
)

// meter applies one limit of units (requests or tokens) per minute. It has no clock: the
// time is an argument. A time before that of an earlier call means the earlier call's.
type meter interface {
	// wait returns the time until n units fit if nobody else takes some; 0 if they fit
	// now. n must not be above the limit.
	wait(now time.Time, n int64) time.Duration
	// take uses n units, even if they don't fit.
	take(now time.Time, n int64)
	// room returns the state of the limit for a client.
	room(now time.Time) protocol.Room
}

// bucket is a token bucket (Turner, "New directions in communications", 1986). It counts
// in whole parts of a unit and whole microseconds, so that rounding errors do not add
// up.
type bucket struct {
	perMinute int64
	size      int64
	level     int64 // in parts; below 0 after more was taken than fitted
	at        time.Time
}

// A part is so small that one unit a minute fills one part a microsecond.
const partsPerUnit = int64(time.Minute / time.Microsecond)

func newBucket(perMinute, size int64) *bucket {
	return &bucket{perMinute: perMinute, size: size, level: size * partsPerUnit}
}

// advance fills the bucket for the time since the last call.
func (b *bucket) advance(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	}
	if now.Before(b.at) {
		return
	}
	elapsed, full := int64(now.Sub(b.at)/time.Microsecond), b.size*partsPerUnit
	if elapsed >= b.micros(full) { // the product below can't overflow then
		// A full bucket does not save the rest of a microsecond.
		b.level, b.at = full, now
		return
	}
	b.level += elapsed * b.perMinute
	b.at = b.at.Add(time.Duration(elapsed) * time.Microsecond)
}

// micros returns how long it takes to fill up to a level, rounded up.
func (b *bucket) micros(level int64) int64 {
	return max(0, (level-b.level+b.perMinute-1)/b.perMinute)
}

func (b *bucket) until(now time.Time, level int64) time.Duration {
	b.advance(now)
	missing := time.Duration(min(b.micros(level), math.MaxInt64/int64(time.Microsecond))) * time.Microsecond
	if missing == 0 {
		return 0
	}
	// A part of the first microsecond may have passed.
	return missing - max(0, now.Sub(b.at))
}

func (b *bucket) wait(now time.Time, n int64) time.Duration { return b.until(now, n*partsPerUnit) }

func (b *bucket) take(now time.Time, n int64) {
	b.advance(now)
	// The debt must not overflow, however much is taken.
	b.level = max(b.level-min(n, Max)*partsPerUnit, -Max*partsPerUnit)
}

func (b *bucket) room(now time.Time) protocol.Room {
	reset := b.until(now, b.size*partsPerUnit)
	return protocol.Room{Limit: b.size, Remaining: max(0, b.level) / partsPerUnit, Reset: reset}
}

// minutes counts in windows of a minute. A window begins with the first unit that is
// taken when none is open.
type minutes struct {
	limit int64
	used  int64
	start time.Time
}

func (m *minutes) open(now time.Time) bool {
	return !m.start.IsZero() && now.Sub(m.start) < time.Minute
}

// left is the rest of the window.
func (m *minutes) left(now time.Time) time.Duration {
	return time.Minute - max(0, now.Sub(m.start))
}

func (m *minutes) wait(now time.Time, n int64) time.Duration {
	if !m.open(now) || m.used+n <= m.limit {
		return 0
	}
	return m.left(now)
}

func (m *minutes) take(now time.Time, n int64) {
	if !m.open(now) {
		m.start, m.used = now, 0
	}
	m.used = min(m.used+n, 2*Max)
}

func (m *minutes) room(now time.Time) protocol.Room {
	if !m.open(now) {
		return protocol.Room{Limit: m.limit, Remaining: m.limit}
	}
	return protocol.Room{Limit: m.limit, Remaining: max(0, m.limit-m.used), Reset: m.left(now)}
}

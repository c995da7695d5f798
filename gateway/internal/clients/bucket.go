package clients

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// bucket holds a minute's worth, at least 1, and fills evenly. It may owe something. nil is
// a bucket without a limit. The caller holds the lock of its client.
type bucket struct {
	limiter *rate.Limiter
	perMin  float64
}

// newBucket returns a full bucket; nil for 0.
func newBucket(perMinute float64) *bucket {
	if perMinute == 0 {
		return nil
	}
	return &bucket{rate.NewLimiter(rate.Limit(perMinute/60), size(perMinute)), perMinute}
}

func size(perMinute float64) int { return int(math.Ceil(perMinute)) }

// changed returns the bucket with another limit. What is missing from it, in whole numbers
// and at most all that it then holds, is missing then, and what it owes is owed.
func (b *bucket) changed(perMinute float64, now time.Time) *bucket {
	next := newBucket(perMinute)
	switch {
	case b == nil || next == nil:
		return next
	case b.perMin == perMinute:
		return b
	}
	next.take(min(b.holds()-b.left(now), next.holds()+max(0, -b.left(now))), now)
	return next
}

func (b *bucket) holds() float64 { return float64(b.limiter.Burst()) }

// left returns what is in the bucket: less than 0 if it owes something.
func (b *bucket) left(now time.Time) float64 { return b.limiter.TokensAt(now) }

// fits returns what is taken of a bucket for n: no more than it holds.
func (b *bucket) fits(n float64) float64 { return min(n, b.holds()) }

// wait returns in what time n fit, or all that the bucket holds if that is less; 0: now.
func (b *bucket) wait(n float64, now time.Time) time.Duration {
	const rounding = 1e-6 // of the times of which the limiter makes tokens
	short := b.fits(n) - b.left(now)
	if short <= rounding {
		return 0
	}
	nanos := math.Ceil(short / b.perMin * float64(time.Minute))
	if nanos >= math.MaxInt64 {
		return math.MaxInt64
	}
	return max(1, time.Duration(nanos))
}

// take takes n, also more than is there; less than 0 gives back, until the bucket is full.
// rate.Limiter does not document that (https://go.dev/issue/54082), so that tests hold it
// to it. It lends no more than a full bucket at once, so that it gets a large one for that
// moment.
func (b *bucket) take(n float64, now time.Time) {
	holds := b.limiter.Burst()
	n = max(-math.MaxInt32, min(math.MaxInt32, math.Round(n)))
	b.limiter.SetBurstAt(now, math.MaxInt32)
	b.limiter.ReserveN(now, int(n))
	b.limiter.SetBurstAt(now, holds)
}

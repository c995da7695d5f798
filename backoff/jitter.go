package backoff

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// Jitter says how delays are spread. Its zero value is Proportional(0.1).
type Jitter struct {
	kind  jitterKind
	ratio float64
}

type jitterKind uint8

const (
	standard jitterKind = iota // the zero value: ±10 %
	proportional
	none
	full
	equal
	decorrelated
)

const defaultRatio = 0.1

var (
	// NoJitter leaves delays as they are: for tests, or for a single client.
	NoJitter = Jitter{kind: none}
	// FullJitter draws from [0, d]: the widest spread, and the least work for
	// a server that comes back (Brooker 2015).
	FullJitter = Jitter{kind: full}
	// EqualJitter draws from [d/2, d]: never less than half the delay.
	EqualJitter = Jitter{kind: equal}
	// Decorrelated draws each delay from [Initial, 3·previous], at most Max
	// (Brooker 2015); Factor is not used. So that nothing is remembered, the
	// previous delays are drawn anew: each delay has the distribution that it
	// has in a sequence, without being tied to the one actually waited before.
	Decorrelated = Jitter{kind: decorrelated}
)

// Proportional spreads a delay d over [d·(1-ratio), d·(1+ratio)], cut at the
// maximum. ratio is 0 to 1.
func Proportional(ratio float64) Jitter { return Jitter{proportional, ratio} }

// Validate returns a *ConfigError if the ratio is outside [0, 1].
func (j Jitter) Validate() error {
	if j.kind == proportional && !(j.ratio >= 0 && j.ratio <= 1) {
		return &ConfigError{"Jitter", j.ratio, "a ratio from 0 to 1"}
	}
	return nil
}

// validateStateless refuses Decorrelated for strategies that have no sequence
// of their own for it to replace.
func (j Jitter) validateStateless() error {
	if j.kind == decorrelated {
		return &ConfigError{"Jitter", "Decorrelated", "any other jitter: only Exponential can be decorrelated"}
	}
	return j.Validate()
}

// spread draws from the jitter's range around d, cut to [0, limit].
func (j Jitter) spread(d, limit time.Duration, random func() uint64) time.Duration {
	if d <= 0 {
		return 0
	}
	low, high := d, d
	switch j.kind {
	case standard:
		low, high = around(d, defaultRatio, limit)
	case proportional:
		low, high = around(d, j.ratio, limit)
	case full, decorrelated:
		low = 0
	case equal:
		low = d / 2
	}
	if low >= high {
		return high
	}
	return between(low, high, random)
}

// around returns d ± ratio·d, cut to [0, limit]; no sum overflows.
func around(d time.Duration, ratio float64, limit time.Duration) (low, high time.Duration) {
	if !(ratio >= 0) {
		return d, d
	}
	r := time.Duration(float64(d) * min(ratio, 1))
	low, high = d-r, limit
	if r < limit-d {
		high = d + r
	}
	return low, high
}

// between draws uniformly from [low, high]. The multiplication maps 64 random
// bits to the span without a division; its bias is below 2^-28 for a span of a
// minute.
func between(low, high time.Duration, random func() uint64) time.Duration {
	var u uint64
	if random == nil {
		u = rand.Uint64()
	} else {
		u = random()
	}
	part, _ := bits.Mul64(u, uint64(high-low)+1)
	return low + time.Duration(part)
}

// steps is where the distribution of a decorrelated walk no longer changes:
// it has reached its limit and forgotten where it began.
const steps = 100

// walk returns the delay of a decorrelated sequence after attempt steps.
func walk(initial, limit time.Duration, attempt int, random func() uint64) time.Duration {
	low := max(0, min(initial, limit))
	d := low
	for range min(max(attempt, 0), steps) + 1 {
		high := limit
		if d < limit/3 {
			high = 3 * d
		}
		if low >= high {
			return low
		}
		d = between(low, high, random)
	}
	return d
}

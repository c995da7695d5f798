package backoff

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// Jitter says how delays are spread. Its zero value is [Proportional](0.1).
type Jitter struct {
	// code is 1 + ratio·2⁶³ for Proportional, so that delays are spread by a
	// multiplication of integers; above that range, the other kinds. One word
	// keeps an Exponential in registers.
	code uint64
}

const (
	one          = 1 << 63
	proportional = one + 1 // the largest code of Proportional
	full         = one + 2
	equal        = one + 3
	decorrelated = one + 4
	impossible   = math.MaxUint32 << 32 // with the ratio that was asked for, as a float32

	standard = one/10 + 2 // Proportional(0.1), rounded up so that a tenth of a second is one
)

var (
	// NoJitter leaves delays as they are: for tests, or for a single client.
	NoJitter = Proportional(0)
	// FullJitter draws from [0, d]: the widest spread, and the least work for
	// a server that comes back (Brooker 2015).
	FullJitter = Jitter{full}
	// EqualJitter draws from [d/2, d]: never less than half the delay.
	EqualJitter = Jitter{equal}
	// Decorrelated draws each delay from [Initial, 3·previous], at most Max
	// (Brooker 2015); Factor is not used. So that nothing is remembered, the
	// previous delays are drawn again: each delay has the distribution that it
	// has in a sequence, without being tied to the one actually waited before.
	Decorrelated = Jitter{decorrelated}
)

// Proportional spreads a delay d over [d·(1-ratio), d·(1+ratio)], cut at the
// maximum. ratio is 0 to 1.
func Proportional(ratio float64) Jitter {
	if !(ratio >= 0 && ratio <= 1) {
		return Jitter{impossible | uint64(math.Float32bits(float32(ratio)))}
	}
	return Jitter{1 + uint64(ratio*one)}
}

// Validate returns a *[ConfigError] if the ratio is outside [0, 1].
func (j Jitter) Validate() error {
	if j.code >= impossible {
		return &ConfigError{"Jitter", math.Float32frombits(uint32(j.code)), "a ratio from 0 to 1"}
	}
	return nil
}

// validateStateless refuses Decorrelated for strategies that have no sequence
// of their own for it to replace.
func (j Jitter) validateStateless() error {
	if j == Decorrelated {
		return &ConfigError{"Jitter", "Decorrelated", "a jitter other than Decorrelated, which only Exponential has"}
	}
	return j.Validate()
}

// bounds returns the jitter's range around d, cut to [0, limit]: the lowest
// delay, and how many there are from there on. d is at most limit.
func (j Jitter) bounds(d, limit time.Duration) (low time.Duration, span uint64) {
	d = max(d, 0)
	switch {
	case j.code <= proportional:
		return around(d, limit, j.code)
	case j == EqualJitter:
		return d / 2, uint64(d-d/2) + 1
	case j == FullJitter:
		return 0, uint64(d) + 1
	}
	return d, 1
}

// around is bounds for Proportional.
func around(d, limit time.Duration, code uint64) (low time.Duration, span uint64) {
	if code == 0 {
		code = standard
	}
	r, _ := bits.Mul64(uint64(d)<<1, code-1)
	return d - time.Duration(r), r + min(r, uint64(limit-d)) + 1
}

// draw maps 64 random bits to one of span delays from low on, by a
// multiplication instead of a division; its bias is below 2^-28 for a span of a
// minute.
func draw(low time.Duration, span, chance uint64) time.Duration {
	part, _ := bits.Mul64(chance, span)
	return low + time.Duration(part)
}

// random is draw for any chance; where there is no choice, it costs none.
func random(low time.Duration, span uint64) time.Duration {
	if span == 1 {
		return low
	}
	return draw(low, span, rand.Uint64())
}

// steps is where the distribution of a decorrelated walk no longer changes:
// it has reached its limit and forgotten where it began.
const steps = 100

// walk returns the delay of a decorrelated sequence after attempt steps.
func walk(initial, limit time.Duration, attempt int, chance uint64) time.Duration {
	low := max(0, min(initial, limit))
	d := low
	source := rand.NewPCG(chance, 0)
	for range min(max(attempt, 0), steps) + 1 {
		high := limit
		if d <= limit/3 {
			high = 3 * d
		}
		if low >= high {
			return low
		}
		d = draw(low, uint64(high-low)+1, source.Uint64())
	}
	return d
}

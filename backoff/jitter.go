package backoff

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// Jitter says how delays are spread at random. Its values are [NoJitter],
// [FullJitter], [EqualJitter], [Decorrelated] and those of [Proportional]. The zero
// value is Proportional(0.1).
type Jitter struct {
	// code is 1 + ratio·2⁶³ for Proportional, so that delays are spread by an
	// integer multiplication. Larger codes are the other kinds. As one word it
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

	standard = one/10 + 2 // Proportional(0.1), rounded up so that a tenth of 1 s is not a nanosecond less
)

var (
	// NoJitter leaves delays as they are, for tests or a single client.
	NoJitter = Proportional(0)
	// FullJitter replaces a delay d by one from 0 to d. This is the widest spread,
	// and the least load on a server that recovers (Brooker, 2015).
	FullJitter = Jitter{full}
	// EqualJitter replaces a delay d by one from d/2 to d (Brooker, 2015).
	EqualJitter = Jitter{equal}
	// Decorrelated draws each delay from Initial to three times the previous delay,
	// at most Max (Brooker, 2015), for [Exponential], whose Factor is not used.
	// Since nothing is remembered, the previous delays are drawn again each time:
	// a delay has the distribution that it has in such a sequence, but does not
	// depend on the delay that was actually waited before it.
	Decorrelated = Jitter{decorrelated}
)

// Proportional returns a Jitter that replaces a delay d by one from d·(1-ratio) to
// d·(1+ratio), or to the strategy's maximum if that is less. ratio must be from 0 to 1;
// [Jitter.Validate], which the strategies call, refuses any other.
func Proportional(ratio float64) Jitter {
	if !(ratio >= 0 && ratio <= 1) {
		return Jitter{impossible | uint64(math.Float32bits(float32(ratio)))}
	}
	return Jitter{1 + uint64(ratio*one)}
}

// Validate returns a *[ConfigError] if the ratio given to [Proportional] is not from 0
// to 1, and nil for any other Jitter.
func (j Jitter) Validate() error {
	if j.code >= impossible {
		return &ConfigError{"Jitter", math.Float32frombits(uint32(j.code)), "a ratio from 0 to 1"}
	}
	return nil
}

// validateStateless is Validate for strategies that Decorrelated can't replace.
func (j Jitter) validateStateless() error {
	if j == Decorrelated {
		return &ConfigError{"Jitter", "Decorrelated", "a jitter other than Decorrelated, which only Exponential has"}
	}
	return j.Validate()
}

// bounds returns the jitter's range around d, within 0 to limit: the lowest delay,
// and the number of delays from there. d is at most limit.
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

// draw maps 64 random bits to one of span delays, of which low is the lowest. It
// multiplies instead of dividing; the bias is below 2^-28 for a span of a minute.
func draw(low time.Duration, span, chance uint64) time.Duration {
	part, _ := bits.Mul64(chance, span)
	return low + time.Duration(part)
}

// random is draw with random bits of the runtime. A span of 1 needs none.
func random(low time.Duration, span uint64) time.Duration {
	if span == 1 {
		return low
	}
	return draw(low, span, rand.Uint64())
}

// steps is the length of a decorrelated walk after which its distribution no longer
// changes.
const steps = 100

// walk returns the delay of a decorrelated sequence after an attempt.
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

// Package backoff computes how long to wait before another attempt.
//
// A delay is a pure function of the attempt's number and of chance: nothing is
// remembered between calls, so one value serves any number of goroutines and
// never needs a reset. Attempts count from 0, the delay after the first
// failure. No delay is ever negative or above its maximum, jitter included,
// whatever the attempt number.
//
// Jitter spreads the delays of many clients, so that they do not come back
// together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015). The range that a delay is drawn from is cut at the maximum, not
// the drawn value: cutting the value would gather the herd again at the cap.
package backoff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Strategy says how long to wait after attempt number attempt, counted from 0.
// Implementations are safe for concurrent use and return no negative delay.
type Strategy interface {
	Delay(attempt int) time.Duration
}

// The defaults of [Exponential], [Linear] and [Fibonacci].
const (
	DefaultInitial = time.Second
	DefaultFactor  = 2.0
	DefaultMax     = 60 * time.Second
)

// Exponential waits Initial·Factor^attempt, at most Max, with jitter. Its zero
// value waits 1 s, 2 s, 4 s … 60 s, each ±10 %.
type Exponential struct {
	// Initial is the delay after the first attempt. Default 1 s. For no delay
	// at all use Constant{}.
	Initial time.Duration
	// Factor is what each delay is multiplied by for the next. At least 1.
	// Default 2.
	Factor float64
	// Max is the largest delay, jitter included, also where Initial is larger.
	// Default 60 s, or Initial where that is larger.
	Max time.Duration
	// Jitter spreads the delays. Default Proportional(0.1).
	Jitter Jitter
}

// Delay returns the delay after attempt number attempt, counted from 0; a
// negative number counts as 0. With settings that Validate refuses the delay is
// still not negative, and not above Max or, where that is negative, its default.
func (e Exponential) Delay(attempt int) time.Duration {
	// What most callers have, in one piece: a call inside would cost as much as
	// all the arithmetic. At is the same for every setting, and the tests hold
	// them together.
	code, factor := e.Jitter.code, math.Float64bits(e.Factor)
	if factor != 0 && factor != two || code > proportional {
		return e.At(attempt, rand.Uint64())
	}
	initial, limit := initialAndMax(e.Initial, e.Max)
	low, span := around(double(initial, limit, attempt), limit, code)
	return draw(low, span, rand.Uint64())
}

// two is DefaultFactor's bits: integers are compared in one step, floats in two.
const two = 0x4000000000000000

// At is [Exponential.Delay] with chance given as an argument, 64 random bits: the same bits
// give the same delay. It is for simulations and tests.
func (e Exponential) At(attempt int, chance uint64) time.Duration {
	initial, limit := initialAndMax(e.Initial, e.Max)
	if e.Jitter == Decorrelated {
		return walk(initial, limit, attempt, chance)
	}
	factor := e.Factor
	if factor == 0 {
		factor = DefaultFactor
	}
	low, span := e.Jitter.bounds(grow(initial, limit, factor, attempt), limit)
	return draw(low, span, chance)
}

// double returns initial·2^attempt, at most limit: by a shift. A negative time is
// too large for it.
func double(initial, limit time.Duration, attempt int) time.Duration {
	if shift := uint(max(attempt, 0)); shift < 63 && uint64(initial) <= uint64(limit>>shift) {
		return initial << shift
	}
	return limit
}

// grow returns initial·factor^attempt, at most limit.
func grow(initial, limit time.Duration, factor float64, attempt int) time.Duration {
	if factor == DefaultFactor {
		return double(initial, limit, attempt)
	}
	d := float64(initial) * math.Pow(factor, float64(max(attempt, 0)))
	if d < float64(limit) {
		return time.Duration(d)
	}
	return limit // and for a d that is infinite or not a number
}

// Validate returns a *[ConfigError] that names the first setting that is impossible.
func (e Exponential) Validate() error {
	if err := checkTimes(e.Initial, e.Max); err != nil {
		return err
	}
	if e.Factor != 0 && !(e.Factor >= 1 && e.Factor <= math.MaxFloat64) {
		return &ConfigError{"Factor", e.Factor, "a finite number of at least 1"}
	}
	return e.Jitter.Validate()
}

// Linear waits Initial + attempt·Step, at most Max, with jitter.
type Linear struct {
	// Initial is the delay after the first attempt. Default 1 s.
	Initial time.Duration
	// Step is added for each further attempt. Default Initial.
	Step time.Duration
	// Max is the largest delay, jitter included, also where Initial is larger.
	// Default 60 s, or Initial where that is larger.
	Max    time.Duration
	Jitter Jitter // as in Exponential; not Decorrelated
}

// Delay returns the delay after attempt number attempt, counted from 0.
func (l Linear) Delay(attempt int) time.Duration {
	initial, limit := initialAndMax(l.Initial, l.Max)
	step := l.Step
	if step == 0 {
		step = initial
	}
	d := initial
	if attempt > 0 && step > 0 {
		if time.Duration(attempt) > (limit-initial)/step {
			d = limit
		} else {
			d = initial + time.Duration(attempt)*step
		}
	}
	return random(l.Jitter.bounds(min(d, limit), limit))
}

// Validate returns a *[ConfigError] that names the first setting that is impossible.
func (l Linear) Validate() error {
	if err := checkTimes(l.Initial, l.Max); err != nil {
		return err
	}
	if l.Step < 0 {
		return &ConfigError{"Step", l.Step, "a time of at least 0"}
	}
	return l.Jitter.validateStateless()
}

// Fibonacci waits Initial times 1, 1, 2, 3, 5, 8 …, at most Max, with jitter.
type Fibonacci struct {
	// Initial is the delay after the first attempt. Default 1 s.
	Initial time.Duration
	// Max is the largest delay, jitter included, also where Initial is larger.
	// Default 60 s, or Initial where that is larger.
	Max    time.Duration
	Jitter Jitter // as in Exponential; not Decorrelated
}

// Delay returns the delay after attempt number attempt, counted from 0.
func (f Fibonacci) Delay(attempt int) time.Duration {
	initial, limit := initialAndMax(f.Initial, f.Max)
	d, next := initial, initial
	for range attempt {
		if d >= limit || d <= 0 {
			break
		}
		if next > limit-d { // the sum would pass the limit, or overflow
			d, next = next, limit
			continue
		}
		d, next = next, d+next
	}
	return random(f.Jitter.bounds(min(d, limit), limit))
}

// Validate returns a *[ConfigError] that names the first setting that is impossible.
func (f Fibonacci) Validate() error {
	if err := checkTimes(f.Initial, f.Max); err != nil {
		return err
	}
	return f.Jitter.validateStateless()
}

// Constant waits Interval after every attempt, with jitter; the zero value
// does not wait. With jitter the delay stays at or below Interval.
type Constant struct {
	Interval time.Duration // default 0: no wait
	Jitter   Jitter        // as in Exponential; not Decorrelated
}

// Delay returns the interval, less its jitter.
func (c Constant) Delay(int) time.Duration {
	return random(c.Jitter.bounds(c.Interval, c.Interval))
}

// Validate returns a *[ConfigError] that names the first setting that is impossible.
func (c Constant) Validate() error {
	if c.Interval < 0 {
		return &ConfigError{"Interval", c.Interval, "a time of at least 0"}
	}
	return c.Jitter.validateStateless()
}

// Func is a strategy of the caller's own. A negative result counts as 0.
type Func func(attempt int) time.Duration

// Delay returns f(attempt), or 0 where that is negative.
func (f Func) Delay(attempt int) time.Duration { return max(0, f(attempt)) }

// Validate returns a *[ConfigError] if f is nil.
func (f Func) Validate() error {
	if f == nil {
		return &ConfigError{"Func", nil, "a function"}
	}
	return nil
}

func initialAndMax(initial, limit time.Duration) (time.Duration, time.Duration) {
	if initial == 0 {
		initial = DefaultInitial
	}
	if limit <= 0 {
		limit = max(DefaultMax, initial)
	}
	return initial, limit
}

func checkTimes(initial, limit time.Duration) error {
	if initial < 0 {
		return &ConfigError{"Initial", initial, "a time of at least 0"}
	}
	if limit < 0 {
		return &ConfigError{"Max", limit, "a time of at least 0"}
	}
	return nil
}

// ConfigError is an impossible setting.
type ConfigError struct {
	Field string // "Factor"
	Got   any
	Takes string // what it must be: "a finite number of at least 1"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("backoff: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

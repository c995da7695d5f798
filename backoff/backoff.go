// Package backoff computes how long to wait before another attempt.
//
// A [Strategy] gives the delay after each failed attempt. It is a pure function of
// the attempt's number and of chance: nothing is remembered between calls, so one
// value serves any number of goroutines and never needs a reset. Attempts are counted
// from 0: Delay(0) is the delay after the first failure. No delay is negative or
// above its maximum, jitter included, whatever the attempt's number.
//
// A [Jitter] spreads the delays at random, so that many clients do not come back at
// the same moment (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015). What is cut at the maximum is the range that a delay is drawn from,
// not the delay: otherwise many would be exactly the maximum, and come back together.
//
// The strategies are [Exponential], [Linear], [Fibonacci], [Constant] and [Func]. The
// zero value of each but Func is ready for use; its method Validate reports
// impossible settings.
package backoff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Strategy says how long to wait between attempts. Implementations are safe for
// concurrent use.
type Strategy interface {
	// Delay returns the delay after the failed attempt with that number, counted
	// from 0. It is never negative.
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
	// use [Constant]{}.
	Initial time.Duration
	// Factor multiplies each delay to give the next. At least 1. Default 2.
	Factor float64
	// Max is the largest delay, jitter included, even if Initial is larger.
	// Default 60 s, or Initial if that is larger.
	Max time.Duration
	// Jitter spreads the delays. Default [Proportional](0.1).
	Jitter Jitter
}

// Delay returns the delay after an attempt, counted from 0; a negative number counts
// as 0. If [Exponential.Validate] refuses the settings, the delay still is not
// negative and not above Max, or above the default of Max if Max is negative.
func (e Exponential) Delay(attempt int) time.Duration {
	// The common settings are computed here: calling At would cost as much as all
	// the arithmetic. At computes the same for all settings, as the tests check.
	code, factor := e.Jitter.code, math.Float64bits(e.Factor)
	if factor != 0 && factor != two || code > proportional {
		return e.At(attempt, rand.Uint64())
	}
	initial, limit := initialAndMax(e.Initial, e.Max)
	low, span := around(double(initial, limit, attempt), limit, code)
	return draw(low, span, rand.Uint64())
}

// two is the bits of DefaultFactor: integers are compared in one step, floats in two.
const two = 0x4000000000000000

// At is [Exponential.Delay] with chance, 64 random bits, as an argument: the same
// bits give the same delay. It is for simulations and tests.
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

// double returns initial·2^attempt, at most limit, by a shift. For a negative
// initial it returns limit.
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
	return limit // also if d is infinite or NaN
}

// Validate returns a *[ConfigError] for the first impossible setting, or nil.
func (e Exponential) Validate() error {
	if err := checkTimes(e.Initial, e.Max); err != nil {
		return err
	}
	if e.Factor != 0 && !(e.Factor >= 1 && e.Factor <= math.MaxFloat64) {
		return &ConfigError{"Factor", e.Factor, "a finite number of at least 1"}
	}
	return e.Jitter.Validate()
}

// Linear waits Initial + attempt·Step, at most Max, with jitter. Its zero value
// waits 1 s, 2 s, 3 s … 60 s, each ±10 %.
type Linear struct {
	// Initial is the delay after the first attempt. Default 1 s.
	Initial time.Duration
	// Step is added to each delay to give the next. Default Initial.
	Step time.Duration
	// Max is the largest delay, jitter included, even if Initial is larger.
	// Default 60 s, or Initial if that is larger.
	Max time.Duration
	// Jitter spreads the delays; it can't be [Decorrelated]. Default
	// [Proportional](0.1).
	Jitter Jitter
}

// Delay returns the delay after an attempt, counted from 0.
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

// Validate returns a *[ConfigError] for the first impossible setting, or nil.
func (l Linear) Validate() error {
	if err := checkTimes(l.Initial, l.Max); err != nil {
		return err
	}
	if l.Step < 0 {
		return &ConfigError{"Step", l.Step, "a time of at least 0"}
	}
	return l.Jitter.validateStateless()
}

// Fibonacci waits Initial times 1, 1, 2, 3, 5, 8 …, at most Max, with jitter. Its
// zero value waits 1 s, 1 s, 2 s … 60 s, each ±10 %.
type Fibonacci struct {
	// Initial is the delay after the first attempt. Default 1 s.
	Initial time.Duration
	// Max is the largest delay, jitter included, even if Initial is larger.
	// Default 60 s, or Initial if that is larger.
	Max time.Duration
	// Jitter spreads the delays; it can't be [Decorrelated]. Default
	// [Proportional](0.1).
	Jitter Jitter
}

// Delay returns the delay after an attempt, counted from 0.
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

// Validate returns a *[ConfigError] for the first impossible setting, or nil.
func (f Fibonacci) Validate() error {
	if err := checkTimes(f.Initial, f.Max); err != nil {
		return err
	}
	return f.Jitter.validateStateless()
}

// Constant waits Interval after every attempt, less its jitter. The zero value does
// not wait.
type Constant struct {
	// Interval is the largest delay: jitter makes it only shorter. Default 0.
	Interval time.Duration
	// Jitter spreads the delays; it can't be [Decorrelated]. Default
	// [Proportional](0.1).
	Jitter Jitter
}

// Delay returns Interval, less its jitter, whatever the attempt.
func (c Constant) Delay(int) time.Duration {
	return random(c.Jitter.bounds(c.Interval, c.Interval))
}

// Validate returns a *[ConfigError] for the first impossible setting, or nil.
func (c Constant) Validate() error {
	if c.Interval < 0 {
		return &ConfigError{"Interval", c.Interval, "a time of at least 0"}
	}
	return c.Jitter.validateStateless()
}

// Func is a [Strategy] made from a function of the attempt's number, counted from 0.
type Func func(attempt int) time.Duration

// Delay returns f(attempt), or 0 if that is negative.
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

// ConfigError is the error of the Validate methods for a setting that is impossible.
type ConfigError struct {
	Field string // "Factor"
	Got   any    // its value
	Takes string // what it must be: "a finite number of at least 1"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("backoff: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

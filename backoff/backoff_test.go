package backoff_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"llmcall/backoff"

	"pgregory.net/rapid"
)

const s = time.Second

func TestDelaysWithoutJitterAreTheSequence(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy backoff.Strategy
		want     []time.Duration
	}{
		{"exponential to its cap", backoff.Exponential{Max: 10 * s, Jitter: backoff.NoJitter}, []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}},
		{"exponential by default", backoff.Exponential{Jitter: backoff.NoJitter}, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s}},
		{"factor 1 is constant", backoff.Exponential{Initial: 3 * s, Factor: 1, Jitter: backoff.NoJitter}, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"factor 1.5", backoff.Exponential{Factor: 1.5, Jitter: backoff.NoJitter}, []time.Duration{s, 1500 * time.Millisecond, 2250 * time.Millisecond}},
		{"small delays are not raised", backoff.Exponential{Initial: 10 * time.Millisecond, Jitter: backoff.NoJitter}, []time.Duration{10 * time.Millisecond, 20 * time.Millisecond}},
		{"an initial delay above the default maximum stands", backoff.Exponential{Initial: 90 * s, Jitter: backoff.NoJitter}, []time.Duration{90 * s, 90 * s}},
		{"a maximum below the initial delay stands", backoff.Exponential{Max: s / 2, Jitter: backoff.NoJitter}, []time.Duration{s / 2, s / 2}},
		{"linear", backoff.Linear{Jitter: backoff.NoJitter}, []time.Duration{s, 2 * s, 3 * s, 4 * s}},
		{"linear with a step and a cap", backoff.Linear{Initial: s, Step: 5 * s, Max: 12 * s, Jitter: backoff.NoJitter}, []time.Duration{s, 6 * s, 11 * s, 12 * s, 12 * s}},
		{"fibonacci", backoff.Fibonacci{Jitter: backoff.NoJitter}, []time.Duration{s, s, 2 * s, 3 * s, 5 * s, 8 * s, 13 * s, 21 * s, 34 * s, 55 * s, 60 * s}},
		{"constant", backoff.Constant{Interval: 7 * s, Jitter: backoff.NoJitter}, []time.Duration{7 * s, 7 * s}},
		{"no wait", backoff.Constant{}, []time.Duration{0, 0}},
		{"a function", backoff.Func(func(n int) time.Duration { return time.Duration(n-1) * s }), []time.Duration{0, 0, s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for attempt, want := range c.want {
				if got := c.strategy.Delay(attempt); got != want {
					t.Errorf("Delay(%d) = %v, want %v", attempt, got, want)
				}
			}
		})
	}
}

func TestImpossibleSettingsNameTheField(t *testing.T) {
	for field, strategies := range map[string][]interface{ Validate() error }{
		"Initial": {backoff.Exponential{Initial: -1}, backoff.Linear{Initial: -1}, backoff.Fibonacci{Initial: -1}},
		"Max":     {backoff.Exponential{Max: -1}, backoff.Linear{Max: -1}, backoff.Fibonacci{Max: -1}},
		"Factor": {
			backoff.Exponential{Factor: 0.99}, backoff.Exponential{Factor: math.NaN()}, backoff.Exponential{Factor: math.Inf(1)},
			backoff.Exponential{Factor: -2},
		},
		"Jitter": {
			backoff.Exponential{Jitter: backoff.Proportional(-0.1)}, backoff.Linear{Jitter: backoff.Proportional(1.1)},
			backoff.Constant{Jitter: backoff.Proportional(math.NaN())}, backoff.Fibonacci{Jitter: backoff.Decorrelated},
		},
		"Step":     {backoff.Linear{Step: -1}},
		"Interval": {backoff.Constant{Interval: -1}},
		"Func":     {backoff.Func(nil)},
	} {
		for _, strategy := range strategies {
			var e *backoff.ConfigError
			if err := strategy.Validate(); !errors.As(err, &e) || e.Field != field || !strings.Contains(err.Error(), field+" must be ") {
				t.Errorf("%#v: got %v, want an error that names %s", strategy, err, field)
			}
		}
	}
	for _, good := range []interface{ Validate() error }{
		backoff.Exponential{}, backoff.Linear{}, backoff.Fibonacci{}, backoff.Constant{}, backoff.Exponential{Factor: 1},
		backoff.Exponential{Jitter: backoff.Decorrelated}, backoff.Exponential{Jitter: backoff.Proportional(1)},
		backoff.Exponential{Jitter: backoff.NoJitter}, backoff.Exponential{Factor: math.MaxFloat64},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%#v: %v", good, err)
		}
	}
}

// The range is [d·(1-r), d·(1+r)] cut at Max before the draw. Were the drawn
// value cut, half of all delays at the cap would be exactly Max.
func TestRangeIsCutBeforeTheDraw(t *testing.T) {
	e := backoff.Exponential{Initial: 10 * s, Max: 10 * s, Jitter: backoff.Proportional(0.5)}
	atMax, low := 0, 0
	const draws = 10_000
	for range draws {
		d := e.Delay(3)
		if d < 5*s || d > 10*s {
			t.Fatalf("delay %v outside [5s, 10s]", d)
		}
		if d == 10*s {
			atMax++
		}
		if d < 6*s {
			low++
		}
	}
	if atMax > 1 {
		t.Errorf("%d of %d delays are exactly Max: the herd forms again", atMax, draws)
	}
	if low < draws/6 || low > draws/4 {
		t.Errorf("%d of %d delays in the lowest fifth of the range: not uniform", low, draws)
	}
}

func TestEachJitterKeepsItsRangeAndReachesItsEnds(t *testing.T) {
	for _, c := range []struct {
		name      string
		jitter    backoff.Jitter
		attempt   int
		low, high time.Duration
	}{
		{"default", backoff.Jitter{}, 2, 3600 * time.Millisecond, 4400 * time.Millisecond},
		{"proportional", backoff.Proportional(0.25), 2, 3 * s, 5 * s},
		{"proportional 1", backoff.Proportional(1), 2, 0, 8 * s},
		{"proportional 0", backoff.Proportional(0), 2, 4 * s, 4 * s},
		{"full", backoff.FullJitter, 2, 0, 4 * s},
		{"equal", backoff.EqualJitter, 2, 2 * s, 4 * s},
		{"none", backoff.NoJitter, 2, 4 * s, 4 * s},
		{"default at the cap", backoff.Jitter{}, 9, 54 * s, 60 * s},
		{"full at the cap", backoff.FullJitter, 9, 0, 60 * s},
	} {
		e := backoff.Exponential{Jitter: c.jitter}
		if got := e.At(c.attempt, 0); got != c.low {
			t.Errorf("%s: lowest %v, want %v", c.name, got, c.low)
		}
		if got := e.At(c.attempt, math.MaxUint64); got != c.high {
			t.Errorf("%s: highest %v, want %v", c.name, got, c.high)
		}
	}
}

func TestDecorrelatedKeepsItsRange(t *testing.T) {
	e := backoff.Exponential{Jitter: backoff.Decorrelated}
	lowest, highest := time.Hour, time.Duration(0)
	for range 20_000 {
		d := e.Delay(1)
		lowest, highest = min(lowest, d), max(highest, d)
	}
	if lowest < s || lowest > s+s/20 || highest > 9*s || highest < 8*s {
		t.Errorf("the second delay lay in [%v, %v], want nearly all of [1s, 9s]", lowest, highest)
	}
	if d := e.At(1_000_000, 1); d < s || d > 60*s {
		t.Errorf("after a million attempts: %v", d)
	}
}

// The decorrelated walk without a memory has the distribution of one with a
// memory: compared by mean, attempt by attempt.
func TestDecorrelatedHasTheDistributionOfTheSequence(t *testing.T) {
	const runs = 40_000
	e := backoff.Exponential{Jitter: backoff.Decorrelated}
	var sequence, stateless [6]float64
	for range runs {
		previous := 1.0
		for n := range sequence {
			previous = 1 + rand.Float64()*(min(3*previous, 60)-1)
			sequence[n] += previous / runs
			stateless[n] += e.Delay(n).Seconds() / runs
		}
	}
	for n := range sequence {
		if math.Abs(sequence[n]-stateless[n]) > 0.04*sequence[n] {
			t.Errorf("attempt %d: mean %.3f s, a sequence with memory has %.3f s", n, stateless[n], sequence[n])
		}
	}
}

func TestTheSameChanceGivesTheSameDelay(t *testing.T) {
	if got, want := (backoff.Exponential{}).At(1, 1<<63), 2*s; got != want {
		t.Errorf("with the middle of the range drawn, the delay is %v, want %v", got, want)
	}
	e := backoff.Exponential{Jitter: backoff.Decorrelated}
	first, again, other := e.At(3, 7), e.At(3, 7), e.At(3, 8)
	if first != again || first == other {
		t.Error("a decorrelated delay does not depend on chance alone")
	}
}

// Delay has a short way for the most common settings. It draws from the same
// range as At.
func TestDelayDrawsFromTheRangeOfAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := backoff.Exponential{
			Initial: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "initial")),
			Factor:  rapid.SampledFrom([]float64{0, 2}).Draw(t, "factor"),
			Max:     time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "max")),
			Jitter:  rapid.OneOf(rapid.Just(backoff.Jitter{}), rapid.Map(rapid.Float64Range(0, 1), backoff.Proportional)).Draw(t, "jitter"),
		}
		attempt := rapid.IntRange(-1, 70).Draw(t, "attempt")
		lowest, highest := e.At(attempt, 0), e.At(attempt, math.MaxUint64)
		for range 20 {
			if d := e.Delay(attempt); d < lowest || d > highest {
				t.Fatalf("%#v.Delay(%d) = %v, outside [%v, %v]", e, attempt, d, lowest, highest)
			}
		}
		e.Jitter = backoff.NoJitter
		if got, want := e.Delay(attempt), e.At(attempt, 0); got != want {
			t.Fatalf("%#v.Delay(%d) = %v, want %v", e, attempt, got, want)
		}
	})
}

var jitters = rapid.OneOf(
	rapid.Just(backoff.Jitter{}), rapid.Just(backoff.NoJitter), rapid.Just(backoff.FullJitter), rapid.Just(backoff.EqualJitter),
	rapid.Just(backoff.Decorrelated), rapid.Map(rapid.Float64(), backoff.Proportional),
)

// Any settings at all, impossible ones too.
func TestNoDelayIsNegativeOrAboveMax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		time64 := rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) })
		initial, limit := time64.Draw(t, "initial"), time64.Draw(t, "max")
		jitter := jitters.Draw(t, "jitter")
		chance := rapid.Uint64().Draw(t, "chance")
		attempt := rapid.OneOf(rapid.Int(), rapid.IntRange(0, 100)).Draw(t, "attempt")
		for _, strategy := range []backoff.Strategy{
			backoff.Exponential{initial, rapid.Float64().Draw(t, "factor"), limit, jitter},
			backoff.Exponential{initial, 2, limit, jitter},
			backoff.Linear{initial, time64.Draw(t, "step"), limit, jitter},
			backoff.Fibonacci{initial, limit, jitter},
		} {
			highest := limit
			if limit <= 0 {
				highest = max(initial, 60*s)
			}
			if d := strategy.Delay(attempt); d < 0 || d > max(0, highest) {
				t.Fatalf("%#v.Delay(%d) = %v", strategy, attempt, d)
			}
			if e, ok := strategy.(backoff.Exponential); ok {
				if d := e.At(attempt, chance); d < 0 || d > max(0, highest) {
					t.Fatalf("%#v.At(%d, %d) = %v", strategy, attempt, chance, d)
				}
			}
		}
		if d := (backoff.Constant{initial, jitter}).Delay(attempt); d < 0 || d > max(0, initial) {
			t.Fatalf("Constant{%v}: %v", initial, d)
		}
	})
}

// Against the definition, computed in big steps by math.Pow.
func TestExponentialIsInitialTimesFactorToTheAttempt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		initial := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "initial"))
		factor := rapid.OneOf(rapid.Just(2.0), rapid.Float64Range(1, 10)).Draw(t, "factor")
		limit := time.Duration(rapid.Int64Range(int64(initial), math.MaxInt64).Draw(t, "max"))
		attempt := rapid.IntRange(0, 20_000).Draw(t, "attempt")
		want := min(float64(initial)*math.Pow(factor, float64(attempt)), float64(limit))
		got := float64(backoff.Exponential{Initial: initial, Factor: factor, Max: limit, Jitter: backoff.NoJitter}.Delay(attempt))
		if math.Abs(got-want) > 1+want*1e-12 {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestTheLargestTimesDoNotOverflow(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for name, got := range map[string]time.Duration{
		"doubled":              backoff.Exponential{Initial: most, Max: most, Jitter: backoff.NoJitter}.Delay(1),
		"tripled":              backoff.Exponential{Initial: most, Max: most, Factor: 3, Jitter: backoff.NoJitter}.Delay(0),
		"the whole as jitter":  most + backoff.Exponential{Initial: most, Max: most, Jitter: backoff.Proportional(1)}.At(0, 0),
		"linear past its cap":  most/2 + backoff.Linear{Initial: most / 2, Step: most / 2, Max: most/2 + 1, Jitter: backoff.NoJitter}.Delay(2),
		"linear":               backoff.Linear{Initial: 1, Step: most / 2, Max: most, Jitter: backoff.NoJitter}.Delay(2),
		"fibonacci, in thirds": backoff.Fibonacci{Initial: most / 3, Max: most, Jitter: backoff.NoJitter}.Delay(4),
	} {
		if got != most {
			t.Errorf("%s: %v, want %v", name, got, most)
		}
	}
}

func TestEachStrategySpreadsItsDelays(t *testing.T) {
	for _, strategy := range []backoff.Strategy{
		backoff.Exponential{}, backoff.Exponential{Factor: 3}, backoff.Linear{}, backoff.Fibonacci{}, backoff.Constant{Interval: s},
		backoff.Exponential{Jitter: backoff.FullJitter}, backoff.Exponential{Jitter: backoff.EqualJitter},
	} {
		seen := map[time.Duration]bool{}
		for range 20 {
			seen[strategy.Delay(1)] = true
		}
		if len(seen) < 15 {
			t.Errorf("%#v: %d delays among 20", strategy, len(seen))
		}
	}
}

// A few nanoseconds, so that each delay of the range is drawn soon.
func TestDecorrelatedReachesBothEndsOfItsRange(t *testing.T) {
	for _, c := range []struct{ initial, limit, want time.Duration }{{1, 3, 3}, {3, 11, 9}, {3, 9, 9}, {3, 8, 8}, {5, 5, 5}} {
		lowest, highest := time.Hour, time.Duration(0)
		for chance := range uint64(1000) {
			d := backoff.Exponential{Initial: c.initial, Max: c.limit, Jitter: backoff.Decorrelated}.At(0, chance)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if lowest != c.initial || highest != c.want {
			t.Errorf("from %d, at most %d: drawn from [%d, %d], want [%d, %d]", c.initial, c.limit, lowest, highest, c.initial, c.want)
		}
	}
}

func TestADelayAllocatesNothing(t *testing.T) {
	e := backoff.Exponential{}
	if n := testing.AllocsPerRun(100, func() { e.Delay(3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTenThousandDelays(b *testing.B) {
	e := backoff.Exponential{}
	b.ReportAllocs()
	for b.Loop() {
		for attempt := range 10_000 {
			e.Delay(attempt & 7)
		}
	}
}

func BenchmarkDelay(b *testing.B) {
	e := backoff.Exponential{}
	b.ReportAllocs()
	for b.Loop() {
		e.Delay(3)
	}
}

func BenchmarkFloorRandomNumber(b *testing.B) {
	for b.Loop() {
		rand.Uint64()
	}
}

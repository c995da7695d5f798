// Package breaker is a circuit breaker: it stops calls to a service that fails,
// and finds out by itself when the service is well again (M. Nygard, "Release
// It!", 2007).
//
// A breaker is CLOSED while all is well: calls pass. It is OPEN after too many
// failures: calls are refused without being made. After a recovery time it is
// HALF_OPEN: a few calls pass as probes; enough successes close it, one failure
// opens it again.
//
// It opens when, and only when, the last FailureThreshold failures lie within
// the window and make up at least FailureRate of the calls that ended since the
// first of them. The window is exact, not a row of buckets. It is the longer of
// FailureWindow and FailureThreshold times the longest of those failures, so
// that an outage whose calls last for minutes opens the circuit like a quick
// one. The rate is there beside the count because a count alone harms a healthy
// service: five failures in five minutes are 0.2 % of ten calls a second. With a
// share p of calls that fail independently, a failure opens a breaker of the
// defaults (threshold 5, rate 0.8) by bad luck with the chance that four of the
// five calls before it failed too:
//
//	p       0.01     0.1      0.3     0.5    0.7   0.9
//	chance  5·10⁻⁸   0.05 %   3 %     19 %   53 %  92 %
//
// A caller with heavy traffic raises the threshold to a second or two of calls.
//
// The table holds for calls that fail independently of how long they last.
// Where failures are quicker than answers (a connection is refused in a
// millisecond, a model answers in seconds), the first calls of a burst to end
// are the failures among them, and there are no answers yet to hold them
// against: a burst of a hundred calls of which a fifth is refused at once opens
// the breaker of the defaults. A caller that sends such bursts raises the
// threshold to the failures that a burst may have.
//
// # Calls
//
// [Do] makes a call and judges its error by the context alone. A caller that knows
// more uses [Breaker.Enter] before the call and [Breaker.Leave] after it, with the
// [Outcome] that it has decided: a success, a failure, a failure that opens the
// circuit at once, or neither. The breaker does not judge again. What was
// admitted in an earlier state never counts in a later one.
//
// Between the two there may be a third moment: [Breaker.Accept] says that an
// answer has begun to come. A probe has passed then, however its call ends, and
// its place is free. Without it a service whose answers are all left by their
// readers would stay HALF_OPEN for ever.
//
// What a breaker keeps of a failure is its [Cause]: kind, status and code. It
// holds no error, whose text may be a megabyte of another caller's prompt.
//
// In the CLOSED state, with no failure that could still matter, a success writes
// to no shared memory and reads no clock, so it scales with the cores.
package breaker

import (
	"fmt"
	"math"
	"sort"
	"sync/atomic"
	"time"
)

// The defaults of Config.
const (
	DefaultFailureThreshold = 5
	DefaultFailureWindow    = 300 * time.Second
	DefaultFailureRate      = 0.8
	DefaultRecoveryTimeout  = 60 * time.Second
	DefaultHalfOpenProbes   = 1
	DefaultSuccessThreshold = 2
	DefaultMaxOpen          = time.Hour
)

// The largest settings taken: they bound a breaker's memory, and what it counts
// fits its word.
const (
	maxThreshold = 10_000
	minRate      = 0.001
	maxFactor    = 1000
)

// countAlone is the FailureRate of a filled Config for any negative number.
const countAlone = -1

// Config is the configuration of a [Breaker]. The zero value of every field
// means its default. Two configurations that mean the same are equal (==) once
// they are [Config.Filled].
type Config struct {
	// FailureThreshold is how many failures open the circuit, 1 to 10,000.
	// Default 5.
	FailureThreshold int
	// FailureWindow is how far back failures count; one that is exactly this
	// old still does. The window is longer where the failures themselves lasted
	// long: at least FailureThreshold times the longest of them, of which at
	// most 10 minutes are reckoned. Default 300 s.
	FailureWindow time.Duration
	// FailureRate is the share of the calls ended since the first of those
	// failures that they must make up, 0.001 to 1: 1 is failures in a row. A
	// negative number is the count alone. Default 0.8.
	FailureRate float64
	// RecoveryTimeout is how long the circuit stays OPEN before it admits
	// probes. Default 60 s.
	RecoveryTimeout time.Duration
	// RecoveryFactor is how much longer each further opening lasts than the one
	// before, until the circuit is CLOSED again, 1 to 1000: with 2 and 60 s, 60,
	// 120, 240 s and so on up to MaxOpen. The times are exact: a replica opens
	// by failures of its own, and each probes with HalfOpenProbes calls. Default
	// 1.
	RecoveryFactor float64
	// TripTimeout is how long the circuit stays OPEN after a failure that opens
	// it at once and does not say itself for how long (see [Failure]). Default
	// ten times RecoveryTimeout, at most MaxOpen.
	TripTimeout time.Duration
	// MaxOpen is the longest that the circuit stays OPEN, whatever
	// RecoveryFactor, TripTimeout and the failures themselves say. Default 1 h,
	// or RecoveryTimeout where that is longer.
	MaxOpen time.Duration
	// HalfOpenProbes is how many probes may be under way at a time, 1 to
	// 10,000. Default 1.
	HalfOpenProbes int
	// SuccessThreshold is how many probes must succeed to close the circuit, 1
	// to 10,000. Default 2.
	SuccessThreshold int
	// ProbeLease is how long a probe holds its place. One that has not
	// reported by then may have been lost, and another takes its place; if it
	// reports after all, it counts. Default RecoveryTimeout.
	ProbeLease time.Duration
	// SlowCall makes a call that lasts this long a failure, when it has lasted
	// this long and not only when it ends. Default 0: off, at no cost.
	SlowCall time.Duration
}

// ConfigError is the error for a setting that is not valid.
type ConfigError struct {
	Field string // "FailureThreshold"
	Got   any
	Takes string // what it must be: "a whole number from 1 to 10,000"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("breaker: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// Filled returns the configuration with its defaults filled in, so that two that
// mean the same are equal, or a [*ConfigError].
func (c Config) Filled() (Config, error) {
	if err := c.fillNumbers(); err != nil {
		return Config{}, err
	}
	if err := c.fillTimes(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (c *Config) fillNumbers() error {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"FailureThreshold", &c.FailureThreshold, DefaultFailureThreshold},
		{"HalfOpenProbes", &c.HalfOpenProbes, DefaultHalfOpenProbes},
		{"SuccessThreshold", &c.SuccessThreshold, DefaultSuccessThreshold},
	} {
		if *f.value < 0 || *f.value > maxThreshold {
			return &ConfigError{f.name, *f.value, "a whole number from 1 to 10,000 (0 is the default)"}
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	switch r := c.FailureRate; {
	case r < 0:
		c.FailureRate = countAlone
	case r == 0:
		c.FailureRate = DefaultFailureRate
	case !(r >= minRate && r <= 1): // a NaN is neither
		return &ConfigError{"FailureRate", r, "a number from 0.001 to 1, or negative for the count alone (0 is the default)"}
	}
	switch f := c.RecoveryFactor; {
	case f == 0:
		c.RecoveryFactor = 1
	case !(f >= 1 && f <= maxFactor):
		return &ConfigError{"RecoveryFactor", f, "a number from 1 to 1000 (0 is the default)"}
	}
	return nil
}

func (c *Config) fillTimes() error {
	for _, f := range []struct {
		name     string
		value    *time.Duration
		fallback func() time.Duration
	}{
		{"FailureWindow", &c.FailureWindow, func() time.Duration { return DefaultFailureWindow }},
		{"RecoveryTimeout", &c.RecoveryTimeout, func() time.Duration { return DefaultRecoveryTimeout }},
		{"TripTimeout", &c.TripTimeout, func() time.Duration { return min(c.RecoveryTimeout, math.MaxInt64/10) * 10 }},
		{"MaxOpen", &c.MaxOpen, func() time.Duration { return max(DefaultMaxOpen, c.RecoveryTimeout) }},
		{"ProbeLease", &c.ProbeLease, func() time.Duration { return c.RecoveryTimeout }},
		{"SlowCall", &c.SlowCall, func() time.Duration { return 0 }},
	} {
		if *f.value < 0 {
			return &ConfigError{f.name, *f.value, "a time of at least 0"}
		}
		if *f.value == 0 {
			*f.value = f.fallback()
		}
	}
	if c.RecoveryTimeout > c.MaxOpen {
		return &ConfigError{"MaxOpen", c.MaxOpen, fmt.Sprintf("at least RecoveryTimeout (%v)", c.RecoveryTimeout)}
	}
	c.TripTimeout = min(c.TripTimeout, c.MaxOpen)
	return nil
}

// settings is a filled Config and what follows from it.
type settings struct {
	Config
	// limit is how many successes there may be between the first and the last of
	// FailureThreshold failures that still make up FailureRate; more, and they
	// can't open the circuit. -1: any number may (the count alone).
	limit int
}

func newSettings(c Config) (*settings, error) {
	c, err := c.Filled()
	if err != nil {
		return nil, err
	}
	return &settings{Config: c, limit: successLimit(c.FailureThreshold, c.FailureRate)}, nil
}

// successLimit returns the largest number of successes beside n failures that
// leaves the failures at least rate of all; it is searched for with the very
// comparison that defines it, because n/rate may be rounded either way.
func successLimit(n int, rate float64) int {
	if rate < 0 {
		return -1
	}
	return sort.Search(int(float64(n)/minRate), func(s int) bool { return float64(n)/float64(n+s+1) < rate })
}

// Breaker is one circuit. It is safe for use from many goroutines; all calls to
// the same service share it: a breaker that lives for one call protects nobody.
type Breaker struct {
	word     atomic.Uint64 // see word.go
	settings *settings
	book     atomic.Pointer[book] // nil until there is trouble to write down
	hooks    []func(Transition)
	name     string
}

// New returns a breaker that is CLOSED. The error is a [*ConfigError] for a setting
// that is not valid.
//
// The hooks are told of each change of state, in order, one at a time and
// outside every lock, on the goroutine that caused the change. They may call the
// breaker; a change that a hook causes is told after it has returned. A panic in
// a hook is logged with log/slog and goes no further; runtime.Goexit (a test's
// FailNow) ends the goroutine that caused the change, and what was still to tell
// is told with the next change. While a hook takes its time, other goroutines go
// on, and up to 100 changes wait; of more the oldest are dropped, and counted in
// the next one's Dropped.
func New(name string, c Config, hooks ...func(Transition)) (*Breaker, error) {
	s, err := newSettings(c)
	if err != nil {
		return nil, err
	}
	b := &Breaker{settings: s, name: name, hooks: hooks}
	b.word.Store(1<<genShift | uint64(s.watchBit()))
	return b, nil
}

// Name returns the name given to [New].
func (b *Breaker) Name() string { return b.name }

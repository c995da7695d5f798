// Package breaker is a circuit breaker: it stops calls to a service that fails,
// and finds out by itself when the service has recovered (M. Nygard, "Release
// It!", 2007).
//
// A [Breaker] is in one of three states:
//
//   - CLOSED: calls pass. It becomes OPEN after too many failures.
//   - OPEN: calls are refused without being made. It becomes HALF_OPEN after a
//     recovery time.
//   - HALF_OPEN: a few calls pass, as probes. Enough successes close the circuit;
//     one failure opens it again.
//
// It opens if and only if the last FailureThreshold failures lie within the window
// and are at least FailureRate of the calls that ended since the first of them. The
// window is exact, not a row of buckets. It is the longer of FailureWindow and
// FailureThreshold times the longest of those failures, so that an outage whose
// calls last for minutes opens the circuit too.
//
// The rate is required because a count alone harms a healthy service: five failures
// in five minutes are 0.2 % of ten calls a second. If calls fail independently with
// probability p, a failure opens a breaker with the defaults (threshold 5, rate 0.8)
// when four of the five calls before it failed too. That has the probability
//
//	p       0.01     0.1      0.3     0.5    0.7   0.9
//	opens   5·10⁻⁸   0.05 %   3 %     19 %   53 %  92 %
//
// With heavy traffic, set the threshold to the calls of one or two seconds.
//
// The table does not hold where failures are quicker than answers (a connection is
// refused in a millisecond, a model answers in seconds). Then the first calls of a
// burst to end are its failures, and no answers offset them yet: a burst of a hundred
// calls, a fifth of them refused at once, opens a breaker with the defaults. For such
// bursts, set the threshold above the number of failures that a burst may have.
//
// # Calls
//
// [Do] makes a call and counts an error as a failure unless the context has ended. A
// caller that knows more uses [Breaker.Enter] before the call and [Breaker.Leave]
// after it, with the [Outcome] that it decides on: a success, a failure, a failure that
// opens the circuit at once, or neither. A call that was admitted in an earlier state
// never counts in a later one.
//
// [Breaker.Accept] may be called in between, when an answer begins to arrive. A probe
// has then succeeded, however its call ends, and makes room for the next. Without it,
// a service whose answers are all abandoned by their readers would stay HALF_OPEN for
// ever.
//
// A breaker keeps of a failure only its [Cause]: kind, status and code. It does not
// keep the error, whose text may be a megabyte of another caller's prompt.
//
// While CLOSED, with no failure that could still matter, a success writes to no shared
// memory and reads no clock, so it scales with the number of cores.
package breaker

import (
	"fmt"
	"sort"
	"sync/atomic"
	"time"
)

// The defaults of [Config].
const (
	DefaultFailureThreshold = 5
	DefaultFailureWindow    = 300 * time.Second
	DefaultFailureRate      = 0.8
	DefaultRecoveryTimeout  = 60 * time.Second
	DefaultHalfOpenProbes   = 1
	DefaultSuccessThreshold = 2
	DefaultMaxOpen          = time.Hour
)

// The bounds of settings. They bound a breaker's memory, and make its counts fit into
// its word.
const (
	maxThreshold = 10_000
	minRate      = 0.001
	maxFactor    = 1000
)

// countAlone is the FailureRate of a filled Config for any negative number.
const countAlone = -1

// Config is the configuration of a [Breaker]. The zero value of each field means its
// default. Two configurations that mean the same are equal (==) after
// [Config.Filled].
type Config struct {
	// FailureThreshold is the number of failures that open the circuit, from 1 to
	// 10,000. Default 5.
	FailureThreshold int
	// FailureWindow is how far back failures count; one that is exactly this old
	// still counts. The window is at least FailureThreshold times the longest of
	// the failures, each taken as at most 10 minutes. Default 300 s.
	FailureWindow time.Duration
	// FailureRate is the share of failures among the calls that ended since the
	// first of those failures, from 0.001 to 1, that opens the circuit. With 1 only
	// consecutive failures do; with a negative number the count alone decides.
	// Default 0.8.
	FailureRate float64
	// RecoveryTimeout is how long the circuit stays OPEN before it admits
	// probes. Default 60 s.
	RecoveryTimeout time.Duration
	// RecoveryFactor multiplies RecoveryTimeout at each further opening, until the
	// circuit is CLOSED again, from 1 to 1000: with 2 and 60 s the circuit is OPEN
	// for 60, 120, 240 s and so on up to MaxOpen. There is no jitter: replicas of a
	// program open at different times, by their own failures, and each sends only
	// HalfOpenProbes probes. Default 1.
	RecoveryFactor float64
	// TripTimeout is how long the circuit stays OPEN after a failure that opens it
	// at once ([Tripped]) and does not say for how long ([Failure.AskedFor]).
	// Nobody is told when a bill is paid or a key is replaced, so that it is looked at as
	// often as after an outage. Default RecoveryTimeout; at most MaxOpen.
	TripTimeout time.Duration
	// MaxOpen is the longest time that the circuit stays OPEN, whatever
	// RecoveryFactor, TripTimeout and [Failure.AskedFor] say. At least
	// RecoveryTimeout. Default 1 h, or RecoveryTimeout if that is longer.
	MaxOpen time.Duration
	// HalfOpenProbes is the number of probes that may be under way at a time, from
	// 1 to 10,000. Default 1.
	HalfOpenProbes int
	// SuccessThreshold is the number of probes that must succeed to close the
	// circuit, from 1 to 10,000. Default 2.
	SuccessThreshold int
	// ProbeLease is how long a probe may take before another one is admitted in its
	// place, since it may have been lost. If it reports later, it still counts.
	// Default RecoveryTimeout.
	ProbeLease time.Duration
	// SlowCall makes a call that lasts this long a failure, at that moment and not
	// only when it ends. Default 0: off, at no cost.
	SlowCall time.Duration
}

// ConfigError is the error of [New] and [Config.Filled] for an impossible setting.
type ConfigError struct {
	Field string // "FailureThreshold"
	Got   any    // its value
	Takes string // what it must be: "a whole number from 1 to 10,000"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("breaker: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// Filled returns the configuration with its defaults filled in, so that two that
// mean the same are equal, or a *[ConfigError].
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
	case !(r >= minRate && r <= 1): // NaN too
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
		{"TripTimeout", &c.TripTimeout, func() time.Duration { return c.RecoveryTimeout }},
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

// settings is a filled Config with what is computed from it.
type settings struct {
	Config
	// limit is the largest number of successes between the first and the last of
	// FailureThreshold failures that still open the circuit, by FailureRate. -1:
	// any number (the count alone).
	limit int
}

func newSettings(c Config) (*settings, error) {
	c, err := c.Filled()
	if err != nil {
		return nil, err
	}
	return &settings{Config: c, limit: successLimit(c.FailureThreshold, c.FailureRate)}, nil
}

// successLimit returns the largest number of successes with which n failures still are
// a share of at least rate. It searches with the comparison that defines it, since
// n/rate may be rounded either way.
func successLimit(n int, rate float64) int {
	if rate < 0 {
		return -1
	}
	return sort.Search(int(float64(n)/minRate), func(s int) bool { return float64(n)/float64(n+s+1) < rate })
}

// Breaker is the circuit breaker of one service, shared by all calls to it. It is safe
// for concurrent use. [New] makes one; the zero value can't be used.
type Breaker struct {
	word     atomic.Uint64 // see word.go
	settings *settings
	book     atomic.Pointer[book] // nil until there is a failure to record
	hooks    []func(Transition)
	name     string
	peers    Peers // nil: the circuit is shared with nobody
}

// New returns a CLOSED breaker. The name appears in errors and transitions. The error
// is a *[ConfigError] for an impossible setting.
//
// The hooks are called for each change of state: in order, one at a time, outside
// every lock, on the goroutine that caused the change. They may call the breaker; a
// change that a hook causes is reported after it has returned. A panic in a hook is
// logged with [log/slog] and recovered. runtime.Goexit in a hook (a test's FailNow)
// ends the goroutine that caused the change; the remaining changes are reported with
// the next one. A slow hook does not block other goroutines: up to 100 changes wait
// for it; of more, the oldest are dropped and counted in [Transition.Dropped].
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

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
// the last FailureWindow and make up at least FailureRate of the calls that
// ended since the first of them. The window is exact, not a row of buckets. The
// rate stands beside the count because a count alone harms a healthy service:
// five failures in five minutes are 0.2 % of ten calls a second. With a share p
// of calls that fail independently, a failure opens a breaker of the defaults
// (threshold 5, rate 0.8) by bad luck with the chance that four of the five
// calls before it failed too:
//
//	p       0.01     0.1      0.3     0.5    0.7   0.9
//	chance  5·10⁻⁸   0.05 %   3 %     19 %   53 %  92 %
//
// A caller with heavy traffic raises the threshold to a second or two of calls.
//
// A call ends as one of three: success, failure, or neither. A caller's own
// cancellation, an excluded error and a call that says nothing about the
// service give their place back and count for nothing. What was admitted in an
// earlier state never counts in a later one.
//
// In the CLOSED state, with no failure that could still matter, a success writes
// to no shared memory and reads no clock, so it scales with the cores.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
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
)

// Config is how a breaker behaves. The zero value of every field means its
// default.
type Config struct {
	// FailureThreshold is how many failures open the circuit, 1 to 10,000.
	// Default 5.
	FailureThreshold int
	// FailureWindow is how far back failures count; one that is exactly this
	// old still does. Default 300 s.
	FailureWindow time.Duration
	// FailureRate is the share of the calls ended since the first of those
	// failures that they must make up: 1 is failures in a row, new(0.0) is the
	// count alone. 0, or 0.001 to 1. Default (nil) 0.8.
	FailureRate *float64
	// RecoveryTimeout is how long the circuit stays OPEN before it admits
	// probes. Default 60 s.
	RecoveryTimeout time.Duration
	// Recovery, if set, is asked in place of RecoveryTimeout, with the number
	// of times (from 0) that the circuit has opened since it was last CLOSED. A
	// backoff.Exponential's Delay fits: it makes repeated openings longer, and
	// its jitter keeps replicas from probing in step. A negative time is 0.
	//
	// Recovery, RetryAfter and Exclude are asked outside every lock, about every
	// failure and not only the one that opens the circuit. They may call the
	// breaker. A panic in one is logged with log/slog and goes no further: it
	// is as if the function were not set.
	Recovery func(opening int) time.Duration
	// RetryAfter, if set, says how long the failure that opens the circuit asks
	// to be left alone, and whether it asks at all. It may lengthen the OPEN
	// time, never shorten it.
	RetryAfter func(cause error) (time.Duration, bool)
	// TripTimeout is how long Trip keeps the circuit OPEN where RetryAfter does
	// not say. Default ten times RecoveryTimeout.
	TripTimeout time.Duration
	// MaxOpen is the longest that the circuit stays OPEN, whatever Recovery,
	// RetryAfter and TripTimeout say. Default 1 h, or RecoveryTimeout where
	// that is longer.
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
	// Exclude lists errors that count neither way: see Is and As; any
	// func(error) bool is a Matcher too.
	Exclude []Matcher
	// OnStateChange is told of each change of state, in order, one at a time,
	// and outside every lock, on a goroutine of its own that a call which caused
	// a change waits for. It may call the breaker. A panic in it is logged with
	// log/slog and goes no further.
	OnStateChange func(Transition)
}

// Matcher reports whether an error is one that it stands for.
type Matcher func(error) bool

// Is matches errors by value, as errors.Is.
func Is(target error) Matcher {
	return func(err error) bool { return errors.Is(err, target) }
}

// As matches errors by type, as errors.As.
func As[T error]() Matcher {
	return func(err error) bool {
		_, ok := errors.AsType[T](err)
		return ok
	}
}

// ConfigError is an impossible setting.
type ConfigError struct {
	Field string // "FailureThreshold"
	Got   any
	Takes string // what would be possible
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("breaker: %s is %v: takes %s", e.Field, e.Got, e.Takes)
}

// settings is a Config with its defaults filled in, shared by all breakers of a
// registry.
type settings struct {
	Config
	// limit is how many successes may stand between the first and the last of
	// FailureThreshold failures that still make up FailureRate; more, and they
	// can't open the circuit. -1: any number may (the count alone).
	limit int
	base  time.Time // times are counted from here, by the monotonic clock
}

func newSettings(c Config) (*settings, error) {
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
			return nil, &ConfigError{f.name, *f.value, "a whole number from 1 to 10,000 (0 is the default)"}
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	rate := DefaultFailureRate
	if c.FailureRate != nil {
		rate = *c.FailureRate
	}
	if rate != 0 && !(rate >= minRate && rate <= 1) {
		return nil, &ConfigError{"FailureRate", rate, "0 (the count alone), or a number from 0.001 to 1"}
	}
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
			return nil, &ConfigError{f.name, *f.value, "a time that is not negative"}
		}
		if *f.value == 0 {
			*f.value = f.fallback()
		}
	}
	if c.RecoveryTimeout > c.MaxOpen {
		return nil, &ConfigError{"MaxOpen", c.MaxOpen, fmt.Sprintf("at least RecoveryTimeout (%v)", c.RecoveryTimeout)}
	}
	for i, m := range c.Exclude {
		if m == nil {
			return nil, &ConfigError{fmt.Sprintf("Exclude[%d]", i), nil, "a function"}
		}
	}
	c.Exclude = slices.Clone(c.Exclude)
	return &settings{Config: c, limit: successLimit(c.FailureThreshold, rate), base: time.Now()}, nil
}

// successLimit returns the largest number of successes beside n failures that
// leaves the failures at least rate of all; it is searched for with the very
// comparison that defines it, because n/rate may be rounded either way.
func successLimit(n int, rate float64) int {
	if rate == 0 {
		return -1
	}
	return sort.Search(int(float64(n)/minRate), func(s int) bool { return float64(n)/float64(n+s+1) < rate })
}

// Breaker is one circuit. It is safe for use from many goroutines; all calls to
// the same service share it.
type Breaker struct {
	settings *settings
	name     string
	book     atomic.Pointer[book] // nil until there is trouble to write down
	word     atomic.Uint64        // see word.go
	use      atomic.Uint32        // see registry.go; beside the word, in the same line of the cache
}

// New returns a CLOSED breaker, or a *ConfigError.
func New(name string, c Config) (*Breaker, error) {
	s, err := newSettings(c)
	if err != nil {
		return nil, err
	}
	return newBreaker(name, s), nil
}

func newBreaker(name string, s *settings) *Breaker {
	b := &Breaker{settings: s, name: name}
	b.word.Store(uint64(s.watchBit()))
	return b
}

// Name returns the name given to New, or the key in a Registry.
func (b *Breaker) Name() string { return b.name }

// now is the time in nanoseconds since the settings were made.
func (b *Breaker) now() int64 { return int64(time.Since(b.settings.base)) }

// Run calls fn if the circuit admits it, and records how it ended: see Do.
func (b *Breaker) Run(ctx context.Context, fn func(context.Context) error) (err error) {
	w := b.word.Load()
	if w&plainMask != 0 {
		return b.runPermit(ctx, fn)
	}
	returned := false
	defer func() {
		if !returned {
			b.escaped(w, recover())
		}
	}()
	err = fn(ctx) // a named result: a function that defers copies any other through memory
	returned = true
	if err != nil {
		b.settle(ctx, w, err)
	} else if b.word.Load() != w || w&creditMask != 0 {
		b.succeed(w, 0)
	}
	return err
}

// Do calls fn if the circuit admits it, and records how it ended. If it does
// not, fn is not called and the error is an *OpenError.
//
// An error is a failure, unless ctx has ended (the caller's own cancellation or
// deadline), the error is context.Canceled, or Config.Exclude matches it: these
// count for nothing. A panic in fn is a failure and goes on; runtime.Goexit
// counts for nothing.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (T, error) {
	return DoAs(ctx, b, nil, fn)
}

// Outcome is what a call that returned an error says of the service.
type Outcome uint8

// The outcomes.
const (
	Failed    Outcome = iota // as Do counts an error: unless the caller gave up, or Config.Exclude matches
	Succeeded                // the service did its work all the same
	Neither                  // nothing was learned
	Tripped                  // opens the circuit at once; see Trip
)

// DoAs is Do for a caller that decides itself what an error says of the service.
// nil decides as Do: every error is Failed.
func DoAs[T any](
	ctx context.Context, b *Breaker, outcome func(error) Outcome, fn func(context.Context) (T, error),
) (v T, err error) {
	w := b.word.Load()
	if w&plainMask != 0 {
		return doPermit(ctx, b, outcome, fn)
	}
	returned := false
	defer func() {
		if !returned {
			b.escaped(w, recover())
		}
	}()
	v, err = fn(ctx) // named results, as in Run
	returned = true
	switch {
	case err == nil:
		if b.word.Load() != w || w&creditMask != 0 {
			b.succeed(w, 0)
		}
	case outcome == nil:
		b.settle(ctx, w, err)
	default:
		p := Permit{b: b, word: w}
		p.EndAs(ctx, outcome(err), err)
	}
	return v, err
}

// settle records a call that was admitted in a plain CLOSED state and returned
// an error.
func (b *Breaker) settle(ctx context.Context, w uint64, err error) {
	if b.counts(ctx, err) {
		b.fail(w, err, false)
	}
}

// escaped records a call, admitted in a plain CLOSED state, that did not
// return: panicked is what recover found, nil for runtime.Goexit.
func (b *Breaker) escaped(w uint64, panicked any) {
	if panicked != nil {
		if err := (&PanicError{panicked}); !b.excludes(err) {
			b.fail(w, err, false)
		}
		panic(panicked)
	}
}

// counts reports whether an error is a failure of the service.
func (b *Breaker) counts(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return false
	}
	// A connection that was given ctx's deadline may report it an instant before
	// ctx does.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return false
	}
	return !b.excludes(err)
}

// excludes reports whether an error is to be ignored. A nil breaker, that of an
// empty permit, excludes everything.
func (b *Breaker) excludes(err error) bool {
	if b == nil {
		return true
	}
	for _, match := range b.settings.Exclude {
		if ask(b, "Exclude", false, func() bool { return match(err) }) {
			return true
		}
	}
	return false
}

// ask calls a function of the configuration. Where it panics, instead stands for
// its answer: a fault in it must not reach the calls that it is asked about.
func ask[T any](b *Breaker, field string, instead T, f func() T) (answer T) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("breaker: a function of the configuration panicked", "breaker", b.name, "field", field, "panic", r)
			answer = instead
		}
	}()
	return f()
}

// runPermit is Run for all states.
func (b *Breaker) runPermit(ctx context.Context, fn func(context.Context) error) error {
	if refusal := b.Refusal(); refusal != nil { // before the price of a permit
		return refusal
	}
	_, err := doPermit(ctx, b, nil, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// doPermit is Do for all states: with a permit.
func doPermit[T any](
	ctx context.Context, b *Breaker, outcome func(error) Outcome, fn func(context.Context) (T, error),
) (T, error) {
	if refusal := b.Refusal(); refusal != nil { // before the price of a permit
		var none T
		return none, refusal
	}
	p, err := b.Acquire()
	if err != nil {
		var none T
		return none, err
	}
	defer p.Ignore() // fn, or outcome, may end the goroutine
	returned := false
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			p.Failure(&PanicError{r})
			panic(r)
		}
	}()
	v, err := fn(ctx)
	returned = true
	if err != nil && outcome != nil {
		p.EndAs(ctx, outcome(err), err)
	} else {
		p.End(ctx, err)
	}
	return v, err
}

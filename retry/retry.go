// Package retry calls a function again when it fails and another attempt may
// help, within the attempts, the time and the budget that the caller allowed.
//
// A call makes attempts until one succeeds. Each attempt is made at one of the call's
// targets. A [Target] is an endpoint (package [llmcall/endpoint]) with its guards, which
// must admit every request before it is made. A call with several targets begins with
// the first that can serve it; the others are alternatives, in order.
//
// The kind of a failure (package [llmcall/failure]) decides by a table what follows from
// a failed attempt: another attempt after a growing delay, at once or when the provider
// says so, an attempt at another target, or none. A call is bounded by
//
//   - MaxAttempts: the number of attempts;
//   - the context's deadline and MaxTime: the time of all attempts and waits. A wait
//     that would last until the deadline is not begun;
//   - MaxRetryAfter and MaxRateLimitWait: the waits for rate limits, for a turn at the
//     pacer and for open circuits. A refusal for the rate does not use up an attempt if
//     the provider says when to come back, or if other callers of the endpoint get
//     answers: of a hundred jobs at a rate limit, only a few would finish within three
//     attempts;
//   - the guards: a budget of retries, a pacer, a circuit breaker. They are asked in
//     order; nothing is held while the call waits.
//
// [Do] is for a function whose result is the answer. [Call] is the same loop for callers
// that report more than success or failure: that an answer has begun to arrive, that a
// further request belongs to the same attempt, or that an answer is wrong.
//
// Each attempt counts, for the circuit breaker too: a request that always makes its
// provider fail (a "poison" prompt) counts as often as it is attempted, so two of them
// can open a circuit with the default threshold of five failures.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
)

// The defaults of [Config].
const (
	DefaultMaxAttempts       = 3
	DefaultMaxRetryAfter     = 2 * time.Minute
	DefaultMaxRateLimitWait  = 10 * time.Minute
	DefaultHang              = 30 * time.Second
	DefaultFallbackAfter     = 2 * time.Second
	DefaultAttemptsPerTarget = 2
)

// Config says how a call is retried. The zero value of every field means its
// default.
type Config struct {
	// MaxAttempts is the largest number of attempts, including the first.
	// Failures of the provider and wrong answers count; refusals that are waited
	// out do not. Default 3.
	MaxAttempts int
	// MaxTime bounds the call: all attempts and all waits. Default 0: the
	// context's deadline alone.
	MaxTime time.Duration
	// AttemptTimeout bounds each attempt: its context ends then, and the attempt
	// fails with an *[AttemptTimeoutError]. Default 0: no bound.
	AttemptTimeout time.Duration
	// Hang decides whether an attempt that the deadline of the call ended counts
	// as a failure of the provider: it does if it had lasted for at least Hang
	// without a byte of an answer, and nobody else got an answer from the endpoint
	// meanwhile. Default 30 s; negative: never.
	Hang time.Duration
	// Backoff says how long to wait between attempts. Its method Validate() error,
	// if it has one, is called by [New]. A wait that the provider asks for replaces
	// it, and is not made longer. Default [backoff.Exponential]{}: 1 s, 2 s, 4 s …
	// 60 s, ±10 %.
	Backoff backoff.Strategy
	// Classify, if set, returns the kind of an error; if it returns false,
	// [failure.KindOf] decides. Default nil.
	Classify func(error) (failure.Kind, bool)
	// Decisions says what follows from each kind. Default nil: [failure.Decisions].
	Decisions *failure.Table
	// MaxRetryAfter is the longest single wait that a provider may ask for
	// (Retry-After). A longer one is refused, never shortened: the call stops,
	// with the provider's error. Default 2 min.
	MaxRetryAfter time.Duration
	// MaxRateLimitWait bounds the sum of a call's waits for rate limits, for its
	// turn at the pacer and for open circuits. Default 10 min.
	MaxRateLimitWait time.Duration
	// WaitForCircuit makes a call wait until an open circuit admits a probe,
	// instead of stopping with the circuit's error. Default false.
	WaitForCircuit bool
	// FallbackAfter is the longest wait for a guard where another target of the
	// call can be asked sooner. Default 2 s.
	FallbackAfter time.Duration
	// AttemptsPerTarget is the number of failed attempts, of those that count
	// against MaxAttempts, after which a call leaves a target for another. It
	// matters only to calls with several targets, and to kinds whose row has
	// [failure.ElsewhereAfterRetries]. A call may leave sooner where the attempts
	// that remain of MaxAttempts are just enough to try each other target once;
	// its last target has all that remain. Default 2.
	AttemptsPerTarget int
	// Follows says that the calls belong to another call that has begun, as those of
	// a judge do: the pacer prefers them to the client's new calls. Default false.
	Follows bool
	// Client names the client that the calls belong to; the clients of a process
	// take turns at the pacer. Default "": calls without a name are one client.
	Client string
	// Target is the target of [Do]; those of a [Call] are given to [Call.Begin]. With
	// an Endpoint but no Guards, it gets those of the zero [endpoint.Options],
	// without the pacer if Unpaced is set. Default: no endpoint and no guards.
	Target Target
	// Observer, if set, is called for each [Event]. Default nil.
	Observer Observer
}

// Target is where a call may make its requests: an endpoint, and the guards that are
// asked before each request. The zero value has neither.
type Target struct {
	Endpoint *endpoint.Endpoint
	Guards   []endpoint.Guard
	// Unpaced says that no pacer is among the guards: then each refusal without a
	// time to come back uses up an attempt, even if other callers get answers.
	Unpaced bool
}

// TargetOf returns the [Target] of an endpoint with the guards that the options choose.
func TargetOf(e *endpoint.Endpoint, o endpoint.Options) Target {
	return Target{Endpoint: e, Guards: e.Guards(o), Unpaced: o.NoPacer}
}

// Attempt describes an attempt to the function given to [Do].
type Attempt struct {
	Number int   // counts the calls of the function, from 1
	Last   error // the failure of the previous attempt; nil for the first
}

// Policy is a validated [Config] with its defaults filled in, made by [New]. It is
// immutable and safe for concurrent use.
type Policy struct {
	config  Config
	table   failure.Table
	targets []Target
}

var standard, _ = New(Config{})

// ConfigError is the error of [New] for an impossible setting.
type ConfigError struct {
	Field string // "MaxAttempts"
	Got   any    // its value
	Takes string // what it must be: "a time of at least 0"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("retry: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// New returns the [Policy] of a configuration. The error is a *[ConfigError] for an
// impossible setting, or wraps that of the method Validate of [Config.Backoff].
func New(c Config) (*Policy, error) {
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"MaxAttempts", &c.MaxAttempts, DefaultMaxAttempts}, {"AttemptsPerTarget", &c.AttemptsPerTarget, DefaultAttemptsPerTarget},
	} {
		if *f.value < 0 {
			return nil, &ConfigError{f.name, *f.value, "a whole number of at least 1 (0 is the default)"}
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	for _, f := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"MaxTime", &c.MaxTime, 0}, {"AttemptTimeout", &c.AttemptTimeout, 0}, {"FallbackAfter", &c.FallbackAfter, DefaultFallbackAfter},
		{"MaxRetryAfter", &c.MaxRetryAfter, DefaultMaxRetryAfter}, {"MaxRateLimitWait", &c.MaxRateLimitWait, DefaultMaxRateLimitWait},
	} {
		if *f.value < 0 {
			return nil, &ConfigError{f.name, *f.value, "a time of at least 0"}
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	if c.Hang == 0 {
		c.Hang = DefaultHang
	}
	if v, ok := c.Backoff.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("retry: Backoff: %w", err)
		}
	}
	if c.Backoff == nil {
		c.Backoff = backoff.Exponential{}
	}
	if c.Target.Endpoint != nil && c.Target.Guards == nil {
		c.Target.Guards = c.Target.Endpoint.Guards(endpoint.Options{NoPacer: c.Target.Unpaced})
	}
	table := failure.Decisions()
	if c.Decisions != nil {
		table = *c.Decisions
	}
	return &Policy{config: c, table: table, targets: []Target{c.Target}}, nil
}

// Do calls fn until it succeeds, and returns its value. If another attempt would not help
// or is not allowed, it returns an *[Error], which lists all failures and unwraps to the
// last. A nil policy is that of the zero [Config].
//
// Each attempt gets a context, bounded by ctx and [Config.AttemptTimeout], and the
// failure of the previous attempt. When ctx ends, waits end at once and no further
// attempt is made; Do waits for an fn that is running. A panic in fn is passed on, after
// the guards were told.
func Do[T any](ctx context.Context, p *Policy, fn func(context.Context, Attempt) (T, error)) (T, error) {
	if p == nil {
		p = standard
	}
	var c Call
	c.Begin(ctx, p, p.targets)
	defer func() { // Close, without its call: a tenth of what a first try costs
		if c.state == admitted {
			c.closeHeld(recover())
		} else if c.unfinished() {
			c.closeRest()
		}
	}()
	for c.Next() {
		v, err := fn(c.Context(), Attempt{c.number, c.last()})
		if c.Settle(endpoint.Outcome{Err: err}) {
			return v, nil
		}
	}
	var none T
	return none, c.Err()
}

// kindOf returns the kind of an error.
func (p *Policy) kindOf(err error) failure.Kind {
	if p.config.Classify != nil {
		if k, ok := p.config.Classify(err); ok {
			return k
		}
	}
	return failure.KindOf(err)
}

// classify is kindOf for the error of an attempt with the context own, in a call with the
// context parent. Only parent tells the attempt's timeout from the caller's deadline:
// own's error is the same for both.
func (p *Policy) classify(parent, own context.Context, err error) (failure.Kind, error) {
	k := p.kindOf(err)
	// A function may also return the kind Cancelled with an error of its own.
	byContext := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if own.Err() == nil {
		if byContext && (k == failure.DeadlineExceeded || k == failure.Cancelled) {
			k = failure.Transient // a context that the function made ended, not the caller's
		}
		return k, err
	}
	if parent.Err() != nil || k == failure.Cancelled && !byContext {
		return k, err
	}
	switch k {
	case failure.DeadlineExceeded, failure.Cancelled, failure.Transient, failure.Unknown:
		return failure.AttemptTimeout, &AttemptTimeoutError{Limit: p.config.AttemptTimeout, Err: err}
	}
	return k, err
}

// Package retry calls a function again when it fails and another attempt may
// help, within the attempts, the time and the budget that the caller allowed.
//
// A call makes attempts until one succeeds. Each attempt is made at one of the
// call's targets. A target is an endpoint (package endpoint) with its guards,
// which must admit every request before it is made. A call with several targets
// begins with the first that can serve it; the others are alternatives, in order.
//
// What follows from a failed attempt is decided from the kind of the failure
// (package failure) by a table: some are worth another attempt after a delay that
// grows, some at once, some when the provider says so, some never; some are better
// made at another target. What bounds a call:
//
//   - MaxAttempts: the number of attempts.
//   - The context's deadline and MaxTime: the time of all attempts and waits. A
//     wait that would last until the deadline is not begun.
//   - MaxRetryAfter and MaxRateLimitWait: the waits for rate limits, for a turn
//     at the pacer and for open circuits. A rate limit with a time to come
//     back uses up no attempt. Neither does a refusal without one while other
//     callers of the endpoint get answers: of a hundred jobs at a rate limit,
//     three attempts each would let only a few finish.
//   - The guards: a budget of retries, a pacer, a circuit breaker. They are asked
//     in order and hold nothing while the call waits.
//
// [Do] is for a function whose result is the answer. [Call] is the same loop for
// a caller that reports more than success or failure: that an answer has begun to
// come, that a request is a further one of the same attempt, that an answer is
// wrong.
//
// Failures are counted by attempt, also for the circuit breaker: a request that
// always makes its provider fail (a "poison" prompt) counts with each of its
// attempts, and two such requests can open a circuit of the default five failures.
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
	// AttemptTimeout bounds each attempt: its context ends then, and a failure
	// that comes of that is an [*AttemptTimeoutError]. Default 0: no bound.
	AttemptTimeout time.Duration
	// Hang decides whether an attempt that the deadline of the call ended counts
	// as a failure of the provider: it does if it had lasted for at least Hang
	// without a byte of an answer, and nobody else got an answer from the endpoint
	// meanwhile. Default 30 s; negative: never.
	Hang time.Duration
	// Backoff says how long to wait between attempts. Default
	// [backoff.Exponential]{}: 1 s, 2 s, 4 s … 60 s, ±10 %. One with a method
	// Validate() error is validated. A wait that the provider asked for is
	// used instead, and is not made longer.
	Backoff backoff.Strategy
	// Classify, if set, is asked first for the kind of an error; where it
	// returns false, [failure.KindOf] is. Default nil.
	Classify func(error) (failure.Kind, bool)
	// Decisions is the table of what follows from each kind. Default
	// [failure.Decisions].
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
	// Follows says that the calls are part of another call that has begun, as a
	// judge's are: the pacer lets them go before the client's new calls. Default
	// false.
	Follows bool
	// Client names the client that the calls belong to; the clients of a process
	// take turns at the pacer. Default "": calls without a name are one client.
	Client string
	// Target is what [Do] calls; [Call] is given its targets. With an Endpoint and
	// no Guards it has those of the zero [endpoint.Options], without the pacer if it
	// is Unpaced; the zero value has none.
	Target Target
	// Observer, if set, is told what happens. Default nil.
	Observer Observer
}

// Target is where a call may make its requests: an endpoint, and the guards that
// are asked before each.
type Target struct {
	Endpoint *endpoint.Endpoint
	Guards   []endpoint.Guard
	// Unpaced says that no pacer is among the guards: then each refusal without
	// a time to come back uses up an attempt, however others are served.
	Unpaced bool
}

// TargetOf returns the target of an endpoint with the guards that the options
// choose.
func TargetOf(e *endpoint.Endpoint, o endpoint.Options) Target {
	return Target{Endpoint: e, Guards: e.Guards(o), Unpaced: o.NoPacer}
}

// Attempt is what [Do] tells its function about the attempt.
type Attempt struct {
	Number int   // from 1; counts every call of the function
	Last   error // the failure of the attempt before; nil at the first
}

// Policy is a valid [Config] with its defaults filled in; [New] makes it. It is
// safe for concurrent use and does not change.
type Policy struct {
	config  Config
	table   failure.Table
	targets []Target
}

var standard, _ = New(Config{})

// ConfigError is the error of [New] for a setting that is not valid.
type ConfigError struct {
	Field string // "MaxAttempts"
	Got   any
	Takes string // what it must be: "a time of at least 0"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("retry: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// New returns the policy of a Config. The error is a [*ConfigError] for a field
// that is not valid, or wraps the error of Backoff's Validate.
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

// Do calls fn until it succeeds, and returns its value; or until another attempt
// would not help or is not allowed, and returns an [*Error], which unwraps to the
// last failure and tells of them all. A nil policy is that of Config{}.
//
// Each attempt gets a context of its own, bounded by AttemptTimeout and by ctx,
// and the failure of the attempt before. When ctx ends, a wait ends at once and
// no further attempt is made; an attempt that is under way is waited for. A panic
// in fn goes on, after the guards were told.
func Do[T any](ctx context.Context, p *Policy, fn func(context.Context, Attempt) (T, error)) (T, error) {
	if p == nil {
		p = standard
	}
	var c Call
	c.Begin(ctx, p, p.targets)
	defer c.Close()
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

// classify is kindOf for the error of an attempt whose context was own, in a
// call whose context is parent. The attempt's timeout is told from the caller's
// deadline by looking at the parent: both make the attempt's context say the
// same.
func (p *Policy) classify(parent, own context.Context, err error) (failure.Kind, error) {
	k := p.kindOf(err)
	// A function may say itself that its caller wants no more.
	byContext := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if own.Err() == nil {
		if byContext && (k == failure.DeadlineExceeded || k == failure.Cancelled) {
			k = failure.Transient // of a context of the function's own: nobody here has given up or is out of time
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

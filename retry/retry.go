// Package retry calls a function again when it fails and another attempt may
// help, inside the attempts, the time and the budget that the caller allowed.
//
// What follows from a failure is decided from its kind (package failure) by a
// table: some failures are worth another attempt after a delay that grows, some
// at once, some when the provider says so, some never. Four things bound a call:
//
//   - MaxAttempts: the attempts;
//   - the context's deadline and MaxTime: the time, of all attempts and waits.
//     A wait that would pass them is not begun;
//   - MaxRetryAfter and MaxLimitTime: the waits that a provider asks for when
//     it limits the rate. They do not use up attempts: of a hundred jobs at a
//     rate limit, three attempts each would let only a few finish;
//   - Budget: the retries of all callers of an endpoint together. It is the
//     budget, not the backoff, that keeps retries from multiplying an outage
//     (M. Brooker, "Fixing retries with token buckets and circuit breakers",
//     2022).
//
// A circuit breaker, if there is one, is asked before each attempt and told
// after it.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
)

// The defaults of Config.
const (
	DefaultMaxAttempts   = 3
	DefaultMaxRetryAfter = 2 * time.Minute
	DefaultMaxLimitTime  = 10 * time.Minute
)

// Config is how Do retries. The zero value of every field means its default.
type Config struct {
	// MaxAttempts is how many attempts there are at most, the first among
	// them; those that ended in a wait for a rate limit do not count. Default 3.
	MaxAttempts int
	// MaxTime bounds the whole: all attempts and all waits. Default 0: the
	// context's deadline alone.
	MaxTime time.Duration
	// AttemptTimeout bounds each attempt: its context ends then, with the kind
	// failure.AttemptTimeout. Default 0: none.
	AttemptTimeout time.Duration
	// Backoff says how long to wait between attempts. Default
	// backoff.Exponential{}: 1 s, 2 s, 4 s … 60 s, ±10 %. One with a method
	// Validate() error is validated.
	Backoff backoff.Strategy
	// Classify, if set, is asked first for the kind of an error; where it
	// returns false, failure.KindOf is.
	Classify func(error) (failure.Kind, bool)
	// Decisions is the table of what follows from each kind. Default
	// failure.Decisions().
	Decisions *failure.Table
	// MaxRetryAfter is the longest single wait that a provider may ask for
	// (Retry-After). A longer one is refused, never shortened: Do stops there,
	// with the provider's error. Default 2 min.
	MaxRetryAfter time.Duration
	// MaxLimitTime is how long one call waits for rate limits, all such waits
	// together. Default 10 min.
	MaxLimitTime time.Duration
	// Budget, if set, is shared with the other callers of the same endpoint. A
	// retry after a failure of the provider takes from it before the wait;
	// waiting for a rate limit, and asking again because the answer was wrong,
	// do not: neither adds to an outage. Default nil: no budget.
	Budget *Budget
	// Gate, if set, is shared with the other callers of the same endpoint: while
	// one of them was told to come back later, none calls it. Waiting for it is
	// waiting for a rate limit: bounded by MaxLimitTime, a single wait by
	// MaxRetryAfter, and no attempt. Default nil: each caller knows what it was
	// told itself.
	Gate *Gate
	// Breaker, if set, is asked before each attempt and told after it. Share
	// it with all callers of the same service. Default nil: none.
	Breaker *breaker.Breaker
	// WaitForCircuit makes Do wait until an open circuit admits a probe,
	// instead of stopping with the circuit's error.
	WaitForCircuit bool
	// Observe, if set, is called after each failed attempt, and before a wait
	// for a circuit, on the goroutine of Do, outside every lock.
	Observe func(Event)
}

// Event is a failed attempt and what follows from it, or a wait for a circuit
// before an attempt.
type Event struct {
	Failure Failure // zero for a wait before the first attempt
	// Wait is the wait that begins now, and Why its reason; both zero if the
	// next attempt follows at once.
	Wait time.Duration
	Why  Why
	// Stop is why no attempt follows; zero if one does.
	Stop Reason
}

// Attempt is what the function is told of its attempt.
type Attempt struct {
	Number int   // from 1; counts every call of the function
	Last   error // the failure of the attempt before; nil at the first
}

// Policy is a Config that was found possible. It is safe for concurrent use.
type Policy struct {
	Config
	table failure.Table
	short bool // nothing to do for a first attempt but to make it
}

var standard, _ = New(Config{})

// ConfigError is an impossible setting.
type ConfigError struct {
	Field string // "MaxAttempts"
	Got   any
	Takes string // what would be possible
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("retry: %s is %v: takes %s", e.Field, e.Got, e.Takes)
}

// New returns a policy, or a *ConfigError, or the error of Backoff's Validate.
func New(c Config) (*Policy, error) {
	if c.MaxAttempts < 0 {
		return nil, &ConfigError{"MaxAttempts", c.MaxAttempts, "a whole number of at least 1 (0 is the default)"}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"MaxTime", c.MaxTime}, {"AttemptTimeout", c.AttemptTimeout},
		{"MaxRetryAfter", c.MaxRetryAfter}, {"MaxLimitTime", c.MaxLimitTime},
	} {
		if f.value < 0 {
			return nil, &ConfigError{f.name, f.value, "a time that is not negative"}
		}
	}
	if v, ok := c.Backoff.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("retry: Backoff: %w", err)
		}
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	if c.Backoff == nil {
		c.Backoff = backoff.Exponential{}
	}
	if c.MaxRetryAfter == 0 {
		c.MaxRetryAfter = DefaultMaxRetryAfter
	}
	if c.MaxLimitTime == 0 {
		c.MaxLimitTime = DefaultMaxLimitTime
	}
	table := failure.Decisions()
	if c.Decisions != nil {
		table = *c.Decisions
	}
	short := c.MaxTime == 0 && c.AttemptTimeout == 0
	return &Policy{Config: c, table: table, short: short}, nil
}

// Do calls fn until it succeeds, and returns its value; or until another attempt
// would not help or is not allowed, and returns an *Error, which unwraps to the
// last failure and tells of them all. A nil policy is that of Config{}.
//
// Each attempt gets a context of its own, bounded by AttemptTimeout and by ctx,
// and the failure of the attempt before. When ctx ends, a wait ends at once and
// no further attempt is made; an attempt that is under way is waited for. A panic
// in fn goes on, after the breaker was told.
func Do[T any](ctx context.Context, p *Policy, fn func(context.Context, Attempt) (T, error)) (T, error) {
	if p == nil {
		p = standard
	}
	if !p.short || ctx.Err() != nil || p.Gate != nil && p.Gate.closed.Load() {
		return loop(ctx, p, fn, attempted{})
	}
	// The first attempt is made here, before anything is set up for another:
	// mostly there is none.
	if p.Breaker == nil {
		v, err := fn(ctx, Attempt{Number: 1})
		if err == nil {
			p.succeeded()
			return v, nil
		}
		first := p.classify(ctx, ctx, err)
		p.outcome(first)
		return loop(ctx, p, fn, first)
	}
	first := guardedAttempt{policy: p, ctx: ctx}
	v, err := breaker.DoAs(ctx, p.Breaker, first.outcome,
		func(ctx context.Context) (T, error) { return fn(ctx, Attempt{Number: 1}) })
	if err == nil {
		p.succeeded()
		return v, nil
	}
	return loop(ctx, p, fn, first.attempted) // none, if the circuit refused it: the loop asks again, and decides
}

// guardedAttempt is an attempt while the breaker guards it.
type guardedAttempt struct {
	policy *Policy
	ctx    context.Context
	attempted
}

// outcome is what the breaker asks about the attempt's error.
func (a *guardedAttempt) outcome(err error) breaker.Outcome {
	a.attempted = a.policy.classify(a.ctx, a.ctx, err)
	return a.policy.outcome(a.attempted)
}

// attempted is a failed attempt; its zero value is none.
type attempted struct {
	err   error
	kind  failure.Kind
	ended bool // the call's context has ended
}

// loop is the rest of Do. first is the first attempt, if that was made already
// and failed.
func loop[T any](ctx context.Context, p *Policy, fn func(context.Context, Attempt) (T, error), first attempted) (T, error) {
	if p.MaxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.MaxTime)
		defer cancel()
	}
	var none T
	r := run{policy: p}
	if first.err != nil {
		r.calls = 1
		if stop := r.failed(ctx, first); stop != nil {
			return none, stop
		}
	}
	for {
		if ctx.Err() != nil {
			return none, r.ended(ctx)
		}
		if p.Gate != nil {
			if wait, refusal := p.Gate.wait(); refusal != nil {
				if stop := r.gated(ctx, wait, refusal); stop != nil {
					return none, stop
				}
				continue
			}
		}
		var permit breaker.Permit
		if p.Breaker != nil {
			var err error
			permit, err = p.Breaker.Acquire()
			if err != nil {
				if stop := r.refused(ctx, err); stop != nil {
					return none, stop
				}
				begun := time.Now()
				if permit, err = p.Breaker.Await(ctx); err != nil {
					return none, r.stillRefused(ctx, err)
				}
				// Another caller's probe may end, or fail, before or after the
				// time that the refusal named.
				r.wait += time.Since(begun)
				if p.Gate != nil && p.Gate.Until().After(time.Now()) {
					permit.Ignore() // the probe that was waited for was told to come back later
					continue
				}
			}
		}
		r.calls++
		v, a := attempt(ctx, p, &permit, Attempt{r.calls, r.last}, fn)
		if a.err == nil {
			return v, nil
		}
		if stop := r.failed(ctx, a); stop != nil {
			return none, stop
		}
	}
}

// attempt makes one attempt and tells the breaker and the budget of its outcome.
func attempt[T any](
	ctx context.Context, p *Policy, permit *breaker.Permit, a Attempt, fn func(context.Context, Attempt) (T, error),
) (v T, failed attempted) {
	if p.Breaker == nil && p.AttemptTimeout == 0 { // nobody is told of a panic, and nothing is to be ended
		v, err := fn(ctx, a)
		if err == nil {
			p.succeeded()
			return v, attempted{}
		}
		failed = p.classify(ctx, ctx, err)
		p.outcome(failed)
		return v, failed
	}
	own := ctx
	if p.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, p.AttemptTimeout)
		defer cancel()
	}
	settled := p.Breaker == nil // there is nobody to tell of a panic
	defer func() {
		if settled {
			return
		}
		if v := recover(); v != nil {
			permit.Failure(&breaker.PanicError{Value: v})
			panic(v)
		}
		permit.Ignore()
	}()
	v, err := fn(own, a)
	if err == nil {
		permit.Success()
		p.succeeded()
		settled = true
		return v, attempted{}
	}
	failed = p.classify(ctx, own, err)
	permit.EndAs(ctx, p.outcome(failed), failed.err)
	settled = true
	return v, failed
}

// succeeded tells the budget that the provider did its work.
func (p *Policy) succeeded() {
	if p.Budget != nil {
		p.Budget.deposit()
	}
}

// kindOf returns the kind of an error.
func (p *Policy) kindOf(err error) failure.Kind {
	if p.Classify != nil {
		if k, ok := p.Classify(err); ok {
			return k
		}
	}
	return failure.KindOf(err)
}

// classify is kindOf for the error of an attempt whose context was own. The
// attempt's timeout is told from the caller's deadline by looking at the parent:
// both make the attempt's context say the same.
func (p *Policy) classify(parent, own context.Context, err error) attempted {
	k := p.kindOf(err)
	if own.Err() == nil {
		if k == failure.DeadlineExceeded {
			k = failure.Transient // of a context of fn's own: nobody here is out of time
		}
		return attempted{err: err, kind: k}
	}
	if parent.Err() != nil {
		return attempted{err: err, kind: k, ended: true}
	}
	if k == failure.Cancelled && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return attempted{err: err, kind: k} // fn says that its caller wants no more: that is no word of a context
	}
	switch k {
	case failure.DeadlineExceeded, failure.Cancelled, failure.Transient, failure.Unknown:
		var cut error = &AttemptTimeoutError{p.AttemptTimeout}
		if stopOf(err) != nil {
			cut = Stop(cut)
		}
		return attempted{err: cut, kind: failure.AttemptTimeout}
	}
	return attempted{err: err, kind: k}
}

// outcome tells the budget and the gate of a failed attempt, and returns what the
// breaker is told. The gate is told first: whoever waits for the attempt's place
// at the circuit asks it next.
func (p *Policy) outcome(a attempted) breaker.Outcome {
	switch p.table.For(a.kind).Breaker {
	case failure.Limit:
		if wait, told := failure.RetryAfterOf(a.err); told && p.Gate != nil {
			p.Gate.Close(wait, a.err)
		}
	case failure.Healthy:
		p.succeeded()
		return breaker.Succeeded
	case failure.Count:
		return breaker.Failed
	case failure.Trip:
		return breaker.Tripped
	}
	return breaker.Neither
}

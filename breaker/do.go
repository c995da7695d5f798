package breaker

import (
	"context"
	"errors"
	"time"
)

// Do calls fn if the circuit admits the call, and records how it ended. Otherwise it
// returns an *[OpenError] without calling fn.
//
// An error of fn counts as a failure unless ctx has ended: the caller's own
// cancellation or deadline says nothing about the service. A panic in fn counts as a
// failure and is passed on; runtime.Goexit is not counted. A caller that knows better
// what an error says about the service uses [Breaker.Enter] and [Breaker.Leave].
//
// The breaker keeps of an error the [Cause] returned by its method CircuitCause()
// Cause, or of the first error in its tree that has one; otherwise only that there was
// an error.
//
// The duration of a call (see [Config.FailureWindow]) is measured only while an earlier
// failure may still count. The window begins where that one ended, so the duration of
// the first failure is not needed, and calls to a healthy service read no clock.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (v T, err error) {
	p, refusal := b.Enter()
	if refusal != nil {
		return v, refusal
	}
	began := b.begins(p)
	returned := false
	defer func() {
		if !returned {
			b.escaped(p, began, recover())
		}
	}()
	v, err = fn(ctx) // named results: in a function with a defer, others are copied through memory
	returned = true
	if err == nil {
		b.Leave(p, Succeeded, Failure{})
	} else {
		b.failed(ctx, p, began, err)
	}
	return v, err
}

// failed records a call of Do that returned an error.
func (b *Breaker) failed(ctx context.Context, p Pass, began time.Time, err error) {
	if ended(ctx) {
		b.Leave(p, Neither, Failure{})
	} else {
		b.Leave(p, Failed, Failure{Cause: causeOf(err), Lasted: since(began)})
	}
}

// escaped records a call of Do that did not return: panicked is what recover
// found, nil for runtime.Goexit.
func (b *Breaker) escaped(p Pass, began time.Time, panicked any) {
	if panicked == nil {
		b.Leave(p, Neither, Failure{})
		return
	}
	b.Leave(p, Failed, Failure{Cause: Cause{Kind: "panic"}, Lasted: since(began)})
	panic(panicked)
}

// ended reports whether the caller has ended the call.
func ended(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	// A connection with ctx's deadline may report it an instant before ctx does.
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// causeOf returns what may be kept of an error.
func causeOf(err error) Cause {
	if e, ok := errors.AsType[interface {
		error
		CircuitCause() Cause
	}](err); ok {
		return e.CircuitCause()
	}
	return Cause{Kind: "error"}
}

// begins returns when a call that has just been admitted begins, or the zero time if
// no earlier failure may count; see [Do].
func (b *Breaker) begins(p Pass) time.Time {
	if p.word&(plainMask|creditMask) == 0 {
		return time.Time{}
	}
	return time.Now()
}

// since returns how long a call has lasted; 0 if that is not known.
func since(began time.Time) time.Duration {
	if began.IsZero() {
		return 0
	}
	return time.Since(began)
}

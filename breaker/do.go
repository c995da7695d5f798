package breaker

import (
	"context"
	"errors"
	"time"
)

// Do calls fn if the circuit admits it, and records how it ended. If it does
// not, fn is not called and the error is an [*OpenError].
//
// An error is a failure, unless ctx has ended: the caller's own cancellation or
// deadline counts for nothing. A panic in fn is a failure and goes on;
// runtime.Goexit counts for nothing. A caller that knows better what an error
// says of the service uses [Breaker.Enter] and [Breaker.Leave].
//
// How long a call lasted (see [Config].FailureWindow) is measured only while an
// earlier failure may still count: the window begins where that one ended, so how
// long the first lasted need not be known, and a call while all is well reads no
// clock.
//
// What is kept of an error is the [Cause] that it tells itself with a method
// CircuitCause() Cause, or else no more than that there was one.
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
	v, err = fn(ctx) // named results: a function that defers copies any others through memory
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

// ended reports whether it is the caller who ended a call.
func ended(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	// A connection that was given ctx's deadline may report it an instant before
	// ctx does.
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// causeOf returns what may be kept of an error: what it tells itself.
func causeOf(err error) Cause {
	if e, ok := errors.AsType[interface {
		error
		CircuitCause() Cause
	}](err); ok {
		return e.CircuitCause()
	}
	return Cause{Kind: "error"}
}

// begins returns when a call that is just admitted begins, or the zero time
// while all is well: see [Do].
func (b *Breaker) begins(p Pass) time.Time {
	if p.word&(plainMask|creditMask) == 0 {
		return time.Time{}
	}
	return time.Now()
}

// since returns how long a call has lasted, 0 where that is not known.
func since(began time.Time) time.Duration {
	if began.IsZero() {
		return 0
	}
	return time.Since(began)
}

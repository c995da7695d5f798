package breaker

import (
	"context"
	"sync/atomic"
	"time"
)

// Permit is the leave to make one call, for callers that Run and Do do not suit:
// a stream, whose call ends long after it returned. It is ended once, with
// Success, Failure, Trip, Ignore or End; ending it again does nothing, so
// `defer p.Ignore()` may stand after each Acquire. It may be ended from another
// goroutine; it must not be copied.
//
// A probe's permit that is never ended loses its place when Config.ProbeLease
// runs out.
type Permit struct {
	b     *Breaker
	word  uint64
	probe uint64
	slow  *time.Timer // fires when the call has become slow; nil: not watched
	ended atomic.Bool
}

// Acquire asks for leave to make a call. The error is an *OpenError.
func (b *Breaker) Acquire() (Permit, error) {
	w, probe, err := b.admit()
	if err != nil {
		return Permit{}, err
	}
	return Permit{b: b, word: w, probe: probe, slow: b.watch(w)}, nil
}

// watch makes a call a failure when it becomes slow.
func (b *Breaker) watch(w uint64) *time.Timer {
	if w&watchedBit == 0 {
		return nil
	}
	return time.AfterFunc(b.settings.SlowCall, func() {
		b.fail(w, &SlowError{b.settings.SlowCall}, false)
	})
}

// end reports whether the permit's outcome is still to be recorded: it is the
// first end, and the call has not been recorded as slow.
func (p *Permit) end() bool {
	return p.b != nil && p.ended.CompareAndSwap(false, true) && (p.slow == nil || p.slow.Stop())
}

// Success ends the permit: the service did its work.
func (p *Permit) Success() {
	if p.end() {
		p.b.succeed(p.word, p.probe)
	}
}

// Failure ends the permit: the service failed; or it is ignored, if
// Config.Exclude matches the cause.
func (p *Permit) Failure(cause error) {
	if p.b.excludes(cause) {
		p.Ignore()
	} else {
		p.fail(cause)
	}
}

func (p *Permit) fail(cause error) {
	if p.end() {
		p.b.fail(p.word, cause, false)
	}
}

// Trip ends the permit with a failure that opens the circuit at once (see
// Breaker.Trip); or it is ignored, if Config.Exclude matches the cause.
func (p *Permit) Trip(cause error) {
	if p.b.excludes(cause) {
		p.Ignore()
	} else if p.ended.CompareAndSwap(false, true) {
		if p.slow != nil {
			p.slow.Stop() // it opens the circuit even if the call has been recorded as slow
		}
		p.b.fail(p.word, cause, true)
	}
}

// Ignore ends the permit: nothing was learned about the service. The place of a
// probe is free again.
func (p *Permit) Ignore() {
	if p.end() {
		p.b.release(p.probe)
	}
}

// End ends the permit as Do does for a call made with ctx that returned err.
func (p *Permit) End(ctx context.Context, err error) {
	switch {
	case err == nil:
		p.Success()
	case p.b != nil && p.b.counts(ctx, err):
		p.fail(err)
	default:
		p.Ignore()
	}
}

// EndAs ends the permit of a call made with ctx that returned err, as the caller
// decided.
func (p *Permit) EndAs(ctx context.Context, o Outcome, err error) {
	switch o {
	case Succeeded:
		p.Success()
	case Failed:
		p.End(ctx, err)
	case Tripped:
		p.Trip(err)
	default:
		p.Ignore()
	}
}

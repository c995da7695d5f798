package breaker

import (
	"sync/atomic"
	"time"
)

// Permit is a [Pass] that is safe to end twice, for callers that neither [Do] nor
// a Pass suits: a stream, whose call ends long after it returned. It is ended
// once, with Success, Failure, Trip or Ignore; ending it again does nothing, so
// `defer p.Ignore()` may follow each [Breaker.Acquire]. It may be ended from
// another goroutine; it must not be copied. The zero Permit is ended.
type Permit struct {
	b     *Breaker
	pass  Pass
	began time.Time // zero: it does not matter
	ended atomic.Bool
}

// Acquire asks for permission to make a call. The error is an [*OpenError].
func (b *Breaker) Acquire() (Permit, error) {
	p, refusal := b.Enter()
	if refusal != nil {
		return Permit{}, refusal
	}
	return Permit{b: b, pass: p, began: b.begins(p)}, nil
}

func (p *Permit) end(o Outcome, f Failure) {
	if p.b == nil || !p.ended.CompareAndSwap(false, true) {
		return
	}
	if f.Lasted == 0 {
		f.Lasted = since(p.began)
	}
	p.b.Leave(p.pass, o, f)
}

// Success ends the permit: the service did its work.
func (p *Permit) Success() { p.end(Succeeded, Failure{}) }

// Failure ends the permit: the service failed. A Lasted of 0 is since Acquire.
func (p *Permit) Failure(f Failure) { p.end(Failed, f) }

// Trip ends the permit with a failure that opens the circuit at once.
func (p *Permit) Trip(f Failure) { p.end(Tripped, f) }

// Ignore ends the permit: nothing was learned about the service. The place of a
// probe is free again.
func (p *Permit) Ignore() { p.end(Neither, Failure{}) }

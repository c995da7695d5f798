package breaker

import (
	"sync/atomic"
	"time"
)

// Permit is a [Pass] that is safe to end twice. It is for calls that end long after the
// function that made them has returned, such as streams. The first of
// [Permit.Success], [Permit.Failure], [Permit.Trip] and [Permit.Ignore] ends it; later
// ones do nothing, so `defer p.Ignore()` may follow each [Breaker.Acquire]. They may be
// called from any goroutine. A Permit must not be copied. The zero Permit has ended.
type Permit struct {
	b     *Breaker
	pass  Pass
	began time.Time // zero: not needed
	ended atomic.Bool
}

// Acquire is [Breaker.Enter] with a [Permit]. The error is an *[OpenError].
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

// Failure ends the permit: the service failed. If f.Lasted is 0, the time since
// [Breaker.Acquire] is taken, where that is known.
func (p *Permit) Failure(f Failure) { p.end(Failed, f) }

// Trip ends the permit with a failure that opens the circuit at once.
func (p *Permit) Trip(f Failure) { p.end(Tripped, f) }

// Ignore ends the permit: the call said nothing about the service.
func (p *Permit) Ignore() { p.end(Neither, Failure{}) }

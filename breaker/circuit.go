package breaker

import (
	"sync/atomic"
	"time"
)

// Outcome is what a call says of the service, as its caller has decided.
type Outcome uint8

// The outcomes.
const (
	Neither   Outcome = iota // nothing was learned; the place of a probe is free again
	Succeeded                // the service did its work
	Failed                   // the service failed
	Tripped                  // the service failed in a way that leaves no doubt: the circuit opens at once
)

// Failure is what is told of a call that [Failed] or [Tripped]. The zero value
// says nothing.
type Failure struct {
	Cause Cause
	// Lasted is how long the call lasted. It makes the window longer; see
	// [Config]. More than 10 minutes is taken for 10 minutes, 0 is not known.
	Lasted time.Duration
	// AskedFor is how long the service asked to be left alone; 0: it did not
	// say. If this failure opens the circuit, it stays OPEN for at least that
	// long, and if it is one that trips, for just that long; but no longer than
	// Config.MaxOpen.
	AskedFor time.Duration
}

// maxLasted is how much of a call's duration is reckoned: one that hung for a day
// must not make failures of last week count.
const maxLasted = 10 * time.Minute

// Pass is the permission to make one call, from [Breaker.Enter] or
// [Breaker.Wait]. It is a plain value, given back once, with [Breaker.Leave],
// from any goroutine; see [Permit] for one that may be ended twice. The zero
// Pass is of no call: it counts for nothing.
//
// A probe whose pass is never given back loses its place when Config.ProbeLease
// runs out.
type Pass struct {
	word  uint64 // the breaker's, when the call was admitted
	probe uint64 // its number; 0: it is not a probe, or one that has passed
	slow  *watch // nil: not watched
}

// Plain returns the pass as one number, if it is no more than that: true for all
// calls but probes that have not passed and calls watched for slowness.
// [PlainPass] turns it back. The zero Pass is 0.
func (p Pass) Plain() (n int64, ok bool) { return int64(p.word), p.probe == 0 && p.slow == nil }

// PlainPass returns the pass whose number [Pass.Plain] returned.
func PlainPass(n int64) Pass { return Pass{word: uint64(n)} }

// watch makes a failure of a call when it becomes slow.
type watch struct {
	timer *time.Timer
	word  atomic.Uint64 // under which the call counts
}

func (b *Breaker) watch(w uint64) *watch {
	if w&watchedBit == 0 {
		return nil
	}
	s := new(watch)
	s.word.Store(w)
	s.timer = time.AfterFunc(b.settings.SlowCall, func() {
		b.fail(s.word.Load(), Failure{Cause: Cause{Kind: "slow"}, Lasted: b.settings.SlowCall}, false)
	})
	return s
}

// Enter admits a call and returns its pass, or an [*OpenError] that says why not.
// It does not wait.
func (b *Breaker) Enter() (Pass, *OpenError) {
	if w := b.word.Load(); w&plainMask == 0 {
		return Pass{word: w}, nil
	}
	return b.enter()
}

// enter is Enter for all states.
func (b *Breaker) enter() (Pass, *OpenError) {
	w := b.word.Load()
	if stateOf(w) == Closed {
		return Pass{word: w, slow: b.watch(w)}, nil
	}
	if refusal := b.Refusal(); refusal != nil { // before the price of a lock
		return Pass{}, refusal
	}
	k, now := b.lock()
	defer b.unlock(k)
	return b.admit(k, now)
}

// admit lets a call through, or says why not. The caller holds the lock.
func (b *Breaker) admit(k *book, now time.Time) (Pass, *OpenError) {
	w := b.word.Load()
	switch stateOf(w) {
	case Closed:
		return Pass{word: w, slow: b.watch(w)}, nil
	case Open:
		return Pass{}, k.opening.Load()
	}
	if k.expire(now, b.settings.ProbeLease); len(k.probes) >= b.settings.HalfOpenProbes {
		return Pass{}, &OpenError{
			Name: b.name, State: HalfOpen, Cause: k.cause, Since: k.since,
			Until: k.probes[0].from.Add(b.settings.ProbeLease),
		}
	}
	return Pass{word: w, probe: k.admitProbe(now), slow: b.watch(w)}, nil
}

// Refusal returns the refusal of [Breaker.Enter] if the circuit is OPEN, or nil.
// It takes nothing and changes nothing: once the recovery time is over it
// returns nil, and in HALF_OPEN too, whether a place is free or not.
func (b *Breaker) Refusal() *OpenError {
	if stateOf(b.word.Load()) != Open { // it has the last word: an opening is written down after it
		return nil
	}
	o := b.openBook().opening.Load()
	if o == nil || !o.Forced && time.Until(o.Until) <= 0 {
		return nil
	}
	return o
}

// Accept says that an answer has begun to come to the call of p. It returns the
// pass to give back when the call ends.
//
// If the call is a probe, it has passed: it is counted as a success, and its
// place is free. What [Breaker.Leave] says later counts by itself, in the state
// of now: a failure in HALF_OPEN opens the circuit again, and in CLOSED it is one
// of those that are counted; a success and neither change nothing in HALF_OPEN.
// A probe of an earlier state stays one. For a call that is not a probe nothing
// happens, and p itself is returned.
func (b *Breaker) Accept(p Pass) Pass {
	if p.probe == 0 {
		return p
	}
	k, now := b.lock()
	defer b.unlock(k)
	if b.late(p.word) {
		return p
	}
	b.pass(k, now, p.probe)
	p.probe, p.word = 0, b.word.Load()
	if p.slow != nil {
		p.slow.word.Store(p.word)
	}
	return p
}

// Leave says how the call of p ended, as the caller has decided. f tells of the
// failure for [Failed] and [Tripped]; with the others it is not looked at. A
// call that has been counted as slow (see Config.SlowCall) counts no more,
// unless it is Tripped.
func (b *Breaker) Leave(p Pass, o Outcome, f Failure) {
	if o == Succeeded && p.word&(plainMask|creditMask) == 0 && p.word == b.word.Load() {
		return
	}
	b.leave(p, o, &f)
}

func (b *Breaker) leave(p Pass, o Outcome, f *Failure) {
	counted := p.slow != nil && !p.slow.timer.Stop()
	switch {
	case o == Tripped:
		b.fail(p.word, *f, true)
	case counted:
	case o == Succeeded:
		b.succeed(p)
	case o == Failed:
		b.fail(p.word, *f, false)
	default:
		b.release(p.probe)
	}
}

// succeed records a success.
func (b *Breaker) succeed(p Pass) {
	switch {
	case stateOf(p.word) == Closed:
		b.spendCredit(p.word)
	case p.probe != 0: // else it has passed already
		k, now := b.lock()
		defer b.unlock(k)
		if !b.late(p.word) {
			b.pass(k, now, p.probe)
		}
	}
}

// pass counts a probe that has succeeded. The caller holds the lock.
func (b *Breaker) pass(k *book, now time.Time, id uint64) {
	k.endProbe(id)
	k.passed++
	if k.passed >= b.settings.SuccessThreshold {
		b.begin(k, b.turn(Closed, false), now, Cause{})
	}
}

// fail records a failure of a call admitted under w; trip opens the circuit
// whatever was counted.
func (b *Breaker) fail(w uint64, f Failure, trip bool) {
	if b.late(w) {
		return
	}
	k, now := b.lock()
	defer b.unlock(k)
	current := b.word.Load()
	if b.late(w) || current&forcedBit != 0 {
		return
	}
	if stateOf(current) == HalfOpen {
		b.open(k, b.turn(Open, false), now, f, trip)
		return
	}
	last, first := k.note(failed{at: now, lasted: min(f.Lasted, maxLasted)}, b.settings.FailureThreshold)
	for { // counts and opens in one step: no success may come between
		was := b.word.Load()
		last.successes = k.successes + b.settings.counted(was)
		if trip || b.settings.opens(k.failures, first, last) {
			if b.word.CompareAndSwap(was, b.settings.turned(was, Open, false)) {
				b.open(k, was, now, f, trip)
				return
			}
		} else if b.word.CompareAndSwap(was, was&^creditMask|b.settings.fullCredit()) {
			k.successes = last.successes
			return
		}
	}
}

// release gives a place back; nothing is counted.
func (b *Breaker) release(id uint64) {
	if id == 0 {
		return
	}
	k, _ := b.lock()
	defer b.unlock(k)
	k.endProbe(id)
}

// open writes down that the circuit has opened; was is the word before. The
// caller holds the lock.
func (b *Breaker) open(k *book, was uint64, now time.Time, f Failure, trip bool) {
	cause := f.Cause.kept()
	b.begin(k, was, now, cause)
	until := now.Add(b.settings.openTime(k.openings, f.AskedFor, trip))
	k.openings++
	b.keepOpen(k, &OpenError{Name: b.name, State: Open, Cause: cause, Since: now, Until: until})
}

// keepOpen says what a refusal is while the circuit is OPEN. The caller holds
// the lock, and has turned the word before: if calls were refused before, a call
// after them could still be let through.
func (b *Breaker) keepOpen(k *book, refusal *OpenError) {
	k.cause = refusal.Cause
	k.opening.Store(refusal)
	k.callAll()
}

// begin writes down that the word has turned; was is the word before. The caller
// holds the lock, and calls keepOpen next if the state is Open.
func (b *Breaker) begin(k *book, was uint64, at time.Time, cause Cause) {
	w := b.word.Load()
	k.opening.Store(nil)
	if stateOf(w) == Closed {
		k.openings = 0
	}
	k.since = at
	k.failures, k.oldest, k.successes = k.failures[:0], 0, 0
	k.probes, k.passed = k.probes[:0], 0
	k.callFirst()
	if len(b.hooks) > 0 && ((was^w)&(stateMask|forcedBit) != 0 || w&forcedBit != 0) {
		k.toTell(Transition{
			Name: b.name, From: stateOf(was), To: stateOf(w), At: at, Cause: cause,
			Forced: w&forcedBit != 0, Generation: changes(w),
		})
	}
}

// Trip opens the circuit at once, as a call that [Tripped] does. One that is
// OPEN already stays so for the longer of the two times; a forced state stays as
// it is.
func (b *Breaker) Trip(f Failure) {
	k, now := b.lock()
	defer b.unlock(k)
	if b.word.Load()&forcedBit != 0 {
		return
	}
	o := k.opening.Load()
	if o == nil {
		b.open(k, b.turn(Open, false), now, f, true)
		return
	}
	if until := now.Add(b.settings.openTime(0, f.AskedFor, true)); until.After(o.Until) {
		longer := *o
		longer.Cause, longer.Until = f.Cause.kept(), until
		b.keepOpen(k, &longer)
	}
}

// ForceOpen refuses every call until [Breaker.Reset] or [Breaker.ForceClosed].
// Those who are refused are told why; up to 100 bytes of it are kept.
func (b *Breaker) ForceOpen(why string) {
	k, now := b.lock()
	defer b.unlock(k)
	cause := Cause{Kind: why}.kept()
	b.begin(k, b.turn(Open, true), now, cause)
	b.keepOpen(k, &OpenError{Name: b.name, State: Open, Cause: cause, Since: now, Forced: true})
}

// ForceClosed admits every call and counts nothing until [Breaker.Reset] or
// [Breaker.ForceOpen].
func (b *Breaker) ForceClosed() { b.close(true) }

// Reset makes the breaker CLOSED, as it was when new.
func (b *Breaker) Reset() { b.close(false) }

func (b *Breaker) close(forced bool) {
	k, now := b.lock()
	defer b.unlock(k)
	k.cause = Cause{}
	b.begin(k, b.turn(Closed, forced), now, Cause{})
}

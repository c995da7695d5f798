package breaker

import (
	"sync/atomic"
	"time"
)

// Outcome is what a call says about the service, as its caller has decided. The zero
// value is [Neither].
type Outcome uint8

// The outcomes.
const (
	Neither   Outcome = iota // nothing: neither a success nor a failure
	Succeeded                // the service did its work
	Failed                   // the service failed
	Tripped                  // the service certainly fails: the circuit opens at once
)

// Failure describes a call that [Failed] or [Tripped]. Each field may be left zero.
type Failure struct {
	// Cause is what the breaker keeps of the failure, and shows to the calls that
	// it refuses.
	Cause Cause
	// Lasted is how long the call lasted, which may make the window longer; see
	// [Config.FailureWindow]. At most 10 minutes count. 0: not known.
	Lasted time.Duration
	// AskedFor is how long the service asked not to be called; 0: it did not say.
	// If this failure opens the circuit, the circuit stays OPEN at least that long,
	// and for a failure that Tripped exactly that long, but at most
	// [Config.MaxOpen].
	AskedFor time.Duration
}

// maxLasted bounds the duration of a call that counts: one that hung for a day must
// not make failures of last week count.
const maxLasted = 10 * time.Minute

// Pass is the permission to make one call, from [Breaker.Enter] or [Breaker.Wait]. It
// is a plain value, to be given back exactly once with [Breaker.Leave], from any
// goroutine; a [Permit] may be ended twice. The zero Pass belongs to no call, and
// giving it back has no effect.
//
// If the pass of a probe is never given back, another probe is admitted after
// [Config.ProbeLease].
type Pass struct {
	word  uint64 // the breaker's, when the call was admitted
	probe uint64 // its number; 0: not a probe, or one that has succeeded
	slow  *watch // nil: not watched
}

// Plain returns the pass as a number, from which [PlainPass] makes it again. ok is
// false for a probe that has not succeeded yet, and for a call under
// [Config.SlowCall]. The zero Pass is 0.
func (p Pass) Plain() (n int64, ok bool) { return int64(p.word), p.probe == 0 && p.slow == nil }

// PlainPass returns the pass whose number [Pass.Plain] returned.
func PlainPass(n int64) Pass { return Pass{word: uint64(n)} }

// watch counts a call as a failure when it becomes slow.
type watch struct {
	timer *time.Timer
	word  atomic.Uint64 // the breaker's, under which the call counts
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

// Enter admits a call and returns its pass, or refuses it with an *[OpenError]. It does
// not wait.
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
	if refusal := b.Refusal(); refusal != nil { // without a lock
		return Pass{}, refusal
	}
	k, now := b.lock()
	defer b.unlock(k)
	return b.admit(k, now)
}

// admit admits or refuses a call. The caller holds the lock, which is given up while peers
// are asked.
func (b *Breaker) admit(k *book, now time.Time) (Pass, *OpenError) {
	if stateOf(b.word.Load()) == HalfOpen && k.following {
		if k.expire(now, b.settings.ProbeLease); len(k.probes) < b.settings.HalfOpenProbes {
			return b.admitLeased(k)
		}
	}
	return b.admitAlone(k, now)
}

// admitAlone admits or refuses a call without asking anybody. The caller holds the lock.
func (b *Breaker) admitAlone(k *book, now time.Time) (Pass, *OpenError) {
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

// Refusal returns what [Breaker.Enter] would refuse a call with while the circuit is
// OPEN, or nil. It changes nothing. After the recovery time it returns nil, and in
// HALF_OPEN too, even if no further probe would be admitted.
func (b *Breaker) Refusal() *OpenError {
	if stateOf(b.word.Load()) != Open { // the word decides: opening is stored after it
		return nil
	}
	o := b.openBook().opening.Load()
	if o == nil || !o.Forced && time.Until(o.Until) <= 0 {
		return nil
	}
	return o
}

// Accept reports that an answer has begun to arrive for the call of p. It returns the
// pass to give back to [Breaker.Leave] when the call ends.
//
// If the call is a probe, it counts as a success now and makes room for another. What
// Leave reports later counts by itself, in the state that the circuit is in after
// Accept: a failure in HALF_OPEN opens the circuit again, and in CLOSED it is counted
// like any other; [Succeeded] and [Neither] change nothing in HALF_OPEN.
//
// For a probe of an earlier state, and for a call that is not a probe, Accept does
// nothing and returns p.
func (b *Breaker) Accept(p Pass) Pass {
	if p.probe == 0 {
		return p
	}
	k, now := b.lock()
	defer b.unlock(k)
	late, leased := b.late(p.word), p.probe&leasedBit != 0
	switch {
	case late && !leased:
		return p
	case leased && b.probed(k, p, Succeeded, Failure{}):
		if p.probe = 0; late {
			return p
		}
	default:
		b.pass(k, now, p.probe)
	}
	p.probe, p.word = 0, b.word.Load()
	if p.slow != nil {
		p.slow.word.Store(p.word)
	}
	return p
}

// Leave reports how the call of p ended. f describes the failure, for [Failed] and
// [Tripped]; for other outcomes it is ignored. A call that was counted as slow (see
// [Config.SlowCall]) is not counted again, unless it is Tripped.
func (b *Breaker) Leave(p Pass, o Outcome, f Failure) {
	if o == Succeeded && p.word&(plainMask|creditMask) == 0 && p.word == b.word.Load() {
		return
	}
	b.leave(p, o, &f)
}

func (b *Breaker) leave(p Pass, o Outcome, f *Failure) {
	counted := p.slow != nil && !p.slow.timer.Stop()
	if p.probe&leasedBit != 0 {
		if counted && o != Tripped {
			o = Neither
		}
		b.leaveLeased(p, o, f)
		return
	}
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

func (b *Breaker) succeed(p Pass) {
	switch {
	case stateOf(p.word) == Closed:
		b.spendCredit(p.word)
	case p.probe != 0: // otherwise Accept has counted it
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
	b.passed(k, now)
}

// passed counts a success in HALF_OPEN. The caller holds the lock.
func (b *Breaker) passed(k *book, now time.Time) {
	k.passed++
	if k.passed >= b.settings.SuccessThreshold {
		k.following = false
		b.begin(k, b.turn(Closed, false), now, Cause{})
	}
}

// fail records a failure of a call admitted under w. With trip it opens the circuit
// whatever the counts.
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
	heard := b.peers != nil && b.report(k, f, trip)
	if stateOf(current) == HalfOpen {
		if !k.following || !heard {
			b.open(k, b.turn(Open, false), now, f, trip)
		}
		return
	}
	last, first := k.note(failed{at: now, lasted: min(f.Lasted, maxLasted)}, b.settings.FailureThreshold)
	for { // counts and opens in one step, so that no success comes between
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

// release ends a probe without counting it.
func (b *Breaker) release(id uint64) {
	if id == 0 {
		return
	}
	k, _ := b.lock()
	defer b.unlock(k)
	k.endProbe(id)
}

// open records that the circuit has opened; was is the word before. The caller holds
// the lock.
func (b *Breaker) open(k *book, was uint64, now time.Time, f Failure, trip bool) {
	cause := f.Cause.kept()
	b.begin(k, was, now, cause)
	until := now.Add(b.settings.openTime(k.openings, f.AskedFor, trip))
	k.openings++
	b.keepOpen(k, &OpenError{Name: b.name, State: Open, Cause: cause, Since: now, Until: until})
}

// keepOpen sets the refusal of an OPEN circuit. The caller holds the lock, and has
// turned the word first: otherwise a call could be admitted after others were refused.
func (b *Breaker) keepOpen(k *book, refusal *OpenError) {
	k.cause = refusal.Cause
	k.opening.Store(refusal)
	k.callAll()
}

// begin records that the word has turned; was is the word before. The caller holds
// the lock, and calls keepOpen next if the state is Open.
func (b *Breaker) begin(k *book, was uint64, at time.Time, cause Cause) {
	w := b.word.Load()
	k.opening.Store(nil)
	switch {
	case stateOf(w) == Closed:
		k.openings = 0
	case stateOf(w) == Open && stateOf(was) != Open:
		k.ever++
	}
	k.keepOpened(b.settings, was, w, at)
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

// Trip opens the circuit at once, as a call that [Tripped] does. A circuit that is
// already OPEN stays so for the longer of the two times. A forced state is not
// changed.
func (b *Breaker) Trip(f Failure) {
	k, now := b.lock()
	defer b.unlock(k)
	if b.word.Load()&forcedBit != 0 {
		return
	}
	o := k.opening.Load()
	if o == nil {
		if b.peers != nil {
			b.report(k, f, true)
		}
		b.open(k, b.turn(Open, false), now, f, true)
		return
	}
	if until := now.Add(b.settings.openTime(0, f.AskedFor, true)); until.After(o.Until) {
		longer := *o
		longer.Cause, longer.Until = f.Cause.kept(), until
		b.keepOpen(k, &longer)
	}
}

// ForceOpen refuses every call until [Breaker.Reset] or [Breaker.ForceClosed]. Up to
// 100 bytes of why are shown to the callers, as the Kind of [OpenError.Cause].
func (b *Breaker) ForceOpen(why string) {
	k, now := b.lock()
	defer b.unlock(k)
	cause := Cause{Kind: why}.kept()
	k.following, k.shared = false, 0
	b.begin(k, b.turn(Open, true), now, cause)
	b.keepOpen(k, &OpenError{Name: b.name, State: Open, Cause: cause, Since: now, Forced: true})
}

// ForceClosed admits every call and counts nothing until [Breaker.Reset] or
// [Breaker.ForceOpen].
func (b *Breaker) ForceClosed() { b.close(true) }

// Reset makes the breaker CLOSED and forgets everything that it counted.
func (b *Breaker) Reset() { b.close(false) }

func (b *Breaker) close(forced bool) {
	k, now := b.lock()
	defer b.unlock(k)
	k.cause, k.following, k.shared = Cause{}, false, 0
	b.begin(k, b.turn(Closed, forced), now, Cause{})
}

package breaker

import (
	"context"
	"math"
	"time"
)

// The four things that happen to a circuit: admit, succeed, fail, release. The
// last three take what the caller was admitted under: the word and the probe's
// number.

// admit lets a call through or returns an *OpenError.
func (b *Breaker) admit() (w, probe uint64, err error) {
	w = b.word.Load()
	if stateOf(w) == Closed {
		return w, 0, nil
	}
	if refusal := b.Refusal(); refusal != nil {
		return 0, 0, refusal
	}
	k := b.openBook()
	now := b.lock(k)
	defer b.unlock(k)
	w = b.word.Load()
	switch stateOf(w) {
	case Closed:
		return w, 0, nil
	case Open:
		if o := k.opening.Load(); now < o.until {
			return 0, 0, o.err
		}
		b.begin(k, b.turn(HalfOpen, false), now, k.cause)
		w = b.word.Load()
	}
	if k.expire(now, b.settings.ProbeLease); len(k.probes) >= b.settings.HalfOpenProbes {
		return 0, 0, &OpenError{
			Name: b.name, State: HalfOpen, Cause: k.cause, Since: b.timeOf(k, k.since),
			Until: b.timeOf(k, later(k.probes[0].from, b.settings.ProbeLease)),
		}
	}
	return w, k.admitProbe(now), nil
}

// Refusal returns what Run would return now if the circuit is OPEN, or nil. It
// changes nothing: once the recovery time has come it returns nil, and the next
// call finds out.
func (b *Breaker) Refusal() *OpenError {
	if stateOf(b.word.Load()) != Open { // it has the last word: an opening is written down after it
		return nil
	}
	k := b.openBook()
	o := k.opening.Load()
	if o == nil {
		return nil
	}
	now := b.now() + k.skew.Load()
	if now < o.from { // the clock went backwards, which must be written down
		now = b.lock(k)
		b.unlock(k)
	}
	if now < o.until {
		return o.err
	}
	return nil
}

// succeed records a success.
func (b *Breaker) succeed(w, probe uint64) {
	if stateOf(w) == Closed {
		b.spendCredit(w)
		return
	}
	k := b.openBook()
	now := b.lock(k)
	defer b.unlock(k)
	if b.late(w) {
		return
	}
	k.endProbe(probe)
	k.passed++
	if k.passed >= b.settings.SuccessThreshold {
		b.begin(k, b.turn(Closed, false), now, nil)
	}
}

// fail records a failure; trip opens the circuit whatever was counted.
func (b *Breaker) fail(w uint64, cause error, trip bool) {
	if b.late(w) {
		return
	}
	k := b.openBook()
	asked, recovery := b.asked(cause), b.recovery(k)
	now := b.lock(k)
	defer b.unlock(k)
	current := b.word.Load()
	if b.late(w) || current&forcedBit != 0 {
		return
	}
	d := b.openTime(asked, recovery, trip)
	if stateOf(current) == HalfOpen {
		b.open(k, b.turn(Open, false), now, d, cause)
		return
	}
	last, first := k.note(now, b.settings.FailureThreshold)
	for { // counts and opens in one step: no success may come between
		was := b.word.Load()
		last.successes = k.successes + b.settings.counted(was)
		if trip || b.settings.opens(first, last) {
			if b.word.CompareAndSwap(was, b.settings.turned(was, Open, false)) {
				b.open(k, was, now, d, cause)
				return
			}
		} else if b.word.CompareAndSwap(was, was&^creditMask|b.settings.fullCredit()) {
			k.successes = last.successes
			return
		}
	}
}

// release gives a place back; nothing is counted.
func (b *Breaker) release(probe uint64) {
	if probe == 0 {
		return
	}
	k := b.openBook()
	b.lock(k)
	defer b.unlock(k)
	k.endProbe(probe)
}

// late reports whether the state has changed since a call was admitted under w.
func (b *Breaker) late(w uint64) bool { return generationOf(b.word.Load()) != generationOf(w) }

// lock takes the book's lock and returns the time.
func (b *Breaker) lock(k *book) int64 {
	k.mu.Lock()
	return k.advance(b.now())
}

// asked and recovery call the user's functions. They are asked before the lock
// is taken, so that they may call the breaker.

func (b *Breaker) asked(cause error) time.Duration {
	if b.settings.RetryAfter == nil {
		return 0
	}
	return ask(b, "RetryAfter", 0, func() time.Duration {
		if d, ok := b.settings.RetryAfter(cause); ok {
			return d
		}
		return 0
	})
}

func (b *Breaker) recovery(k *book) time.Duration {
	if b.settings.Recovery == nil {
		return b.settings.RecoveryTimeout
	}
	return ask(b, "Recovery", b.settings.RecoveryTimeout, func() time.Duration {
		return b.settings.Recovery(int(k.openings.Load()))
	})
}

// openTime decides how long the circuit is OPEN.
func (b *Breaker) openTime(asked, recovery time.Duration, trip bool) time.Duration {
	if trip {
		recovery = 0
		if asked <= 0 {
			recovery = b.settings.TripTimeout
		}
	}
	return min(max(recovery, asked, 0), b.settings.MaxOpen)
}

// open writes down that the circuit has opened for d; was is the word before.
// The caller holds the lock.
func (b *Breaker) open(k *book, was uint64, now int64, d time.Duration, cause error) {
	b.begin(k, was, now, cause)
	k.openings.Add(1)
	b.keepOpen(k, now, later(now, d), cause, false)
}

// keepOpen says until when the circuit is OPEN. The caller holds the lock, and
// has turned the word before: if calls were refused before, a call after them
// could still be let through.
func (b *Breaker) keepOpen(k *book, from, until int64, cause error, forced bool) {
	err := &OpenError{Name: b.name, State: Open, Cause: cause, Since: b.timeOf(k, from), Forced: forced}
	if !forced {
		err.Until = b.timeOf(k, until)
	}
	k.cause = cause
	k.opening.Store(&opening{from, until, err})
}

// begin writes down that the word has turned; was is the word before. The caller
// holds the lock, and calls keepOpen next if the state is Open.
func (b *Breaker) begin(k *book, was uint64, now int64, cause error) {
	w := b.word.Load()
	k.opening.Store(nil)
	if stateOf(w) == Closed {
		k.openings.Store(0)
	}
	k.since = now
	k.failures, k.oldest, k.successes = k.failures[:0], 0, 0
	k.probes, k.passed = k.probes[:0], 0
	k.wake()
	if b.settings.OnStateChange != nil && ((was^w)&(stateMask|forcedBit) != 0 || w&forcedBit != 0) {
		k.transitions = append(k.transitions, Transition{
			Name: b.name, From: stateOf(was), To: stateOf(w), At: b.timeOf(k, now), Cause: cause,
			Forced: w&forcedBit != 0, Generation: generationOf(w),
		})
	}
}

// timeOf returns the wall-clock time of a time of the breaker's.
func (b *Breaker) timeOf(k *book, t int64) time.Time {
	return b.settings.base.Add(time.Duration(t - k.skew.Load()))
}

// Trip opens the circuit at once, as a failure whose cause leaves no doubt
// (a billing limit) does: for as long as Config.RetryAfter finds in the cause, or
// else Config.TripTimeout. One that is OPEN already stays so for the longer of
// the two times; a forced state stays as it is.
func (b *Breaker) Trip(cause error) {
	k := b.openBook()
	d := b.openTime(b.asked(cause), 0, true)
	now := b.lock(k)
	defer b.unlock(k)
	if b.word.Load()&forcedBit != 0 {
		return
	}
	if o := k.opening.Load(); o == nil {
		b.open(k, b.turn(Open, false), now, d, cause)
	} else if until := later(now, d); until > o.until {
		b.keepOpen(k, o.from, until, cause, false)
		k.wake() // who waits may have no time for the longer wait
	}
}

// ForceOpen refuses every call until Reset or ForceClosed.
func (b *Breaker) ForceOpen(cause error) {
	k := b.openBook()
	now := b.lock(k)
	defer b.unlock(k)
	b.begin(k, b.turn(Open, true), now, cause)
	b.keepOpen(k, now, math.MaxInt64, cause, true)
}

// ForceClosed admits every call and counts nothing until Reset or ForceOpen.
func (b *Breaker) ForceClosed() { b.close(true) }

// Reset makes the breaker CLOSED, as it was when new.
func (b *Breaker) Reset() { b.close(false) }

func (b *Breaker) close(forced bool) {
	k := b.openBook()
	now := b.lock(k)
	defer b.unlock(k)
	k.cause = nil
	b.begin(k, b.turn(Closed, forced), now, nil)
}

// Await returns a permit as soon as the circuit admits a call: it waits where
// Acquire would refuse. It returns ctx's error when ctx ends first, and an
// *OpenError at once when the circuit is OPEN and can't admit a probe before
// ctx's deadline, or is forced open.
func (b *Breaker) Await(ctx context.Context) (Permit, error) {
	var news <-chan struct{}
	for {
		if ctx.Err() != nil {
			return Permit{}, ctx.Err()
		}
		w, probe, err := b.admit()
		if err == nil {
			return Permit{b: b, word: w, probe: probe, slow: b.watch(w)}, nil
		}
		if news == nil { // ask for news, then look once more, so that none is missed
			news = b.news()
			continue
		}
		refusal := err.(*OpenError)
		deadline, bounded := ctx.Deadline()
		if refusal.Forced || bounded && refusal.State == Open && !deadline.After(refusal.Until) {
			return Permit{}, err
		}
		timer := time.NewTimer(time.Until(refusal.Until))
		select {
		case <-ctx.Done():
		case <-news:
			news = nil
		case <-timer.C:
		}
		timer.Stop()
	}
}

// news returns a channel that is closed when the circuit may admit a call.
func (b *Breaker) news() <-chan struct{} {
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.news()
}

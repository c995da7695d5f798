package breaker

import (
	"context"
	"math"
	"time"
)

// The four things that happen to a circuit: admit, succeed, fail, release. Each
// takes what the caller was admitted under: the word and the probe's number. The
// At forms take the time too.

// admit lets a call through or returns an *OpenError.
func (b *Breaker) admit() (w, probe uint64, err error) {
	w = b.word.Load()
	if stateOf(w) == Closed {
		return w, 0, nil
	}
	return b.admitAt(b.now())
}

func (b *Breaker) admitAt(clock int64) (w, probe uint64, err error) {
	k := b.openBook()
	if o := k.opening.Load(); o != nil {
		if t := clock + k.skew.Load(); t >= o.from && t < o.until {
			return 0, 0, o.err
		}
	}
	k.mu.Lock()
	defer b.unlock(k)
	now := k.advance(clock)
	w = b.word.Load()
	switch stateOf(w) {
	case Closed:
		return w, 0, nil
	case Open:
		if o := k.opening.Load(); now < o.until {
			return 0, 0, o.err
		}
		b.become(k, HalfOpen, false, now, k.cause)
		w = b.word.Load()
	}
	if k.live(now, b.settings.ProbeLease) >= b.settings.HalfOpenProbes {
		return 0, 0, &OpenError{
			Name: b.name, State: HalfOpen, Cause: k.cause, Since: b.timeOf(k, k.since),
			Until: b.timeOf(k, k.firstLease(b.settings.ProbeLease)),
		}
	}
	return w, k.admitProbe(now, b.settings.HalfOpenProbes), nil
}

// succeed records a success.
func (b *Breaker) succeed(w, probe uint64) {
	if stateOf(w) == Closed {
		b.spendCredit(w)
		return
	}
	b.succeedProbeAt(b.now(), w, probe)
}

func (b *Breaker) succeedProbeAt(clock int64, w, probe uint64) {
	k := b.openBook()
	k.mu.Lock()
	defer b.unlock(k)
	now := k.advance(clock)
	if generationOf(b.word.Load()) != generationOf(w) || !k.endProbe(probe) {
		return
	}
	k.passed++
	if k.passed >= b.settings.SuccessThreshold {
		k.openings.Store(0)
		b.become(k, Closed, false, now, nil)
	}
}

// fail records a failure; trip opens the circuit whatever was counted.
func (b *Breaker) fail(w, probe uint64, cause error, trip bool) {
	b.failAt(b.now(), w, probe, cause, trip)
}

func (b *Breaker) failAt(clock int64, w, probe uint64, cause error, trip bool) {
	k := b.openBook()
	asked, recovery := b.asked(cause), b.recovery(k)
	k.mu.Lock()
	defer b.unlock(k)
	now := k.advance(clock)
	current := b.word.Load()
	if generationOf(current) != generationOf(w) || current&forcedBit != 0 {
		return
	}
	var opens bool
	if stateOf(current) == HalfOpen {
		opens = k.endProbe(probe)
	} else {
		k.successes += b.renewCredit()
		opens = k.note(failed{now, k.successes}, b.settings) || trip
	}
	if opens {
		b.open(k, now, b.openTime(asked, recovery, trip), cause)
	}
}

// release gives a place back; nothing is counted.
func (b *Breaker) release(w, probe uint64) {
	if probe == 0 {
		return
	}
	k := b.openBook()
	k.mu.Lock()
	defer b.unlock(k)
	if generationOf(b.word.Load()) == generationOf(w) {
		k.endProbe(probe)
	}
}

// asked and recovery call the user's functions. They are asked before the lock
// is taken, so that they may call the breaker.

func (b *Breaker) asked(cause error) time.Duration {
	if b.settings.RetryAfter == nil {
		return 0
	}
	d, _ := b.settings.RetryAfter(cause)
	return d
}

func (b *Breaker) recovery(k *book) time.Duration {
	if b.settings.Recovery == nil {
		return b.settings.RecoveryTimeout
	}
	return b.settings.Recovery(int(k.openings.Load()))
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

// open opens the circuit for d. The caller holds the lock.
func (b *Breaker) open(k *book, now int64, d time.Duration, cause error) {
	k.openings.Add(1)
	b.openFor(k, now, d, cause, false)
}

func (b *Breaker) openFor(k *book, now int64, d time.Duration, cause error, forced bool) {
	until := int64(math.MaxInt64)
	if int64(d) < until-now {
		until = now + int64(d)
	}
	err := &OpenError{Name: b.name, State: Open, Cause: cause, Since: b.timeOf(k, now), Forced: forced}
	if !forced {
		err.Until = b.timeOf(k, until)
	}
	k.cause = cause
	k.opening.Store(&opening{now, until, err})
	b.become(k, Open, forced, now, cause)
}

// become begins a state. The caller holds the lock, and has stored the opening
// if the state is Open.
func (b *Breaker) become(k *book, s State, forced bool, now int64, cause error) {
	from := stateOf(b.word.Load())
	b.turn(s, forced)
	if s != Open {
		k.opening.Store(nil)
	}
	k.since = now
	k.failures, k.oldest, k.successes = k.failures[:0], 0, 0
	k.probes, k.passed = k.probes[:0], 0
	k.wake()
	if b.settings.OnStateChange != nil && (from != s || forced) {
		k.transitions = append(k.transitions, Transition{
			Name: b.name, From: from, To: s, At: b.timeOf(k, now), Cause: cause, Forced: forced,
			Generation: generationOf(b.word.Load()),
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
	asked := b.asked(cause)
	b.locked(func(k *book, now int64) {
		d := b.openTime(asked, 0, true)
		if o := k.opening.Load(); b.word.Load()&forcedBit != 0 || o != nil && now+int64(d) <= o.until {
			return
		}
		b.open(k, now, d, cause)
	})
}

// ForceOpen refuses every call until Reset or ForceClosed.
func (b *Breaker) ForceOpen(cause error) {
	b.locked(func(k *book, now int64) { b.openFor(k, now, math.MaxInt64, cause, true) })
}

// ForceClosed admits every call and counts nothing until Reset or ForceOpen.
func (b *Breaker) ForceClosed() {
	b.locked(func(k *book, now int64) { b.become(k, Closed, true, now, nil) })
}

// Reset makes the breaker CLOSED, as it was when new.
func (b *Breaker) Reset() {
	b.locked(func(k *book, now int64) {
		k.openings.Store(0)
		k.cause = nil
		b.become(k, Closed, false, now, nil)
	})
}

func (b *Breaker) locked(change func(k *book, now int64)) {
	k := b.openBook()
	k.mu.Lock()
	defer b.unlock(k)
	change(k, k.advance(b.now()))
}

// Await returns a permit as soon as the circuit admits a call: it waits where
// Acquire would refuse. It returns ctx's error when ctx ends first, and an
// *OpenError at once when ctx's deadline comes before the circuit can admit a
// probe, or the circuit is forced open.
func (b *Breaker) Await(ctx context.Context) (Permit, error) {
	var news <-chan struct{}
	for {
		if ctx.Err() != nil {
			return Permit{}, context.Cause(ctx)
		}
		w, probe, err := b.admit()
		if err == nil {
			return Permit{b: b, word: w, probe: probe, slow: b.watch(w, probe)}, nil
		}
		if news == nil { // ask for news, then look once more, so that none is missed
			news = b.news()
			continue
		}
		refusal := err.(*OpenError)
		deadline, bounded := ctx.Deadline()
		if refusal.Forced || bounded && refusal.State == Open && deadline.Before(refusal.Until) {
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

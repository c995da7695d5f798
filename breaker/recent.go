package breaker

import (
	"slices"
	"time"
)

// Recent is what a time line of a [Breaker] shows, and what its failures are held to.
type Recent struct {
	Config Config // as filled by [Config.Filled]
	// Window is how far back failures count now: at least Config.FailureWindow.
	Window time.Duration
	// Failures are the times of the failures, the oldest first, at most
	// Config.FailureThreshold: of a CLOSED circuit those within Window, which
	// [Snapshot.Failures] counts; of an OPEN or HALF_OPEN one those with which it was
	// opened, also if they are no longer within Window. nil: none, and by
	// [Breaker.ForceOpen].
	Failures []time.Time
	Until    time.Time // OPEN: when it admits a probe; zero if forced
}

// Recent returns the failures that count now, or with which the circuit was opened.
func (b *Breaker) Recent() Recent {
	r := Recent{Config: b.settings.Config, Window: b.settings.FailureWindow}
	if b.book.Load() == nil {
		return r
	}
	k, now := b.lock()
	defer b.unlock(k)
	r.Window = b.settings.window(k.failures)
	if stateOf(b.word.Load()) != Closed {
		r.Failures = slices.Clone(k.opened)
		if o := k.opening.Load(); o != nil && !o.Forced {
			r.Until = o.Until
		}
		return r
	}
	r.Failures = k.within(now, r.Window)
	return r
}

// within returns the times of the failures within the window, the oldest first.
func (k *book) within(now time.Time, window time.Duration) []time.Time {
	var times []time.Time
	for i := range k.failures {
		f := k.failures[(k.oldest+i)%len(k.failures)]
		if now.Sub(f.at) <= window {
			times = append(times, f.at)
		}
	}
	return times
}

// keepOpened keeps the failures with which the circuit opens at a time, for
// [Breaker.Recent], until it is CLOSED again or forced. The caller holds the lock, and
// clears the failures next.
func (k *book) keepOpened(s *settings, was, word uint64, at time.Time) {
	switch {
	case stateOf(word) == Closed, word&forcedBit != 0:
		k.opened = nil
	case stateOf(was) == Closed:
		k.opened = k.within(at, s.window(k.failures))
		if n := len(k.opened); n == 0 || !k.opened[n-1].Equal(at) { // it has tripped
			k.opened = append(k.opened, at)
		}
		k.opened = k.opened[max(0, len(k.opened)-s.FailureThreshold):]
	}
}

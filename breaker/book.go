package breaker

import (
	"container/list"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// book is the state of a breaker that has had a failure or has been forced. A breaker
// without either has no book.
type book struct {
	mu sync.Mutex

	// The last FailureThreshold failures, as a ring.
	failures  []failed
	oldest    int
	successes int // counted since the breaker was closed; see the word's credit

	opening  atomic.Pointer[OpenError] // while OPEN: what a refusal needs without the lock
	since    time.Time                 // when the state began
	cause    Cause                     // of the last opening
	openings int                       // since last CLOSED
	opened   []time.Time               // unless CLOSED: the failures with which it opened
	ever     uint64                    // how often it has opened

	probes    []probe // under way, within their lease, the oldest first
	lastProbe uint64
	passed    int // probes that succeeded

	shared    uint64 // the generation of the peers' circuit; 0: not known
	following bool   // the circuit is OPEN, HALF_OPEN or forced because the peers' is

	queue list.List // of *waiter
	turn  time.Time // CLOSED: when the next waiter may enter

	transitions []Transition // not yet reported, at most maxTransitions
	dropped     int          // before transitions[0]
	telling     bool
}

type failed struct {
	at        time.Time
	lasted    time.Duration
	successes int // before it
}

// probe is a call admitted in HALF_OPEN.
type probe struct {
	id   uint64 // with leasedBit: that of a lease
	from time.Time
}

// openBook returns the breaker's book, made on first use.
func (b *Breaker) openBook() *book {
	if k := b.book.Load(); k != nil {
		return k
	}
	b.book.CompareAndSwap(nil, new(book))
	return b.book.Load()
}

// lock takes the book's lock, and makes the circuit HALF_OPEN if it was OPEN and its
// time is over, so that the holder of the lock sees the current state.
func (b *Breaker) lock() (*book, time.Time) {
	k := b.openBook()
	k.mu.Lock()
	now := time.Now()
	if o := k.opening.Load(); o != nil && over(o, now) {
		b.begin(k, b.turn(HalfOpen, false), o.Until, k.cause)
	}
	return k, now
}

// over reports whether the time of an opening has passed.
func over(o *OpenError, now time.Time) bool { return !o.Forced && !now.Before(o.Until) }

// note records a failure. It returns its record, and that of the first of the last
// threshold failures; nil if there are fewer.
func (k *book) note(f failed, threshold int) (last, first *failed) {
	if len(k.failures) < threshold {
		k.failures = append(k.failures, f)
		last = &k.failures[len(k.failures)-1]
		if len(k.failures) < threshold {
			return last, nil
		}
	} else {
		last = &k.failures[k.oldest]
		*last = f
		k.oldest = (k.oldest + 1) % threshold
	}
	return last, &k.failures[k.oldest]
}

// opens reports whether the failures from first to last, FailureThreshold in number,
// open the circuit: they lie within the window, and the successes between them do not
// exceed the limit.
func (s *settings) opens(failures []failed, first, last *failed) bool {
	if first == nil || s.limit >= 0 && last.successes-first.successes > s.limit {
		return false
	}
	span := last.at.Sub(first.at)
	return span <= s.FailureWindow || span <= s.window(failures)
}

// window returns how far back failures count.
func (s *settings) window(failures []failed) time.Duration {
	longest := time.Duration(0)
	for _, f := range failures {
		longest = max(longest, f.lasted)
	}
	return max(s.FailureWindow, time.Duration(s.FailureThreshold)*longest)
}

// openTime returns how long the circuit is OPEN after a failure. openings is the
// number of earlier ones since it was last CLOSED.
func (s *settings) openTime(openings int, asked time.Duration, trip bool) time.Duration {
	if trip {
		if asked <= 0 {
			asked = s.TripTimeout
		}
		return min(asked, s.MaxOpen)
	}
	recovery := float64(s.RecoveryTimeout) * math.Pow(s.RecoveryFactor, float64(openings))
	if recovery >= float64(s.MaxOpen) { // it may overflow a Duration
		return s.MaxOpen
	}
	return min(max(time.Duration(recovery), asked), s.MaxOpen)
}

// admitProbe records a probe and returns its number.
func (k *book) admitProbe(now time.Time) uint64 {
	k.lastProbe++
	k.probes = append(k.probes, probe{id: k.lastProbe, from: now})
	return k.lastProbe
}

// endProbe removes a probe. It may be gone already: its lease ran out, or it is of an
// earlier generation.
func (k *book) endProbe(id uint64) {
	if i := slices.IndexFunc(k.probes, func(p probe) bool { return p.id == id }); i >= 0 {
		k.probes = slices.Delete(k.probes, i, i+1)
		k.callFirst()
	}
}

// expire removes the probes whose lease has run out.
func (k *book) expire(now time.Time, lease time.Duration) {
	n := 0
	for n < len(k.probes) && now.Sub(k.probes[n].from) >= lease {
		n++
	}
	k.probes = slices.Delete(k.probes, 0, n)
}

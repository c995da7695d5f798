package breaker

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// book is what a breaker writes down once there is trouble. A breaker that never
// fails has none.
type book struct {
	mu sync.Mutex

	// Time as the breaker sees it never goes backwards: when the clock does,
	// skew takes up the difference, and what was to last a minute from then on
	// still lasts a minute. A refusal by an OPEN circuit writes down no time, so
	// a jump back that falls between refusals may at most begin the OPEN time
	// anew.
	last int64
	skew atomic.Int64

	// The last FailureThreshold failures, a ring.
	failures  []failed
	oldest    int
	successes int // counted since the breaker was closed; see the word's credit

	opening  atomic.Pointer[opening] // while OPEN: all that a refusal needs, without the lock
	since    int64                   // when the state began
	cause    error                   // of the last opening
	openings atomic.Int64            // since last CLOSED

	probes    []probe // that hold a place, the oldest first
	lastProbe uint64
	passed    int // probes that succeeded

	changed chan struct{} // closed when a place may have become free; nil while nobody waits

	transitions []Transition // not yet told
	telling     bool
}

// failed is a failure, with the number of successes before it.
type failed struct {
	at        int64
	successes int
}

// opening is one OPEN time. It does not change.
type opening struct {
	from, until int64
	err         *OpenError
}

// probe is a call let through in HALF_OPEN.
type probe struct {
	id   uint64
	from int64
}

// openBook returns the breaker's book, made on first use.
func (b *Breaker) openBook() *book {
	if k := b.book.Load(); k != nil {
		return k
	}
	b.book.CompareAndSwap(nil, new(book))
	return b.book.Load()
}

// advance returns the breaker's time for the clock's. The caller holds the lock,
// and read the clock under it: to read it and then to wait for the lock would
// look like a clock that went backwards.
func (k *book) advance(clock int64) int64 {
	t := clock + k.skew.Load()
	if t < k.last {
		k.skew.Add(k.last - t)
		t = k.last
	}
	k.last = t
	return t
}

// note writes down a failure. It returns it, and the first of the last threshold
// failures; nil where there are not so many.
func (k *book) note(at int64, threshold int) (last, first *failed) {
	if len(k.failures) < threshold {
		k.failures = append(k.failures, failed{at: at})
		last = &k.failures[len(k.failures)-1]
		if len(k.failures) < threshold {
			return last, nil
		}
	} else {
		last = &k.failures[k.oldest]
		*last = failed{at: at}
		k.oldest = (k.oldest + 1) % threshold
	}
	return last, &k.failures[k.oldest]
}

// opens reports whether the failures from first to last, threshold in number,
// open the circuit: they lie within the window, with no more successes between
// them than the limit allows.
func (s *settings) opens(first, last *failed) bool {
	return first != nil && last.at-first.at <= int64(s.FailureWindow) &&
		(s.limit < 0 || last.successes-first.successes <= s.limit)
}

// admitProbe gives a probe its place.
func (k *book) admitProbe(now int64) uint64 {
	k.lastProbe++
	k.probes = append(k.probes, probe{id: k.lastProbe, from: now})
	return k.lastProbe
}

// endProbe frees the place of a probe, if it still has one: it may have lost it,
// or be of an earlier generation.
func (k *book) endProbe(id uint64) {
	if i := slices.IndexFunc(k.probes, func(p probe) bool { return p.id == id }); i >= 0 {
		k.probes = slices.Delete(k.probes, i, i+1)
		k.wake()
	}
}

// expire frees the places of probes whose lease has run out.
func (k *book) expire(now int64, lease time.Duration) {
	n := 0
	for n < len(k.probes) && now-k.probes[n].from >= int64(lease) {
		n++
	}
	k.probes = slices.Delete(k.probes, 0, n)
}

// later returns t+d, or the end of time where that is sooner.
func later(t int64, d time.Duration) int64 {
	return t + min(int64(d), math.MaxInt64-t)
}

// wake tells those who wait for a place to look again.
func (k *book) wake() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// news returns a channel that is closed at the next wake.
func (k *book) news() <-chan struct{} {
	if k.changed == nil {
		k.changed = make(chan struct{})
	}
	return k.changed
}

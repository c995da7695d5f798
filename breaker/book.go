package breaker

import (
	"math"
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

	probes    []probe
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
	lost bool // its lease has run out: it holds no place, but may still report
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

// note writes down a failure, and reports whether the circuit must open: the
// last threshold failures lie within the window, with no more successes between
// the first and the last than the limit allows.
func (k *book) note(f failed, s *settings) bool {
	if len(k.failures) < s.FailureThreshold {
		k.failures = append(k.failures, f)
		if len(k.failures) < s.FailureThreshold {
			return false
		}
	} else {
		k.failures[k.oldest] = f
		k.oldest = (k.oldest + 1) % len(k.failures)
	}
	first := k.failures[k.oldest]
	return f.at-first.at <= int64(s.FailureWindow) && (s.limit < 0 || f.successes-first.successes <= s.limit)
}

// live counts the probes that hold a place, after taking the places of those
// whose lease has run out.
func (k *book) live(now int64, lease time.Duration) int {
	n := 0
	for i := range k.probes {
		p := &k.probes[i]
		p.lost = p.lost || now-p.from >= int64(lease)
		if !p.lost {
			n++
		}
	}
	return n
}

// admitProbe gives a probe its place. Lost probes are remembered up to a number,
// so that a service that hangs for days fills no memory.
func (k *book) admitProbe(now int64, places int) uint64 {
	if len(k.probes) >= 2*places+16 {
		k.probes = append(k.probes[:0], k.probes[1:]...)
	}
	k.lastProbe++
	k.probes = append(k.probes, probe{id: k.lastProbe, from: now})
	return k.lastProbe
}

// endProbe takes a probe off the book. It reports false for one that is not
// there: it has ended before.
func (k *book) endProbe(id uint64) bool {
	for i := range k.probes {
		if k.probes[i].id == id {
			k.probes = append(k.probes[:i], k.probes[i+1:]...)
			k.wake()
			return true
		}
	}
	return false
}

// firstLease returns when the first place becomes free by itself.
func (k *book) firstLease(lease time.Duration) int64 {
	var first int64
	for _, p := range k.probes {
		if end := later(p.from, lease); !p.lost && (first == 0 || end < first) {
			first = end
		}
	}
	return first
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

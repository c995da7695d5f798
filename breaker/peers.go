package breaker

import "time"

// Peers are the breakers of other processes, with which a [Breaker] shares one circuit; see
// [Breaker.Share]. Its methods are called from any goroutine.
type Peers interface {
	// Failed is told of a failure that counts, in CLOSED and after a probe was accepted:
	// generation is that of the last [Shared] which the breaker has followed. It reports
	// whether the peers will hear of it. It is called with the breaker locked, so it must
	// not block, nor call the breaker.
	Failed(generation uint64, f Failure, trip bool) (heard bool)
	// Lease asks for the permission to send a probe, of the circuit that the peers have
	// opened in this generation. It may wait for a few milliseconds.
	Lease(generation uint64) Lease
	// Probed is told how the probe of a lease has ended, or with [Neither] that it says
	// nothing: it was not sent, or the circuit has changed since. The generation is that
	// of the circuit for which it was lent; 0: not known. It reports whether the peers
	// will hear of it; if not, the breaker counts the probe by itself. It is called like
	// Failed.
	Probed(generation, lease uint64, o Outcome, f Failure) (heard bool)
}

// Lease is the answer of [Peers.Lease]. The zero value refuses the probe for now.
type Lease struct {
	ID uint64 // below 1<<63; 0: refused
	// RetryIn is when another lease may be had, at the latest, if this one was refused.
	RetryIn time.Duration
	// Alone says that no peer can be asked: the breaker decides by itself.
	Alone bool
}

// Shared is the state of a circuit that several processes share.
type Shared struct {
	// Generation counts the changes of state, from 1. It never falls.
	Generation uint64
	State      State // Closed or Open; HALF_OPEN is an Open one without any time left
	Forced     bool
	Cause      Cause         // why it opened
	RetryIn    time.Duration // Open: until it admits a probe, unless Forced
	Openings   int           // since it was last CLOSED
}

// leasedBit marks the number of a probe that is the number of a lease.
const leasedBit = 1 << 63

// Share makes the breaker share its circuit with others. It must be called before the
// breaker is used, and not twice.
//
// The breaker goes on to count its own calls, and opens by itself after its own failures.
// Each failure is reported to the peers, who may together open the circuit of all of them
// earlier, and tell it with [Breaker.Follow]. Then probes need a lease of theirs, and the
// circuit closes when they say so.
func (b *Breaker) Share(p Peers) { b.peers = p }

// Follow makes the circuit what the peers say it is: CLOSED, or OPEN for some time, after
// which it is HALF_OPEN. A call that was admitted before no longer counts.
//
// What is not newer than what was followed before changes nothing; it wakes a caller who waits
// for a probe, since a lease may be free. A breaker that was forced here stays so. One that
// has opened by itself, and not because its peers had, does not close because they never
// opened; it does if they were reset.
//
// The hooks are called on a goroutine of their own: who brings news of the peers does not
// wait for them.
func (b *Breaker) Follow(s Shared) {
	k, now := b.lock()
	defer b.unlockApart(k)
	if s.Generation <= k.shared {
		k.callFirst()
		return
	}
	w := b.word.Load()
	if w&forcedBit != 0 && !k.following {
		return // a Reset will ask again
	}
	first, next := k.shared == 0, s.Generation == k.shared+1
	k.shared = s.Generation
	cause := s.Cause.kept()
	switch {
	case s.State == Closed && !s.Forced && !k.following && (first || stateOf(w) != Closed && !next):
	case s.State == Closed:
		k.following, k.cause = s.Forced, Cause{}
		b.begin(k, b.turn(Closed, s.Forced), now, Cause{})
	default:
		k.following = true
		b.begin(k, b.turn(Open, s.Forced), now, cause)
		k.openings = s.Openings
		refusal := &OpenError{Name: b.name, State: Open, Cause: cause, Since: now, Forced: s.Forced}
		if !s.Forced {
			refusal.Until = now.Add(s.RetryIn)
		}
		b.keepOpen(k, refusal)
	}
}

// report tells the peers of a failure, and reports whether they will hear of it. The caller
// holds the lock.
func (b *Breaker) report(k *book, f Failure, trip bool) (heard bool) {
	f.Cause, f.Lasted = f.Cause.kept(), min(f.Lasted, maxLasted) // peers keep no more of it either
	return b.peers.Failed(k.shared, f, trip)
}

// admitLeased admits a probe of the peers' circuit, or refuses it. The caller holds the
// lock, which is given up while the peers are asked.
func (b *Breaker) admitLeased(k *book) (Pass, *OpenError) {
	shared := k.shared
	b.unlock(k)
	l := b.peers.Lease(shared)
	_, now := b.lock()
	w := b.word.Load()
	probing := stateOf(w) == HalfOpen && k.following
	if probing && k.shared == shared && l.ID != 0 {
		k.probes = append(k.probes, probe{id: l.ID | leasedBit, from: now})
		return Pass{word: w, probe: l.ID | leasedBit, slow: b.watch(w)}, nil
	}
	if l.ID != 0 { // the state has changed meanwhile
		b.peers.Probed(shared, l.ID, Neither, Failure{})
	}
	if probing && !l.Alone {
		return Pass{}, &OpenError{Name: b.name, State: HalfOpen, Cause: k.cause, Since: k.since, Until: now.Add(l.RetryIn)}
	}
	return b.admitAlone(k, now)
}

// leaveLeased ends a probe with a lease.
func (b *Breaker) leaveLeased(p Pass, o Outcome, f *Failure) {
	k, now := b.lock()
	defer b.unlock(k)
	if b.probed(k, p, o, *f) {
		return
	}
	k.endProbe(p.probe)
	switch o {
	case Succeeded:
		b.passed(k, now)
	case Failed, Tripped:
		b.open(k, b.turn(Open, false), now, *f, o == Tripped)
	}
}

// probed tells the peers how a probe of theirs has ended. It reports whether that is all
// there is to do. The caller holds the lock.
func (b *Breaker) probed(k *book, p Pass, o Outcome, f Failure) bool {
	late := b.late(p.word)
	if late { // what was lent in an earlier state says nothing about this one
		o, f = Neither, Failure{}
	}
	f.Cause = f.Cause.kept() // peers keep no more of it either
	if !b.peers.Probed(k.shared, p.probe&^leasedBit, o, f) && !late {
		return false
	}
	k.endProbe(p.probe)
	return true
}

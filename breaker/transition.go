package breaker

import (
	"log/slog"
	"slices"
	"time"
)

// Transition is a change of state, as reported to the hooks of [New].
type Transition struct {
	Name     string // the breaker's
	From, To State
	// At is when the state began. HALF_OPEN is reported later than that: when the
	// circuit is next used or looked at.
	At         time.Time
	Cause      Cause  // why it opened; zero for a change to CLOSED
	Forced     bool   // by [Breaker.ForceOpen] or [Breaker.ForceClosed]
	Generation uint64 // the number of changes so far, this one included
	// Dropped is the number of changes just before this one that were not reported,
	// because the hooks were too slow.
	Dropped int
}

// maxTransitions is how many changes wait for the hooks at most.
const maxTransitions = 100

// toTell queues a change for the hooks. The caller holds the lock.
func (k *book) toTell(t Transition) {
	if len(k.transitions) == maxTransitions {
		k.transitions = slices.Delete(k.transitions, 0, 1)
		k.dropped++
	}
	k.transitions = append(k.transitions, t)
}

// unlock gives up the lock and reports the queued transitions. Only one goroutine
// reports at a time, so that they arrive in order; it also reports those that a hook
// causes.
func (b *Breaker) unlock(k *book) {
	if giveUp(k) {
		b.tell(k)
	}
}

// unlockApart is unlock that does not wait for the hooks.
func (b *Breaker) unlockApart(k *book) {
	if giveUp(k) {
		go b.tell(k)
	}
}

// giveUp gives up the lock, and reports whether the caller must tell the hooks.
func giveUp(k *book) (tell bool) {
	tell = len(k.transitions) > 0 && !k.telling
	k.telling = k.telling || tell
	k.mu.Unlock()
	return tell
}

func (b *Breaker) tell(k *book) {
	k.mu.Lock()
	defer func() { // also when a hook has ended the goroutine
		k.telling = false
		k.mu.Unlock()
	}()
	for len(k.transitions) > 0 {
		t := k.transitions[0]
		t.Dropped, k.dropped = k.dropped, 0
		k.transitions = slices.Delete(k.transitions, 0, 1)
		b.callHooks(k, t)
	}
	k.transitions = nil
}

// callHooks calls the hooks without the lock.
func (b *Breaker) callHooks(k *book, t Transition) {
	k.mu.Unlock()
	defer k.mu.Lock()
	for _, hook := range b.hooks {
		callHook(hook, t)
	}
}

func callHook(hook func(Transition), t Transition) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("breaker: a hook panicked", "breaker", t.Name, "panic", r)
		}
	}()
	hook(t)
}

// Snapshot is a breaker at one moment.
type Snapshot struct {
	Name string
	// State is the current state: a circuit whose recovery time is over is
	// HALF_OPEN, even if nobody has called it since.
	State  State
	Forced bool // by [Breaker.ForceOpen] or [Breaker.ForceClosed]
	// Failures is how many of the last [Config.FailureThreshold] failures lie within
	// the window; 0 unless CLOSED.
	Failures   int
	Probes     int           // HALF_OPEN: probes under way
	Passed     int           // HALF_OPEN: probes that succeeded
	Openings   int           // since it was last CLOSED
	Waiting    int           // calls of [Breaker.Wait]
	Cause      Cause         // of the last opening, until Reset or ForceClosed
	Since      time.Time     // when the state began; zero if it never changed
	RetryIn    time.Duration // OPEN: until it admits a probe; 0 if Forced
	Generation uint64        // the number of changes of state
	Opened     uint64        // how often it has become OPEN, also from HALF_OPEN and by [Breaker.ForceOpen]; Reset leaves it
}

func changes(w uint64) uint64 { return generationOf(w) - 1 }

// Snapshot returns the breaker as it is now. It has no count of calls or successes:
// counting them would be a write that all cores share.
func (b *Breaker) Snapshot() Snapshot {
	if b.book.Load() == nil { // it has never left its first state
		return Snapshot{Name: b.name}
	}
	k, now := b.lock()
	defer b.unlock(k)
	w := b.word.Load()
	k.expire(now, b.settings.ProbeLease)
	s := Snapshot{
		Name: b.name, State: stateOf(w), Forced: w&forcedBit != 0, Probes: len(k.probes), Passed: k.passed,
		Openings: k.openings, Waiting: k.queue.Len(), Cause: k.cause, Since: k.since, Generation: changes(w), Opened: k.ever,
	}
	window := b.settings.window(k.failures)
	for _, f := range k.failures {
		if now.Sub(f.at) <= window {
			s.Failures++
		}
	}
	if o := k.opening.Load(); o != nil && !o.Forced {
		s.RetryIn = o.Until.Sub(now)
	}
	return s
}

// State returns the current state: a circuit whose recovery time is over is
// HALF_OPEN. It calls no hook, and takes a lock only while the circuit is opening.
func (b *Breaker) State() State {
	s := stateOf(b.word.Load())
	if s != Open {
		return s
	}
	k := b.openBook()
	o := k.opening.Load()
	if o == nil { // it is just opening, or is no longer OPEN
		k.mu.Lock()
		defer k.mu.Unlock()
		if s, o = stateOf(b.word.Load()), k.opening.Load(); o == nil {
			return s
		}
	}
	if over(o, time.Now()) {
		return HalfOpen
	}
	return Open
}

// Idle reports whether the breaker could be replaced by a new one with no loss but its
// count of failures: it is CLOSED, or HALF_OPEN (by [Breaker.State]) without a probe
// under way; it is not forced, and nobody waits for it. Calls that were admitted while
// CLOSED may still be under way. Idle calls no hook.
func (b *Breaker) Idle() bool {
	k := b.book.Load()
	if k == nil {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now, w := time.Now(), b.word.Load()
	if w&forcedBit != 0 || k.queue.Len() > 0 {
		return false
	}
	switch stateOf(w) {
	case Open:
		return over(k.opening.Load(), now)
	case HalfOpen:
		k.expire(now, b.settings.ProbeLease)
		return len(k.probes) == 0
	}
	return true
}

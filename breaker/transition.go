package breaker

import (
	"log/slog"
	"slices"
	"time"
)

// Transition is a change of state, as the hooks given to [New] are told.
type Transition struct {
	Name     string // the breaker's
	From, To State
	// At is when the state began. That HALF_OPEN has begun is told when somebody
	// calls, waits for or looks at the circuit, at or after that time.
	At         time.Time
	Cause      Cause // why it opened; zero for a change to CLOSED
	Forced     bool  // by hand
	Generation uint64
	// Dropped is how many changes just before this one were not told, because
	// the hooks took too long.
	Dropped int
}

// maxTransitions is how many changes wait for the hooks.
const maxTransitions = 100

// toTell writes down a change for the hooks. The caller holds the lock.
func (k *book) toTell(t Transition) {
	if len(k.transitions) == maxTransitions {
		k.transitions = slices.Delete(k.transitions, 0, 1)
		k.dropped++
	}
	k.transitions = append(k.transitions, t)
}

// unlock ends a section under the lock and tells of the transitions in it. Only
// one goroutine tells at a time, so they arrive in order; a hook that causes
// another transition leaves it to the one that is telling.
func (b *Breaker) unlock(k *book) {
	tell := len(k.transitions) > 0 && !k.telling
	k.telling = k.telling || tell
	k.mu.Unlock()
	if tell {
		b.tell(k)
	}
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

// callHooks gives up the lock while the hooks are called.
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
	// State is the state as it is now: a circuit whose recovery time is over is
	// HALF_OPEN, whether somebody has called since or not.
	State  State
	Forced bool
	// Failures is how many of the last FailureThreshold failures lie within the
	// window; 0 unless CLOSED.
	Failures   int
	Probes     int           // HALF_OPEN: under way
	Passed     int           // HALF_OPEN: probes that succeeded
	Openings   int           // since it was last CLOSED
	Waiting    int           // calls of Wait
	Cause      Cause         // of the last opening, until the next Reset or ForceClosed
	Since      time.Time     // when the state began; zero for a breaker that never changed
	RetryIn    time.Duration // OPEN: until it admits a probe; 0 where Forced
	Generation uint64        // how often the state has changed
}

// changes returns how often the state has changed.
func changes(w uint64) uint64 { return generationOf(w) - 1 }

// Snapshot returns the breaker as it is now. Calls and successes are not
// counted: a count of them would be a write that all cores share.
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
		Openings: k.openings, Waiting: k.queue.Len(), Cause: k.cause, Since: k.since, Generation: changes(w),
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

// State returns the state as it is now: a circuit whose recovery time is over is
// HALF_OPEN. It tells no hook, and takes a lock only in the instant in which the
// circuit opens.
func (b *Breaker) State() State {
	s := stateOf(b.word.Load())
	if s != Open {
		return s
	}
	k := b.openBook()
	o := k.opening.Load()
	if o == nil { // it has just opened and is being written down, or is OPEN no more
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

// Idle reports whether nothing would be lost if the breaker were forgotten, and
// a new one made at the next call, but a count of failures: it is CLOSED, or
// HALF_OPEN (as it is now: see [Breaker.State]) with no probe under way; it is
// not forced, and nobody waits for it. Calls that CLOSED has let through are not
// counted. Idle tells no hook.
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

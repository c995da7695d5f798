package breaker

import (
	"log/slog"
	"time"
)

// Transition is a change of state.
type Transition struct {
	Name       string // the breaker's
	From, To   State
	At         time.Time
	Cause      error // why it opened; nil for a change to CLOSED
	Forced     bool  // by hand
	Generation uint64
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
	for {
		k.mu.Lock()
		if len(k.transitions) == 0 {
			k.transitions, k.telling = nil, false
			k.mu.Unlock()
			return
		}
		t := k.transitions[0]
		k.transitions = k.transitions[1:]
		k.mu.Unlock()
		b.callHook(t)
	}
}

// callHook calls the hook on a goroutine of its own, so that neither a panic nor
// runtime.Goexit in it (a test's FailNow) ends the call that happened to cause
// the transition. It waits, so that what the hook does is done when that call goes
// on.
func (b *Breaker) callHook(t Transition) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				slog.Error("breaker: OnStateChange panicked", "breaker", t.Name, "panic", r)
			}
		}()
		b.settings.OnStateChange(t)
	}()
	<-done
}

// Snapshot is a breaker at one moment.
type Snapshot struct {
	Name   string
	State  State
	Forced bool
	// Failures is how many failures lie within the window; 0 unless CLOSED.
	Failures   int
	Probes     int           // HALF_OPEN: under way
	Passed     int           // HALF_OPEN: probes that succeeded
	Openings   int           // since it was last CLOSED
	Cause      error         // of the last opening, until the next Reset or ForceClosed
	Since      time.Time     // when the state began; zero for a breaker that never changed
	RetryIn    time.Duration // OPEN: until it admits a probe
	Generation uint64
}

// State returns the state. An OPEN circuit stays so until the first call after
// its recovery time.
func (b *Breaker) State() State { return stateOf(b.word.Load()) }

// Snapshot returns the breaker as it is now. Calls and successes are not
// counted: a count of them would be a write that all cores share.
func (b *Breaker) Snapshot() Snapshot {
	k := b.book.Load()
	if k == nil { // it has never left its first state
		return Snapshot{Name: b.name}
	}
	now := b.lock(k)
	defer b.unlock(k)
	w := b.word.Load()
	s := Snapshot{
		Name: b.name, State: stateOf(w), Forced: w&forcedBit != 0, Passed: k.passed,
		Openings: int(k.openings.Load()), Cause: k.cause, Generation: generationOf(w),
	}
	if s.Generation > 0 {
		s.Since = b.timeOf(k, k.since)
	}
	for _, f := range k.failures {
		if now-f.at <= int64(b.settings.FailureWindow) {
			s.Failures++
		}
	}
	k.expire(now, b.settings.ProbeLease)
	s.Probes = len(k.probes)
	if o := k.opening.Load(); o != nil && !s.Forced {
		s.RetryIn = time.Duration(max(0, o.until-now))
	}
	return s
}

package retry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/failure"
)

// Gate is the time before which nobody calls an endpoint, shared by all its
// callers: what one of them was told with a rate limit, the others need not be
// told each, at the price of a call that counts against the limit.
//
// A wait that was told is never shortened, but for one of more than an hour:
// behind an hour somebody may ask again, since the slip of a server must not close
// a gate for good. A longer wait replaces a shorter one. When it is over, the
// callers that waited come back one after the other: the first at once, each
// further one at a time drawn from a span that grows by 100 ms with each before
// it, up to the told wait or 10 s, whichever is longer. If one of them is told
// again to wait, those behind it wait on, and have called nobody.
// (A Retry-After that a hundred callers obey to the millisecond is a herd.)
//
// The zero value is open. A call through an open gate reads one word.
type Gate struct {
	closed atomic.Bool // a time is set, which may have passed

	mu     sync.Mutex
	until  time.Time
	told   time.Duration // the wait that until comes from
	queued int           // callers that wait for until
	cause  error         // what closed it
}

// The spread of those who come back.
const (
	spreadStep  = 100 * time.Millisecond // for each caller that waits already
	spreadLeast = 10 * time.Second       // of the largest span
)

// maxClosed bounds how long one word of a provider keeps all callers away. A
// header may hold nonsense, and the next that is told as much costs one call. It
// is a breaker's MaxOpen too.
const maxClosed = time.Hour

// Close keeps callers away for a time from now on, an hour at most, because of
// cause. It never lets them come earlier than an earlier Close did.
func (g *Gate) Close(wait time.Duration, cause error) {
	wait = min(wait, maxClosed)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	until := now.Add(wait)
	if wait <= 0 || !until.After(g.until) {
		return
	}
	if !g.until.After(now) {
		g.queued = 0
	}
	g.until, g.told, g.cause = until, wait, cause
	g.closed.Store(true)
}

// Until returns the time before which nobody calls; a time that has passed, or
// the zero time, if the gate is open.
func (g *Gate) Until() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

// wait returns how long a caller waits from now: until the gate opens, and for
// its place among those who come back; and the refusal of a caller that will
// not. Without a refusal the gate is open.
func (g *Gate) wait() (time.Duration, *GateError) {
	if !g.closed.Load() {
		return 0, nil
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.until.After(now) {
		g.closed.Store(false)
		g.cause = nil
		return 0, nil
	}
	refusal := &GateError{Until: g.until, Wait: g.until.Sub(now), Cause: g.cause}
	wait := refusal.Wait
	if span := min(time.Duration(g.queued)*spreadStep, max(g.told, spreadLeast)); span > 0 {
		wait += rand.N(span)
	}
	g.queued++
	return wait, refusal
}

// leave gives up the place that wait gave: the caller does not come back.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queued = max(0, g.queued-1)
}

// GateError is a call that was not made, since the provider has told another
// caller of the same endpoint when to come back. It unwraps to what that one
// was told.
type GateError struct {
	Until time.Time
	Wait  time.Duration // until then, when the call was to be made
	Cause error
}

// Error says how long the endpoint is not called, and why.
func (e *GateError) Error() string {
	return fmt.Sprintf("not called for another %v: another call was told: %v", e.Wait.Round(time.Millisecond), e.Cause)
}

// Unwrap returns what the other caller was told.
func (e *GateError) Unwrap() error { return e.Cause }

// FailureKind returns failure.RateLimited.
func (e *GateError) FailureKind() failure.Kind { return failure.RateLimited }

// Gates keeps one gate an endpoint, made on first use.
type Gates struct{ shared[Gate] }

// Get returns the gate of a key, the same for all callers.
func (s *Gates) Get(key string) *Gate {
	return s.get(key, func() *Gate { return new(Gate) }, func(g *Gate) bool { return !g.Until().After(time.Now()) })
}

package endpoint

import (
	"slices"
	"sync"
	"time"
)

// The history of an endpoint's answers, for hedging.
const (
	latencyKept  = 1000 // answers
	latencyLeast = 50   // below which no quantile is known
	latencyFresh = 20   // answers until a quantile is computed again
	hedgesSaved  = 10.0 // of the allowance for hedges
)

// Latency is how long the last 1,000 answers of an endpoint took, and the allowance for
// second requests that [Latency.Spend] takes from. It is safe for concurrent use. It is
// kept only for endpoints whose callers hedge.
//
// A second request that is sent after the 95th percentile shortens the longest waits for
// 5 % more requests (J. Dean and L. Barroso, The Tail at Scale, CACM 2013).
type Latency struct {
	mu      sync.Mutex
	took    []time.Duration // a ring
	next    int
	stale   int // answers since sorted was made
	sorted  []time.Duration
	allowed float64
}

// Latency returns the history of the endpoint's answers.
func (e *Endpoint) Latency() *Latency {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latency == nil {
		e.latency = &Latency{}
	}
	return e.latency
}

// Add adds an answer, or a request that was cancelled because another was sooner: that
// would have taken at least as long.
func (l *Latency) Add(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) < latencyKept {
		l.took = append(l.took, took)
	} else {
		l.took[l.next] = took
		l.next = (l.next + 1) % latencyKept
	}
	l.stale++
}

// Quantile returns the time within which a share q of the answers came; false if there
// are less than 50.
func (l *Latency) Quantile(q float64) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) < latencyLeast {
		return 0, false
	}
	if l.sorted == nil || l.stale >= latencyFresh {
		l.sorted = slices.Sorted(slices.Values(l.took))
		l.stale = 0
	}
	return l.sorted[min(len(l.sorted)-1, int(q*float64(len(l.sorted))))], true
}

// Earn adds a share of a request to the allowance, of which at most 10 are saved.
func (l *Latency) Earn(share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = min(l.allowed+share, hedgesSaved)
}

// Spend takes one request from the allowance, if there is one.
func (l *Latency) Spend() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.allowed < 1 {
		return false
	}
	l.allowed--
	return true
}

// Back returns a request to the allowance that was not made.
func (l *Latency) Back() { l.Earn(1) }

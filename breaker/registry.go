package breaker

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultMaxBreakers is how many breakers a Registry keeps by default.
const DefaultMaxBreakers = 10_000

// Registry keeps one breaker a key (a model, a tenant), made on first use. It is
// shared by every call in the process: a breaker that lives for one call
// protects nobody.
type Registry struct {
	settings *settings
	limit    int

	// shared is read without a lock, at the price of a plain map. It is
	// replaced, never changed, so it may lack the newest breakers, and may still
	// hold some that are gone.
	shared atomic.Pointer[map[string]*Breaker]

	mu     sync.Mutex
	byKey  map[string]*Breaker
	ring   []*Breaker // the same, for the search for an idle one
	hand   int        // where that search goes on
	missed int        // lookups that shared could not answer, since it was made
}

// What a Registry knows of a breaker's use: Breaker.use.
const (
	idle uint32 = iota // not asked for again since it was made, or since an idle one was last looked for
	used
	gone // not in the registry any more
)

// NewRegistry returns a registry whose breakers behave as c says, or a
// *ConfigError. It keeps at most limit breakers (0: 10,000): the idle ones go
// first, and one that is OPEN or HALF_OPEN never goes. So there can be more than
// limit, for as long as more than limit circuits are open.
func NewRegistry(c Config, limit int) (*Registry, error) {
	s, err := newSettings(c)
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, &ConfigError{"limit", limit, "a whole number of at least 1 (0 is the default)"}
	}
	if limit == 0 {
		limit = DefaultMaxBreakers
	}
	r := &Registry{settings: s, limit: limit, byKey: map[string]*Breaker{}}
	r.share()
	return r, nil
}

// Get returns the breaker of a key, the same for all callers.
func (r *Registry) Get(key string) *Breaker {
	if b, ok := (*r.shared.Load())[key]; ok {
		// Written once per search for idle ones, not once per call. The swap
		// fails where the breaker is gone.
		if b.use.Load() == used || b.use.CompareAndSwap(idle, used) {
			return b
		}
	}
	return r.find(key)
}

func (r *Registry) find(key string) *Breaker {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.byKey[key]
	if ok {
		b.use.Store(used)
	} else {
		for len(r.ring) >= r.limit && r.evict() {
		}
		// It begins idle: keys that come once do not push out those in use.
		b = newBreaker(key, r.settings)
		r.byKey[key] = b
		r.ring = append(r.ring, b)
	}
	// A copy is made after as many lookups under the lock as it has entries, so
	// that each lookup pays for one entry, however many keys come and go.
	if r.missed++; r.missed >= len(r.byKey) {
		r.share()
	}
	return b
}

func (r *Registry) share() {
	copied := maps.Clone(r.byKey)
	r.shared.Store(&copied)
	r.missed = 0
}

// evict takes out one breaker that is CLOSED: the first, from where the last
// search ended, that was not used since it was last looked at (the "clock"
// algorithm; F. Corbató, 1968). On its second round all have been used in the
// meantime, and it takes the next. It reports false if none can go.
func (r *Registry) evict() bool {
	n := len(r.ring)
	for i := range 2 * n {
		r.hand %= n
		b := r.ring[r.hand]
		if b.State() == Closed {
			if b.use.CompareAndSwap(idle, gone) || i >= n && b.use.CompareAndSwap(used, gone) {
				r.ring[r.hand], r.ring[n-1] = r.ring[n-1], nil
				r.ring = r.ring[:n-1]
				delete(r.byKey, b.name)
				return true
			}
			b.use.Store(idle)
		}
		r.hand++
	}
	return false
}

// Snapshots returns a snapshot of every breaker, in no order.
func (r *Registry) Snapshots() []Snapshot {
	r.mu.Lock()
	all := slices.Clone(r.ring)
	r.mu.Unlock()
	snapshots := make([]Snapshot, len(all))
	for i, b := range all {
		snapshots[i] = b.Snapshot()
	}
	return snapshots
}

package breaker

import (
	"sync"
)

// DefaultMaxBreakers is how many breakers a Registry keeps by default.
const DefaultMaxBreakers = 10_000

// Registry keeps one breaker a key (a model, a tenant), made on first use. It is
// shared by every call in the process: a breaker that lives for one call
// protects nobody.
type Registry struct {
	settings *settings
	limit    int
	byKey    sync.Map // string → *Breaker

	mu   sync.Mutex
	all  []*Breaker
	hand int // where the search for an idle breaker goes on
}

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
	return &Registry{settings: s, limit: limit}, nil
}

// Get returns the breaker of a key, the same for all callers.
func (r *Registry) Get(key string) *Breaker {
	if v, ok := r.byKey.Load(key); ok {
		b := v.(*Breaker)
		if !b.touched.Load() { // written once per search for idle ones, not once per call
			b.touched.Store(true)
		}
		return b
	}
	return r.add(key)
}

func (r *Registry) add(key string) *Breaker {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.byKey.Load(key); ok {
		return v.(*Breaker)
	}
	for len(r.all) >= r.limit && r.evict() {
	}
	b := newBreaker(key, r.settings)
	b.touched.Store(true)
	r.all = append(r.all, b)
	r.byKey.Store(key, b)
	return b
}

// evict takes out one breaker that is idle: the first, from where the last
// search ended, that is CLOSED and was not used since it was last looked at
// (the "clock" algorithm; F. Corbató, 1968). It reports false if none can go.
func (r *Registry) evict() bool {
	for range 2 * len(r.all) {
		r.hand %= len(r.all)
		b := r.all[r.hand]
		if b.State() == Closed && !b.touched.Swap(false) {
			last := len(r.all) - 1
			r.all[r.hand], r.all[last] = r.all[last], nil
			r.all = r.all[:last]
			r.byKey.Delete(b.name)
			return true
		}
		r.hand++
	}
	return false
}

// Snapshots returns a snapshot of every breaker, in no order.
func (r *Registry) Snapshots() []Snapshot {
	r.mu.Lock()
	all := append([]*Breaker(nil), r.all...)
	r.mu.Unlock()
	snapshots := make([]Snapshot, len(all))
	for i, b := range all {
		snapshots[i] = b.Snapshot()
	}
	return snapshots
}

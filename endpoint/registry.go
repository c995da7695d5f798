package endpoint

import (
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"llmcall/breaker"
	"llmcall/pace"
)

// DefaultMax is the default of [Config.Max].
const DefaultMax = 10_000

// searched is how many endpoints are looked at for one that may go: a new key
// costs the same however many there are.
const searched = 16

// Config is the configuration of a [Registry]. The zero value of each field is
// its default.
type Config struct {
	// Max is the largest number of endpoints that are kept. Default 10,000.
	Max int
	// Limits, if set, are the limits that an operator has configured of an
	// endpoint; those of clients are added to them, and the tighter one holds.
	// Default nil: none.
	Limits func(Key) pace.Limits
	// Budget is the budget of retries of each endpoint of which no client has
	// configured another.
	Budget Budget
	// Guards, if set, may wrap or add guards for each endpoint and [Options], as
	// they are made: the way in for a circuit that a fleet of processes shares. It
	// may be called twice at the same moment, and one result is kept. It may ask
	// the endpoint back. Default nil.
	Guards func(*Endpoint, []Guard) []Guard
	// Rand is where the chance of pacers comes from: 64 random bits a call, from
	// any goroutine. Default nil: the runtime's own.
	Rand func() uint64
	// OnStateChange, if set, is told of each change of state of a circuit, in
	// order, outside every lock. A panic in it is logged and goes no further.
	// Default nil.
	OnStateChange func(*Endpoint, breaker.Transition)
}

// Registry keeps one [Endpoint] a [Key], made on first use. It is the only state
// that calls share: a circuit that lives for one call protects nobody, and a
// budget of one call's own bounds nothing.
//
// Keys may come from outside (a gateway passes its users' keys on), so a
// Registry is bounded. An endpoint that nobody holds is let go in this order:
// one that is as new; one whose circuit is OPEN and could admit a probe; one that
// never answered, the oldest first. One that never answered pushes out none that
// did: a flood of bad keys costs nobody else a circuit or a pace. Where none of
// the few that are looked at may go, the new key gets an endpoint that is not
// kept, which its callers share for as long as one of them holds it.
//
// What a client, a call under way or anybody else holds is found again by its
// key for as long as it is held, kept or not; there is nothing to close.
type Registry struct {
	config Config

	mu    sync.RWMutex
	byKey map[Key]weak.Pointer[Endpoint] // all that are held by anybody
	// What the registry itself holds: those that never answered, the oldest
	// first, and those that did, as a ring.
	fresh  []*Endpoint
	proven []*Endpoint
	hand   int // where the search in proven goes on
	lost   int // endpoints that were not kept, since the last word of it
	said   time.Time
}

// NewRegistry returns a registry. The error is a [*ConfigError] for a Max or a
// Budget that is not valid.
func NewRegistry(c Config) (*Registry, error) {
	if c.Max < 0 {
		return nil, &ConfigError{"Max", c.Max, "a whole number of at least 1 (0 is the default)"}
	}
	if c.Max == 0 {
		c.Max = DefaultMax
	}
	var err error
	if c.Budget, err = c.Budget.Filled(); err != nil {
		return nil, err
	}
	return &Registry{config: c, byKey: map[Key]weak.Pointer[Endpoint]{}}, nil
}

var standard, _ = NewRegistry(Config{})

// Default returns the registry of the process: what calls, judges and HTTP
// clients share unless they are given another.
func Default() *Registry { return standard }

// Get returns the endpoint of a key, the same for all callers.
func (r *Registry) Get(k Key) *Endpoint {
	r.mu.RLock()
	e := r.byKey[k].Value()
	r.mu.RUnlock()
	if e == nil {
		e = r.make(k)
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

func (r *Registry) limits(k Key) pace.Limits {
	if r.config.Limits == nil {
		return pace.Limits{}
	}
	return r.config.Limits(k)
}

func (r *Registry) make(k Key) *Endpoint {
	e := &Endpoint{key: k, registry: r, made: time.Now()}
	if bits := r.config.Rand; bits != nil {
		e.pacer.Rand = func() float64 { return float64(bits()>>11) / (1 << 53) }
	}
	e.apply(r.limits(k))
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.byKey[k].Value(); other != nil {
		return other
	}
	runtime.AddCleanup(e, r.forget, k)
	r.byKey[k] = weak.Make(e)
	if len(r.fresh)+len(r.proven) < r.config.Max || r.evictFresh() {
		r.fresh = append(r.fresh, e)
	} else {
		r.notKept(k)
	}
	return e
}

// forget is told when an endpoint that nobody held is gone. Another may have
// been made for its key meanwhile.
func (r *Registry) forget(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[k].Value() == nil {
		delete(r.byKey, k)
	}
}

// evictFresh lets one go that never answered. The caller holds the lock.
func (r *Registry) evictFresh() bool {
	best, rank := -1, keep
	for i, e := range r.fresh[:min(len(r.fresh), searched)] {
		if now := e.rank(); now < rank {
			best, rank = i, now
		}
	}
	if best < 0 {
		// The oldest must stay: look at others the next time.
		n := min(len(r.fresh), searched)
		r.fresh = append(r.fresh[n:], r.fresh[:n]...)
		return false
	}
	// From the front, so that nothing after it is moved.
	copy(r.fresh[1:best+1], r.fresh[:best])
	r.fresh[0] = nil
	r.fresh = r.fresh[1:]
	return true
}

// proved moves an endpoint that has answered for the first time to those that no
// newcomer pushes out.
func (r *Registry) proved(e *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.fresh, e); i >= 0 {
		r.fresh = slices.Delete(r.fresh, i, i+1)
	} else if slices.Contains(r.proven, e) {
		return
	} else if !r.evictFresh() && !r.evictProven() { // it was let go, so the registry is full
		r.notKept(e.key)
		return
	}
	r.proven = append(r.proven, e)
}

// evictProven lets one go that has answered: the first, from where the last
// search ended, that is as new and was not asked for since it was last looked at
// (the "clock" algorithm; F. Corbató, 1968); or else the best of those looked at.
func (r *Registry) evictProven() bool {
	best, rank := -1, 2*open
	for range min(len(r.proven), searched) {
		r.hand %= len(r.proven)
		e := r.proven[r.hand]
		now := 2 * e.rank()
		if e.used.Swap(false) {
			now++ // asked for not long ago: its like go before it
		}
		if now < rank {
			best, rank = r.hand, now
		}
		r.hand++
	}
	if best < 0 {
		return false
	}
	r.proven = slices.Delete(r.proven, best, best+1)
	return true
}

// notKept notes that an endpoint will be gone with its callers. The caller holds
// the lock.
func (r *Registry) notKept(k Key) {
	r.lost++
	if now := time.Now(); now.Sub(r.said) >= time.Minute {
		slog.Warn("llmcall: the registry of endpoints is full, new ones are not kept", "max", r.config.Max, "not_kept", r.lost, "last", k.String())
		r.said, r.lost = now, 0
	}
}

// The ranks of endpoints to let go, the first to go first.
const (
	asNew     = iota // nothing is lost with it
	openEnded        // its circuit is OPEN, and would admit a probe
	open             // its circuit is OPEN, or calls wait for it
	keep             // forced
)

// rank says how much is lost with an endpoint.
func (e *Endpoint) rank() int {
	if e.forced.Load() != 0 {
		return keep
	}
	rank := asNew
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.circuits {
		rank = max(rank, rankOf(c.breaker))
	}
	if !e.pacer.Idle() {
		rank = max(rank, open)
	}
	return rank
}

// rankOf is the rank of a circuit. It tells no hook, as locks are held.
func rankOf(b *breaker.Breaker) int {
	refusal := b.Refusal()
	switch state := b.State(); {
	case refusal != nil && refusal.Forced:
		return keep
	case b.Idle() && state == breaker.Closed:
		return asNew
	case b.Idle():
		return openEnded
	case state == breaker.Closed: // forced, or calls wait for it
		return keep
	}
	return open
}

// All returns every endpoint that is kept or held, in no order.
func (r *Registry) All() iter.Seq[*Endpoint] {
	return func(yield func(*Endpoint) bool) {
		r.mu.RLock()
		all := make([]*Endpoint, 0, len(r.byKey))
		for _, p := range r.byKey {
			if e := p.Value(); e != nil {
				all = append(all, e)
			}
		}
		r.mu.RUnlock()
		for _, e := range all {
			if !yield(e) {
				return
			}
		}
	}
}

// Len returns how many endpoints the registry holds itself.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.fresh) + len(r.proven)
}

// Reset calls [Endpoint.Reset] of every endpoint.
func (r *Registry) Reset() {
	for e := range r.All() {
		e.Reset()
	}
}

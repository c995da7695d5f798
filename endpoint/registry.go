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

// searched is how many endpoints are considered for eviction, so that a new key costs
// the same however many there are.
const searched = 16

// Config is the configuration of a [Registry]. The zero value of each field means its
// default.
type Config struct {
	// Max is the largest number of endpoints that are kept. Default 10,000.
	Max int
	// Name, if set, returns the name of an endpoint for errors, logs and
	// [Endpoint.Name]: that of the model, say, in the words of a configuration which has
	// names of its own for providers. It is called while the endpoint is locked, and must
	// not call its methods. Default nil: [Key.String], as where Name returns "".
	Name func(Key) string
	// Limits, if set, returns the limits that an operator has configured for an
	// endpoint. Clients may configure tighter ones ([Endpoint.Limit]). Default nil:
	// none.
	Limits func(Key) pace.Limits
	// Budget is the budget of retries of each endpoint for which no client has
	// configured one. Default: that of the zero [Budget].
	Budget Budget
	// Guards, if set, is called when the guards of an endpoint are made for some
	// [Options], and may wrap them or add others, such as a circuit that a fleet of
	// processes shares. It may call the endpoint. It may be called twice at the same
	// time for the same Options; one result is kept. Default nil.
	Guards func(*Endpoint, []Guard) []Guard
	// Fleet, if set, shares what the endpoints know with other processes. Default nil.
	Fleet Fleet
	// Rand returns 64 random bits, for the pacers. It is called from any goroutine.
	// Default nil: the runtime's own source.
	Rand func() uint64
	// OnStateChange, if set, is called for each change of state of a circuit, in
	// order, outside every lock. A panic in it is logged and recovered. Default nil.
	OnStateChange func(*Endpoint, breaker.Transition)
}

// Fleet shares what the endpoints of a [Registry] know with other processes, as package
// fleet does. Its methods are called before the circuit or the pacer is used, with the
// endpoint locked: they may call [Endpoint.Key] and [Endpoint.Answers] alone, and must not
// keep the endpoint from being collected.
type Fleet interface {
	// Circuit is called with each circuit that is made, so that it can be shared
	// ([breaker.Breaker.Share]).
	Circuit(*Endpoint, *breaker.Breaker)
	// Pacer is called with the pacer of each endpoint that is made.
	Pacer(*Endpoint, *pace.Pacer)
}

// Registry keeps one [Endpoint] for each [Key], made on first use. It is safe for
// concurrent use. [NewRegistry] makes one.
//
// Keys may come from outside (a gateway passes its users' keys on), so the number of
// kept endpoints is bounded by [Config.Max]. When it is reached, a new key evicts an
// endpoint: preferably one without any state to lose; then one whose circuit is OPEN
// and could admit a probe; then one that never answered, the oldest first. An endpoint
// that never answered does not evict one that did, so that a flood of bad keys costs
// nobody else a circuit or a learned rate. Only a few endpoints are considered. If none
// of them may be evicted, the new endpoint is not kept: its callers share it only for
// as long as one of them holds it.
//
// An endpoint that somebody holds (a client, or a call under way) is found by its key
// whether it is kept or not. There is nothing to close.
type Registry struct {
	config Config

	mu    sync.RWMutex
	byKey map[Key]weak.Pointer[Endpoint] // all that anybody holds
	// The kept endpoints: those that never answered, the oldest first, and those
	// that did, as a ring.
	fresh  []*Endpoint
	proven []*Endpoint
	hand   int // where the search in proven continues
	lost   int // endpoints that were not kept, since the last warning
	said   time.Time
}

// NewRegistry returns an empty registry. The error is a *[ConfigError] for an
// impossible Max or Budget.
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

// Default returns the registry of the process, which calls, judges and HTTP clients
// share unless they are given another.
func Default() *Registry { return standard }

// Get returns the endpoint of a key, which all its callers share.
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

// name returns what an endpoint is called in errors and logs.
func (r *Registry) name(k Key) string {
	if r.config.Name != nil {
		if name := r.config.Name(k); name != "" {
			return name
		}
	}
	return k.String()
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
	if r.config.Fleet != nil {
		r.config.Fleet.Pacer(e, &e.pacer)
	}
	e.apply(r.limits(k))
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.byKey[k].Value(); other != nil {
		return other
	}
	self := weak.Make(r) // a cleanup keeps what it refers to, and the registry keeps e
	runtime.AddCleanup(e, func(k Key) {
		if r := self.Value(); r != nil {
			r.forget(k)
		}
	}, k)
	r.byKey[k] = weak.Make(e)
	if len(r.fresh)+len(r.proven) < r.config.Max || r.evictFresh() {
		r.fresh = append(r.fresh, e)
	} else {
		r.notKept(k)
	}
	return e
}

// forget is called when an endpoint was collected. Another one may have been made for
// its key meanwhile.
func (r *Registry) forget(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[k].Value() == nil {
		delete(r.byKey, k)
	}
}

// evictFresh evicts an endpoint that never answered. The caller holds the lock.
func (r *Registry) evictFresh() bool {
	best, rank := -1, keep
	for i, e := range r.fresh[:min(len(r.fresh), searched)] {
		if now := e.rank(); now < rank {
			best, rank = i, now
		}
	}
	if best < 0 {
		// None of the oldest may go: consider others the next time.
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

// proved moves an endpoint that has answered for the first time to those that a new
// one does not evict.
func (r *Registry) proved(e *Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.fresh, e); i >= 0 {
		r.fresh = slices.Delete(r.fresh, i, i+1)
	} else if slices.Contains(r.proven, e) {
		return
	} else if !r.evictFresh() && !r.evictProven() { // it was not kept, so the registry is full
		r.notKept(e.key)
		return
	}
	r.proven = append(r.proven, e)
}

// evictProven evicts an endpoint that has answered: the one with the least to lose of
// those considered, preferring one that was not asked for since it was last considered
// (the "clock" algorithm; F. Corbató, 1968).
func (r *Registry) evictProven() bool {
	best, rank := -1, 2*open
	for range min(len(r.proven), searched) {
		r.hand %= len(r.proven)
		e := r.proven[r.hand]
		now := 2 * e.rank()
		if e.used.Swap(false) {
			now++ // asked for recently
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

// notKept logs, at most once a minute, that endpoints are not kept. The caller holds
// the lock.
func (r *Registry) notKept(k Key) {
	r.lost++
	if now := time.Now(); now.Sub(r.said) >= time.Minute {
		slog.Warn("llmcall: the registry of endpoints is full, new ones are not kept", "max", r.config.Max, "not_kept", r.lost, "last", r.name(k))
		r.said, r.lost = now, 0
	}
}

// The ranks of endpoints for eviction, the first to go first.
const (
	asNew     = iota // no state to lose
	openEnded        // its circuit is OPEN, but would admit a probe
	open             // its circuit is OPEN, or its pacer has learned something
	keep             // never evicted: forced, or calls wait for its circuit
)

// rank returns the rank of an endpoint for eviction.
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

// rankOf returns the rank of a circuit. It calls no hook, since locks are held.
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

// All returns every endpoint that is kept or that somebody holds, in no particular
// order.
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

// Len returns the number of endpoints that are kept.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.fresh) + len(r.proven)
}

// Reset calls [Endpoint.Reset] on every endpoint of [Registry.All].
func (r *Registry) Reset() {
	for e := range r.All() {
		e.Reset()
	}
}

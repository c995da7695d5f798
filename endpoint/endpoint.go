package endpoint

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/breaker"
	"llmcall/pace"
)

// Options say which guards are asked before a caller's requests. The zero value is
// all of them, with the defaults of [breaker.Config]. Options that are equal
// mean the same guards.
type Options struct {
	// Breaker are the settings of the circuit. Callers with the same settings
	// share a circuit; callers with others have another of the same endpoint.
	Breaker breaker.Config
	// NoBreaker, NoPacer and NoBudget leave a guard out.
	NoBreaker, NoPacer, NoBudget bool
}

// maxCircuits bounds how many circuits of different settings an endpoint has.
// A further one takes the place of the one that was made first.
const maxCircuits = 16

// Endpoint is what all callers of one [Key] share: circuits, a pacer, and a
// budget of retries. It comes from a [Registry] and is safe for concurrent use.
type Endpoint struct {
	key      Key
	registry *Registry
	pacer    pace.Pacer
	budget   bucket
	episode  atomic.Uint64 // of the pacer: the last that a circuit has counted as overload

	answered atomic.Bool  // somebody got an answer from it
	failed   atomic.Bool  // somebody had a failure of it
	used     atomic.Bool  // asked for since the registry last looked for one to let go
	forced   atomic.Int32 // a force; 0: none
	made     time.Time

	making sync.Mutex
	guards atomic.Pointer[[]served] // replaced, never changed

	mu       sync.Mutex
	circuits []circuit
	claims   map[claim]int // what clients have configured, with how many
	why      string        // of ForceOpen
}

// served is the guards of a caller's Options.
type served struct {
	options Options
	circuit *breaker.Breaker
	guards  []Guard
}

// circuit is a breaker with its settings.
type circuit struct {
	config  breaker.Config
	breaker *breaker.Breaker
}

// claim is what one client has configured of an endpoint.
type claim struct {
	limits pace.Limits
	budget Budget
}

// Key returns the key that the endpoint was made for.
func (e *Endpoint) Key() Key { return e.key }

// Guards returns what is asked before a caller's requests, in the order in which
// it is asked and settled: the budget, the pacer, the circuit. It is the same
// slice for the same Options, and must not be changed. A Breaker that is
// impossible leaves the circuit out: [Options.Validate] finds it.
func (e *Endpoint) Guards(o Options) []Guard { return e.serve(o).guards }

// Circuit returns the circuit breaker of a caller's Options; nil with NoBreaker.
func (e *Endpoint) Circuit(o Options) *breaker.Breaker { return e.serve(o).circuit }

// Validate returns the [*breaker.ConfigError] of an impossible Breaker.
func (o Options) Validate() error {
	_, err := o.Breaker.Filled()
	return err
}

func (e *Endpoint) serve(o Options) served {
	if s := e.find(o); s != nil {
		return *s
	}
	e.making.Lock()
	defer e.making.Unlock()
	if s := e.find(o); s != nil {
		return *s
	}
	s := served{options: o}
	if !o.NoBudget {
		s.guards = append(s.guards, budgetGuard{e})
	}
	s.guards = append(s.guards, paceGuard{e, o.NoPacer})
	if config, err := o.Breaker.Filled(); !o.NoBreaker && err == nil {
		s.circuit = e.circuitOf(config)
		s.guards = append(s.guards, circuitGuard{s.circuit, e})
	}
	if wrap := e.registry.config.Guards; wrap != nil {
		s.guards = wrap(e, s.guards)
	}
	s.guards = slices.Clip(s.guards)
	var all []served
	if old := e.guards.Load(); old != nil {
		all = (*old)[max(0, len(*old)-2*maxCircuits+1):]
	}
	all = append(slices.Clone(all), s)
	e.guards.Store(&all)
	return s
}

func (e *Endpoint) find(o Options) *served {
	all := e.guards.Load()
	if all == nil {
		return nil
	}
	for i := range *all {
		if (*all)[i].options == o {
			return &(*all)[i]
		}
	}
	return nil
}

// circuitOf returns the circuit of some settings, made on first use.
func (e *Endpoint) circuitOf(config breaker.Config) *breaker.Breaker {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.circuits {
		if c.config == config {
			return c.breaker
		}
	}
	var hooks []func(breaker.Transition)
	if told := e.registry.config.OnStateChange; told != nil {
		hooks = append(hooks, func(t breaker.Transition) { told(e, t) })
	}
	b, err := breaker.New(e.key.String(), config, hooks...)
	if err != nil { // Filled has found it possible
		panic(err)
	}
	switch force(e.forced.Load()) {
	case forcedOpen:
		b.ForceOpen(e.why)
	case forcedClosed:
		b.ForceClosed()
	}
	if len(e.circuits) == maxCircuits {
		e.circuits = slices.Delete(e.circuits, 0, 1)
	}
	e.circuits = append(e.circuits, circuit{config, b})
	return b
}

// Limit adds what a client has configured of the endpoint: where two clients
// configure a limit, or a budget, the tighter one holds. Zero values configure
// nothing. release takes it back; a second call of it does nothing. An
// impossible budget is a [*ConfigError].
func (e *Endpoint) Limit(l pace.Limits, b Budget) (release func(), err error) {
	if b != (Budget{}) {
		if b, err = b.Filled(); err != nil {
			return func() {}, err
		}
	}
	c := claim{l, b}
	if c == (claim{}) {
		return func() {}, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claims == nil {
		e.claims = map[claim]int{}
	}
	e.claims[c]++
	e.apply()
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.claims[c]--; e.claims[c] == 0 {
			delete(e.claims, c)
		}
		e.apply()
	}), nil
}

// apply makes the tightest of all that is configured hold. The caller holds the
// lock.
func (e *Endpoint) apply() {
	limits, budget := e.registry.limits(e.key), Budget{}
	for c := range e.claims {
		limits = limits.Tighter(c.limits)
		switch {
		case c.budget == Budget{}:
		case budget == Budget{}:
			budget = c.budget
		default:
			budget = budget.tighter(c.budget)
		}
	}
	if budget == (Budget{}) {
		budget = e.registry.config.Budget
	}
	e.pacer.Configure(limits)
	e.budget.allow(budget)
}

// Mark returns a number to give to Progress later.
func (e *Endpoint) Mark() uint64 { return e.pacer.Mark() }

// Progress reports whether anybody has got an answer from the endpoint since a
// mark was taken, or within the last 10 s: then a refusal without a time to come
// back says that there are too many of us, not that nobody is served.
func (e *Endpoint) Progress(mark uint64) bool { return e.pacer.ProgressSince(mark) }

// AnsweredSince reports whether anybody has got an answer, or the first piece of
// one, since a mark was taken.
func (e *Endpoint) AnsweredSince(mark uint64) bool { return e.pacer.Mark() != mark }

// Failed reports whether a circuit of the endpoint has ever counted a failure:
// from then on it matters how long requests last.
func (e *Endpoint) Failed() bool { return e.failed.Load() }

// wellNow notes that somebody got an answer.
func (e *Endpoint) wellNow() {
	if !e.answered.Load() {
		e.answered.Store(true)
		e.registry.proved(e)
	}
}

type force int32

const (
	forcedOpen force = iota + 1
	forcedClosed
)

// ForceOpen refuses all requests until Reset or ForceClosed, whatever callers
// have configured; why is shown to them.
func (e *Endpoint) ForceOpen(why string) { e.force(forcedOpen, why) }

// ForceClosed keeps all circuits CLOSED, and counts nothing, until Reset or
// ForceOpen. The pacer and the budget go on.
func (e *Endpoint) ForceClosed() { e.force(forcedClosed, "") }

func (e *Endpoint) force(f force, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.why = why
	e.forced.Store(int32(f))
	for _, c := range e.circuits {
		if f == forcedOpen {
			c.breaker.ForceOpen(why)
		} else {
			c.breaker.ForceClosed()
		}
	}
}

// Reset makes circuits, pacer and budget as they are when new.
func (e *Endpoint) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forced.Store(0)
	for _, c := range e.circuits {
		c.breaker.Reset()
	}
	e.pacer.Reset()
	e.budget.reset()
}

// Snapshot is an endpoint at one moment, for a page or a log. It holds no
// credential and no text of a provider's.
type Snapshot struct {
	Key      Key
	Answered bool               // somebody has got an answer from it
	Circuits []breaker.Snapshot // one for each of the settings in use
	Pace     pace.Snapshot
	Retries  float64 // that the budget allows now
	Made     time.Time
}

// Snapshot returns the endpoint as it is now.
func (e *Endpoint) Snapshot() Snapshot {
	e.mu.Lock()
	circuits := slices.Clone(e.circuits)
	e.mu.Unlock()
	s := Snapshot{
		Key: e.key, Answered: e.answered.Load(), Pace: e.pacer.Snapshot(), Retries: e.budget.saved(), Made: e.made,
	}
	for _, c := range circuits {
		s.Circuits = append(s.Circuits, c.breaker.Snapshot())
	}
	return s
}

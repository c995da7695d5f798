package endpoint

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/breaker"
	"llmcall/pace"
)

// Options say which guards are asked before a caller's requests. The zero value means
// all of them, with the defaults of [breaker.Config]. Callers with equal Options share
// the same guards.
type Options struct {
	// Breaker is the configuration of the circuit. An endpoint has one circuit for
	// each configuration in use, of at most 16.
	Breaker breaker.Config
	// NoBreaker, NoPacer and NoBudget leave the circuit breaker, the pacer and the
	// budget of retries out. Default false.
	NoBreaker, NoPacer, NoBudget bool
}

// maxCircuits bounds the circuits of an endpoint. A further one replaces the oldest.
const maxCircuits = 16

// Endpoint is what all callers of one [Key] share: circuits, a pacer, and a
// budget of retries. It comes from a [Registry] and is safe for concurrent use.
type Endpoint struct {
	key      Key
	registry *Registry
	pacer    pace.Pacer
	budget   bucket

	answered atomic.Bool   // some caller got an answer
	broken   atomic.Uint64 // answers that failed after they had begun
	failed   atomic.Bool   // some circuit counted a failure
	used     atomic.Bool   // asked for since the registry last considered evicting it
	forced   atomic.Int32  // a force; 0: none
	made     time.Time

	making sync.Mutex
	guards atomic.Pointer[[]served] // replaced, never changed

	mu       sync.Mutex
	circuits []circuit
	claims   map[claim]int // what clients have configured, and how many have
	why      string        // of ForceOpen
	latency  *Latency      // nil until a caller hedges
	quality  []*memory     // of each set of checks, that used last at the end
	changes  uint64        // number of times that the circuits were forced or reset
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
	counted *atomic.Uint64 // the last of the pacer's waves of refusals that it counted
}

// claim is what one client has configured of an endpoint.
type claim struct {
	limits pace.Limits
	budget Budget
}

// Key returns the key of the endpoint.
func (e *Endpoint) Key() Key { return e.key }

// Name returns what the endpoint is called in errors and logs: see [Config.Name].
func (e *Endpoint) Name() string { return e.registry.name(e.key) }

// Guards returns the guards for a caller's requests, in the order in which they must be
// asked and settled: the budget, the pacer, the circuit. It returns the same slice for
// the same Options; it must not be modified. Without valid settings in o.Breaker there
// is no circuit; see [Options.Validate].
func (e *Endpoint) Guards(o Options) []Guard { return e.serve(o).guards }

// Circuit returns the circuit breaker for a caller's Options. It is nil with
// o.NoBreaker, or without valid settings in o.Breaker.
func (e *Endpoint) Circuit(o Options) *breaker.Breaker { return e.serve(o).circuit }

// Validate returns a *[breaker.ConfigError] for an impossible setting in o.Breaker, a
// *[ConfigError] if both o.Breaker and o.NoBreaker are set, or nil.
func (o Options) Validate() error {
	if o.NoBreaker && o.Breaker != (breaker.Config{}) {
		return &ConfigError{"Options.Breaker", "other settings", "its zero value with NoBreaker, which leaves the circuit out"}
	}
	_, err := o.Breaker.Filled()
	return err
}

func (e *Endpoint) serve(o Options) served {
	if s := e.find(o); s != nil {
		return *s
	}
	s, gone := e.prepare(o)
	if gone != nil {
		gone.Reset()
	}
	return s
}

// prepare makes the guards for a caller's Options unless they exist. gone is a circuit
// that was replaced while forced; nobody else could reset it. Callers that still hold
// it are refused by the pacer's guard while the endpoint is forced open.
func (e *Endpoint) prepare(o Options) (s served, gone *breaker.Breaker) {
	s = served{options: o}
	if !o.NoBudget {
		s.guards = append(s.guards, &budgetGuard{e})
	}
	s.guards = append(s.guards, &paceGuard{e, o.NoPacer})
	var out *breaker.Breaker
	if config, err := o.Breaker.Filled(); !o.NoBreaker && err == nil {
		var counted *atomic.Uint64
		s.circuit, counted, out = e.circuitOf(config)
		s.guards = append(s.guards, &circuitGuard{s.circuit, e, counted, o.NoPacer})
	}
	if wrap := e.registry.config.Guards; wrap != nil {
		s.guards = wrap(e, s.guards) // without a lock: it may call the endpoint
	}
	s.guards = slices.Clip(s.guards)
	if out != nil && e.forced.Load() != 0 {
		gone = out
	}
	e.making.Lock()
	defer e.making.Unlock()
	if s := e.find(o); s != nil { // another caller was faster
		return *s, gone
	}
	var all []served
	if old := e.guards.Load(); old != nil {
		all = slices.Clone((*old)[max(0, len(*old)-2*maxCircuits+1):])
		// New callers must not get a circuit that nobody can reset any more.
		all = slices.DeleteFunc(all, func(s served) bool { return out != nil && s.circuit == out })
	}
	all = append(all, s)
	e.guards.Store(&all)
	return s, gone
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

// circuitOf returns the circuit for some settings, made on first use, and the circuit
// that it replaced.
func (e *Endpoint) circuitOf(config breaker.Config) (b *breaker.Breaker, counted *atomic.Uint64, gone *breaker.Breaker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.circuits {
		if c.config == config {
			return c.breaker, c.counted, nil
		}
	}
	var hooks []func(breaker.Transition)
	var forcing atomic.Bool // a new circuit: no change of state
	if told := e.registry.config.OnStateChange; told != nil {
		hooks = append(hooks, func(t breaker.Transition) {
			if !forcing.Load() {
				told(e, t)
			}
		})
	}
	b, err := breaker.New(e.Name(), config, hooks...)
	if err != nil { // impossible: config comes from Filled
		panic(err)
	}
	if fleet := e.registry.config.Fleet; fleet != nil {
		fleet.Circuit(e, b)
	}
	f := force(e.forced.Load())
	if f != 0 {
		forcing.Store(true)
		f.apply(b, e.why)
		forcing.Store(false)
	}
	if len(e.circuits) == maxCircuits {
		gone = e.circuits[0].breaker
		e.circuits = slices.Delete(e.circuits, 0, 1)
	}
	counted = new(atomic.Uint64)
	e.circuits = append(e.circuits, circuit{config, b, counted})
	return b, counted, gone
}

// Limit adds the limits and the budget that a client has configured for the endpoint.
// Of two clients' limits, or budgets, the tighter one holds. Zero values configure
// nothing. release removes them; calling it again does nothing. The error is a
// *[ConfigError] for an impossible budget.
func (e *Endpoint) Limit(l pace.Limits, b Budget) (release func(), err error) {
	if b != (Budget{}) {
		if b, err = b.Filled(); err != nil {
			return func() {}, err
		}
	}
	c := claim{l.Tighter(pace.Limits{}), b} // makes a NaN 0, so that the claim is found again in the map
	if c == (claim{}) {
		return func() {}, nil
	}
	e.claim(c, 1)
	return sync.OnceFunc(func() { e.claim(c, -1) }), nil
}

// claim adds n, 1 or -1, clients that have configured c.
func (e *Endpoint) claim(c claim, n int) {
	limits := e.registry.limits(e.key) // without the lock: it may call the endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claims == nil {
		e.claims = map[claim]int{}
	}
	if e.claims[c] += n; e.claims[c] == 0 {
		delete(e.claims, c)
	}
	e.apply(limits)
}

// apply sets the tightest of the operator's limits and all claims. The caller holds the
// lock.
func (e *Endpoint) apply(limits pace.Limits) {
	budget := Budget{}
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

// Mark returns the number of answers that the endpoint's callers have got. Call it when
// a request begins: if the request fails, [Endpoint.Progress] and
// [Endpoint.AnsweredSince] report whether others were answered meanwhile.
func (e *Endpoint) Mark() uint64 { return e.pacer.Mark() }

// Progress reports whether any caller got an answer since [Endpoint.Mark] returned
// mark, or within the last 10 s. It is for a request that the provider refused without
// saying when to come back. If others are answered, there are too many requests, and
// the call can wait for its turn without using up an attempt. If nobody is, the refusal
// is a failed attempt.
func (e *Endpoint) Progress(mark uint64) bool { return e.pacer.ProgressSince(mark) }

// Answers returns the number of answers that the endpoint's callers have got, without those
// that failed after they had begun. It may fall by these. A fleet holds its failures to it.
func (e *Endpoint) Answers() uint64 {
	broken := e.broken.Load() // first: each of them was an answer before
	return e.pacer.Mark() - broken
}

// AnsweredSince reports whether any caller got an answer, or the first piece of one,
// since [Endpoint.Mark] returned mark. It is for a request that ended without an
// answer, for example at its deadline: if others were answered meanwhile, the provider
// does not hang.
func (e *Endpoint) AnsweredSince(mark uint64) bool { return e.pacer.Mark() != mark }

// Failed reports whether a circuit of the endpoint has ever counted a failure. Until
// then [Report.Lasted] is not needed, so that a call need not read the clock.
func (e *Endpoint) Failed() bool { return e.failed.Load() }

// wellNow records that some caller got an answer.
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

// ForceOpen refuses all requests until [Endpoint.Reset] or [Endpoint.ForceClosed],
// whatever [Options] the callers have. why is shown to them.
func (e *Endpoint) ForceOpen(why string) { e.force(forcedOpen, why) }

// ForceClosed keeps all circuits CLOSED without counting anything, until
// [Endpoint.Reset] or [Endpoint.ForceOpen]. The pacer and the budget are not affected.
func (e *Endpoint) ForceClosed() { e.force(forcedClosed, "") }

func (e *Endpoint) force(f force, why string) {
	e.mu.Lock()
	e.why = why
	e.forced.Store(int32(f))
	e.changes++
	e.mu.Unlock()
	e.enforce()
}

// Reset ends [Endpoint.ForceOpen] and [Endpoint.ForceClosed], closes the circuits, makes
// the pacer forget what it has learned, and fills the budget. What clients have
// configured by [Endpoint.Limit] stays.
func (e *Endpoint) Reset() {
	e.force(0, "")
	e.pacer.Reset()
	e.budget.reset()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quality = nil
}

// enforce applies the last force or reset to the circuits. It does so without the lock,
// since hooks may call the endpoint, and again if another one came meanwhile.
func (e *Endpoint) enforce() {
	for {
		e.mu.Lock()
		f, why, changes, circuits := force(e.forced.Load()), e.why, e.changes, slices.Clone(e.circuits)
		e.mu.Unlock()
		for _, c := range circuits {
			f.apply(c.breaker, why)
		}
		e.mu.Lock()
		current := changes == e.changes
		e.mu.Unlock()
		if current {
			return
		}
	}
}

func (f force) apply(b *breaker.Breaker, why string) {
	switch f {
	case forcedOpen:
		b.ForceOpen(why)
	case forcedClosed:
		b.ForceClosed()
	default:
		b.Reset()
	}
}

// Snapshot is the state of an endpoint at one moment, for a page or a log. It holds no
// credential and no text of a provider.
type Snapshot struct {
	Key      Key
	Answered bool               // some caller has got an answer
	Circuits []breaker.Snapshot // one for each of the settings in use
	Recent   []breaker.Recent   // of Circuits, in the same order
	Pace     pace.Snapshot
	Retries  float64   // the number that the budget allows now
	Made     time.Time // when the endpoint was made
	// PassedOver has the sets of checks for which the endpoint is passed over for now,
	// because its answers do not pass them; see [Endpoint.Judged].
	PassedOver []PassedOver
}

// Snapshot returns the endpoint as it is now.
func (e *Endpoint) Snapshot() Snapshot {
	e.mu.Lock()
	circuits, over := slices.Clone(e.circuits), e.passedOver()
	e.mu.Unlock()
	s := Snapshot{
		Key: e.key, Answered: e.answered.Load(), Pace: e.pacer.Snapshot(), Retries: e.budget.saved(), Made: e.made, PassedOver: over,
	}
	for _, c := range circuits {
		s.Circuits = append(s.Circuits, c.breaker.Snapshot())
		s.Recent = append(s.Recent, c.breaker.Recent())
	}
	return s
}

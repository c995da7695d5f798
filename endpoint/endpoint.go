package endpoint

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/breaker"
	"llmcall/pace"
)

// Options say which guards are asked before a caller's requests. The zero value
// means all of them, with the defaults of [breaker.Config]. Equal Options mean the
// same guards.
type Options struct {
	// Breaker is the configuration of the circuit. Callers with equal settings
	// share a circuit of the endpoint; other settings have a circuit of their own.
	Breaker breaker.Config
	// NoBreaker, NoPacer and NoBudget leave a guard out.
	NoBreaker, NoPacer, NoBudget bool
}

// maxCircuits bounds how many circuits of different settings an endpoint has.
// A further one replaces the one that was made first.
const maxCircuits = 16

// Endpoint is what all callers of one [Key] share: circuits, a pacer, and a
// budget of retries. It comes from a [Registry] and is safe for concurrent use.
type Endpoint struct {
	key      Key
	registry *Registry
	pacer    pace.Pacer
	budget   bucket

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
	changes  uint64        // how often the circuits were forced or reset
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
	counted *atomic.Uint64 // the pacer's last wave of refusals that it has counted
}

// claim is what one client has configured of an endpoint.
type claim struct {
	limits pace.Limits
	budget Budget
}

// Key returns the key that the endpoint was made for.
func (e *Endpoint) Key() Key { return e.key }

// Guards returns the guards of a caller's requests, in the order in which they are
// asked and settled: the budget, the pacer, the circuit. It is the same slice for
// the same Options, and must not be changed. Where the settings in Options.Breaker
// are not valid there is no circuit; [Options.Validate] reports them.
func (e *Endpoint) Guards(o Options) []Guard { return e.serve(o).guards }

// Circuit returns the circuit breaker of a caller's Options; nil with NoBreaker,
// or where the settings in Options.Breaker are not valid.
func (e *Endpoint) Circuit(o Options) *breaker.Breaker { return e.serve(o).circuit }

// Validate returns nil if the options are valid; a [*breaker.ConfigError] for
// settings in Breaker that are not; a [*ConfigError] for settings in Breaker that
// NoBreaker leaves without effect.
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

// prepare makes the guards of a caller's Options, if nobody has. gone is a
// circuit that made room, and is forced: nobody could let it go any more. Those
// who hold it still are refused by the pacer's guard while the endpoint is forced.
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
		s.guards = wrap(e, s.guards) // outside of the lock: it may ask back
	}
	s.guards = slices.Clip(s.guards)
	if out != nil && e.forced.Load() != 0 {
		gone = out
	}
	e.making.Lock()
	defer e.making.Unlock()
	if s := e.find(o); s != nil { // by another caller, meanwhile
		return *s, gone
	}
	var all []served
	if old := e.guards.Load(); old != nil {
		all = slices.Clone((*old)[max(0, len(*old)-2*maxCircuits+1):])
		// New callers get no circuit that nobody can reset any more.
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

// circuitOf returns the circuit of some settings, made on first use, and the one
// that made room for it.
func (e *Endpoint) circuitOf(config breaker.Config) (b *breaker.Breaker, counted *atomic.Uint64, gone *breaker.Breaker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.circuits {
		if c.config == config {
			return c.breaker, c.counted, nil
		}
	}
	var hooks []func(breaker.Transition)
	ready := false // a circuit that is made of a forced endpoint has not changed
	if told := e.registry.config.OnStateChange; told != nil {
		hooks = append(hooks, func(t breaker.Transition) {
			if ready {
				told(e, t)
			}
		})
	}
	b, err := breaker.New(e.key.String(), config, hooks...)
	if err != nil { // Filled has found it possible
		panic(err)
	}
	f := force(e.forced.Load())
	if f != 0 {
		f.apply(b, e.why)
	}
	ready = true
	if len(e.circuits) == maxCircuits {
		gone = e.circuits[0].breaker
		e.circuits = slices.Delete(e.circuits, 0, 1)
	}
	counted = new(atomic.Uint64)
	e.circuits = append(e.circuits, circuit{config, b, counted})
	return b, counted, gone
}

// Limit adds what a client has configured of the endpoint: where two clients
// configure a limit, or a budget, the tighter one holds. Zero values configure
// nothing. release takes it back; a second call of it does nothing. The error is
// a [*ConfigError] for a budget that is not valid.
func (e *Endpoint) Limit(l pace.Limits, b Budget) (release func(), err error) {
	if b != (Budget{}) {
		if b, err = b.Filled(); err != nil {
			return func() {}, err
		}
	}
	c := claim{l.Tighter(pace.Limits{}), b} // what is not a limit is 0, also a NaN: a claim is found again
	if c == (claim{}) {
		return func() {}, nil
	}
	e.claim(c, 1)
	return sync.OnceFunc(func() { e.claim(c, -1) }), nil
}

// claim adds or takes back what a client has configured.
func (e *Endpoint) claim(c claim, n int) {
	limits := e.registry.limits(e.key) // outside of the lock: it may ask back
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

// apply makes the tightest of all that is configured hold: an operator's limits,
// and the claims. The caller holds the lock.
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

// Mark returns a count that grows with each answer that the endpoint's callers get.
// Take it when a request begins; when the request has failed, [Endpoint.Progress]
// and [Endpoint.AnsweredSince] say whether others were answered meanwhile.
func (e *Endpoint) Mark() uint64 { return e.pacer.Mark() }

// Progress reports whether any caller has got an answer from the endpoint since
// [Endpoint.Mark] returned mark, or within the last 10 s. It is for a request that
// the provider refused without saying when to come back: if others are answered,
// there are too many requests, and the call can wait for its turn without using up
// an attempt; if nobody is, the refusal is a failed attempt.
func (e *Endpoint) Progress(mark uint64) bool { return e.pacer.ProgressSince(mark) }

// AnsweredSince reports whether any caller has got an answer, or the first piece
// of one, since [Endpoint.Mark] returned mark. It is for a request that ended
// without any answer, as at its deadline: if others were answered meanwhile, the
// provider does not hang. The answers before the mark do not count.
func (e *Endpoint) AnsweredSince(mark uint64) bool { return e.pacer.Mark() != mark }

// Failed reports whether a circuit of the endpoint has ever counted a failure.
// Until then the circuits do not need [Report.Lasted], and a call can do without
// reading a clock.
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
	e.why = why
	e.forced.Store(int32(f))
	e.changes++
	e.mu.Unlock()
	e.enforce()
}

// Reset closes the circuits, makes the pacer forget what it has learned, fills the
// budget, and ends ForceOpen and ForceClosed. What clients have configured stays.
func (e *Endpoint) Reset() {
	e.force(0, "")
	e.pacer.Reset()
	e.budget.reset()
}

// enforce makes the circuits what was last asked for, outside of the lock: the
// hooks that are told of it may call the endpoint.
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

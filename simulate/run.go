package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
)

// Run simulates a scenario in a Go test, and fails the test if there is an error; see [Do].
// It must not be called in a bubble of testing/synctest: it makes one itself.
//
//	report := simulate.Run(t, cfg, simulate.Must(simulate.Named("outage")))
//	if report.AnsweredShare() < 0.99 {
//		t.Error(report)
//	}
func Run(t testing.TB, cfg llmcall.RetryConfig, scenario *Scenario) *Report {
	t.Helper()
	report, err := Do(t.Context(), cfg, scenario)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Do simulates what a configuration does in a scenario, with the engine that makes real
// calls, in virtual time. It needs no network and no key, and does not wait.
//
// The models are those that the configuration names, or one called [DefaultModel]. The
// simulated provider makes answers that are right or wrong as the scenario says, and one
// check knows which: the checks of a program are not run. A model that has several keys is one
// model here. These fields of the configuration have no effect: Account, Endpoints, Observer,
// Rand, Providers and MCPServers; tools are offered, and never called. With Backoff set in
// Go, its own chance decides about the waits, so that two runs differ.
//
// The error is a [*ScenarioError] for an impossible scenario, a [*llmcall.ConfigError] for
// an impossible configuration, ctx's error if it ends first, or says that the engine has
// panicked or can't go on, which is a fault of llmcall.
func Do(ctx context.Context, cfg llmcall.RetryConfig, scenario *Scenario) (*Report, error) {
	if err := scenario.Validate(); err != nil {
		return nil, err
	}
	r := &run{outside: ctx, cfg: cfg, scenario: scenario.filled(), clock: clock{taken: map[int64]int64{}}}
	if err := inBubble(r.main); err != nil {
		return nil, err
	}
	if err := cmp.Or(r.err, ctx.Err()); err != nil {
		return nil, err
	}
	return r.report, nil
}

// inBubble runs f in a bubble of virtual time. What would end the process is its error: a
// panic in f, runtime.Goexit, or a bubble in which nothing can go on (then the goroutines
// that are blocked in it are left). It has two goroutines of its own: one inside of the bubble
// for f, since the test that the bubble belongs to must end by itself, and one outside, where
// package synctest panics.
func inBubble(f func() error) error {
	var outer, inner error
	guarded(&outer, func() error {
		synctest.Test(new(testing.T), func(*testing.T) { guarded(&inner, f, debug.Stack) })
		return nil
	}, nil)
	return cmp.Or(inner, outer)
}

// guarded runs f in a goroutine and waits for it. A panic in f, and runtime.Goexit, are its
// error; the stack is added to it where somebody has to find the cause.
func guarded(err *error, f func() error, stack func() []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended := false
		defer func() {
			switch v := recover(); {
			case v != nil && stack == nil:
				*err = fmt.Errorf("simulate: %v", v)
			case v != nil:
				*err = panicked(v, stack())
			case !ended:
				*err = errGoexit
			}
		}()
		*err = f()
		ended = true
	}()
	<-done
}

var errGoexit = errors.New("simulate: the run was ended by runtime.Goexit, as by t.FailNow in a function of the configuration")

func panicked(v any, stack []byte) error { return fmt.Errorf("simulate: panic: %v\n\n%s", v, stack) }

// run is one simulation.
type run struct {
	outside  context.Context // the caller's, looked at by noticed, since its end is not an event of the bubble
	cfg      llmcall.RetryConfig
	scenario *Scenario
	clock    clock
	start    time.Time
	servers  []*server
	groups   []*group
	circuits []*circuit
	cancel   context.CancelFunc // ends all calls

	over   atomic.Bool // calls that end now are unfinished
	bucket time.Duration
	report *Report

	mu     sync.Mutex // of all figures
	err    error      // the first
	end    time.Duration
	series []Point
}

// group is a group of clients with its figures.
type group struct {
	Clients
	request *llm.Request
	totals  Totals
	lived   []lived
}

// tokens returns how many tokens its prompts have.
func (g *group) tokens() int64 { return int64(g.PromptTokens) }

// process is one process of a group.
type process struct {
	*run
	group  *group
	number uint64 // unique in the run
	client *llmcall.Client
	calls  atomic.Uint64 // that were taken by more
}

// circuit is the state of an endpoint of a process.
type circuit struct {
	endpoint *endpoint.Endpoint
	state    atomic.Uint32 // breaker.State
}

// asked is a call, as the provider knows it.
type asked struct {
	group   *group
	process *process
	call    uint64 // unique in the process
	tries   atomic.Uint64
	last    int64 // the cost of the last answer
}

type askedKey struct{}

// model is a model of a process.
type model struct {
	*server
	process *process
	circuit *circuit
}

// Name returns the model's name.
func (m *model) Name() string { return m.server.model }

// EndpointKey returns the key of the model's endpoint.
func (m *model) EndpointKey() endpoint.Key { return endpoint.Key{Model: m.server.model} }

// Complete sends a request to the simulated provider.
func (m *model) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	m.run.noticed()
	a := ctx.Value(askedKey{}).(*asked)
	chance := source(m.run.scenario.Seed, forRequest, m.id, a.process.number, a.call, a.tries.Add(1))
	m.sent(a, breaker.State(m.circuit.state.Load()) != breaker.Closed)
	got := reply{ending: left}
	if m.run.travel(ctx, m.now().Network, chance) {
		got = m.handle(ctx, a, chance, req)
		if got.ending != left && !m.run.travel(ctx, m.now().Network, chance) {
			got.ending = left
		}
	}
	m.ended(a, got.ending)
	switch {
	case got.ending == left:
		return nil, ctx.Err()
	case got.refusal != nil:
		return nil, got.refusal.by(ctx, m.server.model)
	}
	endpoint.Accepted(ctx, got.told)
	return got.response, nil
}

// travel takes the time of the network. It returns false if the client leaves.
func (r *run) travel(ctx context.Context, network Latency, chance *rand.Rand) bool {
	if network == (Latency{}) {
		return ctx.Err() == nil
	}
	return r.sleep(ctx, network.draw(chance)+apart(chance))
}

// apart returns up to a tenth of a millisecond. Requests that are sent at the same time, by
// calls that the same answer has woken, arrive one after the other for it, and in the same
// order in each run.
func apart(chance *rand.Rand) time.Duration {
	return time.Duration(chance.IntN(int(time.Millisecond / 10)))
}

// sleep waits until an instant of its own. It returns false if ctx ends first.
func (r *run) sleep(ctx context.Context, d time.Duration) bool {
	return sleepUntil(ctx, r.clock.after(d))
}

// sleepUntil waits until a time. It returns false if ctx ends first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// check passes right answers.
var check = validate.Func("right", func(_ context.Context, a *validate.Answer) error {
	if a.Text == rightText {
		return nil
	}
	return fmt.Errorf("the answer is wrong: %s", a.Text)
})

// main is the run, in the bubble.
func (r *run) main() error {
	r.start, r.bucket = time.Now(), bucketOf(r.scenario.Duration)
	processes, err := r.prepare()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.cancel = cancel
	tooLong := time.NewTimer(time.Until(r.clock.after(r.scenario.Duration + grace)))
	defer tooLong.Stop()
	watched := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(stop)
	}()
	var calls sync.WaitGroup
	for _, p := range r.scenario.Phases {
		if p.Restart {
			calls.Go(func() { r.restart(ctx, p) })
		}
	}
	for _, p := range processes {
		begin := r.clock.after(p.group.Start)
		calls.Go(func() { p.live(ctx, begin, &calls) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		calls.Wait()
	}()
	select {
	case <-done:
	case <-tooLong.C:
		r.over.Store(true)
		cancel()
		select {
		case <-done:
		case <-time.After(grace):
			return fmt.Errorf("simulate: calls go on %v after their contexts ended", grace)
		}
	}
	close(stop)
	<-watched
	r.summarize()
	return nil
}

// grace is how long calls may go on after the last has begun.
const grace = time.Hour

// prepare makes the providers and the processes.
func (r *run) prepare() ([]*process, error) {
	cfg := r.cfg
	names := cfg.AllModels()
	if len(names) == 0 {
		names = []string{DefaultModel}
	}
	for name := range r.scenario.Models {
		if !slices.Contains(names, name) {
			return nil, unknownModel("models", name, names)
		}
	}
	for i, p := range r.scenario.Phases {
		for _, name := range p.Models {
			if !slices.Contains(names, name) {
				return nil, unknownModel(fmt.Sprintf("phases[%d].models", i), name, names)
			}
		}
	}
	cfg.Prices = maps.Clone(cfg.Prices)
	if cfg.Prices == nil {
		cfg.Prices = price.Table{}
	}
	for _, name := range names {
		p := r.scenario.Provider.Price
		if own, ok := r.scenario.Models[name]; ok {
			p = own.Price
		}
		if _, known := cfg.Prices[name]; p != nil && !known {
			cfg.Prices[name] = *p
		}
	}
	cfg.Account, cfg.Observer = nil, nil
	addTools(&cfg)
	r.cfg = cfg
	for i, name := range names {
		s, err := r.newServer(name, i)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, s)
	}
	var all []*process
	for _, c := range r.scenario.Clients {
		g := &group{Clients: c, request: llm.Prompt(strings.Repeat("word", c.PromptTokens))}
		r.groups = append(r.groups, g)
		for range c.Processes {
			p, err := r.newProcess(g, uint64(len(all)))
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// addTools adds the tools of MCP servers that a configuration names. They are not known
// without the servers, and no answer calls them.
func addTools(cfg *llmcall.RetryConfig) {
	if len(cfg.MCPServers) == 0 {
		return
	}
	cfg.Tools = slices.Clone(cfg.Tools)
	names := []string{}
	if cfg.DebugToolName != "" {
		names = append(names, cfg.DebugToolName)
	}
	for _, s := range cfg.Stages {
		names = append(names, s.Tools...)
	}
	for _, name := range names {
		if !slices.ContainsFunc(cfg.Tools, func(t llmcall.Tool) bool { return t.Name == name || t.Group == name }) {
			cfg.Tools = append(cfg.Tools, llmcall.Tool{Tool: llm.Tool{Name: name}})
		}
	}
}

// newProcess makes a process with its own endpoints.
func (r *run) newProcess(g *group, number uint64) (*process, error) {
	p := &process{run: r, group: g, number: number}
	cfg := r.cfg
	if cfg.Backoff == nil {
		cfg.Rand = byTime(r.scenario.Seed, forRetries, number)
	}
	circuits := make([]*circuit, len(r.servers))
	var err error
	cfg.Endpoints, err = endpoint.NewRegistry(endpoint.Config{Rand: byTime(r.scenario.Seed, forPacer, number), Guards: oneByOne, OnStateChange: func(e *endpoint.Endpoint, t breaker.Transition) {
		for i, s := range r.servers {
			if s.model == e.Key().Model {
				circuits[i].state.Store(uint32(t.To))
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	var models []llm.Model
	for i, s := range r.servers {
		m := &model{server: s, process: p, circuit: &circuit{}}
		m.circuit.endpoint = cfg.Endpoints.Get(m.EndpointKey())
		circuits[i] = m.circuit
		r.circuits = append(r.circuits, m.circuit)
		models = append(models, m)
	}
	p.client, err = llmcall.New(models, []validate.Strategy{check}, cfg)
	return p, err
}

// turnstile is a guard whose waits end one after the other. One answer may end the waits of
// several calls of a process, and which of them would go on first is not determined.
type turnstile struct{ endpoint.Guard }

// oneByOne lets those who wait for a guard go on one by one.
func oneByOne(_ *endpoint.Endpoint, guards []endpoint.Guard) []endpoint.Guard {
	all := slices.Clone(guards)
	for i, g := range all {
		all[i] = turnstile{g}
	}
	return all
}

// Wait waits, and takes up to a tenth of a millisecond more.
func (t turnstile) Wait(ctx context.Context, ask endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	permit, denied := t.Guard.Wait(ctx, ask)
	if a, ok := ctx.Value(askedKey{}).(*asked); ok {
		r := a.process.run
		time.Sleep(time.Until(r.clock.after(apart(source(r.scenario.Seed, forWaits, a.process.number, a.call, uint64(time.Now().UnixNano()))))))
	}
	return permit, denied
}

// live makes the calls of a process.
func (p *process) live(ctx context.Context, begin time.Time, calls *sync.WaitGroup) {
	g := p.group
	if !sleepUntil(ctx, begin) {
		return
	}
	call := func(number uint64) { calls.Go(func() { p.call(ctx, number) }) }
	switch {
	case g.Workers > 0:
		for i := range g.Workers {
			first := p.clock.after(0)
			calls.Go(func() { p.work(ctx, uint64(i), first) })
		}
	case g.CallsPerSecond > 0:
		chance, at := source(p.scenario.Seed, forArrivals, p.number), g.Start
		for {
			at = p.next(at, chance.ExpFloat64())
			if at >= g.Stop || !p.sleep(ctx, at-time.Since(p.start)) {
				return
			}
			number, ok := p.more()
			if !ok {
				return
			}
			call(number)
		}
	default:
		for number, ok := p.more(); ok; number, ok = p.more() {
			call(number)
			if !p.sleep(ctx, 0) {
				return
			}
		}
	}
}

// more takes one of the calls that the process may make, and returns how many it has taken.
// ok is false if there is none left.
func (p *process) more() (number uint64, ok bool) {
	if p.noticed() {
		return 0, false
	}
	number = p.calls.Add(1)
	return number, p.group.Calls == 0 || number <= uint64(p.group.Calls)
}

// work makes one call after another. The calls of a worker have numbers of their own, since
// which of two workers that are done at the same time begins first is not determined.
func (p *process) work(ctx context.Context, worker uint64, first time.Time) {
	chance := source(p.scenario.Seed, forArrivals, p.number, worker)
	number := worker << 32
	for ok := sleepUntil(ctx, first); ok && time.Since(p.start) < p.group.Stop; ok = p.sleep(ctx, p.group.Pause+apart(chance)) {
		if _, more := p.more(); !more {
			return
		}
		number++
		p.call(ctx, number)
	}
}

// next returns the time of the next arrival of a Poisson process whose rate the phases
// multiply. chance is exponentially distributed with mean 1.
func (p *process) next(at time.Duration, chance float64) time.Duration {
	for {
		rate, until := p.group.CallsPerSecond, time.Duration(math.MaxInt64)
		for _, phase := range p.scenario.Phases {
			if phase.Load == 0 {
				continue
			}
			if end := p.scenario.endOf(phase); phase.lasts(at) {
				rate = p.group.CallsPerSecond * phase.Load
				until = min(until, end)
			} else if phase.From > at {
				until = min(until, phase.From)
			}
		}
		d := chance / rate * float64(time.Second)
		if d < float64(until-at) {
			return at + time.Duration(d)
		}
		chance -= (until - at).Seconds() * rate
		at = until
	}
}

// call makes one call, and counts how it ends.
func (p *process) call(ctx context.Context, number uint64) {
	ended := false
	defer func() {
		if v := recover(); v != nil {
			p.fail(panicked(v, debug.Stack()))
		} else if !ended {
			p.fail(errGoexit)
		}
	}()
	a := &asked{group: p.group, process: p, call: number}
	ctx = context.WithValue(ctx, askedKey{}, a)
	if d := p.group.Deadline; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	begun := time.Since(p.start)
	p.offered(p.group)
	_, err := p.client.Do(ctx, p.group.request)
	p.done(a, begun, err)
	ended = true
}

// noticed ends the run if the caller has, and reports whether that is so. It is asked before each
// call and each request: a call may make requests for ever while no time passes.
func (r *run) noticed() bool {
	err := r.outside.Err()
	if err != nil {
		r.fail(err)
	}
	return err != nil
}

// fail ends the run with an error, unless it has one.
func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = cmp.Or(r.err, err)
	r.over.Store(true)
	r.cancel()
}

// restart breaks what the providers have in their hands when a phase begins.
func (r *run) restart(ctx context.Context, p Phase) {
	if r.sleep(ctx, p.From-time.Since(r.start)) {
		for _, s := range r.servers {
			if p.about(s.model) {
				s.restart()
			}
		}
	}
}

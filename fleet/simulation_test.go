package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/llm"
)

// The times of a simulation. The provider answers and fails in a known time, so that what a
// call takes beyond it is what it has waited for the fleet.
const (
	answerTime  = 200 * time.Millisecond
	failureTime = 50 * time.Millisecond
	messageTime = time.Millisecond // from the store to those who watch
	runTime     = time.Millisecond // of an exchange
)

// world is a provider, a store, and the processes of a fleet, in a bubble.
type world struct {
	t       *testing.T
	server  *lua.Server
	circuit breaker.Config
	every   time.Duration // between two calls of a process
	lossy   int           // each so many messages to a process is lost; 0: none

	mu       sync.Mutex
	all      []*member // those that live
	number   int
	broken   bool // the provider
	apart    bool // the store can't be reached by all
	probing  int  // probes under way
	most     int  // of them, while the store could be reached by all
	reached  []time.Time
	opened   []time.Time // when a process' circuit became OPEN
	calls    int
	longest  time.Duration // that a call took beyond the provider's time
	greatest uint64        // generation that anybody knew of
	changed  time.Time     // when it became so
}

// member is a process of the fleet.
type member struct {
	w      *world
	number int
	store  *lossy
	fleet  *Fleet
	client *llmcall.Client
	stop   func()
	ended  sync.WaitGroup

	// Under world.mu:
	broken     bool   // its machine: no request reaches the provider
	generation uint64 // that it knows of
}

// lossy loses each so many messages.
type lossy struct {
	*lua.Client
	each int
	mu   sync.Mutex
	n    int
}

func (l *lossy) Watch(key string, told func(string), again func()) func() {
	return l.Client.Watch(key, func(text string) {
		l.mu.Lock()
		l.n++
		lost := l.each > 0 && l.n%l.each == 0
		l.mu.Unlock()
		if !lost {
			told(text)
		}
	}, again)
}

var _ store.Store = (*lossy)(nil)

// newWorld starts a world. It must be ended.
func newWorld(t *testing.T, processes int, c breaker.Config, lossy int) *world {
	filled, err := c.Filled()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: lua.New(), circuit: filled, every: 500 * time.Millisecond, lossy: lossy}
	w.server.Latency(runTime)
	w.server.Delay(messageTime)
	for range processes {
		w.join()
	}
	return w
}

// join starts a process.
func (w *world) join() *member {
	w.t.Helper()
	m := &member{w: w, store: &lossy{Client: w.server.Dial(), each: w.lossy}}
	f, err := open(m.store, Options{Secret: "of the simulation", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Endpoints: endpoint.Config{OnStateChange: m.changed}})
	if err != nil {
		w.t.Fatal(err)
	}
	m.fleet = f
	m.client, err = llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{
		MaxAttempts: 1, Endpoints: f.Endpoints(), EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: w.circuit},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	w.mu.Lock()
	w.number++
	m.number = w.number
	w.all = append(w.all, m)
	w.mu.Unlock()
	m.ended.Go(func() {
		time.Sleep(rand.N(w.every))
		for ctx.Err() == nil {
			m.ended.Go(m.call)
			time.Sleep(w.every*3/4 + rand.N(w.every/2))
		}
	})
	return m
}

// leave ends a process, after its calls.
func (m *member) leave() {
	m.stop()
	m.ended.Wait()
	if err := m.fleet.Close(); err != nil {
		m.w.t.Error(err)
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.w.all = slices.DeleteFunc(m.w.all, func(o *member) bool { return o == m })
}

func (w *world) end() {
	var leaving sync.WaitGroup
	for _, m := range w.members() {
		leaving.Go(m.leave)
	}
	leaving.Wait()
}

func (w *world) members() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func (m *member) Name() string { return "acme/one" }

// changed keeps when a circuit has opened.
func (m *member) changed(_ *endpoint.Endpoint, t breaker.Transition) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if t.To == breaker.Open {
		m.w.opened = append(m.w.opened, time.Now())
	}
}

// closed reports whether the process' circuit is CLOSED.
func (m *member) closed() bool {
	e := m.fleet.Endpoints().Get(endpoint.KeyOf(m))
	return e.Circuit(endpoint.Options{Breaker: m.w.circuit}).State() == breaker.Closed
}

// Complete is the provider.
func (m *member) Complete(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
	w := m.w
	probe := !m.closed()
	w.mu.Lock()
	broken, here := w.broken, m.broken
	if !here {
		w.reached = append(w.reached, time.Now())
	}
	if probe {
		if w.probing++; !w.apart && !here {
			w.most = max(w.most, w.probing)
		}
	}
	w.mu.Unlock()
	defer func() {
		if probe {
			w.mu.Lock()
			w.probing--
			w.mu.Unlock()
		}
	}()
	if broken || here {
		time.Sleep(failureTime)
		return nil, &failure.Error{Kind: failure.Transient, Err: errors.New("HTTP 500")}
	}
	time.Sleep(answerTime)
	return llm.Reply("384,400 km"), nil
}

// call makes a call, and looks how long it took beyond the provider's time.
func (m *member) call() {
	began := time.Now()
	_, err := m.client.Do(context.Background(), llm.Prompt("How far is the moon?"))
	took := time.Since(began)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.w.calls++
	switch failed, _ := errors.AsType[*llmcall.Error](err); {
	case err == nil:
		took -= answerTime
	case failed != nil && failed.Reason == llmcall.ReasonProviderFailed:
		took -= failureTime
	case failed != nil && failed.Reason == llmcall.ReasonCircuitOpen:
	default:
		m.w.t.Errorf("process %d: %v", m.number, err)
	}
	m.w.longest = max(m.w.longest, took)
}

// known returns what the process knows of the circuit.
func (m *member) known() (s state, ok bool) {
	m.fleet.mu.Lock()
	var c *circuit
	for part := range m.fleet.parts {
		if p, is := part.part.(*circuit); is {
			c = p
		}
	}
	m.fleet.mu.Unlock()
	if c == nil {
		return s, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known, c.known.Generation > 0
}

// step is how often the invariants are looked at.
const step = 10 * time.Millisecond

// passes lets time pass, and looks at each step whether what must always be so is so:
// generations never fall, no more probes than allowed are under way, no call has waited for
// the fleet, and a second after a change all know it who can reach the store.
func (w *world) passes(d time.Duration) {
	w.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		time.Sleep(step)
		w.look()
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// late is when all must know of a change: the exchange of a second, and the time it takes.
const late = time.Second + 2*runTime + step

func (w *world) look() {
	w.t.Helper()
	known := map[*member]state{}
	for _, m := range w.members() {
		if s, ok := m.known(); ok {
			known[m] = s
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, s := range known {
		if s.Generation < m.generation {
			w.t.Errorf("process %d knows of generation %d, and knew of %d", m.number, s.Generation, m.generation)
		}
		m.generation = s.Generation
		if s.Generation > w.greatest {
			w.greatest, w.changed = s.Generation, time.Now()
		}
	}
	if !w.apart && time.Since(w.changed) > late {
		for m, s := range known {
			if s.Generation != w.greatest {
				w.t.Errorf("process %d knows of generation %d, %v after generation %d", m.number, s.Generation, time.Since(w.changed), w.greatest)
			}
		}
	}
	if w.most > w.circuit.HalfOpenProbes {
		w.t.Errorf("%d probes were under way at a time", w.most)
	}
	if w.longest > callWait {
		w.t.Errorf("a call has waited %v for the fleet", w.longest)
	}
}

// within lets time pass until something is so, and returns how long it took.
func (w *world) within(limit time.Duration, what string, is func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > limit {
			w.t.Fatalf("after %v not yet: %s\n%s", limit, what, w)
		}
		w.passes(step)
	}
	return time.Since(began)
}

// areClosed reports whether the circuits of all processes but some are CLOSED, and areOpen
// whether none is.
func (w *world) areClosed(but ...*member) func() bool {
	return func() bool {
		return !slices.ContainsFunc(w.members(), func(m *member) bool { return !slices.Contains(but, m) && !m.closed() })
	}
}

func (w *world) areOpen() bool { return !slices.ContainsFunc(w.members(), (*member).closed) }

// String says how many processes know what.
func (w *world) String() string {
	known := map[string]int{}
	for _, m := range w.members() {
		s, _ := m.known()
		known[fmt.Sprintf("closed %v, connected %v, knows of generation %d, %q since %q by %s", m.closed(), m.fleet.Status().Connected, s.Generation, s.State, s.Kind, s.By)]++
	}
	var text strings.Builder
	for _, what := range slices.Sorted(maps.Keys(known)) {
		fmt.Fprintf(&text, "%d: %s\n", known[what], what)
	}
	return text.String()
}

// breaks begins or ends an outage of the provider.
func (w *world) breaks(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = yes
	if yes {
		w.reached, w.opened = nil, nil
	}
}

// parts says that not all can reach the store, or that they can again.
func (w *world) parts(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart = yes
}

// begins lets the processes find each other.
func (w *world) begins() {
	w.t.Helper()
	w.within(2*time.Second, "all are connected", w.connected)
	w.passes(2 * time.Second)
}

// outage lets the provider fail for two of the circuit's recovery times. All processes must
// be told, and those who were not on the way must not reach the provider any more.
func (w *world) outage(name string) {
	w.t.Helper()
	w.breaks(true)
	known := w.within(5*time.Second, "all circuits are open", w.areOpen)
	w.passes(w.circuit.RecoveryTimeout - known - time.Second)
	w.mu.Lock()
	first := w.opened[0]
	on := 0 // on their way at the opening
	after := 0
	for _, at := range w.reached {
		switch {
		case at.After(first):
			after++
		case at.Add(failureTime).After(first):
			on++
		}
	}
	all := len(w.reached)
	w.mu.Unlock()
	if bound := w.circuit.FailureThreshold + on; w.lossy == 0 && after > bound {
		w.t.Errorf("%s: %d requests after the opening, want at most %d", name, after, bound)
	}
	w.passes(w.circuit.RecoveryTimeout + 2*time.Second)
	closed := w.recovers()
	w.t.Logf("%s: all open after %v and %d requests, %d of them after the opening; closed %v after the outage", name, known, all, after, closed)
}

// recovers ends an outage, and returns how long it takes until all circuits are closed: two
// probes one after the other, the first when its time has come and somebody calls.
func (w *world) recovers() time.Duration {
	w.t.Helper()
	w.breaks(false)
	return w.within(w.circuit.RecoveryTimeout+late+5*time.Second, "all circuits are closed", w.areClosed())
}

// connected reports whether all processes have heard of the store.
func (w *world) connected() bool {
	return !slices.ContainsFunc(w.members(), func(m *member) bool { return !m.fleet.Status().Connected })
}

// A hundred processes of one fleet, in virtual time: what must always be so is so in
// outages, with a broken machine, in rolling restarts, with a store that is lost and comes
// back, and with messages that are lost.
func TestHundredProcesses(t *testing.T) {
	hundred, some := 100, 30
	if !full() {
		hundred, some = 20, 10
	}
	if testing.Short() {
		hundred, some = 10, 6
	}
	scenario := func(name string, processes, lossy int, play func(w *world)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, processes, breaker.Config{RecoveryTimeout: 4 * time.Second}, lossy)
				defer w.end()
				w.begins()
				play(w)
				w.outage("an outage afterwards")
				w.mu.Lock()
				defer w.mu.Unlock()
				t.Logf("%d calls, of which none waited longer than %v for the fleet; %d changes of the circuit", w.calls, w.longest, w.greatest-1)
			})
		})
	}
	scenario("every message comes", hundred, 0, (*world).healthy)
	scenario("no message comes", hundred, 1, (*world).healthy)
	const lossy = 3 // in the rest, each third message is lost
	scenario("a broken machine", hundred, lossy, (*world).brokenMachine)
	scenario("rolling restarts", hundred, lossy, (*world).restarts)
	for _, loss := range losses {
		scenario("the store is "+loss.name, some, lossy, func(w *world) { w.loses(loss) })
	}
	scenario("the store is emptied while the circuit is open", hundred, lossy, (*world).emptied)
	scenario("some can't reach the store", hundred, lossy, (*world).partition)
}

// made returns how many calls were made.
func (w *world) made() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

// healthy: an exchange a second for each process, and nothing else.
func (w *world) healthy() {
	const lasts = 10 * time.Second
	before, calls := w.server.Count(), w.made()
	w.passes(lasts)
	operations, most := w.server.Count()-before, len(w.members())*int(lasts/time.Second+1)
	w.t.Logf("%d healthy calls of %d processes in %v: %d operations of the store", w.made()-calls, len(w.members()), lasts, operations)
	if operations > most {
		w.t.Errorf("%d operations, want at most %d", operations, most)
	}
}

// brokenMachine: one process fails. Its own circuit opens, and nobody else's.
func (w *world) brokenMachine() {
	bad := w.members()[7]
	breaks := func(yes bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		bad.broken = yes
	}
	breaks(true)
	took := w.within(6*time.Second, "the broken machine's circuit opens", func() bool { return !w.areClosed()() })
	for range 150 {
		w.passes(100 * time.Millisecond)
		if !w.areClosed(bad)() {
			w.t.Fatalf("one broken machine has opened the fleet's circuit\n%s", w)
		}
	}
	breaks(false)
	again := w.within(2*w.circuit.RecoveryTimeout, "its circuit closes", w.areClosed())
	w.t.Logf("a broken machine's circuit opens after %v, and closes %v after it is well", took, again)
}

// restarts: half of the processes are replaced one after the other while the provider fails.
// Who joins adopts the circuit.
func (w *world) restarts() {
	w.breaks(true)
	w.within(5*time.Second, "all circuits are open", w.areOpen)
	members := w.members()
	for _, m := range members[:len(members)/2] {
		w.join()
		m.leave()
		w.passes(200 * time.Millisecond)
	}
	w.t.Logf("closed %v after the outage", w.recovers())
}

// A loss is a way in which the store is not there for a while.
type loss struct {
	name      string
	lose, end func(*lua.Server)
}

var losses = []loss{
	{"down", func(s *lua.Server) { s.Down(true) }, func(s *lua.Server) { s.Down(false) }},
	{"hung", func(s *lua.Server) { s.Hang(true) }, func(s *lua.Server) { s.Hang(false) }},
	{"slow", func(s *lua.Server) { s.Latency(400 * time.Millisecond) }, func(s *lua.Server) { s.Latency(runTime) }},
	{"down, and empty afterwards", func(s *lua.Server) { s.Down(true) }, func(s *lua.Server) {
		s.Flush()
		s.Down(false)
	}},
}

// loses: the store is not there when the provider begins to fail, and comes back meanwhile.
func (w *world) loses(l loss) {
	w.parts(true)
	l.lose(w.server)
	w.passes(time.Second)
	w.breaks(true)
	w.within(20*time.Second, "all circuits are open", w.areOpen)
	w.passes(2 * time.Second)
	l.end(w.server)
	back := w.within(6*time.Second, "all are connected", w.connected)
	w.passes(2 * late)
	w.parts(false)
	w.t.Logf("all are connected %v after the store is back; closed %v after the outage", back, w.recovers())
}

// emptied: a store that has lost everything is told of the circuit by those who know it.
func (w *world) emptied() {
	w.breaks(true)
	w.within(5*time.Second, "all circuits are open", w.areOpen)
	w.mu.Lock()
	greatest := w.greatest
	w.mu.Unlock()
	w.server.Flush()
	w.passes(2 * late)
	if !w.areOpen() {
		w.t.Errorf("circuits have closed\n%s", w)
	}
	w.join()
	w.passes(late)
	if !w.areOpen() {
		w.t.Errorf("who joins does not adopt the circuit\n%s", w)
	}
	w.mu.Lock()
	if w.greatest != greatest {
		w.t.Errorf("generation %d, want %d still", w.greatest, greatest)
	}
	w.mu.Unlock()
	w.recovers()
}

// partition: a tenth of the processes can't reach the store, and go on alone; an outage comes
// and goes. The others are a fleet as before.
func (w *world) partition() {
	members := w.members()
	cut := members[:len(members)/10]
	w.parts(true)
	for _, m := range cut {
		m.store.Down(true)
	}
	w.passes(time.Second)
	w.breaks(true)
	w.within(20*time.Second, "all circuits are open", w.areOpen)
	w.passes(time.Second)
	w.breaks(false)
	w.within(2*w.circuit.RecoveryTimeout+10*time.Second, "all circuits are closed", w.areClosed())
	for _, m := range cut {
		m.store.Down(false)
	}
	w.within(6*time.Second, "all are connected", w.connected)
	w.passes(2 * late)
	w.parts(false)
}

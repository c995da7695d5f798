package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/fleet/internal/store/redis"
	"llmcall/internal/servers"
)

// What the processes of a fleet ask of the store at once must come out as if they had asked
// one after another of one circuit, in an order that agrees with what each of them was told
// before it asked (M. Herlihy, J. Wing, "Linearizability", 1990). Porcupine looks for such an
// order. What the circuit does is written here a second time, from what the package
// says: it opens, lends probes, closes, and takes nothing that comes late.

// inquiry is an operation: a question to the store, and what it said.
type inquiry struct {
	question
	reply reply
	state state
	lost  bool // nobody knows whether the store has heard it, or what it said
	empty bool // the store has lost everything; there is no question
	begun int64
	ended int64
}

// book keeps what all processes have asked.
type book struct {
	mu   sync.Mutex
	all  []porcupine.Operation
	zero time.Time
	well []int64 // when the store has gone on, and has done all that it was asked before
	// late is how long a question that nobody has answered may still be on its way. 0: until
	// the end.
	late time.Duration
}

func (b *book) now() int64 { return int64(time.Since(b.zero)) }

func (b *book) note(process int, a *inquiry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, porcupine.Operation{ClientId: process, Input: a, Call: a.begun, Output: a, Return: a.ended})
}

// noting is a store that writes down what a process asks of it.
type noting struct {
	store.Store
	process int
	book    *book
}

func (n *noting) Run(ctx context.Context, calls []store.Call) []store.Result {
	begun := n.book.now()
	results := n.Store.Run(ctx, calls)
	ended := n.book.now()
	for i, c := range calls {
		if c.Script != circuitScript { // of the endpoint's rate, say
			continue
		}
		a := &inquiry{begun: begun, ended: ended}
		if err := json.Unmarshal([]byte(c.Args[0]), &a.question); err != nil {
			panic(err)
		}
		r := results[i]
		if r.Err != nil {
			a.lost, a.ended = true, math.MaxInt64/2 // it may still be on its way
			if n.book.late > 0 {
				a.ended = ended + int64(n.book.late)
			}
		} else if json.Unmarshal([]byte(r.Text), &a.reply) != nil || json.Unmarshal([]byte(a.reply.State), &a.state) != nil {
			panic(r.Text)
		}
		n.book.note(n.process, a)
	}
	return results
}

// span is when something was, by the times at which the question was asked and answered.
type span struct{ from, to int64 }

// exact is how far times in the store may be from those here: whole milliseconds.
const exact = int64(2 * time.Millisecond)

// due is how long the circuit may take to open when enough has failed, as long as somebody
// reports: it asks all processes for their answers before.
const due = int64(time.Second)

// one is the circuit of all processes, as one breaker that knows who reports.
type one struct {
	breaker.Config
	reporters int // how many processes must have failed

	generation uint64
	open       bool
	failures   []string          // the processes of those in this generation
	heard      map[string]uint64 // the number of each process' last report
	lent       map[string]span   // the probes under way, and when they were lent
	ofThis     map[string]bool   // the probes that were lent in this generation
	passed     int
	until      span   // OPEN: when it admits a probe
	enough     int64  // CLOSED: since when there were enough failures; 0: there are not
	emptied    bool   // the store was, once
	same       string // its key, once it is part of an order
}

func (c one) clone() one {
	c.failures, c.heard, c.lent, c.ofThis = slices.Clone(c.failures), cloned(c.heard), cloned(c.lent), cloned(c.ofThis)
	return c
}

func cloned[V any](m map[string]V) map[string]V {
	n := make(map[string]V, len(m)+1)
	for k, v := range m {
		n[k] = v
	}
	return n
}

// key is the same for equal circuits.
func (c one) key() string {
	return fmt.Sprint(c.generation, c.open, c.failures, c.heard, c.lent, c.ofThis, c.passed, c.until, c.enough, c.emptied)
}

// turn begins another state.
func (c one) turn(open bool, at span) one {
	c = c.clone()
	c.generation++
	c.open, c.failures, c.lent, c.ofThis, c.passed, c.enough = open, nil, nil, nil, 0, 0
	if open {
		c.until = span{at.from + int64(c.RecoveryTimeout) - exact, at.to + int64(c.RecoveryTimeout) + exact}
	}
	return c
}

// full reports whether enough failures have come, of enough processes, among some.
func (c one) full(failures []string) bool {
	return len(failures) >= c.FailureThreshold && len(slices.Compact(slices.Sorted(slices.Values(failures)))) >= c.reporters
}

// step returns what can have become of the circuit by a question that was asked and answered
// as it was. It is nothing if the answer is wrong.
func (c one) step(a *inquiry) []one {
	if a.empty {
		fresh := one{Config: c.Config, reporters: c.reporters, emptied: true}
		return []one{fresh}
	}
	possible := c.after(a)
	if a.lost {
		return append(possible, c)
	}
	return slices.DeleteFunc(possible, func(c one) bool {
		return c.generation != a.state.Generation || c.open != (a.state.State == stateOpen)
	})
}

func (c one) after(a *inquiry) []one {
	at := span{a.begun, a.ended}
	c = c.clone()
	g := a.Generation
	switch {
	case g > c.generation && (c.emptied || c.generation == 0 && g == 1): // who knows more than the store tells it
		c.generation, c.open, c.failures, c.lent, c.ofThis, c.passed, c.enough = g, a.State == stateOpen, nil, nil, nil, 0, 0
		left := a.Left * int64(time.Millisecond)
		c.until = span{at.from + left - exact, at.to + left + exact}
	case c.generation == 0:
		c.generation = 1
		g = max(g, 1)
	case g == 0:
		g = c.generation // who joins adopts the circuit
	}
	mayProbe, mustProbe := at.to >= c.until.from, at.from > c.until.to
	switch a.Op {
	case "report":
		return c.report(a, g, at, mayProbe, mustProbe)
	case "probe":
		return c.probe(a, g, at, mayProbe, mustProbe)
	case "probed":
		return c.probed(a, g, at)
	}
	panic(a.Op)
}

func (c one) report(a *inquiry, g uint64, at span, mayProbe, mustProbe bool) []one {
	failures := a.Failures
	if c.heard == nil {
		c.heard = map[string]uint64{}
	}
	if c.heard[a.Me] >= a.Sequence { // it was said again because nobody had answered
		failures = nil
	}
	if len(failures) > 0 {
		c.heard[a.Me] = a.Sequence
	}
	if g != c.generation {
		return []one{c} // late
	}
	if c.open {
		var possible []one
		switch {
		case mayProbe && a.Recovered: // a process without the store has closed by its own probes
			possible = append(possible, c.turn(false, at))
		case mayProbe && len(failures) > 0: // a probe has been accepted, and its answer has broken off
			possible = append(possible, c.turn(true, at))
		}
		if !mustProbe || len(possible) == 0 {
			possible = append(possible, c)
		}
		return possible
	}
	for range failures {
		c.failures = append(c.failures, a.Me)
	}
	if !c.full(c.failures) {
		return []one{c}
	}
	possible := []one{c.turn(true, at)}
	if c.enough == 0 && c.full(c.failures[len(c.failures)-c.FailureThreshold:]) {
		c.enough = at.to
	}
	if c.enough == 0 || at.from < c.enough+due {
		possible = append(possible, c) // it asks all for their answers first
	}
	return possible
}

func (c one) probe(a *inquiry, g uint64, at span, mayProbe, mustProbe bool) []one {
	least, most := 0, 0 // probes under way: a lease may have ended
	for _, lent := range c.lent {
		if at.to < lent.from+int64(c.ProbeLease)-exact {
			least++
		}
		if at.from < lent.to+int64(c.ProbeLease)+exact {
			most++
		}
	}
	may := g == c.generation && c.open && mayProbe && least < c.HalfOpenProbes
	must := g == c.generation && c.open && mustProbe && most < c.HalfOpenProbes
	id := a.reply.Lease
	if a.lost {
		id = fmt.Sprint(a.Me, a.begun) // nobody knows which
	}
	lends := c.clone()
	lends.lent[id], lends.ofThis[id] = at, true
	switch lent := a.reply.Lease != ""; {
	case a.lost && may:
		return []one{lends, c}
	case lent && may:
		return []one{lends}
	case !lent && !must:
		return []one{c}
	}
	return nil // it was lent one too many, or refused one
}

func (c one) probed(a *inquiry, g uint64, at span) []one {
	if g != c.generation || !c.open {
		return []one{c} // late
	}
	known := c.ofThis[a.question.Lease]
	if !known && !c.emptied {
		return []one{c} // late too: it was lent in an earlier generation, or has ended before
	}
	counts := c.clone()
	delete(counts.lent, a.question.Lease)
	delete(counts.ofThis, a.question.Lease)
	counts = counts.ends(a.Outcome, at)
	if !known { // a store that was emptied does not know whether it has ended before
		return []one{counts, c}
	}
	return []one{counts}
}

// ends takes in how a probe has ended.
func (c one) ends(outcome string, at span) one {
	switch outcome {
	case "f":
		return c.turn(true, at)
	case "s":
		if c.passed++; c.passed == c.SuccessThreshold {
			return c.turn(false, at)
		}
	}
	return c
}

// circuitOfAll is the model for histories of one circuit.
func circuitOfAll(c breaker.Config, reporters int) porcupine.Model {
	seed := maphash.MakeSeed()
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{one{Config: c, reporters: reporters}} },
		Step: func(s, in, _ any) (next []any) {
			for _, n := range s.(one).step(in.(*inquiry)) {
				n.same = n.key()
				next = append(next, n)
			}
			return next
		},
		Equal: func(a, b any) bool { return a.(one).same == b.(one).same },
		Hash:  func(s any) uint64 { return maphash.String(seed, s.(one).same) },
	}
	return m.ToModel()
}

// stuck describes the longest beginning of an order that was found, its end alone, and the
// questions of which none can come next.
func (b *book) stuck(info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	in := map[*inquiry]bool{}
	var text strings.Builder
	for i, o := range longest {
		a := o.Input.(*inquiry)
		in[a] = true
		if i >= len(longest)-20 {
			fmt.Fprintf(&text, "process %d %v\n", o.ClientId, a)
		}
	}
	text.WriteString("after which none of these can come:\n")
	left := slices.SortedFunc(slices.Values(b.all), func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	left = slices.DeleteFunc(left, func(o porcupine.Operation) bool { return in[o.Input.(*inquiry)] })
	for _, o := range left[:min(len(left), 12)] {
		fmt.Fprintf(&text, "process %d %v\n", o.ClientId, o.Input.(*inquiry))
	}
	return text.String()
}

func (a *inquiry) String() string {
	if a.empty {
		return fmt.Sprintf("%v to %v: the store is emptied", time.Duration(a.begun), time.Duration(a.ended))
	}
	text := fmt.Sprintf("%v to %v: %s of generation %d", time.Duration(a.begun), time.Duration(a.ended), a.Op, a.Generation)
	switch a.Op {
	case "report":
		text += fmt.Sprintf(", number %d by %s, with %d failures, recovered %v", a.Sequence, a.Me, len(a.Failures), a.Recovered)
	case "probed":
		text += fmt.Sprintf(", number %d by %s, %s: %q", a.Sequence, a.Me, a.question.Lease, a.Outcome)
	}
	if a.lost {
		return text + ": lost"
	}
	return text + fmt.Sprintf(": generation %d, %q, lent %q", a.state.Generation, a.state.State, a.reply.Lease)
}

// history is what is done to a circuit and its store while it is written down.
type history struct {
	*book
	breaker.Config
	processes int
	lasts     time.Duration
	dial      func(process int) store.Store
	faults    func(ctx context.Context, random *rand.Rand) // may be nil
}

// record lets processes call, at random, and a provider fail for times.
func (h *history) record(t *testing.T, random *rand.Rand) {
	t.Helper()
	var fleets []*Fleet
	var circuits []*breaker.Breaker
	for i := range h.processes {
		f, err := open(&noting{h.dial(i), i, h.book}, Options{Secret: secretOfTests, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		fleets = append(fleets, f)
		circuits = append(circuits, f.Endpoints().Get(endpoint.Key{Name: "one"}).Circuit(endpoint.Options{Breaker: h.Config}))
	}
	for began := time.Now(); slices.ContainsFunc(fleets, func(f *Fleet) bool { return !f.Status().Connected }); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("not all processes have reached the store")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), h.lasts)
	defer cancel()
	var provider struct {
		sync.Mutex
		broken bool
	}
	var group sync.WaitGroup
	run := func(f func(*rand.Rand)) {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() { f(own) })
	}
	run(func(random *rand.Rand) {
		for ctx.Err() == nil {
			provider.Lock()
			provider.broken = !provider.broken
			provider.Unlock()
			sleep(ctx, time.Duration(20+random.IntN(100))*time.Millisecond)
		}
	})
	if h.faults != nil {
		run(func(random *rand.Rand) { h.faults(ctx, random) })
	}
	for _, b := range circuits {
		for range 2 {
			run(func(random *rand.Rand) {
				for ctx.Err() == nil {
					sleep(ctx, time.Duration(random.IntN(20))*time.Millisecond)
					pass, refusal := b.Enter()
					if refusal != nil {
						continue
					}
					sleep(ctx, time.Duration(random.IntN(4))*time.Millisecond)
					provider.Lock()
					outcome := breaker.Succeeded
					if provider.broken {
						outcome = breaker.Failed
					}
					provider.Unlock()
					if random.IntN(10) == 0 {
						outcome = breaker.Neither
					}
					if random.IntN(4) == 0 {
						pass = b.Accept(pass)
					}
					b.Leave(pass, outcome, breaker.Failure{})
				}
			})
		}
	}
	group.Wait()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// check looks for an order, and returns how many operations and changes of the circuit the
// history has; none if it could not be decided in time, since many questions were lost.
func (h *history) check(t *testing.T) (operations int, changes uint64) {
	t.Helper()
	for i, o := range h.all {
		for _, well := range h.well {
			if o.Input.(*inquiry).lost && o.Call <= well {
				h.all[i].Return, o.Input.(*inquiry).ended = well, well
				break
			}
		}
	}
	last := map[int]uint64{} // the generation that a process was told last
	ordered := slices.SortedStableFunc(slices.Values(h.all), func(a, b porcupine.Operation) int { return int(a.Return - b.Return) })
	for _, o := range ordered {
		a := o.Input.(*inquiry)
		if a.lost || a.empty {
			continue
		}
		if a.state.Generation < last[o.ClientId] {
			t.Errorf("process %d was told of generation %d, and of %d before", o.ClientId, a.state.Generation, last[o.ClientId])
		}
		last[o.ClientId] = a.state.Generation
		changes = max(changes, a.state.Generation)
	}
	result, info := porcupine.CheckOperationsVerbose(circuitOfAll(h.Config, 2), h.all, 20*time.Second)
	if result == porcupine.Unknown {
		t.Logf("a history of %d operations was not decided in time", len(h.all))
		return 0, 0
	}
	if result != porcupine.Ok {
		t.Fatalf("%v: there is no order of %d operations\n%s", result, len(h.all), h.stuck(info))
	}
	return len(h.all), changes
}

var configOfHistories = breaker.Config{
	FailureThreshold: 4, FailureRate: -1, FailureWindow: time.Hour, HalfOpenProbes: 2, SuccessThreshold: 3,
	RecoveryTimeout: 30 * time.Millisecond, ProbeLease: 300 * time.Millisecond,
}

func mustFill(t *testing.T, c breaker.Config) breaker.Config {
	t.Helper()
	c, err := c.Filled()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The histories of eight processes over the scripts in memory, with and without faults of the
// store.
func TestHistoriesAreLinearizable(t *testing.T) {
	rounds := 3
	switch {
	case full():
		rounds = 10
	case testing.Short():
		rounds = 1
	}
	config := mustFill(t, configOfHistories)
	for name, faults := range map[string]func(*history, *lua.Server) func(context.Context, *rand.Rand){
		"a store that is well": func(*history, *lua.Server) func(context.Context, *rand.Rand) { return nil },
		"a store that is emptied": func(h *history, s *lua.Server) func(context.Context, *rand.Rand) {
			return func(ctx context.Context, random *rand.Rand) {
				for ctx.Err() == nil {
					sleep(ctx, time.Duration(200+random.IntN(400))*time.Millisecond)
					begun := h.now()
					s.Flush()
					h.note(h.processes, &inquiry{empty: true, begun: begun, ended: h.now()})
				}
			}
		},
		"a store that hangs": func(h *history, s *lua.Server) func(context.Context, *rand.Rand) {
			return func(ctx context.Context, random *rand.Rand) {
				for ctx.Err() == nil {
					sleep(ctx, time.Duration(200+random.IntN(400))*time.Millisecond)
					s.Hang(true)
					sleep(ctx, time.Duration(random.IntN(400))*time.Millisecond)
					s.Hang(false)
					h.mu.Lock()
					h.well = append(h.well, h.now())
					h.mu.Unlock()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			operations, changes := 0, uint64(0)
			for decided, tries := 0, 0; decided < rounds; tries++ {
				if tries == rounds+3 {
					t.Fatal("too few histories were decided")
				}
				seed := rand.Uint64()
				var h *history
				synctest.Test(t, func(t *testing.T) {
					server := lua.New()
					server.Latency(2 * time.Millisecond)
					server.Delay(time.Millisecond)
					h = &history{
						book: &book{zero: time.Now()}, Config: config, processes: 8, lasts: 2 * time.Second,
						dial: func(int) store.Store { return server.Dial() },
					}
					h.faults = faults(h, server)
					h.record(t, rand.New(rand.NewPCG(seed, 0)))
				})
				n, c := h.check(t) // outside of the bubble, where a minute is one
				if n > 0 {
					decided++
				}
				operations, changes = operations+n, changes+c
			}
			if changes < uint64(5*rounds) {
				t.Errorf("the circuit has changed %d times in %d histories: nothing was shown", changes, rounds)
			}
			t.Logf("%d histories, %d operations, %d changes of the circuit", rounds, operations, changes)
		})
	}
}

// The same over a real server, in real time: one that is well, and one that is killed and
// starts empty.
func TestHistoriesOverRedisAreLinearizable(t *testing.T) {
	server := servers.Redis(t)
	config := mustFill(t, configOfHistories)
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restarts), func(t *testing.T) {
			server.Do("flushall")
			h := &history{
				book: &book{zero: time.Now(), late: 100 * time.Millisecond}, Config: config, processes: 4, lasts: 4 * time.Second,
				dial: func(int) store.Store {
					s, err := redis.Open(server.URL, quiet)
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
			}
			if restarts {
				h.faults = func(ctx context.Context, random *rand.Rand) {
					for range 2 {
						sleep(ctx, time.Second)
						begun := h.now()
						server.RestartEmpty()
						h.note(h.processes, &inquiry{empty: true, begun: begun, ended: h.now()})
					}
				}
			}
			h.record(t, rand.New(rand.NewPCG(rand.Uint64(), 0)))
			operations, changes := h.check(t)
			if operations > 0 && changes < 5 {
				t.Errorf("the circuit has changed %d times: nothing was shown", changes)
			}
			t.Logf("%d operations, %d changes of the circuit", operations, changes)
		})
	}
}

// The model finds what it is there to find.
func TestAHistoryThatNoOrderExplainsIsFound(t *testing.T) {
	config := mustFill(t, configOfHistories)
	config.ProbeLease = time.Hour
	ms := func(n int) int64 { return int64(n) * int64(time.Millisecond) }
	at := func(from, to int, q question, r reply, generation uint64, is string) porcupine.Operation {
		q.Failures = slices.Clone(q.Failures)
		a := &inquiry{question: q, reply: r, state: state{Generation: generation, State: is}, begun: ms(from), ended: ms(to)}
		return porcupine.Operation{Input: a, Output: a, Call: a.begun, Return: a.ended}
	}
	fails := func(from int, who string, generation uint64, sequence uint64, n int, now uint64, is string) porcupine.Operation {
		q := question{Op: "report", Me: who, Generation: generation, Sequence: sequence, Failures: make([]failed, n)}
		return at(from, from+1, q, reply{}, now, is)
	}
	probe := func(from int, generation uint64, lease string, now uint64, is string) porcupine.Operation {
		return at(from, from+1, question{Op: "probe", Generation: generation}, reply{Lease: lease}, now, is)
	}
	probed := func(from int, generation uint64, lease, outcome string, now uint64, is string) porcupine.Operation {
		q := question{Op: "probed", Generation: generation, Lease: lease, Outcome: outcome}
		return at(from, from+1, q, reply{}, now, is)
	}
	opens := []porcupine.Operation{fails(0, "a", 0, 1, 2, 1, "c"), fails(2, "b", 1, 1, 2, 2, "o")}
	after := func(more ...porcupine.Operation) []porcupine.Operation { return append(slices.Clone(opens), more...) }
	for name, test := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"four failures of two processes open":   {opens, true},
		"three failures open":                   {[]porcupine.Operation{fails(0, "a", 0, 1, 2, 1, "c"), fails(2, "b", 1, 1, 1, 2, "o")}, false},
		"failures of one process open":          {[]porcupine.Operation{fails(0, "a", 0, 1, 4, 2, "o")}, false},
		"a report counts twice":                 {[]porcupine.Operation{fails(0, "a", 0, 1, 2, 1, "c"), fails(2, "b", 1, 1, 1, 1, "c"), fails(4, "b", 1, 1, 1, 2, "o")}, false},
		"enough failures never open":            {[]porcupine.Operation{fails(0, "a", 0, 1, 2, 1, "c"), fails(2, "b", 1, 1, 2, 1, "c"), fails(2000, "b", 1, 2, 1, 1, "c")}, false},
		"a probe before its time":               {after(probe(10, 2, "1", 2, "o")), false},
		"two probes at a time":                  {after(probe(40, 2, "1", 2, "o"), probe(42, 2, "2", 2, "o")), true},
		"three probes at a time":                {after(probe(40, 2, "1", 2, "o"), probe(42, 2, "2", 2, "o"), probe(44, 2, "3", 2, "o")), false},
		"a probe is refused though one is free": {after(probe(40, 2, "1", 2, "o"), probe(42, 2, "", 2, "o")), false},
		"a probe of an earlier generation":      {after(probe(40, 1, "1", 2, "o")), false},
		"a probe fails":                         {after(probe(40, 2, "1", 2, "o"), probed(42, 2, "1", "f", 3, "o")), true},
		"a probe fails, and nothing happens":    {after(probe(40, 2, "1", 2, "o"), probed(42, 2, "1", "f", 2, "o")), false},
		"a late report opens again":             {after(fails(40, "a", 1, 2, 4, 3, "o")), false},
		"a late probe counts":                   {after(probed(40, 1, "1", "f", 3, "o")), false},
		"a probe of an earlier generation counts in a later one": {after(probe(40, 2, "1", 2, "o"), probe(42, 2, "2", 2, "o"), probed(44, 2, "1", "f", 3, "o"),
			probed(46, 3, "2", "f", 4, "o")), false},
		"a probe that was told twice counts once": {after(probe(40, 2, "1", 2, "o"), probed(42, 2, "1", "s", 2, "o"), probed(43, 2, "1", "s", 2, "o"),
			probe(44, 2, "2", 2, "o"), probed(46, 2, "2", "s", 2, "o"), probe(48, 2, "3", 2, "o"), probed(50, 2, "3", "s", 3, "c")), true},
		"two probes close, three are needed": {after(probe(40, 2, "1", 2, "o"), probed(42, 2, "1", "s", 2, "o"), probe(44, 2, "2", 2, "o"),
			probed(46, 2, "2", "s", 3, "c")), false},
		"a generation falls": {after(fails(40, "a", 2, 2, 0, 1, "c")), false},
	} {
		if got := porcupine.CheckOperations(circuitOfAll(config, 2), test.history); got != test.want {
			t.Errorf("%s: linearizable %v, want %v", name, got, test.want)
		}
	}
}

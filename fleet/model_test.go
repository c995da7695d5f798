package fleet

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store/lua"
	"llmcall/pace"
)

// A program is run by a fleet and by a model at the same time, and after each step both must
// say the same. What the fleet says is what the store has.
type program struct {
	config    breaker.Config
	reporters int
	processes int
	steps     []modelStep
}

type modelStep struct {
	gap     time.Duration // before it
	process int
	do      string
	call    int           // which of those under way, of end and accept
	told    time.Duration // how long the provider asked not to be called, of a failure
}

func (p *program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processes, MinReporters %d, %+v\n", p.processes, p.reporters, p.config)
	for i, s := range p.steps {
		fmt.Fprintf(&b, "%3d: +%v process %d %s %d told %v\n", i, s.gap, s.process, s.do, s.call, s.told)
	}
	return b.String()
}

func milliseconds(r *rapid.T, label string, of ...int) time.Duration {
	return time.Duration(rapid.SampledFrom(of).Draw(r, label)) * time.Millisecond
}

// drawModel draws a program. Times are whole milliseconds, as the store's are.
func drawModel(r *rapid.T, most int) *program {
	p := &program{processes: rapid.IntRange(1, most).Draw(r, "processes")}
	p.config = breaker.Config{
		FailureThreshold: rapid.IntRange(1, 4).Draw(r, "threshold"),
		FailureWindow:    milliseconds(r, "window", 1000, 5000, 60_000),
		FailureRate:      rapid.SampledFrom([]float64{-1, 0.5, 0.8, 1}).Draw(r, "rate"),
		RecoveryTimeout:  milliseconds(r, "recovery", 1, 1000, 30_000),
		RecoveryFactor:   rapid.SampledFrom([]float64{1, 2}).Draw(r, "factor"),
		TripTimeout:      milliseconds(r, "trip", 2000, 40_000),
		MaxOpen:          milliseconds(r, "most", 30_000, 100_000),
		HalfOpenProbes:   rapid.IntRange(1, 3).Draw(r, "probes"),
		SuccessThreshold: rapid.IntRange(1, 3).Draw(r, "passes"),
		ProbeLease:       milliseconds(r, "lease", 3000, 60_000),
	}
	// The store asks all for their answers at a failure unless it did in the last 250 ms: then
	// answers of these count as later ones. So calls of which the rate decides are further apart.
	gaps := []int{300, 300, 300, 1000, 3000, 30_000}
	if p.config.FailureRate < 0 {
		gaps = append(gaps, 0, 0, 1, 10)
	}
	for range rapid.IntRange(1, 60).Draw(r, "steps") {
		p.steps = append(p.steps, modelStep{
			gap:     milliseconds(r, "gap", gaps...),
			process: rapid.IntRange(0, p.processes-1).Draw(r, "process"),
			do: rapid.SampledFrom([]string{
				"fail", "fail", "fail", "succeed", "succeed", "trip", "begin", "begin", "end ok", "end failed", "accept", "ignore", "wait",
			}).Draw(r, "do"),
			call: rapid.IntRange(0, 5).Draw(r, "call"),
			told: milliseconds(r, "told", 0, 0, 0, 5000, 200_000),
		})
	}
	return p
}

// underWay is a call that both have admitted.
type underWay struct {
	process *process
	held    []endpoint.Permit
	pass    breaker.Pass
	began   time.Time
	state   uint64 // of the one breaker, when it was admitted or accepted
}

// both is a fleet and one breaker that gets the same calls.
type both struct {
	*program
	all  []*process
	one  *breaker.Breaker
	used []*underWay
}

func (p *program) start(t *testing.T, server *lua.Server) ([]*process, error) {
	var all []*process
	for range p.processes {
		client := server.Dial()
		f, err := open(client, Options{Secret: secretOfTests, Log: quiet, MinReporters: p.reporters})
		if err != nil {
			return all, err
		}
		q := &process{t: t, fleet: f, client: client}
		q.of(endpoint.Key{Model: "acme/m"}, endpoint.Options{Breaker: p.config, NoBudget: true, NoPacer: true})
		all = append(all, q)
	}
	// All have met, and the next steps are at whole milliseconds.
	time.Sleep(2 * time.Second)
	synctest.Wait()
	return all, nil
}

// fleetState returns what the store says, and the moment at which it admits a probe.
func fleetState(all []*process) (Circuit, error) {
	list, err := all[0].fleet.Circuits(context.Background())
	if err != nil || len(list) != 1 {
		return Circuit{}, fmt.Errorf("circuits %v, %v", list, err)
	}
	return list[0], nil
}

// outcomeOf returns how a call ends.
func outcomeOf(effect failure.Effect, began time.Time, told time.Duration) endpoint.Outcome {
	o := endpoint.Outcome{Effect: effect}
	if effect == failure.Count || effect == failure.Trip {
		o.Kind, o.Err = failure.Transient, errProvider
		o.Report = &endpoint.Report{Lasted: time.Since(began), Told: &pace.Told{Wait: told, HasWait: told > 0}}
	}
	return o
}

// generation of the one breaker: a call that ends in a later one does not count.
func (x *both) generation() uint64 { return x.one.Snapshot().Generation }

// own reports whether the circuit of a process is OPEN or HALF_OPEN by its own failures.
func own(p *process, fleet breaker.State) bool {
	return fleet == breaker.Closed && p.b.State() != breaker.Closed
}

// begin begins a call in a process, and with the one breaker.
func (x *both) begin(p *process) (*underWay, error) {
	c, err := fleetState(x.all)
	if err != nil {
		return nil, err
	}
	byItself := own(p, c.State)
	held, refusal := p.begin()
	if refusal != nil && byItself {
		return nil, nil // as designed; the others and the one breaker never hear of it
	}
	pass, no := x.one.Enter()
	if (refusal == nil) != (no == nil) {
		return nil, fmt.Errorf("the fleet's refusal is %v, that of one breaker %v", refusal, no)
	}
	if refusal != nil {
		return nil, nil
	}
	return &underWay{process: p, held: held, pass: pass, began: time.Now(), state: x.generation()}, nil
}

// end ends a call. An answer to a call of an earlier state is no answer for one breaker; for a
// fleet, which counts the answers of an endpoint, it is one. So such calls end otherwise here.
func (x *both) end(u *underWay, effect failure.Effect, told time.Duration) {
	if u.state != x.generation() {
		effect = failure.Ignore
	}
	o := outcomeOf(effect, u.began, told)
	u.process.end(u.held, o)
	f := breaker.Failure{Cause: breaker.Cause{Kind: failure.Transient.String()}, Lasted: time.Since(u.began), AskedFor: told}
	switch effect {
	case failure.Healthy:
		x.one.Leave(u.pass, breaker.Succeeded, f)
	case failure.Count:
		x.one.Leave(u.pass, breaker.Failed, f)
	case failure.Trip:
		x.one.Leave(u.pass, breaker.Tripped, f)
	default:
		x.one.Leave(u.pass, breaker.Neither, f)
	}
}

func (x *both) accept(u *underWay) {
	if u.state != x.generation() || x.one.State() == breaker.Closed {
		return
	}
	for i, g := range u.process.guards {
		u.held[i] = g.Accept(u.held[i], nil)
	}
	u.pass = x.one.Accept(u.pass)
	// If that closed the circuit, what follows is late for a fleet, of which the process has
	// not heard yet. So it is left out.
}

// wait waits for a probe in a process, and with the one breaker.
func (x *both) wait(p *process, d time.Duration) error {
	c, err := fleetState(x.all)
	if err != nil || own(p, c.State) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	type result struct {
		pass breaker.Pass
		err  error
		at   time.Time
	}
	results := make([]result, 2)
	for i, b := range []*breaker.Breaker{p.b, x.one} {
		go func() {
			pass, err := b.Wait(ctx)
			results[i] = result{pass, err, time.Now()}
		}()
	}
	time.Sleep(d)
	synctest.Wait()
	fleet, one := results[0], results[1]
	// The store's times are whole milliseconds, and that of an exchange is not.
	if fmt.Sprintf("%T", fleet.err) != fmt.Sprintf("%T", one.err) || fleet.at.Sub(one.at).Abs() > time.Millisecond {
		return fmt.Errorf("a wait of the fleet ended at %v with %v, with one breaker at %v with %v", fleet.at, fleet.err, one.at, one.err)
	}
	if one.err == nil {
		p.b.Leave(fleet.pass, breaker.Neither, breaker.Failure{})
		x.one.Leave(one.pass, breaker.Neither, breaker.Failure{})
	}
	return nil
}

func (x *both) step(s modelStep) error {
	p := x.all[s.process]
	var effect failure.Effect
	switch s.do {
	case "succeed":
		effect = failure.Healthy
	case "fail":
		effect = failure.Count
	case "trip":
		effect = failure.Trip
	case "wait":
		return x.wait(p, 20*time.Second)
	case "begin":
		u, err := x.begin(p)
		if u != nil {
			x.used = append(x.used, u)
		}
		return err
	default: // of a call under way
		if len(x.used) == 0 {
			return nil
		}
		i := s.call % len(x.used)
		u := x.used[i]
		if s.do == "accept" {
			x.accept(u)
			return nil
		}
		x.used = append(x.used[:i:i], x.used[i+1:]...)
		x.end(u, map[string]failure.Effect{"end ok": failure.Healthy, "end failed": failure.Count, "ignore": failure.Ignore}[s.do], s.told)
		return nil
	}
	u, err := x.begin(p)
	if u != nil {
		x.end(u, effect, s.told)
	}
	return err
}

// same compares the store, and each process, with the one breaker.
func (x *both) same() error {
	c, err := fleetState(x.all)
	if err != nil {
		return err
	}
	one := x.one.Snapshot()
	if c.State != one.State || c.RetryIn != one.RetryIn {
		return fmt.Errorf("the fleet is %v for %v, one breaker %v for %v", c.State, c.RetryIn, one.State, one.RetryIn)
	}
	for i, p := range x.all {
		got := p.b.Snapshot()
		switch {
		case own(p, c.State):
		case got.State != c.State || got.RetryIn != c.RetryIn:
			return fmt.Errorf("process %d is %v for %v, the fleet %v for %v", i, got.State, got.RetryIn, c.State, c.RetryIn)
		case got.Openings != one.Openings && got.State != breaker.Closed:
			return fmt.Errorf("process %d has %d openings, one breaker %d", i, got.Openings, one.Openings)
		}
	}
	return nil
}

func (p *program) runAsOne(t *testing.T) (err error) {
	server := lua.New()
	all, err := p.start(t, server)
	defer func() { stop(all) }()
	if err != nil {
		return err
	}
	one, err := breaker.New("one", p.config)
	if err != nil {
		return err
	}
	x := &both{program: p, all: all, one: one}
	for i, s := range p.steps {
		time.Sleep(s.gap)
		synctest.Wait()
		err := x.step(s)
		synctest.Wait()
		if err == nil {
			err = x.same()
		}
		if err != nil {
			return fmt.Errorf("step %d (%s of process %d): %w\n%v", i, s.do, s.process, err, p)
		}
	}
	return nil
}

// With one reporter enough, a fleet is one breaker that gets the calls of all. What the design
// has otherwise is left out of the programs: answers to calls of an earlier state; answers that
// have begun and not ended while the circuit is CLOSED, which are answers for a fleet; what
// happens to a call after its first piece has closed the circuit; the order of answers within
// 250 ms; fractions of a millisecond. And the circuit of a process that is OPEN by its own
// failures, while others are answered, refuses its calls.
func TestFleetIsOneBreaker(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := drawModel(r, 6)
		p.reporters = 1
		var err error
		synctest.Test(t, func(t *testing.T) { err = p.runAsOne(t) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

// seenFailure is a failure as the naive model keeps it.
type seenFailure struct {
	at      time.Time
	lasted  time.Duration
	process int
	trip    bool
	answers int // of all, before it
}

// naiveFleet is the circuit of a fleet as the issue tells it: it opens when FailureThreshold
// failures lie in FailureWindow over all processes, with the rate as in one, and from at least
// MinReporters of them: two, or a tenth of those seen, or one if it is alone.
type naiveFleet struct {
	breaker.Config
	processes int
	failures  []seenFailure
	answers   int
}

func (n *naiveFleet) least() int {
	if n.processes == 1 {
		return 1
	}
	return min(max(2, int(math.Ceil(float64(n.processes)/10))), n.processes)
}

// fails reports whether a failure opens the circuit.
func (n *naiveFleet) fails(f seenFailure) bool {
	f.answers = n.answers
	n.failures = append(n.failures, f)
	// As many are kept as are needed when only some processes fail.
	n.failures = n.failures[max(0, len(n.failures)-n.FailureThreshold-4*n.least()):]
	from, tripped := map[int]bool{}, map[int]bool{}
	longest := time.Duration(0)
	for i := len(n.failures) - 1; i >= 0; i-- {
		g := n.failures[i]
		longest = max(longest, g.lasted)
		lies := f.at.Sub(g.at) <= max(n.FailureWindow, time.Duration(n.FailureThreshold)*longest)
		from[g.process] = true
		if g.trip && lies {
			tripped[g.process] = true
		}
		count := len(n.failures) - i
		switch {
		case len(tripped) >= n.least():
			return true
		case count >= n.FailureThreshold && len(from) >= n.least():
			return lies && (n.FailureRate < 0 || float64(count)/float64(count+n.answers-g.answers) >= n.FailureRate)
		}
	}
	return false
}

func (p *program) runNaive(t *testing.T) error {
	server := lua.New()
	all, err := p.start(t, server)
	defer func() { stop(all) }()
	if err != nil {
		return err
	}
	full, err := p.config.Filled()
	if err != nil {
		return err
	}
	n := &naiveFleet{Config: full, processes: p.processes}
	opened := 0
	for i, s := range p.steps {
		time.Sleep(s.gap)
		synctest.Wait()
		q := all[s.process]
		held, refusal := q.begin()
		if refusal != nil {
			continue // its own circuit
		}
		opens := false
		if s.do == "succeed" || s.do == "accept" || s.do == "end ok" {
			q.end(held, success)
			n.answers++
		} else {
			trip := s.do == "trip"
			o := outcomeOf(failure.Count, time.Now().Add(-s.told/100), 0)
			if trip {
				o.Effect = failure.Trip
			}
			q.end(held, o)
			opens = n.fails(seenFailure{at: time.Now(), lasted: s.told / 100, process: s.process, trip: trip})
		}
		synctest.Wait()
		time.Sleep(200 * time.Millisecond) // a process that counts is waited for
		synctest.Wait()
		c, err := fleetState(all)
		if err != nil {
			return err
		}
		if open := c.State != breaker.Closed; open != opens {
			return fmt.Errorf("step %d (%s of process %d): the fleet is %v, the model says OPEN: %v\n%+v\n%v", i, s.do, s.process, c.State, opens, n.failures, p)
		}
		if !opens {
			continue
		}
		opened++
		if _, err := all[0].fleet.Reset(context.Background(), c.ID); err != nil {
			return err
		}
		synctest.Wait()
		for i, p := range all {
			if p.b.State() != breaker.Closed {
				return fmt.Errorf("process %d is %v after a reset", i, p.b.State())
			}
		}
		n.failures = nil
	}
	return nil
}

func TestFleetIsWhatTheIssueSays(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := drawModel(r, 6)
		var err error
		synctest.Test(t, func(t *testing.T) { err = p.runNaive(t) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

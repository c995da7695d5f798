package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store/lua"
)

// chaos is a program of calls while the store, the way to it and processes fail.
type chaos struct {
	config  breaker.Config
	latency time.Duration
	steps   []chaosStep
}

type chaosStep struct {
	gap     time.Duration
	process int
	do      string
	call    int
}

func (c *chaos) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "latency %v, %+v\n", c.latency, c.config)
	for i, s := range c.steps {
		fmt.Fprintf(&b, "%3d: +%v process %d %s %d\n", i, s.gap, s.process, s.do, s.call)
	}
	return b.String()
}

const chaosProcesses = 4

func drawChaos(r *rapid.T) *chaos {
	c := &chaos{latency: rapid.SampledFrom([]time.Duration{0, 200 * time.Microsecond, 3 * time.Millisecond, 40 * time.Millisecond}).Draw(r, "latency")}
	c.config = breaker.Config{
		FailureThreshold: rapid.IntRange(1, 3).Draw(r, "threshold"), FailureRate: -1,
		RecoveryTimeout:  milliseconds(r, "recovery", 100, 1500, 10_000),
		HalfOpenProbes:   rapid.IntRange(1, 3).Draw(r, "probes"),
		SuccessThreshold: rapid.IntRange(1, 3).Draw(r, "passes"),
		ProbeLease:       milliseconds(r, "lease", 3000, 20_000),
	}
	for range rapid.IntRange(1, 80).Draw(r, "steps") {
		c.steps = append(c.steps, chaosStep{
			gap:     milliseconds(r, "gap", 0, 1, 10, 300, 300, 1000, 2500, 10_000),
			process: rapid.IntRange(0, chaosProcesses-1).Draw(r, "process"),
			do: rapid.SampledFrom([]string{
				"fail", "fail", "fail", "fail", "succeed", "succeed", "trip", "begin", "begin", "begin", "end ok", "end ok", "end failed", "accept",
				"down", "hang", "up", "up", "flush", "mute", "cut", "mend", "stop", "force", "reset", "reset here",
			}).Draw(r, "do"),
			call: rapid.IntRange(0, 5).Draw(r, "call"),
		})
	}
	return c
}

// lentProbe is a probe that was lent by the store.
type lentProbe struct {
	call       *underWay
	generation uint64
	at         time.Time
}

type chaosRun struct {
	*chaos
	t           *testing.T
	server      *lua.Server
	all         []*process
	calls       []*underWay
	probes      []lentProbe
	generations map[*circuit]uint64
	trouble     time.Time // until then the store can't be held to its word
}

// circuitOf returns the circuit of a process.
func circuitOfProcess(p *process) *circuit {
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	for s := range p.fleet.parts {
		if c, ok := s.part.(*circuit); ok {
			return c
		}
	}
	return nil
}

func (x *chaosRun) join(i int) error {
	client := x.server.Dial()
	f, err := open(client, Options{Secret: secretOfTests, Log: quiet})
	if err != nil {
		return err
	}
	p := &process{t: x.t, fleet: f, client: client}
	p.of(endpoint.Key{Model: "acme/m"}, endpoint.Options{Breaker: x.config, NoBudget: true, NoPacer: true})
	x.all[i] = p
	return nil
}

// troubled says that what was lent may be more or less than what the store knows, until every
// process has reached it again and told what it holds.
func (x *chaosRun) troubled() { x.trouble = time.Now().Add(mostRetry + 2*exchangeEvery) }

func (x *chaosRun) begin(p *process) (*underWay, error) {
	c := circuitOfProcess(p)
	c.mu.Lock()
	lent := !c.lost && c.known.State == stateOpen
	generation := c.known.Generation
	c.mu.Unlock()
	lent = lent && p.b.State() == breaker.HalfOpen
	began := time.Now()
	held, refusal := p.begin()
	if took := time.Since(began); took > callWait {
		return nil, fmt.Errorf("a call waited %v for the store", took)
	}
	if refusal != nil {
		return nil, nil
	}
	u := &underWay{process: p, held: held, began: time.Now()}
	c.mu.Lock()
	lent = lent && !c.lost && c.known.Generation == generation
	c.mu.Unlock()
	if !lent {
		return u, nil
	}
	x.probes = append(x.probes, lentProbe{u, generation, time.Now()})
	return u, x.atMost(generation)
}

// atMost checks that no more probes are under way than are allowed.
func (x *chaosRun) atMost(generation uint64) error {
	n := 0
	for _, p := range x.probes {
		if p.generation == generation && p.at.After(x.trouble) && time.Since(p.at) < x.config.ProbeLease {
			n++
		}
	}
	if time.Now().After(x.trouble) && n > x.config.HalfOpenProbes {
		return fmt.Errorf("%d probes are under way", n)
	}
	return nil
}

func (x *chaosRun) end(u *underWay, effect failure.Effect) error {
	x.free(u)
	began := time.Now()
	u.process.end(u.held, outcomeOf(effect, u.began, 0))
	if took := time.Since(began); took > 0 {
		return fmt.Errorf("the end of a call waited %v", took)
	}
	return nil
}

func (x *chaosRun) free(u *underWay) {
	for i, p := range x.probes {
		if p.call == u {
			x.probes = append(x.probes[:i:i], x.probes[i+1:]...)
			return
		}
	}
}

func (x *chaosRun) step(s chaosStep) error {
	p := x.all[s.process]
	switch s.do {
	case "fail", "succeed", "trip":
		u, err := x.begin(p)
		if u == nil || err != nil {
			return err
		}
		return x.end(u, map[string]failure.Effect{"fail": failure.Count, "succeed": failure.Healthy, "trip": failure.Trip}[s.do])
	case "begin":
		u, err := x.begin(p)
		if u != nil {
			x.calls = append(x.calls, u)
		}
		return err
	case "end ok", "end failed", "accept":
		if len(x.calls) == 0 {
			return nil
		}
		i := s.call % len(x.calls)
		u := x.calls[i]
		if s.do == "accept" {
			x.free(u)
			for i, g := range u.process.guards {
				u.held[i] = g.Accept(u.held[i], nil)
			}
			return nil
		}
		x.calls = append(x.calls[:i:i], x.calls[i+1:]...)
		return x.end(u, map[string]failure.Effect{"end ok": failure.Healthy, "end failed": failure.Count}[s.do])
	case "force", "reset":
		ctx, cancel := context.WithTimeout(x.t.Context(), time.Second)
		defer cancel()
		list, err := p.fleet.Circuits(ctx)
		if err == nil && len(list) == 1 && s.do == "force" {
			_, _ = p.fleet.Force(ctx, list[0].ID, []breaker.State{breaker.Open, breaker.Closed}[s.call%2], "a test")
		} else if err == nil && len(list) == 1 {
			_, _ = p.fleet.Reset(ctx, list[0].ID)
		}
		return nil
	case "reset here":
		p.b.Reset()
		x.troubled()
		return nil
	}
	x.troubled()
	switch s.do {
	case "down":
		x.server.Down(true)
	case "hang":
		x.server.Hang(true)
	case "up":
		x.server.Down(false)
		x.server.Hang(false)
		x.server.Mute(false)
	case "flush":
		x.server.Flush()
	case "mute":
		x.server.Mute(true)
	case "cut":
		p.client.Down(true)
	case "mend":
		p.client.Down(false)
	case "stop": // and another one takes its place
		p.fleet.Close()
		return x.join(s.process)
	}
	return nil
}

// never checks that no generation has fallen.
func (x *chaosRun) never() error {
	for i, p := range x.all {
		c := circuitOfProcess(p)
		c.mu.Lock()
		now := c.known.Generation
		c.mu.Unlock()
		if was := x.generations[c]; now < was {
			return fmt.Errorf("generation %d of process %d has fallen to %d", was, i, now)
		}
		x.generations[c] = now
	}
	return nil
}

// agree checks that all processes know what the store has, and that their circuits are it,
// except those that are OPEN by their own failures.
func (x *chaosRun) agree() error {
	list, err := x.all[0].fleet.Circuits(x.t.Context())
	if err != nil || len(list) != 1 {
		return fmt.Errorf("circuits %v, %v", list, err)
	}
	fleet := list[0]
	for i, p := range x.all {
		c := circuitOfProcess(p)
		c.mu.Lock()
		known, lost := c.known, c.lost
		c.mu.Unlock()
		s := p.b.Snapshot()
		switch {
		case lost || !p.fleet.Status().Connected:
			return fmt.Errorf("process %d is alone", i)
		case known.Generation != fleet.Generation:
			return fmt.Errorf("process %d knows generation %d, the store has %d", i, known.Generation, fleet.Generation)
		case fleet.State == breaker.Closed && !fleet.Forced && s.State != breaker.Closed && !s.Forced: // its own
		case s.State != fleet.State || s.Forced != fleet.Forced:
			return fmt.Errorf("process %d is %v (forced: %v), the store %v (forced: %v), known %+v", i, s.State, s.Forced, fleet.State, fleet.Forced, known)
		}
	}
	return nil
}

func (c *chaos) run(t *testing.T) error {
	x := &chaosRun{chaos: c, t: t, server: lua.New(), all: make([]*process, chaosProcesses), generations: map[*circuit]uint64{}}
	x.server.Latency(c.latency)
	x.server.Delay(c.latency)
	defer func() {
		x.server.Hang(false)
		for _, p := range x.all {
			if p != nil {
				p.fleet.Close()
			}
		}
	}()
	for i := range x.all {
		if err := x.join(i); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	for i, s := range c.steps {
		time.Sleep(s.gap)
		synctest.Wait()
		err := x.step(s)
		synctest.Wait()
		if err == nil {
			err = x.never()
		}
		if err != nil {
			return fmt.Errorf("step %d (%s of process %d): %w\n%v", i, s.do, s.process, err, c)
		}
	}
	x.server.Down(false)
	x.server.Hang(false)
	x.server.Mute(false)
	for _, p := range x.all {
		p.client.Down(false)
	}
	time.Sleep(mostRetry + 2*time.Second)
	synctest.Wait()
	if err := x.agree(); err != nil {
		return fmt.Errorf("after all is well again: %w\n%v", err, c)
	}
	return x.heal()
}

// heal ends the calls under way and sends probes until the circuit is CLOSED: nothing that was
// lost keeps it from that.
func (x *chaosRun) heal() error {
	list, err := x.all[0].fleet.Circuits(x.t.Context())
	if err != nil || list[0].Forced {
		return err
	}
	for _, u := range x.calls {
		if err := x.end(u, failure.Ignore); err != nil {
			return err
		}
	}
	for i := range 400 {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		u, err := x.begin(x.all[i%chaosProcesses])
		if err != nil {
			return err
		}
		if u != nil {
			if err := x.end(u, failure.Healthy); err != nil {
				return err
			}
		}
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	for i, p := range x.all {
		if p.b.State() != breaker.Closed {
			return fmt.Errorf("process %d is %v after 40 s of health: %+v\n%v", i, p.b.State(), p.b.Snapshot(), x.chaos)
		}
	}
	return x.agree()
}

func TestFleetHolds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := drawChaos(r)
		var err error
		synctest.Test(t, func(t *testing.T) { err = c.run(t) })
		if err != nil {
			r.Fatal(err)
		}
	})
}

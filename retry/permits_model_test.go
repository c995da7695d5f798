package retry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// desk keeps the books of all permits of one call.
type desk struct {
	chance  *rand.Rand
	refuses float64
	lent    map[int64]*spy // not yet settled
	last    int64
	guards  int
	under   bool // a request is under way
	settled int  // permits settled of this request
	ends    bool // by Goexit: then the request counts as not made
	wrong   string
}

func (d *desk) forbid(format string, args ...any) {
	if d.wrong == "" {
		d.wrong = fmt.Sprintf(format, args...)
	}
}

// spy is a guard that lends and refuses by chance.
type spy struct {
	*desk
	name string
	rank int // in the order in which it must be asked
}

func (g *spy) lend() (endpoint.Permit, *endpoint.Refusal) {
	if g.chance.Float64() < g.refuses {
		kind := []failure.Kind{failure.RateLimited, failure.CircuitOpen, failure.RetryBudgetSpent, failure.AccountSpent}[g.chance.IntN(4)]
		refusal := &endpoint.Refusal{Kind: kind, Err: fail(kind)}
		if g.chance.IntN(4) > 0 {
			refusal.Until = time.Now().Add(time.Duration(g.chance.IntN(5000)) * time.Millisecond)
		}
		return endpoint.Permit{}, refusal
	}
	g.last++
	g.desk.lent[g.last] = g
	return endpoint.Permit{N: g.last}, nil
}

func (g *spy) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if g.under {
		g.forbid("%s is asked while a request is under way", g.name)
	}
	return g.lend()
}

// Wait: "Meanwhile it holds nothing but its place in the guard's own queue."
func (g *spy) Wait(ctx context.Context, _ endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if len(g.desk.lent) > 0 {
		g.forbid("%d permits are held during a wait for %s", len(g.desk.lent), g.name)
	}
	select {
	case <-time.After(time.Duration(g.chance.IntN(3000)) * time.Millisecond):
	case <-ctx.Done():
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RateLimited, Err: ctx.Err()}
	}
	return g.lend()
}

func (g *spy) holds(p endpoint.Permit, what string) {
	if owner := g.desk.lent[p.N]; owner != g {
		g.forbid("%s %s a permit (%d) that it has not lent or that is settled", g.name, what, p.N)
	}
}

func (g *spy) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit {
	g.holds(p, "accepts")
	if !g.under {
		g.forbid("%s accepts though no request is under way", g.name)
	}
	return p
}

func (g *spy) Settle(p endpoint.Permit, o endpoint.Outcome) {
	g.holds(p, "settles")
	delete(g.desk.lent, p.N)
	if made := g.under && !g.ends; o.Made() != made {
		g.forbid("%s: settled as made %v, and was %v: %+v", g.name, o.Made(), made, o)
	}
	if g.under {
		if g.settled++; g.settled != g.rank {
			g.forbid("%s is settled as number %d", g.name, g.settled) // "asked and settled in this order"
		}
		g.under = g.settled < g.guards
	}
}

type errand struct {
	Seed     uint64
	Refuses  float64
	Targets  int
	Attempts int
	Deadline time.Duration
	Waits    bool
	Do       bool
	Ends     []int // of each request: 0 an answer, 1 and 2 a failure, 3 a panic, 4 Goexit, 5 an answer that is wrong, 6 an answer and a round
	Accepts  bool
}

func (c errand) run() string {
	d := &desk{chance: rand.New(rand.NewPCG(c.Seed, 2)), refuses: c.Refuses, lent: map[int64]*spy{}}
	own := &spy{d, "own", 1}
	var targets []retry.Target
	for n := range c.Targets {
		targets = append(targets, retry.Target{Unpaced: true, Guards: []endpoint.Guard{&spy{d, fmt.Sprint("first of ", n), 2}, &spy{d, fmt.Sprint("second of ", n), 3}}})
	}
	config := retry.Config{MaxAttempts: c.Attempts, WaitForCircuit: c.Waits, Backoff: exact}
	d.guards = 3
	if c.Do {
		d.guards, config.Target = 2, targets[0]
		targets[0].Guards[0].(*spy).rank, targets[0].Guards[1].(*spy).rank = 1, 2
	}
	policy, err := retry.New(config)
	if err != nil {
		return err.Error()
	}
	ctx := context.Background()
	if c.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Deadline)
		defer cancel()
	}
	n := 0
	request := func() (how int, err error) {
		d.under, d.settled, how = true, 0, 0
		if len(d.lent) != d.guards {
			d.forbid("a request with %d permits, want %d", len(d.lent), d.guards)
		}
		if n < len(c.Ends) {
			how = c.Ends[n]
		}
		n++
		time.Sleep(time.Duration(d.chance.IntN(2000)) * time.Millisecond)
		switch how {
		case 1:
			return how, transient
		case 2:
			return how, fail(failure.Kind(d.chance.IntN(int(failure.CircuitOpen))))
		case 3:
			panic("on purpose")
		case 4:
			d.ends = true
			runtime.Goexit()
		}
		return how, nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		if c.Do {
			_, _ = retry.Do(ctx, policy, func(context.Context, retry.Attempt) (int, error) {
				_, err := request()
				return 0, err
			})
			return
		}
		var call retry.Call
		call.Begin(ctx, policy, targets, own)
		defer call.Close()
		for call.Next() {
			for round := true; round; {
				how, err := request()
				if c.Accepts {
					call.Accepted(nil)
					call.Accepted(nil)
				}
				answered := call.Settle(endpoint.Outcome{Err: err})
				if len(d.lent) > 0 { // "after that nothing is held"
					d.forbid("%d permits are held after the request was settled", len(d.lent))
				}
				if round = answered && how == 6 && call.Round(); round {
					continue
				}
				if answered && how == 5 {
					call.Wrong(invalid)
				} else if answered {
					return
				}
			}
		}
		if call.Err() == nil {
			d.forbid("an end without an answer and without a reason")
		}
	}()
	<-done
	if len(d.lent) > 0 { // "gives back what it reserved on every way out"
		d.forbid("%d permits were never settled", len(d.lent))
	}
	return d.wrong
}

// "Each Permit is settled exactly once"; a guard "gives back what it reserved on
// every way out (cancel, panic, a wait that ended)".
func TestEachPermitIsSettledOnce(t *testing.T) {
	checks(t, 5000)
	rapid.Check(t, func(rt *rapid.T) {
		c := errand{
			Seed:     rapid.Uint64().Draw(rt, "seed"),
			Refuses:  rapid.SampledFrom([]float64{0, 0.2, 0.6}).Draw(rt, "refuses"),
			Targets:  rapid.IntRange(1, 3).Draw(rt, "targets"),
			Attempts: rapid.IntRange(0, 6).Draw(rt, "attempts"),
			Deadline: rapid.SampledFrom([]time.Duration{0, 1, 1500 * time.Millisecond, 7 * s}).Draw(rt, "deadline"),
			Waits:    rapid.Bool().Draw(rt, "waits"),
			Do:       rapid.IntRange(0, 3).Draw(rt, "do") == 0,
			Ends:     rapid.SliceOfN(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 6}), 0, 8).Draw(rt, "ends"),
			Accepts:  rapid.Bool().Draw(rt, "accepts"),
		}
		var wrong string
		synctest.Test(t, func(*testing.T) { wrong = c.run() })
		if wrong != "" {
			rt.Fatalf("%+v\n%s", c, wrong)
		}
	})
}

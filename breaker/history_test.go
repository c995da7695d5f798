package breaker

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What several goroutines do to one breaker at once must come out as if they
// had done it one after another, in an order that agrees with what each of them
// saw before it began (M. Herlihy, J. Wing, "Linearizability", 1990). Porcupine
// looks for such an order.

type action int

const (
	admit action = iota
	accept
	success
	failure
	ignore
	tripped
	trip
	forceOpen
	forceClosed
	reset
	look
)

type input struct {
	do   action
	call int // which call the operation is part of, or noCall
}

// An output is what an operation said: admit, whether it refused the call and in
// which state; look, everything.
type output struct {
	refused bool
	state   State
	seen    view
}

// A view is what of a Snapshot does not depend on the time.
type view struct {
	state                              State
	forced                             bool
	generation                         uint64
	failures, probes, passed, openings int
}

const (
	callsInAHistory = 24
	noCall          = 31
)

// spec is the breaker as a sequential machine, without time: an OPEN circuit is
// HALF_OPEN at once, or never. It keeps nothing that can't matter any more,
// because the search goes through as many states as it can tell apart.
type spec struct {
	view
	since   [3]int // successes since each of the last failures, the latest last
	calls   uint32 // under way, and admitted in this generation
	probing uint32 // those of them that are probes, and have not passed
}

func (s *spec) become(state State, forced bool) {
	s.state, s.forced = state, forced
	s.generation++
	s.failures, s.since = 0, [3]int{}
	s.calls, s.probing, s.passed = 0, 0, 0
	switch {
	case state == Closed:
		s.openings = 0
	case state == Open && !forced:
		s.openings++
	}
}

// pass counts a probe that succeeded.
func (s *spec) pass(c Config, bit uint32) {
	s.probing &^= bit
	if s.passed++; s.passed == c.SuccessThreshold {
		s.become(Closed, false)
	}
}

// step does one operation, and returns what it says.
func (s *spec) step(c Config, neverProbes bool, in input) output {
	if s.state == Open && !s.forced && !neverProbes {
		s.become(HalfOpen, false)
	}
	bit := uint32(1) << in.call
	mine := in.do != admit && s.calls&bit != 0 && !s.forced
	if in.do != accept {
		s.calls &^= bit
	}
	switch in.do {
	case admit:
		if s.state == Open {
			return output{refused: true, state: Open}
		}
		if s.state == HalfOpen {
			if bits.OnesCount32(s.probing) >= c.HalfOpenProbes {
				return output{refused: true, state: HalfOpen}
			}
			s.probing |= bit
		}
		s.calls |= bit
	case accept:
		if mine && s.probing&bit != 0 {
			s.pass(c, bit)
			s.calls |= bit // in the state of now
		}
	case success:
		switch {
		case mine && s.state == Closed:
			for i := range s.failures {
				s.since[i]++
			}
		case mine && s.probing&bit != 0:
			s.pass(c, bit)
		}
	case failure:
		switch {
		case mine && s.state == Closed:
			if s.failures < c.FailureThreshold {
				s.failures++
			} else {
				copy(s.since[:], s.since[1:])
			}
			s.since[s.failures-1] = 0
			calls := s.since[0] + c.FailureThreshold
			if s.failures == c.FailureThreshold && float64(c.FailureThreshold)/float64(calls) >= c.FailureRate {
				s.become(Open, false)
			}
		case mine && s.state == HalfOpen:
			s.become(Open, false)
		}
	case ignore:
		s.probing &^= bit
	case tripped:
		if mine {
			s.become(Open, false)
		}
	case trip:
		if s.state != Open && !s.forced {
			s.become(Open, false)
		}
	case forceOpen:
		s.become(Open, true)
	case forceClosed:
		s.become(Closed, true)
	case reset:
		s.become(Closed, false)
	case look:
		seen := s.view
		seen.probes = bits.OnesCount32(s.probing)
		return output{seen: seen}
	}
	return output{}
}

func specification(c Config, neverProbes bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return spec{} },
		Step: func(state, in, out any) (bool, any) {
			s := state.(spec)
			said := s.step(c, neverProbes, in.(input))
			return said == out.(output), s
		},
	}
}

// A recorder writes down the operations of one goroutine.
type recorder struct {
	*Breaker
	client  int
	started time.Time
	history []porcupine.Operation
}

func (r *recorder) now() int64 { return int64(time.Since(r.started)) }

func (r *recorder) note(in input, began int64, out output) {
	r.history = append(r.history, porcupine.Operation{ClientId: r.client, Input: in, Call: began, Output: out, Return: r.now()})
}

func refusedWith(state State) output { return output{refused: true, state: state} }

var outcomeOf = map[action]Outcome{success: Succeeded, failure: Failed, ignore: Neither, tripped: Tripped}

// call makes one call, in one of the ways in which one can be made.
func (r *recorder) call(id int, random *rand.Rand) {
	end := []action{success, success, failure, failure, failure, ignore, tripped}[random.IntN(7)]
	pause := func() {
		for range random.IntN(3) {
			runtime.Gosched()
		}
	}
	switch random.IntN(4) {
	case 0:
		if end != tripped { // no error of Do trips
			r.do(id, end, pause)
		}
	case 1:
		r.permit(id, end, pause)
	default:
		r.pass(id, end, random.IntN(2) == 0, pause)
	}
}

func (r *recorder) do(id int, end action, pause func()) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	made := false
	began := r.now()
	_, err := Do(ctx, r.Breaker, func(context.Context) (int, error) {
		made = true
		r.note(input{admit, id}, began, output{})
		pause()
		if end == ignore {
			cancel()
		}
		began = r.now()
		return 0, map[action]error{failure: errTest, ignore: errTest}[end]
	})
	if made {
		r.note(input{end, id}, began, output{})
	} else {
		r.note(input{admit, id}, began, refusedWith(err.(*OpenError).State))
	}
}

func (r *recorder) permit(id int, end action, pause func()) {
	began := r.now()
	p, err := r.Acquire()
	if err != nil {
		r.note(input{admit, id}, began, refusedWith(err.(*OpenError).State))
		return
	}
	r.note(input{admit, id}, began, output{})
	pause()
	began = r.now()
	p.end(outcomeOf[end], Failure{})
	r.note(input{end, id}, began, output{})
}

func (r *recorder) pass(id int, end action, accepted bool, pause func()) {
	began := r.now()
	p, refusal := r.Enter()
	if refusal != nil {
		r.note(input{admit, id}, began, refusedWith(refusal.State))
		return
	}
	r.note(input{admit, id}, began, output{})
	pause()
	if accepted {
		began = r.now()
		p = r.Accept(p)
		r.note(input{accept, id}, began, output{})
		pause()
	}
	began = r.now()
	r.Leave(p, outcomeOf[end], Failure{})
	r.note(input{end, id}, began, output{})
}

// other does something that is not a call.
func (r *recorder) other(do action) {
	began := r.now()
	var out output
	switch do {
	case trip:
		r.Trip(Failure{})
	case forceOpen:
		r.ForceOpen("")
	case forceClosed:
		r.ForceClosed()
	case reset:
		r.Reset()
	case look:
		s := r.Snapshot()
		out.seen = view{s.State, s.Forced, s.Generation, s.Failures, s.Probes, s.Passed, s.Openings}
	}
	r.note(input{do, noCall}, began, out)
}

// A round is one breaker, with what each goroutine did to it and saw.
type round struct {
	Config
	neverProbes bool
	recorders   []recorder
	arrived     atomic.Int32
}

func newRound(t *testing.T, random *rand.Rand, goroutines int) *round {
	r := &round{neverProbes: random.IntN(3) == 0, recorders: make([]recorder, goroutines)}
	r.Config = Config{
		FailureThreshold: 1 + random.IntN(3), FailureRate: []float64{-1, 0.4, 0.6, 1}[random.IntN(4)], FailureWindow: time.Hour,
		HalfOpenProbes: 1 + random.IntN(3), SuccessThreshold: 1 + random.IntN(3), ProbeLease: time.Hour,
		RecoveryTimeout: time.Hour, TripTimeout: time.Hour,
	}
	if !r.neverProbes {
		r.RecoveryTimeout, r.TripTimeout = 1, 1
	}
	b, started := mustNew(t, r.Config), time.Now()
	for i := range r.recorders {
		r.recorders[i] = recorder{Breaker: b, client: i, started: started}
	}
	return r
}

// play is what goroutine g does in a round: as soon as all are there, it makes
// its calls.
func (r *round) play(g int, random *rand.Rand) {
	others := []action{look, look, look, reset, forceOpen, forceClosed, trip}
	if r.neverProbes {
		others = append(others, reset, reset)
	}
	r.arrived.Add(1)
	for spins := 0; int(r.arrived.Load()) < len(r.recorders); spins++ {
		if spins > 100 {
			runtime.Gosched()
		}
	}
	calls := callsInAHistory / len(r.recorders)
	for i := range calls {
		if random.IntN(4) == 0 {
			r.recorders[g].other(others[random.IntN(len(others))])
		}
		r.recorders[g].call(g*calls+i, random)
	}
}

// record plays rounds one after another, on goroutines that go through all of
// them, so that they are awake when a round begins.
func record(t *testing.T, random *rand.Rand, rounds int) []*round {
	goroutines := 2 + random.IntN(3)
	played := make([]*round, rounds)
	for i := range played {
		played[i] = newRound(t, random, goroutines)
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		wg.Go(func() {
			for _, r := range played {
				r.play(g, own)
			}
		})
	}
	wg.Wait()
	return played
}

func (r *round) history() (history []porcupine.Operation) {
	for i := range r.recorders {
		history = append(history, r.recorders[i].history...)
	}
	return history
}

func describe(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	for _, o := range history {
		fmt.Fprintf(&text, "%d: %8d to %8d ns: %+v said %+v\n", o.ClientId, o.Call, o.Return, o.Input, o.Output)
	}
	return text.String()
}

// TestConcurrentHistoriesAreLinearizable records LLMCALL_HISTORIES histories (by
// default 5,000):
//
//	LLMCALL_HISTORIES=200000 go test -run TestConcurrentHistoriesAreLinearizable -v ./breaker
func TestConcurrentHistoriesAreLinearizable(t *testing.T) {
	want := 5_000
	if s := os.Getenv("LLMCALL_HISTORIES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("LLMCALL_HISTORIES must be a whole number, got %q", s)
		}
		want = n
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	histories, operations, overlaps := 0, 0, 0
	for histories < want {
		for _, r := range record(t, random, 100) {
			history := r.history()
			if result := porcupine.CheckOperationsTimeout(specification(r.Config, r.neverProbes), history, time.Minute); result != porcupine.Ok {
				t.Fatalf("%+v: %v\n%s", r.Config, result, describe(history))
			}
			histories++
			operations += len(history)
			overlaps += overlapping(history)
		}
	}
	if overlaps == 0 {
		t.Error("nothing happened at the same time, so nothing was shown")
	}
	t.Logf("%d histories, %d operations, %d pairs of them at the same time", histories, operations, overlaps)
}

// overlapping counts the pairs of operations that were under way at one time.
func overlapping(history []porcupine.Operation) (pairs int) {
	for i, a := range history {
		for _, b := range history[:i] {
			if a.ClientId != b.ClientId && a.Call <= b.Return && b.Call <= a.Return {
				pairs++
			}
		}
	}
	return pairs
}

// The checker finds what it is there to find.
func TestAHistoryThatNoOrderExplainsIsFound(t *testing.T) {
	c := Config{FailureThreshold: 2, FailureRate: 1, HalfOpenProbes: 1, SuccessThreshold: 1}
	step := func(at int64, do action, call int, out output) porcupine.Operation {
		return porcupine.Operation{Input: input{do, call}, Call: at, Output: out, Return: at + 1}
	}
	opened := view{state: Open, generation: 1, openings: 1}
	for name, test := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"two failures in a row open": {[]porcupine.Operation{
			step(0, admit, 0, output{}), step(2, admit, 1, output{}), step(4, failure, 0, output{}), step(6, failure, 1, output{}),
			step(8, look, noCall, output{seen: opened}),
		}, true},
		"a success between them that was lost": {[]porcupine.Operation{
			step(0, admit, 0, output{}), step(2, admit, 1, output{}), step(4, admit, 2, output{}),
			step(6, failure, 0, output{}), step(8, success, 2, output{}), step(10, failure, 1, output{}),
			step(12, look, noCall, output{seen: opened}),
		}, false},
		"a failure that counted before a success, and opened after it": {[]porcupine.Operation{
			step(0, admit, 0, output{}), step(2, admit, 1, output{}), step(4, admit, 2, output{}), step(6, failure, 0, output{}),
			{ClientId: 1, Input: input{failure, 1}, Call: 8, Output: output{}, Return: 20},
			step(10, success, 2, output{}), step(12, admit, 3, output{}),
			step(22, look, noCall, output{seen: opened}),
		}, false},
		"a call let through after another was refused": {[]porcupine.Operation{
			step(0, trip, noCall, output{}), step(2, admit, 1, output{refused: true, state: Open}), step(4, admit, 2, output{}),
		}, false},
		"a late failure that opened": {[]porcupine.Operation{
			step(0, admit, 0, output{}), step(2, admit, 1, output{}), step(4, reset, noCall, output{}),
			step(6, failure, 0, output{}), step(8, failure, 1, output{}),
			step(10, look, noCall, output{seen: view{state: Open, generation: 2, openings: 1}}),
		}, false},
		"a failure after it was accepted that was lost": {[]porcupine.Operation{
			step(0, admit, 0, output{}), step(2, accept, 0, output{}), step(4, tripped, 0, output{}), step(6, admit, 1, output{}),
		}, false},
	} {
		if got := porcupine.CheckOperations(specification(c, true), test.history); got != test.want {
			t.Errorf("%s: linearizable %v, want %v", name, got, test.want)
		}
	}
}

package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store/lua"
)

// process is one process of a fleet in a bubble, with one endpoint.
type process struct {
	t      *testing.T
	fleet  *Fleet
	client *lua.Client
	e      *endpoint.Endpoint
	guards []endpoint.Guard
	b      *breaker.Breaker
}

var quiet = slog.New(slog.DiscardHandler)

const secretOfTests = "the secret of the tests"

func newProcess(t *testing.T, server *lua.Server, cfg breaker.Config) *process {
	t.Helper()
	client := server.Dial()
	f, err := open(client, Options{Secret: secretOfTests, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, fleet: f, client: client}
	p.of(endpoint.Key{Model: "acme/m"}, endpoint.Options{Breaker: cfg, NoBudget: true})
	return p
}

// of makes the process call an endpoint from now on.
func (p *process) of(k endpoint.Key, o endpoint.Options) {
	p.e = p.fleet.Endpoints().Get(k)
	p.guards, p.b = p.e.Guards(o), p.e.Circuit(o)
}

// start returns n processes of one fleet, which know of each other.
func start(t *testing.T, server *lua.Server, n int, cfg breaker.Config) []*process {
	var all []*process
	for range n {
		all = append(all, newProcess(t, server, cfg))
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	return all
}

func stop(all []*process) {
	for _, p := range all {
		p.fleet.Close()
	}
}

var errProvider = errors.New("the provider has failed")

// begin asks the guards, and returns their permits, or a refusal.
func (p *process) begin() ([]endpoint.Permit, *endpoint.Refusal) {
	var held []endpoint.Permit
	for _, g := range p.guards {
		permit, refusal := g.Admit(endpoint.Ask{})
		if refusal != nil {
			for i, permit := range held {
				p.guards[i].Settle(permit, endpoint.Outcome{})
			}
			return nil, refusal
		}
		held = append(held, permit)
	}
	return held, nil
}

func (p *process) end(held []endpoint.Permit, o endpoint.Outcome) {
	for i, permit := range held {
		p.guards[i].Settle(permit, o)
	}
}

var (
	success = endpoint.Outcome{Effect: failure.Healthy}
	broken  = endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: errProvider}
)

// call makes a call, and reports whether it was admitted.
func (p *process) call(o endpoint.Outcome) bool {
	held, refusal := p.begin()
	if refusal != nil {
		return false
	}
	p.end(held, o)
	return true
}

func states(all []*process) string {
	text := ""
	for _, p := range all {
		text += p.b.State().String() + " "
	}
	return text
}

func bubble(t *testing.T, f func(t *testing.T, server *lua.Server)) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		server.Delay(time.Millisecond)
		server.Latency(200 * time.Microsecond)
		f(t, server)
	})
}

// Failures of two processes open the circuit of all, though neither has enough of its own.
func TestFailuresOfSeveralProcessesOpenTheCircuitOfAll(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 4, breaker.Config{})
		defer stop(all)
		for i := range 5 {
			if !all[i%2].call(broken) {
				t.Fatalf("call %d was refused: %s", i, states(all))
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		if got := states(all); got != "OPEN OPEN OPEN OPEN " {
			t.Fatalf("got %s", got)
		}
		if _, refusal := all[3].begin(); refusal == nil || refusal.Kind != failure.CircuitOpen {
			t.Errorf("a call was not refused: %v", refusal)
		}
		time.Sleep(time.Minute)
		if got := states(all); got != "HALF_OPEN HALF_OPEN HALF_OPEN HALF_OPEN " {
			t.Fatalf("got %s", got)
		}
		// One probe anywhere.
		held, refusal := all[2].begin()
		if refusal != nil {
			t.Fatal(refusal.Err)
		}
		for _, p := range all {
			if _, refusal := p.begin(); refusal == nil {
				t.Error("a second probe was admitted")
			}
		}
		all[2].end(held, success)
		time.Sleep(10 * time.Millisecond)
		if got := states(all); got != "HALF_OPEN HALF_OPEN HALF_OPEN HALF_OPEN " {
			t.Fatalf("got %s", got)
		}
		if !all[0].call(success) {
			t.Error("the second probe was refused")
		}
		time.Sleep(10 * time.Millisecond)
		if got := states(all); got != "CLOSED CLOSED CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
	})
}

// A broken machine opens its own circuit, and not that of the fleet.
func TestOneBrokenProcessOpensItsOwnCircuit(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 4, breaker.Config{})
		defer stop(all)
		for range 130 { // two minutes: it probes, and fails
			all[0].call(broken)
			for _, p := range all[1:] {
				p.call(success)
			}
			time.Sleep(time.Second)
		}
		if got := states(all); got != "OPEN CLOSED CLOSED CLOSED " && got != "HALF_OPEN CLOSED CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
	})
}

// Failures among many answers, of other processes too, do not open it.
func TestTheRateIsThatOfAllProcesses(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 8, breaker.Config{})
		defer stop(all)
		for i := range 2000 {
			all[2+i%6].call(success) // processes that do not fail
			if i%20 == 0 {
				all[i/20%2].call(broken) // one in 21, 25 a second
			}
			time.Sleep(2 * time.Millisecond)
		}
		if got := states(all[2:]); got != "CLOSED CLOSED CLOSED CLOSED CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
		for i := range 20 { // an outage
			all[i%8].call(broken)
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if got := states(all); got != "OPEN OPEN OPEN OPEN OPEN OPEN OPEN OPEN " {
			t.Fatalf("got %s", got)
		}
	})
}

// Nothing is asked of the store for a healthy call.
func TestHealthyCallsAskTheStoreForNothing(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		before := server.Count()
		for range 10_000 {
			all[0].call(success)
			time.Sleep(time.Millisecond)
		}
		if n := server.Count() - before; n > 22 {
			t.Errorf("%d operations in ten seconds by two processes, want their exchange of each second", n)
		}
	})
}

// Without the store each goes on alone; what was counted is merged when it is back.
func TestAlone(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 3, breaker.Config{})
		defer stop(all)
		server.Down(true)
		time.Sleep(2 * time.Second)
		for i := range 4 {
			all[i%2].call(broken)
			time.Sleep(100 * time.Millisecond)
		}
		if got := states(all); got != "CLOSED CLOSED CLOSED " {
			t.Fatalf("alone, no process has had enough failures: %s", got)
		}
		server.Down(false)
		time.Sleep(8 * time.Second)
		if !all[2].fleet.Status().Connected {
			t.Fatal("not connected")
		}
		all[2].call(broken) // the fifth
		time.Sleep(100 * time.Millisecond)
		if got := states(all); got != "OPEN OPEN OPEN " {
			t.Fatalf("got %s", got)
		}
		// Alone in OPEN: each probes by itself, and closes.
		server.Down(true)
		time.Sleep(2 * time.Minute)
		for range 2 {
			if !all[0].call(success) {
				t.Fatal("alone, a probe was refused")
			}
		}
		if got := all[0].b.State(); got != breaker.Closed {
			t.Fatalf("alone, it is %v after two probes", got)
		}
		server.Down(false)
		time.Sleep(8 * time.Second)
		if got := states(all); got != "CLOSED CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
	})
}

// A store that was restarted empty is told what the processes know.
func TestRestartedEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 3, breaker.Config{})
		defer func() { stop(all) }()
		for i := range 5 {
			all[i%2].call(broken)
		}
		time.Sleep(100 * time.Millisecond)
		server.Flush()
		time.Sleep(1500 * time.Millisecond)
		joiner := newProcess(t, server, breaker.Config{})
		all = append(all, joiner)
		if got := states(all); got != "OPEN OPEN OPEN OPEN " {
			t.Fatalf("got %s", got)
		}
		if r := joiner.b.Snapshot().RetryIn; r > 59*time.Second || r < 58*time.Second {
			t.Errorf("the joiner's circuit admits a probe in %v", r)
		}
	})
}

// A call that waits for a probe gets the next one, whichever process had the last.
func TestWaitForAProbe(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		for i := range 5 {
			all[i%2].call(broken)
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		done := make(chan time.Duration, 2)
		for _, p := range all {
			go func() {
				pass, err := p.b.Wait(context.Background())
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				p.b.Leave(pass, breaker.Succeeded, breaker.Failure{})
				done <- time.Since(began)
			}()
		}
		if a, b := <-done, <-done; a > 61*time.Second || b > 62100*time.Millisecond {
			t.Errorf("the probes ended after %v and %v", a, b)
		}
		time.Sleep(100 * time.Millisecond)
		if got := states(all); got != "CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
	})
}

// An operator forces the circuit of all, and sees it.
func TestForce(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 3, breaker.Config{})
		defer stop(all)
		f := all[0].fleet
		list, err := f.Circuits(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "acme/m" || list[0].Processes != 3 || list[0].MinReporters != 2 || list[0].Threshold != 5 {
			t.Fatalf("%+v, %v", list, err)
		}
		id := list[0].ID
		if _, err := f.Force(t.Context(), id, breaker.Open, "the key is being replaced"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if got := states(all); got != "OPEN OPEN OPEN " {
			t.Fatalf("got %s", got)
		}
		_, refusal := all[2].begin()
		if e, ok := errors.AsType[*breaker.OpenError](refusal.Err); !ok || !e.Forced || e.Cause.Kind != "the key is being replaced" {
			t.Errorf("refused with %v", refusal.Err)
		}
		time.Sleep(5 * time.Minute)
		list, err = f.Circuits(t.Context())
		if err != nil || !list[0].Forced || list[0].State != breaker.Open || list[0].For < 5*time.Minute {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := f.Reset(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if got := states(all); got != "CLOSED CLOSED CLOSED " {
			t.Fatalf("got %s", got)
		}
		if _, err := f.Force(t.Context(), id, breaker.Closed, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		for range 20 {
			if !all[1].call(broken) {
				t.Fatal("a circuit that is forced closed has refused")
			}
		}
		_, err = f.Reset(t.Context(), id[1:])
		if e, ok := errors.AsType[*UnknownCircuitError](err); !ok || e.Nearest != id {
			t.Errorf("got %v", err)
		}
		if s := f.Status(); !s.Connected || s.Processes != 3 {
			t.Errorf("status %+v", s)
		}
	})
}

// Times that are shorter than those of the store are shared all the same, however often the
// circuit has opened, and so are the longest.
func TestCircuitOfTheShortestTimesAndTheLongest(t *testing.T) {
	for name, cfg := range map[string]breaker.Config{
		"all of a nanosecond":    {FailureThreshold: 3, FailureWindow: 1, RecoveryTimeout: 1, ProbeLease: 1, MaxOpen: 1},
		"one that is multiplied": {FailureThreshold: 3, RecoveryTimeout: 1, RecoveryFactor: 1000, MaxOpen: time.Millisecond, SuccessThreshold: 1},
		"all of three centuries": {
			FailureThreshold: 3, FailureWindow: math.MaxInt64, RecoveryTimeout: math.MaxInt64, RecoveryFactor: 1000, ProbeLease: math.MaxInt64,
			MaxOpen: math.MaxInt64,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *lua.Server) {
				all := start(t, server, 2, cfg)
				defer stop(all)
				for i := range 1000 {
					all[i%2].call(broken)
					time.Sleep(5 * time.Millisecond)
				}
				circuits, err := all[0].fleet.Circuits(t.Context())
				if err != nil || len(circuits) != 1 || circuits[0].Processes != 2 {
					t.Fatalf("%+v, %v", circuits, err)
				}
				if _, err := all[0].fleet.Reset(t.Context(), circuits[0].ID); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				for _, p := range all {
					if s := p.fleet.Status(); s.Err != nil || p.b.State() != breaker.Closed {
						t.Errorf("%v, %+v", p.b.State(), s)
					}
				}
			})
		})
	}
}

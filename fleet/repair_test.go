package fleet

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
)

// openAll opens the circuit of all processes, and waits until it admits a probe.
func openAll(t *testing.T, all []*process) {
	t.Helper()
	for i := range 6 {
		all[i%len(all)].call(broken)
	}
	time.Sleep(100 * time.Millisecond)
	time.Sleep(all[0].b.Snapshot().RetryIn + 10*time.Millisecond)
	for _, p := range all {
		if p.b.State() != breaker.HalfOpen {
			t.Fatalf("got %s", states(all))
		}
	}
}

// closes makes probes until the circuit of all is CLOSED, and reports how long that took.
func closes(t *testing.T, all []*process) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < 10*time.Minute {
		for _, p := range all {
			p.call(success)
		}
		time.Sleep(100 * time.Millisecond)
		if !slices.ContainsFunc(all, func(p *process) bool { return p.b.State() != breaker.Closed }) {
			return time.Since(began)
		}
	}
	t.Fatalf("got %s", states(all))
	return 0
}

// What is lost on the way to the store, or from it, keeps no probe from the others.
func TestLostProbes(t *testing.T) {
	for name, lose := range map[string]func(server *lua.Server, p *process){
		"the end of a probe": func(server *lua.Server, p *process) {
			held, refusal := p.begin()
			if refusal != nil {
				p.t.Fatal(refusal.Err)
			}
			server.Down(true)
			p.end(held, success)
			time.Sleep(time.Millisecond)
			server.Down(false)
		},
		"the answer to the end of a probe": func(server *lua.Server, p *process) {
			held, refusal := p.begin()
			if refusal != nil {
				p.t.Fatal(refusal.Err)
			}
			server.Hang(true)
			p.end(held, success)
			time.Sleep(time.Second)
			server.Hang(false)
		},
		"the answer with a lease": func(server *lua.Server, p *process) {
			server.Hang(true)
			if _, refusal := p.begin(); refusal == nil {
				p.t.Fatal("a probe without an answer of the store")
			}
			time.Sleep(240 * time.Millisecond) // nearly lost
			time.Sleep(20 * time.Millisecond)  // lost
			server.Hang(false)
		},
		"a lease that comes late": func(server *lua.Server, p *process) {
			server.Hang(true)
			if _, refusal := p.begin(); refusal == nil {
				p.t.Fatal("a probe without an answer of the store")
			}
			time.Sleep(100 * time.Millisecond)
			server.Hang(false)
		},
		"messages": func(server *lua.Server, p *process) { server.Mute(true) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *lua.Server) {
				all := start(t, server, 3, breaker.Config{})
				defer stop(all)
				openAll(t, all)
				lose(server, all[0])
				// The others alone: nothing is held by the first.
				if took := closes(t, all[1:]); took > 8*time.Second {
					t.Errorf("it closed after %v", took)
				}
			})
		})
	}
}

// A probe that was told twice counts once.
func TestProbeThatIsToldTwiceCountsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		openAll(t, all)
		held, refusal := all[0].begin()
		if refusal != nil {
			t.Fatal(refusal.Err)
		}
		server.Hang(true)
		all[0].end(held, success)
		time.Sleep(5 * time.Second) // it is told again and again
		server.Hang(false)
		time.Sleep(10 * time.Second)
		if got := states(all); got != "HALF_OPEN HALF_OPEN " {
			t.Errorf("got %s after one probe, want two", got)
		}
	})
}

// An endpoint that was collected and made again is heard at once: its reports are no
// repetitions of those of the first.
func TestEndpointThatIsMadeAgainIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		for range 20 { // numbers are used up
			all[0].call(broken)
			all[0].call(success)
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		again, err := endpoint.NewRegistry(endpoint.Config{Fleet: all[0].fleet})
		if err != nil {
			t.Fatal(err)
		}
		second := *all[0]
		second.e = again.Get(endpoint.Key{Model: "acme/m"})
		o := endpoint.Options{NoBudget: true}
		second.guards, second.b = second.e.Guards(o), second.e.Circuit(o)
		for range 2 {
			all[1].call(broken)
			second.call(broken)
		}
		second.call(broken)
		time.Sleep(100 * time.Millisecond)
		if got := states(all); got != "OPEN OPEN " {
			t.Errorf("got %s", got)
		}
	})
}

// Failures among many answers, while the store was lost, open nothing when it is back.
func TestWhatWasCountedAloneKeepsItsOrder(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		server.Down(true)
		for i := range 3000 { // five minutes, two calls of a hundred fail
			for _, p := range all {
				if i%50 == 0 {
					p.call(broken)
				} else {
					p.call(success)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		server.Down(false)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if got := states(all); got != "CLOSED CLOSED " {
				t.Fatalf("got %s", got)
			}
		}
	})
}

// A broken machine that finds a store which was restarted empty is not taken for a lone one.
func TestBrokenProcessIsFirstAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 4, breaker.Config{})
		defer stop(all)
		for _, p := range all[1:] {
			p.client.Down(true)
		}
		server.Flush()
		for range 6 {
			all[0].call(broken)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if list, err := all[0].fleet.Circuits(t.Context()); err != nil || list[0].State != breaker.Closed {
			t.Errorf("%+v, %v", list, err)
		}
		for _, p := range all[1:] {
			p.client.Down(false)
		}
		time.Sleep(8 * time.Second)
		if got := states(all); got != "OPEN CLOSED CLOSED CLOSED " {
			t.Errorf("got %s", got)
		}
	})
}

// A circuit that is forced CLOSED here says nothing about the circuit of all.
func TestCircuitForcedHereDoesNotCloseThatOfAll(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 3, breaker.Config{})
		defer stop(all)
		openAll(t, all)
		all[0].b.ForceClosed()
		server.Down(true)
		time.Sleep(2 * time.Second)
		server.Down(false)
		time.Sleep(8 * time.Second)
		if got := states(all); got != "CLOSED HALF_OPEN HALF_OPEN " {
			t.Errorf("got %s", got)
		}
	})
}

// Times that are no whole milliseconds are told, and read.
func TestRecoveryTimeOfAFraction(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{RecoveryTimeout: 1001 * time.Millisecond, RecoveryFactor: 1.5})
		defer stop(all)
		for range 3 {
			openAll(t, all)
			all[0].call(broken)
			time.Sleep(10 * time.Millisecond)
			if got := states(all); got != "OPEN OPEN " {
				t.Fatalf("got %s", got)
			}
			time.Sleep(all[0].b.Snapshot().RetryIn)
		}
	})
}

// A clock that is put back does not keep the circuit OPEN for as long.
func TestClockOfTheServerIsPutBack(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		openAll(t, all)
		server.Clock(-time.Hour)
		if took := closes(t, all); took > 3*time.Second {
			t.Errorf("it closed after %v", took)
		}
		for i := range 4 {
			all[i%2].call(broken)
		}
		time.Sleep(100 * time.Millisecond)
		server.Clock(-2 * time.Hour)
		time.Sleep(6 * time.Minute) // by all other clocks
		all[0].call(broken)
		time.Sleep(100 * time.Millisecond)
		if got := states(all); got != "CLOSED CLOSED " {
			t.Errorf("got %s", got)
		}
	})
}

// A cause is what it was, whatever is in it.
func TestCauseOfAnyText(t *testing.T) {
	for _, text := range []string{"", `a "quoted", listed; text \ / ` + "\x00\x7f\n", "not UTF-8: \xff", "1e5", "ключ", strings.Repeat("x", 1000)} {
		bubble(t, func(t *testing.T, server *lua.Server) {
			all := start(t, server, 3, breaker.Config{})
			defer stop(all)
			o := endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Status: 503, Code: text}}
			for i := range 5 {
				all[i%2].call(o)
			}
			time.Sleep(100 * time.Millisecond)
			got := all[2].b.Snapshot()
			want := breaker.Cause{Kind: failure.Transient.String(), Status: 503, Code: strings.ToValidUTF8(text, "\uFFFD")}
			if len(want.Code) > 100 {
				want.Code = want.Code[:100]
			}
			if got.State != breaker.Open || got.Cause != want {
				t.Errorf("%v %+q, want %+q", got.State, got.Cause, want)
			}
			list, err := all[0].fleet.Circuits(t.Context())
			if err != nil || list[0].Cause != want {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// One generation that was told in two states becomes a later one.
func TestGenerationInTwoStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := lua.New().Dial()
		defer client.Close()
		ask := func(q question) state {
			t.Helper()
			q.Settings = settingsOf(breaker.Config{FailureThreshold: 5, FailureWindow: time.Minute, RecoveryTimeout: time.Minute, MaxOpen: time.Hour}, 0)
			q.Failures, q.Held = []failed{}, []holding{}
			r := client.Run(t.Context(), []store.Call{callOf(circuitScript, "x", q)})[0]
			var answer reply
			var s state
			if err := json.Unmarshal([]byte(r.Text), &answer); err != nil {
				t.Fatal(err, r.Err)
			}
			if err := json.Unmarshal([]byte(answer.State), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		// The store has lost generation 3. One process knows it as CLOSED, another as OPEN.
		if s := ask(question{Op: "report", Me: "a", Sequence: 1, Generation: 3, State: stateClosed}); s.Generation != 3 || s.State != stateClosed {
			t.Errorf("%+v", s)
		}
		if s := ask(question{Op: "report", Me: "b", Sequence: 1, Generation: 3, State: stateOpen, Left: 1000}); s.Generation != 4 || s.State != stateClosed {
			t.Errorf("%+v", s)
		}
		if s := ask(question{Op: "report", Me: "a", Sequence: 2, Generation: 3, State: stateClosed}); s.Generation != 4 {
			t.Errorf("%+v", s)
		}
	})
}

// A hook may be slow, and may close the fleet: neither stops what others are told.
func TestSlowHook(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		var f *Fleet
		told := 0
		f, err := open(server.Dial(), Options{Secret: secretOfTests, Log: quiet, Endpoints: endpoint.Config{
			OnStateChange: func(*endpoint.Endpoint, breaker.Transition) {
				time.Sleep(time.Minute)
				told++
				f.Close()
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		first := &process{t: t, fleet: f}
		first.of(endpoint.Key{Model: "acme/m"}, endpoint.Options{NoBudget: true})
		all := start(t, server, 2, breaker.Config{})
		defer stop(all)
		for i := range 5 {
			all[i%2].call(broken)
		}
		time.Sleep(100 * time.Millisecond)
		before := server.Count()
		time.Sleep(10 * time.Second)
		if n := server.Count() - before; n < 29 {
			t.Errorf("%d exchanges of three processes in 10 s", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if told != 1 || first.b.State() == breaker.Closed {
			t.Errorf("told %d times, %v", told, first.b.State())
		}
	})
}

// After Close the endpoints go on alone, old and new ones, without a wait.
func TestEndpointsOfAClosedFleet(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		all := start(t, server, 2, breaker.Config{})
		openAll(t, all)
		stop(all)
		began := time.Now()
		for range 2 {
			if !all[0].call(success) {
				t.Error("a probe was refused")
			}
		}
		fresh := all[1].fleet.Endpoints().Get(endpoint.Key{Model: "acme/other"})
		b := fresh.Circuit(endpoint.Options{})
		b.Trip(breaker.Failure{})
		if got := all[0].b.State(); got != breaker.Closed || b.State() != breaker.Open || time.Since(began) > 0 {
			t.Errorf("%v, %v after %v", got, b.State(), time.Since(began))
		}
	})
}

// Endpoints that nobody holds are forgotten, with all that watches for them.
func TestEndpointsThatAreCollectedAreForgotten(t *testing.T) {
	server := lua.New()
	f, err := open(server.Dial(), Options{Secret: secretOfTests, Log: quiet, Endpoints: endpoint.Config{Max: 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	goroutines := runtime.NumGoroutine()
	for i := range 500 {
		b := f.Endpoints().Get(endpoint.Key{Model: fmt.Sprint("acme/", i)}).Circuit(endpoint.Options{})
		b.Trip(breaker.Failure{})
	}
	for range 400 {
		runtime.GC()
		f.mu.Lock()
		n := len(f.parts)
		f.mu.Unlock()
		if n <= 60 && runtime.NumGoroutine() <= goroutines+60 {
			return
		}
		time.Sleep(50 * time.Millisecond) // the worker forgets them, each second
	}
	t.Errorf("%d parts and %d goroutines of 10 endpoints", len(f.parts), runtime.NumGoroutine()-goroutines)
}

// A process that is started with its store, and is there before it, has the secret of the others.
func TestSecretOfAStoreThatIsAMomentLate(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		server.Down(true)
		time.AfterFunc(time.Second, func() { server.Down(false) })
		var all [2]*Fleet
		var joined sync.WaitGroup
		for i := range all {
			joined.Go(func() {
				var err error
				if all[i], err = open(server.Dial(), Options{Log: quiet}); err != nil {
					t.Error(err)
				}
			})
		}
		joined.Wait()
		defer all[0].Close()
		defer all[1].Close()
		if all[0].secret != all[1].secret {
			t.Error("two processes have two secrets")
		}
	})
}

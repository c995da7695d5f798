package fleet

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/internal/servers"
	"llmcall/pace"
)

// begins returns a process that has the secret which it finds in the store, if it does.
func begins(t *testing.T, s store.Store) (*process, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	f, err := open(s, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, fleet: f}
	p.of(endpoint.Key{Model: "acme/m", Credential: endpoint.Hash("the key of the tests")}, endpoint.Options{NoBudget: true})
	return p, log
}

const (
	readLate     = "fleet's secret was read"
	takenOver    = "another secret than this process"
	notReadAtAll = "fleet's secret can't be read"
)

// A process that begins while the store can't be reached shares its endpoints once it has read the
// secret of the others: it follows a circuit that is open, and what it has counted meanwhile counts.
func TestProcessThatBeginsBeforeItCanReachTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		first, _ := begins(t, server.Dial())
		defer first.fleet.Close()
		time.Sleep(2 * time.Second)
		shared := endpoint.Key{Model: "acme/broken"}
		down := first.b
		down.Trip(breaker.Failure{})
		time.Sleep(time.Second)
		if down.State() != breaker.Open {
			t.Fatal(down.State())
		}
		first.of(shared, endpoint.Options{NoBudget: true})
		time.Sleep(time.Second)

		server.Down(true)
		late, log := begins(t, server.Dial())
		defer late.fleet.Close()
		follows := late.b
		late.of(shared, endpoint.Options{NoBudget: true})
		time.Sleep(3 * time.Second)
		for range 3 {
			late.call(broken)
			first.call(broken)
		}
		for _, p := range []*process{first, late} {
			if p.b.State() != breaker.Closed {
				t.Fatalf("three failures have made it %v", p.b.State())
			}
		}
		if follows.State() != breaker.Closed || strings.Count(log.String(), notReadAtAll) != 1 || strings.Count(log.String(), readLate) != 0 {
			t.Errorf("without the store: %v, %s", follows.State(), log.String())
		}
		server.Down(false)
		time.Sleep(mostRetry + 2*exchangeEvery)
		if first.b.State() != breaker.Open || late.b.State() != breaker.Open {
			t.Errorf("six failures of two processes: %v and %v", first.b.State(), late.b.State())
		}
		if down.State() != breaker.Open || follows.State() != breaker.Open {
			t.Errorf("what is down is %v and %v", down.State(), follows.State())
		}
		for _, p := range []*process{first, late} {
			list, err := p.fleet.Circuits(t.Context())
			if err != nil || len(list) != 2 || list[0].Processes != 2 || list[1].Processes != 2 || p.fleet.Status().Processes != 2 {
				t.Errorf("%+v, %v", list, err)
			}
		}
		if strings.Count(log.String(), readLate) != 1 || strings.Count(log.String(), takenOver) != 0 || strings.Count(log.String(), "store is back") != 1 || strings.Count(log.String(), "fails for some") != 0 {
			t.Error(log.String())
		}
	})
}

// The rate that the fleet has learned is that of a process which joins it late, too.
func TestPacerOfAProcessThatBeginsBeforeItCanReachTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		first, _ := begins(t, server.Dial())
		defer first.fleet.Close()
		server.Down(true)
		late, _ := begins(t, server.Dial())
		defer late.fleet.Close()
		server.Down(false)
		var pacers []*pace.Pacer
		for _, f := range []*Fleet{first.fleet, late.fleet} {
			p := &pace.Pacer{}
			f.sharePacer(endpoint.Key{Model: "acme/m", Credential: 7}, p)
			pacers = append(pacers, p)
		}
		time.Sleep(mostRetry + 2*exchangeEvery)
		turn, _ := pacers[0].Try(pace.Cost{})
		pacers[0].Refused(turn, &pace.Told{HasWait: true, Wait: 30 * time.Second})
		pacers[0].Done(turn)
		time.Sleep(time.Second)
		synctest.Wait()
		a, b := pacers[0].Report().Rate, pacers[1].Report().Rate
		if a.Epoch == 0 || a.Epoch != b.Epoch || pacers[1].Snapshot().Until.IsZero() {
			t.Errorf("%+v and %+v, %+v", a, b, pacers[1].Snapshot())
		}
	})
}

// Whoever puts a secret first into a store that was emptied, all have it afterwards, and the circuit
// is as it was.
func TestStoreThatHasAnotherSecretAfterItWasEmptied(t *testing.T) {
	bubble(t, func(t *testing.T, server *lua.Server) {
		var all []*process
		var logs []*lockedBuffer
		var clients []*lua.Client
		for range 3 {
			client := server.Dial()
			p, log := begins(t, client)
			defer p.fleet.Close()
			all, logs, clients = append(all, p), append(logs, log), append(clients, client)
		}
		time.Sleep(2 * time.Second)
		openAll(t, all)
		time.Sleep(time.Second)
		before, err := all[0].fleet.Circuits(t.Context())
		if err != nil || len(before) != 1 {
			t.Fatal(before, err)
		}
		for _, c := range clients {
			c.Down(true)
		}
		server.Flush()
		time.Sleep(time.Second)
		other, log := begins(t, server.Dial())
		defer other.fleet.Close()
		all, logs = append(all, other), append(logs, log)
		time.Sleep(time.Second)
		for _, c := range clients {
			c.Down(false)
		}
		time.Sleep(mostRetry + 3*exchangeEvery)
		after, err := other.fleet.Circuits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after = slices.DeleteFunc(after, func(c Circuit) bool { return c.Processes == 0 })
		if len(after) != 1 || after[0].Processes != 4 || after[0].State != before[0].State || after[0].Generation < before[0].Generation {
			t.Errorf("before: %+v\nafter: %+v", before, after)
		}
		if got := states(all); strings.Contains(got, "CLOSED") {
			t.Errorf("the four are %s", got)
		}
		for i, log := range logs {
			if n := strings.Count(log.String(), takenOver); n != map[bool]int{true: 1}[i < 3] {
				t.Errorf("%d: %s", i, log.String())
			}
		}
	})
}

// Processes that are started in any order with a real Redis have one circuit each endpoint in the
// end.
func TestProcessesThatBeginBeforeARealStore(t *testing.T) {
	server := servers.Redis(t)
	server.Kill()
	var all []*process
	var opening sync.WaitGroup
	for i := range 3 {
		all = append(all, &process{t: t})
		opening.Go(func() {
			f, err := Open(server.URL, Options{Log: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			all[i].fleet = f
			all[i].of(endpoint.Key{Model: "acme/m", Credential: endpoint.Hash("the key of the tests")}, endpoint.Options{NoBudget: true})
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	defer stop(all)
	for _, p := range all[:2] {
		for range 2 {
			p.call(broken)
		}
	}
	server.Start()
	eventually(t, "one circuit of three", func() bool {
		list, err := all[0].fleet.Circuits(t.Context())
		return err == nil && len(list) == 1 && list[0].Processes == 3
	})
	all[2].call(broken) // the fifth
	eventually(t, "all open", func() bool { return states(all) == "OPEN OPEN OPEN " })
}

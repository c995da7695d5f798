package fleet

import (
	"testing"
	"time"

	"llmcall/fleet"
	"llmcall/internal/servers"
)

// circuitIn returns the circuit that a store has.
func circuitIn(t *testing.T, f *fleet.Fleet) fleet.Circuit {
	t.Helper()
	all, err := f.Circuits(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("the store has %d circuits, %v", len(all), err)
	}
	return all[0]
}

// A store that was restarted empty while the circuit is open is told of it by the processes,
// with its generation, and of the secret; who joins afterwards adopts both, and makes no call
// to the provider.
func TestRestartedEmpty(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	long := circuit
	long.RecoveryTimeout = 30 * time.Second
	j := job{Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: long}
	c := hire(t, 3, j)
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(time.Second)
	broke := provider.breaks(true)
	c.wait(10*time.Second, "all circuits to open", func() bool { return len(c.first("OPEN", broke)) == 3 })
	operator, err := fleet.Open(store.URL, fleet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	before := circuitIn(t, operator)

	store.RestartEmpty()
	time.Sleep(6 * time.Second) // who has lost it tries again after 5 s at the latest
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	after := circuitIn(t, operator)
	if after.Generation != before.Generation || after.State != before.State || after.ID != before.ID {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}

	whole := provider.breaks(false) // so that only the circuit keeps the joiner from it
	c.join(j)
	c.wait(10*time.Second, "a fourth worker to be ready", func() bool { return c.count(ready) == 4 })
	c.wait(10*time.Second, "it to be connected", func() bool { return c.areAll(connected) })
	joined := time.Now()
	c.begin()
	time.Sleep(2 * time.Second)
	if n := len(provider.seen(whole, time.Time{})); n > 0 {
		t.Errorf("%d requests reached the provider", n)
	}
	refused := 0
	for _, e := range c.all(call) {
		if e.Worker == 3 && e.Reason == "circuit_open" {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("%d calls of the joiner were refused in %v", refused, time.Since(joined))
	}
	if last := circuitIn(t, operator); last.Generation != before.Generation || last.Processes < 4 {
		t.Errorf("with the joiner: %+v", last)
	}
	t.Logf("generation %d before and after; %d calls of the joiner were refused, none was made", before.Generation, refused)
}

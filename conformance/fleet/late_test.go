package fleet

import (
	"slices"
	"testing"
	"time"

	"llmcall/fleet"
	"llmcall/internal/servers"
)

// Three processes with an API key begin before their store does, and one more while it is gone a
// second time: none is told a secret, and each makes its keys with one of its own. Once the store
// is there they have one circuit, and all open by its failures.
func TestStartedBeforeTheStore(t *testing.T) {
	store := servers.Redis(t)
	store.Kill()
	provider := newSource(t)
	long := circuit
	long.RecoveryTimeout = 30 * time.Second
	j := job{Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: long}
	c := hire(t, 3, j)
	c.begin()
	time.Sleep(time.Second)
	began := time.Now()
	store.Start()
	operator, err := fleet.Open(store.URL, fleet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	shared := func(by int) func() bool {
		return func() bool {
			all, err := operator.Circuits(t.Context())
			living := slices.DeleteFunc(all, func(one fleet.Circuit) bool { return one.Processes == 0 })
			return err == nil && len(living) == 1 && living[0].Processes == by
		}
	}
	c.wait(20*time.Second, "three to have one circuit", shared(3))
	t.Logf("three processes have one circuit %v after the store was started", time.Since(began).Round(time.Millisecond))

	store.Kill()
	c.join(j)
	c.wait(20*time.Second, "a fourth worker to be ready", func() bool { return c.count(ready) == 4 })
	c.begin()
	store.Start()
	c.wait(20*time.Second, "four to have one circuit", shared(4))

	broke := provider.breaks(true)
	c.wait(10*time.Second, "all circuits to open", func() bool { return len(c.first("OPEN", broke)) == 4 })
	if !shared(4)() {
		t.Error("the fleet has more than one circuit")
	}
}

package breaker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func newRegistry(t testing.TB, c breaker.Config, limit int) *breaker.Registry {
	t.Helper()
	r, err := breaker.NewRegistry(c, limit)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keys returns the keys that a registry holds, sorted.
func keys(r *breaker.Registry) []string {
	var names []string
	for _, snapshot := range r.Snapshots() {
		names = append(names, snapshot.Name)
	}
	slices.Sort(names)
	return names
}

func TestRegistryMakesOneBreakerAKeyOnFirstUse(t *testing.T) {
	r := newRegistry(t, breaker.Config{FailureThreshold: 1}, 0)
	if got := keys(r); len(got) != 0 {
		t.Errorf("new: %v", got)
	}
	made := map[string]*breaker.Breaker{}
	for range 3 {
		for i := range 2000 {
			key := fmt.Sprint("key-", i)
			b := r.Get(key)
			if before, ok := made[key]; ok && b != before {
				t.Fatalf("%s: another breaker", key)
			}
			if b.Name() != key || b.State() != closed {
				t.Fatalf("%s: %+v", key, b.Snapshot())
			}
			made[key] = b
		}
	}
	if got := len(r.Snapshots()); got != 2000 {
		t.Errorf("%d breakers", got)
	}
	r.Get("key-7").Trip(errBoom)
	if r.Get("key-7").State() != open || r.Get("key-8").State() != closed {
		t.Error("one key's circuit is another's")
	}
}

func TestRegistryGivesAThousandGoroutinesTheSameBreaker(t *testing.T) {
	r := newRegistry(t, breaker.Config{FailureThreshold: 1000, FailureRate: new(float64)}, 0)
	const goroutines, names = 1000, 5
	got := make([][names]*breaker.Breaker, goroutines)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			<-start
			for n := range names {
				got[g][n] = r.Get(fmt.Sprint(n))
				run(got[g][n], errBoom)
			}
		})
	}
	close(start)
	wg.Wait()
	for g := range goroutines {
		if got[g] != got[0] {
			t.Fatal("two breakers for one key")
		}
	}
	for _, b := range got[0] {
		wantState(t, b, open) // by the very last of the thousand failures
	}
}

func TestRegistryIsBoundedAndTheIdleGoFirst(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 10, 100} {
		r := newRegistry(t, breaker.Config{}, limit)
		busy := make([]*breaker.Breaker, limit/2)
		for i := range busy {
			busy[i] = r.Get(fmt.Sprint("busy-", i))
		}
		for i := range 10 * limit {
			if got := len(r.Snapshots()); got > limit {
				t.Fatalf("limit %d: %d breakers", limit, got)
			}
			r.Get(fmt.Sprint("once-", i))
			for i := range busy {
				if b := r.Get(fmt.Sprint("busy-", i)); b != busy[i] {
					t.Fatalf("limit %d: one that is in use went before the idle", limit)
				}
			}
		}
		if got := len(r.Snapshots()); got != limit {
			t.Errorf("limit %d: %d breakers in the end", limit, got)
		}
	}
}

// All were in use when room was last made; since then half of them were again.
func TestRegistryLetsThoseGoThatAreNotInUseAnyMore(t *testing.T) {
	const limit = 10
	r := newRegistry(t, breaker.Config{}, limit)
	for range 3 {
		for i := range limit {
			r.Get(fmt.Sprint(i))
		}
	}
	r.Get("new")
	if got := len(r.Snapshots()); got != limit {
		t.Fatalf("all in use: %d breakers", got)
	}
	still := []*breaker.Breaker{r.Get("new")}
	for i := limit / 2; i < limit; i++ {
		still = append(still, r.Get(fmt.Sprint(i)))
	}
	for i := range limit/2 - 1 {
		for range 2 {
			r.Get(fmt.Sprint("newer-", i))
		}
	}
	for i, b := range still {
		if r.Get(b.Name()) != b {
			t.Errorf("%s went, which is in use (%d)", b.Name(), i)
		}
	}
}

func TestRegistryStaysBoundedWhileAllAreInUse(t *testing.T) {
	r := newRegistry(t, breaker.Config{}, 3)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					ok(t, r.Get(fmt.Sprint("steady-", g)))
				}
			}
		})
	}
	for i := range 5000 {
		r.Get(fmt.Sprint(i % 50))
		if got := len(r.Snapshots()); got > 3 {
			t.Fatalf("%d breakers", got)
		}
	}
	close(stop)
	wg.Wait()
}

func TestRegistryNeverLetsAnOpenOneGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10
		r := newRegistry(t, breaker.Config{}, limit)
		var want []string
		held := map[string]*breaker.Breaker{}
		for i := range 3 * limit {
			key := fmt.Sprint("open-", i+10)
			want = append(want, key)
			held[key] = r.Get(key)
			switch i % 3 {
			case 0:
				held[key].Trip(errBoom)
			case 1:
				held[key].ForceOpen(nil)
			case 2:
				held[key].Trip(errBoom)
				time.Sleep(600 * s)
				acquire(t, held[key]) // HALF_OPEN
			}
		}
		for i := range 100 {
			r.Get(fmt.Sprint("idle-", i))
		}
		got := slices.DeleteFunc(keys(r), func(key string) bool { return held[key] == nil })
		if !slices.Equal(got, want) {
			t.Errorf("left: %v", got)
		}
		for key, b := range held {
			if r.Get(key) != b {
				t.Errorf("%s went", key)
			}
			b.Reset()
		}
		// Once they are CLOSED it is bounded again.
		r.Get("new")
		r.Get("newer")
		if got := len(r.Snapshots()); got > limit {
			t.Errorf("%d breakers", got)
		}
	})
}

func TestRegistryMakesANewBreakerForAKeyThatWent(t *testing.T) {
	r := newRegistry(t, breaker.Config{FailureThreshold: 2}, 1)
	first := r.Get("a")
	bad(t, first)
	r.Get("b")
	second := r.Get("a")
	if second == first || second.Snapshot().Failures != 0 {
		t.Error("the old one came back")
	}
	ok(t, first) // whoever still holds the old one may go on
}

func TestRegistryUnderChurnFromManyGoroutinesKeepsItsBoundAndItsKeys(t *testing.T) {
	const limit = 50
	r := newRegistry(t, breaker.Config{FailureThreshold: 3}, limit)
	pinned := r.Get("pinned")
	pinned.ForceOpen(nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 5))
			for range 5000 {
				key := fmt.Sprint(int(random.ExpFloat64() * 40))
				b := r.Get(key)
				if b.Name() != key {
					t.Errorf("asked for %s, got %s", key, b.Name())
				}
				run(b, nil)
				if r.Get("pinned") != pinned {
					t.Error("an open one went")
				}
			}
		})
	}
	wg.Wait()
	if got := keys(r); len(got) > limit || len(slices.Compact(got)) != len(got) {
		t.Errorf("%d breakers: %v", len(got), got)
	}
}

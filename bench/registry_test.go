package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"llmcall/breaker"
	"llmcall/endpoint"
)

// keys is how many keys a registry holds.
const keys = 10_000

// names returns the keys, and the order in which they are looked up. The second
// are copies: the key of a call does not share its bytes with that of the map.
func names() (held, asked []endpoint.Key) {
	held, asked = make([]endpoint.Key, keys), make([]endpoint.Key, keys)
	for i := range held {
		held[i] = endpoint.Key{Model: fmt.Sprintf("provider/model-%d", i), Address: "https://api.provider.example/v1", Credential: uint64(i) << 40}
	}
	for i, from := range rand.New(rand.NewPCG(1, 2)).Perm(keys) {
		asked[i] = held[from]
		asked[i].Model = strings.Clone(held[from].Model)
	}
	return held, asked
}

// text is a key for those who look up by one text.
func text(k endpoint.Key) string {
	return k.Model + " " + k.Address + " " + strconv.FormatUint(k.Credential, 36)
}

// What is found is looked at, as a caller does: it is read from memory once.

func newRegistry(b *testing.B, held []endpoint.Key) *endpoint.Registry {
	b.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{Max: keys})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range held {
		r.Get(name)
	}
	return r
}

func newMap(b *testing.B, held []endpoint.Key) map[endpoint.Key]*breaker.Breaker {
	b.Helper()
	m := make(map[endpoint.Key]*breaker.Breaker, keys)
	for _, name := range held {
		m[name] = newOurs(b, breaker.Config{})
	}
	return m
}

// newPanel fills the panel's exported map itself: its method Add starts two
// goroutines for each breaker, which would weigh on every benchmark after it.
func newPanel(held []endpoint.Key) *rubyist.Panel {
	p := rubyist.NewPanel()
	for _, name := range held {
		p.Circuits[text(name)] = newRubyist()
	}
	return p
}

func newSyncMap(held []endpoint.Key) *sync.Map {
	m := new(sync.Map)
	for _, name := range held {
		m.Store(text(name), newGobreaker())
	}
	return m
}

func BenchmarkLookup(b *testing.B) {
	held, asked := names()
	way(b, "floor=map_read", func(b *testing.B) {
		m, i := newMap(b, held), 0
		for b.Loop() {
			m[asked[i]].Name()
			i = next(i)
		}
	})
	way(b, "ours=Registry.Get", func(b *testing.B) {
		r, i := newRegistry(b, held), 0
		for b.Loop() {
			r.Get(asked[i]).Failed()
			i = next(i)
		}
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		p, i := newPanel(held), 0
		for b.Loop() {
			br, ok := p.Get(text(asked[i]))
			if !ok || br.Tripped() {
				b.Fatal("missing")
			}
			i = next(i)
		}
	})
	way(b, "peer=sync.Map_of_gobreaker", func(b *testing.B) {
		m, i := newSyncMap(held), 0
		for b.Loop() {
			br, ok := m.Load(text(asked[i]))
			if !ok {
				b.Fatal("missing")
			}
			br.(*gobreaker.CircuitBreaker[int]).Name()
			i = next(i)
		}
	})
}

func BenchmarkLookupAllCores(b *testing.B) {
	held, asked := names()
	// Each core begins at a place of its own.
	onEachCore := func(b *testing.B, lookups func(pb *testing.PB, i int)) {
		b.Helper()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) { lookups(pb, rand.IntN(keys)) })
	}
	m, r, p, s := newMap(b, held), newRegistry(b, held), newPanel(held), newSyncMap(held)
	way(b, "floor=map_read", func(b *testing.B) {
		onEachCore(b, func(pb *testing.PB, i int) {
			for ; pb.Next(); i = next(i) {
				if m[asked[i]].Name() == "" {
					b.Error("missing")
				}
			}
		})
	})
	way(b, "ours=Registry.Get", func(b *testing.B) {
		onEachCore(b, func(pb *testing.PB, i int) {
			for ; pb.Next(); i = next(i) {
				if r.Get(asked[i]).Failed() {
					b.Error("missing")
				}
			}
		})
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		onEachCore(b, func(pb *testing.PB, i int) {
			for ; pb.Next(); i = next(i) {
				if br, ok := p.Get(text(asked[i])); !ok || br.Tripped() {
					b.Error("missing")
				}
			}
		})
	})
	way(b, "peer=sync.Map_of_gobreaker", func(b *testing.B) {
		onEachCore(b, func(pb *testing.PB, i int) {
			for ; pb.Next(); i = next(i) {
				br, ok := s.Load(text(asked[i]))
				if !ok || br.(*gobreaker.CircuitBreaker[int]).Name() == "" {
					b.Error("missing")
				}
			}
		})
	})
}

// next is the place of the next lookup.
func next(i int) int {
	if i++; i == keys {
		return 0
	}
	return i
}

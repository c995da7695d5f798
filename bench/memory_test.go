package bench

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/sony/gobreaker/v2"

	"llmcall/breaker"
	"llmcall/endpoint"
)

// BenchmarkMemory is what each of 100,000 breakers holds before it has seen a
// failure: bytes and objects of the heap, and goroutines. Its time means nothing.
// Names are made before; settings are shared where the library can share them.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	held := make([]string, n)
	for i := range held {
		held[i] = fmt.Sprintf("tenant-%d", i)
	}
	measure := func(b *testing.B, makeAll func(each func(i int, breaker any))) {
		b.Helper()
		all := make([]any, n)
		var before, after runtime.MemStats
		var goroutines int
		for b.Loop() {
			clear(all)
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines = runtime.NumGoroutine()
			makeAll(func(i int, br any) { all[i] = br })
			runtime.GC()
			runtime.ReadMemStats(&after)
			goroutines = runtime.NumGoroutine() - goroutines
		}
		runtime.KeepAlive(all)
		b.ReportMetric(0, "ns/op")
		// To the hundredth: the runtime itself makes an object now and then.
		each := func(sum float64) float64 { return math.Round(100*sum/n) / 100 }
		b.ReportMetric(each(float64(after.HeapAlloc)-float64(before.HeapAlloc)), "bytes/breaker")
		b.ReportMetric(each(float64(after.HeapObjects)-float64(before.HeapObjects)), "objects/breaker")
		b.ReportMetric(each(float64(goroutines)), "goroutines/breaker")
	}
	b.Run("floor=a_state,_a_count_and_a_time", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, new([3]uint64))
			}
		})
	})
	b.Run("ours=an_Endpoint,_its_registry_included", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			r, err := endpoint.NewRegistry(endpoint.Config{Max: n})
			if err != nil {
				b.Fatal(err)
			}
			for _, name := range held {
				r.Get(endpoint.Key{Model: name}).Guards(endpoint.Options{})
			}
			each(0, r)
		})
	})
	b.Run("ours=of_New", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i, name := range held {
				br, err := breaker.New(name, breaker.Config{})
				if err != nil {
					b.Fatal(err)
				}
				each(i, br)
			}
		})
	})
	b.Run("peer=eapache", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, eapache.New(threshold, 2, openTime))
			}
		})
	})
	b.Run("peer=gobreaker", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, newGobreaker())
			}
		})
	})
	b.Run("peer=gobreaker,_a_window", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, gobreaker.NewCircuitBreaker[int](gobreakerWindow))
			}
		})
	})
	b.Run("peer=failsafe-go,_a_window", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, newFailsafeWindow())
			}
		})
	})
	b.Run("peer=rubyist,_a_window", func(b *testing.B) {
		measure(b, func(each func(int, any)) {
			for i := range n {
				each(i, newRubyistWindow())
			}
		})
	})
}

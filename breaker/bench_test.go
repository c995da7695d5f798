package breaker_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"llmcall/breaker"
)

func benchWorks(context.Context) error { return nil }

func benchWorksToo(context.Context) (int, error) { return 1, nil }

//go:noinline
func callOnce(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

// What a breaker costs is to be read as a multiple of these two.

func BenchmarkReferenceCall(b *testing.B) {
	fn := benchWorks
	for b.Loop() {
		callOnce(context.Background(), fn)
	}
}

func BenchmarkReferenceClock(b *testing.B) {
	base := time.Now()
	for b.Loop() {
		_ = time.Since(base)
	}
}

func BenchmarkClosedSuccess(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	ctx := context.Background()
	b.Run("Run", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			br.Run(ctx, benchWorks)
		}
	})
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			breaker.Do(ctx, br, benchWorksToo)
		}
	})
	b.Run("Permit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, _ := br.Acquire()
			p.Success()
		}
	})
	b.Run("ForcedClosed", func(b *testing.B) {
		forced := newBreaker(b, breaker.Config{})
		forced.ForceClosed()
		b.ReportAllocs()
		for b.Loop() {
			forced.Run(ctx, benchWorks)
		}
	})
	b.Run("SlowCall", func(b *testing.B) {
		watched := newBreaker(b, breaker.Config{SlowCall: time.Hour})
		b.ReportAllocs()
		for b.Loop() {
			watched.Run(ctx, benchWorks)
		}
	})
}

// Compare -cpu 1 with -cpu 2: what nobody writes scales with the cores.
func BenchmarkClosedSuccessParallel(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			br.Run(ctx, benchWorks)
		}
	})
}

func BenchmarkTenPercentFailures(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	ctx := context.Background()
	i := 0
	fn := func(context.Context) error {
		if i++; i%10 == 0 {
			return errBoom
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		br.Run(ctx, fn)
	}
}

func BenchmarkFailure(b *testing.B) {
	br := newBreaker(b, breaker.Config{FailureThreshold: 10_000, FailureWindow: 1})
	ctx := context.Background()
	fn := func(context.Context) error { return errBoom }
	b.ReportAllocs()
	for b.Loop() {
		br.Run(ctx, fn)
	}
}

func BenchmarkOpenRejected(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	br.Trip(errBoom)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		br.Run(ctx, benchWorks)
	}
}

func BenchmarkRecovery(b *testing.B) {
	br := newBreaker(b, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, Recovery: func(int) time.Duration { return 0 }})
	b.ReportAllocs()
	for b.Loop() { // CLOSED, OPEN, HALF_OPEN, CLOSED
		run(br, errBoom)
		run(br, nil)
	}
}

func BenchmarkLookupAmong10000(b *testing.B) {
	names := make([]string, 10_000)
	plain := map[string]*breaker.Breaker{}
	r := newRegistry(b, breaker.Config{}, 0)
	for i := range names {
		names[i] = fmt.Sprintf("provider/model-%d", i)
		plain[names[i]] = r.Get(names[i])
	}
	for _, name := range names { // so that all are shared
		r.Get(name)
	}
	b.Run("ReferencePlainMap", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if plain[names[i%len(names)]] == nil {
				b.Fatal("missing")
			}
			i += 7
		}
	})
	b.Run("Registry", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if r.Get(names[i%len(names)]) == nil {
				b.Fatal("missing")
			}
			i += 7
		}
	})
}

// Every key comes once: each lookup makes a breaker and lets another go.
func BenchmarkLookupOfNewKeysAtTheLimit(b *testing.B) {
	r := newRegistry(b, breaker.Config{}, 0)
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%d", i)
		r.Get(names[i])
	}
	i := 0
	for b.Loop() {
		r.Get(names[i%len(names)])
		i++
	}
}

func BenchmarkMemoryOf100000Breakers(b *testing.B) {
	const n = 100_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%d", i)
	}
	all := make([]*breaker.Breaker, n)
	var before, after runtime.MemStats
	for b.Loop() {
		clear(all)
		r := newRegistry(b, breaker.Config{}, 1)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i, name := range names { // each pushes the one before out: only all holds them
			all[i] = r.Get(name)
			all[i].Run(context.Background(), benchWorks)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/breaker")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/n, "objects/breaker")
	runtime.KeepAlive(all)
}

package breaker_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"llmcall/breaker"
)

func benchWorks(context.Context) (int, error) { return 1, nil }

//go:noinline
func callOnce(ctx context.Context, fn func(context.Context) (int, error)) (int, error) {
	return fn(ctx)
}

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
	b.Run("EnterLeave", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, _ := br.Enter()
			br.Leave(br.Accept(p), breaker.Succeeded, breaker.Failure{})
		}
	})
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			breaker.Do(ctx, br, benchWorks)
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
			breaker.Do(ctx, forced, benchWorks)
		}
	})
	b.Run("SlowCall", func(b *testing.B) {
		watched := newBreaker(b, breaker.Config{SlowCall: time.Hour})
		b.ReportAllocs()
		for b.Loop() {
			breaker.Do(ctx, watched, benchWorks)
		}
	})
}

// Compare -cpu 1 with -cpu 2: what nobody writes scales with the cores.
func BenchmarkClosedSuccessParallel(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			breaker.Do(ctx, br, benchWorks)
		}
	})
}

func BenchmarkTenPercentFailures(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	ctx := context.Background()
	i := 0
	fn := func(context.Context) (int, error) {
		if i++; i%10 == 0 {
			return 0, errBoom
		}
		return 1, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		breaker.Do(ctx, br, fn)
	}
}

func BenchmarkFailure(b *testing.B) {
	br := newBreaker(b, breaker.Config{FailureThreshold: 10_000, FailureRate: 1})
	ctx := context.Background()
	i := 0
	fn := func(context.Context) (int, error) {
		if i++; i%9_000 == 0 {
			return 1, nil
		}
		return 0, errBoom
	}
	b.ReportAllocs()
	for b.Loop() {
		breaker.Do(ctx, br, fn)
	}
}

func BenchmarkFailureOutsideTheWindow(b *testing.B) { // the longest failure is looked for
	br := newBreaker(b, breaker.Config{FailureThreshold: 100, FailureWindow: 1, FailureRate: -1})
	b.ReportAllocs()
	for b.Loop() {
		p, _ := br.Enter()
		br.Leave(p, breaker.Failed, breaker.Failure{})
	}
}

func BenchmarkOpenRejected(b *testing.B) {
	br := newBreaker(b, breaker.Config{})
	br.Trip(because(boom))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		breaker.Do(ctx, br, benchWorks)
	}
}

func BenchmarkRecovery(b *testing.B) {
	br := newBreaker(b, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, RecoveryTimeout: 1})
	b.ReportAllocs()
	for b.Loop() { // CLOSED, OPEN, HALF_OPEN, CLOSED
		run(br, errBoom)
		run(br, nil)
	}
}

func BenchmarkMemoryOf100000Breakers(b *testing.B) {
	const n = 100_000
	all := make([]*breaker.Breaker, n)
	var before, after runtime.MemStats
	for b.Loop() {
		clear(all)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range all {
			all[i] = newBreaker(b, breaker.Config{})
			breaker.Do(context.Background(), all[i], benchWorks)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/breaker")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/n, "objects/breaker")
	runtime.KeepAlive(all)
}

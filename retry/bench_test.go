package retry_test

import (
	"context"
	"errors"
	"testing"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/retry"
)

// BenchmarkDo is what an attempt costs in all, when it succeeds at once, and what
// each guard adds.
func BenchmarkDo(b *testing.B) {
	fn := func(context.Context, retry.Attempt) (int, error) { return 1, nil }
	for _, c := range []struct {
		name   string
		config func() retry.Config
	}{
		{"alone", func() retry.Config { return retry.Config{} }},
		{"pacer", func() retry.Config {
			return retry.Config{Target: target(b, endpoint.Options{NoBreaker: true, NoBudget: true})}
		}},
		{"pacer and circuit", func() retry.Config { return retry.Config{Target: target(b, endpoint.Options{NoBudget: true})} }},
		{"pacer, circuit and budget", func() retry.Config { return retry.Config{Target: target(b, endpoint.Options{})} }},
	} {
		p, err := retry.New(c.config())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = retry.Do(context.Background(), p, fn)
			}
		})
	}
	down := errors.New("down")
	p, err := retry.New(retry.Config{Backoff: backoff.Constant{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("two failures, no wait", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = retry.Do(context.Background(), p, func(_ context.Context, a retry.Attempt) (int, error) {
				if a.Number <= 2 {
					return 0, down
				}
				return 1, nil
			})
		}
	})
}

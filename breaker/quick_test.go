package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := breaker.New("m", breaker.Config{OnStateChange: func(x breaker.Transition) { t.Log(x) }})
		boom := errors.New("boom")
		for range 7 {
			err := b.Run(t.Context(), func(context.Context) error { return boom })
			t.Log(err)
		}
		time.Sleep(60 * time.Second)
		for range 3 {
			t.Log(b.Run(t.Context(), func(context.Context) error { return nil }), b.Snapshot())
		}
	})
}

func BenchmarkClosed(b *testing.B) {
	br, _ := breaker.New("m", breaker.Config{})
	ctx := context.Background()
	fn := func(context.Context) error { return nil }
	for b.Loop() {
		br.Run(ctx, fn)
	}
}
func BenchmarkMixed(b *testing.B) {
	br, _ := breaker.New("m", breaker.Config{})
	ctx := context.Background()
	boom := errors.New("boom")
	i := 0
	fn := func(context.Context) error {
		i++
		if i%10 == 0 {
			return boom
		}
		return nil
	}
	for b.Loop() {
		br.Run(ctx, fn)
	}
}

func BenchmarkOpen(b *testing.B) {
	br, _ := breaker.New("m", breaker.Config{})
	br.Trip(errors.New("x"))
	ctx := context.Background()
	fn := func(context.Context) error { return nil }
	for b.Loop() {
		br.Run(ctx, fn)
	}
}

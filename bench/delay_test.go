package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	aws "github.com/aws/aws-sdk-go-v2/aws/retry"
	cenkalti "github.com/cenkalti/backoff/v7"
	"github.com/hashicorp/go-retryablehttp"
	sethvargo "github.com/sethvargo/go-retry"

	"llmcall/backoff"
)

// All wait 1 s, doubled up to 60 s, with the jitter that comes nearest to ±10 %.

func newCenkalti() *cenkalti.ExponentialBackOff {
	return &cenkalti.ExponentialBackOff{
		InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Minute, RandomizationFactor: 0.1,
	}
}

func newSethvargo() sethvargo.Backoff {
	return sethvargo.WithCappedDuration(time.Minute, sethvargo.WithJitterPercent(10, sethvargo.NewExponential(time.Second)))
}

func newAvast() (avast.DelayTypeFunc, *avast.Retrier) {
	return avast.CombineDelay(avast.BackOffDelay, avast.RandomDelay),
		avast.New(avast.Delay(time.Second), avast.MaxDelay(time.Minute), avast.MaxJitter(100*time.Millisecond))
}

func newAWS() *aws.Standard {
	return aws.NewStandard(func(o *aws.StandardOptions) {
		o.MaxBackoff, o.BaseDelay = time.Minute, time.Second
	})
}

// Ours are variables of the package, so that the compiler does not know their
// settings, as it does not know those of a configuration.
var (
	exponential     = backoff.Exponential{}
	exponentialFull = backoff.Exponential{Jitter: backoff.FullJitter}

	strategy backoff.Strategy = backoff.Exponential{}
)

// A sequence is its first eight delays. What keeps its place in the sequence
// begins anew after them.
const sequence = 8

func BenchmarkOneDelay(b *testing.B) {
	way(b, "floor=random_number", func(b *testing.B) {
		for b.Loop() {
			rand.Uint64()
		}
	})
	way(b, "ours=Exponential.Delay", func(b *testing.B) {
		i := 0
		for b.Loop() {
			exponential.Delay(i & (sequence - 1))
			i++
		}
	})
	way(b, "ours=Exponential.Delay,_full_jitter", func(b *testing.B) {
		i := 0
		for b.Loop() {
			exponentialFull.Delay(i & (sequence - 1))
			i++
		}
	})
	way(b, "ours=Strategy.Delay", func(b *testing.B) { // as the retry engine calls it
		i := 0
		for b.Loop() {
			strategy.Delay(i & (sequence - 1))
			i++
		}
	})
	way(b, "peer=cenkalti", func(b *testing.B) {
		s, i := newCenkalti(), 0
		for b.Loop() {
			if i&(sequence-1) == 0 {
				s.Reset()
			}
			s.NextBackOff()
			i++
		}
	})
	way(b, "peer=sethvargo", func(b *testing.B) {
		s, i := newSethvargo(), 0
		for b.Loop() {
			if i&(sequence-1) == 0 {
				s = newSethvargo()
			}
			s.Next()
			i++
		}
	})
	way(b, "peer=avast", func(b *testing.B) {
		delay, r := newAvast()
		i := 0
		for b.Loop() {
			delay(uint(i&(sequence-1))+1, errDown, r)
			i++
		}
	})
	way(b, "peer=hashicorp", func(b *testing.B) {
		i := 0
		for b.Loop() {
			retryablehttp.LinearJitterBackoff(900*time.Millisecond, 1100*time.Millisecond, i&(sequence-1), nil)
			i++
		}
	})
	way(b, "peer=aws", func(b *testing.B) {
		r, i := newAWS(), 0
		for b.Loop() {
			r.RetryDelay(i&(sequence-1)+1, errDown)
			i++
		}
	})
}

// BenchmarkTenThousandDelays is one sequence of 10,000: how the cost of a delay
// depends on its number.
func BenchmarkTenThousandDelays(b *testing.B) {
	const n = 10_000
	way(b, "floor=random_numbers", func(b *testing.B) {
		for b.Loop() {
			for range n {
				sink += time.Duration(rand.Uint64())
			}
		}
	})
	way(b, "ours=Exponential.Delay", func(b *testing.B) {
		for b.Loop() {
			for i := range n {
				sink += exponential.Delay(i)
			}
		}
	})
	way(b, "peer=cenkalti", func(b *testing.B) {
		s := newCenkalti()
		for b.Loop() {
			s.Reset()
			for range n {
				sink += s.NextBackOff()
			}
		}
	})
	way(b, "peer=sethvargo", func(b *testing.B) {
		for b.Loop() {
			s := newSethvargo()
			for range n {
				d, _ := s.Next()
				sink += d
			}
		}
	})
	way(b, "peer=avast", func(b *testing.B) {
		delay, r := newAvast()
		for b.Loop() {
			for i := range n {
				sink += delay(uint(i)+1, errDown, r)
			}
		}
	})
	way(b, "peer=hashicorp", func(b *testing.B) {
		for b.Loop() {
			for i := range n {
				sink += retryablehttp.LinearJitterBackoff(900*time.Millisecond, 1100*time.Millisecond, i, nil)
			}
		}
	})
	way(b, "peer=aws", func(b *testing.B) {
		r := newAWS()
		for b.Loop() {
			for i := range n {
				d, _ := r.RetryDelay(i+1, errDown)
				sink += d
			}
		}
	})
}

var sink time.Duration

package simulate

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Streams of chance. Each has sources of its own, so that the arrivals, latencies and
// faults of a scenario are the same for every configuration that is tried on it.
const (
	forArrivals uint64 = 1 + iota
	forRequest
	forRetries
	forPacer
	forWaits
)

// source returns the source of chance of a stream: the same for the same seed and numbers.
func source(seed, stream uint64, numbers ...uint64) *rand.Rand {
	h := mix(seed, stream)
	for _, n := range numbers {
		h = mix(h, n)
	}
	return rand.New(rand.NewPCG(h, mix(h, ^stream)))
}

// byTime returns a source of chance for the engine in a process, which is a function of the
// time alone. One answer may wake several calls of a process, and which of them draws first
// is not determined.
func byTime(seed, stream, number uint64) func() uint64 {
	h := mix(mix(seed, stream), number)
	return func() uint64 { return mix(h, uint64(time.Now().UnixNano())) }
}

// mix is a step of SplitMix64 (G. Steele et al., "Fast splittable pseudorandom number
// generators", OOPSLA 2014).
func mix(h, n uint64) uint64 {
	h = (h ^ n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// normal99 is the 99th percentile of the normal distribution.
const normal99 = 2.3263478740408408

// draw returns a time of the distribution.
func (l Latency) draw(r *rand.Rand) time.Duration {
	var d float64
	switch {
	case l.Mean > 0:
		d = r.ExpFloat64() * float64(l.Mean)
	case l.Median > 0:
		sigma := 0.0
		if l.P99 > l.Median {
			sigma = math.Log(float64(l.P99)/float64(l.Median)) / normal99
		}
		d = float64(l.Median) * math.Exp(sigma*r.NormFloat64())
	default:
		return l.Constant
	}
	return time.Duration(min(d, float64(maxDuration)))
}

// clock gives each event a nanosecond of its own, so that no two happen at the same time
// and their order is the same in every run.
type clock struct {
	mu sync.Mutex
	// taken has, for each instant that is taken, a later one: all between the two are taken
	// as well, so that the thousandth event of an instant does not look at 999 others.
	taken map[int64]int64
	swept int // the size of taken after the last sweep
}

// sweepEvery is how many instants may pile up before those in the past are forgotten.
const sweepEvery = 1 << 16

// after returns the first free instant that is at least d from now, and takes it.
func (c *clock) after(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	first := now.Add(max(d, 1))
	at := c.free(first.UnixNano())
	if len(c.taken) > c.swept+sweepEvery {
		for t := range c.taken {
			if t < now.UnixNano() {
				delete(c.taken, t)
			}
		}
		c.swept = len(c.taken)
	}
	c.taken[at] = at + 1
	return first.Add(time.Duration(at - first.UnixNano()))
}

// free returns the first free instant from one on, and shortens the way to it for the next
// (R. Tarjan, "Efficiency of a good but not linear set union algorithm", 1975, with the paths
// halved). The caller holds the lock.
func (c *clock) free(at int64) int64 {
	for {
		next, taken := c.taken[at]
		if !taken {
			return at
		}
		if beyond, taken := c.taken[next]; taken {
			c.taken[at] = beyond
		}
		at = next
	}
}

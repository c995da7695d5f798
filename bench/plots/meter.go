package main

import (
	"errors"
	"math"
	"runtime"
	"testing"
	"time"
)

// meter measures a point a number of times and keeps the least.
type meter struct {
	rounds    int
	benchtime time.Duration
}

// cost is that of one call.
type cost struct {
	ns    float64
	bytes float64
}

func least() cost { return cost{math.Inf(1), math.Inf(1)} }

func (c *cost) keep(ns, bytes float64) {
	c.ns, c.bytes = min(c.ns, ns), min(c.bytes, bytes)
}

// call measures a call by testing.Benchmark: its time, and the bytes it
// allocates.
func (m *meter) call(call func() error) (cost, error) {
	c := least()
	for range m.rounds {
		var failed error
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					failed = err
					return
				}
			}
		})
		if failed != nil {
			return c, failed
		}
		if r.N == 0 {
			return c, errors.New("nothing was measured")
		}
		c.keep(float64(r.T.Nanoseconds())/float64(r.N), float64(r.MemBytes)/float64(r.N))
	}
	return c, nil
}

// held returns the memory in use after a collection: the heap, and the stacks.
func held() float64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc + s.StackInuse)
}

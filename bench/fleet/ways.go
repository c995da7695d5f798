package main

import (
	"context"
	"fmt"
	"testing"

	"llmcall/breaker"
	"llmcall/endpoint"
)

// A way guards calls with a circuit breaker.
type way struct {
	name string
	open func(address string) (through func(work func() error) error, leave func(), err error)
}

var ways = []way{
	{"no fleet", openAlone},
	{"llmcall/fleet", openFleet},
	{"gobreaker, distributed", openGobreaker},
}

func wayOf(name string) (way, error) {
	for _, w := range ways {
		if w.name == name {
			return w, nil
		}
	}
	return way{}, fmt.Errorf("there is no way %q", name)
}

// through guards with the circuit of an endpoint of a registry, with the defaults.
func through(r *endpoint.Registry) func(func() error) error {
	b := circuitOf(r)
	return func(work func() error) error {
		_, err := breaker.Do(context.Background(), b, func(context.Context) (struct{}, error) { return struct{}{}, work() })
		return err
	}
}

func circuitOf(r *endpoint.Registry) *breaker.Breaker {
	return r.Get(endpoint.Key{Name: "bench"}).Circuit(endpoint.Options{})
}

func openAlone(string) (func(func() error) error, func(), error) {
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		return nil, nil, err
	}
	return through(r), func() {}, nil
}

// nanoseconds measures a healthy call that does nothing, without a fleet and with one, in
// turn in one process.
func nanoseconds(s *store, rounds int) (alone, shared float64, err error) {
	for range rounds {
		for _, m := range []struct {
			open  func(string) (*endpoint.Registry, func(), error)
			least *float64
		}{{registryAlone, &alone}, {registryOfFleet, &shared}} {
			r, leave, err := m.open(s.address)
			if err != nil {
				return 0, 0, err
			}
			b, ctx := circuitOf(r), context.Background()
			nothing := func(context.Context) (struct{}, error) { return struct{}{}, nil }
			took := testing.Benchmark(func(tb *testing.B) {
				for tb.Loop() {
					_, err = breaker.Do(ctx, b, nothing)
				}
			})
			leave()
			if err != nil {
				return 0, 0, err
			}
			if ns := float64(took.T.Nanoseconds()) / float64(took.N); *m.least == 0 || ns < *m.least {
				*m.least = ns
			}
		}
	}
	return alone, shared, nil
}

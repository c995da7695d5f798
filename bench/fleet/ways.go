package main

import (
	"context"
	"fmt"
	"testing"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet"
)

// A way guards calls with a circuit breaker.
type way struct {
	name string
	open func(address string) (through func(work func() error) error, leave func(), err error)
}

var ways = []way{
	{"no fleet", openOurs(alone)},
	{"llmcall/fleet", openOurs(ofFleet)},
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

// alone is a registry of this process.
func alone(string) (*endpoint.Registry, func(), error) {
	r, err := endpoint.NewRegistry(endpoint.Config{})
	return r, func() {}, err
}

// ofFleet is a registry that a fleet shares.
func ofFleet(address string) (*endpoint.Registry, func(), error) {
	f, err := fleet.Open("redis://"+address+"/0", fleet.Options{})
	if err != nil {
		return nil, nil, err
	}
	return f.Endpoints(), func() { _ = f.Close() }, nil
}

// openOurs guards with the circuit of an endpoint, with the defaults.
func openOurs(registry func(string) (*endpoint.Registry, func(), error)) func(string) (func(func() error) error, func(), error) {
	return func(address string) (func(func() error) error, func(), error) {
		r, leave, err := registry(address)
		if err != nil {
			return nil, nil, err
		}
		b := circuitOf(r)
		return func(work func() error) error {
			_, err := breaker.Do(context.Background(), b, func(context.Context) (struct{}, error) { return struct{}{}, work() })
			return err
		}, leave, nil
	}
}

func circuitOf(r *endpoint.Registry) *breaker.Breaker {
	return r.Get(endpoint.Key{Name: "bench"}).Circuit(endpoint.Options{})
}

// nanoseconds measures a healthy call that does nothing, without a fleet and with one, in
// turn in one process.
func nanoseconds(s *store, rounds int) (without, with float64, err error) {
	for range rounds {
		for _, m := range []struct {
			open  func(string) (*endpoint.Registry, func(), error)
			least *float64
		}{{alone, &without}, {ofFleet, &with}} {
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
	return without, with, nil
}

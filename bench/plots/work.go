package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"llmcall"
	"llmcall/bench/sample"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/validate"
)

// upTo returns 1, 2, 5, 10, 20, 50 … most.
func upTo(most int) []int {
	var points []int
	for decade := 1; decade <= most; decade *= 10 {
		for _, n := range []int{1, 2, 5} {
			if n*decade <= most {
				points = append(points, n*decade)
			}
		}
	}
	return points
}

// gate is a model that holds every call until it is opened.
type gate struct {
	expected int64
	arrived  atomic.Int64
	full     chan struct{} // closed when all have arrived
	open     chan struct{}
	answer   *llm.Response
}

func (g *gate) Name() string { return "plots/gate" }

func (g *gate) Complete(context.Context, *llm.Request) (*llm.Response, error) {
	if g.arrived.Add(1) == g.expected {
		close(g.full)
	}
	<-g.open
	return g.answer, nil
}

// wave sends n calls into a gate at once. atFull is called while all are in it.
func wave(n int, answer *llm.Response, call func(llm.Model) error, atFull func()) error {
	g := &gate{expected: int64(n), full: make(chan struct{}), open: make(chan struct{}), answer: answer}
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := call(g); err != nil {
				failed.Store(&err)
			}
		})
	}
	<-g.full
	atFull()
	close(g.open)
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func callsInFlight(m *meter) (*figure, error) {
	check, err := validate.JSONSchema([]byte(sample.Schema(10)))
	if err != nil {
		return nil, err
	}
	checks, answer := []validate.Strategy{check}, llm.Reply(sample.Answer(10))
	req, cfg := llm.Prompt("Who wrote the first program?"), llmcall.RetryConfig{EnableCircuitBreaker: true}
	whole := func(model llm.Model) error {
		_, err := llmcall.RetryWithValidation(context.Background(), model, req, checks, cfg)
		return err
	}
	alone := func(model llm.Model) error {
		_, err := model.Complete(context.Background(), req)
		return err
	}
	times := [2]series{{name: "RetryWithValidation"}, {name: "the model alone (a goroutine that waits)"}}
	memory := [2]series{{name: "allocated by RetryWithValidation"}, {name: "held by it in flight, heap and stack"}}
	for _, n := range upTo(10_000) {
		var costs [2]cost
		for i, call := range []func(llm.Model) error{whole, alone} {
			costs[i] = least()
			for range m.rounds {
				ns, bytes, err := m.waves(n, answer, call)
				if err != nil {
					return nil, err
				}
				costs[i].keep(ns, bytes)
			}
			times[i].add(n, costs[i].ns)
		}
		memory[0].add(n, costs[0].bytes)
		if n < 100 {
			continue // too little beside what the runtime takes and gives back meanwhile
		}
		base, full := held(), 0.0
		if err := wave(n, answer, whole, func() { full = held() }); err != nil {
			return nil, err
		}
		memory[1].add(n, (full-base)/float64(n))
	}
	return &figure{x: "calls in flight", panels: []panel{
		{y: "time per call", unit: nanoseconds, series: times[:]},
		{y: "memory per call", unit: bytesEach, series: memory[:]},
	}}, nil
}

// waves sends waves of n calls for as long as a point is measured, and returns
// what a call cost.
func (m *meter) waves(n int, answer *llm.Response, call func(llm.Model) error) (ns, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun, calls := time.Now(), 0
	for calls == 0 || time.Since(begun) < m.benchtime {
		if err := wave(n, answer, call, func() {}); err != nil {
			return 0, 0, err
		}
		calls += n
	}
	ns = float64(time.Since(begun).Nanoseconds())
	runtime.ReadMemStats(&after)
	return ns / float64(calls), float64(after.TotalAlloc-before.TotalAlloc) / float64(calls), nil
}

func keys(m *meter) (*figure, error) {
	ours, plain := series{name: "Registry.Get"}, series{name: "a plain map"}
	bytes := series{name: "Registry, its endpoints and its map"}
	for _, n := range upTo(100_000) {
		names, asked := make([]string, n), make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("provider/model-%d", i)
		}
		for i, from := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
			asked[i] = strings.Clone(names[from])
		}

		registry, err := newRegistry(names, n)
		if err != nil {
			return nil, err
		}
		endpoints := map[string]*endpoint.Endpoint{}
		for _, name := range names {
			endpoints[name] = registry.Get(endpoint.Key{Model: name})
		}
		perKey, err := registryBytes(names)
		if err != nil {
			return nil, err
		}
		bytes.add(n, perKey)

		i := 0
		next := func() string {
			if i++; i >= n {
				i = 0
			}
			return asked[i]
		}
		c, err := m.call(func() error {
			registry.Get(endpoint.Key{Model: next()})
			return nil
		})
		if err != nil {
			return nil, err
		}
		ours.add(n, c.ns)
		if c, err = m.call(func() error {
			if endpoints[next()] == nil {
				return fmt.Errorf("a key is missing")
			}
			return nil
		}); err != nil {
			return nil, err
		}
		plain.add(n, c.ns)
	}
	return &figure{x: "keys", panels: []panel{
		{y: "time per lookup", unit: nanoseconds, series: []series{ours, plain}},
		{y: "memory per key", unit: bytesEach, series: []series{bytes}},
	}}, nil
}

func newRegistry(names []string, limit int) (*endpoint.Registry, error) {
	r, err := endpoint.NewRegistry(endpoint.Config{Max: limit})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r.Get(endpoint.Key{Model: name})
	}
	return r, nil
}

// registryBytes returns what a registry of these names holds, a key. It makes so
// many that the sum stands out from what the runtime itself holds.
func registryBytes(names []string) (float64, error) {
	all := make([]*endpoint.Registry, 1+100_000/len(names))
	base := held()
	for i := range all {
		var err error
		if all[i], err = newRegistry(names, len(names)); err != nil {
			return 0, err
		}
	}
	sum := held() - base
	runtime.KeepAlive(all)
	return sum / float64(len(all)*len(names)), nil
}

func conversation(m *meter) (*figure, error) {
	right, wrong := llm.Reply("Ada Lovelace wrote it."), llm.Reply("I don't know.")
	check, err := validate.Contains("Lovelace")
	if err != nil {
		return nil, err
	}
	checks := []validate.Strategy{check}
	first := llm.Func("plots/first", func(context.Context, *llm.Request) (*llm.Response, error) { return right, nil })
	attempt := 0
	second := llm.Func("plots/second", func(context.Context, *llm.Request) (*llm.Response, error) {
		if attempt++; attempt%2 == 1 {
			return wrong, nil
		}
		return right, nil
	})
	var times, bytes [2]series
	for i, name := range []string{"the first answer is right", "the second answer is right"} {
		times[i].name, bytes[i].name = name, name
	}
	for _, n := range upTo(1000) {
		req := &llm.Request{Messages: make([]llm.Message, n)}
		for i := range req.Messages {
			if i%2 == 0 {
				req.Messages[i] = llm.User("Who wrote the first program, and for which machine?")
			} else {
				req.Messages[i] = llm.Assistant("Let me think about which of them you would call a program.")
			}
		}
		for i, model := range []llm.Model{first, second} {
			c, err := m.call(func() error {
				_, err := llmcall.RetryWithValidation(context.Background(), model, req, checks, llmcall.RetryConfig{})
				return err
			})
			if err != nil {
				return nil, err
			}
			times[i].add(n, c.ns)
			bytes[i].add(n, c.bytes)
		}
	}
	return &figure{x: "messages in the conversation", panels: []panel{
		{y: "time per call", unit: nanoseconds, series: times[:]},
		{y: "allocated per call", unit: bytesEach, series: bytes[:]},
	}}, nil
}

func schema(m *meter) (*figure, error) {
	whole, checkTime := series{name: "the whole call"}, series{name: "the check of the schema alone"}
	wholeBytes, checkBytes := series{name: whole.name}, series{name: checkTime.name}
	for _, n := range upTo(1000) {
		check, err := validate.JSONSchema([]byte(sample.Schema(n)))
		if err != nil {
			return nil, err
		}
		checks, answer := []validate.Strategy{check}, llm.Reply(sample.Answer(n))
		req := llm.Prompt("Who wrote the first program?")
		model := llm.Func("plots/schema", func(context.Context, *llm.Request) (*llm.Response, error) { return answer, nil })
		c, err := m.call(func() error {
			_, err := llmcall.RetryWithValidation(context.Background(), model, req, checks, llmcall.RetryConfig{})
			return err
		})
		if err != nil {
			return nil, err
		}
		whole.add(n, c.ns)
		wholeBytes.add(n, c.bytes)
		if c, err = m.call(func() error {
			report := validate.Run(context.Background(), checks, &validate.Answer{Text: answer.Text(), Response: answer, Request: req, Attempt: 1}, 0)
			if len(report.Complaints) > 0 || len(report.Failed) > 0 {
				return fmt.Errorf("the answer does not pass: %v", report)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		checkTime.add(n, c.ns)
		checkBytes.add(n, c.bytes)
	}
	return &figure{x: "fields in the schema", panels: []panel{
		{y: "time per call", unit: nanoseconds, series: []series{whole, checkTime}},
		{y: "allocated per call", unit: bytesEach, series: []series{wholeBytes, checkBytes}},
	}}, nil
}

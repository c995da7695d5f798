package llmcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/llm"
)

// hedged returns a client with a hedge after a second, and its registry.
func hedged(t *testing.T, cfg llmcall.RetryConfig, a, b llm.Model) (*llmcall.Client, *endpoint.Registry) {
	t.Helper()
	registry, _ := endpoint.NewRegistry(endpoint.Config{})
	cfg.Endpoints, cfg.Hedge = registry, &llmcall.Hedge{After: s, Extra: 1}
	c, err := llmcall.New([]llm.Model{a, b}, checked, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, registry
}

// nothingHeld fails if an endpoint has a request in flight.
func nothingHeld(t *testing.T, registry *endpoint.Registry) {
	t.Helper()
	for e := range registry.All() {
		if f := e.Snapshot(); f.Pace.InFlight != 0 {
			t.Errorf("%v has %d requests in flight", f.Key, f.Pace.InFlight)
		}
	}
}

// A goroutine that ends by runtime.Goexit, as t.FailNow in a model of a test does, is no
// answer.
func TestAHedgeThatExits(t *testing.T) {
	exits := func(context.Context, *llm.Request) (*llm.Response, error) { runtime.Goexit(); return nil, nil }
	synctest.Test(t, func(t *testing.T) {
		c, registry := hedged(t, exact(llmcall.RetryConfig{}), aModel("test/a", obedient(5*s, say("good"))), aModel("test/b", exits))
		r, err := c.Do(t.Context(), llm.Prompt("?"))
		if err != nil || r.Text != "good" || r.Attempts[0].Hedge == nil {
			t.Errorf("%+v, %v", r, err)
		}
		nothingHeld(t, registry)
	})
	synctest.Test(t, func(t *testing.T) {
		c, registry := hedged(t, exact(llmcall.RetryConfig{}), aModel("test/a", takes(2*s, exits)), aModel("test/b", obedient(9*s, say("good"))))
		done := make(chan struct{})
		begun := time.Now()
		go func() {
			defer close(done)
			_, _ = c.Do(t.Context(), llm.Prompt("?"))
		}()
		if <-done; time.Since(begun) != 2*s {
			t.Errorf("ended after %v", time.Since(begun))
		}
		nothingHeld(t, registry)
	})
}

// An attempt that waits for its turn in a round of a tool ends when its hedge has answered.
func TestAHedgeEndsTheWaitOfARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := aTool("f", found)
		tool.ReadOnly = true
		a := aModel("test/a", wants(calls("1", "f", `{}`)), say("good"))
		b := aModel("test/b", obedient(2*s, say("good")))
		c, registry := hedged(t, llmcall.RetryConfig{Tools: []llmcall.Tool{tool}, RequestsPerMinute: 1}, a, b)
		begun := time.Now()
		r, err := c.Do(t.Context(), llm.Prompt("?"))
		if err != nil || r.Model != "test/b" || time.Since(begun) != 3*s || a.calls() != 1 {
			t.Errorf("%+v, %v after %v, with %d requests to the first", r, err, time.Since(begun), a.calls())
		}
		if o := r.Attempts[0].Outcome; o != llmcall.OutcomeLost {
			t.Errorf("the first is %s", o)
		}
		nothingHeld(t, registry)
	})
}

// With count_invalid_answers each of the two requests counts once, at its own circuit.
func TestHedgesCountWrongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 1, EnableCircuitBreaker: true, CountInvalidAnswers: true})
		cfg.CircuitBreakerConfig.FailureThreshold = 3
		var wrong []step
		for i := range 9 {
			wrong = append(wrong, obedient(2*s, say(fmt.Sprint(i))))
		}
		c, registry := hedged(t, cfg, aModel("test/a", wrong...), aModel("test/b", wrong...))
		for n := 1; n <= 3; n++ {
			if _, err := c.Do(t.Context(), llm.Prompt("?")); err == nil {
				t.Fatal("a wrong answer is valid")
			}
			for e := range registry.All() {
				f := e.Snapshot()
				if state := f.Circuits[0].State.String(); (state == "OPEN") != (n == 3) {
					t.Errorf("after %d calls the circuit of %v is %s", n, f.Key, state)
				}
			}
		}
		nothingHeld(t, registry)
	})
}

// What is streamed to the caller is not hedged; what is streamed whole, because it is
// checked first, is not either.
func TestStreamsAreNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := aModel("test/b")
		c, _ := hedged(t, exact(llmcall.RetryConfig{}), streams("test/a", "good"), b)
		var last llmcall.Piece
		for p, err := range c.Stream(t.Context(), llm.Prompt("?")) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * s) // the reader is slow, and not the model
			last = p
		}
		if last.Result == nil || last.Result.Attempts[0].Hedge != nil || b.calls() != 0 {
			t.Errorf("%+v, %d requests to the second", last, b.calls())
		}
	})
}

// Calls of tools at the same time: one that panics, one that exits and one that ends are
// all waited for, and the panic is passed on.
func TestToolsThatEndBadly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := func(name string, run func()) llmcall.Tool {
			return aTool(name, func(context.Context, json.RawMessage) (string, error) { run(); return name, nil })
		}
		ended := false
		c := client(t, play(t, wants(calls("1", "panics", `{}`), calls("2", "exits", `{}`), calls("3", "ends", `{}`)), say("good")), checked, exact(llmcall.RetryConfig{
			Tools: []llmcall.Tool{
				tool("panics", func() { panic("on purpose") }), tool("exits", runtime.Goexit), tool("ends", func() { time.Sleep(s); ended = true }),
			},
		}))
		defer func() {
			if v := recover(); v != "on purpose" || !ended {
				t.Errorf("recovered %v, ended %v", v, ended)
			}
		}()
		_, err := c.Do(t.Context(), llm.Prompt("?"))
		t.Error(err)
	})
}

package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"llmcall"
	"llmcall/breaker"
	"llmcall/llm"
)

// A panic of the caller's tool goes on to the caller, and is no failure of the
// model.
func TestAPanicInAToolIsNoFailureOfTheModel(t *testing.T) {
	boom := errors.New("boom")
	registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
	m := play(t, say("bad"), wants(calls("1", "look", "{}")))
	cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, MaxAttemptsBeforeToolUse: 1, Tool: &llmcall.Tool{
		Tool: llm.Tool{Name: "look"},
		Run:  func(context.Context, json.RawMessage) (string, error) { panic(boom) },
	}})
	func() {
		defer func() {
			if v := recover(); v != boom {
				t.Errorf("panicked with %v", v)
			}
		}()
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		t.Errorf("returned %v", err)
	}()
	if got := registry.Get(m.Name()).State(); got != breaker.Closed {
		t.Errorf("the circuit is %v", got)
	}
}

package llmcall_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"llmcall"
	"llmcall/llm"
)

func TestStartAskIsAskWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, takes(5*s, say(`{"value":["a","b"]}`)))
		p := llmcall.StartAsk[[]string](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
		short, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if v, r, err := p.Wait(short); v != nil || r != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v, %v before its end", v, r, err)
		}
		<-p.Done()
		one, result, err := p.Wait(t.Context())
		if err != nil || len(one) != 2 || len(result.Attempts) != 1 {
			t.Fatalf("%v, %v, %v", one, result, err)
		}
		one[0] = "z"
		if other, again, err := p.Wait(t.Context()); err != nil || other[0] != "a" || again != result {
			t.Errorf("another waiter got %v, %v", other, err)
		}
	})
}

func TestAPendingAskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := llmcall.StartAsk[int](t.Context(), client(t, play(t, hang), nil, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
		p.Cancel()
		if _, _, err := p.Wait(t.Context()); reasonOf(t, err) != llmcall.ReasonCancelled {
			t.Errorf("%v", err)
		}
	})
	p := llmcall.StartAsk[func()](t.Context(), client(t, play(t), nil, llmcall.RetryConfig{}), llm.Prompt("x"))
	p.Cancel()
	<-p.Done()
	_, r, err := p.Wait(t.Context())
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "T" || r != nil {
		t.Errorf("%v", err)
	}
	if _, _, err := llmcall.StartAsk[int](t.Context(), client(t, play(t), nil, llmcall.RetryConfig{}), nil).Wait(t.Context()); err == nil {
		t.Error("no request was asked with")
	}
}

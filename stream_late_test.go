package llmcall_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/llm"
)

// late is a Streamer whose first stream hands on a piece after its time is up,
// as one that has it in a buffer does, and only then sees its context.
type late struct {
	*player
	wait time.Duration
}

func (m *late) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		m.at = append(m.at, time.Since(m.start))
		if m.calls() > 1 {
			_ = yield(llm.Chunk{Text: "good", Finish: llm.FinishStop}, nil)
			return
		}
		time.Sleep(m.wait)
		if yield(llm.Chunk{Usage: &llm.Usage{InputTokens: 1}}, nil) {
			yield(llm.Chunk{}, ctx.Err())
		}
	}
}

func TestAPieceThatComesAsTheIdleTimeEndsIsNoCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &late{play(t), 3 * s}
		text, result, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{IdleTimeout: 2 * s})))
		if text != "good" || err != nil || m.calls() != 2 {
			t.Fatalf("%q, %v after %d calls", text, err, m.calls())
		}
		if got := result.Attempts[0].Kind.String(); got != "attempt_timeout" {
			t.Errorf("the first attempt is %s", got)
		}
	})
}

// However late: the time was the caller's own.
func TestACallerThatLeavesAStreamLateIsNoFailureOfTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, m := range map[string]llm.Model{
			"of a streamer": stream(t, start("good", llm.FinishStop)), "of one that is none": play(t, say("good")),
		} {
			registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
			cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, AttemptTimeout: s})
			for range llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, cfg) {
				time.Sleep(2 * s)
				break
			}
			if got := registry.Get(m.Name()).State(); got != breaker.Closed {
				t.Errorf("%s: the circuit is %v", name, got)
			}
		}
	})
}

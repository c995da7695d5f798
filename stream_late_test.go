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
		text, result, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{FirstPieceTimeout: 2 * s})))
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

// A stream that just ends when its context does has not broken off by itself.
func TestAStreamThatEndsQuietlyWithItsContext(t *testing.T) {
	quiet := func(name string) llm.Streamer {
		return llm.StreamFunc(name, func(ctx context.Context, _ *llm.Request) iter.Seq2[llm.Chunk, error] {
			return func(yield func(llm.Chunk, error) bool) {
				if yield(llm.Chunk{Usage: &llm.Usage{InputTokens: 1}}, nil) {
					<-ctx.Done()
				}
			}
		})
	}
	for name, c := range map[string]struct {
		cfg    llmcall.RetryConfig
		want   string
		reason llmcall.Reason
	}{
		"nothing has come in time":   {llmcall.RetryConfig{FirstPieceTimeout: 2 * s}, "attempt_timeout", llmcall.ReasonProviderFailed},
		"the attempt's time is over": {llmcall.RetryConfig{AttemptTimeout: 2 * s}, "attempt_timeout", llmcall.ReasonProviderFailed},
		"the call's time is over":    {llmcall.RetryConfig{MaxTime: 2 * s, FirstPieceTimeout: 3 * s}, "deadline_exceeded", llmcall.ReasonOutOfTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			c.cfg.MaxAttempts = 1
			begun := time.Now()
			_, result, err := heard(llmcall.Stream(t.Context(), quiet(unused(t)), llm.Prompt("x"), nil, exact(c.cfg)))
			if a := traceOf(result, err).Attempts[0]; a.Kind.String() != c.want || reasonOf(t, err) != c.reason || time.Since(begun) != 2*s || a.Usage.InputTokens != 1 {
				t.Errorf("%s: streamed: %s after %v, %+v", name, err, time.Since(begun), a)
			}
			if c.cfg.FirstPieceTimeout != 0 && c.cfg.MaxTime == 0 {
				return // there is none without a stream
			}
			_, err = llmcall.RetryWithValidation(t.Context(), quiet(unused(t)), llm.Prompt("x"), nil, exact(c.cfg))
			if a := traceOf(nil, err).Attempts[0]; a.Kind.String() != c.want || reasonOf(t, err) != c.reason {
				t.Errorf("%s: in one piece: %s, %+v", name, err, a)
			}
		})
	}
}

package metrics_test

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/metrics"
	"llmcall/retry"

	"pgregory.net/rapid"
)

var drawnModels = []string{"acme/small", "acme/big", "user/made-up"}

// naive counts by the sentences of docs/metrics.md.
type naive map[string]float64

func (n naive) add(series string, v float64) {
	if v != 0 {
		n[series] += v
	}
}

func labelled(model string) string {
	if model == "user/made-up" {
		return "other"
	}
	return model
}

// "Attempts, hedges included; outcome is valid, lost, or the kind of failure."
func (n naive) attempt(a *llmcall.Attempt) {
	model := labelled(a.Model)
	outcome, answered := a.Kind.String(), a.Outcome != llmcall.OutcomeFailed && a.Outcome != llmcall.OutcomeLost
	if a.Outcome == llmcall.OutcomeValid || a.Outcome == llmcall.OutcomeLost {
		outcome = string(a.Outcome)
	}
	n.add(fmt.Sprintf("attempts_total{model=%q,outcome=%q}", model, outcome), 1)
	n.add(fmt.Sprintf(`attempt_duration_seconds_count{answered="%v",model=%q}`, answered, model), 1)
	n.add(fmt.Sprintf(`attempt_duration_seconds_sum{answered="%v",model=%q}`, answered, model), a.Duration.Seconds())
	if a.DelayReason != retry.NoWait {
		n.add(fmt.Sprintf("wait_seconds_total{reason=%q}", a.DelayReason), a.Delay.Seconds())
	}
	n.add(fmt.Sprintf("cost_dollars_total{model=%q}", model), float64(a.Cost.Nanos)/1e9)
	if a.Cost.Partial {
		n.add(fmt.Sprintf("unpriced_attempts_total{model=%q}", model), 1)
	}
	n.usage(model, "answer", a.Usage)
	n.usage(model, "check", a.CheckUsage)
	if a.Hedge != nil {
		n.add(fmt.Sprintf("hedges_total{model=%q}", labelled(a.Hedge.Model)), 1)
		n.attempt(a.Hedge)
	}
}

// "none of which includes another": one token at a time.
func (n naive) usage(model, use string, u llm.Usage) {
	count := func(kind string) {
		n.add(fmt.Sprintf("tokens_total{model=%q,type=%q,use=%q}", model, kind, use), 1)
	}
	for i := range max(u.InputTokens, 0) {
		switch {
		case i < u.CachedTokens:
			count("cached_input")
		case i < max(u.CachedTokens, 0)+u.CacheWriteTokens:
			count("cache_write_input")
		default:
			count("input")
		}
	}
	for i := range max(u.OutputTokens, 0) {
		if i < u.ReasoningTokens {
			count("reasoning_output")
		} else {
			count("output")
		}
	}
}

func drawUsage(t *rapid.T) llm.Usage {
	n := rapid.Int64Range(-3, 20)
	return llm.Usage{
		InputTokens: n.Draw(t, "input"), OutputTokens: n.Draw(t, "output"), CachedTokens: n.Draw(t, "cached"),
		ReasoningTokens: n.Draw(t, "reasoning"), CacheWriteTokens: n.Draw(t, "written"),
	}
}

func drawAttempt(t *rapid.T) llmcall.Attempt {
	// Eighths of seconds, which floats add up exactly.
	eighths := func(name string) time.Duration {
		return time.Duration(rapid.IntRange(0, 100).Draw(t, name)) * time.Second / 8
	}
	a := llmcall.Attempt{
		Model: rapid.SampledFrom(drawnModels).Draw(t, "model"),
		Outcome: rapid.SampledFrom([]llmcall.Outcome{
			llmcall.OutcomeValid, llmcall.OutcomeInvalid, llmcall.OutcomeCutOff, llmcall.OutcomeFailed, llmcall.OutcomeChecks, llmcall.OutcomeLost,
		}).Draw(t, "outcome"),
		Kind:     failure.Kind(rapid.IntRange(0, len(failure.Table{})-1).Draw(t, "kind")),
		Duration: eighths("duration"), DelayReason: retry.WaitReason(rapid.IntRange(0, int(retry.CircuitWait)).Draw(t, "reason")),
		Usage: drawUsage(t), CheckUsage: drawUsage(t),
		Cost: llmcall.Cost{Nanos: int64(rapid.IntRange(0, 8).Draw(t, "cost")) * 125_000_000, Partial: rapid.Bool().Draw(t, "partial")},
	}
	if a.DelayReason != retry.NoWait {
		a.Delay = eighths("delay")
	}
	return a
}

func TestCountsAreThoseOfTheModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, want := made(t, metrics.Options{Models: drawnModels[:2]}), naive{}
		for range rapid.IntRange(1, 5).Draw(r, "calls") {
			var attempts []llmcall.Attempt
			for range rapid.IntRange(0, 3).Draw(r, "attempts") {
				a := drawAttempt(r)
				if rapid.IntRange(0, 3).Draw(r, "hedged") == 0 {
					hedge := drawAttempt(r)
					a.Hedge = &hedge
				}
				want.attempt(&a)
				attempts = append(attempts, a)
			}
			model := rapid.SampledFrom(drawnModels).Draw(r, "last")
			call(m.Observer(), llmcall.Event{Model: model}, attempts...)
			want.add(fmt.Sprintf(`calls_total{model=%q,outcome="valid"}`, labelled(model)), 1)
			want.add(fmt.Sprintf(`call_duration_seconds_count{answered="true",model=%q}`, labelled(model)), 1)
		}
		if got := samples(t, m); !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			r.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

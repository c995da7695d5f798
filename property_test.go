package llmcall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// fault is one thing that a random model does, and the check of its answer.
type fault struct {
	takes  time.Duration
	kind   failure.Kind // of the error; the rest is for an answer, if it is 0
	told   bool
	after  time.Duration
	text   string
	finish llm.Finish
	hangs  bool
	check  int // how often the check of the answer fails before it can be made
}

func (f fault) String() string {
	if f.hangs {
		return "hang"
	}
	if f.kind != 0 {
		return fmt.Sprintf("%v after %v (told %v %v)", f.kind, f.takes, f.told, f.after)
	}
	return fmt.Sprintf("%q %s after %v (check fails %d times)", f.text, f.finish, f.takes, f.check)
}

func (f fault) step(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
	wait := f.takes
	if f.hangs {
		wait = 1000 * time.Hour
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	if f.kind != 0 {
		return nil, &failure.Error{Kind: f.kind, Told: f.told, RetryAfter: f.after, Message: "on purpose"}
	}
	return &llm.Response{Message: llm.Assistant(f.text), Finish: f.finish, Usage: llm.Usage{InputTokens: 1, OutputTokens: 2}}, nil
}

func short(most int) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond
	})
}

func drawFault(t *rapid.T) fault {
	f := fault{takes: short(5000).Draw(t, "takes")}
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		f.hangs = true
	case 1, 2, 3:
		f.kind = rapid.SampledFrom([]failure.Kind{
			failure.Transient, failure.Overloaded, failure.AttemptTimeout, failure.InvalidRequest, failure.QuotaExhausted,
			failure.Cancelled, failure.DeadlineExceeded, failure.CircuitOpen, failure.ContentFiltered,
		}).Draw(t, "kind")
		f.told, f.after = rapid.Bool().Draw(t, "told"), short(20_000).Draw(t, "after")
	case 4, 5:
		f.kind = failure.RateLimited
		f.told, f.after = rapid.Bool().Draw(t, "told"), rapid.SampledFrom([]time.Duration{0, 0, s, 7 * s, 50 * s}).Draw(t, "after")
	default:
		f.text = rapid.SampledFrom([]string{"a", "b", "c", "d", "good", "human", "stop"}).Draw(t, "text")
		f.finish = rapid.SampledFrom([]llm.Finish{llm.FinishStop, llm.FinishStop, llm.FinishStop, llm.FinishLength, llm.FinishNone, llm.FinishFiltered}).Draw(t, "finish")
		f.check = rapid.SampledFrom([]int{0, 0, 0, 1, 2, 9}).Draw(t, "check")
	}
	return f
}

func drawConfig(t *rapid.T) llmcall.RetryConfig {
	orNone := func(name string, most int) time.Duration {
		if rapid.Bool().Draw(t, name+"?") {
			return 0
		}
		return short(most).Draw(t, name) + 1
	}
	c := llmcall.RetryConfig{
		MaxAttempts: rapid.IntRange(1, 7).Draw(t, "max_attempts"), InitialDelay: orNone("initial_delay", 3000),
		MaxTime: orNone("max_time", 60_000), AttemptTimeout: orNone("attempt_timeout", 4000), CheckTimeout: orNone("check_timeout", 2000),
		MaxRetryAfter: orNone("max_retry_after", 30_000), MaxRateLimitWait: orNone("max_rate_limit_wait", 60_000),
		BackoffOnInvalidAnswer: rapid.Bool().Draw(t, "backoff_on_invalid_answer"), StopOnNoProgress: rapid.Bool().Draw(t, "stop_on_no_progress"),
		DisableRetryBudget: true, DisablePacing: true,
	}
	if !c.StopOnNoProgress && rapid.Bool().Draw(t, "human?") {
		c.MaxAttemptsBeforeHuman = rapid.IntRange(1, c.MaxAttempts).Draw(t, "human")
	}
	most := c.MaxAttempts
	if c.MaxAttemptsBeforeHuman > 0 {
		most = c.MaxAttemptsBeforeHuman
	}
	if most > 1 && rapid.Bool().Draw(t, "tool?") {
		c.MaxAttemptsBeforeToolUse, c.Tool = rapid.IntRange(1, most-1).Draw(t, "tool"), search
	}
	return c
}

// Whatever goes wrong, and whatever the configuration: what a call was allowed
// bounds it, and its trace accounts for all of it.
func TestNoPlanOfFaultsBreaksTheBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(drawFault), 0, 12).Draw(rt, "plan")
		cfg := drawConfig(rt)
		threshold := rapid.IntRange(0, 4).Draw(rt, "circuit's threshold")
		if threshold > 0 {
			cfg.CountInvalidAnswers, cfg.WaitForCircuit = rapid.Bool().Draw(rt, "count_invalid_answers"), rapid.Bool().Draw(rt, "wait_for_circuit")
		}
		var interrupt time.Duration
		if rapid.IntRange(0, 3).Draw(rt, "interrupted?") == 0 {
			interrupt = short(20_000).Draw(rt, "interrupted after") + 1
		}
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = breaks(t, plan, cfg, threshold, interrupt) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// breaks makes a call by plan and returns what is wrong with how it went.
func breaks(t *testing.T, plan []fault, cfg llmcall.RetryConfig, threshold int, interrupt time.Duration) (problem string) {
	var all []string
	bad := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if threshold > 0 {
		cfg.EnableCircuitBreaker, cfg.CircuitBreakerConfig.Config = true, breaker.Config{FailureThreshold: threshold, RecoveryTimeout: 5 * s, SuccessThreshold: 1}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if interrupt > 0 {
		defer time.AfterFunc(interrupt, cancel).Stop()
	}
	m := play(t)
	for _, f := range plan {
		m.steps = append(m.steps, f.step)
	}
	failing := map[int]int{}
	check := validate.Func("by plan", func(_ context.Context, a *validate.Answer) error {
		if n := a.Attempt - 1; n < len(plan) && failing[n] < plan[n].check {
			failing[n]++
			return validate.Unavailable(errors.New("the check is down"))
		}
		switch a.Text {
		case "good":
			return nil
		case "human":
			return validate.NeedsHuman(errors.New("a person!"))
		case "stop":
			return validate.StopAsking(errors.New("stop!"))
		}
		return fmt.Errorf("%q is not good", a.Text)
	})
	result, err := llmcall.RetryWithValidation(ctx, m, llm.Prompt("x"), []validate.Strategy{check}, cfg)
	elapsed := time.Since(m.start)
	trace, reason := traceOf(result, err), reasonOf(t, err)
	// A model may say itself that its caller wants no more.
	cancelled := reason == llmcall.ReasonCancelled && ctx.Err() != nil

	if len(trace.Attempts) != m.calls() {
		bad("%d calls of the model, %d attempts in the trace", m.calls(), len(trace.Attempts))
	}
	counted, at := 0, time.Duration(0)
	var usage llm.Usage
	for i, a := range trace.Attempts {
		limited := i < len(plan) && plan[i].kind == failure.RateLimited && plan[i].told && a.Kind == failure.RateLimited
		if !limited {
			counted++
		}
		if (a.Outcome == llmcall.OutcomeValid) != (a.Error == "") || (a.Outcome == llmcall.OutcomeValid) != (err == nil && i == len(trace.Attempts)-1) {
			bad("attempt %d: %s with the error %q, in a call that ended with %v", i+1, a.Outcome, a.Error, err)
		}
		if a.Number != i+1 || (a.Outcome == llmcall.OutcomeInvalid) != (a.Kind == failure.InvalidAnswer) {
			bad("attempt %d is %+v", i+1, a)
		}
		if at += a.Delay; a.Start.Sub(m.start) != at {
			bad("attempt %d began at %v: the waits and attempts before it come to %v", i+1, a.Start.Sub(m.start), at)
		}
		at += a.Duration
		if (a.Delay > 0) != (a.DelayReason != retry.NoWait) {
			bad("attempt %d: a delay of %v, because of %q", i+1, a.Delay, a.DelayReason)
		}
		if (a.Stage == llmcall.StageTool) != (len(m.asked[i].Tools) == 1) {
			bad("attempt %d: %v in stage %s", i+1, m.asked[i].Tools, a.Stage)
		}
		if err := turnsAlternate(m.asked[i].Messages); err != nil {
			bad("attempt %d: %v", i+1, err)
		}
		usage = usage.Add(a.Usage)
	}
	if counted > cfg.MaxAttempts || cfg.MaxAttemptsBeforeHuman > 0 && counted > cfg.MaxAttemptsBeforeHuman {
		bad("%d attempts that count", counted)
	}
	if usage != trace.Usage {
		bad("used %+v, in all %+v", usage, trace.Usage)
	}
	if at != elapsed && !cancelled {
		bad("ended after %v, and waits and attempts come to %v", elapsed, at)
	}
	if cfg.MaxTime > 0 && elapsed > cfg.MaxTime || interrupt > 0 && elapsed > interrupt {
		bad("ended after %v", elapsed)
	}
	if cancelled && elapsed != interrupt {
		bad("cancelled after %v", elapsed)
	}
	if err != nil && (result != nil || errors.Is(err, context.Canceled) != cancelled || reason == llmcall.ReasonOutOfTime && !errors.Is(err, context.DeadlineExceeded)) {
		bad("%v with the reason %s", err, reason)
	}
	if reason == llmcall.ReasonHumanReview && cfg.MaxAttemptsBeforeHuman == 0 && trace.Attempts[len(trace.Attempts)-1].Complaints[0].Problem != "a person!" {
		bad("a person, whom nobody named: %v", err)
	}
	if (reason == llmcall.ReasonCircuitOpen) && threshold == 0 && trace.Attempts[len(trace.Attempts)-1].Kind != failure.CircuitOpen {
		bad("an open circuit, where there is none: %v", err)
	}
	if all == nil {
		return ""
	}
	return fmt.Sprintf("%s\nthe call ended after %v with %v\n%s", strings.Join(all, "\n"), elapsed, err, strings.Join(lines(trace, m.start), "\n"))
}

// Any struct in range, written down by the names of its fields, is read back as
// it was.
func TestAConfigurationWrittenDownIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, written := llmcall.RetryConfig{}, map[string]any{}
		maybe := func(name string) bool { return rapid.Bool().Draw(t, name+"?") }
		truth := func(name string, at *bool) {
			if maybe(name) {
				*at = rapid.Bool().Draw(t, name)
				written[name] = *at
			}
		}
		duration := func(in map[string]any, name string, at *time.Duration) {
			if !maybe(name) {
				return
			}
			if rapid.Bool().Draw(t, name+" as text") {
				*at = time.Duration(rapid.Int64Range(1, 1<<62).Draw(t, name))
				in[name] = at.String()
			} else {
				*at = time.Duration(rapid.Int64Range(1, 1e15).Draw(t, name))
				in[name] = at.Seconds()
			}
		}
		count := func(in map[string]any, name string, least, most int, at *int) {
			if most >= least && maybe(name) {
				*at = rapid.IntRange(least, most).Draw(t, name)
				in[name] = *at
			}
		}
		ratio := func(in map[string]any, name string, low, high float64, at **float64) {
			if maybe(name) {
				*at = new(rapid.Float64Range(low, high).Draw(t, name))
				in[name] = **at
			}
		}
		count(written, "max_attempts", 1, 1<<40, &want.MaxAttempts)
		duration(written, "initial_delay", &want.InitialDelay)
		if maybe("backoff_factor") {
			want.BackoffFactor = rapid.Float64Min(1).Draw(t, "backoff_factor")
			written["backoff_factor"] = want.BackoffFactor
		}
		duration(written, "max_delay", &want.MaxDelay)
		if maybe("use_jitter") {
			want.UseJitter = new(rapid.Bool().Draw(t, "use_jitter"))
			written["use_jitter"] = *want.UseJitter
		}
		if want.UseJitter == nil || *want.UseJitter {
			ratio(written, "jitter_range", 0, 1, &want.JitterRange)
		}
		truth("backoff_on_invalid_answer", &want.BackoffOnInvalidAnswer)
		duration(written, "max_time", &want.MaxTime)
		duration(written, "attempt_timeout", &want.AttemptTimeout)
		duration(written, "first_piece_timeout", &want.FirstPieceTimeout)
		duration(written, "idle_timeout", &want.IdleTimeout)
		truth("restart_streams", &want.RestartStreams)
		duration(written, "check_timeout", &want.CheckTimeout)
		duration(written, "max_retry_after", &want.MaxRetryAfter)
		duration(written, "max_rate_limit_wait", &want.MaxRateLimitWait)
		truth("enable_circuit_breaker", &want.EnableCircuitBreaker)
		if want.EnableCircuitBreaker {
			truth("count_invalid_answers", &want.CountInvalidAnswers)
			truth("wait_for_circuit", &want.WaitForCircuit)
		}
		truth("disable_retry_budget", &want.DisableRetryBudget)
		truth("disable_pacing", &want.DisablePacing)
		truth("stop_on_no_progress", &want.StopOnNoProgress)
		if want.EnableCircuitBreaker && maybe("circuit_breaker_config") {
			in, c := map[string]any{}, &want.CircuitBreakerConfig
			count(in, "failure_threshold", 1, 10_000, &c.FailureThreshold)
			duration(in, "recovery_timeout", &c.RecoveryTimeout)
			duration(in, "failure_window", &c.FailureWindow)
			if maybe("failure_rate") {
				c.FailureRate = rapid.Float64Range(0.001, 1).Draw(t, "failure_rate")
				in["failure_rate"] = c.FailureRate
			}
			count(in, "half_open_probes", 1, 10_000, &c.HalfOpenProbes)
			count(in, "success_threshold", 1, 10_000, &c.SuccessThreshold)
			duration(in, "probe_lease", &c.ProbeLease)
			duration(in, "slow_call", &c.SlowCall)
			if maybe("excluded_exceptions") {
				c.ExcludedExceptions = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) failure.Kind {
					return failure.Kind(rapid.IntRange(0, int(failure.DeadlineExceeded)).Draw(t, "kind"))
				}), 1, 5).Draw(t, "excluded")
				if want.CountInvalidAnswers { // to exclude them too would contradict that
					c.ExcludedExceptions = slices.DeleteFunc(c.ExcludedExceptions, func(k failure.Kind) bool { return k == failure.InvalidAnswer })
				}
				if len(c.ExcludedExceptions) == 0 {
					c.ExcludedExceptions = nil
				} else {
					in["excluded_exceptions"] = c.ExcludedExceptions
				}
			}
			written["circuit_breaker_config"] = in
		}
		attempts := want.MaxAttempts
		if attempts == 0 {
			attempts = llmcall.DefaultMaxAttempts
		}
		if !want.StopOnNoProgress { // a person comes first
			count(written, "max_attempts_before_human", 1, attempts, &want.MaxAttemptsBeforeHuman)
		}
		if want.MaxAttemptsBeforeHuman > 0 {
			attempts = want.MaxAttemptsBeforeHuman
		}
		if attempts > 1 && maybe("tool") {
			words := rapid.String()
			want.Tool = &llmcall.Tool{Tool: llm.Tool{
				Name: rapid.StringN(1, -1, -1).Draw(t, "name"), Description: words.Draw(t, "description"),
			}, Instruction: words.Draw(t, "instruction")}
			in := map[string]any{"name": want.Tool.Name, "description": want.Tool.Description, "instruction": want.Tool.Instruction}
			if maybe("parameters") {
				parameters := map[string]any{"type": "object", "required": []any{words.Draw(t, "required")}}
				var text bytes.Buffer
				e := json.NewEncoder(&text)
				e.SetEscapeHTML(false)
				_ = e.Encode(parameters)
				want.Tool.Parameters = bytes.TrimSpace(text.Bytes())
				in["parameters"] = parameters
			}
			written["tool"] = in
			want.MaxAttemptsBeforeToolUse = rapid.IntRange(1, attempts-1).Draw(t, "max_attempts_before_tool_use")
			written["max_attempts_before_tool_use"] = want.MaxAttemptsBeforeToolUse
		}
		for name, write := range map[string]func() ([]byte, error){
			"YAML": func() ([]byte, error) { return yaml.Dump(written) },
			"JSON": func() ([]byte, error) { return json.Marshal(written) },
		} {
			text, err := write()
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := llmcall.ParseConfig(name, text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got\n%+v\nwant\n%+v\nof\n%s", name, got, want, text)
			}
		}
	})
}

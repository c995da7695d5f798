package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// rough is a call with something of everything in its trace.
func rough(t *testing.T, more func(*llmcall.RetryConfig)) (*llmcall.Result, time.Time, error) {
	reply := func(text string, f llm.Finish, tokens int64) step {
		return answers(&llm.Response{Message: llm.Assistant(text), Finish: f, Usage: llm.Usage{InputTokens: tokens, OutputTokens: 1, CachedTokens: 2, ReasoningTokens: 3}})
	}
	m := play(t, down, takes(2*s, reply("bad", llm.FinishStop, 100)), told(failure.RateLimited, 5*s), reply("go", llm.FinishLength, 10), takes(s, reply("good", llm.FinishStop, 1)))
	cfg := exact(llmcall.RetryConfig{
		MaxAttempts: 6, EnableCircuitBreaker: true, MaxAttemptsBeforeToolUse: 2, Tool: search,
	})
	if more != nil {
		more(&cfg)
	}
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
	return r, m.start, err
}

func TestTheTraceHasEveryFieldOfEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, start, err := rough(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		usage := func(input int64) llm.Usage {
			return llm.Usage{InputTokens: input, OutputTokens: 1, CachedTokens: 2, ReasoningTokens: 3}
		}
		bad := validate.Complaint{Check: "is_good", Problem: `"bad" is not good`, Suggestion: "say good"}
		cut := validate.Complaint{Check: "complete", Problem: "the answer was cut off at its token limit before it was complete", Suggestion: "give the whole answer in fewer words"}
		name := t.Name()
		want := []llmcall.Attempt{
			{Number: 1, Model: name, Stage: "basic", Outcome: "failed", Kind: failure.Transient, Error: "test: transient: on purpose", Start: start, Circuit: "CLOSED"},
			{Number: 2, Model: name, Stage: "basic", Outcome: "invalid", Kind: failure.InvalidAnswer, Error: `is_good: "bad" is not good (say good)`, Complaints: []validate.Complaint{bad}, Answer: "bad", Start: start.Add(s), Duration: 2 * s, Delay: s, DelayReason: retry.BackoffWait, Usage: usage(100), Cost: llmcall.Cost{Partial: true}, Circuit: "CLOSED"},
			{Number: 3, Model: name, Stage: "tool", Why: "2 attempts have failed", Outcome: "failed", Kind: failure.RateLimited, Error: "test: rate_limited (come back in 5s)", Start: start.Add(3 * s), Circuit: "CLOSED"},
			{Number: 4, Model: name, Stage: "tool", Outcome: "cut_off", Kind: failure.CutOff, Error: cut.String(), Complaints: []validate.Complaint{cut}, Answer: "go", Start: start.Add(8 * s), Delay: 5 * s, DelayReason: retry.RateLimitWait, Usage: usage(10), Cost: llmcall.Cost{Partial: true}, Circuit: "CLOSED"},
			{Number: 5, Model: name, Stage: "tool", Outcome: "valid", Start: start.Add(8 * s), Duration: s, Usage: usage(1), Cost: llmcall.Cost{Partial: true}, Circuit: "CLOSED"},
		}
		for i, a := range r.Attempts {
			if got, want := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", want[i]); got != want {
				t.Errorf("attempt %d is\n%s\nwant\n%s", i+1, got, want)
			}
		}
		if len(r.Attempts) != len(want) || r.Usage != (llm.Usage{InputTokens: 111, OutputTokens: 3, CachedTokens: 6, ReasoningTokens: 9}) {
			t.Errorf("%d attempts, %+v in all", len(r.Attempts), r.Usage)
		}
	})
}

// The names are those of the documentation, no more and no less, in this order.
func TestAnAttemptAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := rough(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range map[int]string{
			0: `{"number":1,"model":"NAME","stage":"basic","outcome":"failed","kind":"transient","error":"test: transient: on purpose","complaints":[],"duration_ms":0,"delay_ms":0,"delay_reason":"","circuit":"CLOSED","usage":{"input_tokens":0,"output_tokens":0}}`,
			1: `{"number":2,"model":"NAME","stage":"basic","outcome":"invalid","kind":"invalid_answer","error":"is_good: \"bad\" is not good (say good)","complaints":[{"check":"is_good","problem":"\"bad\" is not good","suggestion":"say good"}],"answer":"bad","duration_ms":2000,"delay_ms":1000,"delay_reason":"backoff","circuit":"CLOSED","usage":{"input_tokens":100,"output_tokens":1,"cached_tokens":2,"reasoning_tokens":3}}`,
			4: `{"number":5,"model":"NAME","stage":"tool","outcome":"valid","kind":"","error":"","complaints":[],"duration_ms":1000,"delay_ms":0,"delay_reason":"","circuit":"CLOSED","usage":{"input_tokens":1,"output_tokens":1,"cached_tokens":2,"reasoning_tokens":3}}`,
		} {
			got, err := json.Marshal(r.Attempts[i])
			if want := strings.Replace(want, "NAME", t.Name(), 1); err != nil || string(got) != want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want)
			}
		}
	})
	if got, err := json.Marshal(llmcall.Attempt{Duration: 1234567 * time.Nanosecond, Delay: 999 * time.Nanosecond}); err != nil || !strings.Contains(string(got), `"duration_ms":1.234,"delay_ms":0,`) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAFailureHasTheTraceThatASuccessWouldHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, start, err := rough(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := lines(good.Trace, start)
		_, start, err = rough(t, func(c *llmcall.RetryConfig) { c.MaxAttempts = 3 })
		trace := traceOf(nil, err)
		if got := lines(trace, start); !slices.Equal(got, want[:4]) || trace.Usage.InputTokens != 110 {
			t.Errorf("%v: %+v with %q", err, trace.Usage, got)
		}
	})
}

func TestAnErrorOfAnotherKindIsLeftAsItIs(t *testing.T) {
	own := errors.New("own")
	m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
		return nil, fmt.Errorf("wrapped: %w", &failure.Error{Kind: failure.InvalidRequest, Status: 400, Code: "bad", RequestID: "r1", Err: own})
	})
	_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), nil, llmcall.RetryConfig{})
	e, ok := errors.AsType[*failure.Error](err)
	if !ok || e.Status != 400 || e.RequestID != "r1" || !errors.Is(err, own) || traceOf(nil, err).Attempts[0].Kind != failure.InvalidRequest {
		t.Errorf("%v", err)
	}
}

package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// search is a tool that a model can only be offered, not have run.
var search = &llmcall.Tool{Tool: llm.Tool{Name: "search", Description: "finds pages", Parameters: []byte(`{"type":"object"}`)}}

// Each row is a trace. The thresholds count failed attempts, and mean the same
// for failures of the provider and for wrong answers.
func TestStages(t *testing.T) {
	const (
		human    = llmcall.ReasonHumanReview
		failed   = llmcall.ReasonProviderFailed
		invalid  = llmcall.ReasonNoValidAnswer
		repeated = llmcall.ReasonNoProgress
	)
	a, b, c, d := say("a"), say("b"), say("c"), say("d")
	toolAt := func(n int) llmcall.RetryConfig {
		return llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeToolUse: n, Tool: search}
	}
	humanAt := func(n int) llmcall.RetryConfig {
		return llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeHuman: n}
	}
	both := llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeToolUse: 2, Tool: search, MaxAttemptsBeforeHuman: 4}
	stopping := llmcall.RetryConfig{MaxAttempts: 5, StopOnNoProgress: true}
	for _, row := range []struct {
		name   string
		cfg    llmcall.RetryConfig
		steps  []step
		trace  []string
		reason llmcall.Reason
	}{
		{"the tool after two wrong answers", toolAt(2), []step{a, b, c}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool invalid invalid_answer", "0s tool valid",
		}, ""},
		{"the tool after two failures", toolAt(2), times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s tool failed transient, after 2s backoff", "7s tool valid, after 4s backoff",
		}, ""},
		{"the tool after one of each", toolAt(2), []step{a, down}, []string{
			"0s basic invalid invalid_answer", "0s basic failed transient", "1s tool valid, after 1s backoff",
		}, ""},
		{"a person after four wrong answers", humanAt(4), []step{a, b, c, d}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, human},
		{"a person after two failures, without a wait behind the second", humanAt(2), times(9, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, human},
		{"a person after two wrong answers that are waited for", llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeHuman: 2, BackoffOnInvalidAnswer: true}, []step{a, b}, []string{
			"0s basic invalid invalid_answer", "1s basic invalid invalid_answer, after 1s backoff",
		}, human},
		{"a person after the first", humanAt(1), []step{a}, []string{"0s basic invalid invalid_answer"}, human},
		{"a person instead of the end of all attempts", humanAt(5), []step{a, b, c, d, say("e")}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, human},
		{"no person where none was named", llmcall.RetryConfig{MaxAttempts: 2}, []step{a, b}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, invalid},
		{"nor for failures", llmcall.RetryConfig{MaxAttempts: 2}, times(2, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, failed},
		{"a failure that no retry mends needs no person", humanAt(4), times(9, kind(failure.InvalidRequest)), []string{"0s basic failed invalid_request"}, failed},
		{"an attempt cut at its limit counts like any other", llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeHuman: 2, AttemptTimeout: 10 * s}, times(9, hang), []string{
			"0s basic failed attempt_timeout", "11s basic failed attempt_timeout, after 1s backoff",
		}, human},
		{"the tool, and then a person", both, []step{a, b, c, d}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool invalid invalid_answer", "0s tool invalid invalid_answer",
		}, human},
		{"waits for a rate limit do not count", both, []step{told(failure.RateLimited, s), told(failure.RateLimited, s), told(failure.RateLimited, s), told(failure.RateLimited, s), a, b}, []string{
			"0s basic failed rate_limited", "1s basic failed rate_limited, after 1s rate_limit", "2s basic failed rate_limited, after 1s rate_limit",
			"3s basic failed rate_limited, after 1s rate_limit", "4s basic invalid invalid_answer, after 1s rate_limit", "4s basic invalid invalid_answer", "4s tool valid",
		}, ""},
		{"a rate limit without a time does", humanAt(1), []step{kind(failure.RateLimited)}, []string{"0s basic failed rate_limited"}, human},
		{"one that says 0 does not", llmcall.RetryConfig{MaxAttempts: 5, MaxAttemptsBeforeHuman: 2, Backoff: backoff.Constant{}}, times(2, told(failure.RateLimited, 0)), []string{
			"0s basic failed rate_limited", "100ms basic failed rate_limited, after 100ms pace", "200ms basic valid, after 100ms pace",
		}, ""},

		// No progress begins the next stage early.
		{"the same answer again: the tool early", toolAt(4), []step{a, a}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool valid",
		}, ""},
		{"white space makes no answer another", toolAt(4), []step{a, say(" a\n")}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool valid",
		}, ""},
		{"a failure in between is no progress", toolAt(4), []step{a, down, a}, []string{
			"0s basic invalid invalid_answer", "0s basic failed transient", "1s basic invalid invalid_answer, after 1s backoff", "1s tool valid",
		}, ""},
		{"two that alternate are not the same again", toolAt(4), []step{a, b, a}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic valid",
		}, ""},
		{"the same answer again: a person early", humanAt(4), []step{a, a}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, human},
		{"the tool early, and then a person early", both, []step{a, a, a, b}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool invalid invalid_answer",
		}, human},
		{"with the tool an answer gets its chance", llmcall.RetryConfig{MaxAttempts: 9, MaxAttemptsBeforeToolUse: 2, Tool: search, MaxAttemptsBeforeHuman: 8}, []step{a, a, b, c, c}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool invalid invalid_answer", "0s tool invalid invalid_answer", "0s tool invalid invalid_answer",
		}, human},
		{"with no stage left the attempts go on", llmcall.RetryConfig{MaxAttempts: 4}, times(9, a), []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, invalid},
		{"unless they are to stop", stopping, times(9, a), []string{"0s basic invalid invalid_answer", "0s basic invalid invalid_answer"}, repeated},
		{"failures are no answers that repeat themselves", stopping, times(9, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s basic failed transient, after 2s backoff",
			"7s basic failed transient, after 4s backoff", "15s basic failed transient, after 8s backoff",
		}, failed},
		{"they stop after the tool", llmcall.RetryConfig{MaxAttempts: 9, MaxAttemptsBeforeToolUse: 3, Tool: search, StopOnNoProgress: true}, times(9, a), []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s tool invalid invalid_answer",
		}, repeated},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, form := range forms {
				synctest.Test(t, func(t *testing.T) {
					m := play(t, row.steps...)
					cfg := exact(row.cfg)
					result, err := form.call(t.Context(), m, llm.Prompt("Be good"), checked, cfg)
					trace := traceOf(result, err)
					if got := lines(trace, m.start); !slices.Equal(got, row.trace) {
						t.Errorf("%s:\n%s\nwant:\n%s", form.name, strings.Join(got, "\n"), strings.Join(row.trace, "\n"))
					}
					if got := reasonOf(t, err); got != row.reason {
						t.Errorf("%s: ended because of %q (%v), want %q", form.name, got, err, row.reason)
					}
					if n := len(trace.Attempts); time.Since(trace.Attempts[n-1].Start) != trace.Attempts[n-1].Duration {
						t.Errorf("%s: it waited after the last attempt", form.name)
					}
					for i, a := range trace.Attempts {
						if offered := len(m.asked[i].Tools) == 1; offered != (a.Stage == llmcall.StageTool) {
							t.Errorf("%s: attempt %d: tools %v in stage %s", form.name, i+1, m.asked[i].Tools, a.Stage)
						}
					}
				})
			}
		})
	}
}

// Failing in just the same way is no progress, though the answers differ.
func TestFailingInTheSameWayIsNoProgress(t *testing.T) {
	same := validate.Func("same", func(context.Context, *validate.Answer) error { return validate.Fail("it lacks a date", "add one") })
	m := play(t, say("a"), say("b"), say("c"))
	_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{same}, llmcall.RetryConfig{MaxAttempts: 9, StopOnNoProgress: true})
	if reasonOf(t, err) != llmcall.ReasonNoProgress || m.calls() != 2 {
		t.Errorf("%v after %d calls", err, m.calls())
	}
	if !strings.Contains(err.Error(), "keeps giving the same answer") || !strings.Contains(err.Error(), "it lacks a date") || failure.KindOf(err) != failure.InvalidAnswer {
		t.Errorf("%v (%v)", err, failure.KindOf(err))
	}
}

// Calls of a tool are not compared by their text, of which they have none.
func TestDifferentToolCallsAreProgress(t *testing.T) {
	m := play(t, wants(calls("1", "search", `{"q":"a"}`)), wants(calls("2", "search", `{"q":"b"}`)))
	n := 0
	wrong := validate.Func("wrong", func(_ context.Context, a *validate.Answer) error {
		if n++; a.Text == "good" {
			return nil
		}
		return validate.Fail(fmt.Sprintf("wrong in another way: %d", n), "")
	})
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{wrong}, llmcall.RetryConfig{StopOnNoProgress: true}); err != nil {
		t.Error(err)
	}
}

func TestHumanReviewHoldsAllThatAPersonNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, say("a"), down, say("b"))
		req := &llm.Request{Messages: []llm.Message{llm.System("sys"), llm.User("Be good")}}
		_, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, exact(llmcall.RetryConfig{MaxAttempts: 9, MaxAttemptsBeforeHuman: 3}))
		e, ok := errors.AsType[*llmcall.HumanReviewError](err)
		if !ok {
			t.Fatal(err)
		}
		want := talk(m.last().Messages) + "assistant: \"b\"\n"
		if got := talk(e.Conversation); got != want {
			t.Errorf("the conversation is\n%s\nwant\n%s", got, want)
		}
		if e.Last.Text() != "b" || len(e.Complaints) != 1 || e.Complaints[0].Problem != `"b" is not good` {
			t.Errorf("last %v with %v", e.Last, e.Complaints)
		}
		if len(e.Attempts) != 3 || len(e.Attempts[0].Complaints) != 1 || e.Attempts[1].Kind != failure.Transient || len(e.Attempts[2].Complaints) != 1 {
			t.Errorf("the trace is %+v", e.Attempts)
		}
		if _, ok := errors.AsType[*llmcall.InvalidAnswerError](err); !ok || !strings.Contains(err.Error(), "3 attempts have failed") {
			t.Errorf("%v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the last failure is none of an answer
		m := play(t, say("a"), down)
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("Be good"), checked, exact(llmcall.RetryConfig{MaxAttemptsBeforeHuman: 2}))
		e, ok := errors.AsType[*llmcall.HumanReviewError](err)
		if !ok || talk(e.Conversation) != talk(m.last().Messages) || e.Last.Text() != "a" || failure.KindOf(e) != failure.Transient {
			t.Errorf("%v, the conversation is\n%s", err, talk(e.Conversation))
		}
	})
	synctest.Test(t, func(t *testing.T) { // no answer ever came
		_, err := llmcall.RetryWithValidation(t.Context(), play(t, down), llm.Prompt("Be good"), checked, exact(llmcall.RetryConfig{MaxAttemptsBeforeHuman: 1}))
		e, ok := errors.AsType[*llmcall.HumanReviewError](err)
		if !ok || e.Last != nil || e.Complaints != nil || talk(e.Conversation) != "user: \"Be good\"\n" {
			t.Errorf("%v", err)
		}
	})
}

// A check may know better than the counts.
func TestAdviceOfACheck(t *testing.T) {
	advise := func(wrap func(error) error) validate.Strategy {
		return validate.Func("advisor", func(_ context.Context, a *validate.Answer) error {
			if a.Text == "good" {
				return nil
			}
			return wrap(validate.Fail("it is hopeless", ""))
		})
	}
	for _, c := range []struct {
		name   string
		checks []validate.Strategy
		reason llmcall.Reason
	}{
		{"stop", []validate.Strategy{isGood, advise(validate.StopAsking)}, llmcall.ReasonNoValidAnswer},
		{"a person", []validate.Strategy{advise(validate.NeedsHuman), isGood}, llmcall.ReasonHumanReview},
		{"a stop outweighs the count", []validate.Strategy{advise(validate.StopAsking)}, llmcall.ReasonNoValidAnswer},
		{"a person outweighs a stop", []validate.Strategy{advise(validate.NeedsHuman), advise(validate.StopAsking)}, llmcall.ReasonHumanReview},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, human := play(t, say("a")), 0
			if strings.Contains(c.name, "count") {
				human = 1
			}
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), c.checks, llmcall.RetryConfig{MaxAttempts: 9, MaxAttemptsBeforeHuman: human})
			if reasonOf(t, err) != c.reason || m.calls() != 1 || !strings.Contains(err.Error(), "it is hopeless") {
				t.Errorf("%v after %d calls", err, m.calls())
			}
			if n := len(traceOf(nil, err).Attempts[0].Complaints); n != len(c.checks) {
				t.Errorf("%d complaints of %d checks", n, len(c.checks))
			}
		})
	}
	m := play(t)
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{advise(validate.StopAsking)}, llmcall.RetryConfig{}); err != nil {
		t.Error(err)
	}
}

func TestTheToolIsOfferedDefinedAndNamed(t *testing.T) {
	cfg := llmcall.RetryConfig{MaxAttempts: 4, MaxAttemptsBeforeToolUse: 2, Tool: search}
	req := llm.Prompt("Be good")
	req.Tools = []llm.Tool{{Name: "own"}}
	m := play(t, say("a"), say("b"), say("c"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, cfg); err != nil {
		t.Fatal(err)
	}
	const instruction = "IMPORTANT: use the tool \"search\" to find what you need for a right answer before you answer again.\n"
	for i, r := range m.asked {
		tool := i >= 2
		want := []llm.Tool{{Name: "own"}}
		if tool {
			want = append(want, search.Tool)
		}
		if !reflect.DeepEqual(r.Tools, want) {
			t.Errorf("attempt %d offers %v", i+1, r.Tools)
		}
		if got := strings.Contains(r.Messages[len(r.Messages)-1].Text(), instruction); got != tool {
			t.Errorf("attempt %d sends\n%s", i+1, talk(r.Messages))
		}
	}

	own := *search
	own.Instruction = "Look the city up in it."
	cfg.Tool = &own
	m = play(t, say("a"), say("b"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, cfg); err != nil {
		t.Fatal(err)
	}
	if got := m.last().Messages[2].Text(); !strings.Contains(got, "IMPORTANT: you may use the tool \"search\". Look the city up in it.\n") {
		t.Error(got)
	}
}

// There is no answer to complain about, but the model must know.
func TestTheToolIsNamedAfterFailuresToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 4, MaxAttemptsBeforeToolUse: 2, Tool: search})
		m := play(t, down, down, down)
		parts := append(make([]llm.Part, 0, 2), llm.Text("Be good"))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: parts}}}, checked, cfg); err != nil {
			t.Fatal(err)
		}
		if parts[:2][1] != nil {
			t.Errorf("the caller's slice was written to: %v", parts[:2])
		}
		const want = "user: \"Be good\" \"IMPORTANT: use the tool \\\"search\\\" to find what you need for a right answer before you answer again.\"\n"
		for _, i := range []int{2, 3} {
			if got := talk(m.asked[i].Messages); got != want {
				t.Errorf("attempt %d sends\n%s\nwant\n%s", i+1, got, want)
			}
		}
		m = play(t, down, down)
		req := &llm.Request{Messages: []llm.Message{llm.User("x"), {Role: llm.RoleAssistant, Parts: []llm.Part{calls("1", "t", "{}")}},
			{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1"}}}}}
		if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, cfg); err != nil {
			t.Fatal(err)
		}
		if err := turnsAlternate(m.last().Messages); err != nil || len(m.last().Messages) != 4 {
			t.Errorf("%v in\n%s", err, talk(m.last().Messages))
		}
	})
}

// Two tools of one name are refused by providers.
func TestTheStagesToolReplacesOneOfTheSameName(t *testing.T) {
	req := llm.Prompt("x")
	req.Tools = []llm.Tool{{Name: "search", Description: "the caller's"}, {Name: "own"}}
	m := play(t, say("a"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, Tool: search}); err != nil {
		t.Fatal(err)
	}
	if got := m.last().Tools; len(got) != 2 || got[0].Name != "own" || got[1].Description != search.Description {
		t.Errorf("offered %v", got)
	}
	if len(req.Tools) != 2 || req.Tools[0].Description != "the caller's" {
		t.Errorf("the caller's tools are now %v", req.Tools)
	}
}

// withTool offers a tool that can be run, in the stage that begins after one failure.
func withTool(run func(ctx context.Context, arguments json.RawMessage) (string, error)) llmcall.RetryConfig {
	return exact(llmcall.RetryConfig{MaxAttempts: 3, MaxAttemptsBeforeToolUse: 1, Tool: &llmcall.Tool{Tool: search.Tool, Run: run}})
}

func TestToolIsRunWithinTheAttempt(t *testing.T) {
	var got []string
	var mu sync.Mutex // the calls of one answer run at the same time
	cfg := withTool(func(_ context.Context, arguments json.RawMessage) (string, error) {
		mu.Lock()
		got = append(got, string(arguments))
		mu.Unlock()
		if string(arguments) == `{"q":2}` {
			return "", errors.New("not found")
		}
		return "found", nil
	})
	usage := llm.Usage{InputTokens: 10, OutputTokens: 1}
	call := func(parts ...llm.Part) step {
		return answers(&llm.Response{Message: llm.Message{Parts: parts}, Finish: llm.FinishToolCall, Usage: usage})
	}
	m := play(t, say("a"), call(llm.Text("hm"), calls("1", "search", `{"q":1}`), calls("2", "search", `{"q":2}`), calls("4", "search", "nonsense")), call(calls("3", "search", `{}`)), answers(&llm.Response{
		Message: llm.Assistant("good"), Finish: llm.FinishStop, Usage: usage,
	}))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
	if err != nil || len(r.Attempts) != 2 || m.calls() != 4 || len(got) != 3 || got[2] != "{}" {
		t.Fatalf("%v: %d calls, the tool got %q", err, m.calls(), got)
	}
	sent := m.last().Messages
	const want = `assistant: "hm" call(1 search {"q":1}) call(2 search {"q":2}) call(4 search nonsense)
tool: result(1 "<tool_result>\nfound\n</tool_result>" error=false) result(2 "<tool_result>\nnot found\n</tool_result>" error=true) result(4 "tool_call: line 1, column 1: in the arguments of the tool \"search\": the text is not JSON: \"nonsense\" (answer with JSON alone)" error=true)
assistant: call(3 search {})
tool: result(3 "<tool_result>\nfound\n</tool_result>" error=false)
`
	if !strings.HasSuffix(talk(sent), want) {
		t.Errorf("sent\n%s\nwant at its end\n%s", talk(sent), want)
	}
	if err := turnsAlternate(sent); err != nil {
		t.Error(err)
	}
	if r.Attempts[1].Usage != (llm.Usage{InputTokens: 30, OutputTokens: 3}) || r.Usage != r.Attempts[1].Usage {
		t.Errorf("used %+v, in all %+v", r.Attempts[1].Usage, r.Usage)
	}
}

// Without Run the caller carries the call out; it is the answer.
func TestToolThatCannotBeRunIsTheAnswer(t *testing.T) {
	m := play(t, say("a"), wants(calls("1", "search", "{}")))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.Func("", func(_ context.Context, a *validate.Answer) error {
		if len(a.Response.Message.ToolCalls()) == 0 {
			return errors.New("call the tool")
		}
		return nil
	})}, llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, Tool: search})
	if err != nil || len(r.Response.Message.ToolCalls()) != 1 || m.calls() != 2 {
		t.Errorf("%v after %d calls", err, m.calls())
	}
}

func TestToolIsNotRunWhenItMustNotBe(t *testing.T) {
	cfg := withTool(func(context.Context, json.RawMessage) (string, error) {
		t.Error("it was run")
		return "", nil
	})
	call := calls("1", "search", `{"q":`)
	for name, st := range map[string]step{
		"a call that was cut off":      answers(&llm.Response{Message: llm.Message{Parts: []llm.Part{call}}, Finish: llm.FinishLength}),
		"one that broke off":           answers(&llm.Response{Message: llm.Message{Parts: []llm.Part{call}}}),
		"together with another's call": wants(call, calls("2", "own", "{}")),
	} {
		m := play(t, say("a"), st)
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil || m.calls() != 3 {
			t.Errorf("%s: %v after %d calls", name, err, m.calls())
		}
	}
	m := play(t, wants(call)) // nor before its stage
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil || m.calls() != 2 {
		t.Errorf("%v after %d calls", err, m.calls())
	}
}

// A model that calls the tool for ever gives no answer, and is told so.
func TestRoundsOfAToolAreBounded(t *testing.T) {
	ran := 0
	cfg := withTool(func(context.Context, json.RawMessage) (string, error) {
		ran++
		return "found", nil
	})
	m := play(t, append([]step{say("a")}, times(99, wants(calls("1", "search", "{}")))...)...)
	_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.Func("not_a", func(_ context.Context, a *validate.Answer) error {
		if a.Text == "a" {
			return errors.New("no a")
		}
		return nil
	})}, cfg)
	if reasonOf(t, err) != llmcall.ReasonNoValidAnswer || m.calls() != 1+2*9 || ran != 2*8 {
		t.Fatalf("%v after %d calls, %d of the tool", err, m.calls(), ran)
	}
	if !strings.Contains(err.Error(), `the tool "search" was called again, after the last call that is allowed, and no answer was given`) {
		t.Error(err)
	}
	for _, r := range m.asked {
		if err := turnsAlternate(r.Messages); err != nil {
			t.Error(err)
		}
	}
	if n := len(m.last().Messages); n != 4+2*8 {
		t.Errorf("the last conversation has %d turns", n)
	}
}

func TestAFailureBetweenRoundsIsTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := withTool(func(context.Context, json.RawMessage) (string, error) { return "found", nil })
		m := play(t, say("a"), wants(calls("1", "search", "{}")), down)
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if err != nil || len(r.Attempts) != 3 || r.Attempts[1].Kind != failure.Transient {
			t.Fatalf("%v: %+v", err, r)
		}
		if got, want := talk(m.last().Messages), talk(m.asked[1].Messages); got != want {
			t.Errorf("after it was sent\n%s\nwant\n%s", got, want)
		}
	})
}

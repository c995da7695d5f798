package llmcall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// finished returns a model whose answers have a text and a reason to stop.
func finished(text string, reason llm.Finish) llm.Model {
	return llm.Func("test/model", func(context.Context, *llm.Request) (*llm.Response, error) {
		answer := llm.Reply(text)
		answer.Finish = reason
		return answer, nil
	})
}

// A provider's reason to stop that is not known decides nothing: the checks do.
func TestReasonToStopThatIsNotKnown(t *testing.T) {
	checks := []validate.Strategy{validate.JSON()}
	r, err := llmcall.RetryWithValidation(t.Context(), finished(`{"a": 1}`, "a new one"), llm.Prompt("Hi"), checks, llmcall.RetryConfig{MaxAttempts: 2})
	if err != nil || r.Text != `{"a": 1}` || r.Response.Finish != "a new one" {
		t.Errorf("whole: got %+v, %v", r, err)
	}
	for text, kind := range map[string]failure.Kind{`{"a": 1`: failure.CutOff, `12`: failure.CutOff, `hello`: failure.InvalidAnswer} {
		_, err := llmcall.RetryWithValidation(t.Context(), finished(text, "a new one"), llm.Prompt("Hi"), checks, llmcall.RetryConfig{MaxAttempts: 1})
		named := strings.Contains(err.Error(), "its reason to stop is not known: a new one")
		if failure.KindOf(err) != kind || named != (kind == failure.CutOff) {
			t.Errorf("%s: got %v (%v)", text, err, failure.KindOf(err))
		}
	}
}

// Groq's 400 says that what the model wrote is not JSON: the model is told.
func TestOutputThatTheProviderRefused(t *testing.T) {
	refused := &failure.Error{
		Kind: failure.InvalidAnswer, Status: 400, Code: "json_validate_failed", Message: "Failed to generate JSON.", Written: `{"a": oops}`,
	}
	var requests []*llm.Request
	answer := func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if requests = append(requests, req); len(requests) == 1 {
			return &llm.Response{Usage: llm.Usage{OutputTokens: 7}}, refused
		}
		return llm.Reply(`{"a": 1}`), nil
	}
	cfg := llmcall.RetryConfig{MaxAttempts: 2, EnableCircuitBreaker: true}
	r, err := llmcall.RetryWithValidation(t.Context(), llm.Func("test/refused", answer), llm.Prompt("Hi"), []validate.Strategy{validate.JSON()}, cfg)
	if err != nil || r.Text != `{"a": 1}` || len(requests) != 2 {
		t.Fatalf("got %+v, %v after %d requests", r, err, len(requests))
	}
	sent := requests[1].Messages
	if said := sent[len(sent)-2]; said.Role != llm.RoleAssistant || said.Text() != `{"a": oops}` || !strings.Contains(sent[len(sent)-1].Text(), "Failed to generate JSON.") {
		t.Errorf("sent %+v", sent)
	}
	if first := r.Trace.Attempts[0]; first.Kind != failure.InvalidAnswer || len(first.Complaints) != 1 || first.Usage.OutputTokens != 7 {
		t.Errorf("the trace has %+v", first)
	}
}

// Groq refuses what it cut off at the token limit by a 400 too.
func TestOutputThatTheProviderCutOff(t *testing.T) {
	refused := &failure.Error{Kind: failure.CutOff, Status: 400, Code: "json_validate_failed", Message: "Failed to generate JSON.", Written: "(no text)"}
	var limits []int
	answer := func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if limits = append(limits, req.MaxTokens); len(limits) == 1 {
			return nil, refused
		}
		return llm.Reply(`{"a": 1}`), nil
	}
	request := llm.Prompt("Hi")
	request.MaxTokens = 100
	r, err := llmcall.RetryWithValidation(t.Context(), llm.Func("test/cut", answer), request, []validate.Strategy{validate.JSON()}, llmcall.RetryConfig{MaxAttempts: 2})
	if err != nil || r.Text != `{"a": 1}` || !slices.Equal(limits, []int{100, 200}) {
		t.Fatalf("got %+v, %v with the limits %v", r, err, limits)
	}
}

// What was billed for an answer that was withheld counts.
func TestUsageBesideAnError(t *testing.T) {
	withheld := &failure.Error{Kind: failure.ContentFiltered}
	m := llm.Func("test/withheld", func(context.Context, *llm.Request) (*llm.Response, error) {
		return &llm.Response{Usage: llm.Usage{InputTokens: 3, OutputTokens: 4}}, withheld
	})
	_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("Hi"), nil, llmcall.RetryConfig{MaxAttempts: 1})
	e, ok := errors.AsType[*llmcall.Error](err)
	if want := (llm.Usage{InputTokens: 3, OutputTokens: 4}); !ok || e.Trace.Usage != want || e.Trace.Attempts[0].Usage != want {
		t.Errorf("got %+v", err)
	}
}

package llmcall_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

var lookUp = llm.Tool{Name: "search", Parameters: json.RawMessage(`{"type":"object","properties":{"town":{"type":"string"}},"required":["town"],"additionalProperties":false}`)}

// A call of a tool is one that the caller can carry out, or the model is told what is
// wrong with it.
func TestCallsOfToolsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		call     llm.ToolCall
		problems []string // nil: the call passes
	}{
		"as offered":                   {llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{"town":"Rome"}`)}, nil},
		"another name":                 {llm.ToolCall{ID: "1", Name: "nosuch", Arguments: json.RawMessage(`{"town":"Rome"}`)}, []string{`there is no tool "nosuch"`}},
		"arguments that are not JSON":  {llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{town}`)}, []string{`in the arguments of the tool "search": a property name has no quotes: "town}"`}},
		"arguments of another type":    {llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{"town":1}`)}, []string{`in the arguments of the tool "search": expected a string, got the number 1`}},
		"arguments that are left out":  {llm.ToolCall{ID: "1", Name: "search"}, []string{`in the arguments of the tool "search": the property "town" is missing`}},
		"arguments that nobody offers": {llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{"town":"Rome","zip":1}`)}, []string{`in the arguments of the tool "search": the property "zip" is not allowed`}},
	} {
		asked := 0
		model := llm.Func(unused(t), func(context.Context, *llm.Request) (*llm.Response, error) {
			if asked++; asked > 1 {
				return llm.Reply("Rome"), nil
			}
			return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{c.call}}, Finish: llm.FinishToolCall}, nil
		})
		request := llm.Prompt("Where?")
		request.Tools = []llm.Tool{lookUp}
		result, err := llmcall.RetryWithValidation(t.Context(), model, request, []validate.Strategy{validate.NotEmpty()}, llmcall.RetryConfig{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var problems []string
		for _, complaint := range result.Attempts[0].Complaints {
			problems = append(problems, complaint.Problem)
		}
		if len(problems) != len(c.problems) || len(problems) > 0 && problems[0] != c.problems[0] {
			t.Errorf("%s: %q, want %q", name, problems, c.problems)
		}
	}
}

// A tool is not run with arguments that do not fit it; the model hears why, and calls it
// again.
func TestAToolIsNotRunWithWrongArguments(t *testing.T) {
	var ran []string
	round := 0
	model := llm.Func(unused(t), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if len(req.Tools) == 0 {
			return llm.Reply("wrong"), nil
		}
		call := llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{"town":1}`)}
		switch round++; round {
		case 1:
		case 2:
			last := req.Messages[len(req.Messages)-1].Parts[0].(llm.ToolResult)
			if !last.IsError || !strings.Contains(last.Content, "expected a string, got the number 1") {
				t.Errorf("the model hears %+v", last)
			}
			call.Arguments = json.RawMessage(`{"town":"Rome"}`)
		default:
			return llm.Reply("good"), nil
		}
		return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{call}}, Finish: llm.FinishToolCall}, nil
	})
	tool := &llmcall.Tool{Tool: lookUp, Run: func(_ context.Context, arguments json.RawMessage) (string, error) {
		ran = append(ran, string(arguments))
		return "found", nil
	}}
	result, err := llmcall.RetryWithValidation(t.Context(), model, llm.Prompt("Where?"), checked, llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, Tool: tool})
	if err != nil || result.Text != "good" || len(ran) != 1 || ran[0] != `{"town":"Rome"}` {
		t.Errorf("%v, %v; run with %q", result, err, ran)
	}
}

// The stage's tool replaces the caller's with its name, and a call is checked against the
// one that was offered.
func TestACallIsCheckedAgainstTheToolThatWasOffered(t *testing.T) {
	model := llm.Func(unused(t), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if len(req.Tools) != 1 || req.Tools[0].Parameters != nil {
			return llm.Reply("wrong"), nil
		}
		call := llm.ToolCall{ID: "1", Name: "search", Arguments: json.RawMessage(`{"anything":1}`)}
		return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{call}}, Finish: llm.FinishToolCall}, nil
	})
	request := llm.Prompt("Where?")
	request.Tools = []llm.Tool{lookUp}
	cfg := llmcall.RetryConfig{MaxAttempts: 2, MaxAttemptsBeforeToolUse: 1, Tool: &llmcall.Tool{Tool: llm.Tool{Name: "search"}}}
	calls := validate.Func("calls", func(_ context.Context, a *validate.Answer) error {
		if len(a.Response.Message.ToolCalls()) == 0 {
			return validate.Fail("no call", "call the tool")
		}
		return nil
	})
	if _, err := llmcall.RetryWithValidation(t.Context(), model, request, []validate.Strategy{calls}, cfg); err != nil {
		t.Error(err)
	}
}

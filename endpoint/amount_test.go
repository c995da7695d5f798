package endpoint_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/llm"
)

func TestWhatARequestMayUse(t *testing.T) {
	for name, c := range map[string]struct {
		request llm.Request
		tokens  int64
	}{
		"nothing":       {llm.Request{}, 0},
		"its text":      {llm.Request{Messages: []llm.Message{llm.User("four"), llm.User("and four")}}, 3},
		"its answer":    {llm.Request{Messages: []llm.Message{llm.User("four")}, MaxTokens: 10}, 11},
		"not a picture": {llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Image{Data: make([]byte, 4000)}}}}}, 0},
		"not a document or a recording": {llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{
			llm.Document{Data: make([]byte, 4000), Name: "report.pdf"}, llm.Audio{Data: make([]byte, 4000)},
		}}}}, 0},
		"its calls": {llm.Request{Messages: []llm.Message{
			{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{Arguments: json.RawMessage(`{"a":123}`)}}},
			{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{Content: "result 1 2 3"}}},
		}}, 5},
		"an impossible limit": {llm.Request{MaxTokens: -1}, 0},
		"the largest limit":   {llm.Request{Messages: []llm.Message{llm.User("four")}, MaxTokens: math.MaxInt}, math.MaxInt64},
	} {
		if got := endpoint.Wanted(&c.request); got != c.tokens {
			t.Errorf("%s: %d, want %d tokens", name, got, c.tokens)
		}
	}
}

func TestWhatAnAnswerHasUsed(t *testing.T) {
	if got := endpoint.Used(nil); got != nil {
		t.Errorf("no answer: %+v", got)
	}
	if got := endpoint.Used(&llm.Response{Usage: llm.Usage{InputTokens: 20, OutputTokens: 3}}); got == nil || got.Used.Tokens != 23 || got.Told != nil {
		t.Errorf("an answer: %+v", got)
	}
}

func TestOptionsThatContradictEachOther(t *testing.T) {
	five := breaker.Config{FailureThreshold: 5}
	for _, c := range []struct {
		o     endpoint.Options
		field string // in the error; "" if there is none
	}{
		{endpoint.Options{}, ""}, {endpoint.Options{NoBreaker: true}, ""}, {endpoint.Options{Breaker: five}, ""},
		{endpoint.Options{NoBreaker: true, Breaker: five}, "Options.Breaker"},
	} {
		err := c.o.Validate()
		if e, _ := errors.AsType[*endpoint.ConfigError](err); (err != nil) != (c.field != "") || e != nil && e.Field != c.field {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if _, ok := errors.AsType[*breaker.ConfigError]((endpoint.Options{Breaker: breaker.Config{FailureThreshold: -1}}).Validate()); !ok {
		t.Error("an impossible threshold is taken")
	}
}

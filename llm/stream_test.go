package llm_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"llmcall/llm"
)

func TestAnAssemblyIsTheAnswerThatWasStreamed(t *testing.T) {
	call := llm.ToolCall{ID: "1", Name: "look", Arguments: json.RawMessage(`{}`)}
	var a llm.Assembly
	for _, c := range []llm.Chunk{
		{Model: "m-1", RequestID: "req_1"}, {Text: "Let "}, {Text: "me look."}, {Part: call}, {Text: "And"}, {},
		{Usage: &llm.Usage{InputTokens: 3}}, {Finish: llm.FinishToolCall, Usage: &llm.Usage{InputTokens: 3, OutputTokens: 5}},
	} {
		a.Add(c)
	}
	want := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("Let me look."), call, llm.Text("And")}},
		Finish:  llm.FinishToolCall, Usage: llm.Usage{InputTokens: 3, OutputTokens: 5}, Model: "m-1", RequestID: "req_1",
	}
	if got := a.Response(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAnAssemblyInTheMiddleOfAStreamGoesOn(t *testing.T) {
	var a llm.Assembly
	if r := a.Response(); r.Finish != llm.FinishNone || len(r.Message.Parts) != 0 {
		t.Errorf("nothing came, got %+v", r)
	}
	a.Add(llm.Chunk{Text: "half"})
	half := a.Response()
	a.Add(llm.Chunk{Text: " and half", Finish: llm.FinishStop})
	if half.Text() != "half" || half.Finish != llm.FinishNone {
		t.Errorf("in the middle: %+v", half)
	}
	if whole := a.Response(); whole.Message.Text() != "half\n and half" && whole.Message.Text() != "half and half" {
		t.Errorf("at the end: %q", whole.Message.Text())
	}
}

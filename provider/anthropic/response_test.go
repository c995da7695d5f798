package anthropic_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/internal/providertest"
)

// answers makes a call, whole and streamed by a server that does not stream,
// which must come to the same.
func answers(t *testing.T, m *anthropic.Model, request *llm.Request) *llm.Response {
	t.Helper()
	whole, err := m.Complete(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := streamed(t.Context(), m, request)
	if err != nil || !reflect.DeepEqual(whole, pieces) {
		t.Errorf("streamed: %+v, %v\nwhole:    %+v", pieces, err, whole)
	}
	return whole
}

// tools is an answer with thought, and tools of the caller's and of the
// provider's.
const tools = `{"content":[
	{"type":"thinking","thinking":"Hm.","signature":"c2ln"},
	{"type":"redacted_thinking","data":"RW5jcnlwdGVk"},
	{"type":"text","text":"Let me "},
	{"type":"text","text":"look.","citations":[{"type":"char_location","cited_text":"x"}]},
	{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}},
	{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]},
	{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city": "Berlin", "n": 12345678901234567890}},
	{"type":"tool_use","id":"toolu_2","name":"time","input":{}}],
	"stop_reason":"tool_use"}`

func reasoning(data string) llm.Part {
	return llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(data)}
}

var toolsParts = []llm.Part{
	reasoning(`{"type":"thinking","thinking":"Hm.","signature":"c2ln"}`),
	reasoning(`{"type":"redacted_thinking","data":"RW5jcnlwdGVk"}`),
	llm.Text("Let me look."),
	reasoning(`{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}}`),
	reasoning(`{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}`),
	llm.ToolCall{ID: "toolu_1", Name: "weather", Arguments: json.RawMessage(`{"city": "Berlin", "n": 12345678901234567890}`)},
	llm.ToolCall{ID: "toolu_2", Name: "time", Arguments: json.RawMessage(`{}`)},
}

func TestAnswerWithThoughtAndTools(t *testing.T) {
	got := answers(t, model(t, server(t, reply(200, tools)), nil), llm.Prompt("Hello!"))
	if got.Finish != llm.FinishToolCall || !reflect.DeepEqual(got.Message.Parts, toolsParts) {
		t.Errorf("got %q: %q", got.Finish, got.Message.Parts)
	}
}

func TestThoughtGoesBackUnchangedAndInOrder(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	answer := answers(t, model(t, server(t, reply(200, tools)), nil), llm.Prompt("Hello!"))
	sent := e.Sent(t, model(t, e.Server, nil), &llm.Request{Messages: []llm.Message{llm.User("x"), answer.Message, llm.User("y")}})
	var body struct {
		Messages []struct{ Content []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(sent), &body); err != nil || len(body.Messages) != 3 {
		t.Fatalf("%v: %s", err, sent)
	}
	blocks := body.Messages[1].Content
	if len(blocks) != len(toolsParts) {
		t.Fatalf("sent %s", blocks)
	}
	for i, p := range toolsParts {
		if r, ok := p.(llm.Reasoning); ok && string(blocks[i]) != string(r.Data) {
			t.Errorf("block %d: got %s, want %s", i, blocks[i], r.Data)
		}
	}
}

func TestFinishReasons(t *testing.T) {
	const call = `,{"type":"tool_use","id":"1","name":"f","input":{}}`
	for _, step := range []struct {
		reason, more string
		want         llm.Finish
	}{
		{`"end_turn"`, "", llm.FinishStop},
		{`"stop_sequence"`, "", llm.FinishStop},
		{`"end_turn"`, call, llm.FinishToolCall},
		{`"tool_use"`, call, llm.FinishToolCall},
		{`"tool_use"`, "", llm.FinishNone},
		{`"max_tokens"`, "", llm.FinishLength},
		{`"max_tokens"`, call, llm.FinishLength},
		{`"model_context_window_exceeded"`, "", llm.FinishLength},
		{`"pause_turn"`, "", llm.FinishPaused},
		{`null`, "", llm.FinishNone},
		{`"something new"`, "", "something new"},
		{`"something new"`, call, llm.FinishToolCall},
	} {
		body := `{"content":[{"type":"text","text":"text"}` + step.more + `],"stop_reason":` + step.reason + `}`
		got := answers(t, model(t, server(t, reply(200, body)), nil), llm.Prompt("Hello!"))
		if got.Finish != step.want || got.Text() != "text" {
			t.Errorf("%s%s: got %+v; want %q", step.reason, step.more, got, step.want)
		}
	}
}

func TestAnswerWithoutTextIsNoError(t *testing.T) {
	got := answers(t, model(t, server(t, reply(200, `{"content":[],"stop_reason":"end_turn"}`)), nil), llm.Prompt("Hello!"))
	if got.Finish != llm.FinishStop || len(got.Message.Parts) != 0 {
		t.Errorf("got %+v", got)
	}
}

package openai_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/internal/providertest"
)

// Servers number the pieces of calls in every way. What is sent here as
// "index id name arguments", with - for what is missing, comes out as
// "id name arguments".
func TestPiecesOfCalls(t *testing.T) {
	for name, step := range map[string]struct{ pieces, want []string }{
		"as OpenAI sends them":               {[]string{"0 a f -", "0 - - {", "0 - - }", "1 b g {}"}, []string{"a f {}", "b g {}"}},
		"interleaved":                        {[]string{"0 a f -", "1 b g -", "0 - - {}", "1 - - {}"}, []string{"a f {}", "b g {}"}},
		"an ID that changes":                 {[]string{"0 a f -", "0 x - {", "0 y - }"}, []string{"a f {}"}},
		"an ID that changes, and comes back": {[]string{"0 a f {", "0 x - 1", "0 a - }"}, []string{"a f {1}"}},
		"an ID that comes late":              {[]string{"0 - f {", "0 a - }"}, []string{"a f {}"}},
		"all with the index 0":               {[]string{"0 a f {}", "0 b g {}"}, []string{"a f {}", "b g {}"}},
		"index 0, the name after the ID":     {[]string{"0 a f {}", "0 b - -", "0 - g {}"}, []string{"a f {}", "b g {}"}},
		"index 0, arguments in pieces":       {[]string{"0 a f {", "0 a - }", "0 b g {", "0 b - }"}, []string{"a f {}", "b g {}"}},
		"no index":                           {[]string{"- a f {", "- a - }", "- b g {", "- b - }"}, []string{"a f {}", "b g {}"}},
		"no index, and the ID once":          {[]string{"- a f {", "- - - }", "- b g {", "- - - }"}, []string{"a f {}", "b g {}"}},
		"no index, interleaved":              {[]string{"- a f {", "- b g {", "- a - }", "- b - }"}, []string{"a f {}", "b g {}"}},
		"no ID":                              {[]string{"0 - f {}", "1 - g {}"}, []string{"call-c-0 f {}", "call-c-1 g {}"}},
		"neither":                            {[]string{"- - f {}", "- - g {", "- - - }"}, []string{"call-c-0 f {}", "call-c-1 g {}"}},
		"an index that changes":              {[]string{"0 a f {", "1 a - }"}, []string{"a f {}"}},
		"an index that begins at 1":          {[]string{"1 a f {", "1 - - }"}, []string{"a f {}"}},
		"ID and name in each piece":          {[]string{"0 a f {", "0 a f }", "1 b f {}"}, []string{"a f {}", "b f {}"}},
		"the same ID for all":                {[]string{"0 a f {}", "1 a g {", "1 a - }"}, []string{"a f {}", "call-c-1 g {}"}},
		"the same ID, heads first":           {[]string{"0 a f -", "1 a g -", "0 - - {}", "1 - - {}"}, []string{"a f {}", "call-c-1 g {}"}},
		"the whole call again":               {[]string{"0 a f {", "0 a - }", "0 a f {}"}, []string{"a f {}"}},
		"arguments that begin with {}":       {[]string{"0 a f {}", "0 - - {1", "0 - - }"}, []string{"a f {1}"}},
		"without arguments":                  {[]string{"0 a f -", "1 b g -"}, []string{"a f ", "b g "}},
	} {
		var texts []string
		for _, p := range step.pieces {
			fields := strings.Fields(strings.ReplaceAll(p, "-", "\x00"))
			call := map[string]any{}
			function := map[string]any{}
			for i, field := range []string{"index", "id", "name", "arguments"} {
				if fields[i] == "\x00" {
					continue
				}
				switch field {
				case "index":
					call["index"] = json.Number(fields[i])
				case "id":
					call["id"] = fields[i]
				default:
					function[field] = fields[i]
				}
			}
			call["function"] = function
			event, _ := json.Marshal(map[string]any{"id": "c", "choices": []any{map[string]any{"index": 0, "delta": map[string]any{"tool_calls": []any{call}}}}})
			texts = append(texts, string(event))
		}
		m := model(t, server(t, events(append(texts, stopped("tool_calls"), done)...)), nil)
		got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("Hello!"))
		var calls []string
		for _, c := range got.Message.ToolCalls() {
			calls = append(calls, fmt.Sprintf("%s %s %s", c.ID, c.Name, c.Arguments))
		}
		if err != nil || got.Finish != llm.FinishToolCall || strings.Join(calls, "; ") != strings.Join(step.want, "; ") {
			t.Errorf("%s: got %q, %v, want %q", name, calls, err, step.want)
		}
	}
}

// OpenAI's form before tool_calls, which older servers still send.
func TestFunctionCall(t *testing.T) {
	whole := model(t, server(t, reply(200, `{"id":"c","choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}},"finish_reason":"function_call"}]}`)), nil)
	pieces := model(t, server(t, events(`{"id":"c","choices":[{"index":0,"delta":{"function_call":{"name":"f","arguments":"{"}}}]}`,
		`{"choices":[{"index":0,"delta":{"function_call":{"arguments":"}"}}}]}`, stopped("function_call"), done)), nil)
	got, err := whole.Complete(t.Context(), llm.Prompt("Hello!"))
	streamed, failed := providertest.Streamed(t, t.Context(), pieces, llm.Prompt("Hello!"))
	for _, answer := range []*llm.Response{got, streamed} {
		if err != nil || failed != nil || answer.Finish != llm.FinishToolCall {
			t.Fatalf("got %+v, %v, %v", answer, err, failed)
		}
		if calls := answer.Message.ToolCalls(); len(calls) != 1 || calls[0].ID != "call-c-0" || calls[0].Name != "f" || string(calls[0].Arguments) != "{}" {
			t.Errorf("got %+v", calls)
		}
	}
}

// Arguments that are JSON and not a text with JSON.
func TestArgumentsThatAreAnObject(t *testing.T) {
	m := model(t, server(t, reply(200, `{"choices":[{"message":{"tool_calls":[{"id":"1","function":{"name":"f","arguments":{"a": 1}}}]},"finish_reason":"stop"}]}`)), nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil || len(got.Message.ToolCalls()) != 1 || string(got.Message.ToolCalls()[0].Arguments) != `{"a": 1}` {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The thoughts of Mistral's models are kept, and not sent back in a field that its API
// does not have.
func TestThoughtsInTheContent(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, `{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},{"type":"text","text":"Hello"}]},"finish_reason":"stop"}]}`))
	m := model(t, e.Server, nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil || got.Text() != "Hello" || len(got.Message.Parts) != 2 || string(got.Message.Parts[0].(llm.Reasoning).Data) != `{"thinking":"Hm."}` {
		t.Fatalf("got %+v, %v", got, err)
	}
	sent := e.Sent(t, m, &llm.Request{Messages: []llm.Message{llm.User("x"), got.Message, llm.User("y")}})
	if strings.Contains(sent, "Hm.") {
		t.Errorf("sent %s", sent)
	}
}

// Pieces of what is not handed on yet show that the model is at work.
func TestProgress(t *testing.T) {
	m := model(t, server(t, events(`{"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}`, `{"choices":[{"index":0,"delta":{"refusal":"No"}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{"}}]}}]}`, `{"choices":[]}`, delta(""))), nil)
	progress := 0
	for chunk, err := range m.Stream(t.Context(), llm.Prompt("Hello!")) {
		if chunk.Progress {
			progress++
		}
		_ = err // the refusal's, at the end
	}
	if progress != 3 {
		t.Errorf("%d chunks of progress", progress)
	}
}

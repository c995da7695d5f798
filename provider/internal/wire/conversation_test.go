package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/llm"
)

func isHm(r llm.Reasoning, _ bool) bool { return strings.Contains(string(r.Data), "hm") }

func drawParts(role llm.Role) *rapid.Generator[[]llm.Part] {
	text := []llm.Part{llm.Text(""), llm.Text("a"), llm.Text(" \n")}
	switch role {
	case llm.RoleAssistant:
		text = append(text, llm.ToolCall{}, llm.ToolCall{ID: "a", Arguments: json.RawMessage(`{"x":1}`)}, llm.ToolCall{ID: "b", Arguments: json.RawMessage(`[`)},
			llm.Reasoning{Provider: "p", Data: json.RawMessage(`{"reasoning":"x"}`)}, llm.Reasoning{Provider: "p", Data: json.RawMessage(`{"thinking":"hm"}`)},
			llm.Reasoning{Provider: "p", Data: json.RawMessage(`{"type":"image"}`)}, llm.Reasoning{Provider: "q", Data: json.RawMessage(`7`)})
	case llm.RoleTool:
		text = []llm.Part{llm.ToolResult{}, llm.ToolResult{CallID: "a"}, llm.ToolResult{CallID: "b"}}
	}
	return rapid.SliceOfN(rapid.SampledFrom(text), 0, 4)
}

// Whatever the conversation, what goes out is one that providers accept, nothing that the
// caller said is lost, and doing it twice changes nothing.
func TestConversation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) llm.Message {
			role := rapid.SampledFrom([]llm.Role{llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleAssistant, llm.RoleTool}).Draw(t, "role")
			return llm.Message{Role: role, Parts: drawParts(role).Draw(t, "parts")}
		}), 0, 8).Draw(t, "messages")
		before, _ := json.Marshal(messages)
		talk := Conversation(messages, "p", isHm)
		if after, _ := json.Marshal(messages); string(after) != string(before) {
			t.Fatalf("the messages were changed: %s", after)
		}
		said, ids := "", map[string]bool{}
		for i, m := range talk.Messages {
			if g := talk.Given[i]; g < 0 || g >= len(messages) {
				t.Fatalf("message %d is that of %d", i, g)
			}
			said += strings.ReplaceAll(m.Text(), noText, "")
			if m.Role != llm.RoleAssistant {
				continue
			}
			if last := len(m.Parts) - 1; last < 0 {
				t.Fatalf("message %d is empty", i)
			} else if r, ok := m.Parts[last].(llm.Reasoning); ok && (isHm(r, false) || r.Provider != "p") {
				t.Fatalf("message %d ends in a thought: %v", i, m.Parts)
			}
			for _, call := range m.ToolCalls() {
				var arguments map[string]any
				if call.ID == "" || call.Name == "" || ids[call.ID] || json.Unmarshal(call.Arguments, &arguments) != nil || arguments == nil {
					t.Fatalf("message %d: the call %+v", i, call)
				}
				ids[call.ID] = true
				results := 0
				for next := i + 1; next < len(talk.Messages) && talk.Messages[next].Role == llm.RoleTool; next++ {
					for _, p := range talk.Messages[next].Parts {
						if p.(llm.ToolResult).CallID == call.ID {
							results++
						}
					}
				}
				if results == 0 {
					t.Fatalf("message %d: the call %q has no result", i, call.ID)
				}
			}
		}
		given := ""
		for _, m := range messages {
			given += m.Text()
		}
		if letters(given) != letters(said) {
			t.Fatalf("of %q came %q", given, said)
		}
		if again := Conversation(talk.Messages, "p", isHm); !reflect.DeepEqual(text(again.Messages), text(talk.Messages)) {
			t.Fatalf("twice: %s\nonce:  %s", text(again.Messages), text(talk.Messages))
		}

		if talk.WithoutSystem(); talk.HasSystem() {
			t.Fatalf("a system message is left: %s", text(talk.Messages))
		}
	})
}

func letters(text string) int { return strings.Count(text, "a") }

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func TestInstructionsGoWhereTheCallerSpoke(t *testing.T) {
	const asks = "Answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n{}"
	for _, step := range []struct {
		given []llm.Message
		want  []llm.Message
	}{
		{[]llm.Message{llm.User("x"), llm.Assistant("y"), llm.User("z")}, []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("x"), llm.Text(asks)}}, llm.Assistant("y"), llm.User("z")}},
		{[]llm.Message{llm.System("s"), llm.User("x")}, []llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{llm.Text("s"), llm.Text(asks)}}, llm.User("x")}},
		{[]llm.Message{llm.Assistant("y")}, []llm.Message{llm.User(asks), llm.Assistant("y")}},
	} {
		before := text(step.given)
		talk := Conversation(step.given, "p", isHm)
		talk.Instruct(json.RawMessage(`{ }`), false)
		if text(talk.Messages) != text(step.want) || len(talk.Given) != len(talk.Messages) || text(step.given) != before {
			t.Errorf("%s: got %s", before, text(talk.Messages))
		}
	}
	beside := Conversation([]llm.Message{llm.User("x")}, "p", isHm)
	beside.Instruct(json.RawMessage(`{}`), true)
	if got := text(beside.Messages); !strings.Contains(got, "Unless you call a tool, answer with JSON alone") {
		t.Errorf("beside tools: got %s", got)
	}
}

package anthropic

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"pgregory.net/rapid"

	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

func anyMessage(t *rapid.T) llm.Message {
	role := rapid.SampledFrom([]llm.Role{llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool}).Draw(t, "role")
	text := rapid.SampledFrom([]llm.Part{llm.Text(""), llm.Text(" \n"), llm.Text("x"), llm.Text("x \n")})
	call := rapid.SampledFrom([]llm.Part{
		llm.ToolCall{ID: "a", Name: "f"}, llm.ToolCall{ID: "", Name: "f", Arguments: json.RawMessage("{")},
		llm.Reasoning{Provider: classify.Anthropic, Data: json.RawMessage(`{"type":"thinking"}`)},
		llm.Reasoning{Provider: classify.Anthropic, Data: json.RawMessage(`{"type":"redacted_thinking"}`)},
		llm.Reasoning{Provider: classify.Anthropic, Data: json.RawMessage(`{"type":"server_tool_use"}`)},
		llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`7`)},
	})
	result := rapid.SampledFrom([]llm.Part{llm.ToolResult{CallID: "a"}, llm.ToolResult{CallID: "a", Content: "x"}, llm.ToolResult{CallID: "a", IsError: true}})
	switch role {
	case llm.RoleAssistant:
		return llm.Message{Role: role, Parts: rapid.SliceOfN(rapid.OneOf(text, call), 0, 4).Draw(t, "parts")}
	case llm.RoleTool:
		return llm.Message{Role: role, Parts: rapid.SliceOfN(result, 1, 3).Draw(t, "parts")}
	}
	return llm.Message{Role: role, Parts: rapid.SliceOfN(text, 0, 3).Draw(t, "parts")}
}

// Every conversation becomes one that the API takes, or is an error.
func TestConversationIsLegal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(anyMessage), 1, 8).Draw(t, "messages")
		system, turns, err := conversation(wire.Conversation(messages, classify.Anthropic, isThought))
		if err != nil {
			if !strings.Contains(err.Error(), "that is not blank") {
				t.Fatal(err)
			}
			return
		}
		if system != "" && blank(system) {
			t.Errorf("system %q", system)
		}
		calls, results, seen := 0, 0, map[string]bool{}
		for i, turn := range turns {
			if i > 0 && turns[i-1].Role == turn.Role || turn.Role != sdk.MessageParamRoleUser && turn.Role != sdk.MessageParamRoleAssistant {
				t.Errorf("turn %d is of %s", i, turn.Role)
			}
			others := false
			for _, block := range turn.Content {
				if block.OfText != nil && blank(block.OfText.Text) {
					t.Errorf("turn %d: a blank text", i)
				}
				if block.OfToolUse != nil {
					calls++
				}
				if block.OfToolResult != nil {
					results++
					if others {
						t.Errorf("turn %d: a result that is not first", i)
					}
				}
				others = others || block.OfToolResult == nil
			}
			if len(turn.Content) == 0 {
				t.Errorf("turn %d is empty", i)
			} else if last := turn.Content[len(turn.Content)-1]; endsInThinking(last) {
				t.Errorf("turn %d ends in thinking", i)
			} else if i == len(turns)-1 && turn.Role == sdk.MessageParamRoleAssistant && last.OfText != nil && strings.TrimSpace(last.OfText.Text) != last.OfText.Text {
				t.Errorf("the last turn ends in white space: %q", last.OfText.Text)
			}
		}
		for i, turn := range turns {
			for _, block := range turn.Content {
				if use := block.OfToolUse; use != nil {
					if seen[use.ID] || use.ID == "" {
						t.Errorf("turn %d: the ID %q", i, use.ID)
					}
					seen[use.ID] = true
					if i+1 == len(turns) || !slices.ContainsFunc(turns[i+1].Content, func(b sdk.ContentBlockParamUnion) bool {
						return b.OfToolResult != nil && b.OfToolResult.ToolUseID == use.ID
					}) {
						t.Errorf("turn %d: the call %q has no result", i, use.ID)
					}
				}
			}
		}
		for _, m := range messages {
			calls -= len(m.ToolCalls())
			for _, p := range m.Parts {
				if wire.Is[llm.ToolResult](p) {
					results--
				}
			}
		}
		if calls != 0 || results < 0 {
			t.Errorf("%d calls and %d results are lost", -calls, -results)
		}
	})
}

func endsInThinking(block sdk.ContentBlockParamUnion) bool {
	if block.OfThinking == nil {
		return false
	}
	raw, _ := block.OfThinking.Overrides()
	return isThought(llm.Reasoning{Data: raw.(json.RawMessage)}, true)
}

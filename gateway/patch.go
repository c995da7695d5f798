package gateway

import (
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"llmcall/llm"
)

// added returns the client's body with what a call adds to it: the answer that was wrong and
// what is wrong with it, and another limit of tokens. Everything else stays as the client
// wrote it. ok is false if the request differs in more than that.
func (x *exchange) added(req *llm.Request) (text []byte, ok bool) {
	if x.differs(req) {
		return nil, false
	}
	b, f := x.base, forms[x.body.Protocol]
	last := len(b.Messages) - 1
	text = x.raw
	var err error
	if req.MaxTokens != b.MaxTokens {
		at := f.limits[0]
		for _, name := range f.limits {
			if gjson.GetBytes(text, name).Exists() {
				at = name
			}
		}
		if text, err = sjson.SetBytes(text, at, req.MaxTokens); err != nil {
			return nil, false
		}
	}
	if len(req.Messages) == last+1 {
		return text, true
	}
	list := gjson.GetBytes(text, f.messages)
	if list.Type == gjson.String { // the input of a response
		if text, err = sjson.SetBytes(text, f.messages, []any{f.message(llm.RoleUser, list.Str)}); err != nil {
			return nil, false
		}
	} else if !list.IsArray() {
		return nil, false
	}
	for _, m := range req.Messages[last+1:] {
		for _, p := range m.Parts {
			switch p.(type) {
			case llm.Text, llm.Reasoning: // the thoughts of a wrong answer are not needed
			default:
				return nil, false
			}
		}
		if m.Role != llm.RoleUser && m.Role != llm.RoleAssistant {
			return nil, false
		}
		if text, err = sjson.SetBytes(text, f.messages+".-1", f.message(m.Role, m.Text())); err != nil {
			return nil, false
		}
	}
	return text, true
}

// differs reports whether the request of an attempt differs from the client's in more than
// messages that were added, and the limit of tokens.
func (x *exchange) differs(req *llm.Request) bool {
	b := x.base
	last := len(b.Messages) - 1
	return len(req.Messages) <= last || len(req.Messages[last].Parts) != len(b.Messages[last].Parts) || req.Messages[0].Role != b.Messages[0].Role ||
		len(req.Tools) != len(b.Tools) || req.NoToolCalls != b.NoToolCalls || req.ForceTool != b.ForceTool || len(req.Stop) != len(b.Stop) || len(req.Extra) > 0 ||
		(req.Temperature == nil) != (b.Temperature == nil) || (req.Seed == nil) != (b.Seed == nil) || (req.Schema == nil) != (b.Schema == nil)
}

// form says where a protocol's bodies have what a call adds to.
type form struct {
	messages string
	limits   []string // names of the limit of output tokens, the first where none is set
	message  func(role llm.Role, text string) any
}

var forms = map[string]form{
	"openai":           {"messages", []string{"max_completion_tokens", "max_tokens"}, plainMessage},
	"openai-responses": {"input", []string{"max_output_tokens"}, plainMessage},
	"anthropic":        {"messages", []string{"max_tokens"}, plainMessage},
	"gemini":           {"contents", []string{"generationConfig.maxOutputTokens"}, geminiMessage},
}

func plainMessage(role llm.Role, text string) any {
	return map[string]any{"role": string(role), "content": text}
}

func geminiMessage(role llm.Role, text string) any {
	if role == llm.RoleAssistant {
		role = "model"
	}
	return map[string]any{"role": string(role), "parts": []any{map[string]any{"text": text}}}
}

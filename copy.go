package llmcall

import (
	"bytes"
	"encoding/json"
	"slices"

	"llmcall/llm"
)

// copyOf returns a copy of a request that shares nothing that can be written:
// what a model keeps or changes of its request must reach neither the caller's
// nor that of the next attempt.
func copyOf(r *llm.Request) *llm.Request {
	c := *r
	c.Messages = make([]llm.Message, len(r.Messages))
	for i, m := range r.Messages {
		c.Messages[i] = llm.Message{Role: m.Role, Parts: slices.Clone(m.Parts)}
		for j, part := range m.Parts {
			switch p := part.(type) {
			case llm.Image:
				p.Data = bytes.Clone(p.Data)
				c.Messages[i].Parts[j] = p
			case llm.ToolCall:
				p.Arguments, p.Signature = bytes.Clone(p.Arguments), bytes.Clone(p.Signature)
				c.Messages[i].Parts[j] = p
			case llm.Reasoning:
				p.Data = bytes.Clone(p.Data)
				c.Messages[i].Parts[j] = p
			}
		}
	}
	c.Tools = slices.Clone(r.Tools)
	for i := range c.Tools {
		c.Tools[i].Parameters = bytes.Clone(c.Tools[i].Parameters)
	}
	if r.Schema != nil {
		c.Schema = &llm.Schema{Name: r.Schema.Name, JSON: bytes.Clone(r.Schema.JSON)}
	}
	if r.Temperature != nil {
		c.Temperature = new(*r.Temperature)
	}
	if r.Seed != nil {
		c.Seed = new(*r.Seed)
	}
	c.Stop = slices.Clone(r.Stop)
	if r.Extra != nil {
		c.Extra = cloned(r.Extra).(map[string]any)
	}
	return &c
}

// cloned returns a copy of a JSON value. Of a value of another type there is
// nothing to be known, and it is shared.
func cloned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for key, inner := range v {
			c[key] = cloned(inner)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, inner := range v {
			c[i] = cloned(inner)
		}
		return c
	case json.RawMessage:
		return json.RawMessage(bytes.Clone(v))
	}
	return v
}

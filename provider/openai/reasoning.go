package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/openai/openai-go/v3/packages/respjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// reasoningFields are the fields in which servers show a model's reasoning: the
// list of OpenRouter, which expects it back unchanged
// (https://openrouter.ai/docs/use-cases/reasoning-tokens), the text of DeepSeek
// and llama.cpp, and the text of vLLM, Groq and Ollama. A server that sends
// several says the same in all of them; the first is kept.
var reasoningFields = []string{"reasoning_details", "reasoning_content", "reasoning"}

// reasoning is a model's reasoning, as far as it has arrived.
type reasoning struct {
	texts   map[string]*strings.Builder // by the name of the field
	details []*detail
	within  strings.Builder // thoughts in the list of the content, or in another list
}

// detail is an item of reasoning_details, whose texts arrive in pieces.
type detail struct {
	fields map[string]json.RawMessage
	texts  map[string]*strings.Builder
}

// add adds the fields of a message, or of a piece of one, that OpenAI does not
// define. Of a value of an unknown form only the text is kept, which is not sent
// back.
//
// add reports whether there was anything.
func (r *reasoning) add(fields map[string]respjson.Field) (any bool) {
	for _, name := range reasoningFields {
		raw := []byte(fields[name].Raw())
		any = any || len(raw) > 2 && string(raw) != "null" // more than "" and []
		var details []map[string]json.RawMessage
		switch {
		case len(raw) == 0:
		case name == "reasoning_details":
			if json.Unmarshal(raw, &details) == nil {
				r.addDetails(details)
			}
		case !addText(&r.texts, name, raw):
			text, thinking, _ := contentOf(string(raw))
			r.within.WriteString(thinking + text)
		}
	}
	return any
}

// addText adds a JSON string to the text of that name. It reports whether raw is a
// JSON string.
func addText(texts *map[string]*strings.Builder, name string, raw json.RawMessage) bool {
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil {
		return false
	}
	if *texts == nil {
		*texts = map[string]*strings.Builder{}
	}
	if (*texts)[name] == nil {
		(*texts)[name] = new(strings.Builder)
	}
	(*texts)[name].WriteString(*text)
	return true
}

// addDetails adds details; a piece with the index and type of the last detail
// continues that.
func (r *reasoning) addDetails(details []map[string]json.RawMessage) {
	for _, fields := range details {
		if len(fields) == 0 {
			continue
		}
		n := len(r.details)
		if n == 0 || len(fields["index"]) == 0 || !r.details[n-1].has("index", fields) || !r.details[n-1].has("type", fields) {
			r.details = append(r.details, &detail{fields: map[string]json.RawMessage{}})
			n++
		}
		last := r.details[n-1]
		for name, value := range fields {
			switch name {
			case "text", "summary", "data":
				if addText(&last.texts, name, value) {
					continue
				}
			}
			if _, told := last.fields[name]; !told || string(value) != "null" {
				last.fields[name] = value
			}
		}
	}
}

func (d *detail) has(name string, fields map[string]json.RawMessage) bool {
	return bytes.Equal(d.fields[name], fields[name])
}

// MarshalJSON joins the pieces of the detail.
func (d *detail) MarshalJSON() ([]byte, error) {
	whole := map[string]any{}
	for name, value := range d.fields {
		whole[name] = value
	}
	for name, text := range d.texts {
		whole[name] = text.String()
	}
	return json.Marshal(whole)
}

// part returns the field that is sent back to the server. An empty text is sent
// back only together with tool calls, where DeepSeek requires the field.
func (r *reasoning) part(provider string, calls bool) (llm.Reasoning, bool) {
	data := map[string]any{}
	for _, name := range reasoningFields {
		text := r.texts[name]
		switch {
		case name == "reasoning_details" && len(r.details) > 0:
			data[name] = r.details
		case text != nil && (text.Len() > 0 || calls):
			data[name] = text.String()
		default:
			continue
		}
		raw, err := json.Marshal(data)
		return llm.Reasoning{Provider: provider, Data: raw}, err == nil
	}
	if r.within.Len() > 0 {
		return wire.Thought(r.within.String()), true
	}
	return llm.Reasoning{}, false
}

// reasoningBack returns the fields that send a model's reasoning back to the
// server that it came from, or nil. The message has no other reasoning: see
// [wire.Conversation].
func reasoningBack(message llm.Message) map[string]any {
	var back map[string]any
	for _, p := range message.Parts {
		r, ok := p.(llm.Reasoning)
		if !ok {
			continue
		}
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(r.Data, &fields) // if it fails, fields has none of the names
		for _, name := range reasoningFields {
			if value, ok := fields[name]; ok {
				if back == nil {
					back = map[string]any{}
				}
				back[name] = value
			}
		}
	}
	return back
}

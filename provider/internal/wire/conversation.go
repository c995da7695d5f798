package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"llmcall/llm"
)

// Talk is a conversation that providers accept.
type Talk struct {
	Messages []llm.Message
	Given    []int // the index in the request of each message, or of the one before it
}

// noText is the text of a turn that would be empty, which providers refuse.
const noText = "(no text)"

// noName is the name of a call that has none.
const noName = "unnamed"

// noResult is the result of a call that has none.
const noResult = "no result: the call was not carried out"

// Conversation returns the messages in the form that providers accept, as far as one form
// serves all of them; they refuse a conversation for a turn that is long past:
//
//   - A turn of the assistant without a text, a call or other content gets "(no text)", or is
//     left out if another turn of the assistant is next to it.
//   - Reasoning of another provider, which only that provider understands, is left out. So
//     are thoughts at the end of a turn that something must follow: mustFollow reports
//     whether a reasoning is one, and is told whether the turn is the last.
//   - Each call has an ID of its own, a name, and arguments that are a JSON object: what is not one is
//     in the member INVALID_JSON of one, as Anthropic advises
//     (https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming).
//   - Each call has a result in the message after it.
//
// The provider continues a last turn of the assistant, which is therefore left out if it
// says nothing. One that the provider paused ends in a call of the provider's own tool, and
// is sent unchanged. The given messages are not changed.
func Conversation(messages []llm.Message, provider string, mustFollow func(r llm.Reasoning, last bool) bool) Talk {
	var t Talk
	ids := idMaker{}
	for i := 0; i < len(messages); i++ {
		message := messages[i]
		if message.Role != llm.RoleAssistant {
			t.add(message, i)
			continue
		}
		was := message.ToolCalls()
		message = ids.turn(message)
		before := len(t.Messages) > 0 && t.Messages[len(t.Messages)-1].Role == llm.RoleAssistant
		last := i == len(messages)-1 // the model would go on from noText
		said, says := turn(message, provider, mustFollow, last)
		if says || !before && !last && messages[i+1].Role != llm.RoleAssistant {
			t.add(said, i)
		}
		if len(was) == 0 {
			continue
		}
		var results, others Talk
		for ; i+1 < len(messages) && messages[i+1].Role != llm.RoleAssistant; i++ {
			if messages[i+1].Role == llm.RoleTool {
				results.add(messages[i+1], i+1)
			} else {
				others.add(messages[i+1], i+1)
			}
		}
		results.answer(was, message.ToolCalls(), i)
		t.Messages = append(append(t.Messages, results.Messages...), others.Messages...)
		t.Given = append(append(t.Given, results.Given...), others.Given...)
	}
	return t
}

func (t *Talk) add(message llm.Message, given int) {
	t.Messages, t.Given = append(t.Messages, message), append(t.Given, given)
}

// turn returns a turn of the assistant without what nothing follows, and whether it says
// anything.
func turn(message llm.Message, provider string, mustFollow func(r llm.Reasoning, last bool) bool, last bool) (said llm.Message, says bool) {
	parts := slices.DeleteFunc(slices.Clone(message.Parts), func(p llm.Part) bool {
		r, ok := p.(llm.Reasoning)
		return ok && r.Provider != provider
	})
	end := 0
	for i, p := range parts {
		switch p := p.(type) {
		case llm.Text:
			if strings.TrimSpace(string(p)) != "" {
				end, says = i+1, true
			}
		case llm.Reasoning:
			if !mustFollow(p, last) {
				end = i + 1
				says = says || !isField(p)
			}
		default:
			end, says = i+1, true
		}
	}
	message.Parts = nil
	for i, p := range parts {
		_, reasoning := p.(llm.Reasoning)
		_, text := p.(llm.Text)
		if (i < end || !reasoning) && (says || !text) {
			message.Parts = append(message.Parts, p)
		}
	}
	if !says {
		message.Parts = append(message.Parts, llm.Text(noText))
	}
	return message, says
}

// isField reports whether a reasoning is a field beside the content of a message, as in
// OpenAI's chat completions, not content of its own.
func isField(r llm.Reasoning) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.Data, &fields) != nil || fields == nil {
		return false // left to the adapter
	}
	for name := range fields {
		if !strings.HasPrefix(name, "reasoning") {
			return false
		}
	}
	return true
}

// PlainID replaces what is not a letter, a digit, _ or - in the ID of a tool call, which
// may come from another provider: some APIs accept nothing else.
func PlainID(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
}

// idMaker gives each call an ID that no other call has, in its [PlainID] either.
type idMaker map[string]bool

func (ids idMaker) turn(message llm.Message) llm.Message {
	message.Parts = slices.Clone(message.Parts)
	for i, p := range message.Parts {
		call, ok := p.(llm.ToolCall)
		if !ok {
			continue
		}
		id := call.ID
		for n := 1; id == "" || ids[PlainID(id)]; n++ {
			id = fmt.Sprintf("%s-%d", cmp.Or(call.ID, "call"), n)
		}
		ids[PlainID(id)] = true
		call.ID, call.Name, call.Arguments = id, cmp.Or(call.Name, noName), asObject(call.Arguments)
		message.Parts[i] = call
	}
	return message
}

// Arguments returns the arguments of a call in an answer. Models, and gateways, also send
// them as a text with the JSON in it.
func Arguments(raw json.RawMessage) json.RawMessage {
	var text string
	var fields map[string]json.RawMessage
	if bytes.HasPrefix(raw, []byte(`"`)) && json.Unmarshal(raw, &text) == nil && json.Unmarshal([]byte(text), &fields) == nil && fields != nil {
		return json.RawMessage(text)
	}
	return raw
}

// asObject returns the arguments of a call as a JSON object.
func asObject(arguments json.RawMessage) json.RawMessage {
	if len(bytes.TrimSpace(arguments)) == 0 || string(bytes.TrimSpace(arguments)) == "null" {
		return json.RawMessage("{}")
	}
	if !utf8.Valid(arguments) {
		arguments = bytes.ToValidUTF8(arguments, []byte("\ufffd"))
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(arguments, &fields) == nil {
		return arguments
	}
	wrapped, _ := json.Marshal(map[string]string{"INVALID_JSON": string(arguments)}) // can't fail for strings
	return wrapped
}

// answer gives the results in t the IDs of the calls, and each call without a result one
// that says so. was has the calls with the IDs that the results have. given is the index
// of a message of our own.
func (t *Talk) answer(was, calls []llm.ToolCall, given int) {
	answered := make([]bool, len(calls))
	for m, message := range t.Messages {
		parts := slices.Clone(message.Parts)
		for i, p := range parts {
			result, ok := p.(llm.ToolResult)
			if !ok {
				continue
			}
			for n := range calls {
				if !answered[n] && was[n].ID == result.CallID {
					answered[n], result.CallID = true, calls[n].ID
					parts[i] = result
					break
				}
			}
		}
		t.Messages[m].Parts = parts
	}
	var missing []llm.Part
	for n, call := range calls {
		if !answered[n] {
			missing = append(missing, llm.ToolResult{CallID: call.ID, Content: noResult, IsError: true})
		}
	}
	switch last := len(t.Messages) - 1; {
	case len(missing) == 0:
	case last < 0:
		t.add(llm.Message{Role: llm.RoleTool, Parts: missing}, given)
	default:
		t.Messages[last].Parts = append(t.Messages[last].Parts, missing...)
	}
}

// Instruct asks for an answer that fits a schema by words: in the first message if that is
// the system's, else in the first of the user. A system message of our own would be one
// that the caller did not write, and some models have no such role. tools says that the
// request has tools, which the model is not to be kept from.
func (t *Talk) Instruct(schema json.RawMessage, tools bool) {
	var compact bytes.Buffer
	_ = json.Compact(&compact, schema) // can't fail: it was parsed
	when := "Answer"
	if tools {
		when = "Unless you call a tool, answer"
	}
	instruction := llm.Text(when + " with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n" + compact.String())
	at := slices.IndexFunc(t.Messages, func(m llm.Message) bool { return m.Role == llm.RoleUser })
	if len(t.Messages) > 0 && t.Messages[0].Role == llm.RoleSystem {
		at = 0
	}
	if at < 0 {
		t.Messages = append([]llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{instruction}}}, t.Messages...)
		t.Given = append([]int{0}, t.Given...)
		return
	}
	t.Messages = slices.Clone(t.Messages)
	t.Messages[at].Parts = append(slices.Clone(t.Messages[at].Parts), instruction)
}

// HasSystem reports whether there is a system message.
func (t *Talk) HasSystem() bool {
	return slices.ContainsFunc(t.Messages, func(m llm.Message) bool { return m.Role == llm.RoleSystem })
}

// WithoutSystem puts the texts of the system messages before those of the user's first
// message, for a model without that role.
func (t *Talk) WithoutSystem() {
	if !t.HasSystem() {
		return
	}
	var rest Talk
	var system []llm.Part
	for i, message := range t.Messages {
		if message.Role == llm.RoleSystem {
			system = append(system, message.Parts...)
		} else {
			rest.add(message, t.Given[i])
		}
	}
	at := slices.IndexFunc(rest.Messages, func(m llm.Message) bool { return m.Role == llm.RoleUser })
	if at < 0 {
		rest.Messages, rest.Given = append([]llm.Message{{Role: llm.RoleUser}}, rest.Messages...), append([]int{0}, rest.Given...)
		at = 0
	}
	rest.Messages[at].Parts = append(system, rest.Messages[at].Parts...)
	*t = rest
}

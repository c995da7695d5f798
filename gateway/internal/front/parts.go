package front

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"llmcall/internal/protocol"
	"llmcall/llm"
)

// parts returns what a protocol writes of a part of an answer.
func (w *writer) parts(part llm.Part) []protocol.Part {
	switch part := part.(type) {
	case llm.Text:
		return []protocol.Part{{Text: string(part)}}
	case llm.ToolCall:
		call := w.call(part)
		w.called = true
		return []protocol.Part{call}
	case llm.Reasoning:
		return w.reasoning(part)
	}
	w.lose(fmt.Sprintf("%T: no protocol has it in an answer", part))
	return nil
}

// signs is between the identifier of a call and its signature.
const signs = "__sig_"

func (w *writer) call(c llm.ToolCall) protocol.Part {
	p := protocol.Part{Kind: protocol.CallPart, Name: c.Name, ID: c.ID, Text: strings.ToValidUTF8(string(c.Arguments), "\ufffd")}
	if strings.TrimSpace(p.Text) == "" { // a call without arguments; clients parse them
		p.Text = "{}"
	}
	switch {
	case len(c.Signature) == 0:
		if w.name == gemini && !w.called {
			p.Sign = noSignature
		}
	case w.name == gemini:
		p.Sign = string(c.Signature)
	default:
		if p.ID == "" {
			p.ID = w.turn.ID("call_")
		}
		p.ID += signs + base64.RawURLEncoding.EncodeToString(c.Signature)
	}
	switch {
	case isObject([]byte(p.Text)):
		if line, ok := protocol.Compact([]byte(p.Text)); ok && w.name == gemini { // an event is a line
			p.Text = string(line)
		}
	case w.name == gemini:
		w.lose(fmt.Sprintf("the call of %q: its arguments are not a JSON object", c.Name))
	case w.name == anthropic:
		w.lose(fmt.Sprintf("the arguments of the call of %q are not a JSON object: they are in %q", c.Name, invalidArguments))
		p.Text = string(object(invalidArguments, p.Text))
	}
	return p
}

// noSignature is the signature of the first call of an answer that was not signed, in base64.
// Gemini 3 refuses a conversation in which the call has none, and the client may be served by
// Gemini the next time (ai.google.dev/gemini-api/docs/thought-signatures, "FAQs").
var noSignature = base64.StdEncoding.EncodeToString([]byte("skip_thought_signature_validator"))

// invalidArguments is the member with the text of arguments that are not an object, where
// the protocol has place for an object alone. A tool that gets it has something to complain
// of; from an empty object it would take its defaults.
const invalidArguments = "invalid_arguments"

func isObject(text []byte) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(text, &members) == nil && members != nil
}

// object writes a JSON object with texts as its members, given as names and values.
func object(members ...string) json.RawMessage {
	var b strings.Builder
	for i := 0; i < len(members); i += 2 {
		name, _ := json.Marshal(members[i]) // can't fail for texts
		value, _ := json.Marshal(members[i+1])
		fmt.Fprintf(&b, ",%s:%s", name, value)
	}
	return json.RawMessage("{" + strings.TrimPrefix(b.String(), ",") + "}")
}

// reasoning returns the parts of what a provider says in its own form.
func (w *writer) reasoning(r llm.Reasoning) []protocol.Part {
	data := gjson.ParseBytes(r.Data)
	form := formOf(data)
	if line, ok := protocol.Compact(r.Data); form == w.name && ok {
		if form == anthropic && data.Get("type").String() == "thinking" && len(data.Map()) == 3 {
			return []protocol.Part{{Kind: protocol.ThoughtPart, Text: data.Get("thinking").String(), Sign: data.Get("signature").String()}}
		}
		p := protocol.Part{Kind: protocol.OwnPart, Own: line}
		if summary := data.Get("summary").Array(); form == responses && len(summary) == 1 {
			p.Text = summary[0].Get("text").String()
		}
		return []protocol.Part{p}
	}
	text, thought := thoughtIn(form, data)
	switch {
	case !thought:
		w.lose(fmt.Sprintf("%s: only %s has it", kindOf(data), r.Provider))
	case w.thoughts && text != "":
		return []protocol.Part{{Kind: protocol.ThoughtPart, Text: text}}
	}
	return nil
}

// chatThoughts are the members of a chat completion's message in which servers show
// thoughts (see package llmcall/provider/openai).
var chatThoughts = []string{"reasoning_content", "reasoning", "reasoning_details"}

// formOf returns the protocol in whose form a provider's own part is; "" if in none of them.
// The name of the provider does not tell: many speak one protocol.
func formOf(data gjson.Result) string {
	if !data.IsObject() {
		return ""
	}
	switch kind := data.Get("type").String(); {
	case kind == "reasoning", kind == "message":
		return responses
	case kind != "":
		return anthropic
	}
	for _, name := range chatThoughts {
		if data.Get(name).Exists() {
			return chat
		}
	}
	if data.Get("thinking").Exists() { // thoughts that were taken out of a text
		return ""
	}
	return gemini
}

// thoughtIn returns the text of a thought; ok is false if the part is something else, such as
// the work of the provider's own tool. The text of a sealed thought is empty.
func thoughtIn(form string, data gjson.Result) (text string, ok bool) {
	switch form {
	case chat:
		for _, name := range chatThoughts {
			value := data.Get(name)
			if value.Type == gjson.String {
				return value.String(), true
			}
			if value.IsArray() {
				return textsIn(value.Array(), "text", "summary"), true
			}
		}
		return "", true
	case responses:
		all := append(data.Get("summary").Array(), data.Get("content").Array()...)
		return textsIn(all, "text"), true
	case anthropic:
		kind := data.Get("type").String()
		return data.Get("thinking").String(), kind == "thinking" || kind == "redacted_thinking"
	case gemini:
		if data.Get("thought").Bool() {
			return data.Get("text").String(), true
		}
		// A signature of a text is of use to its provider alone.
		signature := data.Get("thoughtSignature").Exists()
		data.ForEach(func(name, _ gjson.Result) bool {
			signature = signature && (name.String() == "thoughtSignature" || name.String() == "text")
			return true
		})
		return "", signature
	}
	return data.Get("thinking").String(), data.Get("thinking").Exists()
}

// textsIn returns the first of some members of each item.
func textsIn(items []gjson.Result, members ...string) string {
	var texts []string
	for _, item := range items {
		for _, name := range members {
			if text := item.Get(name).String(); text != "" {
				texts = append(texts, text)
				break
			}
		}
	}
	return strings.Join(texts, "\n")
}

// kindOf names a provider's own part.
func kindOf(data gjson.Result) string {
	if kind := data.Get("type").String(); kind != "" {
		return kind
	}
	first := "a part"
	data.ForEach(func(name, _ gjson.Result) bool {
		first = name.String()
		return false
	})
	return first
}

// signatureAlone returns the signature of a text, if a part of Gemini's is nothing else.
func signatureAlone(p protocol.Part) (string, bool) {
	data := gjson.ParseBytes(p.Own)
	sign := data.Get("thoughtSignature")
	return sign.String(), p.Kind == protocol.OwnPart && sign.Exists() && len(data.Map()) == 1
}

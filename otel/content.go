package otel

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"llmcall"
	"llmcall/llm"
)

// maxMessages is how many messages of a conversation are in a span: the last ones.
const maxMessages = 20

// message and part are the form that the conventions give to gen_ai.input.messages and
// gen_ai.output.messages.
type message struct {
	Role  string `json:"role"`
	Parts []part `json:"parts"`
}

type part struct {
	Type      string `json:"type"`
	Content   string `json:"content,omitempty"`
	ID        string `json:"id,omitempty"`
	Name      string `json:"name,omitempty"`
	Arguments any    `json:"arguments,omitempty"`
	Response  string `json:"response,omitempty"`
	MIMEType  string `json:"mime_type,omitempty"`
	Modality  string `json:"modality,omitempty"`
	Bytes     int    `json:"bytes,omitempty"`
}

// conversation returns messages as the conventions write them, without keys, long texts
// cut. Of pictures, documents and recordings it has what they are, never their bytes, and
// nothing of a model's reasoning, which is its provider's.
func (w *watcher) conversation(all []llm.Message) string {
	var shown []message
	if left := len(all) - maxMessages; left > 0 {
		shown = append(shown, message{"system", []part{{Type: "text", Content: fmt.Sprintf("… (%d messages left out) …", left)}}})
		all = all[left:]
	}
	for _, m := range all {
		one := message{Role: string(m.Role), Parts: []part{}}
		for _, p := range m.Parts {
			if s := w.part(p); s.Type != "" {
				one.Parts = append(one.Parts, s)
			}
		}
		shown = append(shown, one)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(shown); err != nil { // arguments that are not JSON are texts: there is nothing left that fails
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (w *watcher) part(p llm.Part) part {
	switch p := p.(type) {
	case llm.Text:
		return part{Type: "text", Content: w.filter.Text(string(p))}
	case llm.ToolCall:
		return part{Type: "tool_call", ID: p.ID, Name: w.filter.Text(p.Name), Arguments: w.arguments(p.Arguments)}
	case llm.ToolResult:
		return part{Type: "tool_call_response", ID: p.CallID, Response: w.filter.Text(p.Content)}
	case llm.Image:
		return media("image", p.MediaType, len(p.Data))
	case llm.Document:
		return media("document", p.MediaType, len(p.Data))
	case llm.Audio:
		return media("audio", p.MediaType, len(p.Data))
	}
	return part{}
}

// media describes a part whose bytes, or whose address, are left out: an address may be
// signed.
func media(modality, mediaType string, size int) part {
	kind := "blob"
	if size == 0 {
		kind = "uri"
	}
	return part{Type: kind, Modality: modality, MIMEType: mediaType, Bytes: size}
}

// arguments returns the arguments of a tool call: JSON if they still are when keys are
// hidden and they are cut, else a text.
func (w *watcher) arguments(raw json.RawMessage) any {
	text := w.filter.Text(string(raw))
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// quoted returns what the span of an attempt has of the answer: of one that is not valid, the
// answer and the complaints. A valid one is with the call.
func (w *watcher) quoted(a *llmcall.Attempt) attributes {
	var all attributes
	if a.Answer != "" {
		all.text(outputMessages, w.conversation([]llm.Message{llm.Assistant(a.Answer)}))
	}
	var complaints []string
	for i, c := range a.Complaints {
		if i == maxMessages {
			complaints = append(complaints, fmt.Sprintf("and %d more", len(a.Complaints)-i))
			break
		}
		complaints = append(complaints, w.filter.Text(c.String()))
	}
	if complaints != nil {
		all = append(all, attribute.StringSlice(attemptComplains, complaints))
	}
	return all
}

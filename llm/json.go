package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The types of parts in JSON. Other programs keep them in sessions, queues and fixtures:
// more may be added, but none of these may change.
const (
	typeText       = "text"
	typeImage      = "image"
	typeDocument   = "document"
	typeAudio      = "audio"
	typeToolCall   = "tool_call"
	typeToolResult = "tool_result"
	typeReasoning  = "reasoning"
)

var partTypes = []string{typeText, typeImage, typeDocument, typeAudio, typeToolCall, typeToolResult, typeReasoning}

// The parts as they are in JSON.
type (
	textJSON struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	imageJSON struct {
		Type string `json:"type"`
		plainImage
	}
	documentJSON struct {
		Type string `json:"type"`
		plainDocument
	}
	audioJSON struct {
		Type string `json:"type"`
		plainAudio
	}
	toolCallJSON struct {
		Type          string          `json:"type"`
		ID            string          `json:"id"`
		Name          string          `json:"name"`
		Arguments     json.RawMessage `json:"arguments,omitempty"`
		ArgumentsText string          `json:"arguments_text,omitempty"`
		Signature     []byte          `json:"signature,omitempty"`
	}
	toolResultJSON struct {
		Type string `json:"type"`
		plainToolResult
	}
	reasoningJSON struct {
		Type     string          `json:"type"`
		Provider string          `json:"provider"`
		Data     json.RawMessage `json:"data,omitempty"`
		DataText string          `json:"data_text,omitempty"`
	}

	// These have the fields and tags, but not the methods.
	plainImage      Image
	plainDocument   Document
	plainAudio      Audio
	plainToolResult ToolResult
)

// form returns a part as it is in JSON.
func form(part Part) any {
	switch p := part.(type) {
	case Text:
		return textJSON{typeText, (*string)(&p)}
	case Image:
		return imageJSON{typeImage, plainImage(p)}
	case Document:
		return documentJSON{typeDocument, plainDocument(p)}
	case Audio:
		return audioJSON{typeAudio, plainAudio(p)}
	case ToolCall:
		value, text := written(p.Arguments)
		return toolCallJSON{typeToolCall, p.ID, p.Name, value, text, p.Signature}
	case ToolResult:
		return toolResultJSON{typeToolResult, plainToolResult(p)}
	case Reasoning:
		value, text := written(p.Data)
		return reasoningJSON{typeReasoning, p.Provider, value, text}
	}
	return part // a pointer to one of them
}

// MarshalJSON writes {"type": "text", "text": "…"}.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(form(t)) }

// MarshalJSON writes {"type": "image", "media_type": "image/png", "data": "…"},
// with the data in base64, or a "url".
func (i Image) MarshalJSON() ([]byte, error) { return json.Marshal(form(i)) }

// MarshalJSON writes {"type": "document", "media_type": "application/pdf", "data": "…",
// "name": "…"}, with the data in base64, or a "url".
func (d Document) MarshalJSON() ([]byte, error) { return json.Marshal(form(d)) }

// MarshalJSON writes {"type": "audio", "media_type": "audio/wav", "data": "…"}, with the
// data in base64, or a "url".
func (a Audio) MarshalJSON() ([]byte, error) { return json.Marshal(form(a)) }

// MarshalJSON writes {"type": "tool_call", "id": "…", "name": "…", "arguments": {…}}.
// Arguments that are not JSON are written as a string, "arguments_text", and
// empty ones are left out.
func (c ToolCall) MarshalJSON() ([]byte, error) { return json.Marshal(form(c)) }

// MarshalJSON writes {"type": "tool_result", "call_id": "…", "content": "…"}, with
// "is_error": true where it is one.
func (r ToolResult) MarshalJSON() ([]byte, error) { return json.Marshal(form(r)) }

// MarshalJSON writes {"type": "reasoning", "provider": "…", "data": …}. Data that
// are not JSON are written as a string, "data_text", and empty ones are left out.
func (r Reasoning) MarshalJSON() ([]byte, error) { return json.Marshal(form(r)) }

// UnmarshalJSON reads what [Text.MarshalJSON] writes, or a string.
func (t *Text) UnmarshalJSON(text []byte) error { return read(text, t) }

// UnmarshalJSON reads what [Image.MarshalJSON] writes.
func (i *Image) UnmarshalJSON(text []byte) error { return read(text, i) }

// UnmarshalJSON reads what [Document.MarshalJSON] writes.
func (d *Document) UnmarshalJSON(text []byte) error { return read(text, d) }

// UnmarshalJSON reads what [Audio.MarshalJSON] writes.
func (a *Audio) UnmarshalJSON(text []byte) error { return read(text, a) }

// UnmarshalJSON reads what [ToolCall.MarshalJSON] writes.
func (c *ToolCall) UnmarshalJSON(text []byte) error { return read(text, c) }

// UnmarshalJSON reads what [ToolResult.MarshalJSON] writes.
func (r *ToolResult) UnmarshalJSON(text []byte) error { return read(text, r) }

// UnmarshalJSON reads what [Reasoning.MarshalJSON] writes.
func (r *Reasoning) UnmarshalJSON(text []byte) error { return read(text, r) }

// read reads a part that must be a P.
func read[P Part](text []byte, to *P) error {
	if isNull(text) {
		return nil // by the convention of json.Unmarshaler
	}
	part, err := readPart(text)
	if err != nil {
		return fmt.Errorf("llm: %w", err)
	}
	p, ok := part.(P)
	if !ok {
		return fmt.Errorf("llm: expected a part of the type %T, got %T", p, part)
	}
	*to = p
	return nil
}

// readPart reads any part.
func readPart(text []byte) (Part, error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '"' {
		var s string
		err := json.Unmarshal(text, &s)
		return Text(s), err
	}
	var is struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &is); err != nil {
		return nil, err
	}
	switch is.Type {
	case typeText:
		var p textJSON
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, err
		}
		if p.Text == nil {
			return nil, errors.New(`a part of the type "text" must have a "text"`)
		}
		return Text(*p.Text), nil
	case typeImage:
		var p imageJSON
		err := json.Unmarshal(text, &p)
		p.Data = emptyIsNil(p.Data)
		return Image(p.plainImage), err
	case typeDocument:
		var p documentJSON
		err := json.Unmarshal(text, &p)
		p.Data = emptyIsNil(p.Data)
		return Document(p.plainDocument), err
	case typeAudio:
		var p audioJSON
		err := json.Unmarshal(text, &p)
		p.Data = emptyIsNil(p.Data)
		return Audio(p.plainAudio), err
	case typeToolCall:
		var p toolCallJSON
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, err
		}
		arguments, err := either("arguments", p.Arguments, p.ArgumentsText)
		return ToolCall{p.ID, p.Name, arguments, emptyIsNil(p.Signature)}, err
	case typeToolResult:
		var p toolResultJSON
		err := json.Unmarshal(text, &p)
		return ToolResult(p.plainToolResult), err
	case typeReasoning:
		var p reasoningJSON
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, err
		}
		data, err := either("data", p.Data, p.DataText)
		return Reasoning{p.Provider, data}, err
	case "":
		return nil, fmt.Errorf(`a part must have a "type": %s`, strings.Join(partTypes, ", "))
	}
	return nil, fmt.Errorf("the part's type %q is unknown; known are %s", is.Type, strings.Join(partTypes, ", "))
}

// MarshalJSON writes {"role": "…", "parts": […]}.
func (m Message) MarshalJSON() ([]byte, error) {
	parts := make([]any, len(m.Parts))
	for i, part := range m.Parts {
		if part == nil {
			return nil, fmt.Errorf("llm: parts[%d] of a message is nil", i)
		}
		parts[i] = form(part)
	}
	return json.Marshal(struct {
		Role  Role  `json:"role"`
		Parts []any `json:"parts"`
	}{m.Role, parts})
}

// UnmarshalJSON replaces the message by one that was written by [Message.MarshalJSON]. A
// part may also be a bare string, which becomes a [Text]: {"role": "user", "parts":
// ["Hello"]}. A part of an unknown type is an error, and so are missing "parts": the
// "content" and "tool_calls" of another API's message would be lost silently.
func (m *Message) UnmarshalJSON(text []byte) error {
	if isNull(text) {
		return nil
	}
	given := struct {
		Role  Role               `json:"role"`
		Parts *[]json.RawMessage `json:"parts"` // null makes it nil, [] what it points to empty
	}{Parts: new([]json.RawMessage)}
	if err := json.Unmarshal(text, &given); err != nil {
		return err
	}
	var raws []json.RawMessage
	if given.Parts != nil {
		if raws = *given.Parts; raws == nil {
			return errors.New(`llm: a message must have "parts"`)
		}
	}
	message := Message{Role: given.Role}
	for i, raw := range raws {
		part, err := readPart(raw)
		if err != nil {
			return fmt.Errorf("llm: parts[%d]: %w", i, err)
		}
		message.Parts = append(message.Parts, part)
	}
	*m = message
	return nil
}

// UnmarshalJSON replaces the request by one from JSON. Numbers in Extra become
// [json.Number], so that none loses digits; other values have the types that
// encoding/json gives them.
func (r *Request) UnmarshalJSON(text []byte) error {
	if isNull(text) {
		return nil
	}
	type plain Request
	var request plain
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&request); err != nil {
		return err
	}
	if len(request.Tools) == 0 {
		request.Tools = nil
	}
	for i := range request.Tools {
		request.Tools[i].Parameters = plainJSON(request.Tools[i].Parameters)
	}
	if request.Schema != nil {
		request.Schema.JSON = plainJSON(request.Schema.JSON)
	}
	if len(request.Stop) == 0 {
		request.Stop = nil
	}
	if len(request.Extra) == 0 {
		request.Extra = nil
	}
	*r = Request(request)
	return nil
}

func isNull(text []byte) bool { return string(bytes.TrimSpace(text)) == "null" }

func emptyIsNil(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	return data
}

// written returns what a model wrote: as JSON if it is JSON, otherwise as a text.
func written(raw json.RawMessage) (value json.RawMessage, text string) {
	if fits(raw) {
		return plainJSON(raw), ""
	}
	return nil, string(raw)
}

// either is the opposite of written.
func either(name string, value json.RawMessage, text string) (json.RawMessage, error) {
	switch {
	case text == "":
		return plainJSON(value), nil
	case value != nil:
		return nil, fmt.Errorf("a part must have either %q or %[2]q, got both", name, name+"_text")
	case fits([]byte(text)):
		return plainJSON([]byte(text)), nil
	}
	return json.RawMessage(text), nil
}

// fits reports whether a text is JSON that can be put into other JSON:
// encoding/json takes 10,000 levels in all, and some are around it.
func fits(text []byte) bool {
	const around = 100
	return json.Valid(text) && (len(text) < 10_000 ||
		json.Valid(slices.Concat(bytes.Repeat([]byte("["), around), text, bytes.Repeat([]byte("]"), around))))
}

// plainJSON returns JSON without white space between its tokens, without bytes that are
// not UTF-8, and without encoding/json's escapes of "<", ">", "&" and two line breaks: a
// model that finds its own "a < b" escaped in the conversation begins to escape it too.
func plainJSON(text json.RawMessage) json.RawMessage {
	if text == nil {
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, bytes.ToValidUTF8(text, []byte("\uFFFD"))); err != nil {
		return text
	}
	return json.RawMessage(unescaped.Replace(compact.String()))
}

// unescaped passes over a backslash that is escaped itself.
var unescaped = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003C`, "<", `\u003e`, ">", `\u003E`, ">", `\u0026`, "&",
	`\u2028`, "\u2028", `\u2029`, "\u2029")

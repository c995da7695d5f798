package body

import (
	"encoding/base64"
	"strings"

	"llmcall/llm"
)

// placed is a part of a message and where it was in the body.
type placed struct {
	part llm.Part
	at   string
}

// talk is a conversation as far as it was read.
type talk struct {
	messages []llm.Message
	at       [][]string // where each part of each message was
	pictures []placed   // of results of tools, which are texts: they follow the results
}

// say adds a message. One without parts is left out: what it had is lost.
func (t *talk) say(as llm.Role, parts ...placed) {
	switch {
	case as == llm.RoleTool || len(t.pictures) == 0:
	case as == llm.RoleUser:
		parts = append(t.pictures, parts...)
		t.pictures = nil
	default:
		t.end()
	}
	if len(parts) == 0 {
		return
	}
	m, at := llm.Message{Role: as}, make([]string, 0, len(parts))
	for _, p := range parts {
		m.Parts, at = append(m.Parts, p.part), append(at, p.at)
	}
	t.messages, t.at = append(t.messages, m), append(t.at, at)
}

// join is say where what an assistant or tools say in a row is one message: protocols whose
// items are less than a message.
func (t *talk) join(as llm.Role, parts ...placed) {
	last := len(t.messages) - 1
	if last < 0 || t.messages[last].Role != as || as != llm.RoleAssistant && as != llm.RoleTool || as == llm.RoleAssistant && len(t.pictures) > 0 {
		t.say(as, parts...)
		return
	}
	for _, p := range parts {
		t.messages[last].Parts, t.at[last] = append(t.messages[last].Parts, p.part), append(t.at[last], p.at)
	}
}

// end adds the pictures of results that nothing follows.
func (t *talk) end() {
	pictures := t.pictures
	t.pictures = nil
	t.say(llm.RoleUser, pictures...)
}

// whole ends the conversation and gives it to the body.
func (t *talk) whole(n node, b *Body) error {
	t.end()
	b.Request.Messages, b.at = t.messages, t.at
	return n.r.soft(conversation(n, t.messages))
}

// conversation returns an error if a call has no result, or a result no call: every provider
// refuses that.
func conversation(n node, all []llm.Message) error {
	var due []string
	for _, m := range all {
		for _, part := range m.Parts {
			switch p := part.(type) {
			case llm.ToolCall:
				due = append(due, p.ID)
			case llm.ToolResult:
				at := -1
				for i, id := range due {
					if id == p.CallID {
						at = i
					}
				}
				if at < 0 {
					return n.bad("has a result of the tool call %q, and no such call before it", p.CallID)
				}
				due = append(due[:at], due[at+1:]...)
			}
		}
	}
	if len(due) > 0 {
		return n.bad("has a tool call %q without its result", due[0])
	}
	return nil
}

// result reads the content of a tool's result. The types are those of its texts; other parts
// are read by read: pictures, documents and recordings follow the results, since a result is
// a text.
func (t *talk) result(content node, read func(node) (llm.Part, error), types ...string) (string, error) {
	if content.isText() {
		return content.text()
	}
	list, err := content.list()
	if err != nil {
		return "", content.wants("a string or a list of parts")
	}
	var texts []string
	for _, n := range list {
		if err := n.r.soft(t.resultPart(n, read, &texts, types)); err != nil {
			return "", err
		}
	}
	return strings.Join(texts, "\n"), nil
}

func (t *talk) resultPart(n node, read func(node) (llm.Part, error), texts *[]string, types []string) error {
	o, err := n.object()
	if err != nil {
		return err
	}
	kind := o.take("type")
	for _, known := range types {
		if string(kind.raw) != `"`+known+`"` {
			continue
		}
		text, err := o.take("text").text()
		if err != nil {
			return err
		}
		*texts = append(*texts, text)
		o.noted("type", "text")
		return nil
	}
	if !n.r.lenient {
		return kind.wants(`"` + strings.Join(types, `" or "`) + `"`)
	}
	part, err := read(n)
	if err != nil {
		return err
	}
	switch part.(type) {
	case llm.Image, llm.Document, llm.Audio:
		n.r.harmless(n.path, follows)
		t.pictures = append(t.pictures, placed{part, n.path})
		return nil
	}
	return kind.wants(`"` + strings.Join(types, `" or "`) + `", or a picture or document`)
}

// signs separates the ID of a tool call from the signature with which the call must be sent
// back to its provider. A client of a protocol that has no place for it knows only IDs.
const signs = "__sig_"

// foreign leaves out the thought of a model of another protocol, which a gateway's answer
// showed, and reports whether it may: a provider refuses thoughts that are not its own.
func (r *reader) foreign(at string) bool {
	if r.lenient {
		r.signed = true
		r.harmless(at, "is a thought of another provider's model")
	}
	return r.lenient
}

// unsigned takes an ID and a signature apart, which is in base64 (the alphabet of URLs).
func (r *reader) unsigned(id string) (string, []byte) {
	i := strings.LastIndex(id, signs)
	if i <= 0 {
		return id, nil
	}
	signature, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(id[i+len(signs):], "="))
	if err != nil || len(signature) == 0 {
		return id, nil
	}
	r.signed = true
	return id[:i], signature
}

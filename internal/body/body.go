// Package body reads what the bodies of requests in four protocols ask for as an
// [llm.Request], so that any model can be asked: OpenAI's chat completions and responses,
// Anthropic's messages and Gemini's generateContent.
//
// There are two ways to read. [Chat], [Responses] and [Messages] are strict: the first thing
// that an [llm.Request] can't carry is an *[Error] that names the field. The lines of a batch
// file are read so, since nobody reads a note about each of ten thousand lines. [Read] is
// lenient, for a gateway: it refuses only what is not of the protocol's form at all, and
// keeps a list of what it could not carry. [Body.To] then says what a model that speaks a
// certain protocol would be asked, and what of the body is lost on the way:
//
//	b, err := body.Read("anthropic", text)
//	req, losses := b.To("openai")
//
// Nothing is lost silently. A setting that [llm.Request] has no field for is in its Extra
// for models of the same protocol, and for those of another it is translated where that has
// a setting of the same meaning. Everything else is a [Loss].
//
// Sources: https://developers.openai.com/api/reference/resources/chat,
// https://developers.openai.com/api/reference/resources/responses,
// https://platform.claude.com/docs/en/api/messages/create,
// https://ai.google.dev/api/generate-content
package body

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/llm"
)

// The protocols, by the names that the rest of llmcall has for them.
const (
	chatName      = "openai"
	responsesName = "openai-responses"
	anthropicName = "anthropic"
	geminiName    = "gemini"
)

// Body is what a body asks for.
type Body struct {
	// Protocol is that of the body: "openai" (chat completions), "openai-responses",
	// "anthropic" or "gemini".
	Protocol string
	// Model is the model as the body has it; "" if the body names none. That of Gemini is in
	// the path of the request, and is the caller's to set.
	Model string
	// Request is the rest, for a model of the same protocol.
	Request *llm.Request
	// Stream reports whether the answer is to be streamed. Gemini's is in the path of the
	// request, and is the caller's to set.
	Stream bool
	// IncludeUsage reports whether a stream is to end with the usage: stream_options of
	// chat completions.
	IncludeUsage bool
	// Signed reports whether the body has what only a gateway's answers have: a signature
	// within the ID of a tool call, which [Read] has taken apart, or the thought of a model of
	// another protocol, which it has left out. Such a body must not be sent as it is, not even
	// to a model of its own protocol: OpenAI refuses IDs of more than 40 characters, and
	// Anthropic thoughts that it has not signed.
	Signed bool

	lost    []lost                     // what reading could not carry
	rest    map[string]json.RawMessage // the fields of Request.Extra
	covered map[string]bool            // the paths in rest that are carried by other fields too, or are in lost
	at      [][]string                 // where each part of each message was
	json    bool                       // JSON of any form is asked for
	allowed []string                   // the tools that may be called; nil: all
	must    bool                       // one of allowed must be called
	path    map[string]string          // where settings of the request are, for losses: "stop", "seed", "temperature"
}

// Loss is something of a body that a model would not be asked.
type Loss struct {
	// Field is where it is in the body: "messages[2].content[0]", "logprobs".
	Field string
	// Problem says why it is lost, and what can be done.
	Problem string
	// Harmless reports whether the answer means the same without it: identifiers of users,
	// caches, tiers, sampling. What is not harmless changes what is asked, and the request
	// should be refused for that model.
	Harmless bool
}

// Error returns the field and the problem.
func (l Loss) Error() string { return strings.TrimSpace(l.Field + " " + l.Problem) }

// Error says what is wrong with a body.
type Error struct {
	// Field is where: "messages[2].content"; "" for the whole body.
	Field string
	// Problem says what is wrong, and what is taken.
	Problem string
}

// Error returns the field and the problem.
func (e *Error) Error() string { return strings.TrimSpace(e.Field + " " + e.Problem) }

// protocols are the readers, by the protocols' names.
var protocols = map[string]func(*object, *Body) error{
	chatName: chat, responsesName: responses, anthropicName: anthropic, geminiName: gemini,
}

// Read reads the body of a request in a protocol: "openai", "openai-responses", "anthropic"
// or "gemini". The error is an *[Error]: the body is not JSON, or not of the protocol's form
// at all. Whatever else it has that can't be carried is a [Loss] of [Body.To]. The body shares
// the text's memory, which must not be modified any more.
func Read(protocol string, text []byte) (*Body, error) {
	of, ok := protocols[protocol]
	if !ok {
		known := []string{chatName, responsesName, anthropicName, geminiName}
		return nil, &Error{"", fmt.Sprintf("has an unknown protocol: must be %s, got %q", nearest.List(protocol, known), protocol)}
	}
	r := &reader{lenient: true, snake: protocol == geminiName}
	b, err := r.read(text, of)
	if err != nil {
		return nil, err
	}
	b.Protocol, b.Signed, b.lost = protocol, r.signed, r.lost
	return b, nil
}

// Chat reads the body of a chat completion's request, and refuses what can't be carried.
// The error is an *[Error].
func Chat(text []byte) (*Body, error) { return strict(text, chatName) }

// Responses reads the body of a response's request, and refuses what can't be carried. The
// error is an *[Error].
func Responses(text []byte) (*Body, error) { return strict(text, responsesName) }

func strict(text []byte, protocol string) (*Body, error) {
	r := &reader{}
	b, err := r.read(text, protocols[protocol])
	if err != nil {
		return nil, err
	}
	b.Protocol, b.Signed = protocol, r.signed
	return b, nil
}

// Messages reads a list of messages, each as llmcall writes it ("parts") or as chat
// completions have it ("content"), and refuses what can't be carried. Path is where the
// list is, for errors, which are *[Error].
func Messages(text []byte, path string) ([]llm.Message, error) {
	n, err := open(&reader{}, text, path)
	if err != nil {
		return nil, err
	}
	var t talk
	err = chatMessages(n, &t)
	return t.messages, err
}

// read reads a body by a protocol's reader.
func (r *reader) read(text []byte, by func(*object, *Body) error) (*Body, error) {
	root, err := open(r, text, "")
	if err != nil {
		return nil, err
	}
	o, err := root.object()
	if err != nil {
		return nil, err
	}
	b := &Body{Request: &llm.Request{}, rest: map[string]json.RawMessage{}, covered: map[string]bool{}, path: map[string]string{}}
	if err := by(o, b); err != nil {
		return nil, err
	}
	if raw := o.fields[""]; r.lenient && present(raw) != nil {
		delete(o.fields, "")
		r.lost = append(r.lost, lost{Loss{`""`, "must be the name of a field", false}, true})
	}
	for name, raw := range o.fields {
		if raw := present(raw); raw != nil {
			b.rest[name] = raw
		}
	}
	b.Request.Extra, err = r.extra(b.rest)
	return b, err
}

// extra returns fields as a request's Extra. A strict reader, whose request is written to
// files, has the values that encoding/json gives them, but for those that have a structure
// which the protocol's reader looked at.
func (r *reader) extra(fields map[string]json.RawMessage) (map[string]any, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	all := make(map[string]any, len(fields))
	for name, raw := range fields {
		if r.lenient || r.asIs[name] {
			all[name] = raw
			continue
		}
		value, err := decoded(raw)
		if err != nil {
			return nil, &Error{name, err.Error()}
		}
		all[name] = value
	}
	return all, nil
}

// keep puts a field into what is for a model of the same protocol, as it is.
func (b *Body) keep(r *reader, name string, raw json.RawMessage) {
	b.rest[name] = raw
	if r.asIs == nil {
		r.asIs = map[string]bool{}
	}
	r.asIs[name] = true
}

// within reads what a model of the same protocol can be given as it is, in the field name,
// beside what the request can carry of it: losses within are losses for others alone.
func (b *Body) within(r *reader, name string, raw json.RawMessage, read func() error) error {
	before := len(r.lost)
	err := r.soft(read())
	if len(r.lost) == before || err != nil {
		return err
	}
	for i := range r.lost[before:] {
		r.lost[before+i].own = false
	}
	b.keep(r, name, raw)
	b.covered[name] = true
	return nil
}

// To returns the request for a model that speaks a protocol, and what is lost of the body,
// in the order in which it was read. For the body's own protocol nothing is lost that Extra
// can carry. What is shared with the body must not be modified.
func (b *Body) To(protocol string) (*llm.Request, []Loss) {
	plain := *b.Request
	plain.Extra = nil
	return b.For(protocol, &plain)
}

// For is [Body.To] for a request that was made of the body's: with turns added to the
// conversation, and other settings. The request's Extra is for a model of the protocol, not
// of the body's, and replaces what the body asks for. The request is not modified.
func (b *Body) For(protocol string, req *llm.Request) (*llm.Request, []Loss) {
	t := &translation{Body: b, to: protocol, req: *req, extra: map[string]any{}}
	if protocol == b.Protocol {
		maps.Copy(t.extra, b.Request.Extra)
		for _, l := range b.lost {
			if l.own {
				t.losses = append(t.losses, l.Loss)
			}
		}
	} else {
		t.translate()
	}
	maps.Copy(t.extra, req.Extra)
	if t.req.Extra = t.extra; len(t.extra) == 0 {
		t.req.Extra = nil
	}
	return &t.req, t.losses
}

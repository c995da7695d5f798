package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// A step reads a part of a body into a request, and returns the provider's refusal, if
// any.
type step func(*Request) *Error

// read takes steps until one refuses the request. A protocol's Read is a list of steps, in
// the order in which the provider checks the fields.
func read(steps ...step) (*Request, *Error) {
	req := &Request{}
	for _, take := range steps {
		if refused := take(req); refused != nil {
			return nil, refused
		}
	}
	return req, nil
}

// firstOf returns the first refusal whose condition is true.
func firstOf(rules ...rule) *Error {
	for _, r := range rules {
		if r.broken {
			return r.refusal
		}
	}
	return nil
}

type rule struct {
	broken  bool
	refusal *Error
}

// orZero returns a number, or 0 if it is missing.
func orZero(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// unmarshal reads JSON. The error has Go's words, but no names of this package's
// types.
func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		wrong.Struct = ""
	}
	return err
}

// say adds a message.
func (r *Request) say(role, text string) { r.Messages = append(r.Messages, Message{role, text}) }

// absent reports whether a field is missing or null.
func absent(field json.RawMessage) bool {
	return field == nil || bytes.Equal(field, []byte("null"))
}

// contentText returns the text of a message's content: a string, a list of parts, of
// which those with one of the types have text, or nothing, as in an assistant's message
// that only calls tools.
func contentText(content json.RawMessage, types ...string) (string, bool) {
	if absent(content) {
		return "", true
	}
	var whole string
	if json.Unmarshal(content, &whole) == nil {
		return whole, true
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return "", false
	}
	var texts []string
	for _, p := range parts {
		if slices.Contains(types, p.Type) {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n"), true
}

// jsonObject returns a tool's arguments as a JSON object; ok is false if they are
// something else: prose, half an object, a list.
func jsonObject(text string) (object raw, ok bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil || members == nil {
		return raw("{}"), false
	}
	return raw(text), true
}

// unmatched returns the first identifier that is not among the others.
func unmatched(ids, among []string) (string, bool) {
	for _, id := range ids {
		if !slices.Contains(among, id) {
			return id, true
		}
	}
	return "", false
}

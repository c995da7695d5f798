// Package openaibody reads what the body of a request in one of OpenAI's protocols asks
// for as an [llm.Request], so that any model can be asked: the lines of a batch file are
// such bodies. [Chat] reads those of chat completions, [Responses] those of responses, and
// [Messages] a conversation alone.
//
// Nothing is lost silently. A setting that [llm.Request] has no field for is in its Extra;
// what neither can carry, such as several answers or an identifier of an uploaded file, is
// an *[Error] that names the field.
//
// Sources: https://developers.openai.com/api/reference/resources/chat,
// https://developers.openai.com/api/reference/resources/responses
package openaibody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/datauri"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/llm"
)

// Body is what a body asks for.
type Body struct {
	// Model is the model, without a provider; "" if the body names none.
	Model string
	// Request is the rest.
	Request *llm.Request
}

// Error says what is wrong with a body.
type Error struct {
	// Field is where: "messages[2].content"; "" for the whole body.
	Field string
	// Problem says what is wrong, and what is taken.
	Problem string
}

// Error returns the field and the problem.
func (e *Error) Error() string { return strings.TrimSpace(e.Field + " " + e.Problem) }

// node is a value at a place of the body; raw is nil if it is missing or null.
type node struct {
	path string
	raw  json.RawMessage
}

func (n node) missing() bool { return n.raw == nil }

func (n node) bad(format string, args ...any) error {
	return &Error{n.path, fmt.Sprintf(format, args...)}
}

func (n node) wants(what string) error {
	if n.missing() {
		return n.bad("must be %s, got nothing", what)
	}
	return n.bad("must be %s, got %s", what, shown(n.raw))
}

// cannot is the error about what has no field.
func (n node) cannot(why string) error { return n.bad("can't be carried out: %s", why) }

// shown describes a JSON value in an error.
func shown(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return say.Short(string(raw), 60)
}

func (n node) text() (string, error) {
	var s string
	if n.missing() || n.raw[0] != '"' || json.Unmarshal(n.raw, &s) != nil {
		return "", n.wants("a string")
	}
	return s, nil
}

// optional is text for a field that may be missing.
func (n node) optional() (string, error) {
	if n.missing() {
		return "", nil
	}
	return n.text()
}

func (n node) flag() (bool, error) {
	var is bool
	if n.missing() {
		return false, nil
	}
	if json.Unmarshal(n.raw, &is) != nil {
		return false, n.wants("true or false")
	}
	return is, nil
}

func (n node) integer(least int64) (int64, error) {
	if i, err := strconv.ParseInt(string(n.raw), 10, 64); err == nil && i >= least {
		return i, nil
	}
	if least == math.MinInt64 {
		return 0, n.wants("a whole number")
	}
	return 0, n.wants(fmt.Sprintf("a whole number >= %d", least))
}

func (n node) float() (float64, error) {
	var f float64
	if n.missing() || json.Unmarshal(n.raw, &f) != nil {
		return 0, n.wants("a number")
	}
	return f, nil
}

func (n node) list() ([]node, error) {
	var items []json.RawMessage
	if n.missing() || n.raw[0] != '[' || json.Unmarshal(n.raw, &items) != nil {
		return nil, n.wants("a list")
	}
	nodes := make([]node, len(items))
	for i, raw := range items {
		nodes[i] = node{fmt.Sprintf("%s[%d]", n.path, i), present(raw)}
	}
	return nodes, nil
}

func (n node) isText() bool { return !n.missing() && n.raw[0] == '"' }

// object is the fields of an object that are not taken yet.
type object struct {
	path   string
	fields map[string]json.RawMessage
}

func (n node) object() (*object, error) {
	o := &object{path: n.path}
	if n.missing() || n.raw[0] != '{' || json.Unmarshal(n.raw, &o.fields) != nil {
		return nil, n.wants("an object")
	}
	return o, nil
}

// present returns nil for null, without white space around it.
func present(raw json.RawMessage) json.RawMessage {
	if raw = bytes.TrimSpace(raw); string(raw) == "null" {
		return nil
	}
	return raw
}

func (o *object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// take removes and returns a field.
func (o *object) take(name string) node {
	raw := o.fields[name]
	delete(o.fields, name)
	return node{o.at(name), present(raw)}
}

// done returns an error if a field is left that is not null or empty. known are the fields
// that there are, for the error.
func (o *object) done(known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		n := o.take(name)
		if n.missing() || slices.Contains([]string{"[]", "{}", `""`}, string(n.raw)) {
			continue
		}
		return n.cannot("known fields are " + nearest.List(name, known))
	}
	return nil
}

// extra returns the fields that are left as a request's Extra.
func (o *object) extra() (map[string]any, error) {
	extra := map[string]any{}
	for name, raw := range o.fields {
		if present(raw) == nil {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, &Error{o.at(name), err.Error()}
		}
		extra[name] = value
	}
	if len(extra) == 0 {
		return nil, nil
	}
	return extra, nil
}

// withExtra adds a field to a request's Extra, with the order of its fields as they are.
func withExtra(req *llm.Request, name string, raw json.RawMessage) {
	if req.Extra == nil {
		req.Extra = map[string]any{}
	}
	req.Extra[name] = raw
}

// open reads a body or a list within one.
func open(text []byte, path string) (node, error) {
	if !json.Valid(text) {
		return node{}, &Error{path, "is not JSON"}
	}
	return node{path, present(text)}, nil
}

// settings takes what both protocols have.
func settings(o *object, b *Body) (err error) {
	if b.Model, err = o.take("model").optional(); err != nil {
		return err
	}
	if n := o.take("temperature"); !n.missing() {
		t, err := n.float()
		if err != nil {
			return err
		}
		b.Request.Temperature = &t
	}
	stream := o.take("stream")
	if is, err := stream.flag(); err != nil || is {
		return cmpErr(err, stream.cannot("an answer is not streamed"))
	}
	delete(o.fields, "stream_options") // they say something about streams alone
	for _, name := range []string{"logprobs", "top_logprobs"} {
		n := o.take(name)
		if !n.missing() && string(n.raw) != "false" && string(n.raw) != "0" {
			return n.cannot("a result has no probabilities of tokens")
		}
	}
	return nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// tokens takes a limit of the answer's tokens.
func tokens(n node, req *llm.Request) error {
	if n.missing() {
		return nil
	}
	most, err := n.integer(1)
	if err == nil && most > math.MaxInt32 {
		err = n.wants(fmt.Sprintf("at most %d", math.MaxInt32))
	}
	req.MaxTokens = int(most)
	return err
}

// function reads a tool's function, which chat completions have in a wrapper.
func function(o *object) (llm.Tool, error) {
	var tool llm.Tool
	name, err := o.take("name").text()
	if err != nil {
		return tool, err
	}
	description, err := o.take("description").optional()
	if err != nil {
		return tool, err
	}
	parameters := o.take("parameters")
	if !parameters.missing() {
		if _, err := parameters.object(); err != nil {
			return tool, err
		}
	}
	if _, err := o.take("strict").flag(); err != nil { // the adapter decides by what the schema allows
		return tool, err
	}
	tool = llm.Tool{Name: name, Description: description, Parameters: parameters.raw}
	return tool, o.done("name", "description", "parameters", "strict")
}

// toolChoice takes whether tools may be called. A choice that is more than that is the
// provider's own.
func toolChoice(o *object, req *llm.Request) error {
	n := o.take("tool_choice")
	switch string(n.raw) {
	case "", `"auto"`:
	case `"none"`:
		req.NoToolCalls = true
	case `"required"`:
		withExtra(req, "tool_choice", n.raw)
	default:
		if _, err := n.object(); err != nil {
			return n.wants(`"none", "auto", "required" or an object`)
		}
		withExtra(req, "tool_choice", n.raw)
	}
	if len(req.Tools) == 0 && !n.missing() && string(n.raw) != `"none"` && string(n.raw) != `"auto"` {
		return n.bad("must be left out: there are no tools")
	}
	return nil
}

// schema reads a JSON Schema with its name, which chat completions have in a wrapper.
func schema(o *object) (*llm.Schema, error) {
	name, err := o.take("name").optional()
	if err != nil {
		return nil, err
	}
	value := o.take("schema")
	if _, err := value.object(); err != nil {
		return nil, err
	}
	if _, err := o.take("strict").flag(); err != nil {
		return nil, err
	}
	if _, err := o.take("description").optional(); err != nil {
		return nil, err
	}
	if name == "" {
		name = "answer"
	}
	return &llm.Schema{Name: name, JSON: value.raw}, o.done("name", "schema", "strict", "description")
}

// maxMedia limits what a data URI holds, in bytes.
const maxMedia = 64 << 20

// data reads a data URI, or base64 alone.
func (n node) data() (mediaType string, data []byte, err error) {
	text, err := n.text()
	if err != nil {
		return "", nil, err
	}
	if !datauri.Is(text) {
		text = "data:;base64," + text
	}
	data, err = datauri.Decode(text, maxMedia)
	switch {
	case errors.Is(err, datauri.ErrTooLarge):
		return "", nil, n.bad("has more than %d MiB", maxMedia>>20)
	case err != nil:
		return "", nil, n.bad("is %v", err)
	}
	head, _, _ := strings.Cut(text[len("data:"):], ",")
	mediaType, _, _ = strings.Cut(head, ";")
	return strings.ToLower(strings.TrimSpace(mediaType)), data, nil
}

// address is data for a field that may also be an http(s) address.
func (n node) address() (mediaType string, data []byte, url string, err error) {
	text, err := n.text()
	if err != nil {
		return "", nil, "", err
	}
	if datauri.Is(text) {
		mediaType, data, err = n.data()
		return mediaType, data, "", err
	}
	if scheme, _, ok := strings.Cut(text, "://"); !ok || scheme != "https" && scheme != "http" {
		return "", nil, "", n.bad("must be an http(s) address or a data URI, got %q", say.Short(text, 60))
	}
	return "", nil, text, nil
}

// details are how closely a model may look at a picture.
var details = []string{"auto", "low", "high", "original"}

// detail takes the detail of a picture.
func (o *object) detail() (string, error) {
	n := o.take("detail")
	text, err := n.optional()
	if err == nil && text != "" && !slices.Contains(details, text) {
		err = n.wants(nearest.List(text, details))
	}
	return text, err
}

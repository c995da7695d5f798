package body

import (
	"bytes"
	"encoding/base64"
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

// reader is what reading a body has found so far.
type reader struct {
	lenient bool // what can't be carried is lost, and no error
	snake   bool // names of fields may be in snake case, as protocol buffers take them
	lost    []lost
	signed  bool            // an ID had a signature within, or a thought was left out
	asIs    map[string]bool // the fields of the rest that keep their text
	calls   int             // of Gemini's functions that had no ID
}

// lost is a loss, and whether a model of the body's own protocol loses it too when the
// request is written again.
type lost struct {
	Loss
	own bool
}

// soft returns err to a strict reader; for a lenient one it is a loss.
func (r *reader) soft(err error) error {
	if err == nil || !r.lenient {
		return err
	}
	wrong, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	r.lost = append(r.lost, lost{Loss{wrong.Field, wrong.Problem, false}, true})
	return nil
}

// harmless notes the loss of what changes no answer. A strict reader ignores it.
func (r *reader) harmless(field, problem string) {
	if r.lenient {
		r.lost = append(r.lost, lost{Loss{field, problem, true}, true})
	}
}

// each reads settings, none of which hides another.
func each(o *object, b *Body, all ...func(*object, *Body) error) error {
	for _, read := range all {
		if err := o.r.soft(read(o, b)); err != nil {
			return err
		}
	}
	return nil
}

// node is a value at a place of the body; raw is nil if it is missing or null.
type node struct {
	r    *reader
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
	if !n.isText() {
		return "", n.wants("a string")
	}
	return unquoted(n.raw), nil
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
	if n.missing() || n.raw[0] != '[' {
		return nil, n.wants("a list")
	}
	var nodes []node
	for raw := range itemsIn(n.raw) {
		nodes = append(nodes, node{n.r, n.path + "[" + strconv.Itoa(len(nodes)) + "]", present(raw)})
	}
	return nodes, nil
}

func (n node) isText() bool { return !n.missing() && n.raw[0] == '"' }

// object is the fields of an object that are not taken yet.
type object struct {
	r      *reader
	path   string
	fields map[string]json.RawMessage
}

func (n node) object() (*object, error) {
	if n.missing() || n.raw[0] != '{' {
		return nil, n.wants("an object")
	}
	o := &object{r: n.r, path: n.path, fields: map[string]json.RawMessage{}}
	for name, raw := range fieldsIn(n.raw) {
		o.fields[name] = raw
	}
	if n.r.snake {
		o.unsnake()
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
	return node{o.r, o.at(name), present(raw)}
}

// unsnake gives fields the names that the protocol's reference has: system_instruction is
// systemInstruction. Protocol buffers take both
// (https://protobuf.dev/programming-guides/json).
func (o *object) unsnake() {
	for name, raw := range o.fields {
		words := strings.Split(name, "_")
		for i, word := range words[1:] {
			if word != "" {
				words[i+1] = strings.ToUpper(word[:1]) + word[1:]
			}
		}
		camel := strings.Join(words, "")
		if _, has := o.fields[camel]; !has {
			delete(o.fields, name)
			o.fields[camel] = raw
		}
	}
}

// empty reports whether a value says nothing.
func (n node) empty() bool {
	return n.missing() || slices.Contains([]string{"[]", "{}", `""`}, string(n.raw))
}

// done takes the fields that are left. One that is not null or empty is an error; a lenient
// reader notes it. known are the fields that there are, for the error.
func (o *object) done(known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		n := o.take(name)
		switch {
		case n.empty():
			continue
		case name == "cache_control" && n.r.lenient: // it may be at any level
			n.r.harmless(n.path, uncached)
			continue
		}
		if err := n.r.soft(n.cannot("known fields are " + nearest.List(name, known))); err != nil {
			return err
		}
	}
	return nil
}

// drop takes a field whose loss changes no answer, and says why to those who ask.
func (o *object) drop(name, why string) {
	if n := o.take(name); !n.empty() {
		o.r.harmless(n.path, why)
	}
}

// forget leaves out a field that repeats another: what an SDK has read of an answer, which
// programs send back with it.
func (o *object) forget(name string) {
	if o.r.lenient {
		delete(o.fields, name)
	}
}

// noted notes the fields that are left, which a strict reader ignores.
func (o *object) noted(known ...string) {
	if o.r.lenient {
		_ = o.done(known...) // a lenient reader's is nil
	}
}

// decoded returns a value with its numbers as they are.
func decoded(raw json.RawMessage) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&value)
	return value, err
}

// open reads a body or a list within one.
func open(r *reader, text []byte, path string) (node, error) {
	if !json.Valid(text) {
		return node{}, &Error{path, "is not JSON"}
	}
	return node{r, path, present(text)}, nil
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
	if err == nil {
		req.MaxTokens = int(most)
	}
	return err
}

// maxMedia limits what a data URI holds, in bytes.
const maxMedia = 64 << 20

// data reads a data URI, or base64 alone.
func (n node) data() (mediaType string, data []byte, err error) {
	if mediaType, data, ok := n.plainData(); ok {
		return mediaType, data, nil
	}
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

// plainData is data for what most clients write, without the copies: base64 in the standard
// form, with a media type before it or alone.
func (n node) plainData() (mediaType string, data []byte, ok bool) {
	if !n.isText() || len(n.raw) > maxMedia {
		return "", nil, false
	}
	text := n.raw[1 : len(n.raw)-1]
	if rest, uri := bytes.CutPrefix(text, []byte("data:")); uri {
		head, after, found := bytes.Cut(rest, []byte(";base64,"))
		if !found || bytes.ContainsAny(head, ",;% \\") {
			return "", nil, false
		}
		mediaType, text = strings.ToLower(string(head)), after
	}
	data = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	length, err := base64.StdEncoding.Decode(data, text)
	return mediaType, data[:length], err == nil && length > 0
}

// address is data for a field that may also be an http(s) address.
func (n node) address() (mediaType string, data []byte, url string, err error) {
	if n.isText() && bytes.HasPrefix(n.raw, []byte(`"data:`)) {
		mediaType, data, err = n.data()
		return mediaType, data, "", err
	}
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

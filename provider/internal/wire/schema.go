package wire

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"llmcall/internal/say"
)

// The functions on schemas keep the order of properties and the digits of numbers,
// which maps and float64 would lose.

// Member is a member of a JSON object.
type Member struct {
	Name       string
	Raw, Value string // the name and the value as JSON, unchanged
}

// Members returns the members of an object; nil of anything else.
func Members(object gjson.Result) []Member {
	var all []Member
	if !object.IsObject() {
		return nil
	}
	object.ForEach(func(name, value gjson.Result) bool {
		all = append(all, Member{name.String(), name.Raw, value.Raw})
		return true
	})
	return all
}

// Keywords returns the values of the members by name. It returns false if two have the
// same name.
func Keywords(all []Member) (has map[string]gjson.Result, ok bool) {
	has = make(map[string]gjson.Result, len(all))
	for _, m := range all {
		has[m.Name] = gjson.Parse(m.Value)
	}
	return has, len(has) == len(all)
}

// Named returns a member with a name that is not quoted yet.
func Named(name string, value json.RawMessage) Member {
	return Member{name, Quote(name), string(value)}
}

// Object writes an object.
func Object(all []Member) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.Raw + ":" + m.Value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Array writes an array.
func Array(all []json.RawMessage) json.RawMessage {
	return slices.Concat([]byte("["), bytes.Join(slicesOf(all), []byte(",")), []byte("]"))
}

func slicesOf(all []json.RawMessage) [][]byte {
	raw := make([][]byte, len(all))
	for i, value := range all {
		raw[i] = value
	}
	return raw
}

// Quote makes a JSON string. It does not escape < and >, since a model reads it.
func Quote(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string can't fail
	return strings.TrimSuffix(b.String(), "\n")
}

// MaxSchemaDepth bounds the work on a schema, because each level is read again with
// every level above it. Real schemas are not nearly as deep.
const MaxSchemaDepth = 100

// depth returns how deep a valid JSON value is nested.
func depth(raw []byte) int {
	level, deepest, quoted := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// maxInlined bounds the size of a schema in which references were replaced, in bytes: a
// few of them that refer to each other can make an endless one.
const maxInlined = 1 << 20

// Inline replaces the references that strict decoders refuse by what they refer to: those
// with other keywords beside them, which tools write for each field with a description,
// and those to a place other than a definition. Keywords beside a reference to a
// definition that contains the reference are left out. An allOf of one schema, which tools
// write around a reference with a description, becomes that schema. It returns false if a
// reference can't be replaced.
func Inline(schema json.RawMessage) (json.RawMessage, bool) {
	if depth(schema) > MaxSchemaDepth {
		return nil, false
	}
	if !bytes.Contains(schema, []byte(`"$ref"`)) && !bytes.Contains(schema, []byte(`"allOf"`)) {
		return schema, true
	}
	in := inliner{root: gjson.ParseBytes(schema), left: maxInlined}
	out, ok := in.node(in.root, nil)
	return out, ok
}

type inliner struct {
	root gjson.Result
	left int // bytes
}

func (in *inliner) node(node gjson.Result, within []string) (json.RawMessage, bool) {
	if in.left -= len(node.Raw); in.left < 0 {
		return nil, false
	}
	if !node.IsObject() {
		return json.RawMessage(node.Raw), true
	}
	given := Members(node)
	if at := slices.IndexFunc(given, func(m Member) bool { return m.Name == "allOf" }); at >= 0 {
		all := gjson.Parse(given[at].Value).Array()
		if beside := slices.Delete(slices.Clone(given), at, at+1); len(all) == 1 && all[0].IsObject() {
			if merged, ok := Merge(Members(all[0]), beside); ok {
				return in.node(gjson.ParseBytes(Object(merged)), within)
			}
		}
	}
	if at := slices.IndexFunc(given, func(m Member) bool { return m.Name == "$ref" }); at >= 0 {
		return in.reference(given, at, within)
	}
	for i, m := range given {
		value := gjson.Parse(m.Value)
		var (
			inlined json.RawMessage
			ok      bool
		)
		switch m.Name {
		case "enum", "const", "default", "examples":
			continue
		case "properties", "patternProperties", "dependentSchemas":
			inlined, ok = in.values(value, func(string) []string { return within })
		case "$defs", "definitions":
			inlined, ok = in.values(value, func(name string) []string { return append(slices.Clip(within), "#/"+m.Name+"/"+name) })
		default:
			inlined, ok = in.list(value, within)
		}
		if !ok {
			return nil, false
		}
		given[i].Value = string(inlined)
	}
	return Object(given), true
}

// values inlines the values of an object, each of which is a schema.
func (in *inliner) values(object gjson.Result, within func(name string) []string) (json.RawMessage, bool) {
	all := Members(object)
	for i, m := range all {
		inlined, ok := in.node(gjson.Parse(m.Value), within(m.Name))
		if !ok {
			return nil, false
		}
		all[i].Value = string(inlined)
	}
	if !object.IsObject() {
		return json.RawMessage(object.Raw), true
	}
	return Object(all), true
}

// list inlines a schema, or a list of them.
func (in *inliner) list(value gjson.Result, within []string) (json.RawMessage, bool) {
	if !value.IsArray() {
		return in.node(value, within)
	}
	var all []json.RawMessage
	for _, node := range value.Array() {
		inlined, ok := in.node(node, within)
		if !ok {
			return nil, false
		}
		all = append(all, inlined)
	}
	return Array(all), true
}

func (in *inliner) reference(given []Member, at int, within []string) (json.RawMessage, bool) {
	reference := gjson.Parse(given[at].Value)
	to := reference.String()
	beside := slices.Delete(slices.Clone(given), at, at+1)
	plain := reference.Type == gjson.String && (LocalReference(to) || to == "#")
	if plain && (len(beside) == 0 || slices.Contains(within, to) || to == "#") {
		return Object(given[at : at+1]), true
	}
	target, ok := Resolve(in.root, reference)
	if !ok || !target.IsObject() || slices.Contains(within, to) {
		return nil, false
	}
	merged, ok := Merge(Members(target), beside)
	if !ok {
		return nil, false
	}
	return in.node(gjson.ParseBytes(Object(merged)), append(slices.Clip(within), to))
}

// LocalReference reports whether a reference is to one of the schema's own definitions.
func LocalReference(reference string) bool { return localReference.MatchString(reference) }

var localReference = regexp.MustCompile(`^#/(?:\$defs|definitions)/[^/~%]+$`)

// Resolve returns what a reference within the document refers to.
func Resolve(root, reference gjson.Result) (gjson.Result, bool) {
	fragment, ok := strings.CutPrefix(reference.String(), "#")
	pointer, err := url.PathUnescape(fragment)
	tokens := strings.Split(pointer, "/")
	if !ok || err != nil || reference.Type != gjson.String || tokens[0] != "" { // the last is an anchor
		return gjson.Result{}, false
	}
	node := root
	for _, token := range tokens[1:] {
		if node, ok = Get(node, say.Unescape(token)); !ok {
			return gjson.Result{}, false
		}
	}
	return node, true
}

// Get returns the member of an object, or the element of an array, with a name.
func Get(node gjson.Result, name string) (found gjson.Result, ok bool) {
	i := -1
	node.ForEach(func(key, value gjson.Result) bool {
		i++
		if node.IsObject() && key.String() == name || node.IsArray() && strconv.Itoa(i) == name {
			found, ok = value, true
		}
		return !ok
	})
	return found, ok
}

// Merge returns the members of a schema with those of another that holds too. It returns
// false if the two can't be one. What describes the value is taken from beside.
func Merge(target, beside []Member) ([]Member, bool) {
	merged := slices.Clone(target)
	for _, m := range beside {
		at := slices.IndexFunc(merged, func(t Member) bool { return t.Name == m.Name })
		switch {
		case at < 0:
			merged = append(merged, m)
		case describes(m.Name):
			merged[at] = m
		case merged[at].Value != m.Value:
			return nil, false
		}
	}
	return merged, true
}

// OnlyRequires reports whether alternatives say no more than which of the properties there
// must be. What an answer looks like is told without them.
func OnlyRequires(alternatives, properties gjson.Result) bool {
	list := alternatives.Array()
	return len(list) > 0 && !slices.ContainsFunc(list, func(one gjson.Result) bool {
		return !one.IsObject() || slices.ContainsFunc(Members(one), func(m Member) bool {
			if m.Name != "required" {
				return !describes(m.Name)
			}
			return slices.ContainsFunc(gjson.Parse(m.Value).Array(), func(name gjson.Result) bool {
				_, ok := Get(properties, name.String())
				return !ok
			})
		})
	})
}

func describes(keyword string) bool {
	switch keyword {
	case "description", "title", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly":
		return true
	}
	return false
}

// Described returns the kept members, with the moved ones as JSON in the description.
func Described(kept, moved []Member) []Member {
	if len(moved) == 0 {
		return kept
	}
	words := string(Object(moved))
	at := slices.IndexFunc(kept, func(m Member) bool { return m.Name == "description" })
	if at < 0 {
		return append(kept, Named("description", json.RawMessage(Quote(words))))
	}
	kept[at].Value = Quote(gjson.Parse(kept[at].Value).String() + "\n\n" + words)
	return kept
}

// Typed returns the members of a schema with a type, where the schema has none that could
// be told from its other keywords: decoders want one. Without it those would allow values
// of other types, which nobody means.
func Typed(given []Member) []Member {
	has, _ := Keywords(given)
	for _, name := range []string{"type", "$ref", "anyOf", "oneOf", "allOf"} {
		if has[name].Exists() {
			return given
		}
	}
	var types []json.RawMessage
	add := func(kind string) {
		if raw := json.RawMessage(Quote(kind)); !slices.ContainsFunc(types, func(t json.RawMessage) bool { return bytes.Equal(t, raw) }) {
			types = append(types, raw)
		}
	}
	if value := has["const"]; value.Exists() {
		add(typeOf(value))
	} else if values := has["enum"]; values.Exists() {
		for _, value := range values.Array() {
			add(typeOf(value))
		}
	} else {
		for _, implied := range impliedTypes {
			if slices.ContainsFunc(implied.keywords, func(name string) bool { return has[name].Exists() }) {
				add(implied.kind)
			}
		}
	}
	switch len(types) {
	case 0:
		return given
	case 1:
		return slices.Insert(slices.Clone(given), 0, Named("type", types[0]))
	}
	return slices.Insert(slices.Clone(given), 0, Named("type", Array(types)))
}

var impliedTypes = []struct {
	kind     string
	keywords []string
}{
	{"object", []string{"properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}},
	{"array", []string{"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"}},
	{"string", []string{"minLength", "maxLength", "pattern", "format"}},
	{"number", []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
}

// typeOf returns the JSON Schema type of a value.
func typeOf(value gjson.Result) string {
	switch {
	case value.IsObject():
		return "object"
	case value.IsArray():
		return "array"
	case value.IsBool():
		return "boolean"
	case value.Type == gjson.Null:
		return "null"
	case value.Type == gjson.Number:
		return "number"
	}
	return "string"
}

package typeschema

import (
	"bytes"
	"encoding/json"
	"slices"
)

// node is a JSON Schema while it is made. It is written in two forms: as the model is
// asked, and as the answer is checked, which lets pass what encoding/json decodes as
// well: null for what may be left out, or the whole range of an int64, which would
// only lengthen the schema that is sent.
type node struct {
	keywords map[string]any // the values are JSON, or *node, []*node, properties
	checked  map[string]any // keywords of the checked form alone; nil takes one away
	def      *definition    // a type that may be referred to
	nullable bool
	lenient  bool            // null is let pass in the checked form
	custom   bool            // from a type with JSON of its own
	closed   bool            // from a type with EnumValues
	own      json.RawMessage // a definition in a type's own schema, as it is written
}

// definition is a type that is referred to if it is used more than once.
type definition struct {
	name string
	node *node
	uses int
}

// property is one of an object's, in the order of the struct's fields.
type property struct {
	name string
	node *node
}

type properties []property

func with(key string, value any) *node {
	return &node{keywords: map[string]any{key: value}}
}

func ofType(name string) *node { return with("type", name) }

func (n *node) set(key string, value any) {
	if n.keywords == nil {
		n.keywords = map[string]any{}
	}
	n.keywords[key] = value
}

func (n *node) setChecked(key string, value any) {
	if n.checked == nil {
		n.checked = map[string]any{}
	}
	n.checked[key] = value
}

// is returns the type that the schema wants, "" if it does not say.
func (n *node) is() string {
	if n.def != nil {
		if n.def.node == nil {
			return "object" // it is being made, and so contains itself
		}
		return n.def.node.is()
	}
	name, _ := n.keywords["type"].(string)
	return name
}

// first and last have the keywords that come before all others, and after them.
var first = []string{"$ref", "type", "title", "description", "enum"}
var last = []string{"items", "properties", "required", "additionalProperties", "anyOf", "oneOf", "$defs"}

// notes are the keywords that go beside an anyOf with null.
var notes = []string{"title", "description", "default"}

func rank(key string) int {
	if i := slices.Index(first, key); i >= 0 {
		return i - len(first)
	}
	return slices.Index(last, key) + 1
}

// writer writes a node in one of its forms.
type writer struct {
	checked bool
	out     bytes.Buffer
	err     error
}

func (w *writer) node(n *node) {
	all := map[string]any{}
	if d := n.def; d != nil {
		if d.uses > 1 {
			all["$ref"] = "#/$defs/" + d.name
		} else {
			w.collect(all, d.node)
		}
	}
	w.collect(all, n)
	if !n.nullable && !(w.checked && n.lenient) {
		w.object(all)
		return
	}
	outer := map[string]any{}
	for _, key := range notes {
		if value, ok := all[key]; ok {
			outer[key] = value
			delete(all, key)
		}
	}
	if len(all) > 0 { // else it takes null already
		null := ofType("null")
		if !n.nullable {
			null.set("deprecated", true) // let pass, and not suggested to the model
		}
		outer["anyOf"] = []any{all, null}
	}
	w.object(outer)
}

func (w *writer) collect(all map[string]any, n *node) {
	for key, value := range n.keywords {
		all[key] = value
	}
	if w.checked {
		for key, value := range n.checked {
			if all[key] = value; value == nil {
				delete(all, key)
			}
		}
	}
}

func (w *writer) object(all map[string]any) {
	keys := make([]string, 0, len(all))
	for key := range all {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if x, y := rank(a), rank(b); x != y {
			return x - y
		}
		return bytes.Compare([]byte(a), []byte(b))
	})
	w.out.WriteByte('{')
	for i, key := range keys {
		w.comma(i)
		w.plain(key)
		w.out.WriteByte(':')
		w.value(all[key])
	}
	w.out.WriteByte('}')
}

func (w *writer) value(value any) {
	switch v := value.(type) {
	case *node:
		switch {
		case v.own != nil:
			w.plain(v.own)
		case len(v.keywords) == 0 && v.def == nil:
			w.out.WriteString("true")
		default:
			w.node(v)
		}
	case map[string]any:
		w.object(v)
	case []any:
		w.out.WriteByte('[')
		for i, item := range v {
			w.comma(i)
			w.value(item)
		}
		w.out.WriteByte(']')
	case properties:
		w.out.WriteByte('{')
		for i, p := range v {
			w.comma(i)
			w.plain(p.name)
			w.out.WriteByte(':')
			w.value(p.node)
		}
		w.out.WriteByte('}')
	default:
		w.plain(v)
	}
}

func (w *writer) comma(i int) {
	if i > 0 {
		w.out.WriteByte(',')
	}
}

func (w *writer) plain(value any) {
	encoder := json.NewEncoder(&w.out) // without the escapes of HTML: a model reads it
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		w.err = err
		return
	}
	w.out.Truncate(w.out.Len() - 1) // the line break
}

package typeschema

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	marshaler       = reflect.TypeFor[json.Marshaler]()
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	urlType      = reflect.TypeFor[url.URL]()
	numberType   = reflect.TypeFor[json.Number]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

// DecodesItself reports whether encoding/json leaves the decoding of a type to its
// methods.
func DecodesItself(t reflect.Type) bool {
	to := reflect.PointerTo(t)
	return to.Implements(unmarshaler) || to.Implements(textUnmarshaler)
}

// own returns the schema of a type that has more to say than its Go kind; else nil.
func (g *generator) own(t reflect.Type) (*node, error) {
	if t.Kind() == reflect.Interface {
		return nil, nil
	}
	if n, err := g.ofMethod(t); n != nil || err != nil {
		return n, err
	}
	if values, ok, err := enumOf(t); err != nil || ok {
		n := with("enum", values)
		n.closed = true
		if name := scalars[t.Kind()]; name != "" && !DecodesItself(t) {
			n.set("type", name)
		}
		return n, err
	}
	switch alternatives, err := alternativesOf(t); {
	case err != nil:
		return nil, err
	case alternatives != nil && t.Name() != "" && !DecodesItself(t):
		return nil, fmt.Errorf("%v lacks the methods of the llmcall.OneOf that it is declared from: write type %s = llmcall.OneOf[…]", t, t.Name())
	case alternatives != nil:
		return g.defined(t, func() (*node, error) { return g.ofUnion(alternatives) })
	}
	n := &node{custom: true}
	switch to := reflect.PointerTo(t); {
	case t == timeType:
		n.set("type", "string")
		n.set("format", "date-time")
	case t == durationType:
		n.set("type", "string")
		n.set("format", "duration")
		n.setChecked("format", nil) // "1m30s" and "PT0.5S" can be read as well
		n.setChecked("examples", []any{"PT1H30M"})
	case t == urlType:
		n.set("type", "string")
		n.set("format", "uri")
	case t == numberType:
		n.set("type", "number")
	case t == rawType:
	case to.Implements(unmarshaler):
		if names := accepted(t); len(names) == 1 {
			n.set("type", names[0])
			exemplify(n, t)
		} else if len(names) > 1 {
			var each []any
			for _, name := range names {
				each = append(each, ofType(name))
			}
			n.set("anyOf", each)
		}
	case to.Implements(textUnmarshaler):
		n.set("type", "string")
		exemplify(n, t)
	default:
		return nil, nil
	}
	return n, nil
}

// scalars are the types in JSON Schema of Go's kinds.
var scalars = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "boolean", reflect.Float32: "number", reflect.Float64: "number",
	reflect.Int: "integer", reflect.Int8: "integer", reflect.Int16: "integer", reflect.Int32: "integer", reflect.Int64: "integer",
	reflect.Uint: "integer", reflect.Uint8: "integer", reflect.Uint16: "integer", reflect.Uint32: "integer", reflect.Uint64: "integer",
}

// enum is implemented by types with a closed set of values.
type enum interface{ EnumValues() []any }

// enumOf returns the values of a type with a closed set of them, as JSON has them. The
// method may have a pointer receiver.
func enumOf(t reflect.Type) (values []any, ok bool, err error) {
	if t.Kind() == reflect.Interface {
		return nil, false, nil
	}
	result, ok := valuesOf(reflect.New(t))
	if !ok || promoted(t, result, valuesOf) {
		return nil, false, nil
	}
	given := result.([]any)
	if len(given) == 0 {
		return nil, true, fmt.Errorf("%v.EnumValues returns no values: it must return those that are allowed", t)
	}
	for _, value := range given {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, true, fmt.Errorf("%v.EnumValues returns %v, which has no JSON: %w", t, value, err)
		}
		if err := json.Unmarshal(text, reflect.New(t).Interface()); err != nil {
			return nil, true, fmt.Errorf("%v.EnumValues returns %s, which can't be decoded into a %v", t, text, t)
		}
		var plain any
		if err := decode(text, &plain); err != nil {
			return nil, true, err
		}
		values = append(values, plain)
	}
	return values, true, nil
}

// ofMethod calls a type's own method JSONSchema, whatever its result is: a text in a
// json.RawMessage, a map, or the schema of one of the libraries for it.
func (g *generator) ofMethod(t reflect.Type) (*node, error) {
	result, ok := schemaOf(reflect.New(t))
	if !ok || promoted(t, result, schemaOf) {
		return nil, nil
	}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("%v.JSONSchema returns what has no JSON: %w", t, err)
	}
	n := &node{custom: true}
	var all map[string]json.RawMessage
	switch {
	case string(text) == "true":
		return n, nil
	case json.Unmarshal(text, &all) != nil || all == nil:
		return nil, fmt.Errorf("%v.JSONSchema must return a JSON Schema, got %s", t, text)
	case t != g.root:
		if to := outsideReference(text); to != "" {
			return nil, fmt.Errorf("%v.JSONSchema has the $ref %q, which is another place where the type is in %v: put that part into $defs", t, to, g.root)
		}
	}
	for key, value := range all {
		switch key {
		case "$schema", "$id":
		case "$defs":
			if err := g.hoist(t, value); err != nil {
				return nil, err
			}
		default:
			var text *string
			if json.Unmarshal(value, &text) == nil && text != nil {
				n.set(key, *text)
				continue
			}
			n.set(key, value)
		}
	}
	return n, nil
}

// outsideReference returns a reference that is not to the $defs of a schema, "" if there is
// none.
func outsideReference(schema []byte) string {
	var value any
	_ = json.Unmarshal(schema, &value) // it was marshalled
	var find func(value any) string
	find = func(value any) (found string) {
		switch v := value.(type) {
		case map[string]any:
			if to, ok := v["$ref"].(string); ok && strings.HasPrefix(to, "#") && !strings.HasPrefix(to, "#/$defs/") {
				return to
			}
			for _, inner := range v {
				found = cmp.Or(found, find(inner))
			}
		case []any:
			for _, inner := range v {
				found = cmp.Or(found, find(inner))
			}
		}
		return found
	}
	return find(value)
}

// promoted reports whether a method of a struct that encoding/json decodes by its fields
// is that of an embedded one, and so knows nothing of the other fields. Only its result
// tells it from one of the struct's own.
func promoted(t reflect.Type, result any, of func(reflect.Value) (any, bool)) bool {
	if t.Kind() != reflect.Struct || DecodesItself(t) {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type.Kind() != reflect.Interface {
			to, err := pointedAt(f.Type)
			if err != nil {
				return false
			}
			if inner, ok := of(reflect.New(to)); ok && reflect.DeepEqual(inner, result) {
				return true
			}
		}
	}
	return false
}

func valuesOf(v reflect.Value) (any, bool) {
	e, ok := v.Interface().(enum)
	if !ok {
		return nil, false
	}
	return e.EnumValues(), true
}

func schemaOf(v reflect.Value) (any, bool) {
	method := v.MethodByName("JSONSchema")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return nil, false
	}
	return method.Call(nil)[0].Interface(), true
}

// hoist moves the definitions of a type's own schema to where a $ref looks for them.
func (g *generator) hoist(t reflect.Type, text json.RawMessage) error {
	var defs map[string]json.RawMessage
	if err := json.Unmarshal(text, &defs); err != nil {
		return fmt.Errorf("the $defs in %v.JSONSchema must be an object", t)
	}
	for name, def := range defs {
		if slices.ContainsFunc(g.hoisted, func(p property) bool { return p.name == name && bytes.Equal(p.node.own, def) }) {
			continue // the type is used twice
		}
		if g.names[name] {
			return fmt.Errorf("%v.JSONSchema has the definition %s, as another type has: rename it", t, name)
		}
		g.names[name] = true
		g.hoisted = append(g.hoisted, property{name, &node{own: def}})
	}
	return nil
}

// samples are values of each type of JSON, to find out which a type decodes.
var samples = []struct{ is, text string }{
	{"string", `""`}, {"string", `"a"`}, {"string", `"0"`}, {"boolean", "true"}, {"integer", "0"}, {"integer", "1"}, {"number", "1.5"},
	{"array", "[]"}, {"object", "{}"},
}

// accepted returns the types of JSON that a type with UnmarshalJSON decodes; none if it
// takes all, or if none could be found out. It tries samples, and what a zero value
// marshals to. Null is among them only if that is null, since most types ignore it, and
// never alone: it tells nothing of the values.
func accepted(t reflect.Type) []string {
	takes := map[string]bool{}
	for _, sample := range samples {
		if decodes(t, []byte(sample.text)) {
			takes[sample.is] = true
		}
	}
	if text := marshalled(t); decodes(t, text) {
		takes[typeOf(text)] = true
	}
	if takes["number"] {
		delete(takes, "integer")
	}
	var names []string
	for _, name := range []string{"string", "boolean", "integer", "number", "array", "object", "null"} {
		if takes[name] {
			names = append(names, name)
		}
	}
	if len(names) == 1 && takes["null"] || takes["string"] && takes["boolean"] && takes["number"] && takes["array"] && takes["object"] {
		return nil
	}
	return names
}

// exemplify describes a type that is written as text by its zero value, because nothing
// else in the schema tells the form of the text. A field's own description replaces it.
func exemplify(n *node, t reflect.Type) {
	if zero := marshalled(t); len(zero) > 2 && typeOf(zero) == "string" && decodes(t, zero) {
		n.set("description", "written like "+string(zero))
	}
}

func decodes(t reflect.Type, text []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return json.Unmarshal(text, reflect.New(t).Interface()) == nil
}

// marshalled returns the JSON of a type's zero value, nil if it has none.
func marshalled(t reflect.Type) (text []byte) {
	defer func() {
		if recover() != nil {
			text = nil
		}
	}()
	text, err := json.Marshal(reflect.New(t).Interface())
	if err != nil {
		return nil
	}
	return text
}

// typeOf returns the type of a JSON value by its first byte.
func typeOf(text []byte) string {
	switch c := text[0]; {
	case c == '"':
		return "string"
	case c == '{':
		return "object"
	case c == '[':
		return "array"
	case c == 't', c == 'f':
		return "boolean"
	case c == 'n':
		return "null"
	case strings.ContainsAny(string(text), ".eE"):
		return "number"
	}
	return "integer"
}

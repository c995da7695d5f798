// Package typeschema makes the JSON Schema of a Go type into which a model's answer is
// decoded.
//
// The schema is that of github.com/invopop/jsonschema, adapted to what providers accept:
// the root is an object and not a reference, the names of definitions are unique and have
// only plain characters, and a type with a method EnumValues() []any is an enum of those
// values.
package typeschema

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// Of returns the JSON Schema of a type, and whether all its values are objects, as
// providers require of an answer. The error names a type in it that has no JSON: a
// channel, a function, a complex number.
func Of(t reflect.Type) (text json.RawMessage, isObject bool, err error) {
	defer func() {
		if v := recover(); v != nil { // the reflector panics at a type that has no JSON
			err = fmt.Errorf("%v", v)
		}
	}()
	names := map[string]reflect.Type{}
	r := jsonschema.Reflector{Anonymous: true, Mapper: ownSchema, Namer: func(t reflect.Type) string { return nameIn(names, t) }}
	reflected := r.ReflectFromType(t)
	reflected.Version = ""
	if text, err = json.Marshal(reflected); err != nil {
		return nil, false, err
	}
	return expanded(text)
}

// enum is implemented by types with a closed set of values.
type enum interface{ EnumValues() []any }

// ownSchema returns the schema of a type that the reflector would describe by its Go
// kind: an enum, a [json.Number], or a type that encodes itself as text. Nil means the
// reflector's schema.
func ownSchema(t reflect.Type) *jsonschema.Schema {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return nil
	}
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		return &jsonschema.Schema{Type: scalars[t.Kind()], Enum: e.EnumValues()}
	}
	own := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case t == reflect.TypeFor[time.Time](), own.Implements(reflect.TypeFor[json.Unmarshaler]()):
		return nil
	case own.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) && t.Kind() != reflect.Slice: // net.IP has a format
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

// scalars are the types in JSON Schema of Go's kinds.
var scalars = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "boolean", reflect.Float32: "number", reflect.Float64: "number",
	reflect.Int: "integer", reflect.Int8: "integer", reflect.Int16: "integer", reflect.Int32: "integer", reflect.Int64: "integer",
	reflect.Uint: "integer", reflect.Uint8: "integer", reflect.Uint16: "integer", reflect.Uint32: "integer", reflect.Uint64: "integer",
}

// nameIn returns a unique name for a type: two packages may have a type of the same name,
// and the name of a generic type has brackets.
func nameIn(names map[string]reflect.Type, t reflect.Type) string {
	base := plainName(t.Name())
	name := base
	for i := 2; names[name] != nil && names[name] != t; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	names[name] = t
	return name
}

// expanded replaces a reference at the root with its target, since providers require an
// object there.
func expanded(text json.RawMessage) (json.RawMessage, bool, error) {
	var root struct {
		Ref  string                     `json:"$ref"`
		Type string                     `json:"type"`
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(text, &root); err != nil || root.Ref == "" {
		return text, root.Type == "object", err
	}
	name := strings.TrimPrefix(root.Ref, "#/$defs/")
	whole := root.Defs[name]
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(whole, &kind); err != nil {
		return nil, false, err
	}
	again := false // the type contains itself
	for _, def := range root.Defs {
		again = again || bytes.Contains(def, []byte(`"`+root.Ref+`"`))
	}
	if !again {
		delete(root.Defs, name)
	}
	if len(root.Defs) == 0 {
		return whole, kind.Type == "object", nil
	}
	defs, err := json.Marshal(root.Defs)
	if err != nil {
		return nil, false, err
	}
	whole = bytes.TrimSuffix(bytes.TrimSpace(whole), []byte("}"))
	return append(append(append(bytes.Clone(whole), `,"$defs":`...), defs...), '}'), kind.Type == "object", nil
}

// Name returns a name for the schema of a type. It has at most 64 letters, digits, _ and
// -, as OpenAI requires. The default, for a type without a name, is "answer".
func Name(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := plainName(t.Name())
	if name == "" {
		name = "answer"
	}
	return name[:min(len(name), 64)]
}

// plainName replaces everything but letters, digits, _ and - with _.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}

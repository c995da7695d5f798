// Package typeschema makes the JSON Schema of a Go type into which a model's answer is
// decoded, and decodes it.
//
// [Of] follows encoding/json: whatever it can decode into a type has a schema, or the
// error says what to do. A type that has a method JSONSchema() or EnumValues() is
// described by it. The tags jsonschema, jsonschema_description and jsonschema_extras of
// a field add keywords; those that are not known, or would do nothing, are errors.
//
// [Decode] is encoding/json's Unmarshal for what fits the schema: it takes 3.0 for an
// integer, and text for a [time.Duration] and a [url.URL].
package typeschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"llmcall/internal/say"
)

// Schema is the JSON Schema of a type.
type Schema struct {
	// Asked is what a model is asked for.
	Asked json.RawMessage
	// Checked is what an answer is held to. All that fits Asked fits it too, and null
	// for what may be left out, or for a slice or a map.
	Checked json.RawMessage
	// Object says that all values are objects, as providers require of an answer.
	Object bool
}

// Of returns the schema of a type. The error names the place in the type, what is
// wrong there, and what to do: it has no JSON, or a tag that is not known.
func Of(t reflect.Type) (schema Schema, err error) {
	defer func() {
		if v := recover(); v != nil { // a method of the type panicked
			err = fmt.Errorf("%v: a method of it or of a type in it panicked: %v", t, v)
		}
	}()
	g := &generator{byType: map[reflect.Type]*definition{}, names: map[string]bool{}, within: map[reflect.Type]bool{}}
	var root *node
	to, err := pointedAt(t)
	if err == nil {
		g.root = to
		root, err = g.of(to)
	}
	if err != nil {
		return Schema{}, &misplaced{typeName(to), err}
	}
	if schema.Asked, err = g.write(root, false); err == nil {
		schema.Checked, err = g.write(root, true)
	}
	schema.Object = root.is() == "object"
	return schema, err
}

// generator makes the nodes of one schema.
type generator struct {
	root    reflect.Type
	byType  map[reflect.Type]*definition
	all     []*definition // in the order of their first use
	names   map[string]bool
	within  map[reflect.Type]bool // named slices and maps that are being made
	hoisted properties            // definitions of types that make their own schema
}

// misplaced is an error with the place in a type that it is about: "City.Rivers[]: …".
type misplaced struct {
	place string
	err   error
}

func (e *misplaced) Error() string {
	if _, ok := e.err.(*misplaced); ok {
		return e.place + e.err.Error()
	}
	return e.place + ": " + e.err.Error()
}

func (e *misplaced) Unwrap() error { return e.err }

// write returns a root in one of its two forms. Providers want an object there and not
// a reference.
func (g *generator) write(root *node, checked bool) (json.RawMessage, error) {
	w := &writer{checked: checked}
	all := map[string]any{}
	if root.def != nil {
		w.collect(all, root.def.node)
	}
	w.collect(all, root)
	defs := g.hoisted
	for _, d := range g.all {
		if d.uses > 1 {
			defs = append(defs, property{d.name, d.node})
		}
	}
	if len(defs) > 0 {
		all["$defs"] = defs
	}
	w.object(all)
	return bytes.Clone(w.out.Bytes()), w.err
}

// of returns the schema of a type that is not a pointer.
func (g *generator) of(t reflect.Type) (*node, error) {
	if n, err := g.own(t); n != nil || err != nil {
		return n, err
	}
	kind := t.Kind()
	switch {
	case kind == reflect.String:
		return ofType("string"), nil
	case kind == reflect.Bool:
		return ofType("boolean"), nil
	case isInteger(kind):
		return ofInteger(t), nil
	case kind == reflect.Float32, kind == reflect.Float64:
		return ofType("number"), nil
	case kind == reflect.Struct:
		return g.defined(t, func() (*node, error) { return g.ofStruct(t) })
	case isBytes(t):
		n := ofType("string")
		n.set("contentEncoding", "base64")
		n.set("pattern", "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$") // for servers that decode by the schema
		n.setChecked("pattern", nil)                                                     // the decoder has plainer words
		return n, nil
	case kind == reflect.Slice, kind == reflect.Array, kind == reflect.Map:
		return g.ofContainer(t)
	case kind == reflect.Interface && t.NumMethod() == 0:
		return &node{}, nil
	case kind == reflect.Interface:
		return nil, fmt.Errorf("nothing can be decoded into the interface %v: make it one of several types with llmcall.OneOf, or any", t)
	}
	return nil, fmt.Errorf(`%v has no JSON: leave it out with the tag json:"-"`, t)
}

// ofInteger has the bounds of its type. Those of 64 bits are in the checked form alone,
// and those of int and uint are of 64 bits everywhere: what is asked for does not depend
// on the machine.
func ofInteger(t reflect.Type) *node {
	n := ofType("integer")
	least, most := bounds(t)
	n.set("minimum", least)
	n.set("maximum", most)
	wide := t.Bits() == 64 || t.Kind() == reflect.Int || t.Kind() == reflect.Uint || t.Kind() == reflect.Uintptr
	if wide {
		delete(n.keywords, "maximum")
		n.setChecked("maximum", most)
	}
	if wide && isSigned(t.Kind()) {
		delete(n.keywords, "minimum")
		n.setChecked("minimum", least)
	}
	return n
}

func bounds(t reflect.Type) (least, most json.Number) {
	bits := t.Bits()
	if isUnsigned(t.Kind()) {
		return "0", json.Number(strconv.FormatUint(math.MaxUint64>>(64-bits), 10))
	}
	return json.Number(strconv.FormatInt(math.MinInt64>>(64-bits), 10)), json.Number(strconv.FormatInt(math.MaxInt64>>(64-bits), 10))
}

// isBytes reports whether encoding/json writes a slice as base64.
func isBytes(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Uint8 {
		return false
	}
	elem := reflect.PointerTo(t.Elem())
	return !elem.Implements(marshaler) && !elem.Implements(textMarshaler)
}

// defined returns a reference to the definition of a type, which is made at its first
// use.
func (g *generator) defined(t reflect.Type, making func() (*node, error)) (*node, error) {
	if t.Name() == "" {
		return making()
	}
	d := g.byType[t]
	if d == nil {
		d = g.define(t)
		var err error
		if d.node, err = making(); err != nil {
			return nil, err
		}
	}
	d.uses++
	return &node{def: d}, nil
}

// define adds a definition with a unique name: two packages may have a type of the same
// name, and the name of a generic type has brackets.
func (g *generator) define(t reflect.Type) *definition {
	base := plainName(t.Name())
	name := base
	for i := 2; g.names[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	g.names[name] = true
	d := &definition{name: name}
	g.byType[t] = d
	g.all = append(g.all, d)
	return d
}

func (g *generator) ofStruct(t reflect.Type) (*node, error) {
	if err := reachable(t, map[reflect.Type]bool{}); err != nil {
		return nil, err
	}
	n := ofType("object")
	all := properties{}
	var required []string
	for _, f := range Fields(t) {
		rules, err := rulesOf(f)
		if err != nil {
			return nil, &misplaced{"." + goName(t, f), err}
		}
		if rules.ignored {
			continue
		}
		value, err := g.ofField(f)
		if err == nil {
			err = rules.apply(value, n, f)
		}
		if err != nil {
			return nil, &misplaced{"." + goName(t, f), err}
		}
		all = append(all, property{f.Name, value})
		if !f.Empty || rules.required {
			required = append(required, f.Name)
		}
		value.lenient = value.lenient || f.Empty && !rules.required
	}
	n.set("properties", all)
	if len(required) > 0 {
		n.set("required", required)
	}
	n.set("additionalProperties", false)
	return n, nil
}

func goName(t reflect.Type, f Field) string { return t.FieldByIndex(f.Index).Name }

// reachable returns an error for a struct of which JSON reaches nothing.
func reachable(t reflect.Type, seen map[reflect.Type]bool) error {
	seen[t] = true
	hidden := ""
	for i := range t.NumField() {
		f := t.Field(i)
		inner := f.Type
		pointer := inner.Kind() == reflect.Pointer
		if pointer {
			inner = inner.Elem()
		}
		made, kept := fieldOf(f, nil, inner)
		switch {
		case f.Anonymous && kept && !made.tagged && inner.Kind() == reflect.Struct:
			if pointer && !f.IsExported() && len(Fields(inner)) > 0 {
				return &misplaced{"." + f.Name, fmt.Errorf("encoding/json can't set the embedded pointer to the unexported %v: embed the struct itself, or export it", inner)}
			}
			if !seen[inner] {
				if err := reachable(inner, seen); err != nil && len(Fields(t)) == 0 {
					return err
				}
			}
		case !f.IsExported() && f.Name != "_":
			hidden = f.Name
		}
	}
	if hidden != "" && len(Fields(t)) == 0 {
		return fmt.Errorf("%v has no exported field, so that JSON does not reach its %s: export its fields, or give it UnmarshalJSON or UnmarshalText", t, hidden)
	}
	return nil
}

// ofField returns the schema of a field without its tags. A pointer is nullable.
func (g *generator) ofField(f Field) (*node, error) {
	t, err := pointedAt(f.Type)
	if err != nil {
		return nil, err
	}
	n, err := g.of(t)
	if err != nil {
		return nil, err
	}
	if f.Quoted && !DecodesItself(t) {
		n = quoted(t)
	}
	n.nullable = f.Type.Kind() == reflect.Pointer
	if kind := t.Kind(); (kind == reflect.Slice || kind == reflect.Map) && !n.custom {
		n.lenient = true // encoding/json writes a nil slice as null
	}
	return n, nil
}

// quoted is the schema of a field with the option ",string".
func quoted(t reflect.Type) *node {
	n := ofType("string")
	switch kind := t.Kind(); {
	case kind == reflect.Bool:
		n.set("enum", []any{"true", "false"})
	case isInteger(kind):
		n.set("pattern", integerPattern(t))
	case kind == reflect.Float32, kind == reflect.Float64:
		n.set("pattern", numberPattern)
	}
	return n
}

// numberPattern matches the numbers of JSON.
const numberPattern = `^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?$`

// integerPattern matches integers of a type, but for those of as many digits that are
// too large. It does without \d, which some servers that decode by a grammar do not know.
func integerPattern(t reflect.Type) string {
	_, most := bounds(t)
	digits := fmt.Sprintf("[1-9][0-9]{0,%d}", len(most)-1)
	if isSigned(t.Kind()) {
		digits = "-?" + digits
	}
	return "^(0|" + digits + ")$"
}

// ofContainer returns the schema of a slice, an array or a map. It is inlined, so that
// a field's tags reach its items, unless the type contains itself.
func (g *generator) ofContainer(t reflect.Type) (*node, error) {
	if g.within[t] {
		d := g.byType[t]
		if d == nil {
			d = g.define(t)
		}
		d.uses += 2 // it is referred to, however often
		return &node{def: d}, nil
	}
	if t.Name() != "" {
		g.within[t] = true
		defer delete(g.within, t)
	}
	elem, err := g.ofElement(t.Elem())
	if err != nil {
		return nil, &misplaced{"[]", err}
	}
	n := ofType("array")
	switch t.Kind() {
	case reflect.Map:
		n = ofType("object")
		n.set("additionalProperties", elem)
		names, err := g.ofKey(t.Key())
		if err != nil {
			return nil, err
		}
		if names != nil {
			n.set("propertyNames", names)
		}
	case reflect.Array:
		n.set("minItems", t.Len())
		n.set("maxItems", t.Len())
		fallthrough
	default:
		n.set("items", elem)
	}
	if d := g.byType[t]; d != nil && d.node == nil {
		d.node = n
		copied := *n
		return &copied, nil
	}
	return n, nil
}

// ofElement returns the schema of an element. One that is a pointer to a struct is not
// nullable: in Go it is there to share the struct, and who ranges over the elements
// does not expect nil.
func (g *generator) ofElement(t reflect.Type) (*node, error) {
	to, err := pointedAt(t)
	if err != nil {
		return nil, err
	}
	n, err := g.of(to)
	if err != nil {
		return nil, err
	}
	n.nullable = t.Kind() == reflect.Pointer && to.Kind() != reflect.Struct
	if kind := to.Kind(); (kind == reflect.Slice || kind == reflect.Map) && !n.custom {
		n.lenient = true
	}
	return n, nil
}

// ofKey returns the schema of the keys of a map, nil if it takes any.
func (g *generator) ofKey(t reflect.Type) (*node, error) {
	if values, ok, err := enumOf(t); ok || err != nil {
		names := make([]any, len(values))
		for i, value := range values {
			names[i] = fmt.Sprint(value)
		}
		return with("enum", names), err
	}
	switch kind := t.Kind(); {
	case reflect.PointerTo(t).Implements(textUnmarshaler), kind == reflect.String:
		return nil, nil
	case isInteger(kind):
		return with("pattern", integerPattern(t)), nil
	}
	return nil, fmt.Errorf("encoding/json can't decode a map with keys of type %v: use strings, integers, or a type with UnmarshalText", t)
}

// pointedAt follows pointers. The error is for a type that points to itself.
func pointedAt(t reflect.Type) (reflect.Type, error) {
	to := t
	for i := 0; to.Kind() == reflect.Pointer; i++ {
		if i > 100 {
			return t, fmt.Errorf("%v has no JSON, since it points to itself", t)
		}
		to = to.Elem()
	}
	return to, nil
}

// typeName is what an error calls a type.
func typeName(t reflect.Type) string {
	if name := t.Name(); name != "" {
		return name
	}
	return say.Short(t.String(), 40)
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

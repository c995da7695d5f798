package llmcall

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"
)

// Ask is [Client.Do] for an answer that is a T. The JSON Schema of T is
// asked for in the provider's own way and checked, the answer is decoded, and if
// T has a method Validate() error, as itself or through a pointer, its complaint
// goes back to the model like that of any other check (see validate.Func for the
// errors it may return). The elements of a T that is a slice or a map are
// validated each. The result is the whole answer, with its trace; its Text is
// the JSON.
//
//	type City struct {
//		Name       string   `json:"name" jsonschema:"minLength=1"`
//		Population int      `json:"population" jsonschema:"minimum=1" jsonschema_description:"of the city proper, not of its region"`
//		Continent  string   `json:"continent" jsonschema:"enum=Africa,enum=Asia,enum=Europe"`
//		Rivers     []string `json:"rivers,omitempty"`
//	}
//	city, _, err := llmcall.Ask[City](ctx, client, llm.Prompt("Describe Berlin"))
//
// The schema is made of T's type and its struct tags, by
// github.com/invopop/jsonschema: json names the fields, and those without
// omitempty are required; jsonschema has description, enum, minimum, maximum,
// minLength, pattern, format and more; jsonschema_description has a description
// with commas. A type with a method EnumValues has the values that it returns.
// The schema is made once for each T, at the first call, and kept.
//
// T may also be a slice, a map, a text, a number or a truth value. Since
// providers take nothing but objects at the top, such an answer is asked for,
// and comes, as {"value": …}.
//
// A T that JSON can't hold is a *ConfigError, and so is a request with a schema
// of its own.
func Ask[T any](ctx context.Context, c *Client, req *llm.Request) (T, *Result, error) {
	var none T
	s, err := shapeOf[T]()
	if err != nil {
		return none, nil, err
	}
	asked, checks, err := s.ask(req, c.checks)
	if err != nil {
		return none, nil, err
	}
	result, err := c.do(ctx, asked, checks)
	if err != nil {
		return none, nil, err
	}
	answer, err := s.decode([]byte(result.Text))
	return answer, result, err
}

// Enum is implemented by types with a closed set of values, for Ask, which keeps
// what it is told at the first call with a type: the values must always be the
// same.
//
//	type Size string
//
//	func (Size) EnumValues() []any { return []any{"S", "M", "L"} }
type Enum interface{ EnumValues() []any }

// shape is how an answer that is a T is asked for and read. All calls with a T
// share one: it holds nothing of a call.
type shape[T any] struct {
	schema  llm.Schema
	wrapped bool              // as {"value": …}
	fits    validate.Strategy // the schema's check
}

// wrapping is the object around an answer that is none itself.
type wrapping[T any] struct {
	Value T `json:"value"`
}

func newShape[T any]() (*shape[T], error) {
	t := reflect.TypeFor[T]()
	bad := func(err error) error {
		return &ConfigError{Field: "T", Got: t, Takes: "a type that encoding/json decodes into: no function, channel or interface", Err: err}
	}
	s := &shape[T]{}
	kind := t.Kind()
	for at := t; at.Kind() == reflect.Pointer; {
		at = at.Elem()
		kind = at.Kind()
	}
	switch kind {
	case reflect.Func, reflect.Chan, reflect.Interface, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		return nil, bad(nil)
	}
	text, isObject, err := schemaOf(t)
	if err == nil && !isObject {
		s.wrapped = true
		text, _, err = schemaOf(reflect.TypeFor[wrapping[T]]())
	}
	if err != nil {
		return nil, bad(err)
	}
	s.schema = llm.Schema{Name: schemaName(t), JSON: text}
	if s.fits, err = validate.JSONSchema(text); err != nil {
		return nil, bad(err)
	}
	return s, nil
}

// ask returns the request with the schema, and the checks with those of the
// shape before them.
func (s *shape[T]) ask(req *llm.Request, checks []validate.Strategy) (*llm.Request, []validate.Strategy, error) {
	if req == nil {
		return nil, nil, &ConfigError{Field: "request", Got: "none", Takes: "one with at least one message"}
	}
	if req.Schema != nil {
		return nil, nil, &ConfigError{Field: "request.schema", Got: "one", Takes: "left out, because Ask makes it of the type"}
	}
	asked := *req
	asked.Schema = &llm.Schema{Name: s.schema.Name, JSON: bytes.Clone(s.schema.JSON)} // a check may write to it
	return &asked, append([]validate.Strategy{s}, checks...), nil
}

// Name is that of the check that a shape is.
func (s *shape[T]) Name() string { return "type" }

// Check checks an answer against the schema; if it fits, decodes it; and has it
// validated.
func (s *shape[T]) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	fits, err := s.fits.Check(ctx, a)
	if err != nil || len(fits.Complaints) > 0 {
		return fits, err
	}
	own, err := validate.Func(s.Name(), func(context.Context, *validate.Answer) error {
		answer, err := s.decode([]byte(fits.Text))
		if err != nil {
			return err
		}
		return s.validated(&answer)
	}).Check(ctx, a)
	own.Decoded, own.Value, own.Text = fits.Decoded, fits.Value, fits.Text
	return own, err
}

// Begin watches a streamed answer for what the schema's check sees.
func (s *shape[T]) Begin(req *llm.Request) validate.Watcher {
	if streaming, ok := s.fits.(validate.Streaming); ok {
		return streaming.Begin(req)
	}
	return nil
}

func (s *shape[T]) decode(text []byte) (T, error) {
	if s.wrapped {
		var w wrapping[T]
		err := json.Unmarshal(text, &w)
		return w.Value, err
	}
	var answer T
	err := json.Unmarshal(text, &answer)
	return answer, err
}

type validator interface{ Validate() error }

// validated calls Validate of an answer, or of each of its elements.
func (s *shape[T]) validated(answer *T) error {
	at := ""
	if s.wrapped {
		at = "/value"
	}
	if v, ok := any(answer).(validator); ok {
		return validate.FailAt(at, v.Validate())
	}
	v := reflect.ValueOf(answer).Elem()
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		if own, ok := v.Interface().(validator); ok {
			return validate.FailAt(at, own.Validate())
		}
		v = v.Elem()
	}
	var all []error
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			all = append(all, element(v.Index(i), fmt.Sprintf("%s/%d", at, i)))
		}
	case reflect.Map:
		for m := v.MapRange(); m.Next(); {
			key, _ := json.Marshal(m.Key().Interface())
			name := say.Pointer(strings.Trim(string(key), `"`))
			copied := reflect.New(m.Value().Type()).Elem()
			copied.Set(m.Value())
			all = append(all, element(copied, at+name))
		}
	}
	return errors.Join(all...)
}

// element validates an element of a slice or a map.
func element(v reflect.Value, at string) error {
	own, ok := v.Interface().(validator)
	if !ok && v.CanAddr() {
		own, ok = v.Addr().Interface().(validator)
	}
	if !ok || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	return validate.FailAt(at, own.Validate())
}

// schemaOf returns the JSON Schema of a type, and whether it is that of objects
// alone.
func schemaOf(t reflect.Type) (text json.RawMessage, isObject bool, err error) {
	defer func() {
		if v := recover(); v != nil { // a type that has no JSON, somewhere within
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

// ownSchema is the schema of types that the reflector would take for what they
// are made of: an Enum, a number as text, and what JSON has as the text that the
// type makes of itself.
func ownSchema(t reflect.Type) *jsonschema.Schema {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return nil
	}
	if e, ok := reflect.Zero(t).Interface().(Enum); ok {
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

// scalars are JSON Schema's names of what values of a kind are.
var scalars = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "boolean", reflect.Float32: "number", reflect.Float64: "number",
	reflect.Int: "integer", reflect.Int8: "integer", reflect.Int16: "integer", reflect.Int32: "integer", reflect.Int64: "integer",
	reflect.Uint: "integer", reflect.Uint8: "integer", reflect.Uint16: "integer", reflect.Uint32: "integer", reflect.Uint64: "integer",
}

// nameIn gives each type a name of its own: two packages may have a type of the
// same name, and that of a generic one has brackets.
func nameIn(names map[string]reflect.Type, t reflect.Type) string {
	base := plainName(t.Name())
	name := base
	for i := 2; names[name] != nil && names[name] != t; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	names[name] = t
	return name
}

// expanded puts the definition that the root refers to at the root: providers
// want an object there, and no reference.
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
	again := false // the type holds itself
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

// schemaName is the name by which a provider knows a schema: OpenAI takes
// letters, digits, _ and -, 64 of them.
func schemaName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := plainName(t.Name())
	if name == "" {
		name = "answer"
	}
	return name[:min(len(name), 64)]
}

func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}

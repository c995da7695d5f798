package llmcall

import (
	"bytes"
	"context"
	"errors"
	"reflect"

	"llmcall/internal/typeschema"
	"llmcall/llm"
	"llmcall/validate"
)

// Ask is [Client.Do] for an answer that is a T. The model is asked for the JSON
// Schema of T in the provider's own way, and the answer is checked against it and
// decoded. If T, or a type in it, has a method Validate() error, that is called, and its
// complaint goes back to the model like that of any other check (see [validate.Func] for
// the errors that it may return): first those of the fields and elements, and where none
// complains that of what has them. The result is the whole answer, with its trace; its
// Text is the JSON.
//
//	type City struct {
//		Name       string   `json:"name" jsonschema:"minLength=1"`
//		Population int      `json:"population" jsonschema:"minimum=1" jsonschema_description:"of the city proper, not of its region"`
//		Continent  string   `json:"continent" jsonschema:"enum=Africa,enum=Asia,enum=Europe"`
//		Rivers     []string `json:"rivers,omitempty"`
//	}
//	city, _, err := llmcall.Ask[City](ctx, client, llm.Prompt("Describe Berlin"))
//
// The schema comes from T and its struct tags: json names the fields, and those
// without omitempty or omitzero are required; jsonschema has enum, minimum, maximum,
// minLength, pattern, format, minItems and more, and for a slice or a map those of its
// elements too; jsonschema_description has a description that may contain commas. A
// pointer may be null, an integer has the bounds of its type, and null passes for what
// may be left out. A type that implements [Enum] has the values that it returns, and one
// with a method JSONSchema the schema that this returns. A [time.Duration] is text in
// ISO 8601 ("PT1M30S"), a [net/url.URL] is text. For an answer of one of several types
// there is [OneOf]. docs/typed-answers.md lists all types and keywords. The schema is
// made once for each T, at the first call.
//
// T may also be a slice, a map, a string, a number or a bool. Because providers
// accept only objects at the top level, the model then answers with {"value": …}; the
// bare value is accepted too.
//
// The error is a [*ConfigError] if encoding/json can't decode into T or a tag is not
// known, with what to do, or if the request has a schema of its own; else it is one of
// [Client.Do].
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

// Enum is implemented by types with a closed set of values, for the schema that
// [Ask] makes. The receiver may be a pointer. It is not called again once the schema is
// made, so the values must not change.
//
//	type Size string
//
//	func (Size) EnumValues() []any { return []any{"S", "M", "L"} }
type Enum interface{ EnumValues() []any }

// shape asks for an answer that is a T, and reads it. All calls with the same T
// share one.
type shape[T any] struct {
	schema  llm.Schema
	wrapped bool              // as {"value": …}
	fits    validate.Strategy // the schema's check
}

// wrapping is the object around an answer that is not an object.
type wrapping[T any] struct {
	Value T `json:"value"`
}

func newShape[T any]() (*shape[T], error) {
	t := reflect.TypeFor[T]()
	bad := func(err error) error { return &ConfigError{Field: "T", Got: t, Err: err} }
	if t.Kind() == reflect.Interface {
		return nil, &ConfigError{Field: "T", Got: t, Takes: "a type that encoding/json decodes into, not an interface: one of several types is a llmcall.OneOf"}
	}
	s := &shape[T]{}
	made, err := typeschema.Of(t)
	if err == nil && !made.Object {
		s.wrapped = true
		made, err = typeschema.Of(reflect.TypeFor[wrapping[T]]())
	}
	if err != nil {
		return nil, bad(err)
	}
	s.schema = llm.Schema{Name: typeschema.Name(t), JSON: made.Asked}
	if s.fits, err = validate.JSONSchema(made.Checked); err != nil {
		return nil, bad(err)
	}
	return s, nil
}

// ask returns the request with the schema, and the checks after the shape's own.
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

// Name implements [validate.Strategy].
func (s *shape[T]) Name() string { return "type" }

// Check checks an answer against the schema, decodes it and validates the T.
func (s *shape[T]) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	fits, err := s.fit(ctx, a)
	if err != nil || len(fits.Complaints) > 0 {
		return fits, err
	}
	own, err := validate.Func(s.Name(), func(context.Context, *validate.Answer) error {
		answer, err := s.decode([]byte(fits.Text))
		if err != nil {
			return err
		}
		at := ""
		if s.wrapped {
			at = "/value"
		}
		return validated(reflect.ValueOf(&answer).Elem(), at)
	}).Check(ctx, a)
	own.Decoded, own.Value, own.Text = fits.Decoded, fits.Value, fits.Text
	own.Repaired = fits.Repaired
	return own, err
}

// fit checks an answer against the schema. Where that wants {"value": …}, a model may
// have given the bare value, which is as clear.
func (s *shape[T]) fit(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	fits, err := s.fits.Check(ctx, a)
	if err != nil || len(fits.Complaints) == 0 || !s.wrapped {
		return fits, err
	}
	value, text, err := a.JSON()
	if err != nil {
		return fits, nil // it has said so
	}
	object, isObject := value.(map[string]any)
	_, has := object["value"]
	_, named := object[typeschema.Discriminator] // it is one of a union, which may have a "value" of its own
	if has && !named {
		return fits, nil
	}
	inner := *a
	inner.Text = `{"value":` + text + `}`
	bare, err := s.fits.Check(ctx, &inner)
	if err != nil || isObject && !named && len(bare.Complaints) > 0 {
		return fits, err
	}
	return bare, nil
}

// Begin implements [validate.Streaming] by the schema's check.
func (s *shape[T]) Begin(req *llm.Request) validate.Watcher {
	if streaming, ok := s.fits.(validate.Streaming); ok {
		return streaming.Begin(req)
	}
	return nil
}

// decode decodes the JSON of an answer. An error is for the model.
func (s *shape[T]) decode(text []byte) (T, error) {
	if s.wrapped {
		var w wrapping[T]
		err := told(typeschema.Decode(text, &w))
		return w.Value, err
	}
	var answer T
	err := told(typeschema.Decode(text, &answer))
	return answer, err
}

// told makes complaints of what can't be decoded.
func told(err error) error {
	faults, ok := errors.AsType[typeschema.Faults](err)
	if !ok {
		return err
	}
	complaints := make(validate.Complaints, len(faults))
	for i, f := range faults {
		complaints[i] = validate.Complaint{Problem: f.Problem, Pointer: f.Pointer, Suggestion: f.Suggestion}
	}
	return complaints
}

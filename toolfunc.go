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

	"llmcall/internal/typeschema"
	"llmcall/llm"
	"llmcall/validate"
)

// ToolFunc makes a [Tool] of a Go function: the model is offered it by its name, and a
// call of it runs f.
//
//	type Query struct {
//		City string `json:"city" jsonschema:"minLength=1"`
//		Days int    `json:"days,omitempty" jsonschema:"minimum=1,maximum=7"`
//	}
//	forecast, err := llmcall.ToolFunc("forecast", "the weather of the next days", func(ctx context.Context, q Query) ([]Day, error) {
//		return station.Forecast(ctx, q.City, max(q.Days, 1))
//	})
//
// The schema of the arguments comes from In and its struct tags, as that of an answer
// comes from the type of [Ask]. Arguments are checked by it, decoded, and validated if In
// or *In has a method Validate() error, before f runs: what is wrong with them is told to
// the model in the words that it reads of a wrong answer, and f does not run. Providers
// want objects: where In is not one, the arguments are {"value": …}. A tool without
// arguments has struct{} for In.
//
// The model reads a string that f returns as it is, and any other Out as JSON. An error of
// f goes to the model as the result of a failed call, so that it may call again; it is not
// the end of the call.
//
// The context is that of the tool's call. For the other fields of the Tool, set them in the
// one that is returned.
//
// The error is a [*ConfigError]: a name that providers refuse (they take 1 to 64 letters,
// digits, _ and -), no f, an In that encoding/json can't decode into or a tag that is not
// known, an Out that it can't write.
func ToolFunc[In, Out any](name, description string, f func(context.Context, In) (Out, error)) (Tool, error) {
	if !isToolName(name) {
		return Tool{}, &ConfigError{Field: "name", Got: fmt.Sprintf("%.80q", name), Takes: "1 to 64 letters, digits, _ and -"}
	}
	if f == nil {
		return Tool{}, &ConfigError{Field: "f", Got: "nil", Takes: "a function"}
	}
	in, err := shapeOf[In]()
	if err != nil {
		if wrong, ok := errors.AsType[*ConfigError](err); ok {
			its := *wrong
			its.Field = "In"
			err = &its
		}
		return Tool{}, err
	}
	out := reflect.TypeFor[Out]()
	if part := unwritable(out, map[reflect.Type]bool{}); part != nil {
		return Tool{}, &ConfigError{Field: "Out", Got: out, Takes: fmt.Sprintf("a type that encoding/json writes, which %v is not", part)}
	}
	return Tool{
		Tool: llm.Tool{Name: name, Description: description, Parameters: bytes.Clone(in.schema.JSON)},
		Run: func(ctx context.Context, arguments json.RawMessage) (string, error) {
			given, err := in.arguments(ctx, arguments)
			if err != nil {
				return "", err
			}
			result, err := f(ctx, given)
			if err != nil {
				return "", err
			}
			return resultText(result)
		},
	}, nil
}

// arguments checks and decodes the arguments of a tool's call. The error is for the model.
func (s *shape[T]) arguments(ctx context.Context, text json.RawMessage) (T, error) {
	var none T
	given := strings.TrimSpace(string(text))
	if given == "" {
		given = "{}" // as some models write a call without arguments
	}
	verdict, err := s.Check(ctx, &validate.Answer{Text: given})
	if err != nil {
		return none, err
	}
	if len(verdict.Complaints) > 0 {
		return none, validate.Complaints(verdict.Complaints)
	}
	if verdict.Text != "" {
		given = verdict.Text
	}
	return s.decode([]byte(given))
}

// resultText is what the model reads of a tool's result.
func resultText(result any) (string, error) {
	if v := reflect.ValueOf(result); v.Kind() == reflect.String && !writesItself(v.Type()) {
		return v.String(), nil
	}
	var text bytes.Buffer
	w := json.NewEncoder(&text)
	w.SetEscapeHTML(false) // a model reads it, not a browser
	if err := w.Encode(result); err != nil {
		return "", fmt.Errorf("the tool's result can't be written as JSON: %w", err)
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// isToolName reports whether all providers accept a tool's name: OpenAI takes
// ^[a-zA-Z0-9_-]{1,64}$ (https://platform.openai.com/docs/api-reference/chat/create), and
// the others that and more.
func isToolName(name string) bool {
	other := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	}
	return 1 <= len(name) && len(name) <= 64 && !strings.ContainsFunc(name, other)
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func writesItself(t reflect.Type) bool {
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

// unwritable returns the part of a type that encoding/json can't write; nil if it can write
// all of it.
func unwritable(t reflect.Type, seen map[reflect.Type]bool) reflect.Type {
	if seen[t] || writesItself(t) || t.Kind() != reflect.Pointer && writesItself(reflect.PointerTo(t)) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return t
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return unwritable(t.Elem(), seen)
	case reflect.Map:
		if key := unwritableKey(t.Key()); key != nil {
			return key
		}
		return unwritable(t.Elem(), seen)
	case reflect.Struct:
		for _, field := range typeschema.Fields(t) {
			if part := unwritable(field.Type, seen); part != nil {
				return part
			}
		}
	}
	return nil
}

// unwritableKey returns the type of a map's keys if encoding/json can't write it.
func unwritableKey(t reflect.Type) reflect.Type {
	switch kind := t.Kind(); {
	case kind == reflect.String, reflect.Int <= kind && kind <= reflect.Uintptr, t.Implements(textMarshaler):
		return nil
	}
	return t
}

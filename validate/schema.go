package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSONSchema passes an answer that JSON passes and whose value fits the JSON
// Schema. The draft is the schema's $schema (4, 6, 7, 2019-09 or 2020-12), and
// 2020-12 without one; formats are checked in all of them. Patterns are regular
// expressions in Go's syntax (RE2). Its verdict carries the decoded value.
//
// Its complaints name each place where the value breaks the schema, by JSON
// pointer, up to 20 of them, in the order of their pointers.
//
// The schema is compiled here. An error says that it is not JSON, no valid
// schema, or refers to something outside itself: nothing is ever loaded from a
// file or from the network.
func JSONSchema(schema []byte) (Strategy, error) {
	c, err := compile(string(schema))
	if err != nil {
		given := strings.Join(strings.Fields(strings.ToValidUTF8(string(schema), "\uFFFD")), " ")
		if given == "" {
			given = "empty"
		}
		return nil, &ParamError{
			Check: "schema", Param: "schema", Problem: "is " + short(given, 60), Err: err,
			Takes: "a JSON Schema (https://json-schema.org) without references to other documents",
		}
	}
	return c, nil
}

type schemaCheck struct {
	schema *jsonschema.Schema
	misfit *jsonschema.Schema // fits what does not fit schema, and finds no details
	source any                // the schema as a JSON value
	linear bool               // checking takes time in proportion to the value, whatever the value
}

// instant: a value is checked within microseconds for each kilobyte, unless the
// schema refers to itself or compares items with each other.
func (c *schemaCheck) instant() bool { return c.linear }

// linear reports whether nothing in a schema makes the library look at a part of
// a value more often than the schema has parts.
func linear(schema any) bool {
	switch s := schema.(type) {
	case map[string]any:
		for key, value := range s {
			switch key {
			case "$ref", "$dynamicRef", "$recursiveRef", "uniqueItems":
				return false
			}
			if !linear(value) {
				return false
			}
		}
	case []any:
		for _, value := range s {
			if !linear(value) {
				return false
			}
		}
	}
	return true
}

// schemaURL and misfitURL name the documents to the library. They are no
// places: nothing is loaded from anywhere.
const (
	schemaURL = "schema:///answer"
	misfitURL = "schema:///misfit"
)

// maxDetails bounds the number of values times their depth up to which the
// library is asked for all violations. It keeps each with its path, and would
// take gigabytes for a large value that is wrong all through.
const maxDetails = 500_000

func compile(text string) (check *schemaCheck, err error) {
	// The library panics on some schemas that no meta-schema forbids.
	defer func() {
		if p := recover(); p != nil {
			check, err = nil, fmt.Errorf("the schema can't be compiled: %v", p)
		}
	}()
	doc := decode(text)
	if err := doc.unreadable(); err != nil {
		return nil, err
	}
	if doc.text != strings.TrimFunc(text, blank) {
		return nil, errors.New("there is Markdown around it")
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(refuse{})
	misfit := map[string]any{"not": map[string]any{"$ref": schemaURL}}
	check = &schemaCheck{source: doc.value, linear: linear(doc.value)}
	if err = compiler.AddResource(schemaURL, doc.value); err == nil {
		if err = compiler.AddResource(misfitURL, misfit); err == nil {
			if check.schema, err = compiler.Compile(schemaURL); err == nil {
				check.misfit, err = compiler.Compile(misfitURL)
			}
		}
	}
	if err != nil {
		return nil, plain(err, doc.value)
	}
	// A $ref that leads back to itself shows only when a value is checked.
	for _, value := range []any{nil, "", []any{}, map[string]any{}} {
		if _, err := check.violations(value); err != nil {
			return nil, err
		}
	}
	return check, nil
}

func (*schemaCheck) Name() string { return "schema" }

func (c *schemaCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document()
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	v := Verdict{Decoded: true, Value: doc.value, Text: doc.text}
	if doc.values*doc.depth > maxDetails {
		if c.misfit.Validate(doc.value) == nil {
			v.Complaints = []Complaint{{
				Problem:    fmt.Sprintf("the answer does not fit the schema, and is too large (%d values) to say where", doc.values),
				Suggestion: "answer with a smaller value that fits the schema",
			}}
		}
		return v, nil
	}
	var err error
	v.Complaints, err = c.violations(doc.value)
	return v, err
}

// violations returns each place where the value breaks the schema. The error is
// about the schema.
func (c *schemaCheck) violations(value any) ([]Complaint, error) {
	err := c.schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	var all *jsonschema.ValidationError
	if !errors.As(err, &all) {
		return nil, err
	}
	return tell(all, value, c.source)
}

// refuse loads nothing.
type refuse struct{}

func (refuse) Load(url string) (any, error) {
	return nil, fmt.Errorf("%q is not in the schema itself, and nothing is loaded from files or from the network", strings.TrimPrefix(url, "schema:///"))
}

// plain says what is wrong with a schema, in the words of the complaints about
// an answer where the meta-schema found it.
func plain(err error, schema any) error {
	var invalid *jsonschema.SchemaValidationError
	var violation *jsonschema.ValidationError
	var load *jsonschema.LoadURLError
	var pattern *jsonschema.InvalidRegexError
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &violation):
		if complaints, err := tell(violation, schema, nil); err == nil {
			return Complaints(complaints)
		}
	case errors.As(err, &load):
		return load.Err
	case errors.As(err, &pattern):
		return pattern.Err
	}
	return errors.New(strings.ReplaceAll(err.Error(), schemaURL, ""))
}

package validate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"llmcall/internal/say"
	"llmcall/validate/internal/jsontext"
	"llmcall/validate/internal/patterns"
	"llmcall/validate/internal/schemawords"
)

// JSONSchema returns a check, named "schema", that passes an answer which [JSON] passes
// and whose value fits the JSON Schema (https://json-schema.org). The draft is that of
// the schema's $schema (4, 6, 7, 2019-09 or 2020-12). Default 2020-12. Formats are
// checked in all drafts, except idn-email and idn-hostname. Patterns are regular
// expressions in Go's syntax (RE2), and in ECMAScript's if the program imports
// llmcall/validate/ecmascript. The verdict has the decoded value.
//
// The complaints name each place that does not fit by its JSON pointer, up to 20 of
// them, sorted by pointer.
//
// The schema is compiled here. The error is a *[ParamError]: it is not JSON, is not a
// valid schema, or refers to something outside itself. Nothing is ever loaded from a
// file or the network.
func JSONSchema(schema []byte) (Strategy, error) {
	return JSONSchemaWith(schema, SchemaOptions{})
}

// SchemaOptions are the options of [JSONSchemaWith]. With the zero value it is
// [JSONSchema].
type SchemaOptions struct {
	// Repair repairs the answer's JSON, as [JSONWithRepair] does. Default false.
	Repair bool
	// Documents are other JSON Schemas, by the URL with which a $ref names them. The
	// URL is only a name: nothing is loaded from it. A relative URL ("address.json")
	// matches the same text in a $ref of a schema without an $id. Default nil: none.
	Documents map[string][]byte
}

// JSONSchemaWith is [JSONSchema] with options.
func JSONSchemaWith(schema []byte, options SchemaOptions) (Strategy, error) {
	c, err := compile(string(schema), options)
	if err == nil {
		return c, nil
	}
	if _, ok := errors.AsType[*ParamError](err); ok { // one of the documents
		return nil, err
	}
	given := strings.Join(strings.Fields(strings.ToValidUTF8(string(schema), "\uFFFD")), " ")
	if given == "" {
		given = "nothing"
	}
	takes := "a JSON Schema (https://json-schema.org) without references to other documents"
	if len(options.Documents) > 0 {
		takes = "a JSON Schema (https://json-schema.org) without references to documents that are not given with it"
	}
	return nil, &ParamError{Check: "schema", Param: "schema", Got: say.Short(given, 60), Err: err, Takes: takes}
}

type schemaCheck struct {
	schema *jsonschema.Schema
	misfit *jsonschema.Schema // fits what does not fit schema, without details
	source any                // the schema as a JSON value
	repair bool
	linear bool // checking takes time linear in the size of the value
}

// instant is true unless the schema refers to itself or compares items with each
// other: the time for a value can then grow faster than its size.
func (c *schemaCheck) instant() bool { return c.linear && !c.repair }
func (c *schemaCheck) repairs() bool { return c.repair }

// linear reports whether a schema has no keyword that makes the library visit a part
// of a value more often than the schema has parts.
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

// schemaURL and misfitURL name the documents for the library, which loads nothing
// from them.
const (
	schemaURL = "schema:///answer"
	misfitURL = "schema:///misfit"
)

// maxDetails is the largest product of an answer's values and depth for which the
// library is asked for all violations. It keeps the path of each, and would need
// gigabytes for a large value that is wrong throughout.
const maxDetails = 500_000

func compile(text string, options SchemaOptions) (check *schemaCheck, err error) {
	// The library panics on some schemas that no meta-schema forbids.
	defer func() {
		if p := recover(); p != nil {
			check, err = nil, fmt.Errorf("the schema can't be compiled: %v", p)
		}
	}()
	doc, err := readSchema(text)
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(refuse{})
	misfit := map[string]any{"not": map[string]any{"$ref": schemaURL}}
	check = &schemaCheck{source: doc, repair: options.Repair, linear: linear(doc)}
	compiler.UseRegexpEngine(check.pattern)
	documents, err := addDocuments(compiler, options.Documents)
	if err != nil {
		return nil, err
	}
	if err = compiler.AddResource(schemaURL, doc); err == nil {
		if err = compiler.AddResource(misfitURL, misfit); err == nil {
			if check.schema, err = compiler.Compile(schemaURL); err == nil {
				check.misfit, err = compiler.Compile(misfitURL)
			}
		}
	}
	if err != nil {
		if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
			at, _, _ := strings.Cut(invalid.URL, "#")
			if d, ok := documents[at]; ok {
				return nil, badDocument(d.name, "another JSON value", plainError(err, d.value))
			}
		}
		return nil, plainError(err, doc)
	}
	// A $ref that leads back to itself shows only when a value is checked.
	for _, value := range []any{nil, "", []any{}, map[string]any{}} {
		if _, err := check.violations(value); err != nil {
			return nil, err
		}
	}
	return check, nil
}

// pattern compiles a regular expression.
func (c *schemaCheck) pattern(expression string) (jsonschema.Regexp, error) {
	re, quick, err := patterns.Compile(expression)
	c.linear = c.linear && (quick || err != nil)
	return re, err
}

// readSchema decodes a schema.
func readSchema(text string) (any, error) {
	doc := jsontext.Decode(text)
	if err := unreadable(doc); err != nil {
		return nil, err
	}
	if doc.Text != strings.TrimFunc(text, jsontext.Blank) {
		return nil, errors.New("there is Markdown around it")
	}
	return doc.Value, nil
}

// givenDocument is one of [SchemaOptions.Documents].
type givenDocument struct {
	name  string
	value any
}

// addDocuments makes the documents known by their URLs.
func addDocuments(compiler *jsonschema.Compiler, documents map[string][]byte) (map[string]givenDocument, error) {
	base, err := url.Parse(schemaURL)
	if err != nil {
		return nil, err
	}
	known := map[string]givenDocument{}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		at, err := base.Parse(name)
		if err != nil {
			return nil, badDocument(name, "an invalid URL", err)
		}
		if at.Fragment != "" || at.String() == schemaURL || at.String() == misfitURL {
			return nil, badDocument(name, "a URL that is reserved or has a fragment", nil)
		}
		doc, err := readSchema(string(documents[name]))
		if err != nil {
			return nil, badDocument(name, "invalid JSON", err)
		}
		if err := compiler.AddResource(at.String(), doc); err != nil {
			return nil, badDocument(name, "a URL that is used twice", err)
		}
		known[at.String()] = givenDocument{name, doc}
	}
	return known, nil
}

func badDocument(name, got string, err error) *ParamError {
	return &ParamError{
		Check: "schema", Param: fmt.Sprintf("documents[%q]", say.Short(name, 200)), Got: got, Err: err,
		Takes: "a JSON Schema, under a URL that no other schema has",
	}
}

func (*schemaCheck) Name() string { return "schema" }

func (c *schemaCheck) Check(_ context.Context, a *Answer) (verdict Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			tooLong, ok := p.(patterns.TooLong)
			if !ok {
				panic(p)
			}
			verdict, err = Verdict{}, tooLong
		}
	}()
	doc, complaints := a.document(c.repair)
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	v := verdictOf(doc)
	if doc.Values*doc.Depth > maxDetails {
		if c.misfit.Validate(doc.Value) == nil {
			v.Complaints = []Complaint{{
				Problem:    fmt.Sprintf("the answer does not fit the schema, and is too large (%d values) to say where", doc.Values),
				Suggestion: "answer with a smaller value that fits the schema",
			}}
		}
		return v, nil
	}
	v.Complaints, err = c.violations(doc.Value)
	return v, err
}

// violations returns a complaint for each place that does not fit. The error is about
// the schema.
func (c *schemaCheck) violations(value any) ([]Complaint, error) {
	err := c.schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	var all *jsonschema.ValidationError
	if !errors.As(err, &all) {
		return nil, err
	}
	return schemaComplaints(all, value, schemawords.Schema{URL: schemaURL, Value: c.source})
}

func schemaComplaints(tree *jsonschema.ValidationError, value any, schema schemawords.Schema) ([]Complaint, error) {
	faults, err := schemawords.Faults(tree, value, schema)
	if err != nil {
		return nil, err
	}
	complaints := make([]Complaint, len(faults))
	for i, f := range faults {
		complaints[i] = Complaint{Problem: f.Problem, Pointer: f.Pointer, Suggestion: f.Suggestion}
	}
	return complaints, nil
}

// refuse loads nothing.
type refuse struct{}

func (refuse) Load(address string) (any, error) {
	return nil, fmt.Errorf("%q is not in the schema itself, and nothing is loaded from files or from the network", strings.TrimPrefix(address, "schema:///"))
}

// plainError returns what is wrong with a schema. If the meta-schema found it, the
// words are those of complaints about an answer.
func plainError(err error, schema any) error {
	var invalid *jsonschema.SchemaValidationError
	var violation *jsonschema.ValidationError
	var load *jsonschema.LoadURLError
	var pattern *jsonschema.InvalidRegexError
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &violation):
		if complaints, err := schemaComplaints(violation, schema, schemawords.Schema{}); err == nil {
			return Complaints(complaints)
		}
	case errors.As(err, &load):
		return load.Err
	case errors.As(err, &pattern):
		return pattern.Err
	}
	return errors.New(strings.ReplaceAll(err.Error(), schemaURL, ""))
}

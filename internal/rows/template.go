package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
)

// Template is a text with places for the fields of a row, as package text/template has them:
// "Summarize: {{.text}}". A field that a row does not have is an error. A string is written
// as it is, a number as the row has it; a list, an object and the row itself ({{.}}) are
// written as JSON. It is safe for use from many goroutines.
type Template struct {
	name string
	t    *template.Template
}

// ParseTemplate parses a template. The name is that of the flag or the file that has it, for
// errors.
func ParseTemplate(name, text string) (*Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"index": index}).Parse(text)
	if err == nil {
		return &Template{name, t}, nil
	}
	problem := inTemplate.ReplaceAllString(err.Error(), "line $1: ")
	if strings.Contains(problem, "bad character") {
		problem += `; a field whose name is not made of letters, digits and _ is written {{index . "first-name"}}`
	}
	return nil, fmt.Errorf("%s is not a template: %s", name, problem)
}

// inTemplate is how text/template begins its errors.
var inTemplate = regexp.MustCompile(`^template: :([0-9]+):(?:[0-9]+: executing "" at )? *`)

// noEntry is how text/template says that a map lacks a key.
var noEntry = regexp.MustCompile(`at <(.*)>: map has no entry for key "(.*)"$`)

// Text returns the text for a row. The error is an *[Error].
func (t *Template) Text(row *Row) (string, error) {
	var b strings.Builder
	err := t.t.Execute(&b, object(shownFields(row.Fields)))
	if err == nil {
		return b.String(), nil
	}
	if lacks, ok := errors.AsType[*lacksError](err); ok {
		return "", row.lacks(t, lacks.name, lacks.names)
	}
	if m := noEntry.FindStringSubmatch(err.Error()); m != nil {
		names := row.names
		if strings.Count(m[1], ".") > 1 { // within a field
			return "", row.fault("", "has no field %q, which %s needs", strings.TrimPrefix(m[1], "."), t.name)
		}
		return "", row.lacks(t, m[2], names)
	}
	problem := strings.Replace(err.Error(), " in type interface {}", " of what is not an object", 1)
	return "", row.fault("", "does not fit %s: %s", t.name, inTemplate.ReplaceAllString(problem, "line $1: "))
}

// lacks is the error about a field that a template needs.
func (r *Row) lacks(t *Template, name string, names []string) error {
	return r.fault("", "has the fields %s; %s needs %s", say.List(names, 20), t.name, nearest.Shown(name, names))
}

// lacksError says that an object lacks a field.
type lacksError struct {
	name  string
	names []string
}

// Error is not shown: Text says what is wrong in its own words.
func (e *lacksError) Error() string { return "no field " + strconv.Quote(e.name) }

// index is that of text/template for the values of a row. There, a key that a map does not
// have is "<no value>", which nobody wants to ask a model about.
func index(value any, keys ...any) (any, error) {
	for _, key := range keys {
		switch v := value.(type) {
		case object:
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("index: a field must be named by a string, got %v", key)
			}
			if value, ok = v[name]; !ok {
				return nil, &lacksError{name, slices.Sorted(maps.Keys(v))}
			}
		case list:
			at, err := strconv.Atoi(fmt.Sprint(key))
			if err != nil || at < 0 || at >= len(v) {
				return nil, fmt.Errorf("index: the list has %d items, from 0, got %v", len(v), key)
			}
			value = v[at]
		default:
			return nil, fmt.Errorf("index: %v is neither a list nor an object", value)
		}
	}
	return value, nil
}

// The values of a row in a template, which are written as JSON.
type (
	object map[string]any
	list   []any
	null   []struct{} // empty, so that {{if .x}} takes it for false
)

// String returns the JSON.
func (o object) String() string { return written(o) }

// String returns the JSON.
func (l list) String() string { return written(l) }

// String returns "null".
func (null) String() string { return "null" }

// MarshalJSON writes null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func written(value any) string {
	text, err := canonical(value)
	if err != nil {
		return err.Error() // what was read from JSON can be written
	}
	return string(text)
}

// shownFields returns the fields as values for a template.
func shownFields(fields map[string]any) map[string]any {
	out := make(map[string]any, len(fields))
	for name, value := range fields {
		out[name] = forTemplate(value)
	}
	return out
}

func forTemplate(value any) any {
	switch v := value.(type) {
	case nil:
		return null(nil)
	case map[string]any:
		return object(shownFields(v))
	case []any:
		out := make(list, len(v))
		for i, item := range v {
			out[i] = forTemplate(item)
		}
		return out
	case json.Number:
		// So that {{if gt .stars 3}} works. Another number stays as it is written: 1.50.
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil && strconv.FormatInt(i, 10) == v.String() {
			return i
		}
	}
	return value
}

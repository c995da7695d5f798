package yamlfile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"llmcall/internal/yamlfile"
)

func TestWhatIsWrongWithAFileIsSaidInPlainWords(t *testing.T) {
	for text, want := range map[string]yamlfile.Error{
		"a:\n\t- b\n":                  {2, "the line is indented with a tab: use spaces"},
		"a:\n  b: 1\n\tc: 2\n":         {3, "the line is indented with a tab: use spaces"},
		"a: 1\n---\nb: 2\n":            {2, "must be one document, got more than one (--- begins another)"},
		"{\"a\": 1} x\n":               {1, `must be one JSON value, got more after its end: "x"`},
		"{\"a\": 1}\n{\"a\": 2}\n":     {2, `must be one JSON value, got more after its end: "{\"a\": 2}"`},
		"{\"a\": 1\n \"b\": 2}\n":      {2, `not JSON: invalid character '"' where a comma or } must follow a value`},
		"{\n\"a\": 1,\n \"b\": 2\n":    {3, "not JSON: the text ends too early (a bracket or a quote is not closed)"},
		"{\"a\" 1}\n":                  {1, `not JSON: invalid character '1' where a colon must follow a name`},
		"a: [b\n":                      {1, "not YAML: a list in brackets lacks a comma, or its ]"},
		"a: [\n":                       {1, "not YAML: a list in brackets or a mapping in braces is not closed, or lacks a value"},
		"{\"a\": \"\xff\"}\n":          {1, "the file must be text in UTF-8"},
		"a: {b: c\n":                   {1, "not YAML: a mapping in braces lacks a comma, or its }"},
		"a: \"b\n":                     {1, "not YAML: a quote is not closed"},
		"a: b: c\n":                    {1, `not YAML: a value has ": " in it, or the line is indented too far: put such a value in quotes`},
		"a: 1\nb\n":                    {2, "not YAML: a colon and a space must follow the name of a field"},
		"a: - b\n":                     {1, "not YAML: a list must begin on a line of its own, and be indented as the lines around it"},
		"a: *b\n":                      {1, "not YAML: *b names an anchor that the file does not have (put a text that begins with * in quotes)"},
		"a: \"\\d\"\n":                 {1, `not YAML: \ begins an escape in double quotes: write \\, or use single quotes`},
		"a: @b\n":                      {1, "not YAML: a text that begins with @, ` or % must be in quotes"},
		"  a: 1\nb: 2\n":               {2, "not YAML: the line is indented less than the first, or follows the end of the document"},
		"a:\n  - b\n c: 1\n":           {3, "not YAML: the line is not indented as the fields before it, or text follows a closed quote"},
		"a: \xff\n":                    {1, "the file must be text in UTF-8"},
		"{max: {b: \"c\"}, 'd': [e}\n": {1, "not YAML: a list in brackets lacks a comma, or its ]"},
	} {
		_, err := yamlfile.Parse([]byte(text))
		if got, ok := errors.AsType[*yamlfile.Error](err); !ok || *got != want {
			t.Errorf("%q: got %+v, want %+v", text, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]any{
		"":                                  nil,
		"# a comment\n":                     nil,
		"\ufeff{\"a\":\t1}":                 map[string]any{"a": json.Number("1")},
		`{"a": "\ud83d\ude00"}`:             map[string]any{"a": "😀"},
		"{a: 1,}":                           map[string]any{"a": json.Number("1")},
		"[1, 2.50, -3e2, .5, +4, 007]":      []any{json.Number("1"), json.Number("2.50"), json.Number("-3e2"), json.Number("0.5"), json.Number("4"), "007"},
		"[true, null, ~, 2026-11-26]":       []any{true, nil, nil, "2026-11-26"},
		"[0x1F, '5']":                       []any{"0x1F", "5"},
		"a: &x {b: 1}\nc: *x":               map[string]any{"a": map[string]any{"b": json.Number("1")}, "c": map[string]any{"b": json.Number("1")}},
		"a: &x {b: 1}\nc: {<<: *x}":         map[string]any{"a": map[string]any{"b": json.Number("1")}, "c": map[string]any{"b": json.Number("1")}},
		"a: &x {b: 1}\nc: {<<: [*x], b: 2}": map[string]any{"a": map[string]any{"b": json.Number("1")}, "c": map[string]any{"b": json.Number("2")}},
	} {
		got, err := value([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %#v, %v, want %#v", text, got, err, want)
		}
	}
	for text, want := range map[string]yamlfile.Error{
		"a: 1\nb: 2\na: 3":  {3, `"a" appears twice, first on line 1`},
		"a: .nan":           {1, `".nan" is not a number that JSON has`},
		"a: !!int foo":      {1, `"foo" is not a number`},
		"a: &a {<<: *a}":    {1, "its aliases expand to too much data"},
		"a: &a [*a]":        {1, "its aliases expand to too much data"},
		"a:\n  [1]: 2":      {2, "the name of a field must be a text, got a list or a mapping"},
		"{\"a\":1,\"a\":2}": {1, `"a" appears twice, first on line 1`},
	} {
		_, err := value([]byte(text))
		if got, ok := errors.AsType[*yamlfile.Error](err); !ok || *got != want {
			t.Errorf("%q: got %+v, want %+v", text, err, want)
		}
	}
}

// Merges of merges, each of two, would be as many as two to the power of the lines; a list
// that is in itself has no end.
func TestMergesWithoutEnd(t *testing.T) {
	doubled := "a0: &a0 {k: 1}\n"
	for i := range 40 {
		doubled += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d]}\n", i+1, i+1, i, i)
	}
	for _, text := range []string{doubled, "a: {<<: &s [*s]}", "a: &a {<<: [*a, *a]}", "a: &a {b: 1, <<: *a}"} {
		_, err := value([]byte(text))
		if got, ok := errors.AsType[*yamlfile.Error](err); !ok || got.Reason != "its aliases expand to too much data" || got.Line < 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestJSONKeepsTheOrder(t *testing.T) {
	for text, want := range map[string]string{
		"b: 1\na: [x, {d: ~, c: <&>}]\n": `{"b":1,"a":["x",{"d":null,"c":"<&>"}]}`,
		`{"b": 1e3, "a": "\u00e9"}`:      `{"b":1e3,"a":"é"}`,
	} {
		n, err := yamlfile.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := yamlfile.JSON(n); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

func value(data []byte) (any, error) {
	n, err := yamlfile.Parse(data)
	if err != nil || n == nil {
		return nil, err
	}
	return yamlfile.Value(n)
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"a:\n\tb", "{\"a\": 1} x", "a: &a [*a]", "? [a]\n: b", "a: !!float x", "<<: 1", "a: |\n  b\n c", "%YAML 2\n---\na"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := yamlfile.Parse([]byte(text))
		if err == nil && n != nil {
			var v any
			if v, err = yamlfile.Value(n); err == nil {
				if _, err := json.Marshal(v); err != nil {
					t.Errorf("%q has no JSON: %v", text, err)
				}
			}
		}
		if err == nil {
			return
		}
		if e, ok := errors.AsType[*yamlfile.Error](err); !ok || e.Line < 0 || e.Line > strings.Count(text, "\n")+2 {
			t.Errorf("%q: %#v", text, err)
		}
		for _, inner := range []string{"go-yaml", "yaml:", "construct", "unmarshal", "struct", "interface", "libyaml"} {
			if strings.Contains(err.Error(), inner) && !strings.Contains(text, inner) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

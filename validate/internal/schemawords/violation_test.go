package schemawords

import (
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaURL = "schema:///answer"

func faults(t *testing.T, schema, value string) []Fault {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(schemaURL, doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(schemaURL)
	if err != nil {
		t.Fatal(err)
	}
	tree, ok := errors.AsType[*jsonschema.ValidationError](compiled.Validate(v))
	if !ok {
		t.Fatalf("%s fits %s", value, schema)
	}
	found, err := Faults(tree, v, Schema{schemaURL, doc})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What is said of each kind of violation that the library knows.
func TestEachKindOfViolationHasItsWords(t *testing.T) {
	for _, step := range []struct{ schema, value, want string }{
		{`{"type": "integer"}`, `"a"`, `expected an integer, got the string "a" | put an integer there`},
		{`{"type": "integer"}`, `"12"`, `expected an integer, got the string "12" | write it without quotes`},
		{`{"type": "boolean"}`, `"true"`, `expected true or false, got the string "true" | write it as true, without quotes`},
		{`{"type": "object"}`, `"{}"`,
			`expected an object, got the string "{}" | write it as JSON, not as a string that holds JSON`},
		{`{"type": "string"}`, `12`, `expected a string, got the number 12 | write it as a string, in double quotes`},
		{`{"type": "string", "format": "date"}`, `20260131`, `expected a string, got the number 20260131 | write it like "2026-01-31"`},
		{`{"type": "string", "examples": ["PT5M"]}`, `5`, `expected a string, got the number 5 | write it like "PT5M"`},
		{`{"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}`, `5`, `expected a string or null, got the number 5 | write it like "2026-01-31"`},
		{`{"anyOf": [{"type": "array"}, {"type": "null", "deprecated": true}]}`, `"a"`, `expected an array, got the string "a" | put an array there`},
		{`{"required": ["a", "b"], "properties": {"a": {"anyOf": [{"type": "array"}, {"type": "null", "deprecated": true}]}, "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}`,
			`{}`, `the properties "a", "b" are missing | add the properties "a" (an array), "b" (an integer or null)`},
		{`{"required": ["a"], "properties": {"a": {"type": "string"}}}`, `{}`,
			`the property "a" is missing | add the property "a" (a string)`},
		{`{"required": ["a", "b"]}`, `{}`, `the properties "a", "b" are missing | add the properties "a", "b"`},
		{`{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}`, `{"a": 1}`,
			`because "a" is there, the property "b" must be too | add the property "b"`},
		{`{"dependentRequired": {"a": ["b", "c"]}}`, `{"a": 1}`,
			`because "a" is there, the properties "b", "c" must be too | add the properties "b", "c"`},
		{`{"additionalProperties": false, "properties": {"a": {}}}`, `{"b": 1, "c": 2}`,
			`the properties "b", "c" are not allowed | leave them out; allowed are "a"`},
		{`{"propertyNames": {"maxLength": 1}}`, `{"ab": 1}`,
			`the property name "ab" is not allowed: too many characters: expected at most 1, got 2 | rename it or leave it out`},
		{`{"properties": {"a": false}}`, `{"a": 1}`, `/a: the number 1 is not allowed here | leave it out`},
		{`{"enum": [1, "b"]}`, `"c"`, `the string "c" is not one of the allowed values | use one of 1, "b"`},
		{`{"const": {"a": 1}}`, `{"a": 2}`, `expected {"a":1}, got an object with 1 property | make it {"a":1}`},
		{`{"format": "date"}`, `"today"`, `"today" is not in the format "date" | write it like "2026-01-31"`},
		{`{"format": "json-pointer"}`, `"a"`,
			`"a" is not in the format "json-pointer": not starting with / | write it in the format "json-pointer"`},
		{`{"pattern": "^\\d+$"}`, `"a"`,
			"\"a\" does not match the regular expression `^\\d+$` | write text that matches the regular expression `^\\d+$`"},
		{`{"minLength": 2}`, `"ä"`, `too few characters: expected at least 2, got 1 | make it at least 2 characters long`},
		{`{"maxLength": 1}`, `"äö"`, `too many characters: expected at most 1, got 2 | make it at most 1 character long`},
		{`{"minItems": 2, "items": {"type": "string"}}`, `[]`,
			`too few items: expected at least 2, got 0 | give it at least 2 items, each a string`},
		{`{"maxItems": 1}`, `[1, 2]`, `too many items: expected at most 1, got 2 | give it at most 1 item`},
		{`{"minProperties": 1}`, `{}`, `too few properties: expected at least 1, got 0 | give it at least 1 property`},
		{`{"maxProperties": 1}`, `{"a": 1, "b": 2}`,
			`too many properties: expected at most 1, got 2 | give it at most 1 property`},
		{`{"minimum": 1.5}`, `1`, `1 is less than 1.5 | make it at least 1.5`},
		{`{"maximum": 1}`, `2`, `2 is more than 1 | make it at most 1`},
		{`{"exclusiveMinimum": 1}`, `1`, `1 is not more than 1 | make it more than 1`},
		{`{"exclusiveMaximum": 1}`, `1`, `1 is not less than 1 | make it less than 1`},
		{`{"multipleOf": 2}`, `3`, `3 is not a multiple of 2 | make it a multiple of 2`},
		{`{"uniqueItems": true}`, `[1, 2, 1]`, `the items 0 and 2, counted from 0, are equal | keep each item once`},
		{`{"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}], "additionalItems": false}`, `[1, 2, 3]`,
			`the array has 2 items too many | leave out the last 2`},
		{`{"contains": {"type": "string"}}`, `[1]`,
			`no item fits, but at least 1 must; at /0: expected a string, got the number 1 | add an item that fits the schema {"type":"string"}`},
		{`{"contains": {"type": "string"}, "minContains": 2}`, `["a", 1]`,
			`only 1 item fits, but at least 2 must; at /1: expected a string, got the number 1 | add an item that fits the schema {"type":"string"}`},
		{`{"contains": {"type": "string"}, "maxContains": 1}`, `["a", "b"]`,
			`2 items fit, but at most 1 may | leave out 1 of the items that fit the schema {"type":"string"}`},
		{`{"not": {"type": "string"}}`, `"a"`,
			`the string "a" is not allowed here | change it so that it does not fit the schema {"type":"string"}`},
		{`{"oneOf": [{"type": "number"}, {"minimum": 1}]}`, `2`,
			`the number 2 fits the alternatives 1 and 2, but must fit exactly one | change it so that it fits just one of them: {"type":"number"}; or {"minimum":1}`},
		{`{"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}`, `{}`,
			`an empty object fits none of the 2 alternatives | do one of these: add the property "a"; or add the property "b"`},
		{`{"anyOf": [{"type": "string"}, {"type": "number"}]}`, `[]`,
			`expected a string or a number, got an empty array | put a string or a number there`},
		{`{"anyOf": [{"const": 1}, {"const": 2}]}`, `3`, `the number 3 is not one of the allowed values | use one of 1, 2`},
	} {
		var lines []string
		for _, f := range faults(t, step.schema, step.value) {
			lines = append(lines, strings.TrimPrefix(f.Pointer+": ", ": ")+f.Problem+" | "+f.Suggestion)
		}
		if got := strings.Join(lines, "\n"); got != step.want {
			t.Errorf("%s of %s:\ngot  %s\nwant %s", step.value, step.schema, got, step.want)
		}
	}
}

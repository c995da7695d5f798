package validate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

func TestSchemaPassesWhatFits(t *testing.T) {
	for _, test := range []struct{ schema, answer string }{
		{tenFields, tenValues},
		{"true", `null`},
		{"{}", `[1, {"a": 2}]`},
		{`{"type": "integer"}`, `1.0`},
		{`{"type": "array", "items": {"type": "integer"}}`, "```json\n[1, 2]\n```"},
		{`{"const": 12345678901234567890.5}`, `12345678901234567890.5`}, // no float64 holds it
		{`{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"p": {"type": "object"}}, "items": [{"$ref": "#/definitions/p"}]}`, `[{}, 5]`},
		{`{"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": true}`, `2.5`},
		{`{"$schema": "https://json-schema.org/draft/2019-09/schema", "items": [{"type": "string"}], "unevaluatedItems": true}`, `["a", 1]`},
		{`{"$id": "https://example.org/tree", "type": "object", "properties": {"left": {"$ref": "tree"}, "right": {"$ref": "#"}}, "required": ["v"]}`, `{"v": 1, "left": {"v": 2}}`},
		{`{"$ref": "http://json-schema.org/draft-07/schema#"}`, `{"type": "string"}`}, // the meta-schemas are built in
		{"\ufeff{}", `1`},
	} {
		s, err := validate.JSONSchema([]byte(test.schema))
		if err != nil {
			t.Errorf("%s: %v", test.schema, err)
			continue
		}
		report := check(t, s, test.answer)
		wantLines(t, test.schema+" on "+test.answer, report.Complaints)
		if !report.Decoded || !json.Valid([]byte(report.Text)) {
			t.Errorf("%s: %+v", test.schema, report)
		}
	}
}

func TestSchemaTellsEachViolation(t *testing.T) {
	const person = `{"type": "object", "required": ["name", "age"], "additionalProperties": false,
		"properties": {"name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0}, "pets": {"items": {"enum": ["cat", "dog"]}}}}`
	const union = `{"oneOf": [
		{"type": "object", "required": ["kind", "radius"], "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}},
		{"type": "object", "required": ["kind", "side"], "properties": {"kind": {"const": "square"}, "side": {"type": "number"}}}]}`
	for _, test := range []struct {
		name, schema, answer string
		want                 []string
	}{
		{"several at once", person, `{"name": "A", "age": "5", "pets": ["cat", "cow"], "zip": 1}`, []string{
			`the property "zip" is not allowed (leave it out; allowed are "age", "name", "pets")`,
			`at /age: expected an integer, got the string "5" (write it without quotes)`,
			`at /name: too few characters: expected at least 2, got 1 (make it at least 2 characters long)`,
			`at /pets/1: the string "cow" is not one of the allowed values (use one of "cat", "dog")`,
		}},
		{"missing properties", person, `{}`, []string{`the properties "name", "age" are missing (add the properties "name" (a string), "age" (an integer))`}},
		{"one missing property", person, `{"name": "Ada"}`, []string{`the property "age" is missing (add the property "age" (an integer))`}},
		{"no JSON", person, `Ada, 36`, []string{`line 1, column 1: the text is not JSON: "Ada, 36" (answer with JSON alone)`}},
		{"null", person, `null`, []string{`expected an object, got null (put an object there)`}},
		{"a trailing comma", `{"type": "array"}`, `[1,]`, []string{`line 1, column 3: there is a comma before the closing "]" (leave out the comma)`}},
		{"an object for a list", `{"type": "array"}`, `{"a": 1}`, []string{`expected an array, got an object with 1 property (put an array there)`}},
		{"a fraction", `{"type": "integer"}`, `1.5`, []string{`expected an integer, got the number 1.5 (put an integer there)`}},
		{"a number for a string", `{"type": "string"}`, `5`, []string{`expected a string, got the number 5 (write it as a string, in double quotes)`}},
		{"a quoted boolean", `{"type": "boolean"}`, `"true"`, []string{`expected true or false, got the string "true" (write it as true, without quotes)`}},
		{"two types", `{"type": ["string", "null"]}`, `[]`, []string{`expected null or a string, got an empty array (put null or a string there)`}},
		{"a long string is shortened", `{"type": "null"}`, `"` + strings.Repeat("x", 100) + `"`, []string{`expected null, got the string "` + strings.Repeat("x", 60) + `…" (put null there)`}},
		{"a constant", `{"const": {"a": 1}}`, `2`, []string{`expected {"a":1}, got the number 2 (make it {"a":1})`}},
		{"a long enum", `{"enum": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22]}`, `0`, []string{
			`the number 0 is not one of the allowed values (use one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 2 more)`,
		}},
		{"formats", `{"items": {"format": "date"}, "prefixItems": [{"format": "email"}, {"format": "semver"}]}`, `["x", "x", "31.1.2026"]`, []string{
			`at /0: "x" is not in the format "email" (write it like "name@example.org")`,
			`at /1: "x" is not in the format "semver": versionCore must have 3 numbers separated by dot (write it in the format "semver")`,
			`at /2: "31.1.2026" is not in the format "date" (write it like "2026-01-31")`,
		}},
		{"a pattern", `{"pattern": "^[A-Z]+$"}`, `"ab"`, []string{`"ab" does not match the regular expression "^[A-Z]+$" (write text that matches the regular expression "^[A-Z]+$")`}},
		{"a text too long", `{"maxLength": 2}`, `"äöü"`, []string{`too many characters: expected at most 2, got 3 (make it at most 2 characters long)`}},
		{"bounds", `{"prefixItems": [{"minimum": 0.1}, {"maximum": 3}, {"exclusiveMinimum": 3}, {"exclusiveMaximum": 3}, {"multipleOf": 0.25}]}`, `[0, 4, 3, 3, 0.3]`, []string{
			`at /0: 0 is less than 0.1 (make it at least 0.1)`,
			`at /1: 4 is more than 3 (make it at most 3)`,
			`at /2: 3 is not more than 3 (make it more than 3)`,
			`at /3: 3 is not less than 3 (make it less than 3)`,
			`at /4: 0.3 is not a multiple of 0.25 (make it a multiple of 0.25)`,
		}},
		{"sizes", `{"prefixItems": [{"minItems": 1}, {"maxItems": 1}, {"minProperties": 1}, {"maxProperties": 1}]}`, `[[], [1, 2], {}, {"a": 1, "b": 2}]`, []string{
			`at /0: too few items: expected at least 1, got 0 (give it at least 1 item)`,
			`at /1: too many items: expected at most 1, got 2 (give it at most 1 item)`,
			`at /2: too few properties: expected at least 1, got 0 (give it at least 1 property)`,
			`at /3: too many properties: expected at most 1, got 2 (give it at most 1 property)`,
		}},
		{"equal items", `{"uniqueItems": true}`, `[1, 2, 1.0]`, []string{`the items 0 and 2, counted from 0, are equal (keep each item once)`}},
		{"items behind the last", `{"prefixItems": [true], "items": false}`, `[1, 2]`, []string{`at /1: the number 2 is not allowed here (leave it out)`}},
		{"additional items of draft 7", `{"$schema": "http://json-schema.org/draft-07/schema#", "items": [true], "additionalItems": false}`, `[1, 2, 3]`, []string{
			`the array has 2 items too many (leave out the last 2)`,
		}},
		{"unevaluated properties", `{"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false}`, `{"a": 1, "c": 2, "b": {}}`, []string{
			`at /b: an empty object is not allowed here (leave it out)`,
			`at /c: the number 2 is not allowed here (leave it out)`,
		}},
		{"patterns allow other names", `{"properties": {"a": true}, "patternProperties": {"^x": true}, "additionalProperties": false}`, `{"b": 1, "c": 1}`, []string{
			`the properties "b", "c" are not allowed (leave them out)`,
		}},
		{"dependent properties", `{"dependentRequired": {"a": ["b", "c"]}}`, `{"a": 1}`, []string{
			`because "a" is there, the properties "b", "c" must be too (add the properties "b", "c")`,
		}},
		{"dependencies of draft 7", `{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}`, `{"a": 1}`, []string{
			`because "a" is there, the property "b" must be too (add the property "b")`,
		}},
		{"if, then, else", `{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}`, `{"a": 1}`, []string{
			`the property "b" is missing (add the property "b")`,
		}},
		{"not", `{"properties": {"a": {"not": {"enum": [1, 2]}}}}`, `{"a": 2}`, []string{
			`at /a: the number 2 is not allowed here (change it so that it does not fit the schema {"enum":[1,2]})`,
		}},
		{"contains", `{"contains": {"type": "integer"}}`, `["a", []]`, []string{
			`no item fits, but at least 1 must; at /0: expected an integer, got the string "a" (add an item that fits the schema {"type":"integer"})`,
		}},
		{"contains, of nothing", `{"contains": {"type": "integer"}}`, `[]`, []string{`no item fits, but at least 1 must (add an item that fits the schema {"type":"integer"})`}},
		{"contains, counted", `{"contains": {"type": "integer"}, "minContains": 2, "maxContains": 2}`, `[1]`, []string{
			`only 1 item fits, but at least 2 must (add an item that fits the schema {"type":"integer"})`,
		}},
		{"contains, too often", `{"contains": {"type": "integer"}, "maxContains": 1}`, `[1, 2]`, []string{
			`2 items fit, but at most 1 may (leave out 1 of the items that fit the schema {"type":"integer"})`,
		}},
		{"a type of several branches", `{"anyOf": [{"type": "string"}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "null"}}}`, `5`, []string{
			`expected a string or null, got the number 5 (put a string or null there)`,
		}},
		{"the branch of the right type", `{"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}]}`, `{"a": 1}`, []string{
			`at /a: expected a string, got the number 1 (write it as a string, in double quotes)`,
		}},
		{"a nullable object, wrong in a constant", `{"anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"const": 3}}}]}`, `{"a": 3, "b": 4}`, []string{
			`at /a: the number 3 is not one of the allowed values (use one of 1, 2)`,
			`at /b: expected 3, got the number 4 (make it 3)`,
		}},
		{"the branch of the right kind, wrong in an enum", `{"oneOf": [
			{"properties": {"kind": {"const": "a"}, "color": {"enum": ["red", "blue"]}}},
			{"properties": {"kind": {"const": "b"}, "color": {"enum": ["red", "blue"]}}}]}`, `{"kind": "b", "color": "pink"}`, []string{
			`at /color: the string "pink" is not one of the allowed values (use one of "red", "blue")`,
		}},
		{"branches within branches", `{"anyOf": [{"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "array", "items": {"type": "null"}}]}`, `[1]`, []string{
			`at /0: expected null, got the number 1 (put null there)`,
		}},
		{"the branch of the right kind", union, `{"kind": "square", "side": "3"}`, []string{
			`at /side: expected a number, got the string "3" (write it without quotes)`,
		}},
		{"the right kind counts more than fewer violations", union, `{"kind": "square", "radius": 3}`, []string{
			`the property "side" is missing (add the property "side" (a number))`,
		}},
		{"no kind that is known", union, `{"kind": "hexagon", "side": 3}`, []string{
			`at /kind: the string "hexagon" is not one of the allowed values (use one of "circle", "square")`,
		}},
		{"branches that can't be told apart", union, `{}`, []string{
			`an empty object fits none of the 2 alternatives (do one of these: add the properties "kind" (the value "circle"), "radius" (a number); or add the properties "kind" (the value "square"), "side" (a number))`,
		}},
		{"an enum or a type", `{"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}`, `"c"`, []string{
			`the string "c" fits none of the 2 alternatives (do one of these: use one of "a", "b"; or put null there)`,
		}},
		{"a type or an enum", `{"anyOf": [{"type": "null"}, {"const": "a"}]}`, `"c"`, []string{
			`the string "c" fits none of the 2 alternatives (do one of these: put null there; or make it "a")`,
		}},
		{"branches that differ further in", `{"anyOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"type": "null"}}}]}`, `{"a": 1, "b": 2}`, []string{
			`an object with 2 properties fits none of the 2 alternatives (do one of these: at /a put null there; or at /b put null there)`,
		}},
		{"a property whose name is a format", `{"dependentRequired": {"100%s": ["%d"]}, "additionalProperties": false, "properties": {"%v": true, "100%s": true}}`, `{"100%s": 1, "%x": 2}`, []string{
			`the property "%x" is not allowed (leave it out; allowed are "%v", "100%s")`,
			`because "100%s" is there, the property "%d" must be too (add the property "%d")`,
		}},
		{"names that are numbers and names that are not", `{"additionalProperties": {"type": "null"}}`, `{"1a": 1, "2": 1, "10": 1, "02": 1}`, []string{
			`at /02: expected null, got the number 1 (put null there)`,
			`at /2: expected null, got the number 1 (put null there)`,
			`at /10: expected null, got the number 1 (put null there)`,
			`at /1a: expected null, got the number 1 (put null there)`,
		}},
		{"a constant in the place of a container", `{"enum": [1]}`, `[1, 2]`, []string{
			`an array of 2 items is not one of the allowed values (use one of 1)`,
		}},
		{"a dependency twice", `{"dependentRequired": {"b": ["c"], "a": ["c"]}}`, `{"a": 1, "b": 2}`, []string{
			`because "a" is there, the property "c" must be too (add the property "c")`,
			`because "b" is there, the property "c" must be too (add the property "c")`,
		}},
		{"several violations of several branches", `{"anyOf": [
			{"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
			{"properties": {"a": {"type": "string"}, "b": {"const": 1}, "c": {"const": 1}}}]}`, `{"a": 0, "b": 0, "c": 0}`, []string{
			`at /a: expected null, got the number 0 (put null there)`,
			`at /b: expected null, got the number 0 (put null there)`,
			`at /c: expected null, got the number 0 (put null there)`,
		}},
		{"several violations of branches alike", `{"anyOf": [
			{"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
			{"properties": {"a": {"type": "string"}, "b": {"minimum": 1}, "c": {"maximum": -1}}}]}`, `{"a": 0, "b": 0, "c": 0}`, []string{
			`an object with 3 properties fits none of the 2 alternatives (do one of these: at /a put null there, and at /b put null there, and at /c put null there; ` +
				`or at /a write it as a string, in double quotes, and at /b make it at least 1, and at /c make it at most -1)`,
		}},
		{"several violations of an item", `{"contains": {"properties": {"a": {"type": "null"}, "b": {"type": "null"}}}}`, `[{"b": 0, "a": 0}]`, []string{
			`no item fits, but at least 1 must; at /0/a: expected null, got the number 0 (add an item that fits the schema {"properties":{"a":{"type":"null"},"b":{"type":"null"}}})`,
		}},
		{"branches that want the same", `{"anyOf": [{"required": ["a"]}, {"required": ["a"], "minProperties": 0}]}`, `{}`, []string{
			`an empty object fits none of the 2 alternatives (add the property "a")`,
		}},
		{"many branches", `{"anyOf": [{"const": 1, "minimum": 8}, {"minimum": 2}, {"minimum": 3}, {"minimum": 4}, {"minimum": 5}, {"minimum": 6}, {"minimum": 7}]}`, `0`, []string{
			`the number 0 fits none of the 7 alternatives (do one of these: make it 1; or make it at least 2; or make it at least 3; or make it at least 4; or make it at least 5; or fit one of the 2 other alternatives)`,
		}},
		{"two branches fit", `{"oneOf": [{"type": "integer"}, {"type": "string"}, {"minimum": 2}]}`, `3`, []string{
			`the number 3 fits the alternatives 1 and 3, but must fit exactly one (change it so that it fits just one of them: {"type":"integer"}; or {"minimum":2})`,
		}},
		{"JSON within a string", `{"properties": {"a": {"type": "object"}}}`, `{"a": "{\"b\": 1}"}`, []string{
			`at /a: expected an object, got the string "{\"b\": 1}" (write it as JSON, not as a string that holds JSON)`,
		}},
		{"one violation by two ways", `{"allOf": [{"$ref": "#/$defs/s"}, {"$ref": "#/$defs/s"}], "$defs": {"s": {"type": "string"}}}`, `1`, []string{
			`expected a string, got the number 1 (write it as a string, in double quotes)`,
		}},
		{"false", `false`, `1`, []string{`the number 1 is not allowed here (leave it out)`}},
		{"a pointer is escaped", `{"properties": {"a/b": {"properties": {"m~n": {"items": {"type": "null"}}}}}}`, `{"a/b": {"m~n": [null, 1]}}`, []string{
			`at /a~1b/m~0n/1: expected null, got the number 1 (put null there)`,
		}},
		{"a schema's pointer is escaped", `{"properties": {"a/b %": {"properties": {"x": true}, "additionalProperties": false}}}`, `{"a/b %": {"y": 1}}`, []string{
			`at /a~1b %: the property "y" is not allowed (leave it out; allowed are "x")`,
		}},
		// The library writes over the place of these (v6.0.3).
		{"names", `{"additionalProperties": {"propertyNames": {"pattern": "^a"}}}`, `{"one": {"a": 1}, "two": {"b": {}}, "three": {"a": {}}, "four": {"a": 1}}`, []string{
			`at /two: the property name "b" is not allowed: "b" does not match the regular expression "^a" (rename it or leave it out)`,
		}},
		{"names in several places", `{"additionalProperties": {"propertyNames": {"maxLength": 1}}}`, `{"one": {"bb": 1}, "two": {"bb": {}}}`, []string{
			`the property name "bb" is not allowed: too many characters: expected at most 1, got 2 (rename it or leave it out)`,
		}},
	} {
		s, err := validate.JSONSchema([]byte(test.schema))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var want []string
		for _, line := range test.want {
			want = append(want, "schema: "+line)
		}
		for range 10 { // the library's order is that of Go's maps
			wantLines(t, test.name, check(t, s, test.answer).Complaints, want...)
		}
	}
}

func TestSchemaCountsTheViolationsThatItDoesNotList(t *testing.T) {
	s := parse(t, `schema:{"items": {"type": "integer"}}`)
	complaints := check(t, s, "["+strings.Repeat(`"x",`, 99)+`"x"]`).Complaints
	if len(complaints) != 21 || complaints[2].Pointer != "/2" || complaints[19].Pointer != "/19" || complaints[20].Problem != "and 80 more violations of the schema" {
		t.Errorf("%q", lines(complaints))
	}
}

func TestSchemaOfAVeryLargeValueIsCheckedWithoutDetails(t *testing.T) {
	s := parse(t, `schema:{"items": {"items": {"items": {"type": "integer"}}}}`)
	large := "[[[" + strings.Repeat("1,", 170_000) + "%s]]]"
	if report := check(t, s, fmt.Sprintf(large, "1")); len(report.Complaints) > 0 || !report.Decoded {
		t.Errorf("%v", report.Complaints)
	}
	wantLines(t, "the last is wrong", check(t, s, fmt.Sprintf(large, `"1"`)).Complaints,
		"schema: the answer does not fit the schema, and is too large (170004 values) to say where (answer with a smaller value that fits the schema)")
}

func TestAValueThatBreaksTheSchemaIsDecodedAllTheSame(t *testing.T) {
	report := check(t, parse(t, `schema:{"type": "string"}`), "```\n[1]\n```")
	if len(report.Complaints) != 1 || !report.Decoded || report.Text != "[1]" {
		t.Errorf("%+v", report)
	}
}

func TestABadSchemaIsAnErrorOfTheConstructor(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.json")
	if err := os.WriteFile(outside, []byte(`{"type": "string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, schema, want string }{
		{"nothing", ``, `schema must be a JSON Schema (https://json-schema.org) without references to other documents, got nothing: line 1, column 1: the text is empty: there is no JSON in it`},
		{"no JSON", `{"type": }`, `schema must be a JSON Schema (https://json-schema.org) without references to other documents, got {"type": }: at /type: line 1, column 10: a value is missing before "}"`},
		{"fenced", "```json\n{}\n```", "there is Markdown around it"},
		{"invalid UTF-8", "{\"a\": \"\xff\"}", "not valid UTF-8"},
		{"a number", `5`, "expected true or false or an object, got the number 5"},
		{"a list", `[]`, "expected true or false or an object, got an empty array"},
		{"an unknown type", `{"properties": {"a": {"type": "text"}}}`, `at /properties/a/type: the string "text" fits none of the 2 alternatives (do one of these: use one of "array", "boolean", "integer", "null", "number", "object", "string"; or put an array there)`},
		{"a negative length", `{"minLength": -1}`, "at /minLength: -1 is less than 0"},
		{"a factor of 0", `{"multipleOf": 0}`, "at /multipleOf: 0 is not more than 0"},
		{"a lookahead", `{"pattern": "^(?!x)a"}`, `has a lookahead (?!…), which regular expressions in Go's syntax (RE2) do not have`},
		{"a lookbehind", `{"pattern": "(?<=a)b"}`, `has a lookbehind (?<=…), which`},
		{"a reference to a group", `{"pattern": "(a)\\1"}`, `has a reference \1 to a group`},
		{"a bad pattern", `{"pattern": "("}`, `at /pattern: "(" is not in the format "regex"`},
		{"a pattern of another syntax", `{"patternProperties": {"(?=a)": true}}`, "(?=a)"},
		{"a pattern of draft 4", `{"$schema": "http://json-schema.org/draft-04/schema#", "patternProperties": {"(?=a)": {}}}`, "error parsing regexp: invalid or unsupported Perl syntax"},
		{"a number no program can hold", `{"minimum": 1e99999}`, "out of range"},
		{"a property twice", `{"type": "string", "type": "number"}`, `the property "type" is there more than once`},
		{"a reference to nothing", `{"$ref": "#/$defs/nope"}`, `json-pointer in "#/$defs/nope" not found`},
		{"a reference to no anchor", `{"$ref": "#nope"}`, "nope"},
		{"a reference to itself", `{"$ref": "#"}`, "the schema's references lead back to themselves"},
		{"a reference to a file", `{"$ref": "file://` + filepath.ToSlash(outside) + `"}`, "nothing is loaded from files or from the network"},
		{"a reference to a file beside it", `{"$ref": "other.json"}`, `"other.json" is not in the schema itself, and nothing is loaded from files or from the network`},
		{"a reference to the network", `{"$ref": "http://127.0.0.1:1/schema"}`, `"http://127.0.0.1:1/schema" is not in the schema itself`},
		{"a reference to the network over TLS", `{"$ref": "https://127.0.0.1:1/schema"}`, `"https://127.0.0.1:1/schema" is not in the schema itself, and nothing is loaded from files or from the network`},
		{"a reference against an id of the network", `{"$id": "https://127.0.0.1:1/a", "items": {"$ref": "b"}}`, `"https://127.0.0.1:1/b" is not in the schema itself`},
		{"an unknown dialect", `{"$schema": "https://example.org/dialect"}`, `"https://example.org/dialect" is not in the schema itself`},
		{"a bad id", `{"$id": "%zz"}`, "error in parsing id"},
	} {
		_, err := validate.JSONSchema([]byte(test.schema))
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Check != "schema" || bad.Param != "schema" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.name, err, test.want)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%s: an error of %d bytes", test.name, len(err.Error()))
		}
	}
}

func TestASchemaMayReferToTheDocumentsGivenWithIt(t *testing.T) {
	s, err := validate.JSONSchemaWith([]byte(`{"properties": {"a": {"$ref": "address.json#/$defs/zip"}, "b": {"$ref": "https://example.org/b"}}}`), validate.SchemaOptions{
		Documents: map[string][]byte{
			"address.json":          []byte(`{"$defs": {"zip": {"pattern": "^[0-9]{5}$"}}}`),
			"https://example.org/b": []byte(`{"items": {"$ref": "c"}}`),
			"https://example.org/c": []byte(`{"type": "integer"}`),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "right", check(t, s, `{"a": "12345", "b": [1]}`).Complaints)
	wantLines(t, "wrong", check(t, s, `{"a": "1234", "b": [1, "2"]}`).Complaints,
		`schema: at /a: "1234" does not match the regular expression "^[0-9]{5}$" (write text that matches the regular expression "^[0-9]{5}$")`,
		`schema: at /b/1: expected an integer, got the string "2" (write it without quotes)`)
	for _, test := range []struct{ schema, url, document, want string }{
		{`true`, "a.json", `{`, `got invalid JSON: line 1, column 2: the JSON ends before it is complete: the object begun on line 1 is not closed`},
		{`true`, "a.json#x", `{}`, `documents["a.json#x"] must be a JSON Schema, under a URL that no other schema has, got a URL that is reserved or has a fragment`},
		{`true`, "answer", `{}`, `documents["answer"] must be a JSON Schema, under a URL that no other schema has, got a URL that is reserved or has a fragment`},
		{`true`, "%zz", `{}`, `documents["%zz"] must be a JSON Schema, under a URL that no other schema has, got an invalid URL: parse "%zz": invalid URL escape "%zz"`},
		{`true`, "http://json-schema.org/draft-07/schema", `{}`, `got a URL that is used twice: resource for "http://json-schema.org/draft-07/schema" already exists`},
		{`{"$ref": "b.json"}`, "a.json", `{}`, `"b.json" is not in the schema itself, and nothing is loaded`},
		{`{"$ref": "a.json"}`, "a.json", `{"$ref": "http://127.0.0.1:1/x"}`, `"http://127.0.0.1:1/x" is not in the schema itself, and nothing is loaded`},
		{`{"$ref": "a.json"}`, "a.json", `{"type": "text"}`, `got another JSON value: at /type: the string "text" fits none of the 2 alternatives (do one of these: use one of "array", "boolean", "integer", "null"`},
	} {
		_, err := validate.JSONSchemaWith([]byte(test.schema), validate.SchemaOptions{Documents: map[string][]byte{test.url: []byte(test.document)}})
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Check != "schema" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.url, err, test.want)
		}
	}
}

// Two properties that refer to each other are no value's fault.
func TestASchemaWhoseReferencesGoInCirclesIsAFailedCheck(t *testing.T) {
	s := parse(t, `schema:{"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}`)
	report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{Text: `{"a": 1}`}, 0)
	if len(report.Complaints) != 0 || len(report.Failed) != 1 || !strings.Contains(report.Failed[0].Error(), "lead back to themselves") {
		t.Errorf("%+v", report)
	}
}

func TestSchemaServesManyGoroutinesAtOnce(t *testing.T) {
	s := parse(t, "schema:"+tenFields)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for range 20 {
				text, wrong := tenValues, 0
				if i%2 == 0 {
					text, wrong = `{"id": 1}`, 2
				}
				if got := check(t, s, text).Complaints; len(got) != wrong {
					t.Errorf("%v", got)
				}
			}
		})
	}
	group.Wait()
}

// What a schema accepts, it accepts in a fence too; what it refuses has a place
// that is in the value.
func TestSchemaComplaintsPointIntoTheValue(t *testing.T) {
	schemas := []string{
		`{"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}`,
		`{"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "string", "maxLength": 3}, {"type": "null"}]}`,
		`{"type": ["array", "object"], "items": {"minimum": 0}, "minItems": 1, "uniqueItems": true, "propertyNames": {"maxLength": 2}}`,
	}
	var checks []validate.Strategy
	for _, schema := range schemas {
		checks = append(checks, parse(t, "schema:"+schema))
	}
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		s := rapid.SampledFrom(checks).Draw(t, "check")
		report := check(t, s, string(text))
		if fenced := check(t, s, "```json\n"+string(text)+"\n```"); !slices.Equal(report.Complaints, fenced.Complaints) {
			t.Fatalf("%s: %v, and fenced %v", text, report.Complaints, fenced.Complaints)
		}
		for _, c := range report.Complaints {
			if c.Problem == "" || !leads(report.Value, c.Pointer) {
				t.Fatalf("%s: %+v", text, c)
			}
		}
	})
}

// leads tells whether a JSON pointer leads to something.
func leads(value any, pointer string) bool {
	if pointer == "" {
		return true
	}
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := value.(type) {
		case map[string]any:
			inner, ok := v[token]
			if !ok {
				return false
			}
			value = inner
		case []any:
			var i int
			if n, err := fmt.Sscan(token, &i); n != 1 || err != nil || i < 0 || i >= len(v) {
				return false
			}
			value = v[i]
		default:
			return false
		}
	}
	return true
}

func FuzzSchema(f *testing.F) {
	for _, seed := range [][2]string{
		{tenFields, tenValues},
		{`{"type": "object", "required": ["a"]}`, `{"b": 1}`},
		{`{"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"minimum": 3}}}`, `1`},
		{`{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": {"required": ["b"]}}}`, `{"a": 1e99}`},
		{`{"propertyNames": {"pattern": "^a"}, "unevaluatedProperties": false}`, `{"b": [0e1], "a": 1}`},
		{`{"oneOf": [{"const": 1}, {"enum": [1, 2]}], "not": {"multipleOf": 0.3}}`, `1`},
		{`{"contains": {"format": "date"}, "minContains": 2, "uniqueItems": true}`, `["2026-01-31", {}, {}]`},
		{`{"$dynamicRef": "#a", "$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}`, `[[]]`},
		{`{"$id": "http://json-schema.org/draft-07/schema"}`, `1`},
		{`{"$ref": "#"}`, `1`},
		{`true`, "```\nnull\n```"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, schema, answer string) {
		s, err := validate.JSONSchema([]byte(schema))
		if err != nil {
			if len(err.Error()) > 40_000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{Text: answer}, 0)
		for _, failed := range report.Failed {
			if failed.Panicked || !strings.Contains(failed.Error(), "lead back to themselves") {
				t.Fatalf("%s on %s: %v", schema, answer, failed)
			}
		}
		if len(report.Complaints) > 21 {
			t.Fatalf("%d complaints", len(report.Complaints))
		}
		for _, c := range report.Complaints {
			if c.Problem == "" || len(c.String()) > 20_000 {
				t.Fatalf("%s on %s: %+v", schema, answer, c)
			}
			if report.Decoded && len(c.Pointer) < 200 && !leads(report.Value, c.Pointer) {
				t.Fatalf("%s on %s: no place %q", schema, answer, c.Pointer)
			}
		}
	})
}

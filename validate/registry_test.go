package validate_test

import (
	"encoding/json"
	"errors"
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/validate"
)

func TestEveryListedCheckCanBeMade(t *testing.T) {
	names := map[string]bool{}
	for _, info := range validate.Checks() {
		s, err := validate.Parse(info.Example)
		if err != nil {
			t.Errorf("the example of %s: %v", info.Name, err)
			continue
		}
		if s.Name() != info.Name {
			t.Errorf("%s is named %s", info.Name, s.Name())
		}
		if info.Summary == "" {
			t.Errorf("%s has no summary", info.Name)
		}
		required := false
		for _, p := range info.Params {
			required = required || p.Required
			if p.Name == "" || p.Type == "" || p.Meaning == "" {
				t.Errorf("%s: %+v", info.Name, p)
			}
		}
		for _, name := range append(info.Aliases, info.Name) {
			if names[name] {
				t.Errorf("two checks are named %s", name)
			}
			names[name] = true
			s, err := validate.Build(name, nil)
			// These must be given one parameter or another.
			either := slices.Contains([]string{"length", "word_count", "sentence_count", "quotes"}, info.Name)
			if needs := required || either; needs != (err != nil) {
				t.Errorf("%s without parameters: %v", name, err)
			}
			if err == nil && s.Name() != info.Name {
				t.Errorf("%s is named %s", name, s.Name())
			}
		}
	}
	for _, name := range []string{"not_empty", "response_not_empty", "json", "json_string", "schema", "length", "regex", "contains", "field_present", "all", "any", "not"} {
		if !names[name] {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestParseTakesTheMainArgumentAsItIs(t *testing.T) {
	for _, test := range []struct{ spec, pass, fail string }{
		{"length:3..5", "abc", "ab"},
		{"length: 3..5 ", "abc", "abcdef"},
		{"length:3..", "abc", "ab"},
		{"length:..5", "", "abcdef"},
		{`length:{"min_length": 3}`, "abc", "ab"},
		{`length: {"max_length": 3.0}`, "abc", "abcd"},
		{`length:{"min_length": 0, "max_length": 3}`, "", "abcd"},
		{"regex:^a:b$", "a:b", "a"},
		{"regex:{a", "{a", "a"},
		{`regex:{"pattern": "^a"}`, "a", "b"},
		{`regex:{"patern": "a"}`, `{"patern": "a"}`, "a"}, // no parameter's name: a pattern
		{`regex:{}`, "{}", "a"},
		{"contains:Berlin", "berlin", "Bern"},
		{`contains:{"a": 1}`, `x{"a": 1}`, "x"},
		{`contains:{"required_text": ["a", "b"]}`, "ab", "a"},
		{`schema:{"type": "string"}`, `"a"`, "1"},
		{`schema:{"schema": {"type": "string"}}`, `"a"`, "1"},
		{`schema:{"schema": 1, "type": "string"}`, `"a"`, "1"}, // an unknown keyword of a schema
		{"schema:false", "", "1"},
		{"schema:{}", "1", "x"},
		{`all:["json", "length:2.."]`, "12", "1"},
		{`all:{"checks": ["json", {"type": "length", "params": {"min_length": 2}}]}`, "12", "1"},
		{`any:[ {"type": "json", "params": null}, "regex:^a" ]`, "a", "b"},
		{"not:regex:^a", "b", "a"},
		{`not:{"check": {"type": "json_string"}, "problem": "p"}`, "b", "1"},
		{" json_string ", "1", "x"},
		{`json:{"repair": true}`, "{a: 1}", "{a: 1"},
		{`json:{"repair": false}`, `{"a": 1}`, "{a: 1}"},
		{`schema:{"schema": {"type": "object"}, "repair": true}`, "{a: 1}", "[1,]"},
		{`schema:{"schema": {"$ref": "a.json"}, "documents": {"a.json": {"type": "null"}}}`, "null", "1"},
		{"field_present:a.b", `{"a": {"b": null}}`, `{"a": {}}`},
		{`field_present:{"field_name": "a", "should_exist": false}`, `{}`, `{"a": null}`},
		{`field_present:{"field_name": "a", "should_exist": true, "expected_value": null}`, `{"a": null}`, `{"a": 0}`},
		{`field_present:{"field_name": "a", "expected_value": {"x": [1.0, "y"]}}`, `{"a": {"x": [1, "y"]}}`, `{"a": {"x": [1]}}`},
		{"response_not_empty", "x", " "},
	} {
		s := parse(t, test.spec)
		if test.spec != "schema:false" {
			wantLines(t, test.spec+" of "+test.pass, check(t, s, test.pass).Complaints)
		}
		if report := check(t, s, test.fail); len(report.Complaints) != 1 {
			t.Errorf("%s of %s: %v", test.spec, test.fail, report.Complaints)
		}
	}
}

func TestParseAndBuildSayWhatTheyTake(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                     `unknown check "": known are all, any, at, contains, field_present, format, is_liked, json, json_schema, json_string, length, modelled`,
		"lenght:3..":                           `unknown check "lenght", did you mean length?`,
		"length":                               `check "length": min_length or max_length must be a whole number of at least 1, got no limit`,
		"length:":                              `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got ""`,
		"length:200":                           `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "200"`,
		"length:..":                            `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got ".."`,
		"length:0..":                           `min_length or max_length must be a whole number of at least 1, got no limit`,
		"length:a..b":                          `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "a..b"`,
		"length:-1..3":                         `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "-1..3"`,
		"length:1..2..3":                       `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "1..2..3"`,
		"length:99999999999999999999..":        `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "99999999999999999999.."`,
		"length:5..3":                          `check "length": min_length must be at most max_length (3), got 5`,
		`length:{"least": 3}`:                  `check "length": least: unknown parameter: known are min_length, max_length`,
		`length:{"min_length": 3, "most": 5}`:  `check "length": most: unknown parameter: known are min_length, max_length`,
		`length:{"min_length": -3}`:            `check "length": min_length must be a whole number of at least 0, got -3`,
		`length:{"min_length": "3"}`:           `check "length": min_length must be a whole number of at least 0, got "3"`,
		`length:{"min_length": 1.5}`:           `min_length must be a whole number of at least 0, got 1.5`,
		`length:{"min_length": 1e300}`:         `min_length must be a whole number of at least 0, got 1e300`,
		`length:{"max_length": 0}`:             `max_length must be a whole number of at least 1, got 0`,
		`length:{"max_length": true}`:          `max_length must be a whole number of at least 1, got true`,
		`length:{"min_length": 1,}`:            `range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "{\"min_length\": 1,}"`,
		"regex":                                `check "regex": pattern must be a non-empty regular expression in Go's syntax (RE2), got nothing`,
		"regex:":                               `check "regex": pattern must be a non-empty regular expression in Go's syntax (RE2), got ""`,
		"regex:(":                              "check \"regex\": pattern must be a non-empty regular expression in Go's syntax (RE2), got \"(\": error parsing regexp: missing closing ): `(`",
		`regex:{"pattern": 5}`:                 `check "regex": pattern must be a non-empty regular expression in Go's syntax (RE2), got 5`,
		"contains":                             `check "contains": required_text must be a string or a list of strings, got nothing`,
		"contains:":                            `check "contains": required_text[0] must be a non-empty string, got ""`,
		`contains:{"required_text": []}`:       `required_text must be a string or a list of at least one string, got an empty list`,
		`contains:{"required_text": ["a", 5]}`: `check "contains": required_text[1] must be a string, got 5`,
		`contains:{"required_text": {"a": 5}}`: `required_text must be a string or a list of strings, got {"a":5}`,
		`contains:{"required_text": "a", "case_sensitive": "yes"}`: `check "contains": case_sensitive must be true or false, got "yes"`,
		"schema":                     `check "schema": schema must be a JSON Schema: an object or a boolean`,
		"schema:":                    `check "schema": schema must be a JSON Schema: an object or a boolean, got "": line 1, column 1: the text is empty: there is no JSON in it`,
		"schema:person.json":         `check "schema": schema must be a JSON Schema`,
		"schema:[1]":                 `check "schema": schema must be a JSON Schema: an object or a boolean`,
		`schema:{"type": "text"}`:    `got {"type":"text"}: at /type: the string "text" fits none of the 2 alternatives (do one of these: use one of "array", "boolean", "integer", "null", "`,
		`schema:{"schema": 5}`:       `check "schema": schema must be `,
		"json:":                      `check "json": arguments must be left out, or a JSON object of parameters, got ""`,
		"json:x":                     `check "json": arguments must be left out, or a JSON object of parameters, got "x"`,
		"json:{}":                    "",
		`json:{"strict": true}`:      `check "json": strict: unknown parameter: known are repair`,
		`not_empty:{"strict": true}`: `check "not_empty": strict: unknown parameter: the check has none`,
		`json:{"repair": 1}`:         `check "json": repair must be true or false, got 1`,
		`schema:{"schema": true, "repair": "no"}`:                            `check "schema": repair must be true or false, got "no"`,
		`schema:{"schema": true, "documents": []}`:                           `check "schema": documents must be an object of JSON Schemas by their URL`,
		`schema:{"schema": true, "documents": {"a.json": 5}}`:                `check "schema": documents["a.json"] must be a JSON Schema: an object or a boolean, got 5`,
		`schema:{"schema": {"$ref": "b.json"}, "documents": {"a.json": {}}}`: `"b.json" is not in the schema itself`,
		"field_present":                   `, got nothing`,
		"field_present:":                  `, got "": it is empty`,
		`field_present:{"field_name": 5}`: `, got 5`,
		`field_present:{"field_name": "a", "should_exist": "no"}`:                          `should_exist must be true or false, got "no"`,
		`field_present:{"field_name": "a", "should_exist": false, "expected_value": null}`: `expected_value must be unset if should_exist is false, got null`,
		"all":                                 `check "all": checks must be a list of at least one check, each a string ("length:3..200") or a mapping ({length: {max: 200}}), got nothing`,
		"all:[]":                              `check "all": checks must be at least one check, got an empty list`,
		"all:json":                            `got "json": line 1, column 1: the text is not JSON: "json"`,
		`all:"json"`:                          `check "all": checks must be a list of at least one check, each a string ("length:3..200") or a mapping ({length: {max: 200}}), got "\"json\""`,
		`all:[5]`:                             `check "all": checks[0] must be a string ("length:3..200") or a mapping ({length: {max: 200}}, {contains: Berlin}, {type: length, max_length: 200}), got 5`,
		`any:["json", "nope"]`:                `check "any": checks[1]: unknown check "nope"`,
		`any:[{"type": "nope"}]`:              `check "any": checks[0]: unknown check "nope"`,
		`any:[{"params": {}}]`:                `{type: length, max_length: 200}), got {"params":{}}`,
		`any:[{"type": "json", "params": 5}]`: `check "json": params must be a mapping of parameters, got 5`,
		`any:[{"type": "json", "parms": {}}]`: `check "any": checks[0]: check "json": parms: unknown parameter: known are repair`,
		`any:[{"type": "length", "params": {"x":1}}]`: `check "any": checks[0]: check "length": x: unknown parameter: known are min_length, max_length`,
		`any:{"checks": "json"}`:                      `check "any": checks must be a list of at least one check, each a string ("length:3..200") or a mapping ({length: {max: 200}}), got "json"`,
		"not":                                         `check "not": check must be a check, got nothing`,
		"not:":                                        `check "not": check: unknown check ""`,
		"not:length:200":                              `check "not": check: check "length": range must be 3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}, got "200"`,
		`not:{"check": "json", "problem": 5}`:         `check "not": problem must be a string, got 5`,
		`not:{"check": "json", "suggestion": 5}`:      `check "not": suggestion must be a string, got 5`,
		strings.Repeat("not:", 100_000) + "json":      `check must be nested at most 16 deep, got more`,
	} {
		_, err := validate.Parse(spec)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", spec, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
			t.Errorf("%.100s: %.1000v\nwant %s", spec, err, want)
		}
	}
}

// YAML and JSON decode a number into many types.
func TestBuildTakesNumbersOfEachDecoder(t *testing.T) {
	for _, three := range []any{3, int8(3), int64(3), uint(3), uint64(3), 3.0, float32(3), json.Number("3"), json.Number("3.0"), json.Number("3e0")} {
		s, err := validate.Build("length", map[string]any{"min_length": three, "max_length": nil})
		if err != nil {
			t.Errorf("%T: %v", three, err)
			continue
		}
		if len(check(t, s, "abc").Complaints) != 0 || len(check(t, s, "ab").Complaints) != 1 {
			t.Errorf("%T is not 3", three)
		}
	}
	if _, err := validate.Build("nope", nil); err == nil || !strings.Contains(err.Error(), `unknown check "nope": known are all, any, at, `) {
		t.Errorf("an unknown check: %v", err)
	}
	for _, none := range []any{"3", true, []any{3}, 3.5, math.NaN(), math.Inf(1), uint64(math.MaxUint64), json.Number("x"), json.Number("1e999"), map[any]any{1: 2}, func() {}} {
		_, err := validate.Build("length", map[string]any{"min_length": none})
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Param != "min_length" || bad.Takes != "a whole number of at least 0" {
			t.Errorf("%T: %v", none, err)
		}
	}
}

func TestParamErrorUnwrapsToItsCause(t *testing.T) {
	_, err := validate.Regex("(")
	var syntax *syntax.Error
	if !errors.As(err, &syntax) {
		t.Errorf("%v", err)
	}
}

func TestBuildTakesWhatYAMLDecodes(t *testing.T) {
	s, err := validate.Build("all", map[string]any{"checks": []map[string]any{
		{"type": "contains", "params": map[string]any{"required_text": []string{"a", "b"}}},
		{"type": "schema", "params": map[string]any{"schema": map[string]any{"type": "array", "minItems": uint64(2)}}},
		{"type": "schema", "params": map[string]any{"schema": true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "right", check(t, s, `["a", "b"]`).Complaints)
	if got := check(t, s, `["a"]`).Complaints; len(got) != 2 {
		t.Errorf("%v", got)
	}
	for _, schema := range []any{map[any]any{1: 2}, map[string]any{"minimum": math.NaN()}, "{}", 5, nil} {
		_, err := validate.Build("schema", map[string]any{"schema": schema})
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Param != "schema" {
			t.Errorf("%v: %v", schema, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, info := range validate.Checks() {
		f.Add(info.Example)
		for _, name := range info.Aliases {
			f.Add(name)
		}
	}
	for _, seed := range []string{
		"", ":", "length:200", `length:{"min_length": 3, "max_length": 1e2}`, "regex:(?i)^a{2,3}$", `regex:{"pattern": "a"}`, "regex:((((a{99}){99}){99}",
		`contains:{"required_text": ["a", "ß"], "case_sensitive": true}`, `all:[{"type": "not", "params": {"check": "any:[\"json\"]"}}]`,
		"not:not:not:not_empty", "schema:true", `schema:{"schema": {"$ref": "#"}}`, "contains:\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := validate.Parse(spec)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		for _, text := range []string{"", "Berlin", `{"a": [1, "x"]}`, "\xff"} {
			report := validate.Run(t.Context(), []validate.Strategy{s}, &validate.Answer{Text: text, Request: llm.Prompt("x")}, 0)
			for _, failed := range report.Failed {
				if failed.Panicked || !strings.Contains(failed.Error(), "lead back to themselves") {
					t.Fatalf("%s on %q: %v", spec, text, failed)
				}
			}
		}
	})
}

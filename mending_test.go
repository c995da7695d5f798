package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"llmcall"
	"llmcall/chaos"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/openai"
	"llmcall/validate"
	_ "llmcall/validate/standard"
)

// schemaOf is a check by a JSON Schema.
func schemaOf(schema string) string { return "schema:" + schema }

// mending is a wrong answer, and the checks that complain of it.
type mending struct {
	name     string
	checks   []string
	first    string // the wrong answer
	attempts int    // attempts until an answer passes; 0: 2
	schema   string // of the request; "": none
}

// mendings are wrong answers of each kind, and the checks that complain of them.
// The practice model knows nothing of the checks; it has their complaints alone.
var mendings = []mending{
	{name: "not_empty", checks: []string{"not_empty"}, first: "\n"},
	{name: "response_not_empty", checks: []string{"response_not_empty"}, first: " \u200b"},
	{name: "length, too short", checks: []string{"length:80..100"}, first: "short"},
	{name: "length, too long", checks: []string{"length:..20"}, first: "Berlin is the capital of Germany, and has been for long."},
	{name: "contains", checks: []string{"contains:Berlin"}, first: "It is a city."},
	{name: "contains, several", checks: []string{`contains:{"required_text": ["Berlin", "Rome"]}`}, first: "Berlin."},
	{name: "regex", checks: []string{"regex:^[A-Z]{3}-[0-9]{4}$"}, first: "the number is ABC-12"},
	{name: "regex, with a backslash", checks: []string{`regex:^\d{3} "km"$`}, first: "far"},
	{name: "word_count, too few", checks: []string{"word_count:50..60"}, first: "Too few words."},
	{name: "word_count, too many", checks: []string{"word_count:..3"}, first: "These are more words than three."},
	{name: "sentence_count, too few", checks: []string{"sentence_count:3..4"}, first: "One sentence."},
	{name: "sentence_count, too many", checks: []string{"sentence_count:..2"}, first: "One. Two. Three. Four."},
	{name: "two checks at once", checks: []string{"word_count:8..", "contains:Berlin"}, first: "It is a city."},

	{name: "one_of", checks: []string{"one_of:positive, negative"}, first: "no idea"},
	{name: "one_of, in other letters", checks: []string{"one_of:positive, negative"}, first: `"Positive."`},
	{name: "one_of, among words", checks: []string{"one_of:positive, negative"}, first: "It is negative, I think"},
	{name: "one_of, misspelt", checks: []string{"one_of:positive, negative"}, first: "positve"},
	{name: "number, too large", checks: []string{"number:0..100"}, first: "150"},
	{name: "number, too small", checks: []string{`number:{"exclusive_min": 3, "integer": true}`}, first: "3"},
	{name: "number, in words", checks: []string{"number:1..5"}, first: "a lot"},
	{name: "number, with a unit", checks: []string{"number_range:1..5"}, first: "4 stars"},
	{name: "number, not whole", checks: []string{`number:{"min": 1, "max": 5, "integer": true}`}, first: "2.5"},

	{name: "json, of prose", checks: []string{"json"}, first: "Certainly! It is sunny."},
	{name: "json, in prose", checks: []string{"json", "field_present:a"}, first: `Here it is: {"a": 1}. Enjoy!`},
	{name: "json_string, a comma too many", checks: []string{"json_string", "field_present:a"}, first: `{"a": [1, 2,],}`},
	{name: "json, a comma missing", checks: []string{"json", "field_present:b"}, first: `{"a": 1 "b": 2}`},
	{name: "json, a colon missing", checks: []string{"json", "field_present:a"}, first: `{"a" 1}`},
	{name: "json, a comment", checks: []string{"json", "field_present:a"}, first: "{\"a\": \"http://x.org\" // a place\n}"},
	{name: "json, single quotes", checks: []string{"json", "field_present:a"}, first: `{'a': 'b'}`},
	{name: "json, typographic quotes", checks: []string{"json", "field_present:a"}, first: `{“a”: “b”}`},
	{name: "json, names without quotes", checks: []string{"json", "field_present:a"}, first: `{a: 1, b: 2}`},
	{name: "json, Python's words", checks: []string{"json", "field_present:a"}, first: `{"a": True, "b": "True"}`},
	{name: "json, None", checks: []string{"json", "field_present:a"}, first: `{"a": None}`},
	{name: "json, NaN", checks: []string{"json", "field_present:a"}, first: `{"a": NaN}`},
	{name: "json, a property twice", checks: []string{"json", "field_present:a"}, first: `{"a": 1, "a": 2}`},
	{name: "json, a line break in a string", checks: []string{"json", "field_present:a"}, first: "{\"a\": \"b\nc\"}"},
	{name: "json, leading zeros", checks: []string{"json", "field_present:a"}, first: `{"a": 007}`},
	{name: "json, a value missing", checks: []string{"json", "field_present:a"}, first: `{"a": }`},
	{name: "json, a bracket too many", checks: []string{"json", "field_present:a"}, first: `{"a": 1}}`},
	{name: "json, two values", checks: []string{"json", "field_present:a"}, first: `{"a": 1} {"b": 2}`},
	{name: "json, cut off", checks: []string{"json"}, first: `{"a": [1, 2`},
	{name: "json, that repairs", checks: []string{`json:{"repair": true}`}, first: `{"a": [1, 2`},

	{name: "schema, a property missing", checks: []string{schemaOf(`{"required": ["age"], "properties": {"age": {"type": "integer"}}}`)}, first: `{}`},
	{name: "schema, properties of many kinds", checks: []string{schemaOf(`{"required": ["a", "b", "c", "d", "e", "f", "g"], "properties": {
		"a": {"type": "number"}, "b": {"type": "boolean"}, "c": {"type": "array"}, "d": {"type": "object"},
		"e": {"enum": ["x (y)", "z"]}, "f": {"const": 3}, "g": {"type": "string", "format": "date"}}}`)}, first: `{}`},
	{name: "schema, another type", checks: []string{schemaOf(`{"properties": {"n": {"type": "integer"}}}`)}, first: `{"n": "three"}`},
	{name: "schema, a number in quotes", checks: []string{schemaOf(`{"properties": {"n": {"type": "integer"}}}`)}, first: `{"n": "3"}`},
	{name: "schema, true in quotes", checks: []string{schemaOf(`{"properties": {"n": {"type": "boolean"}}}`)}, first: `{"n": "true"}`},
	{name: "schema, JSON in quotes", checks: []string{schemaOf(`{"properties": {"n": {"type": "object"}}}`)}, first: `{"n": "{\"a\": 1}"}`},
	{name: "schema, a string without quotes", checks: []string{schemaOf(`{"properties": {"n": {"type": "string"}}}`)}, first: `{"n": 3}`},
	{name: "schema, null", checks: []string{schemaOf(`{"properties": {"n": {"type": ["string", "null"]}}}`)}, first: `{"n": []}`},
	{name: "schema, enum", checks: []string{schemaOf(`{"properties": {"n": {"enum": ["a", "b"]}}}`)}, first: `{"n": "c"}`},
	{name: "schema, const", checks: []string{schemaOf(`{"properties": {"n": {"const": {"a": [1, null]}}}}`)}, first: `{"n": 1}`},
	{name: "schema, const that is long", checks: []string{schemaOf(fmt.Sprintf(`{"properties": {"n": {"const": %q}}}`, strings.Repeat("long ", 40)))}, first: `{"n": 1}`},
	{name: "schema, pattern", checks: []string{schemaOf(`{"properties": {"n": {"pattern": "^[a-z]{5}$"}}}`)}, first: `{"n": "ABC"}`},
	{name: "schema, minLength", checks: []string{schemaOf(`{"properties": {"n": {"minLength": 30}}}`)}, first: `{"n": "ABC"}`},
	{name: "schema, maxLength", checks: []string{schemaOf(`{"properties": {"n": {"maxLength": 3}}}`)}, first: `{"n": "ABCD"}`},
	{name: "schema, format", checks: []string{schemaOf(`{"properties": {"n": {"format": "date"}}}`)}, first: `{"n": "tomorrow"}`},
	{name: "schema, format without an example", checks: []string{schemaOf(`{"properties": {"n": {"format": "json-pointer"}}}`)}, first: `{"n": "a/b"}`},
	{name: "schema, minimum", checks: []string{schemaOf(`{"properties": {"n": {"minimum": 3.5}}}`)}, first: `{"n": 1}`},
	{name: "schema, exclusiveMaximum", checks: []string{schemaOf(`{"properties": {"n": {"exclusiveMaximum": 3}}}`)}, first: `{"n": 3}`},
	{name: "schema, multipleOf", checks: []string{schemaOf(`{"properties": {"n": {"multipleOf": 5, "minimum": 3}}}`)}, first: `{"n": 8}`},
	{name: "schema, minItems", checks: []string{schemaOf(`{"minItems": 3, "items": {"type": "integer"}, "uniqueItems": true}`)}, first: `[]`},
	{name: "schema, minItems of any kind", checks: []string{schemaOf(`{"minItems": 3}`)}, first: `[{"a": 1}]`},
	{name: "schema, maxItems", checks: []string{schemaOf(`{"maxItems": 1}`)}, first: `[1, 2, 3]`},
	{name: "schema, uniqueItems", checks: []string{schemaOf(`{"uniqueItems": true}`)}, first: `[1, 2, 1]`},
	{name: "schema, items that are not allowed", checks: []string{schemaOf(`{"prefixItems": [true], "items": false}`)}, first: `[1, 2, 3]`},
	{name: "schema, contains", checks: []string{schemaOf(`{"contains": {"type": "integer", "minimum": 5}}`)}, first: `["a"]`},
	{name: "schema, minContains", checks: []string{schemaOf(`{"contains": {"type": "integer"}, "minContains": 3}`)}, first: `["a", 1]`},
	{name: "schema, maxContains", checks: []string{schemaOf(`{"contains": {"type": "integer"}, "maxContains": 1}`)}, first: `["a", 1, 2, 3]`},
	{name: "schema, minProperties", checks: []string{schemaOf(`{"minProperties": 2}`)}, first: `{"a": 1}`},
	{name: "schema, maxProperties", checks: []string{schemaOf(`{"maxProperties": 1}`)}, first: `{"a": 1, "b": 2, "c": 3}`},
	{name: "schema, a property too many", checks: []string{schemaOf(`{"properties": {"a": true}, "additionalProperties": false}`)}, first: `{"a": 1, "b": 2, "c": 3}`},
	{name: "schema, a property's name", checks: []string{schemaOf(`{"propertyNames": {"pattern": "^[a-z]$"}}`)}, first: `{"a": 1, "B2": 2}`},
	{name: "schema, a place for nothing", checks: []string{schemaOf(`{"properties": {"a": false}}`)}, first: `{"a": 1, "b": 2}`},
	{name: "schema, a dependent property", checks: []string{schemaOf(`{"dependentRequired": {"a": ["b"]}}`)}, first: `{"a": 1}`},
	{name: "schema, not", checks: []string{schemaOf(`{"properties": {"n": {"not": {"enum": ["a", "b"]}}}}`)}, first: `{"n": "a"}`},
	{name: "schema, anyOf", checks: []string{schemaOf(`{"anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}`)}, first: `{}`},
	{name: "schema, oneOf, none fits", checks: []string{schemaOf(`{"properties": {"n": {"oneOf": [{"type": "object"}, {"type": "array"}]}}}`)}, first: `{"n": "x"}`},
	{name: "schema, oneOf, two fit", checks: []string{schemaOf(`{"properties": {"n": {"oneOf": [{"type": "integer"}, {"minimum": 2}]}}}`)}, first: `{"n": 3}`},
	{name: "schema, several places", checks: []string{schemaOf(`{"required": ["id"], "properties": {"id": {"type": "string"}, "list": {"items": {"maximum": 3}}}}`)}, first: `{"list": [1, 9, 5]}`},
	{name: "schema, in a fence of prose", checks: []string{schemaOf(`{"required": ["a"]}`)}, first: "Sure:\n```json\n{\"b\": 1}\n```\nDone.", attempts: 3},

	{name: "request_schema", checks: []string{"request_schema"}, first: `{"n": "three"}`,
		schema: `{"type": "object", "required": ["n"], "additionalProperties": false, "properties": {"n": {"type": "integer"}}}`},

	{name: "field_present", checks: []string{"field_present:person.email"}, first: `{"person": {"name": "Ada"}}`},
	{name: "field_present, spelt otherwise", checks: []string{"field_present:home_town"}, first: `{"homeTown": "Bonn"}`},
	{name: "field_present, with a value", checks: []string{`field_present:{"field_name": "status", "expected_value": "ok"}`}, first: `{}`},
	{name: "field_present, of another value", checks: []string{`field_present:{"field_name": "status", "expected_value": "ok"}`}, first: `{"status": "bad"}`},
	{name: "field_present, that must not be", checks: []string{`field_present:{"field_name": "a.b", "should_exist": false}`}, first: `{"a": {"b": 1, "c": 2}}`},
	{name: "field_present, of an item", checks: []string{"field_present:list[1]"}, first: `{"list": ["a"]}`},
	{name: "field_present, of no array", checks: []string{"field_present:list[0]"}, first: `{"list": 1}`, attempts: 3},
	{name: "at, one_of", checks: []string{"at:/mood one_of:good, bad"}, first: `{"mood": "fine"}`},
	{name: "at, number", checks: []string{"at:/n number:1..3"}, first: `{"n": 4}`},
	{name: "at, nothing there", checks: []string{"at:/person/email format:email"}, first: `{"a": 1}`},
	{name: "at, words", checks: []string{"at:/text word_count:12.."}, first: `{"text": "Few words."}`},
	{name: "at, a secret", checks: []string{"at:/note no_secrets"}, first: `{"note": "pay with 4111 1111 1111 1111"}`},
	{name: "all", checks: []string{`all:["contains:Berlin", "length:..60"]`}, first: "It is a city."},
	{name: "any", checks: []string{`any:["one_of:yes, no", "number"]`}, first: "perhaps"},
	{name: "any, within JSON", checks: []string{`any:["at:/a format:email", "at:/b number"]`}, first: `{"a": "x"}`},
	{name: "not, contains", checks: []string{"not:contains:sorry"}, first: "I'm sorry, but I can."},
	{name: "not, regex", checks: []string{"not:regex:[0-9]"}, first: "It costs 5 euros."},
	{name: "not, one_of", checks: []string{"not:one_of:unknown, none"}, first: "unknown"},
	{name: "not, json", checks: []string{"not:json"}, first: `{"a": 1}`},
	{name: "expression, equal", checks: []string{`expression:answer.state == "done"`}, first: `{"state": "open"}`},
	{name: "expression, size", checks: []string{"expression:size(answer.items) >= 2"}, first: `{"items": ["a"]}`},
	{name: "expression, with words of its own", checks: []string{`expression:{"expression": "text.startsWith('A')", "suggestion": "answer with text that matches the regular expression \"^A\""}`}, first: "B"},

	{name: "no_secrets, a card's number", checks: []string{"no_secrets"}, first: "Pay with 4111 1111 1111 1111, or 5555 5555 5555 4444, today."},
	{name: "no_secrets, a token", checks: []string{"no_secrets"}, first: "The key:\n`" + "AKIA" + "QYLPMN5HHHFPZAM2" + "` is secret."},
	{name: "no_secrets, an IBAN", checks: []string{"no_secrets"}, first: "To DE89 3704 0044 0532 0130 00 please."},
	{name: "quotes", checks: []string{`quotes:{"sources": ["All animals are equal, but some animals are more equal than others."]}`}, first: `He wrote “all animals are the same, but some animals are more so” and left.`},
	{name: "quotes, of nothing like it", checks: []string{`quotes:{"sources": ["All animals are equal."]}`}, first: `He wrote “the weather was fine today” and left.`},
	{name: "quotes, in JSON", checks: []string{`quotes:{"sources": ["All animals are equal, but some animals are more equal than others."]}`}, first: `{"said": "He wrote “all animals are the same”."}`},

	{name: "code, prose", checks: []string{"python"}, first: "I would write a loop."},
	{name: "sql", checks: []string{"sql"}, first: "SELEC 1"},
	{name: "sql, of one server", checks: []string{"sql:postgres"}, first: "SELEC 1"},
	{name: "sql, cut off", checks: []string{"sql"}, first: "```sql\nSELECT"},
	{name: "sql_safe", checks: []string{"sql_safe"}, first: "DELETE FROM t"},
	{name: "sql_safe, other kinds", checks: []string{"sql_safe:insert, update"}, first: "DROP TABLE t"},
	{name: "sql_safe, a comment that is executed", checks: []string{"sql_safe"}, first: "SELECT 1 /*! + 1 */"},
	{name: "openapi_spec, prose", checks: []string{"openapi_spec"}, first: "Here is your API."},
	{name: "openapi_spec, without a version", checks: []string{"openapi_spec"}, first: `{"info": {}}`},
	{name: "openapi_spec, a field missing", checks: []string{"openapi_spec"}, first: "openapi: 3.0.1\npaths: {}\n"},
	{name: "agent_task", checks: []string{`agent_task:{"task_prompt": "It is polite.", "validation_model": "acme/critic"}`}, first: "It comes on Sunday."},
	{name: "ai_contradiction_check", checks: []string{`ai_contradiction_check:{"topic_context": "We deliver on weekdays.", "validation_model": "acme/critic"}`}, first: "It comes on Sunday."},
	{name: "openapi_spec, 2.0", checks: []string{"openapi_spec"}, first: `{"swagger": "2.0", "paths": {}}`},
}

// openCritic opens a judge that wants a word in every answer.
func openCritic(name string) (llm.Model, error) {
	return llm.Func(name, func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if strings.Contains(req.Messages[len(req.Messages)-1].Text(), "Dear customer") {
			return llm.Reply(`{"reasons": [], "passed": true}`), nil
		}
		return llm.Reply(`{"reasons": [{"problem": "nobody is greeted", "suggestion": "include the text \"Dear customer\""}], "passed": false}`), nil
	}), nil
}

// byTheirRules are those of each format and of each language.
func byTheirRules() (rows []mending) {
	for _, f := range []string{"date", "time", "date-time", "url", "email", "uuid", "ipv4", "ipv6", "hostname"} {
		rows = append(rows, mending{name: "format, " + f, checks: []string{"format:" + f}, first: "It is so."})
	}
	for language, wrong := range map[string]string{
		"go": "func main( {", "javascript": "const = 1;", "json": "{'a'}", "jsx": "<p>", "python": "def f(:\n  pass", "sql": "SELEC 1",
		"tsx": "<p>", "typescript": "const a: = 1;", "yaml": "a: [1",
	} {
		block := "Here:\n```" + language + "\n" + wrong
		rows = append(rows,
			mending{name: "code, " + language, checks: []string{"code:" + language}, first: block + "\n```"},
			mending{name: "code, " + language + ", cut off", checks: []string{"code:" + language}, first: block})
	}
	return rows
}

// Each complaint tells enough to mend the answer: the model that is asked again
// knows nothing but its words.
func TestEachComplaintLeadsToAnAnswerThatPasses(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range append(mendings, byTheirRules()...) {
		for _, spec := range c.checks {
			name, _, _ := strings.Cut(spec, ":")
			covered[name] = true
		}
		t.Run(c.name, func(t *testing.T) {
			practice, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Answer: c.first}}}})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(practice)
			defer server.Close()
			defer practice.Close()
			model, err := openai.New("practice", openai.Options{BaseURL: server.URL + "/v1", APIKey: "of-the-test"})
			if err != nil {
				t.Fatal(err)
			}
			var checks []validate.Strategy
			for _, spec := range c.checks {
				check, err := validate.Builder{OpenModel: openCritic}.Parse(spec)
				if err != nil {
					t.Fatal(err)
				}
				checks = append(checks, check)
			}
			want := max(c.attempts, 2)
			req := llm.Prompt("Say something.")
			if c.schema != "" {
				req.Schema = &llm.Schema{Name: "asked", JSON: []byte(c.schema)}
			}
			result, err := llmcall.RetryWithValidation(t.Context(), model, req, checks, llmcall.RetryConfig{MaxAttempts: max(want, 3)})
			if err != nil {
				e, _ := errors.AsType[*llmcall.Error](err)
				t.Fatalf("%v\n%q\nat last %+v: %q", err, e.Attempts[0].Complaints, e.Complaints, e.Last.Text())
			}
			if len(result.Attempts) != want {
				t.Errorf("%d attempts, want %d: %q\n%+v", len(result.Attempts), want, result.Text, result.Attempts[1].Complaints)
			}
		})
	}
	for _, check := range validate.Checks() {
		if check.Name == "needs_model" { // another test's
			continue
		}
		if !slices.ContainsFunc(append(check.Aliases, check.Name), func(name string) bool { return covered[name] }) {
			t.Errorf("no answer is mended for the check %q", check.Name)
		}
	}
}

// Anthropic is sent less of a schema than the answer is held to; what it left
// out, the complaints say.
func TestAnAnswerIsHeldToTheWholeSchema(t *testing.T) {
	practice, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(practice)
	defer server.Close()
	model, err := anthropic.New("claude-haiku-5-5", anthropic.Options{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	schema := []byte(`{"type": "object", "required": ["population", "districts"], "additionalProperties": false, "properties": {
		"population": {"type": "integer", "minimum": 1000000, "maximum": 2000000},
		"districts": {"type": "array", "minItems": 3, "items": {"type": "string", "minLength": 3}}}}`)
	req := llm.Prompt("Describe a city.")
	req.Schema = &llm.Schema{Name: "city", JSON: schema}
	checks := []validate.Strategy{validate.Must(validate.JSONSchema(schema))}
	result, err := llmcall.RetryWithValidation(t.Context(), model, req, checks, llmcall.RetryConfig{MaxAttempts: 4})
	if err != nil || len(result.Attempts) < 2 {
		t.Errorf("%v, %v", result, err)
	}
}

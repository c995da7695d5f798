package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

func TestFit(t *testing.T) {
	const object = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`
	in := func(node string) string {
		return `{"type":"object","properties":{"a":` + node + `},"additionalProperties":false}`
	}
	for _, step := range []struct{ schema, want string }{
		// What fits stays as it is, its order and its numbers too.
		{object, object},
		{`{"type":"object","additionalProperties":false}`, `{"type":"object","additionalProperties":false}`},
		{`{"title":"T","description":"D","type":"object","additionalProperties":false,"properties":{
			"z":{"type":["string","null"],"enum":["x",null],"default":"x"},"b":{"type":"array","items":{"$ref":"#/$defs/n"},"minItems":1},
			"c":{"anyOf":[{"type":"integer"},{"const":12345678901234567890}]},"d":{"type":"string","format":"date","pattern":"^2[0-9]{3}"}},
			"$defs":{"n":` + object + `}}`, ``},

		{in(`{"allOf":[{"type":"string"}]}`), in(`{"type":"string"}`)},
		{
			in(`{"type":"object","properties":{"a":{"type":"string"}},"anyOf":[{"title":"x","required":["a"]}]}`),
			in(`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false,"description":"{\"anyOf\":[{\"title\":\"x\",\"required\":[\"a\"]}]}"}`),
		},

		{`{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"x","type":"object","properties":{"a":{"type":"string"}}}`,
			`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`},
		{`{"additionalProperties":true,"type":"object","properties":{"a":{"type":"string"}}}`,
			`{"additionalProperties":false,"type":"object","properties":{"a":{"type":"string"}}}`},
		{in(`{"type":"integer","minimum":1,"maximum":1.50}`), in(`{"type":"integer","description":"{\"minimum\":1,\"maximum\":1.50}"}`)},
		{in(`{"description":"A <name>.","type":"string","maxLength":5}`), in(`{"description":"A <name>.\n\n{\"maxLength\":5}","type":"string"}`)},
		{in(`{"type":"string","format":"date","pattern":"(?i)a"}`), in(`{"type":"string","format":"date","description":"{\"pattern\":\"(?i)a\"}"}`)},
		{in(`{"type":"string","format":"iban"}`), in(`{"type":"string","description":"{\"format\":\"iban\"}"}`)},
		{in(`{"type":"string","pattern":"\\bx"}`), in(`{"type":"string","description":"{\"pattern\":\"\\\\bx\"}"}`)},
		{in(`{"type":"string","description":7}`), in(`{"type":"string","description":"{\"description\":7}"}`)},
		{in(`{"type":"array","items":{"type":"string"},"minItems":2,"uniqueItems":true}`),
			in(`{"type":"array","items":{"type":"string"},"description":"{\"minItems\":2,\"uniqueItems\":true}"}`)},
		{in(`{"oneOf":[{"type":"string","minLength":1},` + `{"type":"null"}]}`), in(`{"anyOf":[{"type":"string","description":"{\"minLength\":1}"},{"type":"null"}]}`)},
		{in(`{"type":"string","not":{"const":"x"}}`), in(`{"type":"string","description":"{\"not\":{\"const\":\"x\"}}"}`)},
		{in(`{"type":"string","additionalProperties":false}`), in(`{"type":"string"}`)},
		{`{"type":"object","properties":{"$ref":{"$ref":"#/definitions/n","title":"N"}},"definitions":{"n":{"type":"null"}},"additionalProperties":false}`,
			`{"type":"object","properties":{"$ref":{"type":"null","title":"N"}},"definitions":{"n":{"type":"null"}},"additionalProperties":false}`},
		// What stands beside a reference is not lost, and other keywords tell a type.
		{`{"type":"object","properties":{"a":{"$ref":"#/$defs/n","description":"D"},"b":{"$ref":"#/properties/a"}},"additionalProperties":false,"$defs":{"n":{"type":"null"}}}`,
			`{"type":"object","properties":{"a":{"type":"null","description":"D"},"b":{"type":"null","description":"D"}},"additionalProperties":false,"$defs":{"n":{"type":"null"}}}`},
		{in(`{"properties":{"a":{"type":"string"}}}`), in(`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`)},
		{in(`{"anyOf":[{"minimum":1}]}`), in(`{"anyOf":[{"type":"number","description":"{\"minimum\":1}"}]}`)},
		// A definition that is used twice is not recursive.
		{`{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"$ref":"#/$defs/m"}},"additionalProperties":false,"$defs":{"n":{"type":"null"},"m":{"type":"array","items":{"$ref":"#/$defs/n"}}}}`, ``},
	} {
		want := step.want
		if want == "" {
			want = step.schema
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, []byte(want))
		if got, ok := fit(json.RawMessage(step.schema)); !ok || squeeze(got) != compact.String() {
			t.Errorf("%s\ngot  %s, %v\nwant %s", step.schema, got, ok, &compact)
		}
	}
}

func squeeze(raw json.RawMessage) string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return err.Error()
	}
	return compact.String()
}

func TestWhatDoesNotFit(t *testing.T) {
	in := func(node string) string {
		return `{"type":"object","properties":{"a":` + node + `},"additionalProperties":false}`
	}
	deep := strings.Repeat(`{"type":"array","items":`, wire.MaxSchemaDepth) + `{"type":"string"}` + strings.Repeat("}", wire.MaxSchemaDepth)
	for _, schema := range []string{
		`{}`, `{"type":"string"}`, `{"type":"array","items":{"type":"string"}}`, `{"$ref":"#/$defs/n","type":"object","$defs":{"n":{"type":"null"}},"x":{"$ref":"#"}}`,
		`{"type":"object"}`, `{"type":"object","properties":{}}`, `{"type":"object","properties":[],"additionalProperties":true}`,
		in(`true`), in(`{}`), in(`{"description":"anything"}`), in(`{"type":"object"}`), in(`{"type":["object","null"]}`),
		in(`{"type":"object","additionalProperties":{"type":"string"}}`),
		in(`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":{"type":"string"}}`),
		in(`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":7}`),
		in(`{"type":"object","properties":{"a":{"type":"string"}},"required":["b"]}`),
		in(`{"type":"object","properties":{"a":{"type":"string"}},"patternProperties":{}}`),
		in(`{"type":"object","properties":{"a":{"type":"string"}},"anyOf":[{"required":["b"]}]}`),
		in(`{"enum":["x"],"properties":{"a":{"type":"string"}}}`),
		in(`{"type":"array"}`), in(`{"type":"array","items":false}`), in(`{"type":"array","items":{}}`),
		in(`{"enum":[{"a":1}]}`), in(`{"enum":"x"}`), in(`{"const":[1]}`), in(`{"allOf":[{"type":"string"},{"minLength":1}]}`),
		in(`{"anyOf":[]}`), in(`{"anyOf":{}}`), in(`{"anyOf":[{"type":"string"}],"oneOf":[{"type":"string"}]}`),
		in(`{"anyOf":[{"type":"string"}],"enum":["x"]}`), in(`{"type":"string","$anchor":"x"}`), in(`{"type":"string","type":"null"}`),
		in(`{"$ref":"https://example.com/x"}`), in(`{"$ref":"#/properties/a"}`), in(`{"$ref":"#"}`), in(`{"$ref":7}`),
		`{"type":"object","properties":{"a":{"type":"string"}},"$defs":{"n":{}}}`,
		`{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"array","items":{"$ref":"#/$defs/m"}},"m":{"type":"array","items":{"$ref":"#/$defs/n"}}}}`,
		in(deep),
	} {
		if got, ok := fit(json.RawMessage(schema)); ok {
			t.Errorf("%.200s: got %.200s", schema, got)
		}
	}
}

// anySchema draws a schema in which much fits.
func anySchema(t *rapid.T, depth int) map[string]any {
	kinds := []string{"string", "integer", "null", "enum"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "array", "anyOf", "oneOf")
	}
	node := map[string]any{}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "enum":
		node["enum"] = []any{"x", 1, nil}
	case "anyOf", "oneOf":
		node[kind] = []any{anySchema(t, depth-1), anySchema(t, depth-1)}
	case "array":
		node["type"], node["items"] = kind, anySchema(t, depth-1)
		if rapid.Bool().Draw(t, "min") {
			node["minItems"] = rapid.IntRange(0, 2).Draw(t, "minItems")
		}
	case "object":
		node["type"] = kind
		node["properties"] = map[string]any{"a": anySchema(t, depth-1), "b": anySchema(t, depth-1)}
		if rapid.Bool().Draw(t, "required") {
			node["required"] = []string{"a"}
		}
		if rapid.Bool().Draw(t, "closed") {
			node["additionalProperties"] = false
		}
	default:
		node["type"] = kind
		for keyword, value := range map[string]any{"minLength": 2, "maximum": 3, "format": "date", "description": "D", "title": "T"} {
			if rapid.Bool().Draw(t, keyword) {
				node[keyword] = value
			}
		}
	}
	return node
}

// anyAnswer draws an answer of the kinds that [anySchema] has.
func anyAnswer(t *rapid.T, depth int) any {
	kinds := []string{"x", "long", "1", "7", "null"}
	if depth > 0 {
		kinds = append(kinds, "array", "object", "object")
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "value"); kind {
	case "1":
		return json.Number("1")
	case "7":
		return json.Number("7")
	case "null":
		return nil
	case "array":
		return []any{anyAnswer(t, depth-1)}
	case "object":
		answer := map[string]any{}
		for _, name := range []string{"a", "b"} {
			if rapid.Bool().Draw(t, name) {
				answer[name] = anyAnswer(t, depth-1)
			}
		}
		return answer
	default:
		return kind
	}
}

// answerTo draws an answer that has the shape of a schema of [anySchema], except for a
// few of its values. It need not fit the schema's bounds.
func answerTo(t *rapid.T, node map[string]any, depth int) any {
	if rapid.IntRange(0, 9).Draw(t, "other") == 9 {
		return anyAnswer(t, depth)
	}
	if values, ok := node["enum"].([]any); ok {
		return rapid.SampledFrom(values).Draw(t, "enum")
	}
	for _, name := range []string{"anyOf", "oneOf"} {
		if nodes, ok := node[name].([]any); ok {
			return answerTo(t, rapid.SampledFrom(nodes).Draw(t, name).(map[string]any), depth-1)
		}
	}
	switch node["type"] {
	case "string":
		return rapid.SampledFrom([]string{"x", "long"}).Draw(t, "string")
	case "integer":
		return rapid.SampledFrom([]json.Number{"1", "7"}).Draw(t, "integer")
	case "null":
		return nil
	case "array":
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, "items") {
			list = append(list, answerTo(t, node["items"].(map[string]any), depth-1))
		}
		return list
	}
	answer := map[string]any{}
	properties := node["properties"].(map[string]any)
	for _, name := range []string{"a", "b"} {
		if rapid.Bool().Draw(t, name) {
			answer[name] = answerTo(t, properties[name].(map[string]any), depth-1)
		}
	}
	return answer
}

func compiled(t *rapid.T, schema []byte) *jsonschema.Schema {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatalf("%v: %s", err, schema)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", value); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatalf("%v: %s", err, schema)
	}
	return s
}

func TestFittingTwiceIsFittingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema, _ := json.Marshal(map[string]any{"type": "object", "properties": map[string]any{"a": anySchema(t, 3)}})
		once, ok := fit(schema)
		twice, again := fit(once)
		if !ok || !again || string(once) != string(twice) {
			t.Errorf("%s\nonce  %s, %v\ntwice %s, %v", schema, once, ok, twice, again)
		}
	})
}

// What fit does is to relax: it must not keep the model from an answer that the
// schema takes, further properties aside, which no drawn answer has.
func TestFittedSchemaTakesWhatTheSchemaTakes(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		node := anySchema(t, 2)
		schema, _ := json.Marshal(map[string]any{"type": "object", "properties": map[string]any{"a": node, "b": anySchema(t, 0)}})
		fitted, ok := fit(schema)
		if !ok {
			t.Fatalf("does not fit: %s", schema)
		}
		whole, relaxed := compiled(t, schema), compiled(t, fitted)
		for range 20 {
			answer := map[string]any{"a": answerTo(t, node, 2)}
			if whole.Validate(answer) != nil {
				continue
			}
			taken++
			if err := relaxed.Validate(answer); err != nil && !strings.Contains(err.Error(), "additional propert") {
				t.Errorf("%v\nschema %s\nfitted %s\nanswer %v", err, schema, fitted, answer)
			}
		}
	})
	if taken < 50 {
		t.Errorf("only %d answers were of use", taken)
	}
}

func FuzzFit(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":["string","null"],"maxLength":3}},"required":["a"]}`))
	f.Add([]byte(`{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"oneOf":[{"const":1},{"enum":["\u0041"]}]}}}`))
	f.Add([]byte(`{"type":"object","additionalProperties":false,"description":"d","minProperties":1}`))
	f.Fuzz(func(t *testing.T, schema []byte) {
		if wire.CheckObject(schema) != nil {
			return
		}
		fitted, ok := fit(schema)
		if !ok {
			return
		}
		if err := wire.CheckObject(fitted); err != nil {
			t.Fatalf("%s: %v: %s", schema, err, fitted)
		}
		if again, ok := fit(fitted); !ok || string(again) != string(fitted) {
			t.Errorf("%s\nonce  %s\ntwice %s, %v", schema, fitted, again, ok)
		}
	})
}

func fuzzed(f *testing.F) *Model {
	m, err := New("claude-x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	return m
}

func FuzzResponse(f *testing.F) {
	for _, body := range []string{
		`{"content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1}}`,
		`{"content":[{"type":"tool_use","id":"1","name":"t","input":{"a":1}}],"stop_reason":"tool_use"}`,
		`{"content":[{"type":"thinking","thinking":"x","signature":"y"}],"stop_reason":"max_tokens"}`,
		`{"content":[null,1,"x",{"type":7}],"model":7}`, `{"type":"error","error":{"type":"overloaded_error"}}`, `{"error":"x"}`,
		`{"content":[],"stop_reason":"refusal","stop_details":{"category":"bio"}}`, `{"Content":[]}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(body))
	}
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		x := &wire.Exchange{Endpoint: m.endpoint, Status: 200, Body: body, Response: &http.Response{}}
		answer, err := x.Answer(dialect{"t"})
		var failed *failure.Error
		if answer == nil && err == nil || err != nil && (!errors.As(err, &failed) || failed.Kind == failure.Unknown && !errorWithin(body)) {
			t.Errorf("%q: %v, %v", body, answer, err)
		}
		if answer != nil {
			if _, err := turnOf(answer.Message); err != nil {
				t.Errorf("%q: the answer can't go back: %v", body, err)
			}
		}
	})
}

// errorWithin reports whether the body has an error in words of its own.
func errorWithin(body []byte) bool { return bytes.Contains(bytes.ToLower(body), []byte("error")) }

func FuzzStream(f *testing.F) {
	for _, events := range []string{
		`{"type":"message_start","message":{"usage":{"input_tokens":1}}}
{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}
{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}
{"type":"content_block_stop","index":0}
{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}
{"type":"message_stop"}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"t","input":{}}}
{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}
{"type":"content_block_stop","index":0}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"thinking"}}
{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"x"}}
{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"x"}}
{"type":"content_block_stop","index":1}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","input":{}}}
{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"[1"}}
{"type":"content_block_stop"}
{"type":"error","error":{"type":"api_error"}}`,
		`{"type":"content_block_start","content_block":7}`, `null`, `7`, ``, `{"type":"error"}`,
	} {
		f.Add(events)
	}
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, events string) {
		s := stream{x: &wire.Exchange{Endpoint: m.endpoint, Status: 200, Response: &http.Response{}}, tool: "t"}
		var answer llm.Assembly
		for line := range strings.SplitSeq(events, "\n") {
			chunks, done, err := s.Read([]byte(line))
			var failed *failure.Error
			if err != nil && (!errors.As(err, &failed) || failed.Kind == failure.Unknown && !errorWithin([]byte(events))) {
				t.Fatalf("%q: %v", line, err)
			}
			for _, chunk := range chunks {
				answer.Add(chunk)
			}
			if done {
				break
			}
		}
		if _, err := turnOf(answer.Response().Message); err != nil {
			t.Errorf("%q: the answer can't go back: %v", events, err)
		}
	})
}

func TestVersions(t *testing.T) {
	for name, want := range map[string]string{
		"claude-2.1": "201 true", "claude-instant-1.2": "102 true", "claude-3-haiku-20240307": "300 true", "claude-3-5-sonnet-latest": "305 true",
		"claude-opus-4-20250514": "400 true", "claude-sonnet-4-0": "400 true", "claude-4-opus-20250514": "400 true", "claude-opus-4-1-20250805": "401 true",
		"us.anthropic.claude-opus-4-5-20251101-v1:0": "405 true", "claude-haiku-4-5@20251001": "405 true", "claude-opus-4.6": "406 true",
		"claude-fable-5": "500 true", "claude-haiku-5-5": "505 true", "claude-opus-10-1": "1001 true", "claude-mythos-preview": "1073741824 true",
		"claude": "1073741824 true", "gpt-4": "0 false", "": "0 false",
	} {
		v, ok := claude(name)
		if got := fmt.Sprint(int(v), ok); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"llmcall/provider/internal/wire"
)

func TestStrictCopy(t *testing.T) {
	const closed = `"required":["a"],"additionalProperties":false}`
	object := func(a string) string { return `{"type":"object","properties":{"a":` + a + `},` + closed }
	for _, step := range []struct {
		schema string
		want   string // "" if there is none
		why    string
	}{
		{schema: object(`{"type":"string"}`), want: object(`{"type":"string"}`)},
		{schema: `{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"T",` + object(`{"type":"integer","maximum":12345678901234567890}`)[1:],
			want: `{"title":"T",` + object(`{"type":"integer","maximum":12345678901234567890}`)[1:]},
		// What is optional may be null.
		{schema: `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"object","properties":{"c":{"enum":["x"]}},"required":["c"]}}}`,
			want: `{"type":"object","properties":{"a":{"type":["string","null"]},
				"b":{"anyOf":[{"type":"object","properties":{"c":{"type":"string","enum":["x"]}},"required":["c"],"additionalProperties":false},{"type":"null"}]}},
				"required":["a","b"],"additionalProperties":false}`},
		{schema: `{"type":"object","properties":{"a":{"oneOf":[{"type":"string"},{"type":"integer"}]},"b":{"type":["string","null"]}}}`,
			want: `{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer"},{"type":"null"}]},"b":{"type":["string","null"]}},
				"required":["a","b"],"additionalProperties":false}`},
		// What strict mode does not take is told in words.
		{schema: object(`{"type":"string","description":"A name.","minLength":3,"format":"uri","default":"x"}`),
			want: object(`{"type":"string","description":"A name.\n\n{\"minLength\":3,\"format\":\"uri\",\"default\":\"x\"}"}`)},
		{schema: object(`{"type":"string","pattern":"^(?=a)"}`), want: object(`{"type":"string","description":"{\"pattern\":\"^(?=a)\"}"}`)},
		// References with neighbours, to properties, and without.
		{schema: `{"type":"object","properties":{"a":{"$ref":"#/$defs/A","description":"d"},"b":{"$ref":"#/properties/a"},"c":{"$ref":"#/$defs/A"}},
				"required":["a","b","c"],"additionalProperties":false,"$defs":{"A":{"type":"string","description":"x"}}}`,
			want: `{"type":"object","properties":{"a":{"type":"string","description":"d"},"b":{"type":"string","description":"d"},"c":{"$ref":"#/$defs/A"}},
				"required":["a","b","c"],"additionalProperties":false,"$defs":{"A":{"type":"string","description":"x"}}}`},
		{schema: `{"type":"object","properties":{"a":{"$ref":"#/$defs/T","description":"d"}},"required":["a"],
				"$defs":{"T":{"type":"object","properties":{"next":{"$ref":"#/$defs/T","description":"e"}}}}}`,
			want: `{"type":"object","properties":{"a":{"description":"d","type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/T"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}},
				"required":["a"],"additionalProperties":false,
				"$defs":{"T":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/T"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}}}`},
		// Types that other keywords tell.
		{schema: object(`{"const":1.0}`), want: object(`{"type":"number","const":1.0}`)},
		{schema: object(`{"properties":{"a":{"minimum":0}},` + closed), want: object(`{"type":"object","properties":{"a":{"type":"number","minimum":0}},` + closed)},
		{schema: object(`{"enum":["x",null]}`), want: object(`{"type":["string","null"],"enum":["x",null]}`)},
		{schema: object(`{"allOf":[{"type":"string"}],"description":"d"}`), want: object(`{"type":"string","description":"d"}`)},

		{schema: object(`{}`), why: "any value is allowed at /properties/a"},
		{schema: object(`true`), why: "any value is allowed at /properties/a"},
		{schema: object(`{"type":"array"}`), why: "a list of any values at /properties/a"},
		{schema: object(`{"type":"object"}`), why: "properties of any name at /properties/a"},
		{schema: object(`{"type":"object","additionalProperties":{"type":"string"}}`), why: "properties of any name at /properties/a"},
		{
			schema: `{"type":"object","properties":{"a":{"description":"d","allOf":[{"$ref":"#/definitions/A"}]}},"required":["a"],"definitions":{"A":{"type":"string","minLength":1}}}`,
			want: `{"type":"object","definitions":{"A":{"type":"string","description":"{\"minLength\":1}"}},"properties":{"a":{"type":"string","description":"d\n\n{\"minLength\":1}"}},` +
				`"required":["a"],"additionalProperties":false}`,
		},
		{
			schema: `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"oneOf":[{"required":["a"]},{"required":["b"]}]}`,
			want: `{"type":"object","description":"{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}","properties":{"a":{"type":["string","null"]},"b":{"type":["string","null"]}},` +
				`"required":["a","b"],"additionalProperties":false}`,
		},
		{schema: `{"type":"object","properties":{"a":{"type":"string"}},"oneOf":[{"required":["z"]}]}`, why: "alternatives at the top"},
		{schema: object(`{"allOf":[{"type":"string"},{"minLength":1}]}`), why: "allOf at /properties/a"},
		{schema: object(`{"$ref":"https://example.com/x","description":"d"}`), why: "a reference that can't be replaced"},
		{schema: object(`{"$ref":"#/properties/a"}`), why: "a reference that can't be replaced"},
		{schema: `{"type":"object","properties":{},"required":["b"],"additionalProperties":false}`, why: `the required property "b" is not defined`},
		{schema: `{"type":"array","items":{"type":"string"}}`, why: "the answer need not be an object"},
		{schema: `{}`, why: "the answer need not be an object"},
		{schema: `{"type":"object","anyOf":[]}`, why: "alternatives at the top"},
	} {
		got, why := strictCopy(json.RawMessage(step.schema))
		if step.want == "" {
			if !strings.Contains(why, step.why) || why == "" {
				t.Errorf("%s: got %s, %q; want %q", step.schema, got.schema, why, step.why)
			}
			continue
		}
		if why != "" || !sameJSON(t, got.schema, step.want) {
			t.Errorf("%s\ngot  %s %s\nwant %s", step.schema, got.schema, why, step.want)
		}
	}
	// Order and digits are kept.
	const ordered = `{"type":"object","properties":{"z":{"type":"number","const":1.0},"a":{"type":"string"}},"required":["z","a"],"additionalProperties":false}`
	if got, _ := strictCopy(json.RawMessage(ordered)); string(got.schema) != ordered {
		t.Errorf("got %s", got.schema)
	}
}

func sameJSON(t *testing.T, a json.RawMessage, b string) bool {
	t.Helper()
	var left, right any
	if err := json.Unmarshal(a, &left); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &right); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	one, _ := json.Marshal(left)
	other, _ := json.Marshal(right)
	return string(one) == string(other)
}

// isStrict checks the rules of strict mode, written from the provider's page.
func isStrict(t *rapid.T, node any, at string) {
	schema, ok := node.(map[string]any)
	if !ok {
		t.Fatalf("%s: not a schema: %v", at, node)
	}
	if ref, ok := schema["$ref"]; ok {
		if len(schema) > 1 || !wire.LocalReference(ref.(string)) && ref != "#" {
			t.Fatalf("%s: a reference %v", at, schema)
		}
		return
	}
	for keyword, value := range schema {
		switch keyword {
		case "title", "description", "type", "enum", "const", "required", "additionalProperties", "pattern", "format",
			"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "minItems", "maxItems":
		case "items":
			isStrict(t, value, at+"/items")
		case "anyOf":
			for _, n := range value.([]any) {
				isStrict(t, n, at+"/anyOf")
			}
		case "properties", "$defs", "definitions":
			for name, n := range value.(map[string]any) {
				isStrict(t, n, at+"/"+name)
			}
		default:
			t.Fatalf("%s: the keyword %s", at, keyword)
		}
	}
	if schema["type"] == nil && schema["anyOf"] == nil {
		t.Fatalf("%s: no type", at)
	}
	if schema["type"] == "object" {
		if schema["additionalProperties"] != false || len(schema["required"].([]any)) != len(schema["properties"].(map[string]any)) {
			t.Fatalf("%s: an open object: %v", at, schema)
		}
	}
}

// schemas generates schemas, with values that fit them.
func schemas(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		kinds := []string{"string", "integer", "boolean", "nullable", "enum", "const"}
		if depth > 0 {
			kinds = append(kinds, "object", "object", "array", "either", "reference")
		}
		var s map[string]any
		switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
		case "nullable":
			s = map[string]any{"type": []any{"string", "null"}}
		case "enum":
			s = map[string]any{"enum": []any{"x", "y"}}
		case "const":
			s = map[string]any{"const": "c"}
		case "array":
			s = map[string]any{"type": "array", "items": schemas(depth-1).Draw(t, "items"), "uniqueItems": false}
		case "either":
			s = map[string]any{rapid.SampledFrom([]string{"anyOf", "oneOf"}).Draw(t, "of"): []any{map[string]any{"type": "integer"}, schemas(depth-1).Draw(t, "or")}}
		case "reference":
			s = map[string]any{"$ref": "#/$defs/D"}
		case "object":
			properties, required := map[string]any{}, []any{}
			for _, name := range []string{"a", "b\"", "c"} {
				if rapid.Bool().Draw(t, name) {
					properties[name] = schemas(depth-1).Draw(t, "property")
					if rapid.Bool().Draw(t, "required") {
						required = append(required, name)
					}
				}
			}
			s = map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
		default:
			s = map[string]any{"type": kind}
			if kind == "string" && rapid.Bool().Draw(t, "long") {
				s["minLength"] = 0
			}
		}
		if rapid.Bool().Draw(t, "described") {
			s["description"] = "d"
		}
		return s
	})
}

// value generates a value that fits a schema of schemas, or its copy.
func value(t *rapid.T, root map[string]any, node map[string]any) any {
	if ref, ok := node["$ref"]; ok {
		return value(t, root, root["$defs"].(map[string]any)[strings.TrimPrefix(ref.(string), "#/$defs/")].(map[string]any))
	}
	if values, ok := node["enum"].([]any); ok {
		return rapid.SampledFrom(values).Draw(t, "value")
	}
	if constant, ok := node["const"]; ok {
		return constant
	}
	if either, ok := node["anyOf"].([]any); ok {
		return value(t, root, rapid.SampledFrom(either).Draw(t, "which").(map[string]any))
	}
	kind := node["type"]
	if kinds, ok := kind.([]any); ok {
		kind = rapid.SampledFrom(kinds).Draw(t, "type")
	}
	switch kind {
	case "string":
		return rapid.SampledFrom([]string{"", "null", "a \"b\\\" {", "\u00e9,]"}).Draw(t, "text")
	case "integer":
		return rapid.IntRange(-10, 1000).Draw(t, "number")
	case "boolean":
		return rapid.Bool().Draw(t, "truth")
	case "null":
		return nil
	case "array":
		var all = []any{}
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			all = append(all, value(t, root, node["items"].(map[string]any)))
		}
		return all
	}
	object := map[string]any{}
	for name, n := range node["properties"].(map[string]any) {
		object[name] = value(t, root, n.(map[string]any))
	}
	return object
}

// What fits the copy fits the schema once the nulls are out, however the answer is cut
// into pieces, and whether it is indented.
func TestWhatFitsTheCopyFitsTheSchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema := map[string]any{
			"type": "object", "$defs": map[string]any{"D": schemas(1).Filter(func(s map[string]any) bool { return !strings.Contains(text(s), "$ref") }).Draw(t, "definition")},
			"properties": map[string]any{"p": schemas(3).Draw(t, "p"), "q": schemas(3).Draw(t, "q")}, "required": []any{"p"}, "additionalProperties": false,
		}
		c, why := strictCopy(json.RawMessage(text(schema)))
		if why != "" {
			t.Fatalf("%s: %s", text(schema), why)
		}
		var copied map[string]any
		_ = json.Unmarshal(c.schema, &copied)
		isStrict(t, copied, "")
		answer := value(t, copied, copied)
		written, _ := json.Marshal(answer)
		if rapid.Bool().Draw(t, "indented") {
			written, _ = json.MarshalIndent(answer, "", "  ")
		}
		if err := compiled(t, string(c.schema)).Validate(answer); err != nil {
			t.Fatalf("the test's own value %s: %v", written, err)
		}
		d, got := newNullDropper(c), ""
		for rest := string(written); rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			got, rest = got+d.Write(rest[:n]), rest[n:]
		}
		got += d.Rest()
		left, err := jsonschema.UnmarshalJSON(strings.NewReader(got))
		if err != nil {
			t.Fatalf("%s\nbecame %s: %v", written, got, err)
		}
		if err := compiled(t, text(withAnyOf(schema))).Validate(left); err != nil {
			t.Fatalf("schema %s\ncopy   %s\nanswer %s\nbecame %s: %v", text(schema), c.schema, written, got, err)
		}
	})
}

// withAnyOf returns a schema with anyOf for each oneOf: that exactly one matches is left
// to the caller's check.
func withAnyOf(node any) any {
	var all any
	_ = json.Unmarshal([]byte(strings.ReplaceAll(text(node), `"oneOf"`, `"anyOf"`)), &all)
	return all
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func compiled(t *rapid.T, schema string) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("s.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("s.json")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return compiled
}

func TestNullsAreDropped(t *testing.T) {
	c, why := strictCopy(json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":["string","null"]},"c":{"type":"integer"},
		"l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"}}}}},"required":["c"]}`))
	if why != "" {
		t.Fatal(why)
	}
	for given, want := range map[string]string{
		`{"a":null,"b":null,"c":1,"l":null}`:          `{"b":null,"c":1}`,
		`{"a":"null","b":"x","c":1,"l":[{"a":null}]}`: `{"a":"null","b":"x","c":1,"l":[{}]}`,
		"{\n \"a\": null,\n \"c\": null\n}":           "{\n \"c\": null\n}",
		`{"a" : null }`:                               `{ }`,
		`{"x":null,"\u0061":null}`:                    `{"x":null}`,
		`I can't: {"a":null}`:                         `I can't: {"a":null}`,
		`{"a":nul`:                                    `{"a":nul`,
		`{"a":nullx}`:                                 `{"a":nullx}`,
		`{"a":null`:                                   `{"a":null`,
		`{"c":1,}`:                                    `{"c":1,}`,
		`{]`:                                          `{]`,
		`{"c":1} {"a":null}`:                          `{"c":1} {"a":null}`,
		``:                                            ``,
	} {
		d := newNullDropper(c)
		if got := d.Write(given) + d.Rest(); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
		d, got := newNullDropper(c), ""
		for i := range len(given) {
			got += d.Write(given[i : i+1])
		}
		if got += d.Rest(); got != want {
			t.Errorf("%q, in pieces: got %q, want %q", given, got, want)
		}
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`), `{"a":null}`)
	f.Add([]byte(`{"type":{},"anyOf":[[]],"required":[{}],"additionalProperties":{}}`), `[`)
	f.Add([]byte(`{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}},"$defs":{"$ref":{"$ref":"#/$defs/$ref"}}}`), `{"a":{"a":null}}`)
	f.Fuzz(func(t *testing.T, schema []byte, answer string) {
		if wire.CheckObject(schema) != nil {
			return
		}
		c, why := strictCopy(schema)
		if why != "" {
			return
		}
		if wire.CheckObject(c.schema) != nil {
			t.Errorf("%q became %q", schema, c.schema)
		}
		d := newNullDropper(c)
		if got := d.Write(answer) + d.Rest(); json.Valid([]byte(answer)) && !json.Valid([]byte(got)) {
			t.Errorf("%q: %q became %q", schema, answer, got)
		}
	})
}

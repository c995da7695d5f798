package openai

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStrict(t *testing.T) {
	const object = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`
	for _, step := range []struct {
		schema string
		want   bool
	}{
		{object, true},
		{`{"type":"object","properties":{},"required":[],"additionalProperties":false}`, true},
		{`{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"T","type":"object","properties":{
			"a":{"type":["string","null"],"enum":["x",null]},"b":{"type":"array","items":{"$ref":"#/$defs/n"},"minItems":1},
			"c":{"anyOf":[{"type":"integer","minimum":0},{"type":"null"}]},"d":{"type":"string","format":"date","pattern":"^2"}},
			"required":["a","b","c","d"],"additionalProperties":false,"$defs":{"n":` + object + `}}`, true},

		{`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`, false},
		{`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":true}`, false},
		{`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`, false},
		{`{"type":"object","properties":{"a":{},"b":{}},"required":["a"],"additionalProperties":false}`, false},
		{`{"type":"object","additionalProperties":false}`, false},
		{`{"type":"array","items":` + object + `}`, false},
		{`{"anyOf":[` + object + `],"type":"object","properties":{},"additionalProperties":false}`, false},
		{`{}`, false},
		{`true`, false},
		{`{`, false},
		// An object further down that breaks the rules, wherever it hides.
		{strings.Replace(object, `{"type":"string"}`, `{"type":"object"}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"type":["object","null"],"properties":{}}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"properties":{"b":{}}}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"type":"array","items":{"type":"object"}}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"type":"array","items":[]}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"anyOf":[{"type":"object"}]}`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `true`, 1), false},
		{strings.Replace(object, `"required"`, `"$defs":{"d":{"type":"object"}},"required"`, 1), false},
		{strings.Replace(object, `"required":["a"]`, `"required":[["a"]]`, 1), false},
		// Keywords outside the subset.
		{strings.Replace(object, `"string"`, `"string","minLength":3`, 1), false},
		{strings.Replace(object, `"string"`, `"string","format":"uri"`, 1), false},
		{strings.Replace(object, `"string"`, `"string","format":{}`, 1), false},
		{strings.Replace(object, `"string"`, `"string","default":"x"`, 1), false},
		{strings.Replace(object, `{"type":"string"}`, `{"allOf":[{"type":"string"}]}`, 1), false},
	} {
		if got := strict(json.RawMessage(step.schema)); got != step.want {
			t.Errorf("%s: got %v", step.schema, got)
		}
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`))
	f.Add([]byte(`{"type":{},"anyOf":[[]],"required":[{}],"additionalProperties":{}}`))
	f.Fuzz(func(t *testing.T, schema []byte) {
		if strict(schema) && isObject(schema) != nil && utf8.Valid(schema) {
			t.Errorf("%q is strict but no object", schema)
		}
	})
}

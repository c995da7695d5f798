package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestInline(t *testing.T) {
	for _, step := range []struct{ schema, want string }{ // want "": it can't be
		{`{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"string"}}}`, `{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"string"}}}`},
		{`{"properties":{"a":{"$ref":"#/$defs/A","description":"d"}},"$defs":{"A":{"description":"A","type":"string"}}}`,
			`{"properties":{"a":{"description":"d","type":"string"}},"$defs":{"A":{"description":"A","type":"string"}}}`},
		{`{"properties":{"a":{"$ref":"#/properties/b~1c"},"b/c":{"items":{"$ref":"#/$defs/A","minLength":1}}},"$defs":{"A":{"type":"string"}}}`,
			`{"properties":{"a":{"items":{"type":"string","minLength":1}},"b/c":{"items":{"type":"string","minLength":1}}},"$defs":{"A":{"type":"string"}}}`},
		{`{"properties":{"a":{"$ref":"#/anyOf/0"}},"anyOf":[{"type":"null"}]}`, `{"properties":{"a":{"type":"null"}},"anyOf":[{"type":"null"}]}`},
		// One that contains itself stays, without what stands beside it.
		{`{"properties":{"a":{"$ref":"#","description":"d"}}}`, `{"properties":{"a":{"$ref":"#"}}}`},
		{`{"$defs":{"T":{"properties":{"next":{"$ref":"#/$defs/T","description":"d"}}}}}`, `{"$defs":{"T":{"properties":{"next":{"$ref":"#/$defs/T"}}}}}`},
		// What is data is left alone, and so is a property with the keyword's name.
		{`{"properties":{"$ref":{"const":{"$ref":"x"}}}}`, `{"properties":{"$ref":{"const":{"$ref":"x"}}}}`},

		{`{"properties":{"a":{"$ref":"#/properties/a"}}}`, ``},
		{`{"properties":{"a":{"$ref":"#/properties/b"},"b":{"$ref":"#/properties/a"}}}`, ``},
		{`{"$ref":"https://example.com/x"}`, ``},
		{`{"$ref":"#anchor"}`, ``},
		{`{"$ref":"#/nowhere"}`, ``},
		{`{"$ref":7}`, ``},
		{`{"a":{"$ref":"#/$defs/A","type":"null"},"$defs":{"A":{"type":"string"}}}`, ``},
		{strings.Repeat(`{"items":`, MaxSchemaDepth+1) + `{"$ref":"#"}` + strings.Repeat(`}`, MaxSchemaDepth+1), ``},
	} {
		got, ok := Inline(json.RawMessage(step.schema))
		if ok != (step.want != "") || ok && string(got) != step.want {
			t.Errorf("%.200s\ngot  %.200s, %v\nwant %s", step.schema, got, ok, step.want)
		}
	}

	// References that double at each level are not followed to the end.
	var b strings.Builder
	b.WriteString(`{"a":{"$ref":"#/$defs/d0","title":"t"},"$defs":{`)
	for i := range 50 {
		next := `{"$ref":"#/$defs/d` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `x","title":"t"}`
		name := "d0"
		if i > 0 {
			name = "d" + string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10)) + "x"
		}
		b.WriteString(`"` + name + `":{"anyOf":[` + next + `,` + next + `]},`)
	}
	b.WriteString(`"d49x":{"type":"null"}}}`)
	if got, ok := Inline(json.RawMessage(b.String())); ok {
		t.Errorf("became %d bytes", len(got))
	}
}

func TestTyped(t *testing.T) {
	for given, want := range map[string]string{
		`{"enum":["x",null,"y"]}`:         `{"type":["string","null"],"enum":["x",null,"y"]}`,
		`{"const":true}`:                  `{"type":"boolean","const":true}`,
		`{"const":[1]}`:                   `{"type":"array","const":[1]}`,
		`{"properties":{}}`:               `{"type":"object","properties":{}}`,
		`{"items":{}}`:                    `{"type":"array","items":{}}`,
		`{"minLength":1}`:                 `{"type":"string","minLength":1}`,
		`{"minimum":1,"pattern":"x"}`:     `{"type":["string","number"],"minimum":1,"pattern":"x"}`,
		`{"description":"anything"}`:      `{"description":"anything"}`,
		`{"anyOf":[],"minLength":1}`:      `{"anyOf":[],"minLength":1}`,
		`{"type":"string","minLength":1}`: `{"type":"string","minLength":1}`,
	} {
		if got := string(Object(Typed(Members(gjson.Parse(given))))); got != want {
			t.Errorf("%s: got %s, want %s", given, got, want)
		}
	}
}

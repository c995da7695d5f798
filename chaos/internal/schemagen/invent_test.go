package schemagen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// validator checks answers by a way of its own, not by the inventor's.
func validator(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("test:schema", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("test:schema")
}

// keywords has a schema for everything that the inventor knows of.
var keywords = map[string]string{
	"string":                 `{"type":"string"}`,
	"length":                 `{"type":"string","minLength":3,"maxLength":5}`,
	"exact length":           `{"type":"string","minLength":40,"maxLength":40}`,
	"empty string":           `{"type":"string","maxLength":0}`,
	"pattern":                `{"type":"string","pattern":"^[A-Z]{2}-\\d{3,}(foo|bar)?$"}`,
	"pattern and length":     `{"type":"string","pattern":"^a+b*$","minLength":7,"maxLength":9}`,
	"pattern in gaps":        `{"type":"string","pattern":"^(abc)+$","minLength":10,"maxLength":12}`,
	"loose pattern padded":   `{"type":"string","pattern":"x[0-9]","minLength":20}`,
	"pattern with boundary":  `{"type":"string","pattern":"\\bcat\\b"}`,
	"two patterns":           `{"type":"string","allOf":[{"pattern":"^[a-f]+$"},{"pattern":"^.{4}$"}]}`,
	"integer":                `{"type":"integer"}`,
	"bounds":                 `{"type":"integer","minimum":5,"maximum":5}`,
	"exclusive":              `{"type":"integer","exclusiveMinimum":5,"exclusiveMaximum":7}`,
	"negative":               `{"type":"number","maximum":-3.5}`,
	"below zero":             `{"type":"number","exclusiveMaximum":0}`,
	"narrow":                 `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.0001}`,
	"multiple":               `{"type":"number","multipleOf":0.01,"minimum":3}`,
	"multiples":              `{"type":"integer","allOf":[{"multipleOf":4},{"multipleOf":6},{"minimum":13}]}`,
	"huge":                   `{"type":"integer","minimum":1e30,"maximum":1e31}`,
	"draft 4 exclusive":      `{"$schema":"http://json-schema.org/draft-04/schema#","type":"number","minimum":1,"exclusiveMinimum":true}`,
	"boolean":                `{"type":"boolean"}`,
	"null":                   `{"type":"null"}`,
	"type list":              `{"type":["string","null"]}`,
	"nullable":               `{"type":"string","nullable":true}`,
	"enum":                   `{"enum":["red","green",3,null,{"a":[1]}]}`,
	"enum narrowed":          `{"enum":["red","green",3],"type":"integer"}`,
	"const":                  `{"const":{"a":1.0}}`,
	"array":                  `{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4}`,
	"unique":                 `{"type":"array","items":{"enum":[1,2,3,4]},"minItems":4,"uniqueItems":true}`,
	"unique booleans":        `{"type":"array","items":{"type":"boolean"},"minItems":2,"uniqueItems":true}`,
	"prefix":                 `{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}`,
	"draft 7 tuple":          `{"$schema":"http://json-schema.org/draft-07/schema#","type":"array","items":[{"type":"string"},{"type":"integer"}],"additionalItems":false,"minItems":2}`,
	"contains":               `{"type":"array","items":{"type":"integer","maximum":9},"contains":{"minimum":8},"minContains":2,"minItems":3}`,
	"unevaluated items":      `{"type":"array","prefixItems":[{"type":"string"}],"unevaluatedItems":false,"minItems":1}`,
	"object":                 `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["a"],"additionalProperties":false}`,
	"required elsewhere":     `{"type":"object","required":["x","y"]}`,
	"map":                    `{"type":"object","additionalProperties":{"type":"number"},"minProperties":3}`,
	"names":                  `{"type":"object","propertyNames":{"pattern":"^[a-z]{3}$"},"minProperties":2,"additionalProperties":{"type":"boolean"}}`,
	"pattern properties":     `{"type":"object","patternProperties":{"^x-":{"type":"integer"}},"additionalProperties":false,"minProperties":2}`,
	"max properties":         `{"type":"object","properties":{"a":{},"b":{},"c":{},"d":{}},"maxProperties":1}`,
	"optional never":         `{"type":"object","properties":{"a":false,"b":{"type":"string"}},"required":["b"]}`,
	"dependent required":     `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["a"],"dependentRequired":{"a":["b"]}}`,
	"dependent schemas":      `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"dependentSchemas":{"a":{"required":["z"],"properties":{"z":{"type":"integer"}}}}}`,
	"draft 7 dependencies":   `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"type":"string"}},"required":["a"],"dependencies":{"a":["b"],"b":{"required":["c"]}}}`,
	"unevaluated properties": `{"allOf":[{"properties":{"a":{"type":"string"}},"required":["a"]}],"properties":{"b":{"type":"integer"}},"required":["b"],"unevaluatedProperties":false}`,
	"all of":                 `{"allOf":[{"type":"object","properties":{"a":{"minimum":3}}},{"properties":{"a":{"type":"integer","maximum":4}},"required":["a"]}]}`,
	"any of":                 `{"type":"object","properties":{"v":{"anyOf":[{"type":"string","minLength":4},{"type":"null"}]}},"required":["v"]}`,
	"any of with the rest":   `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"anyOf":[{"required":["a"]},{"required":["b"]}]}`,
	"one of overlapping":     `{"oneOf":[{"type":"integer","minimum":0},{"type":"integer","maximum":10}]}`,
	"one of by kind":         `{"type":"array","minItems":6,"items":{"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},"required":["kind","x"]},{"type":"object","properties":{"kind":{"const":"b"},"y":{"type":"string"}},"required":["kind","y"]}]}}`,
	"not":                    `{"type":"integer","minimum":1,"maximum":4,"not":{"enum":[1,2,3]}}`,
	"if then else":           `{"type":"object","properties":{"k":{"enum":["a","b"]}},"required":["k"],"if":{"properties":{"k":{"const":"a"}}},"then":{"required":["x"]},"else":{"required":["y"]}}`,
	"one dead branch":        `{"anyOf":[false,{"type":"string","minLength":9,"maxLength":3},{"const":7}]}`,
	"dead end in the deep":   `{"$defs":{"n":{"anyOf":[{"type":"string","minLength":9,"maxLength":3},{"type":"object","properties":{"v":{"type":"integer"}},"required":["v"]}]}},"type":"array","minItems":60,"items":{"$ref":"#/$defs/n"}}`,
	"ref":                    `{"$defs":{"p":{"type":"integer","minimum":7}},"type":"object","properties":{"a":{"$ref":"#/$defs/p"}},"required":["a"]}`,
	"ref to definitions":     `{"definitions":{"p":{"type":"boolean"}},"$ref":"#/definitions/p"}`,
	"ref by pointer":         `{"properties":{"a":{"type":"integer"},"b":{"$ref":"#/properties/a"}},"required":["a","b"]}`,
	"ref by anchor":          `{"$defs":{"p":{"$anchor":"here","const":1}},"$ref":"#here"}`,
	"tree":                   `{"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["v","kids"],"additionalProperties":false}},"$ref":"#/$defs/node"}`,
	"linked list":            `{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}`,
	"dynamic ref":            `{"$dynamicAnchor":"node","type":"object","properties":{"kids":{"type":"array","items":{"$dynamicRef":"#node"}}},"required":["kids"]}`,
	"recursive ref":          `{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"type":"object","properties":{"kid":{"anyOf":[{"$recursiveRef":"#"},{"type":"null"}]}},"required":["kid"]}`,
	"examples":               `{"type":"string","examples":["Ada"]}`,
	"true":                   `true`,
	"anything":               `{}`,
	"untyped":                `{"minLength":2}`,
	"unknown format":         `{"type":"string","format":"shoe-size"}`,
	"format and length":      `{"type":"string","format":"email","minLength":30,"maxLength":60}`,
	"short format":           `{"type":"string","format":"email","maxLength":8}`,
	"format and pattern":     `{"type":"string","format":"date","pattern":"^20"}`,
}

func formats() []string {
	return []string{"date-time", "date", "time", "duration", "period", "email", "hostname", "ipv4", "ipv6", "uri", "iri",
		"uri-reference", "iri-reference", "uri-template", "json-pointer", "relative-json-pointer", "uuid", "regex", "semver"}
}

func TestInventedAnswersFitEveryKeyword(t *testing.T) {
	schemas := map[string]string{}
	for name, s := range keywords {
		schemas[name] = s
	}
	for _, f := range formats() {
		schemas["format "+f] = `{"type":"string","format":"` + f + `"}`
	}
	for name, source := range schemas {
		t.Run(name, func(t *testing.T) {
			s, err := Compile([]byte(source))
			if err != nil {
				t.Fatal(err)
			}
			fits := validator(t, source)
			for seed := range uint64(30) {
				v, err := s.invent(t.Context(), nil, chance(seed))
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				text, err := Encode(v)
				if err != nil {
					t.Fatal(err)
				}
				v, err = jsonschema.UnmarshalJSON(strings.NewReader(text))
				if err != nil {
					t.Fatalf("seed %d: %s: %v", seed, text, err)
				}
				if err := fits.Validate(v); err != nil {
					t.Fatalf("seed %d: %s: %v", seed, text, err)
				}
			}
		})
	}
}

// schemas draws schemas that some value fits, of all the keywords that nest.
func schemas(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		kinds := []string{"string", "pattern", "format", "integer", "number", "boolean", "null", "enum", "const", "types"}
		if depth > 0 {
			kinds = append(kinds, "array", "prefix", "object", "object", "map", "anyOf", "oneOf", "allOf", "ref", "recursive", "if")
		}
		inner := func(label string) map[string]any { return schemas(depth-1).Draw(t, label) }
		switch rapid.SampledFrom(kinds).Draw(t, "kind") {
		case "string":
			lo := rapid.IntRange(0, 30).Draw(t, "lo")
			return map[string]any{"type": "string", "minLength": lo, "maxLength": lo + rapid.IntRange(0, 5).Draw(t, "more")}
		case "pattern":
			return map[string]any{"type": "string", "pattern": rapid.SampledFrom([]string{
				`^[a-z]+$`, `\d{3}-\d{4}`, `^(GET|POST) /`, `^[^\s]{2,5}$`, `\p{Lu}`, `^#[0-9a-fA-F]{6}$`, `(a|b)*c$`, `^$`, `.`}).Draw(t, "pattern")}
		case "format":
			return map[string]any{"type": "string", "format": rapid.SampledFrom(formats()).Draw(t, "format")}
		case "integer":
			lo := rapid.IntRange(-1000, 1000).Draw(t, "lo")
			return map[string]any{"type": "integer", "minimum": lo, "exclusiveMaximum": lo + rapid.IntRange(1, 2000).Draw(t, "more")}
		case "number":
			lo := rapid.Float64Range(-1e6, 1e6).Draw(t, "lo")
			return map[string]any{"type": "number", "exclusiveMinimum": lo, "maximum": lo + rapid.Float64Range(0.001, 100).Draw(t, "more")}
		case "boolean", "null":
			return map[string]any{"type": rapid.SampledFrom([]string{"boolean", "null"}).Draw(t, "type")}
		case "enum":
			return map[string]any{"enum": rapid.SliceOfNDistinct(rapid.SampledFrom([]any{"a", "b", 1, 2.5, true, nil}), 1, 4, rapid.ID[any]).Draw(t, "enum")}
		case "const":
			return map[string]any{"const": rapid.SampledFrom([]any{"x", 0, false, nil, []any{1}, map[string]any{"a": "b"}}).Draw(t, "const")}
		case "types":
			return map[string]any{"type": rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"string", "integer", "number", "boolean", "null", "array", "object"}), 1, 4, rapid.ID[string]).Draw(t, "types")}
		case "array":
			lo := rapid.IntRange(0, 3).Draw(t, "lo")
			return map[string]any{"type": "array", "items": inner("items"), "minItems": lo, "maxItems": lo + rapid.IntRange(0, 2).Draw(t, "more")}
		case "prefix":
			return map[string]any{"type": "array", "prefixItems": []any{inner("first"), inner("second")}, "items": rapid.Bool().Draw(t, "items"), "minItems": rapid.IntRange(0, 2).Draw(t, "lo")}
		case "object":
			properties := map[string]any{}
			required := []string{}
			for _, name := range []string{"a", "b/c", "name"}[:rapid.IntRange(1, 3).Draw(t, "count")] {
				properties[name] = inner(name)
				if rapid.Bool().Draw(t, "required") {
					required = append(required, name)
				}
			}
			return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": rapid.Bool().Draw(t, "more")}
		case "map":
			return map[string]any{"type": "object", "additionalProperties": inner("values"), "minProperties": rapid.IntRange(0, 3).Draw(t, "lo")}
		case "anyOf":
			return map[string]any{"anyOf": []any{inner("one"), inner("other"), false}}
		case "oneOf": // told apart by a constant: of any two schemas both may fit
			branch := func(kind string) any {
				return map[string]any{"type": "object", "properties": map[string]any{"kind": map[string]any{"const": kind}, "v": inner(kind)}, "required": []any{"kind", "v"}}
			}
			return map[string]any{"oneOf": []any{branch("x"), branch("y")}}
		case "allOf":
			return map[string]any{"allOf": []any{inner("all"), map[string]any{}, true}}
		case "ref":
			return map[string]any{"type": "object", "properties": map[string]any{"a": inner("a"), "same": map[string]any{"type": "array", "items": inner("items")}}, "required": []any{"a"}}
		case "recursive":
			return map[string]any{"$id": fmt.Sprintf("schema:%d", rapid.Uint32().Draw(t, "id")), "type": "object",
				"properties": map[string]any{"v": inner("v"), "kids": map[string]any{"type": "array", "items": map[string]any{"$ref": "#"}, "maxItems": 2}}, "required": []any{"v", "kids"}}
		default: // "if"
			return map[string]any{"type": "object", "properties": map[string]any{"k": map[string]any{"type": "boolean"}, "v": inner("v")}, "required": []any{"k"},
				"if": map[string]any{"properties": map[string]any{"k": map[string]any{"const": true}}}, "then": map[string]any{"required": []any{"v"}}}
		}
	})
}

func TestInventedAnswersFitAnySchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, err := json.Marshal(schemas(3).Draw(t, "schema"))
		if err != nil {
			t.Fatal(err)
		}
		seed := rapid.Uint64().Draw(t, "seed")
		s, err := Compile(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		v, err := s.invent(t.Context(), nil, chance(seed))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		text, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
		if err != nil {
			t.Fatal(err)
		}
		again, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("test:schema", doc); err != nil {
			t.Fatal(err)
		}
		if err := c.MustCompile("test:schema").Validate(again); err != nil {
			t.Fatalf("%s\n%s\n%v", source, text, err)
		}
		repeated, err := s.invent(t.Context(), nil, chance(seed))
		if err != nil {
			t.Fatal(err)
		}
		if same, _ := Encode(repeated); same != text {
			t.Fatalf("the same seed gave %s and %s", text, same)
		}
	})
}

func TestWhatCannotBeInventedIsAnErrorThatSaysWhere(t *testing.T) {
	for name, c := range map[string]struct{ schema, want string }{
		"false":            {`false`, "allows no value"},
		"bounds":           {`{"type":"object","properties":{"a":{"type":"array","minItems":1,"items":{"type":"integer","minimum":5,"maximum":3}}},"required":["a"]}`, "at /a/0: no number fits"},
		"types":            {`{"allOf":[{"type":"string"},{"type":"integer"}]}`, "exclude each other"},
		"length":           {`{"type":"string","minLength":5,"maxLength":3}`, "at least 5 and at most 3"},
		"giant text":       {`{"type":"string","minLength":1000000000}`, "up to 16384 characters"},
		"giant array":      {`{"type":"array","minItems":1000000000,"items":{"const":1}}`, "too much work"},
		"giant object":     {`{"type":"object","minProperties":1000000000}`, "too much work"},
		"giant contains":   {`{"type":"array","contains":{"const":1},"minContains":1000000000}`, "too much work"},
		"pattern":          {`{"type":"string","pattern":"^a$","minLength":3}`, "matches /^a$/"},
		"assertions":       {`{"type":"string","pattern":"a^b"}`, "matches /a^b/"},
		"enum":             {`{"enum":["a"],"type":"integer"}`, "const and enum"},
		"endless":          {`{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]}`, "nest without end"},
		"refers to itself": {`{"$ref":"#"}`, "too much work"},
		"unique":           {`{"type":"array","items":{"type":"boolean"},"minItems":3,"uniqueItems":true}`, "differs from the others"},
		"closed":           {`{"type":"object","required":["a"],"additionalProperties":false}`, "at /a: "},
		"no names":         {`{"type":"object","minProperties":2,"propertyNames":{"const":"a"}}`, "names"},
		"doubling":         {doubling(40), "too much work"},
		"deep doubling":    {`{"$defs":{"n":{"allOf":[` + strings.Repeat(`{"properties":{"n":{"$ref":"#/$defs/n"}}},`, 9) + `{"type":"object"}]}},"$ref":"#/$defs/n","required":["n"]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile([]byte(c.schema))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			v, err := s.invent(t.Context(), nil, chance(1))
			if c.want == "" && err == nil {
				return // hard, not impossible
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", v, err, c.want)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// doubling is a schema of n definitions, each of which refers twice to the next.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`{"$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%[2]d"}]},`, i, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{"type":"string"}},"$ref":"#/$defs/d0"}`, n)
	return b.String()
}

func TestSchemasThatCannotBeCompiledAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ schema, want string }{
		"not JSON":       {`{`, "not JSON"},
		"not a schema":   {`{"type":12}`, "type"},
		"file":           {`{"$ref":"file:///etc/passwd"}`, "a schema outside the request is not read"},
		"network":        {`{"$ref":"http://127.0.0.1:1/x"}`, "a schema outside the request is not read"},
		"own metaschema": {`{"$schema":"http://127.0.0.1:1/x"}`, "a schema outside the request is not read"},
		"missing":        {`{"$ref":"#/$defs/none"}`, "none"},
		"lookahead":      {`{"pattern":"(?=a)"}`, "(?=a)"},
		"giant number":   {`{"minimum":1e999999999}`, "exponents"},
		"deep":           {strings.Repeat(`{"not":`, 5000) + `{}` + strings.Repeat(`}`, 5000), "too large"},
		"wide":           {`{"allOf":[` + strings.Repeat(`{},`, 7000) + `{}]}`, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile([]byte(c.schema)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestInventionEndsWithItsContext(t *testing.T) {
	s, err := Compile([]byte(`{"type":"string"}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := s.invent(ctx, nil, chance(1)); err == nil {
		t.Errorf("got %v after the end of the context", v)
	}
}

func TestABrokenAnswerViolatesTheNamedPlaceAlone(t *testing.T) {
	const order = `{"type":"object","properties":{
		"id":{"type":"string","format":"uuid"},
		"paid":{"type":"boolean"},
		"note":{"type":"string"},
		"status":{"enum":["open","shipped"]},
		"items":{"type":"array","items":{"type":"object","properties":{"price":{"type":"number","minimum":0},"a/b~":{"type":"integer"}},"required":["price"]}}
		},"required":["id","items"],"additionalProperties":false}`
	for _, at := range []string{"", "/id", "/paid", "/note", "/status", "/items", "/items/0", "/items/0/price", "/items/2/price", "/items/1/a~1b~0"} {
		t.Run(at, func(t *testing.T) {
			s, err := Compile([]byte(order))
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(20) {
				v, err := s.Broken(t.Context(), &at, chance(seed))
				if err != nil {
					t.Fatal(err)
				}
				if got := violated(t, order, v); !slices.Equal(got, []string{at}) {
					t.Fatalf("seed %d: %v violates %q, want %q alone", seed, v, got, at)
				}
			}
		})
	}
}

// violated returns the places that a value violates, by the validator's words.
func violated(t *testing.T, schema string, v any) []string {
	t.Helper()
	var failure *jsonschema.ValidationError
	if !errors.As(validator(t, schema).Validate(v), &failure) {
		return nil
	}
	places := map[string]bool{}
	for _, unit := range failure.DetailedOutput().Errors {
		places[unit.InstanceLocation] = true
	}
	if len(places) == 0 {
		places[failure.DetailedOutput().InstanceLocation] = true
	}
	return sorted(places)
}

func TestABrokenAnswerIsBrokenInOnePlaceOfAnySchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, err := json.Marshal(schemas(2).Draw(t, "schema"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Broken(t.Context(), nil, chance(rapid.Uint64().Draw(t, "seed")))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if s.root.Validate(v) == nil {
			t.Fatalf("%s: %v is right", source, v)
		}
	})
}

func TestAPlaceThatCannotBeBrokenIsAnError(t *testing.T) {
	for _, c := range []struct{ schema, at, want string }{
		{`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`, "/b", "no answer that fits the schema has a place /b"},
		{`{"type":"object","properties":{"a":{"type":"string"}}}`, "/a/b", "has a place /a/b"},
		{`{"type":"object","properties":{"a":{}},"required":["a"]}`, "/a", "takes any value"},
	} {
		s, err := Compile([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Broken(t.Context(), &c.at, chance(1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s at %s: got %v, %v; want an error with %q", c.schema, c.at, v, err, c.want)
		}
	}
	s, err := Compile([]byte(`true`))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Broken(t.Context(), nil, chance(1)); err == nil {
		t.Errorf("the schema that takes anything was broken by %v", v)
	}
}

func FuzzInvent(f *testing.F) {
	for _, s := range keywords {
		f.Add([]byte(s), uint64(1))
	}
	f.Add([]byte(doubling(40)), uint64(1))
	f.Add([]byte(`{"minimum":1e999999999}`), uint64(1))
	f.Fuzz(func(t *testing.T, source []byte, seed uint64) {
		start := time.Now()
		s, err := Compile(source)
		if err == nil {
			v, err := s.invent(t.Context(), nil, chance(seed))
			if err == nil && s.root.Validate(v) != nil {
				t.Errorf("%v does not fit", v)
			}
			if bad, err := s.Broken(t.Context(), nil, chance(seed)); err == nil && s.root.Validate(bad) == nil {
				t.Errorf("%v is not broken", bad)
			}
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

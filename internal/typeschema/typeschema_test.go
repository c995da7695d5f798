package typeschema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/internal/typeschema"
)

type Size string

func (Size) EnumValues() []any { return []any{"S", "M"} }

type Level int

func (*Level) EnumValues() []any { return []any{1, 2} } // by its pointer

type Tree struct {
	Label    string  `json:"label"`
	Children []*Tree `json:"children,omitempty"`
}

type Pair[A, B any] struct {
	First  A
	Second B
}

type Point struct{ X int32 }

type Names []string

type Forest []Forest

type Note struct {
	Name string   `json:"name" jsonschema:"minLength=1"`
	Tags []string `json:"tags,omitempty"`
	At   time.Time
}

// Money is written as text, by the usual pair of methods.
type Money struct{ cents int64 }

func (m Money) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"%d EUR"`, m.cents), nil }

func (m *Money) UnmarshalJSON(text []byte) error {
	_, err := fmt.Sscanf(string(text), `"%d EUR"`, &m.cents)
	if err != nil {
		return fmt.Errorf("%s is not an amount of EUR", text)
	}
	return nil
}

type Optional[T any] struct{ Value *T }

func (o Optional[T]) MarshalJSON() ([]byte, error)     { return json.Marshal(o.Value) }
func (o *Optional[T]) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &o.Value) }

type Described struct{ X, Y int }

type Referring struct{ A int }

func (Referring) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"$ref":"#/$defs/Q","$defs":{"Q":{"type":"integer"}}}`)
}

type Odd struct{ A int }

func (Odd) JSONSchema() any {
	return map[string]any{"type": "object", "default": nil, "properties": map[string]any{"A": map[string]any{"$ref": "#/$defs/None"}}, "$defs": map[string]bool{"None": false}}
}

// Animal is a union by hand: it decodes no sample, and its zero value is null.
type Animal struct{ Kind any }

func (a *Animal) UnmarshalJSON(text []byte) error {
	var o struct{ Kind string }
	if string(text) == "null" {
		return nil
	}
	if json.Unmarshal(text, &o) != nil || o.Kind == "" {
		return errors.New("needs a kind")
	}
	a.Kind = o.Kind
	return nil
}

func (a Animal) MarshalJSON() ([]byte, error) { return json.Marshal(a.Kind) }

type Stamp struct {
	time.Time // its methods are those of the Stamp
	Zone      string
}

func (*Described) JSONSchema() any {
	return map[string]any{"type": "string", "pattern": "^x", "$schema": "https://json-schema.org/draft/2020-12/schema"}
}

type Inner struct {
	Size
	A int `json:"a"`
}

type Base struct {
	ID   int `json:"id"`
	Kind int `json:"kind"`
}

type Outer struct {
	Base
	*Point
	Kind string `json:"kind"` // hides Base's
}

type Circle struct{ R float64 }
type Square struct {
	Type string `json:"type" jsonschema:"enum=sq"`
	Side int
}
type Shape = struct {
	_     typeschema.Union[Circle, Square]
	Value any
}

func twoPoints() reflect.Type {
	type first = Point
	type Point struct{ Y bool }
	return reflect.TypeFor[struct {
		A, B first
		C, D Point
	}]()
}

func TestTheSchemaOfAType(t *testing.T) {
	for name, c := range map[string]struct {
		of     reflect.Type
		object bool
		want   string // or a part of it
	}{
		"a struct": {reflect.TypeFor[Note](), true, `{"type":"object","properties":{"name":{"type":"string","minLength":1},"tags":{"type":"array","items":{"type":"string"}},` +
			`"At":{"type":"string","format":"date-time"}},"required":["name","At"],"additionalProperties":false}`},
		"a pointer to a struct":       {reflect.TypeFor[*Point](), true, `{"type":"object","properties":{"X":{"type":"integer","maximum":2147483647,"minimum":-2147483648}},`},
		"a map":                       {reflect.TypeFor[map[string]float64](), true, `{"type":"object","additionalProperties":{"type":"number"}}`},
		"a slice":                     {reflect.TypeFor[[]bool](), false, `{"type":"array","items":{"type":"boolean"}}`},
		"an array":                    {reflect.TypeFor[[2]bool](), false, `{"type":"array","maxItems":2,"minItems":2,"items":{"type":"boolean"}}`},
		"bytes":                       {reflect.TypeFor[[]byte](), false, `{"type":"string","contentEncoding":"base64","pattern":"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}`},
		"a type that holds itself":    {reflect.TypeFor[Tree](), true, `"items":{"$ref":"#/$defs/Tree"}}},"required":["label"],"additionalProperties":false,"$defs":{"Tree":{`},
		"a slice that holds itself":   {reflect.TypeFor[struct{ F Forest }](), true, `{"F":{"type":"array","items":{"$ref":"#/$defs/Forest"}}}`},
		"a type that is used once":    {reflect.TypeFor[struct{ P Point }](), true, `"P":{"type":"object",`},
		"a closed set of values":      {reflect.TypeFor[Size](), false, `{"type":"string","enum":["S","M"]}`},
		"a set of a pointer's":        {reflect.TypeFor[Level](), false, `{"type":"integer","enum":[1,2]}`},
		"a set of an embedded type":   {reflect.TypeFor[Inner](), true, `"properties":{"Size":{"type":"string","enum":["S","M"]},"a":{"type":"integer"}}`},
		"keys of a closed set":        {reflect.TypeFor[map[Size]bool](), true, `"propertyNames":{"enum":["S","M"]}`},
		"keys that are integers":      {reflect.TypeFor[map[int8]bool](), true, `"propertyNames":{"pattern":"^(0|-?[1-9][0-9]{0,2})$"}`},
		"keys with text of their own": {reflect.TypeFor[map[netip.Addr]bool](), true, `{"type":"object","additionalProperties":{"type":"boolean"}}`},
		"a number as text":            {reflect.TypeFor[json.Number](), false, `{"type":"number"}`},
		"what encodes itself as text": {reflect.TypeFor[netip.Addr](), false, `{"type":"string"}`},
		"the usual pair":              {reflect.TypeFor[Money](), false, `{"type":"string","description":"written like \"0 EUR\""}`},
		"a large integer":             {reflect.TypeFor[big.Int](), false, `{"type":"integer"}`},
		"a level of a log":            {reflect.TypeFor[slog.Level](), false, `{"type":"string","description":"written like \"INFO\""}`},
		"an optional":                 {reflect.TypeFor[Optional[int]](), false, `{"anyOf":[{"type":"integer"},{"type":"null"}]}`},
		"any JSON":                    {reflect.TypeFor[struct{ A, B any }](), true, `"properties":{"A":true,"B":true}`},
		"raw JSON":                    {reflect.TypeFor[struct{ A json.RawMessage }](), true, `"properties":{"A":true}`},
		"a schema of its own":         {reflect.TypeFor[Described](), false, `{"type":"string","pattern":"^x"}`},
		"definitions of its own":      {reflect.TypeFor[struct{ A, B Referring }](), true, `{"A":{"$ref":"#/$defs/Q"},"B":{"$ref":"#/$defs/Q"}},"required":["A","B"],"additionalProperties":false,"$defs":{"Q":{"type":"integer"}}}`},
		"an embedded time":            {reflect.TypeFor[Stamp](), false, `{"type":"string","description":"written like \"0001-01-01T00:00:00Z\""}`},
		"a duration":                  {reflect.TypeFor[time.Duration](), false, `{"type":"string","format":"duration"}`},
		"a URL":                       {reflect.TypeFor[*url.URL](), false, `{"type":"string","format":"uri"}`},
		"a pointer within":            {reflect.TypeFor[struct{ D *int }](), true, `"D":{"anyOf":[{"type":"integer"},{"type":"null"}]}},"required":["D"]`},
		"pointers to numbers":         {reflect.TypeFor[[]*bool](), false, `"items":{"anyOf":[{"type":"boolean"},{"type":"null"}]}`},
		"pointers to structs":         {reflect.TypeFor[[]*Point](), false, `"items":{"type":"object"`},
		"a small integer":             {reflect.TypeFor[uint8](), false, `{"type":"integer","maximum":255,"minimum":0}`},
		"a large one":                 {reflect.TypeFor[uint64](), false, `{"type":"integer","minimum":0}`},
		"numbers in quotes": {reflect.TypeFor[struct {
			A int     `json:",string"`
			B bool    `json:",string"`
			C float64 `json:",string"`
		}](), true, `{"A":{"type":"string","pattern":"^(0|-?[1-9][0-9]{0,18})$"},"B":{"type":"string","enum":["true","false"]},` +
			`"C":{"type":"string","pattern":"^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?$"}}`},
		"two types of the same name":            {twoPoints(), true, `"$ref":"#/$defs/Point_2"`},
		"a generic type within":                 {reflect.TypeFor[struct{ P, Q Pair[int, Size] }](), true, `"$ref":"#/$defs/Pair_int_`},
		"embedded structs":                      {reflect.TypeFor[Outer](), true, `"properties":{"id":{"type":"integer"},"X":{"type":"integer","maximum":2147483647,"minimum":-2147483648},"kind":{"type":"string"}}`},
		"null and false in a type's own schema": {reflect.TypeFor[Odd](), true, `"default":null,"properties":{"A":{"$ref":"#/$defs/None"}},"$defs":{"None":false}}`},
		"a type that tells objects apart":       {reflect.TypeFor[struct{ A Animal }](), true, `"properties":{"A":true}`},
		"a union": {reflect.TypeFor[Shape](), false, `{"anyOf":[{"type":"object","properties":{"type":{"type":"string","enum":["Circle"]},"R":{"type":"number"}},"required":["type","R"],"additionalProperties":false},` +
			`{"type":"object","properties":{"type":{"type":"string","enum":["sq"]},"Side":{"type":"integer"}},"required":["type","Side"],"additionalProperties":false}]}`},
	} {
		schema, err := typeschema.Of(c.of)
		if err != nil || schema.Object != c.object || !strings.Contains(string(schema.Asked), c.want) || !json.Valid(schema.Asked) || !json.Valid(schema.Checked) {
			t.Errorf("%s: object %v, %v\n%s\nwant\n%s", name, schema.Object, err, schema.Asked, c.want)
		}
	}
}

// From the second kind of slice on, tags were lost, because the reflector made a
// definition of a type without a name; so were those of named slices, and a description
// beside a reference.
func TestNoTagIsLost(t *testing.T) {
	schema, err := typeschema.Of(reflect.TypeFor[struct {
		Tags  []string           `json:"tags" jsonschema:"enum=a,enum=b,minItems=1"`
		Codes []int              `json:"codes" jsonschema:"enum=1,enum=2,minItems=2,uniqueItems=true"`
		Names Names              `json:"names" jsonschema:"minItems=2,maxItems=3,minLength=4" jsonschema_description:"of all, in order"`
		Votes map[string]float64 `json:"votes" jsonschema:"maximum=1,minProperties=2"`
		Grid  [][]uint16         `json:"grid" jsonschema:"maxItems=3,maximum=9"`
		From  Point              `json:"from" jsonschema:"description=the start"`
		To    Point              `json:"to" jsonschema_description:"the end, at last"`
		Maybe *string            `json:"maybe" jsonschema:"pattern=^[a-z]{1\\,3}$,description=may be none"`
		Any   any                `json:"any" jsonschema:"oneof_type=string;integer" jsonschema_extras:"x-a=1,deprecated=true"`
	}]())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"tags":{"type":"array","minItems":1,"items":{"type":"string","enum":["a","b"]}}`,
		`"codes":{"type":"array","minItems":2,"uniqueItems":true,"items":{"type":"integer","enum":[1,2]}}`,
		`"names":{"type":"array","description":"of all, in order","maxItems":3,"minItems":2,"items":{"type":"string","minLength":4}}`,
		`"votes":{"type":"object","minProperties":2,"additionalProperties":{"type":"number","maximum":1}}`,
		`"grid":{"type":"array","maxItems":3,"items":{"type":"array","items":{"type":"integer","maximum":9,"minimum":0}}}`,
		`"from":{"$ref":"#/$defs/Point","description":"the start"}`,
		`"to":{"$ref":"#/$defs/Point","description":"the end, at last"}`,
		`"maybe":{"description":"may be none","anyOf":[{"type":"string","pattern":"^[a-z]{1,3}$"},{"type":"null"}]}`,
		`"any":{"deprecated":true,"x-a":1,"anyOf":[{"type":"string"},{"type":"integer"}]}`,
	} {
		if !strings.Contains(string(schema.Asked), want) {
			t.Errorf("no %s in\n%s", want, schema.Asked)
		}
	}
}

func TestTheCheckedFormTakesWhatIsDecoded(t *testing.T) {
	schema, err := typeschema.Of(reflect.TypeFor[struct {
		A int64    `json:"a,omitempty"`
		B []string `json:"b"`
		C []string `json:"c" jsonschema:"minItems=1"`
		D time.Duration
		E []byte `json:"e,omitempty" jsonschema:"pattern=^A"`
	}]())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"a":{"anyOf":[{"type":"integer","maximum":9223372036854775807,"minimum":-9223372036854775808},{"type":"null","deprecated":true}]}`,
		`"b":{"anyOf":[{"type":"array","items":{"type":"string"}},{"type":"null","deprecated":true}]}`,
		`"c":{"type":"array","minItems":1,"items":{"type":"string"}}`,
		`"D":{"type":"string","examples":["PT1H30M"]}`,
		`{"type":"string","contentEncoding":"base64","pattern":"^A"}`,
	} {
		if !strings.Contains(string(schema.Checked), want) {
			t.Errorf("no %s in\n%s", want, schema.Checked)
		}
	}
}

type Loop *Loop

type hidden struct{ Zip string }

type Promoted struct {
	*hidden
	A int
}

type Unnamed = struct {
	_     typeschema.Union[Circle, []int]
	Value any
}

type Redeclared OneOf[Circle, Point]

type Typed struct{ Type int }

type Clash struct {
	Type string `json:"type"`
}

// Nothing is paid for a type that can never be decoded, or a tag that does nothing.
// Linked refers to its own schema, which is another one within a struct.
type Linked struct{ Next *Linked }

func (Linked) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"object","properties":{"Next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}`)
}

func TestATypeMayReferToItsOwnSchemaAtTheTop(t *testing.T) {
	schema, err := typeschema.Of(reflect.TypeFor[Linked]())
	if err != nil || violations(t, schema.Checked, `{"Next":{"Next":null}}`) != "" {
		t.Errorf("%s, %v", schema.Checked, err)
	}
}

func TestWhatHasNoSchemaSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		of   reflect.Type
		want string
	}{
		{reflect.TypeFor[struct{ C chan int }](), `.C: chan int has no JSON: leave it out with the tag json:"-"`},
		{reflect.TypeFor[[]func()](), `[]func()[]: func() has no JSON`},
		{reflect.TypeFor[map[string]complex128](), `map[string]complex128[]: complex128 has no JSON`},
		{reflect.TypeFor[struct{ E error }](), `.E: nothing can be decoded into the interface error: make it one of several types with llmcall.OneOf`},
		{reflect.TypeFor[struct{ R map[string][]io.Reader }](), `.R[][]: nothing can be decoded into the interface io.Reader`},
		{reflect.TypeFor[map[float64]int](), `can't decode a map with keys of type float64: use strings`},
		{reflect.TypeFor[struct{ P Loop }](), `.P: typeschema_test.Loop has no JSON, since it points to itself`},
		{reflect.TypeFor[Loop](), `Loop: typeschema_test.Loop has no JSON`},
		{reflect.TypeFor[struct{ P Promoted }](), `.P.hidden: encoding/json can't set the embedded pointer to the unexported typeschema_test.hidden`},
		{reflect.TypeFor[struct{ M sync.Mutex }](), `.M: sync.Mutex has no exported field`},
		{reflect.TypeFor[struct{ name string }](), `has no exported field, so that JSON does not reach its name`},
		{reflect.TypeFor[struct{ R Redeclared }](), `.R: typeschema_test.Redeclared lacks the methods of the llmcall.OneOf that it is declared from: write type Redeclared = llmcall.OneOf[…]`},
		{reflect.TypeFor[Unnamed](), `[]int has no name to tell it from the other types of the union`},
		{reflect.TypeFor[struct {
			_     typeschema.Union[Point, Point]
			Value any
		}](), `both called "Point": rename one`},
		{reflect.TypeFor[struct {
			_     typeschema.Union[Point, Clash]
			Value any
		}](), `has a field "type", as the union needs it`},
		{reflect.TypeFor[struct{ L Linked }](), `.L: typeschema_test.Linked.JSONSchema has the $ref "#", which is another place where the type is in struct`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"mimimum=1"`
		}](), `.N: the tag jsonschema has the unknown keyword "mimimum", did you mean minimum?`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"min=1"`
		}](), `.N: the tag jsonschema has the unknown keyword "min"`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"description=some, with comma"`
		}](), `.N: the tag jsonschema has " with comma" without a keyword: put a text with commas into jsonschema_description`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"the name"`
		}](), `.N: the tag jsonschema has "the name" without a keyword: write a description as jsonschema_description`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"enum=a,b"`
		}](), `write each value with its keyword: enum=a,enum=b`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"enum=a|b"`
		}](), `enum=a|b is one value: write enum=a,enum=b`},
		{reflect.TypeFor[struct {
			N string `jsonschema_descripton:"x"`
		}](), `unknown tag "jsonschema_descripton", did you mean jsonschema_description?`},
		{reflect.StructOf([]reflect.StructField{{Name: "N", Type: reflect.TypeFor[string](), Tag: `json:"n" jsonschema: "minLength=1"`}}), `the tag jsonschema can't be read`},
		{reflect.TypeFor[struct {
			N string `jsonshema:"minLength=1"`
		}](), `.N: unknown tag "jsonshema", did you mean jsonschema?`},
		{reflect.TypeFor[struct {
			N string `json_schema_description:"x"`
		}](), `.N: unknown tag "json_schema_description", did you mean jsonschema_description?`},
		{reflect.StructOf([]reflect.StructField{{Name: "N", Type: reflect.TypeFor[string](), Tag: `json:"n,omitemtpy"`}}), `.N: the tag json has the unknown option "omitemtpy", did you mean omitempty?`},
		{reflect.StructOf([]reflect.StructField{{Name: "N", Type: reflect.TypeFor[string](), Tag: `json:"n, omitempty"`}}), `the tag json has the unknown option " omitempty", did you mean omitempty?`},
		{reflect.StructOf([]reflect.StructField{{Name: "N", Type: reflect.TypeFor[string](), Tag: `json: "n"`}}), `the tag json can't be read`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"minimum=1"`
		}](), `.N: minimum is for numbers and integers, and the field has strings`},
		{reflect.TypeFor[struct {
			N []int `jsonschema:"minLength=1"`
		}](), `.N: minLength is for strings, and the field has integers`},
		{reflect.TypeFor[struct {
			N int `json:",string" jsonschema:"minimum=1"`
		}](), `minimum is for numbers`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"minimum=5,maximum=3"`
		}](), `minimum (5) is more than maximum (3): no value can pass`},
		{reflect.TypeFor[struct {
			N uint8 `jsonschema:"minimum=300"`
		}](), `minimum (300) is more than maximum (255): no value can pass`},
		{reflect.TypeFor[struct {
			N float64 `jsonschema:"exclusiveMinimum=5,exclusiveMaximum=5"`
		}](), `exclusiveMinimum (5) is not less than exclusiveMaximum (5): no value can pass`},
		{reflect.TypeFor[struct {
			N uint8 `jsonschema:"exclusiveMinimum=255"`
		}](), `exclusiveMinimum (255) is not less than maximum (255): no value can pass`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"minimum=one"`
		}](), `minimum must be a number, got "one"`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"enum=1.5"`
		}](), `enum must be one of the field's integers, got "1.5"`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"minLength=-1"`
		}](), `minLength must be a whole number >= 0, got "-1"`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"minLength"`
		}](), `minLength must have a value`},
		{reflect.TypeFor[struct {
			N string `jsonschema:"pattern=^[a"`
		}](), `pattern must be a regular expression`},
		{reflect.TypeFor[struct {
			N time.Time `jsonschema:"format=date"`
		}](), `format=date contradicts the Go type`},
		{reflect.TypeFor[struct {
			N int `jsonschema:"type=string"`
		}](), `type=string contradicts the Go type, which has integers`},
		{reflect.TypeFor[struct {
			N Point `jsonschema:"minProperties=1"`
		}](), `minProperties is for maps`},
		{reflect.TypeFor[struct {
			N Size `jsonschema:"enum=S"`
		}](), `enum contradicts the values of EnumValues`},
	} {
		schema, err := typeschema.Of(c.of)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v %s\nwant %s", c.of, err, schema.Asked, c.want)
		}
	}
}

func TestTagsOfOtherLibrariesAreNotLookedAt(t *testing.T) {
	_, err := typeschema.Of(reflect.StructOf([]reflect.StructField{{
		Name: "N", Type: reflect.TypeFor[string](),
		Tag: `json:"n,case:ignore,inline,required," bson:"n,omitempty" schema:"n" validate:"required,email" yaml:"n" jsonapi:"attr,n" description:"as json:"`,
	}}))
	if err != nil {
		t.Error(err)
	}
}

func TestNamesAreThoseThatProvidersTake(t *testing.T) {
	type Größe struct{}
	type AVeryLongNameAVeryLongNameAVeryLongNameAVeryLongNameAVeryLongNameAVeryLongName struct{}
	for want, of := range map[string]reflect.Type{
		"Point":                  reflect.TypeFor[**Point](),
		"answer":                 reflect.TypeFor[[]Point](),
		"Pair_string_bool_":      reflect.TypeFor[Pair[string, bool]](),
		"Gr__e":                  reflect.TypeFor[Größe](),
		"AVeryLongNameAVeryLong": reflect.TypeFor[AVeryLongNameAVeryLongNameAVeryLongNameAVeryLongNameAVeryLongNameAVeryLongName](),
	} {
		if got := typeschema.Name(of); !strings.HasPrefix(got, want) || len(got) > 64 {
			t.Errorf("%v: %q, want %q", of, got, want)
		}
	}
}

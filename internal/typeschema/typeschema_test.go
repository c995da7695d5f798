package typeschema_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/internal/typeschema"
)

type Size string

func (Size) EnumValues() []any { return []any{"S", "M"} }

type Tree struct {
	Label    string  `json:"label"`
	Children []*Tree `json:"children,omitempty"`
}

type Pair[A, B any] struct {
	First  A
	Second B
}

type Point struct{ X int }

type Note struct {
	Name string   `json:"name" jsonschema:"minLength=1"`
	Tags []string `json:"tags,omitempty"`
	At   time.Time
}

func twoPoints() reflect.Type {
	type first = Point
	type Point struct{ Y int }
	return reflect.TypeFor[struct {
		A first
		B Point
	}]()
}

func TestTheSchemaOfAType(t *testing.T) {
	for name, c := range map[string]struct {
		of       reflect.Type
		isObject bool
		want     string // or a part of it
	}{
		"a struct": {reflect.TypeFor[Note](), true, `{"properties":{"name":{"type":"string","minLength":1},"tags":{"items":{"type":"string"},"type":"array"},` +
			`"At":{"type":"string","format":"date-time"}},"additionalProperties":false,"type":"object","required":["name","At"]}`},
		"a pointer to a struct":       {reflect.TypeFor[*Point](), true, `{"properties":{"X":{"type":"integer"}},`},
		"a map":                       {reflect.TypeFor[map[string]float64](), true, `{"additionalProperties":{"type":"number"},"type":"object"}`},
		"a slice":                     {reflect.TypeFor[[]bool](), false, `{"items":{"type":"boolean"},"type":"array"}`},
		"a type that holds itself":    {reflect.TypeFor[Tree](), true, `"type":"object","required":["label"],"$defs":{"Tree":{`},
		"a closed set of values":      {reflect.TypeFor[Size](), false, `{"type":"string","enum":["S","M"]}`},
		"keys of a closed set":        {reflect.TypeFor[map[string]Size](), true, `"enum":["S","M"]`},
		"a number as text":            {reflect.TypeFor[json.Number](), false, `{"type":"number"}`},
		"what encodes itself as text": {reflect.TypeFor[netip.Addr](), false, `{"type":"string"}`},
		"two types of the same name":  {twoPoints(), true, `"$ref":"#/$defs/Point_2"`},
		"a generic type within":       {reflect.TypeFor[struct{ P Pair[int, Size] }](), true, `"$ref":"#/$defs/Pair_int_`},
	} {
		text, isObject, err := typeschema.Of(c.of)
		if err != nil || isObject != c.isObject || !strings.Contains(string(text), c.want) || !json.Valid(text) {
			t.Errorf("%s: %s, object %v, %v", name, text, isObject, err)
		}
	}
}

func TestATypeWithoutJSONHasNoSchema(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[struct{ C chan int }](), reflect.TypeFor[[]func()](), reflect.TypeFor[map[string]complex128]()} {
		if text, _, err := typeschema.Of(of); err == nil {
			t.Errorf("%v: %s", of, text)
		}
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

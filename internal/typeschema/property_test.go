package typeschema_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/internal/typeschema"
	"llmcall/validate"
)

// leaves are types of which others are made, with values that encoding/json
// round-trips.
var leaves = []struct {
	of    reflect.Type
	value func(t *rapid.T) any
}{
	{reflect.TypeFor[string](), func(t *rapid.T) any { return rapid.String().Draw(t, "string") }},
	{reflect.TypeFor[bool](), func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }},
	{reflect.TypeFor[int](), func(t *rapid.T) any { return rapid.Int().Draw(t, "int") }},
	{reflect.TypeFor[int8](), func(t *rapid.T) any { return rapid.Int8().Draw(t, "int8") }},
	{reflect.TypeFor[int32](), func(t *rapid.T) any { return rapid.Int32().Draw(t, "int32") }},
	{reflect.TypeFor[int64](), func(t *rapid.T) any { return rapid.Int64().Draw(t, "int64") }},
	{reflect.TypeFor[uint8](), func(t *rapid.T) any { return rapid.Uint8().Draw(t, "uint8") }},
	{reflect.TypeFor[uint64](), func(t *rapid.T) any { return rapid.Uint64().Draw(t, "uint64") }},
	{reflect.TypeFor[float32](), func(t *rapid.T) any { return rapid.Float32().Draw(t, "float32") }},
	{reflect.TypeFor[float64](), func(t *rapid.T) any { return rapid.Float64().Draw(t, "float64") }},
	{reflect.TypeFor[Size](), func(t *rapid.T) any { return rapid.SampledFrom([]Size{"S", "M"}).Draw(t, "Size") }},
	{reflect.TypeFor[Level](), func(t *rapid.T) any { return rapid.SampledFrom([]Level{1, 2}).Draw(t, "Level") }},
	{reflect.TypeFor[Money](), func(t *rapid.T) any { return Money{rapid.Int64().Draw(t, "Money")} }},
	{reflect.TypeFor[Optional[int]](), func(t *rapid.T) any {
		if rapid.Bool().Draw(t, "none") {
			return Optional[int]{}
		}
		return Optional[int]{new(rapid.Int().Draw(t, "Optional"))}
	}},
	{reflect.TypeFor[*big.Int](), func(t *rapid.T) any { return new(big.Int).SetUint64(rapid.Uint64Min(1).Draw(t, "big.Int")) }},
	{reflect.TypeFor[netip.Addr](), func(t *rapid.T) any { return netip.AddrFrom4([4]byte{1, 2, 3, rapid.Byte().Draw(t, "Addr")}) }},
	{reflect.TypeFor[time.Time](), func(t *rapid.T) any {
		return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "Time"), 5).UTC()
	}},
	{reflect.TypeFor[[]byte](), func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "bytes") }},
	{reflect.TypeFor[Drawn](), func(t *rapid.T) any {
		return Drawn{Value: rapid.SampledFrom([]any{Circle{1.5}, Square{"sq", 2}, Count(3)}).Draw(t, "Drawn")}
	}},
	{reflect.TypeFor[Point](), func(t *rapid.T) any { return Point{rapid.Int32().Draw(t, "Point")} }},
	{reflect.TypeFor[Names](), func(t *rapid.T) any { return Names(rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "Names")) }},
}

var keyTypes = []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[uint16](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[Size]()}

func valueOf(t *rapid.T, of reflect.Type) reflect.Value {
	for _, leaf := range leaves {
		if leaf.of == of {
			return reflect.ValueOf(leaf.value(t))
		}
	}
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Uint16:
		v.SetUint(uint64(rapid.Uint16().Draw(t, "uint16")))
	case reflect.Pointer:
		if of.Elem().Kind() == reflect.Struct || rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(of.Elem()))
			v.Elem().Set(valueOf(t, of.Elem()))
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "len"); n >= 0 {
			v.Set(reflect.MakeSlice(of, 0, n))
			for range n {
				v.Set(reflect.Append(v, valueOf(t, of.Elem())))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(valueOf(t, of.Elem()))
		}
	case reflect.Map:
		if n := rapid.IntRange(-1, 2).Draw(t, "len"); n >= 0 {
			v.Set(reflect.MakeMap(of))
			for range n {
				v.SetMapIndex(valueOf(t, of.Key()), valueOf(t, of.Elem()))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			v.Field(i).Set(valueOf(t, of.Field(i).Type))
		}
	}
	return v
}

func typeWithin(depth int) *rapid.Generator[reflect.Type] {
	return rapid.Custom(func(t *rapid.T) reflect.Type {
		kind := rapid.IntRange(0, 7).Draw(t, "kind")
		if depth == 0 || kind < 2 {
			return rapid.SampledFrom(leaves).Draw(t, "leaf").of
		}
		inner := typeWithin(depth - 1)
		switch kind {
		case 2: // null is nil, and not a pointer to what is null itself
			return reflect.PointerTo(inner.Filter(func(of reflect.Type) bool {
				return !slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, of.Kind()) && of != reflect.TypeFor[Optional[int]]()
			}).Draw(t, "to"))
		case 3:
			return reflect.SliceOf(inner.Filter(func(of reflect.Type) bool { return of.Kind() != reflect.Uint8 }).Draw(t, "elem"))
		case 4:
			return reflect.ArrayOf(rapid.IntRange(0, 2).Draw(t, "n"), inner.Draw(t, "elem"))
		case 5:
			return reflect.MapOf(rapid.SampledFrom(keyTypes).Draw(t, "key"), inner.Draw(t, "elem"))
		}
		return structOf(t, inner)
	})
}

func structOf(t *rapid.T, inner *rapid.Generator[reflect.Type]) reflect.Type {
	var fields []reflect.StructField
	for i := range rapid.IntRange(1, 4).Draw(t, "fields") {
		name := fmt.Sprintf("F%d", i)
		tag := rapid.SampledFrom([]string{``, `json:"%s"`, `json:"%s,omitempty"`, `json:"%s,omitzero"`, `json:"%s,string"`}).Draw(t, "tag")
		if strings.Contains(tag, "%s") {
			tag = fmt.Sprintf(tag, rapid.SampledFrom([]string{"a", "b-", "c/~", "Ü", "Type", "type"}).Draw(t, "name")+fmt.Sprint(i))
		}
		fields = append(fields, reflect.StructField{Name: name, Type: inner.Draw(t, "type"), Tag: reflect.StructTag(tag)})
	}
	return reflect.StructOf(fields)
}

// same compares by what both are in JSON.
func same(t *rapid.T, a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	return err == nil && string(x) == string(y)
}

func TestAMarshalledValuePassesItsOwnSchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := structOf(t, typeWithin(3))
		schema, err := typeschema.Of(of)
		if err != nil {
			t.Fatalf("%v: %v", of, err)
		}
		value := valueOf(t, of)
		text, err := json.Marshal(value.Interface())
		if err != nil {
			t.Fatalf("%v: %v", of, err)
		}
		if _, err := validate.JSONSchema(schema.Asked); err != nil {
			t.Fatalf("%s: %v", schema.Asked, err)
		}
		if found := violations(t, schema.Checked, string(text)); found != "" {
			t.Fatalf("%v\n%s\n%s\n%s", of, schema.Checked, text, found)
		}
		back := reflect.New(of)
		if err := typeschema.Decode(text, back.Interface()); err != nil {
			t.Fatalf("%v: %s: %v", of, text, err)
		}
		want := reflect.New(of) // an empty slice that was left out is nil
		if err := json.Unmarshal(text, want.Interface()); err != nil {
			t.Fatalf("%v: %s: %v", of, text, err)
		}
		if !same(t, want.Interface(), back.Interface()) {
			t.Fatalf("%v: %s became %+v", of, text, back)
		}
	})
}

func violations(t rapid.TB, schema []byte, text string) string {
	t.Helper()
	check, err := validate.JSONSchema(schema)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	verdict, err := check.Check(context.Background(), &validate.Answer{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if len(verdict.Complaints) == 0 {
		return ""
	}
	return validate.Complaints(verdict.Complaints).Error()
}

// broken are keywords, each with a value that violates it and one that does not.
var broken = []struct {
	is         string // the kind of type that has it
	tag        string
	keyword    string
	wrong, fit string
}{
	{"string", "minLength=2", `"minLength":2`, `"a"`, `"ab"`},
	{"string", "maxLength=2", `"maxLength":2`, `"abc"`, `"ab"`},
	{"string", "pattern=^a{1\\\\,2}$", `"pattern":"^a{1,2}$"`, `"aaa"`, `"aa"`},
	{"string", "format=email", `"format":"email"`, `"a"`, `"a@example.org"`},
	{"string", "enum=a,enum=b", `"enum":["a","b"]`, `"c"`, `"b"`},
	{"integer", "minimum=2", `"minimum":2`, `1`, `2.0`},
	{"integer", "maximum=2", `"maximum":2`, `3`, `2`},
	{"integer", "exclusiveMinimum=2", `"exclusiveMinimum":2`, `2`, `3`},
	{"integer", "exclusiveMaximum=2", `"exclusiveMaximum":2`, `2`, `1`},
	{"integer", "multipleOf=2", `"multipleOf":2`, `3`, `4`},
	{"integer", "enum=1,enum=2", `"enum":[1,2]`, `3`, `1e0`},
	{"number", "maximum=1.5", `"maximum":1.5`, `2`, `1.5`},
	{"boolean", "enum=true", `"enum":[true]`, `false`, `true`},
}

var holders = map[string][]reflect.Type{
	"string":  {reflect.TypeFor[string](), reflect.TypeFor[text](), reflect.TypeFor[*string]()},
	"integer": {reflect.TypeFor[int](), reflect.TypeFor[uint8](), reflect.TypeFor[*int64](), reflect.TypeFor[number]()},
	"number":  {reflect.TypeFor[float64](), reflect.TypeFor[json.Number](), reflect.TypeFor[float32]()},
	"boolean": {reflect.TypeFor[bool]()},
}

type text string
type number int16
type texts []text
type table map[string]number

// Every tag is in the schema and is enforced, however deep it is and whatever else the
// struct has.
func TestEveryTagShowsAndIsEnforced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom(broken).Draw(t, "rule")
		of := rapid.SampledFrom(holders[rule.is]).Draw(t, "type")
		tag, keywords := rule.tag, []string{rule.keyword}
		wrong, fit := rule.wrong, rule.fit
		for range rapid.IntRange(0, 3).Draw(t, "depth") {
			switch rapid.IntRange(0, 4).Draw(t, "around") {
			case 0:
				of = reflect.MapOf(reflect.TypeFor[string](), of)
				wrong, fit = `{"x":`+wrong+`}`, `{"x":`+fit+`}`
			case 1:
				if of.Kind() == reflect.Uint8 {
					continue // it would be base64
				}
				of = reflect.SliceOf(of)
				wrong, fit = `[`+fit+`,`+wrong+`]`, `[`+fit+`]`
			case 2:
				of = reflect.ArrayOf(1, of)
				wrong, fit = `[`+wrong+`]`, `[`+fit+`]`
			case 3:
				if of == reflect.TypeFor[text]() {
					of = reflect.TypeFor[texts]()
					wrong, fit = `[`+wrong+`]`, `[`+fit+`]`
				}
			case 4:
				if of == reflect.TypeFor[number]() {
					of = reflect.TypeFor[table]()
					wrong, fit = `{"x":`+wrong+`}`, `{"x":`+fit+`}`
				}
			}
		}
		// Another field of each kind, before and after it, and a description.
		others := rapid.SliceOfN(rapid.SampledFrom([]reflect.Type{reflect.TypeFor[[]string](), reflect.TypeFor[[]int](), reflect.TypeFor[[]Point](), of}), 0, 2)
		var fields []reflect.StructField
		before, after := others.Draw(t, "before"), others.Draw(t, "after")
		for i, other := range before {
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("B%d", i), Type: other, Tag: `json:",omitempty"`})
		}
		description := `jsonschema_description:"of it, all"`
		fields = append(fields, reflect.StructField{Name: "X", Type: of, Tag: reflect.StructTag(`jsonschema:"` + tag + `" ` + description)})
		for i, other := range after {
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("A%d", i), Type: other, Tag: `json:",omitempty"`})
		}
		schema, err := typeschema.Of(reflect.StructOf(fields))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(keywords, `"description":"of it, all"`) {
			if !strings.Contains(string(schema.Asked), want) || !strings.Contains(string(schema.Checked), want) {
				t.Errorf("%v: no %s in\n%s", of, want, schema.Asked)
			}
		}
		for _, form := range [][]byte{schema.Asked, schema.Checked} {
			if found := violations(t, form, `{"X":`+fit+`}`); found != "" {
				t.Errorf("%v: %s does not pass: %s", of, fit, found)
			}
			if violations(t, form, `{"X":`+wrong+`}`) == "" {
				t.Errorf("%v: %s passes\n%s", of, wrong, form)
			}
		}
	})
}

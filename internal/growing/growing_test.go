package growing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/internal/growing"
)

// Figure is one of two: it decodes itself, and what it holds is behind a pointer,
// which it uses again.
type Figure struct{ of any }

type circle struct {
	Radius int `json:"radius"`
}

type square struct {
	Side int `json:"side"`
}

func (f *Figure) UnmarshalJSON(text []byte) error {
	var kind struct {
		Radius *int `json:"radius"`
		Side   *int `json:"side"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return err
	}
	old, again := f.of.(*circle)
	switch {
	case kind.Radius != nil && again:
		old.Radius = *kind.Radius
	case kind.Radius != nil:
		f.of = &circle{*kind.Radius}
	case kind.Side != nil:
		f.of = &square{*kind.Side}
	default:
		return errors.New("neither a circle nor a square")
	}
	return nil
}

func (f Figure) MarshalJSON() ([]byte, error) { return json.Marshal(f.of) }

// Span decodes itself, from what its own fields could be decoded from too.
type Span struct{ From, To int }

func (s *Span) UnmarshalJSON(text []byte) error {
	var ends struct{ From, To *int }
	if err := json.Unmarshal(text, &ends); err != nil {
		return err
	}
	if ends.To == nil {
		ends.To = ends.From
	}
	if ends.From == nil || *ends.From > *ends.To {
		return errors.New("it takes From and a To after it")
	}
	s.From, s.To = *ends.From, *ends.To
	return nil
}

type Place struct {
	City  string         `json:"city,omitempty"`
	Zip   *int           `json:"zip,omitempty"`
	Tags  []string       `json:"tags,omitempty"`
	Notes map[string]any `json:"notes,omitempty"`
}

type base struct {
	ID   int      `json:"id,omitempty"`
	Refs []string `json:"refs,omitempty"`
	Note string   `json:"note,omitempty"`
}

type Extra struct {
	More []int  `json:"more,omitempty"`
	Note string `json:"note,omitempty"`
	Name string `json:"name,omitempty"`
}

// Everything has what a type can have that JSON is decoded into.
type Everything struct {
	base
	*Extra
	Name    string           `json:"name,omitempty"`
	Count   *int             `json:"count,omitempty"`
	Ratio   float64          `json:"ratio,omitempty"`
	Flag    bool             `json:"flag,omitempty"`
	Quoted  int64            `json:"quoted,omitempty,string" jsonschema:"type=string"`
	At      time.Time        `json:"at,omitzero"`
	Raw     json.RawMessage  `json:"raw,omitempty"`
	Any     any              `json:"any,omitempty"`
	Bytes   []byte           `json:"bytes,omitempty"`
	Host    netip.Addr       `json:"host,omitzero"`
	Number  json.Number      `json:"number,omitempty"`
	Place   Place            `json:"place,omitzero"`
	Other   **Place          `json:"other,omitempty"`
	Figure  Figure           `json:"figure,omitzero"`
	Drawn   *Figure          `json:"drawn,omitempty"`
	Figures []Figure         `json:"figures,omitempty"`
	Named   map[string]Place `json:"named,omitempty"`
	Drawing map[int]*Figure  `json:"drawing,omitempty"`
	Places  []*Place         `json:"places,omitempty"`
	Fixed   [3]int           `json:"fixed,omitzero"`
	Grid    [][]int          `json:"grid,omitempty"`
	Tree    *Tree            `json:"tree,omitempty"`
	Hidden  string           `json:"-"`
	Plain   *[]int           `json:",omitempty"`
}

type Tree struct {
	Label    string  `json:"label"`
	Children []*Tree `json:"children,omitempty"`
}

type wrapped[T any] struct {
	Value T `json:"value"`
}

// grow returns what there is of a T after each piece that adds to it, as JSON.
func grow[T any](pieces ...string) (shown []string) {
	value := growing.New(new(T))
	for _, piece := range pieces {
		if value.Feed(piece) {
			text, _ := json.Marshal(value.Copy())
			shown = append(shown, string(text))
		}
	}
	return shown
}

func TestAPartShowsWhenItIsComplete(t *testing.T) {
	type Item struct {
		A int    `json:"a"`
		B string `json:"b,omitempty"`
	}
	for name, c := range map[string]struct {
		run  func() []string
		want []string
	}{
		"fields, in any order": {func() []string {
			return grow[Item](strings.Split(`{"b": "xy", "a": 12}`, "")...)
		}, []string{`{"a":0,"b":"xy"}`, `{"a":12,"b":"xy"}`}},
		"elements": {func() []string {
			return grow[wrapped[[]Item]](strings.Split(`{"value":[{"a":1,"b":"x"},{"a":2}]}`, "")...)
		}, []string{`{"value":[{"a":1,"b":"x"}]}`, `{"value":[{"a":1,"b":"x"},{"a":2}]}`}},
		"elements of a field": {func() []string {
			return grow[struct{ L []int }](strings.Split(`{"L":[10,20]}`, "")...)
		}, []string{`{"L":[10]}`, `{"L":[10,20]}`}},
		"fields of a field": {func() []string {
			return grow[struct{ I *Item }](strings.Split(`{"I":{"a":1,"b":"x"}}`, "")...)
		}, []string{`{"I":{"a":1}}`, `{"I":{"a":1,"b":"x"}}`}},
		"entries": {func() []string {
			return grow[map[string]Item](strings.Split(`{"x":{"a":1,"b":"x"},"y":{"a":2}}`, "")...)
		}, []string{`{"x":{"a":1,"b":"x"}}`, `{"x":{"a":1,"b":"x"},"y":{"a":2}}`}},
		"an array": {func() []string {
			return grow[wrapped[[2]int]](strings.Split(`{"value":[1,2]}`, "")...)
		}, []string{`{"value":[1,0]}`, `{"value":[1,2]}`}},
		"a number, once it is whole": {func() []string {
			return grow[wrapped[int]](strings.Split(`{"value":123}`, "")...)
		}, []string{`{"value":123}`}},
		"a text, once it is whole": {func() []string {
			return grow[wrapped[string]](strings.Split(`{"value":"a\u00e4\"b"}`, "")...)
		}, []string{`{"value":"aä\"b"}`}},
		"what is empty": {func() []string {
			return grow[struct {
				L []int
				M map[string]int
				P *struct{}
			}](strings.Split(`{"L":[],"M":{},"P":{}}`, "")...)
		}, []string{`{"L":[],"M":null,"P":null}`, `{"L":[],"M":{},"P":null}`, `{"L":[],"M":{},"P":{}}`}},
		"what decodes itself, as a whole": {func() []string {
			return grow[struct {
				At   time.Time
				Of   []Figure
				Host netip.Addr
				In   Span
			}](strings.Split(`{"In":{"From":1,"To":2},"Of":[{"radius":1},{"side":2}],"At":"2026-01-02T03:04:05Z","Host":"127.0.0.1"}`, "")...)
		}, []string{
			`{"At":"0001-01-01T00:00:00Z","Of":null,"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"0001-01-01T00:00:00Z","Of":[{"radius":1}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"0001-01-01T00:00:00Z","Of":[{"radius":1},{"side":2}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"2026-01-02T03:04:05Z","Of":[{"radius":1},{"side":2}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"2026-01-02T03:04:05Z","Of":[{"radius":1},{"side":2}],"Host":"127.0.0.1","In":{"From":1,"To":2}}`,
		}},
		"anything, as a whole": {func() []string {
			return grow[struct{ V any }](strings.Split(`{"V":{"a":[1,{"b":2}]}}`, "")...)
		}, []string{`{"V":{"a":[1,{"b":2}]}}`}},
		"a fence": {func() []string {
			return grow[Item](strings.Split("```json\n{\"a\":1,\n\"b\":\"```\"}\n```\n", "")...)
		}, []string{`{"a":1}`, "{\"a\":1,\"b\":\"```\"}"}},
		"one partial a piece": {func() []string {
			return grow[wrapped[[]Item]](`{"value":[{"a":1},{"a`, `":2},{"a":3},{`, `"a":4}`, `]`, `}`)
		}, []string{`{"value":[{"a":1}]}`, `{"value":[{"a":1},{"a":2},{"a":3}]}`, `{"value":[{"a":1},{"a":2},{"a":3},{"a":4}]}`}},
	} {
		if shown := c.run(); !slices.Equal(shown, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(shown, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// The checks complain of it, at the end.
func TestWhatCannotBeDecodedIsLeftOut(t *testing.T) {
	type Item struct {
		A int               `json:"a"`
		L []int             `json:"l"`
		F Figure            `json:"f"`
		M map[string]int    `json:"m"`
		P *struct{ X bool } `json:"p"`
		T [2]int            `json:"t"`
		Z string            `json:"z"`
	}
	shown := grow[Item](strings.Split(
		`{"a":"one","A":7,"l":[1,"two",3],"f":{"none":0},"unknown":[{"a":1}],"m":{"x":1,"y":"2","z":3},"p":{"X":1},"t":[1,2,3],"z":"end"}`, "")...)
	want := []string{
		`{"a":0,"l":[1],"f":null,"m":null,"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1},"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,2],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,2],"z":"end"}`,
	}
	if !slices.Equal(shown, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(shown, "\n"), strings.Join(want, "\n"))
	}
}

// The JSON of any Everything: some of its properties, in any order.
func everything() *rapid.Generator[string] {
	quoted := rapid.Map(rapid.StringN(0, 4, -1), func(s string) string {
		text, _ := json.Marshal(s)
		return string(text)
	})
	number := rapid.Map(rapid.IntRange(-1000, 1000), func(i int) string { return fmt.Sprint(i) })
	fixed := func(texts ...string) *rapid.Generator[string] { return rapid.SampledFrom(texts) }
	list := func(of *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(of, 0, 4), func(all []string) string { return "[" + strings.Join(all, ", ") + "]" })
	}
	object := func(properties map[string]*rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			names := make([]string, 0, len(properties))
			for name := range properties {
				names = append(names, name)
			}
			slices.Sort(names)
			names = rapid.Permutation(names).Draw(t, "order")
			names = names[:rapid.IntRange(0, len(names)).Draw(t, "properties")]
			for i, name := range names {
				names[i] = fmt.Sprintf("%q :%s", name, properties[name].Draw(t, name))
			}
			return "{" + strings.Join(names, ",") + "}"
		})
	}
	anything := fixed(`null`, `{"a":[{"b":1},[]],"c":{}}`, `[1,"x",[true]]`, `"x"`, `1.5e3`, `{}`)
	place := object(map[string]*rapid.Generator[string]{
		"city": quoted, "zip": number, "tags": list(quoted), "notes": object(map[string]*rapid.Generator[string]{"x": anything, "y": anything}),
	})
	figure := fixed(`{"radius":1}`, `{"side":22}`)
	return object(map[string]*rapid.Generator[string]{
		"id": number, "refs": list(quoted), "more": list(number), "name": quoted, "count": number, "ratio": fixed("0.5", "1e3"),
		"flag": fixed("true", "false"), "quoted": fixed(`"12"`, `"-3"`), "at": fixed(`"2026-01-02T03:04:05Z"`, `"1999-12-31T23:59:59+01:00"`),
		"raw": anything, "any": anything, "bytes": fixed(`"AAECAw=="`, `""`), "host": fixed(`"::1"`, `"10.0.0.1"`), "number": fixed("1.50", "0"),
		"place": place, "other": place, "figure": figure, "drawn": figure, "figures": list(figure),
		"named":   object(map[string]*rapid.Generator[string]{"x": place, "y/z": place, "": place}),
		"drawing": object(map[string]*rapid.Generator[string]{"1": figure, "22": figure}),
		"places":  list(place), "fixed": fixed("[1,2,3]"), "grid": list(list(number)),
		"tree":  fixed(`{"label":"a"}`, `{"label":"a","children":[{"label":"b","children":[{"label":"c"}]},{"label":"d"}]}`),
		"Plain": list(number),
	})
}

// within reports whether a value may be a part of a whole: what is there of it
// is the same there.
func within(part, whole reflect.Value) bool {
	if part.IsZero() {
		return true
	}
	switch part.Type() {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[Figure](), reflect.TypeFor[json.RawMessage](), reflect.TypeFor[[]byte]():
		return reflect.DeepEqual(part.Interface(), whole.Interface())
	}
	switch part.Kind() {
	case reflect.Struct:
		for i := range part.NumField() {
			if !within(part.Field(i), whole.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		return !whole.IsNil() && within(part.Elem(), whole.Elem())
	case reflect.Slice:
		return part.Len() <= whole.Len() && reflect.DeepEqual(part.Interface(), whole.Slice(0, part.Len()).Interface())
	case reflect.Array:
		for i := range part.Len() {
			if !within(part.Index(i), whole.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		for m := part.MapRange(); m.Next(); {
			if of := whole.MapIndex(m.Key()); !of.IsValid() || !reflect.DeepEqual(m.Value().Interface(), of.Interface()) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(part.Interface(), whole.Interface())
}

// scribble writes over all that a value refers to.
func scribble(v reflect.Value) {
	if f, ok := v.Interface().(Figure); ok {
		switch of := f.of.(type) {
		case *circle:
			of.Radius = -1
		case *square:
			of.Side = -1
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				scribble(v.Field(i))
			} else if f.Type == reflect.TypeFor[base]() {
				scribble(v.Field(i).FieldByName("Refs"))
			}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Map:
		for m := v.MapRange(); m.Next(); {
			scribble(m.Value())
		}
		v.Clear()
	}
	if v.CanSet() {
		v.SetZero()
	}
}

func chunked(t *rapid.T, text string) (pieces []string) {
	for len(text) > 0 {
		n := rapid.IntRange(1, min(len(text), 12)).Draw(t, "piece")
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

func TestPartialsGrowToTheWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := everything().Draw(rt, "answer")
		if rapid.Bool().Draw(rt, "indent") {
			var b bytes.Buffer
			if err := json.Indent(&b, []byte(text), "", " "); err != nil {
				rt.Fatal(err)
			}
			text = b.String()
		}
		var whole Everything
		if err := json.Unmarshal([]byte(text), &whole); err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		if rapid.Bool().Draw(rt, "fence") {
			text = "```json\n" + text + "\n```"
		}
		pieces := chunked(rt, text)
		var all []Everything
		var texts []string
		growth := func(yield func(Everything) bool) {
			value := growing.New(new(Everything))
			for _, piece := range pieces {
				if value.Feed(piece) && !yield(*value.Copy().(*Everything)) {
					return
				}
			}
		}
		for now := range growth {
			if n := len(all); n > 0 && !within(reflect.ValueOf(all[n-1]), reflect.ValueOf(now)) {
				rt.Fatalf("%s: %+v, and before it %+v", text, now, all[n-1])
			}
			if !within(reflect.ValueOf(now), reflect.ValueOf(whole)) {
				rt.Fatalf("%s: %+v", text, now)
			}
			said, err := json.Marshal(now)
			if err != nil {
				rt.Fatal(err)
			}
			all, texts = append(all, now), append(texts, string(said))
		}
		if n := len(all); n == 0 || !reflect.DeepEqual(all[n-1], whole) {
			rt.Fatalf("%s: %+v, want %+v in the end", text, all, whole)
		}
		for i, p := range all {
			if now, _ := json.Marshal(p); string(now) != texts[i] {
				rt.Fatalf("%s: partial %d was %s, and is now %s", text, i, texts[i], now)
			}
		}
		// What a caller writes into one is in no other.
		var kept []Everything
		for now := range growth {
			n := len(kept)
			if !reflect.DeepEqual(now, all[n]) {
				rt.Fatalf("%s: %+v after one that was written over", text, now)
			}
			kept = append(kept, now)
			if n%2 == 1 {
				scribble(reflect.ValueOf(&now))
			}
		}
		for i := 0; i < len(all); i += 2 {
			if !reflect.DeepEqual(kept[i], all[i]) {
				rt.Fatalf("%s: %+v is %+v since another was written over", text, all[i], kept[i])
			}
		}
	})
}

func TestAPropertyGoesWhereEncodingJSONPutsIt(t *testing.T) {
	type Deep struct {
		Far    int
		Shadow int
		Both   int
	}
	type Left struct {
		Deep
		Both  int
		Twice int
		Shade int
	}
	type Right struct {
		Twice int
		Dark  int `json:"Shade"`
		Tag   int `json:"shadow"`
	}
	type Number int
	type Named struct{ Within int }
	type names struct {
		First int
		Left
		*Right
		Number
		Named  `json:"named"`
		Shadow int
		Other  int `json:"Renamed,omitempty"`
		Hidden int `json:"-"`
		Tagged int `json:"Far"`
		hidden int
	}
	for _, property := range []string{
		"Far", "Shadow", "shadow", "Shade", "Dark", "Both", "Twice", "Number", "Within", "named", "Other", "Renamed", "-", "Hidden", "Tagged", "hidden", "Left", "Right", "Deep",
	} {
		for _, value := range []string{"1", `{"Within":1}`} {
			text := fmt.Sprintf(`{"First":7,%q:%s}`, property, value)
			want := names{hidden: 0}
			if err := json.Unmarshal([]byte(text), &want); err != nil {
				want = names{First: 7}
			}
			wanted, _ := json.Marshal(want)
			shown := grow[names](strings.Split(text, "")...)
			if got := shown[len(shown)-1]; got != string(wanted) {
				t.Errorf("%s: %s, want %s", text, got, wanted)
			}
			if len(slices.Compact(slices.Clone(shown))) != len(shown) {
				t.Errorf("%s: shown though nothing came: %q", text, shown)
			}
		}
	}
}

// Whatever comes, what was shown stays.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x","list":[1],"place":{"city":"a","tags":["b"]},"other":{"zip":1},"fixed":[1,2,3,4],"grid":[[1],[]]}`,
		`{"figures":[{"radius":1},{"side":2},{}],"drawn":null,"drawing":{"1":{"side":1},"x":{}},"named":{"a":{}},"tree":{"label":"a","children":[null]}}`,
		`{"NAME":1,"Plain":[],"more":[1,"2"],"refs":{},"raw":[ 1 ],"any":{"a":[]},"quoted":"1","bytes":"AA==","at":"x","host":"::1","number":1e5}`,
		"```json\n[{\"id\":1}]\n```", "{} x",
	} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 1 || n > 1000 || len(text) > 2000 {
			t.Skip()
		}
		value := growing.New(new(Everything))
		var before Everything
		for piece := range slices.Chunk([]byte(text), n) {
			if !value.Feed(string(piece)) {
				continue
			}
			now := *value.Copy().(*Everything)
			if !within(reflect.ValueOf(before), reflect.ValueOf(now)) {
				t.Fatalf("%q: %+v, and before it %+v", text, now, before)
			}
			before = now
		}
	})
}

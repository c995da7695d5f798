package llmcall_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invopop/jsonschema"
	"pgregory.net/rapid"

	"llmcall"
	"llmcall/breaker"
	"llmcall/llm"
	"llmcall/validate"
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

func (Figure) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "object"} }

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
		return errors.New("it takes From and To behind it")
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

// typed is all that a typed stream yields: each value as JSON, "|" for a restart.
func typed[T any](seq iter.Seq2[llmcall.Partial[T], error]) (shown []string, last llmcall.Partial[T], err error) {
	for p, e := range seq {
		switch text, _ := json.Marshal(p.Value); {
		case e != nil:
			err = e
		case p.Restart:
			shown = append(shown, "|")
		case p.Result != nil:
			last = p
		default:
			shown = append(shown, string(text))
		}
	}
	return shown, last, err
}

// bytewise is an answer that comes a byte at a time.
func bytewise(text string) []any {
	var pieces []any
	for i := range len(text) {
		pieces = append(pieces, text[i:i+1])
	}
	return append(pieces, llm.FinishStop)
}

func askStream[T any](t *testing.T, cfg llmcall.RetryConfig, streams ...[]any) ([]string, llmcall.Partial[T], error) {
	t.Helper()
	return typed(llmcall.AskStream[T](t.Context(), client(t, stream(t, streams...), nil, exact(cfg)), llm.Prompt("x")))
}

func TestAskStreamShowsWhatIsCompleteWhenItIs(t *testing.T) {
	type Item struct {
		A int    `json:"a"`
		B string `json:"b,omitempty"`
	}
	for name, c := range map[string]struct {
		run  func() ([]string, any, error)
		want []string
	}{
		"fields, in any order": {func() ([]string, any, error) {
			shown, last, err := askStream[Item](t, llmcall.RetryConfig{}, bytewise(`{"b": "xy", "a": 12}`))
			return shown, last.Value, err
		}, []string{`{"a":0,"b":"xy"}`, `{"a":12,"b":"xy"}`}},
		"elements": {func() ([]string, any, error) {
			shown, last, err := askStream[[]Item](t, llmcall.RetryConfig{}, bytewise(`{"value":[{"a":1,"b":"x"},{"a":2}]}`))
			return shown, last.Value, err
		}, []string{`[{"a":1,"b":"x"}]`, `[{"a":1,"b":"x"},{"a":2}]`}},
		"elements of a field": {func() ([]string, any, error) {
			shown, last, err := askStream[struct{ L []int }](t, llmcall.RetryConfig{}, bytewise(`{"L":[10,20]}`))
			return shown, last.Value, err
		}, []string{`{"L":[10]}`, `{"L":[10,20]}`}},
		"fields of a field": {func() ([]string, any, error) {
			shown, last, err := askStream[struct{ I *Item }](t, llmcall.RetryConfig{}, bytewise(`{"I":{"a":1,"b":"x"}}`))
			return shown, last.Value, err
		}, []string{`{"I":{"a":1}}`, `{"I":{"a":1,"b":"x"}}`}},
		"entries": {func() ([]string, any, error) {
			shown, last, err := askStream[map[string]Item](t, llmcall.RetryConfig{}, bytewise(`{"x":{"a":1,"b":"x"},"y":{"a":2}}`))
			return shown, last.Value, err
		}, []string{`{"x":{"a":1,"b":"x"}}`, `{"x":{"a":1,"b":"x"},"y":{"a":2}}`}},
		"an array": {func() ([]string, any, error) {
			shown, last, err := askStream[[2]int](t, llmcall.RetryConfig{}, bytewise(`{"value":[1,2]}`))
			return shown, last.Value, err
		}, []string{`[1,0]`, `[1,2]`}},
		"a number, once it is whole": {func() ([]string, any, error) {
			shown, last, err := askStream[int](t, llmcall.RetryConfig{}, bytewise(`{"value":123}`))
			return shown, last.Value, err
		}, []string{`123`}},
		"a text, once it is whole": {func() ([]string, any, error) {
			shown, last, err := askStream[string](t, llmcall.RetryConfig{}, bytewise(`{"value":"a\u00e4\"b"}`))
			return shown, last.Value, err
		}, []string{`"aä\"b"`}},
		"what is empty": {func() ([]string, any, error) {
			shown, last, err := askStream[struct {
				L []int
				M map[string]int
				P *struct{}
			}](t, llmcall.RetryConfig{}, bytewise(`{"L":[],"M":{},"P":{}}`))
			return shown, last.Value, err
		}, []string{`{"L":[],"M":null,"P":null}`, `{"L":[],"M":{},"P":null}`, `{"L":[],"M":{},"P":{}}`}},
		"what decodes itself, as a whole": {func() ([]string, any, error) {
			shown, last, err := askStream[struct {
				At   time.Time
				Of   []Figure
				Host netip.Addr
				In   Span
			}](t, llmcall.RetryConfig{}, bytewise(`{"In":{"From":1,"To":2},"Of":[{"radius":1},{"side":2}],"At":"2026-01-02T03:04:05Z","Host":"127.0.0.1"}`))
			return shown, last.Value, err
		}, []string{
			`{"At":"0001-01-01T00:00:00Z","Of":null,"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"0001-01-01T00:00:00Z","Of":[{"radius":1}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"0001-01-01T00:00:00Z","Of":[{"radius":1},{"side":2}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"2026-01-02T03:04:05Z","Of":[{"radius":1},{"side":2}],"Host":"","In":{"From":1,"To":2}}`,
			`{"At":"2026-01-02T03:04:05Z","Of":[{"radius":1},{"side":2}],"Host":"127.0.0.1","In":{"From":1,"To":2}}`,
		}},
		"anything, as a whole": {func() ([]string, any, error) {
			shown, last, err := askStream[struct{ V any }](t, llmcall.RetryConfig{}, bytewise(`{"V":{"a":[1,{"b":2}]}}`))
			return shown, last.Value, err
		}, []string{`{"V":{"a":[1,{"b":2}]}}`}},
		"a fence": {func() ([]string, any, error) {
			shown, last, err := askStream[Item](t, llmcall.RetryConfig{}, bytewise("```json\n{\"a\":1,\n\"b\":\"```\"}\n```\n"))
			return shown, last.Value, err
		}, []string{`{"a":1}`, "{\"a\":1,\"b\":\"```\"}"}},
		"one partial a piece": {func() ([]string, any, error) {
			shown, last, err := askStream[[]Item](t, llmcall.RetryConfig{}, start(`{"value":[{"a":1},{"a`, `":2},{"a":3},{`, `"a":4}`, `]`, `}`, llm.FinishStop))
			return shown, last.Value, err
		}, []string{`[{"a":1}]`, `[{"a":1},{"a":2},{"a":3}]`, `[{"a":1},{"a":2},{"a":3},{"a":4}]`}},
	} {
		shown, last, err := c.run()
		if err != nil || !slices.Equal(shown, c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, strings.Join(shown, "\n"), strings.Join(c.want, "\n"))
			continue
		}
		if text, _ := json.Marshal(last); !strings.Contains(string(text), c.want[len(c.want)-1]) {
			t.Errorf("%s: the whole is %s", name, text)
		}
	}
}

// What the checks will complain of is left out until they do.
func TestAskStreamLeavesOutWhatItCannotDecode(t *testing.T) {
	type Item struct {
		A int               `json:"a"`
		L []int             `json:"l"`
		F Figure            `json:"f"`
		M map[string]int    `json:"m"`
		P *struct{ X bool } `json:"p"`
		T [2]int            `json:"t"`
		Z string            `json:"z"`
	}
	shown, _, err := askStream[Item](t, llmcall.RetryConfig{}, bytewise(
		`{"a":"one","A":7,"l":[1,"two",3],"f":{"none":0},"unknown":[{"a":1}],"m":{"x":1,"y":"2","z":3},"p":{"X":1},"t":[1,2,3],"z":"end"}`))
	want := []string{
		`{"a":0,"l":[1],"f":null,"m":null,"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1},"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[0,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,0],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,2],"z":""}`,
		`{"a":0,"l":[1],"f":null,"m":{"x":1,"z":3},"p":null,"t":[1,2],"z":"end"}`,
	}
	if !slices.Equal(shown, want) || reasonOf(t, err) != llmcall.ReasonNoValidAnswer {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(shown, "\n"), strings.Join(want, "\n"))
	}
}

func TestAskStreamShowsAPartWhenItIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stream(t, start(`{"name":"Berlin`, s, `","population":37`, s, `00000`, s, `,"continent":"Europe"`, s, `,"rivers":["Spree",`, s, `"Ha`, s, `vel"]`, s, `}`, llm.FinishStop))
		var got []string
		for p, err := range llmcall.AskStream[City](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x")) {
			if err != nil {
				t.Fatal(err)
			}
			v := p.Value
			got = append(got, fmt.Sprintf("%v %s %d %s %v %v", time.Since(m.start), v.Name, v.Population, v.Continent, v.Rivers, p.Result != nil))
		}
		want := []string{
			"1s Berlin 0  [] false",
			"3s Berlin 3700000 Europe [] false",
			"4s Berlin 3700000 Europe [Spree] false",
			"6s Berlin 3700000 Europe [Spree Havel] false",
			"7s Berlin 3700000 Europe [Spree Havel] true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestAskStreamEndsAsStreamDoes(t *testing.T) {
	berlin := start(`{"name":"Berlin",`, `"population":1,"continent":"Europe"}`, llm.FinishStop)
	name, all := `{"name":"Berlin","population":0,"continent":""}`, `{"name":"Berlin","population":1,"continent":"Europe"}`
	bonn := start(`{"name":"Bonn","population":1,"continent":"Europe"}`, llm.FinishStop)
	wrong := `{"name":"Bonn","population":1,"continent":"Europe"}`
	again := llmcall.RetryConfig{RestartStreams: true}
	for what, c := range map[string]struct {
		streams [][]any
		cfg     llmcall.RetryConfig
		shown   []string
		reason  llmcall.Reason
	}{
		"it fails before its first piece":      {[][]any{start(broken), berlin}, llmcall.RetryConfig{}, []string{name, all}, ""},
		"it breaks":                            {[][]any{start(`{"name":"Berlin",`, broken), berlin}, llmcall.RetryConfig{}, []string{name}, llmcall.ReasonProviderFailed},
		"it breaks, and may begin anew":        {[][]any{start(`{"name":"Rome",`, broken), berlin}, again, []string{strings.Replace(name, "Berlin", "Rome", 1), "|", name, all}, ""},
		"the type complains at its end":        {[][]any{bonn}, llmcall.RetryConfig{}, []string{wrong}, llmcall.ReasonNoValidAnswer},
		"the type complains, and it may again": {[][]any{bonn, berlin}, again, []string{wrong, "|", name, all}, ""},
		"there is prose before the JSON":       {[][]any{start("Sure: ", `{"name":"Berlin"`), berlin}, again, []string{name, all}, ""},
		"it is no JSON any more":               {[][]any{start(`{"name":"Berlin",`, `}, {"population":1`, llm.FinishStop)}, llmcall.RetryConfig{}, []string{name}, llmcall.ReasonNoValidAnswer},
		"reasoning and a tool call come too":   {[][]any{append(start(llm.Reasoning{Data: []byte("hm")}, calls("1", "look", "{}")), berlin...)}, llmcall.RetryConfig{}, []string{name, all}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shown, last, err := askStream[City](t, c.cfg, c.streams...)
				if !slices.Equal(shown, c.shown) || reasonOf(t, err) != c.reason {
					t.Errorf("%v\n%s\nwant %s\n%s", err, strings.Join(shown, "\n"), c.reason, strings.Join(c.shown, "\n"))
				}
				if ok := last.Result != nil && last.Value.Name == "Berlin" && last.Value.Population == 1; ok != (c.reason == "") {
					t.Errorf("last %+v", last)
				}
			})
		})
	}
}

// An answer that must be repaired first shows nothing behind its first fault.
func TestAskStreamOfAnAnswerThatIsRepaired(t *testing.T) {
	m := stream(t, bytewise(`{"value":[1,2,],}`))
	shown, last, err := typed(llmcall.AskStream[[]int](t.Context(), client(t, m, []validate.Strategy{validate.JSONWithRepair()}, exact(llmcall.RetryConfig{})), llm.Prompt("x")))
	if err != nil || !slices.Equal(shown, []string{"[1]", "[1,2]"}) || !slices.Equal(last.Value, []int{1, 2}) {
		t.Errorf("%q, %+v, %v", shown, last, err)
	}
}

func TestAskStreamOfAModelThatDoesNotStream(t *testing.T) {
	m := play(t, say(`{"value":"one"}`), say(`{"value":1}`))
	shown, last, err := typed(llmcall.AskStream[int](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x")))
	if err != nil || !slices.Equal(shown, []string{"1"}) || last.Value != 1 || len(last.Result.Attempts) != 2 {
		t.Errorf("%q, %+v, %v", shown, last, err)
	}
}

func TestAskStreamThatCannotBegin(t *testing.T) {
	withSchema := llm.Prompt("x")
	withSchema.Schema = &llm.Schema{JSON: []byte(`{}`)}
	m := stream(t)
	for field, seq := range map[string]iter.Seq2[llmcall.Partial[int], error]{
		"request":        llmcall.AskStream[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), nil),
		"request.schema": llmcall.AskStream[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), withSchema),
	} {
		shown, last, err := typed(seq)
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != field || len(shown) > 0 || last.Result != nil {
			t.Errorf("%s: %q, %v", field, shown, err)
		}
	}
	_, _, err := typed(llmcall.AskStream[func()](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x")))
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "T" || m.calls() != 0 {
		t.Errorf("%v", err)
	}
}

// To leave the loop, by a panic too, is what it is in Stream.
func TestACallerThatLeavesATypedStream(t *testing.T) {
	registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
	cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, RestartStreams: true})
	boom := errors.New("boom")
	for name, leaves := range map[string]func(p llmcall.Partial[[]int]) bool{
		"at the first part": func(llmcall.Partial[[]int]) bool { return true },
		"at a restart":      func(p llmcall.Partial[[]int]) bool { return p.Restart },
		"at the end":        func(p llmcall.Partial[[]int]) bool { return p.Result != nil },
		"by a panic":        func(llmcall.Partial[[]int]) bool { panic(boom) },
	} {
		m := stream(t, start(`{"value":[1,`, `2,"three"]}`, llm.FinishStop), start(`{"value":[1]}`, llm.FinishStop))
		func() {
			defer func() {
				if v := recover(); v != nil && v != boom || (v == nil) == (name == "by a panic") {
					t.Errorf("%s: panicked with %v", name, v)
				}
			}()
			for p, err := range llmcall.AskStream[[]int](t.Context(), client(t, m, nil, cfg), llm.Prompt("x")) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if leaves(p) {
					break
				}
			}
		}()
		if state := registry.Get(m.Name()).State(); m.closed != m.calls() || state != breaker.Closed {
			t.Errorf("%s: %d of %d streams closed, circuit %v", name, m.closed, m.calls(), state)
		}
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

func chunked(t *rapid.T, text string) []any {
	var pieces []any
	for len(text) > 0 {
		n := rapid.IntRange(1, min(len(text), 12)).Draw(t, "piece")
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return append(pieces, llm.FinishStop)
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
		ask := func() iter.Seq2[llmcall.Partial[Everything], error] {
			return llmcall.AskStream[Everything](t.Context(), client(t, stream(t, pieces), nil, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
		}
		var all []Everything
		var texts []string
		finished := false
		for p, err := range ask() {
			if err != nil {
				rt.Fatalf("%s: %v", text, err)
			}
			if n := len(all); n > 0 && !within(reflect.ValueOf(all[n-1]), reflect.ValueOf(p.Value)) {
				rt.Fatalf("%s: %+v, and before it %+v", text, p.Value, all[n-1])
			}
			if !within(reflect.ValueOf(p.Value), reflect.ValueOf(whole)) {
				rt.Fatalf("%s: %+v", text, p.Value)
			}
			if finished = p.Result != nil; finished {
				break
			}
			now, err := json.Marshal(p.Value)
			if err != nil {
				rt.Fatal(err)
			}
			all, texts = append(all, p.Value), append(texts, string(now))
		}
		if n := len(all); !finished || n == 0 || !reflect.DeepEqual(all[n-1], whole) {
			rt.Fatalf("%s: %+v, want %+v in the end", text, all, whole)
		}
		for i, p := range all {
			if now, _ := json.Marshal(p); string(now) != texts[i] {
				rt.Fatalf("%s: partial %d was %s, and is now %s", text, i, texts[i], now)
			}
		}
		// What a caller writes into one is in no other.
		var kept []Everything
		for p, err := range ask() {
			n := len(kept)
			if err != nil || p.Result == nil && !reflect.DeepEqual(p.Value, all[n]) || p.Result != nil && !reflect.DeepEqual(p.Value, whole) {
				rt.Fatalf("%s: %+v, %v behind one that was written over", text, p.Value, err)
			}
			kept = append(kept, p.Value)
			if n%2 == 1 {
				scribble(reflect.ValueOf(&p.Value))
			}
		}
		for i := 0; i < len(all); i += 2 {
			if !reflect.DeepEqual(kept[i], all[i]) {
				rt.Fatalf("%s: %+v is %+v since another was written over", text, all[i], kept[i])
			}
		}
	})
}

// A property goes where encoding/json puts it.
func TestAskStreamKnowsTheNamesOfFields(t *testing.T) {
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
			shown, _, _ := askStream[names](t, llmcall.RetryConfig{}, bytewise(text))
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
func FuzzAskStream(f *testing.F) {
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
		var pieces []any
		for piece := range slices.Chunk([]byte(text), n) {
			pieces = append(pieces, string(piece))
		}
		m := &streamer{player: &player{name: t.Name()}, streams: [][]any{append(pieces, llm.FinishStop)}}
		var before Everything
		for p, err := range llmcall.AskStream[Everything](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{MaxAttempts: 1})), llm.Prompt("x")) {
			if err == nil && !within(reflect.ValueOf(before), reflect.ValueOf(p.Value)) {
				t.Fatalf("%q: %+v, and before it %+v", text, p.Value, before)
			}
			before = p.Value
		}
	})
}

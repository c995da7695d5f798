package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

type City struct {
	Name       string    `json:"name" jsonschema:"minLength=1"`
	Population int       `json:"population" jsonschema:"minimum=1" jsonschema_description:"of the city proper, not of its region"`
	Continent  string    `json:"continent" jsonschema:"enum=Africa,enum=Asia,enum=Europe"`
	Founded    time.Time `json:"founded,omitzero"`
	Rivers     []string  `json:"rivers,omitempty"`
}

func (c City) Validate() error {
	if c.Name == "Bonn" {
		return validate.FailAt("/name", validate.Fail("Bonn is not the capital", "name the capital"))
	}
	return nil
}

type Size string

func (Size) EnumValues() []any { return []any{"S", "M", "L"} }

type Tree struct {
	Label    string  `json:"label"`
	Children []*Tree `json:"children,omitempty"`
}

type Even int

func (e *Even) Validate() error {
	if *e%2 != 0 {
		return fmt.Errorf("%d is odd", *e)
	}
	return nil
}

// asked is what a T is asked for with.
func asked[T any](t *testing.T, reply string) (T, string, error) {
	t.Helper()
	m := play(t, say(reply))
	m.steps = []step{say(reply)}
	got, _, err := llmcall.Ask[T](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{MaxAttempts: 1})), llm.Prompt("x"))
	schema := m.last().Schema
	if schema == nil {
		t.Fatal("no schema was asked for")
	}
	return got, schema.Name + " " + string(schema.JSON), err
}

func TestAskAsksForTheSchemaOfAType(t *testing.T) {
	for _, c := range []struct {
		ask  func() (any, string, error)
		want any
		name string
		says string
	}{
		{func() (any, string, error) {
			return asked[City](t, `{"name":"Berlin","population":3700000,"continent":"Europe","founded":"1237-01-01T00:00:00Z"}`)
		}, City{Name: "Berlin", Population: 3700000, Continent: "Europe", Founded: time.Date(1237, 1, 1, 0, 0, 0, 0, time.UTC)}, "City",
			`{"type":"object","properties":{"name":{"type":"string","minLength":1},"population":{"type":"integer","description":"of the city proper, not of its region","minimum":1},` +
				`"continent":{"type":"string","enum":["Africa","Asia","Europe"]},"founded":{"type":"string","format":"date-time"},"rivers":{"type":"array","items":{"type":"string"}}},` +
				`"required":["name","population","continent"],"additionalProperties":false}`},
		{func() (any, string, error) { return asked[[]int](t, "```json\n{\"value\":[1,2]}\n```") }, []int{1, 2}, "answer",
			`{"type":"object","properties":{"value":{"type":"array","items":{"type":"integer"}}},"required":["value"],"additionalProperties":false}`},
		{func() (any, string, error) { return asked[map[string]float64](t, `{"a":1.5}`) }, map[string]float64{"a": 1.5}, "answer",
			`{"type":"object","additionalProperties":{"type":"number"}}`},
		{func() (any, string, error) { return asked[string](t, `{"value":"yes"}`) }, "yes", "string", `"value":{"type":"string"}`},
		{func() (any, string, error) { return asked[bool](t, `{"value":true}`) }, true, "bool", `"value":{"type":"boolean"}`},
		{func() (any, string, error) { return asked[float64](t, `{"value":2}`) }, 2.0, "float64", `"value":{"type":"number"}`},
		{func() (any, string, error) { return asked[Size](t, `{"value":"M"}`) }, Size("M"), "Size", `"value":{"type":"string","enum":["S","M","L"]}`},
		{func() (any, string, error) { return asked[map[Size]Size](t, `{"S":"L"}`) }, map[Size]Size{"S": "L"}, "answer", `"enum":["S","M","L"]`},
		{func() (any, string, error) {
			return asked[*City](t, `{"name":"Rome","population":1,"continent":"Europe"}`)
		},
			&City{Name: "Rome", Population: 1, Continent: "Europe"}, "City", `"continent"`},
		{func() (any, string, error) { return asked[Tree](t, `{"label":"a","children":[{"label":"b"}]}`) },
			Tree{"a", []*Tree{{Label: "b"}}}, "Tree", `"required":["label"],"additionalProperties":false,"$defs":{"Tree":{`},
		{func() (any, string, error) { return asked[[]Tree](t, `{"value":[{"label":"a"}]}`) }, []Tree{{Label: "a"}}, "answer", `"$defs":{"Tree":{`},
		{func() (any, string, error) { return asked[netip.Addr](t, `{"value":"127.0.0.1"}`) }, netip.MustParseAddr("127.0.0.1"), "Addr", `"value":{"type":"string"}`},
		{func() (any, string, error) { return asked[json.Number](t, `{"value":1.50}`) }, json.Number("1.50"), "Number", `"value":{"type":"number"}`},
	} {
		got, schema, err := c.ask()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T: got %v, %v", c.want, got, err)
		}
		name, text, _ := strings.Cut(schema, " ")
		if name != c.name || !strings.Contains(text, c.says) || !json.Valid([]byte(text)) {
			t.Errorf("%T: asked for %s", c.want, schema)
		}
	}
}

// What is wrong with an answer is told to the model, whoever found it: the
// schema, the decoder or the type's own Validate.
func TestWhatATypeComplainsOfIsFedBack(t *testing.T) {
	good := `{"name":"Berlin","population":1,"continent":"Europe"}`
	for name, c := range map[string]struct{ reply, want string }{
		"the schema":       {`{"name":"Berlin","population":"1","continent":"Europe"}`, `At /population: expected an integer, got the string "1"`},
		"an enum":          {`{"name":"Berlin","population":1,"continent":"Mars"}`, "At /continent:"},
		"no JSON":          {"Berlin", "JSON"},
		"the type":         {`{"name":"Bonn","population":1,"continent":"Europe"}`, "At /name: Bonn is not the capital\nFix: name the capital"},
		"the bounds":       {`{"name":"Berlin","population":99999999999999999999,"continent":"Europe"}`, "At /population: 99999999999999999999 is more than 9223372036854775807"},
		"an unknown field": {`{"name":"Berlin","population":1,"continent":"Europe","mayor":"x"}`, "mayor"},
	} {
		m := play(t, say(c.reply), say(good))
		city, r, err := llmcall.Ask[City](t.Context(), client(t, m, nil, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
		if err != nil || city.Name != "Berlin" || len(r.Attempts) != 2 || r.Attempts[0].Outcome != llmcall.OutcomeInvalid {
			t.Errorf("%s: %v, %v", name, city, err)
			continue
		}
		messages := m.last().Messages
		if text := messages[len(messages)-1].Text(); !strings.Contains(text, c.want) {
			t.Errorf("%s: told %q", name, text)
		}
	}
}

// Person has what models write in more than one way.
type Person struct {
	Name  string         `json:"name"`
	Age   uint8          `json:"age"`
	Death *int           `json:"death"`
	Wait  time.Duration  `json:"wait,omitempty"`
	Home  *url.URL       `json:"home,omitempty"`
	Notes []string       `json:"notes"`
	Votes map[int]string `json:"votes,omitempty"`
}

// What the decoder takes, or could take, costs no second attempt.
func TestAnAnswerThatSaysTheSameOtherwise(t *testing.T) {
	home := &url.URL{Scheme: "https", Host: "example.org"}
	for reply, want := range map[string]Person{
		`{"name":"Ada","age":36.0,"death":1.852e3,"notes":[]}`:                                    {Name: "Ada", Age: 36, Death: new(1852), Notes: []string{}},
		`{"name":"Ada","age":36,"death":null,"notes":null,"wait":null,"home":null}`:               {Name: "Ada", Age: 36},
		`{"name":"Ada","age":3,"death":null,"notes":["x"],"wait":"PT1M","votes":{"-3":"no"}}`:     {Name: "Ada", Age: 3, Notes: []string{"x"}, Wait: time.Minute, Votes: map[int]string{-3: "no"}},
		`{"name":"Ada","age":3,"death":null,"notes":[],"wait":"1m","home":"https://example.org"}`: {Name: "Ada", Age: 3, Notes: []string{}, Wait: time.Minute, Home: home},
	} {
		got, schema, err := asked[Person](t, reply)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", reply, got, err)
		}
		if !strings.Contains(schema, `"death":{"anyOf":[{"type":"integer"},{"type":"null"}]}`) || !strings.Contains(schema, `"wait":{"type":"string","format":"duration"}`) {
			t.Errorf("asked for %s", schema)
		}
	}
}

func TestWhatCannotBeDecodedIsSaidInPlainWords(t *testing.T) {
	for reply, want := range map[string]string{
		`{"name":"Ada","age":300,"death":null,"notes":[]}`:                                  "at /age: 300 is more than 255",
		`{"name":"Ada","age":3,"death":"alive","notes":[]}`:                                 `at /death: expected an integer or null, got the string "alive"`,
		`{"name":"Ada","age":3,"death":null,"notes":[],"wait":60}`:                          "at /wait: expected a string, got the number 60 (write it like \"PT1H30M\")",
		`{"name":"Ada","age":3,"death":null,"notes":[],"wait":"soon"}`:                      `at /wait: expected a duration such as "PT1H30M" (ISO 8601), got the string "soon"`,
		`{"name":"Ada","age":3,"death":null,"notes":[],"votes":{"9999999999999999999":""}}`: `at /votes/9999999999999999999: the property name "9999999999999999999" must be an integer from`,
	} {
		_, _, err := asked[Person](t, reply)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "json:") {
			t.Errorf("%s: %v\nwant %s", reply, err, want)
		}
	}
}

// A model that ignores the schema and gives the bare value has answered.
func TestABareValueIsAccepted(t *testing.T) {
	if got, _, err := asked[int](t, "42"); got != 42 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := asked[[]string](t, "```json\n[\"a\"]\n```"); !slices.Equal(got, []string{"a"}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := asked[*int](t, "null"); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := asked[Reply](t, `{"type":"Refund","Amount":5}`); got.Value != (Refund{5}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, _, err := asked[llmcall.OneOf[Even, Refund]](t, `{"type":"Even","value":4}`); got.Value != Even(4) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err := asked[Reply](t, `{"type":"Refund","Text":"5"}`); err == nil || !strings.Contains(err.Error(), `at /value: the property "Amount" is missing`) {
		t.Errorf("%v", err)
	}
	if _, _, err := asked[time.Duration](t, `60`); err == nil || !strings.Contains(err.Error(), `write it like "PT1H30M"`) {
		t.Errorf("%v", err)
	}
	if _, _, err := asked[[]int](t, `"a"`); err == nil || !strings.Contains(err.Error(), `expected an array, got the string "a"`) {
		t.Errorf("%v", err)
	}
	if _, _, err := asked[[]int](t, `[1,"b"]`); err == nil || !strings.Contains(err.Error(), `at /value/1: expected an integer`) {
		t.Errorf("%v", err)
	}
	if _, _, err := asked[[]int](t, `{"values":[1]}`); err == nil || !strings.Contains(err.Error(), `the property "value" is missing`) {
		t.Errorf("%v", err)
	}
}

type Refund struct{ Amount int }
type Question struct{ Text string }

func (q *Question) Validate() error {
	if q.Text == "" {
		return errors.New("ask something")
	}
	return nil
}

type Reply = llmcall.OneOf[Refund, Question]

func TestAnAnswerOfOneOfSeveralTypes(t *testing.T) {
	for reply, want := range map[string]any{
		`{"value":{"type":"Refund","Amount":5}}`:   Refund{5},
		`{"value":{"type":"Question","Text":"?"}}`: Question{"?"},
	} {
		if got, _, err := asked[Reply](t, reply); got.Value != want || err != nil {
			t.Errorf("%s: %v, %v", reply, got, err)
		}
	}
	for reply, want := range map[string]string{
		`{"value":{"type":"Question","Text":""}}`:   "at /value: ask something",
		`{"value":{"type":"Refund","Amount":"5"}}`:  "at /value/Amount: expected an integer",
		`{"value":{"type":"Question","Amount":5}}`:  `the property "Text" is missing`,
		`{"value":{"type":"Complaint","Amount":5}}`: "at /value/type: ",
	} {
		if _, _, err := asked[Reply](t, reply); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", reply, err, want)
		}
	}
}

func TestElementsAreValidatedEach(t *testing.T) {
	_, _, err := asked[[]Even](t, `{"value":[2,3,4,5]}`)
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok || len(e.Complaints) != 2 || e.Complaints[0].Pointer != "/value/1" || e.Complaints[1].Pointer != "/value/3" || e.Complaints[0].Problem != "3 is odd" {
		t.Errorf("%v", err)
	}
	_, _, err = asked[map[string]*Even](t, `{"a/b":3}`)
	if e, ok = errors.AsType[*llmcall.Error](err); !ok || len(e.Complaints) != 1 || e.Complaints[0].Pointer != "/a~1b" {
		t.Errorf("%v", err)
	}
	_, _, err = asked[map[string]Even](t, `{"d":1,"c":3,"a<\"b":5,"b":7,"e":2}`)
	var pointers []string
	if e, ok = errors.AsType[*llmcall.Error](err); ok {
		for _, c := range e.Complaints {
			pointers = append(pointers, c.Pointer)
		}
	}
	if want := []string{`/a<"b`, "/b", "/c", "/d"}; !slices.Equal(pointers, want) {
		t.Errorf("%q, want %q", pointers, want)
	}
	if _, _, err = asked[Even](t, `{"value":7}`); err == nil || !strings.Contains(err.Error(), "7 is odd") {
		t.Errorf("%v", err)
	}
}

func TestTheCallersOwnChecksComeToo(t *testing.T) {
	never := validate.Func("never", func(context.Context, *validate.Answer) error { return validate.StopAsking(errors.New("never")) })
	m := play(t, say(`{"value":1}`))
	v, r, err := llmcall.Ask[int](t.Context(), client(t, m, []validate.Strategy{never}, exact(llmcall.RetryConfig{})), llm.Prompt("x"))
	if v != 0 || r != nil || err == nil || !strings.Contains(err.Error(), "never") || m.calls() != 1 {
		t.Errorf("%v, %v, %v", v, r, err)
	}
}

func TestWhatCannotBeAskedFor(t *testing.T) {
	m := play(t)
	withSchema := llm.Prompt("x")
	withSchema.Schema = &llm.Schema{JSON: []byte(`{}`)}
	for name, err := range map[string]error{
		"T: a function": func() error {
			_, _, err := llmcall.Ask[func()](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x"))
			return err
		}(),
		"T: anything": func() error {
			_, _, err := llmcall.Ask[any](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x"))
			return err
		}(),
		"T: a channel within": func() error {
			_, _, err := llmcall.Ask[struct{ C chan int }](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x"))
			return err
		}(),
		"T: an interface within": func() error {
			_, _, err := llmcall.Ask[struct{ E error }](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x"))
			return err
		}(),
		"T: a misspelt keyword": func() error {
			type misspelt struct {
				N int `jsonschema:"mimimum=1"`
			}
			_, _, err := llmcall.Ask[[]misspelt](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), llm.Prompt("x"))
			return err
		}(),
		"request": func() error {
			_, _, err := llmcall.Ask[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), nil)
			return err
		}(),
		"request.schema": func() error {
			_, _, err := llmcall.Ask[int](t.Context(), client(t, m, nil, llmcall.RetryConfig{}), withSchema)
			return err
		}(),
		"max_attempts": func() error {
			_, err := llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{MaxAttempts: -1})
			return err
		}(),
	} {
		field, _, _ := strings.Cut(name, ":")
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m.calls() != 0 {
		t.Error("the model was called")
	}
}

func TestTypesOfOneNameAreTwo(t *testing.T) {
	type Point struct{ X int }
	type first = Point
	{
		type Point struct{ Y int }
		got, schema, err := asked[struct {
			A, C first
			B, D Point
		}](t, `{"A":{"X":1},"C":{"X":1},"B":{"Y":2},"D":{"Y":2}}`)
		if err != nil || got.B.Y != 2 || !strings.Contains(schema, `"Point_2"`) {
			t.Errorf("%v: %s", err, schema)
		}
	}
}

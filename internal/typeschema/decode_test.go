package typeschema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/internal/typeschema"
)

// OneOf is a union as the root package has it.
type OneOf[A, B any] struct {
	_     typeschema.Union[A, B]
	Value any
}

func (o OneOf[A, B]) MarshalJSON() ([]byte, error) {
	return typeschema.MarshalUnion(reflect.TypeFor[OneOf[A, B]](), o.Value)
}

func (o *OneOf[A, B]) UnmarshalJSON(text []byte) (err error) {
	o.Value, err = typeschema.UnmarshalUnion(reflect.TypeFor[OneOf[A, B]](), text)
	return err
}

type Everything struct {
	Int    int                   `json:"int,omitempty"`
	Small  uint8                 `json:"small,omitempty"`
	Big    *big.Int              `json:"big,omitempty"`
	Float  float32               `json:"float,omitempty"`
	Wait   time.Duration         `json:"wait,omitempty"`
	Home   *url.URL              `json:"home,omitempty"`
	At     time.Time             `json:"at,omitzero"`
	Price  Money                 `json:"price,omitzero"`
	Addr   netip.Addr            `json:"addr,omitzero"`
	Votes  map[int8]int          `json:"votes,omitempty"`
	Hosts  map[netip.Addr]string `json:"hosts,omitempty"`
	Quoted int8                  `json:"quoted,string,omitempty"`
	Text   string                `json:"text,string,omitempty"`
	Bytes  []byte                `json:"bytes,omitempty"`
	Days   map[time.Time]int     `json:"days,omitempty"`
	Waits  []time.Duration       `json:"waits,omitempty"`
	Shape  *Drawn                `json:"shape,omitempty"`
	Stamp  Stamp                 `json:"stamp,omitzero"`
	Raw    json.RawMessage       `json:"raw,omitempty"`
}

type Drawn = OneOf[Circle, OneOf[Square, Count]]

type Count int

func decoded(text string) (Everything, error) {
	var e Everything
	err := typeschema.Decode([]byte(text), &e)
	return e, err
}

func TestWhatTheSchemaTakesIsDecoded(t *testing.T) {
	home, err := url.Parse("https://example.org/a?b#c")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Everything{
		`{"int": 3.0}`:                               {Int: 3},
		`{"int": 1e3, "small": 2.50e1}`:              {Int: 1000, Small: 25},
		`{"int": -9223372036854775808.0}`:            {Int: -1 << 63},
		`{"int": null, "price": null}`:               {},
		`{"big": 1e3}`:                               {Big: big.NewInt(1000)},
		`{"wait": "PT1M30S"}`:                        {Wait: 90 * time.Second},
		`{"wait": "1m30s"}`:                          {Wait: 90 * time.Second},
		`{"wait": "-P1DT0.5S"}`:                      {Wait: -24*time.Hour - 500*time.Millisecond},
		`{"wait": "P2W"}`:                            {Wait: 14 * 24 * time.Hour},
		`{"waits": ["PT1S", "PT2H"]}`:                {Waits: []time.Duration{time.Second, 2 * time.Hour}},
		`{"home": "https://example.org/a?b#c"}`:      {Home: home},
		`{"price": "12 EUR"}`:                        {Price: Money{12}},
		`{"votes": {"-3": 2.0}}`:                     {Votes: map[int8]int{-3: 2}},
		`{"hosts": {"::1": "me"}}`:                   {Hosts: map[netip.Addr]string{netip.IPv6Loopback(): "me"}},
		`{"quoted": "7"}`:                            {Quoted: 7},
		`{"text": "one \"two\""}`:                    {Text: `one "two"`},
		`{"text": "\"one\""}`:                        {Text: "one"},
		`{"text": "7"}`:                              {Text: "7"},
		`{"bytes": "AQI="}`:                          {Bytes: []byte{1, 2}},
		`{"shape": {"R": 2, "type": "Circle"}}`:      {Shape: &Drawn{Value: Circle{2}}},
		`{"shape": {"type": "sq", "Side": 2.0}}`:     {Shape: &Drawn{Value: Square{"sq", 2}}},
		`{"shape": {"type": "Count", "value": 1e1}}`: {Shape: &Drawn{Value: Count(10)}},
		`{"raw": {"b": 1.0, "a": [ ]}, "int": 1.0}`:  {Raw: json.RawMessage(`{"b": 1.0, "a": [ ]}`), Int: 1},
	} {
		if got, err := decoded(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// The model hears what is expected where, and nothing of Go.
func TestWhatCannotBeDecodedIsSaidWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"int": 3.5}`:                               `at /int: expected an integer from -9223372036854775808 to 9223372036854775807, got the number 3.5`,
		`{"small": 300}`:                             `at /small: expected an integer from 0 to 255, got the number 300`,
		`{"small": "x"}`:                             `at /small: expected an integer from 0 to 255, got the string "x"`,
		`{"int": 1e999999999}`:                       `at /int: expected an integer from`,
		`{"float": 1e39}`:                            `at /float: expected a number from -3.4e38 to 3.4e38, got the number 1e39`,
		`{"wait": 60}`:                               `at /wait: expected a duration such as "PT1H30M" (ISO 8601), got the number 60`,
		`{"wait": "soon"}`:                           `at /wait: expected a duration such as "PT1H30M" (ISO 8601), got the string "soon"`,
		`{"wait": "P1M"}`:                            `at /wait: expected a duration`,
		`{"waits": ["PT1S", "P"]}`:                   `at /waits/1: expected a duration`,
		`{"home": "a b://"}`:                         `at /home: expected a URL, got the string "a b://"`,
		`{"home": "ftp://a:b@c"}`:                    `at /home: the URL has a user name in it`,
		`{"price": "12 USD"}`:                        `at /price: "12 USD" is not an amount of EUR`,
		`{"at": "today"}`:                            `at /at: expected a date and time with its offset, such as "2026-01-31T09:30:00Z", got the string "today"`,
		`{"stamp": "today"}`:                         `at /stamp: expected a date and time with its offset, such as "2026-01-31T09:30:00Z", got the string "today"`,
		`{"votes": {"300": 1}}`:                      `at /votes/300: the property name "300" must be an integer from -128 to 127`,
		`{"days": {"today": 1}}`:                     `at /days/today: the property name "today" must be a date and time with its offset`,
		`{"hosts": {"a/b": ""}}`:                     `at /hosts/a~1b: the property name "a/b" is not allowed: ParseAddr`,
		`{"quoted": "300"}`:                          `at /quoted: expected an integer from -128 to 127 in quotes, got the string "300"`,
		`{"bytes": "?"}`:                             `at /bytes: expected bytes in base64, got the string "?"`,
		`{"shape": {"type": "Line"}}`:                `at /shape/type: "Line" is not one of Circle, sq, Count`,
		`{"shape": {"type": "sq", "Side": "x"}}`:     `at /shape/Side: expected an integer`,
		`{"shape": {"type": "Count", "value": 1.5}}`: `at /shape/value: expected an integer`,
		`{"shape": {"type": "Count"}}`:               `at /shape: the property "value" is missing`,
		`{"shape": {}}`:                              `at /shape: the property "type" must say which type it is`,
		`{"shape": []}`:                              `at /shape: expected an object, got an array`,
		`{"big": "x"}`:                               `at /big: `,
		`{"int": "1", "small": -1}`:                  "at /int: expected an integer from -9223372036854775808 to 9223372036854775807, got the string \"1\"\nat /small: expected an integer",
		`[]`:                                         `expected an object, got an array`,
	} {
		_, err := decoded(text)
		faults, ok := errors.AsType[typeschema.Faults](err)
		if !ok || !strings.HasPrefix(faults.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
			continue
		}
		for _, goes := range []string{"json:", "unmarshal", "Go ", "typeschema", "uint", "strconv"} {
			if strings.Contains(faults.Error(), goes) {
				t.Errorf("%s: the model is told %s", text, faults)
			}
		}
	}
}

func TestAUnionIsWrittenAsItIsRead(t *testing.T) {
	for want, value := range map[string]any{
		`{"type":"Circle","R":2}`:    Circle{2},
		`{"type":"sq","Side":1}`:     Square{"sq", 1},
		`{"type":"Count","value":3}`: Count(3),
		`null`:                       nil,
	} {
		text, err := json.Marshal(Drawn{Value: value})
		if err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
		var back Drawn
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back.Value, value) {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	if text, err := json.Marshal(Drawn{Value: "x"}); err == nil {
		t.Errorf("%s", text)
	}
}

// A union that holds itself, as a grammar has it.
type Sum struct{ Left, Right OneOf[Literal, Sum] }
type Literal struct{ N int }

func TestAUnionMayHoldItself(t *testing.T) {
	schema, err := typeschema.Of(reflect.TypeFor[Sum]())
	if err != nil || strings.Count(string(schema.Asked), `"$ref"`) < 2 {
		t.Errorf("%s, %v", schema.Asked, err)
	}
	var sum Sum
	err = typeschema.Decode([]byte(`{"Left":{"type":"Literal","N":1.0},"Right":{"type":"Sum","Left":{"type":"Literal","N":2},"Right":{"type":"Literal","N":3}}}`), &sum)
	if err != nil || fmt.Sprint(sum) != "{{{} {1}} {{} {{{} {2}} {{} {3}}}}}" {
		t.Errorf("%v, %v", sum, err)
	}
}

// Chain is a union that holds itself, and a value that encoding/json alone can't decode.
type Chain struct {
	Wait time.Duration
	Next *OneOf[Chain, Counted] `json:",omitempty"`
}

// Counted counts how often it is decoded.
type Counted struct{ n int }

var counted int

func (c *Counted) UnmarshalJSON(text []byte) error {
	counted++
	if json.Unmarshal(text, &c.n) != nil {
		return errors.New("no number")
	}
	return nil
}

func TestAUnionDeepInUnionsIsDecodedInTime(t *testing.T) {
	const deep = 400
	for leaf, want := range map[string]string{
		`{"type":"Counted","value":1}`:   "",
		`{"type":"Counted","value":"x"}`: "/value: no number",
		`{"type":"Chain","Wait":5}`:      "/Wait: expected a duration",
		`{"type":"Count","value":1}`:     `/type: "Count" is not one of Chain, Counted`,
		`{"type":"Chain","Wait":"PT1S"}`: "",
	} {
		counted = 0
		text := strings.Repeat(`{"type":"Chain","Wait":"PT1S","Next":`, deep) + leaf + strings.Repeat("}", deep)
		err := typeschema.Decode([]byte(text), new(OneOf[Chain, Counted]))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "at "+strings.Repeat("/Next", deep)+want)) {
			t.Errorf("%s: %v, want %s", leaf, err, want)
		}
		if counted > 20 { // once more for each union around it
			t.Errorf("%s: decoded %d times", leaf, counted)
		}
	}
}

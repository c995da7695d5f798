package validate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

// feed gives a text to a new Prefix in pieces of n bytes.
func feed(text string, n int) (*validate.Prefix, error) {
	p := new(validate.Prefix)
	for ; len(text) > n; text = text[n:] {
		if err := p.Feed(text[:n]); err != nil {
			return p, err
		}
	}
	return p, p.Feed(text)
}

func TestPrefixShowsWhatIsComplete(t *testing.T) {
	for _, test := range []struct {
		text, want string // "" is nothing yet
		complete   bool
	}{
		{"", "", false},
		{" \ufeff\n", "", false},
		{"{", "{}", false},
		{`{"na`, "{}", false},
		{`{"name"`, "{}", false},
		{`{"name": `, "{}", false},
		{`{"name": "Far`, "{}", false},
		{`{"name": "Faré"`, `{"name": "Faré"}`, false},
		{`{"a": 12`, "{}", false},
		{`{"a": 12 `, `{"a": 12}`, false},
		{`{"a": tru`, "{}", false},
		{`{"a": true`, `{"a": true}`, false},
		{`{"a": {"b": null, "c": [1, 2`, `{"a": {"b": null, "c": [1]}}`, false},
		{`{"a": {"b": null, "c": [1, 2]`, `{"a": {"b": null, "c": [1, 2]}}`, false},
		{`[{"a": 1}, {"a": 2}, {`, `[{"a": 1}, {"a": 2}, {}]`, false},
		{"```json\n", "", false},
		{"```json\n[1,", "[1]", false},
		{"```json\n[1]\n", "[1]", true},
		{"```json\n[1]\n```\n ", "[1]", true},
		{`{"a": 1}`, `{"a": 1}`, true},
		{`"a`, "", false},
		{`"a"`, `"a"`, true},
		{"12", "", false},
		{"12 ", "12", true},
		{"null", "null", true},
	} {
		for _, n := range []int{1, 2, 3, 100} {
			p, err := feed(test.text, n)
			if err != nil {
				t.Errorf("%q: %v", test.text, err)
				continue
			}
			value, some := p.Value()
			if some != (test.want != "") || some && !reflect.DeepEqual(value, reference(t, test.want)) || p.Complete() != test.complete {
				t.Errorf("%q in pieces of %d: %v, %v, complete: %v", test.text, n, value, some, p.Complete())
			}
		}
	}
}

func TestPrefixShowsAStringThatIsOpenIfAsked(t *testing.T) {
	for text, want := range map[string]any{
		`{"a": "Far`:            map[string]any{"a": "Far"},
		`{"a": "`:               map[string]any{"a": ""},
		`{"a": "x\`:             map[string]any{"a": "x"},
		`{"a": "x\ud83d`:        map[string]any{"a": "x"},
		`{"a": "x\ud83d\ude00`:  map[string]any{"a": "x😀"},
		`{"a": ["x", "y`:        map[string]any{"a": []any{"x", "y"}},
		`{"na`:                  map[string]any{},
		"{\"a\": \"x\xf0\x9f":   map[string]any{"a": "x"},
		`"x`:                    "x",
		`{"a": "x", "b`:         map[string]any{"a": "x"},
		`{"a": "x", "b": tru`:   map[string]any{"a": "x"},
		`{"a": "x", "b": ["y",`: map[string]any{"a": "x", "b": []any{"y"}},
	} {
		p := validate.Prefix{OpenStrings: true}
		if err := p.Feed(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if value, some := p.Value(); !some || !reflect.DeepEqual(value, want) {
			t.Errorf("%s: %#v", text, value)
		}
	}
}

func TestAValueOfAPrefixDoesNotChangeWithTheNextPiece(t *testing.T) {
	p := new(validate.Prefix)
	var shown []any
	var want []string
	for _, piece := range []string{`{"a": [1, `, `2, `, `{"x": "y"`, `}], "b`, `": {}, "c": 3`, `, "d": [`, `]}`} {
		if err := p.Feed(piece); err != nil {
			t.Fatal(err)
		}
		value, _ := p.Value()
		text, _ := json.Marshal(value)
		shown, want = append(shown, value), append(want, string(text))
	}
	for i, value := range shown {
		if text, _ := json.Marshal(value); string(text) != want[i] {
			t.Errorf("piece %d: %s, and was %s", i+1, text, want[i])
		}
	}
}

func TestPrefixSaysAtOnceWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"H", `line 1, column 1: the text is not JSON: "H"`},
		{"Sure: {", `line 1, column 1: there is text before the JSON: "Sure:"`},
		{"`x", "the text is not JSON: \"`x\""},
		{"```json\nS", `line 2, column 1: the text is not JSON: "S"`},
		{"```json {", "line 1, column 1: there is Markdown around the JSON"},
		{"```\n```json\n", "line 2, column 1: there is a Markdown block within another"},
		{"```json\n{\"a\":1}\n``x", "line 3, column 1: there is text after the JSON value: \"``x\""},
		{"```json\n{}\n```\nx", `line 4, column 1: there is text after the JSON value: "x"`},
		{"```json\n{}\n```\n```", "line 4, column 1: there is more than one Markdown block"},
		{"{}{", "line 1, column 3: there is more than one JSON value"},
		{"{} x", `line 1, column 4: there is text after the JSON value: "x"`},
		{`{"a": 1,}`, `line 1, column 8: there is a comma before the closing "}"`},
		{"```\n[1,\n]", `line 2, column 3: there is a comma before the closing "]"`},
		{`{'`, "line 1, column 2: there are single quotes around a name or a string"},
		{`{"a": [1, N`, `at /a/1: line 1, column 11: expected a value, got "N"`},
		{`{"a": [1, NaN`, `at /a/1: line 1, column 11: NaN is not JSON`},
		{`{"a": 1, "b": 2, "a"`, `at /a: line 1, column 18: the property "a" is there more than once`},
		{`[1e400,`, `at /0: line 1, column 2: the number 1e400 is out of range`},
		{`["\ud83dx`, `at /0: line 1, column 3: \ud83d is half of a character`},
		{`["\p`, `at /0: line 1, column 3: \p is not a JSON escape`},
		{`["\u12G`, `at /0: line 1, column 3: four hexadecimal digits must follow \u`},
		{`["\ude00`, `at /0: line 1, column 3: \ude00 is half of a character`},
		{"[\"\xff", "line 1, column 3: the text is not valid UTF-8 here"},
		{"[\"a\n", "at /0: line 1, column 4: a string goes over the end of the line"},
		{"[1 /", `line 1, column 4: a comma or "]" must follow a value, and "/" does`},
		{"[1 // one", "line 1, column 4: there is a comment"},
		{strings.Repeat("[", 501), "arrays and objects are nested more than 500 deep"},
	} {
		p := new(validate.Prefix)
		err := p.Feed(test.text)
		var complaints validate.Complaints
		if !errors.As(err, &complaints) || len(complaints) != 1 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.100q: %.300v\nwant %s", test.text, err, test.want)
		}
		if again := p.Feed("x"); again == nil || again.Error() != err.Error() {
			t.Errorf("%.100q: the next piece: %v", test.text, again)
		}
	}
}

// visits writes down what a Prefix tells its Visitor, and makes a value of it
// again: of its scalars and where they belong.
type visits struct {
	t     rapid.TB
	lines []string
	open  []any // map[string]any or []any
	names []string
	value any
}

func (v *visits) Open(name string, object bool) {
	v.lines, v.names = append(v.lines, fmt.Sprintf("open %q %v", name, object)), append(v.names, name)
	if object {
		v.open = append(v.open, map[string]any{})
	} else {
		v.open = append(v.open, []any{})
	}
}

func (v *visits) Close(name, text string) {
	last := len(v.open) - 1
	value := v.open[last]
	if name != v.names[last] || !reflect.DeepEqual(value, reference(v.t, text)) {
		v.t.Fatalf("%q was opened, and %q closed with %q; it holds %v", v.names[last], name, text, value)
	}
	v.open, v.names = v.open[:last], v.names[:last]
	v.take("close", name, text, value)
}

func (v *visits) Scalar(name, text string) { v.take("scalar", name, text, reference(v.t, text)) }

func (v *visits) take(what, name, text string, value any) {
	v.lines = append(v.lines, fmt.Sprintf("%s %q %s", what, name, text))
	if len(v.open) == 0 {
		v.value = value
		return
	}
	switch in := v.open[len(v.open)-1].(type) {
	case map[string]any:
		in[name] = value
	case []any:
		v.open[len(v.open)-1] = append(in, value)
	}
}

func TestPrefixTellsItsVisitor(t *testing.T) {
	text := "```json\n{\"a\\n\" : [1, -2.5e1 ,{}],\"\":{ \"b\":null}, \"c\": \"\\u00e4\"}\n```"
	want := []string{
		`open "" true`,
		`open "a\n" false`, `scalar "" 1`, `scalar "" -2.5e1`, `open "" true`, `close "" {}`, `close "a\n" [1, -2.5e1 ,{}]`,
		`open "" true`, `scalar "b" null`, `close "" { "b":null}`,
		`scalar "c" "\u00e4"`,
		`close "" {"a\n" : [1, -2.5e1 ,{}],"":{ "b":null}, "c": "\u00e4"}`,
	}
	for _, n := range []int{1, 2, 3, 7, len(text)} {
		v := &visits{t: t}
		p := validate.Prefix{Visitor: v}
		for rest := text; rest != ""; rest = rest[min(n, len(rest)):] {
			if err := p.Feed(rest[:min(n, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(v.lines, want) {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", n, strings.Join(v.lines, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What is complete is told at once, and what is not is not.
func TestPrefixTellsItsVisitorAtOnce(t *testing.T) {
	v := &visits{t: t}
	p := validate.Prefix{Visitor: v}
	for _, step := range []struct {
		piece string
		told  int
	}{{" ", 0}, {"[", 1}, {"12", 1}, {"3", 1}, {",", 2}, {`"a`, 2}, {`"`, 3}, {",fals", 3}, {"e", 4}, {",7", 4}, {"]", 6}, {"\n", 6}} {
		if err := p.Feed(step.piece); err != nil {
			t.Fatal(err)
		}
		if len(v.lines) != step.told {
			t.Errorf("behind %q: %q", step.piece, v.lines)
		}
	}
}

// isPart reports whether a value is a part of the whole: properties and items
// may be missing at the end, and what is there is the same.
func isPart(part, whole any) bool {
	switch p := part.(type) {
	case map[string]any:
		w, ok := whole.(map[string]any)
		for key, value := range p {
			of, there := w[key]
			ok = ok && there && isPart(value, of)
		}
		return ok
	case []any:
		w, ok := whole.([]any)
		if !ok || len(p) > len(w) {
			return false
		}
		for i, value := range p {
			if !isPart(value, w[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(part, whole)
}

func TestEveryPrefixOfJSONIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		want := reference(t, string(text))
		if rapid.Bool().Draw(t, "indent") {
			var b bytes.Buffer
			if err := json.Indent(&b, text, "", "\t"); err != nil {
				t.Fatal(err)
			}
			text = b.Bytes()
		}
		answer := string(text)
		if rapid.Bool().Draw(t, "fence") {
			answer = "```json\r\n" + answer + "\n```\n"
		}
		told := &visits{t: t}
		p := &validate.Prefix{Visitor: told}
		for from := 0; from < len(answer); {
			to := min(from+rapid.IntRange(1, 5).Draw(t, "piece"), len(answer))
			if err := p.Feed(answer[from:to]); err != nil {
				t.Fatalf("%q: %v", answer[:to], err)
			}
			if value, some := p.Value(); some && !isPart(value, want) {
				t.Fatalf("%q: %v is no part of %v", answer[:to], value, want)
			}
			from = to
		}
		if err := p.Feed("\n"); err != nil {
			t.Fatal(err)
		}
		if value, _ := p.Value(); !p.Complete() || !reflect.DeepEqual(value, want) {
			t.Fatalf("%q: %v", answer, value)
		}
		if !reflect.DeepEqual(told.value, want) {
			t.Fatalf("%q: the visitor was told of %v", answer, told.value)
		}
	})
}

// A control character can be nowhere in JSON.
func TestPrefixRefusesABrokenTextWhereItBreaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		p := new(validate.Prefix)
		if err := p.Feed(string(text[:at])); err != nil {
			t.Fatal(err)
		}
		if err := p.Feed("\x01"); err == nil {
			t.Fatalf("%q: a control character is accepted", text[:at])
		}
	})
}

func FuzzPrefix(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "\ufeff{}", "```json\n{\"a\":1}\n```", "~~~\n1\n~~~", "{\"a\":[1,2,],}", "```\n\u00a0[1]\u00a0\n```", "\"\\ud83d\\ude00\\ud83d\"", "1e999", "-0.0e-0",
		"{}{}", "tru", "``` \n1\n````", "{\"a\":1,\"a\"", "[1\u00a0]", "```\n12\n``` x\n```", "[\"\xf0\x9f\x98\x80\"]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := feed(text, len(text)+1)
		slow, errSlow := feed(text, 1)
		if (err == nil) != (errSlow == nil) {
			t.Fatalf("%q: %v, byte by byte %v", text, err, errSlow)
		}
		value, some := p.Value()
		if v, s := slow.Value(); s != some || !reflect.DeepEqual(v, value) {
			t.Fatalf("%q: %v, byte by byte %v", text, value, v)
		}
		report := check(t, validate.JSON(), text)
		valid := len(report.Complaints) == 0
		switch {
		case valid && err != nil:
			t.Fatalf("%q is JSON: %v", text, err)
		case valid && p.Complete() && !reflect.DeepEqual(value, report.Value):
			t.Fatalf("%q: %v, want %v", text, value, report.Value)
		case valid && !some && !isNumber(report.Value):
			t.Fatalf("%q has no value", text)
		case valid && some && !isPart(value, report.Value):
			t.Fatalf("%q: %v is no part of %v", text, value, report.Value)
		case !valid && err == nil && !mayGoOn(report.Complaints[0].Problem):
			t.Fatalf("%q is taken for the beginning of JSON: %v", text, report.Complaints)
		case json.Valid([]byte(text)) && err != nil && !strict.MatchString(err.Error()):
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func isNumber(value any) bool {
	_, ok := value.(json.Number)
	return ok
}

// mayGoOn reports whether JSON complains of a text because it has ended: a
// number too large may get an exponent, and a character its other bytes.
func mayGoOn(problem string) bool {
	for _, part := range []string{"ends before it is complete", "the text is empty", "out of range", "not valid UTF-8", "not JSON: \"`", "not JSON: \"~", "around the JSON"} {
		if strings.Contains(problem, part) {
			return true
		}
	}
	return false
}

package validate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

func TestJSONAcceptsOneValue(t *testing.T) {
	for _, test := range []struct{ name, text, clean string }{
		{"an object", `{"a": [1, 2.50, -1e3], "b": null}`, `{"a": [1, 2.50, -1e3], "b": null}`},
		{"white space around it", " \r\n\t[true, false] \n", `[true, false]`},
		{"a string", `"a\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ä"`, `"a\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ä"`},
		{"a number", "12", "12"},
		{"null", "null", "null"},
		{"true", "\ntrue", "true"},
		{"empty containers", `{"a":{},"b":[]}`, `{"a":{},"b":[]}`},
		{"the same property of two objects", `[{"a":1},{"a":1}]`, `[{"a":1},{"a":1}]`},
		{"an escaped property name", `{"\u0061":1}`, `{"\u0061":1}`},
		{"a byte order mark", "\ufeff{}", `{}`},
		{"a fence labelled json", "```json\n{\"a\":1}\n```", `{"a":1}`},
		{"a fence labelled JSON", "```JSON\n{\"a\":1}\n```", `{"a":1}`},
		{"a fence without a label", "```\n[1]\n```", `[1]`},
		{"a fence with another label", "``` my data\n[1]\n```", `[1]`},
		{"a fence with CRLF", "```json\r\n{\r\n}\r\n```\r\n", "{\r\n}"},
		{"a fence of tildes", "~~~json\n1\n~~~", "1"},
		{"a longer fence", "````json\n1\n`````", "1"},
		{"an indented fence", "  ```json\n  {}\n  ```  \n", "{}"},
		{"space in and around a fence", "\n\n```json\n\n{}\n\n```\n\n", "{}"},
		{"a byte order mark and a fence", "\ufeff```json\n{}\n```", "{}"},
		{"a fence within a string", "```json\n{\"code\": \"```\"}\n```", "{\"code\": \"```\"}"},
		{"a large number", "1e308", "1e308"},
		{"a small number", "[4e-324, 1e-999, 0e0]", "[4e-324, 1e-999, 0e0]"},
		{"a null character", `"\u0000"`, `"\u0000"`},
		{"as deep as allowed", strings.Repeat("[", 500) + strings.Repeat("]", 500), strings.Repeat("[", 500) + strings.Repeat("]", 500)},
	} {
		report := check(t, validate.JSON(), test.text)
		wantLines(t, test.name, report.Complaints)
		if !report.Decoded || report.Text != test.clean {
			t.Errorf("%s: text %q, want %q", test.name, report.Text, test.clean)
			continue
		}
		if want := reference(t, report.Text); !reflect.DeepEqual(report.Value, want) {
			t.Errorf("%s: value %#v, want %#v", test.name, report.Value, want)
		}
	}
}

// reference decodes with encoding/json.
func reference(t rapid.TB, text string) (value any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatalf("encoding/json can't decode %q: %v", text, err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("there is more in %q: %v", text, err)
	}
	return value
}

func TestJSONSaysWhatIsWrongAndWhere(t *testing.T) {
	const alone = " (answer with JSON alone)"
	const whole = " (answer with the whole JSON value; make it shorter if it does not fit)"
	const quotes = " (put names and strings in double quotes)"
	const number = " (use a number, or null where there is none)"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "line 1, column 1: the text is empty: there is no JSON in it (answer with one JSON value)"},
		{"an empty fence", "```json\n```", "line 2, column 1: the text is empty: there is no JSON in it (answer with one JSON value)"},
		{"prose alone", "I can't help with that.", `line 1, column 1: the text is not JSON: "I can't help with that."` + alone},
		{"a word", "Berlin", `line 1, column 1: the text is not JSON: "Berlin"` + alone},
		{"long prose is shortened", strings.Repeat("ä", 100), `line 1, column 1: the text is not JSON: "` + strings.Repeat("ä", 40) + `…"` + alone},
		{"prose before", "Here you go:\n{\"a\":1}", `line 1, column 1: there is text before the JSON: "Here you go:"` + alone},
		{"prose before a fence", "Sure!\n```json\n{}\n```", `line 1, column 1: there is text before the JSON: "Sure!"` + alone},
		{"thoughts before", "<think>hm</think>\n{}", `line 1, column 1: there is text before the JSON: "<think>hm</think>"` + alone},
		{"prose behind", "{}\n\nHope this helps!", `line 3, column 1: there is text after the JSON value: "Hope this helps!"` + alone},
		{"prose behind a fence", "```json\n{}\n```\nDone.", `line 4, column 1: there is text after the JSON value: "Done."` + alone},
		{"two fences", "```\n1\n```\n\n```\n2\n```", "line 5, column 1: there is more than one Markdown block (answer with a single JSON value)"},
		{"a fence on one line", "```json {} ```", "line 1, column 1: there is Markdown around the JSON" + alone},
		{"JSON behind the fence's label", "```json {\n}\n```", "line 1, column 1: there is Markdown around the JSON" + alone},
		{"a fence without its end", "```json\n{}\n", "line 2, column 3: the Markdown block is not closed: the text ends before it is complete" + whole},
		{"a fence closed by a shorter one", "````\n{}\n```", "line 3, column 4: the Markdown block is not closed: the text ends before it is complete" + whole},
		{"code quotes", "`{}`", "line 1, column 1: there is text before the JSON: \"`\"" + alone},
		{"a fence within a fence", "````\n```json\n{}\n```\n````", "line 2, column 1: there is a Markdown block within another" + alone},
		{"two values and a comma", "{},\n{}", "line 1, column 3: there is more than one JSON value (answer with a single JSON value)"},
		{"a comma behind the value", "{}, x", `line 1, column 3: there is text after the JSON value: ", x"` + alone},
		{"a list", "- a\n- b", `line 1, column 1: the text is not JSON: "- a"` + alone},
		{"a list before an object", "1. {}", `line 1, column 1: there is text before the JSON: "1."` + alone},
		{"escaped quotes", `{\"a\": 1}`, "line 1, column 2: there is a backslash outside of a string (write the JSON as it is, without escaping it once more)"},
		{"a space that JSON does not have", "[1,\u00a02]", "at /1: line 1, column 4: there is the character U+00A0, which is not white space in JSON (use plain spaces and line breaks, or leave it out)"},
		{"two values", "{}\n{}", "line 2, column 1: there is more than one JSON value (answer with a single JSON value)"},
		{"a bracket too many", "{}}", `line 1, column 3: there is a "}" too many after the JSON value (close each object and array once)`},
		{"a comment before", "// here\n{}", "line 1, column 1: there is a comment (leave comments out: JSON has none)"},
		{"a comment behind", "{} // done", "line 1, column 4: there is a comment (leave comments out: JSON has none)"},
		{"a comment within", "{\"a\": /* one */ 1}", "at /a: line 1, column 7: there is a comment (leave comments out: JSON has none)"},
		{"a comment behind a value", "[1, # one\n2]", "at /1: line 1, column 5: there is a comment (leave comments out: JSON has none)"},
		{"a comment before a comma", "[1 // one\n,2]", "line 1, column 4: there is a comment (leave comments out: JSON has none)"},
		{"a comment before a name", "{ // one\n}", "line 1, column 3: there is a comment (leave comments out: JSON has none)"},
		{"a comment before a colon", "{\"a\" /**/:1}", "line 1, column 6: there is a comment (leave comments out: JSON has none)"},
		{"a trailing comma in an object", "{\n  \"a\": 1,\n}", `line 2, column 9: there is a comma before the closing "}" (leave out the comma)`},
		{"a trailing comma in an array", `{"a": [1, 2, ]}`, `at /a: line 1, column 12: there is a comma before the closing "]" (leave out the comma)`},
		{"single quotes", `{'a': 1}`, "line 1, column 2: there are single quotes around a name or a string (use double quotes)"},
		{"single quotes around a value", `{"a": 'b'}`, "at /a: line 1, column 7: there are single quotes around a name or a string (use double quotes)"},
		{"single quotes around all", `'a'`, "line 1, column 1: there are single quotes around a name or a string (use double quotes)"},
		{"typographic quotes", `{“a”: 1}`, `line 1, column 2: “ is not a quotation mark of JSON (use straight double quotes ("))`},
		{"code quotes around a value", "[`a`]", "at /0: line 1, column 2: ` is not a quotation mark of JSON (use straight double quotes (\"))"},
		{"a name without quotes", `{name: 1}`, `line 1, column 2: a property name has no quotes: "name: 1}"` + quotes},
		{"a value without quotes", `{"a": Berlin}`, `at /a: line 1, column 7: expected a value, got "Berlin}"` + quotes},
		{"a number as a name", `{1: 1}`, `line 1, column 2: expected a property name in double quotes, got "1: 1}"` + quotes},
		{"a comma too many", `{,}`, "line 1, column 2: there is a comma with nothing before it (put one comma between one property and the next)"},
		{"no value", `{"a": , "b": 1}`, `at /a: line 1, column 7: a value is missing before "," (put a value there, null where there is none)`},
		{"no comma", "{\"a\": 1\n\"b\": 2}", `line 2, column 1: a comma or "}" must follow a value, and "\"b\": 2}" does (put a comma between one and the next)`},
		{"a quote in a string", `{"a": "say "hi" now"}`, `line 1, column 13: a comma or "}" must follow a value, and "hi\" now\"}" does (put a comma between one and the next, and write a double quote inside a string as \")`},
		{"no colon", `{"a" 1}`, `line 1, column 6: a colon must follow the property name "a", and "1}" does (put a colon between each property's name and its value)`},
		{"the wrong bracket", `{"a": [1}}`, `at /a: line 1, column 9: "}" closes an array that needs "]" (close each object with } and each array with ])`},
		{"an ellipsis", `[1, 2, ...]`, "at /2: line 1, column 8: there are three dots instead of what is left out (write out all of it)"},
		{"an ellipsis among properties", `{"a": 1, …}`, "line 1, column 10: there are three dots instead of what is left out (write out all of it)"},
		{"NaN", `{"a": NaN}`, "at /a: line 1, column 7: NaN is not JSON" + number},
		{"NaN alone", `NaN`, "line 1, column 1: NaN is not JSON" + number},
		{"Infinity", `[Infinity]`, "at /0: line 1, column 2: Infinity is not JSON" + number},
		{"-Infinity", `[-Infinity]`, "at /0: line 1, column 2: -Infinity is not JSON" + number},
		{"Python's words", `[None, True]`, "at /0: line 1, column 2: None is not JSON (write null)"},
		{"Python's truth", `True`, "line 1, column 1: True is not JSON (write true)"},
		{"JavaScript's nothing", `{"a": undefined}`, "at /a: line 1, column 7: undefined is not JSON (write null)"},
		{"leading zeros", `[-007]`, "at /0: line 1, column 2: the number -007 begins with 0 (leave out the zeros at the beginning; put it in double quotes if it is a code)"},
		{"a plus sign", `[+1]`, `at /0: line 1, column 2: a JSON number does not begin with "+" (begin a number with a digit or with a minus sign)`},
		{"no digit before the point", `[.5]`, `at /0: line 1, column 2: a JSON number does not begin with "." (begin a number with a digit or with a minus sign)`},
		{"no digit behind the point", `[1.]`, `at /0: line 1, column 2: a digit is missing in the number "1." (write digits on both sides of the point, and after e)`},
		{"no exponent", `[1e+]`, `at /0: line 1, column 2: a digit is missing in the number "1e+" (write digits on both sides of the point, and after e)`},
		{"a minus sign alone", `[-]`, `at /0: line 1, column 2: a digit is missing in the number "-" (write digits on both sides of the point, and after e)`},
		{"a number too large", `[1, 1e400]`, "at /1: line 1, column 5: the number 1e400 is out of range (use a number that a 64-bit floating-point number can hold, or a string)"},
		{"an exponent too long", `1e-1000000000`, "line 1, column 1: the number 1e-1000000000 is out of range (use a number that a 64-bit floating-point number can hold, or a string)"},
		{"a line break in a string", "{\"a\": \"x\ny\"}", `at /a: line 1, column 9: a string goes over the end of the line (close the string, or write the line break as \n)`},
		{"a tab in a string", "[\"\t\"]", `at /0: line 1, column 3: there is a tab inside a string (write it as \t)`},
		{"a control character in a string", "[\"\x01\"]", `at /0: line 1, column 3: there is a control character inside a string (leave it out, or write it as \u0001)`},
		{"an escape that JSON does not have", `["C:\path", "it\'s"]`, `at /0: line 1, column 5: \p is not a JSON escape (write a backslash as \\, and a single quote without one)`},
		{"no hexadecimal digits", `["\u12G4"]`, `at /0: line 1, column 3: four hexadecimal digits must follow \u (write a backslash as \\)`},
		{"half a character", `["\ud83d"]`, `at /0: line 1, column 3: \ud83d is half of a character (write the character itself, or both \u of its surrogate pair)`},
		{"the other half", `["\ude00x"]`, `at /0: line 1, column 3: \ude00 is half of a character (write the character itself, or both \u of its surrogate pair)`},
		{"half a character and a broken one", `["\ud83d\ude0"]`, `at /0: line 1, column 3: four hexadecimal digits must follow \u (write a backslash as \\)`},
		{"two first halves", `["\ud83d\ud83d"]`, `at /0: line 1, column 3: \ud83d is half of a character (write the character itself, or both \u of its surrogate pair)`},
		{"invalid UTF-8", "{\"ä\": \"\xff\"}", "line 1, column 8: the text is not valid UTF-8 here (write the text in UTF-8)"},
		{"columns are code points", "{\"ä\": \"😀\", b}", `line 1, column 12: a property name has no quotes: "b}"` + quotes},
		{"a pointer is escaped", `{"a/b": {"m~n": [1, x]}}`, `at /a~1b/m~0n/1: line 1, column 21: expected a value, got "x]}}"` + quotes},
	} {
		report := check(t, validate.JSON(), test.text)
		wantLines(t, test.name, report.Complaints, "json: "+test.want)
		if report.Decoded {
			t.Errorf("%s: decoded %v", test.name, report.Value)
		}
	}
}

func TestJSONTellsWhereATextIsCutOff(t *testing.T) {
	full := `{"name": "Far\u00e9 \ud83d\ude00", "list": [1.5e3, true, {"x": null}], "last": -2}`
	for n := 1; n < len(full); n++ {
		complaints := check(t, validate.JSON(), full[:n]).Complaints
		if len(complaints) != 1 || !strings.HasPrefix(complaints[0].Problem, "the JSON ends before it is complete: ") {
			t.Errorf("%s: %v", full[:n], complaints)
		}
	}
	for _, test := range []struct{ text, want string }{
		{`{"a": {"b": [1,`, "at /a/b: line 1, column 16: the JSON ends before it is complete: the array begun on line 1 is not closed"},
		{"{\"a\": 1,\n\"b\": \"x", "at /b: line 2, column 6: the JSON ends before it is complete: a string is not closed"},
		{"{\"a\":", "at /a: line 1, column 6: the JSON ends before it is complete: a value is missing"},
		{"{\n\"a\": [{}, {\n", "at /a/1: line 2, column 12: the JSON ends before it is complete: the object begun on line 2 is not closed"},
	} {
		wantLines(t, test.text, check(t, validate.JSON(), test.text).Complaints,
			"json: "+test.want+" (answer with the whole JSON value; make it shorter if it does not fit)")
	}
}

func TestAnAnswerCutOffAtTheTokenLimitIsReportedAsThat(t *testing.T) {
	const cut = "the answer was cut off at the token limit before its JSON was complete (make the answer shorter, so that its JSON is complete)"
	for _, test := range []struct{ text, want string }{
		{`{"a": "b`, "line 1, column 9: " + cut},
		{"{\"a\":\n 'b", "line 2, column 4: " + cut},
		{"```json\n{}", "line 2, column 3: " + cut},
		{"", "line 1, column 1: " + cut},
		{"12", "line 1, column 3: " + cut}, // of 123?
		{`{"a": 12}`, ""},
		{`"a"`, ""},
		{"```json\n{}\n```", ""},
		{`{"a": 1, "a": 1}`, `at /a: line 1, column 10: the property "a" is there more than once (give each property once)`},
	} {
		for name, s := range map[string]validate.Strategy{"json": validate.JSON(), "schema": parse(t, "schema:true")} {
			var want []string
			if test.want != "" {
				want = []string{name + ": " + test.want}
			}
			wantLines(t, test.text, checkAnswer(t, s, finished(test.text, llm.FinishLength)).Complaints, want...)
		}
	}
	wantLines(t, "no reason to stop", checkAnswer(t, validate.JSON(), finished(`{"a": `, llm.FinishNone)).Complaints,
		"json: line 1, column 6: the answer broke off before its JSON was complete: it came without a reason to stop (give the whole JSON value)")
	wantLines(t, "no reason to stop, and JSON that is whole", checkAnswer(t, validate.JSON(), finished(`{"a": 1}`, llm.FinishNone)).Complaints)
	if report := checkAnswer(t, validate.JSON(), finished("12", llm.FinishStop)); len(report.Complaints) > 0 {
		t.Errorf("a number that is whole: %v", report.Complaints)
	}
}

func TestJSONNamesEachRepeatedProperty(t *testing.T) {
	report := check(t, validate.JSON(), "{\"a\": 1, \"b\": [{\"c\": 1,\n \"\\u0063\": 2}], \"a\": 3}")
	wantLines(t, "three", report.Complaints,
		`json: at /b/0/c: line 2, column 2: the property "c" is there more than once (give each property once)`,
		`json: at /a: line 2, column 17: the property "a" is there more than once (give each property once)`)
	if report.Decoded {
		t.Error("one of two values was taken in silence")
	}
	complaints := check(t, validate.JSON(), "{"+strings.Repeat(`"a":1,`, 50)+`"a":1}`).Complaints
	if n := len(complaints); n != 21 || complaints[20].Problem != "and 30 more repeated properties" {
		t.Errorf("%d complaints, the last: %v", n, complaints[n-1])
	}
}

func TestJSONIsSafeFromDepth(t *testing.T) {
	const problem = "arrays and objects are nested more than 500 deep"
	for _, unit := range []string{"[", `{"a":`, "[[{\"\":"} {
		text := strings.Repeat(unit, 10<<20/len(unit))
		complaints := check(t, validate.JSON(), text).Complaints
		if len(complaints) != 1 || complaints[0].Problem != problem || len(complaints[0].Pointer) > 300 {
			t.Errorf("%q: %.300v", unit, complaints)
		}
	}
}

func TestLongTextsAreCheckedWithoutHarm(t *testing.T) {
	const size = 1 << 20
	checks := []validate.Strategy{
		validate.NotEmpty(), validate.JSON(), parse(t, `schema:{"items":{"type":"string"}}`), parse(t, "length:..1000"),
		parse(t, "regex:^needle$"), parse(t, "contains:needle"), parse(t, `any:["json","not:not_empty"]`),
	}
	for name, text := range map[string]string{
		"10 MB of prose":       strings.Repeat("Lorem ipsum dolor sit amet. ", 10*size/28),
		"white space":          strings.Repeat(" ", size),
		"wrong items":          "[1" + strings.Repeat(",1", 400_000) + "]",
		"too many to list":     "[[" + strings.Repeat("1,", size) + "1]]",
		"a string":             `"` + strings.Repeat("ä", size/2) + `"`,
		"escapes":              `"` + strings.Repeat(`\n`, size/2),
		"digits":               strings.Repeat("9", size),
		"a word":               strings.Repeat("ä", size/2),
		"fences":               strings.Repeat("```\n", size/4),
		"a fence never closed": "```json\n" + strings.Repeat("``\n", size/3),
		"10 MB of bad UTF-8":   strings.Repeat("a\xff", 10*size/2),
		"null characters":      strings.Repeat("\x00", size),
		"commas":               "[" + strings.Repeat(",", size),
		"one long name":        `{"` + strings.Repeat("n", size) + `":x}`,
	} {
		report := validate.Run(t.Context(), checks, &validate.Answer{Text: text}, 0)
		if len(report.Failed) > 0 {
			t.Errorf("%s: %v", name, report.Failed)
		}
		told := 0
		for _, c := range report.Complaints {
			told += len(c.String())
		}
		if len(report.Complaints) == 0 || told > 10_000 {
			t.Errorf("%s: %d complaints of %d bytes", name, len(report.Complaints), told)
		}
	}
}

func TestAnswerJSONGivesAFunctionTheValue(t *testing.T) {
	a := &validate.Answer{Text: "```json\n{\"a\": 1}\n```"}
	value, text, err := a.JSON()
	if err != nil || text != `{"a": 1}` || !reflect.DeepEqual(value, map[string]any{"a": json.Number("1")}) {
		t.Errorf("%v, %q, %v", value, text, err)
	}
	var complaints validate.Complaints
	if _, _, err := (&validate.Answer{Text: "{"}).JSON(); !errors.As(err, &complaints) || len(complaints) != 1 {
		t.Errorf("%v", err)
	}
}

// strict are the complaints about texts that encoding/json accepts.
var strict = regexp.MustCompile(`more than once|repeated properties|out of range|half of a character|not valid UTF-8|nested more than`)

// agree holds the check against encoding/json: what it accepts is valid, and
// has the same value; what it refuses is invalid, or is refused for a reason
// that encoding/json does not know.
func agree(t rapid.TB, text string) {
	t.Helper()
	report := check(t, validate.JSON(), text)
	if len(report.Complaints) == 0 {
		if want := reference(t, report.Text); !reflect.DeepEqual(report.Value, want) {
			t.Fatalf("%q: value %#v, want %#v", text, report.Value, want)
		}
		if !strings.Contains(text, report.Text) {
			t.Fatalf("%q is no part of %q", report.Text, text)
		}
		return
	}
	if json.Valid([]byte(text)) && !strict.MatchString(report.Complaints[0].Problem) {
		t.Fatalf("%q is valid: %v", text, report.Complaints)
	}
	for _, c := range report.Complaints {
		if c.Problem == "" || c.Line < 0 || c.Line > strings.Count(text, "\n")+1 || c.Column > len(text)+1 {
			t.Fatalf("%q: %+v", text, c)
		}
	}
}

// values draws a JSON value.
func values(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just(any(nil)), rapid.Bool().AsAny(), rapid.String().AsAny(),
		rapid.Map(rapid.Int64(), func(n int64) any { return json.Number(fmt.Sprint(n)) }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	)
	if depth == 0 {
		return scalar
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return values(depth - 1) })
	return rapid.OneOf(
		scalar,
		rapid.SliceOfN(inner, 0, 4).AsAny(),
		rapid.MapOfN(rapid.StringN(0, 5, -1), inner, 0, 4).AsAny(),
	)
}

func TestJSONAcceptsWhatEncodingJSONWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		if rapid.Bool().Draw(t, "indent") {
			var b bytes.Buffer
			if err := json.Indent(&b, text, "", "\t"); err != nil {
				t.Fatal(err)
			}
			text = b.Bytes()
		}
		answer := string(text)
		if rapid.Bool().Draw(t, "fence") {
			answer = "```" + rapid.SampledFrom([]string{"", "json", "JSON", " Json "}).Draw(t, "label") + "\r\n" + answer + "\n```\n"
		}
		report := check(t, validate.JSON(), answer)
		if len(report.Complaints) > 0 {
			t.Fatalf("%q: %v", answer, report.Complaints)
		}
		if report.Text != string(text) || !reflect.DeepEqual(report.Value, reference(t, string(text))) {
			t.Fatalf("%q: %q, %#v", answer, report.Text, report.Value)
		}
	})
}

func TestJSONAgreesWithEncodingJSONOnDamagedTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "damages") {
			at := rapid.IntRange(0, len(text)).Draw(t, "at")
			with := rapid.SampledFrom([]string{
				"", ",", `"`, "'", "{", "}", "[", "]", ":", "1", "-", ".", "e9", "0", `\`, `\u`, `\ud800`, "//", "/*", "#", "\n", "\t", "\x00", "\xff", "a", "NaN", "...", " ", "\ufeff", "```\n",
			}).Draw(t, "with")
			rest := text[min(at+rapid.IntRange(0, 2).Draw(t, "gone"), len(text)):]
			text = append(append(bytes.Clone(text[:at]), with...), rest...)
		}
		agree(t, string(text))
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "\ufeff{}", "```json\n{\"a\":1}\n```", "```JSON\r\n[1]\r\n```\r\n", "~~~\n1\n~~~", "Sure: {\"a\": 1}", `{"a":1,"a":2}`, `{"a":[1,2,],}`,
		`{'a':1}`, `{a:1}`, `[NaN,-Infinity,None]`, `{"a":"b`, `"\ud83d\ude00\ud83d"`, "\"\xff\"", "1e999", "-0.0e-0", "[1 2]", "{}{}", "[[[[", `"\`, "{\"a\":1}// x", "tru", "0e00000", "``` \n1\n````",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { agree(t, text) })
}

package validate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestOneOf(t *testing.T) {
	const colours = "one_of:red, dark green, blue"
	const listed = `answer with one of "red", "dark green", "blue", and nothing else`
	none := func(text, suggestion string) []string {
		return []string{"one_of: " + quote(text) + " is not one of the allowed values (" + suggestion + ")"}
	}
	spelled := func(text, meant string) []string {
		return none(text, "write just "+meant+", spelled exactly so, without quotation marks, dot or other marks")
	}
	for _, test := range []struct {
		spec, text string
		want       []string
	}{
		{colours, "red", nil},
		{colours, " \ndark green\n", nil},
		{colours, "Red", spelled("Red", "red")},
		{colours, `"red".`, spelled(`"red".`, "red")},
		{colours, "**Blue**", spelled("**Blue**", "blue")},
		{colours, "It is red, I think", none("It is red, I think", listed+`; if you mean "red", leave out the other words`)},
		{colours, "Red or blue", none("Red or blue", listed)},
		{colours, "dark gren", none("dark gren", listed+`; the nearest is "dark green"`)},
		{colours, "RDE", none("RDE", listed+`; the nearest is "red"`)}, // swapped letters are one slip
		{colours, "tired", none("tired", listed)},
		{colours, "", none("", listed)},
		{`one_of:{"values": ["Yes", "No"], "case_sensitive": false}`, "YES", nil},
		{`one_of:{"values": ["Yes", "No"], "case_sensitive": true}`, "YES", none("YES", "write just Yes, spelled exactly so, without quotation marks, dot or other marks")},
		{`one_of:["a, b", "c"]`, "a, b", nil},
		{`one_of:["+", "-"]`, "+", nil},
		{`one_of:["+", "-"]`, "*", none("*", `answer with one of "+", "-", and nothing else`)},
		{"one_of:straße", "STRASSE", none("STRASSE", `answer with one of "straße", and nothing else; the nearest is "straße"`)},
	} {
		wantLines(t, test.spec+" of "+test.text, check(t, parse(t, test.spec), test.text).Complaints, test.want...)
	}
	long := check(t, validate.Must(validate.OneOf("a")), strings.Repeat("x", 1<<20)).Complaints
	if len(long) != 1 || len(long[0].String()) > 300 {
		t.Errorf("a long answer is repeated: %d bytes", len(long[0].String()))
	}
}

func TestOneOfRefusesValuesThatCanNotBeMeant(t *testing.T) {
	for _, values := range [][]string{nil, {""}, {"a", " b"}, {"a", "a"}, {"\xff"}} {
		_, err := validate.OneOf(values...)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || !strings.HasPrefix(bad.Param, "values") {
			t.Errorf("%q: %v", values, err)
		}
	}
	if _, err := validate.OneOf("a", "A"); err != nil {
		t.Error(err)
	}
	if _, err := validate.OneOfIgnoreCase("a", "A"); err == nil {
		t.Error("a and A are the same where case is ignored")
	}
	for spec, want := range map[string]string{
		"one_of": `values must be a string or a list of strings, got nothing`, "one_of:": `values[0] must be a non-empty string without white space around it, got ""`, "one_of:a,,b": `values[1] must be a non-empty string without white space around it, got ""`, "one_of:[1]": "values[0] must be a string, got 1", "one_of:[1": `values must be a list of strings, got "[1": line 1`,
		`one_of:{"values": ["a"], "case_sensitive": 1}`: "case_sensitive must be true or false, got 1",
	} {
		if _, err := validate.Parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestOneOfPassesItsValuesAndNothingElse(t *testing.T) {
	word := rapid.StringMatching(`[a-cA-C]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfNDistinct(word, 1, 5, func(s string) string { return s }).Draw(t, "values")
		text := word.Draw(t, "text")
		want := false
		for _, v := range values {
			want = want || v == text
		}
		if got := len(check(t, validate.Must(validate.OneOf(values...)), text).Complaints) == 0; got != want {
			t.Fatalf("%q in %q: %v", text, values, got)
		}
	})
}

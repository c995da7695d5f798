package validate_test

import (
	"errors"
	"strings"
	"testing"

	"llmcall/validate"
)

func TestFieldPresentFollowsItsPath(t *testing.T) {
	const answer = `{"a": {"b": [{"c": 1}, [2, {"d e": 3}]], "0": "zero", "x.y": {"[z]": "dotted"}, "": "empty", "s/t~": "slash"}, "n": null, "list": [[1]]}`
	for _, path := range []string{
		"a", "a.b", "a.b[0]", "a.b[0].c", "a.b.0.c", "a.b[1][0]", "a.b[1].1.d e", "a.0", `a.x\.y`, `a.x\.y.\[z\]`, "n", "list[0][0]",
		"/a", "/a/b/0/c", "/a/b/1/1/d e", "/a/0", "/a/x.y/[z]", "/a/", "/a/s~1t~0", "/n", "/list/0/0",
	} {
		present, absent := validate.Must(validate.FieldPresent(path)), validate.Must(validate.FieldAbsent(path))
		report := check(t, present, "```json\n"+answer+"\n```")
		wantLines(t, path, report.Complaints)
		if !report.Decoded || report.Text != answer {
			t.Errorf("%s: %+v", path, report)
		}
		if len(check(t, absent, answer).Complaints) != 1 {
			t.Errorf("%s is there, and the check that it is not passes", path)
		}
	}
	for _, path := range []string{
		"b", "a.c", "a.b[2]", "a.b.2", "a[0]", "a.b.c", "n.x", "n[0]", "A", "a.x.y", "list[0][1]", "list[0][0].x", "/a/b/00", "/a/b/-", "/b", "//a", "/a/x", "a.b[0].c.d",
	} {
		if len(check(t, validate.Must(validate.FieldPresent(path)), answer).Complaints) != 1 {
			t.Errorf("%s is found", path)
		}
		wantLines(t, path, check(t, validate.Must(validate.FieldAbsent(path)), answer).Complaints)
	}
}

func TestFieldPresentSaysWhatIsMissingAndWhere(t *testing.T) {
	for _, test := range []struct{ check, answer, want string }{
		{"a.b", `{"a": {"c": 1}}`, `at /a: the field "a.b" is missing: the object has no property "b" (add the property "b")`},
		{"a.user_name", `{"a": {"userName": 1, "x": 2}}`, `at /a: the field "a.user_name" is missing: the object has no property "user_name", but has "userName" (write the name as "user_name")`},
		{"Id", `{"ID": 1, "id": 2}`, `the field "Id" is missing: the object has no property "Id", but has "ID", "id" (write the name as "Id")`},
		{"a[2]", `{"a": [1]}`, `at /a: the field "a[2]" is missing: the array has 1 item, so none at 2 (counted from 0) (add the items that are missing)`},
		{"a.b", `{"a": [1]}`, `at /a: the field "a.b" is missing: expected an object with the property "b", got an array of 1 item (put an object there)`},
		{"a[0]", `{"a": {"0": 1}}`, `at /a: the field "a[0]" is missing: expected an array with the item 0, got an object with 1 property (put an array there)`},
		{"a.b", `{"a": "text"}`, `at /a: the field "a.b" is missing: expected an object with the property "b", got the string "text" (put an object with the property "b" there)`},
		{"[0]", `5`, `the field "[0]" is missing: expected an array with the item 0, got the number 5 (put an array there)`},
		{"/x~1y/z", `{"x/y": {"Z": 1}}`, `at /x~1y: the field "/x~1y/z" is missing: the object has no property "z", but has "Z" (write the name as "z")`},
		{`{"field_name": "a", "should_exist": false}`, `{"a": [1]}`, `at /a: the field "a" must not be there, but is [1] (leave it out)`},
		{`{"field_name": "a", "should_exist": false}`, `no answer`, `line 1, column 1: the text is not JSON: "no answer" (answer with JSON alone)`},
		{"a", `{"a": 1,}`, `line 1, column 8: there is a comma before the closing "}" (leave out the comma)`},
		{`{"field_name": "a", "expected_value": 1}`, `{"a": true}`, `at /a: expected 1, got true (make it 1)`},
		{`{"field_name": "a", "expected_value": 1}`, `{"a": "1"}`, `at /a: expected 1, got the string "1" (make it 1)`},
		{`{"field_name": "a", "expected_value": true}`, `{"a": 1}`, `at /a: expected true, got the number 1 (make it true)`},
		{`{"field_name": "a", "expected_value": null}`, `{"a": ""}`, `at /a: expected null, got the string "" (make it null)`},
		{`{"field_name": "a", "expected_value": null}`, `{}`, `the field "a" is missing: the object has no property "a" (add the property "a", with the value null)`},
	} {
		wantLines(t, test.check+" of "+test.answer, check(t, parse(t, "field_present:"+test.check), test.answer).Complaints, "field_present: "+test.want)
	}
}

func TestFieldEqualsComparesJSONValues(t *testing.T) {
	for _, test := range []struct {
		want  any
		equal []string
		other []string
	}{
		{1, []string{"1", "1.0", "10e-1"}, []string{"true", `"1"`, "[1]", "null", "1.0000000000000000001"}},
		{nil, []string{"null"}, []string{"0", "false", `""`, "[]", "{}"}},
		{true, []string{"true"}, []string{"1", `"true"`, "false"}},
		{"x", []string{`"x"`, `"\u0078"`}, []string{`"X"`, `["x"]`}},
		{[]any{1, []string{}}, []string{"[1.0, []]"}, []string{"[1]", "[[], 1]", "[1, {}]", "[1, null]"}},
		{map[string]any{"a": 1, "b": nil}, []string{`{"b": null, "a": 1}`}, []string{`{"a": 1}`, `{"a": 1, "b": 0}`, `{"a": 1, "b": null, "c": 1}`, "[]"}},
		{struct {
			A uint8 `json:"a"`
		}{1}, []string{`{"a": 1}`}, []string{`{"a": "1"}`}},
	} {
		s := validate.Must(validate.FieldEquals("f", test.want))
		for _, text := range test.equal {
			wantLines(t, text, check(t, s, `{"f": `+text+`}`).Complaints)
		}
		for _, text := range test.other {
			if len(check(t, s, `{"f": `+text+`}`).Complaints) != 1 {
				t.Errorf("%v equals %s", test.want, text)
			}
		}
	}
}

func TestABadPathIsAnErrorOfTheConstructor(t *testing.T) {
	for path, want := range map[string]string{
		"":                        "it is empty",
		".a":                      "there is no name at 0",
		"a.":                      "there is no name at 2",
		"a..b":                    "there is no name at 2",
		"a.[0]":                   "there is no name at 2",
		"a[":                      "there is no item's number, from 0, in the brackets at 1",
		"a[]":                     "in the brackets at 1",
		"a[x]":                    "in the brackets at 1",
		"a[-1]":                   "in the brackets at 1",
		"a[01]":                   "in the brackets at 1",
		"a[0]b":                   "there is 'b' at 4, where a dot must be",
		"a]":                      "there is ']' at 1, where a dot must be",
		`a\b`:                     "the backslash at 1 must have a dot",
		`a\`:                      "the backslash at 1 must have a dot",
		"/a~2":                    "a ~ in a JSON pointer is written as ~0",
		"/a~":                     "a ~ in a JSON pointer is written as ~0",
		"a[99999999999999999999]": "in the brackets at 1",
	} {
		_, err := validate.FieldPresent(path)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Check != "field_present" || bad.Param != "field_name" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", path, err, want)
		}
	}
	if _, err := validate.FieldPresent(`/a~01`); err != nil {
		t.Errorf("~1 escaped: %v", err)
	}
	if _, err := validate.FieldEquals("a", func() {}); err == nil || !strings.Contains(err.Error(), "expected_value must be a JSON value, got a func(): json: unsupported type") {
		t.Errorf("a function: %v", err)
	}
}

// A JSON pointer finds the same as the dot path that names the same.
func FuzzFieldPath(f *testing.F) {
	for _, seed := range []string{"a", "a.b[0].c", "a.b.0.c", `x\.y`, "/a/b/0", "/a~1b/~0", "/", "[0][1]", "a..b", `\`, "a[", "/~", "é.ü", "a b.c-d"} {
		f.Add(seed)
	}
	const answer = `{"a": {"b": [{"c": 1}], "": 2}, "x.y": 3, "a/b": {"~": 4}, "": 5, "é": {"ü": 6}}`
	f.Fuzz(func(t *testing.T, path string) {
		present, err := validate.FieldPresent(path)
		if err != nil {
			return
		}
		absent := validate.Must(validate.FieldAbsent(path))
		is, isNot := check(t, present, answer), check(t, absent, answer)
		if len(is.Complaints)+len(isNot.Complaints) != 1 {
			t.Fatalf("%q: %v and %v", path, is.Complaints, isNot.Complaints)
		}
		for _, c := range append(is.Complaints, isNot.Complaints...) {
			if !leads(is.Value, c.Pointer) {
				t.Fatalf("%q: no place %q", path, c.Pointer)
			}
		}
		if found := len(is.Complaints) == 0; found {
			other := validate.Must(validate.FieldPresent(isNot.Complaints[0].Pointer))
			wantLines(t, path, check(t, other, answer).Complaints)
		}
	})
}

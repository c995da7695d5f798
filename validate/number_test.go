package validate_test

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

func TestNumber(t *testing.T) {
	const digits = "answer with a number in digits, without words, units or separators of thousands"
	none := func(text, meant string) string {
		s := "number: " + quote(text) + " is not a number (" + digits
		if meant != "" {
			s += ": " + meant + ", if that is meant"
		}
		return s + ")"
	}
	for _, test := range []struct{ spec, text, want string }{
		{"number", "12", ""},
		{"number", " -1.50\n", ""},
		{"number", "1e3", ""},
		{"number", "```\n7\n```", ""},
		{"number", "", none("", "")},
		{"number", "twelve", none("twelve", "")},
		{"number", "1,234.5", none("1,234.5", "1234.5")},
		{"number", "12 %", none("12 %", "12")},
		{"number", "$1'000", none("$1'000", "1000")},
		{"number", `"12"`, none(`"12"`, "12")},
		{"number", "**+42**.", none("**+42**.", "42")},
		{"number", "about 12", none("about 12", "")},
		{"number", "12 or 13", none("12 or 13", "")},
		{"number", "007", none("007", "")},
		{"number", "NaN", none("NaN", "")},
		{"number", "1e999", none("1e999", "")},
		{"number", "[1]", none("[1]", "")},
		{"number:0..100", "0", ""},
		{"number:0..100", "100", ""},
		{"number:0..100", "100.0", ""},
		{"number:0..100", "-0.001", "number: -0.001 is less than 0 (make it at least 0)"},
		{"number:0..100", "100.001", "number: 100.001 is more than 100 (make it at most 100)"},
		{"number:-1.5..-0.5", "-1.5", ""},
		{"number:..0.1", "0.1", ""},
		{"number:..0.1", "0.10000000000000000001", "number: 0.10000000000000000001 is more than 0.1 (make it at most 0.1)"},
		{"number:9007199254740993..", "9007199254740991", "number: 9007199254740991 is less than 9007199254740992 (make it at least 9007199254740992)"},
		{`number:{"exclusive_min": 0, "exclusive_max": 1}`, "0.5", ""},
		{`number:{"exclusive_min": 0}`, "0", "number: 0 is not more than 0 (make it more than 0)"},
		{`number:{"exclusive_max": 1}`, "1.0", "number: 1.0 is not less than 1 (make it less than 1)"},
		{`number:{"integer": true, "min": 1}`, "3", ""},
		{`number:{"integer": true}`, "3.0", "number: 3.0 is not written as an integer (write an integer, in digits without a decimal point and an exponent)"},
		{`number:{"integer": true}`, "1e2", "number: 1e2 is not written as an integer (write an integer, in digits without a decimal point and an exponent)"},
		{`number:{"integer": true}`, "three", `number: "three" is not an integer (answer with an integer in digits, without words, units or separators of thousands)`},
		{"number_range:1..", "1", ""},
		{"number:..1000000", "1000001", "number: 1000001 is more than 1000000 (make it at most 1000000)"},
	} {
		var want []string
		if test.want != "" {
			want = []string{test.want}
		}
		wantLines(t, test.spec+" of "+test.text, check(t, parse(t, test.spec), test.text).Complaints, want...)
	}
	report := check(t, parse(t, "number"), "```\n7.50\n```")
	if !report.Decoded || report.Value != json.Number("7.50") || report.Text != "7.50" {
		t.Errorf("%+v", report)
	}
	// 12 may be the beginning of 123.
	cut := checkAnswer(t, parse(t, "number"), finished("12", llm.FinishLength)).Complaints
	if len(cut) != 1 || !strings.Contains(cut[0].Problem, "cut off") {
		t.Errorf("%v", cut)
	}
}

func TestNumberRefusesImpossibleRanges(t *testing.T) {
	one, two, nan, inf := 1.0, 2.0, math.NaN(), math.Inf(1)
	for _, test := range []struct {
		r     validate.NumberRange
		param string
	}{
		{validate.NumberRange{Min: &two, Max: &one}, "min"},
		{validate.NumberRange{Min: &one, ExclusiveMax: &one}, "min"},
		{validate.NumberRange{ExclusiveMin: &one, Max: &one}, "exclusive_min"},
		{validate.NumberRange{ExclusiveMin: &two, ExclusiveMax: &one}, "exclusive_min"},
		{validate.NumberRange{Min: &nan}, "min"},
		{validate.NumberRange{ExclusiveMax: &inf}, "exclusive_max"},
	} {
		_, err := validate.Number(test.r)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Param != test.param || bad.Check != "number" {
			t.Errorf("%+v: %v", test.r, err)
		}
	}
	if _, err := validate.Number(validate.NumberRange{Min: &one, Max: &one}); err != nil {
		t.Error(err)
	}
	for spec, want := range map[string]string{
		"number:5":                        `range must be 3..200, 3.. or ..200, or a JSON object such as {"min": 3, "max": 200}, got "5"`,
		"number:a..b":                     `{"min": 3, "max": 200}, got "a..b"`,
		"number:NaN..":                    "min must be a finite number, got NaN",
		"number:2..1":                     "min must be at most max (1), got 2",
		`number:{"min": "1"}`:             `min must be a finite number, got "1"`,
		`number:{"integer": 1, "min": 0}`: "integer must be true or false, got 1",
	} {
		if _, err := validate.Parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestBuildTakesLimitsOfEachDecoder(t *testing.T) {
	for _, three := range []any{3, int8(3), uint64(3), 3.0, float32(3), json.Number("3e0")} {
		s, err := validate.Build("number", map[string]any{"min": three})
		if err != nil {
			t.Errorf("%T: %v", three, err)
			continue
		}
		if len(check(t, s, "3").Complaints) != 0 || len(check(t, s, "2.9").Complaints) != 1 {
			t.Errorf("%T is not 3", three)
		}
	}
	for _, none := range []any{"3", true, []any{3}, math.NaN(), math.Inf(-1), json.Number("x"), json.Number("1e999")} {
		if _, err := validate.Build("number", map[string]any{"min": none}); err == nil {
			t.Errorf("%v (%T) is a limit", none, none)
		}
	}
}

// Numbers and limits that a float64 holds are compared as such.
func TestNumberAgreesWithFloats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least, n := rapid.Float64().Draw(t, "min"), rapid.Float64().Draw(t, "n")
		if rapid.Bool().Draw(t, "same") {
			n = least
		}
		format := rapid.SampledFrom([]byte{'f', 'e', 'g'}).Draw(t, "format")
		text := strconv.FormatFloat(n, format, -1, 64)
		if strings.Contains(text, "e+") && format == 'g' {
			text = strings.Replace(text, "e+", "E", 1)
		}
		got := len(check(t, validate.Must(validate.Number(validate.NumberRange{Min: &least})), text).Complaints) == 0
		if got != (n >= least) {
			t.Fatalf("%s, at least %v: %v", text, least, got)
		}
	})
}

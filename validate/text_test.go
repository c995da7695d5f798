package validate_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

func TestNotEmpty(t *testing.T) {
	calls := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "search"}}},
		Finish:  llm.FinishToolCall,
	}
	const empty = "not_empty: the answer is empty"
	for _, test := range []struct {
		name   string
		answer *validate.Answer
		want   []string
	}{
		{"text", &validate.Answer{Text: " a "}, nil},
		{"a letter of an unknown script", &validate.Answer{Text: "\U000e1234"}, nil},
		{"invalid UTF-8", &validate.Answer{Text: "\xff"}, nil},
		{"a tool call alone", &validate.Answer{Response: calls}, nil},
		{"nothing", &validate.Answer{}, []string{empty + " (answer with text)"}},
		{"white space", &validate.Answer{Text: " \t\r\n\u00a0\u2003"}, []string{empty + " (answer with text)"}},
		{"a byte order mark and other invisible characters", &validate.Answer{Text: "\ufeff\u200b\u2060\x00"}, []string{empty + " (answer with text)"}},
		{"cut off before any text", finished("", llm.FinishLength), []string{empty + ": the token limit was reached before any text (answer with text)"}},
		{"withheld", finished("", llm.FinishFiltered), []string{empty + ": its content was withheld or refused (answer with text)"}},
	} {
		wantLines(t, test.name, checkAnswer(t, validate.NotEmpty(), test.answer).Complaints, test.want...)
	}
}

func TestLengthCountsCodePoints(t *testing.T) {
	for _, test := range []struct{ spec, text, want string }{
		{"length:3..5", "abc", ""},
		{"length:3..5", "abcde", ""},
		{"length:3..5", "äöü", ""},
		{"length:..3", "äöü", ""},
		{"length:2..2", "👩‍🚀", "length: too many characters: expected at most 2, got 3 (make it at most 2 characters long)"}, // woman, joiner, rocket
		{"length:3..", "äö", "length: too few characters: expected at least 3, got 2 (make it at least 3 characters long)"},
		{"length:3..", "ab ", ""}, // white space counts
		{"length:..200", strings.Repeat("ä", 200), ""},
		{"length:..200", strings.Repeat("ä", 201), "length: too many characters: expected at most 200, got 201 (make it at most 200 characters long)"},
		{"length:..3", "\xff\xff\xff", ""}, // a broken byte is a character
		{"length:0..3", "", ""},
	} {
		var want []string
		if test.want != "" {
			want = []string{test.want}
		}
		wantLines(t, test.spec+" of "+test.text, check(t, parse(t, test.spec), test.text).Complaints, want...)
	}
}

func TestLengthRefusesImpossibleLimits(t *testing.T) {
	for _, test := range []struct {
		min, max int
		param    string
	}{
		{0, 0, "min_length or max_length"}, {-1, 3, "min_length"}, {3, -1, "max_length"}, {4, 3, "min_length"},
	} {
		_, err := validate.Length(test.min, test.max)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Check != "length" || bad.Param != test.param {
			t.Errorf("Length(%d, %d): %v", test.min, test.max, err)
		}
	}
}

func TestLengthAgreesWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 12).Draw(t, "least")
		most := rapid.IntRange(0, 12).Draw(t, "most")
		text := rapid.OneOf(rapid.StringN(0, 12, -1), rapid.Just("äöü\xff👩‍🚀")).Draw(t, "text")
		length, err := validate.Length(least, most)
		if wrong := least == 0 && most == 0 || most > 0 && least > most; wrong != (err != nil) {
			t.Fatalf("Length(%d, %d): %v", least, most, err)
		}
		if err != nil {
			return
		}
		n := len([]rune(text))
		ok := n >= least && (most == 0 || n <= most)
		if report := check(t, length, text); ok != (len(report.Complaints) == 0) {
			t.Fatalf("%q in %d..%d: %v", text, least, most, report.Complaints)
		}
	})
}

func TestRegexSearchesTheText(t *testing.T) {
	const problem, suggestion = "regex: nothing in the answer matches the regular expression %s", " (answer with text that matches the regular expression %s)"
	for _, test := range []struct {
		pattern, text string
		ok            bool
	}{
		{"b", "abc", true}, // found anywhere, no full match
		{"^b$", "abc", false},
		{"^A", "Apple", true},
		{"^A", "a", false},
		{"(?i)^A", "a", true},
		{`^\d+$`, "12\n", false}, // $ is the very end, and not before a final newline
		{`(?m)^\d+$`, "12\n", true},
		{`\n`, "a\nb", true},
		{"[", "", false},
		{"ä", "\xc3", false},
	} {
		re, err := validate.Regex(test.pattern)
		if test.pattern == "[" {
			var bad *validate.ParamError
			if !errors.As(err, &bad) || bad.Param != "pattern" || !strings.Contains(err.Error(), "missing closing ]") {
				t.Errorf("bad pattern: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if !test.ok {
			shown := strconv.Quote(test.pattern)
			if strings.Contains(test.pattern, `\`) {
				shown = "`" + test.pattern + "`" // as it is, for a model to read
			}
			want = []string{fmt.Sprintf(problem+suggestion, shown, shown)}
		}
		wantLines(t, test.pattern, check(t, re, test.text).Complaints, want...)
	}
}

func TestContains(t *testing.T) {
	missing := func(text string) string {
		return fmt.Sprintf("contains: the text %q is missing (include the text %q)", text, text)
	}
	for _, test := range []struct {
		spec, text string
		want       []string
	}{
		{"contains:Berlin", "in berlin!", nil},
		{"contains:Berlin", "in Bern", []string{missing("Berlin")}},
		{`contains:{"required_text": "Berlin", "case_sensitive": true}`, "in berlin!", []string{missing("Berlin")}},
		{`contains:{"required_text": "Berlin", "case_sensitive": true}`, "in Berlin!", nil},
		{`contains:{"required_text": ["a", "b", "c"]}`, "xbx", []string{missing("a"), missing("c")}},
		{"contains:straße", "STRASSE", []string{missing("straße")}}, // no full folding
		{"contains:straße", "STRAẞE", nil},
		{"contains:ΟΔΟΣ", "οδος", nil}, // a final sigma
		{"contains:kelvin", "300 \u212aelvin", nil},
		{"contains:İ", "i", []string{missing("İ")}}, // naive lower-casing would make two of it
		{`contains:say "no"`, "say no", []string{missing(`say "no"`)}},
		{"contains: x", "x", []string{missing(" x")}}, // the argument as it is
		{"contains:\ufffd", "\xff", nil},              // as each program will show it
	} {
		wantLines(t, test.spec+" in "+test.text, check(t, parse(t, test.spec), test.text).Complaints, test.want...)
	}
}

func TestContainsCountsWhatItDoesNotList(t *testing.T) {
	var texts []string
	for i := range 50 {
		texts = append(texts, fmt.Sprintf("text %d.", i))
	}
	complaints := check(t, validate.Must(validate.ContainsCaseSensitive(texts...)), "").Complaints
	if n := len(complaints); n != 21 || complaints[20].Problem != "and 30 more missing texts" {
		t.Errorf("%d complaints, the last: %v", n, complaints[n-1])
	}
}

func TestContainsRefusesWhatWouldAlwaysPass(t *testing.T) {
	for _, texts := range [][]string{nil, {""}, {"a", ""}, {"\xff"}} {
		_, err := validate.Contains(texts...)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || !strings.HasPrefix(bad.Param, "required_text") {
			t.Errorf("%q: %v", texts, err)
		}
	}
}

// Whatever simple case folding makes of a text, the text contains it.
func TestContainsIgnoresCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`\PC{1,8}`).Draw(t, "text")
		if !utf8.ValidString(text) {
			t.Skip()
		}
		contains := validate.Must(validate.Contains(text))
		for _, same := range []string{text, "x" + text + "y", strings.ToTitle(strings.ToTitle(text))} {
			if !strings.EqualFold(same, text) && !strings.Contains(same, text) {
				continue // a letter whose title case folds to another
			}
			if report := check(t, contains, same); len(report.Complaints) > 0 {
				t.Fatalf("%q in %q: %v", text, same, report.Complaints)
			}
		}
	})
}

package validate_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

func TestAtChecksAPartOfTheAnswer(t *testing.T) {
	const answer = `{"email": "ada@example", "year": 1815, "tags": ["a", "b c"], "a/b": {"~": true}, "note": "first\n  \"quoted\"", "none": null}`
	for _, test := range []struct {
		spec string
		want []string
	}{
		{"at:/email format:email", nil},
		{"at:/email format:url", []string{`format: at /email: "ada@example" is not an http or https URL (write an http or https URL and nothing else, like https://example.org/path)`}},
		{"at:/year number:1800..1900", nil},
		{"at:/year number:1900..", []string{`number: at /year: 1815 is less than 1900 (make it at least 1900)`}},
		{"at:/tags/1 word_count:2..2", nil},
		{"at:/tags/2 json", []string{`at: at /tags/2: the value is missing (add it: answer with one JSON value)`}},
		{"at:/email/x json", []string{`at: at /email/x: the value is missing (add it: answer with one JSON value)`}},
		{`at:/tags schema:{"items": {"type": "number"}}`, []string{
			`schema: at /tags/0: expected a number, got the string "a" (put a number there)`,
			`schema: at /tags/1: expected a number, got the string "b c" (put a number there)`,
		}},
		{"at:/a~1b/~0 one_of:true", nil},
		{"at:/none one_of:null", nil},
		{`at:/note regex:^first\n  "quoted"$`, nil},
		{"at:/note no_secrets", nil},
		{`at:{"pointer": "", "check": {"type": "schema", "params": {"schema": {"type": "object"}}}}`, nil},
		{`at:{"pointer": "/tags", "check": "at:/0 one_of:b"}`, []string{`one_of: at /tags/0: "a" is not one of the allowed values (answer with one of "b", and nothing else)`}},
	} {
		report := check(t, parse(t, test.spec), "```json\n"+answer+"\n```")
		wantLines(t, test.spec, report.Complaints, test.want...)
		if !report.Decoded || report.Text != answer {
			t.Errorf("%s: the decoded answer is lost", test.spec)
		}
	}
	wantLines(t, "no JSON", check(t, parse(t, "at:/a json"), "Sorry").Complaints,
		`at: line 1, column 1: the text is not JSON: "Sorry" (answer with JSON alone)`)
	// The line is that of the part, and means nothing in the answer.
	got := check(t, parse(t, "at:/a no_secrets"), `{"a": "card\n4111 1111 1111 1111"}`).Complaints
	wantLines(t, "a place in the part", got, "no_secrets: at /a: there is a payment card number (leave it out, or write a placeholder in angle brackets in its place)")
}

func TestAtRefusesWhatIsNoPointer(t *testing.T) {
	for _, pointer := range []string{"a", "a/b", "/~", "/a~2b", "/~~0"} {
		_, err := validate.At(pointer, validate.JSON())
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Param != "pointer" {
			t.Errorf("%q: %v", pointer, err)
		}
	}
	if _, err := validate.At("", nil); err == nil {
		t.Error("a check is needed")
	}
	for spec, want := range map[string]string{
		"at":                      `check "at": pointer must be a JSON pointer`,
		"at:/a":                   `check "at": arguments must be a pointer, a space and a check ("/email format:email"), got "/a"`,
		"at:/a nope":              `check "at": check: unknown check "nope"`,
		`at:{"pointer": "/a"}`:    `check "at": check must be a check, got nothing`,
		"at:email format:email":   `check "at": pointer must be a JSON pointer such as`,
		"at:/x at:/y at:/z json:": `check "at": check: check "at": check: check "at": check: check "json": arguments must be left out, or a JSON object of parameters, got ""`,
	} {
		if _, err := validate.Parse(spec); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", spec, err, want)
		}
	}
}

func TestAtPassesOnWhatItsCheckSays(t *testing.T) {
	expensive := judge{outcome: used(outcome{name: "judge", verdict: validate.Verdict{
		Complaints: []validate.Complaint{{Problem: "wrong", Pointer: "/x", Line: 3, Column: 4}}, Advice: validate.Human, Skipped: []string{"inner"},
	}}, 5)}
	s := validate.Must(validate.At("/a", expensive))
	if c, ok := s.(validate.Costly); !ok || !c.Costly() {
		t.Error("it is as costly as its check")
	}
	a := &validate.Answer{Text: `{"a": 1}`}
	report := validate.Run(context.Background(), []validate.Strategy{s}, a, 0)
	wantLines(t, "report", report.Complaints, "judge: at /a/x: wrong")
	if report.Usage.InputTokens != 5 || report.Advice != validate.Human || len(report.Skipped) != 1 {
		t.Errorf("%+v", report)
	}
	failed := judge{outcome: used(outcome{name: "judge", err: errors.New("down")}, 2)}
	report = validate.Run(context.Background(), []validate.Strategy{validate.Must(validate.At("/a", failed))}, a, 0)
	if len(report.Failed) != 1 || report.Usage.InputTokens != 2 || !strings.Contains(report.Failed[0].Error(), "down") {
		t.Errorf("%+v", report)
	}
	var seen *validate.Answer
	look := validate.Func("look", func(_ context.Context, a *validate.Answer) error { seen = a; return nil })
	validate.Run(context.Background(), []validate.Strategy{validate.Must(validate.At("/a", look))},
		&validate.Answer{Text: `{"a": 1}`, Response: llm.Reply("x"), Request: llm.Prompt("q"), Attempt: 2}, 0)
	if seen.Text != "1" || seen.Request == nil || seen.Attempt != 2 || seen.Response != nil {
		t.Errorf("it saw %+v", seen)
	}
}

// Whatever name a property has, its pointer leads to it.
func TestAtFindsEveryProperty(t *testing.T) {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.SampledFrom([]rune("~/01a\"\\ ä"))).Draw(t, "name")
		text := `{` + quote(name) + `: {"b": "right"}}`
		s := validate.Must(validate.At("/"+escape.Replace(name)+"/b", validate.Must(validate.OneOf("right"))))
		if got := check(t, s, text).Complaints; len(got) > 0 {
			t.Fatalf("%q: %v", name, got)
		}
	})
}

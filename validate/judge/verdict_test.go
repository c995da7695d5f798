package judge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"llmcall/failure"
	"llmcall/llm"
)

func TestALongVerdictIsCutWithACount(t *testing.T) {
	reason := fmt.Sprintf(`{"problem": %q, "pointer": "", "suggestion": %q}`, strings.Repeat("p", 700), strings.Repeat("s", 700))
	reasons := strings.TrimSuffix(strings.Repeat(reason+",", maxReasons+7), ",")
	o, err := read(t.Context(), "m", llm.Reply(`{"passed": false, "reasons": [`+reasons+`]}`))
	if err != nil || len(o.complaints) != maxReasons+1 || o.complaints[maxReasons].Problem != "and 7 more that the judge lists" {
		t.Fatalf("%v, %v", o, err)
	}
	if c := o.complaints[0]; utf8.RuneCountInString(c.Problem) != maxReason+1 || utf8.RuneCountInString(c.Suggestion) != maxReason+1 {
		t.Errorf("%d and %d characters", len(c.Problem), len(c.Suggestion))
	}
}

// What goes back to a judge is bounded, whatever it said.
func TestTheCorrectionIsBounded(t *testing.T) {
	_, err := read(t.Context(), "m", llm.Reply("{"+strings.Repeat(`"`+strings.Repeat("x", 5000)+`": 1,`, 100)))
	e, ok := errors.AsType[*verdictError](err)
	if !ok {
		t.Fatal(err)
	}
	for _, m := range e.correction() {
		if n := len(m.Text()); n > 20_000 {
			t.Errorf("%d bytes", n)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"reasons": [], "passed": true}`, "```json\n{\"reasons\": [{\"problem\": \"x\"}], \"passed\": false}\n```", `{"passed": "false"}`, "",
		`{"reasons": [{"problem": "x", "pointer": "line 2", "suggestion": null}, 3], "passed": false}`, `{"Passed": true, "reasons": []}`,
		"{\"reasons\": [{\"problem\": \"\u00a0\", \"pointer\": \"x\"}], \"passed\": false}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, said string) {
		o, err := read(t.Context(), "m", llm.Reply(said))
		if err != nil {
			e, ok := errors.AsType[*verdictError](err)
			if !ok || failure.KindOf(err) != failure.InvalidAnswer || len(e.complaints) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			for _, m := range e.correction() {
				if strings.TrimSpace(m.Text()) == "" {
					t.Error("an empty turn")
				}
			}
			return
		}
		if o.passed != (len(o.complaints) == 0) || len(o.complaints) > maxReasons+1 {
			t.Errorf("passed: %v, with %d complaints", o.passed, len(o.complaints))
		}
		if !strings.Contains(said, "passed") && !strings.Contains(said, `\u`) {
			t.Errorf("a verdict was read out of %q", said)
		}
		for _, c := range o.complaints {
			if strings.TrimSpace(c.Problem) == "" || c.Pointer != "" && c.Pointer[0] != '/' {
				t.Errorf("%+v", c)
			}
		}
	})
}

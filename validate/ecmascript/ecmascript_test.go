package ecmascript_test

import (
	"strings"
	"testing"

	"llmcall/validate"
	_ "llmcall/validate/ecmascript"
)

func TestPatternsOfECMAScript(t *testing.T) {
	for _, c := range []struct{ pattern, fits, misfits string }{
		{`^(?!00)\\d{5}$`, "12345", "00345"},
		{`(?<=EUR )\\d`, "EUR 5", "USD 5"},
		{`^(a|b)\\1$`, "aa", "ab"},
		{`^\\u00e9$`, "é", "e"},
		{`^(?=.*\\p{Lu})(?=.*\\d).{8,}$`, "Étude123", "etude123"},
		{`^[a-z]+$`, "abc", "Abc"}, // Go's own
	} {
		check, err := validate.JSONSchema([]byte(`{"type": "string", "pattern": "` + c.pattern + `"}`))
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for text, want := range map[string]int{c.fits: 0, c.misfits: 1} {
			v, err := check.Check(t.Context(), &validate.Answer{Text: `"` + text + `"`})
			if err != nil || len(v.Complaints) != want {
				t.Errorf("%s, %s: %v, %v", c.pattern, text, v.Complaints, err)
			}
		}
	}
	if _, err := validate.JSONSchema([]byte(`{"pattern": "["}`)); err == nil || !strings.Contains(err.Error(), "missing closing ]") {
		t.Error(err)
	}
}

// A pattern that takes time exponential in the length of a text is neither a pass nor a
// complaint.
func TestAPatternThatTakesTooLongIsAnError(t *testing.T) {
	check, err := validate.JSONSchema([]byte(`{"items": {"pattern": "^(?=(a+)+$)a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	slow := `"` + strings.Repeat("a", 60) + `!"`
	for name, text := range map[string]string{"one": "[" + slow + "]", "a large answer": "[" + slow + strings.Repeat(`, "ab"`, 300_000) + "]"} {
		v, err := check.Check(t.Context(), &validate.Answer{Text: text})
		if err == nil || len(v.Complaints) > 0 || !strings.Contains(err.Error(), `takes longer than 100ms on a text of 61 bytes`) {
			t.Errorf("%s: %v, %v", name, v.Complaints, err)
		}
	}
}

package classify

import (
	"testing"

	"pgregory.net/rapid"
)

// What is not parsed holds no error, whatever its letters are written as.
func TestMayHold(t *testing.T) {
	names := rapid.SampledFrom([]string{"error", "ERROR", "eRroR", "errors", `err\u006fr`, `\u0065rror`, "type", "object", "status", "Type", "choices", "erro", "e"})
	values := rapid.SampledFrom([]string{`"error"`, `"\u0065rror"`, `"err\u006fr"`, `"Error"`, `{"message":"no"}`, `"no"`, `true`, `null`, `[{"message":"no"}]`, `[]`, `"e\"rror"`})
	rapid.Check(t, func(t *rapid.T) {
		text := `{`
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			text += `"` + names.Draw(t, "name") + `":` + values.Draw(t, "value") + `,`
		}
		text += `"message":"no"}`
		if _, holds := readTop([]byte(text)); holds && !mayHold([]byte(text)) {
			t.Fatalf("%s holds an error, and is not parsed", text)
		}
	})
	for text, want := range map[string]bool{`{"choices":[{"message":{"content":"Hello!"}}]}`: false, `{"a":"terror"}`: true, `{"a":"\u00e9"}`: true, `{"a":"\n"}`: false, `{}`: false} {
		if mayHold([]byte(text)) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
}

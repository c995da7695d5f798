package validate_test

import (
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/validate"
)

// watched feeds the pieces to what watches for the checks, and returns the first
// complaint and the number of the piece, from 1, that it came with.
func watched(w validate.Watcher, pieces ...string) (complaint string, piece int) {
	for i, text := range pieces {
		if c := w.Feed(text); c != nil {
			return c.String(), i + 1
		}
	}
	return "", 0
}

func TestAWatcherComplainsAsSoonAsTheAnswerCanNoLongerPass(t *testing.T) {
	for _, test := range []struct {
		name, check string
		pieces      []string
		want        string
		piece       int
	}{
		{"JSON that is whole", "json", []string{"```json\n", `{"a"`, `: 1}`, "\n```"}, "", 0},
		{"JSON that is cut off", "json", []string{`{"a"`, `: `}, "", 0},
		{"prose before JSON", "json", []string{"Sure, here", " you are:"},
			`json: line 1, column 1: the text is not JSON: "Sure, here" (answer with JSON alone)`, 1},
		{"a trailing comma", "json", []string{`{"a": 1,`, ` `, "\n}"},
			`json: line 1, column 8: there is a comma before the closing "}" (leave out the comma)`, 3},
		{"a value that does not fit the schema", `schema:{"type": "string"}`, []string{`{"a": 1`, `}`}, "", 0},
		{"no JSON for a schema", `schema:{"type": "string"}`, []string{`{"a"`, `= 1}`},
			`schema: line 1, column 5: a colon must follow the property name "a", and "= 1}" does (put a colon between each property's name and its value)`, 2},
		{"a text that is short enough", "length:2..5", []string{"", "ää", "äää"}, "", 0},
		{"a text that is too long", "length:2..5", []string{"abc", "äää", "x"},
			"length: too many characters: expected at most 5, got 6 so far (make it at most 5 characters long)", 2},
		{"characters in two pieces", "length:..2", []string{"\xc3", "\xa4\xc3", "\xa4", "\xc3"},
			"length: too many characters: expected at most 2, got 3 so far (make it at most 2 characters long)", 4},
		{"members of a combination", `all:["not_empty", "length:..100", "json", "length:..3"]`, []string{"[1", ", 2]"},
			"length: too many characters: expected at most 3, got 6 so far (make it at most 3 characters long)", 2},
		{"the first of several complaints", `all:["json", "length:..3"]`, []string{"prose"},
			`json: line 1, column 1: the text is not JSON: "prose" (answer with JSON alone)`, 1},
	} {
		check := parse(t, test.check)
		w := check.(validate.Streaming).Begin(nil)
		got, piece := watched(w, test.pieces...)
		if got != test.want || piece != test.piece {
			t.Errorf("%s: %q with piece %d\nwant %q with piece %d", test.name, got, piece, test.want, test.piece)
		}
		text := strings.Join(test.pieces, "")
		if piece > 0 {
			if len(complaintsOf(t, check, text)) == 0 {
				t.Errorf("%s: the watcher complained of what passes", test.name)
			}
			if c := w.Feed(" "); c == nil || c.String() != got {
				t.Errorf("%s: then: %v", test.name, c)
			}
		}
	}
}

func complaintsOf(t *testing.T, s validate.Strategy, text string) []validate.Complaint {
	t.Helper()
	return check(t, s, text).Complaints
}

func TestWatchWatchesForAllChecks(t *testing.T) {
	checks := []validate.Strategy{parse(t, "not_empty"), parse(t, "length:..10"), parse(t, "json")}
	if got, piece := watched(validate.Watch(checks, nil), `{"a": `, `Berlin`); piece != 2 || !strings.HasPrefix(got, "length:") {
		t.Errorf("%q with piece %d", got, piece)
	}
	if got, piece := watched(validate.Watch(checks, nil), `{"a"`, `x`); piece != 2 || !strings.HasPrefix(got, "json:") {
		t.Errorf("%q with piece %d", got, piece)
	}
	for _, spec := range []string{"not_empty", "length:3..", "regex:x", "contains:x", `any:["json"]`, "not:json", `all:["not_empty"]`} {
		if w := validate.Watch([]validate.Strategy{parse(t, spec), nil}, nil); w != nil {
			t.Errorf("%s: there is nothing to watch for", spec)
		}
	}
}

// around is a check that has another watch for it.
type around struct{ validate.Strategy }

func (a around) Begin(req *llm.Request) validate.Watcher {
	return a.Strategy.(validate.Streaming).Begin(req)
}

func TestWhatMayBeMendedIsNotComplainedOf(t *testing.T) {
	schema := validate.Must(validate.JSONSchema([]byte(`{"type": "object"}`)))
	long := parse(t, "length:..20")
	for name, checks := range map[string][]validate.Strategy{
		"beside it":             {validate.JSONWithRepair(), schema, long},
		"within a combination":  {validate.Must(validate.All(validate.JSONWithRepair(), schema)), long},
		"in two":                {validate.Must(validate.All(schema, long)), validate.JSONWithRepair()},
		"in a check of another": {around{schema}, validate.JSONWithRepair(), long},
	} {
		w := validate.Watch(checks, nil)
		if got, piece := watched(w, `{"a"`, ` = 1}`); piece != 0 {
			t.Errorf("%s: %q with piece %d", name, got, piece)
		}
		if _, piece := watched(w, strings.Repeat(" ", 20)); piece != 1 {
			t.Errorf("%s: its length is not watched", name)
		}
	}
	if _, piece := watched(validate.Watch([]validate.Strategy{around{schema}}, nil), `{"a"`, ` = 1}`); piece != 2 {
		t.Error("without repair it is not watched")
	}
}

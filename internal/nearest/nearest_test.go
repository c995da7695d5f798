package nearest_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/internal/nearest"
)

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"same", "same", 0}, {"max_attemps", "max_attempts", 1}, {"tool", "tools", 1},
		{"jitter_ragne", "jitter_range", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}, {"abc", "xyz", 3}, {"grün", "grau", 2}, {"ü", "u", 1},
	} {
		if got := nearest.Edits(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d edits, want %d", c.a, c.b, got, c.want)
		}
	}
}

// It is the same both ways, 0 for the same text alone, at most the longer one's
// length, and one more for one more letter at most.
func TestEditsAreADistance(t *testing.T) {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		n := nearest.Edits(a, b)
		if n != nearest.Edits(b, a) || (n == 0) != (a == b) || n > max(len(a), len(b)) || n < max(len(a)-len(b), len(b)-len(a)) {
			t.Fatalf("%q and %q: %d edits", a, b, n)
		}
		if more := nearest.Edits(a, b+"a"); more > n+1 || more < n-1 {
			t.Fatalf("%q and %q: %d edits, with another letter %d", a, b, n, more)
		}
	})
}

func TestSortedListsAllAndChangesNothing(t *testing.T) {
	known := []string{"bbb", "aaaa", "ccc", "aaab"}
	sorted, near := nearest.Sorted("aaaa", known)
	if !slices.Equal(sorted, []string{"aaaa", "aaab", "bbb", "ccc"}) || !near || known[0] != "bbb" {
		t.Errorf("%q (%v) of %q", sorted, near, known)
	}
	if _, near := nearest.Sorted("something else", known); near {
		t.Error("nothing is near")
	}
	if _, near := nearest.Sorted("a", nil); near {
		t.Error("nothing is known")
	}
}

func TestANameIsNearByAThirdOfItsLetters(t *testing.T) {
	for _, c := range []struct {
		given string
		names []string
		want  string // "" if none is near
	}{
		{"stauts", []string{"state", "status"}, "status"}, // one swap
		{"stats", []string{"state", "status"}, "state"},   // the first of two that are one edit away
		{"exakt", []string{"exact", "seconds"}, "exact"},
		{"red", []string{"rad"}, "rad"},
		{"red", []string{"blue"}, ""},
		{"rd", []string{"red"}, ""},
		{"", []string{"red"}, ""},
		{"red", nil, ""},
		{"größe", []string{"grosse", "große"}, "große"},
		{strings.Repeat("x", 60) + "a", []string{strings.Repeat("x", 60) + "b"}, strings.Repeat("x", 60) + "b"},
	} {
		got := ""
		if at, near := nearest.Name(c.given, c.names); near {
			got = c.names[at]
		}
		if got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.given, c.names, got, c.want)
		}
		if sorted, near := nearest.Sorted(c.given, c.names); near != (c.want != "") || near && sorted[0] != c.want {
			t.Errorf("%q of %q: %q (%v)", c.given, c.names, sorted, near)
		}
	}
}

func TestThoseThatShareAWordComeFirstIfNoneIsNear(t *testing.T) {
	known := []string{"max_delay", "max_time", "seed", "max_attempts_before_human", "idle_timeout", "check_timeout"}
	for given, want := range map[string]string{"human_review": "max_attempts_before_human", "timeout": "idle_timeout", "time_limit": "max_time", "sed": "seed"} {
		if sorted, _ := nearest.Sorted(given, known); sorted[0] != want || len(sorted) != len(known) {
			t.Errorf("%q: %q", given, sorted)
		}
	}
}

func TestListHasTheNearestFirst(t *testing.T) {
	names := []string{"text", "json", "yaml"}
	for given, want := range map[string]string{"yml": "yaml, text, json", "JSON": "json, text, yaml", "xml!": "text, json, yaml", "": "text, json, yaml"} {
		if got := nearest.List(given, names); got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
	if names[0] != "text" {
		t.Error(names)
	}
}

// What is given may be a text of any length.
func TestALongNameCostsNoMoreThanAShortOne(t *testing.T) {
	if _, near := nearest.Name(strings.Repeat("x", 100<<20), []string{"status"}); near {
		t.Error("it is near")
	}
}

func TestQuestion(t *testing.T) {
	known := []string{"openai", "anthropic", "groq"}
	for given, want := range map[string]string{
		"antrhopic": ", did you mean anthropic?", "OpenAI": ", did you mean openai?", "gorq": ", did you mean groq?", "mistral": "", "": "",
	} {
		if got := nearest.Question(given, known); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

func TestShownNamesTheNearest(t *testing.T) {
	names := []string{"openai", "groq"}
	for given, want := range map[string]string{
		"gorq": `"gorq", did you mean groq?`, "": `""`, "mistral": `"mistral"`, "a\xff": `"a` + "\uFFFD" + `"`,
		strings.Repeat("é", 61): `"` + strings.Repeat("é", 60) + `…"`,
	} {
		if got := nearest.Shown(given, names); got != want {
			t.Errorf("%q: got %s, want %s", given, got, want)
		}
	}
}

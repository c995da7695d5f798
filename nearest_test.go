package llmcall

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"same", "same", 0}, {"max_attemps", "max_attempts", 1}, {"tool", "tools", 1},
		{"jitter_ragne", "jitter_range", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}, {"abc", "xyz", 3},
	} {
		if got := edits(c.a, c.b); got != c.want {
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
		n := edits(a, b)
		if n != edits(b, a) || (n == 0) != (a == b) || n > max(len(a), len(b)) || n < max(len(a)-len(b), len(b)-len(a)) {
			t.Fatalf("%q and %q: %d edits", a, b, n)
		}
		if more := edits(a, b+"a"); more > n+1 || more < n-1 {
			t.Fatalf("%q and %q: %d edits, with another letter %d", a, b, n, more)
		}
	})
}

func TestNearestListsAllAndChangesNothing(t *testing.T) {
	known := []string{"bbb", "aaaa", "ccc", "aaab"}
	sorted, near := nearest("aaaa", known)
	if !slices.Equal(sorted, []string{"aaaa", "aaab", "bbb", "ccc"}) || !near || known[0] != "bbb" {
		t.Errorf("%q (%v) of %q", sorted, near, known)
	}
	if _, near := nearest("something else", known); near {
		t.Error("nothing is near")
	}
	if _, near := nearest("a", nil); near {
		t.Error("nothing is known")
	}
}

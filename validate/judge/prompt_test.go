package judge

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTheMarkOccursInNoText(t *testing.T) {
	marks := []string{"AAAA", "BBBB", "CCCC"}
	next := func() string {
		m := marks[0]
		marks = marks[1:]
		return m
	}
	if got := marker(next, []text{{"SOURCE 1", "xAAAAx"}, {"ANSWER", "BBBB"}}); got != "CCCC" {
		t.Errorf("%s", got)
	}
}

func TestCutKeepsBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		n := rapid.IntRange(0, 40).Draw(t, "n")
		shown, left := cut(s, n, "MARK")
		total := utf8.RuneCountInString(s)
		if total <= n {
			if shown != s || left != 0 {
				t.Fatalf("%q was cut to %q", s, shown)
			}
			return
		}
		head, rest, _ := strings.Cut(shown, "\n[MARK: ")
		_, tail, found := strings.Cut(rest, " characters left out]\n")
		if !found || !strings.HasPrefix(s, head) || !strings.HasSuffix(s, tail) || left != total-n ||
			utf8.RuneCountInString(head)+utf8.RuneCountInString(tail) != n {
			t.Errorf("%q was cut to %q, %d left out", s, shown, left)
		}
	})
}

func TestBrokenUTF8IsSentAsReplacementCharacters(t *testing.T) {
	if shown, left := cut("caf\xe9", 10, "MARK"); shown != "caf\uFFFD" || left != 0 {
		t.Errorf("%q", shown)
	}
}

package say

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestShortKeepsTheBeginning(t *testing.T) {
	for _, step := range []struct {
		text string
		n    int
		want string
	}{
		{"", 0, ""},
		{"", 3, ""},
		{"äöü", 3, "äöü"},
		{"äöüß", 3, "äöü…"},
		{"a", 0, "…"},
	} {
		if got := Short(step.text, step.n); got != step.want {
			t.Errorf("%q, %d: got %q, want %q", step.text, step.n, got, step.want)
		}
	}
}

func TestFirstLineIsTrimmed(t *testing.T) {
	for _, step := range []struct{ text, want string }{
		{"", ""},
		{"one\ntwo", "one"},
		{" one \r\ntwo", "one"},
		{"\ntwo", ""},
		{"ten letters and more", "ten letter…"},
		{"  ten letters and more", "ten lette…"},
		{"ten letter", "ten letter"},
		{"ten letter\nand more", "ten letter"},
	} {
		if got := FirstLine(step.text, 10); got != step.want {
			t.Errorf("%q: got %q, want %q", step.text, got, step.want)
		}
	}
}

func TestLineIsOnePrintableLine(t *testing.T) {
	for _, step := range []struct{ text, want string }{
		{"", ""},
		{"  two\r\n\tlines\u2028and a third  ", "two lines and a third"},
		{"\x1b[31mred\x1b[0m", "[31mred [0m"},
		{"\u202eright to left", "right to left"},
		{"bad \xff\xfe bytes", "bad \ufffd\ufffd bytes"},
		{strings.Repeat("ä", 40), strings.Repeat("ä", 18) + "…"},
		{"0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789"},
	} {
		if got := Line(step.text, 40); got != step.want {
			t.Errorf("%q: got %q, want %q", step.text, got, step.want)
		}
	}
}

func TestLineWithoutRoomIsEmpty(t *testing.T) {
	for limit := -1; limit <= 3; limit++ {
		if got := Line("äöü", limit); len(got) > max(0, limit) || !utf8.ValidString(got) {
			t.Errorf("%d: got %q", limit, got)
		}
	}
}

func TestHalvesAreTheEndsOfTheText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		n := rapid.IntRange(0, 40).Draw(t, "n")
		head, tail, left := Halves(s, n)
		total := utf8.RuneCountInString(s)
		if total <= n {
			if head != s || tail != "" || left != 0 {
				t.Fatalf("%q was cut to %q and %q", s, head, tail)
			}
			return
		}
		if !strings.HasPrefix(s, head) || !strings.HasSuffix(s, tail) || left != total-n ||
			utf8.RuneCountInString(head) != n*2/3 || utf8.RuneCountInString(head)+utf8.RuneCountInString(tail) != n {
			t.Errorf("%q was cut to %q and %q, %d left out", s, head, tail, left)
		}
	})
}

func TestMiddleSaysHowMuchIsLeftOut(t *testing.T) {
	if got, want := Middle("äbcdefghij", 6), "äbcd\n… (4 characters left out) …\nij"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Middle("äbcdef", 6); got != "äbcdef" {
		t.Errorf("got %q", got)
	}
}

func TestAroundShowsThePlacesAndTheEnds(t *testing.T) {
	s := "BEGIN" + strings.Repeat("ä", 3_000) + "ONE" + strings.Repeat("ö", 3_000) + "TWO" + strings.Repeat("ü", 3_000) + "END"
	one, two := strings.Index(s, "ONE"), strings.Index(s, "TWO")
	got := Around(s, []int{one, one + 1, two}, 5_000)
	for _, want := range []string{"BEGIN", "ONE", "TWO", "END"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not shown", want)
		}
	}
	if n := strings.Count(got, "characters left out"); n != 3 || len(got) > 3_500 || !utf8.ValidString(got) {
		t.Errorf("%d gaps, %d bytes: %q", n, len(got), got)
	}
	if got := Around(s, nil, 5_000); got != Middle(s, 5_000) {
		t.Errorf("without a place: %q", got)
	}
	if got := Around(s, []int{one}, 2_000); got != Middle(s, 2_000) {
		t.Errorf("without room: %q", got)
	}
	if got := Around(s, []int{one}, 10_000); got != s {
		t.Errorf("%d bytes of a text that fits", len(got))
	}
}

func TestListCountsWhatItLeavesOut(t *testing.T) {
	for _, step := range []struct {
		items []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, "a"},
		{[]string{"a", "b"}, "a, b"},
		{[]string{"a", "b", "c", "d"}, "a, b and 2 more"},
	} {
		if got := List(step.items, 2); got != step.want {
			t.Errorf("%q: got %q, want %q", step.items, got, step.want)
		}
	}
}

func TestMoreIsNothingWithoutMore(t *testing.T) {
	for n, want := range map[int]string{-1: "", 0: "", 1: "and 1 more name", 2: "and 2 more names"} {
		if got := More(n, "name", "names"); got != want {
			t.Errorf("%d: got %q", n, got)
		}
	}
	for line, want := range map[string]int{"": 1, "a name": 1, "and 2 more names": 2, "and 1 more name": 1, "and 21 more like these": 21, "and -1 more x": 1, "and many more": 1} {
		if got := Counted(line); got != want {
			t.Errorf("%q: got %d", line, got)
		}
	}
}

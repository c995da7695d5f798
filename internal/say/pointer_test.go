package say

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The pointers of RFC 6901, section 5, and some that are wrong.
func TestTokensOfAPointer(t *testing.T) {
	for _, step := range []struct {
		pointer string
		want    []string
		problem string
	}{
		{"", nil, ""},
		{"/", []string{""}, ""},
		{"/foo/0", []string{"foo", "0"}, ""},
		{"/a~1b", []string{"a/b"}, ""},
		{"/m~0n", []string{"m~n"}, ""},
		{"/~01", []string{"~1"}, ""},
		{"/c%d", []string{"c%d"}, ""},
		{"/ ", []string{" "}, ""},
		{"//", []string{"", ""}, ""},
		{"foo", nil, "it must begin with /"},
		{"/a~2", nil, `"a~2" has a ~ that neither 0 nor 1 follows`},
		{"/a/~", nil, `"~" has a ~ that neither 0 nor 1 follows`},
	} {
		got, err := Tokens(step.pointer)
		problem := ""
		if err != nil {
			problem = err.Error()
		}
		if !slices.Equal(got, step.want) || problem != step.problem {
			t.Errorf("%q: got %q, %q", step.pointer, got, problem)
		}
		if err == nil && Pointer(got...) != step.pointer {
			t.Errorf("%q was written as %q", step.pointer, Pointer(got...))
		}
	}
}

func TestAPointerIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOf(rapid.StringOf(rapid.SampledFrom([]rune("~/01aä")))).Draw(t, "tokens")
		got, err := Tokens(Pointer(tokens...))
		if err != nil || !slices.Equal(got, tokens) {
			t.Errorf("got %q, %v, want %q", got, err, tokens)
		}
	})
}

func TestAShortPointerEndsBeforeALongName(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, step := range []struct {
		tokens []string
		want   string
	}{
		{nil, ""},
		{[]string{"a/b", "0"}, "/a~1b/0"},
		{[]string{"a", long, "b"}, "/a"},
		{[]string{long}, ""},
	} {
		if got := ShortPointer(step.tokens); got != step.want {
			t.Errorf("%q: got %q", step.tokens, got)
		}
	}
}

func TestUnescapeLeavesAStrayTilde(t *testing.T) {
	if got := Unescape("a~b~1c~01"); got != "a~b/c~1" {
		t.Errorf("got %q", got)
	}
}

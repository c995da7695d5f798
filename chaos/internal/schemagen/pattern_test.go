package schemagen

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTextsMatchTheirPatternAndLength(t *testing.T) {
	for _, c := range []struct {
		pattern string
		lo, hi  int
	}{
		{`^\d{4}-\d{2}-\d{2}$`, 0, Unbounded},
		{`^[^@\s]+@[^@\s]+\.[a-z]{2,}$`, 12, 20},
		{`^(red|green|blue)$`, 5, 5},
		{`^(?i)HELLO\b`, 0, 20},
		{`^a{0,}b{2,3}c?$`, 100, 100},
		{`^((a|b)+,)*end$`, 30, 33},
		{`\p{Greek}{3}`, 0, 5},
		{`^[\x{1F600}-\x{1F64F}]$`, 1, 1},
		{`^.*$`, 0, 0},
		{``, 7, 7},
		{`^(((a?)+)+)+$`, 1000, 1010},
		{`^(?:[a-z]|[0-9]{5}){3}$`, 7, 7},
		{`(?s)^.{3}$`, 3, 3},
		{`^\$\^\.$`, 0, 10},
		{`[^\x00-\x7f]`, 1, 1},
	} {
		for seed := range uint64(30) {
			text, err := Matching(c.pattern, c.lo, c.hi, chance(seed))
			if err != nil {
				t.Errorf("%s, %d to %d: %v", c.pattern, c.lo, c.hi, err)
				break
			}
			if n := utf8.RuneCountInString(text); n < c.lo || n > c.hi || !regexp.MustCompile(c.pattern).MatchString(text) {
				t.Errorf("%s, %d to %d: got %q", c.pattern, c.lo, c.hi, text)
			}
		}
	}
}

func TestWhatNothingMatchesIsAnError(t *testing.T) {
	for _, pattern := range []string{`[^\x{0}-\x{10FFFF}]`, `a^`, `$a`, `(`, `^a\Bb\b\B$`} {
		if text, err := Matching(pattern, 0, Unbounded, chance(1)); err == nil {
			t.Errorf("%s: got %q", pattern, text)
		}
	}
}

// Expressions that contain no assertion always have a match that can be made.
func TestTextsMatchAnyExpression(t *testing.T) {
	var expressions func(depth int) *rapid.Generator[string]
	expressions = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kinds := 5
			if depth > 0 {
				kinds = 9
			}
			inner := func() string { return expressions(depth-1).Draw(t, "inner") }
			switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
			case 0:
				return rapid.SampledFrom([]string{"a", "B7", "-", `\.`, "é"}).Draw(t, "literal")
			case 1:
				return rapid.SampledFrom([]string{"[a-c]", "[^a]", `\w`, `\d`, `\S`, `\p{L}`}).Draw(t, "class")
			case 2:
				return "."
			case 3:
				return ""
			case 4:
				return "(?i:x)"
			case 5:
				return inner() + inner()
			case 6:
				return "(" + inner() + "|" + inner() + ")"
			case 7:
				return "(" + inner() + ")" + rapid.SampledFrom([]string{"*", "+", "?", "{2}", "{1,3}", "{2,}"}).Draw(t, "repeat")
			default:
				return "(?:" + inner() + ")*?"
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		expr := "^(?:" + expressions(4).Draw(t, "expr") + ")$"
		text, err := Matching(expr, 0, Unbounded, chance(rapid.Uint64().Draw(t, "seed")))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(expr).MatchString(text) {
			t.Fatalf("%s: got %q", expr, text)
		}
	})
}

func FuzzMatching(f *testing.F) {
	f.Add(`^[A-Z]{2}-\d{3,}(foo|bar)?$`, 3, 20, uint64(1))
	f.Add(`((a?)+)+b{1000}`, 100, 1000000, uint64(2))
	f.Add(strings.Repeat("(", 500)+"a"+strings.Repeat("+)", 500), 1000, 1000, uint64(3))
	f.Add(`\pN[[:^alpha:]]`, 0, 5, uint64(4))
	f.Fuzz(func(t *testing.T, expr string, lo, hi int, seed uint64) {
		start := time.Now()
		text, err := Matching(expr, lo, hi, chance(seed))
		if n := utf8.RuneCountInString(text); err == nil && (n < lo || n > hi || !regexp.MustCompile(expr).MatchString(text)) {
			t.Errorf("%q, %d to %d: got %q", expr, lo, hi, text)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

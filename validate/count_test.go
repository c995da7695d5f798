package validate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/internal/say"
	"llmcall/validate"
)

func TestWordAndSentenceCounts(t *testing.T) {
	for _, test := range []struct {
		text             string
		words, sentences int
	}{
		{"", 0, 0},
		{" \n\t ... - *** ", 0, 0},
		{"One two three.", 3, 1},
		{"I can't pay 3.50 or 1,000.", 6, 1},
		{"A well-known e-mail.", 5, 1},
		{"Is it? It is! Good.", 5, 3},
		{"It costs 3.5. Not 4.", 5, 2},
		{"Milk, eggs, etc. and bread.", 5, 1}, // a small letter follows
		{"Mr. Smith came.", 3, 2},             // the standard knows no abbreviations
		{"# A heading\n\n- first item\n- second item\n", 6, 3},
		{"1. First.\n2. Second.\n", 4, 2},
		{"He said “Stop. Now.” She left.", 6, 3},
		{"Grüße aus Köln!", 3, 1},
		{"我喜欢猫。你呢？", 6, 2},
		{"今日は。", 3, 1},
		{"Привет, мир. Как дела?", 4, 2},
		{"👩‍🚀 flies", 1, 1},
		{"no end", 2, 1},
		{"a\r\nb", 2, 2},
		{"\xff\xfe word", 1, 1},
	} {
		for name, n := range map[string]int{"word": test.words, "sentence": test.sentences} {
			exact := fmt.Sprintf(`%s_count:{"min": %d, "max": %d}`, name, n, max(n, 1))
			if n > 0 {
				wantLines(t, exact+" of "+test.text, check(t, parse(t, exact), test.text).Complaints)
			}
			more := check(t, parse(t, fmt.Sprintf("%s_count:%d..", name, n+1)), test.text).Complaints
			wantLines(t, test.text, more, fmt.Sprintf("%s_count: too few %ss: expected at least %d, got %d (write at least %s)", name, name, n+1, n, say.Count(n+1, name, name+"s")))
			if n > 1 {
				less := check(t, parse(t, fmt.Sprintf("%s_count:..%d", name, n-1)), test.text).Complaints
				wantLines(t, test.text, less, fmt.Sprintf("%s_count: too many %ss: expected at most %d, got %d (write at most %s)", name, name, n-1, n, say.Count(n-1, name, name+"s")))
			}
		}
	}
}

func TestCountsRefuseImpossibleLimits(t *testing.T) {
	for _, limits := range [][2]int{{0, 0}, {-1, 3}, {3, -1}, {4, 3}} {
		for name, err := range map[string]error{
			"word_count": second(validate.WordCount(limits[0], limits[1])), "sentence_count": second(validate.SentenceCount(limits[0], limits[1])),
		} {
			var bad *validate.ParamError
			if !errors.As(err, &bad) || bad.Check != name || !strings.HasPrefix(bad.Param, "m") {
				t.Errorf("%s of %v: %v", name, limits, err)
			}
		}
	}
	for spec, want := range map[string]string{
		"word_count:5": `range must be 3..200, 3.. or ..200, or a JSON object such as {"min": 3, "max": 200}, got "5"`, `word_count:{"max": 0}`: "max must be a whole number of at least 1, got 0", `sentence_count:{"min": 1.5}`: "min must be a whole number of at least 0, got 1.5",
	} {
		if _, err := validate.Parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// Plain words with spaces between them are counted as anybody would.
func TestWordCountOfPlainText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}`), 1, 20).Draw(t, "words")
		n := len(words)
		s := validate.Must(validate.WordCount(n, n))
		if got := check(t, s, strings.Join(words, rapid.SampledFrom([]string{" ", "\n", ", ", " – "}).Draw(t, "space"))).Complaints; len(got) > 0 {
			t.Fatalf("%q: %v", words, got)
		}
	})
}

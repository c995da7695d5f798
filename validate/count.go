package validate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/clipperhouse/uax29/v2/sentences"
	uaxwords "github.com/clipperhouse/uax29/v2/words"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/schemawords"
)

// WordCount returns a check, named "word_count", that passes a text of min to max
// words, both included. 0 means no limit; at least one limit must be given. The error
// is a *[ParamError].
//
// Words are those of Unicode's text segmentation (UAX #29, section 4) that have a
// letter or a digit: "can't" and "3.5" are one word each, "well-known" is two, and
// Markdown's marks are not words. In Chinese and Japanese each ideograph is a word;
// in Thai and other scripts without spaces a whole run of letters is one, since the
// standard leaves their words to dictionaries.
func WordCount(min, max int) (Strategy, error) {
	if err := limits("word_count", "min", "max", min, max); err != nil {
		return nil, err
	}
	return counting{"word_count", "words", phrase.LeastWords, phrase.MostWords, min, max, countWords}, nil
}

// SentenceCount returns a check, named "sentence_count", that passes a text of min to
// max sentences, both included. 0 means no limit; at least one limit must be given.
// The error is a *[ParamError].
//
// Sentences are those of Unicode's text segmentation (UAX #29, section 5) that have a
// letter. The standard does not know abbreviations: a dot and a space end a sentence
// unless a lower-case letter follows, so "etc. and" is one sentence and "Mr. Smith" is
// two. The end of a line ends a sentence too, so each heading and each item of a list
// is a sentence.
func SentenceCount(min, max int) (Strategy, error) {
	if err := limits("sentence_count", "min", "max", min, max); err != nil {
		return nil, err
	}
	return counting{"sentence_count", "sentences", phrase.LeastSentences, phrase.MostSentences, min, max, countSentences}, nil
}

func countWords(text string) (n int) {
	for segments := uaxwords.FromString(text); segments.Next(); {
		if strings.ContainsFunc(segments.Value(), letterOrDigit) {
			n++
		}
	}
	return n
}

func countSentences(text string) (n int) {
	for segments := sentences.FromString(text); segments.Next(); {
		if strings.ContainsFunc(segments.Value(), unicode.IsLetter) {
			n++
		}
	}
	return n
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

type counting struct {
	name, what  string
	least, most *phrase.Phrase
	min, max    int
	count       func(text string) int
}

func (c counting) Name() string { return c.name }
func (counting) instant() bool  { return true }

func (c counting) Check(_ context.Context, a *Answer) (Verdict, error) {
	n := c.count(a.Text)
	switch {
	case n < c.min:
		return Verdict{Complaints: []Complaint{{
			Problem:    schemawords.TooFew(c.what, n, c.min),
			Suggestion: c.least.Of(c.min),
		}}}, nil
	case c.max > 0 && n > c.max:
		return Verdict{Complaints: []Complaint{{
			Problem:    schemawords.TooMany(c.what, n, c.max),
			Suggestion: c.most.Of(c.max),
		}}}, nil
	}
	return Verdict{}, nil
}

// limits checks the limits of a count.
func limits(check, least, most string, min, max int) error {
	bad := func(param, got, takes string) error {
		return &ParamError{Check: check, Param: param, Got: got, Takes: takes}
	}
	switch {
	case min < 0:
		return bad(least, strconv.Itoa(min), takesLeast)
	case max < 0:
		return bad(most, strconv.Itoa(max), takesMost)
	case min == 0 && max == 0:
		return bad(least+" or "+most, "no limit", takesMost)
	case max > 0 && min > max:
		return bad(least, strconv.Itoa(min), fmt.Sprintf("at most %s (%d)", most, max))
	}
	return nil
}

const (
	takesLeast = "a whole number of at least 0"
	takesMost  = "a whole number of at least 1"
)

// counted makes a check from the two limits of a count.
func (p Params) counted(least, most string, check func(min, max int) (Strategy, error)) (Strategy, error) {
	from, _, err := p.Integer(least, takesLeast)
	if err != nil {
		return nil, err
	}
	to, given, err := p.Integer(most, takesMost)
	if err != nil {
		return nil, err
	}
	if given && to == 0 {
		// For the constructors 0 means no limit, which is not what was written.
		return nil, p.Bad(most, "0", takesMost)
	}
	return check(from, to)
}

// span reads 3..200, 3.. and ..200. A single number is refused: it could mean the
// minimum, the maximum or both.
func span(check, least, most string, number func(digits string) (any, bool)) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) {
		bad := &ParamError{
			Check: check, Param: "range", Got: strconv.Quote(say.Short(text, 60)),
			Takes: fmt.Sprintf(`3..200, 3.. or ..200, or a JSON object such as {"%s": 3, "%s": 200}`, least, most),
		}
		from, to, ok := strings.Cut(strings.TrimSpace(text), "..")
		if !ok || from == "" && to == "" {
			return nil, bad
		}
		values := map[string]any{}
		for name, digits := range map[string]string{least: from, most: to} {
			if digits == "" {
				continue
			}
			if values[name], ok = number(digits); !ok {
				return nil, bad
			}
		}
		return values, nil
	}
}

func count(digits string) (any, bool) {
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

func wordCountDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "word_count", Example: "word_count:50..100",
			Summary: "the answer has so many words",
			Params: []Param{
				{Name: "min", Type: "integer", Default: "0", Meaning: "the least number of words, as Unicode counts them (UAX #29)"},
				{Name: "max", Type: "integer", Default: "no limit", Meaning: "the largest number of words; one of the two limits must be given"},
			},
			Main: "the least and the largest number: 50..100, 50.. or ..100",
		},
		Build:    func(p Params) (Strategy, error) { return p.counted("min", "max", WordCount) },
		FromMain: span("word_count", "min", "max", count),
	}
}

func sentenceCountDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "sentence_count", Example: "sentence_count:1..3",
			Summary: "the answer has so many sentences",
			Params: []Param{
				{Name: "min", Type: "integer", Default: "0", Meaning: "the least number of sentences, as Unicode counts them (UAX #29)"},
				{Name: "max", Type: "integer", Default: "no limit", Meaning: "the largest number of sentences; one of the two limits must be given"},
			},
			Main: "the least and the largest number: 1..3, 1.. or ..3",
		},
		Build:    func(p Params) (Strategy, error) { return p.counted("min", "max", SentenceCount) },
		FromMain: span("sentence_count", "min", "max", count),
	}
}

package validate

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate/internal/schemawords"
)

// NotEmpty returns a check, named "not_empty", that passes an answer whose text has
// a visible character, or that calls a tool.
func NotEmpty() Strategy { return notEmpty{} }

type notEmpty struct{}

func (notEmpty) Name() string  { return "not_empty" }
func (notEmpty) instant() bool { return true }

func (notEmpty) Check(_ context.Context, a *Answer) (Verdict, error) {
	if strings.ContainsFunc(a.Text, visible) || a.Response != nil && len(a.Response.Message.ToolCalls()) > 0 {
		return Verdict{}, nil
	}
	c := Complaint{Problem: "the answer is empty", Suggestion: phrase.Text.Of()}
	if a.Response != nil {
		switch a.Response.Finish {
		case llm.FinishLength:
			c.Problem += ": the token limit was reached before any text"
		case llm.FinishFiltered:
			c.Problem += ": its content was withheld or refused"
		}
	}
	return Verdict{Complaints: []Complaint{c}}, nil
}

// visible is false for white space, control characters and format characters
// such as U+200B and the byte order mark.
func visible(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r)
}

// Length returns a check, named "length", that passes a text of min to max Unicode
// code points, both included, white space too. 0 means no limit; at least one limit
// must be given. The error is a *[ParamError].
func Length(min, max int) (Strategy, error) {
	if err := limits("length", "min_length", "max_length", min, max); err != nil {
		return nil, err
	}
	return lengthCheck{min, max}, nil
}

type lengthCheck struct{ min, max int }

func (lengthCheck) Name() string  { return "length" }
func (lengthCheck) instant() bool { return true }

func (c lengthCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	n := utf8.RuneCountInString(a.Text)
	switch {
	case n < c.min:
		return Verdict{Complaints: []Complaint{{
			Problem:    schemawords.TooFew("characters", n, c.min),
			Suggestion: phrase.LeastCharacters.Of(c.min),
		}}}, nil
	case c.max > 0 && n > c.max:
		return Verdict{Complaints: []Complaint{{
			Problem:    schemawords.TooMany("characters", n, c.max),
			Suggestion: phrase.MostCharacters.Of(c.max),
		}}}, nil
	}
	return Verdict{}, nil
}

// Regex returns a check, named "regex", that passes a text in which the regular
// expression matches somewhere; ^ and $ anchor it, (?i) ignores case. The syntax is
// that of [regexp/syntax] (RE2), which matches in linear time; $ matches only at the
// very end, not before a final newline. The error is a *[ParamError]: the expression
// is empty or does not compile.
func Regex(pattern string) (Strategy, error) {
	if pattern == "" {
		return nil, &ParamError{Check: "regex", Param: "pattern", Got: `""`, Takes: takesPattern}
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, &ParamError{Check: "regex", Param: "pattern", Got: strconv.Quote(say.Short(pattern, 200)), Takes: takesPattern, Err: err}
	}
	return regex{re}, nil
}

const takesPattern = "a non-empty regular expression in Go's syntax (RE2)"

type regex struct{ pattern *regexp.Regexp }

func (regex) Name() string { return "regex" }

func (c regex) Check(_ context.Context, a *Answer) (Verdict, error) {
	if c.pattern.MatchString(a.Text) {
		return Verdict{}, nil
	}
	pattern := c.pattern.String()
	return Verdict{Complaints: []Complaint{{
		Problem:    "nothing in the answer matches the regular expression " + phrase.Pattern(pattern),
		Suggestion: phrase.Match.Of(pattern),
	}}}, nil
}

// Contains returns a check, named "contains", that passes a text which contains all
// of the given ones. It ignores case (Unicode simple case folding): K, k and the
// Kelvin sign are equal, and so are Σ, σ and ς; ß and ss are not. The error is a
// *[ParamError]: there are no texts, or one is empty or not valid UTF-8.
func Contains(texts ...string) (Strategy, error) { return contains(texts, false) }

// ContainsCaseSensitive is [Contains], but case matters.
func ContainsCaseSensitive(texts ...string) (Strategy, error) { return contains(texts, true) }

func contains(texts []string, caseSensitive bool) (Strategy, error) {
	bad := func(param, got, takes string) (Strategy, error) {
		return nil, &ParamError{Check: "contains", Param: param, Got: got, Takes: takes}
	}
	if len(texts) == 0 {
		return bad("required_text", "an empty list", "a string or a list of at least one string")
	}
	c := containing{caseSensitive: caseSensitive}
	for i, text := range texts {
		switch {
		case text == "":
			return bad(fmt.Sprintf("required_text[%d]", i), `""`, "a non-empty string")
		case !utf8.ValidString(text):
			return bad(fmt.Sprintf("required_text[%d]", i), strconv.Quote(say.Short(text, 60)), "valid UTF-8")
		}
		w := wantedText{text, text}
		if !caseSensitive {
			w.folded = strings.Map(fold, text)
		}
		c.wanted = append(c.wanted, w)
	}
	return c, nil
}

type containing struct {
	wanted        []wantedText
	caseSensitive bool
}

type wantedText struct{ text, folded string }

func (containing) Name() string    { return "contains" }
func (c containing) instant() bool { return len(c.wanted) <= say.MaxListed }

func (c containing) Check(_ context.Context, a *Answer) (Verdict, error) {
	text := a.Text
	if !c.caseSensitive {
		text = strings.Map(fold, text)
	}
	var complaints []Complaint
	missing := 0
	for _, w := range c.wanted {
		if strings.Contains(text, w.folded) {
			continue
		}
		if missing++; missing > say.MaxListed {
			continue
		}
		complaints = append(complaints, Complaint{
			Problem:    fmt.Sprintf("the text %q is missing", w.text),
			Suggestion: phrase.Include.Of(w.text),
		})
	}
	return Verdict{Complaints: append(complaints, more(missing-say.MaxListed, "missing text", "missing texts")...)}, nil
}

// more returns a complaint that counts what a list leaves out, if n is positive.
func more(n int, singular, plural string) []Complaint {
	if n <= 0 {
		return nil
	}
	return []Complaint{{Problem: say.More(n, singular, plural)}}
}

// fold returns the smallest rune that equals r under simple case folding.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

package validate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/jsontext"
	"llmcall/validate/internal/schemawords"
)

// OneOf returns a check, named "one_of", that passes a text which equals one of the
// values, apart from white space around it. If the text differs from a value only in
// case, quotation marks or a dot, the complaint says so.
//
// The error is a *[ParamError]: there are no values, one is given twice, or one is
// empty, has white space around it, or is not valid UTF-8.
func OneOf(values ...string) (Strategy, error) { return newOneOf(values, true) }

// OneOfIgnoreCase is [OneOf], but ignores case (Unicode simple case folding).
func OneOfIgnoreCase(values ...string) (Strategy, error) { return newOneOf(values, false) }

func newOneOf(values []string, caseSensitive bool) (Strategy, error) {
	bad := func(param, got, takes string) (Strategy, error) {
		return nil, &ParamError{Check: "one_of", Param: param, Got: got, Takes: takes}
	}
	if len(values) == 0 {
		return bad("values", "an empty list", "a list of at least one string")
	}
	c := oneOf{values, map[string]string{}, caseSensitive}
	for i, v := range values {
		param, got := fmt.Sprintf("values[%d]", i), strconv.Quote(say.Short(v, 60))
		switch _, again := c.known[c.key(v)]; {
		case v == "" || strings.TrimSpace(v) != v:
			return bad(param, got, "a non-empty string without white space around it")
		case !utf8.ValidString(v):
			return bad(param, got, "valid UTF-8")
		case again:
			return bad(param, got+" again", "different from the other values")
		}
		c.known[c.key(v)] = v
	}
	return c, nil
}

type oneOf struct {
	values        []string
	known         map[string]string // by key
	caseSensitive bool
}

func (c oneOf) key(text string) string {
	if c.caseSensitive {
		return text
	}
	return strings.Map(fold, text)
}

func (oneOf) Name() string    { return "one_of" }
func (c oneOf) instant() bool { return len(c.values) <= say.MaxListed }

func (c oneOf) Check(_ context.Context, a *Answer) (Verdict, error) {
	text := strings.TrimSpace(a.Text)
	if _, ok := c.known[c.key(text)]; ok {
		return Verdict{}, nil
	}
	complaint := Complaint{
		Problem:    fmt.Sprintf("%q is not one of the allowed values", say.Short(text, 60)),
		Suggestion: phrase.OneOfThese.Of(schemawords.List(c.values)),
	}
	if meant, ok := c.spelled(text); ok {
		complaint.Suggestion = phrase.JustValue.Of(meant)
	} else if meant, ok := c.within(text); ok {
		complaint.Suggestion += "; " + phrase.IfMeant.Of(meant)
	} else if meant, ok := c.nearestText(text); ok {
		complaint.Suggestion += "; " + phrase.NearestText.Of(meant)
	}
	return Verdict{Complaints: []Complaint{complaint}}, nil
}

// spelled returns the value that equals the text apart from case and from marks
// around it.
func (c oneOf) spelled(text string) (string, bool) {
	bare := func(s string) string {
		return strings.Map(fold, strings.TrimFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
	}
	text = bare(text)
	for _, v := range c.values {
		if b := bare(v); b != "" && b == text {
			return v, true
		}
	}
	return "", false
}

// within returns the value that the text contains as a separate word, if there is
// only one.
func (c oneOf) within(text string) (meant string, ok bool) {
	text = foldedText(text)
	for _, v := range c.values {
		if !hasWord(text, strings.Map(fold, v)) {
			continue
		}
		if ok {
			return "", false
		}
		meant, ok = v, true
	}
	return meant, ok
}

// hasWord reports whether the text contains the word, other than as a part of a
// longer word.
func hasWord(text, word string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		before, _ := utf8.DecodeLastRuneInString(text[:start])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if !partOfWord(before) && !partOfWord(after) {
			return true
		}
		_, size := utf8.DecodeRuneInString(text[start:])
		from = start + size
	}
}

func partOfWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}

// nearestText returns the value that is nearest to the text, ignoring case.
func (c oneOf) nearestText(text string) (string, bool) {
	values := make([]string, len(c.values))
	for i, v := range c.values {
		values[i] = foldedText(v)
	}
	at, near := nearest.Name(foldedText(text), values)
	return c.values[at], near
}

func foldedText(text string) string { return strings.Map(fold, say.Short(text, 1000)) }

func oneOfDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "one_of", Example: "one_of:positive, negative, neutral",
			Summary: "the answer is one of a list of values, and nothing else",
			Params: []Param{
				{Name: "values", Type: "list of strings", Required: true, Meaning: "the allowed values"},
				{Name: "case_sensitive", Type: "boolean", Default: "true", Meaning: "capital and small letters are different"},
			},
			Main: "the values, with commas between them, or as a JSON list",
		},
		Build: func(p Params) (Strategy, error) {
			values, err := p.Texts("values")
			if err != nil {
				return nil, err
			}
			sensitive := true
			if p.Value("case_sensitive") != nil {
				if sensitive, err = p.Flag("case_sensitive"); err != nil {
					return nil, err
				}
			}
			return newOneOf(values, sensitive)
		},
		FromMain: func(text string) (map[string]any, error) {
			if strings.HasPrefix(strings.TrimSpace(text), "[") {
				doc := jsontext.Decode(text)
				if err := unreadable(doc); err != nil {
					return nil, &ParamError{Check: "one_of", Param: "values", Got: strconv.Quote(say.FirstLine(text, 40)), Takes: "a list of strings", Err: err}
				}
				return map[string]any{"values": doc.Value}, nil
			}
			values := strings.Split(text, ",")
			for i, v := range values {
				values[i] = strings.TrimSpace(v)
			}
			return map[string]any{"values": values}, nil
		},
	}
}

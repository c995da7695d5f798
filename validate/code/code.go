// Package code has the check "code": that an answer's code can be parsed, by a
// real parser of its language. An import makes its name, and "python" for Python,
// known to validate.Build and validate.Parse.
package code

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"llmcall/validate"
)

// Languages are the languages that New takes, each with a parser of its own.
// jsx and tsx are JavaScript and TypeScript with JSX.
var Languages = []string{"go", "javascript", "json", "jsx", "python", "sql", "tsx", "typescript", "yaml"}

// MaxBytes is how much code is parsed: a longer block is a complaint.
const MaxBytes = 64 << 10

const maxListed = 20

func init() {
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "code", Example: "code:go",
			Summary: "the answer, or each of its blocks of the language, is code that can be parsed",
			Params: []validate.Param{{
				Name: "language", Type: "string", Default: "python", Meaning: "the language: " + strings.Join(Languages, ", "),
			}},
			Main: "the language",
		},
		Build: func(p validate.Params) (validate.Strategy, error) {
			if p.Value("language") == nil {
				return New("python")
			}
			language, err := p.Text("language", takes())
			if err != nil {
				return nil, err
			}
			return New(language)
		},
		FromMain: func(text string) (map[string]any, error) {
			return map[string]any{"language": strings.TrimSpace(text)}, nil
		},
	})
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "python", Example: "python",
			Summary: "the answer, or each of its Python blocks, is Python code that can be parsed",
		},
		Build: func(validate.Params) (validate.Strategy, error) {
			return check{"python", languages["python"]}, nil
		},
	})
}

func takes() string { return "one of " + strings.Join(Languages, ", ") }

// New passes an answer whose code in the language can be parsed. That is each
// fenced block that is labelled with the language, in any case and by its usual
// short names (py, js, ts, yml, golang); where there is none, each block without
// a label; where there is none either, each block; and an answer without blocks
// as a whole. Blocks may be fenced by ``` or ~~~, indented, and longer than the
// fences in them; the blocks of a block labelled markdown are looked at too.
//
// Some code must be there: comments alone are none, and in an answer without
// blocks words alone are none either, though "hello" is an expression in many
// languages.
//
// Only the syntax is checked, and nothing is run. Go may be a file, or a part of
// one as gofmt takes it: declarations or statements. JSON is what validate.JSON
// passes, SQL is PostgreSQL's or MySQL's. Python is parsed as version 3.14; its
// parser reads 10 to 40 kB a second, and takes a second to load at its first use.
// TypeScript's types are parsed and not checked.
//
// Complaints have the line and column in the answer. A block longer than MaxBytes
// is a complaint (for SQL the limit is 32 kB). Python's parser stops when ctx ends;
// the others don't, and take a second or two at most. A language that is not in Languages
// is a *validate.ParamError.
func New(language string) (validate.Strategy, error) {
	l, ok := languages[language]
	if !ok {
		return nil, &validate.ParamError{Check: "code", Param: "language", Problem: fmt.Sprintf("is %.60q", language), Takes: takes()}
	}
	return check{"code", l}, nil
}

// language is how code in a language is parsed.
type language struct {
	title  string
	labels []string // of its blocks
	// parse returns what is wrong with code. The error is that of the context,
	// or a fault of the parser.
	parse func(ctx context.Context, code string) ([]problem, error)
	// comments begin what is no code up to the end of the line.
	comments []string
	// words begin a statement that may be nothing but words ("import os").
	// Default nil: what can be parsed is code.
	words []string
}

// problem is something wrong in code.
type problem struct {
	text         string
	line, column int // from 1, in code points
}

type check struct {
	name string
	language
}

func (c check) Name() string { return c.name }

func (c check) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	var complaints []validate.Complaint
	left := 0
	for _, b := range validate.BlocksOf(a.Text, c.labels...) {
		if err := ctx.Err(); err != nil {
			return validate.Verdict{}, err
		}
		problems, err := c.problems(ctx, b)
		if err != nil {
			return validate.Verdict{}, err
		}
		for _, p := range problems {
			if len(complaints) == maxListed {
				left++
				continue
			}
			line, column := b.Position(max(1, p.line), max(1, p.column))
			complaints = append(complaints, validate.Complaint{Problem: p.text, Line: line, Column: column, Suggestion: c.suggestion(b)})
		}
	}
	if left > 0 {
		complaints = append(complaints, validate.Complaint{Problem: fmt.Sprintf("and %d more like these", left)})
	}
	return validate.Verdict{Complaints: complaints}, nil
}

func (c check) problems(ctx context.Context, b validate.Block) ([]problem, error) {
	lines := strings.Split(b.Code, "\n")
	switch {
	case !b.Closed:
		return []problem{{"the Markdown block is not closed: the text ends before it is complete", len(lines), 1}}, nil
	case len(b.Code) > MaxBytes:
		return []problem{{fmt.Sprintf("the code is longer than %d bytes", MaxBytes), 1, 1}}, nil
	case c.empty(lines):
		return []problem{{"there is no " + c.title + " code", 1, 1}}, nil
	}
	if at := unreadable(b.Code); at >= 0 {
		line, column := validate.Position(b.Code, at)
		return []problem{{"there is a NUL character, or a byte that is not valid UTF-8", line, column}}, nil
	}
	found, err := c.parse(ctx, b.Code)
	for i := range found {
		found[i].text = "this is not valid " + c.title + ": " + found[i].text
	}
	if err == nil && len(found) == 0 && !b.Fenced && c.words != nil && c.prose(lines) {
		return []problem{{"there are only words, and no " + c.title + " code", 1, 1}}, nil
	}
	return found, err
}

func (c check) suggestion(b validate.Block) string {
	switch {
	case !b.Closed:
		return "answer with the whole " + c.title + " code; make it shorter if it does not fit"
	case b.Fenced && b.Label != "" && !slices.Contains(c.labels, b.Label):
		return "answer with " + c.title + " code in a Markdown block labelled " + c.labels[0] + "; this one is labelled " + fmt.Sprintf("%.30q", b.Label)
	case b.Fenced:
		return "answer with " + c.title + " code that can be parsed"
	}
	return "answer with " + c.title + " code alone, or put it into a Markdown block labelled " + c.labels[0]
}

// unreadable is the offset of what no parser should be given; -1 if there is none.
func unreadable(code string) int {
	for at, r := range code {
		if r == 0 || r == utf8.RuneError && !strings.HasPrefix(code[at:], "\uFFFD") {
			return at
		}
	}
	return -1
}

// empty is true for lines with nothing but white space and comments.
func (c check) empty(lines []string) bool {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" && !slices.ContainsFunc(c.comments, func(mark string) bool { return strings.HasPrefix(line, mark) }) {
			return false
		}
	}
	return true
}

// prose is true for lines of which each is words and marks that a sentence could
// be, and none begins with a statement's keyword.
func (c check) prose(lines []string) bool {
	for _, line := range lines {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r.,;:!?'\"-", r) })
		if strings.ContainsAny(line, "()[]{}<>=+*/%|&^~@#$\\`_0123456789") || len(words) > 0 && slices.Contains(c.words, words[0]) {
			return false
		}
	}
	return true
}

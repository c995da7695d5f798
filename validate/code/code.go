// Package code has the check "code": the code in an answer can be parsed by a parser
// of its language. [New] makes it; an import of the package also makes its name known
// to [validate.Build] and [validate.Parse].
//
// A [Language] is a parser and what is needed to find the code in an answer. The
// package itself has Go and JSON. Another language's parser is linked into a program
// only if the program imports the language's package:
//
//	import _ "llmcall/validate/code/python"
//
// [llmcall/validate/standard] imports them all, and [Register] adds a language.
package code

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate"
)

// packages are the languages of this module, and where they register themselves.
var packages = map[string]string{
	"go": "llmcall/validate/code", "json": "llmcall/validate/code",
	"javascript": "llmcall/validate/code/javascript", "jsx": "llmcall/validate/code/javascript",
	"typescript": "llmcall/validate/code/javascript", "tsx": "llmcall/validate/code/javascript",
	"python": "llmcall/validate/code/python", "sql": "llmcall/validate/code/sql", "yaml": "llmcall/validate/code/yaml",
}

// MaxBytes is the length in bytes of the longest block of code that is parsed. A
// longer one is a complaint.
const MaxBytes = 64 << 10

func init() {
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "code", Example: "code:go",
			Summary: "the answer, or each of its blocks of the language, is code that can be parsed",
			Params: []validate.Param{{
				Name: "language", Type: "string", Default: "python", Meaning: "the language: " + strings.Join(slices.Sorted(maps.Keys(packages)), ", "),
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
	MustRegister(goLanguage)
	MustRegister(jsonLanguage)
}

func takes() string { return "one of " + strings.Join(Languages(), ", ") }

// Language is a language whose code can be checked; see [Register]. Name, Title,
// Labels and Parse are required.
type Language struct {
	// Name is the name for [New] and configuration: "python".
	Name string
	// Title is the name in complaints: "Python".
	Title string
	// Labels are the labels of its Markdown blocks, in lower case, the usual one
	// first.
	Labels []string
	// Parse returns the problems of code, or none if it can be parsed. The code is
	// valid UTF-8 without NUL characters, of at most [MaxBytes]. The error is that of
	// the context, or a failure of the parser. Several goroutines may call Parse at
	// once.
	Parse func(ctx context.Context, code string) ([]Problem, error)
	// Comments are the marks that begin a comment up to the end of the line: "//".
	// Code that has only such comments is a complaint. Default nil: none.
	Comments []string
	// Words are the words that begin a statement without punctuation ("import os").
	// An answer without blocks that has only words, and begins no line with one of
	// these, is a complaint even if it can be parsed. Default nil: whatever can be
	// parsed is code.
	Words []string
	// Ready returns an error if something that Parse needs is missing, such as a
	// grammar that the program does not import. [New] calls it. Default nil: nothing
	// is missing.
	Ready func() error
}

// Problem is something that is wrong in code.
type Problem struct {
	Text         string // what is wrong, in the parser's words
	Line, Column int    // in the code, from 1; columns are in code points
}

var registered struct {
	sync.RWMutex
	languages map[string]Language
}

// Register makes a language known to [New]. The error says which field is missing, or
// that the name is taken. Several goroutines may call it at once; a language's package
// calls it in an init function.
func Register(l Language) error {
	switch {
	case l.Name == "" || strings.TrimSpace(l.Name) != l.Name:
		return fmt.Errorf("code: Register: Name must be a name without white space around it, got %q", l.Name)
	case l.Title == "":
		return fmt.Errorf("code: Register %q: Title must not be empty", l.Name)
	case len(l.Labels) == 0:
		return fmt.Errorf("code: Register %q: Labels must not be empty", l.Name)
	case l.Parse == nil:
		return fmt.Errorf("code: Register %q: Parse must not be nil", l.Name)
	}
	registered.Lock()
	defer registered.Unlock()
	if _, taken := registered.languages[l.Name]; taken {
		return fmt.Errorf("code: Register %q: the name is taken", l.Name)
	}
	if registered.languages == nil {
		registered.languages = map[string]Language{}
	}
	l.Labels, l.Comments, l.Words = slices.Clone(l.Labels), slices.Clone(l.Comments), slices.Clone(l.Words)
	registered.languages[l.Name] = l
	return nil
}

// MustRegister is [Register], but panics on an error.
func MustRegister(l Language) {
	if err := Register(l); err != nil {
		panic(err)
	}
}

// Languages returns the names of the registered languages, sorted: those of the
// packages that the program imports.
func Languages() []string {
	registered.RLock()
	defer registered.RUnlock()
	return slices.Sorted(maps.Keys(registered.languages))
}

func lookup(name string) (Language, bool) {
	registered.RLock()
	defer registered.RUnlock()
	l, ok := registered.languages[name]
	return l, ok
}

// New returns the check "code" for a language. It passes an answer whose code in the
// language can be parsed: each fenced block with a label of the language (in any case;
// usual short names such as py, js, ts, yml and golang are labels too). If there is
// none, the code is each block without a label; if there is none of these either, each
// block; and in an answer without blocks, the whole answer. See [validate.BlocksOf].
//
// There must be some code. Comments are not enough. Neither are words in an answer
// without blocks, although "hello" is an expression in many languages.
//
// Only the syntax is checked, and nothing is run. Go may be a file, or a part of
// one as gofmt accepts it: declarations or statements. JSON is what
// [validate.JSON] passes. The other languages are described in their packages.
//
// Complaints have the line and column in the answer. A block longer than
// [MaxBytes] is a complaint. A parser that does not stop when ctx ends takes a
// second or two at most.
//
// The error is a *[validate.ParamError]: the language is unknown, or its package
// is not imported, which the error then names.
func New(language string) (validate.Strategy, error) {
	l, ok := lookup(language)
	if !ok {
		bad := &validate.ParamError{Check: "code", Param: "language", Got: nearest.Shown(language, Languages()), Takes: "one of " + nearest.List(language, Languages())}
		if at, known := packages[language]; known {
			bad.Got = strconv.Quote(language)
			bad.Err = fmt.Errorf("the program does not import _ %q (llmcall/validate/standard imports all)", at)
		}
		return nil, bad
	}
	if l.Ready != nil {
		if err := l.Ready(); err != nil {
			return nil, &validate.ParamError{Check: "code", Param: "language", Got: strconv.Quote(language), Takes: takes(), Err: err}
		}
	}
	return check{l}, nil
}

type check struct{ Language }

func (check) Name() string { return "code" }

func (c check) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	var complaints []validate.Complaint
	left := 0
	for _, b := range validate.BlocksOf(a.Text, c.Labels...) {
		if err := ctx.Err(); err != nil {
			return validate.Verdict{}, err
		}
		problems, err := c.problems(ctx, b)
		if err != nil {
			return validate.Verdict{}, err
		}
		for _, p := range problems {
			if len(complaints) == say.MaxListed {
				left++
				continue
			}
			line, column := b.Position(max(1, p.Line), max(1, p.Column))
			complaints = append(complaints, validate.Complaint{Problem: p.Text, Line: line, Column: column, Suggestion: c.suggestion(b)})
		}
	}
	if left > 0 {
		complaints = append(complaints, validate.Complaint{Problem: fmt.Sprintf("and %d more like these", left)})
	}
	return validate.Verdict{Complaints: complaints}, nil
}

func (c check) problems(ctx context.Context, b validate.Block) ([]Problem, error) {
	lines := strings.Split(b.Code, "\n")
	switch {
	case !b.Closed:
		return []Problem{{"the Markdown block is not closed: the text ends before it is complete", len(lines), 1}}, nil
	case len(b.Code) > MaxBytes:
		return []Problem{{fmt.Sprintf("the code is longer than %d bytes", MaxBytes), 1, 1}}, nil
	case c.empty(lines):
		return []Problem{{"there is no " + c.Title + " code", 1, 1}}, nil
	}
	if at := unreadable(b.Code); at >= 0 {
		line, column := validate.Position(b.Code, at)
		return []Problem{{"there is a NUL character, or a byte that is not valid UTF-8", line, column}}, nil
	}
	found, err := c.Parse(ctx, b.Code)
	for i := range found {
		found[i].Text = "this is not valid " + c.Title + ": " + found[i].Text
	}
	if err == nil && len(found) == 0 && !b.Fenced && c.Words != nil && c.prose(lines) {
		return []Problem{{"there are only words, and no " + c.Title + " code", 1, 1}}, nil
	}
	return found, err
}

func (c check) suggestion(b validate.Block) string {
	switch {
	case !b.Closed:
		return phrase.WholeCode.Of(c.Title)
	case b.Fenced && b.Label != "" && !slices.Contains(c.Labels, b.Label):
		return phrase.LabelledCode.Of(c.Title, c.Labels[0]) + "; this one is labelled " + fmt.Sprintf("%.30q", b.Label)
	case b.Fenced:
		return phrase.ParsableCode.Of(c.Title)
	}
	return phrase.CodeAlone.Of(c.Title, c.Labels[0])
}

// unreadable returns the offset of the first NUL or invalid character, or -1. Parsers
// differ in what they do with them.
func unreadable(code string) int {
	for at, r := range code {
		if r == 0 || r == utf8.RuneError && !strings.HasPrefix(code[at:], "\uFFFD") {
			return at
		}
	}
	return -1
}

// empty reports whether the lines have only white space and comments.
func (c check) empty(lines []string) bool {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" && !slices.ContainsFunc(c.Comments, func(mark string) bool { return strings.HasPrefix(line, mark) }) {
			return false
		}
	}
	return true
}

// prose reports whether each line consists of words and punctuation, as a sentence
// does, and none begins with a keyword that starts a statement.
func (c check) prose(lines []string) bool {
	for _, line := range lines {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r.,;:!?'\"-", r) })
		if strings.ContainsAny(line, "()[]{}<>=+*/%|&^~@#$\\`_0123456789") || len(words) > 0 && slices.Contains(c.Words, words[0]) {
			return false
		}
	}
	return true
}

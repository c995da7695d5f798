package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"llmcall/llm"
)

// JSON passes an answer that is one JSON value (RFC 8259), a scalar too, with
// nothing around it but white space, a byte order mark, or one Markdown fence.
// Its verdict carries the decoded value and the text without those, which the
// caller can decode too. Beyond what encoding/json refuses, it refuses what
// would lose something in silence: a property that an object has twice, invalid
// UTF-8, half a surrogate pair, a number that no float64 holds; and nesting
// deeper than 500.
//
// It says what a model got wrong (prose, a comment, a trailing comma, single
// quotes, NaN, an end too early and so on), with line and column. Of an answer
// that the token limit cut off, it says that.
func JSON() Strategy { return jsonCheck{} }

type jsonCheck struct{}

func (jsonCheck) Name() string  { return "json" }
func (jsonCheck) instant() bool { return true }

func (jsonCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document()
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	return Verdict{Decoded: true, Value: doc.value, Text: doc.text}, nil
}

// JSON returns the JSON value that the answer is, with numbers as json.Number,
// and the text that it was decoded from: what the check JSON accepts. The value
// is shared with other checks: don't change it. The error is Complaints, so a
// function given to Func can return it as it is.
func (a *Answer) JSON() (value any, text string, err error) {
	doc, complaints := a.document()
	if len(complaints) > 0 {
		return nil, "", Complaints(complaints)
	}
	return doc.value, doc.text, nil
}

// document decodes the answer, and returns the complaints that this check and
// that of a schema have in common.
func (a *Answer) document() (*document, []Complaint) {
	doc := a.decoded.decode(a.Text)
	_, number := doc.value.(json.Number)
	if a.Response != nil && a.Response.Finish == llm.FinishLength && (doc.broken || number) {
		// 12 may have been cut from 123: of all values, a number alone does
		// not tell its end.
		c := Complaint{
			Problem:    "the answer was cut off at the token limit before its JSON was complete",
			Suggestion: "make the answer shorter, so that its JSON is complete",
		}
		c.Line, c.Column = position(a.Text, len(strings.TrimRightFunc(a.Text, blank)))
		return doc, []Complaint{c}
	}
	return doc, append([]Complaint(nil), doc.complaints...)
}

// memo keeps the decoded text for the checks of one Run. Its mutex is needed
// although they run one after the other: one that was left behind may still be
// at it.
type memo struct {
	sync.Mutex
	doc *document
}

func (m *memo) decode(text string) *document {
	if m == nil {
		return decode(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.doc == nil || m.doc.source != text {
		m.doc = decode(text)
	}
	return m.doc
}

// document is a text, decoded.
type document struct {
	source     string
	text       string // without what is around the JSON
	value      any
	complaints []Complaint
	broken     bool // there is no value
	values     int  // how many, nested ones too
	depth      int
}

// decode finds and reads the JSON value of a text. Lines and columns are those
// of the text as it is, with what is around the JSON.
func decode(text string) *document {
	doc := &document{source: text}
	fail := func(f fault) *document {
		doc.broken = true
		doc.complain(f)
		return doc
	}
	if !utf8.ValidString(text) {
		at := 0
		for r, size := utf8.DecodeRuneInString(text); r != utf8.RuneError || size != 1; r, size = utf8.DecodeRuneInString(text[at:]) {
			at += size
		}
		return fail(fault{at: at, problem: "the text is not valid UTF-8 here", suggestion: "write the text in UTF-8"})
	}
	start, end, f := unwrap(text)
	if f != nil {
		return fail(*f)
	}
	p := parser{text: text, pos: start, end: end, path: make([]step, 0, 8)}
	value, ok := p.document()
	if !ok {
		return fail(p.fault)
	}
	for _, f := range p.repeated {
		doc.complain(f)
	}
	doc.complaints = append(doc.complaints, more(p.repeats-maxListed, "repeated properties")...)
	doc.text, doc.value, doc.values, doc.depth = text[start:end], value, p.values, p.deepest
	return doc
}

// unreadable says, to a person and not to the model, why there is no value in
// the text; nil, if there is one.
func (d *document) unreadable() error {
	if len(d.complaints) == 0 {
		return nil
	}
	c := d.complaints[0]
	c.Suggestion = ""
	return Complaints{c}
}

func (d *document) complain(f fault) {
	line, column := position(d.source, f.at)
	d.complaints = append(d.complaints, Complaint{
		Problem: f.problem, Pointer: f.pointer, Line: line, Column: column, Suggestion: f.suggestion,
	})
}

// blank is true for white space and the byte order mark, which some models and
// files have around their JSON.
func blank(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' }

// unwrap returns where in the text its JSON must be: without white space, a
// byte order mark, and one fenced block (CommonMark, section 4.5) if it holds
// all the rest. A line of a JSON value can't begin with a fence, so the first
// such line closes the block.
func unwrap(text string) (start, end int, f *fault) {
	start, end = trim(text, 0, len(text))
	mark := fence(text[start:end])
	if mark == "" {
		return start, end, nil
	}
	opening, body, ok := strings.Cut(text[start:end], "\n")
	if !ok || strings.ContainsAny(opening, `{["`) {
		return 0, 0, &fault{at: start, problem: "there is Markdown around the JSON", suggestion: aloneSuggestion}
	}
	from := end - len(body)
	for at := from; at < end; {
		line, _, _ := strings.Cut(text[at:end], "\n")
		next := min(at+len(line)+1, end)
		if !closes(line, mark) {
			at = next
			continue
		}
		if behind, _ := trim(text, next, end); behind < end {
			if fence(text[behind:end]) != "" {
				return 0, 0, &fault{at: behind, problem: "there is more than one Markdown block", suggestion: "answer with a single JSON value"}
			}
			return 0, 0, &fault{at: behind, problem: fmt.Sprintf("there is text behind the JSON value: %q", excerpt(text[behind:end])), suggestion: aloneSuggestion}
		}
		start, end = trim(text, from, at)
		return start, end, nil
	}
	return 0, 0, &fault{
		at:         end,
		problem:    "the Markdown block is not closed: the text ends before it is complete",
		suggestion: wholeSuggestion,
	}
}

// trim returns the bounds of text[start:end] without the blanks at its ends.
func trim(text string, start, end int) (int, int) {
	end = start + len(strings.TrimRightFunc(text[start:end], blank))
	return end - len(strings.TrimLeftFunc(text[start:end], blank)), end
}

// fence returns the marks of a fence that the text begins with, or "".
func fence(s string) string {
	if !strings.HasPrefix(s, "```") && !strings.HasPrefix(s, "~~~") {
		return ""
	}
	return s[:len(s)-len(strings.TrimLeft(s, s[:1]))]
}

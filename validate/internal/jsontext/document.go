// Package jsontext reads the JSON of a model's answer. If the text is not JSON, it says
// what is wrong in words that a model can act on. It can read an answer while it is still
// arriving ([Prefix]), and repair what can be repaired without losing or inventing
// anything ([Repair]).
//
// It is stricter than encoding/json where that silently loses something, and accepts the
// Markdown that models put around JSON.
package jsontext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Document is a text, decoded.
type Document struct {
	Text    string // the JSON, without what is around it
	Value   any    // with numbers as json.Number
	Faults  []Fault
	Broken  bool     // there is no value
	Cut     bool     // because the text ends where more must follow
	Values  int      // how many, nested ones too
	Depth   int      // how deep they are nested
	Changes []Change // what was changed to make it JSON
	source  string
}

// Fault is one thing that is wrong with a text.
type Fault struct {
	Problem    string // what is wrong
	Pointer    string // where, as a JSON pointer (RFC 6901)
	Line       int    // where in the text, from 1; 0: not in one place
	Column     int    // in code points, from 1
	Suggestion string // how to fix it, addressed to the model
}

// Decode finds and reads the JSON value of a text. Lines and columns are those of the
// whole text.
func Decode(text string) *Document {
	doc := &Document{source: text}
	fail := func(f fault) *Document {
		doc.Broken, doc.Cut = true, f.cut
		doc.add(f)
		return doc
	}
	if !utf8.ValidString(text) {
		at := 0
		for r, size := utf8.DecodeRuneInString(text); r != utf8.RuneError || size != 1; r, size = utf8.DecodeRuneInString(text[at:]) {
			at += size
		}
		return fail(fault{at: at, problem: notUTF8, suggestion: utf8Suggestion})
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
		doc.add(f)
	}
	doc.count(p.repeats-say.MaxListed, "repeated properties")
	doc.Text, doc.Value, doc.Values, doc.Depth = text[start:end], value, p.values, p.deepest
	return doc
}

func (d *Document) add(f fault) { d.Faults = append(d.Faults, f.in(d.source)) }

// count says how many more repeated properties there are.
func (d *Document) count(n int, properties string) {
	if problem := say.More(n, "repeated property", properties); problem != "" {
		d.Faults = append(d.Faults, Fault{Problem: problem})
	}
}

// Blank reports whether a character is white space or the byte order mark, which some
// models and files have around their JSON.
func Blank(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' }

// unwrap returns where in the text its JSON must be: without white space, a byte order
// mark, and one fenced block (CommonMark, section 4.5) if everything else is in it. A
// line of a JSON value can't begin with a fence, so the first such line closes the
// block.
func unwrap(text string) (start, end int, f *fault) {
	start, end = trim(text, 0, len(text))
	mark := Fence(text[start:end])
	if mark == "" {
		return start, end, nil
	}
	opening, body, ok := strings.Cut(text[start:end], "\n")
	if !ok || strings.ContainsAny(opening, `{["`) {
		return 0, 0, &fault{at: start, problem: "there is Markdown around the JSON", suggestion: aloneSuggestion}
	}
	from := end - len(body)
	inner, _ := trim(text, from, end)
	if line, _, _ := strings.Cut(text[inner:end], "\n"); Fence(line) != "" && !Closes(line, mark) {
		return 0, 0, &fault{at: inner, problem: "there is a Markdown block within another", suggestion: aloneSuggestion}
	}
	for at := from; at < end; {
		line, _, _ := strings.Cut(text[at:end], "\n")
		next := min(at+len(line)+1, end)
		if !Closes(line, mark) {
			at = next
			continue
		}
		if behind, _ := trim(text, next, end); behind < end {
			if Fence(text[behind:end]) != "" {
				return 0, 0, &fault{at: behind, problem: "there is more than one Markdown block", suggestion: phrase.SingleValue.Of()}
			}
			return 0, 0, &fault{at: behind, problem: fmt.Sprintf("there is text after the JSON value: %q", say.FirstLine(text[behind:end], 40)), suggestion: aloneSuggestion}
		}
		start, end = trim(text, from, at)
		return start, end, nil
	}
	return 0, 0, &fault{
		at:         end,
		problem:    "the Markdown block is not closed: the text ends before it is complete",
		suggestion: wholeSuggestion,
		cut:        true,
	}
}

// trim returns the bounds of text[start:end] without the blanks at its ends.
func trim(text string, start, end int) (int, int) {
	end = start + len(strings.TrimRightFunc(text[start:end], Blank))
	return end - len(strings.TrimLeftFunc(text[start:end], Blank)), end
}

// Fence returns the marks of a fence that the text begins with, or "".
func Fence(s string) string {
	if !strings.HasPrefix(s, "```") && !strings.HasPrefix(s, "~~~") {
		return ""
	}
	return s[:len(s)-len(strings.TrimLeft(s, s[:1]))]
}

// Closes reports whether a line closes the block that the fence opened.
func Closes(line, mark string) bool {
	closing := Fence(strings.TrimLeft(line, " \t"))
	return len(closing) >= len(mark) && closing[0] == mark[0] && strings.Trim(line, " \t\r") == closing
}

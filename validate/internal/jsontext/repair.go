package jsontext

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"llmcall/internal/say"
)

// Change is one change to an answer to make it JSON.
type Change struct {
	Problem string // what was wrong there
	Line    int    // where in the answer's text, from 1; 0: not in one place
	Column  int    // in code points, from 1
	Was     string // the beginning of what was there; "" if something was inserted
	Is      string // the beginning of what replaced it; "" if it was removed
}

// maxRepair bounds the text that is repaired.
const maxRepair = 32 << 10

// Repair decodes a text that was meant to be JSON, and changes what is wrong in it. A
// change must not lose, invent or move anything; if one would, or might, or the text is
// cut off, or there are two values in it, the document stays broken.
func Repair(text string) *Document {
	doc := &Document{source: text, Broken: true}
	if len(text) > maxRepair || !utf8.ValidString(text) {
		return doc
	}
	start, end, ok := locate(text, 0, len(text), 0)
	if !ok {
		return doc
	}
	m := repairer{text: text, pos: start, end: end, from: start}
	m.around("text before the JSON", 0, start)
	if !m.whole() && !m.escapedOnceMore() && !m.value(nothing) {
		if m.cut {
			doc.cutOff()
		}
		return doc
	}
	m.replace(m.pos, m.pos, "")
	if !m.ended(start) {
		return doc
	}
	m.around("text after the JSON", m.pos, len(text))
	out := m.out.String()
	p := parser{text: out, end: len(out)}
	value, ok := p.document()
	if !ok {
		return doc
	}
	for _, f := range p.repeated {
		f.at = m.origin(f.at)
		doc.add(f)
	}
	doc.count(p.repeats-say.MaxListed, "repeated properties")
	doc.Broken, doc.Text, doc.Value, doc.Values, doc.Depth = false, out, value, p.values, p.deepest
	doc.Changes = m.changes
	if m.left > 0 {
		doc.Changes = append(doc.Changes, Change{Problem: fmt.Sprintf("and %d more changes", m.left)})
	}
	return doc
}

// cutOff marks the document as one whose text ends too early.
func (d *Document) cutOff() {
	d.Cut = true
	d.add(fault{at: len(strings.TrimRightFunc(d.source, Blank)), problem: endsEarly, suggestion: wholeSuggestion})
}

// locate finds where the object or array in text[start:end] begins, in prose or in a
// Markdown block, and where the block ends. It is not ok if it is not clear where.
func locate(text string, start, end, nested int) (from, to int, ok bool) {
	start, end = trim(text, start, end)
	if start == end || nested > 3 {
		return start, end, false
	}
	if c := text[start]; c == '{' || c == '[' {
		return start, end, true
	}
	var found []block
	for _, b := range blocks(text[start:end]) {
		b = block{b.start + start, b.inner + start, b.innerEnd + start, b.end + start}
		i, j := trim(text, b.inner, b.innerEnd)
		if i < j && (text[i] == '{' || text[i] == '[' || Fence(text[i:j]) != "") {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 0:
		for at := start; at < end; at++ {
			if opens(text[at:end]) {
				return at, end, prose(text[start:at])
			}
		}
		return start, end, false
	case 1:
		b := found[0]
		if object.MatchString(text[start:b.start]) || object.MatchString(text[b.end:end]) {
			return start, end, false
		}
		return locate(text, b.inner, b.innerEnd, nested+1)
	}
	return start, end, false
}

// opens reports whether an object or array may begin here: a bracket that is not around
// words of prose.
func opens(rest string) bool {
	return rest[0] == '{' || rest[0] == '[' && !bracketed.MatchString(rest)
}

// bracketed matches words of prose in square brackets.
var bracketed = regexp.MustCompile(`^\[[\pL ]*\]`)

// prose reports whether a text before or after JSON is not part of it: it is neither a
// value, nor part of an object or array that has lost its bracket, nor holds another.
func prose(text string) bool {
	text = strings.TrimFunc(text, Blank)
	if text == "" {
		return true
	}
	if isValue(text) || listBegins.MatchString(text) || strings.ContainsAny(text[:1], `",:\`) || strings.Count(text, `"`)%2 != 0 || strings.HasSuffix(text, ",") || named.MatchString(text) {
		return false
	}
	for at := 0; at < len(text); at++ {
		switch words := bracketed.FindString(text[at:]); {
		case words != "":
			at += len(words) - 1
		case strings.IndexByte("{[]}", text[at]) >= 0:
			return false
		}
	}
	return true
}

// object matches the beginning of an object with properties, damaged or not, named a
// property, and listBegins the first item of an array and its comma.
var (
	object     = regexp.MustCompile(`\{\s*(?:"[^"\n]*"|'[^'\n]*'|“[^”\n]*”|[\pL_$][\pL\d_$]*)\s*:`)
	named      = regexp.MustCompile(`"[^"\n]*"\s*:`)
	listBegins = regexp.MustCompile(`^(?:-?[0-9][0-9.eE+-]*|true|false|null)\s*,`)
)

// block is a fenced Markdown block in a text, by offsets.
type block struct{ start, inner, innerEnd, end int }

// blocks finds the fenced blocks of a text (CommonMark, section 4.5, but with
// any indentation). One that is not closed goes to the end.
func blocks(text string) []block {
	var found []block
	var mark string
	for at := 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		next := min(at+len(line)+1, len(text))
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case mark != "":
			if Closes(line, mark) {
				last := &found[len(found)-1]
				last.innerEnd, last.end, mark = at, next, ""
			}
		case Fence(trimmed) != "":
			if strings.ContainsAny(strings.TrimPrefix(trimmed, Fence(trimmed)), "`{[\"") {
				break // code within a line of prose
			}
			mark = Fence(trimmed)
			found = append(found, block{start: at, inner: next, innerEnd: len(text), end: len(text)})
		}
		at = next
	}
	return found
}

package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/say"
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
// that is no whole JSON because the token limit cut it off, or because it came
// without a reason to stop or was withheld, it says that.
func JSON() Strategy { return jsonCheck{} }

// JSONWithRepair is JSON that mends what it can: it takes the one object or
// array out of the prose or the Markdown around it, and mends comments, commas,
// colons, brackets and quotes that are missing or too many, quotes of other
// kinds, names without quotes, words of Python and JavaScript, and characters
// in strings that must be escaped. The verdict's Text is the mended JSON, and
// Repaired says what was changed. JSON that is right is left as it is.
//
// It mends nothing that would lose or invent something: an answer that was cut
// off (by the token limit, without a reason to stop, or because its text ends
// too early), two values, a property that an object has twice, a value that is
// missing, NaN, three dots. Then the complaints are those of JSON. It mends no
// text of more than 32 KiB.
//
// Where it is one of the checks of a Run, itself or within All, all checks of
// that Run see the mended JSON, JSONSchema and Answer.JSON too.
func JSONWithRepair() Strategy { return jsonCheck{repair: true} }

type jsonCheck struct{ repair bool }

func (jsonCheck) Name() string    { return "json" }
func (c jsonCheck) instant() bool { return !c.repair }
func (c jsonCheck) repairs() bool { return c.repair }

func (c jsonCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document(c.repair)
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	return doc.verdict(), nil
}

// JSON returns the JSON value that the answer is, with numbers as json.Number,
// and the text that it was decoded from: what the check JSON accepts, or, where
// one of the checks of the Run repairs, what that one made of the answer. The
// value is shared with other checks: don't change it. The error is Complaints,
// so a function given to Func can return it as it is.
func (a *Answer) JSON() (value any, text string, err error) {
	doc, complaints := a.document(false)
	if len(complaints) > 0 {
		return nil, "", Complaints(complaints)
	}
	return doc.value, doc.text, nil
}

// document decodes the answer, and returns the complaints that all checks of
// JSON have in common.
func (a *Answer) document(repair bool) (*document, []Complaint) {
	doc := a.decoded.decode(a.Text)
	_, number := doc.value.(json.Number)
	// 12 may have been cut from 123: of all values, a number alone does not
	// tell its end.
	if c := unfinished(a); c != nil && (doc.broken || number) {
		c.Line, c.Column = position(a.Text, len(strings.TrimRightFunc(a.Text, blank)))
		return doc, []Complaint{*c}
	}
	if doc.broken && (repair || a.decoded.repairs()) {
		mended := a.decoded.mend(a.Text)
		if !mended.broken || mended.cut && !doc.cut {
			doc = mended
		}
	}
	return doc, slices.Clone(doc.complaints)
}

// unfinished is the complaint about JSON that is not complete in an answer that
// did not come to its own end; nil if it did.
func unfinished(a *Answer) *Complaint {
	if a.Response == nil {
		return nil
	}
	switch a.Response.Finish {
	case llm.FinishLength:
		return &Complaint{
			Problem:    "the answer was cut off at the token limit before its JSON was complete",
			Suggestion: "make the answer shorter, so that its JSON is complete",
		}
	case llm.FinishNone:
		return &Complaint{
			Problem:    "the answer broke off before its JSON was complete: it came without a reason to stop",
			Suggestion: "give the whole JSON value",
		}
	case llm.FinishFiltered:
		return &Complaint{
			Problem:    "the answer was withheld or refused before its JSON was complete",
			Suggestion: "give the whole JSON value",
		}
	}
	return nil
}

// repairing is what a check of JSON has that may mend.
type repairing interface{ repairs() bool }

func anyRepairs(checks []Strategy) bool {
	return slices.ContainsFunc(checks, func(s Strategy) bool {
		r, ok := s.(repairing)
		return ok && r.repairs()
	})
}

// memo keeps the decoded text of an answer for the checks of one Run, which may
// be made at the same time. A check that changes the text for another has that
// decoded by itself.
type memo struct {
	repair bool // one of the checks repairs
	sync.Mutex
	text        string
	doc, mended *document
}

func (m *memo) repairs() bool { return m != nil && m.repair }

func (m *memo) decode(text string) *document {
	if m == nil || m.text != text {
		return decode(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.doc == nil {
		m.doc = decode(text)
	}
	return m.doc
}

func (m *memo) mend(text string) *document {
	if m == nil || m.text != text {
		return mend(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.mended == nil {
		m.mended = mend(text)
	}
	return m.mended
}

// document is a text, decoded.
type document struct {
	source     string
	text       string // without what is around the JSON
	value      any
	complaints []Complaint
	broken     bool // there is no value
	cut        bool // because the text ends where more must follow
	values     int  // how many, nested ones too
	depth      int
	repaired   []Repair // what was changed to make JSON of it
}

func (d *document) verdict() Verdict {
	return Verdict{Decoded: true, Value: d.value, Text: d.text, Repaired: d.repaired}
}

// decode finds and reads the JSON value of a text. Lines and columns are those
// of the text as it is, with what is around the JSON.
func decode(text string) *document {
	doc := &document{source: text}
	fail := func(f fault) *document {
		doc.broken, doc.cut = true, f.cut
		doc.complain(f)
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
		doc.complain(f)
	}
	doc.complaints = append(doc.complaints, more(p.repeats-say.MaxListed, "repeated properties")...)
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
	d.complaints = append(d.complaints, f.complaint(d.source))
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
	inner, _ := trim(text, from, end)
	if line, _, _ := strings.Cut(text[inner:end], "\n"); fence(line) != "" && !closes(line, mark) {
		return 0, 0, &fault{at: inner, problem: "there is a Markdown block within another", suggestion: aloneSuggestion}
	}
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
			return 0, 0, &fault{at: behind, problem: fmt.Sprintf("there is text behind the JSON value: %q", say.FirstLine(text[behind:end], 40)), suggestion: aloneSuggestion}
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

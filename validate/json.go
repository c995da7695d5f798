package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"llmcall/llm"
	"llmcall/validate/internal/jsontext"
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
// that is not complete JSON because the token limit cut it off, or because it came
// without a reason to stop or was withheld, it says that.
func JSON() Strategy { return jsonCheck{} }

// JSONWithRepair is JSON that repairs what it can: it takes the one object or
// array out of the prose or the Markdown around it, and fixes comments, commas,
// colons, brackets and quotes that are missing or too many, quotes of other
// kinds, names without quotes, words of Python and JavaScript, and characters
// in strings that must be escaped. The verdict's Text is the repaired JSON, and
// Repaired says what was changed. JSON that is right is left as it is.
//
// It changes nothing that would lose or invent something: an answer that was cut
// off (by the token limit, without a reason to stop, or because its text ends
// too early), two values, a property that an object has twice, a value that is
// missing, NaN, three dots. Then the complaints are those of JSON. It repairs no
// text of more than 32 KiB.
//
// Where it is one of the checks of a Run, itself or within All, all checks of
// that Run see the repaired JSON, JSONSchema and Answer.JSON too.
func JSONWithRepair() Strategy { return jsonCheck{repair: true} }

// Repair is one thing that was changed in an answer to make JSON of it.
type Repair struct {
	Problem string `json:"problem"` // what was wrong there
	Line    int    `json:"line"`    // where in the answer's text, from 1
	Column  int    `json:"column"`  // in code points, from 1
	Was     string `json:"was"`     // the beginning of what was there; "" where something was missing
	Is      string `json:"is"`      // the beginning of what it was made into; "" where it was left out
}

// String returns the place, the problem and the change in one line.
func (r Repair) String() string {
	if r.Line == 0 {
		return r.Problem
	}
	change := fmt.Sprintf("%q made %q", r.Was, r.Is)
	switch {
	case r.Was == "":
		change = fmt.Sprintf("%q put in", r.Is)
	case r.Is == "":
		change = fmt.Sprintf("%q left out", r.Was)
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", r.Line, r.Column, r.Problem, change)
}

type jsonCheck struct{ repair bool }

func (jsonCheck) Name() string    { return "json" }
func (c jsonCheck) instant() bool { return !c.repair }
func (c jsonCheck) repairs() bool { return c.repair }

func (c jsonCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document(c.repair)
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	return verdictOf(doc), nil
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
	return doc.Value, doc.Text, nil
}

// document decodes the answer, and returns the complaints that all checks of
// JSON have in common.
func (a *Answer) document(repair bool) (*jsontext.Document, []Complaint) {
	doc := a.decoded.decode(a.Text)
	_, number := doc.Value.(json.Number)
	// 12 may have been cut from 123: of all values, a number alone does not
	// tell its end.
	if c := unfinished(a); c != nil && (doc.Broken || number) {
		c.Line, c.Column = jsontext.Position(a.Text, len(strings.TrimRightFunc(a.Text, jsontext.Blank)))
		return doc, []Complaint{*c}
	}
	if doc.Broken && (repair || a.decoded.repairs()) {
		mended := a.decoded.mend(a.Text)
		if !mended.Broken || mended.Cut && !doc.Cut {
			doc = mended
		}
	}
	return doc, complaintsOf(doc)
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

// repairing is what a check of JSON has that may repair it.
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
	doc, mended *jsontext.Document
}

func (m *memo) repairs() bool { return m != nil && m.repair }

func (m *memo) decode(text string) *jsontext.Document {
	if m == nil || m.text != text {
		return jsontext.Decode(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.doc == nil {
		m.doc = jsontext.Decode(text)
	}
	return m.doc
}

func (m *memo) mend(text string) *jsontext.Document {
	if m == nil || m.text != text {
		return jsontext.Repair(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.mended == nil {
		m.mended = jsontext.Repair(text)
	}
	return m.mended
}

func verdictOf(doc *jsontext.Document) Verdict {
	v := Verdict{Decoded: true, Value: doc.Value, Text: doc.Text}
	for _, change := range doc.Changes {
		v.Repaired = append(v.Repaired, Repair(change))
	}
	return v
}

func complaintsOf(doc *jsontext.Document) []Complaint {
	var complaints []Complaint
	for _, fault := range doc.Faults {
		complaints = append(complaints, complaintOf(fault))
	}
	return complaints
}

func complaintOf(f jsontext.Fault) Complaint {
	return Complaint{Problem: f.Problem, Pointer: f.Pointer, Line: f.Line, Column: f.Column, Suggestion: f.Suggestion}
}

// unreadable says, to a person and not to the model, why there is no value in
// the document; nil, if there is one.
func unreadable(doc *jsontext.Document) error {
	if len(doc.Faults) == 0 {
		return nil
	}
	c := complaintOf(doc.Faults[0])
	c.Suggestion = ""
	return Complaints{c}
}

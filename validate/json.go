package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"llmcall/internal/phrase"
	"llmcall/llm"
	"llmcall/validate/internal/jsontext"
)

// JSON returns a check, named "json", that passes an answer which is one JSON value
// (RFC 8259), with nothing around it but white space, a byte order mark, or one
// Markdown fence. The verdict has the decoded value and the text without those. In
// addition to what [encoding/json] refuses, it refuses what would be lost silently (a
// duplicate property, invalid UTF-8, half a surrogate pair, a number that overflows a
// float64), and more than 500 levels of nesting.
//
// The complaints name the mistake (prose, a comment, a trailing comma, single quotes,
// NaN, an early end and so on), with line and column. If the JSON is incomplete
// because the answer was cut off at the token limit, came without a reason to stop, or
// was withheld, they say so.
func JSON() Strategy { return jsonCheck{} }

// JSONWithRepair is [JSON], but repairs what it safely can: it extracts the one object
// or array from prose or Markdown around it, and fixes comments, missing and
// superfluous commas, colons, brackets and quotes, other quotation marks, unquoted
// names, literals of Python and JavaScript, and unescaped characters in strings.
// [Verdict.Text] is the repaired JSON, and [Verdict.Repaired] lists the changes. Valid
// JSON is left as it is.
//
// It does not repair where that would lose, invent or move something, or where the text
// can be read in more than one way: an answer that was cut off (by the token limit,
// without a reason to stop, or because its text ends early), two values, a duplicate
// property, a missing value, NaN, three dots; a quote that is missing or too many, unless
// only one place is possible; a bracket likewise; an array's strings without quotes; a
// string in which some backslashes are escaped and others not. Then the complaints are
// those of JSON. It does not repair texts of more than 32 KiB.
//
// If it is one of the checks of a [Run], itself or within [All], all checks of that
// Run see the repaired JSON, including [JSONSchema] and [Answer.JSON].
func JSONWithRepair() Strategy { return jsonCheck{repair: true} }

// Repair is one change that [JSONWithRepair] made to an answer.
type Repair struct {
	Problem string `json:"problem"` // what was wrong
	Line    int    `json:"line"`    // where in the answer's text, from 1
	Column  int    `json:"column"`  // in code points, from 1
	Was     string `json:"was"`     // the beginning of what was there; "" if something was inserted
	Is      string `json:"is"`      // the beginning of what replaced it; "" if it was removed
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

// JSON decodes the answer as the check [JSON] does, and returns the value, with numbers
// as [json.Number], and the text that it was decoded from. If one of the checks of the
// [Run] repairs the answer, they are the repaired ones. The value is shared with other
// checks and must not be changed. The error is [Complaints], which a function given to
// [Func] can return as it is.
func (a *Answer) JSON() (value any, text string, err error) {
	doc, complaints := a.document(false)
	if len(complaints) > 0 {
		return nil, "", Complaints(complaints)
	}
	return doc.Value, doc.Text, nil
}

// document decodes the answer, and returns the complaints that all checks of JSON
// share.
func (a *Answer) document(repair bool) (*jsontext.Document, []Complaint) {
	doc := a.decoded.decode(a.Text)
	_, number := doc.Value.(json.Number)
	// 12 may have been cut from 123: a number is the only value whose end does not
	// show.
	if c := unfinished(a); c != nil && (doc.Broken && (doc.Cut || a.Response.Finish.Known()) || number) {
		c.Line, c.Column = jsontext.Position(a.Text, len(strings.TrimRightFunc(a.Text, jsontext.Blank)))
		return doc, []Complaint{*c}
	}
	if doc.Broken && (repair || a.decoded.repairs()) {
		repaired := a.decoded.repairedDocument(a.Text)
		if !repaired.Broken || repaired.Cut && !doc.Cut {
			doc = repaired
		}
	}
	return doc, complaintsOf(doc)
}

// unfinished returns the complaint about incomplete JSON in an answer that the model
// did not end itself; nil if it did.
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
	if reason := a.Response.Finish; !reason.Known() {
		return &Complaint{
			Problem:    phrase.BrokeOff + " before its JSON was complete" + phrase.UnknownReason + string(reason),
			Suggestion: "give the whole JSON value",
		}
	}
	return nil
}

// repairing is implemented by checks that may repair the answer's JSON.
type repairing interface{ repairs() bool }

func anyRepairs(checks []Strategy) bool {
	return slices.ContainsFunc(checks, func(s Strategy) bool {
		r, ok := s.(repairing)
		return ok && r.repairs()
	})
}

// memo keeps the decoded answer for the checks of one [Run], which may run
// concurrently. If a check gives another one a different text, that is decoded
// separately.
type memo struct {
	repair bool // one of the checks repairs the answer
	sync.Mutex
	text          string
	doc, repaired *jsontext.Document
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

func (m *memo) repairedDocument(text string) *jsontext.Document {
	if m == nil || m.text != text {
		return jsontext.Repair(text)
	}
	m.Lock()
	defer m.Unlock()
	if m.repaired == nil {
		m.repaired = jsontext.Repair(text)
	}
	return m.repaired
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

// unreadable returns why the document has no value, addressed to a person and not to
// the model; nil if it has one.
func unreadable(doc *jsontext.Document) error {
	if len(doc.Faults) == 0 {
		return nil
	}
	c := complaintOf(doc.Faults[0])
	c.Suggestion = ""
	return Complaints{c}
}

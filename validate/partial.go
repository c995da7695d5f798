package validate

import "llmcall/validate/internal/jsontext"

// Prefix parses a JSON answer incrementally, as its pieces arrive. It reports as
// soon as the text can no longer become valid JSON, and returns the parts of the
// value that are complete. The answer may be in a Markdown fence, as in [JSON].
//
// The zero value is ready for the first piece. The time for all pieces together is
// linear in their length. A Prefix keeps the whole text, to describe an error. Only
// one goroutine may use it at a time, and it must not be copied after the first
// piece.
type Prefix struct {
	// OpenStrings makes Value include the beginning of a string that has not ended
	// yet. Default false: it is left out, like every scalar that has not ended.
	OpenStrings bool
	// Visitor is called for each part of the value as soon as it is complete.
	// Default nil: none.
	Visitor Visitor

	reader jsontext.Prefix
	err    error // Complaints
}

// Visitor is called by a [Prefix] for what it reads, in the order of the answer.
// name is the name of the property; it is "" for an array's item and for the whole
// value. text is the JSON of the complete part, as it is in the answer.
type Visitor interface {
	Open(name string, object bool) // an object begins or, if object is false, an array
	Close(name, text string)       // the innermost open object or array is complete
	Scalar(name, text string)      // a string, a number, true, false or null is complete
}

// Feed reads the next piece of the answer, which may end anywhere, even within a
// character. An error means that no text with this beginning is JSON; it is
// [Complaints] with one complaint, which has a line and a column. From then on every
// call returns it.
func (p *Prefix) Feed(piece string) error {
	if p.err != nil {
		return p.err
	}
	p.reader.Visitor = p.Visitor
	if fault := p.reader.Feed(piece); fault != nil {
		p.err = Complaints{complaintOf(*fault)}
	}
	return p.err
}

// Complete reports whether the value has ended. If the value is a number, it is
// complete only when something follows it, since more digits may come.
func (p *Prefix) Complete() bool { return p.reader.Complete() }

// Value returns the part of the value that is complete so far, with numbers as
// [json.Number]. Open objects and arrays have those of their properties and items
// that are complete or open themselves. The result is false while there is nothing
// yet. After an error Value returns what there was before it.
//
// The next piece does not change a value that was returned. Later values may share
// parts with it, so the caller must not change it.
func (p *Prefix) Value() (any, bool) { return p.reader.Value(p.OpenStrings) }

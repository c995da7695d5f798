package validate

import "llmcall/validate/internal/jsontext"

// Prefix parses a JSON answer incrementally, as its pieces come. It reports as soon
// as the text can no longer become valid JSON, and gives the parts of the value that
// are complete. The answer may be in a Markdown
// fence, as JSON allows.
//
// The zero value is ready for the first piece. All pieces together cost time in
// proportion to their length. A Prefix keeps the text that it was fed, for what
// it says of a fault. It is used by one goroutine at a time, and not copied
// after the first piece.
type Prefix struct {
	// OpenStrings makes Value show a string that has not ended yet, as far as
	// it has come. Default: it is left out, as every scalar that has not ended.
	// A property's name never shows before its value begins.
	OpenStrings bool
	// Visitor, if set, is told of the parts of the value as soon as they are
	// there. Default: none.
	Visitor Visitor

	reader jsontext.Prefix
	err    error // Complaints
}

// Visitor is told by a Prefix of what it reads, in the order of the answer. A
// name is that of the property; items and the whole value have "". A text is the
// JSON of what is complete, as it is in the answer.
type Visitor interface {
	Open(name string, object bool) // an object or, if not, an array begins
	Close(name, text string)       // the innermost that is open is complete
	Scalar(name, text string)      // a string, a number, true, false or null is complete
}

// Feed reads the next piece of the answer, which may end anywhere, within a
// character too. The error says that no text that begins like this is JSON; it
// is Complaints of one complaint, with its place. From then on every call
// returns it.
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

// Complete reports whether the value has ended. That of a number alone has not
// before something follows it: more digits may come.
func (p *Prefix) Complete() bool { return p.reader.Complete() }

// Value returns the part of the value that is complete so far, with numbers as
// json.Number: objects and arrays that are still open have those of their
// properties and items that are complete, or open in turn. It is false while
// there is none. After an error it is the value before that.
//
// What was returned does not change with the next piece. Parts of it may be
// returned again: don't change them.
func (p *Prefix) Value() (any, bool) { return p.reader.Value(p.OpenStrings) }

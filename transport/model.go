package transport

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"unicode/utf8"
)

// maxModel is how many bytes a model's name has at most, as it is written. A
// longer one names no model.
const maxModel = 200

// modelInBody returns the string under the first "model" at the top of a JSON
// object; "" if there is none. A body may hold megabytes of pictures, before or
// after it: what is read is not kept, and nothing is read after the find.
func modelInBody(content io.Reader) string {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.where, s.quoted, s.escaped = before, false, false
	for empty := 0; empty < maxEmpty; {
		n, err := content.Read(s.piece[:])
		if s.scan(s.piece[:n]) {
			return s.found()
		}
		if err != nil {
			break
		}
		if empty++; n > 0 {
			empty = 0
		}
	}
	return ""
}

// maxEmpty is how often a reader may read nothing in a row, as in bufio.
const maxEmpty = 100

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// scanner looks for "model" in JSON that comes in pieces. It does not check that
// it is JSON; in what is none it finds something or nothing.
type scanner struct {
	piece [8 << 10]byte

	where   place
	depth   int    // of the brackets below the top
	quoted  bool   // within a string
	escaped bool   // after its backslash
	text    []byte // of a string that matters, as it is written, without its quotes
}

// place is where in the text the scanner is.
type place int

const (
	before place = iota // the object
	key                 // before a key at the top, or in it
	colon               // after a key at the top that is not "model"
	value               // in such a key's value
	wanted              // after the key "model", or in its value
	over                // the model was found
	missed              // there is none
)

// scan takes the next piece, and reports whether there is nothing more to look
// for.
func (s *scanner) scan(piece []byte) (done bool) {
	for len(piece) > 0 && s.where < over {
		if s.quoted && s.where != value {
			piece = s.take(piece)
			continue
		}
		if s.quoted {
			piece = s.skip(piece)
			continue
		}
		s.step(piece[0])
		piece = piece[1:]
	}
	return s.where >= over
}

// found returns the model's name.
func (s *scanner) found() string {
	if s.where != over || len(s.text) > maxModel-len(`""`) {
		return ""
	}
	return unquoted(s.text)
}

// step takes a byte outside of strings.
func (s *scanner) step(c byte) {
	if c == ' ' || c == '\n' || c == '\r' || c == '\t' {
		return
	}
	switch s.where {
	case before:
		s.where, s.depth = missed, 0
		if c == '{' {
			s.where = key
		}
	case key:
		switch c {
		case '"':
			s.begin()
		case '}':
			s.where = missed
		}
	case colon:
		s.where = value
	case wanted:
		switch c {
		case ':':
		case '"':
			s.begin()
		default:
			s.where = missed // no string names a model
		}
	case value:
		s.pass(c)
	}
}

// pass takes a byte of a value that does not matter.
func (s *scanner) pass(c byte) {
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.depth--; s.depth < 0 {
			s.where = missed
		}
	case ',':
		if s.depth == 0 {
			s.where = key
		}
	}
}

func (s *scanner) begin() { s.quoted, s.text = true, s.text[:0] }

// take takes bytes of a string that matters, and returns what follows them.
func (s *scanner) take(piece []byte) []byte {
	for i, c := range piece {
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\':
			s.escaped = true
		case c == '"':
			s.quoted = false
			s.taken()
			return piece[i+1:]
		}
		if len(s.text) < maxModel {
			s.text = append(s.text, c)
		}
	}
	return nil
}

// taken is the end of a string that matters.
func (s *scanner) taken() {
	switch {
	case s.where == wanted:
		s.where = over
	case unquoted(s.text) == "model":
		s.where = wanted
	default:
		s.where = colon
	}
}

// skip passes over bytes of a string that does not matter, and returns what
// follows them. A picture is one string: it is passed over as fast as memory
// is read.
func (s *scanner) skip(piece []byte) []byte {
	if s.escaped {
		s.escaped, piece = false, piece[1:]
	}
	for from := 0; ; {
		end := bytes.IndexByte(piece[from:], '"')
		if end < 0 {
			end = len(piece)
		} else {
			end += from
		}
		for from <= end { // the quote at end counts, if no backslash is before it
			escape := bytes.IndexByte(piece[from:end], '\\')
			switch {
			case escape >= 0:
				from += escape + 2
			case end == len(piece):
				return nil
			default:
				s.quoted = false
				return piece[end+1:]
			}
		}
		if from > len(piece) {
			s.escaped = true
			return nil
		}
	}
}

// unquoted returns what a string of JSON says, given without its quotes.
func unquoted(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return string(text)
	}
	var said string
	_ = json.Unmarshal([]byte(`"`+string(text)+`"`), &said) // what is not a string says nothing
	return said
}

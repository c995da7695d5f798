package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
)

// Event is an event of a stream.
type Event struct {
	Type string // the field event; "" if there is none
	Data []byte // without white space around it; valid until the next event
	// Stray says that Data is not an event, but text found instead of one: an error
	// often arrives like this, as JSON over several lines.
	Stray bool
}

// doneMark is the data of the event that ends a stream of OpenAI's. Other servers send
// it too, also twice, and before the end.
const doneMark = "[DONE]"

// events reads server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html) as they are sent,
// which differs from the standard:
//
//   - a carriage return alone does not end a line;
//   - the last event needs no empty line after it;
//   - an event whose data is whole JSON ends where the data, or the name, of another
//     begins, with or without an empty line between them;
//   - the field error is an event of that name;
//   - text that is not a field is not dropped.
//
// Comments, and the fields id and retry, are ignored. An event without data is
// skipped. An error of reading the body ends the events.
func events(body io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := scanner{yield: yield}
		lines := bufio.NewReader(body)
		for start := true; ; start = false {
			line, err := readLine(lines, &s.long)
			if err != nil && err != io.EOF {
				yield(Event{}, err)
				return
			}
			if start {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			if !s.line(line) {
				return
			}
			if err == io.EOF {
				s.dispatch()
				return
			}
		}
	}
}

// scanner is the state of reading events: the fields of the event that has begun.
type scanner struct {
	yield             func(Event, error) bool
	name, next        string // next came after the data, and may be that of the next event
	data, stray, long bytes.Buffer
}

// line adds a line. It reports whether to go on.
func (s *scanner) line(line []byte) bool {
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "":
		return len(line) > 0 || s.dispatch() // a comment begins with the colon
	case "data", "error":
		if s.data.Len() > 0 && (string(field) == "error" || begins(value) && whole(s.data.Bytes())) {
			next := s.next
			s.next = ""
			if !s.dispatch() {
				return false
			}
			s.name = next
		}
		if string(field) == "error" {
			s.name = "error"
		}
		s.data.Write(value)
		s.data.WriteByte('\n')
	case "event":
		if s.data.Len() > 0 {
			s.next = string(value)
		} else {
			s.name = string(value)
		}
	case "id", "retry":
	default:
		s.stray.Write(line)
		s.stray.WriteByte('\n')
	}
	return true
}

// begins reports whether the data of an event may begin with text.
func begins(text []byte) bool {
	text = bytes.TrimSpace(text)
	return bytes.HasPrefix(text, []byte("{")) || string(text) == doneMark
}

// whole reports whether data needs no further line.
func whole(data []byte) bool {
	data = bytes.TrimSpace(data)
	return string(data) == doneMark || json.Valid(data)
}

// dispatch ends an event and yields it, if it has data, and the text that was found
// before its end. It reports whether to go on.
func (s *scanner) dispatch() bool {
	if s.name == "" {
		s.name = s.next
	}
	e := Event{Type: s.name, Data: bytes.TrimSpace(s.data.Bytes())}
	stray := bytes.TrimSpace(s.stray.Bytes())
	goOn := (len(e.Data) == 0 || s.yield(e, nil)) && (len(stray) == 0 || s.yield(Event{Data: stray, Stray: true}, nil))
	s.name, s.next = "", ""
	s.data.Reset()
	s.stray.Reset()
	return goOn
}

// readLine reads a line without its end. The line is valid until the next one, and
// is copied to long only if it does not fit the reader's buffer. (A bufio.Scanner
// would search a long line again for each piece that arrives.)
func readLine(r *bufio.Reader, long *bytes.Buffer) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long.Reset()
		for err == bufio.ErrBufferFull {
			long.Write(line)
			line, err = r.ReadSlice('\n')
		}
		long.Write(line)
		line = long.Bytes()
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
}

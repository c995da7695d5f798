package asis

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// Change is what is sent differently from a body.
type Change struct {
	// Model is the name of the model as JSON: a quoted string.
	Model []byte
	// Streams says that the protocol's body has the field stream.
	Streams bool
	// Stream is the value that stream has to have.
	Stream bool
	// Usage asks for the usage of a stream by stream_options. A request for a whole answer is
	// sent without stream_options, which servers refuse there.
	Usage bool
	// Named says that the model is named elsewhere, in the address: it is not added to a body
	// without it.
	Named bool
}

var errNotObject = errors.New("the body must be a JSON object")

// Apply returns the body as it is sent, in pieces, which share the memory of body; and
// whether the usage was asked for and had not been. A name that is there twice is changed
// twice: servers differ in which one counts.
func (c Change) Apply(body []byte) (pieces [][]byte, added bool, err error) {
	open := skipSpace(body, 0)
	if open >= len(body) || body[open] != '{' {
		return nil, false, errNotObject
	}
	e := edit{body: body, done: open + 1}
	var model, stream, options bool
	err = members(body, open, func(name []byte, from, to int) {
		switch value := body[from:to]; string(name) {
		case "model":
			model = true
			e.replace(from, to, c.Model)
		case "stream":
			if c.Streams {
				stream = true
				e.replace(from, to, literal(c.Stream))
			}
		case "stream_options":
			options = true
			switch {
			case c.Streams && !c.Stream:
				e.replace(from, to, null)
			case c.Usage && bytes.Equal(value, null):
				e.replace(from, to, wantsUsage)
				added = true
			case c.Usage && value[0] == '{':
				added = e.include(from) || added
			}
		}
	})
	if err != nil {
		return nil, false, err
	}
	var more []byte
	if !model && !c.Named {
		more = slices.Concat(more, []byte(`,"model":`), c.Model)
	}
	if !stream && c.Streams && c.Stream {
		more = append(more, `,"stream":true`...)
	}
	if !options && c.Usage {
		more = slices.Concat(more, []byte(`,"stream_options":`), wantsUsage)
		added = true
	}
	return e.pieces(open, more), added, nil
}

var (
	null       = []byte("null")
	yes, no    = []byte("true"), []byte("false")
	wantsUsage = []byte(`{"include_usage":true}`)
	include    = []byte(`"include_usage":true`)
)

func literal(b bool) []byte {
	if b {
		return yes
	}
	return no
}

// edit is a body on its way to its pieces.
type edit struct {
	body []byte
	done int // how much of body is in parts, counted from the start of the object
	all  [][]byte
}

func (e *edit) replace(from, to int, by []byte) {
	e.all = append(e.all, e.body[e.done:from], by)
	e.done = to
}

// include makes an object at from ask for the usage. It reports whether it did not.
func (e *edit) include(from int) (added bool) {
	there := false
	_ = members(e.body, from, func(name []byte, from, to int) { // within what was read without an error
		if string(name) != "include_usage" {
			return
		}
		there = true
		if !bytes.Equal(e.body[from:to], yes) {
			added = true
			e.replace(from, to, yes)
		}
	})
	if there {
		return added
	}
	e.replace(from+1, from+1, include)
	if e.body[skipSpace(e.body, from+1)] != '}' {
		e.all = append(e.all, []byte(","))
	}
	return true
}

// pieces returns all of the body. more are members to add, each after a comma.
func (e *edit) pieces(open int, more []byte) [][]byte {
	if len(more) > 0 {
		at := skipSpace(e.body, open+1)
		first := more[1:]
		if e.body[at] != '}' {
			first = append(first, ',')
		}
		e.all = slices.Insert(e.all, 0, e.body[open:open+1], first)
	} else {
		e.all = slices.Insert(e.all, 0, e.body[open:open+1])
	}
	return append(e.all, e.body[e.done:])
}

// members calls each with the name of each member of the object that begins at open, and
// where its value is. The body is valid JSON; what is not in the form of an object is an
// error, and never a panic.
func members(body []byte, open int, each func(name []byte, from, to int)) error {
	i := skipSpace(body, open+1)
	if i < len(body) && body[i] == '}' {
		return nil
	}
	for i < len(body) && body[i] == '"' {
		end := skipString(body, i)
		colon := skipSpace(body, end)
		if colon >= len(body) || body[colon] != ':' {
			return errNotObject
		}
		from := skipSpace(body, colon+1)
		to := skipValue(body, from)
		if to == from || to >= len(body) { // a closing brace is after it
			return errNotObject
		}
		each(nameOf(body[i:end]), from, to)
		if i = skipSpace(body, to); i >= len(body) {
			return errNotObject
		}
		if body[i] == '}' {
			return nil
		}
		if body[i] != ',' {
			return errNotObject
		}
		i = skipSpace(body, i+1)
	}
	return errNotObject
}

// nameOf returns the text of a quoted name.
func nameOf(quoted []byte) []byte {
	var name string
	if bytes.IndexByte(quoted, '\\') >= 0 && json.Unmarshal(quoted, &name) == nil {
		return []byte(name)
	}
	return quoted[1 : len(quoted)-1]
}

func skipSpace(body []byte, i int) int {
	for i < len(body) && (body[i] == ' ' || body[i] == '\n' || body[i] == '\r' || body[i] == '\t') {
		i++
	}
	return i
}

// skipString returns where the string ends that begins at i. It takes long ones, such as
// pictures, at the speed of a search for a byte.
func skipString(body []byte, i int) int {
	for at := i + 1; ; {
		n := bytes.IndexByte(body[at:], '"')
		if n < 0 {
			return len(body)
		}
		at += n
		escapes := 0
		for body[at-1-escapes] == '\\' {
			escapes++
		}
		if at++; escapes%2 == 0 {
			return at
		}
	}
}

// skipValue returns where the value ends that begins at i.
func skipValue(body []byte, i int) int {
	for depth := 0; i < len(body); {
		switch body[i] {
		case '"':
			i = skipString(body, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

package chaos

import (
	"bytes"
	"slices"
	"strconv"
)

// skipped are lines that a reader of events must skip
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). OpenRouter sends the
// first.
var skipped = [][]byte{[]byte(": OPENROUTER PROCESSING\n\n"), []byte(":\n\n"), []byte("retry: 3000\nunknown: field\n\n"), []byte("\n\n")}

// garbage is neither JSON nor an event.
var garbage = []byte("\x00\xff}{ no event, no field, no JSON\n\n")

// halfAnEvent is an event that ends too early.
func halfAnEvent(whole []byte) []byte {
	return append(slices.Clone(whole[:len(whole)/2]), "\n\n"...)
}

// interleaved puts one of the pieces in between before each piece of a stream, in
// rotation.
func interleaved(pieces, between [][]byte) [][]byte {
	var out [][]byte
	for i, piece := range pieces {
		out = append(out, between[i%len(between)], piece)
	}
	return out
}

// The property that makes a body huge.
const padBegin, padEnd = `"padding":"`, `",`

// pad adds size bytes to the reply, in its first JSON object if it has one.
func (r *reply) pad(size int) {
	if len(r.pieces) == 0 {
		return
	}
	first := r.pieces[0]
	r.fillAt, r.fill = len(first), size
	if i := bytes.IndexByte(first, '{'); i >= 0 {
		r.pieces[0] = slices.Concat(first[:i+1], []byte(padBegin+padEnd), first[i+1:])
		r.fillAt = i + 1 + len(padBegin)
	}
	if r.header.Get("Content-Length") != "" {
		length := size
		for _, piece := range r.pieces {
			length += len(piece)
		}
		r.header.Set("Content-Length", strconv.Itoa(length))
	}
}

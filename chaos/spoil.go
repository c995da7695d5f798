package chaos

import (
	"bytes"
	"slices"
	"strconv"
)

// skipped are the lines that a reader of events must skip
// (html.spec.whatwg.org/multipage/server-sent-events.html), and that
// OpenRouter sends.
var skipped = [][]byte{[]byte(": OPENROUTER PROCESSING\n\n"), []byte(":\n\n"), []byte("retry: 3000\nunknown: field\n\n"), []byte("\n\n")}

// garbage is neither JSON nor an event.
var garbage = []byte("\x00\xff}{ no event, no field, no JSON\n\n")

// halfAnEvent is an event that ends too early.
func halfAnEvent(whole []byte) []byte {
	return append(slices.Clone(whole[:len(whole)/2]), "\n\n"...)
}

// interleaved puts pieces between those of a stream, each in its turn.
func interleaved(pieces, between [][]byte) [][]byte {
	var out [][]byte
	for i, piece := range pieces {
		out = append(out, between[i%len(between)], piece)
	}
	return out
}

// The member that makes a body huge: the rest of its JSON stays as it is.
const padBegin, padEnd = `"padding":"`, `",`

// pad makes the reply so large, inside of its first JSON object if it has one.
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

package body

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

// A body is checked to be JSON once, and then taken apart without a copy: with encoding/json
// each level would be scanned twice and copied, and a picture of 4 MiB has six around it
// (200 ms, here 10).

// pastSpace returns the index of the first byte from i on that is not white space.
func pastSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// past returns the index after the value that begins at i, in valid JSON.
func past(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = pastText(raw, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++ // within an object or a list
			continue
		default: // a number, true, false or null
			for i < len(raw) && bytes.IndexByte([]byte(" \n\t\r,:]}"), raw[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// pastText returns the index after the string that begins at i, in valid JSON.
func pastText(raw []byte, i int) int {
	for from := i + 1; ; {
		quote := bytes.IndexByte(raw[from:], '"')
		if quote < 0 {
			return len(raw)
		}
		slashes, at := 0, from+quote
		for raw[at-1-slashes] == '\\' {
			slashes++
		}
		if from = at + 1; slashes%2 == 0 {
			return from
		}
	}
}

// fieldsIn yields the fields of an object in valid JSON, in their order.
func fieldsIn(raw []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		for i := pastSpace(raw, 1); i < len(raw) && raw[i] == '"'; {
			name := i
			i = pastText(raw, i)
			named := unquoted(raw[name:i])
			i = pastSpace(raw, pastSpace(raw, i)+1) // the colon
			value := i
			i = past(raw, i)
			if !yield(named, raw[value:i:i]) {
				return
			}
			if i = pastSpace(raw, i); i < len(raw) && raw[i] == ',' {
				i = pastSpace(raw, i+1)
			}
		}
	}
}

// itemsIn yields the items of a list in valid JSON.
func itemsIn(raw []byte) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := pastSpace(raw, 1); i < len(raw) && raw[i] != ']'; {
			value := i
			i = past(raw, i)
			if !yield(raw[value:i:i]) {
				return
			}
			if i = pastSpace(raw, i); i < len(raw) && raw[i] == ',' {
				i = pastSpace(raw, i+1)
			}
		}
	}
}

// unquoted returns the text of a string in valid JSON.
func unquoted(raw []byte) string {
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain)
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is a string
	return s
}

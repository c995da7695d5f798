package llmcall

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"llmcall/internal/say"
	"llmcall/validate"
)

// maxPlaces is the maximum number of places of a long answer that are shown.
const maxPlaces = 12

// excerpt shortens a text to n code points, and keeps what is around the places of
// the complaints if they are known.
func excerpt(text string, complaints []validate.Complaint, n int) string {
	if len(text) <= n {
		return text
	}
	return say.Around(text, placesIn(text, complaints), n)
}

// placesIn returns the offsets of the complaints in the text, sorted: at most
// maxPlaces, those of the first complaints.
func placesIn(text string, complaints []validate.Complaint) []int {
	var places []int
	for _, c := range complaints {
		at, ok := 0, false
		switch {
		case c.Line > 0:
			at, ok = lineOffset(text, c.Line, c.Column)
		case c.Pointer != "":
			at, ok = pointerOffset(text, c.Pointer)
		}
		if ok {
			places = append(places, at)
		}
		if len(places) == maxPlaces {
			break
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// lineOffset returns the offset of a line and column; ok is false if there is no
// such line.
func lineOffset(text string, line, column int) (at int, ok bool) {
	for range line - 1 {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return 0, false
		}
		at += n + 1
	}
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at, true
}

// pointerOffset returns the offset of a JSON pointer's value in a text that
// contains JSON. If the value is missing, it is that of the deepest existing parent.
func pointerOffset(text, pointer string) (int, bool) {
	begin := strings.IndexAny(text, "{[")
	if begin < 0 {
		return 0, false
	}
	names := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, name := range names {
		names[i] = say.Unescape(name)
	}
	return begin + int(follow(json.NewDecoder(strings.NewReader(text[begin:])), names)), true
}

// follow returns the offset before the value that names lead to.
func follow(d *json.Decoder, names []string) int64 {
	at := d.InputOffset()
	if len(names) == 0 {
		return at
	}
	token, err := d.Token()
	if err != nil {
		return at
	}
	for i := 0; d.More(); i++ {
		key := strconv.Itoa(i)
		if token == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return at
			}
			key, _ = name.(string)
		}
		if key == names[0] {
			return follow(d, names[1:])
		}
		var other json.RawMessage
		if d.Decode(&other) != nil {
			return at
		}
	}
	return at
}

package llmcall

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"llmcall/validate"
)

// What is shown of a long answer: its beginning and end, and the surroundings
// of the places that are complained of, in bytes.
const (
	shownAtBegin = 1_000
	shownAtEnd   = 500
	shownAround  = 400 // before a place, and behind it
	maxPlaces    = 12
)

// excerpt returns the text, shortened to n code points where it is longer: to
// what is around the places that are complained of, if they are known.
func excerpt(text string, complaints []validate.Complaint, n int) string {
	if len(text) <= n || utf8.RuneCountInString(text) <= n {
		return text
	}
	places := placesIn(text, complaints)
	if len(places) == 0 || shownAtBegin+shownAtEnd+len(places)*2*shownAround > n {
		return middle(text, n)
	}
	type span struct{ from, to int }
	spans := []span{{0, shownAtBegin}}
	for _, at := range places {
		next := span{max(0, at-shownAround), min(len(text), at+shownAround)}
		if last := &spans[len(spans)-1]; next.from <= last.to {
			last.to = max(last.to, next.to)
		} else {
			spans = append(spans, next)
		}
	}
	if last := &spans[len(spans)-1]; len(text)-shownAtEnd <= last.to {
		last.to = len(text)
	} else {
		spans = append(spans, span{len(text) - shownAtEnd, len(text)})
	}
	var b strings.Builder
	end := 0
	for _, s := range spans {
		for s.from > end && s.from < len(text) && !utf8.RuneStart(text[s.from]) {
			s.from--
		}
		for s.to < len(text) && !utf8.RuneStart(text[s.to]) {
			s.to++
		}
		if s.from > end {
			fmt.Fprintf(&b, "\n… (%d characters left out) …\n", utf8.RuneCountInString(text[end:s.from]))
		}
		b.WriteString(text[s.from:s.to])
		end = s.to
	}
	return b.String()
}

// placesIn returns where in the text the complaints are, in order; at most
// maxPlaces, of the first complaints.
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

// lineOffset returns the offset of a line's column; ok is false if there is no
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

// pointerOffset returns where a JSON pointer leads in a text that has JSON in it,
// or where the deepest part of it does: what is missing has no place.
func pointerOffset(text, pointer string) (int, bool) {
	begin := strings.IndexAny(text, "{[")
	if begin < 0 {
		return 0, false
	}
	names := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, name := range names {
		names[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	return begin + int(follow(json.NewDecoder(strings.NewReader(text[begin:])), names)), true
}

// follow returns the offset behind which the value stands that names lead to.
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

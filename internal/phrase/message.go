package phrase

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// The frame of a message that says what is wrong with an answer: a number before
// each complaint if there are several, its place, the problem, on a line of its own
// how to fix it, and at the end the request to try again.
const (
	FixLabel = "Fix: "
	TryAgain = "Try again."
)

// Place is where in an answer something is wrong.
type Place struct {
	Pointer      string // a JSON pointer (RFC 6901); "" is the whole value
	Line, Column int    // from 1; 0 is not known; a Column alone is in an answer of one line
}

// String writes the place that goes before a problem, without the colon between
// them; "" if nothing is known.
func (p Place) String() string {
	var parts []string
	if p.Pointer != "" {
		parts = append(parts, "At "+p.Pointer)
	}
	switch {
	case p.Line > 0 && p.Column > 0:
		parts = append(parts, fmt.Sprintf("Line %d, column %d", p.Line, p.Column))
	case p.Line > 0:
		parts = append(parts, fmt.Sprintf("Line %d", p.Line))
	case p.Column > 0:
		parts = append(parts, fmt.Sprintf("Column %d", p.Column))
	}
	return strings.Join(parts, ": ")
}

// CutPlace reads the place at the beginning of a text, with the colon after it.
func CutPlace(text string) (place Place, rest string) {
	m := placeWords().FindStringSubmatch(text)
	place.Pointer = m[1]
	place.Line, _ = strconv.Atoi(m[2])
	place.Column, _ = strconv.Atoi(m[3] + m[4]) // one of them matches
	return place, text[len(m[0]):]
}

var placeWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:At (/[^\n]*?): )?(?:Line (\d+)(?:, column (\d+))?: |Column (\d+): )?`)
})

// CutFix splits a complaint into the problem and how to fix it. The label may be
// indented.
func CutFix(complaint string) (problem, how string, ok bool) {
	at := fixWords().FindStringIndex(complaint)
	if at == nil {
		return complaint, "", false
	}
	return complaint[:at[0]], complaint[at[1]:], true
}

var fixWords = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\n\s*` + FixLabel) })

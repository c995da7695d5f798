// Package say shortens texts for those who read them: a model, or whoever reads
// a log. What is left out is always marked, and no character is cut in two.
//
// A long text is shortened to its beginning ([Short], [FirstLine], [Line]), to both ends
// ([Middle], [Halves]), or to what is around some places in it ([Around]). [List] and
// [More] shorten an enumeration. [Pointer] and [Tokens] write and read JSON pointers.
package say

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis marks that a text went on.
const ellipsis = "…"

// Short returns s, or its first n code points and "…" if it has more.
func Short(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + ellipsis
		}
		n--
	}
	return s
}

// FirstLine returns the first line of s without the white space around it, cut
// after n code points as [Short] does.
func FirstLine(s string, n int) string {
	line, _, _ := strings.Cut(Short(s, n+1), "\n")
	return Short(strings.TrimSpace(line), n)
}

// isWord reports whether a text has nothing but visible ASCII, as most names do.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Line returns a text from outside as one line of at most limit bytes without control
// characters: each run of white space and of unprintable characters becomes one space. A
// longer text ends in "…"; if there is no room for that, the result is "".
func Line(s string, limit int) string {
	if len(s) <= limit && isWord(s) {
		return s
	}
	visible := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r // U+FFFD, which invalid UTF-8 becomes, among them
		}
		return ' '
	}, s)
	s = strings.Join(strings.Fields(visible), " ")
	if len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	if end < 0 {
		return ""
	}
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// Middle returns s, with its middle left out if it has more than n code points.
func Middle(s string, n int) string {
	head, tail, left := Halves(s, n)
	if left == 0 {
		return s
	}
	return head + gap(left) + tail
}

// Halves returns the beginning and the end of s, two thirds and one third of n
// code points, and how many are left out between them. If s has no more than n,
// head is all of it.
func Halves(s string, n int) (head, tail string, left int) {
	if len(s) <= n {
		return s, "", 0
	}
	if left = utf8.RuneCountInString(s) - n; left <= 0 {
		return s, "", 0
	}
	from, to := 0, len(s)
	for range n * 2 / 3 {
		_, size := utf8.DecodeRuneInString(s[from:])
		from += size
	}
	for range n - n*2/3 {
		_, size := utf8.DecodeLastRuneInString(s[:to])
		to -= size
	}
	return s[:from], s[to:], left
}

func gap(left int) string { return fmt.Sprintf("\n… (%d characters left out) …\n", left) }

// What Around shows: the beginning and the end of the text, and what is around
// each place, in bytes.
const (
	shownAtBegin = 1_000
	shownAtEnd   = 500
	shownAround  = 400 // before a place, and after it
)

// Around returns s, shortened if it has more than n code points: to its beginning,
// its end, and what is around the places, which are offsets in ascending order.
// Where there are no places, or too many for n, it is [Middle].
func Around(s string, places []int, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	if len(places) == 0 || shownAtBegin+shownAtEnd+len(places)*2*shownAround > n {
		return Middle(s, n)
	}
	type span struct{ from, to int }
	spans := []span{{0, shownAtBegin}}
	show := func(next span) {
		if last := &spans[len(spans)-1]; next.from <= last.to {
			last.to = max(last.to, next.to)
			return
		}
		spans = append(spans, next)
	}
	for _, at := range places {
		show(span{max(0, at-shownAround), min(len(s), at+shownAround)})
	}
	show(span{len(s) - shownAtEnd, len(s)})
	var b strings.Builder
	end := 0
	for _, next := range spans {
		for next.from > end && next.from < len(s) && !utf8.RuneStart(s[next.from]) {
			next.from--
		}
		for next.to < len(s) && !utf8.RuneStart(s[next.to]) {
			next.to++
		}
		if next.from > end {
			b.WriteString(gap(utf8.RuneCountInString(s[end:next.from])))
		}
		b.WriteString(s[next.from:next.to])
		end = next.to
	}
	return b.String()
}

// MaxListed bounds what one check lists: complaints, names, allowed values. A
// feedback of hundreds of lines helps no model, and is paid for in tokens.
const MaxListed = 20

// Count writes a number and the noun that agrees with it.
func Count(n int, singular, plural string) string {
	if n == 1 {
		return "1 " + singular
	}
	return strconv.Itoa(n) + " " + plural
}

// More counts what a list leaves out ("and 3 more violations"); "" if n is not
// positive.
func More(n int, singular, plural string) string {
	if n <= 0 {
		return ""
	}
	return "and " + Count(n, "more "+singular, "more "+plural)
}

// Counted returns how many things a line of a list is: as many as [More] counts in it, else
// one.
func Counted(line string) int {
	var n int
	if _, err := fmt.Sscanf(line, "and %d more ", &n); err == nil && n > 0 {
		return n
	}
	return 1
}

// List joins items with commas: the first n, and how many more there are.
func List(items []string, n int) string {
	if left := len(items) - n; left > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:n], ", "), left)
	}
	return strings.Join(items, ", ")
}

// Package nearest finds the known name that was most likely meant by an unknown one, for
// error messages that suggest it.
package nearest

import (
	"slices"
	"strconv"
	"strings"
)

// longest is how many letters of a name are compared: the cost is their square.
const longest = 60

// Name returns the index of the first name with the fewest [Edits] from the one given.
// near is false if they are more than a third of the given letters, too many for a slip.
func Name[S ~string](given string, names []S) (at int, near bool) {
	letters := lettersOf(given)
	best := len(letters)/3 + 1
	for i, n := range names {
		if d := edits(letters, lettersOf(string(n))); d < best {
			best, at, near = d, i, true
		}
	}
	return at, near
}

// Sorted returns all names, the nearest first, and whether that one is near, as [Name]
// does. If none is, those that share a word with the one given come first: who writes
// "human_review" wants "max_attempts_before_human", not "max_delay".
func Sorted(given string, names []string) (sorted []string, near bool) {
	_, near = Name(given, names)
	letters := lettersOf(given)
	distance := make(map[string]int, len(names))
	for _, n := range names {
		distance[n] = edits(letters, lettersOf(n))
		if common := shared(letters, lettersOf(n)); !near && common >= leastWord {
			distance[n] -= 2 * longest * common
		}
	}
	sorted = slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return distance[a] - distance[b] })
	return sorted, near
}

// leastWord is the number of letters from which a run of them is a word.
const leastWord = 4

// shared returns the length of the longest run of letters that both have.
func shared(a, b []rune) int {
	most := 0
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for i := range a {
		for j := range b {
			row[j+1] = 0
			if a[i] == b[j] {
				row[j+1] = last[j] + 1
				most = max(most, row[j+1])
			}
		}
		last, row = row, last
	}
	return most
}

// List returns "a, b, c", all names in their order, but the one that is near first, as in
// [Name]. Case is ignored.
func List[S ~string](given S, names []S) string {
	all := make([]string, len(names))
	lower := make([]string, len(names))
	for i, n := range names {
		all[i], lower[i] = string(n), strings.ToLower(string(n))
	}
	if at, near := Name(strings.ToLower(string(given)), lower); near {
		meant := all[at]
		all = slices.Insert(slices.Delete(all, at, at+1), 0, meant)
	}
	return strings.Join(all, ", ")
}

// Question returns ", did you mean NAME?" if a name is near, as in [Name], or "".
// Case is ignored.
func Question[S ~string](given string, names []S) string {
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(string(n))
	}
	at, near := Name(strings.ToLower(given), lower)
	if !near {
		return ""
	}
	return ", did you mean " + string(names[at]) + "?"
}

// Shown returns the given name in quotes, shortened, with the [Question].
func Shown[S ~string](given S, names []S) string {
	shown := strings.ToValidUTF8(string(given), "\uFFFD")
	if letters := []rune(shown); len(letters) > longest {
		shown = string(letters[:longest]) + "…"
	}
	return strconv.Quote(shown) + Question(string(given), names)
}

// Edits returns how many letters must be inserted, deleted, replaced or swapped with their
// neighbour to turn a into b: the optimal string alignment distance
// (F. Damerau, "A technique for computer detection and correction of spelling
// errors", CACM 1964). Only the first 60 letters count.
func Edits(a, b string) int { return edits(lettersOf(a), lettersOf(b)) }

func lettersOf(s string) []rune {
	letters := make([]rune, 0, min(len(s), longest))
	for _, r := range s {
		if len(letters) == longest {
			break
		}
		letters = append(letters, r)
	}
	return letters
}

func edits(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range b {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

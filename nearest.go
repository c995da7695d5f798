package llmcall

import "slices"

// nearest returns the known names with those first that are most like the one
// given, and whether the first is so like it that it may be meant.
func nearest(name string, known []string) (sorted []string, near bool) {
	name = name[:min(len(name), 100)] // its cost is the square of this
	sorted = slices.Clone(known)
	slices.SortStableFunc(sorted, func(a, b string) int { return edits(name, a) - edits(name, b) })
	return sorted, len(sorted) > 0 && edits(name, sorted[0]) <= max(2, len(name)/4)
}

// edits returns how many bytes are to be inserted, deleted, replaced or swapped
// with their neighbour to make b of a: the optimal string alignment distance
// (F. Damerau, "A technique for computer detection and correction of spelling
// errors", CACM 1964).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
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

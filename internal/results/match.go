package results

import (
	"cmp"
	"slices"
)

// Match is what of an input is done.
type Match struct {
	// Done is how many rows have a line, those that failed too.
	Done int
	// Failed is how many of them have an error, by its reason.
	Failed map[string]int
	// Retried is how many lines with an error are not counted as done, since their rows are
	// to be asked again.
	Retried int
	// Stale is how many lines are of no row of the input: the row, the prompt, the models,
	// the checks or the settings have changed, or the row is gone. They are left out when
	// the file is put into order.
	Stale int
}

// Match compares the rows of an input, by their keys in the order of the rows, with the
// lines of the file, and says which are done. Rows with the same key are done as often as
// there are lines with it; an answer is taken before an error, and a later line before an
// earlier one. Again says by the reason of an error whether its row is to be asked again.
// Default nil: none is.
func (f *File) Match(keys []Key, again func(reason string) bool) Match {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := Match{Failed: map[string]int{}}
	f.lineOf = make([]int64, len(keys))
	rows := make([]uint32, len(keys))
	for i := range rows {
		f.lineOf[i], rows[i] = noLine, uint32(i)
	}
	slices.SortFunc(rows, func(a, b uint32) int { return cmp.Or(cmp.Compare(keys[a], keys[b]), cmp.Compare(a, b)) })
	// Within a key: answers before errors, and later ones first.
	slices.SortFunc(f.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(min(a.reason(), 1), min(b.reason(), 1)), cmp.Compare(b.offset(), a.offset()))
	})
	lines := f.entries
	for len(rows) > 0 || len(lines) > 0 {
		switch {
		case len(rows) == 0 || len(lines) > 0 && lines[0].key < keys[rows[0]]:
			m.Stale++
			lines = lines[1:]
		case len(lines) == 0 || keys[rows[0]] < lines[0].key:
			rows = rows[1:]
		default:
			key := keys[rows[0]]
			equal := 1
			for equal < len(rows) && keys[rows[equal]] == key {
				equal++
			}
			same := 1
			for same < len(lines) && lines[same].key == key {
				same++
			}
			f.pair(&m, rows[:equal], lines[:same], again)
			rows, lines = rows[equal:], lines[same:]
		}
	}
	f.entries = nil
	return m
}

// pair gives the rows of a key its lines, the first of which are taken first.
func (f *File) pair(m *Match, rows []uint32, lines []entry, again func(string) bool) {
	for _, line := range lines[min(len(rows), len(lines)):] {
		if line.reason() == 0 { // an error may have been tried again
			m.Stale++
		}
	}
	lines = lines[:min(len(rows), len(lines))]
	slices.SortFunc(lines, func(a, b entry) int { return cmp.Compare(a.offset(), b.offset()) })
	next := 0
	for _, line := range lines {
		if at := line.reason(); at > 0 {
			reason := f.reasons[at-1]
			if again != nil && again(reason) {
				m.Retried++
				continue
			}
			m.Failed[reason]++
		}
		f.lineOf[rows[next]] = line.offset()
		next++
		m.Done++
	}
}

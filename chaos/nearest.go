package chaos

// oneOf says that one of some names is wanted, and which of them is the nearest
// to what was given, if one is near.
func oneOf[S ~string](given string, names []S) string {
	takes := "one of " + list(names)
	if meant, ok := nearestName(given, names); ok {
		takes += "; the nearest is " + string(meant)
	}
	return takes
}

// nearestName returns the name to which the fewest letters must be changed, at
// most a third of those given.
func nearestName[S ~string](given string, names []S) (meant S, ok bool) {
	const longest = 60
	letters := []rune(firstRunes(given, longest))
	best := len(letters)/3 + 1
	for _, n := range names {
		if d := edits(letters, []rune(string(n))); d < best {
			best, meant, ok = d, n, true
		}
	}
	return meant, ok
}

// edits is the Levenshtein distance: how many letters to insert, leave out or
// change make b of a.
func edits(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

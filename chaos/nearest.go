package chaos

import "llmcall/internal/nearest"

// oneOf says that one of some names is wanted, and which of them is the nearest
// to what was given, if one is near.
func oneOf[S ~string](given string, names []S) string {
	takes := "one of " + list(names)
	if at, near := nearest.Name(given, names); near {
		takes += "; the nearest is " + string(names[at])
	}
	return takes
}

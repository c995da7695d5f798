package providertest

import (
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// DrawObject draws the text of a JSON object. Each member is its name and the texts of its
// usual values. Those whose names are odd may be missing, be there twice, or have a value of
// another type.
func DrawObject(t *rapid.T, odd []string, members ...[]string) string {
	var all []string
	for _, m := range rapid.Permutation(members).Draw(t, "order") {
		name, values, times := m[0], m[1:], 1
		if slices.Contains(odd, name) {
			times = rapid.IntRange(0, 2).Draw(t, "times")
			values = append(slices.Clone(values), `null`, `7`, `"odd"`, `[]`, `{}`, `true`, `1.5`, `[null]`)
		}
		for range times {
			all = append(all, `"`+name+`" : `+rapid.SampledFrom(values).Draw(t, name))
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

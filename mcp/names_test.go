package mcp

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// Whatever servers call their tools, each has a name that providers accept, and of its own;
// one that needs no change has none.
func TestNamesAreAcceptedAndTheirOwn(t *testing.T) {
	accepted := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	rapid.Check(t, func(t *rapid.T) {
		var all []tool
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c_d"}), 1, 3, rapid.ID).Draw(t, "servers") {
			s := &server{settings: settings{name: name}}
			its := rapid.SliceOfDistinct(rapid.OneOf(rapid.StringMatching(`[ab_./]{0,3}`), rapid.StringMatching(`x{62,64}[./y]{0,4}`)), rapid.ID).Draw(t, name)
			for _, each := range its {
				all = append(all, tool{server: s, name: each})
			}
		}
		count := map[string]int{}
		for _, each := range all {
			count[plain(each.name, maxName)]++
		}
		taken := map[string]bool{}
		for i, each := range offered(all) {
			if !accepted.MatchString(each.Name) || taken[each.Name] {
				t.Errorf("%q of %q is not accepted, or there is another", each.Name, all[i].name)
			}
			taken[each.Name] = true
			if own := all[i].name; accepted.MatchString(own) && count[own] == 1 && each.Name != own {
				t.Errorf("%q is called %q", own, each.Name)
			}
		}
	})
}

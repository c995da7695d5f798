package jsontext

import (
	"strings"
	"testing"
	"time"
)

// No damage takes time with the square of its length that is felt: the text is bounded.
func TestNoDamageTakesLong(t *testing.T) {
	for _, unit := range []string{
		`"`, `" `, `"/*`, `"//`, "\"//\n", `"a "`, `"a" `, `'a' b `, `["x`, "[", `{"b":`, "“a” b ", `\`, `\"`, `"\`, "[a", "[a] ", "`", "\"\n", ` "a b" c,`, "{a:", "1 ", "[1 ", "{", "}", `{"a":1}`, "/*", "\u00a0", ",",
		"```\n", "~~~ ", `"a":`, `"a", `,
	} {
		for _, begin := range []string{"", "{'a': [", `{"a": "`, `["`, "Sure: {'a': ", "[1] "} {
			text := begin + strings.Repeat(unit, (maxRepair-len(begin))/len(unit))
			start := time.Now()
			Repair(text)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%q, then %q: %v", begin, unit, took)
			}
		}
	}
}

// Package ecmascript lets a JSON Schema have patterns that only ECMAScript's regular
// expressions have, as JSON Schema recommends: a lookahead, a lookbehind, a reference to a
// group, \u escapes. A program imports it for this effect:
//
//	import _ "llmcall/validate/ecmascript"
//
// Patterns that Go's syntax (RE2) has are still matched by package regexp, in linear time.
// The others are matched by trying, which can take time exponential in the length of a
// text: after 100 ms the check fails, with an error that names the pattern.
package ecmascript

import (
	"fmt"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"llmcall/internal/say"
	"llmcall/validate/internal/patterns"
)

func init() { patterns.Backtracking = compile }

// limit is how long one text may take. A pattern that people write takes microseconds.
const limit = 100 * time.Millisecond

type expression struct{ *regexp2.Regexp }

func compile(source string) (jsonschema.Regexp, error) {
	re, err := regexp2.Compile(source, regexp2.ECMAScript|regexp2.Unicode)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = limit
	return expression{re}, nil
}

// MatchString panics if the time is over: neither true nor false would be right, and the
// interface has no error.
func (e expression) MatchString(text string) bool {
	matches, err := e.Regexp.MatchString(text)
	if err != nil {
		panic(patterns.Because(fmt.Errorf("the pattern %q takes longer than %v on a text of %d bytes: write it without nested repetitions",
			say.Short(e.String(), 60), limit, len(text))))
	}
	return matches
}

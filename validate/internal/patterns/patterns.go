// Package patterns compiles the regular expressions of JSON Schemas.
package patterns

import (
	"regexp"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Backtracking compiles an expression that Go's syntax (RE2) does not have, such as one with
// a lookahead. Package [llmcall/validate/ecmascript] sets it in its init function: a program
// that does not import that does not link its engine. Default nil: there is none.
//
// Its expressions panic with a [TooLong].
var Backtracking func(expression string) (jsonschema.Regexp, error)

// TooLong is the error of an expression that did not come to an end on a text.
type TooLong struct{ error }

// Because returns a [TooLong].
func Because(err error) TooLong { return TooLong{err} }

// Compile compiles an expression of a schema. quick reports whether matching takes time
// linear in the length of a text. The error is that of Go's syntax.
func Compile(expression string) (re jsonschema.Regexp, quick bool, err error) {
	plain, err := regexp.Compile(expression)
	if err == nil {
		return plain, true, nil
	}
	if Backtracking != nil {
		if re, e := Backtracking(expression); e == nil {
			return re, false, nil
		}
	}
	return nil, false, err
}

// Package python adds Python to the check "code" of package [llmcall/validate/code],
// and has the check "python", which is "code:python" under a name of its own. A
// program imports it for this effect:
//
//	import _ "llmcall/validate/code/python"
//
// The parser is that of Brython (https://brython.info), for Python 3.14. It runs in a
// JavaScript interpreter, so Python need not be installed. The first use takes about a
// second. It parses two blocks at a time, at 10 to 40 kB a second each, and stops when
// the context ends.
package python

import (
	"context"
	"errors"

	"llmcall/validate"
	"llmcall/validate/code"
	"llmcall/validate/internal/python"
)

func init() {
	code.MustRegister(code.Language{
		Name: "python", Title: "Python", Labels: []string{"python", "py", "python3", "py3", "ipython"}, Parse: parse, Comments: []string{"#"},
		Words: []string{"import", "from", "pass", "break", "continue", "return", "raise", "del", "assert", "global", "nonlocal", "yield", "await", "lambda",
			"if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class", "async", "match", "case"},
	})
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "python", Example: "python",
			Summary: "the answer, or each of its Python blocks, is Python code that can be parsed",
		},
		Build: func(validate.Params) (validate.Strategy, error) {
			s, err := code.New("python")
			return check{s}, err
		},
	})
}

// check is "code:python" under its own name.
type check struct{ validate.Strategy }

func (check) Name() string { return "python" }

func parse(ctx context.Context, source string) ([]code.Problem, error) {
	err := python.Parse(ctx, source)
	if e, ok := errors.AsType[*python.SyntaxError](err); ok {
		return []code.Problem{{Text: e.Message, Line: e.Line, Column: e.Column}}, nil
	}
	return nil, err
}

// Package javascript adds JavaScript, JSX, TypeScript and TSX to the check "code" of
// package [llmcall/validate/code]. A program imports it for this effect:
//
//	import _ "llmcall/validate/code/javascript"
//
// The parser is that of esbuild (https://esbuild.github.io). "javascript" accepts JSX
// too, since models write it under that label. TypeScript's types are parsed but not
// checked.
package javascript

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"

	"llmcall/validate/code"
)

func init() {
	slashes := []string{"//"}
	words := []string{"break", "continue", "debugger", "export", "import", "return", "throw", "let", "var", "const", "class", "function"}
	typed := append([]string{"type", "interface", "declare", "enum", "namespace"}, words...)
	code.MustRegister(code.Language{
		Name: "javascript", Title: "JavaScript", Labels: []string{"javascript", "js", "mjs", "cjs", "ecmascript", "node", "jsx"},
		Parse: script(api.LoaderJSX), Comments: slashes, Words: words,
	})
	code.MustRegister(code.Language{
		Name: "jsx", Title: "JSX", Labels: []string{"jsx", "javascript", "js"},
		Parse: script(api.LoaderJSX), Comments: slashes, Words: words,
	})
	code.MustRegister(code.Language{
		Name: "typescript", Title: "TypeScript", Labels: []string{"typescript", "ts", "mts", "cts"},
		Parse: script(api.LoaderTS), Comments: slashes, Words: typed,
	})
	code.MustRegister(code.Language{
		Name: "tsx", Title: "TSX", Labels: []string{"tsx", "typescript", "ts"},
		Parse: script(api.LoaderTSX), Comments: slashes, Words: typed,
	})
}

// maxErrors bounds the errors that the parser collects: the check lists 20.
const maxErrors = 20

// script parses JavaScript or TypeScript with esbuild, which loads no other file
// when it transforms a text.
func script(loader api.Loader) func(context.Context, string) ([]code.Problem, error) {
	return func(_ context.Context, source string) ([]code.Problem, error) {
		if tooDeep, line := nested(source); tooDeep {
			return []code.Problem{{Text: fmt.Sprintf("it is nested more than %d deep", maxNested), Line: line, Column: 1}}, nil
		}
		result := api.Transform(source, api.TransformOptions{
			Loader: loader, JSX: api.JSXPreserve, LogLevel: api.LogLevelSilent, LogLimit: maxErrors, Target: api.ESNext,
			TsconfigRaw: `{"compilerOptions": {"experimentalDecorators": true}}`,
		})
		var problems []code.Problem
		for _, e := range result.Errors {
			p := code.Problem{Text: e.Text, Line: 1, Column: 1}
			if at := e.Location; at != nil {
				before := at.LineText[:min(at.Column, len(at.LineText))]
				p.Line, p.Column = at.Line, utf8.RuneCountInString(before)+1
			}
			problems = append(problems, p)
		}
		return problems, nil
	}
}

// maxNested is the deepest nesting of brackets that is parsed: esbuild's parser is
// recursive, and 64 kB of brackets take half a gigabyte of stack.
const maxNested = 500

// nested reports whether brackets are nested too deep, and on which line. It counts
// those in strings too: so many unclosed ones in strings are rare.
func nested(source string) (tooDeep bool, line int) {
	depth, line := 0, 1
	for i := range len(source) {
		switch source[i] {
		case '(', '[', '{':
			if depth++; depth > maxNested {
				return true, line
			}
		case ')', ']', '}':
			depth = max(0, depth-1)
		case '\n':
			line++
		}
	}
	return false, line
}

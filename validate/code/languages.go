package code

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"
	"go.yaml.in/yaml/v4"

	"llmcall/validate"
	"llmcall/validate/internal/python"
	"llmcall/validate/internal/sqlparse"
)

var (
	javaScriptWords = []string{"break", "continue", "debugger", "export", "import", "return", "throw", "let", "var", "const", "class", "function"}
	slashes         = []string{"//"}
)

var languages = map[string]language{
	"go": {
		title: "Go", labels: []string{"go", "golang"}, parse: parseGo, comments: slashes,
		words: []string{"package", "import", "var", "const", "type", "func", "return", "break", "continue", "goto", "fallthrough", "go", "defer"},
	},
	"javascript": {
		title: "JavaScript", labels: []string{"javascript", "js", "mjs", "cjs", "ecmascript", "node", "jsx"},
		parse: script(api.LoaderJSX), comments: slashes, words: javaScriptWords,
	},
	"jsx": {
		title: "JSX", labels: []string{"jsx", "javascript", "js"},
		parse: script(api.LoaderJSX), comments: slashes, words: javaScriptWords,
	},
	"typescript": {
		title: "TypeScript", labels: []string{"typescript", "ts", "mts", "cts"},
		parse: script(api.LoaderTS), comments: slashes, words: append([]string{"type", "interface", "declare", "enum", "namespace"}, javaScriptWords...),
	},
	"tsx": {
		title: "TSX", labels: []string{"tsx", "typescript", "ts"},
		parse: script(api.LoaderTSX), comments: slashes, words: append([]string{"type", "interface", "declare", "enum", "namespace"}, javaScriptWords...),
	},
	"json": {title: "JSON", labels: []string{"json"}, parse: parseJSON},
	"python": {
		title: "Python", labels: []string{"python", "py", "python3", "py3", "ipython"}, parse: parsePython, comments: []string{"#"},
		words: []string{"import", "from", "pass", "break", "continue", "return", "raise", "del", "assert", "global", "nonlocal", "yield", "await", "lambda",
			"if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class", "async", "match", "case"},
	},
	"sql": {
		title: "SQL", labels: []string{"sql", "postgresql", "postgres", "psql", "mysql", "mariadb", "sqlite"},
		parse: parseSQL, comments: []string{"--"},
	},
	"yaml": {title: "YAML", labels: []string{"yaml", "yml"}, parse: parseYAML, comments: []string{"#", "---"}},
}

// parseGo parses a file; where there is no package clause, declarations; else
// statements, as go/format does.
func parseGo(_ context.Context, code string) ([]problem, error) {
	file := func(before, after string) (problems []problem) {
		_, err := parser.ParseFile(token.NewFileSet(), "", before+code+after, parser.SkipObjectResolution)
		var list scanner.ErrorList
		if err == nil || !errors.As(err, &list) {
			return nil
		}
		for _, e := range list {
			line, column := validate.Position(code, e.Pos.Offset-len(before))
			problems = append(problems, problem{e.Msg, line, column})
		}
		return problems
	}
	whole := file("", "")
	if len(whole) == 0 || !strings.Contains(whole[0].text, "expected 'package'") {
		return whole, nil
	}
	declarations := file("package p;", "")
	if len(declarations) == 0 || !strings.Contains(declarations[0].text, "expected declaration") {
		return declarations, nil
	}
	return file("package p; func _() {", "\n\n}"), nil
}

// script parses JavaScript or TypeScript with esbuild, which loads no other file
// when it transforms a text.
func script(loader api.Loader) func(context.Context, string) ([]problem, error) {
	return func(_ context.Context, code string) ([]problem, error) {
		if deep, line := nested(code); deep {
			return []problem{{fmt.Sprintf("it is nested more than %d deep", maxNested), line, 1}}, nil
		}
		result := api.Transform(code, api.TransformOptions{
			Loader: loader, JSX: api.JSXPreserve, LogLevel: api.LogLevelSilent, LogLimit: maxListed, Target: api.ESNext,
			TsconfigRaw: `{"compilerOptions": {"experimentalDecorators": true}}`,
		})
		var problems []problem
		for _, e := range result.Errors {
			p := problem{text: e.Text, line: 1, column: 1}
			if at := e.Location; at != nil {
				before := at.LineText[:min(at.Column, len(at.LineText))]
				p.line, p.column = at.Line, utf8.RuneCountInString(before)+1
			}
			problems = append(problems, p)
		}
		return problems, nil
	}
}

func parseJSON(ctx context.Context, code string) ([]problem, error) {
	v, err := validate.JSON().Check(ctx, &validate.Answer{Text: code})
	var problems []problem
	for _, c := range v.Complaints {
		problems = append(problems, problem{c.Problem, c.Line, c.Column})
	}
	return problems, err
}

func parsePython(ctx context.Context, code string) ([]problem, error) {
	err := python.Parse(ctx, code)
	if e, ok := errors.AsType[*python.SyntaxError](err); ok {
		return []problem{{e.Message, e.Line, e.Column}}, nil
	}
	return nil, err
}

// parseSQL takes what one of the servers can parse.
func parseSQL(ctx context.Context, code string) ([]problem, error) {
	var worst *sqlparse.SyntaxError // of the grammar that came farthest
	for _, dialect := range []sqlparse.Dialect{sqlparse.MySQL, sqlparse.Postgres} {
		_, err := sqlparse.Parse(ctx, dialect, code)
		if err == nil {
			return nil, nil
		}
		wrong, ok := errors.AsType[*sqlparse.SyntaxError](err)
		if !ok {
			return nil, err
		}
		if worst == nil || wrong.Offset >= worst.Offset {
			worst = wrong
		}
	}
	line, column := validate.Position(code, worst.Offset)
	return []problem{{worst.Message, line, column}}, nil
}

// parseYAML takes documents whose root is a mapping or a list: any words are a
// YAML string.
func parseYAML(_ context.Context, code string) ([]problem, error) {
	decoder := yaml.NewDecoder(strings.NewReader(code))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			p := problem{text: strings.TrimPrefix(err.Error(), "yaml: ")}
			if at, ok := errors.AsType[*yaml.LoadError](err); ok {
				p = problem{at.Message, at.Mark.Line, at.Mark.Column}
			}
			return []problem{p}, nil
		}
		for _, root := range document.Content {
			if root.Kind == yaml.ScalarNode {
				return []problem{{"it is a single value, and no mapping or list", root.Line, root.Column}}, nil
			}
		}
		if repeated := repeatedKey(&document); repeated != nil {
			return []problem{{fmt.Sprintf("the key %.60q is there more than once", repeated.Value), repeated.Line, repeated.Column}}, nil
		}
	}
}

// repeatedKey returns a key that a mapping has twice; nil if there is none. It
// does not follow aliases, so that they cost nothing.
func repeatedKey(node *yaml.Node) *yaml.Node {
	keys := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 && child.Kind == yaml.ScalarNode && child.Tag != "!!merge" {
			key := child.Tag + " " + child.Value
			if keys[key] {
				return child
			}
			keys[key] = true
		}
		if found := repeatedKey(child); found != nil {
			return found
		}
	}
	return nil
}

// maxNested bounds brackets within one another: esbuild's parser calls itself
// for each, and 64 kB of them take half a gigabyte of stack.
const maxNested = 500

// nested tells whether brackets are nested too deep, and on which line. It takes
// no account of strings: so many open brackets in strings alone are rare enough.
func nested(code string) (deep bool, line int) {
	depth, line := 0, 1
	for i := range len(code) {
		switch code[i] {
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

package code

import (
	"context"
	"errors"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"

	"llmcall/validate"
)

var goLanguage = Language{
	Name: "go", Title: "Go", Labels: []string{"go", "golang"}, Parse: parseGo, Comments: []string{"//"},
	Words: []string{"package", "import", "var", "const", "type", "func", "return", "break", "continue", "goto", "fallthrough", "go", "defer"},
}

var jsonLanguage = Language{Name: "json", Title: "JSON", Labels: []string{"json"}, Parse: parseJSON}

// parseGo parses a file; without a package clause, declarations; and if they are
// not declarations, statements, as go/format does.
func parseGo(_ context.Context, code string) ([]Problem, error) {
	file := func(before, after string) (problems []Problem) {
		_, err := parser.ParseFile(token.NewFileSet(), "", before+code+after, parser.SkipObjectResolution)
		var list scanner.ErrorList
		if err == nil || !errors.As(err, &list) {
			return nil
		}
		for _, e := range list {
			line, column := validate.Position(code, e.Pos.Offset-len(before))
			problems = append(problems, Problem{e.Msg, line, column})
		}
		return problems
	}
	whole := file("", "")
	if len(whole) == 0 || !strings.Contains(whole[0].Text, "expected 'package'") {
		return whole, nil
	}
	declarations := file("package p;", "")
	if len(declarations) == 0 || !strings.Contains(declarations[0].Text, "expected declaration") {
		return declarations, nil
	}
	return file("package p; func _() {", "\n\n}"), nil
}

func parseJSON(ctx context.Context, code string) ([]Problem, error) {
	v, err := validate.JSON().Check(ctx, &validate.Answer{Text: code})
	var problems []Problem
	for _, c := range v.Complaints {
		problems = append(problems, Problem{c.Problem, c.Line, c.Column})
	}
	return problems, err
}

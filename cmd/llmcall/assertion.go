package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/say"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// assertion is an expression of --assert about the figures of a simulation.
type assertion struct {
	text    string
	program cel.Program
	parts   []figurePath // of the figures that it names, in their order
}

// figurePath leads to a figure: failed.circuit_open.
type figurePath []string

func (p figurePath) String() string { return strings.Join(p, ".") }

// assertions compiles the expressions of --assert, before anything runs. figures has the
// names that they may use.
func assertions(texts []string, figures map[string]any) ([]*assertion, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	options := []cel.EnvOption{cel.CrossTypeNumericComparisons(true), ext.Math()}
	for name := range figures {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	var all []*assertion
	for _, text := range texts {
		a, err := compiled(env, text, figures)
		if err != nil {
			return nil, fmt.Errorf("--assert %s: %w", strconv.Quote(say.Short(text, 100)), err)
		}
		all = append(all, a)
	}
	return all, nil
}

func compiled(env *cel.Env, text string, figures map[string]any) (*assertion, error) {
	const example = `takes an expression in CEL (https://cel.dev) that is true or false, such as "answered >= 0.99"`
	parsed, issues := env.Parse(text)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", example, firstIssue(issues))
	}
	a := &assertion{text: text}
	for _, path := range pathsIn(parsed) {
		if err := findFigure(path, figures); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(a.parts, func(p figurePath) bool { return slices.Equal(p, path) }) {
			a.parts = append(a.parts, path)
		}
	}
	checked, issues := env.Check(parsed)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", example, firstIssue(issues))
	}
	if out := checked.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%s; its value is of type %s", example, out)
	}
	var err error
	a.program, err = env.Program(checked)
	return a, err
}

func firstIssue(issues *cel.Issues) error {
	first := issues.Errors()[0]
	return fmt.Errorf("column %d: %s", first.Location.Column()+1, first.Message)
}

// pathsIn returns the figures that an expression names, in their order: a name with the
// fields that follow it. A variable of a macro (all, exists) is not a figure.
func pathsIn(parsed *cel.Ast) []figurePath {
	var paths []figurePath
	bound := map[string]bool{}
	root := ast.NavigateAST(parsed.NativeRep())
	for _, loop := range ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind)) {
		bound[loop.AsComprehension().IterVar()], bound[loop.AsComprehension().IterVar2()], bound[loop.AsComprehension().AccuVar()] = true, true, true
	}
	for _, name := range ast.MatchDescendants(root, ast.KindMatcher(ast.IdentKind)) {
		path := figurePath{name.AsIdent()}
		if bound[path[0]] {
			continue
		}
		for e := name; ; {
			outer, ok := e.Parent()
			if !ok {
				break
			}
			field, ok := fieldOf(outer, e)
			if !ok {
				break
			}
			path, e = append(path, field), outer
		}
		paths = append(paths, path)
	}
	return paths
}

// fieldOf returns the field that an expression takes of another: of.field or of["field"].
func fieldOf(e, of ast.NavigableExpr) (string, bool) {
	switch {
	case e.Kind() == ast.SelectKind:
		return e.AsSelect().FieldName(), true
	case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Index:
		args := e.AsCall().Args()
		if args[0].ID() == of.ID() && args[1].Kind() == ast.LiteralKind {
			name, ok := args[1].AsLiteral().Value().(string)
			return name, ok
		}
	}
	return "", false
}

// findFigure refuses a figure that there is not.
func findFigure(path figurePath, figures map[string]any) error {
	at := any(figures)
	for i, name := range path {
		fields, ok := at.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is a number: it has no %s", path[:i], name)
		}
		next, ok := fields[name]
		if !ok && (name == "cost" || name == "wasted") {
			return fmt.Errorf("%s is not known: the scenario has no price, and the configuration has none for its models", name)
		}
		if !ok && i == 0 && name == "other" {
			return errors.New("other needs --compare: it has the figures of that configuration")
		}
		if !ok {
			names := slices.Sorted(maps.Keys(fields))
			whole := append(slices.Clone(path[:i]), name)
			return fmt.Errorf("there is no figure %s%s (known: %s)", whole, nearest.Question(name, names), strings.Join(names, ", "))
		}
		at = next
	}
	return nil
}

// holds evaluates the assertion. If it does not hold, the text says the values.
func (a *assertion) holds(figures map[string]any) (bool, string, error) {
	for _, path := range a.parts { // money may not be known
		if err := findFigure(path, figures); err != nil {
			return false, "", fmt.Errorf("--assert %s: %w", strconv.Quote(a.text), err)
		}
	}
	value, _, err := a.program.Eval(figures)
	if err != nil {
		if strings.Contains(err.Error(), "no such overload") {
			err = fmt.Errorf("%w (CEL calculates with numbers of one type: write 2.0 instead of 2 beside a figure with decimals)", err)
		}
		return false, "", fmt.Errorf("--assert %s: %w", strconv.Quote(a.text), err)
	}
	switch value {
	case types.True:
		return true, "", nil
	case types.False:
	default:
		return false, "", fmt.Errorf("--assert %s: must be true or false, got %v", strconv.Quote(a.text), value.Value())
	}
	var values []string
	for _, path := range a.parts {
		values = append(values, path.String()+" is "+figureAt(path, figures))
	}
	if values == nil {
		return false, a.text, nil
	}
	return false, a.text + ": " + strings.Join(values, ", "), nil
}

// figureAt returns the value of a figure as a text.
func figureAt(path figurePath, figures map[string]any) string {
	at := any(figures)
	for _, name := range path {
		at = at.(map[string]any)[name] // see findFigure
	}
	switch v := at.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case nil:
		return "not known"
	}
	return say.Short(fmt.Sprint(at), 200)
}

package expression

import (
	"context"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// mismatch says of which types the operands are that an operator or function does not take
// together: "answer.population is a string, 1000 a number"; or what it is that has no
// fields: "answer is an array". It evaluates the expression once
// more, since keeping the value of each part costs time where nothing is wrong. It returns
// "" if it finds none.
func mismatch(ctx context.Context, compiled *cel.Ast, variables map[string]any) string {
	env, err := environment()
	if err != nil {
		return ""
	}
	program, err := env.Program(compiled, cel.InterruptCheckFrequency(interruptEvery), cel.EvalOptions(cel.OptTrackState))
	if err != nil {
		return ""
	}
	_, details, _ := program.ContextEval(ctx, variables)
	if details == nil || ctx.Err() != nil {
		return ""
	}
	value := func(e ast.Expr) ref.Val {
		if e.Kind() == ast.LiteralKind {
			return e.AsLiteral()
		}
		v, kept := details.State().Value(e.ID())
		if !kept && e.Kind() == ast.IdentKind {
			if variable, known := variables[e.AsIdent()]; known {
				return types.DefaultTypeAdapter.NativeToValue(variable)
			}
		}
		return v
	}
	found := ""
	tree := compiled.NativeRep()
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if found != "" || !types.IsError(value(e)) {
			return
		}
		var operands []ast.Expr
		switch e.Kind() {
		case ast.CallKind:
			call := e.AsCall()
			if call.IsMemberFunction() {
				operands = append(operands, call.Target())
			}
			operands = append(operands, call.Args()...)
		case ast.SelectKind:
			object := e.AsSelect().Operand()
			if v := value(object); v == nil || v.Type() == types.MapType {
				return // it has no such field
			}
			operands = append(operands, object)
		default:
			return
		}
		found = kindsOf(operands, value, tree.SourceInfo())
	}))
	return found
}

// kindsOf names the types of operands; "" if one has none, as where the fault is its own.
func kindsOf(operands []ast.Expr, value func(ast.Expr) ref.Val, source *ast.SourceInfo) string {
	var numbers []string // CEL's types of the numbers
	for _, e := range operands {
		v := value(e)
		if v == nil || types.IsUnknownOrError(v) {
			return ""
		}
		if name := v.Type().TypeName(); words[name] == number && !slices.Contains(numbers, name) {
			numbers = append(numbers, name)
		}
	}
	var all []string
	verb := " is "
	for _, e := range operands {
		text, err := cel.ExprToString(e, source)
		if err != nil {
			return ""
		}
		name := value(e).Type().TypeName()
		word := words[name]
		if word == "" || word == number && len(numbers) > 1 { // an int and a double don't add up
			word = "of type " + name
		}
		all = append(all, text+verb+word)
		verb = " "
	}
	return strings.Join(all, ", ")
}

const number = "a number"

// words are JSON's words for CEL's types.
var words = map[string]string{
	"string": "a string", "int": number, "uint": number, "double": number, "bool": "a boolean", "null_type": "null",
	"list": "an array", "map": "an object",
}

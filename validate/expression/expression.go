// Package expression has the check "expression": an expression in the Common
// Expression Language (CEL, https://cel.dev) is true for an answer. With it a
// configuration file can state a rule that would otherwise need Go:
//
//	size(answer.items) > 0 && answer.items.all(i, i.price >= 0)
//
// [New] makes the check; an import of the package also makes its name known to
// [validate.Build] and [validate.Parse].
package expression

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate"
)

func init() { validate.MustRegister(definition) }

// Config is an expression, and the complaint about an answer for which it is false.
type Config struct {
	// Expression has a boolean value. It is required. Its variables are
	//
	//   - answer: the decoded JSON value of the answer. A number without a
	//     fraction or an exponent is an int if it fits int64, and any other is a
	//     double. The two can be compared, but arithmetic needs operands of one
	//     type: double(answer.n) * 1.5;
	//   - text: the text of the answer, a string;
	//   - attempt: the number of the attempt, an int, from 1.
	//
	// It can use CEL's own functions, the extensions for strings, mathematics, lists,
	// sets and bindings (https://pkg.go.dev/cel.dev/cel-go/ext), and optional values:
	// answer.?name.orValue("").
	Expression string
	// Problem says what is wrong with an answer for which the expression is
	// false. Default "": "this does not hold: ", and the expression.
	Problem string
	// Suggestion tells the model what to do. Default "": "answer so that this
	// holds: ", and the expression.
	Suggestion string
}

// maxTime bounds one evaluation: nested loops over a long answer would take hours.
// CEL's own cost limit is too slow: its bookkeeping (v0.32.0) takes time quadratic in
// the number of steps, ten seconds for a loop over 40,000 items that takes
// milliseconds without it.
const maxTime = 10 * time.Second

// interruptEvery is the number of loop steps between two checks of the context.
const interruptEvery = 100

// New returns the check "expression". It passes an answer for which the expression
// is true. An answer for which it can't be evaluated (a missing key, a string where
// a number is expected) is a complaint, and so is an answer that is not JSON if the
// expression uses the variable answer.
//
// The error is a *[validate.ParamError] with line and column: the expression does
// not compile, or its value is not a boolean. An evaluation that takes longer than
// ten seconds, or whose context ends, is an error of the check.
func New(cfg Config) (validate.Strategy, error) {
	fail := func(got string, err error) (validate.Strategy, error) {
		return nil, &validate.ParamError{
			Check: "expression", Param: "expression", Got: got, Err: err,
			Takes: "an expression in CEL (https://cel.dev) whose value is true or false, with the variables answer, text and attempt",
		}
	}
	if strings.TrimSpace(cfg.Expression) == "" {
		return fail(strconv.Quote(cfg.Expression), nil)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	shown := strconv.Quote(say.Short(cfg.Expression, 200))
	ast, issues := env.Compile(cfg.Expression)
	if issues.Err() != nil {
		return fail(shown, faults(issues))
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return fail(shown, fmt.Errorf("line 1, column 1: its value is of type %s, expected true or false", out))
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(interruptEvery), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return fail(shown, err)
	}
	c := check{program: program, compiled: ast, expression: cfg.Expression, limit: maxTime}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		c.decodes = c.decodes || reference.Name == "answer"
	}
	c.problem, c.suggestion = cfg.Problem, cfg.Suggestion
	if c.problem == "" {
		c.problem = "this does not hold: " + cfg.Expression
	}
	if c.suggestion == "" {
		c.suggestion = phrase.Holds.Of(cfg.Expression)
	}
	return c, nil
}

// environment is made once, for the first expression, since that takes milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("answer", cel.DynType), cel.Variable("text", cel.StringType), cel.Variable("attempt", cel.IntType),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(),
		ext.Strings(), ext.Math(), ext.Lists(), ext.Sets(), ext.Bindings(),
	)
})

// faults lists the first errors of an expression, with line and column.
func faults(issues *cel.Issues) error {
	const shown = 3
	var errs []string
	for i, e := range issues.Errors() {
		if i == shown {
			errs = append(errs, fmt.Sprintf("and %d more", len(issues.Errors())-i))
			break
		}
		place := ""
		if e.Location.Line() > 0 { // the limits of the parser have no place
			place = fmt.Sprintf("line %d, column %d: ", e.Location.Line(), e.Location.Column()+1)
		}
		errs = append(errs, place+e.Message)
	}
	return errors.New(strings.Join(errs, "; "))
}

type check struct {
	program             cel.Program
	compiled            *cel.Ast
	decodes             bool // the expression uses the JSON value
	expression          string
	problem, suggestion string
	limit               time.Duration
}

func (check) Name() string { return "expression" }

func (c check) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	var v validate.Verdict
	complain := func(problem string) (validate.Verdict, error) {
		v.Complaints = []validate.Complaint{{Problem: problem, Suggestion: c.suggestion}}
		return v, nil
	}
	variables := map[string]any{"text": a.Text, "attempt": a.Attempt}
	if c.decodes {
		value, text, err := a.JSON()
		if complaints, ok := errors.AsType[validate.Complaints](err); ok {
			return validate.Verdict{Complaints: complaints}, nil
		}
		v.Decoded, v.Value, v.Text = true, value, text
		variables["answer"] = value
	}
	own, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	result, _, err := c.program.ContextEval(own, variables)
	switch {
	case ctx.Err() != nil:
		return v, ctx.Err()
	case own.Err() != nil:
		return v, fmt.Errorf("the expression takes longer than %v on this answer", c.limit)
	}
	if err != nil && strings.HasPrefix(err.Error(), "internal error: ") { // a panic of the library
		return v, err
	}
	if err != nil {
		why := err.Error()
		if strings.HasPrefix(why, "no such ") || strings.HasPrefix(why, "unsupported index type") {
			why = cmp.Or(mismatch(own, c.compiled, variables), why)
		}
		return complain(fmt.Sprintf("this can't be evaluated: %s: %s", c.expression, say.Short(why, 200)))
	}
	holds, ok := result.(types.Bool)
	if !ok {
		return complain(fmt.Sprintf("the value of this is of type %s, expected true or false: %s", result.Type().TypeName(), c.expression))
	}
	if !holds {
		return complain(c.problem)
	}
	return v, nil
}

var definition = validate.Definition{
	Info: validate.Info{
		Name: "expression", Example: "expression:size(answer.items) > 0",
		Summary: "an expression in CEL is true for the answer",
		Params: []validate.Param{
			{Name: "expression", Type: "string", Required: true, Meaning: "the expression (https://cel.dev), with the variables answer (the decoded JSON), text and attempt"},
			{Name: "problem", Type: "string", Default: "that the expression is not true", Meaning: "what is wrong with an answer for which it is false"},
			{Name: "suggestion", Type: "string", Default: "the expression", Meaning: "how to fix it, for the model"},
		},
		Main: "the expression",
	},
	Build: func(p validate.Params) (validate.Strategy, error) {
		var cfg Config
		var err error
		if cfg.Expression, err = p.Text("expression", "an expression in CEL"); err != nil {
			return nil, err
		}
		if cfg.Problem, err = p.Optional("problem"); err != nil {
			return nil, err
		}
		if cfg.Suggestion, err = p.Optional("suggestion"); err != nil {
			return nil, err
		}
		return New(cfg)
	},
	FromMain: func(text string) (map[string]any, error) { return map[string]any{"expression": text}, nil },
	AnyText:  true,
}

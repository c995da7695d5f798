package expression_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
	"llmcall/validate/expression"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t rapid.TB, s validate.Strategy, a *validate.Answer) []string {
	t.Helper()
	report := validate.Run(context.Background(), []validate.Strategy{s}, a, 0)
	for _, failed := range report.Failed {
		t.Errorf("on %.200q: %v", a.Text, failed)
	}
	var lines []string
	for _, c := range report.Complaints {
		lines = append(lines, c.String())
	}
	return lines
}

const order = `{"id": 7, "total": 30.5, "paid": true, "items": [{"name": "pen", "price": 0.5}, {"name": "ink", "price": 30}], "note": null, "big": 12345678901234567890}`

func TestExpressionsThatHold(t *testing.T) {
	for _, e := range []string{
		"true",
		"answer.paid",
		"answer.id == 7 && answer.id == 7.0 && answer.id > 6.5 && type(answer.id) == int",
		"answer.total == 30.5 && answer.total > 30 && type(answer.total) == double",
		"size(answer.items) == 2 && answer.items.all(i, i.price > 0)",
		"answer.items.exists(i, i.name == 'pen')",
		"answer.note == null && has(answer.note) && !has(answer.missing)",
		"answer.?missing.orValue('x') == 'x'",
		"answer['items'][1].name.upperAscii() == 'INK'",
		"answer.items.map(i, i.name).sort() == ['ink', 'pen']",
		"math.greatest(answer.items.map(i, double(i.price))) == 30.0",
		"sets.contains(answer.items.map(i, i.name), ['ink'])",
		"cel.bind(n, answer.items.map(i, i.name), size(n) == 2)",
		"answer.big > 12345678901234560000.0 && type(answer.big) == double", // beyond int64 only a double is left
		"text.startsWith('{') && text.matches('\"id\": [0-9]+')",
		"attempt == 2",
		"size(text) > 10",
	} {
		s, err := validate.Parse("expression:" + e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if got := run(t, s, &validate.Answer{Text: order, Attempt: 2}); len(got) > 0 {
			t.Errorf("%s: %q", e, got)
		}
	}
}

func TestExpressionsThatDoNotHold(t *testing.T) {
	const unsure = "this can't be evaluated: "
	for _, test := range []struct{ expression, text, want string }{
		{"answer.id > 7", order, "this does not hold: answer.id > 7"},
		{"answer.missing == 1", order, unsure + "answer.missing == 1: no such key: missing"},
		{"answer.items[5].price > 0", order, unsure + "answer.items[5].price > 0: index out of bounds: 5"},
		{"answer.id.name == 'x'", order, unsure + "answer.id.name == 'x': answer.id is a number"},
		{"answer.population > 2", "[1]", unsure + "answer.population > 2: answer is an array"},
		{"answer.items.price > 2.0", order, unsure + "answer.items.price > 2.0: answer.items is an array"},
		{"answer.items[0].price.net > 2.0", order, unsure + "answer.items[0].price.net > 2.0: answer.items[0].price is a number"},
		{"answer['id']['x'] > 2.0", order, unsure + `answer['id']['x'] > 2.0: answer["id"] is a number, "x" a string`},
		{"answer.items['x'] > 2.0", order, unsure + `answer.items['x'] > 2.0: answer.items is an array, "x" a string`},
		{"answer.note > 3", order, unsure + "answer.note > 3: answer.note is null, 3 a number"},
		{"answer.population > 1000", `{"population": "3,700,000"}`, unsure + "answer.population > 1000: answer.population is a string, 1000 a number"},
		{"1000 < answer.population", `{"population": [1]}`, unsure + "1000 < answer.population: 1000 is a number, answer.population an array"},
		{"size(answer.n) > 1", `{"n": 5}`, unsure + "size(answer.n) > 1: answer.n is a number"},
		{"answer.n.startsWith('x')", `{"n": {"m": true}}`, unsure + "answer.n.startsWith('x'): answer.n is an object, \"x\" a string"},
		{"answer.all(i, i.price >= 0)", `[{"price": 1}, {"price": "2"}]`, unsure + "answer.all(i, i.price >= 0): i.price is a string, 0 a number"},
		{"-answer.n < 0", `{"n": true}`, unsure + "-answer.n < 0: answer.n is a boolean"},
		{"size(answer.a + answer.b) > 1", `{"a": "x", "b": ["y"]}`, unsure + "size(answer.a + answer.b) > 1: answer.a is a string, answer.b an array"},
		{"answer.id / 0 == 1", order, unsure + "answer.id / 0 == 1: division by zero"},
		{"answer.total", order, "the value of this is of type double, expected true or false: answer.total"},
		{"answer.total + 1 > 3.0", order, unsure + "answer.total + 1 > 3.0: answer.total is of type double, 1 of type int"},
		{"answer", "[]", "the value of this is of type list, expected true or false: answer"},
		{"text == ''", " ", "this does not hold: text == ''"},
	} {
		s, err := expression.New(expression.Config{Expression: test.expression})
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		want := "expression: " + test.want + " (answer so that this holds: " + test.expression + ")"
		if got := run(t, s, &validate.Answer{Text: test.text}); !slices.Equal(got, []string{want}) {
			t.Errorf("%s:\n%q\nwant\n%q", test.expression, got, want)
		}
	}
}

func TestProblemAndSuggestionAreSaidInTheirPlace(t *testing.T) {
	s, err := validate.Build("expression", map[string]any{"expression": "answer.n > 0", "problem": "n is not positive", "suggestion": "count again"})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, s, &validate.Answer{Text: `{"n": 0}`}); !slices.Equal(got, []string{"expression: n is not positive (count again)"}) {
		t.Errorf("%q", got)
	}
	// What could not be told is still said.
	if got := run(t, s, &validate.Answer{Text: `{}`}); !slices.Equal(got, []string{"expression: this can't be evaluated: answer.n > 0: no such key: n (count again)"}) {
		t.Errorf("%q", got)
	}
}

func TestTheAnswerIsDecodedOnlyIfTheExpressionHasIt(t *testing.T) {
	needs, err := validate.Parse("expression:answer != null")
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, needs, &validate.Answer{Text: "Sorry, no"}); len(got) != 1 || !strings.Contains(got[0], "the text is not JSON") {
		t.Errorf("%q", got)
	}
	report := validate.Run(context.Background(), []validate.Strategy{needs}, &validate.Answer{Text: "```\n[1]\n```"}, 0)
	if !report.Decoded || report.Text != "[1]" {
		t.Errorf("%+v", report)
	}
	text, err := validate.Parse("expression:text.contains('answer')")
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, text, &validate.Answer{Text: "an answer", Response: llm.Reply("an answer")}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestAWrongExpressionIsAnErrorAtOnceWithItsPlace(t *testing.T) {
	for spec, want := range map[string]string{
		"expression":                                         "expression must be an expression in CEL",
		"expression: ":                                       "expression must be an expression in CEL",
		"expression:answr.n > 0":                             `got "answr.n > 0": line 1, column 1: undeclared reference to 'answr' (in container '')`,
		"expression:text.n > 0":                              "line 1, column 5: type 'string' does not support field selection",
		"expression:answer.n >":                              "line 1, column ",
		"expression:true &&\n1":                              "line 2, column 1",
		"expression:size(text)":                              `got "size(text)": line 1, column 1: its value is of type int, expected true or false`,
		"expression:text":                                    "its value is of type string",
		"expression:text.matches('(')":                       "error parsing regexp",
		"expression:a + b + c + d + e":                       "and 2 more",
		`expression:{"expression": 5}`:                       `expression must be an expression in CEL, got 5`,
		`expression:{"expression": "true", "problem": 5}`:    `problem must be a string, got 5`,
		`expression:{"expression": "true", "suggestion": 5}`: `suggestion must be a string, got 5`,
		"expression:" + strings.Repeat("(", 10_000):          "…\": expression recursion limit exceeded: 250",
	} {
		_, err := validate.Parse(spec)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Check != "expression" || !strings.Contains(err.Error(), want) || len(err.Error()) > 1500 {
			t.Errorf("%.100s: %.1500v\nwant %s", spec, err, want)
		}
	}
}

// A loop over a long answer takes time in proportion to it, and one that takes the
// cube of it ends with its context.
func TestNoExpressionHangs(t *testing.T) {
	long := "[" + strings.Repeat("1, ", 50_000) + "1]"
	loop, err := expression.New(expression.Config{Expression: "answer.all(a, a > 0 && a < 2)"})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if got := run(t, loop, &validate.Answer{Text: long}); len(got) > 0 || time.Since(begun) > 8*time.Second {
		t.Errorf("%q after %v", got, time.Since(begun))
	}
	cube, err := expression.New(expression.Config{Expression: "answer.all(a, answer.all(b, answer.all(c, a + b + c >= 0)))"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err := cube.Check(ctx, &validate.Answer{Text: long}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	report := validate.Run(context.Background(), []validate.Strategy{cube}, &validate.Answer{Text: long}, 5*time.Millisecond)
	if len(report.Failed) != 1 || !errors.Is(report.Failed[0], validate.ErrTimeout) {
		t.Errorf("%v", report.Failed)
	}
}

// Checks are made and used by many goroutines at once.
func TestExpressionsAreMadeAndUsedAtTheSameTime(t *testing.T) {
	shared, err := expression.New(expression.Config{Expression: "answer.id == 7"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			own, err := expression.New(expression.Config{Expression: "answer.id == " + strconv.Itoa(i)})
			if err != nil {
				t.Error(err)
				return
			}
			if got := run(t, own, &validate.Answer{Text: order}); (len(got) == 0) != (i == 7) {
				t.Errorf("%d: %q", i, got)
			}
			if got := run(t, shared, &validate.Answer{Text: order}); len(got) != 0 {
				t.Errorf("%d: %q", i, got)
			}
		})
	}
	wg.Wait()
}

func TestTheCheckIsListedWithAnExampleThatWorks(t *testing.T) {
	i := slices.IndexFunc(validate.Checks(), func(i validate.Info) bool { return i.Name == "expression" })
	if i < 0 {
		t.Fatal("it is not listed")
	}
	s, err := validate.Parse(validate.Checks()[i].Example)
	if err != nil || s.Name() != "expression" {
		t.Fatal(err)
	}
	if got := run(t, s, &validate.Answer{Text: order}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// The numbers of an answer are what they are in JSON.
func TestNumbersOfTheAnswer(t *testing.T) {
	s, err := validate.Parse("expression:answer.a < answer.b")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int().Draw(t, "a"), rapid.Int().Draw(t, "b")
		text := `{"a": ` + strconv.Itoa(a) + `, "b": ` + strconv.Itoa(b) + `}`
		if holds := len(run(t, s, &validate.Answer{Text: text})) == 0; holds != (a < b) {
			t.Fatalf("%s: %v", text, holds)
		}
	})
}

func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"answer.id > 6 && size(text) > 1", "answer.items.exists_one(i, i.price in [1, 2])", "'a'.format([1])", "text.split('')[0]", "answer.?a[?0].hasValue()", "{1: 2}[answer]", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, e string) {
		s, err := expression.New(expression.Config{Expression: e})
		if err != nil {
			return
		}
		for _, text := range []string{order, "[]", "x"} {
			report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{Text: text}, time.Minute)
			for _, failed := range report.Failed {
				if failed.Panicked || strings.Contains(failed.Error(), "internal error") {
					t.Fatalf("%q: %v", e, failed)
				}
			}
		}
	})
}

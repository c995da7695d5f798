package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"
)

// Shape has a rule that no schema can say.
type Shape struct {
	Sides  int       `json:"sides" jsonschema:"minimum=3"`
	Colour string    `json:"colour,omitempty" jsonschema:"enum=red,enum=blue"`
	Drawn  time.Time `json:"drawn,omitzero"`
}

func (s Shape) Validate() error {
	if s.Sides == 13 {
		return validate.FailAt("/sides", validate.Fail("thirteen sides are bad luck", "give another number"))
	}
	return nil
}

type area struct {
	Text string  `json:"text"`
	Area float64 `json:"area"`
}

func TestToolFuncChecksItsArgumentsBeforeItRuns(t *testing.T) {
	for _, c := range []struct {
		arguments string
		want      string // the result; "" for an error
		complains string // part of the error
	}{
		{arguments: `{"sides": 4}`, want: `{"text":"a <4> of ","area":4}`},
		{arguments: ` {"sides": 3.0, "colour": "red"} `, want: `{"text":"a <3> of red","area":3}`},
		{arguments: `{"sides": 4, "colour": null}`, want: `{"text":"a <4> of ","area":4}`},
		{arguments: `{"sides": 2}`, complains: "/sides"},
		{arguments: `{"sides": "four"}`, complains: `got the string "four"`},
		{arguments: `{"colour": "red"}`, complains: `"sides" is missing`},
		{arguments: ``, complains: `"sides" is missing`},
		{arguments: `{"sides": 4, "colour": "green"}`, complains: "/colour"},
		{arguments: `{"sides": 13}`, complains: "thirteen sides are bad luck"},
		{arguments: `{"sides": 4, "drawn": "yesterday"}`, complains: "/drawn"},
		{arguments: `{"sides":`, complains: "JSON"},
		{arguments: `{"sides": 404}`, complains: "no such shape"},
	} {
		ran := false
		tool, err := llmcall.ToolFunc("area", "the area of a shape", func(_ context.Context, s Shape) (area, error) {
			ran = true
			if s.Sides == 404 {
				return area{}, errors.New("no such shape")
			}
			return area{fmt.Sprintf("a <%d> of %s", s.Sides, s.Colour), float64(s.Sides)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := tool.Run(t.Context(), json.RawMessage(c.arguments))
		if got != c.want || (err != nil) != (c.complains != "") || err != nil && !strings.Contains(err.Error(), c.complains) {
			t.Errorf("%s: got %s, %v; want %s%s", c.arguments, got, err, c.want, c.complains)
		}
		if want := c.want != "" || c.complains == "no such shape"; ran != want {
			t.Errorf("%s: ran is %v", c.arguments, ran)
		}
	}
}

// What is wrong with arguments is said in the words that a wrong answer is told in.
func TestToolFuncComplainsAsAskDoes(t *testing.T) {
	tool, err := llmcall.ToolFunc("area", "", func(context.Context, Shape) (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{}`, `[]`, `null`, `7`, `{"sides":2}`, `{"sides":1e3}`, `{"sides":3.5}`, `{"sides":13}`, `{"sides":"3","colour":1}`, `{"sides":4,"more":1}`, `{"sides":4}`,
	} {
		_, err := tool.Run(t.Context(), json.RawMessage(text))
		_, _, answered := llmcall.Ask[Shape](t.Context(), client(t, play(t, say(text)), nil, exact(llmcall.RetryConfig{MaxAttempts: 1})), llm.Prompt("x"))
		wrong, isWrong := errors.AsType[*llmcall.InvalidAnswerError](answered)
		if isWrong != (err != nil) {
			t.Errorf("%s: the tool says %v, Ask %v", text, err, answered)
		}
		if !isWrong || err == nil {
			continue
		}
		for i := range wrong.Complaints {
			wrong.Complaints[i].Check = "" // "type", of which a tool has no other
		}
		if want := validate.Complaints(wrong.Complaints).Error(); err.Error() != want {
			t.Errorf("%s: the tool says %q, Ask %q", text, err, want)
		}
	}
}

func toolOf[In, Out any](f func(context.Context, In) (Out, error)) func(string) (llmcall.Tool, string, error) {
	return func(arguments string) (llmcall.Tool, string, error) {
		tool, err := llmcall.ToolFunc("t", "", f)
		if err != nil {
			return tool, "", err
		}
		text, err := tool.Run(context.Background(), json.RawMessage(arguments))
		return tool, text, err
	}
}

type label string

type capital string

func (c capital) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(c))), nil }

func TestWhatAModelReadsOfAResult(t *testing.T) {
	for _, c := range []struct {
		name      string
		run       func(string) (llmcall.Tool, string, error)
		arguments string
		want      string
	}{
		{"a string as it is", toolOf(func(_ context.Context, s string) (string, error) { return s + `"`, nil }), `{"value": "x"}`, `x"`},
		{"a bare value for an argument", toolOf(func(_ context.Context, s []int) (int, error) { return len(s), nil }), `[1, 2]`, `2`},
		{"a type of strings", toolOf(func(context.Context, struct{}) (label, error) { return "l", nil }), ``, `l`},
		{"a string with its own text", toolOf(func(context.Context, struct{}) (capital, error) { return "l", nil }), ``, `"L"`},
		{"a pointer", toolOf(func(context.Context, struct{}) (*label, error) { return nil, nil }), ``, `null`},
		{"any, a string", toolOf(func(context.Context, struct{}) (any, error) { return "l", nil }), ``, `l`},
		{"any, nil", toolOf(func(context.Context, struct{}) (any, error) { return nil, nil }), ``, `null`},
		{"a map", toolOf(func(_ context.Context, m map[string]int) (map[string]int, error) { return m, nil }), `{"b": 1, "a": 2}`, `{"a":2,"b":1}`},
	} {
		tool, got, err := c.run(c.arguments)
		if err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; want %s", c.name, got, err, c.want)
		}
		var schema struct{ Type string }
		if err := json.Unmarshal(tool.Parameters, &schema); err != nil || schema.Type != "object" {
			t.Errorf("%s: the arguments are %s", c.name, tool.Parameters)
		}
	}
	_, _, err := toolOf(func(context.Context, struct{}) (any, error) { return func() {}, nil })("")
	if err == nil || !strings.Contains(err.Error(), "can't be written as JSON") {
		t.Errorf("a function in an any: %v", err)
	}
}

func TestToolFuncRefusesWhatCanNotBeATool(t *testing.T) {
	type list struct {
		Next *list
		Done chan int
	}
	good := func(context.Context, Shape) (string, error) { return "", nil }
	for _, c := range []struct {
		name string
		make func() (llmcall.Tool, error)
		want string
	}{
		{"no name", func() (llmcall.Tool, error) { return llmcall.ToolFunc("", "", good) }, `name must be 1 to 64 letters, digits, _ and -, got ""`},
		{"a space", func() (llmcall.Tool, error) { return llmcall.ToolFunc("a b", "", good) }, `name must be 1 to 64 letters, digits, _ and -, got "a b"`},
		{"a long name", func() (llmcall.Tool, error) { return llmcall.ToolFunc(strings.Repeat("a", 65), "", good) }, "name must be"},
		{"no function", func() (llmcall.Tool, error) { return llmcall.ToolFunc[Shape, string]("a", "", nil) }, "f must be a function, got nil"},
		{"an interface", func() (llmcall.Tool, error) {
			return llmcall.ToolFunc("a", "", func(context.Context, any) (string, error) { return "", nil })
		}, "In must be a type that encoding/json decodes into"},
		{"a channel in", func() (llmcall.Tool, error) {
			return llmcall.ToolFunc("a", "", func(context.Context, list) (string, error) { return "", nil })
		}, "chan int has no JSON"},
		{"a channel out", func() (llmcall.Tool, error) {
			return llmcall.ToolFunc("a", "", func(context.Context, Shape) (map[string][]*list, error) { return nil, nil })
		}, "Out must be a type that encoding/json writes, which chan int is not"},
		{"a key out", func() (llmcall.Tool, error) {
			return llmcall.ToolFunc("a", "", func(context.Context, Shape) (map[[2]int]int, error) { return nil, nil })
		}, "which [2]int is not"},
	} {
		tool, err := c.make()
		if wrong, ok := errors.AsType[*llmcall.ConfigError](err); !ok || !strings.Contains(wrong.Error(), c.want) || !reflect.ValueOf(tool).IsZero() {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func ExampleToolFunc() {
	type query struct {
		Of string `json:"of" jsonschema:"enum=Berlin,enum=Rome"`
	}
	population, err := llmcall.ToolFunc("population", "how many live in a city", func(_ context.Context, q query) (int, error) {
		return map[string]int{"Berlin": 3_913_644, "Rome": 2_746_984}[q.Of], nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(population.Parameters))
	fmt.Println(population.Run(context.Background(), json.RawMessage(`{"of": "Rome"}`)))
	fmt.Println(population.Run(context.Background(), json.RawMessage(`{"of": "Bonn"}`)))
	// Output:
	// {"type":"object","properties":{"of":{"type":"string","enum":["Berlin","Rome"]}},"required":["of"],"additionalProperties":false}
	// 2746984 <nil>
	//  at /of: the string "Bonn" is not one of the allowed values (use one of "Berlin", "Rome")
}

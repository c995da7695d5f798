package code_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"llmcall/validate"
	"llmcall/validate/code"
	_ "llmcall/validate/code/javascript"
	_ "llmcall/validate/code/python"
	_ "llmcall/validate/code/sql"
	_ "llmcall/validate/code/yaml"
	_ "llmcall/validate/sql/mysql"
	_ "llmcall/validate/sql/postgres"
)

func said(t testing.TB, s validate.Strategy, text string) string {
	t.Helper()
	v, err := s.Check(context.Background(), &validate.Answer{Text: text})
	if err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	var lines []string
	for _, c := range v.Complaints {
		if c.Line < 1 || c.Column < 1 || c.Suggestion == "" {
			t.Errorf("%.100q: %+v has no place or no suggestion", text, c)
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

const modern = `from __future__ import annotations
import asyncio
from dataclasses import dataclass

type Point[T] = tuple[T, T]

@dataclass(frozen=True)
class A[T]:
    x: int = 0

    def f(self, *args, k=1, **kw) -> str | None:
        """A docstring."""
        return f"{self.x!r:>{10}} {'a' + "b"} {k=}"

async def main(a, /, b, *, c):
    async with asyncio.timeout(3) as t, asyncio.Lock():
        async for i in aiter():
            await asyncio.sleep(1)
    return [x async for x in y if (n := x) > 1]

match p:
    case {"a": 1, **rest} if rest: pass
    case A(x=1) | [1, *_]: print("x")
    case _:
        pass
try:
    pass
except* ValueError as e:
    raise X from e
größe = lambda x, /, *, y: (yield)
`

// Each is checked as the language's own code, with and without a fence.
var valid = map[string][]string{
	"python": {modern, "import os", "pass", "x = 1", "print('hello')", "x = [\n  1,\n\t2]", "\n\nif x:\n\ty\n"},
	"go": {
		"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"é\") }\n", "func f[T any](x T) T { return x }",
		"x := 1\nfmt.Println(x)", "import \"os\"", "type T struct{ a int }\n\nfunc (t T) f() {}",
	},
	"javascript": {
		"const f = async (x) => { for await (const y of x) { yield_(y?.z ?? 1n); } };", "export default class A { #x = 1; static {} }",
		"const a = <div className=\"x\">{b}</div>;", "import x from './x.js'; import('y');", "let r = /[(]/u;",
	},
	"typescript": {"interface A<T> { x: T }\nconst f = <T,>(x: T): x is T => x!;\nenum E { A }\ntype B = keyof A<string>;", "class A { constructor(@Inject() private x: number) {} }"},
	"tsx":        {"const a: JSX.Element = <A<string> x={1 as number} />;"},
	"jsx":        {"const a = <><A {...b} /></>;"},
	"json":       {`{"a": [1, null]}`, `"text"`, "12"},
	"sql":        {"SELECT `a` FROM t; INSERT INTO t VALUES ('it''s')", "SELECT '{}'::jsonb -- it's"},
	"yaml":       {"a: 1\nb: [x, {y: z}]\n", "- a\n- b\n---\nc: &x 1\nd: *x\n", "a:\n  <<: {b: 1}\n  <<: {c: 1}\n"},
}

func TestCodeThatCanBeParsedPasses(t *testing.T) {
	for language, codes := range valid {
		s := validate.Must(code.New(language))
		for _, text := range codes {
			for _, answer := range []string{
				text,
				"Here it is:\n\n```" + strings.ToUpper(language) + "\n" + text + "\n```\nThat's all.",
				"```\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n```\r\n",
				"1. So:\n\n   ~~~" + language + " title=x\n   " + strings.ReplaceAll(text, "\n", "\n   ") + "\n   ~~~",
				"````markdown\nText\n```" + language + "\n" + text + "\n```\n````",
			} {
				if got := said(t, s, answer); got != "" {
					t.Errorf("%s: %s\n%s", language, got, answer)
				}
			}
		}
	}
}

func TestCodeThatCanNotBeParsedFails(t *testing.T) {
	for _, test := range []struct{ spec, text, want string }{
		{"python", `print("a"` + "\nx = 1\n", "line 1, column 6: this is not valid Python: '(' was never closed (answer with Python code alone, or put it into a Markdown block labelled python)"},
		{"python", "def f(x)\n    return x\n", "line 1, column 9: this is not valid Python: expected ':'"},
		{"python", "print \"hello\"\n", "line 1, column 7: this is not valid Python: invalid syntax"},
		{"python", "def f():\nreturn 1\n", "line 2, column 1: this is not valid Python: expected an indented block after function definition on line 1"},
		{"python", "x = 1\n  y = 2\n", "line 2, column 1: this is not valid Python: unexpected indent"},
		{"python", "if x:\n        a\n    b\n", "line 3, column 1: this is not valid Python"},
		{"python", "x = 1 2\n", "line 1, column 5: this is not valid Python: invalid syntax. Perhaps you forgot a comma?"},
		{"python", "x = 'abc\n", "line 1, column 5: "},
		{"python", "x = '''abc\n", "line 1, column 5: "},
		{"python", "x = (1,\n]", "line 2, column 1: this is not valid Python: closing parenthesis ']' does not match opening parenthesis '('"},
		{"python", "x = '😀'; y = (", "line 1, column 14: "},
		{"code:yaml", "a: '😀' b", "line 1, column 8: "},
		{"code:javascript", "let a = '😀' 1", "line 1, column 13: "},
		{"python", "1 = x", "cannot assign to literal"},
		{"python", "f\"{a b}\"", "f-string: "},
		{"python", "é = ü +\n", "line 1, column "},
		{"python", "", "there is no Python code"},
		{"python", " \n# nothing\n", "there is no Python code"},
		{"python", "hello", "there are only words, and no Python code"},
		{"python", "Here is text", "there are only words, and no Python code"},
		{"python", "No, yes.", ""}, // not parsed at all
		{"python", "I can't help with that.", "this is not valid Python"},
		{"python", "Text.\n\n```py\nx = 1\n```\n\n  ```Python\n  def f(:\n  ```", "line 8, column 8: this is not valid Python: "},
		{"python", "```js\nlet x = 1;\n```", `answer with Python code in a Markdown block labelled python; this one is labelled "js"`},
		{"python", "```python\nx = 1", "line 3, column 1: the Markdown block is not closed"},
		{"python", "```\n(\n```", "line 2, column 1: this is not valid Python: '(' was never closed (answer with Python code that can be parsed)"},
		{"python", "x = '\x00'", "line 1, column 6: there is a NUL character"},
		{"python", "x = 1\ny = '\xff'", "line 2, column 6: there is a NUL character, or a byte that is not valid UTF-8"},
		{"python", strings.Repeat("x = 1\n", code.MaxBytes/6+1), "the code is longer than 65536 bytes"},
		{"code", "def f(:", "line 1, column 6: this is not valid Python"},
		{"code:python", "\uFEFF(", "line 1, column 2: "},
		{"code:go", "package main\n\nfunc main() { x := }\n", "line 3, column 20: this is not valid Go: expected operand, found '}'"},
		{"code:go", "func f() {\n\tx := 1 +\n}", "line 3, column 1: this is not valid Go"},
		{"code:go", "x := 1\nif x {", "this is not valid Go"},
		{"code:go", "hello", "there are only words, and no Go code"},
		{"code:go", "Here is text", "this is not valid Go"},
		{"code:go", "```go\nfunc f() {\n```\n```go\nfunc g() }\n```", "line 5, column "},
		{"code:javascript", "const é = ;", "line 1, column 11: this is not valid JavaScript: Unexpected \";\""},
		{"code:javascript", "function f() {\n  return (1;\n}", "line 2, column 12: "},
		{"code:javascript", "hello", "there are only words, and no JavaScript code"},
		{"code:javascript", "let x: number = 1", "line 1, column 6: "},
		{"code:javascript", strings.Repeat("[", 10000), "it is nested more than 500 deep"},
		{"code:typescript", "const x: = 1", "line 1, column 10: this is not valid TypeScript"},
		{"code:typescript", "interface { x }", "this is not valid TypeScript"},
		{"code:tsx", "const a = <div></span>;", "line 1, column 18: this is not valid TSX"},
		{"code:json", "```json\n{\"a\": 1,}\n```", "line 2, column 8: this is not valid JSON: there is a comma before the closing"},
		{"code:json", "hello", "this is not valid JSON: the text is not JSON"},
		{"code:yaml", "a: [1, 2\nb: 3\n", "this is not valid YAML"},
		{"code:yaml", "a: 1\n\tb: 2\n", "line 2, column "},
		{"code:yaml", "a: 1\nb: 2\na: 3\n", "line 3, column 1: this is not valid YAML: the key \"a\" is there more than once"},
		{"code:yaml", "Here is text", "line 1, column 1: this is not valid YAML: it is a single value"},
		{"code:yaml", strings.Repeat("[", 20000), "this is not valid YAML"},
		{"code:sql", "SELECT FROM WHERE (((", "line 1, column 13: this is not valid SQL"},
		{"code:sql", "I cannot help with that", "this is not valid SQL"},
	} {
		s, err := validate.Parse(test.spec)
		if err != nil {
			t.Fatal(err)
		}
		got := said(t, s, test.text)
		if test.want == "" {
			test.want = "this is not valid"
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s of %.80q: %q, want %q", test.spec, test.text, got, test.want)
		}
	}
}

func TestBlocksOfAnotherLanguageAreLeftOut(t *testing.T) {
	s := validate.Must(code.New("python"))
	for _, answer := range []string{
		"```console\n$ pip install x\n```\n```python\nimport x\n```",
		"```python\nprint(1)\n```\nwhich prints\n```\n1 2 (\n```", // a block without a label is then its output
		"````python\nx = '''\n```\n('''\n````",
	} {
		if got := said(t, s, answer); got != "" {
			t.Errorf("%q: %s", answer, got)
		}
	}
}

func TestALanguageWithoutAParserIsAnError(t *testing.T) {
	for spec, want := range map[string]string{
		"code:rust":                    `check "code": language must be one of go, javascript, json, jsx, python, sql, tsx, typescript, yaml, got "rust"`,
		"code:":                        `language must be one of go, javascript, json, jsx, python, sql, tsx, typescript, yaml, got ""`,
		`code:{"language": 1}`:         `, typescript, yaml, got 1`,
		`code:{"lang": "go"}`:          `lang: unknown parameter: known are language`,
		"python:go":                    `check "python": arguments must be left out, or a JSON object of parameters, got "go"`,
		`python:{"language": "go"}`:    `check "python": language: unknown parameter: the check has none`,
		"code:Python":                  `language must be one of python, go, javascript, json, jsx, sql, tsx, typescript, yaml, got "Python", did you mean python?`,
		`code:{"language": "python2"}`: `language must be one of python, go, javascript, json, jsx, sql, tsx, typescript, yaml, got "python2", did you mean python?`,
	} {
		_, err := validate.Parse(spec)
		if _, ok := errors.AsType[*validate.ParamError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	s := validate.Must(code.New("json"))
	v, err := s.Check(context.Background(), &validate.Answer{Text: strings.Repeat("```json\n{\n```\n", 50)})
	if err != nil || len(v.Complaints) != 21 || v.Complaints[20].Problem != "and 30 more like these" {
		t.Errorf("%d complaints, %v", len(v.Complaints), err)
	}
}

func TestAContextThatHasEndedIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, language := range code.Languages() {
		s := validate.Must(code.New(language))
		if _, err := s.Check(ctx, &validate.Answer{Text: "x = 1"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", language, err)
		}
	}
}

func TestManyGoroutinesCheckAtOnce(t *testing.T) {
	s := validate.Must(code.New("python"))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			text, want := "x = 1", ""
			if i%2 == 1 {
				text, want = "x = (", "never closed"
			}
			if got := said(t, s, text); !strings.Contains(got, want) || (want == "") != (got == "") {
				t.Errorf("%q: %q", text, got)
			}
		})
	}
	all.Wait()
}

// What CPython ships is Python, where it is installed.
func TestTheStandardLibraryIsPython(t *testing.T) {
	s := validate.Must(code.New("python"))
	for _, name := range []string{"bisect", "keyword", "queue"} {
		text, err := os.ReadFile("/usr/lib/python3.11/" + name + ".py")
		if err != nil {
			t.Skip("Python's standard library is not installed")
		}
		if got := said(t, s, string(text)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func FuzzCode(f *testing.F) {
	for _, codes := range valid {
		for _, text := range codes {
			f.Add(text)
		}
	}
	f.Add("```py\nx = (\n```\n~~~js\n}\n~~~")
	var checks []validate.Strategy
	for _, language := range code.Languages() {
		if language != "sql" { // has a target of its own
			checks = append(checks, validate.Must(code.New(language)))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, s := range checks {
			v, err := s.Check(context.Background(), &validate.Answer{Text: text})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range v.Complaints {
				if c.Line < 1 || c.Line > lines+1 || c.Column < 1 {
					t.Errorf("%q: %+v", text, c)
				}
			}
		}
	})
}

func TestALanguageOfAnotherPackageCanBeRegistered(t *testing.T) {
	complete := code.Language{
		Name: "shout", Title: "Shout", Labels: []string{"shout"},
		Parse: func(_ context.Context, source string) ([]code.Problem, error) {
			if source == strings.ToUpper(source) {
				return nil, nil
			}
			return []code.Problem{{Text: "a small letter", Line: 1, Column: 2}}, nil
		},
	}
	for want, change := range map[string]func(*code.Language){
		`code: Register: Name must be a name without white space around it, got " x"`: func(l *code.Language) { l.Name = " x" },
		`code: Register "shout": Title must not be empty`:                             func(l *code.Language) { l.Title = "" },
		`code: Register "shout": Labels must not be empty`:                            func(l *code.Language) { l.Labels = nil },
		`code: Register "shout": Parse must not be nil`:                               func(l *code.Language) { l.Parse = nil },
		`code: Register "go": the name is taken`:                                      func(l *code.Language) { l.Name = "go" },
		"":                                                                            func(*code.Language) {},
	} {
		l := complete
		change(&l)
		if err := code.Register(l); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := validate.Must(validate.Parse("code:shout"))
	if got := said(t, s, "A b"); got != "line 1, column 2: this is not valid Shout: a small letter (answer with Shout code alone, or put it into a Markdown block labelled shout)" {
		t.Error(got)
	}
	if got := said(t, s, "```shout\nHEY\n```"); got != "" {
		t.Error(got)
	}
}

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

var update = flag.Bool("update", false, "write docs/checks.md again")

const examplesDir = "../../examples/checks"

// wrongExamples say, of each example, what is said of the answer that does not
// pass.
var wrongExamples = map[string][]string{
	"choices":      {`one_of: "I think that the review is negative." is not one of the allowed values`, `if you mean "negative", leave out the other words`},
	"code":         {"code: line 4, column 68: this is not valid Go", "code: line 11, column 1: this is not valid YAML", "python: line 16, column 19: this is not valid Python: expected ':'"},
	"combinations": {"any: none of the alternatives passed", `not: the text "as an AI" is there, and must not be`, "not: it apologizes\n   answer without an apology"},
	"fields":       {`at /error: the field "error" must not be there`, `format: at /person/emails/0: "ada at example.org" is not an e-mail address`, "expression: the person is under age"},
	"format":       {`format: "2027-02-29" is not a date of the calendar`, "like 2026-01-31"},
	"honesty":      {"no_secrets: line 1, column 57: there is a payment card number", "there is an IBAN", `the nearest passage is "the best of times`},
	"json":         {"json: at /districts: line 1, column 51: the JSON ends before it is complete"},
	"judge":        {"agent_task: it promises money back\n   leave that out", "ai_contradiction_check: it promises money back"},
	"number":       {`number: "about 42 %" is not a number`, "answer with an integer of more than 0 and at most 100 in digits"},
	"openapi":      {`openapi_spec: at /info: line 3, column 1: the property "version" is missing`},
	"schema":       {`the property "mayor" is not allowed`, "at /population: expected an integer, got the string \"3.7 million\""},
	"sql":          {"sql_safe: line 2, column 27: a statement of the kind delete is not allowed"},
	"text":         {"length: too few characters: expected at least 40, got 17", "word_count:", "sentence_count:", `contains: the text "Spree" is missing`, "regex: "},
}

func exampleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(examplesDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func TestEachExampleOfChecksPassesOneAnswerAndNotTheOther(t *testing.T) {
	for _, config := range exampleFiles(t) {
		name := strings.TrimSuffix(filepath.Base(config), ".yaml")
		t.Run(name, func(t *testing.T) {
			judged(t, name, true)
			good, bad := filepath.Join(examplesDir, name+".good.txt"), filepath.Join(examplesDir, name+".bad.txt")
			if got := command(t, "", "validate", "--config", config, good); got.code != 0 || !strings.HasPrefix(got.stdout, "valid") {
				t.Errorf("the right answer: exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			says := wrongExamples[name]
			if len(says) == 0 {
				t.Errorf("nothing is expected of the wrong answer")
			}
			judged(t, name, false)
			got := command(t, "", "validate", "--config", config, bad)
			if got.code != 3 {
				t.Errorf("the wrong answer: exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			for _, part := range says {
				if !strings.Contains(got.stdout, part) {
					t.Errorf("the complaints lack %q:\n%s", part, got.stdout)
				}
			}

			// The same file is a configuration of a call.
			answer, err := os.ReadFile(good)
			if err != nil {
				t.Fatal(err)
			}
			step, err := json.Marshal(string(answer))
			if err != nil {
				t.Fatal(err)
			}
			judged(t, name, true)
			_, args := serve(t, fmt.Sprintf("steps: [{answer: %s}]", step))
			if got := command(t, "", append(args, "--config", config, "--max-attempts", "1", "Say something")...); got.code != 0 {
				t.Errorf("call: exit %d\n%s", got.code, got.stderr)
			}
		})
	}
}

// judged serves a judge of this verdict, where the example asks one.
func judged(t *testing.T, name string, passed bool) {
	t.Helper()
	if name != "judge" {
		return
	}
	verdict := `{"reasons": [], "passed": true}`
	if !passed {
		verdict = `{"reasons": [{"problem": "it promises money back", "suggestion": "leave that out"}], "passed": false}`
	}
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	serveJudge(t, "steps: ["+strings.TrimSuffix(strings.Repeat("{answer: '"+verdict+"'}, ", 20), ", ")+"]")
}

// usage is where the examples use a name: as NAME:ARGUMENTS, and as a type with
// parameters.
type usage struct{ asText, asType string }

// usedNames reads which checks the examples use.
func usedNames(t *testing.T) map[string]*usage {
	t.Helper()
	used := map[string]*usage{}
	for _, path := range exampleFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var config struct{ Checks []any }
		if err := yaml.Load(data, &config); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		of := func(name string) *usage {
			if used[name] == nil {
				used[name] = &usage{}
			}
			return used[name]
		}
		for _, check := range config.Checks {
			switch c := check.(type) {
			case string:
				name, _, _ := strings.Cut(c, ":")
				of(name).asText = filepath.Base(path)
			case map[string]any:
				of(fmt.Sprint(c["type"])).asType = filepath.Base(path)
			}
		}
	}
	return used
}

func TestEachCheckHasAnExampleInBothForms(t *testing.T) {
	used := usedNames(t)
	for _, c := range validate.Checks() {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if u := used[name]; u == nil || u.asText == "" || u.asType == "" {
				t.Errorf("examples/checks has not both forms of %s: %+v", name, u)
			}
		}
	}
}

// The page is made of what the registry says: go test ./cmd/llmcall -run Page -update.
func TestThePageOfChecksIsWhatTheRegistrySays(t *testing.T) {
	const path = "../../docs/checks.md"
	want := checksPage(usedNames(t))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not up to date: run go test ./cmd/llmcall -run Page -update", path)
	}
}

func checksPage(used map[string]*usage) string {
	var b strings.Builder
	b.WriteString(`# The checks

What ` + "`--check`, `checks:`" + ` in a configuration file, ` + "`validate.Parse` and `validate.Build`" + ` know by name. This page is made of
the registry by a test, and says what ` + "`llmcall checks`" + ` says. A check is written as ` + "`NAME:ARGUMENTS`" + `, or with its parameters:

` + "```yaml" + `
checks:
  - length:3..200
  - type: length
    params: {min_length: 3, max_length: 200}
` + "```" + `

| check | what passes | example | in a file |
| --- | --- | --- | --- |
`)
	checks := validate.Checks()
	slices.SortFunc(checks, func(a, b validate.Info) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range checks {
		names := "[" + c.Name + "](#" + c.Name + ")"
		for _, alias := range c.Aliases {
			names += ", " + alias
		}
		file := ""
		if u := used[c.Name]; u != nil {
			file = fmt.Sprintf("[%[1]s](../examples/checks/%[1]s)", u.asType)
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", names, cell(c.Summary), cell(c.Example), file)
	}
	for _, c := range checks {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.Name, strings.ToUpper(c.Summary[:1])+c.Summary[1:])
		if len(c.Aliases) > 0 {
			fmt.Fprintf(&b, "Also named %s.\n", strings.Join(c.Aliases, ", "))
		}
		if c.Main != "" {
			fmt.Fprintf(&b, "After the colon: %s.\n", c.Main)
		}
		if len(c.Params) > 0 {
			b.WriteString("\n| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n")
		}
		for _, p := range c.Params {
			byDefault := p.Default
			if p.Required {
				byDefault = "must be given"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", p.Name, p.Type, cell(byDefault), cell(p.Meaning))
		}
	}
	return b.String()
}

// cell is a text as a table takes it.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }

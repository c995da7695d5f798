package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmcall/chaos"
	"llmcall/validate"
)

func TestChecksAreListedEachInALine(t *testing.T) {
	got := command(t, "", "checks")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	known := validate.Checks()
	if got.code != 0 || len(lines) != len(known)+2 || !strings.Contains(lines[len(lines)-1], "llmcall checks NAME") {
		t.Fatalf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	for i, c := range known {
		if !strings.HasPrefix(lines[i], strings.Join(append([]string{c.Name}, c.Aliases...), ", ")) || !strings.HasSuffix(lines[i], "  "+c.Summary) {
			t.Errorf("%s: %q", c.Name, lines[i])
		}
	}
	var infos []validate.Info
	if got := command(t, "", "checks", "--output", "json"); json.Unmarshal([]byte(got.stdout), &infos) != nil || len(infos) != len(known) {
		t.Errorf("%s", got.stdout)
	}
}

func TestACheckIsDescribed(t *testing.T) {
	want := `length: the answer has so many characters

Parameters:
  min_length: integer, default 0
      the least number of characters (Unicode code points)
  max_length: integer, default no limit
      the largest number of characters; one of the two limits must be given

On the command line:
  --check 'length:3..200'
  after the colon: the least and the largest number: 3..200, 3.. or ..200; or the parameters as a JSON object

In a configuration file:
  checks:
    - 'length:3..200'
`
	if got := command(t, "", "checks", "length"); got.stdout != want {
		t.Errorf("%s%s", got.stdout, got.stderr)
	}
	if got := command(t, "", "checks", "response_not_empty"); !strings.HasPrefix(got.stdout, "not_empty: ") || !strings.Contains(got.stdout, "also named response_not_empty\n") || strings.Contains(got.stdout, "colon") {
		t.Errorf("%s", got.stdout)
	}
	var info validate.Info
	if got := command(t, "", "checks", "--output", "json", "one_of"); json.Unmarshal([]byte(got.stdout), &info) != nil || info.Name != "one_of" || len(info.Params) != 2 {
		t.Errorf("%s", got.stdout)
	}
	for _, args := range [][]string{{"checks", "lenght"}, {"checks", "length", "json"}, {"checks", "--output", "xml"}} {
		if got := command(t, "", args...); got.code != 2 || got.stdout != "" {
			t.Errorf("%q: exit %d: %s", args, got.code, got.stdout)
		}
	}
	if got := command(t, "", "checks", "lenght"); !strings.Contains(got.stderr, "unknown check \"lenght\", did you mean length?") {
		t.Error(got.stderr)
	}
}

// What is shown can be copied: the words of the shell are the check's example.
func TestEachExampleSurvivesTheShellAndTheConfiguration(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	serveJudge(t, "{}")
	for _, c := range append(validate.Checks(), validate.Info{Name: "quoted", Example: `regex:it's "so"`}) {
		out, err := exec.Command(shell, "-c", "printf %s "+shellQuoted(c.Example)).Output()
		if err != nil || string(out) != c.Example {
			t.Errorf("%s: %s, %v", c.Name, out, err)
		}
		if c.Name == "quoted" {
			continue
		}
		described := command(t, "", "checks", c.Name).stdout
		_, config, ok := strings.Cut(described, "In a configuration file:\n")
		if !ok {
			t.Fatalf("%s", described)
		}
		if got := command(t, "x", "validate", "--config", file(t, "c.yaml", config), "-"); got.code != 0 && got.code != 3 {
			t.Errorf("%s: exit %d: %s", c.Name, got.code, got.stderr)
		}
	}
}

func TestValidateSaysWhetherATextPasses(t *testing.T) {
	config := file(t, "c.yaml", "checks:\n  - json\n  - 'at:/n number:1..3'\n")
	for _, c := range []struct {
		name, text string
		args       []string
		code       int
		stdout     string
	}{
		{"passes", `{"n": 3}`, []string{"--check", "json"}, 0, "valid\n"},
		{"a fence is taken off", "```\n{\"n\": 3}\n```", []string{"--schema", file(t, "s.json", schema)}, 0, "valid\n"},
		{"repairs", `Sure! {"a": 1,}`, []string{"--check", `json:{"repair": true}`}, 0, "valid after 2 repairs\n\nrepaired:\n" +
			"  line 1, column 1: text before the JSON: \"Sure!\" left out\n  line 1, column 14: a comma too many: \",\" left out\n\n{\"a\": 1}\n"},
		{"one repair, and a complaint", `{"n": 4,}`, []string{"--check", `json:{"repair": true}`, "--check", "at:/n number:1..3"}, 3,
			"1. number: at /n: 4 is more than 3\n   make it at most 3\n\nrepaired:\n  line 1, column 8: a comma too many: \",\" left out\n\n{\"n\": 4}\n"},
		{"complaints", `{"n": "3"}`, []string{"--schema", file(t, "s.json", schema), "--check", "length:..5"}, 3,
			"1. schema: at /n: expected an integer, got the string \"3\"\n   write it without quotes\n" +
				"2. length: too many characters: expected at most 5, got 10\n   make it at most 5 characters long\n"},
		{"the configuration's checks", `{"n": 4}`, []string{"--config", config}, 3, "1. number: at /n: 4 is more than 3\n   make it at most 3\n"},
		{"all together", `{"n": 2}`, []string{"--config", config, "--schema", file(t, "s.json", schema), "--check", "expression:answer.n == 2"}, 0, "valid\n"},
		{"a check that can't be made", "x", []string{"--check", `quotes:{"from_request": true}`}, 3, "not run: quotes: its sources are in the request, and there is no request\n"},
		{"an empty text", "", []string{"--check", "not_empty"}, 3, "1. not_empty: the answer is empty\n   answer with text\n"},
		{"what commands a terminal", "\x1b[2J", []string{"--check", "one_of:a"}, 3, "1. one_of: \"\\x1b[2J\" is not one of the allowed values\n   answer with one of \"a\", and nothing else\n"},
	} {
		for _, from := range []string{"-", file(t, "answer", c.text)} {
			got := command(t, c.text, append(append([]string{"validate"}, c.args...), from)...)
			if got.code != c.code || got.stdout != c.stdout || (got.stderr != "") != (c.code != 0) {
				t.Errorf("%s: exit %d, want %d\n%q\nwant\n%q\n%s", c.name, got.code, c.code, got.stdout, c.stdout, got.stderr)
			}
		}
	}
	got := command(t, "["+strings.Repeat("'a', ", 29)+"'a']", "validate", "--check", `json:{"repair": true}`, "-")
	if !strings.HasPrefix(got.stdout, "valid after more than 20 repairs\n") || !strings.Contains(got.stdout, "  and 10 more changes\n") {
		t.Errorf("%q", got.stdout)
	}
	got = command(t, "x", "validate", "--check", "json", "--check", "length:2..", "-")
	if got.stderr != "llmcall: the text does not pass: 2 complaints\n" {
		t.Errorf("%q", got.stderr)
	}
}

// The names are those of the documentation, no more and no less.
func TestValidateAsJSON(t *testing.T) {
	decode := func(text string, args ...string) map[string]any {
		t.Helper()
		got := command(t, text, append(append([]string{"validate", "--output", "json"}, args...), "-")...)
		var v map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &v); err != nil {
			t.Fatalf("%v in %q; %s", err, got.stdout, got.stderr)
		}
		if (got.code == 0) != (v["valid"] == true) {
			t.Errorf("exit %d: %s", got.code, got.stdout)
		}
		return v
	}
	always := []string{"complaints", "failed", "passed", "skipped", "valid"}
	v := decode("word", "--check", "length:3..")
	if got := slices.Sorted(maps.Keys(v)); !slices.Equal(got, always) || v["valid"] != true || len(v["passed"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
	v = decode(`{"n": 1.50}`, "--check", "json", "--check", "regex:x", "--check", `quotes:{"from_request": true}`)
	if got := slices.Sorted(maps.Keys(v)); !slices.Equal(got, append(always, "value")) || v["value"].(map[string]any)["n"] != 1.5 {
		t.Errorf("%v", v)
	}
	complaint := v["complaints"].([]any)[0].(map[string]any)
	failed := v["failed"].([]any)[0].(map[string]any)
	if complaint["check"] != "regex" || complaint["problem"] == "" || failed["check"] != "quotes" || !strings.Contains(failed["error"].(string), "no request") {
		t.Errorf("%v", v)
	}
	v = decode("{'n': 1}", "--check", `json:{"repair": true}`)
	want := []any{map[string]any{"problem": "quotes that are none of JSON's", "line": 1.0, "column": 2.0, "was": "'n'", "is": `"n"`}}
	if !reflect.DeepEqual(v["repaired"], want) || v["text"] != `{"n": 1}` || v["value"].(map[string]any)["n"] != 1.0 {
		t.Errorf("%v", v)
	}
	if v = decode("null", "--check", "json"); v["valid"] != true {
		t.Errorf("%v", v)
	}
	if value, there := v["value"]; !there || value != nil {
		t.Error("null is a value")
	}
}

// serveJudge serves a judge that follows a plan, where models of OpenAI's are
// looked for.
func serveJudge(t *testing.T, plan string) *chaos.Server {
	t.Helper()
	server, args := serve(t, plan)
	t.Setenv("OPENAI_BASE_URL", args[slices.Index(args, "--base-url")+1])
	return server
}

func TestAJudgeIsOpenedByItsName(t *testing.T) {
	const (
		check = `agent_task:{"task_prompt": "It is polite.", "validation_model": "openai/critic"}`
		bad   = `{steps: [{answer: '{"reasons": [{"problem": "it is rude", "suggestion": "be polite"}], "passed": false}'}]}`
		good  = `{steps: [{answer: '{"reasons": [], "passed": true}'}]}`
	)
	config := file(t, "c.yaml", "checks:\n  - type: agent_task\n    params: {task_prompt: It is polite., validation_model: openai/critic}\n")
	for _, args := range [][]string{{"--check", check}, {"--config", config}} {
		server := serveJudge(t, bad)
		got := command(t, "Go away.", append(append([]string{"validate"}, args...), "-")...)
		if got.code != 3 || got.stdout != "1. agent_task: it is rude\n   be polite\n" || server.Requests()[0].Model != "critic" {
			t.Errorf("%q: exit %d: %s%s", args, got.code, got.stdout, got.stderr)
		}
		serveJudge(t, good)
		got = command(t, "Good morning.", append(append([]string{"validate", "--output", "json"}, args...), "-")...)
		var v map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || got.code != 0 || v["valid"] != true || v["usage"].(map[string]any)["output_tokens"] == 0.0 {
			t.Errorf("%q: exit %d: %s%s", args, got.code, got.stdout, got.stderr)
		}
		serveJudge(t, good)
		_, call := serve(t, "{}")
		if got := command(t, "", append(append(call, args...), "Greet them")...); got.code != 0 || got.stdout == "" {
			t.Errorf("%q: exit %d: %s", args, got.code, got.stderr)
		}
	}
}

// A judge that can't be opened is found before anything is called.
func TestAJudgeWithoutAKeyIsAnError(t *testing.T) {
	const check = `agent_task:{"task_prompt": "It is polite.", "validation_model": "openai/critic"}`
	config := file(t, "c.yaml", "checks: ['"+check+"']\n")
	for _, args := range [][]string{{"--check", check}, {"--config", config}} {
		server, call := serve(t, "{}")
		for _, base := range [][]string{append(call, "Greet them"), {"validate", "-"}} {
			got := command(t, "x", append(append([]string{base[0]}, args...), base[1:]...)...)
			if got.code != 2 || !strings.Contains(got.stderr, "OPENAI_API_KEY") || !strings.Contains(got.stderr, "validation_model") {
				t.Errorf("%q: exit %d: %s", args, got.code, got.stderr)
			}
		}
		if n := len(server.Requests()); n != 0 {
			t.Errorf("%d calls were made", n)
		}
	}
	// explain makes no check, and needs none of its keys.
	if got := command(t, "{}", "explain", "--provider", "openai", "--status", "500", "--config", config, "-"); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestValidateTellsWhatItSkips(t *testing.T) {
	r := validate.Report{
		Complaints: []validate.Complaint{{Check: "json", Problem: "p"}}, Skipped: []string{"judge"}, Passed: []string{"length"},
	}
	var text, object bytes.Buffer
	if err := errors.Join(writeReport(&text, &r), writeReportJSON(&object, givenText{}, &r)); err != nil {
		t.Fatal(err)
	}
	if want := "1. json: p\nnot run: judge: it is costly, and a cheaper check did not pass\n"; text.String() != want {
		t.Errorf("%q", text.String())
	}
	if !strings.Contains(object.String(), "\"skipped\": [\n    \"judge\"\n  ]") {
		t.Errorf("%s", object.String())
	}
}

func TestValidateRefusesWrongUsage(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-"}, "no checks given: use --check, --schema, or --config with checks"},
		{[]string{"--config", file(t, "c.yaml", "max_attempts: 3\n"), "-"}, "no checks given"},
		{[]string{"--check", "json"}, "expected a FILE (or - for standard input), got none"},
		{[]string{"--check", "json", "-", "a", "-"}, "standard input (-) can be read only once"},
		{[]string{"--check", "json", "--jsonl", "/dev/null"}, "--jsonl: there is no line with text"},
		{[]string{"--check", "json", missing}, missing},
		{[]string{"--check", "jsno", "-"}, "--check jsno: unknown check"},
		{[]string{"--check", "regex:(", "-"}, "regular expression"},
		{[]string{"--check", "expression:answr", "-"}, "line 1, column 1: undeclared reference"},
		{[]string{"--schema", missing, "-"}, "--schema"},
		{[]string{"--schema", file(t, "s.json", `{"type": "strnig"}`), "-"}, "s.json"},
		{[]string{"--config", missing, "-"}, "--config"},
		{[]string{"--config", file(t, "c.yaml", "checks: [jsno]"), "-"}, "c.yaml:1"},
		{[]string{"--check", "json", "--output", "xml", "-"}, "--output"},
	} {
		got := command(t, "{}", append([]string{"validate"}, c.args...)...)
		if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%q: exit %d: %s%s", c.args, got.code, got.stdout, got.stderr)
		}
	}
}

func TestValidateIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, hold := io.Pipe()
	done := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() { done <- run(ctx, []string{"validate", "--check", "json", "-"}, in, &out, &errs) }()
	cancel()
	if code := <-done; code != 130 || out.Len() != 0 {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
	hold.Close() // ends the goroutine that reads
	if got := command(t, "", "validate", "--help"); got.code != 0 || !strings.Contains(got.stdout, "130  interrupted") {
		t.Errorf("%s", got.stdout)
	}
	// A context that has ended while the checks were made.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ended, []string{"validate", "--check", "json", file(t, "a", "{}")}, nil, &out, &errs); code != 130 || out.Len() != 0 {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

func TestAnOutcomeThatCannotBeWrittenIsAnError(t *testing.T) {
	for _, args := range [][]string{{"validate", "--check", "json", "-"}, {"validate", "--check", "json", "--output", "json", "-"}, {"checks"}, {"checks", "json"}, {"checks", "--output", "json"},
		{"explain", "-", "--provider", "openai", "--status", "500"}, {"explain", "-", "--provider", "openai", "--status", "500", "--output", "json"},
		{"providers"}, {"chaos", "--addr", "127.0.0.1:0"}} {
		closed, w := io.Pipe()
		closed.CloseWithError(errors.New("disk full"))
		var errs bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader("{}"), w, &errs); code != 1 || strings.Count(errs.String(), "could not be written") != 1 || !strings.Contains(errs.String(), "disk full") {
			t.Errorf("%q: exit %d: %s", args, code, errs.String())
		}
	}
}

func TestValidateChecksSeveralTexts(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"good.json": `{"n": 1}`, "bad.json": `{"n": "x"}`, "lines.jsonl": "{\"n\": 1}\r\n\n{\"n\": \"x\"}\nnope\n", "schema.json": schema} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"good.json", "good.json"}, 0, "good.json: valid\ngood.json: valid\n", ""},
		{[]string{"good.json", "bad.json"}, 3, "good.json: valid\nbad.json:\n  1. schema: at /n: expected an integer, got the string \"x\"\n     put an integer there\n", "llmcall: 1 of 2 texts does not pass: 1 complaint\n"},
		{[]string{"--jsonl", "lines.jsonl"}, 3, "lines.jsonl:3:\n  1. schema: at /n: expected an integer, got the string \"x\"\n     put an integer there\nlines.jsonl:4:\n  1. schema: line 1, column 1: the text is not JSON: \"nope\"\n     answer with JSON alone\n",
			"llmcall: 2 of 3 texts do not pass: 2 complaints\n"},
		{[]string{"--jsonl", "good.json"}, 0, "", ""},
		{[]string{"good.json", "missing.json"}, 2, "", "llmcall: FILE: open missing.json: no such file or directory\n"},
	} {
		got := command(t, "", append([]string{"validate", "--schema", "schema.json"}, c.args...)...)
		if got.code != c.code || got.stdout != c.stdout || got.stderr != c.stderr {
			t.Errorf("%q: exit %d:\n%s%s", c.args, got.code, got.stdout, got.stderr)
		}
	}
	// A line that passes is reported if it was repaired.
	repairing := file(t, "c.yaml", "checks: [{json: {repair: true}}]")
	if got := command(t, "{\"n\": 1}\n{\"n\": 2,}\n", "validate", "--config", repairing, "--jsonl", "-"); got.code != 0 || got.stdout != "-:2: valid after 1 repair\n\nrepaired:\n  line 1, column 8: a comma too many: \",\" left out\n\n{\"n\": 2}\n" {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	got := command(t, "", "validate", "--schema", "schema.json", "--output", "json", "--jsonl", "lines.jsonl")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != 3 || len(lines) != 3 || !strings.HasPrefix(lines[1], `{"file":"lines.jsonl","line":3,"valid":false,`) {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

func TestTheVerdictNamesWhatWasFound(t *testing.T) {
	for verdict, c := range map[string]struct {
		all     tally
		several bool
	}{
		"":                                    {tally{texts: 2}, true},
		"the text does not pass: 1 complaint": {tally{1, 1, 1, 0}, false},
		"the text does not pass: 1 check could not be run":                     {tally{1, 1, 0, 1}, false},
		"the text does not pass: 2 complaints, and 1 check could not be run":   {tally{1, 1, 2, 1}, false},
		"1 of 1 text does not pass: 2 checks could not be run":                 {tally{1, 1, 0, 2}, true},
		"2 of 3 texts do not pass: 1 complaint, and 2 checks could not be run": {tally{3, 2, 1, 2}, true},
	} {
		got := ""
		if err := c.all.verdict(c.several); err != nil {
			got = err.Error()
		}
		if got != verdict {
			t.Errorf("got %q, want %q", got, verdict)
		}
	}
}

// What a list of complaints leaves out is counted: 22 violations are not 21.
func TestComplaintsThatAreLeftOutAreCounted(t *testing.T) {
	got := command(t, "["+strings.Repeat(`"x",`, 21)+`"x"]`, "validate", "--check", `schema:{"items": {"type": "integer"}}`, "-")
	if got.code != 3 || !strings.HasSuffix(got.stdout, "21. schema: and 2 more violations of the schema\n") || got.stderr != "llmcall: the text does not pass: 22 complaints\n" {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// A check that names no judge asks that of the environment, else the model of the call.
func TestAJudgeNeedsNoName(t *testing.T) {
	const good = `{steps: [{answer: '{"reasons": [], "passed": true}'}]}`
	config := file(t, "c.yaml", "model: openai/of-the-file\nchecks:\n  - agent_task: is polite\n")
	for _, c := range []struct {
		judge, want string
		args        []string
	}{
		{"", "of-the-environment", []string{"validate", "--check", "agent_task:is polite", "-"}},
		{"openai/critic", "critic", []string{"validate", "--check", "agent_task:is polite", "-"}},
		{"", "of-the-flag", []string{"call", "--model", "openai/of-the-flag", "--check", "ai_contradiction_check:it is open from 9 to 5", "Hi"}},
		{"openai/critic", "critic", []string{"call", "--model", "openai/of-the-flag", "--check", "agent_task:is polite", "Hi"}},
		{"", "of-the-file", []string{"call", "--config", config, "Hi"}},
	} {
		server := serveJudge(t, good)
		if c.args[0] == "call" {
			server = serveJudge(t, `{steps: [right, {answer: '{"reasons": [], "passed": true}'}]}`)
		}
		t.Setenv("LLMCALL_MODEL", "openai/of-the-environment")
		t.Setenv("LLMCALL_JUDGE", c.judge)
		got := command(t, "Good morning.", c.args...)
		requests := server.Requests()
		if got.code != 0 || len(requests) == 0 || requests[len(requests)-1].Model != c.want {
			t.Errorf("%q with judge %q: exit %d: %s%s", c.args, c.judge, got.code, got.stdout, got.stderr)
		}
	}
	t.Setenv("LLMCALL_MODEL", "")
	t.Setenv("OPENAI_BASE_URL", "")
	for _, args := range [][]string{{"validate", "-"}, {"call", "--practice", "Hi"}} {
		got := command(t, "x", append([]string{args[0], "--check", "agent_task:is polite"}, args[1:]...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "set LLMCALL_JUDGE") {
			t.Errorf("%q: exit %d: %s", args, got.code, got.stderr)
		}
	}
	for judge, want := range map[string]string{"openai/x": "LLMCALL_JUDGE: openai: the environment variable OPENAI_API_KEY must be set", "foo": `LLMCALL_JUDGE: model must be provider/model`} {
		t.Setenv("LLMCALL_JUDGE", judge)
		if got := command(t, "x", "validate", "--check", "agent_task:is polite", "-"); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("judge %q: exit %d: %s", judge, got.code, got.stderr)
		}
	}
	if got := command(t, "", "checks", "agent_task"); strings.Contains(got.stdout, "mcp") {
		t.Error(got.stdout)
	}
}

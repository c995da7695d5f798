package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/internal/results"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// batchOf returns a server that follows a plan, and the arguments of a batch that asks it,
// with the file of its answers.
func batchOf(t *testing.T, plan string) (server *chaos.Server, args []string, out string) {
	t.Helper()
	server, args = serve(t, plan)
	out = filepath.Join(t.TempDir(), "out.jsonl")
	return server, append([]string{"batch", "-o", out}, args[1:]...), out
}

// batchLine is a line of a batch, as a user reads it.
type batchLine struct {
	Row      int             `json:"row"`
	ID       json.RawMessage `json:"id"`
	CustomID string          `json:"custom_id"`
	Answer   *string         `json:"answer"`
	Value    any             `json:"value"`
	Model    string          `json:"model"`
	Practice bool            `json:"practice"`
	Attempts int             `json:"attempts"`
	Cost     *float64        `json:"cost"`
	Error    *struct {
		Reason, Message string
		Complaints      []any
		LastAnswer      string `json:"last_answer"`
		Review          string `json:"review_file"`
	} `json:"error"`
	Hash string `json:"hash"`
}

// linesOfFile reads the output of a batch. Each line must be whole.
func linesOfFile(t *testing.T, path string) []batchLine {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return linesOfText(t, string(text))
}

func linesOfText(t *testing.T, text string) []batchLine {
	t.Helper()
	var all []batchLine
	for line := range strings.Lines(text) {
		var w batchLine
		if err := json.Unmarshal([]byte(line), &w); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, w)
	}
	return all
}

// prompts returns what each request asked last, and how often.
func prompts(server *chaos.Server) map[string]int {
	asked := map[string]int{}
	for _, r := range server.Requests() {
		if n := len(r.Messages); n > 0 {
			asked[r.Messages[n-1].Text]++
		}
	}
	return asked
}

// jsonl returns n rows with prompts.
func jsonl(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "{\"id\": \"r%d\", \"prompt\": \"Question %d\"}\n", i, i)
	}
	return b.String()
}

func TestABatchAsksEachRowOnce(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	in := file(t, "in.jsonl", jsonl(40))
	got := command(t, "", append(args, in)...)
	if got.code != 0 || got.stdout != "" || !strings.Contains(got.stderr, "all 40 rows have a valid answer in "+out) {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	for i, line := range linesOfFile(t, out) {
		if line.Row != i+1 || string(line.ID) != fmt.Sprintf(`"r%d"`, i+1) || line.Answer == nil || line.Error != nil || line.Attempts != 1 || line.Practice || !strings.HasPrefix(line.Model, "openai/test") {
			t.Fatalf("line %d: %+v", i+1, line)
		}
	}
	asked := prompts(server)
	if len(asked) != 40 || len(server.Requests()) != 40 {
		t.Errorf("%d requests, %d of them different", len(server.Requests()), len(asked))
	}

	before, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	// Neither does the same command ask again, nor one with other limits.
	for _, more := range [][]string{nil, {"--timeout", "90", "--max-attempts", "7", "--concurrency", "3", "--give-up-after", "never"}, {"--retry-failed"}} {
		got = command(t, "", slices.Concat(args, []string{in}, more)...)
		if got.code != 0 || !strings.Contains(got.stderr, "has 40 rows, which are done: nothing is asked") {
			t.Errorf("%q: exit %d: %s", more, got.code, got.stderr)
		}
	}
	if after, err := os.ReadFile(out); err != nil || !bytes.Equal(before, after) || len(server.Requests()) != 40 {
		t.Errorf("asked again: %d requests, %v", len(server.Requests()), err)
	}
}

func TestWhatABatchAsks(t *testing.T) {
	for _, c := range []struct {
		name, file, in string
		args           []string
		asked          []string // the last message of each row, in any order
		ids            []string
	}{
		{"CSV with quotes and line breaks", "in.csv", "\ufeffid,text\r\n7,\"a \"\"b\"\"\r\nc, d\"\r\n8,x\r\n", []string{"--prompt", "Say {{.text}}!"},
			[]string{"Say a \"b\"\nc, d!", "Say x!"}, []string{`"7"`, `"8"`}},
		{"a number as id", "in.jsonl", `{"id": 7, "prompt": "x"}`, nil, []string{"x"}, []string{"7"}},
		{"messages", "in.jsonl", `{"id": "a", "messages": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"}], "system": "Be short."}`, nil,
			[]string{"Three"}, []string{`"a"`}},
		{"a template of a file", "in.jsonl", `{"id": "a", "word": "Berlin", "n": 3}`, []string{"--prompt", "@" + file(t, "p.txt", "Write {{.n}} times {{.word}}\n")}, []string{"Write 3 times Berlin"}, []string{`"a"`}},
		{"no id", "in.jsonl", "{\"prompt\": \"x\"}\n\n{\"prompt\": \"y\"}\n", nil, []string{"x", "y"}, []string{"", ""}},
		{"a file for each row", "in.csv", "id,f\na,notes.txt\n", []string{"--prompt", "Sum it up", "--file", filepath.Dir(file(t, "notes.txt", "Buy milk.")) + "/{{.f}}"},
			[]string{"<file name=\"notes.txt\">\nBuy milk.\n</file>\n\nSum it up"}, []string{`"a"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, args, out := batchOf(t, "{}")
			if c.name == "a file for each row" {
				for i, a := range c.args {
					if strings.HasSuffix(a, "/{{.f}}") {
						c.args[i] = filepath.Dir(file(t, "notes.txt", "Buy milk.")) + "/{{.f}}"
					}
				}
			}
			got := command(t, "", slices.Concat(args, []string{file(t, c.file, c.in)}, c.args)...)
			if got.code != 0 {
				t.Fatalf("exit %d: %s", got.code, got.stderr)
			}
			slices.Sort(c.asked)
			if asked := slices.Sorted(maps.Keys(prompts(server))); !slices.Equal(asked, c.asked) {
				t.Errorf("asked %q, want %q", asked, c.asked)
			}
			var ids []string
			for _, line := range linesOfFile(t, out) {
				ids = append(ids, string(line.ID))
			}
			if !slices.Equal(ids, c.ids) {
				t.Errorf("ids %q, want %q", ids, c.ids)
			}
		})
	}
}

// Lines of OpenAI's batch API are asked as they are: the model is theirs, an answer must fit
// the schema that its line asks for, and the line out has the custom_id.
func TestLinesOfOpenAIsBatchAPI(t *testing.T) {
	server, args, out := batchOf(t, `{steps: [{kind: break, at: /n}]}`)
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	at := slices.Index(args, "--model")
	args = slices.Delete(args, at, at+2) // that of the lines
	in := file(t, "in.jsonl", `{"custom_id": "first", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-test", "max_tokens": 50, "temperature": 0, "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "A number"}], "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"type": "object", "additionalProperties": false, "required": ["n"], "properties": {"n": {"type": "integer"}}}}}}}
{"custom_id": "second", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-test", "messages": [{"role": "user", "content": "Hello"}]}}
`)
	got := command(t, "", append(args, in, "--concurrency", "1")...)
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	lines := linesOfFile(t, out)
	if len(lines) != 2 || lines[0].CustomID != "first" || lines[1].CustomID != "second" || lines[0].ID != nil || lines[0].Attempts != 2 || lines[0].Model != "openai/gpt-test" {
		t.Fatalf("%+v", lines)
	}
	if v, ok := lines[0].Value.(map[string]any); !ok || v["n"] == nil {
		t.Errorf("value %v", lines[0].Value)
	}
	first := server.Requests()[0]
	for _, part := range []string{`"temperature":0`, `:50`, `"json_schema"`, `"Be short."`} {
		if !strings.Contains(string(first.Body), part) {
			t.Errorf("no %s in %s", part, first.Body)
		}
	}
}

// Lines for responses go there, with what that protocol alone has. Lines that name several
// models need one that is named beside them.
func TestLinesOfOpenAIsBatchAPIForResponses(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	at := slices.Index(args, "--model")
	named := args[at+1]
	args = slices.Delete(args, at, at+2)
	in := file(t, "in.jsonl", `{"custom_id": "1", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-test", "input": "Hello", "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}}}`+"\n")
	got := command(t, "", append(args, in)...)
	lines := linesOfFile(t, out)
	if got.code != 0 || len(lines) != 1 || lines[0].Model != "openai-responses/gpt-test" {
		t.Fatalf("exit %d, %+v: %s", got.code, lines, got.stderr)
	}
	if body := string(server.Requests()[0].Body); !strings.Contains(body, `"input":`) || !strings.Contains(body, `"reasoning":{"effort":"low"}`) {
		t.Errorf("got %s", body)
	}
	in = file(t, "several.jsonl", `{"custom_id": "1", "body": {"model": "one", "messages": [{"role": "user", "content": "a"}]}}
{"custom_id": "2", "body": {"model": "two", "messages": [{"role": "user", "content": "b"}]}}
`)
	out = filepath.Join(t.TempDir(), "several.out")
	args = append(args, in, "-o", out)
	if got = command(t, "", args...); got.code != 2 || !strings.Contains(got.stderr, `line 2: body.model must be that of the other rows ("one" in line 1), got "two"`) {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if got = command(t, "", append(args, "--model", named)...); got.code != 0 || len(linesOfFile(t, out)) != 2 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestABatchOfAThousandRowsFromStandardInput(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	got := command(t, jsonl(1000), append(args, "-")...)
	if got.code != 0 || len(linesOfFile(t, out)) != 1000 || len(server.Requests()) != 1000 || !strings.Contains(got.stderr, "standard input has 1,000 rows") {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "llmcall-rows-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	// To standard output, as they are done.
	args = slices.DeleteFunc(args, func(a string) bool { return a == "-o" || a == out })
	got = command(t, jsonl(30), append(args, "-")...)
	if lines := linesOfText(t, got.stdout); got.code != 0 || len(lines) != 30 {
		t.Errorf("exit %d: %d lines: %s", got.code, len(lines), got.stderr)
	}
}

// Each is exit code 2 with the place and what it takes, and no call is made.
func TestABadBatchIsNamedBeforeAnyCall(t *testing.T) {
	good := jsonl(3)
	for _, c := range []struct {
		name, file, in string
		args           []string
		says           []string
	}{
		{"an id twice", "in.jsonl", good + `{"id": "r2", "prompt": "x"}`, nil, []string{"in.jsonl", "line 4", `"r2"`, "line 2"}},
		{"not JSON", "in.jsonl", good + "{\n", nil, []string{"in.jsonl: line 4"}},
		{"a ragged record", "in.csv", "id,a\n1,2,3\n", []string{"--prompt", "{{.a}}"}, []string{"in.csv: line 2"}},
		{"no rows", "in.jsonl", "\n", nil, []string{"in.jsonl has no rows"}},
		{"no prompt at all", "in.csv", "id,text\n1,x\n", nil, []string{"--prompt", "text"}},
		{"a field that no row has", "in.csv", "id,text\n1,x\n2,y\n", []string{"--prompt", "{{.txet}}"}, []string{"line 2", `"txet", did you mean text?`}},
		{"a field of no row in --file", "in.csv", "id,f\n1,x\n", []string{"--prompt", "x", "--file", "{{.path}}"}, []string{"in.csv: line 2", `--file needs "path"`, "--file"}},
		{"files that are not there", "in.csv", "id,f\n1,missing.txt\n", []string{"--prompt", "x", "--file", "{{.f}}"}, []string{"line 2: --file", "missing.txt"}},
		{"a template that is none", "in.jsonl", good, []string{"--prompt", "{{.a"}, []string{"--prompt"}},
		{"a missing template", "in.jsonl", good, []string{"--prompt", "@missing.txt"}, []string{"--prompt", "missing.txt"}},
		{"a format", "in.jsonl", good, []string{"--format", "xml"}, []string{"--format", "jsonl", "csv", "xml"}},
		{"a concurrency", "in.jsonl", good, []string{"--concurrency", "0"}, []string{"--concurrency must be a whole number >= 1, got 0"}},
		{"a limit", "in.jsonl", good, []string{"--limit", "-1"}, []string{"--limit must be a whole number >= 1, got -1"}},
		{"a time to give up", "in.jsonl", good, []string{"--give-up-after", "soon"}, []string{"--give-up-after", "soon", "never"}},
		{"a cost", "in.jsonl", good, []string{"--max-cost", "-1"}, []string{"--max-cost", "-1"}},
		{"a cost of a model without a price", "in.jsonl", good, []string{"--max-cost", "1"}, []string{"prices", "price of openai/test"}},
		{"a reason", "in.jsonl", good, []string{"--retry-failed", "no_valid_anser"}, []string{"--retry-failed", "did you mean no_valid_answer?"}},
		{"a person at a terminal", "in.jsonl", good, []string{"--human", "terminal"}, []string{"--human", "llmcall resume"}},
		{"a setting", "in.jsonl", good, []string{"--max-attempts", "0"}, []string{"--max-attempts", "at least 1"}},
		{"a flag of call alone", "in.jsonl", good, []string{"--stream"}, []string{"--stream"}},
		{"two files", "in.jsonl", good, []string{"other.jsonl"}, []string{"expected one FILE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, args, out := batchOf(t, "{}")
			got := command(t, "", slices.Concat(args, []string{file(t, c.file, c.in)}, c.args)...)
			if got.code != 2 || got.stdout != "" {
				t.Errorf("exit %d, standard output %q", got.code, got.stdout)
			}
			for _, want := range c.says {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("the error does not say %q: %s", want, got.stderr)
				}
			}
			if n := len(server.Requests()); n != 0 {
				t.Errorf("%d calls were made", n)
			}
			if info, err := os.Stat(out); err == nil && info.Size() > 0 {
				t.Errorf("a file was written")
			}
		})
	}
	_, args, out := batchOf(t, "{}")
	if err := os.WriteFile(out, []byte("my notes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := command(t, "", append(args, file(t, "in.jsonl", good))...)
	if left, err := os.ReadFile(out); got.code != 2 || err != nil || string(left) != "my notes\n" || !strings.Contains(got.stderr, "not the output of a batch") {
		t.Errorf("exit %d: %s; %q, %v", got.code, got.stderr, left, err)
	}
}

// One row that can't be asked does not stop the others. When it is right, it alone is asked.
func TestARowThatCantBeAskedHasAnError(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	in := file(t, "in.csv", "id,text\na,x\nb,\nc,z\n")
	args = append(args, in, "--prompt", "{{.text}}")
	got := command(t, "", args...)
	if got.code != 3 || !strings.Contains(got.stderr, "1 row can't be asked") || !strings.Contains(got.stderr, "1  invalid_row  row 2: ") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	lines := linesOfFile(t, out)
	if len(lines) != 3 || lines[1].Error == nil || lines[1].Error.Reason != "invalid_row" || lines[1].Answer != nil || lines[1].Attempts != 0 {
		t.Fatalf("%+v", lines)
	}
	if err := os.WriteFile(in, []byte("id,text\na,x\nb,y\nc,z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = command(t, "", args...)
	if got.code != 0 || len(server.Requests()) != 3 || len(linesOfFile(t, out)) != 3 {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
}

func TestAChangeAsksAgainAndSaysHowMany(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	in := file(t, "in.csv", "id,text\na,x\nb,y\nc,z\n")
	args = append(args, in)
	n := 0
	run := func(asked int, says string, more ...string) {
		t.Helper()
		got := command(t, "", append(slices.Clone(args), more...)...)
		if new := len(server.Requests()) - n; got.code != 0 || new != asked || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: exit %d, %d requests, want %d and %q: %s", more, got.code, new, asked, says, got.stderr)
		}
		n = len(server.Requests())
		if lines := linesOfFile(t, out); len(lines) != strings.Count(string(must(os.ReadFile(in))), "\n")-1 {
			t.Errorf("%q: %d lines", more, len(lines))
		}
	}
	run(3, "has 3 rows", "--prompt", "Say {{.text}}")
	run(3, "3 lines of "+out+" no longer fit", "--prompt", "Write {{.text}}")
	run(3, "3 rows are asked again", "--prompt", "Write {{.text}}", "--system", "Be short.")
	run(3, "no longer fit", "--prompt", "Write {{.text}}", "--system", "Be short.", "--check", "not_empty")
	if err := os.WriteFile(in, []byte("id,text\nnew,n\na,x\nb,Y\nc,z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(2, "has 4 rows, of which 2 are done; 2 are asked now", "--prompt", "Write {{.text}}", "--system", "Be short.", "--check", "not_empty")
	// The same setting in a file is the same setting.
	run(0, "nothing is asked", "--prompt", "Write {{.text}}", "--config", file(t, "c.yaml", "system: Be short.\nmax_attempts: 9\nmax_concurrent: 3\n"), "--check", "not_empty")
}

// What a file of a row contains is a part of what the row asks; its name alone is not.
func TestARowWhoseFileHasChangedIsAskedAgain(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "Apples")
	write("b.txt", "Pears")
	write("all.txt", "Fruit")
	args = append(args, file(t, "in.csv", "f\na.txt\nb.txt\n"), "--prompt", "Sum it up", "--file", dir+"/{{.f}}", "--file", dir+"/all.txt")
	for i, c := range []struct {
		change func()
		asked  int
	}{
		{func() {}, 2},
		{func() {}, 0},
		{func() { write("b.txt", "Plums") }, 1},
		{func() { write("all.txt", "Fruits") }, 2},
		{func() { write("b.txt", "Pears"); write("b.txt", "Plums") }, 0},
	} {
		c.change()
		before := len(server.Requests())
		got := command(t, "", args...)
		if asked := len(server.Requests()) - before; got.code != 0 || asked != c.asked || len(linesOfFile(t, out)) != 2 {
			t.Errorf("%d: exit %d, %d requests, want %d: %s", i, got.code, asked, c.asked, got.stderr)
		}
	}
}

// The file with the rows is never that of the answers, by whatever name and however it looks.
func TestTheRowsAreNotOverwritten(t *testing.T) {
	server, args := serve(t, "{}")
	const looksLikeOurs = `{"row":1,"prompt":"x","hash":"00000000000000aa"}` + "\n"
	in := file(t, "in.jsonl", looksLikeOurs)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(in, link); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{{in, "-o", in}, {in, "-o", link}, {link, "-o", in}, {in, "-o", in, "--dry-run"}} {
		got := command(t, "", slices.Concat([]string{"batch"}, args[1:], more)...)
		if text := string(must(os.ReadFile(in))); got.code != 2 || !strings.Contains(got.stderr, "is the file with the rows: name another one") || text != looksLikeOurs {
			t.Errorf("%q: exit %d, %q: %s", more, got.code, text, got.stderr)
		}
	}
	if n := len(server.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// Calls were made when the input changes in the middle: that is no wrong usage.
func TestAnInputThatChangesMeanwhile(t *testing.T) {
	_, args, out := batchOf(t, "answer_time: 300ms")
	in := file(t, "in.jsonl", jsonl(30))
	args = append(args, in)
	cmd, errs := begin(t, args...)
	for range 1000 {
		if info, err := os.Stat(out); err == nil && info.Size() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.WriteFile(in, []byte(jsonl(31)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, cmd); code != 1 || !strings.Contains(errs.String(), "was changed while its rows were asked") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if got := command(t, "", args...); got.code != 0 || !strings.Contains(got.stderr, "31 rows") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRowsThatFailAreAskedAgainWhenToldSo(t *testing.T) {
	server, args, out := batchOf(t, `{steps: [prose, prose, {kind: right, answer: "1"}, {kind: status, status: 400}, {kind: right, answer: "2"}, {kind: right, answer: "3"}, {kind: right, answer: "4"}]}`)
	in := file(t, "in.jsonl", jsonl(4))
	args = append(args, in, "--check", "json", "--max-attempts", "2", "--concurrency", "1")
	got := command(t, "", args...)
	if got.code != 3 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	for _, want := range []string{
		"2 rows with a valid answer and 2 with an error in " + out,
		"  1  invalid_request  row 3: ", "  1  no_valid_answer  row 1: ",
		"--retry-failed invalid_request", "--retry-failed no_valid_answer --max-attempts 4",
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	first := linesOfFile(t, out)[0]
	if first.Error == nil || first.Error.Reason != "no_valid_answer" || len(first.Error.Complaints) == 0 || first.Error.LastAnswer == "" || first.Attempts != 2 {
		t.Errorf("%+v", first)
	}
	if got := command(t, "", args...); got.code != 3 || len(server.Requests()) != 5 || !strings.Contains(got.stderr, "no_valid_answer  in an earlier run") {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	if got := command(t, "", append(args, "--retry-failed", "--temperature", "1")...); got.code != 2 || len(server.Requests()) != 5 || !strings.Contains(got.stderr, "all rows would be asked again") {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	if got := command(t, "", append(args, "--retry-failed", "no_valid_answer")...); got.code != 3 || len(server.Requests()) != 6 || strings.Contains(got.stderr, "no_valid_answer ") {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	if got := command(t, "", append(args, "--retry-failed")...); got.code != 0 || len(server.Requests()) != 7 {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	for i, line := range linesOfFile(t, out) {
		if line.Row != i+1 || line.Answer == nil {
			t.Errorf("%+v", line)
		}
	}
}

func TestABadKeyEndsTheBatch(t *testing.T) {
	server, args, out := batchOf(t, `{repeat: true, steps: [{kind: status, status: 401}]}`)
	args = append(args, file(t, "in.jsonl", jsonl(500)))
	got := command(t, "", args...)
	if n := len(server.Requests()); got.code != 6 || n > 8 || len(linesOfFile(t, out)) != 0 {
		t.Errorf("exit %d, %d requests: %s", got.code, n, got.stderr)
	}
	for _, want := range []string{"no model can serve", "invalid_api_key", "500 are not done", "To go on:\n    llmcall batch "} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
}

func TestTheRunEndsBeforeItCostsMore(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	config := file(t, "c.yaml", "prices:\n  openai/*: {input: 1, output: 2}\nmax_tokens: 100\n")
	in := file(t, "in.jsonl", jsonl(200))
	args = append(args, in, "--config", config)
	got := command(t, "", append(slices.Clone(args), "--max-cost", "0.004")...)
	if got.code != 8 || !strings.Contains(got.stderr, "is spent") || !strings.Contains(got.stderr, "not done") {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	cost := 0.0
	for _, line := range linesOfFile(t, out) {
		if line.Error != nil || line.Cost == nil {
			t.Fatalf("%+v", line)
		}
		cost += *line.Cost
	}
	done := len(server.Requests())
	if cost > 0.004 || cost < 0.003 || done == 0 || done == 200 {
		t.Errorf("%d rows for $%v", done, cost)
	}
	if got := command(t, "", append(slices.Clone(args), "--max-cost", "1")...); got.code != 0 || len(server.Requests()) != 200 {
		t.Errorf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	// A row's own ceiling is the row's own fault.
	_, args, out = batchOf(t, "{}")
	config = file(t, "c.yaml", "prices:\n  openai/*: {input: 1, output: 2}\nmax_cost: 0.000001\n")
	got = command(t, "", append(args, file(t, "in.jsonl", jsonl(2)), "--config", config)...)
	if lines := linesOfFile(t, out); got.code != 3 || len(lines) != 2 || lines[0].Error == nil || lines[0].Error.Reason != "account_spent" {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestABatchForPractice(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.jsonl")
	got := command(t, jsonl(20), "batch", "-", "-o", out, "--practice", file(t, "p.yaml", "steps: [{kind: status, status: 500}]"), "--initial-delay", "0.001", "--schema", file(t, "s.json", schema))
	lines := linesOfFile(t, out)
	if got.code != 0 || len(lines) != 20 || !strings.Contains(got.stderr, "INVENTED") {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	for _, line := range lines {
		if v, ok := line.Value.(map[string]any); !line.Practice || !ok || v["n"] == nil {
			t.Errorf("%+v", line)
		}
	}
	if got := command(t, jsonl(1), "batch", "-"); got.code != 2 || !strings.Contains(got.stderr, "no model") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestRowsThatWaitForAPerson(t *testing.T) {
	_, args, out := batchOf(t, `{repeat: true, steps: [prose]}`)
	told := map[string]bool{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if told[r.Header.Get("webhook-id")] = true; len(told) == 2 {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer hook.Close()
	t.Setenv("LLMCALL_WEBHOOK_SECRET", "whsec_"+strings.Repeat("abcd", 8))
	args = append(args, file(t, "in.jsonl", jsonl(2)), "--check", "json", "--max-attempts", "1", "--human", hook.URL)
	got := command(t, "", args...)
	if len(told) != 2 || !strings.Contains(got.stderr, "nobody was told: ") {
		t.Errorf("told of %d rows: %s", len(told), got.stderr)
	}
	if got.code != 3 || !strings.Contains(got.stderr, "human_review: a person decides: llmcall resume FILE") {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	for _, line := range linesOfFile(t, out) {
		if line.Error == nil || line.Error.Reason != "human_review" || !strings.HasPrefix(line.Error.Review, out+".review/row-") {
			t.Fatalf("%+v", line)
		}
		edit := file(t, "edit.json", `{"n": 1}`)
		if got := command(t, "", "resume", line.Error.Review, "--edit", edit); got.code != 0 || got.stdout != "{\"n\": 1}\n" {
			t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
		}
	}
}

func TestADryRunOfABatch(t *testing.T) {
	server, args, out := batchOf(t, "{}")
	in := file(t, "in.csv", "id,text\na,x\nb,y\nc,z\n")
	config := file(t, "c.yaml", "prices:\n  openai/*: {input: 1, output: 2}\nmax_tokens: 100\nrequests_per_minute: 6000\n")
	args = append(args, in, "--prompt", "Say {{.text}}", "--config", config)
	got := command(t, "", append(args, "--dry-run", "--max-cost", "2")...)
	if got.code != 0 || len(server.Requests()) > 0 {
		t.Fatalf("exit %d, %d requests: %s", got.code, len(server.Requests()), got.stderr)
	}
	for _, want := range []string{"nothing is sent", "in.csv has 3 rows", "in prompts and 300 in answers", "money: at most $0.0", "with 3, and what", "--max-cost", "by requests_per_minute: 6000", "the first request, of row 1: POST http://"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	if !json.Valid([]byte(got.stdout)) || !strings.Contains(got.stdout, "Say x") {
		t.Errorf("printed %s", got.stdout)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
	if got := command(t, "", append(args, "--limit", "1")...); got.code != 0 || !strings.Contains(got.stderr, "in.csv has 3 rows; the first is asked now (--limit)") || !strings.Contains(got.stderr, "To ask all rows:") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "", append(args, "--dry-run")...); !strings.Contains(got.stderr, "3 rows, of which 1 is done; 2 are asked now") || !strings.Contains(got.stderr, "of row 2") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestABatchIsRecordedAndReplayed(t *testing.T) {
	_, args, out := batchOf(t, "{}")
	dir := filepath.Join(t.TempDir(), "calls")
	in := file(t, "in.jsonl", jsonl(20))
	if got := command(t, "", append(args, in, "--record", dir)...); got.code != 0 {
		t.Fatal(got.stderr)
	}
	got := command(t, "", "batch", in, "--replay", dir)
	again := linesOfText(t, got.stdout)
	if got.code != 0 || len(again) != 20 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	byID := map[string]string{}
	for _, line := range linesOfFile(t, out) {
		byID[string(line.ID)] = *line.Answer
	}
	for _, line := range again {
		if byID[string(line.ID)] != *line.Answer {
			t.Errorf("%s: %q, want %q", line.ID, *line.Answer, byID[string(line.ID)])
		}
	}
}

func TestWhatIsNotOfTheAnswerIsASetting(t *testing.T) {
	for _, name := range notOfTheAnswer {
		_, _, err := llmcall.ParseConfig("c.yaml", []byte(name+": {{{\n"))
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		_, _, err = llmcall.ParseConfig("c.yaml", []byte(name+": [[]]\n"))
		if err == nil || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s is not a setting: %v", name, err)
		}
	}
}

func TestAnOutputThatCantBeWritten(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	_, args, out := batchOf(t, "{}")
	args[slices.Index(args, out)] = "/dev/full"
	got := command(t, "", append(args, file(t, "in.jsonl", jsonl(50)))...)
	if got.code != 1 || !strings.Contains(got.stderr, "no space left") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestWithoutATerminalALineSaysHowFarItIs(t *testing.T) {
	p := newBatchProgress(10000)
	p.refused, p.start = 170, time.Now().Add(-time.Minute)
	p.speed.since = p.start
	for range 4109 {
		p.ended(rowValid, llmcall.Cost{Nanos: 300_000}, true)
	}
	for range 11 {
		p.ended(rowFailed, llmcall.Cost{}, false)
	}
	line := p.now().line()
	for _, want := range []string{"4,120 of 10,000 rows: 4,109 valid, 11 failed, 170 refused, $1.23, 137/s, 43s left"} {
		if line != want {
			t.Errorf("got %q, want %q", line, want)
		}
	}
}

func TestTheExamplesOfABatch(t *testing.T) {
	const dir = "../../examples/batch/"
	for _, c := range []struct {
		args []string
		ids  []string
	}{
		{[]string{dir + "cities.csv", "--prompt", "@" + dir + "prompt.txt", "--schema", "../../examples/city.schema.json"}, []string{`"ber"`, `"par"`, `"waw"`}},
		{[]string{dir + "openai.jsonl"}, []string{"ber", "hello"}},
	} {
		out := filepath.Join(t.TempDir(), "out.jsonl")
		got := command(t, "", slices.Concat([]string{"batch", "-o", out, "--practice"}, c.args)...)
		if got.code != 0 {
			t.Fatalf("%q: exit %d: %s", c.args, got.code, got.stderr)
		}
		lines := linesOfFile(t, out)
		var ids []string
		for _, line := range lines {
			ids = append(ids, string(line.ID)+line.CustomID)
		}
		if !slices.Equal(ids, c.ids) || lines[0].Value == nil {
			t.Errorf("%q: ids %q, first value %v", c.args, ids, lines[0].Value)
		}
	}
}

// A line that offers tools has its answer in a call of one.
func TestALineOfOpenAIsBatchAPIThatCallsATool(t *testing.T) {
	_, args, out := batchOf(t, `{repeat: true, steps: [{kind: right, tool: weather}]}`)
	in := file(t, "in.jsonl", `{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": "How is the weather in Berlin?"}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}}]}}`)
	got := command(t, "", append(args, in)...)
	text, err := os.ReadFile(out)
	if got.code != 0 || err != nil || !strings.Contains(string(text), `"tool_calls":[{`) || !strings.Contains(string(text), `"weather"`) {
		t.Errorf("exit %d: %s%s", got.code, got.stderr, text)
	}
}

func TestAFileIsWrittenToByOneBatchAtATime(t *testing.T) {
	_, args, out := batchOf(t, "{}")
	held, err := results.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	got := command(t, "", append(args, file(t, "in.jsonl", jsonl(3)))...)
	if got.code != 2 || !strings.Contains(got.stderr, "is being written to by another process") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestALineEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newBatchProgress(100)
		l := newBatchLines(&log, p)
		for range 35 {
			time.Sleep(time.Second)
			if time.Since(p.start) < 20*time.Second {
				p.ended(rowValid, llmcall.Cost{}, false)
			}
		}
		l.end()
		want := "llmcall: 10 of 100 rows: 10 valid, 0 failed, 0 refused, 1.0/s, 1m30s left\n" // at the same instant as a row
		lines := strings.SplitAfter(log.String(), "\n")
		if len(lines) != 4 || lines[0] != want && !strings.HasPrefix(lines[0], "llmcall: 9 of 100 rows: 9 valid") || !strings.Contains(lines[2], "no answer for 11s") {
			t.Errorf("got %q", lines)
		}
	})
}

// No line is wider than the terminal, also after it was made narrower.
func TestTheBarFitsTheTerminal(t *testing.T) {
	_, args, _ := batchOf(t, "answer_time: 400ms")
	args = append(args, file(t, "in.jsonl", jsonl(60)), "--concurrency", "8", "--config", file(t, "c.yaml", "prices: {openai/*: {input: 1000, output: 4000}}\n"))
	term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: 120}, []string{"OPENAI_API_KEY=of-the-test"}, args...)
	term.await("8 valid")
	if err := pty.Setsize(term.file, &pty.Winsize{Rows: 24, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	term.await("16 valid")
	wide := len(term.shown())
	if code := term.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
	check := func(shown string, columns int) {
		t.Helper()
		bars := 0
		for line := range strings.Lines(shown) {
			line = strings.TrimRight(ansi.Strip(line), "\r\n")
			if n := ansi.StringWidth(line); n > columns && !strings.HasPrefix(line, "    llmcall") && !strings.Contains(line, "/in.jsonl") {
				t.Errorf("%d columns: %d in %q", columns, n, line)
			}
			if strings.Contains(line, "of 60") {
				bars++
			}
		}
		if bars == 0 {
			t.Errorf("no bar in %q", shown)
		}
	}
	check(term.shown()[:wide], 120)
	check(term.shown()[wide:], 60)
	for _, want := range []string{"16 valid  0 failed  0 refused  $", "/s"} {
		if !strings.Contains(term.shown(), want) {
			t.Errorf("no %q in\n%s", want, term.shown())
		}
	}
}

// 2.01 times a billion is a little less than 2,010,000,000.
func TestTheLimitOfARunIsWhatWasGiven(t *testing.T) {
	var cfg llmcall.RetryConfig
	f := batchFlags{maxCost: "2.01"}
	if err := f.limitRun(&cfg); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Account.Snapshot().Limit.Nanos; got != 2_010_000_000 {
		t.Errorf("got %d", got)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/llm"

	"github.com/creack/pty"
)

// answering starts a server that answers as OpenAI does, and keeps the bodies.
func answering(t *testing.T) (address string, bodies *[]map[string]any) {
	t.Helper()
	bodies = new([]map[string]any)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		body["authorization"] = r.Header.Get("Authorization")
		*bodies = append(*bodies, body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}]}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, bodies
}

func TestPracticeWithAndWithoutAPlan(t *testing.T) {
	plan := file(t, "plan.yaml", "steps: [{answer: as planned}]")
	noSuffix := file(t, "plan", "steps: [{answer: as planned}]")
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"bare":                {[]string{"call", "--practice", "Hi!"}, "invented"},
		"bare, at the end":    {[]string{"call", "Hi!", "--practice"}, "invented"},
		"a plan":              {[]string{"call", "--practice", plan, "Hi!"}, "as planned"},
		"a plan after =":      {[]string{"call", "--practice=" + plan, "Hi!"}, "as planned"},
		"a plan, at the end":  {[]string{"call", "Hi!", "--practice", plan}, "as planned"},
		"a file of any name":  {[]string{"call", "--practice", noSuffix, "Hi!"}, "as planned"},
		"a prompt like flags": {[]string{"call", "--practice", "--", "--practice"}, "invented"},
	} {
		got := command(t, "", append([]string{c.args[0], "--output", "json"}, c.args[1:]...)...)
		if got.code != 0 || !strings.Contains(got.stdout, c.says) || !strings.Contains(got.stdout, `"practice": true`) {
			t.Errorf("%s: exit %d: %s%s", name, got.code, got.stdout, got.stderr)
		}
	}
	if got := command(t, "", "call", "--practice", "missing.yaml", "Hi!"); got.code != 2 || !strings.Contains(got.stderr, "missing.yaml") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// A job that lost its environment gets no invented answer.
func TestWithoutAKeyNothingIsInvented(t *testing.T) {
	for name, set := range map[string]string{"nothing": "", "a blank key": "OPENAI_API_KEY", "a blank address": "OPENAI_BASE_URL", "a blank model": "LLMCALL_MODEL"} {
		t.Run(name, func(t *testing.T) {
			if set != "" {
				t.Setenv(set, " ")
			}
			got := command(t, "", "call", "Hi!")
			if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "OPENAI_API_KEY") || !strings.Contains(got.stderr, "--practice") {
				t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestALocalServerInTheEnvironmentNeedsNoKey(t *testing.T) {
	address, bodies := answering(t)
	t.Setenv("OPENAI_BASE_URL", address)
	t.Setenv("OPENAI_API_KEY", " ")
	if got := command(t, "", "call", "Hi!"); got.code != 0 || got.stdout != "Yes.\n" || len(*bodies) != 1 {
		t.Errorf("exit %d: %s%s, %v", got.code, got.stdout, got.stderr, *bodies)
	}
}

func TestBaseURLInTheWordsOfTheFlag(t *testing.T) {
	address, bodies := answering(t)
	host := strings.TrimPrefix(address, "http://")
	_, port, _ := strings.Cut(host, ":")
	for _, given := range []string{host, "localhost:" + port, "LOCALHOST:" + port + "/", " " + address + " "} {
		if got := command(t, "", "call", "--base-url", given, "Hi!"); got.code != 0 {
			t.Errorf("%s: exit %d: %s", given, got.code, got.stderr)
		}
	}
	if len(*bodies) != 4 {
		t.Errorf("%d requests", len(*bodies))
	}
	t.Setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
	for given, want := range map[string]string{
		"gpu:8000":                 `got "gpu:8000" without http:// or https://`,
		"api.example.com/v1":       `got "api.example.com/v1" without http:// or https://`,
		"ftp://example.com":        `got "ftp://example.com"`,
		"https://":                 `got "https://"`,
		"https://me:hunter2@x.com": "got one with a user",
		"me:hunter2@localhost:1":   "got one with a user",
		"https://x.com/?hunter2":   "got one with a query",
		"https://x.com/#hunter2":   "got one with a fragment",
		"http://[::1":              "got one that can't be parsed",
		"http://example.com":       "got plain http to example.com",
	} {
		got := command(t, "", "call", "--base-url", given, "Hi!")
		if got.code != 2 || !strings.Contains(got.stderr, "--base-url must be ") || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "hunter2") || strings.Contains(got.stderr, "BaseURL") {
			t.Errorf("%s: exit %d: %s", given, got.code, got.stderr)
		}
	}
}

// A flag wins over the file, and the file over the environment.
func TestSettingsOfTheRequest(t *testing.T) {
	address, bodies := answering(t)
	t.Setenv("LLMCALL_MODEL", "openai/of-the-environment")
	config := file(t, "c.yaml", "model: openai/of-the-file\nsystem: Be brief.\nmax_tokens: 9\ntemperature: 0\nstop: END\nextra: {top_k: 5}\n")
	ask := func(args ...string) map[string]any {
		t.Helper()
		if got := command(t, "", append([]string{"call", "--base-url", address}, append(args, "Hi!")...)...); got.code != 0 {
			t.Fatalf("exit %d: %s", got.code, got.stderr)
		}
		return (*bodies)[len(*bodies)-1]
	}
	hold := func(body map[string]any, want map[string]any) {
		t.Helper()
		for name, value := range want {
			if !reflect.DeepEqual(body[name], value) {
				t.Errorf("%s is %v, want %v", name, body[name], value)
			}
		}
	}
	body := ask("--config", config)
	hold(body, map[string]any{"model": "of-the-file", "max_completion_tokens": 9.0, "temperature": 0.0, "stop": []any{"END"}, "top_k": 5.0, "seed": nil})
	if system := body["messages"].([]any)[0].(map[string]any); system["content"] != "Be brief." {
		t.Errorf("sent %v", body["messages"])
	}
	body = ask("--config", config, "--model", "openai/of-the-flag", "--max-tokens", "8", "--temperature", "0.5", "--seed", "-3", "--extra", `{"user": "me"}`, "--system", "Be long.")
	hold(body, map[string]any{"model": "of-the-flag", "max_completion_tokens": 8.0, "temperature": 0.5, "seed": -3.0, "user": "me", "top_k": nil})
	if system := body["messages"].([]any)[0].(map[string]any); system["content"] != "Be long." {
		t.Errorf("sent %v", body["messages"])
	}
	hold(ask(), map[string]any{"model": "of-the-environment", "temperature": nil})
}

func TestAlternativesInAConfiguration(t *testing.T) {
	server, args := serve(t, "steps: [{kind: status, error: model_not_found}, right, {kind: status, error: model_not_found}, {kind: status, status: 400}]")
	config := file(t, "c.yaml", "models: [openai/alternative-one, openai/alternative-two]\n")
	got := command(t, "", "call", "--base-url", args[2], "--config", config, "--output", "json", "Hi!")
	if got.code != 0 || !strings.Contains(got.stdout, "\n  \"model\": \"openai/alternative-two\"") || len(server.Requests()) != 2 {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	got = command(t, "", "call", "--base-url", args[2], "--config", config, "--output", "json", "Hi!")
	if got.code != 6 || !strings.Contains(got.stdout, "\n  \"model\": \"openai/alternative-two\"") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

func TestWhatIsPipedGoesBeforeThePrompt(t *testing.T) {
	server, args := serve(t, "{}")
	notes := file(t, "notes.txt", "one\ntwo\n")
	picture, _ := pngFile(t, "cat", 3)
	for _, c := range []struct {
		piped string
		args  []string
		want  string
	}{
		{"the text\n", []string{"Summarize this"}, "the text\n\nSummarize this"},
		{"the text\n", nil, "the text\n"},
		{"the text\n", []string{"-"}, "the text\n"},
		{" \n", []string{"Summarize this"}, "Summarize this"},
		{"", []string{"--file", notes, "Summarize this"}, "<file name=\"notes.txt\">\none\ntwo\n</file>\n\nSummarize this"},
		{"piped", []string{"--file", notes, "--file", picture, "Summarize this"}, "<file name=\"notes.txt\">\none\ntwo\n</file>\n\npiped\n\nSummarize this"},
	} {
		got := command(t, c.piped, append(args, c.args...)...)
		requests := server.Requests()
		if got.code != 0 {
			t.Fatalf("%q: exit %d: %s", c.args, got.code, got.stderr)
		}
		if m := requests[len(requests)-1].Messages; len(m) != 1 || m[0].Text != c.want {
			t.Errorf("%q: sent %q, want %q", c.args, m, c.want)
		}
	}
	if last := server.Requests()[5]; !strings.Contains(string(last.Body), "data:image/png;base64,") {
		t.Errorf("the picture is not sent: %s", last.Body)
	}
	for path, want := range map[string]string{
		file(t, "empty.txt", " \n"): "is empty", file(t, "x.pdf", "%PDF-1.7\nhalf"): "nor a file that a model takes: is a broken PDF: it ends before its end",
		file(t, "x.bin", "\xff\x00"): "neither a text in UTF-8 nor a file that a model takes: seems to be no file of a kind that is known here", t.TempDir(): "is a directory", "missing.txt": "no such file",
	} {
		if got := command(t, "", append(args, "--file", path, "Hi!")...); got.code != 2 || !strings.Contains(got.stderr, "--file: ") || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d: %s", path, got.code, got.stderr)
		}
	}
	if got := command(t, "", append(args, "--file", notes)...); got.code != 2 || !strings.Contains(got.stderr, "PROMPT must not be empty") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestStandardInputThatIsNotPiped(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	path := file(t, "in.txt", "x")
	regular, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if isPiped(null) || !isPiped(regular) || !isPiped(r) {
		t.Errorf("%v, %v, %v", isPiped(null), isPiped(regular), isPiped(r))
	}
}

// Under a program that leaves standard input open, a call does not hang without a
// word.
func TestAPipeThatDoesNotEndIsTold(t *testing.T) {
	for wait, told := range map[time.Duration]bool{patience - time.Second: false, patience + time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			in, w := io.Pipe()
			go func() {
				time.Sleep(wait)
				_, _ = io.WriteString(w, "late")
				w.Close()
			}()
			var errs strings.Builder
			text, err := readPipe(t.Context(), in, &errs)
			synctest.Wait() // for what was told
			if got := strings.Contains(errs.String(), "</dev/null"); err != nil || text != "late" || got != told {
				t.Errorf("%v: %q, %v, told %v", wait, text, err, got)
			}
		})
	}
}

// The body is what the provider would get, and nothing else is on standard
// output.
func TestDryRunSendsNothing(t *testing.T) {
	const key = "sk-secret-of-the-test"
	s := file(t, "s.json", schema)
	for model, c := range map[string]struct{ key, url, says string }{
		"openai/one":           {"OPENAI_API_KEY", "/chat/completions", "json_schema"},
		"openai-responses/one": {"OPENAI_API_KEY", "/responses", "json_schema"},
		"anthropic/one":        {"ANTHROPIC_API_KEY", "/v1/messages", "input_schema"},
		"gemini/one":           {"GEMINI_API_KEY", "/models/one:generateContent", "responseJsonSchema"},
		"deepseek/one":         {"DEEPSEEK_API_KEY", "/chat/completions", "must be valid against this JSON Schema"},
	} {
		for _, set := range []string{"", key} {
			t.Setenv(c.key, set)
			server, args := serve(t, "{}")
			got := command(t, "", append(args, "--model", model, "--schema", s, "--dry-run", "Hi!")...)
			var body map[string]any
			if err := json.Unmarshal([]byte(got.stdout), &body); got.code != 0 || err != nil || !strings.Contains(got.stdout, "Hi!") || !strings.Contains(got.stdout, c.says) {
				t.Errorf("%s: exit %d, %v: %s%s", model, got.code, err, got.stdout, got.stderr)
			}
			if !strings.Contains(got.stderr, "nothing is sent: POST "+args[2]) || !strings.Contains(got.stderr, c.url) || strings.Contains(got.stdout+got.stderr, key) {
				t.Errorf("%s: %s", model, got.stderr)
			}
			if n := len(server.Requests()); n != 0 {
				t.Errorf("%s: %d requests", model, n)
			}
		}
	}
	if got := command(t, "", "call", "--model", "anthropic/one", "--seed", "3", "--dry-run", "Hi!"); got.code != 2 || !strings.Contains(got.stderr, "seed") {
		t.Errorf("what can't be sent: exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "", "call", "--practice", "--stream", "--dry-run", "Hi!"); got.code != 0 || !strings.Contains(got.stdout, `"stream": true`) {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

func conversation(t *testing.T, path string) []string {
	t.Helper()
	messages, err := readConversation(path)
	if err != nil {
		t.Fatal(err)
	}
	var turns []string
	for _, m := range messages {
		turns = append(turns, string(m.Role)+": "+m.Text())
	}
	return turns
}

func TestAConversationIsSavedAndContinued(t *testing.T) {
	server, args := serve(t, "steps: [{answer: Berlin.}, {kind: status, status: 500}, {answer: About 3.7 million.}, {kind: status, status: 401}]")
	chat := filepath.Join(t.TempDir(), "chat.json")
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--system", "Be brief.", "--save", chat, "Capital?"}, 0, []string{"system: Be brief.", "user: Capital?", "assistant: Berlin."}},
		{[]string{"--continue", chat, "--save", chat, "People?"}, 0, []string{"system: Be brief.", "user: Capital?", "assistant: Berlin.", "user: People?", "assistant: About 3.7 million."}},
		{[]string{"--continue", chat, "--save", chat, "Sure?"}, 6, []string{"system: Be brief.", "user: Capital?", "assistant: Berlin.", "user: People?", "assistant: About 3.7 million."}},
	} {
		got := command(t, "", append(args, c.args...)...)
		if turns := conversation(t, chat); got.code != c.code || !reflect.DeepEqual(turns, c.want) {
			t.Errorf("%q: exit %d: %q\n%s", c.args, got.code, turns, got.stderr)
		}
	}
	if info, err := os.Stat(chat); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(chat), ".llmcall*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
	// --system replaces the stored one, and that of a file does not.
	for want, more := range map[string][]string{"Be long.": {"--system", "Be long."}, "Be brief.": {"--config", file(t, "c.yaml", "system: Be long.")}} {
		command(t, "", append(args, append(more, "--continue", chat, "x")...)...)
		requests := server.Requests()
		if m := requests[len(requests)-1].Messages; m[0].Text != want || m[0].Role != "system" || m[1].Role != "user" {
			t.Errorf("sent %+v", m)
		}
	}
	n := len(server.Requests())
	for flag, path := range map[string]string{
		"--continue must be a JSON list": file(t, "c.json", "{}"), "--continue missing.json": "missing.json", "--continue at least one message": file(t, "c.json", "[]"),
		`--continue "parts"`: file(t, "c.json", `[{"role": "user", "content": "x"}]`), `--continue the role of message 1`: file(t, "c.json", `[{"role": "bot", "parts": []}]`),
		"--continue a JSON list of messages, as --save writes it: got JSON of the type object": file(t, "c.json", "{}"),
		"--continue message 2 must be as --save writes it: parts is JSON of the type number":   file(t, "c.json", `[{"role": "user", "parts": []}, {"role": "user", "parts": 5}]`),
		"--continue message 1 must be as --save writes it: got JSON of the type string":        file(t, "c.json", `["Hi!"]`),
		"--save no such file": "/missing/x.json", "--save must be a file": t.TempDir(),
	} {
		flag, want, _ := strings.Cut(flag, " ")
		if got := command(t, "", append(args, flag, path, "x")...); got.code != 2 || !strings.Contains(got.stderr, flag) || !strings.Contains(got.stderr, want) {
			t.Errorf("%s %s: exit %d: %s", flag, path, got.code, got.stderr)
		}
	}
	if len(server.Requests()) != n {
		t.Error("a call was made")
	}
}

// A call of a tool needs its result, and a turn that waits for an answer gets one.
func TestAConversationGoesOnWhereItEnded(t *testing.T) {
	messages := withTurn([]llm.Message{llm.User("x"), {Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f"}}}}, llm.User("y"))
	if len(messages) != 4 || messages[2].Role != llm.RoleTool || messages[2].Parts[0].(llm.ToolResult).CallID != "1" {
		t.Errorf("%+v", messages)
	}
	server, args := serve(t, "{}")
	open := file(t, "open.json", `[{"role": "user", "parts": ["Capital?"]}]`)
	for want, prompt := range map[string][]string{"Capital?": nil, "Capital?\nOf Germany.": {"Of Germany."}} {
		got := command(t, "", append(append(args, "--continue", open), prompt...)...)
		requests := server.Requests()
		if m := requests[len(requests)-1].Messages; got.code != 0 || len(m) != 1 || m[0].Text != want {
			t.Errorf("exit %d: sent %+v, want %q\n%s", got.code, m, want, got.stderr)
		}
	}
}

func TestAFailedCallShowsTheWrongAnswer(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const wrong = `steps: [{answer: "first try\n\nof\nseveral\nlines"}, {answer: second try}]`
	for name, c := range map[string]struct {
		args []string
		code int
	}{"no valid answer": {[]string{"--max-attempts", "2"}, 3}, "a person must look": {[]string{"--config", file(t, "c.yaml", "max_attempts_before_human: 2")}, 5}} {
		server, args := serve(t, wrong)
		got := command(t, "", append(append(args, c.args...), "--check", "json", "--trace", "--output", "json", "Hi!")...)
		var shown struct {
			LastAnswer       string `json:"last_answer"`
			ConversationFile string `json:"conversation_file"`
			Attempts         []struct {
				Answer     string
				Complaints []any
			}
		}
		if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != c.code {
			t.Fatalf("%s: exit %d, %v: %s", name, got.code, err, got.stdout)
		}
		if a := shown.Attempts; shown.LastAnswer != "second try" || len(a) != 2 || a[0].Answer != "first try\n\nof\nseveral\nlines" || a[1].Answer != "second try" || len(a[1].Complaints) == 0 {
			t.Errorf("%s: %s", name, got.stdout)
		}
		for _, want := range []string{"│ > first try\n", "│ > of\n", "│ > several\n", "│ > … and 1 more line\n", "│ 1. json", "│ > second try\n"} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got.stderr)
			}
		}
		if c.code != 5 {
			if shown.ConversationFile != "" {
				t.Errorf("%s: %s", name, got.stdout)
			}
			continue
		}
		if turns := conversation(t, shown.ConversationFile); len(turns) != 4 || turns[3] != "assistant: second try" || !strings.Contains(got.stderr, "the conversation is in "+shown.ConversationFile) {
			t.Errorf("%q\n%s", turns, got.stderr)
		}
		got = command(t, "", append(args, "--continue", shown.ConversationFile, "In words")...)
		requests := server.Requests()
		if m := requests[len(requests)-1].Messages; got.code != 0 || len(m) != 5 || m[4].Text != "In words" {
			t.Errorf("exit %d: sent %+v", got.code, m)
		}
	}
	_, args := serve(t, wrong)
	path := filepath.Join(t.TempDir(), "of-the-user.json")
	got := command(t, "", append(args, "--config", file(t, "c.yaml", "max_attempts_before_human: 2"), "--check", "json", "--save", path, "Hi!")...)
	if turns := conversation(t, path); got.code != 5 || len(turns) != 4 || !strings.Contains(got.stderr, path) {
		t.Errorf("exit %d: %q\n%s", got.code, turns, got.stderr)
	}
}

func TestTraceShowsRepairs(t *testing.T) {
	_, args := serve(t, `steps: [{answer: "{\"n\": 1,}"}]`)
	got := command(t, "", append(args, "--check", `json:{"repair":true}`, "--trace", "Hi!")...)
	if got.code != 0 || !strings.Contains(got.stderr, "│ repaired: ") || got.stdout != "{\"n\": 1}\n" {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

func TestStreamIntoAPipe(t *testing.T) {
	server, args := serve(t, "steps: [{answer: 'Paris.'}, {answer: 'Berlin.'}]")
	got := command(t, "", append(args, "--stream", "--check", "contains:Berlin", "Hi!")...)
	if requests := server.Requests(); got.code != 3 || got.stdout != "Paris.\n" || len(requests) != 1 || !strings.Contains(string(requests[0].Body), `"stream":true`) {
		t.Errorf("exit %d, %d requests: %s%s", got.code, len(requests), got.stdout, got.stderr)
	}
	if got := command(t, "", append(args, "--stream", "--check", "contains:Berlin", "Hi!")...); got.code != 0 || got.stdout != "Berlin.\n" {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if got := command(t, "", append(args, "--stream", "--output", "json", "Hi!")...); got.code != 2 || !strings.Contains(got.stderr, "--stream") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	out, w := io.Pipe()
	out.Close()
	if code := run(t.Context(), append(args, "--stream", "Hi!"), strings.NewReader(""), w, io.Discard); code != exitOutput {
		t.Errorf("exit %d", code)
	}
}

// At a terminal an answer that nothing checks is shown as it comes.
func TestAtATerminalAnAnswerIsStreamed(t *testing.T) {
	plan := file(t, "p.yaml", "steps: [cut, {answer: The second.}]")
	for name, c := range map[string]struct {
		args   []string
		stream bool
	}{"no check": {nil, true}, "not_empty": {[]string{"--check", "not_empty"}, true}, "a check": {[]string{"--check", "contains:e"}, false}, "the trace": {[]string{"--trace"}, false}, "told not to": {[]string{"--stream=false"}, false}} {
		for _, columns := range []uint16{60, 120} {
			args := append([]string{"call", "--practice", plan, "--initial-delay", "0.001"}, append(c.args, "Hi!")...)
			term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: columns}, nil, args...)
			if code := term.exit(); code != 0 {
				t.Fatalf("%s: exit %d:\n%s", name, code, term.shown())
			}
			_, last, _ := strings.Cut(term.shown(), "another attempt begins")
			if got := last != ""; got != c.stream || !strings.HasSuffix(term.shown(), "The second.\r\n") {
				t.Errorf("%s: streamed %v:\n%q", name, got, term.shown())
			}
		}
	}
}

func TestALineShowsThatTheCallWorks(t *testing.T) {
	slow := file(t, "p.yaml", "steps: [{kind: slow, delay: 1.3}]")
	var terms []*terminal
	args := []string{"call", "--practice", slow, "--check", "contains:invented", "Hi!"}
	for _, columns := range []uint16{60, 120} {
		terms = append(terms, openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: columns}, nil, args...))
	}
	dumb := openTerminal(t, []string{"TERM=dumb"}, args...)
	for _, term := range terms {
		if code := term.exit(); code != 0 {
			t.Fatalf("exit %d:\n%s", code, term.shown())
		}
		if got := term.shown(); !strings.Contains(got, "waiting for openai/practice") || !strings.Contains(got, eraseLine+"This answer is invented") {
			t.Errorf("%q", got)
		}
	}
	if code := dumb.exit(); code != 0 || strings.Contains(dumb.shown(), "waiting for") {
		t.Errorf("exit %d: %q", code, dumb.shown())
	}
}

func TestATerminalIsToldThatThePromptIsAwaited(t *testing.T) {
	term := openTerminal(t, nil, "call", "--practice", "-")
	term.await("type the prompt, then Ctrl-D")
	if _, err := io.WriteString(term.file, "What is up?\n\x04"); err != nil {
		t.Fatal(err)
	}
	if code := term.exit(); code != 0 || !strings.Contains(term.shown(), "This answer is invented") {
		t.Errorf("exit %d: %q", code, term.shown())
	}
	term = openTerminal(t, nil, "call", "--practice")
	if code := term.exit(); code != 2 || !strings.Contains(term.shown(), "expected a PROMPT, got nothing") {
		t.Errorf("exit %d: %q", code, term.shown())
	}
}

// A configuration may be a pipe, <(…), which has its content only once. The model is looked
// for in it before the checks are made.
func TestAConfigurationFromAPipe(t *testing.T) {
	address, bodies := answering(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("model: openai/of-the-pipe\nmax_tokens: 9\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	path := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	got := command(t, "", "call", "--base-url", address, "--config", path, "Hi!")
	if got.code != 0 || len(*bodies) != 1 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if body := (*bodies)[0]; body["model"] != "of-the-pipe" || body["max_completion_tokens"] != 9.0 {
		t.Error(body)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/provider"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Unsetenv("LLMCALL_MODEL")
	os.Unsetenv("LLMCALL_JUDGE")
	for _, p := range provider.All() {
		os.Unsetenv(p.KeyVariable)
		os.Unsetenv(p.BaseURLVariable)
	}
	if os.Getenv("LLMCALL_TEST_AS_SERVER") != "" {
		toolServer()
		return
	}
	if os.Getenv("LLMCALL_TEST_AS_COMMAND") != "" { // a test runs this binary in the command's place
		main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"),      // the clock of its time limits ends a second after the last
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // Gemini's SDK starts it when it is imported
}

// outcome is what the command did.
type outcome struct {
	code           int
	stdout, stderr string
}

func command(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

// serve starts a provider that follows a plan, and returns it with the flags
// that reach it.
func serve(t *testing.T, plan string) (*chaos.Server, []string) {
	t.Helper()
	p, err := chaos.ParsePlan("plan", []byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	server, err := chaos.New(chaos.Config{Plan: p})
	if err != nil {
		t.Fatal(err)
	}
	http := httptest.NewServer(server)
	t.Cleanup(func() { server.Close(); http.Close() })
	return server, []string{"call", "--base-url", http.URL + "/v1", "--model", "openai/test-" + filepath.Base(t.Name()), "--initial-delay", "0.001"}
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const schema = `{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}`

func TestExitCodeSaysHowTheCallEnded(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // for the conversation that a person must look at
	breaker := file(t, "breaker.yaml", "enable_circuit_breaker: true\ncircuit_breaker_config: {failure_threshold: 2}\nmax_attempts: 5\n")
	human := file(t, "human.yaml", "max_attempts_before_human: 2\n")
	for _, c := range []struct {
		name string
		plan string
		args []string
		code int
		says string
	}{
		{"valid", `{}`, nil, 0, ""},
		{"valid after retries", `{steps: [{kind: status, status: 500}, reset]}`, nil, 0, ""},
		{"invalid at every attempt", `{steps: [prose, prose, prose]}`, []string{"--check", "json"}, 3, "no valid answer"},
		{"circuit open", `{repeat: true, steps: [{kind: status, status: 500}]}`, []string{"--config", breaker}, 4, "circuit"},
		{"a person must look", `{steps: [prose, prose, prose]}`, []string{"--check", "json", "--config", human}, 5, "a person must look"},
		{"provider failed for good", `{steps: [{kind: status, status: 401}]}`, nil, 6, "invalid_api_key"},
		{"provider failed at every attempt", `{repeat: true, steps: [{kind: status, status: 503}]}`, nil, 6, "after 3 attempts"},
		{"out of time in an attempt", `{steps: [hang]}`, []string{"--timeout", "50ms"}, 7, "out of time"},
		{"out of time for a wait", `{steps: [{kind: status, status: 429, retry_after: 60}]}`, []string{"--timeout", "30"}, 7, "can't hold a wait of 1m0s"},
		{"a wait that is too long", `{steps: [{kind: status, status: 429, retry_after: 3600}]}`, nil, 6, "1h0m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, args := serve(t, c.plan)
			got := command(t, "", append(append(args, c.args...), "Say something")...)
			if got.code != c.code || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit %d, want %d and %q\n%s", got.code, c.code, c.says, got.stderr)
			}
			if (got.stdout != "") != (c.code == 0) {
				t.Errorf("standard output holds the answer alone; it is %q", got.stdout)
			}
		})
	}
}

// Each is exit code 2 with the field and what it takes, and no call is made.
func TestBadInputIsNamedBeforeAnyCall(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"unknown configuration field", []string{"--config", file(t, "c.yaml", "max_tries: 3\n")}, []string{"c.yaml:1", "max_tries", "max_attempts"}},
		{"unknown breaker field", []string{"--config", file(t, "c.yaml", "circuit_breaker_config:\n  treshold: 3\n")}, []string{"c.yaml:2", "treshold", "failure_threshold"}},
		{"configuration that is none", []string{"--config", file(t, "c.yaml", "[")}, []string{"c.yaml"}},
		{"configuration missing", []string{"--config", missing}, []string{"--config", missing}},
		{"max_attempts 0 in a file", []string{"--config", file(t, "c.json", `{"max_attempts": 0}`)}, []string{"c.json:1", "max_attempts", "at least 1"}},
		{"max attempts 0", []string{"--max-attempts", "0"}, []string{"--max-attempts", "0", "at least 1"}},
		{"max attempts negative", []string{"--max-attempts", "-3"}, []string{"--max-attempts", "-3", "at least 1"}},
		{"factor below 1", []string{"--backoff-factor", "0.9"}, []string{"--backoff-factor", "0.9", "at least 1"}},
		{"factor NaN", []string{"--backoff-factor", "NaN"}, []string{"--backoff-factor", "finite"}},
		{"factor infinite", []string{"--backoff-factor", "+Inf"}, []string{"--backoff-factor", "finite"}},
		{"factor NaN in a file", []string{"--config", file(t, "c.yaml", "backoff_factor: .nan\n")}, []string{"backoff_factor", "finite"}},
		{"jitter range above 1", []string{"--jitter-range", "1.1"}, []string{"--jitter-range", "from 0 to 1"}},
		{"jitter range below 0", []string{"--jitter-range", "-0.1"}, []string{"--jitter-range", "from 0 to 1"}},
		{"negative delay", []string{"--initial-delay", "-1"}, []string{"--initial-delay", "at least 0"}},
		{"a delay that is no time", []string{"--max-delay", "soon"}, []string{"--max-delay", "soon", "seconds"}},
		{"a template that names no field", []string{"--config", file(t, "c.yaml", "feedback_template: '{{.Nope}}'\n")}, []string{"c.yaml:1", "feedback_template", "Nope"}},
		{"schema missing", []string{"--schema", missing}, []string{"--schema", missing}},
		{"schema not JSON", []string{"--schema", file(t, "s.json", "{")}, []string{"--schema", "s.json"}},
		{"schema no JSON Schema", []string{"--schema", file(t, "s.json", `{"type": "strnig"}`)}, []string{"--schema", "s.json", "type"}},
		{"unknown check", []string{"--check", "jsno"}, []string{"--check", "jsno", "did you mean json?"}},
		{"unknown parameter", []string{"--check", `length:{"least": 3}`}, []string{"least", "min_length"}},
		{"bad regular expression", []string{"--check", "regex:("}, []string{"regex", "("}},
		{"unknown provider", []string{"--model", "acme/x"}, []string{"acme", "openai"}},
		{"model without a provider", []string{"--model", "gpt"}, []string{"gpt", "provider/"}},
		{"unknown output", []string{"--output", "xml"}, []string{"--output", "xml", "json"}},
		{"unknown flag", []string{"--retries", "3"}, []string{"--retries"}},
		{"no schema in the variable", []string{"--schema", ""}, []string{"--schema must have a value, got an empty string"}},
		{"no model in the variable", []string{"--model", " "}, []string{"--model must have a value"}},
		{"no check in the variable", []string{"--check", "json", "--check", ""}, []string{"--check must have a value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, args := serve(t, "{}")
			got := command(t, "", append(append(args, c.args...), "Say something")...)
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
		})
	}
}

func TestAMissingKeyNamesItsVariable(t *testing.T) {
	if got := command(t, "", "call", "--model", "openai/x", "hello"); got.code != 2 || !strings.Contains(got.stderr, "OPENAI_API_KEY") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestPromptIsOneArgumentOrStandardInput(t *testing.T) {
	for _, args := range [][]string{{"call"}, {"call", "a", "b"}, {"call", "  "}, {"call", "-"}} {
		if got := command(t, "", args...); got.code != 2 || !strings.Contains(got.stderr, "PROMPT") {
			t.Errorf("%q: exit %d: %s", args, got.code, got.stderr)
		}
	}
	server, args := serve(t, "{}")
	if got := command(t, "from the pipe\n", append(args, "--system", "Be short.", "-")...); got.code != 0 {
		t.Fatal(got.stderr)
	}
	m := server.Requests()[0].Messages
	if len(m) != 2 || m[0].Text != "Be short." || m[1].Text != "from the pipe\n" {
		t.Errorf("sent %+v", m)
	}
}

func TestAHugeOrBrokenPromptIsHandled(t *testing.T) {
	_, args := serve(t, "{}")
	for name, prompt := range map[string]string{
		"10 MB": strings.Repeat("0123456789", 1<<20), "invalid UTF-8": "caf\xe9 \xff\xfe",
	} {
		if got := command(t, prompt, append(args, "--output", "json", "-")...); got.code != 0 || !json.Valid([]byte(got.stdout)) {
			t.Errorf("%s: exit %d: %.300s", name, got.code, got.stderr)
		}
	}
}

// The names are those of the documentation, no more and no less.
func TestJSONOutput(t *testing.T) {
	keys := func(v any) []string {
		var names []string
		for k := range v.(map[string]any) {
			names = append(names, k)
		}
		slices.Sort(names)
		return names
	}
	decode := func(got outcome) map[string]any {
		t.Helper()
		var v map[string]any
		if err := json.Unmarshal([]byte(got.stdout), &v); err != nil {
			t.Fatalf("%v in %q; %s", err, got.stdout, got.stderr)
		}
		return v
	}
	attempt := []string{"circuit", "complaints", "delay_ms", "delay_reason", "duration_ms", "error", "kind", "model", "number", "outcome", "stage", "usage"}

	_, args := serve(t, `{steps: [{kind: status, status: 503}, {kind: break, at: /n}]}`)
	args = append(args, "--schema", file(t, "s.json", schema), "--output", "json")
	good := decode(command(t, "", append(args, "A number")...))
	if got := keys(good); !slices.Equal(got, []string{"answer", "attempts", "model", "started", "usage", "value"}) {
		t.Errorf("a valid answer has %v", got)
	}
	if _, ok := good["value"].(map[string]any)["n"].(float64); !ok {
		t.Errorf("value is %v", good["value"])
	}
	attempts := good["attempts"].([]any)
	if len(attempts) != 3 {
		t.Fatalf("%d attempts", len(attempts))
	}
	for i, want := range []map[string]any{
		{"number": 1.0, "outcome": "failed", "kind": "overloaded", "delay_reason": ""},
		{"number": 2.0, "outcome": "invalid", "kind": "invalid_answer", "delay_reason": "backoff"},
		{"number": 3.0, "outcome": "valid", "kind": "", "error": "", "delay_ms": 0.0},
	} {
		names := attempt
		if want["outcome"] == "invalid" {
			names = append([]string{"answer"}, attempt...)
		}
		if got := keys(attempts[i]); !slices.Equal(got, names) {
			t.Errorf("attempt %d has %v", i+1, got)
		}
		for k, v := range want {
			if got := attempts[i].(map[string]any)[k]; got != v {
				t.Errorf("attempt %d: %s is %v, want %v", i+1, k, got, v)
			}
		}
	}
	if c := attempts[1].(map[string]any)["complaints"].([]any); len(c) != 1 || c[0].(map[string]any)["pointer"] != "/n" {
		t.Errorf("complaints of attempt 2: %v", c)
	}

	_, args = serve(t, `{steps: [{kind: status, status: 401}]}`)
	bad := decode(command(t, "", append(args, "--output", "json", "x")...))
	if got := keys(bad); !slices.Equal(got, []string{"attempts", "error", "model", "started", "usage"}) {
		t.Errorf("a failure has %v", got)
	}
}

func TestNullIsAValue(t *testing.T) {
	_, args := serve(t, `{steps: [{kind: right, answer: "null"}]}`)
	got := command(t, "", append(args, "--check", "json", "--output", "json", "x")...)
	if !strings.Contains(got.stdout, `"value": null`) {
		t.Errorf("%s%s", got.stdout, got.stderr)
	}
}

func TestFenceIsTakenOffAnAnswerThatIsDecoded(t *testing.T) {
	_, args := serve(t, `{steps: [fence]}`)
	got := command(t, "", append(args, "--schema", file(t, "s.json", schema), "x")...)
	if got.code != 0 || !json.Valid([]byte(got.stdout)) {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
}

func TestTraceIsDrawnOnStandardError(t *testing.T) {
	_, args := serve(t, `{steps: [{kind: status, status: 503}, prose]}`)
	got := command(t, "", append(args, "--check", "json", "--trace", "Answer with JSON")...)
	for _, want := range []string{"attempt 1", "overloaded", "waiting", "(backoff)", "attempt 2", "invalid_answer", "1. json:", "attempt 3", "✓ valid", "after 3 attempts"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	if strings.Contains(got.stderr, "\x1b[") {
		t.Errorf("colour where there is no terminal:\n%q", got.stderr)
	}
}

func TestABaseURLThatIsWrongIsNamed(t *testing.T) {
	_, args := serve(t, `{steps: [right]}`)
	at := slices.Index(args, "--base-url") + 1
	server := httptest.NewServer(http.NotFoundHandler()) // Ollama's 404 is this one
	t.Cleanup(server.Close)
	for wrong, want := range map[string]string{
		server.URL:                          "That of most servers ends in /v1.",
		server.URL + "/v1/chat/completions": "the base URL must end before /chat/completions, which is added to it.",
		args[at] + "/chat/completions":      "the base URL must end before /chat/completions, which is added to it.",
	} {
		args[at] = wrong
		got := command(t, "", append(args, "Hello")...)
		if got.code == 0 || !strings.Contains(got.stderr, wrong+"/chat/completions: ") || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d: %s", wrong, got.code, got.stderr)
		}
	}
}

func TestTraceAndJSONShowWhatWasRepaired(t *testing.T) {
	const plan = `{steps: [{kind: right, answer: "Sure! {'n': 1,}"}]}`
	repair := []string{"--check", `json:{"repair": true}`, "Answer with JSON"}
	_, args := serve(t, plan)
	got := command(t, "", append(append(args, "--trace"), repair...)...)
	for _, want := range []string{"│ repaired: line 1, column 1: text before the JSON", "│ repaired: line 1, column 14: a comma too many", "✓ valid after 3 repairs"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	_, args = serve(t, plan)
	got = command(t, "", append(append(args, "--output", "json"), repair...)...)
	var d struct {
		Answer   string
		Attempts []struct{ Repaired []any }
	}
	if err := json.Unmarshal([]byte(got.stdout), &d); err != nil || d.Answer != `{"n": 1}` || len(d.Attempts) != 1 || len(d.Attempts[0].Repaired) != 3 {
		t.Errorf("%v, %s%s", err, got.stdout, got.stderr)
	}
}

func TestTheModelIsToldInTheWordsOfTheConfiguration(t *testing.T) {
	server, args := serve(t, `{steps: [prose]}`)
	words := file(t, "c.yaml", "feedback_template: 'Nur JSON, bitte. {{(index .Complaints 0).Suggestion}}'\n")
	got := command(t, "", append(args, "--check", "json", "--config", words, "Answer with JSON")...)
	requests := server.Requests()
	if got.code != 0 || len(requests) != 2 || !strings.Contains(string(requests[1].Body), "Nur JSON, bitte. ") {
		t.Errorf("exit %d, %d requests\n%s", got.code, len(requests), got.stderr)
	}
}

func TestModelComesFromTheEnvironment(t *testing.T) {
	server, args := serve(t, "{}")
	t.Setenv("LLMCALL_MODEL", "openai/from-the-environment")
	t.Setenv("OPENAI_BASE_URL", args[2])
	if got := command(t, "", "call", "x"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	os.Unsetenv("LLMCALL_MODEL")
	t.Setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
	if got := command(t, "", "call", "x"); got.code != 0 || strings.Contains(got.stderr, "INVENTED") {
		t.Fatal(got.stderr)
	}
	models := []string{}
	for _, r := range server.Requests() {
		models = append(models, r.Model)
	}
	if len(models) != 2 || models[0] != "from-the-environment" {
		t.Errorf("asked %v", models)
	}
}

func TestTheKeyIsInNoOutput(t *testing.T) {
	const key = "sk-secret-of-the-test"
	t.Setenv("OPENAI_API_KEY", key)
	for _, plan := range []string{"{}", "{steps: [{kind: status, status: 401}]}", "{repeat: true, steps: [reset]}", "{steps: [{kind: status, code: html}]}", "{steps: [cut]}"} {
		_, args := serve(t, plan)
		got := command(t, "", append(args, "--trace", "--output", "json", "x")...)
		if strings.Contains(got.stdout+got.stderr, key) {
			t.Errorf("%s: the key is in the output:\n%s%s", plan, got.stdout, got.stderr)
		}
	}
}

// What was paid for is shown without --trace and --output json, too.
func TestTheLastWrongAnswerIsShown(t *testing.T) {
	_, args := serve(t, `{repeat: true, steps: [{answer: "one\ntwo\nthree\nfour\nfive"}]}`)
	wrong := append(slices.Clone(args), "--check", "length:..5", "--max-attempts", "1", "x")
	const want = "llmcall: the last answer began:\n> one\n> two\n> three\n> … and 2 more lines\nllmcall: no valid answer"
	if got := command(t, "", wrong...); got.code != exitInvalid || got.stdout != "" || !strings.HasPrefix(got.stderr, want) {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
	for _, flag := range []string{"--trace", "--output=json", "--stream"} { // they have it already
		if got := command(t, "", append(slices.Clone(wrong), flag)...); got.code != exitInvalid || strings.Contains(got.stderr, "began") {
			t.Errorf("%s: exit %d: %s", flag, got.code, got.stderr)
		}
	}
}

func TestNothingIsInventedUnlessAskedFor(t *testing.T) {
	s := file(t, "s.json", schema)
	got := command(t, "", "call", "--schema", s, "A number")
	if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "OPENAI_API_KEY") || !strings.Contains(got.stderr, "--practice") {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
	got = command(t, "", "call", "--model", "groq/x", "A number") // named, without its key
	if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "GROQ_API_KEY must be set") || !strings.Contains(got.stderr, "--practice") {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
	got = command(t, "", "call", "--practice", file(t, "p.yaml", "steps: [explode]"), "A number")
	if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "--practice") || !strings.Contains(got.stderr, "explode") {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
	got = command(t, "", "call", "--practice", file(t, "p.yaml", "{}"), "--output", "json", "--schema", s, "A number")
	var d struct {
		Practice bool
		Value    json.RawMessage
	}
	if err := json.Unmarshal([]byte(got.stdout), &d); got.code != 0 || err != nil || !d.Practice || len(d.Value) == 0 || !strings.Contains(got.stderr, "INVENTED") {
		t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
	}
}

func TestProvidersAreListedWithoutTheirKeys(t *testing.T) {
	t.Setenv("GROQ_API_KEY", "gsk-secret-of-the-test")
	got := command(t, "", "providers")
	for _, want := range []string{"openai ", "OPENAI_API_KEY (not set)", "openai/gpt-6-luna", "GROQ_API_KEY (set)", "OLLAMA_API_KEY (optional)", "http://127.0.0.1:11434/v1", "$AZURE_OPENAI_ENDPOINT"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in %s", want, got.stdout)
		}
	}
	if got.code != 0 || strings.Contains(got.stdout, "gsk-") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	if help := command(t, "", "call", "--help"); !strings.Contains(help.stdout, "Providers: openai, openai-responses, ") {
		t.Errorf("no providers in %s", help.stdout)
	}
}

func TestAnAnswerThatCannotBeWrittenIsAnError(t *testing.T) {
	_, args := serve(t, "{}")
	closed, w := io.Pipe()
	closed.CloseWithError(errors.New("disk full"))
	var errs bytes.Buffer
	if code := run(t.Context(), append(args, "x"), strings.NewReader(""), w, &errs); code != 1 || !strings.Contains(errs.String(), "disk full") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestAProvidersWordsCommandNoTerminal(t *testing.T) {
	_, args := serve(t, `{steps: [{kind: status, status: 400, body: '{"error": {"message": "\u001b]0;owned\u0007\u001b[2J"}}'}]}`)
	if got := command(t, "", append(args, "--trace", "x")...); strings.ContainsAny(got.stderr, "\x1b\a") {
		t.Errorf("%q", got.stderr)
	}
}

func TestChaosServesUntilItIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	plan := file(t, "p.yaml", "steps: [{kind: status, error: overloaded}]")
	go func() { done <- run(ctx, []string{"chaos", "--plan", plan}, nil, w, &errs) }()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(string(line[:n]))
	if got := command(t, "", "call", "--base-url", url, "--initial-delay", "0.001", "hello"); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
	if log := errs.String(); !strings.Contains(log, "503  status overloaded") || !strings.Contains(log, "200") {
		t.Errorf("log:\n%s", log)
	}
	for _, word := range []string{"stream_error", "spend_limit", "reset_after"} {
		if got := command(t, "", "chaos", "--help"); got.code != 0 || !strings.Contains(got.stdout, word) {
			t.Errorf("the help does not name %s", word)
		}
	}
	for _, args := range [][]string{{"--addr", "nonsense"}, {"--addr", ":8090"}, {"--plan", "missing.yaml"}, {"extra"}} {
		if got := command(t, "", append([]string{"chaos"}, args...)...); got.code != 2 {
			t.Errorf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
}

// The example has a bucket of five, and four places.
func TestTheExampleOfLimitsIsServed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"chaos", "--plan", "../../examples/limited.yaml"}, nil, w, &errs)
	}()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(string(line[:n]))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var mu sync.Mutex
	statuses := map[int]int{}
	ask := func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer one-of-the-test")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		statuses[response.StatusCode]++
		if response.Header.Get("X-Ratelimit-Limit-Requests") != "5" || (response.StatusCode == 429) != (response.Header.Get("Retry-After-Ms") != "") {
			t.Errorf("%d: %v", response.StatusCode, response.Header)
		}
		return response.Body.Close()
	}
	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	// More than five may pass where the machine is slow: ten a second come back.
	if statuses[500] != 1 || statuses[200] < 4 || statuses[429] == 0 || statuses[500]+statuses[200]+statuses[429]+statuses[503] != 40 {
		t.Errorf("got %v", statuses)
	}
	if got := command(t, "", "call", "--base-url", url, "hello"); got.code != 0 { // another key has a bucket of its own
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
	want := fmt.Sprintf("\n41 requests: %d answered, %d over the rate limit, %d over the queue, 1 failed or left\n", statuses[200]+1, statuses[429], statuses[503])
	if log := errs.String(); !strings.HasSuffix(log, want) || !strings.Contains(log, "refused: over the limit of 600 requests a minute") {
		t.Errorf("log:\n%s\nwant %s", log, want)
	}
}

func TestEveryKindOfFailureHasAnExitCode(t *testing.T) {
	if exitCode(&failure.Error{}) != exitUsage || exitCode(nil) != 0 {
		t.Error("an error from before the call is wrong usage")
	}
}

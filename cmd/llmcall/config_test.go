package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/provider"

	"github.com/charmbracelet/x/ansi"
)

func TestConfigCheckSaysWhatAFileDoes(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	keyFile := file(t, "key", "k")
	config := file(t, "c.yaml", `
providers:
  acme: {protocol: openai, base_url: http://127.0.0.1:9001/v1, keys: [env:OPENAI_API_KEY, file:`+keyFile+`]}
models: [acme/small, anthropic/claude-haiku-5-5]
system: Be brief.
temperature: 0.5
stages:
  - attempts: 2
  - {name: large, attempts: 1, models: [openai/gpt-6], max_tokens: 900}
  - human
checks: [json, 'length:..40', {type: agent_task, task: is polite}]
max_time: 90
attempt_timeout: 20
initial_delay: 0.5
fallback_after: 3
max_concurrent: 4
max_tokens_total: 9000
enable_circuit_breaker: true
hedge: {after: p95}
decisions: {content_filtered: {again: backoff}}
`)
	got := command(t, "", "config", "check", config)
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	for _, want := range []string{
		config + " can be used.",
		"acme/small, in the protocol of openai at http://127.0.0.1:9001/v1, with 2 keys, each an alternative: $OPENAI_API_KEY, the file " + keyFile + ".",
		"anthropic/claude-haiku-5-5, with the key of $ANTHROPIC_API_KEY (not there now).",
		"for longer than 3s, and after 2 failures that may pass",
		`The system message is "Be brief."`, "It has the temperature 0.5.",
		"Stage 1: 2 attempts of acme/small, else anthropic/claude-haiku-5-5.",
		"Then stage large: 1 attempt of openai/gpt-6, with at most 900 tokens.", "Then a person.", "That is 3 attempts at most",
		"json: the answer is one JSON value", "length (..40): the answer has", "agent_task (task: is polite): ", "A judge is asked: $LLMCALL_JUDGE, or else the call's own model.",
		"After failures that may pass: 500ms, 1s, each up to 10 % longer or shorter.", "up to 2m; those and the waits for a turn take up to 10m together",
		"The whole call may take 1m30s.", "An attempt may take 20s.", "have 4 requests at the same time.", "A call uses at most 9000 tokens",
		"After 5 failures within 5m a model is not asked for 1m",
		"After the time in which 95 % of the model's last answers came a second request goes to the next model of the stage, or else the same, for at most 5 % of the requests.",
		"never in a single llmcall call", "ends with exit code 5, and waits in a file for llmcall resume",
		"content_filtered: again backoff",
		"! anthropic/claude-haiku-5-5: its key is looked for in $ANTHROPIC_API_KEY, where none is now",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	got = command(t, "", "config", "check", "--output", "json", config)
	var shown configAccount
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != 0 || !shown.Valid || len(shown.Stages) != 3 || !shown.Stages[2].Human ||
		shown.Stages[0].Attempts != 2 || len(shown.Models) != 3 || len(shown.Checks) != 3 || len(shown.Warnings) != 1 {
		t.Errorf("%v: %+v", err, shown)
	}
}

func TestConfigCheckNamesWhatIsLikelyAMistake(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	const stages = "model: openai/a\nchecks: [json]\n"
	for _, c := range []struct{ config, says string }{
		{"stages: [{}, human]", "checks: there are none"},
		{"model: groq/x", "groq/x: its key is looked for in $GROQ_API_KEY"},
		{"model: acme/x\nproviders: {acme: {protocol: openai, key: env:NOT_SET_HERE}}", "acme/x: its key is looked for in $NOT_SET_HERE"},
		{"model: acme/x\nproviders: {acme: {protocol: openai, key: 'file:/missing'}}", "acme/x: its key is looked for in the file /missing"},
		{"providers: {acme: {protocol: openai}}", "providers.acme: no model of it is named"},
		{"models: [openai/a, openai/b]\nstages: [{models: [openai/b]}]\nchecks: [json]", "models: openai/a is asked in no stage"},
		{"models: [openai/a, openai/b, openai/a]", "models: openai/a is named twice, and is one model"},
		{"model: openai/a\nchecks: [json]\nmcp_servers: {m: {command: x}, n: {command: y}}\nstages: [{}, {tools: [n]}]", "mcp_servers.m: no stage names it or a tool of it, so it is connected and not used"},
		{"model: openai/a\nchecks: [json]\nmcp_servers: {m: {command: x, tools: [t]}}\nstages: [{}, {tools: [t]}]", ""},
		{"model: openai/a\nmcp_servers: {m: {command: x}}", ""},
		{stages + "max_attempts: 3\nstages: [{attempts: 2}, {attempts: 3, temperature: 0}]", "max_attempts: 3 leaves stage 2 1 attempt of its 3"},
		{stages + "stages: [{attempts: 2}, {attempts: 1}]", "stages[1]: it asks as the stage before does"},
		{stages + "stages: [{}, {tools: [lookup]}]", "the tool lookup: a Go program must have it in RetryConfig.Tools"},
		{"max_time: 10\nattempt_timeout: 10", "attempt_timeout: 10s is not less than max_time"},
		{"max_time: 3", "max_time: 3s is used up by the waits between 3 attempts (3s)"},
		{"max_time: 30\nmax_retry_after: 60", "max_retry_after: 1m is longer than max_time (30s)"},
		{"max_time: 30\nenable_circuit_breaker: true\nwait_for_circuit: true", "wait_for_circuit: a circuit is open for 1m"},
		{"max_tool_calls: 3", "there are no tools"},
		{stages + "max_attempts: 2\ninitial_delay: 0\nstages: [{attempts: 1}, {temperature: 0}, human]", ""},
		{"", ""},
	} {
		got := command(t, c.config, "config", "check", "-")
		_, warned, _ := strings.Cut(got.stdout, "Likely a mistake\n")
		if got.code != 0 || c.says == "" && warned != "" || !strings.Contains(warned, c.says) || strings.Count(warned, "!") > 1 {
			t.Errorf("%s: exit %d, want %q\n%s%s", c.config, got.code, c.says, warned, got.stderr)
		}
	}
}

func TestConfigCheckFindsWhatNoCallCanUse(t *testing.T) {
	for _, c := range []struct{ config, says string }{
		{"max_tries: 3", "unknown field"},
		{"model: opnai/x", "opnai"},
		{"model: acm/x\nproviders: {acme: {protocol: openai}}", "did you mean acme?"},
		{"model: acme/x\nproviders: {acme: {protocol: opnai}}", "providers.acme.protocol"},
		{"model: acme/x\nproviders: {acme: {base_url: 'http://127.0.0.1:1'}}", "providers.acme.protocol must be the name of a known provider"},
		{"model: openai/x\nfallback_after: 3", "fallback_after: has no effect with a single model"},
		{"model: openai/x\nattempts_per_model: 3", "attempts_per_model: has no effect with a single model"},
		{"model: openai/x\nmcp_servers: {m: {command: npx, tools: [lookup]}}\nstages: [{tools: [lokup]}]", "stages[0].tools[0] must be a tool of the configuration (did you mean lookup?)"},
		{"max_attempts: 1\nstages: [{}, {}, human]", "max_attempts must be a whole number of at least 2"},
		{"checks: [{type: agent_task, task: x, validation_model: opnai/judge}]", "opnai"},
		{"checks: [jsn]", "jsn"},
		{"steps: [right]", "-:1: steps is a field of a plan, for llmcall chaos --plan and --practice, and not of a configuration"},
	} {
		got := command(t, c.config, "config", "check", "-")
		if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%s: exit %d, want %q\n%s%s", c.config, got.code, c.says, got.stdout, got.stderr)
		}
		got = command(t, c.config, "config", "check", "--output", "json", "-")
		var shown configAccount
		if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != 2 || shown.Valid || !strings.Contains(shown.Error, c.says) {
			t.Errorf("%s: exit %d, %v: %s", c.config, got.code, err, got.stdout)
		}
	}
}

func TestWhatAFileDoesFitsATerminal(t *testing.T) {
	for _, columns := range []int{30, 60, 120} {
		account, err := examine("f", []byte("model: openai/gpt-6-luna\nmax_time: 60\nmax_retry_after: 120\n"))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := account.print(&b, "f"); err != nil {
			t.Fatal(err)
		}
		fit := listed(b.String(), columns)
		if strings.Join(strings.Fields(fit), " ") != strings.Join(strings.Fields(b.String()), " ") {
			t.Errorf("%d columns: not whole\n%s", columns, fit)
		}
		for line := range strings.Lines(fit) {
			if n := ansi.StringWidth(strings.TrimRight(line, "\n")); n > columns {
				t.Errorf("%d columns: %d in %q", columns, n, line)
			}
		}
	}
}

// Each commented example is a call; its provider is on this machine.
func TestEachExampleOfAConfigurationIsACall(t *testing.T) {
	for _, c := range []struct {
		name   string
		plan   string
		args   []string
		code   int
		models []string // that were asked, in order
		says   []string // of the trace, in order
	}{
		{
			"stair", `steps: [{answer: "no"}, {answer: "{}"}, {answer: "[]"}, {answer: '{"population": 3}'}]`, nil, 0,
			[]string{"gpt-6-luna", "gpt-6-luna", "gpt-6-luna", "gpt-6"},
			[]string{"stage small", "attempt 3", "stage calm", "2 attempts have failed", "openai/gpt-6  stage large", "└ ✓ valid"},
		},
		{
			"stair", `steps: [{kind: status, status: 401}, {answer: "no"}, {answer: "no."}, {answer: "never"}]`, nil, 5,
			nil, []string{"unauthorized", "anthropic/claude-haiku-5-5  stage small"},
		},
		{
			"providers", `steps: [{kind: status, status: 401}, {answer: Hello}]`, nil, 0,
			[]string{"small", "small"}, []string{"acme/small", "✗ unauthorized", "acme/small", "└ ✓ valid"},
		},
		{"providers", `steps: [{answer: Hello}]`, []string{"--model", "acme/large"}, 0, []string{"large"}, []string{"acme/large", "└ ✓ valid"}},
		{
			"hedge", `steps: [{kind: slow, delay: 5s}, {answer: Hello}]`, nil, 0,
			[]string{"gpt-6-luna", "claude-haiku-5-5"},
			[]string{"openai/gpt-6-luna", "hedge after 0.3", "anthropic/claude-haiku-5-5 was sooner; openai/gpt-6-luna is cancelled", "└ ✓ valid  anthropic/claude-haiku-5-5 (hedge)"},
		},
		{
			"short", `steps: [{answer: "no", tool: none}, {answer: "no!", tool: none}, {answer: "never", tool: none}]`, []string{"--model", "openai/x"}, 5,
			[]string{"x", "x", "x"}, []string{"attempt 2", "stage tool"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, args := serve(t, c.plan)
			address := strings.TrimSuffix(args[2], "/v1")
			for _, p := range provider.All() {
				switch p.Name {
				case "openai":
					t.Setenv(p.BaseURLVariable, address+"/v1")
				case "anthropic":
					t.Setenv(p.BaseURLVariable, address)
				}
				t.Setenv(p.KeyVariable, "of-the-test")
			}
			t.Setenv("ACME_KEY", "the-first-key")
			t.Setenv("ACME_SECOND_KEY", "the-second-key")
			path := "../../examples/" + c.name + ".yaml"
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := command(t, "", "config", "check", path); got.code != 0 || strings.Contains(got.stdout, "Likely a mistake") {
				t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
			}
			config := file(t, "c.yaml", strings.ReplaceAll(string(text), "http://127.0.0.1:9001/v1", address+"/v1"))
			kept := filepath.Join(t.TempDir(), "chat.json")
			got := command(t, "", append([]string{"call", "--config", config, "--initial-delay", "0.001", "--trace", "--save", kept, "Hello"}, c.args...)...)
			if got.code != c.code {
				t.Fatalf("exit %d\n%s", got.code, got.stderr)
			}
			rest := got.stderr
			for _, want := range c.says {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q in\n%s\nof\n%s", want, rest, got.stderr)
				}
				rest = after
			}
			var models []string
			for _, r := range server.Requests() {
				models = append(models, r.Model)
			}
			if c.models != nil && strings.Join(models, " ") != strings.Join(c.models, " ") {
				t.Errorf("asked %q, want %q", models, c.models)
			}
			if c.code == 5 {
				if got := command(t, "", "resume", kept, "--accept"); got.code != 0 || !strings.Contains(got.stdout, "never") {
					t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
				}
			}

			// With the practice model the stages and names are those of the file.
			got = command(t, "", append([]string{"call", "--practice", file(t, "p.yaml", c.plan), "--config", path, "--initial-delay", "0.001", "--trace", "--save", kept, "Hello"}, c.args[min(len(c.args), 2):]...)...)
			if got.code != c.code {
				t.Errorf("practice: exit %d\n%s", got.code, got.stderr)
			}
		})
	}
}

// A judge may be a model of the user's own provider.
func TestAJudgeOfYourOwnProvider(t *testing.T) {
	judge, args := serve(t, `steps: [{answer: '{"reasons": [], "passed": true}'}, {answer: '{"reasons": [], "passed": true}'}]`)
	config := file(t, "c.yaml", "providers: {acme: {protocol: openai, base_url: "+args[2]+", key: env:ACME_KEY}}\nchecks: [{type: agent_task, task: is polite, validation_model: acme/judge}]\n")
	if got := command(t, "Hello", "validate", "--config", config, "-"); got.code != 2 || !strings.Contains(got.stderr, "env:ACME_KEY, in which there is none") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	t.Setenv("ACME_KEY", "of-the-test")
	if got := command(t, "Hello", "validate", "--config", config, "-"); got.code != 0 {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	_, call := serve(t, "steps: [{answer: Hello}]")
	if got := command(t, "", append(call, "--config", config, "Hi!")...); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if r := judge.Requests(); len(r) != 2 || r[0].Model != "judge" {
		t.Errorf("%+v", r)
	}
}

func TestADryRunSaysWhichStageItShows(t *testing.T) {
	got := command(t, "", "call", "--dry-run", "--config", "../../examples/stair.yaml", "Hello")
	if got.code != 0 || !strings.Contains(got.stderr, "(stage small, the first of 4)") || !strings.Contains(got.stdout, `"gpt-6-luna"`) {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	got = command(t, "", "call", "--dry-run", "--config", "../../examples/providers.yaml", "Hello") // without its keys
	if got.code != 0 || strings.Contains(got.stderr, "stage") || !strings.Contains(got.stderr, "http://127.0.0.1:9001/v1/") || !strings.Contains(got.stdout, `"small"`) {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

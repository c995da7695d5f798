package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestAShellCompletesWhatIsKnown(t *testing.T) {
	for _, c := range []struct {
		typed []string
		want  []string // lines that are there; a line with a directive, the last one, is the end
	}{
		{[]string{"comp"}, []string{"completion\t", ":4"}},
		{[]string{"call", "--ch"}, []string{"--check\t", ":4"}},
		{[]string{"call", "--check", "le"}, []string{"length\tthe answer has so many characters", ":6"}},
		{[]string{"validate", "--check", "json_"}, []string{"json_string\t", ":6"}},
		{[]string{"call", "--model", "gr"}, []string{"groq/\ta model of groq", "groq/openai/gpt-oss-120b\tthe default of groq", ":6"}},
		{[]string{"call", "--config", ""}, []string{"yaml", "yml", "json", ":8"}},
		{[]string{"call", "--schema", ""}, []string{"json", ":8"}},
		{[]string{"call", "--config", "../../examples/providers.yaml", "--model", "acm"}, []string{"acme/small\tof the configuration", "acme/large\t", "acme/\ta model of your own acme", ":6"}},
		{[]string{"call", "--config", "missing.yaml", "--model", "acm"}, []string{":6"}},
		{[]string{"call", "--human", ""}, []string{"terminal\t", "https://\t", ":6"}},
		{[]string{"resume", ""}, []string{"json", ":8"}},
		{[]string{"resume", "--output", ""}, []string{"json", ":4"}},
		{[]string{"config", ""}, []string{"check\t", ":4"}},
		{[]string{"config", "check", ""}, []string{"yaml", "json", ":8"}},
		{[]string{"config", "check", "--output", ""}, []string{"text", "json", ":4"}},
		{[]string{"chaos", "--plan", ""}, []string{"yaml", ":8"}},
		{[]string{"simulate", "--scenario", "out"}, []string{"outage\tEvery request fails for a minute.", ":0"}}, // or a file
		{[]string{"simulate", "--print", "out"}, []string{"outage\t", ":4"}},
		{[]string{"simulate", "--compare", ""}, []string{"yaml", "json", ":8"}},
		{[]string{"simulate", "--assert", "ans"}, []string{"answered", ":6"}},
		{[]string{"call", "--output", ""}, []string{"text", "json", ":4"}},
		{[]string{"explain", "--provider", ""}, []string{"openai", "ollama", ":4"}},
		{[]string{"explain", "--status", ""}, []string{"429\tToo Many Requests", "529\tAnthropic is overloaded", ":4"}},
		{[]string{"checks", "sql"}, []string{"sql\t", "sql_safe\t", ":4"}},
		{[]string{"checks", "sql", ""}, []string{":4"}},
		{[]string{"call", ""}, []string{":4"}},
		{[]string{"call", "--check", "length:"}, []string{"_activeHelp_ length: the least and the largest number: 3..200, 3.. or ..200; or a JSON object with min_length, max_length; example: length:3..200", ":6"}},
		{[]string{"call", "--check", "json:"}, []string{"_activeHelp_ json: a JSON object with repair; example: json", ":6"}},
		{[]string{"call", "--check", "not_empty:"}, []string{"_activeHelp_ not_empty: no arguments; ", ":6"}},
		{[]string{"validate", "--check", "format:da"}, []string{"format:date", "format:date-time", ":6"}},
		{[]string{"validate", "--check", "code:py"}, []string{"code:python", ":6"}},
		{[]string{"validate", "--check", "sql_safe:sel"}, []string{"sql_safe:select", ":6"}},
		{[]string{"call", "--check", "nope:"}, []string{":6"}},
		{[]string{"batch", ""}, []string{"jsonl", "ndjson", "csv", ":8"}},
		{[]string{"batch", "--practice", "p.yaml", ""}, []string{"jsonl", "csv", ":8"}},
		{[]string{"batch", "--format", ""}, []string{"jsonl", "csv", ":4"}},
		{[]string{"batch", "--retry-failed="}, []string{"no_valid_answer\t", "human_review\t", ":4"}},
		{[]string{"batch", "--give-up-after", ""}, []string{"10m", "never", ":4"}},
		{[]string{"batch", "--review", ""}, []string{":16"}},
		{[]string{"batch", "in.jsonl", "--human", ""}, []string{"https://\t", ":6"}},
		{[]string{"call", "--practice", ""}, []string{"yaml", "json", ":8"}},
		{[]string{"call", "--practice=p.yaml", ""}, []string{":4"}},
		{[]string{"call", "--practice", "A prompt", ""}, []string{":4"}},
		{[]string{"help", "ex"}, []string{"explain\tExplain", ":4"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish", ":4"}},
		{[]string{"validate", ""}, []string{":0"}}, // files
	} {
		got := command(t, "", append([]string{"__complete"}, c.typed...)...)
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		for _, want := range c.want {
			found := false
			for _, line := range lines {
				found = found || strings.HasPrefix(line, want)
			}
			if got.code != 0 || !found || lines[len(lines)-1] != c.want[len(c.want)-1] {
				t.Errorf("%q: no %q in %q (exit %d)", c.typed, want, lines, got.code)
			}
		}
	}
}

func TestCompletionPrintsAScript(t *testing.T) {
	for _, shell := range shells {
		got := command(t, "", "completion", shell)
		if got.code != 0 || !strings.Contains(got.stdout, "__complete") {
			t.Errorf("%s: exit %d: %.200s%s", shell, got.code, got.stdout, got.stderr)
		}
		if path, err := exec.LookPath(shell); err == nil && shell != "powershell" {
			parse := exec.Command(path, "-n", file(t, "script", got.stdout))
			if out, err := parse.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bsh"}, `llmcall: SHELL must be one of bash, zsh, fish, powershell, got "bsh", did you mean bash?` + "\n"},
		{nil, "llmcall: expected one SHELL (bash, zsh, fish, powershell), got 0\n"},
	} {
		if got := command(t, "", append([]string{"completion"}, c.args...)...); got.code != exitUsage || got.stderr != c.want {
			t.Errorf("exit %d: %s", got.code, got.stderr)
		}
	}
	if help := command(t, "", "--help").stdout; !strings.Contains(help, "\n  completion ") {
		t.Error(help)
	}
}

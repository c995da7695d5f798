package main

import (
	"strings"
	"testing"
)

func TestUsageErrorsSayWhatIsMeant(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown flag --modle, did you mean --model?":                  {"call", "--modle", "openai/x", "hello"},
		"unknown flag --max-attemps, did you mean --max-attempts?":     {"call", "--max-attemps=3", "hello"},
		"unknown flag --max_attempts, did you mean --max-attempts?":    {"call", "--max_attempts", "3", "hello"},
		"unknown flag --schemas, did you mean --schema?":               {"validate", "--schemas", "x", "-"},
		"unknown flag --vresion, did you mean --version?":              {"--vresion"},
		"unknown flag --hlep, did you mean --help?":                    {"call", "--hlep"},
		"unknown flag --retries; llmcall call --help lists the flags":  {"call", "--retries", "3", "hello"},
		"unknown flag -x; llmcall call --help lists the flags":         {"call", "-x", "hello"},
		"--model must have a value, got nothing":                       {"call", "hello", "--model"},
		`--trace must be true or false, got "maybe"`:                   {"call", "--trace=maybe", "hello"},
		`--seed must be a whole number of at least 0, got "-1"`:        {"chaos", "--seed", "-1"},
		`--output must be text or json, got "jsn", did you mean json?`: {"checks", "--output", "jsn"},
		`unknown command "cal", did you mean call?`:                    {"cal", "hello"},
		`unknown command "Provider", did you mean providers?`:          {"Provider"},
		`unknown command "frobnicate"; the commands are batch, call, chaos, checks, circuits, completion, config, explain, providers, resume, serve, simulate, validate`: {"frobnicate"},
		`providers takes no arguments, got "openai"`:                   {"providers", "openai"},
		`chaos takes no arguments, got "plan.yaml"`:                    {"chaos", "plan.yaml"},
		`llmcall checks must have at most one NAME, got "json length"`: {"checks", "json", "length"},
	} {
		got := command(t, "", args...)
		if got.code != exitUsage || got.stdout != "" || got.stderr != "llmcall: "+want+"\n" {
			t.Errorf("%s: exit %d: %s\nwant %s", strings.Join(args, " "), got.code, got.stderr, want)
		}
	}
}

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A ceiling of money or tokens has an exit code of its own; what a call has cost is in
// JSON and in the trace where the price is known.
func TestACeilingOfMoney(t *testing.T) {
	priced := file(t, "c.yaml", "prices: {openai/practice: {input: 1, output: 10}}\n")
	for name, row := range map[string]struct {
		args []string
		code int
		says string // on standard error
	}{
		"enough":                 {[]string{"--config", priced, "--max-cost", "1"}, 0, "$0.000288"},
		"too little":             {[]string{"--config", priced, "--max-cost", "0.001"}, 8, `the call has $0.001 left of $0.001`},
		"too few tokens":         {[]string{"--max-tokens-total", "10"}, 8, `the call has 10 tokens left of 10`},
		"practice costs nothing": {[]string{"--max-cost", "0.001"}, 0, "$0"},
		"an impossible one":      {[]string{"--max-cost", "0"}, 2, "--max-cost must be a number of dollars from 0.000000001 to 1,000,000, got 0"},
	} {
		got := command(t, "", append([]string{"call", "--practice", "--trace", "Hi!"}, row.args...)...)
		if got.code != row.code || !strings.Contains(got.stderr, row.says) {
			t.Errorf("%s: exit code %d, %s", name, got.code, got.stderr)
		}
	}
	for name, row := range map[string]struct {
		args []string
		cost string
	}{
		"a price":           {[]string{"--config", priced}, "0.000288"},
		"for nothing":       {nil, "0"},
		"without an answer": {[]string{"--config", priced, "--max-attempts", "1", "--check", "contains:nothing of it"}, "0.000288"},
	} {
		got := command(t, "", append([]string{"call", "--practice", "--output", "json", "Hi!"}, row.args...)...)
		var document struct{ Cost json.Number }
		if err := json.Unmarshal([]byte(got.stdout), &document); err != nil || string(document.Cost) != row.cost {
			t.Errorf("%s: %s, %v: %s", name, document.Cost, err, got.stdout)
		}
	}
	t.Setenv("OPENAI_API_KEY", "sk-of-the-test")
	for args, want := range map[string]string{
		"--max-tokens 100":                 "and its answer 100: $0.0000",
		"--max-tokens 100 --max-cost 0.05": "the whole call at most $0.05",
		"--max-attempts 1":                 "its answer has no limit (--max-tokens), here it is taken to have 16000: $0.0",
	} {
		got := command(t, "", append([]string{"call", "--dry-run", "--model", "openai/gpt-6-luna", "Hi!"}, strings.Fields(args)...)...)
		if got.code != 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("--dry-run %s: exit code %d, %s", args, got.code, got.stderr)
		}
	}
	got := command(t, "", "call", "--model", "openai/no-such-model", "--max-cost", "1", "Hi!")
	if want := "the price of openai/no-such-model is not known, and there is a ceiling of money: add the line `openai/no-such-model: {input: 0.15, output: 0.60}` with its prices in dollars per million tokens\n"; got.code != 2 || !strings.HasSuffix(got.stderr, want) {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
}

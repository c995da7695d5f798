package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestACallIsRecordedAndReplayed(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-this-is-the-secret-key-of-the-test")
	server, args := serve(t, `steps: [{kind: status, status: 429, retry_after: 0}, {answer: Bonn}, {answer: Berlin}]`)
	dir := filepath.Join(t.TempDir(), "calls")
	first := command(t, "", append(args, "--check", "contains:Berlin", "--record", dir, "What is the capital?")...)
	if first.code != 0 || first.stdout != "Berlin\n" {
		t.Fatalf("exit %d: %s", first.code, first.stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if text, _ := os.ReadFile(f); strings.Contains(string(text), "sk-this") {
			t.Errorf("it holds the key: %s", text)
		}
	}
	t.Setenv("OPENAI_API_KEY", "")
	n := len(server.Requests())
	replay := []string{"call", "--replay", dir, "--check", "contains:Berlin", "--initial-delay", "0.001", "--output", "json"}
	got := command(t, "", append(replay, "What is the capital?")...)
	var shown struct {
		Answer   string
		Attempts []struct{ Outcome, Kind string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != 0 || shown.Answer != "Berlin" || len(shown.Attempts) != 3 || shown.Attempts[0].Kind != "rate_limited" || shown.Attempts[1].Outcome != "invalid" {
		t.Errorf("exit %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
	if got := command(t, "", append(replay, "What is the capitol?")...); got.code != 6 || !strings.Contains(got.stderr, "capitol") || !strings.Contains(got.stderr, "capital") {
		t.Errorf("a request that was not recorded: exit %d: %s", got.code, got.stderr)
	}
	if len(server.Requests()) != n {
		t.Error("a request was made")
	}

	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"explain", files[0]}, 0, []string{"recording    " + files[0], "asked        What is the capital?", "kind         rate_limited", "the call is  "}},
		{[]string{"explain", files[1]}, 0, []string{"answered     Bonn", "used         "}},
		{[]string{"explain", dir}, 0, []string{"rate_limited", "Bonn", "Berlin"}},
		{[]string{"explain", "--output", "json", files[2]}, 0, []string{`"answer": "Berlin"`, `"file": `}},
		{[]string{"explain", "--plan", dir}, 0, []string{"steps:", "429", "Bonn", "Berlin"}},
		{[]string{"explain", "--plan", file(t, "e.json", "{}")}, 2, []string{"--plan needs a recording"}},
		{[]string{"explain", t.TempDir()}, 2, []string{"holds no recordings"}},
		{[]string{"explain", file(t, "r.yaml", "recording: 99\n")}, 2, []string{"99"}},
		{[]string{"call", "--replay", dir, "--record", dir, "x"}, 2, []string{"--record can't be combined with --replay"}},
		{[]string{"call", "--replay", dir, "--practice", "x"}, 2, []string{"--practice can't be combined with --replay"}},
		{[]string{"call", "--replay", t.TempDir(), "x"}, 2, []string{"--replay: ", "holds no recordings"}},
		{[]string{"call", "--record", "/dev/null/x", "x"}, 2, []string{"--record: "}},
	} {
		got := command(t, "", c.args...)
		for _, want := range c.says {
			if got.code != c.code || !strings.Contains(got.stdout+got.stderr, want) {
				t.Errorf("%v: exit %d, want %d and %q\n%s%s", c.args, got.code, c.code, want, got.stdout, got.stderr)
			}
		}
	}

	// The plan does again what the provider did.
	plan := command(t, "", "explain", "--plan", dir)
	_, again := serve(t, plan.stdout)
	if got := command(t, "", append(again, "--check", "contains:Berlin", "--output", "json", "What is the capital?")...); got.code != 0 || strings.Count(got.stdout, `"number"`) != 3 {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// Judges are recorded, and can't be replayed.
// The words of the practice model are not taken for its key.
func TestPracticeIsRecordedAsItIsSaid(t *testing.T) {
	dir := t.TempDir()
	plan := file(t, "p.yaml", "steps: [{kind: status, error: rate_limit, retry_after: 0.01}]")
	if got := command(t, "", "call", "--practice", plan, "--record", dir, "x"); got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "", "explain", dir); got.code != 0 || !strings.Contains(got.stdout, "org-practice") || strings.Contains(got.stdout, "[key]") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

// A recording that was written by hand may have no time.
func TestARecordingWithoutATime(t *testing.T) {
	by := file(t, "r.yaml", "recording: 1\nof: model\nrequest: {model: a/b, messages: [{role: user, parts: [x]}]}\nanswer: {parts: [y]}\n")
	if got := command(t, "", "explain", by); got.code != 0 || !strings.Contains(got.stdout, "answered     y") || strings.Contains(got.stdout, "0001") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

func TestAJudgeIsRecorded(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	_, args := serve(t, `steps: [{answer: Hello}, {answer: '{"reasons": [], "passed": true}'}]`)
	dir := t.TempDir()
	if got := command(t, "", append(args, "--check", "agent_task:is polite", "--record", dir, "Hi!")...); got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.yaml")); len(files) != 2 {
		t.Errorf("%v", files)
	}
	if got := command(t, "", "call", "--replay", dir, "--check", "agent_task:is polite", "Hi!"); got.code != 2 || !strings.Contains(got.stderr, "a check that asks a model can't be replayed") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// toolServer serves an MCP server on standard input and output; TestMain runs it in a process
// of its own.
func toolServer() {
	server := mcp.NewServer(&mcp.Implementation{Name: "facts", Version: "1"}, nil)
	type question struct {
		City string `json:"city"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "lookup", Description: "Looks a city up"}, func(_ context.Context, _ *mcp.CallToolRequest, q question) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: q.City + " has 3.7 million people"}}}, nil, nil
	})
	_ = server.Run(context.Background(), &mcp.StdioTransport{}) // ends with its input
}

func TestAStageHasToolsOfAServer(t *testing.T) {
	config := file(t, "c.yaml", "mcp_servers:\n  facts: {command: ["+os.Args[0]+"], env: {LLMCALL_TEST_AS_SERVER: '1'}}\n"+
		"stages: [{attempts: 1}, {attempts: 1, tools: [facts]}, human]\nchecks: ['contains:3.7']\n")
	server, args := serve(t, "steps: [{answer: Few}, {tool: lookup}, {answer: 3.7 million}]")
	got := command(t, "", append(args, "--config", config, "--trace", "--output", "json", "How many live in Berlin?")...)
	if got.code != 0 || !strings.Contains(got.stdout, `"name": "lookup"`) {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	for _, want := range []string{"stage 2", "│ tool lookup: ", "└ ✓ valid"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	if r := server.Requests(); len(r) != 3 || !strings.Contains(string(r[2].Body), "has 3.7 million people") || r[2].Method != http.MethodPost {
		t.Errorf("%d requests", len(r))
	}

	if got := command(t, "", "config", "check", config); got.code != 0 || !strings.Contains(got.stdout, "facts is the command ") || !strings.Contains(got.stdout, "with the tools of facts") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	const missing = "no-such-program-here"
	wrong := file(t, "w.yaml", "mcp_servers: {facts: {command: ["+missing+"]}}\nstages: [{tools: [facts]}]\n")
	if got := command(t, "", append(args, "--config", wrong, "x")...); got.code != 2 || !strings.Contains(got.stderr, "mcp_servers: ") || !strings.Contains(got.stderr, missing) {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	misspelt := file(t, "m.yaml", "mcp_servers: {facts: {command: ["+os.Args[0]+"], env: {LLMCALL_TEST_AS_SERVER: '1'}, tools: [fatcs]}}\n")
	if got := command(t, "", append(args, "--config", misspelt, "x")...); got.code != 2 || !strings.HasPrefix(got.stderr, "llmcall: mcp_servers.facts.tools must be names of tools that the server has, got \"fatcs\"") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	chosen := file(t, "x.yaml", "mcp_servers: {facts: {command: [x], tools: [lookup]}}\nstages: [{tools: [look]}]\n")
	if got := command(t, "", "config", "check", chosen); got.code != 2 || !strings.Contains(got.stderr, "stages[0].tools[0]") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}

	// A call that waits is decided without its servers.
	path := filepath.Join(t.TempDir(), "review.json")
	_, args = serve(t, "steps: [{answer: Few}, {answer: Many, tool: none}]")
	if got := command(t, "", append(args, "--config", config, "--save", path, "How many?")...); got.code != 5 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "3.7 million", "resume", path, "--edit", "-"); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

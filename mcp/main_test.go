package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"llmcall"
	"llmcall/mcp"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"
)

// behave is the variable by which the tests start their own program as a server.
const behave = "MCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if how := os.Getenv(behave); how != "" {
		os.Exit(serve(how))
	}
	if os.Getenv(conform) != "" {
		if err := beClient(os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve is a server on standard input and output that misbehaves as it was told.
func serve(how string) int {
	ctx := context.Background()
	switch how {
	case "dies at once":
		fmt.Fprintln(os.Stderr, "no database at", os.Getenv("DB"), "with", os.Getenv("API_TOKEN"))
		return 3
	case "says nothing":
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with its input
		return 0
	case "ignores the end": // of its input, and SIGTERM
		signal.Ignore(syscall.SIGTERM)
		_ = newServer(how).Run(ctx, &sdk.StdioTransport{})
		time.Sleep(time.Minute)
		return 0
	case "deaf": // it reads no more after the list
		input := bufio.NewReader(os.Stdin)
		r, w := io.Pipe()
		go func() {
			for {
				line, err := input.ReadString('\n')
				if err != nil {
					os.Exit(0)
				}
				_, _ = io.WriteString(w, line)
				if strings.Contains(line, "tools/list") {
					time.Sleep(time.Minute) // should the test itself be killed, it ends too
					os.Exit(1)
				}
			}
		}()
		_ = newServer(how).Run(ctx, &sdk.IOTransport{Reader: r, Writer: os.Stdout})
		return 0
	case "old": // it ends at a first message that it does not know
		input := bufio.NewReader(os.Stdin)
		line, err := input.ReadString('\n')
		if err != nil || !strings.Contains(line, `"initialize"`) {
			return 1
		}
		_ = newServer(how).Run(ctx, &sdk.IOTransport{Reader: io.NopCloser(io.MultiReader(strings.NewReader(line), input)), Writer: os.Stdout})
		return 0
	}
	_ = newServer(how).Run(ctx, &sdk.StdioTransport{})
	return 0
}

type text struct {
	Text string `json:"text,omitempty"`
}

// newServer is a server with a tool for each thing that a tool may do.
func newServer(how string) *sdk.Server {
	size := 3
	if how == "deaf" {
		size = 100
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ServerOptions{PageSize: size})
	add := func(name string, hints *sdk.ToolAnnotations, run func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error)) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: "the tool " + name, Annotations: hints}, run)
	}
	says := func(content ...sdk.Content) *sdk.CallToolResult { return &sdk.CallToolResult{Content: content} }
	add("echo", &sdk.ToolAnnotations{ReadOnlyHint: true}, func(_ context.Context, _ *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
		return says(&sdk.TextContent{Text: in.Text}), nil, nil
	})
	add("pid", nil, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
		return says(&sdk.TextContent{Text: fmt.Sprint(os.Getpid())}), nil, nil
	})
	add("fails", &sdk.ToolAnnotations{IdempotentHint: true, DestructiveHint: new(true)}, func(_ context.Context, _ *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
		return nil, nil, errors.New(in.Text)
	})
	add("dies", &sdk.ToolAnnotations{DestructiveHint: new(true)}, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, "panic: out of luck with", os.Getenv("API_TOKEN"))
		os.Exit(7)
		return nil, nil, nil
	})
	add("hangs", nil, func(ctx context.Context, _ *sdk.CallToolRequest, _ text) (*sdk.CallToolResult, any, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	add("starts", nil, func(_ context.Context, _ *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
		child := exec.Command(os.Args[0], os.Args[1:]...)
		child.Env = []string{behave + "=ignores the end"}
		child.Stdin, _ = os.Open(os.DevNull)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr // it holds them open
		return says(&sdk.TextContent{Text: in.Text}), nil, child.Start()
	})
	add("env", nil, func(_ context.Context, _ *sdk.CallToolRequest, _ text) (*sdk.CallToolResult, any, error) {
		return says(&sdk.TextContent{Text: strings.Join(os.Environ(), "\n")}), nil, nil
	})
	add("grows", nil, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
		add("grown", nil, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
			return says(), nil, nil
		})
		return says(), nil, nil
	})
	add("steps", nil, func(ctx context.Context, req *sdk.CallToolRequest, _ text) (*sdk.CallToolResult, any, error) {
		token := req.Params.GetProgressToken()
		for i := range 3 {
			if token == nil {
				break
			}
			err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Progress: float64(i), Total: 3, Message: "step"})
			if err != nil {
				return nil, nil, err
			}
		}
		return says(&sdk.TextContent{Text: "done"}), nil, nil
	})
	add("all.kinds", nil, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
		r := says(
			&sdk.TextContent{Text: "a text"},
			&sdk.ImageContent{Data: []byte("1234"), MIMEType: "image/png"},
			&sdk.AudioContent{Data: []byte("1"), MIMEType: "audio/wav"},
			&sdk.ResourceLink{URI: "file:///a.txt", Name: "a", Description: "the first"},
			&sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "file:///b.txt", Text: "b's text"}},
			&sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "file:///c.bin", MIMEType: "application/x", Blob: []byte("123")}},
		)
		r.StructuredContent = map[string]any{"a": 1}
		return r, nil, nil
	})
	add("twice", nil, func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
		r := says(&sdk.TextContent{Text: `{"a": 1}`})
		r.StructuredContent = map[string]any{"a": 1}
		return r, nil, nil
	})
	return s
}

// started is a server of this program, which can be found in the table of processes.
func started(t *testing.T, how string) mcp.Server {
	t.Helper()
	marker := fmt.Sprintf("-marker=%s-%d", t.Name(), os.Getpid())
	t.Cleanup(func() { nothingIsLeft(t, marker) })
	return mcp.Server{Name: "test", Command: []string{os.Args[0], marker}, Env: map[string]string{behave: how}}
}

// running returns the processes that have a marker among their arguments.
func running(t *testing.T, marker string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), marker) { // else it has ended
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

func nothingIsLeft(t *testing.T, marker string) {
	t.Helper()
	var left []string
	for range 50 { // a killed process leaves the table when it is collected
		if left = running(t, marker); len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("these processes are left: %v", left)
	}
}

func connect(t *testing.T, servers ...mcp.Server) *mcp.Client {
	t.Helper()
	c, err := mcp.Connect(t.Context(), servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func names(t *testing.T, c *mcp.Client) []string {
	t.Helper()
	tools, err := c.Tools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, each := range tools {
		all = append(all, each.Name)
	}
	return all
}

func tool(t *testing.T, c *mcp.Client, name string) llmcall.Tool {
	t.Helper()
	tools, err := c.Tools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range tools {
		if each.Name == name {
			return each
		}
	}
	t.Fatalf("there is no tool %q", name)
	return llmcall.Tool{}
}

// run calls a tool with a text.
func run(ctx context.Context, t *testing.T, c *mcp.Client, name, argument string) (string, error) {
	t.Helper()
	arguments, err := json.Marshal(text{argument})
	if err != nil {
		t.Fatal(err)
	}
	return tool(t, c, name).Run(ctx, arguments)
}

package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/mcp"
	"llmcall/validate"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const secret = "sk-0123456789abcdef"

// overHTTP is a server with a URL. The headers of its requests go to seen.
func overHTTP(t *testing.T, seen func(*http.Request)) mcp.Server {
	t.Helper()
	handler := newHandler(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return mcp.Server{Name: "web", URL: server.URL + "/mcp"}
}

// newHandler has sessions that end with the test, if they did not before.
func newHandler(t *testing.T) *sdk.StreamableHTTPHandler {
	s := newServer("http")
	t.Cleanup(func() {
		for session := range s.Sessions() {
			_ = session.Close() // it may have ended
		}
	})
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)
}

var allTools = []string{"all_kinds", "dies", "echo", "env", "fails", "grows", "hangs", "pid", "starts", "steps", "twice"}

func TestToolsOfAServer(t *testing.T) {
	for _, c := range []struct {
		by     string
		server mcp.Server
	}{
		{"a command", started(t, "well")},
		{"a command of an old protocol", started(t, "old")},
		{"a URL", overHTTP(t, nil)},
	} {
		t.Run(c.by, func(t *testing.T) {
			client := connect(t, c.server)
			if got := names(t, client); !slices.Equal(got, allTools) { // of four pages
				t.Errorf("got %v", got)
			}
			echo := tool(t, client, "echo")
			if echo.Description != "the tool echo" || !strings.Contains(string(echo.Parameters), `"text"`) {
				t.Errorf("got %s, %s", echo.Description, echo.Parameters)
			}
			for _, call := range []struct{ name, argument, want, fails string }{
				{"echo", "grüß <Gott>", "grüß <Gott>", ""},
				{"fails", "out of paper", "", "out of paper"},
				{"twice", "", `{"a": 1}`, ""},
				{"all_kinds", "", strings.Join([]string{
					"a text",
					"[a picture, image/png, 4 bytes, which can't be shown here]",
					"[a recording, audio/wav, 1 byte, which can't be shown here]",
					"[a link: file:///a.txt, a, the first]",
					"[file:///b.txt]", "b's text",
					"[a file, file:///c.bin, application/x, 3 bytes, which can't be shown here]",
					`{"a":1}`,
				}, "\n"), ""},
			} {
				got, err := run(t.Context(), t, client, call.name, call.argument)
				if got != call.want || (err != nil) != (call.fails != "") || err != nil && err.Error() != call.fails {
					t.Errorf("%s: got %q, %v", call.name, got, err)
				}
			}
			for arguments, want := range map[string]string{`{"text": 1}`: "text", `{"other": 1}`: "other", `{`: "are not JSON", ``: ""} {
				_, err := echo.Run(t.Context(), json.RawMessage(arguments))
				if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", arguments, err)
				}
			}
		})
	}
}

func TestHintsSayWhetherAToolMayRunAgain(t *testing.T) {
	client := connect(t, overHTTP(t, nil))
	for name, want := range map[string][2]bool{
		"echo":  {false, true},  // it reads
		"env":   {false, false}, // it says nothing
		"fails": {false, false}, // it destroys, and may be repeated
		"dies":  {true, false},  // it destroys
	} {
		if got := tool(t, client, name); got.Once != want[0] || got.ReadOnly != want[1] {
			t.Errorf("%s: Once is %v, ReadOnly %v", name, got.Once, got.ReadOnly)
		}
	}
}

func TestProgressIsToldInOrder(t *testing.T) {
	for _, server := range []mcp.Server{started(t, "well"), overHTTP(t, nil)} {
		var told []string
		var mu sync.Mutex
		server.Progress = func(p mcp.Progress) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(p))
		}
		got, err := run(t.Context(), t, connect(t, server), "steps", "")
		for range 100 { // the last of the news may come after the result
			mu.Lock()
			n := len(told)
			mu.Unlock()
			if n == 3 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"{" + server.Name + " steps 0 3 step}", "{" + server.Name + " steps 1 3 step}", "{" + server.Name + " steps 2 3 step}"}
		if err != nil || got != "done" || !slices.Equal(told, want) {
			t.Errorf("got %q, %v, %v", got, err, told)
		}
	}
}

func TestToolsThatChangeAreListedAgain(t *testing.T) {
	client := connect(t, started(t, "well"))
	if _, err := run(t.Context(), t, client, "grows", ""); err != nil {
		t.Fatal(err)
	}
	for range 100 { // the news comes when it comes
		if slices.Contains(names(t, client), "grown") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("got %v", names(t, client))
}

func TestAServerThatDiesIsTheErrorOfItsToolAndIsStartedAgain(t *testing.T) {
	t.Setenv("TOKEN_OF_THE_TEST", secret)
	server := started(t, "well")
	server.Env["API_TOKEN"] = "${TOKEN_OF_THE_TEST}"
	client := connect(t, server)
	before, err := run(t.Context(), t, client, "pid", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = run(t.Context(), t, client, "dies", "")
	for _, want := range []string{`MCP server "test"`, "nobody knows whether it was carried out", "exit status 7", "out of luck with [key]", "connects again"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	after, err := run(t.Context(), t, client, "pid", "")
	if err != nil || after == before {
		t.Errorf("it has the pid %s, had %s, %v", after, before, err)
	}
}

// A server that has ended between two calls is started again before the next.
func TestAServerThatEndedIsStartedByTheNextCall(t *testing.T) {
	client := connect(t, started(t, "well"))
	pid, err := run(t.Context(), t, client, "pid", "")
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(number(t, pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // its end is heard of when it is
		if after, err := run(t.Context(), t, client, "pid", ""); err == nil && after != pid {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("it is not started again")
}

func number(t *testing.T, text string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestACallIsBoundedByItsTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		server mcp.Server
		big    int // bytes of the arguments: more than a pipe holds
	}{
		{"a tool that hangs", started(t, "well"), 0},
		{"a tool that hangs, by HTTP", overHTTP(t, nil), 0},
		{"a server that does not read", started(t, "deaf"), 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := connect(t, c.server)
			hangs := tool(t, client, "hangs")
			arguments := json.RawMessage(`{"text": "` + strings.Repeat("x", c.big) + `"}`)
			for range 2 { // the session is as good, or another
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				begin := time.Now()
				_, err := hangs.Run(ctx, arguments)
				cancel()
				if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "in time") && !strings.Contains(err.Error(), "connected") || took > 2*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			}
			if c.big > 0 {
				return
			}
			if got, err := run(t.Context(), t, client, "echo", "alive"); got != "alive" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// A server that gives no sign of life after a call without an answer is started again.
func TestAServerThatIsStuckIsStartedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 2 s for a sign of life")
	}
	client := connect(t, started(t, "deaf"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, t, client, "echo", "1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	// The next one has not listed its tools yet, and so hears.
	if got, err := tool(t, client, "echo").Run(t.Context(), json.RawMessage(`{"text": "2"}`)); got != "2" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Setenv("TOKEN_OF_THE_TEST", secret)
	at := func(change func(*mcp.Server)) mcp.Server {
		s := mcp.Server{Name: "a", Command: []string{"true"}}
		change(&s)
		return s
	}
	dies := started(t, "dies at once")
	dies.Env["DB"], dies.Env["API_TOKEN"] = "localhost", "${TOKEN_OF_THE_TEST}"
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not with "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	}))
	defer refuses.Close()
	away := httptest.NewServer(http.RedirectHandler("http://other.example/mcp", http.StatusTemporaryRedirect))
	defer away.Close()
	for _, c := range []struct {
		name   string
		server mcp.Server
		config bool
		want   []string
	}{
		{"nothing", mcp.Server{}, true, []string{"command must be a program with its arguments, where there is no url, got nothing"}},
		{"both", at(func(s *mcp.Server) { s.URL = "http://x" }), true, []string{"mcp_servers.a.url must be left out where there is a command"}},
		{"a name", at(func(s *mcp.Server) { s.Name = "a b" }), true, []string{"1 to 32 letters"}},
		{"headers", at(func(s *mcp.Server) { s.Headers = map[string]string{"A": "b"} }), true, []string{"mcp_servers.a.headers"}},
		{"a variable", at(func(s *mcp.Server) { s.Env = map[string]string{"A": "${NOT_SET_AT_ALL}"} }), true, []string{"mcp_servers.a.env.A", "that are set, got ${NOT_SET_AT_ALL}"}},
		{"a URL", mcp.Server{URL: "localhost:80"}, true, []string{"url must be an address like"}},
		{"a tool", func() mcp.Server { s := started(t, "well"); s.Tools = []string{"echo", "ecko"}; return s }(), true, []string{"mcp_servers.test.tools", `"ecko"`, "echo"}},
		{"no program", mcp.Server{Command: []string{"no-such-program-at-all"}}, false, []string{`MCP server "no-such-program-at-all"`, "executable file not found"}},
		{"a program that ends", dies, false, []string{`MCP server "test"`, "exit status 3", "no database at localhost with [key]"}},
		{"nobody listens", mcp.Server{URL: closed.URL + "?key=" + secret}, false, []string{`MCP server "127_0_0_1"`, "connection refused", "[key]"}},
		{"a bad key", mcp.Server{URL: refuses.URL, Headers: map[string]string{"Authorization": "Bearer ${TOKEN_OF_THE_TEST}"}}, false, []string{"Unauthorized"}},
		{"a redirection", mcp.Server{URL: away.URL, Headers: map[string]string{"Authorization": "Bearer ${TOKEN_OF_THE_TEST}"}}, false, []string{"redirects to another host"}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		client, err := mcp.Connect(ctx, c.server)
		cancel()
		_, config := errors.AsType[*llmcall.ConfigError](err)
		if err == nil || client != nil || config != c.config {
			t.Errorf("%s: got %T %v", c.name, err, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %s", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v has the key", c.name, err)
		}
	}
}

func TestConnectIsBoundedByItsContext(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(hang)
	for _, server := range []mcp.Server{started(t, "says nothing"), {URL: silent.URL}} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		begin := time.Now()
		// The first one is well, and is ended too.
		first := started(t, "well")
		first.Name = "first"
		_, err := mcp.Connect(ctx, first, server)
		cancel()
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "MCP server") || took > 8*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	}
}

func TestKeysGoToTheServerAndNowhereElse(t *testing.T) {
	t.Setenv("TOKEN_OF_THE_TEST", secret)
	t.Setenv("OPENAI_API_KEY", "sk-of-the-provider")
	var sent atomic.Int64
	web := overHTTP(t, func(r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			t.Errorf("%s has the header %q", r.Method, r.Header.Get("Authorization"))
		}
		sent.Add(1)
	})
	web.Headers = map[string]string{"Authorization": "Bearer ${TOKEN_OF_THE_TEST}"}
	client := connect(t, web)
	if got, err := run(t.Context(), t, client, "echo", "it is "+secret); got != "it is [key]" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := run(t.Context(), t, client, "fails", "it was "+secret); got != "" || err == nil || err.Error() != "it was [key]" {
		t.Errorf("got %q, %v", got, err)
	}
	if sent.Load() < 4 {
		t.Errorf("%d requests", sent.Load())
	}
	command := started(t, "well")
	command.Env["API_TOKEN"], command.Env["PLACE"] = "${TOKEN_OF_THE_TEST}", "a place in plain text"
	got, err := run(t.Context(), t, connect(t, command), "env", "")
	if err != nil || !strings.Contains(got, "API_TOKEN=[key]") || !strings.Contains(got, "PLACE=a place in plain text") || !strings.Contains(got, "PATH=") || strings.Contains(got, "OPENAI_API_KEY") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestToolsOfSeveralServersHaveNamesOfTheirOwn(t *testing.T) {
	a, b := overHTTP(t, nil), overHTTP(t, nil)
	a.Name, b.Name = "a", "b"
	a.Tools, b.Tools = []string{"echo", "all.kinds"}, []string{"twice", "echo"}
	client := connect(t, a, b)
	if got, want := names(t, client), []string{"a_echo", "all_kinds", "twice", "b_echo"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b.Name = "a"
	if _, err := mcp.Connect(t.Context(), a, b); err == nil || !strings.Contains(err.Error(), "another one for each server") {
		t.Errorf("got %v", err)
	}
}

// What a server has started, and one that ignores the end of its input and SIGTERM, are
// ended too: see started.
func TestNoProcessIsLeft(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("the table of processes is read from /proc: ", err)
	}
	stubborn := started(t, "ignores the end")
	client := connect(t, stubborn)
	if _, err := run(t.Context(), t, client, "starts", ""); err != nil {
		t.Fatal(err)
	}
	if n := len(running(t, stubborn.Command[1])); n != 2 {
		t.Errorf("%d processes run", n)
	}
	echo := tool(t, client, "echo")
	begin := time.Now()
	if err := client.Close(); err != nil || time.Since(begin) > 6*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if left := running(t, stubborn.Command[1]); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if tools, err := client.Tools(t.Context()); err == nil {
		t.Errorf("got %v", tools)
	}
	if _, err := echo.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "it was closed") {
		t.Errorf("got %v", err)
	}
}

func TestCloseEndsTheCallsUnderWay(t *testing.T) {
	for _, server := range []mcp.Server{started(t, "well"), overHTTP(t, nil)} {
		client := connect(t, server)
		hangs := tool(t, client, "hangs")
		failed := make(chan error)
		go func() {
			_, err := hangs.Run(context.Background(), nil)
			failed <- err
		}()
		time.Sleep(50 * time.Millisecond) // it is under way, or will find the client closed: both are right
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "has ended") && !strings.Contains(err.Error(), "closed") {
			t.Errorf("got %v", err)
		}
	}
}

// A server that was started again does not know the session: the call goes to a new one.
func TestAForgottenSessionIsOpenedAgain(t *testing.T) {
	var handler atomic.Pointer[sdk.StreamableHTTPHandler]
	fresh := func() { handler.Store(newHandler(t)) }
	fresh()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.Load().ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	client := connect(t, mcp.Server{Name: "web", URL: server.URL})
	for i := range 3 {
		want := fmt.Sprint(i)
		if got, err := run(t.Context(), t, client, "echo", want); got != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		fresh()
	}
}

// The tools of a server are tools of a call.
func TestAModelUsesATool(t *testing.T) {
	tools, err := connect(t, started(t, "well")).Tools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	model := llm.Func("test/mcp", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		last := req.Messages[len(req.Messages)-1].Parts[0]
		if result, ok := last.(llm.ToolResult); ok {
			return llm.Reply(result.Content), nil
		}
		call := llm.ToolCall{ID: "1", Name: "echo", Arguments: json.RawMessage(`{"text": "42"}`)}
		return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{call}}, Finish: llm.FinishToolCall}, nil
	})
	check, err := validate.Parse("contains:42")
	if err != nil {
		t.Fatal(err)
	}
	result, err := llmcall.RetryWithValidation(t.Context(), model, llm.Prompt("?"), []validate.Strategy{check}, llmcall.RetryConfig{Tools: tools})
	if err != nil || !strings.Contains(result.Text, "42") {
		t.Errorf("got %v, %v", result, err)
	}
}

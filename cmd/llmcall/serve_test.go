package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines collects what a command writes, and hands out its lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	got  chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.got <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits until a text was written.
func (l *lines) until(t *testing.T, want string) {
	t.Helper()
	for timeout := time.After(20 * time.Second); !strings.Contains(l.String(), want); {
		select {
		case <-l.got:
		case <-timeout:
			t.Fatalf("%q was not written: %s", want, l)
		}
	}
}

// startServe runs llmcall serve, and returns its address, its log, and what ends it.
func startServe(t *testing.T, args ...string) (url string, log *lines, end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	log = &lines{got: make(chan struct{}, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), in, log)
		in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("serve ended with %d: %s", <-code, log)
	}
	end = sync.OnceValue(func() int {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, out) }()
		http.DefaultClient.CloseIdleConnections()
		return <-code
	})
	t.Cleanup(func() { end() })
	return strings.TrimSpace(line), log, end
}

// askServe asks for an answer, and returns the status and the body.
func askServe(t *testing.T, url, model string) (int, string) {
	t.Helper()
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model": "`+model+`", "messages": [{"role": "user", "content": "Hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// The first thing that a reader of the README types.
func TestServePractice(t *testing.T) {
	url, log, end := startServe(t, "--practice")
	status, text := askServe(t, url, "practice")
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || len(answer.Choices) != 1 || answer.Choices[0].Message.Content == "" {
		t.Errorf("got %d %s", status, text)
	}
	if !strings.Contains(log.String(), "INVENTED") {
		t.Errorf("the log does not say that answers are invented: %s", log)
	}
	for _, path := range []string{"/healthz", "/readyz", "/v1/models", "/metrics", "/ui/"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	if code := end(); code != 0 {
		t.Errorf("the exit code is %d: %s", code, log)
	}
}

// What is served is counted, and no key and no prompt is in what is counted or logged.
func TestServeIsSeen(t *testing.T) {
	url, log, _ := startServe(t, "--practice", "--log-json")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{"model": "practice", "messages": [{"role": "user", "content": "my secret question"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-of-the-client")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	askServe(t, url, "practise")
	if resp, err = http.Get(url + "/metrics"); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`llmcall_http_requests_total{client="none",outcome="answered",protocol="openai",route="practice"} 1`,
		`llmcall_http_requests_total{client="none",outcome="refused",protocol="openai",route="none"} 1`,
		`llmcall_calls_total{model="openai/practice",outcome="valid"} 1`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	log.until(t, `"reason":"valid"`)
	for _, want := range []string{`"route":"practice"`, `"trace_id":"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	for _, secret := range []string{"sk-of-the-client", "my secret question"} {
		if strings.Contains(string(text)+log.String(), secret) {
			t.Errorf("%q is in the metrics or the log", secret)
		}
	}
}

// A changed file is served, a broken one is not.
func TestServeReadsItsFileAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	write := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil { // as editors and Kubernetes do
			t.Fatal(err)
		}
	}
	write("routes: {one: {models: [openai/m]}}")
	url, log, _ := startServe(t, "--practice", "--config", path)
	if status, text := askServe(t, url, "one"); status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	write("routes: {two: {models: [openai/m]}}")
	log.until(t, "was read again")
	if status, _ := askServe(t, url, "one"); status != 404 {
		t.Errorf("a route that is gone: %d", status)
	}
	if status, text := askServe(t, url, "two"); status != 200 {
		t.Errorf("a new route: %d %s", status, text)
	}
	write("routes: {two: {models: [openai/m], max_attemps: 3}}")
	log.until(t, "did you mean max_attempts?")
	if status, text := askServe(t, url, "two"); status != 200 {
		t.Errorf("after a broken file: %d %s", status, text)
	}
}

// What can't be served is said before anything is.
func TestServeRefuses(t *testing.T) {
	for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"} {
		t.Setenv(name, "")
	}
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	for _, c := range []struct {
		text string
		args []string
		want string
	}{
		{"", nil, "nothing to serve: set the key of a provider"},
		{"", []string{"--practice", "--listen", "0.0.0.0:0"}, "listen must be an address of this machine alone"},
		{"routes: {a: {models: [opnai/m]}}", nil, "did you mean openai"},
		{"routes: {a: {models: [openai/m]}}", nil, "OPENAI_API_KEY"},
	} {
		args := append([]string{"serve"}, c.args...)
		if c.text != "" {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--config", path)
		}
		var errs strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs); code != exitUsage || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q: %d %s", args, code, &errs)
		}
	}
}

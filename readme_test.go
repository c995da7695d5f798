package llmcall_test

import (
	"bufio"
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"llmcall/chaos"
)

// pages are the README and the pages of docs/ that were written by hand.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("docs/*.md")
	if err != nil || len(all) == 0 {
		t.Fatalf("%d pages, %v", len(all), err)
	}
	return append([]string{"README.md"}, all...)
}

// blocks returns a page's code blocks of a language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?sm)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(data), -1) {
		found = append(found, m[1])
	}
	return found
}

func runs(t *testing.T, cmd *exec.Cmd) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// practice serves answers in OpenAI's protocol, and returns the environment that
// leads there.
func practice(t *testing.T) []string {
	t.Helper()
	server, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	http := httptest.NewServer(server)
	t.Cleanup(http.Close)
	return append(os.Environ(), "OPENAI_BASE_URL="+http.URL+"/v1", "OPENAI_API_KEY=of-the-test", "LLMCALL_MODEL=")
}

// prints has what the programs of each page print, in their order.
var prints = map[string][]string{
	"README.md":             {"Berlin"},
	"docs/escalation.md":    {"acme/big in stage 2: valid 2 attempts have failed"},
	"docs/metrics.md":       {"counted"},
	"docs/money.md":         {"account_spent"},
	"docs/parts.md":         {"paid <nil> CLOSED"},
	"docs/providers.md":     {"answered by openai/gpt-6-luna"},
	"docs/testing.md":       {"Berlin after 2 attempts", "Berlin", "answered: 100 %, collapsed: false"},
	"docs/tools.md":         {"5 <nil>"},
	"docs/traces.md":        {"Berlin"},
	"docs/typed-answers.md": {"a city in ", "the letter wants "},
}

// Each block of Go is a whole program, in a module of its own that depends on
// this one with the lines that the README gives.
func TestProgramsOfThePagesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("links five programs, most with the SDKs")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var require string
	for _, b := range blocks(t, "README.md", "text") {
		if strings.HasPrefix(b, "require llmcall") {
			require = strings.Replace(b, "../llmcall", here, 1)
		}
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example\n\ngo 1.26\n\n"+require)
	write("go.sum", string(sums))
	env := practice(t)
	for _, page := range pages(t) {
		programs := blocks(t, page, "go")
		if len(programs) != len(prints[page]) {
			t.Errorf("%s has %d programs, and of %d it is known what they print", page, len(programs), len(prints[page]))
			continue
		}
		for i, program := range programs {
			name := strings.TrimSuffix(filepath.Base(page), ".md") + strconv.Itoa(i)
			write(filepath.Join(name, "main.go"), program)
			cmd := exec.Command("go", "run", "-mod=mod", "./"+name)
			cmd.Dir, cmd.Env = dir, append(env, "PWD="+dir)
			if out, _ := runs(t, cmd); !strings.Contains(out, prints[page][i]) {
				t.Errorf("program %d of %s prints %q, want %q in it", i+1, page, out, prints[page][i])
			}
		}
	}
}

// serveInBackground starts a server that prints its address, and ends it with the test.
func serveInBackground(t *testing.T, env []string, line string) (address string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Env = env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(address)
}

// Each command in a block of sh is run, but for those that only set something
// up, or run tests: that of a page that has these is another test's concern.
func TestCommandsOfThePagesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("links the command")
	}
	bin := t.TempDir()
	runs(t, exec.Command("go", "build", "-o", filepath.Join(bin, "llmcall"), "./cmd/llmcall"))
	env := append(practice(t), "PATH="+bin+":"+os.Getenv("PATH"))
	ran := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page, "sh") {
			address := "" // of a server that the block has started
			for line := range strings.Lines(strings.ReplaceAll(b, "\\\n", "")) {
				line = strings.TrimSpace(strings.ReplaceAll(line, "go run ./cmd/llmcall", "llmcall"))
				switch {
				case strings.HasPrefix(line, "export "), strings.HasPrefix(line, "go test "), strings.HasPrefix(line, "#"), line == "":
					continue
				case strings.HasPrefix(line, "llmcall chaos"): // it serves until it is interrupted
					line = "timeout --preserve-status --signal=INT 1 " + strings.ReplaceAll(line, ":8090", ":0")
				}
				ran++
				if serve, ok := strings.CutSuffix(line, " &"); ok {
					address = serveInBackground(t, env, serve+" --listen 127.0.0.1:0")
					continue
				}
				if address != "" {
					line = strings.ReplaceAll(line, "http://127.0.0.1:8080", address)
				}
				cmd := exec.Command("bash", "-c", line)
				cmd.Env = env
				out, trace := runs(t, cmd)
				if out == "" {
					t.Errorf("%s: %s printed nothing\n%s", page, line, trace)
				}
				if strings.Contains(line, "--trace") {
					for _, want := range []string{"circuit OPEN", "circuit HALF_OPEN", "(rate_limit)", "invalid_answer", "✓ valid"} {
						if !strings.Contains(trace, want) {
							t.Errorf("no %q in\n%s", want, trace)
						}
					}
				}
			}
		}
	}
	if ran < 8 {
		t.Errorf("%d commands were run", ran)
	}
}

// The README is read in five minutes.
func TestTheReadmeIsShort(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(page, []byte("\n")); n > 215 {
		t.Errorf("README.md has %d lines, at most 215 are read", n)
	}
}

// What a page links to in this repository is there.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	for _, page := range append(pages(t), "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		data = regexp.MustCompile("(?sm)^```.*?^```").ReplaceAll(data, nil)
		for _, m := range regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

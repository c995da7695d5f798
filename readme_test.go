package llmcall_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"llmcall/chaos"
)

// blocks returns the README's code blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("the README has no %s blocks", language)
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

// Each is a whole program, in a module of its own that depends on this one with
// the lines that the README gives.
func TestReadmeProgramsRun(t *testing.T) {
	server, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	http := httptest.NewServer(server)
	defer http.Close()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var require string
	for _, b := range blocks(t, "text") {
		if strings.HasPrefix(b, "require llmcall") {
			require = strings.Replace(b, "../llmcall", here, 1)
		}
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"Berlin", "a city in ", "answered by openai/gpt-6-luna", "paid <nil> CLOSED"} {
		dir := t.TempDir()
		for name, content := range map[string]string{
			"go.mod": "module example\n\ngo 1.26\n\n" + require, "go.sum": string(sums), "main.go": blocks(t, "go")[i],
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("go", "run", "-mod=mod", ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "OPENAI_BASE_URL="+http.URL+"/v1", "OPENAI_API_KEY=of-the-test")
		if out, _ := runs(t, cmd); !strings.Contains(out, want) {
			t.Errorf("program %d prints %q, want %q in it", i+1, out, want)
		}
	}
}

// The commands that run on a fresh machine.
func TestReadmeCommandsRun(t *testing.T) {
	ran := 0
	for _, b := range blocks(t, "sh") {
		for line := range strings.Lines(b) {
			if !strings.Contains(line, "go run ./cmd/llmcall") {
				continue
			}
			ran++
			cmd := exec.Command("bash", "-c", line)
			cmd.Env = append(os.Environ(), "OPENAI_API_KEY=", "LLMCALL_MODEL=")
			out, trace := runs(t, cmd)
			if out == "" {
				t.Errorf("%s printed no answer", line)
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
	if ran < 3 {
		t.Errorf("%d commands were run", ran)
	}
}

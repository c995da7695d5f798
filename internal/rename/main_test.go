package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The module can be given another path in one step: all that its copy imports is there, the
// root and what it needs build, and the tests of its ground floor and of its map pass. To
// compile all of it a second time would take minutes, and find no more.
func TestTheModuleCanBeRenamed(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a copy of the module")
	}
	dir := t.TempDir()
	copyModule(t, filepath.Join("..", ".."), dir)
	const to = "example.org/you/llmcall"
	n, err := rename(dir, to)
	if err != nil || n < 100 {
		t.Fatalf("%d files changed: %v", n, err)
	}
	command(t, dir, "list", "-deps", "-test", "./...")
	command(t, dir, "run", "cmd/gofmt", "-l", ".") // reads all
	tests, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tests { // those of the map need nothing of the others, which need everything
		if filepath.Base(name) != "floors_test.go" {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	command(t, dir, "build", "./breaker", "./retry", ".")
	command(t, dir, "test", "-short", ".", "./backoff", "./llm", "./internal/asis", "./internal/body")
	if got := command(t, dir, "list", "-m"); !strings.Contains(got, to) {
		t.Errorf("the module is %s", got)
	}
	if got := command(t, filepath.Join(dir, "bench"), "list", "-m", "-f", "{{.Path}}", to); !strings.Contains(got, to) {
		t.Errorf("the benchmarks' module needs %s", got)
	}
	if n, err := rename(dir, "example.org/other/llm"); err != nil || n < 100 {
		t.Errorf("a second time: %d files changed: %v", n, err)
	}
	if _, err := rename(dir, "Not A Path"); err == nil {
		t.Error("an impossible path was taken")
	}
}

func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "PWD="+dir)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// copyModule copies the files of the module, but for what is hidden.
func copyModule(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, hidden{os.DirFS(from)}); err != nil {
		t.Fatal(err)
	}
}

// hidden is a file system without its hidden files and what was built into it.
type hidden struct{ fs.FS }

func (h hidden) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(h.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), ".") || name == "." && e.Name() == "bin"
	}), err
}

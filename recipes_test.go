package llmcall_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	recipeHead = regexp.MustCompile(`(?m)^## (Recipe [0-9]+): .*$`)
	// A step is a block of commands, or a block of Go after a line that says where
	// it goes.
	recipeStep = regexp.MustCompile("(?s)(?:Create `([^`]+)`:|In `([^`]+)`, after the line with `([^`]+)`, add:)\n\n```go\n(.*?)```|```sh\n(.*?)```")
)

// Each recipe of CONTRIBUTING.md is followed in a copy of the module, step by step.
func TestRecipesCanBeFollowed(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three copies of the module")
	}
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	heads := recipeHead.FindAllStringSubmatchIndex(string(page), -1)
	if len(heads) != 3 {
		t.Fatalf("%d recipes", len(heads))
	}
	for i, head := range heads {
		end := len(page)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		recipe := string(page[head[1]:end])
		t.Run(string(page[head[2]:head[3]]), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, sources{os.DirFS(".")}); err != nil {
				t.Fatal(err)
			}
			steps := recipeStep.FindAllStringSubmatch(recipe, -1)
			if blocks := strings.Count(recipe, "```go\n") + strings.Count(recipe, "```sh\n"); blocks != len(steps) {
				t.Fatalf("%d blocks, of which %d are steps", blocks, len(steps))
			}
			for _, step := range steps {
				create, edit, anchor, code, commands := step[1], step[2], step[3], ofThisModule(t, step[4]), step[5]
				switch {
				case create != "":
					writeNew(t, filepath.Join(dir, create), code)
				case edit != "":
					addAfter(t, filepath.Join(dir, edit), ofThisModule(t, anchor), code)
				default:
					for line := range strings.Lines(commands) {
						cmd := exec.Command("bash", "-c", line)
						cmd.Dir, cmd.Env = dir, append(os.Environ(), "PWD="+dir)
						runs(t, cmd)
					}
				}
			}
		})
	}
}

// ofThisModule gives the imports of a recipe the module's path, which its owner
// may have changed.
func ofThisModule(t *testing.T, code string) string {
	t.Helper()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`(?m)^module (\S+)$`).FindStringSubmatch(string(mod))[1]
	return strings.ReplaceAll(code, `"llmcall/`, `"`+path+"/")
}

func writeNew(t *testing.T, path, content string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		t.Fatalf("%s exists", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// addAfter adds lines after the one line of a file that has the anchor.
func addAfter(t *testing.T, path, anchor, content string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(old), anchor); n != 1 {
		t.Fatalf("%s has %q %d times", path, anchor, n)
	}
	before, after, _ := strings.Cut(string(old), anchor)
	rest, after, _ := strings.Cut(after, "\n")
	if err := os.WriteFile(path, []byte(before+anchor+rest+"\n"+content+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sources are the files of the module without what a copy does not need: hidden
// files, programs that were built, and the modules below this one.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), ".") || name == "." && slices.Contains([]string{"bench", "bin", "llmcall"}, e.Name())
	}), err
}

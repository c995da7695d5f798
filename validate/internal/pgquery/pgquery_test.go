package pgquery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

func TestTheTreeIsPostgreSQLs(t *testing.T) {
	tree, err := Parse(t.Context(), "SELECT 1; DELETE FROM t")
	if err != nil || !strings.Contains(string(tree), `"SelectStmt"`) || !strings.Contains(string(tree), `"DeleteStmt"`) {
		t.Errorf("%s, %v", tree, err)
	}
}

func TestAnErrorHasAPlace(t *testing.T) {
	for text, want := range map[string]Error{
		"SELECT é FRM (":    {"syntax error at or near \"(\"", 14},
		"SELECT 'abc":       {"unterminated quoted string at or near \"'abc\"", 8},
		"SELECT U&'\\0000'": {"invalid Unicode escape value", 11},
	} {
		for range 3 { // the instance can be used after an error
			_, err := Parse(t.Context(), text)
			if got, ok := errors.AsType[*Error](err); !ok || *got != want {
				t.Errorf("%q: %#v, want %v", text, err, want)
			}
		}
	}
}

// trap is a function that ends as WebAssembly does on a stack overflow.
type trap struct{ api.Function }

func (trap) Call(context.Context, ...uint64) ([]uint64, error) {
	return nil, errors.New("wasm error: stack overflow\nwasm stack trace:\n\t…")
}

// After a text on which the parser itself fails, the next one is parsed.
func TestAFaultIsOfOneText(t *testing.T) {
	if _, err := Parse(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	p, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	p.instance.query = trap{p.instance.query}
	_, err = Parse(t.Context(), "SELECT 2")
	if bad, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(bad.Message, "the SQL can't be parsed (") || strings.Contains(bad.Message, "\n") {
		t.Errorf("%v", err)
	}
	if _, err := Parse(t.Context(), "SELECT 3"); err != nil {
		t.Error(err)
	}
}

func TestManyGoroutinesParseAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprintf("column_%d", i)
			for range 20 {
				if tree, err := Parse(t.Context(), "SELECT "+name); err != nil || !strings.Contains(string(tree), name) {
					t.Errorf("%s: %s, %v", name, tree, err)
				}
			}
		})
	}
	all.Wait()
}

// files are the names and contents in a directory of the cache.
func files(t *testing.T, dir string) map[string]os.FileInfo {
	t.Helper()
	found := map[string]os.FileInfo{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			found[path] = info
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// (module (func)), which is compiled at once.
var empty = []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b")

// A second process takes the machine code from the cache: wazero writes a file for
// each module that it compiles, so that a file that is the same as before means
// that nothing was compiled. A directory that can't be used is not a reason to fail.
func TestTheSecondProcessCompilesNothing(t *testing.T) {
	dir := t.TempDir()
	process := func(dir string) {
		t.Helper()
		p, err := load(empty, dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.runtime.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	process(dir)
	first := files(t, dir)
	if len(first) != 1 {
		t.Fatalf("the cache has %d files, want 1", len(first))
	}
	process(dir)
	second := files(t, dir)
	for path, info := range first {
		if again := second[path]; len(second) != 1 || again == nil || !os.SameFile(info, again) || !info.ModTime().Equal(again.ModTime()) {
			t.Errorf("%s was written again", path)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		process(dir)  // the file can't be read
		process(path) // it is not a directory
	}
	process("")
}

// The parser itself is in the user's cache directory once it was used.
func TestTheParserIsKept(t *testing.T) {
	dir := cacheDir()
	if dir == "" {
		t.Skip("there is no cache directory")
	}
	if _, err := Parse(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	for _, info := range files(t, dir) {
		if info.Size() > 1<<20 {
			return
		}
	}
	t.Errorf("%s does not have it", dir)
}

func TestTheCacheIsTheUsersAlone(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Setenv("HOME", home)
	t.Setenv("LocalAppData", home)
	dir := cacheDir()
	if dir == "" || !strings.HasPrefix(dir, home) {
		t.Fatalf("%q is not in %q", dir, home)
	}
	if os.PathSeparator != '/' {
		t.Skip("there are no modes")
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := cacheDir(); got != "" {
		t.Errorf("a directory that all can write is used: %q", got)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := cacheDir(); got != "" {
		t.Errorf("%q can't be a directory", got)
	}
}

func TestTheModuleIsTheOneThatTheNoticeNames(t *testing.T) {
	module, err := decompressed()
	if err != nil {
		t.Fatal(err)
	}
	generate, err := os.ReadFile("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(module)); !strings.Contains(string(generate), sum) {
		t.Errorf("its SHA-256 is %s", sum)
	}
}

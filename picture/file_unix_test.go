//go:build unix

package picture

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFileIsNamedInErrors(t *testing.T) {
	dir := t.TempDir()
	pipe, empty, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "empty.png"), filepath.Join(dir, "large.png")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 10<<30); err != nil {
		t.Skip(err)
	}
	for path, says := range map[string]string{
		filepath.Join(dir, "missing"): "no such file",
		dir:                           "is a directory: takes a file",
		pipe:                          "is a pipe: takes a file",
		os.DevNull:                    "is a device: takes a file",
		empty:                         "is empty",
		large:                         "is 10737418240 bytes: takes at most",
	} {
		_, err := File(path)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}

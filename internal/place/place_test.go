package place_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/internal/place"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PLACE_SET", " sesame\n")
	t.Setenv("PLACE_BLANK", "  ")
	for _, c := range []struct{ at, want, err string }{
		{"env:PLACE_SET", "sesame", ""},
		{"file:" + file("set", "sesame\r\n"), "sesame", ""},
		{"env:PLACE_BLANK", "", "must be where a secret is, got env:PLACE_BLANK, in which there is none"},
		{"env:PLACE_UNSET", "", "must be where a secret is, got env:PLACE_UNSET, in which there is none"},
		{"file:" + file("empty", "\n"), "", "in which there is none"},
		{"file:" + file("large", strings.Repeat("x", 64<<10+1)), "", "which is larger than 64 KiB"},
		{"file:" + filepath.Join(dir, "missing"), "", "can't be read: open "},
		{"file:", "", "must be env:NAME or file:PATH, got something else, which is not shown because it may be a secret"},
		{"sesame", "", "must be env:NAME or file:PATH, got something else, which is not shown because it may be a secret"},
		{"https:sesame", "", "got something else"},
	} {
		got, err := place.Read(c.at, "a secret")
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %s", c.at, got, err, c.want, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: the error shows it: %v", c.at, err)
		}
	}
}

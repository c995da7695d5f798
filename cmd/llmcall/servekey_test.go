package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// serveKey runs "key" with arguments, where each key has another number.
func serveKey(t *testing.T, args ...string) (outcome, error) {
	t.Helper()
	made := 0
	cmd := newServeKey(func() (key, hash string) {
		made++
		key = fmt.Sprintf("llmcall_key-%d", made)
		sum := sha256.Sum256([]byte(key))
		return key, hex.EncodeToString(sum[:])
	})
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	return outcome{exitCode(err), out.String(), errs.String()}, err
}

// The key alone goes to standard output, the line has its hash and not the key, and is the
// entry of a list in YAML, whatever the name is.
func TestANewKeyOfAClient(t *testing.T) {
	for _, name := range []string{"web", "true", "12e4", "a, b: {c}", `the "web" \ team`, "größe", "a\nb", "#1", ""} {
		args := []string{"new"}
		if name != "" {
			args = append(args, "--name", name)
		}
		got, err := serveKey(t, args...)
		if err != nil || got.stdout != "llmcall_key-1\n" {
			t.Fatalf("%q: %v: %q", name, err, got.stdout)
		}
		said, line, _ := strings.Cut(got.stderr, "\n")
		if said != "llmcall: the key is shown this once; for the gateway's file, under clients:" || strings.Contains(got.stderr, "llmcall_") || strings.Count(line, "\n") != 1 {
			t.Errorf("%q: %q", name, got.stderr)
		}
		var file struct {
			Clients []struct{ Name, SHA256 string }
		}
		if err := yaml.Unmarshal([]byte("clients:\n"+line), &file); err != nil || len(file.Clients) != 1 {
			t.Fatalf("%q: %v: %s", name, err, line)
		}
		sum := sha256.Sum256([]byte("llmcall_key-1"))
		want := hex.EncodeToString(sum[:])
		if name == "" {
			name = "client-" + want[:8]
		}
		if c := file.Clients[0]; c.Name != name || c.SHA256 != want {
			t.Errorf("%q: %+v", name, c)
		}
	}
}

func TestUsageOfServeKey(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // of the error
	}{
		{[]string{"new", "web"}, `new takes no arguments, got "web"`},
		{[]string{"neu"}, `unknown command "neu", did you mean new?`},
	} {
		got, err := serveKey(t, c.args...)
		if got.code != exitUsage || err == nil || err.Error() != c.want || got.stdout != "" {
			t.Errorf("%q: exit %d, %v, %q", c.args, got.code, err, got.stdout)
		}
	}
	if got, err := serveKey(t); err != nil || !strings.Contains(got.stdout, "Make a key for a client") {
		t.Errorf("%v: %q", err, got.stdout)
	}
}

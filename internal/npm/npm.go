// Package npm installs packages of npm for tests that run Node.
package npm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Install returns a folder that has node_modules: the one of this name in the user's cache.
// If it is missing, npm makes it with args ("ci", or "install" and packages) beside copies
// of files, without the packages' own scripts. It is made only once, so the name must say
// which versions are in it. The error is npm's, with its output.
func Install(t testing.TB, name string, files []string, args ...string) (dir string, err error) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	dir = filepath.Join(cache, "llmcall-test", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	copyFiles(t, fresh, files)
	args = slices.Concat(args, []string{"--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund"})
	if out, err := exec.CommandContext(t.Context(), "npm", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // another test run was quicker
			t.Fatal(err)
		}
	}
	return dir, nil
}

// Beside returns a folder of the test with copies of the files and the node_modules of an
// installed folder: Node looks for packages beside the script.
func Beside(t testing.TB, installed string, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, dir, files)
	return dir
}

func copyFiles(t testing.TB, dir string, files []string) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

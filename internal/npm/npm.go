// Package npm installs packages of npm for tests and generators that run Node.
package npm

import (
	"context"
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
	dir, refused, err := Folder(t.Context(), filepath.Join(cache, "llmcall-test"), name, files, args...)
	if err != nil {
		t.Fatal(err)
	}
	return dir, refused
}

// Folder is [Install] for a program: the folder is in cache. refused is npm's error, err
// any other.
func Folder(ctx context.Context, cache, name string, files []string, args ...string) (dir string, refused, err error) {
	dir = filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", nil, err
	}
	fresh, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(fresh)
	if err := copyFiles(fresh, files); err != nil {
		return "", nil, err
	}
	args = slices.Concat(args, []string{"--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund"})
	if out, err := exec.CommandContext(ctx, "npm", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out), nil
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // another run was not quicker
			return "", nil, err
		}
	}
	return dir, nil, nil
}

// Beside returns a folder of the test with copies of the files and the node_modules of an
// installed folder: Node looks for packages beside the script.
func Beside(t testing.TB, installed string, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := copyFiles(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFiles(dir string, files []string) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

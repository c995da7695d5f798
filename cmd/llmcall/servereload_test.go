package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link, in one step in the place of what is there.
func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A changed file is noticed however it is put there.
func TestServeWatches(t *testing.T) {
	config := func(name string) string {
		return fmt.Sprintf("{providers: {acme: {protocol: openai, base_url: 'http://127.0.0.1:9/v1', keys: [none]}}, routes: {%s: {models: [acme/m]}}}", name)
	}
	for _, c := range []struct {
		name          string
		before, after func(t *testing.T, dir string)
	}{
		{"as Kubernetes changes a ConfigMap", func(t *testing.T, dir string) {
			put(t, dir+"/..v1/gateway.yaml", config("old"))
			link(t, "..v1", dir+"/..data")
			link(t, "..data/gateway.yaml", dir+"/gateway.yaml")
		}, func(t *testing.T, dir string) {
			put(t, dir+"/..v2/gateway.yaml", config("fresh"))
			link(t, "..v2", dir+"/..data")
			_ = os.RemoveAll(dir + "/..v1")
		}},
		{"a link to a file elsewhere", func(t *testing.T, dir string) {
			put(t, dir+"/real/g.yaml", config("old"))
			link(t, "real/g.yaml", dir+"/gateway.yaml")
		}, func(t *testing.T, dir string) { put(t, dir+"/real/g.yaml", config("fresh")) }},
		{"another file in the place of the first", func(t *testing.T, dir string) { put(t, dir+"/gateway.yaml", config("old")) }, func(t *testing.T, dir string) {
			put(t, dir+"/g", config("fresh"))
			_ = os.Rename(dir+"/g", dir+"/gateway.yaml")
		}},
		{"beside a file that is written all the time", func(t *testing.T, dir string) {
			put(t, dir+"/gateway.yaml", config("old"))
			done := make(chan struct{})
			go func() {
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-done:
						return
					case <-tick.C:
						_ = os.WriteFile(dir+"/log", []byte("x"), 0o600)
					}
				}
			}()
			t.Cleanup(func() { close(done) })
		}, func(t *testing.T, dir string) { put(t, dir+"/gateway.yaml", config("fresh")) }},
		{"emptied, and then written", func(t *testing.T, dir string) { put(t, dir+"/gateway.yaml", config("old")) }, func(t *testing.T, dir string) {
			put(t, dir+"/gateway.yaml", "")
			time.Sleep(3 * settled)
			put(t, dir+"/gateway.yaml", config("fresh"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.before(t, dir)
			url, log, _ := startServe(t, "--config", dir+"/gateway.yaml")
			if status, text := askServe(t, url, "fresh"); status != 404 {
				t.Fatalf("before: %d %s", status, text)
			}
			c.after(t, dir)
			log.until(t, "was read again")
			if status, text := askServe(t, url, "fresh"); status == 404 {
				t.Errorf("after: %d %s", status, text)
			}
			if strings.HasPrefix(c.name, "emptied") && !strings.Contains(log.String(), "is empty") {
				t.Errorf("the log does not say that the file is empty: %s", log)
			}
		})
	}
}

// Where the system can't tell of changes, because other programs have used up what it has for
// that, the gateway serves all the same, says so once, and looks at the file itself.
func TestServeLooksAtItsFile(t *testing.T) {
	for name, notifier := range map[string]func() (*fsnotify.Watcher, error){
		"no more instances": func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE },
		"no more watches": func() (*fsnotify.Watcher, error) {
			files, err := fsnotify.NewWatcher()
			return files, errors.Join(err, files.Close()) // nothing can be added to it
		},
	} {
		t.Run(name, func(t *testing.T) {
			newNotifier = notifier
			t.Cleanup(func() { newNotifier = fsnotify.NewWatcher })
			dir := t.TempDir()
			path := filepath.Join(dir, "gateway.yaml")
			put(t, path, "{}")
			url, log, _ := startServe(t, "--practice", "--config", path)
			for _, c := range []struct{ config, says string }{
				{"routes: {one: {models: [openai/m]}}", "routes=2"}, // with that for practice
				{"routes: {one: {models: [openai/m]}, two: {models: [openai/m]}}", "routes=3"},
			} {
				put(t, path+".new", c.config)
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
				log.until(t, "read again\" file="+path+" "+c.says)
			}
			if status, text := askServe(t, url, "two"); status != 200 {
				t.Errorf("%d %s", status, text)
			}
			if n := strings.Count(log.String(), "does not tell"); n != 1 {
				t.Errorf("it is logged %d times: %s", n, log)
			}
		})
	}
}

// SIGHUP ends nothing: without a file there is nothing to read again, and with one it is read
// even if it is the same.
func TestServeUponSIGHUP(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	put(t, path, "routes: {one: {models: [openai/m]}}")
	for _, c := range []struct {
		args []string
		says string
	}{{nil, "there is no --config to read again"}, {[]string{"--config", path}, "was read again"}} {
		url, log, end := startServe(t, append(c.args, "--practice")...)
		for range 2 {
			if err := self.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		log.until(t, c.says)
		if status, text := askServe(t, url, "practice"); status != 200 {
			t.Errorf("%v: %d %s", c.args, status, text)
		}
		if code := end(); code != 0 {
			t.Errorf("%v: the exit code is %d: %s", c.args, code, log)
		}
	}
}

// Command failover writes docs/failover.md: what clients of `llmcall serve`, of other
// gateways and of none see when a provider fails in each of 20 ways. It is run in the root
// of the repository by `make failover`, and needs npm, nginx and HAProxy for the others.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"llmcall/internal/proxies"
)

const page = "docs/failover.md"

func main() {
	root := flag.String("root", ".", "the root of the repository")
	command := flag.String("llmcall", "", "the command llmcall; by default it is built")
	only := flag.String("only", "", "print the cells that have this `text` in their description, with what the SDK reports, and write nothing")
	flag.Parse()
	if err := run(*root, *command, *only); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(root, command, only string) error {
	all := everything()
	if only != "" {
		all = slices.DeleteFunc(all, func(c *cell) bool { return !strings.Contains(c.String(), only) })
	}
	if err := measured(context.Background(), all, root, command); err != nil {
		return err
	}
	if only == "" {
		return os.WriteFile(filepath.Join(root, page), []byte(written(all)), 0o644)
	}
	for _, c := range all {
		fmt.Printf("%v: %v; %.1f s; the SDK: %v\n", c, c.outcome, c.outcome.took.Seconds(), c.reported)
	}
	return nil
}

// measured finds the outcomes of cells, with a command that is built if there is none.
func measured(ctx context.Context, all []*cell, root, command string) error {
	dir, err := os.MkdirTemp("", "failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	if command == "" {
		command = filepath.Join(dir, "llmcall")
		build := exec.CommandContext(ctx, "go", "build", "-o", command, "./cmd/llmcall")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	return measure(ctx, all, proxies.Options{Dir: dir, Patience: patience, Cache: filepath.Join(cache, "llmcall-test"), Command: command})
}

// Command pricegen writes the table of package price/known. It reads the prices of the
// npm package @pydantic/genai-prices with Node, and needs node and npm:
//
//	go run ./internal/pricegen -o price/known/table.json
//
// Of the package's models those are priced whose usage tells all that the price
// depends on; the others are in the table without a price, so that a wider pattern
// after them does not give them one.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"llmcall/internal/npm"
)

// source is the package, and version the one that the table is made from.
const (
	source  = "@pydantic/genai-prices"
	version = "0.1.8"
	licence = "MIT, Copyright (c) Pydantic Services Inc. 2025 to present"
)

// providers are the names of this module's adapters, with the package's. See package
// price/known for why it is these.
var providers = []struct{ ours, theirs string }{
	{"openai", "openai"}, {"anthropic", "anthropic"}, {"gemini", "google"}, {"groq", "groq"},
}

func main() {
	out := flag.String("o", "table.json", "the file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pricegen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir, refused, err := npm.Folder(ctx, filepath.Join(cache, "llmcall-test"), "genai-prices-"+version, nil, "install", source+"@"+version)
	if err := errors.Join(refused, err); err != nil {
		return err
	}
	published, err := publishedOn(ctx)
	if err != nil {
		return err
	}
	dumped, err := dump(ctx, dir)
	if err != nil {
		return err
	}
	text, err := table(dumped, published)
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

// publishedOn returns the day on which the version was published: no price in it is
// newer.
func publishedOn(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "npm", "view", source, "time", "--json").Output()
	if err != nil {
		return "", fmt.Errorf("npm view: %w", err)
	}
	var times map[string]time.Time
	if err := json.Unmarshal(out, &times); err != nil {
		return "", fmt.Errorf("npm view: %w", err)
	}
	if times[version].IsZero() {
		return "", fmt.Errorf("npm view: there is no time of version %s", version)
	}
	return times[version].UTC().Format(time.DateOnly), nil
}

//go:embed dump.mjs
var script []byte

// dump returns the package's providers as JSON. Node looks for packages where it runs.
func dump(ctx context.Context, dir string) ([]byte, error) {
	args := []string{"--input-type=module", "-"}
	for _, p := range providers {
		args = append(args, p.theirs)
	}
	cmd := exec.CommandContext(ctx, "node", args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(script), &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("node: %w\n%s", err, said.Bytes())
	}
	return out, nil
}

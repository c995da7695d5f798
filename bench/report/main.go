// Command report runs the benchmarks of this module for a number of rounds,
// prints one table of ours beside the best peer and the floor, and writes
// docs/benchmarks.md. It is run in the folder bench:
//
//	go run ./report
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	rounds := flag.Int("rounds", 10, "how often each benchmark is run; the least of its times counts")
	benchtime := flag.String("benchtime", "50ms", "how long each benchmark runs in a round, as go test takes it")
	only := flag.String("bench", ".", "the rows to run, as go test takes them; with fewer than all, no page is written")
	docs := flag.String("docs", filepath.Join("..", "docs"), "the folder of benchmarks.md")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := report(ctx, *rounds, *benchtime, *only, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(ctx context.Context, rounds int, benchtime, only, docs string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d: takes a whole number of at least 1", rounds)
	}
	notes, err := readNotes()
	if err != nil {
		return err
	}
	run, err := measure(ctx, rounds, benchtime, only)
	if err != nil {
		return err
	}
	results := judge(run)
	if err := printTable(os.Stdout, results, notes); err != nil {
		return err
	}
	if only != "." {
		return nil
	}
	path := filepath.Join(docs, "benchmarks.md")
	if err := os.WriteFile(path, page(run, results, notes), 0o644); err != nil {
		return err
	}
	fmt.Println("\nwritten:", path)
	return nil
}

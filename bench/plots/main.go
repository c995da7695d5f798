// Command plots measures how the cost of a call grows with the work, and draws
// it. It is run in the folder bench:
//
//	go run ./plots
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 10, "how often each point is measured; the least counts")
	benchtime := flag.Duration("benchtime", 50*time.Millisecond, "how long a point is measured in a round")
	docs := flag.String("docs", filepath.Join("..", "docs"), "the folder of the plots")
	flag.Parse()
	if err := plots(*rounds, *benchtime, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

func plots(rounds int, benchtime time.Duration, docs string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d: takes a whole number of at least 1", rounds)
	}
	testing.Init() // sets the flag that testing.Benchmark reads
	if err := flag.Set("test.benchtime", benchtime.String()); err != nil {
		return err
	}
	m := &meter{rounds: rounds, benchtime: benchtime}
	for _, f := range []struct {
		file string
		draw func(*meter) (*figure, error)
	}{
		{"calls-in-flight.svg", callsInFlight}, {"keys.svg", keys}, {"conversation.svg", conversation}, {"schema.svg", schema},
	} {
		figure, err := f.draw(m)
		if err != nil {
			return fmt.Errorf("%s: %w", f.file, err)
		}
		path := filepath.Join(docs, f.file)
		if err := figure.save(path); err != nil {
			return err
		}
		figure.print(os.Stdout)
		fmt.Println("written:", path)
	}
	return nil
}

// Command fleet measures what a circuit costs that several processes share: package
// llmcall/fleet beside the distributed breaker of sony/gobreaker, over one Redis, in one
// run. It needs redis-server (apt-get install redis-server), and is run in the folder bench:
//
//	go run ./fleet
//
// The callers are processes of their own. All calls are healthy, and do nothing or sleep.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// settings says how much is measured.
type settings struct {
	rounds int
	length time.Duration
}

// isCaller reports whether this process was started by another one of this program.
func isCaller() bool { return len(os.Args) > 1 && os.Args[1] == "-task" }

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "how often each is measured, in turn; the best round counts")
	flag.DurationVar(&s.length, "length", 2*time.Second, "how long each is measured in a round")
	task := flag.String("task", "", "for the processes that the program starts: what they do, as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := error(nil)
	if *task != "" {
		err = call(*task)
	} else {
		err = compare(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// A load is how calls are made.
type load struct {
	Processes int
	AtOnce    int           // calls under way at most, in each process
	Lasts     time.Duration // a call
}

var loads = []load{{1, 1, 0}, {8, 1, 0}, {1, 4, 10 * time.Millisecond}, {8, 4, 10 * time.Millisecond}}

func (l load) String() string {
	return fmt.Sprintf("%d × %d of %s", l.Processes, l.AtOnce, strings.TrimSuffix(l.Lasts.String(), "0s")+map[bool]string{true: "no time"}[l.Lasts == 0])
}

// figures are what was measured of a way under a load.
type figures struct {
	perSecond float64
	commands  float64 // of the store, for each call
	worst     time.Duration
}

func compare(ctx context.Context, s settings) error {
	store, err := startStore(ctx)
	if err != nil {
		return err
	}
	defer store.stop()
	best := map[string]map[load]figures{}
	for range s.rounds {
		for _, w := range ways {
			if best[w.name] == nil {
				best[w.name] = map[load]figures{}
			}
			for _, l := range loads {
				f, err := measure(ctx, store, w, l, s.length)
				if err != nil {
					return fmt.Errorf("%s, %v: %w", w.name, l, err)
				}
				if f.perSecond > best[w.name][l].perSecond {
					best[w.name][l] = f
				}
			}
		}
	}
	alone, shared, err := nanoseconds(store, s.rounds)
	if err != nil {
		return err
	}
	table(best)
	fmt.Printf("\nA healthy call: %.1f ns without a fleet, %.1f ns with one (the least of %d rounds, in turn).\n", alone, shared, s.rounds)
	return nil
}

// table prints what was measured, as Markdown.
func table(best map[string]map[load]figures) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprint(w, "\t processes × calls at once\t")
	for _, way := range ways {
		fmt.Fprintf(w, " %s: calls/s\t store commands a call\t longest\t", way.name)
	}
	fmt.Fprint(w, "\n\t ---\t")
	for range ways {
		fmt.Fprint(w, " ---:\t ---:\t ---:\t")
	}
	fmt.Fprintln(w)
	for _, l := range loads {
		fmt.Fprintf(w, "\t %v\t", l)
		for _, way := range ways {
			f := best[way.name][l]
			fmt.Fprintf(w, " %s\t %s\t %v\t", grouped(f.perSecond), strconv.FormatFloat(f.commands, 'g', 2, 64), f.worst.Round(10*time.Microsecond))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

// grouped writes a number with commas.
func grouped(n float64) string {
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// measure makes calls in processes of their own, all at the same time.
func measure(ctx context.Context, store *store, w way, l load, length time.Duration) (figures, error) {
	if err := store.flush(ctx); err != nil {
		return figures{}, err
	}
	text, err := json.Marshal(task{Way: w.name, Store: store.address, AtOnce: l.AtOnce, Lasts: l.Lasts, Length: length})
	if err != nil {
		return figures{}, err
	}
	var callers []*caller
	defer func() {
		for _, c := range callers {
			c.end()
		}
	}()
	for range l.Processes {
		c, err := startCaller(ctx, string(text))
		if err != nil {
			return figures{}, err
		}
		callers = append(callers, c)
	}
	before, err := store.commands(ctx)
	if err != nil {
		return figures{}, err
	}
	for _, c := range callers {
		if err := c.begin(); err != nil {
			return figures{}, err
		}
	}
	var sum outcome
	for _, c := range callers {
		o, err := c.outcome()
		if err != nil {
			return figures{}, err
		}
		sum.Calls += o.Calls
		sum.Longest = max(sum.Longest, o.Longest)
	}
	after, err := store.commands(ctx)
	if err != nil {
		return figures{}, err
	}
	return figures{
		perSecond: float64(sum.Calls) / length.Seconds(), commands: float64(after-before) / float64(max(1, sum.Calls)), worst: sum.Longest,
	}, nil
}

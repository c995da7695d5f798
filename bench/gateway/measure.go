package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/internal/proxies"
)

// concurrencies are the numbers of callers at a time.
var concurrencies = []int{1, 16}

// The paced streams whose times are measured: few, so that nobody waits for the machine.
const (
	pacedStreams  = 24
	pacedPieces   = 32
	pacedInterval = 20 * time.Millisecond
)

// figures are what is measured of a gateway.
type figures struct {
	p50       map[int]time.Duration // by concurrency: the best round
	perSecond map[int]float64
	first     time.Duration // median, from the request to the first piece
	gap       time.Duration // median between two pieces
	onTheWay  time.Duration // median from the sending of a piece to its coming
	sustained string        // streams at a time: pieces that came, and the 99th percentile of onTheWay
	start     time.Duration // median, from the start of the process to the first answer
	idle      int64         // bytes
	after     int64         // bytes, after everything, and after the soak
}

// started starts a gateway a few times, and keeps the last.
func started(ctx context.Context, p proxies.Proxy, o proxies.Options, route proxies.Route) (*bench, error) {
	b := &bench{name: p.Name}
	var took []time.Duration
	for range 5 {
		if b.running != nil {
			b.running.Stop()
		}
		r, err := p.Start(ctx, o)
		if err != nil {
			return nil, err
		}
		b.running, b.to = r, r.To(route)
		start := time.Now()
		c, err := dial(b.to, 0, 0)
		if err == nil {
			err = c.whole()
			c.conn.Close()
		}
		if err != nil {
			r.Stop()
			return nil, fmt.Errorf("%s, the first request: %w\n%s", p.Name, err, r.Log())
		}
		took = append(took, r.Took+time.Since(start))
	}
	slices.Sort(took)
	b.figures.start = took[len(took)/2]
	return b, nil
}

// settling is how long a process may tidy up before its memory is measured.
const settling = 3 * time.Second

// measureAll measures all gateways. Those that are compared take turns in each round.
func measureAll(ctx context.Context, all []*bench, s settings) error {
	if err := remember(ctx, all, func(f *figures, rss int64) { f.idle = rss }); err != nil {
		return err
	}
	for round := range s.rounds {
		for _, b := range all {
			if err := b.whole(ctx, s, round == 0); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	for _, b := range all {
		if err := b.paced(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	for _, b := range all {
		if err := b.sustain(s); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	for _, b := range all {
		if err := b.busy(ctx, s.soak); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return remember(ctx, all, func(f *figures, rss int64) { f.after = rss })
}

// samples is how often the memory is measured while a process is kept busy.
const samples = 10

// busy keeps a process busy, and prints what memory it has meanwhile: that it is flat can be
// seen, and what it has at the end says little.
func (b *bench) busy(ctx context.Context, length time.Duration) error {
	if length == 0 || b.running == nil {
		return nil
	}
	fmt.Printf("%s, RSS every %v under 4 callers:", b.name, length/samples)
	defer fmt.Println()
	for range samples {
		l, err := drive(ctx, b.to, 4, length/samples)
		if err != nil {
			return err
		}
		rss, err := b.running.RSS()
		if err != nil {
			return err
		}
		fmt.Printf(" %s (%.0f/s)", mebibytes(rss), l.perSecond)
	}
	return nil
}

// remember measures the memory of each process.
func remember(ctx context.Context, all []*bench, keep func(*figures, int64)) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settling):
	}
	for _, b := range all {
		if b.running == nil {
			continue
		}
		rss, err := b.running.RSS()
		if err != nil {
			return err
		}
		keep(&b.figures, rss)
	}
	return nil
}

// whole measures whole answers for a round.
func (b *bench) whole(ctx context.Context, s settings, first bool) error {
	f := &b.figures
	if first {
		f.p50, f.perSecond = map[int]time.Duration{}, map[int]float64{}
		if _, err := drive(ctx, b.to, 16, s.length/2); err != nil { // to warm up
			return err
		}
	}
	for _, n := range concurrencies {
		l, err := drive(ctx, b.to, n, s.length)
		if err != nil {
			return err
		}
		if p50 := quantile(l.latencies, 0.5); first || p50 < f.p50[n] {
			f.p50[n] = p50
		}
		f.perSecond[n] = max(f.perSecond[n], l.perSecond)
	}
	return nil
}

// paced measures streams, two at a time.
func (b *bench) paced() error {
	var first, gaps, way []time.Duration
	var mu sync.Mutex
	var failed error
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for range pacedStreams / 2 {
				start := time.Now()
				all, err := b.stream(pacedPieces, pacedInterval, func() { start = time.Now() })
				mu.Lock()
				if err != nil {
					failed = err
				}
				for i, a := range all {
					way = append(way, a.came.Sub(a.sent))
					if i == 0 {
						first = append(first, a.came.Sub(start))
						continue
					}
					// What the provider itself was late is no fault of the gateway.
					gaps = append(gaps, a.came.Sub(all[i-1].came)-a.sent.Sub(all[i-1].sent))
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for i, g := range gaps {
		gaps[i] = max(g, -g)
	}
	for _, sorted := range [][]time.Duration{first, gaps, way} {
		slices.Sort(sorted)
	}
	b.figures.first, b.figures.gap, b.figures.onTheWay = quantile(first, 0.5), quantile(gaps, 0.5), quantile(way, 0.5)
	return failed
}

// stream asks for a stream on a connection of its own, and calls asks before the request.
func (b *bench) stream(pieces int, interval time.Duration, asks func()) ([]arrival, error) {
	c, err := dial(b.to, pieces, interval)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	asks()
	all, ended, err := c.pieces()
	if err == nil && (len(all) != pieces || !ended) {
		err = fmt.Errorf("a stream has %d of %d pieces; ended: %t", len(all), pieces, ended)
	}
	return all, err
}

// sustain opens many streams at a time.
func (b *bench) sustain(s settings) error {
	var mu sync.Mutex
	var way []time.Duration
	var whole int
	var failed error
	var wait sync.WaitGroup
	for i := range s.streams {
		wait.Go(func() {
			time.Sleep(time.Duration(i) * s.interval / time.Duration(s.streams)) // they don't all send at the same moment
			all, err := b.stream(s.pieces, s.interval, func() {})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				whole++
			} else {
				failed = err
			}
			for _, a := range all {
				way = append(way, a.came.Sub(a.sent))
			}
		})
	}
	wait.Wait()
	slices.Sort(way)
	lost := s.streams*s.pieces - len(way)
	b.figures.sustained = fmt.Sprintf("%d whole, %d pieces lost, p99 %s", whole, lost, short(quantile(way, 0.99)))
	if failed != nil {
		b.figures.sustained += fmt.Sprintf(" (%v)", failed)
	}
	return nil
}

// report prints the table, and what must be reached.
func report(all []*bench, s settings) {
	direct := all[0].figures
	fmt.Printf("| | p50, 1 caller | requests/s | p50, 16 callers | requests/s | first piece, added | between pieces, added | a piece on its way, added | %d streams, %d pieces each %v | start to first answer | RSS idle | RSS after |\n",
		s.streams, s.pieces, s.interval)
	fmt.Println("|" + strings.Repeat(" --- |", 12))
	for _, b := range all {
		f := b.figures
		cells := []string{b.name}
		for _, n := range concurrencies {
			cells = append(cells, short(f.p50[n]), fmt.Sprintf("%.0f", f.perSecond[n]))
		}
		if b.running == nil {
			cells = append(cells, "("+short(f.first)+")", "("+short(f.gap)+")", "("+short(f.onTheWay)+")", f.sustained, "", "", "")
		} else {
			cells = append(cells, short(f.first-direct.first), short(f.gap-direct.gap), short(f.onTheWay-direct.onTheWay), f.sustained,
				short(f.start), mebibytes(f.idle), mebibytes(f.after))
		}
		fmt.Println("| " + strings.Join(cells, " | ") + " |")
	}
	fmt.Println("\nIn brackets: what direct takes, to which the others add. Medians of paced streams, two at a time; between pieces: by how much the time between two\n" +
		"pieces is not that of the provider. p99 is that of a piece on its way while all streams run.")
	goals(all, s)
}

// goals says which of the project's own goals are reached in this run.
func goals(all []*bench, s settings) {
	by := map[string]figures{}
	for _, b := range all {
		by[b.name] = b.figures
	}
	ours, found := by[proxies.Llmcall.Name]
	theirs, beside := by["ReverseProxy"]
	if !found || !beside {
		return
	}
	direct := by["direct"]
	fmt.Print("\nllmcall:\n\n")
	goal := func(reached bool, format string, args ...any) {
		mark := "missed"
		if reached {
			mark = "reached"
		}
		fmt.Printf("- %s: %s\n", mark, fmt.Sprintf(format, args...))
	}
	for _, n := range concurrencies {
		times, share := float64(ours.p50[n])/float64(theirs.p50[n]), ours.perSecond[n]/theirs.perSecond[n]
		goal(times <= 2, "p50 with %d at a time %.2f × ReverseProxy's (at most 2)", n, times)
		goal(share >= 0.6, "requests a second with %d at a time %.0f %% of ReverseProxy's (at least 60 %%)", n, 100*share)
	}
	goal(ours.first-direct.first <= 500*time.Microsecond, "%s to the first piece (at most 0.5 ms)", short(ours.first-direct.first))
	goal(ours.gap-direct.gap <= 50*time.Microsecond, "%s between pieces (at most 50 µs)", short(ours.gap-direct.gap))
	goal(strings.HasPrefix(ours.sustained, fmt.Sprintf("%d whole, 0 pieces lost", s.streams)), "%d paced streams: %s", s.streams, ours.sustained)
	goal(ours.idle <= 40<<20, "%s idle (at most 40 MiB)", mebibytes(ours.idle))
	goal(ours.start < 150*time.Millisecond, "%s from the start to the first answer (less than 150 ms)", short(ours.start))
}

// short writes a time with three digits.
func short(d time.Duration) string {
	switch abs := max(d, -d); {
	case abs < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case abs < 100*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

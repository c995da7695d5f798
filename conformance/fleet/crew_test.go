package fleet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A crew is the workers of a test.
type crew struct {
	t       *testing.T
	workers []*worker
	begun   int // how many of them have been let begin

	mu      sync.Mutex
	events  []event
	changed chan struct{} // closed at the next event
}

type worker struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	read  chan struct{} // closed when its output has ended
	log   lockedBuffer
	dead  bool // by kill
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// hire starts n workers that do a job, and waits until all are ready.
func hire(t *testing.T, n int, j job) *crew {
	t.Helper()
	c := &crew{t: t, changed: make(chan struct{})}
	t.Cleanup(c.dismiss)
	for range n {
		c.join(j)
	}
	c.wait(time.Minute, "all workers to be ready", func() bool { return c.count(ready) == n })
	return c
}

// join starts one more worker.
func (c *crew) join(j job) {
	c.t.Helper()
	j.Worker = len(c.workers)
	text, err := json.Marshal(j)
	if err != nil {
		c.t.Fatal(err)
	}
	program := os.Args[0]
	if len(j.Clock) > 0 {
		if program, err = wrongClock(); err != nil {
			c.t.Fatal(err)
		}
	}
	w := &worker{cmd: exec.Command(program), read: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	w.cmd.Stderr = &w.log
	if w.input, err = w.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	output, err := w.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.workers = append(c.workers, w)
	go c.listen(j.Worker, w, output)
}

func (c *crew) listen(number int, w *worker, output io.Reader) {
	defer close(w.read)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			c.t.Errorf("worker %d says %q", number, lines.Text())
			continue
		}
		e.Worker = number
		c.mu.Lock()
		c.events = append(c.events, e)
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// begin lets those who wait begin, and returns when.
func (c *crew) begin() time.Time {
	c.t.Helper()
	for _, w := range c.workers[c.begun:] {
		if _, err := fmt.Fprintln(w.input); err != nil {
			c.t.Fatalf("%v\n%s", err, w.log.String())
		}
	}
	c.begun = len(c.workers)
	return time.Now().Round(0)
}

// kill ends a worker by SIGKILL.
func (c *crew) kill(number int) {
	c.t.Helper()
	w := c.workers[number]
	if err := w.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-w.read
	w.dead = true
}

// dismiss ends all workers.
func (c *crew) dismiss() {
	for _, w := range c.workers {
		w.input.Close()
	}
	for i, w := range c.workers {
		select {
		case <-w.read:
		case <-time.After(20 * time.Second):
			c.t.Errorf("worker %d did not end", i)
			_ = w.cmd.Process.Kill()
			<-w.read
		}
		if err := w.cmd.Wait(); err != nil && !w.dead && !c.t.Failed() {
			c.t.Errorf("worker %d: %v\n%s", i, err, w.log.String())
		}
	}
	if c.t.Failed() && len(c.workers) > 0 {
		c.t.Logf("what worker 0 has logged:\n%s", c.workers[0].log.String())
	}
	c.workers, c.begun = nil, 0
}

// all returns the events of some kinds so far.
func (c *crew) all(kinds ...string) (events []event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if slices.Contains(kinds, e.Kind) {
			events = append(events, e)
		}
	}
	return events
}

func (c *crew) count(kind string) int { return len(c.all(kind)) }

// wait waits until something is so, which can only become so by an event.
func (c *crew) wait(limit time.Duration, what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(limit)
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("waited %v for %s\n%v\n%s", limit, what, c.states(), c.workers[0].log.String())
		}
	}
}

// states returns each worker's last state of the circuit, "" if it has not changed.
func (c *crew) states() []string {
	states := make([]string, len(c.workers))
	for _, e := range c.all(state) {
		states[e.Worker] = e.Reason
	}
	return states
}

// first returns when each worker came to a state for the first time from a time on, for
// those that did, by the number of the worker.
func (c *crew) first(name string, from time.Time) map[int]time.Time {
	times := map[int]time.Time{}
	for _, e := range c.all(state) {
		if _, known := times[e.Worker]; !known && e.Reason == name && !e.At.Before(from) {
			times[e.Worker] = e.At
		}
	}
	return times
}

// last returns when each worker told of its connection last, for those that told this.
func (c *crew) last(what string) map[int]time.Time {
	times := map[int]time.Time{}
	for _, e := range c.all(connected, lost) {
		if delete(times, e.Worker); e.Kind == what {
			times[e.Worker] = e.At
		}
	}
	return times
}

// told checks that each process has said why it lost the store, in the store's words if it has
// any, and that it is back, and not again and again. On a machine that is too busy it may not have
// waited for the words.
func (c *crew) told(why string) {
	c.t.Helper()
	for i, w := range c.workers {
		// It is said a moment after it is so.
		for range 100 {
			if w.dead || strings.Contains(w.log.String(), "store is back") {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		said := w.log.String()
		if n := strings.Count(said, "\n"); !w.dead && (n > 6 || !strings.Contains(said, "store is back") || !strings.Contains(said, why) && !strings.Contains(said, "no answer within")) {
			c.t.Errorf("worker %d said, of %q:\n%s", i, why, said)
		}
	}
}

// areAll reports whether it is so of all workers that were not killed.
func (c *crew) areAll(what string) bool {
	told := c.last(what)
	for number, w := range c.workers {
		if _, ok := told[number]; !ok && !w.dead {
			return false
		}
	}
	return true
}

// earliest and latest are the first and the last of some times.
func earliest(times map[int]time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}

func latest(times map[int]time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// lostSince reports whether a worker has lost the store from a time on: the machine was too busy
// to answer within a quarter of a second, or something befell the store.
func (c *crew) lostSince(from time.Time) bool {
	return slices.ContainsFunc(c.all(lost), func(e event) bool { return e.At.After(from) })
}

// underWay is how many attempts had begun at a time and had not ended.
func (c *crew) underWay(at time.Time) (n int) {
	for _, e := range c.all(attempt) {
		if !e.Alone && !e.At.After(at) && e.At.Add(e.Took).After(at) {
			n++
		}
	}
	return n
}

// took returns how long the answered calls of a time took, by when they began, with a fleet or
// alone.
func (c *crew) took(alone bool, from, until time.Time) (calls []event) {
	for _, e := range c.all(call) {
		if e.Alone == alone && e.Reason == "" && !e.At.Before(from) && e.At.Before(until) {
			calls = append(calls, e)
		}
	}
	return calls
}

// p99 returns the time within which 99 % of the calls were answered.
func p99(calls []event) time.Duration {
	if len(calls) == 0 {
		return 0
	}
	took := make([]time.Duration, len(calls))
	for i, e := range calls {
		took[i] = e.Took
	}
	slices.Sort(took)
	return took[min(len(took)-1, len(took)*99/100)]
}

// A comparison is of the calls with a fleet and those without, made at the same times by the
// same processes.
type comparison struct {
	fleet, alone time.Duration // the 99th percentiles
	calls        int
	// noise is the standard error of their difference: the machine is busy for moments, which
	// both had. It is found by drawing the tenths of a second of the time again and again
	// (B. Efron's bootstrap, by blocks).
	noise time.Duration
}

const block = 100 * time.Millisecond

func (c *crew) compare(from, until time.Time) comparison {
	return compare(c.took(false, from, until), c.took(true, from, until), from)
}

func compare(with, without []event, from time.Time) comparison {
	blocks := map[int][2][]event{}
	sides := [2][]event{with, without}
	for side, calls := range sides {
		for _, e := range calls {
			n := int(e.At.Sub(from) / block)
			b := blocks[n]
			b[side] = append(b[side], e)
			blocks[n] = b
		}
	}
	all := slices.Collect(maps.Values(blocks))
	var sum, squares float64
	const draws = 200
	for range draws {
		var drawn [2][]event
		for range all {
			b := all[rand.IntN(len(all))]
			drawn[0], drawn[1] = append(drawn[0], b[0]...), append(drawn[1], b[1]...)
		}
		d := float64(p99(drawn[0]) - p99(drawn[1]))
		sum, squares = sum+d, squares+d*d
	}
	mean := sum / draws
	return comparison{p99(sides[0]), p99(sides[1]), len(sides[0]), time.Duration(math.Sqrt(max(0, squares/draws-mean*mean)))}
}

// same reports whether the difference is at most 5 ms, or what the noise can make.
func (c comparison) same() bool {
	return (c.fleet - c.alone).Abs() <= max(5*time.Millisecond, 3*c.noise)
}

// within reports whether those with a fleet took no longer than those without, which waited as long
// as they may, but for what the noise can make.
func (c comparison) within() bool { return c.fleet <= c.alone+max(time.Millisecond, 3*c.noise) }

func (c comparison) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("p99 of %d calls %v, without a fleet %v (standard error of the difference %v)", c.calls, round(c.fleet), round(c.alone), round(c.noise))
}

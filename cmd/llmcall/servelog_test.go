package main

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// countedWrites counts the writes to a log.
type countedWrites struct {
	mu   sync.Mutex
	text strings.Builder
	n    int
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.text.Write(p)
}

func (c *countedWrites) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *countedWrites) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// A hundred lines of calls are one write, a moment later; a warning comes at once, and after
// the lines before it; a long log does not grow.
func TestLinesAreCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &countedWrites{}
		lines := &collector{to: to}
		log := slog.New(lineHandler{slog.NewTextHandler(lines, nil), lines}).With("a", 1)
		for range 100 {
			log.Info("call")
		}
		if to.writes() != 0 {
			t.Errorf("%d writes at once", to.writes())
		}
		time.Sleep(logDelay)
		synctest.Wait()
		if n := strings.Count(to.String(), "msg=call a=1\n"); n != 100 || to.writes() != 1 {
			t.Errorf("%d lines in %d writes", n, to.writes())
		}
		log.Info("before")
		log.Warn("a circuit has changed")
		if !strings.HasSuffix(to.String(), `"a circuit has changed" a=1`+"\n") || !strings.Contains(to.String(), "msg=before") || to.writes() != 2 {
			t.Errorf("after a warning, %d writes: %s", to.writes(), to.String())
		}
		log.Info(strings.Repeat("long", logSize/4))
		if to.writes() != 3 {
			t.Error("a long line is kept")
		}
		log.Info("the last")
		lines.flush()
		lines.flush()
		time.Sleep(time.Second)
		if to.writes() != 4 {
			t.Errorf("%d writes", to.writes())
		}
	})
}

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"llmcall/gateway"
)

// logDelay is how long lines of the log are collected before they are written, and logSize
// how many bytes.
const (
	logDelay = 100 * time.Millisecond
	logSize  = 16 << 10
)

// collector writes the lines of a log several at a time: under load, a write for each call
// and the waking of whoever reads it cost as much as making the line. No line waits for
// longer than logDelay.
type collector struct {
	to io.Writer

	mu    sync.Mutex
	lines bytes.Buffer
	timer *time.Timer
}

// Write keeps a line.
func (c *collector) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lines.Len() > 0: // the timer runs
	case c.timer == nil:
		c.timer = time.AfterFunc(logDelay, c.flush)
	default:
		c.timer.Reset(logDelay)
	}
	c.lines.Write(line)
	if c.lines.Len() >= logSize {
		c.write()
	}
	return len(line), nil
}

// flush writes what was kept.
func (c *collector) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write()
}

// write writes what was kept. The caller holds the lock.
func (c *collector) write() {
	if c.lines.Len() > 0 {
		_, _ = c.to.Write(c.lines.Bytes()) // a gateway goes on without its log
		c.lines.Reset()
	}
}

// lineHandler adds to each line of a call on whose behalf it is made. A line that is more than
// information is written at once, with those before it.
type lineHandler struct {
	slog.Handler
	lines *collector
}

// Handle adds the route, the client and the identifier of the trace.
func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	if who, ok := gateway.AskingOf(ctx); ok {
		r.AddAttrs(slog.String("route", who.Route), slog.String("trace_id", who.TraceID))
		if who.Client != "" {
			r.AddAttrs(slog.String("client", who.Client))
		}
	}
	err := h.Handler.Handle(ctx, r)
	if r.Level > slog.LevelInfo {
		h.lines.flush()
	}
	return err
}

// WithAttrs keeps what is added.
func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup keeps what is added.
func (h lineHandler) WithGroup(name string) slog.Handler {
	return lineHandler{h.Handler.WithGroup(name), h.lines}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/validate"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// streams reports whether the answer is printed as it arrives: if the user says
// so, or at a terminal if nothing is checked that the reader does not see.
func (f *callFlags) streams(cmd *cobra.Command, checks []validate.Strategy) bool {
	if cmd.Flags().Changed("stream") {
		return f.stream
	}
	return f.output == "text" && !f.trace && isTerminal(cmd.OutOrStdout()) &&
		len(checks) == 1 && checks[0].Name() == validate.NotEmpty().Name()
}

// ask makes the call. An answer that is streamed is printed.
func ask(cmd *cobra.Command, client *llmcall.Client, req *llm.Request, streamed bool, screen display) (*llmcall.Result, error) {
	if !streamed {
		return client.Do(cmd.Context(), req)
	}
	out := &lineEnder{w: cmd.OutOrStdout()}
	for piece, err := range client.Stream(cmd.Context(), req) {
		switch {
		case err != nil:
			return nil, errors.Join(err, out.end())
		case piece.Result != nil:
			return piece.Result, out.end()
		case piece.Restart:
			err = out.end()
			fmt.Fprintln(cmd.ErrOrStderr(), "llmcall: that answer failed; another attempt begins")
		case piece.Text != "":
			screen.pause()
			_, err = io.WriteString(out, piece.Text)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errInterrupted // not reached: a stream ends with a result or an error
}

// lineEnder ends a text with a line break if it has none.
type lineEnder struct {
	w    io.Writer
	open bool
}

func (l *lineEnder) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.open = p[len(p)-1] != '\n'
	}
	return l.w.Write(p)
}

func (l *lineEnder) end() error {
	if !l.open {
		return nil
	}
	l.open = false
	_, err := io.WriteString(l.w, "\n")
	return err
}

// display shows on standard error what happens in a call.
type display interface {
	observe(context.Context, llmcall.Event) context.Context
	pause() // something else is printed
	end(*llmcall.Result, error)
}

type noDisplay struct{}

func (noDisplay) observe(context.Context, llmcall.Event) context.Context { return nil }
func (noDisplay) pause()                                                 {}
func (noDisplay) end(*llmcall.Result, error)                             {}

// progress is a line at the bottom of a terminal that shows that the call works,
// and what it waits for. It appears after a second and is erased in the end.
type progress struct {
	w     io.Writer
	width int
	start time.Time

	mu     sync.Mutex
	what   string    // "openai/one", "attempt 2 of openai/one"
	until  time.Time // the end of a wait; zero if there is none
	reason string    // of the wait
	drawn  bool
	over   bool
}

const (
	firstDrawn  = time.Second
	drawnEach   = 250 * time.Millisecond
	eraseLine   = "\r\x1b[K"
	leastBefore = 30 // columns that the line needs
)

func newProgress(w term.File) *progress {
	width, _, _ := term.GetSize(w.Fd())
	p := &progress{w: w, width: width, start: time.Now()}
	time.AfterFunc(firstDrawn, p.draw)
	return p
}

func (p *progress) observe(_ context.Context, e llmcall.Event) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Type {
	case llmcall.EventAttemptStarted:
		p.until = time.Time{}
		p.what = "waiting for " + e.Attempt.Model
		if e.Attempt.Number > 1 {
			p.what += fmt.Sprintf(", attempt %d", e.Attempt.Number)
		}
	case llmcall.EventWaiting:
		p.until, p.reason = time.Now().Add(e.Wait), e.WaitReason.String()
	}
	return nil
}

// draw draws the line, and has itself called again until the display ends.
func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	text := p.what
	if left := time.Until(p.until); left > 0 {
		text = fmt.Sprintf("next attempt in %.0f s (%s)", left.Seconds(), p.reason)
	}
	if p.width >= leastBefore && text != "" {
		line := fmt.Sprintf("%s %3.0f s  %s", frame(time.Since(p.start)), time.Since(p.start).Seconds(), printable(text))
		fmt.Fprint(p.w, eraseLine+ansi.Truncate(line, p.width-1, "…"))
		p.drawn = true
	}
	time.AfterFunc(drawnEach, p.draw)
}

// frame returns the picture of a moment.
func frame(after time.Duration) string {
	const frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
	pictures := strings.Split(frames, "")
	return pictures[int(after/drawnEach)%len(pictures)]
}

// pause erases the line for good: what follows is the answer.
func (p *progress) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn && !p.over {
		fmt.Fprint(p.w, eraseLine)
	}
	p.over = true
}

func (p *progress) end(*llmcall.Result, error) { p.pause() }

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// batchDisplay shows on standard error how far a run is.
type batchDisplay interface {
	say(line string) // prints a line of its own
	end()            // shows no more
}

// newBatchDisplay returns the display that fits: two lines that stay at the bottom of a
// terminal, and elsewhere a line now and then.
func newBatchDisplay(cmd *cobra.Command, p *batchProgress) batchDisplay {
	errs := cmd.ErrOrStderr()
	if isTerminal(errs) && os.Getenv("TERM") != "dumb" {
		return newBatchBar(errs.(term.File), p)
	}
	return newBatchLines(errs, p)
}

// linesEach is how often a line says how far the run is, where there is no terminal.
const linesEach = 10 * time.Second

// batchLines writes lines, for a log.
type batchLines struct {
	mu   sync.Mutex
	w    io.Writer
	stop chan struct{}
	done chan struct{}
}

func newBatchLines(w io.Writer, p *batchProgress) *batchLines {
	l := &batchLines{w: w, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(linesEach)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
				l.say(p.now().line())
			}
		}
	}()
	return l
}

func (l *batchLines) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "llmcall: %s\n", printable(line))
}

func (l *batchLines) end() {
	close(l.stop)
	<-l.done
}

// batchBar draws, at the bottom of a terminal,
//
//	 41 % [=========>-------------] 4,120 of 10,000  3m12s left
//	4,109 valid  11 failed  170 refused  $1.23  48/s
//
// and erases it in the end.
type batchBar struct {
	w         term.File
	container *mpb.Progress
	bar       *mpb.Bar
}

// barEach is how often the bar is drawn.
const barEach = 200 * time.Millisecond

func newBatchBar(w term.File, p *batchProgress) *batchBar {
	container := mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barEach))
	part := func(text func(progressNow) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string { return text(p.now()) })
	}
	second := mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		n := p.now()
		texts := n.counts
		if n.waiting != "" {
			texts = append([]string{ansi.Truncate(n.waiting, s.AvailableWidth, "…")}, texts...)
		}
		_, err := io.WriteString(w, fittedTo(s.AvailableWidth, texts)+"\n")
		return err
	})
	const whole = 1000
	share := func(bar mpb.BarFiller) mpb.BarFiller {
		return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
			s.Current = int64(whole * p.now().share)
			return bar.Fill(w, s)
		})
	}
	bar := container.AddBar(whole,
		mpb.BarFillerMiddleware(share), mpb.BarFillerTrim(), mpb.BarBtmExtender(second),
		mpb.PrependDecorators(part(func(n progressNow) string { return fmt.Sprintf("%3d %% ", int(100*n.share)) })),
		mpb.AppendDecorators(part(func(n progressNow) string { return strings.TrimRight(" "+n.rows+"  "+n.left, " ") })))
	return &batchBar{w, container, bar}
}

func (b *batchBar) say(line string) {
	line = "llmcall: " + printable(line)
	if width := widthOf(b.w); width >= leastText {
		line = strings.Join(filled("", "", strings.Fields(line), width), "\n")
	}
	_, _ = fmt.Fprintln(b.container, line) // an error of the terminal is nobody's
}

func (b *batchBar) end() {
	b.bar.Abort(true)
	b.container.Wait()
}

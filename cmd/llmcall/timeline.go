package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/internal/say"
	"llmcall/llm"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// timeline draws the attempts of a call as they happen, one line after the
// other, so that it reads the same in a terminal, a log and a pipe:
//
//	0.00 s ┬ attempt 1  openai/practice
//	0.01 s ├ ✗ transient  openai/practice: transient (HTTP 503 …
//	       │ waiting 1.02 s (backoff)
//	1.03 s ┬ attempt 2  openai/practice
//	1.04 s └ ✓ valid
//
// In a terminal, a long line is wrapped after the margin.
type timeline struct {
	w     io.Writer
	start time.Time
	width int // of the terminal in columns; 0 if it is not a terminal

	good, bad, quiet, loud lipgloss.Style
}

func newTimeline(w io.Writer) *timeline {
	return &timeline{
		width: widthOf(w),
		w:     colorprofile.NewWriter(w, os.Environ()), // no colours if the terminal has none or NO_COLOR is set
		start: time.Now(),
		good:  lipgloss.NewStyle().Foreground(lipgloss.Green),
		bad:   lipgloss.NewStyle().Foreground(lipgloss.Red),
		quiet: lipgloss.NewStyle().Foreground(lipgloss.BrightBlack),
		loud:  lipgloss.NewStyle().Bold(true),
	}
}

const noTime = "          "

// margin is the number of columns before a line's text, and leastText the least
// number for the text in a narrow terminal.
const (
	margin    = 13
	leastText = 10
)

// maxShown limits how much of an error a line of the timeline shows.
const maxShown = 300

// observe is the call's observer.
func (l *timeline) observe(_ context.Context, e llmcall.Event) context.Context {
	switch a := e.Attempt; e.Type {
	case llmcall.EventAttemptStarted:
		stage := ""
		if a.Stage != llmcall.StageBasic {
			stage = "  stage " + a.Stage
		}
		l.line(l.now(), "┬", l.loud.Render(fmt.Sprintf("attempt %d", a.Number))+"  "+l.quiet.Render(a.Model+stage))
		if a.Why != "" {
			l.line(noTime, "│", l.quiet.Render(shown(a.Why)))
		}
	case llmcall.EventAttemptEnded:
		l.ended(a)
	case llmcall.EventWaiting:
		l.line(noTime, "│", l.quiet.Render(fmt.Sprintf("waiting %s (%s)", seconds(e.Wait), e.WaitReason)))
	}
	return nil
}

func (l *timeline) ended(a llmcall.Attempt) {
	circuit := ""
	if a.Circuit != "" {
		circuit = l.quiet.Render("  circuit " + a.Circuit)
	}
	circuit += l.quiet.Render(dollars("  ", a.Cost, a.Usage.Add(a.CheckUsage)))
	for _, r := range a.Repaired {
		l.line(noTime, "│", l.quiet.Render("repaired: "+shown(r.String())))
	}
	for _, note := range a.Notes {
		l.line(noTime, "│", l.quiet.Render("note: "+shown(note)))
	}
	l.tools("", a.Tools)
	if h := a.Hedge; h != nil {
		l.tools("hedge, ", h.Tools)
		l.line(noTime, "│", l.quiet.Render(hedged(a, h)))
		if h.Outcome == llmcall.OutcomeValid {
			l.line(l.now(), "└", l.good.Render("✓ "+validAfter(h.Repaired))+l.quiet.Render("  "+h.Model+" (hedge)")+circuit)
			return
		}
	}
	if a.Outcome == llmcall.OutcomeValid {
		l.line(l.now(), "└", l.good.Render("✓ "+validAfter(a.Repaired))+circuit)
		return
	}
	l.line(l.now(), "├", l.bad.Render("✗ "+a.Kind.String())+circuit)
	l.answer(a.Answer)
	if len(a.Complaints) == 0 {
		l.line(noTime, "│", l.quiet.Render(shown(a.Error)))
	}
	for i, c := range a.Complaints {
		l.line(noTime, "│", l.quiet.Render(fmt.Sprintf("%d. %s", i+1, shown(c.String()))))
	}
}

// tools draws the calls of tools that were carried out.
func (l *timeline) tools(whose string, runs []llmcall.ToolRun) {
	for _, r := range runs {
		text := fmt.Sprintf("%stool %s: %s in %s", whose, r.Name, say.Count(r.Bytes, "byte", "bytes"), seconds(r.Duration))
		switch {
		case r.Error != "":
			text = fmt.Sprintf("%stool %s: ✗ %s", whose, r.Name, r.Error)
		case r.Again:
			text = fmt.Sprintf("%stool %s: the result of its first call again", whose, r.Name)
		}
		l.line(noTime, "│", l.quiet.Render(shown(text)))
	}
}

// hedged says what became of an attempt's two requests.
func hedged(a llmcall.Attempt, h *llmcall.Attempt) string {
	text := fmt.Sprintf("hedge after %s: %s ", seconds(h.Start.Sub(a.Start)), h.Model)
	switch h.Outcome {
	case llmcall.OutcomeValid:
		return text + "was sooner; " + a.Model + " is cancelled"
	case llmcall.OutcomeLost:
		return text + "was not sooner, and is cancelled"
	}
	return shown(text + "✗ " + h.Error)
}

// These limit how much of a wrong answer is shown: lines, and characters of a line.
const (
	linesShown   = 3
	longestShown = 120
)

// answer draws the first lines of a wrong answer.
func (l *timeline) answer(text string) {
	for _, line := range firstLines(text) {
		l.line(noTime, "│", line)
	}
}

// firstLines returns the first lines of a wrong answer, as they are shown.
func firstLines(text string) []string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	more := len(lines) - linesShown
	var first []string
	for _, line := range lines[:min(len(lines), linesShown)] {
		first = append(first, "> "+say.Short(shown(line), longestShown))
	}
	if more > 0 {
		first = append(first, "> … and "+say.Count(more, "more line", "more lines"))
	}
	return first
}

func (l *timeline) pause() {}

// end draws the outcome of the call.
func (l *timeline) end(result *llmcall.Result, err error) {
	trace, outcome := traceOf(err), l.bad.Render("no valid answer")
	if err == nil {
		trace, outcome = result.Trace, l.good.Render("a valid answer")
	}
	l.line(l.now(), "═", fmt.Sprintf("%s after %s, %s in, %d out",
		outcome, say.Count(len(trace.Attempts), "attempt", "attempts"), say.Count(int(trace.Usage.InputTokens), "token", "tokens"), trace.Usage.OutputTokens)+dollars(", ", trace.Cost, trace.Usage))
}

// dollars is what something has cost, for the end of a line; "" if that is not known.
func dollars(before string, c llmcall.Cost, used llm.Usage) string {
	if !c.Known() || used == (llm.Usage{}) {
		return ""
	}
	return before + "$" + c.Dollars()
}

func (l *timeline) line(at, mark, text string) {
	lines := []string{text}
	if l.width > 0 {
		lines = strings.Split(ansi.Wrap(text, max(leastText, l.width-margin), ""), "\n")
	}
	if len(lines) > 1 {
		lines[0] += ansi.ResetStyle
	}
	fmt.Fprintf(l.w, "%s %s %s\n", l.quiet.Render(at), mark, lines[0])
	bar := "│"
	if mark == "└" || mark == "═" { // nothing follows
		bar = " "
	}
	for _, more := range lines[1:] {
		fmt.Fprintf(l.w, "%s %s %s\n", noTime, bar, l.quiet.Render(ansi.Strip(more)))
	}
}

func (l *timeline) now() string {
	return fmt.Sprintf("%10s", seconds(time.Since(l.start)))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// shown returns a text as one printable line.
func shown(s string) string {
	return say.Short(printable(strings.Join(strings.Fields(s), " ")), maxShown)
}

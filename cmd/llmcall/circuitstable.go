package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/fleet"
	"llmcall/internal/say"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

// circuitHeads are the columns of the table.
var circuitHeads = []string{"KEY", "MODEL", "STATE", "FAILURES", "REPORTERS", "PROBES", "PROCESSES", "NEXT PROBE", "WHY"}

// circuitTable draws the circuits, a line each; and where that is wider than a terminal, some
// lines each.
func circuitTable(all []fleet.Circuit, width int) string {
	rows := make([][]string, 0, len(all)+1)
	rows = append(rows, circuitHeads)
	for _, c := range all {
		rows = append(rows, []string{
			c.ID, printable(c.Name), stateText(c), orDash(failuresOf(c)), orDash(reportersOf(c)),
			fmt.Sprintf("%d of %d", c.Probes, c.MaxProbes), fmt.Sprint(c.Processes), orDash(nextProbe(c)), orDash(printable(whyAndWho(c))),
		})
	}
	text, widest := aligned(rows)
	if width == 0 || widest <= width {
		return text
	}
	var b strings.Builder
	for i, c := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(circuitLines(c, width))
	}
	return b.String()
}

// failuresOf and reportersOf are what counts while a circuit is closed; an open one has begun
// again.
func failuresOf(c fleet.Circuit) string {
	if c.State != breaker.Closed || c.Forced {
		return ""
	}
	return fmt.Sprintf("%d of %d", c.Failures, c.Threshold)
}

func reportersOf(c fleet.Circuit) string {
	if c.State != breaker.Closed || c.Forced {
		return ""
	}
	return fmt.Sprintf("%d of %d", c.Reporters, c.MinReporters)
}

// aligned writes rows in columns, and returns the width of the widest.
func aligned(rows [][]string) (text string, widest int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)+2)
		}
		line = strings.TrimRight(line, " ")
		widest = max(widest, ansi.StringWidth(line))
		b.WriteString(line + "\n")
	}
	return b.String(), widest
}

// circuitLines draws one circuit in lines of at most width columns.
func circuitLines(c fleet.Circuit, width int) string {
	facts := []string{say.Count(c.Processes, "process", "processes")}
	switch {
	case c.Forced:
	case c.State == breaker.Closed:
		facts = append(facts, failuresOf(c)+" failures", reportersOf(c)+" reporters")
	default:
		facts = append(facts, fmt.Sprintf("%d of %s", c.Probes, say.Count(c.MaxProbes, "probe", "probes")))
	}
	lines := filled("", "  ", strings.Fields(printable(c.Name)), width)
	state := stateText(c)
	if next := nextProbe(c); next != "" {
		state += ", next probe " + next
	}
	lines = append(lines, filled("  "+c.ID+"  ", "  ", strings.Fields(state), width)...)
	if why := printable(whyAndWho(c)); why != "" {
		lines = append(lines, filled("  ", "  ", strings.Fields(why), width)...)
	}
	lines = append(lines, filled("  ", "  ", strings.Fields(strings.Join(facts, ", ")), width)...)
	return strings.Join(lines, "\n") + "\n"
}

// The colours of states.
var (
	openStyle   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	halfStyle   = lipgloss.NewStyle().Foreground(lipgloss.Yellow).Bold(true)
	forcedStyle = lipgloss.NewStyle().Foreground(lipgloss.Magenta).Bold(true)
	closedStyle = lipgloss.NewStyle().Foreground(lipgloss.Green)
)

// coloured is a writer that leaves out colours where a terminal has none.
func coloured(w io.Writer) io.Writer {
	if out, ok := w.(stdoutWriter); ok {
		return stdoutWriter{colorprofile.NewWriter(out.Writer, os.Environ())}
	}
	return colorprofile.NewWriter(w, os.Environ())
}

// stateText is the state of a circuit, and for how long.
func stateText(c fleet.Circuit) string {
	style := closedStyle
	switch {
	case c.Forced:
		style = forcedStyle
	case c.State == breaker.Open:
		style = openStyle
	case c.State == breaker.HalfOpen:
		style = halfStyle
	}
	text := style.Render(stateOf(c))
	if c.State != breaker.Closed || c.Forced {
		text += " for " + roughly(c.For)
	}
	return text
}

// roughly writes a time in its two largest units.
func roughly(d time.Duration) string {
	d = d.Round(time.Second)
	switch s := int(d / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}

// nextProbe says when a circuit admits a probe.
func nextProbe(c fleet.Circuit) string {
	switch {
	case c.Forced || c.State == breaker.Closed:
		return ""
	case c.State == breaker.Open:
		return "in " + roughly(max(c.RetryIn, time.Second))
	default:
		return "now"
	}
}

// whyAndWho says why a circuit is not closed, and who has opened or forced it.
func whyAndWho(c fleet.Circuit) string {
	why := whyOf(c)
	if c.By == "" || c.State == breaker.Closed && !c.Forced {
		return why
	}
	if why != "" {
		why += ", "
	}
	return why + "by " + c.By
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// jsonLine writes a value as a line of JSON.
func jsonLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// screenOfCircuits draws the circuits in the same place of a terminal, again and again.
type screenOfCircuits struct {
	*circuitsRun
	lines int // that were drawn
}

func (s *screenOfCircuits) draw(all []fleet.Circuit, err error) error {
	width, height := sizeOf(s.out)
	text := fmt.Sprintf("%s  %s UTC  Ctrl-C ends\n\n", s.address, time.Now().UTC().Format("15:04:05"))
	switch {
	case err != nil:
		text += openStyle.Render("?") + " " + printable(err.Error()) + "\n"
	case len(all) == 0:
		text += s.none() + "\n"
	default:
		text += circuitTable(all, width)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if height > 2 && len(lines) > height-1 {
		left := len(lines) - (height - 2)
		lines = append(lines[:height-2:height-2], fmt.Sprintf("… %s more", say.Count(left, "line", "lines")))
	}
	var b strings.Builder
	if s.lines > 0 {
		b.WriteString(ansi.CursorUp(s.lines) + "\r" + ansi.EraseScreenBelow)
	}
	for _, line := range lines {
		if width > 0 {
			line = ansi.Truncate(line, width, "…")
		}
		b.WriteString(line + "\n")
	}
	s.lines = len(lines)
	_, err = io.WriteString(coloured(s.out), b.String())
	return err
}

// sizeOf returns the columns and lines of a terminal; 0 for anything else.
func sizeOf(w io.Writer) (width, height int) {
	if out, ok := w.(stdoutWriter); ok {
		w = out.Writer
	}
	file, ok := w.(term.File)
	if !ok {
		return 0, 0
	}
	width, height, _ = term.GetSize(file.Fd()) // 0 if it is not a terminal
	return width, height
}

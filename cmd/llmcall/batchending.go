package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/internal/say"

	"github.com/charmbracelet/x/ansi"
)

// batchError is the end of a run in which not all rows have a valid answer.
type batchError struct {
	code int
	text string // of several lines
}

func (e *batchError) Error() string { return e.text }

// opening says what a run begins with.
func (b *batch) opening() []string {
	total := b.summary.Rows
	text := fmt.Sprintf("%s has %s", b.source.Name(), rowsOf(total))
	switch {
	case b.match.Done == total:
		text += ", which are done: nothing is asked"
	case b.match.Done > 0:
		text += fmt.Sprintf(", of which %s done", counted(b.match.Done, "is", "are"))
	}
	switch {
	case b.limit > 0 && b.first() < total && b.toAsk == b.first():
		text += "; the first " + strings.TrimPrefix(counted(b.toAsk, "is", "are"), "1 ") + " asked now (--limit)"
	case b.limit > 0 && b.first() < total:
		text += fmt.Sprintf("; of the first %s, %s asked now (--limit)", grouped(b.first()), counted(b.toAsk, "is", "are"))
	case b.match.Done > 0 && b.match.Done < total:
		text += fmt.Sprintf("; %s asked now", counted(b.toAsk, "is", "are"))
	}
	lines := []string{text}
	if b.match.Stale > 0 {
		text := fmt.Sprintf("%s of %s no longer fit: the row or its files, the prompt, models, checks or settings have changed", linesOf(b.match.Stale), b.batchFlags.out)
		if b.match.Stale == 1 {
			text = strings.Replace(text, "no longer fit:", "no longer fits:", 1)
		}
		if again := min(b.match.Stale, b.toAsk); again > 0 {
			text += fmt.Sprintf(". %s asked again", counted(again, "row is", "rows are"))
		}
		lines = append(lines, text+". Old lines go when all rows are done")
	}
	if b.match.Retried > 0 {
		lines = append(lines, fmt.Sprintf("%s asked again", counted(b.match.Retried, "row that has failed is", "rows that have failed are")))
	}
	found := b.out.Found()
	if found.Cut > 0 {
		lines = append(lines, fmt.Sprintf("a last line of %s that was cut off is removed; its row is asked again", b.batchFlags.out))
	}
	if found.Lost > 0 {
		lines = append(lines, fmt.Sprintf("%s of %s are damaged, as after a loss of power; their rows are asked again", linesOf(found.Lost), b.batchFlags.out))
	}
	if b.bad.count > 0 {
		lines = append(lines, fmt.Sprintf("%s can't be asked, and will have an error: %v", rowsOf(b.bad.count), b.bad.first))
	}
	return lines
}

// tell prints a line for the user.
func (b *batch) tell(line string) {
	errs := b.cmd.ErrOrStderr()
	fmt.Fprintf(errs, "llmcall: %s\n", filledLines(printable(line), widthOf(errs)))
}

func linesOf(n int) string { return counted(n, "line", "lines") }

// counted counts with a noun and its verb.
func counted(n int, singular, plural string) string {
	if n == 1 {
		return "1 " + singular
	}
	return grouped(n) + " " + plural
}

// ending says how the run has ended: on standard error if all rows have a valid answer, else
// in the error.
func (b *batch) ending(ended error) error {
	failed := totalOf(b.tally.counts)
	valid := b.match.Done - totalOf(b.match.Failed) + b.progress.valid
	undone := 0
	for number := 1; number <= b.first(); number++ {
		if !b.out.Done(number) {
			undone++
		}
	}
	var text strings.Builder
	if ended != nil {
		fmt.Fprintf(&text, "%v\n", inRunWords(ended))
	}
	text.WriteString(b.outcome(valid, failed, undone))
	if b.toAsk > 0 {
		text.WriteString("\n" + b.spent())
	}
	if undone > 0 {
		text.WriteString(b.whyUndone(ended))
	}
	width := widthOf(b.cmd.ErrOrStderr())
	text.WriteString(b.failures(width))
	text.WriteString(b.next(undone))
	code := b.exit(ended, undone, failed)
	if code == 0 {
		b.tell(text.String())
		return nil
	}
	return &batchError{code, filledLines(text.String(), width)}
}

// exit returns the exit code.
func (b *batch) exit(ended error, undone, failed int) int {
	switch {
	case ended != nil:
		return exitCodeOfRun(ended)
	case undone > 0:
		switch code := exitCodeOfRun(b.tally.state); code {
		case exitCircuit, exitTime, exitSpent:
			return code
		}
		return exitProvider
	case failed > 0:
		return exitInvalid
	}
	return 0
}

// whyUndone says why rows are not done, as far as the error does not.
func (b *batch) whyUndone(ended error) string {
	why := b.lastFailure(ended)
	switch {
	case ended != nil && why != "":
		return "\nThe last failure of the provider: " + why
	case ended != nil:
		return ""
	case b.ofTheRun(b.tally.state):
		return "\n" + inRunWords(b.tally.state)
	case len(b.tally.undone) > 0:
		first := b.tally.undone[0]
		return fmt.Sprintf("\nThe last failure of row %d: %s", first.row.Number, shown(first.said))
	case why != "":
		return "\nThe last failure of the provider: " + why
	}
	return ""
}

// lastFailure returns what the provider said last, where it is why rows are not done and the
// error does not say it.
func (b *batch) lastFailure(ended error) string {
	e, ok := errors.AsType[*llmcall.EachError](ended)
	if ended != nil && (!ok || e.Last != nil || e.Reason != llmcall.EachGaveUp) {
		return ""
	}
	b.progress.mu.Lock()
	defer b.progress.mu.Unlock()
	return say.Middle(b.progress.failure, maxShown)
}

func totalOf(counts map[string]int) int {
	n := 0
	for _, of := range counts {
		n += of
	}
	return n
}

// outcome counts the rows.
func (b *batch) outcome(valid, failed, undone int) string {
	where := ""
	if b.batchFlags.out != "" {
		where = " in " + b.batchFlags.out
	}
	if failed == 0 && undone == 0 && b.first() == b.summary.Rows {
		if valid == 1 {
			return "the row has a valid answer" + where
		}
		return fmt.Sprintf("all %s have a valid answer%s", rowsOf(valid), where)
	}
	counts := []string{fmt.Sprintf("%s with a valid answer", rowsOf(valid))}
	if failed > 0 {
		counts = append(counts, grouped(failed)+" with an error")
	}
	text := strings.Join(counts, " and ") + where
	if undone > 0 {
		text += fmt.Sprintf("; %s not done", counted(undone, "is", "are"))
	}
	return text
}

// spent says what this run has taken.
func (b *batch) spent() string {
	p := b.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("This run: %s in %s", rowsOf(p.valid+p.failed), aboutTime(time.Since(p.start)))
	if p.refused > 0 {
		text += fmt.Sprintf(", %s refused for the provider's limits or load", counted(p.refused, "request", "requests"))
	}
	if p.cost.Nanos > 0 {
		text += ", " + aboutDollars(p.cost)
	}
	return text
}

// failures is a table of what failed.
func (b *batch) failures(width int) string {
	t := b.tally
	if len(t.counts) == 0 {
		return ""
	}
	reasons := slices.SortedFunc(maps.Keys(t.counts), func(x, y string) int {
		if t.counts[x] != t.counts[y] {
			return t.counts[y] - t.counts[x]
		}
		return strings.Compare(x, y)
	})
	longest, widest := 0, 0
	for _, reason := range reasons {
		longest, widest = max(longest, len(reason)), max(widest, len(grouped(t.counts[reason])))
	}
	var text strings.Builder
	text.WriteString("\n")
	for _, reason := range reasons {
		first := t.first[reason]
		if first == "" {
			first = "in an earlier run"
		}
		line := fmt.Sprintf("  %*s  %-*s  %s", widest, grouped(t.counts[reason]), longest, reason, first)
		if width > 0 {
			line = ansi.Truncate(line, width, "…")
		}
		text.WriteString("\n" + line)
	}
	return text.String()
}

// next says what to do next, with the commands to type.
func (b *batch) next(undone int) string {
	var text strings.Builder
	for _, r := range failedReasons {
		if b.tally.counts[r.name] == 0 {
			continue
		}
		fmt.Fprintf(&text, "\n\n%s: %s", r.name, r.advice)
		if b.batchFlags.out == "" || r.name == reasonPanic || strings.HasSuffix(r.advice, alone) {
			continue
		}
		without, added := []string{"retry-failed"}, []string{"--retry-failed", r.name}
		if flags := b.flagsFor(r); len(flags) > 0 {
			without, added = append(without, strings.TrimLeft(flags[0], "-")), append(added, flags...)
		}
		fmt.Fprintf(&text, "\n    %s", typedAgain(b.cmd, b.args, without, added...))
	}
	switch {
	case undone > 0 && b.batchFlags.out != "":
		fmt.Fprintf(&text, "\n\nTo go on:\n    %s", typedAgain(b.cmd, b.args, []string{"retry-failed"}))
	case undone > 0:
		text.WriteString("\n\nWithout -o FILE the next run asks all rows again.")
	}
	if b.limit > 0 && b.first() < b.summary.Rows && undone == 0 && b.batchFlags.out != "" {
		fmt.Fprintf(&text, "\n\nTo ask all rows:\n    %s", typedAgain(b.cmd, b.args, []string{"retry-failed", "limit"}))
	}
	return text.String()
}

// flagsFor returns the flags, a name and its value, with which rows may have an answer that
// have failed for a reason. Stages have their attempts in the configuration.
func (b *batch) flagsFor(r failedReason) []string {
	if len(r.flags) == 0 || r.flags[1] != moreAttempts {
		return r.flags
	}
	if len(b.cfg.Stages) > 0 {
		return nil
	}
	return []string{r.flags[0], fmt.Sprint(2 * cmp.Or(b.cfg.MaxAttempts, llmcall.DefaultMaxAttempts))}
}

// filledLines wraps what is wider than a terminal. Indented lines are commands, to be copied,
// or have been cut.
func filledLines(text string, width int) string {
	if width < leastText {
		return text
	}
	var fit []string
	for i, line := range strings.Split(text, "\n") {
		room, begin := width, ""
		if i == 0 {
			begin = "llmcall: "
		}
		if strings.HasPrefix(line, "  ") || ansi.StringWidth(begin+line) <= room {
			fit = append(fit, line)
			continue
		}
		narrower := filled(begin, "", strings.Fields(line), room)
		narrower[0] = strings.TrimPrefix(narrower[0], begin)
		fit = append(fit, narrower...)
	}
	return strings.Join(fit, "\n")
}

// exitCodeOfRun is the exit code for why a run has ended.
func exitCodeOfRun(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, errOutput) {
		return exitOutput
	}
	if e, ok := errors.AsType[*llmcall.EachError](err); ok {
		if e.Reason == llmcall.EachAccountSpent {
			return exitSpent
		}
		if last, ok := errors.AsType[*llmcall.Error](e.Last); ok && last.Reason == llmcall.ReasonCircuitOpen {
			return exitCircuit
		}
		return exitProvider
	}
	if errors.Is(err, context.Canceled) {
		return exitSignal
	}
	if _, ok := errors.AsType[*llmcall.ConfigError](err); ok {
		return exitUsage
	}
	if code := exitCode(err); code != exitUsage { // calls were made
		return code
	}
	return exitOutput // the input can't be read on
}

// inRunWords says why a run has ended before all rows were asked.
func inRunWords(err error) string {
	if errors.Is(err, context.Canceled) && !errors.Is(err, errOutput) {
		if _, ok := errors.AsType[*llmcall.EachError](err); !ok {
			return "interrupted"
		}
	}
	return err.Error()
}

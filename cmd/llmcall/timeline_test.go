package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/failure"

	"github.com/charmbracelet/x/ansi"
)

// What a stage, its tools and a hedge did is in the trace, whole and within its width.
func TestTheTraceShowsToolsAndHedges(t *testing.T) {
	start := time.Now()
	long := strings.Repeat("word ", 30) + "end"
	attempt := llmcall.Attempt{
		Number: 2, Model: "openai/a", Stage: "large", Why: "stage small: 2 attempts have failed", Start: start, Outcome: llmcall.OutcomeValid,
		Tools: []llmcall.ToolRun{
			{Name: "lookup", Duration: 120 * time.Millisecond, Bytes: 80}, {Name: "pay", Bytes: 4, Again: true}, {Name: "broken", Error: long},
		},
	}
	lost, won, failed := attempt, attempt, attempt
	lost.Hedge = &llmcall.Attempt{Model: "openai/b", Start: start.Add(time.Second), Outcome: llmcall.OutcomeLost}
	won.Outcome = llmcall.OutcomeLost
	won.Hedge = &llmcall.Attempt{Model: "openai/b", Start: start.Add(time.Second), Outcome: llmcall.OutcomeValid, Tools: attempt.Tools[:1]}
	failed.Hedge = &llmcall.Attempt{Model: "openai/b", Start: start.Add(time.Second), Outcome: llmcall.OutcomeFailed, Kind: failure.Transient, Error: long}
	for name, c := range map[string]struct {
		attempt llmcall.Attempt
		says    []string
	}{
		"tools":    {attempt, []string{"attempt 2 openai/a stage large", "stage small: 2 attempts have failed", "tool lookup: 80 bytes in 0.12 s", "tool pay: the result of its first call again", "tool broken: ✗ " + long, "✓ valid"}},
		"lost":     {lost, []string{"hedge after 1.00 s: openai/b was not sooner, and is cancelled", "✓ valid"}},
		"won":      {won, []string{"hedge, tool lookup: 80 bytes", "hedge after 1.00 s: openai/b was sooner; openai/a is cancelled", "✓ valid openai/b (hedge)"}},
		"a failed": {failed, []string{"hedge after 1.00 s: openai/b ✗ " + long, "✓ valid"}},
	} {
		for _, columns := range []int{0, 30, 60, 120} {
			var b bytes.Buffer
			l := newTimeline(&b)
			l.width = columns
			l.observe(t.Context(), llmcall.Event{Type: llmcall.EventAttemptStarted, Attempt: c.attempt})
			l.observe(t.Context(), llmcall.Event{Type: llmcall.EventAttemptEnded, Attempt: c.attempt})
			text := ansi.Strip(b.String())
			words := strings.Join(strings.Fields(strings.NewReplacer("│", "", "└", "").Replace(text)), " ")
			for _, want := range c.says {
				if !strings.Contains(words, want) {
					t.Errorf("%s, %d columns: no %q in\n%s", name, columns, want, text)
				}
			}
			for line := range strings.Lines(text) {
				if n := ansi.StringWidth(strings.TrimRight(line, "\n")); columns > 0 && n > columns {
					t.Errorf("%s, %d columns: %d in %q", name, columns, n, line)
				}
			}
		}
	}
}

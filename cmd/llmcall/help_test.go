package main

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// Lines that are copied stay whole: the examples of commands and of plans.
func TestHelpIsAsWideAsTheTerminal(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"call", "--help"}, {"batch", "--help"}, {"validate", "-h"}, {"explain", "--help"}, {"help", "chaos"}, {"simulate", "--help"}, {"circuits", "--help"}, {"checks"}} {
		for _, width := range []uint16{60, 30} {
			term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: width}, nil, args...)
			if code := term.exit(); code != 0 {
				t.Fatalf("%q: exit %d", args, code)
			}
			shown := strings.ReplaceAll(term.shown(), "\r\n", "\n")
			for line := range strings.SplitSeq(shown, "\n") {
				example := strings.HasPrefix(line, "  llmcall ") || strings.HasPrefix(line, "  ") && strings.ContainsAny(line, ":|=") && !strings.HasPrefix(line, "       ")
				if ansi.StringWidth(line) > int(width) && !example {
					t.Errorf("%q at %d columns: %q", args, width, line)
				}
			}
			whole := strings.Join(strings.Fields(command(t, "", args...).stdout), " ")
			if got := strings.Join(strings.Fields(shown), " "); got != whole {
				t.Errorf("%q at %d columns: the text is another:\n%s\nwant\n%s", args, width, got, whole)
			}
		}
	}
}

func TestHelpForACommandThatDoesNotExist(t *testing.T) {
	if got := command(t, "", "help", "cal"); got.code != exitUsage || got.stdout != "" || got.stderr != "llmcall: unknown command \"cal\", did you mean call?\n" {
		t.Errorf("exit %d: %q %q", got.code, got.stdout, got.stderr)
	}
	for _, args := range [][]string{{"help", "explain"}, {"explain", "--help"}} {
		if got := command(t, "", args...); got.code != 0 || !strings.HasPrefix(got.stdout, "Explain a provider's error") {
			t.Errorf("%q: exit %d: %q", args, got.code, got.stdout)
		}
	}
	if got := command(t, "", "help"); got.code != 0 || !strings.Contains(got.stdout, "Available Commands:") {
		t.Errorf("exit %d: %q", got.code, got.stdout)
	}
}

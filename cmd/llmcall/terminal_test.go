package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// terminal is the command in a terminal of its own.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	mu   sync.Mutex
	text bytes.Buffer
	seen int           // how much of it a test has answered; see types
	done chan struct{} // all that it wrote has been read
}

func openTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	return openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: 200}, env, args...)
}

func openTerminalOf(t *testing.T, size *pty.Winsize, env []string, args ...string) *terminal {
	t.Helper()
	return openTerminalOfProgram(t, size, env, os.Args[0], args...)
}

func openTerminalOfProgram(t *testing.T, size *pty.Winsize, env []string, program string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), "LLMCALL_TEST_AS_COMMAND=1", "TERM=xterm-256color"), env...)
	file, err := pty.StartWithSize(cmd, size)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, file: file, done: make(chan struct{})}
	go func() {
		defer close(term.done)
		part := make([]byte, 1<<12)
		for {
			n, err := file.Read(part)
			term.mu.Lock()
			term.text.Write(part[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); file.Close(); <-term.done }) // else a read does not end
	return term
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// await waits until the terminal shows a text.
func (term *terminal) await(text string) {
	term.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(term.shown(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("%q did not come:\n%s", text, term.shown())
		}
	}
}

func (term *terminal) exit() int {
	term.t.Helper()
	err := term.cmd.Wait()
	<-term.done
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		term.t.Fatal(err)
	}
	return 0
}

// The bound here leaves room for a busy machine; the figure is in the log.
func TestCtrlCEndsTheCommandWithTheTraceSoFar(t *testing.T) {
	for name, c := range map[string]struct{ plan, until string }{
		"in a wait":     {"repeat: true\nsteps: [{kind: status, status: 503, retry_after: 60}]", "waiting 6"},
		"in an attempt": {"steps: [{kind: status, status: 500}, hang]", "attempt 2"},
	} {
		t.Run(name, func(t *testing.T) {
			term := openTerminal(t, []string{"TERM=dumb"}, "call", "--practice", file(t, "p.yaml", c.plan), "--trace", "--initial-delay", "0.01", "--output", "json", "x")
			term.await(c.until)
			start := time.Now()
			if _, err := io.WriteString(term.file, "\x03"); err != nil {
				t.Fatal(err)
			}
			code := term.exit()
			took := time.Since(start)
			t.Logf("ended %v after Ctrl-C", took)
			if code != 130 || took > 2*time.Second {
				t.Errorf("exit %d after %v", code, took)
			}
			for _, want := range []string{"attempt 1", "no valid answer after", `"error"`, `"attempts"`, `"number": 1`, "cancelled"} {
				if !strings.Contains(term.shown(), want) {
					t.Errorf("no %q in\n%s", want, term.shown())
				}
			}
		})
	}
}

func TestAnInterruptEndsTheReadingOfStandardInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, w := io.Pipe() // nothing ever comes
	defer w.Close()
	time.AfterFunc(10*time.Millisecond, cancel)
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"call", "-"}, in, &out, &errs); code != 130 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestTraceHasColourWhereTheTerminalHas(t *testing.T) {
	args := []string{"call", "--practice", file(t, "p.yaml", "steps: [{kind: status, status: 500}]"), "--trace", "--initial-delay", "0.01", "x"}
	for name, c := range map[string]struct {
		env    []string
		colour bool
	}{"a terminal": {nil, true}, "NO_COLOR": {[]string{"NO_COLOR=1"}, false}, "a dumb terminal": {[]string{"TERM=dumb"}, false}} {
		term := openTerminal(t, c.env, args...)
		if code := term.exit(); code != 0 {
			t.Fatalf("%s: exit %d:\n%s", name, code, term.shown())
		}
		if got := strings.Contains(term.shown(), "\x1b[32m"); got != c.colour { // green
			t.Errorf("%s: colour %v, want %v:\n%q", name, got, c.colour, term.shown())
		}
	}
}

// In a narrow terminal no line of the trace is wider than it, and nothing is lost.
func TestTraceKeepsToTheWidthOfTheTerminal(t *testing.T) {
	long := "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
	args := []string{"call", "--practice", file(t, "p.yaml", "steps:\n- {kind: status, status: 500, body: '{\"error\": {\"message\": \""+long+"\"}}'}"), "--trace", "--initial-delay", "0.01", "x"}
	for _, columns := range []uint16{30, 60, 120} {
		term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: columns}, []string{"NO_COLOR=1"}, args...)
		if code := term.exit(); code != 0 {
			t.Fatalf("exit %d:\n%s", code, term.shown())
		}
		words := strings.Join(strings.Fields(strings.ReplaceAll(ansi.Strip(term.shown()), "│", "")), " ")
		if !strings.Contains(words, long) {
			t.Errorf("%d columns: the text is not whole:\n%s", columns, term.shown())
		}
		for line := range strings.Lines(term.shown()) {
			line = strings.TrimRight(ansi.Strip(line), "\r\n")
			if n := ansi.StringWidth(line); strings.ContainsAny(line, "┬├│└═") && n > int(columns) {
				t.Errorf("%d columns: %d in %q", columns, n, line)
			}
		}
	}
}

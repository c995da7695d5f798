package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"llmcall/chaos"

	"github.com/creack/pty"
)

// begin starts the command in a process of its own.
func begin(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LLMCALL_TEST_AS_COMMAND=1", "OPENAI_API_KEY=of-the-test")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, &errs
}

// exitOf waits for a process; -1 if a signal has ended it.
func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// rowsDone returns which rows have a whole line, by their ids.
func rowsDone(t *testing.T, out string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(out)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	done := map[string]bool{}
	for _, line := range linesOfText(t, string(whole)) {
		done[strings.Trim(string(line.ID), `"r`)] = true
	}
	return done
}

// Killed at random moments and run again, a batch ends with the same file, byte for byte, as
// one that nobody disturbed; and no row is asked again whose line was in the file.
func TestABatchThatIsKilledGoesOn(t *testing.T) {
	kills := 30
	if testing.Short() {
		kills = 6
	}
	rows := kills * 25
	server, args := serve(t, "answer_time: 20ms")
	args = append([]string{"batch", file(t, "in.jsonl", jsonl(rows))}, args[1:]...)
	undisturbed := filepath.Join(t.TempDir(), "undisturbed.jsonl")
	cmd, errs := begin(t, append(args, "-o", undisturbed)...)
	if code := exitOf(t, cmd); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}

	out := filepath.Join(t.TempDir(), "out.jsonl")
	before := len(server.Requests())
	askedOf := func() map[string]int { // requests that were answered, by the row's number
		asked := map[string]int{}
		for _, r := range server.Requests()[before:] {
			if n := len(r.Messages); n > 0 && r.Fault.Kind == chaos.Right {
				asked[strings.TrimPrefix(r.Messages[n-1].Text, "Question ")]++
			}
		}
		return asked
	}
	killed, frozen := 0, map[string]int{}
	for killed < kills {
		cmd, errs := begin(t, append(args, "-o", out, "--concurrency", "4")...)
		had := len(rowsDone(t, out))
		// A moment after the first row of this run, or in its beginning.
		for deadline := time.Now().Add(time.Duration(rand.Int64N(int64(2 * time.Second)))); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if info, err := os.Stat(out); err == nil && len(rowsDone(t, out)) > had+rand.IntN(10) && info.Size() > 0 {
				break
			}
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if code := exitOf(t, cmd); code >= 0 {
			t.Logf("it had ended: exit %d: %s", code, errs)
			break
		}
		killed++
		asked := askedOf()
		for row, n := range frozen {
			if asked[row] != n {
				t.Fatalf("row %s was done and is asked again: %d requests, %d before", row, asked[row], n)
			}
		}
		for row := range rowsDone(t, out) {
			frozen[row] = asked[row]
		}
	}
	if killed < kills*2/3 {
		t.Errorf("killed %d times", killed)
	}
	cmd, errs = begin(t, append(args, "-o", out)...)
	if code := exitOf(t, cmd); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	asked := askedOf()
	for row, n := range frozen {
		if asked[row] != n {
			t.Errorf("row %s was done and is asked again", row)
		}
	}
	if extra := total(asked) - rows; extra < 0 || extra > killed*4 {
		t.Errorf("%d answers for %d rows, killed %d times with 4 in flight", total(asked), rows, killed)
	}
	t.Logf("killed %d times, %d rows, %d answered requests", killed, rows, total(asked))
	one, err := os.ReadFile(undisturbed)
	other, e := os.ReadFile(out)
	if err != nil || e != nil || !bytes.Equal(one, other) {
		t.Errorf("another file: %d and %d bytes, %v, %v", len(one), len(other), err, e)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func total(counts map[string]int) (n int) {
	for _, of := range counts {
		n += of
	}
	return n
}

// away returns the arguments of a batch whose provider fails while the switch is on.
func away(t *testing.T) (args []string, out string, server *chaos.Server, off *atomic.Bool) {
	t.Helper()
	server, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	off = new(atomic.Bool)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond)
		if off.Load() {
			http.Error(w, "upstream connect error", http.StatusBadGateway)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.Close(); outside.Close() })
	out = filepath.Join(t.TempDir(), "out.jsonl")
	config := file(t, "c.yaml", "enable_circuit_breaker: true\ncircuit_breaker_config: {recovery_timeout: 0.1, max_open: 0.5}\n")
	return []string{"batch", file(t, "in.jsonl", jsonl(300)), "-o", out, "--base-url", outside.URL + "/v1", "--model", "openai/test-" + t.Name(), "--config", config, "--initial-delay", "0.01"}, out, server, off
}

// Rows that always make the provider fail have an error when others are answered, and are not
// left to run after run. In a batch of few rows nothing says whose fault it is.
func TestRowsThatMakeTheProviderFail(t *testing.T) {
	for _, c := range []struct {
		rows, code int
		poisoned   []string
		says       string
	}{
		{300, 3, []string{"Question 7", "Question 150", "Question 300"}, "297 rows with a valid answer and 3 with an error"},
		{10, 6, []string{"Question 7"}, "9 rows with a valid answer in "},
	} {
		server, err := chaos.New(chaos.Config{})
		if err != nil {
			t.Fatal(err)
		}
		outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			for _, prompt := range c.poisoned {
				if bytes.Contains(body, []byte(`"`+prompt+`"`)) {
					http.Error(w, `{"error": {"message": "The server had an error", "type": "server_error"}}`, http.StatusInternalServerError)
					return
				}
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			server.ServeHTTP(w, r)
		}))
		t.Cleanup(func() { server.Close(); outside.Close() })
		out := filepath.Join(t.TempDir(), "out.jsonl")
		args := []string{"batch", file(t, "in.jsonl", jsonl(c.rows)), "-o", out, "--base-url", outside.URL + "/v1", "--model", "openai/test-" + t.Name() + fmt.Sprint(c.rows), "--initial-delay", "0.01"}
		t.Setenv("OPENAI_API_KEY", "of-the-test")
		got := command(t, "", args...)
		if got.code != c.code || !strings.Contains(got.stderr, c.says) || !strings.Contains(got.stderr, "The server had an error") {
			t.Errorf("%d rows: exit %d: %s", c.rows, got.code, got.stderr)
		}
		if c.code != 3 {
			continue
		}
		lines := linesOfFile(t, out)
		for i, line := range lines {
			if line.Row != i+1 || (line.Error != nil) != slices.Contains(c.poisoned, fmt.Sprintf("Question %d", i+1)) || line.Error != nil && line.Error.Reason != "provider_failed" {
				t.Errorf("line %d: %+v", i+1, line)
			}
		}
		if got = command(t, "", args...); got.code != 3 || !strings.Contains(got.stderr, "has 300 rows, which are done") || !strings.Contains(got.stderr, "--retry-failed provider_failed") {
			t.Errorf("again: exit %d: %s", got.code, got.stderr)
		}
	}
}

// failFrom switches the provider off once a file has so many lines.
func failFrom(t *testing.T, out string, lines int, off *atomic.Bool) {
	for len(rowsDone(t, out)) < lines {
		time.Sleep(time.Millisecond)
	}
	off.Store(true)
}

// An outage of the provider in the middle makes no row fail: the batch waits for the circuit.
func TestABatchWaitsForTheEndOfAnOutage(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	args, out, server, off := away(t)
	go func() {
		failFrom(t, out, 60, off)
		time.Sleep(2 * time.Second)
		off.Store(false)
	}()
	got := command(t, "", args...)
	if lines := linesOfFile(t, out); got.code != 0 || len(lines) != 300 || !strings.Contains(got.stderr, "all 300 rows have a valid answer") {
		t.Fatalf("exit %d, %d lines: %s", got.code, len(lines), got.stderr)
	}
	if n := len(server.Requests()); n != 300 {
		t.Errorf("%d answers for 300 rows", n)
	}
}

// A batch that gives up leaves its rows to the next one, and none has an error.
func TestABatchThatGivesUpGoesOnLater(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "of-the-test")
	args, out, server, off := away(t)
	go failFrom(t, out, 60, off)
	got := command(t, "", append(slices.Clone(args), "--give-up-after", "1")...)
	if got.code != exitCircuit && got.code != exitProvider || !strings.Contains(got.stderr, "gave up after") || !strings.Contains(got.stderr, "To go on:\n    llmcall batch ") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	t.Logf("exit %d\n%s", got.code, got.stderr)
	before := linesOfFile(t, out)
	for _, line := range before {
		if line.Error != nil {
			t.Errorf("%+v", line)
		}
	}
	if len(before) < 60 || len(before) > 200 {
		t.Errorf("%d lines", len(before))
	}
	off.Store(false)
	time.Sleep(600 * time.Millisecond) // the circuit is this process's
	got = command(t, "", args...)
	if lines := linesOfFile(t, out); got.code != 0 || len(lines) != 300 || len(server.Requests()) != 300 {
		t.Errorf("exit %d, %d lines, %d answers: %s", got.code, len(lines), len(server.Requests()), got.stderr)
	}
}

func TestCtrlCLetsRequestsInFlightFinish(t *testing.T) {
	_, args, out := batchOf(t, "answer_time: 1s")
	args = append(args, file(t, "in.jsonl", jsonl(100)))
	term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: 60}, []string{"OPENAI_API_KEY=of-the-test"}, args...)
	term.await("of 100")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(term.shown(), "8 valid"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(term.shown())
		}
	}
	if _, err := io.WriteString(term.file, "\x03"); err != nil {
		t.Fatal(err)
	}
	if code := term.exit(); code != exitSignal {
		t.Errorf("exit %d", code)
	}
	n := len(linesOfFile(t, out))
	shown := strings.Join(strings.Fields(term.shown()), " ")
	for _, want := range []string{"requests in flight may finish within 10s; once more ends at once", "interrupted", "To go on: llmcall batch "} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, term.shown())
		}
	}
	if n <= 8 || n > 40 {
		t.Errorf("%d lines", n)
	}
}

func TestASecondCtrlCEndsABatchAtOnce(t *testing.T) {
	server, args, out := batchOf(t, "answer_time: 10s")
	args = append(args, file(t, "in.jsonl", jsonl(100)))
	term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: 120}, []string{"OPENAI_API_KEY=of-the-test"}, args...)
	for deadline := time.Now().Add(20 * time.Second); len(server.Requests()) < 8; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(term.shown())
		}
	}
	if _, err := io.WriteString(term.file, "\x03"); err != nil {
		t.Fatal(err)
	}
	term.await("once more ends at once")
	start := time.Now()
	if _, err := io.WriteString(term.file, "\x03"); err != nil {
		t.Fatal(err)
	}
	term.exit()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("ended %v after the second Ctrl-C", took)
	}
	linesOfFile(t, out) // whole lines, if any
}

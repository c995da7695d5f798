//go:build unix

package results_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"llmcall/internal/results"
)

// The test binary is also the process that is killed: with this variable it works on the
// file that it names.
const workVariable = "RESULTS_TEST_WORK"

func TestMain(m *testing.M) {
	if path := os.Getenv(workVariable); path != "" {
		if err := work(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rowsOfWork is how many rows there are; every seventh has the content of the one before.
const rowsOfWork = 300

func keysOfWork() []results.Key {
	keys := make([]results.Key, rowsOfWork)
	for i := range keys {
		content := i
		if i%7 == 6 {
			content = i - 1
		}
		keys[i] = results.Identify([]byte(strconv.Itoa(content)))
	}
	return keys
}

// answerOf is long at times, so that lines are larger than a page.
func answerOf(row int) string {
	return fmt.Sprintf("answer %d %s", row, strings.Repeat("ä\n", row%50*row%700))
}

// work asks what is not done, as a batch does, and says "asked N" before each answer is
// written.
func work(path string) error {
	out, err := results.Open(path)
	if err != nil {
		return err
	}
	keys := keysOfWork()
	out.Match(keys, nil)
	for _, at := range rand.Perm(len(keys)) {
		if out.Done(at + 1) {
			continue
		}
		fmt.Printf("asked %d\n", at)
		answer := "same"
		if at%7 < 5 {
			answer = answerOf(at + 1)
		}
		if err := out.Append(&results.Line{Row: at + 1, Answer: &answer, Key: keys[at]}); err != nil {
			return err
		}
		fmt.Printf("done %d\n", at)
	}
	if err := out.Order(); err != nil {
		return err
	}
	return out.Close()
}

// Killed at any moment, hundreds of times, it ends with the very file of a run that nobody
// disturbed, and asks each row once but for the one that was in flight at each kill.
func TestKilledAtAnyMoment(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	begun := time.Now()
	if !runKilled(t, whole, io.Discard, time.Hour) {
		t.Fatal("the undisturbed run was killed")
	}
	usual := time.Since(begun) // a build for the race detector takes long to begin
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	kills := 300
	if testing.Short() {
		kills = 30
	}
	for killed := 0; killed < kills; {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		asked, runs := 0, 0
		done := map[string]bool{}
		for ended := false; !ended; {
			runs++
			var said bytes.Buffer
			// Each time a little later, so that a machine that has become slower gets there.
			within := usual + usual/4 + time.Duration(runs)*usual/20
			ended = runKilled(t, path, &said, rand.N(within))
			if !ended {
				killed++
			}
			for line := range strings.Lines(said.String()) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "asked ") {
					asked++
				} else if row, ok := strings.CutPrefix(line, "done "); ok {
					if done[row] && !strings.HasPrefix(row, "-") && !twin(row) {
						t.Fatalf("row %s was asked again after it was done", row)
					}
					done[row] = true
				}
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("after %d runs the file is another: %d bytes, want %d", runs, len(got), len(want))
		}
		if asked > rowsOfWork+runs-1 {
			t.Fatalf("%d rows were asked in %d runs", asked, runs)
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if err != nil || len(left) != 1 || len(hidden) != 0 {
			t.Fatalf("left are %q and %q", left, hidden)
		}
	}
}

// twin reports whether a row is equal to another: either may be done by the other's line.
func twin(row string) bool {
	n, _ := strconv.Atoi(row)
	return n%7 >= 5
}

// runKilled works in a process that is killed after a time. It reports whether the process
// had ended by then.
func runKilled(t *testing.T, path string, said io.Writer, after time.Duration) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	var errs bytes.Buffer
	// The race detector would wait for a second at each end.
	command.Env = append(os.Environ(), workVariable+"="+path, "GORACE=atexit_sleep_ms=0")
	command.Stdout, command.Stderr = said, &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { command.Process.Kill() })
	err = command.Wait()
	timer.Stop()
	if err == nil {
		return true
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if status, is := exit.Sys().(syscall.WaitStatus); !ok || !is || !status.Signaled() {
		t.Fatalf("%v: %s", err, &errs)
	}
	return false
}

// What a kill can't do alone, a cut at each byte does: a line that is not whole is removed,
// and no other.
func TestCutAtEachByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	first := appendLine(t, path, 1, "a\nb")
	both := appendLine(t, path, 2, "ä \" \\ \u2028")
	for n := range len(both) + 1 {
		if err := os.WriteFile(path, both[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := results.Open(path)
		if err != nil {
			t.Fatalf("%q: %v", both[:n], err)
		}
		want := both[:0]
		switch {
		case n >= len(both)-1:
			want = both
		case n >= len(first)-1:
			want = first
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d: got %q, %v", n, got, err)
		}
		if found := out.Found(); found.Lines != bytes.Count(want, []byte("\n")) || found.Cut != max(0, int64(n-len(want))) {
			t.Fatalf("%d: found %+v", n, found)
		}
	}
}

func appendLine(t *testing.T, path string, row int, answer string) []byte {
	t.Helper()
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Append(&results.Line{Row: row, Answer: &answer, Key: results.Key(row)}); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A process that has the file keeps others out, until it ends, however it ends.
func TestTwoProcessesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	appendLine(t, path, 1, "one")
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link(t, path)} {
		if _, err := results.Open(name); err == nil {
			t.Fatal("the file was opened twice")
		} else if locked, ok := errors.AsType[*results.LockedError](err); !ok || locked.Path != name {
			t.Errorf("got %v", err)
		}
	}
	if seen, err := results.Look(path); err != nil || seen.Found().Lines != 1 {
		t.Errorf("a look: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), workVariable+"="+path)
	if text, err := command.CombinedOutput(); err == nil || !strings.Contains(string(text), "is being written to by another process") {
		t.Errorf("another process: %v, %s", err, text)
	}
	// Put into order, it has another inode, and is locked all the same.
	keys := []results.Key{2, 1}
	out.Match(keys, nil)
	text := "two"
	if err := errors.Join(out.Append(&results.Line{Row: 1, Answer: &text, Key: 2}), out.Order()); err != nil {
		t.Fatal(err)
	}
	if _, err := results.Open(path); err == nil {
		t.Error("after Order the file was opened twice")
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := results.Open(path)
	if err != nil || again.Match(keys, nil).Done != 2 {
		t.Fatalf("after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, path string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "link.jsonl")
	if err := os.Symlink(path, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// A link stays a link, and the mode of the file stays.
func TestALinkAndAModeStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	name := link(t, path)
	out, err := results.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	out.Match([]results.Key{1, 2}, nil)
	for _, row := range []int{2, 1} {
		if err := out.Append(&results.Line{Row: row, Key: results.Key(row)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(name); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if numbers := numbersIn(t, path); fmt.Sprint(numbers) != "[1 2]" {
		t.Errorf("got %v", numbers)
	}
}

func numbersIn(t *testing.T, path string) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	for line := range strings.Lines(string(text)) {
		var l results.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		numbers = append(numbers, l.Row)
	}
	return numbers
}

// A link to a file that is not there yet creates it.
func TestALinkToNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if text := appendLine(t, link(t, path), 1, "one"); len(text) == 0 {
		t.Error("nothing was written")
	}
	if numbers := numbersIn(t, path); len(numbers) != 1 {
		t.Errorf("got %v", numbers)
	}
}

// A pipe can't be read again: lines are written as they come.
func TestAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		text, err := os.ReadFile(path)
		read <- fmt.Sprint(string(text), err)
	}()
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := out.Match([]results.Key{1, 2}, nil); m.Done != 0 {
		t.Errorf("got %+v", m)
	}
	for _, row := range []int{2, 1} {
		if err := out.Append(&results.Line{Row: row, Key: results.Key(row)}); err != nil {
			t.Fatal(err)
		}
	}
	if !out.Done(1) || out.Done(3) {
		t.Error("what is done is not known")
	}
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if text := <-read; strings.Count(text, "\n") != 2 || !strings.HasPrefix(text, `{"row":2`) {
		t.Errorf("got %s", text)
	}
}

// A reader that goes away, as head does, is an error of the line that it did not take.
func TestAReaderThatGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out := results.Stream(w)
	if err := out.Append(&results.Line{Row: 1}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := out.Append(&results.Line{Row: 2}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	if err := out.Append(&results.Line{Row: 3}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	w.Close()
}

// Standard output that was sent to a file is that file.
func TestDevStdout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	for range 2 {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command("/bin/sh", "-c", fmt.Sprintf(`exec "%s" 3>>"%s" >/dev/null`, self, path))
		command.Env = append(os.Environ(), workVariable+"=/dev/fd/3")
		if text, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if numbers := numbersIn(t, path); len(numbers) != rowsOfWork || numbers[0] != 1 {
		t.Errorf("got %d lines", len(numbers))
	}
}

// Where nothing can be created, an existing file is written to, and stays as it is at the
// end, with an error that says so.
func TestADirectoryThatCantBeWrittenTo(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	directory := t.TempDir()
	path := filepath.Join(directory, "out.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(directory, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(directory, 0o700)
	if _, err := results.Open(filepath.Join(directory, "new.jsonl")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a new file: %v", err)
	}
	unordered(t, path, os.ErrPermission)
}

// A directory that has the name of the temporary file is in the way, for root too.
func TestWhereTheTemporaryFileCantBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.MkdirAll(filepath.Join(filepath.Dir(path), ".out.jsonl.ordered", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	unordered(t, path, syscall.ENOTEMPTY)
}

// A device is written to as it is.
func TestADevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	out, err := results.Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Append(&results.Line{Row: 1}); !errors.Is(err, syscall.ENOSPC) || out.Done(1) {
		t.Errorf("got %v", err)
	}
	if err := out.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

// unordered expects that the file can't be put into order, for a reason, and has all lines.
func unordered(t *testing.T, path string, why error) {
	t.Helper()
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	out.Match([]results.Key{1, 2}, nil)
	for _, row := range []int{2, 1} {
		if err := out.Append(&results.Line{Row: row, Key: results.Key(row)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Order(); !errors.Is(err, why) || !strings.Contains(err.Error(), "has all lines, but not in the order of the rows") {
		t.Errorf("got %v", err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if numbers := numbersIn(t, path); fmt.Sprint(numbers) != "[2 1]" {
		t.Errorf("got %v", numbers)
	}
}

// fullDiskVariable is set in the process whose files may be small only.
const fullDiskVariable = "RESULTS_TEST_FULL_DISK"

// limitFileSize makes writes beyond a size fail, as those to a full disk do. It holds for
// the process: also for the profile, the log and the result that go test lets it write.
func limitFileSize(t *testing.T, size int) (back func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	limit.Cur = uint64(size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that is full in the middle of a line: the run ends, the file has whole lines, and
// the next run goes on. Without room to put it into order it stays as it is.
func TestAFullDisk(t *testing.T) {
	if os.Getenv(fullDiskVariable) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command(self, "-test.run=^TestAFullDisk$", "-test.v")
		command.Env = append(os.Environ(), fullDiskVariable+"=1")
		if said, err := command.CombinedOutput(); err != nil || !bytes.Contains(said, []byte("--- PASS: TestAFullDisk")) {
			t.Errorf("%v: %s", err, said)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "out.jsonl")
	out, err := results.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	answer := strings.Repeat("x", 1000)
	line := func(row int) *results.Line { return &results.Line{Row: row, Answer: &answer, Key: results.Key(row)} }
	keys := []results.Key{1, 2, 3, 4, 5}
	out.Match(keys, nil)
	back := limitFileSize(t, 2500)
	err = errors.Join(out.Append(line(5)), out.Append(line(4)))
	full := out.Append(line(3))
	again := out.Append(line(2))
	ended := out.Close()
	back()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{full, again, ended} {
		if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "the same command goes on with it") || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v", err)
		}
	}
	if numbers := numbersIn(t, path); fmt.Sprint(numbers) != "[5 4]" {
		t.Fatalf("got %v", numbers)
	}
	if out, err = results.Open(path); err != nil {
		t.Fatal(err)
	}
	if m := out.Match(keys, nil); m.Done != 2 || out.Found().Cut != 0 {
		t.Errorf("got %+v, %+v", m, out.Found())
	}
	for row := range 3 {
		if err := out.Append(line(row + 1)); err != nil {
			t.Fatal(err)
		}
	}
	back = limitFileSize(t, 2500)
	err = out.Order()
	back()
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
	if err := errors.Join(out.Order(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if numbers := numbersIn(t, path); fmt.Sprint(numbers) != "[1 2 3 4 5]" {
		t.Errorf("got %v", numbers)
	}
}

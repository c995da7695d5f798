package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"llmcall/review"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// types waits until the terminal shows a text after what was answered already, and types.
func (term *terminal) types(asked, typed string) {
	term.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		shown := term.shown()
		if at := strings.Index(shown[term.seen:], asked); at >= 0 {
			term.seen += at + len(asked)
			break
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("%q did not come:\n%s", asked, shown[term.seen:])
		}
	}
	if _, err := io.WriteString(term.file, typed); err != nil {
		term.t.Fatal(err)
	}
}

const question = "Your choice: "

func TestAPersonAtATerminalDecides(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string // after the two wrong answers
		env   []string
		typed [][2]string
		code  int
		says  []string
		left  bool // the call waits in the file of --save
	}{
		{"accept", "", nil, [][2]string{{question, "a\n"}}, 0, []string{"Köln"}, false},
		{"typed", "", nil, [][2]string{{question, "edit\n"}, {"Ctrl-D", "Berlin\nEast\n\x04"}}, 0, []string{"Berlin\r\nEast"}, false},
		{"a wrong edit, and a right one", "", nil, [][2]string{
			{question, "e\n"}, {"Ctrl-D", "Ulm\n\x04"}, {`the text "Berlin" is missing`, ""}, {question, "e\n"}, {"Ctrl-D", "Berlin\n\x04"},
		}, 0, []string{"Berlin"}, false},
		{"an editor", "", []string{"EDITOR=sed -i s/Köln/Berlin/"}, [][2]string{{question, "e\n"}}, 0, []string{"Berlin"}, false},
		{"an editor that changes nothing", "", []string{"EDITOR=true"}, [][2]string{{question, "e\n"}, {"Nothing is changed", ""}, {question, "a\n"}}, 0, []string{"Köln"}, false},
		{"an editor that fails", "", []string{"EDITOR=false"}, [][2]string{{question, "e\n"}, {"exit status 1", ""}, {question, "t\n"}, {"Ctrl-D", "Berlin\n\x04"}}, 0, []string{"Berlin"}, false},
		{"hint", ", {answer: Berlin!}", nil, [][2]string{{question, "h\n"}, {"The hint: ", "It is on the Spree\n"}}, 0, []string{"Berlin!"}, false},
		{"a hint that does not help", ", {answer: Ulm}, {answer: Trier}", nil, [][2]string{
			{question, "h\n"}, {"The hint: ", "?\n"}, {"> Trier", ""}, {question, "b\n"}, {"Why", "too hard\n"},
		}, 3, []string{"a person has ended the call: too hard"}, false},
		{"a provider that fails", ", {kind: status, status: 401}", nil, [][2]string{{question, "h\n"}, {"The hint: ", "?\n"}, {"The last attempt failed: ", ""}, {question, "a\n"}}, 0, []string{"Köln"}, false},
		{"abort", "", nil, [][2]string{{question, "abort\n"}, {"Why", "\n"}}, 3, []string{"a person has ended the call"}, false},
		{"view, and a typing error", "", nil, [][2]string{{question, "v\n"}, {"Attempt 1, of openai/", ""}, {question, "q\n"}, {`Expected one of a, e, h, b, v, l, got "q"`, ""}, {question, "a\n"}}, 0, []string{"Köln"}, false},
		{"later", "", nil, [][2]string{{question, "l\n"}}, 5, []string{"the conversation is in "}, true},
		{"Ctrl-D", "", nil, [][2]string{{question, "\x04"}}, 5, []string{"the conversation is in "}, true},
		{"Ctrl-C", "", nil, [][2]string{{question, "\x03"}}, 130, []string{"the conversation is in "}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, args := serve(t, "steps: [{answer: Bonn}, {answer: Köln}"+c.steps+"]")
			folder := t.TempDir()
			path := filepath.Join(t.TempDir(), "chat.json")
			env := append([]string{"TMPDIR=" + folder, "EDITOR=", "VISUAL=", "NO_COLOR=1"}, c.env...)
			args = append(args, "--config", file(t, "c.yaml", stairOfTest), "--human", "terminal", "--save", path, "What is the capital?")
			term := openTerminal(t, env, args...)
			for _, want := range []string{"A person must look at this: ", "> What is the capital?", "> Köln", `1. contains: the text "Berlin" is missing`, `   include the text "Berlin"`} {
				term.await(want)
			}
			for _, typed := range c.typed {
				term.types(typed[0], typed[1])
			}
			code := term.exit()
			if code != c.code {
				t.Errorf("exit %d, want %d\n%s", code, c.code, term.shown())
			}
			for _, want := range c.says {
				if !strings.Contains(term.shown(), want) {
					t.Errorf("no %q in\n%s", want, term.shown())
				}
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			f, err := review.Read(path)
			if (err == nil && f.Decided == "") != c.left {
				t.Errorf("waits: %v, want %v", err, c.left)
			}
			if code == 0 {
				if turns := conversation(t, path); len(turns) != 2 {
					t.Errorf("%q", turns)
				}
			}
		})
	}
}

// What is piped in is the prompt, and the terminal is still there.
func TestAPersonIsAskedWhenStandardInputIsAPipe(t *testing.T) {
	_, args := serve(t, "steps: [{answer: Bonn}, {answer: Köln}]")
	script := "echo 'What is the capital?' | " + os.Args[0] + ` "$@" > ` + filepath.Join(t.TempDir(), "out")
	args = append([]string{"-c", script, "sh"}, append(args, "--config", file(t, "c.yaml", stairOfTest), "--human", "terminal")...)
	term := openTerminalOfProgram(t, &pty.Winsize{Rows: 24, Cols: 80}, []string{"EDITOR=", "VISUAL="}, "/bin/sh", args...)
	term.types(question, "a\n")
	if code := term.exit(); code != 0 {
		t.Errorf("exit %d: %s", code, term.shown())
	}
}

// A person whose process is killed loses nothing.
func TestATerminalThatIsKilled(t *testing.T) {
	_, args := serve(t, "steps: [{answer: Bonn}, {answer: Köln}]")
	term := openTerminal(t, []string{"TMPDIR=" + t.TempDir(), "EDITOR=", "VISUAL="}, append(args, "--config", file(t, "c.yaml", stairOfTest), "--human", "terminal", "?")...)
	term.await(question)
	named := regexp.MustCompile(`the call is in\s+(\S+\.json)`).FindStringSubmatch(term.shown())
	if named == nil {
		t.Fatalf("no file is named:\n%s", term.shown())
	}
	got := command(t, "Berlin", "resume", named[1], "--edit", "-")
	if got.code != 2 || !strings.Contains(got.stderr, "is claimed by process ") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if err := term.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = term.cmd.Wait()
	if err := os.Remove(named[1] + ".claim"); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "Berlin", "resume", named[1], "--edit", "-"); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// Without a flag, resume asks.
func TestResumeAsksAtATerminal(t *testing.T) {
	path, _ := handOver(t, "")
	for _, columns := range []uint16{30, 60, 120} {
		term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: columns}, []string{"EDITOR=", "VISUAL=", "NO_COLOR=1"}, "resume", path)
		term.await("A person must look at this: ")
		term.await("> Köln")
		term.await(question)
		for line := range strings.Lines(term.shown()) {
			if n := ansi.StringWidth(strings.TrimRight(line, "\r\n")); n > int(columns) && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "llmcall: ") {
				t.Errorf("%d columns: %d in %q", columns, n, line)
			}
		}
		for _, heading := range []string{"The question:", "What is wrong with it:"} {
			if !strings.Contains(term.shown(), heading+"\r\n") {
				t.Errorf("%d columns: %q has no line of its own:\n%s", columns, heading, term.shown())
			}
		}
		if !strings.Contains(term.shown(), "\n"+path+"\r\n") {
			t.Errorf("%d columns: the path is not whole:\n%s", columns, term.shown())
		}
		typed := "l\n"
		if columns == 120 {
			typed = "a\n"
		}
		term.types(question, typed)
		if code := term.exit(); code != 5 && typed == "l\n" || code != 0 && typed == "a\n" {
			t.Errorf("exit %d: %s", code, term.shown())
		}
	}
	if f, err := review.Read(path); err != nil || f.Decided == "" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAPersonNeedsATerminal(t *testing.T) {
	for _, args := range [][]string{{"call", "--practice", "--human", "terminal", "x"}, {"resume", "x.json"}} {
		got := withoutTerminal(t, args...)
		if got.code != 2 || !strings.Contains(got.stderr, "terminal, and there is none") {
			t.Errorf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
}

// withoutTerminal runs the command in a session without a terminal.
func withoutTerminal(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LLMCALL_TEST_AS_COMMAND=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

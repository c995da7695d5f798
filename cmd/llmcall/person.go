package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"llmcall"
	"llmcall/internal/say"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// person is somebody at a terminal, who decides about calls.
type person struct {
	in    term.File
	out   io.Writer
	lines *bufio.Reader // of in
}

// atTerminal returns the person at the terminal of the process, even if standard input is
// a pipe.
func atTerminal(cmd *cobra.Command) (*person, error) {
	in, ok := cmd.InOrStdin().(term.File)
	if out := cmd.ErrOrStderr(); ok && isTerminal(in) && isTerminal(out) {
		return &person{in, out, bufio.NewReader(in)}, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("--human terminal needs a terminal, and there is none; without it, a call that a person must look at waits in a file, for llmcall resume")
	}
	return &person{tty, tty, bufio.NewReader(tty)}, nil
}

func (p *person) say(text string) { fmt.Fprintln(p.out, printable(text)) }

// These limit how much is shown of an answer, and of a question, before all is asked for.
const (
	answerLines   = 20
	questionChars = 300
)

// show shows what the person needs to decide.
func (p *person) show(e *llmcall.HumanReviewError, file string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nA person must look at this: %s.\n", e.Why)
	for _, m := range slices.Backward(e.Request.Messages) {
		if text := strings.TrimSpace(m.Text()); m.Role == "user" && text != "" {
			fmt.Fprintf(&b, "\nThe question:\n%s\n", quoted(say.Middle(text, questionChars), answerLines))
			break
		}
	}
	if e.Last == nil {
		fmt.Fprintf(&b, "\nNo answer came: %v\n", e.Err)
	} else {
		fmt.Fprintf(&b, "\nThe last answer, of %s:\n%s\n", lastModel(e), quoted(e.Last.Text(), answerLines))
	}
	if n := len(e.Attempts); e.Last != nil && n > 0 && e.Attempts[n-1].Answer == "" && e.Attempts[n-1].Error != "" {
		fmt.Fprintf(&b, "\nThe last attempt failed: %s\n", say.Middle(e.Attempts[n-1].Error, maxShown))
	}
	if len(e.Complaints) > 0 {
		b.WriteString("\nWhat is wrong with it:\n")
	}
	for i, c := range e.Complaints {
		suggestion := c.Suggestion
		c.Suggestion = ""
		fmt.Fprintf(&b, "%d. %s\n", i+1, say.Middle(c.String(), maxShown))
		if suggestion != "" {
			fmt.Fprintf(&b, "   %s\n", say.Middle(suggestion, maxShown))
		}
	}
	fmt.Fprintf(&b, "\nUntil it is decided, the call is in\n%s\n", file)
	fmt.Fprint(p.out, folded(printable(b.String()), widthOf(p.out)))
}

// folded returns text with its lines folded at the width of the terminal. What is quoted
// or indented is so on each of its lines. A word alone, such as a path, is left whole.
func folded(text string, width int) string {
	if width < leastText {
		return text
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(line, " ") {
			lines = append(lines, line)
			continue
		}
		lead := ""
		for _, l := range []string{"> ", "   "} {
			if strings.HasPrefix(line, l) {
				lead = l
			}
		}
		for part := range strings.SplitSeq(ansi.Wrap(line[len(lead):], width-len(lead), ""), "\n") {
			lines = append(lines, lead+part)
		}
	}
	return strings.Join(lines, "\n")
}

// all shows every answer with what is wrong with it.
func (p *person) all(e *llmcall.HumanReviewError) {
	var b strings.Builder
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\nAttempt %d, of %s: %s\n", a.Number, a.Model, a.Error)
		if a.Answer != "" {
			b.WriteString(quoted(a.Answer, 0) + "\n")
		}
	}
	p.say(folded(b.String(), widthOf(p.out)))
}

func lastModel(e *llmcall.HumanReviewError) string {
	for _, a := range slices.Backward(e.Attempts) {
		if a.Answer != "" {
			return a.Model
		}
	}
	return "a model"
}

// quoted returns at most so many lines of a text, 0 for all, each after "> ".
func quoted(text string, most int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if more := len(lines) - most; most > 0 && more > 0 {
		lines = append(lines[:most], "… and "+say.Count(more, "more line", "more lines"))
	}
	return "> " + strings.Join(lines, "\n> ")
}

// choice is what the person may do.
type choice struct{ key, word, help string }

// choices returns what can be done with a call.
func choices(e *llmcall.HumanReviewError) []choice {
	var all []choice
	if e.Last != nil {
		all = append(all, choice{"a", "accept", "the last answer is right as it is"})
	}
	if editor() != "" {
		all = append(all, choice{"e", "edit", "write the answer in " + editor()}, choice{"t", "type", "type the answer here"})
	} else {
		all = append(all, choice{"e", "edit", "type the answer here"})
	}
	return append(all,
		choice{"h", "hint", "ask the models again, with a hint of yours"},
		choice{"b", "abort", "there is to be no answer"},
		choice{"v", "view", "show all answers"},
		choice{"l", "later", "leave it in the file"},
	)
}

// editor returns the user's editor, or "".
func editor() string {
	if e := strings.TrimSpace(os.Getenv("VISUAL")); e != "" {
		return e
	}
	return strings.TrimSpace(os.Getenv("EDITOR"))
}

// decide asks until the person has decided. A decision without a verdict is for later.
func (p *person) decide(ctx context.Context, e *llmcall.HumanReviewError) (llmcall.Decision, error) {
	all := choices(e)
	var menu strings.Builder
	for _, c := range all {
		fmt.Fprintf(&menu, "  %s  %-7s %s\n", c.key, c.word, c.help)
	}
	for {
		fmt.Fprintf(p.out, "\n%sYour choice: ", printable(menu.String()))
		typed, err := p.line(ctx)
		if errors.Is(err, io.EOF) { // Ctrl-D, or the terminal is gone
			fmt.Fprintln(p.out)
			return llmcall.Decision{}, nil
		}
		if err != nil {
			return llmcall.Decision{}, err
		}
		at := slices.IndexFunc(all, func(c choice) bool { return typed == c.key || typed == c.word })
		if at < 0 {
			var known []string
			for _, c := range all {
				known = append(known, c.key)
			}
			p.say(fmt.Sprintf("Expected one of %s, got %q.", strings.Join(known, ", "), typed))
			continue
		}
		d, err := p.chosen(ctx, all[at].word, e)
		if err != nil || d != nil {
			return orNone(d), err
		}
	}
}

func orNone(d *llmcall.Decision) llmcall.Decision {
	if d == nil {
		return llmcall.Decision{}
	}
	return *d
}

// chosen asks for what a choice needs. It returns nil if the person has changed their mind.
func (p *person) chosen(ctx context.Context, word string, e *llmcall.HumanReviewError) (*llmcall.Decision, error) {
	switch word {
	case "accept":
		return &llmcall.Decision{Verdict: llmcall.VerdictAccept}, nil
	case "edit", "type":
		var text string
		var err error
		if word == "edit" && editor() != "" {
			text, err = p.edit(ctx, e)
		} else {
			p.say("Type the answer, then Ctrl-D on a line of its own.")
			text, err = p.text(ctx)
		}
		if err != nil || strings.TrimSpace(text) == "" {
			return nil, err
		}
		return &llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: text}, nil
	case "hint":
		fmt.Fprint(p.out, "The hint: ")
		text, err := p.line(ctx)
		if errors.Is(err, io.EOF) || err == nil && text == "" {
			return nil, nil
		}
		return &llmcall.Decision{Verdict: llmcall.VerdictHint, Text: text}, err
	case "abort":
		fmt.Fprint(p.out, "Why (it may be empty; Ctrl-D goes back): ")
		text, err := p.line(ctx)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return &llmcall.Decision{Verdict: llmcall.VerdictAbort, Text: text}, err
	case "view":
		p.all(e)
		return nil, nil
	}
	return &llmcall.Decision{}, nil // later
}

// line reads a line, without white space around it.
func (p *person) line(ctx context.Context) (string, error) {
	return interruptible(ctx, func() (string, error) {
		line, err := p.lines.ReadString('\n')
		if line != "" {
			err = nil
		}
		return strings.TrimSpace(line), err
	})
}

// text reads lines up to Ctrl-D.
func (p *person) text(ctx context.Context) (string, error) {
	text, err := interruptible(ctx, func() (string, error) {
		text, err := io.ReadAll(io.LimitReader(p.lines, maxInput))
		return string(text), err
	})
	return strings.TrimSuffix(text, "\n"), err
}

// interruptible reads until the context ends.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case r := <-done:
		return r.text, r.err
	}
}

// edit has the last answer edited in the user's editor. It returns "" if nothing was changed.
func (p *person) edit(ctx context.Context, e *llmcall.HumanReviewError) (string, error) {
	before := ""
	if e.Last != nil {
		before = e.Last.Text()
	}
	file, err := os.CreateTemp("", "llmcall-answer-*.txt") // for its user alone
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	_, err = io.WriteString(file, before)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	// As git does: the variable may have arguments.
	cmd := exec.CommandContext(ctx, "sh", "-c", editor()+` "$@"`, editor(), file.Name())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.in, p.out, p.out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", errInterrupted
		}
		p.say(fmt.Sprintf("%s: %v", editor(), err))
		return "", nil
	}
	text, err := os.ReadFile(file.Name())
	after := strings.TrimSuffix(string(text), "\n")
	if err == nil && after == strings.TrimSuffix(before, "\n") {
		p.say("Nothing is changed; to take the answer as it is, accept it.")
		return "", nil
	}
	return after, err
}

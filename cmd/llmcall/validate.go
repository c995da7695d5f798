package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// validateFlags are the flags of llmcall validate.
type validateFlags struct {
	schema, config, output string
	checks                 []string
	jsonl                  bool
}

func validateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate [flags] FILE...",
		Short: "Run checks on texts that you already have",
		Long: `Run checks on the text in each FILE (- for standard input), as if it were a
model's answer, and print what is wrong with it. With --jsonl each line of a FILE
is such a text. No model is called, except by the checks that ask one to judge:
agent_task and ai_contradiction_check.

With --output json, several texts are reported in a line of JSON each, with their
file and line.

Exit codes:
  0    all texts pass
  1    the result could not be written
  2    wrong usage, check or configuration; no check was run
  3    a text does not pass, or a check could not be run
  130  interrupted`,
		Example: `  llmcall validate --check json --check 'at:/email format:email' answer.json
  llmcall validate --schema person.json --output json - < answer.json
  llmcall validate --schema person.json --jsonl answers.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("expected a FILE (or - for standard input), got none")
			}
			if i := slices.Index(args, "-"); i >= 0 && slices.Contains(args[i+1:], "-") {
				return errors.New("standard input (-) can be read only once")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runValidate(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.schema, "schema", "", "JSON Schema `FILE`, JSON or YAML, that the text must fit")
	flags.StringArrayVar(&f.checks, "check", nil, "a check, `NAME[:ARGUMENTS]`, repeatable; llmcall checks lists them")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, YAML or JSON; its checks are run")
	flags.BoolVar(&f.jsonl, "jsonl", false, "each line of FILE is a text; empty lines are left out")
	flags.StringVar(&f.output, "output", "text", "text or json")
	return cmd
}

func runValidate(cmd *cobra.Command, f *validateFlags, files []string) error {
	ctx := cmd.Context()
	if err := outputFormat(f.output); err != nil {
		return err
	}
	checks, timeout, err := f.read(cmd)
	if err != nil {
		return err
	}
	texts, err := f.texts(ctx, cmd.InOrStdin(), files)
	if err != nil {
		return err
	}
	var all tally
	for _, text := range texts {
		report := validate.Run(ctx, checks, &validate.Answer{Text: text.content, Attempt: 1}, timeout)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err := f.write(cmd.OutOrStdout(), text, &report); err != nil {
			return err
		}
		all.add(&report)
	}
	return all.verdict(len(files) > 1 || f.jsonl)
}

// givenText is a text to check. File and line are where it is from, for the report; "" and 0
// if it is the only one.
type givenText struct {
	content string
	file    string
	line    int
}

// texts reads all texts before the first is checked.
func (f *validateFlags) texts(ctx context.Context, stdin io.Reader, files []string) ([]givenText, error) {
	var all []givenText
	for _, file := range files {
		content, err := readText(ctx, stdin, file)
		switch {
		case err != nil:
			return nil, err
		case f.jsonl:
			line := 0
			for text := range strings.Lines(content) {
				line++
				if text = strings.TrimSpace(text); text != "" {
					all = append(all, givenText{text, file, line})
				}
			}
		case len(files) > 1:
			all = append(all, givenText{content, file, 0})
		default:
			all = append(all, givenText{content: content})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("--jsonl: there is no line with text")
	}
	return all, nil
}

// write writes the report of a text. Of lines, those that pass as they are are not reported
// to people.
func (f *validateFlags) write(w io.Writer, text givenText, r *validate.Report) error {
	switch {
	case f.output == "json":
		return writeReportJSON(w, text, r)
	case text.file == "":
		return writeReport(w, r)
	case text.line > 0 && passes(r) && len(r.Repaired) == 0:
		return nil
	}
	var b strings.Builder
	if err := writeReport(&b, r); err != nil {
		return err
	}
	head := printable(text.file)
	if text.line > 0 {
		head += fmt.Sprintf(":%d", text.line)
	}
	if passes(r) {
		_, err := fmt.Fprintf(w, "%s: %s", head, b.String())
		return err
	}
	_, err := fmt.Fprintf(w, "%s:\n  %s\n", head, strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\n", "\n  "))
	return err
}

func passes(r *validate.Report) bool { return len(r.Complaints) == 0 && len(r.Failed) == 0 }

// read makes the checks: the schema's, the configuration's, and the flags'.
func (f *validateFlags) read(cmd *cobra.Command) (checks []validate.Strategy, timeout time.Duration, err error) {
	if f.schema != "" {
		check, _, err := readSchema(cmd, f.schema)
		if err != nil {
			return nil, 0, err
		}
		checks = append(checks, check)
	}
	p := program{Judge: strings.TrimSpace(os.Getenv("LLMCALL_JUDGE"))}
	if f.config != "" {
		text, err := readFile(f.config, maxConfig)
		if err != nil {
			return nil, 0, fmt.Errorf("--config: %w", err)
		}
		p.Config = &textFile{f.config, string(text)}
	}
	builder := p.builder()
	if p.Config != nil {
		cfg, configured, err := llmcall.ParseConfigWith(f.config, []byte(p.Config.Text), builder)
		if err != nil {
			return nil, 0, fmt.Errorf("--config: %w", err)
		}
		checks, timeout = append(checks, configured...), cfg.CheckTimeout
	}
	flagged, err := parseChecks(f.checks, builder)
	if err != nil {
		return nil, 0, err
	}
	if checks = append(checks, flagged...); len(checks) == 0 {
		return nil, 0, errors.New("no checks given: use --check, --schema, or --config with checks")
	}
	return checks, timeout, nil
}

// open opens the judge that a check names, or the one that is asked if it names none.
func (j judges) open(name string) (llm.Model, error) {
	var options provider.Options
	from := ""
	if name == "" {
		if name, from = j.judge, "LLMCALL_JUDGE: "; name == "" {
			name, options.BaseURL, from = j.model, j.address, ""
		}
	}
	if name == "" {
		return nil, errors.New("no judge: set LLMCALL_JUDGE to a model's full name, or validation_model")
	}
	if j.tape.replays() {
		return nil, errors.New("a check that asks a model can't be replayed: a new random mark is in each of its requests")
	}
	opened, err := provider.OpenAll([]string{name}, j.own, options)
	if err != nil {
		return nil, fmt.Errorf("%s%w", from, inFlagWords(err))
	}
	j.names.know(opened)
	return j.tape.onto(opened[:1])[0], nil // a judge has one key
}

// parseChecks makes the checks of --check.
func parseChecks(specs []string, builder validate.Builder) ([]validate.Strategy, error) {
	var checks []validate.Strategy
	for _, spec := range specs {
		check, err := builder.Parse(spec)
		if err != nil {
			return nil, fmt.Errorf("--check %s: %w", spec, err)
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// notPassed is the error of texts that their checks do not pass.
type notPassed string

func (e notPassed) Error() string { return string(e) }

// tally counts what the reports say.
type tally struct{ texts, wrong, complaints, failed int }

func (t *tally) add(r *validate.Report) {
	t.texts++
	if !passes(r) {
		t.wrong++
	}
	for _, c := range r.Complaints {
		t.complaints += say.Counted(c.Problem)
	}
	t.failed += len(r.Failed)
}

// verdict returns the error of the texts, or of the only one.
func (t *tally) verdict(several bool) error {
	if t.wrong == 0 {
		return nil
	}
	var found []string
	if t.complaints > 0 {
		found = append(found, say.Count(t.complaints, "complaint", "complaints"))
	}
	if t.failed > 0 {
		found = append(found, say.Count(t.failed, "check", "checks")+" could not be run")
	}
	which := "the text does"
	if several {
		do := "do"
		if t.wrong == 1 {
			do = "does"
		}
		which = fmt.Sprintf("%d of %s %s", t.wrong, say.Count(t.texts, "text", "texts"), do)
	}
	return notPassed(which + " not pass: " + strings.Join(found, ", and "))
}

// writeReport writes a report for people.
func writeReport(w io.Writer, r *validate.Report) error {
	var b strings.Builder
	for i, c := range r.Complaints {
		suggestion := c.Suggestion
		c.Suggestion = ""
		fmt.Fprintf(&b, "%d. %s\n", i+1, c)
		if suggestion != "" {
			fmt.Fprintf(&b, "   %s\n", suggestion)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "not run: %s: %v\n", f.Check, f.Err)
	}
	for _, name := range r.Skipped {
		fmt.Fprintf(&b, "not run: %s: it is costly, and a cheaper check did not pass\n", name)
	}
	if b.Len() == 0 {
		b.WriteString(validAfter(r.Repaired) + "\n")
	}
	if len(r.Repaired) > 0 {
		b.WriteString("\nrepaired:\n")
		for _, repair := range r.Repaired {
			fmt.Fprintf(&b, "  %s\n", repair)
		}
		fmt.Fprintf(&b, "\n%s\n", r.Text)
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// validAfter says that a text is valid, and after how many repairs. The last of a long
// list is how many more there are.
func validAfter(repairs []validate.Repair) string {
	switch n := len(repairs); {
	case n == 0:
		return "valid"
	case repairs[n-1].Line == 0:
		return fmt.Sprintf("valid after more than %d repairs", n-1)
	default:
		return "valid after " + say.Count(n, "repair", "repairs")
	}
}

// reportDocument is what --output json prints.
type reportDocument struct {
	File       string               `json:"file,omitempty"` // of several texts
	Line       int                  `json:"line,omitempty"`
	Valid      bool                 `json:"valid"`
	Value      any                  `json:"value,omitempty"`    // if a check has decoded the text
	Repaired   []validate.Repair    `json:"repaired,omitempty"` // how the text was made JSON, and what it became
	Text       string               `json:"text,omitempty"`
	Complaints []validate.Complaint `json:"complaints"`
	Passed     []string             `json:"passed"`
	Failed     []failedCheck        `json:"failed"`
	Skipped    []string             `json:"skipped"`
	Usage      llm.Usage            `json:"usage,omitzero"` // of the judges
}

type failedCheck struct {
	Check string `json:"check"`
	Error string `json:"error"`
}

func writeReportJSON(w io.Writer, text givenText, r *validate.Report) error {
	d := reportDocument{
		File: text.file, Line: text.line,
		Valid:      passes(r),
		Complaints: append([]validate.Complaint{}, r.Complaints...),
		Passed:     append([]string{}, r.Passed...),
		Failed:     []failedCheck{},
		Skipped:    append([]string{}, r.Skipped...),
		Usage:      r.Usage,
	}
	for _, f := range r.Failed {
		d.Failed = append(d.Failed, failedCheck{f.Check, f.Err.Error()})
	}
	if r.Decoded {
		d.Value = valueOf(r.Value)
	}
	if len(r.Repaired) > 0 {
		d.Repaired, d.Text = r.Repaired, r.Text
	}
	if text.file == "" {
		return printJSON(w, d)
	}
	line := json.NewEncoder(w)
	line.SetEscapeHTML(false)
	return line.Encode(d)
}

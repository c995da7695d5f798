package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
}

func validateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate [flags] FILE",
		Short: "Run checks on a text that you already have",
		Long: `Run checks on the text in FILE (- for standard input), as if it were a model's
answer, and print what is wrong with it. No model is called, except by the
checks that ask one to judge: agent_task and ai_contradiction_check.

Exit codes:
  0    the text passes
  1    the result could not be written
  2    wrong usage, check or configuration; no check was run
  3    the text does not pass, or a check could not be run
  130  interrupted`,
		Example: `  llmcall validate --check json --check 'at:/email format:email' answer.json
  llmcall validate --schema person.json --output json - < answer.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("expected one FILE (or - for standard input), got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runValidate(cmd, &f, args[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.schema, "schema", "", "JSON Schema `FILE` that the text must fit")
	flags.StringArrayVar(&f.checks, "check", nil, "a check, `NAME[:ARGUMENTS]`, repeatable; llmcall checks lists them")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, YAML or JSON; its checks are run")
	flags.StringVar(&f.output, "output", "text", "text or json")
	return cmd
}

func runValidate(cmd *cobra.Command, f *validateFlags, file string) error {
	ctx := cmd.Context()
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("--output must be text or json, got %q", f.output)
	}
	checks, timeout, err := f.read()
	if err != nil {
		return err
	}
	text, err := readText(ctx, cmd.InOrStdin(), file)
	if err != nil {
		return err
	}
	report := validate.Run(ctx, checks, &validate.Answer{Text: text, Attempt: 1}, timeout)
	if ctx.Err() != nil {
		return errInterrupted
	}
	write := writeReport
	if f.output == "json" {
		write = writeReportJSON
	}
	if err := write(cmd.OutOrStdout(), &report); err != nil {
		return err
	}
	return verdict(&report)
}

// read makes the checks: the schema's, the configuration's, and the flags'.
func (f *validateFlags) read() (checks []validate.Strategy, timeout time.Duration, err error) {
	if f.schema != "" {
		check, _, err := readSchema(f.schema)
		if err != nil {
			return nil, 0, err
		}
		checks = append(checks, check)
	}
	if f.config != "" {
		cfg, configured, err := llmcall.LoadConfigWith(f.config, builder)
		if err != nil {
			return nil, 0, fmt.Errorf("--config: %w", err)
		}
		checks, timeout = append(checks, configured...), cfg.CheckTimeout
	}
	flagged, err := parseChecks(f.checks)
	if err != nil {
		return nil, 0, err
	}
	if checks = append(checks, flagged...); len(checks) == 0 {
		return nil, 0, errors.New("no checks given: use --check, --schema, or --config with checks")
	}
	return checks, timeout, nil
}

// builder makes checks whose judges are opened like any other model. This makes no
// request, but a missing key of a judge is an error.
var builder = validate.Builder{OpenModel: func(name string) (llm.Model, error) {
	return provider.Open(name, provider.Options{})
}}

// parseChecks makes the checks of --check.
func parseChecks(specs []string) ([]validate.Strategy, error) {
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

func readText(ctx context.Context, stdin io.Reader, file string) (string, error) {
	if file == "-" {
		return readInput(ctx, stdin)
	}
	data, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("FILE: %w", err)
	}
	return string(data), nil
}

// errNotPassed is the error of a text that its checks do not pass.
var errNotPassed = errors.New("the text does not pass")

func verdict(r *validate.Report) error {
	switch {
	case len(r.Complaints) > 0:
		return fmt.Errorf("%w: %s", errNotPassed, say.Count(len(r.Complaints), "complaint", "complaints"))
	case len(r.Failed) > 0:
		return fmt.Errorf("%w: %s could not be run", errNotPassed, say.Count(len(r.Failed), "check", "checks"))
	}
	return nil
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

func writeReportJSON(w io.Writer, r *validate.Report) error {
	d := reportDocument{
		Valid:      len(r.Complaints) == 0 && len(r.Failed) == 0,
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
	return printJSON(w, d)
}

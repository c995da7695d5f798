package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"llmcall"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "config",
		Short:             "Look at configuration files",
		Args:              noOtherCommand,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "check [flags] FILE",
		Short: "Say in words what a configuration file does, and what is wrong with it",
		Long: `Say in words what a call with --config FILE does (- for standard input): which
models are asked and in which order, what is checked, how long a call waits, and
when a person is asked. Warnings name what is likely a mistake. No model is called,
and no key is needed.

Exit codes:
  0    the file can be used; there may be warnings
  1    the result could not be written
  2    the file can't be used
  130  interrupted`,
		Example: `  llmcall config check stair.yaml
  llmcall config check --output json stair.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("expected one FILE (or - for standard input), got %d", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt),

		RunE: func(cmd *cobra.Command, args []string) error {
			if err := outputFormat(output); err != nil {
				return err
			}
			text, err := readText(cmd.Context(), cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			account, err := examine(args[0], []byte(text))
			if output != "json" && err != nil {
				return err
			}
			if output == "json" {
				account.File = args[0]
				if err != nil {
					account.Error = err.Error()
				}
				return errors.Join(printJSON(cmd.OutOrStdout(), account), err)
			}
			return account.print(cmd.OutOrStdout(), args[0])
		},
	}
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// configAccount is what a configuration does.
type configAccount struct {
	File     string         `json:"file"`
	Valid    bool           `json:"valid"`
	Error    string         `json:"error,omitempty"`
	Models   []string       `json:"models"`
	Stages   []stageAccount `json:"stages"`
	Checks   []string       `json:"checks"`
	Says     []section      `json:"says"`
	Warnings []string       `json:"warnings"`
}

type stageAccount struct {
	Name     string   `json:"name,omitempty"`
	Attempts int      `json:"attempts,omitempty"`
	Models   []string `json:"models,omitempty"`
	Tools    []string `json:"tools,omitempty"`
	Human    bool     `json:"human,omitempty"`
}

// section is what there is to say about a part of a configuration.
type section struct {
	About string   `json:"about"`
	Says  []string `json:"says"`
}

func (a *configAccount) print(w io.Writer, file string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s can be used.\n", file)
	for _, s := range a.Says {
		fmt.Fprintf(&b, "\n%s\n", s.About)
		for _, line := range s.Says {
			fmt.Fprintf(&b, "  - %s\n", line)
		}
	}
	if len(a.Warnings) > 0 {
		b.WriteString("\nLikely a mistake\n")
	}
	for _, warning := range a.Warnings {
		fmt.Fprintf(&b, "  ! %s\n", warning)
	}
	_, err := io.WriteString(w, listed(printable(b.String()), widthOf(w)))
	return err
}

// listed wraps the items of lists that are wider than a terminal.
func listed(text string, width int) string {
	if width < leastText {
		return text
	}
	var fit []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "  ") || narrow([]string{line}, width) {
			fit = append(fit, line)
			continue
		}
		fit = append(fit, filled(line[:4], "    ", strings.Fields(line[4:]), width)...)
	}
	return strings.Join(fit, "\n")
}

// planFields are fields of a plan of llmcall chaos that no configuration has.
var planFields = []string{"steps", "weights", "limits", "answer_time", "repeat"}

// orPlan returns the error of a configuration, and says so if it is a plan.
func orPlan(err error) error {
	if e, ok := errors.AsType[*llmcall.ConfigError](err); ok && slices.Contains(planFields, e.Field) {
		return fmt.Errorf("%s:%d: %s is a field of a plan, for llmcall chaos --plan and --practice, and not of a configuration", e.File, e.Line, e.Field)
	}
	return err
}

// examine reads a configuration as llmcall call does, and goes on as far as is possible
// without a request.
func examine(name string, text []byte) (*configAccount, error) {
	a := &configAccount{Models: []string{}, Stages: []stageAccount{}, Checks: []string{}, Says: []section{}, Warnings: []string{}}
	known, _, err := llmcall.ParseConfigWith(name, text, noJudges)
	if err != nil {
		return a, orPlan(err)
	}
	var asked []string // by checks; "" for whoever judges by default
	builder := validate.Builder{OpenModel: func(name string) (llm.Model, error) {
		if !slices.Contains(asked, name) {
			asked = append(asked, name)
		}
		if name == "" {
			return noJudges.OpenModel(name)
		}
		models, err := openWithoutKey(name, &known, provider.Options{})
		if err != nil {
			return nil, err
		}
		return models[0], nil
	}}
	cfg, checks, err := llmcall.ParseConfigWith(name, text, builder)
	if err != nil {
		return a, err
	}
	var models []llm.Model
	for _, name := range cfg.AllModels() {
		opened, err := openWithoutKey(name, &cfg, provider.Options{})
		if err != nil {
			return a, err
		}
		models = append(models, opened...)
	}
	if len(models) == 0 {
		models = []llm.Model{llm.Func("the model of --model", nil)}
	}
	for _, tool := range standInTools(&cfg) {
		a.Warnings = append(a.Warnings, fmt.Sprintf("the tool %s: a Go program must have it in RetryConfig.Tools, and a call of this command has only those of mcp_servers", tool))
	}
	if _, err := newClient(models, checks, cfg); err != nil {
		if e, ok := errors.AsType[*llmcall.ConfigError](err); ok {
			e.File = name
		}
		return a, err
	}
	a.Valid = true
	a.Models = append(a.Models, cfg.AllModels()...)
	for _, s := range cfg.Stair() {
		a.Stages = append(a.Stages, stageAccount{s.Name, s.Attempts, modelsOf(&cfg, s), s.Tools, s.Human})
		if s.Human {
			a.Stages[len(a.Stages)-1] = stageAccount{Human: true}
		}
	}
	for _, c := range checks {
		a.Checks = append(a.Checks, c.Name())
	}
	a.Says = sayConfig(&cfg, checks, givenTo(text), asked)
	a.Warnings = append(a.Warnings, warnings(&cfg, len(checks), asked)...)
	return a, nil
}

// modelsOf returns the names of the models of a stage.
func modelsOf(cfg *llmcall.RetryConfig, s llmcall.Stage) []string {
	switch {
	case s.Human:
		return nil
	case len(s.Models) > 0:
		return s.Models
	case len(cfg.Models) > 0:
		return cfg.Models
	}
	return cfg.AllModels()
}

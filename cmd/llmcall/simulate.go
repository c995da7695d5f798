package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmcall"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/simulate"
	"llmcall/simulate/plot"
	"llmcall/simulate/recorded"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// simulation has the flags of llmcall simulate.
type simulation struct {
	config, scenario  string
	compare, asserted []string
	picture, output   string
	seed              uint64
	source            string
	list              bool
}

func simulateCommand() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate [flags]",
		Short: "Say what a configuration does to a fleet and its provider, before it is deployed",
		Long: `Say what a configuration does to a fleet of clients and its provider, before it is
deployed. The engine that makes real calls runs in virtual time, against a model of a
provider: no key and no network is needed, and ten minutes of a thousand processes
take a second or two. Nothing of the configuration is opened: its models have the
behaviour of the scenario, tools and MCP servers are not started, and a stage for
people ends the call.

Checks are not run either. The answers of a simulated provider are right or wrong as
the scenario says (bad_answers has wrong ones), and a wrong one is told to the model
and asked again, as with real checks. A check that asks a model as a judge adds no
requests, tokens or time here.

Without --scenario all scenarios are run, with a line for each:
` + wrapped(simulate.Names()) + `

--list says what happens in them. --print NAME prints the file of one, to be copied
and changed: --scenario FILE runs it. FILE may also be what was recorded, calls
arriving as they did, with the latencies and failures of that time: a directory of
call --record, or a trace in JSON Lines (documents of call --output json, a log of
llmcall's events by log/slog, or lines of your own with "time", "duration_ms",
and "status" or "error").

--assert takes an expression in CEL (https://cel.dev), which must be true, of these
figures. Shares are from 0 to 1, times in seconds, money in dollars:

  answered, failed, unfinished  shares of the calls
  reasons                       shares of the calls: reasons.circuit_open < 0.01
  p50, p99                      how long the answered calls took; infinite if none was
  requests_per_answer, refusals_per_answer
  time_to_recover               after the last phase; infinite if they never do
  collapsed                     the provider is well again, and the calls are not
  calls, requests, refused, wrong, faults, left, probes
  input_tokens, output_tokens, cost, wasted
  groups                        the same of a group: groups.batch.answered > 0.9
  other                         the same of --compare: answered >= other.answered

Exit codes:
  0    done; each assertion holds
  1    the result could not be written
  2    wrong usage, configuration or scenario
  3    an assertion does not hold
  130  interrupted`,
		Example: `  llmcall simulate
  llmcall simulate --config stair.yaml --scenario outage --svg outage.svg
  llmcall simulate --config new.yaml --compare old.yaml --scenario rate_limit
  llmcall simulate --config stair.yaml --assert 'answered >= 0.9' --assert '!collapsed'
  llmcall simulate --print outage > mine.yaml`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.config, "config", "", "configuration `FILE` (default the defaults)")
	flags.StringVar(&s.scenario, "scenario", "", "`NAME` of a scenario, a file of one, a recording or a trace (default all scenarios)")
	flags.StringArrayVar(&s.compare, "compare", nil, "another configuration `FILE` beside that of --config, repeatable")
	flags.StringArrayVar(&s.asserted, "assert", nil, "an expression in `CEL` that must be true, repeatable")
	flags.StringVar(&s.picture, "svg", "", "write a picture over time to `FILE`")
	flags.Uint64Var(&s.seed, "seed", 0, "seed of all chance (default the scenario's)")
	flags.StringVar(&s.source, "print", "", "print the file of the scenario `NAME`, with its comments")
	flags.BoolVar(&s.list, "list", false, "list the scenarios, and what happens in them")
	flags.StringVar(&s.output, "output", "text", "text or json")
	return cmd
}

func (s *simulation) run(cmd *cobra.Command) error {
	if err := outputFormat(s.output); err != nil {
		return err
	}
	switch {
	case s.source != "":
		text, err := simulate.Source(s.source)
		if err != nil {
			return fmt.Errorf("--print: %w", inScenarioWords(err))
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	case s.list:
		return s.printList(cmd)
	}
	scenarios, err := s.scenarios(cmd)
	if err != nil {
		return err
	}
	if s.picture != "" && len(scenarios) > 1 {
		return errors.New("--svg needs --scenario: a picture is of one scenario")
	}
	policies, err := s.policies(cmd)
	if err != nil {
		return err
	}
	asserted := make([][]*assertion, len(scenarios)) // compiled before anything runs
	for i, sc := range scenarios {
		if asserted[i], err = assertions(s.asserted, emptyFigures(sc, len(policies) > 1)); err != nil {
			if len(scenarios) > 1 {
				err = fmt.Errorf("%s: %w", sc.Name, err)
			}
			return err
		}
	}
	var all []simulated
	var broken []string
	for i, sc := range scenarios {
		done := simulated{scenario: sc}
		for _, p := range policies {
			report, err := simulate.Do(cmd.Context(), p.cfg, sc)
			if err != nil {
				if cmd.Context().Err() != nil {
					return errInterrupted
				}
				return fmt.Errorf("%s with %s: %w", sc.Name, p.name, inScenarioWords(err))
			}
			done.reports = append(done.reports, plot.Named{Name: p.name, Report: report})
		}
		for _, a := range asserted[i] {
			holds, says, err := a.holds(done.figures())
			if err != nil {
				return err
			}
			if !holds {
				broken = append(broken, sc.Name+": "+says)
			}
		}
		all = append(all, done)
	}
	if err := s.show(cmd, all, broken); err != nil {
		return err
	}
	if len(broken) > 0 {
		return notPassed("does not hold: " + strings.Join(broken, "\nllmcall: does not hold: "))
	}
	return nil
}

// scenarios returns the scenario of --scenario, or all that come with the command.
func (s *simulation) scenarios(cmd *cobra.Command) ([]*simulate.Scenario, error) {
	names := []string{s.scenario}
	if s.scenario == "" {
		names = simulate.Names()
	}
	var all []*simulate.Scenario
	for _, name := range names {
		sc, err := readScenario(name)
		if err != nil {
			return nil, fmt.Errorf("--scenario: %w", inScenarioWords(err))
		}
		if cmd.Flags().Changed("seed") {
			if s.seed == 0 {
				return nil, errors.New("--seed must be a whole number of at least 1, got 0")
			}
			sc.Seed = s.seed
		}
		all = append(all, sc)
	}
	return all, nil
}

// readScenario returns a scenario by its name, or of a file or directory.
func readScenario(name string) (*simulate.Scenario, error) {
	if slices.Contains(simulate.Names(), name) {
		return simulate.Named(name)
	}
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("must be one of %s, or a file, got %s", nearest.List(name, simulate.Names()), nearest.Shown(name, simulate.Names()))
	}
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		if info.IsDir() {
			break
		}
		text, err := readFile(name, maxInput)
		if err != nil {
			return nil, err
		}
		if !recordingLine.Match(bytes.TrimPrefix(text[:min(len(text), 4096)], []byte("\ufeff"))) {
			return simulate.ParseScenario(name, text)
		}
	}
	return recorded.Open(name)
}

// inScenarioWords returns an error of package simulate as the command says it.
func inScenarioWords(err error) error {
	if e, ok := errors.AsType[*simulate.ScenarioError](err); ok && e.File == "" {
		return errors.New(strings.TrimPrefix(err.Error(), "simulate: "))
	}
	return err
}

// policy is a configuration that is simulated.
type policy struct {
	name string
	cfg  llmcall.RetryConfig
}

// policies reads the configurations.
func (s *simulation) policies(cmd *cobra.Command) ([]policy, error) {
	all := []policy{{name: "defaults"}}
	var err error
	if s.config != "" {
		if all[0], err = readPolicy(cmd, "--config", s.config); err != nil {
			return nil, err
		}
	}
	for _, file := range s.compare {
		p, err := readPolicy(cmd, "--compare", file)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if p.name == other.name { // in another directory
				p.name = file
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// readPolicy reads a configuration, and says which of its checks would ask a model.
func readPolicy(cmd *cobra.Command, flag, file string) (policy, error) {
	text, err := readText(cmd.Context(), cmd.InOrStdin(), file)
	if err != nil {
		return policy{}, fmt.Errorf("%s: %w", flag, err)
	}
	asking := 0
	builder := validate.Builder{OpenModel: func(name string) (llm.Model, error) {
		asking++
		return llm.Func(name, nil), nil
	}}
	cfg, _, err := llmcall.ParseConfigWith(file, []byte(text), builder)
	if err != nil {
		return policy{}, fmt.Errorf("%s: %w", flag, orPlan(err))
	}
	if asking > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: %s: the scenario says which answers are wrong, and no check is run: the requests of %s are not in the figures\n",
			file, say.Count(asking, "check that asks a model", "checks that ask a model"))
	}
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	if file == "-" {
		name = "standard input"
	}
	return policy{name, cfg}, nil
}

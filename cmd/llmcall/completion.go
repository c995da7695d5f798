package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"llmcall"
	"llmcall/internal/nearest"
	"llmcall/provider"
	"llmcall/simulate"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that lets a shell complete commands, flags, checks, models and files",
		Long: `Print a script for SHELL (` + strings.Join(shells, ", ") + `) that completes commands,
flags, and what they take: checks, providers and models, formats of output,
configuration files, schemas. To load it in each new shell, add the line to the
shell's own file:

  ~/.bashrc                    source <(llmcall completion bash)
  ~/.zshrc, after compinit     source <(llmcall completion zsh)
  ~/.config/fish/config.fish   llmcall completion fish | source

In bash it needs the package bash-completion.`,
		Example:   `  source <(llmcall completion bash)`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("expected one SHELL (%s), got %d", strings.Join(shells, ", "), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(w, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(w)
			case "fish":
				return cmd.Root().GenFishCompletion(w, true)
			case "powershell":
				return cmd.Root().GenPowerShellCompletionWithDesc(w)
			}
			return fmt.Errorf("SHELL must be one of %s, got %s", nearest.List(args[0], shells), nearest.Shown(args[0], shells))
		},
	}
}

// completeFlags lets a shell complete the values of all flags that have a known set of
// them. A flag of the same name takes the same in each command.
func completeFlags(root *cobra.Command) {
	yamlFiles := cobra.FixedCompletions([]cobra.Completion{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt)
	values := map[string]cobra.CompletionFunc{
		"check": completeChecks, "model": completeModels, "status": completeStatuses,
		"provider": cobra.FixedCompletions(provider.Names(), cobra.ShellCompDirectiveNoFileComp),
		"output":   cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp),
		"scenario": completeScenarios(cobra.ShellCompDirectiveDefault), "print": completeScenarios(cobra.ShellCompDirectiveNoFileComp),
		"assert":  cobra.FixedCompletions(figureNames(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		"svg":     cobra.FixedCompletions([]cobra.Completion{"svg"}, cobra.ShellCompDirectiveFilterFileExt),
		"compare": yamlFiles,
		"config":  yamlFiles, "plan": yamlFiles, "practice": yamlFiles, "schema": yamlFiles,
		"human": cobra.FixedCompletions([]cobra.Completion{
			cobra.CompletionWithDesc("terminal", "ask at the terminal"), cobra.CompletionWithDesc("https://", "tell a webhook"),
		}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		"review-expires": cobra.FixedCompletions([]cobra.Completion{"72h", "168h", "never"}, cobra.ShellCompDirectiveNoFileComp),
		"hint":           cobra.NoFileCompletions,
		"format":         cobra.FixedCompletions([]cobra.Completion{"jsonl", "csv"}, cobra.ShellCompDirectiveNoFileComp),
		"retry-failed":   completeReasons,
		"give-up-after":  cobra.FixedCompletions([]cobra.Completion{"10m", "1h", "never"}, cobra.ShellCompDirectiveNoFileComp),
		"review":         cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		"fleet": cobra.FixedCompletions([]cobra.Completion{
			cobra.CompletionWithDesc("redis://", "the store's address"), cobra.CompletionWithDesc("rediss://", "with TLS"), cobra.CompletionWithDesc("env:", "a variable with the address"),
		}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		"why":   cobra.NoFileCompletions,
		"image": cobra.FixedCompletions([]cobra.Completion{"png", "jpg", "jpeg", "gif", "webp"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	var all []*cobra.Command
	for _, cmd := range root.Commands() {
		all = append(append(all, cmd), cmd.Commands()...)
	}
	for _, cmd := range all {
		if practice := cmd.Flags().Lookup("practice"); practice != nil {
			others := cmd.ValidArgsFunction
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
				switch {
				case practice.Value.String() == "" && practice.Changed && len(args) == 0: // the plan may follow without "="
					return yamlFiles(cmd, args, typed)
				case others != nil:
					return others(cmd, args, typed)
				}
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		}
		for name, complete := range values {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, complete) // fails only for a flag that is unknown, or done twice
			}
		}
	}
}

// completeChecks completes the name of a check, and after its colon says what follows. No
// space follows the name of one that may have arguments.
func completeChecks(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if name, _, given := strings.Cut(typed, ":"); given {
		known := validate.Checks()
		if i := slices.IndexFunc(known, named([]string{name})); i >= 0 {
			found = argumentsOf(known[i], name, typed)
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	for _, c := range validate.Checks() {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if strings.HasPrefix(name, typed) {
				found = append(found, cobra.CompletionWithDesc(name, c.Summary))
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// argumentsOf completes what follows the colon of a check: the values of a parameter that
// takes one of a few, else the help that says what it is, with an example.
func argumentsOf(c validate.Info, name, typed string) []cobra.Completion {
	var found []cobra.Completion
	_, err := validate.Parse(name + ":?") // the error lists what it takes
	if e, ok := errors.AsType[*validate.ParamError](err); ok {
		if list, ok := strings.CutPrefix(e.Takes, "one of "); ok {
			for value := range strings.SplitSeq(list, ", ") {
				if all := name + ":" + value; strings.HasPrefix(all, typed) {
					found = append(found, all)
				}
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	help := "no arguments"
	var params []string
	for _, p := range c.Params {
		params = append(params, p.Name)
	}
	if len(params) > 0 {
		help = "a JSON object with " + strings.Join(params, ", ")
	}
	if c.Main != "" {
		help = c.Main + "; or " + help
	}
	return cobra.AppendActiveHelp(nil, fmt.Sprintf("%s: %s; example: %s", name, help, c.Example))
}

// completeModels completes the models that the file of --config names, the providers'
// default models, and the names of providers up to the slash, those of the file too.
func completeModels(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if file := cmd.Flags().Lookup("config"); file != nil && file.Changed {
		cfg, _, _ := llmcall.LoadConfigWith(file.Value.String(), noJudges) // a wrong file names nothing
		for _, name := range cfg.AllModels() {
			if strings.HasPrefix(name, typed) {
				found = append(found, cobra.CompletionWithDesc(name, "of the configuration"))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
			if strings.HasPrefix(name+"/", typed) {
				found = append(found, cobra.CompletionWithDesc(name+"/", "a model of your own "+name))
			}
		}
	}
	for _, p := range provider.All() {
		if strings.HasPrefix(p.Name+"/", typed) {
			found = append(found, cobra.CompletionWithDesc(p.Name+"/", "a model of "+p.Name))
		}
		if p.Default != "" && strings.HasPrefix(p.Default, typed) {
			found = append(found, cobra.CompletionWithDesc(p.Default, "the default of "+p.Name))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeReasons completes why rows of a batch may have failed.
func completeReasons(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	for _, r := range failedReasons {
		found = append(found, cobra.CompletionWithDesc(r.name, r.advice))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeScenarios completes the names of the scenarios that come with the command.
func completeScenarios(then cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var found []cobra.Completion
		for _, name := range simulate.Names() {
			if sc, err := simulate.Named(name); err == nil {
				found = append(found, cobra.CompletionWithDesc(name, strings.Join(strings.Fields(sc.About), " ")))
			}
		}
		return found, then
	}
}

func completeStatuses(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	for _, status := range []int{400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529} {
		text := http.StatusText(status)
		if status == 529 {
			text = "Anthropic is overloaded"
		}
		found = append(found, cobra.CompletionWithDesc(fmt.Sprint(status), text))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeCheckNames completes the argument of llmcall checks.
func completeCheckNames(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, _ := completeChecks(cmd, args, typed)
	return found, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"llmcall/validate"
	_ "llmcall/validate/standard" // all checks

	"github.com/spf13/cobra"
)

func checksCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "checks [flags] [NAME]",
		Short: "List the checks that --check and a configuration file know, or describe one",
		Long: `List the checks that --check and a configuration file know. With a NAME, show that
check's parameters and an example.`,
		Example: `  llmcall checks
  llmcall checks length`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%s must have at most one NAME, got %q", cmd.CommandPath(), strings.Join(args, " "))
			}
			return nil
		},
		ValidArgsFunction: completeCheckNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := outputFormat(output); err != nil {
				return err
			}
			known := validate.Checks()
			w := cmd.OutOrStdout()
			switch i := slices.IndexFunc(known, named(args)); {
			case len(args) == 0 && output == "json":
				return printJSON(w, known)
			case len(args) == 0:
				return listChecks(w, known)
			case i < 0:
				_, err := validate.Build(args[0], nil) // the error of an unknown name
				return err
			case output == "json":
				return printJSON(w, known[i])
			default:
				return describeCheck(w, known[i])
			}
		},
	}
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// named returns a function that finds the check that the argument names.
func named(args []string) func(validate.Info) bool {
	return func(c validate.Info) bool {
		return len(args) > 0 && (c.Name == args[0] || slices.Contains(c.Aliases, args[0]))
	}
}

func listChecks(w io.Writer, checks []validate.Info) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(table, "%s\t%s\n", strings.Join(append([]string{c.Name}, c.Aliases...), ", "), c.Summary)
	}
	fmt.Fprint(table, "\nllmcall checks NAME shows a check's parameters and an example.\n")
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, fitted(b.String(), widthOf(w)))
	return err
}

// describeCheck shows a check's parameters, and how to write it as a flag and in a
// file.
func describeCheck(w io.Writer, c validate.Info) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", c.Name, c.Summary)
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "also named %s\n", strings.Join(c.Aliases, ", "))
	}
	if len(c.Params) > 0 {
		b.WriteString("\nParameters:\n")
	}
	for _, p := range c.Params {
		fmt.Fprintf(&b, "  %s: %s%s\n      %s\n", p.Name, p.Type, need(p), p.Meaning)
	}
	b.WriteString("\nOn the command line:\n")
	fmt.Fprintf(&b, "  --check %s\n", shellQuoted(c.Example))
	switch {
	case c.Main != "" && len(c.Params) > 0:
		fmt.Fprintf(&b, "  after the colon: %s; or the parameters as a JSON object\n", c.Main)
	case c.Main != "":
		fmt.Fprintf(&b, "  after the colon: %s\n", c.Main)
	case len(c.Params) > 0:
		b.WriteString("  after the colon: the parameters as a JSON object\n")
	}
	b.WriteString("\nIn a configuration file:\n  checks:\n")
	fmt.Fprintf(&b, "    - '%s'\n", strings.ReplaceAll(c.Example, "'", "''"))
	_, err := io.WriteString(w, b.String())
	return err
}

func need(p validate.Param) string {
	switch {
	case p.Required:
		return ", required"
	case p.Default != "":
		return ", default " + p.Default
	}
	return ""
}

// shellQuoted quotes an argument for a shell.
func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

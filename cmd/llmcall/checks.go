package main

import (
	"fmt"
	"strings"

	"llmcall/validate"
	_ "llmcall/validate/standard" // all checks

	"github.com/spf13/cobra"
)

func checksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checks",
		Short: "List the checks that --check and a configuration file know",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			for i, c := range validate.Checks() {
				if i > 0 {
					fmt.Fprintln(w)
				}
				names := strings.Join(append([]string{c.Name}, c.Aliases...), ", ")
				fmt.Fprintf(w, "%s\n    %s\n", names, c.Summary)
				for _, p := range c.Params {
					fmt.Fprintf(w, "    %s: %s%s; %s\n", p.Name, p.Type, need(p), p.Meaning)
				}
				fmt.Fprintf(w, "    --check '%s'\n", c.Example)
			}
			return nil
		},
	}
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

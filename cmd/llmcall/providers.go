package main

import (
	"cmp"
	"fmt"
	"os"
	"text/tabwriter"

	_ "llmcall/price/known" // what tokens cost
	"llmcall/provider"
	_ "llmcall/provider/all" // the model's name comes from the user

	"github.com/spf13/cobra"
)

func providersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "providers",
		Short: "List the providers that --model knows, and where their keys are looked for",
		Long: `List the providers, whose names come before the first slash of a model's full
name. Without --model and $LLMCALL_MODEL, llmcall uses the first that has a
default model and its key in the environment. --base-url works with all of them.`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "PROVIDER\tKEY\tDEFAULT MODEL\tADDRESS")
			for _, p := range provider.All() {
				fmt.Fprintf(w, "%s\t%s (%s)\t%s\t%s\n", p.Name, p.KeyVariable, keyState(p), cmp.Or(p.Default, "-"), cmp.Or(p.BaseURL, "$"+p.BaseURLVariable))
			}
			return w.Flush()
		},
	}
}

// keyState says whether a provider's key is set, without showing it.
func keyState(p provider.Provider) string {
	switch {
	case p.HasKey(os.Getenv):
		return "set"
	case p.KeyOptional:
		return "optional"
	}
	return "not set"
}

package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

// newServeKey returns the command "key" below "serve". newKey makes a key and its hash.
func newServeKey(newKey func() (key, hash string)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys for the clients of a gateway",
		Args:  noOtherCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newServeKeyNew(newKey))
	return cmd
}

func newServeKeyNew(newKey func() (key, hash string)) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "new [flags]",
		Short: "Make a key for a client, and its line for the gateway's file",
		Long: `Make a key for a client of the gateway. The key goes to standard output, and is
shown this once: the client sends it as its API key. The line for the gateway's
file goes to standard error; it has only the key's SHA-256, from which the key
can't be recovered.

In the file, the client may get limits:

  clients:
    - {name: web, sha256: "9f86…", routes: [support], requests_per_minute: 600,
       tokens_per_minute: 200000, max_concurrent: 20, max_cost_per_day: 5}

Another key for a client is another sha256 under its name: what the client has
used of its limits stays used.`,
		Example: `  llmcall serve key new --name web
  llmcall serve key new --name web > web.key`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, hash := newKey()
			if !cmd.Flags().Changed("name") {
				name = "client-" + hash[:8] // so that the lines of two keys fit into one file
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), key); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: the key is shown this once; for the gateway's file, under clients:\n  - %s\n", clientLine(name, hash))
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the client in logs, metrics and the file (default one of the key's hash)")
	return cmd
}

// clientLine returns the entry of a client in YAML. The texts are quoted, as in JSON, since
// YAML takes some names, and some hashes, for something else.
func clientLine(name, hash string) string {
	text, _ := json.Marshal(name) // a string always can be
	return fmt.Sprintf("{name: %s, sha256: %q}", text, hash)
}

// Command llmcall makes calls to language models that can be depended on: see
// llmcall call --help.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command, apart from the process around it. It returns the exit
// code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "llmcall",
		Short: "Dependable calls to language models",
		Long: `llmcall asks a language model until its answer passes its checks, or says why it
does not: inside the time and the attempts that you allow.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdoutWriter{stdout})
	root.SetErr(stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(callCommand(), validateCommand(), explainCommand(), checksCommand(), providersCommand(), chaosCommand())
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "llmcall: %s\n", printable(err.Error()))
	}
	return exitCode(err)
}

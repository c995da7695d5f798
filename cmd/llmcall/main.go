// Command llmcall makes dependable calls to language models. llmcall --help lists
// its commands.
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

// run executes the command and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "llmcall",
		Short: "Dependable calls to language models",
		Long: `llmcall asks a language model until its answer passes its checks, or says why it
does not: inside the time and the attempts that you allow.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noOtherCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: noEmptyValues,
	}
	root.SetArgs(plansOf(args))
	root.SetIn(stdin)
	root.SetOut(stdoutWriter{stdout})
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(showHelp)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(callCommand(), batchCommand(), resumeCommand(), validateCommand(), explainCommand(), configCommand(), checksCommand(), providersCommand(), chaosCommand(), simulateCommand(), serveCommand(), circuitsCommand(), completionCommand())
	completeFlags(root)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "llmcall: %s\n", printable(err.Error()))
	}
	return exitCode(err)
}

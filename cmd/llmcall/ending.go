package main

import (
	"os"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// ending has the flags of what becomes of a call: how it is shown, where it is kept, and
// which person is asked if no model could answer it.
type ending struct {
	output string
	trace  bool
	save   string
	handover

	person *person // at the terminal; nil without one
}

func (f *ending) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.human, "human", "", "who decides if no model could answer: `terminal`, or the https address of a webhook, signed by $LLMCALL_WEBHOOK_SECRET")
	f.registerExpires(cmd)
	flags.StringVar(&f.output, "output", "text", "text (the answer alone) or json (with all attempts)")
	flags.BoolVar(&f.trace, "trace", false, "draw the attempts on standard error as they happen")
}

// read looks at the flags before a call is paid for.
func (f *ending) read(cmd *cobra.Command) error {
	if err := outputFormat(f.output); err != nil {
		return err
	}
	if err := canSave(f.save); err != nil {
		return err
	}
	if err := f.handover.read(); err != nil || f.human != "terminal" {
		return err
	}
	var err error
	f.person, err = atTerminal(cmd)
	return err
}

// display returns the display that fits: the trace if the user wants it, a line that
// shows that the call works at a terminal, and otherwise none.
func (f *ending) display(cmd *cobra.Command) display {
	errs := cmd.ErrOrStderr()
	switch {
	case f.trace:
		return newTimeline(errs)
	case isTerminal(errs) && os.Getenv("TERM") != "dumb":
		return newProgress(errs.(term.File))
	}
	return noDisplay{}
}

// orTemporary returns a file's name, or that of a new temporary file.
func orTemporary(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	file, err := os.CreateTemp("", "llmcall-*.json")
	if err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"llmcall"
	"llmcall/review"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// ending has the flags of what becomes of a call: how it is shown, where it is kept, and
// which person is asked if no model could answer it.
type ending struct {
	output         string
	trace          bool
	save           string
	human, expires string

	// What they mean.
	lasts   time.Duration   // how long a person has; 0: for ever
	webhook *review.Webhook // nil without one
	person  *person         // at the terminal; nil without one
}

func (f *ending) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.human, "human", "", "who decides if no model could answer: `terminal`, or the https address of a webhook, signed by $LLMCALL_WEBHOOK_SECRET")
	flags.StringVar(&f.expires, "review-expires", "", "how long a person has to decide: seconds, a duration like 72h, or never (default a week)")
	flags.StringVar(&f.output, "output", "text", "text (the answer alone) or json (with all attempts)")
	flags.BoolVar(&f.trace, "trace", false, "draw the attempts on standard error as they happen")
}

// secretVariable has the secret that signs webhooks.
const secretVariable = "LLMCALL_WEBHOOK_SECRET"

// read looks at the flags before a call is paid for.
func (f *ending) read(cmd *cobra.Command) error {
	if err := outputFormat(f.output); err != nil {
		return err
	}
	if err := canSave(f.save); err != nil {
		return err
	}
	switch f.expires {
	case "":
		f.lasts = review.DefaultExpires
	case "never":
		f.lasts = 0
	default:
		var cfg llmcall.RetryConfig
		if err := cfg.Set("max_time", f.expires); err != nil || cfg.MaxTime == 0 {
			return fmt.Errorf("--review-expires must be a time above 0 (seconds, or a duration like 72h) or never, got %q", f.expires)
		}
		f.lasts = cfg.MaxTime
	}
	var err error
	switch {
	case f.human == "":
	case f.human == "terminal":
		f.person, err = atTerminal(cmd)
	case strings.Contains(f.human, "://"):
		f.webhook = &review.Webhook{URL: f.human, Secret: strings.TrimSpace(os.Getenv(secretVariable))}
		if f.webhook.Secret == "" {
			return errors.New("--human with an address needs a secret of at least 24 bytes in $" + secretVariable + ", by which the receiver knows that the webhook is yours")
		}
		if e := f.webhook.Validate(); e != nil {
			err = fmt.Errorf("--human: %s", inSecretWords.Replace(e.Error()))
		}
	default:
		err = fmt.Errorf("--human must be terminal or an https address, got %q", f.human)
	}
	return err
}

var inSecretWords = strings.NewReplacer("review: ", "", "Secret", "$"+secretVariable, "the URL", "the address")

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

// when says until when a person may decide.
func when(expires time.Time) string {
	if expires.IsZero() {
		return ""
	}
	return " until " + expires.Local().Format("2006-01-02 15:04")
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

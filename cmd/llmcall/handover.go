package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"llmcall"
	"llmcall/review"

	"github.com/spf13/cobra"
)

// handover says which person is asked if no model could answer a call, and for how long.
type handover struct {
	human, expires string

	// What they mean.
	lasts   time.Duration   // how long a person has; 0: for ever
	webhook *review.Webhook // nil without one
}

func (h *handover) registerExpires(cmd *cobra.Command) {
	cmd.Flags().StringVar(&h.expires, "review-expires", "", "how long a person has to decide: seconds, a duration like 72h, or never (default a week)")
}

// secretVariable has the secret that signs webhooks.
const secretVariable = "LLMCALL_WEBHOOK_SECRET"

// read looks at the flags. Who asks at a terminal looks at that.
func (h *handover) read() error {
	switch h.expires {
	case "":
		h.lasts = review.DefaultExpires
	case "never":
		h.lasts = 0
	default:
		var cfg llmcall.RetryConfig
		if err := cfg.Set("max_time", h.expires); err != nil || cfg.MaxTime == 0 {
			return fmt.Errorf("--review-expires must be a time above 0 (seconds, or a duration like 72h) or never, got %q", h.expires)
		}
		h.lasts = cfg.MaxTime
	}
	switch {
	case h.human == "" || h.human == "terminal":
	case strings.Contains(h.human, "://"):
		h.webhook = &review.Webhook{URL: h.human, Secret: strings.TrimSpace(os.Getenv(secretVariable))}
		if h.webhook.Secret == "" {
			return errors.New("--human with an address needs a secret of at least 24 bytes in $" + secretVariable + ", by which the receiver knows that the webhook is yours")
		}
		if err := h.webhook.Validate(); err != nil {
			return fmt.Errorf("--human: %s", inSecretWords.Replace(err.Error()))
		}
	default:
		return fmt.Errorf("--human must be terminal or an https address, got %q", h.human)
	}
	return nil
}

var inSecretWords = strings.NewReplacer("review: ", "", "Secret", "$"+secretVariable, "the URL", "the address")

// until returns when it is too late to decide about a call that is handed over now; zero for
// never.
func (h *handover) until() time.Time {
	if h.lasts == 0 {
		return time.Time{}
	}
	return time.Now().Add(h.lasts).Truncate(time.Second).UTC()
}

// when says until when a person may decide.
func when(expires time.Time) string {
	if expires.IsZero() {
		return ""
	}
	return " until " + expires.Local().Format("2006-01-02 15:04")
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// capture is a transport that keeps the first request instead of sending it.
type capture struct {
	stop   context.CancelFunc // ends the call
	target string             // "POST https://…"
	body   []byte
}

var errDryRun = errors.New("nothing is sent (--dry-run)")

// RoundTrip keeps the request without its header, which has the key.
func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.target == "" {
		c.target = r.Method + " " + r.URL.Redacted()
		if r.Body != nil {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			c.body = data
		}
	}
	c.stop()
	return nil, errDryRun
}

// printRequest prints the request that a call would begin with, as its provider
// would get it. The call goes the whole way, up to its transport.
func (f *callFlags) printRequest(cmd *cobra.Command, p *program, req *llm.Request, checks []validate.Strategy, cfg llmcall.RetryConfig) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	kept := &capture{stop: cancel}
	models, closeModels, err := p.open(cmd, &cfg, &http.Client{Transport: kept})
	if err != nil {
		return err
	}
	defer closeModels()
	stage := ""
	cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
		if e.Type == llmcall.EventAttemptStarted {
			stage = e.Attempt.Stage
		}
		return nil
	}
	client, err := newClient(models, checks, cfg)
	if err != nil {
		return err
	}
	if f.streams(cmd, checks) {
		for _, e := range client.Stream(ctx, req) {
			err = e
		}
	} else {
		_, err = client.Do(ctx, req)
	}
	if kept.target == "" { // the adapter refused it, or the call was interrupted
		if e, ok := errors.AsType[*failure.Error](err); ok {
			return fmt.Errorf("--dry-run: %s", e)
		}
		return err
	}
	if n := len(cfg.Stair()); n > 1 {
		stage = fmt.Sprintf(" (stage %s, the first of %d)", stage, n)
	} else {
		stage = ""
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: dry run, nothing is sent: %s%s\n", kept.target, printable(stage))
	if forecast, err := client.Forecast(req); err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: %s\n", sayForecast(forecast, &cfg))
	}
	var body bytes.Buffer
	if json.Indent(&body, kept.body, "", "  ") != nil {
		body.Write(kept.body)
	}
	text := bytes.TrimSpace(body.Bytes())
	if isTerminal(cmd.OutOrStdout()) {
		text = longData.ReplaceAll(text, []byte("$1…"))
	}
	_, err = cmd.OutOrStdout().Write(append(text, '\n'))
	return err
}

// sayForecast says what a call may cost.
func sayForecast(f llmcall.Forecast, cfg *llmcall.RetryConfig) string {
	text := fmt.Sprintf("the request has at most %d tokens, and its answer %d", f.Input, f.Output)
	if f.Unlimited {
		text = fmt.Sprintf("the request has at most %d tokens; its answer has no limit (--max-tokens), here it is taken to have %d", f.Input, f.Output)
	}
	if !f.First.Known() {
		return text + "; what they cost is not known: `prices` in a configuration says it"
	}
	text += ": $" + f.First.Dollars() + " at most"
	if f.Attempts > 1 && f.All.Known() {
		text += fmt.Sprintf("; in %d attempts $%s, and what complaints, tools and judges add", f.Attempts, f.All.Dollars())
	}
	if cfg.MaxCost > 0 {
		text += fmt.Sprintf("; the whole call at most $%v", cfg.MaxCost)
	}
	return text
}

// longData is the data of a picture, which nobody reads at a terminal.
var longData = regexp.MustCompile(`([A-Za-z0-9+/]{60})[A-Za-z0-9+/]{400,}=*`)

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
	stage  string
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
// would get it.
func (f *callFlags) printRequest(cmd *cobra.Command, p *program, req *llm.Request, checks []validate.Strategy, cfg llmcall.RetryConfig) error {
	kept := &capture{}
	models, closeModels, err := p.open(cmd, &cfg, &http.Client{Transport: kept})
	if err != nil {
		return err
	}
	defer closeModels()
	client, err := kept.client(models, checks, cfg)
	if err != nil {
		return err
	}
	if err := kept.ask(cmd, client, req, f.streams(cmd, checks)); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: dry run, nothing is sent: %s%s\n", kept.target, kept.whose(&cfg))
	if forecast, err := client.Forecast(req); err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: %s\n", sayForecast(forecast, &cfg))
	}
	return kept.print(cmd)
}

// client returns a client whose first request is kept.
func (c *capture) client(models []llm.Model, checks []validate.Strategy, cfg llmcall.RetryConfig) (*llmcall.Client, error) {
	cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
		if e.Type == llmcall.EventAttemptStarted {
			c.stage = e.Attempt.Stage
		}
		return nil
	}
	return newClient(models, checks, cfg)
}

// ask makes a call that goes the whole way, up to its transport.
func (c *capture) ask(cmd *cobra.Command, client *llmcall.Client, req *llm.Request, streamed bool) (err error) {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	c.stop = cancel
	if streamed {
		for _, e := range client.Stream(ctx, req) {
			err = e
		}
	} else {
		_, err = client.Do(ctx, req)
	}
	if c.target != "" {
		return nil
	}
	if e, ok := errors.AsType[*failure.Error](err); ok { // the adapter refused it
		return fmt.Errorf("--dry-run: %s", e)
	}
	return err
}

// whose says whose request it is, if there are several stages.
func (c *capture) whose(cfg *llmcall.RetryConfig) string {
	if n := len(cfg.Stair()); n > 1 {
		return printable(fmt.Sprintf(" (stage %s, the first of %d)", c.stage, n))
	}
	return ""
}

// print prints the body of the request.
func (c *capture) print(cmd *cobra.Command) error {
	var body bytes.Buffer
	if json.Indent(&body, c.body, "", "  ") != nil {
		body.Write(c.body)
	}
	text := bytes.TrimSpace(body.Bytes())
	if isTerminal(cmd.OutOrStdout()) {
		text = longData.ReplaceAll(text, []byte("$1…"))
	}
	_, err := cmd.OutOrStdout().Write(append(text, '\n'))
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

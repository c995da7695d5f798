package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"llmcall/chaos"
	"llmcall/internal/say"

	"github.com/spf13/cobra"
)

func chaosCommand() *cobra.Command {
	var address, plan string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "chaos [flags]",
		Short: "Serve a provider that fails on purpose",
		Long: `Serve a provider that speaks the protocols of OpenAI (chat completions and
responses), Anthropic (messages) and Gemini (generateContent), and fails as a
plan says. Without a plan it answers correctly, with invented answers that fit the
request's JSON Schema. It prints the base URL for clients of OpenAI on standard
output (Anthropic's and Gemini's take it without /v1), and a line for each
request on standard error; Ctrl-C ends it, and it says how many requests were
answered and refused.

A plan is a list of steps, one a request, or of weights to draw from:

  seed: 7
  steps:
    - {kind: status, error: rate_limit, retry_after: 2}
    - {kind: break, at: /items/0/price}
    - hang

With weights each request draws its fault; one without a weight weighs 1:

  weights:
    - {kind: right, weight: 8}
    - {kind: status, error: overloaded, weight: 2}
    - reset

A plan may have limits, too, or nothing else. What is over them is refused in
the provider's words and headers, and takes no step:

  answer_time: 200ms           # how long an answer takes
  limits:
    requests_per_minute: 600   # for each API key and model
    burst: 5                   # the bucket's size, by default the whole minute's
    tokens_per_minute: 60000   # of prompt and answer
    window: bucket             # or minute: windows of a minute
    concurrent: 4              # served at a time
    queue: 8                   # more that may wait; beyond: 503, Anthropic 529
    hint: exact                # when to come back: exact, seconds, none
    headers: true              # x-ratelimit-*, anthropic-ratelimit-*

The kinds:
` + wrapped(chaos.Kinds()) + `

What can go wrong, for kind status and stream_error (error: NAME), in the words
of the provider that is asked:
` + wrapped(chaos.ErrorNames()) + `

Other fields: code (the provider's own), status, body, headers, retry_after,
retry_after_ms, retry_after_date, reset_after, delay, chunk_delay, answer, at,
after, end, size, finish, cached_tokens, reasoning_tokens, tool.`,
		Example: `  llmcall chaos --plan plan.yaml --addr 127.0.0.1:8090
  llmcall call --base-url http://127.0.0.1:8090/v1 "Hello"
  ANTHROPIC_BASE_URL=http://127.0.0.1:8090 your-program`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config := chaos.Config{Seed: seed, OnRequest: requestLog(cmd.ErrOrStderr())}
			var err error
			if config.Plan, err = readPlan(plan); err != nil {
				return fmt.Errorf("--plan: %w", err)
			}
			server, err := chaos.New(config)
			if err != nil {
				return err
			}
			listener, err := chaos.Listen(address)
			if err != nil {
				return fmt.Errorf("--addr: %w", err)
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "http://%s/v1\n", listener.Addr()); err != nil {
				listener.Close()
				return err
			}
			err = server.Serve(cmd.Context(), listener)
			fmt.Fprintln(cmd.ErrOrStderr(), summary(server.Counts()))
			return err
		},
	}
	cmd.Flags().StringVar(&address, "addr", chaos.DefaultAddress, "where to listen, `HOST:PORT`; port 0 is a free one")
	cmd.Flags().StringVar(&plan, "plan", "", "plan `FILE`, YAML or JSON: what fails, and how")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "seed of what is invented and drawn (default the plan's)")
	return cmd
}

// readPlan reads the file of a plan; nil if there is none ("").
func readPlan(path string) (*chaos.Plan, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxInput)
	if err != nil {
		return nil, err
	}
	return chaos.ParsePlan(path, data)
}

// summary counts the requests by their outcome.
func summary(c chaos.Counts) string {
	return fmt.Sprintf("%s: %d answered, %d over the rate limit, %d over the queue, %d failed or left",
		say.Count(c.Requests, "request", "requests"), c.Answered, c.RateLimited, c.Overloaded, c.Failed+c.Serving+c.Waiting)
}

// requestLog prints a line for each request.
func requestLog(w io.Writer) func(chaos.Recorded) {
	var mu sync.Mutex
	return func(r chaos.Recorded) {
		mu.Lock()
		defer mu.Unlock()
		status := "no status"
		if r.Status != 0 {
			status = fmt.Sprint(r.Status)
		}
		line := fmt.Sprintf("%s  #%d %s %s  %s  %s", r.Time.Format(time.TimeOnly), r.Number, r.Method, r.Path, status, r.Fault.Kind)
		if what := cmp.Or(r.Fault.Error, r.Fault.Code); what != "" {
			line += " " + what
		}
		if r.Refusal != "" {
			line += "  refused: " + r.Refusal
		}
		fmt.Fprintln(w, printable(line))
	}
}

// wrapped writes words as indented lines of a help text.
func wrapped[S ~string](words []S) string {
	var b strings.Builder
	width := 80
	for i, word := range words {
		if width+len(word) > 76 {
			if i > 0 {
				b.WriteString(",\n")
			}
			b.WriteString("  " + string(word))
			width = len(word)
			continue
		}
		b.WriteString(", " + string(word))
		width += 2 + len(word)
	}
	return b.String()
}

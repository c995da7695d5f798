package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"llmcall/chaos"

	"github.com/spf13/cobra"
)

func chaosCommand() *cobra.Command {
	var address, plan string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "chaos [flags]",
		Short: "Serve a provider that fails on purpose",
		Long: `Serve a provider that speaks OpenAI's chat-completions protocol and fails as a
plan says. Without a plan it answers rightly, with invented answers that fit the
request's JSON Schema. It prints its base URL on standard output, and a line for
each request on standard error; Ctrl-C ends it.`,
		Example: `  llmcall chaos --plan plan.yaml --addr 127.0.0.1:8090
  llmcall call --base-url http://127.0.0.1:8090/v1 "Hello"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config := chaos.Config{Seed: seed, OnRequest: requestLog(cmd.ErrOrStderr())}
			if plan != "" {
				data, err := readFile(plan)
				if err != nil {
					return fmt.Errorf("--plan: %w", err)
				}
				if config.Plan, err = chaos.ParsePlan(plan, data); err != nil {
					return fmt.Errorf("--plan: %w", err)
				}
			}
			server, err := chaos.New(config)
			if err != nil {
				return err
			}
			listener, err := chaos.Listen(address)
			if err != nil {
				return fmt.Errorf("--addr: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "http://%s/v1\n", listener.Addr())
			return server.Serve(cmd.Context(), listener)
		},
	}
	cmd.Flags().StringVar(&address, "addr", chaos.DefaultAddress, "where to listen, `HOST:PORT`; port 0 is a free one")
	cmd.Flags().StringVar(&plan, "plan", "", "plan `FILE`, YAML or JSON: what fails, and how")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "decides what is invented and drawn (default the plan's)")
	return cmd
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
		if r.Fault.Code != "" {
			line += " " + r.Fault.Code
		}
		if r.Refusal != "" {
			line += "  refused: " + r.Refusal
		}
		fmt.Fprintln(w, printable(line))
	}
}

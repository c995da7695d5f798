package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"llmcall"
	"llmcall/classify"
	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// explanation is the meaning of a provider's error, as --output json prints it.
type explanation struct {
	Kind       failure.Kind `json:"kind"`
	Provider   string       `json:"provider"`
	Guessed    bool         `json:"provider_guessed,omitempty"`
	Status     int          `json:"status,omitempty"`
	Code       string       `json:"code,omitempty"`
	Message    string       `json:"message,omitempty"`
	RequestID  string       `json:"request_id,omitempty"`
	RetryAfter *float64     `json:"retry_after_seconds,omitempty"`
	NoRetry    bool         `json:"no_retry,omitempty"`
	failure.Decision
	Then    string `json:"then"`    // what follows for the call
	Circuit string `json:"circuit"` // and for the model's circuit breaker
}

func explainCommand() *cobra.Command {
	var name, config, output string
	var status int
	var headers []string
	var plan bool
	cmd := &cobra.Command{
		Use:   "explain [flags] FILE",
		Short: "Explain a provider's error, and what llmcall would do about it",
		Long: `Explain a provider's error, and what llmcall would do about it. FILE (- is standard
input) holds the body of the response, a whole response as "curl -i" prints it, or
what a log has of it: the line of an SDK or of a library on top of one, with the
status and JSON, or what Python or Node makes of it, or words.

Without --provider the provider is guessed from what FILE holds.

FILE may be a recording of call --record, or a directory of them: what was asked and
answered, and of a failure what follows. With --plan it becomes a plan for
llmcall chaos.`,
		Example: `  llmcall explain body.json --provider openai --status 429
  llmcall explain body.json --provider anthropic --status 529 --header 'retry-after: 5'
  curl -si … | llmcall explain - --provider gemini
  llmcall explain recorded/ --plan > plan.yaml
  grep RateLimitError app.log | tail -1 | llmcall explain -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("expected one FILE (or - for standard input), got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := outputFormat(output); err != nil {
				return err
			}
			if cmd.Flags().Changed("provider") {
				if _, err := protocolOf(name); err != nil {
					return err
				}
			}
			if status != 0 && (status < 100 || status > 599) {
				return fmt.Errorf("--status must be an HTTP status from 100 to 599, got %d", status)
			}
			var cfg llmcall.RetryConfig
			var err error
			if config != "" {
				if cfg, _, err = llmcall.LoadConfigWith(config, noJudges); err != nil {
					return fmt.Errorf("--config: %w", err)
				}
			}
			recorded, err := recordings(args[0])
			if err != nil {
				return err
			}
			if recorded != nil {
				return explainRecordings(cmd.OutOrStdout(), recorded, &cfg, output, plan)
			}
			if plan {
				return fmt.Errorf("--plan needs a recording, or a directory of them, got %s", args[0])
			}
			content, err := readText(cmd.Context(), cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			guessed := name == ""
			if guessed {
				name = guessProvider(content)
			}
			protocol, err := protocolOf(name)
			if err != nil {
				return err
			}
			reply := readReply(content, protocol)
			reply.Status = cmp.Or(status, reply.Status)
			for _, line := range headers {
				key, value, ok := strings.Cut(line, ":")
				if key = strings.TrimSpace(key); !ok || key == "" {
					return fmt.Errorf("--header must be 'NAME: VALUE', got %q", line)
				}
				reply.Header.Add(key, strings.TrimSpace(value))
			}
			e, err := explain(reply, cfg)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			e.Provider, e.Guessed = name, guessed
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), e)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), printable(e.text()))
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&name, "provider", "", "whose error it is (default a guess): "+strings.Join(provider.Names(), ", "))
	flags.IntVar(&status, "status", 0, "the response's HTTP status (default that in FILE)")
	flags.StringArrayVar(&headers, "header", nil, "a header of the response, `'NAME: VALUE'`, repeatable")
	flags.StringVar(&config, "config", "", "configuration `FILE`, whose decisions and limits apply")
	flags.BoolVar(&plan, "plan", false, "print a plan for llmcall chaos that does what the recordings of FILE hold")
	flags.StringVar(&output, "output", "text", "text or json")
	return cmd
}

// noJudges makes checks that are not run, so that the key of a judge may be
// missing.
var noJudges = validate.Builder{OpenModel: func(name string) (llm.Model, error) { return llm.Func(name, nil), nil }}

// readReply reads a response as curl prints it, its body, or what a log has of it.
func readReply(content, protocol string) classify.Reply {
	r := classify.Reply{Provider: protocol, Header: http.Header{}, Body: []byte(content), At: time.Now()}
	if l, ok := fromCurl(content); ok {
		r.Status, r.Header, r.Body = l.status, l.header, []byte(l.body)
	} else if l, ok := fromLog(content); ok {
		r.Status, r.Header = l.status, l.header
		if l.body != "" {
			r.Body = []byte(l.body)
		}
	}
	return r
}

// classified classifies a response, or the error of a request that got none.
func classified(r classify.Reply) (failure.Error, bool) {
	f, found := classify.ReadError(r)
	if r.Status >= 300 || r.Status == 0 && !found {
		f, found = classify.Read(r), true
	}
	if found && r.Provider == classify.OpenAI && f.Status == http.StatusTooManyRequests && f.Code == "" && strings.HasPrefix(f.Message, overQuota) {
		f.Kind = failure.QuotaExhausted
	}
	if !found || r.Status == 0 && f.Kind == failure.Unknown {
		return fromNetwork(string(r.Body))
	}
	return f, found
}

// explain returns the meaning of a response under a configuration.
func explain(r classify.Reply, cfg llmcall.RetryConfig) (*explanation, error) {
	f, found := classified(r)
	if !found {
		return nil, errors.New("no error found in it: it must be a failed response, its body, or a line of a log with its status; give --status if it does not tell")
	}
	return meaning(&f, &cfg), nil
}

func thenFor(f *failure.Error, again failure.Again, longest time.Duration, paced bool) string {
	const grows = "asked again after a delay that grows"
	const free = "; while others are answered, in its turn, which does not use an attempt"
	switch {
	case again == failure.Never:
		return "not asked again: another attempt would not help"
	case f.NoRetry:
		return "not asked again: the provider says not to (x-should-retry: false)"
	case f.Told && f.RetryAfter > longest:
		return fmt.Sprintf("not asked again: the provider asks for a wait of %v, longer than max_retry_after (%v)", f.RetryAfter, longest)
	case f.Told && again == failure.WhenTold:
		return fmt.Sprintf("asked again in %v, as the provider says; does not use an attempt", f.RetryAfter)
	case f.Told && (again == failure.Backoff || again == failure.Slower):
		return grows + fmt.Sprintf(", and not before %v have passed, as the provider says", f.RetryAfter)
	case again == failure.Slower && f.Kind == failure.Overloaded && paced:
		return "asked again after the next longer delay: the provider is short of capacity" + free
	case again == failure.Slower:
		return "asked again after the next longer delay: the provider is short of capacity"
	case again == failure.WhenTold && paced:
		return grows + free
	case again == failure.AtOnce:
		return "asked again at once"
	case again == failure.OnceLarger:
		return "asked once more, with a larger token limit"
	}
	return grows
}

// longTold is the time from which the pacer checks each minute whether a wait that
// the provider asked for is still needed; see package pace.
const longTold = 2 * time.Minute

func circuitFor(f *failure.Error, effect failure.Effect, paced bool) string {
	switch effect {
	case failure.Healthy:
		return "counts as a success: the provider did its work"
	case failure.Count:
		if f.Kind == failure.Overloaded && paced {
			return "counts as a failure, but is not counted while others are answered"
		}
		return "counts as a failure"
	case failure.Trip:
		if f.Told {
			return fmt.Sprintf("opens at once, for %v", f.RetryAfter)
		}
		return "opens at once, for trip_timeout (by default recovery_timeout)"
	case failure.Limit:
		switch {
		case !paced:
		case f.Told && f.RetryAfter > longTold:
			return fmt.Sprintf("is not counted; for %v the pacer lets one call a minute ask the model whether that still holds", f.RetryAfter)
		case f.Told && f.RetryAfter > 0:
			return fmt.Sprintf("is not counted; the pacer lets no other call ask the model for %v, and then one after the other", f.RetryAfter)
		default:
			return "is not counted; the pacer lets calls ask the model no faster than it accepts them"
		}
	case failure.HealthyIfAnswered:
		if failure.Answered(f.Kind, f.Status) {
			return "counts as a success: the provider answered, though with an error"
		}
	}
	return "is not counted"
}

func (e *explanation) text() string {
	var b strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	row("kind", e.Kind.String())
	if e.Guessed {
		row("provider", e.Provider+" (guessed; --provider says whose it is)")
	} else {
		row("provider", e.Provider)
	}
	if e.Status != 0 {
		row("status", strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))))
	}
	row("code", e.Code)
	row("message", e.Message)
	row("request", e.RequestID)
	if e.RetryAfter != nil {
		row("come back", fmt.Sprintf("in %v", time.Duration(*e.RetryAfter*float64(time.Second))))
	}
	row("the call is", e.Then)
	row("the circuit", e.Circuit)
	return b.String()
}

// protocolOf returns the protocol of a provider.
func protocolOf(name string) (string, error) {
	for _, p := range provider.All() {
		if p.Name == name {
			return p.Protocol, nil
		}
	}
	return "", fmt.Errorf("--provider must be one of %s, got %s", nearest.List(name, provider.Names()), nearest.Shown(name, provider.Names()))
}

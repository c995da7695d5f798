package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"llmcall"
	_ "llmcall/feedbacktemplate" // the feedback_template of a configuration
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

var (
	errInterrupted = errors.New("interrupted")
	errOutput      = errors.New("the result could not be written")
)

// The maximum sizes in bytes of standard input or a file, and of a configuration, as
// [llmcall.LoadConfig] has it.
const (
	maxInput  = 64 << 20
	maxConfig = 1 << 20
)

// callFlags are the flags of llmcall call.
type callFlags struct {
	model, baseURL        string
	practice              practiceFlag
	schema, config        string
	checks, images, files []string
	continued, save       string
	output                string
	stream, trace, dryRun bool
}

// settingFlag is a flag that sets a field of the configuration.
type settingFlag struct{ flag, field, help string }

var settingFlags = []settingFlag{
	{"system", "system", "the system prompt"},
	{"max-tokens", "max_tokens", "maximum number of tokens of the answer (default the provider's)"},
	{"temperature", "temperature", "how much chance there is in the answer, from 0 (default the provider's)"},
	{"seed", "seed", "a number that makes answers repeatable, for the providers that have it"},
	{"extra", "extra", "the provider's own fields of the request, as a JSON object: {\"reasoning_effort\": \"low\"}"},
	{"max-attempts", "max_attempts", "maximum number of attempts (default 3)"},
	{"initial-delay", "initial_delay", "wait after the first failed attempt: seconds, or a duration like 500ms (default 1)"},
	{"backoff-factor", "backoff_factor", "factor by which each wait grows (default 2)"},
	{"max-delay", "max_delay", "the longest wait (default 60)"},
	{"jitter-range", "jitter_range", "how far waits vary either way, as a fraction from 0 to 1 (default 0.1)"},
	{"timeout", "max_time", "time limit for the whole call: seconds, or a duration like 2m (default none)"},
}

func callCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call [flags] [PROMPT]",
		Short: "Ask a model until its answer passes all checks",
		Long: `Ask a model until its answer passes all checks, and print the answer. PROMPT is
the text, or - for standard input. Text that is piped in goes before PROMPT, and
is the prompt if there is no PROMPT.

The model is --model, else that of --config, else $LLMCALL_MODEL, else that of the
provider whose key is in the environment, else that of a server in the environment
($OPENAI_BASE_URL). Without any there is no call. With --practice no provider is
called: the embedded practice model answers, and its answers are invented; JSON
output then has "practice": true.

Providers: ` + strings.Join(provider.Names(), ", ") + `

` + exitCodesHelp,
		Example: `  llmcall call --check contains:Berlin "Name three cities in Germany"
  llmcall call --schema person.json --output json --trace - < prompt.txt
  llmcall call --image receipt.jpg --check json "What was paid? Answer in JSON"
  git diff | llmcall call --max-tokens 200 "Write a commit message"
  llmcall call --continue chat.json --save chat.json "And in French?"
  llmcall call --practice --schema person.json "Describe a person"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("expected one PROMPT (or - for standard input), got %d; quote a prompt that has spaces", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runCall(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.model, "model", "", "the model, as provider/name (openai/…); llmcall providers lists the providers")
	flags.StringVar(&f.baseURL, "base-url", "", "address of a server that speaks the provider's protocol; http:// may be left out for this machine")
	flags.Var(&f.practice, "practice", "use the embedded practice model, which fails as the plan `[FILE]` says, or not at all")
	flags.Lookup("practice").NoOptDefVal = "true"
	flags.StringArrayVar(&f.images, "image", nil, "a picture that goes with PROMPT, repeatable: a `FILE` (PNG, JPEG, GIF, WebP), an http(s) address or a data URI")
	flags.StringArrayVar(&f.files, "file", nil, "a `FILE` that goes with PROMPT, repeatable: a text, a picture, a document (PDF) or a recording (WAV, MP3 and others), or a data URI of one")
	flags.StringVar(&f.schema, "schema", "", "JSON Schema `FILE`, JSON or YAML, that the answer must fit")
	flags.StringArrayVar(&f.checks, "check", nil, "a check, `NAME[:ARGUMENTS]`, repeatable; llmcall checks lists them")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, YAML or JSON")
	for _, s := range settingFlags {
		flags.String(s.flag, "", s.help)
	}
	flags.StringVar(&f.continued, "continue", "", "a conversation `FILE` that PROMPT continues, as --save writes it")
	flags.StringVar(&f.save, "save", "", "a `FILE` for the conversation with its answer; --continue reads it")
	flags.BoolVar(&f.stream, "stream", false, "print the answer as it arrives, before it is checked (default at a terminal, for calls without checks)")
	flags.StringVar(&f.output, "output", "text", "text (the answer alone) or json (with all attempts)")
	flags.BoolVar(&f.trace, "trace", false, "draw the attempts on standard error as they happen")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the body of the request that would be sent, and send nothing")
	return cmd
}

// runCall reads everything that can be wrong before it makes a call.
func runCall(cmd *cobra.Command, f *callFlags, args []string) error {
	if err := outputFormat(f.output); err != nil {
		return err
	}
	if f.output == "json" && f.stream {
		return errors.New("--stream can't be combined with --output json, which is written at the end")
	}
	if err := canSave(f.save); err != nil {
		return err
	}
	cfg, checks, err := f.configuration(cmd)
	if err != nil {
		return err
	}
	req := &llm.Request{}
	if f.schema != "" {
		check, schema, err := readSchema(cmd, f.schema)
		if err != nil {
			return err
		}
		checks = append([]validate.Strategy{check}, checks...)
		req.Schema = &llm.Schema{Name: "answer", JSON: schema}
	}
	if len(checks) == 0 {
		checks = []validate.Strategy{validate.NotEmpty()}
	}
	if req.Messages, err = f.messages(cmd, args, cfg.System); err != nil {
		return err
	}
	if f.dryRun {
		return f.printRequest(cmd, req, checks, cfg)
	}
	models, closeModels, err := f.open(cmd, cfg.AllModels(), nil)
	if err != nil {
		return err
	}
	defer closeModels()
	streams := f.streams(cmd, checks)
	if streams && isTerminal(cmd.OutOrStdout()) {
		cfg.RestartStreams = true // the user sees that another attempt begins
	}
	screen := f.display(cmd)
	cfg.Observer = screen.observe
	client, err := llmcall.New(models, checks, cfg)
	if err != nil {
		return err
	}
	result, err := ask(cmd, client, req, streams, screen)
	screen.end(result, err)
	return f.report(cmd, models[0].Name(), req, result, err, streams)
}

// report prints the outcome of a call, and stores its conversation.
func (f *callFlags) report(cmd *cobra.Command, model string, req *llm.Request, result *llmcall.Result, err error, streamed bool) error {
	file, unsaved := f.store(req, result, err)
	unwritten := unsaved
	switch {
	case f.output == "json":
		unwritten = cmp.Or(writeJSON(cmd.OutOrStdout(), model, f.practice.given, file, result, err), unsaved)
	case err == nil && !streamed:
		_, e := io.WriteString(cmd.OutOrStdout(), strings.TrimSuffix(result.Text, "\n")+"\n")
		unwritten = cmp.Or(e, unsaved)
	}
	if answer := lastAnswer(err); answer != "" && f.output == "text" && !f.trace && !streamed {
		fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: the last answer began:\n%s\n", strings.Join(firstLines(answer), "\n"))
	}
	if err != nil && file != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "llmcall: the conversation is in %s; llmcall call --continue FILE continues it\n", file)
	}
	if err == nil {
		err = unwritten
	} else if unsaved != nil {
		err = fmt.Errorf("%w (and %w)", err, unsaved)
	}
	return err
}

// configuration reads the file, then the flags, which override it.
func (f *callFlags) configuration(cmd *cobra.Command) (llmcall.RetryConfig, []validate.Strategy, error) {
	var cfg llmcall.RetryConfig
	var checks []validate.Strategy
	var file []byte
	if f.config != "" { // read once: it may be a pipe, <(…)
		var err error
		if file, err = readFile(f.config, maxConfig); err != nil {
			return cfg, nil, fmt.Errorf("--config: %w", err)
		}
	}
	builder, err := f.builder(file)
	if err != nil {
		return cfg, nil, err
	}
	if f.config != "" {
		if cfg, checks, err = llmcall.ParseConfigWith(f.config, file, builder); err != nil {
			return cfg, nil, fmt.Errorf("--config: %w", err)
		}
	}
	for _, s := range settingFlags {
		flag := cmd.Flags().Lookup(s.flag)
		if !flag.Changed {
			continue
		}
		if err := cfg.Set(s.field, flag.Value.String()); err != nil {
			if e, ok := errors.AsType[*llmcall.ConfigError](err); ok {
				e.Field = "--" + s.flag
			}
			return cfg, nil, err
		}
	}
	if f.model != "" {
		cfg.Models = []string{f.model}
	}
	flagged, err := parseChecks(f.checks, builder)
	if err != nil {
		return cfg, nil, err
	}
	checks = append(checks, flagged...)
	return cfg, checks, cfg.Validate()
}

// builder returns a builder of checks whose judge is the call's model, unless they name one.
// config is the content of the configuration, which has the checks, too: what is wrong with
// it is said when they are made.
func (f *callFlags) builder(config []byte) (validate.Builder, error) {
	address, err := serverAddress(f.baseURL)
	if err != nil || f.practice.given { // what is invented judges nothing
		return builderFor("", ""), err
	}
	name := f.model
	if name == "" {
		if cfg, _, err := llmcall.ParseConfigWith(f.config, config, noJudges); err == nil && len(cfg.Models) > 0 {
			name = cfg.Models[0]
		}
	}
	if name == "" {
		name = defaultModel(address)
	}
	return builderFor(name, address), nil
}

// readFile reads a file of at most most bytes, which may be a pipe.
func readFile(path string, most int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, path, most)
}

// readAll reads at most most bytes; name is what an error says is larger.
func readAll(r io.Reader, name string, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is larger than %d MiB", name, most>>20)
	}
	return data, err
}

// readText reads FILE, or standard input for "-".
func readText(ctx context.Context, stdin io.Reader, file string) (string, error) {
	if file == "-" {
		return readInput(ctx, stdin)
	}
	data, err := readFile(file, maxInput)
	if err != nil {
		return "", fmt.Errorf("FILE: %w", err)
	}
	return string(data), nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"llmcall"
	"llmcall/chaos"
	_ "llmcall/feedbacktemplate" // the feedback_template of a configuration
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/picture"
	"llmcall/provider"
	"llmcall/provider/openai"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

var (
	errInterrupted = errors.New("interrupted")
	errOutput      = errors.New("the result could not be written")
)

// maxInput is the maximum size of standard input or a file in bytes.
const maxInput = 64 << 20

// callFlags are the flags of llmcall call.
type callFlags struct {
	model, baseURL, practice string
	system, schema, config   string
	checks, images           []string
	output                   string
	trace                    bool
}

// settingFlags are the flags that set a field of the configuration.
var settingFlags = []struct{ flag, field, help string }{
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
		Use:   "call [flags] PROMPT",
		Short: "Ask a model until its answer passes all checks",
		Long: `Ask a model until its answer passes all checks, and print the answer. PROMPT is
the text, or - for standard input.

The model is --model, else $LLMCALL_MODEL, else that of the provider whose key is
in the environment. Without any there is no call. With --practice no provider is
called: the embedded practice model answers, and its answers are invented; JSON
output then has "practice": true.

Providers: ` + strings.Join(provider.Names(), ", ") + `

` + exitCodesHelp,
		Example: `  llmcall call --check contains:Berlin "Name three cities in Germany"
  llmcall call --schema person.json --output json --trace - < prompt.txt
  llmcall call --image receipt.jpg --check json "What was paid? Answer in JSON"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("expected one PROMPT (or - for standard input), got %d; quote a prompt that has spaces", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runCall(cmd, &f, args[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.model, "model", "", "the model, as provider/name (openai/…); llmcall providers lists the providers")
	flags.StringVar(&f.baseURL, "base-url", "", "address of a server that speaks the provider's protocol")
	flags.StringVar(&f.practice, "practice", "", "use the embedded practice model, which fails as the plan `FILE` says")
	flags.StringVar(&f.system, "system", "", "the system prompt")
	flags.StringArrayVar(&f.images, "image", nil, "a picture that goes with PROMPT, repeatable: a `FILE` (PNG, JPEG, GIF, WebP), an http(s) address or a data URI")
	flags.StringVar(&f.schema, "schema", "", "JSON Schema `FILE` that the answer must fit")
	flags.StringArrayVar(&f.checks, "check", nil, "a check, `NAME[:ARGUMENTS]`, repeatable; llmcall checks lists them")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, YAML or JSON")
	for _, s := range settingFlags {
		flags.String(s.flag, "", s.help)
	}
	flags.StringVar(&f.output, "output", "text", "text (the answer alone) or json (with all attempts)")
	flags.BoolVar(&f.trace, "trace", false, "draw the attempts on standard error as they happen")
	return cmd
}

// runCall reads everything that can be wrong before it makes a call.
func runCall(cmd *cobra.Command, f *callFlags, prompt string) error {
	ctx := cmd.Context()
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("--output must be text or json, got %q", f.output)
	}
	cfg, checks, err := f.configuration(cmd)
	if err != nil {
		return err
	}
	req := &llm.Request{}
	if f.system != "" {
		req.Messages = append(req.Messages, llm.System(f.system))
	}
	if f.schema != "" {
		check, schema, err := readSchema(f.schema)
		if err != nil {
			return err
		}
		checks = append([]validate.Strategy{check}, checks...)
		req.Schema = &llm.Schema{Name: "answer", JSON: schema}
	}
	if len(checks) == 0 {
		checks = []validate.Strategy{validate.NotEmpty()}
	}
	if prompt == "-" {
		if prompt, err = readInput(ctx, cmd.InOrStdin()); err != nil {
			return err
		}
	}
	if strings.TrimSpace(prompt) == "" {
		return errors.New("PROMPT must not be empty")
	}
	user := llm.User(prompt)
	for _, image := range f.images {
		part, err := readImage(image)
		if err != nil {
			return fmt.Errorf("--image: %w", err)
		}
		user.Parts = append(user.Parts, part)
	}
	req.Messages = append(req.Messages, user)
	model, closeModel, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer closeModel()

	var line *timeline
	if f.trace {
		line = newTimeline(cmd.ErrOrStderr())
		cfg.Observer = line.observe
	}
	result, err := llmcall.RetryWithValidation(ctx, model, req, checks, cfg)
	if line != nil {
		line.end(result, err)
	}
	var unwritten error
	if f.output == "json" {
		unwritten = writeJSON(cmd.OutOrStdout(), model.Name(), f.practice != "", result, err)
	} else if err == nil {
		_, unwritten = io.WriteString(cmd.OutOrStdout(), strings.TrimSuffix(result.Text, "\n")+"\n")
	}
	if err == nil && unwritten != nil {
		err = unwritten
	}
	return err
}

// configuration reads the file, then the flags, which override it.
func (f *callFlags) configuration(cmd *cobra.Command) (llmcall.RetryConfig, []validate.Strategy, error) {
	var cfg llmcall.RetryConfig
	var checks []validate.Strategy
	if f.config != "" {
		var err error
		if cfg, checks, err = llmcall.LoadConfigWith(f.config, builder); err != nil {
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
	flagged, err := parseChecks(f.checks)
	if err != nil {
		return cfg, nil, err
	}
	checks = append(checks, flagged...)
	return cfg, checks, cfg.Validate()
}

func readSchema(path string) (validate.Strategy, json.RawMessage, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--schema: %w", err)
	}
	check, err := validate.JSONSchema(data)
	if err != nil {
		return nil, nil, fmt.Errorf("--schema %s: %w", path, err)
	}
	return check, data, nil
}

// readImage returns the picture that an --image names.
func readImage(where string) (llm.Image, error) {
	switch scheme, rest, _ := strings.Cut(where, ":"); {
	case where == "-":
		return llm.Image{}, errors.New("must be a file, an http(s) address or a data URI, got - (standard input)")
	case where == "":
		return llm.Image{}, errors.New("must be a file, an http(s) address or a data URI, got an empty string")
	case strings.EqualFold(scheme, "data"):
		image, err := picture.DataURI(where)
		if err != nil {
			err = fmt.Errorf("%s: %w", say.Short(where, 40), err)
		}
		return image, err
	case strings.HasPrefix(rest, "//"):
		image, err := picture.URL(where)
		if err != nil {
			err = fmt.Errorf("%s://…: %w", scheme, err) // the rest may contain a password
		}
		return image, err
	}
	return picture.File(where)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxInput>>20)
	}
	return data, err
}

// readInput reads standard input until its end or an interrupt by the user.
func readInput(ctx context.Context, r io.Reader) (string, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
		done <- read{data, err}
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case in := <-done:
		if in.err == nil && len(in.data) > maxInput {
			in.err = fmt.Errorf("it is larger than %d MiB", maxInput>>20)
		}
		if in.err != nil {
			return "", fmt.Errorf("standard input: %w", in.err)
		}
		return string(in.data), nil
	}
}

// errNoModel says how to name a model, which need not be by a flag.
var errNoModel = errors.New("no model: set the key of a provider, such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY (llmcall providers lists them), or --model, or LLMCALL_MODEL; or try --practice FILE, which calls no provider")

// open opens the model that the flags and the environment name.
func (f *callFlags) open(cmd *cobra.Command) (llm.Model, func(), error) {
	nothing := func() {}
	name := f.model
	if name == "" {
		name = os.Getenv("LLMCALL_MODEL")
	}
	if f.practice != "" {
		if f.model != "" || f.baseURL != "" {
			return nil, nil, errors.New("--practice can't be combined with --model or --base-url: the practice model is built in")
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "llmcall: the practice model answers, and its answers are INVENTED")
		return f.openPractice(cmd.Context())
	}
	if name == "" {
		var known bool
		if name, known = provider.Default(os.Getenv); !known && f.baseURL != "" {
			name = "openai/" + openai.DefaultModel
		}
	}
	if name == "" { // not the practice model: a job that lost its environment would go on with invented answers
		return nil, nil, errNoModel
	}
	model, err := provider.Open(name, provider.Options{BaseURL: f.baseURL})
	return model, nothing, err
}

// openPractice serves the practice model on loopback and opens it like any other
// model, so that a call goes the whole way.
func (f *callFlags) openPractice(ctx context.Context) (llm.Model, func(), error) {
	var config chaos.Config
	data, err := readFile(f.practice)
	if err != nil {
		return nil, nil, fmt.Errorf("--practice: %w", err)
	}
	if config.Plan, err = chaos.ParsePlan(f.practice, data); err != nil {
		return nil, nil, fmt.Errorf("--practice: %w", err)
	}
	server, err := chaos.New(config)
	if err != nil {
		return nil, nil, fmt.Errorf("--practice: %w", err)
	}
	listener, err := chaos.Listen(chaos.DefaultAddress)
	if err != nil {
		return nil, nil, fmt.Errorf("the practice model: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ctx, listener) // if it fails, so does the call
	}()
	model, err := provider.Open("openai/practice", provider.Options{BaseURL: "http://" + listener.Addr().String() + "/v1"})
	closeServer := func() {
		cancel()
		<-ended
	}
	if err != nil {
		closeServer()
		return nil, nil, err
	}
	return model, closeServer, nil
}

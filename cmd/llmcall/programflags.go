package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// programFlags are the flags that say what calls are made of: models, checks, settings.
type programFlags struct {
	model, baseURL        string
	practice              practiceFlag
	images, files, checks []string
	schema, config        string
	record, replay        string

	settings []settingFlag // those that the command has
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
	{"max-cost", "max_cost", "the most that the call may cost, in dollars, with all attempts and judges (default no limit)"},
	{"max-tokens-total", "max_tokens_total", "the most tokens, `N`, that the call may use, prompts and answers together (default no limit)"},
	{"timeout", "max_time", "time limit for the whole call: seconds, or a duration like 2m (default none)"},
}

// register adds the flags, with those of the settings.
func (f *programFlags) register(cmd *cobra.Command, settings []settingFlag) {
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "", "the model, as provider/name (openai/…); llmcall providers lists the providers")
	flags.StringVar(&f.baseURL, "base-url", "", "address of a server that speaks the provider's protocol; http:// may be left out for this machine")
	flags.Var(&f.practice, "practice", "use the embedded practice model, which fails as the plan `[FILE]` says, or not at all")
	flags.Lookup("practice").NoOptDefVal = "true"
	flags.StringArrayVar(&f.images, "image", nil, "a picture that goes with PROMPT, repeatable: a `FILE` (PNG, JPEG, GIF, WebP), an http(s) address or a data URI")
	flags.StringArrayVar(&f.files, "file", nil, "a `FILE` that goes with PROMPT, repeatable: a text, a picture, a document (PDF) or a recording (WAV, MP3 and others), or a data URI of one")
	flags.StringVar(&f.schema, "schema", "", "JSON Schema `FILE`, JSON or YAML, that the answer must fit")
	flags.StringArrayVar(&f.checks, "check", nil, "a check, `NAME[:ARGUMENTS]`, repeatable; llmcall checks lists them")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, YAML or JSON")
	f.settings = settings
	for _, s := range settings {
		flags.String(s.flag, "", s.help)
	}
}

// registerTape adds the flags of recordings.
func (f *programFlags) registerTape(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.record, "record", "", "a `DIR` to which each request to a model is written, with its answer or failure")
	flags.StringVar(&f.replay, "replay", "", "a `DIR` of --record whose recordings answer, without a network or a key")
}

// program reads the files of the flags, each once: it may be a pipe, <(…). human says that a
// person decides if no model could answer.
func (f *programFlags) program(cmd *cobra.Command, human bool) (*program, error) {
	p := &program{
		Model: f.model, Checks: f.checks, Settings: map[string]string{}, Human: human,
		Judge: strings.TrimSpace(os.Getenv("LLMCALL_JUDGE")),
	}
	var err error
	if p.BaseURL, err = serverAddress(f.baseURL); err != nil {
		return nil, err
	}
	if f.config != "" {
		text, err := readFile(f.config, maxConfig)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		if len(text) > 0 {
			p.Config = &textFile{f.config, string(text)}
		}
	}
	if f.practice.given {
		if f.replay != "" {
			return nil, errors.New("--practice can't be combined with --replay: a replay asks nobody")
		}
		if f.model != "" || f.baseURL != "" {
			return nil, errors.New("--practice can't be combined with --model or --base-url: the practice model is built in")
		}
		p.Practice = &textFile{Name: f.practice.plan}
		if f.practice.plan != "" {
			text, err := readFile(f.practice.plan, maxInput)
			if err != nil {
				return nil, fmt.Errorf("--practice: %w", err)
			}
			p.Practice.Text = string(text)
		}
	}
	for _, s := range f.settings {
		if flag := cmd.Flags().Lookup(s.flag); flag.Changed {
			p.Settings[s.flag] = flag.Value.String()
		}
	}
	if f.schema != "" {
		if _, p.Schema, err = readSchema(cmd, f.schema); err != nil {
			return nil, err
		}
	}
	return p, nil
}

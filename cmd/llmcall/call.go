package main

import (
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
	programFlags
	continued      string
	stream, dryRun bool
	ending
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
  llmcall call --config stair.yaml --human terminal "Write a limerick about Berlin"
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
	f.programFlags.register(cmd, settingFlags)
	flags.StringVar(&f.continued, "continue", "", "a conversation `FILE` that PROMPT continues, as --save writes it")
	flags.StringVar(&f.save, "save", "", "a `FILE` for the conversation with its answer, or for the call if a person must look; --continue reads both")
	flags.BoolVar(&f.stream, "stream", false, "print the answer as it arrives, before it is checked (default at a terminal, for calls without checks)")
	f.ending.register(cmd)
	f.registerTape(cmd)
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the body of the request that would be sent, and send nothing")
	return cmd
}

// runCall reads everything that can be wrong before it makes a call.
func runCall(cmd *cobra.Command, f *callFlags, args []string) error {
	if err := f.read(cmd); err != nil {
		return err
	}
	if f.output == "json" && f.stream {
		return errors.New("--stream can't be combined with --output json, which is written at the end")
	}
	p, err := f.program(cmd, f.human != "")
	if err != nil {
		return err
	}
	if p.tape, err = openTape(cmd, f.record, f.replay); err != nil {
		return err
	}
	if !f.dryRun {
		fleet, err := p.join(onStandardError(cmd))
		if err != nil {
			return err
		}
		defer fleet.leave()
	}
	cfg, checks, err := p.read(true)
	if err != nil {
		return err
	}
	req := &llm.Request{}
	if len(p.Schema) > 0 {
		req.Schema = &llm.Schema{Name: "answer", JSON: p.Schema}
	}
	if req.Messages, err = f.messages(cmd, args, cfg.System); err != nil {
		return err
	}
	disconnect, err := connect(cmd.Context(), &cfg)
	if err != nil {
		return err
	}
	defer disconnect()
	if f.dryRun {
		return f.printRequest(cmd, p, req, checks, cfg)
	}
	models, closeModels, err := p.open(cmd, &cfg, nil)
	if err != nil {
		return err
	}
	defer closeModels()
	streams := f.streams(cmd, checks)
	if streams && isTerminal(cmd.OutOrStdout()) {
		cfg.RestartStreams = true // the user sees that another attempt begins
	}
	s := &session{ending: &f.ending, cmd: cmd, program: p}
	if err := s.compile(models, checks, cfg); err != nil {
		return err
	}
	result, err := ask(cmd, s.client, req, streams, s.screen)
	s.screen.end(result, err)
	if e, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		result, err = s.handOver(e)
		streams = streams && err != nil // an answer by way of a person is not printed yet
	}
	return s.finish(req.Messages, result, err, streams)
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

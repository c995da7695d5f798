package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"llmcall"
	"llmcall/internal/nearest"
	"llmcall/internal/rows"

	"github.com/spf13/cobra"
)

// batchFlags are the flags of llmcall batch.
type batchFlags struct {
	programFlags
	handover
	prompt, out, format string
	concurrency, limit  int
	giveUpAfter         string
	unordered, dryRun   bool
	again               againFlag
	maxCost, maxTokens  string
	review              string

	patience time.Duration // of --give-up-after; negative: for ever
}

// againFlag is --retry-failed, which may have a reason.
type againFlag struct {
	given  bool
	reason string // "": all
}

// Set reads a reason, or true or false.
func (a *againFlag) Set(value string) error {
	switch value {
	case "", "true":
		*a = againFlag{given: true}
	case "false":
		*a = againFlag{}
	default:
		*a = againFlag{true, value}
	}
	return nil
}

func (a *againFlag) String() string { return a.reason }

// Type is that of a flag that may be without a value.
func (a *againFlag) Type() string { return "bool" }

// rowSettings are the settings of each row's call. The ceilings of a batch are for its run:
// those of a row can be in the configuration.
var rowSettings = func() []settingFlag {
	var of []settingFlag
	for _, s := range settingFlags {
		switch s.flag {
		case "max-cost", "max-tokens-total":
			continue
		case "system":
			s.help = "the system prompt of all rows"
		case "max-attempts":
			s.help = "maximum number of attempts for a row (default 3)"
		case "timeout":
			s.help = "time limit for each row, waits included: seconds, or a duration like 2m (default none)"
		}
		of = append(of, s)
	}
	return of
}()

func batchCommand() *cobra.Command {
	var f batchFlags
	cmd := &cobra.Command{
		Use:   "batch [flags] FILE",
		Short: "Ask a model for each row of a file, and go on where an earlier run has ended",
		Long: `Ask a model for each row of FILE until its answer passes all checks. FILE is JSONL
or CSV with a header, or - for standard input. What a row asks is --prompt, in
which {{.name}} is the row's field of that name; without it, the row's own prompt
(a text) or messages (a list), with its system. Lines for OpenAI's batch API are
asked as they are.

Each row gets a line of JSON in the file of -o: its id (or custom_id), answer,
value (of an answer in JSON), model, attempts, usage and cost; or error, with its
reason, instead of answer. Lines are written as rows are done. Run the same command
again and it asks the rows that have no line yet: also after Ctrl-C, a crash or an
outage. In the end the file is in the order of the rows. A row is asked again if it
is different now, or its prompt, model, checks or settings are; --retry-failed also
asks the rows with an error.

A rate limit or an outage makes no row fail: the rows wait, and if the provider is
away for too long (--give-up-after), they are left to the next run. Ctrl-C lets
requests in flight finish for up to 10 s; a second one ends at once.

Exit codes:
  0    all rows have a valid answer
  1    a line could not be written, or the input was changed meanwhile
  2    wrong usage, configuration or input; no call was made
  3    some rows have no valid answer; their lines say why
  4    the circuit was open when the run ended
  6    the provider failed or limits the rate: some rows are not done
  7    out of time: some rows are not done
  8    what the run may spend is spent: some rows are not done
  130  interrupted`,
		Example: `  llmcall batch cities.csv -o cities.jsonl --prompt "Describe {{.city}} in a sentence"
  llmcall batch in.jsonl -o out.jsonl --config stair.yaml --max-cost 5 --dry-run
  llmcall batch in.jsonl -o out.jsonl --config stair.yaml --max-cost 5
  llmcall batch in.jsonl -o out.jsonl --config stair.yaml --retry-failed no_valid_answer
  llmcall batch receipts.csv -o paid.jsonl --image "{{.file}}" --prompt @paid.txt --schema paid.json
  llmcall batch openai-batch.jsonl --limit 10`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 && f.again.given && f.again.reason == "" {
				return nil // --retry-failed REASON
			}
			if len(args) != 1 {
				return fmt.Errorf("expected one FILE (or - for standard input), got %d; the answers go to the file of -o", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"jsonl", "ndjson", "csv"}, cobra.ShellCompDirectiveFilterFileExt),

		RunE: func(cmd *cobra.Command, args []string) error { return runBatch(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.out, "out", "o", "", "a `FILE` for the answers, which an earlier run may have begun (default standard output, as rows are done)")
	flags.StringVar(&f.prompt, "prompt", "", "what each row asks, a `TEXT` or @FILE, with {{.name}} for the row's fields")
	flags.StringVar(&f.format, "format", "", "how FILE is written: jsonl or csv (default by its name, else by its content)")
	flags.IntVar(&f.limit, "limit", 0, "ask the first `N` rows alone, to try (default all)")
	flags.IntVar(&f.concurrency, "concurrency", llmcall.DefaultEachConcurrency, "at most so many rows at a time, `N`; it begins with 8")
	flags.StringVar(&f.giveUpAfter, "give-up-after", "", "how long to go on without one answer: seconds, a duration like 30m, or never (default 10m)")
	flags.StringVar(&f.maxCost, "max-cost", "", "the most that this run may cost, in dollars (default no limit; a row's own limit is max_cost in a configuration)")
	flags.StringVar(&f.maxTokens, "max-tokens-total", "", "the most tokens, `N`, that this run may use, prompts and answers together (default no limit)")
	flags.Var(&f.again, "retry-failed", "also ask the rows that have an error, or those with the error `[REASON]`")
	flags.Lookup("retry-failed").NoOptDefVal = "true"
	flags.BoolVar(&f.unordered, "unordered", false, "leave the lines in the order in which the rows were done")
	f.programFlags.register(cmd, rowSettings)
	flags.Lookup("image").Usage = "a picture that goes with each row, repeatable: a `FILE`, an http(s) address or a data URI, with {{.name}} for the row's fields"
	flags.Lookup("file").Usage = "a `FILE` that goes with each row, repeatable, with {{.name}} for the row's fields"
	flags.StringVar(&f.human, "human", "", "tell a webhook of each row that a person must decide: an https `ADDRESS`, signed by $LLMCALL_WEBHOOK_SECRET")
	flags.StringVar(&f.review, "review", "", "a `DIR` for the rows that a person must decide, for llmcall resume (default that of -o with .review)")
	f.registerExpires(cmd)
	f.registerTape(cmd)
	flags.BoolVar(&f.dryRun, "dry-run", false, "say how many rows, tokens, dollars and minutes it is, print the first request, and send nothing")
	return cmd
}

// read looks at the flags before anything is read.
func (f *batchFlags) read(cmd *cobra.Command) error {
	if f.format != "" && !slices.Contains(rows.Formats, rows.Format(f.format)) {
		return fmt.Errorf("--format must be %s, got %s", nearest.List(rows.Format(f.format), rows.Formats), nearest.Shown(rows.Format(f.format), rows.Formats))
	}
	if f.concurrency < 1 {
		return fmt.Errorf("--concurrency must be a whole number >= 1, got %d", f.concurrency)
	}
	if cmd.Flags().Changed("limit") && f.limit < 1 {
		return fmt.Errorf("--limit must be a whole number >= 1, got %d", f.limit)
	}
	switch f.giveUpAfter {
	case "":
	case "never":
		f.patience = -1
	default:
		var cfg llmcall.RetryConfig
		if err := cfg.Set("max_time", f.giveUpAfter); err != nil || cfg.MaxTime == 0 {
			return fmt.Errorf("--give-up-after must be a time above 0 (seconds, or a duration like 30m) or never, got %q", f.giveUpAfter)
		}
		f.patience = cfg.MaxTime
	}
	if f.out == "-" || f.out == "/dev/stdout" {
		f.out = ""
	}
	if f.out == "" && f.again.given {
		return errors.New("--retry-failed needs -o FILE: it reads there which rows have failed")
	}
	if f.human == "terminal" {
		return errors.New("--human must be an https address, got terminal: many rows are asked at once; llmcall resume decides about those that wait")
	}
	return f.handover.read()
}

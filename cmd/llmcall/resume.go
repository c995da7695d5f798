package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"llmcall"
	"llmcall/llm"
	"llmcall/review"

	"github.com/spf13/cobra"
)

// resumeFlags are the flags of llmcall resume.
type resumeFlags struct {
	ending
	accept     bool
	edit, hint string
	abort      abortFlag
}

// abortFlag is --abort, which may have a reason.
type abortFlag struct {
	given  bool
	reason string
}

// Set reads a reason, or true or false.
func (a *abortFlag) Set(value string) error {
	switch value {
	case "", "true":
		*a = abortFlag{given: true}
	case "false":
		*a = abortFlag{}
	default:
		*a = abortFlag{true, value}
	}
	return nil
}

func (a *abortFlag) String() string { return a.reason }

// Type is that of a flag that may be without a value.
func (a *abortFlag) Type() string { return "bool" }

func resumeCommand() *cobra.Command {
	var f resumeFlags
	cmd := &cobra.Command{
		Use:   "resume [flags] FILE",
		Short: "Decide about a call that waits for a person",
		Long: `Decide about a call that waits for a person: call has ended with exit code 5, and
FILE has all of it. Of several who decide at once, one is taken. Without a decision
it is asked for at the terminal.

--accept takes the last answer as it is. --edit takes your answer if it passes the
checks. --hint asks the models again, from the first stage on and with attempts of
their own; they are told the hint. --abort ends the call without an answer.

Keys come from the environment, as for call; they are needed for --hint, and for
checks that ask a model.

` + exitCodesHelp,
		Example: `  llmcall resume review.json
  llmcall resume review.json --accept
  llmcall resume review.json --edit answer.json --output json
  echo 42 | llmcall resume review.json --edit -
  llmcall resume review.json --hint "The year is 1989" --trace
  llmcall resume review.json --abort "nobody needs it any more"`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && f.abort.given && f.abort.reason == "" {
				return nil // --abort REASON
			}
			if len(args) != 1 {
				return fmt.Errorf("expected one FILE, got %d; quote a text that has spaces", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"json"}, cobra.ShellCompDirectiveFilterFileExt),

		RunE: func(cmd *cobra.Command, args []string) error { return runResume(cmd, &f, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.accept, "accept", false, "the last answer is right as it is, whatever its checks say")
	flags.StringVar(&f.edit, "edit", "", "a `FILE` with the answer, - for standard input; it must pass the checks")
	flags.StringVar(&f.hint, "hint", "", "a `TEXT` that the models are told when they are asked again")
	flags.Var(&f.abort, "abort", "there is to be no answer; a `REASON` may follow")
	flags.Lookup("abort").NoOptDefVal = "true"
	flags.StringVar(&f.save, "save", "", "a `FILE` for the conversation with its answer; --continue reads it")
	f.register(cmd)
	return cmd
}

// decision returns what the flags decide, and the name of the review file. Without a flag
// the verdict is "".
func (f *resumeFlags) decision(cmd *cobra.Command, args []string) (d llmcall.Decision, file string, err error) {
	file = args[0]
	if len(args) == 2 {
		f.abort.reason = args[1]
		if _, err := os.Stat(file); err != nil { // --abort REASON FILE
			file, f.abort.reason = args[1], args[0]
		}
	}
	given := 0
	flags := cmd.Flags()
	if f.accept {
		given++
		d = llmcall.Decision{Verdict: llmcall.VerdictAccept}
	}
	if flags.Changed("edit") {
		given++
		text, err := readText(cmd.Context(), cmd.InOrStdin(), f.edit)
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e // FILE is another one here
		}
		if err != nil {
			return d, "", fmt.Errorf("--edit: %w", err)
		}
		d = llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")}
	}
	if flags.Changed("hint") {
		given++
		d = llmcall.Decision{Verdict: llmcall.VerdictHint, Text: f.hint}
	}
	if f.abort.given {
		given++
		d = llmcall.Decision{Verdict: llmcall.VerdictAbort, Text: f.abort.reason}
	}
	if given > 1 {
		return d, "", fmt.Errorf("expected one of --accept, --edit, --hint and --abort, got %d of them", given)
	}
	return d, file, nil
}

func runResume(cmd *cobra.Command, f *resumeFlags, args []string) error {
	d, file, err := f.decision(cmd, args)
	if err != nil {
		return err
	}
	if d.Verdict == "" && f.human == "" {
		if _, err := atTerminal(cmd); err != nil {
			return errors.New("expected --accept, --edit FILE, --hint TEXT or --abort; without them the decision is asked for at a terminal, and there is none")
		}
		f.human = "terminal"
	}
	if err := f.read(cmd); err != nil {
		return err
	}
	if d.Verdict == "" && f.person == nil {
		return errors.New("expected --accept, --edit FILE, --hint TEXT or --abort")
	}
	kept, claim, err := review.Claim(file)
	if err != nil {
		return inResumeWords(err)
	}
	s := &session{ending: &f.ending, cmd: cmd, file: file, claim: claim, expires: kept.Expires}
	defer func() { s.fleet.leave() }() // restore joins it
	end, err := s.restore(kept, d.Verdict)
	if err != nil {
		return errors.Join(err, s.release())
	}
	defer end()
	var result *llmcall.Result
	if d.Verdict == "" {
		result, err = s.ask(kept.Review)
	} else {
		result, err = s.resume(kept.Review, d)
	}
	if again, ok := errors.AsType[*llmcall.HumanReviewError](err); ok && again != kept.Review {
		result, err = s.handOver(again)
	}
	return s.finish(kept.Review.Request.Messages, result, err, false)
}

// restore makes the session's client of what the file keeps. Models and judges that the
// verdict does not need are not opened, and need no key.
func (s *session) restore(kept *review.File, verdict llmcall.Verdict) (end func(), err error) {
	s.program = &program{}
	if len(kept.Program) > 0 {
		if err := json.Unmarshal(kept.Program, s.program); err != nil {
			return nil, fmt.Errorf("%s was written by another program: %w", s.file, err)
		}
	}
	asks := verdict == llmcall.VerdictHint || verdict == ""
	if asks {
		if s.fleet, err = s.program.join(onStandardError(s.cmd)); err != nil {
			return nil, err
		}
	}
	cfg, checks, err := s.program.read(asks || verdict == llmcall.VerdictEdit)
	if err != nil {
		return nil, err
	}
	var models []llm.Model
	end = func() {}
	if asks {
		var disconnect func()
		if disconnect, err = connect(s.cmd.Context(), &cfg); err != nil {
			return nil, err
		}
		models, end, err = s.program.open(s.cmd, &cfg, nil)
		if err != nil {
			disconnect()
			return nil, err
		}
		closeModels := end
		end = func() { closeModels(); disconnect() }
	} else {
		standInTools(&cfg)
		models = standIns(&cfg)
	}
	if err := s.compile(models, checks, cfg); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// standIns returns models that are never asked, under the names of those that are.
func standIns(cfg *llmcall.RetryConfig) []llm.Model {
	names := cfg.AllModels()
	if len(names) == 0 {
		names = []string{"nobody"}
	}
	var all []llm.Model
	for _, name := range names {
		prefix, _, _ := strings.Cut(name, "/")
		for range max(1, len(cfg.Providers[prefix].Keys)) {
			all = append(all, llm.Func(name, nil))
		}
	}
	return all
}

// inResumeWords returns an error of package review as the command says it.
func inResumeWords(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Op == "stat" {
		return fmt.Errorf("FILE: open %s: %w", e.Path, e.Err)
	}
	return errors.New(strings.ReplaceAll(err.Error(), "review: ", ""))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/internal/results"
	"llmcall/internal/rows"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"

	"github.com/spf13/cobra"
)

// grace is how long requests in flight may go on after Ctrl-C.
const grace = 10 * time.Second

// batch is a run of llmcall batch.
type batch struct {
	*batchFlags
	cmd     *cobra.Command
	args    []string
	program *program
	cfg     llmcall.RetryConfig
	checks  []validate.Strategy
	form    *batchForm
	source  *rows.Source
	summary rows.Summary
	reading *time.Timer // see sayIfItTakesLong
	bad     badRows
	fleet   *beside // what it has to say

	client *llmcall.Client
	of     []byte // what decides about all answers; see ofTheAnswer
	out    *results.File
	match  results.Match
	toAsk  int

	progress *batchProgress
	display  batchDisplay
	tally    *batchTally
}

// badRows are rows that can't be asked.
type badRows struct {
	count int
	first error
}

// runBatch reads everything that can be wrong before it makes a call.
func runBatch(cmd *cobra.Command, f *batchFlags, args []string) (err error) {
	if err := f.read(cmd); err != nil {
		return err
	}
	if args, err = f.withReason(args); err != nil {
		return err
	}
	b := &batch{batchFlags: f, cmd: cmd, args: args}
	if b.program, err = f.program(cmd, f.human != ""); err != nil {
		return err
	}
	if b.program.tape, err = openTape(cmd, f.record, f.replay); err != nil {
		return err
	}
	early := *b.program // a wrong setting is said before the rows are read
	if _, _, err := early.read(false); err != nil {
		return err
	}
	if b.form, err = f.newForm(b.program); err != nil {
		return err
	}
	defer b.sayIfItTakesLong(args[0])()
	if b.source, err = rows.Open(cmd.Context(), args[0], cmd.InOrStdin(), rows.Format(f.format)); err != nil {
		return b.inputError(err)
	}
	defer b.source.Close()
	if f.out != "" && b.source.Is(f.out) {
		return fmt.Errorf("--out: %s is the file with the rows: name another one", f.out)
	}
	if err := b.survey(); err != nil {
		return b.inputError(err)
	}
	b.reading.Stop()
	b.fleet = &beside{before: onStandardError(cmd)}
	if !f.dryRun {
		fleet, err := b.program.join(b.fleet.say)
		if err != nil {
			return err
		}
		defer fleet.leave()
	}
	given := b.program.Model
	if b.cfg, b.checks, err = b.program.read(true); err != nil {
		return err
	}
	if mixed := b.summary.Mixed; mixed != nil && given == "" && b.program.Model == b.program.named {
		return mixed
	}
	if b.summary.URL != "" && b.form.schema == nil { // lines of OpenAI's batch API, which may have a schema
		b.checks = append([]validate.Strategy{validate.RequestSchema()}, b.checks...)
	}
	if err := f.limitRun(&b.cfg); err != nil {
		return err
	}
	disconnect, err := connect(cmd.Context(), &b.cfg)
	if err != nil {
		return err
	}
	defer disconnect()
	if f.dryRun {
		return b.forecast()
	}
	models, closeModels, err := b.program.open(cmd, &b.cfg, nil)
	if err != nil {
		return err
	}
	defer closeModels()
	if b.of, err = f.ofTheAnswer(b.program, models, b.form.text); err != nil {
		return err
	}
	return b.run(models)
}

// sayIfItTakesLong says that the rows are being read, unless it is stopped soon. Nobody may
// be writing to standard input.
func (b *batch) sayIfItTakesLong(name string) (stop func()) {
	errs, text := b.cmd.ErrOrStderr(), "still reading "+printable(name)
	if name == "-" {
		text = "still reading standard input"
	}
	b.reading = time.AfterFunc(patience, func() { fmt.Fprintf(errs, "llmcall: %s\n", text) })
	return func() { b.reading.Stop() }
}

// inputError returns an error of the input as the command says it.
func (b *batch) inputError(err error) error {
	if b.cmd.Context().Err() != nil {
		return errInterrupted
	}
	if _, ok := errors.AsType[*rows.Error](err); ok {
		return err
	}
	return fmt.Errorf("FILE: %w", err)
}

// survey looks at all rows. Rows that can't be asked are not in the way of the others, unless
// there are no others: then it is the prompt that is wrong.
func (b *batch) survey() error {
	var err error
	b.summary, err = b.source.Survey(b.form.Form, func(row *rows.Row, _ *llm.Request, err error) error {
		if b.cmd.Context().Err() != nil {
			return errInterrupted
		}
		if err == nil {
			err = b.form.check(row)
		}
		if err != nil {
			if b.bad.count == 0 {
				b.bad.first = err
			}
			b.bad.count++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case b.summary.Rows == 0:
		return fmt.Errorf("%s has no rows", b.source.Name())
	case b.bad.count == b.summary.Rows:
		return b.bad.first
	}
	if b.summary.Model != "" {
		b.program.named = "openai/" + b.summary.Model
		if b.summary.URL == rows.ResponsesURL { // what is beside the messages is of its protocol alone
			b.program.named = "openai-responses/" + b.summary.Model
		}
	}
	return nil
}

// limitRun gives all calls an account, if the run has a limit.
func (f *batchFlags) limitRun(cfg *llmcall.RetryConfig) error {
	var limit llmcall.RetryConfig
	for _, s := range []struct{ flag, field, value string }{
		{"max-cost", "max_cost", f.maxCost}, {"max-tokens-total", "max_tokens_total", f.maxTokens},
	} {
		if s.value == "" {
			continue
		}
		if err := limit.Set(s.field, s.value); err != nil {
			if e, ok := errors.AsType[*llmcall.ConfigError](err); ok {
				e.Field = "--" + s.flag
			}
			return err
		}
	}
	amount := endpoint.Amount{Tokens: limit.MaxTokensTotal, Nanos: int64(math.Round(limit.MaxCost * account.Dollar))}
	if amount == (endpoint.Amount{}) {
		return nil
	}
	cfg.Account = account.New(amount)
	cfg.Account.Name = "the run"
	return cfg.Validate()
}

// first returns how many rows are looked at.
func (b *batch) first() int {
	if b.limit > 0 {
		return min(b.limit, b.summary.Rows)
	}
	return b.summary.Rows
}

// compare finds out which rows are done.
func (b *batch) compare() error {
	b.reading.Reset(patience)
	defer b.reading.Stop()
	keys := make([]results.Key, 0, b.summary.Rows)
	for row, err := range b.source.All() {
		if err != nil {
			return b.inputError(err)
		}
		keys = append(keys, b.key(row))
	}
	b.match = b.out.Match(keys, b.again.takes)
	if m := b.match; b.again.given && m.Stale > 0 && m.Done+m.Retried == 0 {
		return fmt.Errorf("--retry-failed: no line of %s fits any more: the prompt, models, checks or settings have changed, and all rows would be asked again; leave it out for that, or put the rows that failed into a file of their own", b.batchFlags.out)
	}
	for number := 1; number <= b.first(); number++ {
		if !b.out.Done(number) {
			b.toAsk++
		}
	}
	return nil
}

func (b *batch) key(row *rows.Row) results.Key {
	if contents := b.form.contents(row); contents != nil {
		return results.Identify(b.of, row.Raw, contents)
	}
	return results.Identify(b.of, row.Raw)
}

// run asks the rows that are not done.
func (b *batch) run(models []llm.Model) (err error) {
	b.out = results.Stream(b.cmd.OutOrStdout())
	if b.batchFlags.out != "" {
		if b.out, err = results.Open(b.batchFlags.out); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	defer func() {
		if e := b.out.Close(); e != nil && err == nil {
			err = fmt.Errorf("%w: %w", errOutput, e)
		}
	}()
	if err := b.compare(); err != nil {
		return err
	}
	b.progress = newBatchProgress(b.toAsk)
	b.tally = newBatchTally(b.match.Failed)
	b.cfg.Observer = b.progress.observe
	if b.client, err = newClient(models, b.checks, b.cfg); err != nil {
		return err
	}
	for _, line := range b.opening() {
		b.tell(line)
	}
	ended := b.ask()
	if ended == nil && b.allDone() && !b.unordered {
		if err := b.out.Order(); err != nil {
			ended = fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	return b.ending(ended)
}

// ask asks the rows that are not done, and returns why it has ended before all were asked.
func (b *batch) ask() error {
	if b.toAsk == 0 {
		return nil
	}
	b.display = newBatchDisplay(b.cmd, b.progress)
	b.fleet.draws(b.display.say)
	defer func() {
		b.fleet.draws(nil)
		b.display.end()
	}()
	ctx := b.cmd.Context()
	stopSaying := context.AfterFunc(ctx, func() {
		b.display.say(fmt.Sprintf("interrupted: requests in flight may finish within %v; once more ends at once", grace))
	})
	defer stopSaying()
	var broken error
	pending := b.pending(&broken)
	config := llmcall.EachConfig{Concurrency: b.concurrency, GiveUpAfter: b.patience, Grace: grace}
	request := func(row *askedRow) (*llm.Request, error) { return b.form.request(row.Row) }
	for row, err := range llmcall.Each(ctx, b.client, pending, request, config) {
		if err != nil {
			return err
		}
		if err := b.done(row); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	if broken != nil {
		return broken
	}
	return b.settle()
}

// askedRow is a row with its identity of the moment before it is asked: its files may change
// until it is done.
type askedRow struct {
	*rows.Row
	key results.Key
}

// pending yields the rows that are to be asked.
func (b *batch) pending(broken *error) iter.Seq[*askedRow] {
	return func(yield func(*askedRow) bool) {
		for row, err := range b.source.All() {
			if err != nil {
				*broken = err
				return
			}
			if row.Number > b.first() {
				return
			}
			if !b.out.Done(row.Number) && !yield(&askedRow{row, b.key(row)}) {
				return
			}
		}
	}
}

// done writes what became of a row.
func (b *batch) done(row llmcall.EachRow[*askedRow]) error {
	trace := traceOf(row.Err)
	if row.Result != nil {
		trace = row.Result.Trace
	}
	used := trace.Usage != (llm.Usage{})
	if row.NotDone || b.ofTheRun(row.Err) {
		b.progress.ended(rowStopped, trace.Cost, used)
		b.tally.stopped(row)
		return nil
	}
	line := b.lineOf(row.Row, &trace)
	if row.Result == nil {
		var err error
		if line.Error, err = b.lineError(row); err != nil {
			return err
		}
		if err := b.out.Append(line); err != nil {
			return err
		}
		b.progress.ended(rowFailed, trace.Cost, used)
		b.tally.failed(row.Row, line.Error, briefly(line.Error, row.Err))
		return nil
	}
	line.Answer, line.ToolCalls = &row.Result.Text, row.Result.Response.Message.ToolCalls()
	if row.Result.Decoded {
		line.Value = row.Result.Value
		if line.Value == nil {
			line.Value = json.RawMessage("null")
		}
	}
	if err := b.out.Append(line); err != nil {
		return err
	}
	b.progress.ended(rowValid, trace.Cost, used)
	return nil
}

// lineOf returns the line of a row, without its answer or error.
func (b *batch) lineOf(row *askedRow, trace *llmcall.Trace) *results.Line {
	line := &results.Line{
		Row: row.Number, Practice: b.program.Practice != nil, Attempts: len(trace.Attempts), Usage: trace.Usage, Key: row.key,
	}
	if row.IDKey == rows.CustomID {
		line.CustomID = row.JSONID()
	} else {
		line.ID = row.JSONID()
	}
	if n := len(trace.Attempts); n > 0 {
		line.Model = trace.Attempts[n-1].Model
	}
	if trace.Usage != (llm.Usage{}) && trace.Cost.Known() {
		line.Cost = &trace.Cost
	}
	return line
}

// settle writes an error for rows that the provider has failed each time, if it answers
// others as a rule: the rows themselves make it fail, and would do so in every run.
func (b *batch) settle() error {
	if !b.progress.answersOthers(b.tally.attempts) {
		return nil
	}
	for _, row := range b.tally.undone {
		e := &results.LineError{Reason: string(llmcall.ReasonProviderFailed), Message: say.Middle(row.said, maxMessage)}
		line := b.lineOf(row.row, &row.trace)
		line.Error = e
		if err := b.out.Append(line); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
		b.progress.settled()
		b.tally.failed(row.row, e, row.said)
	}
	b.tally.undone = nil
	return nil
}

// ofTheRun reports whether what the run may spend is too little for a row alone. Another run
// may spend more.
func (b *batch) ofTheRun(err error) bool {
	refused, ok := errors.AsType[*account.Error](err)
	return ok && b.cfg.Account != nil && refused.Account == b.cfg.Account.Name
}

// allDone reports whether each row of the input has a line.
func (b *batch) allDone() bool {
	for number := 1; number <= b.summary.Rows; number++ {
		if !b.out.Done(number) {
			return false
		}
	}
	return true
}

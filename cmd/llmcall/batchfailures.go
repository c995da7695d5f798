package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/internal/results"
	"llmcall/internal/say"
)

// The reasons of an error that are not a [llmcall.Reason] or a [failure.Kind].
const (
	reasonRow   = "invalid_row" // the row can't be asked
	reasonPanic = "panic"       // a check or a tool panicked
)

// failedReasons are the reasons that a line may have, with what to do then.
var failedReasons = []failedReason{
	{string(llmcall.ReasonNoValidAnswer), "their lines have the complaints; ask again with more attempts", []string{"--max-attempts", moreAttempts}},
	{string(llmcall.ReasonNoProgress), "the model gives the same wrong answer again; ask another one, " + alone, nil},
	{failure.CutOff.String(), "their answers are longer than they may be; ask again with a higher --max-tokens, " + alone, nil},
	{string(llmcall.ReasonProviderFailed), "the provider fails for them each time, and answers others; change them, or ask once more", nil},
	{string(llmcall.ReasonCheckUnavailable), "a check could not be run; when it can, ask again", nil},
	{failure.InvalidRequest.String(), "the provider refuses their requests, as their messages say; when it takes them, ask again", nil},
	{failure.ContextTooLong.String(), "they are too long for the model; ask one that takes more, " + alone, nil},
	{failure.ContentFiltered.String(), "the provider does not answer them; ask another one, " + alone, nil},
	{string(llmcall.ReasonAccountSpent), "max_cost or max_tokens_total of the configuration is too little for them; with more, ask again", nil},
	{string(llmcall.ReasonOutOfTime), "ask again with more time for each row", []string{"--timeout", "10m"}},
	{string(llmcall.ReasonHumanReview), "a person decides: llmcall resume FILE, with the review_file of their lines; or ask the models again", nil},
	{reasonRow, "they can't be asked as they are; when they can, ask again", nil},
	{reasonPanic, "this is a fault in the program: report it, please", nil},
}

// alone says how rows are asked with what would ask all rows of a file again.
const alone = "with these rows in a file of their own (here all rows would be asked again)"

// moreAttempts stands for twice as many attempts as a row has now.
const moreAttempts = "2×"

type failedReason struct {
	name, advice string
	flags        []string // what the next command may need
}

func reasonNames() []string {
	var names []string
	for _, r := range failedReasons {
		names = append(names, r.name)
	}
	return names
}

// takes reports whether rows that have failed for a reason are asked again.
func (a *againFlag) takes(reason string) bool {
	return a.given && (a.reason == "" || a.reason == reason)
}

// withReason finds the reason of --retry-failed REASON among the arguments, and returns the
// others.
func (f *batchFlags) withReason(args []string) ([]string, error) {
	if len(args) == 2 {
		at := 1
		if slices.Contains(reasonNames(), args[0]) {
			at = 0
		}
		f.again.reason = args[at]
		args = []string{args[1-at]}
	}
	if f.again.reason != "" && !slices.Contains(reasonNames(), f.again.reason) {
		return nil, fmt.Errorf("--retry-failed must be a reason of an error (%s), got %s", nearest.List(f.again.reason, reasonNames()), nearest.Shown(f.again.reason, reasonNames()))
	}
	return args, nil
}

// lineError says why a row has no answer. A call that waits for a person is kept in a file.
func (b *batch) lineError(row llmcall.EachRow[*askedRow]) (*results.LineError, error) {
	e := &results.LineError{Reason: reasonOf(row.Err), Message: say.Middle(row.Err.Error(), maxMessage), Answer: lastAnswer(row.Err)}
	if failed, ok := errors.AsType[*llmcall.Error](row.Err); ok {
		e.Complaints = failed.Complaints
	}
	handed, ok := errors.AsType[*llmcall.HumanReviewError](row.Err)
	if !ok {
		return e, nil
	}
	e.Complaints = handed.Complaints
	var err error
	e.Review, err = b.keep(row.Row, handed)
	return e, err
}

// briefly says what is wrong with a row: the first complaint about its answer, or what the
// provider said.
func briefly(e *results.LineError, err error) string {
	if len(e.Complaints) > 0 {
		return e.Complaints[0].String()
	}
	if refused, ok := errors.AsType[*failure.Error](err); ok {
		return refused.Error()
	}
	return e.Message
}

// maxMessage limits the message of an error in characters.
const maxMessage = 2000

// reasonOf returns the reason of a row's error.
func reasonOf(err error) string {
	if _, ok := errors.AsType[*llmcall.PanicError](err); ok {
		return reasonPanic
	}
	if _, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return string(llmcall.ReasonHumanReview)
	}
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok {
		return reasonRow
	}
	if n := len(e.Attempts); n > 0 && e.Attempts[n-1].Outcome == llmcall.OutcomeCutOff {
		return failure.CutOff.String()
	}
	if e.Reason == llmcall.ReasonProviderFailed {
		return failure.KindOf(err).String()
	}
	return string(e.Reason)
}

// keep writes the review file of a row that waits for a person, and returns its name.
func (b *batch) keep(row *askedRow, e *llmcall.HumanReviewError) (string, error) {
	dir := b.reviewDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("--review: %w", err)
	}
	s := session{ending: &ending{handover: b.handover}, cmd: b.cmd, program: b.program, drawn: b.display}
	key, err := row.key.MarshalText()
	if err != nil {
		return "", err
	}
	s.save = filepath.Join(dir, fmt.Sprintf("row-%d-%s.json", row.Number, key))
	return s.save, s.keep(e)
}

// reviewDir is where rows wait for a person.
func (b *batch) reviewDir() string {
	switch {
	case b.review != "":
		return b.review
	case b.batchFlags.out != "":
		return b.batchFlags.out + ".review"
	}
	return "batch.review"
}

// batchTally counts what failed, by its reason.
type batchTally struct {
	counts map[string]int    // also those of earlier runs
	first  map[string]string // of this run
	state  error             // what stopped the first row that is not done

	// The rows that the provider failed, as many as are kept, and its failures.
	undone   []undoneRow
	attempts int
}

// undoneRow is a row that is not done.
type undoneRow struct {
	row   *askedRow
	trace llmcall.Trace
	said  string // by the provider, at last
}

// mostUndone limits how many rows that are not done are kept in memory.
const mostUndone = 1000

func newBatchTally(before map[string]int) *batchTally {
	t := &batchTally{counts: map[string]int{}, first: map[string]string{}}
	for reason, n := range before {
		t.counts[reason] = n
	}
	return t
}

// failed counts a row. brief is what is shown of the error.
func (t *batchTally) failed(row *askedRow, e *results.LineError, brief string) {
	t.counts[e.Reason]++
	if t.first[e.Reason] == "" {
		t.first[e.Reason] = fmt.Sprintf("row %d: %s", row.Number, shown(brief))
	}
}

// stopped notes a row that is not done.
func (t *batchTally) stopped(row llmcall.EachRow[*askedRow]) {
	if t.state == nil {
		t.state = row.Err
	}
	trace, said := traceOf(row.Err), ""
	for _, a := range trace.Attempts {
		if a.Outcome == llmcall.OutcomeFailed && a.Kind != failure.Cancelled {
			said = a.Error
			t.attempts++
		}
	}
	if said == "" || len(t.undone) == mostUndone { // it was not asked, or so many are not exceptions
		return
	}
	t.undone = append(t.undone, undoneRow{row.Row, trace, said})
}

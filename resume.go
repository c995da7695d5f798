package llmcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"llmcall/account"
	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/llm"
	"llmcall/validate"
)

// Verdict is what a person decides about a call; see [Decision].
type Verdict string

// The verdicts.
const (
	VerdictAccept Verdict = "accept" // the last answer is right as it is, whatever the checks say
	VerdictEdit   Verdict = "edit"   // Text is the answer, which must pass the checks
	VerdictHint   Verdict = "hint"   // the models are asked again, and told Text
	VerdictAbort  Verdict = "abort"  // there is to be no answer; Text may say why
)

var verdicts = []Verdict{VerdictAccept, VerdictEdit, VerdictHint, VerdictAbort}

// Decision is the decision of a person about a call that was handed over with a
// [*HumanReviewError].
type Decision struct {
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text,omitempty"` // of an edit, a hint, or the reason to abort
}

// check returns a [*ConfigError] for a decision that can't be carried out.
func (d Decision) check(e *HumanReviewError) error {
	switch {
	case e == nil || e.Request == nil || len(e.Request.Messages) == 0:
		return &ConfigError{Field: "review", Got: "none", Takes: "one with a request"}
	case !slices.Contains(verdicts, d.Verdict):
		return &ConfigError{Field: "verdict", Err: fmt.Errorf("must be one of accept, edit, hint, abort, got %s", nearest.Shown(d.Verdict, verdicts))}
	case d.Verdict == VerdictAccept && e.Last == nil:
		return &ConfigError{Field: "verdict", Err: errors.New("must be edit, hint or abort: there is no answer to accept")}
	case d.Verdict == VerdictAccept && d.Text != "":
		return &ConfigError{Field: "text", Err: errors.New("must be empty for accept: an answer with another text is an edit")}
	case (d.Verdict == VerdictEdit || d.Verdict == VerdictHint) && d.Text == "":
		return &ConfigError{Field: "text", Got: `""`, Takes: "the text of the " + string(d.Verdict)}
	}
	return nil
}

// Resume carries out a person's decision about a call that was handed over. The client
// should have the checks of that call, and for a hint its models and settings: a call with
// a hint has attempts, time and money of its own, and begins at the first stage. The
// [Trace] of the result, or of the error, begins with the attempts that were made before.
//
// The error is a [*ConfigError] for an impossible decision, or an [*Error]: with
// [ReasonNoValidAnswer] for an edit that does not pass the checks, and with
// [ReasonAborted]; a call with a hint may be handed over again. No process waits for a
// person: a *HumanReviewError can be written as JSON and read back, and package
// [llmcall/review] keeps them in files.
func (c *Client) Resume(ctx context.Context, e *HumanReviewError, d Decision) (*Result, error) {
	return c.resume(ctx, e, d, c.checks, nil)
}

// ResumeAsk is [Client.Resume] for a call by [Ask] with the same type, whose answer, also
// an accepted one, must be a T.
func ResumeAsk[T any](ctx context.Context, c *Client, e *HumanReviewError, d Decision) (T, *Result, error) {
	var none T
	s, err := shapeOf[T]()
	if err != nil {
		return none, nil, err
	}
	result, err := c.resume(ctx, e, d, append([]validate.Strategy{s}, c.checks...), s)
	if err != nil {
		return none, nil, err
	}
	answer, err := s.decode([]byte(result.Text))
	return answer, result, err
}

// resume is Resume with the given checks, of which an accepted answer must pass one if it
// is not nil.
func (c *Client) resume(ctx context.Context, e *HumanReviewError, d Decision, checks []validate.Strategy, must validate.Strategy) (*Result, error) {
	if err := d.check(e); err != nil {
		return nil, err
	}
	switch d.Verdict {
	case VerdictAbort:
		text := "a person has ended the call"
		if d.Text != "" {
			text += ": " + d.Text
		}
		return nil, &Error{Reason: ReasonAborted, Last: e.Last, Complaints: e.Complaints, Err: errors.New(text), Trace: e.Trace}
	case VerdictAccept:
		checks = nil
		if must != nil {
			checks = []validate.Strategy{must}
		}
		return c.byHand(ctx, e, d.Verdict, e.Last, checks)
	case VerdictEdit:
		return c.byHand(ctx, e, d.Verdict, llm.Reply(d.Text), checks)
	}
	k, err := c.newCall(e.Request, checks)
	if err != nil {
		return nil, err
	}
	k.last, k.complaint, k.hint = e.Last, e.Complaints, d.Text
	result, err := k.run(ctx)
	if result != nil {
		result.Trace = e.Trace.before(result.Trace)
	}
	switch failed := err.(type) {
	case *Error:
		failed.Trace = e.Trace.before(failed.Trace)
	case *HumanReviewError:
		failed.Trace = e.Trace.before(failed.Trace)
	}
	return result, err
}

// before returns the history of two calls, of which the second continues the first.
func (t Trace) before(next Trace) Trace {
	all := slices.Clone(t.Attempts)
	for _, a := range next.Attempts {
		a.Number += len(t.Attempts)
		if a.Hedge != nil {
			hedge := *a.Hedge
			hedge.Number = a.Number
			a.Hedge = &hedge
		}
		all = append(all, a)
	}
	return Trace{all, t.Usage.Add(next.Usage), t.Cost.Add(next.Cost)}
}

// byHand returns the answer that a person has accepted or written, if it passes the checks.
func (c *Client) byHand(ctx context.Context, e *HumanReviewError, by Verdict, answer *llm.Response, checks []validate.Strategy) (*Result, error) {
	own := c.newPurse()
	if c.priced {
		ctx = own.within(ctx)
	}
	report := validate.Run(ctx, checks, &validate.Answer{Text: answer.Text(), Response: answer, Request: e.Request, Attempt: len(e.Attempts) + 1}, c.cfg.CheckTimeout)
	trace := e.Trace
	trace.Usage, trace.Cost = trace.Usage.Add(report.Usage), trace.Cost.Add(own.takeChecks())
	switch {
	case len(report.Complaints) > 0:
		return nil, &Error{ReasonNoValidAnswer, answer, report.Complaints, &InvalidAnswerError{report.Complaints, failure.InvalidAnswer}, trace}
	case len(report.Failed) > 0:
		reason := ReasonCheckUnavailable
		if _, ok := errors.AsType[*account.Error](report.Failed[0]); ok {
			reason = ReasonAccountSpent
		}
		return nil, &Error{reason, answer, nil, report.Failed[0], trace}
	}
	r := &Result{Response: answer, Text: answer.Text(), Person: by, Trace: trace}
	if report.Decoded {
		r.Text, r.Value, r.Decoded = report.Text, report.Value, true
	}
	return r, nil
}

// reviewJSON is the JSON of a HumanReviewError.
type reviewJSON struct {
	Why          string               `json:"why"`
	Error        string               `json:"error"` // the text of Err
	Request      *llm.Request         `json:"request"`
	Conversation []llm.Message        `json:"conversation"`
	Last         *llm.Response        `json:"last,omitempty"`
	Complaints   []validate.Complaint `json:"complaints,omitempty"`
	Attempts     []Attempt            `json:"attempts,omitempty"`
	Usage        llm.Usage            `json:"usage"`
	Cost         json.RawMessage      `json:"cost,omitempty"` // see Cost.after
}

// MarshalJSON writes everything that a person needs to decide, and [Client.Resume] to go
// on. It holds the whole conversation, and no API key.
func (e *HumanReviewError) MarshalJSON() ([]byte, error) {
	text := ""
	if e.Err != nil {
		text = e.Err.Error()
	}
	return json.Marshal(reviewJSON{e.Why, text, e.Request, e.Conversation, e.Last, e.Complaints, e.Attempts, e.Usage, e.Cost.after(e.Usage)})
}

// UnmarshalJSON reads what [HumanReviewError.MarshalJSON] writes. Of Err only the text is
// left. Unknown fields are ignored, so that a later version may add some.
func (e *HumanReviewError) UnmarshalJSON(data []byte) error {
	var j reviewJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	cost, err := costAfter(j.Cost, j.Usage)
	if err != nil {
		return err
	}
	*e = HumanReviewError{
		Request: j.Request, Conversation: j.Conversation, Last: j.Last, Complaints: j.Complaints, Why: j.Why, Err: errors.New(j.Error),
		Trace: Trace{j.Attempts, j.Usage, cost},
	}
	return nil
}

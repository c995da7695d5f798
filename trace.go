package llmcall

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// Outcome says how an attempt ended; see [Attempt].
type Outcome string

// The outcomes.
const (
	OutcomeValid   Outcome = "valid"             // the answer passed its checks
	OutcomeInvalid Outcome = "invalid"           // the answer did not pass its checks
	OutcomeCutOff  Outcome = "cut_off"           // the answer was cut off, usually at its token limit
	OutcomeFailed  Outcome = "failed"            // there was no answer
	OutcomeChecks  Outcome = "check_unavailable" // the answer could not be checked
	OutcomeLost    Outcome = "lost"              // cancelled, because another request was answered sooner; see [Hedge]
)

// Attempt is one attempt of a call, as [Trace] lists it.
type Attempt struct {
	Number int    // from 1
	Model  string // the full name of the model that was asked
	Stage  string // the name of its stage; see [Stage]
	// Why says why the attempt came to its stage and its model, if it is the first there:
	// "2 attempts have failed", "acme/small: quota_exhausted", and of the first of two
	// models of one name "acme/small (1 of 2): quota_exhausted". "" otherwise.
	Why         string
	Outcome     Outcome
	Kind        failure.Kind // what went wrong; meaningless if Outcome is OutcomeValid
	Error       string       // the text of the failure; "" for a valid answer
	Complaints  []validate.Complaint
	Answer      string            // the text of an answer that is not valid; "" if none arrived, or if it is valid
	Repaired    []validate.Repair // the changes that made the answer JSON; see [validate.JSONWithRepair]
	Skipped     []string          // the costly checks that were not run, because a check complained or could not be run
	Start       time.Time
	Duration    time.Duration    // of the attempt itself, without Delay
	Delay       time.Duration    // the actual wait before the attempt
	DelayReason retry.WaitReason // the reason of the wait
	Usage       llm.Usage        // of the model that was asked
	CheckUsage  llm.Usage        // of the checks that ask a model
	Cost        Cost             // of both, and of what a tool has asked on behalf of the call
	Hedge       *Attempt         // the second request of the attempt; nil if there was none; see [Hedge]
	Tools       []ToolRun        // the calls of tools that were carried out, in order
	Circuit     string           // the circuit breaker's state after the attempt; "" without one
	// Notes say what the requests lacked of what was asked for, such as a schema that
	// the provider refused to enforce; see [endpoint.Noted].
	Notes []string

	target int  // the index of Model among the client's
	quotes bool // Error is that of a call within the model, and may quote an answer
}

// ToolRun is one call of a tool that was carried out. Its JSON has the duration in
// milliseconds.
type ToolRun struct {
	Name     string
	Duration time.Duration
	Error    string // the tool's error, or why it was not run; "" for none
	Bytes    int    // of the result as the tool gave it
	Again    bool   // the result is that of an earlier call; see [Tool.Once]
}

type toolRunJSON struct {
	Name       string  `json:"name"`
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
	Bytes      int     `json:"bytes"`
	Again      bool    `json:"again,omitempty"`
}

// MarshalJSON writes {"name": "lookup", "duration_ms": 12, "bytes": 80}.
func (r ToolRun) MarshalJSON() ([]byte, error) {
	return json.Marshal(toolRunJSON{r.Name, milliseconds(r.Duration), r.Error, r.Bytes, r.Again})
}

// UnmarshalJSON reads what [ToolRun.MarshalJSON] writes.
func (r *ToolRun) UnmarshalJSON(data []byte) error {
	var j toolRunJSON
	err := json.Unmarshal(data, &j)
	*r = ToolRun{j.Name, ofMilliseconds(j.DurationMS), j.Error, j.Bytes, j.Again}
	return err
}

// attemptJSON is the JSON of an Attempt.
type attemptJSON struct {
	Number      int                  `json:"number"`
	Model       string               `json:"model"`
	Stage       string               `json:"stage"`
	Why         string               `json:"why,omitempty"`
	Outcome     Outcome              `json:"outcome"`
	Kind        string               `json:"kind"` // "" of a valid answer
	Error       string               `json:"error"`
	Complaints  []validate.Complaint `json:"complaints"`
	Answer      string               `json:"answer,omitempty"`
	DurationMS  float64              `json:"duration_ms"`
	DelayMS     float64              `json:"delay_ms"`
	DelayReason retry.WaitReason     `json:"delay_reason"`
	Circuit     string               `json:"circuit"`
	Usage       llm.Usage            `json:"usage"`
	CheckUsage  llm.Usage            `json:"check_usage,omitzero"`
	Cost        json.RawMessage      `json:"cost,omitempty"` // see Cost.after
	Hedge       *Attempt             `json:"hedge,omitempty"`
	Tools       []ToolRun            `json:"tools,omitempty"`
	Repaired    []validate.Repair    `json:"repaired,omitempty"`
	Skipped     []string             `json:"skipped_checks,omitempty"`
	Notes       []string             `json:"notes,omitempty"`
}

// MarshalJSON returns the object that `llmcall call --output json` prints for an
// attempt. Start is not in it.
func (a Attempt) MarshalJSON() ([]byte, error) {
	kind := ""
	if a.Outcome != OutcomeValid && a.Outcome != OutcomeLost {
		kind = a.Kind.String()
	}
	complaints := a.Complaints
	if complaints == nil {
		complaints = []validate.Complaint{}
	}
	return json.Marshal(attemptJSON{
		a.Number, a.Model, a.Stage, a.Why, a.Outcome, kind, a.Error, complaints, a.Answer, milliseconds(a.Duration),
		milliseconds(a.Delay), a.DelayReason, a.Circuit, a.Usage, a.CheckUsage, a.Cost.after(a.Usage.Add(a.CheckUsage)), a.Hedge, a.Tools, a.Repaired, a.Skipped, a.Notes,
	})
}

// UnmarshalJSON reads the object that [Attempt.MarshalJSON] returns, whose times
// are rounded to microseconds.
func (a *Attempt) UnmarshalJSON(data []byte) error {
	var j attemptJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	var kind failure.Kind
	if j.Kind != "" {
		if err := kind.UnmarshalText([]byte(j.Kind)); err != nil {
			return err
		}
	}
	cost, err := costAfter(j.Cost, j.Usage.Add(j.CheckUsage))
	if err != nil {
		return err
	}
	if len(j.Complaints) == 0 {
		j.Complaints = nil
	}
	*a = Attempt{
		Number: j.Number, Model: j.Model, Stage: j.Stage, Why: j.Why, Outcome: j.Outcome, Kind: kind, Error: j.Error, Complaints: j.Complaints, Answer: j.Answer,
		Repaired: j.Repaired, Skipped: j.Skipped, Duration: ofMilliseconds(j.DurationMS), Delay: ofMilliseconds(j.DelayMS),
		DelayReason: j.DelayReason, Usage: j.Usage, CheckUsage: j.CheckUsage, Cost: cost, Hedge: j.Hedge, Tools: j.Tools, Circuit: j.Circuit, Notes: j.Notes,
	}
	return nil
}

// milliseconds returns d in milliseconds, with microseconds as decimals.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ofMilliseconds(n float64) time.Duration {
	return time.Duration(math.Round(n*1000)) * time.Microsecond
}

// Trace is the history of a call. [Result], [Error] and [HumanReviewError] have
// one.
type Trace struct {
	Attempts []Attempt
	Usage    llm.Usage // of all attempts and their checks together
	Cost     Cost      // of all together, hedges too
}

// Result is an answer that passed its checks, as [Client.Do] returns it.
type Result struct {
	Response *llm.Response // the answer as the model gave it
	// Text is the answer's text. If a check decoded it as JSON, it is the JSON,
	// without a fence around it.
	Text string
	// Value is the JSON value that a check decoded from the answer, with numbers as
	// [json.Number]. Decoded says whether there is one.
	Value   any
	Decoded bool
	Model   string // the full name of the model that answered
	// Person is the decision by which a person has accepted or written the answer; ""
	// for the answer of a model. Model is "" then.
	Person Verdict
	Trace
}

// Decode unmarshals the answer's text as JSON into v. The error is that of
// [json.Unmarshal].
func (r *Result) Decode(v any) error { return json.Unmarshal([]byte(r.Text), v) }

// Reason says why a call ended without an answer that passed its checks.
type Reason string

// The reasons. The details of what ended the call are in the [*retry.Error] that
// an [*Error] wraps.
const (
	ReasonNoValidAnswer    Reason = "no_valid_answer"    // no answer passed its checks
	ReasonNoProgress       Reason = "no_progress"        // the model keeps giving the same wrong answer
	ReasonCheckUnavailable Reason = "check_unavailable"  // an answer could not be checked
	ReasonProviderFailed   Reason = "provider_failed"    // the provider failed permanently, or at every attempt
	ReasonRateLimited      Reason = "rate_limited"       // a rate limit lasts longer than the call may wait
	ReasonCircuitOpen      Reason = "circuit_open"       // the circuit breaker refused the call
	ReasonRetryBudgetSpent Reason = "retry_budget_spent" // the endpoint's budget allows no retry for now
	ReasonAccountSpent     Reason = "account_spent"      // a guard refused the call: what its caller allowed to spend is used up
	ReasonOutOfTime        Reason = "out_of_time"        // the deadline has passed, or is too early for the next wait
	ReasonCancelled        Reason = "cancelled"          // the caller ended the call
	ReasonAborted          Reason = "aborted"            // a person has ended the call; see [Client.Resume]
	ReasonHumanReview      Reason = "human_review"       // a person must look; see [HumanReviewError]
)

// Error is the error of a call without a valid answer, for every reason but
// [ReasonHumanReview]. It wraps the [*retry.Error], and by that the last failure and
// whatever else ended the call: a [*failure.Error], [*breaker.OpenError],
// [*InvalidAnswerError] or [*validate.CheckError], or the context's error.
type Error struct {
	Reason     Reason               // why the call ended
	Last       *llm.Response        // the last answer; nil if there was none
	Complaints []validate.Complaint // about the last answer
	Err        error                // what ended the call; never nil
	Trace
}

// Error describes what ended the call.
func (e *Error) Error() string {
	switch e.Reason {
	case ReasonNoValidAnswer:
		return fmt.Sprintf("no valid answer: %v", e.Err)
	case ReasonNoProgress:
		return fmt.Sprintf("no valid answer, and the model keeps giving the same answer: %v", e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// HumanReviewError hands a call over to a person, who decides by [Client.Resume] what
// becomes of it. It can be written as JSON and read back. It is returned because the last
// stage is human, or because
// [RetryConfig.MaxAttemptsBeforeHuman] attempts have failed, a check asked for it,
// or the model made no progress.
type HumanReviewError struct {
	Request      *llm.Request         // as it was made, with the defaults of the configuration
	Conversation []llm.Message        // as last sent, followed by the last answer
	Last         *llm.Response        // the last answer; nil if there was none
	Complaints   []validate.Complaint // about the last answer; the trace has those about earlier ones
	Why          string               // why a person must look
	Err          error                // the last failure
	Trace
}

// Error describes why a person must look, and the last failure.
func (e *HumanReviewError) Error() string {
	return fmt.Sprintf("a person must look at this: %s: %v", e.Why, e.Err)
}

// Unwrap returns the last failure.
func (e *HumanReviewError) Unwrap() error { return e.Err }

// InvalidAnswerError is the failure of an attempt whose answer did not pass its
// checks or was cut off.
type InvalidAnswerError struct {
	Complaints []validate.Complaint
	kind       failure.Kind
}

// Error lists the complaints, at most 20 and long ones shortened, because the trace
// and every error that wraps this one repeat it.
func (e *InvalidAnswerError) Error() string {
	var texts []string
	for i, c := range e.Complaints {
		if i == maxComplaintsShown {
			texts = append(texts, fmt.Sprintf("and %d more", len(e.Complaints)-i))
			break
		}
		c.Problem, c.Pointer = say.Middle(c.Problem, maxComplaintShown), say.Middle(c.Pointer, maxComplaintShown)
		c.Suggestion = say.Middle(c.Suggestion, maxComplaintShown)
		texts = append(texts, c.String())
	}
	return strings.Join(texts, "; ")
}

// FailureKind returns [failure.InvalidAnswer] or [failure.CutOff].
func (e *InvalidAnswerError) FailureKind() failure.Kind { return e.kind }

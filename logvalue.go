package llmcall

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"llmcall/account"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// A log shows events, attempts, results and errors by the fields that are set, and
// never by texts of prompts and answers, which complaints quote.

// attrs are the attributes of a group.
type attrs []slog.Attr

func (a *attrs) text(key, value string) {
	if value != "" {
		*a = append(*a, slog.String(key, value))
	}
}

func (a *attrs) count(key string, n int64) {
	if n != 0 {
		*a = append(*a, slog.Int64(key, n))
	}
}

func (a *attrs) duration(key string, d time.Duration) {
	if d != 0 {
		*a = append(*a, slog.Duration(key, d))
	}
}

func (a *attrs) names(key string, all []string) {
	if len(all) > 0 {
		*a = append(*a, slog.Any(key, all))
	}
}

func (a *attrs) usage(key string, u llm.Usage) {
	if u == (llm.Usage{}) {
		return
	}
	var tokens attrs
	tokens.count("input_tokens", u.InputTokens)
	tokens.count("output_tokens", u.OutputTokens)
	tokens.count("cached_tokens", u.CachedTokens)
	tokens.count("reasoning_tokens", u.ReasoningTokens)
	tokens.count("cache_write_tokens", u.CacheWriteTokens)
	tokens.count("cache_write_1h_tokens", u.CacheWrite1hTokens)
	tokens.count("audio_tokens", u.AudioTokens)
	tokens.count("cached_audio_tokens", u.CachedAudioTokens)
	*a = append(*a, slog.Attr{Key: key, Value: slog.GroupValue(tokens...)})
}

// cost adds a cost in dollars if it is known.
func (a *attrs) cost(c Cost) {
	if c.Known() && c.Nanos > 0 {
		*a = append(*a, slog.Float64("cost", float64(c.Nanos)/account.Dollar))
	}
}

// LogValue returns the type, the call's number and the fields that are set.
func (e Event) LogValue() slog.Value {
	a := attrs{slog.String("event", e.Type.String()), slog.Uint64("call", e.Call)}
	if e.Attempt.Number != 0 {
		a = append(a, slog.Any("attempt", e.Attempt))
	} else {
		a.text("model", e.Model)
	}
	if e.Type == EventWaiting {
		a = append(a, slog.Duration("wait", e.Wait))
	}
	if e.WaitReason != retry.NoWait {
		a.text("wait_reason", e.WaitReason.String())
	}
	a.duration("duration", e.Duration)
	if e.Result != nil {
		a = append(a, slog.Any("result", e.Result))
	}
	switch err := e.Err.(type) {
	case nil:
	case slog.LogValuer:
		a = append(a, slog.Any("error", err))
	default:
		a.text("error", loggable(err))
	}
	return slog.GroupValue(a...)
}

// LogValue returns the attempt without the text of its answer: for a wrong one,
// with the names of the checks that it did not pass.
func (a Attempt) LogValue() slog.Value {
	var all attrs
	all.count("number", int64(a.Number))
	all.text("model", a.Model)
	all.text("stage", a.Stage)
	all.text("why", a.Why)
	all.text("outcome", string(a.Outcome))
	if a.Outcome != "" && a.Outcome != OutcomeValid {
		all.text("kind", a.Kind.String())
	}
	if a.Outcome == OutcomeFailed && !a.quotes { // the error of any other outcome may quote the answer
		all.text("error", a.Error)
	}
	all.names("checks", checksOf(a.Complaints))
	all.names("skipped_checks", a.Skipped)
	all.count("repairs", int64(len(a.Repaired)))
	all.names("notes", a.Notes)
	if !a.Start.IsZero() {
		all = append(all, slog.Time("start", a.Start))
	}
	all.duration("duration", a.Duration)
	all.duration("delay", a.Delay)
	all.text("delay_reason", a.DelayReason.String())
	all.text("circuit", a.Circuit)
	all.usage("usage", a.Usage)
	all.usage("check_usage", a.CheckUsage)
	all.cost(a.Cost)
	if a.Hedge != nil {
		all = append(all, slog.Any("hedge", a.Hedge))
	}
	return slog.GroupValue(all...)
}

// LogValue returns the attempts by number, as [Attempt.LogValue] does, the
// usage and the cost in dollars.
func (t Trace) LogValue() slog.Value {
	var a attrs
	for _, attempt := range t.Attempts {
		a = append(a, slog.Any(strconv.Itoa(attempt.Number), attempt))
	}
	a.usage("usage", t.Usage)
	a.cost(t.Cost)
	return slog.GroupValue(a...)
}

// LogValue returns the result without the answer: the model, the number of attempts,
// the usage and the cost in dollars. It is empty for nil.
func (r *Result) LogValue() slog.Value {
	if r == nil {
		return slog.Value{}
	}
	var a attrs
	a.text("model", r.Model)
	a.count("attempts", int64(len(r.Attempts)))
	a.usage("usage", r.Usage)
	a.cost(r.Cost)
	return slog.GroupValue(a...)
}

// LogValue returns the error without the answers: the reason, the number of
// attempts, the last failure, and for a wrong answer the names of the checks that
// it did not pass.
func (e *Error) LogValue() slog.Value {
	return failureValue(e.Reason, "", e.Err, e.Complaints, &e.Trace)
}

// LogValue returns what [Error.LogValue] does, and why a person must look.
func (e *HumanReviewError) LogValue() slog.Value {
	return failureValue(ReasonHumanReview, e.Why, e.Err, e.Complaints, &e.Trace)
}

func failureValue(reason Reason, why string, err error, complaints []validate.Complaint, trace *Trace) slog.Value {
	var a attrs
	a.text("reason", string(reason))
	a.text("why", why)
	if err != nil {
		a.text("kind", failure.KindOf(err).String())
		a.text("error", loggable(err))
	}
	a.names("checks", checksOf(complaints))
	a.count("attempts", int64(len(trace.Attempts)))
	a.usage("usage", trace.Usage)
	a.cost(trace.Cost)
	return slog.GroupValue(a...)
}

// loggable returns an error's text, without the parts that may quote an answer.
func loggable(err error) string {
	if _, ok := errors.AsType[*InvalidAnswerError](err); ok {
		return ""
	}
	if e, ok := errors.AsType[*validate.CheckError](err); ok {
		return fmt.Sprintf("check %q could not be run", e.Check)
	}
	return err.Error()
}

// quotes reports whether an error's text may quote an answer. It may be the error
// of a call within the model.
func quotes(err error) bool {
	_, wrong := errors.AsType[*InvalidAnswerError](err)
	_, check := errors.AsType[*validate.CheckError](err)
	return wrong || check
}

// checksOf returns the names of the checks that complain, without duplicates.
func checksOf(complaints []validate.Complaint) []string {
	var names []string
	for _, c := range complaints {
		if !slices.Contains(names, c.Check) {
			names = append(names, c.Check)
		}
	}
	return names
}

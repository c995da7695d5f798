package otel

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"llmcall"
	"llmcall/account"
	"llmcall/llm"
	"llmcall/retry"
)

func (w *watcher) callStarted(ctx context.Context, e *llmcall.Event) context.Context {
	ctx, span := w.tracer.Start(ctx, w.spanName, w.started...)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int64(callID, int64(e.Call)))
		if w.content && e.Request != nil {
			span.SetAttributes(attribute.String(inputMessages, w.conversation(e.Request.Messages)))
		}
	}
	return context.WithValue(ctx, spanKey{w}, span)
}

func (w *watcher) attemptStarted(ctx context.Context, a *llmcall.Attempt) context.Context {
	s := w.subject(a.Model)
	ctx, span := w.tracer.Start(ctx, s.spanName, s.started...)
	if span.IsRecording() {
		all := make(attributes, 0, 6)
		all.count(attemptNumber, int64(a.Number))
		all.count(resendCount, int64(a.Number-1))
		all.text(attemptStage, a.Stage)
		all.text(attemptWhy, a.Why)
		if a.DelayReason != retry.NoWait {
			all = append(all, attribute.Float64(attemptWaited, a.Delay.Seconds()), attribute.String(attemptReason, a.DelayReason.String()))
		}
		span.SetAttributes(all...)
	}
	return context.WithValue(ctx, spanKey{w}, span)
}

func (w *watcher) waiting(ctx context.Context, e *llmcall.Event) {
	if span := w.span(ctx); span.IsRecording() {
		span.AddEvent(eventWait, trace.WithAttributes(
			attribute.String(waitReason, e.WaitReason.String()), attribute.Float64(waitSeconds, e.Wait.Seconds()),
		))
	}
}

func (w *watcher) attemptEnded(ctx context.Context, a *llmcall.Attempt) {
	w.measureAttempt(ctx, a)
	span := w.span(ctx)
	if h := a.Hedge; h != nil {
		w.measureAttempt(ctx, h)
		w.hedge(ctx, h)
	}
	if span.IsRecording() {
		for _, t := range a.Tools {
			w.tool(span, t)
		}
		w.describe(span, a)
	}
	span.End()
}

// hedge writes the span of the second request of an attempt, below the attempt's.
func (w *watcher) hedge(ctx context.Context, a *llmcall.Attempt) {
	s := w.subject(a.Model)
	_, span := w.tracer.Start(ctx, s.spanName, append(slices.Clone(s.started), trace.WithTimestamp(a.Start))...)
	if span.IsRecording() {
		span.SetAttributes(attribute.Bool(attemptHedge, true), attribute.Int(attemptNumber, a.Number))
		w.describe(span, a)
	}
	span.End(trace.WithTimestamp(a.Start.Add(a.Duration)))
}

// describe writes how an attempt has ended.
func (w *watcher) describe(span trace.Span, a *llmcall.Attempt) {
	all := make(attributes, 0, 16)
	all.text(attemptOutcome, string(a.Outcome))
	all.text(attemptCircuit, a.Circuit)
	all.usage(a.Usage, w.names.cacheWrite)
	all.count(checkInput, a.CheckUsage.InputTokens)
	all.count(checkOutput, a.CheckUsage.OutputTokens)
	if a.Cost.Known() && a.Cost.Nanos > 0 {
		all = append(all, attribute.Float64(attemptDollars, float64(a.Cost.Nanos)/account.Dollar))
	}
	if len(a.Notes) > 0 {
		notes := make([]string, len(a.Notes))
		for i, n := range a.Notes {
			notes[i] = w.errors.Text(n)
		}
		all = append(all, attribute.StringSlice(attemptNotes, notes))
	}
	if len(a.Complaints) > 0 {
		all = append(all, attribute.StringSlice(attemptChecks, checksOf(a)))
	}
	if w.content {
		all = append(all, w.quoted(a)...)
	}
	if kind := failed(a); kind != "" {
		all.text(errorType, kind)
		if a.Outcome != llmcall.OutcomeLost {
			span.SetStatus(codes.Error, w.errorOf(a.LogValue()))
		}
	}
	span.SetAttributes(all...)
}

// failed returns what went wrong in an attempt, "" if nothing did.
func failed(a *llmcall.Attempt) string {
	switch a.Outcome {
	case llmcall.OutcomeValid:
		return ""
	case llmcall.OutcomeLost:
		return string(a.Outcome)
	}
	return a.Kind.String()
}

func (w *watcher) tool(span trace.Span, t llmcall.ToolRun) {
	all := attributes{
		attribute.String(toolName, t.Name), attribute.Float64(toolSeconds, t.Duration.Seconds()), attribute.Int(toolBytes, t.Bytes),
	}
	if t.Error != "" {
		all.text(errorType, "tool_error")
		if w.content {
			all.text("llmcall.tool.error", w.filter.Text(t.Error))
		}
	}
	span.AddEvent(eventTool, trace.WithAttributes(all...))
}

func (w *watcher) callEnded(ctx context.Context, e *llmcall.Event) {
	span, reason := w.span(ctx), reasonOf(e)
	w.measureCall(ctx, e, reason)
	if span.IsRecording() {
		all := make(attributes, 0, 6)
		all.text(callReason, reason)
		all.count(callAttempts, int64(attemptsOf(e)))
		if r := e.Result; r != nil {
			all.text(callModel, r.Model)
			all.text(callPerson, string(r.Person))
			if w.content && r.Response != nil {
				all.text(outputMessages, w.conversation([]llm.Message{r.Response.Message}))
			}
		}
		if e.Err != nil {
			all.text(errorType, reason)
			span.SetStatus(codes.Error, w.errorOf(e.LogValue()))
		}
		span.SetAttributes(all...)
	}
	span.End()
}

// valid is the reason of a call that ended with a valid answer.
const valid = "valid"

// reasonOf says why a call has ended.
func reasonOf(e *llmcall.Event) string {
	switch err := e.Err.(type) {
	case nil:
		return valid
	case *llmcall.Error:
		return string(err.Reason)
	case *llmcall.HumanReviewError:
		return string(llmcall.ReasonHumanReview)
	case *llmcall.PanicError:
		return "panic"
	}
	return other
}

// attemptsOf returns how many attempts a call has made.
func attemptsOf(e *llmcall.Event) int {
	switch err := e.Err.(type) {
	case nil:
		return len(e.Result.Attempts)
	case *llmcall.Error:
		return len(err.Attempts)
	case *llmcall.HumanReviewError:
		return len(err.Attempts)
	}
	return 0
}

// errorOf returns the text of the error in what a log shows of an event or an attempt: a log
// never shows what quotes an answer.
func (w *watcher) errorOf(logged slog.Value) string {
	for _, a := range logged.Resolve().Group() {
		if a.Key != "error" {
			continue
		}
		if v := a.Value.Resolve(); v.Kind() == slog.KindGroup {
			return w.errorOf(v)
		}
		return w.errors.Text(a.Value.Resolve().String())
	}
	return ""
}

// checksOf returns the names of the checks that complain.
func checksOf(a *llmcall.Attempt) []string {
	var all []string
	for _, c := range a.Complaints {
		if !slices.Contains(all, c.Check) {
			all = append(all, c.Check)
		}
	}
	return all
}

// attributes are those of a span; what is not set is left out.
type attributes []attribute.KeyValue

func (a *attributes) text(key, value string) {
	if value != "" {
		*a = append(*a, attribute.String(key, value))
	}
}

func (a *attributes) count(key string, n int64) {
	if n != 0 {
		*a = append(*a, attribute.Int64(key, n))
	}
}

func (a *attributes) usage(u llm.Usage, cacheWrite string) {
	if u == (llm.Usage{}) {
		return
	}
	*a = append(*a, attribute.Int64(inputTokens, u.InputTokens), attribute.Int64(outputTokens, u.OutputTokens))
	a.count(cacheRead, u.CachedTokens)
	a.count(cacheWrite, u.CacheWriteTokens)
	a.count(reasoning, u.ReasoningTokens)
}

package otel

import (
	"context"
	"slices"
	"sync"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"llmcall"
	"llmcall/account"
	"llmcall/llm"
	"llmcall/retry"
)

// The boundaries of histograms that the conventions give, in seconds and in tokens. A call
// with its waits takes longer than an attempt.
var (
	attemptSeconds = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	callSeconds    = slices.Concat(attemptSeconds, []float64{163.84, 327.68, 655.36})
	tokenCounts    = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// gauges are the instruments.
type gauges struct {
	call, attempt, delay metric.Float64Histogram
	cost                 metric.Float64Counter
	checks               metric.Int64Counter

	usage metric.Int64Histogram // nil with the latest names, which have what follows instead

	operationInput, operationOutput                 metric.Int64Histogram
	input, output, cacheRead, cacheWrite, reasoning metric.Int64Counter
}

func newGauges(m metric.Meter, n names) *gauges {
	seconds := func(name, description string, bounds []float64) metric.Float64Histogram {
		return made(m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bounds...)))
	}
	tokens := func(name, description string) metric.Int64Histogram {
		return made(m.Int64Histogram(name, metric.WithUnit("{token}"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(tokenCounts...)))
	}
	count := func(name, description string) metric.Int64Counter {
		return made(m.Int64Counter(name, metric.WithUnit("{token}"), metric.WithDescription(description)))
	}
	g := &gauges{
		call:    seconds(callDuration, "Duration of a call with all its attempts and waits.", callSeconds),
		attempt: seconds(n.duration, "Duration of an attempt: its requests, tools and checks.", attemptSeconds),
		delay:   seconds(attemptDelay, "Wait before an attempt.", callSeconds),
		cost:    made(m.Float64Counter(attemptCost, metric.WithUnit("USD"), metric.WithDescription("Cost of attempts and their checks, as far as the price is known."))),
		checks:  count(checkTokens, "Tokens of the models that checks ask."),
	}
	if n.tokens {
		g.usage = tokens(tokenUsage, "Tokens of an attempt.")
		return g
	}
	g.operationInput, g.operationOutput = tokens(operationInput, "Input tokens of an attempt."), tokens(operationOutput, "Output tokens of an attempt.")
	g.input, g.output = count(usageInput, "Input tokens, with those of caches."), count(usageOutput, "Output tokens, with those of reasoning.")
	g.cacheRead, g.cacheWrite = count(usageCacheRead, "Input tokens read from a cache."), count(usageCacheWrite, "Input tokens written to a cache.")
	g.reasoning = count(usageReasoning, "Output tokens of reasoning.")
	return g
}

// made returns an instrument. One that the SDK refuses works too, and does nothing.
func made[T any](instrument T, err error) T {
	if err != nil {
		otelapi.Handle(err)
	}
	return instrument
}

func (w *watcher) measureAttempt(ctx context.Context, a *llmcall.Attempt) {
	if !w.gauges.attempt.Enabled(ctx) {
		return
	}
	l := w.subject(a.Model).measured
	w.gauges.attempt.Record(ctx, a.Duration.Seconds(), l.with(errorType, failed(a)).record...)
	if a.DelayReason != retry.NoWait {
		w.gauges.delay.Record(ctx, a.Delay.Seconds(), l.with(attemptReason, a.DelayReason.String()).record...)
	}
	if a.Cost.Known() && a.Cost.Nanos > 0 {
		w.gauges.cost.Add(ctx, float64(a.Cost.Nanos)/account.Dollar, l.with("", "").add...)
	}
	w.gauges.tokens(ctx, l, a.Usage)
	if a.CheckUsage != (llm.Usage{}) {
		w.gauges.checks.Add(ctx, a.CheckUsage.InputTokens, checked.with(tokenType, "input").add...)
		w.gauges.checks.Add(ctx, a.CheckUsage.OutputTokens, checked.with(tokenType, "output").add...)
	}
}

// tokens counts what a model has used. Of an attempt without an answer nothing is known: it
// is not counted as one of 0 tokens.
func (g *gauges) tokens(ctx context.Context, l *labels, u llm.Usage) {
	if u == (llm.Usage{}) {
		return
	}
	if g.usage != nil {
		g.usage.Record(ctx, u.InputTokens, l.with(tokenType, "input").record...)
		g.usage.Record(ctx, u.OutputTokens, l.with(tokenType, "output").record...)
		return
	}
	all, unknown := l.with("", ""), l.with(tokenModality, "unknown")
	g.operationInput.Record(ctx, u.InputTokens, all.record...)
	g.operationOutput.Record(ctx, u.OutputTokens, all.record...)
	g.input.Add(ctx, u.InputTokens, unknown.add...)
	g.output.Add(ctx, u.OutputTokens, unknown.add...)
	g.cacheRead.Add(ctx, u.CachedTokens, unknown.add...)
	g.cacheWrite.Add(ctx, u.CacheWriteTokens, unknown.add...)
	g.reasoning.Add(ctx, u.ReasoningTokens, all.add...)
}

func (w *watcher) measureCall(ctx context.Context, e *llmcall.Event, reason string) {
	if w.gauges.call.Enabled(ctx) {
		w.gauges.call.Record(ctx, e.Duration.Seconds(), w.calls.with(callReason, reason).record...)
	}
}

// labels are the attributes of measurements of one model, and what they are with one more
// attribute, kept because making a set of attributes is what a measurement costs. The values
// of the further attribute are words of this program: there are few.
type labels struct {
	own []attribute.KeyValue

	mu   sync.Mutex
	sets map[attribute.KeyValue]*options
}

type options struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func newLabels(own ...attribute.KeyValue) *labels {
	return &labels{own: own, sets: map[attribute.KeyValue]*options{}}
}

// checked are the labels of what checks use: which models they ask is not known.
var checked = newLabels()

// with returns the labels with one more attribute; without one if its value is "".
func (l *labels) with(key, value string) *options {
	var more attribute.KeyValue
	if value != "" {
		more = attribute.String(key, value)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.sets[more]
	if o == nil {
		all := slices.Clone(l.own)
		if value != "" {
			all = append(all, more)
		}
		set := metric.WithAttributeSet(attribute.NewSet(all...))
		o = &options{[]metric.RecordOption{set}, []metric.AddOption{set}}
		l.sets[more] = o
	}
	return o
}

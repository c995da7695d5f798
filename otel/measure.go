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
	g, l := w.gauges, w.subject(a.Model).measured
	observe(ctx, g.attempt, a.Duration.Seconds(), l, errorType, failed(a))
	if a.DelayReason != retry.NoWait {
		observe(ctx, g.delay, a.Delay.Seconds(), l, attemptReason, a.DelayReason.String())
	}
	if a.Cost.Known() && a.Cost.Nanos > 0 && g.cost.Enabled(ctx) {
		g.cost.Add(ctx, float64(a.Cost.Nanos)/account.Dollar, l.with("", "").add...)
	}
	g.tokens(ctx, l, a.Usage)
	if a.CheckUsage != (llm.Usage{}) {
		add(ctx, g.checks, a.CheckUsage.InputTokens, checked, tokenType, "input")
		add(ctx, g.checks, a.CheckUsage.OutputTokens, checked, tokenType, "output")
	}
}

// tokens counts what a model has used. Of an attempt without an answer nothing is known: it
// is not counted as one of 0 tokens.
func (g *gauges) tokens(ctx context.Context, l *labels, u llm.Usage) {
	if u == (llm.Usage{}) {
		return
	}
	if g.usage != nil {
		spread(ctx, g.usage, u.InputTokens, l, tokenType, "input")
		spread(ctx, g.usage, u.OutputTokens, l, tokenType, "output")
		return
	}
	spread(ctx, g.operationInput, u.InputTokens, l, "", "")
	spread(ctx, g.operationOutput, u.OutputTokens, l, "", "")
	add(ctx, g.input, u.InputTokens, l, tokenModality, "unknown")
	add(ctx, g.output, u.OutputTokens, l, tokenModality, "unknown")
	add(ctx, g.cacheRead, u.CachedTokens, l, tokenModality, "unknown")
	add(ctx, g.cacheWrite, u.CacheWriteTokens, l, tokenModality, "unknown")
	add(ctx, g.reasoning, u.ReasoningTokens, l, "", "")
}

func (w *watcher) measureCall(ctx context.Context, e *llmcall.Event, reason string) {
	observe(ctx, w.gauges.call, e.Duration.Seconds(), w.calls, callReason, reason)
}

// observe, spread and add measure with labels and one more attribute. An instrument that
// nobody reads costs a question.
func observe(ctx context.Context, h metric.Float64Histogram, v float64, l *labels, key, value string) {
	if h.Enabled(ctx) {
		h.Record(ctx, v, l.with(key, value).record...)
	}
}

func spread(ctx context.Context, h metric.Int64Histogram, n int64, l *labels, key, value string) {
	if h.Enabled(ctx) {
		h.Record(ctx, n, l.with(key, value).record...)
	}
}

func add(ctx context.Context, c metric.Int64Counter, n int64, l *labels, key, value string) {
	if n != 0 && c.Enabled(ctx) {
		c.Add(ctx, n, l.with(key, value).add...)
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

package otel

import (
	"context"
	"net/http"
	"slices"
	"sync"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"llmcall"
	"llmcall/internal/redact"
)

// Options say where traces and metrics go, and what is in them. The zero value works.
type Options struct {
	// TracerProvider makes the spans. Default nil: the process's, which does nothing until
	// [Setup] or the program has set one (go.opentelemetry.io/otel.SetTracerProvider).
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics. Default nil: the process's, as for TracerProvider.
	MeterProvider metric.MeterProvider
	// Name says what the calls are for, such as "invoices". It is part of the name of their
	// spans, so there should be few. Default "": "llmcall".
	Name string
	// Models are the full names that metrics tell apart; any other is "_OTHER". Spans have
	// every name. Default nil: the first 100 that are called.
	Models []string
	// Content adds what is asked and answered, and complaints about it, to the spans: without
	// keys, each text cut to MaxContent characters. Default false, unless the environment
	// variable OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is "true", "span_only" or
	// "span_and_event".
	Content bool
	// MaxContent is how many characters of a text are in a span; of a longer one the middle
	// is left out. Default 0: 4,000.
	MaxContent int
	// Keys are texts to hide wherever they are, besides the API keys in the environment and
	// whatever has the form of a key. One of fewer than 8 bytes is not looked for.
	Keys []string
}

// maxModels is how many models metrics tell apart unless [Options.Models] says which.
const maxModels = 100

// Observer returns an observer that traces and measures calls, for
// [llmcall.RetryConfig.Observer]. See the package's documentation for what it writes.
// It starts no goroutine and needs no end; the providers do.
func Observer(o Options) llmcall.Observer {
	if o.TracerProvider == nil {
		o.TracerProvider = otelapi.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otelapi.GetMeterProvider()
	}
	if o.Name == "" {
		o.Name = scopeName
	}
	w := &watcher{
		names: optedIn(), tracer: o.TracerProvider.Tracer(scopeName), content: o.Content || captures(), filter: redact.New(o.Keys, o.MaxContent), errors: redact.New(o.Keys, 0),
		spanName: opWorkflow + " " + o.Name, models: slices.Clone(o.Models), subjects: map[string]*subject{},
	}
	call := []attribute.KeyValue{attribute.String(operationName, opWorkflow), attribute.String(workflowName, o.Name)}
	w.started, w.calls = []trace.SpanStartOption{trace.WithAttributes(call...)}, newLabels(call...)
	w.gauges = newGauges(o.MeterProvider.Meter(scopeName), w.names)
	return w.observe
}

// scopeName is the name of the instrumentation.
const scopeName = "llmcall"

// TraceID returns the trace that a context belongs to, as 32 hexadecimal digits, or "". In an
// observer that comes after this package's, it is that of the call.
func TraceID(ctx context.Context) string {
	if s := trace.SpanContextFromContext(ctx); s.HasTraceID() {
		return s.TraceID().String()
	}
	return ""
}

// Incoming returns a context in which calls belong to the trace that a request's header
// traceparent names (https://www.w3.org/TR/trace-context/). Without a valid one it returns
// ctx.
func Incoming(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// watcher is an observer. Its span of a call or an attempt is in the context that the
// observer returns, under a key of its own: another observer may put spans above it.
type watcher struct {
	names    names
	tracer   trace.Tracer
	content  bool
	filter   *redact.Filter // of contents
	errors   *redact.Filter
	spanName string // of a call
	started  []trace.SpanStartOption
	calls    *labels
	gauges   *gauges
	models   []string

	mu       sync.Mutex
	subjects map[string]*subject
	unnamed  *subject // what metrics say of the models that they don't tell apart
}

type spanKey struct{ of *watcher }

// span returns the innermost span of the observer in ctx; one that records nothing if there
// is none.
func (w *watcher) span(ctx context.Context) trace.Span {
	if s, ok := ctx.Value(spanKey{w}).(trace.Span); ok {
		return s
	}
	return trace.SpanFromContext(context.Background())
}

func (w *watcher) observe(ctx context.Context, e llmcall.Event) context.Context {
	switch e.Type {
	case llmcall.EventCallStarted:
		return w.callStarted(ctx, &e)
	case llmcall.EventAttemptStarted:
		return w.attemptStarted(ctx, &e.Attempt)
	case llmcall.EventWaiting:
		w.waiting(ctx, &e)
	case llmcall.EventAttemptEnded:
		w.attemptEnded(ctx, &e.Attempt)
	case llmcall.EventCallEnded:
		w.callEnded(ctx, &e)
	}
	return nil
}

// subject is what is said of each attempt of one model.
type subject struct {
	spanName string
	started  []trace.SpanStartOption
	measured *labels
}

// subject returns what is said of a model.
func (w *watcher) subject(fullName string) *subject {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.subjects[fullName]
	if s != nil {
		return s
	}
	_, model := split(fullName)
	own := about(fullName)
	s = &subject{spanName: opChat + " " + model, started: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(own...)}}
	if w.models == nil && len(w.subjects) < maxModels || slices.Contains(w.models, fullName) {
		s.measured = newLabels(own...)
		w.subjects[fullName] = s
		return s
	}
	if w.unnamed == nil {
		w.unnamed = &subject{measured: newLabels(about(other + "/" + other)...)}
	}
	s.measured = w.unnamed.measured
	return s
}

package otel_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"llmcall"
	"llmcall/llm"
	"llmcall/otel"
)

// dropped is an exporter that takes spans and keeps none.
type dropped struct{ tracetest.NoopExporter }

// costs are the ways in which a call may be observed.
func costs(t testing.TB) map[string]llmcall.Observer {
	with := func(tp trace.TracerProvider, mp metric.MeterProvider) llmcall.Observer {
		return otel.Observer(otel.Options{TracerProvider: tp, MeterProvider: mp})
	}
	traced := func(s sdktrace.Sampler) trace.TracerProvider {
		p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&dropped{}), sdktrace.WithSampler(s))
		t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
		return p
	}
	counted := func() metric.MeterProvider {
		p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
		return p
	}
	return map[string]llmcall.Observer{
		"off":                  nil,
		"no-op":                with(tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()),
		"metrics":              with(tracenoop.NewTracerProvider(), counted()),
		"not sampled":          with(traced(sdktrace.NeverSample()), metricnoop.NewMeterProvider()),
		"sampled":              with(traced(sdktrace.AlwaysSample()), metricnoop.NewMeterProvider()),
		"sampled, and metrics": with(traced(sdktrace.AlwaysSample()), counted()),
	}
}

// events are those of a call with one attempt.
func events() (all [4]llmcall.Event) {
	a := llmcall.Attempt{Number: 1, Model: "acme/one", Stage: "basic"}
	all[0] = llmcall.Event{Type: llmcall.EventCallStarted, Call: 1}
	all[1] = llmcall.Event{Type: llmcall.EventAttemptStarted, Call: 1, Attempt: a}
	a.Outcome, a.Duration, a.Usage = llmcall.OutcomeValid, s, llm.Usage{InputTokens: 100, OutputTokens: 10}
	all[2] = llmcall.Event{Type: llmcall.EventAttemptEnded, Call: 1, Attempt: a}
	all[3] = llmcall.Event{Type: llmcall.EventCallEnded, Call: 1, Duration: s, Result: &llmcall.Result{Model: "acme/one", Trace: llmcall.Trace{Attempts: []llmcall.Attempt{a}}}}
	return all
}

func follow(ctx context.Context, o llmcall.Observer, all *[4]llmcall.Event) {
	call := o(ctx, all[0])
	attempt := o(call, all[1])
	o(attempt, all[2])
	o(call, all[3])
}

// BenchmarkObserver is what an observer adds to a call with one attempt. Goal: 20 µs sampled.
func BenchmarkObserver(b *testing.B) {
	all := events()
	for name, o := range costs(b) {
		if o == nil {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				follow(b.Context(), o, &all)
			}
		})
	}
}

// BenchmarkCall is a whole call of a model that answers at once.
func BenchmarkCall(b *testing.B) {
	model := llm.Func("acme/one", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("good"), nil })
	for name, o := range costs(b) {
		b.Run(name, func(b *testing.B) {
			c := client(b, llmcall.RetryConfig{Observer: o}, model)
			req := llm.Prompt("x")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Do(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a call allocates for its observers is bounded: a change that makes each call pay for
// what nobody reads is seen here. Without an observer there is none of it.
func TestWhatObserversAllocate(t *testing.T) {
	all := events()
	for name, o := range costs(t) {
		if o == nil {
			continue
		}
		follow(t.Context(), o, &all) // what is kept for the next call
		most := map[string]float64{"no-op": 4, "metrics": 4, "not sampled": 8, "sampled": 30, "sampled, and metrics": 30}[name]
		if n := testing.AllocsPerRun(100, func() { follow(t.Context(), o, &all) }); n > most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, most)
		}
	}
}

// Package otel traces and measures calls with OpenTelemetry.
//
// A call is a span of kind INTERNAL, and each of its attempts a span of kind CLIENT below it:
//
//	invoke_workflow invoices                       llmcall.reason=valid llmcall.attempts=3
//	├─ chat gpt-6-luna     error.type=transient    llmcall.stage=basic
//	├─ ○ llmcall.wait      llmcall.wait.reason=backoff
//	├─ chat gpt-6-luna     error.type=invalid_answer gen_ai.usage.input_tokens=310
//	└─ chat gpt-6-sol      llmcall.outcome=valid   gen_ai.usage.input_tokens=420
//	   └─ POST             (of an instrumented HTTP client)
//
// Tokens and money are on the spans of attempts alone: those of a wrong answer are billed too,
// and a call that repeated the sums of its attempts would be counted twice by whoever adds up
// all spans. The second request of an attempt ([llmcall.Hedge]) is a span of its own, below
// the attempt's. Tools that were run, and waits, are events of spans. The context of an
// attempt has its span, so that spans of an HTTP client, of tools and of checks are below it,
// and an instrumented client sends it on as traceparent.
//
// No span has a text of a prompt, an answer or a complaint, unless [Options.Content] is set.
// An error has the text that a log of it has too.
//
// The metrics are listed in docs/traces.md. Package metrics has more of them, for Prometheus.
//
//	observer := otel.Observer(otel.Options{Name: "invoices"})
//	client, err := llmcall.New([]llm.Model{model}, checks, llmcall.RetryConfig{Observer: observer})
//
// The names of GenAI that OpenTelemetry gives are in development, and being renamed. Those of
// the conventions v1.41.0 are used, the last ones of OpenTelemetry's core; the variable
// OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental chooses those of the repository to
// which they have moved, as they were on 2026-11-26. Names that begin with "llmcall." are
// this package's.
//
// A model that is itself a call with this observer has its spans within the attempt that
// asks it, and the tokens are on both: observe one of the two.
package otel

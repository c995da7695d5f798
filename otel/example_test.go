package otel_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"llmcall"
	"llmcall/llm"
	"llmcall/otel"
)

func Example() {
	kept := tracetest.NewInMemoryExporter() // a program has its exporter here, or calls Setup
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	defer func() { _ = provider.Shutdown(context.Background()) }()

	model := llm.Func("acme/small", func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
		answer := llm.Reply("Berlin")
		answer.Usage = llm.Usage{InputTokens: 12, OutputTokens: 1}
		return answer, nil
	})
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{
		Observer: otel.Observer(otel.Options{TracerProvider: provider, Name: "capitals"}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?")); err != nil {
		fmt.Println(err)
		return
	}
	for _, span := range kept.GetSpans() {
		fmt.Println(span.SpanKind, span.Name)
	}
	// Output:
	// client chat small
	// internal invoke_workflow capitals
}

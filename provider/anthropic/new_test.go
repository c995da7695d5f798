package anthropic_test

import (
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"llmcall/llm"
	"llmcall/provider/internal/providertest"
)

// tracers counts who asks for a tracer.
type tracers struct {
	noop.TracerProvider
	asked atomic.Int32
}

func (p *tracers) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	p.asked.Add(1)
	return p.TracerProvider.Tracer(name, opts...)
}

// The SDK's spans may hold the prompt, and go by variables of its own.
func TestSpansOfTheSDKAreOff(t *testing.T) {
	t.Setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
	t.Setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
	before, counted := otel.GetTracerProvider(), &tracers{}
	otel.SetTracerProvider(counted)
	defer otel.SetTracerProvider(before)
	e := providertest.NewEcho(t, reply(200, hello))
	m := model(t, e.Server, nil)
	e.Sent(t, m, llm.Prompt("Hello!"))
	if _, err := streamed(t.Context(), m, llm.Prompt("Hello!")); err != nil {
		t.Fatal(err)
	}
	if n := counted.asked.Load(); n != 0 {
		t.Errorf("%d tracers were asked for", n)
	}
}

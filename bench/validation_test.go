package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"llmcall"
	"llmcall/bench/sample"
	"llmcall/llm"
	"llmcall/validate"
)

// BenchmarkValidation is a whole call whose answer must fit a JSON Schema of ten
// fields, without the provider's time.
func BenchmarkValidation(b *testing.B) {
	schema, answer := sample.Schema(10), sample.Answer(10)
	check, err := validate.JSONSchema([]byte(schema))
	if err != nil {
		b.Fatal(err)
	}
	checks := []validate.Strategy{check}
	reply := llm.Reply(answer)
	model := llm.Func("bench/validation", func(context.Context, *llm.Request) (*llm.Response, error) { return reply, nil })
	req := llm.Prompt("Who wrote the first program?")

	way(b, "floor=decode_and_validate", func(b *testing.B) {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		if err != nil {
			b.Fatal(err)
		}
		if err := c.AddResource("schema:///answer", doc); err != nil {
			b.Fatal(err)
		}
		compiled, err := c.Compile("schema:///answer")
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
			if err != nil {
				b.Fatal(err)
			}
			if err := compiled.Validate(value); err != nil {
				b.Fatal(err)
			}
		}
	})
	way(b, "ours=RetryWithValidation", func(b *testing.B) {
		ctx := b.Context()
		for b.Loop() {
			if _, err := llmcall.RetryWithValidation(ctx, model, req, checks, llmcall.RetryConfig{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	way(b, "ours=RetryWithValidation,_circuit_breaker", func(b *testing.B) {
		ctx, cfg := b.Context(), llmcall.RetryConfig{EnableCircuitBreaker: true}
		for b.Loop() {
			if _, err := llmcall.RetryWithValidation(ctx, model, req, checks, cfg); err != nil {
				b.Fatal(err)
			}
		}
	})
	way(b, "ours=RetryWithValidation,_no_check", func(b *testing.B) {
		ctx := b.Context()
		for b.Loop() {
			if _, err := llmcall.RetryWithValidation(ctx, model, req, nil, llmcall.RetryConfig{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	way(b, "part=schema_check", func(b *testing.B) {
		ctx := b.Context()
		for b.Loop() {
			report := validate.Run(ctx, checks, &validate.Answer{Text: answer, Response: reply, Request: req, Attempt: 1}, 0)
			if len(report.Complaints) > 0 || len(report.Failed) > 0 {
				b.Fatal(report)
			}
		}
	})
}

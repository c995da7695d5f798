package llmcall_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// A provider that says "come back in a second" each time keeps nobody from another model
// for longer than one that says "in two seconds" once.
func TestShortWaitsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, err := endpoint.NewRegistry(endpoint.Config{})
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		limited := llm.Func("acme/limited", func(context.Context, *llm.Request) (*llm.Response, error) {
			asked++
			return nil, &failure.Error{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: time.Second}
		})
		well := llm.Func("acme/well", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("yes"), nil })
		c, err := llmcall.New([]llm.Model{limited, well}, nil, llmcall.RetryConfig{Endpoints: registry})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		result, err := c.Do(t.Context(), llm.Prompt("?"))
		if err != nil || result.Model != "acme/well" {
			t.Fatalf("%+v, %v", result, err)
		}
		if took := time.Since(start); asked > 3 || took > 2500*time.Millisecond {
			t.Errorf("the other model was asked after %d requests and %v", asked, took)
		}
	})
}

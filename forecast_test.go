package llmcall_test

import (
	"testing"

	"llmcall"
	"llmcall/llm"
	"llmcall/price"
)

// What a call may cost is said before it is made: of the first request, and of all
// attempts, each at the dearest model of its stage. Prompts have 273 tokens at most here.
func TestAForecast(t *testing.T) {
	dear := price.Price{Rates: price.Rates{Input: 10 * cents.Input, Output: 10 * cents.Output}}
	a, b := aModel("test/a"), aModel("test/b")
	for name, row := range map[string]struct {
		cfg  llmcall.RetryConfig
		max  int
		want llmcall.Forecast
	}{
		"three attempts": {
			llmcall.RetryConfig{Prices: price.Table{"test/*": cents}}, 100,
			llmcall.Forecast{Input: 273, Output: 100, First: llmcall.Cost{Nanos: 1_273_000}, Attempts: 3, All: llmcall.Cost{Nanos: 3 * 1_273_000}},
		},
		"stages, of which the second is dearer": {
			llmcall.RetryConfig{Prices: price.Table{"test/a": cents, "test/b": dear}, Stages: []llmcall.Stage{{Attempts: 2, Models: []string{"test/a"}}, {Models: []string{"test/b"}, MaxTokens: 200}, {Human: true}}}, 100,
			llmcall.Forecast{Input: 273, Output: 100, First: llmcall.Cost{Nanos: 1_273_000}, Attempts: 3, All: llmcall.Cost{Nanos: 2*1_273_000 + 22_730_000}},
		},
		"of the models of a stage the dearest": {
			llmcall.RetryConfig{MaxAttempts: 1, Prices: price.Table{"test/a": cents, "test/b": dear}}, 100,
			llmcall.Forecast{Input: 273, Output: 100, First: llmcall.Cost{Nanos: 1_273_000}, Attempts: 1, All: llmcall.Cost{Nanos: 12_730_000}},
		},
		"no limit": {
			llmcall.RetryConfig{MaxAttempts: 1, Prices: price.Table{"test/*": cents}}, 0,
			llmcall.Forecast{Input: 273, Output: 16_000, First: llmcall.Cost{Nanos: 160_273_000}, Attempts: 1, All: llmcall.Cost{Nanos: 160_273_000}, Unlimited: true},
		},
		"no price": {
			llmcall.RetryConfig{MaxAttempts: 1}, 100,
			llmcall.Forecast{Input: 273, Output: 100, First: llmcall.Cost{Partial: true}, Attempts: 1, All: llmcall.Cost{Partial: true}},
		},
	} {
		c, err := llmcall.New([]llm.Model{a, b}, checked, row.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Forecast(&llm.Request{Messages: []llm.Message{llm.User("?")}, MaxTokens: row.max})
		if err != nil || got != row.want {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, row.want)
		}
	}
	if a.calls()+b.calls() > 0 {
		t.Error("a model was asked")
	}
}

package llmcall_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"llmcall"
	"llmcall/llm"
)

// A request gets what it does not set itself, in each kind of call.
func TestARequestIsCompletedByTheConfiguration(t *testing.T) {
	cfg, _, err := llmcall.ParseConfig("c.yaml", []byte("system: Be brief.\nmax_tokens: 50\ntemperature: 0\nseed: 7\nstop: END\nextra: {top_k: 5, user: us}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var sent *llm.Request
	model := llm.Func("test/defaults", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		sent = req
		return llm.Reply(`{"Name": "x"}`), nil
	})
	client, err := llmcall.New([]llm.Model{model}, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	*cfg.Temperature, cfg.Stop[0], cfg.Extra["top_k"] = 1, "changed", "changed" // New has its own copies
	defaults := llm.Request{
		Messages: []llm.Message{llm.System("Be brief."), llm.User("Hi!")}, MaxTokens: 50, Temperature: new(0.0), Seed: new(int64(7)), Stop: []string{"END"},
		Extra: map[string]any{"top_k": json.Number("5"), "user": "us"},
	}
	own := llm.Request{
		Messages: []llm.Message{llm.System("Be long."), llm.User("Hi!")}, MaxTokens: 9, Temperature: new(1.0), Seed: new(int64(0)), Stop: []string{},
		Extra: map[string]any{"user": "me"},
	}
	merged := own
	merged.Extra = map[string]any{"top_k": json.Number("5"), "user": "me"}
	for name, c := range map[string]struct{ given, want llm.Request }{
		"nothing set": {*llm.Prompt("Hi!"), defaults},
		"all set":     {own, merged},
	} {
		before, _ := json.Marshal(c.given)
		if _, err := client.Do(t.Context(), &c.given); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*sent, c.want) {
			t.Errorf("%s: sent %+v, want %+v", name, *sent, c.want)
		}
		if after, _ := json.Marshal(c.given); string(after) != string(before) {
			t.Errorf("%s: the caller's request became %s", name, after)
		}
	}
	type city struct{ Name string }
	if _, _, err := llmcall.Ask[city](t.Context(), client, llm.Prompt("Hi!")); err != nil || sent.MaxTokens != 50 || sent.Messages[0].Text() != "Be brief." {
		t.Errorf("Ask sent %+v, %v", sent, err)
	}
}

func TestNamesOfModelsAreForTheProgram(t *testing.T) {
	cfg, _, err := llmcall.ParseConfig("c.yaml", []byte("model: openai/one"))
	if err != nil || !reflect.DeepEqual(cfg.Models, []string{"openai/one"}) {
		t.Fatal(cfg.Models, err)
	}
	if _, err := llmcall.New(nil, nil, cfg); err == nil || !strings.Contains(err.Error(), "provider.Open") {
		t.Errorf("got %v", err)
	}
}

func TestSettingsOfRequestsInAFile(t *testing.T) {
	for text, want := range map[string]string{
		"model: [openai/one]":         `c.yaml:1: model must be the full name of a model, such as "openai/gpt-6-luna", got a list`,
		"model: ''":                   `got nothing`,
		"models: openai/one":          `c.yaml:1: models must be a list of full names of models, such as [openai/gpt-6-luna], got "openai/one"`,
		"models: []":                  `got a list`,
		"model: a/b\nmodels: [c/d]":   `c.yaml:1: model: must not be set together with models`,
		"max_tokens: 0":               `max_tokens must be a whole number of at least 1, got 0`,
		"max_tokens: many":            `got "many"`,
		"temperature: -1":             `temperature must be a number of at least 0, got -1`,
		"temperature: .nan":           `temperature must be a number of at least 0`,
		"seed: 1.5":                   `seed must be a whole number, got 1.5`,
		"stop: [a, '']":               `stop must be a non-empty string, or a list of them, got a list`,
		"extra: low":                  `extra must be a mapping of the provider's own fields, such as {"reasoning_effort": "low"}, got "low"`,
		"extra: {a: .nan}":            `extra must be a mapping`,
		"temprature: 1":               `did you mean temperature?`,
		"max_completion_tokens: 1000": `unknown field`,
	} {
		_, _, err := llmcall.ParseConfig("c.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestSetTakesJSON(t *testing.T) {
	var cfg llmcall.RetryConfig
	for name, value := range map[string]string{"extra": ` {"n": 9007199254740993}`, "stop": `["a", "b"]`, "models": `["x/y"]`, "system": "{not JSON", "retry_budget": `{"saved": 7}`} {
		if err := cfg.Set(name, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := llmcall.RetryConfig{Extra: map[string]any{"n": json.Number("9007199254740993")}, Stop: []string{"a", "b"}, Models: []string{"x/y"}, System: "{not JSON"}
	want.RetryBudget.Saved = 7
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v", cfg)
	}
	if err := cfg.Set("extra", "low"); err == nil || err.Error() != `extra must be a mapping of the provider's own fields, such as {"reasoning_effort": "low"}, got "low"` {
		t.Error(err)
	}
}

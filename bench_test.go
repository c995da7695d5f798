package llmcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
)

const (
	tenFields = `{"type": "object", "additionalProperties": false,
		"required": ["id", "name", "email", "age", "active", "tags", "address", "score", "created", "kind"],
		"properties": {
			"id": {"type": "string", "format": "uuid"}, "name": {"type": "string", "minLength": 1, "maxLength": 100},
			"email": {"type": "string", "format": "email"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
			"active": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
			"address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}}},
			"score": {"type": "number"}, "created": {"type": "string", "format": "date-time"}, "kind": {"enum": ["a", "b", "c"]}
		}}`
	tenValues = `{"id": "123e4567-e89b-12d3-a456-426614174000", "name": "Ada Lovelace", "email": "ada@example.org", "age": 36,
		"active": true, "tags": ["x", "y"], "address": {"city": "London", "zip": "12345"}, "score": 0.5,
		"created": "2026-01-02T03:04:05Z", "kind": "b"}`
)

// What a call that succeeds the first time costs beside the model: less than
// 20 µs and 10 kB.
func BenchmarkFirstTry(b *testing.B) {
	schema := validate.Must(validate.JSONSchema([]byte(tenFields)))
	full := llmcall.RetryConfig{EnableCircuitBreaker: true}
	ending, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		checks []validate.Strategy
		cfg    llmcall.RetryConfig
	}{
		{"no checks, no breaker, no budget", context.Background(), nil, llmcall.RetryConfig{DisableRetryBudget: true}},
		{"no checks", context.Background(), nil, full},
		{"not empty", context.Background(), []validate.Strategy{validate.NotEmpty()}, full},
		{"JSON and a schema of ten fields", context.Background(), []validate.Strategy{validate.JSON(), schema}, full},
		{"JSON and a schema of ten fields, in a context that can end", ending, []validate.Strategy{validate.JSON(), schema}, full},
	} {
		m := llm.Func(b.Name()+c.name, func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply(tenValues), nil })
		req := llm.Prompt("Describe a person")
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := llmcall.RetryWithValidation(c.ctx, m, req, c.checks, c.cfg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The same on a client that was made before.
func BenchmarkClient(b *testing.B) {
	m := llm.Func(b.Name(), func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply(tenValues), nil })
	c := client(b, m, nil, llmcall.RetryConfig{EnableCircuitBreaker: true})
	req := llm.Prompt("Describe a person")
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Do(context.Background(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RetryWithValidation", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := llmcall.RetryWithValidation(context.Background(), m, req, nil, llmcall.RetryConfig{EnableCircuitBreaker: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Three attempts: two wrong answers with their feedback.
func BenchmarkTwoWrongAnswers(b *testing.B) {
	n := 0
	m := llm.Func(b.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
		if n++; n%3 == 0 {
			return llm.Reply("good"), nil
		}
		return llm.Reply("bad"), nil
	})
	req := llm.Prompt("x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := llmcall.RetryWithValidation(context.Background(), m, req, checked, llmcall.RetryConfig{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseConfig(b *testing.B) {
	data := []byte(everyField)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := llmcall.ParseConfig("c", data); err != nil {
			b.Fatal(err)
		}
	}
}

// Figure decodes itself, and what it holds is behind a pointer.
type Figure struct{ side *int }

func (f *Figure) UnmarshalJSON(text []byte) error {
	var fields struct {
		Side *int `json:"side"`
	}
	err := json.Unmarshal(text, &fields)
	f.side = fields.Side
	return err
}

func (Figure) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":"object"}`) }

// What 1,000 elements cost, each shown as it comes. "stream" is the answer as
// text alone.
func BenchmarkAskStream(b *testing.B) {
	type flat struct {
		ID    int     `json:"id"`
		Name  string  `json:"name"`
		Score float64 `json:"score"`
		Kind  string  `json:"kind"`
	}
	type deep struct {
		flat
		Tags []string `json:"tags,omitempty"`
	}
	type own struct {
		flat
		Figure Figure `json:"figure,omitzero"`
	}
	var text strings.Builder
	text.WriteString(`{"value":[`)
	for i := range 1000 {
		if i > 0 {
			text.WriteString(",")
		}
		fmt.Fprintf(&text, `{"id":%d,"name":"Ada Lovelace","score":0.5,"kind":"person"`, i)
		text.WriteString("@}")
	}
	text.WriteString(`]}`)
	answer := func(more string) scripted {
		var pieces scripted
		for part := range slices.Chunk([]byte(strings.ReplaceAll(text.String(), "@", more)), 4) {
			pieces = append(pieces, string(part))
		}
		return pieces
	}
	cfg := llmcall.RetryConfig{DisableRetryBudget: true, DisablePacing: true}
	ctx, req := context.Background(), llm.Prompt("x")
	b.Run("stream", func(b *testing.B) {
		for m := answer(""); b.Loop(); {
			for _, err := range llmcall.Stream(ctx, m, req, nil, cfg) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("flat", func(b *testing.B) { streamed[flat](b, answer(""), cfg) })
	b.Run("with a list in each", func(b *testing.B) { streamed[deep](b, answer(`,"tags":["a","b"]`), cfg) })
	b.Run("with what decodes itself in each", func(b *testing.B) { streamed[own](b, answer(`,"figure":{"side":2}`), cfg) })
}

// streamed asks for a list of 1,000 elements.
func streamed[E any](b *testing.B, m llm.Model, cfg llmcall.RetryConfig) {
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for p, err := range llmcall.AskStream[[]E](context.Background(), client(b, m, nil, cfg), llm.Prompt("x")) {
			if err != nil || len(p.Value) < n {
				b.Fatal(err)
			}
			n = len(p.Value)
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}

// What a typed call costs that succeeds the first time: its schema is made at the
// first call with the type.
func BenchmarkAsk(b *testing.B) {
	cfg := llmcall.RetryConfig{DisableRetryBudget: true, DisablePacing: true}
	city := llm.Func(b.Name()+"city", func(context.Context, *llm.Request) (*llm.Response, error) {
		return llm.Reply(`{"name":"Berlin","population":3700000,"continent":"Europe"}`), nil
	})
	number := llm.Func(b.Name()+"int", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply(`{"value":1}`), nil })
	b.Run("a struct", func(b *testing.B) { asks[City](b, city, cfg) })
	b.Run("a number", func(b *testing.B) { asks[int](b, number, cfg) })
}

func asks[T any](b *testing.B, m llm.Model, cfg llmcall.RetryConfig) {
	c, req := client(b, m, nil, cfg), llm.Prompt("x")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := llmcall.Ask[T](context.Background(), c, req); err != nil {
			b.Fatal(err)
		}
	}
}

// What accounts and prices add to a call.
func BenchmarkMoney(b *testing.B) {
	answer := llm.Reply(tenValues)
	answer.Usage = llm.Usage{InputTokens: 100, OutputTokens: 100}
	m := llm.Func("test/money", func(context.Context, *llm.Request) (*llm.Response, error) { return answer, nil })
	req := llm.Prompt("Describe a person")
	known := price.Table{"test/*": {Rates: price.Rates{Input: 1, Output: 1}}}
	for _, c := range []struct {
		name string
		cfg  llmcall.RetryConfig
	}{
		{"nothing", llmcall.RetryConfig{}},
		{"prices", llmcall.RetryConfig{Prices: known}},
		{"a ceiling", llmcall.RetryConfig{Prices: known, MaxCost: 1}},
		{"a ceiling and a day", llmcall.RetryConfig{Prices: known, MaxCost: 1, Account: account.Daily(endpoint.Amount{Nanos: 1 << 60}, nil)}},
	} {
		made, err := llmcall.New([]llm.Model{m}, nil, c.cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := made.Do(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

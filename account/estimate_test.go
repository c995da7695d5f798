package account_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/llm"
)

// tiered costs 2 for an input token and 10 for an output token, above 100 input tokens
// the double.
type tiered struct{}

func (tiered) Most(input, output int64) int64 {
	if input > 100 {
		return 4*input + 20*output
	}
	return 2*input + 10*output
}

func TestWhatAnEstimateReserves(t *testing.T) {
	for _, c := range []struct {
		name   string
		e      account.Estimate
		floor  int64
		amount endpoint.Amount
		least  endpoint.Amount
	}{
		{"tokens alone", account.Estimate{Input: 10, Output: 90}, 20, amount(100, 0), amount(30, 0)},
		{"with a price", account.Estimate{Input: 10, Output: 90, Price: tiered{}}, 20, amount(100, 920), amount(30, 220)},
		{"in the upper tier", account.Estimate{Input: 101, Output: 1, Price: tiered{}}, 20, amount(102, 424), amount(102, 424)},
		{"below 0", account.Estimate{Input: -1, Output: -1, Price: tiered{}}, -5, amount(0, 0), amount(0, 0)},
		{"too many", account.Estimate{Input: math.MaxInt64, Output: 9}, 9, amount(math.MaxInt64, 0), amount(math.MaxInt64, 0)},
	} {
		if got, least := c.e.Amount(), c.e.Least(c.floor); got != c.amount || least != c.least {
			t.Errorf("%s: %+v and at least %+v, want %+v and %+v", c.name, got, least, c.amount, c.least)
		}
	}
}

// Whatever was lent: the answer that is allowed is paid for, and one token more is not.
func TestWhatIsLentPaysForTheAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := account.Estimate{Input: rapid.Int64Range(0, 200).Draw(t, "input"), Output: rapid.Int64Range(0, 5000).Draw(t, "output")}
		if rapid.Bool().Draw(t, "priced") {
			e.Price = tiered{}
		}
		lent := amount(rapid.Int64Range(0, 6000).Draw(t, "tokens"), rapid.Int64Range(0, 60_000).Draw(t, "nanos"))
		n, lower := e.Affords(lent)
		fits := func(n int64) bool {
			a := e.Least(n)
			return a.Tokens <= lent.Tokens && a.Nanos <= lent.Nanos
		}
		switch {
		case !lower && (n != e.Output || !fits(n)):
			t.Fatalf("%d of %d are not paid for", n, e.Output)
		case lower && n > 0 && !fits(n), lower && (fits(n+1) || n >= max(1, e.Output)):
			t.Fatalf("%d of %d", n, e.Output)
		}
	})
}

func TestWhatARatioLearns(t *testing.T) {
	strict := account.Estimate{Input: 1000, Output: 4000, Price: tiered{}}
	var r account.Ratio
	expect := func(when string, input, output int64) {
		t.Helper()
		if got := r.Expected(strict); got.Input != input || got.Output != output || got.Price != strict.Price {
			t.Errorf("%s: %+v, want %d and %d", when, got, input, output)
		}
	}
	for range 4 {
		expect("before five requests", 1000, 4000)
		r.Learn(strict, llm.Usage{InputTokens: 250, OutputTokens: 400})
	}
	r.Learn(strict, llm.Usage{}) // not known
	r.Learn(account.Estimate{}, llm.Usage{InputTokens: 1, OutputTokens: 1})
	expect("before five requests", 1000, 4000)
	r.Learn(strict, llm.Usage{InputTokens: 250, OutputTokens: 400})
	expect("1.3 times the mean", 325, 520)
	for range 200 {
		r.Learn(strict, llm.Usage{InputTokens: 500, OutputTokens: 4000})
	}
	expect("what is long ago is forgotten, and it is never above the strict one", 650, 4000)
	strict.Input, strict.Output = 1, 0
	expect("at least a token, if any", 1, 0)
	strict.Output = math.MaxInt64
	expect("the largest number", 1, math.MaxInt64)
}

// Twenty calls of a model with an expected estimate, whose answers are sometimes long:
// what is spent above the limit is at most one attempt.
func TestAnExpectedEstimateIsPassedByOneAttemptAtMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r account.Ratio
		purse := account.New(nanos(rapid.Int64Range(1, 200_000).Draw(t, "limit")))
		strict := account.Estimate{Input: 100, Output: 1000, Price: tiered{}}
		for range 100 {
			e := r.Expected(strict)
			lent, err := purse.Reserve(e.Amount(), e.Least(10))
			if err != nil {
				break
			}
			output := strict.Output
			if n, lower := e.Affords(lent); lower {
				output = n
			}
			u := llm.Usage{InputTokens: rapid.Int64Range(1, 100).Draw(t, "input"), OutputTokens: rapid.Int64Range(1, output).Draw(t, "answer")}
			r.Learn(strict, u)
			purse.Settle(lent, amount(u.InputTokens+u.OutputTokens, tiered{}.Most(u.InputTokens, u.OutputTokens)))
		}
		if got := purse.Snapshot(); got.Spent.Nanos > got.Limit.Nanos+strict.Amount().Nanos || got.Reserved != (endpoint.Amount{}) {
			t.Fatalf("%+v", got)
		}
	})
}

func TestMostTokensOfAPrompt(t *testing.T) {
	const base = 256 + 16 // a request with a message
	one := func(p llm.Part) llm.Request {
		return llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{p}}}}
	}
	for _, c := range []struct {
		name, model string
		req         llm.Request
		tokens      int64
	}{
		{"a text: its bytes, not its letters", "openai/gpt-6", one(llm.Text("Größe")), base + 7},
		{"a tool", "x/y", llm.Request{Tools: []llm.Tool{{Name: "ab", Description: "cd", Parameters: json.RawMessage(`{}`)}}}, 256 + 16 + 12 + 80 + 1024},
		{"a schema", "x/y", llm.Request{Schema: &llm.Schema{Name: "s", JSON: json.RawMessage(`{}`)}}, 256 + 1024 + 6 + 80},
		{"extra fields", "x/y", llm.Request{Extra: map[string]any{"a": "b"}}, 256 + 18},
		{"a call", "x/y", one(llm.ToolCall{ID: "1", Name: "n", Arguments: json.RawMessage(`{}`)}), base + 16 + 8},
		{"a result", "x/y", one(llm.ToolResult{CallID: "1", Content: "abc"}), base + 16 + 8},
		{"reasoning", "x/y", one(llm.Reasoning{Data: json.RawMessage(`"abc"`)}), base + 10},
		{"a picture", "openai/gpt-6", one(llm.Image{Data: []byte("x")}), base + 24_600},
		{"a picture of gpt-4o-mini", "openai/gpt-4o-mini-2024-07-18", one(llm.Image{URL: "https://example.com/a.png"}), base + 48_169},
		{"a picture of Claude", "anthropic/claude-opus-5-5", one(llm.Image{}), base + 8464},
		{"a picture of Gemini", "gemini/gemini-4-argon", one(llm.Image{}), base + 4128},
		{"a picture of others", "acme/small", one(llm.Image{}), base + 48_169},
		{"a document", "anthropic/claude-opus-5-5", one(llm.Document{Data: make([]byte, 1100), Name: "a.pdf"}), base + 5 + 3*(3000+8464)},
		{"a large document", "anthropic/claude-opus-5-5", one(llm.Document{Data: make([]byte, 1<<20)}), base + 2<<20},
		{"a document by its address", "gemini/x", one(llm.Document{URL: "gs://a"}), base + 2<<20},
		{"a recording", "gemini/x", one(llm.Audio{MediaType: "audio/mpeg", Data: make([]byte, 10_000)}), base + 11*32},
		{"in a format with silences", "gemini/x", one(llm.Audio{MediaType: "audio/flac", Data: make([]byte, 10_000)}), base + 101*32},
		{"by its address", "gemini/x", one(llm.Audio{URL: "gs://a"}), base + 2<<20},
	} {
		if got := account.MostInput(&c.req, c.model); got != c.tokens {
			t.Errorf("%s: %d tokens, want %d", c.name, got, c.tokens)
		}
	}
	long := llm.Prompt(strings.Repeat("word ", 1000))
	if got := account.MostInput(long, "x/y"); got != base+5000 {
		t.Errorf("%d", got)
	}
}

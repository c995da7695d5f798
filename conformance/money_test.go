package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/backoff"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
	"llmcall/validate/judge"
)

// The prices of the tests of money, in nano-dollars for a token of input and of output.
const (
	ofInput  = 1_000
	ofOutput = 10_000
)

var prices = price.Table{"*": {Rates: price.Rates{Input: ofInput * 1_000_000, Output: ofOutput * 1_000_000}}}

// biller is a provider that bills all that it may: what it says that an answer has used;
// for an answer whose usage did not arrive, because it was cut, or its client went away,
// all of its token limit; and nothing for a refusal.
type biller struct {
	http.Handler
	refuse string // a part of requests that is refused with 400, as not supported

	serving  sync.Cond // of mu
	mu       sync.Mutex
	requests int // all,
	billed   int // and of these the ones that have ended
	nanos    int64
}

// bill returns what all requests have cost, once they have ended.
func (b *biller) bill() (nanos int64, requests int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.billed < b.requests {
		b.serving.Wait()
	}
	return b.nanos, b.requests
}

// kept keeps what was sent of a response.
type kept struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (k *kept) Unwrap() http.ResponseWriter { return k.ResponseWriter }

func (k *kept) Flush() { k.ResponseWriter.(http.Flusher).Flush() }

func (k *kept) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *kept) Write(p []byte) (int, error) {
	if k.status == 0 {
		k.status = http.StatusOK
	}
	k.body.Write(p)
	return k.ResponseWriter.Write(p)
}

var (
	limitIn  = regexp.MustCompile(`"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens)": ?(\d+)`)
	inputIn  = regexp.MustCompile(`"(?:prompt_tokens|input_tokens|promptTokenCount)": ?(\d+)`)
	outputIn = regexp.MustCompile(`"(?:completion_tokens|output_tokens|candidatesTokenCount)": ?(\d+)`)
	thoughts = regexp.MustCompile(`"thoughtsTokenCount": ?(\d+)`)
	ends     = regexp.MustCompile(`\[DONE\]|"type": ?"(message_stop|response\.(completed|incomplete))"|"finishReason"|"finish_reason": ?"\w|"stop_reason": ?"\w|"status": ?"(completed|incomplete)"`)
)

// last is the number that a text has last, or otherwise.
func last(number *regexp.Regexp, text string, otherwise int64) int64 {
	all := number.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return otherwise
	}
	n, _ := strconv.ParseInt(all[len(all)-1][1], 10, 64)
	return n
}

func (b *biller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.requests++
	b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if b.refuse != "" && strings.Contains(string(body), b.refuse) {
		b.count(0)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":{"code":400,"status":"INVALID_ARGUMENT","type":"invalid_request_error","message":"%s: response_format json_schema, output_config, text.format and response_mime_type are not supported"}}`, strings.Trim(b.refuse, `"`))
		return
	}
	k := &kept{ResponseWriter: w}
	defer func() {
		text := k.body.String()
		limit := last(limitIn, string(body), 1_000_000)
		switch out := last(outputIn, text, -1); {
		case k.status >= 300:
			b.count(0)
		case out >= 0 && (ends.MatchString(text) || json.Valid(k.body.Bytes())):
			b.count(ofInput*last(inputIn, text, 0) + ofOutput*(out+last(thoughts, text, 0)))
		default:
			b.count(ofInput*last(inputIn, text, int64(len(body)/4)) + ofOutput*limit)
		}
	}()
	b.Handler.ServeHTTP(k, r)
}

func (b *biller) count(nanos int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.billed++
	b.nanos += nanos
	b.serving.Broadcast()
}

// asked is how a caller of the tests of money calls.
type asked struct {
	name   string
	stream bool
	leave  bool // after the first piece
	schema bool
	tool   bool
	hedged bool
	judged bool
	max    int
	refuse string
}

// What a provider bills for a call, with all its attempts, rounds of tools, judges, hedges and requests without what was refused, is never above
// its ceiling, nor above what the account has.
func TestNoProviderBillsMoreThanTheCeiling(t *testing.T) {
	length := 200
	faults := map[string]chaos.Fault{
		"right": {Kind: chaos.Right}, "cached": {Kind: chaos.Right, CachedTokens: 3}, "reasoning": {Kind: chaos.Right, ReasoningTokens: 40},
		"length": {Kind: chaos.Length}, "filter": {Kind: chaos.Filter}, "unfinished": {Kind: chaos.Unfinished}, "prose": {Kind: chaos.Prose},
		"500": {Kind: chaos.Status, Status: 500}, "error in the stream": {Kind: chaos.StreamError, Status: 500}, "reset": {Kind: chaos.Reset},
		"slow": {Kind: chaos.Slow, Delay: 150 * time.Millisecond}, "drip": {Kind: chaos.Drip, ChunkDelay: 40 * time.Millisecond},
		"cut": {Kind: chaos.Cut}, "cut cleanly": {Kind: chaos.Cut, End: chaos.Clean}, "garbage": {Kind: chaos.Garbage}, "hang": {Kind: chaos.Hang},
		"tool": {Kind: chaos.Right, Tool: "any"},
	}
	callers := []asked{
		{name: "whole", max: length}, {name: "streamed", stream: true, max: length}, {name: "left", stream: true, leave: true, max: length},
		{name: "no limit"}, {name: "schema", schema: true, max: length}, {name: "streamed schema", schema: true, stream: true, max: length},
		{name: "refused schema", schema: true, max: length, refuse: `"schema"`}, {name: "streamed refused schema", schema: true, stream: true, max: length, refuse: `"schema"`},
		{name: "tool", tool: true, max: length}, {name: "hedged", hedged: true, max: length}, {name: "judged", judged: true, max: length},
	}
	if testing.Short() {
		callers = callers[:5]
	}
	for _, p := range providers {
		for name, fault := range faults {
			for _, who := range callers {
				t.Run(fmt.Sprintf("%s/%s/%s", p.name, name, who.name), func(t *testing.T) {
					t.Parallel()
					billed(t, p, fault, who)
				})
			}
		}
	}
}

func billed(t *testing.T, p provider, fault chaos.Fault, who asked) {
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{fault, fault, {}, fault}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &biller{Handler: s, refuse: who.refuse}
	b.serving.L = &b.mu
	url, client, end := listen(b)
	defer end()
	defer s.Close()
	model, err := p.open(url, client)
	if err != nil {
		t.Fatal(err)
	}
	registry, _ := endpoint.NewRegistry(endpoint.Config{})
	checks := []validate.Strategy{validate.NotEmpty()}
	if who.judged {
		j, err := judge.Task(model, "it is polite", judge.TaskOptions{Options: judge.Options{Endpoints: registry, MaxTokens: 100, AttemptTimeout: 100 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		checks = append(checks, j)
	}
	day := account.New(endpoint.Amount{Nanos: 60_000_000})
	cfg := llmcall.RetryConfig{
		Endpoints: registry, MaxCost: 0.02, Account: day, Prices: prices, MinOutputTokens: 20, MaxAttempts: 5, AttemptTimeout: 100 * time.Millisecond,
		Backoff: backoff.Constant{}, RestartStreams: !who.leave, DisablePacing: true,
	}
	if who.hedged {
		cfg.Hedge = &llmcall.Hedge{After: 20 * time.Millisecond, Extra: 1}
	}
	if who.tool {
		cfg.Tools = []llmcall.Tool{{
			Tool: llm.Tool{Name: "f", Description: "looks up", Parameters: json.RawMessage(`{"type":"object"}`)}, ReadOnly: true,
			Run: func(context.Context, json.RawMessage) (string, error) { return strings.Repeat("found ", 50), nil },
		}}
	}
	c, err := llmcall.New([]llm.Model{model}, checks, cfg)
	if err != nil {
		t.Fatal(err)
	}
	req := &llm.Request{Messages: []llm.Message{llm.System("Be short."), llm.User("What is the capital of France, and why?")}, MaxTokens: who.max}
	if who.schema {
		req.Schema = &llm.Schema{Name: "answer", JSON: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}`)}
	}
	var trace llmcall.Trace
	before := int64(0)
	for i := range 3 {
		var result *llmcall.Result
		if who.stream {
			for piece, failed := range c.Stream(t.Context(), req) {
				result, err = piece.Result, failed
				if who.leave && piece.Text != "" {
					break
				}
			}
		} else {
			result, err = c.Do(t.Context(), req)
		}
		if result != nil {
			trace = result.Trace
		}
		bill, requests := b.bill() // the server has noticed that its client has gone
		after := day.Snapshot()
		if bill > after.Spent.Nanos || bill-before > 20_000_000 || after.Reserved.Nanos != 0 {
			t.Fatalf("call %d: the provider bills %d for %d requests, the account has %+v: %v, %+v", i+1, bill, requests, after, err, trace.Attempts)
		}
		before = bill
	}
}

// A schema is rewritten for each provider, and grows by that. It is never longer than what
// is reserved for it, a token for each byte.
func TestRewrittenSchemasAreReserved(t *testing.T) {
	nested := `{"type":"object"}`
	for range 30 {
		nested = `{"type":"object","properties":{"a":` + nested + `}}`
	}
	var wide, doubled []string
	for i := range 200 {
		wide = append(wide, fmt.Sprintf(`"p%d":{"type":"object","properties":{"x":{"type":"string"}}}`, i))
	}
	for i := range 10 {
		to := fmt.Sprintf(`{"$ref":"#/$defs/d%d","description":"one"}`, i+1)
		doubled = append(doubled, fmt.Sprintf(`"d%d":{"type":"object","properties":{"l":%s,"r":%s}}`, i, to, to))
	}
	doubled = append(doubled, `"d10":{"type":"object","properties":{"v":{"type":"string"}}}`)
	recursive := `{"$defs":{"a":{"type":"object","properties":{"l":{"$ref":"#/$defs/a","description":"x"},"r":{"$ref":"#/$defs/b"}}},"b":{"type":"object","properties":{"n":{"$ref":"#/$defs/a","title":"y"}}}},"$ref":"#/$defs/a"}`
	for _, p := range providers {
		for name, schema := range map[string]string{
			"nested": nested, "wide": `{"type":"object","properties":{` + strings.Join(wide, ",") + `}}`, "recursive": recursive,
			"doubled": `{"$defs":{` + strings.Join(doubled, ",") + `},"type":"object","properties":{"a":{"$ref":"#/$defs/d0","description":"z"}}}`,
		} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				s, err := chaos.New(chaos.Config{})
				if err != nil {
					t.Fatal(err)
				}
				url, client, end := listen(s)
				defer end()
				model, err := p.open(url, client)
				if err != nil {
					t.Fatal(err)
				}
				req := llm.Prompt("?")
				req.MaxTokens, req.Schema = 100, &llm.Schema{Name: "x", JSON: json.RawMessage(schema)}
				if _, err := model.Complete(t.Context(), req); err != nil {
					t.Fatal(err)
				}
				most := account.MostInput(req, model.Name())
				for _, r := range s.Requests() {
					if int64(len(r.Body)) > most {
						t.Errorf("%d bytes were sent for a schema of %d, and %d tokens are reserved", len(r.Body), len(schema), most)
					}
				}
				if name == "recursive" && most > 10_000 {
					t.Errorf("%d tokens are reserved", most)
				}
			})
		}
	}
}

package anthropic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"go.uber.org/goleak"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/internal/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello is what Anthropic answers to a greeting.
const hello = `{
  "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
  "type": "message",
  "role": "assistant",
  "model": "claude-haiku-5-5",
  "content": [
    {"type": "text", "text": "Hello! How can I assist you today?"}
  ],
  "stop_reason": "end_turn",
  "stop_sequence": null,
  "usage": {
    "input_tokens": 12,
    "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1},
    "cache_read_input_tokens": 4,
    "output_tokens": 10,
    "output_tokens_details": {"thinking_tokens": 2},
    "service_tier": "standard"
  }
}`

func TestContract(t *testing.T) {
	providertest.Run(t, providertest.Adapter{
		Provider: "anthropic", Model: "claude-haiku-5-5",
		New: func(name string, o providertest.Options) (llm.Streamer, error) {
			return providertest.Opened(anthropic.New(name, anthropic.Options{APIKey: o.APIKey, BaseURL: o.BaseURL, Name: o.Name, HTTPClient: o.HTTPClient}))
		},
		KeyVariable: anthropic.KeyVariable, BaseURLVariable: anthropic.BaseURLVariable,
		Foreign: map[string]string{
			"ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_CUSTOM_HEADERS": "X-Custom: 1", "ANTHROPIC_PROFILE": "none such",
			"ANTHROPIC_FEDERATION_RULE_ID": "rule", "ANTHROPIC_ORGANIZATION_ID": "org", "ANTHROPIC_IDENTITY_TOKEN": "token", "ANTHROPIC_WORKSPACE_ID": "w",
		},
		ForeignHeaders: []string{"Authorization", "Anthropic-Workspace-Id", "Anthropic-Organization-Id", "X-Custom", "Traceparent"},
		Path:           "/v1/messages", Authorization: "X-Api-Key", RequestID: "Request-Id",
		Hello: hello,
		Answer: llm.Response{
			Message: llm.Assistant("Hello! How can I assist you today?"), Finish: llm.FinishStop, Model: "claude-haiku-5-5",
			Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 2, CacheWriteTokens: 3, CacheWrite1hTokens: 1},
		},
		Begin: event(oneLine(start)) + begin(0, `{"type":"text","text":""}`),
		Text: func(piece string) string {
			quoted, _ := json.Marshal(piece)
			return delta(0, `{"type":"text_delta","text":`+string(quoted)+`}`)
		},
		End:      end(0) + event(ended) + event(stopped),
		Refusals: refusals, Failures: failures, Interrupt: interrupts, Requests: rejected,
		RewritesSchemas: true,
		InvalidUTF8:     invalidUTF8,
		SDK:             sdkError,
		Loose: providertest.Loose{
			Stop: `"end_turn"`,
			Says: func(text string) string {
				quoted, _ := json.Marshal(text)
				return `{"content":[{"type":"text","text":` + string(quoted) + `}],"stop_reason":"end_turn"}`
			},
			Call: `{"content":[{"type":"tool_use","id":"1","name":"f","input":{"a":1}}],"stop_reason":"end_turn"}`,
			CallEvents: event(oneLine(start)) + begin(0, `{"type":"tool_use","id":"1","name":"f","input":{}}`) +
				delta(0, `{"type":"input_json_delta","partial_json":"{\"a\":1}"}`) + end(0) + event(ended) + event(stopped),
			Shapes: map[string]string{
				"content that is a text":        `{"content":"Hello","stop_reason":"end_turn"}`,
				"no message_stop":               event(oneLine(start)) + strings.Join(text(0, "Hel", "lo"), "") + event(ended),
				"no message_stop, but [DONE]":   event(oneLine(start)) + strings.Join(text(0, "Hel", "lo"), "") + event(ended) + "data: [DONE]\n\n",
				"content in the first event":    event(strings.Replace(oneLine(start), `"content":[]`, `"content":[{"type":"text","text":"Hello"}]`, 1)) + event(ended) + event(stopped),
				"a block that does not end":     event(oneLine(start)) + begin(0, `{"type":"thinking","thinking":"Hm."}`) + strings.Join(text(1, "Hel", "lo"), "") + event(ended) + event(stopped),
				"deltas without their block":    event(oneLine(start)) + delta(0, `{"type":"text_delta","text":"Hello"}`) + event(ended) + event(stopped),
				"the reason before the text":    event(oneLine(start)) + event(ended) + strings.Join(text(0, "Hel", "lo"), "") + event(`{"type":"message_delta","delta":{"stop_reason":null}}`) + event(stopped),
				"a whole message as one event":  event(`{"type":"message","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn"}`),
				"the whole text in one of them": event(oneLine(start)) + begin(0, `{"type":"text","text":"Hello"}`) + end(0) + event(ended) + event(stopped),
			},
			Billed: map[string]llm.Usage{
				`{"content":[],"stop_reason":"refusal","usage":{"input_tokens":3,"output_tokens":4}}`:                            {InputTokens: 3, OutputTokens: 4},
				event(`{"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{"input_tokens":3,"output_tokens":4}}`): {InputTokens: 3, OutputTokens: 4},
			},
		},
	})
}

func sdkError(err error) (providertest.SDKError, bool) {
	api, ok := errors.AsType[*sdk.Error](err)
	if !ok {
		return providertest.SDKError{}, false
	}
	return providertest.SDKError{
		Status: api.StatusCode, Request: string(api.DumpRequest(true)), Response: string(api.DumpResponse(true)),
		Printed: fmt.Sprint(api.Request.Header, api.Response.Request.Header) + api.RawJSON() + api.RequestID,
	}, true
}

// problem is an error as Anthropic sends it.
func problem(kind, message, more string) string {
	return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"` + more + `},"request_id":"req_1"}`
}

var refusals = []providertest.Refusal{
	{429, problem("rate_limit_error", "Too many tokens.", ""), []string{"Retry-After", "20"},
		failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many tokens.", Told: true, RetryAfter: 20 * time.Second}},
	{429, problem("rate_limit_error", "Too many tokens.", ""), []string{"Retry-After", "100000000000000"},
		failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many tokens."}},
	{429, problem("rate_limit_error", "Spent.", `,"details":{"error_code":"enforced_spend_limit_reached"}`), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "enforced_spend_limit_reached", Message: "Spent."}},
	{429, problem("rate_limit_error", "Spent.", ""), []string{"X-Should-Retry", "false"},
		failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Spent.", NoRetry: true}},
	{400, problem("invalid_request_error", "Your credit balance is too low to access the API.", ""), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "invalid_request_error", Message: "Your credit balance is too low to access the API."}},
	{402, problem("billing_error", "Pay.", ""), nil, failure.Error{Kind: failure.QuotaExhausted, Code: "billing_error", Message: "Pay."}},
	{529, problem("overloaded_error", "Overloaded", ""), []string{"X-Should-Retry", "true"},
		failure.Error{Kind: failure.Overloaded, Code: "overloaded_error", Message: "Overloaded"}},
	{500, problem("api_error", "Internal server error", ""), nil,
		failure.Error{Kind: failure.Transient, Code: "api_error", Message: "Internal server error"}},
	{504, problem("timeout_error", "Timed out", ""), nil, failure.Error{Kind: failure.Transient, Code: "timeout_error", Message: "Timed out"}},
	{409, problem("conflict_error", "Busy", ""), nil, failure.Error{Kind: failure.Transient, Code: "conflict_error", Message: "Busy"}},
	{400, problem("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", ""), nil,
		failure.Error{Kind: failure.ContextTooLong, Code: "invalid_request_error", Message: "prompt is too long: 208310 tokens > 200000 maximum"}},
	{400, problem("invalid_request_error", "temperature is deprecated for this model.", ""), nil,
		failure.Error{Kind: failure.InvalidRequest, Code: "invalid_request_error", Message: "temperature is deprecated for this model."}},
	{413, problem("request_too_large", "Too large.", ""), nil, failure.Error{Kind: failure.InvalidRequest, Code: "request_too_large", Message: "Too large."}},
	{401, problem("authentication_error", "invalid x-api-key: "+key, ""), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "authentication_error", Message: "invalid x-api-key: [key]"}},
	{403, problem("permission_error", "No.", ""), nil, failure.Error{Kind: failure.Unauthorized, Code: "permission_error", Message: "No."}},
	{404, problem("not_found_error", "model: claude-9", ""), nil, failure.Error{Kind: failure.ModelNotFound, Code: "not_found_error", Message: "model: claude-9"}},
	{400, problem(key, key, ""), []string{"Request-Id", key, "Anthropic-Workspace-Id", key, "X-Echo", "you sent " + key},
		failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
}

var failures = []providertest.Failure{
	{`{"content":[{"type":"text","text":"half"}],"stop_reason":"refusal"}`,
		failure.ContentFiltered, "refusal", "the model refused to answer"},
	{`{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"No exploits."}}`,
		failure.ContentFiltered, "refusal", "cyber: No exploits."},
	{`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, failure.Overloaded, "overloaded_error", "Overloaded"},
	{`{"type":"error","error":{"type":"billing_error","message":"Pay."}}`, failure.QuotaExhausted, "billing_error", "Pay."},
	{`{"type":"message"}`, failure.Transient, "", `the answer has no content: {"type":"message"}`},
	{`{"content":[7]}`, failure.Transient, "", `a block of the answer is not an object: {"content":[7]}`},
}

func errorEvent(data string) string { return "event: error\ndata: " + data + "\n\n" }

var interrupts = []providertest.Failure{
	{errorEvent(`{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`), failure.Overloaded, "overloaded_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}`), failure.RateLimited, "rate_limit_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"billing_error","message":"Pay."}}`), failure.QuotaExhausted, "billing_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"api_error","message":"Oops"}}`), failure.Transient, "api_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"timeout_error","message":"Late"}}`), failure.Transient, "timeout_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"authentication_error","message":"key ` + key + `"}}`), failure.Unauthorized, "authentication_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"permission_error","message":"No."}}`), failure.Unauthorized, "permission_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"not_found_error","message":"No."}}`), failure.ModelNotFound, "not_found_error", ""},
	{errorEvent(`{"type":"error","error":{"type":"request_too_large","message":"No."}}`), failure.InvalidRequest, "request_too_large", ""},
	{errorEvent(`{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}`), failure.ContextTooLong, "invalid_request_error", ""},
	{errorEvent(`{"type":"error"}`), failure.Transient, "", ""},
	{errorEvent(`{"type":"error","error":null}`), failure.Transient, "", ""},
	{errorEvent(`[DONE]`), failure.Transient, "", ""},
	{event(`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"No."}}}`),
		failure.ContentFiltered, "refusal", ""},
}

var rejected = []providertest.Rejected{
	{"messages: must have at least one message of", llm.Prompt(" \n")},
	{"messages: must have at least one message of", &llm.Request{Messages: []llm.Message{llm.System("x")}}},
	{"messages[1] (assistant): parts[0]: data of anthropic's reasoning: must be a JSON object", providertest.Said(llm.RoleAssistant, llm.Reasoning{Provider: "anthropic", Data: []byte("null")})},
	{"messages[1] (assistant): parts[0]: data of anthropic's reasoning", providertest.Said(llm.RoleAssistant, llm.Reasoning{Provider: "anthropic"})},
	{"seed 7: Anthropic's API has none", providertest.With(func(r *llm.Request) { r.Seed = new(int64(7)) })},
	{"extra: stream: is set by the request itself", providertest.WithExtra("stream", true)},
	{"extra: model: is set", providertest.WithExtra("model", "x")},
	{"extra: messages: is set", providertest.WithExtra("messages", nil)},
	{`extra: "": must be the name`, providertest.WithExtra("", 1)},
	{"unsupported type: chan int", providertest.WithExtra("x", make(chan int))},
	{"extra: system: replaces the instructions", providertest.With(func(r *llm.Request) {
		r.Schema, r.Extra = &llm.Schema{JSON: json.RawMessage(`{"type":"array"}`)}, map[string]any{"system": "x"}
		r.Messages = append([]llm.Message{llm.System("Be brief.")}, r.Messages...)
	})},
}

const invalidUTF8 = `{"model":"claude-haiku-5-5","max_tokens":16000,"messages":[{"role":"user","content":[{"type":"text","text":"a�b\u0000�"}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"_","name":"f","input":{"a":"�"}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"_","content":[{"type":"text","text":"���"}]}]}],
		"stop_sequences":["�"],"tools":[{"name":"f","description":"�","input_schema":{"type":"object"}}]}`

// key is one that would be seen wherever it leaks.
const key = providertest.Key

var (
	server     = providertest.Server
	reply      = providertest.Reply
	same       = providertest.Same
	secretFree = providertest.SecretFree
)

// prompt is a request that would be seen wherever it leaks.
var prompt = llm.Prompt("the prompt")

// streamed makes a call by Stream, and puts together what comes.
func streamed(ctx context.Context, m *anthropic.Model, req *llm.Request) (*llm.Response, error) {
	var a llm.Assembly
	for chunk, err := range m.Stream(ctx, req) {
		if err != nil {
			return nil, err
		}
		a.Add(chunk)
	}
	return a.Response(), nil
}

// model makes one of the server's.
func model(t *testing.T, s *httptest.Server, change func(*anthropic.Options)) *anthropic.Model {
	t.Helper()
	opts := anthropic.Options{APIKey: key, BaseURL: s.URL, HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := anthropic.New("claude-haiku-5-5", opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func one(t *testing.T, response *llm.Response, err error) *failure.Error {
	t.Helper()
	e, ok := errors.AsType[*failure.Error](err)
	if !ok || response != nil {
		t.Fatalf("got %v, %v (%T)", response, err, err)
	}
	if e.Provider != "anthropic" || e.Model != "anthropic/claude-haiku-5-5" {
		t.Errorf("the error says it is from %q, %q", e.Provider, e.Model)
	}
	secretFree(t, err)
	return e
}

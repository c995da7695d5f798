package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"go.uber.org/goleak"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello is what OpenAI answers to a greeting.
const hello = `{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-6-luna-2026-08-06",
  "choices": [
    {
      "index": 0,
      "message": {"role": "assistant", "content": "Hello! How can I assist you today?", "refusal": null, "annotations": []},
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default"
}`

func TestContract(t *testing.T) {
	providertest.Run(t, providertest.Adapter{
		Provider: "openai", Model: "gpt-6-luna",
		New: func(name string, o providertest.Options) (llm.Streamer, error) {
			return providertest.Opened(openai.New(name, openai.Options{APIKey: o.APIKey, BaseURL: o.BaseURL, Name: o.Name, HTTPClient: o.HTTPClient}))
		},
		KeyVariable: openai.KeyVariable, BaseURLVariable: openai.BaseURLVariable,
		Foreign: foreign, ForeignHeaders: foreignHeaders,
		Base: "/v1", Path: "/v1/chat/completions", Authorization: "Authorization", Scheme: "Bearer ", RequestID: "X-Request-Id",
		Hello: hello,
		Answer: llm.Response{
			Message: llm.Assistant("Hello! How can I assist you today?"), Finish: llm.FinishStop, Model: "gpt-6-luna-2026-08-06",
			Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3, AudioTokens: 2},
		},
		Begin:    dataEvent(`{"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}`) + dataEvent(delta("")),
		Text:     func(piece string) string { return dataEvent(delta(piece)) },
		End:      dataEvent(stopped("stop")) + dataEvent(counted) + dataEvent(done),
		Refusals: refusals, Failures: failures, Interrupt: interrupts,
		InvalidUTF8: invalidUTF8,
		SDK:         sdkError,
		Loose: providertest.Loose{
			Stop: `"stop"`,
			Says: func(text string) string {
				return `{"choices":[{"message":{"content":` + quoted(text) + `},"finish_reason":"stop"}]}`
			},
			Call:       `{"choices":[{"message":{"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"stop"}]}`,
			CallEvents: dataEvent(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}`) + dataEvent(stopped("stop")),
			Shapes: map[string]string{
				"a list of parts":                    `{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},{"type":"text","text":"Hel"},{"type":"reference","reference_ids":[1]},{"type":"text","text":"lo"}]},"finish_reason":"stop"}]}`,
				"a list of texts":                    `{"choices":[{"message":{"content":["Hel","lo"]},"finish_reason":"stop"}]}`,
				"the text of a completion":           `{"choices":[{"text":"Hello","finish_reason":"stop"}]}`,
				"the text of a completion, streamed": dataEvent(`{"choices":[{"index":0,"text":"Hel"}]}`) + dataEvent(`{"choices":[{"index":0,"text":"lo","finish_reason":"stop"}]}`),
				"a text as Assistants have it":       `{"choices":[{"message":{"content":[{"type":"text","text":{"value":"Hello","annotations":[]}}]},"finish_reason":"stop"}]}`,
				"a list of parts in pieces":          dataEvent(`{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]}]}}]}`) + dataEvent(`{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"Hel"}]}}]}`) + dataEvent(delta("lo")) + dataEvent(stopped("stop")),
				"message for delta":                  dataEvent(`{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}`),
				"message for delta, in pieces":       dataEvent(`{"choices":[{"index":0,"message":{"content":"Hel"}}]}`) + dataEvent(`{"choices":[{"index":0,"message":{"content":"lo"},"finish_reason":"stop"}]}`),
				"an empty delta beside the message":  dataEvent(delta("")) + dataEvent(`{"choices":[{"index":0,"delta":{},"message":{"content":"Hello"},"finish_reason":"stop"}]}`),
				"the message again at the end":       dataEvent(delta("Hel")) + dataEvent(delta("lo")) + dataEvent(`{"choices":[{"index":0,"delta":{},"message":{"content":"Hello"},"finish_reason":"stop"}]}`),
			},
			Billed: map[string]llm.Usage{
				`{"choices":[{"message":{"content":"half"},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`:           {InputTokens: 3, OutputTokens: 4},
				`{"choices":[{"message":{"refusal":"No."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`:                      {InputTokens: 3, OutputTokens: 4},
				`{"choices":[{"error":{"code":502,"message":"No."}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`:                                    {InputTokens: 3, OutputTokens: 4},
				dataEvent(`{"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"No."}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`):    {InputTokens: 3, OutputTokens: 4},
				dataEvent(`{"choices":[{"index":0,"finish_reason":"content_filter","delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`) + done: {InputTokens: 3, OutputTokens: 4},
			},
		},
	})
}

func TestContractOfResponses(t *testing.T) {
	text := func(piece string) string {
		quoted, _ := json.Marshal(piece)
		return dataEvent(`{"type":"response.output_text.delta","item_id":"msg_1","delta":` + string(quoted) + `}`)
	}
	providertest.Run(t, providertest.Adapter{
		Provider: "openai-responses", Prefix: "openai", Model: "gpt-6-luna",
		New: func(name string, o providertest.Options) (llm.Streamer, error) {
			return providertest.Opened(openai.NewResponses(name, openai.Options{APIKey: o.APIKey, BaseURL: o.BaseURL, Name: o.Name, HTTPClient: o.HTTPClient}))
		},
		KeyVariable: openai.KeyVariable, BaseURLVariable: openai.BaseURLVariable,
		Foreign: foreign, ForeignHeaders: foreignHeaders,
		Base: "/v1", Path: "/v1/responses", Authorization: "Authorization", Scheme: "Bearer ", RequestID: "X-Request-Id",
		Hello: responded("completed", "", said("msg_1", "Hello!")),
		Answer: llm.Response{
			Message: llm.Assistant("Hello!"), Finish: llm.FinishStop, Model: "gpt-6-luna-2026-08-06",
			Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3},
		},
		Begin:    dataEvent(`{"type":"response.created","response":{"status":"in_progress","error":null,"output":[]}}`),
		Text:     text,
		End:      dataEvent(`{"type":"response.completed","response":{"status":"completed","output":[],"usage":{}}}`),
		Refusals: refusals,
		Failures: []providertest.Failure{
			{`{"output":null}`, failure.Transient, "", ""},
			{`{"object":"response","output":[{`, failure.Transient, "", ""},
			{`{"error":{"code":"insufficient_quota","message":"No."}}`, failure.QuotaExhausted, "insufficient_quota", "No."},
		},
		Interrupt: []providertest.Failure{
			{dataEvent(`{"type":"error","code":"insufficient_quota","message":"You exceeded your current quota.","param":null,"sequence_number":2}`), failure.QuotaExhausted, "insufficient_quota", ""},
			{"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\",\"message\":\"No.\"}}\n\n",
				failure.QuotaExhausted, "insufficient_quota", "No."},
			{dataEvent(`{"type":"error","code":"server_is_overloaded","message":"Busy."}`), failure.Overloaded, "server_is_overloaded", "Busy."},
			{dataEvent("garbage"), failure.Transient, "", ""},
		},
		NoStop: true,
		InvalidUTF8: `{"model":"gpt-6-luna","store":false,"include":["reasoning.encrypted_content"],"input":[{"role":"user","content":"a�b\u0000�"},
			{"type":"function_call","call_id":"�","name":"f","arguments":"{\"a\":\"�\"}"},{"type":"function_call_output","call_id":"�","output":"���"}],
			"tools":[{"type":"function","name":"f","description":"�","parameters":{"type":"object","properties":{}},"strict":false}]}`,
		SDK: sdkError,
		Loose: providertest.Loose{
			Stop:       `"completed"`,
			Says:       func(text string) string { return responded("completed", "", said("msg_1", text)) },
			Call:       responded("completed", "", calledF),
			CallEvents: dataEvent(`{"type":"response.output_item.done","item":`+calledF+`}`) + dataEvent(`{"type":"response.completed","response":{"status":"completed","output":[],"usage":{}}}`),
			Shapes: map[string]string{
				"a part that ends": dataEvent(`{"type":"response.content_part.done","item_id":"m","part":{"type":"output_text","text":"Hello"}}`) +
					dataEvent(`{"type":"response.completed","response":{"status":"completed","output":[]}}`),
				"content that is a text":       responded("completed", "", `{"type":"message","content":"Hello"}`),
				"text in the last event":       dataEvent(`{"type":"response.created","response":{"status":"in_progress","output":[]}}`) + dataEvent(`{"type":"response.completed","response":`+oneLine(responded("completed", "", thought, said("msg_1", "Hello")))+`}`),
				"text in the last event alone": dataEvent(`{"type":"response.output_item.done","item":`+thought+`}`) + dataEvent(`{"type":"response.completed","response":`+oneLine(responded("completed", "", thought, said("msg_1", "Hello")))+`}`),
				"another ID in the last event": text("Hello") + dataEvent(`{"type":"response.completed","response":`+oneLine(responded("completed", "", said("msg_other", "Hello")))+`}`),
				"text when it is done":         dataEvent(`{"type":"response.output_text.done","item_id":"msg_1","text":"Hello"}`) + dataEvent(`{"type":"response.completed","response":{"status":"completed","output":[]}}`),
			},
			Billed: map[string]llm.Usage{
				responded("incomplete", `"incomplete_details":{"reason":"content_filter"},`):                                                                {InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3},
				responded("failed", `"error":{"code":"server_error","message":"No."},`):                                                                     {InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3},
				dataEvent(`{"type":"response.failed","response":` + oneLine(responded("failed", `"error":{"code":"server_error","message":"No."},`)) + `}`): {InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3},
			},
		},
	})
}

// calledF is the item of a call.
const calledF = `{"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}`

// quoted is a text as JSON.
func quoted(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

// oneLine is JSON as the data of an event.
func oneLine(data string) string { return strings.ReplaceAll(data, "\n", "") }

var (
	foreign = map[string]string{
		"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1", "OPENAI_ADMIN_KEY": "sk-admin", "OPENAI_CUSTOM_HEADERS": "X-Custom: 1",
	}
	foreignHeaders = []string{"OpenAI-Organization", "OpenAI-Project", "X-Custom"}
)

// environment sets what the SDK or this package might read.
func environment(t *testing.T, variables map[string]string) {
	for _, name := range []string{openai.KeyVariable, openai.BaseURLVariable} {
		t.Setenv(name, variables[name])
	}
	for name := range foreign {
		t.Setenv(name, variables[name])
	}
}

func sdkError(err error) (providertest.SDKError, bool) {
	api, ok := errors.AsType[*sdk.Error](err)
	if !ok {
		return providertest.SDKError{}, false
	}
	return providertest.SDKError{
		Status: api.StatusCode, Request: string(api.DumpRequest(true)), Response: string(api.DumpResponse(true)),
		Printed: fmt.Sprint(api.Request.Header, api.Response.Request.Header) + api.RawJSON() + api.Message + api.Code,
	}, true
}

// dataEvent is an event with this data.
func dataEvent(data string) string { return "data: " + data + "\n\n" }

// problem is an error as OpenAI sends it.
func problem(code, kind, message string) string {
	text, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
	return string(text)
}

var refusals = []providertest.Refusal{
	{429, problem("rate_limit_exceeded", "requests", "Rate limit reached."), []string{"Retry-After", "20"},
		failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 20 * time.Second}},
	{429, problem("rate_limit_exceeded", "tokens", "Rate limit reached."), []string{"Retry-After", "20", "Retry-After-Ms", "19500.5"},
		failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 19500500 * time.Microsecond}},
	{429, problem("insufficient_quota", "insufficient_quota", "You exceeded your current quota."), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "insufficient_quota", Message: "You exceeded your current quota."}},
	{429, problem("slow_down", "rate_limit_error", "Slow down."), nil,
		failure.Error{Kind: failure.Overloaded, Code: "slow_down", Message: "Slow down."}},
	{503, `{"error":{"message":"Busy.","type":"service_unavailable_error","code":null}}`, nil,
		failure.Error{Kind: failure.Overloaded, Code: "service_unavailable_error", Message: "Busy."}},
	{500, problem("", "server_error", "The server had an error."), []string{"X-Should-Retry", "true"},
		failure.Error{Kind: failure.Transient, Code: "server_error", Message: "The server had an error."}},
	{409, "", nil, failure.Error{Kind: failure.Transient, Message: "Conflict"}},
	{400, problem("context_length_exceeded", "invalid_request_error", "Too long."), nil,
		failure.Error{Kind: failure.ContextTooLong, Code: "context_length_exceeded", Message: "Too long."}},
	{400, problem("content_policy_violation", "invalid_request_error", "No."), nil,
		failure.Error{Kind: failure.ContentFiltered, Code: "content_policy_violation", Message: "No."}},
	{400, `{"error":{"message":"Unsupported parameter.","type":"invalid_request_error","param":"stop","code":null}}`, []string{"X-Should-Retry", "true"},
		failure.Error{Kind: failure.InvalidRequest, Code: "invalid_request_error", Message: "Unsupported parameter."}},
	{401, problem("invalid_api_key", "invalid_request_error", "Incorrect API key provided: "+key+"."), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided: [key]."}},
	{403, problem("unsupported_country_region_territory", "request_forbidden", "Country not supported."), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "unsupported_country_region_territory", Message: "Country not supported."}},
	{404, problem("model_not_found", "invalid_request_error", "No such model."), nil,
		failure.Error{Kind: failure.ModelNotFound, Code: "model_not_found", Message: "No such model."}},
	{402, `{"error":{"code":402,"message":"Insufficient credits."}}`, nil,
		failure.Error{Kind: failure.QuotaExhausted, Message: "Insufficient credits."}},
	{503, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, nil,
		failure.Error{Kind: failure.Overloaded, Message: "server busy, please try again. maximum pending requests exceeded"}},
	{400, `{"error":{"message":"` + key + `","code":"` + key + `"}}`, []string{"X-Request-Id", key},
		failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
}

var failures = []providertest.Failure{
	{`{"choices":[{"message":{"content":null,"refusal":"I can't help with that."},"finish_reason":"stop"}]}`,
		failure.ContentFiltered, "refusal", "I can't help with that."},
	{`{"choices":[{"message":{"content":"half"},"finish_reason":"content_filter"}]}`,
		failure.ContentFiltered, "content_filter", "the provider withheld the answer"},
	{`{"choices":[{"message":{"content":"half"},"finish_reason":"insufficient_system_resource"}]}`,
		failure.Overloaded, "insufficient_system_resource", "the provider broke the answer off"},
	{`{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"oops"}},"user_id":"x"}`,
		failure.Transient, "502", "Provider returned error: oops"},
	{`{"error":{"code":429,"message":"Rate limited"}}`, failure.RateLimited, "429", "Rate limited"},
	{`{"error":{"code":"insufficient_quota","message":"No."}}`, failure.QuotaExhausted, "insufficient_quota", "No."},
	{`{"choices":[{"message":{"content":"half"},"finish_reason":"error","error":{"code":503,"message":"overloaded"}}]}`,
		failure.Overloaded, "503", "overloaded"},
	{`{"choices":[]}`, failure.Transient, "", `the answer has no choices: {"choices":[]}`},
	{`{"CHOICES":[{}]}`, failure.Transient, "", `the answer has no choices: {"CHOICES":[{}]}`},
}

var interrupts = []providertest.Failure{
	{dataEvent(`{"error":{"message":"No.","type":"insufficient_quota","code":"insufficient_quota"}}`), failure.QuotaExhausted, "insufficient_quota", ""},
	{dataEvent(`{"error":{"message":"Slow down.","type":"rate_limit_error","code":"slow_down"}}`), failure.Overloaded, "slow_down", ""},
	{"event: error\ndata: {\"error\":{\"message\":\"No.\",\"code\":\"rate_limit_exceeded\"}}\n\n", failure.RateLimited, "rate_limit_exceeded", ""},
	{"event: error\ndata: {\"message\":\"No.\",\"code\":\"rate_limit_exceeded\"}\n\n", failure.RateLimited, "rate_limit_exceeded", ""},
	{"event: error\ndata: {}\n\n", failure.Transient, "", ""},
	{dataEvent(`{"id":"1","error":{"code":502,"message":"upstream"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`), failure.Transient, "502", ""},
	{dataEvent(`{"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"code":503,"message":"overloaded"}}]}`), failure.Overloaded, "503", ""},
	{dataEvent(`{"error":"server busy, please try again. maximum pending requests exceeded"}`), failure.Overloaded, "", ""},
	{dataEvent(`{"error":{"message":"` + key + ` is bad","code":"invalid_api_key"}}`), failure.Unauthorized, "invalid_api_key", ""},
}

const invalidUTF8 = `{"model":"gpt-6-luna","messages":[{"role":"user","content":"a�b\u0000�"},
		{"role":"assistant","tool_calls":[{"id":"�","type":"function","function":{"name":"f","arguments":"{\"a\":\"�\"}"}}]},{"role":"tool","tool_call_id":"�","content":"���"}],
		"stop":["�"],"tools":[{"type":"function","function":{"name":"f","description":"�"}}]}`

// key is one that would be seen wherever it leaks.
const key = providertest.Key

var (
	server     = providertest.Server
	reply      = providertest.Reply
	same       = providertest.Same
	secretFree = providertest.SecretFree
	mustHide   = providertest.MustHide
)

type roundTrip = providertest.RoundTrip

// model makes one of the server's.
func model(t *testing.T, s *httptest.Server, change func(*openai.Options)) *openai.Model {
	t.Helper()
	opts := openai.Options{APIKey: key, BaseURL: s.URL + "/v1", HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := openai.New("gpt-6-luna", opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswerWithToolCalls(t *testing.T) {
	m := model(t, server(t, reply(200, `{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[
		{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Berlin\"}"}},
		{"id":"call_2","type":"function","function":{"name":"time","arguments":"{broken"}}]},"finish_reason":"tool_calls"}]}`)), nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil {
		t.Fatal(err)
	}
	calls := got.Message.ToolCalls()
	if len(calls) != 2 || calls[0].ID != "call_1" || calls[0].Name != "weather" || string(calls[0].Arguments) != `{"city": "Berlin"}` ||
		string(calls[1].Arguments) != "{broken" {
		t.Errorf("calls %+v", calls)
	}
	if got.Finish != llm.FinishToolCall || got.Text() != "" {
		t.Errorf("got %+v", got)
	}
}

func TestFinishReasons(t *testing.T) {
	const call = `,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]`
	for _, step := range []struct {
		reason, more string
		want         llm.Finish
	}{
		{`"stop"`, "", llm.FinishStop},
		{`"eos"`, "", llm.FinishStop},
		{`"stop"`, call, llm.FinishToolCall},
		{`"tool_calls"`, call, llm.FinishToolCall},
		{`"length"`, "", llm.FinishLength},
		{`"length"`, call, llm.FinishLength},
		{`null`, "", llm.FinishNone},
		{`""`, "", llm.FinishNone},
		{`"something new"`, "", "something new"},
		{`"something new"`, call, llm.FinishToolCall},
	} {
		body := `{"choices":[{"message":{"content":"text"` + step.more + `},"finish_reason":` + step.reason + `}]}`
		got, err := model(t, server(t, reply(200, body)), nil).Complete(t.Context(), llm.Prompt("Hello!"))
		if err != nil || got.Finish != step.want || got.Text() != "text" {
			t.Errorf("%s%s: got %+v, %v; want %q", step.reason, step.more, got, err, step.want)
		}
	}
}

package gemini_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
	"llmcall/provider/internal/providertest"
)

func TestMain(m *testing.M) {
	// It starts when the SDK's dependency is imported.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// hello is what Gemini answers to a greeting.
const hello = `{
  "candidates": [
    {
      "content": {"parts": [{"text": "Hello! How can I assist"}, {"text": " you today?"}], "role": "model"},
      "finishReason": "STOP",
      "index": 0
    }
  ],
  "usageMetadata": {
    "promptTokenCount": 19,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 3,
    "toolUsePromptTokenCount": 5,
    "totalTokenCount": 34,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 13}, {"modality": "AUDIO", "tokenCount": 6}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 1}]
  },
  "modelVersion": "gemini-3.5-flash-lite-001",
  "responseId": "Il0taoSYJ5Cez7"
}`

func TestContract(t *testing.T) {
	overloaded := problem(503, "UNAVAILABLE", "The model is overloaded.", "")
	limited := problem(429, "RESOURCE_EXHAUSTED", "Slow down, "+key+".", `{"@type":"a.RetryInfo","retryDelay":"34s"}`)
	providertest.Run(t, providertest.Adapter{
		Provider: "gemini", Model: "gemini-3.5-flash-lite",
		New: func(name string, o providertest.Options) (llm.Streamer, error) {
			return providertest.Opened(gemini.New(name, gemini.Options{APIKey: o.APIKey, BaseURL: o.BaseURL, Name: o.Name, HTTPClient: o.HTTPClient}))
		},
		KeyVariable: gemini.KeyVariable, BaseURLVariable: gemini.BaseURLVariable,
		Foreign: foreign,
		Path:    "/v1beta/models/gemini-3.5-flash-lite:generateContent", Authorization: "X-Goog-Api-Key", RequestID: "X-Request-Id",
		Hello: hello,
		Answer: llm.Response{
			Message: llm.Assistant("Hello! How can I assist you today?"), Finish: llm.FinishStop,
			Model: "gemini-3.5-flash-lite-001", RequestID: "Il0taoSYJ5Cez7",
			Usage: llm.Usage{InputTokens: 24, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, AudioTokens: 6, CachedAudioTokens: 1},
		},
		Begin: data(`{"modelVersion":"m-1","responseId":"r"}`),
		Text: func(text string) string {
			quoted, _ := json.Marshal(text)
			return data(piece(`{"text":` + string(quoted) + `}`))
		},
		End:      data(stop),
		Refusals: refusals, Failures: failures,
		Interrupt: []providertest.Failure{
			{data(overloaded), failure.Overloaded, "UNAVAILABLE", "The model is overloaded."},
			{"event: error\ndata: " + limited + "\n\n", failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
			{data(`{"error":{"message":"No."}}`), failure.Unknown, "", "No."},
			{data(strings.Replace(stop, "STOP", "SAFETY", 1)), failure.ContentFiltered, "SAFETY", ""},
			{data(strings.Replace(stop, "STOP", "MALFORMED_FUNCTION_CALL", 1)), failure.InvalidAnswer, "MALFORMED_FUNCTION_CALL", ""},
			{data(`{"promptFeedback":{"blockReason":"SAFETY"}}`), failure.ContentFiltered, "SAFETY", "the provider blocked the request"},
			{data(`{"candidates":{"a":1}}`), failure.Transient, "", ""},
			{data(`{"candidates":[{"content":{"parts":["x"]}}]}`), failure.Transient, "", ""},
		},
		Requests:    rejected,
		InvalidUTF8: invalidUTF8,
		SDK:         sdkError,
		Loose: providertest.Loose{
			Stop: `"STOP"`,
			Says: func(text string) string {
				quoted, _ := json.Marshal(text)
				return `{"candidates":[{"content":{"parts":[{"text":` + string(quoted) + `}]},"finishReason":"STOP"}]}`
			},
			Call:       `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}}}]},"finishReason":"STOP"}]}`,
			CallEvents: data(piece(`{"functionCall":{"name":"f","args":{"a":1}}}`), stop),
			Shapes: map[string]string{
				"content that is a text": `{"candidates":[{"content":"Hello","finishReason":"STOP"}]}`,
				"parts that are one":     `{"candidates":[{"content":{"parts":{"text":"Hello"}},"finishReason":"STOP"}]}`,
			},
			Billed: map[string]llm.Usage{
				`{"candidates":[{"finishReason":"SAFETY"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}`:       {InputTokens: 3, OutputTokens: 4},
				data(`{"candidates":[{"finishReason":"SAFETY"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}`): {InputTokens: 3, OutputTokens: 4},
				`{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}`:                               {InputTokens: 3},
			},
		},
	})
}

func sdkError(err error) (providertest.SDKError, bool) {
	api, ok := errors.AsType[genai.APIError](err)
	return providertest.SDKError{Status: api.Code, Printed: fmt.Sprintf("%+v", api)}, ok
}

var foreign = map[string]string{
	gemini.SecondKeyVariable: "", "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:1", "GOOGLE_GENAI_USE_VERTEXAI": "true",
	"GOOGLE_GENAI_USE_ENTERPRISE": "1", "GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "eu",
}

// environment sets what the SDK or this package might read.
func environment(t *testing.T, variables map[string]string) {
	for _, name := range []string{gemini.KeyVariable, gemini.BaseURLVariable} {
		t.Setenv(name, variables[name])
	}
	for name := range foreign {
		t.Setenv(name, variables[name])
	}
}

func TestNamesThatCannotBeInAnAddress(t *testing.T) {
	for _, name := range []string{"m?key=" + key[:4], "a/../b", "m#", "m%2f"} {
		if m, err := gemini.New(name, gemini.Options{APIKey: key}); err == nil || m != nil || !strings.Contains(err.Error(), fmt.Sprintf("gemini: model must be a name that can be part of an address, such as %s, got %q", gemini.DefaultModel, name)) {
			t.Errorf("%q: got %v, %v", name, m, err)
		}
	}
}

var refusals = []providertest.Refusal{
	{429, problem(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]},
		{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}`), nil,
		failure.Error{Kind: failure.RateLimited, Code: "RESOURCE_EXHAUSTED", Message: "Quota exceeded.", Told: true, RetryAfter: 34400 * time.Millisecond}},
	{429, problem(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", `{"@type":"a.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}`), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "RESOURCE_EXHAUSTED", Message: "Quota exceeded."}},
	{429, problem(429, "RESOURCE_EXHAUSTED", "Quota exceeded, limit: 0", `{"@type":"a.RetryInfo","retryDelay":"34s"}`), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "RESOURCE_EXHAUSTED", Message: "Quota exceeded, limit: 0"}},
	{429, `{"error":{"message":"Slow down."}}`, []string{"Retry-After", "20"}, // the SDK loses the status
		failure.Error{Kind: failure.RateLimited, Message: "Slow down.", Told: true, RetryAfter: 20 * time.Second}},
	{429, `{"error":{"code":"quota_exceeded","message":"No."}}`, nil, // nor does this fit its type
		failure.Error{Kind: failure.QuotaExhausted, Code: "quota_exceeded", Message: "No."}},
	{402, problem(402, "FAILED_PRECONDITION", "Prepaid credits are exhausted.", ""), nil,
		failure.Error{Kind: failure.QuotaExhausted, Code: "FAILED_PRECONDITION", Message: "Prepaid credits are exhausted."}},
	{503, problem(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", ""), nil,
		failure.Error{Kind: failure.Overloaded, Code: "UNAVAILABLE", Message: "The model is overloaded. Please try again later."}},
	{503, problem(503, "UNAVAILABLE", "The service is currently unavailable.", ""), nil,
		failure.Error{Kind: failure.Transient, Code: "UNAVAILABLE", Message: "The service is currently unavailable."}},
	{503, `[` + problem(503, "UNAVAILABLE", "The model is overloaded.", "") + `]`, nil,
		failure.Error{Kind: failure.Overloaded, Code: "UNAVAILABLE", Message: "The model is overloaded."}},
	{500, problem(500, "INTERNAL", "An internal error has occurred.", ""), nil,
		failure.Error{Kind: failure.Transient, Code: "INTERNAL", Message: "An internal error has occurred."}},
	{504, problem(504, "DEADLINE_EXCEEDED", "The request timed out.", ""), nil,
		failure.Error{Kind: failure.Transient, Code: "DEADLINE_EXCEEDED", Message: "The request timed out."}},
	{400, problem(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}`), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "API_KEY_INVALID", Message: "API key not valid. Please pass a valid API key."}},
	{400, problem(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).", ""), nil,
		failure.Error{Kind: failure.ContextTooLong, Code: "INVALID_ARGUMENT", Message: "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."}},
	{400, problem(400, "INVALID_ARGUMENT", "Unknown name.", ""), []string{"X-Should-Retry", "true"},
		failure.Error{Kind: failure.InvalidRequest, Code: "INVALID_ARGUMENT", Message: "Unknown name."}},
	{400, problem(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ""), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "FAILED_PRECONDITION", Message: "User location is not supported for the API use."}},
	{403, problem(403, "PERMISSION_DENIED", "Your API key was reported as leaked: "+key, ""), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "PERMISSION_DENIED", Message: "Your API key was reported as leaked: [key]"}},
	{404, problem(404, "NOT_FOUND", "models/x is not found for API version v1beta.", ""), nil,
		failure.Error{Kind: failure.ModelNotFound, Code: "NOT_FOUND", Message: "models/x is not found for API version v1beta."}},
	{400, `{"error":{"message":"` + key + `","status":"` + key + `","details":[{"k":"` + key + `"}]}}`, []string{"X-Request-Id", key},
		failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
	{400, `{"error":{"code":{"a":1},"message":["` + key + `"],"details":{"a":[]}}}`, nil,
		failure.Error{Kind: failure.InvalidRequest, Code: `{"a":1}`, Message: `["[key]"]`}},
}

// problem is an error as Google's services send it.
func problem(code int, status, message, details string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`{"error":{"code":%d,"message":%s,"status":%q,"details":[%s]}}`, code, text, status, details)
}

func candidate(reason, message string) string {
	return `{"candidates":[{"content":{"parts":[{"text":"half"}]},"finishReason":"` + reason + `","finishMessage":"` + message + `"}]}`
}

var failures = []providertest.Failure{
	{candidate("SAFETY", ""), failure.ContentFiltered, "SAFETY", "the provider withheld the answer"},
	{candidate("RECITATION", "Too close."), failure.ContentFiltered, "RECITATION", "Too close."},
	{candidate("LANGUAGE", ""), failure.ContentFiltered, "LANGUAGE", ""},
	{candidate("BLOCKLIST", ""), failure.ContentFiltered, "BLOCKLIST", ""},
	{candidate("PROHIBITED_CONTENT", ""), failure.ContentFiltered, "PROHIBITED_CONTENT", ""},
	{candidate("SPII", ""), failure.ContentFiltered, "SPII", ""},
	{candidate("IMAGE_SAFETY", ""), failure.ContentFiltered, "IMAGE_SAFETY", ""},
	{candidate("MALFORMED_FUNCTION_CALL", "Malformed function call: f("), failure.InvalidAnswer, "MALFORMED_FUNCTION_CALL", "Malformed function call: f("},
	{candidate("UNEXPECTED_TOOL_CALL", ""), failure.InvalidAnswer, "UNEXPECTED_TOOL_CALL", "what the model wrote can't be read: UNEXPECTED_TOOL_CALL"},
	{candidate("OTHER", ""), failure.Transient, "OTHER", ""},
	{candidate("MISSING_THOUGHT_SIGNATURE", ""), failure.InvalidRequest, "MISSING_THOUGHT_SIGNATURE", ""},
	{`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3}}`,
		failure.ContentFiltered, "PROHIBITED_CONTENT", "the provider blocked the request"},
	{`{"promptFeedback":{"blockReason":"OTHER","blockReasonMessage":"Not this."}}`, failure.ContentFiltered, "OTHER", "Not this."},
	{problem(503, "UNAVAILABLE", "The model is overloaded.", ""), failure.Overloaded, "UNAVAILABLE", "The model is overloaded."},
	{`{"error":{"code":503,"message":"The model is overloaded."},"candidates":{}}`, failure.Overloaded, "503", "The model is overloaded."},
	{strings.Replace(hello, "{", `{"error":{"code":503,"message":"The model is overloaded."},`, 1), failure.Overloaded, "503", "The model is overloaded."},
	{problem(429, "RESOURCE_EXHAUSTED", key, ""), failure.RateLimited, "RESOURCE_EXHAUSTED", "[key]"},
	{`{"candidates":[]}`, failure.Transient, "", `the answer has no candidates: {"candidates":[]}`},
	{`{}`, failure.Transient, "", `the answer has no candidates: {}`},
	{`{"candidates":{"a":1}}`, failure.Transient, "", ""},
	{`{"candidates":[{"content":{"parts":["x"]}}]}`, failure.Transient, "", ""},
}

var rejected = []providertest.Rejected{
	{"messages: must have at least one message that is not the system's", &llm.Request{Messages: []llm.Message{llm.System("x")}}},
	{"messages[1] (user): parts[0]: url: must be an http, https or gs address", providertest.Said(llm.RoleUser, llm.Image{URL: "file:///cat.png"})},
	{"messages[1].parts[0]: seems to be ", providertest.Said(llm.RoleUser, llm.Image{URL: "data:image/png;base64,AAAA"})},
	{"messages[1] (assistant): parts[0]: must be text, a tool call or reasoning", providertest.Said(llm.RoleAssistant, llm.Image{})},
	{"messages[1] (assistant): parts[0]: data: must be a JSON object", providertest.Said(llm.RoleAssistant, reasoning(`{`))},
	{"messages[1] (assistant): parts[0]: data: must be a JSON object", providertest.Said(llm.RoleAssistant, reasoning(``))},
	{`messages[1] (tool): parts[0]: call_id "1": must be that of a tool call in an earlier message`, providertest.Said(llm.RoleTool, llm.ToolResult{CallID: "1"})},
	{"max_tokens 2147483648", providertest.With(func(r *llm.Request) { r.MaxTokens = 1 << 31 })},
	{"temperature +Inf", providertest.With(func(r *llm.Request) { r.Temperature = new(math.Inf(1)) })},
	{"seed 2147483648: must be a number from", providertest.With(func(r *llm.Request) { r.Seed = new(int64(1 << 31)) })},
	{"stop: must have at most 5 sequences, has 6", providertest.With(func(r *llm.Request) { r.Stop = []string{"1", "2", "3", "4", "5", "6"} })},
	{`extra: the field "model"`, providertest.WithExtra("model", "x")},
	{`extra: the field "contents"`, providertest.WithExtra("contents", "x")},
	{`extra: the field "stream"`, providertest.WithExtra("stream", true)},
	{`extra: the field "f"`, providertest.WithExtra("f", func() {})},
	{`extra: the field "generationConfig": must be an object`, providertest.WithExtra("generationConfig", 1)},
}

const invalidUTF8 = `{"contents":[{"role":"user","parts":[{"text":"a\ufffdb\u0000\ufffd"}]},
		{"role":"model","parts":[{"functionCall":{"id":"\ufffd","name":"f","args":{"a":"\ufffd"}},"thoughtSignature":"Q"}]},
		{"role":"user","parts":[{"functionResponse":{"id":"\ufffd","name":"f","response":{"output":"\ufffd\ufffd\ufffd"}}}]}],
		"tools":[{"functionDeclarations":[{"name":"f","description":"\ufffd"}]}],"generationConfig":{"stopSequences":["\ufffd"]}}`

// key is one that would be seen wherever it leaks.
const key = providertest.Key

var (
	server     = providertest.Server
	reply      = providertest.Reply
	hijack     = providertest.Hijack
	same       = providertest.Same
	secretFree = providertest.SecretFree
)

// model makes one of the server's.
func model(t *testing.T, s *httptest.Server, change func(*gemini.Options)) *gemini.Model {
	t.Helper()
	opts := gemini.Options{APIKey: key, BaseURL: s.URL, HTTPClient: s.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := gemini.New("gemini-3.5-flash-lite", opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswerWithToolCalls(t *testing.T) {
	m := model(t, server(t, reply(200, `{"candidates":[{"content":{"parts":[
		{"functionCall":{"id":"8f2b1a3c","name":"weather","args":{"z": 1.0, "city": "Berlin", "n": 12345678901234567890}},"thoughtSignature":"QmVy_bGlu"},
		{"functionCall":{"name":"time","args":{}}},
		{"functionCall":{"name":"date"}}]},"finishReason":"STOP"}],"responseId":"r1"}`)), nil)
	for range 2 { // the IDs that are made are the same for the same answer
		got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
		if err != nil {
			t.Fatal(err)
		}
		want := []llm.Part{
			llm.ToolCall{ID: "8f2b1a3c", Name: "weather", Arguments: json.RawMessage(`{"z": 1.0, "city": "Berlin", "n": 12345678901234567890}`), Signature: []byte("QmVy_bGlu")},
			llm.ToolCall{ID: "gemini-call-r1-1", Name: "time", Arguments: json.RawMessage(`{}`)},
			llm.ToolCall{ID: "gemini-call-r1-2", Name: "date", Arguments: json.RawMessage(`{}`)},
		}
		if !reflect.DeepEqual(got.Message.Parts, want) || got.Finish != llm.FinishToolCall {
			t.Errorf("got %+v", got)
		}
	}
}

// What is neither text nor a call comes as Reasoning, and the text stays in one.
func TestAnswerWithThoughtsAndSignatures(t *testing.T) {
	for _, step := range []struct {
		parts string
		want  []llm.Part
	}{
		{`{"text":"Hm.","thought":true},{"text":"Hello!"}`, []llm.Part{reasoning(`{"text":"Hm.","thought":true}`), llm.Text("Hello!")}},
		{`{"text":"Hel","thoughtSignature":"QQ=="},{"text":"lo!"}`, []llm.Part{llm.Text("Hello!"), reasoning(`{"thoughtSignature":"QQ=="}`)}},
		{`{"text":"Hello!"},{"text":"","thoughtSignature":"QQ=="}`, []llm.Part{llm.Text("Hello!"), reasoning(`{"text":"","thoughtSignature":"QQ=="}`)}},
		{`{"text":"Hello!"},{"thoughtSignature":"QQ=="}`, []llm.Part{llm.Text("Hello!"), reasoning(`{"text":"","thoughtSignature":"QQ=="}`)}},
		{`{"text":""},{},null`, []llm.Part{}},
		{"{\"new\":\"\xff\"}", []llm.Part{reasoning("{\"new\":\"\ufffd\"}")}},
		{`{"functionCall":{"id":"1","name":"f","args":null}}`, []llm.Part{llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{}`)}}},
		{`{"executableCode":{"language":"PYTHON","code":"print(1)"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}},{"text":"1"}`, []llm.Part{
			reasoning(`{"executableCode":{"language":"PYTHON","code":"print(1)"}}`), reasoning(`{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}`), llm.Text("1")}},
	} {
		body := `{"candidates":[{"content":{"parts":[` + step.parts + `]},"finishReason":"STOP"}]}`
		got, err := model(t, server(t, reply(200, body)), nil).Complete(t.Context(), llm.Prompt("Hello!"))
		if err != nil || !reflect.DeepEqual(got.Message.Parts, step.want) {
			t.Errorf("%s: got %v, %v", step.parts, got, err)
		}
	}
}

func reasoning(data string) llm.Reasoning {
	return llm.Reasoning{Provider: "gemini", Data: json.RawMessage(data)}
}

func TestFinishReasons(t *testing.T) {
	const call = `{"functionCall":{"name":"f"}},`
	for _, step := range []struct {
		reason, more string
		want         llm.Finish
	}{
		{`"STOP"`, "", llm.FinishStop},
		{`"STOP"`, call, llm.FinishToolCall},
		{`"MAX_TOKENS"`, "", llm.FinishLength},
		{`"MAX_TOKENS"`, call, llm.FinishLength},
		{`"CONTINUATION"`, "", llm.FinishLength},
		{`null`, "", llm.FinishNone},
		{`""`, "", llm.FinishNone},
		{`"FINISH_REASON_UNSPECIFIED"`, "", llm.FinishNone},
		{`"SOMETHING_NEW"`, "", "SOMETHING_NEW"},
		{`"SOMETHING_NEW"`, call, llm.FinishToolCall},
	} {
		body := `{"candidates":[{"content":{"parts":[` + step.more + `{"text":"text"}]},"finishReason":` + step.reason + `}]}`
		got, err := model(t, server(t, reply(200, body)), nil).Complete(t.Context(), llm.Prompt("Hello!"))
		if err != nil || got.Finish != step.want || got.Text() != "text" {
			t.Errorf("%s%s: got %+v, %v; want %q", step.reason, step.more, got, err, step.want)
		}
	}
}

func TestOfSeveralCandidatesTheFirstCounts(t *testing.T) {
	m := model(t, server(t, reply(200, `{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]},"finishReason":"SAFETY"},
		{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}`)), nil)
	if got, err := m.Complete(t.Context(), llm.Prompt("Hello!")); err != nil || got.Text() != "a" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrorInTheBodyIsTheSDKs(t *testing.T) {
	got := failedStream(t, model(t, server(t, reply(200, problem(503, "UNAVAILABLE", "Busy, "+key, ""))), nil), t.Context())
	if api, ok := errors.AsType[genai.APIError](got); !ok || api.Code != 503 || api.Message != "Busy, [key]" {
		t.Errorf("got %+v", api)
	}
}

// Google's SDK reads both variables.
func TestTheKeyIsInEitherVariable(t *testing.T) {
	for _, step := range []struct{ first, second, want string }{
		{"a", "", "a"}, {"", "b", "b"}, {" ", "b", "b"}, {"a", "b", "a"},
	} {
		environment(t, map[string]string{gemini.KeyVariable: step.first, gemini.SecondKeyVariable: step.second})
		e := providertest.NewEcho(t, providertest.Reply(200, hello))
		m, err := gemini.New("gemini-3.5-flash-lite", gemini.Options{BaseURL: e.URL})
		if err != nil {
			t.Fatal(err)
		}
		e.Sent(t, m, llm.Prompt("Hi!"))
		if got := e.Header.Get("X-Goog-Api-Key"); got != step.want {
			t.Errorf("%+v: sent %q", step, got)
		}
	}
}

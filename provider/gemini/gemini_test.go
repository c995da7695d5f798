package gemini_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
)

func TestMain(m *testing.M) {
	// It starts when the SDK's dependency is imported.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// key is one that would be seen wherever it leaks.
const key = "AIza-RECOGNISABLE-0123456789"

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
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19}]
  },
  "modelVersion": "gemini-3.5-flash-lite-001",
  "responseId": "Il0taoSYJ5Cez7"
}`

// server starts a provider that answers with handle.
func server(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

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

// reply answers with a status, a body and headers.
func reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// failed makes a call that must fail, and looks at everything that could print
// the error.
func failed(t *testing.T, m *gemini.Model, ctx context.Context) *failure.Error {
	t.Helper()
	response, err := m.Complete(ctx, llm.Prompt("the prompt"))
	var e *failure.Error
	if !errors.As(err, &e) || response != nil {
		t.Fatalf("got %v, %v (%T)", response, err, err)
	}
	if e.Provider != "gemini" || e.Model != "gemini/gemini-3.5-flash-lite" {
		t.Errorf("the error says it is from %q, %q", e.Provider, e.Model)
	}
	secretFree(t, err)
	return e
}

func secretFree(t *testing.T, err error) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v", "%x"} {
		mustHide(t, verb, fmt.Sprintf(verb, err))
		mustHide(t, "wrapped "+verb, fmt.Sprintf(verb, fmt.Errorf("call: %w", err)))
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		mustHide(t, fmt.Sprintf("%T", inner), fmt.Sprintf("%v %+v %#v", inner, inner, inner))
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
	slog.New(slog.NewTextHandler(&log, nil)).Error("failed", "err", err)
	mustHide(t, "slog", log.String())
	if api, ok := errors.AsType[genai.APIError](err); ok {
		mustHide(t, "the SDK's error", fmt.Sprintf("%+v", api))
	}
}

// mustHide fails the test if text shows what no error may.
func mustHide(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{key, fmt.Sprintf("%x", key), "the prompt"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: shows %q: %s", where, secret, text)
		}
	}
}

func TestAnswer(t *testing.T) {
	m := model(t, server(t, reply(200, hello)), nil)
	got, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil {
		t.Fatal(err)
	}
	want := &llm.Response{
		Message: llm.Assistant("Hello! How can I assist you today?"), Finish: llm.FinishStop,
		Model: "gemini-3.5-flash-lite-001", RequestID: "Il0taoSYJ5Cez7",
		Usage: llm.Usage{InputTokens: 24, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
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
		{`"SOMETHING_NEW"`, "", llm.FinishNone},
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

func TestAnswerNeedsNoContentType(t *testing.T) {
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", ""} {
		m := model(t, server(t, reply(200, hello, "Content-Type", contentType)), nil)
		if got, err := m.Complete(t.Context(), llm.Prompt("Hello!")); err != nil || got.Finish != llm.FinishStop {
			t.Errorf("%q: got %v, %v", contentType, got, err)
		}
	}
}

// statuses is what Gemini, and what stands before it, answers that is no success.
var statuses = []struct {
	status  int
	body    string
	headers []string
	want    failure.Error
}{
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
	{502, "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n", []string{"Content-Type", "text/html"},
		failure.Error{Kind: failure.Transient, Message: "<html> <head><title>502 Bad Gateway</title></head> </html>"}},
	{504, "", nil, failure.Error{Kind: failure.Transient, Message: "Gateway Timeout"}},
	{529, "", nil, failure.Error{Kind: failure.Overloaded, Message: "the response says no more"}},
	{400, problem(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}`), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "API_KEY_INVALID", Message: "API key not valid. Please pass a valid API key."}},
	{400, problem(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).", ""), nil,
		failure.Error{Kind: failure.ContextTooLong, Code: "INVALID_ARGUMENT", Message: "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."}},
	{400, problem(400, "INVALID_ARGUMENT", "Unknown name.", ""), []string{"X-Should-Retry", "true"},
		failure.Error{Kind: failure.InvalidRequest, Code: "INVALID_ARGUMENT", Message: "Unknown name."}},
	{400, problem(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ""), nil,
		failure.Error{Kind: failure.ModelNotFound, Code: "FAILED_PRECONDITION", Message: "User location is not supported for the API use."}},
	{403, problem(403, "PERMISSION_DENIED", "Your API key was reported as leaked: "+key, ""), nil,
		failure.Error{Kind: failure.Unauthorized, Code: "PERMISSION_DENIED", Message: "Your API key was reported as leaked: [key]"}},
	{404, problem(404, "NOT_FOUND", "models/x is not found for API version v1beta.", ""), nil,
		failure.Error{Kind: failure.ModelNotFound, Code: "NOT_FOUND", Message: "models/x is not found for API version v1beta."}},
	{400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil,
		failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
	{500, "\xff\xfe\x00 " + key, nil, failure.Error{Kind: failure.Transient, Message: "\ufffd\ufffd [key]"}},
	{400, `{"error":{"message":"` + key + `","status":"` + key + `","details":[{"k":"` + key + `"}]}}`, []string{"X-Request-Id", key},
		failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]"}},
	{400, `{"error":{"code":{"a":1},"message":["` + key + `"],"details":{"a":[]}}}`, nil,
		failure.Error{Kind: failure.InvalidRequest, Code: `{"a":1}`, Message: `["[key]"]`}},
	{418, `"tea"`, nil, failure.Error{Kind: failure.InvalidRequest, Message: `"tea"`}},
}

// problem is an error as Google's services send it.
func problem(code int, status, message, details string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`{"error":{"code":%d,"message":%s,"status":%q,"details":[%s]}}`, code, text, status, details)
}

func TestEveryStatusIsClassifiedAndTriedOnce(t *testing.T) {
	for _, step := range statuses {
		for name, fail := range map[string]func(*testing.T, *gemini.Model, context.Context) *failure.Error{"answer": failed, "stream": failedStream} {
			var calls atomic.Int32
			handle := reply(step.status, step.body, append([]string{"X-Request-Id", "req_1"}, step.headers...)...)
			got := fail(t, model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				handle(w, r)
			}), nil), t.Context())
			if got.Kind != step.want.Kind || got.Status != step.status || got.Code != step.want.Code || got.Message != step.want.Message ||
				got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter {
				t.Errorf("%s, %d %.80s\ngot  %#v\nwant %#v", name, step.status, step.body, got, step.want)
			}
			if got.RequestID != "req_1" && got.RequestID != "[key]" {
				t.Errorf("%s, %d: request ID %q", name, step.status, got.RequestID)
			}
			if calls.Load() != 1 {
				t.Errorf("%s, %d: %d calls", name, step.status, calls.Load())
			}
			var api genai.APIError
			if !errors.As(got, &api) || api.Code != step.status {
				t.Errorf("%s, %d: the SDK's error is %+v", name, step.status, api)
			}
		}
	}
}

func TestRetryAfterDateCountsFromTheResponse(t *testing.T) {
	in := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	got := failed(t, model(t, server(t, reply(429, "", "Retry-After", in)), nil), t.Context())
	if !got.Told || got.RetryAfter > time.Hour || got.RetryAfter < 59*time.Minute {
		t.Errorf("got %v, %v", got.RetryAfter, got.Told)
	}
}

func TestSuccessWithoutAnAnswer(t *testing.T) {
	candidate := func(reason, message string) string {
		return `{"candidates":[{"content":{"parts":[{"text":"half"}]},"finishReason":"` + reason + `","finishMessage":"` + message + `"}]}`
	}
	for _, step := range []struct {
		name, body string
		want       failure.Kind
		code       string
		message    string
	}{
		{"safety", candidate("SAFETY", ""), failure.ContentFiltered, "SAFETY", "the provider withheld the answer"},
		{"recitation", candidate("RECITATION", "Too close."), failure.ContentFiltered, "RECITATION", "Too close."},
		{"language", candidate("LANGUAGE", ""), failure.ContentFiltered, "LANGUAGE", ""},
		{"blocklist", candidate("BLOCKLIST", ""), failure.ContentFiltered, "BLOCKLIST", ""},
		{"prohibited", candidate("PROHIBITED_CONTENT", ""), failure.ContentFiltered, "PROHIBITED_CONTENT", ""},
		{"personal", candidate("SPII", ""), failure.ContentFiltered, "SPII", ""},
		{"image", candidate("IMAGE_SAFETY", ""), failure.ContentFiltered, "IMAGE_SAFETY", ""},
		{"malformed call", candidate("MALFORMED_FUNCTION_CALL", "Malformed function call: f("), failure.Transient, "MALFORMED_FUNCTION_CALL", "Malformed function call: f("},
		{"unexpected call", candidate("UNEXPECTED_TOOL_CALL", ""), failure.Transient, "UNEXPECTED_TOOL_CALL", "the model broke the answer off"},
		{"other", candidate("OTHER", ""), failure.Transient, "OTHER", ""},
		{"signature", candidate("MISSING_THOUGHT_SIGNATURE", ""), failure.InvalidRequest, "MISSING_THOUGHT_SIGNATURE", ""},
		{"blocked prompt", `{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3}}`,
			failure.ContentFiltered, "PROHIBITED_CONTENT", "the provider blocked the request"},
		{"blocked prompt, and why", `{"promptFeedback":{"blockReason":"OTHER","blockReasonMessage":"Not this."}}`, failure.ContentFiltered, "OTHER", "Not this."},
		{"error in the body", problem(503, "UNAVAILABLE", "The model is overloaded.", ""), failure.Overloaded, "UNAVAILABLE", "The model is overloaded."},
		{"error beside candidates that are none", `{"error":{"code":503,"message":"The model is overloaded."},"candidates":{}}`, failure.Overloaded, "503", "The model is overloaded."},
		{"error beside candidates", strings.Replace(hello, "{", `{"error":{"code":503,"message":"The model is overloaded."},`, 1), failure.Overloaded, "503", "The model is overloaded."},
		{"limit in the body", problem(429, "RESOURCE_EXHAUSTED", key, ""), failure.RateLimited, "RESOURCE_EXHAUSTED", "[key]"},
		{"no candidates", `{"candidates":[]}`, failure.Transient, "", `the answer has no candidates: {"candidates":[]}`},
		{"nothing", `{}`, failure.Transient, "", `the answer has no candidates: {}`},
		{"null", `null`, failure.Transient, "", `the answer has no candidates: null`},
		{"candidates that are no list", `{"candidates":{"a":1}}`, failure.Transient, "", ""},
		{"a part that is no object", `{"candidates":[{"content":{"parts":["x"]}}]}`, failure.Transient, "", ""},
		{"truncated", hello[:100], failure.Transient, "", ""},
		{"empty", ``, failure.Transient, "", ""},
		{"HTML", "<html>sign in, " + key + "</html>", failure.Transient, "", "invalid character '<' looking for beginning of value: <html>sign in, [key]</html>"},
		{"a list", `[1]`, failure.Transient, "", ""},
	} {
		got := failed(t, model(t, server(t, reply(200, step.body, "X-Request-Id", "req_1")), nil), t.Context())
		if got.Kind != step.want || got.Code != step.code || step.message != "" && got.Message != step.message || got.Status != 200 || got.RequestID != "req_1" {
			t.Errorf("%s: got %#v", step.name, got)
		}
	}
}

func TestErrorInTheBodyIsTheSDKs(t *testing.T) {
	got := failed(t, model(t, server(t, reply(200, problem(503, "UNAVAILABLE", "Busy, "+key, ""))), nil), t.Context())
	if api, ok := errors.AsType[genai.APIError](got); !ok || api.Code != 503 || api.Message != "Busy, [key]" {
		t.Errorf("got %+v", api)
	}
}

// hijack answers with what handle writes to the connection.
func hijack(t *testing.T, handle func(*net.TCPConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		handle(conn.(*net.TCPConn))
		conn.Close()
	}
}

func TestBrokenConnectionsAreTransientAndTriedOnce(t *testing.T) {
	for name, handle := range map[string]func(*net.TCPConn){
		"reset":              func(c *net.TCPConn) { c.SetLinger(0) },
		"closed":             func(*net.TCPConn) {},
		"garbage":            func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") },
		"garbage of the key": func(c *net.TCPConn) { io.WriteString(c, key+"\r\n\r\n") },
		"cut": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello[:200])
		},
		"cut between chunks": func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
		},
	} {
		var calls atomic.Int32
		broken := hijack(t, handle)
		got := failed(t, model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			broken(w, r)
		}), nil), t.Context())
		if got.Kind != failure.Transient || got.Status != 0 || calls.Load() != 1 {
			t.Errorf("%s: %d calls, %#v", name, calls.Load(), got)
		}
	}
}

func TestErrorStatusCountsThoughItsBodyIsCut(t *testing.T) {
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nslow")
	})), nil)
	if got := failed(t, m, t.Context()); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second || got.Message != "slow" {
		t.Errorf("got %#v", got)
	}
}

func TestErrorStatusCountsThoughTheContextEndsInItsBody(t *testing.T) {
	release := make(chan struct{})
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nslow")
		<-release
	})), nil)
	defer close(release)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if got := failed(t, m, ctx); got.Kind != failure.RateLimited || got.RetryAfter != 3*time.Second {
		t.Errorf("got %#v", got)
	}
}

func TestSwitchingProtocolsDoesNotHang(t *testing.T) {
	release := make(chan struct{})
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n")
		<-release
	})), nil)
	defer close(release)
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != 101 {
		t.Errorf("got %#v", got)
	}
}

func TestRefusedConnectionIsTransient(t *testing.T) {
	s := server(t, nil)
	m := model(t, s, nil)
	s.Close()
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || !errors.Is(got, syscall.ECONNREFUSED) {
		t.Errorf("got %#v", got)
	}
}

// hang is a server that doesn't answer until the test ends.
func hang(t *testing.T) *httptest.Server {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Query().Has("body") || strings.HasSuffix(r.URL.Path, "/half/v1beta/models/gemini-3.5-flash-lite:generateContent") {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
		}
		<-release
	}))
	t.Cleanup(func() {
		close(release)
		s.Close()
	})
	return s
}

func TestContextThatEndsEndsTheCall(t *testing.T) {
	s := hang(t)
	for _, path := range []string{"", "/half"} {
		m := model(t, s, func(o *gemini.Options) { o.BaseURL = s.URL + path })

		late, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if got := failed(t, m, late); got.Kind != failure.DeadlineExceeded || !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("%s: late: got %#v", path, got)
		}
		stop()

		cancelled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if got := failed(t, m, cancelled); got.Kind != failure.Cancelled || !errors.Is(got, context.Canceled) {
			t.Errorf("%s: cancelled: got %#v", path, got)
		}
		if got := failed(t, m, cancelled); got.Kind != failure.Cancelled {
			t.Errorf("%s: cancelled before: got %#v", path, got)
		}
	}
}

func TestTimeoutsOfTheClientAreNotTheCallersDeadline(t *testing.T) {
	s := hang(t)
	for name, client := range map[string]*http.Client{
		"whole call": {Timeout: 20 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}},
		"header":     {Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 20 * time.Millisecond}},
		"own context": {Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			ctx, stop := context.WithTimeout(r.Context(), 20*time.Millisecond)
			defer stop()
			return s.Client().Transport.RoundTrip(r.WithContext(ctx))
		})},
	} {
		m := model(t, s, func(o *gemini.Options) { o.HTTPClient = client })
		if got := failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	m := model(t, s, func(o *gemini.Options) {
		o.BaseURL, o.HTTPClient = s.URL+"/half", &http.Client{Timeout: 20 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
		t.Errorf("body: got %#v", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorsOfTheClientsOwn(t *testing.T) {
	gated := &failure.Error{Kind: failure.RateLimited, RetryAfter: time.Minute, Told: true}
	for _, step := range []struct {
		name string
		trip roundTrip
		want failure.Error
	}{
		{"one that is classified", func(*http.Request) (*http.Response, error) { return nil, gated }, *gated},
		{"a stranger", func(*http.Request) (*http.Response, error) { return nil, errors.New("what") },
			failure.Error{Kind: failure.Transient}},
		{"one that prints the request", func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sent %v", r.Header)
		}, failure.Error{Kind: failure.Transient}},
	} {
		m := model(t, server(t, nil), func(o *gemini.Options) { o.HTTPClient = &http.Client{Transport: step.trip} })
		if got := failed(t, m, t.Context()); got.Kind != step.want.Kind || got.RetryAfter != step.want.RetryAfter || got.Told != step.want.Told {
			t.Errorf("%s: got %#v", step.name, got)
		}
	}
}

func TestUntrustedCertificateIsNotWorthAnotherAttempt(t *testing.T) {
	s := httptest.NewUnstartedServer(reply(200, hello))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	untrusting := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	m := model(t, s, func(o *gemini.Options) { o.HTTPClient = untrusting })
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || !strings.Contains(got.Message, "certificate") {
		t.Errorf("got %#v", got)
	}
	if _, err := model(t, s, nil).Complete(t.Context(), llm.Prompt("Hello!")); err != nil {
		t.Errorf("trusted: %v", err)
	}

	plain := server(t, reply(200, hello))
	m = model(t, plain, func(o *gemini.Options) {
		o.BaseURL, o.HTTPClient = strings.Replace(plain.URL, "http:", "https:", 1), untrusting
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest {
		t.Errorf("HTTP where HTTPS is spoken: got %#v", got)
	}
}

func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int32
	other := server(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		reply(200, hello)(w, r)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://user:word@", 1)+"/v2/?token=secret#here", status)
		})
		for name, client := range map[string]*http.Client{
			"given": s.Client(),
			"with its own rule": {Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return nil
			}},
		} {
			got := failed(t, model(t, s, func(o *gemini.Options) { o.HTTPClient = client }), t.Context())
			want := "the server redirects to " + other.URL + "/v2/: give its address as the base URL"
			if got.Kind != failure.InvalidRequest || got.Status != status || got.Message != want {
				t.Errorf("%d, client %s: got %#v", status, name, got)
			}
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("the other host got %d requests", elsewhere.Load())
	}
}

func TestRedirectsAtHomeAreFollowedWithThePrompt(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case !strings.HasPrefix(r.URL.Path, "/v2/"):
				http.Redirect(w, r, "/v2/generate", status)
			case r.Method != "POST" || r.Header.Get("X-Goog-Api-Key") != key || !strings.Contains(string(body), "the prompt"):
				t.Errorf("%d: got %s %v %s", status, r.Method, r.Header, body)
			default:
				reply(200, hello)(w, r)
			}
		})
		got, err := model(t, s, nil).Complete(t.Context(), llm.Prompt("the prompt"))
		if status >= http.StatusTemporaryRedirect {
			if err != nil || got.Finish != llm.FinishStop {
				t.Errorf("%d: got %v, %v", status, got, err)
			}
		} else if failure.KindOf(err) != failure.InvalidRequest {
			t.Errorf("%d would lose the prompt: got %v, %v", status, got, err)
		}
	}
}

func TestRedirectsAtHomeObeyTheClientsOwnRule(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v2/generate", http.StatusPermanentRedirect)
	})
	m := model(t, s, func(o *gemini.Options) {
		o.HTTPClient = &http.Client{Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	})
	if got := failed(t, m, t.Context()); got.Kind != failure.InvalidRequest || got.Status != http.StatusPermanentRedirect {
		t.Errorf("got %#v", got)
	}
}

func TestNoContextIsAnError(t *testing.T) {
	var none context.Context
	if got := failed(t, model(t, server(t, nil), nil), none); got.Kind != failure.InvalidRequest {
		t.Errorf("got %#v", got)
	}
}

func TestRedirectsWithoutEnd(t *testing.T) {
	var calls atomic.Int32
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	if got := failed(t, model(t, s, nil), t.Context()); got.Kind != failure.InvalidRequest || calls.Load() != 10 {
		t.Errorf("%d calls, got %#v", calls.Load(), got)
	}
	nowhere := model(t, server(t, reply(304, "")), nil)
	if got := failed(t, nowhere, t.Context()); got.Kind != failure.InvalidRequest || got.Message != "Not Modified" {
		t.Errorf("got %#v", got)
	}
}

// endless is a body that never ends, and counts what was read of it.
type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}

func TestAnswerWithoutEndIsAnError(t *testing.T) {
	body := &endless{}
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
	})}
	m := model(t, server(t, nil), func(o *gemini.Options) { o.HTTPClient = client })
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || got.Message != "the answer is longer than 64 MiB" {
		t.Errorf("got %#v", got)
	}
	if body.read > 65<<20 || !body.closed {
		t.Errorf("read %d bytes, closed: %v", body.read, body.closed)
	}
}

func TestErrorBodyWithoutEndIsCut(t *testing.T) {
	block := strings.Repeat("x", 1<<20)
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}), nil)
	if got := failed(t, m, t.Context()); got.Kind != failure.Transient || got.Status != 503 || len(got.Message) != 500 {
		t.Errorf("got %#v", got)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "fail") {
			reply(500, `{"error":{"message":"no","type":"server_error"}}`)(w, r)
			return
		}
		reply(200, hello)(w, r)
	})
	m := model(t, s, nil)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			prompt := "Hello!"
			if i%2 == 1 {
				prompt = "fail"
			}
			_, err := m.Complete(t.Context(), llm.Prompt(prompt))
			if (err != nil) != (i%2 == 1) {
				t.Errorf("%s: %v", prompt, err)
			}
			if err != nil {
				secretFree(t, err)
			}
		})
	}
	wait.Wait()
}

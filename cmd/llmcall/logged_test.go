package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"
)

const quotaBody = `{"error":{"message":"You exceeded your current quota, it's 'used up'.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`

func TestExplainReadsWhatLogsHold(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"Python, OpenAI":              {`openai.RateLimitError: Error code: 429 - {'error': {'message': "You exceeded your current quota, it's 'used up'.", 'type': 'insufficient_quota', 'param': None, 'code': 'insufficient_quota'}}`, "quota_exhausted openai 429 insufficient_quota"},
		"a traceback":                 {"Traceback (most recent call last):\n  File \"a.py\", line 429, in <module>\n    x = {1: 2}\nopenai.AuthenticationError: Error code: 401 - {'error': {'message': 'Incorrect API key provided', 'type': 'invalid_request_error', 'code': 'invalid_api_key'}}", "unauthorized openai 401 invalid_api_key"},
		"Python, Anthropic":           {`anthropic.RateLimitError: Error code: 429 - {'type': 'error', 'error': {'type': 'rate_limit_error', 'message': "This request would exceed your organization's rate limit of 30,000 input tokens per minute."}}`, "rate_limited anthropic 429 rate_limit_error"},
		"Python, genai":               {`google.genai.errors.ClientError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'Quota exceeded. Please retry in 34.4s.', 'status': 'RESOURCE_EXHAUSTED', 'details': [{'@type': 'type.googleapis.com/google.rpc.RetryInfo', 'retryDelay': '34s'}]}}`, "rate_limited gemini 429 RESOURCE_EXHAUSTED in 34s"},
		"cut off":                     {`openai.InternalServerError: Error code: 503 - {"error": {"message": "The server is overloaded or not ready yet.", "type": "server_error", "param": null, "code": nu`, "overloaded openai 503 server_error"},
		"Node":                        {"RateLimitError: 429 Rate limit reached for gpt-4o\n    at APIError.generate (/app/core/error.mjs:45:20) {\n  status: 429,\n  headers: Headers { 'retry-after': '7', 'x-request-id': 'req_9' },\n  error: {\n    message: 'Rate limit reached for gpt-4o',\n    type: 'requests',\n    param: null,\n    code: 'rate_limit_exceeded'\n  }\n}", "rate_limited openai 429 rate_limit_exceeded req_9 in 7s"},
		"Node, in a line":             {"Error: 429 You exceeded your current quota, please check your plan and billing details.", "quota_exhausted openai 429"},
		"LiteLLM of OpenAI":           {`litellm.RateLimitError: RateLimitError: OpenAIException - Error code: 429 - {'error': {'message': 'Rate limit reached', 'code': 'rate_limit_exceeded'}}`, "rate_limited openai 429 rate_limit_exceeded"},
		"LiteLLM of Anthropic":        {`litellm.ServiceUnavailableError: AnthropicException - {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, "overloaded anthropic 503 overloaded_error"},
		"LiteLLM of Groq":             {`litellm.ContextWindowExceededError: litellm.BadRequestError: GroqException - {"error":{"message":"Please reduce the length of the messages.","type":"invalid_request_error","code":"context_length_exceeded"}}`, "context_too_long groq 400 context_length_exceeded"},
		"LangChain":                   {`langchain_google_genai.chat_models.ChatGoogleGenerativeAIError: Error calling model 'gemini-2.5-pro' (UNAVAILABLE): 503 UNAVAILABLE. {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}`, "overloaded gemini 503 UNAVAILABLE"},
		"requests":                    {`requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://api.groq.com/openai/v1/chat/completions`, "unauthorized groq 401"},
		"httpx":                       {`INFO HTTP Request: POST https://api.deepseek.com/chat/completions "HTTP/1.1 402 Payment Required"`, "quota_exhausted deepseek 402"},
		"axios":                       {`AxiosError: Request failed with status code 404`, "model_not_found openai 404"},
		"llmcall":                     {`llmcall: groq/llama: rate_limited (HTTP 429, rate_limit_exceeded, come back in 7s): Rate limit reached`, "rate_limited groq 429 rate_limit_exceeded in 7s"},
		"a log in JSON":               {`{"level":"ERROR","msg":"call failed","err":"POST \"https://api.openai.com/v1/chat/completions\": 401 Unauthorized {\"message\": \"Incorrect API key provided\", \"type\": \"invalid_request_error\", \"code\": \"invalid_api_key\"}"}`, "unauthorized openai 401 invalid_api_key"},
		"a log in JSON, in fields":    {`{"level":50,"err":{"status":429,"headers":{"retry-after":"12"},"error":{"message":"slow down","code":"rate_limit_exceeded"}},"msg":"failed"}`, "rate_limited openai 429 rate_limit_exceeded in 12s"},
		"a log in JSON, in words":     {`{"level":"error","status":429,"error":"rate limit exceeded"}`, "rate_limited openai 429"},
		"a log in JSON, JSON in text": {`{"severity":"ERROR","jsonPayload":{"response":{"body":"{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}"}}}`, "overloaded gemini 503 UNAVAILABLE"},
		"logfmt":                      {`level=ERROR err="POST \"https://api.anthropic.com/v1/messages\": 529 (Request-ID: req_011) {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}"`, "overloaded anthropic 529 overloaded_error req_011"},
		"an event":                    {`data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, "overloaded anthropic overloaded_error"},
		"no connection":               {`openai.APIConnectionError: Connection error.`, "transient openai"},
		"a timeout":                   {`openai.APITimeoutError: Request timed out.`, "attempt_timeout openai"},
		"curl through a proxy":        {"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/2 429 \r\nretry-after: 7\r\nx-request-id: req_1\r\n\r\n" + quotaBody, "quota_exhausted openai 429 insufficient_quota req_1 in 7s"},
		"curl, of chunks":             {"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + quotaBody, "quota_exhausted openai 429 insufficient_quota"},
		"curl -v":                     {"* Trying 1.2.3.4\n> POST /v1/messages HTTP/1.1\n> Host: api.anthropic.com\n>\n} [20 bytes data]\n< HTTP/1.1 529 \n< retry-after: 3\n<\n{ [40 bytes data]\n{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", "overloaded anthropic 529 overloaded_error in 3s"},
		// What the provider quotes decides no status.
		"a status in the message": {`{"error":{"code":429,"message":"after Error code: 503","status":"RESOURCE_EXHAUSTED"}}`, "rate_limited gemini 429 RESOURCE_EXHAUSTED"},
	} {
		got := command(t, c.text, "explain", "-")
		if got.code != 0 {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stderr)
			continue
		}
		if text := short(got.stdout); text != c.want {
			t.Errorf("%s: got %q, want %q\n%s", name, text, c.want, got.stdout)
		}
		if !strings.Contains(got.stdout, "(guessed; --provider says whose it is)\n") {
			t.Errorf("%s: does not say that the provider is guessed:\n%s", name, got.stdout)
		}
	}
}

// What a client of HTTP writes around the status is not what the provider said.
func TestExplainShowsTheProvidersWordsAlone(t *testing.T) {
	for text, want := range map[string]string{
		`httpx.HTTPStatusError: Client error '404 Not Found' for url 'https://api.groq.com/openai/v1/chat/completions'`:     "the server has nothing at the address: is the base URL right? It says: httpx.HTTPStatusError: Client error '404 Not Found' for url 'https://api.groq.com/openai/v1/chat/completions'",
		`requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://api.openai.com/v1/chat/completions`: "Client Error: Unauthorized",
		`error, status code: 503, status: 503 Service Unavailable, message: The server is overloaded`:                       "The server is overloaded",
		`Error: 429 You exceeded your current quota, please check your plan and billing details.`:                           "You exceeded your current quota, please check your plan and billing details.",
		`APIStatusError: Error code: 500 - "The model 'x' for url handling failed"`:                                         "The model 'x' for url handling failed",
	} {
		got := command(t, text, "explain", "-")
		if got.code != 0 || !strings.Contains(got.stdout, "message      "+want+"\n") {
			t.Errorf("%s: exit %d: %s%s\nwant %q", text, got.code, got.stdout, got.stderr, want)
		}
	}
}

// short is what an explanation says, without the message and what follows.
func short(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		value = strings.TrimSpace(value)
		switch name {
		case "kind", "code", "request":
			words = append(words, value)
		case "provider", "status":
			first, _, _ := strings.Cut(value, " ")
			words = append(words, first)
		case "come":
			words = append(words, strings.TrimPrefix(value, "back    "))
		}
	}
	return strings.Join(words, " ")
}

func TestExplainFindsNoErrorWhereThereIsNone(t *testing.T) {
	for _, text := range []string{
		"", "hello", "took 429 ms for {a: 1}", `{"choices":[{"message":{"content":"hi"}}]}`, "HTTP/1.1 what\r\n\r\n", strings.Repeat("{", 200_000), strings.Repeat("{'a': ", 20_000),
	} {
		if got := command(t, text, "explain", "-"); got.code != exitUsage || !strings.Contains(got.stderr, "no error found in it") {
			t.Errorf("%.40q: exit %d: %s%s", text, got.code, got.stdout, got.stderr)
		}
	}
}

// What the official SDKs for Go say of a provider's error, as a log would have it.
func TestExplainReadsTheErrorsOfTheSDKs(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.Contains(r.URL.Path, "messages"):
			w.WriteHeader(529)
			fmt.Fprint(w, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)
		case strings.Contains(r.URL.Path, "generateContent"):
			w.WriteHeader(429)
			fmt.Fprint(w, `{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[
				{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]},
				{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}`)
		default:
			w.WriteHeader(429)
			fmt.Fprint(w, quotaBody)
		}
	}))
	defer server.Close()

	open := openai.NewClient(openaioption.WithBaseURL(server.URL+"/v1"), openaioption.WithAPIKey("k"), openaioption.WithMaxRetries(0))
	_, ofOpenAI := open.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}})
	anthropicClient := anthropic.NewClient(anthropicoption.WithBaseURL(server.URL), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
	_, ofAnthropic := anthropicClient.Messages.New(t.Context(), anthropic.MessageNewParams{Model: "m", MaxTokens: 1, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))}})
	gemini, err := genai.NewClient(t.Context(), &genai.ClientConfig{APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	_, ofGemini := gemini.Models.GenerateContent(t.Context(), "m", genai.Text("hi"), nil)

	for want, err := range map[string]error{
		"rate_limited openai 429":                           ofOpenAI, // its text has the status alone
		"overloaded anthropic 529 overloaded_error":         ofAnthropic,
		"rate_limited gemini 429 RESOURCE_EXHAUSTED in 34s": ofGemini,
	} {
		if err == nil {
			t.Fatal("no error")
		}
		got := command(t, "time=12:00 level=ERROR msg=failed err="+err.Error(), "explain", "-")
		if short(got.stdout) != want {
			t.Errorf("%v:\n got %q, want %q: %s", err, short(got.stdout), want, got.stderr)
		}
	}
}

func FuzzFromLog(f *testing.F) {
	for _, text := range []string{"Error code: 429 - {'error': {'message': \"it's\"}}", "{", "{'a': [", `{"error":"{\"error\":{}}"}`, "Error 429, Message: m, Status: S, Details: [map[a:b]]", "x (HTTP 429, y, come back in 1s): z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := fromLog(text)
		if ok && (l.status != 0 && (l.status < 400 || l.status > 599) || l.status == 0 && l.body == "") {
			t.Errorf("%q: %+v", text, l)
		}
	})
}

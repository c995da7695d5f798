package classify

import (
	"strings"
	"testing"
	"time"

	"llmcall/failure"
)

// A server that finds fault with a request often quotes it: what it quotes is the
// caller's, and says nothing of bills, keys and limits.
func TestWhatAnErrorQuotesOfTheRequestDecidesNothing(t *testing.T) {
	const prompt = "My credit balance is too low, API key not valid, enable billing: the prompt is too long, request too large per day"
	for name, c := range map[string]struct {
		status int
		body   string
		want   failure.Kind
	}{
		"OpenAI":               {400, `{"error":{"message":"Invalid value: '` + prompt + `'. Supported values are: 'text'.","type":"invalid_request_error"}}`, failure.InvalidRequest},
		"Gemini":               {400, `{"error":{"code":400,"message":"Invalid value at 'contents[0]' (oneof), \"` + prompt + `\"","status":"INVALID_ARGUMENT"}}`, failure.InvalidRequest},
		"vLLM":                 {400, `{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'x'), 'msg': 'Extra inputs are not permitted', 'input': '` + prompt + `'}]","code":400}`, failure.InvalidRequest},
		"FastAPI":              {422, `{"detail":[{"type":"string_type","loc":["body","x"],"msg":"Input should be a valid string","input":["` + prompt + `"]}]}`, failure.InvalidRequest},
		"a proxy":              {500, `{"error":"the worker died at \"` + prompt + `\""}`, failure.Transient},
		"a limit":              {429, `{"error":{"message":"Rate limit reached; the last request was '` + prompt + `'","code":"rate_limit_exceeded"}}`, failure.RateLimited},
		"apostrophes":          {400, `{"error":{"message":"This model's maximum context length is 4096 tokens, and your request's is 5000."}}`, failure.ContextTooLong},
		"behind a name":        {400, `{"error":{"message":"Project 'my-project': please enable billing on your project."}}`, failure.QuotaExhausted},
		"an error in an error": {400, `{"error":{"message":"AnthropicException - {\"type\": \"error\", \"error\": {\"message\": \"Your credit balance is too low to access the API.\"}}"}}`, failure.QuotaExhausted},
		"OpenRouter":           {400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"Your credit balance is too low\"}}"}}}`, failure.QuotaExhausted},
	} {
		e := Read(Reply{Provider: OpenAI, Status: c.status, Body: []byte(c.body)})
		if e.Kind != c.want {
			t.Errorf("%s: %v, want %v: %s", name, e.Kind, c.want, e.Message)
		}
		if name == "FastAPI" && strings.Contains(e.Message, "credit") {
			t.Errorf("the prompt is in the message: %s", e.Message)
		}
	}
}

func TestQuotesCostTheirLengthAlone(t *testing.T) {
	long := strings.Repeat(` 'a`, 500_000) + strings.Repeat(` "'`+"`"+`b`, 100_000)
	if begun := time.Now(); unquoted(long) == "" || time.Since(begun) > 5*time.Second {
		t.Errorf("took %v", time.Since(begun))
	}
}

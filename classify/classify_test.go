package classify_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"llmcall/classify"
	"llmcall/failure"
)

// noon is when every response of these tests came.
var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

func TestReadTellsWhenToComeBack(t *testing.T) {
	const never = -1
	for _, step := range []struct {
		name     string
		provider string
		status   int
		header   map[string]string
		body     string
		kind     failure.Kind
		wait     time.Duration // never: not told
	}{
		{"header", classify.OpenAI, 429, map[string]string{"Retry-After": "3"}, `{}`, failure.RateLimited, 3 * time.Second},
		{"header before the limits' own", classify.OpenAI, 429, map[string]string{"Retry-After": "3", "X-Ratelimit-Reset-Requests": "6m0s"}, `{}`, failure.RateLimited, 3 * time.Second},
		{"limit of requests", classify.OpenAI, 429, map[string]string{
			"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "20ms",
			"X-Ratelimit-Remaining-Tokens": "100", "X-Ratelimit-Reset-Tokens": "6m0s"}, `{}`, failure.RateLimited, 20 * time.Millisecond},
		{"OpenRouter's limit", classify.OpenAI, 429, map[string]string{"X-Ratelimit-Limit": "1", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "1795521626000"},
			`{"error":{"code":429,"message":"Rate limit exceeded: limit_rpm/x. High demand for x on OpenRouter - limited to 1 requests per minute."}}`, failure.RateLimited, 26 * time.Second},
		{"the same, in the body alone", classify.OpenAI, 429, nil,
			`{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"headers":{"X-RateLimit-Limit":"1","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795521626000"},"provider_name":null}}}`, failure.RateLimited, 26 * time.Second},
		{"headers of no form in the body", classify.OpenAI, 429, nil, `{"error":{"code":429,"message":"x","metadata":{"headers":{"X-RateLimit-Reset":[1]}}}}`, failure.RateLimited, never},
		{"words", classify.OpenAI, 429, nil, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached. Please try again in 6m0.5s."}}`, failure.RateLimited, 6*time.Minute + 500*time.Millisecond},
		{"words of a limit of the day", classify.OpenAI, 429, nil, `{"error":{"code":"rate_limit_exceeded","message":"Limit reached on requests per day (RPD). Try again in 7m12s."}}`, failure.RateLimited, 7*time.Minute + 12*time.Second},
		{"words of a 500", classify.OpenAI, 500, nil, `{"error":{"message":"Try again in 5s."}}`, failure.Transient, never},
		{"a bill does not pay itself", classify.OpenAI, 429, map[string]string{"Retry-After": "1"}, `{"error":{"code":"insufficient_quota"}}`, failure.QuotaExhausted, time.Second},
		{"windows of a rate do not pay it", classify.OpenAI, 429, map[string]string{"X-Ratelimit-Limit-Requests": "500", "X-Ratelimit-Remaining-Requests": "499", "X-Ratelimit-Reset-Requests": "120ms", "X-Ratelimit-Limit-Tokens": "30000", "X-Ratelimit-Remaining-Tokens": "29000", "X-Ratelimit-Reset-Tokens": "300ms"}, `{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"You exceeded your current quota, please check your plan and billing details."}}`, failure.QuotaExhausted, never},
		{"nor does one that is used up", classify.OpenAI, 429, map[string]string{"X-Ratelimit-Limit-Requests": "500", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "120ms"}, `{"error":{"code":"insufficient_quota"}}`, failure.QuotaExhausted, never},
		{"what is used up for the day has a reset", classify.OpenAI, 429, map[string]string{"X-Ratelimit-Limit-Requests": "500", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "8h"}, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached on requests per day (RPD): Limit 500, Used 500"}}`, failure.RateLimited, 8 * time.Hour},

		{"limit of tokens", classify.Anthropic, 429, map[string]string{
			"Anthropic-Ratelimit-Input-Tokens-Remaining": "0", "Anthropic-Ratelimit-Input-Tokens-Reset": "2026-11-24T12:00:41Z"},
			`{"type":"error","error":{"type":"rate_limit_error"}}`, failure.RateLimited, 41 * time.Second},
		{"no limit is used up", classify.Anthropic, 429, map[string]string{
			"Anthropic-Ratelimit-Requests-Remaining": "49", "Anthropic-Ratelimit-Requests-Reset": "2026-11-24T12:00:41Z"},
			`{"type":"error","error":{"type":"rate_limit_error"}}`, failure.RateLimited, never},
		{"a 429 that tells nothing", classify.Anthropic, 429, map[string]string{"X-Should-Retry": "true"},
			`{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}`, failure.RateLimited, never},
		{"a proxy's page", classify.Anthropic, 429, nil, `<html>429 Too Many Requests: enable billing, 100 requests per day, limit: 0</html>`, failure.RateLimited, never},
		{"an empty body", classify.Anthropic, 429, nil, ``, failure.RateLimited, never},
		{"a duration", classify.Anthropic, 429, map[string]string{"Retry-After": "30s"}, ``, failure.RateLimited, 30 * time.Second},
		{"a Unix time", classify.OpenAI, 429, map[string]string{"Retry-After": "1795521620"}, `{}`, failure.RateLimited, 20 * time.Second},
		{"the spend limit of a month, with a time", classify.Anthropic, 429, map[string]string{"Retry-After": "600"},
			`{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's monthly spend limit. Raise it at claude.ai/settings/usage."}}`,
			failure.QuotaExhausted, 10 * time.Minute},
		{"the same, by its code", classify.Anthropic, 429, map[string]string{"Retry-After": "600"},
			`{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}`, failure.QuotaExhausted, 10 * time.Minute},
		{"a subscription without credit", classify.Anthropic, 429, map[string]string{
			"Anthropic-Ratelimit-Unified-Status": "rejected", "Anthropic-Ratelimit-Unified-Reset": "1795525200", "Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			`{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}`, failure.QuotaExhausted, time.Hour},
		{"a subscription without credit, says a proxy", classify.Anthropic, 429, map[string]string{"Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			``, failure.RateLimited, never},
		{"a subscription of another's", classify.OpenAI, 429, map[string]string{"Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			`{"error":{"message":"Error"}}`, failure.RateLimited, never},
		{"a subscription that needs none", classify.Anthropic, 429, map[string]string{
			"Anthropic-Ratelimit-Unified-Status": "allowed", "Anthropic-Ratelimit-Unified-Reset": "1795525200", "Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			`{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}`, failure.RateLimited, never},
		{"a subscription without the credit that a long context needs", classify.Anthropic, 429, map[string]string{
			"Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			`{"type":"error","error":{"type":"rate_limit_error","message":"Usage credits are required for long context requests."}}`, failure.ContextTooLong, never},
		{"overloaded, without credit", classify.Anthropic, 529, map[string]string{"Anthropic-Ratelimit-Unified-Overage-Disabled-Reason": "out_of_credits"},
			`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, failure.Overloaded, never},
		{"limit of one's own", classify.Anthropic, 400, nil,
			`{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."}}`,
			failure.QuotaExhausted, 6*24*time.Hour + 12*time.Hour},
		{"the same, in the past", classify.Anthropic, 400, nil,
			`{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your API usage limits. You will regain access on 2026-11-01."}}`,
			failure.QuotaExhausted, 0},
		{"the same, without the hour", classify.Anthropic, 400, nil,
			`{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your API usage limits. You will regain access on 2026-11-25."}}`,
			failure.QuotaExhausted, 12 * time.Hour},

		{"seconds in the body", classify.Gemini, 429, nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}`,
			failure.RateLimited, 34400 * time.Millisecond},
		{"no time in the body", classify.Gemini, 429, nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"-1s"}]}}`,
			failure.RateLimited, never},
		{"in the body", classify.Gemini, 429, nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}`,
			failure.RateLimited, 34 * time.Second},
		{"of a day", classify.Gemini, 429, nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"a.QuotaFailure","violations":[{"quotaId":"RequestsPerDay"}]},{"@type":"a.RetryInfo","retryDelay":"7200s"}]}}`,
			failure.QuotaExhausted, 2 * time.Hour},
		{"a limit of 0, and a time that is no help", classify.Gemini, 429, nil,
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded, limit: 0","details":[{"@type":"a.RetryInfo","retryDelay":"34s"}]}}`,
			failure.QuotaExhausted, never},
	} {
		h := http.Header{}
		for name, value := range step.header {
			h.Set(name, value)
		}
		got := classify.Read(classify.Reply{Provider: step.provider, Status: step.status, Header: h, Body: []byte(step.body), At: noon})
		if got.Kind != step.kind || got.Told != (step.wait != never) || got.Told && got.RetryAfter != step.wait {
			t.Errorf("%s: got %v, %v, %v", step.name, got.Kind, got.RetryAfter, got.Told)
		}
	}
}

func TestAnErrorWithinASuccessTellsWhenToComeBack(t *testing.T) {
	header := http.Header{"X-Ratelimit-Remaining-Requests": {"499"}, "X-Ratelimit-Reset-Requests": {"120ms"}}
	for _, step := range []struct {
		body string
		kind failure.Kind
		wait time.Duration // 0: not told
	}{
		{`{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached on requests per min (RPM). Please try again in 20s."}}`, failure.RateLimited, 20 * time.Second},
		{`{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached on requests per day (RPD). Please try again in 7m12s."}}`, failure.RateLimited, 7*time.Minute + 12*time.Second},
		{`{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached."}}`, failure.RateLimited, 0},
		{`{"error":{"code":429,"message":"Rate limited upstream."}}`, failure.RateLimited, 0},
		{`{"error":{"code":"server_error","message":"Please try again in 20s."}}`, failure.Transient, 0},
	} {
		got, _ := classify.ReadError(classify.Reply{Provider: classify.OpenAI, Status: 200, Header: header, Body: []byte(step.body), At: noon})
		if got.Kind != step.kind || got.RetryAfter != step.wait || got.Told != (step.wait > 0) {
			t.Errorf("%s: got %v, %v, %v", step.body, got.Kind, got.RetryAfter, got.Told)
		}
	}
}

func TestTheServersWordOnRetries(t *testing.T) {
	for _, step := range []struct {
		status  int
		should  string
		kind    failure.Kind
		noRetry bool
	}{
		{429, "false", failure.RateLimited, true},
		{503, "false", failure.Transient, true},
		{529, "true", failure.Overloaded, false},
		{400, "true", failure.Transient, false},
		{402, "true", failure.QuotaExhausted, false},
		{401, "true", failure.Unauthorized, false},
		{400, "perhaps", failure.InvalidRequest, false},
	} {
		got := classify.Read(classify.Reply{Status: step.status, Header: http.Header{"X-Should-Retry": {step.should}}})
		if got.Kind != step.kind || got.NoRetry != step.noRetry {
			t.Errorf("%d, %s: got %v, %v", step.status, step.should, got.Kind, got.NoRetry)
		}
	}
}

func TestReadErrorFindsAnErrorWithinASuccess(t *testing.T) {
	for _, step := range []struct {
		provider, body string
		found          bool
		kind           failure.Kind
		code           string
	}{
		{classify.OpenAI, `{"error":{"code":502,"message":"Provider returned error"}}`, true, failure.Transient, "502"},
		{classify.OpenAI, `{"type":"error","code":"server_error","message":"m","param":null}`, true, failure.Transient, "server_error"},
		{classify.OpenAI, `{"type":"error"}`, false, 0, ""},
		{classify.OpenAI, `{"object":"error","message":"This model's maximum context length is 10 tokens.","type":"BadRequestError","code":400}`, true, failure.ContextTooLong, "BadRequestError"},
		{classify.OpenAI, `{"object":"chat.completion","message":"m"}`, false, 0, ""},
		{classify.OpenAI, `{"status":"error","message":"Overloaded"}`, true, failure.Overloaded, ""},
		{classify.OpenAI, `{"error":true,"message":"Overloaded"}`, true, failure.Overloaded, ""},
		{classify.OpenAI, `{"error":false,"message":"Overloaded"}`, false, 0, ""},
		{classify.OpenAI, `{"errors":[{"code":7,"message":"Overloaded"}]}`, true, failure.Overloaded, "7"},
		{classify.OpenAI, `{"errors":[],"choices":[]}`, false, 0, ""},
		{classify.OpenAI, `{"error":{"detail":"Overloaded"}}`, true, failure.Overloaded, ""},
		{classify.OpenAI, `{"error":{"details":"Overloaded"}}`, true, failure.Overloaded, ""},
		{classify.OpenAI, `{"error":{"code":"output_parse_failed","message":"m","failed_generation":"x"}}`, true, failure.InvalidAnswer, "output_parse_failed"},
		{classify.OpenAI, `{"error":{"code":"a_new_one","message":"m","failed_generation":"x"}}`, true, failure.InvalidAnswer, "a_new_one"},
		{classify.OpenAI, `{"error":{"code":"json_validate_failed","message":"m","failed_generation":"max completion tokens reached before generating a valid document"}}`, true, failure.CutOff, "json_validate_failed"},
		{classify.OpenAI, `{"error":{"code":400,"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"code\":\"json_validate_failed\",\"message\":\"m\",\"failed_generation\":\"x\"}}"}}}`, true, failure.InvalidAnswer, "json_validate_failed"},
		{classify.OpenAI, `{"error":{"code":"400","type":"None","message":"litellm.BadRequestError: GroqException - {\"error\":{\"code\":\"tool_use_failed\",\"message\":\"m\",\"failed_generation\":\"x\"}}"}}`, true, failure.InvalidAnswer, "tool_use_failed"},
		{classify.OpenAI, `{"error":{"code":"json_validate_failed","message":"m","failed_generation":"x"}}`, true, failure.InvalidAnswer, "json_validate_failed"},
		{classify.OpenAI, `{"choices":[]}`, false, 0, ""},
		{classify.OpenAI, `{"error":null,"choices":[]}`, false, 0, ""},
		{classify.OpenAI, `{"message":"not an error's","code":"x"}`, false, 0, ""},
		{classify.Anthropic, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, true, failure.Overloaded, "overloaded_error"},
		{classify.Anthropic, `{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}`, true, failure.RateLimited, "rate_limit_error"},
		{classify.Anthropic, `{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}`, true, failure.QuotaExhausted, "enforced_spend_limit_reached"},
		{classify.Gemini, `{"error":{"code":503,"status":"UNAVAILABLE","message":"The model is overloaded."}}`, true, failure.Overloaded, "UNAVAILABLE"},
		{classify.Gemini, `no JSON`, false, 0, ""},
	} {
		got, found := classify.ReadError(classify.Reply{Provider: step.provider, Status: 200, Body: []byte(step.body)})
		if found != step.found || got.Kind != step.kind || got.Code != step.code {
			t.Errorf("%s: got %v, %+v", step.body, found, got)
		}
	}
}

func TestReadRequestID(t *testing.T) {
	for _, name := range []string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "X-Goog-Request-Id", "X-Amzn-Requestid"} {
		got := classify.Read(classify.Reply{Provider: classify.OpenAI, Status: 403, Header: http.Header{name: {"f3070fed"}}, Body: []byte(`{}`), At: noon})
		if got.RequestID != "f3070fed" {
			t.Errorf("%s: the request's number is %q", name, got.RequestID)
		}
	}
}

func TestReadErrorTellsWhenToComeBack(t *testing.T) {
	body := `{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795521626000"}}}}`
	got, ok := classify.ReadError(classify.Reply{Provider: classify.OpenAI, Status: 200, Body: []byte(body), At: noon})
	if !ok || got.Kind != failure.RateLimited || !got.Told || got.RetryAfter != 26*time.Second {
		t.Errorf("got %v, %v, %v", got.Kind, got.RetryAfter, got.Told)
	}
}

func TestNetworkOfAnAddressThatDoesNotFit(t *testing.T) {
	for _, err := range []error{http.ErrSchemeMismatch, &tls.CertificateVerificationError{Err: errors.New("expired")}} {
		if got := classify.Network(&url.Error{Op: "Post", Err: err}); got != failure.InvalidRequest {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// fragile is an error whose methods need a receiver.
type fragile struct{ inner error }

func (f *fragile) Error() string { return f.inner.Error() }
func (f *fragile) Unwrap() error { return f.inner }
func (f *fragile) Timeout() bool { return f.inner == nil }

// An HTTP client of one's own may return a typed nil.
func TestNetworkOfATypedNilIsTransient(t *testing.T) {
	for _, err := range []error{
		(*fragile)(nil), fmt.Errorf("x: %w", (*fragile)(nil)), &url.Error{Op: "Post", Err: (*failure.Error)(nil)},
		(*failure.Error)(nil), (*net.OpError)(nil), errors.Join((*fragile)(nil), io.EOF),
	} {
		if got := classify.Network(err); got != failure.Transient {
			t.Errorf("%T: got %v", err, got)
		}
	}
}

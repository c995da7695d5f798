package chaos

import (
	"net/http"
	"slices"
	"time"
)

// anthropicErrors are Anthropic's errors. Its rate limits come with Retry-After;
// a 429 without it is something else.
//
// Sources: platform.claude.com/docs/en/api/errors, the SDK's ErrorType, and
// bodies quoted by users in the issues of client libraries.
var anthropicErrors = slices.Concat([]apiError{
	{name: "invalid_request", code: "invalid_request_error", status: 400, kind: "invalid_request_error",
		message: "messages.0.content: Input should be a valid list"},
	{name: "unsupported_parameter", code: "unsupported_parameter", status: 400, kind: "invalid_request_error",
		message: "temperature: range: 0..1"},
	{name: "context_too_long", code: "prompt_too_long", status: 400, kind: "invalid_request_error",
		message: "prompt is too long: 210512 tokens > 200000 maximum"},
	{name: "content_filter", code: "content_filtering_policy", status: 400, kind: "invalid_request_error",
		message: "Output blocked by content filtering policy"},
	{name: "bad_image", code: "could_not_process_image", status: 400, kind: "invalid_request_error",
		message: "messages.0.content.0.image.source.base64.data: Could not process image"},
	{name: "billing", code: "credit_balance_too_low", status: 400, kind: "invalid_request_error",
		message: "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},
	{name: "usage_limit", code: "usage_limit_reached", status: 400, kind: "invalid_request_error",
		message: "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."},
	{name: "bad_key", code: "authentication_error", status: 401, kind: "authentication_error",
		message: "invalid x-api-key"},
	{name: "missing_key", code: "missing_api_key", status: 401, kind: "authentication_error",
		message: "x-api-key header is required"},
	{name: "payment_required", code: "billing_error", status: 402, kind: "billing_error",
		message: "There is an issue with your organization's billing or payment information. Please check your payment details."},
	{name: "forbidden", code: "permission_error", status: 403, kind: "permission_error",
		message: "Your API key does not have permission to use the specified resource."},
	{name: "region", code: "forbidden", status: 403, kind: "forbidden",
		message: "Request not allowed"},
	{name: "model_not_found", code: "not_found_error", status: 404, kind: "not_found_error",
		message: "model: {model}"},
	{name: "model_retired", code: "model_retired", status: 404, kind: "not_found_error",
		message: "model: {model}"}, // a retired model is not told apart
	{name: "timeout", code: "timeout_error", status: 504, kind: "timeout_error",
		message: "Request timed out. Please consider using streaming for long requests."},
	{name: "conflict", code: "conflict_error", status: 409, kind: "conflict_error",
		message: "The request conflicts with the current state of the resource."},
	{name: "too_large", code: "request_too_large", status: 413, kind: "request_too_large",
		message: "Request exceeds the maximum size"},
	{name: "rate_limit", code: "rate_limit_error", status: 429, kind: "rate_limit_error", limited: requestLimit, retry: true,
		message: "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later."},
	{name: "token_limit", code: "input_tokens_per_minute", status: 429, kind: "rate_limit_error", limited: inputLimit, retry: true,
		message: "This request would exceed your organization's rate limit of 30,000 input tokens per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later."},
	{name: "slow_down", code: "acceleration_limit", status: 429, kind: "rate_limit_error", limited: requestLimit, retry: true,
		message: "This request would exceed your organization's maximum usage increase rate for input tokens per minute. Please scale up your input tokens usage more gradually to stay within the acceleration limit."},
	{name: "daily_quota", code: "daily_token_limit", status: 429, kind: "rate_limit_error", limited: tokenLimit, retry: true, wait: 6 * time.Hour,
		message: "Number of request tokens has exceeded your daily rate limit (https://docs.claude.com/en/api/rate-limits); see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later."},
	{name: "limit_zero", code: "limit_zero", status: 429, kind: "rate_limit_error",
		message: "This request would exceed your organization's rate limit of 0 input tokens per minute (model: {model}). For details, refer to: https://docs.claude.com/en/api/rate-limits."},
	{name: "request_over_limit", code: "long_context_limit", status: 429, kind: "rate_limit_error",
		message: "This request would exceed the rate limit for your organization: it has 210512 input tokens, and the limit is 30,000 input tokens per minute. Please reduce the prompt length."},
	{name: "spend_limit", code: "enforced_spend_limit_reached", status: 429, kind: "rate_limit_error", details: `{"error_code":"enforced_spend_limit_reached"}`,
		message: "This request would exceed your account's monthly spend limit. Please try again later."},
	{name: "server_error", code: "api_error", status: 500, kind: "api_error",
		message: "Internal server error"},
	{name: "overloaded", code: "overloaded_error", status: 529, kind: "overloaded_error", header: http.Header{"X-Should-Retry": {"true"}},
		message: "Overloaded"},
	{name: "error_in_200", code: "error_in_200", status: 200, kind: "api_error",
		message: "Internal server error"},
}, proxyErrors)

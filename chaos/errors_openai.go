package chaos

import (
	"slices"
	"time"
)

// openaiErrors are OpenAI's errors, those of servers that speak its protocol,
// and those of proxies. The first of a status is the one that the status alone
// means, the first of a name the one that the name means.
//
// Sources: OpenAI's guide to error codes (platform.openai.com/docs/guides/
// error-codes) and bodies quoted by users in the issues of client libraries.
// Rate limits come with Retry-After, which OpenAI's specification has as optional.
var openaiErrors = slices.Concat([]apiError{
	{name: "invalid_request", code: "invalid_request_error", status: 400, kind: "invalid_request_error",
		message: "Invalid request."},
	{name: "unsupported_parameter", code: "unsupported_parameter", status: 400, kind: "invalid_request_error", param: "temperature", wire: "unsupported_parameter",
		message: "Unsupported parameter: 'temperature' is not supported with this model."},
	{name: "context_too_long", code: "context_length_exceeded", status: 400, kind: "invalid_request_error", param: "messages", wire: "context_length_exceeded",
		message: "This model's maximum context length is 128000 tokens. However, your messages resulted in 130512 tokens. Please reduce the length of the messages."},
	{name: "content_filter", code: "content_policy_violation", status: 400, kind: "invalid_request_error", wire: "content_policy_violation",
		message: "Your request was rejected as a result of our safety system."},
	{name: "content_filter", code: "invalid_prompt", status: 400, kind: "invalid_request_error", wire: "invalid_prompt",
		message: "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt."},
	{name: "bad_image", code: "invalid_image_format", status: 400, kind: "invalid_request_error", wire: "invalid_image_format",
		message: "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', 'jpeg', 'gif', 'webp']."},
	{name: "bad_key", code: "invalid_api_key", status: 401, kind: "invalid_request_error", wire: "invalid_api_key",
		message: "Incorrect API key provided: ****. You can find your API key at https://platform.openai.com/account/api-keys."},
	{name: "missing_key", code: "missing_api_key", status: 401, kind: "invalid_request_error",
		message: "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."},
	{name: "region", code: "unsupported_country_region_territory", status: 403, kind: "request_forbidden", wire: "unsupported_country_region_territory",
		message: "Country, region, or territory not supported"},
	{name: "forbidden", code: "insufficient_permissions", status: 403, kind: "invalid_request_error", wire: "insufficient_permissions",
		message: "You have insufficient permissions for this operation. Missing scopes: model.request."},
	{name: "model_not_found", code: "model_not_found", status: 404, kind: "invalid_request_error", wire: "model_not_found",
		message: "The model `{model}` does not exist or you do not have access to it."},
	{name: "model_retired", code: "model_deprecated", status: 404, kind: "invalid_request_error", wire: "model_not_found",
		message: "The model `{model}` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations"},
	{name: "timeout", code: "timeout", status: 408, kind: "invalid_request_error",
		message: "Request timed out."},
	{name: "conflict", code: "conflict", status: 409, kind: "invalid_request_error",
		message: "The resource was updated by another process. Please try again."},
	{name: "too_large", code: "payload_too_large", status: 413, kind: "invalid_request_error",
		message: "Maximum request body size 26214400 exceeded, actual body size 31457280"},
	{name: "rate_limit", code: "rate_limit_exceeded", status: 429, kind: "requests", wire: "rate_limit_exceeded", limited: requestLimit, retry: true,
		message: "Rate limit reached for {model} in organization org-practice on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in {wait}. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{name: "token_limit", code: "tokens", status: 429, kind: "tokens", wire: "rate_limit_exceeded", limited: tokenLimit, retry: true,
		message: "Rate limit reached for {model} in organization org-practice on tokens per min (TPM): Limit 30000, Used 29400, Requested 1100. Please try again in {wait}. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{name: "daily_quota", code: "requests_per_day", status: 429, kind: "requests", wire: "rate_limit_exceeded", limited: requestLimit, retry: true, wait: 7*time.Minute + 12*time.Second,
		message: "Rate limit reached for {model} in organization org-practice on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in {wait}. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{name: "limit_zero", code: "limit_zero", status: 429, kind: "tokens", wire: "rate_limit_exceeded",
		message: "Request too large for {model} in organization org-practice on tokens per min (TPM): Limit 0, Requested 1100. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{name: "request_over_limit", code: "request_too_large", status: 429, kind: "tokens", wire: "rate_limit_exceeded",
		message: "Request too large for {model} in organization org-practice on tokens per min (TPM): Limit 30000, Requested 35120. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{name: "slow_down", code: "slow_down", status: 429, kind: "rate_limit_error", wire: "slow_down",
		message: "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests more smoothly over time."},
	{name: "billing", code: "insufficient_quota", status: 429, kind: "insufficient_quota", wire: "insufficient_quota",
		message: "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."},
	{name: "billing", code: "credit_balance_exhausted", status: 429, kind: "insufficient_quota", wire: "credit_balance_exhausted",
		message: "Your credit balance is exhausted. Please add credits to continue."},
	{name: "spend_limit", code: "organization_spend_limit_exceeded", status: 429, kind: "insufficient_quota", wire: "organization_spend_limit_exceeded",
		message: "Your organization has reached its spend limit."},
	{name: "spend_limit", code: "project_spend_limit_exceeded", status: 429, kind: "insufficient_quota", wire: "project_spend_limit_exceeded",
		message: "Your project has reached its spend limit."},
	{name: "usage_limit", code: "organization_usage_limit_exceeded", status: 429, kind: "insufficient_quota", wire: "organization_usage_limit_exceeded",
		message: "Your organization has reached its usage limit."},
	{name: "server_error", code: "server_error", status: 500, kind: "server_error",
		message: "The server had an error while processing your request. Sorry about that!"},
	{name: "overloaded", code: "server_is_overloaded", status: 503, kind: "service_unavailable_error", wire: "server_is_overloaded",
		message: "Our servers are currently overloaded. Please try again later."},
	{name: "overloaded", code: "engine_overloaded", status: 503, kind: "server_error", // before there was a code
		message: "The engine is currently overloaded, please try again later"},
	{name: "overloaded", code: "overloaded", status: 529, kind: "overloaded_error",
		message: "Overloaded"},
}, proxyErrors, compatibleErrors)

// responsesErrors are those of Responses: the conversation is in another field.
var responsesErrors = func() []apiError {
	rows := slices.Clone(openaiErrors)
	for i := range rows {
		if rows[i].code == "context_length_exceeded" {
			rows[i].param = "input"
			rows[i].message = "Your input exceeds the context window of this model. Please adjust your input and try again."
		}
	}
	return rows
}()

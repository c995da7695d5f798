package chaos

import (
	"slices"
	"time"
)

// geminiErrors are the Gemini API's errors. The time to wait is in the details,
// see protocol.Gemini.
//
// Sources: ai.google.dev/gemini-api/docs/troubleshooting, google/rpc/
// error_details.proto, and bodies quoted by users in the issues of client
// libraries.
var geminiErrors = slices.Concat([]apiError{
	{name: "invalid_request", code: "INVALID_ARGUMENT", status: 400, kind: "INVALID_ARGUMENT",
		message: "Request contains an invalid argument."},
	{name: "unsupported_parameter", code: "unknown_field", status: 400, kind: "INVALID_ARGUMENT",
		message: "Invalid JSON payload received. Unknown name \"seeed\" at 'generation_config': Cannot find field.",
		details: `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"generation_config","description":"Invalid JSON payload received. Unknown name \"seeed\" at 'generation_config': Cannot find field."}]}`},
	{name: "context_too_long", code: "input_token_count", status: 400, kind: "INVALID_ARGUMENT",
		message: "The input token count (1200345) exceeds the maximum number of tokens allowed (1048576)."},
	{name: "bad_image", code: "unable_to_process_image", status: 400, kind: "INVALID_ARGUMENT",
		message: "Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"},
	{name: "bad_key", code: "API_KEY_INVALID", status: 400, kind: "INVALID_ARGUMENT",
		message: "API key not valid. Please pass a valid API key.",
		details: `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}},{"@type":"type.googleapis.com/google.rpc.LocalizedMessage","locale":"en-US","message":"API key not valid. Please pass a valid API key."}`},
	{name: "region", code: "FAILED_PRECONDITION", status: 400, kind: "FAILED_PRECONDITION",
		message: "User location is not supported for the API use."},
	{name: "too_large", code: "payload_size", status: 400, kind: "INVALID_ARGUMENT",
		message: "Request payload size exceeds the limit: 20971520 bytes."},
	{name: "payment_required", code: "billing_disabled", status: 402, kind: "FAILED_PRECONDITION",
		message: "This API method requires billing to be enabled. Please enable billing on project #1234567890 and retry."},
	{name: "billing", code: "prepayment_depleted", status: 402, kind: "RESOURCE_EXHAUSTED",
		message: "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project and billing."},
	{name: "billing", code: "prepayment_depleted_429", status: 429, kind: "RESOURCE_EXHAUSTED", // as it came at first
		message: "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project and billing."},
	{name: "forbidden", code: "PERMISSION_DENIED", status: 403, kind: "PERMISSION_DENIED",
		message: "The caller does not have permission"},
	{name: "forbidden", code: "SERVICE_DISABLED", status: 403, kind: "PERMISSION_DENIED",
		message: "Generative Language API has not been used in project 1234567890 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/generativelanguage.googleapis.com/overview?project=1234567890 then retry.",
		details: `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com","metadata":{"consumer":"projects/1234567890","service":"generativelanguage.googleapis.com"}}`},
	{name: "bad_key", code: "key_leaked", status: 403, kind: "PERMISSION_DENIED",
		message: "Your API key was reported as leaked. Please use another API key."},
	{name: "missing_key", code: "unregistered_caller", status: 403, kind: "PERMISSION_DENIED",
		message: "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."},
	{name: "model_not_found", code: "NOT_FOUND", status: 404, kind: "NOT_FOUND",
		message: "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods."},
	{name: "model_retired", code: "model_retired", status: 404, kind: "NOT_FOUND",
		message: "This model models/{model} is no longer available. Please update your code to use a newer model for the latest features and improvements."},
	{name: "conflict", code: "ABORTED", status: 409, kind: "ABORTED",
		message: "The operation was aborted."},
	{name: "rate_limit", code: "RESOURCE_EXHAUSTED", status: 429, kind: "RESOURCE_EXHAUSTED", limited: requestLimit,
		message: geminiQuota + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 10, model: {model}\nPlease retry in {wait}.",
		details: geminiQuotaFailure("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "10")},
	{name: "token_limit", code: "input_tokens_per_minute", status: 429, kind: "RESOURCE_EXHAUSTED", limited: inputLimit,
		message: geminiQuota + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_input_token_count, limit: 250000, model: {model}\nPlease retry in {wait}.",
		details: geminiQuotaFailure("generate_content_free_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000")},
	{name: "daily_quota", code: "requests_per_day", status: 429, kind: "RESOURCE_EXHAUSTED", limited: requestLimit, wait: 7 * time.Hour,
		message: geminiQuota + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 250, model: {model}\nPlease retry in {wait}.",
		details: geminiQuotaFailure("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250")},
	{name: "limit_zero", code: "limit_zero", status: 429, kind: "RESOURCE_EXHAUSTED", limited: requestLimit, // waiting never helps, but a wait is told
		message: geminiQuota + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: {model}\nPlease retry in {wait}.",
		details: geminiQuotaFailure("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0")},
	{name: "request_over_limit", code: "request_over_limit", status: 429, kind: "RESOURCE_EXHAUSTED",
		message: geminiQuota + "\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_input_token_count, limit: 250000, model: {model}",
		details: geminiQuotaFailure("generate_content_free_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000")},
	{name: "slow_down", code: "check_quota", status: 429, kind: "RESOURCE_EXHAUSTED",
		message: "Resource has been exhausted (e.g. check quota)."},
	{name: "spend_limit", code: "spending_cap", status: 429, kind: "RESOURCE_EXHAUSTED",
		message: "Your project has exceeded its monthly spending cap. Please go to AI Studio at https://ai.studio/spend to manage your project spend cap."},
	{name: "usage_limit", code: "quota_exceeded", status: 429, kind: "RESOURCE_EXHAUSTED",
		message: "You exceeded your current quota, please check your plan and billing details.",
		details: `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"quota_exceeded","domain":"generativelanguage.googleapis.com"}`},
	{name: "server_error", code: "INTERNAL", status: 500, kind: "INTERNAL",
		message: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"},
	{name: "overloaded", code: "UNAVAILABLE", status: 503, kind: "UNAVAILABLE",
		message: "The model is overloaded. Please try again later."},
	{name: "timeout", code: "DEADLINE_EXCEEDED", status: 504, kind: "DEADLINE_EXCEEDED",
		message: "Deadline expired before operation could complete."},
	{name: "content_filter", code: "PROHIBITED_CONTENT", status: 200, // a prompt is blocked with success
		body: new(`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":8,"totalTokenCount":8},"modelVersion":"{model}"}`)},
	{name: "error_in_200", code: "error_in_200", status: 200, kind: "INTERNAL",
		message: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"},
}, proxyErrors)

const geminiQuota = "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: https://ai.dev/usage?tab=rate-limit."

// geminiQuotaFailure says which quota is used up, by its id.
func geminiQuotaFailure(metric, id, value string) string {
	return `{"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"Learn more about Gemini API quotas","url":"https://ai.google.dev/gemini-api/docs/rate-limits"}]},` +
		`{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/` + metric +
		`","quotaId":"` + id + `","quotaDimensions":{"location":"global","model":"{model}"},"quotaValue":"` + value + `"}]}`
}

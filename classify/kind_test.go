package classify

import (
	"testing"

	"llmcall/failure"
)

func TestKind(t *testing.T) {
	for _, step := range []struct {
		name string
		p    problem
		want failure.Kind
	}{
		// OpenAI: limits.
		{"requests a minute", problem{Status: 429, Code: "rate_limit_exceeded", Type: "requests", Message: "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s."}, failure.RateLimited},
		{"tokens a minute", problem{Status: 429, Code: "rate_limit_exceeded", Type: "tokens", Message: "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000."}, failure.RateLimited},
		{"bare 429", problem{Status: 429}, failure.RateLimited},
		{"traffic grew too fast", problem{Status: 429, Code: "slow_down", Type: "rate_limit_error"}, failure.Overloaded},
		{"the same, as a 503", problem{Status: 503, Code: "slow_down"}, failure.Overloaded},
		{"requests a day, and when to come back", problem{Status: 429, Code: "rate_limit_exceeded", Message: "Rate limit reached on requests per day (RPD): Limit 200", Told: true}, failure.RateLimited},
		{"requests a day, no more", problem{Status: 429, Code: "rate_limit_exceeded", Message: "Rate limit reached on requests per day (RPD): Limit 200"}, failure.QuotaExhausted},
		// OpenAI: money, before limits, whatever the header says.
		{"insufficient_quota", problem{Status: 429, Code: "insufficient_quota", Type: "insufficient_quota", Message: "You exceeded your current quota, please check your plan and billing details."}, failure.QuotaExhausted},
		{"insufficient_quota with a time", problem{Status: 429, Code: "insufficient_quota", Type: "insufficient_quota", Told: true}, failure.QuotaExhausted},
		{"the type alone", problem{Status: 429, Type: "insufficient_quota"}, failure.QuotaExhausted},
		{"a code that is new", problem{Status: 429, Code: "team_spend_limit_exceeded", Type: "insufficient_quota"}, failure.QuotaExhausted},
		{"the type is too coarse: the code is a limit", problem{Status: 429, Code: "rate_limit_exceeded", Type: "insufficient_quota"}, failure.RateLimited},
		{"credit_balance_exhausted", problem{Status: 429, Code: "credit_balance_exhausted"}, failure.QuotaExhausted},
		{"organization_spend_limit_exceeded", problem{Status: 429, Code: "organization_spend_limit_exceeded"}, failure.QuotaExhausted},
		{"project_spend_limit_exceeded", problem{Status: 429, Code: "project_spend_limit_exceeded"}, failure.QuotaExhausted},
		{"organization_usage_limit_exceeded", problem{Status: 429, Code: "organization_usage_limit_exceeded"}, failure.QuotaExhausted},
		// OpenAI: the rest of the table.
		{"one request above the limit", problem{Status: 429, Code: "rate_limit_exceeded", Type: "tokens", Message: "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 52000."}, failure.InvalidRequest},
		{"not in the tier", problem{Status: 429, Code: "rate_limit_exceeded", Type: "tokens", Message: "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 0, Requested 1100."}, failure.QuotaExhausted},
		{"service_unavailable_error", problem{Status: 503, Type: "service_unavailable_error"}, failure.Overloaded},
		{"server_is_overloaded", problem{Status: 503, Code: "server_is_overloaded"}, failure.Overloaded},
		{"engine overloaded", problem{Status: 503, Type: "server_error", Message: "The engine is currently overloaded, please try again later"}, failure.Overloaded},
		{"engine overloaded, as a 429", problem{Status: 429, Type: "server_error", Message: "That model is currently overloaded with other requests."}, failure.Overloaded},
		{"500", problem{Status: 500, Type: "server_error", Message: "The server had an error while processing your request."}, failure.Transient},
		{"502", problem{Status: 502, Type: "server_error"}, failure.Transient},
		{"503", problem{Status: 503}, failure.Transient},
		{"504", problem{Status: 504, Type: "server_error"}, failure.Transient},
		{"524 of a proxy", problem{Status: 524}, failure.Transient},
		{"408", problem{Status: 408}, failure.Transient},
		{"409", problem{Status: 409}, failure.Transient},
		{"501", problem{Status: 501}, failure.InvalidRequest},
		{"context_length_exceeded", problem{Status: 400, Code: "context_length_exceeded", Type: "invalid_request_error"}, failure.ContextTooLong},
		{"content_filter", problem{Status: 400, Code: "content_filter"}, failure.ContentFiltered},
		{"content_policy_violation", problem{Status: 400, Code: "content_policy_violation", Type: "invalid_request_error"}, failure.ContentFiltered},
		{"invalid_prompt", problem{Status: 400, Code: "invalid_prompt", Type: "invalid_request_error"}, failure.ContentFiltered},
		{"a picture, in a stream", problem{Code: "invalid_image", Message: "The image data you provided does not represent a valid image."}, failure.InvalidRequest},
		{"a picture that can't be had, in a stream", problem{Code: "failed_to_download_image"}, failure.InvalidRequest},
		{"a policy, in a stream", problem{Code: "cyber_policy"}, failure.ContentFiltered},
		{"a policy on pictures, in a stream", problem{Code: "image_content_policy_violation"}, failure.ContentFiltered},
		{"400", problem{Status: 400, Type: "invalid_request_error", Message: "Missing required parameter: 'messages'."}, failure.InvalidRequest},
		{"400 that quotes a word", problem{Status: 400, Type: "invalid_request_error", Message: "Invalid value: 'overloaded'."}, failure.InvalidRequest},
		{"unsupported_parameter", problem{Status: 400, Code: "unsupported_parameter", Type: "invalid_request_error"}, failure.InvalidRequest},
		{"413", problem{Status: 413}, failure.InvalidRequest},
		{"422", problem{Status: 422}, failure.InvalidRequest},
		{"invalid_api_key", problem{Status: 401, Code: "invalid_api_key", Type: "invalid_request_error"}, failure.Unauthorized},
		{"bare 401", problem{Status: 401}, failure.Unauthorized},
		{"bare 403", problem{Status: 403}, failure.Unauthorized},
		{"region", problem{Status: 403, Code: "unsupported_country_region_territory", Type: "request_forbidden"}, failure.ModelNotFound},
		{"model_not_found", problem{Status: 404, Code: "model_not_found", Type: "invalid_request_error"}, failure.ModelNotFound},
		{"no access to the model", problem{Status: 403, Code: "model_not_found", Type: "invalid_request_error"}, failure.ModelNotFound},
		{"bare 404", problem{Status: 404}, failure.ModelNotFound},
		{"a redirect", problem{Status: 301}, failure.InvalidRequest},

		// Azure.
		{"no deployment", problem{Status: 404, Code: "DeploymentNotFound"}, failure.ModelNotFound},
		{"retired", problem{Status: 410, Code: "ServiceModelDeprecating"}, failure.ModelNotFound},
		{"high demand", problem{Status: 429, Code: "429", Message: "The system is currently experiencing high demand and cannot process your request."}, failure.Overloaded},
		// OpenRouter.
		{"no credit", problem{Status: 402, Code: "402", Message: "Insufficient credits."}, failure.QuotaExhausted},
		{"budget for calls in flight", problem{Status: 402, Code: "402", Told: true}, failure.RateLimited},
		{"moderation", problem{Status: 403, Code: "403", Message: "Your chosen model requires moderation and your input was flagged."}, failure.ContentFiltered},
		{"a limit of requests, and why", problem{Status: 429, Code: "429", Message: "Rate limit exceeded: limit_rpm/meta-llama/llama-3.2-3b-instruct/e8440b11. High demand for meta-llama/llama-3.2-3b-instruct:free on OpenRouter - limited to 1 requests per minute. Please retry shortly."}, failure.RateLimited},
		{"no such model id", problem{Status: 400, Message: "meta/lama is not a valid model ID"}, failure.ModelNotFound},
		{"upstream", problem{Status: 502, Code: "502", Message: "Provider returned error"}, failure.Transient},
		{"routed nowhere, as a 503", problem{Status: 503, Code: "503", Message: "No allowed providers are available for the selected model."}, failure.ModelNotFound},
		// Groq.
		{"flex capacity", problem{Status: 498, Code: "capacity_exceeded"}, failure.Overloaded},
		{"model_decommissioned", problem{Status: 400, Code: "model_decommissioned"}, failure.ModelNotFound},
		{"blocked_api_access", problem{Status: 403, Code: "blocked_api_access"}, failure.Unauthorized},
		{"organization_restricted", problem{Status: 400, Code: "organization_restricted"}, failure.Unauthorized},
		{"one request above the limit, as a 413", problem{Status: 413, Code: "rate_limit_exceeded", Type: "tokens", Message: "Request too large for model `llama`"}, failure.InvalidRequest},
		// Together, DeepSeek.
		{"spend limit", problem{Status: 402}, failure.QuotaExhausted},
		{"context, as a 403", problem{Status: 403, Message: "Input token count exceeds maximum context length."}, failure.ContextTooLong},
		{"context, as a 403, in other words", problem{Status: 403, Type: "invalid_request_error", Message: "Input token count + `max_tokens` parameter must be less than the context length of the model being queried."}, failure.ContextTooLong},
		{"context, as a 400", problem{Status: 400, Type: "invalid_request_error", Message: "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 80125 `inputs` tokens and 4096 `max_new_tokens`"}, failure.ContextTooLong},
		{"balance", problem{Status: 402, Message: "Insufficient Balance"}, failure.QuotaExhausted},
		{"overloaded", problem{Status: 503, Message: "The server is overloaded due to high traffic"}, failure.Overloaded},
		{"529", problem{Status: 529}, failure.Overloaded},
		// Ollama, vLLM, llama.cpp.
		{"queue full", problem{Status: 503, Message: "server busy, please try again.  maximum pending requests exceeded"}, failure.Overloaded},
		{"not pulled", problem{Status: 404, Message: `model "x" not found, try pulling it first`}, failure.ModelNotFound},
		{"too big for the machine", problem{Status: 500, Message: "model requires more system memory (50 GiB) than is available"}, failure.ModelNotFound},
		{"no tools", problem{Status: 400, Message: "x does not support tools"}, failure.InvalidRequest},
		{"context in words only", problem{Status: 400, Code: "400", Type: "BadRequestError", Message: "This model's maximum context length is 4096 tokens."}, failure.ContextTooLong},
		{"context of llama.cpp", problem{Status: 400, Type: "exceed_context_size_error"}, failure.ContextTooLong},
		{"llama.cpp loads its model", problem{Status: 503, Code: "503", Type: "unavailable_error", Message: "Loading model"}, failure.Overloaded},
		// Amazon Bedrock.
		{"throttled", problem{Status: 429, Message: "Too many requests, please wait before trying again."}, failure.RateLimited},
		{"tokens of a day", problem{Status: 429, Message: "Too many tokens per day, please wait before trying again."}, failure.QuotaExhausted},
		{"not ready", problem{Status: 429, Message: "Model is not ready for inference. Please try again later."}, failure.Overloaded},
		{"model error", problem{Status: 424, Message: "The system encountered an unexpected error during processing. Try your request again."}, failure.Transient},
		{"service quota, as a 400", problem{Status: 400, Message: "Your request exceeds the service quota for your account."}, failure.QuotaExhausted},
		{"context, in other words", problem{Status: 400, Message: "Input is too long for requested model."}, failure.ContextTooLong},
		{"not on demand", problem{Status: 400, Message: "Invocation of model ID x with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}, failure.ModelNotFound},
		// Gemini's compatible face.
		{"bad key as a 400", problem{Status: 400, Type: "INVALID_ARGUMENT", Message: "API key not valid. Please pass a valid API key."}, failure.Unauthorized},
		{"limit in the words of a bill", problem{Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "You exceeded your current quota, please check your plan and billing details. Please retry in 34.4s."}, failure.RateLimited},

		// Anthropic.
		{"rate limit", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error", Message: "This request would exceed your organization's rate limit of 50 requests per minute", Told: true}, failure.RateLimited},
		{"spend limit of the tier", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error", Reason: "enforced_spend_limit_reached"}, failure.QuotaExhausted},
		{"a 429 without a time", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error"}, failure.QuotaExhausted},
		{"one request above the limit, without a time", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error", Message: "This request would exceed the rate limit for your organization: it has 210512 input tokens, and the limit is 30,000 input tokens per minute. Please reduce the prompt length."}, failure.InvalidRequest},
		{"above a limit, with a time", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error", Message: "It has 20 input tokens, and the limit is 30 input tokens per minute.", Told: true}, failure.RateLimited},
		{"a long context that is not paid for, as a 429", problem{Provider: Anthropic, Status: 429, Type: "rate_limit_error", Message: "Extra usage is required for long context requests."}, failure.ContextTooLong},
		{"a policy, as a 400", problem{Provider: Anthropic, Status: 400, Type: "invalid_request_error", Message: "Output blocked by content filtering policy"}, failure.ContentFiltered},
		{"a policy, in a stream", problem{Provider: Anthropic, Type: "invalid_request_error", Message: "Output blocked by content filtering policy"}, failure.ContentFiltered},
		{"not here", problem{Provider: Anthropic, Status: 403, Type: "forbidden", Message: "Request not allowed"}, failure.ModelNotFound},
		{"a limit of one's own, as a 400", problem{Provider: Anthropic, Status: 400, Type: "invalid_request_error", Message: "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."}, failure.QuotaExhausted},
		{"no credit, as a 400", problem{Provider: Anthropic, Status: 400, Type: "invalid_request_error", Message: "Your credit balance is too low to access the Anthropic API."}, failure.QuotaExhausted},
		{"billing", problem{Provider: Anthropic, Status: 402, Type: "billing_error"}, failure.QuotaExhausted},
		{"529", problem{Provider: Anthropic, Status: 529, Type: "overloaded_error", Message: "Overloaded"}, failure.Overloaded},
		{"api_error", problem{Provider: Anthropic, Status: 500, Type: "api_error", Message: "Internal server error"}, failure.Transient},
		{"timeout_error", problem{Provider: Anthropic, Status: 504, Type: "timeout_error"}, failure.Transient},
		{"conflict", problem{Provider: Anthropic, Status: 409, Type: "conflict_error"}, failure.Transient},
		{"bad key", problem{Provider: Anthropic, Status: 401, Type: "authentication_error", Message: "invalid x-api-key"}, failure.Unauthorized},
		{"no permission", problem{Provider: Anthropic, Status: 403, Type: "permission_error"}, failure.Unauthorized},
		{"no model", problem{Provider: Anthropic, Status: 404, Type: "not_found_error", Message: "model: claude-x"}, failure.ModelNotFound},
		{"too large", problem{Provider: Anthropic, Status: 413, Type: "request_too_large"}, failure.InvalidRequest},
		{"prompt too long", problem{Provider: Anthropic, Status: 400, Type: "invalid_request_error", Message: "prompt is too long: 210001 tokens > 200000 maximum"}, failure.ContextTooLong},
		{"prompt and answer too long", problem{Provider: Anthropic, Status: 400, Type: "invalid_request_error", Message: "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000"}, failure.ContextTooLong},
		{"overloaded, in a stream", problem{Provider: Anthropic, Type: "overloaded_error", Message: "Overloaded"}, failure.Overloaded},
		{"rate limit, in a stream", problem{Provider: Anthropic, Type: "rate_limit_error", Told: true}, failure.RateLimited},
		{"no model, in a stream", problem{Provider: Anthropic, Type: "not_found_error"}, failure.ModelNotFound},
		// Gemini.
		{"requests a minute", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Quotas: []string{"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}, Told: true}, failure.RateLimited},
		{"requests a day", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Quotas: []string{"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}, Told: true}, failure.QuotaExhausted},
		{"newer code", problem{Provider: Gemini, Status: 429, Code: "quota_exceeded", Told: true}, failure.QuotaExhausted},
		{"not in the tier", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "You exceeded your current quota.\n* Quota exceeded for metric: requests, limit: 0\nPlease retry in 34.4s.", Told: true}, failure.QuotaExhausted},
		{"a limit that begins with a zero", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "limit: 0.5 a second", Told: true}, failure.RateLimited},
		{"a limit without details", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "Resource has been exhausted (e.g. check quota)."}, failure.RateLimited},
		{"overloaded", problem{Provider: Gemini, Status: 503, Type: "UNAVAILABLE", Message: "The model is overloaded. Please try again later."}, failure.Overloaded},
		{"unavailable", problem{Provider: Gemini, Status: 503, Type: "UNAVAILABLE", Message: "Service unavailable."}, failure.Transient},
		{"internal", problem{Provider: Gemini, Status: 500, Type: "INTERNAL"}, failure.Transient},
		{"deadline of theirs", problem{Provider: Gemini, Status: 504, Type: "DEADLINE_EXCEEDED"}, failure.Transient},
		{"bad key, as a 400", problem{Provider: Gemini, Status: 400, Type: "INVALID_ARGUMENT", Reason: "API_KEY_INVALID", Message: "API key not valid. Please pass a valid API key."}, failure.Unauthorized},
		{"not here", problem{Provider: Gemini, Status: 400, Type: "FAILED_PRECONDITION", Message: "User location is not supported for the API use."}, failure.ModelNotFound},
		{"no billing", problem{Provider: Gemini, Status: 400, Type: "FAILED_PRECONDITION", Message: "The free tier is not available in your country. Please enable billing on your project."}, failure.QuotaExhausted},
		{"prepaid credit, as a 429", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project and billing."}, failure.QuotaExhausted},
		{"spending cap", problem{Provider: Gemini, Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "Your project has exceeded its monthly spending cap. Please go to AI Studio at https://ai.studio/spend to manage your project spend cap."}, failure.QuotaExhausted},
		{"prepaid credit", problem{Provider: Gemini, Status: 402}, failure.QuotaExhausted},
		{"context", problem{Provider: Gemini, Status: 400, Type: "INVALID_ARGUMENT", Message: "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."}, failure.ContextTooLong},
		{"permission", problem{Provider: Gemini, Status: 403, Type: "PERMISSION_DENIED"}, failure.Unauthorized},
		{"no model", problem{Provider: Gemini, Status: 404, Type: "NOT_FOUND"}, failure.ModelNotFound},
		{"bad argument", problem{Provider: Gemini, Status: 400, Type: "INVALID_ARGUMENT"}, failure.InvalidRequest},
		{"internal, in a stream", problem{Provider: Gemini, Type: "INTERNAL"}, failure.Transient},

		// In the body of a 200, without a status.
		{"code of a limit", problem{Code: "rate_limit_exceeded"}, failure.RateLimited},
		{"code of a limit of 0", problem{Code: "rate_limit_exceeded", Message: "Request too large for gpt-4o on tokens per min (TPM): Limit 0, Requested 1100."}, failure.QuotaExhausted},
		{"words of a limit of 0", problem{Message: "choose a rate limit: 0 is none"}, failure.Unknown},
		{"code of a bill", problem{Code: "insufficient_quota"}, failure.QuotaExhausted},
		{"code of the server", problem{Code: "server_error"}, failure.Transient},
		{"code of the caller", problem{Type: "invalid_request_error"}, failure.InvalidRequest},
		{"words", problem{Message: "Overloaded"}, failure.Overloaded},
		{"nothing known", problem{Code: "what", Message: "ever"}, failure.Unknown},
		{"nothing", problem{}, failure.Unknown},
	} {
		if got := step.p.kind(); got != step.want {
			t.Errorf("%s: %+v is %v, want %v", step.name, step.p, got, step.want)
		}
	}
}

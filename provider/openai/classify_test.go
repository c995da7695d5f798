package openai

import (
	"testing"

	"llmcall/failure"
)

func TestClassify(t *testing.T) {
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
		{"no such model id", problem{Status: 400, Message: "meta/lama is not a valid model ID"}, failure.ModelNotFound},
		{"upstream", problem{Status: 502, Code: "502", Message: "Provider returned error"}, failure.Transient},
		// Groq.
		{"flex capacity", problem{Status: 498, Code: "capacity_exceeded"}, failure.Overloaded},
		{"model_decommissioned", problem{Status: 400, Code: "model_decommissioned"}, failure.ModelNotFound},
		{"blocked_api_access", problem{Status: 403, Code: "blocked_api_access"}, failure.Unauthorized},
		{"organization_restricted", problem{Status: 400, Code: "organization_restricted"}, failure.Unauthorized},
		{"one request above the limit, as a 413", problem{Status: 413, Code: "rate_limit_exceeded", Type: "tokens", Message: "Request too large for model `llama`"}, failure.InvalidRequest},
		// Together, DeepSeek.
		{"spend limit", problem{Status: 402}, failure.QuotaExhausted},
		{"context, as a 403", problem{Status: 403, Message: "Input token count exceeds maximum context length."}, failure.ContextTooLong},
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
		// Gemini's compatible face.
		{"bad key as a 400", problem{Status: 400, Type: "INVALID_ARGUMENT", Message: "API key not valid. Please pass a valid API key."}, failure.Unauthorized},
		{"limit in the words of a bill", problem{Status: 429, Type: "RESOURCE_EXHAUSTED", Message: "You exceeded your current quota, please check your plan and billing details. Please retry in 34.4s."}, failure.RateLimited},

		// In the body of a 200, without a status.
		{"code of a limit", problem{Code: "rate_limit_exceeded"}, failure.RateLimited},
		{"code of a bill", problem{Code: "insufficient_quota"}, failure.QuotaExhausted},
		{"code of the server", problem{Code: "server_error"}, failure.Transient},
		{"code of the caller", problem{Type: "invalid_request_error"}, failure.InvalidRequest},
		{"words", problem{Message: "Overloaded"}, failure.Overloaded},
		{"nothing known", problem{Code: "what", Message: "ever"}, failure.Unknown},
		{"nothing", problem{}, failure.Unknown},
	} {
		if got := classify(step.p); got != step.want {
			t.Errorf("%s: %+v is %v, want %v", step.name, step.p, got, step.want)
		}
	}
}

package chaos

import (
	"net/http"
	"time"
)

// compatibleErrors are those of servers that speak OpenAI's protocol, and of
// Amazon Bedrock, which a gateway may stand for. Where a server has an error
// object of its own, it is written out.
//
// Sources: the servers' documentation of errors, and bodies quoted by users in
// the issues of client libraries.
var compatibleErrors = []apiError{
	// DeepSeek (api-docs.deepseek.com/quick_start/error_codes).
	{name: "payment_required", code: "insufficient_balance", status: 402, kind: "unknown_error", wire: "invalid_request_error",
		message: "Insufficient Balance"},
	{name: "overloaded", code: "deepseek_overloaded", status: 503, kind: "service_unavailable_error",
		message: "Service is too busy. We advise users to temporarily switch to alternative LLM API service providers."},

	// Azure OpenAI (learn.microsoft.com/azure/ai-foundry/openai).
	{name: "content_filter", code: "content_filter", status: 400, param: "prompt", wire: "content_filter",
		message: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry."},
	{name: "bad_key", code: "azure_bad_key", status: 401,
		body: new(`{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`)},
	{name: "model_not_found", code: "azure_deployment_not_found", status: 404,
		body: new(`{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}`)},
	{name: "model_retired", code: "azure_model_deprecated", status: 410,
		body: new(`{"error":{"code":"ModelDeprecated","message":"The model {model} has been deprecated and is no longer available."}}`)},
	{name: "rate_limit", code: "azure_rate_limit", status: 429, header: http.Header{"X-Ratelimit-Reset-Tokens": {"1"}}, // whole seconds, unlike OpenAI's
		body: new(`{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded the token rate limit of your current pricing tier. Please retry after 1 second."}}`)},
	{name: "overloaded", code: "azure_high_demand", status: 429, header: http.Header{"X-Ms-Throttle-Reason": {"capacity"}},
		body: new(`{"error":{"code":"429","message":"The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load."}}`)},

	// OpenRouter (openrouter.ai/docs/api/reference/errors-and-debugging): the code
	// is a number, and what fails while the model answers comes with status 200.
	{name: "error_in_200", code: "openrouter_provider_error", status: 200,
		body: new(`{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"Practice","raw":"upstream error"}}}`)},
	{name: "payment_required", code: "openrouter_credits", status: 402,
		body: new(`{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 4000 tokens, but can only afford 210. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account"}}`)},
	{name: "rate_limit", code: "openrouter_in_flight_budget", status: 402, header: http.Header{"Retry-After": {"1"}},
		body: new(`{"error":{"code":402,"message":"Requests in flight use up the remaining credits. Try again when they have ended.","metadata":{"limit_source":"openrouter_in_flight_budget"}}}`)},
	{name: "content_filter", code: "openrouter_moderation", status: 403,
		body: new(`{"error":{"code":403,"message":"{model} requires moderation. Your input was flagged.","metadata":{"reasons":["violence"],"flagged_input":"...","provider_name":"Practice","model_slug":"{model}"}}}`)},
	{name: "rate_limit", code: "openrouter_rate_limit", status: 429,
		body: new(`{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"{model} is temporarily rate-limited upstream. Please retry shortly.","provider_name":"Practice"}}}`)},
	{name: "server_error", code: "openrouter_bad_provider", status: 502,
		body: new(`{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"Practice","raw":"invalid response"}}}`)},
	{name: "model_not_found", code: "openrouter_no_provider", status: 503,
		body: new(`{"error":{"code":503,"message":"No allowed providers are available for the selected model."}}`)},

	// Groq (console.groq.com/docs/errors).
	{name: "overloaded", code: "groq_capacity_exceeded", status: 498, kind: "internal_server_error", wire: "capacity_exceeded",
		message: "Flex tier capacity exceeded. Please try again later."},
	{name: "rate_limit", code: "groq_rate_limit", status: 429, kind: "tokens", wire: "rate_limit_exceeded", limited: tokenLimit, wait: 2*time.Minute + 59560*time.Millisecond,
		message: "Rate limit reached for model `{model}` in organization `org_practice` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 99800, Requested 407. Please try again in {wait}."},
	{name: "model_retired", code: "groq_model_decommissioned", status: 400, kind: "invalid_request_error", wire: "model_decommissioned",
		message: "The model `{model}` has been decommissioned and is no longer supported. Please refer to https://console.groq.com/docs/deprecations for a recommendation on which model to use instead."},
	{name: "forbidden", code: "groq_blocked_api_access", status: 403, kind: "permissions_error", wire: "blocked_api_access",
		message: "API access is blocked for this organization."},
	{name: "forbidden", code: "groq_organization_restricted", status: 400, kind: "invalid_request_error", wire: "organization_restricted",
		message: "Organization has been restricted. Please reach out to support if you believe this was in error."},

	// Together (docs.together.ai/docs/error-codes).
	{name: "spend_limit", code: "together_spend_limit", status: 402, kind: "credit_limit", wire: "credit_limit",
		message: "Credit limit exceeded. Please navigate to https://api.together.ai/settings/billing to add credit or upgrade your plan."},
	{name: "context_too_long", code: "together_context_length", status: 403, kind: "invalid_request_error",
		message: "Input token count + `max_tokens` parameter must be less than the context length of the model being queried."},
	{name: "overloaded", code: "together_overloaded", status: 503, kind: "service_unavailable", wire: "model_overloaded",
		message: "The server is currently overloaded. Please try again later."},

	// Ollama: the error is a text.
	{name: "overloaded", code: "ollama_busy", status: 503, header: http.Header{"Connection": {"close"}},
		body: new(`{"error":"server busy, please try again.  maximum pending requests exceeded"}`)},
	{name: "model_not_found", code: "ollama_model_not_found", status: 404,
		body: new(`{"error":"model '{model}' not found"}`)},
	{name: "server_error", code: "ollama_out_of_memory", status: 500,
		body: new(`{"error":"model requires more system memory (8.4 GiB) than is available (5.1 GiB)"}`)},
	{name: "unsupported_parameter", code: "ollama_no_tools", status: 400,
		body: new(`{"error":"registry.ollama.ai/library/{model} does not support tools"}`)},

	// vLLM: the code is a number. llama.cpp: so is its code.
	{name: "context_too_long", code: "vllm_context_length", status: 400,
		body: new(`{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5210 tokens (4186 in the messages, 1024 in the completion). Please reduce the length of the messages or completion.","type":"BadRequestError","param":null,"code":400}`)},
	{name: "model_not_found", code: "vllm_model_not_found", status: 404,
		body: new(`{"error":{"message":"The model ` + "`{model}`" + ` does not exist.","type":"NotFoundError","param":null,"code":404}}`)},
	{name: "server_error", code: "vllm_engine_dead", status: 500,
		body: new(`{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.","type":"InternalServerError","param":null,"code":500}}`)},
	{name: "overloaded", code: "llamacpp_loading", status: 503,
		body: new(`{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`)},

	// Amazon Bedrock: the name of the exception is in a header.
	bedrock("rate_limit", "bedrock_throttling", 429, "ThrottlingException", "Too many requests, please wait before trying again."),
	bedrock("daily_quota", "bedrock_daily_tokens", 429, "ThrottlingException", "Too many tokens per day, please wait before trying again."),
	bedrock("overloaded", "bedrock_model_not_ready", 429, "ModelNotReadyException", "Model is not ready for inference. Please try again later."),
	bedrock("timeout", "bedrock_model_timeout", 408, "ModelTimeoutException", "The model did not finish processing your request in time."),
	bedrock("server_error", "bedrock_model_error", 424, "ModelErrorException", "The system encountered an unexpected error during processing. Try your request again."),
	bedrock("context_too_long", "bedrock_input_too_long", 400, "ValidationException", "Input is too long for requested model."),
	bedrock("model_not_found", "bedrock_on_demand", 400, "ValidationException", "Invocation of model ID {model} with on-demand throughput isn't supported. Retry your request with the ID or ARN of an inference profile that contains this model."),
	bedrock("usage_limit", "bedrock_service_quota", 400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."),
	bedrock("forbidden", "bedrock_access_denied", 403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
	bedrock("bad_key", "bedrock_expired_token", 403, "ExpiredTokenException", "The security token included in the request is expired"),
	bedrock("bad_key", "bedrock_unrecognized_client", 403, "UnrecognizedClientException", "The security token included in the request is invalid."),
	bedrock("server_error", "bedrock_internal", 500, "InternalServerException", "The system encountered an unexpected error during processing. Try your request again."),
	bedrock("overloaded", "bedrock_unavailable", 503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
}

func bedrock(name, code string, status int, exception, message string) apiError {
	return apiError{name: name, code: code, status: status, header: http.Header{"X-Amzn-Errortype": {exception}},
		body: new(`{"message":"` + message + `"}`)}
}

package classify

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmcall/failure"
)

// kind maps what a provider says to a kind. The order of the cases is the
// point: a bill unpaid comes as a 429 with the type of a rate limit, or as a
// 400; a context that is too long as a 400, 403, 413 or even 500; a model out
// of reach as a 403; a bad key as a 400.
func (p problem) kind() failure.Kind {
	switch message := strings.ToLower(unquoted(p.Message)); {
	case p.unpaid(message):
		return failure.QuotaExhausted
	case p.Status == 402:
		return failure.RateLimited // with a time to wait: OpenRouter's budget for calls in flight

	case strings.Contains(strings.ToLower(p.Written), "max completion tokens reached"):
		return failure.CutOff // Groq, where the text of the model would be
	case p.says(ofTheModel...) || p.Written != "":
		return failure.InvalidAnswer // before its status, a 400, says that the request is at fault
	case contextTooLong(p, message):
		return failure.ContextTooLong
	case has(message, "contentpolicyviolationerror", "content exists risk"):
		return failure.ContentFiltered // LiteLLM, as a 400 or a 500; DeepSeek
	case p.noQuota():
		return failure.QuotaExhausted // before its 429 says that the request is too large for a limit of 0
	case strings.Contains(message, "request too large"), p.Status == 429 && aboveLimit(message):
		return failure.InvalidRequest // one request above the limit for a minute: no wait helps
	case p.overloaded(message):
		return failure.Overloaded
	case p.Status == 429 || p.says(rateLimit...):
		if p.used(message) {
			return failure.QuotaExhausted
		}
		return failure.RateLimited

	case has(message, "requires more system memory", "no allowed providers are available"):
		return failure.ModelNotFound // Ollama: a model too big for its machine, as a 500; OpenRouter: routed nowhere, as a 503 or 404
	case p.Status == 501, p.Status == 505:
		return failure.InvalidRequest
	case p.Status >= 500 && p.Status <= 599, p.Status == 408, p.Status == 409, p.Status == 424, p.Status == 425:
		return failure.Transient

	case p.misdirected(), p.says(noModel...):
		return failure.ModelNotFound // LiteLLM says so of a key with a 401
	case p.says("unsupported_country_region_territory"),
		has(message, "location is not supported", "region, or territory not supported"),
		p.Status == 403 && p.Type == "forbidden" && message == "request not allowed": // the last is Anthropic's
		return failure.Unauthorized // no model of the provider is served to this region
	case p.Status == 401 || p.says(credential...) || has(message, "api key not valid", "api key expired"):
		return failure.Unauthorized
	case p.Status == 404 || p.Status == 410 || has(message,
		"not a valid model", "with on-demand throughput isn", "model is not available in your"): // region, or country
		return failure.ModelNotFound
	case p.says(policy...), p.Status == 403 && strings.Contains(message, "flagged"),
		(p.Status == 400 || p.Status == 0) && strings.Contains(message, "blocked by content filtering policy"): // Anthropic
		return failure.ContentFiltered
	case p.Status == 403:
		return failure.Unauthorized
	case p.Status >= 100 && p.Status <= 499, p.says(invalid...):
		return failure.InvalidRequest
	case p.says(server...):
		return failure.Transient // without a status: an error in the body of a 200
	}
	return failure.Unknown
}

// The codes and types, by meaning.
var (
	unpaid = []string{
		"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
		"organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active", "billing_error",
		"enforced_spend_limit_reached", "quota_exceeded", "BILLING_DISABLED",
		"budget_exceeded", // LiteLLM
	}
	rateLimit = []string{"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "RESOURCE_EXHAUSTED"}
	capacity  = []string{
		"slow_down", "server_is_overloaded", "service_unavailable_error", "engine_overloaded", "overloaded_error", "capacity_exceeded",
		"unavailable_error", // llama.cpp loads its model
	}
	credential = []string{
		"invalid_api_key", "authentication_error", "permission_error", "account_deactivated", "blocked_api_access",
		"organization_restricted", "API_KEY_INVALID", "API_KEY_EXPIRED", "UNAUTHENTICATED", "PERMISSION_DENIED",
	}
	noModel = []string{
		"model_not_found", "not_found_error", "model_decommissioned", "DeploymentNotFound", "ServiceModelDeprecating",
		"model_permission_blocked_org", "model_permission_blocked_project", // Groq
		"model_not_available", "dedicated_endpoint_not_running", // Together
		"key_model_access_denied", "team_model_access_denied", // LiteLLM, as a 401
	}
	policy = []string{
		"content_filter", "content_policy_violation", "invalid_prompt",
		"bio_policy", "cyber_policy", "misalignment_policy_violation", "image_content_policy_violation",
	}
	// ofTheModel says that what the model wrote is at fault: Groq's, with the text in
	// failed_generation (https://console.groq.com/docs/errors).
	ofTheModel = []string{"json_validate_failed", "tool_use_failed", "output_parse_failed"}
	// The images are those of OpenAI's Responses API, which tells of them after a
	// status of 200.
	invalid = []string{
		"invalid_request_error", "unsupported_parameter", "request_too_large", "INVALID_ARGUMENT",
		"invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode",
		"image_too_large", "image_too_small", "image_parse_error", "image_file_too_large", "image_file_not_found",
		"unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "data_residency_mismatch",
	}
	server = []string{
		"server_error", "internal_server_error", "api_error", "timeout", "timeout_error", "conflict_error",
		"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED",
	}
)

// says reports whether the code, the type or the reason is one of names.
func (p problem) says(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.EqualFold(p.Code, name) || strings.EqualFold(p.Type, name) || strings.EqualFold(p.Reason, name)
	})
}

// unpaid reports whether it is a matter of money: by codes, by the status 402,
// or by a provider's words, also if a time to come back is told with them, as
// Anthropic tells one with the cap of a month. That no time is told says nothing.
// The type insufficient_quota is too coarse, so a code that names a rate limit
// outweighs it.
func (p problem) unpaid(message string) bool {
	code := problem{Code: p.Code}
	if code.says(rateLimit...) || code.says(capacity...) {
		return false
	}
	return p.says(unpaid...) || p.Status == 402 && !p.Told || p.Status < 500 && !p.Foreign && has(message,
		"insufficient balance", "insufficient credits", "credit balance is too low", "usage limits. you will regain access",
		"enable billing", "billing account", "credits are depleted", "spending cap", "spend limit", "spending limit",
		"exceeds the service quota for your account",
		"budget has been exceeded", "exceededbudget", "exceeded budget for", // LiteLLM
		"key limit exceeded") && !p.says("rate_limit_exceeded")
}

// used reports whether the limit that was hit is one that no wait within a call
// brings back: that of a day for which no time is told, or the credit of a
// subscription.
func (p problem) used(message string) bool {
	if p.Foreign {
		return false
	}
	if slices.ContainsFunc(p.Quotas, func(id string) bool { return strings.Contains(id, "PerDay") }) {
		return true
	}
	return p.Status == 429 && p.NoCredit || !p.Told && has(message, "per day", "(rpd)", "(tpd)")
}

// noCredit reports whether Anthropic's headers say that a subscription is used
// up and that there is no credit to go on with. The reason alone comes with
// answers too, and with the refusals of an account that has not used up anything.
func noCredit(h http.Header) bool {
	return h.Get("Anthropic-Ratelimit-Unified-Overage-Disabled-Reason") == "out_of_credits" &&
		!strings.HasPrefix(h.Get("Anthropic-Ratelimit-Unified-Status"), "allowed")
}

// noQuota reports whether the model is not in the tier of the key at all, a
// limit of 0, which Gemini nevertheless says to come back for, OpenAI calls a
// request that is too large, and Anthropic any other limit.
func (p problem) noQuota() bool {
	return (p.Status == 429 || p.says(rateLimit...)) && !p.Foreign && zeroLimit.MatchString(p.Message)
}

// zeroLimit is Gemini's "limit: 0, model: x", OpenAI's "Limit 0, Requested 7" and
// Anthropic's "rate limit of 0 input tokens".
var zeroLimit = regexp.MustCompile(`(?i)\blimit(?::| of)? 0(?:[,\s]|$)`)

// aboveLimit reports whether one request has more tokens than a minute may have,
// so that no wait is of use, by how Anthropic says it: "it has 210512 input
// tokens, and the limit is 30,000 input tokens per minute".
func aboveLimit(message string) bool {
	in := hasAndLimit.FindStringSubmatch(message)
	if in == nil {
		return false
	}
	had, errHad := strconv.Atoi(strings.ReplaceAll(in[1], ",", ""))
	most, errMost := strconv.Atoi(strings.ReplaceAll(in[2], ",", ""))
	return errHad == nil && errMost == nil && had > most
}

var hasAndLimit = regexp.MustCompile(`it has ([0-9,]+) input tokens, and the limit is ([0-9,]+)`)

func contextTooLong(p problem, message string) bool {
	return p.says("context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded", "context_window_exceeded") || has(message,
		"maximum context length", "context length exceeded", "exceeds the context window", "exceeds the available context size",
		"prompt is too long", "exceed context limit", "exceeds the maximum number of tokens allowed",
		"must be less than the context length", "tokens + `` must be <=", // Together, as a 403 and as a 400 (what it quotes is left out)
		"extra usage is required for long context", "usage credits are required for long context", // Anthropic, as a 429
		"input is too long for requested model",                   // Bedrock
		"context size has been exceeded", "exceed context window", // llama.cpp, as a 500, and its Python server
		"longer than the maximum model length", "too long to fit into the model", // vLLM
		"contextwindowexceedederror",             // LiteLLM
		"longer than the model's context length", // SGLang
		"exceeds the context length",             // Ollama
		"exceeded model token limit",             // Moonshot
	)
}

// overloaded looks at the words only where the status leaves it open: a 400
// may quote anything, and OpenRouter explains a rate limit by "high demand".
func (p problem) overloaded(message string) bool {
	open := (p.Status == 0 || p.Status == 429 || p.Status >= 500) && !strings.Contains(message, "rate limit exceeded")
	return p.Status == 498 || p.Status == 529 || p.says(capacity...) ||
		open && has(message, "overloaded", "server busy", "server is busy", "maximum pending requests", "high demand", "model is not ready")
}

func has(message string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, w) })
}

package openai

import (
	"slices"
	"strings"

	"llmcall/failure"
)

// problem is what a server says went wrong.
type problem struct {
	Status  int // HTTP status; or a number of that sort in the body of a 200; or 0
	Code    string
	Type    string
	Message string
	Told    bool // it said when to come back
}

// classify maps what OpenAI and the servers that speak its protocol say to a
// kind. The order of the cases is the point: a bill unpaid comes as a 429 with
// the type of a rate limit; a context that is too long as a 400, 403, 413 or
// even 500; a model out of reach as a 403.
func classify(p problem) failure.Kind {
	switch message := strings.ToLower(p.Message); {
	case p.unpaid(message):
		return failure.QuotaExhausted
	case p.Status == 402:
		return failure.RateLimited // with a time to wait: OpenRouter's budget for calls in flight

	case contextTooLong(p, message):
		return failure.ContextTooLong
	case strings.Contains(message, "request too large"):
		return failure.InvalidRequest // one request above the limit for a minute: no wait helps
	case p.overloaded(message):
		return failure.Overloaded
	case p.Status == 429 || p.says(rateLimit...):
		if !p.Told && daily(message) {
			return failure.QuotaExhausted
		}
		return failure.RateLimited

	case strings.Contains(message, "requires more system memory"):
		return failure.ModelNotFound // Ollama: a model too big for its machine, as a 500
	case p.Status == 501, p.Status == 505:
		return failure.InvalidRequest
	case p.Status >= 500 && p.Status <= 599, p.Status == 408, p.Status == 409, p.Status == 425:
		return failure.Transient

	case p.says("unsupported_country_region_territory"):
		return failure.ModelNotFound
	case p.Status == 401 || p.says(credential...) || strings.Contains(message, "api key not valid"):
		return failure.Unauthorized
	case p.Status == 404 || p.Status == 410 || p.says(noModel...) || strings.Contains(message, "not a valid model"):
		return failure.ModelNotFound
	case p.says(policy...), p.Status == 403 && strings.Contains(message, "flagged"):
		return failure.ContentFiltered
	case p.Status == 403:
		return failure.Unauthorized
	case p.Status >= 100 && p.Status <= 499, p.says("invalid_request_error", "unsupported_parameter"):
		return failure.InvalidRequest
	case p.says("server_error", "internal_server_error", "api_error", "timeout", "timeout_error"):
		return failure.Transient // without a status: an error in the body of a 200
	}
	return failure.Unknown
}

// The codes and types, by meaning.
var (
	unpaid = []string{
		"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
		"organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active", "billing_error",
	}
	rateLimit = []string{"rate_limit_exceeded", "rate_limit_error", "too_many_requests"}
	capacity  = []string{
		"slow_down", "server_is_overloaded", "service_unavailable_error", "engine_overloaded", "overloaded_error", "capacity_exceeded",
	}
	credential = []string{"invalid_api_key", "authentication_error", "account_deactivated", "blocked_api_access", "organization_restricted"}
	noModel    = []string{"model_not_found", "model_decommissioned", "DeploymentNotFound", "ServiceModelDeprecating"}
	policy     = []string{"content_filter", "content_policy_violation", "invalid_prompt"}
)

// says reports whether the code or the type is one of names.
func (p problem) says(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.EqualFold(p.Code, name) || strings.EqualFold(p.Type, name)
	})
}

// unpaid reports whether it is a matter of money. The type insufficient_quota
// is too coarse, so a code that names a rate limit outweighs it.
func (p problem) unpaid(message string) bool {
	limit := problem{Code: p.Code}
	if limit.says(rateLimit...) || limit.says(capacity...) {
		return false
	}
	return p.says(unpaid...) || p.Status == 402 && !p.Told ||
		p.Status < 500 && has(message, "insufficient balance", "insufficient credits", "credit balance is too low")
}

func contextTooLong(p problem, message string) bool {
	return p.says("context_length_exceeded", "exceed_context_size_error") ||
		has(message, "maximum context length", "context length exceeded", "exceeds the context window", "exceeds the available context size")
}

// overloaded looks at the words only where the status leaves it open: a 400
// may quote anything.
func (p problem) overloaded(message string) bool {
	open := p.Status == 0 || p.Status == 429 || p.Status >= 500
	return p.Status == 498 || p.Status == 529 || p.says(capacity...) ||
		open && has(message, "overloaded", "server busy", "server is busy", "maximum pending requests", "high demand")
}

func daily(message string) bool {
	return has(message, "per day", "(rpd)", "(tpd)")
}

func has(message string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, w) })
}

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// providerError is an error as a provider words it. The name is what a plan's
// code says; mostly it is the error's own code.
type providerError struct {
	status            int
	name              string
	kind, param, code string // the error object's type, param, code; "" is null
	message           string
	limited           bool // the rate limit is used up
}

// proxyPage is the name of the page that a proxy sends in the provider's place.
const proxyPage = "html"

// providerErrors are OpenAI's errors and those of servers that speak its
// protocol. The first of a status is the one that the status alone means.
//
// Sources: OpenAI's guide to error codes (platform.openai.com/docs/guides/
// error-codes) and bodies quoted by users in the issues of client libraries.
var providerErrors = []providerError{
	{status: 400, name: "invalid_request_error", kind: "invalid_request_error",
		message: "Invalid request."},
	{status: 400, name: "context_length_exceeded", kind: "invalid_request_error", param: "messages", code: "context_length_exceeded",
		message: "This model's maximum context length is 128000 tokens. However, your messages resulted in 130512 tokens. Please reduce the length of the messages."},
	{status: 400, name: "unsupported_parameter", kind: "invalid_request_error", param: "temperature", code: "unsupported_parameter",
		message: "Unsupported parameter: 'temperature' is not supported with this model."},
	{status: 400, name: "content_policy_violation", kind: "invalid_request_error", code: "content_policy_violation",
		message: "Your request was rejected as a result of our safety system."},
	{status: 400, name: "invalid_prompt", kind: "invalid_request_error", code: "invalid_prompt",
		message: "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt."},
	{status: 400, name: "content_filter", param: "prompt", code: "content_filter", // Azure's
		message: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry."},
	{status: 401, name: "invalid_api_key", kind: "invalid_request_error", code: "invalid_api_key",
		message: "Incorrect API key provided: ****. You can find your API key at https://platform.openai.com/account/api-keys."},
	{status: 402, name: "insufficient_balance", kind: "unknown_error", code: "invalid_request_error", // DeepSeek's
		message: "Insufficient Balance"},
	{status: 403, name: "unsupported_country_region_territory", kind: "request_forbidden", code: "unsupported_country_region_territory",
		message: "Country, region, or territory not supported"},
	{status: 404, name: "model_not_found", kind: "invalid_request_error", code: "model_not_found",
		message: "The model `{model}` does not exist or you do not have access to it."},
	{status: 429, name: "rate_limit_exceeded", kind: "requests", code: "rate_limit_exceeded", limited: true,
		message: "Rate limit reached for {model} in organization org-practice on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in {wait}. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{status: 429, name: "slow_down", kind: "rate_limit_error", code: "slow_down",
		message: "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests more smoothly over time."},
	{status: 429, name: "request_too_large", kind: "tokens", code: "rate_limit_exceeded",
		message: "Request too large for {model} in organization org-practice on tokens per min (TPM): Limit 30000, Requested 35120. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more."},
	{status: 429, name: "insufficient_quota", kind: "insufficient_quota", code: "insufficient_quota",
		message: "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."},
	{status: 429, name: "credit_balance_exhausted", kind: "insufficient_quota", code: "credit_balance_exhausted",
		message: "Your credit balance is exhausted. Please add credits to continue."},
	{status: 429, name: "organization_spend_limit_exceeded", kind: "insufficient_quota", code: "organization_spend_limit_exceeded",
		message: "Your organization has reached its spend limit."},
	{status: 429, name: "project_spend_limit_exceeded", kind: "insufficient_quota", code: "project_spend_limit_exceeded",
		message: "Your project has reached its spend limit."},
	{status: 429, name: "organization_usage_limit_exceeded", kind: "insufficient_quota", code: "organization_usage_limit_exceeded",
		message: "Your organization has reached its usage limit."},
	{status: 500, name: "server_error", kind: "server_error",
		message: "The server had an error while processing your request. Sorry about that!"},
	{status: 502, name: proxyPage},
	{status: 503, name: "server_is_overloaded", kind: "service_unavailable_error", code: "server_is_overloaded",
		message: "Our servers are currently overloaded. Please try again later."},
	{status: 504, name: proxyPage},
	{status: 529, name: "overloaded", kind: "overloaded_error",
		message: "Overloaded"},
}

// Codes returns the values that Fault.Code takes: the codes of OpenAI's errors,
// some of servers that speak its protocol, and "html", the page of a proxy that
// answers in the provider's place.
func Codes() []string {
	var names []string
	for _, e := range providerErrors {
		if e.name != proxyPage {
			names = append(names, e.name)
		}
	}
	return append(names, proxyPage)
}

func errorNamed(name string) *providerError {
	for i, e := range providerErrors {
		if e.name == name {
			return &providerErrors[i]
		}
	}
	return nil
}

// providerErrorOf returns the error of a status, in the variant name, or in the
// usual one if name is empty.
func providerErrorOf(status int, name string) providerError {
	for _, e := range providerErrors {
		if e.name == name || name == "" && e.status == status {
			e.status = status
			return e
		}
	}
	kind := "invalid_request_error"
	if status >= 500 {
		kind = "server_error"
	}
	message := http.StatusText(status)
	if message == "" {
		message = fmt.Sprintf("HTTP status %d", status)
	}
	return providerError{status: status, kind: kind, message: message}
}

// body returns what the provider sends, and its media type.
func (e providerError) body(model, wait string) (body []byte, mediaType string) {
	if e.name == proxyPage {
		title := fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
		return fmt.Appendf(nil, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n", title), "text/html"
	}
	message := strings.NewReplacer("{model}", model, "{wait}", wait).Replace(e.message)
	return errorBody(message, e.kind, e.param, e.code), "application/json"
}

// errorBody writes OpenAI's error object.
func errorBody(message, kind, param, code string) []byte {
	orNull := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	var body struct {
		Error struct {
			Message string  `json:"message"`
			Type    *string `json:"type"`
			Param   *string `json:"param"`
			Code    *string `json:"code"`
		} `json:"error"`
	}
	body.Error.Message, body.Error.Type, body.Error.Param, body.Error.Code = message, orNull(kind), orNull(param), orNull(code)
	b, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		panic(err) // four strings always marshal
	}
	return b
}

package chaos

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
)

// fault returns a fault that says a wait as the provider does, and the wait for the
// message, or "" if the message does not say it.
func (h Hint) fault(f face, wait time.Duration) (hinted Fault, told string) {
	switch {
	case h == HintNone || wait <= 0:
		return Fault{Kind: Status}, ""
	case h == HintSeconds:
		wait = rounded(wait, time.Second)
		hinted = f.hint(wait)
		hinted.RetryAfterMS = ""
	default:
		wait = rounded(wait, time.Millisecond)
		hinted = f.hint(wait)
	}
	hinted.Kind = Status
	return hinted, wait.String()
}

// rounded rounds a time up, so that clients don't retry too early.
func rounded(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64(rounded(d, time.Second)/time.Second), 10)
}

// overLimit is the reply to a request that is over a limit.
func overLimit(req *request, over *limiter.Excess, h Hint, id protocol.IDs, now time.Time) reply {
	wait := over.Wait
	if over.Never {
		wait = 0
	}
	f, told := h.fault(req.face, wait)
	e := req.face.overLimit(*over, told)
	e.status, e.number = http.StatusTooManyRequests, http.StatusTooManyRequests
	return errorReply(req, e, f, id, now)
}

// placeLimit is the name of Limits.Concurrent as a limit.
const placeLimit = "concurrent"

// noPlace is the fault of a request that finds the queue full: a local server's error, or
// the provider's own error for an overload.
var noPlace = Fault{Kind: Status, Code: "ollama_busy"}

func (openaiHabits) overLimit(over limiter.Excess, wait string) apiError {
	e := apiError{kind: over.Limit, wire: "rate_limit_exceeded"}
	of := "requests per min (RPM)"
	if over.Limit == tokenLimit {
		of = "tokens per min (TPM)"
	}
	if over.Never {
		e.message = fmt.Sprintf("Request too large for {model} in organization org-practice on %s: Limit %d, Requested %d. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more.",
			of, over.PerMinute, over.Requested)
		return e
	}
	again := ""
	if wait != "" {
		again = " Please try again in " + wait + "."
	}
	e.message = fmt.Sprintf("Rate limit reached for {model} in organization org-practice on %s: Limit %d, Used %d, Requested %d.%s Visit https://platform.openai.com/account/rate-limits to learn more.",
		of, over.PerMinute, over.Used, over.Requested, again)
	return e
}

func (anthropicFace) overLimit(over limiter.Excess, _ string) apiError {
	limit := thousands(int64(over.PerMinute))
	message := fmt.Sprintf("This request would exceed your organization's rate limit of %s %s per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later.",
		limit, over.Limit)
	if over.Never {
		message = fmt.Sprintf("This request would exceed the rate limit for your organization: it has %s input tokens, and the limit is %s input tokens per minute. Please reduce the prompt length.",
			thousands(over.Requested), limit)
	}
	return apiError{kind: "rate_limit_error", message: message}
}

func (geminiFace) overLimit(over limiter.Excess, wait string) apiError {
	metric, quota := "generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
	if over.Limit == tokenLimit {
		metric, quota = "generate_content_free_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier"
	}
	e := apiError{kind: "RESOURCE_EXHAUSTED", details: geminiQuotaFailure(metric, quota, strconv.Itoa(over.PerMinute))}
	e.message = fmt.Sprintf("%s\n* Quota exceeded for metric: generativelanguage.googleapis.com/%s, limit: %d, model: {model}", geminiQuota, metric, over.PerMinute)
	if wait != "" {
		e.message += "\nPlease retry in " + wait + "."
	}
	return e
}

// thousands writes 30000 as 30,000.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

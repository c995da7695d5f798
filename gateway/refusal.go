package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/protocol"
	"llmcall/pace"
	"llmcall/retry"
)

// refusal is why a client gets no answer.
type refusal struct {
	status  int
	code    string        // for programs: the header X-Llmcall-Error, and the error's code where the protocol has one
	param   string        // the field of the request
	message string        // for people
	limit   string        // which limit of the gateway's own
	after   time.Duration // when to come back; 0: not known
	final   bool          // the same request has the same end: SDKs must not send it again
	text    []byte        // the provider's own words, in the client's protocol
	details string        // JSON: Anthropic's error.details
}

// inProtocol returns the refusal in the words of a protocol.
func (r *refusal) inProtocol(p protocol.Protocol) *protocol.Error {
	e := &protocol.Error{Status: r.status, Kind: kindFor(p, r.status), Message: r.message, Param: r.param, Code: r.code, Details: r.details}
	if r.after > 0 {
		e.Wait = strconv.FormatFloat(math.Ceil(r.after.Seconds()*1000)/1000, 'f', -1, 64) + "s"
	}
	return e
}

// kinds are the types of errors that the protocols' SDKs and users know, where they are more
// than a class of statuses.
var kinds = map[string]map[int]string{
	"anthropic": {
		http.StatusUnauthorized: "authentication_error", http.StatusForbidden: "permission_error", http.StatusTooManyRequests: "rate_limit_error",
		http.StatusServiceUnavailable: "overloaded_error", http.StatusGatewayTimeout: "timeout_error",
	},
	"openai":           {http.StatusTooManyRequests: "rate_limit_error"},
	"openai-responses": {http.StatusTooManyRequests: "rate_limit_error"},
	"gemini": {
		http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusServiceUnavailable: "UNAVAILABLE", http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
	},
}

func kindFor(p protocol.Protocol, status int) string {
	return cmp.Or(kinds[p.Name()][status], p.Kind(status))
}

// header sets the headers of a refusal.
func (r *refusal) header(h http.Header) {
	h.Set(headerError, r.code)
	if r.limit != "" {
		h.Set(headerLimit, r.limit)
	}
	if r.after > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(r.after.Seconds())), 10))
	}
	if r.final {
		h.Set("X-Should-Retry", "false") // the SDKs of OpenAI and Anthropic obey it
	}
}

// defaultAfter is when to come back, where nobody knows better.
const defaultAfter = 5 * time.Second

// explain returns what a client is told about a call without a valid answer. What a
// provider said goes to the client whose request it was about, and to nobody else.
func explain(err error, x *exchange) *refusal {
	var c *llmcall.ConfigError
	if errors.As(err, &c) && c.Field == "prices" {
		return &refusal{status: http.StatusServiceUnavailable, code: "price_unknown", message: "the price of this model is not known to the gateway, and this client has a limit of money", final: true}
	}
	if c != nil {
		return &refusal{status: http.StatusBadRequest, code: "invalid_request", message: c.Error(), final: true}
	}
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok {
		return &refusal{status: http.StatusInternalServerError, code: "internal", message: "the gateway could not make the call"}
	}
	out := &refusal{status: http.StatusServiceUnavailable, code: string(e.Reason), message: e.Error()}
	f, _ := errors.AsType[*failure.Error](err)
	switch e.Reason {
	case llmcall.ReasonNoValidAnswer, llmcall.ReasonNoProgress:
		out.status, out.final = http.StatusUnprocessableEntity, true
	case llmcall.ReasonRateLimited:
		out.status, out.code = http.StatusTooManyRequests, "provider_rate_limited"
	case llmcall.ReasonAccountSpent:
		// The ceiling of the route. The client's own is not of this function.
		out.status, out.final = http.StatusUnprocessableEntity, true
		if a, ok := errors.AsType[*account.Error](err); ok && a.Unknown {
			out.status, out.code = http.StatusServiceUnavailable, "price_unknown"
		}
	case llmcall.ReasonOutOfTime:
		out.status = http.StatusGatewayTimeout
	case llmcall.ReasonProviderFailed:
		kind := failure.KindOf(err)
		providerFailed(out, kind, f)
		if x != nil {
			if text, status := x.refusal(kind); text != nil {
				out.text, out.status = text, status
			}
		}
	}
	if !out.final {
		out.after = comeBack(err, f)
	}
	return out
}

// providerFailed says what a provider's failure means for the client.
func providerFailed(out *refusal, kind failure.Kind, f *failure.Error) {
	status := func(other int) int {
		if f != nil && f.Status >= 400 && f.Status < 500 {
			return f.Status
		}
		return other
	}
	told := func() {
		if f != nil && f.Message != "" {
			out.message = f.Message
		}
	}
	switch kind {
	case failure.InvalidRequest:
		out.status, out.code, out.final = status(http.StatusBadRequest), "invalid_request", true
		told()
	case failure.ContextTooLong:
		out.status, out.code, out.final = status(http.StatusBadRequest), "context_length_exceeded", true
		told()
	case failure.ContentFiltered:
		out.status, out.code, out.final = http.StatusBadRequest, "content_filter", true
	case failure.ModelNotFound:
		out.status, out.code, out.final = http.StatusNotFound, "model_not_found", true
	case failure.Unauthorized:
		// The client's own key was good: this is for the operator.
		out.code, out.message, out.final = "provider_unauthorized", "the provider refused the gateway's key", true
	case failure.QuotaExhausted:
		out.code, out.message = "provider_quota_exhausted", "the gateway's account at the provider has no money or quota left"
	case failure.RateLimited:
		out.status, out.code = http.StatusTooManyRequests, "provider_rate_limited"
	case failure.Overloaded:
		out.code = "provider_overloaded"
	case failure.AttemptTimeout:
		out.status, out.code = http.StatusGatewayTimeout, "provider_timeout"
	}
}

// comeBack returns when the first of what stood in the way lets a request pass.
func comeBack(err error, f *failure.Error) time.Duration {
	var best time.Duration
	failure.Find(err, func(err error) bool {
		var wait time.Duration
		switch e := err.(type) {
		case *breaker.OpenError:
			wait = e.RetryIn()
		case *pace.Error:
			wait = time.Until(e.Until)
		case *endpoint.BudgetError:
			if !e.Next.IsZero() {
				wait = time.Until(e.Next)
			}
		case *retry.Error:
			if e.RefusedWait < math.MaxInt64/2 {
				wait = e.RefusedWait
			}
		}
		if wait > 0 && (best == 0 || wait < best) {
			best = wait
		}
		return false
	})
	if best == 0 && f != nil && f.Told {
		best = f.RetryAfter
	}
	if best <= 0 {
		best = defaultAfter
	}
	return best
}

func shuttingDown() *refusal {
	return &refusal{status: http.StatusServiceUnavailable, code: "shutting_down", message: "the gateway is shutting down: send the request again", after: time.Second}
}

// notKept is the refusal of the messages that continue a thread of Anthropic's, where no
// model of the route keeps any. Its SDKs send the whole conversation then.
func notKept() *refusal {
	return &refusal{status: http.StatusNotFound, code: "thread_not_found", final: true, message: "no model of this route keeps conversations: send all messages", details: `{"error_code":"thread_not_found"}`}
}

// tooLarge is the refusal of a body.
func tooLarge(most int64) *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, code: "request_too_large", message: fmt.Sprintf("the request must have at most %d bytes (max_body)", most), final: true}
}

// Package classify turns the error responses of providers and the errors of the
// network into the kinds of failure of package [llmcall/failure], and the headers
// of responses into what package [llmcall/pace] needs of a provider's limits. It
// knows the codes and messages of OpenAI and the many servers that speak its
// protocol, of Anthropic, and of Gemini, and needs none of their SDKs.
//
// [Response] classifies a response of an HTTP client, [Network] the error of a request
// without a response; [Told] reads the headers for the pacer. [Read] and [ReadError] are
// for adapters that have only parts of a response. A missing header decides nothing: a
// 429 without a time to come back is a rate limit, and an exhausted quota is recognised
// by its code, its words or its status.
package classify

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"llmcall/failure"
)

// The providers that are told apart, for [Reply.Provider]. Any other name is treated as
// [OpenAI], whose protocol most servers speak.
const (
	OpenAI    = "openai"
	Anthropic = "anthropic"
	Gemini    = "gemini"
)

// Reply is a response that may be an error.
type Reply struct {
	Provider string // whose protocol it is in: [OpenAI], [Anthropic] or [Gemini]
	Status   int    // the HTTP status
	Header   http.Header
	Body     []byte // as much of it as was read, or the data of one event of a stream
	// Address is what was asked. An error that says that nothing is served there shows
	// it, without user and query. Default nil: unknown.
	Address *url.URL
	// At is when the response, or the event, came; waits are counted from it.
	// Absolute times are compared with the response's own Date, if it has one. Zero:
	// now.
	At time.Time
}

// Read classifies a response with an error status. Code and Message of the result are the
// provider's, uncut, and may quote the key; see [Response]. Model and Err are left to the
// caller. A body of unknown form becomes the message, and the status alone decides.
func Read(r Reply) failure.Error {
	p := readProblem(r.Body)
	p.Foreign = !json.Valid(r.Body)
	if r.Status != 0 {
		p.Status = r.Status
	}
	if p.Message == "" {
		p.Message = cmp.Or(http.StatusText(r.Status), "the response says no more")
	}
	return p.failure(r)
}

// ReadError classifies the error in the body of a response with status 200, or in an event
// of a stream: {"error": …}, or the fields of the error at the top. It returns false if
// there is none.
func ReadError(r Reply) (failure.Error, bool) {
	p, ok := readInner(r.Body)
	if !ok {
		return failure.Error{}, false
	}
	return p.failure(r), true
}

// failure converts a problem to the error that the other packages use.
func (p problem) failure(r Reply) failure.Error {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	sent := r.sent()
	wait, told := retryAfter(r.Header, sent)
	if !told && p.Delayed {
		wait, told = p.Delay, true
	}
	byWindow := false
	if !told && (p.Status == http.StatusTooManyRequests || p.Status == 0 && p.says(rateLimit...)) {
		if wait, told = p.resets(r, sent); told {
			byWindow = true
		} else if in := againIn.FindStringSubmatch(p.Message); in != nil {
			wait, told = span(in[1], time.Second, sent)
		}
	}
	p.Told = told
	p.NoCredit = r.Provider == Anthropic && noCredit(r.Header)
	kind := p.kind()
	if p.misdirected() {
		p.Message = misdirection(r.Provider, r.Address, p.Message)
	}
	if kind == failure.QuotaExhausted {
		if p.noQuota() || byWindow && p.unpaid(strings.ToLower(p.Message)) { // no window brings money
			wait, told = 0, false
		} else if at, ok := regained(p.Message); ok && !told {
			wait, told = sent.until(at)
		}
	}
	e := failure.Error{
		Kind: kind, Provider: r.Provider, Status: cmp.Or(r.Status, p.Status), Code: cmp.Or(p.Reason, p.Code),
		Message: p.Message, RequestID: requestID(r.Header), RetryAfter: wait, Told: told,
	}
	if _, err := strconv.Atoi(e.Code); err == nil || e.Code == "" { // a number says less than a name
		e.Code = cmp.Or(p.Type, e.Code)
	}
	if e.Code == strconv.Itoa(e.Status) {
		e.Code = "" // said once is enough
	}
	if kind == failure.InvalidAnswer {
		e.Written = p.Written
	}
	switch r.Header.Get("X-Should-Retry") {
	case "true":
		// The server knows better than the status, but not than its own words.
		if kind == failure.Unknown || kind == failure.InvalidRequest && p.Code == "" && p.Type == "" {
			e.Kind = failure.Transient
		}
	case "false":
		e.NoRetry = true
	}
	return e
}

// sent returns when the error was sent. In a response that began as a success it was sent
// long after the Date in the headers, so r.At counts.
func (r Reply) sent() sending {
	if r.success() {
		return sending{came: r.At}
	}
	return sentAt(r.Header, r.At)
}

func (r Reply) success() bool { return r.Status >= 200 && r.Status <= 299 }

// resets returns when a limit is said to be whole again, where no Retry-After
// says when to come back: by headers, of the response or in the body. The headers of
// a success that holds the error are older than it.
func (p problem) resets(r Reply, sent sending) (time.Duration, bool) {
	if !r.success() && speaks(r.Header) {
		if wait, told := wholeAgain(r.Provider, limitsOf(r.Provider, r.Header, sent)); told {
			return wait, true
		}
	}
	return wholeAgain(r.Provider, limitsOf(r.Provider, p.Header, sent))
}

// againIn is how OpenAI, Groq and Gemini put it in words: "Please try again in
// 6m0s.", "Please retry in 34.4s."
var againIn = regexp.MustCompile(`(?i)(?:try again|retry) in ((?:[0-9]{1,9}(?:\.[0-9]{1,12})?(?:ms|s|m|h))+)`)

// regained reads Anthropic's "You will regain access on 2026-12-01 at 00:00 UTC."
func regained(message string) (time.Time, bool) {
	on := regainOn.FindStringSubmatch(message)
	if on == nil {
		return time.Time{}, false
	}
	at, err := time.Parse("2006-01-02 15:04", on[1]+" "+cmp.Or(on[2], "00:00"))
	return at, err == nil
}

var regainOn = regexp.MustCompile(`regain access on ([0-9]{4}-[0-9]{2}-[0-9]{2})(?: at ([0-9]{2}:[0-9]{2}))?`)

// requestID returns the provider's number of the request, by the header that it
// has for it.
func requestID(h http.Header) string {
	for _, name := range []string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "X-Goog-Request-Id", "X-Amzn-Requestid"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// Network returns the kind of the error of a request without a response, while the
// caller's context has not ended. A certificate that is not trusted is
// [failure.InvalidRequest], since another attempt would not help. A timeout of the HTTP
// client is [failure.AttemptTimeout]; other errors of the network are
// [failure.Transient]. ([failure.KindOf] of such a timeout is Transient: it does not know
// that the caller's context has not ended.)
func Network(err error) failure.Kind {
	if failure.Find(err, unfit) {
		return failure.InvalidRequest
	}
	switch kind := failure.KindOf(err); kind {
	case failure.DeadlineExceeded:
		return failure.AttemptTimeout // not the caller's: a limit of the HTTP client
	case failure.Transient:
		if ofTheClient(err) {
			return failure.AttemptTimeout
		}
		return failure.Transient
	case failure.Unknown, failure.Cancelled:
		// Garbage instead of HTTP, a stream reset of HTTP/2, an answer without end.
		return failure.Transient
	default:
		return kind // an HTTP client that classifies
	}
}

// unfit reports whether an error is one of the address: its certificate, or that
// it does not speak TLS.
func unfit(err error) bool {
	_, certificate := err.(*tls.CertificateVerificationError)
	return certificate || err == http.ErrSchemeMismatch
}

// ofTheClient reports whether an error is a time-out of the HTTP client
// (http.Client.Timeout, ResponseHeaderTimeout) and not of a connection's.
func ofTheClient(err error) bool {
	timedOut := false
	failure.Find(err, func(e error) bool {
		timeout, ok := e.(net.Error)
		timedOut = ok && timeout.Timeout()
		return ok
	})
	return timedOut && !failure.Find(err, func(e error) bool { _, ok := e.(*net.OpError); return ok })
}

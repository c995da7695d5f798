package openai

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"llmcall/failure"
)

// fail makes an error of this model's. All of them are made here, so that text
// from outside is shortened, and cleared of the key, whatever it is.
func (m *Model) fail(e failure.Error) error {
	e.Provider, _, _ = strings.Cut(m.name, "/")
	e.Model = m.name
	if e.Message == "" && e.Err != nil {
		e.Message = e.Err.Error()
	}
	e.Message = m.line(e.Message, maxMessage)
	e.Code = m.line(e.Code, maxLabel)
	e.RequestID = m.line(e.RequestID, maxLabel)
	if e.Err != nil && m.hide(e.Err.Error()) != e.Err.Error() {
		e.Err = errors.New(e.Message) // an HTTPClient that prints requests
	}
	return &e
}

// badRequest is a request that was not sent, because it can't be.
func (m *Model) badRequest(err error) error {
	return m.fail(failure.Error{Kind: failure.InvalidRequest, Err: err})
}

// broken is a request without a whole response.
func (m *Model) broken(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return m.fail(failure.Error{Kind: failure.KindOf(ended), Err: ended})
	}
	wait, told := failure.RetryAfterOf(err)
	return m.fail(failure.Error{Kind: brokenKind(err), RetryAfter: wait, Told: told, Err: err})
}

// brokenKind classifies what went wrong under a request while its context lives.
// A certificate that is not trusted will not be at the next attempt either.
func brokenKind(err error) failure.Kind {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) || errors.Is(err, http.ErrSchemeMismatch) {
		return failure.InvalidRequest
	}
	switch kind := failure.KindOf(err); kind {
	case failure.DeadlineExceeded:
		return failure.AttemptTimeout // not the caller's: a limit of the HTTP client
	case failure.Transient:
		var timeout net.Error
		var operation *net.OpError
		if errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, &operation) {
			return failure.AttemptTimeout // http.Client.Timeout, ResponseHeaderTimeout
		}
		return failure.Transient
	case failure.Unknown, failure.Cancelled:
		// Garbage in the place of HTTP, a stream reset of HTTP/2, an answer without end.
		return failure.Transient
	default:
		return kind // an HTTPClient that classifies
	}
}

// refused is a response with a status other than success.
func (m *Model) refused(x *exchange, err error) error {
	p := readProblem(x.body)
	p.Status = x.status
	if to := x.elsewhere(); x.status < 400 && to != "" {
		p.Message = "the server redirects to " + to + ": give its address as the base URL"
	}
	if p.Message == "" {
		p.Message = cmp.Or(http.StatusText(x.status), "the response says no more")
	}
	return m.problem(x, p, x.apiError(err))
}

// problem is a response that says what went wrong.
func (m *Model) problem(x *exchange, p problem, err error) error {
	wait, told := failure.RetryAfter(x.response.Header, x.at)
	p.Told = told
	code := cmp.Or(p.Code, p.Type)
	if code == strconv.Itoa(x.status) {
		code = "" // said once is enough
	}
	return m.fail(failure.Error{
		Kind: classify(p), Status: x.status, Code: code, Message: p.Message, RequestID: x.requestID(),
		RetryAfter: wait, Told: told, Err: err,
	})
}

// garbled is a success whose body is no answer.
func (m *Model) garbled(x *exchange, err error) error {
	return m.fail(failure.Error{
		Kind: failure.Transient, Status: x.status, RequestID: x.requestID(), Err: err,
		Message: fmt.Sprintf("%v: %s", err, x.body[:min(len(x.body), maxProblem)]),
	})
}

// apiError returns the SDK's error of a response, with what it holds of the
// request cleared: the SDK's own holds the key and the prompt, for
// DumpRequest. Where the body is no JSON, the SDK returned its parser's error,
// and one is made.
func (x *exchange) apiError(err error) error {
	var api *sdk.Error
	if !errors.As(err, &api) {
		api = &sdk.Error{StatusCode: x.status}
	}
	response := *x.response
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(x.body)), int64(len(x.body))
	response.Request = withoutSecrets(x.request)
	api.Request, api.Response = response.Request, &response
	return api
}

func (x *exchange) requestID() string { return x.response.Header.Get("X-Request-Id") }

package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/internal/say"
)

const (
	maxMessage = 500 // bytes of the provider's words that an error keeps
	maxLabel   = 100 // bytes of a code or a request ID
)

// Fail makes an error of this endpoint. All errors of an adapter are made here, so
// that all text from outside is shortened, and cleared of the key.
func (e *Endpoint) Fail(f failure.Error) error {
	f.Provider, f.Model = e.Provider, e.Name
	if f.Message == "" && f.Err != nil {
		f.Message = f.Err.Error()
	}
	f.Message = e.line(f.Message, maxMessage)
	f.Code = e.line(f.Code, maxLabel)
	f.RequestID = e.line(f.RequestID, maxLabel)
	if f.Err != nil && e.shows(f.Err.Error()) {
		f.Err = errors.New(f.Message) // an HTTP client that prints requests
	}
	return &f
}

// shows reports whether a text has the key in it.
func (e *Endpoint) shows(text string) bool {
	text = say.Line(text, math.MaxInt)
	return e.Hide(text) != text
}

// line is [say.Line] without the key. The text is cut to its limit last:
// of a key that is cut in two, the first part would be left.
func (e *Endpoint) line(text string, limit int) string {
	return say.Line(e.Hide(say.Line(text, math.MaxInt)), limit)
}

// BadRequest is a request that was not sent, because it can't be.
func (e *Endpoint) BadRequest(err error) error {
	return e.Fail(failure.Error{Kind: failure.InvalidRequest, Err: err})
}

// Broken is a request without a whole response.
func (e *Endpoint) Broken(ctx context.Context, err error) error { return e.Fail(broken(ctx, err)) }

// Broken is a response that began, and broke before its end: a stream.
func (x *Exchange) Broken(ctx context.Context, err error) error {
	f := broken(ctx, err)
	f.RequestID = classify.Read(x.reply(nil)).RequestID
	return x.Endpoint.Fail(f)
}

func broken(ctx context.Context, err error) failure.Error {
	if ended := ctx.Err(); ended != nil {
		return failure.Error{Kind: failure.KindOf(ended), Err: ended}
	}
	wait, told := failure.RetryAfterOf(err)
	return failure.Error{
		Kind: classify.Network(err), RetryAfter: wait, Told: told, NoRetry: failure.NoRetryOf(err), Err: err,
	}
}

// Withheld is a success without an answer to use.
func (x *Exchange) Withheld(kind failure.Kind, code, why string) error {
	f := classify.Read(classify.Reply{Status: x.Status, Header: x.Response.Header, At: x.At})
	return x.Endpoint.Fail(failure.Error{Kind: kind, Status: x.Status, Code: code, Message: why, RequestID: f.RequestID})
}

// Garbled is a success whose body is not an answer.
func (x *Exchange) Garbled(err error) error { return x.GarbledPart(x.Body, err) }

// GarbledPart is a success in which a part, such as an event of a stream, can't be
// read.
func (x *Exchange) GarbledPart(part []byte, err error) error {
	return x.Withheld(failure.Transient, "", fmt.Sprintf("%v: %s", err, part[:min(len(part), MaxProblem)]))
}

// Refused is a response with a status other than success. api is the SDK's
// error, cleared of secrets (see KeptResponse); it may be nil.
func (x *Exchange) Refused(api error) error {
	f := classify.Read(x.reply(x.Body))
	if to := x.elsewhere(); x.Status < 400 && to != "" {
		f.Message = "the server redirects to " + to + ": give its address as the base URL"
	}
	f.Err = api
	return x.Endpoint.Fail(f)
}

// ErrorWithin returns the error in a part of a success: the body, a choice, or an
// event of a stream; nil if it has none.
func (x *Exchange) ErrorWithin(part []byte) error {
	f, ok := classify.ReadError(x.reply(part))
	if !ok {
		return nil
	}
	return x.Endpoint.Fail(f)
}

func (x *Exchange) reply(body []byte) classify.Reply {
	return classify.Reply{Provider: x.Endpoint.Protocol, Status: x.Status, Header: x.Response.Header, Body: body, At: x.At}
}

// RequestID returns the provider's ID of the request, from the header of that
// name; "" if it sent none.
func (x *Exchange) RequestID(header string) string { return x.Response.Header.Get(header) }

// KeptResponse returns the response as an error may keep it: with the body that
// was read, without cookies, without what its request holds of the key and the
// prompt, and without the key where a header quotes it.
func (x *Exchange) KeptResponse() *http.Response {
	response := *x.Response
	response.Header = response.Header.Clone()
	response.Header.Del("Set-Cookie")
	for _, values := range response.Header {
		for i, value := range values {
			values[i] = x.Endpoint.Hide(value)
		}
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(x.Body)), int64(len(x.Body))
	response.Request = withoutSecrets(x.Request)
	return &response
}

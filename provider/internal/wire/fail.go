package wire

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

const (
	maxMessage = 500 // bytes of a provider's message in an error
	maxLabel   = 100 // bytes of a code or a request ID
)

// Fail returns an error of this endpoint. All errors of an adapter are made here,
// so that every text from outside is shortened and does not contain the key.
func (e *Endpoint) Fail(f failure.Error) error {
	f.Provider, f.Model = e.Provider, e.Name
	if f.Message == "" && f.Err != nil {
		f.Message = f.Err.Error()
	}
	f.Message = e.line(f.Message, maxMessage)
	f.Code = e.line(f.Code, maxLabel)
	f.RequestID = e.line(f.RequestID, maxLabel)
	f.Written = e.Hide(f.Written)
	if (f.Kind == failure.InvalidAnswer || f.Kind == failure.CutOff) && strings.TrimSpace(f.Written) == "" {
		f.Written = noText // so that the model is told what the provider says of it
	}
	if f.Err != nil && e.shows(f.Err.Error()) {
		f.Err = errors.New(f.Message) // of an HTTP client that prints requests
	}
	return &f
}

// shows reports whether a text contains the key.
func (e *Endpoint) shows(text string) bool {
	text = say.Line(text, math.MaxInt)
	return e.Hide(text) != text
}

// line is [say.Line] without the key. It cuts the text last, because Hide would
// not find a key without its end.
func (e *Endpoint) line(text string, limit int) string {
	return say.Line(e.Hide(say.Line(text, math.MaxInt)), limit)
}

// BadRequest returns the error of a request that can't be sent.
func (e *Endpoint) BadRequest(err error) error {
	return e.Fail(failure.Error{Kind: failure.InvalidRequest, Err: err})
}

// Broken returns the error of a request without a whole response.
func (e *Endpoint) Broken(ctx context.Context, err error) error { return e.Fail(broken(ctx, err)) }

// Broken returns the error of a stream that broke before its end.
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

// Withheld returns the error of a success without a usable answer.
func (x *Exchange) Withheld(kind failure.Kind, code, why string) error {
	return x.withheld(failure.Error{Kind: kind, Code: code, Message: why})
}

func (x *Exchange) withheld(f failure.Error) error {
	told := classify.Read(classify.Reply{Status: x.Status, Header: x.Response.Header, At: x.At})
	f.Status, f.RequestID = x.Status, told.RequestID
	return x.Endpoint.Fail(f)
}

// Garbled returns the error of a success whose body is not an answer.
func (x *Exchange) Garbled(err error) error { return x.GarbledPart(x.Body, err) }

// Empty returns the error of a success whose body has nothing of an answer. Where it
// has the words of an error in a form that an answer may have too ({"detail": …}),
// the kind is theirs.
func (x *Exchange) Empty(body []byte, err error) error {
	f, ok := classify.ReadError(x.reply(slices.Concat([]byte(`{"error":`), body, []byte(`}`))))
	if !ok || f.Message == "" {
		return x.GarbledPart(body, err)
	}
	if f.Kind == failure.Unknown {
		f.Kind = failure.Transient
	}
	f.Message = fmt.Sprintf("%v: %s", err, f.Message)
	return x.Endpoint.Fail(f)
}

// GarbledPart returns the error of a success with a part, such as an event of a
// stream, that can't be read.
func (x *Exchange) GarbledPart(part []byte, err error) error {
	return x.Withheld(failure.Transient, "", fmt.Sprintf("%s: %s", inWords(err), part[:min(len(part), MaxProblem)]))
}

// inWords returns the text of an error without the names of Go types. The SDKs have copies of
// encoding/json, so its type does not tell it.
func inWords(err error) string {
	text := err.Error()
	m := cannotUnmarshal.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	what := cmp.Or(phrase.TypeNames[m[1]], phrase.Boolean) // which Go calls a bool
	if m[2] == "" {
		return "the answer is not in the API's form: it is " + what
	}
	return "the answer is not in the API's form: " + m[2] + " is " + what
}

// cannotUnmarshal matches a [json.UnmarshalTypeError], with what was there and the path
// to it.
var cannotUnmarshal = regexp.MustCompile(`json: cannot unmarshal ([a-z]+).* into Go (?:struct field \w*\.([\w.]+)|value) of type`)

// Failed returns the error of an exchange that was not a success, or nil. err is the
// SDK's error; clean returns it without secrets, for [Exchange.Refused].
func (x *Exchange) Failed(ctx context.Context, err error, clean func(*Exchange, error) error) error {
	switch {
	case !x.Sent:
		return x.Endpoint.BadRequest(err)
	case !x.Whole:
		return x.Endpoint.Broken(ctx, err)
	case !x.Succeeded():
		return x.Refused(clean(x, err))
	}
	return nil
}

// Refused returns the error of a response with a status other than success. api is
// the SDK's error without secrets (see [Exchange.KeptResponse]); it may be nil.
func (x *Exchange) Refused(api error) error {
	f := classify.Read(x.reply(x.problem)) // with the key, which may be in a word that decides
	if to := x.elsewhere(); x.Status < 400 && to != "" {
		f.Message = "the server redirects to " + to + ": give its address as the base URL"
	}
	f.Err = api
	return x.Endpoint.Fail(f)
}

// ErrorWithin returns the error in a part of a success (the body, a choice, or an
// event of a stream), or nil.
func (x *Exchange) ErrorWithin(part []byte) error {
	if x.clean && x.isBody(part) {
		return nil
	}
	f, ok := classify.ReadError(x.reply(part))
	if !ok {
		return nil
	}
	x.failed = true
	if x.Explain != nil {
		f.Err = x.Explain(part)
	}
	return x.Endpoint.Fail(f)
}

func (x *Exchange) reply(body []byte) classify.Reply {
	return classify.Reply{Provider: x.Endpoint.Protocol, Status: x.Status, Header: x.Response.Header, Body: body, At: x.At, Address: x.address()}
}

// address returns the address that was asked.
func (x *Exchange) address() *url.URL {
	if x.Request == nil {
		return nil
	}
	return x.Request.URL
}

// RequestID returns the provider's ID of the request from a header, or "".
func (x *Exchange) RequestID(header string) string {
	return x.Endpoint.Hide(x.Response.Header.Get(header))
}

// KeptResponse returns the response as an error may keep it: with the body that
// was read, and without cookies, the key and the prompt, in its request too.
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

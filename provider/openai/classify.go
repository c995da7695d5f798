package openai

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/provider/internal/wire"
)

// Classify converts an error of OpenAI's SDK to a [*failure.Error], as the adapter
// does. It is for a program that calls the SDK itself, for example in an
// [llm.Func]: the error's kind decides about retries, fallbacks and the circuit
// breaker, and a Retry-After is obeyed. Switch off the SDK's own retries with
// option.WithMaxRetries(0).
//
// Classify converts network failures and, from any server, the SDK's
// *openai.Error and [*ssestream.StreamError]. The result wraps the SDK's error,
// without the key, the prompt and cookies; its Provider is "openai", or the host
// of another server. Classify returns nil for nil, and any other error unchanged:
// a context's, one that is already classified, and the
// [*json.UnmarshalTypeError] that the SDK returns if the server's errors do not
// have OpenAI's form ({"error": "text"}).
func Classify(err error) error {
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok && broken != nil {
		return streamError(broken)
	}
	foreign := wire.Foreign{Protocol: classify.OpenAI, Home: DefaultBaseURL}
	api, ok := errors.AsType[*sdk.Error](err)
	if !ok || api == nil || api.Response == nil {
		return foreign.Broken(err)
	}
	foreign.Secrets = wire.Secrets(api.Request)
	x := foreign.Response(api.Request, api.Response, bodyOf(api))
	clean := &sdk.Error{StatusCode: api.StatusCode}
	if raw := x.Endpoint.Hide(api.RawJSON()); raw != "" {
		_ = clean.UnmarshalJSON([]byte(raw)) // can't fail: the SDK has parsed it
	}
	return x.Refused(apiError(x, clean))
}

// bodyOf returns the body of an error's response. The SDK keeps the part that it
// parsed as an error; if there is none, the body is read again.
func bodyOf(api *sdk.Error) []byte {
	if raw := api.RawJSON(); raw != "" && raw != "null" {
		return []byte(`{"error":` + raw + `}`)
	}
	if api.Response.Body == nil {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(api.Response.Body, wire.MaxProblem))
	api.Response.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// streamError returns the error in an event of a stream. The SDK keeps neither its
// request nor its response.
func streamError(broken *ssestream.StreamError) error {
	x := wire.Foreign{Protocol: classify.OpenAI}.Response(nil, &http.Response{StatusCode: http.StatusOK}, nil)
	err := x.Problem(wire.Event{Type: broken.Event.Type, Data: broken.Event.Data})
	if f, ok := errors.AsType[*failure.Error](err); ok {
		f.Err = broken
	}
	return err
}

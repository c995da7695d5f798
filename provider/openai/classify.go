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
// does, for a program that calls the SDK itself, for example in an [llm.Func]: its
// kind decides about retries, fallbacks and the circuit breaker, and a Retry-After
// is obeyed. Switch the SDK's own retries off by option.WithMaxRetries(0).
//
// It converts the SDK's *openai.Error, whatever server the SDK was pointed at, its
// *ssestream.StreamError, and network failures. The result wraps the SDK's error,
// from which the key, the prompt and cookies are removed; its Provider is
// "openai", or the host of another server. nil stays nil, and any other error is
// returned unchanged: one of a context, one that is classified, and the
// json.UnmarshalTypeError that the SDK returns if the server's errors do not have
// OpenAI's form ({"error": "text"}).
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
		_ = clean.UnmarshalJSON([]byte(raw)) // the SDK did, so it can
	}
	return x.Refused(apiError(x, clean))
}

// bodyOf returns the body of an error's response. The SDK has read it, and keeps
// of it what it reads as an error; where that is nothing, it is read again.
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

// streamError makes an error of an event of a stream, of which the SDK keeps
// neither request nor response.
func streamError(broken *ssestream.StreamError) error {
	x := wire.Foreign{Protocol: classify.OpenAI}.Response(nil, &http.Response{StatusCode: http.StatusOK}, nil)
	err := errorEvent(x, broken.Event)
	if f, ok := errors.AsType[*failure.Error](err); ok {
		f.Err = broken
	}
	return err
}

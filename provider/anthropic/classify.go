package anthropic

import (
	"errors"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/provider/internal/wire"
)

// Classify converts an error of Anthropic's SDK to a [*failure.Error], as the
// adapter does, for a program that calls the SDK itself, for example in an
// [llm.Func]: its kind decides about retries, fallbacks and the circuit breaker,
// and a Retry-After is obeyed. Switch the SDK's own retries off by
// option.WithMaxRetries(0).
//
// It converts the SDK's *anthropic.Error, of a stream too, whatever server the SDK
// was pointed at, and network failures. The result wraps the SDK's error, from
// which the key, the prompt and cookies are removed; its Provider is "anthropic",
// or the host of another server. nil stays nil, and any other error is returned
// unchanged, including one of a context and one that is classified.
func Classify(err error) error {
	foreign := wire.Foreign{Protocol: classify.Anthropic, Home: DefaultBaseURL}
	api, ok := errors.AsType[*sdk.Error](err)
	if !ok || api == nil || api.Response == nil {
		return foreign.Broken(err)
	}
	foreign.Secrets = wire.Secrets(api.Request)
	x := foreign.Response(api.Request, api.Response, []byte(api.RawJSON()))
	clean := &sdk.Error{StatusCode: api.StatusCode, RequestID: api.RequestID, WorkspaceID: api.WorkspaceID}
	_ = clean.UnmarshalJSON(x.Body) // the SDK did, so it can
	if !x.Succeeded() {
		return x.Refused(apiError(x, clean))
	}
	within := x.ErrorWithin(x.Body) // an event of a stream
	if within == nil {
		within = x.Garbled(errors.New("an error that says no more"))
	}
	if f, ok := errors.AsType[*failure.Error](within); ok {
		f.Err = apiError(x, clean)
	}
	return within
}

package anthropic

import (
	"errors"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/provider/internal/wire"
)

// Classify converts an error of Anthropic's SDK to a [*failure.Error], as the
// adapter does. It is for a program that calls the SDK itself, for example in an
// [llm.Func]: the error's kind decides about retries, fallbacks and the circuit
// breaker, and a Retry-After is obeyed. Switch off the SDK's own retries with
// option.WithMaxRetries(0).
//
// Classify converts network failures and the SDK's *anthropic.Error, including
// that of a stream, from any server. The result wraps the SDK's error, without
// the key, the prompt and cookies; its Provider is "anthropic", or the host of
// another server. Classify returns nil for nil, and any other error unchanged,
// including a context's and one that is already classified.
func Classify(err error) error {
	foreign := wire.Foreign{Protocol: classify.Anthropic, Home: DefaultBaseURL}
	api, ok := errors.AsType[*sdk.Error](err)
	if !ok || api == nil || api.Response == nil {
		return foreign.Broken(err)
	}
	foreign.Secrets = wire.Secrets(api.Request)
	x := foreign.Response(api.Request, api.Response, []byte(api.RawJSON()))
	clean := &sdk.Error{StatusCode: api.StatusCode, RequestID: api.RequestID, WorkspaceID: api.WorkspaceID}
	_ = clean.UnmarshalJSON(x.Body) // can't fail: the SDK has parsed it
	if !x.Succeeded() {
		return x.Refused(apiError(x, clean))
	}
	within := x.ErrorWithin([]byte(api.RawJSON())) // an event of a stream; with the key, which may be in a word that decides
	if within == nil {
		within = x.Garbled(errors.New("an error that says no more"))
	}
	if f, ok := errors.AsType[*failure.Error](within); ok {
		f.Err = apiError(x, clean)
	}
	return within
}

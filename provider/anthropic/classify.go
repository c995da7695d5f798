package anthropic

import (
	"errors"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/provider/internal/wire"
)

// Classify makes of an error of Anthropic's SDK what the adapter would make of
// it, a [*failure.Error], for a program that calls the SDK itself, in an llm.Func
// say: its kind decides about retries, fallbacks and the circuit breaker, and a
// Retry-After is obeyed. Switch the SDK's own retries off by
// option.WithMaxRetries(0).
//
// It takes the SDK's *anthropic.Error, of a stream too, for whatever server the
// SDK was pointed at, and a failure of the network. The error that it returns
// wraps the SDK's, from which the key, the prompt and cookies are removed; its
// Provider is "anthropic", or the host of another server. nil is nil, and any
// other error is returned as it is, one of a context and one that is classified
// among them.
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

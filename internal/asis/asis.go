// Package asis carries a request and its answer through an adapter as they are.
//
// A gateway reads a request of a client in some protocol. If the provider's model speaks the
// same protocol, and nothing of the request is to change, the body goes to the provider byte
// for byte but for the name of the model, so that a field which nobody here knows yet arrives;
// and the provider's answer goes back as it came, although the adapter has read it too: its
// failures, its usage and its reason to stop decide what happens next, as for every call.
//
// The [Exchange] is a value of the context of one request: [With] puts it there, an adapter
// takes it by [From], and what wraps a model passes it on with the context.
package asis

import (
	"context"
	"net/http"
)

// Exchange is one request and its answer as they are. It is for one request at a time: an
// attempt beside another one (a hedge) has its own.
type Exchange struct {
	// Protocol is what Body is in: "openai" (chat completions), "openai-responses",
	// "anthropic" or "gemini". A model that speaks another ignores the exchange.
	Protocol string
	// Body is the request as the client wrote it: a JSON object, which its reader has found
	// to be valid. The adapter sends it with these changes, and nothing else differently: the
	// model is its own; stream is as it is called, Complete or Stream (Gemini has both in the
	// address); and a stream of chat completions asks for its usage. Default nil: the adapter
	// sends the request that it was given, and only the answer is handed on.
	Body []byte
	// Header is the client's. What chooses a form of the protocol is sent with Body:
	// Anthropic-Beta, Anthropic-Version, Openai-Beta.
	Header http.Header
	// Event is called with each event of a stream as it came, and its name, "" for none,
	// before the chunks that were read from it are yielded, on the same goroutine. data is
	// valid during the call only. Left out are errors, and an event that has nothing but the
	// usage for which the adapter asked. The event that ends a stream ([DONE], message_stop,
	// response.completed) comes only after an answer that can be used; a server may end a
	// stream without it. Default nil: nobody wants the events.
	Event func(name string, data []byte)

	// The rest is what the adapter reports. It is reset at each request.

	// Sent says that Body was sent.
	Sent bool
	// Added says that the adapter asked for the usage of a stream, for which the client had
	// not asked.
	Added bool
	// Status and Told are the status and the header of the response, 0 and nil if there was
	// none. They are known before the first Event. Told has nothing but what the provider
	// calls the response: X-Request-Id, Request-Id.
	Status int
	Told   http.Header
	// Answer is the body of a whole answer, read without an error or with one of kind
	// [llmcall/failure.ContentFiltered]: a refusal in the protocol's own form. A server may
	// send a whole answer where a stream was asked for; then Event is not called, and Answer
	// is known before the first chunk. It is nil for a stream, also for one that came where a
	// whole answer was asked for.
	Answer []byte
	// Problem is the body of a response whose Status says that it failed.
	Problem []byte
}

// Reset forgets what an adapter has reported.
func (x *Exchange) Reset() {
	x.Sent, x.Added, x.Status, x.Told, x.Answer, x.Problem = false, false, 0, nil, nil, nil
}

type key struct{}

// With returns a context for a request that is to be sent as x says.
func With(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, key{}, x)
}

// From returns the exchange of a request, or nil. ctx may be nil.
func From(ctx context.Context) *Exchange {
	if ctx == nil {
		return nil
	}
	x, _ := ctx.Value(key{}).(*Exchange)
	return x
}

package endpoint

import (
	"context"

	"llmcall/pace"
)

// Listener receives what a model's adapter learns about a request before its answer is
// complete. Its methods are called on the goroutine that makes the request.
// retry.Call.Listen makes the Listener of a call.
type Listener interface {
	// Accepted is called when an answer has begun to arrive; see [Accepted].
	Accepted(*pace.Told)
	// Told is called with what the headers of a response say about the provider's
	// limits; see [Told].
	Told(*pace.Told)
	// Again is called before a request is sent once more in another form, and reports
	// whether it may be; see [Again].
	Again() bool
	// Noted is called with what the request lacks of what was asked for; see [Noted].
	Noted(note string)
}

type listenerKey struct{}

// Listen returns a context with which [Accepted] and [Told] call l.
func Listen(ctx context.Context, l Listener) context.Context {
	return context.WithValue(ctx, listenerKey{}, l)
}

// Accepted is called by a model's adapter when an answer has begun to arrive: a whole
// answer when it is known not to be an error (servers also send status 200 before an
// error), a stream with its first piece of content. told is what the headers said about
// the provider's limits, or nil. If ctx belongs to no call, Accepted does nothing.
func Accepted(ctx context.Context, told *pace.Told) {
	if l, ok := ctx.Value(listenerKey{}).(Listener); ok {
		l.Accepted(told)
	}
}

// Told is called by a model's adapter with what the headers of a response say about the
// provider's limits, if no answer has begun: the response is a refusal, or a stream
// without content yet. If told is nil or ctx belongs to no call, Told does nothing.
func Told(ctx context.Context, told *pace.Told) {
	if told == nil {
		return
	}
	if l, ok := ctx.Value(listenerKey{}).(Listener); ok {
		l.Told(told)
	}
}

// Again is called by a model's adapter when the provider has refused a part of the
// request that the adapter can do without, before it sends the request without that part.
// The call that ctx belongs to counts the refusal as an answer, because the provider
// works, and admits the next request of the same attempt by its guards. If Again returns
// false, the call or the attempt has ended, and the adapter returns the refusal. If ctx
// belongs to no call, Again returns true.
func Again(ctx context.Context) bool {
	l, ok := ctx.Value(listenerKey{}).(Listener)
	return !ok || l.Again()
}

// Noted is called by a model's adapter with what its request lacks of what was asked for,
// in a few words, such as a schema that the provider is not told to enforce. The notes are
// part of the trace. If ctx belongs to no call, Noted does nothing.
func Noted(ctx context.Context, note string) {
	if l, ok := ctx.Value(listenerKey{}).(Listener); ok {
		l.Noted(note)
	}
}

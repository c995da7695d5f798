package endpoint

import (
	"context"

	"llmcall/pace"
)

// A Listener hears what an adapter learns of a request before its answer is
// whole, from the goroutine that makes the request. That of a call is made by
// retry.Call.Listen.
type Listener interface {
	// Accepted: an answer has begun to come.
	Accepted(*pace.Told)
	// Told: what the headers of a response say of the provider's limits.
	Told(*pace.Told)
}

type listenerKey struct{}

// Listen returns a context through which l hears what [Accepted] and [Told] are
// told.
func Listen(ctx context.Context, l Listener) context.Context {
	return context.WithValue(ctx, listenerKey{}, l)
}

// Accepted is for a model's adapter: an answer has begun to come, a whole one
// once it is seen to be one (servers send status 200 before a failure, too), a
// stream with its first growing piece. It tells the call that ctx belongs to;
// with none, nobody. told is what the header said of the provider's limits, or
// nil.
func Accepted(ctx context.Context, told *pace.Told) {
	if l, ok := ctx.Value(listenerKey{}).(Listener); ok {
		l.Accepted(told)
	}
}

// Told is for a model's adapter: what the headers of a response, of a refusal or
// of a stream that has not begun, say of the provider's limits. nil is nothing.
func Told(ctx context.Context, told *pace.Told) {
	if told == nil {
		return
	}
	if l, ok := ctx.Value(listenerKey{}).(Listener); ok {
		l.Told(told)
	}
}

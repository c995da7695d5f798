// Package llmcall turns an unreliable language model into a dependable
// function: a call returns an answer that passed its checks, or the reason why
// there is none, within the time and the attempts that the caller allows.
//
// A call is a series of attempts, of which each asks one model and checks its
// answer. One loop handles whatever goes wrong:
//
//   - After a failure of the provider that may pass, the next attempt waits: 1 s at
//     first, twice as long each time, at most 60 s, and ±10 % at random. One that can't
//     pass, such as a bad key, ends the call.
//   - After a rate limit, it waits as long as the provider says: at most 2 min at a
//     time and 10 min in all. That does not use up an attempt, nor does a rate limit
//     without a time while the provider answers others.
//   - After an answer that does not pass its checks, the model is asked again at
//     once, and told what is wrong.
//   - If a model can't serve the call, the next of the client's models is asked.
//
// A call has one count of attempts (by default at most 3), one deadline (its
// context's, or [RetryConfig.MaxTime]) and one history (its [Trace]). Calls to the
// same endpoint, that is to a model at an address with an API key, share a pacer,
// which keeps all callers to the rate that the provider accepts; a budget of
// retries; and, if [RetryConfig.EnableCircuitBreaker] is set, a circuit breaker.
// See package [llmcall/endpoint].
//
// A [Client] makes calls by one configuration:
//
//	client, err := llmcall.New([]llm.Model{model}, checks, llmcall.RetryConfig{})
//	…
//	result, err := client.Do(ctx, llm.Prompt("…"))
//
// [Client.Start] does the same without waiting, and [Client.Stream] yields the
// answer as it arrives. [Ask], [StartAsk] and [AskStream] are the same three for
// an answer that is a Go value. [RetryWithValidation], [Start] and [Stream] make a
// client for one call.
package llmcall

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"llmcall/llm"
	"llmcall/validate"
)

// RetryWithValidation is [New] with one model, followed by [Client.Do]: it asks
// the model until its answer passes all checks. Without checks any answer that is
// not cut off passes, even an empty one. A program that makes more than one call
// should use New, which checks the configuration once.
//
// The errors are those of New, before the model is called, and of Do.
func RetryWithValidation(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) (*Result, error) {
	c, err := forOneCall(model, checks, cfg)
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, req)
}

// Start is [New] with one model, followed by [Client.Start]. If New returns an
// error, the call has ended with it.
func Start(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) *Pending {
	c, err := forOneCall(model, checks, cfg)
	if err != nil {
		return ended(err)
	}
	return c.Start(ctx, req)
}

// Stream is [New] with one model, followed by [Client.Stream]. If New returns an
// error, the sequence yields it.
func Stream(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) iter.Seq2[Piece, error] {
	c, err := forOneCall(model, checks, cfg)
	if err != nil {
		return func(yield func(Piece, error) bool) { yield(Piece{}, err) }
	}
	return c.Stream(ctx, req)
}

var errGoexit = errors.New("the call's goroutine was ended by runtime.Goexit")

// Pending is a call in progress; see [Client.Start].
type Pending struct {
	done   chan struct{}
	cancel context.CancelFunc
	result *Result
	err    error
}

// ended returns a call that has ended with an error before it began.
func ended(err error) *Pending {
	done := make(chan struct{})
	close(done)
	return &Pending{done: done, cancel: func() {}, err: err}
}

// Done returns a channel that is closed when the call has ended.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits for the call and returns what [Client.Do] would have returned; if the
// call panicked, the error is a [*PanicError]. If ctx ends first, Wait returns
// ctx's error and its cause, and the call continues. Wait may be called many
// times, from many goroutines.
func (p *Pending) Wait(ctx context.Context) (*Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	default:
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		err, cause := ctx.Err(), context.Cause(ctx)
		if reflect.TypeOf(cause) == reflect.TypeOf(err) && (!reflect.TypeOf(err).Comparable() || cause == err) {
			return nil, err // == panics for an error of a type that is not comparable
		}
		return nil, fmt.Errorf("%w: %w", err, cause)
	}
}

// Cancel ends the call as the end of its context would. It does not wait until the
// call has ended, and does nothing if it has.
func (p *Pending) Cancel() { p.cancel() }

// PanicError is the error of a call that panicked, as [Pending.Wait] returns it
// and [EventCallEnded] reports it.
type PanicError struct {
	Value any    // the argument of panic
	Stack []byte // the stack of the goroutine that panicked
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("the call panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

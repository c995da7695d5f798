// Package llmcall turns an unreliable language model into a dependable
// function: a call returns an answer that passed its checks, or a clear reason
// why not, inside the time and the attempts that the caller allowed.
//
//	client, err := llmcall.New([]llm.Model{model}, checks, llmcall.RetryConfig{})
//	…
//	result, err := client.Do(ctx, llm.Prompt("…"))
//
// [Client.Start] is the same without waiting, [Client.Stream] hands the answer on
// as it comes, and [Ask], [StartAsk] and [AskStream] are the same three for an
// answer that is a Go value. [RetryWithValidation], [Start] and [Stream] make a
// client for one call.
//
// A call is made of attempts: each asks one of the client's models and checks its
// answer. There is one loop for all that goes wrong. A failure of the provider is
// retried after a delay that grows; a rate limit is waited for as long as the
// provider says; an answer that does not pass its checks goes back to the model
// with what was wrong, at once. Where a model can't serve, the next one is asked.
// There is one count of attempts, one deadline, one history.
//
// What calls share is kept for each endpoint, that is a model at an address with
// an API key: a pacer that holds all callers to the rate that the provider
// accepts, a budget of retries, and, where [RetryConfig] switches it on, a circuit
// breaker. See package endpoint, whose Default registry can be listed and reset.
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

// RetryWithValidation is [New] with one model, and then [Client.Do]: it asks the
// model until its answer passes all checks. Without checks any answer that was
// not cut off will do, an empty one too. A program that makes more than one call
// checks its configuration once with New.
//
// The errors are those of New, before any call of the model, and of Do.
func RetryWithValidation(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) (*Result, error) {
	c, err := forOneCall(model, checks, cfg)
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, req)
}

// Start is [New] with one model, and then [Client.Start]. An error of New is that
// of the call, which has ended then.
func Start(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) *Pending {
	c, err := forOneCall(model, checks, cfg)
	if err != nil {
		return ended(err)
	}
	return c.Start(ctx, req)
}

// Stream is [New] with one model, and then [Client.Stream]. An error of New is
// what the sequence yields.
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

// Pending is a call under way; see [Client.Start].
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

// Wait waits for the call and returns what [Client.Do] would have; a panic of the
// call is a *[PanicError]. If ctx ends first it returns ctx's error
// and its cause, and the call goes on. It may be called many times, from many
// goroutines.
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
			return nil, err // a foreign context's error may be of a type that == panics with
		}
		return nil, fmt.Errorf("%w: %w", err, cause)
	}
}

// Cancel ends the call, as the end of its context would. It does not wait for the
// end, and does nothing if the call has ended.
func (p *Pending) Cancel() { p.cancel() }

// PanicError is a panic of a call, as [Pending.Wait] returns it and as the event
// [EventCallEnded] has it.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // the stack of the goroutine that panicked
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("the call panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Package llmcall turns an unreliable language model into a dependable
// function: a call returns an answer that passed its checks, or a clear reason
// why not, inside the time and the attempts that the caller allowed.
//
//	result, err := llmcall.RetryWithValidation(ctx, model, llm.Prompt("…"), checks, llmcall.RetryConfig{})
//
// Start is the same without waiting, Stream hands the answer on as it comes, and
// Ask, StartAsk and AskStream are the same three for an answer that is a Go
// value.
//
// There is one loop for all that goes wrong. A failure of the provider is
// retried after a delay that grows; a rate limit is waited for as long as the
// provider says; an answer that does not pass its checks goes back to the model
// with what was wrong, at once. There is one count of attempts, one deadline,
// one history. The model's circuit breaker and its retry budget are shared by
// all calls of the process.
package llmcall

import (
	"context"
	"fmt"
	"runtime/debug"

	"llmcall/llm"
	"llmcall/validate"
)

// RetryWithValidation asks a model until its answer passes all checks. Without
// checks any answer that was not cut off will do. The caller's request is not
// modified.
//
// It returns a *ConfigError for an impossible configuration, before any call; a
// *HumanReviewError when a person must look; and else an *Error that says why
// there is no valid answer. Each of the last two carries the trace of all
// attempts, as a Result does.
//
// A panic in the model or the tool goes on to the caller.
func RetryWithValidation(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) (*Result, error) {
	c, err := newCall(model, req, checks, cfg)
	if err != nil {
		return nil, err
	}
	return c.run(ctx)
}

// Pending is a call under way; see Start.
type Pending struct {
	done   chan struct{}
	cancel context.CancelFunc
	result *Result
	err    error
}

// Start is RetryWithValidation without waiting for it. The call ends by itself,
// when ctx ends, or when it is cancelled; nothing need be done to free it. The
// request must stay as it is until then.
func Start(
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) *Pending {
	ctx, cancel := context.WithCancel(ctx)
	p := &Pending{done: make(chan struct{}), cancel: cancel}
	c, err := newCall(model, req, checks, cfg)
	if err != nil {
		p.err = err
		cancel()
		close(p.done)
		return p
	}
	p.err = errGoexit
	go func() {
		defer close(p.done)
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				p.result, p.err = nil, &PanicError{v, debug.Stack()}
			}
		}()
		p.result, p.err = c.run(ctx)
	}()
	return p
}

// Done returns a channel that is closed when the call has ended.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits for the call and returns what RetryWithValidation would have; a
// panic of the call is a *PanicError. If ctx ends first it returns ctx's error
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
		if cause := context.Cause(ctx); cause != ctx.Err() {
			return nil, fmt.Errorf("%w: %w", ctx.Err(), cause)
		}
		return nil, ctx.Err()
	}
}

// Cancel ends the call, as the end of its context would. It does not wait.
func (p *Pending) Cancel() { p.cancel() }

// PanicError is a panic of a call that was begun with Start.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("the call panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

package llmcall

import (
	"context"

	"llmcall/llm"
	"llmcall/validate"
)

// PendingAsk is an Ask under way; see StartAsk. Done and Cancel are those of a
// Pending.
type PendingAsk[T any] struct {
	*Pending
	shape *shape[T]
}

// StartAsk is Ask without waiting for it, as Start is RetryWithValidation.
func StartAsk[T any](
	ctx context.Context, model llm.Model, req *llm.Request, checks []validate.Strategy, cfg RetryConfig,
) *PendingAsk[T] {
	s, err := shapeOf[T]()
	if err == nil {
		req, checks, err = s.ask(req, checks)
	}
	if err != nil {
		done := make(chan struct{})
		close(done)
		return &PendingAsk[T]{&Pending{done: done, cancel: func() {}, err: err}, nil}
	}
	return &PendingAsk[T]{Start(ctx, model, req, checks, cfg), s}
}

// Wait waits for the call and returns what Ask would have, as Pending's Wait
// does. Each waiter gets a T of its own, and all the same Result.
func (p *PendingAsk[T]) Wait(ctx context.Context) (T, *Result, error) {
	var none T
	result, err := p.Pending.Wait(ctx)
	if err != nil {
		return none, nil, err
	}
	answer, err := p.shape.decode([]byte(result.Text))
	return answer, result, err
}

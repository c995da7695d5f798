package llmcall

import (
	"context"

	"llmcall/llm"
)

// PendingAsk is an [Ask] under way; see [StartAsk]. Done and Cancel are those of a
// [Pending].
type PendingAsk[T any] struct {
	*Pending
	shape *shape[T]
}

// StartAsk is [Ask] without waiting for it, as [Client.Start] is [Client.Do].
func StartAsk[T any](ctx context.Context, c *Client, req *llm.Request) *PendingAsk[T] {
	s, err := shapeOf[T]()
	if err != nil {
		return &PendingAsk[T]{ended(err), nil}
	}
	asked, checks, err := s.ask(req, c.checks)
	if err != nil {
		return &PendingAsk[T]{ended(err), nil}
	}
	return &PendingAsk[T]{c.start(ctx, asked, checks), s}
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

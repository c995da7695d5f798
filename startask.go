package llmcall

import (
	"context"

	"llmcall/llm"
)

// PendingAsk is an [Ask] in progress; see [StartAsk]. Its methods Done and Cancel
// are those of [Pending].
type PendingAsk[T any] struct {
	*Pending
	shape *shape[T]
}

// StartAsk is [Ask] in a goroutine of its own, as [Client.Start] is [Client.Do].
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

// Wait waits for the call, as [Pending.Wait] does, and returns what [Ask] would
// have returned. Each caller gets its own T, but all get the same Result.
func (p *PendingAsk[T]) Wait(ctx context.Context) (T, *Result, error) {
	var none T
	result, err := p.Pending.Wait(ctx)
	if err != nil {
		return none, nil, err
	}
	answer, err := p.shape.decode([]byte(result.Text))
	return answer, result, err
}

package retry

import (
	"context"
	"sync"

	"llmcall/endpoint"
	"llmcall/pace"
)

// Listen returns a context for one request, with which [endpoint.Accepted] and
// [endpoint.Told] reach the call until end is called. end must be called before
// [Call.Settle], and on every path. A model may ask several others at the same time, on
// goroutines of their own: their reports do not overlap, and those after end are
// ignored.
func (c *Call) Listen(ctx context.Context) (heard context.Context, end func()) {
	e := &ear{call: c}
	return endpoint.Listen(ctx, e), e.end
}

// ear is what hears for a call.
type ear struct {
	mu   sync.Mutex
	call *Call // nil after the end
}

func (e *ear) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.call = nil
}

func (e *ear) Accepted(told *pace.Told) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.call != nil {
		e.call.Accepted(told)
	}
}

func (e *ear) Told(told *pace.Told) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.call != nil {
		e.call.Told(told)
	}
}

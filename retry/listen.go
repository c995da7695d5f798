package retry

import (
	"context"
	"sync"

	"llmcall/endpoint"
	"llmcall/pace"
)

// Listen returns a context for one request, through which the call hears what
// adapters tell by [endpoint.Accepted] and [endpoint.Told], until end is called:
// that must be before Settle, and on every way out. A model may be made of
// several that are asked at the same time, on goroutines of their own, of which
// those that lose tell late: while the call hears of one, it hears of no other,
// and of what comes after the end nothing.
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

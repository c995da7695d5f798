package retry

import (
	"context"
	"slices"
	"sync"

	"llmcall/endpoint"
	"llmcall/pace"
)

// Listen returns a context for one request, with which [endpoint.Accepted],
// [endpoint.Told], [endpoint.Again] and [endpoint.Noted] reach the call until end is
// called. end must be called before
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

// Again is [Call.Settle] of a refusal that shows that the provider works, and costs
// nothing, followed by [Call.Round].
func (e *ear) Again() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.call == nil || e.call.accepted || !e.call.Settle(endpoint.Outcome{Report: &endpoint.Report{Unbilled: true}}) {
		return false
	}
	return e.call.Round()
}

func (e *ear) Noted(note string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.call != nil && !slices.Contains(e.call.Notes(), note) {
		c := e.call
		if c.extra == nil {
			c.extra = &extra{}
		}
		c.notes = append(c.notes, note)
	}
}

// Notes returns what the requests of the current attempt lacked of what was asked for;
// see [endpoint.Noted].
func (c *Call) Notes() []string {
	if c.extra == nil {
		return nil
	}
	return c.notes
}

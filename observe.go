package llmcall

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"llmcall/llm"
	"llmcall/retry"
)

// Observer is called with each [Event] of a call, in order, on the goroutine of the
// call and outside every lock, so that it may use what it observes. The call waits
// until it returns.
//
// ctx is the context of what the event is about. The observer may return a derived
// one, such as one with a span, or nil for no change. The result for
// [EventCallStarted] becomes the context of the call, and that for
// [EventAttemptStarted] the context of the attempt, with which the model, the tool
// and the checks are called; other results are ignored. A [retry.Observer] follows
// the same rules.
//
// A panic in an observer is logged by log/slog, and the call continues.
type Observer func(ctx context.Context, e Event) context.Context

// Observers returns an observer that calls all of them in order, each with the
// context that the one before has returned. It ignores those that are nil, and
// returns nil if all are.
func Observers(all ...Observer) Observer {
	all = slices.DeleteFunc(slices.Clone(all), func(o Observer) bool { return o == nil })
	if len(all) == 0 {
		return nil
	}
	return func(ctx context.Context, e Event) context.Context {
		for _, o := range all {
			ctx = o.tell(ctx, e)
		}
		return ctx
	}
}

// tell calls the observer and returns the context to continue with.
func (o Observer) tell(ctx context.Context, e Event) (next context.Context) {
	defer func() {
		if v := recover(); v != nil {
			next = ctx
			slog.Error("llmcall: an observer panicked", "event", e.Type.String(), "call", e.Call, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	if next = o(ctx, e); next == nil {
		return ctx
	}
	return next
}

// EventType is the type of an [Event].
type EventType uint8

// The types of events. A call starts and ends once. In between, its attempts start
// and end, one after the other, and before each there may be waits.
const (
	// EventCallStarted is the first event of a call.
	EventCallStarted EventType = iota
	// EventAttemptStarted: Attempt has its number, model, stage, start and delay.
	EventAttemptStarted
	// EventWaiting: a wait begins, before the attempt Attempt.Number or before its
	// next request, which has the results of a tool. Wait and WaitReason are set. The
	// end of a wait has no event: the attempt starts or continues, another wait
	// begins, or the call ends.
	EventWaiting
	// EventAttemptEnded: Attempt is complete.
	EventAttemptEnded
	// EventCallEnded is the last event of a call: Duration is set, and either Result
	// or Err. Err is a [*PanicError] if the call panicked.
	EventCallEnded
)

var eventTypes = [...]string{"call_started", "attempt_started", "waiting", "attempt_ended", "call_ended"}

// String returns the type's name, "attempt_started".
func (t EventType) String() string {
	if int(t) < len(eventTypes) {
		return eventTypes[t]
	}
	return fmt.Sprintf("event(%d)", uint8(t))
}

// MarshalText returns the type's name, as [EventType.String] does.
func (t EventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Event reports the progress of a call. What it points to belongs to the call and
// must not be changed.
type Event struct {
	Type  EventType
	Call  uint64 // the call's number, from 1, unique in the process
	Model string // the name of the model that is called, or that answered
	// Request is what the caller asks, with the defaults of the configuration. Set for
	// [EventCallStarted] and [EventCallEnded].
	Request *llm.Request
	Attempt Attempt
	// Wait is the expected duration of a wait, and WaitReason its reason.
	Wait       time.Duration
	WaitReason retry.WaitReason
	Duration   time.Duration // of the whole call, waits included
	Result     *Result
	Err        error // as the call returns it
}

// lastCall is the number of the last observed call.
var lastCall atomic.Uint64

// tell calls the observer, if there is one, and returns the context to continue
// with.
func (c *call) tell(ctx context.Context, e Event) context.Context {
	if c.cfg.Observer == nil {
		return ctx
	}
	e.Call = c.number
	if e.Model == "" {
		e.Model = c.model.Name()
	}
	return c.cfg.Observer.tell(ctx, e)
}

// observe passes on the events of the loop: that a wait or an attempt begins.
func (c *call) observe(ctx context.Context, e retry.Event) context.Context {
	switch e.Type {
	case retry.Waiting:
		next := Attempt{Number: len(c.trace.Attempts), Model: c.client.models[e.Target].Name(), Stage: c.at().Name}
		if !c.open { // else the wait is before a further request of the current attempt
			next.Number++
		}
		c.tell(ctx, Event{Type: EventWaiting, Model: next.Model, Attempt: next, Wait: e.Wait, WaitReason: e.Reason})
	case retry.AttemptStarted:
		c.begin()
		c.within = c.tell(ctx, Event{Type: EventAttemptStarted, Attempt: *c.current()})
		return c.within
	}
	return nil
}

// observed makes the call with its first and its last event.
func (c *call) observed() (*Result, error) {
	c.number = lastCall.Add(1)
	start := time.Now()
	c.ctx = c.tell(c.ctx, Event{Type: EventCallStarted, Request: c.req})
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		err := errGoexit
		if v != nil {
			err = &PanicError{v, debug.Stack()}
		}
		if c.open {
			r := c.current()
			r.Duration, r.Outcome, r.Error = time.Since(r.Start), OutcomeFailed, err.Error()
			c.ended()
		}
		c.tell(c.ctx, Event{Type: EventCallEnded, Request: c.req, Duration: time.Since(start), Err: err})
		if v != nil {
			panic(v)
		}
	}()
	result, err := c.loop()
	returned = true
	c.tell(c.ctx, Event{Type: EventCallEnded, Request: c.req, Duration: time.Since(start), Result: result, Err: err})
	return result, err
}

package llmcall

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"llmcall/retry"
)

// Observer is told what happens in calls, in order, on the goroutine of the call
// and outside every lock, so that it may use what it observes. It should return
// soon: the call waits for it.
//
// It gets the context of what the event is about, and may return another that is
// derived from it, such as one with a span. What it returns for
// [EventCallStarted] is the call's context from then on, and for
// [EventAttemptStarted] that attempt's, in which the model, the tool and the
// checks are called. nil leaves the context as it is, and for the other types
// the result is not looked at. A [retry.Observer] follows the same rules.
//
// A panic in an observer is logged with log/slog and goes no further.
type Observer func(ctx context.Context, e Event) context.Context

// Observers returns one observer that tells all of them, in order; each gets the
// context that the one before has returned. Those that are nil are left out; nil
// is returned if none is left.
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

// tell tells the observer, and returns the context that goes on.
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

// EventType is what an [Event] tells of.
type EventType uint8

// The types of events. A call starts and ends once; between that each of its
// attempts starts and ends once, one after the other, and before each there may
// be waits.
const (
	// EventCallStarted is the first event of a call.
	EventCallStarted EventType = iota
	// EventAttemptStarted: Attempt has its number, model, stage, start and delay.
	EventAttemptStarted
	// EventWaiting: a wait begins, before the attempt of Attempt.Number or before
	// a further request of it, with a tool's results; Wait and WaitReason are
	// set. It is not told when it ends: the attempt starts or goes on then,
	// another wait begins, or the call ends.
	EventWaiting
	// EventAttemptEnded: Attempt is whole.
	EventAttemptEnded
	// EventCallEnded is the last event of a call: Duration is set, and either
	// Result or Err. That of a call that panicked is a *PanicError.
	EventCallEnded
)

var eventTypes = [...]string{"call_started", "attempt_started", "waiting", "attempt_ended", "call_ended"}

// String returns the type's name in output ("attempt_started").
func (t EventType) String() string {
	if int(t) < len(eventTypes) {
		return eventTypes[t]
	}
	return fmt.Sprintf("event(%d)", uint8(t))
}

// MarshalText makes an EventType its name in JSON.
func (t EventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Event tells of a call's progress. What it points to is the call's own and must
// not be changed.
type Event struct {
	Type    EventType
	Call    uint64 // the call's number, from 1, unique in the process
	Model   string // the name of the model that is called, or that answered
	Attempt Attempt
	// Wait is how long the wait that begins will last, as far as is known, and
	// WaitReason why.
	Wait       time.Duration
	WaitReason retry.WaitReason
	Duration   time.Duration // of the whole call, waits included
	Result     *Result
	Err        error // as the call returns it
}

// lastCall is the number of the last call that was observed.
var lastCall atomic.Uint64

// tell tells the observer, if there is one, and returns the context that goes on.
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

// observe is told by the loop of what only the loop knows: that a wait begins,
// and that an attempt does.
func (c *call) observe(ctx context.Context, e retry.Event) context.Context {
	switch e.Type {
	case retry.Waiting:
		next := Attempt{Number: len(c.trace.Attempts), Model: c.client.models[e.Target].Name(), Stage: c.stage}
		if !c.open { // else it is for a further request of the attempt under way
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

// observed makes the call between its first and its last event.
func (c *call) observed() (*Result, error) {
	c.number = lastCall.Add(1)
	start := time.Now()
	c.ctx = c.tell(c.ctx, Event{Type: EventCallStarted})
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
		c.tell(c.ctx, Event{Type: EventCallEnded, Duration: time.Since(start), Err: err})
		if v != nil {
			panic(v)
		}
	}()
	result, err := c.loop()
	returned = true
	c.tell(c.ctx, Event{Type: EventCallEnded, Duration: time.Since(start), Result: result, Err: err})
	return result, err
}

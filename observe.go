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
// It gets the call's context and returns what is to be the call's context from
// then on, which must be derived from the one that it got; nil leaves it as it
// is. So it can begin a span at [EventCallStarted] and [EventAttemptStarted], in
// which the model, the tool and the checks are then called, and go back to the
// span outside at [EventAttemptEnded].
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
	// EventWaiting: a wait begins, before Attempt.Number; Wait and WaitReason are
	// set. It is not told when it ends: the attempt starts then, another wait
	// begins, or the call ends.
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

// emit tells the observer.
func (c *call) emit(e Event) {
	if c.cfg.Observer == nil {
		return
	}
	e.Call = c.number
	if e.Model == "" {
		e.Model = c.model.Name()
	}
	c.ctx = c.cfg.Observer.tell(c.ctx, e)
}

// observed makes the call between its first and its last event.
func (c *call) observed() (*Result, error) {
	c.number = lastCall.Add(1)
	start := time.Now()
	c.emit(Event{Type: EventCallStarted})
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
		c.emit(Event{Type: EventCallEnded, Duration: time.Since(start), Err: err})
		if v != nil {
			panic(v)
		}
	}()
	result, err := c.loop()
	returned = true
	c.emit(Event{Type: EventCallEnded, Duration: time.Since(start), Result: result, Err: err})
	return result, err
}

// valued is a context with the values of another, which the observer made.
type valued struct {
	context.Context
	values context.Context
}

func (v valued) Value(key any) any { return v.values.Value(key) }

// within returns the context of an attempt, with what the observer put into the
// call's.
func (c *call) within(own context.Context) context.Context {
	switch {
	case c.cfg.Observer == nil:
		return own
	case c.cfg.AttemptTimeout == 0:
		return c.ctx
	}
	return valued{own, c.ctx}
}

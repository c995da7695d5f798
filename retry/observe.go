package retry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
)

// EventType says what an [Event] reports.
type EventType uint8

// The types of events, in their order in a call: CallStarted; for each attempt the waits
// before it, its start and its end; CallEnded.
const (
	CallStarted EventType = iota + 1
	Waiting
	AttemptStarted
	AttemptEnded
	CallEnded
)

var eventTypes = [...]string{"", "call_started", "waiting", "attempt_started", "attempt_ended", "call_ended"}

// String returns the type's name ("attempt_ended").
func (t EventType) String() string { return nameAt(eventTypes[:], t, "event") }

// Event is something that happened in a call. Fields that do not apply to its Type are
// zero.
type Event struct {
	Type EventType
	Call uint64 // the call's number in this process, from 1
	// Attempt is the number of the attempt, from 1: with Waiting that of the
	// last one (llmcall.Event has that of the next), 0 before the first; with CallEnded how many there were.
	Attempt int
	Target  int // which of the call's targets, from 0

	Wait   time.Duration // Waiting: how long, as far as it is known
	Reason WaitReason    // Waiting: why

	// Err and Kind are the failure that an attempt or the call ended with; nil
	// and Unknown if it got an answer.
	Err  error
	Kind failure.Kind
	// Duration is how long the attempt, or the whole call, took.
	Duration time.Duration
	Used     endpoint.Amount // AttemptEnded: what the attempt used
	Stop     Reason          // CallEnded: why there was no further attempt
}

// Observer is called for each event of a call, in order, outside every lock, on the
// call's goroutine. The context that it returns for [CallStarted] becomes that of the
// call, and for [AttemptStarted] that of the attempt, so that it can carry a span; nil
// leaves the context as it is. For other types the result is ignored. A panic in it is
// logged with [log/slog] and recovered. A call with three attempts has three
// [AttemptEnded] and one [CallEnded].
type Observer func(ctx context.Context, e Event) context.Context

// Observers returns an [Observer] that calls each of the given ones, in order, with the
// context that the previous one returned. nil ones are skipped; if all are nil, so is the
// result.
func Observers(all ...Observer) Observer {
	var set []Observer
	for _, o := range all {
		if o != nil {
			set = append(set, o)
		}
	}
	switch len(set) {
	case 0:
		return nil
	case 1:
		return set[0]
	}
	return func(ctx context.Context, e Event) context.Context {
		for _, o := range set {
			ctx = tell(o, ctx, e)
		}
		return ctx
	}
}

// tell tells one observer. A fault in it must not reach the call.
func tell(o Observer, ctx context.Context, e Event) (next context.Context) {
	next = ctx
	defer func() {
		if v := recover(); v != nil {
			slog.Error("retry: the observer panicked", "event", e.Type.String(), "call", e.Call, "panic", v)
		}
	}()
	if replaced := o(ctx, e); replaced != nil {
		next = replaced
	}
	return next
}

var lastCall atomic.Uint64

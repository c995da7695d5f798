package pace

import (
	"fmt"
	"time"
)

// Why is what a request has to wait for.
type Why int

// What a request has to wait for.
const (
	// Pacing is our own rate, learned from refusals.
	Pacing Why = iota
	// ToldTime is a time that the provider told.
	ToldTime
	// ToldWindow is a remaining count that the provider told.
	ToldWindow
	// ConfiguredLimit is a configured number of requests or tokens a minute.
	ConfiguredLimit
	// Concurrency is a limit of requests in flight, configured or learned from
	// overload.
	Concurrency
	// QueueFull is a queue that takes no more.
	QueueFull
)

var whys = [...]string{
	Pacing:          "pacing",
	ToldTime:        "told_time",
	ToldWindow:      "told_window",
	ConfiguredLimit: "configured_limit",
	Concurrency:     "concurrency",
	QueueFull:       "queue_full",
}

// String returns the reason as a file or a metric calls it, such as told_time.
func (w Why) String() string {
	if w < 0 || int(w) >= len(whys) {
		return fmt.Sprintf("Why(%d)", int(w))
	}
	return whys[w]
}

// Told says whether the provider told it, rather than that it is ours.
func (w Why) Told() bool { return w == ToldTime || w == ToldWindow }

// Error is why a request did not get a turn: it was not made.
type Error struct {
	// Until is the earliest time known at which the request might be made.
	Until time.Time
	// Wait is the time from the refusal until then.
	Wait time.Duration
	// Why is what the request would have waited for longest.
	Why Why
	// ToldUntil is the end of the time that the provider told its callers to
	// stay away; zero: there is no such time. Until may be later.
	ToldUntil time.Time
	// Rate is the learned rate at that moment, in requests a second; 0: none.
	Rate float64
	// Queue is the number of requests that waited.
	Queue int
}

// Error says whether the provider told the wait, a limit was configured, or the
// pacing is our own.
func (e *Error) Error() string {
	wait := e.Wait.Round(time.Millisecond)
	switch e.Why {
	case ToldTime:
		return fmt.Sprintf("not sent: the provider told its callers to stay away for another %v", wait)
	case ToldWindow:
		return fmt.Sprintf("not sent: by the remaining count that the provider told, the turn comes in %v at the earliest", wait)
	case ConfiguredLimit:
		return fmt.Sprintf("not sent: by the configured limit a minute, with %d waiting, the turn comes in %v", e.Queue, wait)
	case Concurrency:
		return fmt.Sprintf("not sent: as many requests as are allowed are in flight, with %d waiting; this is our own limit, not a time that the provider told", e.Queue)
	case QueueFull:
		return fmt.Sprintf("not sent: our own queue for this endpoint is full: %d wait", e.Queue)
	}
	return fmt.Sprintf("not sent: our own pacing (%.3g requests a second, learned from refusals), with %d waiting, gives a turn in %v; the provider told no such time", e.Rate, e.Queue, wait)
}

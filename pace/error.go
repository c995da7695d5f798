package pace

import (
	"fmt"
	"time"
)

// Why is the reason why a request has to wait. The zero value is [Pacing].
type Why int

// The reasons to wait.
const (
	// Pacing is our own rate, learned from refusals.
	Pacing Why = iota
	// ToldTime is a time until which the provider asked not to be called.
	ToldTime
	// ToldWindow is a remaining count that the provider told.
	ToldWindow
	// ConfiguredLimit is a configured number of requests or tokens a minute.
	ConfiguredLimit
	// Concurrency is a limit of requests in flight, configured or learned from
	// overload.
	Concurrency
	// QueueFull is a full queue: 10,000 requests wait.
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

// String returns the name used in files and metrics, such as "told_time".
func (w Why) String() string {
	if w < 0 || int(w) >= len(whys) {
		return fmt.Sprintf("Why(%d)", int(w))
	}
	return whys[w]
}

// Told reports whether the provider told the reason, so that it is not our own limit.
func (w Why) Told() bool { return w == ToldTime || w == ToldWindow }

// Error is the error of a request that did not get a turn, and so was not made.
type Error struct {
	// Until is an estimate of the earliest time at which the request could be made.
	Until time.Time
	// Wait is the time from the refusal to Until.
	Wait time.Duration
	// Why is the reason for the longest of the waits.
	Why Why
	// ToldUntil is the time until which the provider asked not to be called; zero:
	// there is none. Until may be later.
	ToldUntil time.Time
	// Rate is the learned rate, in requests a second; 0: none.
	Rate float64
	// Queue is the number of requests in the queue.
	Queue int
	// Left is how much of the call's time would be left after its turn, if that is too little
	// for an answer, and Answers how long an answer takes, by the last ones. 0: this is not
	// why.
	Left, Answers time.Duration
}

// Error says how long the wait is, and whether the provider asked for it, a limit is
// configured, or it is our own pacing; or that too little time is left for an answer.
func (e *Error) Error() string {
	wait := e.Wait.Round(time.Millisecond)
	if e.Answers > 0 {
		return fmt.Sprintf("not sent: the turn comes in %v, with %d waiting, and leaves %v until the deadline, but by the last answers one takes %v", wait, e.Queue, e.Left.Round(time.Millisecond), e.Answers.Round(time.Millisecond))
	}
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

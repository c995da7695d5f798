package retry

import (
	"math"
	"time"

	"llmcall/failure"
)

// Why is the reason of a wait.
type Why uint8

// The reasons.
const (
	NoWait        Why = iota
	BackoffWait       // the delay that grows
	ProviderWait      // the provider asked for it
	RateLimitWait     // the provider limits the rate, and said when; uses up no attempt
	CircuitWait       // until the circuit admits a probe
)

var whys = [...]string{"", "backoff", "retry_after", "rate_limit", "circuit"}

// String returns the reason's name in output ("rate_limit"); "" for NoWait.
func (w Why) String() string { return whys[w] }

// MarshalText makes a Why its name in JSON.
func (w Why) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Reason is why no further attempt was made.
type Reason uint8

// The reasons.
const (
	Going           Reason = iota // attempts go on
	Exhausted                     // MaxAttempts
	Permanent                     // another attempt would not help
	OutOfTime                     // the deadline has come, or can't hold the next wait
	Cancelled                     // by the caller
	CircuitOpen                   // the breaker refused
	BudgetSpent                   // by all callers of the endpoint together
	WaitTooLong                   // MaxRetryAfter
	LimitTimePassed               // MaxLimitTime
)

var reasons = [...]string{
	"", "attempts_exhausted", "not_retryable", "out_of_time", "cancelled", "circuit_open", "retry_budget_spent",
	"retry_after_too_long", "rate_limited_too_long",
}

// String returns the reason's name ("out_of_time"); "" for Going.
func (r Reason) String() string { return reasons[r] }

// MarshalText makes a Reason its name in JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// situation is all that a decision depends on.
type situation struct {
	decision  failure.Decision
	answered  bool          // the provider did its work: the answer was wrong
	counted   int           // failed attempts that count, without this one
	retries   int           // the backoff's attempt number
	cutOff    bool          // an answer was cut off before this one
	told      bool          // the provider said when to come back:
	toldWait  time.Duration // in this long
	place     time.Duration // this call's place among all that were told: 0 if it doesn't matter
	limitTime time.Duration // waited for rate limits so far
	left      time.Duration // until the deadline
	openFor   time.Duration // the circuit refuses calls for this long yet
}

// step is what to do next. Its parts are few enough each for it to be handed on
// in registers.
type step struct {
	wait  time.Duration
	limit time.Duration // how much of the wait is for a rate limit
	verdict
}

type verdict struct {
	stop   Reason
	why    Why
	counts bool // the failed attempt counts against MaxAttempts
	spends bool // the retry takes from the budget
}

// next decides what follows from a failure. It neither waits nor changes
// anything; chance comes in through Backoff alone.
func (p *Policy) next(s *situation) step {
	again := s.decision.Again
	d := step{verdict: verdict{counts: true}}
	if again == failure.Never || again == failure.OnceLarger && s.cutOff {
		return stopped(Permanent, d)
	}
	switch again {
	case failure.Slower:
		d.wait, d.why = p.Backoff.Delay(s.retries+1), BackoffWait
	case failure.Backoff, failure.WhenTold:
		d.wait, d.why = p.Backoff.Delay(s.retries), BackoffWait
	}
	// A limit is bounded by the time that it is waited for. One that is not
	// waited for at all (the provider says 0, and so does Backoff) is bounded by
	// nothing but the attempts.
	limited := again == failure.WhenTold && s.told && (s.toldWait > 0 || d.wait > 0)
	d.counts = !limited
	// A provider that did its work, and one that is waited for, are not hurt
	// by another attempt.
	d.spends = !limited && !s.answered && s.decision.Breaker != failure.Healthy
	if d.counts && s.counted+1 >= p.MaxAttempts {
		return stopped(Exhausted, d)
	}
	if s.told {
		if s.toldWait > p.MaxRetryAfter {
			d.wait, d.why = s.toldWait, ProviderWait
			return stopped(WaitTooLong, d)
		}
		if s.toldWait >= d.wait {
			d.wait, d.why = s.toldWait, ProviderWait
		}
		if limited {
			d.why = RateLimitWait
		}
	}
	if limited {
		d.wait = p.placed(d.wait, s.place, s.limitTime, s.left)
		if d.wait > p.MaxLimitTime-s.limitTime {
			return stopped(LimitTimePassed, d)
		}
		d.limit = d.wait
	}
	if s.openFor > d.wait {
		d.wait, d.why = s.openFor, CircuitWait
		if !p.WaitForCircuit || s.openFor == math.MaxInt64 {
			return stopped(CircuitOpen, d)
		}
	}
	if d.wait == 0 {
		d.why = NoWait
	} else if d.wait >= s.left { // a wait that ends with the deadline leaves no time for the attempt
		return stopped(OutOfTime, d)
	}
	return d
}

// atGate decides about a call that was not made, since another was told to come
// back in a time. Its place among those who do is place from now.
func (p *Policy) atGate(told, place, limitTime, left time.Duration) step {
	d := step{wait: told, verdict: verdict{why: RateLimitWait}}
	if told > p.MaxRetryAfter {
		return stopped(WaitTooLong, d)
	}
	d.wait = p.placed(told, place, limitTime, left)
	d.limit = d.wait
	switch {
	case d.wait > p.MaxLimitTime-limitTime:
		return stopped(LimitTimePassed, d)
	case d.wait >= left:
		return stopped(OutOfTime, d)
	}
	return d
}

// placed returns the wait with a call's place among those who come back after
// it, unless there is no time for that: to come back in a crowd is better than
// not at all.
func (p *Policy) placed(wait, place, limitTime, left time.Duration) time.Duration {
	if place > p.MaxLimitTime-limitTime || place >= left {
		return wait
	}
	return max(wait, place)
}

func stopped(r Reason, d step) step {
	d.stop = r
	return d
}

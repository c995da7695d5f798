package retry

import (
	"math"
	"time"

	"llmcall/failure"
)

// The least time between two requests of a call after a refusal that did not use an
// attempt. Without it, a provider that always says "1 ms" would be asked a thousand times
// a second.
const (
	leastApart      = 100 * time.Millisecond
	leastApartLater = time.Second // after shortTolds refusals with a told wait below this
	shortTolds      = 10
)

// situation has everything that the decision after a failure depends on.
type situation struct {
	row      failure.Decision
	kind     failure.Kind
	answered bool // the provider answered, but the answer was wrong
	progress bool // the endpoint answers somebody
	paced    bool // a pacer is among the guards
	begun    bool // an answer had begun, so this is not a refusal
	counted  int  // failed attempts that count, before this one
	most     int  // after how many of them the call ends
	retries  int  // the backoff's attempt number
	cutOff   bool // an answer was cut off before this one
	told     bool // the provider said when to come back, after toldWait
	toldWait time.Duration
	shorts   int           // told waits below a second before this one
	waited   time.Duration // for limits and circuits so far
	left     time.Duration // until the deadline
}

// step is what follows a failure: a wait and then another attempt, or a stop.
type step struct {
	stop   Reason
	wait   time.Duration
	reason WaitReason
	counts bool          // the failed attempt counts against MaxAttempts
	spends bool          // the retry takes from the budget
	limit  bool          // the wait is for a rate limit, and counts against MaxRateLimitWait
	apart  time.Duration // the part of the wait that keeps two requests of the call apart
	// refusal says that the provider refused while, as far as known, nobody was served.
	// Whether that uses an attempt is decided again at the retry.
	refusal bool
	grows   bool // the backoff's attempt number grows
}

// decide returns what follows a failure. It changes nothing; the only random part is
// Backoff.
func (p *Policy) decide(s *situation) step {
	again := s.row.Again
	d := step{counts: true}
	if again == failure.Never || again == failure.OnceLarger && s.cutOff {
		return d.stopped(Permanent)
	}
	overload := s.kind == failure.Overloaded
	refused := again == failure.WhenTold || overload
	// If the provider said when to come back, or others are served, a refused call needs
	// time, which the deadline bounds, and not attempts.
	if refused && s.told && !overload || refused && s.progress {
		d.counts, d.limit = false, true
		d.wait, d.reason = leastApart, PaceWait
		if s.shorts >= shortTolds {
			d.wait = leastApartLater
		}
		d.apart = d.wait
		if s.told && s.toldWait >= d.wait { // otherwise the wait is our own
			d.wait, d.reason = s.toldWait, RateLimitWait
		}
	} else {
		d.refusal = refused && !s.begun
		d.grows = again != failure.AtOnce && again != failure.OnceLarger
		switch again {
		case failure.Slower:
			d.wait, d.reason = p.config.Backoff.Delay(s.retries+1), BackoffWait
		case failure.Backoff, failure.WhenTold:
			d.wait, d.reason = p.config.Backoff.Delay(s.retries), BackoffWait
		}
		// Another attempt does not harm a provider that answered. After a refusal, the
		// pacer holds back the attempts of all callers.
		d.spends = !s.answered && s.row.Breaker != failure.Healthy && !(refused && s.paced)
		if s.told { // our own backoff does not lengthen it
			d.wait, d.reason = s.toldWait, ProviderWait
		}
	}
	if d.counts && s.counted+1 >= s.most {
		return d.stopped(Exhausted)
	}
	switch {
	case s.toldWait > p.config.MaxRetryAfter:
		d.wait = s.toldWait
		if d.limit {
			d.reason = RateLimitWait
		}
		return d.stopped(WaitTooLong)
	case d.limit && d.wait > p.config.MaxRateLimitWait-s.waited:
		return d.stopped(RateLimitWaitExceeded)
	case d.wait > 0 && d.wait >= s.left: // no time would be left for the attempt
		return d.stopped(OutOfTime)
	}
	return d
}

func (d step) stopped(r Reason) step {
	d.stop = r
	return d
}

// forever stands for a time that has no bound.
const forever = time.Duration(math.MaxInt64)

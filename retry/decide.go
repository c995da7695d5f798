package retry

import (
	"math"
	"time"

	"llmcall/failure"
)

// How close two requests of one call may be after a refusal that used up no
// attempt: a provider that says "1 ms" for ever would else be asked a thousand
// times a second.
const (
	leastApart      = 100 * time.Millisecond
	leastApartLater = time.Second // after shortTolds refusals with a told wait below this
	shortTolds      = 10
)

// situation is all that a decision after a failure depends on.
type situation struct {
	row      failure.Decision
	kind     failure.Kind
	answered bool // the provider did its work: the answer was wrong
	progress bool // somebody gets answers from the endpoint
	paced    bool // a pacer is among the guards
	begun    bool // an answer had begun: it broke, and was not refused
	counted  int  // failed attempts that count, without this one
	retries  int  // the backoff's attempt number
	cutOff   bool // an answer was cut off before this one
	told     bool // the provider said when to come back:
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
	counts bool          // the failed attempt uses up one of MaxAttempts
	spends bool          // the retry takes from the budget
	limit  bool          // the wait is for a rate limit: it counts into MaxRateLimitWait
	apart  time.Duration // as much of the wait as keeps two requests of the call apart
	// refusal says that the provider refused while nobody was served, as far as
	// was known: whether that used up an attempt is seen when it is retried.
	refusal bool
	grows   bool // the next delay is the backoff's next, also where this one was 0
}

// decide says what follows a failure. It changes nothing; chance comes in
// through Backoff alone.
func (p *Policy) decide(s *situation) step {
	again := s.row.Again
	d := step{counts: true}
	if again == failure.Never || again == failure.OnceLarger && s.cutOff {
		return d.stopped(Permanent)
	}
	overload := s.kind == failure.Overloaded
	refused := again == failure.WhenTold || overload
	// Of a refusal the provider has told until when, or others are served: then
	// what is missing is time, which the deadline bounds, and not attempts.
	if refused && s.told && !overload || refused && s.progress {
		d.counts, d.limit = false, true
		d.wait, d.reason = leastApart, PaceWait
		if s.shorts >= shortTolds {
			d.wait = leastApartLater
		}
		d.apart = d.wait
		if s.told && s.toldWait >= d.wait { // a longer wait of our own is called so
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
		// A provider that did its work is not hurt by another attempt.
		// Of one that refuses, the pacer holds back the attempts of all callers.
		d.spends = !s.answered && s.row.Breaker != failure.Healthy && !(refused && s.paced)
		if s.told { // never stretched by our own backoff
			d.wait, d.reason = s.toldWait, ProviderWait
		}
	}
	if d.counts && s.counted+1 >= p.config.MaxAttempts {
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
	case d.wait > 0 && d.wait >= s.left: // a wait that ends with the deadline leaves no time for the attempt
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

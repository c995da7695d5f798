package retry

import (
	"context"
	"errors"
	"math"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
)

// run is the state of one Do: it records what happened, asks next what follows,
// and waits.
type run struct {
	policy    *Policy
	calls     int           // of the function
	counted   int           // failed attempts that count against MaxAttempts
	retries   int           // the backoff's attempt number
	cutOff    bool          // an answer was cut off
	limitTime time.Duration // waited for rate limits
	last      error
	few       [4]Failure    // the first failures; they stay on the stack of Do
	more      []Failure     // the others
	wait      time.Duration // before the attempt that comes
	why       Why
}

// record adds a failure to the history. It is written in its place, field by
// field: a value that is made first and copied then waits for its own stores.
func (r *run) record(err error, kind failure.Kind) {
	f := &r.few[min(r.calls, len(r.few))-1]
	if r.calls > len(r.few) {
		r.more = append(r.more, Failure{})
		f = &r.more[len(r.more)-1]
	}
	f.Number, f.Err, f.Kind, f.Wait, f.Why = r.calls, err, kind, r.wait, r.why
}

// history returns a copy of all failures.
func (r *run) history() []Failure {
	all := make([]Failure, 0, r.calls)
	all = append(all, r.few[:min(r.calls, len(r.few))]...)
	return append(all, r.more...)
}

// failed records a failed attempt, and waits for the next; or returns the *Error
// to end with.
func (r *run) failed(ctx context.Context, a attempted) error {
	p, err, kind := r.policy, a.err, a.kind
	decision := p.table.For(kind)
	if stop := stopOf(err); stop != nil {
		decision.Again = failure.Never
		if err == error(stop) {
			err = stop.err
		}
	}
	r.last = err
	r.record(err, kind)
	if failure.NoRetryOf(err) {
		decision.Again = failure.Never
	}
	var s situation // field by field, as in record
	s.toldWait, s.told = failure.RetryAfterOf(err)
	if a.ended {
		return r.ended(ctx)
	}
	s.decision, s.answered = decision, kind == failure.InvalidAnswer || kind == failure.CutOff
	s.counted, s.retries, s.cutOff, s.limitTime = r.counted, r.retries, r.cutOff, r.limitTime
	s.left = left(ctx)
	if p.Gate != nil && s.told && decision.Breaker == failure.Limit {
		var refusal *GateError
		if s.place, refusal = p.Gate.wait(); refusal != nil { // others may have been told more
			s.toldWait = max(s.toldWait, refusal.Wait)
		}
	}
	var refusal *breaker.OpenError
	if p.Breaker != nil {
		refusal = p.Breaker.Refusal()
		s.openFor = openFor(refusal)
	}
	d := p.next(&s)
	if d.stop == Going && d.spends && p.Budget != nil && !p.Budget.withdraw() {
		d.stop = BudgetSpent
	}
	if d.stop != Going {
		if s.place > 0 {
			p.Gate.leave()
		}
		return r.end(d, refusal)
	}
	if d.counts {
		r.counted++
	}
	r.limitTime += d.limit
	if d.why == BackoffWait || d.why == ProviderWait || d.why == RateLimitWait {
		r.retries++
	}
	r.cutOff = r.cutOff || decision.Again == failure.OnceLarger
	r.wait, r.why = d.wait, d.why
	r.observe(d.wait, d.why, Going)
	if d.wait > 0 {
		pause(ctx, d.wait)
	}
	return nil
}

// gated decides about a call that the gate keeps away: end, or (nil) wait.
func (r *run) gated(ctx context.Context, place time.Duration, refusal *GateError) error {
	d := r.policy.atGate(refusal.Wait, place, r.limitTime, left(ctx))
	switch d.stop {
	case Going:
		r.limitTime += d.limit
		r.wait += d.wait
		r.why = d.why
		r.observe(d.wait, d.why, Going)
		pause(ctx, d.wait)
		return nil
	case OutOfTime:
		r.policy.Gate.leave()
		return r.refuse(d, context.DeadlineExceeded, refusal)
	}
	r.policy.Gate.leave()
	return r.refuse(d, refusal)
}

// end ends the call as decided. refusal is the circuit's at the decision.
func (r *run) end(d step, refusal *breaker.OpenError) error {
	var causes []error
	switch d.stop {
	case OutOfTime:
		causes = []error{context.DeadlineExceeded}
	case CircuitOpen:
		causes = []error{refusal}
	}
	return r.refuse(d, causes...)
}

// refuse makes the *Error of a call that does not wait.
func (r *run) refuse(d step, causes ...error) error {
	e := r.error(d.stop, causes...)
	switch d.stop {
	case OutOfTime, WaitTooLong, LimitTimePassed:
		e.RefusedWait, e.Why = d.wait, d.why
	}
	return e
}

// ended ends the call because its context has ended.
func (r *run) ended(ctx context.Context) error {
	reason, causes := Cancelled, []error{ctx.Err()}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		reason = OutOfTime
	}
	if cause := context.Cause(ctx); cause != ctx.Err() {
		causes = append(causes, cause)
	}
	return r.error(reason, causes...)
}

// refused decides about a call that the circuit refuses: end, or (nil) wait.
func (r *run) refused(ctx context.Context, err error) error {
	refusal, _ := errors.AsType[*breaker.OpenError](err)
	if !r.policy.WaitForCircuit || refusal.Forced {
		return r.error(CircuitOpen, err)
	}
	wait := refusal.RetryIn()
	if refusal.State == breaker.Open && wait >= left(ctx) {
		return r.stillRefused(ctx, err)
	}
	r.why = CircuitWait
	r.observe(wait, CircuitWait, Going)
	return nil
}

// stillRefused ends a call that could not wait for its circuit.
func (r *run) stillRefused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return r.ended(ctx)
	}
	refusal, _ := errors.AsType[*breaker.OpenError](err)
	if refusal.Forced {
		return r.error(CircuitOpen, err)
	}
	e := r.error(OutOfTime, context.DeadlineExceeded, err)
	e.RefusedWait, e.Why = refusal.RetryIn(), CircuitWait
	return e
}

// error makes the *Error that ends the call.
func (r *run) error(reason Reason, causes ...error) *Error {
	r.observe(0, NoWait, reason)
	return &Error{Reason: reason, Failures: r.history(), causes: causes}
}

func (r *run) observe(wait time.Duration, why Why, stop Reason) {
	if r.policy.Observe == nil {
		return
	}
	e := Event{Wait: wait, Why: why, Stop: stop}
	if n := len(r.more); n > 0 {
		e.Failure = r.more[n-1]
	} else if r.calls > 0 {
		e.Failure = r.few[r.calls-1]
	}
	r.policy.Observe(e)
}

// openFor returns how long a circuit refuses calls.
func openFor(refusal *breaker.OpenError) time.Duration {
	switch {
	case refusal == nil:
		return 0
	case refusal.Forced:
		return math.MaxInt64
	}
	return refusal.RetryIn()
}

// left returns how long it is until ctx's deadline.
func left(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return math.MaxInt64
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

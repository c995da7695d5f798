package llmcall

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
	"llmcall/validate"
)

// stop is what has ended a call without an answer.
type stop uint8

const (
	byProvider stop = iota // it has failed, or the request makes it fail
	byLimit                // it refuses for now
	byWait                 // the call had too little time, patience or retries, for the load of all rows
	byItAlone              // one of these, while other rows were answered
	byRefusal              // it serves no row
	byMoney                // the client's Account
	byRun                  // which is over
	byItself               // the row is done
)

// stopOf returns what is to blame for each kind of failure.
func stopOf(k failure.Kind) stop {
	switch k {
	case failure.Unauthorized, failure.QuotaExhausted, failure.ModelNotFound:
		return byRefusal
	case failure.InvalidRequest, failure.ContextTooLong, failure.ContentFiltered, failure.CutOff, failure.InvalidAnswer:
		return byItself
	case failure.RateLimited, failure.Overloaded, failure.CircuitOpen:
		return byLimit
	case failure.RetryBudgetSpent:
		return byWait
	case failure.AccountSpent:
		return byMoney
	}
	return byProvider
}

// stopped notes that a call of a row has ended, and returns what has stopped it.
func (r *eachRun) stopped(k *eachCall, start time.Time, err error) stop {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { k.failed = time.Time{} }()
	r.release(k)
	if err == nil {
		return byItself
	}
	why := r.whose(k, start, err)
	if why == byItself {
		return why
	}
	if r.over {
		r.miss()
		return byRun
	}
	r.last = err
	switch why {
	case byRefusal:
		if _, judges := errors.AsType[*validate.CheckError](err); judges || r.allDead() {
			r.end(&EachError{Reason: EachNoModel, Last: err})
			r.miss()
			return byRefusal
		}
		why = byProvider
	case byMoney, byRun, byWait:
		return why
	}
	if k.failed.IsZero() {
		k.failed = start
	}
	if r.answered.After(k.failed) || why == byProvider && r.allAlone(k) {
		k.alone = k.alone || why == byProvider && r.answered.After(k.failed)
		return byItAlone
	}
	return why
}

// errAlone is the cause of the end of calls for which nothing can change any more.
var errAlone = errors.New("the provider fails for this row, and answers others")

// leaveAlone ends the calls that wait for a circuit when nobody is left who could close it.
// The caller holds the lock.
func (r *eachRun) leaveAlone() {
	if !r.allAlone(nil) {
		return
	}
	for k := range r.underway {
		if !k.asking && k.waits == retry.CircuitWait {
			k.cancel(errAlone)
		}
	}
}

// allAlone reports whether there are no further rows, and all that are under way, but for one
// that is not looked at, were failed by the provider while it answered others.
func (r *eachRun) allAlone(but *eachCall) bool {
	if !r.final {
		return false
	}
	for k := range r.underway {
		if k != but && !k.alone {
			return false
		}
	}
	return true
}

// allDead reports whether no model can serve a row.
func (r *eachRun) allDead() bool {
	for _, s := range r.client.stages {
		if slices.ContainsFunc(s.order, func(target int) bool { return !r.dead[target] }) {
			return false
		}
	}
	return true
}

// whose returns what has stopped a call.
func (r *eachRun) whose(k *eachCall, start time.Time, err error) stop {
	if person, ok := err.(*HumanReviewError); ok {
		if person.Last != nil {
			return byItself
		}
		return stopOf(failure.KindOf(person.Err)) // there is nothing for a person to look at
	}
	e, ok := err.(*Error)
	if !ok {
		return byItself
	}
	switch e.Reason {
	case ReasonNoValidAnswer, ReasonNoProgress, ReasonAborted:
		return byItself
	case ReasonRateLimited, ReasonCircuitOpen:
		waited, ok := errors.AsType[*retry.Error](e)
		switch {
		case !ok || waited.Reason != retry.RateLimitWaitExceeded:
			return byLimit
		case len(waited.Failures) > 0: // it waited for another model
			return stopOf(waited.Failures[len(waited.Failures)-1].Kind)
		}
		return byWait
	case ReasonRetryBudgetSpent:
		return byWait
	case ReasonCancelled:
		return byRun
	case ReasonOutOfTime:
		return r.late(k, start, e)
	case ReasonAccountSpent:
		if r.ofCall(e) {
			return byItself
		}
		return byMoney
	case ReasonCheckUnavailable:
		check, ok := errors.AsType[*validate.CheckError](e)
		if !ok {
			return byProvider
		}
		if check.Panicked {
			return byItself
		}
		switch why := stopOf(failure.KindOf(check.Err)); why {
		case byRefusal, byLimit, byWait:
			return why
		}
		return byProvider
	}
	return stopOf(failure.KindOf(e.Err))
}

// late returns what has stopped a call that was out of its own time.
func (r *eachRun) late(k *eachCall, start time.Time, e *Error) stop {
	out, _ := errors.AsType[*retry.Error](e)
	if out == nil {
		return byItself
	}
	switch cmp.Or(out.WaitReason, k.waits) {
	case retry.RateLimitWait, retry.PaceWait, retry.CircuitWait:
		return byWait
	}
	if n := len(out.Failures); n > 0 && out.Failures[n-1].Kind != failure.DeadlineExceeded {
		return stopOf(out.Failures[n-1].Kind)
	}
	if r.answered.After(start) {
		return byItself // the provider answers others in time
	}
	return byProvider
}

// ofCall reports whether a call has spent what it may use itself, and not what all rows
// may use together.
func (r *eachRun) ofCall(e *Error) bool {
	cfg := &r.client.cfg
	if cfg.Account == nil {
		return true
	}
	own := cfg.ceiling()
	if refused, ok := errors.AsType[*account.Error](e); ok {
		return own != endpoint.Amount{} && refused.Account == nameOfCall || refused.Unknown || refused.Limit > 0 && refused.Least > refused.Limit
	}
	if own == (endpoint.Amount{}) {
		return false
	}
	// The answer was cut off at what was left of one of the two: the smaller rest.
	s := cfg.Account.Snapshot()
	rest := func(limit, used int64) int64 {
		if limit == 0 {
			return patience.Nanoseconds()
		}
		return limit - used
	}
	return rest(own.Nanos, e.Cost.Nanos) <= rest(s.Limit.Nanos, s.Spent.Nanos+s.Reserved.Nanos) &&
		rest(own.Tokens, endpoint.Tokens(e.Usage)) <= rest(s.Limit.Tokens, s.Spent.Tokens+s.Reserved.Tokens)
}

package retry

import (
	"context"
	"errors"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// Call is one call: its attempts, its waits, and the permits that it holds for the
// current request. The zero value is ready for [Call.Begin]. A Call is for one goroutine
// and one call, and must not be copied after Begin.
//
//	var c retry.Call
//	c.Begin(ctx, policy, targets)
//	defer c.Close()
//	for c.Next() {
//		answer, err := ask(c.Context())
//		if c.Settle(endpoint.Outcome{Err: err}) {
//			return answer, nil
//		}
//	}
//	return nil, c.Err()
//
// A request is admitted by [Call.Next] or [Call.Round], accepted by [Call.Accepted] when
// an answer has begun to arrive, and settled by [Call.Settle] when the provider has
// answered or failed. It is counted then, once; no permit is held while the answer is
// checked.
type Call struct {
	// Observer, if set before Begin, is called after [Config.Observer]. Default nil.
	Observer Observer
	// Need, if set, returns what the next request may use at a target, given by its
	// index: alternatives have different prices. It is called each time that guards are
	// asked, also of a target that the call only compares with another, so it must be
	// quick. It may be changed, and return something else, before each Next and Round.
	// Default nil: not known.
	Need func(target int) *endpoint.Need

	policy    *Policy
	ctx       context.Context
	targets   []Target
	at        int              // the index of the target
	guards    []endpoint.Guard // own, and those of the target
	attempt   context.Context
	endTry    context.CancelFunc
	endCall   context.CancelFunc
	number    int       // of the attempt, from 1
	start     time.Time // of the current request; zero if nobody needs it
	took      time.Duration
	mark      uint64 // of the endpoint, when the request began
	state     state
	accepted  bool
	retry     bool // the next request repeats one that the provider failed
	busy      bool // guards are being called; if set in Close, one has panicked
	heard     *pace.Told
	outcome   endpoint.Outcome // of the request, for the guards
	lent      [4]loan
	*extra    // nil for a call without guards of its own, with at most four guards and without notes
	*part     // nil: all targets and attempts
	*observed // nil without an observer
	*trouble  // nil until something has failed or was waited for
	err       *Error
}

// loan is the permit of one guard, and whether it is held.
type loan struct {
	permit endpoint.Permit
	held   bool
}

// extra has what only calls with guards of their own, with many guards, or with notes
// need.
type extra struct {
	own   []endpoint.Guard // asked before those of the target
	more  []loan           // of the fifth guard and later ones
	notes []string         // of the current attempt
}

// part is the part of a call's targets and attempts that [Call.Among] has left it.
type part struct {
	order []int // the indexes of the targets that may be asked
	most  int   // counted attempts that end the call
}

// observed has what only calls with an observer need.
type observed struct {
	observer  Observer
	id        uint64
	begun     time.Time
	announced bool            // the observer knows that the attempt began, not that it ended
	tried     time.Time       // when it began
	used      endpoint.Amount // what it has used
}

// state is the state of the current request.
type state uint8

const (
	idle     state = iota
	admitted       // its permits are held
	answered       // settled, with an answer
)

// trouble has what only calls need in which something failed or was waited for.
type trouble struct {
	failures  []Failure
	counted   int           // failed attempts that count against MaxAttempts
	retries   int           // the backoff's attempt number
	cutOff    bool          // an answer was cut off
	shorts    int           // told waits below a second
	waited    time.Duration // for limits and circuits
	before    time.Duration // of that, before the call came to the current target
	situation situation     // at the last failure
	plan      step          // what was decided about the next attempt
	planned   time.Time     // when
	wait      time.Duration // how long the next attempt has waited
	reason    WaitReason
	curable   bool            // what ended the call says nothing about other targets
	left      *Left           // since the last failure
	dead      map[int]bool    // targets that can't serve this call
	asked     map[int]bool    // targets that have failed since Among
	misses    map[int]int     // failures of each target's provider
	quit      map[int]bool    // targets that were left after their retries
	due       map[int]dueTime // when this call may ask each target again
}

// maxFailures is how many failures of a call are kept; if there are more, the first and
// the last half of this number.
const maxFailures = 128

// Begin begins a call to the first of the targets that can serve it; there must be at
// least one. The guards in own, such as the call's account, are asked before those of
// the target.
func (c *Call) Begin(ctx context.Context, p *Policy, to []Target, own ...endpoint.Guard) {
	c.policy, c.ctx, c.targets = p, ctx, to
	if len(own) > 0 {
		c.extra = &extra{own: own}
	}
	c.goTo(0)
	if p.config.Observer != nil || c.Observer != nil {
		c.observed = &observed{observer: Observers(p.config.Observer, c.Observer), id: lastCall.Add(1), begun: time.Now()}
		c.ctx = c.tell(c.ctx, Event{Type: CallStarted})
	}
	if p.config.MaxTime > 0 {
		c.ctx, c.endCall = context.WithTimeout(c.ctx, p.config.MaxTime)
	}
}

// Next waits as long as necessary and admits the next attempt. If it returns false there
// is none, and [Call.Err] says why.
func (c *Call) Next() bool {
	if c.err != nil || c.state == admitted {
		return false
	}
	c.retry = c.trouble != nil && c.plan.spends
	if c.number > 0 {
		c.endAttempt(nil, failure.Unknown)
	}
	c.state = idle
	if c.ctx.Err() != nil {
		return c.ended()
	}
	if c.trouble != nil && c.plan.wait > 0 && !c.pause() {
		return false
	}
	if !c.acquire() {
		return false
	}
	c.number++
	if c.extra != nil {
		c.notes = nil
	}
	c.attempt = c.ctx
	if c.observed != nil {
		c.announced, c.tried = true, time.Now()
		c.attempt = c.tell(c.ctx, Event{Type: AttemptStarted})
	}
	if limit := c.policy.config.AttemptTimeout; limit > 0 {
		c.attempt, c.endTry = context.WithTimeout(c.attempt, limit)
	}
	return true
}

// Round admits a further request of the current attempt, such as one with the results of
// the tools that the answer called, after [Call.Settle] has returned true. It is subject
// to the same guards. If Round returns false, [Call.Err] says why the call has ended. If
// Err returns nil, only the attempt has ended: its time was over before the request
// could be made. [Call.Last] returns that failure, and [Call.Next] continues.
func (c *Call) Round() bool {
	if c.err != nil || c.state != answered {
		return false
	}
	if c.ctx.Err() != nil {
		return c.ended()
	}
	if c.attempt.Err() == nil {
		if c.retry = false; c.acquire() {
			return true
		}
		if c.err != nil {
			return false
		}
	}
	c.Wrong(&AttemptTimeoutError{Limit: c.policy.config.AttemptTimeout, Err: c.attempt.Err()})
	return false
}

// ask is what the guards are told of the request that comes.
func (c *Call) ask() endpoint.Ask {
	p := &c.policy.config
	a := endpoint.Ask{Retry: c.retry, Again: c.number > 0 || p.Follows, Client: p.Client}
	if c.Need != nil {
		a.Need = c.Need(c.at)
	}
	return a
}

// begin notes that a request begins: its permits are held.
func (c *Call) begin() {
	if c.trouble != nil {
		c.reconsider()
	}
	c.state, c.accepted, c.heard = admitted, false, nil
	timed := c.observed != nil || c.trouble != nil
	if e := c.targets[c.at].Endpoint; e != nil {
		c.mark = e.Mark()
		timed = timed || e.Failed()
	}
	if !timed && c.policy.config.Hang > 0 {
		_, timed = c.ctx.Deadline()
	}
	if timed { // nobody else asks how long it took: most calls read no clock
		c.start = time.Now()
	}
}

// maxAttempts returns the number of counted attempts that end the call.
func (c *Call) maxAttempts() int {
	if c.part != nil {
		return c.most
	}
	return c.policy.config.MaxAttempts
}

// Context returns the context of the current attempt, with [Config.AttemptTimeout] and
// what the [Observer] returned.
func (c *Call) Context() context.Context { return c.attempt }

// Narrow replaces the context of the current attempt by one that was derived from
// [Call.Context], and may end sooner: [Call.Round] does not wait longer than that.
func (c *Call) Narrow(ctx context.Context) { c.attempt = ctx }

// Number returns the number of the current attempt, counted from 1.
func (c *Call) Number() int { return c.number }

// Target returns the index of the target of the current attempt.
func (c *Call) Target() int { return c.at }

// Counted returns how many of the failed attempts count against [Config.MaxAttempts].
func (c *Call) Counted() int {
	if c.trouble == nil {
		return 0
	}
	return c.counted
}

// Waited returns how long the call waited before the current attempt, and why.
func (c *Call) Waited() (time.Duration, WaitReason) {
	if c.trouble == nil {
		return 0, NoWait
	}
	return c.wait, c.reason
}

// Accepted reports that an answer has begun to arrive, so that a circuit's probe has
// succeeded, for example. told is what came with it about the provider's limits, or nil.
// A second call for the same request only records told.
func (c *Call) Accepted(told *pace.Told) {
	c.Told(told)
	if c.state != admitted || c.accepted {
		return
	}
	c.accepted = true
	c.accept(c.heard)
	c.heard = nil // so that it is not told again when the answer ends
}

// Whole reports that the answer is complete, and that [Call.Settle] will follow once it
// is checked. The request is no longer in flight meanwhile.
func (c *Call) Whole() {
	c.Accepted(nil)
	if c.state != admitted {
		return
	}
	c.accept(nil)
}

// Told reports what the headers of the response say about the provider's limits. The
// guards hear of it when an answer begins or the request ends. If told.At is zero, it is
// now.
func (c *Call) Told(told *pace.Told) {
	if told == nil || c.state != admitted {
		return
	}
	heard := *told
	if heard.At.IsZero() {
		heard.At = time.Now()
	}
	c.heard = &heard
}

// Settle reports how the current request ended: with an answer if o.Err is nil, otherwise
// with a failure. It returns true for an answer. After a failure it decides what
// follows, and [Call.Next] continues with that. The caller sets o.Err,
// o.Report.Used and o.Report.Unbilled; the rest of the Outcome is filled in here.
func (c *Call) Settle(o endpoint.Outcome) bool {
	if c.state != admitted {
		return false
	}
	if c.observed != nil && o.Report != nil {
		c.used.Tokens += o.Report.Used.Tokens
		c.used.Nanos += o.Report.Used.Nanos
	}
	if o.Err == nil {
		c.outcome.Effect, c.outcome.Report = failure.Healthy, o.Report
		if c.heard != nil {
			c.report(o.Report, c.heard)
		}
		c.settle()
		c.state = answered
		return true
	}
	o.Err = notNil(o.Err)
	var f failed
	f.kind, f.err = c.policy.classify(c.ctx, c.attempt, o.Err)
	f.read(c.policy)
	o.Err, o.Kind = f.err, f.kind
	f.progress = !c.accepted && c.progress() // an answer that had begun was not refused
	o.Effect = c.effect(&f)
	if o.Effect == failure.HealthyIfAnswered {
		if o.Effect = failure.Ignore; f.served {
			c.Accepted(nil)
		}
	}
	if o.Effect == failure.Ignore && c.accepted {
		o.Effect = failure.Healthy // an answer, or a piece of one, proves that the provider works
	}
	c.outcome = o
	c.report(o.Report, c.toldBy(&f))
	c.settle()
	c.follow(&f)
	return false
}

// Wrong reports, after [Call.Settle] has returned true, that the answer did not pass its
// checks, and decides what follows.
func (c *Call) Wrong(err error) {
	if c.state != answered {
		return
	}
	c.state = idle
	err = notNil(err)
	f := failed{err: err, kind: c.policy.kindOf(err), answered: true}
	f.read(c.policy)
	c.follow(&f)
}

// failed is a failure, with what the decision about it needs.
type failed struct {
	err      error
	kind     failure.Kind
	row      failure.Decision
	told     bool
	wait     time.Duration // told
	response bool          // the provider responded, and the fault was not its own (a status below 500)
	served   bool          // it answered, though with an error
	answered bool          // the answer was wrong
	progress bool          // others get answers
}

// read fills in what the table and the error say.
func (f *failed) read(p *Policy) {
	f.row = p.table.For(f.kind)
	if stop := stopOf(f.err); stop != nil {
		f.row.Again, f.row.Elsewhere = failure.Never, failure.ElsewhereNever
		if f.err == error(stop) {
			f.err = stop.err
		}
	}
	if failure.NoRetryOf(f.err) {
		f.row.Again = failure.Never
	}
	f.wait, f.told = failure.RetryAfterOf(f.err)
	if e, _ := errors.AsType[*failure.Error](f.err); e != nil {
		f.response = e.Status > 0 && e.Status < 500
		f.served = failure.Answered(f.kind, e.Status)
	}
	f.answered = f.answered || f.kind == failure.InvalidAnswer || f.kind == failure.CutOff
}

// paced reports whether a pacer is among the guards of the target.
func (c *Call) paced() bool {
	to := c.targets[c.at]
	return to.Endpoint != nil && !to.Unpaced
}

// progress reports whether the target has a pacer and serves anybody.
func (c *Call) progress() bool { return c.paced() && c.targets[c.at].Endpoint.Progress(c.mark) }

// reconsider decides again, at the retry, whether a refusal used an attempt: if others
// were served meanwhile, it did not. When many calls begin together, the refusals come
// before the first answers.
func (c *Call) reconsider() {
	t := c.trouble
	if !t.plan.refusal {
		return
	}
	t.plan.refusal = false
	if last := &t.failures[len(t.failures)-1]; last.Target == c.at && c.progress() {
		last.Uncounted = true
		t.counted--
		if t.plan.grows {
			t.retries--
		}
		if t.misses[c.at] > 0 {
			t.misses[c.at]--
		}
	}
}

// effect returns what a failure means for the provider's health.
func (c *Call) effect(f *failed) failure.Effect {
	switch {
	case !f.response && c.hung():
		return failure.Count
	case f.kind == failure.Overloaded && f.progress && f.row.Breaker == failure.Count:
		return failure.Ignore // the pacer sends fewer at a time, and the provider works
	case c.ctx.Err() != nil && (f.kind == failure.Transient || f.kind == failure.Unknown):
		return failure.Ignore // most likely the end of the call's own context
	}
	return f.row.Breaker
}

// hung reports whether the call's deadline ended an attempt at a provider that hangs:
// it had Config.Hang, no byte came, and nobody else got an answer.
func (c *Call) hung() bool {
	limit := c.policy.config.Hang
	e := c.targets[c.at].Endpoint
	return limit > 0 && !c.accepted && !c.start.IsZero() && errors.Is(c.ctx.Err(), context.DeadlineExceeded) &&
		time.Since(c.start) >= limit && (e == nil || !e.AnsweredSince(c.mark))
}

// toldBy returns what a failure said about the provider's limits, or nil.
func (c *Call) toldBy(f *failed) *pace.Told {
	overload := f.kind == failure.Overloaded
	if c.heard == nil && !f.told && !overload {
		return nil
	}
	told := pace.Told{Overload: overload}
	if c.heard != nil {
		told = *c.heard
		told.Overload = overload
	}
	if f.told {
		told.Wait, told.HasWait = f.wait, true
	}
	return &told
}

// settle tells the guards how the request ended, and gives back their permits.
func (c *Call) settle() {
	c.end()
	c.giveBack()
}

// end records that the current request has ended.
func (c *Call) end() {
	c.state = idle
	if !c.start.IsZero() {
		c.took = time.Since(c.start)
		if c.outcome.Err != nil {
			c.outcome.Report.Lasted = c.took
		}
	}
}

// report sets the Report for the guards. Only what the request used is taken from the
// caller's.
func (c *Call) report(given *endpoint.Report, told *pace.Told) {
	c.outcome.Report = &endpoint.Report{Told: told}
	if given != nil {
		c.outcome.Report.Used, c.outcome.Report.Unbilled = given.Used, given.Unbilled
	}
}

// follow records a failed attempt and decides what follows from it.
func (c *Call) follow(f *failed) {
	t := c.record(f)
	c.endAttempt(f.err, f.kind)
	if c.ctx.Err() != nil {
		c.ended()
		return
	}
	t.situation = situation{
		row: f.row, kind: f.kind, answered: f.answered, progress: f.progress, paced: c.paced(), begun: c.accepted, counted: t.counted, retries: t.retries,
		most: c.maxAttempts(), cutOff: t.cutOff, told: f.wait > 0 || f.told && f.row.Again == failure.WhenTold, toldWait: f.wait,
		shorts: t.shorts, waited: t.waited, left: left(c.ctx),
	}
	d := c.policy.decide(&t.situation)
	t.failures[len(t.failures)-1].Uncounted = !d.counts
	if d.counts {
		t.counted++
	}
	if d.limit && d.wait < time.Second {
		t.shorts++
	}
	if d.grows {
		t.retries++
	}
	t.cutOff = t.cutOff || f.row.Again == failure.OnceLarger
	t.plan, t.planned = d, time.Now()
	if len(c.targets) > 1 {
		t.leaveAlone(c.at, d)
	}
	if c.fallBack(f, &t.plan) {
		return
	}
	if d.stop != 0 {
		switch t.curable = true; {
		case d.stop == Exhausted || f.answered:
		case f.row.Elsewhere == failure.ElsewhereNever:
			t.curable = false
		default:
			t.leave(c.at)
		}
		c.stop(d)
	}
}

// record adds a failure to the history of the call.
func (c *Call) record(f *failed) *trouble {
	t := c.inTrouble()
	if len(t.failures) == maxFailures {
		t.failures = append(t.failures[:maxFailures/2], t.failures[maxFailures/2+1:]...)
	}
	t.failures = append(t.failures, Failure{
		Number: c.number, Target: c.at, Err: f.err, Kind: f.kind, Wait: t.wait, Reason: t.reason,
	})
	t.wait, t.reason, t.left = 0, NoWait, nil
	return t
}

func (c *Call) inTrouble() *trouble {
	if c.trouble == nil {
		c.trouble = &trouble{}
	}
	return c.trouble
}

// Last returns the last failed attempt; false if none has failed.
func (c *Call) Last() (Failure, bool) {
	if c.trouble == nil || len(c.failures) == 0 {
		return Failure{}, false
	}
	return c.failures[len(c.failures)-1], true
}

// Stop ends the call after a failed attempt: no attempt follows, whatever was decided,
// and [Call.Among] does not continue it.
func (c *Call) Stop() {
	if c.state == admitted {
		return
	}
	c.inTrouble().curable = false
	if c.err == nil {
		c.stop(step{stop: Permanent})
	}
}

// last returns the failure of the previous attempt, or nil.
func (c *Call) last() error {
	if c.trouble == nil || len(c.failures) == 0 {
		return nil
	}
	return c.failures[len(c.failures)-1].Err
}

// Err returns an *[Error] that says why there is no further attempt, or nil if the call
// has not failed.
func (c *Call) Err() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// stop ends the call with an error. It returns false.
func (c *Call) stop(d step, causes ...error) bool {
	e := &Error{Reason: d.stop, Attempts: c.number, causes: causes}
	switch d.stop {
	case OutOfTime:
		if len(causes) == 0 || !errors.Is(causes[0], context.DeadlineExceeded) {
			e.causes = append([]error{context.DeadlineExceeded}, causes...)
		}
		e.RefusedWait, e.WaitReason = d.wait, d.reason
	case WaitTooLong, RateLimitWaitExceeded:
		e.RefusedWait, e.WaitReason = d.wait, d.reason
	}
	if c.trouble != nil {
		e.Failures = c.failures[:len(c.failures):len(c.failures)]
	}
	c.err = e
	return false
}

// ended ends the call because its context has ended.
func (c *Call) ended() bool {
	d, causes := step{stop: Cancelled}, []error{c.ctx.Err()}
	if errors.Is(c.ctx.Err(), context.DeadlineExceeded) {
		d.stop = OutOfTime
	}
	if cause := context.Cause(c.ctx); cause != nil && !same(cause, c.ctx.Err()) {
		causes = append(causes, cause)
	}
	return c.stop(d, causes...)
}

// endAttempt releases the attempt's context, and tells the observer.
func (c *Call) endAttempt(err error, kind failure.Kind) {
	if c.endTry != nil {
		c.endTry()
		c.endTry = nil
	}
	if c.observed != nil && c.announced {
		took := c.start.Add(c.took).Sub(c.tried) // until its last request ended
		c.tell(c.attempt, Event{Type: AttemptEnded, Err: err, Kind: kind, Duration: took, Used: c.used})
		c.announced, c.used = false, endpoint.Amount{}
	}
}

// tell sends an event to the observer, and returns the context that it wants.
func (c *Call) tell(ctx context.Context, e Event) context.Context {
	e.Call, e.Attempt, e.Target = c.id, c.number, c.at
	if e.Type == AttemptStarted {
		e.Wait, e.Reason = c.Waited()
	}
	return tell(c.observer, ctx, e)
}

// Close ends the call and gives back the permits that are still held. If the goroutine
// panics, the current request counts as a failure of the provider, and the panic is
// passed on; otherwise (after runtime.Goexit, for example) a request that was not
// settled counts as not made.
//
// Close must be deferred directly: it can't notice a panic when a deferred function
// calls it.
func (c *Call) Close() {
	if c.state == admitted {
		c.closeHeld(recover())
	} else if c.unfinished() {
		c.closeRest()
	}
}

// unfinished reports whether a call that holds no request has still something to end.
func (c *Call) unfinished() bool {
	return c.busy || c.endTry != nil || c.endCall != nil || c.observed != nil
}

// closeRest ends a call that holds no request.
func (c *Call) closeRest() {
	defer c.finish(nil)
	if c.busy { // a guard has panicked; the panic continues by itself
		c.giveBackAll()
	}
}

// closeHeld settles the current request, and continues its panic whatever the guards
// do.
func (c *Call) closeHeld(panicked any) {
	defer func() {
		if panicked != nil {
			panic(panicked)
		}
	}()
	if panicked != nil {
		c.outcome = endpoint.Outcome{Effect: failure.Count, Kind: failure.Unknown, Err: &PanicError{panicked}}
		c.report(nil, nil)
	}
	c.end()
	defer c.finish(c.outcome.Err)
	c.giveBackAll()
}

// finish ends the attempt and the call.
func (c *Call) finish(err error) {
	c.endAttempt(err, failure.Unknown)
	if c.observed != nil {
		e := Event{Type: CallEnded, Duration: time.Since(c.begun)}
		if c.err != nil {
			e.Err, e.Kind, e.Stop = c.err, c.err.FailureKind(), c.err.Reason
		}
		c.tell(c.ctx, e)
		c.observed = nil
	}
	if c.endCall != nil {
		c.endCall()
		c.endCall = nil
	}
}

// left returns how long it is until ctx's deadline.
func left(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return forever
}

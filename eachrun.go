package llmcall

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"llmcall/account"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// firstPlaces is how many rows Each begins with.
const firstPlaces = 8

// maxThreshold is the largest threshold of a circuit breaker that is not the caller's: it
// opens before the first eight rows, with three attempts in each of four calls, are stopped.
const maxThreshold = 64

// patience is the limit of waits that [EachConfig.GiveUpAfter] limits.
const patience = 100 * 365 * 24 * time.Hour

// patienceAtOne is the limit of the waits of one call where there are several models: a call
// that has left one for its failures does not go back to it, and the circuit of another may
// be open for as long as its quota is spent. The next call for the row has all models.
const patienceAtOne = time.Minute

// patient returns a copy of the client whose calls wait for open circuits and rate limits
// as long as it takes, and tell an observer.
//
// A circuit breaker that the caller has not configured takes a quarter of the rows in
// flight to fail in a row, if that is more than usual: where failures come at once and
// answers take long, five of 64 are not an outage. It takes no more than the first rows can
// fail before they are stopped.
func (c *Client) patient(o Observer, concurrency int) (*Client, error) {
	p := *c
	if !p.cfg.EnableCircuitBreaker {
		p.cfg.EnableCircuitBreaker = true
		p.cfg.CircuitBreakerConfig.FailureThreshold = max(breaker.DefaultFailureThreshold, min(concurrency/4, maxThreshold))
	}
	p.cfg.WaitForCircuit = true
	p.cfg.MaxRetryAfter, p.cfg.MaxRateLimitWait = patience, patience
	if len(p.models) > 1 {
		p.cfg.MaxRateLimitWait = patienceAtOne
	}
	p.cfg.Observer = Observers(c.cfg.Observer, o)
	p.targets = nil
	for _, t := range c.targets {
		p.targets = append(p.targets, retry.TargetOf(t.Endpoint, p.cfg.guards()))
	}
	var err error
	if p.policy, err = p.cfg.policy(); err != nil {
		return nil, err
	}
	p.recheck, err = p.cfg.recheckPolicy(p.attempts)
	return &p, err
}

// eachRun is one range over the rows of Each.
type eachRun struct {
	cfg    EachConfig
	owner  *Client // the caller's: its limits hold as long as it is reachable
	client *Client // the patient one
	table  failure.Table
	waits  backoff.Strategy

	all    context.Context // of all calls
	cut    context.CancelCauseFunc
	unhook func() bool // from the caller's context
	calls  sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	limit    int                    // of places
	places   int                    // of rows that are begun and not yet yielded
	ended    int                    // rows that have ended since limit was set,
	slowed   bool                   // of which the provider has refused or failed one
	underway map[*eachCall]struct{} // rows that are begun and have not ended
	calling  int                    // of them those in a call, which may hold money
	settled  uint64                 // attempts that have ended
	pledged  endpoint.Amount        // what the first requests of those that have not reserved it yet may use
	answered time.Time              // when a row was last answered
	quiet    time.Time              // since when there was no answer; while no row is under way,
	silence  time.Duration          // how long there was none before
	dead     map[int]bool           // models that have refused the key, the quota or the name
	last     error                  // the last failure of an attempt or a row
	over     bool                   // no row is begun, nothing is waited for, and no further request is made
	why      error                  // it is over
	missed   bool                   // a row was stopped by that, or not begun
	final    bool                   // there are no further rows
	left     bool                   // the loop
	giveUp   *time.Timer
	grace    *time.Timer
	panicked any // by rows
	exited   bool
}

// eachCall is the calls for a row.
type eachCall struct {
	req    *llm.Request
	ctx    context.Context
	cancel context.CancelCauseFunc
	need   endpoint.Amount // of the first request, if an account limits it

	// With eachRun.mu:
	calling bool             // it is in a call
	pledged bool             // need is part of eachRun.pledged
	asking  bool             // an attempt is in progress
	waits   retry.WaitReason // why the current call waits, unless it asks
	alone   bool             // the provider has failed a call of it while it answered others
	slowed  bool             // the provider has refused or failed an attempt
	failed  time.Time        // when the current call failed first
}

// attemptError is the failure of an attempt of a call that has not ended.
type attemptError struct {
	text string
	kind failure.Kind
}

func (e *attemptError) Error() string             { return e.text }
func (e *attemptError) FailureKind() failure.Kind { return e.kind }

// ofEach is the key of an eachCall in the context of its calls.
type ofEach struct{ *eachRun }

// each begins a range. The error is a *ConfigError, or the cause of the end of ctx.
func (c *Client) each(ctx context.Context, cfg EachConfig) (*eachRun, error) {
	switch {
	case cfg.Concurrency < 0:
		return nil, &ConfigError{Field: "concurrency", Got: cfg.Concurrency, Takes: takesCount}
	case cfg.Grace < 0:
		return nil, &ConfigError{Field: "grace", Got: cfg.Grace, Takes: "a time of at least 0"}
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	cfg.Concurrency, cfg.GiveUpAfter = cmp.Or(cfg.Concurrency, DefaultEachConcurrency), cmp.Or(cfg.GiveUpAfter, DefaultGiveUpAfter)
	r := &eachRun{cfg: cfg, owner: c, limit: min(firstPlaces, cfg.Concurrency), underway: map[*eachCall]struct{}{}, dead: map[int]bool{}}
	r.changed = sync.NewCond(&r.mu)
	var err error
	if r.client, err = c.patient(r.observe, cfg.Concurrency); err != nil {
		return nil, err
	}
	r.client.rows = r
	r.table = r.client.cfg.Table()
	if r.waits, err = (&RetryConfig{Rand: c.cfg.Rand}).backoff(); err != nil {
		return nil, err
	}
	r.all, r.cut = context.WithCancelCause(context.WithoutCancel(ctx))
	r.mu.Lock() // look and expire wait until all is set
	defer r.mu.Unlock()
	if cfg.GiveUpAfter > 0 {
		r.giveUp = time.AfterFunc(cfg.GiveUpAfter, r.look)
	}
	r.unhook = context.AfterFunc(ctx, func() { r.expire(context.Cause(ctx)) })
	return r, nil
}

// feed runs f, which begins the calls. If it panics or exits, the run is over.
func (r *eachRun) feed(f func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.panicked = recover()
		r.exited = r.panicked == nil
		r.end(errGoexit)
		r.cut(errGoexit)
	}()
	f()
	returned = true
}

// rethrow continues what has ended rows, once all calls have ended.
func (r *eachRun) rethrow() {
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case r.exited:
		runtime.Goexit()
	}
}

// place waits until there is a place for another row, and takes it. It returns false if
// the run is over.
func (r *eachRun) place() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.over && r.places >= r.limit {
		r.changed.Wait()
	}
	if r.over {
		r.missed = true
		return false
	}
	r.places++
	return true
}

// free gives back the place of a row.
func (r *eachRun) free() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places--
	r.changed.Broadcast()
}

// exhausted notes that there are no further rows.
func (r *eachRun) exhausted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.final = true
}

// begin returns a row that is under way once there is money for its first request. The
// error is why the run is over before.
func (r *eachRun) begin(req *llm.Request) (*eachCall, error) {
	k := &eachCall{req: req, need: r.client.needs(req)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.afford(k, k.need) {
		r.missed = true
		return nil, r.why
	}
	k.ctx, k.cancel = context.WithCancelCause(context.WithValue(r.all, ofEach{r}, k))
	if len(r.underway) == 0 {
		r.quiet = time.Now().Add(-r.silence)
		if r.giveUp != nil {
			r.giveUp.Reset(r.cfg.GiveUpAfter - r.silence)
		}
	}
	r.underway[k] = struct{}{}
	return k, nil
}

// needs returns what the first request of a call may use, as far as the client's Account
// limits it.
func (c *Client) needs(req *llm.Request) endpoint.Amount {
	if c.cfg.Account == nil || !c.cfg.Account.Limited() {
		return endpoint.Amount{}
	}
	k, err := c.newCall(req, c.checks)
	if err != nil { // as the call will say
		return endpoint.Amount{}
	}
	k.next = k.conversation()
	next := k.pending()
	return k.measure(c.stages[0].order[0], &next).all
}

// afford waits until as much is left in the client's account as a row needs, or until no
// other call can give anything back. It returns false if the run is over. The caller holds
// the lock.
func (r *eachRun) afford(k *eachCall, need endpoint.Amount) bool {
	for !r.over && r.calling > 0 && !r.fits(need) {
		r.changed.Wait()
	}
	if r.over {
		return false
	}
	r.calling++
	k.calling, k.pledged = true, true
	r.pledged.Tokens += k.need.Tokens
	r.pledged.Nanos += k.need.Nanos
	return true
}

// fits reports whether so much is left in the client's account.
func (r *eachRun) fits(need endpoint.Amount) bool {
	if r.client.cfg.Account == nil {
		return true
	}
	s := r.client.cfg.Account.Snapshot()
	fits := func(limit, spent, reserved, pledged, need int64) bool {
		return limit == 0 || need <= limit-spent-reserved-pledged
	}
	return fits(s.Limit.Tokens, s.Spent.Tokens, s.Reserved.Tokens, r.pledged.Tokens, need.Tokens) &&
		fits(s.Limit.Nanos, s.Spent.Nanos, s.Reserved.Nanos, r.pledged.Nanos, need.Nanos)
}

// redeem ends the pledge of a row. The caller holds the lock.
func (r *eachRun) redeem(k *eachCall) {
	if k.pledged {
		k.pledged = false
		r.pledged.Tokens -= k.need.Tokens
		r.pledged.Nanos -= k.need.Nanos
	}
}

// observe follows the attempts of the rows.
func (r *eachRun) observe(ctx context.Context, e Event) context.Context {
	switch e.Type {
	case EventAttemptStarted:
		r.follow(ctx, func(k *eachCall) {
			k.asking, k.waits = true, retry.NoWait
			r.redeem(k)
		})
	case EventWaiting:
		r.follow(ctx, func(k *eachCall) {
			k.asking, k.waits = false, e.WaitReason
			r.leaveAlone()
		})
	case EventAttemptEnded:
		r.follow(ctx, func(k *eachCall) {
			k.asking, k.waits = false, retry.NoWait
			r.settled++
			r.heard(k, &e.Attempt)
		})
	}
	return nil
}

// round follows a further request of an attempt, which admit waits for: what came before
// was an answer.
func (r *eachRun) round(ctx context.Context, admit func() bool) bool {
	r.follow(ctx, func(*eachCall) { r.hears() })
	defer r.follow(ctx, func(k *eachCall) { k.asking = true })
	return admit()
}

// follow notes what happens in the call of a row. If the run is over, no further request
// of the row is made.
func (r *eachRun) follow(ctx context.Context, note func(*eachCall)) {
	k, _ := ctx.Value(ofEach{r}).(*eachCall)
	if k == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	note(k)
	if r.over {
		k.cancel(r.why)
	}
	r.changed.Broadcast()
}

// hears notes that a model has answered. The caller holds the lock.
func (r *eachRun) hears() {
	r.answered = time.Now()
	r.quiet = r.answered
}

// heard notes what an attempt says about its model.
func (r *eachRun) heard(k *eachCall, a *Attempt) {
	outcome := a.Outcome
	if a.Hedge != nil && outcome != OutcomeValid {
		outcome = a.Hedge.Outcome
	}
	switch outcome {
	case OutcomeValid, OutcomeInvalid, OutcomeCutOff, OutcomeLost:
		r.hears()
		delete(r.dead, a.target)
		return
	case OutcomeFailed:
		if stopOf(a.Kind) == byRefusal {
			r.dead[a.target] = true
		}
	}
	r.last = &attemptError{a.Error, a.Kind}
	if k.failed.IsZero() {
		k.failed = time.Now()
	}
	switch r.table.For(a.Kind).Breaker {
	case failure.Count, failure.Trip, failure.Limit:
		k.slowed = true
	}
}

// mostRepeats is how many further calls a row gets whose calls the provider has failed,
// while no row is answered.
const mostRepeats = 3

// ask makes calls for a row until it is done, or stopped.
func (r *eachRun) ask(k *eachCall) (result *Result, notDone bool, err error) {
	defer r.ends(k)
	var before Trace
	alone, repeats := false, 0
	for n := 0; ; n++ {
		start := time.Now()
		result, err = r.client.caught(k.ctx, k.req)
		if t := traceOf(result, err); t != nil {
			t.follow(&before)
			before = *t
		}
		switch r.stopped(k, start, err) {
		case byItself:
			return result, false, err
		case byProvider:
			if repeats++; repeats > mostRepeats || !r.again(k, r.waits.Delay(n)) {
				return nil, true, err
			}
		case byLimit, byWait:
			if !r.again(k, r.waits.Delay(n)) {
				return nil, true, err
			}
		case byItAlone:
			if alone || !r.again(k, r.waits.Delay(n)) {
				return nil, true, err
			}
			alone = true
		case byMoney:
			if !r.scrape(k, err) {
				return nil, true, err
			}
		default:
			return nil, true, err
		}
	}
}

// caught is Do, and returns a panic as an error.
func (c *Client) caught(ctx context.Context, req *llm.Request) (result *Result, err error) {
	defer caught(&err)
	return c.Do(ctx, req)
}

// caught makes a panic of the function that defers it an error.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}

// ends notes the end of a row.
func (r *eachRun) ends(k *eachCall) {
	k.cancel(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(k)
	delete(r.underway, k)
	r.leaveAlone()
	if len(r.underway) == 0 {
		r.silence = time.Since(r.quiet)
	}
	r.slowed = r.slowed || k.slowed
	if r.ended++; r.ended >= r.limit {
		if !r.slowed {
			r.limit = min(2*r.limit, r.cfg.Concurrency)
		}
		r.ended, r.slowed = 0, false
	}
	r.changed.Broadcast()
}

// release notes that a row is not in a call. The caller holds the lock.
func (r *eachRun) release(k *eachCall) {
	r.redeem(k)
	if k.calling {
		k.calling = false
		r.calling--
	}
	r.changed.Broadcast()
}

// again waits, and until there is money for another call. It returns false if the run is
// over.
func (r *eachRun) again(k *eachCall, wait time.Duration) bool {
	k.pause(wait)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.afford(k, k.need) || r.miss()
}

// pause waits, but not longer than the run.
func (k *eachCall) pause(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.ctx.Done():
	}
}

// miss notes that a row was stopped because the run is over. It returns false.
func (r *eachRun) miss() bool {
	r.missed = true
	return false
}

// scrape waits until there may be money for a row that an account has refused, or whose
// answer was cut off for want of it. If nothing can come back, the run is over, and scrape
// returns false.
func (r *eachRun) scrape(k *eachCall, err error) bool {
	need := k.need
	e, refused := errors.AsType[*account.Error](err)
	if refused { // although its first request was affordable
		if e.Money {
			need.Nanos += e.Wanted
		} else {
			need.Tokens += e.Wanted
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch held := r.held() || refused && e.Reserved > 0; {
	case r.calling > 0:
		for seen := r.settled; !r.over && r.calling > 0 && r.settled == seen; {
			r.changed.Wait()
		}
	case held: // by others than the rows, who do not say when they give it back
		for wait := true; wait && !r.over; wait = !refused && r.held() && !r.fits(need) {
			r.mu.Unlock()
			k.pause(r.waits.Delay(0))
			r.mu.Lock()
		}
	default:
		r.end(&EachError{Reason: EachAccountSpent, Last: err})
	}
	return r.afford(k, need) || r.miss()
}

// held reports whether requests under way hold a part of the client's account.
func (r *eachRun) held() bool { return r.client.cfg.Account.Snapshot().Reserved != endpoint.Amount{} }

// end ends the run: no row is begun, calls that wait end, and those that ask make no
// further request. The caller holds the lock.
func (r *eachRun) end(why error) {
	if !r.over {
		r.over, r.why = true, why
	}
	for k := range r.underway {
		if !k.asking {
			k.cancel(r.why)
		}
	}
	r.changed.Broadcast()
}

// isOver reports whether no further request is made.
func (r *eachRun) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// expire ends the run because the caller's context has ended.
func (r *eachRun) expire(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return
	}
	r.end(cause)
	if r.cfg.Grace == 0 {
		r.cut(cause)
		return
	}
	r.grace = time.AfterFunc(r.cfg.Grace, func() { r.cut(cause) })
}

// look ends the run if there was no answer for too long.
func (r *eachRun) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left || len(r.underway) == 0 {
		return
	}
	unanswered := time.Since(r.quiet)
	if left := r.cfg.GiveUpAfter - unanswered; left > 0 {
		r.giveUp.Reset(left)
		return
	}
	r.end(&EachError{Reason: EachGaveUp, After: unanswered, Last: r.last})
	r.cut(r.why)
}

// leave ends all calls, whether or not the rows are done.
func (r *eachRun) leave() {
	r.unhook()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
	r.end(errLeft)
	r.cut(errLeft)
	for _, t := range []*time.Timer{r.giveUp, r.grace} {
		if t != nil {
			t.Stop()
		}
	}
	runtime.KeepAlive(r.owner)
}

// reason returns why not all rows are done, or nil.
func (r *eachRun) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed {
		return r.why
	}
	return nil
}

// traceOf returns the trace of a call, or nil.
func traceOf(result *Result, err error) *Trace {
	switch e := err.(type) {
	case nil:
		return &result.Trace
	case *Error:
		return &e.Trace
	case *HumanReviewError:
		return &e.Trace
	}
	return nil
}

// follow makes t the trace of the calls before and of its own.
func (t *Trace) follow(before *Trace) {
	n := len(before.Attempts)
	if n == 0 {
		return
	}
	for i := range t.Attempts {
		t.Attempts[i].Number += n
		if h := t.Attempts[i].Hedge; h != nil {
			h.Number += n
		}
	}
	t.Attempts = slices.Concat(before.Attempts, t.Attempts)
	t.Usage, t.Cost = before.Usage.Add(t.Usage), before.Cost.Add(t.Cost)
}

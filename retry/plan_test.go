package retry_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"

	"pgregory.net/rapid"
)

// A plan is all that happens to one Do: its settings, how its attempts go, what
// others do to the circuit meanwhile, and when the caller loses patience. It is
// drawn before it runs, and runs the same each time.
//
// What is drawn comes in whole milliseconds. The caller's times, the limit of an
// attempt and what others do stand beside them by some nanoseconds, each by
// others, so that no two things happen at once whose order nothing decides.
type plan struct {
	config         retry.Config // without Backoff, Budget, Breaker, Observe
	delays         []time.Duration
	deposit, limit int             // of the budget, in hundredths of a token; limit 0: no budget
	spent          int             // retries that others have made from it
	circuit        *breaker.Config // nil: no breaker
	others         []other
	start          time.Duration // of Do, after the others'; all other times count from here
	deadline       time.Duration // of the caller, from the start; 0: none
	cancel         time.Duration // by the caller; 0: never, negative: before the start
	tries          []try         // what comes after them is answered
}

// try is how one attempt goes.
type try struct {
	lasts time.Duration
	deaf  bool // does not hear that its context has ended
	err   error
	stop  bool // err is, or wraps, what retry.Stop made
}

// other is what another caller does to the circuit.
type other struct {
	at    time.Duration // from the others' start
	does  deed
	lasts time.Duration // a call
}

type deed string

const (
	callWell    deed = "a call that succeeds"
	callBadly   deed = "a call that fails"
	trip        deed = "Trip"
	forceOpen   deed = "ForceOpen"
	forceClosed deed = "ForceClosed"
	reset       deed = "Reset"
)

const ms = time.Millisecond

// The nanoseconds of what must not fall together.
const (
	otherBegins = 1 // + its number
	otherEnds   = 50
	cancelled   = 200
	deadlined   = 300
	outOfMax    = 400
	cut         = 1000
)

func drawPlan(t *rapid.T) plan {
	flip := func(label string) bool { return rapid.Bool().Draw(t, label) }
	seldom := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 3 }
	number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
	span := func(label string, from, to int) time.Duration { return time.Duration(number(label, from, to)) * ms }
	var p plan
	p.config.MaxAttempts = number("MaxAttempts", 1, 6)
	p.config.MaxRetryAfter = span("MaxRetryAfter", 1, 12)
	p.config.MaxLimitTime = span("MaxLimitTime", 1, 40)
	if seldom("has MaxTime") {
		p.config.MaxTime = span("MaxTime", 1, 60) + outOfMax
	}
	if flip("has AttemptTimeout") {
		p.config.AttemptTimeout = span("AttemptTimeout", 1, 8) + cut
	}
	if seldom("has deadline") {
		p.deadline = span("deadline", 1, 60) + deadlined
	}
	if seldom("is cancelled") {
		p.cancel = span("cancel", -1, 60) + cancelled
	}
	for range number("delays", 1, 4) {
		p.delays = append(p.delays, span("delay", 0, 8))
	}
	if flip("has budget") {
		p.deposit, p.limit, p.spent = number("deposit", 1, 100), number("limit", 100, 300), number("spent", 0, 3)
	}
	if flip("has breaker") {
		p.config.WaitForCircuit = flip("WaitForCircuit")
		p.circuit = drawCircuit(t)
		p.start = span("start", 0, 20)
		for i := range number("others", 0, 6) {
			does := rapid.SampledFrom([]deed{callWell, callWell, callBadly, callBadly, callBadly, trip, reset, forceOpen, forceClosed}).Draw(t, "does")
			p.others = append(p.others, other{span("at", 0, 40) + otherBegins + time.Duration(i), does, span("lasts", 0, 15) + otherEnds})
		}
	}
	if flip("has decisions") {
		table := failure.Decisions()
		for range number("decisions", 1, 3) {
			kind := drawKind(t)
			table[kind] = failure.Decision{
				Again:   rapid.SampledFrom([]failure.Again{failure.Never, failure.Backoff, failure.WhenTold, failure.Slower, failure.AtOnce, failure.OnceLarger}).Draw(t, "again"),
				Breaker: rapid.SampledFrom([]failure.Effect{failure.Ignore, failure.Healthy, failure.Count, failure.Trip, failure.Limit}).Draw(t, "effect"),
			}
		}
		p.config.Decisions = &table
	}
	for range rapid.SampledFrom([]int{0, 1, 2, 3, 5, 8, 13}).Draw(t, "tries") {
		p.tries = append(p.tries, drawTry(t))
	}
	return p
}

func drawCircuit(t *rapid.T) *breaker.Config {
	number := func(label string, from, to int) int { return rapid.IntRange(from, to).Draw(t, label) }
	span := func(label string, from, to int) time.Duration { return time.Duration(number(label, from, to)) * ms }
	c := &breaker.Config{
		FailureThreshold: number("FailureThreshold", 1, 3),
		FailureWindow:    span("FailureWindow", 5, 60),
		FailureRate:      new(rapid.SampledFrom([]float64{0, 0.5, 0.8, 1}).Draw(t, "FailureRate")),
		RecoveryTimeout:  span("RecoveryTimeout", 1, 20),
		TripTimeout:      span("TripTimeout", 1, 30),
		HalfOpenProbes:   number("HalfOpenProbes", 1, 2),
		SuccessThreshold: number("SuccessThreshold", 1, 2),
		ProbeLease:       span("ProbeLease", 1, 20),
		MaxOpen:          30 * ms,
	}
	if rapid.Bool().Draw(t, "has RetryAfter") {
		c.RetryAfter = failure.RetryAfterOf
	}
	return c
}

// drawKind draws the kinds that are retried more often than those that are not.
func drawKind(t *rapid.T) failure.Kind {
	return rapid.SampledFrom([]failure.Kind{
		failure.Transient, failure.Transient, failure.Overloaded, failure.RateLimited, failure.RateLimited, failure.InvalidAnswer,
		failure.Transient, failure.Overloaded, failure.RateLimited, failure.CutOff, failure.AttemptTimeout, failure.Unknown,
		failure.QuotaExhausted, failure.InvalidRequest, failure.ContentFiltered, failure.CircuitOpen, failure.DeadlineExceeded,
	}).Draw(t, "kind")
}

func drawTry(t *rapid.T) try {
	a := try{
		lasts: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 2, 3, 5, 8, 13, 10_000}).Draw(t, "lasts")) * ms,
		deaf:  rapid.IntRange(0, 3).Draw(t, "deaf") == 3,
	}
	switch rapid.IntRange(0, 9).Draw(t, "ends") {
	case 0: // an answer
	case 1:
		a.err = errors.New("a stranger")
	case 2:
		a.err = rapid.SampledFrom([]error{context.DeadlineExceeded, context.Canceled}).Draw(t, "of a context of its own")
	default:
		e := &failure.Error{Kind: drawKind(t), Provider: "test"}
		if rapid.Bool().Draw(t, "told") {
			e.Told, e.RetryAfter = true, time.Duration(rapid.IntRange(0, 14).Draw(t, "after"))*ms
		}
		a.err = e
	}
	if a.err != nil {
		switch rapid.IntRange(0, 9).Draw(t, "wrapped") {
		case 7:
			a.err = fmt.Errorf("wrapped: %w", a.err)
		case 8:
			a.err, a.stop = retry.Stop(a.err), true
		case 9:
			a.err, a.stop = fmt.Errorf("wrapped: %w", retry.Stop(a.err)), true
		}
	}
	return a
}

var errPatience = errors.New("the caller has lost patience")

// outcome is what came of a plan: the trace, as the callers of Do see it.
type outcome struct {
	Starts   []time.Duration // of the attempts
	End      time.Duration
	Answered bool
	Reason   retry.Reason
	Refused  time.Duration
	Why      retry.Why
	Failures []trace
	Events   []event
	Tokens   int // hundredths
	Circuit  breaker.Snapshot
}

type trace struct {
	Kind failure.Kind
	Wait time.Duration
	Why  retry.Why
}

type event struct {
	After int // the number of the failed attempt; 0: none yet
	Wait  time.Duration
	Why   retry.Why
	Stop  retry.Reason
}

// run makes the plan come true in the bubble of the caller. The error says what
// no model needs to know to find it wrong.
func (p plan) run() (o outcome, wrong error) {
	c := p.config
	if p.circuit != nil {
		b, err := breaker.New("test", *p.circuit)
		if err != nil {
			return o, err
		}
		c.Breaker = b
		var others sync.WaitGroup
		defer others.Wait()
		for _, x := range p.others {
			others.Go(func() { x.happen(b) })
		}
	}
	time.Sleep(p.start)
	start := time.Now()
	ctx := context.Background()
	if p.cancel != 0 {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		if p.cancel < 0 {
			cancel(errPatience)
		} else {
			defer time.AfterFunc(p.cancel, func() { cancel(errPatience) }).Stop()
		}
	}
	if p.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.deadline)
		defer cancel()
	}
	c.Backoff = backoff.Func(p.delay)
	if p.limit > 0 {
		var err error
		if c.Budget, err = retry.NewBudget(float64(p.deposit)/100, float64(p.limit)/100); err != nil {
			return o, err
		}
		spend(c.Budget, p.spent)
	}
	var observed []retry.Failure
	c.Observe = func(e retry.Event) {
		if e.Failure.Number > len(observed) {
			observed = append(observed, e.Failure)
			o.Failures = append(o.Failures, trace{e.Failure.Kind, e.Failure.Wait, e.Failure.Why})
		}
		o.Events = append(o.Events, event{e.Failure.Number, e.Wait, e.Why, e.Stop})
	}
	policy, err := retry.New(c)
	if err != nil {
		return o, err
	}
	var contexts []context.Context
	var told []error // what each attempt was told of the one before
	answer, err := retry.Do(ctx, policy, func(ctx context.Context, a retry.Attempt) (int, error) {
		o.Starts, contexts, told = append(o.Starts, time.Since(start)), append(contexts, ctx), append(told, a.Last)
		if a.Number != len(o.Starts) {
			wrong = fmt.Errorf("attempt %d is told that it is number %d", len(o.Starts), a.Number)
		}
		if a.Number > len(p.tries) {
			return a.Number, nil
		}
		return p.tries[a.Number-1].make(ctx, a.Number)
	})
	o.End, o.Answered = time.Since(start), err == nil
	if c.Budget != nil {
		o.Tokens = int(c.Budget.Tokens()*100 + 0.5)
	}
	if c.Breaker != nil {
		o.Circuit = c.Breaker.Snapshot()
		o.Circuit.Cause, o.Circuit.Since = nil, time.Time{}
	}
	if wrong != nil {
		return o, wrong
	}
	if c.AttemptTimeout > 0 || c.MaxTime > 0 {
		for i, ctx := range contexts {
			if ctx.Err() == nil {
				return o, fmt.Errorf("the context of attempt %d goes on after the call", i+1)
			}
		}
	}
	if err == nil {
		if answer != len(o.Starts) {
			return o, fmt.Errorf("the answer is that of attempt %d of %d", answer, len(o.Starts))
		}
		return o, nil
	}
	var e *retry.Error
	if !errors.As(err, &e) {
		return o, fmt.Errorf("not a *retry.Error: %v", err)
	}
	o.Reason, o.Refused, o.Why = e.Reason, e.RefusedWait, e.Why
	if !slices.Equal(e.Failures, observed) {
		return o, fmt.Errorf("the error has the failures %v, the observer saw %v", e.Failures, observed)
	}
	var last error
	for i, f := range e.Failures {
		if f.Number != i+1 || f.Err == nil || told[i] != last {
			return o, fmt.Errorf("failure %d: number %d, error %v; its attempt was told of %v", i+1, f.Number, f.Err, told[i])
		}
		if last = f.Err; reflect.TypeOf(last) == reflect.TypeOf(retry.Stop(nil)) {
			return o, fmt.Errorf("failure %d is what Stop made of it", i+1)
		}
		_, limit := errors.AsType[*retry.AttemptTimeoutError](f.Err)
		if !limit && !errors.Is(f.Err, context.Canceled) && !errors.Is(f.Err, context.DeadlineExceeded) && !errors.Is(p.tries[i].err, f.Err) {
			return o, fmt.Errorf("failure %d is %v, not that of its attempt", i+1, f.Err)
		}
	}
	return o, p.judge(e, ctx)
}

// judge returns what is wrong with the error for its reason.
func (p plan) judge(e *retry.Error, ctx context.Context) error {
	if e.Error() == "" || e.Last() != nil && !errors.Is(e, e.Last()) {
		return fmt.Errorf("%q does not match its last failure %v", e.Error(), e.Last())
	}
	_, circuit := errors.AsType[*breaker.OpenError](e)
	switch kind := e.FailureKind(); {
	case e.Reason == retry.OutOfTime && (!errors.Is(e, context.DeadlineExceeded) || kind != failure.DeadlineExceeded),
		e.Reason == retry.Cancelled && (!errors.Is(e, context.Canceled) || !errors.Is(e, errPatience) || ctx.Err() == nil || kind != failure.Cancelled),
		e.Reason == retry.CircuitOpen && (!circuit || kind != failure.CircuitOpen),
		slices.Contains([]retry.Reason{retry.Exhausted, retry.Permanent, retry.BudgetSpent, retry.WaitTooLong, retry.LimitTimePassed}, e.Reason) &&
			(len(e.Failures) == 0 || kind != e.Failures[len(e.Failures)-1].Kind):
		return fmt.Errorf("the error of a call that ended for %s is of kind %v: %v", e.Reason, kind, e)
	}
	return nil
}

// spend makes retries from a budget, as far as it goes.
func spend(budget *retry.Budget, retries int) {
	policy, err := retry.New(retry.Config{Budget: budget, Backoff: backoff.Constant{}, MaxAttempts: retries + 1})
	if err != nil {
		panic(err)
	}
	_, _ = retry.Do(context.Background(), policy, func(context.Context, retry.Attempt) (int, error) { return 0, transient })
}

func (p plan) delay(attempt int) time.Duration { return p.delays[min(attempt, len(p.delays)-1)] }

// make makes the attempt.
func (a try) make(ctx context.Context, number int) (int, error) {
	if a.deaf {
		time.Sleep(a.lasts)
		return number, a.err
	}
	timer := time.NewTimer(a.lasts)
	defer timer.Stop()
	select {
	case <-timer.C:
		return number, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("sdk: %w", ctx.Err())
	}
}

func (x other) happen(b *breaker.Breaker) {
	time.Sleep(x.at)
	switch x.does {
	case trip:
		b.Trip(transient)
	case forceOpen:
		b.ForceOpen(nil)
	case forceClosed:
		b.ForceClosed()
	case reset:
		b.Reset()
	default:
		permit, err := b.Acquire()
		if err != nil {
			return
		}
		time.Sleep(x.lasts)
		if x.does == callWell {
			permit.Success()
		} else {
			permit.Failure(transient)
		}
	}
}

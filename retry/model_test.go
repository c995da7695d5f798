package retry_test

import (
	"context"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"

	"pgregory.net/rapid"
)

// The model is Do as its documentation tells it, written to be plainly right and
// nothing else: it goes through a plan by hand, with a clock that is a number.
type model struct {
	p     plan
	o     outcome
	now   time.Duration
	table failure.Table

	bound     time.Duration // the deadline, of the caller or of MaxTime
	end       time.Duration // of the caller's patience: bound, or cancelled before,
	endReason retry.Reason  // and which of them

	pending []deedAt // what others will do
	circuit *naiveCircuit

	tokens    int // hundredths
	counted   int // failed attempts
	waits     int // of the backoff's kind
	cutOff    bool
	limitTime time.Duration
}

type deedAt struct {
	at time.Duration
	do func()
}

const forever = time.Duration(math.MaxInt64)

func newModel(p plan) *model {
	m := &model{p: p, table: failure.Decisions(), bound: forever, tokens: p.limit - 100*min(p.spent, p.limit/100)}
	if p.config.Decisions != nil {
		m.table = *p.config.Decisions
	}
	for _, d := range []time.Duration{p.deadline, p.config.MaxTime} {
		if d > 0 {
			m.bound = min(m.bound, d)
		}
	}
	m.end, m.endReason = m.bound, retry.OutOfTime
	if p.cancel != 0 && p.cancel < m.end {
		m.end, m.endReason = p.cancel, retry.Cancelled
	}
	if p.circuit != nil {
		m.circuit = &naiveCircuit{Config: *p.circuit}
		for _, x := range p.others {
			m.expect(x)
		}
		m.sleep(0)
	}
	return m
}

// expect writes down what another caller will do.
func (m *model) expect(x other) {
	c, at := m.circuit, x.at-m.p.start
	if do := map[deed]func(){
		trip: c.trip, reset: func() { c.become(breaker.Closed, false) },
		forceOpen: func() { c.become(breaker.Open, true) }, forceClosed: func() { c.become(breaker.Closed, true) },
	}[x.does]; do != nil {
		m.pending = append(m.pending, deedAt{at, do})
		return
	}
	var permit *naivePermit
	ends := map[deed]failure.Effect{callWell: failure.Healthy, callBadly: failure.Count}[x.does]
	m.pending = append(m.pending,
		deedAt{at, func() { permit, _ = c.acquire() }},
		deedAt{at + x.lasts, func() {
			if permit != nil {
				c.record(permit, ends, 0)
			}
		}},
	)
}

// sleep lets time pass, and the others do what they do meanwhile.
func (m *model) sleep(until time.Duration) {
	slices.SortFunc(m.pending, func(a, b deedAt) int { return int(a.at - b.at) })
	for len(m.pending) > 0 && m.pending[0].at <= until {
		d := m.pending[0]
		m.pending = m.pending[1:]
		m.circuit.now = d.at
		d.do()
	}
	m.now = until
	if m.circuit != nil {
		m.circuit.now = until
	}
}

func (m *model) observe(wait time.Duration, why retry.Why, stop retry.Reason) {
	m.o.Events = append(m.o.Events, event{len(m.o.Failures), wait, why, stop})
}

func (m *model) stop(reason retry.Reason, refused time.Duration, why retry.Why) {
	m.observe(0, retry.NoWait, reason)
	m.o.Reason, m.o.Refused, m.o.Why = reason, refused, why
}

// impatient stops if the caller's patience has ended.
func (m *model) impatient() bool {
	if m.now >= m.end {
		m.stop(m.endReason, 0, retry.NoWait)
	}
	return m.now >= m.end
}

// do makes attempts until one is answered or there is a reason to stop.
func (m *model) do() outcome {
	m.run()
	m.o.End, m.o.Tokens = m.now, m.tokens
	if m.circuit != nil {
		m.o.Circuit = m.circuit.snapshot()
	}
	return m.o
}

func (m *model) run() {
	var wait time.Duration // before the attempt that comes
	var why retry.Why
	for !m.impatient() {
		asked := m.now
		permit, waited := m.pass()
		if permit == nil {
			return
		}
		if waited {
			wait, why = wait+m.now-asked, retry.CircuitWait
		}
		a := m.attempt()
		m.tell(permit, a)
		if a.answered {
			m.o.Answered = true
			return
		}
		m.o.Failures = append(m.o.Failures, trace{a.kind, wait, why})
		if m.impatient() {
			return
		}
		if wait, why = m.decide(a); m.o.Reason != retry.Going {
			return
		}
		m.observe(wait, why, retry.Going)
		m.sleep(min(m.now+wait, m.end))
	}
}

// pass returns a permit of the circuit, and whether it had to be waited for; or
// it stops.
func (m *model) pass() (permit *naivePermit, waited bool) {
	if m.circuit == nil {
		return &naivePermit{}, false
	}
	for ; ; waited = true {
		permit, again := m.circuit.acquire()
		switch {
		case permit != nil:
			return permit, waited
		case m.circuit.forced || !m.p.config.WaitForCircuit:
			m.stop(retry.CircuitOpen, 0, retry.NoWait)
			return nil, waited
		case m.circuit.state == breaker.Open && again >= m.bound:
			m.stop(retry.OutOfTime, again-m.now, retry.CircuitWait)
			return nil, waited
		case !waited:
			m.observe(again-m.now, retry.CircuitWait, retry.Going)
		}
		wake := min(again, m.end)
		for _, d := range m.pending {
			wake = min(wake, d.at)
		}
		if m.sleep(wake); m.impatient() {
			return nil, waited
		}
	}
}

// attempted is what came of an attempt.
type attempted struct {
	answered bool
	kind     failure.Kind
	stop     bool
	told     bool // when to come back:
	after    time.Duration
	own      bool // the caller's doing
}

func (m *model) attempt() attempted {
	m.o.Starts = append(m.o.Starts, m.now)
	var a try
	if n := len(m.o.Starts); n <= len(m.p.tries) {
		a = m.p.tries[n-1]
	}
	limit := forever
	if m.p.config.AttemptTimeout > 0 {
		limit = m.now + m.p.config.AttemptTimeout
	}
	if first := min(limit, m.end); m.now+a.lasts > first && !a.deaf {
		a = try{lasts: first - m.now, err: context.DeadlineExceeded}
		if first == m.end && m.endReason == retry.Cancelled {
			a.err = context.Canceled
		}
	}
	m.sleep(m.now + a.lasts)
	if a.err == nil {
		return attempted{answered: true}
	}
	r := attempted{kind: failure.KindOf(a.err), stop: a.stop, own: errors.Is(a.err, context.Canceled)}
	r.after, r.told = failure.RetryAfterOf(a.err)
	switch over := m.now >= m.end; {
	case over:
		r.own = true
	case m.now >= limit && slices.Contains([]failure.Kind{failure.DeadlineExceeded, failure.Cancelled, failure.Transient, failure.Unknown}, r.kind):
		r = attempted{kind: failure.AttemptTimeout, stop: a.stop}
	case m.now < limit && r.kind == failure.DeadlineExceeded:
		r.kind = failure.Transient // a context of the attempt's own
	}
	return r
}

// tell tells the budget and the circuit what came of an attempt.
func (m *model) tell(permit *naivePermit, a attempted) {
	effect := m.table.For(a.kind).Breaker
	switch {
	case a.answered:
		effect = failure.Healthy
	case effect == failure.Count && a.own:
		effect = failure.Ignore
	}
	if effect == failure.Healthy {
		m.tokens = min(m.tokens+m.p.deposit, m.p.limit)
	}
	if m.circuit != nil {
		m.circuit.record(permit, effect, a.after)
	}
}

// decide says what follows from a failure: a wait, or the reason to stop.
func (m *model) decide(a attempted) (wait time.Duration, why retry.Why) {
	row := m.table.For(a.kind)
	if a.stop || row.Again == failure.Never || row.Again == failure.OnceLarger && m.cutOff {
		m.stop(retry.Permanent, 0, retry.NoWait)
		return
	}
	m.cutOff = m.cutOff || row.Again == failure.OnceLarger
	switch row.Again {
	case failure.Backoff, failure.WhenTold:
		wait, why = m.p.delay(m.waits), retry.BackoffWait
	case failure.Slower:
		wait, why = m.p.delay(m.waits+1), retry.BackoffWait
	}
	// A rate limit whose time is known costs time and not an attempt, if it is
	// waited for at all.
	limit := row.Again == failure.WhenTold && a.told && max(a.after, wait) > 0
	if !limit {
		m.counted++
	}
	if m.counted == m.p.config.MaxAttempts {
		m.stop(retry.Exhausted, 0, retry.NoWait)
		return
	}
	if a.told && a.after > m.p.config.MaxRetryAfter {
		m.stop(retry.WaitTooLong, a.after, retry.ProviderWait)
		return
	}
	if a.told && a.after >= wait {
		wait, why = a.after, retry.ProviderWait
	}
	if limit {
		why = retry.RateLimitWait
		if m.limitTime += wait; m.limitTime > m.p.config.MaxLimitTime {
			m.stop(retry.LimitTimePassed, wait, why)
			return
		}
	}
	if c := m.circuit; c != nil && c.state == breaker.Open && (c.forced || c.until-m.now > wait) {
		if c.forced || !m.p.config.WaitForCircuit {
			m.stop(retry.CircuitOpen, 0, retry.NoWait)
			return
		}
		wait, why = c.until-m.now, retry.CircuitWait
	}
	if wait > 0 && m.now+wait >= m.bound {
		m.stop(retry.OutOfTime, wait, why)
		return
	}
	// A retry costs a token, unless the provider did its work or is waited for.
	free := limit || a.kind == failure.InvalidAnswer || a.kind == failure.CutOff || row.Breaker == failure.Healthy
	if m.p.limit > 0 && !free {
		if m.tokens < 100 {
			m.stop(retry.BudgetSpent, 0, retry.NoWait)
			return
		}
		m.tokens -= 100
	}
	if wait == 0 {
		return 0, retry.NoWait
	}
	if why != retry.CircuitWait {
		m.waits++
	}
	return wait, why
}

// naiveCircuit is the breaker as its documentation tells it.
type naiveCircuit struct {
	breaker.Config
	now        time.Duration
	state      breaker.State
	forced     bool
	generation int
	ended      []endedCall // in this generation, while CLOSED
	until      time.Duration
	probes     []*naivePermit
	passed     int
	openings   int
}

type endedCall struct {
	at     time.Duration
	failed bool
}

type naivePermit struct {
	generation int
	began      time.Duration
}

func (c *naiveCircuit) become(s breaker.State, forced bool) {
	c.generation++
	c.state, c.forced, c.ended, c.probes, c.passed = s, forced, nil, nil, 0
	if s == breaker.Closed {
		c.openings = 0
	}
}

func (c *naiveCircuit) open(d time.Duration) {
	c.become(breaker.Open, false)
	c.openings++
	c.until = c.now + min(d, c.MaxOpen)
}

func (c *naiveCircuit) live() (live []*naivePermit) {
	for _, p := range c.probes {
		if c.now-p.began < c.ProbeLease {
			live = append(live, p)
		}
	}
	return live
}

// acquire returns a permit, or when to ask again.
func (c *naiveCircuit) acquire() (*naivePermit, time.Duration) {
	if c.state == breaker.Open && (c.forced || c.now < c.until) {
		return nil, c.until
	}
	if c.state == breaker.Open {
		c.become(breaker.HalfOpen, false)
	}
	p := &naivePermit{c.generation, c.now}
	if c.state == breaker.HalfOpen {
		if live := c.live(); len(live) >= c.HalfOpenProbes {
			return nil, live[0].began + c.ProbeLease
		}
		c.probes = append(c.probes, p)
	}
	return p, 0
}

func (c *naiveCircuit) record(p *naivePermit, effect failure.Effect, asked time.Duration) {
	if p.generation != c.generation || c.forced {
		return
	}
	c.probes = slices.DeleteFunc(c.probes, func(q *naivePermit) bool { return q == p })
	failed := effect == failure.Count || effect == failure.Trip
	if effect != failure.Ignore && effect != failure.Limit {
		c.ended = append(c.ended, endedCall{c.now, failed})
	}
	if c.RetryAfter == nil {
		asked = 0
	}
	switch {
	case effect == failure.Trip && asked > 0:
		c.open(asked)
	case effect == failure.Trip:
		c.open(c.TripTimeout)
	case failed && (c.state == breaker.HalfOpen || c.tooMany()):
		c.open(max(c.RecoveryTimeout, asked))
	case effect == failure.Healthy && c.state == breaker.HalfOpen:
		if c.passed++; c.passed == c.SuccessThreshold {
			c.become(breaker.Closed, false)
		}
	}
}

// tooMany: the last FailureThreshold failures lie within FailureWindow, and are
// at least FailureRate of the calls since the first of them.
func (c *naiveCircuit) tooMany() bool {
	failures := 0
	for i, e := range slices.Backward(c.ended) {
		if e.failed {
			failures++
		}
		if failures == c.FailureThreshold {
			return c.now-e.at <= c.FailureWindow && float64(failures)/float64(len(c.ended)-i) >= *c.FailureRate
		}
	}
	return false
}

func (c *naiveCircuit) trip() {
	switch {
	case c.forced:
	case c.state == breaker.Open:
		c.until = max(c.until, c.now+min(c.TripTimeout, c.MaxOpen))
	default:
		c.open(c.TripTimeout)
	}
}

func (c *naiveCircuit) snapshot() breaker.Snapshot {
	s := breaker.Snapshot{
		Name: "test", State: c.state, Forced: c.forced, Generation: uint64(c.generation), Openings: c.openings,
		Probes: len(c.live()), Passed: c.passed,
	}
	failures := 0
	for _, e := range slices.Backward(c.ended) {
		if c.state == breaker.Closed && e.failed && failures < c.FailureThreshold {
			if failures++; c.now-e.at <= c.FailureWindow {
				s.Failures++
			}
		}
	}
	if c.state == breaker.Open && !c.forced {
		s.RetryIn = max(0, c.until-c.now)
	}
	return s
}

// TestDoDoesWhatTheModelDoes runs LLMCALL_MODEL_PLANS random plans (by default
// 4,000):
//
//	LLMCALL_MODEL_PLANS=1000000 go test -run TestDoDoesWhatTheModelDoes -timeout 1h -v ./retry
func TestDoDoesWhatTheModelDoes(t *testing.T) {
	want := 4000
	if text := os.Getenv("LLMCALL_MODEL_PLANS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("LLMCALL_MODEL_PLANS is %q: takes a whole number", text)
		}
		want = n
	}
	ends := map[retry.Reason]int{}
	for plans := 0; plans < want && !t.Failed(); {
		rapid.Check(t, func(rt *rapid.T) {
			p := drawPlan(rt)
			var got outcome
			var wrong error
			synctest.Test(t, func(*testing.T) { got, wrong = p.run() })
			if wrong != nil {
				rt.Fatalf("%v\n%+v", wrong, got)
			}
			if want := newModel(p).do(); !reflect.DeepEqual(got, want) {
				rt.Fatalf("got   %+v\nmodel %+v", got, want)
			}
			plans++
			ends[got.Reason]++
		})
	}
	t.Logf("ended for: %v", ends)
}

package breaker

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// The model is the breaker as its design tells it, sentence by sentence, written
// to be plainly right and nothing else: it keeps every call that ended, with its
// time, and counts them again each time. Random programs are run on both, and
// after each step both must give the same answers.

type naive struct {
	Config
	now time.Duration // since the program began

	state      State
	forced     bool
	generation int
	since      time.Duration
	ended      []endedCall // in this generation, while CLOSED
	until      time.Duration
	probes     []*naivePass // under way, in this generation
	passed     int
	openings   int
	opened     uint64
	cause      Cause
}

type endedCall struct {
	at, lasted time.Duration
	failed     bool
}

type naivePass struct {
	generation int
	probe      bool // it was let through as one, and has not passed
	passed     bool // it was a probe, and has
	began      time.Duration
	slowAt     time.Duration // 0: not watched
	slow       bool
}

// "What was admitted in an earlier state never counts in a later one."
func (m *naive) become(s State, forced bool, at time.Duration) {
	if s == Open && m.state != Open {
		m.opened++
	}
	m.state, m.forced, m.since = s, forced, at
	m.generation++
	m.ended, m.probes, m.passed = nil, nil, 0
	if s == Closed {
		m.openings = 0
	}
}

// "A circuit OPEN whose time is over" is HALF_OPEN, from that time on.
func (m *naive) pass(t time.Duration) {
	m.now = t
	if m.state == Open && !m.forced && m.now >= m.until {
		m.become(HalfOpen, false, m.until)
	}
}

// "Kept of the last failure: kind, status, code."
func (m *naive) open(d time.Duration, cause Cause) {
	m.become(Open, false, m.now)
	m.openings++
	m.until, m.cause = m.now+min(d, m.MaxOpen), cause
}

// A probe holds its place for ProbeLease; who reports later still counts.
func (m *naive) live() (probes []*naivePass) {
	for _, p := range m.probes {
		if m.now-p.began < m.ProbeLease {
			probes = append(probes, p)
		}
	}
	return probes
}

// enter lets a call through, or returns the state of the refusal and until when
// it holds: "CLOSED: calls pass; OPEN: they are refused; HALF_OPEN: a few pass as
// probes."
func (m *naive) enter() (p *naivePass, refused State, until time.Duration) {
	if m.state == Open {
		return nil, Open, m.until
	}
	p = &naivePass{generation: m.generation, began: m.now, probe: m.state == HalfOpen}
	if p.probe {
		if live := m.live(); len(live) >= m.HalfOpenProbes {
			return nil, HalfOpen, live[0].began + m.ProbeLease
		}
		m.probes = append(m.probes, p)
	}
	if m.SlowCall > 0 {
		p.slowAt = m.now + m.SlowCall
	}
	return p, 0, 0
}

func (m *naive) freePlace(p *naivePass) {
	m.probes = slices.DeleteFunc(m.probes, func(q *naivePass) bool { return q == p })
}

// "accepted, when an answer has begun to come (a probe has passed, what is
// scarce is free)"; what follows counts by itself.
func (m *naive) accept(p *naivePass) {
	if !p.probe || p.generation != m.generation {
		return
	}
	m.freePlace(p)
	m.probeSucceeds()
	p.probe, p.passed, p.generation = false, true, m.generation
}

func (m *naive) probeSucceeds() {
	if m.passed++; m.passed == m.SuccessThreshold {
		m.become(Closed, false, m.now)
	}
}

// "settled, when the provider has answered or failed: counted, once"; as the
// caller decided.
func (m *naive) leave(p *naivePass, o Outcome, f Failure) {
	if p.slow && o != Tripped {
		return // it was counted when it became slow
	}
	if p.generation != m.generation || m.forced {
		return
	}
	m.freePlace(p)
	if m.state == Closed && o != Neither {
		m.ended = append(m.ended, endedCall{m.now, min(f.Lasted, 10*time.Minute), o != Succeeded})
	}
	switch {
	case o == Tripped:
		m.open(m.tripTime(f), f.Cause)
	case o == Succeeded && m.state == HalfOpen && !p.passed:
		m.probeSucceeds()
	case o == Failed && (m.state == HalfOpen || m.mustOpen()):
		m.open(max(m.recovery(), f.AskedFor), f.Cause)
	}
}

// "Each further opening since CLOSED is this much longer."
func (m *naive) recovery() time.Duration {
	d := float64(m.RecoveryTimeout)
	for range m.openings {
		d *= m.RecoveryFactor
	}
	return time.Duration(min(d, float64(m.MaxOpen)))
}

// lastFailures are the last FailureThreshold failures, or those that there are,
// and how many calls ended since the first of them, it included.
func (m *naive) lastFailures() (failures []endedCall, calls int) {
	for i, c := range slices.Backward(m.ended) {
		if c.failed && len(failures) < m.FailureThreshold {
			failures, calls = append(failures, c), len(m.ended)-i
		}
	}
	return failures, calls
}

// "the window is the longer of FailureWindow and FailureThreshold × the longest
// of the failures counted"
func (m *naive) window(failures []endedCall) time.Duration {
	w := m.FailureWindow
	for _, f := range failures {
		w = max(w, time.Duration(m.FailureThreshold)*f.lasted)
	}
	return w
}

// "exact window; rate beside the count"
func (m *naive) mustOpen() bool {
	failures, calls := m.lastFailures()
	if len(failures) < m.FailureThreshold {
		return false
	}
	age := m.now - failures[len(failures)-1].at
	return age <= m.window(failures) &&
		(m.FailureRate < 0 || float64(len(failures))/float64(calls) >= m.FailureRate)
}

func (m *naive) tripTime(f Failure) time.Duration {
	if f.AskedFor > 0 {
		return f.AskedFor
	}
	return m.TripTimeout
}

func (m *naive) trip(f Failure) {
	switch d := min(m.tripTime(f), m.MaxOpen); {
	case m.forced:
	case m.state != Open:
		m.open(d, f.Cause)
	case m.now+d > m.until:
		m.until, m.cause = m.now+d, f.Cause
	}
}

func (m *naive) force(s State, forced bool, cause Cause) {
	m.become(s, forced, m.now)
	m.cause = cause
}

func (m *naive) snapshot() Snapshot {
	s := Snapshot{
		Name: "m", State: m.state, Forced: m.forced, Passed: m.passed, Openings: m.openings, Cause: m.cause,
		Generation: uint64(m.generation), Probes: len(m.live()), Opened: m.opened,
	}
	failures, _ := m.lastFailures()
	for _, c := range failures {
		if m.now-c.at <= m.window(failures) {
			s.Failures++
		}
	}
	if m.state == Open && !m.forced {
		s.RetryIn = m.until - m.now
	}
	return s
}

// Evicted first: "idle; OPEN and over; … never one that is forced, in use".
func (m *naive) idle() bool {
	return !m.forced && m.state != Open && len(m.live()) == 0
}

// sleep lets the time go by, and makes failures of the calls that become slow
// meanwhile, each at its time: "SlowCall makes a call that lasts this long a
// failure, when it has lasted this long".
func (m *naive) sleep(d time.Duration, passes []*naivePass) {
	end := m.now + d
	for {
		var next *naivePass
		for _, p := range passes {
			if !p.slow && p.slowAt > 0 && p.slowAt <= end && (next == nil || p.slowAt < next.slowAt) {
				next = p
			}
		}
		if next == nil {
			break
		}
		m.pass(next.slowAt)
		m.leave(next, Failed, Failure{Cause: Cause{Kind: "slow"}, Lasted: m.SlowCall})
		next.slow = true
	}
	m.pass(end)
}

// A program is settings and steps; all of it is drawn before it runs.
type program struct {
	config Config
	steps  []programStep
}

type programStep struct {
	do      int // see run
	which   int // call
	how     Outcome
	wait    time.Duration
	failure Failure
}

func drawProgram(t *rapid.T) program {
	durations := rapid.SampledFrom([]time.Duration{1, 5, 10, 10, 20, 30, 60})
	c := Config{
		FailureThreshold: rapid.IntRange(1, 5).Draw(t, "FailureThreshold"),
		FailureWindow:    durations.Draw(t, "FailureWindow"),
		FailureRate:      rapid.SampledFrom([]float64{-1, 0.001, 0.25, 0.5, 0.8, 1}).Draw(t, "FailureRate"),
		RecoveryTimeout:  durations.Draw(t, "RecoveryTimeout"),
		RecoveryFactor:   rapid.SampledFrom([]float64{1, 1, 2, 5}).Draw(t, "RecoveryFactor"),
		TripTimeout:      durations.Draw(t, "TripTimeout"),
		MaxOpen:          60 + durations.Draw(t, "MaxOpen"),
		HalfOpenProbes:   rapid.IntRange(1, 3).Draw(t, "HalfOpenProbes"),
		SuccessThreshold: rapid.IntRange(1, 4).Draw(t, "SuccessThreshold"),
		ProbeLease:       durations.Draw(t, "ProbeLease"),
		SlowCall:         rapid.SampledFrom([]time.Duration{0, 0, 0, 7, 25}).Draw(t, "SlowCall"),
	}
	step := rapid.Custom(func(t *rapid.T) programStep {
		return programStep{
			do:    rapid.IntRange(0, 25).Draw(t, "do"),
			which: rapid.IntRange(0, 9).Draw(t, "which"),
			how:   rapid.SampledFrom([]Outcome{Succeeded, Succeeded, Failed, Failed, Failed, Neither, Tripped}).Draw(t, "how"),
			wait:  rapid.SampledFrom([]time.Duration{0, 1, 2, 5, 9, 10, 11, 20, 30, 60, 61}).Draw(t, "wait"),
			failure: Failure{
				Cause:    Cause{Kind: rapid.SampledFrom([]string{"overloaded", "quota"}).Draw(t, "kind"), Status: rapid.IntRange(500, 503).Draw(t, "status")},
				Lasted:   rapid.SampledFrom([]time.Duration{0, 0, -3, 1, 4, 20, time.Hour}).Draw(t, "lasted"),
				AskedFor: rapid.SampledFrom([]time.Duration{0, 0, 0, -5, 15, 70, 500}).Draw(t, "asked"),
			},
		}
	})
	atLeast := rapid.SampledFrom([]int{1, 40, 150}).Draw(t, "atLeast") // short ones to shrink to, long ones to find
	return program{c, rapid.SliceOfN(step, atLeast, 200).Draw(t, "steps")}
}

// played is a program that is being run on a breaker and on the model.
type played struct {
	*Breaker
	*naive
	started time.Time
	passes  []Pass
	models  []*naivePass
}

// run runs a program, and returns the first difference.
func (p program) run() error {
	b, err := New("m", p.config)
	if err != nil {
		return err
	}
	r := &played{Breaker: b, naive: &naive{Config: p.config}, started: time.Now()}
	for n, st := range p.steps {
		err := r.play(st)
		if err == nil {
			err = r.differ()
		}
		if err != nil {
			return fmt.Errorf("step %d, %+v: %w", n, st, err)
		}
	}
	for _, p := range r.passes { // their timers would outlive the bubble
		b.Leave(p, Neither, Failure{})
	}
	return nil
}

func (r *played) forget(i int) {
	r.passes, r.models = slices.Delete(r.passes, i, i+1), slices.Delete(r.models, i, i+1)
}

func (r *played) play(st programStep) error {
	i := -1
	if len(r.passes) > 0 {
		i = st.which % len(r.passes)
	}
	switch {
	case st.do < 8:
		return r.enter()
	case st.do < 14 && i >= 0:
		r.Breaker.Leave(r.passes[i], st.how, st.failure)
		r.naive.leave(r.models[i], st.how, st.failure)
		r.forget(i)
	case st.do < 17 && i >= 0:
		r.passes[i] = r.Breaker.Accept(r.passes[i])
		r.naive.accept(r.models[i])
	case st.do == 17 && i >= 0 && r.naive.SlowCall == 0:
		r.forget(i) // a lost goroutine
	case st.do < 22:
		time.Sleep(st.wait)
		synctest.Wait()
		r.naive.sleep(st.wait, r.models)
	case st.do == 22:
		r.Breaker.Trip(st.failure)
		r.naive.trip(st.failure)
	case st.do == 23 && st.which == 0:
		r.Breaker.ForceOpen("why")
		r.naive.force(Open, true, Cause{Kind: "why"})
	case st.do == 23 && st.which == 1:
		r.Breaker.ForceClosed()
		r.naive.force(Closed, true, Cause{})
	case st.do == 24 && st.which < 2:
		r.Breaker.Reset()
		r.naive.force(Closed, false, Cause{})
	}
	return nil
}

func (r *played) enter() error {
	p, refusal := r.Breaker.Enter()
	model, state, until := r.naive.enter()
	if (refusal == nil) != (model != nil) {
		return fmt.Errorf("entered: %v, model: %v", refusal, model)
	}
	if refusal == nil {
		r.passes, r.models = append(r.passes, p), append(r.models, model)
		return nil
	}
	want := OpenError{Name: "m", State: state, Cause: r.naive.cause, Since: refusal.Since, Until: refusal.Until, Forced: r.naive.forced}
	if *refusal != want || !refusal.Since.Equal(r.started.Add(r.naive.since)) || !want.Forced && !refusal.Until.Equal(r.started.Add(until)) {
		return fmt.Errorf("refused with %+v, model: %+v until %v", refusal, want, until)
	}
	return nil
}

// differ compares what can be seen.
func (r *played) differ() error {
	if got := r.Breaker.State(); got != r.naive.state {
		return fmt.Errorf("state %v, model %v", got, r.naive.state)
	}
	if got, want := r.Breaker.Idle(), r.naive.idle(); got != want {
		return fmt.Errorf("idle %v, model %v", got, want)
	}
	got, want := r.Breaker.Snapshot(), r.naive.snapshot()
	if r.naive.generation > 0 && !got.Since.Equal(r.started.Add(r.naive.since)) {
		return fmt.Errorf("since %v, model %v", got.Since, r.naive.since)
	}
	if got.Since = (time.Time{}); got != want {
		return fmt.Errorf("%+v\nmodel: %+v", got, want)
	}
	return nil
}

// TestBreakerDoesWhatTheModelDoes runs random programs until they have made
// LLMCALL_MODEL_STEPS steps (by default 150,000):
//
//	LLMCALL_MODEL_STEPS=1000000 go test -run TestBreakerDoesWhatTheModelDoes -v ./breaker
func TestBreakerDoesWhatTheModelDoes(t *testing.T) {
	want := 150_000
	if s := os.Getenv("LLMCALL_MODEL_STEPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("LLMCALL_MODEL_STEPS must be a whole number, got %q", s)
		}
		want = n
	}
	steps, programs := 0, 0
	for steps < want && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			p := drawProgram(rt)
			var err error
			synctest.Test(t, func(*testing.T) { err = p.run() })
			if err != nil {
				rt.Fatal(err)
			}
			steps += len(p.steps)
			programs++
		})
	}
	t.Logf("%d steps in %d programs", steps, programs)
}

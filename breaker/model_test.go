package breaker

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// The model is the breaker as its documentation tells it, written to be plainly
// right and nothing else: it keeps every call that ended, with its time, and
// counts them anew each time. Random programs are run on both, and after each
// step both must give the same answers.

type naive struct {
	Config
	wall, clock, shift, last time.Duration // what the world says, what the clock says, and how it is mended

	state      State
	forced     bool
	generation int
	since      time.Duration
	ended      []endedCall // in this generation, while CLOSED
	until      time.Duration
	probes     []*naivePermit // not yet ended, in this generation
	passed     int
	openings   int
	cause      error
}

type endedCall struct {
	at     time.Duration
	failed bool
}

type naivePermit struct {
	generation int
	began      time.Duration
	slowAt     time.Duration // by the wall; 0: not watched
	slow       bool
	ended      bool
}

// now is the time, which goes on from where it was when the clock goes back.
func (m *naive) now() time.Duration {
	m.shift = max(m.shift, m.last-m.clock)
	m.last = m.clock + m.shift
	return m.last
}

func (m *naive) become(s State, forced bool) {
	m.state, m.forced, m.since = s, forced, m.now()
	m.generation++
	m.ended, m.probes, m.passed = nil, nil, 0
	if s == Closed {
		m.openings = 0
	}
}

func (m *naive) open(d time.Duration, cause error) {
	m.become(Open, false)
	m.openings++
	m.until, m.cause = m.now()+min(max(d, 0), m.MaxOpen), cause
}

func (m *naive) live() (probes []*naivePermit) {
	for _, p := range m.probes {
		if m.now()-p.began < m.ProbeLease {
			probes = append(probes, p)
		}
	}
	return probes
}

// acquire returns a permit, or the state of the refusal and how long it holds.
func (m *naive) acquire() (*naivePermit, State, time.Duration) {
	if m.state == Open && (m.forced || m.now() < m.until) {
		return nil, Open, m.until - m.now()
	}
	if m.state == Open {
		m.become(HalfOpen, false)
	}
	p := &naivePermit{generation: m.generation, began: m.now()}
	if m.state == HalfOpen {
		if live := m.live(); len(live) >= m.HalfOpenProbes {
			return nil, HalfOpen, live[0].began + m.ProbeLease - m.now()
		}
		m.probes = append(m.probes, p)
	}
	if m.SlowCall > 0 {
		p.slowAt = m.wall + m.SlowCall
	}
	return p, 0, 0
}

func (m *naive) end(p *naivePermit, how outcome, cause error) {
	if p.ended {
		return
	}
	p.ended = true
	if !p.slow || how == tripped {
		m.record(p, how, cause)
	}
}

// becomeSlow makes a failure of a call that still runs.
func (m *naive) becomeSlow(p *naivePermit) {
	p.slow = true
	m.record(p, failing, &SlowError{m.SlowCall})
}

func (m *naive) record(p *naivePermit, how outcome, cause error) {
	if p.generation != m.generation || m.forced {
		return
	}
	m.probes = slices.DeleteFunc(m.probes, func(q *naivePermit) bool { return q == p })
	if m.state == Closed && how != ignored {
		m.ended = append(m.ended, endedCall{m.now(), how != succeeded})
	}
	switch {
	case how == tripped:
		m.open(m.tripTime(cause), cause)
	case how == succeeded && m.state == HalfOpen:
		if m.passed++; m.passed == m.SuccessThreshold {
			m.become(Closed, false)
		}
	case how == failing && (m.state == HalfOpen || m.mustOpen()):
		m.open(max(m.Recovery(m.openings), asks(cause)), cause)
	}
}

// mustOpen: the last FailureThreshold failures lie within FailureWindow, and
// are at least FailureRate of the calls since the first of them.
func (m *naive) mustOpen() bool {
	failures := 0
	for i, c := range slices.Backward(m.ended) {
		if !c.failed {
			continue
		}
		if failures++; failures == m.FailureThreshold {
			rate := float64(failures) / float64(len(m.ended)-i)
			return m.now()-c.at <= m.FailureWindow && rate >= *m.FailureRate
		}
	}
	return false
}

func (m *naive) tripTime(cause error) time.Duration {
	if asks(cause) > 0 {
		return asks(cause)
	}
	return m.TripTimeout
}

func (m *naive) trip(cause error) {
	switch d := min(m.tripTime(cause), m.MaxOpen); {
	case m.forced:
	case m.state != Open:
		m.open(d, cause)
	case m.now()+d > m.until:
		m.until, m.cause = m.now()+d, cause
	}
}

func (m *naive) snapshot() Snapshot {
	s := Snapshot{
		Name: "m", State: m.state, Forced: m.forced, Passed: m.passed, Openings: m.openings, Cause: m.cause,
		Generation: uint64(m.generation), Probes: len(m.live()),
	}
	failures := 0
	for _, c := range slices.Backward(m.ended) {
		if c.failed && failures < m.FailureThreshold {
			failures++
			if m.now()-c.at <= m.FailureWindow {
				s.Failures++
			}
		}
	}
	if m.state == Open && !m.forced {
		s.RetryIn = max(0, m.until-m.now())
	}
	return s
}

// asking is a failure that says when to come back.
type asking time.Duration

func (a asking) Error() string { return "come back in " + time.Duration(a).String() }

func asks(err error) time.Duration {
	a, _ := errors.AsType[asking](err)
	return time.Duration(a)
}

type outcome int

const (
	succeeded outcome = iota
	failing
	ignored
	tripped
)

// A program is settings and steps; all of it is drawn before it runs.
type program struct {
	config Config
	growth int
	steps  []programStep
}

type programStep struct {
	do    int // see run
	which int // permit
	how   outcome
	wait  time.Duration
	asked time.Duration
}

func drawProgram(t *rapid.T) program {
	durations := rapid.SampledFrom([]time.Duration{1, 5, 10, 10, 20, 30, 60})
	rates := rapid.SampledFrom([]float64{0, 0.001, 0.25, 0.5, 0.8, 1})
	c := Config{
		FailureThreshold: rapid.IntRange(1, 5).Draw(t, "FailureThreshold"),
		FailureWindow:    durations.Draw(t, "FailureWindow"),
		FailureRate:      new(rates.Draw(t, "FailureRate")),
		RecoveryTimeout:  durations.Draw(t, "RecoveryTimeout"),
		TripTimeout:      durations.Draw(t, "TripTimeout"),
		MaxOpen:          60 + durations.Draw(t, "MaxOpen"),
		HalfOpenProbes:   rapid.IntRange(1, 3).Draw(t, "HalfOpenProbes"),
		SuccessThreshold: rapid.IntRange(1, 4).Draw(t, "SuccessThreshold"),
		ProbeLease:       durations.Draw(t, "ProbeLease"),
		SlowCall:         rapid.SampledFrom([]time.Duration{0, 0, 0, 7, 25}).Draw(t, "SlowCall"),
	}
	step := rapid.Custom(func(t *rapid.T) programStep {
		return programStep{
			do:    rapid.IntRange(0, 23).Draw(t, "do"),
			which: rapid.IntRange(0, 9).Draw(t, "which"),
			how:   outcome(rapid.SampledFrom([]int{0, 0, 1, 1, 1, 2, 3}).Draw(t, "how")),
			wait:  rapid.SampledFrom([]time.Duration{0, 1, 2, 5, 9, 10, 11, 20, 30, 60, 61}).Draw(t, "wait"),
			asked: rapid.SampledFrom([]time.Duration{0, 0, 0, -5, 15, 70, 500}).Draw(t, "asked"),
		}
	})
	atLeast := rapid.SampledFrom([]int{1, 40, 150}).Draw(t, "atLeast") // short ones to shrink to, long ones to find
	return program{c, rapid.IntRange(0, 2).Draw(t, "growth"), rapid.SliceOfN(step, atLeast, 200).Draw(t, "steps")}
}

// run runs a program on a breaker and on the model, and returns the first
// difference.
func (p program) run() error {
	c := p.config
	c.Recovery = func(opening int) time.Duration { return c.RecoveryTimeout << min(opening*p.growth, 5) }
	c.RetryAfter = func(err error) (time.Duration, bool) { return asks(err), asks(err) != 0 }
	b, err := New("m", c)
	if err != nil {
		return err
	}
	m := &naive{Config: c}
	var permits []*Permit
	var models []*naivePermit
	forget := func(i int) {
		permits, models = slices.Delete(permits, i, i+1), slices.Delete(models, i, i+1)
	}
	for n, st := range p.steps {
		var cause error = asking(st.asked)
		switch {
		case st.do < 8:
			what, how := b.Acquire()
			model, state, left := m.acquire()
			if (how == nil) != (model != nil) {
				return fmt.Errorf("step %d: Acquire: %v, model: %v", n, how, model)
			}
			if how == nil {
				permits, models = append(permits, &what), append(models, model)
			} else if e := how.(*OpenError); e.State != state || e.Forced != m.forced || !e.Forced && e.RetryIn() != left || fmt.Sprint(e.Cause) != fmt.Sprint(m.cause) {
				return fmt.Errorf("step %d: refused with %v (%v), model: %v for %v (%v)", n, e.State, e, state, left, m.cause)
			}
		case st.do < 16 && len(permits) > 0:
			i := st.which % len(permits)
			switch st.how {
			case succeeded:
				permits[i].Success()
			case failing:
				permits[i].Failure(cause)
			case ignored:
				permits[i].Ignore()
			case tripped:
				permits[i].Trip(cause)
			}
			m.end(models[i], st.how, cause)
			if st.wait > 5 { // else it may be ended again
				forget(i)
			}
		case st.do == 16 && len(permits) > 0 && c.SlowCall == 0:
			forget(st.which % len(permits)) // a lost goroutine
		case st.do < 20:
			m.sleep(st.wait, models)
			time.Sleep(st.wait)
			synctest.Wait()
		case st.do == 20:
			b.setClockBack(st.wait)
			m.clock -= st.wait
		case st.do == 21:
			b.Trip(cause)
			m.trip(cause)
		case st.do == 22 && st.which == 0:
			b.ForceOpen(cause)
			m.become(Open, true)
			m.cause = cause
		case st.do == 22 && st.which == 1:
			b.ForceClosed()
			m.become(Closed, true)
			m.cause = nil
		case st.do == 23 && st.which < 2:
			b.Reset()
			m.become(Closed, false)
			m.cause = nil
		}
		m.now()
		got, want := b.Snapshot(), m.snapshot()
		if got.Cause != want.Cause && fmt.Sprint(got.Cause) == fmt.Sprint(want.Cause) {
			got.Cause = want.Cause // two *SlowErrors
		}
		if m.generation > 0 && !got.Since.Equal(b.settings.base.Add(m.since-m.shift)) {
			return fmt.Errorf("step %d: began %v", n, got.Since)
		}
		if got.Since = (time.Time{}); got != want {
			return fmt.Errorf("step %d: %+v\nmodel:  %+v", n, got, want)
		}
	}
	for _, p := range permits { // their timers would outlive the bubble
		p.Ignore()
	}
	return nil
}

// sleep moves the time on, and makes failures of the calls that become slow
// meanwhile, each at its time.
func (m *naive) sleep(d time.Duration, permits []*naivePermit) {
	end := m.wall + d
	for {
		var next *naivePermit
		for _, p := range permits {
			if !p.ended && !p.slow && p.slowAt > 0 && p.slowAt <= end && (next == nil || p.slowAt < next.slowAt) {
				next = p
			}
		}
		if next == nil {
			break
		}
		m.clock += next.slowAt - m.wall
		m.wall = next.slowAt
		m.becomeSlow(next)
	}
	m.clock += end - m.wall
	m.wall = end
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
			t.Fatalf("LLMCALL_MODEL_STEPS is %q: takes a whole number", s)
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

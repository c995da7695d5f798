package breaker_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/breaker"
)

// admission is what the model knows of a pass.
type admission struct {
	era    int // of the state that admitted it
	probe  bool
	place  bool // a probe that still holds its place
	expiry time.Duration
	left   bool
}

type failed struct {
	at, lasted time.Duration
	ended      int // calls that had ended before it, successes and failures
}

// design is a circuit as the design's law 1 and the package's documentation
// describe it; time is from the beginning.
type design struct {
	c        breaker.Config // filled
	now      time.Duration
	state    breaker.State
	forced   bool
	era      int
	failures []failed // CLOSED: all of them
	ended    int      // CLOSED: calls that ended in success or failure
	until    time.Duration
	openings int
	passed   int
	probes   []*admission
}

func (d *design) enterState(s breaker.State) {
	d.state, d.forced, d.failures, d.ended, d.passed, d.probes = s, false, nil, 0, 0, nil
	d.era++
	if s == breaker.Closed {
		d.openings = 0
	}
}

// "RecoveryTimeout is how long the circuit stays OPEN before it admits probes."
func (d *design) look() {
	if d.state == breaker.Open && !d.forced && d.now >= d.until {
		d.enterState(breaker.HalfOpen)
	}
}

// opens: "RecoveryFactor is how much longer each further opening lasts than the
// one before, until the circuit is CLOSED again". "If this failure opens the
// circuit, it stays OPEN for at least" AskedFor, "but no longer than MaxOpen".
func (d *design) opens(asked time.Duration) {
	lasts := float64(d.c.RecoveryTimeout) * math.Pow(d.c.RecoveryFactor, float64(d.openings))
	n := d.openings + 1
	d.enterState(breaker.Open)
	d.openings, d.until = n, d.now+min(max(time.Duration(min(lasts, 1e18)), asked), d.c.MaxOpen)
}

// "and if it is one that trips, for just that long"; TripTimeout is "how long the
// circuit stays OPEN after a failure that opens it at once and does not say itself
// for how long".
func (d *design) trips(asked time.Duration) {
	n := d.openings + 1
	d.enterState(breaker.Open)
	if asked <= 0 {
		asked = d.c.TripTimeout
	}
	d.openings, d.until = n, d.now+min(asked, d.c.MaxOpen)
}

// last returns the last FailureThreshold failures, and the window: "the window is
// the longer of FailureWindow and FailureThreshold × the longest of the failures
// counted", of which at most 10 minutes are reckoned.
func (d *design) last() ([]failed, time.Duration) {
	f := d.failures[max(0, len(d.failures)-d.c.FailureThreshold):]
	window := d.c.FailureWindow
	for _, one := range f {
		window = max(window, time.Duration(d.c.FailureThreshold)*min(one.lasted, 10*time.Minute))
	}
	return f, window
}

func (d *design) within() (n int) {
	f, window := d.last()
	for _, one := range f {
		if d.now-one.at <= window {
			n++
		}
	}
	return n
}

func (d *design) fail(f breaker.Failure) {
	d.failures = append(d.failures, failed{d.now, f.Lasted, d.ended})
	d.ended++
	// "It opens when, and only when, the last FailureThreshold failures lie within
	// the window and make up at least FailureRate of the calls that ended since the
	// first of them."
	last, _ := d.last()
	if n := d.c.FailureThreshold; d.within() == n && (d.c.FailureRate < 0 || float64(n) >= d.c.FailureRate*float64(d.ended-last[0].ended)) {
		d.opens(f.AskedFor)
	}
}

// enter admits a call, or says in how long one can be admitted.
func (d *design) enter() (a *admission, in time.Duration) {
	d.look()
	switch {
	case d.state == breaker.Open && d.forced:
		return nil, 0
	case d.state == breaker.Open:
		return nil, d.until - d.now
	case d.state == breaker.Closed:
		return &admission{era: d.era}, 0
	}
	// "HalfOpenProbes is how many probes may be under way at a time." A probe "that
	// has not reported by" its lease "may have been lost, and another takes its
	// place".
	var oldest *admission
	n := 0
	for _, p := range d.probes {
		if p.place {
			n++
			if oldest == nil || p.expiry < oldest.expiry {
				oldest = p
			}
		}
	}
	if n >= d.c.HalfOpenProbes {
		if oldest.expiry > d.now {
			return nil, oldest.expiry - d.now
		}
		oldest.place = false
	}
	a = &admission{era: d.era, probe: true, place: true, expiry: d.now + d.c.ProbeLease}
	d.probes = append(d.probes, a)
	return a, 0
}

// pass: "enough successes close it".
func (d *design) pass() {
	if d.passed++; d.passed >= d.c.SuccessThreshold {
		d.enterState(breaker.Closed)
	}
}

// accept: "If the call is a probe, it has passed: it is counted as a success, and
// its place is free. What Leave says later counts by itself, in the state of now".
func (d *design) accept(a *admission) {
	if d.look(); a.probe && a.era == d.era {
		a.probe, a.place = false, false
		d.pass()
		a.era = d.era
	}
}

func (d *design) leave(a *admission, o breaker.Outcome, f breaker.Failure) {
	d.look()
	a.left, a.place = true, false
	// "What was admitted in an earlier state never counts in a later one."
	if a.era != d.era || d.forced {
		return
	}
	switch {
	case o == breaker.Tripped:
		d.trips(f.AskedFor)
	case o == breaker.Failed && d.state == breaker.HalfOpen: // "one failure opens it again"
		d.opens(f.AskedFor)
	case o == breaker.Failed:
		d.fail(f)
	case o == breaker.Succeeded && a.probe:
		d.pass()
	case o == breaker.Succeeded && d.state == breaker.Closed:
		d.ended++
	}
}

// trip: "One that is OPEN already stays so for the longer of the two times; a forced
// state stays as it is."
func (d *design) trip(f breaker.Failure) {
	switch d.look(); {
	case d.forced:
	case d.state == breaker.Open:
		asked := f.AskedFor
		if asked <= 0 {
			asked = d.c.TripTimeout
		}
		d.until = max(d.until, d.now+min(asked, d.c.MaxOpen))
	default:
		d.trips(f.AskedFor)
	}
}

func (d *design) force(s breaker.State) {
	d.enterState(s)
	d.forced = true
}

type deed struct {
	What    string
	After   time.Duration
	Which   int // of the passes that have not been given back
	Outcome breaker.Outcome
	Failure breaker.Failure
}

func drawDeed(rt *rapid.T) deed {
	times := rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 1, s, 5 * s, 10 * s, 10*s - 1, 30 * s, 60 * s, 299 * s, 300 * s, 601 * s, time.Hour})
	d := deed{After: times.Draw(rt, "after"), Which: rapid.IntRange(0, 20).Draw(rt, "which")}
	d.What = rapid.SampledFrom([]string{"enter", "enter", "enter", "enter", "leave", "leave", "leave", "leave", "accept", "accept", "trip", "force open", "force closed", "reset"}).Draw(rt, "what")
	if rapid.IntRange(0, 3).Draw(rt, "by hand") > 0 && (d.What == "trip" || d.What == "force open" || d.What == "force closed" || d.What == "reset") {
		d.What = "enter"
	}
	if d.What == "leave" || d.What == "trip" {
		d.Outcome = rapid.SampledFrom([]breaker.Outcome{breaker.Neither, breaker.Succeeded, breaker.Succeeded, breaker.Failed, breaker.Failed, breaker.Failed, breaker.Failed, breaker.Tripped}).Draw(rt, "outcome")
		d.Failure.Lasted = rapid.SampledFrom([]time.Duration{0, 0, s, 80 * s, 600 * s, 24 * time.Hour}).Draw(rt, "lasted")
		d.Failure.AskedFor = rapid.SampledFrom([]time.Duration{0, 0, 0, s, 100 * s, 2 * time.Hour}).Draw(rt, "asked for")
	}
	return d
}

func drawConfig(rt *rapid.T) breaker.Config {
	return breaker.Config{
		FailureThreshold: rapid.SampledFrom([]int{0, 1, 2, 3}).Draw(rt, "threshold"),
		FailureWindow:    rapid.SampledFrom([]time.Duration{0, 10 * s}).Draw(rt, "window"),
		FailureRate:      rapid.SampledFrom([]float64{0, -1, 1, 0.5}).Draw(rt, "rate"),
		RecoveryTimeout:  rapid.SampledFrom([]time.Duration{0, 10 * s, 2 * time.Hour}).Draw(rt, "recovery"),
		RecoveryFactor:   rapid.SampledFrom([]float64{0, 2, 1000}).Draw(rt, "factor"),
		TripTimeout:      rapid.SampledFrom([]time.Duration{0, 30 * s}).Draw(rt, "trip"),
		MaxOpen:          0,
		HalfOpenProbes:   rapid.IntRange(0, 3).Draw(rt, "probes"),
		SuccessThreshold: rapid.IntRange(0, 3).Draw(rt, "successes"),
		ProbeLease:       rapid.SampledFrom([]time.Duration{0, 5 * s}).Draw(rt, "lease"),
	}
}

// held returns the index of the pass to use, or -1.
func held(all []*admission, which int) int {
	var free []int
	for i, a := range all {
		if !a.left {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return -1
	}
	return free[which%len(free)]
}

// compare does the deeds to a breaker and to the model, and returns the first
// difference.
func compare(c breaker.Config, deeds []deed) (difference string) {
	b, err := breaker.New("model", c)
	if err != nil {
		return err.Error()
	}
	filled, _ := c.Filled()
	d := &design{c: filled}
	begin := time.Now()
	var admitted []*admission
	var passes []breaker.Pass
	for i, do := range deeds {
		time.Sleep(do.After)
		d.now = time.Since(begin)
		n := held(admitted, do.Which)
		switch do.What {
		case "enter":
			pass, no := b.Enter()
			a, in := d.enter()
			if (no == nil) != (a != nil) {
				return fmt.Sprintf("step %d: refusal %v, want admitted %v", i, no, a != nil)
			}
			if a == nil {
				if no.Forced != d.forced || !d.forced && no.RetryIn() != in || no.State != d.state {
					return fmt.Sprintf("step %d: refused %+v, want until in %v, %v", i, no, in, d.state)
				}
				break
			}
			admitted, passes = append(admitted, a), append(passes, pass)
		case "leave":
			if n >= 0 {
				b.Leave(passes[n], do.Outcome, do.Failure)
				d.leave(admitted[n], do.Outcome, do.Failure)
			}
		case "accept":
			if n >= 0 {
				passes[n] = b.Accept(passes[n])
				d.accept(admitted[n])
			}
		case "trip":
			b.Trip(do.Failure)
			d.trip(do.Failure)
		case "force open":
			b.ForceOpen("by hand")
			d.force(breaker.Open)
		case "force closed":
			b.ForceClosed()
			d.force(breaker.Closed)
		case "reset":
			b.Reset()
			d.enterState(breaker.Closed)
		}
		d.look()
		got := b.Snapshot()
		want := breaker.Snapshot{State: d.state, Forced: d.forced}
		switch {
		case d.forced:
			got.Openings = 0
		case d.state == breaker.Closed:
			want.Failures = d.within()
		case d.state == breaker.Open:
			want.Openings, want.RetryIn = d.openings, d.until-d.now
		default:
			want.Openings, want.Passed = d.openings, d.passed
		}
		got = breaker.Snapshot{State: got.State, Forced: got.Forced, Failures: got.Failures, Openings: got.Openings, Passed: got.Passed, RetryIn: got.RetryIn}
		if got != want {
			return fmt.Sprintf("after step %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
	return ""
}

func TestTheCircuitDoesWhatTheDesignSays(t *testing.T) {
	n := "5000"
	if v := os.Getenv("LLMCALL_MODEL_PLANS"); v != "" {
		n = v
	}
	if _, err := strconv.Atoi(n); err != nil {
		t.Fatal(err)
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(n); err != nil {
		t.Fatal(err)
	}
	defer f.Value.Set(before)
	rapid.Check(t, func(rt *rapid.T) {
		c := drawConfig(rt)
		deeds := rapid.SliceOfN(rapid.Custom(drawDeed), 1, 80).Draw(rt, "deeds")
		var difference string
		synctest.Test(t, func(*testing.T) { difference = compare(c, deeds) })
		if difference != "" {
			text := fmt.Sprintf("%+v\n", c)
			for i, d := range deeds {
				text += fmt.Sprintf("%3d %+v\n", i, d)
			}
			rt.Fatalf("%s%s", text, difference)
		}
	})
}

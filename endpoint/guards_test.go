package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// guardsOf returns the guards of a new endpoint with some limits: the budget, the
// pacer and the circuit.
func guardsOf(t *testing.T, l pace.Limits, o endpoint.Options) (e *endpoint.Endpoint, budget, pacer, circuit endpoint.Guard) {
	t.Helper()
	e = registry(t, endpoint.Config{Limits: func(endpoint.Key) pace.Limits { return l }}).Get(key("m"))
	guards := e.Guards(o)
	return e, guards[0], guards[1], guards[2]
}

// lend admits a request, which must not be refused.
func lend(t *testing.T, g endpoint.Guard, a endpoint.Ask) endpoint.Permit {
	t.Helper()
	p, refusal := g.Admit(a)
	if refusal != nil {
		t.Fatal(refusal.Err)
	}
	return p
}

var (
	tenSeconds = &pace.Told{Wait: 10 * time.Second, HasWait: true}
	passing    = endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: errors.New("a failure that passes")}
	ignored    = endpoint.Outcome{Effect: failure.Ignore, Kind: failure.Transient, Err: errors.New("says nothing of the provider")}
	refused    = endpoint.Outcome{Effect: failure.Limit, Kind: failure.RateLimited, Err: errors.New("429")}
	overloaded = endpoint.Outcome{Effect: failure.Count, Kind: failure.Overloaded, Err: errors.New("529")}
	notMade    = endpoint.Outcome{}
)

func with(o endpoint.Outcome, told *pace.Told) endpoint.Outcome {
	o.Report = &endpoint.Report{Told: told}
	return o
}

// A request of an endpoint that is watched, and one of a free one, with another
// request under way: how many are in flight after each step, and how many answers
// there were in the end.
func TestThePlaceInFlightIsGivenBackOnce(t *testing.T) {
	for _, c := range []struct {
		steps   string // a: Accept; n: settled as not made; s: answered; f: failed; l: refused; i: ignored
		flying  []int
		answers uint64
	}{
		{"s", []int{1}, 1},
		{"f", []int{1}, 0},
		{"l", []int{1}, 0},
		{"i", []int{1}, 0},
		{"n", []int{1}, 0},
		{"as", []int{2, 1}, 1},
		{"af", []int{2, 1}, 1},
		{"an", []int{2, 1}, 1},
		{"aas", []int{2, 1, 1}, 1},
		{"aaas", []int{2, 1, 1, 1}, 1},
		{"aan", []int{2, 1, 1}, 1},
		{"aaf", []int{2, 1, 1}, 1},
	} {
		for name, limits := range map[string]pace.Limits{"watched": {MaxConcurrent: 5}, "free": {}} {
			t.Run(c.steps+" "+name, func(t *testing.T) {
				e, _, pacer, _ := guardsOf(t, limits, endpoint.Options{})
				other := lend(t, pacer, endpoint.Ask{})
				p := lend(t, pacer, endpoint.Ask{})
				for i, step := range c.steps {
					switch step {
					case 'a':
						p = pacer.Accept(p, nil)
					case 'n':
						pacer.Settle(p, notMade)
					case 's':
						pacer.Settle(p, answer)
					case 'f':
						pacer.Settle(p, passing)
					case 'l':
						pacer.Settle(p, refused)
					case 'i':
						pacer.Settle(p, ignored)
					}
					if n := e.Snapshot().Pace.InFlight; n != c.flying[i] {
						t.Fatalf("step %d: %d in flight, want %d", i, n, c.flying[i])
					}
				}
				pacer.Settle(other, notMade)
				s := e.Snapshot()
				if s.Pace.InFlight != 0 || s.Pace.Answers != c.answers || s.Answered != (c.answers > 0) {
					t.Errorf("in the end %d in flight, %d answers, answered %v", s.Pace.InFlight, s.Pace.Answers, s.Answered)
				}
			})
		}
	}
}

// A free endpoint lends nothing: most requests need no memory for their turn. What
// was not lent does not come back as a retry.
func TestWhatIsNotLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, budget, pacer, circuit := guardsOf(t, pace.Limits{}, endpoint.Options{})
		turn, pass := lend(t, pacer, endpoint.Ask{}), lend(t, circuit, endpoint.Ask{})
		if turn != (endpoint.Permit{}) || pass.Ref != nil {
			t.Errorf("lent %+v and %+v", turn, pass)
		}
		lend(t, budget, endpoint.Ask{Retry: true})
		budget.Settle(lend(t, budget, endpoint.Ask{}), notMade)
		if n := e.Snapshot().Retries; n != 99 {
			t.Errorf("%v retries of 99", n)
		}
	})
}

// Those without a pacer hold no place, whatever becomes of them, and are heard all
// the same.
func TestThoseWithoutAPacerHoldNoPlace(t *testing.T) {
	for name, end := range map[string]func(g endpoint.Guard, p endpoint.Permit){
		"not made": func(g endpoint.Guard, p endpoint.Permit) { g.Settle(p, notMade) },
		"a whole answer": func(g endpoint.Guard, p endpoint.Permit) {
			g.Settle(g.Accept(g.Accept(p, nil), nil), answer)
		},
	} {
		e, _, pacer, _ := guardsOf(t, pace.Limits{MaxConcurrent: 1}, endpoint.Options{})
		p := lend(t, pacer, endpoint.Ask{})
		unpaced := e.Guards(endpoint.Options{NoPacer: true})[1]
		end(unpaced, lend(t, unpaced, endpoint.Ask{}))
		if s := e.Snapshot(); s.Pace.InFlight != 1 || s.Answered != (name != "not made") {
			t.Errorf("%s: %d in flight, answered %v", name, s.Pace.InFlight, s.Answered)
		}
		waited, refusal := unpaced.Wait(t.Context(), endpoint.Ask{})
		if refusal != nil || waited != (endpoint.Permit{}) {
			t.Errorf("%s: those without a pacer wait: %+v", name, refusal)
		}
		pacer.Settle(p, answer)
	}
}

// What is told reaches the pacer on every way, and holds for the next request.
func TestWhatIsToldIsHeard(t *testing.T) {
	for name, tell := range map[string]func(g endpoint.Guard, p endpoint.Permit, told *pace.Told){
		"with the first piece": func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) {
			g.Settle(g.Accept(p, told), answer)
		},
		"with an answer": func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) { g.Settle(p, with(answer, told)) },
		"at the end of an answer": func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) {
			g.Settle(g.Accept(p, nil), with(answer, told))
		},
		"with a failure":   func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) { g.Settle(p, with(passing, told)) },
		"with a refusal":   func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) { g.Settle(p, with(refused, told)) },
		"with an overload": func(g endpoint.Guard, p endpoint.Permit, told *pace.Told) { g.Settle(p, with(overloaded, told)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, _, pacer, _ := guardsOf(t, pace.Limits{MaxConcurrent: 5}, endpoint.Options{})
				tell(pacer, lend(t, pacer, endpoint.Ask{}), tenSeconds)
				if n := e.Snapshot().Pace.InFlight; n != 0 {
					t.Errorf("%d in flight", n)
				}
				_, refusal := pacer.Admit(endpoint.Ask{})
				if refusal == nil {
					t.Fatal("the next is admitted")
				}
				why, ok := errors.AsType[*pace.Error](refusal.Err)
				if !ok || refusal.Kind != failure.RateLimited || why.Why != pace.ToldTime || !refusal.Until.Equal(why.Until) || time.Until(refusal.Until) < 10*time.Second {
					t.Errorf("refused with %+v", refusal)
				}
			})
		})
	}
}

// A refusal is one by its effect or by its kind, whatever a table of the program's
// own makes of the other. Only refusals begin an episode; after a failure that
// passes there is neither an episode nor an answer.
func TestWhatIsARefusal(t *testing.T) {
	for _, c := range []struct {
		effect   failure.Effect
		kind     failure.Kind
		accepted bool // an answer had begun
		episodes uint64
		answers  uint64
	}{
		{effect: failure.Limit, kind: failure.Unknown, episodes: 1},
		{effect: failure.Count, kind: failure.RateLimited, episodes: 1},
		{effect: failure.Ignore, kind: failure.Overloaded, episodes: 1},
		{effect: failure.Count, kind: failure.Transient},
		{effect: failure.Trip, kind: failure.Unauthorized},
		{effect: failure.Ignore, kind: failure.InvalidRequest},
		{effect: failure.Healthy, kind: failure.InvalidRequest, answers: 1},
		{effect: failure.Limit, kind: failure.Unknown, accepted: true, episodes: 1, answers: 1},
		{effect: failure.Count, kind: failure.Transient, accepted: true, answers: 1},
	} {
		e, _, pacer, _ := guardsOf(t, pace.Limits{MaxConcurrent: 5}, endpoint.Options{})
		p := lend(t, pacer, endpoint.Ask{})
		if c.accepted {
			p = pacer.Accept(p, nil)
		}
		pacer.Settle(p, endpoint.Outcome{Effect: c.effect, Kind: c.kind, Err: errors.New("x")})
		if s := e.Snapshot().Pace; s.Episodes != c.episodes || s.Answers != c.answers {
			t.Errorf("%+v: %d episodes, %d answers", c, s.Episodes, s.Answers)
		}
	}
}

// A request may use 100 tokens of 6,000 a minute, 100 at once; what it has used
// in fact decides when the next goes.
func TestTokensThatAreUsedCount(t *testing.T) {
	for _, c := range []struct {
		want, used int64
		notMade    bool
		next       time.Duration // when a request of 100 tokens goes
	}{
		{want: 100, notMade: true, next: 0},
		{want: 100, used: 0, next: time.Second},
		{want: 100, used: 100, next: time.Second},
		{want: 100, used: 50, next: time.Second / 2},
		{want: 0, used: 200, next: 2 * time.Second},
		{want: 0, used: 0, next: 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, _, pacer, _ := guardsOf(t, pace.Limits{TokensPerMinute: 6000}, endpoint.Options{})
			ask := endpoint.Ask{Need: &endpoint.Need{Tokens: 100}}
			begun := time.Now()
			o := answer
			o.Report = &endpoint.Report{Used: endpoint.Amount{Tokens: c.used}}
			if c.notMade {
				o = notMade
			}
			pacer.Settle(lend(t, pacer, endpoint.Ask{Need: &endpoint.Need{Tokens: c.want}}), o)
			p, refusal := pacer.Wait(t.Context(), ask)
			if refusal != nil {
				t.Fatal(refusal.Err)
			}
			pacer.Settle(p, answer)
			if took := time.Since(begun); (took - c.next).Abs() > 50*time.Millisecond {
				t.Errorf("%+v: the next went after %v", c, took)
			}
		})
	}
}

// Five wait at an endpoint that was told to rest: clients take turns, and of one
// client what has begun goes before what is new.
func TestClientsTakeTurnsAtTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, pacer, _ := guardsOf(t, pace.Limits{MaxConcurrent: 1}, endpoint.Options{})
		first := lend(t, pacer, endpoint.Ask{})
		order := make(chan string, 5)
		for _, a := range []struct {
			name string
			ask  endpoint.Ask
		}{
			{"a1", endpoint.Ask{Client: "a"}},
			{"a2", endpoint.Ask{Client: "a"}},
			{"a3 again", endpoint.Ask{Client: "a", Again: true}},
			{"b1", endpoint.Ask{Client: "b"}},
		} {
			go func() {
				p, refusal := pacer.Wait(t.Context(), a.ask)
				if refusal != nil {
					t.Error(refusal.Err)
				}
				order <- a.name
				pacer.Settle(p, answer)
			}()
			synctest.Wait()
		}
		pacer.Settle(first, answer)
		synctest.Wait()
		var got []string
		for range 4 {
			got = append(got, <-order)
		}
		if want := "a3 again, b1, a1, a2"; strings.Join(got, ", ") != want {
			t.Errorf("served %v, want %s", got, want)
		}
	})
}

// A wait that ends without a turn says why.
func TestAWaitAtThePacerEndsWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, pacer, _ := guardsOf(t, pace.Limits{}, endpoint.Options{})
		pacer.Settle(lend(t, pacer, endpoint.Ask{}), with(refused, tenSeconds))

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, refusal := pacer.Wait(short, endpoint.Ask{})
		if refusal == nil || refusal.Kind != failure.RateLimited || time.Until(refusal.Until) < 10*time.Second || time.Until(refusal.Until) > 11*time.Second {
			t.Errorf("a deadline before the turn: %+v", refusal)
		}
		leaves, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		_, refusal = pacer.Wait(leaves, endpoint.Ask{})
		if refusal == nil || refusal.Kind != failure.RateLimited || !refusal.Until.IsZero() || !errors.Is(refusal.Err, context.Canceled) {
			t.Errorf("cancelled: %+v", refusal)
		}
		begun := time.Now()
		p, refusal := pacer.Wait(t.Context(), endpoint.Ask{})
		if refusal != nil || time.Since(begun) < 9*time.Second {
			t.Errorf("waited %v: %+v", time.Since(begun), refusal)
		}
		pacer.Settle(p, answer)
		if s := e.Snapshot().Pace; s.Queue != 0 || s.InFlight != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// One whose turn comes, or that leaves, while the endpoint is forced open gives
// back what it has, and no more.
func TestATurnThatComesWhileForcedOpenGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, pacer, _ := guardsOf(t, pace.Limits{MaxConcurrent: 1}, endpoint.Options{})
		first := lend(t, pacer, endpoint.Ask{})
		refusals := make(chan *endpoint.Refusal, 2)
		wait := func(ctx context.Context) {
			_, refusal := pacer.Wait(ctx, endpoint.Ask{})
			refusals <- refusal
		}
		leaves, leave := context.WithCancel(t.Context())
		go wait(t.Context())
		synctest.Wait()
		go wait(leaves)
		synctest.Wait()
		e.ForceOpen("maintenance")
		leave()
		if refusal := <-refusals; refusal == nil || !errors.Is(refusal.Err, context.Canceled) {
			t.Errorf("the one that left: %+v", refusal)
		}
		pacer.Settle(first, answer)
		if refusal := <-refusals; refusal == nil || refusal.Kind != failure.CircuitOpen {
			t.Errorf("the one with a turn: %+v", refusal)
		}
		if n := e.Snapshot().Pace.InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

// An endpoint that is forced open is closed to those without a circuit too, and
// says which and why.
func TestForcedOpenSaysWhy(t *testing.T) {
	for name, o := range map[string]endpoint.Options{"all": {}, "no circuit": {NoBreaker: true}, "no pacer": {NoPacer: true}} {
		e := registry(t, endpoint.Config{}).Get(key("m"))
		e.ForceOpen("maintenance until noon")
		_, refusal := e.Guards(o)[1].Admit(endpoint.Ask{})
		if refusal == nil || refusal.Kind != failure.CircuitOpen || !refusal.Until.IsZero() {
			t.Fatalf("%s: %+v", name, refusal)
		}
		got, ok := errors.AsType[*breaker.OpenError](refusal.Err)
		if !ok || got.Name != "m" || got.State != breaker.Open || got.Cause.Kind != "maintenance until noon" || !got.Forced {
			t.Errorf("%s: %v", name, refusal.Err)
		}
	}
}

// What each effect does to a circuit that is CLOSED, and to one that lets its first
// probe through.
func TestTheCircuitDoesAsTheEffectSays(t *testing.T) {
	for _, c := range []struct {
		effect   failure.Effect
		failures int
		closed   breaker.State // the state of one that was CLOSED
		probed   breaker.State // the state of one after its probe
		passed   int
		failed   bool
	}{
		{failure.Healthy, 0, breaker.Closed, breaker.HalfOpen, 1, false},
		{failure.Ignore, 0, breaker.Closed, breaker.HalfOpen, 0, false},
		{failure.Limit, 0, breaker.Closed, breaker.HalfOpen, 0, false},
		{failure.Count, 1, breaker.Closed, breaker.Open, 0, true},
		{failure.Trip, 0, breaker.Open, breaker.Open, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := endpoint.Outcome{Effect: c.effect, Kind: failure.Transient, Err: errors.New("x")}
			e, _, _, circuit := guardsOf(t, pace.Limits{}, endpoint.Options{})
			b := e.Circuit(endpoint.Options{})
			circuit.Settle(lend(t, circuit, endpoint.Ask{}), o)
			if s := b.Snapshot(); s.Failures != c.failures || s.State != c.closed || e.Failed() != c.failed {
				t.Errorf("%v: CLOSED became %+v, failed %v", c.effect, s, e.Failed())
			}
			b.Trip(breaker.Failure{AskedFor: time.Second})
			time.Sleep(time.Hour)
			circuit.Settle(lend(t, circuit, endpoint.Ask{}), o)
			if s := b.Snapshot(); s.State != c.probed || s.Passed != c.passed || s.Probes != 0 {
				t.Errorf("%v: a probe made %+v of it", c.effect, s)
			}
		})
	}
}

// What a circuit keeps of the failure that opened it: the kind, status and code,
// how long the provider asked to be left alone, and how long the request lasted.
func TestWhatTheCircuitKeepsOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, circuit := guardsOf(t, pace.Limits{}, endpoint.Options{})
		b := e.Circuit(endpoint.Options{})
		failed := &failure.Error{Kind: failure.Unauthorized, Status: 401, Code: "bad_key"}
		circuit.Settle(lend(t, circuit, endpoint.Ask{}), endpoint.Outcome{
			Effect: failure.Trip, Kind: failure.Unauthorized, Err: fmt.Errorf("call: %w", failed), Report: &endpoint.Report{Told: &pace.Told{Wait: 5 * time.Minute, HasWait: true}},
		})
		want := breaker.Cause{Kind: failure.Unauthorized.String(), Status: 401, Code: "bad_key"}
		if s := b.Snapshot(); s.Cause != want || s.RetryIn != 5*time.Minute {
			t.Errorf("kept %+v for %v", s.Cause, s.RetryIn)
		}
		b.Reset()
		circuit.Settle(lend(t, circuit, endpoint.Ask{}), endpoint.Outcome{
			Effect: failure.Trip, Kind: failure.Unauthorized, Err: (*failure.Error)(nil), Report: &endpoint.Report{Told: &pace.Told{Wait: 5 * time.Minute}},
		})
		if s := b.Snapshot(); s.Cause != (breaker.Cause{Kind: failure.Unauthorized.String()}) || s.RetryIn != time.Minute {
			t.Errorf("nothing is told: kept %+v for %v", s.Cause, s.RetryIn)
		}
	})
	synctest.Test(t, func(t *testing.T) { // five failures that lasted ten minutes each lie within fifty
		e, _, _, circuit := guardsOf(t, pace.Limits{}, endpoint.Options{})
		for range 5 {
			o := passing
			o.Report = &endpoint.Report{Lasted: 10 * time.Minute}
			circuit.Settle(lend(t, circuit, endpoint.Ask{}), o)
			time.Sleep(10 * time.Minute)
		}
		if b := e.Circuit(endpoint.Options{}); b.State() != breaker.HalfOpen {
			t.Errorf("%v after five failures that lasted long", b.State())
		}
	})
}

// A burst of refusals for want of capacity is one failure of a circuit with a
// pacer beside it, and as many as they are without.
func TestABurstOfOverloadIsOnePieceOfNews(t *testing.T) {
	burst := func(pacer, circuit endpoint.Guard) {
		var lent [3]endpoint.Permit
		for i := range lent {
			lent[i] = lend(t, pacer, endpoint.Ask{})
		}
		for _, p := range lent {
			pacer.Settle(p, overloaded)
			circuit.Settle(lend(t, circuit, endpoint.Ask{}), overloaded)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		e, _, pacer, circuit := guardsOf(t, pace.Limits{MaxConcurrent: 10}, endpoint.Options{})
		other := endpoint.Options{Breaker: breaker.Config{FailureThreshold: 9}}
		failures := func(o endpoint.Options) int { return e.Circuit(o).Snapshot().Failures }
		burst(pacer, circuit)
		if n := failures(endpoint.Options{}); n != 1 {
			t.Errorf("one burst of three: %d failures", n)
		}
		time.Sleep(10 * time.Second)
		burst(pacer, circuit)
		if n := failures(endpoint.Options{}); n != 2 {
			t.Errorf("a second burst: %d failures", n)
		}
		circuit.Settle(lend(t, circuit, endpoint.Ask{}), passing)
		if n := failures(endpoint.Options{}); n != 3 {
			t.Errorf("a failure of another kind: %d failures", n)
		}
		beside := e.Guards(other)[2] // counts episodes by itself
		beside.Settle(lend(t, beside, endpoint.Ask{}), overloaded)
		if n := failures(other); n != 1 {
			t.Errorf("a circuit of other settings: %d failures", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		o := endpoint.Options{NoPacer: true}
		e, _, pacer, circuit := guardsOf(t, pace.Limits{}, o)
		burst(pacer, circuit)
		if n := e.Circuit(o).Snapshot().Failures; n != 3 {
			t.Errorf("without a pacer: %d failures of three", n)
		}
	})
	b, err := breaker.New("alone", breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	alone := endpoint.Circuit(b)
	for range 3 {
		alone.Settle(lend(t, alone, endpoint.Ask{}), overloaded)
	}
	if n := b.Snapshot().Failures; n != 3 {
		t.Errorf("a circuit alone: %d failures of three", n)
	}
}

// The circuit's refusals say until when, and its waits end as they should.
func TestTheCircuitSaysUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, circuit := guardsOf(t, pace.Limits{}, endpoint.Options{})
		b := e.Circuit(endpoint.Options{})
		b.Trip(breaker.Failure{AskedFor: 30 * time.Second})
		if _, refusal := circuit.Admit(endpoint.Ask{}); refusal == nil || refusal.Kind != failure.CircuitOpen || time.Until(refusal.Until) != 30*time.Second {
			t.Errorf("OPEN: %+v", refusal)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, refusal := circuit.Wait(short, endpoint.Ask{}); refusal == nil || refusal.Kind != failure.CircuitOpen || time.Until(refusal.Until) != 30*time.Second {
			t.Errorf("a deadline before the probe: %+v", refusal)
		}
		begun := time.Now()
		probe, refusal := circuit.Wait(t.Context(), endpoint.Ask{})
		if refusal != nil || time.Since(begun) != 30*time.Second {
			t.Fatalf("waited %v: %+v", time.Since(begun), refusal)
		}
		// A probe may end at any moment: who comes meanwhile asks again now.
		if _, refusal := circuit.Admit(endpoint.Ask{}); refusal == nil || !refusal.Until.Equal(time.Now()) {
			t.Errorf("HALF_OPEN: %+v", refusal)
		}
		leaves, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if _, refusal := circuit.Wait(leaves, endpoint.Ask{}); refusal == nil || refusal.Kind != failure.CircuitOpen || !errors.Is(refusal.Err, context.Canceled) {
			t.Errorf("cancelled: %+v", refusal)
		}
		probe = circuit.Accept(probe, nil) // has passed: the place is free
		second := lend(t, circuit, endpoint.Ask{})
		circuit.Settle(probe, answer)
		if s := b.Snapshot(); s.Passed != 1 || s.Probes != 1 {
			t.Errorf("after one probe: %+v", s)
		}
		circuit.Settle(second, answer)
		if b.State() != breaker.Closed {
			t.Errorf("%v after two probes", b.State())
		}
		plain, refusal := circuit.Wait(t.Context(), endpoint.Ask{})
		if refusal != nil || plain.Ref != nil || circuit.Accept(plain, nil) != plain {
			t.Errorf("a request of a circuit that is CLOSED: %+v, %+v", plain, refusal)
		}
	})
}

// The budget gives one retry a second, and each success a half.
func TestAWaitForARetry(t *testing.T) {
	slow := endpoint.Budget{Saved: 1, PerSuccess: 0.5, PerSecond: 1}
	none := endpoint.Budget{Saved: 1, PerSuccess: 0.5, PerSecond: -1}
	for _, c := range []struct {
		name     string
		budget   endpoint.Budget
		retry    bool
		deadline time.Duration // 0: none
		cancel   time.Duration // 0: not
		took     time.Duration
		err      error // nil: a retry
	}{
		{name: "no retry", budget: slow},
		{name: "the next", budget: slow, retry: true, took: time.Second},
		{name: "in time", budget: slow, retry: true, deadline: time.Second + 1, took: time.Second},
		{name: "no time left for it", budget: slow, retry: true, deadline: time.Second, err: &endpoint.BudgetError{}},
		{name: "cancelled", budget: slow, retry: true, cancel: time.Second / 2, took: time.Second / 2, err: context.Canceled},
		{name: "time brings none", budget: none, retry: true, err: &endpoint.BudgetError{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := registry(t, endpoint.Config{Budget: c.budget}).Get(key("m"))
				budget := e.Guards(endpoint.Options{})[0]
				lend(t, budget, endpoint.Ask{Retry: true})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, cancel)
				}
				begun := time.Now()
				p, refusal := budget.Wait(ctx, endpoint.Ask{Retry: c.retry})
				if took := time.Since(begun); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				_, spent := c.err.(*endpoint.BudgetError)
				switch {
				case c.err == nil:
					if refusal != nil || p.N != map[bool]int64{true: 1}[c.retry] {
						t.Errorf("%+v, refused with %+v", p, refusal)
					}
				case refusal == nil || refusal.Kind != failure.RetryBudgetSpent:
					t.Errorf("refused with %+v", refusal)
				case spent:
					if got, ok := errors.AsType[*endpoint.BudgetError](refusal.Err); !ok || got.Key != key("m") || !got.Next.Equal(refusal.Until) {
						t.Errorf("refused with %v", refusal.Err)
					}
				case !errors.Is(refusal.Err, c.err):
					t.Errorf("refused with %v", refusal.Err)
				}
			})
		})
	}
}

package endpoint_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// Callers without a pacer leave nothing in the count of those with one.
func TestUnpacedRequestsAreNotTakenFromThoseInFlight(t *testing.T) {
	r := registry(t, endpoint.Config{})
	e := r.Get(key("m"))
	release, err := e.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, g := range e.Guards(endpoint.Options{NoPacer: true}) {
		for range 10 {
			p, refusal := g.Admit(endpoint.Ask{})
			if refusal != nil {
				t.Fatal(refusal.Err)
			}
			g.Settle(p, answer)
		}
	}
	if n := e.Snapshot().Pace.InFlight; n != 0 {
		t.Errorf("%d in flight", n)
	}
	pacer := e.Guards(endpoint.Options{})[1]
	if _, refusal := pacer.Admit(endpoint.Ask{}); refusal != nil {
		t.Fatal(refusal.Err)
	}
	if _, refusal := pacer.Admit(endpoint.Ask{}); refusal == nil {
		t.Error("two are in flight where one is allowed")
	}
}

// Those who wait for their turn as an operator forces the endpoint open are
// refused like all others, also those without a circuit.
func TestForcedOpenIsForThoseWhoWaitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := registry(t, endpoint.Config{}).Get(key("m"))
		guards := e.Guards(endpoint.Options{NoBreaker: true})
		pacer := guards[1]
		pacer.Settle(endpoint.Permit{}, endpoint.Outcome{
			Effect: failure.Limit, Kind: failure.RateLimited, Err: fmt.Errorf("429"), Report: &endpoint.Report{Told: &pace.Told{Wait: 10 * time.Second, HasWait: true}},
		})
		done := make(chan *endpoint.Refusal)
		go func() {
			p, refusal := pacer.Wait(context.Background(), endpoint.Ask{})
			if refusal == nil {
				pacer.Settle(p, endpoint.Outcome{})
			}
			done <- refusal
		}()
		time.Sleep(time.Second)
		e.ForceOpen("maintenance")
		if refusal := <-done; refusal == nil || refusal.Kind != failure.CircuitOpen {
			t.Errorf("refusal %+v", refusal)
		}
		if s := e.Snapshot().Pace; s.Queue != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// within fails the test if f takes long: it is deadlocked.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal(what + ": deadlock")
	}
}

// What a program is told by, and asked by, may ask back.
func TestHooksMayAskBack(t *testing.T) {
	var r *endpoint.Registry
	look := func(e *endpoint.Endpoint) {
		e.Snapshot()
		r.Get(e.Key())
		r.Get(key("another"))
		for range r.All() {
		}
		e.Circuit(endpoint.Options{})
	}
	r = registry(t, endpoint.Config{
		Max:           3,
		OnStateChange: func(e *endpoint.Endpoint, _ breaker.Transition) { look(e) },
	})
	e := r.Get(key("m"))
	e.Circuit(endpoint.Options{})
	within(t, "ForceOpen", func() { e.ForceOpen("x") })
	within(t, "ForceClosed", e.ForceClosed)
	within(t, "Reset", e.Reset)
	within(t, "a second circuit of a forced endpoint", func() {
		e.ForceOpen("x")
		e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 7}})
		e.Reset()
	})
	within(t, "an eviction", func() {
		o := endpoint.Options{Breaker: breaker.Config{RecoveryTimeout: time.Nanosecond, FailureThreshold: 1}}
		for i := range 10 {
			bad := r.Get(key(fmt.Sprint(i)))
			b := bad.Circuit(o)
			p, _ := b.Enter()
			b.Leave(p, breaker.Failed, breaker.Failure{})
		}
	})
}

func TestLimitsMayAskBack(t *testing.T) {
	var r *endpoint.Registry
	asked := false
	r = registry(t, endpoint.Config{Limits: func(k endpoint.Key) pace.Limits {
		if asked {
			for e := range r.All() {
				e.Snapshot()
			}
		}
		return pace.Limits{MaxConcurrent: 3}
	}})
	e := r.Get(key("m"))
	asked = true
	within(t, "Limit", func() {
		release, err := e.Limit(pace.Limits{MaxConcurrent: 2}, endpoint.Budget{})
		if err != nil {
			t.Error(err)
		}
		release()
	})
	runtime.KeepAlive(e)
}

// A limit of NaN is none, and nothing is kept of it.
func TestALimitOfNaNIsNone(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	for range 3 {
		release, err := e.Limit(pace.Limits{RequestsPerMinute: math.NaN(), MaxConcurrent: 1}, endpoint.Budget{})
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	if got := e.Snapshot().Pace; got.Limits != (pace.Limits{}) {
		t.Errorf("%+v is left", got.Limits)
	}
}

// A client that lives for one call configures a limit for as long: calls in a row
// are held to it like calls of one client.
func TestALimitOutlivesItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := registry(t, endpoint.Config{}).Get(key("m"))
		pacer := e.Guards(endpoint.Options{})[1]
		start := time.Now()
		for range 10 {
			release, err := e.Limit(pace.Limits{RequestsPerMinute: 60}, endpoint.Budget{})
			if err != nil {
				t.Fatal(err)
			}
			p, refusal := pacer.Admit(endpoint.Ask{})
			if refusal != nil {
				if p, refusal = pacer.Wait(t.Context(), endpoint.Ask{}); refusal != nil {
					t.Fatal(refusal.Err)
				}
			}
			pacer.Settle(p, answer)
			release()
		}
		if took := time.Since(start); took < 8*time.Second {
			t.Errorf("ten requests in %v, where 60 a minute are allowed", took)
		}
	})
}

// Endpoints with a configured limit that are idle make room for others.
func TestAnIdleEndpointWithALimitMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, endpoint.Config{Max: 2, Limits: func(endpoint.Key) pace.Limits { return pace.Limits{RequestsPerMinute: 600} }})
		for i := range 5 {
			request(r.Get(key(fmt.Sprint(i))), answer)
			time.Sleep(time.Hour)
			runtime.GC()
		}
		time.Sleep(time.Hour)
		last := r.Get(key("4"))
		at := last.Snapshot().Made
		time.Sleep(time.Second)
		last = nil
		runtime.GC()
		runtime.GC()
		if got := r.Get(key("4")).Snapshot().Made; !got.Equal(at) {
			t.Error("the newest was not kept, the two that nobody has asked for since hours were")
		}
	})
}

// More than sixteen configurations: a circuit that was made room of is not forced
// for ever.
func TestACircuitThatMadeRoomIsNotForcedForEver(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	first := e.Circuit(endpoint.Options{})
	e.ForceOpen("maintenance")
	for i := range 20 {
		e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 100 + i}})
	}
	e.Reset()
	if _, refusal := first.Enter(); refusal != nil {
		t.Errorf("after Reset: %v", refusal)
	}
}

// A budget that gives one retry in an age.
func TestABudgetOfAnAgeSaysWhen(t *testing.T) {
	e := registry(t, endpoint.Config{Budget: endpoint.Budget{Saved: 1, PerSuccess: -1, PerSecond: 1e-15}}).Get(key("m"))
	g := e.Guards(endpoint.Options{})[0]
	g.Admit(endpoint.Ask{Retry: true})
	if _, refusal := g.Admit(endpoint.Ask{Retry: true}); refusal == nil || refusal.Until.Before(time.Now()) {
		t.Errorf("%+v", refusal)
	}
}

// A circuit that made room for another is not given to new callers: nobody could
// reset it.
func TestNewCallersGetACircuitThatCanBeReset(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	first := e.Circuit(endpoint.Options{})
	for i := range 16 {
		e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 100 + i}})
	}
	first.Trip(breaker.Failure{AskedFor: time.Hour})
	if b := e.Circuit(endpoint.Options{}); b == first {
		t.Error("a new caller got the circuit that made room")
	} else if _, refusal := b.Enter(); refusal != nil {
		t.Errorf("a new circuit: %v", refusal)
	}
}

// A hook that wraps guards may ask the endpoint back.
func TestAGuardsHookMayAskBack(t *testing.T) {
	other := endpoint.Options{Breaker: breaker.Config{FailureThreshold: 9}}
	r := registry(t, endpoint.Config{Guards: func(e *endpoint.Endpoint, g []endpoint.Guard) []endpoint.Guard {
		if len(e.Snapshot().Circuits) < 2 {
			e.Circuit(other)
		}
		return g
	}})
	e := r.Get(key("m"))
	done := make(chan struct{})
	go func() { e.Guards(endpoint.Options{}); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

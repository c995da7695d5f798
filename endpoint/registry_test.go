package endpoint_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func registry(t testing.TB, c endpoint.Config) *endpoint.Registry {
	t.Helper()
	r, err := endpoint.NewRegistry(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func key(name string) endpoint.Key { return endpoint.Key{Model: name} }

// request asks all guards of an endpoint for one request, and settles it.
func request(e *endpoint.Endpoint, o endpoint.Outcome) *endpoint.Refusal {
	guards := e.Guards(endpoint.Options{})
	permits := make([]endpoint.Permit, len(guards))
	for i, g := range guards {
		p, refusal := g.Admit(endpoint.Ask{})
		if refusal != nil {
			for j := range i {
				guards[j].Settle(permits[j], endpoint.Outcome{})
			}
			return refusal
		}
		permits[i] = p
	}
	for i, g := range guards {
		g.Settle(permits[i], o)
	}
	return nil
}

var (
	answer = endpoint.Outcome{Effect: failure.Healthy}
	badKey = endpoint.Outcome{Effect: failure.Trip, Kind: failure.Unauthorized, Err: &failure.Error{Kind: failure.Unauthorized, Status: 401}}
)

// A thousand keys that were never good, each tripped for ten minutes, in a
// registry of fifty; ten endpoints have answered before.
func TestHostileKeysPushNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, endpoint.Config{Max: 50})
		for i := range 10 {
			e := r.Get(key(fmt.Sprint("good", i)))
			request(e, answer)
			e.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Hour}) // so that it can be told from a new one
		}
		for i := range 1000 {
			e := r.Get(endpoint.Key{Model: "m", Credential: uint64(i + 1)})
			if refusal := request(e, badKey); refusal != nil {
				t.Fatal(refusal.Err)
			}
			if e.Circuit(endpoint.Options{}).State() != breaker.Open {
				t.Fatal("a bad key trips")
			}
		}
		runtime.GC()
		if n := r.Len(); n > 50 {
			t.Errorf("%d endpoints are kept", n)
		}
		for i := range 10 {
			e := r.Get(key(fmt.Sprint("good", i)))
			if !e.Snapshot().Answered || e.Circuit(endpoint.Options{}).State() != breaker.Open {
				t.Errorf("endpoint %d, which had answered, was pushed out", i)
			}
		}
	})
}

// Where all that are kept have answered, a new key gets an endpoint that lives as
// long as somebody holds it; once it answers it is kept, and one that nobody asks
// for goes.
func TestANewcomerIsKeptOnceItAnswers(t *testing.T) {
	r := registry(t, endpoint.Config{Max: 4})
	for i := range 4 {
		request(r.Get(key(fmt.Sprint(i))), answer)
	}
	newcomer := r.Get(key("new"))
	if r.Get(key("new")) != newcomer {
		t.Fatal("two callers at the same time have two endpoints")
	}
	request(newcomer, answer)
	runtime.GC()
	if r.Len() != 4 || r.Get(key("new")) != newcomer {
		t.Errorf("%d are kept; the one that answered is not among them", r.Len())
	}
}

func TestWhatIsHeldIsFoundAgain(t *testing.T) {
	r := registry(t, endpoint.Config{Max: 2})
	held := r.Get(key("held"))
	for i := range 100 {
		r.Get(key(fmt.Sprint(i)))
	}
	runtime.GC()
	if r.Get(key("held")) != held {
		t.Error("a client's endpoint is another now")
	}
	runtime.KeepAlive(held)
}

func TestForcedEndpointsStay(t *testing.T) {
	for name, force := range map[string]func(*endpoint.Endpoint){
		"open":   func(e *endpoint.Endpoint) { e.ForceOpen("maintenance") },
		"closed": func(e *endpoint.Endpoint) { e.ForceClosed() },
	} {
		r := registry(t, endpoint.Config{Max: 2})
		force(r.Get(key("forced")))
		for i := range 100 {
			r.Get(key(fmt.Sprint(i)))
		}
		runtime.GC()
		e := r.Get(key("forced"))
		refusal := request(e, badKey)
		open := refusal != nil && refusal.Kind == failure.CircuitOpen
		if open != (name == "open") {
			t.Errorf("forced %s: refusal %+v", name, refusal)
		}
		e.Reset()
		if refusal := request(e, answer); refusal != nil {
			t.Errorf("reset: %v", refusal.Err)
		}
	}
}

func TestEndpointsThatNobodyHoldsAreForgotten(t *testing.T) {
	r := registry(t, endpoint.Config{Max: 10})
	for i := range 10_000 {
		r.Get(key(fmt.Sprint(i)))
	}
	for range 100 {
		runtime.GC()
		n := 0
		for range r.All() {
			n++
		}
		if n <= 10 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("more than ten are still there")
}

func TestCallersWithOtherSettingsHaveAnotherCircuitOfTheSameEndpoint(t *testing.T) {
	r := registry(t, endpoint.Config{})
	e := r.Get(key("m"))
	a := e.Circuit(endpoint.Options{})
	same := e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: breaker.DefaultFailureThreshold}})
	other := e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 2}})
	if a != same || a == other || e.Circuit(endpoint.Options{NoBreaker: true}) != nil {
		t.Error("circuits are shared by their settings")
	}
	for i := range 100 {
		e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 10 + i}})
	}
	if n := len(e.Snapshot().Circuits); n > 16 {
		t.Errorf("%d circuits of one endpoint", n)
	}
}

func TestTheTighterLimitHolds(t *testing.T) {
	r := registry(t, endpoint.Config{Limits: func(endpoint.Key) pace.Limits { return pace.Limits{MaxConcurrent: 10} }})
	e := r.Get(key("m"))
	a, err := e.Limit(pace.Limits{MaxConcurrent: 3, RequestsPerMinute: 100}, endpoint.Budget{Saved: 5})
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Limit(pace.Limits{MaxConcurrent: 20, RequestsPerMinute: 50}, endpoint.Budget{Saved: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Snapshot().Pace.Limits, (pace.Limits{MaxConcurrent: 3, RequestsPerMinute: 50}); got != want {
		t.Errorf("both: %+v, want %+v", got, want)
	}
	a()
	a()
	if got, want := e.Snapshot().Pace.Limits, (pace.Limits{MaxConcurrent: 10, RequestsPerMinute: 50}); got != want {
		t.Errorf("after one has left: %+v, want %+v", got, want)
	}
	b()
	if got, want := e.Snapshot().Pace.Limits, (pace.Limits{MaxConcurrent: 10}); got != want {
		t.Errorf("after both have left: %+v, want %+v", got, want)
	}
}

func TestImpossibleSettingsAreRefused(t *testing.T) {
	for _, c := range []endpoint.Config{
		{Max: -1}, {Budget: endpoint.Budget{Saved: -1}}, {Budget: endpoint.Budget{Saved: 0.5}}, {Budget: endpoint.Budget{PerSuccess: 2}},
		{Budget: endpoint.Budget{PerSecond: 1e9}},
	} {
		if _, err := endpoint.NewRegistry(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

func TestManyCallersOfOneKeyShareOneEndpoint(t *testing.T) {
	r := registry(t, endpoint.Config{})
	var wg sync.WaitGroup
	got := make([]*endpoint.Endpoint, 64)
	for i := range got {
		wg.Go(func() { got[i] = r.Get(key("m")) })
	}
	wg.Wait()
	for _, e := range got {
		if e != got[0] {
			t.Fatal("two endpoints of one key")
		}
	}
}

// A registry that nobody has any more is collected with the endpoints that it keeps.
func TestARegistryIsCollected(t *testing.T) {
	r := registry(t, endpoint.Config{})
	r.Get(key("m"))
	gone := weak.Make(r)
	for range 10 {
		runtime.GC()
		if gone.Value() == nil {
			return
		}
	}
	t.Error("it is kept")
}

func BenchmarkANewKeyInAFullRegistry(b *testing.B) {
	r := registry(b, endpoint.Config{Max: 10_000})
	for i := range 10_000 {
		request(r.Get(endpoint.Key{Model: "m", Credential: uint64(i + 1)}), badKey)
	}
	i := 20_000
	b.ReportAllocs()
	for b.Loop() {
		i++
		request(r.Get(endpoint.Key{Model: "m", Credential: uint64(i)}), badKey)
	}
}

func BenchmarkGet(b *testing.B) {
	r := registry(b, endpoint.Config{})
	keys := make([]endpoint.Key, 10_000)
	for i := range keys {
		keys[i] = endpoint.Key{Model: "openai/gpt-6-luna", Address: "https://api.openai.com/v1", Credential: uint64(i + 1)}
		r.Get(keys[i])
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 1) % len(keys)
		r.Get(keys[i])
	}
}

package endpoint_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
)

// A caller's Options say which guards are asked, and in which order.
func TestGuardsAreThoseOfTheOptions(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	for _, c := range []struct {
		o    endpoint.Options
		want string
	}{
		{endpoint.Options{}, "budget pacer circuit"},
		{endpoint.Options{NoBudget: true}, "pacer circuit"},
		{endpoint.Options{NoBreaker: true}, "budget pacer"},
		{endpoint.Options{NoPacer: true}, "budget pacer circuit"}, // which only listens
		{endpoint.Options{NoBudget: true, NoBreaker: true}, "pacer"},
		{endpoint.Options{Breaker: breaker.Config{FailureThreshold: -1}}, "budget pacer"}, // an impossible one
	} {
		names := map[string]string{"*endpoint.budgetGuard": "budget", "*endpoint.paceGuard": "pacer", "*endpoint.circuitGuard": "circuit"}
		got := ""
		for i, g := range e.Guards(c.o) {
			if i > 0 {
				got += " "
			}
			got += names[fmt.Sprintf("%T", g)]
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
		if circuit := e.Circuit(c.o); (circuit == nil) != (c.want == "budget pacer" || c.want == "pacer") {
			t.Errorf("%+v: a circuit %v", c.o, circuit != nil)
		}
	}
}

// Guards are the same slice for the same Options, for the 32 that were made last,
// and what one caller appends is not what another one sees.
func TestGuardsAreMadeOnce(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	options := func(i int) endpoint.Options {
		return endpoint.Options{NoBreaker: true, Breaker: breaker.Config{FailureThreshold: i + 1}}
	}
	var made [33]*endpoint.Guard
	for i := range made {
		made[i] = &e.Guards(options(i))[0]
		if &e.Guards(options(i))[0] != made[i] {
			t.Fatalf("options %d: two slices", i)
		}
	}
	for i := 1; i < len(made); i++ {
		if &e.Guards(options(i))[0] != made[i] {
			t.Errorf("options %d were made again", i)
		}
	}
	if &e.Guards(options(0))[0] == made[0] {
		t.Error("the oldest is kept")
	}
	guards := e.Guards(endpoint.Options{})
	a, b := append(guards, guards[0]), append(guards, guards[1])
	if a[3] != guards[0] || b[3] != guards[1] {
		t.Error("what one appends is in the slice of another")
	}
}

func TestAProgramWrapsTheGuards(t *testing.T) {
	made := 0
	var own endpoint.Guard
	r := registry(t, endpoint.Config{Guards: func(e *endpoint.Endpoint, guards []endpoint.Guard) []endpoint.Guard {
		made++
		own = guards[0]
		return append(guards, guards[0])
	}})
	e := r.Get(key("m"))
	for range 2 {
		if g := e.Guards(endpoint.Options{}); len(g) != 4 || g[3] != own {
			t.Errorf("%d guards", len(g))
		}
	}
	if made != 1 {
		t.Errorf("made %d times for one endpoint and its options", made)
	}
}

// The sixteenth circuit of other settings has room; a further one takes that of
// the first, which stays as it is for those who hold it.
func TestACircuitThatMadeRoomStaysAsItIs(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	first := e.Circuit(endpoint.Options{})
	first.Trip(breaker.Failure{AskedFor: time.Hour})
	for i := range 16 {
		s := e.Snapshot()
		if n := len(s.Circuits); n != i+1 || len(s.Recent) != n {
			t.Errorf("%d circuits and the recent failures of %d, want %d", n, len(s.Recent), i+1)
		}
		if got, want := s.Recent[i].Config.FailureThreshold, 100+i-1; i > 0 && got != want {
			t.Errorf("circuit %d has the threshold %d, want %d", i, got, want)
		}
		e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 100 + i}})
	}
	if n := len(e.Snapshot().Circuits); n != 16 || first.State() != breaker.Open {
		t.Errorf("%d circuits, the first is %v", n, first.State())
	}
}

// What a program is told of: each change of a circuit, and none of a circuit that
// is made as an endpoint is forced already.
func TestChangesOfStateAreTold(t *testing.T) {
	var told []string
	r := registry(t, endpoint.Config{OnStateChange: func(e *endpoint.Endpoint, tr breaker.Transition) {
		told = append(told, fmt.Sprintf("%v %v>%v", e.Key(), tr.From, tr.To))
	}})
	e := r.Get(key("m"))
	e.Circuit(endpoint.Options{}).Trip(breaker.Failure{})
	e.Reset()
	e.ForceOpen("x")
	late := e.Circuit(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 7}})
	if _, refusal := late.Enter(); refusal == nil || refusal.Cause.Kind != "x" {
		t.Errorf("a circuit that is made of a forced endpoint: %v", refusal)
	}
	if got, want := fmt.Sprint(told), "[m CLOSED>OPEN m OPEN>CLOSED m CLOSED>OPEN]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// Forced closed, an endpoint counts nothing; reset, all is as new.
func TestForcedClosedAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := registry(t, endpoint.Config{}).Get(key("m"))
		e.ForceClosed()
		for range 2 {
			if refusal := request(e, badKey); refusal != nil {
				t.Fatal(refusal.Err)
			}
		}
		e.Reset()
		budget := e.Guards(endpoint.Options{})[0]
		lend(t, budget, endpoint.Ask{Retry: true})
		request(e, with(refused, tenSeconds))
		if refusal := request(e, answer); refusal == nil {
			t.Fatal("what was told does not hold")
		}
		e.Circuit(endpoint.Options{}).Trip(breaker.Failure{})
		e.Reset()
		if refusal := request(e, answer); refusal != nil {
			t.Error(refusal.Err)
		}
		s := e.Snapshot()
		if s.Retries != 100 || s.Circuits[0].State != breaker.Closed || !s.Pace.Until.IsZero() {
			t.Errorf("after Reset: %+v", s)
		}
	})
}

// Zero values configure nothing; an impossible budget is an error, and nothing is
// configured.
func TestWhatAClientConfigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := registry(t, endpoint.Config{Budget: endpoint.Budget{Saved: 500}}).Get(key("m"))
		limit := func(l pace.Limits, b endpoint.Budget) func() {
			t.Helper()
			release, err := e.Limit(l, b)
			if err != nil {
				t.Fatal(err)
			}
			return release
		}
		retries := func(when string, want float64) {
			t.Helper()
			if got := e.Snapshot().Retries; got != want {
				t.Errorf("%s: %v retries, want %v", when, got, want)
			}
		}
		for i := range 10 {
			limit(pace.Limits{MaxConcurrent: 10 + i}, endpoint.Budget{})
		}
		limit(pace.Limits{}, endpoint.Budget{})
		retries("limits alone", 500)
		release := limit(pace.Limits{}, endpoint.Budget{Saved: 5})
		retries("a budget among limits", 5)
		release()
		time.Sleep(time.Hour)
		retries("after it was taken back", 500)
		if release, err := e.Limit(pace.Limits{MaxConcurrent: 1}, endpoint.Budget{Saved: 0.5}); err == nil {
			t.Error("half a retry can't be saved")
		} else {
			release()
		}
		if got := e.Snapshot().Pace.Limits.MaxConcurrent; got != 10 {
			t.Errorf("at most %d in flight", got)
		}
	})
}

// Of two budgets the tighter holds, in each of its numbers.
func TestTheTighterBudgetHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := registry(t, endpoint.Config{}).Get(key("m"))
		for _, b := range []endpoint.Budget{{Saved: 10, PerSuccess: 0.1, PerSecond: 2}, {Saved: 20, PerSuccess: 1, PerSecond: 0.5}} {
			if _, err := e.Limit(pace.Limits{}, b); err != nil {
				t.Fatal(err)
			}
		}
		budget := e.Guards(endpoint.Options{})[0]
		left := func(when string, want float64) {
			t.Helper()
			if got := e.Snapshot().Retries; got != want {
				t.Errorf("%s: %v retries, want %v", when, got, want)
			}
		}
		left("at first", 10)
		for range 10 {
			lend(t, budget, endpoint.Ask{Retry: true})
		}
		left("all are taken", 0)
		budget.Settle(endpoint.Permit{}, answer)
		left("a success", 0.1)
		time.Sleep(time.Second)
		left("a second", 0.6)
		time.Sleep(time.Hour)
		left("an hour", 10)
	})
}

// One word for none, so that budgets compare; 0 is the default.
func TestFilledBudgets(t *testing.T) {
	for _, c := range []struct{ given, want endpoint.Budget }{
		{endpoint.Budget{}, endpoint.Budget{Saved: 100, PerSuccess: 0.2, PerSecond: 1}},
		{endpoint.Budget{PerSuccess: -7, PerSecond: -0.5}, endpoint.Budget{Saved: 100, PerSuccess: -1, PerSecond: -1}},
		{endpoint.Budget{Saved: 1, PerSuccess: 1, PerSecond: 1000}, endpoint.Budget{Saved: 1, PerSuccess: 1, PerSecond: 1000}},
		{endpoint.Budget{Saved: 1e6, PerSuccess: 1e-9, PerSecond: 1e-9}, endpoint.Budget{Saved: 1e6, PerSuccess: 1e-9, PerSecond: 1e-9}},
	} {
		if got, err := c.given.Filled(); err != nil || got != c.want {
			t.Errorf("%+v became %+v, %v", c.given, got, err)
		}
	}
}

// Progress is an answer since a mark, or of the last ten seconds; AnsweredSince is
// only the former.
func TestProgressOfAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _, _ := guardsOf(t, pace.Limits{MaxConcurrent: 9}, endpoint.Options{}) // a free one reads no clock
		check := func(when string, mark uint64, progress, since bool) {
			t.Helper()
			if e.Progress(mark) != progress || e.AnsweredSince(mark) != since {
				t.Errorf("%s: progress %v, answered since %v", when, e.Progress(mark), e.AnsweredSince(mark))
			}
		}
		mark := e.Mark()
		check("new", mark, false, false)
		request(e, refused)
		check("refused", mark, false, false)
		time.Sleep(time.Minute)
		request(e, answer)
		check("answered", mark, true, true)
		mark = e.Mark()
		check("just answered", mark, true, false)
		time.Sleep(11 * time.Second)
		check("answered long ago", mark, false, false)
	})
}

func TestASnapshotSaysWhenItWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		e := registry(t, endpoint.Config{}).Get(key("m"))
		made := time.Now()
		time.Sleep(time.Hour)
		if s := e.Snapshot(); s.Key != key("m") || s.Answered || !s.Made.Equal(made) {
			t.Errorf("%+v", s)
		}
	})
}

type model struct{ name string }

func (m model) Name() string { return m.name }
func (model) Complete(context.Context, *llm.Request) (*llm.Response, error) {
	return nil, context.Canceled
}

type keyed struct{ model }

func (keyed) EndpointKey() endpoint.Key { return endpoint.Key{Name: "of its own"} }

func TestKeysOfModels(t *testing.T) {
	if got := endpoint.KeyOf(model{"a/b"}); got != (endpoint.Key{Model: "a/b"}) {
		t.Errorf("by its name: %+v", got)
	}
	if got := endpoint.KeyOf(keyed{model{"a/b"}}); got != (endpoint.Key{Name: "of its own"}) {
		t.Errorf("by its method: %+v", got)
	}
	for _, c := range []struct {
		key  endpoint.Key
		want string
	}{
		{endpoint.Key{}, ""},
		{endpoint.Key{Name: "n", Model: "m", Address: "a", Credential: 1}, "n"},
		{endpoint.Key{Model: "m"}, "m"},
		{endpoint.Key{Model: "m", Address: "https://a"}, "m at https://a"},
		{endpoint.Key{Model: "m", Credential: 0x12345}, "m #2345"},
		{endpoint.Key{Model: "m", Address: "https://a", Credential: 0x70001}, "m at https://a #0001"},
		{endpoint.Key{Address: "https://a"}, "at https://a"},
	} {
		if got := c.key.String(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.key, got, c.want)
		}
	}
}

type listener struct{ heard []string }

func (l *listener) Again() bool    { l.heard = append(l.heard, "again"); return false }
func (l *listener) Noted(n string) { l.heard = append(l.heard, "noted "+n) }
func (l *listener) Accepted(told *pace.Told) {
	l.heard = append(l.heard, fmt.Sprint("accepted ", told))
}
func (l *listener) Told(told *pace.Told) { l.heard = append(l.heard, fmt.Sprint("told ", told)) }

// What an adapter says is heard by the call that its context belongs to, and with
// none by nobody.
func TestWhatAdaptersSayIsHeard(t *testing.T) {
	l := &listener{}
	for _, ctx := range []context.Context{t.Context(), endpoint.Listen(t.Context(), l)} {
		endpoint.Told(ctx, nil)
		endpoint.Told(ctx, tenSeconds)
		endpoint.Accepted(ctx, nil)
		endpoint.Accepted(ctx, tenSeconds)
		endpoint.Noted(ctx, "a hint")
		if got, none := endpoint.Again(ctx), ctx == t.Context(); got != none {
			t.Errorf("again: %v", got)
		}
	}
	told := fmt.Sprint(tenSeconds)
	if got, want := fmt.Sprintf("%q", l.heard), fmt.Sprintf("%q", []string{"told " + told, "accepted <nil>", "accepted " + told, "noted a hint", "again"}); got != want {
		t.Errorf("heard %s, want %s", got, want)
	}
}

// The chance of a pacer is the registry's: how much later than told the first turn
// comes.
func TestTheChanceIsTheRegistrys(t *testing.T) {
	for bits, later := range map[uint64]time.Duration{0: 0, 1 << 63: time.Second / 2, 1 << 62: time.Second / 4} {
		synctest.Test(t, func(t *testing.T) {
			e := registry(t, endpoint.Config{Rand: func() uint64 { return bits }}).Get(key("m"))
			request(e, with(refused, tenSeconds))
			refusal := request(e, answer)
			if refusal == nil || time.Until(refusal.Until) != 10*time.Second+later {
				t.Errorf("%x: %+v", bits, refusal)
			}
		})
	}
}

// A failure of the provider is one from which on it matters how long requests last.
func TestAnEndpointHasFailed(t *testing.T) {
	e := registry(t, endpoint.Config{}).Get(key("m"))
	for _, o := range []endpoint.Outcome{answer, ignored, refused, {Effect: failure.Trip, Err: context.Canceled}} {
		request(e, o)
		if e.Failed() {
			t.Errorf("%+v is a failure", o)
		}
		e.Reset()
	}
	request(e, passing)
	if !e.Failed() {
		t.Error("a failure is none")
	}
}

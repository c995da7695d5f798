// Package soak runs many calls at once through a provider that fails in every
// way it knows, with the provider's official SDK, over real HTTP on loopback.
package soak_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/openai"
	"llmcall/validate"
	"llmcall/validate/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "sk-soak-very-secret"

// size is how much there is to do, and how long it may take.
type size struct {
	calls, atATime int
	attempt        time.Duration // the limit of an attempt
	whole          time.Duration // of a call
	late           time.Duration // how long after its end a call may return, on a machine with more to do than it can

	// generations is how often the four models that are in use are replaced by
	// others: one that was told to come back in an hour is of no more use. Two are
	// one model, each with two tenants' keys.
	generations int
	// What the provider allows each key and model.
	perMinute, burst int
	hint             chaos.Hint
}

var sizes = map[string]size{
	"":     {1_000, 200, time.Second, 5 * time.Second, 10 * time.Second, 25, 6_000, 10, chaos.HintNone},
	"full": {50_000, 2_000, 4 * time.Second, 20 * time.Second, 10 * time.Second, 20, 12_000, 50, chaos.HintExact},
	"race": {5_000, 500, 4 * time.Second, 20 * time.Second, 10 * time.Second, 20, 3_000, 10, chaos.HintSeconds},
}

// TestEveryCallEndsAndNothingIsLeft makes 1,000 calls, 200 at a time; at full
// size 50,000, 2,000 at a time, and with the race detector a tenth of that:
//
//	LLMCALL_SOAK=full go test -run TestEveryCallEndsAndNothingIsLeft -v -timeout 20m ./soak
//	LLMCALL_SOAK=race go test -run TestEveryCallEndsAndNothingIsLeft -v -timeout 20m -race ./soak
//
// The provider has limits; its callers are tenants with a key each, and some of
// the answers are judged by the model that gave them, with the same endpoint.
//
// Each call ends with an answer that fits its schema or an error that says why
// not, within its time. Afterwards no goroutine, connection, response body,
// probe's place, request in flight or place in a queue is left, the budgets are
// within their bounds, and the heap is where it was.
func TestEveryCallEndsAndNothingIsLeft(t *testing.T) {
	n, ok := sizes[os.Getenv("LLMCALL_SOAK")]
	if !ok {
		t.Fatalf("LLMCALL_SOAK is %q: takes one of %q", os.Getenv("LLMCALL_SOAK"), slices.Sorted(maps.Keys(sizes)))
	}
	switch room := openFiles()/2 - 100; { // each connection has both its ends here
	case room < 20:
		t.Skipf("this process may open only %d files", openFiles())
	case n.atATime > room:
		t.Logf("only %d calls at a time: this process may open no more files", room)
		n.atATime = room
	}
	before := runtime.NumGoroutine()
	s := newSoak(t, n)
	w := watchProcess()
	start := time.Now()
	s.run(n.calls / 5) // then the pools are as full as they get
	base := s.live()
	s.run(n.calls)
	took := time.Since(start)
	w.stop()
	s.report(t)

	stillOpen := s.bodies.open.Load()
	connections := s.provider.open.Load()
	s.transport.CloseIdleConnections()
	closed := settles(func() bool { return s.provider.open.Load() == 0 })
	left := s.provider.open.Load()
	after := s.live()
	if err := s.provider.stop(); err != nil {
		t.Errorf("the server does not end: %v", err)
	}
	settles(func() bool { return runtime.NumGoroutine() <= before })
	t.Logf("%d calls, %d at a time, in %v: %.0f calls/s, %.0f requests/s",
		n.calls, n.atATime, took.Round(time.Millisecond), float64(n.calls)/took.Seconds(), float64(s.bodies.sent.Load())/took.Seconds())
	t.Logf("longest call %v of %v allowed; latest %v after its end: %s",
		s.longest.Round(time.Millisecond), n.whole, s.latest.Round(time.Millisecond), s.latestCall)
	t.Logf("longest time that the process stood still: %v", w.stall.Round(time.Millisecond))
	t.Logf("heap: %s at its peak; live: %s after a fifth of the calls, %s at the end", mib(w.peak), mib(base), mib(after))
	t.Logf("goroutines: %d before, %d afterwards", before, runtime.NumGoroutine())
	t.Logf("connections: at most %d, %d at the end, %d once the idle ones were closed", s.provider.most.Load(), connections, left)

	if err := goleak.Find(); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
	if s.latest > n.late+w.stall {
		t.Errorf("a call went on for %v after its end", s.latest)
	}
	if stillOpen != 0 {
		t.Errorf("%d bodies of responses were not closed", stillOpen)
	}
	if !closed {
		t.Errorf("%d connections are left", left)
	}
	s.look(t)
	if grown := after - base; grown > 4<<20 {
		t.Errorf("%s more are in use than after a fifth of the calls", mib(grown))
	}
}

// look looks at what is left behind at the endpoints.
func (s *soak) look(t *testing.T) {
	episodes, openings, seen := uint64(0), uint64(0), 0
	for e := range s.endpoints.All() {
		x := e.Snapshot()
		seen++
		episodes += x.Pace.Episodes
		if x.Pace.InFlight != 0 || x.Pace.Queue != 0 {
			t.Errorf("%v: %d requests are in flight and %d wait", x.Key, x.Pace.InFlight, x.Pace.Queue)
		}
		if x.Retries < 0 || x.Retries > budget.Saved {
			t.Errorf("%v: the budget has %v retries", x.Key, x.Retries)
		}
		for _, c := range x.Circuits {
			openings += c.Generation
			if c.Probes != 0 || c.Waiting != 0 {
				t.Errorf("%v: a probe's place is still taken, or waited for: %+v", x.Key, c)
			}
		}
	}
	t.Logf("%d endpoints: %d episodes of refusals, %d changes of a circuit's state", seen, episodes, openings)
	if seen != len(s.models) || episodes == 0 || openings == 0 {
		t.Errorf("%d endpoints, want %d, with limits and circuits in use", seen, len(s.models))
	}
}

// soak is one run.
type soak struct {
	size
	provider  *provider
	bodies    *bodies
	transport *http.Transport
	models    []llm.Model
	judges    []validate.Strategy // of the models
	endpoints *endpoint.Registry
	check     validate.Strategy

	next  atomic.Int64                // call
	ended atomic.Int64                // calls
	begun []atomic.Pointer[time.Time] // the call under way, of each worker

	mu         sync.Mutex
	outcomes   map[string]int
	attempts   map[string]int
	wrong      []string
	faults     map[string]int
	drawn      map[float64]int // by their weights
	longest    time.Duration   // call
	latest     time.Duration   // that a call ended after its end
	latestCall string
}

// budget is a budget of retries that is spent now and then.
var budget = endpoint.Budget{Saved: 20, PerSuccess: 0.6, PerSecond: 2}

// circuit has short times, so that the circuits go through all their states
// often.
func (n size) circuit() breaker.Config {
	return breaker.Config{
		FailureThreshold: 10, FailureRate: 0.6, FailureWindow: 5 * time.Second, RecoveryTimeout: 50 * time.Millisecond,
		TripTimeout: 100 * time.Millisecond, HalfOpenProbes: 20, ProbeLease: n.attempt, MaxOpen: time.Second,
	}
}

func newSoak(t *testing.T, n size) *soak {
	t.Helper()
	s := &soak{size: n, outcomes: map[string]int{}, attempts: map[string]int{}, faults: map[string]int{}, drawn: map[float64]int{}, begun: make([]atomic.Pointer[time.Time], n.atATime)}
	s.provider = newProvider(t, chaos.Config{Plan: n.plan(), OnRequest: func(r chaos.Recorded) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults[describe(r.Fault)]++
		s.drawn[r.Fault.Weight]++
	}})
	s.transport = &http.Transport{MaxIdleConns: n.atATime, MaxIdleConnsPerHost: n.atATime, IdleConnTimeout: time.Minute}
	s.bodies = &bodies{RoundTripper: s.transport}
	var err error
	if s.endpoints, err = endpoint.NewRegistry(endpoint.Config{Budget: budget}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 * n.generations {
		m, err := openai.New(fmt.Sprintf("practice-%d", i/2), openai.Options{
			BaseURL: s.provider.url, APIKey: fmt.Sprintf("%s-%d", key, i%2), HTTPClient: &http.Client{Transport: s.bodies},
		})
		if err != nil {
			t.Fatal(err)
		}
		check, err := judge.Task(m, "It is an order.", judge.TaskOptions{Options: judge.Options{
			AttemptTimeout: n.attempt, Endpoints: s.endpoints, Guards: endpoint.Options{Breaker: n.circuit()},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.models, s.judges = append(s.models, m), append(s.judges, check)
	}
	if s.check, err = validate.JSONSchema([]byte(schema)); err != nil {
		t.Fatal(err)
	}
	return s
}

// describe names a fault of the plan.
func describe(f chaos.Fault) string {
	if f.Kind == "" {
		return "none: a limit refused it, or its client was gone before it had come"
	}
	text := string(f.Kind)
	if f.Kind == chaos.Status {
		text += fmt.Sprintf(" %d %s", f.Status, f.Code)
	}
	return strings.TrimSpace(text)
}

// live returns the bytes that are in use when no call is under way.
func (s *soak) live() int64 {
	s.transport.CloseIdleConnections()
	s.provider.Reset() // it remembers the last requests
	return live()
}

// run makes the calls up to number last. A call that does not end stops the test
// with the stacks of all goroutines: what it waits for stands there.
func (s *soak) run(last int) {
	s.next.Store(s.ended.Load())
	quit := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(quit)
	}()
	var all sync.WaitGroup
	for worker := range s.atATime {
		all.Go(func() {
			for n := s.next.Add(1); n <= int64(last); n = s.next.Add(1) {
				now := time.Now()
				s.begun[worker].Store(&now)
				s.call(rand.New(rand.NewPCG(40, uint64(n))), int(n*int64(s.generations)/int64(s.calls+1)))
				s.begun[worker].Store(nil)
				s.ended.Add(1)
			}
		})
	}
	all.Wait()
	close(quit)
	<-watched
}

// watch looks at the calls under way each second.
func (s *soak) watch(quit chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for worker := range s.begun {
			if began := s.begun[worker].Load(); began != nil && time.Since(*began) > s.whole+s.late+30*time.Second {
				_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
				panic(fmt.Sprintf("a call is under way since %v, its limit is %v", time.Since(*began), s.whole))
			}
		}
	}
}

// call makes one call, in one of the ways that there are.
func (s *soak) call(random *rand.Rand, generation int) {
	cfg := llmcall.RetryConfig{
		MaxAttempts: 5, Backoff: backoff.Exponential{Initial: 10 * time.Millisecond, Max: 200 * time.Millisecond},
		MaxTime: s.whole, AttemptTimeout: s.attempt, MaxRetryAfter: 2 * time.Second, MaxRateLimitWait: s.whole / 2,
		Endpoints: s.endpoints, EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: s.circuit()},
		WaitForCircuit: random.IntN(4) > 0, RestartStreams: random.IntN(2) == 0, CountInvalidAnswers: random.IntN(8) == 0,
		BackoffOnInvalidAnswer: random.IntN(8) == 0, StopOnNoProgress: random.IntN(8) == 0,
	}
	if !cfg.StopOnNoProgress && random.IntN(8) == 0 {
		cfg.MaxAttemptsBeforeHuman = 3
	}
	events := 0
	cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
		if e.Type == llmcall.EventAttemptEnded {
			events++
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	end := began.Add(s.whole)
	if random.IntN(50) == 0 { // a caller who loses patience
		patience := time.Duration(random.IntN(300)) * time.Millisecond
		defer time.AfterFunc(patience, cancel).Stop()
		end = began.Add(patience)
	}
	req := llm.Prompt(fmt.Sprintf("An order, please. Number %d.", random.Uint64()))
	req.Schema = &llm.Schema{Name: "order", JSON: []byte(schema)}
	i := 4*generation + random.IntN(4)
	model, checks := s.models[i], []validate.Strategy{s.check}
	if random.IntN(8) == 0 {
		checks = append(checks, s.judges[i])
	}
	var result *llmcall.Result
	var err error
	switch random.IntN(4) {
	case 0:
		result, err = llmcall.Start(ctx, model, req, checks, cfg).Wait(context.Background())
	case 1:
		for piece, failed := range llmcall.Stream(ctx, model, req, checks, cfg) {
			result, err = piece.Result, failed
		}
	default:
		result, err = llmcall.RetryWithValidation(ctx, model, req, checks, cfg)
	}
	ended := time.Now()
	outcome, trace, wrong := s.judge(result, err)
	if trace != nil && events != len(trace.Attempts) {
		wrong = append(wrong, fmt.Sprintf("%d attempts ended, the trace has %d", events, len(trace.Attempts)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest = max(s.longest, ended.Sub(began))
	if late := ended.Sub(end); late > s.latest && trace != nil {
		s.latest, s.latestCall = late, fmt.Sprintf("%s after %v:%s", outcome, ended.Sub(began).Round(time.Millisecond), timeline(trace, began))
	}
	s.outcomes[outcome]++
	if trace != nil {
		for _, a := range trace.Attempts {
			s.attempts[describeAttempt(a)]++
		}
	}
	for _, w := range wrong {
		s.wrong = append(s.wrong, fmt.Sprintf("%s: %s: %v", outcome, w, err))
	}
}

func describeAttempt(a llmcall.Attempt) string {
	if a.Outcome == llmcall.OutcomeValid {
		return string(a.Outcome)
	}
	return a.Kind.String()
}

// judge returns how a call ended, its trace, and what is wrong with that.
func (s *soak) judge(result *llmcall.Result, err error) (outcome string, trace *llmcall.Trace, wrong []string) {
	complain := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	var e *llmcall.Error
	var human *llmcall.HumanReviewError
	switch {
	case err == nil:
		outcome, trace = "answered", &result.Trace
		var o order
		if result.Decode(&o) != nil || !o.fits() || !result.Decoded {
			complain("a wrong answer: %s", result.Text)
		}
	case errors.As(err, &human):
		outcome, trace = string(llmcall.ReasonHumanReview), &human.Trace
		if len(human.Conversation) == 0 || human.Why == "" || human.Err == nil {
			complain("nothing for a person to look at")
		}
	case errors.As(err, &e):
		outcome, trace = fmt.Sprintf("%s, %v", e.Reason, failure.KindOf(err)), &e.Trace
		if e.Reason == "" || e.Err == nil {
			complain("no reason")
		}
	default:
		complain("not an error of this package: %T", err)
		return "other", nil, wrong
	}
	if err != nil && err.Error() == "" {
		complain("an error without words")
	}
	limits := 0
	for i, a := range trace.Attempts {
		if a.Number != i+1 || a.Outcome == "" || a.Outcome != llmcall.OutcomeValid && a.Error == "" || a.Start.IsZero() || a.Duration < 0 {
			complain("attempt %d of the trace: %+v", i+1, a)
		}
		if a.Kind == failure.RateLimited || a.Kind == failure.Overloaded {
			limits++
		}
		if strings.Contains(a.Error, key) {
			complain("the key is in the trace")
		}
		if strings.Contains(a.Error, "could be invented") && a.Kind != failure.CheckUnavailable { // a judge's schema has other places
			complain("the server could not follow its plan: %s", a.Error)
		}
	}
	if len(trace.Attempts) > 5+limits {
		complain("%d attempts, %d limits", len(trace.Attempts), limits)
	}
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), key) {
		complain("the key is in the error")
	}
	return outcome, trace, wrong
}

// timeline writes when each attempt began, how long it took and how it ended.
func timeline(trace *llmcall.Trace, began time.Time) string {
	var b strings.Builder
	for _, a := range trace.Attempts {
		fmt.Fprintf(&b, " [at %v for %v: %s]", a.Start.Sub(began).Round(time.Millisecond), a.Duration.Round(time.Millisecond), describeAttempt(a))
	}
	return b.String()
}

// report prints what came, and complains of what must not.
func (s *soak) report(t *testing.T) {
	total := 0
	for _, table := range []struct {
		of     string
		counts map[string]int
	}{{"calls", s.outcomes}, {"attempts", s.attempts}, {"faults", s.faults}} {
		var b strings.Builder
		sum := 0
		for _, name := range slices.SortedFunc(maps.Keys(table.counts), func(a, b string) int { return table.counts[b] - table.counts[a] }) {
			fmt.Fprintf(&b, "\n%9d  %s", table.counts[name], name)
			sum += table.counts[name]
		}
		t.Logf("%d %s:%s", sum, table.of, b.String())
		if table.of == "calls" {
			total = sum
		}
	}
	if total != s.calls {
		t.Errorf("%d calls of %d ended", total, s.calls)
	}
	for i, w := range s.wrong {
		if i == 20 {
			t.Errorf("and %d more", len(s.wrong)-i)
			break
		}
		t.Error(w)
	}
	faults, weights, requests := s.plan().Weights, 0.0, 0
	for _, f := range faults {
		weights += f.Weight
		requests += s.drawn[f.Weight]
	}
	for _, f := range faults {
		if expected := f.Weight / weights * float64(requests); expected > 20 && s.drawn[f.Weight] == 0 {
			t.Errorf("no request got the fault %s", describe(f))
		}
	}
	if s.outcomes["answered"] == 0 {
		t.Error("no call was answered")
	}
}

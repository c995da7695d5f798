package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// circuits are endpoints of a test's own, and the settings of their circuits.
type circuits struct {
	*endpoint.Registry
	config breaker.Config
}

func newRegistry(t *testing.T, c breaker.Config) *circuits {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &circuits{r, c}
}

func (c *circuits) settings() llmcall.CircuitBreakerConfig {
	return llmcall.CircuitBreakerConfig{Config: c.config}
}

// Get returns the circuit of a model that is known by its name.
func (c *circuits) Get(name string) *breaker.Breaker {
	return c.Registry.Get(endpoint.Key{Model: name}).Circuit(endpoint.Options{Breaker: c.config})
}

var names atomic.Int64

// unused returns a name that no test, in no earlier run of it, has given a model:
// circuits and budgets last as long as the process.
func unused(t *testing.T) string { return fmt.Sprintf("%s %d", t.Name(), names.Add(1)) }

// named gives a model another name, and so another circuit.
func named(name string, m *player) *player {
	m.name = name
	return m
}

func guarded(c llmcall.CircuitBreakerConfig) llmcall.RetryConfig {
	return exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: c})
}

func TestACircuitIsSharedByAllCallsToItsModel(t *testing.T) {
	for _, form := range forms {
		synctest.Test(t, func(t *testing.T) {
			name := unused(t)
			cfg := guarded(llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: 2}})
			cfg.MaxAttempts = 5
			a := named(name, play(t, times(9, down)...))
			_, err := form.call(t.Context(), a, llm.Prompt("x"), checked, cfg)
			open, ok := errors.AsType[*breaker.OpenError](err)
			if !ok || reasonOf(t, err) != llmcall.ReasonCircuitOpen || failure.KindOf(err) != failure.CircuitOpen || open.Name != name {
				t.Fatalf("call A: %v", err)
			}
			if last, ok := errors.AsType[*failure.Error](err); !ok || last.Kind != failure.Transient {
				t.Errorf("call A: %v does not match the last failure", err)
			}
			// The wait behind the failure that opened the circuit is not begun.
			trace := traceOf(nil, err)
			if got := lines(trace, a.start); !slices.Equal(got, []string{"0s basic failed transient", "1s basic failed transient, after 1s backoff"}) || time.Since(a.start) != s {
				t.Errorf("call A, ended after %v: %q", time.Since(a.start), got)
			}
			if trace.Attempts[0].Circuit != "CLOSED" || trace.Attempts[1].Circuit != "OPEN" {
				t.Errorf("the circuit was %s, then %s", trace.Attempts[0].Circuit, trace.Attempts[1].Circuit)
			}

			b := named(name, play(t))
			_, err = form.call(t.Context(), b, llm.Prompt("x"), checked, cfg)
			open, ok = errors.AsType[*breaker.OpenError](err)
			if !ok || reasonOf(t, err) != llmcall.ReasonCircuitOpen || b.calls() != 0 || time.Since(b.start) != 0 || len(traceOf(nil, err).Attempts) != 0 {
				t.Errorf("call B: %v after %d calls; a rejection is no attempt", err, b.calls())
			}
			if ok && (open.RetryIn() != 60*s || !strings.Contains(err.Error(), "transient") || strings.Contains(err.Error(), "on purpose")) {
				t.Errorf("call B: %v", err)
			}

			other := named(name+" other", play(t))
			if _, err := form.call(t.Context(), other, llm.Prompt("x"), checked, cfg); err != nil {
				t.Errorf("another model: %v", err)
			}
		})
	}
}

func TestTheSameSettingsMeanTheSameCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := unused(t)
		trip := named(name, play(t, told(failure.QuotaExhausted, 40*s)))
		if _, err := llmcall.RetryWithValidation(t.Context(), trip, llm.Prompt("x"), checked, guarded(llmcall.CircuitBreakerConfig{ExcludedExceptions: []failure.Kind{failure.Overloaded, failure.Unknown}})); err == nil {
			t.Fatal("no error")
		}
		excluded := []failure.Kind{failure.Unknown, failure.Overloaded, failure.Unknown}
		for row, c := range map[string]struct {
			settings llmcall.CircuitBreakerConfig
			refused  bool
		}{
			"the same in another order":     {llmcall.CircuitBreakerConfig{ExcludedExceptions: excluded}, true},
			"the defaults said out loud":    {llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: 5, RecoveryTimeout: 60 * s, FailureWindow: 300 * s, FailureRate: 0.8, HalfOpenProbes: 1, SuccessThreshold: 2, ProbeLease: 60 * s}, ExcludedExceptions: excluded}, true},
			"another threshold":             {llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: 6}, ExcludedExceptions: excluded}, false},
			"a rate of 0, which is no none": {llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureRate: -1}, ExcludedExceptions: excluded}, false},
			"nothing excluded":              {llmcall.CircuitBreakerConfig{}, true}, // what counts is a row of the client's table
		} {
			m := named(name, play(t))
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, guarded(c.settings))
			if refused := failure.KindOf(err) == failure.CircuitOpen; refused != c.refused {
				t.Errorf("%s: %v", row, err)
			}
		}
	})
}

func TestWithoutABreakerNothingIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 4 {
			m := play(t, times(3, down)...)
			r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
			if m.calls() != 3 || traceOf(r, err).Attempts[0].Circuit != "" {
				t.Fatalf("%d calls: %v", m.calls(), err)
			}
		}
	})
}

// A provider that gave a wrong answer did its work.
func TestWrongAnswersCountForTheCircuitOnlyIfAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, count := range []bool{false, true} {
			registry := newRegistry(t, breaker.Config{FailureThreshold: 2})
			cfg := exact(llmcall.RetryConfig{MaxAttempts: 4, EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, CountInvalidAnswers: count})
			cfg.DisableRetryBudget = false
			m := play(t, say("a"), say("b"), say("c"))
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
			if opened := registry.Get(t.Name()).Snapshot().Generation > 0; opened != count || (err != nil) != count {
				t.Errorf("counted: %v; opened: %v, %v", count, opened, err)
			}
			if left := registry.Registry.Get(endpoint.Key{Model: t.Name()}).Snapshot().Retries; left != 100 {
				t.Errorf("counted: %v; %v of 100 retries are left: asking again is no load on a provider that is ill", count, left)
			}
		}
	})
}

func TestWhatEachKindMeansToTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for k, opens := range map[failure.Kind]bool{
			failure.Unknown: true, failure.Transient: true, failure.Overloaded: true, failure.AttemptTimeout: true,
			failure.QuotaExhausted: true, failure.Unauthorized: true, failure.RateLimited: false, failure.ModelNotFound: false,
			failure.InvalidRequest: false, failure.ContextTooLong: false, failure.ContentFiltered: false, failure.Cancelled: false,
		} {
			registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
			m := play(t, kind(k))
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{MaxAttempts: 1, EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry}))
			if got := registry.Get(t.Name()).State() == breaker.Open; got != opens || err == nil {
				t.Errorf("%v opened it: %v (%v)", k, got, err)
			}
		}
	})
}

func TestExcludedKindsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := guarded(llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: 1}, ExcludedExceptions: []failure.Kind{failure.Overloaded}})
		name := unused(t)
		m := named(name, play(t, kind(failure.Overloaded), kind(failure.Overloaded)))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil {
			t.Errorf("excluded: %v", err)
		}
		m = named(name, play(t, down))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); failure.KindOf(err) != failure.CircuitOpen {
			t.Errorf("not excluded: %v", err)
		}
	})
}

// The loop's own wait outlasts the OPEN time: it goes through HALF_OPEN.
func TestTheLoopGoesThroughTheCircuitsRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: 2 * s, SuccessThreshold: 2})
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 5, EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry})
		m := play(t, down, down, say("bad"))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var circuits []string
		for _, a := range r.Attempts {
			circuits = append(circuits, a.Circuit)
		}
		if !slices.Equal(circuits, []string{"CLOSED", "OPEN", "HALF_OPEN", "CLOSED"}) || !slices.Equal(m.at, []time.Duration{0, s, 3 * s, 3 * s}) {
			t.Errorf("the circuit was %v, called at %v", circuits, m.at)
		}
		// A probe that fails opens it again; the next wait is too short for it.
		registry = newRegistry(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: s})
		cfg.EnableCircuitBreaker, cfg.CircuitBreakerConfig, cfg.Endpoints = true, registry.settings(), registry.Registry
		cfg.BackoffFactor = 1
		m = play(t, down, down, down)
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil || registry.Get(t.Name()).State() != breaker.HalfOpen {
			t.Errorf("%v; the circuit is %v", err, registry.Get(t.Name()).State())
		}
	})
}

func TestWaitForCircuitWaitsUntilAProbeIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: 30 * s, SuccessThreshold: 1, TripTimeout: 5 * time.Minute})
		cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, WaitForCircuit: true})
		m := play(t, down, down)
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if err != nil || !slices.Equal(lines(r.Trace, m.start), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff", "31s basic valid, after 30s circuit",
		}) {
			t.Errorf("mid-loop: %v %q", err, lines(traceOf(r, err), m.start))
		}

		registry.Get(t.Name()).Trip(breaker.Failure{})
		m = play(t)
		r, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if err != nil || !slices.Equal(lines(r.Trace, m.start), []string{"5m0s basic valid, after 5m0s circuit"}) {
			t.Errorf("before the first attempt: %v %q", err, lines(traceOf(r, err), m.start))
		}

		registry.Get(t.Name()).Trip(breaker.Failure{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*s)
		defer cancel()
		m = play(t)
		_, err = llmcall.RetryWithValidation(ctx, m, llm.Prompt("x"), checked, cfg)
		if _, open := errors.AsType[*breaker.OpenError](err); !open || reasonOf(t, err) != llmcall.ReasonOutOfTime || !errors.Is(err, context.DeadlineExceeded) || time.Since(m.start) != 0 {
			t.Errorf("a deadline that can't hold it: %v after %v", err, time.Since(m.start))
		}
	})
}

// A circuit that opens while a call waits makes the wait longer; it is one wait.
func TestTwoWaitsInARowAreOneDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{TripTimeout: 10 * s})
		time.AfterFunc(s/2, func() { registry.Get(t.Name()).Trip(breaker.Failure{}) })
		cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, WaitForCircuit: true})
		var events []string
		cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
			events = append(events, strings.TrimSpace(fmt.Sprint(e.Type, " ", e.Wait, " ", e.WaitReason)))
			return nil
		}
		m := play(t, down)
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if err != nil || !slices.Equal(lines(r.Trace, m.start), []string{"0s basic failed transient", "10.5s basic valid, after 10.5s circuit"}) {
			t.Errorf("%v %q", err, lines(traceOf(r, err), m.start))
		}
		if want := []string{
			"call_started 0s", "attempt_started 0s", "attempt_ended 0s", "waiting 1s backoff", "waiting 9.5s circuit",
			"attempt_started 0s", "attempt_ended 0s", "call_ended 0s",
		}; !slices.Equal(events, want) {
			t.Errorf("told of %q", events)
		}
	})
}

// The wait for a place as a probe ends when another's probe does, which nobody
// knew when it began. The trace has it as it was.
func TestTheTraceHasTheWaitForACircuitAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * s, SuccessThreshold: 1, ProbeLease: 100 * s})
		cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, WaitForCircuit: true})
		registry.Get(t.Name()).Trip(breaker.Failure{AskedFor: s})
		start := time.Now()
		time.Sleep(100 * s)
		probe := llmcall.Start(t.Context(), named(t.Name(), play(t, takes(7*s, say("good")))), llm.Prompt("x"), checked, cfg)
		synctest.Wait()
		time.Sleep(s)
		var waits []time.Duration
		cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
			if e.Type == llmcall.EventWaiting {
				waits = append(waits, e.Wait)
			}
			return nil
		}
		r, err := llmcall.RetryWithValidation(t.Context(), named(t.Name(), play(t)), llm.Prompt("x"), checked, cfg)
		if err != nil || !slices.Equal(lines(r.Trace, start), []string{"1m47s basic valid, after 6s circuit"}) {
			t.Errorf("%v %q", err, lines(traceOf(r, err), start))
		}
		if !slices.Equal(waits, []time.Duration{0}) { // nobody knows
			t.Errorf("announced %v", waits)
		}
		if _, err := probe.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheRetryBudgetIsSharedByAllCallsToAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := llmcall.RetryConfig{UseJitter: new(false), MaxAttempts: 5, RetryBudget: endpoint.Budget{Saved: 10, PerSecond: -1}}
		name, calls := unused(t), 0
		held := client(t, named(name, play(t)), checked, cfg) // while a client lives, what it configures holds
		for range 10 {
			m := named(name, play(t, times(9, down)...))
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
			want := llmcall.ReasonProviderFailed
			if m.calls() < 5 {
				want = llmcall.ReasonRetryBudgetSpent
			}
			if reasonOf(t, err) != want {
				t.Fatal(err)
			}
			calls += m.calls()
		}
		if calls != 10+10 {
			t.Errorf("ten calls in an outage made %d, want each one's first and the ten that were saved up", calls)
		}
		m := named(name, play(t, down))
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.BudgetSpent || time.Since(m.start) != 0 || !strings.Contains(err.Error(), "this process") {
			t.Errorf("%v after %v", err, time.Since(m.start))
		}
		// Wrong answers are asked again all the same, and another model has its own.
		m = named(name, play(t, say("a"), say("b")))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil {
			t.Error(err)
		}
		m = named(unused(t), play(t, down, down))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil {
			t.Error(err)
		}
		m = named(name, play(t, down, down))
		cfg.DisableRetryBudget, cfg.RetryBudget = true, endpoint.Budget{}
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, cfg); err != nil {
			t.Errorf("without a budget: %v", err)
		}
		runtime.KeepAlive(held)
	})
}

// What one call was told holds for all calls to the endpoint, and for no other.
func TestARateLimitIsSharedByAllCallsToAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name, start := unused(t), time.Now()
		cfg := llmcall.RetryConfig{UseJitter: new(false)}
		limited := func(context.Context, *llm.Request) (*llm.Response, error) {
			return nil, &failure.Error{Kind: failure.RateLimited, RetryAfter: 7 * s, Told: true}
		}
		first := llmcall.Start(t.Context(), named(name, play(t, limited)), llm.Prompt("x"), checked, cfg)
		synctest.Wait()
		time.Sleep(2 * s)
		m := named(name, play(t))
		second := llmcall.Start(t.Context(), m, llm.Prompt("x"), checked, cfg)
		if _, err := llmcall.RetryWithValidation(t.Context(), named(unused(t), play(t)), llm.Prompt("x"), checked, cfg); err != nil || time.Since(start) != 2*s {
			t.Errorf("another model: %v after %v", err, time.Since(start))
		}
		own := cfg
		own.DisablePacing = true
		if _, err := llmcall.RetryWithValidation(t.Context(), named(name, play(t)), llm.Prompt("x"), checked, own); err != nil || time.Since(start) != 2*s {
			t.Errorf("not paced: %v after %v", err, time.Since(start))
		}
		// The first turn after a told time is spread by a tenth of it.
		if r, err := first.Wait(t.Context()); err != nil || time.Since(start) < 7*s || time.Since(start) > 7*s+700*time.Millisecond {
			t.Errorf("the first: %v, %v after %v", r, err, time.Since(start))
		}
		r, err := second.Wait(t.Context())
		if err != nil || m.calls() != 1 || len(r.Attempts) != 1 {
			t.Fatalf("the second: %v, %v after %d calls", r, err, m.calls())
		}
		if a := r.Attempts[0]; a.DelayReason != retry.RateLimitWait || a.Delay < 5*s || a.Delay > 7*s {
			t.Errorf("the second waited %v for %v", a.Delay, a.DelayReason)
		}
	})
}

// A wait that the deadline can't hold is not begun, whoever was told of it; and
// who is refused is not shown what the provider told another.
func TestASharedRateLimitThatIsTooLongEndsACallBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := unused(t)
		told := &failure.Error{Kind: failure.RateLimited, Message: "organisation org-7 is over its limit", RetryAfter: 7 * s, Told: true}
		first, cancel := context.WithCancel(t.Context())
		defer cancel()
		llmcall.Start(first, named(name, play(t, fails(told), fails(told))), llm.Prompt("x"), checked, llmcall.RetryConfig{})
		synctest.Wait()
		m := named(name, play(t))
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, llmcall.RetryConfig{MaxTime: 5 * s})
		if reasonOf(t, err) != llmcall.ReasonOutOfTime || !errors.Is(err, context.DeadlineExceeded) || m.calls() != 0 || time.Since(m.start) != 0 {
			t.Errorf("%v after %d calls and %v", err, m.calls(), time.Since(m.start))
		}
		if strings.Contains(err.Error(), "org-7") {
			t.Errorf("another's error is shown: %v", err)
		}
		_, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, llmcall.RetryConfig{MaxRetryAfter: s})
		if reasonOf(t, err) != llmcall.ReasonRateLimited || strings.Contains(err.Error(), "org-7") {
			t.Errorf("%v", err)
		}
	})
}

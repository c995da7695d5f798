package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/validate"
)

// guardedBy is a configuration whose calls share the endpoints and the circuits.
func guardedBy(c *circuits, cfg llmcall.RetryConfig) llmcall.RetryConfig {
	cfg.EnableCircuitBreaker, cfg.CircuitBreakerConfig, cfg.Endpoints = true, c.settings(), c.Registry
	return exact(cfg)
}

// watched is a guard that lends a permit to each request, and notes what becomes
// of it.
type watched struct {
	endpoint.Guard
	mu      sync.Mutex
	held    int // permits that are lent and not settled
	taken   int // of these the requests whose answer has not begun
	settled []string
	tokens  int64
}

func (w *watched) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held++
	w.taken++
	return endpoint.Permit{N: 1}, nil
}

func (w *watched) Wait(_ context.Context, a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	return w.Admit(a)
}

func (w *watched) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken -= int(p.N)
	p.N = 0
	return p
}

func (w *watched) Settle(p endpoint.Permit, o endpoint.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held--
	w.taken -= int(p.N)
	if o.Report != nil {
		w.tokens += o.Report.Used.Tokens
	}
	w.settled = append(w.settled, o.Effect.String())
}

// state is what the guard has lent: "taken" before an answer has begun, "begun"
// after that, "nothing" when it is settled.
func (w *watched) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.taken > 0:
		return "taken"
	case w.held > 0:
		return "begun"
	}
	return "nothing"
}

func watch(t *testing.T) (*watched, *endpoint.Registry) {
	t.Helper()
	w := &watched{}
	r, err := endpoint.NewRegistry(endpoint.Config{Guards: func(*endpoint.Endpoint, []endpoint.Guard) []endpoint.Guard { return []endpoint.Guard{w} }})
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

// A permit is held for a request, and neither while its answer is checked or
// read nor while a tool runs. Each row says what is held where.
func TestWhatIsHeldWhen(t *testing.T) {
	for name, c := range map[string]struct {
		count   bool
		streams bool
		want    []string
		settled []string
	}{
		"a call": {want: []string{
			"model: taken", "check: nothing", "model: taken", "tool: nothing", "model: taken", "check: nothing",
		}, settled: []string{"healthy", "healthy", "healthy"}},
		"a call that counts wrong answers": {count: true, want: []string{
			"model: taken", "check: begun", "model: taken", "tool: nothing", "model: taken", "check: begun",
		}, settled: []string{"count", "healthy", "healthy"}},
		"a stream": {streams: true, want: []string{
			"model: taken", "piece: begun", "piece: begun", "check: nothing", "model: taken", "tool: nothing", "model: taken", "check: nothing", "piece: nothing", "piece: nothing",
		}, settled: []string{"healthy", "healthy", "healthy"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, registry := watch(t)
			var got []string
			note := func(where string) { got = append(got, where+": "+w.state()) }
			noted := func(st step) step {
				return func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
					note("model")
					return st(ctx, req)
				}
			}
			m := &notedStreamer{stream(t, start("a", "b", llm.FinishStop)), note}
			m.steps = []step{noted(say("ab")), noted(wants(calls("1", "search", "{}"))), noted(say("good"))}
			cfg := withTool(func(context.Context, json.RawMessage) (string, error) {
				note("tool")
				return "found", nil
			})
			cfg.Endpoints, cfg.RestartStreams = registry, true
			if c.count {
				cfg.EnableCircuitBreaker, cfg.CountInvalidAnswers = true, true
			}
			check := validate.Func("is_good", func(_ context.Context, a *validate.Answer) error {
				note("check")
				if a.Text != "good" {
					return validate.Fail(a.Text+" is wrong", "")
				}
				return nil
			})
			made := client(t, m, []validate.Strategy{check}, cfg)
			if !c.streams {
				if _, err := made.Do(t.Context(), llm.Prompt("x")); err != nil {
					t.Fatal(err)
				}
			} else {
				for p, err := range made.Stream(t.Context(), llm.Prompt("x")) {
					if err != nil {
						t.Fatal(err)
					}
					if !p.Restart {
						note("piece")
					}
				}
			}
			if !slices.Equal(got, c.want) || !slices.Equal(w.settled, c.settled) || w.state() != "nothing" {
				t.Errorf("%q, settled as %q\nwant\n%q, %q", got, w.settled, c.want, c.settled)
			}
		})
	}
}

// notedStreamer notes when its stream begins.
type notedStreamer struct {
	*streamer
	note func(string)
}

func (m *notedStreamer) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	m.note("model")
	return m.streamer.Stream(ctx, req)
}

// What a broken stream has used is on the account of the guards too.
func TestTheGuardsHearWhatABrokenStreamUsed(t *testing.T) {
	w, registry := watch(t)
	m := stream(t, start("go", llm.Usage{InputTokens: 5, OutputTokens: 2}, broken))
	cfg := exact(llmcall.RetryConfig{Endpoints: registry})
	if _, _, err := heard(client(t, m, checked, cfg).Stream(t.Context(), llm.Prompt("x"))); err == nil || w.tokens != 7 || !slices.Equal(w.settled, []string{"count"}) {
		t.Errorf("%v: %d tokens, settled as %q", err, w.tokens, w.settled)
	}
}

// A model that is its own judge: the call held the only probe while its check
// asked the same circuit for one, and the circuit stayed HALF_OPEN for ever.
func TestACircuitClosesForAModelThatJudgesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * s})
		fail := true
		m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
			if fail {
				return nil, broken
			}
			return llm.Reply("good"), nil
		})
		cfg := guardedBy(registry, llmcall.RetryConfig{MaxAttempts: 1})
		judge := client(t, m, nil, cfg)
		judged := validate.Func("judge", func(ctx context.Context, _ *validate.Answer) error {
			if _, err := judge.Do(ctx, llm.Prompt("Is it good?")); err != nil {
				return validate.Unavailable(err)
			}
			return nil
		})
		c := client(t, m, []validate.Strategy{judged}, cfg)
		if _, err := c.Do(t.Context(), llm.Prompt("x")); err == nil {
			t.Fatal("no error")
		}
		fail = false
		answered := 0
		for range 200 {
			time.Sleep(11 * s)
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err == nil {
				answered++
			}
		}
		if got := registry.Get(t.Name()).State(); answered != 200 || got != breaker.Closed {
			t.Errorf("%d of 200 answered, the circuit is %v", answered, got)
		}
	})
}

// How long a check takes is not the provider's doing, and keeps no probe's place.
func TestASlowCheckIsNotASlowModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := validate.Func("slow", func(context.Context, *validate.Answer) error {
			time.Sleep(3 * s)
			return nil
		})
		registry := newRegistry(t, breaker.Config{SlowCall: 2 * s, RecoveryTimeout: 10 * s, SuccessThreshold: 2})
		c := client(t, play(t), []validate.Strategy{slow}, guardedBy(registry, llmcall.RetryConfig{}))
		for range 9 {
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Error(err)
			}
		}
		circuit := registry.Get(t.Name())
		if got := circuit.Snapshot(); got.State != breaker.Closed || got.Failures != 0 {
			t.Errorf("the circuit is %+v", got)
		}
		circuit.Trip(breaker.Failure{})
		time.Sleep(100 * s)
		first := c.Start(t.Context(), llm.Prompt("x")) // the probe: its answer is checked for 3 s
		time.Sleep(s)
		if _, err := client(t, play(t), nil, guardedBy(registry, llmcall.RetryConfig{})).Do(t.Context(), llm.Prompt("x")); err != nil {
			t.Errorf("another caller meanwhile: %v", err)
		}
		if _, err := first.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// With count_invalid_answers a wrong answer is a failure, told once and after the
// checks.
func TestWrongAnswersOpenTheCircuitWhereTheyCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{})
		n := 0
		m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
			n++
			return llm.Reply(fmt.Sprint("bad ", n)), nil
		})
		c := client(t, m, checked, guardedBy(registry, llmcall.RetryConfig{MaxAttempts: 1, CountInvalidAnswers: true}))
		for range 100 {
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err == nil {
				t.Fatal("no error")
			}
		}
		if n != 5 || registry.Get(t.Name()).State() != breaker.Open {
			t.Errorf("asked %d times, the circuit is %v", n, registry.Get(t.Name()).State())
		}
	})
}

// A stream that is read slowly keeps nobody from the circuit, and tells it at its
// end what became of it.
func TestAStreamIsAcceptedAtItsFirstPiece(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []any
		leave  bool
		state  breaker.State // in the end
	}{
		"whole":               {start("go", time.Minute, "od", llm.FinishStop), false, breaker.Closed},
		"left by its caller":  {start("go", time.Minute, "od", llm.FinishStop), true, breaker.Closed},
		"broken after that":   {start("go", time.Minute, broken), false, breaker.Open},
		"broken before that":  {start(broken), false, breaker.Open},
		"cut off, not broken": {start("go", llm.FinishLength), false, breaker.Closed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := newRegistry(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute, SuccessThreshold: 1})
				circuit := registry.Get(t.Name())
				circuit.Trip(breaker.Failure{})
				time.Sleep(time.Hour)
				cfg := guardedBy(registry, llmcall.RetryConfig{MaxAttempts: 1})
				for p, err := range client(t, stream(t, c.pieces), checked, cfg).Stream(t.Context(), llm.Prompt("x")) {
					if err != nil || p.Text == "" {
						break
					}
					if _, err := client(t, play(t), nil, cfg).Do(t.Context(), llm.Prompt("x")); err != nil {
						t.Errorf("another caller meanwhile: %v", err)
					}
					if c.leave {
						break
					}
				}
				if got := circuit.State(); got != c.state {
					t.Errorf("in the end it is %v, want %v", got, c.state)
				}
			})
		})
	}
}

// A tool's round is a request like any other: where the circuit has opened
// meanwhile, it is not made.
func TestAToolsRoundPassesTheGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{})
		ran := 0
		cfg := withTool(func(context.Context, json.RawMessage) (string, error) {
			ran++
			registry.Get(t.Name()).Trip(breaker.Failure{})
			return "found", nil
		})
		m := play(t, say("a"), wants(calls("1", "search", "{}")))
		var got []string
		cfg.Observer = seen(&got, time.Now())
		_, err := client(t, m, checked, guardedBy(registry, cfg)).Do(t.Context(), llm.Prompt("x"))
		if reasonOf(t, err) != llmcall.ReasonCircuitOpen || m.calls() != 2 || ran != 1 || !strings.HasPrefix(err.Error(), "stopped by an open circuit after 2 attempts") {
			t.Errorf("%v after %d requests", err, m.calls())
		}
		if a := traceOf(nil, err).Attempts; len(a) != 2 || a[1].Kind != failure.CircuitOpen || a[1].Outcome != llmcall.OutcomeFailed {
			t.Errorf("%+v", a)
		}
	})
}

// While a round waits for the circuit, the wait is the attempt's.
func TestAToolsRoundMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{RecoveryTimeout: 10 * s, TripTimeout: 10 * s})
		cfg := withTool(func(context.Context, json.RawMessage) (string, error) {
			registry.Get(t.Name()).Trip(breaker.Failure{})
			return "found", nil
		})
		cfg.WaitForCircuit = true
		m := play(t, say("a"), wants(calls("1", "search", "{}")))
		var got []string
		cfg.Observer = seen(&got, time.Now())
		r, err := client(t, m, checked, guardedBy(registry, cfg)).Do(t.Context(), llm.Prompt("x"))
		if err != nil || len(r.Attempts) != 2 || m.calls() != 3 || !slices.Contains(got, "0s waiting 10s circuit before 2") {
			t.Errorf("%v: %q", err, got)
		}
	})
}

// The models are alternatives in order.
func TestTheNextModelServesWhereOneCannot(t *testing.T) {
	for _, c := range []struct {
		name  string
		first []step
		cfg   llmcall.RetryConfig
		trace []string
		model string // that answers
	}{
		{"the first can", nil, llmcall.RetryConfig{}, []string{"first 0s basic valid"}, "first"},
		{"its key is bad", times(9, kind(failure.Unauthorized)), llmcall.RetryConfig{}, []string{
			"first 0s basic failed unauthorized", "second 0s basic valid",
		}, "second"},
		{"it fails twice", times(9, down), llmcall.RetryConfig{}, []string{
			"first 0s basic failed transient", "first 1s basic failed transient, after 1s backoff", "second 1s basic valid",
		}, "second"},
		{"it asks for a long wait", times(9, told(failure.RateLimited, 20*s)), llmcall.RetryConfig{}, []string{
			"first 0s basic failed rate_limited", "second 0s basic valid",
		}, "second"},
		{"it asks for a short wait", []step{told(failure.RateLimited, s)}, llmcall.RetryConfig{}, []string{
			"first 0s basic failed rate_limited", "first 1s basic valid, after 1s rate_limit",
		}, "first"},
		{"the request is bad", times(9, kind(failure.InvalidRequest)), llmcall.RetryConfig{}, []string{"first 0s basic failed invalid_request"}, ""},
		{"its answers are wrong", []step{say("a"), say("b"), say("c")}, llmcall.RetryConfig{}, []string{
			"first 0s basic invalid invalid_answer", "first 0s basic invalid invalid_answer", "first 0s basic invalid invalid_answer",
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := named("first", play(t, c.first...)), named("second", play(t))
				cfg := c.cfg
				cfg.UseJitter, cfg.DisablePacing, cfg.Endpoints = new(false), true, newRegistry(t, breaker.Config{}).Registry
				made, err := llmcall.New([]llm.Model{first, second}, checked, cfg)
				if err != nil {
					t.Fatal(err)
				}
				r, err := made.Do(t.Context(), llm.Prompt("x"))
				trace := traceOf(r, err)
				got := lines(trace, first.start)
				for i, a := range trace.Attempts {
					got[i] = a.Model + " " + got[i]
				}
				if !slices.Equal(got, c.trace) || (err != nil) != (c.model == "") || err == nil && r.Model != c.model {
					t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(c.trace, "\n"))
				}
			})
		})
	}
}

// Limits that a client configures hold from the start, for as long as there is
// the client or the call.
func TestConfiguredLimitsHoldFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{})
		busy, most := 0, 0
		m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) {
			busy++
			most = max(most, busy)
			time.Sleep(s)
			busy--
			return llm.Reply("good"), nil
		})
		begun := time.Now()
		cfg := llmcall.RetryConfig{MaxConcurrent: 1, Endpoints: registry.Registry}
		c := client(t, m, checked, cfg)
		var wait sync.WaitGroup
		for range 5 {
			wait.Go(func() {
				if _, err := c.Do(t.Context(), llm.Prompt("x")); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if most != 1 || time.Since(begun) != 5*s {
			t.Errorf("%d at a time, %v in all", most, time.Since(begun))
		}
	})
}

// excluded_exceptions is about the circuit: a rate limit still holds for all.
func TestAnExcludedRateLimitIsStillHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
		cfg := llmcall.RetryConfig{UseJitter: new(false), EnableCircuitBreaker: true, Endpoints: registry.Registry, MaxAttempts: 1}
		cfg.CircuitBreakerConfig = registry.settings()
		cfg.CircuitBreakerConfig.ExcludedExceptions = []failure.Kind{failure.RateLimited, failure.Transient}
		begun := time.Now()
		limited := &failure.Error{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: 7 * s}
		first := client(t, play(t, fails(limited), down), checked, cfg)
		pending := first.Start(t.Context(), llm.Prompt("x"))
		synctest.Wait()
		if _, err := client(t, play(t), checked, cfg).Do(t.Context(), llm.Prompt("x")); err != nil || time.Since(begun) < 7*s {
			t.Errorf("another call of the model: %v after %v", err, time.Since(begun))
		}
		if _, err := pending.Wait(t.Context()); reasonOf(t, err) != llmcall.ReasonProviderFailed {
			t.Error(err)
		}
		if got := registry.Registry.Get(endpoint.Key{Model: t.Name()}).Snapshot(); got.Circuits[0].State != breaker.Closed || got.Circuits[0].Failures != 0 {
			t.Errorf("the circuit is %+v", got.Circuits)
		}
	})
}

// Nor does the exclusion make a refused probe a success.
func TestAnExcludedRateLimitIsNotASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{SuccessThreshold: 1})
		circuit := registry.Get(t.Name())
		circuit.Trip(breaker.Failure{})
		time.Sleep(time.Hour)
		cfg := guardedBy(registry, llmcall.RetryConfig{MaxRetryAfter: s})
		cfg.CircuitBreakerConfig.ExcludedExceptions = []failure.Kind{failure.RateLimited}
		m := play(t, fails(&failure.Error{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: 7 * s}))
		_, err := client(t, m, checked, cfg).Do(t.Context(), llm.Prompt("x"))
		if got := circuit.State(); reasonOf(t, err) != llmcall.ReasonRateLimited || got != breaker.HalfOpen {
			t.Errorf("%v; the circuit is %v", err, got)
		}
	})
}

// A context of the model's own that was cancelled is a failure like its time-out.
func TestACancellationOfTheModelsOwnIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 2})
		m := play(t, fails(fmt.Errorf("pool: %w", context.Canceled)), fails(fmt.Errorf("pool: %w", context.Canceled)))
		r, err := client(t, m, checked, guardedBy(registry, llmcall.RetryConfig{WaitForCircuit: true})).Do(t.Context(), llm.Prompt("x"))
		if err != nil || len(r.Attempts) != 3 || r.Attempts[0].Kind != failure.Transient || registry.Get(t.Name()).Snapshot().Generation == 0 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

// A provider that hangs until the caller's deadline is ill, if the caller gave it
// time; a caller that cancels says nothing of it.
func TestAHangCountsWhereItHadTime(t *testing.T) {
	for name, c := range map[string]struct {
		limit time.Duration
		hang  time.Duration
		state breaker.State
	}{
		"30 s": {30 * s, 0, breaker.Open}, "29 s": {29 * s, 0, breaker.Closed}, "never": {time.Hour, -1, breaker.Closed}, "after 5 s": {5 * s, 5 * s, breaker.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			registry := newRegistry(t, breaker.Config{})
			made := client(t, llm.Func(t.Name(), hang), checked, guardedBy(registry, llmcall.RetryConfig{MaxTime: c.limit, Hang: c.hang}))
			for range 5 {
				if _, err := made.Do(t.Context(), llm.Prompt("x")); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
			if got := registry.Get(t.Name()).State(); got != c.state {
				t.Errorf("%s: %v", name, got)
			}
		})
	}
}

// A kind that is excluded counts neither way, whatever the provider answered: a probe
// that ends with it leaves the circuit as it is. One that is not excluded is an answer.
func TestAnExcludedFailureIsNeitherWay(t *testing.T) {
	for _, c := range []struct {
		kind     failure.Kind
		status   int
		excluded bool
		want     breaker.State
	}{
		{failure.Unauthorized, 401, true, breaker.HalfOpen},
		{failure.QuotaExhausted, 402, true, breaker.HalfOpen},
		{failure.InvalidRequest, 400, true, breaker.HalfOpen},
		{failure.Transient, 503, true, breaker.HalfOpen},
		{failure.InvalidRequest, 400, false, breaker.Closed},
		{failure.InvalidRequest, 0, false, breaker.HalfOpen}, // refused before it was sent
		{failure.Unauthorized, 401, false, breaker.Open},
	} {
		synctest.Test(t, func(t *testing.T) {
			registry := newRegistry(t, breaker.Config{SuccessThreshold: 1})
			circuit := registry.Get(t.Name())
			circuit.Trip(breaker.Failure{})
			time.Sleep(time.Hour)
			cfg := guardedBy(registry, llmcall.RetryConfig{MaxAttempts: 1})
			if c.excluded {
				cfg.CircuitBreakerConfig.ExcludedExceptions = []failure.Kind{c.kind}
			}
			_, err := client(t, play(t, fails(&failure.Error{Kind: c.kind, Status: c.status})), checked, cfg).Do(t.Context(), llm.Prompt("x"))
			if got := circuit.State(); got != c.want {
				t.Errorf("%v, status %d, excluded %v: %v, want %v (%v)", c.kind, c.status, c.excluded, got, c.want, err)
			}
		})
	}
}

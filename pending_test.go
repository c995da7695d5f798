package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

func panics(v any) step {
	return func(context.Context, *llm.Request) (*llm.Response, error) { panic(v) }
}

func exits(context.Context, *llm.Request) (*llm.Response, error) {
	runtime.Goexit()
	return nil, nil
}

func TestAPanicInTheModelGoesOnAndTheCircuitIsTold(t *testing.T) {
	registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		llmcall.RetryWithValidation(t.Context(), play(t, panics("boom")), llm.Prompt("x"), checked, llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry})
		t.Error("it returned")
	}()
	if registry.Get(t.Name()).State() != breaker.Open {
		t.Error("the panic did not count")
	}
}

func TestAPanicInAPendingCallIsItsError(t *testing.T) {
	for name, v := range map[string]any{"text": "boom", "error": io.ErrUnexpectedEOF} {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
		p := llmcall.Start(t.Context(), play(t, panics(v)), llm.Prompt("x"), checked, llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry})
		r, err := p.Wait(t.Context())
		e, ok := errors.AsType[*llmcall.PanicError](err)
		if !ok || r != nil || e.Value != v || !strings.Contains(string(e.Stack), "panics") || !strings.Contains(err.Error(), fmt.Sprint(v)) {
			t.Errorf("%s: %v", name, err)
		}
		if inner, ok := v.(error); ok && !errors.Is(err, inner) {
			t.Errorf("%s: %v does not match it", name, err)
		}
		if registry.Get(t.Name()).State() != breaker.Open {
			t.Errorf("%s: the panic did not count", name)
		}
	}
}

func TestGoexitInTheModelEndsTheCallAndFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{RecoveryTimeout: s})
		circuit := registry.Get(t.Name())
		circuit.Trip(breaker.Failure{})
		time.Sleep(100 * s)
		cfg := llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry}
		p := llmcall.Start(t.Context(), play(t, exits), llm.Prompt("x"), checked, cfg)
		if r, err := p.Wait(t.Context()); err == nil || r != nil || !strings.Contains(err.Error(), "Goexit") {
			t.Errorf("%v, %v", r, err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			llmcall.RetryWithValidation(t.Context(), play(t, exits), llm.Prompt("x"), checked, cfg)
			t.Error("it returned")
		}()
		<-ended
		if got := circuit.Snapshot(); got.State != breaker.HalfOpen || got.Probes != 0 {
			t.Errorf("%+v: a place is still taken", got)
		}
	})
}

func TestWaitHasItsOwnContextAndMayBeCalledByMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := llmcall.Start(t.Context(), play(t, takes(10*s, say("good"))), llm.Prompt("x"), checked, llmcall.RetryConfig{})
		start := time.Now()
		short, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if r, err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) || r != nil || time.Since(start) != s {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		why := errors.New("the user went away")
		gone, leave := context.WithCancelCause(t.Context())
		leave(why)
		if _, err := p.Wait(gone); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			t.Errorf("%v matches not both the cancellation and its cause", err)
		}
		select {
		case <-p.Done():
			t.Error("the call has ended with its waiter")
		default:
		}
		var wait sync.WaitGroup
		var results [20]*llmcall.Result
		for i := range results {
			wait.Go(func() {
				var err error
				if results[i], err = p.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for _, r := range results {
			if r == nil || r != results[0] {
				t.Fatal("not all waiters got the same result")
			}
		}
		if time.Since(start) != 10*s {
			t.Errorf("it took %v", time.Since(start))
		}
		if _, err := p.Wait(gone); err != nil {
			t.Errorf("the result is there, and an ended context hides it: %v", err)
		}
	})
}

func TestCancelEndsAPendingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, steps := range map[string][]step{"in an attempt": {hang}, "in a wait": {told(failure.RateLimited, 60*s)}} {
			p := llmcall.Start(t.Context(), play(t, steps...), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
			start := time.Now()
			time.Sleep(s)
			p.Cancel()
			p.Cancel()
			if time.Since(start) != s {
				t.Errorf("%s: Cancel waits", name)
			}
			_, err := p.Wait(t.Context())
			if reasonOf(t, err) != llmcall.ReasonCancelled || !errors.Is(err, context.Canceled) || time.Since(start) != s || len(traceOf(nil, err).Attempts) != 1 {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			p.Cancel() // does nothing after the end
			<-p.Done()
		}
	})
}

// foreign is a context that package context does not know: what waits for it does
// so on a goroutine of its own.
type foreign struct {
	context.Context
	done chan struct{}
}

func (f foreign) Done() <-chan struct{} { return f.done }

// Nobody need wait for a call, nor cancel it. The bubble ends only when all its
// goroutines have.
func TestAPendingCallLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		llmcall.Start(t.Context(), play(t, down, say("bad")), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{AttemptTimeout: 5 * s, MaxTime: 100 * s}))
		llmcall.Start(t.Context(), nil, nil, nil, llmcall.RetryConfig{})
		llmcall.Start(foreign{t.Context(), make(chan struct{})}, play(t, down, say("bad")), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
		llmcall.Start(foreign{t.Context(), make(chan struct{})}, play(t), nil, nil, llmcall.RetryConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		llmcall.Start(ctx, play(t, hang), llm.Prompt("x"), checked, llmcall.RetryConfig{})
		time.Sleep(time.Hour)
		cancel()
	})
}

// Everything that calls share, at once: the model, its circuit, its budget, the
// request, the configuration.
func TestManyCallsAtOnce(t *testing.T) {
	const n = 500
	var asked atomic.Int64
	shared := llm.Func(t.Name(), func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		switch k := asked.Add(1); {
		case k%11 == 0:
			return nil, &failure.Error{Kind: failure.Transient}
		case k%7 == 0:
			return llm.Reply("bad"), nil
		}
		r := llm.Reply("good")
		r.Usage.InputTokens = 1
		return r, ctx.Err()
	})
	var events atomic.Int64
	cfg := llmcall.RetryConfig{
		MaxAttempts: 20, InitialDelay: time.Microsecond, EnableCircuitBreaker: true, RetryBudget: endpoint.Budget{Saved: 1000},
		MaxAttemptsBeforeToolUse: 1, Tool: search, Observer: func(context.Context, llmcall.Event) context.Context {
			events.Add(1)
			return nil
		},
	}
	req := full()
	checks := []validate.Strategy{isGood, validate.NotEmpty()}
	var wait sync.WaitGroup
	var attempts atomic.Int64
	for i := range n {
		wait.Go(func() {
			r, err := forms[i%2].call(t.Context(), shared, req, checks, cfg)
			if err != nil {
				t.Error(err)
				return
			}
			attempts.Add(int64(len(r.Attempts)))
			if r.Text != "good" || r.Usage.InputTokens != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
	wait.Wait()
	if attempts.Load() != asked.Load() || events.Load() < 2*asked.Load() {
		t.Errorf("%d attempts, %d calls, %d events", attempts.Load(), asked.Load(), events.Load())
	}
}

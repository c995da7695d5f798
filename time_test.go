package llmcall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// Each row is a call that time ends: when, why, what its error matches, and the
// trace so far.
func TestTimeEndsACall(t *testing.T) {
	ms := time.Millisecond
	ctrlC := errors.New("Ctrl-C")
	deadline := func(d time.Duration) func(context.Context) (context.Context, func()) {
		return func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, d)
			return ctx, cancel
		}
	}
	interrupt := func(d time.Duration) func(context.Context) (context.Context, func()) {
		return func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			timer := time.AfterFunc(d, func() { cancel(ctrlC) })
			return ctx, func() { timer.Stop(); cancel(nil) }
		}
	}
	none := func(ctx context.Context) (context.Context, func()) { return ctx, func() {} }
	for _, c := range []struct {
		name    string
		bounds  func(context.Context) (context.Context, func())
		cfg     llmcall.RetryConfig
		steps   []step
		trace   []string
		ended   time.Duration
		reason  llmcall.Reason
		matches []error
	}{
		{"a wait that the deadline can't hold is not begun", deadline(2500 * ms), llmcall.RetryConfig{}, times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"nor one that MaxTime can't hold", none, llmcall.RetryConfig{MaxTime: 2500 * ms}, times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"nor one that ends with it", none, llmcall.RetryConfig{MaxTime: 3 * s}, times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"the sooner of the two counts", deadline(1500 * ms), llmcall.RetryConfig{MaxTime: 100 * s}, times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"nor one that the provider asks for", none, llmcall.RetryConfig{MaxTime: 30 * s}, []step{told(failure.RateLimited, 40*s)}, []string{
			"0s basic failed rate_limited",
		}, 0, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"the deadline cuts an attempt", deadline(2 * s), llmcall.RetryConfig{}, []step{down, hang}, []string{
			"0s basic failed transient", "1s basic failed deadline_exceeded, after 1s backoff",
		}, 2 * s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"MaxTime cuts an attempt", none, llmcall.RetryConfig{MaxTime: 2 * s}, []step{hang}, []string{
			"0s basic failed deadline_exceeded",
		}, 2 * s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"the limit of an attempt does not end the call", none, llmcall.RetryConfig{AttemptTimeout: 5 * s}, times(3, hang), []string{
			"0s basic failed attempt_timeout", "6s basic failed attempt_timeout, after 1s backoff", "13s basic failed attempt_timeout, after 2s backoff",
		}, 18 * s, llmcall.ReasonProviderFailed, nil},
		{"the deadline is told from the limit of the attempt", deadline(7 * s), llmcall.RetryConfig{AttemptTimeout: 5 * s}, times(3, hang), []string{
			"0s basic failed attempt_timeout", "6s basic failed deadline_exceeded, after 1s backoff",
		}, 7 * s, llmcall.ReasonOutOfTime, []error{context.DeadlineExceeded}},
		{"an interrupt ends a wait at once", interrupt(1700 * ms), llmcall.RetryConfig{}, times(3, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff",
		}, 1700 * ms, llmcall.ReasonCancelled, []error{context.Canceled, ctrlC}},
		{"and a wait for a rate limit", interrupt(1700 * ms), llmcall.RetryConfig{}, []step{told(failure.RateLimited, 60*s)}, []string{
			"0s basic failed rate_limited",
		}, 1700 * ms, llmcall.ReasonCancelled, []error{context.Canceled, ctrlC}},
		{"an interrupt ends an attempt", interrupt(300 * ms), llmcall.RetryConfig{AttemptTimeout: 5 * s}, []step{hang}, []string{
			"0s basic failed cancelled",
		}, 300 * ms, llmcall.ReasonCancelled, []error{context.Canceled, ctrlC}},
		{"no attempt is made after it", interrupt(300 * ms), llmcall.RetryConfig{}, []step{takes(s, say("bad"))}, []string{
			"0s basic check_unavailable check_unavailable", // the answer came too late to be checked
		}, s, llmcall.ReasonCancelled, []error{context.Canceled, ctrlC}},
		{"nor before it, if it came first", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(ctrlC)
			return ctx, func() {}
		}, llmcall.RetryConfig{MaxTime: s}, nil, nil, 0, llmcall.ReasonCancelled, []error{context.Canceled, ctrlC}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, form := range forms {
				synctest.Test(t, func(t *testing.T) {
					ctx, end := c.bounds(t.Context())
					defer end()
					m := play(t, c.steps...)
					r, err := form.call(ctx, m, llm.Prompt("x"), checked, exact(c.cfg))
					if r != nil || reasonOf(t, err) != c.reason {
						t.Fatalf("%s: %v, want %s", form.name, err, c.reason)
					}
					if got := time.Since(m.start); got != c.ended {
						t.Errorf("%s: ended after %v, want %v", form.name, got, c.ended)
					}
					trace := traceOf(nil, err)
					if got := lines(trace, m.start); !slices.Equal(got, c.trace) {
						t.Errorf("%s:\n%s\nwant:\n%s", form.name, strings.Join(got, "\n"), strings.Join(c.trace, "\n"))
					}
					for _, target := range c.matches {
						if !errors.Is(err, target) {
							t.Errorf("%s: %v does not match %v", form.name, err, target)
						}
					}
					_, cut := errors.AsType[*retry.AttemptTimeoutError](err) // it has what the attempt returned
					if c.matches == nil && !cut && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
						t.Errorf("%s: %v passes for the caller's own doing", form.name, err)
					}
					if e, ok := errors.AsType[*retry.Error](err); ok && len(trace.Attempts) > 0 && !errors.Is(err, e.Last()) {
						t.Errorf("%s: %v does not match the last failure", form.name, err)
					}
				})
			}
		})
	}
}

// The caller's own deadline and cancellation say nothing about the provider.
func TestTheCallersTimeIsNotTheProvidersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
		for _, cfg := range []llmcall.RetryConfig{{MaxTime: s}, {MaxTime: s, AttemptTimeout: 5 * s}} {
			cfg.EnableCircuitBreaker, cfg.CircuitBreakerConfig, cfg.Endpoints = true, registry.settings(), registry.Registry
			if _, err := llmcall.RetryWithValidation(t.Context(), play(t, hang), llm.Prompt("x"), checked, exact(cfg)); err == nil {
				t.Error("no error")
			}
		}
		if registry.Get(t.Name()).State() != breaker.Closed {
			t.Error("the deadline opened the circuit")
		}
		if _, err := llmcall.RetryWithValidation(t.Context(), play(t, hang), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{AttemptTimeout: s, EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry})); err == nil {
			t.Error("no error")
		}
		if registry.Get(t.Name()).State() != breaker.Open {
			t.Error("the limit of the attempt did not")
		}
	})
}

// A refused wait is said: which, how long, why.
func TestARefusedWaitIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := llmcall.RetryWithValidation(t.Context(), play(t, down, down), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{MaxTime: 2 * s}))
		e, ok := errors.AsType[*retry.Error](err)
		if !ok || e.RefusedWait != 2*s || e.WaitReason != retry.BackoffWait || !strings.Contains(err.Error(), "a wait of 2s (backoff)") {
			t.Errorf("%v", err)
		}
		_, err = llmcall.RetryWithValidation(t.Context(), play(t, told(failure.RateLimited, 200*s)), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
		if e, ok := errors.AsType[*failure.Error](err); !ok || e.Kind != failure.RateLimited || !strings.Contains(err.Error(), "a wait of 3m20s") {
			t.Errorf("%v", err)
		}
	})
}

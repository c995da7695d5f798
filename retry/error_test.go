package retry_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

// The text says why there was no further attempt, which wait was refused, and
// what the last failure was.
func TestErrorText(t *testing.T) {
	open := newBreaker(t, breaker.Config{})
	open.ForceOpen(transient)
	const last = "test: transient: on purpose"
	for _, c := range []struct {
		config retry.Config
		errs   []error
		ends   func(context.Context) (context.Context, context.CancelFunc)
		want   string
	}{
		{retry.Config{MaxAttempts: 1}, repeat(transient, 9), nil, "gave up after 1 attempt: " + last},
		{retry.Config{}, repeat(transient, 9), nil, "gave up after 3 attempts: " + last},
		{retry.Config{}, []error{retry.Stop(transient)}, nil, "not retried after 1 attempt: " + last},
		{retry.Config{MaxTime: 1500 * ms}, repeat(transient, 9), nil, "out of time: the deadline can't hold a wait of 2s (backoff) after 2 attempts: " + last},
		{retry.Config{}, nil, func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 0) }, "out of time after 0 attempts"},
		{retry.Config{}, repeat(transient, 9), func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			stop := time.AfterFunc(s/2, func() { cancel(errPatience) })
			return ctx, func() { stop.Stop() }
		}, "cancelled after 1 attempt: the caller has lost patience: " + last},
		{retry.Config{}, repeat(transient, 9), func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			stop := time.AfterFunc(s/2, cancel)
			return ctx, func() { stop.Stop() }
		}, "cancelled after 1 attempt: " + last},
		{retry.Config{Breaker: open}, nil, nil, `stopped by an open circuit after 0 attempts: circuit "test/model" is forced OPEN until it is reset; it opened because of: ` + last},
		{retry.Config{}, []error{told(failure.RateLimited, time.Hour)}, nil, "the provider asks for a wait of 1h0m0s, longer than is allowed: test: rate_limited (come back in 1h0m0s)"},
		{retry.Config{MaxLimitTime: s}, []error{told(failure.RateLimited, 2*s)}, nil, "rate limited for longer than is allowed; a further wait of 2s was asked for: test: rate_limited (come back in 2s)"},
		{retry.Config{Budget: emptyBudget(t)}, repeat(transient, 9), nil, "the endpoint's retry budget is spent, after 1 attempt: " + last},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if c.ends != nil {
				var cancel context.CancelFunc
				ctx, cancel = c.ends(ctx)
				defer cancel()
			}
			_, err := retry.Do(ctx, newPolicy(t, c.config), play(c.errs...).call)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func emptyBudget(t *testing.T) *retry.Budget {
	b, err := retry.NewBudget(0.1, 1)
	if err != nil {
		t.Fatal(err)
	}
	spend(b, 1)
	return b
}

// The history is whole, however long.
func TestEveryFailureIsInTheError(t *testing.T) {
	for n := range 12 {
		errs := make([]error, n+1)
		for i := range errs {
			errs[i] = errors.New("failure")
		}
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxAttempts: n + 1, Backoff: backoff.Constant{}}), play(errs...).call)
		e, _ := errors.AsType[*retry.Error](err)
		var got []error
		for i, f := range e.Failures {
			got = append(got, f.Err)
			if f.Number != i+1 {
				t.Errorf("failure %d has the number %d", i+1, f.Number)
			}
		}
		if !slices.Equal(got, errs) || e.Last() != errs[n] {
			t.Errorf("%d failures: got %v", n+1, got)
		}
	}
}

func TestAnErrorWithoutAnAttemptHasNoLastFailure(t *testing.T) {
	e := &retry.Error{Reason: retry.Exhausted}
	if e.Last() != nil || e.Unwrap() != nil || failure.KindOf(e) != failure.Unknown {
		t.Errorf("%v, %v, %v", e.Last(), e.Unwrap(), failure.KindOf(e))
	}
}

// Who keeps the list that Unwrap returns may append to it.
func TestUnwrapGivesAListOfItsOwn(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := retry.Do(ctx, newPolicy(t, retry.Config{}), func(context.Context, retry.Attempt) (int, error) {
		cancel(errPatience)
		return 0, transient
	})
	e, _ := errors.AsType[*retry.Error](err)
	want := []error{context.Canceled, errPatience, transient}
	_ = append(e.Unwrap()[:1], limited)
	if got := e.Unwrap(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSettingsAtTheirEndsAreTaken(t *testing.T) {
	for _, v := range [][2]float64{{0, 0}, {1, 1}, {1, 1e6}, {1e-9, 1.5}} {
		if _, err := retry.NewBudget(v[0], v[1]); err != nil {
			t.Errorf("NewBudget(%v, %v): %v", v[0], v[1], err)
		}
	}
	for _, v := range [][2]float64{{1.0001, 1}, {-1e-9, 1}, {1, 0.999}, {1, 1e6 + 1}} {
		if _, err := retry.NewBudget(v[0], v[1]); err == nil {
			t.Errorf("NewBudget(%v, %v) was taken", v[0], v[1])
		}
	}
	budget, err := retry.NewBudget(1, 1e6)
	if err != nil || budget.Tokens() != 1e6 {
		t.Errorf("a million tokens: %v, %v", budget.Tokens(), err)
	}
}

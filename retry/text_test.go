package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// What is said of a call that failed.
func TestTheTextOfAnError(t *testing.T) {
	failed := []retry.Failure{{Err: errors.New("first"), Kind: failure.Transient}, {Err: errors.New("last"), Kind: failure.Overloaded}}
	for _, c := range []struct {
		e    retry.Error
		want string
		kind failure.Kind
	}{
		{retry.Error{Reason: retry.Exhausted, Attempts: 2, Failures: failed}, "gave up after 2 attempts: last", failure.Overloaded},
		{retry.Error{Reason: retry.Exhausted, Attempts: 1, Failures: failed[:1]}, "gave up after 1 attempt: first", failure.Transient},
		{retry.Error{Reason: retry.Permanent, Attempts: 2, Failures: failed}, "not retried after 2 attempts: last", failure.Overloaded},
		{retry.Error{Reason: retry.OutOfTime, Attempts: 2, Failures: failed}, "out of time after 2 attempts: last", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.OutOfTime, RefusedWait: 2 * s, WaitReason: retry.BackoffWait, Attempts: 2}, "out of time: the deadline can't hold a wait of 2s (backoff) after 2 attempts", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.OutOfTime, RefusedWait: 1, WaitReason: retry.PaceWait}, "out of time: the deadline can't hold a wait of 0s for this process's own pacing after 0 attempts", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.OutOfTime, RefusedWait: 2 * s, WaitReason: retry.ProviderWait}, "out of time: the deadline can't hold a wait of 2s that the provider asks for (retry_after) after 0 attempts", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.OutOfTime, RefusedWait: 2 * s, WaitReason: retry.RateLimitWait}, "out of time: the deadline can't hold a wait of 2s that the provider asks for (rate_limit) after 0 attempts", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.OutOfTime, RefusedWait: 1<<63 - 1, WaitReason: retry.PaceWait}, "out of time: the deadline can't hold a wait for this process's own pacing after 0 attempts", failure.DeadlineExceeded},
		{retry.Error{Reason: retry.Cancelled, Attempts: 2, Failures: failed}, "cancelled after 2 attempts: last", failure.Cancelled},
		{retry.Error{Reason: retry.CircuitOpen, Attempts: 2, Failures: failed}, "stopped by an open circuit after 2 attempts: last", failure.CircuitOpen},
		{retry.Error{Reason: retry.BudgetSpent, Attempts: 2, Failures: failed}, "stopped after 2 attempts: last", failure.RetryBudgetSpent},
		{retry.Error{Reason: retry.AccountSpent}, "stopped after 0 attempts", failure.AccountSpent},
		{retry.Error{Reason: retry.WaitTooLong, RefusedWait: time.Hour, Failures: failed}, "the provider asks for a wait of 1h0m0s, longer than max_retry_after allows: last", failure.Overloaded},
		{retry.Error{Reason: retry.RateLimitWaitExceeded}, "waited for rate limits for as long as max_rate_limit_wait allows", failure.RateLimited},
		{retry.Error{Reason: retry.RateLimitWaitExceeded, RefusedWait: 1<<63 - 1}, "waited for rate limits for as long as max_rate_limit_wait allows", failure.RateLimited},
		{retry.Error{Reason: retry.RateLimitWaitExceeded, RefusedWait: 2 * s, WaitReason: retry.CircuitWait}, "waited for rate limits for as long as max_rate_limit_wait allows; next would be a wait of 2s (circuit)", failure.RateLimited},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if got := c.e.FailureKind(); got != c.kind {
			t.Errorf("%s: kind %v, want %v", c.want, got, c.kind)
		}
		if got := c.e.Unwrap(); len(got) != min(len(c.e.Failures), 1) || slices.Contains(got, nil) {
			t.Errorf("%s: unwraps to %v", c.want, got)
		}
	}
}

// What ended the call is said before the last failure; that its own context has
// ended says the reason already.
func TestTheTextOfCauses(t *testing.T) {
	refuse := func(kind failure.Kind) *ledger {
		return &ledger{admit: func(n int64) *endpoint.Refusal {
			if n == 1 {
				return nil
			}
			return &endpoint.Refusal{Kind: kind, Err: fmt.Errorf("says the guard")}
		}}
	}
	for _, c := range []struct {
		name  string
		guard *ledger
		cause error // of the end of the context, as the function fails
		want  string
	}{
		{"a circuit", refuse(failure.CircuitOpen), nil, "stopped by an open circuit after 1 attempt: says the guard; the last failure: test: transient: on purpose"},
		{"a budget", refuse(failure.RetryBudgetSpent), nil, "stopped after 1 attempt: says the guard; the last failure: test: transient: on purpose"},
		{"the context", &ledger{}, context.Canceled, "cancelled after 1 attempt: test: transient: on purpose"},
		{"its cause", &ledger{}, errors.New("Ctrl-C"), "cancelled after 1 attempt: Ctrl-C; the last failure: test: transient: on purpose"},
		{"a cause that can't be compared", &ledger{}, many{errors.New("Ctrl-C")}, "cancelled after 1 attempt: [Ctrl-C]; the last failure: test: transient: on purpose"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			p := newPolicy(t, retry.Config{Backoff: backoff.Constant{}, Target: retry.Target{Guards: []endpoint.Guard{c.guard}}})
			_, err := retry.Do(ctx, p, func(context.Context, retry.Attempt) (int, error) {
				if c.cause != nil {
					cancel(c.cause)
				}
				return 0, transient
			})
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// Where the deadline can't hold a guard's wait, the guard says why.
func TestTheTextOfAGuardThatIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &gate{begun: time.Now(), opens: time.Hour, kind: failure.CircuitOpen}
		p := newPolicy(t, retry.Config{MaxTime: 5 * s, WaitForCircuit: true, Target: retry.Target{Guards: []endpoint.Guard{late}}})
		_, err := retry.Do(t.Context(), p, play().call)
		if want := "out of time: the deadline can't hold a wait of 1h0m0s (circuit) after 0 attempts: shut"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}

// A context of the caller's own kind may end with an error that can't be compared.
func TestAContextThatEndsOddly(t *testing.T) {
	_, err := retry.Do(odd{context.Background()}, newPolicy(t, retry.Config{}), play().call)
	e, ok := errors.AsType[*retry.Error](err)
	if !ok || e.Reason != retry.Cancelled || len(e.Unwrap()) == 0 {
		t.Errorf("ended with %v", err)
	}
}

type odd struct{ context.Context }

func (odd) Err() error { return many{errors.New("odd")} }

// many is an error of a type that can't be compared.
type many []error

func (m many) Error() string { return fmt.Sprint([]error(m)) }

func TestTheTextOfAnAttemptThatWasCut(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "the attempt was cut at its limit of 5s"},
		{context.DeadlineExceeded, "the attempt was cut at its limit of 5s"},
		{errors.New("sdk"), "the attempt was cut at its limit of 5s: sdk"},
	} {
		if got := (&retry.AttemptTimeoutError{Limit: 5 * s, Err: c.err}).Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestImpossibleConfigsNameTheField(t *testing.T) {
	for field, c := range map[string]retry.Config{
		"MaxAttempts": {MaxAttempts: -1}, "AttemptsPerTarget": {AttemptsPerTarget: -1}, "MaxTime": {MaxTime: -1}, "AttemptTimeout": {AttemptTimeout: -1},
		"FallbackAfter": {FallbackAfter: -1}, "MaxRetryAfter": {MaxRetryAfter: -1}, "MaxRateLimitWait": {MaxRateLimitWait: -1},
	} {
		_, err := retry.New(c)
		if e, ok := errors.AsType[*retry.ConfigError](err); !ok || e.Field != field || e.Got == nil || !strings.Contains(err.Error(), field+" must be ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := retry.New(retry.Config{Backoff: backoff.Constant{Interval: -1}})
	if e, ok := errors.AsType[*backoff.ConfigError](err); !ok || e.Field != "Interval" || !strings.HasPrefix(err.Error(), "retry: Backoff: ") {
		t.Errorf("Backoff: %v", err)
	}
}

// A function may stop the loop from anywhere in its error, also where its attempt
// was cut.
func TestStopIsFoundInATree(t *testing.T) {
	for name, err := range map[string]error{
		"itself":  retry.Stop(transient),
		"wrapped": fmt.Errorf("call: %w", retry.Stop(transient)),
		"joined":  errors.Join(errors.New("?"), fmt.Errorf("call: %w", retry.Stop(transient))),
	} {
		if !retry.Stopped(err) {
			t.Errorf("%s: not stopped", name)
		}
		f := play(err)
		_, got := retry.Do(t.Context(), newPolicy(t, retry.Config{}), f.call)
		e, ok := errors.AsType[*retry.Error](got)
		if !ok || e.Reason != retry.Permanent || len(f.at) != 1 {
			t.Errorf("%s: %v after %d attempts", name, got, len(f.at))
			continue
		}
		if last := e.Last(); name == "itself" && last != transient || name != "itself" && last != err { //nolint:errorlint // the very error
			t.Errorf("%s: the failure is %#v", name, last)
		}
	}
	if retry.Stopped(transient) || retry.Stopped(nil) {
		t.Error("stopped without Stop")
	}
	if f := play(errors.Join(errors.New("?"), transient), nil); true {
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Backoff: backoff.Constant{}}), f.call); err != nil || len(f.at) != 2 {
			t.Errorf("joined without Stop: %v after %d attempts", err, len(f.at))
		}
	}
	n := 0
	_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{AttemptTimeout: time.Nanosecond}), func(ctx context.Context, _ retry.Attempt) (int, error) {
		n++
		<-ctx.Done()
		return 0, retry.Stop(ctx.Err())
	})
	if failure.KindOf(err) != failure.AttemptTimeout || n != 1 {
		t.Errorf("cut: %v after %d attempts", err, n)
	}
}

// An error is read by its own kind, or by the context's end, as the contexts of the
// call and of the attempt say.
func TestKindsByTheContext(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration // of the attempt
		cut   bool          // the attempt's limit has passed
		err   error
		kind  failure.Kind
	}{
		{name: "a context of the function's own", err: context.DeadlineExceeded, kind: failure.Transient},
		{name: "its cancellation", err: context.Canceled, kind: failure.Transient},
		{name: "said by itself", err: fail(failure.Cancelled), kind: failure.Cancelled},
		{name: "its deadline, said by itself", err: fail(failure.DeadlineExceeded), kind: failure.DeadlineExceeded},
		{name: "another kind by a context", err: &failure.Error{Kind: failure.InvalidRequest, Err: context.Canceled}, kind: failure.InvalidRequest},
		{name: "cut", cut: true, err: context.DeadlineExceeded, kind: failure.AttemptTimeout},
		{name: "cut, as a cancellation", cut: true, err: context.Canceled, kind: failure.AttemptTimeout},
		{name: "cut, as a failure that passes", cut: true, err: transient, kind: failure.AttemptTimeout},
		{name: "cut, unknown", cut: true, err: errors.New("?"), kind: failure.AttemptTimeout},
		{name: "cut, the caller wants no more", cut: true, err: fail(failure.Cancelled), kind: failure.Cancelled},
		{name: "cut, refused", cut: true, err: limited, kind: failure.RateLimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := retry.Config{MaxAttempts: 1}
			if c.cut {
				config.AttemptTimeout = time.Nanosecond
			}
			_, err := retry.Do(t.Context(), newPolicy(t, config), func(ctx context.Context, _ retry.Attempt) (int, error) {
				if c.cut {
					<-ctx.Done()
				}
				return 0, c.err
			})
			e, ok := errors.AsType[*retry.Error](err)
			if !ok || len(e.Failures) != 1 || e.Failures[0].Kind != c.kind {
				t.Errorf("%v: %+v, want %v", err, e.Failures, c.kind)
			}
		})
	}
}

// What Classify does not know is known by the error itself.
func TestClassifyMayNotKnow(t *testing.T) {
	p := newPolicy(t, retry.Config{Classify: func(error) (failure.Kind, bool) { return failure.Transient, false }})
	f := play(fail(failure.InvalidRequest))
	if _, err := retry.Do(t.Context(), p, f.call); failure.KindOf(err) != failure.InvalidRequest || len(f.at) != 1 {
		t.Errorf("%v after %d attempts", err, len(f.at))
	}
}

func TestAPanicOfAnObserverIsLogged(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	calm := func(context.Context, retry.Event) context.Context { return nil }
	for observer, lines := range map[string]int{"calm": 0, "panics": 4} {
		log.Reset()
		o := retry.Observer(calm)
		if observer == "panics" {
			o = func(context.Context, retry.Event) context.Context { panic("a fault of the observer's") }
		}
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Observer: o}), play().call); err != nil {
			t.Error(err)
		}
		if got := strings.Count(log.String(), "a fault of the observer's"); got != lines || strings.Count(log.String(), "\n") != lines {
			t.Errorf("%s: the log has\n%s", observer, log.String())
		}
	}
}

// Of a hundred and thirty failures the first and the last 64 are kept, each with
// its number, its target and the wait before it.
func TestManyFailuresAreKeptInPart(t *testing.T) {
	var c retry.Call
	c.Begin(t.Context(), newPolicy(t, retry.Config{MaxAttempts: 130, Backoff: backoff.Constant{}}), []retry.Target{{}})
	defer c.Close()
	for c.Next() {
		c.Settle(endpoint.Outcome{Err: transient})
	}
	e, ok := errors.AsType[*retry.Error](c.Err())
	if !ok || e.Attempts != 130 || len(e.Failures) != 128 {
		t.Fatalf("%v", c.Err())
	}
	for i, f := range e.Failures {
		want := i + 1
		if i >= 64 {
			want = i + 3
		}
		if f.Number != want || f.Kind != failure.Transient {
			t.Fatalf("failure %d: %+v", i, f)
		}
	}
}

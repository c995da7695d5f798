package retry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/retry"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const s = time.Second

func fail(kind failure.Kind) error {
	return &failure.Error{Kind: kind, Provider: "test", Message: "on purpose"}
}

func told(kind failure.Kind, after time.Duration) error {
	return &failure.Error{Kind: kind, Provider: "test", Told: true, RetryAfter: after}
}

var transient, invalid, limited = fail(failure.Transient), fail(failure.InvalidAnswer), fail(failure.RateLimited)

// exact is the default backoff without its jitter: 1 s, 2 s, 4 s …
var exact = backoff.Exponential{Jitter: backoff.NoJitter}

func newPolicy(t *testing.T, c retry.Config) *retry.Policy {
	t.Helper()
	if c.Backoff == nil {
		c.Backoff = exact
	}
	p, err := retry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// script is a function that fails with each error in turn and then succeeds; a
// nil error is a success.
type script struct {
	errs  []error
	start time.Time
	at    []time.Duration // when each attempt began
	seen  []retry.Attempt
}

func play(errs ...error) *script { return &script{errs: errs, start: time.Now()} }

func (c *script) call(_ context.Context, a retry.Attempt) (string, error) {
	c.at = append(c.at, time.Since(c.start))
	c.seen = append(c.seen, a)
	if n := len(c.at); n <= len(c.errs) && c.errs[n-1] != nil {
		return "", c.errs[n-1]
	}
	return "answer", nil
}

func repeat(err error, n int) []error {
	return slices.Repeat([]error{err}, n)
}

// Each row is a trace: the failures, when each attempt began, why it ended.
func TestWhatFollowsFromEachFailure(t *testing.T) {
	for _, c := range []struct {
		name   string
		config retry.Config
		errs   []error
		at     []time.Duration
		reason retry.Reason
	}{
		{"success at once", retry.Config{}, nil, []time.Duration{0}, 0},
		{"two failures, then success", retry.Config{}, []error{transient, transient}, []time.Duration{0, s, 3 * s}, 0},
		{"no wait after the last attempt", retry.Config{}, repeat(transient, 9), []time.Duration{0, s, 3 * s}, retry.Exhausted},
		{"five attempts", retry.Config{MaxAttempts: 5}, repeat(transient, 9), []time.Duration{0, s, 3 * s, 7 * s, 15 * s}, retry.Exhausted},
		{"one attempt is no retry", retry.Config{MaxAttempts: 1}, []error{transient}, []time.Duration{0}, retry.Exhausted},
		{"an unknown error is retried", retry.Config{}, []error{errors.New("?")}, []time.Duration{0, s}, 0},
		{"a bad request is not", retry.Config{}, []error{fail(failure.InvalidRequest)}, []time.Duration{0}, retry.Permanent},
		{"a bad key is not", retry.Config{}, []error{fail(failure.Unauthorized)}, []time.Duration{0}, retry.Permanent},
		{"a spent quota is not", retry.Config{}, []error{told(failure.QuotaExhausted, s)}, []time.Duration{0}, retry.Permanent},
		{"a wrong answer is asked again at once", retry.Config{}, repeat(invalid, 9), []time.Duration{0, 0, 0}, retry.Exhausted},
		{"wrong answers do not lengthen the backoff", retry.Config{MaxAttempts: 5}, []error{invalid, transient, invalid, transient}, []time.Duration{0, 0, s, s, 3 * s}, 0},
		{"overload waits one step further", retry.Config{}, repeat(fail(failure.Overloaded), 2), []time.Duration{0, 2 * s, 6 * s}, 0},
		{"a cut-off answer is asked for once more", retry.Config{MaxAttempts: 9}, repeat(fail(failure.CutOff), 9), []time.Duration{0, 0}, retry.Permanent},
		{"also after a failure that passes", retry.Config{MaxAttempts: 9}, []error{transient, fail(failure.CutOff)}, []time.Duration{0, s, s}, 0},
		{"and only once, whatever comes between", retry.Config{MaxAttempts: 9}, []error{fail(failure.CutOff), transient, fail(failure.CutOff)}, []time.Duration{0, 0, s}, retry.Permanent},
		{"Retry-After above the backoff", retry.Config{}, []error{told(failure.Transient, 5*s)}, []time.Duration{0, 5 * s}, 0},
		{"Retry-After below the backoff is not stretched by it", retry.Config{}, []error{told(failure.Transient, s/2)}, []time.Duration{0, s / 2}, 0},
		{"Retry-After of 0 says no more than that a retry is welcome", retry.Config{}, []error{told(failure.Transient, 0)}, []time.Duration{0, s}, 0},
		{"Retry-After of a failure that is no limit uses up attempts", retry.Config{}, repeat(told(failure.Overloaded, 5*s), 9), []time.Duration{0, 5 * s, 10 * s}, retry.Exhausted},
		{"a rate limit uses up no attempts", retry.Config{MaxAttempts: 2}, append(repeat(told(failure.RateLimited, 10*s), 3), transient), []time.Duration{0, 10 * s, 20 * s, 30 * s, 31 * s}, 0},
		{"a rate limit without a time does", retry.Config{}, repeat(limited, 9), []time.Duration{0, s, 3 * s}, retry.Exhausted},
		{"a limit that says 0 is asked again after 100 ms", retry.Config{}, repeat(told(failure.RateLimited, 0), 4), []time.Duration{0, s / 10, 2 * s / 10, 3 * s / 10, 4 * s / 10}, 0},
		{"and not stretched by the backoff", retry.Config{}, []error{transient, told(failure.RateLimited, s/2)}, []time.Duration{0, s, 3 * s / 2}, 0},
		{"a wait above MaxRetryAfter is refused, not shortened", retry.Config{MaxRetryAfter: 10 * s}, []error{told(failure.RateLimited, 11*s)}, []time.Duration{0}, retry.WaitTooLong},
		{"one of exactly MaxRetryAfter is not", retry.Config{MaxRetryAfter: 10 * s}, []error{told(failure.RateLimited, 10*s)}, []time.Duration{0, 10 * s}, 0},
		{"rate limits end at MaxRateLimitWait", retry.Config{MaxRateLimitWait: 25 * s}, repeat(told(failure.RateLimited, 10*s), 9), []time.Duration{0, 10 * s, 20 * s}, retry.RateLimitWaitExceeded},
		{"a wait that MaxTime can't hold is not begun", retry.Config{MaxTime: 3 * s, MaxAttempts: 9}, repeat(transient, 9), []time.Duration{0, s}, retry.OutOfTime},
		{"a wait that MaxTime just holds is", retry.Config{MaxTime: 3*s + 1, MaxAttempts: 9}, repeat(transient, 9), []time.Duration{0, s, 3 * s}, retry.OutOfTime},
		{"Retry-After past the deadline is refused", retry.Config{MaxTime: 30 * s}, []error{told(failure.RateLimited, 40*s)}, []time.Duration{0}, retry.OutOfTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := play(c.errs...)
				got, err := retry.Do(t.Context(), newPolicy(t, c.config), f.call)
				if !slices.Equal(f.at, c.at) {
					t.Errorf("attempts began at %v, want %v", f.at, c.at)
				}
				if c.reason == 0 {
					if err != nil || got != "answer" {
						t.Errorf("got %q, %v", got, err)
					}
					return
				}
				var e *retry.Error
				if !errors.As(err, &e) || e.Reason != c.reason {
					t.Fatalf("got %v, want %s", err, c.reason)
				}
				last := c.errs[len(c.at)-1]
				if !errors.Is(err, last) {
					t.Errorf("%v does not match the last failure", err)
				}
				if len(e.Failures) != len(c.at) {
					t.Errorf("%d failures in the trace of %d attempts", len(e.Failures), len(c.at))
				}
				if elapsed := time.Since(f.start); elapsed != c.at[len(c.at)-1] {
					t.Errorf("ended after %v, want at once after the last attempt", elapsed)
				}
			})
		})
	}
}

func TestEachAttemptGetsItsNumberAndTheFailureBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := play(transient, invalid)
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{}), f.call); err != nil {
			t.Fatal(err)
		}
		if want := []retry.Attempt{{1, nil}, {2, transient}, {3, invalid}}; !slices.Equal(f.seen, want) {
			t.Errorf("got %v, want %v", f.seen, want)
		}
	})
}

// The error of a refused wait matches context.DeadlineExceeded and the last
// failure, comes at once, and says which wait was refused.
func TestARefusedWaitIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := retry.Do(ctx, newPolicy(t, retry.Config{}), play(repeat(transient, 5)...).call)
		var e *retry.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, transient) || !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		if e.RefusedWait != 2*s || e.WaitReason != retry.BackoffWait || !strings.Contains(err.Error(), "a wait of 2s (backoff)") {
			t.Errorf("refused wait %v (%s): %v", e.RefusedWait, e.WaitReason, err)
		}
		if time.Since(start) != s {
			t.Errorf("ended after %v: it waited for nothing", time.Since(start))
		}
	})
}

func TestCancellationEndsAWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user pressed Ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(1700*time.Millisecond, func() { cancel(why) })
		f := play(repeat(transient, 5)...)
		_, err := retry.Do(ctx, newPolicy(t, retry.Config{}), f.call)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || !errors.Is(err, transient) {
			t.Errorf("%v does not match the cancellation, its cause and the last failure", err)
		}
		if failure.KindOf(err) != failure.Cancelled || len(f.at) != 2 || time.Since(f.start) != 1700*time.Millisecond {
			t.Errorf("%v after %d attempts and %v", failure.KindOf(err), len(f.at), time.Since(f.start))
		}
	})
}

func TestNoAttemptIsMadeInAnEndedContext(t *testing.T) {
	for _, c := range []retry.Config{{}, {MaxTime: s}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f := play()
		if _, err := retry.Do(ctx, newPolicy(t, c), f.call); !errors.Is(err, context.Canceled) || len(f.at) != 0 {
			t.Errorf("got %v after %d attempts", err, len(f.at))
		}
	}
}

func hang(ctx context.Context, _ retry.Attempt) (string, error) {
	<-ctx.Done()
	return "", fmt.Errorf("sdk: %w", ctx.Err())
}

// The attempt's timeout and the caller's deadline both end the attempt's
// context; only the first is worth another attempt.
func TestAttemptTimeoutIsToldFromTheCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{AttemptTimeout: 5 * s}), hang)
		if e, ok := errors.AsType[*retry.AttemptTimeoutError](err); !ok || e.Limit != 5*s || failure.KindOf(err) != failure.AttemptTimeout {
			t.Errorf("attempt timeout: got %v", err)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "sdk: ") {
			t.Errorf("%v: what the attempt returned is lost", err)
		}
		if time.Since(start) != (3*5+1+2)*s {
			t.Errorf("three attempts and two waits took %v", time.Since(start))
		}

		ctx, cancel := context.WithTimeout(t.Context(), 7*s)
		defer cancel()
		start = time.Now()
		_, err = retry.Do(ctx, newPolicy(t, retry.Config{AttemptTimeout: 5 * s}), hang)
		if !errors.Is(err, context.DeadlineExceeded) || failure.KindOf(err) != failure.DeadlineExceeded || time.Since(start) != 7*s {
			t.Errorf("caller's deadline: got %v (%v) after %v", err, failure.KindOf(err), time.Since(start))
		}
		if e, _ := errors.AsType[*retry.Error](err); len(e.Unwrap()) != 2 {
			t.Errorf("%q are the deadline and the last failure", e.Unwrap())
		}
	})
}

func TestClassifyIsAskedFirst(t *testing.T) {
	own := errors.New("own")
	p := newPolicy(t, retry.Config{Classify: func(err error) (failure.Kind, bool) { return failure.InvalidRequest, err == own }})
	f := play(own)
	if _, err := retry.Do(t.Context(), p, f.call); !errors.Is(err, own) || len(f.at) != 1 {
		t.Errorf("%v after %d attempts", err, len(f.at))
	}
}

func TestStopEndsTheLoop(t *testing.T) {
	f := play(retry.Stop(transient))
	_, err := retry.Do(t.Context(), nil, f.call)
	if !errors.Is(err, transient) || len(f.at) != 1 || failure.KindOf(err) != failure.Transient {
		t.Errorf("%v after %d attempts", err, len(f.at))
	}
}

func TestARowOfTheTableCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := failure.Decisions()
		table[failure.InvalidRequest] = failure.Decision{Again: failure.Backoff}
		f := play(fail(failure.InvalidRequest))
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Decisions: &table}), f.call); err != nil || len(f.at) != 2 {
			t.Errorf("%v after %d attempts", err, len(f.at))
		}
	})
}

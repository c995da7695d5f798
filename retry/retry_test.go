package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
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
		{"success at once", retry.Config{}, nil, []time.Duration{0}, retry.Going},
		{"two failures, then success", retry.Config{}, []error{transient, transient}, []time.Duration{0, s, 3 * s}, retry.Going},
		{"no wait after the last attempt", retry.Config{}, repeat(transient, 9), []time.Duration{0, s, 3 * s}, retry.Exhausted},
		{"five attempts", retry.Config{MaxAttempts: 5}, repeat(transient, 9), []time.Duration{0, s, 3 * s, 7 * s, 15 * s}, retry.Exhausted},
		{"one attempt is no retry", retry.Config{MaxAttempts: 1}, []error{transient}, []time.Duration{0}, retry.Exhausted},
		{"an unknown error is retried", retry.Config{}, []error{errors.New("?")}, []time.Duration{0, s}, retry.Going},
		{"a bad request is not", retry.Config{}, []error{fail(failure.InvalidRequest)}, []time.Duration{0}, retry.Permanent},
		{"a bad key is not", retry.Config{}, []error{fail(failure.Unauthorized)}, []time.Duration{0}, retry.Permanent},
		{"a spent quota is not", retry.Config{}, []error{told(failure.QuotaExhausted, s)}, []time.Duration{0}, retry.Permanent},
		{"a wrong answer is asked again at once", retry.Config{}, repeat(invalid, 9), []time.Duration{0, 0, 0}, retry.Exhausted},
		{"wrong answers do not lengthen the backoff", retry.Config{MaxAttempts: 5}, []error{invalid, transient, invalid, transient}, []time.Duration{0, 0, s, s, 3 * s}, retry.Going},
		{"overload waits one step further", retry.Config{}, repeat(fail(failure.Overloaded), 2), []time.Duration{0, 2 * s, 6 * s}, retry.Going},
		{"a cut-off answer is asked for once more", retry.Config{MaxAttempts: 9}, repeat(fail(failure.CutOff), 9), []time.Duration{0, 0}, retry.Permanent},
		{"Retry-After above the backoff", retry.Config{}, []error{told(failure.Transient, 5*s)}, []time.Duration{0, 5 * s}, retry.Going},
		{"Retry-After below the backoff", retry.Config{}, []error{told(failure.Transient, s/2)}, []time.Duration{0, s}, retry.Going},
		{"Retry-After of a failure that is no limit uses up attempts", retry.Config{}, repeat(told(failure.Overloaded, 5*s), 9), []time.Duration{0, 5 * s, 10 * s}, retry.Exhausted},
		{"a rate limit uses up no attempts", retry.Config{MaxAttempts: 2}, append(repeat(told(failure.RateLimited, 10*s), 3), transient), []time.Duration{0, 10 * s, 20 * s, 30 * s, 38 * s}, retry.Going},
		{"a rate limit without a time does", retry.Config{}, repeat(limited, 9), []time.Duration{0, s, 3 * s}, retry.Exhausted},
		{"a limit that says 0 is waited for all the same", retry.Config{}, repeat(told(failure.RateLimited, 0), 4), []time.Duration{0, s, 3 * s, 7 * s, 15 * s}, retry.Going},
		{"a wait above MaxRetryAfter is refused, not shortened", retry.Config{MaxRetryAfter: 10 * s}, []error{told(failure.RateLimited, 11*s)}, []time.Duration{0}, retry.WaitTooLong},
		{"one of exactly MaxRetryAfter is not", retry.Config{MaxRetryAfter: 10 * s}, []error{told(failure.RateLimited, 10*s)}, []time.Duration{0, 10 * s}, retry.Going},
		{"rate limits end at MaxLimitTime", retry.Config{MaxLimitTime: 25 * s}, repeat(told(failure.RateLimited, 10*s), 9), []time.Duration{0, 10 * s, 20 * s}, retry.LimitTimePassed},
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
				if c.reason == retry.Going {
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
		if e.RefusedWait != 2*s || e.Why != retry.BackoffWait || !strings.Contains(err.Error(), "a wait of 2s (backoff)") {
			t.Errorf("refused wait %v (%s): %v", e.RefusedWait, e.Why, err)
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
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("an attempt's timeout passes for the caller's deadline")
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
	})
}

func TestBudgetIsSharedAndChargedBeforeTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, err := retry.NewBudget(0.5, 2)
		if err != nil {
			t.Fatal(err)
		}
		p := newPolicy(t, retry.Config{Budget: budget, MaxAttempts: 9})
		f := play(repeat(transient, 9)...)
		_, err = retry.Do(t.Context(), p, f.call)
		if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.BudgetSpent || len(f.at) != 3 {
			t.Fatalf("two saved retries gave %d attempts: %v", len(f.at), err)
		}
		other := play(transient)
		if _, err := retry.Do(t.Context(), p, other.call); err == nil || time.Since(other.start) != 0 {
			t.Errorf("another caller of the endpoint waited %v for a retry that is not to be had: %v", time.Since(other.start), err)
		}
		for range 2 { // two successes pay for one retry
			if _, err := retry.Do(t.Context(), p, play().call); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := retry.Do(t.Context(), p, play(transient).call); err != nil {
			t.Errorf("one retry saved up: %v", err)
		}
		if got := budget.Tokens(); got != 0.5 {
			t.Errorf("%v tokens left, want the last success's 0.5", got)
		}
	})
}

// Neither adds to an outage.
func TestWrongAnswersAndRateLimitsAreFreeOfTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, _ := retry.NewBudget(0.1, 1)
		p := newPolicy(t, retry.Config{Budget: budget, MaxAttempts: 9})
		if _, err := retry.Do(t.Context(), p, play(append(repeat(invalid, 5), repeat(told(failure.RateLimited, s), 5)...)...).call); err != nil {
			t.Fatal(err)
		}
		if budget.Tokens() != 1 {
			t.Errorf("%v tokens left of 1", budget.Tokens())
		}
	})
}

func TestInATotalOutageTheBudgetLeavesTheFirstAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, _ := retry.NewBudget(0, 0)
		p := newPolicy(t, retry.Config{Budget: budget, Backoff: backoff.Constant{}})
		attempts := 0
		for range 1000 {
			f := play(repeat(transient, 9)...)
			retry.Do(t.Context(), p, f.call)
			attempts += len(f.at)
		}
		if attempts != 1010 {
			t.Errorf("1000 calls made %d attempts, want 1000 and the 10 saved up", attempts)
		}
	})
}

func newBreaker(t *testing.T, c breaker.Config) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("test/model", c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBreakerIsAskedBeforeAndToldAfterEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 2})
		p := newPolicy(t, retry.Config{Breaker: b, MaxAttempts: 5})
		f := play(repeat(transient, 9)...)
		_, err := retry.Do(t.Context(), p, f.call)
		open, isOpen := errors.AsType[*breaker.OpenError](err)
		if !isOpen || !errors.Is(err, transient) || failure.KindOf(err) != failure.CircuitOpen {
			t.Fatalf("got %v, want the open circuit and the last failure", err)
		}
		// The wait after the failure that opened the circuit is not begun.
		if len(f.at) != 2 || time.Since(f.start) != s || open.Name != "test/model" {
			t.Errorf("%d attempts in %v: %v", len(f.at), time.Since(f.start), err)
		}
		other := play()
		_, err = retry.Do(t.Context(), p, other.call)
		e, _ := errors.AsType[*retry.Error](err)
		if e == nil || e.Reason != retry.CircuitOpen || len(e.Failures) != 0 || len(other.at) != 0 {
			t.Errorf("another caller: %v after %d attempts; a rejection is no attempt", err, len(other.at))
		}
	})
}

func TestWhatEachKindTellsTheBreaker(t *testing.T) {
	for kind, opens := range map[failure.Kind]bool{
		failure.Transient: true, failure.Overloaded: true, failure.AttemptTimeout: true, failure.Unknown: true,
		failure.QuotaExhausted: true, failure.Unauthorized: true,
		failure.RateLimited: false, failure.InvalidRequest: false, failure.InvalidAnswer: false, failure.ContentFiltered: false,
		failure.ModelNotFound: false, failure.ContextTooLong: false, failure.CutOff: false, failure.CheckUnavailable: false,
	} {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		retry.Do(t.Context(), newPolicy(t, retry.Config{Breaker: b, MaxAttempts: 1}), play(fail(kind)).call)
		if got := b.State() == breaker.Open; got != opens {
			t.Errorf("%v opened the circuit: %v, want %v", kind, got, opens)
		}
	}
}

func TestCallersCancellationCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 1})
		for _, c := range []retry.Config{{Breaker: b}, {Breaker: b, AttemptTimeout: 5 * s}, {Breaker: b, MaxTime: s}} {
			ctx, cancel := context.WithTimeout(t.Context(), s)
			if _, err := retry.Do(ctx, newPolicy(t, c), hang); err == nil {
				t.Error("no error")
			}
			cancel()
		}
		if b.State() != breaker.Closed {
			t.Error("the caller's deadline opened the circuit")
		}
	})
}

func TestALoopWhoseWaitOutlastsTheOpenCircuitGoesThroughItsRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: 2 * s, SuccessThreshold: 1})
		f := play(transient, transient)
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Breaker: b}), f.call); err != nil {
			t.Fatal(err)
		}
		if b.State() != breaker.Closed || b.Snapshot().Generation != 3 {
			t.Errorf("%+v, want CLOSED by way of OPEN and HALF_OPEN", b.Snapshot())
		}
	})
}

func TestWaitForCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: 30 * s})
		p := newPolicy(t, retry.Config{Breaker: b, WaitForCircuit: true})
		f := play(transient, transient)
		if _, err := retry.Do(t.Context(), p, f.call); err != nil || !slices.Equal(f.at, []time.Duration{0, s, 31 * s}) {
			t.Errorf("mid-loop: %v, attempts at %v", err, f.at)
		}
		b.Reset()
		b.Trip(transient)
		f = play()
		ctx, cancel := context.WithTimeout(t.Context(), 299*s)
		defer cancel()
		_, err := retry.Do(ctx, p, f.call)
		e, _ := errors.AsType[*retry.Error](err)
		if e == nil || e.Reason != retry.OutOfTime || e.RefusedWait != 300*s || !errors.Is(err, context.DeadlineExceeded) || time.Since(f.start) != 0 {
			t.Errorf("a deadline that can't hold it: %v after %v", err, time.Since(f.start))
		}
		f = play()
		if _, err := retry.Do(t.Context(), p, f.call); err != nil || !slices.Equal(f.at, []time.Duration{300 * s}) {
			t.Errorf("before the first attempt: %v, attempts at %v", err, f.at)
		}
		b.ForceOpen(nil)
		f = play()
		if _, err := retry.Do(t.Context(), p, f.call); failure.KindOf(err) != failure.CircuitOpen || time.Since(f.start) != 0 {
			t.Errorf("forced open: %v after %v; nobody knows when it ends", err, time.Since(f.start))
		}
	})
}

func TestAPanicGoesOnAndTheBreakerIsTold(t *testing.T) {
	b := newBreaker(t, breaker.Config{FailureThreshold: 1})
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		retry.Do(t.Context(), newPolicy(t, retry.Config{Breaker: b}), func(context.Context, retry.Attempt) (int, error) { panic("boom") })
	}()
	if b.State() != breaker.Open {
		t.Error("the panic was not counted")
	}
}

func TestGoexitGivesAProbesPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{RecoveryTimeout: s})
		b.Trip(told(failure.QuotaExhausted, 0))
		time.Sleep(10 * s)
		done := make(chan struct{})
		p := newPolicy(t, retry.Config{Breaker: b})
		go func() {
			defer close(done)
			retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { runtime.Goexit(); return 0, nil })
		}()
		<-done
		if s := b.Snapshot(); s.State != breaker.HalfOpen || s.Probes != 0 {
			t.Errorf("%+v: the place is still taken", s)
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

func TestObserverSeesEachFailureAndWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		p := newPolicy(t, retry.Config{Observe: func(e retry.Event) {
			got = append(got, fmt.Sprintf("%d %v %v %s %s", e.Failure.Number, e.Failure.Kind, e.Wait, e.Why, e.Stop))
		}})
		retry.Do(t.Context(), p, play(transient, told(failure.RateLimited, 7*s), invalid, fail(failure.InvalidRequest)).call)
		want := []string{
			"1 transient 1s backoff ", "2 rate_limited 7s rate_limit ", "3 invalid_answer 0s  ",
		}
		if !slices.Equal(got[:3], want) || !strings.HasSuffix(got[3], retry.Exhausted.String()) && !strings.HasSuffix(got[3], retry.Permanent.String()) {
			t.Errorf("got %q", got)
		}
	})
}

func TestImpossibleSettingsAreNamed(t *testing.T) {
	for field, c := range map[string]retry.Config{
		"MaxAttempts":    {MaxAttempts: -1},
		"MaxTime":        {MaxTime: -1},
		"AttemptTimeout": {AttemptTimeout: -1},
		"MaxRetryAfter":  {MaxRetryAfter: -1},
		"MaxLimitTime":   {MaxLimitTime: -1},
		"Factor":         {Backoff: backoff.Exponential{Factor: math.NaN()}},
	} {
		if _, err := retry.New(c); err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "takes") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	for _, v := range []float64{-1, 1.5, math.NaN()} {
		if _, err := retry.NewBudget(v, 0); err == nil {
			t.Errorf("deposit %v was taken", v)
		}
	}
	for _, v := range []float64{-1, 0.5, math.Inf(1), math.NaN()} {
		if _, err := retry.NewBudget(0, v); err == nil {
			t.Errorf("limit %v was taken", v)
		}
	}
}

func TestBudgetsAreOneAKey(t *testing.T) {
	var s retry.Budgets
	if a := s.Get("a"); a != s.Get("a") || a == s.Get("b") {
		t.Error("not one budget a key")
	}
}

func TestSuccessAllocatesNothing(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	budget, _ := retry.NewBudget(0, 0)
	for name, c := range map[string]retry.Config{"plain": {}, "with breaker and budget": {Breaker: b, Budget: budget}} {
		p := newPolicy(t, c)
		fn := func(context.Context, retry.Attempt) (int, error) { return 1, nil }
		if n := testing.AllocsPerRun(100, func() { retry.Do(context.Background(), p, fn) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A timer would be an allocation.
func TestARetryThatDoesNotWaitAllocatesNothing(t *testing.T) {
	p := newPolicy(t, retry.Config{Backoff: backoff.Constant{}})
	down := errors.New("down")
	fn := func(_ context.Context, a retry.Attempt) (int, error) {
		if a.Number < 3 {
			return 0, down
		}
		return 1, nil
	}
	if n := testing.AllocsPerRun(100, func() { retry.Do(context.Background(), p, fn) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkDo(b *testing.B, c retry.Config, failures int) {
	p, err := retry.New(c)
	if err != nil {
		b.Fatal(err)
	}
	err = errors.New("x")
	fn := func(_ context.Context, a retry.Attempt) (int, error) {
		if a.Number <= failures {
			return 0, err
		}
		return 1, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		retry.Do(context.Background(), p, fn)
	}
}

func BenchmarkFirstTry(b *testing.B) { benchmarkDo(b, retry.Config{}, 0) }
func BenchmarkTwoFailuresNoWait(b *testing.B) {
	benchmarkDo(b, retry.Config{Backoff: backoff.Constant{}}, 2)
}
func BenchmarkWithBreaker(b *testing.B) {
	br, _ := breaker.New("x", breaker.Config{})
	benchmarkDo(b, retry.Config{Breaker: br}, 0)
}

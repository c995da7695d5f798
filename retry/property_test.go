package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"

	"pgregory.net/rapid"
)

// A crowd is many callers of one endpoint at once, who share its budget and its
// breaker. What each of them does is a plan of its own.
type crowd struct {
	plans  []plan
	starts []time.Duration
}

func drawCrowd(t *rapid.T) crowd {
	deposit, limit := rapid.IntRange(1, 100).Draw(t, "deposit"), rapid.IntRange(100, 900).Draw(t, "limit")
	var circuit *breaker.Config
	if rapid.Bool().Draw(t, "has breaker") {
		circuit = drawCircuit(t)
	}
	var c crowd
	for range rapid.IntRange(1, 20).Draw(t, "callers") {
		p := drawPlan(t)
		p.deposit, p.limit, p.circuit, p.config.Decisions = deposit, limit, circuit, nil
		p.config.WaitForCircuit = rapid.Bool().Draw(t, "WaitForCircuit")
		c.plans = append(c.plans, p)
		c.starts = append(c.starts, time.Duration(rapid.IntRange(0, 30).Draw(t, "starts"))*ms)
	}
	return c
}

// books are kept of a budget from outside, in hundredths of a token.
type books struct {
	mu                  sync.Mutex
	deposits, withdrawn int
}

// run runs all callers and returns what is wrong with any of them.
func (c crowd) run() error {
	first := c.plans[0]
	budget, err := retry.NewBudget(float64(first.deposit)/100, float64(first.limit)/100)
	if err != nil {
		return err
	}
	var b *breaker.Breaker
	if first.circuit != nil {
		if b, err = breaker.New("test", *first.circuit); err != nil {
			return err
		}
	}
	wrong := make([]error, len(c.plans))
	var sums books
	var all sync.WaitGroup
	for i, p := range c.plans {
		all.Go(func() {
			time.Sleep(c.starts[i])
			wrong[i] = p.call(budget, b, &sums)
		})
	}
	all.Wait()
	if have := first.limit + sums.deposits; sums.withdrawn > have {
		wrong = append(wrong, fmt.Errorf("%d hundredths of a token were withdrawn, saved and deposited were %d", sums.withdrawn, have))
	}
	if b != nil {
		if s := b.Snapshot(); s.Probes != 0 {
			wrong = append(wrong, fmt.Errorf("a probe's place is still taken: %+v", s))
		}
	}
	return errors.Join(wrong...)
}

// call makes one caller's call, and returns the first bound that it broke.
func (p plan) call(budget *retry.Budget, b *breaker.Breaker, sums *books) (wrong error) {
	complain := func(format string, a ...any) {
		if wrong == nil {
			wrong = fmt.Errorf(format, a...)
		}
	}
	start := time.Now()
	end := start.Add(forever)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	switch {
	case p.cancel < 0:
		cancel(errPatience)
		end = start
	case p.cancel > 0:
		end = start.Add(p.cancel)
		defer time.AfterFunc(p.cancel, func() { cancel(errPatience) }).Stop()
	}
	if p.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.deadline)
		defer cancel()
		end = earlier(end, start.Add(p.deadline))
	}
	if p.config.MaxTime > 0 {
		end = earlier(end, start.Add(p.config.MaxTime))
	}
	c := p.config
	c.Backoff, c.Budget, c.Breaker = backoff.Func(p.delay), budget, b
	table := failure.Decisions()
	var limits, stops, attempts, decided int
	var limitTime time.Duration
	var waiting time.Time // since when
	c.Observe = func(e retry.Event) {
		if x := budget.Tokens(); x < 0 || x*100 > float64(p.limit)+1e-6 {
			complain("%v tokens", x)
		}
		if stops > 0 {
			complain("an event after the last: %+v", e)
		}
		if e.Stop != retry.Going {
			stops++
			return
		}
		waiting = time.Now()
		if e.Failure.Number == decided {
			return // a wait for the circuit, before an attempt
		}
		decided = e.Failure.Number
		wait, told := failure.RetryAfterOf(e.Failure.Err)
		if told && e.Wait < wait {
			complain("waits %v where %v were asked for", e.Wait, wait)
		}
		limited := e.Failure.Kind == failure.RateLimited && told && max(wait, e.Wait) > 0
		if limited {
			limits++
		}
		if e.Why == retry.RateLimitWait {
			limitTime += e.Wait
		}
		if table.For(e.Failure.Kind).Breaker != failure.Healthy && !limited {
			sums.mu.Lock()
			sums.withdrawn += 100
			sums.mu.Unlock()
		}
	}
	policy, err := retry.New(c)
	if err != nil {
		return err
	}
	var failures []error
	var ended time.Time // the last attempt
	_, err = retry.Do(ctx, policy, func(ctx context.Context, a retry.Attempt) (int, error) {
		if time.Now().After(end) {
			complain("attempt %d begins after the caller's end", a.Number)
		}
		attempts++
		var how try
		if a.Number <= len(p.tries) {
			how = p.tries[a.Number-1]
		}
		_, err := how.make(ctx, a.Number)
		ended = time.Now()
		if err != nil {
			failures = append(failures, err)
		}
		if err == nil || table.For(failure.KindOf(err)).Breaker == failure.Healthy {
			sums.mu.Lock()
			sums.deposits += p.deposit
			sums.mu.Unlock()
		}
		return 0, err
	})
	if attempts > c.MaxAttempts+limits {
		complain("%d attempts of %d, and %d limits", attempts, c.MaxAttempts, limits)
	}
	if limitTime > c.MaxLimitTime {
		complain("%v of limits", limitTime)
	}
	if err == nil {
		return wrong
	}
	var e *retry.Error
	if !errors.As(err, &e) || len(e.Failures) != attempts || len(failures) != attempts || stops != 1 {
		complain("%d attempts, of which %d failed, %d times the end: %v", attempts, len(failures), stops, err)
		return wrong
	}
	for i, f := range e.Failures {
		if f.Number != i+1 || f.Kind != failure.AttemptTimeout && !errors.Is(failures[i], f.Err) {
			complain("failure %d of the trace is %v, was %v", i+1, f.Err, failures[i])
		}
	}
	now := time.Now()
	switch e.Reason {
	case retry.Cancelled:
		if attempts > 0 && !ended.Before(end) { // it was under way, and is waited for
			end = ended
		}
		if !now.Equal(end) {
			complain("cancelled at %v, ended at %v", end.Sub(start), now.Sub(start))
		}
	case retry.Exhausted, retry.Permanent, retry.BudgetSpent, retry.WaitTooLong, retry.LimitTimePassed:
		if !now.Equal(ended) {
			complain("a wait of %v after the last attempt (%s)", now.Sub(ended), e.Reason)
		}
	case retry.OutOfTime:
		if now.After(end) && now.After(ended) {
			complain("ended %v after its time", now.Sub(end))
		}
		if e.RefusedWait > 0 && now.Add(e.RefusedWait).Before(end) {
			complain("a wait of %v was refused, with %v left", e.RefusedWait, end.Sub(now))
		}
	case retry.CircuitOpen:
		if !now.Equal(ended) && !now.Equal(start) && waiting.IsZero() {
			complain("ended at %v", now.Sub(start))
		}
	}
	return wrong
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func TestManyCallersOfOneEndpointKeepTheirBounds(t *testing.T) {
	for range 10 {
		rapid.Check(t, func(rt *rapid.T) {
			c := drawCrowd(rt)
			var wrong error
			synctest.Test(t, func(*testing.T) { wrong = c.run() })
			if wrong != nil {
				rt.Fatal(wrong)
			}
		})
	}
}

// The same budget from all cores at once: no token is lost or made, none is
// ever owed, and the bucket does not overflow.
func TestBudgetLosesAndMakesNoTokenInParallel(t *testing.T) {
	const callers, calls = 8, 3000
	budget, err := retry.NewBudget(0.25, callers*calls)
	if err != nil {
		t.Fatal(err)
	}
	p := newPolicy(t, retry.Config{Budget: budget, Backoff: backoff.Constant{}, MaxAttempts: 2})
	var all sync.WaitGroup
	var attempts, successes atomic.Int64
	call := func(fails bool) {
		retry.Do(t.Context(), p, func(_ context.Context, a retry.Attempt) (int, error) {
			attempts.Add(1)
			if fails && a.Number == 1 {
				return 0, transient
			}
			successes.Add(1)
			return 0, nil
		})
	}
	for i := range callers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for range calls {
				call(random.IntN(2) == 0)
				if x := budget.Tokens(); x < 0 || x > callers*calls {
					t.Errorf("%v tokens", x)
				}
				if random.IntN(10) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	retries := attempts.Load() - callers*calls
	// The bucket is full to begin with, so some deposits fell beside it; never
	// more than fit.
	if got, least, most := budget.Tokens(), float64(callers*calls-retries), float64(callers*calls); got < least || got > most {
		t.Errorf("%v tokens after %d retries and %d successes", got, retries, successes.Load())
	}
	spend(budget, callers*calls) // so that each deposit can be seen
	left := budget.Tokens()
	attempts.Store(0)
	successes.Store(0)
	for i := range callers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 8))
			for range calls {
				call(random.IntN(2) == 0)
			}
		})
	}
	all.Wait()
	retries = attempts.Load() - callers*calls
	if got, want := budget.Tokens(), left+0.25*float64(successes.Load())-float64(retries); got != want {
		t.Errorf("%v tokens after %d retries and %d successes, want %v", got, retries, successes.Load(), want)
	}
}

// counted is a context that knows who waits for its end.
type counted struct {
	context.Context
	done    chan struct{}
	waiting atomic.Int64
}

func (c *counted) Done() <-chan struct{} { return c.done }
func (c *counted) Err() error            { return nil }

// AfterFunc is what package context looks for when it derives from a stranger.
func (c *counted) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	return sync.OnceValue(func() bool { c.waiting.Add(-1); return true })
}

// A caller's context may live as long as its process. Each call takes everything
// back that it hung on it.
func TestNothingIsLeftOnTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := &counted{Context: context.Background(), done: make(chan struct{})}
		b := newBreaker(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: s})
		during := int64(0)
		for _, c := range []retry.Config{
			{}, {MaxTime: 10 * s}, {AttemptTimeout: s}, {MaxTime: 10 * s, AttemptTimeout: s},
			{MaxTime: 2 * s, AttemptTimeout: s}, {MaxTime: 10 * s, AttemptTimeout: s, Breaker: b, WaitForCircuit: true},
		} {
			func() {
				defer func() { _ = recover() }()
				retry.Do(parent, newPolicy(t, c), func(ctx context.Context, a retry.Attempt) (string, error) {
					during = max(during, parent.waiting.Load())
					if a.Number == 2 && c.AttemptTimeout > 0 {
						return hang(ctx, a)
					}
					if a.Number == 3 {
						panic("boom")
					}
					return "", transient
				})
			}()
			if n := parent.waiting.Load(); n != 0 {
				t.Errorf("%+v: %d wait for the end of the caller's context", c, n)
			}
		}
		if during == 0 {
			t.Error("nobody ever waited: the test sees nothing")
		}
	})
}

// Wald's law: where attempts fail independently with probability p, the share of
// calls that succeed is (1-p) times the attempts for each call, whatever the
// policy. A loop that counts wrongly, or retries what succeeded, breaks it.
func TestSuccessesAreTheShareOfAttemptsThatSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, c := range []retry.Config{
			{}, {MaxAttempts: 1}, {MaxAttempts: 9}, {MaxTime: 4 * s, MaxAttempts: 9},
			{Breaker: newBreaker(t, breaker.Config{})}, {Breaker: newBreaker(t, breaker.Config{FailureRate: new(0.0)}), WaitForCircuit: true},
		} {
			for _, p := range []float64{0.01, 0.1, 0.5, 0.9} {
				random := rand.New(rand.NewPCG(uint64(i), uint64(p*100)))
				c.Budget, _ = retry.NewBudget(0.1, 10)
				policy := newPolicy(t, c)
				var attempts, successes float64
				for range 3000 {
					time.Sleep(100 * ms)
					if _, err := retry.Do(t.Context(), policy, func(context.Context, retry.Attempt) (int, error) {
						attempts++
						if random.Float64() < p {
							return 0, transient
						}
						return 0, nil
					}); err == nil {
						successes++
					}
				}
				// Five times the standard deviation of a sum of so many coins.
				if off := math.Abs(successes - (1-p)*attempts); off > 5*math.Sqrt(attempts*p*(1-p)) {
					t.Errorf("policy %d, p %v: %v successes of %v attempts", i, p, successes, attempts)
				}
			}
		}
	})
}

package retry_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// target returns a new endpoint with its guards.
func target(t testing.TB, o endpoint.Options) retry.Target {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := r.Get(endpoint.Key{Model: t.Name()})
	return retry.Target{Endpoint: e, Guards: e.Guards(o)}
}

// limiter is a provider that allows a rate, as a token bucket, and says so in
// its refusals if hint is set.
type limiter struct {
	mu      sync.Mutex
	rate    float64
	burst   float64
	tokens  float64
	last    time.Time
	answer  time.Duration
	hint    func(until time.Duration) error
	sent    int
	refused int
	done    int
}

func newLimiter(rate, burst float64, answer time.Duration) *limiter {
	return &limiter{rate: rate, burst: burst, tokens: burst, last: time.Now(), answer: answer, hint: func(time.Duration) error { return limited }}
}

func (l *limiter) call(context.Context, retry.Attempt) (string, error) {
	l.mu.Lock()
	l.sent++
	now := time.Now()
	l.tokens = min(l.burst, l.tokens+now.Sub(l.last).Seconds()*l.rate)
	l.last = now
	if l.tokens < 1 {
		l.refused++
		err := l.hint(time.Duration((1 - l.tokens) / l.rate * float64(time.Second)))
		l.mu.Unlock()
		return "", err
	}
	l.tokens--
	l.mu.Unlock()
	time.Sleep(l.answer)
	l.mu.Lock()
	l.done++
	l.mu.Unlock()
	return "answer", nil
}

// batch makes jobs calls with some workers and returns how many were answered,
// and in what time.
func batch(t testing.TB, workers, jobs int, p *retry.Policy, fn func(context.Context, retry.Attempt) (string, error)) (answered int, took time.Duration) {
	start := time.Now()
	var wg sync.WaitGroup
	var next, good atomic.Int64
	for range workers {
		wg.Go(func() {
			for next.Add(1) <= int64(jobs) {
				if _, err := retry.Do(t.Context(), p, fn); err == nil {
					good.Add(1)
				} else if testing.Verbose() {
					t.Log(err)
				}
			}
		})
	}
	wg.Wait()
	return int(good.Load()), time.Since(start)
}

func TestABatchAtALimit(t *testing.T) {
	for _, c := range []struct {
		name    string
		hint    func(time.Duration) error
		longest time.Duration
		refused int
	}{
		{"no hint", nil, 16 * s, 35},
		{"Retry-After in whole seconds", func(d time.Duration) error { return told(failure.RateLimited, s) }, 16 * s, 60},
		{"exact", func(d time.Duration) error { return told(failure.RateLimited, d) }, 14 * s, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(10, 5, 200*time.Millisecond)
				if c.hint != nil {
					l.hint = c.hint
				}
				p := newPolicy(t, retry.Config{Target: target(t, endpoint.Options{})})
				answered, took := batch(t, 30, 120, p, l.call)
				t.Logf("%d of 120 answered in %v, %d refused", answered, took, l.refused)
				if answered != 120 || took > c.longest || l.refused > c.refused {
					t.Errorf("want all within %v and at most %d refused", c.longest, c.refused)
				}
			})
		})
	}
}

// A call a minute of which a share fails and passes: three attempts each.
func TestSlowTrafficIsNotHeldBackByTheBudget(t *testing.T) {
	for _, c := range []struct{ fails, wanted float64 }{{0.2, 0.99}, {0.3, 0.96}} {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(1, 2))
			p := newPolicy(t, retry.Config{Target: target(t, endpoint.Options{NoBreaker: true})})
			good := 0
			const calls = 20_000
			for range calls {
				if _, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
					if chance.Float64() < c.fails {
						return 0, transient
					}
					return 1, nil
				}); err == nil {
					good++
				}
				time.Sleep(time.Minute)
			}
			share := float64(good) / calls
			t.Logf("%.0f %% fail: %.2f %% answered", 100*c.fails, 100*share)
			if share < c.wanted {
				t.Errorf("want %.0f %%", 100*c.wanted)
			}
		})
	}
}

func TestABurstMeetsABlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPolicy(t, retry.Config{Backoff: backoff.Exponential{}, Target: target(t, endpoint.Options{NoBreaker: true})})
		answered, _ := batch(t, 100, 100, p, func(context.Context, retry.Attempt) (string, error) {
			if time.Since(start) < s/2 {
				return "", transient
			}
			return "", nil
		})
		if answered < 95 {
			t.Errorf("%d of 100 answered", answered)
		}
	})
}

// With no quota at all, each call ends after its attempts; so does an hour of
// overload, and opens the circuit.
func TestNothingButRefusalsEndsAfterTheAttempts(t *testing.T) {
	for _, kind := range []failure.Kind{failure.RateLimited, failure.Overloaded} {
		synctest.Test(t, func(t *testing.T) {
			to := target(t, endpoint.Options{})
			p := newPolicy(t, retry.Config{Target: to})
			begun := time.Now()
			calls, opened := 0, false
			for time.Since(begun) < time.Hour {
				f := play(repeat(fail(kind), 9)...)
				_, err := retry.Do(t.Context(), p, f.call)
				e, _ := errors.AsType[*retry.Error](err)
				if e == nil || len(f.at) > 3 || e.Reason != retry.Exhausted && e.Reason != retry.CircuitOpen {
					t.Fatalf("%v: %v after %d requests", kind, err, len(f.at))
				}
				opened = opened || e.Reason == retry.CircuitOpen
				if calls++; calls > 20 {
					time.Sleep(time.Minute)
				}
			}
			if want := kind == failure.Overloaded; opened != want {
				t.Errorf("%v: opened %v", kind, opened)
			}
		})
	}
}

// The provider says "1 ms" for ever.
func TestAToldMillisecondIsNoLicenceToHammer(t *testing.T) {
	for _, o := range []endpoint.Options{{}, {NoPacer: true}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPolicy(t, retry.Config{Backoff: backoff.Constant{}, Target: target(t, o)})
			n := 0
			_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
				n++
				return 0, told(failure.RateLimited, time.Millisecond)
			})
			e, _ := errors.AsType[*retry.Error](err)
			if e == nil || e.Reason != retry.RateLimitWaitExceeded || n > 611 || len(e.Failures) > 128 || e.Attempts != n {
				t.Errorf("%d requests: %v", n, err)
			}
			t.Logf("%d requests", n)
		})
	}
}

func TestAQueueOfFourServesAll(t *testing.T) {
	for _, o := range []endpoint.Options{{}, {NoBreaker: true}} {
		synctest.Test(t, func(t *testing.T) {
			places, one := make(chan struct{}, 5), make(chan struct{}, 1)
			p := newPolicy(t, retry.Config{Target: target(t, o)})
			refused := atomic.Int64{}
			answered, took := batch(t, 64, 64, p, func(context.Context, retry.Attempt) (string, error) {
				select {
				case places <- struct{}{}:
				default:
					refused.Add(1)
					return "", fail(failure.Overloaded)
				}
				defer func() { <-places }()
				one <- struct{}{}
				time.Sleep(30 * time.Millisecond)
				<-one
				return "", nil
			})
			t.Logf("%d of 64 in %v, %d refused", answered, took, refused.Load())
			if answered != 64 || took > 15*s {
				t.Error("want 64 within 15 s")
			}
		})
	}
}

func Test200WorkersWithADeadlineAreAllServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, 5, 200*time.Millisecond)
		p := newPolicy(t, retry.Config{MaxTime: 30 * s, Target: target(t, endpoint.Options{})})
		answered, took := batch(t, 200, 200, p, l.call)
		t.Logf("%d of 200 in %v, %d refused", answered, took, l.refused)
		if answered != 200 {
			t.Error("not all were served")
		}
	})
}

// What is lent goes back on every way out.
func TestWhatIsLentGoesBack(t *testing.T) {
	for name, leave := range map[string]func(context.CancelFunc) error{
		"panic":   func(context.CancelFunc) error { panic("boom") },
		"goexit":  func(context.CancelFunc) error { runtime.Goexit(); return nil },
		"cancel":  func(cancel context.CancelFunc) error { cancel(); return context.Canceled },
		"success": func(context.CancelFunc) error { return nil },
		"failure": func(context.CancelFunc) error { return fail(failure.InvalidRequest) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := target(t, endpoint.Options{Breaker: breaker.Config{RecoveryTimeout: s}})
				release, err := to.Endpoint.Limit(to.Endpoint.Snapshot().Pace.Limits, endpoint.Budget{Saved: 3, PerSecond: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer release()
				circuit := to.Endpoint.Circuit(endpoint.Options{Breaker: breaker.Config{RecoveryTimeout: s}})
				circuit.Trip(breaker.Failure{})
				time.Sleep(time.Minute)
				p := newPolicy(t, retry.Config{Target: to})
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					_, _ = retry.Do(ctx, p, func(context.Context, retry.Attempt) (int, error) { return 0, leave(cancel) })
				}()
				<-done
				s := to.Endpoint.Snapshot()
				if s.Circuits[0].Probes != 0 || s.Pace.InFlight != 0 || s.Pace.Queue != 0 || s.Retries != 3 {
					t.Errorf("left behind: %+v", s)
				}
			})
		})
	}
}

// Ten calls are cancelled in their first backoff: no retry was made.
func TestACancelledWaitTakesNothingFromTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{NoBreaker: true})
		p := newPolicy(t, retry.Config{Target: to})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				stop := context.AfterFunc(ctx, func() {})
				defer stop()
				own, end := context.WithCancel(t.Context())
				time.AfterFunc(500*time.Millisecond, end)
				_, _ = retry.Do(own, p, play(repeat(transient, 3)...).call)
			})
		}
		wg.Wait()
		if left := to.Endpoint.Snapshot().Retries; left != 100 {
			t.Errorf("%v of 100 retries are left", left)
		}
	})
}

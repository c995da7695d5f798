package retry_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/retry"
)

// drawn is a backoff whose chance is given.
func drawn(e backoff.Exponential, chance func() uint64) backoff.Strategy {
	return backoff.Func(func(attempt int) time.Duration { return e.At(attempt, chance()) })
}

func lowest() uint64  { return 0 }
func highest() uint64 { return math.MaxUint64 }

// seeded is chance that is the same each time.
func seeded() func() uint64 {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(3, 4))
	return func() uint64 { mu.Lock(); defer mu.Unlock(); return random.Uint64() }
}

// with returns the default decisions with another row.
func with(kind failure.Kind, row failure.Decision) *failure.Table {
	table := failure.Decisions()
	table[kind] = row
	return &table
}

// What others publish of their own loops comes out of ours when it is set as
// theirs is: the attempts and their times, with the jitter at its ends. Left out
// is what ours does otherwise on purpose: a wait that the provider asks for is
// neither shortened (AWS 2026 clamps it, LiteLLM and Vercel ignore a long one)
// nor does it start the backoff anew (gRPC), and jitter is cut at the maximum
// and not added to it (gRPC, genai).
func TestPublishedBehavior(t *testing.T) {
	limit := failure.Decision{Again: failure.Backoff, Breaker: failure.Ignore} // one that uses up attempts, as everywhere else
	exponential := func(initial, most time.Duration, j backoff.Jitter, chance func() uint64) backoff.Strategy {
		return drawn(backoff.Exponential{Initial: initial, Max: most, Jitter: j}, chance)
	}
	at := func(seconds ...float64) (all []time.Duration) {
		for _, x := range seconds {
			all = append(all, time.Duration(x*1000)*ms)
		}
		return all
	}
	for _, c := range []struct {
		source string
		config retry.Config
		fails  error // every attempt
		at     []time.Duration
		reason retry.Reason
	}{
		{"the original, defaults, always a connection error: 3 calls, waits 1, 2", retry.Config{}, transient, at(0, 1, 3), retry.Exhausted},
		{"the original, always invalid: 3 calls, waits 1, 2", retry.Config{Decisions: with(failure.InvalidAnswer, limit)}, invalid, at(0, 1, 3), retry.Exhausted},
		{"the original, an error at each of 4 calls: waits 1, 2, 4, and none of 8 behind the last", retry.Config{MaxAttempts: 4}, transient, at(0, 1, 3, 7), retry.Exhausted},
		{"the original, 503 or 429 without a time: 3 calls, waits 1, 2", retry.Config{Decisions: with(failure.RateLimited, limit)}, limited, at(0, 1, 3), retry.Exhausted},
		{"the original, a bad key: 1 call", retry.Config{}, fail(failure.Unauthorized), at(0), retry.Permanent},
		{"the original, max_delay 10: waits 1, 2, 4, 8, 10, 10", retry.Config{MaxAttempts: 7, Backoff: exponential(s, 10*s, backoff.NoJitter, lowest)}, transient, at(0, 1, 3, 7, 15, 25, 35), retry.Exhausted},
		{"the original's six strategies, 4 retries at 1 s: immediate 0 in all", retry.Config{MaxAttempts: 5, Backoff: backoff.Constant{}}, transient, at(0, 0, 0, 0, 0), retry.Exhausted},
		{"linear 10", retry.Config{MaxAttempts: 5, Backoff: backoff.Linear{Jitter: backoff.NoJitter}}, transient, at(0, 1, 3, 6, 10), retry.Exhausted},
		{"exponential 15", retry.Config{MaxAttempts: 5}, transient, at(0, 1, 3, 7, 15), retry.Exhausted},
		{"Fibonacci 7", retry.Config{MaxAttempts: 5, Backoff: backoff.Fibonacci{Jitter: backoff.NoJitter}}, transient, at(0, 1, 2, 4, 7), retry.Exhausted},

		{"gRPC A6, its example: 4 attempts from 0.1 s, ×2, at most 1 s, jitter 0.8", retry.Config{MaxAttempts: 4, Backoff: exponential(100*ms, s, backoff.Proportional(0.2), lowest)}, transient, at(0, 0.08, 0.24, 0.56), retry.Exhausted},
		{"and 1.2", retry.Config{MaxAttempts: 4, Backoff: exponential(100*ms, s, backoff.Proportional(0.2), highest)}, transient, at(0, 0.12, 0.36, 0.84), retry.Exhausted},
		{"gRPC A6: the server's pushback is waited for as it is", retry.Config{MaxAttempts: 4, Backoff: exponential(100*ms, s, backoff.NoJitter, lowest)}, told(failure.Overloaded, 3*s), at(0, 3, 6, 9), retry.Exhausted},
		{"gRPC A6: 5 attempts at most", retry.Config{MaxAttempts: 5, Backoff: exponential(100*ms, s, backoff.NoJitter, lowest)}, transient, at(0, 0.1, 0.3, 0.7, 1.5), retry.Exhausted},

		{"AWS SDK, standard mode: 3 attempts, u·min(2^n, 20 s), u at its least", retry.Config{Backoff: exponential(s, 20*s, backoff.FullJitter, lowest)}, transient, at(0, 0, 0), retry.Exhausted},
		{"u at its most, as many attempts as it takes", retry.Config{MaxAttempts: 8, Backoff: exponential(s, 20*s, backoff.FullJitter, highest)}, transient, at(0, 1, 3, 7, 15, 31, 51, 71), retry.Exhausted},
		{"AWS SDK 2026: from 50 ms, the cap before the jitter", retry.Config{MaxAttempts: 11, Backoff: exponential(50*ms, 20*s, backoff.FullJitter, highest)}, transient, at(0, 0.05, 0.15, 0.35, 0.75, 1.55, 3.15, 6.35, 12.75, 25.55, 45.55), retry.Exhausted},
		{"AWS SDK 2026: throttled, from 1 s", retry.Config{Backoff: exponential(s, 20*s, backoff.FullJitter, highest), Decisions: with(failure.RateLimited, limit)}, limited, at(0, 1, 3), retry.Exhausted},

		{"openai-go, anthropic-sdk-go: 2 retries from 0.5 s", retry.Config{Backoff: exponential(s/2, 8*s, backoff.NoJitter, lowest)}, transient, at(0, 0.5, 1.5), retry.Exhausted},
		{"capped at 8 s", retry.Config{MaxAttempts: 7, Backoff: exponential(s/2, 8*s, backoff.NoJitter, lowest)}, transient, at(0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5), retry.Exhausted},
		{"429 with Retry-After: 2: 3 attempts in 4.0 s", retry.Config{Backoff: exponential(s/2, 8*s, backoff.NoJitter, lowest), Decisions: with(failure.RateLimited, limit)}, told(failure.RateLimited, 2*s), at(0, 2, 4), retry.Exhausted},
		{"429 with retry-after-ms: 150: 3 attempts in 0.3 s", retry.Config{Backoff: backoff.Constant{}, Decisions: with(failure.RateLimited, limit)}, told(failure.RateLimited, 150*ms), at(0, 0.15, 0.3), retry.Exhausted},
		{"openai-go: 429 with Retry-After: 300: 1 attempt in 0 s, the 429 is returned", retry.Config{}, told(failure.RateLimited, 300*s), at(0), retry.WaitTooLong},
		{"genai: 5 attempts, 1 s·2^n", retry.Config{MaxAttempts: 5, Backoff: exponential(s, 60*s, backoff.NoJitter, lowest)}, transient, at(0, 1, 3, 7, 15), retry.Exhausted},
		{"a bad request: 1 attempt, everywhere", retry.Config{}, fail(failure.InvalidRequest), at(0), retry.Permanent},

		{"Polly v8: 3 retries, 2 s each", retry.Config{MaxAttempts: 4, Backoff: backoff.Constant{Interval: 2 * s, Jitter: backoff.NoJitter}}, transient, at(0, 2, 4, 6), retry.Exhausted},
		{"Google SRE: at most 3 attempts", retry.Config{Backoff: backoff.Constant{}}, transient, at(0, 0, 0), retry.Exhausted},
		{"Brooker 2015, equal jitter at its least: half", retry.Config{MaxAttempts: 4, Backoff: exponential(s, 60*s, backoff.EqualJitter, lowest)}, transient, at(0, 0.5, 1.5, 3.5), retry.Exhausted},
	} {
		t.Run(c.source, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := play(repeat(c.fails, 99)...)
				_, err := retry.Do(t.Context(), newPolicy(t, c.config), f.call)
				e, _ := errors.AsType[*retry.Error](err)
				if e == nil || e.Reason != c.reason || !errors.Is(err, c.fails) {
					t.Errorf("got %v, want %s", err, c.reason)
				}
				if !slices.Equal(f.at, c.at) {
					t.Errorf("attempts at %v, want %v", f.at, c.at)
				}
				if last := c.at[len(c.at)-1]; time.Since(f.start) != last {
					t.Errorf("ended after %v, not with the last attempt at %v", time.Since(f.start), last)
				}
			})
		})
	}
}

// The server hangs, each attempt has 300 ms: anthropic-sdk-go makes 3 attempts;
// openai-go takes the limit for the caller's own and makes 1.
func TestPublishedBehaviorOfAServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, attempts := time.Now(), 0
		p := newPolicy(t, retry.Config{AttemptTimeout: 300 * ms, Backoff: backoff.Exponential{Initial: s / 2, Jitter: backoff.NoJitter}})
		_, err := retry.Do(t.Context(), p, func(ctx context.Context, a retry.Attempt) (string, error) {
			attempts++
			return hang(ctx, a)
		})
		if attempts != 3 || time.Since(start) != 2400*ms || failure.KindOf(err) != failure.AttemptTimeout {
			t.Errorf("%d attempts in %v: %v", attempts, time.Since(start), err)
		}
	})
}

// anthropic-sdk-go slept for a Retry-After of 300 s until the caller's 25 s were
// over, and returned the context's error in the place of the 429.
func TestPublishedHangOfAWaitBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*s)
		defer cancel()
		f := play(told(failure.RateLimited, 300*s))
		_, err := retry.Do(ctx, newPolicy(t, retry.Config{MaxRetryAfter: time.Hour}), f.call)
		if !errors.Is(err, f.errs[0]) || time.Since(f.start) != 0 {
			t.Errorf("after %v: %v", time.Since(f.start), err)
		}
	})
}

// The original opened its circuit at the second of five failures, waited 2 s for
// nothing, and lost the error.
func TestPublishedWaitForACircuitThatStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 2})
		f := play(repeat(transient, 9)...)
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxAttempts: 5, Breaker: b}), f.call)
		if !slices.Equal(f.at, []time.Duration{0, s}) || time.Since(f.start) != s || !errors.Is(err, transient) {
			t.Errorf("attempts at %v, ended after %v: %v", f.at, time.Since(f.start), err)
		}
	})
}

// sony/gobreaker opens at the sixth failure in a row, for 60 s, and admits one.
func TestPublishedBreakerInTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{FailureThreshold: 6, FailureRate: new(1.0), RecoveryTimeout: 60 * s, SuccessThreshold: 1})
		p := newPolicy(t, retry.Config{MaxAttempts: 10, Breaker: b, Backoff: backoff.Constant{Interval: s, Jitter: backoff.NoJitter}, WaitForCircuit: true})
		f := play(repeat(transient, 7)...)
		if _, err := retry.Do(t.Context(), p, f.call); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, s, 2 * s, 3 * s, 4 * s, 5 * s, 65 * s, 125 * s}; !slices.Equal(f.at, want) {
			t.Errorf("attempts at %v, want %v", f.at, want)
		}
	})
}

// Layers that each retry multiply (Google SRE, ch. 22: three of four tries are
// 64; Builders' Library: five of three are 243). With one budget for all it is
// the budget that says how many.
func TestPublishedProductOfLayers(t *testing.T) {
	var nested func(p *retry.Policy, layers int, bottom func()) error
	nested = func(p *retry.Policy, layers int, bottom func()) error {
		if layers == 0 {
			bottom()
			return transient
		}
		_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { return 0, nested(p, layers-1, bottom) })
		return err
	}
	for _, c := range []struct{ layers, attempts, want int }{{3, 4, 64}, {5, 3, 243}} {
		calls := 0
		p := newPolicy(t, retry.Config{MaxAttempts: c.attempts, Backoff: backoff.Constant{}})
		if nested(p, c.layers, func() { calls++ }); calls != c.want {
			t.Errorf("%d layers of %d attempts made %d calls, want %d", c.layers, c.attempts, calls, c.want)
		}
		budget, err := retry.NewBudget(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		calls = 0
		p = newPolicy(t, retry.Config{MaxAttempts: c.attempts, Backoff: backoff.Constant{}, Budget: budget})
		if nested(p, c.layers, func() { calls++ }); calls > 1+retry.DefaultMaxRetries {
			t.Errorf("%d layers with one budget made %d calls", c.layers, calls)
		}
	}
}

// How many retries a total outage gets out of what others saved up, over many
// calls: gRPC A6's throttle of 10 tokens that must stay above half allows 4;
// AWS's 500 tokens at 5 allow 100, at 14 (2026) 35; Google's and Brooker's
// bucket gives what it holds.
func TestPublishedBudgetsInATotalOutage(t *testing.T) {
	for _, c := range []struct {
		source         string
		deposit, limit float64
		want           int
	}{
		{"gRPC A6", 0.1, 4, 4},
		{"AWS SDK", 1.0 / 5, 500.0 / 5, 100},
		{"AWS SDK 2026", 1.0 / 14, 500.0 / 14, 35},
		{"Brooker 2022", 0.1, 10, 10},
	} {
		budget, err := retry.NewBudget(c.deposit, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		p := newPolicy(t, retry.Config{Budget: budget, Backoff: backoff.Constant{}})
		retries := -1000
		for range 1000 {
			retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) { retries++; return 0, transient })
		}
		if retries != c.want {
			t.Errorf("%s: %d retries, want %d", c.source, retries, c.want)
		}
	}
}

// Google SRE, ch. 21: with retries below a tenth of the calls, the load is at
// most 1.1 times what it would be. Here half of all attempts fail, so that
// without a budget it would be nearly twice.
func TestPublishedAmplificationByATenth(t *testing.T) {
	const calls = 20_000
	random := rand.New(rand.NewPCG(1, 2))
	load := func(budget *retry.Budget) float64 {
		p := newPolicy(t, retry.Config{Budget: budget, Backoff: backoff.Constant{}, MaxAttempts: 9})
		attempts := 0
		for range calls {
			retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
				attempts++
				if random.IntN(2) == 0 {
					return 0, transient
				}
				return 0, nil
			})
		}
		return float64(attempts) / calls
	}
	budget, err := retry.NewBudget(0.1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if x := load(budget); x > 1.1 {
		t.Errorf("with a budget the load is %.3f times the calls", x)
	}
	if x := load(nil); x < 1.9 || x > 2.1 {
		t.Errorf("without one it is %.3f times", x)
	}
}

// limiter is a server with a token bucket.
type limiter struct {
	mu       sync.Mutex
	tokens   float64
	burst    float64
	rate     float64 // a second
	from     time.Time
	says     time.Duration // as Retry-After
	rejected int
}

func (l *limiter) call(context.Context, retry.Attempt) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(l.burst, l.tokens+time.Since(l.from).Seconds()*l.rate)
	l.from = time.Now()
	if l.tokens < 1-1e-9 {
		l.rejected++
		if l.says > 0 {
			return 0, told(failure.RateLimited, l.says)
		}
		return 0, limited
	}
	l.tokens--
	return 0, nil
}

// jobs runs a hundred jobs at once against a limit of one a second and a burst
// of ten, and returns how many finished, how many calls were in vain, and how
// long it took.
func jobs(t *testing.T, says time.Duration, c retry.Config) (finished, wasted int, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{tokens: 10, burst: 10, rate: 1, from: time.Now(), says: says}
		p := newPolicy(t, c)
		start := time.Now()
		var all sync.WaitGroup
		var mu sync.Mutex
		for range 100 {
			all.Go(func() {
				if _, err := retry.Do(t.Context(), p, l.call); err == nil {
					mu.Lock()
					finished++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		wasted, took = l.rejected, time.Since(start)
	})
	return finished, wasted, took
}

// Three attempts cannot outlast a rate limit, whatever the backoff: of a hundred
// jobs at one a second and a burst of ten, 12 to 21 finish. With the limit's time
// known, ours wait for it and all finish.
func TestPublishedFateOfAHundredJobsAtARateLimit(t *testing.T) {
	for name, b := range map[string]backoff.Strategy{
		"proportional": drawn(backoff.Exponential{}, seeded()),
		"full":         drawn(backoff.Exponential{Jitter: backoff.FullJitter}, seeded()),
		"equal":        drawn(backoff.Exponential{Jitter: backoff.EqualJitter}, seeded()),
		"decorrelated": drawn(backoff.Exponential{Jitter: backoff.Decorrelated}, seeded()),
		"none":         exact,
		"constant":     backoff.Constant{Interval: 2 * s, Jitter: backoff.NoJitter},
	} {
		finished, _, _ := jobs(t, 0, retry.Config{Backoff: b})
		if finished < 12 || finished > 21 {
			t.Errorf("%s: %d jobs finish in three attempts each", name, finished)
		}
		finished, wasted, took := jobs(t, s, retry.Config{Backoff: b})
		if finished != 100 || took > 10*time.Minute {
			t.Errorf("%s: %d jobs finish in %v when they wait for the limit, with %d calls in vain", name, finished, took, wasted)
		}
	}
}

// Retry-After alone brings the herd back together each second: 4,095 calls in
// vain for a hundred jobs. With a growing, jittered backoff as the wait's other
// bound there are far fewer.
func TestPublishedHerdOfARetryAfterAlone(t *testing.T) {
	finished, wasted, took := jobs(t, s, retry.Config{Backoff: backoff.Constant{}})
	if finished != 100 || wasted != 4095 || took != 90*s {
		t.Errorf("%d jobs finish in %v with %d calls in vain", finished, took, wasted)
	}
	finished, wasted, _ = jobs(t, s, retry.Config{Backoff: drawn(backoff.Exponential{Jitter: backoff.FullJitter}, seeded())})
	if finished != 100 || wasted < 500 || wasted > 620 {
		t.Errorf("with full jitter %d jobs finish with %d calls in vain, published are 560", finished, wasted)
	}
}

// window is a server that takes 60 calls in any minute, and counts those that it
// rejects too, as OpenAI and Gemini do. Others have just used it up.
type window struct {
	mu       sync.Mutex
	calls    []time.Time
	says     bool
	rejected int
}

func (w *window) call(context.Context, retry.Attempt) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = slices.DeleteFunc(w.calls, func(at time.Time) bool { return time.Since(at) >= time.Minute })
	w.calls = append(w.calls, time.Now())
	if len(w.calls) <= 60 {
		return 0, nil
	}
	w.rejected++
	if w.says {
		return 0, told(failure.RateLimited, time.Minute-time.Since(w.calls[len(w.calls)-61]))
	}
	return 0, limited
}

// Where rejected calls count against the limit, forty who come back with full
// jitter keep it used up for ever: none finishes in half an hour, with 2,607
// calls in vain. Who waits as told is done after a minute and 40 of them.
func TestPublishedLivelockOfALimitThatCountsRejections(t *testing.T) {
	wait := func(says bool, c retry.Config) (finished, rejected int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := &window{says: says, calls: slices.Repeat([]time.Time{time.Now()}, 60)}
			p := newPolicy(t, c)
			start := time.Now()
			var all sync.WaitGroup
			var mu sync.Mutex
			for range 40 {
				all.Go(func() {
					if _, err := retry.Do(t.Context(), p, w.call); err == nil {
						mu.Lock()
						finished++
						mu.Unlock()
					}
				})
			}
			all.Wait()
			rejected, took = w.rejected, time.Since(start)
		})
		return finished, rejected, took
	}
	full := drawn(backoff.Exponential{Jitter: backoff.FullJitter}, seeded())
	finished, rejected, took := wait(false, retry.Config{Backoff: full, MaxAttempts: math.MaxInt, MaxTime: 30 * time.Minute})
	if finished != 0 || rejected < 2400 || rejected > 2800 {
		t.Errorf("with full jitter alone %d finish, %d calls in vain in %v", finished, rejected, took)
	}
	if finished, rejected, took = wait(true, retry.Config{Backoff: full}); finished != 40 || rejected != 40 || took != time.Minute {
		t.Errorf("as told, %d finish in %v with %d calls in vain", finished, took, rejected)
	}
}

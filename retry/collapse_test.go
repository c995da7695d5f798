package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

// busy is a server whose latency grows with the requests that are in flight at
// it: 1 s + 0.01 s each, this one among them; it cancels none. A hop takes a time
// with an exponential distribution of mean 0.1 s (M. Brooker's model of a
// metastable collapse, simulator_example, 2022).
type busy struct {
	mu       sync.Mutex
	chance   *rand.Rand
	inFlight int
	sent     int
	work     sync.WaitGroup
}

func (b *busy) exp(mean float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(b.chance.ExpFloat64() * mean * float64(time.Second))
}

func (b *busy) add(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight += n
	return time.Second + time.Duration(b.inFlight)*10*time.Millisecond
}

func (b *busy) call(ctx context.Context, _ retry.Attempt) (int, error) {
	out, back := b.exp(0.1), b.exp(0.1)
	b.mu.Lock()
	b.sent++
	b.mu.Unlock()
	answer := make(chan struct{})
	b.work.Go(func() {
		time.Sleep(out)
		time.Sleep(b.add(1))
		b.add(-1)
		time.Sleep(back)
		close(answer)
	})
	select {
	case <-answer:
		return 1, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// spike runs 200 s of calls that arrive at a rate, as a Poisson process, at twice
// the rate from 20 to 25 s, and returns the share of those that arrived in the
// last 20 s that was answered then, and the requests sent for each call.
func spike(t *testing.T, seed uint64, rate float64, c retry.Config, o endpoint.Options) (goodput, amplification float64) {
	synctest.Test(t, func(t *testing.T) {
		server := &busy{chance: rand.New(rand.NewPCG(seed, uint64(rate)))}
		c.AttemptTimeout, c.Target = 3*time.Second, target(t, o)
		if c.Backoff == nil { // the default, with chance of the seed's
			c.Backoff = backoff.Func(func(n int) time.Duration {
				server.mu.Lock()
				defer server.mu.Unlock()
				return backoff.Exponential{}.At(n, server.chance.Uint64())
			})
		}
		p, err := retry.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		var good atomic.Int64
		arrived, calls := 0, 0
		for {
			now, r := time.Since(begin), rate
			if now >= 20*time.Second && now < 25*time.Second {
				r *= 2
			}
			time.Sleep(server.exp(1 / r))
			now = time.Since(begin)
			if now >= 200*time.Second {
				break
			}
			calls++
			if now >= 180*time.Second {
				arrived++
			}
			wg.Go(func() {
				_, err := retry.Do(ctx, p, server.call)
				if at := time.Since(begin); err == nil && at >= 180*time.Second && at < 200*time.Second {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		server.work.Wait()
		goodput, amplification = float64(good.Load())/float64(arrived), float64(server.sent)/float64(calls)
	})
	return goodput, amplification
}

// Law 2 of the design: "none collapses at 40, 45, 50/s, at most 3 [of 30] at 55/s,
// where two attempts always do". A seed has collapsed if its goodput of the last
// 20 s is below a half.
func TestNoRetriesKeepAnOutageAlive(t *testing.T) {
	seeds, full := 3, os.Getenv("LLMCALL_MODEL") == "full"
	if full {
		seeds = 30
	}
	atOnce := backoff.Constant{}
	for _, c := range []struct {
		name    string
		config  retry.Config
		options endpoint.Options
		rates   map[float64]int // how many of 30 seeds may collapse; -1: all of them do
	}{
		{"the budget alone", retry.Config{}, endpoint.Options{NoBreaker: true, NoPacer: true}, map[float64]int{40: 0, 45: 0, 50: 0, 55: 3}},
		{"the budget alone, resends at once", retry.Config{Backoff: atOnce}, endpoint.Options{NoBreaker: true, NoPacer: true}, map[float64]int{40: 0, 45: 0, 50: 0, 55: 3}},
		{"the defaults", retry.Config{}, endpoint.Options{}, map[float64]int{40: 0, 45: 0, 50: 0, 55: 3}},
		{"without a budget", retry.Config{Backoff: atOnce}, endpoint.Options{NoBreaker: true, NoPacer: true, NoBudget: true}, map[float64]int{50: -1, 55: -1}},
	} {
		for rate, allowed := range c.rates {
			if !full && rate != 50 && (rate != 45 || c.config.Backoff != nil) {
				continue
			}
			t.Run(fmt.Sprintf("%s, %v a second", c.name, rate), func(t *testing.T) {
				collapsed := 0
				var worst, most float64 = 1, 0
				for seed := range seeds {
					goodput, amplification := spike(t, uint64(seed+1), rate, c.config, c.options)
					worst, most = min(worst, goodput), max(most, amplification)
					if goodput < 0.5 {
						collapsed++
					}
				}
				t.Logf("%d of %d seeds collapsed; the worst goodput %.2f, the most requests a call %.2f", collapsed, seeds, worst, most)
				if allowed < 0 && collapsed < seeds || allowed >= 0 && collapsed > allowed {
					t.Errorf("want at most %d of 30 (-1: all of them)", allowed)
				}
			})
		}
	}
}

// If attempts fail independently with probability p, the share of calls that are
// answered is (1 − p) times the attempts made for a call, whatever the policy:
// each attempt that succeeds ends one call (A. Wald, 1944). What is refused in the
// process counts as no attempt. An engine that is off counts wrongly somewhere.
func TestSuccessesAreTheAttemptsTimesTheirChance(t *testing.T) {
	calls := 4000
	if os.Getenv("LLMCALL_MODEL") == "full" {
		calls = 100_000
	}
	limitedFor := func(d time.Duration) func() error {
		return func() error { return told(failure.RateLimited, d) }
	}
	passing := func() error { return transient }
	for _, c := range []struct {
		name    string
		config  retry.Config
		options endpoint.Options
		fails   func() error
		apart   time.Duration // the wait of each worker between two calls
	}{
		{"one attempt", retry.Config{MaxAttempts: 1}, endpoint.Options{}, passing, s},
		{"the defaults", retry.Config{}, endpoint.Options{}, passing, s},
		{"the defaults, slow traffic", retry.Config{}, endpoint.Options{}, passing, 10 * time.Minute},
		{"ten attempts without guards", retry.Config{MaxAttempts: 10}, endpoint.Options{NoBreaker: true, NoPacer: true, NoBudget: true}, passing, s},
		{"a budget that is spent", retry.Config{MaxAttempts: 10, Backoff: backoff.Constant{}}, endpoint.Options{NoBreaker: true}, passing, 0},
		{"a circuit that is waited for", retry.Config{WaitForCircuit: true}, endpoint.Options{Breaker: breaker.Config{FailureThreshold: 2, RecoveryTimeout: s}}, passing, s},
		{"a circuit that refuses", retry.Config{MaxAttempts: 4}, endpoint.Options{Breaker: breaker.Config{FailureThreshold: 2, FailureRate: 0.3, RecoveryTimeout: 5 * s}}, passing, s},
		{"two seconds in all", retry.Config{MaxTime: 2 * s, MaxAttempts: 9}, endpoint.Options{}, passing, s},
		{"wrong answers", retry.Config{}, endpoint.Options{}, func() error { return invalid }, s},
		{"told limits", retry.Config{MaxRateLimitWait: 20 * s}, endpoint.Options{}, limitedFor(200 * time.Millisecond), 10 * s},
		{"limits without a hint", retry.Config{MaxTime: 20 * s}, endpoint.Options{}, func() error { return limited }, 10 * s},
		{"overload", retry.Config{MaxTime: 20 * s}, endpoint.Options{}, func() error { return fail(failure.Overloaded) }, 10 * s},
	} {
		for _, p := range []float64{0.05, 0.3, 0.7} {
			t.Run(fmt.Sprintf("%s, %v fail", c.name, p), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c.config.Target = target(t, c.options)
					policy, err := retry.New(c.config)
					if err != nil {
						t.Fatal(err)
					}
					var mu sync.Mutex
					chance := rand.New(rand.NewPCG(7, uint64(p*100)))
					var attempts, reported, answered int
					var wg sync.WaitGroup
					for range 10 {
						wg.Go(func() {
							for range calls / 10 {
								mine := 0
								_, err := retry.Do(t.Context(), policy, func(context.Context, retry.Attempt) (int, error) {
									mine++
									time.Sleep(50 * time.Millisecond)
									mu.Lock()
									defer mu.Unlock()
									attempts++
									if chance.Float64() < p {
										return 0, c.fails()
									}
									return 1, nil
								})
								mu.Lock()
								if e, failed := errors.AsType[*retry.Error](err); failed {
									reported += e.Attempts
								} else {
									reported += mine
									answered++
								}
								mu.Unlock()
								time.Sleep(c.apart)
							}
						})
					}
					wg.Wait()
					wanted, sigma := (1-p)*float64(attempts), math.Sqrt(float64(attempts)*p*(1-p))
					t.Logf("%d calls, %.3f attempts each, %.3f answered, %.1f sigma off", calls, float64(attempts)/float64(calls), float64(answered)/float64(calls), (float64(answered)-wanted)/sigma)
					if reported != attempts {
						t.Errorf("%d attempts were made, and %d reported", attempts, reported)
					}
					if math.Abs(float64(answered)-wanted) > 4.5*sigma {
						t.Errorf("%d answered of %d attempts, want %.0f ± %.0f", answered, attempts, wanted, sigma)
					}
				})
			})
		}
	}
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

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

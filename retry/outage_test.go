package retry_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// A provider that is overloaded for some seconds and then well: whoever has the time
// is answered, also with a circuit breaker. Refused is refused quickly; an answer
// takes a second.
func TestAShortOverloadIsRiddenOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		callers int
		outage  time.Duration
		options endpoint.Options
		least   int           // answered
		most    time.Duration // until the last of them
	}{
		{"100 callers, 10 s", 100, 10 * s, endpoint.Options{NoBreaker: true}, 100, 45 * s},
		{"20 callers, 10 s", 20, 10 * s, endpoint.Options{NoBreaker: true}, 20, 45 * s},
		{"20 callers, 20 s", 20, 20 * s, endpoint.Options{NoBreaker: true}, 20, 60 * s},
		{"20 callers, 4 s, a circuit", 20, 4 * s, endpoint.Options{}, 20, 30 * s},
		{"100 callers, 10 s, a circuit", 100, 10 * s, endpoint.Options{}, 100, 45 * s},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := target(t, c.options)
				p := newPolicy(t, retry.Config{Target: to})
				start := time.Now()
				var sent, answered atomic.Int64
				var last time.Duration
				var mu sync.Mutex
				reasons := map[string]int{}
				fn := func(context.Context, retry.Attempt) (int, error) {
					sent.Add(1)
					if time.Since(start) < c.outage {
						time.Sleep(30 * time.Millisecond)
						return 0, &failure.Error{Kind: failure.Overloaded, Status: 529}
					}
					time.Sleep(s)
					return 1, nil
				}
				var wg sync.WaitGroup
				for range c.callers {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 90*s)
						defer cancel()
						_, err := retry.Do(ctx, p, fn)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							answered.Add(1)
							last = time.Since(start)
						} else {
							reasons[err.Error()]++
						}
					})
				}
				wg.Wait()
				t.Logf("%d of %d answered by %v, %d requests", answered.Load(), c.callers, last, sent.Load())
				if int(answered.Load()) < c.least || last > c.most {
					for reason, n := range reasons {
						t.Errorf("%d: %s", n, reason)
					}
					t.Errorf("answered %d, wanted %d; the last after %v, wanted %v", answered.Load(), c.least, last, c.most)
				}
			})
		})
	}
}

// An overload without an end opens the circuit all the same.
func TestAnOverloadWithoutEndOpensTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		p := newPolicy(t, retry.Config{Target: to})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * s)
				_, _ = retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (int, error) {
					time.Sleep(30 * time.Millisecond)
					return 0, &failure.Error{Kind: failure.Overloaded, Status: 529}
				})
			})
		}
		time.Sleep(3 * time.Minute)
		if state := to.Endpoint.Circuit(endpoint.Options{}).State(); state == breaker.Closed {
			t.Errorf("%v after three minutes", state)
		}
		wg.Wait()
	})
}

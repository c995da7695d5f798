package llmcall_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// bucket is a model whose provider allows a rate, in a token bucket.
type bucket struct {
	name         string
	key          uint64 // of its endpoint
	rate, burst  float64
	answer       time.Duration
	refusal      error
	mu           sync.Mutex
	tokens       float64
	last         time.Time
	sent, failed int
}

func newBucket(t *testing.T, rate, burst float64) *bucket {
	return &bucket{
		name: unused(t), rate: rate, burst: burst, tokens: burst, last: time.Now(), answer: 200 * time.Millisecond,
		refusal: &failure.Error{Kind: failure.RateLimited, Status: 429},
	}
}

func (m *bucket) Name() string { return m.name }

func (m *bucket) EndpointKey() endpoint.Key { return endpoint.Key{Model: m.name, Credential: m.key} }

func (m *bucket) Complete(context.Context, *llm.Request) (*llm.Response, error) {
	m.mu.Lock()
	m.sent++
	now := time.Now()
	m.tokens = min(m.burst, m.tokens+now.Sub(m.last).Seconds()*m.rate)
	m.last = now
	if m.tokens < 1 {
		m.failed++
		m.mu.Unlock()
		time.Sleep(20 * time.Millisecond) // the way back
		return nil, m.refusal
	}
	m.tokens--
	m.mu.Unlock()
	time.Sleep(m.answer)
	return llm.Reply("good"), nil
}

// inParallel makes calls by some workers, on defaults, and returns how many were
// answered, and in what time.
func inParallel(t *testing.T, workers, jobs int, ctx func() (context.Context, context.CancelFunc), c *llmcall.Client) (answered int64, took time.Duration) {
	start := time.Now()
	var wg sync.WaitGroup
	var next, good atomic.Int64
	for range workers {
		wg.Go(func() {
			for next.Add(1) <= int64(jobs) {
				own, cancel := ctx()
				if _, err := c.Do(own, llm.Prompt("x")); err == nil {
					good.Add(1)
				} else {
					t.Log(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	return good.Load(), time.Since(start)
}

// On defaults 11 to 26 of these 120 calls were answered.
func TestABatchAtARateLimitIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBucket(t, 10, 5)
		c := client(t, m, checked, llmcall.RetryConfig{})
		answered, took := inParallel(t, 30, 120, func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, c)
		after := m.failed - 25 // those of the first burst: 30 were sent at once, 5 were allowed
		t.Logf("%d of 120 in %v, %d refusals after the first burst", answered, took, after)
		if answered != 120 || took > 16*s || after > 10 {
			t.Error("want all within 16 s, and at most 10 refusals")
		}
	})
}

func TestAllOf200WorkersWithADeadlineAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBucket(t, 10, 5)
		answered, took := inParallel(t, 200, 200, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 30*s)
		}, client(t, m, checked, llmcall.RetryConfig{}))
		t.Logf("%d of 200 in %v", answered, took)
		if answered != 200 {
			t.Error("not all were served")
		}
	})
}

// A call a minute of which a share fails and passes: 76 and 87 % were answered.
func TestSlowTrafficWithPassingFailures(t *testing.T) {
	for _, row := range []struct{ fails, wanted float64 }{{0.3, 0.96}, {0.2, 0.99}} {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(7, 7))
			m := llm.Func(unused(t), func(context.Context, *llm.Request) (*llm.Response, error) {
				if chance.Float64() < row.fails {
					return nil, &failure.Error{Kind: failure.Transient}
				}
				return llm.Reply("good"), nil
			})
			c := client(t, m, checked, llmcall.RetryConfig{})
			const calls = 20_000
			good := 0
			for range calls {
				if _, err := c.Do(t.Context(), llm.Prompt("x")); err == nil {
					good++
				}
				time.Sleep(time.Minute)
			}
			share := float64(good) / calls
			t.Logf("%.0f %% fail: %.2f %% answered", 100*row.fails, 100*share)
			if share < row.wanted {
				t.Errorf("want %.0f %%", 100*row.wanted)
			}
		})
	}
}

// 10 of these 100 calls were answered.
func TestABurstThatMeetsABlipIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m := llm.Func(unused(t), func(context.Context, *llm.Request) (*llm.Response, error) {
			if time.Since(start) < s/2 {
				return nil, &failure.Error{Kind: failure.Transient, Status: 503}
			}
			return llm.Reply("good"), nil
		})
		answered, _ := inParallel(t, 100, 100, func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, client(t, m, checked, llmcall.RetryConfig{}))
		if answered < 95 {
			t.Errorf("%d of 100 were answered", answered)
		}
	})
}

// One tenant's bad key, or rate limit, is nobody else's.
func TestTenantsOfOneModelAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := newBucket(t, 100, 100), newBucket(t, 100, 100)
		good.name, bad.key, good.key = bad.name, 1, 2
		cfg := llmcall.RetryConfig{EnableCircuitBreaker: true}
		for _, refusal := range []*failure.Error{
			{Kind: failure.Unauthorized, Status: 401, Message: "organisation org-7 is not known"},
			{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: 30 * time.Minute, Message: "org-7 is at its limit"},
		} {
			bad.tokens, bad.rate, bad.refusal = 0, 0, refusal
			if _, err := client(t, bad, checked, cfg).Do(t.Context(), llm.Prompt("x")); err == nil {
				t.Fatal("no error")
			}
			if _, err := client(t, good, checked, cfg).Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Errorf("another tenant: %v", err)
			}
		}
	})
}

// With a source of chance of its own a call's waits can be repeated.
func TestChanceComesFromTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		for range 3 {
			chance := rand.New(rand.NewPCG(3, 4))
			r, err := endpoint.NewRegistry(endpoint.Config{Rand: chance.Uint64})
			if err != nil {
				t.Fatal(err)
			}
			m := play(t, down, told(failure.RateLimited, 5*s))
			if _, err := client(t, m, checked, llmcall.RetryConfig{Rand: chance.Uint64, Endpoints: r}).Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(m.start))
		}
		if took[0] != took[1] || took[1] != took[2] || took[0] == 6*s {
			t.Errorf("took %v", took)
		}
	})
}

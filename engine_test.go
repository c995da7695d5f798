package llmcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/validate"
	judging "llmcall/validate/judge"
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

// A model that judges itself, on one circuit: it stayed HALF_OPEN for ever, since
// the call held the only probe's place while its judge asked for one.
func TestAModelThatJudgesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := endpoint.NewRegistry(endpoint.Config{})
		if err != nil {
			t.Fatal(err)
		}
		fails := atomic.Bool{}
		m := llm.Func(unused(t), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
			if fails.Load() {
				return nil, &failure.Error{Kind: failure.Transient}
			}
			if req.Schema != nil {
				return llm.Reply(`{"passed":true,"complaints":[]}`), nil
			}
			return llm.Reply("good"), nil
		})
		config := breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * s}
		guards := endpoint.Options{Breaker: config}
		check, err := judging.Task(m, "it is good", judging.TaskOptions{Options: judging.Options{Endpoints: r, Guards: guards}})
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, m, []validate.Strategy{check}, llmcall.RetryConfig{
			MaxAttempts: 1, Endpoints: r, EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: config},
		})
		fails.Store(true)
		_, _ = c.Do(t.Context(), llm.Prompt("x"))
		fails.Store(false)
		answered := 0
		for range 200 {
			time.Sleep(11 * s)
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err == nil {
				answered++
			} else if answered == 0 {
				t.Log(err)
			}
		}
		if state := r.Get(endpoint.KeyOf(m)).Circuit(guards).State(); answered != 200 || state != breaker.Closed {
			t.Errorf("%d of 200 answered, the circuit is %v", answered, state)
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

// What a client configures of an endpoint holds for all of its callers.
func TestConfiguredLimitsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flying, most atomic.Int64
		m := llm.Func(unused(t), func(context.Context, *llm.Request) (*llm.Response, error) {
			n := flying.Add(1)
			defer flying.Add(-1)
			for {
				if seen := most.Load(); n <= seen || most.CompareAndSwap(seen, n) {
					break
				}
			}
			time.Sleep(s)
			return llm.Reply("good"), nil
		})
		c := client(t, m, checked, llmcall.RetryConfig{MaxConcurrent: 3})
		answered, took := inParallel(t, 20, 30, func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, c)
		if answered != 30 || most.Load() != 3 || took < 10*s || took > 11*s {
			t.Errorf("%d answered in %v, %d at a time", answered, took, most.Load())
		}
		if got := endpoint.Default().Get(endpoint.KeyOf(m)).Snapshot().Pace.Limits; got != (pace.Limits{MaxConcurrent: 3}) {
			t.Errorf("the endpoint has %+v", got)
		}
	})
}

// Each round of a tool is a request, and passes the guards; nothing is held
// while the tool runs.
func TestAToolsRoundsPassTheGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := unused(t)
		held := -1
		tool := &llmcall.Tool{Tool: llm.Tool{Name: "look"}, Run: func(context.Context, json.RawMessage) (string, error) {
			held = endpoint.Default().Get(endpoint.Key{Model: name}).Snapshot().Pace.InFlight
			return "found", nil
		}}
		m := named(name, play(t, say("bad"), wants(calls("1", "look", `{}`))))
		c := client(t, m, checked, llmcall.RetryConfig{MaxConcurrent: 1, MaxAttemptsBeforeToolUse: 1, Tool: tool})
		r, err := c.Do(t.Context(), llm.Prompt("x"))
		if err != nil || held != 0 || len(r.Attempts) != 2 || m.calls() != 3 {
			t.Errorf("%v; %d held while the tool ran; %d requests", err, held, m.calls())
		}
	})
}

// With two models the next serves where the first can't.
func TestAnotherModelServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := named(unused(t), play(t, kind(failure.Unauthorized))), named(unused(t), play(t))
		c, err := llmcall.New([]llm.Model{first, second}, checked, llmcall.RetryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(t.Context(), llm.Prompt("x"))
		if err != nil || r.Model != second.name || fmt.Sprint(r.Attempts[0].Model, r.Attempts[1].Model) != first.name+second.name {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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

// obedient waits, and ends when its context does.
func obedient(d time.Duration, then step) step {
	return func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		select {
		case <-time.After(d):
			return then(ctx, req)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// slowTail answers within 0.4 s ± 10 %, but 3 % of the requests after 6 s.
func slowTail(name string, seed uint64, requests *atomic.Int64) llm.Model {
	chance := rand.New(rand.NewPCG(seed, 12))
	var mu sync.Mutex
	return llm.Func(name, func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		requests.Add(1)
		mu.Lock()
		took := time.Duration(float64(400*time.Millisecond) * (0.9 + 0.2*chance.Float64()))
		if chance.Float64() < 0.03 {
			took = 6 * s
		}
		mu.Unlock()
		return obedient(took, say("good"))(ctx, req)
	})
}

// The 99th percentile falls at least fivefold, for at most 5 % more requests.
func TestHedgesShortenTheTail(t *testing.T) {
	const calls = 5000
	for name, cfg := range map[string]llmcall.RetryConfig{
		"no hedge":       {},
		"the same model": {Hedge: &llmcall.Hedge{Quantile: 0.95, SameModel: true}},
		"another model":  {Hedge: &llmcall.Hedge{Quantile: 0.95}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				models := []llm.Model{slowTail("test/a", 1, &requests), slowTail("test/b", 2, &requests)}
				registry, _ := endpoint.NewRegistry(endpoint.Config{})
				cfg.Endpoints = registry
				c, err := llmcall.New(models, checked, exact(cfg))
				if err != nil {
					t.Fatal(err)
				}
				var took []time.Duration
				for range calls {
					start := time.Now()
					if _, err := c.Do(t.Context(), llm.Prompt("?")); err != nil {
						t.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				p99, extra := took[calls*99/100], float64(requests.Load()-calls)/calls
				t.Logf("p50 %v, p95 %v, p99 %v, p99.9 %v, %.1f %% more requests", took[calls/2], took[calls*95/100], p99, took[calls*999/1000], 100*extra)
				if cfg.Hedge == nil && p99 != 6*s || cfg.Hedge != nil && p99 > 6*s/5 || extra > 0.05 {
					t.Errorf("p99 %v with %.1f %% more requests", p99, 100*extra)
				}
			})
		})
	}
}

// Each row is what the first and the second model do, with a hedge after one second, and
// the records of the attempts.
func TestHedges(t *testing.T) {
	good, bad, slowGood := say("good"), say("bad"), obedient(5*s, say("good"))
	for _, row := range []struct {
		name  string
		a, b  []step
		took  time.Duration
		trace []string
	}{
		{"a quick answer has none", []step{obedient(s/2, good)}, nil, s / 2, []string{"test/a valid"}},
		{"the second is sooner", []step{slowGood}, []step{obedient(s, good)}, 2 * s, []string{"test/a lost, test/b valid"}},
		{"the first is sooner", []step{obedient(2*s, good)}, []step{slowGood}, 2 * s, []string{"test/a valid, test/b lost"}},
		{"the second is wrong", []step{slowGood}, []step{bad}, 5 * s, []string{"test/a valid, test/b invalid"}},
		{"the second fails", []step{slowGood}, []step{down}, 5 * s, []string{"test/a valid, test/b failed"}},
		{"the first is wrong, and the second comes", []step{obedient(2*s, bad)}, []step{slowGood}, 6 * s, []string{"test/a invalid, test/b valid"}},
		{"the first fails, and the second comes", []step{obedient(2*s, down)}, []step{slowGood}, 6 * s, []string{"test/a failed, test/b valid"}},
		{"both fail, and one attempt is used", []step{obedient(2*s, bad), good}, []step{down}, 2 * s, []string{"test/a invalid, test/b failed", "test/a valid"}},
		{"a failure before its time has none", []step{down, good}, nil, s, []string{"test/a failed", "test/a valid"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := aModel("test/a", row.a...), aModel("test/b", row.b...)
				registry, _ := endpoint.NewRegistry(endpoint.Config{})
				var seen []llmcall.Attempt
				c, err := llmcall.New([]llm.Model{a, b}, checked, exact(llmcall.RetryConfig{
					Endpoints: registry, Hedge: &llmcall.Hedge{After: s, Extra: 1}, EnableCircuitBreaker: true,
					Observer: func(_ context.Context, e llmcall.Event) context.Context {
						if e.Type == llmcall.EventAttemptEnded {
							seen = append(seen, e.Attempt)
						}
						return nil
					},
				}))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				r, err := c.Do(t.Context(), llm.Prompt("?"))
				if err != nil || r.Text != "good" || time.Since(start) != row.took {
					t.Fatalf("%v, %v after %v", r, err, time.Since(start))
				}
				var got []string
				for _, a := range r.Attempts {
					line := fmt.Sprintf("%s %s", a.Model, a.Outcome)
					if a.Hedge != nil {
						line += fmt.Sprintf(", %s %s", a.Hedge.Model, a.Hedge.Outcome)
					}
					got = append(got, line)
				}
				if !slices.Equal(got, row.trace) || len(seen) != len(r.Attempts) {
					t.Errorf("got %q, want %q; %d were seen", got, row.trace, len(seen))
				}
				want := "test/a"
				if strings.HasSuffix(row.trace[len(row.trace)-1], "test/b valid") {
					want = "test/b"
				}
				if r.Model != want {
					t.Errorf("answered by %s", r.Model)
				}
				for e := range registry.All() {
					if f := e.Snapshot(); f.Pace.InFlight != 0 {
						t.Errorf("%v has %d requests in flight", f.Key, f.Pace.InFlight)
					}
				}
			})
		})
	}
}

// A hedge is not sent where it would have to wait, to a model whose circuit is not
// CLOSED, before there is a history, beyond its allowance, or with a tool that acts.
func TestNoHedges(t *testing.T) {
	slow := obedient(5*s, say("good"))
	tool := aTool("f", found)
	reads := tool
	reads.ReadOnly = true
	for name, row := range map[string]struct {
		cfg    llmcall.RetryConfig
		before func(*endpoint.Registry)
		hedged bool
	}{
		"a hedge":                   {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1}}, nil, true},
		"no history":                {llmcall.RetryConfig{Hedge: &llmcall.Hedge{Quantile: 0.9, Extra: 1}}, nil, false},
		"no allowance":              {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 0.9}}, nil, false},
		"a tool that acts":          {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1}, Tools: []llmcall.Tool{tool}}, nil, false},
		"a tool that reads":         {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1}, Tools: []llmcall.Tool{reads}}, nil, true},
		"a limit that is reached":   {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1, SameModel: true}, MaxConcurrent: 1}, nil, false},
		"an endpoint that is shut":  {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1}, EnableCircuitBreaker: true}, func(r *endpoint.Registry) { r.Get(endpoint.Key{Model: "test/b"}).ForceOpen("on purpose") }, true},
		"and no other model either": {llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: s, Extra: 1}, MaxConcurrent: 1}, func(r *endpoint.Registry) { r.Get(endpoint.Key{Model: "test/b"}).ForceOpen("on purpose") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry, _ := endpoint.NewRegistry(endpoint.Config{})
				row.cfg.Endpoints = registry
				if row.before != nil {
					row.before(registry)
				}
				cfg := exact(row.cfg)
				cfg.DisablePacing = false
				c, err := llmcall.New([]llm.Model{aModel("test/a", slow, slow), aModel("test/b", slow)}, checked, cfg)
				if err != nil {
					t.Fatal(err)
				}
				r, err := c.Do(t.Context(), llm.Prompt("?"))
				if err != nil || (r.Attempts[0].Hedge != nil) != row.hedged {
					t.Errorf("%v: %+v", err, r.Attempts)
				}
			})
		})
	}
}

// What a second request does to the call: a panic is passed on, the end of the call ends
// both, and nothing is left of either.
func TestAHedgeEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func(b step) *llmcall.Client {
			registry, _ := endpoint.NewRegistry(endpoint.Config{})
			c, err := llmcall.New([]llm.Model{aModel("test/a", obedient(9*s, say("good"))), aModel("test/b", b)}, checked,
				exact(llmcall.RetryConfig{Endpoints: registry, Hedge: &llmcall.Hedge{After: s, Extra: 1}}))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		func() {
			defer func() {
				if v := recover(); v != "on purpose" {
					t.Errorf("recovered %v", v)
				}
			}()
			_, err := start(func(context.Context, *llm.Request) (*llm.Response, error) { panic("on purpose") }).Do(t.Context(), llm.Prompt("?"))
			t.Error(err)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*s)
		defer cancel()
		begun := time.Now()
		_, err := start(hang).Do(ctx, llm.Prompt("?"))
		if reasonOf(t, err) != llmcall.ReasonOutOfTime || time.Since(begun) != 3*s {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		e, _ := errors.AsType[*llmcall.Error](err)
		if h := e.Attempts[0].Hedge; h == nil || h.Kind != failure.DeadlineExceeded {
			t.Errorf("the hedge is %+v", h)
		}
	})
}

func TestAHedgeInJSON(t *testing.T) {
	want := llmcall.Attempt{Number: 1, Model: "a", Outcome: llmcall.OutcomeLost, Kind: failure.Cancelled, Hedge: &llmcall.Attempt{Number: 1, Model: "b", Outcome: llmcall.OutcomeValid}}
	text, err := json.Marshal(want)
	var got llmcall.Attempt
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil || got.Hedge == nil || got.Hedge.Model != "b" || got.Outcome != llmcall.OutcomeLost {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
}

func TestImpossibleHedges(t *testing.T) {
	for text, want := range map[string]string{
		"hedge: {after: p40}":          `c.yaml:1: hedge.after must be a quantile from p50 to p99.9, or a time above 0 (seconds, or a duration like "30s"), got "p40"`,
		"hedge: {after: 0}":            `c.yaml:1: hedge.after must be a quantile from p50 to p99.9, or a time above 0 (seconds, or a duration like "30s"), got 0`,
		"hedge: {extra: 0.1}":          `c.yaml:1: hedge.after: must be either a time above 0 or a quantile`,
		"hedge: {after: 2s, extra: 2}": `c.yaml:1: hedge.extra must be a number from 0.001 to 1, got 2`,
		"hedge: {afer: p95}":           `c.yaml:1: hedge.afer: unknown field, did you mean after?`,
		"hedge: p95":                   `c.yaml:1: hedge must be a mapping of settings, got "p95"`,
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

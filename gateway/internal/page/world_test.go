package page_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway/internal/page"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/provider"
	_ "llmcall/provider/anthropic"
	_ "llmcall/provider/gemini"
	_ "llmcall/provider/openai"
	"llmcall/validate"
)

// world is a gateway's inside: clients of providers that fail in all their ways, in one
// registry, observed by a ring, shown by the page.
type world struct {
	registry *endpoint.Registry
	ring     *page.Ring
	page     http.Handler
	server   *httptest.Server
	done     chan struct{}
	writable bool
	names    map[endpoint.Key][]string
}

func newWorld(t testing.TB, contents bool, change func(*page.Options)) *world {
	t.Helper()
	w := &world{ring: page.NewRing(100, contents), done: make(chan struct{}), writable: true, names: map[endpoint.Key][]string{}}
	var err error
	if w.registry, err = endpoint.NewRegistry(endpoint.Config{OnStateChange: w.ring.Changed}); err != nil {
		t.Fatal(err)
	}
	o := page.Options{
		Registry: w.registry, Calls: w.ring, Contents: contents, Version: "0.14.0", Started: time.Now(), Done: w.done,
		Names:    func(k endpoint.Key) []string { return w.names[k] },
		Writable: func(*http.Request) bool { return w.writable },
		Clients: func() []page.ClientRow {
			return []page.ClientRow{
				{Name: "web", Requests: 18_204, Refused: 31, InFlight: 4, SpentToday: 4_612_000_000, LimitToday: 5_000_000_000, Limits: "600 requests a minute"},
				{Name: "nightly-report", Requests: 120, SpentToday: 42_000_000},
			}
		},
	}
	if change != nil {
		change(&o)
	}
	w.page = page.Handler(o)
	mux := http.NewServeMux()
	mux.Handle("/ui/", http.StripPrefix("/ui", w.page))
	w.server = httptest.NewUnstartedServer(mux)
	w.server.Config.RegisterOnShutdown(func() { close(w.done) })
	w.server.Start()
	t.Cleanup(w.server.Close)
	return w
}

// provider starts one that fails by a plan, and returns the models that it serves under
// the name, one for each key.
func (w *world) provider(t testing.TB, name, protocol string, keys int, plan *chaos.Plan) []llm.Model {
	t.Helper()
	s, err := chaos.New(chaos.Config{Plan: plan, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); server.Close() })
	base := map[string]string{"openai": server.URL + "/v1", "anthropic": server.URL, "gemini": server.URL}[protocol]
	var all []llm.Model
	for k := range keys {
		variable := fmt.Sprintf("PAGE_TEST_KEY_%d", k)
		if t, ok := t.(*testing.T); ok {
			t.Setenv(variable, fmt.Sprintf("key-%d-of-the-test", k))
		}
		models, err := provider.OpenAll([]string{name}, map[string]provider.Own{
			name[:len(name)-len(after(name))-1]: {Protocol: protocol, BaseURL: base, Keys: []string{"env:" + variable}},
		}, provider.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, models...)
	}
	for _, m := range all {
		w.names[endpoint.KeyOf(m)] = []string{m.Name()}
	}
	return all
}

func after(name string) string {
	for i := range name {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

// client returns a client of the models, with the ring as its observer.
func (w *world) client(t testing.TB, models []llm.Model, checks []validate.Strategy, change func(*llmcall.RetryConfig)) *llmcall.Client {
	t.Helper()
	cfg := llmcall.RetryConfig{Endpoints: w.registry, Observer: w.ring.Observer(), Prices: price.Table{}}
	for _, m := range models {
		cfg.Prices[m.Name()] = price.Price{Rates: price.Rates{Input: 150_000_000, Output: 600_000_000}}
	}
	if change != nil {
		change(&cfg)
	}
	c, err := llmcall.New(models, checks, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// loads makes calls until the context ends: one every so often.
func loads(ctx context.Context, wait *sync.WaitGroup, every time.Duration, c *llmcall.Client, who page.Caller, text string) {
	wait.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			wait.Go(func() {
				q := llm.Prompt(text)
				who := who
				who.Prompt = q
				c.Do(page.With(ctx, who), q) // how it ends is what the page shows
			})
		}
	})
}

// isJSON is a check.
var isJSON = validate.JSON()

// busy makes the calls of a bad day until the context ends.
func (w *world) busy(ctx context.Context, t *testing.T, wait *sync.WaitGroup) {
	steady := w.provider(t, "openai/gpt-6-luna", "openai", 1, &chaos.Plan{AnswerTime: 120 * time.Millisecond})
	outage := w.provider(t, "acme/large", "openai", 1, &chaos.Plan{Weights: []chaos.Fault{{Kind: chaos.Status, Error: "overloaded", Weight: 1}}})
	limited := w.provider(t, "acme/small", "openai", 2, &chaos.Plan{AnswerTime: 200 * time.Millisecond, Limits: &chaos.Limits{RequestsPerMinute: 120, Burst: 5, Hint: chaos.HintNone}})
	wrong := w.provider(t, "anthropic/claude-test", "anthropic", 1, &chaos.Plan{AnswerTime: 80 * time.Millisecond, Weights: []chaos.Fault{
		{Kind: chaos.Prose, Weight: 3}, {Kind: chaos.Right, Weight: 6, Answer: `{"ok": true}`}, {Kind: chaos.Length, Weight: 1},
	}})
	slow := w.provider(t, "gemini/gemini-test", "gemini", 1, &chaos.Plan{Weights: []chaos.Fault{
		{Kind: chaos.Slow, Delay: 1500 * time.Millisecond, Weight: 4}, {Kind: chaos.Right, Weight: 4}, {Kind: chaos.Reset, Weight: 1},
	}})
	flaky := w.provider(t, "vertex/flaky", "openai", 1, &chaos.Plan{Repeat: true, Steps: append(times(40, chaos.Fault{}), times(6, chaos.Fault{Kind: chaos.Status, Error: "server_error"})...)})
	quick := func(c *llmcall.RetryConfig) {
		c.EnableCircuitBreaker = true
		c.CircuitBreakerConfig.Config = breaker.Config{RecoveryTimeout: 20 * time.Second}
	}
	all := [][]llm.Model{steady, limited, slow, flaky}
	for i, m := range all {
		loads(ctx, wait, []time.Duration{150, 180, 700, 250}[i]*time.Millisecond, w.client(t, m, nil, quick), page.Caller{Client: "web", Route: "support", ID: "req-7f3a"}, "Where is my parcel?")
	}
	loads(ctx, wait, 400*time.Millisecond, w.client(t, append(outage, steady...), nil, quick), page.Caller{Client: "web", Route: "chat"}, "Hello!")
	loads(ctx, wait, 600*time.Millisecond, w.client(t, wrong, []validate.Strategy{isJSON}, quick), page.Caller{Client: "nightly-report", Route: "extract"}, "The parcel of Ms Secretname as JSON, please.")
}

func times(n int, f chaos.Fault) []chaos.Fault {
	all := make([]chaos.Fault, n)
	for i := range all {
		all[i] = f
	}
	return all
}

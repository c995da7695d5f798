package oracles_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider/openai"
	"llmcall/simulate"
	"llmcall/validate"
)

// tenth returns a scenario with all its times a tenth, without chance in its latencies,
// which a chaos plan does not have, and with as many calls as give steady numbers.
func tenth(sc *simulate.Scenario) *simulate.Scenario {
	short := *sc
	short.Duration /= 10
	latency := func(l simulate.Latency) simulate.Latency { return simulate.Latency{Constant: l.Median / 10} }
	short.Clients = nil
	for _, c := range sc.Clients {
		c.Deadline /= 10
		if short.Provider.Limits == nil {
			c.CallsPerSecond *= 4
		}
		short.Clients = append(short.Clients, c)
	}
	short.Provider.Latency, short.Provider.Network = latency(sc.Provider.Latency), simulate.Latency{}
	short.Phases = nil
	for _, p := range sc.Phases {
		p.From, p.To, p.Latency = p.From/10, p.To/10, latency(p.Latency)
		short.Phases = append(short.Phases, p)
	}
	return &short
}

// planOf returns what the provider of a scenario does from one moment to the next, as a
// chaos plan.
func planOf(sc *simulate.Scenario, at time.Duration) *chaos.Plan {
	latency, faults := sc.Provider.Latency, sc.Provider.Faults
	for _, p := range sc.Phases {
		if at < p.From || at >= p.To {
			continue
		}
		if p.Latency != (simulate.Latency{}) {
			latency = p.Latency
		}
		if p.Faults != nil {
			faults = p.Faults
		}
	}
	plan := &chaos.Plan{AnswerTime: latency.Constant, Limits: sc.Provider.Limits}
	rest := 1.0
	for _, f := range faults {
		f.Weight = f.Share
		if f.Share == 0 {
			f.Weight = 1
		}
		rest -= f.Weight
		plan.Weights = append(plan.Weights, f.Fault)
		plan.Weights[len(plan.Weights)-1].Weight = f.Weight
	}
	if len(plan.Weights) > 0 && rest > 1e-9 {
		plan.Weights = append(plan.Weights, chaos.Fault{Weight: rest})
	}
	return plan
}

// phased is the server of a scenario: one chaos server for each time in which the
// provider behaves in one way.
type phased struct {
	start    time.Time
	requests atomic.Int64
	from     []time.Duration // in order
	servers  []*chaos.Server
}

func newPhased(t *testing.T, sc *simulate.Scenario) *phased {
	t.Helper()
	h := &phased{}
	edges := map[time.Duration]bool{0: true}
	for _, p := range sc.Phases {
		edges[p.From], edges[p.To] = true, true
	}
	var same *chaos.Server
	var last string
	for at := time.Duration(0); at <= sc.Duration; at += 100 * time.Millisecond {
		if !edges[at] {
			continue
		}
		plan := planOf(sc, at)
		if word := fmt.Sprintf("%+v", *plan); word != last { // a limiter goes on where nothing changes
			server, err := chaos.New(chaos.Config{Plan: plan})
			if err != nil {
				t.Fatal(err)
			}
			same, last = server, word
		}
		h.from, h.servers = append(h.from, at), append(h.servers, same)
	}
	return h
}

func (h *phased) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	at := len(h.from) - 1
	for at > 0 && time.Since(h.start) < h.from[at] {
		at--
	}
	h.servers[at].ServeHTTP(w, r)
}

// shape is what every answer must fit, so that a wrong one is noticed.
const shape = `{"type": "object", "required": ["id", "name"], "additionalProperties": false,
	"properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}`

// inRealTime makes the calls of a scenario over HTTP.
func inRealTime(t *testing.T, cfg llmcall.RetryConfig, sc *simulate.Scenario) (calls, requests, answered float64) {
	h := newPhased(t, sc)
	server := httptest.NewServer(h)
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	defer func() {
		transport.CloseIdleConnections()
		for _, c := range h.servers {
			c.Close()
		}
		server.Close()
	}()
	check, err := validate.JSONSchema([]byte(shape))
	if err != nil {
		t.Fatal(err)
	}
	var made, good atomic.Int64
	var all sync.WaitGroup
	h.start = time.Now()
	number := uint64(0)
	for _, group := range sc.Clients {
		for range group.Processes {
			number++
			model, err := openai.New(openai.DefaultModel, openai.Options{BaseURL: server.URL + "/v1", APIKey: "of-the-test", HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				t.Fatal(err)
			}
			own := cfg
			if own.Endpoints, err = endpoint.NewRegistry(endpoint.Config{}); err != nil {
				t.Fatal(err)
			}
			client, err := llmcall.New([]llm.Model{model}, []validate.Strategy{check}, own)
			if err != nil {
				t.Fatal(err)
			}
			gaps := source(1, number)
			all.Go(func() {
				for {
					rate := group.CallsPerSecond * loadOf(sc, time.Since(h.start))
					time.Sleep(exponential(gaps, time.Duration(float64(s)/rate)))
					if time.Since(h.start) >= sc.Duration {
						return
					}
					made.Add(1)
					all.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), group.Deadline)
						defer cancel()
						req := llm.Prompt("Which?")
						req.Schema = &llm.Schema{Name: "which", JSON: []byte(shape)}
						if _, err := client.Do(ctx, req); err == nil {
							good.Add(1)
						}
					})
				}
			})
		}
	}
	all.Wait()
	return float64(made.Load()), float64(h.requests.Load()), float64(good.Load())
}

// loadOf returns by how much the rate of calls is multiplied.
func loadOf(sc *simulate.Scenario, at time.Duration) float64 {
	load := 1.0
	for _, p := range sc.Phases {
		if at >= p.From && at < p.To && p.Load > 0 {
			load = p.Load
		}
	}
	return load
}

// The scenarios that a chaos plan can express, simulated and in real time over HTTP, with
// the official SDK: requests and answers differ by at most 10 %. Both are counted for each
// call, since neither has the other's arrivals.
func TestASimulationIsWhatHappens(t *testing.T) {
	if os.Getenv("LLMCALL_TIMED") != "1" {
		t.Skip("it takes 50 s in which other work must leave it a core: with LLMCALL_TIMED=1")
	}
	tenfold := breaker.Config{RecoveryTimeout: 6 * s} // as the scenarios
	policies := map[string]llmcall.RetryConfig{
		"defaults": {InitialDelay: s / 10, MaxDelay: 6 * s},
		"breaker":  {InitialDelay: s / 10, MaxDelay: 6 * s, EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: tenfold}},
	}
	tab := newTable(t)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range []string{"outage", "brownout", "rate_limit", "rate_limit_no_hint", "slow", "hang", "quota", "flapping", "bad_answers"} {
		for policy, cfg := range policies {
			cfg.MaxTokens = 200 // else a half answer halves the next one: its length is the only known limit
			sc := tenth(simulate.Must(simulate.Named(name)))
			var requests, answered sample
			for seed := range uint64(5) {
				sc.Seed = seed + 1
				r := simulate.Run(t, cfg, sc)
				requests = append(requests, float64(r.Requests)/float64(r.Calls))
				answered = append(answered, float64(r.Answered)/float64(r.Calls))
			}
			all.Go(func() {
				calls, sent, good := inRealTime(t, cfg, sc)
				mu.Lock()
				defer mu.Unlock()
				row := fmt.Sprintf("%s, %s, %.0f calls", name, policy, calls)
				tab.within(row+": requests a call", requests.mean(), sent/calls, 0.1*requests.mean())
				tab.within(row+": answered", answered.mean(), good/calls, 0.1*answered.mean())
			})
		}
	}
	all.Wait()
}

package oracles_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/llm"
)

// asked is a call in its context: its latencies are its own, whoever comes first.
type asked struct {
	call     uint64
	requests atomic.Uint32
}

// The first of two independent answers counts, the second asked for after a quantile of
// the first's distribution: by a time, and by the quantile of what the engine has seen. A
// request whose second was sooner is cancelled, and seen as one that took as long as the
// other: that makes the quantile shorter, by most for the highest quantiles. For those a
// bound is compared.
func TestHedging(t *testing.T) {
	t.Parallel()
	normal := func(mu, sigma float64) func(*rand.Rand) float64 {
		return func(chance *rand.Rand) float64 { return math.Exp(mu + sigma*chance.NormFloat64()) }
	}
	mix := func(q float64, a, b func(*rand.Rand) float64) func(*rand.Rand) float64 {
		return func(chance *rand.Rand) float64 {
			if chance.Float64() < q {
				return a(chance)
			}
			return b(chance)
		}
	}
	mean := func(m float64) func(*rand.Rand) float64 {
		return func(chance *rand.Rand) float64 { return m * chance.ExpFloat64() }
	}
	latencies := map[string]func(*rand.Rand) float64{
		"exponential":   mean(1),
		"lognormal 0.5": normal(0, 0.5),
		"lognormal 1":   normal(0, 1),
		"pareto 2":      func(chance *rand.Rand) float64 { return 1 / math.Sqrt(1-chance.Float64()) },
		"stragglers":    mix(0.99, mean(10), mean(1000)),
		"slow replicas": mix(0.98, normal(0, 0.3), normal(3, 0.5)),
	}
	calls, workers := either(16_000, 200_000), 40
	// ask makes the calls, and returns the seconds that each took, and the share of requests
	// that were the second ones.
	ask := func(t *testing.T, seed uint64, latency func(*rand.Rand) float64, h llmcall.Hedge) (took sample, extra float64) {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64
			m := llm.Func("test/model", func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
				requests.Add(1)
				own := ctx.Value(asked{}).(*asked)
				chance := source(seed+uint64(own.requests.Add(1))<<32, own.call)
				select {
				case <-time.After(time.Duration(latency(chance) * float64(s))):
					return llm.Reply("answer"), nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
			registry, err := endpoint.NewRegistry(endpoint.Config{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{Endpoints: registry, Hedge: &h})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var mu sync.Mutex
			for w := range workers {
				all.Go(func() {
					for i := range calls / workers {
						begin := time.Now()
						_, err := c.Do(context.WithValue(t.Context(), asked{}, &asked{call: uint64(w)<<32 + uint64(i)}), llm.Prompt("?"))
						lasted := time.Since(begin).Seconds()
						mu.Lock()
						if took = append(took, lasted); err != nil {
							t.Error(err)
						}
						mu.Unlock()
					}
				})
			}
			all.Wait()
			slices.Sort(took)
			extra = float64(requests.Load())/float64(len(took)) - 1
		})
		return took, extra
	}
	tab := newTable(t)
	for i, r := range read(t, "hedging") {
		q := r.number(t, "hedge_quantile")
		if !full() && q != 0.95 && (q != 0.5 || r["latency_distribution"] != "stragglers") {
			continue
		}
		for _, h := range []llmcall.Hedge{
			{After: time.Duration(r.number(t, "hedge_delay") * float64(s)), Extra: 1},
			{Quantile: q, Extra: 1},
		} {
			took, extra := ask(t, uint64(i), latencies[r["latency_distribution"]], h)
			n := float64(len(took))
			row := fmt.Sprintf("%s, p%g", r["latency_distribution"], 100*q)
			load := r.number(t, "extra_load")
			switch {
			case h.Quantile == 0:
				tab.row(row+": extra", load, extra, binomial(load, n))
			case q > 0.95:
				tab.atMost(row+", learned: extra", 1.5*load, extra)
				continue
			default:
				row += ", learned"
				tab.row(row+": extra", load, extra, math.Hypot(binomial(load, n), math.Sqrt(load*(1-load)/n))) // of the last 1,000 answers, over all calls
			}
			for _, c := range []struct {
				column string
				q      float64
			}{{"p50_hedged", 0.5}, {"p90_hedged", 0.9}, {"p99_hedged", 0.99}, {"p999_hedged", 0.999}} {
				at := func(q float64) float64 { return took[min(int(q*n), len(took)-1)] }
				spread := math.Sqrt(c.q * (1 - c.q) / n)
				tab.row(row+": "+c.column, r.number(t, c.column), at(c.q), (at(c.q+spread)-at(c.q-spread))/2)
			}
		}
	}
}

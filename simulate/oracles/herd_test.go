package oracles_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/retry"
)

// recovering is a server that fails until its outage is over, and then accepts a rate as
// a token bucket of 20.
type recovering struct {
	mu       sync.Mutex
	until    time.Time
	capacity float64 // a second
	tokens   float64
	at       time.Time

	before, after float64   // requests
	peaks         []int     // requests in each 100 ms after the outage
	recovered     []float64 // when each client was served, in seconds after the outage
}

func (v *recovering) serves() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if now.Before(v.until) {
		v.before++
		return false
	}
	v.after++
	late := now.Sub(v.until)
	for bin := int(late / (100 * time.Millisecond)); len(v.peaks) <= bin; {
		v.peaks = append(v.peaks, 0)
	}
	v.peaks[late/(100*time.Millisecond)]++
	if v.at.IsZero() {
		v.at, v.tokens = now, 20
	}
	if !math.IsInf(v.capacity, 1) {
		v.tokens = min(20, v.tokens+v.capacity*now.Sub(v.at).Seconds())
		v.at = now
		if v.tokens < 1 {
			return false
		}
		v.tokens--
	}
	v.recovered = append(v.recovered, late.Seconds())
	return true
}

// A thousand clients fail at one moment and retry without limit. Where the published
// ±10 % and decorrelated jitter are not cut at the cap as ours are, the table is compared
// with delays made as they were. Ours cost something: at the cap ±10 % is a range from
// -10 % to the cap, half as wide, so that the peak may be twice as high.
func TestHerdAfterAnOutage(t *testing.T) {
	t.Parallel()
	const clients, horizon = 1000, 1200 * s
	columns := []string{"calls_in_outage", "calls_after", "peak", "median", "p99", "all"}
	// herd returns the numbers of these columns.
	herd := func(t *testing.T, seed uint64, outage time.Duration, capacity float64, strategy func(*rand.Rand) backoff.Strategy) (row map[string]float64) {
		synctest.Test(t, func(t *testing.T) {
			v := &recovering{until: time.Now().Add(outage), capacity: capacity}
			ctx, cancel := context.WithTimeout(t.Context(), horizon)
			defer cancel()
			var all sync.WaitGroup
			for i := range clients {
				p, err := retry.New(retry.Config{MaxAttempts: unlimited, Backoff: strategy(source(seed, uint64(i)))})
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					_, _ = retry.Do(ctx, p, func(context.Context, retry.Attempt) (bool, error) {
						if v.serves() {
							return true, nil
						}
						return false, passing
					})
				})
			}
			all.Wait()
			slices.Sort(v.recovered)
			at := func(q float64) float64 { return v.recovered[int(q*float64(len(v.recovered)-1)+0.5)] }
			row = map[string]float64{
				"calls_in_outage": v.before / clients, "calls_after": v.after / clients, "peak": float64(slices.Max(v.peaks)),
				"median": at(0.5), "p99": at(0.99), "all": at(1),
			}
			if len(v.recovered) < clients {
				row["all"] = -1
			}
		})
		return row
	}
	tab := newTable(t)
	for _, r := range read(t, "herd") {
		if !full() && (r["capacity"] == "inf" || r["cap"] != "30.0") {
			continue
		}
		base, ceiling := time.Duration(r.number(t, "base")*float64(s)), time.Duration(r.number(t, "cap")*float64(s))
		of := func(j backoff.Jitter) func(*rand.Rand) backoff.Strategy {
			return func(chance *rand.Rand) backoff.Strategy {
				return seeded(backoff.Exponential{Initial: base, Max: ceiling, Jitter: j}, chance)
			}
		}
		strategies := map[string]func(*rand.Rand) backoff.Strategy{
			"fixed":    func(*rand.Rand) backoff.Strategy { return backoff.Constant{Interval: base, Jitter: backoff.NoJitter} },
			"exp_none": of(backoff.NoJitter),
			"equal":    of(backoff.EqualJitter),
			"full":     of(backoff.FullJitter),
			"decorr":   func(chance *rand.Rand) backoff.Strategy { return remembered(base, ceiling, chance) },
			"pm10": func(chance *rand.Rand) backoff.Strategy {
				exact := backoff.Exponential{Initial: base, Max: ceiling, Jitter: backoff.NoJitter}
				return backoff.Func(func(n int) time.Duration {
					return backoff.Exponential{Initial: exact.Delay(n), Max: time.Hour}.At(0, chance.Uint64())
				})
			},
		}
		run := func(strategy func(*rand.Rand) backoff.Strategy) map[string]sample {
			got := map[string]sample{}
			seeds := either(8, 40)
			if r["strategy"] == "fixed" || r["strategy"] == "exp_none" { // without chance
				seeds = 1
			}
			for seed := range seeds {
				row := herd(t, uint64(seed), time.Duration(r.number(t, "outage")*float64(s)), r.number(t, "capacity"), strategy)
				for _, column := range columns {
					got[column] = append(got[column], row[column])
				}
			}
			return got
		}
		row := fmt.Sprintf("%s, outage %s s, cap %s s, %s/s", r["strategy"], r["outage"], r["cap"], r["capacity"])
		got := run(strategies[r["strategy"]])
		for _, column := range columns {
			medians := got[column].sd() * math.Sqrt(1.25*1.25/20+1/float64(len(got[column]))) // the error of a median is 1.25 times that of a mean
			tab.row(row+": "+column, r.number(t, column), got[column].mean(), medians)
		}
		if j, cut := map[string]backoff.Jitter{"pm10": {}, "decorr": backoff.Decorrelated}[r["strategy"]]; cut {
			got := run(of(j))
			tab.atMost(row+", cut: all", 2*max(r.number(t, "all"), ceiling.Seconds()), got["all"].mean())
			tab.atMost(row+", cut: peak", 2*r.number(t, "peak"), got["peak"].mean())
		}
	}
}

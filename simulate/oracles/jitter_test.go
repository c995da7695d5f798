package oracles_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"llmcall/backoff"
)

// The moments and quantiles of each jitter, with base 1 s and factor 2. The published
// delays above the cap are the cap. We cut the range that a delay is drawn from instead,
// so that few are exactly the cap: for those rows the table has the moments of the cut
// range.
func TestJitter(t *testing.T) {
	t.Parallel()
	type shape struct {
		jitter backoff.Jitter
		ratio  float64                 // of the range, if it is proportional
		top    func(n float64) float64 // of the n-th delay, without a cap
	}
	proportional := func(ratio float64) shape {
		return shape{backoff.Proportional(ratio), ratio, func(n float64) float64 { return math.Exp2(n-1) * (1 + ratio) }}
	}
	shapes := map[string]shape{
		"full":      {jitter: backoff.FullJitter},
		"equal":     {jitter: backoff.EqualJitter},
		"decorr":    {jitter: backoff.Decorrelated, top: func(n float64) float64 { return math.Pow(3, n) }},
		"pm10":      proportional(0.1),
		"pm20_grpc": proportional(0.2),
	}
	n := either(60_000, 400_000)
	tab := newTable(t)
	for _, r := range read(t, "jitter") {
		s, number, limit := shapes[r["strategy"]], r.number(t, "retry"), math.Inf(1)
		e := backoff.Exponential{Initial: time.Second, Max: 10_000 * time.Hour, Jitter: s.jitter}
		if r["cap"] != "inf" {
			limit = r.number(t, "cap")
			e.Max = time.Duration(limit * float64(time.Second))
		}
		chance, delays := source(1, uint64(number)), make(sample, n)
		for i := range delays {
			delays[i] = e.At(int(number)-1, chance.Uint64()).Seconds()
		}
		slices.Sort(delays)
		row, root := fmt.Sprintf("%s, cap %s, delay %.0f", r["strategy"], r["cap"], number), math.Sqrt(float64(n))
		tab.atMost(row+": longest", min(limit, e.Max.Seconds()), delays[n-1])
		switch cut := s.top != nil && s.top(number) > limit; {
		case cut && s.ratio > 0:
			tab.row(row+": mean of the cut range", limit*(1-s.ratio/2), delays.mean(), delays.sd()/root)
			tab.row(row+": sd of the cut range", limit*s.ratio/math.Sqrt(12), delays.sd(), delays.sd()/root)
			continue
		case cut:
			tab.atMost(row+": mean", r.number(t, "mean"), delays.mean())
			atCap := n - 1
			for ; atCap > 0 && delays[atCap-1] >= limit; atCap-- {
			}
			tab.atMost(row+": share at the cap", 0.001, float64(n-1-atCap)/float64(n))
			continue
		}
		tab.row(row+": mean", r.number(t, "mean"), delays.mean(), delays.sd()/root)
		tab.row(row+": sd", r.number(t, "sd"), delays.sd(), delays.sd()/root)
		for _, q := range []float64{0.05, 0.5, 0.95} {
			at := func(q float64) float64 { return delays[int(q*float64(n))] }
			spread := math.Sqrt(q*(1-q)) / root
			tab.row(fmt.Sprintf("%s: p%02.0f", row, 100*q), r.number(t, fmt.Sprintf("p%02.0f", 100*q)), at(q), (at(q+spread)-at(q-spread))/2)
		}
	}
}

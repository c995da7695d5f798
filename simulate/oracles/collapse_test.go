package oracles_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/retry"
)

// busy is a server whose latency grows with the requests that are in flight at it: 1 s
// and 0.01 s each, this one among them; it cancels none. A hop takes a time with an
// exponential distribution of mean 0.1 s (M. Brooker's model of a metastable collapse,
// simulator_example, 2022).
type busy struct {
	mu             sync.Mutex
	inFlight, peak int
	area           time.Duration // of the requests in flight over time, since the start
	at             time.Time     // until when
	begun          time.Time
	work           sync.WaitGroup
}

// add changes the requests in flight, and returns how long one takes from now.
func (b *busy) add(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.area += time.Duration(b.inFlight) * now.Sub(b.at)
	b.at = now
	b.inFlight += n
	b.peak = max(b.peak, b.inFlight)
	return time.Second + time.Duration(b.inFlight)*10*time.Millisecond
}

// seen returns the most requests that were in flight until now, and their mean.
func (b *busy) seen() (peak, inFlight float64) {
	b.add(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(b.peak), float64(b.area) / float64(b.at.Sub(b.begun))
}

// request makes one request, until ctx ends.
func (b *busy) request(ctx context.Context, chance *rand.Rand) error {
	out, back := exponential(chance, s/10), exponential(chance, s/10)
	answer := make(chan struct{})
	b.work.Go(func() {
		time.Sleep(out)
		time.Sleep(b.add(1))
		b.add(-1)
		time.Sleep(back)
		close(answer)
	})
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const s = time.Second

// load is calls that arrive at a busy server as a Poisson process, with a timeout of 3 s.
type load struct {
	seed  uint64
	lasts time.Duration
	rate  func(at time.Duration) float64 // a second; 0 ends the arrivals
	last  time.Duration                  // the part at the end that goodput is of
}

// spiking is a rate that doubles from 20 to 25 s.
func spiking(rate float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at >= 20*s && at < 25*s {
			return 2 * rate
		}
		return rate
	}
}

// result is what became of a load.
type result struct {
	starts, sends, answers float64
	goodput                float64 // answers of the last part, for each arrival in it
	peak, inFlight         float64 // in flight: the mean
}

// run makes the calls. config is called once: the calls share its guards, and its chance.
func (l load) run(t *testing.T, config func(chance *rand.Rand) retry.Config) (r result) {
	synctest.Test(t, func(t *testing.T) {
		b := &busy{at: time.Now(), begun: time.Now()}
		var chance sync.Mutex
		waits := source(l.seed, 1)
		c := config(waits)
		c.AttemptTimeout = 3 * s
		if strategy := c.Backoff; strategy != nil {
			c.Backoff = backoff.Func(func(n int) time.Duration {
				chance.Lock()
				defer chance.Unlock()
				return strategy.Delay(n)
			})
		}
		p, err := retry.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), l.lasts)
		defer cancel()
		begin, gaps := time.Now(), source(l.seed, 2)
		var mu sync.Mutex
		var all sync.WaitGroup
		arrived, answered := 0.0, 0.0 // in the last part
		for now := time.Duration(0); now < l.lasts; now = time.Since(begin) {
			r.starts++
			late := now >= l.lasts-l.last
			if late {
				arrived++
			}
			hops := source(l.seed, uint64(r.starts)+10)
			all.Go(func() {
				_, err := retry.Do(ctx, p, func(ctx context.Context, _ retry.Attempt) (bool, error) {
					mu.Lock()
					r.sends++
					mu.Unlock()
					return true, b.request(ctx, hops)
				})
				mu.Lock()
				defer mu.Unlock()
				at := time.Since(begin)
				if e, failed := errors.AsType[*retry.Error](err); failed && e.Reason == retry.OutOfTime && at < l.lasts {
					r.sends++ // decided, and counted by the simulator, but not due yet
				}
				if err == nil && at < l.lasts {
					r.answers++
					if at >= l.lasts-l.last {
						answered++
					}
				}
			})
			rate := l.rate(now)
			if rate <= 0 {
				break
			}
			time.Sleep(exponential(gaps, time.Duration(float64(s)/rate)))
		}
		all.Wait()
		r.goodput = answered / math.Max(1, arrived)
		r.peak, r.inFlight = b.seen()
		b.work.Wait()
	})
	return r
}

// resends makes attempts without any guard.
func resends(attempts int, of func(*rand.Rand) backoff.Strategy) func(*rand.Rand) retry.Config {
	return func(chance *rand.Rand) retry.Config {
		return retry.Config{MaxAttempts: attempts, Backoff: of(chance)}
	}
}

func atOnce(*rand.Rand) backoff.Strategy { return backoff.Constant{} }

func jittered(initial time.Duration) func(*rand.Rand) backoff.Strategy {
	return func(chance *rand.Rand) backoff.Strategy {
		return seeded(backoff.Exponential{Initial: initial, Jitter: backoff.FullJitter}, chance)
	}
}

// M. Brooker's collapse of 2022: a spike of 5 s, or a ramp up and down, and three sends at
// once or after waits of up to 20 and 40 s. The server never recovers by itself from most
// of the spikes without waits.
func TestCollapse(t *testing.T) {
	t.Parallel()
	type key struct{ scenario, client string }
	published := map[key]map[string]sample{}
	for _, r := range read(t, "collapse") {
		k := key{r["scenario"], r["client"]}
		if published[k] == nil {
			published[k] = map[string]sample{}
		}
		add := func(what string, v float64) { published[k][what] = append(published[k][what], v) }
		starts := r.number(t, "starts")
		add("calls", starts)
		add("sends a call", r.number(t, "sends")/starts)
		add("success", r.number(t, "successes")/starts)
		add("peak in flight", r.number(t, "peak_concurrency"))
		add("collapsed", collapsed(r.number(t, "goodput_ratio_last10s")))
	}
	ramp := func(at time.Duration) float64 { return 80 - 1.6*math.Abs(at.Seconds()-25) }
	tab := newTable(t)
	for _, c := range []struct {
		key
		rate   func(time.Duration) float64
		config func(*rand.Rand) retry.Config
	}{
		{key{"spike", "no_backoff"}, spiking(40), resends(3, atOnce)},
		{key{"spike", "backoff_jitter"}, spiking(40), resends(3, jittered(20*s))},
		{key{"ramp", "no_backoff"}, ramp, resends(3, atOnce)},
		{key{"ramp", "backoff_jitter"}, ramp, resends(3, jittered(20*s))},
	} {
		got := map[string]sample{}
		for seed := range either(10, 50) {
			r := load{seed: uint64(seed), lasts: 80 * s, rate: c.rate, last: 10 * s}.run(t, c.config)
			got["calls"] = append(got["calls"], r.starts)
			got["sends a call"] = append(got["sends a call"], r.sends/r.starts)
			got["success"] = append(got["success"], r.answers/r.starts)
			got["peak in flight"] = append(got["peak in flight"], r.peak)
			got["collapsed"] = append(got["collapsed"], collapsed(r.goodput))
		}
		for _, what := range []string{"calls", "sends a call", "success", "peak in flight", "collapsed"} {
			want, have := published[c.key][what], got[what]
			sd := max(want.sd(), have.sd())
			tab.row(fmt.Sprintf("%s, %s: %s", c.scenario, c.client, what), want.mean(), have.mean(), sd*math.Sqrt(1/float64(len(want))+1/float64(len(have))))
		}
	}
}

// collapsed is 1 if less than half of the calls are answered.
func collapsed(goodput float64) float64 {
	if goodput < 0.5 {
		return 1
	}
	return 0
}

// paidByCalls is three attempts with a budget that each call pays.
func paidByCalls(ratio float64) func(*rand.Rand) retry.Config {
	return func(*rand.Rand) retry.Config {
		return retry.Config{Backoff: backoff.Constant{}, Target: retry.Target{Guards: []endpoint.Guard{
			&rule{tokens: 10, most: 10, begun: ratio, cost: 1, allows: atLeast(1)},
		}}}
	}
}

// Which policies keep an outage alive after its cause is gone. What the engine does by
// default, and its budget alone, must not: law 2 of the design has "none at 40, 45, 50/s,
// at most 3 of 30 at 55/s, where two attempts always do".
func TestNoRetriesKeepAnOutageAlive(t *testing.T) {
	t.Parallel()
	seeds := either(4, 30)
	// collapses returns the share of the seeds in which the server does not recover.
	collapses := func(rate float64, config func(*rand.Rand) retry.Config) float64 {
		var all sample
		for seed := range seeds {
			r := load{seed: uint64(seed), lasts: 200 * s, rate: spiking(rate), last: 20 * s}.run(t, config)
			all = append(all, collapsed(r.goodput))
		}
		return all.mean()
	}
	tab := newTable(t)
	published := map[string]func(*rand.Rand) retry.Config{
		"1 attempt":                        resends(1, atOnce),
		"2 attempts":                       resends(2, atOnce),
		"3 attempts":                       resends(3, atOnce),
		"3 attempts, full jitter":          resends(3, jittered(s)),
		"3 attempts, waits to 20 and 40 s": resends(3, jittered(20*s)),
		"3 attempts, 10 % paid by calls":   paidByCalls(0.1),
		"3 attempts, 20 % paid by calls":   paidByCalls(0.2),
	}
	for _, r := range read(t, "sweep") {
		if !full() && r["rate"] != "45" {
			continue
		}
		want, got := r.number(t, "collapsed"), collapses(r.number(t, "rate"), published[r["policy"]])
		n := float64(seeds)
		together := (want*30 + got*n) / (30 + n)
		tab.row(fmt.Sprintf("%s/s, %s: collapsed", r["rate"], r["policy"]), want, got, binomial(together, 30+n)*math.Sqrt((30+n)*(1/30.0+1/n)))
	}
	of := func(b func(*rand.Rand) backoff.Strategy, o endpoint.Options) func(*rand.Rand) retry.Config {
		return func(chance *rand.Rand) retry.Config {
			return retry.Config{Backoff: b(chance), Target: ours(t, o, endpoint.Budget{})}
		}
	}
	standard := func(chance *rand.Rand) backoff.Strategy { return seeded(backoff.Exponential{}, chance) }
	alone := endpoint.Options{NoBreaker: true, NoPacer: true}
	for _, c := range []struct {
		name   string
		config func(*rand.Rand) retry.Config
	}{
		{"our budget alone", of(standard, alone)},
		{"our budget alone, resends at once", of(atOnce, alone)},
		{"our defaults", of(standard, endpoint.Options{})},
	} {
		for _, rate := range []float64{40, 45, 50, 55} {
			if full() || rate == 50 {
				allowed := 0.0
				if rate == 55 {
					allowed = 0.1
				}
				tab.atMost(fmt.Sprintf("%v/s, %s: collapsed", rate, c.name), allowed, collapses(rate, c.config))
			}
		}
	}
}

// In the steady state of a rate r there are r/(1 - 0.01r) requests in flight, without the
// hops, as long as no attempt times out.
func TestRequestsInFlight(t *testing.T) {
	t.Parallel()
	tab := newTable(t)
	for _, rate := range []float64{10, 40, 55} {
		var inFlight sample
		for seed := range either(4, 20) {
			r := load{seed: uint64(seed), lasts: 500 * s, last: s, rate: func(time.Duration) float64 { return rate }}.run(t, resends(1, atOnce))
			inFlight = append(inFlight, r.inFlight)
		}
		tab.row(fmt.Sprintf("%v/s: in flight", rate), rate/(1-0.01*rate), inFlight.mean(), inFlight.errorTo(math.Inf(1)))
	}
}

package oracles_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/retry"
)

// passing is a failure after which an attempt is made again, after a backoff.
var passing = &failure.Error{Kind: failure.Transient, Provider: "test", Message: "on purpose"}

// unlimited is more attempts than any call here makes.
const unlimited = math.MaxInt32

// seeded is a strategy of package backoff with chance of its own.
func seeded(e backoff.Exponential, chance *rand.Rand) backoff.Strategy {
	return backoff.Func(func(n int) time.Duration { return e.At(n, chance.Uint64()) })
}

// remembered is the decorrelated jitter as M. Brooker wrote it: each delay is drawn from
// the one that was waited before, and one above the cap is the cap. It serves one call.
// Package backoff's remembers nothing, and cuts the range.
func remembered(base, limit time.Duration, chance *rand.Rand) backoff.Strategy {
	last := base
	return backoff.Func(func(int) time.Duration {
		last = min(limit, base+time.Duration(chance.Float64()*float64(3*last-base)))
		return last
	})
}

// lock is a row of a database whose version a writer must know.
type lock struct {
	mu              sync.Mutex
	version, writes int
}

func (l *lock) read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

func (l *lock) write(version int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if l.version != version {
		return false
	}
	l.version++
	return true
}

// contend lets clients that start together write one row once each: each reads the
// version, and writes if nobody else has written since. A hop takes |N(10, 2)| ms. It
// returns the writes, and the milliseconds until the last client is done.
func contend(t *testing.T, seed uint64, clients int, strategy func(*rand.Rand) backoff.Strategy) (writes, took float64) {
	synctest.Test(t, func(t *testing.T) {
		var l lock
		var all sync.WaitGroup
		begin := time.Now()
		for i := range clients {
			chance := source(seed, uint64(i))
			hop := func() {
				time.Sleep(time.Duration(math.Abs(10+2*chance.NormFloat64()) * float64(time.Millisecond)))
			}
			p, err := retry.New(retry.Config{MaxAttempts: unlimited, Backoff: strategy(chance)})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				_, err := retry.Do(t.Context(), p, func(context.Context, retry.Attempt) (bool, error) {
					hop()
					version := l.read()
					hop()
					hop()
					done := l.write(version)
					hop()
					if !done {
						return false, passing
					}
					return true, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		writes, took = float64(l.writes), float64(time.Since(begin))/float64(time.Millisecond)
	})
	return writes, took
}

// The tables of the post of 2015: what the strategies cost where clients contend for one
// row. The first ceiling of that simulator is twice its base of 5. [backoff.Decorrelated],
// which remembers nothing, makes fewer calls than the original among many clients.
func TestContention(t *testing.T) {
	t.Parallel()
	few := map[string]int{"1": 100, "2": 100, "5": 100, "10": 100, "20": 100, "50": 60, "100": 30, "200": 16}
	const decorrelated = "backoff.Decorrelated"
	const base, ceiling = 5 * time.Millisecond, 2000 * time.Millisecond
	of := func(j backoff.Jitter) func(*rand.Rand) backoff.Strategy {
		return func(chance *rand.Rand) backoff.Strategy {
			return seeded(backoff.Exponential{Initial: 2 * base, Max: ceiling, Jitter: j}, chance)
		}
	}
	strategies := map[string]func(*rand.Rand) backoff.Strategy{
		"None":        func(*rand.Rand) backoff.Strategy { return backoff.Constant{} },
		"Exponential": of(backoff.NoJitter),
		"EqualJitter": of(backoff.EqualJitter),
		"FullJitter":  of(backoff.FullJitter),
		"Decorr":      func(chance *rand.Rand) backoff.Strategy { return remembered(base, ceiling, chance) },
		decorrelated: func(chance *rand.Rand) backoff.Strategy {
			return seeded(backoff.Exponential{Initial: base, Max: ceiling, Jitter: backoff.Decorrelated}, chance)
		},
	}
	tab := newTable(t)
	compare := func(r record, name string) {
		runs := either(few[r["clients"]], 200)
		if runs == 0 {
			return
		}
		clients, err := strconv.Atoi(r["clients"])
		if err != nil {
			t.Fatal(err)
		}
		var calls, times sample
		for seed := range runs {
			writes, took := contend(t, uint64(seed), clients, strategies[name])
			calls, times = append(calls, writes), append(times, took)
		}
		spread := math.Sqrt(1.0/1000 + 1/float64(runs)) // of the difference of two means
		row := fmt.Sprintf("%3d clients, %s", clients, name)
		if name == decorrelated { // remembers nothing, so that the table does not hold
			tab.atMost(row+": calls", 1.05*r.number(t, "calls_mean"), calls.mean())
			tab.atMost(row+": time", 1.3*r.number(t, "time_mean"), times.mean())
			return
		}
		tab.row(row+": calls", r.number(t, "calls_mean"), calls.mean(), r.number(t, "calls_sd")*spread)
		tab.row(row+": time", r.number(t, "time_mean"), times.mean(), r.number(t, "time_sd")*spread)
	}
	for _, r := range read(t, "contention") {
		compare(r, r["algorithm"])
		if r["algorithm"] == "Decorr" {
			compare(r, decorrelated)
		}
	}
}

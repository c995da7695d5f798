package fleet

import (
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
)

// taker is a process with a meter that it shares.
type taker struct {
	client *lua.Client
	fleet  *Fleet
	account.Meter
}

func newTaker(t *testing.T, server *lua.Server, perMinute float64) *taker {
	t.Helper()
	p := &taker{client: server.Dial()}
	f, err := open(p.client, Options{Secret: "of the tests", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p.fleet, p.Meter = f, f.Meter("requests of web", perMinute)
	t.Cleanup(p.end)
	return p
}

func (p *taker) end() { _ = p.fleet.Close() }

// take takes n if so much is left, or returns when to come back.
func (p *taker) take(n float64) time.Duration {
	p.Fetch(n)
	wait := p.Wait(n)
	if wait == 0 {
		p.Take(n)
	}
	return wait
}

// takeAll takes one by one until there are no more.
func (p *taker) takeAll() (n int) {
	for p.take(1) == 0 {
		n++
	}
	return n
}

// Each line is a request of one of two processes at a time; it is taken, or has to wait.
func TestAMeterAsATrace(t *testing.T) {
	const ms = time.Millisecond
	type line struct {
		at   time.Duration
		by   int
		n    float64
		wait time.Duration // 0: it is taken
		left float64       // afterwards, as that process knows
	}
	for _, c := range []struct {
		name      string
		perMinute float64
		trace     []line
	}{
		{"60 a minute", 60, []line{
			{0, 0, 38, 0, 22}, {0, 1, 20, 0, 2}, {0, 1, 1, 0, 1}, {0, 0, 1, 0, 0}, {0, 0, 1, 1000 * ms, 0}, {500 * ms, 1, 1, 500 * ms, 0.5},
			{time.Hour, 0, 60, 0, 0}, {time.Hour, 1, 60, 60_000 * ms, 0}, {time.Hour, 1, 1, 1000 * ms, 0},
		}},
		{"one in two minutes", 0.5, []line{{0, 0, 1, 0, 0}, {time.Minute, 1, 1, time.Minute, 0.5}, {2*time.Minute + 5*ms, 1, 1, 0, 0}}},
		{"more than a minute's worth waits for a full one, and is owed", 100, []line{
			{0, 0, 40, 0, 60}, {0, 1, 250, 24 * time.Second, 60}, {25 * time.Second, 1, 250, 0, -150}, {28 * time.Second, 0, 1, 87_600 * ms, -145},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := lua.New()
				both := []*taker{newTaker(t, server, c.perMinute), newTaker(t, server, c.perMinute)}
				begun := time.Now()
				for i, l := range c.trace {
					time.Sleep(l.at - time.Since(begun))
					p := both[l.by]
					wait, left := p.take(l.n), p.Left()
					if (wait-l.wait).Abs() > max(5*ms, l.wait/100) || math.Abs(left-l.left) > 0.5 {
						t.Errorf("line %d: wait %v, left %v, want %v, %v", i, wait, left, l.wait, l.left)
					}
				}
			})
		})
	}
}

// What was taken and not used comes back to all, and what was used above that is waited for
// by all.
func TestAMeterGivesBackAndOwes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 600), newTaker(t, server, 600)
		if wait := one.take(600); wait != 0 {
			t.Fatal(wait)
		}
		one.Take(-500)
		time.Sleep(3 * time.Second)
		if wait := two.take(500); wait != 0 {
			t.Errorf("what came back: wait %v", wait)
		}
		two.Take(600)
		time.Sleep(2 * time.Second)
		n := one.takeAll()
		if wait := one.take(1); n > 10 || wait < 50*time.Second || wait > 60*time.Second {
			t.Errorf("what is owed: %d, wait %v", n, wait)
		}
	})
}

// Busy processes ask the store a few times a second, not for each request, and one that does
// nothing now and then; who is refused asks ten times a second at most.
func TestHowOftenAMeterAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one := newTaker(t, server, 60_000)
		run := func(seconds, each int) int {
			before := server.Count()
			for range seconds * 100 {
				for range each {
					one.take(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
			return server.Count() - before
		}
		run(5, 5)
		if n := run(20, 5); n > 60 {
			t.Errorf("%d exchanges in 20 s of 500 requests each", n)
		}
		run(60, 20) // too many
		if n := run(20, 20); n > 20*12 {
			t.Errorf("%d exchanges in 20 s of 2000 requests each, half of which are refused", n)
		}
		time.Sleep(time.Minute)
		if n := run(100, 0); n > 11 {
			t.Errorf("%d exchanges in 100 s of none", n)
		}
	})
}

// A client that uses little of a wide limit does not ask for each request either.
func TestHowOftenAMeterOfAWideLimitAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one := newTaker(t, server, 100e6)
		run := func(seconds, each int) int {
			before := server.Count()
			for range seconds * 10 {
				for range each {
					one.take(40)
				}
				time.Sleep(100 * time.Millisecond)
			}
			return server.Count() - before
		}
		run(5, 5)
		if n := run(20, 5); n > 60 {
			t.Errorf("%d exchanges in 20 s of 50 requests each", n)
		}
		time.Sleep(time.Minute)
		if n := run(100, 0); n > 11 {
			t.Errorf("%d exchanges in 100 s of none", n)
		}
	})
}

// While the store is lost, each process has its part of the limit; afterwards that was used.
func TestAMeterWithoutTheStore(t *testing.T) {
	for name, lose := range map[string]func(s *lua.Server, yes bool){"down": (*lua.Server).Down, "hung": (*lua.Server).Hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := lua.New()
				one, two := newTaker(t, server, 600), newTaker(t, server, 600)
				if n := one.takeAll(); n != 600 {
					t.Fatalf("it had %d", n)
				}
				time.Sleep(30 * time.Second) // 300 are left
				lose(server, true)
				begun := time.Now()
				first, second := one.takeAll(), two.takeAll()
				if name == "hung" && first+second > 30 {
					t.Errorf("before it is known that the store is lost, %d and %d", first, second)
				}
				time.Sleep(runTimeout)
				more, most := one.takeAll(), two.takeAll()
				first, second = first+more, second+most
				if first+second < 290 || first+second > 330 || first > 170 || second > 170 {
					t.Errorf("without the store %d and %d at first", first, second)
				}
				sum := 0
				for range 60 {
					time.Sleep(time.Second)
					sum += one.takeAll() + two.takeAll()
				}
				if sum < 590 || sum > 610 {
					t.Errorf("without the store %d in a minute", sum)
				}
				if waited := time.Since(begun) - time.Minute - runTimeout; waited > 10*time.Millisecond {
					t.Errorf("waited %v for the store", waited)
				}
				lose(server, false)
				time.Sleep(8 * time.Second)
				if n := one.takeAll() + two.takeAll(); n > 110 {
					t.Errorf("what was used without the store is forgotten: %d", n)
				}
			})
		})
	}
}

// What is told again because no answer came counts once.
func TestAMeterTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 60), newTaker(t, server, 60)
		time.Sleep(2 * time.Second)
		one.Take(30)
		server.Hang(true)
		time.Sleep(3 * time.Second)
		one.Take(20)
		server.Hang(false)
		time.Sleep(12 * time.Second)
		if left := two.Left(); left < 60-30-20+10 || left > 60-30-20+16 {
			t.Errorf("%v are left", left)
		}
	})
}

// Many requests at once get what there is, together.
func TestManyTakeOfAMeterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		server.Latency(time.Millisecond)
		both := []*taker{newTaker(t, server, 60), newTaker(t, server, 60)}
		var all sync.WaitGroup
		var mu sync.Mutex
		n := 0
		for i := range 200 {
			all.Go(func() {
				p := both[i%2]
				p.Fetch(1)
				mu.Lock()
				defer mu.Unlock()
				if p.Wait(1) == 0 {
					p.Take(1)
					n++
				}
			})
		}
		all.Wait()
		if n != 60 {
			t.Errorf("%d were taken", n)
		}
	})
}

// A store that comes back empty is told what was used.
func TestAMeterOfAnEmptyStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 600), newTaker(t, server, 600)
		one.takeAll()
		time.Sleep(2 * time.Second)
		server.Flush()
		time.Sleep(8 * time.Second)
		if n := one.takeAll() + two.takeAll(); n > 110 {
			t.Errorf("%d after 10 s", n)
		}
	})
}

// So is one that comes back with what it had saved before that.
func TestAMeterOfAStoreWithOldData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 600), newTaker(t, server, 600)
		one.take(10)
		time.Sleep(2 * time.Second)
		restart := server.Save()
		one.takeAll()
		time.Sleep(2 * time.Second)
		restart()
		time.Sleep(8 * time.Second)
		if n := one.takeAll() + two.takeAll(); n > 110 {
			t.Errorf("%d after 10 s", n)
		}
	})
}

// It is told also by those who are not the first to come back: one that began while it was lost
// knows nothing.
func TestAMeterOfAnEmptyStoreThatAJoinerFindsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 600), newTaker(t, server, 600)
		one.takeAll()
		time.Sleep(12 * time.Second) // both know of it
		server.Down(true)
		time.Sleep(20 * time.Second)
		n := one.takeAll() + two.takeAll()
		late := newTaker(t, server, 600)
		server.Flush()
		server.Down(false)
		time.Sleep(8 * time.Second)
		if n += one.takeAll() + two.takeAll() + late.takeAll(); n > 410 {
			t.Errorf("%d after 40 s", n)
		}
	})
}

// What was used stays used under another limit.
func TestAMeterOfAnotherLimit(t *testing.T) {
	for _, c := range []struct{ from, used, to, left float64 }{
		{60, 0, 600, 600}, {60, 10, 600, 590}, {60, 10, 20, 10}, {60, 50, 20, 0}, {60, 50, 60, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := lua.New()
			one, two := newTaker(t, server, c.from), newTaker(t, server, c.from)
			one.take(c.used)
			one.SetLimit(c.to)
			two.SetLimit(c.to)
			two.Fetch(1)
			synctest.Wait()
			if left := two.Left(); math.Abs(left-c.left) > 0.05*c.to/60 {
				t.Errorf("%v used of %v: %v are left of %v, want %v", c.used, c.from, left, c.to, c.left)
			}
		})
	}
}

// One that ends gives back what it has leased.
func TestAMeterAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		one, two := newTaker(t, server, 60), newTaker(t, server, 60)
		one.Fetch(60)
		one.end()
		if n := two.takeAll(); n != 60 {
			t.Errorf("%d are left", n)
		}
	})
}

// Whatever processes take, and whoever dies: in any time it is no more than a full meter and
// what comes in since two seconds before.
func TestNoFleetPassesItsMeter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(t *testing.T) { // a panic of rapid must not end the bubble's goroutine
			defer func() { failed = recover() }()
			runMeters(rt, t)
		})
		switch {
		case rt.Failed():
			rt.FailNow() // rapid tells failures apart by their places: not that of the panic below
		case failed != nil:
			panic(failed)
		}
	})
}

func runMeters(t *rapid.T, within *testing.T) {
	perMinute := rapid.SampledFrom([]float64{0.5, 6, 60, 601.5}).Draw(t, "a minute")
	server := lua.New()
	server.Latency(rapid.SampledFrom([]time.Duration{0, time.Millisecond}).Draw(t, "latency"))
	var all []*taker
	for range rapid.IntRange(1, 6).Draw(t, "processes") {
		all = append(all, newTaker(within, server, perMinute))
	}
	type event struct {
		at time.Time
		n  float64
	}
	var taken []event
	pick := func(t *rapid.T) *taker { return all[rapid.IntRange(0, len(all)-1).Draw(t, "process")] }
	some := func(t *rapid.T) {
		p, n := pick(t), rapid.Float64Range(1, max(1, perMinute/2)).Draw(t, "n")
		for range rapid.IntRange(1, 20).Draw(t, "times") {
			if p.take(n) == 0 {
				taken = append(taken, event{time.Now(), n})
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"take": some, "take, 2": some, "take, 3": some,
		"time": func(t *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, 30 * time.Second}).Draw(t, "time"))
		},
		"death": func(t *rapid.T) {
			if len(all) == 1 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(all)-1).Draw(t, "process")
			all[i].client.Down(true)
			all[i].end()
			all = append(all[:i], all[i+1:]...)
		},
		"join": func(t *rapid.T) {
			if len(all) < 6 {
				all = append(all, newTaker(within, server, perMinute))
			}
		},
		"": func(t *rapid.T) {
			for i := range taken {
				sum := 0.0
				for _, e := range taken[i:] {
					sum += e.n
					if allowed := math.Ceil(perMinute) + (e.at.Sub(taken[i].at).Seconds()+2)*perMinute/60; sum > allowed+0.01 {
						t.Fatalf("%v taken in %v, %v are allowed", sum, e.at.Sub(taken[i].at), allowed)
					}
				}
			}
		},
	})
}

// A store that answers one exchange and is lost again has not heard yet what was used without
// it: that is not there a second time.
func TestAMeterWithAStoreThatFlickers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		p := newTaker(t, server, 60)
		m := p.Meter.(*meter)
		p.client.Down(true)
		time.Sleep(2 * time.Second)
		taken := p.takeAll()
		for range 5 { // as the worker does, with one answer between two failures
			for _, r := range m.requests(true) {
				answer := server.Dial().Run(t.Context(), []store.Call{r.call})[0]
				m.alone(false)
				r.done(answer)
			}
			for _, r := range m.requests(true) {
				r.done(store.Result{Err: lua.ErrDown})
				m.alone(true)
			}
			taken += p.takeAll()
		}
		if taken > 60 {
			t.Errorf("%d were taken at once of 60 a minute", taken)
		}
	})
}

// A limit that is lowered holds at once, also without the store, and for what was leased before.
func TestALowerLimitOfAMeterHoldsAtOnce(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newTaker(t, lua.New(), 6000)
			if wait := p.take(1000); wait != 0 {
				t.Fatal(wait)
			}
			p.Take(-1000)
			if lost {
				p.client.Down(true)
				time.Sleep(2 * time.Second)
			}
			p.SetLimit(60)
			if n := p.takeAll(); n > 60 {
				t.Errorf("lost %v: %d were taken at once of 60 a minute", lost, n)
			}
			p.client.Down(false)
			time.Sleep(10 * time.Second)
			if n := p.takeAll(); n > 60+20 {
				t.Errorf("lost %v: later %d", lost, n)
			}
		})
	}
}

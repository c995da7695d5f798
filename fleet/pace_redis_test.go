package fleet

import (
	"sync"
	"testing"
	"time"

	"llmcall/endpoint"
	"llmcall/internal/servers"
	"llmcall/pace"
)

// What the bubbles show is also so with a real Redis: told times and rates are pushed, limits
// are leased.
func TestPacersShareThroughRedis(t *testing.T) {
	server := servers.Redis(t)
	var fleets []*Fleet
	for range 3 {
		f, err := Open(server.URL, Options{Secret: secretOfTests, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fleets = append(fleets, f)
	}
	share := func(tag string) []*pace.Pacer {
		var pacers []*pace.Pacer
		for _, f := range fleets {
			p := &pace.Pacer{}
			f.sharePacer(endpoint.Key{Model: tag}, p)
			pacers = append(pacers, p)
		}
		return pacers
	}
	pacers := share("one")
	soon := func(what string, done func() bool) {
		t.Helper()
		began := time.Now()
		for !done() {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s: not within 10 s; %+v", what, pacers[2].Report())
			}
			time.Sleep(time.Millisecond)
		}
		t.Logf("%s: after %v", what, time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(100 * time.Millisecond) // they watch
	turn, _ := pacers[0].Try(pace.Cost{})
	pacers[0].Refused(turn, &pace.Told{HasWait: true, Wait: 2 * time.Second})
	pacers[0].Done(turn)
	soon("told", func() bool { return !pacers[1].Snapshot().Until.IsZero() && !pacers[2].Snapshot().Until.IsZero() })
	soon("one rate", func() bool {
		a, b := pacers[0].Report().Rate, pacers[2].Report().Rate
		return a.Epoch == b.Epoch && a.Epoch > 0 && a.SlowStart && b.SlowStart
	})

	// 600 a minute, for three: what they send in three seconds.
	var all sync.WaitGroup
	var mu sync.Mutex
	n, began := 0, time.Now()
	for _, p := range share("two") {
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		for range 4 {
			all.Go(func() {
				for time.Since(began) < 3*time.Second {
					turn, err := p.Wait(t.Context(), pace.Cost{})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					n++
					mu.Unlock()
					p.Answered(turn, nil)
				}
			})
		}
	}
	all.Wait()
	t.Logf("%d turns in %v", n, time.Since(began).Round(time.Millisecond))
	if most := 10 + 10*time.Since(began).Seconds() + 1; float64(n) > most || n < 20 {
		t.Errorf("%d turns, want at most %.0f", n, most)
	}
}

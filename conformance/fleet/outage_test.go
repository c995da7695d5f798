package fleet

import (
	"slices"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/internal/servers"
)

// circuit is that of all workers, but for its recovery time that of the defaults.
var circuit = breaker.Config{FailureThreshold: breaker.DefaultFailureThreshold, RecoveryTimeout: time.Second}

// Eight processes make a thousand calls each, and three seconds after they have begun the
// provider fails for two and a half.
func TestOutage(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	const processes, calls = 8, 1000
	c := hire(t, processes, job{Store: store.URL, Provider: provider.URL, Calls: calls, Every: 8 * time.Millisecond, AtOnce: 8, Circuit: circuit})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	began := c.begin()
	time.Sleep(3 * time.Second)
	outage(t, c, provider, 2500*time.Millisecond)
	c.wait(time.Minute, "all calls to end", func() bool { return c.count(done) == processes })
	answered := 0
	for _, e := range c.all(call) {
		switch e.Reason {
		case "":
			answered++
		case "circuit_open", "provider_failed":
		default:
			t.Errorf("a call has failed: %s", e.Reason)
		}
	}
	t.Logf("%d calls in %v, %d of them answered", c.count(call), time.Since(began).Round(100*time.Millisecond), answered)
}

// tellTime is within what time all processes are told of an opening on a machine that is not too
// busy for it: TestAllKnow holds them to that.
const tellTime = 25 * time.Millisecond

// outage lets the provider fail for a time. If a process loses the store meanwhile, or hears late,
// since the machine is too busy, nothing can be said, and there is another outage.
func outage(t *testing.T, c *crew, provider *source, lasts time.Duration) {
	t.Helper()
	for range 5 {
		broke := provider.breaks(true)
		time.Sleep(lasts)
		whole := provider.breaks(false)
		c.wait(20*time.Second, "all circuits to close", func() bool { return len(c.first("CLOSED", whole)) == len(c.workers) })
		opened := c.first("OPEN", broke)
		if late := latest(opened).Sub(earliest(opened)); late > tellTime {
			t.Logf("the last process knew of the opening %v after the first: the machine is too busy", late)
		} else if !c.lostSince(broke.Add(-time.Second)) {
			checkOutage(t, c, provider, broke, whole)
			return
		} else {
			t.Log("a process has lost the store: the machine is too busy")
		}
		c.wait(20*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
		time.Sleep(2 * time.Second)
	}
	t.Error("the machine is too busy to show anything")
}

// checkOutage holds an outage that all processes could tell each other of to the laws.
func checkOutage(t *testing.T, c *crew, provider *source, broke, whole time.Time) {
	t.Helper()
	processes := len(c.workers)
	opened := c.first("OPEN", broke)
	closed := c.first("CLOSED", whole)
	if len(opened) != processes || len(closed) != processes {
		t.Fatalf("%d of %d processes have opened, %d have closed", len(opened), processes, len(closed))
	}
	began, known, recovered := earliest(opened), latest(opened), earliest(closed)

	underWay := c.underWay(began)
	after := provider.seen(began, began.Add(circuit.RecoveryTimeout))
	if most := circuit.FailureThreshold + underWay; len(after) > most {
		t.Errorf("%d requests after the opening, at most %d + %d were to come", len(after), circuit.FailureThreshold, underWay)
	}
	// Who closes says so a moment later, and may have sent a request by then: what came after the
	// last probe that the closing needed was answered need not be one.
	probes := provider.seen(began.Add(circuit.RecoveryTimeout), provider.answered(whole, breaker.DefaultSuccessThreshold))
	if n := most(probes); n > breaker.DefaultHalfOpenProbes {
		t.Errorf("%d probes were under way at a time, want at most %d", n, breaker.DefaultHalfOpenProbes)
	}
	t.Logf("the circuit opened %v after the outage began, after %d requests; all knew it %v later; %d requests came after it, %d were under way; %d probes, %d at a time; the circuit closed %v after the outage",
		began.Sub(broke).Round(time.Millisecond), len(provider.seen(broke, began)), known.Sub(began).Round(10*time.Microsecond),
		len(after), underWay, len(probes), most(probes), recovered.Sub(whole).Round(time.Millisecond))
}

// The circuit opens and closes again and again: 99 of 100 processes know of an opening within
// 50 ms of the first one that knows it.
func TestAllKnow(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	const processes, outages = 8, 25
	c := hire(t, processes, job{
		Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8,
		Circuit: breaker.Config{FailureThreshold: 5, RecoveryTimeout: 300 * time.Millisecond},
	})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(2 * time.Second)
	for again := range 3 { // a machine that is busy with other tests may stand still for longer
		var later []time.Duration
		for range outages {
			broke := provider.breaks(true)
			c.wait(10*time.Second, "all circuits to open", func() bool { return len(c.first("OPEN", broke)) == processes })
			opened := c.first("OPEN", broke)
			for _, at := range opened {
				later = append(later, at.Sub(earliest(opened)))
			}
			whole := provider.breaks(false)
			c.wait(10*time.Second, "all circuits to close", func() bool { return len(c.first("CLOSED", whole)) == processes })
			time.Sleep(200 * time.Millisecond) // answers, so that the next outage is one
		}
		p50, p99 := percentile(later, 0.5), percentile(later, 0.99)
		t.Logf("%d openings, %d processes: half know it after %v, 99 %% after %v, all after %v", outages, processes, p50, p99, percentile(later, 1))
		if p99 <= 50*time.Millisecond {
			return
		}
		if again == 2 {
			t.Errorf("99 %% know it after %v, want at most 50 ms", p99)
		}
	}
}

func percentile(values []time.Duration, share float64) time.Duration {
	slices.Sort(values)
	return values[min(len(values)-1, int(share*float64(len(values))))].Round(10 * time.Microsecond)
}

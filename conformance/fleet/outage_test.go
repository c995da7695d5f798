package fleet

import (
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
	c.begin()
	time.Sleep(3 * time.Second)
	broke := provider.breaks(true)
	time.Sleep(2500 * time.Millisecond)
	whole := provider.breaks(false)
	c.wait(time.Minute, "all calls to end", func() bool { return c.count(done) == processes })
	checkOutage(t, c, provider, broke, whole)
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
	probes := provider.seen(began.Add(circuit.RecoveryTimeout), recovered)
	if n := most(probes); n > breaker.DefaultHalfOpenProbes {
		t.Errorf("%d probes were under way at a time, want at most %d", n, breaker.DefaultHalfOpenProbes)
	}
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
	t.Logf("%d of %d calls answered; the circuit opened %v after the outage began, after %d requests; all knew it %v later; %d requests came after it, %d were under way; %d probes, %d at a time; the circuit closed %v after the outage",
		answered, c.count(call), began.Sub(broke).Round(time.Millisecond), len(provider.seen(broke, began)), known.Sub(began).Round(10*time.Microsecond),
		len(after), underWay, len(probes), most(probes), recovered.Sub(whole).Round(time.Millisecond))
}

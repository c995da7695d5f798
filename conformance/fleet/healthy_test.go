package fleet

import (
	"bufio"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// commands returns how often the server has run each command.
func commands(t *testing.T, s *servers.Server) map[string]int {
	t.Helper()
	counts := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(s.Do("info", "commandstats")))
	for lines.Scan() { // cmdstat_get:calls=12,usec=…
		name, rest, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":calls=")
		if !ok {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil {
			t.Fatalf("INFO commandstats says %q", lines.Text())
		}
		counts[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return counts
}

// numbersOf returns the numbers of sections of INFO.
func numbersOf(t *testing.T, s *servers.Server, sections ...string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, line := range strings.Fields(s.Do(append([]string{"info"}, sections...)...)) {
		if name, text, ok := strings.Cut(line, ":"); ok {
			if n, err := strconv.Atoi(strings.TrimPrefix(text, "count=")); err == nil {
				all[name] = n
			}
		}
	}
	return all
}

// Ten thousand healthy calls ask the store for nothing: its counters grow by the exchange of
// each second and process alone, whatever is called in it.
func TestHealthyCallsAskForNothing(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	const processes, calls = 4, 2500
	c := hire(t, processes, job{Store: store.URL, Provider: provider.URL, Calls: calls, Every: 4 * time.Millisecond, AtOnce: 16, Circuit: circuit})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	time.Sleep(2 * time.Second) // who joins is told of by an exchange more
	before, began := commands(t, store), time.Now()
	c.begin()
	c.wait(time.Minute, "all calls to end", func() bool { return c.count(done) == processes })
	after, lasted := commands(t, store), time.Since(began)
	for _, e := range c.all(call) {
		if e.Reason != "" {
			t.Fatalf("a call has failed: %s", e.Reason)
		}
	}
	// What one run of the script does within: it reads, looks at the clock, writes, and has
	// the key expire.
	within := map[string]int{"evalsha": 1, "time": 1, "hmget": 1, "hset": 2, "pexpire": 1}
	exchanges := processes * (int(lasted/time.Second) + 1)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		grown := after[name] - before[name]
		if name == "info" || grown == 0 {
			continue // info is this test's
		}
		t.Logf("%-8s %4d", name, grown)
		if most := within[name] * exchanges; grown > most {
			t.Errorf("%s grew by %d in %v, want at most %d", name, grown, lasted, most)
		}
	}
	t.Logf("%d healthy calls of %d processes in %v", c.count(call), processes, lasted.Round(100*time.Millisecond))
	if grown := after["evalsha"] - before["evalsha"]; grown < processes {
		t.Errorf("there were %d exchanges, so nothing was shown", grown)
	}
}

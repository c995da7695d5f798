package fleet

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/redis"
	"llmcall/internal/servers"
)

// A circuit takes at most 2 KiB of the server's memory, and its key expires.
func TestMemoryOfACircuitInRedis(t *testing.T) {
	server := servers.Redis(t)
	var all []*process
	for range 8 {
		f, err := Open(server.URL, Options{Secret: secretOfTests, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		p := &process{t: t, fleet: f}
		p.of(endpoint.Key{Name: "a-provider", Model: "a-provider/a-model-with-a-long-name-2026-11-26", Address: "https://api.a-provider.example/v1"}, endpoint.Options{NoBudget: true})
		all = append(all, p)
	}
	long := endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Status: 503, Code: strings.Repeat("x", 1000)}}
	most, places := 0, []string(nil)
	for i := range 400 {
		p := all[i%8]
		switch {
		case p.b.State() != breaker.Closed:
		case i%4 == 0: // far below the rate
			p.call(long)
		default:
			for range 1000 {
				p.call(success)
			}
		}
		time.Sleep(2 * time.Millisecond)
		var err error
		if len(places) == 0 {
			if places, err = p.fleet.places(context.Background()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if i%20 == 0 {
			n, err := strconv.Atoi(server.Do("MEMORY", "USAGE", places[0], "SAMPLES", "0"))
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, n)
		}
	}
	if len(places) != 1 || most < 500 || most > 2048 {
		t.Errorf("circuits %q, of at most %d bytes, want one of at most 2048", places, most)
	}
	t.Logf("%d bytes; %d failures are kept", most, strings.Count(server.Do("HGET", places[0], "f"), ";")+1)
	if ms, err := strconv.Atoi(server.Do("PTTL", places[0])); err != nil || ms < 60_000 || ms > int(3*breaker.DefaultMaxOpen.Milliseconds()) {
		t.Errorf("the key expires in %d ms, %v", ms, err)
	}
}

// The largest threshold does not hold up a server: a report of as many failures takes it a
// few milliseconds.
func TestLargestThresholdInRedis(t *testing.T) {
	server := servers.Redis(t)
	s, err := redis.Open(server.URL, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const threshold = 10_000
	cfg, err := breaker.Config{FailureThreshold: threshold, FailureRate: -1}.Filled()
	if err != nil {
		t.Fatal(err)
	}
	f := make([]failed, threshold)
	for i := range f {
		f[i] = failed{Age: int64(threshold - i), Kind: "transient"}
	}
	ask := func(me string, sequence uint64, failures []failed) time.Duration {
		began := time.Now()
		q := question{
			Op: "report", Me: me, Sequence: sequence, Settings: settingsOf(cfg, 0), Failures: failures, Held: []holding{},
			Generation: 1, State: stateClosed, Met: 2,
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if r := s.Run(ctx, []store.Call{callOf(circuitScript, "test:{x}:circuit", q)})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		return time.Since(began)
	}
	full, one := time.Hour, time.Hour
	for i := 0; i < 10 && max(full, one) > runTimeout; i++ { // the quickest is that of the server, and not of what else the machine does
		me := strconv.Itoa(i)
		full, one = min(full, ask(me, 1, f[1:])), min(one, ask(me, 2, f[:1]))
		server.Do("FLUSHALL")
	}
	t.Logf("a report of %d failures takes %v, one of one failure %v", threshold-1, full, one)
	if full > runTimeout || one > runTimeout {
		t.Errorf("a report took %v, and %v", full, one)
	}
}

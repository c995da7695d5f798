//go:build !wrongclock

package fleet

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llmcall/breaker"
	"llmcall/internal/servers"

	toxi "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// A fault is what happens to the store.
type fault struct {
	name string
	// open starts a store, and returns its URL, what makes it fail, and what makes it well.
	open func(t *testing.T) (url string, strike, heal func())
	more bool // with LLMCALL_MODEL=full alone: each takes 18 s
	// forgets says that the store may come back without what it was told last.
	forgets bool
	// says is what a store that refuses what it is asked says, and the log of each process.
	says string
}

var faults = []fault{
	{"killed, and started empty", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t)
		return s.URL, s.Kill, s.Start
	}, false, true, ""},
	{"stopped (SIGSTOP)", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t)
		return s.URL, s.Pause, s.Resume
	}, false, false, ""},
	{"full (maxmemory)", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t)
		return s.URL, func() { s.Full(true) }, func() { s.Full(false) }
	}, true, false, "OOM"},
	{"cut: nothing comes from it", cut(`{"name": "cut", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`), true, false, ""},
	{"cut: nothing comes to it", cut(`{"name": "cut", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`), true, false, ""},
	{"cut: connections are reset", cut(`{"name": "cut", "type": "reset_peer", "attributes": {"timeout": 0}}`), true, false, ""},
	{"slow by 400 ms", cut(`{"name": "cut", "type": "latency", "attributes": {"latency": 400, "jitter": 50}}`), true, false, ""},
	{"failed over (Sentinel)", func(t *testing.T) (string, func(), func()) {
		s := servers.Sentinel(t)
		master := s.Master()
		return s.URL, master.Kill, func() { s.Follow(master) }
	}, false, true, ""},
	{"loading its data", loading(0), true, true, ""},
	{"loading old data", loading(8 * time.Second), true, true, ""},
	{"busy with a script", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t, "--lua-time-limit", "100")
		return quiet(t, s, s.URL, func() { aside(t, s, "eval", "while true do end", "0") }, func() { s.Do("script", "kill") })
	}, true, false, "BUSY"},
	{"unable to save", func(t *testing.T) (string, func(), func()) {
		dir := t.TempDir()
		s := servers.Redis(t, "--dir", dir, "--save", "3600 1000000")
		save := func(as string) {
			s.Do("bgsave")
			reaches(t, s, "rdb_last_bgsave_status:"+as)
		}
		data := filepath.Join(dir, "dump.rdb")
		return quiet(t, s, s.URL, func() {
			if err := os.Mkdir(data, 0o700); err != nil { // which no file replaces
				t.Error(err)
			}
			save("err")
		}, func() {
			if err := os.Remove(data); err != nil {
				t.Error(err)
			}
			save("ok")
		})
	}, true, false, "MISCONF"},
	{"without a replica", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t)
		return quiet(t, s, s.URL, func() { s.Do("config", "set", "min-replicas-to-write", "1") }, func() { s.Do("config", "set", "min-replicas-to-write", "0") })
	}, true, false, "NOREPLICAS"},
	{"a replica without its master", func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t, "--replica-serve-stale-data", "no")
		return quiet(t, s, s.URL, func() { s.Do("replicaof", "127.0.0.1", "1") }, func() { s.Do("replicaof", "no", "one") })
	}, true, false, "MASTERDOWN"},
	{"a Cluster without a slot", func(t *testing.T) (string, func(), func()) {
		c := servers.Cluster(t, "--cluster-require-full-coverage", "yes")
		of := c.Of("unused")
		slot := of.Do("cluster", "keyslot", "unused")
		return quiet(t, of, c.URL, func() {
			for _, s := range c.Nodes {
				s.Do("cluster", "delslots", slot)
			}
		}, func() { of.Do("cluster", "addslots", slot) })
	}, true, false, "CLUSTERDOWN"},
}

// loading starts a server that is killed when a time has passed since it saved its data, and reads
// that for as long as the fault lasts, and answers meanwhile that it does.
func loading(since time.Duration) func(*testing.T) (string, func(), func()) {
	return func(t *testing.T) (string, func(), func()) {
		s := servers.Redis(t, "--enable-debug-command", "local", "--loading-process-events-interval-bytes", "1024", "--key-load-delay", "1000")
		s.Do("debug", "populate", "50000", "other", "100") // for 50 s
		return quiet(t, s, s.URL, func() {
			s.Do("save")
			time.Sleep(since)
			s.Kill()
			s.Start()
			if !strings.Contains(s.Do("info", "persistence"), "loading:1") {
				t.Error("the server is not loading")
			}
		}, func() {
			s.Do("config", "set", "key-load-delay", "0")
			reaches(t, s, "loading:0")
		})
	}
}

// reaches waits until a server says something of what it saves and loads.
func reaches(t *testing.T, s *servers.Server, what string) {
	t.Helper()
	eventually(t, what, func() bool { return strings.Contains(s.Do("info", "persistence"), what) })
}

// aside runs a command that does not return.
func aside(t *testing.T, s *servers.Server, args ...string) {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-cli", append([]string{"-p", port}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// quiet counts what a server that refuses what it is asked is asked in the fault: who is refused does
// not ask again at once, nor by one connection after another.
func quiet(t *testing.T, s *servers.Server, url string, strike, heal func()) (string, func(), func()) {
	var struck time.Time
	return url, func() {
			s.Do("config", "resetstat")
			struck = time.Now()
			strike()
		}, func() {
			lasted := time.Since(struck)
			heal()
			n := numbersOf(t, s, "stats", "errorstats")
			const own = 50 // of this test, which waits
			if n["total_connections_received"] > own+8*8 || n["total_error_replies"] > own+8*8*4 {
				t.Errorf("in %v the server was asked too much: %v", lasted, n)
			}
			t.Logf("in %v: %d connections, %d commands, %d errors", lasted.Round(100*time.Millisecond),
				n["total_connections_received"], n["total_commands_processed"], n["total_error_replies"])
		}
}

var nodeOfACluster = fault{"a Cluster whose node is killed, and started empty", func(t *testing.T) (string, func(), func()) {
	c := servers.Cluster(t)
	var killed *servers.Server
	return c.URL, func() {
		for _, s := range c.Nodes {
			if strings.Contains(s.Do("keys", "*"), ":circuit:") {
				killed = s
			}
		}
		killed.Kill()
	}, func() { killed.Start() }
}, true, true, ""}

// cut puts a proxy before a store, which fails as a toxic says.
func cut(toxic string) func(t *testing.T) (string, func(), func()) {
	return func(t *testing.T) (string, func(), func()) {
		r := servers.Redis(t)
		p := toxi.NewProxy(toxi.NewServer(toxi.NewMetricsContainer(nil), zerolog.Nop()), "store", "127.0.0.1:0", r.Addr)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		return "redis://" + p.Listen + "/0", func() {
				if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
					t.Error(err)
				}
			}, func() {
				if err := p.Toxics.RemoveToxic(t.Context(), "cut"); err != nil {
					t.Error(err)
				}
			}
	}
}

// While the store fails, the processes go on alone: no call waits for it, each one's own
// circuit opens and closes. Afterwards they are a fleet again.
func TestStoreFails(t *testing.T) {
	for _, f := range append(faults[:len(faults):len(faults)], nodeOfACluster) {
		t.Run(f.name, func(t *testing.T) {
			if f.more && os.Getenv("LLMCALL_MODEL") != "full" {
				t.Skip("LLMCALL_MODEL=full")
			}
			url, strike, heal := f.open(t)
			provider := newSource(t)
			const processes, atOnce = 8, 8
			c := hire(t, processes, job{
				Store: url, Provider: provider.URL, Calls: 1_000_000, Every: 16 * time.Millisecond, AtOnce: atOnce, Circuit: circuit, Beside: true,
			})
			c.begin()
			c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
			time.Sleep(time.Second)
			strike()
			struck := time.Now().Round(0)
			c.wait(10*time.Second, "all to know that the store is lost", func() bool { return c.areAll(lost) })
			alone := latest(c.last(lost))
			time.Sleep(2 * time.Second)

			broke := provider.breaks(true)
			time.Sleep(100 * time.Millisecond) // the last calls before have ended
			times := c.compare(struck, broke)
			if !times.same() {
				t.Errorf("%v", times)
			}
			time.Sleep(1500 * time.Millisecond)
			whole := provider.breaks(false)
			c.wait(10*time.Second, "all circuits to close", func() bool { return len(c.first("CLOSED", whole)) == processes })
			opened, closed := c.first("OPEN", broke), c.first("CLOSED", whole)
			if len(opened) != processes {
				t.Fatalf("%d of %d circuits have opened", len(opened), processes)
			}
			known := latest(opened)
			if n, most := len(provider.seen(broke, earliest(opened).Add(circuit.RecoveryTimeout))), processes*(circuit.FailureThreshold+atOnce); n > most {
				t.Errorf("%d requests came before the first probe, want at most %d", n, most)
			}
			probes := most(provider.seen(known.Add(circuit.RecoveryTimeout), earliest(closed)))
			if probes > processes*breaker.DefaultHalfOpenProbes {
				t.Errorf("%d probes at a time of %d processes", probes, processes)
			}
			time.Sleep(time.Second)

			heal()
			healed := time.Now().Round(0)
			c.wait(15*time.Second, "all to be connected again", func() bool { return c.areAll(connected) })
			back := latest(c.last(connected))
			c.told(f.says)
			t.Logf("lost after %v, back after %v; %v", alone.Sub(struck).Round(time.Millisecond), max(0, back.Sub(healed)).Round(time.Millisecond), times)
			time.Sleep(time.Second)
			outage(t, c, provider, 1500*time.Millisecond)
		})
	}
}

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/redis"
	"llmcall/internal/servers"
)

// A closed client of a Cluster sleeps for some seconds before it ends the connections that it
// does not need any more.
func TestMain(m *testing.M) {
	code := m.Run()
	left := goleak.Find()
	for began := time.Now(); left != nil && time.Since(began) < soon; left = goleak.Find() {
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

func open(t *testing.T, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var (
	add  = script(`return redis.call('HSET', KEYS[1], ARGV[2], 1)`)
	look = script(`return redis.call('HGET', KEYS[1], ARGV[2]) or 'none'`)
	tell = script(`return redis.call(ARGV[1], KEYS[1] .. ':told', ARGV[2])`)
)

// run runs one script, within a time.
func run(s store.Store, within time.Duration, which *store.Script, key string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r := s.Run(ctx, []store.Call{{Script: which, Key: key, Args: args}})[0]
	return r.Text, r.Err
}

// soon is how long servers on a busy machine may take for what takes a millisecond.
const soon = 10 * time.Second

// works runs a script until it works, which must be soon.
func works(t *testing.T, s store.Store, which *store.Script, key string, args ...string) string {
	t.Helper()
	var last error
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		text, err := run(s, time.Second, which, key, args...)
		if err == nil {
			t.Logf("works after %v", time.Since(began).Round(time.Millisecond))
			return text
		}
		last = err
	}
	t.Fatalf("after 30 s: %v", last)
	return ""
}

// ends is how long a call that has 250 ms may take on a busy machine. What hangs takes 2 s and
// more.
const ends = time.Second

// fails runs a script that can't work, until the error says why. Each is back in time.
func fails(t *testing.T, s store.Store, want string, key string) error {
	t.Helper()
	for first := time.Now(); ; {
		began := time.Now()
		_, err := run(s, 250*time.Millisecond, look, key, "a")
		if took := time.Since(began); took > ends {
			t.Errorf("took %v", took)
		}
		if err != nil && strings.Contains(err.Error(), want) {
			return err
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(first) > soon {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
}

// heard notes what a watcher hears.
type heard struct {
	messages, again chan string
}

func watch(s store.Store, key string) (heard, func()) {
	h := heard{make(chan string, 1000), make(chan string, 1000)}
	return h, s.Watch(key, func(m string) { h.messages <- m }, func() { h.again <- "again" })
}

func next(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was heard")
		return ""
	}
}

func TestOpenReadsTheURLAlone(t *testing.T) {
	for _, row := range []struct{ url, want string }{
		{"redis://127.0.0.1:1/0", ""},
		{"rediss://user:p%40ss@127.0.0.1:1/0?skip_verify=true", ""},
		{"unix:///tmp/none.sock?db=3", ""},
		{"valkey://127.0.0.1:1?master_set=m&addr=127.0.0.1:2", ""},
		{"", `must be one of redis, rediss, unix, valkey, valkeys, got ""`},
		{"127.0.0.1:6379", "can't be read"},
		{"redi://x", `got "redi", did you mean redis?`},
		{"http://x", `got "http"`},
		{"redis://x:1/", ""},
		{"redis://x/?addr=y:1", ""},
		{"redis://x/zero", `the URL's database must be a whole number >= 0, got "zero"`},
		{"redis://x?db=zero", `the URL's database must be a whole number >= 0, got "zero"`},
		{"redis://x/-1", `the URL's database must be a whole number >= 0, got "-1"`},
		{"redis://x?masterset=m", `may be addr, ca_file, cert_file, client_name, db, dial_timeout, key_file, master_set, protocol, skip_verify, write_timeout, got "masterset", did you mean master_set?`},
		{"redis://x?dial_timeout=5", `invalid dial timeout: "5"`},
		{"redis://x?ca_file=a", "need TLS: rediss://"},
		{"rediss://x?ca_file=/none", "the URL's ca_file: open /none"},
		{"rediss://x?ca_file=redis_test.go", "has no certificate"},
		{"rediss://x?cert_file=/none", "the URL's cert_file and key_file"},

		// No part of a password that was not written as it must be is shown.
		{"redis://user:hid#den@host:6379/0", "can't be read"},
		{"redis://user:hid/den@host:6379/0", "can't be read"},
		{"redis://user:hid?den@host:6379/0", "can't be read"},
		{"redis://user:1/hidden@host:6379/0", "can't be read"},
		{"redis://user:1?hidden@host:6379/0", "can't be read"},
		{"redis://user:1#hidden@host:6379/0", "can't be read"},
		{"redis://user:hid%zden@host:6379/0", "can't be read"},
		{"redis://user:hid den@host:6379/0", "can't be read"},
		{"redis://:hidden@host:port", "can't be read"},
		{"redis://:hidden@host/0/1", `the URL's database must be a whole number >= 0, got "0/1"`},
	} {
		s, err := redis.Open(row.url, nil)
		switch {
		case err == nil && row.want != "":
			t.Errorf("%s: no error", row.url)
		case err != nil && (row.want == "" || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: got %v, want %q", row.url, err, row.want)
		case err != nil && (strings.Contains(err.Error(), "hid") || strings.Contains(err.Error(), "den@")):
			t.Errorf("%s: %v", row.url, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

// Nobody need know how a URL is written to keep his password.
func TestNoPasswordIsShown(t *testing.T) {
	letters := rapid.SampledFrom([]rune("ZQXJ019/?#@:%&=;[]. \\\n"))
	rapid.Check(t, func(r *rapid.T) {
		password := string(rapid.SliceOf(letters).Draw(r, "password"))
		rest := rapid.SampledFrom([]string{"host:6379/0", "host", "host:x", "host/zero", "host?ad=1", "host?dial_timeout=x"}).Draw(r, "rest")
		s, err := redis.Open("redis://user:"+password+"@"+rest, nil)
		if err == nil {
			s.Close()
			return
		}
		if strings.ContainsAny(err.Error(), "ZQXJ") {
			r.Fatal(err)
		}
	})
}

// forms are the three forms of a store, each with the address of its first key.
func forms(t *testing.T, each func(t *testing.T, url string)) {
	t.Run("single", func(t *testing.T) { each(t, servers.Redis(t).URL) })
	t.Run("sentinel", func(t *testing.T) { each(t, servers.Sentinel(t).URL) })
	t.Run("cluster", func(t *testing.T) { each(t, servers.Cluster(t).URL) })
	t.Run("resp2", func(t *testing.T) { each(t, servers.Redis(t).URL+"?protocol=2") })
}

func TestAStoreInEachForm(t *testing.T) {
	forms(t, func(t *testing.T, url string) {
		s, other := open(t, url), open(t, url)
		ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
		defer cancel()
		if got := s.Run(ctx, nil); got != nil {
			t.Errorf("no calls: %v", got)
		}

		// Many calls at many keys, one of them wrong: results are in order.
		var calls []store.Call
		for i := range 300 {
			calls = append(calls, store.Call{Script: add, Key: fmt.Sprintf("p:{%d}:a", i), Args: []string{fmt.Sprint(i)}})
		}
		calls[7].Script = &store.Script{Name: "seven", Text: `return redis.error_reply('NO seven')`}
		for i, r := range s.Run(ctx, calls) {
			if i == 7 {
				if r.Err == nil || r.Err.Error() != "seven: NO seven" {
					t.Errorf("got %q, %v", r.Text, r.Err)
				}
				continue
			}
			if r.Text != "1" || r.Err != nil {
				t.Fatalf("%d: got %q, %v", i, r.Text, r.Err)
			}
		}

		keys, err := other.Keys(ctx, "p:{")
		if err != nil || len(keys) != 299 || !slices.IsSorted(keys) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		if keys, err := other.Keys(ctx, "p:[12]*?"); err != nil || len(keys) != 0 {
			t.Errorf("got %q, %v", keys, err)
		}

		for _, each := range []*redis.Store{s, other} {
			if text, err := each.Secret(ctx, "p:secret", fmt.Sprintf("of %p", s)); err != nil || text != fmt.Sprintf("of %p", s) {
				t.Errorf("got %q, %v", text, err)
			}
		}
		if text, err := other.Secret(ctx, "p:secret", "late"); err != nil || text != fmt.Sprintf("of %p", s) {
			t.Errorf("got %q, %v", text, err)
		}

		// What one tells, the other hears, and no longer after stop.
		h, stop := watch(s, "p:{1}:a")
		next(t, h.again)
		for i := range 100 {
			if n, err := run(other, soon, tell, "p:{1}:a", fmt.Sprint(i)); n != "1" || err != nil {
				t.Fatalf("told %s, %v", n, err)
			}
		}
		for i := range 100 {
			if m := next(t, h.messages); m != fmt.Sprint(i) {
				t.Errorf("%d: heard %q", i, m)
			}
		}
		stop()
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // until the server knows
			if n, err := run(other, soon, tell, "p:{1}:a", "late"); n == "0" || err != nil || time.Since(began) > soon {
				if n != "0" {
					t.Errorf("told %s, %v", n, err)
				}
				break
			}
		}
		if len(h.messages) > 0 {
			t.Errorf("heard %q after stop", <-h.messages)
		}
	})
}

func TestScriptsThatAServerHasLost(t *testing.T) {
	server := servers.Redis(t)
	s := open(t, server.URL)
	for range 2 {
		works(t, s, add, "{a}", "a")
	}
	server.Do("script", "flush")
	calls := []store.Call{{Script: look, Key: "{a}", Args: []string{"a"}}, {Script: add, Key: "{a}", Args: []string{"b"}}, {Script: look, Key: "{a}", Args: []string{"b"}}}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	s.Run(ctx, calls)
	server.Do("script", "flush")
	for i, want := range []string{"1", "0", "1"} {
		if r := s.Run(ctx, calls); r[i].Text != want || r[i].Err != nil {
			t.Errorf("%d: got %v, want %s", i, r[i], want)
		}
	}
	if got := server.Do("info", "commandstats"); !strings.Contains(got, "cmdstat_evalsha") {
		t.Errorf("no EVALSHA: %s", got)
	}
}

func TestAScriptThatReturnsNoText(t *testing.T) {
	s := open(t, servers.Redis(t).URL)
	if _, err := run(s, soon, script(`return {1, 2}`), "{a}"); !errors.Is(err, store.ErrNoText) || err.Error() != "test: a script must return one text" {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	s := open(t, "redis://user:hidden@"+listener.Addr().String())
	if err := fails(t, s, "connection refused", "{a}"); strings.Contains(err.Error(), "hidden") {
		t.Error(err)
	}
	if _, err := s.Secret(t.Context(), "a", "b"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Keys(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	s.Close()
	if err := fails(t, s, "closed", "{a}"); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// counted is a listener that counts connections, and closes them at once.
func counted(t *testing.T) (address string, count func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			c.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// A thousand calls and a hundred watchers make no storm of connections.
func TestNoStormOfConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 3 s")
	}
	for name, query := range map[string]string{"single": "", "sentinel": "?master_set=m"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, count := counted(t)
			s := open(t, "redis://"+address+query)
			for i := range 100 {
				_, stop := watch(s, fmt.Sprintf("{%d}", i))
				defer stop()
			}
			for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(time.Millisecond) {
				if _, err := run(s, 250*time.Millisecond, look, "{a}", "a"); err == nil {
					t.Fatal("it worked")
				}
			}
			// 100, 200, 400, 800, 1,600 ms and so on, each at least half of that.
			if n := count(); n == 0 || n > 8 {
				t.Errorf("%d connections in 3 s", n)
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	server := servers.WithPassword(t, "user:hidden")
	works(t, open(t, server.URL), add, "{a}", "a")
	s := open(t, strings.Replace(server.URL, "hidden", "mistaken", 1))
	for range 5 {
		if err := fails(t, s, "WRONGPASS", "{a}"); strings.Contains(err.Error(), "mistaken") {
			t.Error(err)
		}
	}
	fails(t, open(t, strings.Replace(server.URL, "user:hidden@", "", 1)), "NOAUTH", "{a}")
	works(t, open(t, servers.WithPassword(t, "alone").URL), add, "{a}", "a")
}

func TestTLS(t *testing.T) {
	server := servers.WithTLS(t)
	s := open(t, server.URL)
	works(t, s, add, "{a}", "a")
	h, _ := watch(s, "{a}")
	next(t, h.again)
	if n := works(t, s, tell, "{a}", "x"); n != "1" {
		t.Errorf("told %s", n)
	}
	next(t, h.messages)
	s.Close()
	unknown, _, _ := strings.Cut(server.URL, "?")
	fails(t, open(t, unknown), "certificate", "{a}")
}

// A server that hangs, goes, comes back: no call takes longer than it may, and all works again.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name        string
		fault, over func(*servers.Server)
		lost        bool // what was kept
		resubscribe bool
	}{
		{"paused", (*servers.Server).Pause, (*servers.Server).Resume, false, false},
		{"killed", (*servers.Server).Kill, (*servers.Server).Start, true, true},
		{"stopped", (*servers.Server).Stop, (*servers.Server).Start, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := servers.Redis(t)
			s := open(t, server.URL)
			works(t, s, add, "{a}", "a")
			h, _ := watch(s, "{a}")
			next(t, h.again)
			for range 2 { // and it comes again
				row.fault(server)
				for began := time.Now(); time.Since(began) < 2*time.Second; {
					began := time.Now()
					if _, err := run(s, 100*time.Millisecond, look, "{a}", "a"); err == nil {
						t.Fatal("it worked")
					}
					if took := time.Since(began); took > ends {
						t.Errorf("took %v", took)
					}
				}
				row.over(server)
				if got := works(t, s, look, "{a}", "a"); (got == "none") != row.lost {
					t.Errorf("it has %q", got)
				}
				if row.resubscribe {
					next(t, h.again)
				}
				works(t, s, add, "{a}", "a")
				works(t, s, tell, "{a}", "x")
				next(t, h.messages)
			}
		})
	}
}

// A connection that was stopped for long is given up, and another is made.
func TestAServerThatHangsForLong(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	s := open(t, server.URL)
	works(t, s, add, "{a}", "a")
	h, _ := watch(s, "{a}")
	next(t, h.again)
	server.Pause()
	for began := time.Now(); time.Since(began) < 12*time.Second; {
		fails(t, s, "", "{a}")
	}
	server.Resume()
	works(t, s, look, "{a}", "a")
	next(t, h.again)
	works(t, s, tell, "{a}", "x")
	next(t, h.messages)
}

func TestAServerThatIsFull(t *testing.T) {
	server := servers.Redis(t)
	s := open(t, server.URL)
	works(t, s, add, "{a}", "a")
	if _, err := s.Secret(t.Context(), "secret", "first"); err != nil {
		t.Fatal(err)
	}
	server.Full(true)
	if _, err := run(s, soon, add, "{a}", "b"); err == nil || !strings.HasPrefix(err.Error(), "test: OOM") {
		t.Errorf("full: %v", err)
	}
	if text, err := s.Secret(t.Context(), "secret", "second"); text != "first" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	if text := works(t, s, look, "{a}", "a"); text != "1" {
		t.Errorf("got %q", text)
	}
	server.Full(false)
	works(t, s, add, "{a}", "b")
}

func TestASentinelsFailover(t *testing.T) {
	t.Parallel()
	g := servers.Sentinel(t)
	s := open(t, g.URL)
	works(t, s, add, "{a}", "a")
	h, _ := watch(s, "{a}")
	next(t, h.again)
	check := func() {
		t.Helper()
		works(t, s, add, "{a}", "b")
		next(t, h.again)
		for began := time.Now(); works(t, s, tell, "{a}", "x") == "0" && time.Since(began) < soon; {
		}
		next(t, h.messages)
	}
	g.Failover()
	check()
	if text := works(t, s, look, "{a}", "a"); text != "1" {
		t.Errorf("got %q: the replica had it", text)
	}

	old := g.Master()
	old.Kill()
	g.Follow(old)
	check()
}

// Two nodes of three go on while the third hangs or is lost, and it comes back.
func TestAClusterThatLosesANode(t *testing.T) {
	t.Parallel()
	g := servers.Cluster(t)
	s := open(t, g.URL)
	var calls []store.Call
	dead := g.Of("p:{0}")
	on := map[int]bool{} // calls of the node that will be lost
	for i := range 12 {
		key := fmt.Sprintf("p:{%d}", i)
		calls = append(calls, store.Call{Script: add, Key: key, Args: []string{"a"}})
		on[i] = g.Of(key) == dead
	}
	works(t, s, add, "p:{0}", "a")
	h, _ := watch(s, "p:{0}")
	next(t, h.again)
	for _, row := range []struct {
		name        string
		fault, over func()
	}{
		{"paused", dead.Pause, dead.Resume},
		{"killed", dead.Kill, dead.Start},
	} {
		row.fault()
		for began := time.Now(); time.Since(began) < 4*time.Second; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the others are that quick on a busy machine
			began := time.Now()
			results := s.Run(ctx, calls)
			cancel()
			if took := time.Since(began); took > time.Second+ends {
				t.Errorf("%s: took %v", row.name, took)
			}
			for i, r := range results {
				if (r.Err != nil) != on[i] {
					t.Fatalf("%s: %d (lost: %v): %v", row.name, i, on[i], r)
				}
			}
		}
		row.over()
		works(t, s, add, "p:{0}", "a")
	}
	next(t, h.again)
	works(t, s, tell, "p:{0}", "x")
	next(t, h.messages)
}

// A slot that moves to another node is followed.
func TestASlotThatMoves(t *testing.T) {
	t.Parallel()
	g := servers.Cluster(t)
	s := open(t, g.URL)
	works(t, s, add, "p:{0}", "a")
	h, _ := watch(s, "p:{0}")
	next(t, h.again)
	g.Move("p:{0}", func() {
		if text := works(t, s, look, "p:{0}", "a"); text != "1" {
			t.Errorf("asked: %q", text)
		}
	})
	if text := works(t, s, look, "p:{0}", "a"); text != "1" {
		t.Errorf("moved: %q", text)
	}
	next(t, h.again)
	works(t, s, tell, "p:{0}", "x")
	next(t, h.messages)
}

func TestCloseEndsWhatHangs(t *testing.T) {
	server := servers.Redis(t)
	s := open(t, server.URL)
	works(t, s, add, "{a}", "a")
	h, _ := watch(s, "{a}")
	next(t, h.again)
	server.Pause()
	ended := make(chan error)
	go func() {
		_, err := run(s, time.Minute, look, "{a}", "a")
		ended <- err
	}()
	time.Sleep(100 * time.Millisecond) // it is on its way
	began := time.Now()
	s.Close()
	if err := <-ended; err == nil || time.Since(began) > soon {
		t.Errorf("ended after %v with %v", time.Since(began), err)
	}
}

// An exchange, and a message from one process to another.
func BenchmarkStore(b *testing.B) {
	s, err := redis.Open(servers.Redis(b).URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, n := range []int{1, 100} {
		var calls []store.Call
		for i := range n {
			calls = append(calls, store.Call{Script: add, Key: fmt.Sprintf("{%d}", i), Args: []string{"a"}})
		}
		b.Run(fmt.Sprintf("exchange/%d", n), func(b *testing.B) {
			for b.Loop() {
				if r := s.Run(b.Context(), calls); r[n-1].Err != nil {
					b.Fatal(r[n-1].Err)
				}
			}
		})
	}
	h, stop := watch(s, "{a}")
	defer stop()
	<-h.again
	b.Run("message", func(b *testing.B) {
		for b.Loop() {
			if _, err := run(s, soon, tell, "{a}", "x"); err != nil {
				b.Fatal(err)
			}
			<-h.messages
		}
	})
}

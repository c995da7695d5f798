package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/fleet/internal/store"
	"llmcall/internal/servers"
)

// middle is an address that leads to a server, as a Service of Kubernetes does: later
// connections may be led to another one, and those that are there stay.
type middle struct {
	addr string
	mu   sync.Mutex
	to   *servers.Server
}

// between starts a middle. change, if it is not nil, may put another command in the place of one.
func between(t *testing.T, to *servers.Server, change func(args []string) []string) *middle {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{addr: listener.Addr().String(), to: to}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			server, err := net.Dial("tcp", m.to.Addr)
			m.mu.Unlock()
			if err != nil {
				client.Close()
				continue
			}
			stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
			running.Go(func() {
				defer client.Close()
				io.Copy(client, server)
			})
			running.Go(func() {
				defer stop()
				defer server.Close()
				for r := bufio.NewReader(client); ; {
					args, err := command(r)
					if err != nil {
						return
					}
					if change != nil {
						args = change(args)
					}
					fmt.Fprintf(server, "*%d\r\n", len(args))
					for _, arg := range args {
						fmt.Fprintf(server, "$%d\r\n%s\r\n", len(arg), arg)
					}
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); cancel(); running.Wait() })
	return m
}

func (m *middle) lead(to *servers.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.to = to
}

// command reads a command.
func command(r *bufio.Reader) ([]string, error) {
	number := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	args := make([]string, n)
	for i := range args {
		size, err := number()
		if err != nil {
			return nil, err
		}
		arg := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(r, arg); err != nil {
			return nil, err
		}
		args[i] = string(arg[:size])
	}
	return args, err
}

// refusal is a command that is answered with an error.
func refusal(text string) []string {
	return []string{"EVAL", "return redis.error_reply(ARGV[1])", "0", text}
}

// without are arguments of a server that does not know some commands.
func without(commands ...string) (args []string) {
	for _, c := range commands {
		args = append(args, "--rename-command", c, "")
	}
	return args
}

// serves checks that a store does all that it must at a URL.
func serves(t *testing.T, url string) {
	t.Helper()
	s := open(t, url)
	works(t, s, add, "p:{a}", "a")
	h, stop := watch(s, "p:{a}")
	defer stop()
	next(t, h.again)
	works(t, s, tell, "p:{a}", "x")
	if m := next(t, h.messages); m != "x" {
		t.Errorf("heard %q", m)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for _, own := range []string{"first", "second"} {
		if text, err := s.Secret(ctx, "p:secret", own); text != "first" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	}
	if keys, err := s.Keys(ctx, "p:"); len(keys) != 2 || err != nil {
		t.Errorf("got %q, %v", keys, err)
	}
}

// An address that leads to a new master keeps its connections to the old one, which goes on as a
// replica and closes none. It refuses to write; one that may not tell old data refuses all, as long
// as it does not reach the new master. All that is asked fails with its words, also what is under way
// when the connections to it are left.
func TestAnAddressThatLeadsToANewMaster(t *testing.T) {
	for _, row := range []struct {
		name, query, says string
		follows           bool
	}{
		{"resp3", "", "READONLY", true}, {"resp2", "?protocol=2", "READONLY", true}, {"no old data", "", "MASTERDOWN", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			old, master := servers.Redis(t, "--replica-serve-stale-data", "no"), servers.Redis(t)
			m := between(t, old, nil)
			s, other := open(t, "redis://"+m.addr+row.query), open(t, "redis://"+m.addr+row.query)
			works(t, s, add, "{a}", "a")
			works(t, other, add, "{a}", "a")
			h, _ := watch(s, "{a}")
			next(t, h.again)
			port := "1"
			if row.follows {
				_, port, _ = net.SplitHostPort(master.Addr)
			}
			old.Do("replicaof", "127.0.0.1", port)
			for began := time.Now(); ; {
				_, err := run(s, time.Second, add, "{a}", "b")
				if err != nil && strings.Contains(err.Error(), row.says) {
					break
				}
				if time.Since(began) > soon {
					t.Fatalf("got %v from a replica", err)
				}
			}
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				for _, r := range other.Run(ctx, []store.Call{{Script: add, Key: "{a}", Args: []string{"b"}}, {Script: add, Key: "{b}", Args: []string{"b"}}}) {
					if r.Err == nil || !strings.Contains(r.Err.Error(), row.says) {
						t.Errorf("got %v, want what the server says", r.Err)
					}
				}
				cancel()
			}
			m.lead(master)
			works(t, s, add, "{a}", "b")
			next(t, h.again)
			if n := works(t, s, tell, "{a}", "x"); n != "1" {
				t.Errorf("told %s", n)
			}
			next(t, h.messages)
		})
	}
}

func TestServersThatKnowLess(t *testing.T) {
	for _, row := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"no HELLO", func(t *testing.T) string { return servers.Redis(t, without("HELLO")...).URL }},
		{"no CLIENT", func(t *testing.T) string { return servers.Redis(t, without("CLIENT")...).URL }},
		{"no HELLO and no CLIENT", func(t *testing.T) string { return servers.Redis(t, without("HELLO", "CLIENT")...).URL }},
		{"no CLUSTER", func(t *testing.T) string { return servers.Redis(t, without("CLUSTER")...).URL }},
		{"no PING", func(t *testing.T) string { return servers.Redis(t, without("PING")...).URL }},
		{"no EVALSHA", func(t *testing.T) string { return servers.Redis(t, without("EVALSHA")...).URL }},
		{"RESP2 alone", func(t *testing.T) string {
			return "redis://" + between(t, servers.Redis(t), func(args []string) []string {
				if args[0] == "HELLO" && args[1] == "3" {
					return refusal("NOPROTO unsupported protocol version")
				}
				return args
			}).addr
		}},
		{"no SET with NX and GET", func(t *testing.T) string { // before version 7
			return "redis://" + between(t, servers.Redis(t), func(args []string) []string {
				if text := strings.Join(args, " "); strings.HasPrefix(text, "SET ") && strings.Contains(text, " NX") && strings.Contains(text, " GET") {
					return refusal("ERR syntax error")
				}
				return args
			}).addr
		}},
		{"a Cluster without channels of slots", func(t *testing.T) string { // before version 7
			return servers.Cluster(t, without("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE")...).URL
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			serves(t, row.url(t))
		})
	}
}

// Sentinels have the password of the servers in the charts of Kubernetes.
func TestSentinelsWithThePasswordOfTheServers(t *testing.T) {
	g := servers.Sentinel(t)
	for _, s := range g.Sentinels {
		s.Do("sentinel", "set", servers.MasterSet, "auth-pass", "secret")
		s.Do("acl", "setuser", "default", "resetpass", ">secret")
	}
	g.Servers[0].Do("config", "set", "requirepass", "secret")
	serves(t, strings.Replace(g.URL, "redis://", "redis://:secret@", 1))
}

// The error says what has not answered, and what was not done.
func TestWhatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address := silent.Addr().String()
	for url, want := range map[string]string{
		"redis://" + address:                       "says nothing for 100ms",
		"rediss://" + address:                      address + ": no answer in TLS (a server without it takes redis://) within 100ms",
		"redis://" + address + "?master_set=fleet": "says nothing for 100ms",
	} {
		t.Run(url[:6], func(t *testing.T) {
			mark := "?"
			if strings.Contains(url, "?") {
				mark = "&"
			}
			fails(t, open(t, url+mark+"dial_timeout=100ms"), want, "{a}")
		})
	}
}

// The nodes of a Cluster announce addresses of their own: a certificate may be for that, or for
// the host of the URL.
func TestACertificateForTheNode(t *testing.T) {
	server := servers.WithTLS(t)
	_, query, _ := strings.Cut(server.URL, "?")
	_, port, _ := net.SplitHostPort(server.Addr)
	// It is trusted as a node, by a certificate for 127.0.0.1: what it says then is that it is none.
	fails(t, open(t, "rediss://localhost:"+port+"?addr="+server.Addr+"&"+query), "cluster support disabled", "{a}")
	fails(t, open(t, "rediss://localhost:"+port+"?"+query), "wanted to match localhost", "{a}")
}

package servers_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"llmcall/internal/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneServer(t *testing.T) {
	s := servers.Redis(t)
	if got := s.Do("set", "a", "1"); got != "OK" {
		t.Errorf("got %q", got)
	}
	s.Full(true)
	if got := s.Do("eval", "return redis.pcall('set', 'b', '1').err", "0"); !strings.HasPrefix(got, "OOM") {
		t.Errorf("full: %q", got)
	}
	s.Full(false)
	s.Pause()
	s.Resume()
	if got := s.Do("get", "a"); got != "1" {
		t.Errorf("resumed: %q", got)
	}
	s.RestartEmpty()
	if got := s.Do("get", "a"); got != "" {
		t.Errorf("restarted: %q", got)
	}
	s.Stop()
	s.Start()
	s.Do("ping")
}

func TestPasswordsAndCertificates(t *testing.T) {
	for _, s := range []*servers.Server{servers.WithPassword(t, "secret"), servers.WithPassword(t, "user:secret"), servers.WithTLS(t)} {
		if got := s.Do("ping"); got != "PONG" {
			t.Errorf("%s: %q", s.URL, got)
		}
	}
}

func TestSentinelsReplaceAMaster(t *testing.T) {
	g := servers.Sentinel(t)
	first := g.Master()
	if first != g.Servers[0] {
		t.Errorf("the master is %s", first.Addr)
	}
	g.Failover()
	if g.Master() == first {
		t.Error("it is still the master")
	}
}

func TestAClusterOfThree(t *testing.T) {
	g := servers.Cluster(t)
	has := map[*servers.Server]bool{}
	for _, key := range []string{"a", "b", "c"} {
		node := g.Of(key)
		has[node] = true
		if got := node.Do("set", key, "1"); got != "OK" {
			t.Errorf("%s: %q", key, got)
		}
	}
	if len(has) != 3 {
		t.Errorf("%d nodes have the keys", len(has))
	}
}

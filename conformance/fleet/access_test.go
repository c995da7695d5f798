//go:build !wrongclock

package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// What a user of a fleet's store may do at least, as docs/fleet.md says: of a server, and of a
// Cluster besides.
const (
	ofAServer  = "~llmcall:* &llmcall:* +eval +evalsha +time +hget +hgetall +hmget +hset +hdel +pexpire +get +set +scan +publish +subscribe +unsubscribe +ping +cluster|slots"
	ofACluster = "+spublish +ssubscribe +sunsubscribe +asking +command|info"
)

// user is what ACL SETUSER takes of a user who may do this alone.
func user(rules ...string) []string {
	all := []string{"acl", "setuser", "fleet", "on", ">hidden"}
	for _, some := range rules {
		all = append(all, strings.Fields(some)...)
	}
	return all
}

// as returns the URL with which somebody comes to a server.
func as(who, url string) string { return strings.Replace(url, "redis://", "redis://"+who+"@", 1) }

// works has circuits, accounts and meters work for a few seconds, with an outage, and returns what
// the processes have logged.
func works(t *testing.T, url string) string {
	t.Helper()
	provider := newSource(t)
	callers := hire(t, 2, job{Store: url, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: circuit})
	savers := hire(t, 2, job{Store: url, Spend: spendingOf(1_000_000_000, 1_000_000_000)})
	for _, c := range []*crew{callers, savers} {
		c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
		c.begin()
	}
	time.Sleep(time.Second)
	outage(t, callers, provider, 1200*time.Millisecond)
	for _, e := range savers.all(spent) {
		if e.Reason != "" && !strings.HasPrefix(e.Reason, lateReason) {
			t.Fatalf("refused: %s", e.Reason)
		}
	}
	var said string
	for _, w := range append(callers.workers, savers.workers...) {
		said += w.log.String()
	}
	callers.dismiss()
	savers.dismiss()
	return said
}

// denials returns what a server has refused.
func denials(s *servers.Server) string { return s.Do("acl", "log") }

// A fleet needs no more of its server than the page says.
func TestAUserWhoMayDoLittle(t *testing.T) {
	atOnce(t)
	server := servers.Redis(t)
	server.Do(user(ofAServer)...)
	if said := works(t, as("fleet:hidden", server.URL)); said != "" {
		t.Errorf("it was said:\n%s", said)
	}
	if text := denials(server); text != "" {
		t.Errorf("refused was:\n%s", text)
	}
	used := commands(t, server)
	for _, rule := range strings.Fields(ofAServer) {
		// A server that is healthy is not pinged, scan is of `llmcall circuits`, and hget of
		// circuits with hundreds of failures.
		if name, is := strings.CutPrefix(rule, "+"); is && used[name] == 0 && !slices.Contains([]string{"ping", "scan", "hget", "unsubscribe", "get", "set", "hmget"}, name) {
			t.Errorf("%s was not needed", name)
		}
	}
}

func TestAUserOfAClusterWhoMayDoLittle(t *testing.T) {
	full(t)
	c := servers.Cluster(t)
	for _, s := range c.Nodes {
		s.Do(user(ofAServer, ofACluster)...)
	}
	if said := works(t, as("fleet:hidden", c.URL)); said != "" {
		t.Errorf("it was said:\n%s", said)
	}
	for _, s := range c.Nodes {
		if text := denials(s); text != "" {
			t.Errorf("refused was:\n%s", text)
		}
	}
}

// Behind Sentinels, a process asks the server that they name whether it is the master.
func TestAUserBehindSentinelsWhoMayDoLittle(t *testing.T) {
	full(t)
	g := servers.Sentinel(t)
	for _, s := range g.Servers {
		s.Do(user(ofAServer, "+role")...)
	}
	if said := works(t, as("fleet:hidden", g.URL)); said != "" {
		t.Errorf("it was said:\n%s", said)
	}
	for _, s := range g.Servers {
		if text := denials(s); text != "" {
			t.Errorf("refused was:\n%s", text)
		}
	}
}

// One who may not do what is needed reads what is missing.
func TestAUserWhoMayDoTooLittle(t *testing.T) {
	for _, row := range []struct{ rules, want string }{
		{"-evalsha", "'evalsha'"},
		{"-eval", "'eval'"},
		{"-hgetall", "can't run this command or subcommand"},
		{"-publish", "docs/fleet.md what the user must be allowed"},
		{"-subscribe", "'subscribe'"},
		{"resetchannels &other:*", "does not let this process subscribe"},
		{"resetkeys ~other:*", "NOPERM"},
		{"resetpass >another", "WRONGPASS"},
	} {
		t.Run(row.rules, func(t *testing.T) {
			full(t)
			server := servers.Redis(t)
			server.Do(user(ofAServer, row.rules)...)
			provider := newSource(t)
			c := hire(t, 1, job{Store: as("fleet:hidden", server.URL), Provider: provider.URL, Calls: 1_000_000, Every: 10 * time.Millisecond, AtOnce: 8, Circuit: circuit})
			c.begin()
			time.Sleep(time.Second)
			provider.breaks(true)
			time.Sleep(2 * time.Second)
			said := c.workers[0].log.String()
			if !strings.Contains(said, row.want) || strings.Contains(said, "hidden") {
				t.Errorf("it was said:\n%s", said)
			}
			if n := strings.Count(said, "\n"); n > 6 {
				t.Errorf("%d lines:\n%s", n, said)
			}
			t.Log(said)
			c.dismiss()
		})
	}
}

// A server that speaks TLS is reached with the certificate of who signed its own, or without
// looking at it; otherwise the operator reads why not.
func TestAServerWithTLS(t *testing.T) {
	full(t)
	server := servers.WithTLS(t)
	if said := works(t, server.URL); said != "" {
		t.Errorf("it was said:\n%s", said)
	}
	_, files, _ := strings.Cut(server.URL, "?")
	ca, own, _ := strings.Cut(files, "&")
	bare := strings.TrimSuffix(server.URL, "?"+files)
	if said := works(t, bare+"?skip_verify=true&"+own); said != "" {
		t.Errorf("it was said:\n%s", said)
	}
	for name, row := range map[string]struct{ url, want string }{
		"an unknown signer":          {bare + "?" + own, "certificate signed by unknown authority"},
		"no certificate of its own":  {bare + "?" + ca, "certificate required"},
		"no TLS":                     {strings.Replace(bare, "rediss", "redis", 1), "the fleet's store is lost"},
		"another name than it tells": {strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "localhost"},
	} {
		c := hire(t, 1, job{Store: row.url, Spend: spendingOf(1_000_000, 1_000_000)})
		c.begin()
		c.wait(10*time.Second, "the store to be lost", func() bool { return c.areAll(lost) })
		time.Sleep(time.Second)
		if said := c.workers[0].log.String(); !strings.Contains(said, row.want) {
			t.Errorf("%s: it was said:\n%s", name, said)
		}
		c.dismiss()
	}
}

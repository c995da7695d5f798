package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, dir string, all ...Config) *Book {
	t.Helper()
	b, err := Open(dir, all, Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestAKeyIsFoundByItsHash(t *testing.T) {
	key, hash := NewKey()
	if !regexp.MustCompile(`^llmcall_[A-Za-z0-9_-]{43}$`).MatchString(key) {
		t.Errorf("a key of another form: %d characters", len(key))
	}
	if sum := sha256.Sum256([]byte(key)); hash != hex.EncodeToString(sum[:]) {
		t.Error("the hash is not the key's")
	}
	other, otherHash := NewKey()
	if key == other {
		t.Fatal("the same key twice")
	}
	b := open(t, "", Config{Name: "web", SHA256: strings.ToUpper(hash)}, Config{Name: "app", SHA256: otherHash})
	for k, want := range map[string]string{key: "web", other: "app", "": "", hash: "", key + " ": "", key[:len(key)-1]: ""} {
		c, ok := b.Find(k)
		if ok != (want != "") || ok && c.Name() != want {
			t.Errorf("found %v, want %q", ok, want)
		}
	}
	if shown := fmt.Sprintf("%+v", b.All()); strings.Contains(strings.ToLower(shown), hash) {
		t.Error("a snapshot has a hash")
	}
}

func TestRoutesOfAClient(t *testing.T) {
	for _, c := range []struct {
		routes []string
		route  string
		want   bool
	}{
		{nil, "support", true}, {nil, "*", true}, {[]string{"support"}, "support", true}, {[]string{"support"}, "other", false},
		{[]string{"support"}, "*", false}, {[]string{"*"}, "support", true}, {[]string{"*"}, "*", true},
	} {
		b := open(t, "", Config{Name: "web", SHA256: hashOf("a"), Routes: c.routes})
		if got := b.listed.Load().all[0].Allows(c.route); got != c.want {
			t.Errorf("%q, %q: %v", c.routes, c.route, got)
		}
	}
}

// admit does both steps of a request.
func admit(c *Client, tokens int64) (*Ticket, *Refusal) {
	ticket, refusal := c.Admit()
	if refusal == nil {
		refusal = ticket.Expect(tokens)
	}
	return ticket, refusal
}

// only returns the one client of a book.
func only(b *Book) *Client { return b.listed.Load().all[0] }

func TestARefusalTellsWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight in UTC
		time.Sleep(22 * time.Hour)
		b := open(t, t.TempDir(), Config{Name: "web", SHA256: hashOf("a"), RequestsPerMinute: 60, TokensPerMinute: 6000, MaxConcurrent: 2, MaxCostPerDay: 5})
		c := only(b)
		refused := func(tokens int64, limit string, left float64, after time.Duration, words string) {
			t.Helper()
			_, r := admit(c, tokens)
			if r == nil || r.Limit != limit || r.Left-left > 1e-6 || left-r.Left > 1e-6 || (r.RetryAfter-after).Abs() > time.Microsecond || r.Error() != words {
				t.Errorf("got %+v %v", r, r)
			}
		}
		first, r := admit(c, 4000)
		if r != nil {
			t.Fatal(r)
		}
		refused(3000, LimitTokens, 2000, 10*time.Second, `this gateway lets the client "web" use 6000 tokens a minute, of which 2000 are left: retry after 10s`)
		second, r := admit(c, 2000)
		if r != nil {
			t.Fatal(r)
		}
		first.Done(-1)
		first.Done(0) // does nothing
		first.Done(0)
		second.Done(1000)
		third, _ := admit(c, 500)
		fourth, _ := admit(c, 400)
		refused(10, LimitConcurrent, 0, time.Second, `this gateway serves 2 requests of the client "web" at a time: retry after 1s`)
		third.Done(500)
		fourth.Done(400)
		for range 56 {
			ticket, r := admit(c, 0)
			if r != nil {
				t.Fatal(r)
			}
			ticket.Done(0)
		}
		refused(50, LimitRequests, 0, time.Second, `this gateway lets the client "web" make 60 requests a minute, of which 0 are left: retry after 1s`)
		time.Sleep(time.Minute)

		day := c.Account()
		lent, err := day.Reserve(endpoint.Amount{Nanos: 5 * account.Dollar}, endpoint.Amount{})
		if err != nil {
			t.Fatal(err)
		}
		refused(1, LimitCost, 0, time.Second, `this gateway lets the client "web" spend $5.00 on a day in UTC, of which $0.00 are left: retry after 1s`)
		day.Settle(lent, lent)
		refused(1, LimitCost, 0, time.Hour+59*time.Minute, `this gateway lets the client "web" spend $5.00 on a day in UTC, of which $0.00 are left: retry after 1h59m0s`)
		s := b.All()[0]
		if s.Admitted != 60 || s.Refused != 5 || s.InFlight != 0 || *s.Requests != 60 || *s.Tokens != 6000 || s.Spent != 5*account.Dollar || s.Reserved != 0 || s.SHA256 != "" {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour) // the next day
		if ticket, r := admit(c, 1); r != nil {
			t.Error(r)
		} else {
			ticket.Done(1)
		}
		if s := b.All()[0]; s.Spent != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that is left out, and comes back, has used what it had used; nothing is
// remembered of one that has used nothing, or whose use is over.
func TestAReloadKeepsWhatWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := Config{Name: "web", SHA256: hashOf("a"), RequestsPerMinute: 2, MaxConcurrent: 2, MaxCostPerDay: 5}
		app := Config{Name: "app", SHA256: hashOf("b"), RequestsPerMinute: 2}
		b := open(t, t.TempDir(), web, app)
		c := only(b)
		ticket, _ := admit(c, 0)
		lent, err := c.Account().Reserve(endpoint.Amount{Nanos: 3 * account.Dollar}, endpoint.Amount{})
		if err != nil {
			t.Fatal(err)
		}
		reload := func(all ...Config) {
			t.Helper()
			if err := b.Reload(all); err != nil {
				t.Fatal(err)
			}
		}
		reload()
		if len(b.byName) != 1 || len(b.All()) != 0 {
			t.Errorf("%d clients are remembered, %d are shown", len(b.byName), len(b.All()))
		}
		before := web
		web.SHA256, web.MaxConcurrent, web.MaxCostPerDay = hashOf("c"), 1, 4
		reload(web)
		if only(b) != c {
			t.Fatal("the client is another")
		}
		if s := b.All()[0]; s.InFlight != 1 || *s.Requests != 1 || s.Reserved != 3*account.Dollar {
			t.Errorf("%+v", s)
		}
		if _, r := admit(c, 0); r == nil || r.Limit != LimitConcurrent {
			t.Errorf("%+v", r)
		}
		two := endpoint.Amount{Nanos: 2 * account.Dollar}
		if _, err := c.Account().Reserve(two, two); err == nil {
			t.Error("the old limit of money holds")
		}
		wrong := before
		wrong.MaxCostPerDay = -1
		if err := b.Reload([]Config{wrong}); err == nil || b.All()[0].MaxCostPerDay != 4 {
			t.Errorf("%v: %+v", err, b.All())
		}
		web.MaxCostPerDay = 0
		reload(web)
		if c.Account() != nil {
			t.Error("there is an account without a limit")
		}
		ticket.Done(0)
		c.account.Settle(lent, endpoint.Amount{Nanos: account.Dollar})
		reload(before)
		if s := c.Account().Snapshot(); s.Spent.Nanos != account.Dollar || s.Reserved.Nanos != 0 || s.Limit.Nanos != 5*account.Dollar {
			t.Errorf("%+v", s)
		}
		reload()
		if _, known := b.byName["web"]; !known {
			t.Error("what was spent today is forgotten")
		}
		time.Sleep(24 * time.Hour)
		reload()
		if len(b.byName) != 0 {
			t.Errorf("%d clients are remembered", len(b.byName))
		}
	})
}

// Snapshots are in the order of the configuration.
func TestTheOrderOfClients(t *testing.T) {
	b := open(t, "", Config{Name: "b", SHA256: hashOf("a")}, Config{Name: "a", SHA256: hashOf("b")}, Config{Name: "c", SHA256: hashOf("c")})
	var names []string
	for _, s := range b.All() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"b", "a", "c"}) {
		t.Errorf("%q", names)
	}
}

//go:build !wrongclock

package fleet

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// many is a spending of many accounts and meters, which a Cluster has in different slots.
func many(limit int64) *spending {
	s := &spending{Every: 100 * time.Millisecond}
	for i := range 10 {
		s.Purses = append(s.Purses, need{fmt.Sprint("account ", i), limit, each})
		s.Meters = append(s.Meters, need{fmt.Sprint("meter ", i), 600_000, 100})
	}
	return s
}

// keyOn returns a key of a node that has a text in it, "" if it has none.
func keyOn(s *servers.Server, text string) string {
	for _, key := range strings.Fields(s.Do("keys", "*")) {
		if strings.Contains(key, text) {
			return key
		}
	}
	return ""
}

// Accounts, meters and circuits of a Cluster are on all of its nodes, each of which is told the
// scripts, and told them again when it has lost them. A slot that is moved to another node while it
// is used is followed: nothing is refused or lost, and who watches a circuit there goes on watching.
// The user of all may do no more than the page says.
func TestACluster(t *testing.T) {
	atOnce(t)
	cluster := servers.Cluster(t)
	for _, s := range cluster.Nodes {
		s.Do(user(ofAServer, ofACluster)...)
	}
	url := as("fleet:hidden", cluster.URL)
	const limit = 1_000_000_000
	what := many(limit)
	provider := newSource(t)
	savers := hire(t, 3, job{Store: url, Spend: what})
	callers := hire(t, 3, job{Store: url, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: circuit})
	began := time.Now().Round(0)
	for _, c := range []*crew{savers, callers} {
		c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
		c.begin()
	}
	time.Sleep(1500 * time.Millisecond)
	moving := map[string]string{} // what is to be moved, by the key of it
	for _, s := range cluster.Nodes {
		for _, text := range []string{":purse:", ":meter"} {
			key := keyOn(s, text)
			if key == "" {
				t.Errorf("a node has no %s", text)
			}
			moving[text] = key
		}
		if key := keyOn(s, ":circuit:"); key != "" {
			moving[":circuit:"] = key
		}
		s.Do("script", "flush")
	}
	for text, key := range moving {
		if key == "" {
			t.Fatalf("no key has %s", text)
		}
		cluster.Move(key, func() { time.Sleep(300 * time.Millisecond) })
	}
	moved := time.Now()
	outage(t, callers, provider, 1200*time.Millisecond)
	end := time.Now().Round(0)
	savers.dismiss()
	callers.dismiss()
	for _, s := range cluster.Nodes {
		if text := denials(s); text != "" {
			t.Errorf("refused was:\n%s", text)
		}
	}

	reserved := 0
	for i, p := range what.Purses {
		all := savers.of(spent, p.Name, false, began, time.Now())
		reserved += len(all)
		for reason, n := range reasons(all) {
			t.Errorf("%s: %d of %d refused: %s", p.Name, n, len(all), reason)
		}
		if i < 5 {
			if left, known := rest(t, url, what, p.Name, limit); left != limit-sum(all) {
				t.Errorf("%s: %d are left when %d were spent (%+v)", p.Name, left, sum(all), known)
			}
		}
	}
	for _, m := range what.Meters {
		all := savers.of(taken, m.Name, false, began, time.Now())
		if n := reasons(all); len(n) > 0 {
			t.Errorf("%s: %v of %d refused", m.Name, n, len(all))
		}
	}
	times := compareAll(savers, began, end)
	if !times.within() {
		t.Errorf("%v", times)
	}
	t.Logf("%d reservations of %d accounts, none refused; %v; all slots were moved after %v", reserved, len(what.Purses), times, moved.Sub(began).Round(time.Millisecond))
}

// compareAll compares the reservations of all accounts.
func compareAll(c *crew, from, until time.Time) comparison {
	var sides [2][]event
	for _, e := range c.all(spent) {
		side := 0
		if e.Alone {
			side = 1
		}
		if !e.At.Before(from) && e.At.Before(until) {
			sides[side] = append(sides[side], e)
		}
	}
	return compare(sides[0], sides[1], from)
}

// A node that is killed, or that hangs, takes away only what it has: accounts of other nodes go on
// as ever, those of this node with what is open of them; and the operator is told.
func TestAClusterWithoutANode(t *testing.T) {
	full(t)
	for name, fault := range map[string]struct {
		strike, heal func(*servers.Server)
		forgets      bool
	}{
		"killed, and started empty": {(*servers.Server).Kill, (*servers.Server).Start, true},
		"stopped (SIGSTOP)":         {(*servers.Server).Pause, (*servers.Server).Resume, false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := servers.Cluster(t)
			const limit = 3 * 10 * each * 6 // for eight seconds, as a quarter comes back
			what := many(limit)
			c := hire(t, 3, job{Store: cluster.URL, Spend: what})
			c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
			began := c.begin()
			time.Sleep(2500 * time.Millisecond)
			node := cluster.Nodes[2]
			its := node.Do("keys", "*")
			fault.strike(node)
			struck := time.Now().Round(0)
			time.Sleep(5 * time.Second)
			fault.heal(node)
			healed := time.Now().Round(0)
			time.Sleep(12 * time.Second) // all is spent
			end := time.Now().Round(0)
			said := c.workers[0].log.String()
			c.dismiss()
			if strings.Count(said, "\n") > 6 || strings.Contains(said, "is lost, this") || !strings.Contains(said, "fails for some of what it is asked") || !strings.Contains(said, "does all that it is asked again") {
				t.Errorf("it was said:\n%s", said)
			}
			dry, ran := 0, 0
			for _, p := range what.Purses {
				lost := int64(0)
				if fault.forgets {
					lost = c.changedSince(p.Name, struck.Add(-renewal), struck)
				}
				all := c.of(spent, p.Name, false, began, end)
				for reason, n := range reasons(all) {
					if !strings.Contains(reason, "the fleet's store") && reason != whole {
						t.Errorf("%s: %d were refused: %s", p.Name, n, reason)
					}
				}
				if got := sum(all); got > limit+lost || got < limit*99/100-lost {
					t.Errorf("%s: %d were spent of %d; %d were forgotten", p.Name, got, limit, lost)
				}
				n := reasons(c.of(spent, p.Name, false, struck, healed))
				delete(n, whole)
				if ran++; len(n) > 0 {
					dry++
				}
				t.Logf("%s: in the fault %v", p.Name, n)
			}
			if most := strings.Count(its, ":purse:"); dry > most {
				t.Errorf("%d of %d accounts refused in the fault; the node had %d", dry, ran, most)
			}
			times := compareAll(c, struck, healed)
			if !times.within() {
				t.Errorf("%v", times)
			}
			longest := 0.0
			for _, e := range c.all(spent) {
				if !e.Alone {
					longest = math.Max(longest, e.Took.Seconds())
				}
			}
			t.Logf("%d of %d accounts ran dry in the fault; %v, the longest %.1f ms", dry, ran, times, 1000*longest)
		})
	}
}

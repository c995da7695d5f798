//go:build !wrongclock

package fleet

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet"
	"llmcall/internal/servers"
)

// Six processes spend of three limits: dry runs dry in about six seconds, and within the
// fault's four for each process, which has two seconds' needs open; calm has enough for ever;
// the meter is used up when the fault begins, and a twenty-fourth of what is wanted comes in.
const (
	spenders   = 6
	each       = 1000
	spendEvery = 20 * time.Millisecond
	perMeter   = 60_000
)

func spendingOf(dry, calm int64) *spending {
	return &spending{
		Every:  spendEvery,
		Purses: []need{{"dry", dry, each}, {"calm", calm, each}},
		Meters: []need{{"meter", perMeter, 100}},
	}
}

// full skips what LLMCALL_MODEL=full alone has the time for.
func full(t *testing.T) {
	t.Helper()
	if os.Getenv("LLMCALL_MODEL") != "full" {
		t.Skip("LLMCALL_MODEL=full")
	}
}

// atOnce runs tests at the same time which mostly wait, unless their figures are to be looked at.
func atOnce(t *testing.T) {
	t.Helper()
	if os.Getenv("LLMCALL_MODEL") != "full" {
		t.Parallel()
	}
}

// of returns the events of one name.
func (c *crew) of(kind, name string, alone bool, from, until time.Time) (events []event) {
	for _, e := range c.all(kind) {
		if e.Name == name && e.Alone == alone && !e.At.Before(from) && e.At.Before(until) {
			events = append(events, e)
		}
	}
	return events
}

// sum is how much was used by what some events tell of.
func sum(events []event) (n int64) {
	for _, e := range events {
		n += e.Amount
	}
	return n
}

// reasons counts why what some events tell of was refused.
func reasons(events []event) map[string]int {
	counts := map[string]int{}
	for _, e := range events {
		if e.Reason != "" {
			counts[e.Reason]++
		}
	}
	return counts
}

// changedSince is by how much what was open to the workers of an account has changed at most in a
// time: a store that forgets its last moments has forgotten no more.
func (c *crew) changedSince(name string, from, until time.Time) (n int64) {
	type reach struct{ low, high int64 }
	of := map[int]reach{}
	for _, e := range c.all(opened) {
		if e.Name != name || e.At.After(until) {
			continue
		}
		now, known := of[e.Worker]
		if !known || e.At.Before(from) {
			now = reach{e.Amount, e.Amount}
		}
		of[e.Worker] = reach{min(now.low, e.Amount), max(now.high, e.Amount)}
	}
	for _, r := range of {
		n += r.high - r.low
	}
	return n
}

// highest returns how full the bucket of a meter was at most that all of what was taken goes
// into, without what some workers took.
func highest(taken []event, perMinute float64, without ...int) (most float64) {
	slices.SortFunc(taken, func(a, b event) int { return a.At.Compare(b.At) })
	var level float64
	var last time.Time
	for _, e := range taken {
		if slices.Contains(without, e.Worker) {
			continue
		}
		if !last.IsZero() {
			level = max(0, level-e.At.Sub(last).Seconds()*perMinute/60)
		}
		last = e.At
		level += float64(e.Amount)
		most = max(most, level)
	}
	return most
}

// rest returns what a process that comes after all others can get of an account.
func rest(t *testing.T, url string, s *spending, name string, limit int64) (left int64, known account.Snapshot) {
	t.Helper()
	f, err := fleet.Open(url, fleet.Options{Secret: secretOfTests})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := f.Account(name, endpoint.Amount{Nanos: limit}, s.where())
	for began := time.Now(); time.Since(began) < 10*time.Second && a.Snapshot().Others.Nanos == 0; time.Sleep(20 * time.Millisecond) {
	}
	known = a.Snapshot()
	for range 100 {
		lent, err := a.Reserve(endpoint.Amount{Nanos: limit}, endpoint.Amount{})
		if err == nil {
			a.Settle(lent, lent)
			left += lent.Nanos
			continue
		}
		if refused := err.Error(); !strings.Contains(refused, "the fleet") {
			break // there is no more, and not only no answer
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left, known
}

// While the store fails, each process goes on with what is open to it, and then refuses and says
// why; no reservation waits for the store. When it is back, what was spent meanwhile counts, and
// all that is left can be spent: no more and no less, whoever has died or joined.
func TestSpendingWhileTheStoreFails(t *testing.T) {
	atOnce(t)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if !slices.Contains([]string{"killed, and started empty", "loading old data", "without a replica"}, f.name) {
				full(t)
			}
			atOnce(t)
			url, strike, heal := f.open(t)
			const dry, calm = spenders * each * 50 * 5, 1_000_000_000
			what := spendingOf(dry, calm)
			j := job{Store: url, Spend: what}
			c := hire(t, spenders, j)
			c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
			c.begin()
			time.Sleep(2 * time.Second)
			c.wait(10*time.Second, "the meter to be used up", func() bool {
				return sum(c.of(taken, "meter", false, time.Time{}, time.Now())) >= perMeter
			})
			const killed, joined = 1, spenders
			c.kill(killed)
			time.Sleep(500 * time.Millisecond)
			strike()
			struck := time.Now().Round(0)
			c.wait(10*time.Second, "all to know that the store is lost", func() bool { return c.areAll(lost) })
			alone := latest(c.last(lost))
			time.Sleep(500 * time.Millisecond)
			c.join(j)
			c.wait(10*time.Second, "a process that joins", func() bool { return c.count(ready) == spenders+1 })
			c.begin()
			time.Sleep(3 * time.Second)

			before := time.Now().Round(0)
			heal()
			healed := time.Now().Round(0)
			c.wait(15*time.Second, "all to be connected again", func() bool { return c.areAll(connected) })
			back := latest(c.last(connected))
			c.told(f.says)
			for _, e := range c.all(connected) {
				// A failover is over by itself. Who joins is connected until it asks for something.
				if e.Worker != joined && e.At.After(struck) && e.At.Before(before) {
					before = e.At
				}
			}
			// Until the lease of the dead is over.
			c.wait(30*time.Second, "all to be spent", func() bool {
				now := time.Now()
				return now.Sub(healed) > 5*time.Second && now.Sub(struck) > 13*time.Second && sum(c.of(spent, "dry", false, now.Add(-2*time.Second), now)) == 0
			})
			end := time.Now().Round(0)
			c.dismiss()

			// In the fault.
			all := func(kind, name string) []event { return c.of(kind, name, false, alone, before) }
			for reason, n := range reasons(all(spent, "dry")) {
				if !strings.Contains(reason, "the fleet's store") && reason != whole {
					t.Errorf("%d reservations were refused: %s", n, reason)
				}
			}
			if r := reasons(all(spent, "dry")); r[lostReason] < 10*spenders && before.Sub(struck) > 4*time.Second {
				t.Errorf("in the fault, %v were refused", r)
			}
			for _, e := range all(spent, "calm") {
				if e.Worker != joined && e.Reason != "" {
					t.Fatalf("worker %d was refused what was open to it: %s", e.Worker, e.Reason)
				}
				if e.Worker == joined && e.Reason != lostReason && e.Reason != lateReason {
					t.Fatalf("who joined got %d, %q", e.Amount, e.Reason)
				}
			}
			went := sum(slices.DeleteFunc(all(taken, "meter"), func(e event) bool { return e.Worker == joined }))
			if comes := perMeter / 60 * before.Sub(alone).Seconds(); float64(went) < comes/2 {
				t.Errorf("in the fault %d were taken of the meter, while %.0f came in", went, comes)
			}
			times := compare(c.of(spent, "dry", false, struck, end), c.of(spent, "dry", true, struck, end), struck)
			if !times.within() {
				t.Errorf("%v", times)
			}

			// All together.
			forgotten := map[string]int64{}
			if f.forgets {
				for _, p := range what.Purses {
					forgotten[p.Name] = c.changedSince(p.Name, struck.Add(-renewal), struck)
				}
			}
			for _, p := range what.Purses {
				lost := forgotten[p.Name]
				open := p.Limit/20/spenders + 2*p.Each*int64(time.Second/spendEvery) + 2*p.Each // to the dead, at most
				got := sum(c.of(spent, p.Name, false, time.Time{}, end))
				left, known := rest(t, url, what, p.Name, p.Limit)
				if got > p.Limit+lost {
					t.Errorf("%d were spent of %s, which has %d; %d were forgotten", got, p.Name, p.Limit, lost)
				}
				if counted := known.Others.Nanos; counted < min(got, p.Limit)-lost || counted > got+open+lost {
					t.Errorf("%d count as spent of %s; %d were, up to %d were open to the dead, and %d were forgotten", counted, p.Name, got, open, lost)
				} else if left != max(0, p.Limit-counted) {
					t.Errorf("%d are left of %s when %d of %d count as spent", left, p.Name, counted, p.Limit)
				}
			}
			most := highest(c.of(taken, "meter", false, time.Time{}, end), perMeter, joined)
			if limit := perMeter + 3*perMeter/60.0 + spenders*100; most > limit {
				t.Errorf("the meter was full with %.0f, want at most %.0f", most, limit)
			}
			after := sum(c.of(taken, "meter", false, back.Add(time.Second), end))
			if seconds := end.Sub(back).Seconds() - 1; float64(after) > perMeter/60*(seconds+2)+spenders*100 {
				t.Errorf("in %.1f s after the fault %d were taken of the meter", seconds, after)
			}
			longest := slices.MaxFunc(c.of(spent, "dry", false, struck, end), func(a, b event) int { return int(a.Took - b.Took) })
			t.Logf("lost after %v, back after %v; of reservations: %v, the longest %v; in the fault %v; spent of dry %d of %d, forgotten %d; meter %.0f of %d, in the fault %d in %v",
				alone.Sub(struck).Round(time.Millisecond), max(0, back.Sub(healed)).Round(time.Millisecond), times, longest.Took.Round(100*time.Microsecond),
				reasons(all(spent, "dry")), sum(c.of(spent, "dry", false, time.Time{}, end)), dry, forgotten["dry"], most, perMeter, went, before.Sub(alone).Round(100*time.Millisecond))
		})
	}
}

const (
	lostReason = "the fleet's store is lost, so that nothing more can be lent"
	lateReason = "the fleet's store has not lent more in time"
	// renewal is how old a process' last report may be when a store comes back that was
	// emptied, if nothing has changed since then.
	renewal = 3500 * time.Millisecond
)

// A day ends for all processes when it does for the store: each has the new day's limit with the
// others, and what is under way counts on the day of its reservation.
func TestTheEndOfADay(t *testing.T) {
	atOnce(t)
	store := servers.Redis(t)
	const limit = spenders * each * 50 * 2 // for less than three seconds
	what := spendingOf(limit, 1_000_000_000)
	midnight := 6 * time.Second // from now, in a place that has it then
	now := time.Now().UTC().Add(midnight)
	what.East = 24*60*60 - int(now.Sub(now.Truncate(24*time.Hour))/time.Second)
	c := hire(t, spenders, job{Store: store.URL, Spend: what})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	// Both days are spent.
	days := func() map[int64]int64 {
		all := map[int64]int64{}
		for _, e := range c.all(spent) {
			if e.Name == "dry" && !e.Alone {
				all[e.Day] += e.Amount
			}
		}
		return all
	}
	c.wait(30*time.Second, "a second day to be spent", func() bool {
		got := 0
		for _, n := range days() {
			if n >= limit-limit/1000 {
				got++
			}
		}
		return got == 2
	})
	time.Sleep(500 * time.Millisecond)
	end := time.Now().Round(0)
	c.dismiss()
	all := days()
	if len(all) != 2 {
		t.Errorf("%d days: %v", len(all), all)
	}
	for day, n := range all {
		if n > limit || n < limit-limit/1000 {
			t.Errorf("on day %d they spent %d of %d", day, n, limit)
		}
	}
	turned := map[int]time.Time{}
	for _, e := range c.all(spent) {
		if _, known := turned[e.Worker]; !known && !e.Alone && e.Day > 0 && all[e.Day-1] > 0 {
			turned[e.Worker] = e.At
		}
	}
	apart := latest(turned).Sub(earliest(turned))
	if len(turned) != spenders || apart > 2*time.Second {
		t.Errorf("%d processes turned to the new day, within %v", len(turned), apart)
	}
	late := reasons(c.of(spent, "dry", false, earliest(turned), end))
	for reason, n := range late {
		if reason != whole && reason != lateReason {
			t.Errorf("on the new day %d were refused: %s", n, reason)
		}
	}
	times := compare(c.of(spent, "dry", false, earliest(turned).Add(-time.Second), end), c.of(spent, "dry", true, earliest(turned).Add(-time.Second), end), earliest(turned).Add(-time.Second))
	if !times.within() {
		t.Errorf("%v", times)
	}
	t.Logf("two days were spent, %v of %d; all turned to the second within %v; refused on it: %v; %v", all, limit, apart.Round(100*time.Microsecond), late, times)
}

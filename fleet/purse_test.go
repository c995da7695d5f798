package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
)

func money(n int64) endpoint.Amount { return endpoint.Amount{Nanos: n} }

// holder is a process with an account that it shares.
type holder struct {
	t      *testing.T
	client *lua.Client
	fleet  *Fleet
	purse  *account.Account
	closed bool
	isCut  bool
}

// hold starts a process.
func hold(t *testing.T, server *lua.Server, limit endpoint.Amount) *holder {
	t.Helper()
	h := &holder{t: t, client: server.Dial()}
	f, err := open(h.client, Options{Secret: "of the tests", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.fleet, h.purse = f, f.Account("the day", limit, time.UTC)
	t.Cleanup(h.end)
	return h
}

func (h *holder) part() *purse { return h.purse.Lender.(*purse) }

// end ends the process in good order.
func (h *holder) end() {
	if h.closed {
		return
	}
	h.closed = true
	if err := h.fleet.Close(); err != nil {
		h.t.Error(err)
	}
}

// cut says whether it can't reach the store.
func (h *holder) cut(yes bool) {
	h.isCut = yes
	h.client.Down(yes)
}

// die ends it as kill -9 does.
func (h *holder) die() {
	h.client.Down(true)
	h.end()
}

// spend reserves and uses all of want, part by part, and returns what it got.
func (h *holder) spend(want, each int64) (got int64) {
	for got < want {
		lent, err := h.purse.Reserve(money(min(each, want-got)), endpoint.Amount{})
		if err != nil {
			return got
		}
		h.purse.Settle(lent, lent)
		got += lent.Nanos
	}
	return got
}

// drain spends all that processes can get, and waits for what they have leased.
func drain(all ...*holder) (got int64) {
	for range 60 {
		for _, h := range all {
			got += h.spend(mostAmount, max(1, h.purse.Snapshot().Limit.Nanos/1000))
		}
		time.Sleep(time.Second)
	}
	return got
}

func atNoon(t *testing.T, f func(t *testing.T, server *lua.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(12 * time.Hour) // noon
		f(t, lua.New())
	})
}

// One process can use all of the limit, and what it has used is known to one that comes
// later, also a day long; on the next day there is a new limit.
func TestALoneProcessUsesItAll(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		one := hold(t, server, money(1_000_000))
		if got := one.spend(2_000_000, 1000); got != 1_000_000 {
			t.Errorf("it got %d", got)
		}
		one.end()
		two := hold(t, server, money(1_000_000))
		for _, later := range []time.Duration{0, time.Minute, 11 * time.Hour} {
			time.Sleep(later)
			if got := two.spend(1, 1); got != 0 {
				t.Errorf("%v later another got %d", later, got)
			}
		}
		if s := two.purse.Snapshot(); s.Others != money(1_000_000) || s.Spent != (endpoint.Amount{}) {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		if got := two.spend(2_000_000, 1000); got != 1_000_000 {
			t.Errorf("on the next day it got %d", got)
		}
	})
}

// A reservation that finds enough open asks nobody, and one that does not asks once.
func TestWhatIsAskedOfTheStore(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		one := hold(t, server, money(1_000_000))
		synctest.Wait()
		before := server.Count()
		if got := one.spend(40_000, 100); got != 40_000 || server.Count() != before {
			t.Errorf("got %d with %d exchanges", got, server.Count()-before)
		}
		for range 3 {
			if got := one.spend(200_000, 200_000); got != 200_000 {
				t.Errorf("got %d", got)
			}
		}
		synctest.Wait()
		if n := server.Count() - before; n != 3 {
			t.Errorf("%d exchanges", n)
		}
		time.Sleep(2 * time.Minute) // nothing happens
		before = server.Count()
		time.Sleep(time.Minute)
		if n := server.Count() - before; n > 20 {
			t.Errorf("%d exchanges of one that does nothing", n)
		}
		time.Sleep(20 * time.Minute)
		before = server.Count()
		time.Sleep(30 * time.Hour)
		if n := server.Count() - before; n > 2 {
			t.Errorf("%d exchanges of one that was not used for long", n)
		}
	})
}

// Eight processes with very different needs use the limit together, exactly.
func TestEightUseItTogether(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		server.Latency(time.Millisecond)
		var all []*holder
		for range 8 {
			all = append(all, hold(t, server, money(limit)))
		}
		var spent int64
		for range 300 {
			for i, h := range all {
				spent += h.spend(int64(100*(i+1)*(i+1)), 100)
			}
			time.Sleep(time.Second)
		}
		if spent > limit || spent < limit*99/100 {
			t.Errorf("they spent %d of %d", spent, limit)
		}
	})
}

// What a process that has died had not opened is lent to others when its lease is over. What
// was open to it is not, unless it comes back.
func TestWhatADeadProcessGivesBack(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		for range 5 {
			one.spend(20_000, 100)
			time.Sleep(time.Second)
		}
		one.client.Down(true) // for now
		open := one.purse.Snapshot().Open.Nanos
		lost := open - 100_000
		if lost <= 0 || lost > 100_000 {
			t.Fatalf("%d are open that are not used", lost)
		}
		time.Sleep(5 * time.Second)
		before := two.spend(limit, 100)
		time.Sleep(10 * time.Second)
		after := two.spend(limit, 100)
		if before+after != limit-open || after == 0 {
			t.Errorf("before the lease was over %d, afterwards %d, together not %d", before, after, limit-open)
		}
		one.client.Down(false) // it reports that it has not used what was open
		time.Sleep(20 * time.Second)
		if got := one.spend(limit, 100) + two.spend(limit, 100); got != lost {
			t.Errorf("%d came back, want %d", got, lost)
		}
	})
}

// One that ends in good order gives back all that it has not used, at once.
func TestWhatIsGivenBackAtTheEnd(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		for range 50 {
			h := hold(t, server, money(limit))
			if got := h.spend(1000, 100); got != 1000 {
				t.Fatalf("got %d", got)
			}
			lent, err := h.purse.Reserve(money(500), money(500))
			if err != nil {
				t.Fatal(err)
			}
			h.end()
			h.purse.Settle(lent, money(500))
			if _, err := h.purse.Reserve(money(1), money(1)); !errors.Is(err, errClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
		last := hold(t, server, money(limit))
		if got := last.spend(limit, 1000); got != limit-50*1500 {
			t.Errorf("%d were left, want %d", got, limit-50*1500)
		}
	})
}

// Who closes a fleet that is being closed already does not cut off what is given back.
func TestWhatIsGivenBackIfTwoCloseTheFleet(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		h := hold(t, server, money(limit))
		if got := h.spend(1000, 100); got != 1000 {
			t.Fatalf("got %d", got)
		}
		time.Sleep(2 * time.Second)
		server.Latency(2 * time.Millisecond)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { h.fleet.Close() })
		}
		both.Wait()
		if got := hold(t, server, money(limit)).spend(limit, 1000); got != limit-1000 {
			t.Errorf("%d were left, want %d", got, limit-1000)
		}
	})
}

// Who was cut off over midnight, with a request under way, was not among those of the new day who
// are gone: what they have spent still counts when he is back.
func TestWhoComesLateToADayTakesNothingFromThoseWhoAreGone(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one := hold(t, server, money(limit))
		lent, err := one.purse.Reserve(money(200_000), money(200_000))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(12*time.Hour - 5*time.Second)
		one.cut(true)
		time.Sleep(time.Minute)
		two := hold(t, server, money(limit))
		got := two.spend(300_000, 1000)
		two.end()
		one.cut(false)
		time.Sleep(10 * time.Second)
		one.purse.Settle(lent, lent)
		got += lent.Nanos + drain(one, hold(t, server, money(limit)))
		if got > limit || got < limit*99/100 {
			t.Errorf("they spent %d of %d", got, limit)
		}
	})
}

// Who makes an account or a limit of a minute of a closed fleet waits for nobody, and is told so.
func TestWhatIsMadeOfAClosedFleet(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		h := hold(t, server, money(1000))
		h.end()
		began := time.Now()
		late := h.fleet.Account("late", money(1000), time.UTC)
		if _, err := late.Reserve(money(1), money(1)); !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
		m := h.fleet.Meter("late", 60)
		m.Fetch(1)
		if wait := m.Wait(1); wait != 0 {
			t.Errorf("a request waits %v", wait)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

// While the store is lost nobody waits for it, and each goes on with what is open to it. One
// that began without the store has nothing, and says why.
func TestTheStoreIsLost(t *testing.T) {
	for name, lose := range map[string]func(s *lua.Server, yes bool){"down": (*lua.Server).Down, "hung": (*lua.Server).Hang} {
		t.Run(name, func(t *testing.T) {
			atNoon(t, func(t *testing.T, server *lua.Server) {
				const limit = 1_000_000
				one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
				time.Sleep(5 * time.Second)
				lose(server, true)
				time.Sleep(20 * time.Second)
				late := hold(t, server, money(limit))
				begun := time.Now()
				for _, h := range []*holder{one, two} {
					if got := h.spend(limit, 100); got > limit/stated/2 || got < limit/stated/2*95/100 {
						t.Errorf("%d of the stated %d", got, limit/stated/2)
					}
				}
				_, err := late.purse.Reserve(money(100), money(100))
				if e, ok := errors.AsType[*account.Error](err); !ok || !errors.Is(err, errLost) && !errors.Is(err, errLate) || e.Reserved != limit || !strings.Contains(err.Error(), "the fleet's store") {
					t.Errorf("without the store: %v", err)
				}
				if waited := time.Since(begun); waited > 3*callWait {
					t.Errorf("waited %v", waited)
				}
				lose(server, false)
				time.Sleep(10 * time.Second)
				if got := drain(late); got < limit-2*limit/stated || got > limit-limit/stated+limit/stated*5/100 {
					t.Errorf("with the store again %d of %d", got, limit)
				}
			})
		})
	}
}

// A store that was restarted empty hears of all that was spent from the first that comes
// back, also of what the dead had spent; nothing is lent twice.
func TestAStoreThatComesBackEmpty(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		dead, one, two := hold(t, server, money(limit)), hold(t, server, money(limit)), hold(t, server, money(limit))
		dead.spend(300_000, 1000)
		one.spend(100_000, 1000)
		time.Sleep(2 * time.Second)
		open := dead.purse.Snapshot().Open.Nanos
		dead.die()
		time.Sleep(100 * time.Second)
		server.Flush()
		time.Sleep(6 * time.Second)
		late := hold(t, server, money(limit))
		got := drain(one, two, late)
		if want := limit - 100_000 - open; got != int64(want) {
			t.Errorf("they got %d, want %d", got, want)
		}
	})
}

// A store that was restarted with what it had saved a while ago has forgotten what was spent since: it
// hears of it like an empty one, and nothing is lent twice, however little the first that comes
// back has spent, and although the store knows it.
func TestAStoreThatComesBackWithOldData(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		got := one.spend(100_000, 1000)
		time.Sleep(2 * time.Second)
		restart := server.Save()
		time.Sleep(10 * time.Second)
		joined := hold(t, server, money(limit))
		got += two.spend(300_000, 1000) + joined.spend(300_000, 1000)
		time.Sleep(2 * time.Minute) // what is open changes no more
		server.Down(true)
		two.cut(true)
		joined.cut(true)
		time.Sleep(20 * time.Second)
		restart()
		server.Down(false)
		time.Sleep(6 * time.Second)
		got += one.spend(limit, 1000)
		two.cut(false)
		joined.cut(false)
		got += drain(one, two, joined)
		if got > limit || got < limit*99/100 {
			t.Errorf("they spent %d of %d", got, limit)
		}
	})
}

// The same holds for one for which a day began while the store was lost: it knows nothing of that
// day.
func TestWhoComesFirstToAnEmptyStoreKnowsNothingOfANewDay(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		time.Sleep(12*time.Hour - 10*time.Second)
		one.spend(100, 100)
		time.Sleep(5 * time.Second)
		one.cut(true)
		time.Sleep(time.Minute)
		got := two.spend(900_000, 1000)
		two.cut(true)
		server.Flush()
		one.cut(false)
		for !one.fleet.Status().Connected {
			time.Sleep(10 * time.Millisecond)
		}
		got += one.spend(limit, 1000)
		two.cut(false)
		got += drain(one, two)
		if most := limit + limit/int64(stated); got > most || got < limit*99/100 {
			t.Errorf("they spent %d, want %d to %d", got, limit, most)
		}
	})
}

// A process that began while the store was lost, and is the first that comes back to it when it
// is empty, can't know what was spent: until the others must be back too it gets the stated part
// alone, and says why it gets no more.
func TestWhoComesFirstToAnEmptyStoreKnowsNothing(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		got := one.spend(300_000, 1000) + two.spend(300_000, 1000)
		time.Sleep(5 * time.Second)
		server.Down(true)
		time.Sleep(time.Minute) // they try again every five seconds at most
		late := hold(t, server, money(limit))
		server.Flush()
		server.Down(false)
		for range 100 {
			got += late.spend(limit, 1000)
			time.Sleep(100 * time.Millisecond)
			if _, err := late.purse.Reserve(money(limit), money(limit)); err != nil && (one.fleet.Status().Connected || two.fleet.Status().Connected) {
				break
			} else if !errors.Is(err, errLost) && !errors.Is(err, errLate) && !errors.Is(err, errJoined) {
				t.Fatalf("it is refused with %v", err)
			}
		}
		got += drain(one, two, late)
		if most := limit + limit/int64(stated); got > most || got < limit*99/100 {
			t.Errorf("they spent %d, want %d to %d", got, limit, most)
		}
	})
}

// A late report does not take back what was opened after it.
func TestALateReport(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		for range 3 {
			one.spend(50_000, 1000)
			time.Sleep(time.Second)
		}
		server.Hang(true) // what is sent now is run later
		time.Sleep(3 * time.Second)
		server.Hang(false)
		time.Sleep(30 * time.Second)
		one.spend(limit, 1000)
		if got := one.purse.Snapshot().Spent.Nanos + two.spend(limit, 1000); got > limit {
			t.Errorf("they spent %d", got)
		}
	})
}

// shifted is a store whose clock differs from that of the process.
type shifted struct {
	store.Store
	by time.Duration
}

var nowIn = regexp.MustCompile(`"now":"(\d+)"`)

func (s shifted) Run(ctx context.Context, calls []store.Call) []store.Result {
	all := s.Store.Run(ctx, calls)
	for i := range all {
		all[i].Text = nowIn.ReplaceAllStringFunc(all[i].Text, func(text string) string {
			n, err := strconv.ParseInt(nowIn.FindStringSubmatch(text)[1], 10, 64)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprintf(`"now":"%d"`, n+s.by.Milliseconds())
		})
	}
	return all
}

// Days are those of the store's clock: processes whose own clocks are ahead of it, or behind
// it, by more than a day do not get another limit, and go over to the next day with it.
func TestAClockThatIsWrong(t *testing.T) {
	for _, off := range []time.Duration{30 * time.Hour, -30 * time.Hour} {
		atNoon(t, func(t *testing.T, server *lua.Server) {
			const limit = 1_000_000
			var all []*holder
			for range 2 {
				f := openAt(t, shifted{server.Dial(), off})
				all = append(all, &holder{t: t, fleet: f, purse: f.Account("the day", money(limit), time.UTC)})
			}
			there := time.Now().Add(off)
			today := there.Unix() / (24 * 60 * 60)
			for i := range int64(2) {
				if got := drain(all...); got != limit {
					t.Errorf("on day %d they got %d", i, got)
				}
				for _, h := range all {
					if day := h.purse.Snapshot().Day; day != today+i {
						t.Errorf("day %d, want %d", day, today+i)
					}
				}
				time.Sleep(24*time.Hour - time.Minute)
			}
		})
	}
}

// Accounts that are made at once, before the store's time is known, have something open.
func TestAccountsThatAreMadeAtOnce(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		server.Latency(2 * time.Millisecond)
		f := openAt(t, server.Dial())
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				a := f.Account(fmt.Sprint("account ", i), money(1000), time.UTC)
				if _, err := a.Reserve(money(10), money(10)); err != nil {
					t.Error(err)
				}
				if s := a.Snapshot(); s.Open != money(50) {
					t.Errorf("%+v", s)
				}
			})
		}
		all.Wait()
	})
}

// An account that nobody has any more, and to which nothing is open, is not exchanged.
func TestAnAccountThatIsGone(t *testing.T) {
	f := openAt(t, lua.New().Dial())
	f.Account("the day", money(0), time.UTC)
	for range 100 {
		runtime.GC()
		f.mu.Lock()
		n := len(f.parts)
		f.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond) // the worker looks once a second
	}
	t.Error("it is still shared")
}

// At midnight the limit is a new one; what is under way then was lent by the day before, and
// takes its place on the new day too until it ends.
func TestMidnight(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		time.Sleep(12*time.Hour - 2*time.Second)
		lent, err := one.purse.Reserve(money(600_000), money(600_000))
		if err != nil {
			t.Fatal(err)
		}
		if got := two.spend(limit, 1000); got > limit-600_000 || got < limit*3/10 {
			t.Errorf("before midnight %d", got)
		}
		time.Sleep(4 * time.Second)
		if s := one.purse.Snapshot(); s.Spent.Nanos != 0 || s.Reserved.Nanos != 600_000 {
			t.Errorf("%+v", s)
		}
		if got := two.spend(limit, 1000); got > limit-600_000 || got < limit*3/10 {
			t.Errorf("while it is under way %d", got)
		}
		one.purse.Settle(lent, money(100_000))
		time.Sleep(4 * time.Second)
		drain(one, two)
		if got := one.purse.Snapshot().Spent.Nanos + two.purse.Snapshot().Spent.Nanos; got != limit {
			t.Errorf("on the new day they have spent %d", got)
		}
	})
}

// Another limit holds for what is lent from then on; a lower one takes back what is open.
func TestAnotherLimit(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		const limit = 1_000_000
		one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
		spent := one.spend(300_000, 1000) + two.spend(300_000, 1000)
		for _, next := range []int64{700_000, 500_000, 2_000_000} {
			for _, h := range []*holder{one, two} {
				h.purse.SetLimit(money(next))
			}
			time.Sleep(3 * time.Second)
			spent += drain(one, two)
			if want := max(next, 700_000); spent != want {
				t.Errorf("with a limit of %d they spent %d, want %d", next, spent, want)
			}
		}
	})
}

// loanOf is a reservation.
type loanOf struct {
	by   *holder
	lent endpoint.Amount
	day  int64
}

// bank is the naive model: all that was ever billed or may be, by the day of its
// reservation, whoever has died since.
type bank struct {
	t      *testing.T
	server *lua.Server
	all    []*holder // also the dead
	loans  []loanOf
	billed map[int64]endpoint.Amount
	limit  endpoint.Amount
	most   endpoint.Amount // the highest limit so far
	lost   endpoint.Amount // what a restart has lost at most
}

func (w *bank) living() []*holder {
	return slices.DeleteFunc(slices.Clone(w.all), func(h *holder) bool { return h.closed })
}

// exposed returns the bill of a day if each request under way used all that it may.
func (w *bank) exposed(day int64) endpoint.Amount {
	sum := w.billed[day]
	for _, l := range w.loans {
		if l.day == day {
			sum = plus(sum, l.lent)
		}
	}
	return sum
}

// restart restarts the store, empty or with old data, and notes what those who come back may not
// know. Nobody joins until they have.
func (w *bank) restart(how func()) {
	synctest.Wait()
	var total, least sums
	known := false
	for _, h := range w.all {
		s := h.purse.Snapshot()
		open := sumsOf(larger(s.Open, plus(s.Spent, s.Reserved)))
		for i := range total {
			total[i] += open[i]
		}
		p := h.part()
		p.mu.Lock() // which the worker takes before it changes anything
		if !h.closed && !h.isCut && p.last != nil {
			for i := range least {
				if sum := p.others[i] + open[i]; !known || sum < least[i] {
					least[i] = sum
				}
			}
			known = true
		}
		p.mu.Unlock()
	}
	for i := range total {
		total[i] = max(0, total[i]-least[i])
	}
	w.lost = plus(w.lost, total.amount())
	how()
	w.server.Hang(false)
	w.server.Down(false)
	time.Sleep(8 * time.Second) // they are back after five, and know of each other after another
}

// Whatever happens to processes, their connections and the store: what they have spent and
// may still spend on a day is never above the limit.
func TestNoFleetPassesItsLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(t *testing.T) { // a panic of rapid must not end the bubble's goroutine
			defer func() { failed = recover() }()
			runBank(rt, t)
		})
		switch {
		case rt.Failed():
			rt.FailNow() // rapid tells failures apart by their places: not that of the panic below
		case failed != nil:
			panic(failed)
		}
	})
}

func runBank(t *rapid.T, within *testing.T) {
	amount := func(label string, low, high int64) endpoint.Amount {
		return endpoint.Amount{Tokens: rapid.Int64Range(low, high).Draw(t, label), Nanos: rapid.Int64Range(low, high).Draw(t, label)}
	}
	w := &bank{t: within, server: lua.New(), billed: map[int64]endpoint.Amount{}, limit: amount("limit", 100, 600)}
	w.most = w.limit
	w.server.Latency(rapid.SampledFrom([]time.Duration{0, time.Millisecond, 20 * time.Millisecond}).Draw(t, "latency"))
	time.Sleep(23*time.Hour + 59*time.Minute)
	for range rapid.IntRange(2, 8).Draw(t, "processes") {
		w.all = append(w.all, hold(within, w.server, w.limit))
	}
	defer func() {
		w.server.Hang(false)
		for _, h := range w.living() {
			h.end()
		}
	}()
	pick := func(t *rapid.T) *holder {
		living := w.living()
		if len(living) == 0 {
			t.Skip()
		}
		return living[rapid.IntRange(0, len(living)-1).Draw(t, "process")]
	}
	reserve := func(h *holder, want endpoint.Amount) {
		if lent, err := h.purse.Reserve(want, endpoint.Amount{}); err == nil {
			w.loans = append(w.loans, loanOf{h, lent, h.purse.Snapshot().Day})
		}
	}
	one := func(t *rapid.T) {
		h, want := pick(t), amount("want", 0, 60)
		for range rapid.IntRange(1, 10).Draw(t, "times") {
			reserve(h, want)
		}
	}
	all := func(t *rapid.T) {
		want := amount("want", 0, 60)
		for range rapid.IntRange(1, 10).Draw(t, "times") {
			for _, h := range w.living() {
				reserve(h, want)
			}
		}
	}
	saved := w.server.Save()
	repair := func(*rapid.T) {
		w.server.Hang(false)
		w.server.Down(false)
		for _, h := range w.living() {
			h.cut(false)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"one reserves": one, "one reserves, 2": one, "all reserve": all, "all reserve, 2": all, "all reserve, 3": all,
		"repair": repair, "repair, 2": repair,
		"settle": func(t *rapid.T) {
			if len(w.loans) == 0 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(w.loans)-1).Draw(t, "which")
			l := w.loans[i]
			if l.by.closed {
				t.Skip() // nobody knows what it used: all counts
			}
			w.loans = slices.Delete(w.loans, i, i+1)
			used := endpoint.Amount{Tokens: rapid.Int64Range(0, l.lent.Tokens).Draw(t, "used"), Nanos: rapid.Int64Range(0, l.lent.Nanos).Draw(t, "used")}
			l.by.purse.Settle(l.lent, used)
			w.billed[l.day] = plus(w.billed[l.day], used)
		},
		"time": func(t *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 300 * time.Millisecond, time.Second, 4 * time.Second, 15 * time.Second, 90 * time.Second}).Draw(t, "time"))
		},
		"death":  func(t *rapid.T) { pick(t).die() },
		"end":    func(t *rapid.T) { pick(t).end() },
		"cut":    func(t *rapid.T) { pick(t).cut(true) },
		"return": func(t *rapid.T) { pick(t).cut(false) },
		"hang":   func(*rapid.T) { w.server.Hang(true) },
		"down":   func(*rapid.T) { w.server.Down(true) },
		"empty":  func(*rapid.T) { w.restart(w.server.Flush) },
		"save":   func(*rapid.T) { saved = w.server.Save() },
		"old data": func(*rapid.T) {
			w.restart(saved)
			saved = w.server.Save()
		},
		"join": func(t *rapid.T) {
			if len(w.living()) == 8 {
				t.Skip()
			}
			w.all = append(w.all, hold(within, w.server, w.limit))
		},
		"limit": func(t *rapid.T) {
			w.limit = amount("limit", 100, 600)
			w.most = larger(w.most, w.limit)
			for _, h := range w.living() {
				h.purse.SetLimit(w.limit)
			}
		},
		"": func(t *rapid.T) {
			days := map[int64]bool{}
			for _, l := range w.loans {
				days[l.day] = true
			}
			for day := range w.billed {
				days[day] = true
			}
			for day := range days {
				got, allowed := w.exposed(day), plus(w.most, w.lost)
				if got.Tokens > allowed.Tokens || got.Nanos > allowed.Nanos {
					t.Fatalf("on day %d %+v are spent or may be, of %+v and %+v that the store has lost", day, got, w.most, w.lost)
				}
			}
		},
	})
}

// The largest limits and those of one are held exactly.
func TestLimitsOfAnySize(t *testing.T) {
	for _, limit := range []int64{1, 2, 19, 1<<53 - 1, 1 << 53, 1<<63 - 1} {
		atNoon(t, func(t *testing.T, server *lua.Server) {
			one, two := hold(t, server, money(limit)), hold(t, server, money(limit))
			if got := drain(one, two); got != min(limit, mostAmount) {
				t.Errorf("of %d they got %d", limit, got)
			}
		})
	}
}

// Without a limit of one kind, that kind is counted and not limited.
func TestALimitOfOneKind(t *testing.T) {
	atNoon(t, func(t *testing.T, server *lua.Server) {
		one, two := hold(t, server, money(1000)), hold(t, server, money(1000))
		lent, err := one.purse.Reserve(endpoint.Amount{Tokens: 1e12, Nanos: 5}, endpoint.Amount{Tokens: 1e12})
		if err != nil {
			t.Fatal(err)
		}
		one.purse.Settle(lent, lent)
		time.Sleep(4 * time.Second)
		if s := two.purse.Snapshot(); fmt.Sprint(s.Others) != "{1000000000000 5}" {
			t.Errorf("%+v", s)
		}
	})
}

// A reservation of which several accounts are shared waits for all of them together.
func TestLendersShareOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := lua.New()
		f := openAt(t, server.Dial())
		team := f.Account("team", money(1_000_000), time.UTC)
		user := f.Account("user", money(1_000_000), time.UTC, team)
		time.Sleep(2 * time.Second)
		server.Latency(4 * time.Millisecond)
		begun := time.Now()
		_, err := user.Reserve(money(500_000), money(500_000))
		if took := time.Since(begun); took > 5*time.Millisecond {
			t.Errorf("waited %v: %v", took, err)
		}
	})
}

// What is open to an account that nobody has any more is given back, as of any that was not
// used for a while. Nobody else could do that.
func TestWhatIsOpenToAnAccountThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1_000_000
		server := lua.New()
		f := openAt(t, server.Dial())
		collect := func() {
			for range 3 {
				runtime.GC()
			}
			time.Sleep(2 * time.Second)
		}
		for range 20 {
			f.Account("the day", money(limit), time.UTC)
			collect()
		}
		time.Sleep(idleAfter + time.Minute)
		collect()
		f.mu.Lock()
		n := len(f.parts)
		f.mu.Unlock()
		if n != 0 {
			t.Errorf("%d are still shared", n)
		}
		if got := hold(t, server, money(limit)).spend(limit, 1000); got != limit {
			t.Errorf("%d are left of %d that nobody has spent", got, limit)
		}
	})
}

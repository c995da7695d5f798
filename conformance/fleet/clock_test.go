package fleet

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/internal/servers"
)

// A tap is between a store and its clients, and keeps what goes through it.
type tap struct {
	net.Listener
	mu       sync.Mutex
	up, down bytes.Buffer
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				return
			}
			go p.pass(server, client, &p.up)
			go p.pass(client, server, &p.down)
		}
	}()
	return p
}

// pass copies until one side ends, and ends the other.
func (p *tap) pass(to, from net.Conn, kept *bytes.Buffer) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		kept.Write(buffer[:n])
		p.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

var number = regexp.MustCompile(`[0-9]{10,19}`)

// dates returns the numbers in a text that are a time within a day of now: in seconds,
// milliseconds, microseconds or nanoseconds since 1970.
func dates(text string, now time.Time) (found []string) {
	for _, digits := range number.FindAllString(text, -1) {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue
		}
		for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond, time.Nanosecond} {
			if at := time.Unix(0, 0).Add(time.Duration(n) * unit); n < 1<<62/int64(unit) && at.Sub(now).Abs() < 24*time.Hour {
				found = append(found, digits)
			}
		}
	}
	return found
}

// Of eight processes five have clocks that are wrong: by a day, by a step in the middle of the
// outage, by one back while the circuit is open, by a drift. The fleet's circuit is one as if
// they were right.
func TestWrongClocks(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	right := job{Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 8 * time.Millisecond, AtOnce: 8, Circuit: circuit}
	c := hire(t, 3, right)
	const broken = 3 * time.Second
	for _, clock := range [][]turn{
		{{By: day}}, {{By: -day}},
		{{By: time.Second}, {After: broken + 300*time.Millisecond, By: 10 * time.Minute}},
		{{By: time.Minute}, {After: broken + 700*time.Millisecond, By: -time.Hour}},
		{{Drift: 0.2}},
	} {
		wrong := right
		wrong.Clock = clock
		c.join(wrong)
	}
	c.wait(time.Minute, "all workers to be ready", func() bool { return c.count(ready) == 8 })
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(broken)
	outage(t, c, provider, 2500*time.Millisecond)
	c.dismiss()
	var off [8]time.Duration
	for _, e := range c.all(call) {
		if !e.Shown.IsZero() {
			off[e.Worker] = e.Shown.Sub(e.At).Round(100 * time.Millisecond)
		}
		if e.Took > 5*time.Second {
			t.Errorf("a call of worker %d took %v", e.Worker, e.Took)
		}
	}
	t.Logf("at the end the clocks were wrong by %v", off)
	if off[3] != day || off[4] != -day || off[5] != 10*time.Minute || off[6] != -time.Hour || off[7] < time.Second {
		t.Error("the clocks were not as wrong as they should be")
	}
}

// A day is that of the store: who has another one by its own clock, or by a clock that is set
// meanwhile, spends of the same limit as the others, and none on a day of its own.
func TestADayOfAWrongClock(t *testing.T) {
	store := servers.Redis(t)
	const limit = 1_500_000
	right := job{Store: store.URL, Spend: &spending{Every: 20 * time.Millisecond, Purses: []need{{"dry", limit, 1000}}}}
	now, err := strconv.ParseInt(strings.Fields(store.Do("time"))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if left := 86_400 - now%86_400; left < 60 {
		right.Spend.East = 3600 // no midnight in the test
	}
	c := hire(t, 2, right)
	for _, clock := range [][]turn{{{By: day}}, {{By: -day}}, {{By: time.Second}, {After: 2 * time.Second, By: 40 * day}}, {{By: time.Second}, {After: 2 * time.Second, By: -40 * day}}} {
		wrong := right
		wrong.Clock = clock
		c.join(wrong)
	}
	c.wait(time.Minute, "all workers to be ready", func() bool { return c.count(ready) == 6 })
	c.begin()
	whole := func() (all int64) {
		for _, e := range c.all(spent) {
			if !e.Alone {
				all += e.Amount
			}
		}
		return all
	}
	c.wait(time.Minute, "the day to be spent", func() bool { return whole() >= limit*95/100 })
	time.Sleep(time.Second) // nobody spends more than there is
	c.dismiss()
	days := map[int64]int{}
	for _, e := range c.all(spent) {
		if !e.Alone {
			days[e.Day]++
		}
	}
	today := (now + int64(right.Spend.East)) / 86_400
	if all := whole(); all > limit || len(days) != 1 || days[today] == 0 {
		t.Errorf("%d of %d was spent, on %v; today is %d", all, int64(limit), days, today)
	}
}

// No process tells the store what time it is: what goes to it are differences, and numbers
// that the store has given out itself, by which it orders what it says. So the clock of a
// process can be wrong by any amount.
func TestNoClockIsTrusted(t *testing.T) {
	store := servers.Redis(t)
	between := newTap(t, store.Addr)
	provider := newSource(t)
	const processes = 3
	c := hire(t, processes, job{
		Store: "redis://" + between.Addr().String() + "/0", Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: circuit,
	})
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	c.begin()
	time.Sleep(time.Second)
	outage(t, c, provider, 1500*time.Millisecond)
	c.dismiss()
	now := time.Now()
	between.mu.Lock()
	defer between.mu.Unlock()
	said, told := between.down.String(), between.up.String()
	if len(said) < 1000 || !strings.Contains(told, "probed") {
		t.Fatalf("nothing was shown: to the store went %q", told)
	}
	given := dates(said, now)
	for _, date := range dates(told, now) {
		if !slices.Contains(given, date) {
			t.Errorf("to the store went %s, which is a date and not one of its own", date)
		}
	}
	t.Logf("to the store went %d bytes, and no date; from it %d bytes, with %d of its own", len(told), len(said), len(given))
	if text := fmt.Sprint(store.Do("time")); len(dates(text, now)) == 0 {
		t.Errorf("no date was found in what TIME says: %q", text)
	}
}

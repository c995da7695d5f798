package fleet

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
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

// wrongs are clocks that are wrong: by a day, by a step after a time, as an operator makes it
// or a daemon, by a step back, by a drift.
func wrongs(after, later time.Duration) [][]turn {
	return [][]turn{
		{{By: day}}, {{By: -day}},
		{{By: time.Second}, {After: after, By: 10 * time.Minute}},
		{{By: time.Minute}, {After: later, By: -time.Hour}},
		{{Drift: 0.2}},
	}
}

// hireWrong starts workers whose clocks are right, and one for each that is wrong.
func hireWrong(t *testing.T, n int, right job, clocks [][]turn) *crew {
	t.Helper()
	c := hire(t, n, right)
	for _, clock := range clocks {
		wrong := right
		wrong.Clock = clock
		c.join(wrong)
	}
	c.wait(time.Minute, "all workers to be ready", func() bool { return c.count(ready) == len(c.workers) })
	c.wait(10*time.Second, "all to be connected", func() bool { return c.areAll(connected) })
	return c
}

// Of eight processes five have clocks that are wrong, one of them set in the middle of an
// outage, and one while the circuit is open. The fleet's circuit is one as if they were right.
func TestWrongClocks(t *testing.T) {
	store := servers.Redis(t)
	provider := newSource(t)
	const broken = 3 * time.Second
	c := hireWrong(t, 3, job{
		Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 8 * time.Millisecond, AtOnce: 8, Circuit: circuit,
	}, wrongs(broken+300*time.Millisecond, broken+700*time.Millisecond))
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

// A teller is a provider that refuses all requests for a time, and says for how long, when it
// is told to, from the next request of one worker on.
type teller struct {
	*httptest.Server
	mu    sync.Mutex
	next  string // the worker
	dated bool   // says it as an HTTP date
	shut  [2]time.Time
	came  map[string]time.Time // the last request of each worker that was answered
	all   []time.Time
}

func newTeller(t *testing.T) *teller {
	p := &teller{came: map[string]time.Time{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

const shutFor = 3 * time.Second

func (p *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	worker := r.Header.Get(workerHeader)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.all = append(p.all, now)
	if worker == p.next {
		p.next = ""
		p.shut = [2]time.Time{now, now.Add(shutFor)}
		if p.dated {
			p.shut[1] = now.Add(shutFor + time.Second).Truncate(time.Second)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if now.Before(p.shut[1]) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(time.Until(p.shut[1]).Seconds()))))
		if p.dated {
			w.Header().Set("Retry-After", p.shut[1].UTC().Format(http.TimeFormat))
		}
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error": {"message": "too many requests", "code": "rate_limit_exceeded"}}`)
		return
	}
	p.came[worker] = now
	fmt.Fprint(w, `{"choices": [{"message": {"content": "384,400 km"}, "finish_reason": "stop"}]}`)
}

// between counts the requests of a time.
func (p *teller) between(from, until time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.all {
		if !at.Before(from) && at.Before(until) {
			n++
		}
	}
	return n
}

// look waits until something is so of the provider.
func (p *teller) look(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		so := is()
		p.mu.Unlock()
		if so {
			return
		}
		if time.Since(began) > 40*time.Second {
			t.Fatalf("waited 40 s for %s", what)
		}
	}
}

// A limit of requests a minute is that of the fleet, and a time that one process is told holds
// for all, whatever the clocks show: those of all are ahead by days, so that a date which is
// held against one of them has passed; or of eight, five are wrong each in its way.
func TestRateOfWrongClocks(t *testing.T) {
	ahead := [][]turn{{{By: day}}, {{By: 2 * day}}, {{By: day}, {After: 2 * time.Second, By: 30 * day}}, {{By: day, Drift: 0.2}}}
	for _, crew := range []struct {
		name   string
		rights int
		clocks [][]turn
		tells  int // how many of the workers are told
	}{{"all ahead", 0, ahead, 1}, {"each in its way", 3, wrongs(2*time.Second, 3*time.Second), 8}} {
		t.Run(crew.name, func(t *testing.T) {
			if crew.tells > 1 && os.Getenv("LLMCALL_MODEL") != "full" {
				t.Skip("LLMCALL_MODEL=full")
			}
			store, provider := servers.Redis(t), newTeller(t)
			const perSecond = 50
			c := hireWrong(t, crew.rights, job{
				Store: store.URL, Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 2, Circuit: circuit, PerMinute: perSecond * 60,
			}, crew.clocks)
			began := c.begin()
			time.Sleep(3 * time.Second)
			lasted := time.Since(began)
			n, most := provider.between(began, began.Add(lasted)), perSecond*(lasted.Seconds()+1)
			t.Logf("%d requests in %v, of at most %.0f", n, lasted.Round(time.Millisecond), most)
			if float64(n) > most || float64(n) < most/3 {
				t.Errorf("%d requests in %v, want at most %.0f and not much less", n, lasted, most)
			}
			for worker := range crew.tells {
				for _, dated := range []bool{true, false}[:min(2, crew.tells)] {
					provider.check(t, c, worker, dated)
				}
			}
		})
	}
}

// check tells a worker a time, again if the machine may have been too busy to tell the others.
func (p *teller) check(t *testing.T, c *crew, worker int, dated bool) {
	t.Helper()
	early := 0
	for range 3 {
		if early = p.tell(t, c, worker, dated); early == 0 {
			return
		}
	}
	t.Errorf("worker %d, as a date %v: %d requests came 0.7 s after the first refusal or later, but before the time was over", worker, dated, early)
}

// tell refuses from the next request of a worker on, and returns how many requests came
// although all could know. All come back afterwards.
func (p *teller) tell(t *testing.T, c *crew, worker int, dated bool) int {
	t.Helper()
	name := strconv.Itoa(worker)
	p.mu.Lock()
	p.next, p.dated = name, dated
	p.mu.Unlock()
	p.look(t, "a request of worker "+name, func() bool { return p.next == "" })
	p.mu.Lock()
	shut := p.shut
	p.mu.Unlock()
	time.Sleep(time.Until(shut[1]))
	p.look(t, "all to come back", func() bool {
		for i := range c.workers {
			if !p.came[strconv.Itoa(i)].After(shut[1]) {
				return false
			}
		}
		return true
	})
	early := p.between(shut[0].Add(700*time.Millisecond), shut[1])
	t.Logf("worker %d, as a date %v: of a time of %v %d requests knew nothing, %d of them after 0.7 s; all were back %v after it",
		worker, dated, shut[1].Sub(shut[0]).Round(time.Millisecond), p.between(shut[0], shut[1]), early, time.Since(shut[1]).Round(time.Millisecond))
	return early
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

// No process tells the store what time it is: what goes to it are differences, and the store's own
// time as far as it is known. So the clock of a process can be wrong by any amount. Here all are
// wrong by the same, and no date near to what they show goes to the store.
func TestNoClockIsTrusted(t *testing.T) {
	store := servers.Redis(t)
	between := newTap(t, store.Addr)
	provider := newSource(t)
	const processes, ahead = 3, 10 * day
	c := hire(t, processes, job{
		Store: "redis://" + between.Addr().String() + "/0", Provider: provider.URL, Calls: 1_000_000, Every: 20 * time.Millisecond, AtOnce: 8, Circuit: circuit,
		Clock: []turn{{By: ahead}},
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
	if len(said) < 1000 || !strings.Contains(told, "probed") || len(dates(told, now)) == 0 {
		t.Fatalf("nothing was shown: to the store went %q", told)
	}
	for _, date := range dates(told, now.Add(ahead)) {
		t.Errorf("to the store went %s, which is a date that the processes show", date)
	}
	t.Logf("to the store went %d bytes with %d dates, all of them the store's", len(told), len(dates(told, now)))
}

package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"pgregory.net/rapid"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/internal/limiter"
	"llmcall/pace"
)

const s = time.Second

// crowd is a number of processes with one provider, which applies a limit of requests a
// second. Each sends what its callers want: requests at random times, which wait for a turn.
type crowd struct {
	t       *testing.T
	limit   float64 // requests a second
	burst   int
	windows bool   // of a minute, in place of a bucket
	hint    string // "", "second", "windows"
	answer  time.Duration
	alone   bool // not a fleet
	seed    uint64
	server  *lua.Server
	limits  pace.Limits // configured
	cost    int64       // tokens of a request, as it is said before
	uses    int64       // and as it is
	spent   []spent

	begin    time.Time
	mu       sync.Mutex
	limiter  *limiter.Limiter
	account  *limiter.Account
	answers  []time.Duration // when they were sent
	refusals []time.Duration
	by       map[int][]time.Duration
	wanted   map[int][]time.Duration // when its callers wanted to send
	closed   time.Duration           // a told time begins then
	closedTo time.Duration
	untold   time.Duration // it answers again, before the time that it told; 0: it does not
	all      sync.WaitGroup
}

// spent is what was used at a time.
type spent struct {
	at       time.Duration
	requests int
	tokens   int64
}

// sender is one of them.
type sender struct {
	c      *crowd
	n      int
	fleet  *Fleet
	client *lua.Client
	pacer  *pace.Pacer
	chance *rand.Rand
	wants  func(time.Duration) float64 // requests a second
	ctx    context.Context
	kill   func()

	mu      sync.Mutex
	waiting int
}

func (c *crowd) now() time.Duration { return time.Since(c.begin) }

func (c *crowd) start() {
	c.begin = time.Now()
	c.by, c.wanted = map[int][]time.Duration{}, map[int][]time.Duration{}
	if c.limit > 0 {
		c.limiter = limiter.New(limiter.Limits{RequestsPerMinute: int(c.limit * 60), Burst: c.burst, Windows: c.windows})
	}
	if c.answer == 0 {
		c.answer = 500 * time.Millisecond
	}
	c.server = lua.New()
	c.server.Latency(time.Millisecond)
	c.server.Delay(time.Millisecond)
}

// add starts a process. It ends when ctx does.
func (c *crowd) add(n int, wants func(time.Duration) float64, until time.Duration) *sender {
	p := &sender{c: c, n: n, chance: rand.New(rand.NewPCG(uint64(n), 7+c.seed)), wants: wants, pacer: &pace.Pacer{}}
	p.pacer.Rand = rand.New(rand.NewPCG(uint64(n), 8)).Float64
	p.ctx, p.kill = context.WithCancel(context.Background())
	if !c.alone {
		p.client = c.server.Dial()
		f, err := open(p.client, Options{Secret: secretOfTests, Log: quiet})
		if err != nil {
			c.t.Fatal(err)
		}
		f.id = fmt.Sprintf("%02d", n)
		p.fleet = f
		f.sharePacer(endpoint.Key{Model: "acme"}, p.pacer)
	}
	p.pacer.Configure(c.limits)
	c.all.Go(func() {
		p.arrivals(until)
		p.kill()
		if p.fleet != nil {
			p.fleet.Close()
		}
	})
	return p
}

func (p *sender) arrivals(until time.Duration) {
	for p.c.now() < until && p.ctx.Err() == nil {
		rate := p.wants(p.c.now())
		if rate < 0.01 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		pause := time.Duration(p.chance.ExpFloat64() / rate * 1e9)
		time.Sleep(min(pause, time.Second))
		if pause > time.Second { // exponential waits have no memory
			continue
		}
		p.mu.Lock()
		full := p.waiting >= 200
		if !full {
			p.waiting++
		}
		p.mu.Unlock()
		if !full {
			p.c.all.Go(p.call)
		}
	}
}

func (p *sender) call() {
	c := p.c
	c.mu.Lock()
	c.wanted[p.n] = append(c.wanted[p.n], c.now())
	c.mu.Unlock()
	for attempt := 0; ; attempt++ {
		turn, err := p.pacer.Wait(p.ctx, pace.Cost{Again: attempt > 0, Tokens: c.cost})
		if attempt == 0 {
			p.mu.Lock()
			p.waiting--
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
		sent := c.now()
		ok, told := c.admit(p.n, sent)
		if ok {
			time.Sleep(c.answer)
			if c.uses > 0 {
				p.pacer.Used(turn, c.uses)
				c.mu.Lock()
				c.spent = append(c.spent, spent{c.now(), 0, c.uses - c.cost})
				c.mu.Unlock()
			}
			p.pacer.Answered(turn, c.tell())
			return
		}
		time.Sleep(30 * time.Millisecond)
		p.pacer.Refused(turn, told)
		p.pacer.Done(turn)
		time.Sleep(70 * time.Millisecond)
	}
}

func (c *crowd) admit(n int, sent time.Duration) (bool, *pace.Told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var over *limiter.Excess
	closed := sent >= c.closed && sent < c.closedTo && (c.untold == 0 || sent < c.untold)
	if closed {
		over = &limiter.Excess{Wait: c.closedTo - sent}
	} else if c.limiter != nil {
		c.account, over = c.limiter.Admit(1, 0, time.Now())
	}
	c.by[n] = append(c.by[n], sent)
	c.spent = append(c.spent, spent{sent, 1, c.cost})
	if over == nil {
		c.answers = append(c.answers, sent)
		return true, nil
	}
	c.refusals = append(c.refusals, sent)
	if closed {
		return false, &pace.Told{HasWait: true, Wait: over.Wait}
	}
	switch c.hint {
	case "second":
		return false, &pace.Told{HasWait: true, Wait: time.Duration(math.Ceil(over.Wait.Seconds())) * time.Second}
	case "windows":
		return false, c.rooms()
	}
	return false, nil
}

func (c *crowd) tell() *pace.Told {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hint != "windows" || c.limiter == nil {
		return nil
	}
	return c.rooms()
}

func (c *crowd) rooms() *pace.Told {
	r := c.limiter.Rooms(c.account, time.Now())[limiter.Requests]
	return &pace.Told{Windows: []pace.Window{{Limit: r.Limit, Remaining: r.Remaining, Reset: r.Reset}}}
}

// within counts times in [from, to).
func within(times []time.Duration, from, to time.Duration) int {
	n := 0
	for _, t := range times {
		if t >= from && t < to {
			n++
		}
	}
	return n
}

func always(r float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return r }
}

var uneven = []float64{1, 1, 1, 1, 2, 4, 8, 14} // of 32

// eight starts processes with uneven demand, twice the limit in all.
func (c *crowd) eight(lasts time.Duration) []*sender {
	c.start()
	var all []*sender
	for i, w := range uneven {
		all = append(all, c.add(i, always(w/32*2*c.limit), lasts))
	}
	return all
}

// used is the part of the limit that was used in a time.
func (c *crowd) used(from, to time.Duration) float64 {
	return float64(within(c.answers, from, to)) / (c.limit * (to - from).Seconds())
}

// refused is how many refusals there were for an answer.
func (c *crowd) refused(from, to time.Duration) float64 {
	return float64(within(c.refusals, from, to)) / float64(max(1, within(c.answers, from, to)))
}

// shareOf is the part of all requests in a time that a process has sent.
func (c *crowd) shareOf(n int, from, to time.Duration) float64 {
	all := 0
	for _, times := range c.by {
		all += within(times, from, to)
	}
	return float64(within(c.by[n], from, to)) / float64(max(1, all))
}

// What sharing gives: eight processes whose callers want twice the limit, in parts of 1, 1, 1,
// 1, 2, 4, 8 and 14 of 32, beside the same without a fleet.
func TestEightProcessesShareALimit(t *testing.T) {
	lasts, bound := 180*s, 0.85
	if !full() {
		lasts, bound = 90*s, 0.8 // the slow start is a larger part of it
	}
	run := func(limit float64, hint string, alone bool) *crowd {
		c := &crowd{limit: limit, burst: 5, hint: hint, alone: alone}
		synctest.Test(t, func(t *testing.T) {
			c.t = t
			c.eight(lasts)
			c.all.Wait()
		})
		return c
	}
	t.Log("| limit | told with a refusal | used by a fleet | refusals an answer | of those that want 1/16: least | used without | refusals an answer | least |")
	t.Log("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, limit := range limitsOfTests() {
		for _, hint := range []string{"", "second", "windows"} {
			c := run(limit, hint, false)
			row := fmt.Sprintf("| %.0f/s | %s | %s |", limit, cmp.Or(map[string]string{"second": "whole seconds", "windows": "windows"}[hint], "nothing"), c.row(lasts))
			if full() {
				row += " " + run(limit, hint, true).row(lasts) + " |"
			}
			t.Log(row)
			if c.used(0, lasts) < bound || c.refused(0, lasts) > 0.1 {
				t.Errorf("%v/s, %q: used %.3f, want %v; %.3f refusals an answer, want 0.1", limit, hint, c.used(0, lasts), bound, c.refused(0, lasts))
			}
			for i := range 4 { // none of them gets less than it wants, or nearly so
				if got, want := within(c.answersOf(i), lasts/3, lasts), within(c.wanted[i], lasts/3, lasts-5*s); float64(got) < 0.9*float64(want) {
					t.Errorf("%v/s, %q: process %d got %d answers, wants %d", limit, hint, i, got, want)
				}
			}
		}
	}
}

// The law is the same for two processes and for a hundred, each of which asks the store about
// once a second.
func TestFleetsOfOtherSizes(t *testing.T) {
	if !full() {
		t.Skip("LLMCALL_MODEL=full")
	}
	for _, n := range []int{2, 30, 100} {
		for _, limit := range []float64{5, 60} {
			synctest.Test(t, func(t *testing.T) {
				const lasts = 120 * s
				c := &crowd{t: t, limit: limit, burst: 5}
				c.start()
				for i := range n {
					c.add(i, always(2*limit*float64(i+1)/float64(n*(n+1)/2)), lasts)
				}
				c.all.Wait()
				used, refused, asked := c.used(0, lasts), c.refused(0, lasts), float64(c.server.Count())/float64(n)/lasts.Seconds()
				t.Logf("%3d processes, %2.0f/s: %.2f used, %.3f refusals an answer, %.2f calls of the store a process and second", n, limit, used, refused, asked)
				if used < 0.85 || refused > 0.12 || asked > 1.5 {
					t.Error("want 0.85, 0.12, 1.5")
				}
			})
		}
	}
}

// answersOf returns when a process sent what was answered.
func (c *crowd) answersOf(n int) []time.Duration {
	return slices.DeleteFunc(slices.Clone(c.by[n]), func(at time.Duration) bool { return slices.Contains(c.refusals, at) })
}

func (c *crowd) row(lasts time.Duration) string {
	least := math.Inf(1)
	for i := range 4 {
		least = min(least, float64(len(c.answersOf(i)))/float64(len(c.answers)))
	}
	return fmt.Sprintf("%.0f %% | %.3f | %.3f", 100*c.used(0, lasts), c.refused(0, lasts), least)
}

// limitsOfTests are those of a provider, in requests a second.
func limitsOfTests() []float64 {
	if testing.Short() {
		return []float64{20}
	}
	return []float64{5, 20, 60}
}

// Demand that moves to another process is served there, as soon as the backlog of the first
// allows it.
func TestDemandMoves(t *testing.T) {
	for _, limit := range limitsOfTests() {
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{t: t, limit: limit, burst: 5}
			c.start()
			busy := func(now time.Duration) int { return map[bool]int{false: 0, true: 5}[now > 60*s] }
			for i := range 8 {
				c.add(i, func(now time.Duration) float64 {
					if i == busy(now) {
						return 1.5 * limit
					}
					return limit / 20
				}, 120*s)
			}
			c.all.Wait()
			for _, to := range []time.Duration{60 * s, 120 * s} {
				from := to - 55*s
				used, refused, share := c.used(from, to), c.refused(from, to), c.shareOf(busy(to-1), from, to)
				t.Logf("%2.0f/s, until %v: used %.3f, %.3f refusals an answer, %.2f of it by the busy one", limit, to, used, refused, share)
				if used < 0.85 || refused > 0.1 || share < 0.25 {
					t.Error("want 0.85, 0.1, 0.25")
				}
			}
		})
	}
}

// A told time that one process hears holds for all, and they do not return together.
func TestAToldTimeHoldsForAll(t *testing.T) {
	for _, limit := range limitsOfTests() {
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{t: t, limit: limit, burst: 5, closed: 60 * s, closedTo: 80 * s}
			c.eight(140 * s)
			c.all.Wait()
			slices.Sort(c.refusals)
			i, _ := slices.BinarySearch(c.refusals, 60*s)
			heard := c.refusals[i] + 30*time.Millisecond + 10*time.Millisecond // and pushed to the others
			all := slices.Concat(c.answers, c.refusals)
			early, first := within(all, heard, 80*s), within(all, 80*s, 81*s)
			t.Logf("%2.0f/s: %d early, %d in the first second, then used %.3f, %.3f refusals an answer", limit, early, first, c.used(85*s, 140*s), c.refused(85*s, 140*s))
			if early > 0 || float64(first) > limit+1 || first == 0 || c.used(85*s, 140*s) < 0.65 {
				t.Error("want none, the limit, 0.65")
			}
		})
	}
}

// During a long told time all processes together test once a minute whether it holds. When the
// provider answers one, all go on.
func TestALongToldTimeIsTestedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minutes := 8
		if full() {
			minutes = 20
		}
		untold := time.Duration(minutes) * time.Minute
		c := &crowd{t: t, limit: 20, burst: 5, closed: 60 * s, closedTo: untold + 10*time.Minute, untold: untold}
		c.eight(untold + 5*time.Minute)
		c.all.Wait()
		tests := within(c.refusals, 62*s, untold)
		first := slices.Min(slices.DeleteFunc(slices.Clone(c.answers), func(at time.Duration) bool { return at < untold }))
		t.Logf("%d tests in %d minutes, answered again at %v, then used %.3f", tests, minutes-1, first, c.used(first+5*s, first+60*s))
		if tests < minutes/4 || tests > minutes*3/2 || first > untold+5*time.Minute || c.used(first+5*s, first+60*s) < 0.8 {
			t.Errorf("want about %d, soon, 0.8", minutes-1)
		}
	})
}

func TestWhatHappensToProcessesAndStore(t *testing.T) {
	type bounds struct{ used, refused, back float64 } // from 63 s on; while they come back
	usual, outage := bounds{0.75, 0.1, 0.5}, bounds{0.75, 0.2, 0.3}
	for i, row := range []struct {
		name string
		do   func(c *crowd, all []*sender)
		want bounds
	}{
		{"nothing", func(*crowd, []*sender) {}, usual},
		{"the largest dies", func(_ *crowd, all []*sender) { all[7].kill() }, usual},
		{"one joins", func(c *crowd, _ []*sender) { c.add(8, always(c.limit), 150*s) }, usual},
		{"the store is gone for 30 s", func(c *crowd, _ []*sender) { c.server.Down(true); time.Sleep(30 * s); c.server.Down(false) }, outage},
		{"it hangs for 30 s", func(c *crowd, _ []*sender) { c.server.Hang(true); time.Sleep(30 * s); c.server.Hang(false) }, outage},
		{"it is restarted empty", func(c *crowd, _ []*sender) { c.server.Flush() }, usual},
		{"it comes back empty after 30 s", func(c *crowd, _ []*sender) {
			c.server.Down(true)
			time.Sleep(30 * s)
			c.server.Flush()
			c.server.Down(false)
		}, outage},
		{"it loses messages", func(c *crowd, _ []*sender) { c.server.Mute(true) }, usual},
		{"it is slow", func(c *crowd, _ []*sender) {
			c.server.Latency(100 * time.Millisecond)
			c.server.Delay(100 * time.Millisecond)
		}, usual},
		{"one is cut off for 30 s", func(_ *crowd, all []*sender) {
			all[6].client.Down(true)
			time.Sleep(30 * s)
			all[6].client.Down(false)
		}, outage},
	} {
		for _, hint := range []string{"", "second"} {
			if !full() && hint != "" || testing.Short() && i%3 != 0 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				c := &crowd{t: t, limit: 20, burst: 5, hint: hint}
				all := c.eight(150 * s)
				time.Sleep(60 * s)
				row.do(c, all)
				c.all.Wait()
				t.Logf("%-30s %-8q before: %.3f, %.3f; 63 to 90 s: %.3f, %.3f; to 96 s: %.3f, %.3f; later: %.3f, %.3f", row.name, hint, c.used(40*s, 60*s), c.refused(40*s, 60*s),
					c.used(63*s, 90*s), c.refused(63*s, 90*s), c.used(90*s, 96*s), c.refused(90*s, 96*s), c.used(96*s, 150*s), c.refused(96*s, 150*s))
				if c.used(63*s, 90*s) < row.want.used || c.used(96*s, 150*s) < row.want.used-0.1 || c.used(90*s, 96*s) < row.want.back {
					t.Errorf("want %v used, %v while they come back", row.want.used, row.want.back)
				}
				if c.refused(63*s, 90*s) > row.want.refused || c.refused(90*s, 96*s) > 4*row.want.refused || // of about 120 requests
					c.refused(96*s, 150*s) > 0.1 {
					t.Errorf("want %v refusals an answer", row.want.refused)
				}
			})
		}
	}
}

// A process that dies gives its part to the others within three seconds.
func TestTheDeadHaveNoPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, limit: 20, burst: 5}
		c.start()
		var all []*sender
		for i := range 4 {
			all = append(all, c.add(i, always(20), 60*s))
		}
		part := func() float64 { return all[0].pacer.Snapshot().Rate / all[0].pacer.Report().Rate.PerSecond }
		time.Sleep(30 * s)
		before := part()
		all[3].kill()
		time.Sleep(3100 * time.Millisecond)
		if after := part(); math.Abs(before-0.25) > 0.01 || math.Abs(after-1.0/3) > 0.01 {
			t.Errorf("a part of %.3f, then %.3f; want a quarter, then a third", before, after)
		}
		c.all.Wait()
	})
}

// Free pacers ask the store once, and say nothing.
func TestFreePacersSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t}
		c.start()
		for i := range 8 {
			c.add(i, always(20), 60*s)
		}
		time.Sleep(5 * s)
		before := c.server.Count()
		time.Sleep(50 * s)
		if n := c.server.Count() - before; n > 0 || before > 16 {
			t.Errorf("%d calls of the store, and %d later", before, n)
		}
		c.all.Wait()
	})
}

// A process that joins sends at the rate of the others from the beginning, and a rate that nobody
// needs any more is forgotten by all.
func TestAJoinerAdoptsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, limit: 5, burst: 5}
		all := c.eight(40 * s)
		time.Sleep(30 * s)
		joiner := c.add(8, always(0), 200*s)
		var got, want pace.Rate
		for range 100 { // there may be an episode at this moment
			time.Sleep(10 * time.Millisecond)
			got, want = joiner.pacer.Report().Rate, all[0].pacer.Report().Rate
			if got.Epoch == want.Epoch && math.Abs(got.PerSecond/want.PerSecond-1) <= 0.05 {
				break
			}
		}
		if got.Epoch != want.Epoch || math.Abs(got.PerSecond/want.PerSecond-1) > 0.05 {
			t.Errorf("%+v, want %+v", got, want)
		}
		time.Sleep(150 * s) // the others have ended
		if !joiner.pacer.Snapshot().Free {
			t.Errorf("%+v", joiner.pacer.Snapshot())
		}
		late := c.add(9, always(0), 200*s)
		time.Sleep(s)
		if !late.pacer.Snapshot().Free {
			t.Errorf("a rate that is forgotten is adopted: %+v", late.pacer.Snapshot())
		}
		c.all.Wait()
	})
}

// mostInAMinute returns the largest number in any minute.
func mostInAMinute(all []spent) (requests int, tokens int64) {
	slices.SortFunc(all, func(a, b spent) int { return cmp.Compare(a.at, b.at) })
	first, n, sum := 0, 0, int64(0)
	for _, now := range all {
		for all[first].at <= now.at-time.Minute {
			n -= all[first].requests
			sum -= all[first].tokens
			first++
		}
		n, sum = n+now.requests, sum+now.tokens
		requests, tokens = max(requests, n), max(tokens, sum)
	}
	return requests, tokens
}

// No minute has more than the configured limits, in all processes together, and what they allow
// is used. (What is corrected only after an answer is not known before: so much can be over.)
func TestConfiguredLimitsHoldForAll(t *testing.T) {
	const lasts = 5 * time.Minute
	for _, row := range []struct {
		requests, tokens float64
		cost, uses       int64
		over             int64 // tokens
		store            string
	}{
		{requests: 30}, {requests: 600}, {requests: 6000},
		{tokens: 60_000, cost: 1000}, {tokens: 60_000, cost: 1000, uses: 500, over: 5000}, {tokens: 600_000, cost: 1000, uses: 1500, over: 10_000},
		{requests: 600, tokens: 300_000, cost: 1000, uses: 900, over: 2000},
		{requests: 600, store: "down"}, {requests: 600, store: "hangs"}, {tokens: 300_000, cost: 1000, store: "down"}, {requests: 600, store: "empty"},
		{requests: 6000, store: "slow"}, {tokens: 3_000_000, cost: 1000, store: "slow"},
	} {
		if testing.Short() && (row.uses > 0 || row.requests == 6000 || row.tokens >= 300_000) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{t: t, limits: pace.Limits{RequestsPerMinute: row.requests, TokensPerMinute: row.tokens}, cost: row.cost, uses: row.uses}
			c.start()
			demand := 2 * row.requests / 60
			if row.tokens > 0 {
				demand = 2 * row.tokens / 60 / float64(cmp.Or(row.uses, row.cost))
			}
			for i, w := range uneven {
				c.add(i, always(w/32*demand), lasts)
			}
			time.Sleep(100 * s)
			switch row.store {
			case "down":
				c.server.Down(true)
				time.Sleep(100 * s)
				c.server.Down(false)
			case "hangs":
				c.server.Hang(true)
				time.Sleep(100 * s)
				c.server.Hang(false)
			case "slow":
				c.server.Latency(200 * time.Millisecond)
				time.Sleep(100 * s)
				c.server.Latency(0)
			case "empty":
				c.server.Flush()
			}
			c.all.Wait()
			var requests int
			var tokens int64
			for _, x := range c.spent {
				if x.at < lasts {
					requests += x.requests
					tokens += x.tokens
				}
			}
			inAMinute, tokensInAMinute := mostInAMinute(c.spent)
			t.Logf("%+v: %d requests, %d at most in a minute; %d tokens, %d at most; %d calls of the store", row, requests, inAMinute, tokens, tokensInAMinute, c.server.Count())
			mostRequests, mostTokens := row.requests, row.tokens+float64(row.over)
			if row.store != "" { // what is left of leases, and a burst
				mostRequests, mostTokens = mostRequests*1.05, mostTokens*1.05
			}
			if row.requests > 0 && float64(inAMinute) > mostRequests || row.tokens > 0 && float64(tokensInAMinute) > mostTokens {
				t.Error("above the limit")
			}
			if max(float64(requests)/5/row.requests, float64(tokens)/5/row.tokens) < 0.9 {
				t.Error("want nine tenths used")
			}
		})
	}
}

// fairly is max-min fairness from its definition: all get the same, little by little, until they
// have what they need; what is left is shared.
func fairly(rate float64, needs []float64) []float64 {
	const drops = 200_000
	n := len(needs)
	parts := make([]float64, n)
	for left := drops; left > 0; {
		given := false
		for i := range parts {
			if least := leastPart * rate / float64(n); parts[i] < max(needs[i], least) && left > 0 {
				parts[i] += rate / drops
				left--
				given = true
			}
		}
		if !given {
			for i := range parts {
				parts[i] += float64(left) * rate / drops / float64(n)
			}
			break
		}
	}
	return parts
}

func TestFairIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.1, 100).Draw(t, "rate")
		needs := rapid.SliceOfN(rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 50)), 1, 12).Draw(t, "needs")
		parts, naive, sum := fair(rate, needs), fairly(rate, needs), 0.0
		for i, p := range parts {
			sum += p
			if math.Abs(p-naive[i]/rate) > 1e-3 {
				t.Fatalf("%v of %v: part %d is %.4f, want %.4f", rate, needs, i, p, naive[i]/rate)
			}
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("%v of %v: the parts sum to %v", rate, needs, sum)
		}
	})
}

// What a process tells does not depend on its date.
func TestAWrongClockChangesNothing(t *testing.T) {
	tells := func(wait time.Duration) (all []string) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(wait)
			p := &pace.Pacer{Rand: func() float64 { return 0.5 }}
			f := &Fleet{id: "me", woken: make(chan struct{}, 1)}
			part := &pacing{f: f, place: "pace", limits: "limits", pacer: weak.Make(p), peers: map[string]peer{}}
			p.Join(part)
			p.Configure(pace.Limits{RequestsPerMinute: 60})
			tell := func() {
				for _, r := range part.requests(true) {
					all = append(all, r.call.Args...)
					reply := `{"wait": 1000, "now": "1764183796123456"}`
					if r.call.Script == paceScript {
						reply = `{"at": "1764183796123", "epoch": "1764183796123", "by": "me", "rate": 4, "phase": "start", "toll": 20000,
							"calm": "0", "held": "0", "asked": "0", "told": "20000", "told_at": 1764183796123, "told_by": "me", "needs": {"you": [3, 100]}}`
					}
					r.done(store.Result{Text: reply})
				}
			}
			p.Refused(pace.Turn{}, &pace.Told{HasWait: true, Wait: 20 * s})
			tell()
			p.Try(pace.Cost{})
			for range 5 {
				time.Sleep(10 * s)
				p.Try(pace.Cost{})
				tell()
			}
			runtime.KeepAlive(p)
		})
		return all
	}
	now, later := tells(0), tells(10_000*time.Hour)
	if !slices.Equal(now, later) || len(now) < 5 {
		t.Errorf("at one date:\n%q\nat another:\n%q", now, later)
	}
}

// The pacers of a fleet's endpoints are shared, and gone with their endpoint.
func TestPacersOfEndpointsAreShared(t *testing.T) {
	server := lua.New()
	synctest.Test(t, func(t *testing.T) {
		all := start(t, server, 2, breaker.Config{})
		held, _ := all[0].begin()
		all[0].end(held, endpoint.Outcome{
			Effect: failure.Limit, Kind: failure.RateLimited, Err: errProvider, Report: &endpoint.Report{Told: &pace.Told{HasWait: true, Wait: time.Minute}},
		})
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if until := all[1].e.Snapshot().Pace.Until; time.Until(until) < 55*s {
			t.Errorf("told until %v", until)
		}
		if _, refusal := all[1].begin(); refusal == nil {
			t.Error("the other process sends in the told time")
		}
		stop(all)
	})
	f, err := open(server.Dial(), Options{Secret: secretOfTests, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var p *pacing
	f.sharePacer(endpoint.Key{Model: "collected"}, &pace.Pacer{})
	f.mu.Lock()
	for each := range f.parts {
		p = each.part.(*pacing)
	}
	f.mu.Unlock()
	for range 10 {
		runtime.GC()
	}
	if !p.gone() {
		t.Error("a pacer is kept by the fleet")
	}
}

// Tokens that were leased and not used come back once, also if the answer to that is lost.
func TestUnusedTokensComeBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := lua.New().Dial()
		p := &pace.Pacer{}
		f := &Fleet{id: "me", woken: make(chan struct{}, 1)}
		part := &pacing{f: f, place: "pace", limits: "limits", pacer: weak.Make(p), peers: map[string]peer{}}
		run := func(r pace.Report, lost bool) (wait time.Duration) {
			r.Limits = pace.Limits{TokensPerMinute: 60_000}
			for _, each := range part.lease(p, r) {
				result := client.Run(t.Context(), []store.Call{each.call})[0]
				var lent struct{ Wait int64 }
				if err := json.Unmarshal([]byte(result.Text), &lent); err != nil {
					t.Fatal(result, err)
				}
				wait = time.Duration(lent.Wait) * time.Microsecond
				if lost {
					result = store.Result{Err: errLost}
				}
				each.done(result)
			}
			return wait
		}
		run(pace.Report{Ask: pace.Amount{Requests: 1, Tokens: 10_000}}, false)
		run(pace.Report{Corrected: -3000}, true)
		run(pace.Report{}, false)
		if wait := run(pace.Report{Ask: pace.Amount{Requests: 1, Tokens: 1000}}, false); wait < 7*s {
			t.Errorf("after 7000 tokens of 60000 a minute, wait %v", wait)
		}
		runtime.KeepAlive(p)
	})
}

// What an absurd request uses, or is said to have used, is held against the limit of all, and
// keeps nobody from asking.
func TestTheLargestCostIsLeased(t *testing.T) {
	for name, use := range map[string]func(p *pace.Pacer, turn pace.Turn){
		"a request": func(p *pace.Pacer, turn pace.Turn) {},
		"what a provider says": func(p *pace.Pacer, turn pace.Turn) {
			p.Used(turn, math.MaxInt64)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *lua.Server) {
				f := openAt(t, server.Dial())
				p := &pace.Pacer{}
				f.sharePacer(endpoint.Key{Model: "acme"}, p)
				p.Configure(pace.Limits{TokensPerMinute: 1000})
				time.Sleep(2 * time.Second)
				turn, err := p.Wait(t.Context(), pace.Cost{Tokens: math.MaxInt64})
				if err != nil {
					t.Fatal(err)
				}
				use(p, turn)
				p.Answered(turn, nil)
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					if _, err := p.Wait(ctx, pace.Cost{Tokens: 1}); err == nil {
						t.Error("another request went")
					}
					cancel()
				}
				time.Sleep(5 * time.Second)
				if s := f.Status(); s.Err != nil {
					t.Error(s.Err)
				}
			})
		})
	}
}

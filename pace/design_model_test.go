package pace_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/pace"
)

// checks sets how many cases rapid tries: n, or what LLMCALL_MODEL_PLANS says.
func checks(t *testing.T, n int) {
	t.Helper()
	if v := os.Getenv("LLMCALL_MODEL_PLANS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) })
}

// scene is a crowd of callers at a provider that allows a rate, as a token
// bucket, and answers all that it allows.
type scene struct {
	Seed     uint64
	Rate     float64 // a second
	Burst    float64
	Answer   time.Duration
	Hint     string
	Noise    float64 // the share of requests that are refused whatever their rate
	Fails    float64 // the share of requests that fail otherwise
	NotMade  float64 // the share of turns that are given back
	Callers  int
	Jobs     int // of each
	Clients  int
	Deadline time.Duration // of a third of the jobs; 0: none
	Tokens   int64         // of each request
	Cancel   bool          // a quarter of the jobs is cancelled
	Limits   pace.Limits
}

func drawScene(rt *rapid.T) scene {
	c := scene{
		Seed:    rapid.Uint64().Draw(rt, "seed"),
		Rate:    rapid.SampledFrom([]float64{0.2, 1, 10, 50}).Draw(rt, "rate"),
		Burst:   rapid.SampledFrom([]float64{1, 5, 20}).Draw(rt, "burst"),
		Answer:  rapid.SampledFrom([]time.Duration{0, 200 * ms, 2 * time.Second, 30 * time.Second}).Draw(rt, "answer"),
		Hint:    rapid.SampledFrom([]string{"none", "exact", "whole seconds", "0", "too short", "too long", "window", "overload", "mixed"}).Draw(rt, "hint"),
		Noise:   rapid.SampledFrom([]float64{0, 0, 0, 0.05, 0.5}).Draw(rt, "noise"),
		Fails:   rapid.SampledFrom([]float64{0, 0, 0.3}).Draw(rt, "fails"),
		NotMade: rapid.SampledFrom([]float64{0, 0, 0.2}).Draw(rt, "not made"),
		Callers: rapid.IntRange(1, 20).Draw(rt, "callers"),
		Jobs:    rapid.IntRange(1, 4).Draw(rt, "jobs"),
		Clients: rapid.IntRange(1, 3).Draw(rt, "clients"),
	}
	if rapid.Bool().Draw(rt, "some have a deadline") {
		c.Deadline = rapid.SampledFrom([]time.Duration{50 * ms, time.Second, 20 * time.Second}).Draw(rt, "deadline")
	}
	c.Cancel = rapid.Bool().Draw(rt, "cancelled")
	if rapid.IntRange(0, 2).Draw(rt, "limited") == 0 {
		c.Limits = pace.Limits{
			RequestsPerMinute: rapid.SampledFrom([]float64{0, 30, 60, 600}).Draw(rt, "a minute"),
			MaxConcurrent:     rapid.IntRange(0, 3).Draw(rt, "concurrent"),
			TokensPerMinute:   rapid.SampledFrom([]float64{0, 0, 6000}).Draw(rt, "tokens a minute"),
		}
		c.Tokens = rapid.SampledFrom([]int64{0, 10, 100, 1000, 7000}).Draw(rt, "tokens")
	}
	return c
}

// stage plays a scene and keeps the first thing that the design forbids.
type stage struct {
	scene
	mu       sync.Mutex
	p        *pace.Pacer
	chance   *rand.Rand
	begin    time.Time
	tokens   float64
	filled   time.Duration
	shut     time.Duration // told until then, from the beginning
	shutAt   time.Duration
	limits   bool // something was told: a time or a window
	inFlight int
	sent     []time.Duration
	wrong    string
}

func (g *stage) now() time.Duration { return time.Since(g.begin) }

func (g *stage) forbid(format string, args ...any) {
	if g.wrong == "" {
		g.wrong = fmt.Sprintf("at %v: ", g.now()) + fmt.Sprintf(format, args...)
	}
}

// admit is the provider: does it allow a request now, and what does it tell?
func (g *stage) admit() (allowed bool, said *pace.Told) {
	now := g.now()
	g.tokens = min(g.Burst, g.tokens+(now-g.filled).Seconds()*g.Rate)
	g.filled = now
	missing := time.Duration((1 - g.tokens) / g.Rate * float64(time.Second))
	if allowed = g.tokens >= 1; allowed {
		g.tokens--
	}
	if allowed && g.chance.Float64() < g.Noise {
		allowed, missing = false, time.Second
	}
	hint := g.Hint
	if hint == "mixed" {
		hint = []string{"none", "exact", "whole seconds", "0", "too short", "too long", "window", "overload"}[g.chance.IntN(8)]
	}
	if hint == "window" {
		return allowed, &pace.Told{Windows: []pace.Window{{Limit: int64(g.Burst), Remaining: int64(g.tokens), Reset: max(0, time.Duration((g.Burst-g.tokens)/g.Rate*float64(time.Second)))}}}
	}
	if allowed {
		return true, nil
	}
	switch hint {
	case "exact":
		said = &pace.Told{HasWait: true, Wait: missing}
	case "whole seconds":
		said = &pace.Told{HasWait: true, Wait: missing.Truncate(time.Second) + time.Second}
	case "0":
		said = &pace.Told{HasWait: true}
	case "too short":
		said = &pace.Told{HasWait: true, Wait: missing / 10}
	case "too long":
		said = &pace.Told{HasWait: true, Wait: min(2*time.Minute, 10*missing)}
	case "overload":
		said = &pace.Told{Overload: true}
	}
	return false, said
}

// turn takes a turn and checks what the design says of it.
func (g *stage) turn(ctx context.Context, c pace.Cost) (pace.Turn, error) {
	before := g.p.Snapshot()
	turn, err := g.p.Wait(ctx, c)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if err != nil {
		g.refused(ctx, err, before)
		return turn, err
	}
	// "A told time closes the endpoint for all until then".
	if now > g.shutAt && now < g.shut {
		g.forbid("a turn, though it was told to stay away until %v", g.shut)
	}
	g.inFlight++
	if n := g.Limits.MaxConcurrent; n > 0 && g.inFlight > n {
		g.forbid("%d in flight of %d", g.inFlight, n)
	}
	return turn, nil
}

// refused checks a turn that was not given: "A call whose turn would come after
// its deadline fails at once only for a told time, a configured limit or a remaining
// count. A learned rate is reckoned at twice itself, during the slow start not at
// all".
func (g *stage) refused(ctx context.Context, err error, before pace.Snapshot) {
	e, early := errors.AsType[*pace.Error](err)
	deadline, bounded := ctx.Deadline()
	switch {
	case !early && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		g.forbid("%v", err)
	case !early && ctx.Err() == nil:
		g.forbid("%v, before the deadline", err)
	case early && !bounded:
		g.forbid("refused without a deadline: %v", err)
	case early && ctx.Err() == nil && !e.Until.After(deadline):
		g.forbid("refused, though %v is before the deadline %v: %v", e.Until, deadline, err)
	case early && e.Why.Told() && !g.limits:
		g.forbid("nothing was told: %v", err)
	case early && e.Why == pace.ConfiguredLimit && g.Limits.RequestsPerMinute == 0 && g.Limits.TokensPerMinute == 0:
		g.forbid("nothing is configured: %v", err)
	case early && e.Why == pace.Pacing && g.p.Snapshot().SlowStart && before.SlowStart:
		g.forbid("refused during the slow start: %v", err)
	case early && e.Why == pace.Pacing && e.Rate > 0:
		open := time.Now()
		if e.ToldUntil.After(open) {
			open = e.ToldUntil
		}
		if left := deadline.Sub(open); float64(e.Queue+2)/(2*e.Rate) < left.Seconds() {
			g.forbid("refused with %v left, %d in the queue at %.2f/s: %v", left, e.Queue, e.Rate, err)
		}
	}
}

// job makes requests until one is answered, and says whether it was.
func (g *stage) job(ctx context.Context, client string) bool {
	for again := false; ; again = true {
		turn, err := g.turn(ctx, pace.Cost{Again: again, Client: client, Tokens: g.Tokens})
		if err != nil {
			return false
		}
		g.mu.Lock()
		notMade := g.chance.Float64() < g.NotMade
		if notMade {
			late := time.Duration(g.chance.IntN(3)) * 700 * ms
			g.mu.Unlock()
			time.Sleep(late)
			g.mu.Lock()
			g.inFlight--
			g.mu.Unlock()
			g.p.Back(turn)
			continue
		}
		g.sent = append(g.sent, g.now())
		allowed, said := g.admit()
		fails := g.chance.Float64() < g.Fails
		if fails && allowed && g.Hint == "mixed" { // a 503 with a Retry-After
			said = &pace.Told{HasWait: true, Wait: time.Duration(g.chance.IntN(20_000)) * ms}
		}
		g.mu.Unlock()
		if allowed {
			time.Sleep(g.Answer)
		}
		g.mu.Lock()
		if said != nil {
			g.limits = true
			if at := g.now() + said.Wait; said.HasWait && at > g.shut {
				g.shut, g.shutAt = at, g.now()
			}
		}
		switch {
		case !allowed:
			g.p.Refused(turn, said)
		case fails:
			g.p.Failed(turn, said)
		default:
			g.p.Accepted(turn, said)
		}
		g.inFlight--
		g.mu.Unlock()
		g.p.Done(turn)
		if allowed && !fails {
			return true
		}
	}
}

func (g *stage) play() string {
	g.p, g.begin, g.tokens = &pace.Pacer{Rand: func() float64 { return 0.5 }}, time.Now(), g.Burst
	g.chance = rand.New(rand.NewPCG(g.Seed, 1))
	g.p.Configure(g.Limits)
	var wg sync.WaitGroup
	for n := range g.Callers {
		wg.Go(func() {
			for j := range g.Jobs {
				ctx, cancel := context.WithCancel(context.Background())
				bounded := g.Deadline > 0 && (n+j)%3 == 0
				if bounded {
					ctx, cancel = context.WithTimeout(ctx, g.Deadline)
				}
				cancelled := g.Cancel && (n+j)%4 == 1
				if cancelled {
					time.AfterFunc(time.Duration(n+1)*300*ms, cancel)
				}
				if served := g.job(ctx, fmt.Sprint(n%g.Clients)); !served && !bounded && !cancelled {
					g.mu.Lock()
					g.forbid("somebody without a deadline was not served")
					g.mu.Unlock()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := g.p.Snapshot(); s.Queue != 0 || s.InFlight != 0 {
		g.forbid("left behind: %+v", s)
	}
	if g.wrong == "" {
		g.window()
	}
	return g.wrong
}

// window: "RequestsPerMinute is how many requests are sent in any minute, at most";
// "TokensPerMinute is how many tokens the requests of any minute may use […]; a
// sixtieth of them at once, or one request that is larger".
func (g *stage) window() {
	most := int(g.Limits.RequestsPerMinute)
	if per := int(g.Limits.TokensPerMinute); per > 0 && g.Tokens > 0 {
		if n := max(1, per/int(g.Tokens)); most == 0 || n < most {
			most = n
		}
	}
	if most == 0 {
		return
	}
	for i := range g.sent {
		if j := i + most; j < len(g.sent) && g.sent[j]-g.sent[i] < time.Minute-time.Microsecond {
			g.forbid("%d requests from %v to %v, of %d a minute", most+1, g.sent[i], g.sent[j], most)
		}
	}
}

func TestWhateverTheProviderSays(t *testing.T) {
	checks(t, 500)
	longest := time.Duration(0)
	rapid.Check(t, func(rt *rapid.T) {
		c := drawScene(rt)
		var wrong string
		var took time.Duration
		synctest.Test(t, func(*testing.T) {
			g := &stage{scene: c}
			wrong = g.play()
			took = g.now()
		})
		longest = max(longest, took)
		if wrong != "" {
			rt.Fatalf("%+v\n%s", c, wrong)
		}
		// Never a deadlock: at any floor a request goes once a minute, and of those
		// that go, a share is answered.
		share := (1 - c.Noise) * (1 - c.Fails) * (1 - c.NotMade)
		requests := float64(c.Callers*c.Jobs) / share
		each := 60.0
		if c.Limits.TokensPerMinute > 0 { // those that are refused use tokens too
			each += 2 * 60 * float64(c.Tokens) / c.Limits.TokensPerMinute
		}
		if most := time.Duration((requests*(each+1/c.Rate+c.Answer.Seconds()) + 1200) * float64(time.Second)); took > most {
			rt.Fatalf("%+v\ntook %v, at most %v is allowed", c, took, most)
		}
	})
	t.Logf("the longest took %v", longest)
}

// "Floor 0.05/s": of the learned rate it is 0.02/s here. At a limit of 0.05/s the
// law's floor is the limit itself, and a bucket of one refuses it again and again
// (3.8 refusals an answer rather than 0.7). While nothing is accepted it is as the
// law says.
func TestTheFloorOfTheLearnedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace.Pacer{Rand: func() float64 { return 0.5 }}
		for range 30 {
			turn, err := p.Wait(t.Context(), pace.Cost{})
			if err != nil {
				t.Fatal(err)
			}
			p.Accepted(turn, nil)
			p.Done(turn)
			if turn, err = p.Wait(t.Context(), pace.Cost{}); err != nil {
				t.Fatal(err)
			}
			p.Refused(turn, nil)
			p.Done(turn)
			if r := p.Snapshot().Rate; r < 0.02-1e-9 {
				t.Fatalf("a rate of %.4f/s", r)
			}
		}
	})
}

// "Between episodes r grows 0.5 % a second, and after 8 s without a refusal it
// doubles every 5 s". The calm is without an episode (refusals that have nothing to
// do with the rate would never leave one), and below 5/s it is longer than the
// law's: 40 requests, 90 s at most. At 2/s the law's 8 s refuse 0.1 an answer
// rather than 0.05.
func TestAfterACalmTheRateDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace.Pacer{Rand: func() float64 { return 0.5 }}
		for range 6 {
			for _, refused := range []bool{false, true} {
				turn, err := p.Wait(t.Context(), pace.Cost{})
				if err != nil {
					t.Fatal(err)
				}
				if refused {
					p.Refused(turn, toldWait(time.Second))
				} else {
					p.Accepted(turn, nil)
				}
				p.Done(turn)
			}
		}
		time.Sleep(time.Second) // told
		before := p.Snapshot().Rate
		if before > 1.5 {
			t.Fatalf("%.2f/s is not a low rate", before)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for ctx.Err() == nil { // somebody is held by it
			turn, err := p.Wait(ctx, pace.Cost{})
			if err != nil {
				break
			}
			p.Accepted(turn, nil)
			p.Done(turn)
			if p.Snapshot().Rate > 4*before || p.Snapshot().Free {
				break // else there would be nothing to wait for
			}
		}
		if after := p.Snapshot().Rate; after != 0 && after < 3.9*before {
			t.Errorf("%.3f/s, and %.3f/s after ten minutes without a refusal", before, after)
		}
	})
}

// asker is a request that waits for a turn.
type asker struct {
	at    time.Duration
	cost  pace.Cost
	leave time.Duration // cancelled so long after it came; 0: never
	turn  time.Duration // when it got its turn; -1: it left
	order int           // of the turns
}

// "Round-robin over fairness keys, FIFO within; later attempts, judges and tool
// rounds before new calls." Turns are given one a second by a configured limit, and
// so their times are known too: who leaves gives back the place.
func TestTurnsAreGivenInOrder(t *testing.T) {
	checks(t, 2000)
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *asker {
			return &asker{
				cost:  pace.Cost{Client: rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "client"), Again: rapid.IntRange(0, 3).Draw(rt, "again") == 0},
				leave: rapid.SampledFrom([]time.Duration{0, 0, 0, 1500 * ms, 4500 * ms}).Draw(rt, "leave"), turn: -1,
			}
		}), 1, 25).Draw(rt, "askers")
		var at time.Duration
		for _, a := range all {
			at += time.Duration(rapid.SampledFrom([]int{1, 1, 1, 10, 333, 2101}).Draw(rt, "later")) * ms
			a.at = at
		}
		byConcurrency := rapid.Bool().Draw(rt, "by concurrency")
		var left pace.Snapshot
		synctest.Test(t, func(*testing.T) { left = ask(all, byConcurrency) })
		if left.Queue != 0 || left.InFlight != 0 {
			rt.Fatalf("left behind: %+v", left)
		}
		if wrong := disorder(all); wrong != "" {
			for i, a := range all {
				wrong += fmt.Sprintf("\n%2d %+v", i, *a)
			}
			rt.Fatal(wrong)
		}
	})
}

// ask makes the requests of all. Each holds its turn for a second, one at a time,
// or there is one turn a second.
func ask(all []*asker, byConcurrency bool) pace.Snapshot {
	p := &pace.Pacer{}
	p.Configure(pace.Limits{RequestsPerMinute: 60})
	if byConcurrency {
		p.Configure(pace.Limits{MaxConcurrent: 1})
	}
	begin, order := time.Now(), 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() {
			time.Sleep(a.at)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if a.leave > 0 {
				timer := time.AfterFunc(a.leave, cancel)
				defer timer.Stop()
			}
			turn, err := p.Wait(ctx, a.cost)
			if err != nil {
				return
			}
			mu.Lock()
			a.turn, a.order = time.Since(begin), order
			order++
			mu.Unlock()
			time.Sleep(time.Second)
			p.Accepted(turn, nil)
			p.Done(turn)
		})
	}
	wg.Wait()
	return p.Snapshot()
}

// disorder returns what is against the order that the design promises.
func disorder(all []*asker) string {
	var turns []*asker
	for n := range all {
		for _, a := range all {
			if a.turn >= 0 && a.order == n {
				turns = append(turns, a)
			}
		}
	}
	free := time.Duration(0) // when the next turn is there
	waits := func(a *asker, at time.Duration) bool {
		return a.at <= at && (a.turn < 0 && a.at+a.leave > at || a.turn >= at)
	}
	for _, a := range turns {
		// The first that waits when a turn is there has it, at that time.
		if want := max(free, a.at); a.turn != want {
			return fmt.Sprintf("%v: a turn at %v, want %v", a.cost, a.turn, want)
		}
		free = a.turn + time.Second
	}
	for i, a := range turns {
		served := map[string]int{} // since b waits
		for _, b := range all {
			// Who waited when a had its turn, of the same client, and had to go first?
			if b != a && waits(b, a.turn) && b.at < a.turn && (b.turn < 0 || b.order > i) && b.cost.Client == a.cost.Client {
				if b.cost.Again && !a.cost.Again || b.cost.Again == a.cost.Again && b.at < a.at {
					return fmt.Sprintf("%+v went before %+v", *a, *b)
				}
			}
		}
		// While another client waits, a has no second turn.
		for j := i + 1; j < len(turns); j++ {
			c := turns[j]
			served[c.cost.Client]++
			if c.cost.Client != a.cost.Client {
				continue
			}
			for _, b := range all {
				if b.cost.Client != a.cost.Client && served[b.cost.Client] == 0 && b.at < a.turn && waits(b, c.turn) && b.at < c.turn && (b.turn < 0 || b.order > j) {
					return fmt.Sprintf("client %q had two turns (%v, %v) while %+v waited", a.cost.Client, a.turn, c.turn, *b)
				}
			}
			break
		}
	}
	return ""
}

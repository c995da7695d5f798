package endpoint_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"pgregory.net/rapid"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
)

// fullPlans is how many cases a model is tried with by default.
const fullPlans = 5000

// checks sets how many cases rapid tries: n of [fullPlans], or as large a part of
// what LLMCALL_MODEL_PLANS says.
func checks(t *testing.T, n int) {
	t.Helper()
	if v := os.Getenv("LLMCALL_MODEL_PLANS"); v != "" {
		plans, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		n = max(1, n*plans/fullPlans)
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) })
}

// bucket is a budget as law 2 describes it: "100 retries saved up, 0.2 for a
// success, and one a second at least".
type bucket struct {
	saved, perSuccess, perSecond float64
	tokens                       float64
	at                           time.Time
}

// or is "the zero value of each field is its default"; negative: none.
func or(x, byDefault float64) float64 {
	if x == 0 {
		return byDefault
	}
	return max(0, x)
}

func (b *bucket) set(budgets []endpoint.Budget) {
	b.pass()
	b.saved, b.perSuccess, b.perSecond = math.Inf(1), math.Inf(1), math.Inf(1)
	if len(budgets) == 0 {
		budgets = []endpoint.Budget{{}}
	}
	for _, c := range budgets { // "the tighter one holds (of two budgets too)"
		b.saved, b.perSuccess, b.perSecond = min(b.saved, or(c.Saved, 100)), min(b.perSuccess, or(c.PerSuccess, 0.2)), min(b.perSecond, or(c.PerSecond, 1))
	}
	b.tokens = min(b.tokens, b.saved)
}

func (b *bucket) add(n float64) { b.tokens = min(b.saved, b.tokens+n) }

func (b *bucket) pass() {
	now := time.Now()
	b.add(b.perSecond * now.Sub(b.at).Seconds())
	b.at = now
}

const almost = 1e-6

// take takes a retry, and says when there is one if there is none.
func (b *bucket) take() (taken bool, next time.Time) {
	if b.pass(); b.tokens >= 1-almost {
		b.tokens--
		return true, time.Time{}
	}
	if b.perSecond == 0 {
		return false, time.Time{}
	}
	return false, b.at.Add(time.Duration((1 - b.tokens) / b.perSecond * float64(time.Second)))
}

type act struct {
	What   string
	After  time.Duration
	Which  int
	Budget endpoint.Budget
}

func drawAct(rt *rapid.T) act {
	a := act{Which: rapid.IntRange(0, 20).Draw(rt, "which")}
	a.What = rapid.SampledFrom([]string{"retry", "retry", "retry", "retry", "retry", "retries", "retries", "first", "answered", "answered", "failed", "not made", "not made", "limit", "release", "reset"}).Draw(rt, "what")
	a.After = rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 1, 300 * time.Millisecond, time.Second, 7 * time.Second, time.Hour}).Draw(rt, "after")
	if a.What == "limit" {
		a.Budget = endpoint.Budget{
			Saved:      rapid.SampledFrom([]float64{0, 1, 3, 10, 250}).Draw(rt, "saved"),
			PerSuccess: rapid.SampledFrom([]float64{0, -1, 0.5, 1}).Draw(rt, "per success"),
			PerSecond:  rapid.SampledFrom([]float64{0, -1, 0.1, 10}).Draw(rt, "per second"),
		}
	}
	return a
}

// spend does the acts to an endpoint's budget and to the bucket, and returns the
// first difference.
func spend(acts []act) string {
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		return err.Error()
	}
	e := r.Get(key("m"))
	guard := e.Guards(endpoint.Options{NoBreaker: true, NoPacer: true})[0]
	b := &bucket{tokens: 100, saved: 100, at: time.Now()}
	b.set(nil)
	type request struct {
		permit endpoint.Permit
		retry  bool
	}
	var open []request
	var budgets []endpoint.Budget
	var releases []func()
	for i, a := range acts {
		time.Sleep(a.After)
		ask := func(retry bool) string {
			permit, refusal := guard.Admit(endpoint.Ask{Retry: retry})
			taken, next := true, time.Time{}
			if retry {
				taken, next = b.take()
			}
			if taken != (refusal == nil) {
				return fmt.Sprintf("act %d: refused %+v, want a retry of %v: %v", i, refusal, b.tokens, taken)
			}
			if taken {
				open = append(open, request{permit, retry})
				return ""
			}
			budget, ok := errors.AsType[*endpoint.BudgetError](refusal.Err)
			if !ok || refusal.Kind != failure.RetryBudgetSpent || budget.Next.IsZero() != next.IsZero() || budget.Next.Sub(next).Abs() > time.Millisecond {
				return fmt.Sprintf("act %d: %+v, want the next at %v", i, refusal, next)
			}
			return ""
		}
		wrong := ""
		switch a.What {
		case "first":
			wrong = ask(false)
		case "retry":
			wrong = ask(true)
		case "retries":
			for range 60 {
				if wrong == "" {
					wrong = ask(true)
				}
			}
		case "answered", "failed", "not made":
			if len(open) == 0 {
				break
			}
			n := a.Which % len(open)
			one := open[n]
			open = append(open[:n], open[n+1:]...)
			b.pass()
			switch a.What {
			case "answered":
				guard.Settle(one.permit, answer)
				b.add(b.perSuccess)
			case "failed":
				guard.Settle(one.permit, endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: errors.New("x")})
			default: // "what was lent goes back"
				guard.Settle(one.permit, endpoint.Outcome{})
				if one.retry {
					b.add(1)
				}
			}
		case "limit":
			release, err := e.Limit(pace.Limits{}, a.Budget)
			if err != nil {
				return err.Error()
			}
			if a.Budget == (endpoint.Budget{}) { // "zero values configure nothing"
				break
			}
			budgets, releases = append(budgets, a.Budget), append(releases, release)
			b.set(budgets)
		case "release":
			if len(releases) > 0 {
				n := a.Which % len(releases)
				releases[n]()
				releases[n]()
				budgets, releases = append(budgets[:n:n], budgets[n+1:]...), append(releases[:n:n], releases[n+1:]...)
				b.set(budgets)
			}
		case "reset":
			if len(open) == 0 { // what is under way may go back to the old budget or to the new one
				e.Reset()
				b.pass()
				b.tokens = b.saved
			}
		}
		if wrong != "" {
			return wrong
		}
		b.pass()
		if got := e.Snapshot().Retries; math.Abs(got-b.tokens) > 1e-3 {
			return fmt.Sprintf("act %d (%s): %v retries, want %v", i, a.What, got, b.tokens)
		}
	}
	return ""
}

func TestTheBudgetDoesWhatTheDesignSays(t *testing.T) {
	checks(t, fullPlans)
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(drawAct), 1, 60).Draw(rt, "acts")
		var wrong string
		synctest.Test(t, func(*testing.T) { wrong = spend(acts) })
		if wrong != "" {
			text := ""
			for i, a := range acts {
				text += fmt.Sprintf("%3d %+v\n", i, a)
			}
			rt.Fatal(text + wrong)
		}
	})
}

// The classes of endpoints that nobody holds, in the order of law 1: "Evicted from a
// full registry, in this order: idle; OPEN and over; OPEN of an endpoint that never
// answered, the oldest first; never one that is forced, in use, waited for or held
// by a client. One that never answered can't push out one that did."
const (
	idle = iota
	over
	bad
	stays // those that may not go, from here
	answered
	forced
	held
	classes
)

// inhabit makes an endpoint of a class and returns it for as long as somebody
// must hold it.
func inhabit(r *endpoint.Registry, k endpoint.Key, class int) (weak.Pointer[endpoint.Endpoint], *endpoint.Endpoint) {
	e := r.Get(k)
	switch class {
	case over:
		e.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Second})
	case bad:
		e.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Hour})
	case answered:
		request(e, answer)
	case forced:
		e.ForceOpen("by hand")
	case held:
		return weak.Make(e), e
	}
	return weak.Make(e), nil
}

// evict fills a registry, lets newcomers with bad keys come that nobody holds, and
// returns what is against the order.
func evict(inhabitants []int, newcomers int) string {
	r, err := endpoint.NewRegistry(endpoint.Config{Max: len(inhabitants)})
	if err != nil {
		return err.Error()
	}
	type place struct {
		class int
		weak.Pointer[endpoint.Endpoint]
	}
	var all []place // ever made
	var kept []int  // what the design keeps, the oldest first
	var holding []*endpoint.Endpoint
	for i, class := range inhabitants {
		p, e := inhabit(r, key(fmt.Sprint(i)), class)
		all, kept, holding = append(all, place{class, p}), append(kept, i), append(holding, e)
		time.Sleep(time.Second)
	}
	time.Sleep(2 * time.Second)
	for n := range newcomers {
		p, _ := inhabit(r, key(fmt.Sprint(len(inhabitants)+n)), bad)
		all = append(all, place{bad, p})
		victim := -1
		for class := range stays {
			for j, i := range kept {
				if victim < 0 && all[i].class == class {
					victim = j
				}
			}
		}
		if victim >= 0 { // else it is not kept
			kept = append(kept[:victim], kept[victim+1:]...)
			kept = append(kept, len(all)-1)
		}
		time.Sleep(time.Second)
	}
	runtime.GC()
	if r.Len() > len(inhabitants) {
		return fmt.Sprintf("%d are kept", r.Len())
	}
	stay := map[int]bool{}
	for _, i := range kept {
		stay[i] = true
	}
	// One that is held is found again, but may leave the places that are kept, so
	// that with one among them another may stay than the design says.
	exact := !slices.Contains(inhabitants, held)
	// Of those that are idle or over, the design does not say which goes first.
	var want, got [classes]int
	for i, p := range all {
		if stay[i] {
			want[p.class]++
		}
		if p.Value() != nil {
			got[p.class]++
		}
		if exact && p.class == bad && stay[i] != (p.Value() != nil) {
			return fmt.Sprintf("%d is kept: %v", i, !stay[i])
		}
	}
	if exact && got != want {
		return fmt.Sprintf("kept (idle, over, bad, -, answered, forced, held) %v, want %v", got, want)
	}
	for i, class := range inhabitants {
		e := r.Get(key(fmt.Sprint(i)))
		switch {
		case class == held && e != holding[i]:
			return "one that is held is not found again"
		case class == answered && !e.Snapshot().Answered:
			return "one that had answered is not found again"
		case class == forced && (request(e, answer) == nil || e != all[i].Value()):
			return "one that is forced is not found again"
		}
	}
	runtime.KeepAlive(holding)
	return ""
}

func TestTheRegistryLetsGoInTheOrderOfTheDesign(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 20
	}
	checks(t, n)
	rapid.Check(t, func(rt *rapid.T) {
		inhabitants := rapid.SliceOfN(rapid.SampledFrom([]int{idle, over, bad, bad, answered, forced, held}), 1, 12).Draw(rt, "inhabitants")
		newcomers := rapid.IntRange(1, 14).Draw(rt, "newcomers")
		var wrong string
		synctest.Test(t, func(*testing.T) { wrong = evict(inhabitants, newcomers) })
		if wrong != "" {
			rt.Fatalf("%v (0 idle, 1 over, 2 bad, 4 answered, 5 forced, 6 held), %d newcomers: %s", inhabitants, newcomers, wrong)
		}
	})
}

// "Evicted in this order: idle; OPEN and over; …": once the time of an OPEN circuit
// is over it admits a probe, as a new one does, so that an endpoint of a day ago
// makes room for one that answers today.
func TestACircuitWhoseTimeIsOverMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, endpoint.Config{Max: 1})
		old := r.Get(key("old"))
		request(old, answer)
		old.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Minute})
		old = nil
		time.Sleep(24 * time.Hour)
		request(r.Get(key("new")), answer)
		runtime.GC()
		if !r.Get(key("new")).Snapshot().Answered {
			t.Error("one that answers is not kept")
		}
	})
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// gate is a guard that refuses until a time from its beginning, or always.
type gate struct {
	begun   time.Time
	opens   time.Duration
	shut    bool // always
	kind    failure.Kind
	retries int // that it was asked for
	asked   int
}

func (g *gate) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	g.asked++
	if a.Retry {
		g.retries++
	}
	r := &endpoint.Refusal{Kind: g.kind, Err: errors.New("shut")}
	if g.shut {
		return endpoint.Permit{}, r
	}
	if r.Until = g.begun.Add(g.opens); time.Now().Before(r.Until) {
		return endpoint.Permit{}, r
	}
	return endpoint.Permit{}, nil
}

func (g *gate) Wait(ctx context.Context, a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	select {
	case <-time.After(time.Until(g.begun.Add(g.opens))):
	case <-ctx.Done():
		return endpoint.Permit{}, &endpoint.Refusal{Kind: g.kind, Err: ctx.Err()}
	}
	return g.Admit(a)
}

func (g *gate) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit { return p }
func (g *gate) Settle(endpoint.Permit, endpoint.Outcome)               {}

// Each row has the targets: when the guard of each opens ("-" never, "c" a circuit
// that is open until then, "a" an account that is spent), after the colon what its
// attempts end in: "t" a failure that passes, a number a refusal with so many
// seconds told, "o" an overload, "k" a bad key, "w" a wrong answer, nothing an answer.
// Then which target each attempt is made at and when, and why the call ends.
func TestWhichTargetServes(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  retry.Config
		targets string
		lasts   time.Duration // each attempt
		want    string
		reason  retry.Reason
	}{
		{name: "a short wait is waited for", targets: "2 0", want: "0@2"},
		{name: "a longer one is left", targets: "2.1 0", want: "1@0"},
		{name: "for the one that is sooner", targets: "5 3", want: "1@3"},
		{name: "if another is", targets: "3 5", want: "0@3"},
		{name: "or as soon", targets: "3 3", want: "0@3"},
		{name: "of three the soonest", targets: "5 4 3", want: "2@3"},
		{name: "the second", targets: "5 3 4", want: "1@3"},
		{name: "the first that is free", targets: "5 0 0", want: "1@0"},
		{name: "one that can't serve is left", targets: "- 5", want: "1@5"},
		{name: "for the soonest", targets: "- 5 4", want: "2@4"},
		{name: "if any can", targets: "- -", reason: retry.RateLimitWaitExceeded},
		{name: "an open circuit elsewhere is no way out", targets: "- c5", reason: retry.RateLimitWaitExceeded},
		{name: "one that can't is passed over", targets: "- - 0", want: "2@0"},
		{name: "and not gone back to", targets: "- 0:ttt", want: "1@0 1@1 1@3", reason: retry.Exhausted},
		{name: "an open circuit is left, for good", targets: "c0.5 0:ttt", want: "1@0 1@1 1@3", reason: retry.Exhausted},
		{name: "an open circuit is a stop where nobody else serves", targets: "c5 c5", reason: retry.CircuitOpen},
		{name: "and waited for where that is allowed", config: retry.Config{WaitForCircuit: true}, targets: "c5 c6", want: "0@5"},
		{name: "a spent account is everybody's", targets: "a 0", reason: retry.AccountSpent},
		{name: "alone it waits", targets: "9", want: "0@9"},
		{name: "up to all that is allowed", config: retry.Config{MaxRateLimitWait: 9 * s}, targets: "10", reason: retry.RateLimitWaitExceeded},
		{name: "both are too late for the deadline", config: retry.Config{MaxTime: 4 * s}, targets: "5 6", reason: retry.OutOfTime},

		{name: "a told time of two seconds is waited for", targets: "0:2 0", want: "0@0 0@2"},
		{name: "one of three is not", targets: "0:3 0", want: "0@0 1@0"},
		{name: "if the other is not later", targets: "0:3 4", want: "0@0 0@3"},
		{name: "nor as late", targets: "0:3 3", want: "0@0 0@3"},
		{name: "but sooner", targets: "0:4 3", want: "0@0 1@3"},
		{name: "both tell a time: the sooner", targets: "0:9 0:5", want: "0@0 1@0 1@5"},
		{name: "both tell a time: back to the first", targets: "0:4 0:9", want: "0@0 1@0 0@4"},
		{name: "an attempt takes its time", targets: "0:4 0:9", lasts: s, want: "0@0 1@1 0@5"},
		{name: "waits for told times add up", config: retry.Config{MaxRateLimitWait: 6 * s}, targets: "0:4,4 0:9", want: "0@0 1@0 0@4", reason: retry.RateLimitWaitExceeded},
		{name: "exactly what is allowed is", config: retry.Config{MaxRateLimitWait: 8 * s}, targets: "0:4,4 0:9", want: "0@0 1@0 0@4 0@8"},
		{name: "one that told more than is allowed is not gone back to", config: retry.Config{MaxRateLimitWait: 3 * s}, targets: "0:4 0:9", want: "0@0 1@0", reason: retry.RateLimitWaitExceeded},
		{name: "a told time that the deadline holds", config: retry.Config{MaxTime: 4*s + 1}, targets: "0:4 0:9", want: "0@0 1@0 0@4"},
		{name: "one that it does not", config: retry.Config{MaxTime: 4 * s}, targets: "0:4 0:9", want: "0@0 1@0", reason: retry.OutOfTime},
		{name: "too long a told time", targets: "0:121 0:121", want: "0@0 1@0", reason: retry.WaitTooLong},
		{name: "a refusal uses no attempt elsewhere either", targets: "0:9 0:t", want: "0@0 1@0 1@1"},
		{name: "an overload of a short wait stays", targets: "0:o 0", want: "0@0 0@2"},
		{name: "one of a long wait does not", config: retry.Config{FallbackAfter: s}, targets: "0:o 0", want: "0@0 1@0"},
		{name: "a bad key is left for good", targets: "0:k 0:tt", want: "0@0 1@0 1@1", reason: retry.Exhausted},
		{name: "where all are bad", targets: "0:k 0:k", want: "0@0 1@0", reason: retry.Permanent},
		{name: "the last of the attempts was it", config: retry.Config{MaxAttempts: 1}, targets: "0:k 0", want: "0@0", reason: retry.Permanent},
		{name: "two failures leave a target", targets: "0:tt 0", want: "0@0 0@1 1@1"},
		{name: "for one that can serve", targets: "0:tt -", want: "0@0 0@1 0@3"},
		{name: "for the one that is soonest", config: retry.Config{AttemptsPerTarget: 1}, targets: "0:t 9 5", want: "0@0 2@5"},
		{name: "a delay is waited for elsewhere", config: retry.Config{MaxRateLimitWait: 10 * s, Backoff: backoff.Constant{Interval: 10 * s, Jitter: backoff.NoJitter}}, targets: "0:o 0:121", want: "0@0 1@0 0@10"},
		{name: "as long as waits may be", config: retry.Config{MaxRateLimitWait: 10*s - 1, Backoff: backoff.Constant{Interval: 10 * s, Jitter: backoff.NoJitter}}, targets: "0:o 0:121", want: "0@0 1@0", reason: retry.WaitTooLong},
		{name: "all together", config: retry.Config{MaxRateLimitWait: 10 * s, Backoff: backoff.Constant{Interval: 9500 * time.Millisecond, Jitter: backoff.NoJitter}}, targets: "1:o 0:121", want: "0@1 1@1", reason: retry.WaitTooLong},
		{name: "a told time is no failure of a target", targets: "0:1,1,t 0", want: "0@0 0@1 0@2 0@3"},
		{name: "the last target has all attempts that remain", config: retry.Config{FallbackAfter: s, MaxAttempts: 5}, targets: "0:o 0:tt", want: "0@0 1@0 1@2 1@6"},
		{name: "one that was left for a wait may serve yet", config: retry.Config{FallbackAfter: s}, targets: "0:o 0:k", want: "0@0 1@0 0@2"},
		{name: "no attempt is kept for one that told a long time", config: retry.Config{MaxAttempts: 2}, targets: "0:9 0:tt", want: "0@0 1@0 1@1", reason: retry.Exhausted},
		{name: "nor for one whose guard refuses for long", config: retry.Config{MaxAttempts: 2}, targets: "9 0:tt", want: "1@0 1@1", reason: retry.Exhausted},
		{name: "nor for one that can't serve", config: retry.Config{MaxAttempts: 2}, targets: "0:t -", want: "0@0 0@1"},
		{name: "but for one that can go soon", config: retry.Config{MaxAttempts: 2}, targets: "0:t 2", want: "0@0 1@2"},
		{name: "or sooner than the backoff", config: retry.Config{MaxAttempts: 2, Backoff: backoff.Constant{Interval: 5 * s, Jitter: backoff.NoJitter}}, targets: "0:t 4", want: "0@0 1@4"},
		{name: "however long that is", config: retry.Config{MaxAttempts: 2, FallbackAfter: 1<<63 - 1}, targets: "0:t 0", want: "0@0 1@0"},
		{name: "or as soon as at once", config: retry.Config{MaxAttempts: 2, Backoff: backoff.Constant{}}, targets: "0:t 0", want: "0@0 1@0"},
		{name: "a wrong answer leaves none", targets: "0:www 0", want: "0@0 0@0 0@0", reason: retry.Exhausted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var targets []retry.Target
				var ends [][]error
				var gates []*gate
				for _, one := range strings.Fields(c.targets) {
					opens, script, _ := strings.Cut(one, ":")
					g := &gate{begun: time.Now(), kind: failure.RateLimited}
					switch {
					case opens == "-":
						g.shut = true
					case opens == "a":
						g.shut, g.kind = true, failure.AccountSpent
					case strings.HasPrefix(opens, "c"):
						g.kind, opens = failure.CircuitOpen, opens[1:]
						fallthrough
					default:
						d, err := time.ParseDuration(opens + "s")
						if err != nil {
							t.Fatal(err)
						}
						g.opens = d
					}
					gates = append(gates, g)
					targets = append(targets, retry.Target{Unpaced: true, Guards: []endpoint.Guard{g}})
					ends = append(ends, endsOf(t, script))
				}
				begun := time.Now()
				var call retry.Call
				call.Begin(t.Context(), newPolicy(t, c.config), targets)
				defer call.Close()
				var got []string
				for call.Next() {
					at := call.Target()
					got = append(got, fmt.Sprintf("%d@%v", at, time.Since(begun).Seconds()))
					time.Sleep(c.lasts)
					var err error
					if len(ends[at]) > 0 {
						err, ends[at] = ends[at][0], ends[at][1:]
					}
					if call.Settle(endpoint.Outcome{Err: err}) {
						break
					}
				}
				if got := strings.Join(got, " "); got != c.want {
					t.Errorf("attempts %s, want %s (%v)", got, c.want, call.Err())
				}
				e, _ := errors.AsType[*retry.Error](call.Err())
				if (e == nil) != (c.reason == 0) || e != nil && e.Reason != c.reason {
					t.Errorf("ended with %v, want %v", call.Err(), c.reason)
				}
				if c.targets == "5 0 0" && gates[2].asked > 0 {
					t.Error("a target is asked though the one before is free")
				}
				for i, g := range gates[1:] { // elsewhere the first request is no retry
					if g.retries > 0 && !strings.Contains(c.want, fmt.Sprintf("%d@", i+1)) {
						t.Errorf("target %d was asked for %d retries", i+1, g.retries)
					}
				}
			})
		})
	}
}

func endsOf(t *testing.T, script string) (errs []error) {
	t.Helper()
	for _, one := range strings.Split(script, ",") {
		if d, err := time.ParseDuration(one + "s"); err == nil {
			errs = append(errs, told(failure.RateLimited, d))
			continue
		}
		for _, end := range one {
			err, ok := map[rune]error{'t': transient, 'o': fail(failure.Overloaded), 'k': fail(failure.Unauthorized), 'w': invalid}[end]
			if !ok {
				t.Fatalf("no end is called %c", end)
			}
			errs = append(errs, err)
		}
	}
	return errs
}

// The first request to another target is no retry of it; one at the same is.
func TestARetryElsewhereIsNone(t *testing.T) {
	for _, c := range []struct {
		err     error
		first   time.Duration // when the guard of the first target opens again
		retries [2]int
	}{
		{err: fail(failure.Unauthorized), retries: [2]int{0, 0}},
		{err: transient, retries: [2]int{2, 0}}, // once to look, once to go
		{err: transient, first: 9 * s, retries: [2]int{2, 0}},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := &gate{begun: time.Now()}, &gate{begun: time.Now()}
			a.kind = failure.RateLimited
			var call retry.Call
			begin(t, &call, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{a}}, retry.Target{Guards: []endpoint.Guard{b}})
			defer call.Close()
			a.opens = c.first
			call.Settle(endpoint.Outcome{Err: c.err})
			if !call.Next() {
				t.Fatal(call.Err())
			}
			if got := [2]int{a.retries, b.retries}; got != c.retries {
				t.Errorf("%v: asked for %v retries, want %v", c.err, got, c.retries)
			}
		})
	}
}

// More guards than a call has room for itself: each gets its own permit back.
func TestManyGuards(t *testing.T) {
	var own []endpoint.Guard
	var to retry.Target
	var all [9]*numbered
	for i := range all {
		all[i] = &numbered{t: t, n: int64(i + 1)}
		if i < 2 {
			own = append(own, all[i])
		} else {
			to.Guards = append(to.Guards, all[i])
		}
	}
	for range 2 {
		var c retry.Call
		c.Begin(t.Context(), newPolicy(t, retry.Config{}), []retry.Target{to}, own...)
		for n := 0; c.Next(); n++ {
			c.Accepted(nil)
			if n == 0 {
				c.Settle(endpoint.Outcome{Err: invalid})
			} else if c.Settle(endpoint.Outcome{}) {
				break
			}
		}
		c.Close()
	}
	for _, g := range all {
		if g.lent != 0 || g.settled != 4 {
			t.Errorf("guard %d: %d are lent, %d settled", g.n, g.lent, g.settled)
		}
	}
}

// numbered is a guard that lends one permit at a time, with its own number.
type numbered struct {
	t             *testing.T
	n             int64
	lent, settled int
}

func (g *numbered) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	g.lent++
	return endpoint.Permit{N: g.n}, nil
}

func (g *numbered) Wait(context.Context, endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	panic("it never refuses")
}

func (g *numbered) own(p endpoint.Permit) {
	if p.N != g.n {
		g.t.Errorf("guard %d is given the permit of %d", g.n, p.N)
	}
}

func (g *numbered) Accept(p endpoint.Permit, _ *pace.Told) endpoint.Permit { g.own(p); return p }

func (g *numbered) Settle(p endpoint.Permit, _ endpoint.Outcome) {
	g.own(p)
	g.lent--
	g.settled++
}

// A round that a guard refuses for good ends the call, and asks nobody again.
func TestARoundThatIsRefusedEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{begun: time.Now(), kind: failure.AccountSpent}
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{g}}, retry.Target{})
		defer c.Close()
		c.Settle(endpoint.Outcome{})
		g.shut = true
		for range 2 {
			e, _ := errors.AsType[*retry.Error](c.Err())
			if c.Round() || e != nil && e.Reason != retry.AccountSpent || g.asked != 2 && e != nil {
				t.Errorf("%v after %d questions", c.Err(), g.asked)
			}
		}
		if failure.KindOf(c.Err()) != failure.AccountSpent || g.asked != 2 {
			t.Errorf("%v after %d questions", c.Err(), g.asked)
		}
		if _, failed := c.Last(); failed {
			t.Error("a refusal is a failure of the provider")
		}
	})
}

// An attempt that follows an answer, without a word of it, may be made at another
// target; a round may not.
func TestAnAttemptAfterAnAnswerMayMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{begun: time.Now(), kind: failure.RateLimited}
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{AttemptTimeout: time.Hour}), retry.Target{Guards: []endpoint.Guard{g}}, retry.Target{})
		defer c.Close()
		first := c.Context()
		c.Settle(endpoint.Outcome{})
		g.shut = true
		if !c.Next() || c.Target() != 1 || first.Err() == nil {
			t.Errorf("at target %d: %v; the first attempt's context: %v", c.Target(), c.Err(), first.Err())
		}
	})
}

// Each failure has its number, its target, and the wait before its attempt. A wait
// for a guard before the first attempt is no failure.
func TestFailuresSayWhereAndAfterWhatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{begun: time.Now(), opens: 2 * s, kind: failure.RateLimited}
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{MaxAttempts: 4}), retry.Target{Guards: []endpoint.Guard{g}}, retry.Target{})
		defer c.Close()
		if last, any := c.Last(); any {
			t.Errorf("the failure %+v before any", last)
		}
		for _, err := range []error{transient, invalid, transient, transient} {
			c.Settle(endpoint.Outcome{Err: err})
			c.Next()
		}
		e, ok := errors.AsType[*retry.Error](c.Err())
		if !ok {
			t.Fatal(c.Err())
		}
		got := ""
		for _, f := range e.Failures {
			got += fmt.Sprintf("%d: at %d after %v %v, %v\n", f.Number, f.Target, f.Wait, f.Reason, f.Kind)
		}
		if want := "1: at 0 after 2s pace, transient\n2: at 0 after 1s backoff, invalid_answer\n3: at 0 after 0s , transient\n4: at 1 after 0s , transient\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := &gate{begun: time.Now(), opens: s, kind: failure.RateLimited}
		f := play()
		if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{Target: retry.Target{Guards: []endpoint.Guard{g}}}), f.call); err != nil || f.seen[0].Last != nil {
			t.Errorf("%v; the first attempt is told of %v", err, f.seen)
		}
	})
}

// After a refusal that uses no attempt, two requests of a call are 100 ms apart,
// also where the guard would let it go a little sooner.
func TestRequestsOfACallAreApart(t *testing.T) {
	for _, opens := range []time.Duration{0, 50 * time.Millisecond, 95 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			g := &gate{begun: time.Now(), kind: failure.RateLimited}
			var c retry.Call
			begin(t, &c, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{g}})
			defer c.Close()
			c.Settle(endpoint.Outcome{Err: told(failure.RateLimited, 0)})
			g.opens = opens
			if !c.Next() || time.Since(g.begun) != max(opens, s/10) {
				t.Errorf("a guard that opens after %v: after %v: %v", opens, time.Since(g.begun), c.Err())
			}
		})
	}
}

// The wait that is too long is the one that was told.
func TestTheWaitThatIsTooLong(t *testing.T) {
	for _, kind := range []failure.Kind{failure.RateLimited, failure.Transient} {
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxRetryAfter: 10 * time.Millisecond}), play(told(kind, s/20)).call)
		if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.WaitTooLong || e.RefusedWait != s/20 {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

// slowpoke is a guard that says a second, or what it is told to say, and takes five.
type slowpoke struct {
	gate
	says  time.Duration
	waits int
}

func (g *slowpoke) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	says := g.says
	if says == 0 {
		says = s
	}
	return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RateLimited, Until: time.Now().Add(says), Err: errors.New("soon")}
}

func (g *slowpoke) Wait(ctx context.Context, _ endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	g.waits++
	select {
	case <-time.After(5 * s):
		return endpoint.Permit{}, nil
	case <-ctx.Done():
		return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RateLimited, Err: ctx.Err()}
	}
}

// A wait that lasts longer than was said is left after FallbackAfter, once, for
// another target; where there is none that can serve, nobody gives up a place in
// the queue for it.
func TestAPlaceIsLeftOnlyForAnotherTarget(t *testing.T) {
	for _, c := range []struct {
		name     string
		others   []time.Duration // when they open
		dead     bool            // the other was called, with a bad key
		fallback time.Duration
		says     time.Duration
		total    time.Duration // MaxRateLimitWait
		at       int
		after    time.Duration
		waits    int
	}{
		{name: "alone", after: 5 * s, waits: 1},
		{name: "another is dead", others: []time.Duration{0}, dead: true, at: 1, after: 5 * s, waits: 1},
		{name: "another is free", others: []time.Duration{0}, after: 0, at: 1, fallback: s / 2},
		{name: "another is free, later", others: []time.Duration{0}, at: 1, after: 2 * s, waits: 1},
		{name: "another is later still", others: []time.Duration{time.Hour}, after: 7 * s, waits: 2},
		{name: "exactly as long as is waited", others: []time.Duration{3 * s}, says: 2 * s, at: 1, after: 3 * s, waits: 1},
		{name: "no time for both", others: []time.Duration{0}, total: 2 * s, at: -1, after: 2 * s, waits: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := &slowpoke{says: c.says}
				to := []retry.Target{{Guards: []endpoint.Guard{slow}}}
				for _, opens := range c.others {
					to = append(to, retry.Target{Guards: []endpoint.Guard{&gate{begun: time.Now(), opens: opens, kind: failure.RateLimited}}})
				}
				if c.dead {
					to[0], to[1] = to[1], to[0]
				}
				var call retry.Call
				call.Begin(t.Context(), newPolicy(t, retry.Config{FallbackAfter: c.fallback, MaxRateLimitWait: c.total}), to)
				defer call.Close()
				if c.dead {
					if !call.Next() {
						t.Fatal(call.Err())
					}
					call.Settle(endpoint.Outcome{Err: fail(failure.Unauthorized)})
				}
				begun := time.Now()
				going := call.Next()
				if going != (c.at >= 0) || going && call.Target() != c.at || time.Since(begun) != c.after || slow.waits != c.waits {
					t.Errorf("at target %d after %v and %d waits: %v", call.Target(), time.Since(begun), slow.waits, call.Err())
				}
			})
		})
	}
}

// Between two targets whose waits last longer than was said nobody goes to and fro:
// one wait is left, and the other is waited for to its end.
func TestAPlaceIsLeftOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &slowpoke{}, &slowpoke{}
		var call retry.Call
		call.Begin(t.Context(), newPolicy(t, retry.Config{}), []retry.Target{{Guards: []endpoint.Guard{a}}, {Guards: []endpoint.Guard{b}}})
		defer call.Close()
		begun := time.Now()
		if !call.Next() || call.Target() != 1 || time.Since(begun) != 7*s || a.waits != 1 || b.waits != 1 {
			t.Errorf("at target %d after %v, %d and %d waits: %v", call.Target(), time.Since(begun), a.waits, b.waits, call.Err())
		}
	})
}

// vain is a guard that refuses, and refuses also who waits for it.
type vain struct {
	gate
	kind  failure.Kind // of the second refusal
	until time.Duration
}

func (g *vain) Admit(endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	return endpoint.Permit{}, &endpoint.Refusal{Kind: failure.RateLimited, Until: time.Now().Add(s), Err: errors.New("soon")}
}

func (g *vain) Wait(context.Context, endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	r := &endpoint.Refusal{Kind: g.kind, Err: errors.New("never")}
	if g.until > 0 {
		r.Until = time.Now().Add(g.until)
	}
	return endpoint.Permit{}, r
}

// What a guard says to one who waits for it decides why the call ends: its kind, or
// whether it was the deadline that its time came after.
func TestWhyAWaitIsInVain(t *testing.T) {
	for _, c := range []struct {
		kind     failure.Kind
		until    time.Duration
		deadline time.Duration
		want     retry.Reason
	}{
		{kind: failure.AccountSpent, until: 9 * s, deadline: time.Minute, want: retry.AccountSpent},
		{kind: failure.RetryBudgetSpent, deadline: time.Minute, want: retry.BudgetSpent},
		{kind: failure.RateLimited, deadline: time.Minute, want: retry.RateLimitWaitExceeded},
		{kind: failure.RateLimited, until: 9 * s, want: retry.RateLimitWaitExceeded},
		{kind: failure.RateLimited, until: 9 * s, deadline: 10 * s, want: retry.RateLimitWaitExceeded},
		{kind: failure.RateLimited, until: 10 * s, deadline: 10 * s, want: retry.OutOfTime},
		{kind: failure.RateLimited, until: 11 * s, deadline: 10 * s, want: retry.OutOfTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if c.deadline > 0 {
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
			}
			defer cancel()
			p := newPolicy(t, retry.Config{Target: retry.Target{Guards: []endpoint.Guard{&vain{kind: c.kind, until: c.until}}}})
			_, err := retry.Do(ctx, p, play().call)
			if e, _ := errors.AsType[*retry.Error](err); e == nil || e.Reason != c.want {
				t.Errorf("%+v: %v", c, err)
			}
		})
	}
}

// A round that its guard refuses ends the call for want of time, and not the attempt
// alone, where the attempt has no time limit of its own.
func TestARoundInVainEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*s)
		defer cancel()
		g := &vain{kind: failure.RateLimited, until: 20 * s}
		to := []retry.Target{{Guards: []endpoint.Guard{&opensOnce{Guard: g}}}}
		var call retry.Call
		call.Begin(ctx, newPolicy(t, retry.Config{}), to)
		defer call.Close()
		if !call.Next() || !call.Settle(endpoint.Outcome{}) {
			t.Fatal(call.Err())
		}
		if call.Round() {
			t.Fatal("a round that its guard refuses")
		}
		if e, _ := errors.AsType[*retry.Error](call.Err()); e == nil || e.Reason != retry.OutOfTime {
			t.Errorf("%v", call.Err())
		}
	})
}

// opensOnce admits the first request, and then asks its guard.
type opensOnce struct {
	endpoint.Guard
	asked bool
}

func (g *opensOnce) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	if !g.asked {
		g.asked = true
		return endpoint.Permit{}, nil
	}
	return g.Guard.Admit(a)
}

// An adapter that sends its request again in another form does so within the attempt,
// by the guards, and not after the attempt or the request is over. The provider works.
func TestARequestGoesAgainInAnotherForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &scribe{}
		var call retry.Call
		begin(t, &call, newPolicy(t, retry.Config{MaxAttempts: 1, AttemptTimeout: 3 * s}), retry.Target{Guards: []endpoint.Guard{g}})
		defer call.Close()
		ctx, end := call.Listen(call.Context())
		endpoint.Noted(ctx, "not strict")
		endpoint.Noted(ctx, "not strict")
		if !endpoint.Again(ctx) || call.Number() != 1 || call.Counted() != 0 || !slices.Equal(call.Notes(), []string{"not strict"}) {
			t.Errorf("attempt %d, %d counted, notes %q", call.Number(), call.Counted(), call.Notes())
		}
		time.Sleep(4 * s)
		if endpoint.Again(ctx) {
			t.Error("the attempt was over")
		}
		end()
		if last, ok := call.Last(); endpoint.Again(ctx) || !ok || last.Kind != failure.AttemptTimeout {
			t.Errorf("ended by %v", last)
		}
		if got, want := strings.Join(g.notes, ", "), "healthy unknown, healthy unknown"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
	if !endpoint.Again(t.Context()) {
		t.Error("a request that belongs to no call needs no admission")
	}
}

// A wait of what a provider told is named so, also where it is as long as the least
// that keeps two requests apart, and where the pacer is what holds the call back.
func TestAToldWaitIsNamedSo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want retry.WaitReason
	}{
		{told(failure.RateLimited, 100*time.Millisecond), retry.RateLimitWait},
		{told(failure.RateLimited, 99*time.Millisecond), retry.PaceWait},
		{told(failure.RateLimited, 3*s), retry.RateLimitWait},
		{told(failure.Transient, 3*s), retry.ProviderWait},
	} {
		for _, guarded := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var to retry.Target
				if guarded {
					to = target(t, endpoint.Options{})
				}
				var call retry.Call
				begin(t, &call, newPolicy(t, retry.Config{}), to)
				defer call.Close()
				call.Settle(endpoint.Outcome{Err: c.err})
				if !call.Next() {
					t.Fatal(call.Err())
				}
				if _, reason := call.Waited(); reason != c.want {
					t.Errorf("%v, guarded %v: %v, want %v", c.err, guarded, reason, c.want)
				}
			})
		}
	}
}

// An answer that is wrong leaves no target, whatever its error is called.
func TestAWrongAnswerStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{AttemptsPerTarget: 1}), retry.Target{}, retry.Target{})
		defer c.Close()
		c.Settle(endpoint.Outcome{})
		c.Wrong(transient)
		if !c.Next() || c.Target() != 0 {
			t.Errorf("at target %d: %v", c.Target(), c.Err())
		}
	})
}

// A call that moves to another target asks all the guards there, also where it has
// waited for one of the first target's.
func TestAllGuardsOfAnotherTargetAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &gate{begun: time.Now(), opens: s, kind: failure.RateLimited}, &gate{begun: time.Now(), opens: 9 * s, kind: failure.RateLimited}
		var there [2]ledger
		var c retry.Call
		begin(t, &c, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{first, second}}, retry.Target{Guards: []endpoint.Guard{&there[0], &there[1]}})
		if c.Target() != 1 || time.Since(first.begun) != s {
			t.Errorf("at target %d after %v", c.Target(), time.Since(first.begun))
		}
		c.Settle(endpoint.Outcome{})
		c.Close()
		there[0].check(t, "the first guard there")
		there[1].check(t, "the second")
	})
}

// A target told the call to come back in 4 s. When another refuses, the call goes
// back then, and not before; or ends while it waits.
func TestATargetIsNotAskedBeforeItsTime(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			g := &gate{begun: begun, kind: failure.RateLimited}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var c retry.Call
			c.Begin(ctx, newPolicy(t, retry.Config{}), []retry.Target{{}, {Guards: []endpoint.Guard{g}}})
			defer c.Close()
			for i, err := range []error{told(failure.RateLimited, 4*s), transient} {
				if !c.Next() || c.Target() != i {
					t.Fatalf("attempt %d at target %d: %v", i, c.Target(), c.Err())
				}
				c.Settle(endpoint.Outcome{Err: err})
			}
			g.opens = 20 * s
			if cancelled {
				time.AfterFunc(2*s, cancel)
				if c.Next() || failure.KindOf(c.Err()) != failure.Cancelled || time.Since(begun) != 2*s {
					t.Errorf("cancelled: %v after %v", c.Err(), time.Since(begun))
				}
				return
			}
			going := c.Next()
			if wait, reason := c.Waited(); !going || c.Target() != 0 || time.Since(begun) != 4*s || wait != 4*s || reason != retry.RateLimitWait {
				t.Errorf("at target %d after %v, waited %v %v: %v", c.Target(), time.Since(begun), wait, reason, c.Err())
			}
		})
	}
}

// What a guard says of its own reckoning may be less in the end: it is waited for
// while there is time. What never comes is not.
func TestAReckonedWait(t *testing.T) {
	for _, c := range []struct {
		gate    gate
		config  retry.Config
		after   time.Duration
		reason  retry.Reason
		refused time.Duration
	}{
		{gate: gate{opens: 5 * s}, config: retry.Config{MaxTime: 4 * s}, after: 4 * s, reason: retry.OutOfTime},
		{gate: gate{opens: 5 * s}, config: retry.Config{MaxRateLimitWait: 4 * s}, after: 4 * s, reason: retry.RateLimitWaitExceeded, refused: 5 * s},
		{gate: gate{opens: 5 * s, kind: failure.CircuitOpen}, config: retry.Config{MaxTime: 4 * s, WaitForCircuit: true}, reason: retry.OutOfTime, refused: 5 * s},
		{gate: gate{opens: 5 * s, kind: failure.CircuitOpen}, config: retry.Config{MaxRateLimitWait: 4 * s, WaitForCircuit: true}, reason: retry.RateLimitWaitExceeded, refused: 5 * s},
		{gate: gate{shut: true}, reason: retry.RateLimitWaitExceeded, refused: 1<<63 - 1},
		{gate: gate{shut: true, kind: failure.CircuitOpen}, config: retry.Config{WaitForCircuit: true}, reason: retry.CircuitOpen},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := c.gate
			if g.begun = time.Now(); g.kind == failure.Unknown {
				g.kind = failure.RateLimited
			}
			c.config.Target = retry.Target{Guards: []endpoint.Guard{&g}}
			_, err := retry.Do(t.Context(), newPolicy(t, c.config), play().call)
			e, _ := errors.AsType[*retry.Error](err)
			if e == nil || e.Reason != c.reason || e.RefusedWait != c.refused || time.Since(g.begun) != c.after {
				t.Errorf("%+v, %+v: %+v after %v", c.gate, c.config, err, time.Since(g.begun))
			}
		})
	}
}

// A guard that lets the call go a little sooner than the provider told has its way,
// by 10 ms at most.
func TestAQueueMayBeALittleSooner(t *testing.T) {
	const ms = time.Millisecond
	for opens, want := range map[time.Duration]time.Duration{985 * ms: s, 990*ms - 1: s, 990 * ms: 990 * ms, 995 * ms: 995 * ms, 1005 * ms: 1005 * ms} {
		synctest.Test(t, func(t *testing.T) {
			g := &gate{begun: time.Now(), kind: failure.RateLimited}
			var c retry.Call
			begin(t, &c, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{g}})
			defer c.Close()
			c.Settle(endpoint.Outcome{Err: told(failure.RateLimited, s)})
			if g.opens = opens; !c.Next() || time.Since(g.begun) != want {
				t.Errorf("a guard that opens after %v: after %v, want %v: %v", opens, time.Since(g.begun), want, c.Err())
			}
		})
	}
}

// The default delays vary by 10 %, and FallbackAfter is the second of them: which model
// is asked next is not chosen by chance.
func TestChanceDoesNotChooseTheModel(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Overloaded, failure.RateLimited} {
		first := map[string]int{}
		for range 40 {
			synctest.Test(t, func(t *testing.T) {
				var made []string
				p := newPolicy(t, retry.Config{Backoff: backoff.Exponential{}})
				targets := []retry.Target{target(t, endpoint.Options{}), target(t, endpoint.Options{})}
				var c retry.Call
				c.Begin(t.Context(), p, targets)
				defer c.Close()
				for c.Next() && len(made) < 2 {
					made = append(made, fmt.Sprint(c.Target()))
					c.Settle(endpoint.Outcome{Err: &failure.Error{Kind: kind, Status: 529}})
				}
				first[strings.Join(made, " ")]++
			})
		}
		if len(first) != 1 {
			t.Errorf("%v: the first two attempts were at the targets %v", kind, first)
		}
	}
}

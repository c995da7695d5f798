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

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// scribe is a guard that writes down what it is asked and told.
type scribe struct {
	asks  []endpoint.Ask
	notes []string
}

func (g *scribe) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	g.asks = append(g.asks, a)
	return endpoint.Permit{N: 1}, nil
}

func (g *scribe) Wait(context.Context, endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	panic("it never refuses")
}

func (g *scribe) Accept(p endpoint.Permit, told *pace.Told) endpoint.Permit {
	g.notes = append(g.notes, strings.TrimSpace("accept "+words(told)))
	return p
}

func (g *scribe) Settle(_ endpoint.Permit, o endpoint.Outcome) {
	if o.Made() { // else it was asked whether it would refuse
		g.notes = append(g.notes, strings.TrimSpace(fmt.Sprintf("%v %v %s", o.Effect, o.Kind, words(report(o).Told))))
	}
}

func report(o endpoint.Outcome) endpoint.Report {
	if o.Report == nil {
		return endpoint.Report{}
	}
	return *o.Report
}

func words(told *pace.Told) string {
	if told == nil {
		return ""
	}
	text := "told"
	if told.HasWait {
		text += " " + told.Wait.String()
	}
	if len(told.Windows) > 0 {
		text += " windows"
	}
	if told.Overload {
		text += " overload"
	}
	return text
}

// What the guards are told of a request, by what becomes of it: first the steps
// before the end ("heard" is a header with windows).
func TestWhatGuardsAreTold(t *testing.T) {
	status := func(kind failure.Kind, n int) error { return &failure.Error{Kind: kind, Status: n} }
	plain := errors.New("?")
	for _, c := range []struct {
		name  string
		steps string
		err   error
		want  string
	}{
		{"an answer", "", nil, "healthy unknown"},
		{"an answer with a header", "heard", nil, "healthy unknown told windows"},
		{"an answer that had begun", "accepted", nil, "accept, healthy unknown"},
		{"its header is told once", "heard accepted", nil, "accept told windows, healthy unknown"},
		{"a whole answer that had begun", "accepted whole", nil, "accept, accept, healthy unknown"},
		{"a whole answer", "heard whole", nil, "accept told windows, accept, healthy unknown"},
		{"an answer that begins twice", "accepted accepted", nil, "accept, healthy unknown"},
		{"a failure that passes", "", transient, "count transient"},
		{"of unknown kind", "", plain, "count unknown"},
		{"with a header", "heard", transient, "count transient told windows"},
		{"a header says nothing of an overload", "heard overload", transient, "count transient told windows"},
		{"an overload", "", fail(failure.Overloaded), "count overloaded told overload"},
		{"an overload with a header", "heard", fail(failure.Overloaded), "count overloaded told windows overload"},
		{"a refusal", "", limited, "limit rate_limited"},
		{"a refusal with a time", "", told(failure.RateLimited, 5*s), "limit rate_limited told 5s"},
		{"a refusal with a time and a header", "heard", told(failure.RateLimited, 5*s), "limit rate_limited told 5s windows"},
		{"a refusal with no time to wait", "", told(failure.RateLimited, 0), "limit rate_limited told 0s"},
		{"a bad key", "", status(failure.Unauthorized, 401), "trip unauthorized"},
		{"a bad request that was answered", "", status(failure.InvalidRequest, 400), "accept, healthy invalid_request"},
		{"with the largest status of an answer", "", status(failure.InvalidRequest, 499), "accept, healthy invalid_request"},
		{"by something between", "", status(failure.InvalidRequest, 500), "ignore invalid_request"},
		{"that was never sent", "", status(failure.InvalidRequest, 0), "ignore invalid_request"},
		{"a bad request after a piece", "accepted", status(failure.InvalidRequest, 0), "accept, healthy invalid_request"},
		{"a stream that broke", "accepted", transient, "accept, count transient"},
		{"a nil failure", "", (*failure.Error)(nil), "count unknown"},
		{"cancelled, with a failure that passes", "cancel", transient, "ignore transient"},
		{"cancelled, with an unknown one", "cancel", plain, "ignore unknown"},
		{"cancelled, with an overload", "cancel", fail(failure.Overloaded), "count overloaded told overload"},
		{"cancelled after a piece", "accepted cancel", transient, "accept, healthy transient"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &scribe{}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var call retry.Call
				call.Begin(ctx, newPolicy(t, retry.Config{}), []retry.Target{{Guards: []endpoint.Guard{g}}})
				defer call.Close()
				call.Accepted(tenSeconds) // of no request
				call.Whole()
				call.Told(tenSeconds)
				if !call.Next() {
					t.Fatal(call.Err())
				}
				header := &pace.Told{Windows: []pace.Window{{Limit: 9}}, Overload: strings.Contains(c.steps, "overload")}
				for _, step := range strings.Fields(c.steps) {
					switch step {
					case "heard":
						call.Told(nil)
						call.Told(header)
						call.Told(nil)
					case "accepted":
						call.Accepted(nil)
					case "whole":
						call.Whole()
					case "cancel":
						cancel()
					}
				}
				call.Settle(endpoint.Outcome{Err: c.err})
				call.Accepted(tenSeconds) // of no request any more
				call.Whole()
				call.Told(tenSeconds)
				if got := strings.Join(g.notes, ", "); got != c.want {
					t.Errorf("told %q, want %q", got, c.want)
				}
			})
		})
	}
}

var tenSeconds = &pace.Told{Wait: 10 * s, HasWait: true}

// What the guards are asked before the attempt that follows a failure: what has
// begun goes on (Again), and a failure of the provider takes from the budget
// (Retry), unless the pacer holds back all who were refused.
func TestWhatGuardsAreAsked(t *testing.T) {
	well := failure.Decisions()
	well[failure.Transient].Breaker = failure.Healthy
	ill := failure.Decisions()
	ill[failure.InvalidAnswer].Breaker, ill[failure.CutOff].Breaker = failure.Count, failure.Count
	paced := target(t, endpoint.Options{})
	for _, c := range []struct {
		name   string
		config retry.Config
		to     retry.Target
		err    error
		wrong  bool // an answer that is
		retry  bool
	}{
		{name: "a failure that passes", err: transient, retry: true},
		{name: "with a pacer", err: transient, to: paced, retry: true},
		{name: "of a provider that is well by a table", config: retry.Config{Decisions: &well}, err: transient},
		{name: "an overload", err: fail(failure.Overloaded), retry: true},
		{name: "with a pacer", err: fail(failure.Overloaded), to: retry.Target{Endpoint: paced.Endpoint}},
		{name: "with a pacer that is not among the guards", err: fail(failure.Overloaded), to: retry.Target{Endpoint: paced.Endpoint, Unpaced: true}, retry: true},
		{name: "a refusal", err: limited, retry: true},
		{name: "with a pacer", err: limited, to: retry.Target{Endpoint: paced.Endpoint}},
		{name: "a refusal with a time", err: told(failure.RateLimited, s)},
		{name: "a failure with a time", err: told(failure.Transient, s), retry: true},
		{name: "an answer that is wrong", err: invalid},
		{name: "one that its function found wrong", err: invalid, wrong: true},
		{name: "by a failure of its check", err: transient, wrong: true},
		{name: "an answer that was cut off", err: fail(failure.CutOff)},
		{name: "a wrong answer that counts by a table", config: retry.Config{Decisions: &ill}, err: invalid},
		{name: "one that was cut off", config: retry.Config{Decisions: &ill}, err: fail(failure.CutOff)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, follows := range []bool{false, true} {
					g := &scribe{}
					need := &endpoint.Need{Tokens: 7}
					c.to.Guards = []endpoint.Guard{g}
					c.config.Client, c.config.Follows = "a client", follows
					var call retry.Call
					call.Need = func(int) *endpoint.Need { return need }
					call.Begin(t.Context(), newPolicy(t, c.config), []retry.Target{c.to})
					defer call.Close()
					if !call.Next() {
						t.Fatal(call.Err())
					}
					if asked := []endpoint.Ask{{Again: follows, Client: "a client", Need: need}}; !slices.Equal(g.asks, asked) {
						t.Errorf("at first asked %+v, want %+v", g.asks, asked)
					}
					if c.wrong {
						call.Settle(endpoint.Outcome{})
						call.Wrong(c.err)
					} else {
						call.Settle(endpoint.Outcome{Err: c.err})
					}
					g.asks, need = nil, &endpoint.Need{Tokens: 8}
					if !call.Next() {
						t.Fatal(call.Err())
					}
					asked := endpoint.Ask{Retry: c.retry, Again: true, Client: "a client", Need: need}
					for _, got := range g.asks {
						if got != asked {
							t.Errorf("asked %+v, want %+v", got, asked)
						}
					}
					call.Settle(endpoint.Outcome{})
					g.asks, need = nil, &endpoint.Need{Tokens: 9}
					if !call.Round() {
						t.Fatal(call.Err())
					}
					if asked := []endpoint.Ask{{Again: true, Client: "a client", Need: need}}; !slices.Equal(g.asks, asked) {
						t.Errorf("for a round asked %+v, want %+v", g.asks, asked)
					}
				}
			})
		})
	}
}

// The calls of a Call in an order that has no meaning do nothing.
func TestStepsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &scribe{}
		var c retry.Call
		c.Begin(t.Context(), newPolicy(t, retry.Config{}), []retry.Target{{Guards: []endpoint.Guard{g}}})
		defer c.Close()
		no := func(what string, done bool) {
			t.Helper()
			if done || c.Err() != nil {
				t.Errorf("%s: %v, %v", what, done, c.Err())
			}
		}
		no("Settle before Next", c.Settle(endpoint.Outcome{}))
		no("Round before Next", c.Round())
		c.Wrong(transient)
		_, any := c.Last()
		no("a failure before Next", any)
		if !c.Next() {
			t.Fatal(c.Err())
		}
		no("Next while a request is under way", c.Next())
		no("Round while a request is under way", c.Round())
		c.Wrong(transient)
		c.Stop()
		_, any = c.Last()
		no("Wrong and Stop while a request is under way", any)
		if !c.Settle(endpoint.Outcome{}) {
			t.Fatal("an answer is a failure")
		}
		no("Settle twice", c.Settle(endpoint.Outcome{}))
		c.Wrong((*brittle)(nil))
		last, _ := c.Last()
		no("Wrong with a nil pointer", c.Counted() != 1 || last.Err.Error() == "")
		c.Wrong(transient)
		no("Wrong twice", c.Counted() != 1)
		no("Round after Wrong", c.Round())
		if len(g.asks) != 1 || len(g.notes) != 1 {
			t.Errorf("guards were asked %v and told %v", g.asks, g.notes)
		}
		c.Stop()
		first := c.Err()
		if e, ok := errors.AsType[*retry.Error](first); !ok || e.Reason != retry.Permanent {
			t.Errorf("stopped with %v", first)
		}
		c.Stop()
		if c.Next() || c.Round() || c.Settle(endpoint.Outcome{}) || c.Err() != first {
			t.Errorf("after the end: %v", c.Err())
		}
	})
}

// brittle is an error of which a nil pointer has no text.
type brittle struct{ text string }

func (b *brittle) Error() string { return b.text }

// After the context's end there is no further attempt and no round.
func TestNothingFollowsTheEndOfTheContext(t *testing.T) {
	for name, step := range map[string]func(c *retry.Call) bool{
		"Round": func(c *retry.Call) bool { c.Settle(endpoint.Outcome{}); return c.Round() },
		"Next":  func(c *retry.Call) bool { c.Settle(endpoint.Outcome{}); return c.Next() },
		"Wrong": func(c *retry.Call) bool { c.Settle(endpoint.Outcome{}); c.Wrong(invalid); return c.Next() },
		"Settle": func(c *retry.Call) bool {
			return c.Settle(endpoint.Outcome{Err: transient}) || c.Err() == nil || c.Next()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &scribe{}
			ctx, cancel := context.WithCancel(t.Context())
			var c retry.Call
			c.Begin(ctx, newPolicy(t, retry.Config{}), []retry.Target{{Guards: []endpoint.Guard{g}}})
			defer c.Close()
			if !c.Next() {
				t.Fatal(c.Err())
			}
			cancel()
			if step(&c) || failure.KindOf(c.Err()) != failure.Cancelled || len(g.asks) != 1 {
				t.Errorf("%s: %v after %d questions", name, c.Err(), len(g.asks))
			}
			if _, failed := c.Last(); failed != (name == "Wrong" || name == "Settle") {
				t.Errorf("%s: a failure %v", name, failed)
			}
		})
	}
}

// Of an attempt the contexts end with it, and of a call with Close.
func TestContextsEndWithTheirAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []context.Context
		_, err := retry.Do(t.Context(), newPolicy(t, retry.Config{AttemptTimeout: time.Hour, MaxTime: 2 * time.Hour}), func(ctx context.Context, a retry.Attempt) (int, error) {
			for _, before := range seen {
				if before.Err() == nil {
					t.Errorf("in attempt %d the context of one before is open", a.Number)
				}
			}
			seen = append(seen, ctx)
			if a.Number < 3 {
				return 0, transient
			}
			return 0, nil
		})
		if err != nil || len(seen) != 3 || seen[2].Err() == nil {
			t.Errorf("%v after %d attempts", err, len(seen))
		}
		var c retry.Call // by MaxTime alone
		c.Begin(t.Context(), newPolicy(t, retry.Config{MaxTime: time.Hour}), []retry.Target{{}})
		if !c.Next() {
			t.Fatal(c.Err())
		}
		ctx := c.Context()
		c.Settle(endpoint.Outcome{})
		c.Close()
		if ctx.Err() == nil {
			t.Error("the call's context is open after Close")
		}
	})
}

// An observer hears how long attempts and calls took, which call it was, and how
// it ended also where the function panicked; of one of its own as of the policy's.
func TestWhatAnObserverHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		note := func(_ context.Context, e retry.Event) context.Context {
			if e.Type == retry.AttemptEnded || e.Type == retry.CallEnded || e.Type == retry.Waiting {
				heard = append(heard, fmt.Sprintf("%v %v %v %v", e.Type, e.Duration, e.Kind, e.Err))
			}
			return nil
		}
		calls := map[uint64]bool{}
		count := func(_ context.Context, e retry.Event) context.Context {
			calls[e.Call] = true
			return nil
		}
		p, plain := newPolicy(t, retry.Config{Observer: count}), newPolicy(t, retry.Config{})
		to := []retry.Target{target(t, endpoint.Options{})}
		for i, end := range []func() error{func() error { return invalid }, func() error { return nil }, func() error { panic("boom") }} {
			var c retry.Call
			c.Observer = note
			c.Begin(t.Context(), p, to)
			panicked := caught(func() {
				defer c.Close()
				for n := 0; c.Next(); n++ {
					time.Sleep(s)
					var err error
					if n == 0 {
						err = end()
					}
					if c.Settle(endpoint.Outcome{Err: err}) {
						return
					}
				}
			})
			c.Close()
			if (panicked == "boom") != (i == 2) {
				t.Errorf("call %d panics with %v", i, panicked)
			}
		}
		want := []string{
			"attempt_ended 1s invalid_answer " + invalid.Error(), "attempt_ended 1s unknown <nil>", "call_ended 2s unknown <nil>",
			"attempt_ended 1s unknown <nil>", "call_ended 1s unknown <nil>",
			"attempt_ended 1s unknown panic: boom", "call_ended 1s unknown <nil>",
		}
		if !slices.Equal(heard, want) {
			t.Errorf("heard\n%s\nwant\n%s", strings.Join(heard, "\n"), strings.Join(want, "\n"))
		}
		if len(calls) != 3 {
			t.Errorf("three calls have the numbers %v", calls)
		}
		heard = nil
		var c retry.Call // an observer of its own alone, and an attempt that ends without a word
		c.Observer = note
		begin(t, &c, plain, to[0])
		time.Sleep(s)
		c.Settle(endpoint.Outcome{})
		first := c.Context()
		if !c.Next() || first.Err() != nil {
			t.Fatal(c.Err())
		}
		if want := []string{"attempt_ended 1s unknown <nil>"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		c.Settle(endpoint.Outcome{})
		c.Close()
	})
}

// How long a failed request lasted is told the guards, but for the first failure.
func TestGuardsHearHowLongItLasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := target(t, endpoint.Options{})
		var lasted []time.Duration
		watch := &ledger{settle: func(o endpoint.Outcome) {
			if o.Made() {
				lasted = append(lasted, report(o).Lasted)
			}
		}}
		to.Guards = append(slices.Clone(to.Guards), watch)
		for n := range 4 {
			if n == 3 {
				to = retry.Target{Guards: []endpoint.Guard{watch}} // no endpoint, whose failures are known
			}
			var c retry.Call
			begin(t, &c, newPolicy(t, retry.Config{}), to)
			time.Sleep(s)
			if n > 0 {
				c.Settle(endpoint.Outcome{Err: transient})
				if n == 2 {
					continue
				}
				if !c.Next() {
					t.Fatal(c.Err())
				}
				time.Sleep(2 * s)
			}
			c.Settle(endpoint.Outcome{})
			c.Close()
		}
		if want := []time.Duration{0, 0, 0, s, 0, 0}; !slices.Equal(lasted, want) {
			t.Errorf("lasted %v, want %v", lasted, want)
		}
	})
}

// A call hears of one request until that ends, and of it nothing later.
func TestACallHearsOfARequestUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []bool{false, true} {
			g := &scribe{}
			var c retry.Call
			begin(t, &c, newPolicy(t, retry.Config{}), retry.Target{Guards: []endpoint.Guard{g}})
			ctx, end := c.Listen(c.Context())
			if ends {
				end()
			}
			endpoint.Told(ctx, tenSeconds)
			endpoint.Accepted(ctx, nil)
			end()
			endpoint.Accepted(ctx, nil)
			endpoint.Told(ctx, tenSeconds)
			c.Settle(endpoint.Outcome{})
			c.Close()
			want := "accept told 10s, healthy unknown"
			if ends {
				want = "healthy unknown"
			}
			if got := strings.Join(g.notes, ", "); got != want {
				t.Errorf("ended %v: told %q, want %q", ends, got, want)
			}
		}
	})
}

func TestReasonsOfWaitsAreRead(t *testing.T) {
	for _, w := range []retry.WaitReason{retry.NoWait, retry.BackoffWait, retry.ProviderWait, retry.RateLimitWait, retry.PaceWait, retry.CircuitWait} {
		text, err := w.MarshalText()
		got := retry.CircuitWait
		if w == got {
			got = retry.NoWait
		}
		if err != nil || got.UnmarshalText(text) != nil || got != w {
			t.Errorf("%q was read as %q", text, got)
		}
	}
	got := retry.PaceWait
	if err := got.UnmarshalText([]byte("a coffee")); err == nil || got != retry.PaceWait || !strings.Contains(err.Error(), `"a coffee"`) {
		t.Errorf("read as %q: %v", got, err)
	}
}

package account_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"llmcall/account"
	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

func amount(tokens, nanos int64) endpoint.Amount {
	return endpoint.Amount{Tokens: tokens, Nanos: nanos}
}

func used(tokens, nanos int64) *endpoint.Report {
	return &endpoint.Report{Used: amount(tokens, nanos)}
}

// 100 tokens and 50 nano-dollars are reserved.
func TestWhatARequestCosts(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name    string
		outcome endpoint.Outcome
		begun   bool
		spent   endpoint.Amount
	}{
		{name: "it was not made"},
		{name: "it was not made, after its answer had begun", begun: true},
		{name: "an answer", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: used(20, 9)}, begun: true, spent: amount(20, 9)},
		{name: "an answer that cost more", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: used(200, 90)}, spent: amount(200, 90)},
		{name: "an answer without its usage", outcome: endpoint.Outcome{Effect: failure.Healthy}, spent: amount(100, 50)},
		{name: "an answer whose usage is 0", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: used(0, 0)}, spent: amount(100, 50)},
		{name: "an answer without its price", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: used(20, 0)}, spent: amount(20, 50)},
		{name: "an answer whose usage can't be", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: used(-5, -5)}, spent: amount(100, 50)},
		{name: "the refusal of a setting", outcome: endpoint.Outcome{Effect: failure.Healthy, Report: &endpoint.Report{Unbilled: true}}},
		{name: "a refusal", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.RateLimited, Err: &failure.Error{Kind: failure.RateLimited, Status: 429}}},
		{name: "a provider in trouble", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Kind: failure.Transient, Status: 503}}},
		{name: "one that says so without a status", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Kind: failure.Transient, Message: "busy"}}},
		{name: "one that is not reached", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Kind: failure.Transient, Err: &net.OpError{Op: "dial", Err: down}}}},
		{name: "a connection that broke", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Kind: failure.Transient, Err: &net.OpError{Op: "read", Err: down}}}, spent: amount(100, 50)},
		{name: "half an answer", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.Transient, Err: &failure.Error{Kind: failure.Transient, Status: 200, Err: io.ErrUnexpectedEOF}}, spent: amount(100, 50)},
		{name: "an answer that is not waited for", outcome: endpoint.Outcome{Effect: failure.Count, Kind: failure.AttemptTimeout, Err: context.DeadlineExceeded}, spent: amount(100, 50)},
		{name: "a caller that leaves", outcome: endpoint.Outcome{Effect: failure.Ignore, Kind: failure.Cancelled, Err: context.Canceled}, spent: amount(100, 50)},
		{name: "an error that nobody knows", outcome: endpoint.Outcome{Effect: failure.Count, Err: down}, spent: amount(100, 50)},
		{name: "a failure after a piece", outcome: endpoint.Outcome{Effect: failure.Count, Err: down}, begun: true, spent: amount(100, 50)},
		{name: "a failure that was billed", outcome: endpoint.Outcome{Effect: failure.Count, Err: down, Report: used(20, 9)}, spent: amount(20, 9)},
		{name: "a wrong answer", outcome: endpoint.Outcome{Effect: failure.Ignore, Err: down, Report: used(20, 9)}, spent: amount(20, 9)},
	} {
		a := account.New(amount(1000, 1000))
		g := a.Guard()
		want := amount(100, 50)
		p, refusal := g.Admit(endpoint.Ask{Need: &endpoint.Need{Want: &want}})
		if refusal != nil || g.Lent() != want || a.Snapshot().Reserved != want {
			t.Fatalf("%s: %+v, lent %+v, %+v", c.name, refusal, g.Lent(), a.Snapshot())
		}
		if c.begun {
			p = g.Accept(p, nil)
		}
		g.Settle(p, c.outcome)
		if got := a.Snapshot(); got.Spent != c.spent || got.Reserved != (endpoint.Amount{}) || g.Lent() != (endpoint.Amount{}) {
			t.Errorf("%s: %+v, lent %+v, want %+v spent", c.name, got, g.Lent(), c.spent)
		}
	}
}

func TestWhatAGuardIsAsked(t *testing.T) {
	most, least := amount(100, 50), amount(10, 5)
	for _, c := range []struct {
		name      string
		limit     endpoint.Amount
		ask       endpoint.Ask
		lent      endpoint.Amount
		refused   string
		ctxIsOver bool
	}{
		{name: "all that it wants", limit: amount(100, 50), ask: endpoint.Ask{Need: &endpoint.Need{Want: &most}}, lent: most},
		{name: "not less, if nothing says so", limit: amount(99, 50), ask: endpoint.Ask{Need: &endpoint.Need{Want: &most}}, refused: "99 tokens left"},
		{name: "what is left", limit: amount(20, 20), ask: endpoint.Ask{Need: &endpoint.Need{Want: &most, Least: &least}}, lent: amount(20, 20)},
		{name: "too little is left", limit: amount(20, 4), ask: endpoint.Ask{Need: &endpoint.Need{Want: &most, Least: &least}}, refused: "$0.000000004 left"},
		{name: "nothing is known, without a limit", ask: endpoint.Ask{}},
		{name: "nothing is known, with a limit", limit: amount(0, 1), refused: `top has a limit, but it is not known what the request may use`},
		{name: "a context that is over", ask: endpoint.Ask{Need: &endpoint.Need{Want: &most}}, ctxIsOver: true, refused: "context canceled"},
	} {
		top := account.New(c.limit)
		top.Name = "top"
		g := account.New(endpoint.Amount{}, top).Guard()
		ctx, cancel := context.WithCancel(t.Context())
		if c.ctxIsOver {
			cancel()
		}
		_, refusal := g.Wait(ctx, c.ask)
		cancel()
		if !c.ctxIsOver {
			_, again := g.Admit(c.ask)
			if refusal != nil && again == nil {
				t.Errorf("%s: Wait and Admit differ", c.name)
			}
		}
		if c.refused == "" {
			if refusal != nil || top.Snapshot().Reserved != c.lent {
				t.Errorf("%s: %+v, %+v", c.name, refusal, top.Snapshot())
			}
			continue
		}
		if refusal == nil || refusal.Kind != failure.AccountSpent || !refusal.Until.IsZero() || !strings.Contains(refusal.Err.Error(), c.refused) || g.Lent() != (endpoint.Amount{}) {
			t.Errorf("%s: %+v", c.name, refusal)
		}
	}
}

// A guard that two calls share, against its documentation, keeps their loans apart.
func TestLoansOfOneGuard(t *testing.T) {
	a := account.New(nanos(100))
	g := a.Guard()
	var held []endpoint.Permit
	for n := int64(1); n <= 4; n++ {
		want := nanos(n)
		p, refusal := g.Admit(endpoint.Ask{Need: &endpoint.Need{Want: &want}})
		if refusal != nil || g.Lent() != want {
			t.Fatal(refusal, g.Lent())
		}
		held = append(held, p)
	}
	for i, p := range held {
		g.Settle(p, endpoint.Outcome{Effect: failure.Healthy})
		if want := nanos(int64((i + 1) * (i + 2) / 2)); a.Snapshot().Spent != want {
			t.Errorf("%+v, want %+v", a.Snapshot(), want)
		}
	}
	g.Settle(held[0], endpoint.Outcome{Effect: failure.Healthy, Report: used(1, 1)}) // a second time
	if got := a.Snapshot(); got.Spent != nanos(10) || got.Reserved != (endpoint.Amount{}) {
		t.Errorf("%+v", got)
	}
}

// A call whose account is spent ends at once, and says what is left of what.
func TestACallEndsWithItsAccount(t *testing.T) {
	purse := account.New(nanos(100))
	purse.Name = "max_cost"
	p, err := retry.New(retry.Config{MaxAttempts: 9, Backoff: backoff.Constant{}})
	if err != nil {
		t.Fatal(err)
	}
	var c retry.Call
	want := nanos(40)
	c.Need = func(int) *endpoint.Need { return &endpoint.Need{Want: &want} }
	c.Begin(t.Context(), p, []retry.Target{{}}, purse.Guard())
	defer c.Close()
	for c.Next() {
		c.Settle(endpoint.Outcome{Err: &failure.Error{Kind: failure.Transient, Message: "down"}, Report: used(1, 35)})
	}
	e, _ := errors.AsType[*retry.Error](c.Err())
	if e == nil || e.Reason != retry.AccountSpent || e.Attempts != 2 || purse.Snapshot().Spent != amount(2, 70) || purse.Snapshot().Reserved != (endpoint.Amount{}) {
		t.Fatalf("%v, %+v", c.Err(), purse.Snapshot())
	}
	if words := `stopped after 2 attempts: max_cost has $0.00000003 left of $0.0000001, and the request may use $0.00000004`; !strings.HasPrefix(e.Error(), words) {
		t.Error(e)
	}
}

// A target that is too dear is passed over where another one is compared with it.
func TestEachTargetHasItsPrice(t *testing.T) {
	purse := account.New(nanos(100))
	p, err := retry.New(retry.Config{Backoff: backoff.Constant{}})
	if err != nil {
		t.Fatal(err)
	}
	g := purse.Guard()
	prices := []endpoint.Amount{nanos(30), nanos(200), nanos(60)}
	var c retry.Call
	c.Need = func(target int) *endpoint.Need { return &endpoint.Need{Want: &prices[target]} }
	c.Begin(t.Context(), p, make([]retry.Target, 3), g)
	defer c.Close()
	var got []endpoint.Amount
	for c.Next() {
		got = append(got, g.Lent())
		if c.Settle(endpoint.Outcome{Err: &failure.Error{Kind: failure.QuotaExhausted}}) {
			break
		}
	}
	if len(got) != 2 || got[0] != prices[0] || got[1] != prices[2] || c.Target() != 2 {
		t.Errorf("lent %+v, ended at target %d with %v", got, c.Target(), c.Err())
	}
}

// A provider that refuses a setting is not paid, also if its headers say how much is left.
func TestTheRefusalOfASettingIsFree(t *testing.T) {
	purse := account.New(nanos(100))
	p, err := retry.New(retry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := nanos(40)
	var c retry.Call
	c.Need = func(int) *endpoint.Need { return &endpoint.Need{Want: &want} }
	c.Begin(t.Context(), p, make([]retry.Target, 1), purse.Guard())
	defer c.Close()
	c.Next()
	c.Told(&pace.Told{})
	if !c.Settle(endpoint.Outcome{Report: &endpoint.Report{Unbilled: true}}) || purse.Snapshot().Spent != nanos(0) {
		t.Errorf("%+v", purse.Snapshot())
	}
	if !c.Round() || !c.Settle(endpoint.Outcome{}) || purse.Snapshot().Spent != nanos(40) {
		t.Errorf("the request without the setting: %+v", purse.Snapshot())
	}
}

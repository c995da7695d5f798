package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
	judges "llmcall/validate/judge"
)

// Prices that are easy to add up: a dollar per million tokens of input and ten of output,
// so that a token is 1,000 or 10,000 nano-dollars.
var cents = price.Price{Rates: price.Rates{Input: 1 * account.Dollar, Output: 10 * account.Dollar}}

// uses answers with a usage.
func uses(text string, in, out int64) step {
	return answers(&llm.Response{Message: llm.Assistant(text), Finish: llm.FinishStop, Usage: llm.Usage{InputTokens: in, OutputTokens: out}})
}

func TestWhatACallHasCost(t *testing.T) {
	m := play(t, uses("bad", 100, 10), down, uses("good", 200, 20))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("?"), checked, exact(llmcall.RetryConfig{Backoff: backoff.Constant{}, Prices: price.Table{m.name: cents}}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"0.0002", "0", "0.0004"} {
		if got := r.Attempts[i].Cost; got.Dollars() != want || !got.Known() {
			t.Errorf("attempt %d cost %+v, want %s", i+1, got, want)
		}
	}
	text, _ := json.Marshal(r.Attempts[0])
	if r.Cost.Nanos != 600_000 || !strings.Contains(string(text), `"cost":0.0002`) {
		t.Errorf("%+v, %s", r.Cost, text)
	}
	r, err = llmcall.RetryWithValidation(t.Context(), play(t, uses("good", 1, 1)), llm.Prompt("?"), checked, llmcall.RetryConfig{})
	if err != nil || r.Cost.Known() {
		t.Errorf("without a price it cost %+v, %v", r.Cost, err)
	}
}

// Each row is a call with a ceiling, of which the prompt takes 273 tokens at most (account.MostInput): the limits of tokens that its requests had, and how
// it ended.
func TestACeiling(t *testing.T) {
	spent, valid := llmcall.ReasonAccountSpent, llmcall.Reason("")
	cut := func(in, out int64) step {
		return answers(&llm.Response{Message: llm.Assistant("go"), Finish: llm.FinishLength, Usage: llm.Usage{InputTokens: in, OutputTokens: out}})
	}
	for _, row := range []struct {
		name   string
		cfg    llmcall.RetryConfig
		max    int
		steps  []step
		limits []int
		reason llmcall.Reason
	}{
		{"there is enough", llmcall.RetryConfig{MaxCost: 1}, 100, []step{uses("good", 10, 10)}, []int{100}, valid},
		{"an answer without a limit gets one", llmcall.RetryConfig{MaxCost: 1}, 0, []step{uses("good", 10, 10)}, []int{16000}, valid},
		{"what is left lowers the limit", llmcall.RetryConfig{MaxCost: 0.01}, 5000, []step{uses("good", 10, 10)}, []int{972}, valid},
		{"and again", llmcall.RetryConfig{MaxCost: 0.01}, 5000, []step{uses("bad", 10, 500), uses("good", 10, 10)}, []int{972, 463}, valid},
		{"too little is left for a request", llmcall.RetryConfig{MaxCost: 0.01}, 5000, []step{uses("bad", 10, 900)}, []int{972}, spent},
		{"nothing is asked for less than the least", llmcall.RetryConfig{MaxCost: 0.002}, 5000, nil, nil, spent},
		{"unless the least is less", llmcall.RetryConfig{MaxCost: 0.002, MinOutputTokens: 100}, 5000, []step{uses("good", 1, 1)}, []int{172}, valid},
		{"a limit below the least is as good", llmcall.RetryConfig{MaxCost: 0.002}, 50, []step{uses("good", 1, 1)}, []int{50}, valid},
		{"tokens have a ceiling too", llmcall.RetryConfig{MaxTokensTotal: 1000}, 5000, []step{uses("bad", 100, 100), uses("good", 1, 1)}, []int{727, 449}, valid},
		{"an answer that is cut off at a lowered limit ends with the money's reason", llmcall.RetryConfig{MaxCost: 0.01}, 5000, []step{cut(10, 972)}, []int{972}, spent},
		{"at one that is not, it gets twice the tokens", llmcall.RetryConfig{MaxCost: 1}, 100, []step{cut(10, 100), uses("good", 1, 1)}, []int{100, 200}, valid},
		{"a failure costs nothing", llmcall.RetryConfig{MaxCost: 0.01}, 5000, []step{down, down, uses("good", 1, 1)}, []int{972, 972, 972}, valid},
		{"an attempt that we end costs all that it could", llmcall.RetryConfig{MaxCost: 0.01, AttemptTimeout: s}, 500, []step{hang, uses("good", 1, 1)}, []int{500, 445}, valid},
		{"an answer without usage costs all that it could", llmcall.RetryConfig{MaxCost: 0.01}, 500, []step{say("bad"), uses("good", 1, 1)}, []int{500, 437}, valid},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := play(t, row.steps...)
				cfg := exact(row.cfg)
				cfg.Prices = price.Table{m.name: cents}
				cfg.Account = account.New(endpoint.Amount{})
				_, err := llmcall.RetryWithValidation(t.Context(), m, &llm.Request{Messages: []llm.Message{llm.User("?")}, MaxTokens: row.max}, checked, cfg)
				var limits []int
				for _, r := range m.asked {
					limits = append(limits, r.MaxTokens)
				}
				if reasonOf(t, err) != row.reason || fmt.Sprint(limits) != fmt.Sprint(row.limits) {
					t.Errorf("limits %v, want %v: %v", limits, row.limits, err)
				}
				after := cfg.Account.Snapshot()
				if after.Reserved != (endpoint.Amount{}) || row.cfg.MaxCost > 0 && after.Spent.Nanos > int64(row.cfg.MaxCost*account.Dollar) {
					t.Errorf("afterwards the account is %+v", after)
				}
			})
		})
	}
}

// A price that is not known is an error before the first request, and says what to do.
func TestUnknownPrices(t *testing.T) {
	m := play(t)
	j, err := judges.Task(llm.Func("test/judge", nil), "is polite", judges.TaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		cfg    llmcall.RetryConfig
		checks []validate.Strategy
		model  string
	}{
		"of a call":               {llmcall.RetryConfig{MaxCost: 1}, nil, m.name},
		"of a day":                {llmcall.RetryConfig{Account: account.Daily(endpoint.Amount{Nanos: 1}, nil)}, nil, m.name},
		"above it":                {llmcall.RetryConfig{Account: account.New(endpoint.Amount{}, account.New(endpoint.Amount{Nanos: 1}))}, nil, m.name},
		"of the model of a judge": {llmcall.RetryConfig{MaxCost: 1, Prices: price.Table{m.name: cents}}, []validate.Strategy{j}, "test/judge"},
	} {
		_, err := llmcall.New([]llm.Model{m}, row.checks, row.cfg)
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Field != "prices" || !strings.Contains(err.Error(), "add the line `"+row.model+": {input: 0.15, output: 0.60}`") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{MaxTokensTotal: 1000}); err != nil {
		t.Errorf("a ceiling of tokens needs no price: %v", err)
	}
}

// What judges, hedges and rounds of tools use is reserved from the same account.
func TestOneAccountForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, _ := endpoint.NewRegistry(endpoint.Config{})
		verdict := uses(`{"passed": true, "reasons": []}`, 1000, 100)
		judging := aModel("test/judge", verdict, verdict, verdict)
		j, err := judges.Task(judging, "is polite", judges.TaskOptions{Options: judges.Options{Endpoints: registry}})
		if err != nil {
			t.Fatal(err)
		}
		slow, quick := obedient(9*s, uses("good", 1000, 100)), uses("good", 2000, 200)
		day := account.New(endpoint.Amount{Nanos: 10 * account.Dollar})
		c, err := llmcall.New([]llm.Model{aModel("test/a", slow), aModel("test/b", quick)}, append(checked, j), exact(llmcall.RetryConfig{
			Endpoints: registry, MaxCost: 1, Account: day, MaxTokens: 100, Hedge: &llmcall.Hedge{After: s, Extra: 1},
			Prices: price.Table{"test/*": cents},
		}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(t.Context(), llm.Prompt("?"))
		if err != nil {
			t.Fatal(err)
		}
		// The hedge 4,000,000; the judge 2,000,000; the first request, which was cancelled,
		// all that it could cost: 100 tokens of output and 273 of its prompt.
		if r.Cost.Nanos != 6_000_000 || r.Attempts[0].Hedge == nil {
			t.Errorf("it cost %+v", r.Cost)
		}
		if after := day.Snapshot(); after.Reserved.Nanos != 0 || after.Spent != (endpoint.Amount{Tokens: 3673, Nanos: 7_273_000}) {
			t.Errorf("the account is %+v", after)
		}
	})
}

// Many calls at once, with hedges, judges, tools, failures, panics and callers that leave,
// never spend more than the account above them has, and leave nothing reserved.
func TestManyCallsAndOneAccount(t *testing.T) {
	const ceiling = 10_000_000_000
	plans := 2000
	if testing.Short() {
		plans = 300
	}
	synctest.Test(t, func(t *testing.T) {
		chance := rand.New(rand.NewPCG(12, 12))
		var mu sync.Mutex
		draw := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return chance.IntN(n)
		}
		behave := func(text string) step {
			return func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
				out := int64(1 + draw(req.MaxTokens)) // at most its limit
				in := int64(1 + draw(100))
				then := uses(text, in, out)
				switch draw(12) {
				case 0:
					then = down
				case 1:
					panic("on purpose")
				case 2:
					then = uses("bad", in, out)
				case 3:
					then = answers(&llm.Response{Message: llm.Assistant(text), Finish: llm.FinishLength, Usage: llm.Usage{InputTokens: in, OutputTokens: int64(req.MaxTokens)}})
				case 4, 5:
					if len(req.Tools) > 0 && !req.NoToolCalls {
						then = answers(&llm.Response{Message: llm.Message{Parts: []llm.Part{calls("1", "f", "{}")}}, Finish: llm.FinishToolCall, Usage: llm.Usage{InputTokens: in, OutputTokens: out}})
					}
				}
				return obedient(time.Duration(draw(3000))*time.Millisecond, then)(ctx, req)
			}
		}
		registry, _ := endpoint.NewRegistry(endpoint.Config{})
		day := account.New(endpoint.Amount{Nanos: ceiling})
		judging := llm.Func("test/judge", behave(`{"passed": true, "reasons": []}`))
		j, err := judges.Task(judging, "is polite", judges.TaskOptions{Options: judges.Options{Endpoints: registry, MaxTokens: 50}})
		if err != nil {
			t.Fatal(err)
		}
		f := aTool("f", found)
		f.ReadOnly = true
		c, err := llmcall.New([]llm.Model{llm.Func("test/a", behave("good")), llm.Func("test/b", behave("good"))}, append(checked, j), exact(llmcall.RetryConfig{
			Endpoints: registry, MaxCost: 0.05, Account: day, MaxTokens: 400, Hedge: &llmcall.Hedge{After: s, Extra: 1}, Tools: []llmcall.Tool{f},
			Prices: price.Table{"test/*": cents},
		}))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var done, spent, hedged atomic.Int64
		watch := func() {
			if a := day.Snapshot(); a.Spent.Nanos+a.Reserved.Nanos > ceiling || a.Spent.Nanos < 0 {
				t.Errorf("the account is %+v", a)
			}
		}
		for range plans {
			all.Go(func() {
				defer func() { _ = recover() }()
				defer watch()
				time.Sleep(time.Duration(draw(60_000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(500+draw(8000))*time.Millisecond)
				defer cancel()
				r, err := c.Do(ctx, llm.Prompt("?"))
				watch()
				switch trace := traceOf(r, err); {
				case err == nil:
					done.Add(1)
				case reasonOf(t, err) == llmcall.ReasonAccountSpent:
					spent.Add(1)
				default:
					for _, a := range trace.Attempts {
						if a.Hedge != nil {
							hedged.Add(1)
						}
					}
				}
			})
		}
		all.Wait()
		synctest.Wait() // a check whose call has ended gives back what it holds a moment later
		a := day.Snapshot()
		t.Logf("%d of %d calls answered, %d refused for money, %d hedges of failed ones; %+v", done.Load(), plans, spent.Load(), hedged.Load(), a)
		if a.Reserved != (endpoint.Amount{}) || a.Spent.Nanos > ceiling || done.Load() == 0 {
			t.Errorf("afterwards the account is %+v", a)
		}
	})
}

// A ceiling that the judge does not fit under ends the call with its reason.
func TestAJudgeIsRefused(t *testing.T) {
	judging := aModel("test/judge")
	j, err := judges.Task(judging, "is polite", judges.TaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = llmcall.RetryWithValidation(t.Context(), aModel("test/a", uses("good", 10, 10)), llm.Prompt("?"), append(checked, j),
		exact(llmcall.RetryConfig{MaxCost: 0.001, MaxTokens: 10, Prices: price.Table{"test/*": cents}}))
	if reasonOf(t, err) != llmcall.ReasonAccountSpent || judging.calls() != 0 {
		t.Errorf("%v after %d verdicts", err, judging.calls())
	}
}

// What is expected is learned: then more fits under a ceiling, which can be passed by one
// attempt.
func TestAnExpectedReservation(t *testing.T) {
	for _, way := range []llmcall.Reserve{llmcall.ReserveStrict, llmcall.ReserveExpected} {
		day := account.New(endpoint.Amount{Nanos: 100_000_000})
		m := llm.Func("test/"+string(way), func(context.Context, *llm.Request) (*llm.Response, error) {
			time.Sleep(0)
			return &llm.Response{Message: llm.Assistant("good"), Finish: llm.FinishStop, Usage: llm.Usage{InputTokens: 10, OutputTokens: 100}}, nil
		})
		c, err := llmcall.New([]llm.Model{m}, checked, exact(llmcall.RetryConfig{Account: day, MaxTokens: 2000, MinOutputTokens: 2000, Reserve: way, Prices: price.Table{"test/*": cents}}))
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for ; done < 1000; done++ {
			if _, err := c.Do(t.Context(), llm.Prompt("?")); err != nil {
				if reasonOf(t, err) != llmcall.ReasonAccountSpent {
					t.Fatal(err)
				}
				break
			}
		}
		t.Logf("%s: %d calls of 1,010,000 under a ceiling of 100,000,000", way, done)
		if want := map[llmcall.Reserve]int{llmcall.ReserveStrict: 79, llmcall.ReserveExpected: 98}[way]; done != want {
			t.Errorf("%s: %d calls", way, done)
		}
	}
}

func TestCostsInJSON(t *testing.T) {
	for text, want := range map[string]llmcall.Cost{"0": {}, "0.000000001": {Nanos: 1}, "12.5": {Nanos: 12_500_000_000}, "null": {Partial: true}} {
		var got llmcall.Cost
		err := json.Unmarshal([]byte(text), &got)
		back, _ := json.Marshal(got)
		if err != nil || got != want || string(back) != text {
			t.Errorf("%s: %+v, %s, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"0.0000000001", `"x"`, "1e400", "{}", "-0.5"} {
		if err := json.Unmarshal([]byte(text), new(llmcall.Cost)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestImpossibleMoney(t *testing.T) {
	for text, want := range map[string]string{
		"max_cost: 0":          "c.yaml:1: max_cost must be a number of dollars from 0.000000001 to 1,000,000, got 0",
		"max_cost: 2000000":    "c.yaml:1: max_cost must be a number of dollars from 0.000000001 to 1,000,000, got 2e+06",
		"max_tokens_total: 0":  "c.yaml:1: max_tokens_total must be a whole number of at least 1, got 0",
		"reserve: strict":      "c.yaml:1: reserve: has no effect unless max_cost, max_tokens_total or an account is set",
		"reserve: loose":       `c.yaml:1: reserve must be strict or expected, got "loose"`,
		"min_output_tokens: 5": "c.yaml:1: min_output_tokens: has no effect unless max_cost, max_tokens_total or an account is set",
		"prices: 3":            "c.yaml:1: prices must be a mapping of models, each to a price in dollars per million tokens such as {input: 0.15, output: 0.60}, got 3",
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

package llmcall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
	judges "llmcall/validate/judge"
)

// A request that is sent again without what its provider refuses is paid for once, and
// keeps its token limit. So it is not sent if as much is not left any more.
func TestARequestWithoutWhatIsRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		others int64 // what others spend of the day meanwhile
		sent   int
		spent  int64
		reason llmcall.Reason
	}{
		{"nobody else", 0, 2, 110_000, ""},
		{"others leave enough", 1_000_000, 2, 110_000, ""},
		{"others leave too little", 6_000_000, 1, 0, llmcall.ReasonAccountSpent},
	} {
		t.Run(row.name, func(t *testing.T) {
			day := account.New(endpoint.Amount{Nanos: 10_000_000})
			sent := 0
			m := aModel("test/a", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
				sent++
				day.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: row.others})
				if !endpoint.Again(ctx) {
					return nil, &failure.Error{Kind: failure.InvalidRequest, Status: 400, Message: "no schemas"}
				}
				sent++
				return uses("good", 10, 10)(ctx, req)
			})
			_, err := llmcall.RetryWithValidation(t.Context(), m, &llm.Request{Messages: []llm.Message{llm.User("?")}, MaxTokens: 500}, checked,
				exact(llmcall.RetryConfig{Account: day, Prices: price.Table{"test/*": cents}}))
			if reasonOf(t, err) != row.reason || sent != row.sent || day.Snapshot().Spent.Nanos != row.spent+row.others {
				t.Errorf("%d requests, %+v: %v", sent, day.Snapshot(), err)
			}
		})
	}
}

// A check that asks a model within another one needs a price too.
func TestUnknownPricesWithinChecks(t *testing.T) {
	j := validate.Must(judges.Task(llm.Func("test/judge", nil), "is polite", judges.TaskOptions{}))
	for name, check := range map[string]validate.Strategy{
		"all":        validate.Must(validate.All(validate.NotEmpty(), j)),
		"any":        validate.Must(validate.Any(validate.NotEmpty(), j)),
		"not":        validate.Must(validate.Not(j, "it is polite", "be rude")),
		"at":         validate.Must(validate.At("/a", j)),
		"all in any": validate.Must(validate.Any(validate.NotEmpty(), validate.Must(validate.All(validate.NotEmpty(), j)))),
	} {
		_, err := llmcall.New([]llm.Model{aModel("test/a")}, []validate.Strategy{check}, llmcall.RetryConfig{MaxCost: 1, Prices: price.Table{"test/a": cents}})
		if err == nil || !strings.Contains(err.Error(), "add the line `test/judge: {") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Under a ceiling, fields by which a request may cost more than is reckoned are refused.
func TestFieldsThatLeaveTheCostOpen(t *testing.T) {
	m := aModel("test/a")
	prices := price.Table{"test/a": cents}
	for _, row := range []struct {
		extra map[string]any
		field string
	}{
		{map[string]any{"n": 5}, "n"},
		{map[string]any{"max_completion_tokens": 100_000}, "max_completion_tokens"},
		{map[string]any{"generationConfig": map[string]any{"candidateCount": 2}}, "candidateCount"},
		{map[string]any{"tools": []any{}}, "tools"},
		{map[string]any{"service_tier": "priority"}, "service_tier"},
		{map[string]any{"service_tier": "flex", "reasoning_effort": "low"}, ""},
	} {
		for name, ask := range map[string]func(cfg llmcall.RetryConfig) error{
			"extra": func(cfg llmcall.RetryConfig) error {
				cfg.Extra = row.extra
				_, err := llmcall.New([]llm.Model{m}, nil, cfg)
				return err
			},
			"stages[0].extra": func(cfg llmcall.RetryConfig) error {
				cfg.Stages = []llmcall.Stage{{Extra: row.extra}}
				_, err := llmcall.New([]llm.Model{m}, nil, cfg)
				return err
			},
			"request.extra": func(cfg llmcall.RetryConfig) error {
				c, err := llmcall.New([]llm.Model{aModel("test/a", uses("good", 1, 1), uses("good", 1, 1))}, nil, cfg)
				if err == nil {
					_, err = c.Do(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("?")}, Extra: row.extra})
				}
				return err
			},
		} {
			err := ask(llmcall.RetryConfig{MaxCost: 1, Prices: prices})
			e, _ := errors.AsType[*llmcall.ConfigError](err)
			if row.field == "" && err != nil || row.field != "" && (e == nil || e.Field != name+"."+row.field) {
				t.Errorf("%s with %v: %v", name, row.extra, err)
			}
			if err := ask(llmcall.RetryConfig{}); err != nil {
				t.Errorf("without a ceiling, %s with %v: %v", name, row.extra, err)
			}
		}
	}
}

// A cost of which a part is not known is never shown as if it were all.
func TestCostsThatAreNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := fails(&failure.Error{Kind: failure.Transient, Status: 503, Message: "busy"})
		for _, row := range []struct {
			name  string
			first step
			price price.Price
			known bool
		}{
			{"all are", uses("bad", 10, 10), cents, true},
			{"a refusal costs nothing", refused, cents, true},
			{"an answer without usage", say("bad"), cents, false},
			{"one that is free", say("bad"), price.Price{}, true},
			{"a time that is over", hang, cents, false},
			{"the same of a free model", hang, price.Price{}, true},
			{"a broken connection", fails(&failure.Error{Kind: failure.Transient, Err: errors.New("connection reset by peer")}), cents, false},
		} {
			m := aModel("test/a", row.first, uses("good", 10, 10))
			r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("?"), checked, exact(llmcall.RetryConfig{AttemptTimeout: s, Prices: price.Table{"test/a": row.price}}))
			if err != nil {
				t.Fatal(row.name, err)
			}
			if r.Cost.Known() != row.known || r.Attempts[0].Cost.Known() != row.known || !r.Attempts[1].Cost.Known() {
				t.Errorf("%s: %+v of %+v and %+v", row.name, r.Cost, r.Attempts[0].Cost, r.Attempts[1].Cost)
			}
			text, _ := json.Marshal(r.Attempts[0])
			var back llmcall.Attempt
			if err := json.Unmarshal(text, &back); err != nil || back.Cost != r.Attempts[0].Cost && row.known {
				t.Errorf("%s: %s is read as %+v, %v", row.name, text, back.Cost, err)
			}
			if back.Cost.Known() != row.known {
				t.Errorf("%s: %s is read as %+v", row.name, text, back.Cost)
			}
		}
	})
}

// A log shows the cost in dollars, if all of it is known, and every count of tokens.
func TestCostsInALog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	all := llm.Usage{InputTokens: 80, OutputTokens: 20, CachedTokens: 1, ReasoningTokens: 2, CacheWriteTokens: 3, CacheWrite1hTokens: 4, AudioTokens: 5, CachedAudioTokens: 6}
	known, partial := llmcall.Cost{Nanos: 1_500_000}, llmcall.Cost{Nanos: 1_500_000, Partial: true}
	for _, v := range []any{
		llmcall.Attempt{Number: 1, Cost: known, Usage: all, Hedge: &llmcall.Attempt{Number: 1, Cost: known}}, llmcall.Trace{Cost: known},
		&llmcall.Result{Trace: llmcall.Trace{Cost: known}}, &llmcall.Error{Trace: llmcall.Trace{Cost: known}}, &llmcall.HumanReviewError{Trace: llmcall.Trace{Cost: known}},
	} {
		b.Reset()
		log.Info("", "x", v)
		if !strings.Contains(b.String(), `"cost":0.0015`) {
			t.Errorf("%T: %s", v, &b)
		}
		if _, ok := v.(llmcall.Attempt); ok && (!strings.Contains(b.String(), `"cached_audio_tokens":6`) || strings.Count(b.String(), `"cost":`) != 2) {
			t.Errorf("%s", &b)
		}
	}
	b.Reset()
	log.Info("", "x", &llmcall.Result{Trace: llmcall.Trace{Cost: partial}})
	if strings.Contains(b.String(), "cost") {
		t.Errorf("%s", &b)
	}
}

// The judge of an answer that a person has written is paid for, and refused, as in a call.
func TestAResumedCallPays(t *testing.T) {
	verdict := uses(`{"passed": true, "reasons": []}`, 100, 10)
	review := func() *llmcall.HumanReviewError {
		return &llmcall.HumanReviewError{Request: llm.Prompt("?"), Err: errors.New("wrong"), Trace: llmcall.Trace{Cost: llmcall.Cost{Nanos: 1_000_000}}}
	}
	edit := llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: "good"}
	for _, row := range []struct {
		day    int64
		cost   int64
		reason llmcall.Reason
	}{
		{account.Dollar, 1_200_000, ""}, {1000, 0, llmcall.ReasonAccountSpent},
	} {
		day := account.New(endpoint.Amount{Nanos: row.day})
		registry, _ := endpoint.NewRegistry(endpoint.Config{})
		j := validate.Must(judges.Task(aModel("test/judge", verdict), "is polite", judges.TaskOptions{Options: judges.Options{Endpoints: registry}}))
		c, err := llmcall.New([]llm.Model{aModel("test/a")}, []validate.Strategy{j}, exact(llmcall.RetryConfig{Endpoints: registry, Account: day, Prices: price.Table{"test/*": cents}}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Resume(t.Context(), review(), edit)
		if reasonOf(t, err) != row.reason || err == nil && r.Cost.Nanos != row.cost {
			t.Errorf("%+v, %v", r, err)
		}
		if after := day.Snapshot(); after.Reserved.Nanos != 0 || err == nil && after.Spent.Nanos != 200_000 {
			t.Errorf("the account is %+v", after)
		}
	}
}

// What is expected bounds the answer no more than the strict most does, also while other
// calls teach the ratio.
func TestExpectedLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		limits := map[int]int{}
		m := llm.Func("test/expected", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
			mu.Lock()
			limits[req.MaxTokens]++
			mu.Unlock()
			time.Sleep(time.Millisecond)
			return &llm.Response{Message: llm.Assistant("good"), Finish: llm.FinishStop, Usage: llm.Usage{InputTokens: 10, OutputTokens: 100 + int64(len(req.Messages[0].Text()))}}, nil
		})
		c, err := llmcall.New([]llm.Model{m}, checked, exact(llmcall.RetryConfig{Account: account.New(endpoint.Amount{Nanos: 100 * account.Dollar}), Reserve: llmcall.ReserveExpected, Prices: price.Table{"test/*": cents}}))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range 2000 {
			all.Go(func() {
				time.Sleep(time.Duration(i/20) * time.Millisecond)
				if _, err := c.Do(t.Context(), llm.Prompt(strings.Repeat("?", i%97))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if fmt.Sprint(limits) != fmt.Sprintf("map[%d:2000]", llmcall.DefaultOutputTokens) {
			t.Errorf("the limits are %v", limits)
		}
	})
}

// Ceilings that can't be, and those at the ends of what can.
func TestCeilingsAtTheEnds(t *testing.T) {
	for _, row := range []struct {
		dollars float64
		takes   bool
	}{
		{math.NaN(), false}, {math.Inf(1), false}, {math.Inf(-1), false}, {-1, false}, {1e-10, false}, {math.SmallestNonzeroFloat64, false},
		{1e-9, true}, {1_000_000, true}, {1_000_000.01, false}, {math.MaxFloat64, false},
	} {
		_, err := llmcall.New([]llm.Model{aModel("test/a")}, nil, llmcall.RetryConfig{MaxCost: row.dollars, Prices: price.Table{"test/a": cents}})
		if e, ok := errors.AsType[*llmcall.ConfigError](err); row.takes && err != nil || !row.takes && (!ok || e.Field != "max_cost") {
			t.Errorf("%v: %v", row.dollars, err)
		}
	}
	// A free model passes under the smallest ceiling, with and without usage.
	r, err := llmcall.RetryWithValidation(t.Context(), aModel("test/a", say("bad"), uses("good", 1e6, 1e6)), llm.Prompt("?"), checked,
		exact(llmcall.RetryConfig{MaxCost: 1e-9, Prices: price.Table{"test/a": {}}}))
	if err != nil || r.Cost != (llmcall.Cost{}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// The account of a day is new at midnight, also for a call under way; what was reserved
// before counts on the day on which it is settled.
func TestMidnightInACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight of UTC
		day := account.Daily(endpoint.Amount{Nanos: 12_000_000}, time.UTC)
		cfg := exact(llmcall.RetryConfig{Account: day, MaxTokens: 1000, Prices: price.Table{"test/*": cents}})
		time.Sleep(24*time.Hour - 3*time.Second)
		m := aModel("test/a", uses("bad", 100, 90), obedient(5*time.Second, uses("bad", 100, 90)), uses("good", 100, 50))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("?"), checked, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := day.Snapshot(); got.Spent.Nanos != 1_000_000+600_000 || got.Reserved.Nanos != 0 || r.Cost.Nanos != 2_600_000 {
			t.Errorf("%+v, cost %+v", got, r.Cost)
		}
	})
}

// A large reservation keeps nobody from what is left: small calls go on, a large one is
// refused at once, and told that others hold the rest.
func TestSmallCallsBesideALargeReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := account.New(endpoint.Amount{Nanos: 130_000_000})
		day.Name = "the tenant's day"
		work := llm.Func("test/a", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
			if req.MaxTokens == 9000 {
				return obedient(time.Minute, uses("good", 100, 10))(ctx, req)
			}
			return obedient(s, uses("good", 10, 10))(ctx, req)
		})
		c, err := llmcall.New([]llm.Model{work}, checked, exact(llmcall.RetryConfig{Account: day, MinOutputTokens: 9000, Prices: price.Table{"test/*": cents}}))
		if err != nil {
			t.Fatal(err)
		}
		ask := func(most int) error {
			_, err := c.Do(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("?")}, MaxTokens: most})
			return err
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := ask(9000); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		err = ask(9000)
		if text := fmt.Sprint(err); reasonOf(t, err) != llmcall.ReasonAccountSpent || !strings.Contains(text, `the tenant's day has $0.039727 left of $0.13 ($0.090273 more is reserved for requests under way)`) {
			t.Error(err)
		}
		for i := range 100 { // two at once
			all.Go(func() {
				time.Sleep(time.Duration(i/2) * s)
				if err := ask(300); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := day.Snapshot(); got.Reserved.Nanos != 0 || got.Spent.Nanos != 200_000+100*110_000 {
			t.Errorf("%+v", got)
		}
	})
}

// An answer that its provider has paused is a part of the next prompt, and reserved with it.
func TestAPausedAnswerIsReserved(t *testing.T) {
	day := account.New(endpoint.Amount{})
	var reserved []int64
	pause := &llm.Response{Message: llm.Assistant(strings.Repeat("x", 10_000)), Finish: llm.FinishPaused, Usage: llm.Usage{InputTokens: 1, OutputTokens: 1}}
	m := aModel("test/a", answers(pause), uses("good", 1, 1))
	watched := llm.Func("test/a", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		reserved = append(reserved, day.Snapshot().Reserved.Tokens)
		return m.Complete(ctx, req)
	})
	_, _ = llmcall.RetryWithValidation(t.Context(), watched, &llm.Request{Messages: []llm.Message{llm.User("?")}, MaxTokens: 100}, nil, exact(llmcall.RetryConfig{Account: day}))
	if len(reserved) != 2 || reserved[1] != reserved[0]+10_000+16 {
		t.Errorf("%d tokens were reserved", reserved)
	}
}

// What a provider reports can't make an account, or a cost, go back.
func TestUsagesThatCannotBe(t *testing.T) {
	for _, u := range []llm.Usage{{InputTokens: math.MaxInt64, OutputTokens: math.MaxInt64}, {InputTokens: -5, OutputTokens: -7}, {InputTokens: math.MinInt64, OutputTokens: 3}} {
		day := account.New(endpoint.Amount{Tokens: 1000, Nanos: account.Dollar})
		odd := answers(&llm.Response{Message: llm.Assistant("bad"), Finish: llm.FinishStop, Usage: u})
		_, err := llmcall.RetryWithValidation(t.Context(), aModel("test/a", odd, odd, odd), llm.Prompt("?"), checked,
			exact(llmcall.RetryConfig{Account: day, MaxTokens: 300, MaxAttempts: 2, Prices: price.Table{"test/*": cents}}))
		e, ok := errors.AsType[*llmcall.Error](err)
		if got := day.Snapshot(); !ok || e.Cost.Nanos < 0 || got.Spent.Tokens <= 0 || got.Spent.Nanos <= 0 || got.Reserved != (endpoint.Amount{}) {
			t.Errorf("%+v: %+v, %v", u, got, err)
		}
	}
}

// An account without a limit counts what calls use, and changes no request.
func TestAnAccountThatOnlyCounts(t *testing.T) {
	day := account.New(endpoint.Amount{})
	m := aModel("test/a", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		if req.MaxTokens != 0 {
			t.Errorf("the limit is %d", req.MaxTokens)
		}
		return uses("good", 10, 10)(ctx, req)
	})
	if _, err := llmcall.RetryWithValidation(t.Context(), m, &llm.Request{Messages: []llm.Message{llm.User("?")}, Extra: map[string]any{"n": 2}}, checked, exact(llmcall.RetryConfig{Account: day})); err != nil {
		t.Error(err)
	}
	if got := day.Snapshot(); got.Spent.Tokens != 20 || got.Reserved != (endpoint.Amount{}) {
		t.Errorf("%+v", got)
	}
}

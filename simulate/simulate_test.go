package simulate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"llmcall"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/simulate"
)

// A bubble that can't go on leaves its goroutines: those of [TestWhatEndsABubbleIsAnError].
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("llmcall/simulate.stuck"), goleak.IgnoreAnyFunction("llmcall/simulate.guarded"), goleak.IgnoreAnyFunction("testing/synctest.testingSynctestTest"))
}

const (
	ms = time.Millisecond
	s  = time.Second
)

func jsonOf(t *testing.T, r *simulate.Report) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func named(name string) *simulate.Scenario { return simulate.Must(simulate.Named(name)) }

// down is a fault for a share of the requests.
func down(share float64) simulate.Fault {
	return simulate.Fault{Fault: chaos.Fault{Kind: chaos.Status, Error: "server_error"}, Share: share}
}

// simple is a scenario of a process with a call a second, each answered in a second.
func simple() *simulate.Scenario {
	return &simulate.Scenario{
		Duration: 5 * time.Minute,
		Clients:  []simulate.Clients{{CallsPerSecond: 1}},
		Provider: simulate.Provider{Latency: simulate.Latency{Constant: s}, Network: simulate.Latency{Constant: 25 * ms}},
	}
}

// policies are configurations that use different parts of the engine.
var policies = map[string]llmcall.RetryConfig{
	"defaults": {},
	"breaker":  {EnableCircuitBreaker: true},
	"waits":    {EnableCircuitBreaker: true, WaitForCircuit: true, AttemptTimeout: 20 * s},
	"two":      {Models: []string{"openai/a", "anthropic/b"}, EnableCircuitBreaker: true},
	"hedge":    {Hedge: &llmcall.Hedge{Quantile: 0.95}},
}

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	for _, name := range simulate.Names() {
		for _, policy := range slices.Sorted(maps.Keys(policies)) {
			runs := 2
			switch {
			case brief() && policy != "two":
				continue
			case !brief() && (policy == "two" && name == "two_tenants" || policy == "defaults" && name == "outage"):
				runs = 5
				if full() {
					runs = 20
				}
			}
			t.Run(name+"/"+policy, func(t *testing.T) {
				t.Parallel()
				first := jsonOf(t, simulate.Run(t, policies[policy], named(name)))
				for i := range runs - 1 {
					if again := jsonOf(t, simulate.Run(t, policies[policy], named(name))); !bytes.Equal(again, first) {
						at := 0
						for at < min(len(first), len(again)) && first[at] == again[at] {
							at++
						}
						t.Fatalf("run %d differs at byte %d:\n%s\n%s", i+2, at, first[max(0, at-300):min(len(first), at+100)], again[max(0, at-300):min(len(again), at+100)])
					}
				}
			})
		}
	}
}

func TestAnotherSeedIsAnotherDay(t *testing.T) {
	sc := named("outage")
	first := jsonOf(t, simulate.Run(t, llmcall.RetryConfig{}, sc))
	sc.Seed = 2
	if bytes.Equal(jsonOf(t, simulate.Run(t, llmcall.RetryConfig{}, sc)), first) {
		t.Error("two seeds give the same report")
	}
}

// Two configurations meet the same calls at the same times.
func TestArrivalsDoNotDependOnTheConfiguration(t *testing.T) {
	offered := func(cfg llmcall.RetryConfig) (all []int) {
		r := simulate.Run(t, cfg, named("outage"))
		for _, p := range r.Series {
			if p.At < r.Duration {
				all = append(all, p.Offered)
			}
		}
		return all
	}
	if a, b := offered(llmcall.RetryConfig{}), offered(llmcall.RetryConfig{MaxAttempts: 1, DisablePacing: true}); !slices.Equal(a, b) {
		t.Errorf("calls in each bucket:\n%v\n%v", a, b)
	}
}

// The defaults of the engine, with and without the circuit breaker, cause no collapse.
func TestTheDefaultsDoNotCollapse(t *testing.T) {
	notBriefly(t)
	for _, name := range simulate.Names() {
		for _, cfg := range []llmcall.RetryConfig{{}, {EnableCircuitBreaker: true}, {AttemptTimeout: 20 * s}, {AttemptTimeout: 3 * s}} {
			r := simulate.Run(t, cfg, named(name))
			t.Logf("%-18s breaker %-5v timeout %3v: answered %.3f, requests %.2f and refusals %.2f an answer, recovered in %v",
				name, cfg.EnableCircuitBreaker, cfg.AttemptTimeout, r.AnsweredShare(), r.RequestsPerAnswer(), r.RefusalsPerAnswer(), r.TimeToRecover)
			if r.Collapsed {
				t.Errorf("%s with %+v: collapsed", name, cfg)
			}
		}
	}
}

// What people write by hand does: three attempts with a timeout, and nothing that bounds the
// retries of all calls together.
func TestResendsWithoutABudgetCollapse(t *testing.T) {
	cfg := llmcall.RetryConfig{AttemptTimeout: 3 * s, DisableRetryBudget: true, DisablePacing: true, InitialDelay: ms}
	r := simulate.Run(t, cfg, named("collapse"))
	if !r.Collapsed || r.TimeToRecover != simulate.Never || r.RequestsPerAnswer() < 2 || r.Wasted < r.Cost/2 {
		t.Errorf("collapsed %v, recovered in %v, %.2f requests an answer, wasted %d of %d", r.Collapsed, r.TimeToRecover, r.RequestsPerAnswer(), r.Wasted, r.Cost)
	}
}

// Of independent failures, each request is answered with a chance of 1 - p, whoever decides
// whether it is sent: success = (1 - p) × amplification, for every policy (M. Brooker,
// "Fixing retries with token buckets and circuit breakers", 2022).
func TestSuccessIsAmplificationTimesTheChanceOfARequest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.Float64Range(0.02, 0.98).Draw(rt, "p")
		sc := simple()
		sc.Seed = rapid.Uint64Range(1, 1<<40).Draw(rt, "seed")
		sc.Clients = []simulate.Clients{{Processes: rapid.IntRange(1, 20).Draw(rt, "processes"), CallsPerSecond: rapid.Float64Range(0.2, 2).Draw(rt, "rate")}}
		sc.Provider.Faults = []simulate.Fault{down(p)}
		cfg := llmcall.RetryConfig{
			MaxAttempts:          rapid.IntRange(1, 6).Draw(rt, "attempts"),
			DisableRetryBudget:   rapid.Bool().Draw(rt, "no budget"),
			EnableCircuitBreaker: rapid.Bool().Draw(rt, "breaker"),
			DisablePacing:        rapid.Bool().Draw(rt, "no pacing"),
		}
		if !cfg.DisableRetryBudget {
			cfg.RetryBudget = endpoint.Budget{Saved: rapid.Float64Range(1, 200).Draw(rt, "saved"), PerSuccess: rapid.Float64Range(0.01, 1).Draw(rt, "per success")}
		}
		r, err := simulate.Do(t.Context(), cfg, sc)
		if err != nil {
			rt.Fatal(err)
		}
		amplification := float64(r.Requests) / float64(r.Calls)
		want := (1 - p) * amplification
		bound := 4.5*math.Sqrt(p*(1-p)*float64(r.Requests))/float64(r.Calls) + 1/float64(r.Calls)
		if got := r.AnsweredShare(); math.Abs(got-want) > bound {
			rt.Errorf("answered %.4f, want %.4f ± %.4f, (1 - %.3f) × %.4f", got, want, bound, p, amplification)
		}
	})
}

// Nothing is lost: every call and every request has one end, and the groups, models and
// buckets add up to the whole.
func TestNothingIsLost(t *testing.T) {
	kinds := []chaos.Kind{chaos.Slow, chaos.Break, chaos.Length, chaos.Empty, chaos.Cut, chaos.Status, chaos.Reset, chaos.Hang, chaos.Filter}
	rapid.Check(t, func(rt *rapid.T) {
		faults := func(label string) (all []simulate.Fault) {
			for range rapid.IntRange(0, 3).Draw(rt, label) {
				f := simulate.Fault{Fault: chaos.Fault{Kind: rapid.SampledFrom(kinds).Draw(rt, "kind")}, Share: rapid.Float64Range(0.01, 0.3).Draw(rt, "share")}
				if f.Kind == chaos.Status {
					f.Error = rapid.SampledFrom([]string{"server_error", "overloaded", "rate_limit", "billing", "bad_key", "slow_down"}).Draw(rt, "error")
				}
				all = append(all, f)
			}
			return all
		}
		sc := &simulate.Scenario{
			Seed: rapid.Uint64Range(1, 1<<40).Draw(rt, "seed"), Duration: 2 * time.Minute,
			Provider: simulate.Provider{
				Latency: simulate.Latency{Median: s, P99: 5 * s}, Network: simulate.Latency{Mean: 30 * ms}, Faults: faults("faults"),
				PerRequest: time.Duration(rapid.IntRange(0, 50).Draw(rt, "per request")) * ms, KeepsWorking: rapid.Bool().Draw(rt, "keeps working"),
			},
			Phases: []simulate.Phase{
				{From: 30 * s, To: 60 * s, Restart: rapid.Bool().Draw(rt, "restart"), Load: rapid.Float64Range(0.2, 4).Draw(rt, "load"), Faults: faults("faults of the phase")},
			},
		}
		if rapid.Bool().Draw(rt, "limits") {
			sc.Provider.Limits = &chaos.Limits{
				RequestsPerMinute: rapid.IntRange(10, 400).Draw(rt, "requests"), TokensPerMinute: rapid.IntRange(2_000, 400_000).Draw(rt, "tokens"),
				Concurrent: rapid.IntRange(1, 20).Draw(rt, "concurrent"), Queue: rapid.IntRange(0, 20).Draw(rt, "queue"),
				Hint: rapid.SampledFrom([]chaos.Hint{chaos.HintExact, chaos.HintSeconds, chaos.HintNone}).Draw(rt, "hint"),
			}
		}
		deadline := time.Duration(rapid.IntRange(1, 90).Draw(rt, "deadline")) * s
		sc.Clients = []simulate.Clients{
			{Name: "open", Processes: rapid.IntRange(1, 5).Draw(rt, "processes"), CallsPerSecond: 1, Deadline: deadline},
			{Name: "closed", Workers: rapid.IntRange(1, 10).Draw(rt, "workers"), Deadline: deadline, Key: rapid.SampledFrom([]string{"", "own"}).Draw(rt, "key"), Start: 10 * s, Stop: 90 * s},
			{Name: "burst", Calls: rapid.IntRange(1, 30).Draw(rt, "calls"), Start: 29 * s},
		}
		cfg := policies[rapid.SampledFrom(slices.Sorted(maps.Keys(policies))).Draw(rt, "policy")]
		r, err := simulate.Do(t.Context(), cfg, sc)
		if err != nil {
			rt.Fatal(err)
		}
		adds(rt, "all", &r.Totals)
		var groups, series simulate.Totals
		for _, g := range r.Groups {
			adds(rt, g.Name, &g.Totals)
			groups.Calls += g.Calls
			groups.Answered += g.Answered
			groups.Unfinished += g.Unfinished
			groups.Requests += g.Requests
			groups.Cost += g.Cost
		}
		if groups.Calls != r.Calls || groups.Answered != r.Answered || groups.Unfinished != r.Unfinished || groups.Requests != r.Requests || groups.Cost != r.Cost {
			rt.Errorf("the groups have %+v, the whole %+v", groups, r.Totals)
		}
		requests := 0
		for _, m := range r.Models {
			requests += m.Requests
		}
		if requests != r.Requests {
			rt.Errorf("the models have %d requests of %d", requests, r.Requests)
		}
		failed := 0
		for _, p := range r.Series {
			series.Calls += p.Offered
			series.Answered += p.Answered
			series.Unfinished += p.Unfinished
			failed += p.Failed
			series.Requests += p.Sent
			series.Right += p.Right
			series.Wrong += p.Wrong
			series.Refused += p.Refused
			series.Faults += p.Faults
			series.Left += p.Left
			if p.InHands < 0 || p.Open < 0 || p.Open > 1 || p.Paced < 0 || p.Paced > 1 {
				rt.Errorf("impossible: %+v", p)
			}
		}
		adds(rt, "series", &simulate.Totals{Calls: series.Calls, Answered: series.Answered, Unfinished: series.Unfinished, Failed: map[llmcall.Reason]int{"": failed}, Traffic: series.Traffic})
		if series.Calls != r.Calls || series.Answered != r.Answered || failed != r.FailedCalls() || series.Requests != r.Requests || series.Refused != r.Refused || series.Left != r.Left {
			rt.Errorf("the series has %+v, the whole %+v", series, r.Totals)
		}
		if last := r.Series[len(r.Series)-1]; r.End > last.At+r.Bucket || last.InHands != 0 && !sc.Provider.KeepsWorking {
			rt.Errorf("the run ends at %v, the series with %+v", r.End, last)
		}
	})
}

// A configuration is simulated as it is in its file: with the tools of servers that are not
// started, stages, and a ceiling of money.
func TestAWholeConfiguration(t *testing.T) {
	cfg, _, err := llmcall.ParseConfig("own.yaml", []byte(`
models: [openai/a, openai/b]
mcp_servers: {memory: {command: [server-memory]}}
stages:
  - {attempts: 2, models: [openai/a]}
  - {attempts: 1, models: [openai/b], tools: [memory]}
  - human
max_tokens: 300
`))
	if err != nil {
		t.Fatal(err)
	}
	sc := simple()
	sc.Provider.Price = named("outage").Provider.Price
	sc.Provider.Faults = []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Break}, Share: 0.5}}
	for ceiling, reason := range map[float64]llmcall.Reason{0.002: llmcall.ReasonAccountSpent, 0.01: llmcall.ReasonHumanReview} {
		cfg.MaxCost = ceiling
		r := simulate.Run(t, cfg, sc)
		if n := r.Failed[reason]; n == 0 || n != r.FailedCalls() || (r.Models[1].Requests > 0) != (reason == llmcall.ReasonHumanReview) {
			t.Errorf("$%g: %v failed, %+v", ceiling, r.Failed, r.Models)
		}
	}
	if cfg.Tools != nil || cfg.Prices != nil {
		t.Errorf("the configuration was changed: %+v", cfg)
	}
}

// A worker whose calls fail at once does not spin.
func TestWorkersPause(t *testing.T) {
	sc := simple()
	sc.Clients = []simulate.Clients{{Workers: 2}}
	sc.Provider.Faults = []simulate.Fault{down(1)}
	r := simulate.Run(t, llmcall.RetryConfig{EnableCircuitBreaker: true}, sc)
	if most := int(2 * sc.Duration / simulate.DefaultPause); r.Calls > most || r.Calls < most/10 {
		t.Errorf("%d calls", r.Calls)
	}
}

// adds checks that the ends of calls and requests add up.
func adds(rt *rapid.T, name string, t *simulate.Totals) {
	if t.Calls != t.Answered+t.FailedCalls()+t.Unfinished {
		rt.Errorf("%s: %d calls, of which %d were answered, %v failed, %d went on", name, t.Calls, t.Answered, t.Failed, t.Unfinished)
	}
	if t.Requests != t.Right+t.Wrong+t.Refused+t.Faults+t.Left {
		rt.Errorf("%s: requests do not add up: %+v", name, t.Traffic)
	}
	if t.Wasted < 0 || t.Wasted > t.Cost {
		rt.Errorf("%s: wasted %d of %d", name, t.Wasted, t.Cost)
	}
}

func TestCallsGoToTheModelThatServes(t *testing.T) {
	sc := simple()
	sc.Models = map[string]simulate.Provider{"other/b": {Latency: simulate.Latency{Constant: 2 * s}}}
	sc.Phases = []simulate.Phase{{From: time.Minute, To: 3 * time.Minute, Models: []string{"openai/a"}, Faults: []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Status, Error: "billing"}}}}}
	r := simulate.Run(t, llmcall.RetryConfig{Models: []string{"openai/a", "other/b"}}, sc)
	if r.AnsweredShare() != 1 || r.Models[1].Right < 90 || r.Models[1].Right > 150 || r.Models[0].Refused == 0 {
		t.Errorf("%+v", r)
	}
	for _, field := range []string{"models", "phases[0].models"} {
		sc := simple()
		if field == "models" {
			sc.Models = map[string]simulate.Provider{"openai/modle": {}}
		} else {
			sc.Phases = []simulate.Phase{{From: s, Load: 2, Models: []string{"openai/modle"}}}
		}
		_, err := simulate.Do(t.Context(), llmcall.RetryConfig{}, sc)
		if e, ok := errors.AsType[*simulate.ScenarioError](err); !ok || e.Field != field || !strings.Contains(e.Error(), "did you mean openai/model?") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Two groups with a limit of one a second between them, or each.
func TestAKeyHasItsOwnLimit(t *testing.T) {
	for key, want := range map[string][2]float64{"": {0.3, 0.6}, "own": {0.9, 1}} {
		sc := simple()
		sc.Provider.Limits = &chaos.Limits{RequestsPerMinute: 66, Burst: 3}
		sc.Clients = []simulate.Clients{{CallsPerSecond: 1, Deadline: 20 * s}, {CallsPerSecond: 1, Deadline: 20 * s, Key: key}}
		r := simulate.Run(t, llmcall.RetryConfig{}, sc)
		if got := r.AnsweredShare(); got < want[0] || got > want[1] {
			t.Errorf("key %q: %.2f of the calls are answered, want %v", key, got, want)
		}
	}
}

func TestALimitOfTokens(t *testing.T) {
	sc := simple()
	sc.Provider.Limits = &chaos.Limits{TokensPerMinute: 21_000, Hint: chaos.HintNone} // 30 calls of 700 tokens
	sc.Clients[0].Deadline = 30 * s
	r := simulate.Run(t, llmcall.RetryConfig{}, sc)
	if got := float64(r.InputTokens+r.OutputTokens) / 6; got < 17_000 || got > 26_000 || r.Refused == 0 { // the bucket is full at first
		t.Errorf("%.0f tokens a minute, %d refusals", got, r.Refused)
	}
}

// A queue is full at its length; what is over it is refused as an overload.
func TestAQueueHasItsLength(t *testing.T) {
	sc := simple()
	sc.Provider.Limits = &chaos.Limits{Concurrent: 2, Queue: 3}
	sc.Clients = []simulate.Clients{{Calls: 10, Deadline: time.Minute}}
	r := simulate.Run(t, llmcall.RetryConfig{MaxAttempts: 1, DisablePacing: true}, sc)
	if r.Answered != 5 || r.Refused != 5 || r.Failed[llmcall.ReasonProviderFailed] != 5 {
		t.Errorf("%+v", r.Totals)
	}
	if r.P50 < 2*s || r.P99 < 3*s || r.P99 > 3200*ms {
		t.Errorf("two at a time, a second each: p50 %v, p99 %v", r.P50, r.P99)
	}
}

// What nobody waits for is worked on and billed, or not.
func TestWorkGoesOnAfterItsClientHasLeft(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		sc := simple()
		price := named("outage").Provider.Price
		sc.Provider.Price, sc.Provider.KeepsWorking = price, keeps
		sc.Clients[0].Deadline = 500 * ms
		r := simulate.Run(t, llmcall.RetryConfig{}, sc)
		billed := int64(0)
		if keeps {
			billed = int64(r.Requests) * (500*price.Input + 200*price.Output) / 1_000_000
		}
		if r.Answered != 0 || r.Left != r.Requests || !r.Priced || math.Abs(float64(r.Cost-billed)) > float64(billed)/50 || r.Wasted != r.Cost {
			t.Errorf("keeps working %v: %+v, want %d billed", keeps, r.Totals, billed)
		}
	}
}

func TestARestartLosesWhatIsInHand(t *testing.T) {
	sc := simple()
	sc.Provider.Latency.Constant = 20 * s
	sc.Clients = []simulate.Clients{{Calls: 5}}
	sc.Phases = []simulate.Phase{{From: 10 * s, To: 11 * s, Restart: true}}
	r := simulate.Run(t, llmcall.RetryConfig{}, sc)
	if r.Answered != 5 || r.Faults != 5 || r.Requests != 10 || r.P50 < 30*s || r.P50 > 33*s {
		t.Errorf("%+v", r.Totals)
	}
}

// A call without a deadline that is never answered is ended, and counted.
func TestACallThatHangsForEverIsUnfinished(t *testing.T) {
	sc := simple()
	sc.Provider.Faults = []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Hang}}}
	r := simulate.Run(t, llmcall.RetryConfig{}, sc)
	if r.Unfinished != r.Calls || r.Calls < 200 || r.End != sc.Duration+time.Hour {
		t.Errorf("%+v, ended at %v", r.Totals, r.End)
	}
}

func TestTimeToRecover(t *testing.T) {
	for _, c := range []struct {
		name      string
		change    func(*simulate.Scenario)
		cfg       llmcall.RetryConfig
		least     time.Duration
		most      time.Duration
		collapsed bool
	}{
		{"nothing happens", func(sc *simulate.Scenario) { sc.Phases = nil }, llmcall.RetryConfig{}, 0, 0, false},
		{"the phase has no end", func(sc *simulate.Scenario) { sc.Phases[0].To = 0 }, llmcall.RetryConfig{}, 0, 0, false},
		{"no retries: at once", func(*simulate.Scenario) {}, llmcall.RetryConfig{MaxAttempts: 1}, 0, s, false},
		{"an open circuit", func(*simulate.Scenario) {}, llmcall.RetryConfig{EnableCircuitBreaker: true}, s, 62 * s, false},
		{"a circuit that stays open for an hour", func(*simulate.Scenario) {},
			llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: circuit(time.Hour)}, simulate.Never, simulate.Never, true},
	} {
		sc := simple()
		sc.Duration = 10 * time.Minute
		sc.Phases = []simulate.Phase{{From: 2 * time.Minute, To: 3 * time.Minute, Faults: []simulate.Fault{down(1)}}}
		c.change(sc)
		r := simulate.Run(t, c.cfg, sc)
		if r.TimeToRecover < c.least || r.TimeToRecover > c.most || r.Collapsed != c.collapsed {
			t.Errorf("%s: %v, collapsed %v, want %v to %v, %v", c.name, r.TimeToRecover, r.Collapsed, c.least, c.most, c.collapsed)
		}
	}
}

func circuit(recovery time.Duration) (c llmcall.CircuitBreakerConfig) {
	c.RecoveryTimeout = recovery
	return c
}

// What would end the process is an error.
func TestAPanicIsAnError(t *testing.T) {
	sc := named("bad_answers")
	_, err := simulate.Do(t.Context(), llmcall.RetryConfig{Feedback: func(*llmcall.Feedback) (string, error) { runtime.Goexit(); return "", nil }}, sc)
	if !strings.Contains(fmt.Sprint(err), "Goexit") {
		t.Errorf("got %v", err)
	}
	cfg := llmcall.RetryConfig{Backoff: panics{}}
	if _, err := simulate.Do(t.Context(), cfg, named("outage")); err == nil || !strings.Contains(err.Error(), "panic: out of backoff") {
		t.Errorf("got %v", err)
	}
}

type panics struct{}

func (panics) Delay(int) time.Duration { panic("out of backoff") }

func TestInABubbleIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := simulate.Do(t.Context(), llmcall.RetryConfig{}, simple()); err == nil || !strings.Contains(err.Error(), "within a synctest bubble") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAContextThatEndsIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := simulate.Do(ctx, llmcall.RetryConfig{}, named("outage")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A call that makes request after request while no time passes ends with the run, too.
func TestAContextThatEndsEndsACallThatDoesNot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	sc := &simulate.Scenario{Duration: s, Clients: []simulate.Clients{{Calls: 1}}, Provider: simulate.Provider{Faults: []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Reset}}}}}
	cfg := llmcall.RetryConfig{MaxAttempts: 1 << 40, InitialDelay: 1, MaxDelay: 1, DisableRetryBudget: true, DisablePacing: true}
	if _, err := simulate.Do(ctx, cfg, sc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The end of the last hour is an instant of its own: what the provider has in its hands just
// before is the same in each run.
func TestWhatIsUnfinishedGivesTheSameBytes(t *testing.T) {
	sc := simple()
	sc.Provider.Faults = []simulate.Fault{{Fault: chaos.Fault{Kind: chaos.Hang}}}
	first := jsonOf(t, simulate.Run(t, llmcall.RetryConfig{}, sc))
	for range 19 {
		if again := jsonOf(t, simulate.Run(t, llmcall.RetryConfig{}, sc)); !bytes.Equal(first, again) {
			t.Fatalf("the same seed gives\n%s\nand\n%s", first, again)
		}
	}
}

func TestAConfigurationWithAnErrorIsNotRun(t *testing.T) {
	_, err := simulate.Do(t.Context(), llmcall.RetryConfig{MaxAttempts: -1}, named("outage"))
	if _, ok := errors.AsType[*llmcall.ConfigError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// The engine goes on to work outside of the bubble, and what it has left is collected.
func TestLimitsOfAClientAreReleasedOutsideOfTheBubble(t *testing.T) {
	for range 3 {
		simulate.Run(t, llmcall.RetryConfig{RequestsPerMinute: 30, MaxConcurrent: 2}, named("rate_limit"))
		runtime.GC()
		runtime.GC()
		time.Sleep(10 * ms)
	}
}

package llmcall_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// A model of the stair, written from the sentences of the design with loops and nothing
// else. It says for a stair and what each provider does which model is asked when, in which stage,
// and how the call ends.

// does is what a provider does at one request.
type does struct {
	what string // valid, wrong, stop, human, down, key, limit, told, long, cut, filtered
	text string // of a wrong answer
	told time.Duration
}

func (d does) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s%v", d.what, d.text, d.told))
}

const (
	stepTakes     = 3 * time.Second // each request
	fallbackAfter = 2 * time.Second
	tooLong       = 10 * time.Minute // is more than max_retry_after, and less than its total
)

func (d does) step(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(stepTakes):
	}
	fail := func(k failure.Kind, told time.Duration) (*llm.Response, error) {
		return nil, &failure.Error{Kind: k, Provider: "test", Told: told > 0, RetryAfter: told, Message: "on purpose"}
	}
	switch d.what {
	case "down":
		return fail(failure.Transient, 0)
	case "key":
		return fail(failure.Unauthorized, 0)
	case "bad":
		return fail(failure.InvalidRequest, 0)
	case "limit":
		return fail(failure.RateLimited, 0)
	case "told":
		return fail(failure.RateLimited, d.told)
	case "long":
		return fail(failure.RateLimited, tooLong)
	case "filtered":
		return fail(failure.ContentFiltered, 0)
	case "cut":
		return &llm.Response{Message: llm.Assistant("{"), Finish: llm.FinishLength}, nil
	case "valid":
		return llm.Reply("good"), nil
	case "wrong":
		return llm.Reply(d.text), nil
	}
	return llm.Reply(d.what), nil
}

type stairStage struct {
	attempts int
	models   []int
}

// stair is a case: the stages, and what the models do.
type stair struct {
	stages   []stairStage
	human    bool // the last step
	most     int  // max_attempts; 0: the sum
	perModel int
	stopSame bool // stop_on_no_progress
	does     [][]does
	paced    bool          // the times are not compared
	open     []bool        // models with an open circuit
	cancel   time.Duration // when the caller leaves; 0: never
	deadline time.Duration // max_time; 0: none
}

type visit struct {
	at    time.Duration
	model int
	stage int
}

// naive is the model.
type naive struct {
	stair
	now      time.Duration
	waited   time.Duration // for guards, before requests to the model at
	at       int
	asked    []visit
	next     []int           // of each model: its next step
	dead     []bool          // of each model: it can't serve this call
	free     []time.Duration // of each model: when its provider said to come back
	rest     []time.Duration // of each model: when the delay after its failure is over
	used     int             // attempts
	failures int             // of providers: each doubles the delay
	answer   string          // the last wrong answer
	answered bool
	cut      bool // an answer was cut off, and was asked for again
	refused  bool // the last failure says that its model can't serve
	last     llmcall.Reason
}

// ready is when a model can be asked that the call comes back to.
func (n *naive) ready(m int) time.Duration { return max(n.free[m], n.rest[m]) }

func (n *naive) canServe(stage int) bool {
	for _, m := range n.stages[stage].models {
		if !n.dead[m] {
			return true
		}
	}
	return false
}

// above reports whether a later stage has a model that can serve.
func (n *naive) above(stage int) bool {
	for s := stage + 1; s < len(n.stages); s++ {
		if n.canServe(s) {
			return true
		}
	}
	return false
}

func (n *naive) end() llmcall.Reason {
	most := n.most
	if most == 0 {
		for _, s := range n.stages {
			most += s.attempts
		}
	}
	for s := range n.stages {
		if !n.canServe(s) {
			continue
		}
		kept := len(n.stages) - s - 1 // one for each later stage
		end, left := n.stage(s, min(n.stages[s].attempts, most-n.used-kept))
		if !left {
			return end
		}
	}
	return n.over()
}

// over is the end of a call whose stages are done.
func (n *naive) over() llmcall.Reason {
	if n.human && n.last != llmcall.ReasonOutOfTime && (n.answered || !n.refused) { // a bad key alone is not for a person
		return llmcall.ReasonHumanReview
	}
	return n.last
}

// stage asks the models of a stage. The second result is true if the call goes up.
func (n *naive) stage(s, attempts int) (llmcall.Reason, bool) {
	models := n.stages[s].models
	failed, tried, left := map[int]int{}, map[int]bool{}, map[int]bool{}
	now, here := -1, -1 // the model of the moment, and the one that was asked last in this stage
	entered := false
	until := time.Duration(0)
	if i := slices.IndexFunc(models, func(m int) bool { return !n.dead[m] }); i >= 0 && models[i] != n.at {
		n.at, n.waited = models[i], 0
	}
	for attempts > 0 {
		// Which model?
		if now < 0 || n.dead[now] {
			now, until = -1, 0
			// At first the first in order, if its circuit is not open.
			first := slices.IndexFunc(models, func(m int) bool { return !n.dead[m] })
			if m := models[max(first, 0)]; first >= 0 && !entered {
				if entered = true; !n.open[m] {
					now = m
				} else {
					n.dead[m], n.last, n.refused = true, llmcall.ReasonCircuitOpen, true
				}
			}
			// Else the one that can be asked soonest; one that had its retries only if there is no other.
			for _, spent := range []bool{false, true} {
				best := -1
				for _, m := range models {
					if !n.dead[m] && !n.open[m] && left[m] == spent && (best < 0 || max(n.ready(m), n.now) < max(n.ready(best), n.now)) {
						best = m
					}
				}
				if now < 0 {
					now = best
				}
			}
			if now < 0 {
				return n.last, true
			}
		}
		if now != n.at {
			n.at, n.waited = now, 0
		}
		// Where another can serve, nobody waits long for a guard: at once, or in several waits.
		guard := n.free[now]
		if now != here { // the delay of a failure before
			guard = n.ready(now)
		}
		if guard-n.now > fallbackAfter || n.free[now] > n.now && n.waited+n.free[now]-n.now > fallbackAfter*9/8 {
			for _, m := range models {
				if !n.dead[m] && !n.open[m] && !left[m] && max(n.ready(m), n.now) < guard {
					now, until, guard = m, 0, n.ready(m)
				}
			}
		}
		wait := max(n.now, until, guard)
		if n.deadline > 0 && wait >= n.deadline {
			n.dead[now], n.last = true, llmcall.ReasonOutOfTime // it can't serve in time; another may
			entered = here >= 0
			continue
		}
		if n.cancel > 0 && wait >= n.cancel {
			return llmcall.ReasonCancelled, false
		}
		if now != n.at {
			n.at, n.waited = now, 0
		}
		n.waited += max(0, n.free[now]-max(n.now, until))
		n.now = wait
		tried[now], here = true, now
		d := n.request(now, s)
		n.now += stepTakes
		if n.cancel > 0 && n.now > n.cancel {
			return llmcall.ReasonCancelled, false
		}
		if n.deadline > 0 && n.now > n.deadline {
			return llmcall.ReasonOutOfTime, false
		}
		if d.what != "told" && d.what != "long" {
			n.used++
			attempts--
		}
		untried := 0
		for _, m := range models {
			if !n.dead[m] && !tried[m] {
				untried++
			}
		}
		until = 0
		n.refused = d.what == "key" || d.what == "long"
		switch d.what {
		case "valid":
			return "", false
		case "bad", "filtered": // the same everywhere; but a person has an answer to look at
			if n.human && n.answered {
				return llmcall.ReasonHumanReview, false
			}
			return llmcall.ReasonProviderFailed, false
		case "key":
			n.dead[now], n.last = true, llmcall.ReasonProviderFailed
		case "long":
			n.dead[now], n.last = true, llmcall.ReasonRateLimited
		case "told":
			n.free[now], n.last = n.now+d.told, llmcall.ReasonRateLimited
			if n.deadline > 0 && n.free[now] >= n.deadline {
				n.dead[now], n.last = true, llmcall.ReasonOutOfTime
			}
		case "down", "limit":
			n.last = llmcall.ReasonProviderFailed
			if d.what == "limit" {
				n.last = llmcall.ReasonRateLimited
			}
			until = n.now + min(time.Second<<n.failures, llmcall.DefaultMaxDelay)
			n.failures++
			if n.deadline > 0 && until >= n.deadline && attempts > 0 {
				n.dead[now], n.last = true, llmcall.ReasonOutOfTime
				continue
			}
			n.rest[now] = until // who comes back to it waits too
			failed[now]++
			// Left for the one that can be asked soonest: after its retries; or where an attempt
			// is kept for one that was not tried, if another can be asked soon.
			other, fresh := -1, false // fresh: one that has not failed is left to try
			for _, m := range models {
				if m == now || n.dead[m] {
					continue
				}
				fresh = fresh || failed[m] == 0
				if !n.open[m] && !left[m] && (other < 0 || max(n.ready(m), n.now) < max(n.ready(other), n.now)) {
					other = m
				}
			}
			if d.what == "limit" && until-n.now > fallbackAfter {
				if other >= 0 && n.ready(other) < until {
					now, until = other, 0
				}
				continue
			}
			if other >= 0 && fresh && (failed[now] >= n.perModel || attempts <= untried && n.ready(other) <= max(until, n.now+fallbackAfter)) {
				left[now] = true
				now, until = other, 0
			}
		case "cut":
			same := n.answered && n.answer == "{"
			n.answered, n.answer, n.last = true, "{", llmcall.ReasonNoValidAnswer
			if up := n.above(s) || n.human; n.cut && same && n.stopSame && !up {
				return llmcall.ReasonNoProgress, false
			} else if n.cut {
				return n.last, up
			}
			n.cut = true
		case "stop":
			return llmcall.ReasonNoValidAnswer, false
		case "human":
			return llmcall.ReasonHumanReview, false
		case "wrong":
			same := n.answered && n.answer == d.text
			n.answered, n.answer, n.last = true, d.text, llmcall.ReasonNoValidAnswer
			if same && (n.above(s) || n.human) {
				return n.last, true
			}
			if same && n.stopSame {
				return llmcall.ReasonNoProgress, false
			}
		}
	}
	return n.last, true
}

// request notes one, and returns what the provider does.
func (n *naive) request(m, stage int) does {
	n.asked = append(n.asked, visit{n.now, m, stage})
	i := n.next[m]
	n.next[m]++
	if i < len(n.does[m]) {
		return n.does[m][i]
	}
	return does{what: "valid"}
}

func (s stair) naive() ([]visit, llmcall.Reason) {
	k := len(s.does)
	n := naive{stair: s, next: make([]int, k), dead: make([]bool, k), free: make([]time.Duration, k), rest: make([]time.Duration, k)}
	end := n.end()
	for i := range n.asked {
		if s.paced {
			n.asked[i].at = 0
		}
	}
	return n.asked, end
}

func drawStair(t *rapid.T) stair {
	var s stair
	models := rapid.IntRange(1, 3).Draw(t, "models")
	for range rapid.IntRange(1, 4).Draw(t, "stages") {
		all := rapid.Permutation([]int{0, 1, 2}[:models]).Draw(t, "order")
		s.stages = append(s.stages, stairStage{rapid.IntRange(1, 4).Draw(t, "attempts"), all[:rapid.IntRange(1, models).Draw(t, "of these")]})
	}
	s.paced = rapid.IntRange(0, 3).Draw(t, "paced") == 0
	s.human = rapid.Bool().Draw(t, "human")
	s.perModel = rapid.IntRange(1, 3).Draw(t, "per model")
	if rapid.Bool().Draw(t, "capped") {
		s.most = rapid.IntRange(len(s.stages), 8).Draw(t, "max_attempts")
	}
	s.stopSame = !s.human && rapid.Bool().Draw(t, "stop_on_no_progress")
	what := []string{"wrong", "wrong", "wrong", "wrong", "wrong", "wrong", "down", "down", "down", "down", "valid", "key", "told", "told", "limit", "long", "cut", "stop", "human", "filtered", "bad"}
	for range models {
		var steps []does
		limited := false
		for range rapid.IntRange(0, 7).Draw(t, "steps") {
			d := does{what: rapid.SampledFrom(what).Draw(t, "what")}
			switch d.what {
			case "wrong":
				d.text = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "text")
			case "told":
				d.told = rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, time.Minute}).Draw(t, "after")
			}
			if s.paced && (d.what == "told" || d.what == "limit") {
				if limited || len(steps) > 0 && d.what == "limit" {
					d = does{what: "down"} // the pacer's rate after two refusals is another test's matter
				}
				limited = true
			}
			steps = append(steps, d)
		}
		s.does = append(s.does, steps)
		s.open = append(s.open, rapid.IntRange(0, 9).Draw(t, "open") == 0)
	}
	switch ends := rapid.IntRange(0, 5).Draw(t, "ends"); {
	case s.paced: // who comes back at a told time is spread by some milliseconds
	case ends == 0:
		s.cancel = time.Duration(rapid.IntRange(0, 60).Draw(t, "cancel"))*time.Second + 500*time.Millisecond
	case ends == 1:
		s.deadline = time.Duration(rapid.IntRange(0, 60).Draw(t, "deadline"))*time.Second + 500*time.Millisecond
	}
	return s
}

var stairNames = []string{"test/0", "test/1", "test/2"}

// run makes the call.
func (s stair) run(t *testing.T) (got []visit, end llmcall.Reason, trace llmcall.Trace) {
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := llmcall.RetryConfig{
		UseJitter: new(false), DisableRetryBudget: true, DisablePacing: !s.paced, Endpoints: registry, EnableCircuitBreaker: true, MaxAttempts: s.most, MaxTime: s.deadline, StopOnNoProgress: s.stopSame,
	}
	cfg.CircuitBreakerConfig.FailureThreshold = 100
	if len(s.does) > 1 {
		cfg.AttemptsPerModel = s.perModel
	}
	for i, st := range s.stages {
		stage := llmcall.Stage{Name: fmt.Sprint(i), Attempts: st.attempts}
		for _, m := range st.models {
			stage.Models = append(stage.Models, stairNames[m])
		}
		cfg.Stages = append(cfg.Stages, stage)
	}
	if s.human {
		cfg.Stages = append(cfg.Stages, llmcall.Stage{Human: true})
	}
	var models []llm.Model
	for i, steps := range s.does {
		p := aModel(stairNames[i])
		for _, d := range steps {
			p.steps = append(p.steps, d.step)
		}
		p.steps = append(p.steps, slices.Repeat([]step{does{what: "valid"}.step}, 20)...)
		models = append(models, p)
		if s.open[i] {
			registry.Get(endpoint.KeyOf(p)).ForceOpen("on purpose")
		}
	}
	good := validate.Func("good", func(_ context.Context, a *validate.Answer) error {
		switch a.Text {
		case "good":
			return nil
		case "stop":
			return validate.StopAsking(errors.New("stop"))
		case "human":
			return validate.NeedsHuman(errors.New("look"))
		}
		return fmt.Errorf("%q is not good", a.Text)
	})
	c, err := llmcall.New(models, []validate.Strategy{good}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if s.cancel > 0 {
		stop := time.AfterFunc(s.cancel, cancel)
		defer stop.Stop()
	}
	start := time.Now()
	result, err := c.Do(ctx, llm.Prompt("?"))
	trace = traceOf(result, err)
	for _, a := range trace.Attempts {
		var stage int
		fmt.Sscan(a.Stage, &stage)
		if s.paced {
			got = append(got, visit{0, slices.Index(stairNames, a.Model), stage})
			continue
		}
		got = append(got, visit{a.Start.Sub(start), slices.Index(stairNames, a.Model), stage})
	}
	return got, reasonOf(t, err), trace
}

// inTheWay reports whether both an open circuit and the deadline are in the way of the
// models that are left: which of them is told depends on who is asked last.
func (s stair) inTheWay(a, b llmcall.Reason) bool {
	both := []llmcall.Reason{llmcall.ReasonOutOfTime, llmcall.ReasonCircuitOpen}
	return s.deadline > 0 && slices.Contains(s.open, true) && slices.Contains(both, a) && slices.Contains(both, b)
}

func TestTheStairIsAsTheDesignSays(t *testing.T) {
	stairChecks(t, 3000)
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStair(rt)
		want, reason := s.naive()
		var got []visit
		var end llmcall.Reason
		var trace llmcall.Trace
		agrees := false
		// With the pacer chance decides between two models that are free at about the same time:
		// those who wait come back spread.
		for tries := map[bool]int{true: 8, false: 1}[s.paced]; tries > 0 && !agrees; tries-- {
			synctest.Test(t, func(t *testing.T) { got, end, trace = s.run(t) })
			agrees = slices.Equal(got, want) && (end == reason || s.inTheWay(end, reason))
		}
		if !agrees {
			rt.Fatalf("%+v\ngot  %v %s\nwant %v %s", s, got, end, want, reason)
		}
		for i, a := range trace.Attempts {
			first := i > 0 && (a.Stage != trace.Attempts[i-1].Stage || a.Model != trace.Attempts[i-1].Model)
			if (a.Why != "") != first && i > 0 {
				rt.Fatalf("%+v\nattempt %d: why %q", s, i+1, a.Why)
			}
		}
	})
}

// stairChecks sets how many cases rapid draws, unless a flag says so.
func stairChecks(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f == nil || f.Value.String() != f.DefValue {
		return
	}
	old := f.Value.String()
	if err := f.Value.Set(fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

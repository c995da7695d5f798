package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// judge is a check that takes one step after the other, and passes the answer
// when they are done.
type judge struct {
	name  string
	steps []func(ctx context.Context) error
	start time.Time

	mu    sync.Mutex // a check that was left behind may still run
	at    []time.Duration
	texts []string
}

func newJudge(name string, steps ...func(context.Context) error) *judge {
	return &judge{name: name, steps: steps, start: time.Now()}
}

func (j *judge) Name() string { return j.name }

func (j *judge) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	j.mu.Lock()
	n := len(j.at)
	j.at, j.texts = append(j.at, time.Since(j.start)), append(j.texts, a.Text)
	j.mu.Unlock()
	if n < len(j.steps) {
		return validate.Verdict{}, j.steps[n](ctx)
	}
	return validate.Verdict{}, nil
}

var errJudge = errors.New("the judge is down")

func isDown(context.Context) error { return errJudge }

// stuck takes no notice of its context until it has ended.
func stuck(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestACheckThatFailsIsMadeAgainAloneAndTheModelIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t)
		shaky, steady := newJudge("shaky", isDown, isDown), newJudge("steady")
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{steady, shaky}, exact(llmcall.RetryConfig{}))
		if err != nil || r.Text != "good" {
			t.Fatal(err)
		}
		if m.calls() != 1 || len(steady.at) != 1 || !slices.Equal(shaky.at, []time.Duration{0, s, 3 * s}) {
			t.Errorf("%d calls; the steady check was made at %v, the shaky one at %v", m.calls(), steady.at, shaky.at)
		}
		if len(r.Attempts) != 1 || r.Attempts[0].Duration != 3*s {
			t.Errorf("the trace is %+v", r.Attempts)
		}
	})
}

func TestACheckThatStaysDownIsNotBlamedOnTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t)
		shaky := newJudge("shaky", slices.Repeat([]func(context.Context) error{isDown}, 9)...)
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky}, exact(llmcall.RetryConfig{MaxAttempts: 4, EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry}))
		e, ok := errors.AsType[*llmcall.Error](err)
		if !ok || e.Reason != llmcall.ReasonCheckUnavailable || !errors.Is(err, errJudge) || failure.KindOf(err) != failure.CheckUnavailable {
			t.Fatalf("%v (%v)", err, failure.KindOf(err))
		}
		if m.calls() != 1 || len(shaky.at) != 4 || time.Since(m.start) != 7*s {
			t.Errorf("%d calls, checked at %v, ended after %v", m.calls(), shaky.at, time.Since(m.start))
		}
		a := e.Attempts[0]
		if a.Outcome != llmcall.OutcomeChecks || len(a.Complaints) != 0 || e.Last == nil || e.Last.Text() != "good" || len(e.Complaints) != 0 {
			t.Errorf("%+v; last %v", a, e.Last)
		}
		if registry.Get(t.Name()).State() != breaker.Closed {
			t.Error("the model's circuit opened")
		}
		if !strings.Contains(err.Error(), `check "shaky" could not be made: the judge is down`) {
			t.Error(err)
		}
	})
}

// Once the answer is known to be wrong, a check that is down no longer matters.
func TestAWrongAnswerIsAskedAgainThoughACheckIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, say("bad"))
		shaky := newJudge("shaky", isDown)
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky, isGood}, exact(llmcall.RetryConfig{}))
		if err != nil || time.Since(m.start) != 0 || !slices.Equal(shaky.texts, []string{"bad", "good"}) {
			t.Errorf("%v after %v: %q", err, time.Since(m.start), shaky.texts)
		}
		if len(r.Attempts) != 2 || len(r.Attempts[0].Complaints) != 1 || r.Attempts[0].Outcome != llmcall.OutcomeInvalid {
			t.Errorf("%+v", r.Attempts)
		}
	})
	synctest.Test(t, func(t *testing.T) { // and so when it complains at last
		m := play(t, say("bad"))
		late := newJudge("late", isDown, isDown)
		complaining := validate.Func("late", func(ctx context.Context, a *validate.Answer) error {
			if _, err := late.Check(ctx, a); err != nil {
				return validate.Unavailable(err)
			}
			if a.Text == "bad" {
				return validate.NeedsHuman(validate.Fail("it is bad", ""))
			}
			return nil
		})
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{complaining}, exact(llmcall.RetryConfig{}))
		if reasonOf(t, err) != llmcall.ReasonHumanReview || time.Since(m.start) != 3*s {
			t.Errorf("%v after %v", err, time.Since(m.start))
		}
	})
}

// What a check decoded is there though another had to be made again.
func TestTheValueOutlastsACheckThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, say("```\n[1]\n```"))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.JSON(), newJudge("shaky", isDown)}, exact(llmcall.RetryConfig{}))
		if err != nil || !r.Decoded || r.Text != "[1]" {
			t.Errorf("%+v %v", r, err)
		}
	})
}

func TestAPanicOfACheckIsNoAnswerAndNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t)
		shaky := newJudge("shaky", slices.Repeat([]func(context.Context) error{isDown}, 9)...)
		boom := newJudge("boom", func(context.Context) error { panic("boom") })
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky, boom}, exact(llmcall.RetryConfig{}))
		panicked, ok := errors.AsType[*validate.PanicError](err)
		if !ok || panicked.Value != "boom" || reasonOf(t, err) != llmcall.ReasonCheckUnavailable {
			t.Fatal(err)
		}
		if m.calls() != 1 || len(boom.at) != 1 || time.Since(m.start) != 0 {
			t.Errorf("%d calls, checked at %v", m.calls(), boom.at)
		}
		if e, ok := errors.AsType[*validate.CheckError](err); !ok || e.Check != "boom" || e.Index != 1 {
			t.Errorf("the error names %+v", e)
		}
	})
}

func TestACheckIsCutAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newJudge("slow", stuck)
		m := play(t)
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{slow}, exact(llmcall.RetryConfig{CheckTimeout: 5 * s}))
		if err != nil || !slices.Equal(slow.at, []time.Duration{0, 6 * s}) || r.Attempts[0].Duration != 6*s {
			t.Errorf("%v; checked at %v", err, slow.at)
		}
		slow = newJudge("slow", stuck, stuck, stuck)
		_, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{slow}, exact(llmcall.RetryConfig{CheckTimeout: 5 * s}))
		if reasonOf(t, err) != llmcall.ReasonCheckUnavailable || !errors.Is(err, validate.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// The limit of an attempt is for the asking. A check that were cut at what the
// model left of it would end the call.
func TestAttemptTimeoutCutsNoCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newJudge("slow", func(context.Context) error { time.Sleep(30 * s); return errJudge })
		m := play(t, takes(8*s, say("good")))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{slow}, exact(llmcall.RetryConfig{AttemptTimeout: 10 * s}))
		if err != nil || m.calls() != 1 || r.Attempts[0].Duration != 39*s {
			t.Errorf("%v after %d calls and %v", err, m.calls(), time.Since(m.start))
		}
		m = play(t, takes(8*s, say("bad"))) // and what it says when the limit is past still counts
		late := validate.Func("late", func(_ context.Context, a *validate.Answer) error {
			time.Sleep(5 * s)
			if a.Text != "good" {
				return validate.Fail("it is bad", "")
			}
			return nil
		})
		r, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{late}, exact(llmcall.RetryConfig{AttemptTimeout: 10 * s}))
		if err != nil || len(r.Attempts) != 2 || r.Attempts[0].Kind != failure.InvalidAnswer || time.Since(m.start) != 18*s {
			t.Errorf("%v: %+v", err, r)
		}
	})
}

// The wait before a check is made again is as honest about time as any other.
func TestACheckIsNotWaitedForPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cfg := range []llmcall.RetryConfig{{MaxTime: 2500 * time.Millisecond}, {MaxTime: 2500 * time.Millisecond, AttemptTimeout: s / 2}} {
			shaky := newJudge("shaky", isDown, isDown, isDown)
			m := play(t)
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky}, exact(cfg))
			if reasonOf(t, err) != llmcall.ReasonOutOfTime || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errJudge) {
				t.Fatal(err)
			}
			if len(shaky.at) != 2 || time.Since(m.start) != s || !strings.Contains(err.Error(), "can't hold the wait of 2s") {
				t.Errorf("checked at %v, ended after %v: %v", shaky.at, time.Since(m.start), err)
			}
		}
	})
}

func TestCancellationEndsACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, steps := range map[string][]func(context.Context) error{"under way": {stuck}, "that is waited for": {isDown, isDown}} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(1500*time.Millisecond, cancel)
			m := play(t)
			slow := newJudge("slow", steps...)
			_, err := llmcall.RetryWithValidation(ctx, m, llm.Prompt("x"), []validate.Strategy{slow}, exact(llmcall.RetryConfig{}))
			e, ok := errors.AsType[*llmcall.Error](err)
			if !ok || e.Reason != llmcall.ReasonCancelled || !errors.Is(err, context.Canceled) || time.Since(m.start) != 1500*time.Millisecond || m.calls() != 1 {
				t.Errorf("%s: %v after %v", name, err, time.Since(m.start))
			}
			if e.Attempts[0].Outcome != llmcall.OutcomeChecks || e.Last.Text() != "good" {
				t.Errorf("%s: %+v", name, e.Attempts)
			}
		}
	})
}

// A judge is a service too, and may say when to come back.
func TestAChecksOwnRetryAfterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(context.Context) error {
			return &failure.Error{Kind: failure.RateLimited, Provider: "judge", Told: true, RetryAfter: 20 * s}
		}
		shaky := newJudge("shaky", limited)
		m := play(t)
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky}, exact(llmcall.RetryConfig{})); err != nil || time.Since(m.start) != 20*s {
			t.Errorf("%v after %v", err, time.Since(m.start))
		}
		shaky = newJudge("shaky", limited)
		m = play(t)
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{shaky}, exact(llmcall.RetryConfig{MaxRetryAfter: 10 * s}))
		if reasonOf(t, err) != llmcall.ReasonCheckUnavailable || time.Since(m.start) != 0 {
			t.Errorf("%v after %v", err, time.Since(m.start))
		}
	})
}

func TestChecksSeeTheAnswerAndTheRequest(t *testing.T) {
	req := llm.Prompt("x")
	var seen []validate.Answer
	look := validate.Func("look", func(_ context.Context, a *validate.Answer) error {
		seen = append(seen, validate.Answer{Text: a.Text, Response: a.Response, Request: a.Request, Attempt: a.Attempt})
		if a.Text != "good" {
			return errors.New("no")
		}
		return nil
	})
	m := play(t, kind(failure.Transient), say("bad"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, []validate.Strategy{look}, llmcall.RetryConfig{Backoff: backoff.Constant{}, DisableRetryBudget: true}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0].Attempt != 2 || seen[1].Attempt != 3 || seen[0].Request != req || seen[0].Response.Text() != "bad" {
		t.Errorf("%+v", seen)
	}
}

// bill is a check that used tokens of its own.
type bill struct {
	*judge
	tokens int64
}

func (bill) Costly() bool { return true }

func (b bill) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	v, err := b.judge.Check(ctx, a)
	v.Usage.InputTokens = b.tokens
	return v, err
}

func TestWhatChecksUseIsOnTheCallsBillAndToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		costs := func(text string) step {
			r := llm.Reply(text)
			r.Usage = llm.Usage{InputTokens: 100}
			return answers(r)
		}
		expensive := bill{newJudge("expensive", isDown), 7}
		m := play(t, costs("bad"), costs("good"))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{expensive, isGood}, exact(llmcall.RetryConfig{}))
		if err != nil {
			t.Fatal(err)
		}
		// Of the bad answer it is not made; of the good one twice, since it is
		// down the first time.
		if !slices.Equal(expensive.texts, []string{"good", "good"}) {
			t.Errorf("made of %q", expensive.texts)
		}
		if r.Usage.InputTokens != 214 || r.Attempts[0].CheckUsage != (llm.Usage{}) || r.Attempts[1].CheckUsage.InputTokens != 14 || r.Attempts[1].Usage.InputTokens != 100 {
			t.Errorf("%+v", r.Trace)
		}
		text, err := json.Marshal(r.Attempts)
		if err != nil || strings.Count(string(text), `"check_usage":{"input_tokens":14`) != 1 || strings.Count(string(text), "check_usage") != 1 {
			t.Errorf("%s %v", text, err)
		}
		shaky := bill{newJudge("expensive", slices.Repeat([]func(context.Context) error{isDown}, 3)...), 7}
		_, err = llmcall.RetryWithValidation(t.Context(), play(t, costs("good")), llm.Prompt("x"), []validate.Strategy{shaky}, exact(llmcall.RetryConfig{}))
		if e, ok := errors.AsType[*llmcall.Error](err); !ok || e.Usage.InputTokens != 121 {
			t.Errorf("a call that fails has a bill too: %v", err)
		}
	})
}

// What a repair changed can be seen.
func TestTheTraceShowsWhatWasRepaired(t *testing.T) {
	m := play(t, say(`{"a": 1,}`))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.JSONWithRepair()}, exact(llmcall.RetryConfig{}))
	if err != nil || r.Text != `{"a": 1}` || len(r.Attempts) != 1 || len(r.Attempts[0].Repaired) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	text, err := json.Marshal(r.Attempts[0])
	if err != nil || !strings.Contains(string(text), `"repaired":[{"problem":`) {
		t.Errorf("%s, %v", text, err)
	}
}

// A check that must not be run again ends alone: the others that could not be run
// still are, and it is not among them.
func TestOnlyTheChecksThatMayBeMadeAgainAre(t *testing.T) {
	forGood := func(context.Context) error { return retry.Stop(errJudge) }
	for name, stopsFirst := range map[string]bool{"it is the first": true, "it is the last": false} {
		synctest.Test(t, func(t *testing.T) {
			final := bill{newJudge("final", slices.Repeat([]func(context.Context) error{forGood}, 9)...), 7}
			shaky := bill{newJudge("shaky", slices.Repeat([]func(context.Context) error{isDown}, 2)...), 5}
			checks := []validate.Strategy{shaky, final}
			if stopsFirst {
				slices.Reverse(checks)
			}
			m := play(t)
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checks, exact(llmcall.RetryConfig{}))
			if reasonOf(t, err) != llmcall.ReasonCheckUnavailable || m.calls() != 1 {
				t.Errorf("%s: %v after %d calls", name, err, m.calls())
			}
			if len(final.at) != 1 || !slices.Equal(shaky.at, []time.Duration{0, s, 3 * s}) {
				t.Errorf("%s: the final one was made at %v, the shaky one at %v", name, final.at, shaky.at)
			}
			if c, ok := errors.AsType[*validate.CheckError](err); !ok || c.Check != "final" {
				t.Errorf("%s: the error is of %+v", name, c)
			}
		})
	}
}

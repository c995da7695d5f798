package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// seen writes events as the tables have them.
func seen(got *[]string, start time.Time) llmcall.Observer {
	return func(_ context.Context, e llmcall.Event) context.Context {
		line := fmt.Sprintf("%v %v", time.Since(start), e.Type)
		switch e.Type {
		case llmcall.EventAttemptStarted:
			line += fmt.Sprintf(" %d %s after %v %s", e.Attempt.Number, e.Attempt.Stage, e.Attempt.Delay, e.Attempt.DelayReason)
		case llmcall.EventAttemptEnded:
			line += fmt.Sprintf(" %d %s", e.Attempt.Number, e.Attempt.Outcome)
		case llmcall.EventWaiting:
			line += fmt.Sprintf(" %v %s before %d", e.Wait, e.WaitReason, e.Attempt.Number)
		case llmcall.EventCallEnded:
			line += fmt.Sprintf(" after %v: ", e.Duration)
			if e.Result != nil {
				line += e.Result.Text
			}
			if e.Err != nil {
				line += e.Err.Error()
			}
		}
		*got = append(*got, strings.TrimSpace(line))
		return nil
	}
}

func TestEventsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var ends []llmcall.Attempt
		r, _, err := rough(t, func(c *llmcall.RetryConfig) {
			c.Observer = llmcall.Observers(seen(&got, time.Now()), func(_ context.Context, e llmcall.Event) context.Context {
				if e.Type == llmcall.EventAttemptEnded {
					ends = append(ends, e.Attempt)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{
			"0s call_started",
			"0s attempt_started 1 basic after 0s", "0s attempt_ended 1 failed", "0s waiting 1s backoff before 2",
			"1s attempt_started 2 basic after 1s backoff", "3s attempt_ended 2 invalid",
			"3s attempt_started 3 tool after 0s", "3s attempt_ended 3 failed", "3s waiting 5s rate_limit before 4",
			"8s attempt_started 4 tool after 5s rate_limit", "8s attempt_ended 4 cut_off",
			"8s attempt_started 5 tool after 0s", "9s attempt_ended 5 valid",
			"9s call_ended after 9s: good",
		}; !slices.Equal(got, want) {
			t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if fmt.Sprintf("%+v", ends) != fmt.Sprintf("%+v", r.Attempts) {
			t.Errorf("the attempts were told as\n%+v\nand are\n%+v", ends, r.Attempts)
		}
	})
}

// However a call ends: each attempt that started ends once, and so does the call,
// with what its caller gets.
func TestWhateverStartsEnds(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		model llm.Model
		cfg   llmcall.RetryConfig
		leave bool
		ends  string
	}{
		"an answer":            {model: play(t), ends: "good"},
		"a failure":            {model: play(t, kind(failure.InvalidRequest)), ends: "not retried"},
		"a person":             {model: play(t, say("bad")), cfg: llmcall.RetryConfig{MaxAttemptsBeforeHuman: 1}, ends: "a person must look"},
		"cancelled in a wait":  {model: play(t, told(failure.RateLimited, 60*s)), ends: "cancelled"},
		"cancelled in a call":  {model: play(t, hang), ends: "cancelled"},
		"out of time":          {model: play(t, hang), cfg: llmcall.RetryConfig{MaxTime: s}, ends: "out of time"},
		"a panic of the model": {model: play(t, panics(boom)), ends: "panicked: boom"},
		"Goexit in the model":  {model: play(t, exits), ends: "Goexit"},
		"a stream that is left": {
			model: stream(t, start("go", "od", llm.FinishStop)), leave: true, ends: "left by its caller",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events []llmcall.Event
				cfg := exact(c.cfg)
				cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
					events = append(events, e)
					return nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(1500*time.Millisecond, cancel)
				made := client(t, c.model, checked, cfg)
				var r *llmcall.Result
				var err error
				var done sync.WaitGroup
				done.Go(func() {
					defer func() {
						if v := recover(); v != nil {
							err = fmt.Errorf("panicked: %v", v)
						}
					}()
					if !c.leave {
						r, err = made.Do(ctx, llm.Prompt("x"))
						return
					}
					for range made.Stream(ctx, llm.Prompt("x")) {
						break
					}
				})
				done.Wait()
				open, call := 0, uint64(0)
				for i, e := range events {
					if e.Call == 0 || i > 0 && e.Call != call || e.Model != c.model.Name() {
						t.Errorf("event %d is of call %d and model %q", i, e.Call, e.Model)
					}
					call = e.Call
					switch e.Type {
					case llmcall.EventAttemptStarted:
						open++
					case llmcall.EventAttemptEnded:
						open--
					}
					if open < 0 || open > 1 || (e.Type == llmcall.EventCallStarted) != (i == 0) || (e.Type == llmcall.EventCallEnded) != (i == len(events)-1) {
						t.Errorf("event %d of %d is %v, with %d attempts under way", i, len(events), e.Type, open)
					}
				}
				last := events[len(events)-1]
				if open != 0 || last.Result != r || err != nil && r == nil && last.Err == nil {
					t.Errorf("%d attempts are under way; ended with %v, %v: the caller got %v, %v", open, last.Result, last.Err, r, err)
				}
				if text := fmt.Sprint(r, last.Err); r == nil && !strings.Contains(text, c.ends) {
					t.Errorf("ended with %v, want %q in it", last.Err, c.ends)
				}
			})
		})
	}
}

func TestEachCallHasItsNumber(t *testing.T) {
	var mu sync.Mutex
	numbers := map[uint64]int{}
	c := client(t, play(t), checked, exact(llmcall.RetryConfig{Observer: func(_ context.Context, e llmcall.Event) context.Context {
		mu.Lock()
		defer mu.Unlock()
		numbers[e.Call]++
		return nil
	}}))
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for n, events := range numbers {
		if n == 0 || events != 4 {
			t.Errorf("call %d has %d events", n, events)
		}
	}
	if len(numbers) != 50 {
		t.Errorf("50 calls have %d numbers", len(numbers))
	}
}

type spanKey struct{}

// spans is an observer that makes a span of each call and each attempt, as
// OpenTelemetry's would: a span is the path of names to it.
func spans(name string) llmcall.Observer {
	return func(ctx context.Context, e llmcall.Event) context.Context {
		parent, _ := ctx.Value(spanKey{}).(string)
		switch e.Type {
		case llmcall.EventCallStarted:
			return context.WithValue(ctx, spanKey{}, parent+"/"+name)
		case llmcall.EventAttemptStarted:
			return context.WithValue(ctx, spanKey{}, fmt.Sprintf("%s/%s%d", parent, name, e.Attempt.Number))
		}
		return nil
	}
}

// The events of an attempt come in its span, those of the call in the call's.
func TestEventsComeInTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		if _, _, err := rough(t, func(c *llmcall.RetryConfig) {
			c.Observer = llmcall.Observers(spans("a"), func(ctx context.Context, e llmcall.Event) context.Context {
				span, _ := ctx.Value(spanKey{}).(string)
				got = append(got, fmt.Sprint(e.Type, " ", span))
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		if want := []string{
			"call_started /a", "attempt_started /a/a1", "attempt_ended /a/a1", "waiting /a", "attempt_started /a/a2", "attempt_ended /a/a2",
			"attempt_started /a/a3", "attempt_ended /a/a3", "waiting /a", "attempt_started /a/a4", "attempt_ended /a/a4",
			"attempt_started /a/a5", "attempt_ended /a/a5", "call_ended /a",
		}; !slices.Equal(got, want) {
			t.Errorf("%q\nwant\n%q", got, want)
		}
	})
}

// What an observer puts into the context is there for the model, the tool and the
// checks, and for those observers that come after.
func TestAnObserverMayReplaceTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		observer llmcall.Observer
		timeout  time.Duration
		want     []string
	}{
		"one": {spans("a"), 0, []string{
			"model /a/a1", "check /a/a1", "model /a/a2", "tool /a/a2", "model /a/a2", "check /a/a2", "model /a/a3", "check /a/a3",
		}},
		"one, and attempts are bounded": {spans("a"), 5 * s, []string{
			"model /a/a1", "check /a/a1", "model /a/a2", "tool /a/a2", "model /a/a2", "check /a/a2", "model /a/a3", "check /a/a3",
		}},
		"two": {llmcall.Observers(nil, spans("a"), spans("b")), 0, []string{
			"model /a/b/a1/b1", "check /a/b/a1/b1", "model /a/b/a2/b2", "tool /a/b/a2/b2", "model /a/b/a2/b2", "check /a/b/a2/b2", "model /a/b/a3/b3", "check /a/b/a3/b3",
		}},
		"none": {llmcall.Observers(nil, nil), 0, []string{"model", "check", "model", "tool", "model", "check", "model", "check"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			note := func(ctx context.Context, what string) {
				span, _ := ctx.Value(spanKey{}).(string)
				got = append(got, strings.TrimSpace(what+" "+span))
				if _, bounded := ctx.Deadline(); bounded != (what == "tool" || c.timeout > 0 && what == "model") {
					t.Errorf("%s: bounded is %v", what, bounded)
				}
			}
			noted := func(st step) step {
				return func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
					note(ctx, "model")
					return st(ctx, req)
				}
			}
			m := play(t, noted(say("a")), noted(wants(calls("1", "search", "{}"))), noted(say("b")), noted(say("good")))
			cfg := withTool(func(ctx context.Context, _ json.RawMessage) (string, error) {
				note(ctx, "tool")
				return "found", nil
			})
			cfg.Observer, cfg.AttemptTimeout = c.observer, c.timeout
			check := validate.Func("is_good", func(ctx context.Context, a *validate.Answer) error {
				note(ctx, "check")
				if a.Text != "good" {
					return validate.Fail(a.Text+" is wrong", "")
				}
				return nil
			})
			if _, err := client(t, m, []validate.Strategy{check}, cfg).Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// A limit of an attempt still ends it where the context was replaced.
func TestAReplacedContextStillEndsWithTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, hang)
		cfg := exact(llmcall.RetryConfig{AttemptTimeout: 5 * s, Observer: spans("a")})
		r, err := client(t, m, checked, cfg).Do(t.Context(), llm.Prompt("x"))
		if err != nil || !slices.Equal(lines(r.Trace, m.start), []string{"0s basic failed attempt_timeout", "6s basic valid, after 1s backoff"}) {
			t.Errorf("%v %v", err, r)
		}
	})
}

// An observer may use what it observes, and harms nobody.
func TestAnObserverMayCallTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := 0
		r, _, err := rough(t, func(c *llmcall.RetryConfig) {
			own := *c
			e := endpoint.Default().Get(endpoint.Key{Model: t.Name()})
			c.Observer = func(context.Context, llmcall.Event) context.Context {
				e.Snapshot()
				if _, err := llmcall.RetryWithValidation(t.Context(), play(t), llm.Prompt("x"), checked, own); err == nil {
					inner++
				}
				return nil
			}
		})
		if err != nil || len(r.Attempts) != 5 || inner != 14 {
			t.Errorf("%v: %d inner calls", err, inner)
		}
	})
}

// logged returns what a function logs by log/slog's default.
func logged(do func()) string {
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	do()
	return log.String()
}

func TestAPanicInAnObserverHarmsNobody(t *testing.T) {
	after := 0
	log := logged(func() {
		synctest.Test(t, func(t *testing.T) {
			registry := newRegistry(t, breaker.Config{FailureThreshold: 2})
			r, _, err := rough(t, func(c *llmcall.RetryConfig) {
				c.EnableCircuitBreaker, c.CircuitBreakerConfig, c.Endpoints = true, registry.settings(), registry.Registry
				c.Observer = llmcall.Observers(
					func(context.Context, llmcall.Event) context.Context { panic("boom") },
					func(ctx context.Context, _ llmcall.Event) context.Context {
						after++
						return ctx
					},
				)
			})
			if err != nil || len(r.Attempts) != 5 || registry.Get(t.Name()).State() != breaker.Closed {
				t.Error(err)
			}
		})
	})
	if strings.Count(log, "an observer panicked") != 14 || !strings.Contains(log, "boom") || after != 14 {
		t.Errorf("the observer after it was told %d times; logged %q", after, log)
	}
}

// A log shows what is set, times as times, and no text of a prompt or an answer.
func TestWhatALogShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key != "e" || a.Key == "start" {
				return slog.Attr{}
			}
			return a
		}}))
		usage := llm.Usage{InputTokens: 7, OutputTokens: 1}
		answer := func(text string) step {
			return answers(&llm.Response{Message: llm.Assistant(text), Finish: llm.FinishStop, Usage: usage})
		}
		m := play(t, takes(2*s, down), answer("bad, a secret"), answer("worse, a secret"))
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 3, Observer: func(_ context.Context, e llmcall.Event) context.Context {
			e.Call = 1 // the number of this process
			logger.Info("", "e", e)
			return nil
		}})
		quoting := validate.Func("quoting", func(_ context.Context, a *validate.Answer) error { return fmt.Errorf("%q is wrong", a.Text) })
		_, err := client(t, m, []validate.Strategy{quoting}, cfg).Do(t.Context(), llm.Prompt("my secret"))
		logger.Info("", "e", err)
		const name = "TestWhatALogShows"
		want := []string{
			"e.event=call_started e.call=1 e.model=" + name,
			"e.event=attempt_started e.call=1 e.attempt.number=1 e.attempt.model=" + name + " e.attempt.stage=basic",
			"e.event=attempt_ended e.call=1 e.attempt.number=1 e.attempt.model=" + name + ` e.attempt.stage=basic e.attempt.outcome=failed e.attempt.kind=transient e.attempt.error="test: transient: on purpose" e.attempt.duration=2s`,
			"e.event=waiting e.call=1 e.attempt.number=2 e.attempt.model=" + name + " e.attempt.stage=basic e.wait=1s e.wait_reason=backoff",
			"e.event=attempt_started e.call=1 e.attempt.number=2 e.attempt.model=" + name + " e.attempt.stage=basic e.attempt.delay=1s e.attempt.delay_reason=backoff",
			"e.event=attempt_ended e.call=1 e.attempt.number=2 e.attempt.model=" + name + " e.attempt.stage=basic e.attempt.outcome=invalid e.attempt.kind=invalid_answer e.attempt.checks=[quoting] e.attempt.delay=1s e.attempt.delay_reason=backoff e.attempt.usage.input_tokens=7 e.attempt.usage.output_tokens=1",
			"e.event=attempt_started e.call=1 e.attempt.number=3 e.attempt.model=" + name + " e.attempt.stage=basic",
			"e.event=attempt_ended e.call=1 e.attempt.number=3 e.attempt.model=" + name + " e.attempt.stage=basic e.attempt.outcome=invalid e.attempt.kind=invalid_answer e.attempt.checks=[quoting] e.attempt.usage.input_tokens=7 e.attempt.usage.output_tokens=1",
			"e.event=call_ended e.call=1 e.model=" + name + " e.duration=3s e.error.reason=no_valid_answer e.error.kind=invalid_answer e.error.checks=[quoting] e.error.attempts=3 e.error.usage.input_tokens=14 e.error.usage.output_tokens=2",
			"e.reason=no_valid_answer e.kind=invalid_answer e.checks=[quoting] e.attempts=3 e.usage.input_tokens=14 e.usage.output_tokens=2",
		}
		got := strings.Split(strings.TrimSpace(log.String()), "\n")
		if !slices.Equal(got, want) {
			t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if strings.Contains(log.String(), "secret") {
			t.Error("a text of the conversation is in the log")
		}
	})
}

// Every error that a call may end with, and its result, keep the conversation to
// themselves.
func TestNoLogHasTheConversation(t *testing.T) {
	secret := func(context.Context, *validate.Answer) error { return errors.New("secret") }
	unavailable := func(context.Context, *validate.Answer) error { return validate.Unavailable(errors.New("secret")) }
	for name, c := range map[string]struct {
		check func(context.Context, *validate.Answer) error
		cfg   llmcall.RetryConfig
	}{
		"valid": {func(context.Context, *validate.Answer) error { return nil }, llmcall.RetryConfig{}}, "wrong": {secret, llmcall.RetryConfig{}},
		"a person": {secret, llmcall.RetryConfig{MaxAttemptsBeforeHuman: 1}}, "no check": {unavailable, llmcall.RetryConfig{MaxAttempts: 1}},
		"out of time": {secret, llmcall.RetryConfig{MaxTime: s, BackoffOnInvalidAnswer: true, InitialDelay: 5 * s}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			r, err := client(t, play(t, say("secret"), say("secret two"), say("secret three")), []validate.Strategy{validate.Func("c", c.check)}, exact(c.cfg)).Do(t.Context(), llm.Prompt("secret"))
			logger := slog.New(slog.NewJSONHandler(&log, nil))
			if err != nil {
				logger.Error("ended", "error", err, "attempt", traceOf(r, err).Attempts[0])
			} else {
				logger.Info("ended", "result", r, "attempt", r.Attempts[0])
			}
			if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "attempts") {
				t.Errorf("%s: %s", name, log.String())
			}
		})
	}
}

// A model may itself be a call, whose error quotes the answer of the model within.
func TestNoLogHasTheConversationOfACallWithinACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quoting := validate.Func("quoting", func(_ context.Context, a *validate.Answer) error { return fmt.Errorf("%q is wrong", a.Text) })
		within := client(t, play(t, say("secret")), []validate.Strategy{quoting}, exact(llmcall.RetryConfig{MaxAttempts: 1}))
		m := llm.Func(unused(t), func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
			r, err := within.Do(ctx, req)
			if err != nil {
				return nil, err
			}
			return r.Response, nil
		})
		var log strings.Builder
		logger := slog.New(slog.NewJSONHandler(&log, nil))
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 1, Observer: func(_ context.Context, e llmcall.Event) context.Context {
			logger.Info("told", "event", e)
			return nil
		}})
		r, err := client(t, m, nil, cfg).Do(t.Context(), llm.Prompt("x"))
		a := traceOf(r, err).Attempts[0]
		logger.Error("ended", "error", err, "attempt", a)
		if a.Outcome != llmcall.OutcomeFailed || !strings.Contains(a.Error, "secret") {
			t.Fatalf("%+v", a)
		}
		if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "invalid_answer") {
			t.Error(log.String())
		}
	})
}

func TestNamesOfEvents(t *testing.T) {
	for e, want := range map[llmcall.EventType]string{
		llmcall.EventCallStarted: "call_started", llmcall.EventAttemptStarted: "attempt_started", llmcall.EventWaiting: "waiting",
		llmcall.EventAttemptEnded: "attempt_ended", llmcall.EventCallEnded: "call_ended", 99: "event(99)",
	} {
		if text, err := json.Marshal(e); e.String() != want || string(text) != `"`+want+`"` || err != nil {
			t.Errorf("%s, %s", e, text)
		}
	}
	if got := (llmcall.Event{Type: llmcall.EventWaiting, WaitReason: retry.CircuitWait}).LogValue().String(); !strings.Contains(got, "wait=0s wait_reason=circuit") {
		t.Errorf("%s", got)
	}
}

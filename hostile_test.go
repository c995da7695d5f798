package llmcall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
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
	"llmcall/pace"
	"llmcall/validate"
)

// odd is the error of a context, of a type that can't be compared.
type odd []error

func (odd) Error() string { return "odd" }

type oddContext struct{ context.Context }

func (oddContext) Err() error { return odd{context.Canceled} }

func (oddContext) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A context may end with an error of any type: that of Wait's panicked where it
// could not be compared.
func TestAWaitersContextMayEndWithAnyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := client(t, play(t, hang), checked, exact(llmcall.RetryConfig{})).Start(t.Context(), llm.Prompt("x"))
		defer p.Cancel()
		if _, err := p.Wait(oddContext{t.Context()}); err == nil || err.Error() != "odd" {
			t.Errorf("%v", err)
		}
		p.Cancel()
		<-p.Done()
	})
}

// A model may be made of two that are asked at the same time, of which each
// tells the call what it hears.
func TestTwoModelsWithinOneTellTheCallAtTheSameTime(t *testing.T) {
	w, registry := watch(t)
	late := make(chan struct{})
	m := llm.Func(t.Name(), func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
		var first sync.WaitGroup
		for range 8 {
			first.Go(func() {
				endpoint.Told(ctx, &pace.Told{Windows: []pace.Window{{Limit: 10, Remaining: 9}}})
				endpoint.Accepted(ctx, nil)
			})
		}
		go func() { // it has lost, and tells of it late
			<-late
			endpoint.Accepted(ctx, &pace.Told{})
		}()
		first.Wait()
		return llm.Reply("good"), nil
	})
	if _, err := client(t, m, checked, exact(llmcall.RetryConfig{Endpoints: registry})).Do(t.Context(), llm.Prompt("x")); err != nil {
		t.Fatal(err)
	}
	close(late)
	if w.state() != "nothing" || !slices.Equal(w.settled, []string{"healthy"}) {
		t.Errorf("%s, settled as %q", w.state(), w.settled)
	}
}

// Whoever leaves a stream has cancelled the call: no provider has failed.
func TestAStreamThatIsLeftIsNoFailureOfTheProvider(t *testing.T) {
	for name, c := range map[string]struct {
		model llm.Model
		human int
	}{
		"pieces": {stream(t, start("go", "od", llm.FinishStop)), 0}, "pieces, before a person": {stream(t, start("go", "od", llm.FinishStop)), 1},
		"whole": {play(t), 0}, "whole, before a person": {play(t), 1},
	} {
		t.Run(name, func(t *testing.T) {
			var last llmcall.Event
			cfg := exact(llmcall.RetryConfig{MaxAttemptsBeforeHuman: c.human, Observer: func(_ context.Context, e llmcall.Event) context.Context {
				last = e
				return nil
			}})
			for range client(t, c.model, checked, cfg).Stream(t.Context(), llm.Prompt("x")) {
				break
			}
			if e, ok := errors.AsType[*llmcall.Error](last.Err); !ok || e.Reason != llmcall.ReasonCancelled {
				t.Errorf("%v ended with %v (%+v)", last.Type, last.Err, last.Err)
			}
		})
	}
}

// The circuit of an attempt is that of the model that it was made at, wherever
// the call goes on.
func TestTheCircuitOfAnAttemptIsItsOwnModels(t *testing.T) {
	c := newRegistry(t, breaker.Config{FailureThreshold: 1})
	first, second := named("first", play(t, kind(failure.Unauthorized))), named("second", play(t))
	made, err := llmcall.New([]llm.Model{first, second}, checked, guardedBy(c, llmcall.RetryConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := made.Do(t.Context(), llm.Prompt("x"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range r.Attempts {
		got = append(got, a.Model+" "+a.Circuit)
	}
	if want := []string{"first OPEN", "second CLOSED"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Two settings that contradict each other are an error: one of them would have no
// effect.
func TestCountingWhatIsExcludedIsAContradiction(t *testing.T) {
	cfg := llmcall.RetryConfig{EnableCircuitBreaker: true, CountInvalidAnswers: true}
	cfg.CircuitBreakerConfig.ExcludedExceptions = []failure.Kind{failure.InvalidAnswer}
	if e, ok := errors.AsType[*llmcall.ConfigError](cfg.Validate()); !ok || e.Field != "count_invalid_answers" {
		t.Errorf("%v", cfg.Validate())
	}
}

// asked is a guard that notes what it is told of each request before it.
type askedGuard struct {
	*watched
	asks []endpoint.Ask
}

func (w *askedGuard) Admit(a endpoint.Ask) (endpoint.Permit, *endpoint.Refusal) {
	w.asks = append(w.asks, a)
	return w.watched.Admit(a)
}

// What a request may use is that of the request, also of a later one: after a cut
// off answer it is twice as much.
func TestTheGuardsAreToldWhatEachRequestMayUse(t *testing.T) {
	w := &askedGuard{watched: &watched{}}
	r, err := endpoint.NewRegistry(endpoint.Config{Guards: func(*endpoint.Endpoint, []endpoint.Guard) []endpoint.Guard { return []endpoint.Guard{w} }})
	if err != nil {
		t.Fatal(err)
	}
	m := play(t, finish(llm.FinishLength, strings.Repeat("long ", 800)))
	req := llm.Prompt("x")
	req.MaxTokens = 1000
	if _, err := client(t, m, checked, exact(llmcall.RetryConfig{Endpoints: r})).Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if len(w.asks) != 2 || w.asks[0].Need.Tokens != 1000 || w.asks[1].Need.Tokens < 2000 {
		t.Errorf("%+v", w.asks)
	}
}

// However large the limit of tokens is, no request gives tokens back.
func TestAnEndlessLimitOfTokensIsNoCredit(t *testing.T) {
	w := &askedGuard{watched: &watched{}}
	r, err := endpoint.NewRegistry(endpoint.Config{Guards: func(*endpoint.Endpoint, []endpoint.Guard) []endpoint.Guard { return []endpoint.Guard{w} }})
	if err != nil {
		t.Fatal(err)
	}
	req := llm.Prompt("a prompt of some tokens")
	req.MaxTokens = int(^uint(0) >> 1)
	if _, err := client(t, play(t), checked, exact(llmcall.RetryConfig{Endpoints: r})).Do(t.Context(), req); err != nil || w.asks[0].Need.Tokens <= 0 {
		t.Errorf("%v, %+v", err, w.asks)
	}
}

// Goexit and a panic in the caller's loop over a stream leave nothing behind, and
// the call has its end.
func TestALoopThatEndsItsGoroutineLeavesNothing(t *testing.T) {
	for name, leave := range map[string]func(){"Goexit": runtime.Goexit, "a panic": func() { panic("mine") }} {
		for form, m := range map[string]llm.Model{"pieces": stream(t, start("go", "od", llm.FinishStop)), "whole": play(t)} {
			t.Run(name+", "+form, func(t *testing.T) {
				w, registry := watch(t)
				var got []string
				cfg := exact(llmcall.RetryConfig{Endpoints: registry, Observer: func(_ context.Context, e llmcall.Event) context.Context {
					got = append(got, e.Type.String())
					return nil
				}})
				var done sync.WaitGroup
				done.Go(func() {
					defer func() { _ = recover() }()
					for range client(t, m, checked, cfg).Stream(t.Context(), llm.Prompt("x")) {
						leave()
					}
				})
				done.Wait()
				if want := []string{"call_started", "attempt_started", "attempt_ended", "call_ended"}; !slices.Equal(got, want) || w.state() != "nothing" || len(w.settled) != 1 {
					t.Errorf("%q; %s, settled as %q", got, w.state(), w.settled)
				}
			})
		}
	}
}

// The second model of a stream need not stream, and a restart is told once.
func TestAStreamGoesOnWithAModelThatDoesNotStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := stream(t, start("ba", &failure.Error{Kind: failure.QuotaExhausted})), named("second", play(t))
		first.name = "first"
		for restart, want := range map[bool]string{true: "ba|good", false: "ba"} {
			first.at = nil
			made, err := llmcall.New([]llm.Model{first, second}, checked, exact(llmcall.RetryConfig{RestartStreams: restart}))
			if err != nil {
				t.Fatal(err)
			}
			text, r, err := heard(made.Stream(t.Context(), llm.Prompt("x")))
			if text != want || restart != (err == nil) || restart && r.Model != "second" {
				t.Errorf("restart_streams %v: %q, %v, %v", restart, text, r, err)
			}
		}
	})
}

// A trace that was written down can be read back, by what keeps calls for a
// person to look at.
func TestAnAttemptIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := rough(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r.Trace)
		if err != nil {
			t.Fatal(err)
		}
		var back llmcall.Trace
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for i := range back.Attempts {
			back.Attempts[i].Start = r.Attempts[i].Start // which is not written
		}
		if !reflect.DeepEqual(back, r.Trace) {
			t.Errorf("%+v\nwas\n%+v", back, r.Trace)
		}
	})
	var back llmcall.Attempt
	if err := json.Unmarshal([]byte(`{"outcome":"failed","kind":"strange"}`), &back); err == nil || !strings.Contains(err.Error(), "transient") {
		t.Errorf("%v", err)
	}
	if err := json.Unmarshal([]byte(`{"delay_reason":"lunch"}`), &back); err == nil || !strings.Contains(err.Error(), "backoff") {
		t.Errorf("%v", err)
	}
}

// A thousand callers of one client with requests of their own get their own
// answers.
func TestAThousandCallersGetTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := llm.Func(unused(t), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
			time.Sleep(time.Duration(len(req.Messages[0].Text())%7) * time.Millisecond)
			switch n := len(req.Messages); {
			case n == 1 && req.Temperature != nil:
				return llm.Reply("wrong " + req.Messages[0].Text()), nil
			case n == 1 && req.Seed != nil:
				return nil, &failure.Error{Kind: failure.Transient}
			}
			return llm.Reply(fmt.Sprintf("%s %d %v", req.Messages[0].Text(), req.MaxTokens, req.Stop)), nil
		})
		cfg := llmcall.RetryConfig{EnableCircuitBreaker: true, MaxAttempts: 2}
		c := client(t, m, nil, cfg)
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				req := &llm.Request{Messages: []llm.Message{llm.User(strings.Repeat("x", i))}, MaxTokens: i, Stop: []string{fmt.Sprint(i)}}
				r, err := c.Do(t.Context(), req)
				if want := fmt.Sprintf("%s %d [%d]", strings.Repeat("x", i), i, i); err != nil || r.Text != want {
					t.Errorf("%d: %v, %v", i, r, err)
				}
			})
		}
		all.Wait()
	})
}

// No log has what a prompt or an answer says, however the call ended, also where
// result, error and trace are logged without a look at which of them there are.
func TestNoLogHasAnAnswerHoweverTheCallEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "PROMPT-SECRET"
		var b bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&b, nil))
		panicking := validate.Func("p", func(context.Context, *validate.Answer) error { panic("quote " + secret) })
		failing := validate.Func("f", func(context.Context, *validate.Answer) error {
			return validate.Unavailable(errors.New("can't check " + secret))
		})
		wrong := validate.Func("w", func(context.Context, *validate.Answer) error { return validate.Fail("it says "+secret, "") })
		human := validate.Func("h", func(context.Context, *validate.Answer) error { return validate.Fail("it says "+secret, "") })
		for name, c := range map[string]struct {
			m      llm.Model
			checks []validate.Strategy
			cfg    llmcall.RetryConfig
		}{
			"good":        {play(t, say("good "+secret)), nil, llmcall.RetryConfig{}},
			"panics":      {play(t, say(secret)), []validate.Strategy{panicking}, llmcall.RetryConfig{}},
			"failing":     {play(t, say(secret)), []validate.Strategy{failing}, llmcall.RetryConfig{}},
			"wrong":       {play(t, times(9, say(secret))...), []validate.Strategy{wrong}, llmcall.RetryConfig{}},
			"human":       {play(t, times(9, say(secret))...), []validate.Strategy{human}, llmcall.RetryConfig{MaxAttemptsBeforeHuman: 2}},
			"then fails":  {play(t, say(secret), down, down), []validate.Strategy{wrong}, llmcall.RetryConfig{}},
			"out of time": {play(t, say(secret), hang), []validate.Strategy{wrong}, llmcall.RetryConfig{MaxTime: s}},
			"filtered":    {play(t, finish(llm.FinishFiltered, secret)), []validate.Strategy{wrong}, llmcall.RetryConfig{}},
			"cut":         {play(t, times(9, finish(llm.FinishLength, secret))...), []validate.Strategy{wrong}, llmcall.RetryConfig{}},
		} {
			cfg := exact(c.cfg)
			cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
				log.Info("event", "e", e)
				return nil
			}
			b.Reset()
			r, err := client(t, c.m, c.checks, cfg).Do(t.Context(), llm.Prompt(secret))
			log.Info("done", "r", r, "err", err, "trace", traceOf(r, err))
			for line := range strings.SplitSeq(b.String(), "\n") {
				if strings.Contains(line, secret) || strings.Contains(line, "panicked\\n") {
					t.Errorf("%s: %.700s", name, line)
					break
				}
			}
		}
	})
}

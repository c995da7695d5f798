package llmcall_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
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
		"a model that says so": {play(t, kind(failure.Cancelled)), 0},
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
	if len(w.asks) != 2 || w.asks[0].Want.Tokens != 1000 || w.asks[1].Want.Tokens < 2000 {
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
	if _, err := client(t, play(t), checked, exact(llmcall.RetryConfig{Endpoints: r})).Do(t.Context(), req); err != nil || w.asks[0].Want.Tokens <= 0 {
		t.Errorf("%v, %+v", err, w.asks)
	}
}

package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/llm"
	"llmcall/validate"
)

// What is impossible is found when the client is made.
func TestNewRefusesWhatIsImpossible(t *testing.T) {
	m := play(t)
	for field, made := range map[string]func() (*llmcall.Client, error){
		"models":    func() (*llmcall.Client, error) { return llmcall.New(nil, nil, llmcall.RetryConfig{}) },
		"models[1]": func() (*llmcall.Client, error) { return llmcall.New([]llm.Model{m, nil}, nil, llmcall.RetryConfig{}) },
		"checks[0]": func() (*llmcall.Client, error) {
			return llmcall.New([]llm.Model{m}, []validate.Strategy{nil}, llmcall.RetryConfig{})
		},
		"max_attempts": func() (*llmcall.Client, error) {
			return llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{MaxAttempts: -1})
		},
	} {
		c, err := made()
		if e, ok := errors.AsType[*llmcall.ConfigError](err); c != nil || !ok || e.Field != field || e.Takes == "" {
			t.Errorf("%s: %v, %v", field, c, err)
		}
	}
	c := client(t, m, nil, llmcall.RetryConfig{})
	for _, req := range []*llm.Request{nil, {}} {
		if _, err := c.Do(t.Context(), req); err == nil || m.calls() != 0 {
			t.Errorf("%v was asked: %v", req, err)
		}
	}
}

// counting is a strategy that counts how often it is validated.
type counting struct {
	backoff.Constant
	validated *int
}

func (c counting) Validate() error {
	*c.validated++
	return nil
}

func TestACallCompilesNothing(t *testing.T) {
	validated, written := 0, 0
	words := func(*llmcall.Feedback) (string, error) { written++; return "wrong", nil }
	c := client(t, play(t, say("a")), checked, llmcall.RetryConfig{Backoff: counting{validated: &validated}, Feedback: words})
	atNew := validated
	if atNew == 0 || written != 0 {
		t.Errorf("New has validated the backoff %d times, and written %d messages", atNew, written)
	}
	for range 3 { // the first of them has a wrong answer
		if _, err := c.Do(t.Context(), llm.Prompt("x")); err != nil {
			t.Fatal(err)
		}
	}
	if validated != atNew || written != 1 {
		t.Errorf("the calls have validated the backoff %d times, and written %d messages for one wrong answer", validated-atNew, written)
	}
}

// What the caller does with what it gave to New changes no call.
func TestAClientNeverChanges(t *testing.T) {
	m, other := play(t, say("a"), say("b")), play(t)
	models, checks := []llm.Model{m}, append(make([]validate.Strategy, 0, 4), isGood)
	tool, jitter := *search, 0.0
	tool.Parameters = []byte(`{"type":"object"}`)
	cfg := llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, Tool: &tool, JitterRange: &jitter, DisableRetryBudget: true}
	c, err := llmcall.New(models, checks, cfg)
	if err != nil {
		t.Fatal(err)
	}
	models[0], checks[0] = other, validate.Must(validate.Contains("never"))
	tool.Name, jitter = "changed", 7
	copy(tool.Parameters, "[[[[[[")
	r, err := c.Do(t.Context(), llm.Prompt("x"))
	if err != nil || r.Text != "good" || other.calls() != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	if got := m.last().Tools[0]; got.Name != "search" || string(got.Parameters) != `{"type":"object"}` {
		t.Errorf("the tool is now %+v", got)
	}
}

// One client serves requests that have nothing in common, at once and for any type.
func TestAClientServesAllKindsOfRequests(t *testing.T) {
	answer := func(req *llm.Request) string {
		switch {
		case req.Schema == nil:
			return "good"
		case strings.Contains(string(req.Schema.JSON), "population"):
			return `{"name":"Berlin","population":1,"continent":"Europe"}`
		}
		return `{"value":7}`
	}
	m := llm.Func(t.Name(), func(_ context.Context, req *llm.Request) (*llm.Response, error) { return llm.Reply(answer(req)), nil })
	c := client(t, m, nil, llmcall.RetryConfig{})
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			r, err := c.Do(t.Context(), &llm.Request{Messages: []llm.Message{llm.User(fmt.Sprint(i))}, MaxTokens: i})
			if err != nil || r.Text != "good" {
				t.Errorf("%v, %v", r, err)
			}
			city, _, err := llmcall.Ask[City](t.Context(), c, llm.Prompt("x"))
			if err != nil || city.Name != "Berlin" {
				t.Errorf("%+v, %v", city, err)
			}
			n, _, err := llmcall.StartAsk[int](t.Context(), c, llm.Prompt("x")).Wait(t.Context())
			if err != nil || n != 7 {
				t.Errorf("%d, %v", n, err)
			}
			if text, _, err := heard(c.Stream(t.Context(), llm.Prompt("x"))); text != "good" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	wait.Wait()
}

// A deadline of one call is not that of another.
func TestMaxTimeIsOfEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, play(t, takes(7*s, say("good")), takes(7*s, say("good"))), nil, exact(llmcall.RetryConfig{MaxTime: 10 * s}))
		for range 2 {
			if _, err := c.Do(t.Context(), llm.Prompt("x")); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
	})
}

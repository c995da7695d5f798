package llmcall_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// visits of one call: model, stage and why.
func visitsOf(trace llmcall.Trace) string {
	var all []string
	for _, a := range trace.Attempts {
		all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s %s (%s)", a.Model, a.Stage, a.Outcome, a.Why), " ()"))
	}
	return strings.Join(all, ", ")
}

// forgetful returns a client with a quality memory whose first model answers wrong n times.
func forgetful(t *testing.T, cfg llmcall.RetryConfig, n int, others ...llm.Model) (*llmcall.Client, *endpoint.Registry) {
	t.Helper()
	registry, _ := endpoint.NewRegistry(endpoint.Config{})
	cfg.Endpoints = registry
	if cfg.QualityMemory == nil {
		cfg.QualityMemory = &llmcall.QualityMemory{}
	}
	var steps []step
	for i := range n {
		steps = append(steps, say(fmt.Sprint("bad ", i)))
	}
	c, err := llmcall.New(append([]llm.Model{aModel("test/a", steps...)}, others...), checked, exact(cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c, registry
}

func TestQualityMemory(t *testing.T) {
	const passed = "test/a: passed over, its answers did not pass the check is_good"
	synctest.Test(t, func(t *testing.T) {
		c, registry := forgetful(t, llmcall.RetryConfig{MaxAttempts: 1}, 21, aModel("test/b"))
		do := func(want string) {
			t.Helper()
			r, err := c.Do(t.Context(), llm.Prompt("?"))
			if got := visitsOf(traceOf(r, err)); got != want {
				t.Errorf("after %v: got %s, want %s", time.Since(synctestBegan), got, want)
			}
		}
		for range 20 {
			do("test/a basic invalid")
		}
		do("test/b basic valid (" + passed + ")")
		over := registry.Get(endpoint.Key{Model: "test/a"}).Snapshot().PassedOver
		if len(over) != 1 || over[0].Check != "is_good" || over[0].Until != time.Now().Add(5*time.Minute) {
			t.Errorf("the snapshot has %+v", over)
		}
		time.Sleep(5 * time.Minute) // tried again, wrong again
		do("test/a basic invalid")
		do("test/b basic valid (" + passed + ")")
		time.Sleep(5 * time.Minute)
		for range 9 { // tried again, and right
			do("test/a basic valid")
		}
		if over := registry.Get(endpoint.Key{Model: "test/a"}).Snapshot().PassedOver; len(over) != 0 {
			t.Errorf("the snapshot has %+v", over)
		}
	})
}

// synctestBegan is when time begins in a bubble.
var synctestBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Each row is a stair, after twenty wrong answers of its first model, and the next call.
func TestWhoIsPassedOver(t *testing.T) {
	a, b := []string{"test/a"}, []string{"test/b"}
	const poor = "test/a: passed over, its answers did not pass the check is_good"
	badKey := kind(failure.Unauthorized)
	for _, row := range []struct {
		name   string
		stages []llmcall.Stage
		b      []step
		want   string
	}{
		{"alone it is asked", []llmcall.Stage{{Models: a}}, nil, "test/a 1 valid"},
		{"a later stage serves", []llmcall.Stage{{Models: a}, {Models: b}}, nil, "test/b 2 valid (" + poor + ")"},
		{"a later stage that can't", []llmcall.Stage{{Models: a}, {Models: b}}, []step{badKey}, "test/b 2 failed (" + poor + "), test/a 1 valid (no model of stage 2 can serve)"},
		{"a later stage that is wrong", []llmcall.Stage{{Models: a}, {Models: b}}, []step{say("c")}, "test/b 2 invalid (" + poor + ")"},
		{"a later stage with the same model", []llmcall.Stage{{Models: a}, {Name: "again", Models: a}}, nil, "test/a 1 valid"},
		{"an alternative serves", []llmcall.Stage{{Attempts: 2, Models: []string{"test/a", "test/b"}}}, nil, "test/b 1 valid (" + poor + ")"},
		{"an alternative that can't", []llmcall.Stage{{Attempts: 2, Models: []string{"test/a", "test/b"}}}, []step{badKey}, "test/b 1 failed (" + poor + "), test/a 1 valid (test/b: unauthorized)"},
		{"one that comes last as ever", []llmcall.Stage{{Attempts: 2, Models: []string{"test/b", "test/a"}}}, nil, "test/b 1 valid"},
		{"a person is not better", []llmcall.Stage{{Models: a}, {Human: true}}, nil, "test/a 1 valid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, registry := forgetful(t, llmcall.RetryConfig{Stages: row.stages}, 0, aModel("test/b", row.b...))
				e := registry.Get(endpoint.Key{Model: "test/a"})
				for range 20 {
					e.Judged("is_good", []string{"is_good"}, endpoint.Quality{Answers: 20, Share: 0.8, For: time.Minute})
				}
				r, err := c.Do(t.Context(), llm.Prompt("?"))
				if got := visitsOf(traceOf(r, err)); got != row.want {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			})
		})
	}
}

func TestImpossibleQualityMemories(t *testing.T) {
	for text, want := range map[string]string{
		"quality_memory: {answers: 2000}": "c.yaml:1: quality_memory.answers must be a whole number from 1 to 1,000, got 2000",
		"quality_memory: {share: 2}":      "c.yaml:1: quality_memory.share must be a number from 0.1 to 1, got 2",
		"quality_memory: {fro: 5m}":       "c.yaml:1: quality_memory.fro: unknown field, did you mean for?",
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	cfg, _, err := llmcall.ParseConfig("c.yaml", []byte("quality_memory: {answers: 10, share: 0.5, for: 10m}"))
	if want := (llmcall.QualityMemory{Answers: 10, Share: 0.5, For: 10 * time.Minute}); err != nil || *cfg.QualityMemory != want {
		t.Errorf("%+v, %v", cfg.QualityMemory, err)
	}
}

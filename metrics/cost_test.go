package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/metrics"
	"llmcall/retry"
)

// usual tells of a call with one attempt that has waited for its turn.
func usual(observe llmcall.Observer) func() {
	ctx := context.Background()
	started := llmcall.Event{Type: llmcall.EventCallStarted, Call: 1, Model: "acme/small"}
	begun := llmcall.Event{Type: llmcall.EventAttemptStarted, Call: 1, Model: "acme/small"}
	done := llmcall.Event{Type: llmcall.EventAttemptEnded, Call: 1, Model: "acme/small", Attempt: llmcall.Attempt{
		Number: 1, Model: "acme/small", Outcome: llmcall.OutcomeValid, Duration: 3 * time.Second, Delay: time.Second, DelayReason: retry.PaceWait,
		Usage: llm.Usage{InputTokens: 1000, OutputTokens: 100, CachedTokens: 500, ReasoningTokens: 20}, Cost: llmcall.Cost{Nanos: 1_234_567},
	}}
	ended := llmcall.Event{Type: llmcall.EventCallEnded, Call: 1, Model: "acme/small", Duration: 4 * time.Second}
	return func() {
		observe(ctx, started)
		observe(ctx, begun)
		observe(ctx, done)
		observe(ctx, ended)
	}
}

func TestACallAllocatesNothing(t *testing.T) {
	m := made(t, metrics.Options{Models: []string{"acme/small"}})
	if got := testing.AllocsPerRun(1000, usual(m.Observer())); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func TestARequestAllocatesNothing(t *testing.T) {
	m := made(t, metrics.Options{Routes: []string{"support"}, Clients: []string{"web"}})
	r := metrics.Request{Route: "support", Client: "web", Protocol: "openai", Status: 200, Duration: time.Second, FirstByte: time.Second}
	if got := testing.AllocsPerRun(1000, func() { m.Request(r) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func BenchmarkCall(b *testing.B) {
	one := usual(made(b, metrics.Options{Models: []string{"acme/small"}}).Observer())
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}

func BenchmarkCallParallel(b *testing.B) {
	one := usual(made(b, metrics.Options{Models: []string{"acme/small"}}).Observer())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			one()
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	m := made(b, metrics.Options{Routes: []string{"support"}, Clients: []string{"web"}})
	r := metrics.Request{Route: "support", Client: "web", Protocol: "openai", Status: 200, Duration: time.Second, FirstByte: time.Second}
	b.ReportAllocs()
	for b.Loop() {
		m.Request(r)
	}
}

// Who does not import this package does not link Prometheus's library.
func TestOnlyThisPackageLinksPrometheus(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Deps", "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	here := reflect.TypeFor[metrics.Metrics]().PkgPath()
	links := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath string
			Deps       []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		links[p.ImportPath] = slices.ContainsFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, "github.com/prometheus/") })
		if links[p.ImportPath] && p.ImportPath != here && !slices.Contains(p.Deps, here) {
			t.Errorf("%s links Prometheus's library, and does not import %s", p.ImportPath, here)
		}
	}
	if root := strings.TrimSuffix(here, "/metrics"); !links[here] || links[root] || len(links) < 50 {
		t.Errorf("of %d packages: %s links it: %v, %s: %v", len(links), here, links[here], root, links[root])
	}
}

package metrics_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/metrics"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // Gemini's SDK starts it when it is imported
}

// made returns metrics with a registry of its own.
func made(t testing.TB, o metrics.Options) *metrics.Metrics {
	t.Helper()
	if o.Registry == nil {
		o.Registry = registry(t)
	}
	m, err := metrics.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func registry(t testing.TB) *endpoint.Registry {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// page is what Prometheus is served.
func page(m *metrics.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// samples are the series of llmcall that are not 0, without "llmcall_", and without the
// buckets of histograms.
func samples(t testing.TB, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(page(m)) {
		series, value, found := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, `" `, `"`)), "} ")
		if found {
			series += "}"
		} else {
			series, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		name, ours := strings.CutPrefix(series, "llmcall_")
		if !ours || strings.Contains(name, "_bucket{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if v != 0 {
			all[name] = v
		}
	}
	return all
}

// call tells an observer of a call with these attempts.
func call(observe llmcall.Observer, end llmcall.Event, attempts ...llmcall.Attempt) {
	ctx := context.Background()
	observe(ctx, llmcall.Event{Type: llmcall.EventCallStarted})
	for _, a := range attempts {
		observe(ctx, llmcall.Event{Type: llmcall.EventAttemptStarted, Model: a.Model, Attempt: llmcall.Attempt{Number: a.Number, Model: a.Model}})
		observe(ctx, llmcall.Event{Type: llmcall.EventAttemptEnded, Model: a.Model, Attempt: a})
	}
	end.Type = llmcall.EventCallEnded
	observe(ctx, end)
}

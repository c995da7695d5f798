package otel_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/otel"
)

// read returns the points of all metrics, as "name attributes: sum".
func read(t *testing.T, r metric.Reader) []string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	var all []string
	add := func(m metricdata.Metrics, set attribute.Set, sum any) {
		line := m.Name
		for _, a := range set.ToSlice() {
			if a.Key != "gen_ai.operation.name" && a.Key != "gen_ai.workflow.name" {
				line += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
			}
		}
		all = append(all, fmt.Sprintf("%s: %v %s", line, sum, m.Unit))
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, p.Sum)
				}
			case metricdata.Histogram[int64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, p.Sum)
				}
			case metricdata.Sum[float64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, p.Value)
				}
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, p.Value)
				}
			default:
				t.Errorf("%s is a %T", m.Name, points)
			}
		}
	}
	slices.Sort(all)
	return all
}

// hard makes a call with a failure, a wrong answer, a hedge, a check that asks a model, and a
// price, and returns what was measured of it.
func hard(t *testing.T, o otel.Options) (points []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := metric.NewManualReader()
		p := metric.NewMeterProvider(metric.WithReader(r))
		defer func() { _ = p.Shutdown(t.Context()) }()
		o.MeterProvider = p
		observe := otel.Observer(o)
		ctx := observe(t.Context(), llmcall.Event{Type: llmcall.EventCallStarted, Call: 1})
		usage := llm.Usage{InputTokens: 100, OutputTokens: 10, CachedTokens: 40, CacheWriteTokens: 30, ReasoningTokens: 5}
		for _, a := range []llmcall.Attempt{
			{Number: 1, Model: "acme/one", Outcome: llmcall.OutcomeFailed, Kind: failure.Overloaded, Duration: s},
			{Number: 2, Model: "acme/one", Outcome: llmcall.OutcomeValid, Duration: 3 * s, Delay: 2 * s, DelayReason: 1, Usage: usage,
				CheckUsage: llm.Usage{InputTokens: 7, OutputTokens: 3}, Cost: llmcall.Cost{Nanos: 2_000_000},
				Hedge: &llmcall.Attempt{Model: "acme/two", Outcome: llmcall.OutcomeLost, Duration: s, Usage: usage}},
		} {
			within := observe(ctx, llmcall.Event{Type: llmcall.EventAttemptStarted, Attempt: llmcall.Attempt{Number: a.Number, Model: a.Model}})
			observe(within, llmcall.Event{Type: llmcall.EventAttemptEnded, Attempt: a})
		}
		observe(ctx, llmcall.Event{Type: llmcall.EventCallEnded, Duration: 6 * s, Result: &llmcall.Result{}})
		points = read(t, r)
	})
	return points
}

func TestWhatIsMeasured(t *testing.T) {
	const one, two = " gen_ai.provider.name=acme gen_ai.request.model=one", " gen_ai.provider.name=acme gen_ai.request.model=two"
	always := []string{
		"llmcall.attempt.delay" + one + " llmcall.delay_reason=backoff: 2 s",
		"llmcall.call.duration llmcall.reason=valid: 6 s",
		"llmcall.checks.tokens gen_ai.token.type=input: 7 {token}",
		"llmcall.checks.tokens gen_ai.token.type=output: 3 {token}",
		"llmcall.cost" + one + ": 0.002 USD",
	}
	const unknown = " gen_ai.token.modality=unknown"
	for optIn, want := range map[string][]string{
		"": {
			"gen_ai.client.operation.duration error.type=lost" + two + ": 1 s",
			"gen_ai.client.operation.duration error.type=overloaded" + one + ": 1 s",
			"gen_ai.client.operation.duration" + one + ": 3 s",
			"gen_ai.client.token.usage" + one + " gen_ai.token.type=input: 100 {token}",
			"gen_ai.client.token.usage" + one + " gen_ai.token.type=output: 10 {token}",
			"gen_ai.client.token.usage" + two + " gen_ai.token.type=input: 100 {token}",
			"gen_ai.client.token.usage" + two + " gen_ai.token.type=output: 10 {token}",
		},
		"gen_ai_latest_experimental": {
			"gen_ai.client.inference.duration error.type=lost" + two + ": 1 s",
			"gen_ai.client.inference.duration error.type=overloaded" + one + ": 1 s",
			"gen_ai.client.inference.duration" + one + ": 3 s",
			"gen_ai.client.inference.operation.input_tokens" + one + ": 100 {token}",
			"gen_ai.client.inference.operation.input_tokens" + two + ": 100 {token}",
			"gen_ai.client.inference.operation.output_tokens" + one + ": 10 {token}",
			"gen_ai.client.inference.operation.output_tokens" + two + ": 10 {token}",
			"gen_ai.client.inference.usage.cache_read.input_tokens" + one + unknown + ": 40 {token}",
			"gen_ai.client.inference.usage.cache_read.input_tokens" + two + unknown + ": 40 {token}",
			"gen_ai.client.inference.usage.cache_write.input_tokens" + one + unknown + ": 30 {token}",
			"gen_ai.client.inference.usage.cache_write.input_tokens" + two + unknown + ": 30 {token}",
			"gen_ai.client.inference.usage.input_tokens" + one + unknown + ": 100 {token}",
			"gen_ai.client.inference.usage.input_tokens" + two + unknown + ": 100 {token}",
			"gen_ai.client.inference.usage.output_tokens" + one + unknown + ": 10 {token}",
			"gen_ai.client.inference.usage.output_tokens" + two + unknown + ": 10 {token}",
			"gen_ai.client.inference.usage.reasoning.output_tokens" + one + ": 5 {token}",
			"gen_ai.client.inference.usage.reasoning.output_tokens" + two + ": 5 {token}",
		},
	} {
		t.Run("names "+optIn, func(t *testing.T) {
			t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", optIn)
			want := slices.Sorted(slices.Values(slices.Concat(always, want)))
			if got := hard(t, otel.Options{}); !slices.Equal(got, want) {
				t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Whoever chooses the models' names, as the clients of a gateway may, does not choose how many
// series there are.
func TestMetricsHaveFewModels(t *testing.T) {
	models := func(points []string) map[string]bool {
		all := map[string]bool{}
		for _, p := range points {
			if _, after, ok := strings.Cut(p, "gen_ai.request.model="); ok {
				all[strings.FieldsFunc(after, func(r rune) bool { return r == ' ' || r == ':' })[0]] = true
			}
		}
		return all
	}
	if got := models(hard(t, otel.Options{Models: []string{"acme/two"}})); !maps.Equal(got, map[string]bool{"two": true, "_OTHER": true}) {
		t.Errorf("%v", got)
	}
	r := metric.NewManualReader()
	p := metric.NewMeterProvider(metric.WithReader(r))
	defer func() { _ = p.Shutdown(t.Context()) }()
	observe := otel.Observer(otel.Options{MeterProvider: p})
	for i := range 1000 {
		observe(t.Context(), llmcall.Event{Type: llmcall.EventAttemptEnded, Attempt: llmcall.Attempt{Model: fmt.Sprintf("acme/%d", i), Outcome: llmcall.OutcomeValid}})
	}
	if got := models(read(t, r)); len(got) != 101 || !got["_OTHER"] || !got["0"] {
		t.Errorf("%d models: %v", len(got), got)
	}
}

// The page lists each metric, and no other.
func TestThePageListsTheMetrics(t *testing.T) {
	page, err := os.ReadFile("../docs/traces.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| (?:histogram|counter), .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		listed[row[1]] = true
	}
	written := map[string]bool{}
	for _, optIn := range []string{"", "gen_ai_latest_experimental"} {
		t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", optIn)
		for _, point := range hard(t, otel.Options{}) {
			name, _, _ := strings.Cut(point, " ")
			written[strings.TrimSuffix(name, ":")] = true
		}
	}
	if !maps.Equal(listed, written) {
		t.Errorf("the page has %v, written are %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(written)))
	}
}

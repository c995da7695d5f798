package otel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	wiremetrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	wiretrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/tidwall/gjson"

	"llmcall"
	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/otel"
	"llmcall/provider/openai"
	"llmcall/validate"
)

// collector receives OTLP over HTTP.
type collector struct {
	mu       sync.Mutex
	raw      bytes.Buffer // all bodies
	resource map[string]string
	spans    []*wiretrace.Span
	metrics  map[string]*wiremetrics.Metric // the last state of each
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(data)
	var answer proto.Message
	switch r.URL.Path {
	case "/v1/traces":
		var sent collectortrace.ExportTraceServiceRequest
		err, answer = proto.Unmarshal(data, &sent), &collectortrace.ExportTraceServiceResponse{}
		for _, resource := range sent.ResourceSpans {
			c.resource = attributesOf(resource.Resource.Attributes)
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	case "/v1/metrics":
		var sent collectormetrics.ExportMetricsServiceRequest
		err, answer = proto.Unmarshal(data, &sent), &collectormetrics.ExportMetricsServiceResponse{}
		for _, resource := range sent.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, m := range scope.Metrics {
					c.metrics[m.Name] = m
				}
			}
		}
	default:
		err = fmt.Errorf("unknown path %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	text, _ := proto.Marshal(answer)
	w.Write(text)
}

func attributesOf(all []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_DoubleValue:
			m[a.Key] = fmt.Sprint(v.DoubleValue)
		default:
			m[a.Key] = a.Value.String()
		}
	}
	return m
}

// tokens are the tokens of a metric: the sum over its points that have an attribute.
func (c *collector) tokens(name, key, value string) int64 {
	var sum int64
	m := c.metrics[name]
	if m == nil {
		return 0
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		if attributesOf(p.Attributes)[key] == value {
			sum += int64(p.GetSum())
		}
	}
	for _, p := range m.GetSum().GetDataPoints() {
		if attributesOf(p.Attributes)[key] == value {
			sum += p.GetAsInt()
		}
	}
	return sum
}

// meter sums up the tokens in what a provider sends.
type meter struct {
	http.Handler
	serving       sync.WaitGroup
	mu            sync.Mutex
	input, output int64
}

type tee struct {
	http.ResponseWriter
	sent bytes.Buffer
}

func (t *tee) Write(p []byte) (int, error) { t.sent.Write(p); return t.ResponseWriter.Write(p) }
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.serving.Add(1)
	defer m.serving.Done()
	t := &tee{ResponseWriter: w}
	m.Handler.ServeHTTP(t, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	for line := range strings.Lines(t.sent.String()) {
		usage := gjson.Get(strings.TrimPrefix(line, "data: "), "usage")
		m.input += usage.Get("prompt_tokens").Int()
		m.output += usage.Get("completion_tokens").Int()
	}
}

// propagating is an instrumented HTTP client, as far as it matters here.
type propagating struct{ http.RoundTripper }

func (p propagating) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	otelapi.GetTextMapPropagator().Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	return p.RoundTripper.RoundTrip(r)
}

const apiKey = "sk-of-this-test-very-secret"

// world is a provider that fails on purpose, a collector, and the environment that names it.
// When both have ended, no goroutine is left.
func world(t *testing.T, plan *chaos.Plan) (*chaos.Server, *meter, *collector, llm.Model) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	provider, err := chaos.New(chaos.Config{Plan: plan, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	counted := &meter{Handler: provider}
	server := httptest.NewServer(counted)
	received := &collector{metrics: map[string]*wiremetrics.Metric{}}
	sink := httptest.NewServer(received)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		provider.Close()
		sink.Close()
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.URL)
	t.Setenv("OTEL_SERVICE_NAME", "of-the-test")
	t.Setenv("OPENAI_API_KEY", apiKey)
	model, err := openai.New("gpt-6-luna", openai.Options{BaseURL: server.URL + "/v1", HTTPClient: &http.Client{Transport: propagating{transport}}})
	if err != nil {
		t.Fatal(err)
	}
	return provider, counted, received, model
}

// From a program by OTLP over HTTP to a collector: a call of three attempts, the tree of its
// spans, what the provider was sent, and no prompt, answer or key among all bytes.
func TestWhatACollectorReceives(t *testing.T) {
	provider, counted, received, model := world(t, &chaos.Plan{Steps: []chaos.Fault{
		{Kind: chaos.Status, Status: 500}, {Kind: chaos.Right, Answer: "answer: not JSON"}, {Kind: chaos.Right, Answer: `{"answer": "yes"}`},
	}})
	shutdown, observer, err := otel.Setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := llmcall.New([]llm.Model{model}, []validate.Strategy{validate.JSON()}, llmcall.RetryConfig{
		Observer: observer, InitialDelay: time.Millisecond, DisableRetryBudget: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	incoming := otel.Incoming(t.Context(), http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}})
	if _, err := c.Do(incoming, llm.Prompt("question: is it JSON?")); err != nil {
		t.Fatal(err)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	var call *wiretrace.Span
	var attempts []*wiretrace.Span
	for _, span := range received.spans {
		switch span.Kind {
		case wiretrace.Span_SPAN_KIND_INTERNAL:
			call = span
		case wiretrace.Span_SPAN_KIND_CLIENT:
			attempts = append(attempts, span)
		}
	}
	if len(received.spans) != 4 || call == nil || len(attempts) != 3 {
		t.Fatalf("%d spans: %v", len(received.spans), received.spans)
	}
	if hex.EncodeToString(call.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(call.ParentSpanId) != "b7ad6b7169203331" {
		t.Errorf("the call is not below its caller: %v", call)
	}
	if received.resource["service.name"] != "of-the-test" {
		t.Errorf("%v", received.resource)
	}
	counted.serving.Wait()
	var input, output int64
	for i, span := range attempts {
		if !bytes.Equal(span.ParentSpanId, call.SpanId) || span.Name != "chat gpt-6-luna" {
			t.Errorf("%v", span)
		}
		got := attributesOf(span.Attributes)
		if want := []string{"transient", "invalid_answer", ""}[i]; got["error.type"] != want {
			t.Errorf("attempt %d: %q, want %q", i+1, got["error.type"], want)
		}
		var n, m int64
		fmt.Sscan(got["gen_ai.usage.input_tokens"], &n)
		fmt.Sscan(got["gen_ai.usage.output_tokens"], &m)
		input, output = input+n, output+m
		parent := fmt.Sprintf("00-0af7651916cd43dd8448eb211c80319c-%x-01", span.SpanId)
		if sent := provider.Requests()[i].Header.Get("Traceparent"); sent != parent {
			t.Errorf("attempt %d: the provider got traceparent %q, want %q", i+1, sent, parent)
		}
	}
	if input != counted.input || output != counted.output || input == 0 || output == 0 {
		t.Errorf("the attempts have %d and %d tokens, the provider counted %d and %d", input, output, counted.input, counted.output)
	}
	for key := range attributesOf(call.Attributes) {
		if strings.Contains(key, "token") || strings.Contains(key, "cost") {
			t.Errorf("the call has %s, which is counted with its attempts", key)
		}
	}
	if n := received.tokens("gen_ai.client.token.usage", "gen_ai.token.type", "input"); n != input {
		t.Errorf("the metric has %d input tokens, the spans have %d", n, input)
	}
	for _, secret := range []string{apiKey, apiKey[:12], "question:", "answer:", "yes"} {
		if bytes.Contains(received.raw.Bytes(), []byte(secret)) {
			t.Errorf("%q was sent to the collector", secret)
		}
	}
	if n := received.raw.Len(); n < 1000 {
		t.Errorf("%d bytes were received", n)
	}
}

// Protobuf has no text that is not UTF-8, and one would lose the whole batch. A provider may
// send any bytes.
func TestBytesThatAreNotTextLoseNoSpan(t *testing.T) {
	_, _, received, _ := world(t, nil)
	shutdown, observer, err := otel.Setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, llmcall.RetryConfig{Observer: observer, MaxAttempts: 1}, plays("acme/one", fails(failure.Transient, "not \xff UTF-8")))
	_, _ = c.Do(t.Context(), llm.Prompt("x"))
	if err := shutdown(t.Context()); err != nil || len(received.spans) != 2 || received.spans[0].Status.Message != "acme: transient: not \uFFFD UTF-8" {
		t.Errorf("%v: %v", err, received.spans)
	}
}

// isJSON reads an answer at its end. The library's own check stops a stream that can't become
// JSON, and what it has used by then no provider tells.
var isJSON = validate.Func("is_json", func(_ context.Context, a *validate.Answer) error {
	if !json.Valid([]byte(a.Text)) {
		return validate.Fail("it is not JSON", "")
	}
	return nil
})

// However calls fail, streamed or not: the tokens of attempts are those that the provider has
// sent, by spans and by metrics, under the old names and the new.
func TestTokensOfAttemptsAreWhatTheProviderCounted(t *testing.T) {
	for _, optIn := range []string{"", "http,gen_ai_latest_experimental"} {
		t.Run(say.FirstLine("names "+optIn, 40), func(t *testing.T) {
			t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", optIn)
			_, counted, received, model := world(t, &chaos.Plan{Weights: []chaos.Fault{
				{Kind: chaos.Right, Weight: 5}, {Kind: chaos.Prose, Weight: 2}, {Kind: chaos.Status, Status: 500, Weight: 1}, {Kind: chaos.Length, Weight: 1}, {Kind: chaos.Reset, Weight: 1},
			}})
			shutdown, observer, err := otel.Setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c, err := llmcall.New([]llm.Model{model}, []validate.Strategy{isJSON}, llmcall.RetryConfig{
				Observer: observer, InitialDelay: time.Millisecond, MaxDelay: time.Millisecond, DisableRetryBudget: true, MaxAttempts: 5,
			})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 40 {
				all.Go(func() {
					req := llm.Prompt(strings.Repeat("Answer in JSON. ", 1+rand.N(5)))
					req.Schema = &llm.Schema{Name: "answer", JSON: []byte(`{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}`)}
					if i%2 == 0 {
						_, _ = c.Do(t.Context(), req)
						return
					}
					for range c.Stream(t.Context(), req) {
					}
				})
			}
			all.Wait()
			if err := shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			var input, output int64
			calls := 0
			for _, span := range received.spans {
				got := attributesOf(span.Attributes)
				var n, m int64
				fmt.Sscan(got["gen_ai.usage.input_tokens"], &n)
				fmt.Sscan(got["gen_ai.usage.output_tokens"], &m)
				input, output = input+n, output+m
				if span.Kind == wiretrace.Span_SPAN_KIND_INTERNAL {
					calls++
				}
			}
			counted.serving.Wait()
			if calls != 40 || input != counted.input || output != counted.output || output == 0 {
				t.Errorf("%d calls: the spans have %d and %d tokens, the provider counted %d and %d", calls, input, output, counted.input, counted.output)
			}
			metrics := [2]int64{received.tokens("gen_ai.client.token.usage", "gen_ai.token.type", "input"), received.tokens("gen_ai.client.token.usage", "gen_ai.token.type", "output")}
			if optIn != "" {
				metrics = [2]int64{
					received.tokens("gen_ai.client.inference.usage.input_tokens", "gen_ai.token.modality", "unknown"),
					received.tokens("gen_ai.client.inference.usage.output_tokens", "gen_ai.token.modality", "unknown"),
				}
			}
			if metrics != [2]int64{input, output} {
				t.Errorf("the metrics have %d, the spans have %d and %d", metrics, input, output)
			}
			old, now := received.metrics["gen_ai.client.operation.duration"] != nil, received.metrics["gen_ai.client.inference.duration"] != nil
			if old != (optIn == "") || now == old {
				t.Errorf("the metrics are %v", slices.Sorted(maps.Keys(received.metrics)))
			}
		})
	}
}

// Without a variable nothing is sent, and nothing is paid; a wrong one is an error that says
// which.
func TestSetupFollowsTheEnvironment(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for name, c := range map[string]struct {
		variables []string
		observes  bool
		problem   string
	}{
		"nothing":          {},
		"an endpoint":      {[]string{endpoint}, true, ""},
		"one for traces":   {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces"}, true, ""},
		"an exporter":      {[]string{"OTEL_METRICS_EXPORTER=otlp"}, true, ""},
		"disabled":         {[]string{endpoint, "OTEL_SDK_DISABLED=true"}, false, ""},
		"none":             {[]string{endpoint, "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none"}, false, ""},
		"another exporter": {[]string{"OTEL_TRACES_EXPORTER=zipkin"}, false, `OTEL_TRACES_EXPORTER: must be one of otlp, none, got "zipkin"`},
		"a slip":           {[]string{"OTEL_TRACES_EXPORTER=otpl"}, false, `OTEL_TRACES_EXPORTER: must be one of otlp, none, got "otpl", did you mean otlp?`},
		"another protocol": {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL: must be one of http/protobuf, got "grpc"`},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks := goleak.IgnoreCurrent()
			for _, v := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"} {
				t.Setenv(v, "")
			}
			for _, v := range c.variables {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			shutdown, observer, err := otel.Setup(t.Context())
			problem := ""
			if err != nil {
				problem = err.Error()
			}
			if problem != c.problem || (observer != nil) != c.observes {
				t.Errorf("%v, %q", observer != nil, problem)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_ = shutdown(ctx) // nobody listens
			goleak.VerifyNone(t, noLeaks)
		})
	}
}

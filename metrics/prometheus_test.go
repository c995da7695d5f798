package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway"
	"llmcall/llm"
	"llmcall/metrics"
	"llmcall/price"
	"llmcall/provider"
	_ "llmcall/provider/anthropic"
	_ "llmcall/provider/gemini"
	_ "llmcall/provider/openai"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

const (
	dashboardFile = "../deploy/grafana/llmcall.json"
	alertsFile    = "../deploy/prometheus/alerts.yml"
)

// needs skips the test where a program of Prometheus is missing.
func needs(t *testing.T, program string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs " + program)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("LLMCALL_REAL") == "1" {
			t.Fatalf("LLMCALL_REAL=1 is set, and %s is missing: %v", program, err)
		}
		t.Skipf("needs %s: apt-get install prometheus", program)
	}
	return path
}

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command(needs(t, "promtool"), args...)
	cmd.Dir, cmd.Stdin = filepath.Dir(alertsFile), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlertsByPromtool(t *testing.T) {
	promtool(t, "", "check", "config", "prometheus.yml")
	promtool(t, "", "check", "rules", "--lint-fatal", "alerts.yml")
	promtool(t, "", "test", "rules", "alerts_test.yml")
}

// promtool knows what names, units and help texts Prometheus wants. Only our own are held
// to it: the help text of one of Go's runtime is empty.
func TestMetricsByPromtool(t *testing.T) {
	m := made(t, metrics.Options{Models: []string{"acme/small"}, Accounts: func() []account.Snapshot {
		return []account.Snapshot{{Limit: endpoint.Amount{Nanos: 1}}}
	}})
	call(m.Observer(), llmcall.Event{Model: "acme/small"}, llmcall.Attempt{Model: "acme/small", Complaints: []validate.Complaint{{Check: "json"}}})
	m.Request(metrics.Request{FirstByte: s, Limit: "max_concurrent"})
	var ours strings.Builder
	for line := range strings.Lines(page(m)) {
		if strings.Contains(line, "llmcall_") {
			ours.WriteString(line)
		}
	}
	promtool(t, ours.String(), "check", "metrics")
}

// query is an expression of the dashboard or of the alerts.
type query struct{ name, expr string }

type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
}

func panels(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(source(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func queries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, p := range panels(t).Panels {
		for i, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "20s", "$model", ".*").Replace(target.Expr)
			all = append(all, query{fmt.Sprintf("panel %q, %d", p.Title, i+1), expr})
		}
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(source(t, alertsFile)), &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range file.Groups[0].Rules {
		n++
		expr := r.Expr
		if r.Alert == "LlmcallCallsSlow" { // a test does not wait for a minute
			expr = strings.Replace(expr, "> 60", "> 0.06", 1)
		}
		all = append(all, query{"alert " + r.Alert, expr})
	}
	if n != 9 {
		t.Errorf("%d alerts, want 9", n)
	}
	return all
}

var ourName = regexp.MustCompile(`llmcall_[a-z_]+`)

// The dashboard and the alerts name only metrics that exist, and the dashboard shows all.
func TestTheDashboardShowsEachMetric(t *testing.T) {
	exists, shown := map[string]bool{}, map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(llmcall_[a-z_]+)` \\|").FindAllStringSubmatch(source(t, "../docs/metrics.md"), -1) {
		exists[row[1]] = true
	}
	for _, q := range queries(t) {
		for _, name := range ourName.FindAllString(q.expr, -1) {
			name = strings.TrimSuffix(name, "_bucket")
			if !exists[name] {
				t.Errorf("%s: there is no metric %s", q.name, name)
			}
			shown[name] = strings.HasPrefix(q.name, "panel") || shown[name]
		}
	}
	for name := range exists {
		if !shown[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	rows, ids, taken := 0, map[int]bool{}, map[[2]int]string{}
	for _, p := range panels(t).Panels {
		if p.Type == "row" {
			rows++
		}
		if ids[p.ID] {
			t.Errorf("%q has the id of another", p.Title)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q is wider than the page", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" {
					t.Fatalf("%q lies on %q", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
	}
	if rows != 6 {
		t.Errorf("%d rows, want 6", rows)
	}
}

// counting counts the requests and the tokens of a chaos server by what it sends: what a
// provider would bill.
type counting struct {
	chaos *chaos.Server

	mu            sync.Mutex
	requests      int
	input, output int64
}

type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) { r.body.Write(b); return r.ResponseWriter.Write(b) }
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
func (r *recorder) Flush()                      { _ = http.NewResponseController(r.ResponseWriter).Flush() }

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := &recorder{ResponseWriter: w}
	defer func() {
		in, out := used(seen.body.Bytes())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests++
		c.input += in
		c.output += out
	}()
	c.chaos.ServeHTTP(seen, r)
}

// used reads what an answer, whole or streamed, says of its tokens.
func used(body []byte) (in, out int64) {
	for _, text := range append([]string{string(body)}, strings.Split(string(body), "\n")...) {
		var whole any
		if json.Unmarshal([]byte(strings.TrimPrefix(text, "data: ")), &whole) != nil {
			continue
		}
		i, o := usage(whole)
		in, out = max(in, i), max(out, o)
	}
	return in, out
}

func usage(v any) (in, out int64) {
	fields, _ := v.(map[string]any)
	for name, value := range fields {
		n := func(field string) int64 {
			within, _ := value.(map[string]any)
			f, _ := within[field].(float64)
			return int64(f)
		}
		i, o := int64(0), int64(0)
		switch name {
		case "usage":
			i = n("prompt_tokens") + n("input_tokens") + n("cache_read_input_tokens") + n("cache_creation_input_tokens")
			o = n("completion_tokens") + n("output_tokens")
		case "usageMetadata":
			i = n("promptTokenCount")
			o = n("candidatesTokenCount") + n("thoughtsTokenCount")
		case "message", "response":
			i, o = usage(value)
		}
		in, out = max(in, i), max(out, o)
	}
	return in, out
}

// serve serves a plan, and returns what counts there.
func serve(t *testing.T, plan chaos.Plan) (*counting, string) {
	t.Helper()
	plan.Seed = 1
	practice, err := chaos.New(chaos.Config{Plan: &plan})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{chaos: practice}
	server := httptest.NewServer(c)
	t.Cleanup(func() { practice.Close(); server.Close() })
	return c, server.URL
}

// asks is a model at a provider that fails by a plan, and how it is asked.
type asks struct {
	model  string
	plan   chaos.Plan
	checks []validate.Strategy
	cfg    llmcall.RetryConfig
	many   int // callers at a time
	stream bool

	provider *counting
	client   *llmcall.Client
}

func (a *asks) open(t *testing.T, m *metrics.Metrics, r *endpoint.Registry) {
	t.Helper()
	var base string
	a.provider, base = serve(t, a.plan)
	if name, _, _ := strings.Cut(a.model, "/"); name == "openai" {
		base += "/v1"
	}
	model, err := provider.Open(a.model, provider.Options{APIKey: "of-the-test", BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	a.cfg.Endpoints, a.cfg.Observer = r, m.Observer()
	if a.cfg.Backoff == nil {
		a.cfg.Backoff = backoff.Constant{Interval: 20 * time.Millisecond}
	}
	if a.client, err = llmcall.New([]llm.Model{model}, a.checks, a.cfg); err != nil {
		t.Fatal(err)
	}
}

// run makes calls until ctx ends. Calls that have begun go on to their end.
func (a *asks) run(ctx context.Context, t *testing.T) {
	var wg sync.WaitGroup
	for range max(a.many, 1) {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				req := llm.Prompt(fmt.Sprintf("Question %d: which city is the capital of Germany?", n))
				if a.stream {
					for _, err := range a.client.Stream(context.Background(), req) {
						_ = err // it is counted
					}
				} else {
					_, _ = a.client.Do(context.Background(), req) // likewise
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

// A real Prometheus scrapes a program whose providers fail in every way that the dashboard
// and the alerts are about: each query returns a series, and what was counted of tokens and
// requests is what the providers have sent.
// Prometheus scrapes a gateway, whose program makes calls of its own too.
func TestPrometheusScrapesAGatewayUnderChaos(t *testing.T) {
	program := needs(t, "prometheus")
	checked := []validate.Strategy{validate.JSON()}
	text := func(kind chaos.Kind, weight float64) chaos.Fault { return chaos.Fault{Kind: kind, Weight: weight} }
	day := account.New(endpoint.Amount{Nanos: 1000 * account.Dollar})
	day.Name = "day"
	day.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: 950 * account.Dollar}) // before the process was started again
	all := []*asks{
		{
			model: "openai/busy", checks: checked, many: 4,
			plan: chaos.Plan{AnswerTime: 60 * time.Millisecond, Weights: []chaos.Fault{
				{Kind: chaos.Right, Weight: 6, Answer: `{"city": "Berlin"}`, CachedTokens: 5, ReasoningTokens: 7}, text(chaos.Prose, 5), text(chaos.Length, 1), text(chaos.Empty, 1),
				{Kind: chaos.Status, Status: 503, Weight: 2}, {Kind: chaos.Status, Error: "overloaded", Weight: 1}, text(chaos.Reset, 1), text(chaos.Refuse, 1),
			}},
			cfg: llmcall.RetryConfig{Prices: price.Table{"openai/busy": {Rates: price.Rates{Input: 150_000_000, Output: 600_000_000}}}, Account: day},
		},
		{model: "anthropic/streamed", stream: true, plan: chaos.Plan{AnswerTime: 20 * time.Millisecond, Weights: []chaos.Fault{text(chaos.Right, 3), {Kind: chaos.StreamError, Error: "overloaded", Weight: 1, After: new(0)}}}},
		{model: "gemini/streamed", stream: true, plan: chaos.Plan{Weights: []chaos.Fault{{Kind: chaos.Right, Weight: 3, ReasoningTokens: 9}, {Kind: chaos.Status, Status: 500, Weight: 1}}}},
		{model: "anthropic/locked", plan: chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Status, Status: 401}}}},
		{
			model: "gemini/broken", plan: chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Status, Status: 500}}},
			cfg: llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{RecoveryTimeout: 2 * time.Second}}},
		},
		{
			model: "openai/limited", many: 60, plan: chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 300, Burst: 5, Hint: chaos.HintNone}},
			cfg: llmcall.RetryConfig{MaxRateLimitWait: 8 * time.Second},
		},
		{model: "openai/unlisted", plan: chaos.Plan{AnswerTime: 100 * time.Millisecond}, cfg: llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: 30 * time.Millisecond, Extra: 1}}},
	}
	shared := registry(t)
	var alone atomic.Bool // once it was seen that it is not
	options := metrics.Options{Registry: shared, Routes: []string{"support"}, Clients: []string{"web"}, Accounts: func() []account.Snapshot { return []account.Snapshot{day.Snapshot()} },
		Fleet: func() (bool, int) { return !alone.Load(), 3 }}
	for _, a := range all[:len(all)-1] {
		options.Models = append(options.Models, a.model)
	}
	m := made(t, options)
	for _, a := range all {
		a.open(t, m, shared)
	}
	served, key := startGateway(t, m, shared)
	prom := startPrometheus(t, program, served.Listener.Addr().String())

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() { a.run(ctx, t) })
	}
	wg.Go(func() { requests(ctx, t, m, served.URL, key) })
	missing := queries(t)
	missing = append(missing, query{"alerts that Prometheus itself finds, all but the one about slow calls", "count(count by (alertname) (ALERTS)) == 8"})
	for deadline := time.Now().Add(time.Minute); len(missing) > 0 && time.Now().Before(deadline); {
		var still []query
		for _, q := range missing {
			if !slices.ContainsFunc(prom.query(t, q.expr), func(v float64) bool { return v > 0 }) { // a counter begins at 0
				still = append(still, q)
			}
		}
		missing = still
		alone.Store(!slices.ContainsFunc(missing, func(q query) bool { return q.expr == "llmcall_fleet_connected" }))
		time.Sleep(time.Second)
	}
	for _, q := range missing {
		t.Errorf("%s returns no series above 0:\n%s", q.name, q.expr)
	}
	stop()
	wg.Wait()
	if page := page(m); strings.Contains(page, "unlisted") || strings.Contains(page, "of-the-test") || strings.Contains(page, "Berlin") {
		t.Errorf("a label has what it must not have:\n%s", page)
	}

	prom.settled(t, m)
	for _, a := range all[:len(all)-1] { // hedges are cancelled, so that what they used is not known
		for expr, want := range map[string]float64{
			fmt.Sprintf(`sum(llmcall_tokens_total{model=%q,type=~"input|cached_input|cache_write_input"})`, a.model): float64(a.provider.input),
			fmt.Sprintf(`sum(llmcall_tokens_total{model=%q,type=~"output|reasoning_output"})`, a.model):              float64(a.provider.output),
			fmt.Sprintf(`sum(llmcall_attempts_total{model=%q})`, a.model):                                            float64(a.provider.requests),
		} {
			if got := prom.query(t, expr); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %v, want %v", expr, got, want)
			}
		}
		t.Logf("%s: %d requests, %d + %d tokens", a.model, a.provider.requests, a.provider.input, a.provider.output)
	}
}

// startGateway starts a gateway with a route and a client, and returns the client's key.
func startGateway(t *testing.T, m *metrics.Metrics, shared *endpoint.Registry) (served *httptest.Server, key string) {
	t.Helper()
	_, base := serve(t, chaos.Plan{AnswerTime: 20 * time.Millisecond})
	key, hash := gateway.NewKey()
	cfg, err := gateway.Parse("gateway.yaml", []byte(fmt.Sprintf(`
providers: {up: {protocol: openai, base_url: "%s/v1", keys: [none]}}
clients: [{name: web, sha256: %s}]
routes: {support: {models: [up/m]}}
`, base, hash)), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, gateway.Options{Endpoints: shared, Observer: m.Observer(), Metrics: m.Handler(), OnRequest: func(r gateway.Served) {
		m.Request(metrics.Request{Route: r.Route, Client: r.Client, Protocol: r.Protocol, Status: r.Status, Failed: r.Code != "", Limit: r.Limit, Duration: r.Duration, FirstByte: r.FirstByte})
	}})
	if err != nil {
		t.Fatal(err)
	}
	served = httptest.NewServer(g.Handler())
	t.Cleanup(func() {
		served.Close()
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return served, key
}

// requests asks a gateway, for its route and for another. That its journal can't be written
// is only told.
func requests(ctx context.Context, t *testing.T, m *metrics.Metrics, address, key string) {
	for n := 0; ctx.Err() == nil; n++ {
		name := map[bool]string{true: "support", false: "unlisted"}[n%2 == 0]
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/v1/chat/completions", strings.NewReader(`{"model": "`+name+`", "messages": [{"role": "user", "content": "?"}]}`))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		m.Request(metrics.Request{Route: "support", Client: "web", Protocol: "openai", Status: 503, Limit: "state_dir", Duration: time.Millisecond})
		time.Sleep(50 * time.Millisecond)
	}
}

// server is a Prometheus.
type server struct{ base string }

func startPrometheus(t *testing.T, program, target string) server {
	t.Helper()
	dir := t.TempDir()
	alerts, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- {job_name: llmcall, static_configs: [{targets: [%q]}]}\n", alerts, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			t.Logf("prometheus: %s", log.String())
		}
	})
	p := server{"http://" + address}
	for range 300 {
		if resp, err := http.Get(p.base + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("prometheus does not become ready")
	return p
}

// query returns the values of the series that an expression returns, without those that
// are not numbers.
func (p server) query(t *testing.T, expr string) (values []float64) {
	t.Helper()
	resp, err := http.Get(p.base + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Status string
		Data   struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v %s", expr, err, body)
	}
	for _, series := range answer.Data.Result {
		v, err := strconv.ParseFloat(series.Value[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		if v == v {
			values = append(values, v)
		}
	}
	return values
}

// settled waits until Prometheus has seen all calls.
func (p server) settled(t *testing.T, m *metrics.Metrics) {
	t.Helper()
	want := 0.0
	for series, v := range samples(t, m) {
		if strings.HasPrefix(series, "calls_total{") {
			want += v
		}
	}
	for range 100 {
		if got := p.query(t, "sum(llmcall_calls_total)"); len(got) == 1 && got[0] == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("prometheus does not see %v calls", want)
}

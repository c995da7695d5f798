package metrics_test

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/metrics"
	"llmcall/retry"
	"llmcall/validate"

	"github.com/prometheus/client_golang/prometheus"
)

const s = time.Second

// What is counted of a call, by its events.
func TestCalls(t *testing.T) {
	good := llmcall.Attempt{Model: "acme/small", Outcome: llmcall.OutcomeValid, Duration: 2 * s, Usage: llm.Usage{InputTokens: 100, OutputTokens: 10}}
	for _, c := range []struct {
		name     string
		end      llmcall.Event
		attempts []llmcall.Attempt
		want     map[string]float64
	}{
		{
			name: "one attempt", end: llmcall.Event{Model: "acme/small", Duration: 3 * s}, attempts: []llmcall.Attempt{good},
			want: map[string]float64{
				`calls_total{model="acme/small",outcome="valid"}`:                    1,
				`call_duration_seconds_sum{answered="true",model="acme/small"}`:      3,
				`call_duration_seconds_count{answered="true",model="acme/small"}`:    1,
				`attempts_total{model="acme/small",outcome="valid"}`:                 1,
				`attempt_duration_seconds_sum{answered="true",model="acme/small"}`:   2,
				`attempt_duration_seconds_count{answered="true",model="acme/small"}`: 1,
				`tokens_total{model="acme/small",type="input",use="answer"}`:         100,
				`tokens_total{model="acme/small",type="output",use="answer"}`:        10,
			},
		},
		{
			name: "a wrong answer, then a limit of the rate, then a reason", end: llmcall.Event{Model: "acme/big", Duration: 9 * s, Err: &llmcall.Error{Reason: llmcall.ReasonRateLimited}},
			attempts: []llmcall.Attempt{
				{
					Model: "acme/small", Outcome: llmcall.OutcomeInvalid, Kind: failure.InvalidAnswer, Duration: s,
					Complaints: []validate.Complaint{{Check: "json"}, {Check: "json"}, {Check: "length"}},
					Usage:      llm.Usage{InputTokens: 100, CachedTokens: 60, CacheWriteTokens: 30, OutputTokens: 50, ReasoningTokens: 20},
					CheckUsage: llm.Usage{InputTokens: 7, OutputTokens: 1},
					Cost:       llmcall.Cost{Nanos: 2_500_000, Partial: true},
				},
				{Model: "acme/big", Outcome: llmcall.OutcomeFailed, Kind: failure.RateLimited, Duration: s, Delay: 4 * s, DelayReason: retry.PaceWait},
			},
			want: map[string]float64{
				`calls_total{model="acme/big",outcome="rate_limited"}`:                   1,
				`call_duration_seconds_sum{answered="false",model="acme/big"}`:           9,
				`call_duration_seconds_count{answered="false",model="acme/big"}`:         1,
				`attempts_total{model="acme/small",outcome="invalid_answer"}`:            1,
				`attempts_total{model="acme/big",outcome="rate_limited"}`:                1,
				`attempt_duration_seconds_sum{answered="true",model="acme/small"}`:       1,
				`attempt_duration_seconds_count{answered="true",model="acme/small"}`:     1,
				`attempt_duration_seconds_sum{answered="false",model="acme/big"}`:        1,
				`attempt_duration_seconds_count{answered="false",model="acme/big"}`:      1,
				`complaints_total{check="json",model="acme/small"}`:                      2,
				`complaints_total{check="length",model="acme/small"}`:                    1,
				`tokens_total{model="acme/small",type="input",use="answer"}`:             10,
				`tokens_total{model="acme/small",type="cached_input",use="answer"}`:      60,
				`tokens_total{model="acme/small",type="cache_write_input",use="answer"}`: 30,
				`tokens_total{model="acme/small",type="output",use="answer"}`:            30,
				`tokens_total{model="acme/small",type="reasoning_output",use="answer"}`:  20,
				`tokens_total{model="acme/small",type="input",use="check"}`:              7,
				`tokens_total{model="acme/small",type="output",use="check"}`:             1,
				`cost_dollars_total{model="acme/small"}`:                                 0.0025,
				`unpriced_attempts_total{model="acme/small"}`:                            1,
				`wait_seconds_total{reason="pace"}`:                                      4,
			},
		},
		{
			name: "a hedge that was sooner", end: llmcall.Event{Model: "acme/big", Duration: s},
			attempts: []llmcall.Attempt{{
				Model: "acme/small", Outcome: llmcall.OutcomeLost, Kind: failure.Cancelled, Duration: s, Cost: llmcall.Cost{Partial: true},
				Hedge: &llmcall.Attempt{Model: "acme/big", Outcome: llmcall.OutcomeValid, Duration: s / 2, Usage: llm.Usage{OutputTokens: 5}},
			}},
			want: map[string]float64{
				`calls_total{model="acme/big",outcome="valid"}`:                       1,
				`call_duration_seconds_sum{answered="true",model="acme/big"}`:         1,
				`call_duration_seconds_count{answered="true",model="acme/big"}`:       1,
				`attempts_total{model="acme/small",outcome="lost"}`:                   1,
				`attempts_total{model="acme/big",outcome="valid"}`:                    1,
				`attempt_duration_seconds_sum{answered="false",model="acme/small"}`:   1,
				`attempt_duration_seconds_count{answered="false",model="acme/small"}`: 1,
				`attempt_duration_seconds_sum{answered="true",model="acme/big"}`:      0.5,
				`attempt_duration_seconds_count{answered="true",model="acme/big"}`:    1,
				`hedges_total{model="acme/big"}`:                                      1,
				`tokens_total{model="acme/big",type="output",use="answer"}`:           5,
				`unpriced_attempts_total{model="acme/small"}`:                         1,
			},
		},
		{
			name: "a person must look", end: llmcall.Event{Model: "acme/small", Err: &llmcall.HumanReviewError{}},
			want: map[string]float64{
				`calls_total{model="acme/small",outcome="human_review"}`:           1,
				`call_duration_seconds_count{answered="false",model="acme/small"}`: 1,
			},
		},
		{
			name: "a panic", end: llmcall.Event{Model: "acme/small", Err: &llmcall.PanicError{}},
			want: map[string]float64{
				`calls_total{model="acme/small",outcome="panic"}`:                  1,
				`call_duration_seconds_count{answered="false",model="acme/small"}`: 1,
			},
		},
		{
			name: "names that are not of the configuration", end: llmcall.Event{Model: "user/made-up", Err: errors.New("something else")},
			attempts: []llmcall.Attempt{{Model: "user/made-up", Outcome: llmcall.OutcomeFailed, Kind: 250, Usage: llm.Usage{InputTokens: -5, CachedTokens: 7, OutputTokens: 3, ReasoningTokens: 9}}},
			want: map[string]float64{
				`calls_total{model="other",outcome="other"}`:                       1,
				`call_duration_seconds_count{answered="false",model="other"}`:      1,
				`attempts_total{model="other",outcome="unknown"}`:                  1,
				`attempt_duration_seconds_count{answered="false",model="other"}`:   1,
				`tokens_total{model="other",type="reasoning_output",use="answer"}`: 3,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := made(t, metrics.Options{Models: []string{"acme/small", "acme/big"}})
			call(m.Observer(), c.end, c.attempts...)
			if got := samples(t, m); !maps.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

// Each reason that a call can end for is an outcome of its own.
func TestEachReasonHasItsSeries(t *testing.T) {
	m := made(t, metrics.Options{Models: []string{"acme/small"}})
	// The reasons, as trace.go declares them.
	found := regexp.MustCompile(`(?m)^\tReason\w+ +Reason = "(\w+)"`).FindAllStringSubmatch(source(t, "../trace.go"), -1)
	if len(found) < 12 {
		t.Fatalf("%d reasons", len(found))
	}
	for _, r := range found {
		call(m.Observer(), llmcall.Event{Model: "acme/small", Err: &llmcall.Error{Reason: llmcall.Reason(r[1])}})
		if samples(t, m)[fmt.Sprintf(`calls_total{model="acme/small",outcome="%s"}`, r[1])] != 1 {
			t.Errorf("%s is not counted", r[1])
		}
	}
}

func TestCallsInFlight(t *testing.T) {
	m := made(t, metrics.Options{})
	observe := m.Observer()
	for range 3 {
		observe(t.Context(), llmcall.Event{Type: llmcall.EventCallStarted})
	}
	observe(t.Context(), llmcall.Event{Type: llmcall.EventCallEnded})
	if got := samples(t, m)["calls_in_flight"]; got != 2 {
		t.Errorf("%v", got)
	}
}

// Whoever sends requests can't make series.
func TestSeriesAreBounded(t *testing.T) {
	m := made(t, metrics.Options{Models: []string{"acme/small"}, Routes: []string{"support"}, Clients: []string{"web"}})
	observe := m.Observer()
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			name := fmt.Sprintf("made-up-%d", i)
			call(observe, llmcall.Event{Model: name}, llmcall.Attempt{
				Model: name, Outcome: llmcall.OutcomeInvalid, Kind: failure.InvalidAnswer, Complaints: []validate.Complaint{{Check: name}},
			})
			m.Request(metrics.Request{Route: name, Client: name, Protocol: name, Status: 200 + i%400, Limit: name, FirstByte: s})
		}
	}
	fill(0, 1000)
	before := strings.Count(page(m), "\n")
	fill(1000, 3000)
	if after := strings.Count(page(m), "\n"); after != before {
		t.Errorf("%d lines, and %d after more requests", before, after)
	}
	seen := map[string]bool{}
	for _, name := range regexp.MustCompile(`"made-up-[0-9]+"`).FindAllString(page(m), -1) {
		seen[name] = true
	}
	if len(seen) != 100 { // of checks, which are the program's own
		t.Errorf("%d names of checks, want 100", len(seen))
	}
	if regexp.MustCompile(`(model|route|client|protocol|limit)="made-up`).MatchString(page(m)) {
		t.Errorf("a made-up name is a label:\n%s", page(m))
	}
}

// A configuration that is read again adds names, and nothing that was counted is lost.
func TestKnow(t *testing.T) {
	m := made(t, metrics.Options{Models: []string{"acme/small"}})
	for range 2 {
		call(m.Observer(), llmcall.Event{Model: "acme/small"})
		call(m.Observer(), llmcall.Event{Model: "acme/new"})
		m.Request(metrics.Request{Route: "new", Client: "web", Protocol: "gemini", Status: 200})
		m.Know([]string{"acme/new", "acme/small"}, []string{"new"}, []string{"web"})
	}
	got := samples(t, m)
	for series, want := range map[string]float64{
		`calls_total{model="acme/small",outcome="valid"}`:                                        2,
		`calls_total{model="acme/new",outcome="valid"}`:                                          1,
		`calls_total{model="other",outcome="valid"}`:                                             1,
		`http_requests_total{client="other",outcome="answered",protocol="gemini",route="other"}`: 1,
		`http_requests_total{client="web",outcome="answered",protocol="gemini",route="new"}`:     1,
	} {
		if got[series] != want {
			t.Errorf("%s: %v, want %v", series, got[series], want)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		request metrics.Request
		outcome string
	}{
		{metrics.Request{Status: 200}, "answered"},
		{metrics.Request{Status: 200, Failed: true}, "broken"},
		{metrics.Request{Status: 400, Failed: true}, "refused"},
		{metrics.Request{Status: 401}, "refused"},
		{metrics.Request{Status: 422, Failed: true}, "invalid"},
		{metrics.Request{Status: 429, Failed: true}, "unavailable"},
		{metrics.Request{Status: 429, Failed: true, Limit: "max_concurrent"}, "limited"},
		{metrics.Request{Status: 503, Limit: "state_dir"}, "limited"},
		{metrics.Request{Status: 499}, "left"},
		{metrics.Request{Status: 500}, "failed"},
		{metrics.Request{Status: 503}, "unavailable"},
		{metrics.Request{Status: 504}, "unavailable"},
	} {
		m := made(t, metrics.Options{Routes: []string{"support"}, Clients: []string{"web"}})
		c.request.Route, c.request.Client, c.request.Protocol, c.request.Duration = "support", "web", "anthropic", 2*s
		m.Request(c.request)
		want := map[string]float64{`http_requests_total{client="web",outcome="` + c.outcome + `",protocol="anthropic",route="support"}`: 1}
		if c.outcome == "answered" {
			want[`http_request_duration_seconds_count{protocol="anthropic",route="support"}`] = 1
			want[`http_request_duration_seconds_sum{protocol="anthropic",route="support"}`] = 2
		}
		if c.request.Limit != "" {
			want[`http_limited_total{client="web",limit="`+c.request.Limit+`"}`] = 1
		}
		if got := samples(t, m); !maps.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c.request, got, want)
		}
	}
	m := made(t, metrics.Options{})
	m.Request(metrics.Request{Protocol: "smtp", Status: 200, FirstByte: 3 * s})
	got := samples(t, m)
	if got[`http_requests_total{client="none",outcome="answered",protocol="other",route="none"}`] != 1 || got[`http_first_byte_seconds_sum{protocol="other",route="none"}`] != 3 {
		t.Errorf("%v", got)
	}
}

// What endpoints and accounts are, when somebody looks.
func TestEndpoints(t *testing.T) {
	r := registry(t)
	daily := account.New(endpoint.Amount{Nanos: 10 * account.Dollar, Tokens: 1000})
	daily.Name = "process"
	daily.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: 4 * account.Dollar, Tokens: 100})
	if _, err := daily.Reserve(endpoint.Amount{Nanos: account.Dollar}, endpoint.Amount{}); err != nil {
		t.Fatal(err)
	}
	free := account.New(endpoint.Amount{})
	free.Settle(endpoint.Amount{}, endpoint.Amount{Nanos: account.Dollar})
	m := made(t, metrics.Options{
		Models: []string{"acme/small", "acme/big"}, Registry: r,
		Accounts: func() []account.Snapshot { return []account.Snapshot{daily.Snapshot(), free.Snapshot()} },
	})
	one := r.Get(endpoint.Key{Model: "acme/small", Credential: 1})
	two := r.Get(endpoint.Key{Model: "acme/small", Credential: 2})
	stranger := r.Get(endpoint.Key{Model: "user/made-up"})
	named := r.Get(endpoint.Key{Name: "acme/big"})
	for _, e := range []*endpoint.Endpoint{one, two, stranger, named} {
		e.Circuit(endpoint.Options{})
	}
	one.Circuit(endpoint.Options{}).Trip(breaker.Failure{})
	stranger.ForceOpen("maintenance")
	want := map[string]float64{
		`circuits{model="acme/small",state="open"}`:            1,
		`circuits{model="acme/small",state="closed"}`:          1,
		`circuits{model="other",state="open"}`:                 1,
		`circuits{model="acme/big",state="closed"}`:            1,
		`circuit_openings_total{model="acme/small"}`:           1,
		`circuit_openings_total{model="other"}`:                1,
		`retries_left{model="acme/small"}`:                     100,
		`retries_left{model="acme/big"}`:                       100,
		`retries_left{model="other"}`:                          100,
		`account_spent_dollars{account="process"}`:             4,
		`account_used_ratio{account="process",unit="dollars"}`: 0.5,
		`account_used_ratio{account="process",unit="tokens"}`:  0.1,
		`account_spent_dollars{account="none"}`:                1,
	}
	for range 2 { // a second look counts nothing twice
		if got := samples(t, m); !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	one.Reset()
	two.Circuit(endpoint.Options{}).Trip(breaker.Failure{})
	got := samples(t, m)
	if got[`circuit_openings_total{model="acme/small"}`] != 2 || got[`circuits{model="acme/small",state="open"}`] != 1 {
		t.Errorf("after a reset and another opening: %v", got)
	}
	for _, e := range []*endpoint.Endpoint{one, two, stranger, named} {
		if e.Snapshot().Made.IsZero() { // and holds it until here
			t.Error("an endpoint without a time")
		}
	}
}

// The counts of an endpoint that was evicted stay, and those of its successor come on top.
func TestAnEvictedEndpointStaysCounted(t *testing.T) {
	r, err := endpoint.NewRegistry(endpoint.Config{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := made(t, metrics.Options{Models: []string{"acme/small"}, Registry: r})
	for n := 1; n <= 5; n++ {
		circuit := r.Get(endpoint.Key{Model: "acme/small", Credential: uint64(n)}).Circuit(endpoint.Options{})
		circuit.Trip(breaker.Failure{})
		if got := samples(t, m)[`circuit_openings_total{model="acme/small"}`]; got != float64(n) {
			t.Errorf("%v openings, want %d", got, n)
		}
		circuit.Reset()
	}
}

// A program's own registry has the metrics beside its own, and refuses them twice.
func TestRegisterer(t *testing.T) {
	own := prometheus.NewRegistry()
	m := made(t, metrics.Options{Registerer: own})
	call(m.Observer(), llmcall.Event{})
	families, err := own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, f := range families {
		names += " " + f.GetName()
	}
	if !strings.Contains(names, " llmcall_calls_total ") || strings.Contains(names, " go_") {
		t.Errorf("%s", names)
	}
	if _, err := metrics.New(metrics.Options{Registerer: own}); err == nil {
		t.Error("registered twice")
	}
}

// A process that goes on without its store says so; one without a fleet has no series, so
// that no alert fires for it.
func TestTheFleet(t *testing.T) {
	connected, processes := true, 3
	m := made(t, metrics.Options{Fleet: func() (bool, int) { return connected, processes }})
	for _, c := range []struct {
		connected bool
		processes int
		want      map[string]float64
	}{
		{true, 3, map[string]float64{"fleet_connected": 1, "fleet_processes": 3}},
		{false, 1, map[string]float64{"fleet_processes": 1}}, // 0 is not among the samples
	} {
		connected, processes = c.connected, c.processes
		if got := samples(t, m); !maps.Equal(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
		if text := page(m); strings.Contains(text, "llmcall_fleet_connected 0") == c.connected {
			t.Errorf("connected %v: %s", c.connected, text)
		}
	}
	if text := page(made(t, metrics.Options{})); strings.Contains(text, "llmcall_fleet_") {
		t.Error("there are series without a fleet")
	}
}

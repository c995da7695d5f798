package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

const everyField = `# every field there is
models: [openai/one, anthropic/two]
system: Be brief.
max_tokens: 500
temperature: 0
seed: -7
stop: [END, "\n\n"]
extra: {reasoning_effort: low, top_k: 5, nested: {list: [1.5, true]}}
max_attempts: 5
initial_delay: 0.25
backoff_factor: 1.5
max_delay: "1m30s"
use_jitter: true
jitter_range: 0.3
backoff_on_invalid_answer: true
max_time: 300
attempt_timeout: 30s
first_piece_timeout: 1m
idle_timeout: 20
restart_streams: true
check_timeout: 2.5
max_retry_after: 3m
max_rate_limit_wait: 1h
enable_circuit_breaker: true
circuit_breaker_config:
  failure_threshold: 3
  recovery_timeout: 30
  failure_window: 120.5
  failure_rate: 0
  half_open_probes: 2
  success_threshold: 4
  probe_lease: 15s
  slow_call: 20
  recovery_factor: 1.5
  trip_timeout: 5m
  max_open: 2h
  excluded_exceptions: [rate_limited, overloaded]
count_invalid_answers: true
wait_for_circuit: true
retry_budget: {saved: 50, per_success: 0, per_second: 2}
requests_per_minute: 600
tokens_per_minute: 1e6
max_concurrent: 7
hang: 1m
fallback_after: 3
fleet: rediss://app:sesame@store.example:6380/1
fleet_only: [openai/*, anthropic/two]
fleet_secret: env:FLEET_SECRET
fleet_min_reporters: 3
max_attempts_before_tool_use: 2
tool:
  name: search
  description: finds pages
  instruction: Look it up.
  parameters: {type: object, properties: {q: {type: string, minLength: 1}}}
max_attempts_before_human: 4
max_tool_rounds: 3
max_tool_calls: 5
tool_timeout: 12
max_tool_result: 1000
hedge: {after: p95, extra: 0.1, same_model: true}
max_cost: 0.05
max_tokens_total: 20000
min_output_tokens: 99
reserve: expected
prices: {openai/one: {input: 0.15, output: 0.60}}
quality_memory: {answers: 10, share: 0.5, for: 10m}
stop_on_no_progress: false
decisions:
  content_filtered: {again: backoff, breaker: ignore}
  transient: {again: at_once}
checks:
  - length:3..200
  - type: regex
    params: {pattern: "^A"}
`

// everyFieldJSON says the same.
const everyFieldJSON = `{
  "models": ["openai/one", "anthropic/two"], "system": "Be brief.", "max_tokens": 500, "temperature": 0.0, "seed": -7, "stop": ["END", "\n\n"],
  "extra": {"reasoning_effort": "low", "top_k": 5, "nested": {"list": [1.5, true]}},
  "max_attempts": 5, "initial_delay": "250ms", "backoff_factor": 1.5, "max_delay": 90, "use_jitter": true, "jitter_range": 0.3,
  "backoff_on_invalid_answer": true, "max_time": "5m", "attempt_timeout": 3e1, "first_piece_timeout": 60, "idle_timeout": "20s", "restart_streams": true, "check_timeout": "2.5s", "max_retry_after": 180,
  "max_rate_limit_wait": 3600, "enable_circuit_breaker": true,
  "circuit_breaker_config": {
    "failure_threshold": 3, "recovery_timeout": "30s", "failure_window": "2m0.5s", "failure_rate": 0.0, "half_open_probes": 2,
    "success_threshold": 4, "probe_lease": 15, "slow_call": "20s", "recovery_factor": 1.5, "trip_timeout": 300, "max_open": "2h", "excluded_exceptions": ["rate_limited", "overloaded"]
  },
  "count_invalid_answers": true, "wait_for_circuit": true, "hang": 60, "fallback_after": "3s",
  "fleet": "rediss://app:sesame@store.example:6380/1", "fleet_only": ["openai/*", "anthropic/two"], "fleet_secret": "env:FLEET_SECRET", "fleet_min_reporters": 3,
  "retry_budget": {"saved": 50, "per_success": 0, "per_second": 2}, "requests_per_minute": 600, "tokens_per_minute": 1000000, "max_concurrent": 7, "max_attempts_before_tool_use": 2,
  "tool": {
    "name": "search", "description": "finds pages", "instruction": "Look it up.",
    "parameters": {"type": "object", "properties": {"q": {"type": "string", "minLength": 1}}}
  },
  "max_attempts_before_human": 4, "max_tool_rounds": 3, "max_tool_calls": 5, "tool_timeout": 12, "max_tool_result": 1000, "hedge": {"after": "p95", "extra": 0.1, "same_model": true}, "quality_memory": {"answers": 10, "share": 0.5, "for": "10m"}, "max_cost": 0.05, "max_tokens_total": 20000, "min_output_tokens": 99, "reserve": "expected", "prices": {"openai/one": {"input": 0.15, "output": 0.60}}, "stop_on_no_progress": false,
  "decisions": {"content_filtered": {"breaker": "ignore", "again": "backoff"}, "transient": {"again": "at_once"}},
  "checks": ["length:3..200", {"type": "regex", "params": {"pattern": "^A"}}]
}`

func everyFieldStruct() llmcall.RetryConfig {
	decisions := failure.Decisions()
	decisions.Set(failure.ContentFiltered, failure.Decision{Again: failure.Backoff, Elsewhere: failure.ElsewhereNever, Breaker: failure.Ignore})
	decisions.Set(failure.Transient, failure.Decision{Again: failure.AtOnce, Elsewhere: failure.ElsewhereAfterRetries, Breaker: failure.Count})
	return llmcall.RetryConfig{
		Models: []string{"openai/one", "anthropic/two"}, System: "Be brief.", MaxTokens: 500, Temperature: new(0.0), Seed: new(int64(-7)), Stop: []string{"END", "\n\n"},
		Extra:       map[string]any{"reasoning_effort": "low", "top_k": json.Number("5"), "nested": map[string]any{"list": []any{json.Number("1.5"), true}}},
		MaxAttempts: 5, InitialDelay: 250 * time.Millisecond, BackoffFactor: 1.5, MaxDelay: 90 * s, UseJitter: new(true),
		JitterRange: new(0.3), BackoffOnInvalidAnswer: true, MaxTime: 300 * s, AttemptTimeout: 30 * s, FirstPieceTimeout: 60 * s, IdleTimeout: 20 * s, RestartStreams: true, CheckTimeout: 2500 * time.Millisecond,
		MaxRetryAfter: 180 * s, MaxRateLimitWait: time.Hour, EnableCircuitBreaker: true,
		CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{
			FailureThreshold: 3, RecoveryTimeout: 30 * s, FailureWindow: 120500 * time.Millisecond, FailureRate: -1,
			HalfOpenProbes: 2, SuccessThreshold: 4, ProbeLease: 15 * s, SlowCall: 20 * s, RecoveryFactor: 1.5, TripTimeout: 5 * time.Minute, MaxOpen: 2 * time.Hour,
		}, ExcludedExceptions: []failure.Kind{failure.RateLimited, failure.Overloaded}},
		CountInvalidAnswers: true, WaitForCircuit: true, Hang: time.Minute, FallbackAfter: 3 * s, Fleet: llmcall.Fleet{Address: "rediss://app:sesame@store.example:6380/1", Only: []string{"openai/*", "anthropic/two"}, Secret: "env:FLEET_SECRET", MinReporters: 3},
		RetryBudget: endpoint.Budget{Saved: 50, PerSuccess: -1, PerSecond: 2}, RequestsPerMinute: 600, TokensPerMinute: 1e6, MaxConcurrent: 7,
		MaxAttemptsBeforeToolUse: 2,
		Tool: &llmcall.Tool{Tool: llm.Tool{
			Name: "search", Description: "finds pages",
			Parameters: []byte(`{"type":"object","properties":{"q":{"type":"string","minLength":1}}}`),
		}, Instruction: "Look it up."},
		MaxAttemptsBeforeHuman: 4, MaxToolRounds: 3, MaxToolCalls: 5, ToolTimeout: 12 * s, MaxToolResult: 1000, Hedge: &llmcall.Hedge{Quantile: 0.95, Extra: 0.1, SameModel: true}, QualityMemory: &llmcall.QualityMemory{Answers: 10, Share: 0.5, For: 10 * time.Minute}, MaxCost: 0.05, MaxTokensTotal: 20000, MinOutputTokens: 99, Reserve: llmcall.ReserveExpected,
		Prices: price.Table{"openai/one": {Rates: price.Rates{Input: 150_000_000, Output: 600_000_000}}}, Decisions: &decisions,
	}
}

func TestEveryFieldOfAConfiguration(t *testing.T) {
	want := everyFieldStruct()
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	// A field that a file can't name is one that holds code, and a field that
	// this test leaves out is not tested.
	code := map[string]bool{"Backoff": true, "Rand": true, "Endpoints": true, "Observer": true, "Client": true,
		"Tools": true, "Providers": true, "MCPServers": true, "DebugToolName": true, "Account": true, "Stages": true, "AttemptsPerModel": true, // TestStagesInAFile and TestProvidersInAFile have these
		"DisablePacing": true, "DisableRetryBudget": true, // with limits and a budget they are an error
		"StopOnNoProgress": true, // and so it is with a person
		"Feedback":         true} // a file has its text: package feedbacktemplate
	for i, v := 0, reflect.ValueOf(want); i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != code[name] {
			t.Errorf("%s is not in this test", name)
		}
	}
	for i, v := 0, reflect.ValueOf(want.CircuitBreakerConfig.Config); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("CircuitBreakerConfig.%s is not in this test", v.Type().Field(i).Name)
		}
	}
	for name, text := range map[string]string{
		"c.yaml": everyField, "c.json": everyFieldJSON, "with a byte order mark": "\ufeff" + everyField, "with CRLF": strings.ReplaceAll(everyField, "\n", "\r\n"),
	} {
		got, checks, err := llmcall.ParseConfig(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, want)
		}
		if len(checks) != 2 || checks[0].Name() != "length" || checks[1].Name() != "regex" {
			t.Errorf("%s: checks %v", name, checks)
		}
	}
}

func TestEmptyConfigurationsAreTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# nothing\n# but comments\n", "---\n", "{}", "--- {}\n...\n", "circuit_breaker_config:\n", "\ufeff"} {
		got, checks, err := llmcall.ParseConfig("c", []byte(text))
		if err != nil || checks != nil || !reflect.DeepEqual(got, llmcall.RetryConfig{}) {
			t.Errorf("%q: %+v %v %v", text, got, checks, err)
		}
	}
}

func TestTimesAreSecondsOrDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1": s, "1.5": 1500 * time.Millisecond, "0.29": 290 * time.Millisecond, "1e-3": time.Millisecond, "2m": 2 * time.Minute,
		`"90"`: 90 * s, `"1h1m1.001s"`: time.Hour + time.Minute + s + time.Millisecond, "1.1": 1100 * time.Millisecond, "1µs": time.Microsecond,
		"9223372036": 9223372036 * s,
	} {
		got, _, err := llmcall.ParseConfig("c", []byte("max_time: "+text))
		if err != nil || got.MaxTime != want {
			t.Errorf("%s: %v, want %v: %v", text, got.MaxTime, want, err)
		}
	}
	got, _, err := llmcall.ParseConfig("c", []byte("initial_delay: 0"))
	if err != nil || got.Backoff != (backoff.Constant{}) {
		t.Errorf("no delay at all: %+v %v", got, err)
	}
}

// Each is a *ConfigError that tells the place, the field, what it got, and what
// it takes.
func TestBadValuesOfAConfiguration(t *testing.T) {
	const (
		count    = "a whole number of at least 1"
		positive = "a time above 0"
		truth    = "true or false"
		mapping  = "a mapping of settings"
	)
	type row struct{ field, value, takes string }
	var rows []row
	add := func(field, takes string, values ...string) {
		for _, v := range values {
			rows = append(rows, row{field, v, takes})
		}
	}
	noCount := []string{"0", "-1", "1.5", "2.0", "1e1", "many", ".nan", ".inf", "99999999999999999999", "null", "", "[1]", "{a: 1}", "true", `""`}
	for _, f := range []string{"max_attempts", "max_attempts_before_human", "max_attempts_before_tool_use", "max_concurrent"} {
		add(f, count, noCount...)
	}
	for _, f := range []string{"failure_threshold", "half_open_probes", "success_threshold"} {
		add("circuit_breaker_config."+f, "a whole number from 1 to 10,000", append(noCount, "10001")...)
	}
	for _, f := range []string{"requests_per_minute", "tokens_per_minute"} {
		add(f, "a number above 0", "0", "-1", "NaN", "Inf", ".inf", "1e400", "many", "null", "[1]")
	}
	add("circuit_breaker_config.recovery_factor", "from 1 to 1000", "0", "0.5", "-1", "1001", "NaN", "Inf", "many", "null")
	add("retry_budget.saved", "from 1 to 1,000,000", "0", "0.5", "-1", "1e7", "NaN", "Inf", "many", "null")
	add("retry_budget.per_success", "from 0 to 1", "-0.1", "1.1", "NaN", "Inf", "many", "null")
	add("retry_budget.per_second", "from 0 to 1,000", "-1", "1001", "NaN", "Inf", "many", "null")
	for _, f := range []string{"max_delay", "max_time", "attempt_timeout", "check_timeout", "max_retry_after", "max_rate_limit_wait",
		"circuit_breaker_config.recovery_timeout", "circuit_breaker_config.failure_window", "circuit_breaker_config.probe_lease", "circuit_breaker_config.slow_call",
		"circuit_breaker_config.trip_timeout", "circuit_breaker_config.max_open", "fallback_after"} {
		add(f, positive, "0", "0s", "-1", "-1s", "soon", "1 s", "10 minutes", "NaN", ".nan", "Inf", "-.inf", "1e400", "1e10", "9223372037", "null", "", "[1]", "{a: 1}", "true")
	}
	add("initial_delay", "a time of at least 0", "-1", "-1ms", "soon", "NaN", "Inf", "1e10", "null", "[1]")
	add("hang", "a time of at least 0", "-1", "-1ms", "soon", "NaN", "Inf", "1e10", "null", "[1]")
	add("backoff_factor", "a finite number of at least 1", "0.99", "0", "-2", "NaN", ".nan", "Inf", ".inf", "+Inf", "1e400", "two", "null", "[2]", "{}")
	add("jitter_range", "a number from 0 to 1", "-0.1", "1.1", "2", "NaN", "Inf", "ten", "null", "[0.1]")
	for _, f := range []string{"use_jitter", "backoff_on_invalid_answer", "enable_circuit_breaker", "count_invalid_answers", "wait_for_circuit", "disable_retry_budget", "stop_on_no_progress"} {
		add(f, truth, "1", "0", "yes", "on", "True", "null", "", "[true]", "{}")
	}
	add("circuit_breaker_config", mapping, "3", "[1]", "null", "on", `""`, "!x")
	add("circuit_breaker_config.failure_rate", "from 0.001 to 1", "0.0005")
	add("circuit_breaker_config.failure_rate", "0 (the count alone), or a number", "-1", "1.5", "NaN", "all", "null")
	add("circuit_breaker_config.excluded_exceptions", "a list of kinds", "rate_limited", "{a: 1}", "null")
	add("circuit_breaker_config.excluded_exceptions", "must be one of unknown, transient, overloaded, rate_limited, quota_exhausted, attempt_timeout, unauthorized, model_not_found, invalid_request, context_too_long, content_filtered, cut_off, invalid_answer, check_unavailable, circuit_open, retry_budget_spent, account_spent, cancelled, deadline_exceeded", "[timeout]", "[1]", "[null]", "[[a]]", "[transient, ValueError]")
	add("tool", mapping, "search", "[a]", "null", `""`)
	add("tool.name", "a non-empty string", `""`)
	add("tool.name", "a string", "null", "[a]", "{a: 1}")
	for _, f := range []string{"tool.description", "tool.instruction"} {
		add(f, "a string", "null", "[a]", "{a: 1}")
	}
	add("tool.parameters", "a JSON Schema", "null", "3", `"{}"`, "[a]", "{a: .nan}", "{a: 1, a: 2}", "{[1]: 2}")
	add("checks", "a list of checks", "json", "{type: json}", "null")
	for _, r := range rows {
		text := "use_jitter: true\n"
		if outer, inner, nested := strings.Cut(r.field, "."); nested {
			text += fmt.Sprintf("%s:\n  %s: %s\n", outer, inner, r.value)
		} else {
			text += fmt.Sprintf("%s: %s\n", r.field, r.value)
		}
		line := 2 + strings.Count(r.field, ".")
		if r.field == "use_jitter" {
			text, line = "# alone\n"+"use_jitter: "+r.value, 2
		}
		cfg, checks, err := llmcall.ParseConfig("c.yaml", []byte(text))
		if !reflect.DeepEqual(cfg, llmcall.RetryConfig{}) || checks != nil {
			t.Errorf("%s: %s: half of a configuration came back", r.field, r.value)
		}
		e, ok := errors.AsType[*llmcall.ConfigError](err)
		if !ok {
			t.Errorf("%s: %s was taken (%v)", r.field, r.value, err)
			continue
		}
		if e.File != "c.yaml" || e.Line != line || e.Field != r.field || e.Got == nil {
			t.Errorf("%s: %s: file %q, line %d (want %d), field %q, got %v", r.field, r.value, e.File, e.Line, line, e.Field, e.Got)
		}
		if got := err.Error(); !strings.HasPrefix(got, fmt.Sprintf("c.yaml:%d: %s", line, r.field)) || !strings.Contains(got, r.takes) {
			t.Errorf("%s: %s: %q, want %q in it", r.field, r.value, got, r.takes)
		}
	}
}

func TestFieldsThatDoNotFitTogether(t *testing.T) {
	const tool = "\ntool: {name: search}"
	for text, want := range map[string]string{
		"decisions: {slow: {again: never}}":                                    "c:1: decisions: a kind of failure must be one of unknown, transient, overloaded, rate_limited, quota_exhausted, attempt_timeout, unauthorized, model_not_found, invalid_request, context_too_long, content_filtered, cut_off, invalid_answer, check_unavailable, circuit_open, retry_budget_spent, account_spent, cancelled, deadline_exceeded, got \"slow\"",
		"decisions: {transient: {again: perhaps}}":                             "c:1: decisions.transient: again must be one of never, backoff, when_told, slower, at_once, once_larger, got \"perhaps\"",
		"decisions:\n  transient:\n    breaker: x":                             "c:3: decisions.transient: breaker must be one of ignore, healthy, healthy_if_answered, count, trip, limit, got \"x\"",
		"decisions: {transient: {wait: 3}}":                                    "c:1: decisions.transient.wait: unknown field: known are again, breaker, elsewhere",
		"decisions: {transient: never}":                                        "c:1: decisions.transient must be a mapping of again, elsewhere and breaker, got \"never\"",
		"decisions: [1]":                                                       "c:1: decisions must be a mapping of kinds of failure, each to again, elsewhere and breaker, got a list",
		"feedback_template: 'x'":                                               `c:1: feedback_template: a template needs the package that compiles it: import _ "llmcall/feedbacktemplate"`,
		"feedback_template: [x]":                                               "c:1: feedback_template must be a text/template of a Feedback, got a list",
		"max_attempts_before_human: 4":                                         "c:1: max_attempts_before_human must be a whole number from 1 to max_attempts (3), got 4",
		"max_attempts: 2\nmax_attempts_before_tool_use: 2" + tool:              "c:2: max_attempts_before_tool_use must be a whole number of at least 1 and below max_attempts (2), got 2",
		"max_attempts_before_tool_use: 2\nmax_attempts_before_human: 2" + tool: "c:1: max_attempts_before_tool_use must be a whole number of at least 1 and below max_attempts_before_human (2), got 2",
		"max_attempts_before_tool_use: 1":                                      "c: tool must be set when max_attempts_before_tool_use is set (or debug_tool_name), got nothing",
		"max_attempts: 3\n\ntool:\n  description: x":                           "c:3: tool.name must be a non-empty string, got \"\"",
	} {
		if _, _, err := llmcall.ParseConfig("c", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}

func TestUnknownFieldsAreNamedWithTheKnown(t *testing.T) {
	for text, want := range map[string][]string{
		"use_jitter: true\nmax_retries: 3":                 {"c:2: max_retries: unknown field, did you mean max_attempts?"},
		"use_jitter: true\nmax_foo_bar: 3":                 {"c:2: max_foo_bar: unknown field: known are", "max_tokens", "and 51 more"},
		"circuit_breaker_config:\n  threshold: 3":          {"c:2: circuit_breaker_config.threshold: unknown field", "failure_threshold", "excluded_exceptions"},
		"tool: {name: x, run: y}":                          {"c:1: tool.run: unknown field", "parameters"},
		"<<: {max_attempts: 3}":                            {"c:1: <<: unknown field"},
		"Max_Attempts: 3":                                  {"c:1: Max_Attempts: unknown field"},
		`{"max_attempts": 3, "max_attempts": 4}`:           {"c:1: max_attempts: appears twice, first on line 1"},
		"max_time: 1\ncheck_timeout: 1\nmax_time: 2":       {"c:3: max_time: appears twice, first on line 1"},
		"tool:\n  name: a\n  name: b":                      {"c:3: tool.name: appears twice, first on line 2"},
		"? [max_attempts]\n: 3":                            {"c:1: unknown field"},
		"checks: [jsno]":                                   {"c:1: checks[0]", "jsno", "did you mean json?"},
		"checks:\n- json\n- {type: nope}":                  {"c:3: checks[1]", "nope", "regex"},
		"checks:\n- [json]":                                {"c:2: checks[0]", "must be a string"},
		"checks:\n- type: length\n  params: {least: 3}":    {"c:2: checks[0]", "least", "min_length"},
		"checks:\n- regex:(":                               {"c:2: checks[0]", "regular expression"},
		"checks:\n- type: regex\n  params: {pattern: '('}": {"c:2: checks[0]", "regular expression"},
		"checks: [length:-1]":                              {"c:1: checks[0]", "length"},
	} {
		_, _, err := llmcall.ParseConfig("c", []byte(text))
		e, ok := errors.AsType[*llmcall.ConfigError](err)
		if !ok || e.File != "c" || e.Line == 0 {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: no %q in %q", text, w, err)
			}
		}
	}
}

func TestFilesThatAreNoConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"[1, 2]":                            "c:1: the configuration must be a mapping of settings, got a list",
		"just text":                         "c:1: the configuration must be a mapping of settings, got \"just text\"",
		"null":                              "c:1: the configuration must be a mapping of settings, got null",
		"a: [":                              "c:1: not YAML: a list in brackets or a mapping in braces is not closed",
		"max_attempts: 3\n\tmax_time: 1":    "c:2: the line is indented with a tab: use spaces",
		"{\"max_attempts\": 3,, }":          "c:1: ",
		"max_attempts: 1\n---\nmax_time: 1": "c:2: must be one document, got more than one",
		"max_time: *nowhere":                "c:1: ",
		"caf\xe9: 1":                        "c:1: the file must be text in UTF-8",
		"\x00\x01\x02":                      "c: ",
		strings.Repeat("[", 20_000):         "c:1: ",
		strings.Repeat("{a: ", 20_000):      "c:1: ",
		"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0":  "c",
		"max_attempts: 3\nx" + strings.Repeat("\xff", 100): "c",
	} {
		_, _, err := llmcall.ParseConfig("c", []byte(text))
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.File != "c" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// Aliases of aliases stand for gigabytes; an alias may hold itself.
func TestAliasesAreNoBombs(t *testing.T) {
	laughs := "&l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"
	for i := 1; i < 10; i++ {
		laughs = fmt.Sprintf("&l%d [%s%s]", i, laughs, strings.Repeat(fmt.Sprintf(", *l%d", i-1), 9))
	}
	long := strings.Repeat("x", 400_000)
	for name, text := range map[string]string{
		"billion laughs":             "tool:\n  name: a\n  parameters: {a: " + laughs + "}",
		"billion laughs in a check":  "checks:\n- {type: contains, params: {required_text: " + laughs + "}}",
		"a long text very often":     "tool: {name: a, parameters: {a: &x " + long + ", b: [" + strings.Repeat("*x, ", 100_000) + "*x]}}",
		"a long text, in a check":    "checks:\n- {type: contains, params: {required_text: [&x " + long + ", " + strings.Repeat("*x, ", 100_000) + "*x]}}",
		"an alias that holds itself": "tool: {name: a, parameters: &p {a: *p}}",
		"one in a check":             "checks:\n- &c {type: json, params: {a: *c}}",
		"a list that holds itself":   "checks: &c [*c]",
		"kinds that hold themselves": "circuit_breaker_config: {excluded_exceptions: &e [*e]}",
		"settings in themselves":     "tool: &t {name: *t}",
		"all of it in itself":        "&all {circuit_breaker_config: *all}",
	} {
		start := time.Now()
		_, _, err := llmcall.ParseConfig("c", []byte(text))
		if _, ok := errors.AsType[*llmcall.ConfigError](err); !ok || len(err.Error()) > 10_000 {
			t.Errorf("%s: %.300v", name, err)
		}
		if took := time.Since(start); took > 5*s {
			t.Errorf("%s: it took %v", name, took)
		}
	}
	got, checks, err := llmcall.ParseConfig("c", []byte("max_time: &t 5\nattempt_timeout: *t\ncheck_timeout: *t\nchecks: [&c json, *c]\nenable_circuit_breaker: true\ncircuit_breaker_config: {excluded_exceptions: [&k transient, *k]}"))
	if err != nil || got.AttemptTimeout != 5*s || len(checks) != 2 || len(got.CircuitBreakerConfig.ExcludedExceptions) != 2 {
		t.Errorf("harmless aliases: %+v %v", got, err)
	}
}

func TestConfigurationFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, checks, err := llmcall.LoadConfig(write("good.yaml", everyField))
	if err != nil || !reflect.DeepEqual(got, everyFieldStruct()) || len(checks) != 2 {
		t.Errorf("%+v %v", got, err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.yaml"): "no such file",
		dir:                                "is a directory",
		write("huge.yaml", "# "+strings.Repeat("x", 1<<20)+"\n"):        "larger than 1 MiB",
		write("bad.yaml", "max_attempts: 0"):                            "bad.yaml:1: max_attempts must be a whole number of at least 1, got 0",
		write("jitter.json", `{"circuit_breaker_config": {"nope": 1}}`): "jitter.json:1: circuit_breaker_config.nope: unknown field",
	} {
		_, _, err := llmcall.LoadConfig(path)
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.File != path || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, _, err := llmcall.LoadConfig(filepath.Join(dir, "missing.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A check may need a model, which the builder opens; without one, that is an
// error with the line.
func TestABuilderMakesTheChecksOfAFile(t *testing.T) {
	validate.MustRegister(validate.Definition{
		Info: validate.Info{Name: "needs_model", Params: []validate.Param{{Name: "model"}}},
		Build: func(p validate.Params) (validate.Strategy, error) {
			name, err := p.Text("model", "a model")
			if err != nil {
				return nil, err
			}
			m, err := p.Model("model", name)
			if err != nil {
				return nil, err
			}
			return validate.Func(m.Name(), func(context.Context, *validate.Answer) error { return nil }), nil
		},
	})
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "checks:\n- type: needs_model\n  params: {model: acme/a}\n- 'needs_model:{\"model\": \"acme/b\"}'\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	builder := validate.Builder{OpenModel: func(name string) (llm.Model, error) { return llm.Func("opened "+name, nil), nil }}
	_, checks, err := llmcall.LoadConfigWith(path, builder)
	if err != nil || len(checks) != 2 || checks[0].Name() != "opened acme/a" || checks[1].Name() != "opened acme/b" {
		t.Errorf("%v, %v", checks, err)
	}
	_, _, err = llmcall.LoadConfig(path)
	if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Line != 2 || e.Field != "checks[0]" || !strings.Contains(err.Error(), "opens no model") {
		t.Error(err)
	}
}

func TestSetTakesWhatAFileTakes(t *testing.T) {
	var got llmcall.RetryConfig
	want := everyFieldStruct()
	for _, f := range [][2]string{
		{"model", "openai/other"}, {"models", `["openai/one", "anthropic/two"]`}, {"system", "Be brief."}, {"max_tokens", "500"}, {"temperature", "0"}, {"seed", "-7"},
		{"stop", `["END", "\n\n"]`}, {"extra", `{"reasoning_effort": "low", "top_k": 5, "nested": {"list": [1.5, true]}}`},
		{"max_attempts", "5"}, {"initial_delay", "0"}, {"initial_delay", "0.25"}, {"backoff_factor", "1.5"}, {"max_delay", "1m30s"},
		{"use_jitter", "true"}, {"jitter_range", "0.3"}, {"backoff_on_invalid_answer", "true"}, {"max_time", "300"}, {"attempt_timeout", "30s"}, {"first_piece_timeout", "1m"}, {"idle_timeout", "20"}, {"restart_streams", "true"},
		{"check_timeout", "2.5"}, {"max_retry_after", "3m"}, {"max_rate_limit_wait", "1h"}, {"enable_circuit_breaker", "true"},
		{"count_invalid_answers", "true"}, {"wait_for_circuit", "true"}, {"hang", "60"}, {"fallback_after", "3s"}, {"fleet", "rediss://app:sesame@store.example:6380/1"}, {"fleet_only", `["openai/*", "anthropic/two"]`}, {"fleet_secret", "env:FLEET_SECRET"}, {"fleet_min_reporters", "3"},
		{"requests_per_minute", "600"}, {"tokens_per_minute", "1e6"}, {"max_concurrent", "7"}, {"max_attempts_before_tool_use", "2"},
		{"max_attempts_before_human", "4"}, {"max_tool_rounds", "3"}, {"max_tool_calls", "5"}, {"tool_timeout", "12s"}, {"max_tool_result", "1000"}, {"hedge", `{"after": "p95", "extra": 0.1, "same_model": true}`}, {"quality_memory", `{"answers": 10, "share": 0.5, "for": "10m"}`}, {"max_cost", "0.05"}, {"max_tokens_total", "20000"}, {"min_output_tokens", "99"}, {"reserve", "expected"}, {"prices", `{"openai/one": {"input": 0.15, "output": 0.60}}`}, {"stop_on_no_progress", "true"}, {"stop_on_no_progress", "false"},
	} {
		if err := got.Set(f[0], f[1]); err != nil {
			t.Error(err)
		}
	}
	got.CircuitBreakerConfig, got.RetryBudget, got.Tool, got.Decisions = want.CircuitBreakerConfig, want.RetryBudget, want.Tool, want.Decisions
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	for _, f := range [][3]string{
		{"max_attempts", "0", "max_attempts must be a whole number of at least 1, got 0"},
		{"max_attempts", "", "max_attempts must be a whole number of at least 1, got nothing"},
		{"backoff_factor", "NaN", "backoff_factor must be a finite number of at least 1, got NaN"},
		{"max_delay", "0", "max_delay must be a time above 0 (seconds, or a duration like \"30s\"), got 0"},
		{"use_jitter", "maybe", "use_jitter must be true or false, got \"maybe\""},
		{"tool", "x", "tool must be a mapping of settings, got \"x\""},
		{"checks", "json", "checks: unknown field: known are "},
		{"retries", "3", "retries: unknown field, did you mean max_attempts?"},
		{"max_time", strings.Repeat("9", 10_000), "characters left out"},
	} {
		before := got
		err := got.Set(f[0], f[1])
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || !strings.Contains(err.Error(), f[2]) || e.Field != f[0] || len(err.Error()) > 2000 {
			t.Errorf("%s %.40s: %v", f[0], f[1], err)
		}
		if !reflect.DeepEqual(got, before) {
			t.Errorf("%s: a bad value changed the configuration", f[0])
		}
	}
}

// JSON that YAML reads otherwise, or not at all.
func TestJSONIsReadAsJSON(t *testing.T) {
	const tabs = "{\n\t\"max_attempts\"\n:\n\t3, \"max_attempts_before_tool_use\": 1,\n\t\"tool\":\t{\"name\": \"a\\/b\", \"description\": \"\\ud83d\\ude00 a\u0085 b\u2028 c\\u0000\",\n\t\"parameters\": {\"n\": 1e3, \"b\": [true, null], \"t\": \"2001-01-01\"}}}"
	got, _, err := llmcall.ParseConfig("c.json", []byte(tabs))
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxAttempts != 3 || got.Tool.Name != "a/b" || got.Tool.Description != "😀 a\u0085 b\u2028 c\x00" || string(got.Tool.Parameters) != `{"n":1e3,"b":[true,null],"t":"2001-01-01"}` {
		t.Errorf("%+v %+v %s", got, got.Tool, got.Tool.Parameters)
	}
	for text, want := range map[string]string{
		"{\n\"max_attempts\": 3,\n\"max_time\":\n[1]}":       "c:4: max_time must be a time above 0",
		"{\"tool\": {\"parameters\": {\"a\": 1, \"a\": 2}}}": "c:1: tool.parameters must be a JSON Schema of the tool's arguments, as a mapping: \"a\" appears twice, first on line 1",
		"{\"a\": \"caf\xe9\"}":                               "c:1: the file must be",
		"{\n\"max_attempts_before_human\": 9}":               "c:2: max_attempts_before_human must be",
		"[]":                                                 "c:1: the configuration must be", "3": "c:1: the configuration must be", `"x"`: "c:1: the configuration must be",
	} {
		if _, _, err := llmcall.ParseConfig("c", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A struct is validated as a file is, and no call is made with a bad one.
func TestBadStructsAreRefusedBeforeAnyCall(t *testing.T) {
	m := play(t)
	for field, cfg := range map[string]llmcall.RetryConfig{
		"max_attempts":                 {MaxAttempts: -1},
		"initial_delay":                {InitialDelay: -1},
		"backoff_factor":               {BackoffFactor: 0.5},
		"max_delay":                    {MaxDelay: -1},
		"jitter_range":                 {JitterRange: new(1.5)},
		"backoff":                      {Backoff: backoff.Exponential{Factor: math.NaN()}},
		"max_time":                     {MaxTime: -1},
		"attempt_timeout":              {AttemptTimeout: -1},
		"check_timeout":                {CheckTimeout: -1},
		"max_retry_after":              {MaxRetryAfter: -1},
		"max_rate_limit_wait":          {MaxRateLimitWait: -1},
		"max_attempts_before_human":    {MaxAttemptsBeforeHuman: 4},
		"max_attempts_before_tool_use": {MaxAttemptsBeforeToolUse: 2, MaxAttemptsBeforeHuman: 2, Tool: search},
		"tool":                         {MaxAttemptsBeforeToolUse: 1},
		"tool.name":                    {Tool: &llmcall.Tool{}},
		"tool.parameters":              {Tool: &llmcall.Tool{Tool: llm.Tool{Name: "x", Parameters: []byte("{")}}},
		"circuit_breaker_config.failure_threshold": {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: -1}}},
		"circuit_breaker_config.recovery_timeout":  {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{RecoveryTimeout: -1}}},
		"circuit_breaker_config.failure_window":    {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureWindow: -1}}},
		"circuit_breaker_config.failure_rate":      {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureRate: math.NaN()}}},
		"circuit_breaker_config.half_open_probes":  {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{HalfOpenProbes: -1}}},
		"circuit_breaker_config.success_threshold": {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{SuccessThreshold: -1}}},
		"circuit_breaker_config.probe_lease":       {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{ProbeLease: -1}}},
		"circuit_breaker_config.slow_call":         {CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: breaker.Config{SlowCall: -1}}},
	} {
		for _, form := range forms {
			r, err := form.call(t.Context(), m, llm.Prompt("x"), nil, cfg)
			e, ok := errors.AsType[*llmcall.ConfigError](err)
			if r != nil || !ok || e.Field != field || !strings.Contains(err.Error(), "must be") && e.Err == nil {
				t.Errorf("%s: %s: %v", field, form.name, err)
			}
		}
	}
	for _, factor := range []float64{math.Inf(1), math.NaN(), math.Inf(-1), -1} {
		if err := (&llmcall.RetryConfig{BackoffFactor: factor}).Validate(); err == nil {
			t.Errorf("a factor of %v was taken", factor)
		}
	}
	for _, ratio := range []float64{math.Inf(1), math.NaN(), -0.1} {
		if err := (&llmcall.RetryConfig{JitterRange: &ratio}).Validate(); err == nil {
			t.Errorf("a jitter of %v was taken", ratio)
		}
	}
	if m.calls() != 0 {
		t.Errorf("%d calls were made", m.calls())
	}
}

// A setting that would silently do nothing is an error: whoever sets a threshold
// and forgets the switch believes to be protected.
func TestSettingsInVain(t *testing.T) {
	never, counted := failure.Decisions(), failure.Decisions()
	never[failure.InvalidAnswer].Again = failure.Never
	counted[failure.InvalidAnswer].Breaker = failure.Ignore
	threshold := llmcall.CircuitBreakerConfig{Config: breaker.Config{FailureThreshold: 2}}
	own := backoff.Linear{}
	for _, c := range []struct {
		cfg  llmcall.RetryConfig
		want string // "" if it is possible
	}{
		{llmcall.RetryConfig{CircuitBreakerConfig: threshold}, "circuit_breaker_config: has no effect unless enable_circuit_breaker is true"},
		{llmcall.RetryConfig{CircuitBreakerConfig: llmcall.CircuitBreakerConfig{ExcludedExceptions: []failure.Kind{failure.Unknown}}}, "circuit_breaker_config: has no effect unless"},
		{llmcall.RetryConfig{CircuitBreakerConfig: threshold, EnableCircuitBreaker: true}, ""},
		{llmcall.RetryConfig{WaitForCircuit: true}, "wait_for_circuit: has no effect unless enable_circuit_breaker is true"},
		{llmcall.RetryConfig{WaitForCircuit: true, EnableCircuitBreaker: true}, ""},
		{llmcall.RetryConfig{Hang: s}, "hang: has no effect unless enable_circuit_breaker is true"},
		{llmcall.RetryConfig{Hang: -1, EnableCircuitBreaker: true}, ""},
		{llmcall.RetryConfig{RetryBudget: endpoint.Budget{Saved: 10}, DisableRetryBudget: true}, "retry_budget: has no effect while disable_retry_budget is true"},
		{llmcall.RetryConfig{RequestsPerMinute: 10, DisablePacing: true}, "requests_per_minute: has no effect while disable_pacing is true"},
		{llmcall.RetryConfig{TokensPerMinute: 10, DisablePacing: true}, "tokens_per_minute: has no effect while disable_pacing is true"},
		{llmcall.RetryConfig{MaxConcurrent: 10, DisablePacing: true}, "max_concurrent: has no effect while disable_pacing is true"},
		{llmcall.RetryConfig{CountInvalidAnswers: true}, "count_invalid_answers: has no effect unless enable_circuit_breaker is true"},
		{llmcall.RetryConfig{CountInvalidAnswers: true, EnableCircuitBreaker: true}, ""},
		{llmcall.RetryConfig{CountInvalidAnswers: true, EnableCircuitBreaker: true, Decisions: &counted}, "count_invalid_answers: contradicts decisions.invalid_answer"},
		{llmcall.RetryConfig{BackoffOnInvalidAnswer: true, Decisions: &counted}, ""},
		{llmcall.RetryConfig{BackoffOnInvalidAnswer: true, Decisions: &never}, "backoff_on_invalid_answer: contradicts decisions.invalid_answer"},
		{llmcall.RetryConfig{Tool: search}, "tool: has no effect unless max_attempts_before_tool_use is set"},
		{llmcall.RetryConfig{Tool: search, MaxAttemptsBeforeToolUse: 1}, ""},
		{llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1}, "tool must be set when max_attempts_before_tool_use is set (or debug_tool_name), got nothing"},
		{llmcall.RetryConfig{StopOnNoProgress: true, MaxAttemptsBeforeHuman: 1}, "stop_on_no_progress: has no effect while max_attempts_before_human is set"},
		{llmcall.RetryConfig{StopOnNoProgress: true, MaxAttemptsBeforeToolUse: 1, Tool: search}, ""},
		{llmcall.RetryConfig{UseJitter: new(false), JitterRange: new(0.5)}, "jitter_range: has no effect while use_jitter is false"},
		{llmcall.RetryConfig{UseJitter: new(true), JitterRange: new(0.5)}, ""},
		{llmcall.RetryConfig{Backoff: own, InitialDelay: s}, "initial_delay: has no effect while Backoff is set"},
		{llmcall.RetryConfig{Backoff: own, BackoffFactor: 3}, "backoff_factor: has no effect while Backoff is set"},
		{llmcall.RetryConfig{Backoff: own, MaxDelay: s}, "max_delay: has no effect while Backoff is set"},
		{llmcall.RetryConfig{Backoff: own, UseJitter: new(true)}, "use_jitter: has no effect while Backoff is set"},
		{llmcall.RetryConfig{Backoff: own, JitterRange: new(0.0)}, "jitter_range: has no effect while Backoff is set"},
		{llmcall.RetryConfig{Backoff: backoff.Constant{}, MaxDelay: s, BackoffFactor: 2}, ""}, // no wait is longer than that
		{llmcall.RetryConfig{Backoff: backoff.Constant{}, InitialDelay: s}, "initial_delay"},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err == nil {
			continue
		}
		if _, ok := errors.AsType[*llmcall.ConfigError](err); !ok || c.want == "" || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	_, _, err := llmcall.ParseConfig("c", []byte("max_attempts: 4\ncircuit_breaker_config:\n  failure_threshold: 2"))
	if err == nil || err.Error() != "c:2: circuit_breaker_config: has no effect unless enable_circuit_breaker is true" {
		t.Error(err)
	}
}

// A setting of what several models share between them needs several.
func TestASettingForSeveralModelsNeedsSeveral(t *testing.T) {
	one, other := llm.Func("one", nil), llm.Func("other", nil)
	cfg := llmcall.RetryConfig{FallbackAfter: s}
	const want = "fallback_after: has no effect with a single model"
	_, err := llmcall.New([]llm.Model{one}, nil, cfg)
	if _, ok := errors.AsType[*llmcall.ConfigError](err); !ok || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if _, err := llmcall.RetryWithValidation(t.Context(), one, llm.Prompt("x"), nil, cfg); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if _, err := llmcall.New([]llm.Model{one, other}, nil, cfg); err != nil {
		t.Error(err)
	}
}

// The nearest of the known names is shown alone; without one, those that there are.
func TestTheNearestNameIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"max_attemps: 3":                                "c:1: max_attemps: unknown field, did you mean max_attempts?",
		"Max_Attempts: 3":                               "c:1: Max_Attempts: unknown field, did you mean max_attempts?",
		"jitter_ragne: 0.1":                             "c:1: jitter_ragne: unknown field, did you mean jitter_range?",
		"enable_circuit_braker: true":                   "c:1: enable_circuit_braker: unknown field, did you mean enable_circuit_breaker?",
		"MaxAttempts: 3":                                "c:1: MaxAttempts: unknown field, did you mean max_attempts?",
		"circuit_breaker_config: {HalfOpenProbes: 3}":   "c:1: circuit_breaker_config.HalfOpenProbes: unknown field, did you mean half_open_probes?",
		"check: [json]":                                 "c:1: check: unknown field, did you mean checks?",
		"presence_penalty: 1":                           "c:1: presence_penalty: unknown field: known are ",
		"circuit_breaker_config: {failure_treshold: 3}": "c:1: circuit_breaker_config.failure_treshold: unknown field, did you mean failure_threshold?",
		"tool: {nam: x}":                                "c:1: tool.nam: unknown field, did you mean name?",
		"decisions: {transient: {again: bakoff}}":       "c:1: decisions.transient: again must be one of never, backoff, when_told, slower, at_once, once_larger, got \"bakoff\", did you mean backoff?",
		"decisions: {transient: {elsewhere: after}}":    "c:1: decisions.transient: elsewhere must be one of never, now, after_retries, got \"after\"",
		"decisions: {transient: {elsewhere: nwo}}":      "c:1: decisions.transient: elsewhere must be one of never, now, after_retries, got \"nwo\", did you mean now?",
		"decisions: {transient: {breaker: Trip}}":       "c:1: decisions.transient: breaker must be one of ignore, healthy, healthy_if_answered, count, trip, limit, got \"Trip\", did you mean trip?",
		"decisions: {transiet: {again: backoff}}":       "c:1: decisions: a kind of failure must be one of unknown, transient, overloaded, rate_limited, quota_exhausted, attempt_timeout, unauthorized, model_not_found, invalid_request, context_too_long, content_filtered, cut_off, invalid_answer, check_unavailable, circuit_open, retry_budget_spent, account_spent, cancelled, deadline_exceeded, got \"transiet\", did you mean transient?",
		"decisions: {transient: {brekaer: trip}}":       "c:1: decisions.transient.brekaer: unknown field, did you mean breaker?",
	} {
		if _, _, err := llmcall.ParseConfig("c", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The forms in which a check is written first.
func TestFormsOfACheck(t *testing.T) {
	for text, want := range map[string]string{
		"length:3..200": "length", "json": "json", "not_empty": "not_empty", "{not_empty: }": "not_empty", "{not_empty: true}": "not_empty",
		"{type: length, params: {min_length: 3}}": "length", "{params: {min_length: 3}, type: length}": "length", "{type: json}": "json", "{type: json, params: }": "json",
		"{length: {min_length: 3}}": "length", "{length: 3..200}": "length", "{contains: Berlin}": "contains", "{length: {max: 10}}": "length",
		"{name: length, max_length: 10}": "length", "{name: json}": "json", "{type: length, max: 10}": "length", "\n  length:\n  max: 10": "length",
		"{contains: [Berlin, Bonn]}": "contains", "{contains: Berlin, case_sensitive: true}": "contains", "{contains: {text: Berlin}}": "contains",
		"{schema: {type: object}}": "schema", "{schema: {schema: {type: object}}}": "schema", "{not: {contains: sorry}}": "not",
		"{all: [json, {length: {max: 10}}]}": "all", "{any: [{type: json}, not_empty]}": "any",
		"{at: {pointer: /a, check: {length: {max: 3}}}}": "at", "{field_present: name, value: 007}": "field_present",
	} {
		_, checks, err := llmcall.ParseConfig("c", []byte("checks:\n- "+text))
		if err != nil || len(checks) != 1 || checks[0].Name() != want {
			t.Errorf("%s: %v, %v", text, checks, err)
		}
	}
	for text, want := range map[string]string{
		"{type: length, params: [1]}":               "params must be a mapping of parameters, got [1]",
		"{name: length, min: 3, params: {max: 10}}": `check "length": min: must be under params, as the others are`,
		"{length: [1]}":                             "range must be 3..200, 3.. or ..200",
		"{length: {max: 1, max_length: 2}}":         "max_length: max_length is given twice",
		"{length: 3..5, max: 2}":                    "max_length is given twice",
		"{length: {max: !!int foo}}":                `"foo" is not a number`,
		"{length: {max: ten}}":                      `max_length must be a whole number of at least 1, got "ten"`,
		"{lenght: {max: 10}}":                       `unknown check "lenght", did you mean length?`,
		"{lenght: , max: 10}":                       `unknown check "lenght", did you mean length?`,
		"{type: lenght}":                            `unknown check "lenght", did you mean length?`,
		"{length: {max_lenth: 10}}":                 `max_lenth: unknown parameter, did you mean max_length?`,
		"{json: , length: 3..}":                     `must be one check, got json and length: put "- " before each`,
		"{not_empty: false}":                        "arguments must be left out",
		"{type: [length]}":                          "got a mapping of type",
		"{type: json, type: json}":                  `"type" appears twice, first on line 2`,
		"{any: [json, {lengt: 3..}]}":               `check "any": checks[1]: unknown check "lengt", did you mean length?`,
		"[json]":                                    `must be a string ("length:3..200") or a mapping ({length: {max: 200}}, `,
		"{}":                                        "got an empty mapping",
		"":                                          "must be a string (",
		"{length: {[1]: 3}}":                        "the name of a field must be a text, got a list or a mapping",
		"{regex: {pattern: [a]}}":                   "pattern must be a non-empty regular expression",
		"{number: {min: .nan}}":                     `".nan" is not a number that JSON has`,
		"{number: {excl: 3}}":                       "excl: unknown parameter",
		"{number: {exclusive: 3}}":                  "exclusive: unknown parameter: it may be exclusive_min or exclusive_max",
	} {
		_, _, err := llmcall.ParseConfig("c", []byte("checks:\n- "+text))
		e, ok := errors.AsType[*llmcall.ConfigError](err)
		if !ok || e.Line != 2 || e.Field != "checks[0]" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "struct") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A number keeps the digits that it has in the file where a text is expected.
func TestANumberAsATextOfACheck(t *testing.T) {
	_, checks, err := llmcall.ParseConfig("c", []byte("checks:\n- contains: 007\n- contains: 0x10\n- contains: 1.50\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"agent 007", "0x10", "1.50"} {
		if verdict, err := checks[i].Check(t.Context(), &validate.Answer{Text: text}); err != nil || len(verdict.Complaints) > 0 {
			t.Errorf("%s: %v, %v", text, verdict.Complaints, err)
		}
	}
}

func TestTheDefaults(t *testing.T) {
	if llmcall.DefaultMaxAttempts != 3 || llmcall.DefaultInitialDelay != s || llmcall.DefaultBackoffFactor != 2 ||
		llmcall.DefaultMaxDelay != 60*s || llmcall.DefaultJitterRange != 0.1 {
		t.Error("the defaults of a call")
	}
	if breaker.DefaultFailureThreshold != 5 || breaker.DefaultRecoveryTimeout != 60*s || breaker.DefaultFailureWindow != 300*s {
		t.Error("the defaults of a circuit")
	}
}

// FuzzParseConfig holds that no file makes it panic, that what is wrong is a
// *ConfigError, and that what it takes is a possible configuration.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(everyField))
	f.Add([]byte(everyFieldJSON))
	f.Add([]byte("max_attempts: &a 3\nmax_attempts_before_human: *a"))
	f.Add([]byte("checks: [json, {type: all, params: {validators: [json]}}]"))
	f.Add([]byte("tool: &t {name: a, parameters: {t: *t}}"))
	f.Add([]byte("!"))
	f.Add([]byte("a: [\n---\n? - !!binary x\n"))
	f.Add([]byte("{\"initial_delay\": 0, \"max_time\": 1e-10}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, checks, err := llmcall.ParseConfig("c", data)
		if err != nil {
			if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.File != "c" || err.Error() == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("it took what it refuses: %v", err)
		}
		m := llm.Func("fuzz", nil)
		cfg.FallbackAfter, cfg.AttemptsPerModel, cfg.Stages = 0, 0, nil // these need several models, or models of a name
		cfg.Prices = price.Table{"*": {}}
		cfg.Endpoints = endpoint.Default() // a fleet needs its own
		if _, err := llmcall.RetryWithValidation(ended(t), m, llm.Prompt("x"), checks, cfg); reasonOf(t, err) != llmcall.ReasonCancelled {
			t.Errorf("no call can be made with it: %v", err)
		}
		var v any
		if err := yaml.Load(data, &v); err == nil && v != nil {
			if _, isMap := v.(map[string]any); !isMap {
				t.Errorf("it took a %T", v)
			}
		}
		for i, c := range checks {
			if c == nil {
				t.Errorf("check %d is nil", i)
			}
		}
	})
}

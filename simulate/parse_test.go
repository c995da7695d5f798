package simulate_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/price"
	"llmcall/simulate"
)

const whole = `
name: all
about: Everything that a file may have.
seed: 7
duration: 5m
clients:
  - {name: a, processes: 2, calls_per_second: 0.5, start: 1s, stop: 4m, deadline: 60, key: k, prompt_tokens: 10}
  - {workers: 3, pause: 100ms, calls: 9}
provider:
  latency: {median: 900ms, p99: 4s}
  network: 25ms
  per_request: 10ms
  keeps_working: true
  limits: {requests_per_minute: 60, burst: 3, hint: none}
  faults: [hang, {kind: status, error: overloaded, share: 0.2, retry_after: 2}]
  answer_tokens: 20
  price: {input: 1, output: 2}
models:
  other/m: {latency: {mean: 1s}}
phases:
  - {from: 1m, to: 2m, models: [other/m], load: 2, restart: true, latency: {constant: 5s}, per_request: 1ms, limits: {concurrent: 3}, faults: []}
`

func TestParseScenario(t *testing.T) {
	got, err := simulate.ParseScenario("dir/all.yaml", []byte(strings.Replace(whole, "[hang, ", "[{kind: hang, share: 0.1}, ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := &simulate.Scenario{
		Name: "all", About: "Everything that a file may have.", Seed: 7, Duration: 5 * time.Minute,
		Clients: []simulate.Clients{
			{Name: "a", Processes: 2, CallsPerSecond: 0.5, Start: s, Stop: 4 * time.Minute, Deadline: time.Minute, Key: "k", PromptTokens: 10},
			{Workers: 3, Pause: 100 * ms, Calls: 9},
		},
		Provider: simulate.Provider{
			Latency: simulate.Latency{Median: 900 * ms, P99: 4 * s}, Network: simulate.Latency{Constant: 25 * ms}, PerRequest: 10 * ms, KeepsWorking: true,
			Limits: &chaos.Limits{RequestsPerMinute: 60, Burst: 3, Hint: chaos.HintNone},
			Faults: []simulate.Fault{
				{Fault: chaos.Fault{Kind: chaos.Hang}, Share: 0.1},
				{Fault: chaos.Fault{Kind: chaos.Status, Error: "overloaded", RetryAfter: "2"}, Share: 0.2},
			},
			AnswerTokens: 20, Price: &price.Price{Rates: price.Rates{Input: 1e9, Output: 2e9}},
		},
		Models: map[string]simulate.Provider{"other/m": {Latency: simulate.Latency{Mean: s}}},
		Phases: []simulate.Phase{{
			From: time.Minute, To: 2 * time.Minute, Models: []string{"other/m"}, Load: 2, Restart: true,
			Latency: simulate.Latency{Constant: 5 * s}, PerRequest: ms, Limits: &chaos.Limits{Concurrent: 3}, Faults: []simulate.Fault{},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	unnamed, err := simulate.ParseScenario(`dir\my.day.yaml`, []byte("duration: 1m\nclients: [{calls: 1}]\n"))
	if err != nil || unnamed.Name != "my.day" {
		t.Errorf("%+v, %v", unnamed, err)
	}
}

func TestABadScenarioIsAnErrorWithLineFieldGotAndTakes(t *testing.T) {
	const head = "duration: 1m\nclients:\n  - calls_per_second: 1\n"
	for text, want := range map[string]string{
		"":                                     "s.yaml: the scenario must be a mapping with duration, clients and provider, got nothing",
		"- a\n":                                "s.yaml:1: the scenario must be a mapping with duration, clients and provider, got a list",
		"a: [\n":                               "s.yaml:1: not YAML: a list in brackets or a mapping in braces is not closed, or lacks a value",
		"name: x\n":                            "s.yaml: duration must be a time above 0 and at most 24h, got 0s",
		"duration: 1m\n":                       "s.yaml: clients must be a list with at least one group of clients, got none",
		head + "provder: {}\n":                 "s.yaml:4: provder: unknown field, did you mean provider?",
		head + "    deadlin: 3s\n":             "s.yaml:4: clients[0].deadlin: unknown field, did you mean deadline?",
		head + "    deadline: soon\n":          `s.yaml:4: clients[0].deadline must be a time of at least 0 (seconds, or a duration like "1m30s"), got "soon"`,
		head + "    deadline: -1s\n":           "s.yaml:4: clients[0].deadline must be a time of at least 0, got -1s",
		head + "    workers: 2\n":              "s.yaml:4: clients[0].workers must be unset if calls_per_second is set, got 2",
		head + "    processes: 0\n":            "s.yaml:4: clients[0].processes must be a whole number of at least 1, got 0",
		head + "    stop: 2m\n":                "s.yaml:4: clients[0].stop must be a time after start (0s) and at most duration (1m0s), got 2m0s",
		head + "    pause: 1s\n":               "s.yaml:4: clients[0].pause must be unset unless workers is set, got 1s",
		head + "  - processes: 2\n":            "s.yaml:4: clients[1] must be a group with calls_per_second, workers or calls, got none of them",
		head + "  - {name: \"1\", calls: 2}\n": `s.yaml:4: clients[1].name must be a name that no other group has, got "1"`,
		head + "provider:\n  latency: {median: 2s, p99: 1s}\n":         "s.yaml:5: provider.latency.p99 must be a time of at least the median (2s), got 1s",
		head + "provider:\n  latency: {median: 2s, mean: 1s}\n":        "s.yaml:5: provider.latency must be one of a constant, a mean, and a median with a p99, got more than one",
		head + "provider:\n  limits:\n    burst: 3\n":                  "s.yaml:6: provider.limits.burst must be unset unless requests_per_minute is set, got a value",
		head + "provider:\n  limits:\n    bursts: 3\n":                 "s.yaml:6: provider.limits.bursts: unknown field, did you mean burst?",
		head + "provider:\n  faults:\n    - hang\n    - kind: rest\n":  `s.yaml:7: provider.faults[1].kind must be one of reset, right, slow, empty, length, prose, break, filter, refuse, cut, status, hang in a simulation, got "rest", did you mean reset?`,
		head + "provider:\n  faults: [{kind: hang, shar: 1}]\n":        "s.yaml:5: provider.faults[0].shar: unknown field, did you mean share?",
		head + "provider:\n  faults:\n    - drip\n":                    `s.yaml:6: provider.faults[0].kind must be one of right, slow, empty, length, prose, break, filter, refuse, cut, status, reset, hang in a simulation, got "drip"`,
		head + "provider:\n  faults:\n    - hang\n    - reset\n":       "s.yaml:7: provider.faults[1].share must be such that all shares are at most 1 together (the default of each is 1), got 2 together",
		head + "provider:\n  faults:\n    - {kind: hang, weight: 2}\n": "s.yaml:6: provider.faults[0].weight must be unset: a scenario has share, from 0 to 1, instead, got 2",
		head + "provider:\n  faults:\n    - {kind: hang, share: 0}\n":  "s.yaml:6: provider.faults[0].share must be a number above 0, got 0",
		head + "provider:\n  price: {input: 1}\n":                      "s.yaml:5: provider.price: must have a field output, got {\"input\":1}",
		head + "models:\n  a/b:\n    latency: x\n":                     `s.yaml:6: models.a/b.latency must be a time of at least 0 (seconds, or a duration like "1m30s"), got "x"`,
		head + "phases:\n  - from: 2m\n    load: 2\n":                  "s.yaml:5: phases[0].from must be a time from 0 to before the end (1m0s), got 2m0s",
		head + "phases:\n  - from: 20s\n    to: 10s\n    load: 2\n":    "s.yaml:6: phases[0].to must be a time after from (20s) and at most duration (1m0s), got 10s",
		head + "phases:\n  - from: 20s\n":                              "s.yaml:5: phases[0] must be a phase in which something is different, got nothing that is",
		head + "phases:\n  - {from: 1s, load: 0}\n":                    "s.yaml:5: phases[0].load must be a number above 0, got 0",
		head + "phases: {from: 1s}\n":                                  "s.yaml:4: phases must be a list of phases, got a mapping",
	} {
		_, err := simulate.ParseScenario("s.yaml", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestTheThirteenScenarios(t *testing.T) {
	names := simulate.Names()
	want := strings.Fields("bad_answers brownout collapse flapping hang herd outage quota rate_limit rate_limit_no_hint restart slow two_tenants")
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	for _, name := range names {
		sc, err := simulate.Named(name)
		if err != nil || sc.Name != name || sc.About == "" {
			t.Errorf("%s: %+v, %v", name, sc, err)
		}
		if text, err := simulate.Source(name); err != nil || !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s begins with no comment, %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"outrage": `simulate: no scenario is called "outrage", did you mean outage?`,
		"x":       `simulate: no scenario is called "x"; there are ` + strings.Join(names, ", "),
	} {
		if _, err := simulate.Named(name); fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzParseScenario(f *testing.F) {
	f.Add([]byte(whole))
	for _, name := range simulate.Names() {
		text, err := simulate.Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("models: {[a]: {latency: 1}}\nphases: [&a {faults: *a}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		sc, err := simulate.ParseScenario("s.yaml", text)
		if (sc == nil) == (err == nil) {
			t.Fatalf("%v, %v", sc, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "s.yaml") {
			t.Errorf("%v does not name the file", err)
		}
	})
}

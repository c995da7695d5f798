package chaos_test

import (
	"math"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
)

func TestTheExamplePlansAreRead(t *testing.T) {
	for name, want := range map[string]*chaos.Plan{
		"outage.yaml": {Seed: 7, Steps: []chaos.Fault{
			{Kind: chaos.Status, Status: 429, Code: "rate_limit_exceeded", RetryAfter: "2"},
			{Kind: chaos.Status, Status: 429, RetryAfterDate: 3 * time.Second},
			{Kind: chaos.Status, Status: 503, RetryAfterMS: "250", Headers: http.Header{"X-Should-Retry": {"true"}}},
			{Kind: chaos.Status, Status: 502},
			{Kind: chaos.Status, Status: 500, Body: new("")},
			{Kind: chaos.Reset},
			{Kind: chaos.Slow, Delay: 1500 * time.Millisecond},
			{Kind: chaos.Cut, After: new(5), End: chaos.Clean},
			{Kind: chaos.Length},
			{Kind: chaos.Fence},
			{Kind: chaos.Break, At: new("/items/0/price")},
			{Kind: chaos.Right, Answer: "Berlin"},
		}},
		"providers.yaml": {Steps: []chaos.Fault{
			{Kind: chaos.Status, Error: "rate_limit", RetryAfter: "34", ResetAfter: 6 * time.Minute},
			{Kind: chaos.Status, Error: "billing"},
			{Kind: chaos.Status, Status: 200, Error: "overloaded"},
			{Kind: chaos.Status, Code: "enforced_spend_limit_reached"},
			{Kind: chaos.StreamError, Error: "overloaded", After: new(0)},
			{Kind: chaos.StreamError, Code: "server_error"},
			{Kind: chaos.Unfinished},
			{Kind: chaos.Filter},
			{Kind: chaos.Refuse, Answer: "No."},
			{Kind: chaos.Right, Finish: "RECITATION"},
			{Kind: chaos.Right, CachedTokens: 100, ReasoningTokens: 64},
			{Kind: chaos.Comments},
			{Kind: chaos.Garbage},
			{Kind: chaos.Huge, Size: 100_000_000},
			{Kind: chaos.Redirect, Status: 302},
		}},
		"flaky.yaml": {Seed: 42, Weights: []chaos.Fault{
			{Kind: chaos.Right, Weight: 70},
			{Kind: chaos.Status, Status: 500, Weight: 8},
			{Kind: chaos.Status, Code: "server_is_overloaded", Weight: 5},
			{Kind: chaos.Status, Code: "rate_limit_exceeded", RetryAfter: "1", Weight: 5},
			{Kind: chaos.Reset, Weight: 4},
			{Kind: chaos.Drip, ChunkDelay: 50 * time.Millisecond, Weight: 3},
			{Kind: chaos.Cut, Weight: 2},
			{Kind: chaos.Length, Weight: 1},
			{Kind: chaos.Empty, Weight: 1},
			{Kind: chaos.Hang, Weight: 1},
		}},
	} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chaos.ParsePlan(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestPlansAreReadAsJSONToo(t *testing.T) {
	for _, source := range []string{
		`{"seed": 1, "repeat": true, "steps": ["hang", {"kind": "break", "at": "", "delay": "2s"}]}`,
		"{\n\t\"seed\": 1,\n\t\"repeat\": true,\n\t\"steps\": [\n\t\t\"hang\",\n\t\t{\"kind\": \"break\", \"at\": \"\", \"delay\": 2}\n\t]\n}\n",
		"seed: 0x1\nrepeat: true\nsteps:\n  - &h hang\n  - {kind: break, at: '', delay: 2.0}\n",
	} {
		got, err := chaos.ParsePlan("p", []byte(source))
		want := &chaos.Plan{Seed: 1, Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Hang}, {Kind: chaos.Break, At: new(""), Delay: 2 * time.Second}}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", source, got, err)
		}
	}
}

func TestABadPlanIsAnErrorWithLineFieldGotAndTakes(t *testing.T) {
	for _, c := range []struct{ plan, want string }{
		{"steps:\n  - kind: status\n    stauts: 500\n", `p.yaml:3: steps[0].stauts: got an unknown field; takes one of after, answer, at`},
		{"stps: []\n", `p.yaml:1: stps: got an unknown field; takes one of answer_time, limits, repeat, seed, steps, weights; the nearest is steps`},
		{"steps:\n  - boom\n", `p.yaml:2: steps[0].kind: got "boom"; takes one of right, empty,`},
		{"steps:\n  - right\n  - kind: status\n    status: 42\n", `p.yaml:4: steps[1].status: got 42; takes an HTTP status, 200 to 599`},
		{"steps:\n  - kind: status\n    status: many\n", `p.yaml:3: steps[0].status: got "many"; takes a whole number`},
		{"steps:\n  - kind: status\n    status: 5.5\n", `p.yaml:3: steps[0].status: got 5.5; takes a whole number`},
		{"steps:\n  - kind: status\n", `p.yaml:2: steps[0].status: got nothing; takes an HTTP status`},
		{"steps:\n  - {kind: status, status: 200}\n", `steps[0].status: got 200; takes a status below 400 only with error, code or body`},
		{"steps:\n  - {kind: status, code: nope}\n", `steps[0].code: got "nope"; takes one of ABORTED, API_KEY_INVALID,`},
		{"steps:\n  - {kind: status, code: html, body: x}\n", `steps[0].body: got a value beside error or code; takes one of the two`},
		{"steps:\n  - {kind: status, status: 429, retry_after: 2, retry_after_date: 2}\n", `steps[0].retry_after_date: got a value beside retry_after; takes one of the two`},
		{"steps:\n  - {kind: status, status: 429, retry_after: \"a\\nb\"}\n", `steps[0].retry_after: got "a\nb"; takes text without control characters`},
		{"steps:\n  - {kind: status, status: 429, retry_after: [2]}\n", `steps[0].retry_after: got a list; takes a number or a text`},
		{"steps:\n  - kind: status\n    status: 429\n    headers: {Content-Length: 3}\n", `p.yaml:4: steps[0].headers: got "Content-Length"; takes any header but`},
		{"steps:\n  - {kind: status, status: 429, headers: {'a b': c}}\n", `steps[0].headers: got "a b"; takes names of`},
		{"steps:\n  - {kind: status, status: 429, headers: {a: {b: c}}}\n", `steps[0].headers: got a mapping; takes names with a value`},
		{"steps:\n  - kind: hang\n    status: 500\n", `p.yaml:3: steps[0].status: got a value beside kind "hang"; takes a value only beside kind redirect, status, stream_error, huge`},
		{"steps:\n  - {answer: x, kind: empty}\n", `steps[0].answer: got a value beside kind "empty"`},
		{"steps:\n  - {kind: hang, chunk_delay: 1}\n", `steps[0].chunk_delay: got a value beside kind "hang"`},
		{"steps:\n  - {kind: right, delay: -1}\n", `steps[0].delay: got -1s; takes a time that is not negative`},
		{"steps:\n  - {kind: right, delay: soon}\n", `steps[0].delay: got "soon"; takes seconds (1.5) or a Go duration`},
		{"steps:\n  - {kind: right, delay: .inf}\n", `steps[0].delay: got .inf; takes seconds`},
		{"steps:\n  - {kind: right, delay: 1e300}\n", `steps[0].delay: got 1e300; takes seconds`},
		{"steps:\n  - {kind: break, at: items/0}\n", `steps[0].at: got "items/0"; takes a JSON pointer`},
		{"steps:\n  - {kind: break, at: /a~2}\n", `steps[0].at: got "/a~2"; takes a JSON pointer`},
		{"steps:\n  - {kind: cut, after: -1}\n", `steps[0].after: got -1; takes a number of events, 0 or more`},
		{"steps:\n  - {kind: cut, end: soft}\n", `steps[0].end: got "soft"; takes abrupt, clean`},
		{"steps:\n  - {kind: status, error: boom}\n", `steps[0].error: got "boom"; takes one of invalid_request, unsupported_parameter,`},
		{"steps:\n  - {kind: status, error: billing, code: slow_down}\n", `steps[0].code: got a value beside error; takes one of the two`},
		{"steps:\n  - {kind: status, error: billing, body: x}\n", `steps[0].body: got a value beside error or code; takes one of the two`},
		{"steps:\n  - {kind: cut, error: billing}\n", `steps[0].error: got a value beside kind "cut"; takes a value only beside kind status, stream_error, huge`},
		{"steps:\n  - stream_error\n", `steps[0].status: got nothing; takes an HTTP status`},
		{"steps:\n  - {kind: hang, finish: SAFETY}\n", `steps[0].finish: got a value beside kind "hang"`},
		{"steps:\n  - {finish: \"a\\nb\"}\n", `steps[0].finish: got "a\nb"; takes text without control characters`},
		{"steps:\n  - {kind: redirect, status: 200}\n", `steps[0].status: got 200; takes 301, 302, 303, 307 or 308`},
		{"steps:\n  - {kind: huge, size: -1}\n", `steps[0].size: got -1; takes a number from 0 to`},
		{"steps:\n  - {kind: right, size: 5}\n", `steps[0].size: got a value beside kind "right"; takes a value only beside kind huge`},
		{"steps:\n  - {kind: huge, size: 1.5}\n", `steps[0].size: got 1.5; takes a whole number`},
		{"steps:\n  - {cached_tokens: -1}\n", `steps[0].cached_tokens: got -1; takes a number from 0`},
		{"steps:\n  - {reasoning_tokens: 1000000000001}\n", `steps[0].reasoning_tokens: got 1000000000001; takes a number from 0`},
		{"steps:\n  - {kind: status, error: rate_limit, reset_after: -1}\n", `steps[0].reset_after: got -1s; takes a time that is not negative`},
		{"steps:\n  - {kind: refuse, at: /a}\n", `steps[0].at: got a value beside kind "refuse"`},
		{"steps:\n  - {weight: 3}\n", `steps[0].weight: got 3; takes no value in a step, only under weights`},
		{"steps:\n  - 7\n", `p.yaml:2: steps[0]: got 7; takes a kind, or a mapping`},
		{"steps: []\n", `p.yaml:1: steps: got an empty list; takes a list of at least one fault`},
		{"steps: hang\n", `p.yaml:1: steps: got "hang"; takes a list of at least one fault`},
		{"weights:\n  - right\n", `p.yaml:2: weights[0].weight: got 0; takes a number above 0`},
		{"weights:\n  - {weight: -1}\n", `weights[0].weight: got -1; takes a number above 0`},
		{"weights:\n  - {weight: .nan}\n", `weights[0].weight: got NaN; takes a number above 0`},
		{"weights:\n  - {weight: .inf}\n", `weights[0].weight: got +Inf; takes a number above 0`},
		{"weights:\n  - {weight: 1e308}\n  - {weight: 1e308}\n", `weights[1].weight: got 1e+308; takes a number above 0`},
		{"weights:\n  - {weight: much}\n", `weights[0].weight: got "much"; takes a number`},
		{"steps: [right]\nweights: [{weight: 1}]\n", `weights: got steps and weights; takes one of the two`},
		{"repeat: true\n", `p.yaml:1: repeat: got true without steps; takes true only beside steps`},
		{"repeat: often\nsteps: [right]\n", `p.yaml:1: repeat: got "often"; takes true or false`},
		{"seed: -1\n", `p.yaml:1: seed: got -1; takes a whole number, 0 or more`},
		{"steps:\n  - stauts\n", `huge, redirect; the nearest is status`},
		{"steps:\n  - {kind: status, eror: billing}\n", `steps[0].eror: got an unknown field; takes one of after,`},
		{"steps:\n  - {kind: status, error: biling}\n", `; the nearest is billing`},
		{"steps:\n  - {kind: status, code: slowdown}\n", `; the nearest is slow_down`},
		{"answer_time: -1\n", `p.yaml:1: answer_time: got -1s; takes a time that is not negative`},
		{"answer_time: long\n", `p.yaml:1: answer_time: got "long"; takes seconds (1.5) or a Go duration`},
		{"limits: 60\n", `p.yaml:1: limits: got 60; takes a mapping with requests_per_minute, tokens_per_minute or concurrent`},
		{"seed: 1\nlimits: {}\n", `p.yaml:2: limits: got no limit; takes requests_per_minute, tokens_per_minute or concurrent`},
		{"limits:\n  request_per_minute: 60\n", `p.yaml:2: limits.request_per_minute: got an unknown field; takes one of burst, concurrent, headers, hint, queue, requests_per_minute, tokens_per_minute, window; the nearest is requests_per_minute`},
		{"limits:\n  requests_per_minute: 0\n", `p.yaml:2: limits.requests_per_minute: got 0; takes a whole number from 1 to 1000000000, or nothing`},
		{"limits:\n  requests_per_minute: -5\n", `p.yaml:2: limits.requests_per_minute: got -5; takes a whole number from 1 to 1000000000`},
		{"limits:\n  requests_per_minute: 1000000001\n", `p.yaml:2: limits.requests_per_minute: got 1000000001; takes a whole number from 1 to 1000000000`},
		{"limits:\n  requests_per_minute: 0.5\n", `p.yaml:2: limits.requests_per_minute: got 0.5; takes a whole number`},
		{"limits:\n  tokens_per_minute: 1\n  burst: 5\n", `p.yaml:3: limits.burst: got a value without requests_per_minute; takes a value only beside requests_per_minute`},
		{"limits:\n  requests_per_minute: 60\n  window: minute\n  burst: 5\n", `p.yaml:4: limits.burst: got a value beside window minute; takes a value only beside window bucket`},
		{"limits:\n  requests_per_minute: 60\n  window: minutes\n", `p.yaml:3: limits.window: got "minutes"; takes one of bucket, minute; the nearest is minute`},
		{"limits:\n  requests_per_minute: 60\n  hint: noen\n", `p.yaml:3: limits.hint: got "noen"; takes one of exact, seconds, none; the nearest is none`},
		{"limits:\n  requests_per_minute: 60\n  hint: exakt\n", `p.yaml:3: limits.hint: got "exakt"; takes one of exact, seconds, none; the nearest is exact`},
		{"limits:\n  requests_per_minute: 60\n  headers: some\n", `p.yaml:3: limits.headers: got "some"; takes true or false`},
		{"limits:\n  requests_per_minute: 60\n  queue: 3\n", `p.yaml:3: limits.queue: got a value without concurrent; takes a value only beside concurrent`},
		{"limits:\n  concurrent: 4\n  queue: -1\n", `p.yaml:3: limits.queue: got -1; takes a whole number from 0 to 1000000000`},
		{"limits:\n  concurrent: 4\n  hint: none\n", `p.yaml:3: limits.hint: got a value without requests_per_minute or tokens_per_minute`},
		{"limits:\n  concurrent: 4\n  window: minute\n", `p.yaml:3: limits.window: got a value without requests_per_minute or tokens_per_minute`},
		{"limits:\n  concurrent: 4\n  headers: true\n", `p.yaml:3: limits.headers: got a value without requests_per_minute or tokens_per_minute`},
		{"limits: {concurrent: 4}\nlimits: {concurrent: 4}\n", `p.yaml:2: limits: got a second value; takes one`},
		{"- hang\n", `p.yaml:1: the plan: got a list; takes a plan: a mapping`},
		{"hang\n", `p.yaml:1: the plan: got "hang"; takes a plan`},
		{"", `p.yaml: the plan: got 0 YAML documents; takes one`},
		{"# nothing\n", `p.yaml: the plan: got 0 YAML documents; takes one`},
		{"---\n", `p.yaml:2: the plan: got nothing; takes a plan`},
		{"steps: [\n", `p.yaml: the plan is neither YAML nor JSON`},
		{"seed: 1\n---\nseed: 2\n", `p.yaml: the plan: got 2 YAML documents; takes one`},
		{"seed: 1\nseed: 2\n", `p.yaml:2: seed: got a second value; takes one`},
	} {
		plan, err := chaos.ParsePlan("p.yaml", []byte(c.plan))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v, %v\nwant %s", c.plan, plan, err, c.want)
		}
	}
}

func TestABadPlanOfGoValuesIsAnErrorToo(t *testing.T) {
	for _, c := range []struct {
		plan chaos.Plan
		want string
	}{
		{chaos.Plan{Steps: []chaos.Fault{{}, {Kind: "boom"}}}, `chaos: plan: steps[1].kind: got "boom"; takes`},
		{chaos.Plan{Weights: []chaos.Fault{{Weight: math.NaN()}}}, "weights[0].weight: got NaN"},
		{chaos.Plan{Limits: &chaos.Limits{}}, "chaos: plan: limits: got no limit; takes"},
		{chaos.Plan{Limits: &chaos.Limits{Concurrent: -1}}, "chaos: plan: limits.concurrent: got -1; takes"},
		{chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 1, Hint: "x"}}, `chaos: plan: limits.hint: got "x"; takes one of`},
		{chaos.Plan{AnswerTime: -1}, "chaos: plan: answer_time: got -1ns; takes"},
		{chaos.Plan{Repeat: true}, "chaos: plan: repeat: got true without steps"},
	} {
		if s, err := chaos.New(chaos.Config{Plan: &c.plan}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, %v; want an error with %q", s, err, c.want)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	for _, name := range []string{"outage.yaml", "flaky.yaml", "providers.yaml"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"seed": 1, "steps": ["hang", {"kind": "break", "at": "/a~1b"}]}`))
	f.Add([]byte("steps:\n- {kind: stream_error, error: overloaded, after: 0, retry_after: soon, reset_after: 6m}\n- {kind: huge, size: 9, code: RESOURCE_EXHAUSTED}\n- {kind: redirect, status: 308}\n- {finish: SAFETY, cached_tokens: 1, reasoning_tokens: 2}"))
	f.Add([]byte("answer_time: 200ms\nlimits: {requests_per_minute: 600, burst: 5, tokens_per_minute: 90000, window: bucket, concurrent: 4, queue: 0, hint: seconds, headers: false}"))
	f.Add([]byte("limits: &l {requests_per_minute: 1000000000, window: minute, hint: none}\nsteps: [hang]"))
	f.Add([]byte("steps: &a [*a]"))
	f.Add([]byte("steps:\n- &x {kind: cut, after: 0}\n- *x\n- <<: *x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := chaos.ParsePlan("p", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "p:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		if _, err := chaos.New(chaos.Config{Plan: plan}); err != nil {
			t.Errorf("read, but not taken: %v", err)
		}
	})
}

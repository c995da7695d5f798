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
			{Kind: chaos.Right, Tool: "lookup"},
			{Kind: chaos.Status, Error: "rate_limit", Headers: http.Header{"Retry-After": nil}},
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
		{"steps:\n  - kind: status\n    stauts: 500\n", `p.yaml:3: steps[0].stauts: unknown field, did you mean status?`},
		{"stps: []\n", `p.yaml:1: stps: unknown field, did you mean steps?`},
		{"steps:\n  - boom\n", `p.yaml:2: steps[0].kind must be one of right, empty, length, filter, `},
		{"steps:\n  - right\n  - kind: status\n    status: 42\n", `p.yaml:4: steps[1].status must be an HTTP status from 200 to 599, got 42`},
		{"steps:\n  - kind: status\n    status: many\n", `p.yaml:3: steps[0].status must be a whole number, got "many"`},
		{"steps:\n  - kind: status\n    status: 5.5\n", `p.yaml:3: steps[0].status must be a whole number, got 5.5`},
		{"steps:\n  - kind: status\n", `p.yaml:2: steps[0].status must be an HTTP status from 200 to 599 unless error or code is set, got nothing`},
		{"steps:\n  - {kind: status, status: 200}\n", `p.yaml:2: steps[0].status must be at least 400 unless error, code or body is set, got 200`},
		{"steps:\n  - {kind: status, code: nope}\n", `p.yaml:2: steps[0].code must be one of ABORTED, API_KEY_INVALID, `},
		{"steps:\n  - {kind: status, code: html, body: x}\n", `p.yaml:2: steps[0].body must be unset if error or code is set, got both`},
		{"steps:\n  - {kind: status, status: 429, retry_after: 2, retry_after_date: 2}\n", `p.yaml:2: steps[0].retry_after_date must be unset if retry_after is set, got both`},
		{"steps:\n  - {kind: status, status: 429, retry_after: \"a\\nb\"}\n", `p.yaml:2: steps[0].retry_after must be a string without control characters, got "a\nb"`},
		{"steps:\n  - {kind: status, status: 429, retry_after: [2]}\n", `p.yaml:2: steps[0].retry_after must be a number or a non-empty string, which is sent unchanged (for an empty value use headers), got a list`},
		{"steps:\n  - kind: status\n    status: 429\n    headers: {Content-Length: 3}\n", `p.yaml:4: steps[0].headers must be other than Content-Length, Transfer-Encoding and Trailer, got "Content-Length"`},
		{"steps:\n  - {kind: status, status: 429, headers: {'a b': c}}\n", `p.yaml:2: steps[0].headers must be names of letters, digits, hyphens and underscores, got the name "a b"`},
		{"steps:\n  - {kind: status, status: 429, headers: {a: {b: c}}}\n", `p.yaml:2: steps[0].headers.a must be a value or a list of values, got a mapping`},
		{"steps:\n  - kind: hang\n    status: 500\n", `p.yaml:3: steps[0].status must be unset unless kind is redirect, status, stream_error or huge, got kind "hang"`},
		{"steps:\n  - {answer: x, kind: empty}\n", `p.yaml:2: steps[0].answer must be unset unless kind is right, length, filter, refuse, unfinished, prose, fence, stream_error, slow, drip, cut, comments, garbage or huge, got kind "empty"`},
		{"steps:\n  - {kind: hang, chunk_delay: 1}\n", `p.yaml:2: steps[0].chunk_delay must be unset unless kind is right, empty, length, `},
		{"steps:\n  - {kind: right, delay: -1}\n", `p.yaml:2: steps[0].delay must be a time of at least 0, got -1s`},
		{"steps:\n  - {kind: right, delay: soon}\n", `p.yaml:2: steps[0].delay must be a time of at least 0 (seconds, or a duration like "1m30s"), got "soon"`},
		{"steps:\n  - {kind: right, delay: .inf}\n", `p.yaml:2: steps[0].delay must be a time of at least 0 (seconds, or a duration like "1m30s"), got .inf`},
		{"steps:\n  - {kind: right, delay: 1e300}\n", `p.yaml:2: steps[0].delay must be a time of at least 0 (seconds, or a duration like "1m30s"), got 1e300`},
		{"steps:\n  - {kind: break, at: items/0}\n", `p.yaml:2: steps[0].at must be a JSON pointer ("" or such as "/items/0/price"), got "items/0"`},
		{"steps:\n  - {kind: break, at: /a~2}\n", `p.yaml:2: steps[0].at must be a JSON pointer ("" or such as "/items/0/price"), got "/a~2"`},
		{"steps:\n  - {kind: cut, after: -1}\n", `p.yaml:2: steps[0].after must be a whole number of at least 0, got -1`},
		{"steps:\n  - {kind: cut, end: soft}\n", `p.yaml:2: steps[0].end must be abrupt or clean, got "soft"`},
		{"steps:\n  - {kind: status, error: boom}\n", `p.yaml:2: steps[0].error must be one of invalid_request, unsupported_parameter, `},
		{"steps:\n  - {kind: status, error: billing, code: slow_down}\n", `p.yaml:2: steps[0].code must be unset if error is set, got both`},
		{"steps:\n  - {kind: status, error: billing, body: x}\n", `p.yaml:2: steps[0].body must be unset if error or code is set, got both`},
		{"steps:\n  - {kind: cut, error: billing}\n", `p.yaml:2: steps[0].error must be unset unless kind is status, stream_error or huge, got kind "cut"`},
		{"steps:\n  - stream_error\n", `p.yaml:2: steps[0].status must be an HTTP status from 200 to 599 unless error or code is set, got nothing`},
		{"steps:\n  - {kind: hang, finish: SAFETY}\n", `p.yaml:2: steps[0].finish must be unset unless kind is right, empty, length, filter, refuse, unfinished, prose, fence, break, stream_error, slow, drip, cut, comments, garbage or huge, got kind "hang"`},
		{"steps:\n  - {finish: \"a\\nb\"}\n", `p.yaml:2: steps[0].finish must be a string without control characters, got "a\nb"`},
		{"steps:\n  - {kind: redirect, status: 200}\n", `p.yaml:2: steps[0].status must be 301, 302, 303, 307 or 308 if kind is redirect, got 200`},
		{"steps:\n  - {kind: huge, size: -1}\n", `p.yaml:2: steps[0].size must be a whole number from 0 to 1000000000000, got -1`},
		{"steps:\n  - {kind: right, size: 5}\n", `p.yaml:2: steps[0].size must be unset unless kind is huge, got kind "right"`},
		{"steps:\n  - {kind: huge, size: 1.5}\n", `p.yaml:2: steps[0].size must be a whole number, got 1.5`},
		{"steps:\n  - {cached_tokens: -1}\n", `p.yaml:2: steps[0].cached_tokens must be a whole number from 0 to 1000000000000, got -1`},
		{"steps:\n  - {reasoning_tokens: 1000000000001}\n", `p.yaml:2: steps[0].reasoning_tokens must be a whole number from 0 to 1000000000000, got 1000000000001`},
		{"steps:\n  - {kind: status, error: rate_limit, reset_after: -1}\n", `p.yaml:2: steps[0].reset_after must be a time of at least 0, got -1s`},
		{"steps:\n  - {kind: refuse, at: /a}\n", `p.yaml:2: steps[0].at must be unset unless kind is break, got kind "refuse"`},
		{"steps:\n  - {weight: 3}\n", `p.yaml:2: steps[0].weight must be unset in steps, got 3`},
		{"steps:\n  - 7\n", `p.yaml:2: steps[0] must be a kind, or a mapping with the fields of a fault, got 7`},
		{"steps: []\n", `p.yaml:1: steps must be a list of at least one fault, got an empty list`},
		{"steps: hang\n", `p.yaml:1: steps must be a list of at least one fault, got "hang"`},
		{"weights:\n  - {kind: right, weight: 0}\n", `p.yaml:2: weights[0].weight must be a number above 0 (the share of the requests that get this fault), got 0`},
		{"weights:\n  - {weight: -1}\n", `p.yaml:2: weights[0].weight must be a number above 0 (the share of the requests that get this fault), got -1`},
		{"weights:\n  - {weight: .nan}\n", `p.yaml:2: weights[0].weight must be a number above 0 (the share of the requests that get this fault), got NaN`},
		{"weights:\n  - {weight: .inf}\n", `p.yaml:2: weights[0].weight must be a number above 0 (the share of the requests that get this fault), got +Inf`},
		{"weights:\n  - {weight: 1e308}\n  - {weight: 1e308}\n", `p.yaml:3: weights[1].weight must be a number above 0 (the share of the requests that get this fault), got 1e+308`},
		{"weights:\n  - {weight: much}\n", `p.yaml:2: weights[0].weight must be a number, got "much"`},
		{"steps: [right]\nweights: [{weight: 1}]\n", `p.yaml:2: weights must be unset if steps is set, got both`},
		{"repeat: true\n", `p.yaml:1: repeat must be false if steps is unset, got true`},
		{"repeat: often\nsteps: [right]\n", `p.yaml:1: repeat must be true or false, got "often"`},
		{"seed: -1\n", `p.yaml:1: seed must be a whole number of at least 0, got -1`},
		{"steps:\n  - stauts\n", `huge, redirect, got "stauts", did you mean status?`},
		{"steps:\n  - {kind: status, eror: billing}\n", `p.yaml:2: steps[0].eror: unknown field, did you mean error?`},
		{"steps:\n  - {kind: status, error: biling}\n", `got "biling", did you mean billing?`},
		{"steps:\n  - {kind: status, code: slowdown}\n", `got "slowdown", did you mean slow_down?`},
		{"answer_time: -1\n", `p.yaml:1: answer_time must be a time of at least 0, got -1s`},
		{"answer_time: long\n", `p.yaml:1: answer_time must be a time of at least 0 (seconds, or a duration like "1m30s"), got "long"`},
		{"limits: 60\n", `p.yaml:1: limits must be a mapping with requests_per_minute, tokens_per_minute or concurrent, got 60`},
		{"seed: 1\nlimits: {}\n", `p.yaml:2: limits must be a mapping with requests_per_minute, tokens_per_minute or concurrent, got none of them`},
		{"limits:\n  request_per_minute: 60\n", `p.yaml:2: limits.request_per_minute: unknown field, did you mean requests_per_minute?`},
		{"limits:\n  requests_per_minute: 0\n", `p.yaml:2: limits.requests_per_minute must be a whole number from 1 to 1000000000, or unset, got 0`},
		{"limits:\n  requests_per_minute: -5\n", `p.yaml:2: limits.requests_per_minute must be a whole number from 1 to 1000000000, or unset, got -5`},
		{"limits:\n  requests_per_minute: 1000000001\n", `p.yaml:2: limits.requests_per_minute must be a whole number from 1 to 1000000000, or unset, got 1000000001`},
		{"limits:\n  requests_per_minute: 0.5\n", `p.yaml:2: limits.requests_per_minute must be a whole number, got 0.5`},
		{"limits:\n  tokens_per_minute: 1\n  burst: 5\n", `p.yaml:3: limits.burst must be unset unless requests_per_minute is set, got a value`},
		{"limits:\n  requests_per_minute: 60\n  window: minute\n  burst: 5\n", `p.yaml:4: limits.burst must be unset if window is minute, got 5`},
		{"limits:\n  requests_per_minute: 60\n  window: minutes\n", `p.yaml:3: limits.window must be bucket or minute, got "minutes", did you mean minute?`},
		{"limits:\n  requests_per_minute: 60\n  hint: noen\n", `p.yaml:3: limits.hint must be exact, seconds or none, got "noen", did you mean none?`},
		{"limits:\n  requests_per_minute: 60\n  hint: exakt\n", `p.yaml:3: limits.hint must be exact, seconds or none, got "exakt", did you mean exact?`},
		{"limits:\n  requests_per_minute: 60\n  headers: some\n", `p.yaml:3: limits.headers must be true or false, got "some"`},
		{"limits:\n  requests_per_minute: 60\n  queue: 3\n", `p.yaml:3: limits.queue must be unset unless concurrent is set, got a value`},
		{"limits:\n  concurrent: 4\n  queue: -1\n", `p.yaml:3: limits.queue must be a whole number from 0 to 1000000000, got -1`},
		{"limits:\n  concurrent: 4\n  hint: none\n", `p.yaml:3: limits.hint must be unset unless requests_per_minute or tokens_per_minute is set, got a value`},
		{"limits:\n  concurrent: 4\n  window: minute\n", `p.yaml:3: limits.window must be unset unless requests_per_minute or tokens_per_minute is set, got a value`},
		{"limits:\n  concurrent: 4\n  headers: true\n", `p.yaml:3: limits.headers must be unset unless requests_per_minute or tokens_per_minute is set, got a value`},
		{"limits: {concurrent: 4}\nlimits: {concurrent: 4}\n", `p.yaml:2: limits: appears twice, first on line 1`},
		{"- hang\n", `p.yaml:1: the plan must be a mapping with steps, weights or limits, got a list`},
		{"hang\n", `p.yaml:1: the plan must be a mapping with steps, weights or limits, got "hang"`},
		{"", `p.yaml: the plan must be a mapping with steps, weights or limits, got nothing`},
		{"# nothing\n", `p.yaml: the plan must be a mapping with steps, weights or limits, got nothing`},
		{"steps:\n\t- hang\n", `p.yaml:2: the line is indented with a tab: use spaces`},
		{"{\"steps\": [\"hang\"]} x\n", `p.yaml:1: must be one JSON value, got more after its end: "x"`},
		{"weights: {rihgt: 1}\n", `p.yaml:1: weights[0].kind must be one of `},
		{"weights:\n  right: 1\n  hang: 0\n", `p.yaml:3: weights[1].weight must be a number above 0`},
		{"weights: {right: often}\n", `p.yaml:1: weights.right must be a number, got "often"`},
		{"---\n", `p.yaml:2: the plan must be a mapping with steps, weights or limits, got nothing`},
		{"steps: [\n", `p.yaml:1: not YAML: a list in brackets or a mapping in braces is not closed`},
		{"seed: 1\n---\nseed: 2\n", `p.yaml:2: must be one document, got more than one`},
		{"seed: 1\nseed: 2\n", `p.yaml:2: seed: appears twice, first on line 1`},
	} {
		plan, err := chaos.ParsePlan("p.yaml", []byte(c.plan))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v, %v\nwant %s", c.plan, plan, err, c.want)
		}
	}
}

func TestAWeightMayBeLeftOut(t *testing.T) {
	want := []chaos.Fault{{Kind: chaos.Right, Weight: 9}, {Kind: chaos.Reset, Weight: 1}}
	for _, text := range []string{
		"weights: {right: 9, reset: 1}", "weights:\n  - {kind: right, weight: 9}\n  - reset\n", "weights:\n  - {kind: right, weight: 9}\n  - {kind: reset}\n",
		`{"weights": {"right": 9, "reset": 1}}`,
	} {
		plan, err := chaos.ParsePlan("p.yaml", []byte(text))
		if err != nil || !reflect.DeepEqual(plan.Weights, want) {
			t.Errorf("%s: %+v, %v", text, plan, err)
		}
	}
}

func TestABadPlanOfGoValuesIsAnErrorToo(t *testing.T) {
	for _, c := range []struct {
		plan chaos.Plan
		want string
	}{
		{chaos.Plan{Steps: []chaos.Fault{{}, {Kind: "boom"}}}, `huge, redirect, got "boom"`},
		{chaos.Plan{Weights: []chaos.Fault{{Weight: math.NaN()}}}, "chaos: plan: weights[0].weight must be a number above 0 (the share of the requests that get this fault), got NaN"},
		{chaos.Plan{Limits: &chaos.Limits{}}, "chaos: plan: limits must be a mapping with requests_per_minute, tokens_per_minute or concurrent, got none of them"},
		{chaos.Plan{Limits: &chaos.Limits{Concurrent: -1}}, "chaos: plan: limits.concurrent must be a whole number from 1 to 1000000000, or unset, got -1"},
		{chaos.Plan{Limits: &chaos.Limits{RequestsPerMinute: 1, Hint: "x"}}, `chaos: plan: limits.hint must be exact, seconds or none, got "x"`},
		{chaos.Plan{AnswerTime: -1}, "chaos: plan: answer_time must be a time of at least 0, got -1ns"},
		{chaos.Plan{Repeat: true}, "chaos: plan: repeat must be false if steps is unset, got true"},
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

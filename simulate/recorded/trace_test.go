package recorded

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// story is a model whose requests take a second and end as its letters say: o for an answer,
// x for a server error, r for a rate limit.
func story(t *testing.T, letters string) llm.Model {
	t.Helper()
	return llm.Func("acme/one", func(context.Context, *llm.Request) (*llm.Response, error) {
		time.Sleep(time.Second)
		letter := letters[0]
		letters = letters[1:]
		switch letter {
		case 'x':
			return nil, &failure.Error{Kind: failure.Transient, Status: 503, Message: "down"}
		case 'r':
			return nil, &failure.Error{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: 2 * time.Second}
		}
		r := llm.Reply("fine")
		r.Usage = llm.Usage{InputTokens: 70, OutputTokens: 30}
		return r, nil
	})
}

// told returns the requests as texts, with their times from the first.
func told(requests []request) string {
	var all []string
	for _, r := range requests {
		text := r.at.Sub(requests[0].at).Round(time.Millisecond).String() + " " + r.took.String()
		if r.first {
			text += " call"
		}
		switch {
		case r.wrong:
			text += " wrong"
		case r.failed != nil:
			text += " " + r.failed.Kind.String()
			if r.failed.Told {
				text += " " + r.failed.RetryAfter.String()
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// What the library logs is read back: events and traces, each request once.
func TestTheLogOfARealCallIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&b, nil))
		registry, err := endpoint.NewRegistry(endpoint.Config{Rand: func() uint64 { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		cfg := llmcall.RetryConfig{
			InitialDelay: time.Second, UseJitter: new(false), Endpoints: registry,
			Observer: func(ctx context.Context, e llmcall.Event) context.Context {
				log.Info("event", "event", e)
				return ctx
			},
		}
		log.Info("another line", "duration", 3)
		model := story(t, "xoro")
		for range 2 {
			result, err := llmcall.RetryWithValidation(t.Context(), model, llm.Prompt("Hi"), nil, cfg)
			if err != nil {
				t.Fatal(err)
			}
			log.Info("done", "trace", result.Trace)
		}
		requests, err := readTrace("log", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		const want = "0s 1s call transient; 2s 1s; 3s 1s call rate_limited 2s; 6s 1s"
		if got := told(requests); got != want {
			t.Errorf("got  %s\nwant %s\n%s", got, want, b.String())
		}
		if r := requests[1]; r.prompt != 70 || r.answer != 30 || r.model != "acme/one" {
			t.Errorf("%+v", r)
		}
	})
}

func TestWhatATraceSays(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"documents of calls, one after the other": {`
{
  "answer": "x",
  "attempts": [
    {"number": 1, "outcome": "failed", "kind": "overloaded", "error": "a/b: overloaded (HTTP 529): busy", "duration_ms": 200, "delay_ms": 0},
    {"number": 2, "outcome": "invalid", "kind": "invalid_answer", "error": "x", "duration_ms": 800, "delay_ms": 1000}
  ]
}
{"answer": "y", "attempts": [{"number": 1, "outcome": "valid", "duration_ms": 500}]}`,
			"0s 200ms call overloaded; 1.2s 800ms wrong; 2s 500ms call"},
		"documents with their time": {`{"started": "2026-11-26T10:00:00Z", "attempts": [{"number": 1, "outcome": "valid", "duration_ms": 500}]}
{"started": "2026-11-26T10:00:30Z", "attempts": [{"number": 1, "outcome": "cut_off", "kind": "cut_off", "error": "", "duration_ms": 500}]}`,
			"0s 500ms call; 30s 500ms call wrong"},
		"a call that no request was made for": {`{"attempts": []}
{"attempts": [{"number": 1, "outcome": "valid", "duration_ms": 500}]}`, "0s 500ms call"},
		"lines of one's own": {`{"time": 1764151200, "duration_ms": 250}
{"time": 1764151201.5, "duration_ms": 10, "status": 429, "retry_after": 3}
{"ts": 1764151202000, "latency": "1.5s", "status": 200}
{"timestamp": "2025-11-26T10:00:03Z", "took": 2, "error": "connection reset"}
{"start": "2025-11-26T10:00:04Z", "duration": 2, "kind": "quota_exhausted", "error": "no money (HTTP 402)"}`,
			"0s 250ms call; 1.5s 10ms call rate_limited 3s; 2s 1.5s call; 3s 2s call transient; 4s 2s call quota_exhausted"},
		"the log of a program": {`{"time": "2026-11-26T10:00:00Z", "msg": "GET /", "duration": 0.1, "status": 500}
{"time": "2026-11-26T10:00:01Z", "call": {"a": {"number": 1, "outcome": "valid", "start": "2026-11-26T10:00:00Z", "duration": 1000000000}}}`,
			"0s 1s call"},
		"a trace, in the order of its attempts": {`{"trace": {"10": {"number": 10, "outcome": "valid", "start": "2026-11-26T10:00:10Z"}, "9": {"number": 9, "outcome": "failed", "kind": "transient", "start": "2026-11-26T10:00:08Z"}}}`,
			"0s 0s transient; 2s 0s"},
		"a byte order mark": {"\ufeff" + `{"time": 1764151200, "duration_ms": 250}`, "0s 250ms call"},
	} {
		requests, err := readTrace("trace", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := told(requests); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestWhatIsWrongWithATraceIsSaid(t *testing.T) {
	for text, want := range map[string][]string{
		"":                    {"night.jsonl has no request", "duration_ms"},
		"{}\n\n3":             {"night.jsonl:3: must be an object, got 3"},
		"{}\n{\"a\": 1,\n\n}": {"night.jsonl:2: is not JSON"},
		`{"row": 1, "answer": "x", "attempts": 2, "hash": "0123456789abcdef"}`: {"night.jsonl:1: is of the output of llmcall batch", "--record DIR"},
		"not a log\n":       {"night.jsonl:1: is not JSON"},
		`{"attempts": [3]}`: {`night.jsonl:1: attempts[0]: must be an attempt`},
		`{"attempts": [{"number": 1, "outcome": "vlid"}]}`:                     {"outcome must be one of valid", `"vlid"`},
		`{"attempts": [{"number": 1, "outcome": "valid", "duration_ms": -1}]}`: {"duration_ms must be a duration from 0 to 24 h, got -1"},
		`{"attempts": [{"number": 1, "outcome": "failed", "kind": "x"}]}`:      {`"x"`, "transient"},
		`{"x": {"number": 1, "outcome": "valid"}}`:                             {`"start"`},
		`{"time": "yesterday", "duration_ms": 3}`:                              {`time must be a time as in RFC 3339, or a Unix time, got "yesterday"`},
		`{"time": 1764151200, "duration_ms": 3, "status": "bad"}`:              {`status must be a whole number, got "bad"`},
		`{"started": "2026-11-26T10:00:00Z", "attempts": [{"number": 1, "outcome": "valid"}]}{"attempts": [{"number": 1, "outcome": "valid"}]}`: {"1 request has a time, and the others have none"},
	} {
		_, err := readTrace("night.jsonl", []byte(text))
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: no %q in %v", text, part, err)
			}
		}
	}
}

// A long log is read in a time that grows with its length, and not with its square.
func TestALongTraceIsReadAtOnce(t *testing.T) {
	const lines = 200_000
	requests, err := readTrace("long", bytes.Repeat([]byte(`{"time": 1764151200, "duration_ms": 250, "status": 200}`+"\n"), lines))
	if err != nil || len(requests) != lines {
		t.Errorf("%d requests, %v", len(requests), err)
	}
}

// Whatever a file holds: there are requests, or an error; and what was read is a scenario that
// can be simulated, or an error.
func FuzzTrace(f *testing.F) {
	f.Add([]byte(`{"time": 1764151200, "duration_ms": 250, "status": 429}`))
	f.Add([]byte(`{"attempts": [{"number": 1, "outcome": "valid", "duration_ms": 500, "usage": {"input_tokens": 3}}]}`))
	f.Add([]byte(`{"e": {"number": 1, "outcome": "failed", "kind": "rate_limited", "error": "(HTTP 429, come back in 3s)", "start": "2026-11-26T10:00:00Z", "duration": 5}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		requests, err := readTrace("f", data)
		if (err == nil) != (len(requests) > 0) {
			t.Fatalf("%d requests, %v", len(requests), err)
		}
		if err != nil {
			return
		}
		s, err := scenario("f", requests)
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
	})
}

// The JSON of an attempt is what the command prints.
func TestTheJSONOfAnAttemptIsRead(t *testing.T) {
	text, err := json.Marshal(llmcall.Attempt{
		Number: 2, Model: "a/b", Outcome: llmcall.OutcomeFailed, Kind: failure.RateLimited, Duration: 1500 * time.Millisecond, Delay: time.Second,
		Error: (&failure.Error{Model: "a/b", Kind: failure.RateLimited, Status: 429, Code: "rate_limit_exceeded", Told: true, RetryAfter: 7 * time.Second, Message: "slow"}).Error(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	a, err := attemptOf(value)
	if err != nil {
		t.Fatal(err)
	}
	if f := a.failed; a.took != 1500*time.Millisecond || a.delay != time.Second || a.first || f.Kind != failure.RateLimited || f.Status != 429 || f.Code != "rate_limit_exceeded" || f.RetryAfter != 7*time.Second || !f.Told {
		t.Errorf("%+v, %+v", a, a.failed)
	}
}

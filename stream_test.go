package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// streamer is a player whose answers come in pieces: each stream plays one list
// of texts, parts, finishes, usages, waits and errors. Behind the last list its
// answer is "good".
type streamer struct {
	*player
	streams [][]any
	closed  int // streams that came to their end, or were left
}

func stream(t *testing.T, streams ...[]any) *streamer {
	return &streamer{player: play(t), streams: streams}
}

// growth is a chunk that shows only that the answer grows.
const growth = grown(true)

type grown bool

func (m *streamer) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		defer func() { m.closed++ }()
		pieces := []any{"go", "od", llm.FinishStop}
		if n := m.calls(); n < len(m.streams) {
			pieces = m.streams[n]
		}
		m.at, m.asked = append(m.at, time.Since(m.start)), append(m.asked, req)
		for _, p := range pieces {
			var c llm.Chunk
			switch p := p.(type) {
			case time.Duration:
				select {
				case <-time.After(p):
					continue
				case <-ctx.Done():
					yield(llm.Chunk{}, fmt.Errorf("sdk: %w", ctx.Err()))
					return
				}
			case error:
				yield(llm.Chunk{}, p)
				return
			case string:
				c.Text = p
			case llm.Part:
				c.Part = p
			case llm.Finish:
				c.Finish = p
			case llm.Usage:
				c.Usage = &p
			case grown:
				c.Progress = true
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// heard is all that a stream yielded, as text: pieces, "|" for a restart.
func heard(seq iter.Seq2[llmcall.Piece, error]) (text string, result *llmcall.Result, err error) {
	var b strings.Builder
	for p, e := range seq {
		if p.Restart {
			b.WriteString("|")
		}
		if call, ok := p.Part.(llm.ToolCall); ok {
			b.WriteString("<" + call.Name + ">")
		}
		b.WriteString(p.Text)
		if p.Result != nil {
			result = p.Result
		}
		if e != nil {
			err = e
		}
	}
	return b.String(), result, err
}

var (
	broken = &failure.Error{Kind: failure.Transient, Message: "broken"}
	start  = func(pieces ...any) []any { return pieces }
)

func TestAStreamIsHandedOnAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stream(t, start("g", s, "oo", llm.Usage{InputTokens: 3}, s, "d", llm.FinishStop, llm.Usage{InputTokens: 3, OutputTokens: 4}))
		var at []time.Duration
		var texts []string
		var result *llmcall.Result
		for p, err := range llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{})) {
			if err != nil {
				t.Fatal(err)
			}
			at, texts, result = append(at, time.Since(m.start)), append(texts, p.Text), p.Result
		}
		if !slices.Equal(texts, []string{"g", "oo", "d", ""}) || !slices.Equal(at, []time.Duration{0, s, 2 * s, 2 * s}) {
			t.Errorf("%q at %v", texts, at)
		}
		if result == nil || result.Text != "good" || result.Usage.OutputTokens != 4 || len(result.Attempts) != 1 || result.Attempts[0].Outcome != llmcall.OutcomeValid {
			t.Errorf("result %+v", result)
		}
	})
}

func TestWhatAStreamDoesWhen(t *testing.T) {
	for name, c := range map[string]struct {
		streams [][]any
		cfg     llmcall.RetryConfig
		heard   string
		trace   []string
		reason  llmcall.Reason
	}{
		"it fails before its first piece": {[][]any{start(broken)}, llmcall.RetryConfig{}, "good",
			[]string{"0s basic failed transient", "1s basic valid, after 1s backoff"}, ""},
		"a rate limit comes before the first piece": {[][]any{start(&failure.Error{Kind: failure.RateLimited, RetryAfter: 3 * s, Told: true})}, llmcall.RetryConfig{}, "good",
			[]string{"0s basic failed rate_limited", "3s basic valid, after 3s rate_limit"}, ""},
		"nothing visible came before it broke": {[][]any{start("", llm.Usage{InputTokens: 1}, broken)}, llmcall.RetryConfig{}, "good",
			[]string{"0s basic failed transient", "1s basic valid, after 1s backoff"}, ""},
		"it breaks behind its first piece": {[][]any{start("go", broken)}, llmcall.RetryConfig{}, "go",
			[]string{"0s basic failed transient"}, llmcall.ReasonProviderFailed},
		"it breaks, and may begin anew": {[][]any{start("bad", broken), start("ba", "d", broken)}, llmcall.RetryConfig{RestartStreams: true}, "bad|bad|good",
			[]string{"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s basic valid, after 2s backoff"}, ""},
		"it fails between two that came to something": {[][]any{start("bad", broken), start(broken)}, llmcall.RetryConfig{RestartStreams: true}, "bad|good",
			[]string{"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s basic valid, after 2s backoff"}, ""},
		"its answer is wrong": {[][]any{start("bad", llm.FinishStop)}, llmcall.RetryConfig{}, "bad",
			[]string{"0s basic invalid invalid_answer"}, llmcall.ReasonNoValidAnswer},
		"its answer is wrong, and it may begin anew": {[][]any{start("bad", llm.FinishStop)}, llmcall.RetryConfig{RestartStreams: true}, "bad|good",
			[]string{"0s basic invalid invalid_answer", "0s basic valid"}, ""},
		"it ends without its terminal event": {[][]any{start("good")}, llmcall.RetryConfig{}, "good",
			[]string{"0s basic failed transient"}, llmcall.ReasonProviderFailed},
		"it ends so before it begins": {[][]any{start()}, llmcall.RetryConfig{}, "good",
			[]string{"0s basic failed transient", "1s basic valid, after 1s backoff"}, ""},
		"it is cut off at the token limit": {[][]any{start("goo", llm.FinishLength)}, llmcall.RetryConfig{RestartStreams: true}, "goo|good",
			[]string{"0s basic cut_off cut_off", "0s basic valid"}, ""},
		"nothing comes": {[][]any{start(time.Hour)}, llmcall.RetryConfig{FirstPieceTimeout: 5 * s}, "good",
			[]string{"0s basic failed attempt_timeout", "6s basic valid, after 1s backoff"}, ""},
		"heartbeats come alone": {[][]any{start("", 4*s, "", 4*s, "", 4*s, "good", llm.FinishStop)}, llmcall.RetryConfig{FirstPieceTimeout: 10 * s}, "good",
			[]string{"0s basic failed attempt_timeout", "11s basic valid, after 1s backoff"}, ""},
		"its first piece takes long": {[][]any{start(time.Hour, "good", llm.FinishStop)}, llmcall.RetryConfig{IdleTimeout: 5 * s}, "good",
			[]string{"0s basic valid"}, ""},
		"what grows is not shown yet": {[][]any{start(4*s, growth, 4*s, growth, 4*s, "", 4*s, growth, 4*s, "good", llm.FinishStop)},
			llmcall.RetryConfig{FirstPieceTimeout: 5 * s, IdleTimeout: 9 * s}, "good", []string{"0s basic valid"}, ""},
		"heartbeats come between its pieces": {[][]any{start("g", 4*s, "", 4*s, "", 4*s, "ood", llm.FinishStop)}, llmcall.RetryConfig{IdleTimeout: 10 * s}, "g",
			[]string{"0s basic failed attempt_timeout"}, llmcall.ReasonProviderFailed},
		"nothing comes any more": {[][]any{start("g", 4*s, "o", 4*s, "o", time.Hour)}, llmcall.RetryConfig{IdleTimeout: 5 * s}, "goo",
			[]string{"0s basic failed attempt_timeout"}, llmcall.ReasonProviderFailed},
		"it takes too long": {[][]any{start("g", 4*s, "o", 4*s, "o", time.Hour)}, llmcall.RetryConfig{AttemptTimeout: 9 * s}, "goo",
			[]string{"0s basic failed attempt_timeout"}, llmcall.ReasonProviderFailed},
		"the call is out of time": {[][]any{start("g", time.Hour)}, llmcall.RetryConfig{MaxTime: 9 * s, IdleTimeout: time.Minute}, "g",
			[]string{"0s basic failed deadline_exceeded"}, llmcall.ReasonOutOfTime},
		"it calls a tool": {[][]any{start("good", calls("1", "look", "{}"), llm.FinishToolCall)}, llmcall.RetryConfig{}, "good<look>",
			[]string{"0s basic valid"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stream(t, c.streams...)
				text, result, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(c.cfg)))
				if text != c.heard || reasonOf(t, err) != c.reason || (result == nil) != (c.reason != "") {
					t.Errorf("heard %q, %v; want %q, %q", text, err, c.heard, c.reason)
				}
				if got := lines(traceOf(result, err), m.start); !slices.Equal(got, c.trace) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.trace, "\n"))
				}
				if m.closed != m.calls() {
					t.Errorf("%d of %d streams are closed", m.closed, m.calls())
				}
			})
		})
	}
}

// The permit ends when the stream does, with what became of it.
func TestTheBreakerIsToldHowAStreamEnds(t *testing.T) {
	for name, c := range map[string]struct {
		stream []any
		state  breaker.State
	}{
		"broken behind its first piece":    {start("go", broken), breaker.Open},
		"without its terminal event":       {start("go"), breaker.Open},
		"whole":                            {start("good", llm.FinishStop), breaker.Closed},
		"wrong: the provider did its work": {start("bad", llm.FinishStop), breaker.Closed},
	} {
		registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
		m := stream(t, c.stream)
		for range llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry})) {
			if got := registry.Get(m.Name()).State(); got != breaker.Closed && m.closed == 0 {
				t.Errorf("%s: %v before its end", name, got)
			}
		}
		if got := registry.Get(m.Name()).State(); got != c.state {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A stream that stalls is the provider's doing, though it is we who end it.
func TestTheBreakerCountsAStreamThatStalls(t *testing.T) {
	for name, pieces := range map[string][]any{
		"before its first piece": start(time.Hour),
		"behind its first piece": start("go", time.Hour),
	} {
		synctest.Test(t, func(t *testing.T) {
			registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
			m := stream(t, pieces)
			_, _, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, FirstPieceTimeout: 5 * s, IdleTimeout: 5 * s})))
			if got := registry.Get(m.Name()).State(); got != breaker.Open {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		})
	}
}

// To leave the loop is the caller's doing: it ends the call, and is no failure to
// the breaker; a panic in the loop goes on.
func TestACallerThatLeavesAStream(t *testing.T) {
	registry := newRegistry(t, breaker.Config{FailureThreshold: 1})
	cfg := exact(llmcall.RetryConfig{EnableCircuitBreaker: true, CircuitBreakerConfig: registry.settings(), Endpoints: registry.Registry, RestartStreams: true})
	boom := errors.New("boom")
	for name, leave := range map[string]func(seq iter.Seq2[llmcall.Piece, error]){
		"at the first piece": func(seq iter.Seq2[llmcall.Piece, error]) {
			for range seq {
				break
			}
		},
		"at a restart": func(seq iter.Seq2[llmcall.Piece, error]) {
			for p := range seq {
				if p.Restart {
					break
				}
			}
		},
		"by a panic": func(seq iter.Seq2[llmcall.Piece, error]) {
			defer func() {
				if v := recover(); v != boom {
					t.Errorf("panicked with %v", v)
				}
			}()
			for range seq {
				panic(boom)
			}
		},
		"at the end": func(seq iter.Seq2[llmcall.Piece, error]) {
			for p := range seq {
				if p.Result != nil {
					break
				}
			}
		},
	} {
		m := stream(t, start("b", "ad", llm.FinishStop))
		leave(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, cfg))
		if m.closed != m.calls() || registry.Get(m.Name()).State() != breaker.Closed {
			t.Errorf("%s: %d of %d streams closed, circuit %v", name, m.closed, m.calls(), registry.Get(m.Name()).State())
		}
	}
	// And its place is free again.
	if text, _, err := heard(llmcall.Stream(t.Context(), stream(t), llm.Prompt("x"), checked, cfg)); text != "good" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAModelThatDoesNotStreamAnswersInOnePieceOnceItIsRight(t *testing.T) {
	m := play(t, say("bad"), say("worse"))
	text, result, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{})))
	if text != "good" || err != nil || len(result.Attempts) != 3 {
		t.Errorf("%q, %v, %+v", text, err, result)
	}
}

func TestAToolThatIsRunWithinAStreamLeavesNoTraceInIt(t *testing.T) {
	m := stream(t, start(broken))
	m.steps = []step{nil, wants(llm.Text("let me look"), calls("1", "search", "{}")), say("good")}
	cfg := exact(llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, Tool: &llmcall.Tool{
		Tool: llm.Tool{Name: "search"}, Run: func(context.Context, json.RawMessage) (string, error) { return "found", nil },
	}, InitialDelay: time.Nanosecond})
	text, _, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), checked, cfg))
	if text != "good" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAStreamThatCannotBegin(t *testing.T) {
	text, _, err := heard(llmcall.Stream(t.Context(), stream(t), llm.Prompt("x"), []validate.Strategy{nil}, llmcall.RetryConfig{}))
	if _, ok := errors.AsType[*llmcall.ConfigError](err); !ok || text != "" {
		t.Errorf("%q, %v", text, err)
	}
	// Each range over it is a call of its own.
	seq := llmcall.Stream(t.Context(), stream(t), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
	for range 2 {
		if text, _, err := heard(seq); text != "good" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// What can no longer become valid is not waited for.
func TestAStreamStopsEarlyWhenItCanNoLongerPass(t *testing.T) {
	for name, c := range map[string]struct {
		check  validate.Strategy
		stream []any
		heard  string
		says   string
	}{
		"no JSON any more": {validate.JSON(), start(`{"a": `, `oops`, time.Hour, llm.FinishStop), `{"a": `, "oops"},
		"too long":         {validate.Must(validate.Length(0, 5)), start("abc", "def", time.Hour, llm.FinishStop), "abc", "too many characters"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := stream(t, c.stream)
			text, _, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), []validate.Strategy{c.check}, exact(llmcall.RetryConfig{})))
			if text != c.heard || reasonOf(t, err) != llmcall.ReasonNoValidAnswer || !strings.Contains(err.Error(), c.says) || time.Since(m.start) != 0 {
				t.Errorf("%s: heard %q, %v after %v", name, text, err, time.Since(m.start))
			}
			if m.closed != 1 {
				t.Errorf("%s: the stream is open", name)
			}
		})
	}
	// Before anything was handed on, no restart is needed.
	if text, r, err := heard(llmcall.Stream(t.Context(), stream(t, start("Sure! Here", time.Hour), start("{}", llm.FinishStop)),
		llm.Prompt("x"), []validate.Strategy{validate.JSON()}, exact(llmcall.RetryConfig{}))); text != "{}" || err != nil || len(r.Attempts) != 2 {
		t.Errorf("heard %q, %v", text, err)
	}
	// And it is mended like any wrong answer.
	synctest.Test(t, func(t *testing.T) {
		m := stream(t, start(`{"a": `, `oops`, time.Hour), start(`{"a": 1}`, llm.FinishStop))
		text, r, err := heard(llmcall.Stream(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.JSON()}, exact(llmcall.RetryConfig{RestartStreams: true})))
		if text != `{"a": |{"a": 1}` || err != nil || len(r.Attempts) != 2 || r.Attempts[0].Outcome != llmcall.OutcomeInvalid {
			t.Errorf("heard %q, %v", text, err)
		}
		messages := m.last().Messages
		if len(messages) != 3 || messages[1].Text() != `{"a": oops` || !strings.Contains(messages[2].Text(), "oops") {
			t.Errorf("asked again with %v", messages)
		}
	})
}

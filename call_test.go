package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// Each row is a trace: what the model does, and when each attempt began, how it
// ended and what was waited for before it. Both forms of a call play it.
func TestWhatHappensWhen(t *testing.T) {
	patient := failure.Decisions()
	patient[failure.InvalidRequest].Again = failure.Backoff
	const (
		failed  = llmcall.ReasonProviderFailed
		limited = llmcall.ReasonRateLimited
		invalid = llmcall.ReasonNoValidAnswer
	)
	for _, c := range []struct {
		name   string
		cfg    llmcall.RetryConfig
		steps  []step
		trace  []string
		reason llmcall.Reason
	}{
		{"an answer at once", llmcall.RetryConfig{}, nil, []string{"0s basic valid"}, ""},

		// Failures of the provider.
		{"two failures, then an answer", llmcall.RetryConfig{}, []step{down, down}, []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s basic valid, after 2s backoff",
		}, ""},
		{"no wait after the last attempt", llmcall.RetryConfig{}, times(9, down), []string{
			"0s basic failed transient", "1s basic failed transient, after 1s backoff", "3s basic failed transient, after 2s backoff",
		}, failed},
		{"one attempt is no retry", llmcall.RetryConfig{MaxAttempts: 1}, times(9, down), []string{"0s basic failed transient"}, failed},
		{"the delay grows up to its maximum", llmcall.RetryConfig{MaxAttempts: 5, InitialDelay: 2 * s, BackoffFactor: 3, MaxDelay: 10 * s}, times(4, down), []string{
			"0s basic failed transient", "2s basic failed transient, after 2s backoff", "8s basic failed transient, after 6s backoff",
			"18s basic failed transient, after 10s backoff", "28s basic valid, after 10s backoff",
		}, ""},
		{"an error of no known kind is retried", llmcall.RetryConfig{}, []step{fails(errors.New("?"))}, []string{
			"0s basic failed unknown", "1s basic valid, after 1s backoff",
		}, ""},
		{"neither an answer nor an error is retried", llmcall.RetryConfig{}, []step{answers(nil)}, []string{
			"0s basic failed transient", "1s basic valid, after 1s backoff",
		}, ""},
		{"a deadline of the model's own is not the caller's", llmcall.RetryConfig{}, []step{fails(fmt.Errorf("pool: %w", context.DeadlineExceeded))}, []string{
			"0s basic failed transient", "1s basic valid, after 1s backoff",
		}, ""},
		{"an overloaded provider is left alone longer", llmcall.RetryConfig{}, times(2, kind(failure.Overloaded)), []string{
			"0s basic failed overloaded", "2s basic failed overloaded, after 2s backoff", "6s basic valid, after 4s backoff",
		}, ""},
		{"a bad request is not sent again", llmcall.RetryConfig{}, times(9, kind(failure.InvalidRequest)), []string{"0s basic failed invalid_request"}, failed},
		{"nor one with a bad key", llmcall.RetryConfig{}, times(9, kind(failure.Unauthorized)), []string{"0s basic failed unauthorized"}, failed},
		{"nor one for a model that is not there", llmcall.RetryConfig{}, times(9, kind(failure.ModelNotFound)), []string{"0s basic failed model_not_found"}, failed},
		{"nor one that is too long", llmcall.RetryConfig{}, times(9, kind(failure.ContextTooLong)), []string{"0s basic failed context_too_long"}, failed},
		{"nor one without money", llmcall.RetryConfig{}, times(9, told(failure.QuotaExhausted, s)), []string{"0s basic failed quota_exhausted"}, failed},
		{"a row of the table can be changed", llmcall.RetryConfig{Decisions: &patient}, []step{kind(failure.InvalidRequest)}, []string{
			"0s basic failed invalid_request", "1s basic valid, after 1s backoff",
		}, ""},
		{"an open circuit in the model itself", llmcall.RetryConfig{}, times(9, kind(failure.CircuitOpen)), []string{"0s basic failed circuit_open"}, llmcall.ReasonCircuitOpen},

		// What a provider asks for.
		{"Retry-After above the backoff", llmcall.RetryConfig{}, []step{told(failure.Transient, 5*s)}, []string{
			"0s basic failed transient", "5s basic valid, after 5s retry_after",
		}, ""},
		{"Retry-After below the backoff is not stretched by it", llmcall.RetryConfig{}, []step{told(failure.Transient, s/2)}, []string{
			"0s basic failed transient", "500ms basic valid, after 500ms retry_after",
		}, ""},
		{"Retry-After that is too long is refused, never shortened", llmcall.RetryConfig{MaxRetryAfter: 10 * s}, []step{told(failure.RateLimited, 11*s)}, []string{
			"0s basic failed rate_limited",
		}, limited},
		{"waits for a rate limit use up no attempt", llmcall.RetryConfig{MaxAttempts: 2}, append(times(3, told(failure.RateLimited, 10*s)), down), []string{
			"0s basic failed rate_limited", "10s basic failed rate_limited, after 10s rate_limit", "20s basic failed rate_limited, after 10s rate_limit",
			"30s basic failed transient, after 10s rate_limit", "31s basic valid, after 1s backoff",
		}, ""},
		{"a rate limit without a time does", llmcall.RetryConfig{}, times(9, kind(failure.RateLimited)), []string{
			"0s basic failed rate_limited", "1s basic failed rate_limited, after 1s backoff", "3s basic failed rate_limited, after 2s backoff",
		}, limited},
		{"one that says 0 is asked again after 100 ms", llmcall.RetryConfig{Backoff: backoff.Constant{}, MaxRateLimitWait: s / 4}, times(99, told(failure.RateLimited, 0)), []string{
			"0s basic failed rate_limited", "100ms basic failed rate_limited, after 100ms pace", "200ms basic failed rate_limited, after 100ms pace",
		}, limited},
		{"rate limits are waited for so long and no longer", llmcall.RetryConfig{MaxRateLimitWait: 25 * s}, times(9, told(failure.RateLimited, 10*s)), []string{
			"0s basic failed rate_limited", "10s basic failed rate_limited, after 10s rate_limit", "20s basic failed rate_limited, after 10s rate_limit",
		}, limited},

		// Wrong answers.
		{"a wrong answer is asked again at once", llmcall.RetryConfig{}, []step{say("a"), say("b"), say("c"), say("d")}, []string{
			"0s basic invalid invalid_answer", "0s basic invalid invalid_answer", "0s basic invalid invalid_answer",
		}, invalid},
		{"or after the backoff, if that is wished", llmcall.RetryConfig{BackoffOnInvalidAnswer: true}, []step{say("a"), say("b")}, []string{
			"0s basic invalid invalid_answer", "1s basic invalid invalid_answer, after 1s backoff", "3s basic valid, after 2s backoff",
		}, ""},
		{"failures and wrong answers share one count", llmcall.RetryConfig{MaxAttempts: 4}, []step{say("a"), down, say("b"), down}, []string{
			"0s basic invalid invalid_answer", "0s basic failed transient", "1s basic invalid invalid_answer, after 1s backoff", "1s basic failed transient",
		}, failed},
		{"wrong answers do not lengthen the backoff", llmcall.RetryConfig{MaxAttempts: 5}, []step{say("a"), down, say("b"), down}, []string{
			"0s basic invalid invalid_answer", "0s basic failed transient", "1s basic invalid invalid_answer, after 1s backoff",
			"1s basic failed transient", "3s basic valid, after 2s backoff",
		}, ""},
		{"an answer that was cut off is asked for once more", llmcall.RetryConfig{}, []step{finish(llm.FinishLength, "go")}, []string{
			"0s basic cut_off cut_off", "0s basic valid",
		}, ""},
		{"and not twice", llmcall.RetryConfig{MaxAttempts: 9}, times(9, finish(llm.FinishLength, "go")), []string{
			"0s basic cut_off cut_off", "0s basic cut_off cut_off",
		}, invalid},
		{"an answer that came to no end is cut off too", llmcall.RetryConfig{}, []step{finish(llm.FinishNone, "good")}, []string{
			"0s basic cut_off cut_off", "0s basic valid",
		}, ""},
		{"an answer that was withheld", llmcall.RetryConfig{}, []step{finish(llm.FinishFiltered, "")}, []string{"0s basic failed content_filtered"}, failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			var texts []string
			for _, form := range forms {
				synctest.Test(t, func(t *testing.T) {
					m := play(t, c.steps...)
					result, err := form.call(t.Context(), m, llm.Prompt("Be good"), checked, exact(c.cfg))
					trace := traceOf(result, err)
					if got := lines(trace, m.start); !slices.Equal(got, c.trace) {
						t.Errorf("%s:\n%s\nwant:\n%s", form.name, strings.Join(got, "\n"), strings.Join(c.trace, "\n"))
					}
					if got := reasonOf(t, err); got != c.reason {
						t.Errorf("%s: ended because of %q (%v), want %q", form.name, got, err, c.reason)
					}
					if m.calls() != len(c.trace) {
						t.Errorf("%s: the model was called %d times in %d attempts", form.name, m.calls(), len(c.trace))
					}
					if n := len(trace.Attempts); n > 0 && time.Since(trace.Attempts[n-1].Start) != trace.Attempts[n-1].Duration {
						t.Errorf("%s: it waited after the last attempt", form.name)
					}
					if err == nil && result.Text != "good" {
						t.Errorf("%s: the answer is %q", form.name, result.Text)
					}
					texts = append(texts, fmt.Sprint(result == nil, err))
				})
			}
			if len(texts) == 2 && texts[0] != texts[1] {
				t.Errorf("the two forms end differently:\n%s\n%s", texts[0], texts[1])
			}
		})
	}
}

func TestDelaysAreSpread(t *testing.T) {
	for _, c := range []struct {
		name      string
		cfg       llmcall.RetryConfig
		low, high time.Duration
	}{
		{"by a tenth to either side", llmcall.RetryConfig{}, 900 * time.Millisecond, 1100 * time.Millisecond},
		{"as far as is said", llmcall.RetryConfig{JitterRange: new(0.5)}, 500 * time.Millisecond, 1500 * time.Millisecond},
		{"never above the maximum", llmcall.RetryConfig{MaxDelay: s}, 900 * time.Millisecond, s},
		{"not at all", llmcall.RetryConfig{JitterRange: new(0.0)}, s, s},
		{"not at all, if it is off", llmcall.RetryConfig{UseJitter: new(false)}, s, s},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.DisableRetryBudget = true
				least, most := time.Hour, time.Duration(0)
				for range 300 {
					r, err := llmcall.RetryWithValidation(t.Context(), play(t, down), llm.Prompt("x"), checked, c.cfg)
					if err != nil {
						t.Fatal(err)
					}
					least, most = min(least, r.Attempts[1].Delay), max(most, r.Attempts[1].Delay)
				}
				if least < c.low || most > c.high || c.low < c.high && most-least < (c.high-c.low)/2 {
					t.Errorf("delays from %v to %v, want them spread over %v to %v", least, most, c.low, c.high)
				}
			})
		})
	}
}

func TestTheErrorMatchesTheLastFailureAndHoldsThemAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, last := errors.New("first"), errors.New("last")
		_, err := llmcall.RetryWithValidation(t.Context(), play(t, fails(first), say("bad"), fails(last)), llm.Prompt("x"), checked, exact(llmcall.RetryConfig{}))
		e, ok := errors.AsType[*llmcall.Error](err)
		if !ok || !errors.Is(err, last) {
			t.Fatalf("%v does not match the last failure", err)
		}
		if _, human := errors.AsType[*llmcall.HumanReviewError](err); human {
			t.Error("attempts that are used up became a human review that nobody asked for")
		}
		if e.Attempts[0].Error != "first" || e.Attempts[2].Error != "last" || len(e.Attempts[1].Complaints) != 1 {
			t.Errorf("the trace is %+v", e.Attempts)
		}
		if e.Last == nil || e.Last.Text() != "bad" || len(e.Complaints) != 1 {
			t.Errorf("the last answer that came is %v, with %v", e.Last, e.Complaints)
		}
		for _, want := range []string{"3 attempts", "last"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %q", want, err)
			}
		}
	})
}

func TestExhaustionByWrongAnswersSaysWhatIsWrong(t *testing.T) {
	_, err := llmcall.RetryWithValidation(t.Context(), play(t, say("a"), say("b")), llm.Prompt("x"), checked, llmcall.RetryConfig{MaxAttempts: 2})
	e, ok := errors.AsType[*llmcall.InvalidAnswerError](err)
	if !ok || len(e.Complaints) != 1 || failure.KindOf(err) != failure.InvalidAnswer {
		t.Fatalf("%v (%v)", err, failure.KindOf(err))
	}
	if got := err.Error(); !strings.Contains(got, "no valid answer") || !strings.Contains(got, `"b" is not good`) {
		t.Errorf("%q", got)
	}
}

func TestWithoutChecksTheFirstWholeAnswerIsTaken(t *testing.T) {
	for _, text := range []string{"anything", ""} {
		m := play(t, say(text))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), nil, llmcall.RetryConfig{})
		if err != nil || r.Text != text || m.calls() != 1 {
			t.Errorf("%v %v", r, err)
		}
	}
}

func TestTheAnswerIsReturnedAsItCame(t *testing.T) {
	want := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("good")}}, Finish: llm.FinishStop,
		Usage: llm.Usage{InputTokens: 3}, Model: "as-the-provider-says", RequestID: "r1",
	}
	m := play(t, answers(want))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, llmcall.RetryConfig{})
	if err != nil || r.Response != want || r.Model != t.Name() || r.Text != "good" {
		t.Errorf("%+v %v", r, err)
	}
}

func TestAnswerWithToolCallsAloneIsNotEmpty(t *testing.T) {
	m := play(t, wants(calls("1", "search", `{}`)))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.NotEmpty()}, llmcall.RetryConfig{})
	if err != nil || len(r.Response.Message.ToolCalls()) != 1 || r.Text != "" {
		t.Errorf("%+v %v", r, err)
	}
}

// The second request is never the same as the first.
func TestACutOffAnswerIsAskedForWithTwiceTheTokens(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		used  int64 // as the answer says; 0: it does not
		first llm.Finish
		want  int
	}{
		{"twice the limit", 100, 0, llm.FinishLength, 200},
		{"twice the limit, whatever was used", 100, 90, llm.FinishLength, 200},
		{"without a limit, twice what was used", 0, 4096, llm.FinishLength, 8192},
		{"without both, no limit", 0, 0, llm.FinishLength, 0},
		{"it does not overflow", 1<<63 - 1, 0, llm.FinishLength, 1<<63 - 2},
		{"nor does what was used", 0, 1<<63 - 1, llm.FinishLength, 1<<63 - 2},
		{"one that broke off for another reason needs no more", 100, 90, llm.FinishNone, 100},
		{"nor one without a limit", 0, 90, llm.FinishNone, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := play(t, answers(&llm.Response{Message: llm.Assistant("go"), Finish: c.first, Usage: llm.Usage{OutputTokens: c.used}}))
			req := llm.Prompt("x")
			req.MaxTokens = c.limit
			if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, llmcall.RetryConfig{}); err != nil {
				t.Fatal(err)
			}
			if m.asked[0].MaxTokens != c.limit || m.asked[1].MaxTokens != c.want || req.MaxTokens != c.limit {
				t.Errorf("asked for %d, then %d, want %d; the caller's own is %d", m.asked[0].MaxTokens, m.asked[1].MaxTokens, c.want, req.MaxTokens)
			}
			if text := talk(m.last().Messages); !strings.Contains(text, "give the whole answer") {
				t.Errorf("the second request does not say what is wrong:\n%s", text)
			}
		})
	}
}

func TestImpossibleCallsAreRefusedBeforeAnyIsMade(t *testing.T) {
	m := play(t)
	var none *llmcall.ConfigError
	for _, c := range []struct {
		field  string
		model  llm.Model
		req    *llm.Request
		checks []validate.Strategy
	}{
		{"models[0]", nil, llm.Prompt("x"), nil},
		{"request", m, nil, nil},
		{"request", m, &llm.Request{}, nil},
		{"checks[1]", m, llm.Prompt("x"), []validate.Strategy{validate.JSON(), nil}},
	} {
		for _, form := range forms {
			r, err := form.call(t.Context(), c.model, c.req, c.checks, llmcall.RetryConfig{})
			if r != nil || !errors.As(err, &none) || none.Field != c.field || !strings.Contains(err.Error(), "must be") {
				t.Errorf("%s: %v", form.name, err)
			}
		}
	}
	if m.calls() != 0 {
		t.Errorf("%d calls were made", m.calls())
	}
}

func TestHugeAndBrokenPromptsAreSentAsTheyAre(t *testing.T) {
	for name, prompt := range map[string]string{
		"10 MB": strings.Repeat("0123456789", 1<<20), "invalid UTF-8": "caf\xe9 \xff\xfe" + strings.Repeat("\xff", 5000), "empty": "",
	} {
		m := play(t, say("bad\xff"), say("worse"))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt(prompt), checked, llmcall.RetryConfig{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, req := range m.asked {
			if req.Messages[0].Text() != prompt {
				t.Errorf("%s: it went out changed", name)
			}
		}
		if size := len(talk(m.last().Messages[1:])); size > 100_000 {
			t.Errorf("%s: the feedback has %d bytes", name, size)
		}
	}
}

func TestResultOfFencedJSON(t *testing.T) {
	const fenced = "```json\n{\"n\": 12345678901234567890}\n```"
	type number struct {
		N uint64 `json:"n"`
	}
	m := play(t, say(fenced))
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.JSON()}, llmcall.RetryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var n number
	if err := r.Decode(&n); err != nil || n.N != 12345678901234567890 {
		t.Errorf("decoded %v, %v", n, err)
	}
	if r.Text != `{"n": 12345678901234567890}` || !r.Decoded || fmt.Sprint(r.Value) != "map[n:12345678901234567890]" || r.Response.Text() != fenced {
		t.Errorf("%+v", r)
	}

	// No check decoded it: the text is as it came, and Decode says so.
	m = play(t, say(fenced))
	r, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), nil, llmcall.RetryConfig{})
	if err != nil || r.Text != fenced || r.Decoded || r.Value != nil || r.Decode(&n) == nil {
		t.Errorf("%+v %v", r, err)
	}

	// null is a value too.
	m = play(t, say("null"))
	r, err = llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{validate.JSON()}, llmcall.RetryConfig{})
	if err != nil || !r.Decoded || r.Value != nil || r.Text != "null" {
		t.Errorf("%+v %v", r, err)
	}
}

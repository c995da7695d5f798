package eventlog_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/eventlog"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

const key = "the-key-of-this-program"

// lines makes a call of a model that fails, answers wrongly, and then well, and returns what
// was logged of it.
func lines(t *testing.T, level slog.Level, attempts int, o eventlog.Options) (all []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "call" || a.Key == "start") {
				return slog.Attr{}
			}
			return a
		}})
		o.Keys = []string{key}
		n := 0
		model := llm.Func("acme/one", func(context.Context, *llm.Request) (*llm.Response, error) {
			time.Sleep(time.Second)
			usage := llm.Usage{InputTokens: 100, OutputTokens: 10}
			switch n++; n {
			case 1:
				return nil, &failure.Error{Kind: failure.Transient, Provider: "acme", Err: errors.New("not with " + key)}
			case 2:
				return &llm.Response{Message: llm.Assistant("wrong " + key), Finish: llm.FinishStop, Usage: usage}, nil
			}
			return &llm.Response{Message: llm.Assistant("good " + strings.Repeat("long ", 100)), Finish: llm.FinishStop, Usage: usage}, nil
		})
		check := validate.Func("is_good", func(_ context.Context, a *validate.Answer) error {
			if !strings.HasPrefix(a.Text, "good") {
				return validate.Fail("it is "+a.Text, "")
			}
			return nil
		})
		c, err := llmcall.New([]llm.Model{model}, []validate.Strategy{check}, llmcall.RetryConfig{
			MaxAttempts: attempts, UseJitter: new(false), DisableRetryBudget: true, DisablePacing: true, Observer: eventlog.Observer(slog.New(handler), o),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Do(t.Context(), llm.Prompt("a question with "+key))
		all = strings.Split(strings.TrimSpace(log.String()), "\n")
	})
	if i := slices.IndexFunc(all, func(line string) bool { return strings.Contains(line, key) }); i >= 0 {
		t.Errorf("the key is in a line: %s", all[i])
	}
	return all
}

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		level    slog.Level
		attempts int
		options  eventlog.Options
		want     []string
	}{
		"a call": {slog.LevelInfo, 3, eventlog.Options{Name: "invoices"}, []string{
			"level=INFO msg=call name=invoices reason=valid model=acme/one attempts=3 usage.input_tokens=200 usage.output_tokens=20 duration=4s",
		}},
		"no valid answer": {slog.LevelInfo, 2, eventlog.Options{}, []string{
			"level=WARN msg=call reason=no_valid_answer kind=invalid_answer checks=[is_good] attempts=2 usage.input_tokens=100 usage.output_tokens=10 model=acme/one duration=3s",
		}},
		"no answer": {slog.LevelInfo, 1, eventlog.Options{}, []string{
			`level=WARN msg=call reason=provider_failed kind=transient error="gave up after 1 attempt: acme: transient: not with [key]" attempts=1 model=acme/one duration=1s`,
		}},
		"attempts": {slog.LevelDebug, 2, eventlog.Options{}, []string{
			`level=DEBUG msg=attempt number=1 model=acme/one stage=basic outcome=failed kind=transient error="acme: transient: not with [key]" duration=1s`,
			"level=DEBUG msg=waiting attempt=2 model=acme/one wait=1s wait_reason=backoff",
			"level=DEBUG msg=attempt number=2 model=acme/one stage=basic outcome=invalid kind=invalid_answer checks=[is_good] duration=1s delay=1s delay_reason=backoff usage.input_tokens=100 usage.output_tokens=10",
			"level=WARN msg=call reason=no_valid_answer kind=invalid_answer checks=[is_good] attempts=2 usage.input_tokens=100 usage.output_tokens=10 model=acme/one duration=3s",
		}},
		"content": {slog.LevelDebug, 3, eventlog.Options{Content: true, MaxContent: 30}, []string{
			`level=DEBUG msg=attempt number=1 model=acme/one stage=basic outcome=failed kind=transient error="acme: transient: not with [key]" duration=1s`,
			"level=DEBUG msg=waiting attempt=2 model=acme/one wait=1s wait_reason=backoff",
			`level=DEBUG msg=attempt number=2 model=acme/one stage=basic outcome=invalid kind=invalid_answer checks=[is_good] duration=1s delay=1s delay_reason=backoff usage.input_tokens=100 usage.output_tokens=10 answer="wrong [key]" complaints="[is_good: it is wrong [key]]"`,
			"level=DEBUG msg=attempt number=3 model=acme/one stage=basic outcome=valid duration=1s usage.input_tokens=100 usage.output_tokens=10",
			`level=INFO msg=call reason=valid model=acme/one attempts=3 usage.input_tokens=200 usage.output_tokens=20 duration=4s request="[user: a question with [key]]" answer="good long long long \n… (475 characters left out) …\nlong long "`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lines(t, c.level, c.attempts, c.options); !slices.Equal(got, c.want) {
				t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// A call that panics has its line, and a log that is not given is the default at the time.
func TestAPanicHasALine(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	defer slog.SetDefault(before)
	model := llm.Func("acme/one", func(context.Context, *llm.Request) (*llm.Response, error) { panic("boom") })
	c, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{Observer: eventlog.Observer(nil, eventlog.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Do(t.Context(), llm.Prompt("x"))
	}()
	if got := log.String(); !strings.Contains(got, "level=WARN msg=call") || !strings.Contains(got, `reason=panic error="the call panicked: boom"`) {
		t.Error(got)
	}
}

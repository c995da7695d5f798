package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // Gemini's SDK starts it when it is imported
}

const s = time.Second

// step is what a model does when it is called.
type step func(ctx context.Context, req *llm.Request) (*llm.Response, error)

// player is a model that takes one step after the other, and answers "good" when
// they are done. It keeps every request as it got it.
type player struct {
	name  string
	steps []step

	mu    sync.Mutex
	start time.Time
	at    []time.Duration // when each call came
	asked []*llm.Request
}

// play returns a model of the test's own name, so that tests share neither
// circuits nor budgets.
func play(t *testing.T, steps ...step) *player {
	return &player{name: t.Name(), steps: steps, start: time.Now()}
}

func (p *player) Name() string { return p.name }

func (p *player) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	p.mu.Lock()
	n := len(p.at)
	p.at = append(p.at, time.Since(p.start))
	p.asked = append(p.asked, req)
	p.mu.Unlock()
	if n < len(p.steps) {
		return p.steps[n](ctx, req)
	}
	return llm.Reply("good"), nil
}

func (p *player) calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.at)
}

// last is the last request that the model got.
func (p *player) last() *llm.Request { return p.asked[len(p.asked)-1] }

func fails(err error) step {
	return func(context.Context, *llm.Request) (*llm.Response, error) { return nil, err }
}

func kind(k failure.Kind) step {
	return fails(&failure.Error{Kind: k, Provider: "test", Message: "on purpose"})
}

func told(k failure.Kind, after time.Duration) step {
	return fails(&failure.Error{Kind: k, Provider: "test", Told: true, RetryAfter: after})
}

func answers(r *llm.Response) step {
	return func(context.Context, *llm.Request) (*llm.Response, error) { return r, nil }
}

func say(text string) step { return answers(llm.Reply(text)) }

func finish(f llm.Finish, text string) step {
	return answers(&llm.Response{Message: llm.Assistant(text), Finish: f})
}

func takes(d time.Duration, then step) step {
	return func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		time.Sleep(d)
		return then(ctx, req)
	}
}

// hang answers when its context ends, as an SDK does.
func hang(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("sdk: %w", ctx.Err())
}

func calls(id, name, arguments string) llm.ToolCall {
	return llm.ToolCall{ID: id, Name: name, Arguments: []byte(arguments)}
}

func wants(parts ...llm.Part) step {
	return answers(&llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: parts}, Finish: llm.FinishToolCall})
}

var down = kind(failure.Transient)

func times(n int, st step) []step {
	all := make([]step, n)
	for i := range all {
		all[i] = st
	}
	return all
}

// isGood passes the answer "good". What it says of any other depends on the
// answer, so that two different ones do not fail in just the same way.
var isGood = validate.Func("is_good", func(_ context.Context, a *validate.Answer) error {
	if a.Text != "good" {
		return validate.Fail(fmt.Sprintf("%.40q is not good", a.Text), "say good")
	}
	return nil
})

var checked = []validate.Strategy{isGood}

// exact takes chance out of a configuration, and other tests' calls.
func exact(c llmcall.RetryConfig) llmcall.RetryConfig {
	if c.Backoff == nil {
		c.UseJitter = new(false)
	}
	c.DisableRetryBudget, c.DisablePacing = true, true
	return c
}

// client makes a client of one model.
func client(t testing.TB, m llm.Model, checks []validate.Strategy, cfg llmcall.RetryConfig) *llmcall.Client {
	t.Helper()
	c, err := llmcall.New([]llm.Model{m}, checks, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forms are the two ways to make a call.
var forms = []struct {
	name string
	call func(context.Context, llm.Model, *llm.Request, []validate.Strategy, llmcall.RetryConfig) (*llmcall.Result, error)
}{
	{"RetryWithValidation", llmcall.RetryWithValidation},
	{"Start", func(ctx context.Context, m llm.Model, r *llm.Request, c []validate.Strategy, cfg llmcall.RetryConfig) (*llmcall.Result, error) {
		return llmcall.Start(ctx, m, r, c, cfg).Wait(context.Background())
	}},
}

// traceOf returns the trace of a call, whichever way it ended.
func traceOf(result *llmcall.Result, err error) llmcall.Trace {
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		return e.Trace
	}
	if e, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return e.Trace
	}
	if result != nil {
		return result.Trace
	}
	return llmcall.Trace{}
}

func reasonOf(t *testing.T, err error) llmcall.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return llmcall.ReasonHumanReview
	}
	e, ok := errors.AsType[*llmcall.Error](err)
	if !ok {
		t.Fatalf("%v (%T) carries no reason", err, err)
	}
	return e.Reason
}

// lines writes a trace as the tables have it: when each attempt began, how it
// ended, and the wait before it.
func lines(trace llmcall.Trace, start time.Time) []string {
	var all []string
	for _, a := range trace.Attempts {
		line := fmt.Sprintf("%v %s %s", a.Start.Sub(start), a.Stage, a.Outcome)
		if a.Outcome != llmcall.OutcomeValid {
			line += " " + a.Kind.String()
		}
		if a.Delay != 0 || a.DelayReason != retry.NoWait {
			line += fmt.Sprintf(", after %v %s", a.Delay, a.DelayReason)
		}
		all = append(all, line)
	}
	return all
}

// talk writes a conversation, one turn a line.
func talk(messages []llm.Message) string {
	var b strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&b, "%s:", m.Role)
		for _, part := range m.Parts {
			switch p := part.(type) {
			case llm.Text:
				fmt.Fprintf(&b, " %q", p)
			case llm.Image:
				fmt.Fprintf(&b, " image(%d bytes)", len(p.Data))
			case llm.Document:
				fmt.Fprintf(&b, " document(%d bytes)", len(p.Data))
			case llm.Audio:
				fmt.Fprintf(&b, " audio(%d bytes)", len(p.Data))
			case llm.ToolCall:
				fmt.Fprintf(&b, " call(%s %s %s)", p.ID, p.Name, p.Arguments)
			case llm.ToolResult:
				fmt.Fprintf(&b, " result(%s %q error=%v)", p.CallID, p.Content, p.IsError)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ended returns a context that has ended.
func ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

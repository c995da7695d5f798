package conformance_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/record"
	"llmcall/validate"
)

// attempts returns what a call's attempts were, for comparison.
func attempts(t *testing.T, result *llmcall.Result, err error) (all []string) {
	t.Helper()
	if err != nil {
		all = append(all, "error: "+failure.KindOf(err).String())
	}
	if result != nil {
		for _, a := range result.Attempts {
			if a.Kind == failure.AttemptTimeout {
				a.Error = "" // the loop has words of its own for what it cuts
			}
			// Those who were told the same time come back spread: a delay is compared roughly.
			all = append(all, fmt.Sprintf("%v %v %v %s %q %v %v", a.Outcome, a.Kind, a.Delay.Truncate(5*time.Second), a.Error, a.Answer, a.Complaints, a.Duration))
		}
		all = append(all, result.Text)
	}
	return all
}

// A replayed call makes the same attempts after the same waits, and ends the same.
func TestAReplayedCallMakesTheSameAttempts(t *testing.T) {
	for _, c := range []struct {
		name     string
		outcomes []func() (*llm.Response, error)
	}{
		{"answered at once", []func() (*llm.Response, error){says("Berlin")}},
		{"told to wait, then a fault, then wrong, then right", []func() (*llm.Response, error){
			fails(&failure.Error{Kind: failure.RateLimited, Status: 429, RetryAfter: 7 * time.Second, Told: true}),
			fails(&failure.Error{Kind: failure.Transient, Status: 500}), says("Bonn"), says("Berlin"),
		}},
		{"permanent", []func() (*llm.Response, error){fails(&failure.Error{Kind: failure.Unauthorized, Status: 401})}},
		{"never right", []func() (*llm.Response, error){says("a"), says("b"), says("c")}},
		{"no retry", []func() (*llm.Response, error){fails(&failure.Error{Kind: failure.Transient, NoRetry: true})}},
		{"a hang", []func() (*llm.Response, error){nil, says("Berlin")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				call := func(m llm.Model) []string {
					shared, err := endpoint.NewRegistry(endpoint.Config{})
					if err != nil {
						t.Fatal(err)
					}
					cfg := llmcall.RetryConfig{MaxAttempts: 4, AttemptTimeout: 20 * time.Second, Backoff: quick{}, Endpoints: shared}
					begun := time.Now()
					result, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("The capital of Germany?"), []validate.Strategy{validate.Must(validate.Contains("Berlin"))}, cfg)
					return append(attempts(t, result, err), time.Since(begun).Round(time.Minute).String())
				}
				n := 0
				real := llm.Func(name, func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
					n++
					if n > len(c.outcomes) {
						n = len(c.outcomes)
					}
					if outcome := c.outcomes[n-1]; outcome != nil {
						return outcome()
					}
					<-ctx.Done()
					return nil, ctx.Err()
				})
				was := call(recorder(t, dir).Model(real))
				p := open(t, dir)
				p.Speed = 1
				is := call(p.Model(name))
				if fmt.Sprint(is) != fmt.Sprint(was) || len(p.Left()) > 0 {
					t.Errorf("got\n%q\nwant\n%q\nleft: %v", is, was, p.Left())
				}
			})
		})
	}
}

// A request that was not recorded ends its call at once, with the reason.
func TestACallWithoutARecordingEndsAtOnce(t *testing.T) {
	dir := t.TempDir()
	_, _ = recorder(t, dir).Model(answers(says("Berlin"))).Complete(t.Context(), llm.Prompt("The capital of Germany?"))
	begun := time.Now()
	_, err := llmcall.RetryWithValidation(t.Context(), open(t, dir).Model(name), llm.Prompt("The capital of France?"), nil, llmcall.RetryConfig{})
	if failure.KindOf(err) != failure.InvalidRequest || time.Since(begun) > time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	var missing *record.MissingError
	if !failure.Find(err, func(e error) bool { m, ok := e.(*record.MissingError); missing = m; return ok }) || missing.Nearest == "" {
		t.Errorf("%v", err)
	}
}

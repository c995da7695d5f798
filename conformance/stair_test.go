package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/validate"
)

// A stair over HTTP: two providers of chaos with a protocol each, the first of which is
// asked in stage "small", both in "both", and the second in "large". Each row is what they
// do (0: answer), and the attempts with their waits, the requests that reached each, and the
// end.
func TestStairsOverHTTP(t *testing.T) {
	const delay = 20 * time.Millisecond
	wrong := func(text string) chaos.Fault { return chaos.Fault{Answer: text} }
	good := wrong("good")
	down, key, limit := status("", func(f *chaos.Fault) { f.Status = 500 }), status("", func(f *chaos.Fault) { f.Status = 401 }), status("", func(f *chaos.Fault) { f.Status = 429; f.RetryAfter = "3600" })
	bad := status("", func(f *chaos.Fault) { f.Status = 400 })
	stages := []llmcall.Stage{{Name: "small", Attempts: 2, Models: []string{"A"}}, {Name: "both", Attempts: 2, Models: []string{"A", "B"}}, {Name: "large", Models: []string{"B"}}}
	withHuman := append(slices.Clone(stages), llmcall.Stage{Human: true})
	for _, row := range []struct {
		name   string
		stages []llmcall.Stage
		a, b   []chaos.Fault
		want   string
		end    llmcall.Reason
	}{
		{"valid", stages, []chaos.Fault{good}, nil, "A small valid", ""},
		{"wrong answers go up to the last", stages, []chaos.Fault{wrong("a"), wrong("b"), wrong("c"), wrong("d")}, []chaos.Fault{good}, "A small invalid, A small invalid, A both invalid, A both invalid, B large valid", ""},
		{"the same one goes up early", stages, []chaos.Fault{wrong("a"), wrong("a"), good}, nil, "A small invalid, A small invalid, A both valid", ""},
		{"failures wait, and then move", stages, []chaos.Fault{down, down, down}, []chaos.Fault{good}, "A small failed, A small failed after a backoff wait, A both failed after a backoff wait, B both valid", ""},
		{"a bad key is not tried again", stages, []chaos.Fault{key}, []chaos.Fault{wrong("a"), wrong("b"), good}, "A small failed, B both invalid, B both invalid, B large valid", ""},
		{"nor one that told an hour", stages, []chaos.Fault{limit}, []chaos.Fault{good}, "A small failed, B both valid", ""},
		{"a bad request is bad everywhere", stages, []chaos.Fault{bad}, nil, "A small failed", llmcall.ReasonProviderFailed},
		{"no stage is left", stages, []chaos.Fault{wrong("a"), wrong("a"), wrong("b"), wrong("b")}, []chaos.Fault{wrong("c")}, "A small invalid, A small invalid, A both invalid, A both invalid, B large invalid", llmcall.ReasonNoValidAnswer},
		{"but a person", withHuman, []chaos.Fault{wrong("a"), key}, []chaos.Fault{key}, "A small invalid, A small failed, B both failed", llmcall.ReasonHumanReview},
	} {
		for i, p := range providers {
			other := providers[(i+1)%len(providers)]
			t.Run(row.name+"/"+p.name+" "+other.name, func(t *testing.T) {
				t.Parallel()
				var models []llm.Model
				var servers []*chaos.Server
				for j, steps := range [][]chaos.Fault{row.a, row.b} {
					s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: slices.Clone(steps)}})
					if err != nil {
						t.Fatal(err)
					}
					url, client, end := listen(s)
					t.Cleanup(end)
					m, err := []provider{p, other}[j].open(url, client)
					if err != nil {
						t.Fatal(err)
					}
					models, servers = append(models, m), append(servers, s)
				}
				names := strings.NewReplacer(models[0].Name(), "A", models[1].Name(), "B")
				own := slices.Clone(row.stages)
				for j := range own {
					if !own[j].Human {
						own[j].Models = slices.Clone(own[j].Models)
						for k, name := range own[j].Models {
							own[j].Models[k] = models[strings.Index("AB", name)].Name()
						}
					}
				}
				registry, err := endpoint.NewRegistry(endpoint.Config{})
				if err != nil {
					t.Fatal(err)
				}
				check := validate.Func("good", func(_ context.Context, a *validate.Answer) error {
					if a.Text != "good" {
						return fmt.Errorf("%q is not good", a.Text)
					}
					return nil
				})
				cfg := llmcall.RetryConfig{
					Stages: own, Endpoints: registry, DisableRetryBudget: true, Backoff: backoff.Exponential{Initial: delay, Jitter: backoff.NoJitter},
				}
				// B is asked without what only A can take.
				if l, ok := models[0].(interface{ Lacks() []string }); !ok || !slices.Contains(l.Lacks(), "seed") {
					cfg.Seed = new(int64(7))
				}
				c, err := llmcall.New(models, []validate.Strategy{check}, cfg)
				if err != nil {
					t.Fatal(err)
				}
				result, err := c.Do(t.Context(), llm.Prompt("?"))
				var trace llmcall.Trace
				end := llmcall.Reason("")
				if e, ok := errors.AsType[*llmcall.Error](err); ok {
					trace, end = e.Trace, e.Reason
				} else if h, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
					trace, end = h.Trace, llmcall.ReasonHumanReview
				} else {
					trace = result.Trace
				}
				var got []string
				asked := map[string]int{}
				for _, a := range trace.Attempts {
					name := names.Replace(a.Model)
					asked[name]++
					line := fmt.Sprintf("%s %s %s", name, a.Stage, a.Outcome)
					if a.Delay > 0 {
						line += fmt.Sprintf(" after a %v wait", a.DelayReason)
						// A wait runs from the decision on: what is left of it when it begins is
						// shorter by the time that a busy machine took for that.
						if a.Delay < delay/2 {
							t.Errorf("a wait of %v", a.Delay)
						}
					}
					got = append(got, line)
				}
				if text := strings.Join(got, ", "); text != row.want || end != row.end {
					t.Errorf("got  %s %s\nwant %s %s\n%v", text, end, row.want, row.end, err)
				}
				for j, name := range []string{"A", "B"} {
					if n := len(servers[j].Requests()); n != asked[name] {
						t.Errorf("%d requests reached %s, in %d attempts", n, name, asked[name])
					}
				}
			})
		}
	}
}

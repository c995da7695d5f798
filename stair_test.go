package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// aModel returns a model that a stage can name.
func aModel(name string, steps ...step) *player {
	return &player{name: name, steps: steps, start: time.Now()}
}

// Each row is a stair, what its models do, and the trace: model and stage of each attempt,
// and why it came there.
func TestStairs(t *testing.T) {
	a, b, c, d := say("a"), say("b"), say("c"), say("d")
	small, mid, big := "test/small", "test/mid", "test/big"
	badKey, overloaded := kind(failure.Unauthorized), told(failure.RateLimited, time.Minute)
	for _, row := range []struct {
		name   string
		cfg    llmcall.RetryConfig
		steps  [3][]step // of small, mid and big
		trace  []string
		reason llmcall.Reason
	}{
		{"each stage has its attempts", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{a, b}, nil, nil}, []string{
			"0s test/small 1 invalid", "0s test/small 1 invalid", "0s test/big 2 valid (2 attempts have failed)",
		}, ""},
		{"a stage without attempts has one", llmcall.RetryConfig{Stages: []llmcall.Stage{{Models: []string{small}}, {Models: []string{mid}}, {Models: []string{big}}}}, [3][]step{{a}, {b}, {c}}, []string{
			"0s test/small 1 invalid", "0s test/mid 2 invalid (1 attempt has failed)", "0s test/big 3 invalid (2 attempts have failed)",
		}, llmcall.ReasonNoValidAnswer},
		{"failures of the provider count, and their waits stay", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Name: "again", Attempts: 1, Models: []string{small}}}}, [3][]step{{down, down}, nil, nil}, []string{
			"0s test/small 1 failed transient", "1s test/small 1 failed transient", "3s test/small again valid (2 attempts have failed)",
		}, ""},
		{"another model need not wait", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{down, down}, nil, nil}, []string{
			"0s test/small 1 failed transient", "1s test/small 1 failed transient", "1s test/big 2 valid (2 attempts have failed)",
		}, ""},
		{"no progress goes up early, and gives up the rest", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 5, Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{a, a}, nil, nil}, []string{
			"0s test/small 1 invalid", "0s test/small 1 invalid", "0s test/big 2 valid (the model keeps giving the same wrong answer)",
		}, ""},
		{"max_attempts keeps one for each later stage", llmcall.RetryConfig{MaxAttempts: 3, Stages: []llmcall.Stage{{Attempts: 5, Models: []string{small}}, {Attempts: 5, Models: []string{mid}}, {Models: []string{big}}}}, [3][]step{{a}, {b}, {c}}, []string{
			"0s test/small 1 invalid", "0s test/mid 2 invalid (1 attempt has failed)", "0s test/big 3 invalid (2 attempts have failed)",
		}, llmcall.ReasonNoValidAnswer},
		{"a model that can't serve is left for its alternative", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small, mid}}, {Models: []string{big}}}}, [3][]step{{badKey}, {a}, nil}, []string{
			"0s test/small 1 failed unauthorized", "0s test/mid 1 invalid (test/small: unauthorized)", "0s test/big 2 valid (2 attempts have failed)",
		}, ""},
		{"a stage of which no model can serve is left", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 3, Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{badKey}, nil, nil}, []string{
			"0s test/small 1 failed unauthorized", "0s test/big 2 valid (no model of stage 1 can serve)",
		}, ""},
		{"a dead model is not asked again by a later stage", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small, mid}}, {Attempts: 2, Models: []string{small, big}}}}, [3][]step{{badKey}, {a}, {b}}, []string{
			"0s test/small 1 failed unauthorized", "0s test/mid 1 invalid (test/small: unauthorized)", "0s test/big 2 invalid (2 attempts have failed)", "0s test/big 2 valid",
		}, ""},
		{"nor is a stage that has no other", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{badKey}, nil, nil}, []string{
			"0s test/small 1 failed unauthorized", "0s test/big 3 valid (no model of stage 1 can serve)",
		}, ""},
		{"a bad request is bad everywhere", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{kind(failure.InvalidRequest)}, nil, nil}, []string{
			"0s test/small 1 failed invalid_request",
		}, llmcall.ReasonProviderFailed},
		{"a rate limit uses no attempt, and no stage", llmcall.RetryConfig{Stages: []llmcall.Stage{{Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{overloaded}, nil, nil}, []string{
			"0s test/small 1 failed rate_limited", "1m0s test/small 1 valid",
		}, ""},
		{"a rate limit goes to the alternative", llmcall.RetryConfig{Stages: []llmcall.Stage{{Models: []string{small, mid}}, {Models: []string{big}}}}, [3][]step{{overloaded}, {a}, {b}}, []string{
			"0s test/small 1 failed rate_limited", "0s test/mid 1 invalid (test/small: rate_limited)", "0s test/big 2 invalid (1 attempt has failed)",
		}, llmcall.ReasonNoValidAnswer},
		{"a told wait that is too long goes up", llmcall.RetryConfig{MaxRetryAfter: s, Stages: []llmcall.Stage{{Models: []string{small}}, {Models: []string{big}}}}, [3][]step{{overloaded}, nil, nil}, []string{
			"0s test/small 1 failed rate_limited", "0s test/big 2 valid (no model of stage 1 can serve)",
		}, ""},
		{"the last step is a person", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Models: []string{big}}, {Human: true}}}, [3][]step{{a, b}, nil, {c}}, []string{
			"0s test/small 1 invalid", "0s test/small 1 invalid", "0s test/big 2 invalid (2 attempts have failed)",
		}, llmcall.ReasonHumanReview},
		{"a bad key is not for a person", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Human: true}}}, [3][]step{{badKey}, nil, nil}, []string{
			"0s test/small 1 failed unauthorized",
		}, llmcall.ReasonProviderFailed},
		{"the deadline ends all stages", llmcall.RetryConfig{MaxTime: 2 * s, Stages: []llmcall.Stage{{Attempts: 2, Models: []string{small}}, {Attempts: 2, Models: []string{small}}}}, [3][]step{times(4, down), nil, nil}, []string{
			"0s test/small 1 failed transient", "1s test/small 1 failed transient",
		}, llmcall.ReasonOutOfTime},
		{"without models of their own, stages have all", llmcall.RetryConfig{Stages: []llmcall.Stage{{Attempts: 2}, {Attempts: 2}}}, [3][]step{{a, b, d}, nil, nil}, []string{
			"0s test/small 1 invalid", "0s test/small 1 invalid", "0s test/small 2 invalid (2 attempts have failed)", "0s test/small 2 valid",
		}, ""},
		{"or those at the top, if others have some", llmcall.RetryConfig{Models: []string{mid}, Stages: []llmcall.Stage{{}, {Models: []string{big}}}}, [3][]step{nil, {a}, nil}, []string{
			"0s test/mid 1 invalid", "0s test/big 2 valid (1 attempt has failed)",
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				models := []llm.Model{aModel(small, row.steps[0]...), aModel(mid, row.steps[1]...), aModel(big, row.steps[2]...)}
				c, err := llmcall.New(models, checked, exact(row.cfg))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				result, err := c.Do(t.Context(), llm.Prompt("?"))
				if got := reasonOf(t, err); got != row.reason {
					t.Errorf("the reason is %q, want %q: %v", got, row.reason, err)
				}
				var got []string
				for _, a := range traceOf(result, err).Attempts {
					line := fmt.Sprintf("%v %s %s %s", a.Start.Sub(start), a.Model, a.Stage, a.Outcome)
					if a.Outcome == llmcall.OutcomeFailed {
						line += " " + a.Kind.String()
					}
					if a.Why != "" {
						line += " (" + a.Why + ")"
					}
					got = append(got, line)
				}
				if !reflect.DeepEqual(got, row.trace) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.trace, "\n"))
				}
			})
		})
	}
}

// A check may advise to go up before a stage's attempts are used up.
func TestACheckAdvisesTheNextStage(t *testing.T) {
	beyond := validate.Func("beyond_it", func(_ context.Context, a *validate.Answer) error {
		if a.Text == "I can't" {
			return validate.GoUp(validate.Fail("it can't be answered so", ""))
		}
		return nil
	})
	for name, row := range map[string]struct {
		stages []llmcall.Stage
		steps  []step
		trace  string
		reason llmcall.Reason
	}{
		"to the next":                        {[]llmcall.Stage{{Attempts: 5}, {}}, []step{say("I can't")}, "1 invalid; 2 valid (a check advised it)", ""},
		"to a person":                        {[]llmcall.Stage{{Attempts: 5}, {Human: true}}, []step{say("I can't")}, "1 invalid", llmcall.ReasonHumanReview},
		"where there is none, it asks again": {[]llmcall.Stage{{Attempts: 5}}, []step{say("I can't"), say("bad")}, "1 invalid; 1 invalid; 1 valid", ""},
	} {
		r, err := llmcall.RetryWithValidation(t.Context(), play(t, row.steps...), llm.Prompt("?"), append(checked, beyond), exact(llmcall.RetryConfig{Stages: row.stages}))
		var got []string
		for _, a := range traceOf(r, err).Attempts {
			line := a.Stage + " " + string(a.Outcome)
			if a.Why != "" {
				line += " (" + a.Why + ")"
			}
			got = append(got, line)
		}
		if strings.Join(got, "; ") != row.trace || reasonOf(t, err) != row.reason {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Of several models of one name, such as with different keys, the trace says which was left.
func TestATraceTellsModelsOfOneNameApart(t *testing.T) {
	const name = "test/keys"
	models := []llm.Model{aModel(name, kind(failure.Unauthorized)), aModel(name, kind(failure.QuotaExhausted)), aModel(name)}
	c, err := llmcall.New(models, nil, exact(llmcall.RetryConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Do(t.Context(), llm.Prompt("?"))
	if err != nil {
		t.Fatal(err)
	}
	var why []string
	for _, a := range result.Attempts {
		why = append(why, a.Why)
	}
	if want := []string{"", name + " (1 of 3): unauthorized", name + " (2 of 3): quota_exhausted"}; !reflect.DeepEqual(why, want) {
		t.Errorf("got %q, want %q", why, want)
	}
}

// What was wrong is told to the model of the next stage, whose request has the stage's
// settings and tools.
func TestAStageHelpsTheModel(t *testing.T) {
	small, big := aModel("test/first", say("a")), aModel("test/second")
	lookup := llmcall.Tool{Tool: llm.Tool{Name: "lookup"}, Instruction: "It knows cities."}
	cfg := exact(llmcall.RetryConfig{
		Tools: []llmcall.Tool{lookup}, Extra: map[string]any{"a": 1, "b": 1},
		Stages: []llmcall.Stage{
			{Models: []string{"test/first"}},
			{Models: []string{"test/second"}, Tools: []string{"lookup"}, Temperature: new(0.0), Seed: new(int64(7)), MaxTokens: 900, Stop: []string{"END"}, Extra: map[string]any{"b": 2}},
		},
	})
	c, err := llmcall.New([]llm.Model{small, big}, checked, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Do(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("?")}, Temperature: new(1.0), MaxTokens: 100}); err != nil {
		t.Fatal(err)
	}
	if r := small.last(); len(r.Tools) != 0 || *r.Temperature != 1 || r.MaxTokens != 100 || r.Extra["b"] != 1 || talk(r.Messages) != "user: \"?\"\n" {
		t.Errorf("the first stage sends %+v", r)
	}
	r := big.last()
	if len(r.Tools) != 1 || *r.Temperature != 0 || *r.Seed != 7 || r.MaxTokens != 900 || r.Stop[0] != "END" || r.Extra["a"] != 1 || r.Extra["b"] != 2 {
		t.Errorf("the second stage sends %+v", r)
	}
	for _, want := range []string{`assistant: "a"`, `\"a\" is not good`, `tool \"lookup\". It knows cities.`} {
		if !strings.Contains(talk(r.Messages), want) {
			t.Errorf("the second stage sends %s, without %s", talk(r.Messages), want)
		}
	}
}

func TestImpossibleStages(t *testing.T) {
	human := llmcall.Stage{Human: true}
	for want, cfg := range map[string]llmcall.RetryConfig{
		`stages[1].models[0] must be a model given to New (did you mean test/small?), got "test/smal"`:              {Stages: []llmcall.Stage{{}, {Models: []string{"test/smal"}}}},
		`stages[0].tools[0] must be a tool of the configuration, of which there are none, got "lookup"`:             {Stages: []llmcall.Stage{{Tools: []string{"lookup"}}}},
		`stages[0].tools[0] must be a tool of the configuration (did you mean lookup?), got "lokup"`:                {Tools: []llmcall.Tool{{Tool: llm.Tool{Name: "lookup"}}}, Stages: []llmcall.Stage{{Tools: []string{"lokup"}}}},
		`stages[0] must be a stage that asks a model: a person is the last, got human`:                              {Stages: []llmcall.Stage{human, {}}},
		`stages must be a list with at least one stage that asks a model, got [human]`:                              {Stages: []llmcall.Stage{human}},
		`max_attempts must be a whole number of at least 2, the number of stages that ask a model, got 1`:           {MaxAttempts: 1, Stages: []llmcall.Stage{{}, {}, human}},
		`stages[0].attempts must be a whole number from 1 to 10,000, got -1`:                                        {Stages: []llmcall.Stage{{Attempts: -1}}},
		`max_attempts_before_human: must not be set together with stages, of which it is a short form`:              {MaxAttemptsBeforeHuman: 2, Stages: []llmcall.Stage{{}}},
		`stages[1]: human must be set alone`:                                                                        {Stages: []llmcall.Stage{{}, {Human: true, Attempts: 1}}},
		`tools[1].name must be a name that no other tool has, got "lookup"`:                                         {Tools: []llmcall.Tool{{Tool: llm.Tool{Name: "lookup"}}, {Tool: llm.Tool{Name: "lookup"}}}},
		`stages[0].models[1] must be a model that the stage does not name already, got "test/small"`:                {Stages: []llmcall.Stage{{Models: []string{"test/small", "test/small"}}}},
		`stages[1].name must be a name that no other stage has, got "1"`:                                            {Stages: []llmcall.Stage{{}, {Name: "1"}}},
		`attempts_per_model: has no effect with a single model`:                                                     {AttemptsPerModel: 1},
		`stop_on_no_progress: has no effect while the last stage is a person, to whom a call without progress goes`: {StopOnNoProgress: true, Stages: []llmcall.Stage{{}, human}},
	} {
		_, err := llmcall.New([]llm.Model{aModel("test/small")}, nil, cfg)
		if e, ok := errors.AsType[*llmcall.ConfigError](err); !ok || e.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestStagesInAFile(t *testing.T) {
	cfg, _, err := llmcall.ParseConfig("c.yaml", []byte(`
models: [acme/small, anthropic/claude]
attempts_per_model: 3
stages:
  - attempts: 2
  - {name: with tools, attempts: 2, tools: [lookup]}
  - {attempts: 1, models: [openai/big], temperature: 0, max_tokens: 50, seed: 1, stop: END, extra: {a: b}}
  - human
`))
	want := llmcall.RetryConfig{
		Models: []string{"acme/small", "anthropic/claude"}, AttemptsPerModel: 3,
		Stages: []llmcall.Stage{
			{Attempts: 2}, {Name: "with tools", Attempts: 2, Tools: []string{"lookup"}},
			{Attempts: 1, Models: []string{"openai/big"}, Temperature: new(0.0), MaxTokens: 50, Seed: new(int64(1)), Stop: []string{"END"}, Extra: map[string]any{"a": "b"}},
			{Human: true},
		},
	}
	if err != nil || !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v, %v\nwant %+v", cfg, err, want)
	}
	if got := cfg.AllModels(); !reflect.DeepEqual(got, []string{"acme/small", "anthropic/claude", "openai/big"}) {
		t.Errorf("the models are %v", got)
	}
	for text, want := range map[string]string{
		"stages: 3":                                "c.yaml:1: stages must be a list of stages, each a mapping such as {attempts: 2}, or the last `human`, got 3",
		"stages:\n  - attempts: 0":                 "c.yaml:2: stages[0].attempts must be a whole number from 1 to 10,000, got 0",
		"stages:\n  - {attemps: 2}":                "c.yaml:2: stages[0].attemps: unknown field, did you mean attempts?",
		"stages:\n  - {}\n  - {human: true}":       "c.yaml:3: stages[1].human: unknown field: a person is a stage of its own, the word `human`",
		"stages:\n  - {}\n  - people":              "c.yaml:3: stages[1] must be a mapping such as {attempts: 2}, or `human`, got \"people\"",
		"stages:\n  - human\n  - {attempts: 1}":    "c.yaml:2: stages[0] must be a stage that asks a model: a person is the last, got human",
		"max_attempts: 1\nstages:\n  - {}\n  - {}": "c.yaml:1: max_attempts must be a whole number of at least 2, the number of stages that ask a model, got 1",
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestMCPServersInAFile(t *testing.T) {
	want := map[string]llmcall.MCPServer{
		"memory": {Command: []string{"npx", "-y", "server-memory"}, Env: map[string]string{"FILE": "/tmp/x", "N": "1"}, Dir: "/tmp"},
		"issues": {URL: "https://mcp.example.com/mcp", Headers: map[string]string{"Authorization": "Bearer ${T}"}, Tools: []string{"search"}},
	}
	for name, text := range map[string]string{
		"its own form": `
mcp_servers:
  memory: {command: [npx, -y, server-memory], env: {FILE: /tmp/x, N: 1}, dir: /tmp}
  issues: {url: https://mcp.example.com/mcp, headers: {Authorization: "Bearer ${T}"}, tools: [search]}
`,
		"that of other programs": `
debug_tool_mcp_config:
  mcpServers:
    memory: {command: npx, args: [-y, server-memory], env: {FILE: /tmp/x, N: 1}, dir: /tmp}
    issues: {url: https://mcp.example.com/mcp, headers: {Authorization: "Bearer ${T}"}, tools: [search]}
`,
	} {
		cfg, _, err := llmcall.ParseConfig("c.yaml", []byte(text))
		if err != nil || !reflect.DeepEqual(cfg.MCPServers, want) {
			t.Errorf("%s: got %+v, %v", name, cfg.MCPServers, err)
		}
	}
	for text, want := range map[string]string{
		"mcp_servers: [npx]":                                                           "c.yaml:1: mcp_servers must be a mapping of names, each to a server such as",
		"mcp_servers: {m: npx}":                                                        `c.yaml:1: mcp_servers.m must be a mapping of settings, got "npx"`,
		"mcp_servers: {m: {comand: npx}}":                                              "c.yaml:1: mcp_servers.m.comand: unknown field, did you mean command?",
		"mcp_servers: {m: {env: {A: b}}}":                                              "c.yaml:1: mcp_servers.m: must have either a command or a url",
		"mcp_servers: {m: {command: npx, url: 'http://a'}}":                            "c.yaml:1: mcp_servers.m: must have either a command or a url",
		"mcp_servers: {m: {command: npx -y server-memory}}":                            "c.yaml:1: mcp_servers.m.command must be a list of a program and its arguments, such as [npx, -y, server-memory], got a text with spaces",
		"mcp_servers: {m: {command: npx, env: [a]}}":                                   "c.yaml:1: mcp_servers.m.env must be a mapping of names to strings, got a list",
		"mcp_servers: {m: {command: npx}}\ndebug_tool_mcp_config: {m: {command: npx}}": "c.yaml:2: mcp_servers.m: is in both mcp_servers and debug_tool_mcp_config",
		"debug_tool_name: m":                                                           "c.yaml:1: debug_tool_name: has no effect unless max_attempts_before_tool_use is set",
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// The short form of the original: after a threshold the model is offered the tools of a
// server, which it was not before.
func TestTheToolsOfAServerAfterAThreshold(t *testing.T) {
	m := play(t, say("a"), wants(calls("1", "memory_search", "{}")))
	one, two, other := aTool("memory_search", found), aTool("memory_add", found), aTool("now", found)
	one.Group, two.Group = "memory", "memory"
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("?"), checked, exact(llmcall.RetryConfig{
		MaxAttemptsBeforeToolUse: 1, DebugToolName: "memory", Tools: []llmcall.Tool{one, two, other},
	}))
	if err != nil || len(m.asked[0].Tools) != 0 || len(m.asked[1].Tools) != 2 || len(r.Attempts[1].Tools) != 1 {
		t.Errorf("%v: %+v", err, m.asked)
	}
	_, err = llmcall.New([]llm.Model{m}, nil, llmcall.RetryConfig{MaxAttemptsBeforeToolUse: 1, DebugToolName: "memroy", Tools: []llmcall.Tool{one}})
	if err == nil || err.Error() != `debug_tool_name must be a tool of the configuration (did you mean memory?), got "memroy"` {
		t.Error(err)
	}
}

func TestProvidersInAFile(t *testing.T) {
	cfg, _, err := llmcall.ParseConfig("c.yaml", []byte(`
providers:
  acme: {protocol: openai, base_url: http://127.0.0.1:9001/v1, key: env:ACME_KEY}
  openai:
    keys: [env:A, file:/run/b]
`))
	want := map[string]llmcall.OwnProvider{
		"acme":   {Protocol: "openai", BaseURL: "http://127.0.0.1:9001/v1", Keys: []string{"env:ACME_KEY"}},
		"openai": {Keys: []string{"env:A", "file:/run/b"}},
	}
	if err != nil || !reflect.DeepEqual(cfg.Providers, want) {
		t.Errorf("got %+v, %v", cfg.Providers, err)
	}
	for text, want := range map[string]string{
		"providers: [acme]":                              "c.yaml:1: providers must be a mapping of names, each to settings such as",
		"providers: {acme: openai}":                      `c.yaml:1: providers.acme must be a mapping of settings, got "openai"`,
		"providers: {acme: {protcol: openai}}":           "c.yaml:1: providers.acme.protcol: unknown field, did you mean protocol?",
		"providers: {acme: {key: sk-123456789}}":         "c.yaml:1: providers.acme.key must be env:NAME or file:PATH, where the key is, or none, got something else, which is not shown",
		"providers: {acme: {keys: sk-123456789}}":        "c.yaml:1: providers.acme.keys must be a list of env:NAME or file:PATH, where the key is, or none, got a text",
		"providers: {acme: {key: env:A, keys: [env:B]}}": "c.yaml:1: providers.acme.keys: must not be set together with the other of key and keys",
		"providers: {a/b: {protocol: openai}}":           `c.yaml:1: providers must be names without a slash, got "a/b"`,
		"providers:\n  acme:\n    base_url: [http://a]":  "c.yaml:3: providers.acme.base_url must be a non-empty string, got a list",
	} {
		if _, _, err := llmcall.ParseConfig("c.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "sk-1") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// The stages of a call that hands its answer out as it comes.
func TestStagesOfAStream(t *testing.T) {
	for _, restart := range []bool{false, true} {
		small, big := streams("test/small", "a"), streams("test/big", "good")
		c, err := llmcall.New([]llm.Model{small, big}, checked, exact(llmcall.RetryConfig{
			RestartStreams: restart, Stages: []llmcall.Stage{{Models: []string{"test/small"}}, {Models: []string{"test/big"}}},
		}))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for p, err := range c.Stream(t.Context(), llm.Prompt("?")) {
			got += fmt.Sprintf("%q %v %v %v;", p.Text, p.Restart, p.Result != nil, err != nil)
		}
		want := `"a" false false false;"" false false true;`
		if restart {
			want = `"a" false false false;"" true false false;"good" false false false;"" false true false;`
		}
		if got != want {
			t.Errorf("restart %v: got %s, want %s", restart, got, want)
		}
	}
}

// streams is a model that yields one text.
func streams(name, text string) llm.Model {
	return llm.StreamFunc(name, func(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
		return func(yield func(llm.Chunk, error) bool) {
			_ = yield(llm.Chunk{Text: text}, nil) && yield(llm.Chunk{Finish: llm.FinishStop}, nil)
		}
	})
}

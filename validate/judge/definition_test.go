package judge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/validate"
	_ "llmcall/validate/judge"
)

// opens makes a builder whose models are these, by their names.
func opens(models ...*script) validate.Builder {
	return validate.Builder{OpenModel: func(name string) (llm.Model, error) {
		for _, m := range models {
			if m.name == name {
				return m, nil
			}
		}
		return nil, errors.New("set ACME_API_KEY")
	}}
}

func TestConfigurationSetsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := says(t, waits, fail).named("a"), says(t, pass).named("b")
		s, err := opens(a, b).Build("agent_task", map[string]any{
			"task_prompt": "It greets.", "criteria": []any{"In Latin."}, "judges": []any{a.name, b.name, b.name}, "agree": 3, "max_attempts": 5,
			"attempt_timeout": "2s", "max_tokens": 77, "max_characters": 100, "temperature": 0.5, "with_request": true,
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		v, err := s.Check(t.Context(), &validate.Answer{Text: strings.Repeat("x", 101), Request: llm.Prompt("Greet!")})
		want(t, "agree", lines(v), err, "it is rude (be polite)")
		if d := time.Since(begun).Round(time.Second); d != 3*time.Second {
			t.Errorf("after %v", d)
		}
		r := a.requests()[0]
		contains(t, "sent", r.Messages[0].Text()+r.Messages[1].Text(), "It greets.", "1. In Latin.", "1 characters left out", "Greet!")
		if r.MaxTokens != 77 || *r.Temperature != 0.5 || len(b.requests()) != 2 {
			t.Errorf("%+v", r)
		}
	})
	j := says(t, pass)
	for name, params := range map[string]map[string]any{
		"ai_contradiction_check": {"topic_context": "hours", "sources": "Opens at 9.", "text_to_check": "At 9.", "from_request": true},
		"agent_task":             {"task_prompt": "hours"},
	} {
		params["validation_model"], params["temperature"], params["attempt_timeout"] = j.name, "none", 0.5
		s, err := opens(j).Build(name, params)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Check(t.Context(), &validate.Answer{Text: "x", Request: llm.Prompt("Tell me.")}); err != nil {
			t.Fatal(err)
		}
		r := j.requests()[len(j.requests())-1]
		if s.Name() != name || r.Temperature != nil || !strings.Contains(r.Messages[0].Text(), "hours") {
			t.Errorf("%s: %+v", s.Name(), r)
		}
		if name == "ai_contradiction_check" {
			contains(t, name, r.Messages[1].Text(), "Opens at 9.", "At 9.", "Tell me.")
		}
	}
}

func TestWhatConfigurationGetsWrongNamesTheParameter(t *testing.T) {
	j := says(t, pass)
	for _, c := range []struct{ params, want string }{
		{``, `task_prompt must be a text that says what must be true of the answer, got nothing`},
		{`"task_prompt": 3`, `task_prompt must be a text that says what must be true of the answer, got 3`},
		{`"task_prompt": "x"`, `validation_model must be the judge's full name, "provider/model", unless judges is set, got nothing`},
		{`"task_prompt": "x", "validation_model": ""`, `validation_model must be the judge's full name, "provider/model", unless judges is set, got ""`},
		{`"task_prompt": "x", "validation_model": "acme/x"`, `validation_model must be the full name of a model, "provider/model", got "acme/x": set ACME_API_KEY`},
		{`"task_prompt": "x", "judges": ["J", "acme/x"]`, `judges[1] must be the full name of a model, "provider/model", got "acme/x": set ACME_API_KEY`},
		{`"task_prompt": "x", "judges": []`, `judges must be a model's full name, "provider/model", or a list of such, got an empty list`},
		{`"task_prompt": "x", "judges": ["J", 3]`, `judges[1] must be a string, got 3`},
		{`"task_prompt": "x", "judges": [` + strings.Repeat(`"J", `, 16) + `"J"]`, `judges must be at most 16 models, got 17`},
		{`"task_prompt": "x", "judges": ["J"], "validation_model": "J"`, `validation_model must be unset if judges is set, got both`},
		{`"task_prompt": "x", "validation_model": "J", "mcp_config": {}`, `mcp_config must be unset, since judges have no tools here (give the facts as texts, or, in Go, a model that calls its tools itself), got a value`},
		{`"task_prompt": "x", "validation_model": "J", "required_mcp_tools": ["a"]`, `required_mcp_tools must be unset, since judges have no tools here (give the facts as texts, or, in Go, a model that calls its tools itself), got a value`},
		{`"task_prompt": "x", "validation_model": "J", "agree": 2`, `agree must be a whole number from 1 to the number of judges (1), got 2`},
		{`"task_prompt": "x", "validation_model": "J", "agree": "all"`, `agree must be a whole number of at least 1, got "all"`},
		{`"task_prompt": "x", "validation_model": "J", "max_attempts": 0`, "max_attempts must be a whole number of at least 1, got 0"},
		{`"task_prompt": "x", "validation_model": "J", "max_tokens": -1`, `max_tokens must be a whole number from 1 to 2147483647, got -1`},
		{`"task_prompt": "x", "validation_model": "J", "max_characters": 5`, `max_characters must be a whole number of at least 100, got 5`},
		{`"task_prompt": "x", "validation_model": "J", "temperature": "low"`, `temperature must be a number from 0 to 2, or "none", got "low"`},
		{`"task_prompt": "x", "validation_model": "J", "temperature": 3`, `temperature must be a number from 0 to 2, got 3`},
		{`"task_prompt": "x", "validation_model": "J", "attempt_timeout": "soon"`, `attempt_timeout must be a time above 0 (seconds, or a duration like "30s"), got "soon"`},
		{`"task_prompt": "x", "validation_model": "J", "attempt_timeout": 0`, `attempt_timeout must be a time above 0 (seconds, or a duration like "30s"), got 0`},
		{`"task_prompt": "x", "validation_model": "J", "attempt_timeout": -1`, `attempt_timeout must be a time above 0 (seconds, or a duration like "30s"), got -1`},
		{`"task_prompt": "x", "validation_model": "J", "attempt_timeout": 1e99`, `attempt_timeout must be a time above 0 (seconds, or a duration like "30s"), got 1e99`},
		{`"task_prompt": "x", "validation_model": "J", "attempt_timeout": true`, `attempt_timeout must be a time above 0 (seconds, or a duration like "30s"), got true`},
		{`"task_prompt": "x", "validation_model": "J", "criteria": 3`, `criteria must be a string or a list of strings, got 3`},
		{`"task_prompt": "x", "validation_model": "J", "criteria": [" "]`, `criteria[0] must be a text that is not blank, got " "`},
		{`"task_prompt": "x", "validation_model": "J", "with_request": "yes"`, `with_request must be true or false, got "yes"`},
		{`"duty": "x"`, `duty: unknown parameter: known are task_prompt, criteria, with_request, validation_model, judges, agree, max_attempts, `},
	} {
		spec := strings.ReplaceAll("agent_task:{"+c.params+"}", `"J"`, fmt.Sprintf("%q", j.name))
		_, err := opens(j).Parse(spec)
		if _, ok := errors.AsType[*validate.ParamError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant %s", spec, err, c.want)
		}
	}
	for params, wanted := range map[string]string{
		``: `topic_context must be a text that says what the answer is about, got nothing`, `"topic_context": "x", "sources": {}`: `sources must be a string or a list of strings, got {}`, `"topic_context": "x", "text_to_check": 1`: `text_to_check must be a string, got 1`,
		`"topic_context": "x", "from_request": 1`: `from_request must be true or false, got 1`, `"topic_context": "x"`: `validation_model must be the judge's full name, "provider/model", unless judges is set, got nothing`,
	} {
		if _, err := opens(j).Parse("ai_contradiction_check:{" + params + "}"); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %v, want %s", params, err, wanted)
		}
	}
	// A program that opens no models says so, before the first call.
	if _, err := validate.Parse(`agent_task:{"task_prompt": "x", "validation_model": "openai/gpt-6-luna"}`); err == nil || !strings.Contains(err.Error(), "opens no model") {
		t.Error(err)
	}
}

// Within a combination, too, judges are opened by the builder.
func TestAJudgeWithinACombination(t *testing.T) {
	j := says(t, fail)
	s, err := opens(j).Build("at", map[string]any{"pointer": "/text", "check": map[string]any{
		"type": "agent_task", "params": map[string]any{"task_prompt": "polite", "validation_model": j.name},
	}})
	if err != nil {
		t.Fatal(err)
	}
	report := validate.Run(t.Context(), []validate.Strategy{s}, &validate.Answer{Text: `{"text": "Go away."}`}, 0)
	if len(report.Complaints) != 1 || report.Complaints[0].Pointer != "/text" || report.Usage.InputTokens != 100 {
		t.Errorf("%+v", report)
	}
	contains(t, "sent", j.requests()[0].Messages[1].Text(), "\nGo away.\n")
}

// A judge's outage is that of all who ask the model, in the registry that they have in common.
func TestAJudgeIsAskedInTheBuildersRegistry(t *testing.T) {
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	j := says(t, pass).named("shared")
	builder := opens(j)
	builder.Endpoints = registry
	if _, err := builder.Build("any", map[string]any{"checks": []any{map[string]any{"agent_task": map[string]any{"task_prompt": "It greets.", "validation_model": j.name}}}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for e := range registry.All() {
		names = append(names, e.Key().Model)
	}
	if len(names) != 1 || names[0] != j.name {
		t.Errorf("the registry has %q", names)
	}
}

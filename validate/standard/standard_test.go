package standard_test

import (
	"context"
	"testing"

	"llmcall/llm"
	"llmcall/validate"
	_ "llmcall/validate/standard"
)

func TestAllNamesAreKnownAndTheirExamplesCanBeMade(t *testing.T) {
	// Nothing is called: the checks are made, and not run.
	builder := validate.Builder{OpenModel: func(name string) (llm.Model, error) { return llm.Func(name, nil), nil }}
	known := map[string]bool{}
	for _, info := range validate.Checks() {
		for _, name := range append(info.Aliases, info.Name) {
			known[name] = true
		}
		s, err := builder.Parse(info.Example)
		if err != nil {
			t.Errorf("the example of %s: %v", info.Name, err)
			continue
		}
		if s.Name() != info.Name || info.Summary == "" {
			t.Errorf("%s: name %q, summary %q", info.Name, s.Name(), info.Summary)
		}
		for _, p := range info.Params {
			if p.Name == "" || p.Type == "" || p.Meaning == "" {
				t.Errorf("%s: %+v", info.Name, p)
			}
		}
	}
	for _, name := range []string{"agent_task", "ai_contradiction_check"} {
		if !known[name] {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"code", "python", "sql", "sql_safe", "openapi_spec"} {
		if !known[name] {
			t.Errorf("%s is not known", name)
		}
		s, err := validate.Build(name, nil)
		if err != nil {
			t.Errorf("%s without parameters: %v", name, err)
			continue
		}
		report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{Text: "I cannot help with that."}, 0)
		if len(report.Failed) > 0 || len(report.Complaints) != 1 {
			t.Errorf("%s of prose: %+v", name, report)
		}
	}
}

package llmcall_test

import (
	"fmt"
	"slices"
	"testing"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
)

// lacking is a model whose API has neither a seed nor stop sequences, as its adapter says.
type lacking struct{ *player }

func (lacking) Lacks() []string { return []string{"seed", "stop"} }

// What an alternative can't take of a request that was made for another model is left out,
// and the trace says so; its own model gets all, and refuses it.
func TestSettingsFitTheModel(t *testing.T) {
	seed, all := new(int64(7)), map[string]any{"reasoning_effort": "low"}
	request := &llm.Request{Messages: []llm.Message{llm.User("?")}, Seed: seed, Stop: []string{"END"}, Extra: all}
	extraNote, seedNote, stopNote := "extra of the request left out: its fields are those of openai", "seed left out: the API of claude/b has none", "stop left out: the API of claude/b has none"
	for _, row := range []struct {
		name   string
		models []string
		stages []llmcall.Stage
		want   string // of the last request
		notes  []string
	}{
		{"an alternative of another provider", []string{"openai/a", "claude/b"}, nil, "seed false, stop [], extra map[]", []string{extraNote, seedNote, stopNote}},
		{"one that has all settings", []string{"openai/a", "gemini/b"}, nil, "seed true, stop [END], extra map[]", []string{extraNote}},
		{"one of the same provider", []string{"openai/a", "openai/b"}, nil, "seed true, stop [END], extra map[reasoning_effort:low]", nil},
		{"the first model", []string{"claude/b", "claude/b2"}, []llmcall.Stage{{Models: []string{"claude/b"}}}, "seed true, stop [END], extra map[reasoning_effort:low]", nil},
		{"a stage's own model", []string{"openai/a", "claude/b"}, []llmcall.Stage{{Models: []string{"openai/a"}}, {Models: []string{"claude/b"}}}, "seed false, stop [], extra map[]", []string{extraNote, seedNote, stopNote}},
		{"and its own settings", []string{"openai/a", "claude/b"}, []llmcall.Stage{{Models: []string{"openai/a"}}, {Models: []string{"claude/b"}, Seed: seed, Stop: []string{"."}, Extra: map[string]any{"thinking": 1}}},
			"seed true, stop [.], extra map[thinking:1]", []string{extraNote}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := exact(llmcall.RetryConfig{Stages: row.stages})
			first := kind(failure.Unauthorized)
			var models []llm.Model
			var last *player
			for i, name := range row.models {
				p := aModel(name)
				if i == 0 && row.stages == nil {
					p.steps = []step{first}
				} else if i == 0 && len(row.stages) > 1 {
					p.steps = []step{say("bad")}
				}
				if i == 1 || len(row.stages) == 1 {
					last = p
				}
				if name == "claude/b" {
					models = append(models, lacking{p})
				} else {
					models = append(models, p)
				}
				if len(row.stages) == 1 {
					models = append(models, aModel(row.models[1]))
					break
				}
			}
			c, err := llmcall.New(models, checked, cfg)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Do(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			sent := last.last()
			if got := fmt.Sprintf("seed %v, stop %v, extra %v", sent.Seed != nil, sent.Stop, sent.Extra); got != row.want {
				t.Errorf("sent %s, want %s", got, row.want)
			}
			if got := r.Attempts[len(r.Attempts)-1].Notes; !slices.Equal(got, row.notes) {
				t.Errorf("noted %q, want %q", got, row.notes)
			}
		})
	}
	if request.Seed == nil || len(request.Extra) != 1 {
		t.Error("the caller's request was changed")
	}
}

// What a model has sent of the conversation stays as it was, so that caches hold; and a stage without
// tools still says what the calls in it are of.
func TestTheConversationOfTheNextStage(t *testing.T) {
	tool := llmcall.Tool{Tool: llm.Tool{Name: "look"}} // without Run: its calls are the answer
	first := aModel("test/first", wants(llm.Text("thinking"), calls("1", "look", `{}`)), say("a"))
	second := aModel("test/second")
	c, err := llmcall.New([]llm.Model{first, second}, checked, exact(llmcall.RetryConfig{
		Tools:  []llmcall.Tool{tool},
		Stages: []llmcall.Stage{{Models: []string{"test/first"}, Tools: []string{"look"}}, {Models: []string{"test/second"}}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	given := &llm.Request{Messages: []llm.Message{llm.System("Be brief."), llm.User("?")}}
	if _, err := c.Do(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	r := second.last()
	if len(r.Tools) != 1 || r.Tools[0].Name != "look" || !r.NoToolCalls {
		t.Errorf("the second stage offers %+v, no calls %v", r.Tools, r.NoToolCalls)
	}
	if talk(r.Messages[:2]) != talk(given.Messages) || len(r.Messages[2].ToolCalls()) != 1 {
		t.Errorf("the second stage is sent %s", talk(r.Messages))
	}
}

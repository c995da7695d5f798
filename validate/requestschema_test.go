package validate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

func requesting(schema string) *llm.Request {
	return &llm.Request{Schema: &llm.Schema{Name: "x", JSON: json.RawMessage(schema)}}
}

func TestAnAnswerFitsTheSchemaOfItsRequest(t *testing.T) {
	const object = `{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}`
	calls := &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f"}}}}
	for _, c := range []struct {
		name     string
		answer   validate.Answer
		spec     string
		problems []string
		failed   string
	}{
		{name: "fits", answer: validate.Answer{Text: `{"n": 1}`, Request: requesting(object)}},
		{name: "does not fit", answer: validate.Answer{Text: `{"n": "1"}`, Request: requesting(object)}, problems: []string{"/n"}},
		{name: "another schema", answer: validate.Answer{Text: `{"n": 1}`, Request: requesting(`{"type": "array"}`)}, problems: []string{""}},
		{name: "no JSON", answer: validate.Answer{Text: `Sure!`, Request: requesting(object)}, problems: []string{""}},
		{name: "prose around", answer: validate.Answer{Text: `Sure: {"n": 1}`, Request: requesting(object)}, problems: []string{""}},
		{name: "prose repaired", answer: validate.Answer{Text: `Sure: {"n": 1}`, Request: requesting(object)}, spec: `request_schema:{"repair": true}`},
		{name: "no schema", answer: validate.Answer{Text: `Sure!`, Request: &llm.Request{}}},
		{name: "no request", answer: validate.Answer{Text: `Sure!`}},
		{name: "a call of a tool", answer: validate.Answer{Response: calls, Request: requesting(object)}},
		{name: "a call of a tool after a word", answer: validate.Answer{Text: "Let me look.", Response: calls, Request: requesting(object)}},
		{name: "an empty answer", answer: validate.Answer{Response: &llm.Response{}, Request: requesting(object)}, problems: []string{""}},
		{name: "not a schema", answer: validate.Answer{Text: `1`, Request: requesting(`{"type": "integr"}`)}, failed: "the schema that the request asks for"},
		{name: "an empty schema", answer: validate.Answer{Text: `1`, Request: requesting(``)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.spec == "" {
				c.spec = "request_schema"
			}
			check := validate.Must(validate.Parse(c.spec))
			report := validate.Run(t.Context(), []validate.Strategy{check}, &c.answer, 0)
			var at []string
			for _, complaint := range report.Complaints {
				at = append(at, complaint.Pointer)
				if complaint.Check != "request_schema" {
					t.Errorf("got the check %q", complaint.Check)
				}
			}
			if fmt.Sprint(at) != fmt.Sprint(c.problems) {
				t.Errorf("got %v", report.Complaints)
			}
			failed := ""
			for _, f := range report.Failed {
				failed += f.Error()
				if f.FailureKind() != failure.CheckUnavailable {
					t.Errorf("got the kind %v", f.FailureKind())
				}
			}
			if (c.failed == "") != (failed == "") || !strings.Contains(failed, c.failed) {
				t.Errorf("got the failure %q", failed)
			}
			if c.name == "fits" && !report.Decoded {
				t.Error("the value is not decoded")
			}
		})
	}
}

// A stream is stopped as soon as it can't become JSON, unless a tool may be called.
func TestAStreamIsHeldToTheSchemaOfItsRequest(t *testing.T) {
	tools := requesting(`{}`)
	tools.Tools = []llm.Tool{{Name: "f"}}
	without := requesting(`{}`)
	without.Tools, without.NoToolCalls = tools.Tools, true
	for _, c := range []struct {
		name, spec string
		req        *llm.Request
		watched    bool
	}{
		{"a schema", "request_schema", requesting(`{}`), true},
		{"no schema", "request_schema", &llm.Request{}, false},
		{"no request", "request_schema", nil, false},
		{"repaired", `request_schema:{"repair": true}`, requesting(`{}`), false},
		{"with tools", "request_schema", tools, false},
		{"with tools that are not called", "request_schema", without, true},
	} {
		watcher := validate.Watch([]validate.Strategy{validate.Must(validate.Parse(c.spec))}, c.req)
		if (watcher != nil) != c.watched {
			t.Errorf("%s: watched by %v", c.name, watcher)
		}
		if watcher == nil {
			continue
		}
		if said := watcher.Feed(`{"a": `); said != nil {
			t.Errorf("%s: %v", c.name, said)
		}
		if said := watcher.Feed("Sure"); said == nil || said.Check != "request_schema" {
			t.Errorf("%s: %v", c.name, said)
		}
	}
}

// More schemas than are kept, by many at once: each answer is held to its own.
func TestManySchemasAtOnce(t *testing.T) {
	check := validate.RequestSchema()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			for _, n := range []int{i, i % 3, i} {
				for text, right := range map[string]bool{fmt.Sprint(n): true, fmt.Sprint(n + 1): false} {
					v, err := check.Check(t.Context(), &validate.Answer{Text: text, Request: requesting(fmt.Sprintf(`{"const": %d}`, n))})
					if err != nil || (len(v.Complaints) == 0) != right {
						t.Errorf("%s for %d: %v, %v", text, n, v.Complaints, err)
					}
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkRequestSchema(b *testing.B) {
	check := validate.RequestSchema()
	answer := &validate.Answer{Text: `{"n": 1}`, Request: requesting(`{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}`)}
	for b.Loop() {
		if v, err := check.Check(b.Context(), answer); err != nil || len(v.Complaints) > 0 {
			b.Fatal(v, err)
		}
	}
}

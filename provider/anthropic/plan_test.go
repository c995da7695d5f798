package anthropic_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
)

const (
	citySchema = `{"type":"object","properties":{"city":{"type":"string"},"n":{"const":1.0}},"required":["n","city"],"additionalProperties":false}`
	treeSchema = `{"type":"object","properties":{"left":{"$ref":"#/$defs/t"}},"additionalProperties":false,"$defs":{"t":{"type":"object","properties":{"left":{"$ref":"#/$defs/t"}},"additionalProperties":false}}}`
)

// asked is a request with a schema, changed by change.
func asked(schema string, change ...func(*llm.Request)) *llm.Request {
	r := llm.Prompt("x")
	r.Schema = &llm.Schema{Name: "city", JSON: json.RawMessage(schema)}
	for _, c := range change {
		c(r)
	}
	return r
}

func extra(name string, value any) func(*llm.Request) {
	return func(r *llm.Request) { r.Extra = map[string]any{name: value} }
}

func withTool(name string) func(*llm.Request) {
	return func(r *llm.Request) { r.Tools = append(r.Tools, llm.Tool{Name: name}) }
}

func TestWaysToAskForASchema(t *testing.T) {
	const (
		format = `"output_config":{"format":{"type":"json_schema","schema":` + citySchema + `}}`
		forced = `"tool_choice":{"name":"city","disable_parallel_tool_use":true,"type":"tool"}`
		words  = `answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:`
	)
	disabled := extra("thinking", map[string]any{"type": "disabled"})
	thinking := extra("thinking", map[string]any{"type": "adaptive"})
	for _, step := range []struct {
		model, schema string
		change        func(*llm.Request)
		want          string
	}{
		{"claude-haiku-5-5", citySchema, nil, format},
		{"claude-opus-5-5", citySchema, thinking, format},
		{"claude-opus-4-5-20251101", citySchema, nil, format},
		{"anthropic.claude-sonnet-4-5-20250929-v1:0", citySchema, nil, format},
		{"claude-sonnet-4.6", citySchema, nil, format},
		{"claude-mythos-preview", citySchema, nil, format},
		{"claude-haiku-5-5", citySchema, withTool("f"), format},
		{"claude-haiku-5-5", citySchema, withTool("f"), `"tools":[{"input_schema":{"type":"object"},"name":"f"}]`},

		{"claude-opus-4-1-20250805", citySchema, nil, forced},
		{"claude-opus-4-1@20250805", citySchema, disabled, forced},
		{"claude-sonnet-4-20250514", citySchema, nil, `"input_schema":` + citySchema},
		{"claude-3-5-haiku-20241022", citySchema, nil, forced},
		{"qwen3", citySchema, nil, forced},
		{"qwen3", citySchema, withTool("f"), `"tool_choice":{"type":"any"}`},
		{"qwen3", citySchema, withTool("city"), `"name":"city_"`},
		{"claude-sonnet-4-6", treeSchema, nil, forced},

		{"claude-haiku-5-5", treeSchema, nil, `"text":"Answer with`},
		{"claude-mythos-preview", treeSchema, nil, `"text":"Answer with`},
		{"claude-sonnet-4-6", treeSchema, thinking, `"text":"Answer with`},
		{"claude-sonnet-4-6", treeSchema, extra("tool_choice", map[string]any{"type": "none"}), `"text":"Answer with`},
		{"claude-sonnet-4-6", treeSchema, extra("tools", []any{}), `"text":"Answer with`},
		{"qwen3", `{"type":"array","items":{"type":"string"}}`, nil, `"text":"Answer with`},
		{"claude-haiku-5-5", treeSchema, withTool("f"), `"text":"Unless you call a tool, ` + words},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		request := asked(step.schema)
		if step.change != nil {
			step.change(request)
		}
		got := e.Sent(t, called(t, step.model, e), request)
		if !strings.Contains(got, step.want) {
			t.Errorf("%s: sent %s, want %s", step.model, got, step.want)
		}
		ways := 0
		for _, way := range []string{`"output_config"`, `"tool_choice":{"name"`, `"tool_choice":{"type":"any"`, `valid against this JSON Schema`} {
			ways += strings.Count(got, way)
		}
		if ways != 1 {
			t.Errorf("%s: asks in %d ways: %s", step.model, ways, got)
		}
	}
}

func TestNameOfTheToolIsLegalAndNobodysElse(t *testing.T) {
	for _, step := range []struct {
		name  string
		tools []string
		want  string
	}{
		{"city", nil, "city"},
		{"", nil, "answer"},
		{"a city", nil, "answer"},
		{strings.Repeat("x", 65), nil, "answer"},
		{"", []string{"answer_", "answer"}, "answer__"},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		request := asked(citySchema)
		request.Schema.Name = step.name
		for _, tool := range step.tools {
			withTool(tool)(request)
		}
		got := e.Sent(t, called(t, "claude-opus-4-1", e), request)
		if !strings.Contains(got, `"name":"`+step.want+`"`) {
			t.Errorf("%q beside %q: sent %s", step.name, step.tools, got)
		}
	}
}

func TestInstructionsFollowTheSystemPrompt(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	request := asked(`{"type":"array"}`)
	request.Messages = append([]llm.Message{llm.System("Be brief.")}, request.Messages...)
	got := e.Sent(t, model(t, e.Server, nil), request)
	if want := `"system":[{"text":"Be brief.\nAnswer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n{\"type\":\"array\"}","type":"text"}]`; !strings.Contains(got, want) {
		t.Errorf("sent %s", got)
	}
}

func TestOutputConfigOfTheCallersKeepsTheFormat(t *testing.T) {
	for _, step := range []struct {
		own  any
		want string
	}{
		{map[string]any{"effort": "low"}, `{"effort":"low","format":{"type":"json_schema","schema":` + citySchema + `}}`},
		{json.RawMessage(`{}`), `{"format":{"type":"json_schema","schema":` + citySchema + `}}`},
		{map[string]any{"format": nil}, `{"format":null}`},
		{nil, `null`},
		{7, `7`},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		request := asked(citySchema, extra("output_config", step.own))
		got := e.Sent(t, model(t, e.Server, nil), request)
		var body struct {
			OutputConfig json.RawMessage `json:"output_config"`
		}
		if err := json.Unmarshal([]byte(got), &body); err != nil || !same(t, string(body.OutputConfig), step.want) {
			t.Errorf("%v: sent %s, %v", step.own, got, err)
		}
		if !reflect.DeepEqual(request.Extra["output_config"], step.own) {
			t.Errorf("the request was changed: %v", request.Extra)
		}
	}
}

func TestInputOfTheToolIsTheAnswersText(t *testing.T) {
	const answer = `{"city": "Berlin", "n": 1.0}`
	for _, step := range []struct {
		name, body string
		parts      []llm.Part
		finish     llm.Finish
	}{
		{"the answer", `{"content":[{"type":"tool_use","id":"1","name":"city","input":` + answer + `}],"stop_reason":"tool_use"}`,
			[]llm.Part{llm.Text(answer)}, llm.FinishStop},
		{"the answer, cut off", `{"content":[{"type":"tool_use","id":"1","name":"city","input":{}}],"stop_reason":"max_tokens"}`,
			[]llm.Part{llm.Text("{}")}, llm.FinishLength},
		{"plain text", `{"content":[{"type":"text","text":"hm"}],"stop_reason":"end_turn"}`,
			[]llm.Part{llm.Text("hm")}, llm.FinishStop},
		{"another tool", `{"content":[{"type":"tool_use","id":"1","name":"f","input":{}}],"stop_reason":"tool_use"}`,
			[]llm.Part{llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage("{}")}}, llm.FinishToolCall},
		{"both", `{"content":[{"type":"tool_use","id":"1","name":"city","input":{}},{"type":"tool_use","id":"2","name":"f","input":{}}],"stop_reason":"tool_use"}`,
			[]llm.Part{llm.Text("{}"), llm.ToolCall{ID: "2", Name: "f", Arguments: json.RawMessage("{}")}}, llm.FinishToolCall},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Config.Handler = reply(200, step.body)
		got := answers(t, called(t, "claude-opus-4-1", e), asked(citySchema))
		if got.Finish != step.finish || !reflect.DeepEqual(got.Message.Parts, step.parts) {
			t.Errorf("%s: got %q, %q", step.name, got.Message.Parts, got.Finish)
		}
	}
	// Where no schema is asked for, the name is nobody's but the caller's.
	m := model(t, server(t, reply(200, `{"content":[{"type":"tool_use","id":"1","name":"city","input":{}}],"stop_reason":"tool_use"}`)), nil)
	if got := answers(t, m, llm.Prompt("x")); got.Finish != llm.FinishToolCall || len(got.Message.ToolCalls()) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestInputOfTheToolIsStreamedAsText(t *testing.T) {
	events := []string{event(oneLine(start)), begin(0, `{"type":"tool_use","id":"1","name":"city","input":{}}`),
		delta(0, `{"type":"input_json_delta","partial_json":"{\"city\""}`), delta(0, `{"type":"input_json_delta","partial_json":": 1}"}`), end(0),
		event(`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":10}}`), event(stopped)}
	e := providertest.NewEcho(t, reply(200, hello))
	e.Config.Handler = stream(events...)
	m := called(t, "claude-opus-4-1", e)
	var pieces []string
	var whole llm.Assembly
	for chunk, err := range m.Stream(t.Context(), asked(citySchema)) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text != "" {
			pieces = append(pieces, chunk.Text)
		}
		whole.Add(chunk)
	}
	if got := whole.Response(); len(pieces) != 2 || got.Text() != `{"city": 1}` || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 {
		t.Errorf("got %q, %+v", pieces, got)
	}
	// A server that sends the input with the start.
	e.Config.Handler = stream(event(oneLine(start)), begin(0, `{"type":"tool_use","id":"1","name":"city","input":{"city":"B"}}`), end(0),
		event(`{"type":"message_delta","delta":{"stop_reason":"tool_use"}}`), event(stopped))
	if got, err := streamed(t.Context(), m, asked(citySchema)); err != nil || got.Text() != `{"city":"B"}` || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
}

// refusing is a server that refuses one request with this message, and answers
// every other.
func refusing(t *testing.T, message string) *providertest.Echo {
	e := providertest.NewEcho(t, reply(200, hello))
	answer, first := e.Config.Handler, true
	e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			body, _ := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": "invalid_request_error", "message": message}})
			reply(400, string(body))(w, r)
			return
		}
		answer.ServeHTTP(w, r)
	})
	return e
}

func TestRefusalsAreRemembered(t *testing.T) {
	const (
		format, tool, words = `"output_config"`, `"tool_choice"`, `valid against this JSON Schema`
		other               = `{"type":"object","properties":{"other":{"type":"string"}},"additionalProperties":false}`
	)
	for _, step := range []struct {
		model, message string
		again, next    string // how the same schema is asked for, and another
		ends           bool   // the call fails: nothing that it can do without was refused
	}{
		{"claude-haiku-5-5", "output_config.format.schema: For 'object' type, property 'x' is not supported", words, format, false},
		{"claude-haiku-5-5", "Schema is too complex for compilation", words, format, false},
		{"claude-sonnet-4-6", "Too many recursive definitions in schema", tool, format, false},
		{"claude-haiku-5-5", "This model does not support structured outputs.", words, words, false},
		{"claude-sonnet-4-6", "output_config: Extra inputs are not permitted", tool, tool, false},
		{"qwen3", "tool_choice is not supported", words, words, false},
		{"qwen3", "Thinking may not be enabled when tool_choice forces tool use.", words, words, false},

		{"claude-haiku-5-5", "temperature is deprecated for this model.", format, format, true},
		{"claude-haiku-5-5", "tools.0.custom.input_schema: JSON schema is invalid", format, format, true},
		{"qwen3", "messages: final assistant content cannot end with trailing whitespace", tool, tool, true},
	} {
		e := refusing(t, step.message)
		m := called(t, step.model, e)
		_, err := m.Complete(t.Context(), asked(citySchema))
		if step.ends && (failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), step.message)) || !step.ends && err != nil {
			t.Errorf("%s: got %v", step.message, err)
		}
		if got := e.Sent(t, m, asked(citySchema)); !strings.Contains(got, step.again) {
			t.Errorf("%s: again: sent %s, want %s", step.message, got, step.again)
		}
		if got := e.Sent(t, m, asked(other)); !strings.Contains(got, step.next) {
			t.Errorf("%s: next: sent %s, want %s", step.message, got, step.next)
		}
	}
}

func TestOneRefusalDoesNotCloseTheLastWay(t *testing.T) {
	e := refusing(t, "output_config: not supported, nor is tool_choice, nor a schema")
	m := called(t, "claude-haiku-5-5", e)
	if _, err := streamed(t.Context(), m, asked(treeSchema)); failure.KindOf(err) != failure.InvalidRequest {
		t.Errorf("got %v", err)
	}
	if got := e.Sent(t, m, asked(treeSchema)); !strings.Contains(got, "valid against this JSON Schema") {
		t.Errorf("sent %s", got)
	}
}

func TestConversationWithFeedbackIsLegalInEveryWay(t *testing.T) {
	for _, name := range []string{"claude-haiku-5-5", "claude-opus-4-1", "qwen3"} {
		e := providertest.NewEcho(t, reply(200, hello))
		request := asked(citySchema)
		request.Messages = append(request.Messages, llm.Assistant(`{"city": 1}`), llm.User("The city is no text."))
		got := e.Sent(t, called(t, name, e), request)
		if want := `"messages":[{"content":[{"text":"x","type":"text"}],"role":"user"},{"content":[{"text":"{\"city\": 1}","type":"text"}],"role":"assistant"},{"content":[{"text":"The city is no text.","type":"text"}],"role":"user"}]`; !strings.Contains(got, want) {
			t.Errorf("%s: sent %s", name, got)
		}
	}
}

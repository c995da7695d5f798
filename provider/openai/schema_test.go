package openai_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

const instruction = `Answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n`

// shaped asks for an answer of a shape.
func shaped(schema string, messages ...llm.Message) *llm.Request {
	return &llm.Request{Messages: messages, Schema: &llm.Schema{Name: "s", JSON: json.RawMessage(schema)}}
}

func TestSchemaInThePrompt(t *testing.T) {
	const object = `{ "type": "object", "properties": {"z": {}, "a": {"const": 1.0}} }`
	const compact = `{\"type\":\"object\",\"properties\":{\"z\":{},\"a\":{\"const\":1.0}}}`
	for _, step := range []struct {
		name    string
		mode    openai.SchemaMode
		request *llm.Request
		want    string // behind the model
	}{
		{"no system message", openai.SchemaPrompt, shaped(object, llm.User("x")),
			`"messages":[{"role":"system","content":"` + instruction + compact + `"},{"role":"user","content":"x"}]`},
		{"a system message", openai.SchemaPrompt, shaped(object, llm.System("Be brief."), llm.User("x"), llm.System("y")),
			`"messages":[{"role":"system","content":"Be brief.\n` + instruction + compact + `"},{"role":"user","content":"x"},{"role":"system","content":"y"}]`},
		{"an object", openai.SchemaObject, shaped(object, llm.User("x")),
			`"messages":[{"role":"system","content":"` + instruction + compact + `"},{"role":"user","content":"x"}],"response_format":{"type":"json_object"}`},
		{"enforced and shown", openai.SchemaShown, shaped(object, llm.User("x")),
			`"messages":[{"role":"system","content":"` + instruction + compact + `"},{"role":"user","content":"x"}],
			"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":false,"schema":{"type":"object","properties":{"z":{},"a":{"const":1}}}}}`},
		{"no object", openai.SchemaObject, shaped(`{"type":["object","null"]}`, llm.User("x")),
			`"messages":[{"role":"system","content":"` + instruction + `{\"type\":[\"object\",\"null\"]}"},{"role":"user","content":"x"}]`},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		m := model(t, e.Server, func(o *openai.Options) { o.Schema = step.mode })
		before, _ := json.Marshal(step.request)
		if got := e.Sent(t, m, step.request); !same(t, got, `{"model":"gpt-6-luna",`+step.want+`}`) {
			t.Errorf("%s: sent %s", step.name, got)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
	}
}

func TestSchemaInThePromptOfResponses(t *testing.T) {
	for mode, want := range map[openai.SchemaMode]string{
		openai.SchemaPrompt: `"instructions":"Be brief.\n` + instruction + `{\"type\":\"object\"}","input":[{"role":"user","content":"x"}]`,
		// JSON mode wants the word in the input.
		openai.SchemaObject: `"text":{"format":{"type":"json_object"}},"input":[{"role":"system","content":"Be brief.\n` + instruction + `{\"type\":\"object\"}"},{"role":"user","content":"x"}]`,
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(200, responded("completed", "", said("1", "{}")))
		m := responsesModel(t, e, func(o *openai.Options) { o.Schema = mode })
		if _, err := m.Complete(t.Context(), shaped(`{"type":"object"}`, llm.System("Be brief."), llm.User("x"))); err != nil ||
			!same(t, string(e.Body), `{"model":"gpt-6-luna","store":false,"include":["reasoning.encrypted_content"],`+want+`}`) {
			t.Errorf("%s: %v, sent %s", mode, err, e.Body)
		}
	}
}

// A refusal is an error that is worth another attempt, which asks in another
// way; no request is sent twice by the adapter.
func TestWhatAServerLacksIsRemembered(t *testing.T) {
	const object = `{"type":"object","properties":{},"additionalProperties":false}`
	refusal := func(message string) string {
		text, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error"}})
		return string(text)
	}
	for _, step := range []struct {
		name    string
		message string
		modes   []string // how the schema is asked for, request by request
		kind    failure.Kind
	}{
		{"OpenAI's old models", "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", []string{"json_schema", "prompt"}, failure.Transient},
		{"Groq", "This model does not support response format `json_schema`. See supported models.", []string{"json_schema", "prompt"}, failure.Transient},
		{"DeepSeek", "This response_format type is unavailable now", []string{"json_schema", "prompt"}, failure.Transient},
		{"pydantic", "[{'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text' or 'json_object'\"}]", []string{"json_schema", "json_object", "prompt"}, failure.Transient},
		{"a schema that is wrong", "Invalid schema for response_format 's': format 'uri' is not supported.", []string{"json_schema", "json_schema"}, failure.InvalidRequest},
		{"something else", "Unsupported value: 'temperature' does not support 0.5 with this model.", []string{"json_schema", "json_schema"}, failure.InvalidRequest},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(400, refusal(step.message))
		m := model(t, e.Server, nil)
		for i, want := range step.modes {
			_, err := m.Complete(t.Context(), shaped(object, llm.User("x")))
			mode := "prompt"
			for _, name := range []string{"json_schema", "json_object"} {
				if strings.Contains(string(e.Body), `"response_format":{"type":"`+name+`"`) || strings.Contains(string(e.Body), `"type":"`+name+`"}`) {
					mode = name
				}
			}
			kind := step.kind
			if mode == "prompt" { // there is nothing left to do without
				kind = failure.InvalidRequest
			}
			if mode != want || failure.KindOf(err) != kind {
				t.Errorf("%s, request %d: asked by %s, not %s, got %v; sent %s", step.name, i, mode, want, err, e.Body)
			}
		}
	}

	e := providertest.NewEcho(t, reply(200, hello))
	e.Handle = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(string(e.Body), "stream_options") {
			reply(422, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`)(w, r)
			return
		}
		events(delta("hi"), stopped("stop"), done)(w, r)
	}
	m := model(t, e.Server, nil)
	if _, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("x")); failure.KindOf(err) != failure.Transient {
		t.Errorf("got %v", err)
	}
	if got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("x")); err != nil || got.Text() != "hi" || got.Usage != (llm.Usage{}) {
		t.Errorf("got %+v, %v", got, err)
	}

	e = providertest.NewEcho(t, reply(200, hello))
	e.Handle = reply(400, refusal("Encrypted content is not supported with this model."))
	r := responsesModel(t, e, nil)
	if _, err := r.Complete(t.Context(), llm.Prompt("x")); failure.KindOf(err) != failure.Transient || !strings.Contains(string(e.Body), "encrypted") {
		t.Errorf("got %v, sent %s", err, e.Body)
	}
	if _, err := r.Complete(t.Context(), llm.Prompt("x")); failure.KindOf(err) != failure.InvalidRequest || strings.Contains(string(e.Body), "encrypted") {
		t.Errorf("got %v, sent %s", err, e.Body)
	}
}

func TestExtraFields(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	m := model(t, e.Server, nil)
	request := &llm.Request{
		Messages: []llm.Message{llm.User("x")}, MaxTokens: 7,
		Schema: &llm.Schema{Name: "s", JSON: json.RawMessage(`{"z":1,"a":1.0}`)},
		Extra: map[string]any{
			"reasoning_effort": "low", "a.b": []byte("hi"), "max_tokens": 8, "big": json.Number("12345678901234567890"), "nothing": nil,
			"nested": map[string]any{"x": []any{1.5, "<"}}, "9": true, "@this|x:*?#": 1,
		},
	}
	got := e.Sent(t, m, request)
	want := `{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":false,"schema":{"z":1,"a":1}}},
		"reasoning_effort":"low","a.b":"aGk=","max_tokens":8,"big":12345678901234567890,"nothing":null,"nested":{"x":[1.5,"<"]},"9":true,"@this|x:*?#":1}`
	if !same(t, got, want) || !strings.Contains(got, `"schema":{"z":1,"a":1.0}`) || !strings.Contains(got, "12345678901234567890") {
		t.Errorf("sent %s", got)
	}
	e.Handle = events(delta("hi"), stopped("stop"), done)
	if _, err := providertest.Streamed(t, t.Context(), m, request); err != nil || !strings.Contains(string(e.Body), `"a.b":"aGk="`) || !strings.Contains(string(e.Body), `"stream":true`) {
		t.Errorf("%v, sent %s", err, e.Body)
	}
	for name, value := range map[string]any{"stream": false, "model": "x", "messages": nil, "": 1, "nan": math.NaN(), "func": func() {}} {
		e.Body = nil
		request := llm.Prompt("x")
		request.Extra = map[string]any{name: value}
		if _, err := m.Complete(t.Context(), request); failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), `extra: the field "`+name+`"`) || e.Body != nil {
			t.Errorf("%q: got %v, sent %s", name, err, e.Body)
		}
	}
}

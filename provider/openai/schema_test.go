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
			`"messages":[{"role":"user","content":"x\n` + instruction + compact + `"}]`},
		{"a system message", openai.SchemaPrompt, shaped(object, llm.System("Be brief."), llm.User("x"), llm.System("y")),
			`"messages":[{"role":"system","content":"Be brief.\n` + instruction + compact + `"},{"role":"user","content":"x"},{"role":"system","content":"y"}]`},
		{"an object", openai.SchemaObject, shaped(object, llm.User("x")),
			`"messages":[{"role":"user","content":"x\n` + instruction + compact + `"}],"response_format":{"type":"json_object"}`},
		{"enforced and shown", openai.SchemaShown, shaped(object, llm.User("x")),
			`"messages":[{"role":"user","content":"x\n` + instruction + compact + `"}],
			"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":false,"schema":{"type":"object","properties":{"z":{},"a":{"const":1}}}}}`},
		{"no object", openai.SchemaObject, shaped(`{"type":["object","null"]}`, llm.User("x")),
			`"messages":[{"role":"user","content":"x\n` + instruction + `{\"type\":[\"object\",\"null\"]}"}]`},
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

// What a server refuses is left out in the same call, step by step, and in later ones from
// the start.
func TestWhatAServerLacksIsRemembered(t *testing.T) {
	const object = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`
	refusal := func(message string) string {
		text, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error"}})
		return string(text)
	}
	for _, step := range []struct {
		name    string
		message string
		refuses string // the forms
		first   string // how the first call asks, request by request
		next    string // and the next one, with the same schema,
		other   string // and one with another
		fails   bool
	}{
		{"OpenAI's old models", "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", "strict loose", "strict json", "json", "json", false},
		{"a schema of its own kind", "Invalid schema for response_format 's': context=('properties', 'home'), $ref cannot have keywords {'description'}.", "strict", "strict loose", "loose", "strict loose", false},
		{"vLLM", "The provided JSON schema contains features not supported by xgrammar.", "strict loose", "strict loose json", "json", "strict loose json", false},
		{"nothing but text", "This response_format type is unavailable now", "strict loose json", "strict json prompt", "prompt", "prompt", false},
		{"everything", "This response_format type is unavailable now", "strict loose json prompt", "strict json prompt", "strict json prompt", "strict json prompt", true},
		{"something else", "Unsupported value: 'temperature' does not support 0.5 with this model.", "strict", "strict", "strict", "strict", true},
	} {
		var asked []string
		e := providertest.NewEcho(t, nil)
		e.Handle = func(w http.ResponseWriter, r *http.Request) {
			form := "prompt"
			for name, words := range map[string]string{"strict": `"strict":true`, "loose": `"strict":false`, "json": `"type":"json_object"`} {
				if strings.Contains(string(e.Body), words) {
					form = name
				}
			}
			asked = append(asked, form)
			if strings.Contains(step.refuses, form) {
				reply(400, refusal(step.message))(w, r)
				return
			}
			reply(200, hello)(w, r)
		}
		m := model(t, e.Server, nil)
		for i, want := range []string{step.first, step.next, step.other} {
			schema := object
			if i == 2 {
				schema = strings.Replace(object, "string", "integer", 1)
			}
			asked = nil
			_, err := m.Complete(t.Context(), shaped(schema, llm.User("x")))
			if got := strings.Join(asked, " "); got != want || (err != nil) != step.fails || err != nil && failure.KindOf(err) != failure.InvalidRequest {
				t.Errorf("%s, call %d: asked by %s, not %s, got %v", step.name, i, got, want, err)
			}
		}
	}

	e := providertest.NewEcho(t, nil)
	requests := 0
	e.Handle = func(w http.ResponseWriter, r *http.Request) {
		requests++
		if strings.Contains(string(e.Body), "stream_options") {
			reply(422, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`)(w, r)
			return
		}
		events(delta("hi"), stopped("stop"), done)(w, r)
	}
	m := model(t, e.Server, nil)
	for range 2 {
		if got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("x")); err != nil || got.Text() != "hi" || got.Usage != (llm.Usage{}) {
			t.Errorf("got %+v, %v", got, err)
		}
	}

	e = providertest.NewEcho(t, nil)
	e.Handle = func(w http.ResponseWriter, r *http.Request) {
		requests++
		if strings.Contains(string(e.Body), "encrypted") {
			reply(400, refusal("Encrypted content is not supported with this model."))(w, r)
			return
		}
		reply(200, responded("completed", "", said("1", "{}")))(w, r)
	}
	responses := responsesModel(t, e, nil)
	for range 2 {
		if _, err := responses.Complete(t.Context(), llm.Prompt("x")); err != nil {
			t.Errorf("got %v, sent %s", err, e.Body)
		}
	}
	if requests != 6 {
		t.Errorf("%d requests, want two refusals and four answers", requests)
	}
}

// The nulls that only the copy for strict mode allows are not in the answer, whole or
// streamed.
func TestNullsOfTheCopyAreNotInTheAnswer(t *testing.T) {
	const schema = `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["b"],"additionalProperties":false}`
	const answer = `{\"a\":null,\"b\":1}`
	e := providertest.NewEcho(t, reply(200, strings.Replace(hello, "Hello! How can I assist you today?", answer, 1)))
	m := model(t, e.Server, nil)
	if got, err := m.Complete(t.Context(), shaped(schema, llm.User("x"))); err != nil || got.Text() != `{"b":1}` || !strings.Contains(string(e.Body), `"strict":true`) {
		t.Errorf("got %v, %v; sent %s", got, err, e.Body)
	}
	e.Handle = events(delta(`{"a":nu`), delta(`ll,"b"`), delta(`:1}`), stopped("stop"), done)
	if got, err := providertest.Streamed(t, t.Context(), m, shaped(schema, llm.User("x"))); err != nil || got.Text() != `{"b":1}` {
		t.Errorf("streamed: got %v, %v", got, err)
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

package gemini_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
	"llmcall/provider/internal/providertest"
)

// dot is a PNG of one pixel.
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func dotPNG(t *testing.T) []byte {
	data, err := base64.StdEncoding.DecodeString(dot)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func assistant(parts ...llm.Part) llm.Message {
	return llm.Message{Role: llm.RoleAssistant, Parts: parts}
}

func results(parts ...llm.Part) llm.Message { return llm.Message{Role: llm.RoleTool, Parts: parts} }

const userX = `{"role":"user","parts":[{"text":"x"}]}`

// What Ask makes of a struct with a description at a field of another struct's type.
const (
	referring        = `{"type":"object","properties":{"home":{"$ref":"#/$defs/Place","description":"where"}},"$defs":{"Place":{"type":"object"}}}`
	inlinedReferring = `{"type":"object","properties":{"home":{"type":"object","description":"where"}},"$defs":{"Place":{"type":"object"}}}`
)

func TestRequest(t *testing.T) {
	for _, step := range []struct {
		name    string
		request *llm.Request
		want    string
	}{
		{"prompt", llm.Prompt("Hello!"), `{"contents":[{"role":"user","parts":[{"text":"Hello!"}]}]}`},
		{
			"everything",
			&llm.Request{
				Messages: []llm.Message{
					llm.System("Be brief."),
					{Role: llm.RoleUser, Parts: []llm.Part{
						llm.Text("What is this?"),
						llm.Image{Data: dotPNG(t)},
						llm.Image{URL: "https://example.com/cat.PNG?x=1"},
						llm.Image{URL: "https://example.com/cat", MediaType: "image/webp"},
						llm.Image{URL: "gs://bucket/cat"},
					}},
					assistant(llm.Text("Let me look."),
						llm.ToolCall{ID: "1", Name: "look", Arguments: json.RawMessage(`{"at": "it"}`), Signature: []byte("QQ_-")},
						llm.ToolCall{ID: "gemini-call-r-1", Name: "smell"},
						llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"thinking":"."}`)}),
					results(llm.ToolResult{CallID: "1", Content: "A cat."}, llm.ToolResult{CallID: "gemini-call-r-1", Content: "no nose", IsError: true}),
					llm.User("Sure?"),
					llm.User("Really?"),
					assistant(llm.Text("A"), llm.Text("cat")),
					llm.Assistant("!"),
					llm.System("Be kind."),
					llm.User("Thanks."),
					assistant(),
				},
				Tools:     []llm.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "smell"}},
				MaxTokens: 100, Temperature: new(0.0), Stop: []string{"END", "STOP"}, Seed: new(int64(0)),
			},
			`{"systemInstruction":{"parts":[{"text":"Be brief."},{"text":"Be kind."}]},
			"contents":[
				{"role":"user","parts":[{"text":"What is this?"},
					{"inlineData":{"mimeType":"image/png","data":"` + dot + `"}},
					{"fileData":{"fileUri":"https://example.com/cat.PNG?x=1","mimeType":"image/png"}},
					{"fileData":{"fileUri":"https://example.com/cat","mimeType":"image/webp"}},
					{"fileData":{"fileUri":"gs://bucket/cat"}}]},
				{"role":"model","parts":[{"text":"Let me look."},
					{"functionCall":{"id":"1","name":"look","args":{"at":"it"}},"thoughtSignature":"QQ_-"},
					{"functionCall":{"name":"smell","args":{}}}]},
				{"role":"user","parts":[
					{"functionResponse":{"id":"1","name":"look","response":{"output":"A cat."}}},
					{"functionResponse":{"name":"smell","response":{"error":"no nose"}}},
					{"text":"Sure?"},{"text":"Really?"}]},
				{"role":"model","parts":[{"text":"A"},{"text":"cat"},{"text":"!"}]},
				{"role":"user","parts":[{"text":"Thanks."}]}],
			"tools":[{"functionDeclarations":[{"name":"look","description":"Looks.","parametersJsonSchema":{"type":"object"}},{"name":"smell"}]}],
			"generationConfig":{"maxOutputTokens":100,"temperature":0,"stopSequences":["END","STOP"],"seed":0}}`,
		},
		{
			"lists that are empty",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Stop: []string{}, Tools: []llm.Tool{}},
			`{"contents":[` + userX + `]}`,
		},
		{
			"schema",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{Name: "city", JSON: json.RawMessage(`{"type":"object"}`)}},
			`{"contents":[` + userX + `],"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object"}}}`,
		},
		{
			"schemas with a description beside a reference",
			&llm.Request{
				Messages: []llm.Message{llm.User("x")}, Tools: []llm.Tool{{Name: "f", Parameters: json.RawMessage(referring)}},
				Schema: &llm.Schema{JSON: json.RawMessage(referring)},
			},
			`{"contents":[` + userX + `],"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":` + inlinedReferring + `}]}],
			"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":` + inlinedReferring + `}}`,
		},
		{
			"schema beside tools",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Tools: []llm.Tool{{Name: "f"}}, Schema: &llm.Schema{JSON: json.RawMessage(`{"type":"object"}`)}},
			`{"contents":[` + userX + `],"tools":[{"functionDeclarations":[{"name":"f"}]}],
			"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object"}}}`,
		},
		{
			"extra",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Temperature: new(0.5), MaxTokens: 7, Extra: map[string]any{
				"generationConfig": map[string]any{"topK": 3, "temperature": 0.7, "thinkingConfig": map[string]any{"thinkingLevel": "low"}},
				"tools":            []any{map[string]any{"googleSearch": struct{}{}}},
				"serviceTier":      "flex",
			}},
			`{"contents":[` + userX + `],"tools":[{"googleSearch":{}}],"serviceTier":"flex",
			"generationConfig":{"maxOutputTokens":7,"temperature":0.7,"topK":3,"thinkingConfig":{"thinkingLevel":"low"}}}`,
		},
		{
			"arguments that are no object",
			&llm.Request{Messages: []llm.Message{assistant(
				llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{broken`), Signature: []byte("QQ")}, llm.ToolCall{ID: "2", Name: "g", Arguments: json.RawMessage(`[1]`)})}},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{"INVALID_JSON":"{broken"}},"thoughtSignature":"QQ"},
				{"functionCall":{"id":"2","name":"g","args":{"INVALID_JSON":"[1]"}}}]},
				{"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{"error":"no result: the call was not carried out"}}},{"functionResponse":{"id":"2","name":"g","response":{"error":"no result: the call was not carried out"}}}]}]}`,
		},
		{
			"calls of another provider's model",
			&llm.Request{Messages: []llm.Message{
				assistant(llm.Text("a"), llm.ToolCall{ID: "call_1", Name: "f"}, llm.ToolCall{ID: "call_2", Name: "g"}),
				results(llm.ToolResult{CallID: "call_2"}),
			}},
			`{"contents":[{"role":"model","parts":[{"text":"a"},
				{"functionCall":{"id":"call_1","name":"f","args":{}},"thoughtSignature":"skip_thought_signature_validator"},
				{"functionCall":{"id":"call_2","name":"g","args":{}}}]},
				{"role":"user","parts":[{"functionResponse":{"id":"call_2","name":"g","response":{"output":""}}},{"functionResponse":{"id":"call_1","name":"f","response":{"error":"no result: the call was not carried out"}}}]}]}`,
		},
		{
			"an ID that comes again is that of another call",
			&llm.Request{Messages: []llm.Message{
				assistant(llm.ToolCall{ID: "1", Name: "f", Signature: []byte("Q")}), results(llm.ToolResult{CallID: "1"}),
				assistant(llm.ToolCall{ID: "1", Name: "g", Signature: []byte("Q")}), results(llm.ToolResult{CallID: "1"}),
			}},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{}},"thoughtSignature":"Q"}]},
				{"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{"output":""}}}]},
				{"role":"model","parts":[{"functionCall":{"id":"1-1","name":"g","args":{}},"thoughtSignature":"Q"}]},
				{"role":"user","parts":[{"functionResponse":{"id":"1-1","name":"g","response":{"output":""}}}]}]}`,
		},
		{
			"signatures go back to where they were",
			&llm.Request{Messages: []llm.Message{
				assistant(reasoning(`{"text":"Hm.","thought":true}`), llm.Text("a"), reasoning(`{"thoughtSignature":"QQ=="}`)), llm.User("x"),
				assistant(llm.Text("b"), reasoning(`{"text":"","thoughtSignature":"QQ=="}`)), llm.User("x"),
				assistant(reasoning(`{"thoughtSignature":"QQ=="}`)),
			}},
			`{"contents":[{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"a","thoughtSignature":"QQ=="}]},` + userX + `,
				{"role":"model","parts":[{"text":"b"},{"text":"","thoughtSignature":"QQ=="}]},` + userX + `,
				{"role":"model","parts":[{"text":"","thoughtSignature":"QQ=="}]}]}`,
		},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		before, _ := json.Marshal(step.request)
		if got := e.Sent(t, model(t, e.Server, nil), step.request); !same(t, got, step.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, step.want)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
		if e.Address != "/v1beta/models/gemini-3.5-flash-lite:generateContent" {
			t.Errorf("%s: sent to %s", step.name, e.Address)
		}
		if e.Header.Get("X-Goog-Api-Key") != key || e.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", step.name, e.Header)
		}
	}
}

// named is a model of the server's by another name.
func named(t *testing.T, name string, s *httptest.Server) *gemini.Model {
	t.Helper()
	m, err := gemini.New(name, gemini.Options{APIKey: key, BaseURL: s.URL, HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestModelNamesInTheAddress(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	for name, want := range map[string]string{
		"gemini-2.5-flash": "/v1beta/models/gemini-2.5-flash:generateContent",
		"models/gemini-x":  "/v1beta/models/gemini-x:generateContent",
		"tunedModels/mine": "/v1beta/tunedModels/mine:generateContent",
	} {
		if e.Sent(t, named(t, name, e.Server), llm.Prompt("x")); e.Address != want {
			t.Errorf("%s: sent to %s", name, e.Address)
		}
	}
}

const instruction = `nswer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n{\"type\":\"object\",\"properties\":{\"b\":{},\"a\":{}}}`

func schemaRequest(tools bool) *llm.Request {
	request := &llm.Request{
		Messages: []llm.Message{llm.System("Be brief."), llm.User("x")},
		Schema:   &llm.Schema{JSON: json.RawMessage(`{"type": "object", "properties": {"b": {}, "a": {}}}`)},
	}
	if tools {
		request.Tools = []llm.Tool{{Name: "f"}}
	}
	return request
}

func TestOlderModelsAreAskedForJSONBesideToolsInWords(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	for _, name := range []string{"gemini-2.5-flash", "models/gemini-2.0-flash", "gemini-1.5-pro"} {
		m := named(t, name, e.Server)
		if got := e.Sent(t, m, schemaRequest(true)); !strings.Contains(got, "Unless you call a tool, a"+instruction) || strings.Contains(got, "responseMimeType") {
			t.Errorf("%s: sent %s", name, got)
		}
		if got := e.Sent(t, m, schemaRequest(false)); strings.Contains(got, "valid against") || !strings.Contains(got, "responseJsonSchema") {
			t.Errorf("%s without tools: sent %s", name, got)
		}
		search := schemaRequest(false)
		search.Extra = map[string]any{"tools": []any{map[string]any{"googleSearch": map[string]any{}}}}
		if got := e.Sent(t, m, search); !strings.Contains(got, instruction) {
			t.Errorf("%s with a tool of Google's: sent %s", name, got)
		}
		search.Extra["systemInstruction"] = map[string]any{}
		if _, err := m.Complete(t.Context(), search); failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), `"systemInstruction"`) {
			t.Errorf("%s: the instruction was lost: %v", name, err)
		}
		call := &llm.Request{Messages: []llm.Message{assistant(llm.ToolCall{ID: "1", Name: "f"})}}
		if got := e.Sent(t, m, call); strings.Contains(got, "thoughtSignature") {
			t.Errorf("%s: sent %s", name, got)
		}
	}
}

func TestARefusalOfJSONIsRemembered(t *testing.T) {
	for _, step := range []struct {
		message       string
		tools         bool
		plain, tooled bool // asked by the API's own way from then on
		ends          bool // the call fails
	}{
		{"JSON mode is not enabled for models/gemma-x", false, false, false, false},
		{"Function calling with a response mime type: 'application/json' is unsupported", true, true, false, false},
		{"Tool use with a response mime type: 'application/json' is unsupported", true, true, false, false},
	} {
		var bodies []string
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			body := string(sent)
			bodies = append(bodies, body)
			if strings.Contains(body, "responseMimeType") && (!step.plain || strings.Contains(body, "functionDeclarations")) || step.ends {
				reply(400, problem(400, "INVALID_ARGUMENT", step.message, ""))(w, r)
				return
			}
			reply(200, hello)(w, r)
		})
		m := model(t, s, nil)
		if _, err := m.Complete(t.Context(), schemaRequest(step.tools)); (failure.KindOf(err) == failure.InvalidRequest) != step.ends || !step.ends && err != nil {
			t.Errorf("%s: got %v", step.message, err)
		}
		step.ends = false
		for tools, own := range map[bool]bool{false: step.plain, true: step.tooled} {
			bodies = nil
			if _, err := m.Complete(t.Context(), schemaRequest(tools)); err != nil {
				t.Error(err)
			}
			if len(bodies) != 1 || strings.Contains(bodies[0], "responseJsonSchema") != own || strings.Contains(bodies[0], instruction) == own {
				t.Errorf("%s, then with tools %v: sent %s", step.message, tools, bodies)
			}
		}
	}
}

// What an answer holds goes back as it came.
func TestConversationGoesRound(t *testing.T) {
	const parts = `[{"text":"Hm.","thought":true},{"text":"Let me look.","thoughtSignature":"QQ=="},
		{"functionCall":{"name":"look","args":{"b":1,"a":2}},"thoughtSignature":"Qg=="},{"functionCall":{"name":"smell"}}]`
	var body string
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		body = string(sent)
		reply(200, `{"candidates":[{"content":{"role":"model","parts":`+parts+`},"finishReason":"STOP"}]}`)(w, r)
	})
	m := model(t, s, nil)
	request := llm.Prompt("x")
	answer, err := m.Complete(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	request.Messages = append(request.Messages, answer.Message)
	var all []llm.Part
	for _, call := range answer.Message.ToolCalls() {
		all = append(all, llm.ToolResult{CallID: call.ID, Content: call.Name})
	}
	request.Messages = append(request.Messages, results(all...))
	if _, err := m.Complete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	want := `{"contents":[` + userX + `,{"role":"model","parts":` + strings.Replace(parts, `"smell"`, `"smell","args":{}`, 1) + `},{"role":"user","parts":[
		{"functionResponse":{"name":"look","response":{"output":"look"}}},{"functionResponse":{"name":"smell","response":{"output":"smell"}}}]}]}`
	if !same(t, body, want) {
		t.Errorf("sent %s", body)
	}
}

package gemini_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
)

// echo is a server that keeps the last request.
type echo struct {
	*httptest.Server
	header  http.Header
	address string
	body    []byte
}

func newEcho(t *testing.T) *echo {
	e := &echo{}
	e.Server = server(t, func(w http.ResponseWriter, r *http.Request) {
		e.body, _ = io.ReadAll(r.Body)
		e.header, e.address = r.Header, r.URL.String()
		reply(200, hello)(w, r)
	})
	return e
}

// sent makes a call and returns the body that the server got.
func (e *echo) sent(t *testing.T, m *gemini.Model, request *llm.Request) string {
	t.Helper()
	if _, err := m.Complete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	return string(e.body)
}

// same reports whether two JSON texts mean the same.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	var left, right any
	if err := json.Unmarshal([]byte(a), &left); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &right); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return reflect.DeepEqual(left, right)
}

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
					{"functionCall":{"name":"smell"}}]},
				{"role":"user","parts":[
					{"functionResponse":{"id":"1","name":"look","response":{"output":"A cat."}}},
					{"functionResponse":{"name":"smell","response":{"error":"no nose"}}},
					{"text":"Sure?"},{"text":"Really?"}]},
				{"role":"model","parts":[{"text":"A"},{"text":"cat"},{"text":"!"}]},
				{"role":"user","parts":[{"text":"Thanks."}]},
				{"role":"model","parts":[{"text":""}]}],
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
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{"arguments":"{broken"}},"thoughtSignature":"QQ"},
				{"functionCall":{"id":"2","name":"g","args":{"arguments":"[1]"}}}]}]}`,
		},
		{
			"calls of another provider's model",
			&llm.Request{Messages: []llm.Message{
				assistant(llm.Text("a"), llm.ToolCall{ID: "call_1", Name: "f"}, llm.ToolCall{ID: "call_2", Name: "g"}),
				results(llm.ToolResult{CallID: "call_2"}),
			}},
			`{"contents":[{"role":"model","parts":[{"text":"a"},
				{"functionCall":{"id":"call_1","name":"f"},"thoughtSignature":"skip_thought_signature_validator"},
				{"functionCall":{"id":"call_2","name":"g"}}]},
				{"role":"user","parts":[{"functionResponse":{"id":"call_2","name":"g","response":{"output":""}}}]}]}`,
		},
		{
			"an ID that comes again names the latest call",
			&llm.Request{Messages: []llm.Message{
				assistant(llm.ToolCall{ID: "1", Name: "f", Signature: []byte("Q")}), results(llm.ToolResult{CallID: "1"}),
				assistant(llm.ToolCall{ID: "1", Name: "g", Signature: []byte("Q")}), results(llm.ToolResult{CallID: "1"}),
			}},
			`{"contents":[{"role":"model","parts":[{"functionCall":{"id":"1","name":"f"},"thoughtSignature":"Q"}]},
				{"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{"output":""}}}]},
				{"role":"model","parts":[{"functionCall":{"id":"1","name":"g"},"thoughtSignature":"Q"}]},
				{"role":"user","parts":[{"functionResponse":{"id":"1","name":"g","response":{"output":""}}}]}]}`,
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
		e := newEcho(t)
		before, _ := json.Marshal(step.request)
		if got := e.sent(t, model(t, e.Server, nil), step.request); !same(t, got, step.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, step.want)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
		if e.address != "/v1beta/models/gemini-3.5-flash-lite:generateContent" {
			t.Errorf("%s: sent to %s", step.name, e.address)
		}
		if e.header.Get("X-Goog-Api-Key") != key || e.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", step.name, e.header)
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
	e := newEcho(t)
	for name, want := range map[string]string{
		"gemini-2.5-flash": "/v1beta/models/gemini-2.5-flash:generateContent",
		"models/gemini-x":  "/v1beta/models/gemini-x:generateContent",
		"tunedModels/mine": "/v1beta/tunedModels/mine:generateContent",
	} {
		if e.sent(t, named(t, name, e.Server), llm.Prompt("x")); e.address != want {
			t.Errorf("%s: sent to %s", name, e.address)
		}
	}
}

const instruction = `Answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n{\"type\":\"object\",\"properties\":{\"b\":{},\"a\":{}}}`

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
	e := newEcho(t)
	for _, name := range []string{"gemini-2.5-flash", "models/gemini-2.0-flash", "gemini-1.5-pro"} {
		m := named(t, name, e.Server)
		if got := e.sent(t, m, schemaRequest(true)); !strings.Contains(got, instruction) || strings.Contains(got, "responseMimeType") {
			t.Errorf("%s: sent %s", name, got)
		}
		if got := e.sent(t, m, schemaRequest(false)); strings.Contains(got, "valid against") || !strings.Contains(got, "responseJsonSchema") {
			t.Errorf("%s without tools: sent %s", name, got)
		}
		search := schemaRequest(false)
		search.Extra = map[string]any{"tools": []any{map[string]any{"googleSearch": map[string]any{}}}}
		if got := e.sent(t, m, search); !strings.Contains(got, instruction) {
			t.Errorf("%s with a tool of Google's: sent %s", name, got)
		}
		search.Extra["systemInstruction"] = map[string]any{}
		if _, err := m.Complete(t.Context(), search); failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), `"systemInstruction"`) {
			t.Errorf("%s: the instruction was lost: %v", name, err)
		}
		call := &llm.Request{Messages: []llm.Message{assistant(llm.ToolCall{ID: "1", Name: "f"})}}
		if got := e.sent(t, m, call); strings.Contains(got, "thoughtSignature") {
			t.Errorf("%s: sent %s", name, got)
		}
	}
}

func TestARefusalOfJSONIsRemembered(t *testing.T) {
	for _, step := range []struct {
		message       string
		tools         bool
		plain, tooled bool // still asked by the API's own way
	}{
		{"JSON mode is not enabled for models/gemma-x", false, false, false},
		{"Function calling with a response mime type: 'application/json' is unsupported", true, true, false},
		{"Tool use with a response mime type: 'application/json' is unsupported", true, true, false},
		{"Invalid JSON payload received.", true, true, true},
		{"Invalid JSON payload received.", false, true, true},
	} {
		var refuse bool
		var body string
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			body = string(sent)
			if refuse {
				reply(400, problem(400, "INVALID_ARGUMENT", step.message, ""))(w, r)
				return
			}
			reply(200, hello)(w, r)
		})
		m := model(t, s, nil)
		refuse = true
		if _, err := m.Complete(t.Context(), schemaRequest(step.tools)); failure.KindOf(err) != failure.InvalidRequest {
			t.Errorf("%s: got %v", step.message, err)
		}
		refuse = false
		for tools, own := range map[bool]bool{false: step.plain, true: step.tooled} {
			if _, err := m.Complete(t.Context(), schemaRequest(tools)); err != nil {
				t.Error(err)
			}
			if strings.Contains(body, "responseJsonSchema") != own || strings.Contains(body, instruction) == own {
				t.Errorf("%s, then with tools %v: sent %s", step.message, tools, body)
			}
		}
	}
}

func TestSchemasKeepTheirOrderAndTheirNumbers(t *testing.T) {
	const schema = `{"type":"object","properties":{"z":{"maximum":12345678901234567890},"a":{"const":1.0}},"required":["z","a"],"additionalProperties":false}`
	const args = `{"z":12345678901234567890,"a":1.0}`
	e := newEcho(t)
	got := e.sent(t, model(t, e.Server, nil), &llm.Request{
		Messages: []llm.Message{llm.User("x"), assistant(llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(args)})},
		Schema:   &llm.Schema{Name: "s", JSON: json.RawMessage(schema)},
		Tools:    []llm.Tool{{Name: "f", Parameters: json.RawMessage(schema)}},
	})
	if strings.Count(got, schema) != 2 || !strings.Contains(got, args) {
		t.Errorf("sent %s", got)
	}
}

func TestWhatTheProtocolCannotExpressIsNotSent(t *testing.T) {
	message := func(role llm.Role, parts ...llm.Part) *llm.Request {
		return &llm.Request{Messages: []llm.Message{llm.User("x"), {Role: role, Parts: parts}}}
	}
	with := func(change func(*llm.Request)) *llm.Request {
		request := llm.Prompt("x")
		change(request)
		return request
	}
	extra := func(name string, value any) *llm.Request {
		return with(func(r *llm.Request) { r.Extra = map[string]any{name: value} })
	}
	for _, step := range []struct {
		want    string
		request *llm.Request
	}{
		{"messages: takes at least one message", nil},
		{"messages: takes at least one message", &llm.Request{}},
		{"messages: takes at least one message that is not the system's", &llm.Request{Messages: []llm.Message{llm.System("x")}}},
		{"messages[1] (judge): takes the roles", message("judge", llm.Text("x"))},
		{"messages[1] (system): parts[1]: takes text, not a llm.Image", message(llm.RoleSystem, llm.Text("x"), llm.Image{})},
		{"messages[1] (user): parts[0]: takes text and images, not a llm.ToolResult", message(llm.RoleUser, llm.ToolResult{})},
		{"messages[1] (user): parts[0]: takes text and images, not a <nil>", message(llm.RoleUser, nil)},
		{"messages[1].parts[0]: ", message(llm.RoleUser, llm.Image{Data: []byte("x")})},
		{"messages[1] (user): parts[0]: an image needs data or a url", message(llm.RoleUser, llm.Image{MediaType: "image/png"})},
		{"messages[1] (user): parts[0]: url: takes an address of http, https or gs", message(llm.RoleUser, llm.Image{URL: "file:///cat.png"})},
		{"messages[1] (user): parts[0]: url: takes an address of http, https or gs", message(llm.RoleUser, llm.Image{URL: "data:image/png;base64,AAAA"})},
		{"messages[1] (assistant): parts[0]: takes text, tool calls and reasoning", message(llm.RoleAssistant, llm.Image{})},
		{"messages[1] (assistant): parts[0]: data: takes a JSON object", message(llm.RoleAssistant, reasoning(`{`))},
		{"messages[1] (assistant): parts[0]: data: takes a JSON object", message(llm.RoleAssistant, reasoning(``))},
		{"messages[1] (tool): parts[0]: takes tool results", message(llm.RoleTool, llm.Text("x"))},
		{"messages[1] (tool): takes tool results, has no part", message(llm.RoleTool)},
		{`messages[1] (tool): parts[0]: call_id "1": takes that of a tool call of an earlier message`, message(llm.RoleTool, llm.ToolResult{CallID: "1"})},
		{"max_tokens -1", with(func(r *llm.Request) { r.MaxTokens = -1 })},
		{"max_tokens 2147483648", with(func(r *llm.Request) { r.MaxTokens = 1 << 31 })},
		{"temperature NaN", with(func(r *llm.Request) { r.Temperature = new(math.NaN()) })},
		{"temperature +Inf", with(func(r *llm.Request) { r.Temperature = new(math.Inf(1)) })},
		{"seed 2147483648: takes a number from", with(func(r *llm.Request) { r.Seed = new(int64(1 << 31)) })},
		{"stop: has 6 sequences: takes at most 5", with(func(r *llm.Request) { r.Stop = []string{"1", "2", "3", "4", "5", "6"} })},
		{`tools[0]: parameters of "f": takes a JSON object`, with(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{`)}} })},
		{"schema: takes a JSON object", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`[]`)} })},
		{"schema: takes a JSON object", with(func(r *llm.Request) { r.Schema = &llm.Schema{} })},
		{"not null", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`null`)} })},
		{"valid UTF-8", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage("{\"a\":\"\xff\"}")} })},
		{`extra: the field "model"`, extra("model", "x")},
		{`extra: the field "contents"`, extra("contents", "x")},
		{`extra: the field "stream"`, extra("stream", true)},
		{`extra: the field "f"`, extra("f", func() {})},
		{`extra: the field "generationConfig": takes an object`, extra("generationConfig", 1)},
	} {
		e := newEcho(t)
		_, err := model(t, e.Server, nil).Complete(t.Context(), step.request)
		if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), step.want) {
			t.Errorf("got %v, want %s", err, step.want)
		}
		if e.body != nil {
			t.Errorf("%s: was sent: %s", step.want, e.body)
		}
	}
}

func TestPromptOfTenMegabytes(t *testing.T) {
	e := newEcho(t)
	prompt := strings.Repeat("0123456789", 1<<20)
	start := time.Now()
	body := e.sent(t, model(t, e.Server, nil), llm.Prompt(prompt))
	if !strings.Contains(body, prompt) {
		t.Error("the prompt did not arrive whole")
	}
	t.Logf("took %v", time.Since(start))
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	e := newEcho(t)
	got := e.sent(t, model(t, e.Server, nil), &llm.Request{
		Messages: []llm.Message{
			llm.User("a\xffb\x00\xc3"),
			assistant(llm.ToolCall{ID: "\xfe", Name: "f", Arguments: json.RawMessage("{\"a\":\"\xff\"}"), Signature: []byte("Q")}),
			results(llm.ToolResult{CallID: "\xfe", Content: "\xed\xa0\x80"}),
		},
		Stop:  []string{"\xff"},
		Tools: []llm.Tool{{Name: "f", Description: "\xff"}},
	})
	want := `{"contents":[{"role":"user","parts":[{"text":"a\ufffdb\u0000\ufffd"}]},
		{"role":"model","parts":[{"functionCall":{"id":"\ufffd","name":"f","args":{"arguments":"{\"a\":\"\ufffd\"}"}},"thoughtSignature":"Q"}]},
		{"role":"user","parts":[{"functionResponse":{"id":"\ufffd","name":"f","response":{"output":"\ufffd\ufffd\ufffd"}}}]}],
		"tools":[{"functionDeclarations":[{"name":"f","description":"\ufffd"}]}],"generationConfig":{"stopSequences":["\ufffd"]}}`
	if !same(t, got, want) {
		t.Errorf("sent %q", got)
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

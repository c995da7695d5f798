package openai_test

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
	"llmcall/provider/openai"
)

// echo is a server that keeps the last request.
type echo struct {
	*httptest.Server
	handle http.HandlerFunc
	path   string
	header http.Header
	body   []byte
}

func newEcho(t *testing.T) *echo {
	e := &echo{handle: reply(200, hello)}
	e.Server = server(t, func(w http.ResponseWriter, r *http.Request) {
		e.body, _ = io.ReadAll(r.Body)
		e.header, e.path = r.Header, r.URL.String()
		e.handle(w, r)
	})
	return e
}

// sent makes a call and returns the body that the server got.
func (e *echo) sent(t *testing.T, m *openai.Model, request *llm.Request) string {
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

func TestRequest(t *testing.T) {
	temperature, seed := 0.0, int64(0)
	for _, step := range []struct {
		name    string
		request *llm.Request
		want    string
	}{
		{"prompt", llm.Prompt("Hello!"), `{"model":"gpt-6-luna","messages":[{"role":"user","content":"Hello!"}]}`},
		{
			"everything",
			&llm.Request{
				Messages: []llm.Message{
					llm.System("Be brief."),
					{Role: llm.RoleUser, Parts: []llm.Part{
						llm.Text("What is this?"),
						llm.Image{MediaType: "image/png", Data: pixel},
						llm.Image{URL: "https://example.com/cat.png"},
					}},
					{Role: llm.RoleAssistant, Parts: []llm.Part{
						llm.Text("Let me look."),
						llm.ToolCall{ID: "call_1", Name: "look", Arguments: json.RawMessage(`{"at": "it"}`)},
						llm.ToolCall{ID: "call_2", Name: "smell"},
					}},
					{Role: llm.RoleTool, Parts: []llm.Part{
						llm.ToolResult{CallID: "call_1", Content: "A cat."},
						llm.ToolResult{CallID: "call_2", Content: "no nose", IsError: true},
					}},
					{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("A"), llm.Text("cat")}},
					{Role: llm.RoleAssistant},
					llm.User("Sure?"),
				},
				Tools:     []llm.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "smell"}},
				MaxTokens: 100, Temperature: &temperature, Stop: []string{"END", "STOP"}, Seed: &seed,
			},
			`{"model":"gpt-6-luna","messages":[
				{"role":"system","content":"Be brief."},
				{"role":"user","content":[
					{"type":"text","text":"What is this?"},
					{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"}},
					{"type":"image_url","image_url":{"url":"https://example.com/cat.png"}}]},
				{"role":"assistant","content":"Let me look.","tool_calls":[
					{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\": \"it\"}"}},
					{"id":"call_2","type":"function","function":{"name":"smell","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"call_1","content":"A cat."},
				{"role":"tool","tool_call_id":"call_2","content":"Error: no nose"},
				{"role":"assistant","content":"A\ncat"},
				{"role":"assistant","content":""},
				{"role":"user","content":"Sure?"}],
			"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object"}}},
				{"type":"function","function":{"name":"smell"}}],
			"max_tokens":100,"temperature":0,"stop":["END","STOP"],"seed":0}`,
		},
		{
			"lists that are empty",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Stop: []string{}, Tools: []llm.Tool{}},
			`{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}]}`,
		},
		{
			"tool calls alone",
			&llm.Request{Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f"}}}}},
			`{"model":"gpt-6-luna","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}]}`,
		},
		{
			"schema that may be strict",
			&llm.Request{
				Messages: []llm.Message{llm.User("x")},
				Schema:   &llm.Schema{Name: "city", JSON: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)},
			},
			`{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
				{"name":"city","strict":true,"schema":{"type":"object","properties":{},"additionalProperties":false}}}}`,
		},
		{
			"schema that may not",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{JSON: json.RawMessage(`{"type":"object"}`)}},
			`{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
				{"name":"answer","strict":false,"schema":{"type":"object"}}}}`,
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
		if e.header.Get("Authorization") != "Bearer "+key || e.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", step.name, e.header)
		}
	}
}

func TestSchemasKeepTheirOrderAndTheirNumbers(t *testing.T) {
	const schema = `{"type":"object","properties":{"z":{"maximum":12345678901234567890},"a":{"const":1.0}},"required":["z","a"],"additionalProperties":false}`
	e := newEcho(t)
	got := e.sent(t, model(t, e.Server, nil), &llm.Request{
		Messages: []llm.Message{llm.User("x")},
		Schema:   &llm.Schema{Name: "s", JSON: json.RawMessage(schema)},
		Tools:    []llm.Tool{{Name: "f", Parameters: json.RawMessage(schema)}},
	})
	if strings.Count(got, schema) != 2 {
		t.Errorf("sent %s", got)
	}
}

func TestTokenLimitGoesByTheNameThatTheServerKnows(t *testing.T) {
	for base, want := range map[string]string{
		"":                              `"max_completion_tokens":7`,
		"https://api.openai.com/v1":     `"max_completion_tokens":7`,
		"https://EU.api.openai.com/v1/": `"max_completion_tokens":7`,
		"https://mine.openai.azure.com/openai/v1":     `"max_completion_tokens":7`,
		"https://openrouter.ai/api/v1":                `"max_tokens":7`,
		"http://127.0.0.1:11434/v1":                   `"max_tokens":7`,
		"https://api.openai.com.example.com/v1":       `"max_tokens":7`,
		"https://notapi.openai.com.example.com:80/v1": `"max_tokens":7`,
	} {
		var body string
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			sent, _ := io.ReadAll(r.Body)
			body = string(sent)
			answer := httptest.NewRecorder()
			io.WriteString(answer, hello)
			return answer.Result(), nil
		})}
		t.Setenv(openai.BaseURLVariable, "")
		m, err := openai.New("m", openai.Options{APIKey: key, BaseURL: base, HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		request := llm.Prompt("x")
		request.MaxTokens = 7
		if _, err := m.Complete(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(body, want) || strings.Count(body, "_tokens") != 1 {
			t.Errorf("%s: sent %s", base, body)
		}
	}
}

func TestWhatTheProtocolCannotExpressIsNotSent(t *testing.T) {
	nan := math.NaN()
	message := func(role llm.Role, parts ...llm.Part) *llm.Request {
		return &llm.Request{Messages: []llm.Message{llm.User("x"), {Role: role, Parts: parts}}}
	}
	with := func(change func(*llm.Request)) *llm.Request {
		request := llm.Prompt("x")
		change(request)
		return request
	}
	for _, step := range []struct {
		want    string
		request *llm.Request
	}{
		{"messages: takes at least one message", nil},
		{"messages: takes at least one message", &llm.Request{}},
		{"messages[1] (judge): takes the roles", message("judge", llm.Text("x"))},
		{"messages[1] (system): parts[1]: takes text, not a llm.Image", message(llm.RoleSystem, llm.Text("x"), llm.Image{})},
		{"messages[1] (user): parts[0]: takes text and images, not a llm.ToolResult", message(llm.RoleUser, llm.ToolResult{})},
		{"messages[1] (user): parts[0]: takes text and images, not a <nil>", message(llm.RoleUser, nil)},
		{"messages[1].parts[0]: seems to be text: takes PNG, JPEG, GIF or WebP", message(llm.RoleUser, llm.Image{Data: []byte("x")})},
		{"messages[1] (user): parts[0]: an image needs data or a url", message(llm.RoleUser, llm.Image{MediaType: "image/png"})},
		{"messages[1] (assistant): parts[0]: takes text and tool calls", message(llm.RoleAssistant, llm.Image{})},
		{"messages[1] (tool): parts[0]: takes tool results", message(llm.RoleTool, llm.Text("x"))},
		{"messages[1] (tool): takes tool results, has no part", message(llm.RoleTool)},
		{"max_tokens -1", with(func(r *llm.Request) { r.MaxTokens = -1 })},
		{"temperature NaN", with(func(r *llm.Request) { r.Temperature = &nan })},
		{`tools[0]: parameters of "f": takes a JSON Schema`, with(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{`)}} })},
		{"schema: takes a JSON Schema", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`[]`)} })},
		{"schema: takes a JSON Schema", with(func(r *llm.Request) { r.Schema = &llm.Schema{} })},
		{"not null", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`null`)} })},
		{"valid UTF-8", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage("{\"a\":\"\xff\"}")} })},
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
		Messages: []llm.Message{llm.User("a\xffb\x00\xc3"), {Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "\xfe", Content: "\xed\xa0\x80"}}}},
		Stop:     []string{"\xff"},
		Tools:    []llm.Tool{{Name: "f", Description: "\xff"}},
	})
	want := `{"model":"gpt-6-luna","messages":[{"role":"user","content":"a�b\u0000�"},{"role":"tool","tool_call_id":"�","content":"���"}],
		"stop":["�"],"tools":[{"type":"function","function":{"name":"f","description":"�"}}]}`
	if !same(t, got, want) {
		t.Errorf("sent %q", got)
	}
}

// pixel is a picture of one red pixel.
var pixel = func() []byte {
	data, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
	if err != nil {
		panic(err)
	}
	return data
}()

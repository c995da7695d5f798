package openai_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

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
						llm.Image{URL: "https://example.com/cat.png", Detail: "low"},
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
					{"type":"image_url","image_url":{"url":"https://example.com/cat.png","detail":"low"}}]},
				{"role":"assistant","content":"Let me look.","tool_calls":[
					{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\": \"it\"}"}},
					{"id":"call_2","type":"function","function":{"name":"smell","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"call_1","content":"A cat."},
				{"role":"tool","tool_call_id":"call_2","content":"Error: no nose"},
				{"role":"assistant","content":"A\ncat"},
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
			`{"model":"gpt-6-luna","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"1","content":"Error: no result: the call was not carried out"}]}`,
		},
		{
			"schema that may be strict",
			&llm.Request{
				Messages: []llm.Message{llm.User("x")},
				Schema:   &llm.Schema{Name: "city", JSON: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)},
			},
			`{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
				{"name":"city","strict":true,"schema":{"type":"object","properties":{},"required":[],"additionalProperties":false}}}}`,
		},
		{
			"schema that may not",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{JSON: json.RawMessage(`{"type":"object"}`)}},
			`{"model":"gpt-6-luna","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":
				{"name":"answer","strict":false,"schema":{"type":"object"}}}}`,
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
		if e.Header.Get("Authorization") != "Bearer "+key || e.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", step.name, e.Header)
		}
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

// pixel is a picture of one red pixel.
var pixel = func() []byte {
	data, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
	if err != nil {
		panic(err)
	}
	return data
}()

package anthropic_test

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/internal/providertest"
)

// called makes a model of this name.
func called(t *testing.T, name string, e *providertest.Echo) *anthropic.Model {
	t.Helper()
	m, err := anthropic.New(name, anthropic.Options{APIKey: key, BaseURL: e.URL, HTTPClient: e.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRequestBody(t *testing.T) {
	temperature := 0.0
	thought := llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"thinking","thinking":"Hm <b>","signature":"c2ln"}`)}
	for _, step := range []struct {
		name    string
		request *llm.Request
		want    string // of the fields beside model and max_tokens
	}{
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
						thought,
						llm.Text("Let me look."),
						llm.ToolCall{ID: "toolu_1", Name: "look", Arguments: json.RawMessage(`{"at": "it", "n": 12345678901234567890}`)},
						llm.ToolCall{ID: "toolu_2", Name: "smell"},
					}},
					{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "toolu_1", Content: "A cat."}}},
					{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "toolu_2", Content: "no nose", IsError: true}}},
					llm.User("Sure?"),
				},
				Tools: []llm.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object","properties":{}}`)}, {Name: "smell"}},

				MaxTokens: 100, Temperature: &temperature, Stop: []string{"END", "STOP"},
				Extra: map[string]any{"thinking": map[string]any{"type": "adaptive"}, "top_k": 5},
			},
			`"system":[{"type":"text","text":"Be brief."}],"messages":[
				{"role":"user","content":[
					{"type":"text","text":"What is this?"},
					{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"}},
					{"type":"image","source":{"type":"url","url":"https://example.com/cat.png"}}]},
				{"role":"assistant","content":[
					{"type":"thinking","thinking":"Hm <b>","signature":"c2ln"},
					{"type":"text","text":"Let me look."},
					{"type":"tool_use","id":"toolu_1","name":"look","input":{"at":"it","n":12345678901234567890}},
					{"type":"tool_use","id":"toolu_2","name":"smell","input":{}}]},
				{"role":"user","content":[
					{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"A cat."}]},
					{"type":"tool_result","tool_use_id":"toolu_2","is_error":true,"content":[{"type":"text","text":"no nose"}]},
					{"type":"text","text":"Sure?"}]}],
			"tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object","properties":{}}},
				{"name":"smell","input_schema":{"type":"object"}}],
			"max_tokens":100,"temperature":0,"stop_sequences":["END","STOP"],"thinking":{"type":"adaptive"},"top_k":5`,
		},
		{
			"lists that are empty",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, Stop: []string{}, Tools: []llm.Tool{}, Extra: map[string]any{}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]`,
		},
		{
			"system messages, wherever they stand",
			&llm.Request{Messages: []llm.Message{llm.System("a"), llm.User("x"), llm.System(" "), llm.System("b"), llm.User("y")}},
			`"system":[{"type":"text","text":"a\n\nb"}],"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]}]`,
		},
		{
			"what is blank, and would be refused",
			&llm.Request{Messages: []llm.Message{llm.System("\n"), llm.User("x"), llm.Assistant(""), {Role: llm.RoleAssistant, Parts: []llm.Part{thought}},
				{Role: llm.RoleUser, Parts: []llm.Part{llm.Text(" "), llm.Text("y")}}, {Role: llm.RoleAssistant}, llm.Assistant("Well, \n")}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"assistant","content":[{"type":"text","text":"(no text)"}]},{"role":"user","content":[{"type":"text","text":"y"}]},
				{"role":"assistant","content":[{"type":"text","text":"Well,"}]}]`,
		},
		{
			"results of tools come first, and need no text",
			&llm.Request{Messages: []llm.Message{
				llm.User("x"),
				{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "functions.f:0", Name: "f", Arguments: json.RawMessage(`{broken`)}, llm.ToolCall{ID: "b", Name: "g", Arguments: json.RawMessage(`[1]`)}}},
				llm.User("Hurry."),
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "functions.f:0", IsError: true}, llm.ToolResult{CallID: "b"}}},
			}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},
				{"role":"assistant","content":[{"type":"tool_use","id":"functions_f_0","name":"f","input":{"INVALID_JSON":"{broken"}},
					{"type":"tool_use","id":"b","name":"g","input":{"INVALID_JSON":"[1]"}}]},
				{"role":"user","content":[
					{"type":"tool_result","tool_use_id":"functions_f_0","is_error":true,"content":[{"type":"text","text":"the tool failed and gave no details"}]},
					{"type":"tool_result","tool_use_id":"b"},
					{"type":"text","text":"Hurry."}]}]`,
		},
		{
			"reasoning of another provider's",
			&llm.Request{Messages: []llm.Message{llm.User("x"), {Role: llm.RoleAssistant, Parts: []llm.Part{
				llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`"x"`)}, llm.Text("y"), llm.ToolCall{ID: "1", Name: "f", Signature: []byte("s")}}},
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1", Content: "z"}}}}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},
				{"role":"assistant","content":[{"type":"text","text":"y"},{"type":"tool_use","id":"1","name":"f","input":{}}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"z"}]}]}]`,
		},
		{
			"blocks of tools of the provider's own",
			&llm.Request{Messages: []llm.Message{llm.User("x"), {Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("y"),
				llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"server_tool_use","id":"1","name":"web_search","input":{}}`)}}}}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},
				{"role":"assistant","content":[{"type":"text","text":"y"},{"type":"server_tool_use","id":"1","name":"web_search","input":{}}]}]`,
		},
		{
			"fields in the place of ours",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, MaxTokens: 5, Extra: map[string]any{"max_tokens": 7, "a.b": nil, "c|d": json.RawMessage(`{"e": 1}`)}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"max_tokens":7,"a.b":null,"c|d":{"e":1}`,
		},
		{
			"numbers as a request from JSON has them",
			&llm.Request{Messages: []llm.Message{llm.User("x")}, MaxTokens: 5, Extra: map[string]any{"max_tokens": json.Number("7"),
				"c": map[string]any{"d": []any{json.Number("1.5"), json.Number("8")}}}},
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"max_tokens":7,"c":{"d":[1.5,8]}`,
		},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		before, _ := json.Marshal(step.request)
		limit := ""
		if !strings.Contains(step.want, "max_tokens") {
			limit = `"max_tokens":16000,`
		}
		if got, want := e.Sent(t, model(t, e.Server, nil), step.request), `{"model":"claude-haiku-5-5",`+limit+step.want+`}`; !same(t, got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, want)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
		if e.Header.Get("X-Api-Key") != key || e.Header.Get("Anthropic-Version") != "2023-06-01" || e.Header.Get("Content-Type") != "application/json" ||
			e.Header.Get("Authorization") != "" || e.Header.Get("X-Stainless-Timeout") != "" || e.Address != "/v1/messages" {
			t.Errorf("%s: %s, header %v", step.name, e.Address, e.Header)
		}
	}
}

func TestStreamIsAskedForWithTheSameBody(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	m := model(t, e.Server, nil)
	whole := e.Sent(t, m, llm.Prompt("x"))
	if _, err := streamed(t.Context(), m, llm.Prompt("x")); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(whole, "}") + `,"stream":true}`; !same(t, string(e.Body), want) {
		t.Errorf("got %s, want %s", e.Body, want)
	}
}

func TestLimitOfTokens(t *testing.T) {
	for name, want := range map[string]string{
		"claude-haiku-5-5":           `"max_tokens":16000`,
		"claude-mythos-preview":      `"max_tokens":16000`,
		"claude-opus-4-20250514":     `"max_tokens":16000`,
		"claude-3-haiku-20240307":    `"max_tokens":4096`,
		"claude-3-5-haiku-20241022":  `"max_tokens":4096`,
		"claude-instant-1.2":         `"max_tokens":4096`,
		"qwen3":                      `"max_tokens":4096`,
		"us.anthropic.claude-9-test": `"max_tokens":16000`,
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		m := called(t, name, e)
		if got := e.Sent(t, m, llm.Prompt("x")); !strings.Contains(got, want) {
			t.Errorf("%s: sent %s", name, got)
		}
		// The SDK alone would refuse to send these: they may take more than ten minutes.
		for _, limit := range []int{30_000, 128_000, math.MaxInt32} {
			request := llm.Prompt("x")
			request.MaxTokens = limit
			if _, err := m.Complete(t.Context(), request); err != nil {
				t.Errorf("%s: %d: %v", name, limit, err)
			}
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

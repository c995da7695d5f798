package anthropic_test

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

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
)

// echo is a server that keeps the last request.
type echo struct {
	*httptest.Server
	header http.Header
	path   string
	body   []byte
}

func newEcho(t *testing.T) *echo {
	e := &echo{}
	e.Server = server(t, func(w http.ResponseWriter, r *http.Request) {
		e.body, _ = io.ReadAll(r.Body)
		e.header, e.path = r.Header, r.URL.Path
		reply(200, hello)(w, r)
	})
	return e
}

// sent makes a call and returns the body that the server got.
func (e *echo) sent(t *testing.T, m *anthropic.Model, request *llm.Request) string {
	t.Helper()
	if _, err := m.Complete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	return string(e.body)
}

// called makes a model of this name.
func called(t *testing.T, name string, e *echo) *anthropic.Model {
	t.Helper()
	m, err := anthropic.New(name, anthropic.Options{APIKey: key, BaseURL: e.URL, HTTPClient: e.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func same(t *testing.T, got, want string) bool {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	return reflect.DeepEqual(g, w)
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
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]},
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
					{"type":"tool_result","tool_use_id":"functions_f_0","is_error":true,"content":[{"type":"text","text":"the tool failed, and says no more"}]},
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
		e := newEcho(t)
		before, _ := json.Marshal(step.request)
		limit := ""
		if !strings.Contains(step.want, "max_tokens") {
			limit = `"max_tokens":16000,`
		}
		if got, want := e.sent(t, model(t, e.Server, nil), step.request), `{"model":"claude-haiku-5-5",`+limit+step.want+`}`; !same(t, got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, want)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
		if e.header.Get("X-Api-Key") != key || e.header.Get("Anthropic-Version") != "2023-06-01" || e.header.Get("Content-Type") != "application/json" ||
			e.header.Get("Authorization") != "" || e.header.Get("X-Stainless-Timeout") != "" || e.path != "/v1/messages" {
			t.Errorf("%s: %s, header %v", step.name, e.path, e.header)
		}
	}
}

func TestStreamIsAskedForWithTheSameBody(t *testing.T) {
	e := newEcho(t)
	m := model(t, e.Server, nil)
	whole := e.sent(t, m, llm.Prompt("x"))
	if _, err := streamed(t.Context(), m, llm.Prompt("x")); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(whole, "}") + `,"stream":true}`; !same(t, string(e.body), want) {
		t.Errorf("got %s, want %s", e.body, want)
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
		e := newEcho(t)
		m := called(t, name, e)
		if got := e.sent(t, m, llm.Prompt("x")); !strings.Contains(got, want) {
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

func TestSchemasOfToolsKeepTheirOrderAndTheirNumbers(t *testing.T) {
	const schema = `{"type":"object","properties":{"z":{"maximum":12345678901234567890},"a":{"const":1.0}},"required":["z","a"]}`
	e := newEcho(t)
	got := e.sent(t, model(t, e.Server, nil), &llm.Request{
		Messages: []llm.Message{llm.User("x")}, Tools: []llm.Tool{{Name: "f", Parameters: json.RawMessage(schema)}},
	})
	if !strings.Contains(got, schema) {
		t.Errorf("sent %s", got)
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
	extra := func(name string, value any) *llm.Request {
		return with(func(r *llm.Request) { r.Extra = map[string]any{name: value} })
	}
	for _, step := range []struct {
		want    string
		request *llm.Request
	}{
		{"messages: takes at least one message", nil},
		{"messages: takes at least one message", &llm.Request{}},
		{"messages: takes at least one message of", llm.Prompt(" \n")},
		{"messages: takes at least one message of", &llm.Request{Messages: []llm.Message{llm.System("x")}}},
		{"messages[1] (judge): takes the roles", message("judge", llm.Text("x"))},
		{"messages[1] (system): parts[1]: takes text, not a llm.Image", message(llm.RoleSystem, llm.Text("x"), llm.Image{})},
		{"messages[1] (user): parts[0]: takes text and images, not a llm.ToolResult", message(llm.RoleUser, llm.ToolResult{})},
		{"messages[1] (user): parts[0]: takes text and images, not a <nil>", message(llm.RoleUser, nil)},
		{"messages[1].parts[0]: seems to be text: takes PNG, JPEG, GIF or WebP", message(llm.RoleUser, llm.Image{Data: []byte("x")})},
		{"messages[1] (user): parts[0]: an image needs data or a url", message(llm.RoleUser, llm.Image{MediaType: "image/png"})},
		{"messages[1] (assistant): parts[0]: takes text, tool calls and reasoning", message(llm.RoleAssistant, llm.Image{})},
		{"messages[1] (assistant): parts[0]: data of anthropic's reasoning: takes a JSON object", message(llm.RoleAssistant, llm.Reasoning{Provider: "anthropic", Data: []byte("null")})},
		{"messages[1] (assistant): parts[0]: data of anthropic's reasoning", message(llm.RoleAssistant, llm.Reasoning{Provider: "anthropic"})},
		{"messages[1] (tool): parts[0]: takes tool results", message(llm.RoleTool, llm.Text("x"))},
		{"messages[1] (tool): takes tool results, has no part", message(llm.RoleTool)},
		{"max_tokens -1", with(func(r *llm.Request) { r.MaxTokens = -1 })},
		{"temperature NaN", with(func(r *llm.Request) { r.Temperature = &nan })},
		{"seed 7: Anthropic's API has none", with(func(r *llm.Request) { r.Seed = new(int64(7)) })},
		{`tools[0]: parameters of "f": takes a JSON Schema`, with(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{`)}} })},
		{"schema: takes a JSON Schema", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`[]`)} })},
		{"schema: takes a JSON Schema", with(func(r *llm.Request) { r.Schema = &llm.Schema{} })},
		{"not null", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(`null`)} })},
		{"valid UTF-8", with(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage("{\"a\":\"\xff\"}")} })},
		{"extra: stream: is set by the request itself", extra("stream", true)},
		{"extra: model: is set", extra("model", "x")},
		{"extra: messages: is set", extra("messages", nil)},
		{`extra: "": takes names`, extra("", 1)},
		{"unsupported type: chan int", extra("x", make(chan int))},
		{"extra: system: takes the place of the instructions", with(func(r *llm.Request) {
			r.Schema, r.Extra = &llm.Schema{JSON: json.RawMessage(`{"type":"array"}`)}, map[string]any{"system": "x"}
		})},
	} {
		e := newEcho(t)
		m := model(t, e.Server, nil)
		_, err := m.Complete(t.Context(), step.request)
		if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), step.want) {
			t.Errorf("got %v, want %s", err, step.want)
		}
		if _, streamErr := streamed(t.Context(), m, step.request); streamErr == nil || streamErr.Error() != err.Error() {
			t.Errorf("streamed: got %v, want %v", streamErr, err)
		}
		if e.body != nil {
			t.Errorf("%s: was sent: %s", step.want, e.body)
		}
	}
}

func TestPromptOfTenMegabytes(t *testing.T) {
	e := newEcho(t)
	prompt := strings.Repeat("0123456789", 1<<20)
	if body := e.sent(t, model(t, e.Server, nil), llm.Prompt(prompt)); !strings.Contains(body, prompt) {
		t.Error("the prompt did not arrive whole")
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	e := newEcho(t)
	got := e.sent(t, model(t, e.Server, nil), &llm.Request{
		Messages: []llm.Message{llm.User("a\xffb\x00\xc3"),
			{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "\xfe", Name: "\xfe", Arguments: json.RawMessage("{\"a\":\"\xff\"}")}}},
			{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "\xfe", Content: "\xed\xa0\x80"}}}},
		Stop:  []string{"\xff"},
		Tools: []llm.Tool{{Name: "f", Description: "\xff"}},
	})
	want := `{"model":"claude-haiku-5-5","max_tokens":16000,"messages":[{"role":"user","content":[{"type":"text","text":"a�b\u0000�"}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"_","name":"�","input":{"INVALID_JSON":"{\"a\":\"�\"}"}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"_","content":[{"type":"text","text":"���"}]}]}],
		"stop_sequences":["�"],"tools":[{"name":"f","description":"�","input_schema":{"type":"object"}}]}`
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

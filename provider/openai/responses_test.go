package openai_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

// thought is a reasoning item as OpenAI sends it when nothing is stored.
const thought = `{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"gAAA=="}`

// aside is what a model says between tool calls.
const aside = `{"id":"msg_0","type":"message","status":"completed","role":"assistant","phase":"commentary","content":[{"type":"output_text","annotations":[],"text":"I'll look."}]}`

func said(id, text string) string {
	quoted, _ := json.Marshal(text)
	return `{"id":"` + id + `","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"text":` + string(quoted) + `}]}`
}

const called = `{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"weather","arguments":"{\"city\": \"Berlin\"}"}`

// responded is a response with that status and output.
func responded(status, more string, output ...string) string {
	return `{"id":"resp_1","object":"response","status":"` + status + `","model":"gpt-6-luna-2026-08-06",` + more + `"output":[` + strings.Join(output, ",") + `],
		"usage":{"input_tokens":19,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":3},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":29}}`
}

// responsesModel makes a model of the server's.
func responsesModel(t *testing.T, e *providertest.Echo, change func(*openai.Options)) *openai.Responses {
	t.Helper()
	opts := openai.Options{APIKey: key, BaseURL: e.URL + "/v1", HTTPClient: e.Client()}
	if change != nil {
		change(&opts)
	}
	m, err := openai.NewResponses("gpt-6-luna", opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestResponsesRequest(t *testing.T) {
	temperature := 0.5
	for _, step := range []struct {
		name    string
		request *llm.Request
		want    string
	}{
		{"prompt", llm.Prompt("Hello!"), `"input":[{"role":"user","content":"Hello!"}]`},
		{"everything",
			&llm.Request{
				Messages: []llm.Message{
					llm.System("Be brief."), llm.System("Be kind."),
					{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("What is this?"), llm.Image{MediaType: "image/png", Data: pixel}, llm.Image{URL: "https://example.com/cat.png", Detail: "high"}}},
					{Role: llm.RoleAssistant, Parts: []llm.Part{
						llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(thought)},
						llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(aside)},
						llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(`{"id":"rs_2","type":"reasoning","summary":[]}`)},
						llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(`spoilt`)},
						llm.Reasoning{Provider: "openai", Data: json.RawMessage(`{"reasoning_content":"x"}`)},
						llm.Text("Let me"), llm.Text("look."),
						llm.ToolCall{ID: "call_1", Name: "look", Arguments: json.RawMessage(`{"at": "it"}`)},
						llm.ToolCall{ID: "call_2", Name: "smell"},
					}},
					{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "call_1", Content: "A cat."}, llm.ToolResult{CallID: "call_2", Content: "no nose", IsError: true}}},
					{Role: llm.RoleAssistant},
					llm.System("Be quick."),
					llm.User("Sure?"),
				},
				Tools:     []llm.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object","properties":{"z":{},"a":{"maximum":12345678901234567890}}}`)}, {Name: "smell"}},
				MaxTokens: 100, Temperature: &temperature,
				Extra: map[string]any{"reasoning": map[string]any{"effort": "low"}, "store": true},
			},
			`"instructions":"Be brief.\nBe kind.","store":true,"reasoning":{"effort":"low"},"max_output_tokens":100,"temperature":0.5,"input":[
				{"role":"user","content":[{"type":"input_text","text":"What is this?"},
					{"type":"input_image","detail":"auto","image_url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"},
					{"type":"input_image","detail":"high","image_url":"https://example.com/cat.png"}]},
				` + thought + `,` + aside + `,
				{"role":"assistant","content":"Let me\nlook."},
				{"type":"function_call","call_id":"call_1","name":"look","arguments":"{\"at\": \"it\"}"},
				{"type":"function_call","call_id":"call_2","name":"smell","arguments":"{}"},
				{"type":"function_call_output","call_id":"call_1","output":"A cat."},
				{"type":"function_call_output","call_id":"call_2","output":"Error: no nose"},
				{"role":"assistant","content":"(no text)"},
				{"role":"system","content":"Be quick."},
				{"role":"user","content":"Sure?"}],
			"tools":[{"type":"function","name":"look","description":"Looks.","parameters":{"type":"object","properties":{"z":{},"a":{"maximum":12345678901234567890}}},"strict":false},
				{"type":"function","name":"smell","parameters":{"type":"object","properties":{}},"strict":false}]`},
		{"schema", &llm.Request{Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{Name: "city", JSON: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)}},
			`"input":[{"role":"user","content":"x"}],"text":{"format":{"type":"json_schema","name":"city","strict":true,"schema":{"type":"object","properties":{},"required":[],"additionalProperties":false}}}`},
		{"schema that can't be strict", &llm.Request{Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{JSON: json.RawMessage(`{"type":"array"}`)}},
			`"input":[{"role":"user","content":"x"}],"text":{"format":{"type":"json_schema","name":"answer","strict":false,"schema":{"type":"array"}}}`},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(200, responded("completed", "", said("msg_1", "ok")))
		m := responsesModel(t, e, nil)
		before, _ := json.Marshal(step.request)
		want := `{"model":"gpt-6-luna","include":["reasoning.encrypted_content"],`
		if !strings.Contains(step.want, `"store"`) {
			want += `"store":false,`
		}
		if _, err := m.Complete(t.Context(), step.request); err != nil || !same(t, string(e.Body), want+step.want+"}") || e.Address != "/v1/responses" {
			t.Errorf("%s: %v, sent %s to %s", step.name, err, e.Body, e.Address)
		}
		if after, _ := json.Marshal(step.request); string(after) != string(before) {
			t.Errorf("%s: the request was changed: %s", step.name, after)
		}
		if step.name == "everything" && !strings.Contains(string(e.Body), `"z":{},"a":{"maximum":12345678901234567890}`) {
			t.Errorf("the schema was changed: %s", e.Body)
		}
	}
}

func TestModelsThatDoNotReasonAreNotAskedForReasoning(t *testing.T) {
	for name, want := range map[string]bool{
		"gpt-6-luna": true, "o3": true, "gpt-5.1": true, "openai/gpt-oss-120b": true,
		"gpt-4o-mini": false, "gpt-4.1": false, "ft:gpt-4.1:me::1": false, "chatgpt-4o-latest": false, "gpt-5-chat-latest": false, "gpt-3.5-turbo": false,
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(200, responded("completed", "", said("msg_1", "ok")))
		m, err := openai.NewResponses(name, openai.Options{BaseURL: e.URL, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Complete(t.Context(), llm.Prompt("x")); err != nil || strings.Contains(string(e.Body), "encrypted_content") != want {
			t.Errorf("%s: %v, sent %s", name, err, e.Body)
		}
	}
}

func TestResponsesRequestsThatAreNotSent(t *testing.T) {
	seed := int64(1)
	for want, request := range map[string]*llm.Request{
		"messages: must have at least one message":                                   {},
		"messages: the Responses API needs":                                          {Messages: []llm.Message{llm.System("x")}},
		"stop: the Responses API has no such":                                        {Messages: []llm.Message{llm.User("x")}, Stop: []string{"x"}},
		"seed: the Responses API has no such":                                        {Messages: []llm.Message{llm.User("x")}, Seed: &seed},
		"max_tokens -1":                                                              {Messages: []llm.Message{llm.User("x")}, MaxTokens: -1},
		"schema: must be a JSON Schema":                                              {Messages: []llm.Message{llm.User("x")}, Schema: &llm.Schema{JSON: json.RawMessage(`[]`)}},
		`tools[0]: parameters of "f"`:                                                {Messages: []llm.Message{llm.User("x")}, Tools: []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{`)}}},
		`extra: the field "input"`:                                                   {Messages: []llm.Message{llm.User("x")}, Extra: map[string]any{"input": "y"}},
		"messages[1] (judge): role must be":                                          {Messages: []llm.Message{llm.User("x"), {Role: "judge"}}},
		"messages[1] (system): parts[0]: must be text, got llm.Image":                {Messages: []llm.Message{llm.User("x"), {Role: llm.RoleSystem, Parts: []llm.Part{llm.Image{}}}}},
		"messages[0] (system): parts[0]: must be text":                               {Messages: []llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{llm.Image{}}}}},
		"messages[0] (user): parts[0]: must be text, an image or a document, got ll": {Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.ToolResult{}}}}},
		"messages[0] (user): parts[0]: an image needs":                               {Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Image{}}}}},
		"messages[0] (assistant): parts[0]: must be text or a tool call":             {Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Image{}}}}},
		"messages[0] (tool): must have a tool result":                                {Messages: []llm.Message{{Role: llm.RoleTool}}},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		m := responsesModel(t, e, nil)
		if _, err := m.Complete(t.Context(), request); failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), want) || e.Body != nil {
			t.Errorf("%s: got %v, sent %s", want, err, e.Body)
		}
		if _, err := providertest.Streamed(t, t.Context(), m, request); failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), want) || e.Body != nil {
			t.Errorf("%s: got %v, sent %s", want, err, e.Body)
		}
	}
}

// answers are bodies of responses, the answers or errors that they are, and
// the events in which the same is streamed.
var answers = []struct {
	name   string
	body   string
	events []string
	want   llm.Response
	kind   failure.Kind // if it is an error
	code   string
}{
	{"text", responded("completed", "", thought, said("msg_1", "Hello!")),
		[]string{`{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"gA"}}`,
			`{"type":"response.output_item.done","output_index":0,"item":` + thought + `}`,
			`{"type":"response.output_item.added","output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}`,
			`{"type":"response.output_text.delta","item_id":"msg_1","output_index":1,"content_index":0,"delta":"Hel"}`,
			`{"type":"response.output_text.delta","item_id":"msg_1","output_index":1,"content_index":0,"delta":"lo!"}`,
			`{"type":"response.output_text.done","item_id":"msg_1","output_index":1,"content_index":0,"text":"Hello!"}`,
			`{"type":"response.output_item.done","output_index":1,"item":` + said("msg_1", "Hello!") + `}`},
		llm.Response{Message: llm.Message{Parts: []llm.Part{llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(thought)}, llm.Text("Hello!")}}, Finish: llm.FinishStop}, 0, ""},
	{"tools", responded("completed", "", aside, called),
		[]string{`{"type":"response.output_item.added","item":{"id":"msg_0","type":"message","phase":"commentary","content":[]}}`,
			`{"type":"response.output_text.delta","item_id":"msg_0","delta":"I'll look."}`,
			`{"type":"response.output_item.done","item":` + aside + `}`,
			`{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":"{\"ci"}`,
			`{"type":"response.output_item.done","item":` + called + `}`},
		llm.Response{Message: llm.Message{Parts: []llm.Part{llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(aside)},
			llm.ToolCall{ID: "call_1", Name: "weather", Arguments: json.RawMessage(`{"city": "Berlin"}`)}}}, Finish: llm.FinishToolCall}, 0, ""},
	{"two texts", responded("completed", "", said("msg_1", "a"), `{"type":"web_search_call","id":"ws_1","status":"completed"}`, said("msg_2", "b")),
		[]string{`{"type":"response.output_text.delta","item_id":"msg_1","delta":"a"}`,
			`{"type":"response.output_item.done","item":` + said("msg_1", "a") + `}`,
			`{"type":"response.output_item.done","item":` + said("msg_2", "b") + `}`},
		llm.Response{Message: llm.Message{Parts: []llm.Part{llm.Text("a"), llm.Text("b")}}, Finish: llm.FinishStop}, 0, ""},
	{"at the limit", responded("incomplete", `"incomplete_details":{"reason":"max_output_tokens"},`, said("msg_1", "ha")),
		[]string{`{"type":"response.output_text.delta","item_id":"msg_1","delta":"ha"}`},
		llm.Response{Message: llm.Message{Parts: []llm.Part{llm.Text("ha")}}, Finish: llm.FinishLength}, 0, ""},
	{"not done", responded("in_progress", ""), nil, llm.Response{Message: llm.Message{Parts: []llm.Part{}}}, 0, ""},
	{"incomplete for a reason that is new", responded("incomplete", `"incomplete_details":{"reason":"pause"},`), nil, llm.Response{Message: llm.Message{Parts: []llm.Part{}}, Finish: "pause"}, 0, ""},
	{"filtered", responded("incomplete", `"incomplete_details":{"reason":"content_filter"},`), nil, llm.Response{}, failure.ContentFiltered, "content_filter"},
	{"refused", responded("completed", "", `{"id":"msg_1","type":"message","content":[{"type":"refusal","refusal":"No."}]}`),
		[]string{`{"type":"response.refusal.delta","item_id":"msg_1","delta":"No."}`,
			`{"type":"response.output_item.done","item":{"id":"msg_1","type":"message","content":[{"type":"refusal","refusal":"No."}]}}`},
		llm.Response{}, failure.ContentFiltered, "refusal"},
	{"failed", responded("failed", `"error":{"code":"server_error","message":"The model failed."},`), nil, llm.Response{}, failure.Transient, "server_error"},
	{"failed for the limit", responded("failed", `"error":{"code":"rate_limit_exceeded","message":"Please try again in 2s."},`), nil, llm.Response{}, failure.RateLimited, "rate_limit_exceeded"},
	{"failed for the bill", responded("failed", `"error":{"code":"insufficient_quota","message":"No."},`), nil, llm.Response{}, failure.QuotaExhausted, "insufficient_quota"},
	{"failed for the picture", responded("failed", `"error":{"code":"invalid_image","message":"No."},`), nil, llm.Response{}, failure.InvalidRequest, "invalid_image"},
	{"failed for the policy", responded("failed", `"error":{"code":"bio_policy","message":"No."},`), nil, llm.Response{}, failure.ContentFiltered, "bio_policy"},
	{"failed without a word", responded("failed", `"error":null,`), nil, llm.Response{}, failure.Transient, "failed"},
}

func TestResponsesAnswers(t *testing.T) {
	for _, step := range answers {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(200, step.body, "X-Request-Id", "req_1")
		m := responsesModel(t, e, nil)
		got, err := m.Complete(t.Context(), llm.Prompt("the prompt"))
		step.want.Message.Role, step.want.Model, step.want.RequestID = llm.RoleAssistant, "gpt-6-luna-2026-08-06", "req_1"
		step.want.Usage = llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3}
		if step.kind == 0 {
			if err != nil || !reflect.DeepEqual(got, &step.want) {
				t.Errorf("%s: got %+v, %v", step.name, got, err)
			}
		} else if f, ok := errors.AsType[*failure.Error](err); !ok || got == nil || got.Usage != step.want.Usage || len(got.Message.Parts) > 0 || f.Kind != step.kind || f.Code != step.code || f.Status != 200 ||
			f.Provider != "openai-responses" || f.Model != "openai-responses/gpt-6-luna" || f.RequestID != "req_1" {
			t.Errorf("%s: got %+v, %#v", step.name, got, err)
		}
	}
}

func TestResponsesStreams(t *testing.T) {
	for _, step := range answers {
		var response struct {
			Status string `json:"status"`
		}
		_ = json.Unmarshal([]byte(step.body), &response)
		if response.Status == "in_progress" {
			continue // no event ends a stream so
		}
		texts := []string{`{"type":"response.created","response":{"id":"resp_1","status":"in_progress","error":null,"model":"gpt-6-luna-2026-08-06","output":[],"usage":null}}`, ": ping\n\n"}
		for _, event := range step.events {
			texts = append(texts, "event: x\ndata: "+event+"\n\n")
		}
		texts = append(texts, `{"type":"response.`+response.Status+`","response":`+strings.Join(strings.Fields(step.body), " ")+`}`, delta("more"), "no JSON")
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = events(texts...)
		m := responsesModel(t, e, nil)
		got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("the prompt"))
		want := step.want
		want.Message.Role, want.Model, want.RequestID = llm.RoleAssistant, "gpt-6-luna-2026-08-06", "req_1"
		want.Usage = llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3}
		if step.kind == 0 {
			if step.name == "two texts" { // a stream does not tell the pieces of one text from two
				want.Message.Parts = []llm.Part{llm.Text("a\nb")}
			}
			if err != nil || !reflect.DeepEqual(got, &want) {
				t.Errorf("%s: got %+v, %v", step.name, got, err)
			}
		} else if f, ok := errors.AsType[*failure.Error](err); !ok || f.Kind != step.kind || f.Code != step.code || got.Finish != llm.FinishNone || f.RequestID != "req_1" {
			t.Errorf("%s: got %+v, %#v", step.name, got, err)
		}
		if !strings.Contains(string(e.Body), `"stream":true`) || e.Address != "/v1/responses" {
			t.Errorf("%s: sent %s to %s", step.name, e.Body, e.Address)
		}

		// The same in one piece, from a server that does not stream.
		e.Handle = reply(200, step.body, "X-Request-Id", "req_1")
		if got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("the prompt")); failure.KindOf(err) != step.kind && step.kind != 0 || step.kind == 0 && (err != nil || !reflect.DeepEqual(got, &want)) {
			t.Errorf("%s, in one piece: got %+v, %v", step.name, got, err)
		}
	}
}

func TestResponsesStreamThatIsDoneWithoutAnEndWasCutOff(t *testing.T) {
	e := providertest.NewEcho(t, providertest.Events(
		dataEvent(`{"type":"response.created","response":{"status":"in_progress","error":null,"output":[]}}`),
		dataEvent(`{"type":"response.output_text.delta","item_id":"msg_1","delta":"half"}`), dataEvent(done)))
	got, err := providertest.Streamed(t, t.Context(), responsesModel(t, e, nil), llm.Prompt("the prompt"))
	if err != nil || got.Text() != "half" || got.Finish != llm.FinishNone {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A conversation with tools goes back as it came.
func TestResponsesRoundTrip(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	e.Handle = reply(200, responded("completed", "", thought, aside, called))
	m := responsesModel(t, e, nil)
	answer, err := m.Complete(t.Context(), llm.Prompt("Weather?"))
	if err != nil {
		t.Fatal(err)
	}
	request := &llm.Request{Messages: []llm.Message{llm.User("Weather?"), answer.Message, {Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "call_1", Content: "rain"}}}}}
	if _, err := m.Complete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	want := `{"model":"gpt-6-luna","store":false,"include":["reasoning.encrypted_content"],"input":[{"role":"user","content":"Weather?"},` + thought + `,` + aside + `,
		{"type":"function_call","call_id":"call_1","name":"weather","arguments":"{\"city\": \"Berlin\"}"},{"type":"function_call_output","call_id":"call_1","output":"rain"}]}`
	if !same(t, string(e.Body), want) {
		t.Errorf("sent %s", e.Body)
	}
	// No other provider is told.
	chat := model(t, e.Server, nil)
	e.Handle = reply(200, hello)
	if got := e.Sent(t, chat, request); strings.Contains(got, "gAAA") || strings.Contains(got, "I'll look") {
		t.Errorf("sent %s", got)
	}
}
